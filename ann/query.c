/* query.c - the front door: searching.
 *
 * A query is checked and prepared, takes the gate for reading, is answered by the kind as raw
 * keys, and leaves with ids and distances while the gate still holds its slots in place.
 * Results go to the caller only when all queries of the call have succeeded. */
#include <config.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/internal.h"

#define K_DEFAULT 10
#define EFFORT_DEFAULT 64
#define RECALL_DEFAULT 0.95

/* The effort where none is given: the recall's, else what the calibration says of a good one,
 * else one that suits most. */
static ann_err choose_effort(const ann_index *ix, double recall, size_t k, size_t *out,
                             double *fine)
{
    pthread_rwlock_rdlock(index_gate(ix));
    ann_err err = ANN_OK;
    const struct calibration *c = &ix->calibration;
    *out = 2 * k > EFFORT_DEFAULT ? 2 * k : EFFORT_DEFAULT;
    if (ix->opt.kind == ANN_FLAT) /* always exact */
        err = ANN_OK;
    else if (recall > 0)
        err = calibration_effort(c, recall, k, out, fine);
    else if (calibration_holds(c) && RECALL_DEFAULT <= calibration_best(c))
        (void)calibration_effort(c, RECALL_DEFAULT, k, out, fine);
    pthread_rwlock_unlock(index_gate(ix));
    return err;
}

ann_err query_params_read(const ann_index *ix, const ann_search_params *given,
                          struct query_params *out)
{
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    if (given && (given->size < sizeof(size_t) || given->size > 4096))
        return ANN_FAIL(ANN_EINVAL, "params.size is %zu: use ANN_SEARCH_PARAMS_INIT",
                        given->size);
    if (given)
        memcpy(&p, given, given->size < sizeof p ? given->size : sizeof p);
    if (p.k > ANN_K_MAX)
        return ANN_FAIL(ANN_EINVAL, "k is %zu: must be 1..%d", p.k, ANN_K_MAX);
    if (p.effort > ANN_EFFORT_MAX)
        return ANN_FAIL(ANN_EINVAL, "effort is %zu: must be 1..%d", p.effort, ANN_EFFORT_MAX);
    if (!(p.recall >= 0 && p.recall <= 1))
        return ANN_FAIL(ANN_EINVAL, "recall is %g: must be above 0, at most 1", p.recall);
    if (p.recall > 0 && p.effort > 0)
        return ANN_FAIL(ANN_EINVAL, "recall %g and effort %zu: give one of them", p.recall,
                        p.effort);
    if (p.threads > 1024)
        return ANN_FAIL(ANN_EINVAL, "threads is %u: must be 1..1024", p.threads);
    if (p.filter && p.filter->ix != ix)
        return ANN_FAIL(ANN_EINVAL, "the filter was made for another index");
    out->kind = ix->kind;
    out->state = ix->state;
    out->k = p.k ? p.k : K_DEFAULT;
    out->effort = p.effort;
    out->fine = 0;
    out->recall = ix->opt.kind == ANN_FLAT ? 0 : p.recall; /* that is always exact */
    out->threads = p.threads ? p.threads : ix->opt.threads;
    out->filter = p.filter;
    out->stats = p.stats;
    out->barred = NULL;
    return p.effort ? ANN_OK : choose_effort(ix, p.recall, out->k, &out->effort, &out->fine);
}

/* ---- scratch ---- */

ann_err scratch_borrow(const ann_index *ix, struct scratch **out)
{
    ann_index *self = (ann_index *)(uintptr_t)ix;
    pthread_mutex_lock(&self->idle);
    struct scratch *s = self->free_scratch;
    if (s)
        self->free_scratch = s->next;
    pthread_mutex_unlock(&self->idle);
    if (!s && !(s = mem_zalloc(1, sizeof *s)))
        return ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", sizeof *s);
    *out = s;
    return ANN_OK;
}

