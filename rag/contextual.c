/* contextual.c - candidates of a search, looked at by a second embedder.
 *
 * Place: rag.  The first embedder and the words narrow; a model that is dearer and better
 * judges what is left, by vectors that are made when they are first needed and then kept.
 * Invariants: a vector is compared with the question's of the same embedder alone; where
 * vectors cannot be kept (another process writes, the disk is full) the search goes on without.
 */
#include <config.h>

#include <math.h>
#include <string.h>
#include <time.h>

#include "ann/base/memory.h"
#include "rag/internal.h"

#define BATCH 16 /* texts between two looks at the clock */
#define FIRST_LOOK                                                                             \
    4 /* the first batch is small: how fast this machine is, is not known yet                  \
       */

struct judging {
    struct rag_store *s;
    float *query, *vec; /* [dims] */
    const int64_t *ids; /* [n] */
    size_t n;
    double *scores;  /* [n] */
    size_t *missing; /* [nmissing] candidates without a vector */
    size_t nmissing;
    char *texts[BATCH];
    struct digest keys[BATCH];
    const size_t *at; /* which candidates they are */
    bool keeps;       /* until keeping fails once */
};

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

/* ---- the second embedder ---- */

const char *contextual_uri(const struct rag_store *s, const char *asked)
{
    const char *set = s->o.setting ? s->o.setting(s->o.setting_arg, "contextual.model") : NULL;
    return asked ? asked : set && *set ? set : RAG_CONTEXTUAL_DEFAULT;
}

void contextual_close(struct rag_store *s)
{
    embed_close(s->second);
    store_embedder_free(&s->second_row);
    mem_free(s->second_uri);
    s->second = NULL;
    s->second_uri = NULL;
}

rag_err contextual_open(struct rag_store *s, const char *uri)
{
    if (s->second && strcmp(s->second_uri, uri) == 0)
        return RAG_OK;
    contextual_close(s);
    s->second_uri = mem_strdup(uri);
    rag_err err = s->second_uri ? session_open_embedder(s, uri, &s->second)
                                : RAG_FAIL(RAG_ENOMEM, "out of memory for a name");
    if (!err)
        err = session_adopt(s, s->second, &s->second_row);
    if (err)
        contextual_close(s);
    return err;
}

/* ---- vectors ---- */

static rag_err keep_all(const struct judging *j, size_t first, size_t n, size_t dims,
                        const float *vectors)
{
    rag_err err = store_begin_now(j->s->store); /* a question does not wait for a writer */
    for (size_t i = 0; i < n && !err; i++)
        err = store_vector_put(j->s->store, j->s->second_row.id, &j->keys[first + i], dims,
                               vectors + i * dims);
    if (!err)
        return store_commit(j->s->store);
    store_rollback(j->s->store);
    return err;
}

static rag_err take(void *arg, size_t first, size_t n, size_t dims, const float *vectors)
{
    struct judging *j = arg;
    if (dims != j->s->second_row.dims)
        return RAG_FAIL(RAG_EMISMATCH, "%s gives %zu dimensions instead of %u",
                        j->s->second_uri, dims, j->s->second_row.dims);
    for (size_t i = 0; i < n; i++)
        j->scores[j->at[first + i]] = session_cosine(j->query, vectors + i * dims, dims);
    if (j->keeps && keep_all(j, first, n, dims, vectors) != RAG_OK)
        j->keeps = false;
    return RAG_OK;
}

/* Scores those whose vectors are there, lists the others. */
static rag_err judge_kept(struct judging *j)
{
    const struct store_embedder *row = &j->s->second_row;
    rag_err err = RAG_OK;
    for (size_t i = 0; i < j->n && !err; i++) {
        struct store_chunk c = {0};
        err = store_chunk_get(j->s->store, j->ids[i], &c);
        if (err == RAG_ENOENT) { /* gone meanwhile */
            err = RAG_OK;
            continue;
        }
        if (!err)
            err = store_vector(j->s->store, row->id, &c.sha256, row->dims, j->vec);
        if (!err)
            j->scores[i] = session_cosine(j->query, j->vec, row->dims);
        if (err == RAG_ENOENT) {
            err = RAG_OK;
            j->missing[j->nmissing++] = i;
        }
        store_chunk_free(&c);
    }
    return err;
}

/* Vectors of the next n missing ones; a text too large for the model stays without a score. */
static rag_err judge_batch(struct judging *j, size_t first, size_t n)
{
    rag_err each[BATCH] = {RAG_OK}, err = RAG_OK;
    size_t made = 0;
    j->at = j->missing + first;
    for (; made < n && !err; made++) {
        size_t bytes = 0;
        err = store_chunk_view(j->s->store, j->ids[j->at[made]], &j->texts[made], &bytes,
                               &j->keys[made]);
        if (err)
            break;
    }
    if (!err)
        err = embed_texts(j->s->second, EMBED_DOCUMENT, (const char *const *)j->texts, n, each,
                          take, j);
    for (size_t i = 0; i < made; i++)
        mem_free(j->texts[i]);
    return err == RAG_ENOENT ? RAG_OK : err; /* removed meanwhile: the batch is passed over */
}

/* Until all are there or another batch would pass the deadline. */
static rag_err judge_missing(struct judging *j, double deadline)
{
    rag_err err = RAG_OK;
    for (size_t done = 0, n; done < j->nmissing && !err; done += n) {
        const size_t rest = j->nmissing - done, most = done == 0 ? FIRST_LOOK : BATCH;
        const double before = now_ms();
        n = rest < most ? rest : most;
        err = judge_batch(j, done, n);
        const double next = (now_ms() - before) / (double)n * BATCH;
        if (now_ms() + next > deadline)
            break;
    }
    return err;
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

rag_err contextual_scores(struct rag_store *s, const char *uri, const char *query,
                          const int64_t *ids, size_t n, double budget_ms, double *scores)
{
    const double deadline = budget_ms < 0 ? INFINITY : now_ms() + budget_ms;
    struct judging j = {.s = s, .ids = ids, .n = n, .scores = scores, .keeps = true};
    for (size_t i = 0; i < n; i++)
        scores[i] = NAN;
    rag_err each = RAG_OK, err = contextual_open(s, uri);
    if (err)
        return err;
    const size_t dims = s->second_row.dims;
    j.query = mem_alloc(dims * sizeof *j.query);
    j.vec = mem_alloc(dims * sizeof *j.vec);
    j.missing = mem_alloc((n + 1) * sizeof *j.missing);
    if (!j.query || !j.vec || !j.missing)
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for a vector");
    struct one o = {j.query, dims};
    if (!err)
        err = embed_texts(s->second, EMBED_QUERY, &query, 1, &each, take_one, &o);
    if (!err)
        err = each;
    if (!err)
        err = judge_kept(&j);
    if (!err)
        err = judge_missing(&j, deadline);
    mem_free(j.query);
    mem_free(j.vec);
    mem_free(j.missing);
    return err;
}
