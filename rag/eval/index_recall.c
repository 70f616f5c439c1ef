/* index_recall.c - what the store's index loses against exact search over its own vectors.
 *
 * Place: rag/eval, over rag/store's mirror.  This is the index's error alone; what the embedder
 * misses is runs.c's matter.  Invariant: what is searched with is what is compared with: the
 * vectors as the index has them. */
#include <config.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ann/base/memory.h"
#include "rag/eval/collection.h"
#include "rag/internal.h"

#define K_DEFAULT 200
#define SAMPLE    500
#define NEAR      10   /* the nearest of them, told apart */
#define ROUNDING  2e-6 /* of a cosine in 32-bit floats: so near is as near */
#define POINTS    64
#define OWN_LEAST 64 /* the index's own choice is 2k, and not less (ann.h) */
#define WARM      20 /* searches before the first that is timed */

struct measuring {
    rag_store *s;
    rag_ann_eval_options o;
    float *queries; /* [n, dims] of length 1 */
    int64_t *own;   /* [n] the passage a query was taken from; NULL: none was */
    size_t n, dims;
    float *truth; /* [n, k] scores, best first */
    size_t efforts[POINTS];
    rag_ann_eval *e;
};

/* ---- queries ---- */

/* An embedder gives no vector of length 0. */
static void to_length_1(float *v, size_t dims)
{
    double sum = 0;
    for (size_t d = 0; d < dims; d++)
        sum += (double)v[d] * v[d];
    for (size_t d = 0; d < dims && sum > 0; d++)
        v[d] = (float)(v[d] / sqrt(sum));
}

static rag_err make_queries(struct measuring *m, size_t n)
{
    m->n = n;
    m->queries = mem_alloc(n * m->dims * sizeof *m->queries);
    return m->queries ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu queries", n);
}

static rag_err from_file(struct measuring *m)
{
    rag_collection *c = NULL;
    rag_err err = eval_questions(m->o.queries, &c);
    const size_t all = err ? 0 : c->nquestions;
    const size_t n = all < m->o.sample ? all : m->o.sample;
    const char **texts = mem_alloc((n + 1) * sizeof *texts);
    if (!err && !texts)
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for %zu queries", n);
    for (size_t i = 0; i < n && !err; i++)
        texts[i] = c->questions[i * all / n].text;
    if (!err)
        err = make_queries(m, n);
    if (!err)
        err = session_embed(m->s, EMBED_QUERY, texts, n, m->queries);
    mem_free(texts);
    rag_collection_close(c);
    return err;
}

static rag_err from_passages(struct measuring *m)
{
    int64_t *ids = NULL;
    size_t all = 0;
    rag_err err = store_chunk_ids(m->s->store, 0, SIZE_MAX, &ids, &all);
    const size_t n = all < m->o.sample ? all : m->o.sample;
    if (!err && n < 2)
        err = RAG_FAIL(RAG_ENOENT, "the store has %zu passages: nothing to be compared", all);
    if (!err)
        err = make_queries(m, n);
    if (!err && !(m->own = mem_alloc(n * sizeof *m->own)))
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for %zu queries", n);
    for (size_t i = 0; i < n && !err; i++) {
        m->own[i] = ids[i * all / n];
        err = mirror_vector(m->s->mirror, m->own[i], m->queries + i * m->dims);
    }
    mem_free(ids);
    return err;
}

/* ---- one effort ---- */

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

/* How many of hits [n], but for skip, are as near as the k-th of truth [k]; *wanted: of how
 * many. */
static size_t count_near(const struct store_hit *hits, size_t n, int64_t skip,
                         const float *truth, size_t k, size_t *wanted)
{
    size_t found = 0;
    for (*wanted = k; *wanted > 0 && isinf(truth[*wanted - 1]); --*wanted)
        continue;
    if (*wanted == 0)
        return 0;
    const double limit = (double)truth[*wanted - 1] - ROUNDING;
    for (size_t i = 0; i < n && found < *wanted; i++)
        found += hits[i].chunk != skip && hits[i].score >= limit;
    return found;
}

