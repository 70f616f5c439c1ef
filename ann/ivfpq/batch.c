/* batch.c - many queries at once: list after list, so that several queries share a reading of
 * codes.
 *
 * Place: ivfpq.  Queries are taken in blocks, a block to a thread.  All of a block's tables are
 * made first; then, in three rounds, the (list, query) pairs are sorted by list, and up to
 * ANNK_LIST_BATCH queries scan a list together: the two nearest lists of each query, which give
 * it a limit; a portion more; and all that is within the bound that those have given.  A list
 * that a query's limit has come to keep out is passed over.  What may leave too few results (a
 * filter) or marks slots (soar) is searched one by one.
 *
 * Invariant: a query's answer does not depend on the others of its block, nor on the threads:
 * within a round its lists are scanned in the order of their numbers. */
#include <config.h>

#include <string.h>

#include "ann/base/error.h"
#include "ann/ivfpq/query.h"

#define BLOCK 256 /* queries of a block, at most */

/* One query's turn at a list. */
struct turn {
    uint32_t list, query;
    float dist; /* of the list's centroid */
    bool must;  /* whatever the query's bound */
};

/* A block's memory. */
struct batch_worker {
    struct scratch scratch;
    struct buf room; /* the block's queries, each query_bytes; then desk, then probes [nlist] */
    struct buf turns;  /* struct turn, as many as a round has */
    struct buf sorted; /* the same by list */
    struct buf starts; /* u32 [nlist + 1]: where a list's turns begin */
    struct ivf_probe portions[BLOCK][IVF_PORTION]; /* each query's nearest lists, */
    size_t taken[BLOCK];                           /* so many of them */
    struct buf out; /* per query of a scan: f32 and u32 [IVF_RUN + 64] */
    struct ivf_query iq[BLOCK];
    struct ann_search_stats stats;
    struct error_note note;
};

struct batch {
    const struct ivfpq *h;
    const struct kind_query *q;
    const float *queries; /* [nq, dim] */
    size_t nq, block, query_bytes, desk_bytes;
    struct ivf_effort effort;
    bool together;
    struct batch_worker *workers;
    search_key *out;
    size_t *found;
};

#define OUT_EACH (IVF_RUN + 64)

static ann_err grow(struct buf *b, size_t bytes)
{
    return b->bytes < bytes ? buf_resize(b, bytes) : ANN_OK;
}

static ann_err worker_open(const struct batch *b, struct batch_worker *w)
{
    const struct vectors *v = b->h->vec;
    size_t keys, batch;
    ivfpq_needs(b->h, b->q, &keys, &batch);
    ann_err err = scratch_reserve(&w->scratch, v, v->slots, keys, batch);
    if (!err && b->together)
        err = grow(&w->room, b->block * b->query_bytes + b->desk_bytes +
                                 b->h->nlist * sizeof(struct ivf_probe));
    if (!err && b->together)
        err = grow(&w->starts, ((size_t)b->h->nlist + 1) * sizeof(uint32_t));
    if (!err && b->together)
        err = grow(&w->out, (size_t)ANNK_LIST_BATCH * OUT_EACH * (sizeof(float) + 4));
    return err;
}

static void worker_close(struct batch_worker *w)
{
    scratch_free(&w->scratch);
    buf_free(&w->room);
    buf_free(&w->turns);
    buf_free(&w->sorted);
    buf_free(&w->starts);
    buf_free(&w->out);
}

/* Query i, prepared in the scratch. */
static struct kind_query prepare(const struct batch *b, struct batch_worker *w, size_t i)
{
    struct kind_query q = *b->q;
    const struct vectors *v = b->h->vec;
    memcpy(w->scratch.query.data, b->queries + i * v->dim, v->dim * sizeof(float));
    vectors_query_codes(v, w->scratch.query.data);
    q.query = w->scratch.query.data;
    q.stats = &w->stats;
    return q;
}

static void search_alone(const struct batch *b, struct batch_worker *w, size_t i)
{
    const struct kind_query q = prepare(b, w, i);
    const ann_err err = ivfpq_search(b->h, &q, &w->scratch, b->out + i * q.k, &b->found[i]);
    if (err)
        error_take(&w->note, err);
}

/* ---- a block ---- */

/* The turns [n] by list, those of a list in their order, at w->sorted. */
static ann_err sort_turns(const struct batch *b, struct batch_worker *w, size_t n)
{
    const struct turn *turns = w->turns.data;
    uint32_t *starts = w->starts.data;
    const ann_err err = grow(&w->sorted, w->turns.bytes);
    if (err)
        return err;
    struct turn *sorted = w->sorted.data;
    memset(starts, 0, ((size_t)b->h->nlist + 1) * sizeof *starts);
    for (size_t i = 0; i < n; i++)
        starts[turns[i].list + 1]++;
    for (uint32_t l = 0; l < b->h->nlist; l++)
        starts[l + 1] += starts[l];
    for (size_t i = 0; i < n; i++)
        sorted[starts[turns[i].list]++] = turns[i];
    return ANN_OK;
}

