/* walk.c - the search of level 0 on codes, and in rows of profile fast.
 *
 * Sources: SymphonyQG (Gou et al., SIGMOD 2025) for rows; "Distance Adaptive Beam Search" (Al-Jazzazi
 * et al., 2025) for the threshold.  A node's neighbours come from its row as estimates; its own
 * distance, by 8-bit codes, is found when it is looked at, and only that makes it a result.  On
 * codes alone (profiles balanced and lean) the neighbours' distances are what the estimates are.
 *
 * Stopping: a node farther than gamma times the k-th result is not looked at, and when the nearest
 * of the frontier is, the search ends.  gamma comes from the effort (hnsw_gamma); a number of hops
 * that grows with it is the cap.  Where many are asked for, a walk in rows then looks at the codes
 * of what the frontier still holds near the k-th: estimates bring far more nodes than are looked
 * at, and a code costs a tenth of a row.  So an effort below k takes fewer hops than there are
 * results.
 *
 * With a filter the results that count are those that pass it, and what does not pass stands
 * farther back in the frontier, by as much as the k-th that passes is farther than the k-th of
 * all (docs/hnsw.md, "Filters"). */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/hnsw/walk.h"

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

/* ---- candidates ---- */

/* Where the nearest are so near that errors of codes hide them, all of them are looked at. */
static void set_band(struct walk *w)
{
    w->floor = 8 * rerank_error2(w->h->vec, w->cq);
    rerank_band(w->h->vec, w->cq, &w->band_root, &w->band_add);
    w->band = INFINITY;
}

/* ---- in rows ---- */

void hnsw_walk_row_query(const struct walk *w, struct annk_row_query *rq)
{
    const struct hnsw *h = w->h;
    const struct code_query *cq = w->cq;
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
    w->ops->sums(code_query_high(cq), cq->step, cq->padded, h->planes, w->s->sums.data, rq);
}

#define STARTS 2 /* of the table's nodes, so many nearest ones */

/* The nearest nodes of the table of entries into the frontier, by their estimates. */
void hnsw_walk_enter_at(struct walk *w, const struct annk_row_query *rq,
                        const struct buf *entries, uint32_t groups)
{
    struct annk_row_query all = *rq;
    all.planes = 1;
    all.groups = groups;
    all.padded = hnsw_entry_padded(w->h);
    /* The sums are the same for any number of planes and dimensions, their offset is not. */
    w->ops->sums(rq->query, w->cq->step, all.padded, 1, w->s->sums.data, &all);
    const size_t n = w->ops->scan(&all, entries->data, rq->query_norm, INFINITY, w->dists,
                                  w->ids);
    if (w->aside > 1)
        walk_put_aside(w, 0, n);
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
    w->n = walk_mark(w, n < STARTS ? n : STARTS);
}

static const uint8_t *row_at(const void *h, uint32_t slot)
{
    return hnsw_code_row(h, slot);
}

static void look_at(struct walk *w, struct annk_row_query *rq, uint32_t slot, void *arg)
{
    (void)arg;
    walk_look_at(w, rq, hnsw_code_row(w->h, slot), slot);
}

/* ---- the end of a walk in rows ---- */

/* Estimates are good enough that what is among the k nearest is seldom farther, by its own, than
 * this times the k-th. */
#define UNSURE 1.1F

/* The frontier's distances up to `limit`. */
static size_t count_within(const struct walk *w, float limit)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n; i++)
        n += w->dists[i] <= limit;
    return n;
}

/* About the distance of the frontier's rank-th, at least; rank is at most its nodes. */
static float distance_at(const struct walk *w, size_t rank)
{
    float low = 0, high = 0;
    for (size_t i = 0; i < w->n; i++)
        high = w->dists[i] > high ? w->dists[i] : high;
    for (int i = 0; i < 16; i++) {
        const float middle = (low + high) / 2;
        const size_t n = count_within(w, middle);
        if (n < rank)
            low = middle;
        else
            high = middle;
        if (n >= rank && n <= rank + rank / 8)
            break;
    }
    return high;
}

/* What of the frontier may be among the k nearest becomes a result by its code, a tenth of a row.
 */
static void look_at_codes(struct walk *w)
{
    if (w->found + w->n < w->k)
        return;
    const float kth = w->found < w->k ? distance_at(w, w->k - w->found)
                                      : key_dist(w->keys[w->k - 1]);
    const float limit = UNSURE * kth > w->floor ? UNSURE * kth : w->floor;
    const size_t n = w->ops->keep(w->dists, w->ids, w->n, limit);
    codes_distances(&w->h->vec->codes, w->cq, w->ids, n, w->dists);
    w->distances += n;
    for (size_t i = 0; i < n; i++)
        if (walk_may_be_result(w, w->ids[i]))
            walk_result(w, w->dists[i], w->ids[i]);
}

/* ---- on codes ---- */

static float code_distance(const struct walk *w, uint32_t slot)
{
    float dist;
    codes_distances(&w->h->vec->codes, w->cq, &slot, 1, &dist);
    return dist;
}

