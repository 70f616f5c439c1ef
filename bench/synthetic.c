/* synthetic.c - vectors that can be made anywhere: uniform ones and clusters.
 *
 * Place: bench.  Invariant: the same fields give the same floats on every machine; only
 * additions and multiplications of exact numbers are used, no library of mathematics.
 *
 * clusters: sqrt(n) centres (16 at least), each coordinate of spread 1, and points around them
 * of spread 0.6, so that the neighbours of a point are mostly, not only, of its own cluster.
 * The bell is the sum of four uniform numbers. */
#include <config.h>

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "ann/base/memory.h"
#include "ann/base/rng.h"
#include "bench/dataset.h"

#define SPREAD   0.6f
#define ROWS_MAX 100000000u

struct wish {
    bool clusters;
    uint64_t n, dim, queries, seed;
    ann_metric metric;
};

/* Variance 1, mean 0: four uniform numbers have variance 4/12. */
static float bell(uint64_t *state)
{
    const uint64_t bits = rng_next(state);
    float sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (float)((bits >> (16 * i)) & 0xffff);
    return (sum * 0x1p-16f - 2.0f) * 1.7320508f;
}

static ann_err parse_field(const char *key, const char *value, struct wish *w)
{
    if (!strcmp(key, "kind")) {
        w->clusters = !strcmp(value, "clusters");
        return w->clusters || !strcmp(value, "uniform")
                   ? ANN_OK
                   : ANN_FAIL(ANN_EINVAL, "kind=%s is not clusters or uniform", value);
    }
    if (!strcmp(key, "metric"))
        return dataset_metric_parse(value, &w->metric);
    const struct {
        const char *name;
        uint64_t *out, min, max;
    } numbers[] = {
        {"n", &w->n, 2, ROWS_MAX},
        {"d", &w->dim, 1, ANN_DIM_MAX},
        {"queries", &w->queries, 1, 1000000},
        {"seed", &w->seed, 0, INT64_MAX},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strcmp(key, numbers[i].name))
            continue;
        char *end;
        const unsigned long long v = strtoull(value, &end, 10);
        if (end == value || *end || *value == '-' || v < numbers[i].min || v > numbers[i].max)
            return ANN_FAIL(ANN_EINVAL, "%s=%s is not a number in %llu..%llu", key, value,
                            (unsigned long long)numbers[i].min,
                            (unsigned long long)numbers[i].max);
        *numbers[i].out = v;
        return ANN_OK;
    }
    return ANN_FAIL(ANN_EINVAL, "unknown field \"%s\": kind, n, d, queries, seed, metric", key);
}

static ann_err parse(const char *fields, struct wish *w)
{
    char text[256];
    if (strlen(fields) >= sizeof text)
        return ANN_FAIL(ANN_EINVAL, "the synthetic data set's fields are too long");
    memcpy(text, fields, strlen(fields) + 1);
    char *save;
    for (char *f = strtok_r(text, ",", &save); f; f = strtok_r(NULL, ",", &save)) {
        char *value = strchr(f, '=');
        if (!value)
            return ANN_FAIL(ANN_EINVAL, "\"%s\" is not field=value", f);
        *value++ = 0;
        const ann_err err = parse_field(f, value, w);
        if (err)
            return err;
    }
    return ANN_OK;
}

/* centres: [count, dim], or NULL for uniform rows in [0, 1). */
static void fill(float *rows, size_t n, size_t dim, const float *centres, size_t count,
                 uint64_t *state)
{
    for (size_t i = 0; i < n; i++) {
        float *row = rows + i * dim;
        if (!centres) {
            for (size_t j = 0; j < dim; j++)
                row[j] = (float)(rng_next(state) >> 40) * 0x1p-24f;
            continue;
        }
        const float *c = centres + rng_below(state, count) * dim;
        for (size_t j = 0; j < dim; j++)
            row[j] = c[j] + SPREAD * bell(state);
    }
}

ann_err synthetic_make(const char *fields, struct dataset *d)
{
    struct wish w = {true, 10000, 64, DATASET_HELD_OUT, 1, ANN_L2};
    ann_err err = parse(fields, &w);
    if (err)
        return error_prefix(err, "synthetic");
    size_t count = 16;
    while (count * count < w.n)
        count++;
    float *centres = NULL;
    d->copies[0] = mem_zalloc(w.n * w.dim, sizeof(float));
    d->copies[1] = mem_zalloc(w.queries * w.dim, sizeof(float));
    if (w.clusters)
        centres = mem_zalloc(count * w.dim, sizeof(float));
    if (!d->copies[0] || !d->copies[1] || (w.clusters && !centres)) {
        mem_free(centres);
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %zu x %zu synthetic vectors",
                        (size_t)w.n, (size_t)w.dim);
    }
    uint64_t state = w.seed;
    if (centres)
        for (size_t i = 0; i < count * w.dim; i++)
            centres[i] = bell(&state);
    fill(d->copies[0], w.n, w.dim, centres, count, &state);
    fill(d->copies[1], w.queries, w.dim, centres, count, &state);
    mem_free(centres);
    d->base = d->copies[0];
    d->query = d->copies[1];
    d->n = w.n;
    d->nq = w.queries;
    d->dim = w.dim;
    d->metric = w.metric;
    snprintf(d->name, sizeof d->name, "%s-%zu-%zu-s%llu", w.clusters ? "clusters" : "uniform",
             d->n, d->dim, (unsigned long long)w.seed);
    return ANN_OK;
}
