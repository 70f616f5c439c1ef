/* opq.c - a rotation under which product quantisation errs little.  See pq.h.
 *
 * From principal axes, dealt out so that the subspaces' products of variances are alike (the
 * parametric form of Ge et al.), codebooks and rotation are improved in turns: a few iterations
 * of k-means on the rotated rows, then the orthogonal matrix that brings the rows nearest to
 * what their codes stand for.  Rows are multiplied in blocks of one shape, whatever the number
 * of threads. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/base/blas.h"
#include "ann/base/error.h"
#include "ann/codec/kmeans.h"
#include "ann/codec/pq.h"
#include "ann/codec/pq_learn.h"

#define BLOCK         1024 /* rows of a product */
#define STRIP         256  /* columns of a product of rows with rows */
#define SAMPLE        65536
#define SAMPLE_VALUES ((size_t)1 << 26) /* fewer rows where dimensions are many */
#define FIRST_ROUNDS  12                /* iterations of k-means before the first turn */
#define TURN_ROUNDS   2                 /* in each turn */
#define LAST_ROUNDS   8                 /* after the last */
#define LEAST         1e-9              /* a variance, of the largest, that counts */

struct turns {
    struct pq *p;
    size_t dim;
    uint32_t n;
    float *x, *y, *z;   /* [n, dim] rows, rotated, decoded */
    uint32_t *rows;     /* [n] 0, 1, ... */
    uint8_t *codes;     /* [n, m] */
    float *products;    /* [dim, dim] */
    double *square;     /* [dim, dim] */
    float *rotation;    /* [dim, dim] */
    const float *a, *b; /* the rows being multiplied */
    struct pool *pool;
};

/* The loop over the pool, or where BLAS has threads of its own one after the other. */
static void share(const struct turns *t, size_t n, pool_body body)
{
    if (blas_threads() > 1)
        for (size_t i = 0; i < n; i++)
            body((void *)(uintptr_t)t, i, 0);
    else
        pool_for(t->pool, n, 1, body, (void *)(uintptr_t)t);
}

static void rotate_body(void *arg, size_t i, unsigned worker)
{
    const struct turns *t = arg;
    const size_t first = i * BLOCK, rows = t->n - first < BLOCK ? t->n - first : BLOCK;
    (void)worker;
    blas_gemm_nt(t->x + first * t->dim, rows, t->dim, t->rotation, t->dim, t->dim, t->dim,
                 t->y + first * t->dim, t->dim);
}

static void strip_body(void *arg, size_t i, unsigned worker)
{
    const struct turns *t = arg;
    const size_t first = i * STRIP, width = t->dim - first < STRIP ? t->dim - first : STRIP;
    (void)worker;
    blas_gemm_tn(t->a, t->dim, t->dim, t->b + first, width, t->dim, t->n, t->products + first,
                 t->dim);
}

/* square = a transposed times b. */
static void multiply_rows(struct turns *t, const float *a, const float *b)
{
    t->a = a;
    t->b = b;
    share(t, (t->dim + STRIP - 1) / STRIP, strip_body);
    for (size_t i = 0; i < t->dim * t->dim; i++)
        t->square[i] = t->products[i];
}

/* What the codes of the rotated rows stand for. */
static void decode_body(void *arg, size_t i, unsigned worker)
{
    const struct turns *t = arg;
    uint8_t *code = t->codes + i * t->p->m;
    (void)worker;
    pq_encode(t->p, t->y + i * t->dim, code);
    pq_decode(t->p, code, t->z + i * t->dim);
}

