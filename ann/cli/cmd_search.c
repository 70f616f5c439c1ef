/* cmd_search.c - search and recall.
 *
 * Place: ann/cli.  Queries are read, searched and answered block by block, so that a pipe of
 * them is answered as it goes. */
#include <config.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ann/base/clock.h"
#include "ann/base/memory.h"
#include "ann/cli/cli.h"
#include "ann/io/json.h"

#define QUERIES_A_BLOCK 2048
#define RESULTS_A_BLOCK ((size_t)1 << 22)
#define K_DEFAULT 10

struct search {
    const struct args *a;
    ann_index *ix;
    ann_info info;
    ann_filter *filter;
    struct io_reader *queries;
    struct results *out;
    ann_search_params p;
    ann_id *ids;  /* [block, k] */
    float *dists; /* [block, k] */
    size_t block;
    uint64_t asked, found;
    double seconds;
};

/* Opens index and filter; sets the parameters. */
static ann_err prepare(struct search *s)
{
    const struct args *a = s->a;
    const ann_search_params start = ANN_SEARCH_PARAMS_INIT;
    s->p = start;
    s->p.k = a->k ? a->k : K_DEFAULT;
    s->p.effort = a->effort;
    s->p.recall = a->recall;
    s->p.threads = (uint32_t)a->threads;
    s->info.size = ANN_INFO_SIZE;
    ann_err err = session_open(a, a->list[0], a->map ? ANN_OPEN_MAP : ANN_OPEN_LOAD, &s->ix);
    if (!err)
        err = io_library(ann_index_info(s->ix, &s->info));
    if (!err && a->filter_ids) {
        ann_id *ids;
        size_t n;
        if ((err = io_load_ids(a->filter_ids, &ids, &n)) != 0)
            return err;
        err = io_library(ann_filter_from_ids(s->ix, n, ids, &s->filter));
        mem_free(ids);
        s->p.filter = s->filter;
    }
    return err;
}

static void search_close(struct search *s)
{
    results_drop(s->out);
    io_close(s->queries);
    ann_filter_close(s->filter);
    ann_close(s->ix);
    mem_free(s->ids);
    mem_free(s->dists);
}

static ann_err search_block(struct search *s, const ann_view *v)
{
    const size_t k = s->p.k;
    const double start = clock_seconds();
    ann_err err = io_library(ann_search(s->ix, *v, &s->p, s->ids, s->dists));
    s->seconds += clock_seconds() - start;
    for (size_t i = 0; i < v->n && !err; i++) {
        size_t n = 0;
        while (n < k && s->ids[i * k + n] != ANN_NO_ID)
            n++;
        s->found += n;
        err = results_put(s->out, n, s->ids + i * k, s->dists + i * k);
    }
    return err;
}

static ann_err range_block(struct search *s, const ann_view *v)
{
    ann_range_result r;
    const double start = clock_seconds();
    ann_err err =
        io_library(ann_search_range(s->ix, *v, (float)s->a->radius, &s->p, &r));
    s->seconds += clock_seconds() - start;
    if (err)
        return err;
    for (size_t i = 0; i < r.nq && !err; i++) {
        const uint64_t first = r.offsets[i], n = r.offsets[i + 1] - first;
        s->found += n;
        err = results_put(s->out, n, r.ids + first, r.dists + first);
    }
    ann_range_free(&r);
    return err;
}

static ann_err search_all(struct search *s)
{
    const size_t k = s->p.k;
    s->block = k < RESULTS_A_BLOCK / QUERIES_A_BLOCK ? QUERIES_A_BLOCK
                                                     : (RESULTS_A_BLOCK + k - 1) / k;
    s->ids = mem_alloc(s->block * k * sizeof *s->ids);
    s->dists = mem_alloc(s->block * k * sizeof *s->dists);
    if (!s->ids || !s->dists)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %zu results a query", k);
    const size_t nq = io_shape(s->queries).n;
    for (;;) {
        struct io_matrix block;
        ann_view v;
        ann_err err = io_read(s->queries, s->block, &block);
        if (!err && block.n == 0)
            return ANN_OK;
        if (!err)
            err = input_view(s->a->list[1], &block, s->info.store, s->info.dim, &v);
        if (!err)
            err = s->a->has_radius ? range_block(s, &v) : search_block(s, &v);
        s->asked += block.n;
        if (!err && session_progress(NULL, "searching", s->asked, nq == IO_UNKNOWN ? 0 : nq))
            err = ANN_FAIL(ANN_ECANCELED, "interrupted");
        if (err)
            return err;
    }
}