/* One more turn; *n of them. */
static ann_err add_turn(struct batch_worker *w, size_t *n, size_t query,
                        const struct ivf_probe *p, bool must)
{
    const size_t bytes = (*n + 1) * sizeof(struct turn);
    if (w->turns.bytes < bytes) {
        const ann_err err = buf_resize(&w->turns, 2 * bytes);
        if (err)
            return err;
    }
    ((struct turn *)w->turns.data)[(*n)++] = (struct turn){p->list, (uint32_t)query, p->dist, must};
    return ANN_OK;
}

/* Some queries at one list; n at most ANNK_LIST_BATCH. */
static void scan_together(const struct batch *b, struct batch_worker *w,
                          const struct turn *const *turns, size_t n)
{
    const struct ivfpq *h = b->h;
    const struct ivf_list *list = &h->lists[turns[0]->list];
    const struct annk_list_query *scans[ANNK_LIST_BATCH];
    struct ivf_query *iq[ANNK_LIST_BATCH];
    float *dists[ANNK_LIST_BATCH], base[ANNK_LIST_BATCH], limit[ANNK_LIST_BATCH];
    uint32_t *places[ANNK_LIST_BATCH];
    size_t counts[ANNK_LIST_BATCH];
    struct annk_list_run run = {.codes = list->codes, .bias = list->bias, .n = list->n};
    for (size_t i = 0; i < n; i++) {
        const struct ivf_probe p = {turns[i]->dist, turns[i]->list};
        iq[i] = &w->iq[turns[i]->query];
        dists[i] = (float *)w->out.data + i * OUT_EACH;
        places[i] = (uint32_t *)w->out.data + (ANNK_LIST_BATCH + i) * OUT_EACH;
        scans[i] = &iq[i]->scan;
        base[i] = ivf_query_base(h, iq[i], &p);
    }
    for (; run.first < list->n; run.first = run.last) {
        run.last = list->n;
        for (size_t i = 0; i < n; i++) {
            const size_t last = ivf_run_end(iq[i], run.first, list->n);
            run.last = last < run.last ? last : run.last;
            limit[i] = iq[i]->found.limit + iq[i]->slack;
        }
        if (n == 1)
            counts[0] = h->ops->scan(scans[0], &run, base[0], limit[0], dists[0], places[0]);
        else
            h->ops->scan_batch(scans, n, &run, base, limit, dists, places, counts);
        for (size_t i = 0; i < n; i++)
            ivf_query_take(h, b->q, &w->scratch, iq[i], list, base[i], dists[i], places[i],
                           counts[i]);
    }
    w->stats.distances += (uint64_t)list->n * n;
    w->stats.hops += n;
}

/* All turns of a round, those of a list together, but those that are too far by now. */
static ann_err scan_turns(const struct batch *b, struct batch_worker *w, size_t count)
{
    const struct turn *group[ANNK_LIST_BATCH];
    size_t n = 0;
    const ann_err err = sort_turns(b, w, count);
    if (err)
        return err;
    const struct turn *turns = w->sorted.data;
    for (size_t at = 0; at < count; at++) {
        if (n > 0 && (n == ANNK_LIST_BATCH || group[0]->list != turns[at].list)) {
            scan_together(b, w, group, n);
            n = 0;
        }
        const struct ivf_query *iq = &w->iq[turns[at].query];
        if (turns[at].must || iq->found.n < b->q->k ||
            turns[at].dist <= ivf_query_bound(iq, b->effort.gamma))
            group[n++] = &turns[at];
    }
    if (n > 0)
        scan_together(b, w, group, n);
    return ANN_OK;
}

/* Lists [from, to) of each query's portion. */
static ann_err scan_portions(const struct batch *b, struct batch_worker *w, size_t n,
                             size_t from, size_t to)
{
    ann_err err = ANN_OK;
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t p = from; p < to && p < w->taken[i] && !err; p++)
            err = add_turn(w, &count, i, &w->portions[i][p], p < b->effort.least);
    if (!err)
        err = scan_turns(b, w, count);
    for (size_t i = 0; i < n; i++)
        reservoir_cut(&w->iq[i].found);
    return err;
}

/* Up to `most` more of a query's lists within a bound, as turns. */
static ann_err add_turns(const struct batch *b, struct batch_worker *w, size_t query,
                         float bound, size_t most, char *desk, size_t *count)
{
    struct ivf_probe *probes = (struct ivf_probe *)(void *)(desk + b->desk_bytes);
    const size_t n = ivf_coarse_next(b->h, w->iq[query].lists, bound, most, desk, probes);
    ann_err err = ANN_OK;
    for (size_t p = 0; p < n && !err; p++)
        err = add_turn(w, count, query, &probes[p], bound == INFINITY);
    w->taken[query] += n;
    return err;
}

