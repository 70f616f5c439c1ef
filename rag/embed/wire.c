/* wire.c - requests and answers of embedding and re-ranking servers.  See wire.h.
 *
 * Place: rag/embed.  Vectors are asked for as base64, which costs a hundredth of reading
 * numbers; a server that does not know the option answers with numbers, which are taken too. */
#include <config.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/memory.h"
#include "ann/io/json.h"
#include "rag/embed/wire.h"
#include "rag/error.h"

/* ---- requests ---- */

static void put_texts(struct js_out *o, const char *key, const char *const *texts, size_t n)
{
    js_open(o, key, '[');
    for (size_t i = 0; i < n; i++)
        js_put_string(o, NULL, texts[i]);
    js_shut(o, ']');
}

/* The text of o becomes the caller's. */
static rag_err hand_over(struct js_out *o, char **body, size_t *bytes)
{
    char *copy = o->failed ? NULL : mem_alloc(o->bytes + 1);
    if (copy) {
        memcpy(copy, o->text, o->bytes);
        copy[o->bytes] = '\0';
        *body = copy;
        *bytes = o->bytes;
    }
    js_out_free(o);
    return copy ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for a request");
}

rag_err wire_ask_vectors(enum wire_shape shape, const char *model, size_t dims,
                         const char *const *texts, size_t n, char **body, size_t *bytes)
{
    struct js_out o = JS_OUT_INIT;
    js_open(&o, NULL, '{');
    if (shape != WIRE_TEI)
        js_put_string(&o, "model", model);
    put_texts(&o, shape == WIRE_TEI ? "inputs" : "input", texts, n);
    if (shape == WIRE_OPENAI)
        js_put_string(&o, "encoding_format", "base64");
    else
        js_put_bool(&o, "truncate", false); /* a text cut in silence has another vector */
    if (shape == WIRE_TEI)
        js_put_bool(&o, "normalize", true);
    if (dims > 0)
        js_put_u64(&o, "dimensions", dims);
    js_shut(&o, '}');
    return hand_over(&o, body, bytes);
}

rag_err wire_ask_scores(bool tei, const char *model, const char *query,
                        const char *const *texts, size_t n, char **body, size_t *bytes)
{
    struct js_out o = JS_OUT_INIT;
    js_open(&o, NULL, '{');
    if (!tei)
        js_put_string(&o, "model", model);
    js_put_string(&o, "query", query);
    put_texts(&o, tei ? "texts" : "documents", texts, n);
    if (!tei)
        js_put_u64(&o, "top_n", n);
    js_shut(&o, '}');
    return hand_over(&o, body, bytes);
}

/* ---- one vector ---- */

struct reading {
    const char *name;
    size_t n, dims; /* dims 0: not known yet */
    float *vectors; /* [n, dims] */
    bool *filled;   /* [n] */
};

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Strict base64 (RFC 4648) of exactly `want` bytes. */
static bool base64(const char *s, size_t length, unsigned char *out, size_t want)
{
    size_t n = 0;
    unsigned bits = 0, held = 0;
    if (length != (want + 2) / 3 * 4)
        return false;
    for (size_t i = 0; i < length; i++) {
        const int v = base64_value(s[i]);
        if (v < 0)
            return s[i] == '=' && n == want && length - i <= 2 && bits == 0 &&
                   (i + 1 == length || s[i + 1] == '=');
        bits = bits << 6 | (unsigned)v;
        held += 6;
        if (held >= 8) {
            held -= 8;
            if (n == want)
                return false;
            out[n++] = (unsigned char)(bits >> held);
            bits &= (1u << held) - 1;
        }
    }
    return n == want && bits == 0;
}

/* How many numbers a value stands for, 0 if it is no vector. */
static size_t dims_of(const struct js *v)
{
    if (js_kind(v) == JS_ARRAY)
        return js_count(v);
    const char *s = js_string(v, NULL);
    const size_t length = s ? strlen(s) : 0;
    if (length == 0 || length % 4 != 0)
        return 0;
    const size_t bytes = length / 4 * 3 - (s[length - 1] == '=') - (s[length - 2] == '=');
    return bytes % sizeof(float) == 0 ? bytes / sizeof(float) : 0;
}

static rag_err start_vectors(struct reading *r, size_t dims)
{
    size_t each, all;
    r->dims = dims;
    if (!size_mul(dims, sizeof(float), &each) || !size_mul(each, r->n, &all) ||
        !(r->vectors = mem_alloc(all)))
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu vectors of %zu", r->n, dims);
    return RAG_OK;
}

static rag_err read_numbers(const struct reading *r, size_t i, const struct js *v, float *out)
{
    if (js_kind(v) == JS_STRING) {
        const char *s = js_string(v, "");
        if (!base64(s, strlen(s), (unsigned char *)out, r->dims * sizeof *out))
            return RAG_FAIL(RAG_EFORMAT, "%s: vector %zu is no base64", r->name, i);
    }
    for (size_t d = 0; d < r->dims && js_kind(v) == JS_ARRAY; d++) {
        const struct js *x = js_at(v, d);
        if (js_kind(x) != JS_NUMBER)
            return RAG_FAIL(RAG_EFORMAT, "%s: element %zu of vector %zu is no number", r->name,
                            d, i);
        out[d] = (float)js_number(x, NAN);
    }
    double norm = 0;
    for (size_t d = 0; d < r->dims; d++) {
        if (!isfinite(out[d]))
            return RAG_FAIL(RAG_EFORMAT, "%s: element %zu of vector %zu is not finite", r->name,
                            d, i);
        norm += (double)out[d] * out[d];
    }
    return norm > 0 ? RAG_OK : RAG_FAIL(RAG_EFORMAT, "%s: vector %zu is zero", r->name, i);
}

