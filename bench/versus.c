/* versus.c - who takes part in `annbench peers`; see versus.h.
 *
 * Place: bench. */
#include <config.h>

#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "bench/contest.h"
#include "bench/files.h"
#include "bench/peers.h"
#include "bench/versus.h"

/* The names asked for, or all of the grid. */
static ann_err choose_peers(struct command *c, const struct grid *g)
{
    const char *name;
    if (c->npeers && !strcmp(c->peers[0], "none"))
        return c->npeers = 0, ANN_OK;
    if (!c->npeers)
        while (c->npeers < COMMAND_PEERS_MAX && (name = grid_peer(g, c->grid, c->npeers)))
            c->peers[c->npeers++] = name;
    for (size_t i = 0; i < c->npeers; i++)
        if (!grid_package_of(g, c->peers[i]))
            return ANN_FAIL(ANN_EINVAL, "\"%s\" is none of the peers in peers.json",
                            c->peers[i]);
    return ANN_OK;
}

/* Likewise for specs of kith. */
static void choose_specs(struct command *c, const struct grid *g)
{
    const char *spec;
    if (c->nspecs && !strcmp(c->specs[0], "none"))
        c->nspecs = 0;
    else if (!c->nspecs)
        while (c->nspecs < COMMAND_LIST_MAX && (spec = grid_spec(g, c->grid, c->nspecs)))
            c->specs[c->nspecs++] = spec;
}

ann_err versus_prepare(struct command *c, struct grid *g)
{
    char path[FILES_PATH_MAX];
    ann_err err = peers_file(path, "peers.json");
    if (!err)
        err = grid_load(g, path);
    if (!err && !grid_peer(g, c->grid, 0))
        err = ANN_FAIL(ANN_EINVAL, "\"%s\" is none of the grids in peers.json", c->grid);
    if (!err)
        err = choose_peers(c, g);
    if (err)
        return err;
    choose_specs(c, g);
    for (size_t i = 0; i < c->npeers && c->sweep; i++) {
        struct grid_setting s[GRID_STEPS_MAX];
        size_t width;
        if (grid_settings(g, c->peers[i], s, &width) && width > 1)
            return ANN_FAIL(ANN_EINVAL,
                            "%s is searched with two numbers, which --sweep has not room for",
                            c->peers[i]);
    }
    if (c->npeers + c->nspecs == 0)
        return ANN_FAIL(ANN_EINVAL, "neither peers nor specs: nobody takes part");
    return c->npeers ? peers_prepare(g, c->peers, c->npeers, c->run.quiet) : ANN_OK;
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

struct field {
    struct contestant items[CONTEST_MAX];
    struct contestant *list[CONTEST_MAX];
    size_t count;
};

static void remark(const struct run_settings *s, const struct dataset *d, const char *who,
                   const char *what)
{
    if (!s->quiet)
        fprintf(stderr, "%s: %s: %s ...\n", d->name, who, what);
}

static ann_err open_own(struct field *t, const struct command *c, const struct dataset *d)
{
    for (size_t i = 0; i < c->nspecs; i++) {
        struct contestant *x = &t->items[t->count];
        remark(&c->run, d, c->specs[i], "building");
        const ann_err err = subject_open(x, c->specs[i], d, &c->run);
        if (err)
            return err;
        /* Several may differ in their options only, so these are the name. */
        snprintf(x->result.index, sizeof x->result.index, "%s", c->specs[i]);
        x->result.own = true;
        if (c->run.batch_counts && !c->flat)
            x->single = false;
        t->list[t->count++] = x;
    }
    return ANN_OK;
}

/* A library that does not load or build is left out. */
static ann_err open_peers(struct field *t, const struct command *c, const struct dataset *d,
                          const struct peers_place *place)
{
    for (size_t i = 0; i < c->npeers; i++) {
        struct contestant *x = &t->items[t->count];
        remark(&c->run, d, c->peers[i], "building, or loading what was built");
        const ann_err err = peers_open(x, place, c->peers[i], d, &c->run);
        if (err && runner_stop)
            return err;
        if (err)
            fprintf(stderr, "annbench: left out: %s\n", error_message());
        else
            t->list[t->count++] = x;
    }
    return ANN_OK;
}

static ann_err meet(struct field *t, const struct command *c, const struct dataset *d,
                    struct outcomes *all)
{
    ann_err err;
    remark(&c->run, d, "all", "picking settings, then timing in turns");
    if (c->flat || c->sweep)
        err = runner_sweep(t->list, t->count, d, &c->run);
    else
        err = contest_run(t->list, t->count, d, &c->run);
    for (size_t i = 0; i < t->count && !err; i++) {
        t->list[i]->result.swept = c->sweep;
        if (!t->list[i]->lost)
            err = outcomes_keep(all, &t->list[i]->result);
    }
    return err;
}

ann_err versus_run(const struct command *c, const struct grid *g, const struct dataset *d,
                   struct outcomes *all)
{
    static struct field t; /* too large for the stack; one at a time */
    static struct peers_place place;
    char folder[FILES_PATH_MAX];
    memset(&t, 0, sizeof t);
    ann_err err = files_temporary(folder);
    if (err)
        return err;
    err = pin_process(c->run.pin);
    if (!err)
        err = peers_place(&place, g, d, folder, c->rebuild);
    if (!err)
        err = open_own(&t, c, d);
    if (!err)
        err = open_peers(&t, c, d, &place);
    if (!err)
        err = meet(&t, c, d, all);
    for (size_t i = 0; i < t.count; i++)
        (t.list[i]->result.own ? subject_close : peers_close)(t.list[i]);
    files_remove_folder(folder);
    return err;
}
