/* kmeans_assign.c - the nearest centroids of each row, by matrix products.  See kmeans.h.
 *
 * Rows and centroids are taken relative to the mean of the centroids, since squared distances
 * out of products lose what norms are larger than distances; the winner's distance is the
 * kernel's. */
#include <config.h>

#include <math.h>
#include <stdlib.h>

#include "ann/base/blas.h"
#include "ann/base/error.h"
#include "ann/base/key.h"
#include "ann/codec/kmeans.h"

/* A product's shape does not depend on the number of threads, for its rounding may depend on
 * the shape. */
#define ROWS    512
#define COLUMNS 512

/* One thread's memory. */
struct bench {
    float *rows;      /* [ROWS, dim] less the middle */
    float *tile;      /* [ROWS, COLUMNS] */
    float *norms;     /* [ROWS] squared, of rows */
    search_key *best; /* [ROWS, few] keys, ascending; NONE where there are fewer yet */
    uint32_t *picked; /* [ROWS, COLUMNS] where the tile is shared out, else [COLUMNS] */
};

struct assignment {
    const struct annk_ops *ops;
    const float *x;
    const uint32_t *rows; /* [n] of x; NULL: the first n */
    size_t n, dim;
    const float *centroids;
    uint32_t k, few;
    struct pool *pool;
    bool blas_parallel; /* BLAS has threads of its own: one product at a time */
    float *middle;      /* [dim] */
    float *centred;     /* [k, dim] centroids less the middle */
    float *norms;       /* [k] squared, of centred */
    struct bench *benches;
    uint32_t *near; /* [n, few] */
    float *dists;   /* [n] to the nearest, or NULL */
    /* the tile being selected from, when selection is spread over the pool */
    size_t first, column, width;
};

static void less(const float *restrict x, const float *restrict middle, size_t dim,
                 float *restrict out)
{
    for (size_t j = 0; j < dim; j++)
        out[j] = x[j] - middle[j];
}

/* Farther than any centroid. Where distances are not finite it stays: centroid 0 stands there. */
#define NONE key_make(INFINITY, 0)

/* Puts key, less than the last of them, among the `few` smallest. */
static void keep(search_key *best, uint32_t few, search_key key)
{
    uint32_t at = few - 1;
    for (; at > 0 && best[at - 1] > key; at--)
        best[at] = best[at - 1];
    best[at] = key;
}

/* The nearest centroids of row i of the block, now that those of the tile are known. */
static void select_row(const struct assignment *a, const struct bench *b, size_t i,
                       uint32_t *picked)
{
    float *products = b->tile + i * a->width;
    search_key *best = b->best + i * a->few;
    const search_key *last = best + a->few - 1;
    const size_t n = a->ops->l2_below_f32(products, a->norms + a->column, b->norms[i], a->width,
                                          key_dist(*last), picked);
    for (size_t j = 0; j < n; j++)
        if (products[picked[j]] < key_dist(*last))
            keep(best, a->few, key_make(products[picked[j]], (uint32_t)(a->column + picked[j])));
}

static void select_body(void *arg, size_t i, unsigned worker)
{
    const struct assignment *a = arg;
    (void)worker;
    select_row(a, &a->benches[0], i, a->benches[0].picked + i * COLUMNS);
}

static const float *row(const struct assignment *a, size_t i)
{
    return a->x + (a->rows ? a->rows[i] : i) * a->dim;
}

static void prepare(const struct assignment *a, const struct bench *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        less(row(a, a->first + i), a->middle, a->dim, b->rows + i * a->dim);
        b->norms[i] = a->ops->norm2_f32(b->rows + i * a->dim, a->dim);
        for (uint32_t j = 0; j < a->few; j++)
            b->best[i * a->few + j] = NONE;
    }
}

static void tell(const struct assignment *a, const struct bench *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t *near = a->near + (a->first + i) * a->few;
        for (uint32_t j = 0; j < a->few; j++)
            near[j] = key_slot(b->best[i * a->few + j]);
        if (a->dists)
            a->dists[a->first + i] = a->ops->dist[ANNK_L2][ANNK_F32](
                row(a, a->first + i), a->centroids + near[0] * a->dim, a->dim);
    }
}