/* Puts the vector of text i in its place. */
static rag_err take_vector(struct reading *r, size_t i, const struct js *v)
{
    const size_t dims = dims_of(v);
    if (dims == 0 || dims > WIRE_DIMS_MAX)
        return RAG_FAIL(RAG_EFORMAT, "%s: vector %zu has %zu dimensions, not 1..%d", r->name, i,
                        dims, WIRE_DIMS_MAX);
    if (r->dims > 0 && dims != r->dims)
        return RAG_FAIL(RAG_EDIM, "%s: vector %zu has %zu dimensions instead of %zu", r->name,
                        i, dims, r->dims);
    if (r->filled[i])
        return RAG_FAIL(RAG_EFORMAT, "%s: index %zu stands twice", r->name, i);
    rag_err err = r->vectors ? RAG_OK : start_vectors(r, dims);
    if (!err)
        err = read_numbers(r, i, v, r->vectors + i * dims);
    r->filled[i] = true;
    return err;
}

/* ---- answers ---- */

static rag_err parse(const char *name, const char *body, size_t bytes, struct js **document)
{
    rag_err err = rag_from_base(js_parse(name, body, bytes, 0, document));
    if (err)
        return err == RAG_ENOMEM ? err
                                 : RAG_FAIL(RAG_EFORMAT, "%s: the answer is no JSON: %.200s",
                                            name, error_message());
    const struct js *error = js_get(*document, "error");
    if (js_kind(*document) != JS_OBJECT || !error || js_kind(error) == JS_NULL)
        return RAG_OK;
    const char *words = js_string(js_get(error, "message"), js_string(error, "without words"));
    err = RAG_FAIL(RAG_EREFUSED, "%s: an error with status 200: %.300s", name, words);
    js_free(*document);
    return err;
}

static const struct js *list_in(enum wire_shape shape, const struct js *document)
{
    if (shape == WIRE_TEI)
        return document;
    return js_get(document, shape == WIRE_OPENAI ? "data" : "embeddings");
}

static rag_err take_all(enum wire_shape shape, struct reading *r, const struct js *document)
{
    const struct js *list = list_in(shape, document);
    if (js_kind(list) != JS_ARRAY)
        return RAG_FAIL(RAG_EFORMAT, "%s: the answer holds no list of vectors", r->name);
    if (js_count(list) != r->n)
        return RAG_FAIL(RAG_EFORMAT, "%s: %zu vectors for %zu texts", r->name, js_count(list),
                        r->n);
    rag_err err = RAG_OK;
    for (size_t i = 0; i < r->n && !err; i++) {
        const struct js *item = js_at(list, i);
        uint64_t index = i;
        if (shape == WIRE_OPENAI) {
            if (!js_u64(js_get(item, "index"), &index) || index >= r->n)
                return RAG_FAIL(RAG_EFORMAT, "%s: vector %zu has no index below %zu", r->name,
                                i, r->n);
            item = js_get(item, "embedding");
        }
        err = take_vector(r, (size_t)index, item);
    }
    return err;
}

rag_err wire_vectors(enum wire_shape shape, const char *name, const char *body, size_t bytes,
                     size_t n, size_t *dims, float **vectors)
{
    struct js *document = NULL;
    struct reading r = {.name = name, .n = n, .dims = *dims};
    rag_err err = parse(name, body, bytes, &document);
    if (err)
        return err;
    r.filled = mem_zalloc(n ? n : 1, sizeof *r.filled);
    err = r.filled ? take_all(shape, &r, document)
                   : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu texts", n);
    js_free(document);
    mem_free(r.filled);
    if (err) {
        mem_free(r.vectors);
        return err;
    }
    *dims = r.dims;
    *vectors = r.vectors;
    return RAG_OK;
}

static rag_err take_score(const char *name, const struct js *item, size_t n, bool *filled,
                          double *scores)
{
    uint64_t index;
    const struct js *score = js_get(item, "relevance_score");
    score = score ? score : js_get(item, "score");
    if (!js_u64(js_get(item, "index"), &index) || index >= n)
        return RAG_FAIL(RAG_EFORMAT, "%s: a score without an index below %zu", name, n);
    if (filled[index])
        return RAG_FAIL(RAG_EFORMAT, "%s: index %zu stands twice", name, (size_t)index);
    scores[index] = js_number(score, NAN);
    filled[index] = true;
    if (js_kind(score) != JS_NUMBER || !isfinite(scores[index]))
        return RAG_FAIL(RAG_EFORMAT, "%s: the score of text %zu is no finite number", name,
                        (size_t)index);
    return RAG_OK;
}

rag_err wire_scores(const char *name, const char *body, size_t bytes, size_t n, double *scores)
{
    struct js *document = NULL;
    rag_err err = parse(name, body, bytes, &document);
    if (err)
        return err;
    const struct js *list =
        js_kind(document) == JS_ARRAY ? document : js_get(document, "results");
    bool *filled = mem_zalloc(n ? n : 1, sizeof *filled);
    double *own = mem_alloc((n ? n : 1) * sizeof *own);
    if (!filled || !own)
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for %zu scores", n);
    else if (js_kind(list) != JS_ARRAY || js_count(list) != n)
        err = RAG_FAIL(RAG_EFORMAT, "%s: %zu scores for %zu texts", name, js_count(list), n);
    for (size_t i = 0; i < n && !err; i++)
        err = take_score(name, js_at(list, i), n, filled, own);
    if (!err)
        memcpy(scores, own, n * sizeof *own);
    js_free(document);
    mem_free(filled);
    mem_free(own);
    return err;
}
