/* encoder_file.c - an encoder in kith's own file: quantised, and used as it lies.
 *
 * Place: rag/embed.  Token and position vectors have 4 bits a number and an f16 scale for 32 of
 * them, the one of some candidates that leaves the least error; layers have 8 bits a weight and
 * a scale a column, in the order of ann/kernels/layers.h.
 * Invariant: what is read back is what was written, tensor by tensor with its shape checked;
 * a scale that is not finite makes vectors that are not finite, which the embedder refuses. */
#include <config.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "rag/embed/encoder_internal.h"
#include "rag/embed/model.h"
#include "rag/error.h"

#define Q4_TRIES 24 /* scales looked at for a group */

/* ---- writing ---- */

/* Quantises x [Q4_GROUP] with the scale that leaves the least squared error. */
static void pack_group(const struct annk_ops *ops, const float *x, uint8_t *q, uint16_t *scale)
{
    float most = 0;
    for (size_t i = 0; i < Q4_GROUP; i++)
        if (fabsf(x[i]) > fabsf(most))
            most = x[i];
    double best = INFINITY;
    uint16_t kept = 0;
    float by = 0;
    for (int t = 0; t < Q4_TRIES; t++) { /* the largest becomes -8, -7 or somewhat less */
        const float wish = most / (-8.4f + 0.1f * (float)t);
        uint16_t h;
        float s;
        ops->f32_to_f16(&wish, &h, 1);
        ops->f16_to_f32(&h, &s, 1);
        double error = 0;
        for (size_t i = 0; i < Q4_GROUP; i++) {
            const float c = s != 0 ? fminf(fmaxf(rintf(x[i] / s), -8), 7) : 0;
            error += (double)(x[i] - c * s) * (x[i] - c * s);
        }
        if (error < best) {
            best = error;
            kept = h;
            by = s;
        }
    }
    *scale = kept;
    for (size_t i = 0; i < Q4_GROUP; i += 2) {
        const float a = by != 0 ? fminf(fmaxf(rintf(x[i] / by), -8), 7) : 0;
        const float b = by != 0 ? fminf(fmaxf(rintf(x[i + 1] / by), -8), 7) : 0;
        q[i / 2] = (uint8_t)((int)a + 8 + 16 * ((int)b + 8));
    }
}

struct packing {
    const struct encoder *e;
    struct model_draft *d;
    char *at; /* free bytes, 64-aligned pieces */
    struct buf all;
};

static void *take(struct packing *p, size_t bytes)
{
    void *out = p->at;
    p->at += (bytes + 63) / 64 * 64;
    return out;
}

static void pack_rows(struct packing *p, const char *name, const struct rows *t, size_t n)
{
    const size_t dims = p->e->facts.dims;
    uint8_t *q = take(p, model_type_bytes("q4", n, dims));
    uint16_t *scales = (uint16_t *)(void *)(q + n * dims / 2);
    for (size_t i = 0; i < n; i++)
        for (size_t g = 0; g < dims / Q4_GROUP; g++)
            pack_group(p->e->kernels, t->f32 + i * dims + g * Q4_GROUP,
                       q + (i * dims + g * Q4_GROUP) / 2, &scales[i * (dims / Q4_GROUP) + g]);
    model_put_tensor(p->d, name, "q4", n, dims, q);
}

static void put_layer(struct packing *p, uint32_t layer, const char *part, const char *type,
                      size_t rows, size_t width, const void *data)
{
    char name[64];
    snprintf(name, sizeof name, "%u.%s", layer, part);
    model_put_tensor(p->d, name, type, rows, width, data);
}

static void pack_linear(struct packing *p, uint32_t layer, const char *part,
                        const struct linear *l)
{
    char name[48];
    int8_t *packed = take(p, l->n * l->k);
    float *scale = take(p, l->n * sizeof *scale), *sum = take(p, l->n * sizeof *sum);
    for (size_t j = 0; j < l->n; j++) {
        const float *w = l->f32 + j * l->k;
        float most = 0;
        long total = 0;
        for (size_t i = 0; i < l->k; i++)
            most = fmaxf(most, fabsf(w[i]));
        scale[j] = most / 127;
        for (size_t i = 0; i < l->k; i++) {
            const float c = most > 0 ? rintf(w[i] / scale[j]) : 0;
            packed[j / 16 * 16 * l->k + i / 4 * 64 + j % 16 * 4 + i % 4] = (int8_t)c;
            total += (long)c;
        }
        sum[j] = scale[j] * (float)total;
    }
    snprintf(name, sizeof name, "%s.weight", part);
    put_layer(p, layer, name, "i8", l->n, l->k, packed);
    snprintf(name, sizeof name, "%s.scale", part);
    put_layer(p, layer, name, "f32", 1, l->n, scale);
    snprintf(name, sizeof name, "%s.sum", part);
    put_layer(p, layer, name, "f32", 1, l->n, sum);
    snprintf(name, sizeof name, "%s.bias", part);
    put_layer(p, layer, name, "f32", 1, l->n, l->bias);
}

