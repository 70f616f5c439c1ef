/* peers.c - hnswlib and faiss as contestants: their environment, their process, their answers.
 *
 * Place: bench.  Invariant: the versions are those named here; an environment with others is
 * brought to them or given up.  hnswlib is compiled on this machine for this machine, as its
 * authors would have it; faiss chooses its instruction set when it starts. */
#include <config.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "ann/io/json.h"
#include "bench/files.h"
#include "bench/peers.h"

#define NUMPY    "2.2.6"
#define HNSWLIB  "0.8.0"
#define FAISS    "1.15.1"
#define VERSIONS "numpy " NUMPY ", hnswlib " HNSWLIB ", faiss-cpu " FAISS

struct peer {
    struct process *process;
    const char *name;
    double *lap; /* [nq] */
};

/* Beside an installed annbench, else in the tree that it was built from. */
static ann_err find_script(char *path)
{
    char exe[FILES_PATH_MAX];
    const ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (len > 0) {
        exe[len] = 0;
        char *slash = strrchr(exe, '/');
        *slash = 0;
        if (files_join(path, exe, "../share/kith/peers.py") && files_exist(path))
            return ANN_OK;
    }
    static const char *const places[] = {PKGDATADIR "/peers.py", PEERS_SOURCE};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(path, FILES_PATH_MAX, "%s", places[i]);
        if (files_exist(path))
            return ANN_OK;
    }
    return ANN_FAIL(ANN_ENOENT, "peers.py is not there: neither %s nor %s", places[0],
                    places[1]);
}

static ann_err python_path(char *path)
{
    char folder[FILES_PATH_MAX];
    const ann_err err = files_cache(folder, "peers", false);
    if (err)
        return err;
    return files_join(path, folder, "bin/python")
               ? ANN_OK
               : ANN_FAIL(ANN_EINVAL, "%s: too long", folder);
}

/* What the environment has; "" if it is not there or not whole. */
static void read_versions(const char *python, const char *script, char *out, size_t len)
{
    char folder[FILES_PATH_MAX], log[FILES_PATH_MAX];
    const char *const argv[] = {python, script, "--versions", NULL};
    int status;
    *out = 0;
    if (!files_exist(python) || files_temporary(folder))
        return;
    files_join(log, folder, "versions");
    if (!process_run(argv, NULL, log, &status) && !status) {
        FILE *f = fopen(log, "r");
        if (f && fgets(out, (int)len, f))
            out[strcspn(out, "\n")] = 0;
        if (f)
            fclose(f);
    }
    files_remove_folder(folder);
}

static ann_err make_environment(const char *python, const char *log)
{
    char folder[FILES_PATH_MAX];
    int status;
    ann_err err = files_cache(folder, "peers", true);
    if (err || files_exist(python))
        return err;
    const char *const argv[] = {"python3", "-m", "venv", folder, NULL};
    err = process_run(argv, NULL, log, &status);
    if (!err && status)
        err = ANN_FAIL(ANN_ENOENT,
                       "no Python environment could be made; install it with: "
                       "apt-get install python3-venv python3-dev g++ (see %s)",
                       log);
    return err;
}

/* hnswlib comes as source: its build tools are pinned too, so pip fetches nothing else. */
static ann_err install(const char *python, const char *log)
{
    const char *const tools[] = {python,
                                 "-m",
                                 "pip",
                                 "install",
                                 "--retries",
                                 "2",
                                 "--disable-pip-version-check",
                                 "numpy==" NUMPY,
                                 "faiss-cpu==" FAISS,
                                 "setuptools==80.9.0",
                                 "wheel==0.45.1",
                                 "pybind11==2.13.6",
                                 NULL};
    const char *const source[] = {python,
                                  "-m",
                                  "pip",
                                  "install",
                                  "--retries",
                                  "2",
                                  "--disable-pip-version-check",
                                  "--no-build-isolation",
                                  "hnswlib==" HNSWLIB,
                                  NULL};
    int status;
    ann_err err = process_run(tools, NULL, log, &status);
    if (!err && status)
        return ANN_FAIL(ANN_EBUSY,
                        "pip could not fetch numpy and faiss-cpu (is there a network?);"
                        " see %s",
                        log);
    if (!err)
        err = process_run(source, NULL, log, &status);
    if (!err && status)
        return ANN_FAIL(ANN_EBUSY,
                        "pip could not fetch and compile hnswlib (it needs a network, "
                        "python3-dev and g++); see %s",
                        log);
    return err;
}

