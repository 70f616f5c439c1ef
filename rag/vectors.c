/* vectors.c - vectors out of a store: of its chunks, documents, words, or its embedder's
 * tokens.
 *
 * Place: rag; vecfile.c writes them.  Vectors are what the embedder gave, whole: from the
 * database, or made again where they are not kept, never the f16 of the index.  Invariant: no
 * more than BLOCK of them are in memory; ids of chunks and words are. */
#include <config.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/memory.h"
#include "rag/internal.h"
#include "rag/text/text.h"
#include "rag/vecfile.h"

#define BLOCK 1024

struct place {
    int64_t document;
    char *source;
    size_t start, end;
};

struct exporting {
    rag_store *s;
    rag_export_of of;
    struct vecfile *file;
    float *vectors; /* [BLOCK, s->active.dims] */

    struct store_document d; /* read last: chunks come in its order */
    struct place places[BLOCK];
    char *texts[BLOCK]; /* of chunks whose vectors are not kept */

    struct place of_mean; /* the document whose chunks come */
    double *sum;          /* [dims] of their vectors */
    float *mean;          /* [dims] */
};

/* ---- chunks ---- */

static rag_err load_chunk(struct exporting *x, int64_t id, size_t i)
{
    const struct store_embedder *of = &x->s->active;
    struct store_chunk c = {0};
    struct place *p = &x->places[i];
    size_t bytes;
    rag_err err = store_chunk_get(x->s->store, id, &c);
    if (!err && x->d.id != c.document) {
        store_document_free(&x->d);
        err = store_document_get(x->s->store, c.document, of->free_of_charge, &x->d);
    }
    if (!err) {
        *p = (struct place){c.document, mem_strdup(x->d.source), c.start, c.end};
        if (!p->source)
            err = RAG_FAIL(RAG_ENOMEM, "out of memory for a source");
    }
    if (!err && of->free_of_charge)
        err = store_view(&c, x->d.text, x->d.bytes, &x->texts[i], &bytes);
    else if (!err)
        err = store_vector(x->s->store, of->id, &c.sha256, of->dims, x->vectors + i * of->dims);
    store_chunk_free(&c);
    return err;
}

static void drop_block(struct exporting *x)
{
    for (size_t i = 0; i < BLOCK; i++) {
        mem_free(x->places[i].source);
        mem_free(x->texts[i]);
        x->places[i].source = x->texts[i] = NULL;
    }
}

/* Writes the mean of the document before, if there is one, and begins with the next. */
static rag_err next_document(struct exporting *x, struct place *next)
{
    const size_t dims = x->s->active.dims;
    rag_err err = RAG_OK;
    if (x->of_mean.source) {
        double norm = 0;
        for (size_t d = 0; d < dims; d++)
            norm += x->sum[d] * x->sum[d];
        for (size_t d = 0; d < dims; d++)
            x->mean[d] = norm > 0 ? (float)(x->sum[d] / sqrt(norm)) : 0;
        const struct vecfile_row row = {.label = x->of_mean.source, .vec = x->mean};
        err = vecfile_put(x->file, &row);
        mem_free(x->of_mean.source);
    }
    x->of_mean = next ? *next : (struct place){0};
    if (next)
        next->source = NULL; /* of_mean's now */
    memset(x->sum, 0, dims * sizeof *x->sum);
    return err;
}

static rag_err take_chunk(struct exporting *x, size_t i)
{
    const size_t dims = x->s->active.dims;
    const float *vec = x->vectors + i * dims;
    struct place *p = &x->places[i];
    if (x->of == RAG_EXPORT_CHUNKS) {
        const struct vecfile_row row = {
            .source = p->source, .start = p->start, .end = p->end, .vec = vec};
        return vecfile_put(x->file, &row);
    }
    rag_err err = p->document != x->of_mean.document ? next_document(x, p) : RAG_OK;
    for (size_t d = 0; d < dims; d++)
        x->sum[d] += (double)vec[d];
    return err;
}

static rag_err export_chunks(struct exporting *x, const int64_t *ids, size_t n)
{
    rag_err err = RAG_OK;
    for (size_t at = 0; at < n && !err; at += BLOCK) {
        const size_t some = n - at < BLOCK ? n - at : BLOCK;
        err = session_step(x->s, "vectors", at, n);
        for (size_t i = 0; i < some && !err; i++)
            err = load_chunk(x, ids[at + i], i);
        if (!err && x->s->active.free_of_charge)
            err = session_embed(x->s, EMBED_DOCUMENT, (const char *const *)x->texts, some,
                                x->vectors);
        for (size_t i = 0; i < some && !err; i++)
            err = take_chunk(x, i);
        drop_block(x);
    }
    return !err && x->of == RAG_EXPORT_DOCUMENTS ? next_document(x, NULL) : err;
}

