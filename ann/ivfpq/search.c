/* search.c - one query: the nearest lists, their codes, then the best again by better
 * distances.
 *
 * Place: ivfpq.  Lists are scanned nearest first, IVF_RUN places at a time, against the
 * distance that the worst kept candidate has so far; survivors alone are looked at as vectors:
 * whether they live, pass the filter, were seen.  The kept ones are ordered by the 8-bit codes
 * and decided by the stored vectors (search/rerank.h); where the index has neither, each
 * survivor's distance is taken from the tables in floats.
 *
 * With a filter more lists are looked at, by the root of the share that passes; where few pass,
 * all that pass are looked at instead.  Fewer than k are never found when k exist: then the
 * remaining lists follow. */
#include <config.h>

#include <float.h>
#include <math.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/codec/listcodes.h"
#include "ann/ivfpq/query.h"
#include "ann/search/rerank.h"
#include "ann/search/scan.h"

/* A distance by a stored vector costs as much as so many by a short code. */
#define EXACT_COST 16
/* Candidates that are kept: some, some for each result, and as many as lists are looked at. */
#define DEPTH_LEAST 20
#define DEPTH_OF_K  2
/* A query looks at so many times the lists that its effort stands for, at most.  With nothing
 * but codes it looks at as many at least: the worst of few candidates, by codes, tells little
 * of where the others are. */
#define MOST_LISTS 4
/* Candidates that are put into order, at least and for each result. */
#define SORTED_LEAST 32
#define SORTED_OF_K  2

/* ---- how much ---- */

static size_t lists_of(const struct ivfpq *h, double lists)
{
    return lists < h->nlist ? (size_t)ceil(lists) : h->nlist;
}

struct ivf_effort ivf_effort(const struct ivfpq *h, const struct kind_query *q)
{
    struct ivf_effort e = {.depth = q->k, .least = IVF_LEAST};
    double lists = q->fine > 0 ? q->fine : (double)q->effort;
    const uint32_t passing = kind_passing(h->vec, q);
    if (q->allowed && passing > 0)
        lists *= sqrt((double)h->vec->live / passing);
    e.gamma = ivf_gamma(h, lists);
    e.most = lists_of(h, MOST_LISTS * lists);
    if (ivf_has_vectors(h))
        e.depth = DEPTH_OF_K * q->k + DEPTH_LEAST + q->effort;
    else if (lists > IVF_LEAST)
        e.least = lists_of(h, lists);
    return e;
}

/* ---- a query's room ---- */

size_t ivf_query_bytes(const struct ivfpq *h, size_t depth)
{
    return ivf_rounded(h->dim * sizeof(float)) +
           ivf_rounded(((size_t)h->pq.m << h->pq.bits) * sizeof(float)) +
           ivf_rounded((size_t)h->m << h->pq.bits) + ivf_rounded(h->m) + ivf_rounded(ivf_coarse_bytes(h)) +
           ivf_rounded(reservoir_room(depth) * sizeof(search_key));
}

static void *carve(char **at, size_t bytes)
{
    void *piece = *at;
    *at += ivf_rounded(bytes);
    return piece;
}

void ivf_query_lay(const struct ivfpq *h, size_t depth, void *room, struct ivf_query *out)
{
    char *at = room;
    out->y = carve(&at, h->dim * sizeof(float));
    out->products = carve(&at, ((size_t)h->pq.m << h->pq.bits) * sizeof(float));
    out->table = carve(&at, (size_t)h->m << h->pq.bits);
    out->code = carve(&at, h->m);
    out->lists = carve(&at, ivf_coarse_bytes(h));
    reservoir_open(&out->found, carve(&at, reservoir_room(depth) * sizeof(search_key)), depth);
}

size_t ivf_query_desk(const struct ivfpq *h)
{
    const size_t coarse = ivf_coarse_desk(h), turned = h->dim * sizeof(float);
    return ivf_rounded(coarse > turned ? coarse : turned);
}

