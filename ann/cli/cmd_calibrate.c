/* cmd_calibrate.c - calibrate, and what others tell of a calibration: a table of efforts.
 *
 * Place: ann/cli. */
#include <config.h>

#include <stdio.h>
#include <unistd.h>

#include "ann/cli/cli.h"
#include "ann/io/json.h"

static const double recalls[] = {0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999};
static const size_t ks[] = {1, 10, 100};

#define RECALLS (sizeof recalls / sizeof *recalls)
#define KS (sizeof ks / sizeof *ks)

/* 0: not reached, or not calibrated. */
static size_t effort_for(const ann_index *ix, double recall, size_t k)
{
    size_t effort = 0;
    return ann_effort_for(ix, recall, k, &effort) == ANN_OK ? effort : 0;
}

void calibration_print(const ann_index *ix)
{
    printf("recall     effort for k =");
    for (size_t i = 0; i < KS; i++)
        printf(" %8zu", ks[i]);
    putchar('\n');
    for (size_t r = 0; r < RECALLS; r++) {
        printf("  %-22.3f ", recalls[r]);
        for (size_t i = 0; i < KS; i++) {
            const size_t effort = effort_for(ix, recalls[r], ks[i]);
            if (effort)
                printf(" %8zu", effort);
            else
                printf(" %8s", "-");
        }
        putchar('\n');
    }
}

void calibration_put(struct js_out *o, const ann_index *ix)
{
    js_open(o, "efforts", '[');
    for (size_t i = 0; i < KS; i++)
        for (size_t r = 0; r < RECALLS; r++) {
            const size_t effort = effort_for(ix, recalls[r], ks[i]);
            if (!effort)
                continue;
            js_open(o, NULL, '{');
            js_put_u64(o, "k", ks[i]);
            js_put_double(o, "recall", recalls[r]);
            js_put_u64(o, "effort", effort);
            js_shut(o, '}');
        }
    js_shut(o, ']');
}

/* The queries of --queries as a view; none: n is 0. */
static ann_err load_queries(const struct args *a, const ann_index *ix, struct io_matrix *m,
                            ann_view *v)
{
    struct io_options in = {0};
    ann_info info = {.size = ANN_INFO_SIZE};
    if (!a->queries)
        return ANN_OK;
    ann_err err = io_library(ann_index_info(ix, &info));
    if (!err)
        err = io_load(a->queries, &in, m);
    if (!err)
        err = input_view(a->queries, m, info.store, info.dim, v);
    if (!err && v->n == 0)
        err = ANN_FAIL(ANN_EINVAL, "%s: no queries", a->queries);
    return err;
}

ann_err calibrate(const struct args *a, ann_index *ix, ann_calibration *c)
{
    struct io_matrix m = {0};
    ann_view v = {0};
    const ann_calibration start = ANN_CALIBRATION_INIT;
    *c = start;
    c->k = a->k;
    c->seed = a->seed;
    ann_err err = load_queries(a, ix, &m, &v);
    if (!err)
        err = io_library(ann_calibrate(ix, v, c));
    io_free(&m);
    return err;
}

static ann_err print(const struct args *a, const ann_index *ix, const ann_calibration *c)
{
    if (!a->json && isatty(STDOUT_FILENO)) {
        printf("%zu %s queries, up to recall %.4f at k = %zu\n", c->queries,
               a->queries ? "given" : "sampled", c->recall, c->k);
        calibration_print(ix);
        return ANN_OK;
    }
    struct js_out o = JS_OUT_INIT;
    js_open(&o, NULL, '{');
    js_put_string(&o, "file", a->list[0]);
    js_put_u64(&o, "k", c->k);
    js_put_u64(&o, "queries", c->queries);
    js_put_bool(&o, "sampled", !a->queries);
    js_put_double(&o, "recall", c->recall);
    js_put_double(&o, "confidence", c->confidence);
    calibration_put(&o, ix);
    js_shut(&o, '}');
    const ann_err err = js_line(&o, stdout);
    js_out_free(&o);
    return err;
}

int cmd_calibrate(const struct args *a)
{
    const char *path = a->list[0];
    struct session_lock lock = {-1, NULL};
    ann_index *ix = NULL;
    ann_calibration c = ANN_CALIBRATION_INIT;
    ann_err err = session_lock(path, &lock);
    if (!err)
        err = session_open(a, path, ANN_OPEN_LOAD, &ix);
    if (!err)
        err = calibrate(a, ix, &c);
    if (!err)
        err = io_library(ann_save(ix, path));
    if (!err)
        err = print(a, ix, &c);
    ann_close(ix);
    session_unlock(&lock);
    return session_end(err);
}
