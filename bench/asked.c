/* asked.c - recall by number; see asked.h.
 *
 * Place: bench.  Invariant: no query that calibrates judges.  The cost is measured in
 * distances, by those of the least whole effort that suffices for the judging queries, which
 * nobody can know beforehand. */
#include <config.h>

#include <math.h>

#include "ann/base/memory.h"
#include "bench/asked.h"

#define ASKED_EFFORT_MAX 65536 /* none of more is looked for */

struct judge {
    ann_index *ix;
    struct dataset half;
    const struct run_settings *s;
    double *limits; /* [half.nq] */
    ann_id *ids;    /* [half.nq, k] */
};

/* One search of all judging queries, by effort or by recall. */
static ann_err look(const struct judge *j, size_t effort, double recall, double *found,
                    double *distances)
{
    ann_search_stats stats = {0};
    ann_search_params params = ANN_SEARCH_PARAMS_INIT;
    const ann_view queries = {j->half.query, j->half.nq, 0, ANN_F32};
    params.k = j->s->k;
    params.effort = effort;
    params.recall = recall;
    params.threads = j->s->threads;
    params.stats = &stats;
    ann_err err = runner_check_stop();
    if (!err)
        err = io_library(ann_search(j->ix, queries, &params, j->ids, NULL));
    *distances = (double)stats.distances / (double)j->half.nq;
    return err ? err : metrics_recall(&j->half, j->limits, j->ids, j->s->k, found);
}

/* The least effort that finds `wish`, up to `most`: doubled until it does, then halved in. */
static ann_err find_least(const struct judge *j, double wish, size_t most,
                          struct outcome_asked *out)
{
    size_t low = 0, high = 1; /* low does not suffice */
    double found = 0, distances;
    ann_err err = look(j, high, 0, &found, &distances);
    while (!err && found < wish && high < most) {
        low = high;
        high = 2 * high < most ? 2 * high : most;
        err = look(j, high, 0, &found, &distances);
    }
    out->least_effort = found < wish ? 0 : high;
    out->least_distances = found < wish ? NAN : distances;
    while (!err && out->least_effort && high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        err = look(j, middle, 0, &found, &distances);
        if (found < wish) {
            low = middle;
        } else {
            high = out->least_effort = middle;
            out->least_distances = distances;
        }
    }
    return err;
}

static ann_err judge_all(const struct judge *j, struct outcome *r)
{
    for (size_t t = 0; t < j->s->ntargets; t++) {
        struct outcome_asked *a = &r->asked[t];
        a->recall = j->s->targets[t];
        ann_err err = look(j, 0, a->recall, &a->delivered, &a->distances);
        if (err == ANN_EINVAL) { /* no effort of the calibration got there */
            a->delivered = a->distances = NAN;
            err = ANN_OK;
        }
        if (!err)
            err = find_least(j, a->recall, ASKED_EFFORT_MAX, a);
        if (err)
            return err;
    }
    r->nasked = j->s->ntargets;
    return ANN_OK;
}

ann_err asked_measure(struct contestant *c, const struct dataset *d,
                      const struct run_settings *s)
{
    struct judge j = {.ix = subject_index(c), .s = s};
    struct dataset learn;
    ann_calibration calibration = ANN_CALIBRATION_INIT;
    if (!c->has_effort)
        return ANN_OK;
    ann_err err = dataset_half(d, 0, &learn);
    if (err)
        return err;
    err = dataset_half(d, 1, &j.half);
    if (err) {
        dataset_free(&learn);
        return err;
    }
    j.limits = mem_zalloc(j.half.nq, sizeof *j.limits);
    j.ids = mem_zalloc(j.half.nq * s->k, sizeof *j.ids);
    if (!j.limits || !j.ids)
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for the results");
    if (!err)
        err = metrics_limits(&j.half, s->k, s->epsilon, j.limits);
    calibration.k = s->k;
    const ann_view queries = {learn.query, learn.nq, 0, ANN_F32};
    if (!err)
        err = io_library(ann_calibrate(j.ix, queries, &calibration));
    if (!err)
        err = judge_all(&j, &c->result);
    mem_free(j.limits);
    mem_free(j.ids);
    dataset_free(&learn);
    dataset_free(&j.half);
    return err ? error_prefix(err, c->result.index) : ANN_OK;
}