void ivf_query_open(const struct ivfpq *h, const void *query, void *desk, struct ivf_query *out)
{
    if (query)
        ivf_space_query(h, query, out->y, desk, &out->raw_scale, &out->raw_shift);
    h->ops->products(h->pq.codebooks.data, out->y, h->pq.m, h->pq.dsub, h->pq.bits,
                     out->products);
    out->least = h->ops->quantise(out->products, h->pq.m, h->pq.bits, out->table, &out->scan);
    out->base = out->least;
    out->slack = ivf_has_vectors(h) ? 0 : out->scan.step * sqrtf((float)h->pq.m) + FLT_MIN;
    if (h->asked.pq_of == ANN_PQ_DIRECT)
        out->base += (float)frame_norm2(out->y, h->dim);
}

ann_err ivf_query_coarse(const struct ivfpq *h, size_t lists, struct scratch *s, void *desk,
                         struct ivf_query *iq, size_t nq)
{
    const float *y[ANNK_LIST_BATCH];
    float *dists[ANNK_LIST_BATCH];
    const bool graph = h->graph && lists < h->nlist / 4;
    ann_err err = ANN_OK;
    for (size_t i = 0; i < nq; i++) {
        y[i] = iq[i].y;
        dists[i] = iq[i].lists;
        if (graph && !err)
            err = ivf_graph_open(h, y[i], lists, s, desk, dists[i]);
    }
    if (!graph)
        ivf_coarse_open(h, y, nq, desk, dists);
    return err;
}

/* ---- candidates ---- */

/* The distance by the tables in floats: all there is where nothing better is kept. */
static float fine_distance(const struct ivfpq *h, const struct ivf_query *iq,
                           const struct ivf_list *list, uint32_t place, float base)
{
    const size_t words = (size_t)1 << h->pq.bits;
    const float *products = iq->products;
    float bias;
    double sum = (double)base - (double)iq->least;
    h->vec->ops->f16_to_f32(list->bias + place, &bias, 1);
    listcodes_get(h->pq.bits, h->m, list->codes, list->n, place, iq->code);
    for (uint32_t m = 0; m < h->pq.m; m++, products += words)
        sum += (double)products[iq->code[m]];
    sum += (double)bias;
    return sum > 0 ? (float)sum : 0;
}

/* Every entry lives, and nothing else is asked of it: the usual case. */
static bool every_entry_counts(const struct ivfpq *h, const struct kind_query *q,
                               const struct scratch *s)
{
    return !h->asked.soar && s->dirty_count == 0 && !q->allowed && h->entries == h->vec->live;
}

static void take_all(const struct ivfpq *h, struct ivf_query *iq, const struct ivf_list *list,
                     const float *dists, const uint32_t *places, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (dists[i] > iq->found.limit)
            continue;
        const uint32_t slot = list->slots[places[i]]; /* mapped, it may be any number */
        if (slot < h->vec->slots)
            reservoir_add(&iq->found, key_make(dists[i], slot));
    }
}

/* While there is no limit: what the estimates [n] of as many places as are wanted are within,
 * so that distances in floats are taken of few. */
static float first_limit(const struct ivf_query *iq, const float *dists, size_t n)
{
    search_key keys[IVF_SHORT], spare[IVF_SHORT];
    if (iq->slack == 0 || iq->found.limit < INFINITY || n <= iq->found.want || n > IVF_SHORT)
        return INFINITY;
    for (size_t i = 0; i < n; i++)
        keys[i] = key_make(dists[i], 0);
    keys_select(keys, n, iq->found.want, spare);
    /* Each may be off by the slack, either way. */
    return key_dist(keys_largest(keys, iq->found.want)) + 2 * iq->slack;
}

static void take_some(const struct ivfpq *h, const struct kind_query *q, struct scratch *s,
                      struct ivf_query *iq, const struct ivf_list *list, float base,
                      const float *dists, const uint32_t *places, size_t n)
{
    const bool marks = h->asked.soar || s->dirty_count > 0;
    const float first = every_entry_counts(h, q, s) ? first_limit(iq, dists, n) : INFINITY;
    for (size_t i = 0; i < n; i++) {
        float dist = dists[i];
        if (dist > iq->found.limit + iq->slack || dist > first)
            continue;
        const uint32_t slot = list->slots[places[i]];
        if (slot >= h->vec->slots || !kind_passes(h->vec, q, slot))
            continue;
        if (iq->slack > 0) {
            dist = fine_distance(h, iq, list, places[i], base);
            if (dist > iq->found.limit)
                continue;
        }
        if (marks && !scratch_visit(s, slot))
            continue;
        reservoir_add(&iq->found, key_make(dist, slot));
    }
}

