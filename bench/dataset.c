/* dataset.c - reads a data set from a folder, an HDF5 file of ann-benchmarks, or vector files.
 *
 * Place: bench.  The order of rows is the order of ids; see dataset.h for the invariant. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ann/base/memory.h"
#include "ann/base/rng.h"
#ifdef HAVE_HDF5
#include "ann/io/hdf5.h"
#endif
#include "ann/io/json.h"
#include "bench/dataset.h"
#include "bench/files.h"

#define HOLD_OUT_SEED 1

const char *dataset_metric_name(ann_metric m)
{
    return m == ANN_COSINE ? "angular" : m == ANN_IP ? "ip" : "l2";
}

ann_err dataset_metric_parse(const char *name, ann_metric *m)
{
    static const struct {
        const char *name;
        ann_metric metric;
    } known[] = {
        {"l2", ANN_L2},         {"euclidean", ANN_L2}, {"angular", ANN_COSINE},
        {"cosine", ANN_COSINE}, {"ip", ANN_IP},        {"dot", ANN_IP},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!strcmp(name, known[i].name)) {
            *m = known[i].metric;
            return ANN_OK;
        }
    }
    return ANN_FAIL(ANN_EINVAL, "metric \"%s\" is not l2, angular or ip", name);
}

static bool ends_with(const char *s, const char *end)
{
    const size_t a = strlen(s), b = strlen(end);
    return a >= b && !strcmp(s + a - b, end);
}

static void set_name(struct dataset *d, const char *path)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    size_t from = len;
    while (from && path[from - 1] != '/')
        from--;
    snprintf(d->name, sizeof d->name, "%.*s", (int)(len - from), path + from);
    char *dot = strrchr(d->name, '.');
    if (dot && dot != d->name)
        *dot = 0;
}

/* Makes m's rows f32 without gaps: *rows points into m or into a copy, *copy. */
static ann_err as_floats(const struct io_matrix *m, const float **rows, float **copy)
{
    if (m->rank != 2 || !m->dim)
        return ANN_FAIL(ANN_EINVAL, "expected a matrix of vectors, found a plain list");
    if (m->type == IO_F32 && m->stride == m->dim) {
        *rows = m->data;
        return ANN_OK;
    }
    size_t count, bytes, bad;
    if (m->type == IO_B1)
        return ANN_FAIL(ANN_ENOTSUP, "vectors of bits cannot be benchmarked yet");
    if (!size_mul(m->n, m->dim, &count) || !size_mul(count, sizeof(float), &bytes))
        return ANN_FAIL(ANN_ELIMIT, "%zu x %zu vectors do not fit", m->n, m->dim);
    float *f = mem_alloc(bytes ? bytes : 1);
    if (!f)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %zu x %zu vectors", m->n, m->dim);
    for (size_t i = 0; i < m->n; i++) {
        if (!io_convert(IO_F32, f + i * m->dim, m->type, io_row(m, i), m->dim, &bad)) {
            mem_free(f);
            return ANN_FAIL(ANN_EINVAL, "row %zu, element %zu does not fit a float", i, bad);
        }
    }
    *rows = *copy = f;
    return ANN_OK;
}

static ann_err take_base(struct dataset *d)
{
    d->n = d->hold[0].n;
    d->dim = d->hold[0].dim;
    return as_floats(&d->hold[0], &d->base, &d->copies[0]);
}

static ann_err take_queries(struct dataset *d)
{
    d->nq = d->hold[1].n;
    if (d->hold[1].dim != d->dim)
        return ANN_FAIL(ANN_EDIM, "queries have %zu dims, base vectors %zu", d->hold[1].dim,
                        d->dim);
    return as_floats(&d->hold[1], &d->query, &d->copies[1]);
}

/* Neighbours as read, any integer type: checked against n and kept as int32. */
static ann_err take_truth(struct dataset *d, const struct io_matrix *m)
{
    if (m->rank != 2 || m->n != d->nq || !m->dim)
        return ANN_FAIL(ANN_EINVAL, "the true neighbours are %zu x %zu, the queries %zu", m->n,
                        m->dim, d->nq);
    int32_t *t = mem_zalloc(m->n * m->dim, sizeof *t);
    if (!t)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for the true neighbours");
    size_t bad;
    for (size_t i = 0; i < m->n; i++) {
        int32_t *row = t + i * m->dim;
        bool fits = io_convert(IO_I32, row, m->type, io_row(m, i), m->dim, &bad);
        for (size_t j = 0; fits && j < m->dim; j++)
            fits = row[j] >= 0 && (size_t)row[j] < d->n;
        if (!fits) {
            mem_free(t);
            return ANN_FAIL(ANN_EINVAL,
                            "the true neighbours of query %zu are not slots of the "
                            "%zu base vectors",
                            i, d->n);
        }
    }
    d->truth = t;
    d->truth_k = m->dim;
    return ANN_OK;
}

