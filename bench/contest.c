/* contest.c - picks settings on half of the queries, then times those on the other half.
 *
 * Place: bench.  A setting that was best by luck on some queries is not so on others, so no
 * figure comes from the queries that chose it.  Each round goes over all points, and at each
 * over all contestants, so that what the machine does meanwhile falls on all of them alike;
 * figures are medians over the rounds, with the lowest and the highest beside them.
 *
 * A batch is all of the queries, as half of one would be faster or slower than what was asked
 * for; recall is that of the other half here too. */
#include <config.h>

#include <math.h>
#include <string.h>
#include <time.h>

#include "ann/base/memory.h"
#include "bench/contest.h"

#define LOWEST        2 /* effort of kith's: less than k may do */
#define TRIALS_MAX    128
#define PICK_BUDGET_S 40.0   /* of one contestant's searching in its sweep */
#define NO_GAIN       0.0005 /* of recall: more of a second number is not tried */
#define BEYOND_ENOUGH 1      /* so many more points, as other queries may find less */
#define STALL         8      /* steps */
#define BEHIND        0.01   /* of recall, from which on a second number may be passed over */
#define WIDTH_MAX     16     /* second numbers of a ladder that are looked at one by one */
#define CLEARLY       1.15   /* so much faster one way and the other is not timed */

/* What one contestant is measured with. */
struct entry {
    size_t step[OUTCOME_POINTS_MAX];
    bool single[OUTCOME_POINTS_MAX], batch[OUTCOME_POINTS_MAX];
};

/* A setting on the picking half. */
struct trial {
    size_t step;
    double recall, single, batch; /* queries a second */
};

struct contest {
    struct contestant *const *all;
    size_t count;
    const struct run_settings *s;
    const struct dataset *whole;
    struct dataset half[2];
    double *limits[2];
    ann_id *ids;           /* [nq, k] */
    struct entry *entries; /* [count] */
    struct timing *t;      /* [count, OUTCOME_POINTS_MAX, rounds] */
};

/* Leaves a peer out; an error of kith's own ends the contest. */
static ann_err lose(struct contestant *c, ann_err err)
{
    if (!err || c->result.own || runner_stop)
        return err;
    if (c->settings->progress)
        progress_clear(c->settings->progress);
    fprintf(stderr, "annbench: %s is left out: %s\n", c->result.index, error_message());
    c->lost = true;
    c->result.npoints = 0;
    return ANN_OK;
}

static void use_half(struct contest *x, struct contestant *c, int half)
{
    c->half = half;
    c->data = &x->half[half];
}

/* Recall of one setting on the half in use, and what a pass took, of kith by our clock. */
static ann_err try_step(struct contest *x, struct contestant *c, size_t step,
                        struct outcome_point *p)
{
    *p = runner_point(step);
    const double began = runner_clock(CLOCK_MONOTONIC);
    ann_err err = runner_check_stop();
    if (!err)
        err = c->search(c, step, x->ids, p);
    const double took = runner_clock(CLOCK_MONOTONIC) - began;
    if (c->result.own)
        p->qps_single = (double)c->data->nq / took;
    return err ? err
               : metrics_recall(c->data, x->limits[c->half], x->ids, c->result.k, &p->recall);
}

/* Whether the last trial's second number did not help, so that more of it will not. */
static bool useless(const struct trial *t, size_t n, size_t width)
{
    return n > 1 && (t[n - 1].step - 1) / width == (t[n - 2].step - 1) / width &&
           t[n - 1].recall < t[n - 2].recall + NO_GAIN;
}

/* Whether the recall has stood still over many steps of a ladder. */
static bool stalled(const struct trial *t, size_t n, size_t width)
{
    return width < 2 && n > STALL && t[n - 1].recall < t[n - 1 - STALL].recall + 2 * NO_GAIN;
}

/* Of each second number, what more of the first one brought. */
struct columns {
    double best; /* recall so far */
    double recall[WIDTH_MAX];
    bool shut[WIDTH_MAX]; /* nothing any more: all that follows would only be slower */
};

static bool is_shut(const struct columns *w, const struct contestant *c, size_t i)
{
    return c->width > 1 && c->width <= WIDTH_MAX && w->shut[i % c->width];
}

static void note(struct columns *w, const struct contestant *c, size_t i, double recall)
{
    if (c->width < 2 || c->width > WIDTH_MAX)
        return;
    const size_t at = i % c->width;
    w->best = fmax(w->best, recall);
    w->shut[at] = recall < w->recall[at] + NO_GAIN && recall < w->best - BEHIND;
    w->recall[at] = recall;
}