static rag_err count_document(void *arg, const struct store_document *d)
{
    *(uint64_t *)arg += d->chunks > 0;
    return RAG_OK;
}

/* ---- words ---- */

/* Distinct words: a hash table of where each begins in `text`, 1 more so that 0 is none. */
struct words {
    struct store *store;
    char *text; /* each with a NUL */
    size_t used, room;
    size_t *table; /* [mask + 1], at most half full */
    size_t n, mask;
};

static size_t word_slot(const struct words *w, const char *word, size_t bytes)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < bytes; i++)
        h = (h ^ (unsigned char)word[i]) * 1099511628211u;
    size_t at = (h ^ h >> 29) & w->mask;
    for (; w->table[at]; at = (at + 1) & w->mask) {
        const char *there = w->text + w->table[at] - 1;
        if (strncmp(there, word, bytes) == 0 && !there[bytes])
            break;
    }
    return at;
}

static bool grow_words(struct words *w, size_t bytes)
{
    if (w->used + bytes + 1 > w->room) {
        const size_t room = 2 * w->room + bytes + 4096;
        char *text = mem_resize(w->text, room);
        if (!text)
            return false;
        w->text = text;
        w->room = room;
    }
    if (w->table && 2 * w->n < w->mask)
        return true;
    struct words next = {.text = w->text, .mask = w->table ? 2 * w->mask + 1 : 4095};
    next.table = mem_zalloc(next.mask + 1, sizeof *next.table);
    if (!next.table)
        return false;
    for (size_t i = 0; w->table && i <= w->mask; i++)
        if (w->table[i]) {
            const char *word = w->text + w->table[i] - 1;
            next.table[word_slot(&next, word, strlen(word))] = w->table[i];
        }
    mem_free(w->table);
    w->table = next.table;
    w->mask = next.mask;
    return true;
}

static int add_word(void *arg, const char *word, size_t bytes)
{
    struct words *w = arg;
    if (!grow_words(w, bytes))
        return 1;
    const size_t at = word_slot(w, word, bytes);
    if (w->table[at])
        return 0;
    w->table[at] = w->used + 1;
    memcpy(w->text + w->used, word, bytes);
    w->text[w->used + bytes] = '\0';
    w->used += bytes + 1;
    w->n++;
    return 0;
}

