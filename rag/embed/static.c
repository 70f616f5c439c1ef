/* static.c - static embedders.  See static.h.
 *
 * Place: rag/embed.  A token's row has 8 bits a number and one scale, in which the token's
 * weight is too; tokens that carry nothing (unused ones, those of no text) may be left out of
 * the file: `places` says which row a token has.  Words of word vectors are found in a table of
 * their own. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/kernels/kernels.h"
#include "rag/embed/static_internal.h"
#include "rag/error.h"
#include "rag/text/text.h"

#define IDS_AT_ONCE 1024
#define AHEAD       8 /* rows between a prefetch and its use */
#define NONE        UINT32_MAX

/* ---- words ---- */

static uint64_t hash_word(const char *s, size_t n)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)s[i]) * UINT64_C(0x100000001b3);
    return h ^ h >> 29;
}

static uint32_t lexicon_find(const struct lexicon *x, const char *word, size_t bytes)
{
    for (size_t i = hash_word(word, bytes) & x->mask;; i = (i + 1) & x->mask) {
        if (x->slots[i] == NONE)
            return NONE;
        const char *other = x->words + x->at[x->slots[i]];
        if (strncmp(other, word, bytes) == 0 && other[bytes] == '\0')
            return x->slots[i];
    }
}

rag_err lexicon_make(struct lexicon *x, const char *words, size_t bytes, size_t n)
{
    size_t at = 0;
    x->words = words;
    x->n = n;
    x->mask = 1023;
    while (x->mask < 2 * n)
        x->mask = 2 * x->mask + 1;
    x->at = mem_alloc((n ? n : 1) * sizeof *x->at);
    x->slots = mem_alloc((x->mask + 1) * sizeof *x->slots);
    if (!x->at || !x->slots)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu words", n);
    memset(x->slots, 0xff, (x->mask + 1) * sizeof *x->slots);
    for (size_t i = 0; i < n; i++) {
        const char *end = at < bytes ? memchr(words + at, '\0', bytes - at) : NULL;
        if (!end || bytes > UINT32_MAX)
            return RAG_FAIL(RAG_EFORMAT, "a list of %zu words ends at word %zu", n, i);
        x->at[i] = (uint32_t)at;
        const size_t length = (size_t)(end - words) - at;
        if (lexicon_find(x, words + at, length) == NONE) {
            size_t slot = hash_word(words + at, length) & x->mask;
            while (x->slots[slot] != NONE)
                slot = (slot + 1) & x->mask;
            x->slots[slot] = (uint32_t)i;
        }
        at += length + 1;
    }
    return RAG_OK;
}

/* ---- texts ---- */

static inline void add_row(const struct table *t, uint32_t id, float *out)
{
    if (t->rows)
        t->ops->add_i8(t->rows + id * t->wide, t->scale[id], out, t->wide);
    else
        t->ops->add_f32(t->f32 + id * t->wide, 1, out, t->wide);
}

static size_t add_pieces(const struct table *t, const char *text, size_t bytes, float *out)
{
    struct wordpiece_scan scan = {text, bytes, 0};
    const uint32_t unknown = wordpiece_unknown(t->pieces);
    const size_t row = t->wide * (t->rows ? sizeof(int8_t) : sizeof(float));
    const char *base = t->rows ? (const char *)t->rows : (const char *)t->f32;
    uint32_t ids[IDS_AT_ONCE];
    size_t known = 0;
    while (scan.at < scan.bytes) {
        const size_t n = wordpiece_next(t->pieces, &scan, ids, IDS_AT_ONCE);
        for (size_t i = 0; i < n; i++) {
            if (i + AHEAD < n)
                for (size_t b = 0; b < row && b < 512; b += 64)
                    __builtin_prefetch(base + ids[i + AHEAD] * row + b);
            if (ids[i] == unknown)
                continue;
            add_row(t, ids[i], out);
            known++;
        }
    }
    return known;
}

struct summing {
    const struct table *t;
    float *out;
    size_t known;
};

static int add_word(void *arg, const char *word, size_t bytes)
{
    struct summing *s = arg;
    const uint32_t id = lexicon_find(&s->t->lexicon, word, bytes);
    if (id != NONE) {
        add_row(s->t, id, s->out);
        s->known++;
    }
    return 0;
}

void table_embed(const struct table *t, const char *text, size_t bytes, float *out)
{
    float sum[TABLE_DIMS_MOST] = {0};
    size_t known;
    if (t->pieces) {
        known = add_pieces(t, text, bytes, sum);
    } else {
        struct summing s = {t, sum, 0};
        text_words(text, bytes, add_word, &s);
        known = s.known;
    }
    if (t->mean && known > 0)
        t->ops->add_f32(t->mean, -(float)known, sum, t->wide);
    const double norm = sqrt(t->ops->dot_f32(sum, sum, t->wide));
    for (size_t d = 0; d < t->facts.dims; d++)
        out[d] = norm > 0 ? (float)(sum[d] / norm) : d == 0;
}

bool table_token(const struct table *t, size_t i, const char **token, float *vector)
{
    float sum[TABLE_DIMS_MOST] = {0};
    if (i >= t->facts.tokens)
        return false;
    *token = t->pieces ? wordpiece_token(t->pieces, i) : t->lexicon.words + t->lexicon.at[i];
    add_row(t, (uint32_t)i, sum);
    memcpy(vector, sum, t->facts.dims * sizeof *vector);
    return true;
}