/* --recall and --effort. */
static int check_effort(const struct args *a)
{
    if (a->has_recall && a->effort)
        return cli_usage(a, "--recall and --effort exclude each other");
    if (a->has_recall && !(a->recall > 0 && a->recall <= 1))
        return cli_usage(a, "--recall %g: must be above 0, at most 1", a->recall);
    return -1;
}

static int check_options(const struct args *a, enum results_format format)
{
    const bool matrix = format == RESULTS_NPY || format == RESULTS_IVECS;
    if (a->has_radius && matrix)
        return cli_usage(
            a, "with --radius rows differ in length: results are jsonl, tsv or a table");
    if (a->has_radius && a->k)
        return cli_usage(a, "--radius and -k exclude each other");
    if (a->distances && !matrix)
        return cli_usage(
            a, "--distances goes with --format npy or ivecs; else they are in the results");
    if (matrix && (!a->output || strcmp(a->output, "-") == 0) && isatty(STDOUT_FILENO))
        return cli_usage(a, "%s is not for a terminal: give --output FILE", a->format);
    return -1;
}

int cmd_search(const struct args *a)
{
    const enum results_format format = results_choose(a);
    struct search s = {.a = a};
    struct io_options in;
    int status = input_options(a, &in);
    if (status < 0)
        status = check_effort(a);
    if (status < 0)
        status = check_options(a, format);
    if (status >= 0)
        return status;
    ann_err err = prepare(&s);
    if (!err)
        err = io_open(a->list[1], &in, &s.queries);
    if (!err)
        err = results_open(a, format, s.p.k, io_shape(s.queries).n, &s.out);
    if (!err)
        err = search_all(&s);
    if (!err) {
        err = results_finish(s.out);
        s.out = NULL;
    }
    if (!err && isatty(STDERR_FILENO))
        session_say("%llu queries, %llu results, %.3g s of search (%.0f a second)",
                    (unsigned long long)s.asked, (unsigned long long)s.found, s.seconds,
                    s.seconds > 0 ? (double)s.asked / s.seconds : 0.0);
    search_close(&s);
    const int end = session_end(err);
    return end == CLI_OK && s.found == 0 && a->fail_empty ? CLI_EMPTY : end;
}

#define RECALL_DEFAULT 0.95

/* As the library chooses it. */
static size_t effort_used(const struct search *s, size_t k)
{
    size_t effort = s->p.effort;
    if (effort ||
        ann_effort_for(s->ix, s->p.recall > 0 ? s->p.recall : RECALL_DEFAULT, k, &effort) == 0)
        return effort;
    return 2 * k > 64 ? 2 * k : 64;
}

static ann_err print_recall(const struct args *a, const struct search *s,
                            const ann_recall_report *r)
{
    if (!a->json && isatty(STDOUT_FILENO)) {
        printf("recall@%zu   %.4f  (95 %% interval %.4f to %.4f, %zu queries)\n", r->k,
               r->recall, r->low, r->high, r->queries);
        printf("search      %.1f us a query, %.0f distances\n", r->search_us, r->distances);
        printf("exact       %.1f us a query\n", r->exact_us);
        return ANN_OK;
    }
    struct js_out o = JS_OUT_INIT;
    js_open(&o, NULL, '{');
    js_put_u64(&o, "queries", r->queries);
    js_put_u64(&o, "k", r->k);
    js_put_u64(&o, "effort", effort_used(s, r->k));
    js_put_double(&o, "recall", r->recall);
    js_put_double(&o, "low", r->low);
    js_put_double(&o, "high", r->high);
    js_put_double(&o, "search_us", r->search_us);
    js_put_double(&o, "exact_us", r->exact_us);
    js_put_double(&o, "distances", r->distances);
    js_shut(&o, '}');
    const ann_err err = js_line(&o, stdout);
    js_out_free(&o);
    return err;
}

int cmd_recall(const struct args *a)
{
    struct search s = {.a = a};
    struct io_options in;
    struct io_matrix q = {0};
    ann_recall_report report = ANN_RECALL_REPORT_INIT;
    ann_view v = {0};
    int status = input_options(a, &in);
    if (status < 0)
        status = check_effort(a);
    if (status >= 0)
        return status;
    ann_err err = prepare(&s);
    if (!err)
        err = io_load(a->list[1], &in, &q);
    if (!err)
        err = input_view(a->list[1], &q, s.info.store, s.info.dim, &v);
    if (!err)
        err = io_library(ann_recall(s.ix, v, &s.p, &report));
    if (!err && session_interrupted())
        err = ANN_FAIL(ANN_ECANCELED, "interrupted");
    if (!err)
        err = print_recall(a, &s, &report);
    io_free(&q);
    search_close(&s);
    return session_end(err);
}
