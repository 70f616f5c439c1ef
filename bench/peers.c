/* peers.c - other libraries as contestants: their processes, requests and answers.
 *
 * Place: bench.  Invariant: one process for each, asked for one thing at a time, so that no two
 * ever work together. */
#include <config.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ann/base/memory.h"
#include "bench/files.h"
#include "bench/peers.h"
#include "bench/truth.h"

struct peer {
    struct process process;
    struct grid_setting settings[GRID_STEPS_MAX];
    const char *name;
    double *lap;       /* [nq] */
    bool batches;      /* takes many queries at once */
    uint64_t repeated; /* ids that came twice in a result */
};

ann_err peers_place(struct peers_place *p, const struct grid *g, const struct dataset *d,
                    const char *folder, bool rebuild)
{
    char all[FILES_PATH_MAX], name[DATASET_NAME_MAX + 64];
    p->grid = g;
    p->rebuild = rebuild;
    ann_err err = files_cache(all, "indexes", true);
    if (err)
        return err;
    snprintf(name, sizeof name, "%s-%s-%016llx", d->name, dataset_metric_name(d->metric),
             (unsigned long long)truth_fingerprint(d));
    for (char *c = name; *c; c++)
        if (*c == '/')
            *c = '_';
    if (!files_join(p->base, folder, "base.npy") ||
        !files_join(p->query, folder, "query.npy") || !files_join(p->indexes, all, name))
        return ANN_FAIL(ANN_EINVAL, "%s: too long", folder);
    err = dataset_write(p->base, IO_F32, d->base, d->n, d->dim);
    return err ? err : dataset_write(p->query, IO_F32, d->query, d->nq, d->dim);
}

/* Sends *request, which is used up; *answer is released with js_free. */
static ann_err ask(struct peer *u, struct js_out *request, struct js **answer)
{
    const char *line = NULL;
    js_shut(request, '}');
    ann_err err = request->failed
                      ? ANN_FAIL(ANN_ENOMEM, "out of memory for a request")
                      : process_ask(&u->process, request->text, request->bytes, &line);
    js_out_free(request);
    if (!err)
        err = js_parse("answer of serve.py", line, strlen(line), 0, answer);
    if (err)
        return runner_stop ? runner_check_stop() : err;
    const char *wrong = js_string(js_get(*answer, "error"), NULL);
    if (wrong) {
        err = ANN_FAIL(ANN_ENOTSUP, "%s", wrong);
        js_free(*answer);
        *answer = NULL;
    }
    return err;
}

static void begin(struct js_out *o, const char *what)
{
    *o = (struct js_out)JS_OUT_INIT;
    js_open(o, NULL, '{');
    js_put_string(o, "do", what);
}

static ann_err start(struct peer *u, const struct peers_place *place, const struct dataset *d,
                     const struct run_settings *s)
{
    char python[FILES_PATH_MAX], script[FILES_PATH_MAX];
    char omp[48], blas[48];
    struct js_out o;
    struct js *answer = NULL;
    ann_err err = peers_file(script, "serve.py");
    if (!err)
        err = peers_python(python);
    if (err)
        return err;
    snprintf(omp, sizeof omp, "OMP_NUM_THREADS=%u", s->threads);
    snprintf(blas, sizeof blas, "OPENBLAS_NUM_THREADS=%u", s->threads);
    const char *const argv[] = {python, script, NULL};
    const char *const environment[] = {omp, blas, NULL};
    err = process_open(&u->process, argv, environment);
    if (err)
        return err;
    begin(&o, "load");
    js_put_string(&o, "base", place->base);
    js_put_string(&o, "query", place->query);
    js_put_string(&o, "metric", dataset_metric_name(d->metric));
    js_put_u64(&o, "n", d->n);
    js_put_u64(&o, "threads", s->threads);
    err = ask(u, &o, &answer);
    js_free(answer);
    return err;
}

static ann_err build(struct contestant *c, const struct peers_place *place)
{
    struct peer *u = c->impl;
    struct outcome *r = &c->result;
    char folder[FILES_PATH_MAX];
    struct js_out request;
    struct js *answer = NULL;
    if (!files_join(folder, place->indexes, u->name))
        return ANN_FAIL(ANN_EINVAL, "%s: too long", place->indexes);
    begin(&request, "open");
    js_put_string(&request, "peer", u->name);
    js_put_string(&request, "folder", folder);
    js_put_bool(&request, "rebuild", place->rebuild);
    const ann_err err = ask(u, &request, &answer);
    if (err)
        return err;
    r->build_s = js_number(js_get(answer, "wall"), NAN);
    r->build_cpu_s = js_number(js_get(answer, "cpu"), NAN);
    r->train_s = js_number(js_get(answer, "train_wall"), NAN);
    r->train_cpu_s = js_number(js_get(answer, "train_cpu"), NAN);
    r->memory_bytes = js_number(js_get(answer, "memory"), -1);
    r->file_bytes = js_number(js_get(answer, "file"), -1);
    u->batches = js_bool(js_get(answer, "batches"), false);
    snprintf(r->spec, sizeof r->spec, "%s, %s%s", js_string(js_get(answer, "spec"), ""),
             js_string(js_get(answer, "package"), ""),
             js_bool(js_get(answer, "found"), false) ? ", built earlier" : "");
    js_free(answer);
    return ANN_OK;
}