static ann_err read_truth(struct dataset *d, const char *path)
{
    struct io_matrix m = {0};
    ann_err err = io_load(path, NULL, &m);
    if (!err)
        err = take_truth(d, &m);
    if (err)
        error_prefix(err, path);
    io_free(&m);
    return err;
}

static ann_err read_meta(const char *folder, ann_metric *metric)
{
    char path[FILES_PATH_MAX];
    struct js *meta = NULL;
    if (!files_join(path, folder, "meta.json") || !files_exist(path))
        return ANN_OK;
    ann_err err = js_load(path, 1 << 20, &meta);
    if (err)
        return err;
    const char *name = js_string(js_get(meta, "metric"), NULL);
    if (name) {
        err = dataset_metric_parse(name, metric);
        if (err)
            error_prefix(err, path);
    }
    js_free(meta);
    return err;
}

static ann_err load_folder(const char *folder, struct dataset *d)
{
    char path[FILES_PATH_MAX];
    if (!files_join(path, folder, "base.npy"))
        return ANN_FAIL(ANN_EINVAL, "%s: the path is too long", folder);
    if (!files_exist(path))
        return ANN_FAIL(ANN_ENOENT, "%s: the folder has no base.npy", folder);
    ann_err err = read_meta(folder, &d->metric);
    if (!err)
        err = io_load(path, NULL, &d->hold[0]);
    if (!err)
        err = take_base(d);
    files_join(path, folder, "query.npy");
    if (err || !files_exist(path))
        return err ? err : dataset_hold_out(d, DATASET_HELD_OUT);
    err = io_load(path, NULL, &d->hold[1]);
    if (!err)
        err = take_queries(d);
    files_join(path, folder, "gt.npy");
    if (!err && files_exist(path))
        err = read_truth(d, path);
    return err;
}

static ann_err load_hdf5(const char *path, struct dataset *d)
{
#ifdef HAVE_HDF5
    char distance[32];
    struct io_matrix m = {0};
    ann_err err = ANN_OK;
    if (hdf5_attribute(path, "distance", distance, sizeof distance))
        err = dataset_metric_parse(distance, &d->metric);
    if (!err)
        err = hdf5_load(path, "train", &d->hold[0]);
    if (!err)
        err = take_base(d);
    if (err || !hdf5_has(path, "test"))
        return err ? err : dataset_hold_out(d, DATASET_HELD_OUT);
    err = hdf5_load(path, "test", &d->hold[1]);
    if (!err)
        err = take_queries(d);
    if (!err && hdf5_has(path, "neighbors")) {
        err = hdf5_load(path, "neighbors", &m);
        if (!err)
            err = take_truth(d, &m);
        io_free(&m);
    }
    return err;
#else
    (void)d;
    return ANN_FAIL(ANN_ENOTSUP, "%s: this build has no HDF5; configure --with-hdf5", path);
#endif
}

/* X_base.fvecs has X_query.fvecs and X_groundtruth.ivecs beside it, as TEXMEX names them. */
static ann_err load_vectors(const char *path, struct dataset *d)
{
    char other[FILES_PATH_MAX];
    ann_err err = io_load(path, NULL, &d->hold[0]);
    if (!err)
        err = take_base(d);
    const char *base = strstr(path, "_base.");
    if (err || !base)
        return err ? err : dataset_hold_out(d, DATASET_HELD_OUT);
    const int stem = (int)(base - path);
    snprintf(other, sizeof other, "%.*s_query.%s", stem, path, base + strlen("_base."));
    if (!files_exist(other))
        return dataset_hold_out(d, DATASET_HELD_OUT);
    err = io_load(other, NULL, &d->hold[1]);
    if (!err)
        err = take_queries(d);
    snprintf(other, sizeof other, "%.*s_groundtruth.ivecs", stem, path);
    if (!err && files_exist(other))
        err = read_truth(d, other);
    return err;
}

