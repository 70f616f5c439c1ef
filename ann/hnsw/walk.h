/* walk.h - what the walks on codes share: a frontier, the results so far, and when to stop.
 *
 * Place: hnsw; of walk.c, which says how a walk ends, and twohop.c.  The frontier is not
 * sorted: entering it is the store the kernel does anyway, and finding its nearest is a pass
 * over some hundred floats. */
#ifndef KITH_HNSW_WALK_H
#define KITH_HNSW_WALK_H

#include <string.h>

#include "ann/hnsw/rows.h"

#define CROWDED 128 /* nodes of a frontier that is worth thinning out, at first */

struct walk {
    const struct hnsw *h;
    const struct kind_query *q;
    const struct code_query *cq;
    struct scratch *s;
    float *dists;  /* the frontier: [room], and place for what one node adds */
    uint32_t *ids; /* likewise */
    size_t n, room;
    size_t crowded;   /* so large it is worth dropping what is beyond the limit */
    search_key *keys; /* results, ascending: [width] */
    size_t found, width, k;
    size_t lead;         /* so many results say how far the walk goes: k, or fewer */
    size_t wanted;       /* results and frontier, before it may end */
    float gamma, stop;   /* nodes beyond stop, gamma times the last of the lead, are not looked at */
    float beyond, limit; /* those beyond limit, `beyond` times it, do not enter the frontier */
    float aside;        /* 1 without a filter: distances in the frontier of what does not pass
                           are so much longer, as such nodes are only ways to others */
    float floor;        /* stop is at least this */
    float band;         /* farther ones are no candidates, */
    float band_root, band_add; /* given the k-th result's distance */
    uint64_t hops, cap, distances;
    bool gated;
    const struct annk_row_ops *ops;
};

/* walk.c */
/* An empty walk as far as this effort looks among all nodes (where one of `thin` may be a
 * result, effort * thin of them); `most` nodes may enter the frontier at once. */
void hnsw_walk_begin(struct walk *w, const struct hnsw *h, const struct kind_query *q,
                     struct scratch *s, double effort, size_t most);
/* Drops results that are no candidates any more, and counts; how many are left. */
size_t hnsw_walk_end(struct walk *w);
/* The nodes near the query that a walk begins with, by distances of codes, into the frontier and
 * the results; rq becomes the query for rows, if they are on. */
void hnsw_walk_start(struct walk *w, struct annk_row_query *rq);
/* For a walk in rows: the query, and the nearest nodes of a table of entries, by their estimates,
 * into the frontier. */
void hnsw_walk_row_query(const struct walk *w, struct annk_row_query *rq);
void hnsw_walk_enter_at(struct walk *w, const struct annk_row_query *rq,
                        const struct buf *entries, uint32_t groups);

static inline void walk_result(struct walk *w, float dist, uint32_t slot)
{
    const search_key key = key_make(dist, slot);
    if (dist > w->band || (w->found == w->width && key >= w->keys[w->width - 1]))
        return;
    size_t at = w->found < w->width ? w->found++ : w->width - 1;
    for (; at > 0 && w->keys[at - 1] > key; at--)
        w->keys[at] = w->keys[at - 1];
    w->keys[at] = key;
    if (w->found < w->lead)
        return;
    const float last = key_dist(w->keys[w->lead - 1]);
    const float stop = w->gamma * last, limit = w->beyond * last;
    w->stop = stop > w->floor ? stop : w->floor;
    w->limit = limit > w->stop ? limit : w->stop;
    if (w->found < w->k) {
        if (w->found + w->n < w->wanted)
            w->limit = INFINITY;
        return;
    }
    w->band = rerank_limit(key_dist(w->keys[w->k - 1]), w->band_root, w->band_add);
}

/* Makes room for another row: first what is beyond the limit goes, then the farther half. */
static inline void walk_make_room(struct walk *w)
{
    if (w->n <= w->crowded)
        return;
    w->n = w->ops->keep(w->dists, w->ids, w->n, w->limit);
    while (w->n > w->room / 2) {
        double sum = 0;
        for (size_t i = 0; i < w->n; i++)
            sum += (double)w->dists[i];
        const size_t n = w->ops->keep(w->dists, w->ids, w->n, (float)(sum / (double)w->n));
        w->n = n > 0 && n < w->n ? n : w->room / 2;
    }
    const size_t crowded = w->n + w->n / 2 + CROWDED / 2;
    w->crowded = crowded < w->room ? crowded : w->room;
}

