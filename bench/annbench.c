/* annbench.c - the program: loads data, measures what was asked for, reports.
 *
 * Place: bench, on top.  Sees ann.h for the indexes and ann/io for data; see
 * docs/benchmarking.md for the method. */
#include <config.h>

#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ann/base/error.h"
#ifdef HAVE_HDF5
#include "ann/io/hdf5.h"
#endif
#include "bench/command.h"
#include "bench/display.h"
#include "bench/files.h"
#include "bench/peers.h"
#include "bench/truth.h"

static void on_signal(int signal)
{
    (void)signal;
    runner_stop = 1;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static int status_of(ann_err err)
{
    switch (err) {
    case ANN_OK:
        return EXIT_SUCCESS;
    case ANN_EDAMAGED:
        return 4;
    case ANN_EBUSY: /* how bench says that something could not be fetched */
        return EXIT_UNAVAILABLE;
    case ANN_ECANCELED:
        return EXIT_INTERRUPTED;
    default:
        return EXIT_FAILURE;
    }
}

static ann_err keep(struct outcomes *all, const struct outcome *r)
{
    struct outcome *o = outcomes_add(all);
    if (!o)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for the results");
    *o = *r;
    return ANN_OK;
}

static void remark(const struct run_settings *s, const char *dataset, const char *spec,
                   const char *what)
{
    if (!s->quiet)
        fprintf(stderr, "%s: %s: %s ...\n", dataset, spec, what);
}

/* One index after another, so that each has the machine's memory for itself. */
static ann_err measure(const struct command *c, const struct dataset *d, struct outcomes *all)
{
    for (size_t i = 0; i < c->nspecs; i++) {
        struct contestant x;
        struct contestant *const list[] = {&x};
        remark(&c->run, d->name, c->specs[i], "building and searching");
        ann_err err = subject_open(&x, c->specs[i], d, &c->run);
        if (err)
            return err;
        err = runner_sweep(list, 1, d, &c->run);
        if (!err)
            err = keep(all, &x.result);
        subject_close(&x);
        if (err)
            return err;
    }
    return ANN_OK;
}

/* Ties the whole process, and so its children, to one processor. */
static ann_err pin_process(int cpu)
{
    cpu_set_t one;
    if (cpu < 0)
        return ANN_OK;
    CPU_ZERO(&one);
    CPU_SET((unsigned)cpu, &one);
    return sched_setaffinity(0, sizeof one, &one)
               ? ANN_FAIL(ANN_EINVAL, "processor %d cannot be used", cpu)
               : ANN_OK;
}

#define CONTESTANTS_MAX (COMMAND_LIST_MAX + 2)

struct contest {
    struct contestant items[CONTESTANTS_MAX];
    struct contestant *list[CONTESTANTS_MAX];
    size_t own, count;
};

/* The peers get what the first index has, so that the graphs are alike. */
static ann_err peer_options(const struct command *c, const struct dataset *d, ann_options *o)
{
    const ann_options start = ANN_OPTIONS_INIT;
    char spec[OUTCOME_SPEC_MAX];
    *o = start;
    o->dim = (uint32_t)d->dim;
    o->metric = d->metric;
    ann_err err = io_library(ann_options_parse(o, c->specs[0]));
    if (!err)
        err = io_library(ann_options_spec(o, spec, sizeof spec));
    o->m = o->m ? o->m : ANN_M_DEFAULT;
    o->ef_construction = o->ef_construction ? o->ef_construction : ANN_EF_CONSTRUCTION_DEFAULT;
    return err;
}

static ann_err open_all(struct contest *t, const struct command *c, const struct dataset *d,
                        struct process *p)
{
    static const char *const graphs[] = {"hnswlib", "faiss-hnsw"};
    static const char *const exact[] = {"faiss-flat"};
    const char *const *names = c->flat ? exact : graphs;
    ann_options o;
    ann_err err = peer_options(c, d, &o);
    for (size_t i = 0; i < c->nspecs && !err; i++) {
        remark(&c->run, d->name, c->specs[i], "building");
        err = subject_open(&t->items[t->count], c->specs[i], d, &c->run);
        if (!err)
            t->list[t->count] = &t->items[t->count], t->own = ++t->count;
    }
    for (size_t i = 0; i < (c->flat ? 1 : 2) && !err; i++) {
        remark(&c->run, d->name, names[i], "building");
        err = peers_open(&t->items[t->count], p, names[i], &o, d, &c->run);
        if (!err)
            t->list[t->count] = &t->items[t->count], t->count++;
    }
    return err;
}

static void close_all(struct contest *t)
{
    for (size_t i = 0; i < t->count; i++)
        (i < t->own ? subject_close : peers_close)(t->list[i]);
}

static ann_err measure_peers(const struct command *c, const struct dataset *d,
                             struct outcomes *all)
{
    static struct contest t; /* too large for the stack; one at a time */
    char folder[FILES_PATH_MAX];
    struct process p = {0};
    memset(&t, 0, sizeof t);
    ann_err err = files_temporary(folder);
    if (err)
        return err;
    err = pin_process(c->run.pin);
    if (!err)
        err = peers_start(&p, d, &c->run, folder);
    if (!err)
        err = open_all(&t, c, d, &p);
    if (!err) {
        remark(&c->run, d->name, "all", "searching in turns");
        err = runner_sweep(t.list, t.count, d, &c->run);
    }
    for (size_t i = 0; i < t.count && !err; i++)
        err = keep(all, &t.items[i].result);
    close_all(&t);
    process_close(&p);
    files_remove_folder(folder);
    return err;
}

/* The median latency at a recall, as a rate: time that other work took from one query in a
 * hundred does not show in it. */
static struct metrics_at median_rate(const struct outcome *r, double recall)
{
    struct metrics_pair pairs[OUTCOME_POINTS_MAX];
    for (size_t i = 0; i < r->npoints; i++)
        pairs[i] = (struct metrics_pair){r->points[i].recall, 1e6 / r->points[i].p50_us};
    return metrics_interpolate(pairs, r->npoints, recall);
}

static void print_quotient(struct metrics_at a, struct metrics_at b, double recall)
{
    const double ratio = a.qps / b.qps;
    if (isfinite(ratio))
        printf("  %.2f%s at %g", ratio, a.at_least || b.at_least ? "*" : "", recall);
    else
        printf("  - at %g", recall);
}

static void print_ratio(const struct outcome *a, const struct outcome *b)
{
    printf("  %s against %s:", a->index, b->index);
    if (a->npoints == 1 && b->npoints == 1) {
        printf("  %.2f", a->points[0].qps / b->points[0].qps);
    } else {
        for (size_t t = 0; t < a->ntargets; t++)
            print_quotient(a->at[t], b->at[t], a->targets[t]);
        printf("\n    by median latency:");
        for (size_t t = 0; t < a->ntargets; t++)
            print_quotient(median_rate(a, a->targets[t]), median_rate(b, a->targets[t]),
                           a->targets[t]);
    }
    if (a->build_s > 0 && b->build_s > 0)
        printf("\n    build: %.2f of its time, %.2f of its CPU time", a->build_s / b->build_s,
               a->build_cpu_s / b->build_cpu_s);
    putchar('\n');
}

/* Queries a second of kith, one at a time (in batches with --flat), over those of each peer in
 * its better way. */
static void print_ratios(const struct command *c, const struct outcomes *all)
{
    for (size_t i = 0; i < all->count;) {
        const size_t end = outcomes_group_end(all, i);
        printf("\n%s, queries a second of kith over those of its peers:\n",
               all->items[i].dataset);
        for (size_t own = i; own < i + c->nspecs; own++)
            for (size_t peer = i + c->nspecs; peer < end; peer++)
                print_ratio(&all->items[own], &all->items[peer]);
        i = end;
    }
    if (!c->flat)
        printf("  (* one of the two was above that recall at its lowest effort)\n");
}

static ann_err write_json(const char *path, const struct outcomes *all)
{
    if (!strcmp(path, "-"))
        return outcome_write_json(all, stdout);
    FILE *f = fopen(path, "w");
    if (!f)
        return ANN_FAIL(ANN_EIO, "%s cannot be written", path);
    ann_err err = outcome_write_json(all, f);
    if (fclose(f) && !err)
        err = ANN_FAIL(ANN_EIO, "%s cannot be written", path);
    return err;
}

static ann_err write_report(const struct command *c, int argc, char **argv,
                            const struct outcomes *all)
{
    char line[1024] = "annbench";
    size_t len = strlen(line);
    for (int i = 1; i < argc && len < sizeof line; i++)
        len += (size_t)snprintf(line + len, sizeof line - len, " %s", argv[i]);
    FILE *f = fopen(c->report, "w");
    if (!f)
        return ANN_FAIL(ANN_EIO, "%s cannot be written", c->report);
    ann_err err = outcome_write_html(all, line, f);
    if (fclose(f) && !err)
        err = ANN_FAIL(ANN_EIO, "%s cannot be written", c->report);
    if (!err && !c->run.quiet)
        fprintf(stderr, "report: %s\n", c->report);
    return err;
}

static unsigned terminal_columns(void)
{
    struct winsize w;
    return !ioctl(1, TIOCGWINSZ, &w) && w.ws_col ? w.ws_col : 100;
}

/* argv: as it was given, for the report. */
static ann_err run(const struct command *c, int argc, char **argv)
{
    struct outcomes all = {0};
    ann_err err = ANN_OK;
    for (size_t i = 0; i < c->ndata && !err; i++) {
        struct dataset d;
        err = dataset_load(c->data[i], c->metric, &d);
        if (err)
            break;
        err = truth_ensure(&d, c->run.k,
                           c->verb == COMMAND_PEERS ? ann_threads_default() : c->run.threads,
                           c->run.quiet);
        if (!err)
            err = c->verb == COMMAND_PEERS ? measure_peers(c, &d, &all) : measure(c, &d, &all);
        dataset_free(&d);
    }
    /* With JSON on standard output nothing else goes there. */
    const bool table = !c->json || strcmp(c->json, "-");
    if (!err && table) {
        outcome_print(&all, stdout, terminal_columns(), isatty(1) && !getenv("NO_COLOR"));
        if (c->verb == COMMAND_PEERS)
            print_ratios(c, &all);
    }
    if (!err && c->json)
        err = write_json(c->json, &all);
    if (!err && c->report)
        err = write_report(c, argc, argv, &all);
    outcomes_free(&all);
    return err;
}

static ann_err data(const struct command *c)
{
    if (!c->ndata)
        known_list();
    for (size_t i = 0; i < c->ndata; i++) {
        const ann_err err = known_prepare(c->data[i], c->run.quiet);
        if (err)
            return err;
    }
    return ANN_OK;
}

int main(int argc, char **argv)
{
    struct command c;
    struct progress progress;
    char versions[256];
    ann_err err = ANN_OK;
#ifdef HAVE_HDF5
    hdf5_enable();
#endif
    char *given[64]; /* getopt sorts argv */
    for (int i = 0; i < argc && i < 64; i++)
        given[i] = argv[i];
    const int status = command_parse(argc, argv, &c);
    if (status >= 0)
        return status;
    catch_signals();
    progress_init(&progress, c.run.quiet, &runner_stop);
    c.run.progress = &progress;
    if (c.verb == COMMAND_PEERS)
        err = peers_prepare(c.run.quiet, versions, sizeof versions);
    if (!err)
        err = c.verb == COMMAND_DATA ? data(&c) : run(&c, argc < 64 ? argc : 64, given);
    progress_clear(&progress);
    if (err && runner_stop)
        err = runner_check_stop(); /* whatever failed, that was why: a child stops too */
    if (err)
        fprintf(stderr, "annbench: %s\n", error_message());
    return fflush(stdout) ? EXIT_FAILURE : status_of(err);
}
