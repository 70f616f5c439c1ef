/* walk.c - the search of level 0 on codes, and in rows of profile fast.
 *
 * Sources: SymphonyQG (Gou et al., SIGMOD 2025) for rows; "Distance Adaptive Beam Search" (Al-Jazzazi
 * et al., 2025) for the threshold.  A node's neighbours come from its row as estimates; its own
 * distance, by 8-bit codes, is found when it is looked at, and only that makes it a result.  On
 * codes alone (profiles balanced and lean) the neighbours' distances are what the estimates are.
 *
 * Stopping: a node farther than gamma times the k-th result is not looked at, and when the nearest
 * of the frontier is, the search ends.  gamma comes from the effort (hnsw_gamma); a number of hops
 * that grows with it is the cap.  With a filter the results that count are those that pass it,
 * and what does not pass stands farther back in the frontier, by as much as the k-th that passes
 * is farther than the k-th of all (docs/hnsw.md, "Filters").
 *
 * The frontier is not sorted: entering it is the store the kernel does anyway, and finding its
 * nearest is a pass over some hundred floats. */
#include <config.h>

#include <math.h>

#include "ann/hnsw/rows.h"

struct walk {
    const struct hnsw *h;
    const struct kind_query *q;
    struct scratch *s;
    float *dists;      /* the frontier: [room] */
    uint32_t *ids;     /* [room] */
    size_t n, room;
    size_t crowded;    /* so large it is worth dropping what is beyond the limit */
    search_key *keys;  /* results, ascending: [width] */
    size_t found, width, k;
    float gamma, limit; /* farther nodes are not looked at */
    float aside;        /* 1 without a filter: distances in the frontier of what does not pass
                           are so much longer, as such nodes are only ways to others */
    float floor;        /* the limit is at least this */
    float band;         /* farther ones are no candidates, */
    float band_root, band_add; /* given the k-th result's distance */
    uint64_t hops, cap, distances;
    bool gated;
    const struct annk_row_ops *ops;
    float step; /* of the query's code */
};

/* ---- effort ---- */

/* Squared distance of the rank-th neighbour by that of the 10th; below it, as from there to the
 * 20th. */
static double spread_at(const struct hnsw *h, double rank)
{
    const float *t = h->spread;
    const double at = log2(rank / 10);
    if (t[0] <= 0 || t[HNSW_RANKS - 1] <= 0)
        return exp2(at / 8); /* as in 16 dimensions */
    size_t i = at > 0 ? (size_t)at : 0;
    if (i > HNSW_RANKS - 2)
        i = HNSW_RANKS - 2;
    return (double)t[i] * pow((double)t[i + 1] / (double)t[i], at - (double)i);
}

float hnsw_gamma(const struct hnsw *h, double effort, double k)
{
    return (float)(spread_at(h, effort > 1 ? effort : 1) / spread_at(h, k > 1 ? k : 1));
}

/* ---- frontier and results ---- */

static inline void enter_result(struct walk *w, float dist, uint32_t slot)
{
    const search_key key = key_make(dist, slot);
    if (dist > w->band || (w->found == w->width && key >= w->keys[w->width - 1]))
        return;
    size_t at = w->found < w->width ? w->found++ : w->width - 1;
    for (; at > 0 && w->keys[at - 1] > key; at--)
        w->keys[at] = w->keys[at - 1];
    w->keys[at] = key;
    if (w->found < w->k)
        return;
    const float kth = key_dist(w->keys[w->k - 1]), limit = w->gamma * kth;
    w->limit = limit > w->floor ? limit : w->floor;
    w->band = kth + w->band_root * sqrtf(kth) + w->band_add;
}

/* Where the nearest are so near that errors of codes hide them, all of them are looked at. */
static void set_band(struct walk *w, const struct code_query *cq)
{
    w->floor = 8 * rerank_error2(w->h->vec, cq);
    rerank_band(w->h->vec, cq, &w->band_root, &w->band_add);
    w->band = INFINITY;
}

static inline bool may_be_result(const struct walk *w, uint32_t slot)
{
    return !w->gated || kind_passes(w->h->vec, w->q, slot);
}

/* Marks ids [m] behind the frontier as visited, leaving out what is there twice (a damaged file
 * alone has that); how many are left. */
static inline size_t mark(struct walk *w, size_t m)
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

/* Puts those of the frontier from `from` on that do not pass the filter aside. */
static void put_aside(struct walk *w, size_t from, size_t m)
{
    for (size_t i = from; i < from + m; i++)
        if (!may_be_result(w, w->ids[i]))
            w->dists[i] *= w->aside;
}

