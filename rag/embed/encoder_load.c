/* encoder_load.c - an encoder from a Hugging Face folder.
 *
 * Place: rag/embed.  The names of tensors are those of the transformers library's BertModel,
 * with or without "bert." before them.  Invariant: every number of config.json is within its
 * bounds before it makes a size. */
#include <config.h>

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "ann/io/json.h"
#include "rag/digest.h"
#include "rag/embed/encoder_internal.h"
#include "rag/embed/safetensors.h"
#include "rag/embed/tokens.h"
#include "rag/error.h"

#define CONFIG_MOST ((size_t)1 << 20)

struct folder {
    const char *dir;
    struct encoder *e;
    struct safetensors *s;
    const char *before; /* "" or "bert." */
    float *next;        /* free floats of e->owned */
};

static rag_err path_of(const struct folder *f, const char *name, char path[PATH_MAX])
{
    const int n = snprintf(path, PATH_MAX, "%s/%s", f->dir, name);
    return n > 0 && n < PATH_MAX ? RAG_OK
                                 : RAG_FAIL(RAG_EINVAL, "%.100s...: too long a path", f->dir);
}

/* *out stays NULL where the file is not there and need not be. */
static rag_err load_json(const struct folder *f, const char *name, bool needed, size_t cap,
                         struct js **out)
{
    char path[PATH_MAX];
    rag_err err = path_of(f, name, path);
    if (!err)
        err = rag_from_base(js_load(path, cap, out));
    return err == RAG_ENOENT && !needed ? RAG_OK : err;
}

static rag_err read_number(const struct folder *f, const struct js *config, const char *key,
                           uint64_t most, uint32_t *out)
{
    uint64_t x;
    if (!js_u64(js_get(config, key), &x) || x < 1 || x > most)
        return RAG_FAIL(RAG_EFORMAT, "%s/config.json: %s is not a number from 1 to %llu",
                        f->dir, key, (unsigned long long)most);
    *out = (uint32_t)x;
    return RAG_OK;
}

static rag_err refuse(const struct folder *f, const char *key, const char *value)
{
    return RAG_FAIL(RAG_ENOTSUP, "%s/config.json: %s \"%.60s\" is not supported", f->dir, key,
                    value);
}

static rag_err check_config(const struct folder *f, const struct js *config)
{
    const char *type = js_string(js_get(config, "model_type"), "");
    const char *act = js_string(js_get(config, "hidden_act"), "");
    const char *place = js_string(js_get(config, "position_embedding_type"), "absolute");
    const struct encoder_facts *a = &f->e->facts;
    if (strcmp(type, "bert") != 0)
        return refuse(f, "model_type", type);
    if (strcmp(act, "gelu") != 0)
        return refuse(f, "hidden_act", act);
    if (strcmp(place, "absolute") != 0)
        return refuse(f, "position_embedding_type", place);
    if (a->dims % a->heads != 0 || a->dims / a->heads % ANNK_LAYER_STEP != 0 ||
        a->inner % ANNK_LAYER_STEP != 0 || a->dims % Q4_GROUP != 0)
        return RAG_FAIL(RAG_ENOTSUP,
                        "%s/config.json: %u dimensions in %u heads, %u inner ones: heads and "
                        "inner ones must be multiples of %d",
                        f->dir, a->dims, a->heads, a->inner, ANNK_LAYER_STEP);
    return RAG_OK;
}