void scratch_return(const ann_index *ix, struct scratch *s)
{
    ann_index *self = (ann_index *)(uintptr_t)ix;
    pthread_mutex_lock(&self->idle);
    s->next = self->free_scratch;
    self->free_scratch = s;
    pthread_mutex_unlock(&self->idle);
}

/* ---- one query ---- */

/* Fills in what depends on the index as it is now; under the gate. */
ann_err query_make(const ann_index *ix, const struct query_params *p, ann_search_stats *stats,
                   struct kind_query *q)
{
    const ann_filter *f = p->filter;
    if (f && f->compactions != ix->compactions)
        return ANN_FAIL(ANN_ESTALE, "the filter was made before the index was compacted");
    *q = (struct kind_query){.k = p->k, .effort = p->effort, .fine = p->fine,
                              .stats = stats};
    if (f) {
        q->allowed = f->bits;
        q->allowed_slots = f->slots;
        q->allowed_count = f->count;
        q->allowed_adds = f->adds;
        q->kept = (struct filter_kept *)(uintptr_t)&f->kept;
    }
    const uint32_t most = kind_passing(&ix->vec, q);
    if (q->k > most)
        q->k = most;
    return ANN_OK;
}

/* The k best as keys; s holds the prepared query.  Under the gate. */
ann_err query_run(const ann_index *ix, const struct query_params *p, struct kind_query *q,
                  struct scratch *s, uint32_t barred, search_key *keys, size_t *found)
{
    size_t room, batch;
    *found = 0;
    q->stats->queries++;
    if (q->k == 0)
        return ANN_OK;
    p->kind->needs(p->state, q, &room, &batch);
    const ann_err err = scratch_reserve(s, &ix->vec, ix->vec.slots, room, batch);
    if (err)
        return err;
    if (p->kind->id != ANN_FLAT || ix->vec.store == ANN_NONE)
        vectors_query_codes(&ix->vec, s->query.data);
    q->query = s->query.data;
    if (barred == SLOT_NONE)
        return p->kind->search(p->state, q, s, keys, found);
    scratch_visit(s, barred);
    const ann_err failed = p->kind->search(p->state, q, s, keys, found);
    scratch_unvisit(s); /* a search that looks at every vector does not */
    return failed;
}

/* Keys as ids and distances; the rest of the row is filled up. */
void query_deliver(const ann_index *ix, const search_key *keys, size_t found, size_t k,
                   ann_id *ids, float *dists)
{
    for (size_t i = 0; i < k; i++) {
        ids[i] = i < found ? idmap_id(&ix->ids, key_slot(keys[i])) : ANN_NO_ID;
        if (dists)
            dists[i] = i < found ? vectors_distance(&ix->vec, key_dist(keys[i])) : INFINITY;
    }
}

/* One query from row i of q into ids [k] and dists [k]. */
static ann_err search_one(const ann_index *ix, const ann_view *view, size_t i,
                          const struct query_params *p, ann_search_stats *stats,
                          struct scratch *s, search_key *keys, ann_id *ids, float *dists)
{
    struct kind_query q;
    size_t found = 0;
    ann_err err = scratch_reserve_query(s, &ix->vec);
    if (err)
        return err;
    vectors_query(&ix->vec, view, i, s->query.data);
    pthread_rwlock_rdlock(index_gate(ix));
    err = query_make(ix, p, stats, &q);
    q.ids_only = !dists;
    if (!err)
        err = query_run(ix, p, &q, s, p->barred ? p->barred[i] : SLOT_NONE, keys, &found);
    if (!err)
        query_deliver(ix, keys, found, p->k, ids, dists);
    pthread_rwlock_unlock(index_gate(ix));
    return err;
}

/* ---- batches ---- */

struct batch_worker {
    struct scratch *scratch;
    search_key *keys;
    ann_search_stats stats;
    struct error_note note;
};

struct batch {
    const ann_index *ix;
    const ann_view *view;
    const struct query_params *p;
    ann_id *ids;
    float *dists;
    struct batch_worker *workers;
};