/* Seconds that a trial's passes took, as whoever made them says: other work on the machine must
 * not end a sweep early. */
static double spent(const struct contestant *c, const struct outcome_point *p)
{
    const double n = (double)c->data->nq;
    return fmax(0, n / p->qps_single) + fmax(0, n / p->qps_batch); /* fmax passes a NAN over */
}

/* Sweeps c's settings until the recall is well above all targets. */
static ann_err sweep(struct contest *x, struct contestant *c, struct trial *t, size_t *count)
{
    const double enough = runner_enough(x->s);
    double took = 0;
    size_t over = 0;
    const size_t first = c->lowest < LOWEST ? c->lowest : LOWEST;
    struct columns columns = {0, {0}, {0}};
    struct outcome_point p;
    for (size_t i = 0; i < TRIALS_MAX && *count < TRIALS_MAX; i++) {
        const size_t step = runner_effort(c, first, i);
        if (c->has_effort && !step)
            break;
        if (is_shut(&columns, c, i))
            continue;
        p = runner_point(step);
        const ann_err err = try_step(x, c, step, &p);
        if (err == ANN_ENOTSUP && c->nsteps)
            continue; /* a setting that this library does not take */
        if (err)
            return err;
        t[(*count)++] = (struct trial){step, p.recall, p.qps_single, p.qps_batch};
        note(&columns, c, i, p.recall);
        if (c->width > 1 && useless(t, *count, c->width))
            i += c->width - 1 - i % c->width; /* to the last of its kind */
        took += spent(c, &p);
        over += p.recall >= enough;
        const bool late = took > PICK_BUDGET_S;
        if (!c->has_effort || late || over > BEYOND_ENOUGH || stalled(t, *count, c->width))
            break;
        if (x->s->progress)
            progress_step(x->s->progress, c->result.index, *count, TRIALS_MAX);
    }
    return *count ? ANN_OK : ANN_FAIL(ANN_ENOTSUP, "no setting of its ladder works");
}

/* What a trial's rate is taken to be.  Where there is one number, more of it costs more: that
 * is surer than one pass by the clock. */
static double cost_rate(const struct contestant *c, const struct trial *t, size_t i)
{
    if (c->width < 2)
        return 1 / (double)(i + 1);
    return c->best_counts ? fmax(t[i].single, t[i].batch) : t[i].single;
}

/* Chooses the points to measure and which way each is faster. */
static ann_err pick(struct contest *x, struct contestant *c, struct entry *e)
{
    struct trial t[TRIALS_MAX];
    struct metrics_pair pairs[TRIALS_MAX];
    size_t chosen[TRIALS_MAX], n = 0;
    use_half(x, c, 0);
    ann_err err = sweep(x, c, t, &n);
    if (err)
        return err;
    for (size_t i = 0; i < n; i++)
        pairs[i] = (struct metrics_pair){t[i].recall, cost_rate(c, t, i)};
    size_t count = metrics_pick(pairs, n, x->s->targets, x->s->ntargets, chosen);
    if (count > OUTCOME_POINTS_MAX)
        count = OUTCOME_POINTS_MAX;
    use_half(x, c, 1);
    for (size_t i = 0; i < count && !err; i++) {
        const struct trial *u = &t[chosen[i]];
        e->step[i] = u->step;
        e->single[i] = c->single;
        e->batch[i] = c->batch && (c->best_counts || x->s->batch_counts);
        if (c->best_counts) {
            e->single[i] = e->single[i] && !(u->batch > CLEARLY * u->single);
            e->batch[i] = e->batch[i] && !(u->single > CLEARLY * u->batch);
        }
        err = try_step(x, c, u->step, &c->result.points[i]);
    }
    c->result.npoints = count;
    return err;
}

static struct timing *timing_of(const struct contest *x, size_t c, size_t point)
{
    return &x->t[(c * OUTCOME_POINTS_MAX + point) * x->s->rounds];
}

static ann_err time_point(struct contest *x, size_t c, size_t point, unsigned round)
{
    struct contestant *u = x->all[c];
    const struct entry *e = &x->entries[c];
    const bool single = u->single, batch = u->batch;
    ann_err err = runner_check_stop();
    if (err)
        return err;
    if (x->s->batch_counts) {
        u->half = -1;
        u->data = x->whole;
    }
    u->single = e->single[point];
    u->batch = e->batch[point];
    err = u->time(u, e->step[point], timing_of(x, c, point) + round);
    u->single = single;
    u->batch = batch;
    return err;
}

