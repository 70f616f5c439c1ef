/* sieve.c - searches with a filter: a scan where few pass, else a walk, one of two.
 *
 * In rows, and where many pass, it is walk.c's: nodes that do not pass are ways to others, put
 * aside.  Else it is that of ACORN-1 (Patel et al., SIGMOD 2024): only nodes that pass are
 * looked at; of a node's neighbours those that pass, and where they are few, of the others'
 * neighbours those that pass, until there are enough.  So what does not pass costs a look at
 * its links, never a distance. Departures: it begins at the nearest of a sample of what passes,
 * and each node leads to its neighbours' neighbours once.
 *
 * Crossover: scan and walk are compared by what they cost in distances (walk_cost);
 * docs/hnsw.md has the measurement.  A scan is of codes where there are any, and what could be
 * among the k nearest is re-ranked from the vectors.  A walk that finds fewer than k ends in a
 * scan: never fewer than k when k exist. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/hnsw/hnsw.h"
#include "ann/search/scan.h"

#define SEEDS      64  /* of what passes, to begin with */
#define SPARE      64  /* candidates of a scan of codes beyond 2k */
#define AHEAD      4   /* rows fetched ahead */
#define MANY       4   /* at least one of so many nodes passes */
#define OTHERS_MAX 256 /* neighbours that do not pass, kept to go on from */

struct sieve {
    const struct hnsw *h;
    const struct kind_query *q;
    struct scratch *s;
    const struct code_query *cq; /* NULL: no codes */
    struct beam beam;
    bool in_walk;    /* hnsw_walk's */
    uint32_t enough; /* neighbours that pass */
    uint32_t *fresh; /* [m0 + enough] of s->slots */
    size_t nfresh;
};

static void distances(const struct sieve *w, const uint32_t *slots, size_t n, float *out)
{
    if (w->cq)
        codes_distances(&w->h->vec->codes, w->cq, slots, n, out);
    else
        vectors_many(w->h->vec, w->q->query, slots, n, out);
    w->q->stats->distances += n;
}

/* ---- the scan ---- */

