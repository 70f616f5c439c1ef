/* search.c - searching the graph: on codes by walk.c and rerank.c, else on the vectors here.
 *
 * Algorithms 2 and 5 of the paper with one sorted beam.  A hop goes over the neighbours twice:
 * first their ids, dropping what was visited, then the distances of the rest in one kernel call
 * that prefetches ahead: nine tenths of a hop are waiting for memory.
 *
 * Removed nodes: the walk is the same, they only are no results.  If a share s of the nodes may be
 * results, the beam is 1/s as wide; when that costs more than looking at every live vector, or
 * finds too few, all live vectors are looked at.  Searches with a filter are sieve.c's. */
#include <config.h>

#include "ann/hnsw/hnsw.h"
#include "ann/search/scan.h"

/* The neighbours not visited yet, at s->slots; how many.  A file that changes beneath a mapping
 * must not lead out of the arrays, so each id is compared with the number of slots. */
static inline size_t fresh_neighbours(const struct hnsw *h, const uint32_t *row, uint32_t width,
                                      struct scratch *s)
{
    uint32_t *slots = s->slots.data;
    size_t n = 0;
    for (uint32_t i = 0; i < width; i++) {
        const uint32_t slot = row[i];
        if (slot >= h->slots)
            break;
        slots[n] = slot;
        n += scratch_visit(s, slot);
    }
    return n;
}

static void search_level(const struct hnsw *h, const void *query, uint32_t level,
                         search_key start, struct beam *b, struct scratch *s,
                         struct ann_search_stats *stats)
{
    const struct vectors *v = h->vec;
    const uint32_t *slots = s->slots.data;
    float *dists = s->dists.data;
    uint64_t distances = 0, hops = 0;
    search_key key;
    beam_insert(b, start);
    scratch_visit(s, key_slot(start));
    while (beam_pop(b, &key)) {
        uint32_t width, ahead;
        if (level > 0 && level > hnsw_level(h, key_slot(key)))
            continue; /* damaged: a link to a node that is not on this level */
        const uint32_t *row = hnsw_row(h, key_slot(key), level, &width);
        const size_t n = fresh_neighbours(h, row, width, s);
        vectors_many(v, query, slots, n, dists);
        for (size_t i = 0; i < n; i++)
            beam_insert(b, key_make(dists[i], slots[i]));
        if (level == 0 && beam_peek(b, &ahead))
            hnsw_fetch_links(h, ahead);
        distances += n;
        hops++;
    }
    scratch_unvisit(s);
    stats->distances += distances;
    stats->hops += hops;
}

static search_key descend(const struct hnsw *h, const void *query, uint32_t to,
                          struct scratch *s, struct ann_search_stats *stats)
{
    const struct vectors *v = h->vec;
    float *dists = s->dists.data;
    search_key best = key_make(hnsw_distance(h, query, h->entry), h->entry);
    stats->distances++;
    for (uint32_t level = h->max_level; level > to; level--)
        for (bool moved = true; moved;) {
            uint32_t width, n = 0;
            if (level > hnsw_level(h, key_slot(best)))
                break;
            const uint32_t *row = hnsw_row(h, key_slot(best), level, &width);
            while (n < width && row[n] < h->slots)
                n++;
            vectors_many(v, query, row, n, dists);
            stats->distances += n;
            stats->hops++;
            moved = false;
            for (uint32_t i = 0; i < n; i++)
                if (key_make(dists[i], row[i]) < best) {
                    best = key_make(dists[i], row[i]);
                    moved = true;
                }
        }
    return best;
}

/* ---- queries ---- */

/* How many distances of a scan cost as much as one hop per unit of beam width: a hop computes
 * about half a row's distances, each a cache miss where a scan reads in order. */
static bool scan_is_cheaper(const struct hnsw *h, size_t width, uint32_t count)
{
    return count <= width || count / h->m0 < width - width / 4;
}

/* The beam width at which about `effort` of the nodes in it may be results. */
static size_t gated_width(const struct hnsw *h, size_t effort, uint32_t count)
{
    const double nodes = (double)h->linked + h->removed;
    const double width = (double)effort * nodes / count;
    return width < nodes ? (size_t)width + 1 : (size_t)nodes;
}

static bool is_gated(const struct hnsw *h)
{
    return h->removed > 0 || h->vec->live < h->linked;
}