static ann_err time_rounds(struct contest *x)
{
    size_t each = 0, done = 0;
    for (size_t c = 0; c < x->count; c++)
        each += x->all[c]->result.npoints;
    const double began = runner_clock(CLOCK_MONOTONIC);
    for (unsigned r = 0; r < x->s->rounds; r++) {
        for (size_t i = 0; i < OUTCOME_POINTS_MAX; i++) {
            for (size_t c = 0; c < x->count; c++) {
                if (i >= x->all[c]->result.npoints)
                    continue;
                const ann_err err = lose(x->all[c], time_point(x, c, i, r));
                if (err)
                    return err;
                if (x->s->progress)
                    progress_step(x->s->progress, "timing", ++done, each * x->s->rounds);
            }
        }
        const double took = runner_clock(CLOCK_MONOTONIC) - began;
        if (!x->s->quiet && r + 1 < x->s->rounds) {
            if (x->s->progress)
                progress_clear(x->s->progress);
            fprintf(stderr, "round %u of %u done, about %.0f s left\n", r + 1, x->s->rounds,
                    took / (r + 1) * (x->s->rounds - r - 1));
        }
    }
    return ANN_OK;
}

/* at[] of one round by itself. */
static void settle_round(struct contest *x, size_t c, unsigned round)
{
    struct contestant *u = x->all[c];
    struct metrics_pair pairs[OUTCOME_POINTS_MAX];
    for (size_t i = 0; i < u->result.npoints; i++) {
        const struct timing *t = timing_of(x, c, i) + round;
        pairs[i].recall = u->result.points[i].recall;
        pairs[i].qps = runner_rate(u, t->single_s, t->batch_s);
    }
    for (size_t t = 0; t < u->result.ntargets; t++)
        u->result.at_round[t][round] =
            metrics_interpolate(pairs, u->result.npoints, u->result.targets[t]).qps;
}

static void settle(struct contest *x)
{
    for (size_t c = 0; c < x->count; c++) {
        struct contestant *u = x->all[c];
        for (size_t i = 0; i < u->result.npoints; i++)
            runner_settle(u, &u->result.points[i], timing_of(x, c, i));
        for (unsigned r = 0; r < x->s->rounds; r++)
            settle_round(x, c, r);
        outcome_interpolate(&u->result);
    }
}

static ann_err set_up(struct contest *x, const struct dataset *d)
{
    ann_err err = ANN_OK;
    x->ids = mem_zalloc((d->nq + 1) / 2 * x->s->k, sizeof *x->ids);
    x->entries = mem_zalloc(x->count, sizeof *x->entries);
    x->t = mem_zalloc(x->count * OUTCOME_POINTS_MAX * x->s->rounds, sizeof *x->t);
    if (!x->ids || !x->entries || !x->t)
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for the results");
    for (unsigned h = 0; h < 2 && !err; h++) {
        err = dataset_half(d, h, &x->half[h]);
        x->limits[h] = err ? NULL : mem_zalloc(x->half[h].nq, sizeof(double));
        if (!err && !x->limits[h])
            err = ANN_FAIL(ANN_ENOMEM, "out of memory for the results");
        if (!err)
            err = metrics_limits(&x->half[h], x->s->k, x->s->epsilon, x->limits[h]);
    }
    return err;
}

ann_err contest_run(struct contestant *const *all, size_t count, const struct dataset *d,
                    const struct run_settings *s)
{
    struct contest x = {.all = all, .count = count, .s = s, .whole = d};
    ann_err err = set_up(&x, d);
    for (size_t c = 0; c < count && !err; c++) {
        err = lose(all[c], pick(&x, all[c], &x.entries[c]));
        all[c]->result.nq = x.half[1].nq;
    }
    if (!err)
        err = time_rounds(&x);
    if (!err)
        settle(&x);
    for (size_t c = 0; c < count; c++)
        all[c]->data = d;
    if (s->progress)
        progress_clear(s->progress);
    for (unsigned h = 0; h < 2; h++) {
        dataset_free(&x.half[h]);
        mem_free(x.limits[h]);
    }
    mem_free(x.ids);
    mem_free(x.entries);
    mem_free(x.t);
    return err;
}