ann_err dataset_hold_out(struct dataset *d, size_t count)
{
    if (d->n < 2)
        return ANN_FAIL(ANN_EINVAL, "%zu vectors are too few to hold queries out", d->n);
    if (count > d->n / 2)
        count = d->n / 2;
    size_t *order = mem_alloc(d->n * sizeof *order);
    bool *held = mem_zalloc(d->n, sizeof *held);
    float *query = mem_alloc(count * d->dim * sizeof(float));
    float *base = mem_alloc((d->n - count) * d->dim * sizeof(float));
    if (!order || !held || !query || !base) {
        mem_free(order);
        mem_free(held);
        mem_free(query);
        mem_free(base);
        return ANN_FAIL(ANN_ENOMEM, "out of memory while holding %zu queries out", count);
    }
    for (size_t i = 0; i < d->n; i++)
        order[i] = i;
    uint64_t state = HOLD_OUT_SEED;
    const size_t row = d->dim * sizeof(float);
    for (size_t i = 0; i < count; i++) {
        const size_t j = i + (size_t)(rng_next(&state) % (d->n - i));
        const size_t chosen = order[j];
        order[j] = order[i];
        held[chosen] = true;
        memcpy(query + i * d->dim, d->base + chosen * d->dim, row);
    }
    size_t kept = 0;
    for (size_t i = 0; i < d->n; i++)
        if (!held[i])
            memcpy(base + kept++ * d->dim, d->base + i * d->dim, row);
    mem_free(order);
    mem_free(held);
    mem_free(d->copies[0]);
    io_free(&d->hold[0]);
    memset(&d->hold[0], 0, sizeof d->hold[0]);
    d->base = d->copies[0] = base;
    d->query = d->copies[1] = query;
    d->n = kept;
    d->nq = count;
    return ANN_OK;
}

ann_err dataset_write(const char *path, enum io_type type, const void *rows, size_t n,
                      size_t dim)
{
    struct io_writer *w;
    const struct io_layout layout = {.format = IO_NPY, .type = type, .dim = dim, .n = n};
    const struct io_matrix m = {
        .data = rows, .n = n, .dim = dim, .stride = dim, .type = type, .rank = 2};
    ann_err err = io_create(path, &layout, &w);
    if (err)
        return err;
    err = io_write(w, &m);
    if (!err)
        return io_finish(w);
    io_abandon(w);
    return err;
}

static ann_err check(const struct dataset *d, const char *spec)
{
    if (!d->n || !d->nq)
        return ANN_FAIL(ANN_EINVAL, "%s: %zu base vectors and %zu queries are too few", spec,
                        d->n, d->nq);
    if (d->n > INT32_MAX)
        return ANN_FAIL(ANN_ELIMIT, "%s: %zu base vectors are more than %d", spec, d->n,
                        INT32_MAX);
    return ANN_OK;
}

ann_err dataset_load(const char *spec, ann_metric metric, struct dataset *out)
{
    struct dataset d = {.metric = ANN_L2};
    struct stat st;
    ann_err err;
    if (!strncmp(spec, "synthetic:", 10)) {
        err = synthetic_make(spec + 10, &d);
    } else if (stat(spec, &st)) {
        err = known_load(spec, &d);
    } else {
        set_name(&d, spec);
        if (S_ISDIR(st.st_mode))
            err = load_folder(spec, &d);
        else if (ends_with(spec, ".hdf5") || ends_with(spec, ".h5"))
            err = load_hdf5(spec, &d);
        else
            err = load_vectors(spec, &d);
    }
    if (!err)
        err = check(&d, spec);
    if (err) {
        dataset_free(&d);
        return err;
    }
    if (metric && metric != d.metric) {
        /* Neighbours that were given hold for the data's own metric only. */
        mem_free(d.truth);
        d.truth = NULL;
        d.truth_k = 0;
        d.metric = metric;
    }
    *out = d;
    return ANN_OK;
}

ann_err dataset_half(const struct dataset *d, unsigned which, struct dataset *out)
{
    const size_t nq = (d->nq + !which) / 2;
    struct dataset h = *d;
    if (!nq)
        return ANN_FAIL(ANN_EINVAL, "%zu queries cannot be halved", d->nq);
    memset(h.hold, 0, sizeof h.hold);
    h.copies[0] = NULL;
    h.nq = nq;
    h.query = h.copies[1] = mem_alloc(nq * d->dim * sizeof(float));
    h.truth = d->truth ? mem_alloc(nq * d->truth_k * sizeof *h.truth) : NULL;
    if (!h.query || (d->truth && !h.truth)) {
        dataset_free(&h);
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %zu queries", nq);
    }
    for (size_t i = 0; i < nq; i++) {
        const size_t from = 2 * i + which;
        memcpy(h.copies[1] + i * d->dim, d->query + from * d->dim, d->dim * sizeof(float));
        if (h.truth)
            memcpy(h.truth + i * d->truth_k, d->truth + from * d->truth_k,
                   d->truth_k * sizeof *h.truth);
    }
    *out = h;
    return ANN_OK;
}

void dataset_free(struct dataset *d)
{
    for (int i = 0; i < 2; i++) {
        mem_free(d->copies[i]);
        io_free(&d->hold[i]);
    }
    mem_free(d->truth);
    memset(d, 0, sizeof *d);
}