static rag_err read_config(struct folder *f)
{
    struct encoder_facts *a = &f->e->facts;
    struct js *config = NULL;
    rag_err err = load_json(f, "config.json", true, CONFIG_MOST, &config);
    if (!err)
        err = read_number(f, config, "hidden_size", 4096, &a->dims);
    if (!err)
        err = read_number(f, config, "num_hidden_layers", ENCODER_LAYERS_MAX, &a->layers);
    if (!err)
        err = read_number(f, config, "num_attention_heads", 256, &a->heads);
    if (!err)
        err = read_number(f, config, "intermediate_size", 16384, &a->inner);
    if (!err)
        err = read_number(f, config, "max_position_embeddings", 8192, &a->positions);
    if (!err)
        err = read_number(f, config, "vocab_size", WORDPIECE_TOKENS_MAX, &a->tokens);
    if (!err)
        err = check_config(f, config);
    f->e->epsilon = (float)js_number(js_get(config, "layer_norm_eps"), 1e-12);
    if (!err && !(f->e->epsilon >= 0 && f->e->epsilon < 1))
        err = RAG_FAIL(RAG_EFORMAT, "%s/config.json: layer_norm_eps %g", f->dir,
                       (double)f->e->epsilon);
    js_free(config);
    return err;
}

/* What the model's texts begin with, by the names sentence-transformers has for them. */
static rag_err read_prompts(struct encoder *e, const struct js *prompts)
{
    const char *document = js_string(js_get(prompts, "document"), NULL);
    e->prefix_document =
        mem_strdup(document ? document : js_string(js_get(prompts, "passage"), ""));
    e->prefix_query = mem_strdup(js_string(js_get(prompts, "query"), ""));
    return e->prefix_document && e->prefix_query
               ? RAG_OK
               : RAG_FAIL(RAG_ENOMEM, "out of memory for prompts");
}

/* sentence-transformers' files beside it: how long a text may be, how pooled, its prompts. */
static rag_err read_modules(struct folder *f)
{
    struct encoder_facts *a = &f->e->facts;
    struct js *pooling = NULL, *prompts = NULL, *sentence = NULL;
    uint64_t most;
    a->most = a->positions;
    a->pooling = ENCODER_MEAN;
    a->normalised = true;
    rag_err err = load_json(f, "1_Pooling/config.json", false, CONFIG_MOST, &pooling);
    if (!err)
        err = load_json(f, "sentence_bert_config.json", false, CONFIG_MOST, &sentence);
    if (!err)
        err = load_json(f, "config_sentence_transformers.json", false, CONFIG_MOST, &prompts);
    if (!err && js_bool(js_get(pooling, "pooling_mode_cls_token"), false))
        a->pooling = ENCODER_CLS;
    else if (!err && js_bool(js_get(pooling, "pooling_mode_lasttoken"), false))
        a->pooling = ENCODER_LAST;
    else if (!err && pooling && !js_bool(js_get(pooling, "pooling_mode_mean_tokens"), false))
        err = RAG_FAIL(RAG_ENOTSUP, "%s/1_Pooling/config.json: none of mean, cls, lasttoken",
                       f->dir);
    if (!err && js_u64(js_get(sentence, "max_seq_length"), &most) && most >= 2 &&
        most < a->positions)
        a->most = (uint32_t)most;
    if (!err)
        err = read_prompts(f->e, js_get(prompts, "prompts"));
    js_free(pooling);
    js_free(prompts);
    js_free(sentence);
    return err;
}

static rag_err read_words(struct folder *f)
{
    struct tokens t = {0};
    rag_err err = tokens_read(f->dir, &t);
    f->e->vocabulary = t.text;
    if (!err && t.n > f->e->facts.tokens)
        err = RAG_FAIL(RAG_EFORMAT, "%s: %zu tokens, %u vectors of them", f->dir, t.n,
                       f->e->facts.tokens);
    return err ? err : wordpiece_make(t.text, t.bytes, t.n, t.lower, &f->e->words);
}

/* ---- the weights ---- */

/* Tensor `name` [rows, width] as floats at to. */
static rag_err copy_tensor(const struct folder *f, const char *name, size_t rows, size_t width,
                           float *to)
{
    char whole[128];
    struct tensor t;
    snprintf(whole, sizeof whole, "%s%s", f->before, name);
    rag_err err = safetensors_get(f->s, whole, &t);
    if (!err && (t.rows != rows || t.width != width))
        err = RAG_FAIL(RAG_EFORMAT, "%s: tensor %s is %zu x %zu, not %zu x %zu",
                       safetensors_path(f->s), whole, t.rows, t.width, rows, width);
    for (size_t i = 0; i < rows && !err; i++)
        err = tensor_row(&t, i, to + i * width);
    return err;
}