struct table_facts table_facts(const struct table *t)
{
    return t->facts;
}

void table_close(struct table *t)
{
    if (!t)
        return;
    wordpiece_free(t->pieces);
    mem_free(t->lexicon.at);
    mem_free(t->lexicon.slots);
    buf_free(&t->owned);
    mem_free(t->words);
    mem_free(t->name);
    mem_free(t->revision);
    model_close(t->model);
    mem_free(t);
}

size_t table_widen(size_t dims)
{
    return (dims + ANNK_LAYER_STEP - 1) / ANNK_LAYER_STEP * ANNK_LAYER_STEP;
}

/* ---- kith's own file ---- */

static rag_err take_numbers(struct table *t)
{
    const struct model *m = t->model;
    const uint64_t dims = model_number(m, "dims"), n = model_number(m, "tokens");
    if (strcmp(model_kind(m), "static") != 0)
        return RAG_FAIL(RAG_EINVAL, "%s: a model of kind \"%s\", not a static one",
                        model_path(m), model_kind(m));
    if (dims < 1 || dims > TABLE_DIMS_MOST || n < 1 || n > UINT32_MAX / 2)
        return RAG_FAIL(RAG_EDAMAGED, "%s: %llu tokens of %llu dimensions", model_path(m),
                        (unsigned long long)n, (unsigned long long)dims);
    t->facts = (struct table_facts){.dims = (uint32_t)dims,
                                    .tokens = (uint32_t)n,
                                    .wordpiece = model_number(m, "wordpiece") != 0,
                                    .name = model_text(m, "name"),
                                    .revision = model_digest(m)};
    t->wide = table_widen(dims);
    return RAG_OK;
}

static rag_err take_tensors(struct table *t)
{
    const struct model *m = t->model;
    const size_t n = t->facts.tokens, wide = t->wide, bytes = model_width(m, "words");
    const void *rows = NULL, *scale = NULL, *mean = NULL, *words = NULL;
    rag_err err = model_tensor(m, "rows", "i8", n, wide, &rows);
    if (!err)
        err = model_tensor(m, "scale", "f32", 1, n, &scale);
    if (!err && model_rows(m, "mean"))
        err = model_tensor(m, "mean", "f32", 1, wide, &mean);
    if (!err)
        err = model_tensor(m, "words", "u8", 1, bytes, &words);
    if (err)
        return err;
    t->rows = rows;
    t->scale = scale;
    t->mean = mean;
    return t->facts.wordpiece
               ? wordpiece_make(words, bytes, n, model_number(m, "lower") != 0, &t->pieces)
               : lexicon_make(&t->lexicon, words, bytes, n);
}

struct table *table_new(void)
{
    struct table *t = mem_zalloc(1, sizeof *t);
    if (t)
        t->ops = annk_layers_for(annk_select()->name);
    return t;
}

rag_err table_open_model(struct model *m, struct table **out)
{
    struct table *t = table_new();
    if (!t) {
        model_close(m);
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a table");
    }
    t->model = m;
    rag_err err = take_numbers(t);
    if (!err)
        err = take_tensors(t);
    if (err)
        table_close(t);
    else
        *out = t;
    return err;
}

/* A row in 8 bits: rint(x / scale), scale = the largest / 127. */
static float pack_row(const float *x, size_t dims, int8_t *out)
{
    float most = 0;
    for (size_t d = 0; d < dims; d++)
        most = fmaxf(most, fabsf(x[d]));
    const float scale = most / 127;
    for (size_t d = 0; d < dims; d++)
        out[d] = (int8_t)(most > 0 ? rintf(x[d] / scale) : 0);
    return scale;
}

rag_err table_write(const struct table_parts *p, const char *path,
                    const struct model_draft *extra)
{
    const size_t wide = table_widen(p->dims);
    struct model_draft *d = mem_zalloc(1, sizeof *d);
    int8_t *rows = mem_zalloc(p->n, wide);
    float *scale = mem_alloc(p->n * sizeof *scale), mean[TABLE_DIMS_MOST] = {0};
    rag_err err =
        d && rows && scale ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu rows", p->n);
    if (!err) {
        for (size_t i = 0; i < p->n; i++)
            scale[i] = pack_row(p->rows + i * p->stride, p->dims, rows + i * wide);
        if (extra)
            *d = *extra;
        d->kind = "static";
        model_put_text(d, "name", p->name);
        model_put_number(d, "dims", p->dims);
        model_put_number(d, "tokens", p->n);
        model_put_number(d, "wordpiece", p->wordpiece);
        model_put_number(d, "lower", p->lower);
        model_put_tensor(d, "words", "u8", 1, p->bytes, p->words);
        model_put_tensor(d, "scale", "f32", 1, p->n, scale);
        if (p->mean) {
            memcpy(mean, p->mean, p->dims * sizeof *mean);
            model_put_tensor(d, "mean", "f32", 1, wide, mean);
        }
        model_put_tensor(d, "rows", "i8", p->n, wide, rows);
        err = model_save(d, path);
    }
    mem_free(rows);
    mem_free(scale);
    mem_free(d);
    return err;
}
