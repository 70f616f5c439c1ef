/* tune.c - into which level of cache rows are fetched, measured when an index is loaded.
 *
 * Place: front door.  The kernels go by the processor's vendor, of which two were measured.
 * Here stored vectors are searched for with either level, and the other one is taken where its
 * median is clearly less.  Each vector is searched for once: rows that an earlier search has
 * brought near say nothing (with the same vectors for both, four choices of ten were wrong).
 * It is chosen once in a process and kept in memory only.
 *
 * Invariant: no result depends on it.  Not measured: an index that is mapped, whose pages may
 * be on disk; a small one, which stays in the caches; where KITH_PREFETCH asks for a level. */
#include <config.h>

#include <stdlib.h>

#include "ann/base/clock.h"
#include "ann/internal.h"

#define QUERIES 256
#define EFFORT  32
#define K       10
#define LONGEST 0.025 /* seconds; then all stays as it is */
#define BETTER  0.95  /* of the time */

struct tuning {
    ann_index *ix;
    ann_searcher *searcher;
    float *rows;                    /* [QUERIES, dim], and what decoding needs */
    double seconds[2][QUERIES / 2]; /* by level */
};

/* Live vectors, evenly over all. */
static void take_rows(struct tuning *t)
{
    const struct vectors *v = &t->ix->vec;
    for (uint32_t i = 0; i < QUERIES; i++) {
        uint32_t slot = (uint32_t)((uint64_t)i * v->slots / QUERIES);
        while (slot + 1 < v->slots && !vectors_is_live(v, slot))
            slot++;
        vectors_decode(v, slot, t->rows + (size_t)i * v->dim, t->rows + QUERIES * v->dim);
    }
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Half of the queries with each level, in turns; false where time is up or a search failed. */
static bool search_all(struct tuning *t)
{
    ann_id ids[K];
    size_t n[2] = {0, 0};
    double from = clock_seconds();
    const double end = from + LONGEST;
    for (size_t i = 0; i < QUERIES; i++) {
        const int level = (i ^ i >> 1) & 1; /* 0, 1, 1, 0: neither is always first */
        annk_prefetch_choose(level);
        if (ann_searcher_search(t->searcher, t->rows + i * t->ix->vec.dim, ANN_F32, ids, NULL))
            return false;
        const double to = clock_seconds();
        t->seconds[level][n[level]++] = to - from;
        if (to > end)
            return false;
        from = to;
    }
    return true;
}

static double median(double *seconds)
{
    qsort(seconds, QUERIES / 2, sizeof *seconds, ascending);
    return seconds[QUERIES / 4];
}

static void choose(struct tuning *t)
{
    const int by_vendor = annk_prefetch_l2;
    const bool other =
        search_all(t) && median(t->seconds[!by_vendor]) < BETTER * median(t->seconds[by_vendor]);
    annk_prefetch_choose(other ? !by_vendor : by_vendor);
}

void index_tune(ann_index *ix, uint64_t least_bytes)
{
    const struct vectors *v = &ix->vec;
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_info info = {.size = ANN_INFO_SIZE};
    if (ix->kind->id != ANN_HNSW || !v->codes.type || v->live < QUERIES ||
        ann_index_info(ix, &info) || info.memory_bytes < least_bytes || !annk_prefetch_claim())
        return;
    p.k = K;
    p.effort = EFFORT;
    struct tuning *t = mem_zalloc(1, sizeof *t);
    if (!t)
        return;
    t->ix = ix;
    t->rows = mem_alloc((QUERIES * (size_t)v->dim + vectors_scratch(v)) * sizeof *t->rows);
    if (t->rows && !ann_searcher_open(ix, &p, &t->searcher)) {
        take_rows(t);
        choose(t);
        ann_searcher_close(t->searcher);
    }
    mem_free(t->rows);
    mem_free(t);
}