static void pack_layers(struct packing *p)
{
    const size_t dims = p->e->facts.dims;
    for (uint32_t i = 0; i < p->e->facts.layers; i++) {
        const struct layer *l = &p->e->layers[i];
        pack_linear(p, i, "qkv", &l->qkv);
        pack_linear(p, i, "out", &l->out);
        pack_linear(p, i, "up", &l->up);
        pack_linear(p, i, "down", &l->down);
        put_layer(p, i, "norm1.gamma", "f32", 1, dims, l->norm1[0]);
        put_layer(p, i, "norm1.beta", "f32", 1, dims, l->norm1[1]);
        put_layer(p, i, "norm2.gamma", "f32", 1, dims, l->norm2[0]);
        put_layer(p, i, "norm2.beta", "f32", 1, dims, l->norm2[1]);
    }
}

static void put_facts(struct model_draft *d, const struct encoder *e, const char *name,
                      const char *source, const char *licence)
{
    const struct encoder_facts *a = &e->facts;
    d->kind = "encoder";
    model_put_text(d, "name", name);
    model_put_text(d, "source", source);
    model_put_text(d, "licence", licence);
    model_put_text(d, "source-revision", a->revision);
    model_put_text(d, "prefix-document", a->prefix_document);
    model_put_text(d, "prefix-query", a->prefix_query);
    model_put_number(d, "dims", a->dims);
    model_put_number(d, "layers", a->layers);
    model_put_number(d, "heads", a->heads);
    model_put_number(d, "inner", a->inner);
    model_put_number(d, "positions", a->positions);
    model_put_number(d, "most", a->most);
    model_put_number(d, "pooling", (uint64_t)a->pooling);
    model_put_number(d, "normalised", a->normalised);
    model_put_number(d, "tokens", a->tokens);
    model_put_number(d, "words", wordpiece_count(e->words));
    model_put_number(d, "lower", wordpiece_lower(e->words));
}

rag_err encoder_save(const struct encoder *e, const char *path, const char *name,
                     const char *source, const char *licence)
{
    const size_t dims = e->facts.dims, words = wordpiece_count(e->words);
    if (e->facts.quantised)
        return RAG_FAIL(RAG_EINVAL, "%s is quantised already", e->facts.name);
    struct packing p = {.e = e, .d = mem_zalloc(1, sizeof *p.d)};
    const size_t room = e->owned.bytes / 2 + ((size_t)1 << 20);
    rag_err err = p.d ? rag_from_base(buf_resize(&p.all, room))
                      : RAG_FAIL(RAG_ENOMEM, "out of memory for a model");
    if (!err) {
        const char *first = wordpiece_token(e->words, 0);
        const char *last = wordpiece_token(e->words, words - 1);
        p.at = p.all.data;
        put_facts(p.d, e, name, source, licence);
        model_put_tensor(p.d, "words", "u8", 1, (size_t)(last + strlen(last) + 1 - first),
                         first);
        model_put_tensor(p.d, "epsilon", "f32", 1, 1, &e->epsilon);
        pack_rows(&p, "tokens", &e->tokens, e->facts.tokens);
        pack_rows(&p, "positions", &e->positions, e->facts.positions);
        model_put_tensor(p.d, "type", "f32", 1, dims, e->type);
        model_put_tensor(p.d, "norm.gamma", "f32", 1, dims, e->norm[0]);
        model_put_tensor(p.d, "norm.beta", "f32", 1, dims, e->norm[1]);
        pack_layers(&p);
        err = model_save(p.d, path);
    }
    buf_free(&p.all);
    mem_free(p.d);
    return err;
}

/* ---- reading ---- */

static rag_err take_facts(struct encoder *e, uint64_t *words)
{
    const struct model *m = e->model;
    const struct {
        const char *key;
        uint64_t least, most;
        uint32_t *to;
    } facts[] = {{"dims", 32, 4096, &e->facts.dims},
                 {"layers", 1, ENCODER_LAYERS_MAX, &e->facts.layers},
                 {"heads", 1, 256, &e->facts.heads},
                 {"inner", 16, 16384, &e->facts.inner},
                 {"positions", 2, 8192, &e->facts.positions},
                 {"most", 2, 8192, &e->facts.most},
                 {"tokens", 1, WORDPIECE_TOKENS_MAX, &e->facts.tokens}};
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        const uint64_t x = model_number(m, facts[i].key);
        if (x < facts[i].least || x > facts[i].most)
            return RAG_FAIL(RAG_EDAMAGED, "%s: %s is %llu, not %llu to %llu", model_path(m),
                            facts[i].key, (unsigned long long)x,
                            (unsigned long long)facts[i].least,
                            (unsigned long long)facts[i].most);
        *facts[i].to = (uint32_t)x;
    }
    struct encoder_facts *a = &e->facts;
    if (a->dims % a->heads != 0 || a->dims / a->heads % ANNK_LAYER_STEP != 0 ||
        a->dims % Q4_GROUP != 0 || a->inner % ANNK_LAYER_STEP != 0 || a->most > a->positions ||
        model_number(m, "pooling") > ENCODER_LAST)
        return RAG_FAIL(RAG_EDAMAGED, "%s: numbers that do not go together", model_path(m));
    a->pooling = (enum encoder_pooling)model_number(m, "pooling");
    a->normalised = model_number(m, "normalised") != 0;
    a->quantised = true;
    a->name = model_text(m, "name");
    a->revision = model_digest(m);
    a->prefix_document = model_text(m, "prefix-document");
    a->prefix_query = model_text(m, "prefix-query");
    *words = model_number(m, "words");
    return *words <= a->tokens
               ? RAG_OK
               : RAG_FAIL(RAG_EDAMAGED, "%s: more words than tokens", model_path(m));
}

