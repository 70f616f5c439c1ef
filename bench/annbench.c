/* annbench.c - the program: loads data, measures what was asked for, reports.
 *
 * Place: bench, on top.  Sees ann.h for the indexes and ann/io for data; see
 * docs/benchmarking.md for the method. */
#include <config.h>

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
#include "bench/asked.h"
#include "bench/command.h"
#include "bench/compare.h"
#include "bench/display.h"
#include "bench/truth.h"
#include "bench/versus.h"

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

/* As built, churned, then with each filter. */
static ann_err sweep(const struct command *c, struct contestant *x, const struct dataset *d,
                     struct outcomes *all)
{
    struct contestant *const list[] = {x};
    ann_err err = runner_sweep(list, 1, d, &c->run);
    if (!err && c->calibrate)
        err = asked_measure(x, d, &c->run);
    if (!err)
        err = outcomes_keep(all, &x->result);
    x->result.nasked = 0;
    if (c->churn && !err) {
        err = subject_churn(x);
        if (!err)
            err = runner_sweep(list, 1, d, &c->run);
        if (!err)
            err = outcomes_keep(all, &x->result);
    }
    for (size_t i = 0; i < c->nfilters && !err; i++) {
        err = subject_filter(x, &c->filters[i]);
        if (!err)
            err = runner_sweep(list, 1, &c->filters[i].data, &c->run);
        if (!err)
            err = outcomes_keep(all, &x->result);
    }
    return err;
}

/* One index after another, so that each has the machine's memory for itself. */
static ann_err measure(const struct command *c, const struct dataset *d, struct outcomes *all)
{
    for (size_t i = 0; i < c->nspecs; i++) {
        struct contestant x;
        if (!c->run.quiet)
            fprintf(stderr, "%s: %s: building and searching ...\n", d->name, c->specs[i]);
        ann_err err = subject_open(&x, c->specs[i], d, &c->run);
        if (err)
            return err;
        err = sweep(c, &x, d, all);
        subject_close(&x);
        if (err)
            return err;
    }
    return ANN_OK;
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

/* argv: as it was given, for the report; g: of peers. */
static ann_err run(struct command *c, const struct grid *g, int argc, char **argv)
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
        for (size_t j = 0; j < c->nfilters && !err; j++)
            err = passing_draw(&c->filters[j], &d, c->run.k, c->run.threads, c->run.quiet);
        if (!err)
            err = c->verb == COMMAND_PEERS ? versus_run(c, g, &d, &all) : measure(c, &d, &all);
        for (size_t j = 0; j < c->nfilters; j++)
            passing_free(&c->filters[j]);
        dataset_free(&d);
    }
    /* With JSON on standard output nothing else goes there. */
    const bool table = !c->json || strcmp(c->json, "-");
    if (!err && table) {
        outcome_print(&all, stdout, terminal_columns(), isatty(1) && !getenv("NO_COLOR"));
        if (c->verb == COMMAND_PEERS)
            compare_print(&all, stdout);
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
    struct grid grid = {NULL};
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
    if (ann_env_error())
        fprintf(stderr, "annbench: %s\n", ann_env_error());
    progress_init(&progress, c.run.quiet, &runner_stop);
    c.run.progress = &progress;
    if (c.verb == COMMAND_PEERS)
        err = versus_prepare(&c, &grid);
    if (!err)
        err = c.verb == COMMAND_DATA ? data(&c) : run(&c, &grid, argc < 64 ? argc : 64, given);
    grid_free(&grid);
    progress_clear(&progress);
    if (err && runner_stop)
        err = runner_check_stop(); /* whatever failed, that was why: a child stops too */
    if (err)
        fprintf(stderr, "annbench: %s\n", error_message());
    return fflush(stdout) ? EXIT_FAILURE : status_of(err);
}