/* Takes the nearest of the frontier out; false if there is none worth looking at. */
static inline bool walk_take(struct walk *w, uint32_t *slot, float *dist)
{
    if (w->n == 0)
        return false;
    const size_t at = w->ops->lowest(w->dists, w->n);
    if (w->dists[at] > w->stop && w->found + w->n >= w->wanted)
        return false;
    *slot = w->ids[at];
    *dist = w->dists[at];
    w->n--;
    w->dists[at] = w->dists[w->n];
    w->ids[at] = w->ids[w->n];
    return true;
}

/* Marks ids [m] behind the frontier as visited, leaving out what was; how many are left.  One
 * loop for a whole row: its end is what the processor guesses wrongly. */
static inline size_t walk_mark(struct walk *w, size_t m)
{
    uint32_t *ids = w->ids + w->n;
    float *dists = w->dists + w->n;
    size_t n = 0;
    for (size_t i = 0; i < m; i++) {
        const uint32_t slot = ids[i];
        const float dist = dists[i];
        ids[n] = slot;
        dists[n] = dist;
        n += scratch_visit(w->s, slot);
    }
    return n;
}

static inline bool walk_may_be_result(const struct walk *w, uint32_t slot)
{
    return !w->gated || kind_passes(w->h->vec, w->q, slot);
}

/* Puts those of the frontier from `from` on that do not pass the filter aside. */
static inline void walk_put_aside(struct walk *w, size_t from, size_t m)
{
    for (size_t i = from; i < from + m; i++)
        if (!walk_may_be_result(w, w->ids[i]))
            w->dists[i] *= w->aside;
}

/* One node by its row: its own distance, and its neighbours into the frontier. */
static inline void walk_look_at(struct walk *w, const struct annk_row_query *rq,
                                const uint8_t *row, uint32_t slot)
{
    const float own = w->ops->own(rq, row);
    w->hops++;
    if (walk_may_be_result(w, slot))
        walk_result(w, own, slot);
    const size_t fresh =
        walk_mark(w, w->ops->scan(rq, row, own, w->limit, w->dists + w->n, w->ids + w->n));
    if (w->aside > 1)
        walk_put_aside(w, w->n, fresh);
    w->n += fresh;
    walk_make_room(w);
}

#define WALK_AHEAD 2 /* rows on their way from memory while one is looked at */

/* The walk in rows: nodes in their turn by `look`, whose rows will be where row_at says.  What
 * was taken is looked at whatever those before it bring: a few more hops, none of which waits for
 * memory. */
static inline void walk_in_turn(struct walk *w, struct annk_row_query *rq,
                                const uint8_t *(*row_at)(const void *of, uint32_t slot),
                                const void *of,
                                void (*look)(struct walk *w, struct annk_row_query *rq,
                                             uint32_t slot, void *arg),
                                void *arg)
{
    uint32_t line[WALK_AHEAD + 1];
    size_t n = 0;
    float dist;
    while (w->hops < w->cap) {
        rq->next = NULL;
        for (; n <= WALK_AHEAD && walk_take(w, &line[n], &dist); n++) {
            if (rq->next)
                annk_prefetch(rq->next, w->h->row_size);
            rq->next = row_at(of, line[n]);
        }
        if (n == 0)
            break;
        look(w, rq, line[0], arg);
        memmove(line, line + 1, --n * sizeof *line);
    }
}

/* Distances of ids [m] behind the frontier; how many are within the limit, the first of them.
 */
static inline size_t walk_distances(struct walk *w, size_t m)
{
    float *dists = w->dists + w->n;
    uint32_t *ids = w->ids + w->n;
    codes_distances(&w->h->vec->codes, w->cq, ids, m, dists);
    w->distances += m;
    return w->ops->keep(dists, ids, m, w->limit);
}

#endif