size_t hnsw_rerank_width(const struct hnsw *h, const struct kind_query *q)
{
    const size_t width = 2 * q->k + 4 * q->effort + 64, nodes = h->linked;
    return width < nodes ? width : nodes > q->k ? nodes : q->k;
}

#define FRONTIER 4096 /* nodes a walk on codes holds, at least */

void hnsw_needs(const void *state, const struct kind_query *q, size_t *keys, size_t *batch)
{
    const struct hnsw *h = state;
    const size_t effort = q->effort > q->k ? q->effort : q->k;
    const size_t nodes = (size_t)h->linked + h->removed;
    const size_t places = 2 * h->m0 > SCAN_BATCH ? 2 * (size_t)h->m0 : SCAN_BATCH;
    *keys = (effort < nodes ? effort : nodes) + 2;
    *batch = 2 * places;
    if (h->vec->codes.type) {
        *keys = hnsw_rerank_width(h, q) + 1;
        *batch = (q->allowed ? 6 : 2) * places + FRONTIER + *keys;
    }
}

static void walk(const struct hnsw *h, const struct kind_query *q, struct scratch *s,
                 size_t width, struct beam *b)
{
    const search_key start = descend(h, q->query, 0, s, q->stats);
    beam_reset(b, s->keys.data, width);
    search_level(h, q->query, 0, start, b, s, q->stats);
}

/* Some nodes may not be results: widen the beam until enough of what it holds may. */
static ann_err search_gated(const struct hnsw *h, const struct kind_query *q, struct scratch *s,
                            size_t effort, search_key *out, size_t *found)
{
    const struct vectors *v = h->vec;
    const uint32_t count = kind_passing(v, q);
    const size_t enough = effort < count ? (effort + q->k) / 2 : count;
    for (size_t width = gated_width(h, effort, count);; width *= 2) {
        if (scan_is_cheaper(h, width, count))
            break;
        const ann_err err = scratch_reserve(s, v, h->slots, width + 2, 0);
        if (err)
            return err;
        struct beam b;
        walk(h, q, s, width, &b);
        size_t n = 0, passing = 0;
        for (size_t i = 0; i < b.size; i++) {
            if (!kind_passes(v, q, key_slot(b.keys[i])))
                continue;
            passing++;
            if (n < q->k)
                out[n++] = b.keys[i] & ~KEY_FLAG;
        }
        if (passing >= enough) {
            *found = n;
            return ANN_OK;
        }
    }
    scan_search(h->vec, q, s, out, found);
    return ANN_OK;
}

/* On codes, then exactly. */
static void search_codes(const struct hnsw *h, const struct kind_query *q, struct scratch *s,
                         search_key *out, size_t *found)
{
    const uint32_t passing = kind_passing(h->vec, q);
    const double thin = passing > 0 ? ((double)h->linked + h->removed) / passing : 1;
    const double width = (double)(q->effort > q->k ? q->effort : q->k) * thin;
    if (is_gated(h) && scan_is_cheaper(h, (size_t)width, passing)) {
        scan_search(h->vec, q, s, out, found);
        return;
    }
    search_key *keys = s->keys.data;
    const size_t n = hnsw_walk(h, q, s);
    if (n < q->k) { /* not all is reachable, or few pass: never fewer than k when k exist */
        scan_search(h->vec, q, s, out, found);
        return;
    }
    rerank(h->vec, q, s, keys, n, q->k, out);
    *found = q->k;
}

ann_err hnsw_search(const void *state, const struct kind_query *q, struct scratch *s,
                    search_key *out, size_t *found)
{
    const struct hnsw *h = state;
    const size_t effort = q->effort > q->k ? q->effort : q->k;
    if (effort >= h->vec->live || h->entry == HNSW_NONE) {
        scan_search(h->vec, q, s, out, found);
        return ANN_OK;
    }
    if (q->allowed)
        return hnsw_search_filtered(h, q, s, out, found);
    if (h->vec->codes.type) {
        search_codes(h, q, s, out, found);
        return ANN_OK;
    }
    if (is_gated(h))
        return search_gated(h, q, s, effort, out, found);
    struct beam b;
    walk(h, q, s, effort, &b);
    if (b.size < q->k) { /* not all is reachable: never fewer than k when k exist */
        scan_search(h->vec, q, s, out, found);
        return ANN_OK;
    }
    for (size_t i = 0; i < q->k; i++)
        out[i] = b.keys[i] & ~KEY_FLAG;
    *found = q->k;
    return ANN_OK;
}