/* Greedy descent to level 1: the nearest node found. */
static uint32_t descend(struct walk *w, float *dist)
{
    const struct hnsw *h = w->h;
    uint32_t best = h->entry;
    *dist = code_distance(w, best);
    for (uint32_t level = h->max_level; level > 0; level--)
        for (bool moved = true; moved;) {
            uint32_t width, n = 0;
            if (level > hnsw_level(h, best))
                break; /* damaged: a link to a node that is not on this level */
            const uint32_t *row = hnsw_row(h, best, level, &width);
            while (n < width && row[n] < h->slots)
                n++;
            codes_distances(&h->vec->codes, w->cq, row, n, w->dists);
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

static void begin_at_descent(struct walk *w)
{
    float dist;
    w->ids[0] = descend(w, &dist);
    w->dists[0] = dist;
    w->n = 1;
    scratch_visit(w->s, w->ids[0]);
}

void hnsw_walk_start(struct walk *w, struct annk_row_query *rq)
{
    const struct hnsw *h = w->h;
    if (h->entry_groups > 0 || h->rows_on)
        hnsw_walk_row_query(w, rq);
    if (h->entry_groups > 0) {
        hnsw_walk_enter_at(w, rq, &w->h->entries, w->h->entry_groups);
        codes_distances(&h->vec->codes, w->cq, w->ids, w->n, w->dists);
        w->distances += w->n;
    } else {
        begin_at_descent(w);
    }
    for (size_t i = 0; i < w->n; i++)
        if (walk_may_be_result(w, w->ids[i]))
            walk_result(w, w->dists[i], w->ids[i]);
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

static void walk_codes(struct walk *w)
{
    uint32_t slot;
    float dist;
    while (w->hops < w->cap && walk_take(w, &slot, &dist)) {
        const size_t near = walk_distances(w, fresh_neighbours(w, slot));
        const float *dists = w->dists + w->n;
        const uint32_t *ids = w->ids + w->n;
        w->hops++;
        for (size_t i = 0; i < near; i++)
            if (walk_may_be_result(w, ids[i]))
                walk_result(w, dists[i], ids[i]);
        if (w->aside > 1)
            walk_put_aside(w, w->n, near);
        w->n += near;
        walk_make_room(w);
        if (w->n > 0)
            __builtin_prefetch(hnsw_row0(w->h, w->ids[w->n - 1]));
    }
}

/* ---- both ---- */

#define CAP_PER_EFFORT 4

double hnsw_thinned(const struct hnsw *h, const struct kind_query *q)
{
    const uint32_t passing = kind_passing(h->vec, q);
    return passing > 0 ? ((double)h->linked + h->removed) / passing : 1;
}

/* In rows a hop is one result at most. */
static double most_hops(const struct hnsw *h, const struct kind_query *q)
{
    const double hops = (double)q->effort * CAP_PER_EFFORT, results = 2 * (double)q->k;
    return h->rows_on && hops < results ? results : hops;
}

void hnsw_walk_begin(struct walk *w, const struct hnsw *h, const struct kind_query *q,
                     struct scratch *s, double effort, size_t most)
{
    const double thin = hnsw_thinned(h, q);
    *w = (struct walk){
        .h = h,
        .q = q,
        .cq = vectors_code_query(h->vec, q->query),
        .s = s,
        .dists = s->dists.data,
        .ids = s->slots.data,
        .room = s->dists.bytes / sizeof(float) - most,
        .crowded = CROWDED,
        .keys = s->keys.data,
        .width = hnsw_rerank_width(h, q),
        .k = q->k,
        .lead = q->k,
        .gamma = hnsw_gamma(h, effort * thin, (double)q->k * thin),
        .stop = INFINITY,
        .aside = 1,
        .limit = INFINITY,
        .cap = (uint64_t)(most_hops(h, q) * thin) + 16,
        .gated = q->allowed || h->removed > 0 || h->vec->live < h->linked,
        .ops = h->row_ops,
    };
    set_band(w);
}

size_t hnsw_walk_end(struct walk *w)
{
    scratch_unvisit(w->s);
    while (w->found > w->k && key_dist(w->keys[w->found - 1]) > w->band)
        w->found--;
    w->q->stats->distances += w->distances;
    w->q->stats->hops += w->hops;
    return w->found;
}

#define FEW        16 /* results, for which a few more hops are as cheap as codes at the end */
#define LEAST_LEAD 10
#define SLACK      1.15F /* a query's distances by rank are not the table's */

/* A walk in rows whose effort is less than k goes as far as that many results say, and leaves the
 * rest to the frontier, which has to hold them. */
static void set_lead(struct walk *w, double effort, double thin)
{
    const double least = effort > LEAST_LEAD ? effort : LEAST_LEAD;
    w->beyond = UNSURE;
    if (least >= (double)w->k)
        return;
    w->lead = (size_t)least;
    w->wanted = (size_t)(1.5 * thin * (double)w->k);
    w->gamma = hnsw_gamma(w->h, effort, (double)w->lead);
    w->beyond *= SLACK * hnsw_gamma(w->h, (double)w->k, (double)w->lead);
}

static void walk_in_rows(struct walk *w, double effort, double thin)
{
    struct annk_row_query rq;
    hnsw_walk_row_query(w, &rq);
    if (w->h->entry_groups > 0)
        hnsw_walk_enter_at(w, &rq, &w->h->entries, w->h->entry_groups);
    else
        begin_at_descent(w);
    const bool many = w->k > FEW && !w->q->allowed;
    if (many)
        set_lead(w, effort, thin);
    walk_in_turn(w, &rq, row_at, w->h, look_at, NULL);
    w->distances += w->hops;
    if (many)
        look_at_codes(w);
}

size_t hnsw_walk(const struct hnsw *h, const struct kind_query *q, struct scratch *s)
{
    const double thin = hnsw_thinned(h, q), effort = q->fine > 0 ? q->fine : (double)q->effort;
    struct walk w;
    hnsw_walk_begin(&w, h, q, s, effort * hnsw_harder(thin), (size_t)h->m0 + 16);
    if (q->allowed)
        w.aside = hnsw_gamma(h, (double)q->k * thin, (double)q->k);
    if (h->rows_on) {
        walk_in_rows(&w, effort, thin);
    } else {
        struct annk_row_query rq;
        hnsw_walk_start(&w, &rq);
        walk_codes(&w);
    }
    return hnsw_walk_end(&w);
}