static rag_err take_floats(const struct encoder *e, const char *name, size_t n,
                           const float **out)
{
    const void *p = NULL;
    rag_err err = model_tensor(e->model, name, "f32", 1, n, &p);
    *out = p;
    return err;
}

static rag_err take_part(const struct encoder *e, uint32_t layer, const char *part, size_t n,
                         const float **out)
{
    char name[96];
    snprintf(name, sizeof name, "%u.%s", layer, part);
    return take_floats(e, name, n, out);
}

static rag_err take_linear(const struct encoder *e, uint32_t layer, const char *part, size_t n,
                           size_t k, struct linear *l)
{
    char name[64];
    const void *packed = NULL;
    snprintf(name, sizeof name, "%u.%s.weight", layer, part);
    rag_err err = model_tensor(e->model, name, "i8", n, k, &packed);
    *l = (struct linear){.n = n, .k = k, .packed = packed};
    snprintf(name, sizeof name, "%s.scale", part);
    if (!err)
        err = take_part(e, layer, name, n, &l->scale);
    snprintf(name, sizeof name, "%s.sum", part);
    if (!err)
        err = take_part(e, layer, name, n, &l->sum);
    snprintf(name, sizeof name, "%s.bias", part);
    return err ? err : take_part(e, layer, name, n, &l->bias);
}

static rag_err take_layer(struct encoder *e, uint32_t i)
{
    const size_t dims = e->facts.dims, inner = e->facts.inner;
    struct layer *l = &e->layers[i];
    rag_err err = take_linear(e, i, "qkv", 3 * dims, dims, &l->qkv);
    if (!err)
        err = take_linear(e, i, "out", dims, dims, &l->out);
    if (!err)
        err = take_linear(e, i, "up", inner, dims, &l->up);
    if (!err)
        err = take_linear(e, i, "down", dims, inner, &l->down);
    if (!err)
        err = take_part(e, i, "norm1.gamma", dims, &l->norm1[0]);
    if (!err)
        err = take_part(e, i, "norm1.beta", dims, &l->norm1[1]);
    if (!err)
        err = take_part(e, i, "norm2.gamma", dims, &l->norm2[0]);
    if (!err)
        err = take_part(e, i, "norm2.beta", dims, &l->norm2[1]);
    return err;
}

static rag_err take_rows(const struct encoder *e, const char *name, size_t n, struct rows *t)
{
    const void *p = NULL;
    rag_err err = model_tensor(e->model, name, "q4", n, e->facts.dims, &p);
    if (!err) {
        t->q4 = p;
        t->scale = (const uint16_t *)(const void *)(t->q4 + n * e->facts.dims / 2);
    }
    return err;
}

static rag_err take_words(struct encoder *e, uint64_t words)
{
    const void *p = NULL;
    const size_t bytes = model_width(e->model, "words");
    rag_err err = model_tensor(e->model, "words", "u8", 1, bytes, &p);
    return err ? err
               : wordpiece_make(p, bytes, (size_t)words, model_number(e->model, "lower") != 0,
                                &e->words);
}

rag_err encoder_open_model(struct model *m, struct encoder **out)
{
    uint64_t words = 0;
    const float *epsilon = NULL;
    struct encoder *e = mem_zalloc(1, sizeof *e);
    if (!e) {
        model_close(m);
        return RAG_FAIL(RAG_ENOMEM, "out of memory for an encoder");
    }
    e->model = m;
    e->kernels = annk_select();
    e->ops = annk_layers_for(e->kernels->name);
    rag_err err = strcmp(model_kind(m), "encoder") == 0
                      ? take_facts(e, &words)
                      : RAG_FAIL(RAG_EINVAL, "%s: a model of kind \"%s\", not an encoder",
                                 model_path(m), model_kind(m));
    if (!err)
        err = take_floats(e, "epsilon", 1, &epsilon);
    if (!err)
        err = take_rows(e, "tokens", e->facts.tokens, &e->tokens);
    if (!err)
        err = take_rows(e, "positions", e->facts.positions, &e->positions);
    if (!err)
        err = take_floats(e, "type", e->facts.dims, &e->type);
    if (!err)
        err = take_floats(e, "norm.gamma", e->facts.dims, &e->norm[0]);
    if (!err)
        err = take_floats(e, "norm.beta", e->facts.dims, &e->norm[1]);
    for (uint32_t i = 0; i < e->facts.layers && !err; i++)
        err = take_layer(e, i);
    if (!err)
        err = take_words(e, words);
    if (err) {
        encoder_close(e);
        return err;
    }
    e->epsilon = *epsilon;
    *out = e;
    return RAG_OK;
}