static void batch_query(void *arg, size_t i, unsigned worker)
{
    const struct batch *b = arg;
    struct batch_worker *w = &b->workers[worker];
    const size_t k = b->p->k;
    if (w->note.err)
        return;
    const ann_err err = search_one(b->ix, b->view, i, b->p, &w->stats, w->scratch, w->keys,
                                   b->ids + i * k, b->dists ? b->dists + i * k : NULL);
    if (err)
        error_take(&w->note, err);
}

void query_add_stats(ann_search_stats *to, const ann_search_stats *from)
{
    to->queries += from->queries;
    to->distances += from->distances;
    to->hops += from->hops;
    to->exact += from->exact;
}

/* Every query on its own, over the workers of a pool (NULL: the calling thread). */
static ann_err batch_each(struct batch *b, struct pool *pool, ann_search_stats *stats)
{
    const unsigned n = pool ? pool_threads(pool) : 1;
    ann_err err = ANN_OK;
    b->workers = mem_zalloc(n, sizeof *b->workers);
    if (!b->workers)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %u workers", n);
    for (unsigned i = 0; i < n && !err; i++) {
        err = scratch_borrow(b->ix, &b->workers[i].scratch);
        if (!err && !(b->workers[i].keys = mem_alloc(b->p->k * sizeof(search_key))))
            err = ANN_FAIL(ANN_ENOMEM, "out of memory for %zu results", b->p->k);
    }
    if (!err && pool)
        pool_for(pool, b->view->n, 1, batch_query, b);
    else if (!err)
        for (size_t i = 0; i < b->view->n; i++)
            batch_query(b, i, 0);
    for (unsigned i = 0; i < n; i++) {
        query_add_stats(stats, &b->workers[i].stats);
        if (!err && b->workers[i].note.err)
            err = error_put(&b->workers[i].note);
        if (b->workers[i].scratch)
            scratch_return(b->ix, b->workers[i].scratch);
        mem_free(b->workers[i].keys);
    }
    mem_free(b->workers);
    return err;
}

/* All queries at once by the kind's own batch search. */
static ann_err batch_whole(struct batch *b, struct pool *pool, ann_search_stats *stats)
{
    const ann_index *ix = b->ix;
    const size_t nq = b->view->n, k = b->p->k;
    struct kind_query q;
    float *queries = mem_zalloc(nq, ix->vec.raw_bytes);
    search_key *keys = mem_zalloc(nq, k * sizeof *keys);
    size_t *found = mem_zalloc(nq, sizeof *found);
    ann_err err = ANN_OK;
    if (!queries || !keys || !found)
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for %zu queries", nq);
    for (size_t i = 0; i < nq && !err; i++)
        vectors_query(&ix->vec, b->view, i, queries + i * ix->vec.dim);
    pool_hold(pool); /* before the gate, as batch_each does */
    pthread_rwlock_rdlock(index_gate(ix));
    if (!err)
        err = query_make(ix, b->p, stats, &q);
    if (!err && q.k > 0)
        err = b->p->kind->search_batch(b->p->state, &q, queries, nq, pool, keys, found);
    if (!err) {
        stats->queries += nq;
        for (size_t i = 0; i < nq; i++)
            query_deliver(ix, keys + i * q.k, found[i], k, b->ids + i * k,
                          b->dists ? b->dists + i * k : NULL);
    }
    pthread_rwlock_unlock(index_gate(ix));
    pool_release(pool);
    mem_free(queries);
    mem_free(keys);
    mem_free(found);
    return err;
}

#define WHOLE_BATCH 8 /* from here on a matrix product beats single scans */

static ann_err batch_run(struct batch *b, ann_search_stats *stats)
{
    const ann_index *ix = b->ix;
    const unsigned threads = b->p->threads;
    const bool rows = dtype_is_float(ix->vec.store) || b->p->kind->id == ANN_IVFPQ;
    const bool whole = b->p->kind->search_batch && rows && b->view->n >= WHOLE_BATCH &&
                       !b->p->barred;
    if (!whole && (threads == 1 || b->view->n == 1))
        return batch_each(b, NULL, stats);
    struct pool *pool, *own = NULL;
    ann_err err;
    if (threads == ix->opt.threads)
        err = index_pool(ix, (struct pool **)(uintptr_t)&ix->query_pool, &pool);
    else
        err = pool_create(threads, &own);
    if (err)
        return err;
    pool = own ? own : pool;
    err = whole ? batch_whole(b, pool, stats) : batch_each(b, pool, stats);
    pool_close(own);
    return err;
}

