/* sieve.c - searches with a filter: a scan where few pass, else a walk, one of two.
 *
 * On codes, where at least half pass, the walk is walk.c's: nodes that do not pass are ways to
 * others, put aside.  Else it is twohop.c's, which looks at nodes that pass alone.
 *
 * Crossover: scan and walk are compared by what they cost in distances (walk_cost);
 * docs/hnsw.md has the measurement.  A scan is of codes where there are any, and what could be
 * among the k nearest is re-ranked from the vectors.  A walk that finds fewer than k ends in a
 * scan: never fewer than k when k exist. */
#include <config.h>

#include <string.h>

#include "ann/hnsw/hnsw.h"
#include "ann/search/scan.h"

#define SPARE 64 /* candidates of a scan of codes beyond 2k */
#define MANY  2  /* nodes for one that passes, at most, for a walk over all */

struct sieve {
    const struct hnsw *h;
    const struct kind_query *q;
    struct scratch *s;
    const struct code_query *cq; /* NULL: no codes */
};

/* ---- the scan ---- */

static void push_all(const struct sieve *w, size_t n, struct topk *t)
{
    const uint32_t *slots = w->s->slots.data;
    float *dists = w->s->dists.data;
    codes_distances(&w->h->vec->codes, w->cq, slots, n, dists);
    w->q->stats->distances += n;
    for (size_t i = 0; i < n; i++)
        if (dists[i] <= topk_limit(t))
            topk_push(t, key_make(dists[i], slots[i]));
}

/* The nearest by codes of all that pass, at t, ascending. */
static void scan_codes(const struct sieve *w, struct topk *t)
{
    const struct vectors *v = w->h->vec;
    const struct kind_query *q = w->q;
    const uint64_t *live = v->live_map.data;
    const uint32_t limit = q->allowed_slots < v->slots ? q->allowed_slots : v->slots;
    uint32_t *slots = w->s->slots.data;
    size_t n = 0;
    for (size_t word = 0; word < ((size_t)limit + 63) / 64; word++)
        for (uint64_t bits = live[word] & q->allowed[word]; bits; bits &= bits - 1) {
            slots[n] = (uint32_t)(word * 64 + (size_t)__builtin_ctzll(bits));
            n += kind_passes(v, q, slots[n]);
            if (n == SCAN_BATCH) {
                push_all(w, n, t);
                n = 0;
            }
        }
    push_all(w, n, t);
    topk_sort(t);
}

static void scan(const struct sieve *w, search_key *out, size_t *found)
{
    const size_t k = w->q->k, room = w->s->keys.bytes / sizeof(search_key);
    struct topk t = {.keys = w->s->keys.data, .k = 2 * k + SPARE < room ? 2 * k + SPARE : room};
    if (!w->cq || t.k <= k) {
        scan_search(w->h->vec, w->q, w->s, out, found);
        return;
    }
    scan_codes(w, &t);
    const size_t n = rerank_trim(w->h->vec, w->q, t.keys, t.size);
    if (n == t.k) { /* codes do not tell so many apart */
        scan_search(w->h->vec, w->q, w->s, out, found);
        return;
    }
    w->q->stats->exact++;
    *found = n < k ? n : k;
    rerank(w->h->vec, w->q, w->s, t.keys, n, *found, out);
}

/* ---- which of them ---- */

/* The distances of a scan that take as long as a walk, two hops or aside: measured by the unit
 * of effort, much the same wherever one of 2 to 100 nodes passes. */
static double walk_cost(const struct sieve *w, size_t effort)
{
    return (double)effort * w->h->m0 * (w->h->rows_on ? 3 : 4.5);
}

/* The nearest by a walk that pass at s->keys; how many. */
static size_t walk(const struct sieve *w, size_t effort)
{
    struct beam b;
    if (w->cq)
        return hnsw_thinned(w->h, w->q) <= MANY ? hnsw_walk(w->h, w->q, w->s)
                                                : hnsw_two_hops(w->h, w->q, w->s);
    beam_reset(&b, w->s->keys.data, effort);
    hnsw_two_hops_beam(w->h, w->q, w->s, &b);
    return b.size;
}

ann_err hnsw_search_filtered(const struct hnsw *h, const struct kind_query *q,
                             struct scratch *s, search_key *out, size_t *found)
{
    const bool coded = h->vec->codes.type != CODE_NONE;
    const size_t effort = q->effort > q->k ? q->effort : q->k;
    const struct sieve w = {
        .h = h,
        .q = q,
        .s = s,
        .cq = coded ? vectors_code_query(h->vec, q->query) : NULL,
    };
    size_t n = 0;
    if (kind_passing(h->vec, q) > walk_cost(&w, effort))
        n = walk(&w, effort);
    if (n < q->k) { /* fewer than k are reached: never fewer than k when k exist */
        scan(&w, out, found);
        return ANN_OK;
    }
    *found = q->k;
    if (coded)
        rerank(h->vec, q, s, s->keys.data, n, q->k, out);
    else
        memcpy(out, s->keys.data, q->k * sizeof *out);
    return ANN_OK;
}
