/* runner.c - the sweep: efforts from k upwards until the asked recall, then rounds of timing.
 *
 * Place: bench.  The first pass of an effort counts results (recall, distances, hops) and is
 * not timed.  Then each round goes over all efforts, and at each over all contestants, so that
 * what the machine does meanwhile falls on all of them alike.  Of the passes of a round the
 * fastest counts, as a pass is only ever slowed down; figures are medians over the rounds. */
#include <config.h>

#include <math.h>
#include <string.h>
#include <time.h>

#include "ann/base/memory.h"
#include "bench/runner.h"

#define LADDER_STEP    1.4142135623730951
#define EFFORT_CAP     8192
#define SWEEP_BUDGET_S 25.0 /* the untimed passes of one contestant stop after this */
#define STALL          8    /* steps without a gain and the rest of a ladder is left */
#define NO_GAIN        0.001 /* of recall over them */
#define BEYOND         0.3  /* of the way from the highest asked recall to 1 is far enough */

volatile sig_atomic_t runner_stop;

ann_err runner_check_stop(void)
{
    return runner_stop ? ANN_FAIL(ANN_ECANCELED, "interrupted") : ANN_OK;
}

double runner_clock(int clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void runner_init(struct contestant *c, const struct dataset *d, const struct run_settings *s)
{
    struct outcome *r = &c->result;
    memset(c, 0, sizeof *c);
    c->data = d;
    c->settings = s;
    c->single = s->single;
    c->batch = s->batch;
    c->half = -1;
    c->lowest = s->k;
    memcpy(r->dataset, d->name, sizeof r->dataset);
    r->n = d->n;
    r->nq = d->nq;
    r->dim = d->dim;
    r->metric = d->metric;
    r->k = s->k;
    r->threads = s->threads;
    r->rounds = s->rounds;
    r->batch = s->batch_counts;
    r->batch_size = d->nq;
    r->build_s = r->build_cpu_s = r->train_s = r->train_cpu_s = NAN;
    r->memory_bytes = r->file_bytes = r->peak_rss_bytes = -1;
    r->ntargets = s->ntargets;
    memcpy(r->targets, s->targets, sizeof r->targets);
}

double runner_enough(const struct run_settings *s)
{
    double most = 0;
    for (size_t i = 0; i < s->ntargets; i++)
        most = s->targets[i] > most ? s->targets[i] : most;
    return most + BEYOND * (1 - most);
}

size_t runner_effort(const struct contestant *c, size_t first, size_t i)
{
    const struct run_settings *s = c->settings;
    if (c->nsteps)
        return i < c->nsteps ? i + 1 : 0;
    if (!c->has_effort || s->nefforts)
        return c->has_effort && i < s->nefforts ? s->efforts[i] : 0;
    if (first < 2 && i == 0)
        return 1;
    const size_t more = first < 2 ? i - 1 : i; /* 1, 2, 3, 4, 6: not 1 twice */
    const double effort = rint(fmax(2, (double)first) * pow(LADDER_STEP, (double)more));
    return i < OUTCOME_POINTS_MAX && effort <= EFFORT_CAP ? (size_t)effort : 0;
}

struct outcome_point runner_point(size_t effort)
{
    return (struct outcome_point){.effort = effort,
                                  .qps = NAN,
                                  .qps_low = NAN,
                                  .qps_high = NAN,
                                  .qps_single = NAN,
                                  .qps_batch = NAN,
                                  .mean_us = NAN,
                                  .p50_us = NAN,
                                  .p95_us = NAN,
                                  .p99_us = NAN,
                                  .p999_us = NAN,
                                  .distances = NAN,
                                  .hops = NAN};
}

static ann_err find_point(struct contestant *c, size_t effort, const struct dataset *d,
                          const double *limits, ann_id *ids)
{
    struct outcome_point p = runner_point(effort);
    ann_err err = runner_check_stop();
    if (!err)
        err = c->search(c, effort, ids, &p);
    if (!err)
        err = metrics_recall(d, limits, ids, c->result.k, &p.recall);
    if (err)
        return error_prefix(err, c->result.index);
    c->result.points[c->result.npoints++] = p;
    return ANN_OK;
}

/* Whether the recall has stood still: all that is in reach has been found. */
static bool stalled(const struct outcome *r)
{
    const size_t n = r->npoints;
    return n > STALL && r->points[n - 1].recall < r->points[n - 1 - STALL].recall + NO_GAIN;
}

static ann_err find_points(struct contestant *c, const struct dataset *d,
                           const struct run_settings *s, const double *limits, ann_id *ids)
{
    const double began = runner_clock(CLOCK_MONOTONIC), enough = runner_enough(s);
    if (!c->has_effort)
        return find_point(c, 0, d, limits, ids);
    for (size_t i = 0, effort;
         i < OUTCOME_POINTS_MAX && (effort = runner_effort(c, c->lowest, i)); i++) {
        const ann_err err = find_point(c, effort, d, limits, ids);
        if (err)
            return err;
        const bool far = c->result.points[i].recall >= enough && i > 0;
        const bool late = runner_clock(CLOCK_MONOTONIC) - began > SWEEP_BUDGET_S;
        if (!s->nefforts && (far || late || stalled(&c->result)))
            break;
        if (s->progress)
            progress_step(s->progress, "finding efforts", i + 1, OUTCOME_POINTS_MAX);
    }
    return ANN_OK;
}

/* One figure of all rounds: its median. */
static double middle(const struct timing *t, unsigned rounds, size_t offset)
{
    double v[RUNNER_ROUNDS_MAX] = {0};
    for (unsigned r = 0; r < rounds; r++)
        memcpy(&v[r], (const char *)&t[r] + offset, sizeof v[r]);
    return isnan(v[0]) ? NAN : metrics_median(v, rounds);
}

double runner_rate(const struct contestant *c, double single_s, double batch_s)
{
    if (c->best_counts)
        return fmax(1 / single_s, 1 / batch_s); /* fmax passes a NAN over */
    return 1 / (c->settings->batch_counts ? batch_s : single_s);
}

void runner_settle(const struct contestant *c, struct outcome_point *p, const struct timing *t)
{
    const struct run_settings *s = c->settings;
    p->qps_single = 1 / middle(t, s->rounds, offsetof(struct timing, single_s));
    p->qps_batch = 1 / middle(t, s->rounds, offsetof(struct timing, batch_s));
    p->mean_us = middle(t, s->rounds, offsetof(struct timing, mean_us));
    p->p50_us = middle(t, s->rounds, offsetof(struct timing, p50_us));
    p->p95_us = middle(t, s->rounds, offsetof(struct timing, p95_us));
    p->p99_us = middle(t, s->rounds, offsetof(struct timing, p99_us));
    p->p999_us = middle(t, s->rounds, offsetof(struct timing, p999_us));
    if (!c->single)
        p->mean_us = 1e6 / p->qps_batch;
    p->qps = runner_rate(c, 1 / p->qps_single, 1 / p->qps_batch);
    p->qps_low = p->qps_high = p->qps;
    for (unsigned r = 0; r < s->rounds; r++) {
        const double rate = runner_rate(c, t[r].single_s, t[r].batch_s);
        p->qps_low = fmin(p->qps_low, rate);
        p->qps_high = fmax(p->qps_high, rate);
    }
}

static ann_err time_rounds(struct contestant *const *all, size_t count, size_t most,
                           const struct run_settings *s, struct timing *t)
{
    const size_t steps = s->rounds * most;
    for (unsigned r = 0; r < s->rounds; r++) {
        for (size_t i = 0; i < most; i++) {
            for (size_t c = 0; c < count; c++) {
                if (i >= all[c]->result.npoints)
                    continue;
                /* Of a ladder's step the point shows the number behind it. */
                const size_t shown = all[c]->result.points[i].effort;
                ann_err err = runner_check_stop();
                if (!err)
                    err = all[c]->time(all[c], all[c]->nsteps ? i + 1 : shown,
                                       &t[(c * OUTCOME_POINTS_MAX + i) * s->rounds + r]);
                if (err)
                    return error_prefix(err, all[c]->result.index);
            }
            if (s->progress)
                progress_step(s->progress, "timing", r * most + i + 1, steps);
        }
    }
    return ANN_OK;
}

ann_err runner_sweep(struct contestant *const *all, size_t count, const struct dataset *d,
                     const struct run_settings *s)
{
    double *limits = mem_zalloc(d->nq, sizeof *limits);
    ann_id *ids = mem_zalloc(d->nq * s->k, sizeof *ids);
    struct timing *t = mem_zalloc(count * OUTCOME_POINTS_MAX * s->rounds, sizeof *t);
    ann_err err = ANN_OK;
    size_t most = 0;
    if (!limits || !ids || !t)
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for the results");
    if (!err)
        err = metrics_limits(d, s->k, s->epsilon, limits);
    for (size_t c = 0; c < count && !err; c++) {
        err = find_points(all[c], d, s, limits, ids);
        most = all[c]->result.npoints > most ? all[c]->result.npoints : most;
    }
    if (!err)
        err = time_rounds(all, count, most, s, t);
    for (size_t c = 0; c < count && !err; c++) {
        for (size_t i = 0; i < all[c]->result.npoints; i++)
            runner_settle(all[c], &all[c]->result.points[i],
                          &t[(c * OUTCOME_POINTS_MAX + i) * s->rounds]);
        outcome_interpolate(&all[c]->result);
    }
    if (s->progress)
        progress_clear(s->progress);
    mem_free(limits);
    mem_free(ids);
    mem_free(t);
    return err;
}