static void block_body(void *arg, size_t block, unsigned worker)
{
    struct assignment *shared = arg, a = *shared;
    const struct bench *b = &a.benches[worker];
    const size_t rows = a.n - block * ROWS < ROWS ? a.n - block * ROWS : ROWS;
    a.first = block * ROWS;
    prepare(&a, b, rows);
    for (a.column = 0; a.column < a.k; a.column += COLUMNS) {
        a.width = a.k - a.column < COLUMNS ? a.k - a.column : COLUMNS;
        blas_gemm_nt(b->rows, rows, a.dim, a.centred + a.column * a.dim, a.width, a.dim, a.dim,
                     b->tile, a.width);
        if (a.blas_parallel)
            pool_for(a.pool, rows, 32, select_body, &a);
        else
            for (size_t i = 0; i < rows; i++)
                select_row(&a, b, i, b->picked);
    }
    tell(&a, b, rows);
}

static void centre(struct assignment *a)
{
    for (size_t j = 0; j < a->dim; j++) {
        double sum = 0;
        for (size_t i = 0; i < a->k; i++)
            sum += a->centroids[i * a->dim + j];
        a->middle[j] = (float)(sum / a->k);
    }
    for (size_t i = 0; i < a->k; i++) {
        less(a->centroids + i * a->dim, a->middle, a->dim, a->centred + i * a->dim);
        a->norms[i] = a->ops->norm2_f32(a->centred + i * a->dim, a->dim);
    }
}

static void assignment_close(struct assignment *a)
{
    for (unsigned i = 0; a->benches && i < pool_threads(a->pool); i++) {
        mem_free(a->benches[i].rows);
        mem_free(a->benches[i].tile);
        mem_free(a->benches[i].norms);
        mem_free(a->benches[i].best);
        mem_free(a->benches[i].picked);
    }
    mem_free(a->benches);
    mem_free(a->middle);
    mem_free(a->centred);
    mem_free(a->norms);
}

static ann_err assignment_open(struct assignment *a)
{
    a->middle = mem_alloc(a->dim * sizeof *a->middle);
    a->centred = mem_alloc(a->k * a->dim * sizeof *a->centred);
    a->norms = mem_alloc(a->k * sizeof *a->norms);
    a->benches = mem_zalloc(pool_threads(a->pool), sizeof *a->benches);
    bool ok = a->middle && a->centred && a->norms && a->benches;
    const unsigned working = a->blas_parallel ? 1 : pool_threads(a->pool);
    for (unsigned i = 0; ok && i < working; i++) {
        struct bench *b = &a->benches[i];
        b->rows = mem_alloc(ROWS * a->dim * sizeof *b->rows);
        b->tile = mem_alloc(sizeof(float) * ROWS * COLUMNS);
        b->norms = mem_alloc(ROWS * sizeof *b->norms);
        b->best = mem_alloc(ROWS * a->few * sizeof *b->best);
        b->picked = mem_alloc(sizeof(uint32_t) * COLUMNS * (a->blas_parallel ? ROWS : 1));
        ok = b->rows && b->tile && b->norms && b->best && b->picked;
    }
    return ok ? ANN_OK
              : ANN_FAIL(ANN_ENOMEM, "out of memory to assign rows to %u centroids", a->k);
}

static ann_err run(struct assignment *a)
{
    a->blas_parallel = blas_threads() > 1;
    const ann_err err = assignment_open(a);
    if (!err) {
        centre(a);
        const size_t blocks = (a->n + ROWS - 1) / ROWS;
        if (a->blas_parallel)
            for (size_t i = 0; i < blocks; i++)
                block_body(a, i, 0);
        else
            pool_for(a->pool, blocks, 1, block_body, a);
    }
    assignment_close(a);
    return err;
}

ann_err kmeans_assign(const struct annk_ops *ops, const float *x, size_t n, size_t dim,
                      const float *centroids, uint32_t k, struct pool *pool, uint32_t *nearest,
                      float *dists)
{
    struct assignment a = {.ops = ops,
                           .x = x,
                           .n = n,
                           .dim = dim,
                           .centroids = centroids,
                           .k = k,
                           .few = 1,
                           .pool = pool,
                           .near = nearest,
                           .dists = dists};
    return run(&a);
}

ann_err kmeans_candidates(const struct annk_ops *ops, const float *x, const uint32_t *rows,
                          size_t n, size_t dim, const float *centroids, uint32_t k,
                          uint32_t few, struct pool *pool, uint32_t *near)
{
    struct assignment a = {.ops = ops,
                           .x = x,
                           .rows = rows,
                           .n = n,
                           .dim = dim,
                           .centroids = centroids,
                           .k = k,
                           .few = few,
                           .pool = pool,
                           .near = near};
    return run(&a);
}