struct sample {
    double *recall, *us; /* [n] */
    double near;         /* sum over the queries */
    struct store_hit *hits;
};

static rag_err ask_all(struct measuring *m, struct sample *t)
{
    const size_t k = m->o.k, near = k < NEAR ? k : NEAR, ask = k + (m->own != NULL);
    size_t n = 0, wanted = 0;
    rag_err err = RAG_OK;
    for (size_t i = 0; i < m->n && i < WARM && !err; i++)
        err = mirror_search(m->s->mirror, m->queries + i * m->dims, ask, NULL, 0, false,
                            t->hits, &n);
    for (size_t i = 0; i < m->n && !err; i++) {
        const int64_t skip = m->own ? m->own[i] : 0;
        const float *truth = m->truth + i * k;
        const double start = now_us();
        err = mirror_search(m->s->mirror, m->queries + i * m->dims, ask, NULL, 0, false,
                            t->hits, &n);
        t->us[i] = now_us() - start;
        const size_t found = count_near(t->hits, n, skip, truth, k, &wanted);
        t->recall[i] = wanted ? (double)found / (double)wanted : 1;
        const size_t first = count_near(t->hits, n, skip, truth, near, &wanted);
        t->near += wanted ? (double)first / (double)wanted : 1;
    }
    return err;
}

static rag_err measure(struct measuring *m, size_t effort, rag_ann_point *p)
{
    struct sample t = {mem_alloc(m->n * sizeof *t.recall), mem_alloc(m->n * sizeof *t.us), 0,
                       mem_alloc((m->o.k + 1) * sizeof *t.hits)};
    struct interval recall = {0};
    rag_err err = t.recall && t.us && t.hits
                      ? RAG_OK
                      : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu queries", m->n);
    mirror_set_effort(m->s->mirror, effort);
    if (!err)
        err = ask_all(m, &t);
    if (!err)
        err = metrics_interval(t.recall, m->n, &recall);
    if (!err) {
        *p = (rag_ann_point){.effort = effort,
                             .recall = recall.mean,
                             .low = recall.low,
                             .high = recall.high,
                             .recall10 = t.near / (double)m->n,
                             .p50_us = metrics_quantile(t.us, m->n, 0.5),
                             .p95_us = metrics_quantile(t.us, m->n, 0.95),
                             .p99_us = metrics_quantile(t.us, m->n, 0.99)};
        for (size_t i = 0; i < m->n; i++)
            p->mean_us += t.us[i] / (double)m->n;
    }
    mem_free(t.recall);
    mem_free(t.us);
    mem_free(t.hits);
    return err;
}

/* ---- all of them ---- */

static rag_err check(struct measuring *m, const rag_ann_eval_options *given)
{
    rag_ann_eval_options o = RAG_ANN_EVAL_OPTIONS_INIT;
    if (given)
        memcpy(&o, given, given->size < sizeof o ? given->size : sizeof o);
    o.k = o.k ? o.k : K_DEFAULT;
    o.sample = o.sample ? o.sample : SAMPLE;
    if (o.k > 10000)
        return RAG_FAIL(RAG_EINVAL, "%zu vectors; at most 10000", o.k);
    if (!(o.target >= 0 && o.target <= 1))
        return RAG_FAIL(RAG_EINVAL, "a recall of %g; it lies in 0..1", o.target);
    if (o.nefforts > POINTS)
        return RAG_FAIL(RAG_EINVAL, "%zu efforts; at most %d", o.nefforts, POINTS);
    for (size_t i = 0; i < o.nefforts; i++)
        if (o.efforts[i] == 0 || o.efforts[i] > ANN_EFFORT_MAX ||
            (i > 0 && o.efforts[i] <= o.efforts[i - 1]))
            return RAG_FAIL(RAG_EINVAL, "efforts ascend from 1 to %d, and effort %zu is %zu",
                            ANN_EFFORT_MAX, i, o.efforts[i]);
    m->o = o;
    return RAG_OK;
}