ann_err peers_prepare(bool quiet, char *versions, size_t len)
{
    char python[FILES_PATH_MAX], script[FILES_PATH_MAX], cache[FILES_PATH_MAX];
    char log[FILES_PATH_MAX];
    ann_err err = find_script(script);
    if (!err)
        err = python_path(python);
    if (!err)
        err = files_cache(cache, "", true);
    if (err)
        return err;
    read_versions(python, script, versions, len);
    if (!strcmp(versions, VERSIONS))
        return ANN_OK;
    if (!quiet)
        fprintf(stderr,
                "installing hnswlib and faiss-cpu into a private Python environment ...\n");
    if (!files_join(log, cache, "peers.log"))
        return ANN_FAIL(ANN_EINVAL, "%s: too long", cache);
    unlink(log);
    err = make_environment(python, log);
    if (!err)
        err = install(python, log);
    if (err)
        return err;
    read_versions(python, script, versions, len);
    if (strcmp(versions, VERSIONS))
        return ANN_FAIL(ANN_EIO,
                        "the Python environment has \"%s\", not \"%s\"; remove the folder "
                        "%speers and try again",
                        versions, VERSIONS, cache);
    return ANN_OK;
}

/* Sends *request, which is used up; *answer is released with js_free. */
static ann_err ask(struct process *p, struct js_out *request, struct js **answer)
{
    const char *line = NULL;
    js_shut(request, '}');
    ann_err err = request->failed ? ANN_FAIL(ANN_ENOMEM, "out of memory for a request")
                                  : process_ask(p, request->text, request->bytes, &line);
    js_out_free(request);
    if (!err)
        err = js_parse("answer of peers.py", line, strlen(line), 0, answer);
    if (err)
        return runner_stop ? runner_check_stop() : err;
    const char *wrong = js_string(js_get(*answer, "error"), NULL);
    if (wrong) {
        err = ANN_FAIL(ANN_EIO, "peers.py: %s", wrong);
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

ann_err peers_start(struct process *p, const struct dataset *d, const struct run_settings *s,
                    const char *folder)
{
    char python[FILES_PATH_MAX], script[FILES_PATH_MAX];
    char base[FILES_PATH_MAX], query[FILES_PATH_MAX];
    char omp[48], blas[48];
    struct js_out o;
    struct js *answer = NULL;
    ann_err err = find_script(script);
    if (!err)
        err = python_path(python);
    if (!err &&
        (!files_join(base, folder, "base.npy") || !files_join(query, folder, "query.npy")))
        err = ANN_FAIL(ANN_EINVAL, "%s: too long", folder);
    if (!err)
        err = dataset_write(base, IO_F32, d->base, d->n, d->dim);
    if (!err)
        err = dataset_write(query, IO_F32, d->query, d->nq, d->dim);
    if (err)
        return err;
    snprintf(omp, sizeof omp, "OMP_NUM_THREADS=%u", s->threads);
    snprintf(blas, sizeof blas, "OPENBLAS_NUM_THREADS=%u", s->threads);
    const char *const argv[] = {python, script, NULL};
    const char *const environment[] = {omp, blas, NULL};
    err = process_open(p, argv, environment);
    if (err)
        return err;
    begin(&o, "load");
    js_put_string(&o, "base", base);
    js_put_string(&o, "query", query);
    js_put_string(&o, "metric", dataset_metric_name(d->metric));
    js_put_u64(&o, "threads", s->threads);
    err = ask(p, &o, &answer);
    js_free(answer);
    if (err)
        process_close(p);
    return err;
}

static void begin_for(struct js_out *o, const char *what, const struct contestant *c,
                      size_t effort)
{
    const struct peer *u = c->impl;
    begin(o, what);
    js_put_string(o, "peer", u->name);
    js_put_u64(o, "k", c->settings->k);
    js_put_u64(o, "effort", effort);
    js_put_bool(o, "single", c->settings->single);
    js_put_bool(o, "batch", c->settings->batch);
}

static ann_err search(struct contestant *c, size_t effort, ann_id *ids, struct outcome_point *p)
{
    const struct peer *u = c->impl;
    const size_t want = c->data->nq * c->settings->k;
    struct js_out o;
    struct js *answer = NULL;
    (void)p;
    begin_for(&o, "search", c, effort);
    ann_err err = ask(u->process, &o, &answer);
    if (err)
        return err;
    const struct js *list = js_get(answer, "ids");
    if (js_count(list) != want)
        err = ANN_FAIL(ANN_EIO, "%zu ids came, not %zu", js_count(list), want);
    for (size_t i = 0; i < want && !err; i++) {
        const double id = js_number(js_at(list, i), -1);
        ids[i] = id < 0 ? ANN_NO_ID : (ann_id)id; /* faiss fills up with -1 */
    }
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

static ann_err time_all(struct contestant *c, size_t effort, struct timing *t)
{
    const struct peer *u = c->impl;
    struct js_out o;
    struct js *answer = NULL;
    *t = (struct timing){NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    begin_for(&o, "time", c, effort);
    js_put_double(&o, "seconds", RUNNER_PASS_S);
    js_put_double(&o, "slow", RUNNER_SLOW_S);
    js_put_double(&o, "most", RUNNER_MOST_S);
    const ann_err err = ask(u->process, &o, &answer);
    if (err)
        return err;
    t->single_s = js_number(js_get(answer, "single"), NAN);
    t->batch_s = js_number(js_get(answer, "batch"), NAN);
    read_laps(js_get(answer, "laps"), u->lap, c->data->nq, t);
    js_free(answer);
    return ANN_OK;
}

static ann_err build(struct contestant *c, const ann_options *o)
{
    const struct peer *u = c->impl;
    struct outcome *r = &c->result;
    struct js_out request;
    struct js *answer = NULL;
    begin(&request, "build");
    js_put_string(&request, "peer", u->name);
    js_put_u64(&request, "m", o->m);
    js_put_u64(&request, "ef_construction", o->ef_construction);
    js_put_bool(&request, "file", c->settings->file);
    const ann_err err = ask(u->process, &request, &answer);
    if (err)
        return err;
    r->build_s = js_number(js_get(answer, "wall"), NAN);
    r->build_cpu_s = js_number(js_get(answer, "cpu"), NAN);
    r->memory_bytes = js_number(js_get(answer, "memory"), -1);
    r->file_bytes = js_number(js_get(answer, "file"), -1);
    js_free(answer);
    return ANN_OK;
}

ann_err peers_open(struct contestant *c, struct process *p, const char *name,
                   const ann_options *o, const struct dataset *d, const struct run_settings *s)
{
    runner_init(c, d, s);
    const bool flat = !strcmp(name, "faiss-flat");
    snprintf(c->result.index, sizeof c->result.index, "%s", name);
    if (flat)
        snprintf(c->result.spec, sizeof c->result.spec, "IndexFlat, faiss-cpu %s", FAISS);
    else
        snprintf(c->result.spec, sizeof c->result.spec, "m=%u,ef_construction=%u, %s", o->m,
                 o->ef_construction,
                 strcmp(name, "hnswlib") ? "faiss-cpu " FAISS : "hnswlib " HNSWLIB);
    c->has_effort = !flat;
    c->best_counts = true;
    c->search = search;
    c->time = time_all;
    struct peer *u = c->impl = mem_zalloc(1, sizeof *u);
    if (u) {
        u->process = p;
        u->name = name;
        u->lap = mem_zalloc(d->nq, sizeof *u->lap);
    }
    ann_err err =
        u && u->lap ? build(c, o) : ANN_FAIL(ANN_ENOMEM, "out of memory for the results");
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
    mem_free(u->lap);
    mem_free(u);
    c->impl = NULL;
}
