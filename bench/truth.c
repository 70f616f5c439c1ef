/* truth.c - exact neighbours by a flat index, kept in the cache folder under a hash of the
 * content.
 *
 * Place: bench.  The flat index says which vectors are near in float arithmetic; a few more
 * than needed are taken and put into order in double, so that rounding does not decide who is
 * k-th. Invariant: what is used was compared, for a few queries, with a plain scan in double.
 */
#include <config.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/memory.h"
#include "ann/base/rng.h"
#include "bench/files.h"
#include "bench/metrics.h"
#include "bench/truth.h"

#define TRUTH_K      100 /* kept for each query, at least */
#define TRUTH_SPARE  28  /* asked for beyond them */
#define TRUTH_SAMPLE 5   /* queries compared with a plain scan */

/* Four lanes over 32 bytes at a time; no secret and no adversary, only different contents. */
static uint64_t hash_floats(uint64_t seed, const float *v, size_t count)
{
    uint64_t lane[4] = {seed, seed + 1, seed + 2, seed + 3};
    const unsigned char *p = (const unsigned char *)v;
    size_t bytes = count * sizeof *v;
    for (; bytes >= 32; bytes -= 32, p += 32) {
        uint64_t w[4];
        memcpy(w, p, 32);
        for (int i = 0; i < 4; i++) {
            lane[i] = (lane[i] ^ w[i]) * 0x9e3779b97f4a7c15u;
            lane[i] ^= lane[i] >> 29;
        }
    }
    uint64_t tail[4] = {count};
    memcpy(tail + 1, p, bytes < 24 ? bytes : 24);
    uint64_t h = seed;
    for (int i = 0; i < 4; i++)
        h = rng_mix(h ^ lane[i]) + rng_mix(tail[i] + (uint64_t)i);
    if (bytes > 24) {
        uint64_t rest = 0;
        memcpy(&rest, p + 24, bytes - 24);
        h ^= rng_mix(rest + 7);
    }
    return rng_mix(h);
}

uint64_t truth_fingerprint(const struct dataset *d)
{
    return hash_floats(d->dim * 8 + (uint64_t)d->metric, d->base, d->n * d->dim);
}

static ann_err cache_path(const struct dataset *d, char *path)
{
    char folder[FILES_PATH_MAX], name[DATASET_NAME_MAX + 64];
    const ann_err err = files_cache(folder, "truth", true);
    if (err)
        return err;
    const uint64_t h = hash_floats(truth_fingerprint(d), d->query, d->nq * d->dim);
    snprintf(name, sizeof name, "%s-%s-%016llx.npy", d->name, dataset_metric_name(d->metric),
             (unsigned long long)h);
    for (char *c = name; *c; c++)
        if (*c == '/')
            *c = '_';
    return files_join(path, folder, name) ? ANN_OK
                                          : ANN_FAIL(ANN_EINVAL, "%s: too long", folder);
}

struct near {
    double dist;
    int32_t slot;
};

static int by_distance(const void *a, const void *b)
{
    const struct near *x = a, *y = b;
    if (x->dist != y->dist)
        return x->dist < y->dist ? -1 : 1;
    return (x->slot > y->slot) - (x->slot < y->slot);
}

/* Compares the k-th distance of one query with a scan of everything. */
static bool holds(const struct dataset *d, size_t query, size_t k, double *scan)
{
    const float *q = d->query + query * d->dim;
    const int32_t *row = d->truth + query * d->truth_k;
    double kth = -INFINITY;
    for (size_t j = 0; j < k; j++) {
        const double x =
            metrics_distance(d->metric, q, d->base + (size_t)row[j] * d->dim, d->dim);
        kth = x > kth ? x : kth;
    }
    size_t nearer = 0;
    const double slack = 1e-5 * (kth < 0 ? -kth : kth) + 1e-7;
    for (size_t i = 0; i < d->n; i++) {
        scan[i] = metrics_distance(d->metric, q, d->base + i * d->dim, d->dim);
        nearer += scan[i] < kth - slack;
    }
    return nearer < k;
}

static bool sample_holds(const struct dataset *d, size_t k)
{
    const size_t want = k < d->n ? k : d->n;
    if (!d->truth || d->truth_k < want)
        return false;
    for (size_t i = 0; i < d->nq * d->truth_k; i++)
        if (d->truth[i] < 0 || (size_t)d->truth[i] >= d->n)
            return false;
    double *scan = mem_zalloc(d->n, sizeof *scan);
    bool good = scan != NULL;
    for (size_t i = 0; i < TRUTH_SAMPLE && i < d->nq && good; i++)
        good =
            holds(d, i * (d->nq / (d->nq < TRUTH_SAMPLE ? d->nq : TRUTH_SAMPLE)), want, scan);
    mem_free(scan);
    return good;
}

