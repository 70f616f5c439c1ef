/* static_read.c - static tables from other makers' files: word vectors, Model2Vec folders.
 *
 * Place: rag/embed.  Word vectors come in the order of their frequency, which gives the weights
 * their files lack: word r of n has the share 1 / (r ln n) of a text (Zipf), and weighs
 * a / (a + share) (Arora et al., ICLR 2017).  A Model2Vec folder says its own. */
#include <config.h>

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ann/io/io.h"
#include "ann/io/json.h"
#include "rag/digest.h"
#include "rag/embed/safetensors.h"
#include "rag/embed/static_internal.h"
#include "rag/embed/tokens.h"
#include "rag/embed/wordvec.h"
#include "rag/error.h"

#define SIF         1e-3
#define CONFIG_MOST ((size_t)1 << 20)

static rag_err name_it(struct table *t, const char *path)
{
    const char *slash = strrchr(path, '/');
    const struct digest_part parts[] = {{t->owned.data, t->owned.bytes},
                                        {t->words, t->words_bytes}};
    const struct digest d = digest_of(parts, 2);
    char hex[33];
    digest_hex(&d, 16, hex);
    t->name = mem_strdup(slash && slash[1] ? slash + 1 : path);
    t->revision = mem_strdup(hex);
    t->facts.name = t->name;
    t->facts.revision = t->revision;
    return t->name && t->revision ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for a name");
}

/* Room for n rows of dims numbers. */
static rag_err make_rows(struct table *t, const char *path, size_t n, size_t dims, float **rows)
{
    size_t bytes;
    if (dims < 1 || dims > TABLE_DIMS_MOST || n < 1 || n > UINT32_MAX / 2)
        return RAG_FAIL(RAG_ENOTSUP, "%s: %zu vectors of %zu dimensions", path, n, dims);
    t->wide = table_widen(dims);
    if (!size_mul(n, t->wide * sizeof **rows, &bytes))
        return RAG_FAIL(RAG_ELIMIT, "%s: %zu vectors of %zu dimensions", path, n, dims);
    t->facts.dims = (uint32_t)dims;
    t->facts.tokens = (uint32_t)n;
    rag_err err = rag_from_base(buf_resize(&t->owned, bytes));
    *rows = t->owned.data;
    t->f32 = t->owned.data;
    return err;
}

/* ---- word vectors ---- */

static rag_err take_words(struct table *t, const char *path, struct wordvec *v)
{
    float *rows = NULL;
    rag_err err = make_rows(t, path, v->n, v->dims, &rows);
    const double spread = log((double)v->n + 1);
    for (size_t i = 0; i < v->n && !err; i++) {
        const double share = 1 / ((double)(i + 1) * spread);
        const float weight = (float)(SIF / (SIF + share));
        for (size_t d = 0; d < v->dims; d++)
            rows[i * t->wide + d] = weight * v->vectors[i * v->dims + d];
    }
    if (err)
        return err;
    t->words = v->words;
    t->words_bytes = v->at[v->n - 1] + strlen(v->words + v->at[v->n - 1]) + 1;
    v->words = NULL;
    return lexicon_make(&t->lexicon, t->words, t->words_bytes, v->n);
}

rag_err table_open_words(const char *path, struct table **out)
{
    struct wordvec v = {0};
    struct table *t = table_new();
    rag_err err = t ? wordvec_read(path, 0, &v) : RAG_FAIL(RAG_ENOMEM, "out of memory");
    if (!err)
        err =
            v.n ? take_words(t, path, &v) : RAG_FAIL(RAG_EFORMAT, "%s: no word vectors", path);
    if (!err)
        err = name_it(t, path);
    wordvec_free(&v);
    if (err)
        table_close(t);
    else
        *out = t;
    return err;
}

/* ---- Model2Vec ---- */

