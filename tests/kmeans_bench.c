/* kmeans_bench.c - k-means on a file of floats, timed, for bench/kmeans.py.
 *
 *   kmeans_bench FILE DIM K ITERATIONS THREADS SEED OUT
 *
 * FILE: rows as raw little-endian f32.  Writes the centroids to OUT in the same way and prints
 * seconds of training and of the assignment of all rows, wall and processor, iterations, rows learned from, and the
 * mean squared distance to the nearest centroid. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ann/base/blas.h"
#include "ann/base/error.h"
#include "ann/codec/kmeans.h"

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static float *read_rows(const char *path, size_t dim, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0)
        return NULL;
    *n = (size_t)ftell(f) / sizeof(float) / dim;
    float *x = malloc(*n * dim * sizeof *x);
    rewind(f);
    if (x && fread(x, dim * sizeof *x, *n, f) != *n) {
        free(x);
        x = NULL;
    }
    fclose(f);
    return x;
}

static int write_rows(const char *path, const float *x, size_t n)
{
    FILE *f = fopen(path, "wb");
    const int done = f && fwrite(x, sizeof *x, n, f) == n;
    return f && fclose(f) == 0 && done ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc != 8) {
        fprintf(stderr, "usage: kmeans_bench FILE DIM K ITERATIONS THREADS SEED OUT\n");
        return 2;
    }
    const size_t dim = strtoul(argv[2], NULL, 10);
    const struct kmeans_options o = {.k = (uint32_t)strtoul(argv[3], NULL, 10),
                                     .iterations = (uint32_t)strtoul(argv[4], NULL, 10),
                                     .seed = strtoul(argv[6], NULL, 10)};
    size_t n;
    struct pool *pool;
    struct kmeans_report report;
    blas_set_threads(1);
    float *x = read_rows(argv[1], dim, &n), *centroids = malloc(o.k * dim * sizeof *centroids);
    uint32_t *nearest = x ? malloc(n * sizeof *nearest) : NULL;
    float *dists = x ? malloc(n * sizeof *dists) : NULL;
    if (!centroids || !nearest || !dists ||
        pool_create((unsigned)strtoul(argv[5], NULL, 10), &pool) != ANN_OK) {
        fprintf(stderr, "kmeans_bench: cannot read %s, or out of memory\n", argv[1]);
        return 1;
    }
    const struct annk_ops *ops = annk_select();
    const double begin = now(CLOCK_MONOTONIC), used = now(CLOCK_PROCESS_CPUTIME_ID);
    ann_err err = kmeans_train(ops, x, n, dim, &o, pool, centroids, &report);
    const double trained = now(CLOCK_MONOTONIC), used_trained = now(CLOCK_PROCESS_CPUTIME_ID);
    if (!err)
        err = kmeans_assign(ops, x, n, dim, centroids, o.k, pool, nearest, dists);
    const double assigned = now(CLOCK_MONOTONIC), used_assigned = now(CLOCK_PROCESS_CPUTIME_ID);
    double sum = 0;
    for (size_t i = 0; !err && i < n; i++)
        sum += dists[i];
    if (err)
        fprintf(stderr, "kmeans_bench: %s\n", error_message());
    else
        printf("{\"train\": %.4f, \"train_cpu\": %.4f, \"assign\": %.4f, \"assign_cpu\": %.4f, "
               "\"iterations\": %u, \"rows\": %llu, \"learned\": %.9g, \"mean\": %.9g}\n",
               trained - begin, used_trained - used, assigned - trained,
               used_assigned - used_trained, report.iterations,
               (unsigned long long)report.rows, report.inertia / (double)report.rows,
               sum / (double)n);
    pool_close(pool);
    return err || write_rows(argv[7], centroids, o.k * dim);
}