/* The efforts asked for, else those between which recall mostly lies. */
static size_t list_efforts(struct measuring *m, bool graph)
{
    static const double times[] = {0.25, 0.375, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8};
    size_t n = 0;
    if (!graph) {
        m->efforts[0] = 0;
        return 1;
    }
    for (size_t i = 0; i < m->o.nefforts; i++)
        m->efforts[n++] = m->o.efforts[i];
    for (size_t i = 0; m->o.nefforts == 0 && i < sizeof times / sizeof *times; i++) {
        const size_t effort = (size_t)ceil(times[i] * (double)m->o.k);
        if (n == 0 || effort > m->efforts[n - 1])
            m->efforts[n++] = effort;
    }
    return n;
}

static rag_err measure_all(struct measuring *m)
{
    struct mirror_state st;
    mirror_state(m->s->mirror, &st);
    rag_ann_eval *e = m->e;
    const size_t n = list_efforts(m, st.graph), kept = session_effort(m->s);
    const size_t own = 2 * m->o.k > OWN_LEAST ? 2 * m->o.k : OWN_LEAST;
    *e = (rag_ann_eval){.k = m->o.k,
                        .queries = m->n,
                        .vectors = st.filed + st.pending - st.gone,
                        .exact = !st.graph,
                        .kept = kept > 0,
                        .effort = kept       ? kept
                                  : st.graph ? own
                                             : 0};
    e->points = mem_zalloc(n, sizeof *e->points);
    m->truth = mem_alloc(m->n * m->o.k * sizeof *m->truth);
    if (!e->points || !m->truth)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu queries", m->n);
    rag_err err = mirror_truth(m->s->mirror, m->queries, m->n, m->o.k, m->own, m->truth);
    for (size_t i = 0; i < n && !err; i++) {
        err = measure(m, m->efforts[i], &e->points[i]);
        e->npoints += !err;
        if (!err && m->o.target > 0 && e->chosen == 0 && e->points[i].low >= m->o.target)
            e->chosen = m->efforts[i];
        if (!err)
            err = session_step(m->s, "efforts", i + 1, n);
    }
    return err;
}

rag_err rag_eval_ann(rag_store *s, const rag_ann_eval_options *o, rag_ann_eval **out)
{
    struct measuring m = {.s = s, .dims = s->active.dims};
    rag_err err = check(&m, o);
    if (!err && !(m.e = mem_zalloc(1, sizeof *m.e)))
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for an evaluation");
    if (!err)
        err = session_mirror(s);
    if (!err)
        err = m.o.queries ? from_file(&m) : from_passages(&m);
    for (size_t i = 0; i < m.n && !err; i++)
        to_length_1(m.queries + i * m.dims, m.dims);
    if (!err)
        err = measure_all(&m);
    if (s->mirror)
        mirror_set_effort(s->mirror, session_effort(s));
    mem_free(m.queries);
    mem_free(m.own);
    mem_free(m.truth);
    if (err)
        rag_ann_eval_free(m.e);
    else
        *out = m.e;
    return err;
}

void rag_ann_eval_free(rag_ann_eval *e)
{
    if (e)
        mem_free(e->points);
    mem_free(e);
}

rag_err rag_set_effort(rag_store *s, size_t effort)
{
    char key[48], value[32];
    if (effort > ANN_EFFORT_MAX)
        return RAG_FAIL(RAG_EINVAL, "effort %zu; at most %d", effort, ANN_EFFORT_MAX);
    session_effort_key(s, key, sizeof key);
    snprintf(value, sizeof value, "%zu", effort);
    rag_err err = s->writes ? store_begin(s->store)
                            : RAG_FAIL(RAG_EINVAL, "%s is open for reading only", s->dir);
    if (err)
        return err;
    err = store_set(s->store, key, value);
    err = err ? err : store_commit(s->store);
    if (err)
        store_rollback(s->store);
    else if (s->mirror)
        mirror_set_effort(s->mirror, effort);
    return err;
}