ann_err query_all(const ann_index *ix, const ann_view *view, const struct query_params *p,
                  ann_id *ids, float *dists)
{
    ann_search_stats stats = {0};
    ann_err err = vectors_check(&ix->vec, view, "query");
    if (err || view->n == 0)
        return err;
    size_t results;
    if (!size_mul(view->n, p->k, &results) || results > SIZE_MAX / sizeof *ids)
        return ANN_FAIL(ANN_EINVAL, "%zu queries of %zu results", view->n, p->k);
    struct batch b = {.ix = ix, .view = view, .p = p};
    b.ids = mem_alloc(results * sizeof *b.ids);
    b.dists = dists ? mem_alloc(results * sizeof *b.dists) : NULL;
    if (b.ids && (b.dists || !dists))
        err = batch_run(&b, &stats);
    else
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for %zu results", results);
    if (!err) {
        memcpy(ids, b.ids, results * sizeof *ids);
        if (dists)
            memcpy(dists, b.dists, results * sizeof *dists);
        if (p->stats)
            query_add_stats(p->stats, &stats);
    }
    mem_free(b.ids);
    mem_free(b.dists);
    return err;
}

ann_err ann_search(const ann_index *ix, ann_view view, const ann_search_params *given,
                   ann_id *ids, float *dists)
{
    struct query_params p;
    if (!ix || (view.n > 0 && !ids))
        return ANN_FAIL(ANN_EINVAL, "%s is NULL", ix ? "ids" : "index");
    const ann_err err = query_params_read(ix, given, &p);
    return err ? err : query_all(ix, &view, &p, ids, dists);
}

/* ---- searcher ---- */

struct ann_searcher {
    const ann_index *ix;
    struct query_params p;
    struct scratch *scratch;
    search_key *keys; /* [k] */
};

ann_err ann_searcher_open(const ann_index *ix, const ann_search_params *given,
                          ann_searcher **out)
{
    struct query_params p;
    if (!ix || !out)
        return ANN_FAIL(ANN_EINVAL, "%s is NULL", ix ? "out" : "index");
    ann_err err = query_params_read(ix, given, &p);
    if (err)
        return err;
    ann_searcher *s = mem_zalloc(1, sizeof *s);
    if (!s)
        return ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", sizeof *s);
    s->ix = ix;
    s->p = p;
    s->keys = mem_alloc(p.k * sizeof *s->keys);
    if (!s->keys)
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for %zu results", p.k);
    if (!err)
        err = scratch_borrow(ix, &s->scratch);
    if (err) {
        mem_free(s->keys);
        mem_free(s);
        return err;
    }
    *out = s;
    return ANN_OK;
}

ann_err ann_searcher_search(ann_searcher *s, const void *query, ann_dtype dtype, ann_id *ids,
                            float *dists)
{
    if (!s || !ids)
        return ANN_FAIL(ANN_EINVAL, "%s is NULL", s ? "ids" : "searcher");
    const ann_view view = {query, 1, 0, dtype};
    ann_search_stats stats = {0};
    ann_err err = vectors_check(&s->ix->vec, &view, "query");
    if (!err)
        err = search_one(s->ix, &view, 0, &s->p, &stats, s->scratch, s->keys, ids, dists);
    if (!err && s->p.stats)
        query_add_stats(s->p.stats, &stats);
    return err;
}

void ann_searcher_close(ann_searcher *s)
{
    if (!s)
        return;
    scratch_return(s->ix, s->scratch);
    mem_free(s->keys);
    mem_free(s);
}