static rag_err take_tensor(struct folder *f, const char *name, size_t rows, size_t width,
                           const float **out)
{
    rag_err err = copy_tensor(f, name, rows, width, f->next);
    *out = f->next;
    f->next += rows * width;
    return err;
}

static rag_err take_layer_tensor(struct folder *f, uint32_t layer, const char *name,
                                 size_t rows, size_t width, const float **out)
{
    char whole[112];
    snprintf(whole, sizeof whole, "encoder.layer.%u.%s", layer, name);
    return take_tensor(f, whole, rows, width, out);
}

static rag_err take_linear(struct folder *f, uint32_t layer, const char *name, size_t n,
                           size_t k, struct linear *l)
{
    char part[80];
    snprintf(part, sizeof part, "%s.weight", name);
    rag_err err = take_layer_tensor(f, layer, part, n, k, &l->f32);
    snprintf(part, sizeof part, "%s.bias", name);
    l->n = n;
    l->k = k;
    return err ? err : take_layer_tensor(f, layer, part, 1, n, &l->bias);
}

static rag_err take_norm(struct folder *f, uint32_t layer, const char *name,
                         const float *norm[2])
{
    char part[80];
    const size_t dims = f->e->facts.dims;
    snprintf(part, sizeof part, "%s.weight", name);
    rag_err err = take_layer_tensor(f, layer, part, 1, dims, &norm[0]);
    snprintf(part, sizeof part, "%s.bias", name);
    return err ? err : take_layer_tensor(f, layer, part, 1, dims, &norm[1]);
}

/* Three products of the same rows become one. */
static rag_err take_qkv(struct folder *f, uint32_t layer, struct linear *l)
{
    static const char *const names[] = {"query", "key", "value"};
    const size_t dims = f->e->facts.dims;
    const float *unused;
    rag_err err = RAG_OK;
    char part[80];
    *l = (struct linear){.n = 3 * dims, .k = dims, .f32 = f->next};
    for (int i = 0; i < 3 && !err; i++) {
        snprintf(part, sizeof part, "attention.self.%s.weight", names[i]);
        err = take_layer_tensor(f, layer, part, dims, dims, &unused);
    }
    l->bias = f->next;
    for (int i = 0; i < 3 && !err; i++) {
        snprintf(part, sizeof part, "attention.self.%s.bias", names[i]);
        err = take_layer_tensor(f, layer, part, 1, dims, &unused);
    }
    return err;
}

static rag_err take_layer(struct folder *f, uint32_t i)
{
    const struct encoder_facts *a = &f->e->facts;
    struct layer *l = &f->e->layers[i];
    rag_err err = take_qkv(f, i, &l->qkv);
    if (!err)
        err = take_linear(f, i, "attention.output.dense", a->dims, a->dims, &l->out);
    if (!err)
        err = take_norm(f, i, "attention.output.LayerNorm", l->norm1);
    if (!err)
        err = take_linear(f, i, "intermediate.dense", a->inner, a->dims, &l->up);
    if (!err)
        err = take_linear(f, i, "output.dense", a->dims, a->inner, &l->down);
    if (!err)
        err = take_norm(f, i, "output.LayerNorm", l->norm2);
    return err;
}

/* Floats of all weights: what read_config let pass keeps this far below 2^40. */
static size_t count_floats(const struct encoder_facts *a)
{
    const size_t d = a->dims;
    return (a->tokens + (size_t)a->positions + 5) * d +
           a->layers * (4 * d * d + 2 * d * a->inner + 9 * d + a->inner);
}

