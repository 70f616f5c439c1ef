/* subject.c - an index of kith on the bench: built, weighed, searched, timed.
 *
 * Place: bench; sees ann.h.  Single queries go through a searcher, which allocates nothing;
 * queries a second are taken from passes without a clock call per query, latencies from passes
 * with one.  Searches that are timed are not counted, and the other way round. */
#include <config.h>

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "ann/base/rng.h"
#include "bench/files.h"
#include "bench/passing.h"
#include "bench/runner.h"

#define TRIAL_QUERIES 5  /* tell how long one takes */
#define PORTION       1000 /* vectors that come at once while an index churns */
#define WARM_QUERIES  50 /* of a batch, before it is timed */

struct subject {
    ann_index *ix;
    void *converted; /* base in the index's own type, where that is not f32; else NULL */
    ann_filter *filter; /* NULL: none */
    unsigned char *passes; /* [n], with a filter */
    ann_id *ids;     /* [k], or [nq, k] in batches */
    double *lap;     /* [nq] microseconds */
};

/* VmHWM, the most memory the process ever had; -1 if the system does not say. */
static double peak_rss(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    double kib = -1;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %lf kB", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib < 0 ? -1 : kib * 1024;
}

/* Lets the high-water mark start anew; where the system refuses, it stays that of the process.
 */
static void reset_peak_rss(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");
    if (!f)
        return;
    fputs("5", f);
    fclose(f);
}

static double file_size(ann_index *ix)
{
    char folder[FILES_PATH_MAX], path[FILES_PATH_MAX];
    struct stat st;
    double bytes = -1;
    if (files_temporary(folder))
        return -1;
    if (files_join(path, folder, "index.kith") && !ann_save(ix, path) && !stat(path, &st))
        bytes = (double)st.st_size;
    files_remove_folder(folder);
    return bytes;
}

/* Base as the index stores it: integer indexes take vectors of their own type only. */
static ann_err base_view(struct subject *u, const struct dataset *d, ann_dtype store,
                         ann_view *view)
{
    *view = (ann_view){d->base, d->n, 0, ANN_F32};
    if (store != ANN_I8 && store != ANN_U8)
        return ANN_OK;
    size_t bad;
    u->converted = mem_alloc(d->n * d->dim);
    if (!u->converted)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %zu vectors", d->n);
    if (!io_convert((enum io_type)store, u->converted, IO_F32, d->base, d->n * d->dim, &bad))
        return ANN_FAIL(ANN_EINVAL,
                        "row %zu, element %zu of base does not fit the index's type",
                        bad / d->dim, bad % d->dim);
    *view = (ann_view){u->converted, d->n, 0, store};
    return ANN_OK;
}

/* The spec with what the index decided for itself. */
static void note_decisions(struct outcome *r, const ann_options *o, const ann_info *info)
{
    char spec[OUTCOME_SPEC_MAX];
    ann_options decided = *o;
    decided.m = info->m ? info->m : decided.m;
    decided.ef_construction =
        info->ef_construction ? info->ef_construction : decided.ef_construction;
    decided.codes = info->codes;
    decided.nlist = info->nlist;
    decided.pq_m = info->pq_m;
    decided.pq_bits = info->pq_bits;
    decided.rotation = info->rotation;
    if (!ann_options_spec(&decided, spec, sizeof spec))
        memcpy(r->spec, spec, sizeof spec);
}

static void note_lists(struct outcome *r, const ann_info *info)
{
    r->lists = info->nlist;
    if (!info->nlist || !info->entries)
        return;
    r->list_spread = (double)info->largest_list * info->nlist / (double)info->entries;
    r->code_error[0] = info->trained_error;
    r->code_error[1] = info->added_error;
}

/* Kinds with lists learn them, and search so many of them as the effort says: one is enough to
 * begin with.  For the others ann_train looks at the vectors only. */
static bool trains(ann_kind kind)
{
    return kind == ANN_IVFPQ;
}