void ivf_query_take(const struct ivfpq *h, const struct kind_query *q, struct scratch *s,
                    struct ivf_query *iq, const struct ivf_list *list, float base,
                    const float *dists, const uint32_t *places, size_t n)
{
    if (iq->slack == 0 && every_entry_counts(h, q, s))
        take_all(h, iq, list, dists, places, n);
    else
        take_some(h, q, s, iq, list, base, dists, places, n);
    if (!(iq->found.limit < INFINITY)) /* a limit as early as there can be one */
        reservoir_cut(&iq->found);
}

void ivf_scan_list(const struct ivfpq *h, const struct kind_query *q, struct scratch *s,
                   struct ivf_query *iq, const struct ivf_probe *p)
{
    const struct ivf_list *list = &h->lists[p->list];
    const float base = ivf_query_base(h, iq, p);
    float *dists = s->dists.data;
    uint32_t *places = s->slots.data;
    struct annk_list_run run = {.codes = list->codes, .bias = list->bias, .n = list->n};
    for (; run.first < list->n; run.first = run.last) {
        run.last = ivf_run_end(iq, run.first, list->n);
        const size_t n =
            h->ops->scan(&iq->scan, &run, base, iq->found.limit + iq->slack, dists, places);
        ivf_query_take(h, q, s, iq, list, base, dists, places, n);
    }
    q->stats->distances += list->n;
    q->stats->hops++;
}

/* The candidates by codes or vectors into s->dists; their slots are in s->slots. */
static void measure(const struct ivfpq *h, const struct kind_query *q, struct scratch *s,
                    const struct ivf_query *iq, size_t n)
{
    const struct vectors *v = h->vec;
    float *dists = s->dists.data;
    if (v->codes.type)
        codes_distances(&v->codes, vectors_code_query(v, q->query), s->slots.data, n, dists);
    else if (v->stride > 0)
        vectors_many(v, q->query, s->slots.data, n, dists);
    else
        for (size_t i = 0; i < n; i++)
            dists[i] =
                (float)(iq->raw_scale * (double)key_dist(iq->found.keys[i]) + iq->raw_shift);
    q->stats->distances += ivf_has_vectors(h) ? n : 0;
}

void ivf_query_close(const struct ivfpq *h, const struct kind_query *q, struct scratch *s,
                     struct ivf_query *iq, search_key *out, size_t *found)
{
    search_key *keys = iq->found.keys;
    uint32_t *slots = s->slots.data;
    const float *dists = s->dists.data;
    reservoir_cut(&iq->found);
    size_t n = iq->found.n;
    for (size_t i = 0; i < n; i++)
        slots[i] = key_slot(keys[i]);
    measure(h, q, s, iq, n);
    for (size_t i = 0; i < n; i++)
        keys[i] = key_make(dists[i], slots[i]);
    const size_t sorted = SORTED_OF_K * q->k + SORTED_LEAST;
    if (n > sorted) {
        keys_select(keys, n, sorted, keys + iq->found.room);
        n = sorted;
    }
    keys_sort(keys, n, keys + iq->found.room);
    *found = n < q->k ? n : q->k;
    if (h->vec->codes.type && n > 0)
        rerank(h->vec, q, s, keys, rerank_trim(h->vec, q, keys, n), *found, out);
    else
        memcpy(out, keys, *found * sizeof *out);
}

/* ---- one query ---- */

/* A list's beginning, before it is its turn. */
static void fetch(const struct ivf_list *list)
{
    for (size_t at = 0; at < 512; at += 64)
        __builtin_prefetch(list->codes + at);
    __builtin_prefetch(list->bias);
}