static rag_err add_document(void *arg, const struct store_document *d)
{
    struct words *w = arg;
    struct store_document whole = {0};
    rag_err err = store_document_get(w->store, d->id, true, &whole);
    if (!err && text_words(whole.text, whole.bytes, add_word, w))
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for %zu words", w->n);
    store_document_free(&whole);
    return err;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Every word of the texts, once, ascending; the list points into w->text. */
static rag_err list_words(struct words *w, const char ***out)
{
    rag_err err = store_documents(w->store, NULL, add_document, w);
    const char **list = err ? NULL : mem_alloc((w->n + 1) * sizeof *list);
    if (!err && !list)
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for %zu words", w->n);
    if (err)
        return err;
    size_t at = 0;
    for (size_t i = 0; w->table && i <= w->mask; i++)
        if (w->table[i])
            list[at++] = w->text + w->table[i] - 1;
    qsort(list, w->n, sizeof *list, by_bytes);
    *out = list;
    return RAG_OK;
}

static rag_err export_words(struct exporting *x, const char *const *words, size_t n)
{
    const size_t dims = x->s->active.dims;
    rag_err err = RAG_OK;
    for (size_t at = 0; at < n && !err; at += BLOCK) {
        const size_t some = n - at < BLOCK ? n - at : BLOCK;
        err = session_step(x->s, "vectors", at, n);
        if (!err)
            err = session_embed(x->s, EMBED_DOCUMENT, words + at, some, x->vectors);
        for (size_t i = 0; i < some && !err; i++) {
            const struct vecfile_row row = {.label = words[at + i],
                                            .vec = x->vectors + i * dims};
            err = vecfile_put(x->file, &row);
        }
    }
    return err;
}

/* s->embedder is there, and asks no server: a vocabulary is far more than a text. */
static rag_err embedder_here(rag_store *s)
{
    if (strncmp(s->active.uri, "brought:", 8) == 0)
        return RAG_FAIL(RAG_ENOTSUP, "vectors of %s come with their texts: it embeds no words",
                        s->active.uri);
    rag_err err = s->embedder ? RAG_OK : session_open_embedder(s, s->active.uri, &s->embedder);
    if (!err && !embed_is_local(s->embedder))
        return RAG_FAIL(RAG_ENOTSUP,
                        "%s is a server's: words and tokens are exported by embedders of this "
                        "process alone",
                        s->active.uri);
    return err ? err : session_embedder(s);
}

/* ---- tokens ---- */

struct tokens {
    struct vecfile *file; /* NULL: they are counted */
    uint64_t n;
    size_t dims;
};

static rag_err take_token(void *arg, const char *token, size_t dims, const float *vec)
{
    struct tokens *t = arg;
    const struct vecfile_row row = {.label = token, .vec = vec};
    t->n++;
    if (!t->file)
        t->dims = dims;
    else if (dims != t->dims)
        return RAG_FAIL(RAG_EDIM, "token %s has %zu dimensions instead of %zu", token, dims,
                        t->dims);
    return t->file ? vecfile_put(t->file, &row) : RAG_OK;
}

/* ---- the whole ---- */

static rag_err run_chunks(struct exporting *x, const char *path, struct vecfile_shape *shape)
{
    static const int64_t none;
    int64_t *ids = NULL;
    size_t n = 0;
    rag_err err = store_chunk_ids(x->s->store, 0, SIZE_MAX, &ids, &n);
    if (!err && x->of == RAG_EXPORT_DOCUMENTS) {
        err = store_documents(x->s->store, NULL, count_document, &shape->n);
    } else {
        shape->n = n;
        shape->ids = n ? ids : &none;
    }
    if (!err)
        err = vecfile_create(path, shape, &x->file);
    if (!err)
        err = export_chunks(x, ids, n);
    mem_free(ids);
    return err;
}

static rag_err run_words(struct exporting *x, const char *path, struct vecfile_shape *shape)
{
    struct words w = {.store = x->s->store};
    const char **list = NULL;
    rag_err err = list_words(&w, &list);
    shape->n = w.n;
    if (!err)
        err = vecfile_create(path, shape, &x->file);
    if (!err)
        err = export_words(x, list, w.n);
    mem_free(list);
    mem_free(w.text);
    mem_free(w.table);
    return err;
}

static rag_err run_tokens(struct exporting *x, const char *path, struct vecfile_shape *shape)
{
    struct tokens t = {.dims = shape->dims};
    rag_err err = embed_tokens(x->s->embedder, take_token, &t);
    shape->n = t.n;
    shape->dims = t.dims;
    if (!err)
        err = vecfile_create(path, shape, &x->file);
    t.file = x->file;
    return err ? err : embed_tokens(x->s->embedder, take_token, &t);
}

static rag_err run(struct exporting *x, const rag_export_options *o)
{
    struct vecfile_shape shape = {
        .format = o->format, .f16 = o->f16 != 0, .dims = x->s->active.dims};
    rag_err err = store_begin_read(x->s->store);
    if (err)
        return err;
    if (x->of == RAG_EXPORT_WORDS)
        err = run_words(x, o->path, &shape);
    else if (x->of == RAG_EXPORT_TOKENS)
        err = run_tokens(x, o->path, &shape);
    else
        err = run_chunks(x, o->path, &shape);
    store_rollback(x->s->store);
    return err;
}

rag_err rag_export_vectors(rag_store *s, const rag_export_options *given)
{
    rag_export_options o = RAG_EXPORT_OPTIONS_INIT;
    const size_t dims = s->active.dims;
    if (given)
        memcpy(&o, given, given->size < sizeof o ? given->size : sizeof o);
    if ((unsigned)o.of > RAG_EXPORT_TOKENS)
        return RAG_FAIL(RAG_EINVAL, "nothing to export has the number %d", (int)o.of);
    rag_err err =
        o.of == RAG_EXPORT_WORDS || o.of == RAG_EXPORT_TOKENS ? embedder_here(s) : RAG_OK;
    if (err)
        return err;
    struct exporting *x = mem_zalloc(1, sizeof *x);
    if (!x)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for an export");
    x->s = s;
    x->of = o.of;
    x->vectors = mem_alloc(BLOCK * dims * sizeof *x->vectors);
    x->sum = mem_zalloc(dims, sizeof *x->sum);
    x->mean = mem_alloc(dims * sizeof *x->mean);
    err = x->vectors && x->sum && x->mean ? run(x, &o)
                                          : RAG_FAIL(RAG_ENOMEM, "out of memory for vectors");
    if (err)
        vecfile_abandon(x->file);
    else
        err = vecfile_finish(x->file);
    store_document_free(&x->d);
    drop_block(x);
    mem_free(x->of_mean.source);
    mem_free(x->vectors);
    mem_free(x->sum);
    mem_free(x->mean);
    mem_free(x);
    return err;
}