/* All other lists: as many as there must be, and those within each query's bound. */
static ann_err scan_rest(const struct batch *b, struct batch_worker *w, size_t n, char *desk)
{
    const struct ivf_effort *e = &b->effort;
    ann_err err = ANN_OK;
    size_t count = 0;
    for (size_t i = 0; i < n && !err; i++) {
        const float bound = ivf_query_bound(&w->iq[i], e->gamma);
        if (w->taken[i] < e->least)
            err = add_turns(b, w, i, INFINITY, e->least - w->taken[i], desk, &count);
        if (!err && w->taken[i] < e->most)
            err = add_turns(b, w, i, bound, e->most - w->taken[i], desk, &count);
    }
    return err ? err : scan_turns(b, w, count);
}

static ann_err scan_block(const struct batch *b, struct batch_worker *w, size_t first, size_t n)
{
    const struct ivf_effort *e = &b->effort;
    const size_t portion = e->most < IVF_PORTION ? e->most : IVF_PORTION;
    char *room = w->room.data, *desk = room + b->block * b->query_bytes;
    ann_err err = ANN_OK;
    for (size_t i = 0; i < n; i++) {
        ivf_query_lay(b->h, e->depth, room + i * b->query_bytes, &w->iq[i]);
        ivf_query_open(b->h, b->queries + (first + i) * b->h->vec->dim, desk, &w->iq[i]);
    }
    for (size_t i = 0; i < n && !err; i += ANNK_LIST_BATCH)
        err = ivf_query_coarse(b->h, e->most, &w->scratch, desk, &w->iq[i],
                               n - i < ANNK_LIST_BATCH ? n - i : ANNK_LIST_BATCH);
    for (size_t i = 0; i < n && !err; i++)
        w->taken[i] =
            ivf_coarse_next(b->h, w->iq[i].lists, INFINITY, portion, desk, w->portions[i]);
    if (!err)
        err = scan_portions(b, w, n, 0, IVF_LEAST);
    if (!err)
        err = scan_portions(b, w, n, IVF_LEAST, IVF_PORTION);
    return err ? err : scan_rest(b, w, n, desk);
}

static void run_block(void *arg, size_t block, unsigned worker)
{
    const struct batch *b = arg;
    struct batch_worker *w = &b->workers[worker];
    const size_t first = block * b->block;
    const size_t n = b->nq - first < b->block ? b->nq - first : b->block;
    const ann_err err = b->together && !w->note.err ? scan_block(b, w, first, n) : ANN_OK;
    if (err)
        error_take(&w->note, err);
    for (size_t i = 0; i < n && !w->note.err; i++) {
        if (!b->together || w->iq[i].found.n < b->q->k) {
            search_alone(b, w, first + i);
            continue;
        }
        const struct kind_query q = prepare(b, w, first + i);
        ivf_query_close(b->h, &q, &w->scratch, &w->iq[i], b->out + (first + i) * q.k,
                        &b->found[first + i]);
    }
}

ann_err ivfpq_search_batch(const void *state, const struct kind_query *q, const float *queries,
                           size_t nq, struct pool *pool, search_key *out, size_t *found)
{
    const struct ivfpq *h = state;
    const unsigned threads = pool_threads(pool);
    struct batch b = {.h = h,
                      .q = q,
                      .queries = queries,
                      .nq = nq,
                      .out = out,
                      .found = found,
                      .effort = ivf_effort(h, q),
                      .together = !q->allowed && !h->asked.soar};
    ann_err err = ANN_OK;
    b.query_bytes = ivf_query_bytes(h, b.effort.depth);
    b.desk_bytes = ivf_query_desk(h);
    b.block = nq / threads + 1 < BLOCK ? nq / threads + 1 : BLOCK;
    b.workers = mem_zalloc(threads, sizeof *b.workers);
    if (!b.workers)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %u workers", threads);
    for (unsigned i = 0; i < threads && !err; i++)
        err = worker_open(&b, &b.workers[i]);
    if (!err)
        pool_for(pool, (nq + b.block - 1) / b.block, 1, run_block, &b);
    for (unsigned i = 0; i < threads; i++) {
        const struct ann_search_stats *from = &b.workers[i].stats;
        q->stats->distances += from->distances;
        q->stats->hops += from->hops;
        q->stats->exact += from->exact;
        if (!err && b.workers[i].note.err)
            err = error_put(&b.workers[i].note);
        worker_close(&b.workers[i]);
    }
    mem_free(b.workers);
    return err;
}