static void begin_for(struct js_out *o, const char *what, const struct contestant *c,
                      size_t step)
{
    const struct peer *u = c->impl;
    begin(o, what);
    js_open(o, "setting", '[');
    for (size_t i = 0; step && i < u->settings[step - 1].count; i++)
        js_put_double(o, NULL, u->settings[step - 1].v[i]);
    js_shut(o, ']');
    if (c->half >= 0)
        js_put_u64(o, "half", (uint64_t)c->half);
    js_put_u64(o, "k", c->settings->k);
    js_put_bool(o, "single", c->single);
    js_put_bool(o, "batch", c->batch);
}

/* The efforts asked for, where the ladder is of one whole number and they mean the same. */
static void take_efforts(struct contestant *c, const struct run_settings *s)
{
    struct peer *u = c->impl;
    if (!s->nefforts || c->width != 1 || !(u->settings[0].v[0] >= 1))
        return;
    c->nsteps = s->nefforts;
    for (size_t i = 0; i < s->nefforts; i++)
        u->settings[i] = (struct grid_setting){{(double)s->efforts[i], 0}, 1};
}

/* How a setting is shown: an ef as effort, anything else in words. */
static void name_setting(const struct peer *u, size_t step, struct outcome_point *p)
{
    const struct grid_setting *s = &u->settings[step - 1];
    p->effort = s->count == 1 && s->v[0] >= 1 ? (size_t)s->v[0] : 0;
    grid_setting_text(s, p->setting, sizeof p->setting);
}

static ann_err search(struct contestant *c, size_t step, ann_id *ids, struct outcome_point *p)
{
    struct peer *u = c->impl;
    const size_t want = c->data->nq * c->settings->k;
    struct js_out o;
    struct js *answer = NULL;
    if (step)
        name_setting(u, step, p);
    begin_for(&o, "search", c, step);
    ann_err err = ask(u, &o, &answer);
    if (err)
        return err;
    const struct js *list = js_get(answer, "ids");
    if (js_count(list) != want)
        err = ANN_FAIL(ANN_EIO, "%zu ids came, not %zu", js_count(list), want);
    for (size_t i = 0; i < want && !err; i++) {
        const double id = js_number(js_at(list, i), -1);
        ids[i] = id < 0 ? ANN_NO_ID : (ann_id)id; /* what was not found is -1 */
    }
    if (!err)
        u->repeated += metrics_drop_repeated(ids, c->data->nq, c->settings->k);
    p->qps_single = 1 / js_number(js_get(answer, "single"), NAN);
    p->qps_batch = 1 / js_number(js_get(answer, "batch"), NAN);
    js_free(answer);
    return err;
}

static void read_laps(const struct js *list, double *lap, size_t most, struct timing *t)
{
    const size_t n = js_count(list) < most ? js_count(list) : most;
    double sum = 0;
    if (!n)
        return;
    for (size_t i = 0; i < n; i++)
        sum += lap[i] = js_number(js_at(list, i), NAN);
    metrics_sort(lap, n);
    t->mean_us = sum / (double)n;
    t->p50_us = metrics_quantile(lap, n, 0.5);
    t->p95_us = metrics_quantile(lap, n, 0.95);
    t->p99_us = metrics_quantile(lap, n, 0.99);
    t->p999_us = metrics_quantile(lap, n, 0.999);
}

static ann_err time_all(struct contestant *c, size_t step, struct timing *t)
{
    struct peer *u = c->impl;
    struct js_out o;
    struct js *answer = NULL;
    *t = (struct timing){NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    begin_for(&o, "time", c, step);
    js_put_double(&o, "seconds", c->settings->pass_s);
    js_put_double(&o, "most", RUNNER_MOST_S);
    js_put_bool(&o, "cpu_clock", c->settings->cpu_clock);
    const ann_err err = ask(u, &o, &answer);
    if (err)
        return err;
    t->single_s = js_number(js_get(answer, "single"), NAN);
    t->batch_s = js_number(js_get(answer, "batch"), NAN);
    read_laps(js_get(answer, "laps"), u->lap, c->data->nq, t);
    js_free(answer);
    return ANN_OK;
}

ann_err peers_open(struct contestant *c, const struct peers_place *place, const char *name,
                   const struct dataset *d, const struct run_settings *s)
{
    runner_init(c, d, s);
    snprintf(c->result.index, sizeof c->result.index, "%s", name);
    c->best_counts = true;
    c->search = search;
    c->time = time_all;
    struct peer *u = c->impl = mem_zalloc(1, sizeof *u);
    ann_err err = ANN_OK;
    if (u) {
        u->name = name;
        c->nsteps = grid_settings(place->grid, name, u->settings, &c->width);
        c->has_effort = c->nsteps > 0;
        if (c->has_effort)
            take_efforts(c, s);
        u->lap = mem_zalloc(d->nq, sizeof *u->lap);
    }
    if (!u || !u->lap)
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for the results");
    if (!err)
        err = start(u, place, d, s);
    if (!err)
        err = build(c, place);
    if (!err && !u->batches)
        c->batch = false;
    if (err) {
        peers_close(c);
        return error_prefix(err, name);
    }
    return ANN_OK;
}

void peers_close(struct contestant *c)
{
    struct peer *u = c->impl;
    if (!u)
        return;
    if (u->repeated)
        fprintf(stderr, "annbench: %s gave %llu ids twice in one result; each counted once\n",
                u->name, (unsigned long long)u->repeated);
    process_close(&u->process);
    mem_free(u->lap);
    mem_free(u);
    c->impl = NULL;
}
