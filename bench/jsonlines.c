/* jsonlines.c - outcomes as JSON Lines.
 *
 * Place: bench.  The keys are those that docs/benchmarking.md lists; a value that was not
 * measured is null. */
#include <config.h>

#include "ann/io/json.h"
#include "bench/compare.h"
#include "bench/outcome.h"

static void put_head(struct js_out *o, const struct outcome *r)
{
    js_open(o, NULL, '{');
    js_put_string(o, "dataset", r->dataset);
    js_put_u64(o, "n", r->n);
    js_put_u64(o, "dim", r->dim);
    js_put_string(o, "metric", dataset_metric_name(r->metric));
    js_put_u64(o, "k", r->k);
    js_put_string(o, "index", r->index);
    js_put_string(o, "spec", r->spec);
    js_put_u64(o, "threads", r->threads);
    js_put_bool(o, "batch", r->batch);
    if (r->batch)
        js_put_u64(o, "batch_size", r->batch_size);
}

static void put_bytes(struct js_out *o, const char *key, double bytes)
{
    if (bytes >= 0)
        js_put_u64(o, key, (uint64_t)bytes);
    else
        js_put_null(o, key);
}

static ann_err put_point(struct js_out *o, const struct outcome *r,
                         const struct outcome_point *p, FILE *f)
{
    put_head(o, r);
    js_put_u64(o, "effort", p->effort);
    js_put_string(o, "setting", *p->setting ? p->setting : NULL);
    js_put_double(o, "recall", p->recall);
    js_put_double(o, "qps", p->qps);
    js_put_double(o, "qps_low", p->qps_low);
    js_put_double(o, "qps_high", p->qps_high);
    js_put_double(o, "mean_us", p->mean_us);
    js_put_double(o, "p50_us", p->p50_us);
    js_put_double(o, "p95_us", p->p95_us);
    js_put_double(o, "p99_us", p->p99_us);
    js_put_double(o, "p999_us", p->p999_us);
    js_put_double(o, "qps_single", p->qps_single);
    js_put_double(o, "qps_batch", p->qps_batch);
    js_put_double(o, "distances", p->distances);
    js_put_double(o, "hops", p->hops);
    js_put_double(o, "build_s", r->build_s);
    js_put_double(o, "build_cpu_s", r->build_cpu_s);
    js_put_double(o, "train_s", r->train_s);
    js_put_double(o, "train_cpu_s", r->train_cpu_s);
    js_put_double(o, "add_s", outcome_add_s(r));
    js_put_double(o, "add_cpu_s", outcome_add_cpu_s(r));
    js_put_double(o, "bytes_per_vector", outcome_vector_bytes(r));
    if (r->lists) {
        js_put_u64(o, "lists", r->lists);
        js_put_double(o, "list_spread", r->list_spread);
        js_put_double(o, "trained_error", r->code_error[0]);
        js_put_double(o, "added_error", r->code_error[1]);
    }
    put_bytes(o, "memory_bytes", r->memory_bytes);
    put_bytes(o, "file_bytes", r->file_bytes);
    put_bytes(o, "peak_rss_bytes", r->peak_rss_bytes);
    js_shut(o, '}');
    return js_line(o, f);
}

static ann_err put_asked(struct js_out *o, const struct outcome *r, FILE *f)
{
    ann_err err = ANN_OK;
    for (size_t i = 0; i < r->nasked && !err; i++) {
        const struct outcome_asked *a = &r->asked[i];
        put_head(o, r);
        js_put_double(o, "asked_recall", a->recall);
        js_put_double(o, "delivered", a->delivered);
        js_put_double(o, "distances", a->distances);
        js_put_u64(o, "least_effort", a->least_effort);
        js_put_double(o, "least_distances", a->least_distances);
        js_shut(o, '}');
        err = js_line(o, f);
    }
    return err;
}