/* Scans n lists, nearest first, until the next is too far; how many. */
static size_t scan_lists(const struct ivfpq *h, const struct kind_query *q, struct scratch *s,
                         struct ivf_query *iq, const struct ivf_probe *probes, size_t n,
                         size_t least, float gamma)
{
    for (size_t i = 0; i < n; i++) {
        if (i >= least && iq->found.n >= q->k && probes[i].dist > ivf_query_bound(iq, gamma))
            return i;
        if (i + 2 < n)
            __builtin_prefetch(&h->lists[probes[i + 2].list]);
        if (i + 1 < n)
            fetch(&h->lists[probes[i + 1].list]);
        ivf_scan_list(h, q, s, iq, &probes[i]);
        if (i < IVF_LEAST)
            reservoir_cut(&iq->found);
    }
    return n;
}

/* The nearest lists, then all within the bound that they give, then, if need be, the rest. */
static void scan_near(const struct ivfpq *h, const struct kind_query *q, struct scratch *s,
                      struct ivf_query *iq, const struct ivf_effort *e, void *desk,
                      struct ivf_probe *probes)
{
    const size_t portion = e->least < IVF_PORTION ? IVF_PORTION : e->least;
    const size_t first = e->most < portion ? e->most : portion;
    size_t n = ivf_coarse_next(h, iq->lists, INFINITY, first, desk, probes);
    const size_t scanned = scan_lists(h, q, s, iq, probes, n, e->least, e->gamma);
    if (scanned == n && e->most > n) {
        reservoir_cut(&iq->found);
        n = ivf_coarse_next(h, iq->lists, ivf_query_bound(iq, e->gamma), e->most - n, desk,
                            probes);
        (void)scan_lists(h, q, s, iq, probes, n, 0, e->gamma);
    }
    if (iq->found.n >= q->k)
        return;
    if (h->graph) { /* which knows of some only: all over again */
        scratch_unvisit(s);
        reservoir_open(&iq->found, iq->found.keys, e->depth);
        ivf_coarse_open(h, &(const float *){iq->y}, 1, desk, &iq->lists);
    }
    while (iq->found.n < q->k &&
           (n = ivf_coarse_next(h, iq->lists, INFINITY, h->nlist, desk, probes)) > 0)
        (void)scan_lists(h, q, s, iq, probes, n, 0, 0);
}

/* Few pass: each looked at costs less than the lists. */
static bool scan_is_cheaper(const struct ivfpq *h, const struct kind_query *q)
{
    if (!q->allowed || !ivf_has_vectors(h))
        return false;
    const uint64_t lists = q->effort < h->nlist ? q->effort : h->nlist;
    return (uint64_t)kind_passing(h->vec, q) * EXACT_COST < h->entries / h->nlist * lists + 64;
}

void ivfpq_needs(const void *state, const struct kind_query *q, size_t *keys, size_t *batch)
{
    const struct ivf_effort e = ivf_effort(state, q);
    *keys = 0;
    *batch = IVF_RUN + 64 + e.depth;
}

ann_err ivfpq_search(const void *state, const struct kind_query *q, struct scratch *s,
                     search_key *out, size_t *found)
{
    const struct ivfpq *h = state;
    const struct ivf_effort e = ivf_effort(h, q);
    const size_t own = ivf_query_bytes(h, e.depth), desk = ivf_query_desk(h);
    const size_t bytes = own + desk + h->nlist * sizeof(struct ivf_probe);
    struct ivf_query iq;
    if (scan_is_cheaper(h, q)) {
        scan_search(h->vec, q, s, out, found);
        return ANN_OK;
    }
    if (s->room.bytes < bytes) {
        const ann_err err = buf_resize(&s->room, bytes);
        if (err)
            return err;
    }
    char *at = (char *)s->room.data + own;
    ivf_query_lay(h, e.depth, s->room.data, &iq);
    ivf_query_open(h, q->query, at, &iq);
    const ann_err err = ivf_query_coarse(h, e.most, s, at, &iq, 1);
    if (err)
        return err;
    scan_near(h, q, s, &iq, &e, at, (struct ivf_probe *)(void *)(at + desk));
    ivf_query_close(h, q, s, &iq, out, found);
    if (h->asked.soar)
        scratch_unvisit(s);
    return ANN_OK;
}