/* "mapping": the row of each token, where several share one; "weights": of each token. */
static rag_err take_rows(struct table *t, const struct safetensors *s, size_t tokens)
{
    struct tensor rows, map = {0}, weights = {0};
    float *to = NULL;
    rag_err err = safetensors_get(s, "embeddings", &rows);
    if (err)
        return err;
    const bool mapped = safetensors_get(s, "mapping", &map) == RAG_OK;
    const bool weighed = safetensors_get(s, "weights", &weights) == RAG_OK;
    const char *path = safetensors_path(s);
    if ((!mapped && rows.rows < tokens) ||
        (mapped && (map.bytes != tokens * sizeof(int64_t) || map.rows * map.width != tokens)))
        return RAG_FAIL(RAG_EFORMAT, "%s: %zu rows, or a mapping of %zu, for %zu tokens", path,
                        rows.rows, map.rows * map.width, tokens);
    if (weighed && weights.rows * weights.width != tokens)
        return RAG_FAIL(RAG_EFORMAT, "%s: %zu weights for %zu tokens", path,
                        weights.rows * weights.width, tokens);
    float *weight = mem_alloc(tokens * sizeof *weight);
    err = weight ? make_rows(t, path, tokens, rows.width, &to)
                 : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu weights", tokens);
    if (!err && weighed) {
        weights.width = tokens;
        err = tensor_row(&weights, 0, weight);
    }
    for (size_t i = 0; i < tokens && !err; i++) {
        int64_t row = (int64_t)i;
        if (mapped)
            memcpy(&row, map.data + i * sizeof row, sizeof row);
        if ((uint64_t)row >= rows.rows) {
            err = RAG_FAIL(RAG_EFORMAT, "%s: token %zu has row %lld of %zu", path, i,
                           (long long)row, rows.rows);
            break;
        }
        err = tensor_row(&rows, (size_t)row, to + i * t->wide);
        for (size_t d = 0; d < rows.width && weighed && !err; d++)
            to[i * t->wide + d] *= weight[i];
    }
    mem_free(weight);
    return err;
}

static rag_err join(const char *dir, const char *name, char path[PATH_MAX])
{
    const int n = snprintf(path, PATH_MAX, "%s/%s", dir, name);
    return n > 0 && n < PATH_MAX ? RAG_OK
                                 : RAG_FAIL(RAG_EINVAL, "%.100s...: too long a path", dir);
}

rag_err table_open_folder(const char *dir, struct table **out)
{
    struct table *t = table_new();
    struct safetensors *s = NULL;
    struct tokens words = {0};
    char path[PATH_MAX];
    rag_err err = t ? join(dir, "model.safetensors", path)
                    : RAG_FAIL(RAG_ENOMEM, "out of memory for a table");
    if (!err)
        err = tokens_read(dir, &words);
    if (!err) {
        t->words = words.text; /* the table's from here on */
        t->words_bytes = words.bytes;
        t->facts.wordpiece = true;
        err = safetensors_open(path, &s);
    }
    if (!err)
        err = take_rows(t, s, words.n);
    if (!err)
        err = wordpiece_make(t->words, t->words_bytes, words.n, words.lower, &t->pieces);
    if (!err)
        err = name_it(t, dir);
    safetensors_close(s);
    if (err)
        table_close(t);
    else
        *out = t;
    return err;
}

/* ---- into kith's own file ---- */

rag_err table_save(const struct table *t, const char *path, const char *name,
                   const char *source, const char *licence)
{
    struct model_draft *extra = mem_zalloc(1, sizeof *extra);
    if (!extra)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a model");
    if (!t->f32) {
        mem_free(extra);
        return RAG_FAIL(RAG_EINVAL, "%s is a model of kith already", t->facts.name);
    }
    model_put_text(extra, "source", source);
    model_put_text(extra, "licence", licence);
    model_put_text(extra, "source-revision", t->facts.revision);
    const struct table_parts p = {.name = name,
                                  .words = t->words,
                                  .bytes = t->words_bytes,
                                  .n = t->facts.tokens,
                                  .wordpiece = t->pieces != NULL,
                                  .lower = t->pieces && wordpiece_lower(t->pieces),
                                  .dims = t->facts.dims,
                                  .stride = t->wide,
                                  .rows = t->f32};
    rag_err err = table_write(&p, path, extra);
    mem_free(extra);
    return err;
}