/* own over the fastest peer (reference NULL) or over one of them. */
static ann_err put_ratio(struct js_out *o, const struct outcomes *all, size_t from, size_t to,
                         const struct outcome *own, const struct outcome *reference, FILE *f)
{
    ann_err err = ANN_OK;
    for (size_t t = 0; t < own->ntargets && !err; t++) {
        const struct compare_at at =
            reference ? compare_with(own, reference, t) : compare_best(all, from, to, own, t);
        put_head(o, own);
        js_put_double(o, "at_recall", own->targets[t]);
        js_put_string(o, "over", reference ? reference->index : "best");
        js_put_string(o, "peer", at.peer);
        js_put_double(o, "ratio", at.ratio);
        js_put_double(o, "ratio_low", at.low);
        js_put_double(o, "ratio_high", at.high);
        js_put_bool(o, "at_least", at.at_least);
        if (reference) {
            js_put_double(o, "build_cpu_ratio", own->build_cpu_s / reference->build_cpu_s);
            js_put_double(o, "memory_ratio", own->memory_bytes / reference->memory_bytes);
            js_put_double(o, "file_ratio", own->file_bytes / reference->file_bytes);
        }
        js_shut(o, '}');
        err = js_line(o, f);
    }
    return err;
}

/* own beside a peer, effort by effort. */
static ann_err put_efforts(struct js_out *o, const struct outcome *own,
                           const struct outcome *peer, FILE *f)
{
    struct compare_effort at;
    ann_err err = ANN_OK;
    for (size_t i = 0; !err && compare_effort(own, peer, i, &at); i++) {
        put_head(o, own);
        js_put_u64(o, "at_effort", at.own->effort);
        js_put_string(o, "over", peer->index);
        js_put_double(o, "recall", at.own->recall);
        js_put_double(o, "peer_recall", at.peer->recall);
        js_put_double(o, "ratio", at.ratio);
        js_shut(o, '}');
        err = js_line(o, f);
    }
    return err;
}

static ann_err put_sweeps(struct js_out *o, const struct outcomes *all, size_t from, size_t to,
                          FILE *f)
{
    ann_err err = ANN_OK;
    for (size_t i = from; i < to; i++)
        for (size_t j = from; j < to && !err && all->items[i].own; j++)
            if (!all->items[j].own)
                err = put_efforts(o, &all->items[i], &all->items[j], f);
    return err;
}

static ann_err put_ratios(struct js_out *o, const struct outcomes *all, size_t from, size_t to,
                          FILE *f)
{
    const struct outcome *reference = compare_find(all, from, to, COMPARE_REFERENCE);
    ann_err err = ANN_OK;
    for (size_t i = from; i < to && !err && compare_is_contest(all, from, to); i++) {
        if (!all->items[i].own)
            continue;
        err = put_ratio(o, all, from, to, &all->items[i], NULL, f);
        if (!err && reference)
            err = put_ratio(o, all, from, to, &all->items[i], reference, f);
    }
    return err;
}

ann_err outcome_write_json(const struct outcomes *all, FILE *f)
{
    struct js_out o = JS_OUT_INIT;
    ann_err err = ANN_OK;
    for (size_t i = 0; i < all->count && !err; i++) {
        const struct outcome *r = &all->items[i];
        for (size_t j = 0; j < r->npoints && !err; j++)
            err = put_point(&o, r, &r->points[j], f);
        for (size_t j = 0; j < r->ntargets && !err; j++) {
            put_head(&o, r);
            js_put_double(&o, "at_recall", r->targets[j]);
            js_put_double(&o, "qps", r->at[j].qps);
            js_put_bool(&o, "at_least", r->at[j].at_least);
            js_shut(&o, '}');
            err = js_line(&o, f);
        }
        if (!err)
            err = put_asked(&o, r, f);
    }
    for (size_t i = 0, end; i < all->count && !err; i = end) {
        end = outcomes_group_end(all, i);
        err = (all->items[i].swept ? put_sweeps : put_ratios)(&o, all, i, end, f);
    }
    js_out_free(&o);
    return err;
}