static bool all_finite(const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

/* ---- the beginning ---- */

static void covariance(struct turns *t, double *mean)
{
    memset(mean, 0, t->dim * sizeof *mean);
    for (uint32_t i = 0; i < t->n; i++)
        for (size_t j = 0; j < t->dim; j++)
            mean[j] += t->x[i * t->dim + j];
    for (uint32_t i = 0; i < t->n; i++)
        for (size_t j = 0; j < t->dim; j++)
            t->y[i * t->dim + j] = (float)(t->x[i * t->dim + j] - mean[j] / t->n);
    multiply_rows(t, t->y, t->y);
}

/* Each axis, the largest variance first, to the subspace whose product of variances is the
 * smallest so far: axes [dim], where in the rotation each comes to lie. */
static void deal_out(const struct pq *p, const double *variances, uint32_t *axes, double *logs,
                     uint32_t *filled)
{
    const double most = variances[p->dim - 1];
    for (uint32_t s = 0; s < p->m; s++) {
        logs[s] = 0;
        filled[s] = 0;
    }
    for (uint32_t i = p->dim; i-- > 0;) {
        uint32_t to = UINT32_MAX;
        for (uint32_t s = 0; s < p->m; s++)
            if (filled[s] < pq_width(p, s) && (to == UINT32_MAX || logs[s] < logs[to] ||
                                               (logs[s] == logs[to] && filled[s] < filled[to])))
                to = s;
        axes[i] = to * p->dsub + filled[to]++;
        if (variances[i] > most * LEAST)
            logs[to] += log(variances[i] / most / LEAST); /* none is negative */
    }
}

/* The principal axes, or the identity where the rows have none to speak of. */
static ann_err begin(struct turns *t)
{
    const size_t dim = t->dim;
    double *values = mem_alloc(dim * sizeof *values), *logs = mem_alloc(t->p->m * sizeof *logs);
    uint32_t *axes = mem_alloc(dim * sizeof *axes);
    uint32_t *filled = mem_alloc(t->p->m * sizeof *filled);
    ann_err err = ANN_OK;
    if (!values || !logs || !axes || !filled) {
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for %zu axes", dim);
        goto done;
    }
    covariance(t, values);
    memset(t->rotation, 0, dim * dim * sizeof *t->rotation);
    for (size_t i = 0; i < dim; i++)
        t->rotation[i * dim + i] = 1;
    if (!all_finite(t->square, dim * dim))
        goto done;
    if (!blas_eigen(t->square, dim, values)) {
        err = ANN_FAIL(ANN_ENOMEM, "no principal axes of %zu dimensions: out of memory?", dim);
        goto done;
    }
    if (!(values[dim - 1] > 0))
        goto done;
    deal_out(t->p, values, axes, logs, filled);
    for (size_t i = 0; i < dim; i++)
        for (size_t j = 0; j < dim; j++)
            t->rotation[axes[i] * dim + j] = (float)t->square[i * dim + j];
done:
    mem_free(values);
    mem_free(logs);
    mem_free(axes);
    mem_free(filled);
    return err;
}

/* ---- the turns ---- */

static void rotate(struct turns *t)
{
    share(t, ((size_t)t->n + BLOCK - 1) / BLOCK, rotate_body);
}

/* The rotation that brings the rows nearest to their codes; *on: there is one. */
static ann_err turn(struct turns *t, bool *on)
{
    pool_for(t->pool, t->n, 64, decode_body, t);
    multiply_rows(t, t->z, t->x);
    double most = 0;
    for (size_t i = 0; i < t->dim * t->dim; i++)
        most = fabs(t->square[i]) > most ? fabs(t->square[i]) : most;
    *on = most > 0 && all_finite(t->square, t->dim * t->dim);
    if (!*on)
        return ANN_OK;
    if (!blas_orthogonal(t->square, t->dim))
        return ANN_FAIL(ANN_ENOMEM, "no rotation of %zu dimensions: out of memory?", t->dim);
    for (size_t i = 0; i < t->dim * t->dim; i++)
        t->rotation[i] = (float)t->square[i];
    rotate(t);
    return ANN_OK;
}

static ann_err run(struct turns *t, uint32_t rounds, uint64_t seed)
{
    ann_err err = begin(t);
    if (err)
        return err;
    rotate(t);
    err = pq_learn(t->p, t->y, t->rows, t->n, FIRST_ROUNDS, false, seed, t->pool);
    bool on = true;
    for (uint32_t r = 0; !err && on && r < rounds; r++) {
        err = turn(t, &on);
        if (!err && on)
            err = pq_learn(t->p, t->y, t->rows, t->n, TURN_ROUNDS, true, seed, t->pool);
    }
    return err ? err : pq_learn(t->p, t->y, t->rows, t->n, LAST_ROUNDS, true, seed, t->pool);
}

static void turns_close(struct turns *t)
{
    mem_free(t->x);
    mem_free(t->y);
    mem_free(t->z);
    mem_free(t->rows);
    mem_free(t->codes);
    mem_free(t->products);
    mem_free(t->square);
}

static ann_err turns_open(struct turns *t)
{
    const size_t values = t->n * t->dim, square = t->dim * t->dim;
    t->x = mem_alloc(values * sizeof *t->x);
    t->y = mem_alloc(values * sizeof *t->y);
    t->z = mem_alloc(values * sizeof *t->z);
    t->rows = mem_alloc(t->n * sizeof *t->rows);
    t->codes = mem_alloc((size_t)t->n * t->p->m);
    t->products = mem_alloc(square * sizeof *t->products);
    t->square = mem_alloc(square * sizeof *t->square);
    return t->x && t->y && t->z && t->rows && t->codes && t->products && t->square
               ? ANN_OK
               : ANN_FAIL(ANN_ENOMEM, "out of memory: a rotation of %zu dimensions", t->dim);
}

ann_err opq_train(struct pq *p, const struct annk_ops *ops, const float *x, size_t n,
                  uint32_t rounds, uint64_t seed, struct pool *pool, float *rotation)
{
    (void)ops;
    if (n == 0 || n > UINT32_MAX)
        return ANN_FAIL(ANN_EINVAL, "a rotation for %zu rows", n);
    const size_t most = SAMPLE_VALUES / p->dim < SAMPLE ? SAMPLE_VALUES / p->dim : SAMPLE;
    struct turns t = {.p = p,
                      .dim = p->dim,
                      .n = (uint32_t)(n < most ? n : most),
                      .pool = pool,
                      .rotation = rotation};
    ann_err err = turns_open(&t);
    if (!err) {
        kmeans_sample(n, t.n, seed, t.rows);
        for (uint32_t i = 0; i < t.n; i++) {
            memcpy(t.x + i * t.dim, x + t.rows[i] * t.dim, t.dim * sizeof *t.x);
            t.rows[i] = i;
        }
        err = run(&t, rounds, seed);
    }
    turns_close(&t);
    return err;
}
