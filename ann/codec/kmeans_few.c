/* kmeans_few.c - k-means with few centroids by one thread.  See kmeans_few.h.
 *
 * Seeds are drawn by the squares of their distances (k-means++: Arthur, Vassilvitskii, SODA
 * 2007), which for few centroids costs no more than one iteration. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/base/memory.h"
#include "ann/base/rng.h"
#include "ann/codec/kmeans_few.h"

struct few_room {
    uint32_t *rows;  /* [learn] */
    uint32_t *drawn; /* [seeds] rows that seeds are drawn from */
    float *nearest;  /* [seeds] squared distances to the seeds so far */
    float *fresh;    /* [max(seeds, k)] */
    uint32_t *ids;   /* [k] 0, 1, ... */
    uint32_t *count; /* [k] */
    double *sums;    /* [k, dim] */
};

uint32_t kmeans_nearest(const struct annk_ops *ops, const float *row, const float *centroids,
                        size_t dim, const uint32_t *ids, uint32_t count, float *dists)
{
    ops->many[ANNK_L2][ANNK_F32](row, centroids, dim * sizeof(float), ids, count, dim, dists);
    uint32_t at = 0;
    for (uint32_t i = 1; i < count; i++)
        if (dists[i] < dists[at])
            at = i;
    return at;
}

/* A row drawn with odds nearest[i]; any row where these do not tell. */
static uint32_t draw(const float *nearest, uint32_t n, uint64_t *state)
{
    double total = 0;
    for (uint32_t i = 0; i < n; i++)
        total += nearest[i];
    const double goal = total * rng_unit(state);
    const uint32_t any = (uint32_t)rng_below(state, n);
    if (!(total > 0) || !isfinite(total))
        return any;
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += nearest[i];
        if (sum > goal)
            return i;
    }
    return any;
}

/* Seeds from the n rows drawn: few enough to stay in cache, for each seed goes over all. */
static void seed(const struct kmeans_few *f, const struct few_room *r, uint32_t n)
{
    uint64_t state = f->seed;
    for (uint32_t i = 0; i < n; i++)
        r->nearest[i] = INFINITY;
    for (uint32_t c = 0; c < f->k; c++) {
        const uint32_t at =
            c == 0 ? (uint32_t)rng_below(&state, n) : draw(r->nearest, n, &state);
        float *centroid = f->centroids + c * f->dim;
        memcpy(centroid, f->x + r->drawn[at] * f->dim, f->dim * sizeof(float));
        f->ops->many[ANNK_L2][ANNK_F32](centroid, f->x, f->dim * sizeof(float), r->drawn, n,
                                        f->dim, r->fresh);
        for (uint32_t i = 0; i < n; i++)
            if (r->fresh[i] < r->nearest[i])
                r->nearest[i] = r->fresh[i];
    }
}

/* Centroids to the means of their rows; one without rows stays. */
static void move(const struct kmeans_few *f, const struct few_room *r, uint32_t n)
{
    memset(r->sums, 0, f->k * f->dim * sizeof *r->sums);
    memset(r->count, 0, f->k * sizeof *r->count);
    for (uint32_t i = 0; i < n; i++) {
        const float *x = f->x + r->rows[i] * f->dim;
        double *sum = r->sums + f->home[i] * f->dim;
        r->count[f->home[i]]++;
        for (size_t j = 0; j < f->dim; j++)
            sum[j] += x[j];
    }
    for (uint32_t c = 0; c < f->k; c++)
        for (size_t j = 0; r->count[c] > 0 && j < f->dim; j++)
            f->centroids[c * f->dim + j] = (float)(r->sums[c * f->dim + j] / r->count[c]);
}

/* How many rows have another home now. */
static uint32_t assign(const struct kmeans_few *f, const struct few_room *r,
                       const uint32_t *rows, uint32_t n)
{
    uint32_t moved = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t home = kmeans_nearest(f->ops, f->x + rows[i] * f->dim, f->centroids,
                                             f->dim, r->ids, f->k, r->fresh);
        moved += home != f->home[i];
        f->home[i] = home;
    }
    return moved;
}

static uint32_t at_most(uint32_t n, uint32_t most)
{
    return most > 0 && most < n ? most : n;
}

static void learn(const struct kmeans_few *f, const struct few_room *r, uint32_t n,
                  uint32_t seeds)
{
    for (uint32_t c = 0; c < f->k; c++)
        r->ids[c] = c;
    for (uint32_t i = 0; i < n; i++)
        r->rows[i] = f->rows[(uint64_t)i * f->n / n];
    for (uint32_t i = 0; i < seeds; i++)
        r->drawn[i] = r->rows[(uint64_t)i * n / seeds];
    seed(f, r, seeds);
    memset(f->home, 0xff, n * sizeof *f->home);
    uint32_t moved = assign(f, r, r->rows, n);
    for (uint32_t i = 0; i < f->iterations && moved > 0; i++) {
        move(f, r, n);
        moved = assign(f, r, r->rows, n);
    }
    if (n < f->n)
        assign(f, r, f->rows, f->n);
}

bool kmeans_few(const struct kmeans_few *f)
{
    const uint32_t n = at_most(f->n, f->learn), seeds = at_most(n, f->seeds);
    struct few_room r = {
        .rows = mem_alloc(n * sizeof *r.rows),
        .drawn = mem_alloc(seeds * sizeof *r.drawn),
        .nearest = mem_alloc(seeds * sizeof *r.nearest),
        .fresh = mem_alloc((seeds > f->k ? seeds : f->k) * sizeof *r.fresh),
        .ids = mem_alloc(f->k * sizeof *r.ids),
        .count = mem_alloc(f->k * sizeof *r.count),
        .sums = mem_alloc(f->k * f->dim * sizeof *r.sums),
    };
    const bool ok = r.rows && r.drawn && r.nearest && r.fresh && r.ids && r.count && r.sums;
    if (ok)
        learn(f, &r, n, seeds);
    mem_free(r.rows);
    mem_free(r.drawn);
    mem_free(r.nearest);
    mem_free(r.fresh);
    mem_free(r.ids);
    mem_free(r.count);
    mem_free(r.sums);
    return ok;
}
