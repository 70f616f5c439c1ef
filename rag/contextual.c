/* contextual.c - candidates of a search, looked at by a second embedder.
 *
 * Place: rag.  The first embedder and the words narrow; a model that is dearer and better
 * judges what is left, by vectors that are made when they are first needed and then kept.
 * Invariant: a vector is compared with the question's of the same embedder alone. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/base/memory.h"
#include "rag/internal.h"

#define BATCH 64

struct judging {
    struct rag_store *s;
    struct store_embedder row;
    struct embedder *e;
    float *query, *vec; /* [dims] */
    char *texts[BATCH]; /* of chunks without a vector */
    struct digest keys[BATCH];
    size_t at[BATCH]; /* which candidates they are */
    size_t n;
    double *scores;
};

static rag_err keep(void *arg, size_t first, size_t n, size_t dims, const float *vectors)
{
    struct judging *j = arg;
    if (dims != j->row.dims)
        return RAG_FAIL(RAG_EMISMATCH, "%s gives %zu dimensions instead of %u", j->row.uri,
                        dims, j->row.dims);
    rag_err err = store_begin(j->s->store);
    for (size_t i = 0; i < n && !err; i++) {
        j->scores[j->at[first + i]] = session_cosine(j->query, vectors + i * dims, dims);
        err = store_vector_put(j->s->store, j->row.id, &j->keys[first + i], dims,
                               vectors + i * dims);
    }
    if (!err)
        return store_commit(j->s->store);
    store_rollback(j->s->store);
    return err;
}

/* Makes the vectors that are wanted; a text too large for the model stays without a score. */
static rag_err make_wanted(struct judging *j)
{
    rag_err each[BATCH] = {RAG_OK};
    rag_err err = j->n ? embed_texts(j->e, EMBED_DOCUMENT, (const char *const *)j->texts, j->n,
                                     each, keep, j)
                       : RAG_OK;
    for (size_t i = 0; i < j->n; i++)
        mem_free(j->texts[i]);
    j->n = 0;
    return err;
}

static rag_err judge(struct judging *j, int64_t id, size_t at)
{
    struct store_chunk c = {0};
    rag_err err = store_chunk_get(j->s->store, id, &c);
    if (err == RAG_ENOENT) /* gone meanwhile */
        return RAG_OK;
    if (!err)
        err = store_vector(j->s->store, j->row.id, &c.sha256, j->row.dims, j->vec);
    if (!err)
        j->scores[at] = session_cosine(j->query, j->vec, j->row.dims);
    if (err == RAG_ENOENT) {
        size_t bytes = 0;
        err = store_chunk_view(j->s->store, id, &j->texts[j->n], &bytes, &j->keys[j->n]);
        if (!err)
            j->at[j->n++] = at;
    }
    store_chunk_free(&c);
    return !err && j->n == BATCH ? make_wanted(j) : err;
}

struct one {
    float *out;
    size_t dims;
};

static rag_err take_one(void *arg, size_t first, size_t n, size_t dims, const float *vectors)
{
    const struct one *o = arg;
    (void)first;
    (void)n;
    if (dims != o->dims)
        return RAG_FAIL(RAG_EMISMATCH, "the question has %zu dimensions instead of %zu", dims,
                        o->dims);
    memcpy(o->out, vectors, dims * sizeof *vectors);
    return RAG_OK;
}

static rag_err start(struct judging *j, const char *uri, const char *query)
{
    rag_err each = RAG_OK;
    rag_err err = session_open_embedder(j->s, uri, &j->e);
    if (!err)
        err = session_adopt(j->s, j->e, &j->row);
    if (err)
        return err;
    j->query = mem_alloc(j->row.dims * sizeof *j->query);
    j->vec = mem_alloc(j->row.dims * sizeof *j->vec);
    if (!j->query || !j->vec)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a vector");
    struct one o = {j->query, j->row.dims};
    err = embed_texts(j->e, EMBED_QUERY, &query, 1, &each, take_one, &o);
    return err ? err : each;
}

rag_err contextual_scores(struct rag_store *s, const char *uri, const char *query,
                          const int64_t *ids, size_t n, double *scores)
{
    struct judging j = {.s = s, .scores = scores};
    for (size_t i = 0; i < n; i++)
        scores[i] = NAN;
    rag_err err = start(&j, uri, query);
    for (size_t i = 0; i < n && !err; i++)
        err = judge(&j, ids[i], i);
    if (!err)
        err = make_wanted(&j);
    for (size_t i = 0; i < j.n; i++)
        mem_free(j.texts[i]);
    mem_free(j.query);
    mem_free(j.vec);
    store_embedder_free(&j.row);
    embed_close(j.e);
    return err;
}
