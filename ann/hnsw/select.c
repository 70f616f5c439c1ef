/* select.c - which candidates become neighbours.
 *
 * Algorithm 4 of the paper, alpha = 1: from near to far, a candidate is kept if it is nearer to
 * the node than to every neighbour kept so far.  Departures: places left over are filled with
 * the nearest of the others (a full row costs a hop no more line fills and finds more); a row
 * that gets one more edge is not selected anew but remembers which of its edges were kept,
 * which takes one distance a place in place of one a pair; equal distances are ordered by a
 * hash that differs from node to node, so that many copies of one vector link to different ones
 * of each other; of neighbours that are all equally far from the node and from one another, as
 * its copies are, at most half a row is kept, so that copies leave room for a way out from
 * among them. */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "ann/base/rng.h"
#include "ann/hnsw/hnsw.h"

static inline uint32_t tie(uint32_t of, uint32_t slot)
{
    return (uint32_t)rng_mix((uint64_t)of << 32 | slot);
}

static inline int edge_order(const struct hnsw_edge *a, const struct hnsw_edge *b, uint32_t of)
{
    if (a->dist != b->dist)
        return a->dist < b->dist ? -1 : 1;
    const uint32_t ta = tie(of, a->slot), tb = tie(of, b->slot);
    if (ta != tb)
        return ta < tb ? -1 : 1;
    return a->slot < b->slot ? -1 : a->slot > b->slot;
}

/* Insertion sort: candidates come nearly sorted from a beam, rows are short. */
void hnsw_sort_edges(struct hnsw_edge *e, size_t n, uint32_t of)
{
    for (size_t i = 1; i < n; i++) {
        const struct hnsw_edge x = e[i];
        size_t at = i;
        while (at > 0 && edge_order(&x, &e[at - 1], of) < 0) {
            e[at] = e[at - 1];
            at--;
        }
        e[at] = x;
    }
}

/* An edge shut out only if what is between counted less by these is not kept but stands above
 * the others: squared distances. */
#define GOOD_IF 1.1f
#define FAIR_IF 1.2f

/* How a candidate at `dist` from the node fares against a kept edge, itself at `between` from
 * that one, which is at `kept_dist`.  Counts twins, see above. */
static inline uint32_t standing(float between, float kept_dist, float dist, size_t width,
                                uint32_t *twins)
{
    *twins += between == dist && kept_dist == dist;
    if (*twins > width / 2)
        return HNSW_FILLER;
    return (uint32_t)(between >= dist) + (between * GOOD_IF >= dist) +
           (between * FAIR_IF >= dist);
}

/* Compares the candidates w->places [*n] with the one just kept; those that became fillers are
 * dropped. */
static void compare_with(const struct hnsw *h, struct hnsw_edge *e, size_t kept, size_t width,
                         size_t *n, struct hnsw_worker *w)
{
    size_t left = 0;
    for (size_t i = 0; i < *n; i++)
        w->slots[i] = e[w->places[i]].slot;
    hnsw_distances(h, hnsw_slot_query(h, e[kept].slot, w->other_query), w->slots, *n, w->dists);
    for (size_t i = 0; i < *n; i++) {
        const uint32_t at = w->places[i];
        const uint32_t now =
            standing(w->dists[i], e[kept].dist, e[at].dist, width, &w->twins[at]);
        e[at].kept = now < e[at].kept ? now : e[at].kept;
        w->places[left] = at;
        left += e[at].kept != HNSW_FILLER;
    }
    *n = left;
}

/* From near to far, each candidate kept is compared with all farther ones that are left, at
 * once: the same edges are kept as if each candidate were compared with those kept before. */