/* Puts the `spare` results of each query into order in double and keeps `keep` of them. */
static ann_err refine(struct dataset *d, const ann_id *ids, size_t spare, size_t keep)
{
    struct near *near = mem_zalloc(spare, sizeof *near);
    int32_t *truth = mem_zalloc(d->nq * keep, sizeof *truth);
    if (!near || !truth) {
        mem_free(near);
        mem_free(truth);
        return ANN_FAIL(ANN_ENOMEM, "out of memory for the true neighbours");
    }
    for (size_t i = 0; i < d->nq; i++) {
        for (size_t j = 0; j < spare; j++) {
            const ann_id id = ids[i * spare + j] < d->n ? ids[i * spare + j] : 0;
            near[j].slot = (int32_t)id;
            near[j].dist = metrics_distance(d->metric, d->query + i * d->dim,
                                            d->base + id * d->dim, d->dim);
        }
        qsort(near, spare, sizeof *near, by_distance);
        for (size_t j = 0; j < keep; j++)
            truth[i * keep + j] = near[j].slot;
    }
    mem_free(near);
    mem_free(d->truth);
    d->truth = truth;
    d->truth_k = keep;
    return ANN_OK;
}

static ann_err compute(struct dataset *d, size_t k, unsigned threads)
{
    const size_t keep = d->n < k ? d->n : k;
    const size_t spare = d->n < keep + TRUTH_SPARE ? d->n : keep + TRUTH_SPARE;
    ann_options o = ANN_OPTIONS_INIT;
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_index *ix = NULL;
    ann_id *ids = mem_zalloc(d->nq * spare, sizeof *ids);
    if (!ids)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for the true neighbours");
    o.dim = (uint32_t)d->dim;
    o.kind = ANN_FLAT;
    o.metric = d->metric;
    o.threads = threads;
    p.k = spare;
    p.threads = threads;
    ann_err err = io_library(ann_create(&o, &ix));
    if (!err)
        err = io_library(ann_add(ix, (ann_view){d->base, d->n, 0, ANN_F32}, NULL));
    if (!err)
        err =
            io_library(ann_search(ix, (ann_view){d->query, d->nq, 0, ANN_F32}, &p, ids, NULL));
    if (!err)
        err = refine(d, ids, spare, keep);
    ann_close(ix);
    mem_free(ids);
    return err;
}

static ann_err load(struct dataset *d, const char *path)
{
    struct io_matrix m = {0};
    ann_err err = io_load(path, NULL, &m);
    if (err)
        return err;
    if (m.rank != 2 || m.type != IO_I32 || m.n != d->nq || !m.dim || m.stride != m.dim) {
        io_free(&m);
        return ANN_FAIL(ANN_EINVAL, "%s: not the true neighbours of these queries", path);
    }
    int32_t *truth = mem_zalloc(m.n * m.dim, sizeof *truth);
    if (truth) {
        memcpy(truth, m.data, m.n * m.dim * sizeof *truth);
        mem_free(d->truth);
        d->truth = truth;
        d->truth_k = m.dim;
    }
    io_free(&m);
    return truth ? ANN_OK : ANN_FAIL(ANN_ENOMEM, "out of memory for the true neighbours");
}

ann_err truth_ensure(struct dataset *d, size_t k, unsigned threads, bool quiet)
{
    char path[FILES_PATH_MAX];
    if (d->truth && d->truth_k >= (k < d->n ? k : d->n)) {
        if (sample_holds(d, k))
            return ANN_OK;
        if (!quiet)
            fprintf(stderr,
                    "%s: the true neighbours that came with the data are wrong; "
                    "computing them\n",
                    d->name);
    }
    const bool cached = !cache_path(d, path);
    if (cached && files_exist(path) && !load(d, path) && sample_holds(d, k))
        return ANN_OK;
    if (!quiet)
        fprintf(stderr, "%s: exact search of %zu queries in %zu vectors ...\n", d->name, d->nq,
                d->n);
    const ann_err err = compute(d, k > TRUTH_K ? k : TRUTH_K, threads);
    if (err)
        return error_prefix(err, "true neighbours");
    if (!sample_holds(d, k))
        return ANN_FAIL(ANN_EDAMAGED, "%s: the exact search disagrees with a plain scan",
                        d->name);
    /* A cache that cannot be written costs time, nothing else. */
    if (cached && dataset_write(path, IO_I32, d->truth, d->nq, d->truth_k) && !quiet)
        fprintf(stderr, "%s: not kept: %s\n", d->name, error_message());
    return ANN_OK;
}