static ann_err build(struct contestant *c, const ann_options *o)
{
    struct subject *u = c->impl;
    struct outcome *r = &c->result;
    ann_view base;
    ann_info info = {.size = ANN_INFO_SIZE};
    ann_err err = io_library(ann_create(o, &u->ix));
    if (!err)
        err = base_view(u, c->data, o->store, &base);
    if (err)
        return err;
    reset_peak_rss();
    const double cpu = runner_clock(CLOCK_PROCESS_CPUTIME_ID);
    const double wall = runner_clock(CLOCK_MONOTONIC);
    err = io_library(ann_train(u->ix, base));
    if (trains(o->kind)) {
        r->train_s = runner_clock(CLOCK_MONOTONIC) - wall;
        r->train_cpu_s = runner_clock(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    }
    if (!err)
        err = io_library(ann_add(u->ix, base, NULL));
    r->build_s = runner_clock(CLOCK_MONOTONIC) - wall;
    r->build_cpu_s = runner_clock(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    r->peak_rss_bytes = peak_rss();
    if (!err)
        err = io_library(ann_index_info(u->ix, &info));
    if (err)
        return err;
    note_decisions(r, o, &info);
    note_lists(r, &info);
    r->memory_bytes = (double)info.memory_bytes;
    if (c->settings->file)
        r->file_bytes = file_size(u->ix);
    return ANN_OK;
}

static ann_view queries(const struct contestant *c)
{
    return (ann_view){c->data->query, c->data->nq, 0, ANN_F32};
}

/* Goes the way that is timed: query by query through a searcher, or all at once. */
static ann_err search(struct contestant *c, size_t effort, ann_id *ids, struct outcome_point *p)
{
    struct subject *u = c->impl;
    const size_t nq = c->data->nq, k = c->settings->k;
    ann_search_stats stats = {0};
    ann_search_params params = ANN_SEARCH_PARAMS_INIT;
    ann_searcher *s = NULL;
    ann_err err;
    params.k = k;
    params.effort = effort;
    params.threads = c->settings->threads;
    params.stats = &stats;
    params.filter = u->filter;
    if (c->has_effort && c->single) {
        err = ann_searcher_open(u->ix, &params, &s);
        for (size_t i = 0; i < nq && !err; i++)
            err = ann_searcher_search(s, c->data->query + i * c->data->dim, ANN_F32,
                                      ids + i * k, NULL);
    } else {
        err = ann_search(u->ix, queries(c), &params, ids, NULL);
    }
    err = io_library(err);
    ann_searcher_close(s);
    for (size_t i = 0; i < nq * k && !err && u->filter; i++)
        if (ids[i] < c->data->n && !u->passes[ids[i]])
            err = ANN_FAIL(ANN_EDAMAGED, "result %llu does not pass the filter",
                           (unsigned long long)ids[i]);
    if (err)
        return err;
    p->distances = (double)stats.distances / (double)nq;
    p->hops = c->has_effort ? (double)stats.hops / (double)nq : NAN;
    return ANN_OK;
}

/* The first n queries, one after another. */
static ann_err pass(ann_searcher *s, const struct contestant *c, size_t n, ann_id *ids)
{
    for (size_t i = 0; i < n; i++) {
        const ann_err err =
            ann_searcher_search(s, c->data->query + i * c->data->dim, ANN_F32, ids, NULL);
        if (err)
            return io_library(err);
    }
    return ANN_OK;
}

static ann_err pass_with_clock(ann_searcher *s, const struct contestant *c, size_t n,
                               ann_id *ids, double *lap)
{
    for (size_t i = 0; i < n; i++) {
        const double began = runner_clock(CLOCK_MONOTONIC);
        const ann_err err =
            ann_searcher_search(s, c->data->query + i * c->data->dim, ANN_F32, ids, NULL);
        if (err)
            return io_library(err);
        lap[i] = 1e6 * (runner_clock(CLOCK_MONOTONIC) - began);
    }
    return ANN_OK;
}

static void read_laps(double *lap, size_t n, struct timing *t)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += lap[i];
    metrics_sort(lap, n);
    t->mean_us = sum / (double)n;
    t->p50_us = metrics_quantile(lap, n, 0.5);
    t->p95_us = metrics_quantile(lap, n, 0.95);
    t->p99_us = metrics_quantile(lap, n, 0.99);
    t->p999_us = metrics_quantile(lap, n, 0.999);
}

/* Seconds of one query, by a few of them. */
static ann_err estimate(ann_searcher *s, const struct contestant *c, ann_id *ids, double *each)
{
    const size_t trial = c->data->nq < TRIAL_QUERIES ? c->data->nq : TRIAL_QUERIES;
    const double began = runner_clock(CLOCK_MONOTONIC);
    const ann_err err = pass(s, c, trial, ids);
    *each = (runner_clock(CLOCK_MONOTONIC) - began) / (double)trial;
    return err;
}

/* Where queries are slow, a clock call for each costs nothing against them. */
static ann_err time_slow(ann_searcher *s, struct contestant *c, double each, struct timing *t)
{
    struct subject *u = c->impl;
    size_t n = (size_t)(RUNNER_MOST_S / each) + 1;
    n = n < c->data->nq ? n : c->data->nq;
    const ann_err err = pass_with_clock(s, c, n, u->ids, u->lap);
    if (!err)
        read_laps(u->lap, n, t);
    t->single_s = 1e-6 * t->mean_us;
    return err;
}

/* What passes are timed by. */
static int pass_clock(const struct run_settings *s)
{
    return s->cpu_clock ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
}

static ann_err time_single(struct contestant *c, const ann_search_params *params,
                           struct timing *t)
{
    struct subject *u = c->impl;
    const size_t nq = c->data->nq;
    const int clock = pass_clock(c->settings);
    double each, best = INFINITY;
    ann_searcher *s = NULL;
    ann_err err = io_library(ann_searcher_open(u->ix, params, &s));
    if (!err)
        err = estimate(s, c, u->ids, &each);
    if (!err && each * (double)nq > RUNNER_SLOW_S) {
        err = time_slow(s, c, each, t);
        goto done;
    }
    if (!err)
        err = pass(s, c, nq, u->ids); /* warm-up */
    for (double took = 0, spent = 0; !err && spent < c->settings->pass_s; spent += took) {
        const double began = runner_clock(clock), wall = runner_clock(CLOCK_MONOTONIC);
        err = pass(s, c, nq, u->ids);
        took = runner_clock(CLOCK_MONOTONIC) - wall;
        best = fmin(best, runner_clock(clock) - began);
    }
    if (!err)
        err = pass_with_clock(s, c, nq, u->ids, u->lap);
    if (err)
        goto done;
    read_laps(u->lap, nq, t);
    t->single_s = best / (double)nq;
done:
    ann_searcher_close(s);
    return err;
}

static ann_err time_batch(struct contestant *c, const ann_search_params *params,
                          struct timing *t)
{
    struct subject *u = c->impl;
    const int clock = pass_clock(c->settings);
    double best = INFINITY;
    ann_view few = queries(c);
    few.n = few.n < WARM_QUERIES ? few.n : WARM_QUERIES;
    ann_err err = io_library(ann_search(u->ix, few, params, u->ids, NULL));
    for (double took = 0, spent = 0; !err && spent < c->settings->pass_s; spent += took) {
        const double began = runner_clock(clock), wall = runner_clock(CLOCK_MONOTONIC);
        err = io_library(ann_search(u->ix, queries(c), params, u->ids, NULL));
        took = runner_clock(CLOCK_MONOTONIC) - wall;
        best = fmin(best, runner_clock(clock) - began);
    }
    t->batch_s = best / (double)c->data->nq;
    return err;
}

/* Ties this thread to one processor; *before is what it was. */
static bool tie(int cpu, cpu_set_t *before)
{
    cpu_set_t one;
    if (cpu < 0 || sched_getaffinity(0, sizeof *before, before))
        return false;
    CPU_ZERO(&one);
    CPU_SET((unsigned)cpu, &one);
    return !sched_setaffinity(0, sizeof one, &one);
}

static ann_err time_all(struct contestant *c, size_t effort, struct timing *t)
{
    const struct run_settings *s = c->settings;
    ann_search_params params = ANN_SEARCH_PARAMS_INIT;
    cpu_set_t before;
    ann_err err = ANN_OK;
    *t = (struct timing){NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    params.k = s->k;
    params.effort = effort;
    params.threads = s->threads;
    params.filter = ((struct subject *)c->impl)->filter;
    if (c->single) {
        const bool tied = tie(s->pin, &before);
        err = time_single(c, &params, t);
        if (tied)
            sched_setaffinity(0, sizeof before, &before);
    }
    if (c->batch && !err)
        err = time_batch(c, &params, t);
    return err;
}

/* The index's part of a spec, for the table: "hnsw", "flat". */
static void set_index_name(struct outcome *r)
{
    const size_t len = strcspn(r->spec, ",");
    snprintf(r->index, sizeof r->index, "%.*s", (int)len, r->spec);
}

ann_err subject_open(struct contestant *c, const char *spec, const struct dataset *d,
                     const struct run_settings *s)
{
    ann_options o = ANN_OPTIONS_INIT;
    runner_init(c, d, s);
    o.dim = (uint32_t)d->dim;
    o.metric = d->metric;
    o.threads = s->threads;
    if (s->progress && !s->quiet) {
        o.progress = progress_step;
        o.progress_arg = s->progress;
    }
    ann_err err = io_library(ann_options_parse(&o, spec));
    if (!err && o.metric != d->metric)
        err =
            ANN_FAIL(ANN_EINVAL, "the spec's metric is not that of %s; give --metric", d->name);
    if (!err)
        err = io_library(ann_options_spec(&o, c->result.spec, sizeof c->result.spec));
    if (err)
        return error_prefix(err, spec);
    set_index_name(&c->result);
    c->has_effort = o.kind != ANN_FLAT;
    c->lowest = trains(o.kind) ? 1 : s->k;
    c->search = search;
    c->time = time_all;
    struct subject *u = c->impl = mem_zalloc(1, sizeof *u);
    if (u) {
        u->ids = mem_zalloc(d->nq * s->k, sizeof *u->ids);
        u->lap = mem_zalloc(d->nq, sizeof *u->lap);
    }
    if (!u || !u->ids || !u->lap)
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for the results");
    else
        err = build(c, &o);
    if (s->progress)
        progress_clear(s->progress);
    if (err) {
        subject_close(c);
        return error_prefix(err, spec);
    }
    return ANN_OK;
}

#define WARM 6 /* of what passes for each search before; eight is what an index waits for */

/* A filter of an index with rows gets rows of its own once it has served so many searches, and
 * finds a little less with them: recall and time are to be of the same way. */
static ann_err warm(struct contestant *c, size_t passing)
{
    const struct subject *u = c->impl;
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_info info = {.size = ANN_INFO_SIZE};
    ann_searcher *s = NULL;
    ann_err err = io_library(ann_index_info(u->ix, &info));
    if (err || info.row_bytes == 0)
        return err;
    p.k = c->settings->k;
    p.filter = u->filter;
    err = io_library(ann_searcher_open(u->ix, &p, &s));
    for (size_t left = passing / WARM + 1; left > 0 && !err;) {
        const size_t n = left < c->data->nq ? left : c->data->nq;
        err = runner_check_stop();
        if (!err)
            err = pass(s, c, n, u->ids);
        left -= n;
    }
    ann_searcher_close(s);
    return err;
}

ann_err subject_filter(struct contestant *c, const struct passing *p)
{
    struct subject *u = c->impl;
    struct outcome *r = &c->result;
    ann_filter_close(u->filter);
    u->filter = NULL;
    mem_free(u->passes);
    u->passes = mem_zalloc(p->data.n, 1);
    if (!u->passes)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for a filter");
    for (size_t i = 0; i < p->n; i++)
        u->passes[p->ids[i]] = 1;
    set_index_name(r);
    const size_t len = strlen(r->index);
    snprintf(r->index + len, sizeof r->index - len, " %s", p->name);
    r->npoints = 0;
    c->data = &p->data;
    const ann_err err = io_library(ann_filter_from_ids(u->ix, p->n, p->ids, &u->filter));
    return err ? err : warm(c, p->n);
}

/* ids [n] and their rows, one portion after another. */
static ann_err portions(struct contestant *c, const ann_id *ids, size_t n, bool update)
{
    struct subject *u = c->impl;
    const size_t dim = c->data->dim;
    float *rows = mem_alloc(PORTION * dim * sizeof *rows);
    ann_err err = rows ? ANN_OK : ANN_FAIL(ANN_ENOMEM, "out of memory for %d rows", PORTION);
    for (size_t at = 0, m; at < n && !err; at += m) {
        m = n - at < PORTION ? n - at : PORTION;
        for (size_t i = 0; i < m; i++)
            memcpy(rows + i * dim, c->data->base + ids[at + i] * dim, dim * sizeof *rows);
        const ann_view v = {rows, m, 0, ANN_F32};
        err = io_library(update ? ann_update(u->ix, v, ids + at)
                                : ann_add(u->ix, v, ids + at));
    }
    mem_free(rows);
    return err;
}

ann_err subject_churn(struct contestant *c)
{
    struct subject *u = c->impl;
    struct outcome *r = &c->result;
    const size_t n = c->data->n;
    ann_info info = {.size = ANN_INFO_SIZE};
    ann_id *ids = mem_zalloc(n, sizeof *ids);
    if (!ids)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %zu ids", n);
    uint64_t state = 42;
    for (size_t i = 0; i < n; i++)
        ids[i] = i;
    for (size_t i = 0; i < n; i++) { /* shuffled */
        const size_t j = i + (size_t)rng_below(&state, n - i);
        const ann_id other = ids[i];
        ids[i] = ids[j];
        ids[j] = other;
    }
    const double cpu = runner_clock(CLOCK_PROCESS_CPUTIME_ID);
    const double wall = runner_clock(CLOCK_MONOTONIC);
    ann_err err = io_library(ann_remove(u->ix, n / 2, ids, NULL));
    if (!err)
        err = portions(c, ids, n / 2, false);
    if (!err)
        err = portions(c, ids + n / 2, n / 10, true);
    if (!err)
        err = io_library(ann_compact(u->ix));
    if (!err)
        err = io_library(ann_index_info(u->ix, &info));
    mem_free(ids);
    r->build_s = runner_clock(CLOCK_MONOTONIC) - wall;
    r->build_cpu_s = runner_clock(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    r->memory_bytes = (double)info.memory_bytes;
    r->file_bytes = -1;
    r->npoints = 0;
    set_index_name(r);
    const size_t len = strlen(r->index);
    snprintf(r->index + len, sizeof r->index - len, " churned");
    return err;
}

ann_index *subject_index(const struct contestant *c)
{
    return ((const struct subject *)c->impl)->ix;
}

void subject_close(struct contestant *c)
{
    struct subject *u = c->impl;
    if (!u)
        return;
    ann_filter_close(u->filter);
    mem_free(u->passes);
    ann_close(u->ix);
    mem_free(u->converted);
    mem_free(u->ids);
    mem_free(u->lap);
    mem_free(u);
    c->impl = NULL;
}