size_t hnsw_select(const struct hnsw *h, struct hnsw_edge *e, size_t n, size_t width,
                   struct hnsw_worker *w)
{
    size_t counts[HNSW_KEPT + 1] = {0}, left = n;
    for (size_t i = 0; i < n; i++) {
        e[i].kept = HNSW_KEPT;
        w->places[i] = (uint32_t)i;
        w->twins[i] = 1;
    }
    while (left > 0) {
        const uint32_t nearest = w->places[0];
        memmove(w->places, w->places + 1, --left * sizeof *w->places);
        if (e[nearest].kept != HNSW_KEPT)
            continue;
        if (counts[HNSW_KEPT] == width) {
            e[nearest].kept = HNSW_FILLER;
            continue;
        }
        counts[HNSW_KEPT]++;
        compare_with(h, e, nearest, width, &left, w);
    }
    if (n <= width)
        return n;
    /* The best stay, of equally good ones the nearest, in order of distance. */
    size_t places[HNSW_KEPT + 1], free = width;
    for (size_t i = 0; i < n; i++)
        counts[e[i].kept] += e[i].kept != HNSW_KEPT;
    for (uint32_t kept = HNSW_KEPT + 1; kept-- > 0;) {
        places[kept] = counts[kept] < free ? counts[kept] : free;
        free -= places[kept];
    }
    size_t to = 0;
    for (size_t i = 0; i < n; i++)
        if (places[e[i].kept] > 0) {
            places[e[i].kept]--;
            e[to++] = e[i];
        }
    return to;
}

/* The edge a full row gives up for a fresh one: its index, or n for the fresh one itself. */
static size_t victim_of(const struct hnsw_edge *e, size_t n, const struct hnsw_edge *fresh,
                        const uint32_t *in_degree)
{
    for (uint32_t kept = 0; kept <= HNSW_KEPT; kept++) { /* fillers first */
        size_t worst = SIZE_MAX;
        float far = fresh->kept == kept ? fresh->dist : -INFINITY;
        if (fresh->kept == kept)
            worst = n;
        for (size_t i = 0; i < n; i++)
            if (((e[i].kept == kept) & (e[i].dist >= far)) && /* seldom both: guessed well */
                (!in_degree || in_degree[e[i].slot] > 1)) {
                worst = i;
                far = e[i].dist;
            }
        if (worst != SIZE_MAX)
            return worst;
    }
    return n;
}

/* The kept edges that are nearer than `dist`, or the others, at w->slots, and which they are at
 * w->places; how many.  Without branches: either is as likely. */
static size_t kept_edges(const struct hnsw_edge *e, size_t n, float dist, bool nearer,
                         struct hnsw_worker *w)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        w->slots[count] = e[i].slot;
        w->places[count] = (uint32_t)i;
        count += (e[i].kept == HNSW_KEPT) & ((e[i].dist <= dist) == nearer);
    }
    return count;
}

/* How a fresh edge, the query, stands against the kept ones nearer than it: until it is a
 * filler, some at a time. */
static uint32_t fresh_standing(const struct hnsw *h, const struct hnsw_edge *e, size_t n,
                               float dist, size_t width, const void *q, struct hnsw_worker *w)
{
    enum { RUN = 8 };
    const size_t count = kept_edges(e, n, dist, true, w);
    uint32_t twins = 1, kept = HNSW_KEPT;
    for (size_t at = 0; at < count && kept != HNSW_FILLER; at += RUN) {
        const size_t run = count - at < RUN ? count - at : RUN;
        hnsw_distances(h, q, w->slots + at, run, w->dists);
        for (size_t i = 0; i < run && kept != HNSW_FILLER; i++) {
            const uint32_t now =
                standing(w->dists[i], e[w->places[at + i]].dist, dist, width, &twins);
            kept = now < kept ? now : kept;
        }
    }
    return kept;
}

/* Only kept edges have a say: whether a nearer one makes the fresh edge a filler, and which
 * farther ones the fresh edge makes fillers. */
void hnsw_offer(const struct hnsw *h, struct hnsw_edge *e, size_t *n, size_t width,
                struct hnsw_edge fresh, const uint32_t *in_degree, struct hnsw_worker *w)
{
    for (size_t i = 0; i < *n; i++)
        if (e[i].slot == fresh.slot)
            return;
    const void *q = hnsw_slot_query(h, fresh.slot, w->other_query);
    fresh.kept = fresh_standing(h, e, *n, fresh.dist, width, q, w);
    if (fresh.kept == HNSW_KEPT) {
        const size_t count = kept_edges(e, *n, fresh.dist, false, w);
        hnsw_distances(h, q, w->slots, count, w->dists);
        for (size_t i = 0; i < count; i++) {
            struct hnsw_edge *far = &e[w->places[i]];
            uint32_t alone = 1;
            far->kept = standing(w->dists[i], fresh.dist, far->dist, width, &alone);
        }
    }
    if (*n < width) {
        e[(*n)++] = fresh;
        return;
    }
    const size_t victim = victim_of(e, *n, &fresh, in_degree);
    if (victim < *n)
        e[victim] = fresh;
}