static rag_err read_weights(struct folder *f)
{
    struct encoder *e = f->e;
    const struct encoder_facts *a = &e->facts;
    struct tensor probe;
    char path[PATH_MAX];
    rag_err err = path_of(f, "model.safetensors", path);
    if (!err)
        err = safetensors_open(path, &f->s);
    if (err)
        return err;
    f->before =
        safetensors_get(f->s, "bert.embeddings.word_embeddings.weight", &probe) == RAG_OK
            ? "bert."
            : "";
    /* Asked for before memory is: a small file with a large config.json stops here. */
    char name[64];
    snprintf(name, sizeof name, "%sembeddings.word_embeddings.weight", f->before);
    err = safetensors_get(f->s, name, &probe);
    if (!err && (probe.rows != a->tokens || probe.width != a->dims))
        err = RAG_FAIL(RAG_EFORMAT, "%s: %zu token vectors of %zu dimensions, not %u of %u",
                       path, probe.rows, probe.width, a->tokens, a->dims);
    /* Nor does a config.json of many layers beside a small file ask for memory. */
    if (!err && count_floats(a) / 2 > safetensors_bytes(f->s))
        err = RAG_FAIL(RAG_EFORMAT, "%s: %zu bytes for %zu weights", path,
                       safetensors_bytes(f->s), count_floats(a));
    if (!err)
        err = rag_from_base(buf_resize(&e->owned, count_floats(a) * sizeof(float)));
    f->next = e->owned.data;
    if (!err)
        err = take_tensor(f, "embeddings.word_embeddings.weight", a->tokens, a->dims,
                          &e->tokens.f32);
    if (!err)
        err = take_tensor(f, "embeddings.position_embeddings.weight", a->positions, a->dims,
                          &e->positions.f32);
    if (!err) { /* every token is of the first type */
        snprintf(name, sizeof name, "%sembeddings.token_type_embeddings.weight", f->before);
        err = safetensors_get(f->s, name, &probe);
        if (!err && (probe.rows < 1 || probe.width != a->dims))
            err = RAG_FAIL(RAG_EFORMAT, "%s: %s has %zu dimensions", path, name, probe.width);
        if (!err)
            err = tensor_row(&probe, 0, f->next);
        e->type = f->next;
        f->next += a->dims;
    }
    if (!err)
        err = take_tensor(f, "embeddings.LayerNorm.weight", 1, a->dims, &e->norm[0]);
    if (!err)
        err = take_tensor(f, "embeddings.LayerNorm.bias", 1, a->dims, &e->norm[1]);
    for (uint32_t i = 0; i < a->layers && !err; i++)
        err = take_layer(f, i);
    return err;
}

/* Known by the folder's name and by a digest of its weights and settings. */
static rag_err name_it(struct folder *f)
{
    const char *slash = strrchr(f->dir, '/');
    const uint32_t facts[] = {f->e->facts.most, (uint32_t)f->e->facts.pooling};
    const struct digest_part parts[] = {{f->e->owned.data, f->e->owned.bytes},
                                        {facts, sizeof facts}};
    const struct digest d = digest_of(parts, 2);
    char hex[33];
    digest_hex(&d, 16, hex);
    f->e->name = mem_strdup(slash && slash[1] ? slash + 1 : f->dir);
    f->e->revision = mem_strdup(hex);
    if (!f->e->name || !f->e->revision)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a name");
    f->e->facts.name = f->e->name;
    f->e->facts.revision = f->e->revision;
    f->e->facts.prefix_document = f->e->prefix_document;
    f->e->facts.prefix_query = f->e->prefix_query;
    return RAG_OK;
}

rag_err encoder_open_folder(const char *dir, struct encoder **out)
{
    struct encoder *e = mem_zalloc(1, sizeof *e);
    struct folder f = {.dir = dir, .e = e};
    if (!e)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for an encoder");
    e->kernels = annk_select();
    e->ops = annk_layers_for(e->kernels->name);
    rag_err err = read_config(&f);
    if (!err)
        err = read_modules(&f);
    if (!err)
        err = read_words(&f);
    if (!err)
        err = read_weights(&f);
    if (!err)
        err = name_it(&f);
    safetensors_close(f.s);
    if (err)
        encoder_close(e);
    else
        *out = e;
    return err;
}