/* Makes room for another row: first what is beyond the limit goes, then the farther half. */
static void make_room(struct walk *w)
{
    w->n = w->ops->keep(w->dists, w->ids, w->n, w->limit);
    while (w->n > w->room / 2) {
        double sum = 0;
        for (size_t i = 0; i < w->n; i++)
            sum += (double)w->dists[i];
        const size_t n = w->ops->keep(w->dists, w->ids, w->n, (float)(sum / (double)w->n));
        w->n = n > 0 && n < w->n ? n : w->room / 2;
    }
    w->crowded = 2 * w->n + 64;
}

/* Takes the nearest of the frontier out; false if there is none within the limit. */
static inline bool take_nearest(struct walk *w, uint32_t *slot)
{
    if (w->n == 0)
        return false;
    const size_t at = w->ops->lowest(w->dists, w->n);
    if (w->dists[at] > w->limit)
        return false;
    *slot = w->ids[at];
    w->n--;
    w->dists[at] = w->dists[w->n];
    w->ids[at] = w->ids[w->n];
    return true;
}

/* ---- in rows ---- */

static void row_query(const struct hnsw *h, const struct code_query *cq, uint8_t *sums,
                      struct annk_row_query *rq)
{
    const float unit = codes_unit(&h->vec->codes);
    *rq = (struct annk_row_query){
        .query = code_query_high(cq),
        .padded = cq->padded,
        .planes = h->planes,
        .groups = (uint32_t)hnsw_row_groups(h),
        .slots = h->slots,
        .query_sum = cq->sum,
        .own_norm = unit * unit,
        .own_dot = -2 * unit * cq->step,
        .query_norm = cq->norm2,
    };
    h->row_ops->sums(code_query_high(cq), cq->step, cq->padded, h->planes, sums, rq);
}

#define STARTS 2 /* of the table's nodes, so many nearest ones */

/* The nearest nodes of the table of entries into the frontier, by their estimates. */
static void begin_at_entries(struct walk *w, const struct annk_row_query *rq)
{
    struct annk_row_query all = *rq;
    all.planes = 1;
    all.groups = w->h->entry_groups;
    all.padded = hnsw_entry_padded(w->h);
    /* The sums are the same for any number of planes and dimensions, their offset is not. */
    w->ops->sums(rq->query, w->step, all.padded, 1, w->s->sums.data, &all);
    const size_t n = w->ops->scan(&all, w->h->entries.data, rq->query_norm, INFINITY,
                                  w->s->visited.data, w->dists, w->ids);
    if (w->aside > 1)
        put_aside(w, 0, n);
    for (size_t i = 0; i < STARTS && i < n; i++) {
        const size_t at = i + w->ops->lowest(w->dists + i, n - i);
        const float dist = w->dists[at];
        const uint32_t slot = w->ids[at];
        w->dists[at] = w->dists[i];
        w->ids[at] = w->ids[i];
        w->dists[i] = dist;
        w->ids[i] = slot;
    }
    w->n = 0;
    w->n = mark(w, n < STARTS ? n : STARTS);
}

/* One node: its own distance, and its neighbours into the frontier. */
static inline void look_at_row(struct walk *w, struct annk_row_query *rq, uint32_t slot)
{
    const uint8_t *row = hnsw_code_row(w->h, slot);
    const float own = w->ops->own(rq, row);
    w->hops++;
    if (may_be_result(w, slot))
        enter_result(w, own, slot);
    const size_t m = w->ops->scan(rq, row, own, w->limit, w->s->visited.data,
                                  w->dists + w->n, w->ids + w->n);
    const size_t fresh = mark(w, m);
    if (w->aside > 1)
        put_aside(w, w->n, fresh);
    w->n += fresh;
    if (w->n > w->crowded)
        make_room(w);
}

/* The next row is fetched while one is looked at, and looked at next, whatever that one brings: a
 * few more hops, none of which waits for memory. */
static void walk_rows(struct walk *w, struct annk_row_query *rq)
{
    uint32_t slot, next;
    if (!take_nearest(w, &slot))
        return;
    while (w->hops < w->cap) {
        const bool more = take_nearest(w, &next);
        rq->next = more ? hnsw_code_row(w->h, next) : NULL;
        look_at_row(w, rq, slot);
        if (!more && !take_nearest(w, &next))
            break;
        slot = next;
    }
}

/* ---- on codes ---- */

static float code_distance(const struct walk *w, const struct code_query *cq, uint32_t slot)
{
    float dist;
    codes_distances(&w->h->vec->codes, cq, &slot, 1, &dist);
    return dist;
}

/* Greedy descent to level 1: the nearest node found. */
static uint32_t descend(struct walk *w, const struct code_query *cq, float *dist)
{
    const struct hnsw *h = w->h;
    uint32_t best = h->entry;
    *dist = code_distance(w, cq, best);
    for (uint32_t level = h->max_level; level > 0; level--)
        for (bool moved = true; moved;) {
            uint32_t width, n = 0;
            if (level > hnsw_level(h, best))
                break; /* damaged: a link to a node that is not on this level */
            const uint32_t *row = hnsw_row(h, best, level, &width);
            while (n < width && row[n] < h->slots)
                n++;
            codes_distances(&h->vec->codes, cq, row, n, w->dists);
            w->distances += n;
            moved = false;
            for (uint32_t i = 0; i < n; i++)
                if (w->dists[i] < *dist) {
                    *dist = w->dists[i];
                    best = row[i];
                    moved = true;
                }
        }
    return best;
}

