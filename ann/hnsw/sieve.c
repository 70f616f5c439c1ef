/* sieve.c - searches with a filter: a scan where few pass, else a walk, one of three.
 *
 * In rows, a filter that serves many searches gets rows of its own for what passes, and the walk
 * is subgraph.c's.  Before, and on codes, where more than half pass (in rows two fifths), it is
 * walk.c's: nodes that do not pass are ways to others, put aside.  Else it is twohop.c's, which
 * looks at nodes that pass alone.
 *
 * Crossover: scan and walk are compared by what they cost in distances (walk_cost, own_cost);
 * docs/hnsw.md has the measurement.  A scan is of codes where there are any, packed from the
 * filter's second scan on (packed.h), and what could be among the k nearest is re-ranked from
 * the vectors.  A walk that finds fewer than k ends in a scan: never fewer than k when k
 * exist. */
#include <config.h>

#include <string.h>

#include "ann/hnsw/hnsw.h"
#include "ann/kernels/rows.h"
#include "ann/search/scan.h"

/* Nodes for one that passes, at most, for a walk over all: in rows, and on codes. */
#define MANY_ROWS  2.5
#define MANY_CODES 1.9

/* A place of a row, by the unit of effort, costs as much as PACKED bytes of packed codes, each
 * of which costs as much as PACKED_OWN more than it has; or as so many codes, or vectors, apart.
 */
#define PACKED     2560
#define PACKED_OWN 240
#define APART      3.5
#define VECTORS    4.5

/* A walk in rows of the filter's own, in bytes of packed codes: to begin, a hop, a byte of its
 * row, and hops beside those of the effort. */
#define OWN_START 190e3
#define OWN_HOP   11.6e3
#define OWN_BYTE  2.2
#define OWN_HOPS  10

struct sieve {
    const struct hnsw *h;
    const struct kind_query *q;
    struct scratch *s;
    const struct code_query *cq; /* NULL: no codes */
};

/* ---- the scan ---- */

/* What a scan of codes has found: all that may be among the k nearest. */
struct candidates {
    struct topk nearest; /* the k nearest by codes */
    search_key *keys;    /* [n]: candidates, none farther than band when they came */
    size_t n, room;
    float band, root, add; /* rerank.h has the latter two */
    bool crowded;          /* there are more than room: codes do not tell them apart */
};

static struct candidates no_candidates(const struct sieve *w, search_key *out)
{
    struct candidates f = {
        .nearest = {.keys = out, .k = w->q->k},
        .keys = w->s->keys.data,
        .room = w->s->keys.bytes / sizeof(search_key),
        .band = INFINITY,
    };
    rerank_band(w->h->vec, w->cq, &f.root, &f.add);
    return f;
}

/* Drops what is no candidate any more. */
static void drop_far(struct candidates *f)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n; i++) {
        f->keys[n] = f->keys[i];
        n += key_dist(f->keys[i]) <= f->band;
    }
    f->n = n;
}

static void push(struct candidates *f, search_key key)
{
    topk_push(&f->nearest, key);
    if (f->nearest.size == f->nearest.k) {
        f->band = rerank_limit(topk_limit(&f->nearest), f->root, f->add);
    }
    if (f->n == f->room)
        drop_far(f);
    if (f->n == f->room) {
        f->crowded = true;
        f->n = 0;
    }
    f->keys[f->n++] = key;
}

/* Slots [n] at s->slots, of these codes; `names` says which they are elsewhere, or is NULL. */
static void push_all(const struct sieve *w, const struct codes *c, const uint32_t *names,
                     size_t n, struct candidates *f)
{
    uint32_t *slots = w->s->slots.data;
    float *dists = w->s->dists.data;
    codes_distances(c, w->cq, slots, n, dists);
    w->q->stats->distances += n;
    const size_t near = w->h->row_ops->keep(dists, slots, n, f->band);
    for (size_t i = 0; i < near; i++) {
        const uint32_t slot = names ? names[slots[i]] : slots[i];
        if (dists[i] <= f->band && (!names || kind_passes(w->h->vec, w->q, slot)))
            push(f, key_make(dists[i], slot));
    }
}

/* The slots of a word's bits, of which a branch could foretell neither place nor number: four at
 * a time.  Room for three more; how many. */
static inline size_t put_slots(uint64_t bits, uint32_t first, uint32_t *slots)
{
    const size_t n = (size_t)__builtin_popcountll(bits);
    for (size_t at = 0; at < n; at += 4)
        for (unsigned i = 0; i < 4; i++, bits &= bits - 1)
            slots[at + i] = first + (uint32_t)__builtin_ctzll(bits | UINT64_C(1) << 63);
    return n;
}