static void push_all(const struct sieve *w, size_t n, struct topk *t)
{
    const uint32_t *slots = w->s->slots.data;
    float *dists = w->s->dists.data;
    distances(w, slots, n, dists);
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

/* Of ascending keys [n] those that may be among the k nearest. */
static size_t trim(const struct sieve *w, const search_key *keys, size_t n)
{
    float root, add;
    if (n <= w->q->k)
        return n;
    const float kth = key_dist(keys[w->q->k - 1]);
    rerank_band(w->h->vec, w->cq, &root, &add);
    while (n > w->q->k && key_dist(keys[n - 1]) > kth + root * sqrtf(kth) + add)
        n--;
    return n;
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
    const size_t n = trim(w, t.keys, t.size);
    if (n == t.k) { /* codes do not tell so many apart */
        scan_search(w->h->vec, w->q, w->s, out, found);
        return;
    }
    w->q->stats->exact++;
    *found = n < k ? n : k;
    rerank(w->h->vec, w->q, w->s, t.keys, n, *found, out);
}

/* ---- the walk ---- */

/* Slots evenly over what passes, at most SEEDS, into the beam. */
static void begin(struct sieve *w)
{
    const struct vectors *v = w->h->vec;
    const struct kind_query *q = w->q;
    const uint64_t *live = v->live_map.data;
    const uint32_t limit = q->allowed_slots < v->slots ? q->allowed_slots : v->slots;
    const size_t words = ((size_t)limit + 63) / 64;
    float *dists = w->s->dists.data;
    size_t n = 0;
    for (size_t i = 0; i < SEEDS; i++) {
        const size_t from = i * words / SEEDS, to = (i + 1) * words / SEEDS;
        bool have = false;
        for (size_t word = from; word < to && !have; word++)
            for (uint64_t bits = live[word] & q->allowed[word]; bits && !have;
                 bits &= bits - 1) {
                const uint32_t slot = (uint32_t)(word * 64 + (size_t)__builtin_ctzll(bits));
                have = *hnsw_state(w->h, slot) == HNSW_LINKED && kind_passes(v, q, slot);
                if (have)
                    w->fresh[n++] = slot;
            }
    }
    distances(w, w->fresh, n, dists);
    for (size_t i = 0; i < n; i++) {
        scratch_visit(w->s, w->fresh[i]);
        beam_insert(&w->beam, key_make(dists[i], w->fresh[i]));
    }
}

static inline bool is_visited(const struct sieve *w, uint32_t slot)
{
    return ((const uint64_t *)w->s->visited.data)[slot >> 6] >> (slot & 63) & 1;
}

/* Of a row those that pass: how many, and into fresh which of them are new.  Those that do not,
 * and were not gone on from, at others [*nothers], if it is not NULL. */
static uint32_t sift(struct sieve *w, uint32_t slot, uint32_t *others, size_t *nothers)
{
    const struct hnsw *h = w->h;
    const uint32_t *row = hnsw_row0(h, slot);
    uint32_t passing = 0;
    for (uint32_t i = 0; i < h->m0; i++) {
        const uint32_t to = row[i];
        if (to >= h->slots)
            break;
        if (kind_passes(h->vec, w->q, to)) {
            passing++;
            w->fresh[w->nfresh] = to;
            w->nfresh += scratch_visit(w->s, to);
        } else if (others && *nothers < OTHERS_MAX && !is_visited(w, to)) {
            others[(*nothers)++] = to;
        }
    }
    return passing;
}

static inline void fetch_row(const struct hnsw *h, uint32_t slot)
{
    const uint32_t *row = hnsw_row0(h, slot);
    for (uint32_t i = 0; i < h->m0; i += 16) {
        __builtin_prefetch(row + i);
        __asm__ volatile("" ::: "memory");
    }
}

/* A node's neighbours that pass, or theirs. */
static void look_at(struct sieve *w, uint32_t slot)
{
    uint32_t others[OTHERS_MAX];
    size_t n = 0;
    w->nfresh = 0;
    uint32_t passing = sift(w, slot, others, &n);
    w->q->stats->hops++;
    if (passing >= w->enough)
        return;
    for (size_t i = 0; i < AHEAD && i < n; i++)
        fetch_row(w->h, others[i]);
    for (size_t i = 0; i < n && passing < w->enough; i++) {
        if (i + AHEAD < n)
            fetch_row(w->h, others[i + AHEAD]);
        scratch_visit(w->s, others[i]);
        passing += sift(w, others[i], NULL, NULL);
        w->q->stats->hops++;
    }
}

/* The nearest that pass at w->beam; how many. */
static size_t walk(struct sieve *w, double effort)
{
    const double wide = effort * hnsw_harder(hnsw_thinned(w->h, w->q));
    const size_t room = w->s->keys.bytes / sizeof(search_key) - 1;
    const size_t width = wide < (double)room ? (size_t)wide : room;
    float *dists = w->s->dists.data;
    search_key key;
    uint32_t ahead;
    beam_reset(&w->beam, w->s->keys.data, width);
    w->fresh = w->s->slots.data;
    begin(w);
    while (beam_pop(&w->beam, &key)) {
        look_at(w, key_slot(key));
        distances(w, w->fresh, w->nfresh, dists);
        for (size_t i = 0; i < w->nfresh; i++)
            beam_insert(&w->beam, key_make(dists[i], w->fresh[i]));
        if (beam_peek(&w->beam, &ahead))
            fetch_row(w->h, ahead);
    }
    scratch_unvisit(w->s);
    for (size_t i = 0; i < w->beam.size; i++)
        w->beam.keys[i] &= ~KEY_FLAG;
    return w->beam.size;
}

/* ---- which of them ---- */

/* The distances of a scan that take as long as a walk.  In rows a hop is one read and takes
 * half as long as its distances would; on codes some neighbours were met before. */
static double walk_cost(const struct sieve *w, double effort)
{
    const double thin = hnsw_thinned(w->h, w->q), here = w->h->m0 / thin;
    if (w->in_walk)
        return 2.2 * effort * hnsw_harder(thin) * w->h->m0 * (w->h->rows_on ? 0.5 : 0.7);
    /* Half of the neighbours that pass are new; others' rows are read to find them. */
    const double missing = w->enough > here ? (w->enough - here) / here : 0;
    const double rows = missing < w->h->m0 ? missing : w->h->m0;
    return SEEDS + 1.2 * effort * hnsw_harder(thin) * (w->enough / 2.0 + rows + 1);
}

ann_err hnsw_search_filtered(const struct hnsw *h, const struct kind_query *q,
                             struct scratch *s, search_key *out, size_t *found)
{
    const bool coded = h->vec->codes.type != CODE_NONE;
    const uint32_t count = kind_passing(h->vec, q);
    const size_t effort = q->effort > q->k ? q->effort : q->k;
    struct sieve w = {
        .h = h,
        .q = q,
        .s = s,
        .cq = coded ? vectors_code_query(h->vec, q->query) : NULL,
        .in_walk = coded && (h->rows_on || hnsw_thinned(h, q) <= MANY),
        .enough = h->m0,
    };
    size_t n = 0;
    if (count > effort && count > walk_cost(&w, (double)effort)) {
        if (w.in_walk)
            n = hnsw_walk(h, q, s);
        else
            n = walk(&w, (double)effort);
    }
    if (n < q->k) { /* fewer than k are reached: never fewer than k when k exist */
        scan(&w, out, found);
        return ANN_OK;
    }
    *found = q->k;
    if (coded)
        rerank(h->vec, q, s, s->keys.data, trim(&w, s->keys.data, n), q->k, out);
    else
        memcpy(out, w.beam.keys, q->k * sizeof *out);
    return ANN_OK;
}