static void begin_at_descent(struct walk *w, const struct code_query *cq)
{
    float dist;
    w->ids[0] = descend(w, cq, &dist);
    w->dists[0] = dist;
    w->n = 1;
    scratch_visit(w->s, w->ids[0]);
}

/* Where distances in the frontier are those of codes, not estimates. */
static void begin_on_codes(struct walk *w, const struct code_query *cq)
{
    const struct hnsw *h = w->h;
    if (h->entry_groups > 0) {
        struct annk_row_query rq;
        row_query(h, cq, w->s->sums.data, &rq);
        begin_at_entries(w, &rq);
        codes_distances(&h->vec->codes, cq, w->ids, w->n, w->dists);
        w->distances += w->n;
    } else {
        begin_at_descent(w, cq);
    }
    for (size_t i = 0; i < w->n; i++)
        if (may_be_result(w, w->ids[i]))
            enter_result(w, w->dists[i], w->ids[i]);
}

static inline size_t fresh_neighbours(struct walk *w, uint32_t slot)
{
    const struct hnsw *h = w->h;
    const uint32_t *row = hnsw_row0(h, slot);
    uint32_t *ids = w->ids + w->n;
    size_t n = 0;
    for (uint32_t i = 0; i < h->m0; i++) {
        if (row[i] >= h->slots)
            break;
        ids[n] = row[i];
        n += scratch_visit(w->s, row[i]);
    }
    return n;
}

static void walk_codes(struct walk *w, const struct code_query *cq)
{
    const struct hnsw *h = w->h;
    uint32_t slot;
    while (w->hops < w->cap && take_nearest(w, &slot)) {
        const size_t m = fresh_neighbours(w, slot);
        float *dists = w->dists + w->n;
        uint32_t *ids = w->ids + w->n;
        codes_distances(&h->vec->codes, cq, ids, m, dists);
        w->distances += m;
        w->hops++;
        const size_t near = w->ops->keep(dists, ids, m, w->limit);
        for (size_t i = 0; i < near; i++)
            if (may_be_result(w, ids[i]))
                enter_result(w, dists[i], ids[i]);
        if (w->aside > 1)
            put_aside(w, w->n, near);
        w->n += near;
        if (w->n > w->crowded)
            make_room(w);
        if (w->n > 0)
            __builtin_prefetch(hnsw_row0(h, w->ids[w->n - 1]));
    }
}

/* ---- both ---- */

#define CAP_PER_EFFORT 4

double hnsw_thinned(const struct hnsw *h, const struct kind_query *q)
{
    const uint32_t passing = kind_passing(h->vec, q);
    return passing > 0 ? ((double)h->linked + h->removed) / passing : 1;
}

size_t hnsw_walk(const struct hnsw *h, const struct kind_query *q, struct scratch *s,
                 search_key *keys, size_t width)
{
    const struct vectors *v = h->vec;
    const struct code_query *cq = vectors_code_query(v, q->query);
    const double thin = hnsw_thinned(h, q), effort = q->fine > 0 ? q->fine : (double)q->effort;
    struct walk w = {
        .h = h,
        .q = q,
        .s = s,
        .dists = s->dists.data,
        .ids = s->slots.data,
        .room = s->dists.bytes / sizeof(float) - h->m0 - 16,
        .crowded = 256,
        .keys = keys,
        .width = width,
        .k = q->k,
        .gamma = hnsw_gamma(h, effort * thin * hnsw_harder(thin), (double)q->k * thin),
        .aside = 1,
        .limit = INFINITY,
        .cap = (uint64_t)((double)q->effort * thin * CAP_PER_EFFORT) + 16,
        .gated = q->allowed || h->removed > 0 || v->live < h->linked,
        .ops = h->row_ops,
        .step = cq->step,
    };
    set_band(&w, cq);
    if (q->allowed)
        w.aside = hnsw_gamma(h, (double)q->k * thin, (double)q->k);
    if (h->rows_on) {
        struct annk_row_query rq;
        row_query(h, cq, s->sums.data, &rq);
        if (h->entry_groups > 0)
            begin_at_entries(&w, &rq);
        else
            begin_at_descent(&w, cq);
        walk_rows(&w, &rq);
        w.distances += w.hops;
    } else {
        begin_on_codes(&w, cq);
        walk_codes(&w, cq);
    }
    scratch_unvisit(s);
    while (w.found > w.k && key_dist(keys[w.found - 1]) > w.band)
        w.found--;
    q->stats->distances += w.distances;
    q->stats->hops += w.hops;
    return w.found;
}