/* Of slots [n] those that still pass: of what came later some have the filter's bit. */
static size_t keep_passing(const struct sieve *w, uint32_t *slots, size_t n)
{
    size_t kept = 0;
    if (w->h->vec->born.bytes == 0)
        return n;
    for (size_t i = 0; i < n; i++) {
        slots[kept] = slots[i];
        kept += kind_passes(w->h->vec, w->q, slots[i]);
    }
    return kept;
}

static void scan_packed(const struct sieve *w, const struct packed_codes *p,
                        struct candidates *f)
{
    const struct codes view = packed_view(p, w->h->vec);
    uint32_t *places = w->s->slots.data;
    for (uint32_t from = 0; from < p->n; from += SCAN_BATCH) {
        const uint32_t n = p->n - from < SCAN_BATCH ? p->n - from : SCAN_BATCH;
        for (uint32_t i = 0; i < n; i++)
            places[i] = from + i;
        push_all(w, &view, p->slots.data, n, f);
    }
}

/* By the filter's bitmap. */
static void scan_apart(const struct sieve *w, struct candidates *f)
{
    const struct vectors *v = w->h->vec;
    const struct kind_query *q = w->q;
    const uint64_t *live = v->live_map.data;
    const uint32_t limit = q->allowed_slots < v->slots ? q->allowed_slots : v->slots;
    uint32_t *slots = w->s->slots.data;
    size_t n = 0;
    for (uint32_t first = 0; first < limit; first += 64) {
        uint64_t bits = live[first >> 6] & q->allowed[first >> 6];
        if (limit - first < 64)
            bits &= (UINT64_C(1) << (limit - first)) - 1;
        n += keep_passing(w, slots + n, put_slots(bits, first, slots + n));
        if (n >= SCAN_BATCH) {
            push_all(w, &v->codes, NULL, n, f);
            n = 0;
        }
    }
    push_all(w, &v->codes, NULL, n, f);
}

/* What of all that pass may be among the k nearest, ascending. */
static void scan_codes(const struct sieve *w, struct candidates *f)
{
    const struct kind_query *q = w->q;
    const struct packed_codes *p = packed_get(&q->kept->codes, w->h->vec, q->allowed,
                                              q->allowed_slots, q->allowed_count);
    if (p)
        scan_packed(w, p, f);
    else
        scan_apart(w, f);
    drop_far(f);
    struct topk all = {.keys = f->keys, .k = f->n};
    for (size_t i = 0; i < f->n; i++) /* where it is, a heap of those before */
        topk_push(&all, f->keys[i]);
    topk_sort(&all);
}

static void scan(const struct sieve *w, search_key *out, size_t *found)
{
    if (!w->cq) {
        scan_search(w->h->vec, w->q, w->s, out, found);
        return;
    }
    struct candidates f = no_candidates(w, out);
    scan_codes(w, &f);
    if (f.crowded) {
        scan_search(w->h->vec, w->q, w->s, out, found);
        return;
    }
    w->q->stats->exact++;
    *found = f.n < w->q->k ? f.n : w->q->k;
    rerank(w->h->vec, w->q, w->s, f.keys, f.n, *found, out);
}

/* ---- which of them ---- */

/* The distances of a scan that take as long as a walk of the same recall, two hops or aside. */
static double walk_cost(const struct sieve *w, size_t effort)
{
    const struct vectors *v = w->h->vec;
    const bool packed = w->cq && packed_pays(v, kind_passing(v, w->q));
    const double place = packed  ? PACKED / (PACKED_OWN + (double)v->codes.stride)
                         : w->cq ? APART
                                 : VECTORS;
    return (double)effort * hnsw_harder_hops(hnsw_thinned(w->h, w->q)) * w->h->m0 * place;
}

/* Likewise of a walk in rows of the filter's own. */
static double own_cost(const struct sieve *w, size_t effort)
{
    const double hop = OWN_HOP + OWN_BYTE * (double)w->h->row_size;
    const double code = PACKED_OWN + (double)w->h->vec->codes.stride;
    return (OWN_START + (OWN_HOPS + (double)effort) * hop) / code;
}

/* The nearest by a walk that pass at s->keys; how many.  A walk over all nodes may end among such
 * as do not pass, where those that do are clustered elsewhere. */
static size_t walk(const struct sieve *w, size_t effort)
{
    struct beam b;
    const double many = w->h->rows_on ? MANY_ROWS : MANY_CODES;
    if (w->cq) {
        const size_t n =
            hnsw_thinned(w->h, w->q) <= many ? hnsw_walk(w->h, w->q, w->s) : 0;
        return n < w->q->k ? hnsw_two_hops(w->h, w->q, w->s) : n;
    }
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
    struct subrows *own = coded ? hnsw_own_rows(h, q) : NULL;
    size_t n = 0;
    if (own && kind_passing(h->vec, q) > own_cost(&w, effort))
        n = hnsw_walk_own(h, q, s, own);
    if (n < q->k && kind_passing(h->vec, q) > walk_cost(&w, effort))
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
