/* eval_ann.c - rag eval ann: what the store's index loses against exact search.
 *
 * Place: rag/cli. */
#include <config.h>

#include <math.h>
#include <sys/stat.h>

#include "ann/base/error.h"
#include "ann/io/svg.h"
#include "rag/cli/cli.h"

#define EFFORTS_MOST 64

static const char *mark_of(const rag_ann_eval *e, const rag_ann_point *p)
{
    return p->effort == 0 || p->effort != e->effort ? ""
           : e->kept                                ? "  the store's"
                                                    : "  the index's own";
}

static void print_points(const rag_ann_eval *e, const char *from)
{
    printf("%llu vectors, %zu queries (%s), %zu asked for; recall of 100 with 95 %% interval\n",
           (unsigned long long)e->vectors, e->queries, from, e->k);
    printf("%8s %9s %-13s %9s %9s %9s %9s\n", "effort", "recall", "", "of 10", "p50 us",
           "p95 us", "p99 us");
    for (size_t i = 0; i < e->npoints; i++) {
        const rag_ann_point *p = &e->points[i];
        char effort[24] = "exact";
        if (p->effort)
            snprintf(effort, sizeof effort, "%zu", p->effort);
        printf("%8s %s%9.3f%s %s%6.2f-%-6.2f%s %9.3f %9.0f %9.0f %9.0f%s\n", effort,
               print_bold(), 100 * p->recall, print_plain(), print_dim(), 100 * p->low,
               100 * p->high, print_plain(), 100 * p->recall10, p->p50_us, p->p95_us, p->p99_us,
               mark_of(e, p));
    }
    if (e->exact)
        puts("the index is a scan of all vectors: it loses nothing");
}

static rag_err json_points(const rag_ann_eval *e, const char *from)
{
    rag_err err = RAG_OK;
    for (size_t i = 0; i < e->npoints && !err; i++) {
        const rag_ann_point *p = &e->points[i];
        struct js_out o = JS_OUT_INIT;
        js_open(&o, NULL, '{');
        js_put_string(&o, "type", "point");
        js_put_u64(&o, "vectors", e->vectors);
        js_put_u64(&o, "queries", e->queries);
        js_put_string(&o, "from", from);
        js_put_u64(&o, "k", e->k);
        js_put_bool(&o, "exact", e->exact);
        js_put_u64(&o, "effort", p->effort);
        js_put_double(&o, "recall", p->recall);
        js_put_double(&o, "low", p->low);
        js_put_double(&o, "high", p->high);
        js_put_double(&o, "recall10", p->recall10);
        js_put_double(&o, "mean_us", p->mean_us);
        js_put_double(&o, "p50_us", p->p50_us);
        js_put_double(&o, "p95_us", p->p95_us);
        js_put_double(&o, "p99_us", p->p99_us);
        js_put_bool(&o, "used", p->effort == e->effort);
        js_put_bool(&o, "chosen", e->chosen && p->effort == e->chosen);
        js_shut(&o, '}');
        err = (rag_err)js_line(&o, stdout);
        js_out_free(&o);
    }
    return err;
}

/* ---- the page ---- */

static void page_points(FILE *f, const rag_ann_eval *e)
{
    static const char *const heads[] = {"effort", "recall", "95 %",   "of 10", "mean µs",
                                        "p50",    "p95",    "p99 µs", "",      NULL};
    report_table(f, heads);
    for (size_t i = 0; i < e->npoints; i++) {
        const rag_ann_point *p = &e->points[i];
        fputs("<tr>", f);
        report_cell(f, p->effort ? "%zu" : "exact", p->effort);
        report_cell(f, "%.3f", 100 * p->recall);
        report_cell(f, "%.2f–%.2f", 100 * p->low, 100 * p->high);
        report_cell(f, "%.3f", 100 * p->recall10);
        report_cell(f, "%.0f", p->mean_us);
        report_cell(f, "%.0f", p->p50_us);
        report_cell(f, "%.0f", p->p95_us);
        report_cell(f, "%.0f", p->p99_us);
        report_cell(f, "%s%s", mark_of(e, p),
                    e->chosen && p->effort == e->chosen ? " takes the target" : "");
        fputs("</tr>\n", f);
    }
    report_table_end(f);
}

/* Median and 99th percentile of latency against recall. */
static void page_lines(FILE *f, const rag_ann_eval *e)
{
    struct svg_point points[2][EFFORTS_MOST];
    char notes[EFFORTS_MOST][128];
    double left = 1;
    const size_t n = e->npoints < EFFORTS_MOST ? e->npoints : EFFORTS_MOST;
    for (size_t i = 0; i < n; i++) {
        const rag_ann_point *p = &e->points[i];
        snprintf(notes[i], sizeof notes[i], "effort %zu: recall %.4f, p50 %.0f µs, p99 %.0f µs",
                 p->effort, p->recall, p->p50_us, p->p99_us);
        points[0][i] = (struct svg_point){p->recall, p->p50_us, notes[i]};
        points[1][i] = (struct svg_point){p->recall, p->p99_us, notes[i]};
        left = fmin(left, p->recall);
    }
    const struct svg_series series[] = {{points[0], n, 0, false}, {points[1], n, 0, true}};
    const struct svg_axes axes = {"Latency against recall", "recall",
                                  "µs (log), less is better", fmin(0.99, floor(left * 50) / 50),
                                  1};
    fputs("<figure><h3>Latency: median solid, 99th percentile dashed</h3>\n", f);
    svg_lines(f, &axes, series, 2);
    fputs("</figure>\n", f);
}

static void page_bars(FILE *f, const rag_ann_eval *e)
{
    struct svg_bar bars[EFFORTS_MOST];
    char names[EFFORTS_MOST][32], values[EFFORTS_MOST][32];
    const size_t n = e->npoints < EFFORTS_MOST ? e->npoints : EFFORTS_MOST;
    for (size_t i = 0; i < n; i++) {
        const rag_ann_point *p = &e->points[i];
        snprintf(names[i], sizeof names[i], "effort %zu", p->effort);
        snprintf(values[i], sizeof values[i], "%.2f", 100 * p->recall);
        bars[i] =
            (struct svg_bar){p->effort ? names[i] : "exact", values[i],    100 * p->recall,
                             p->effort == e->effort,         100 * p->low, 100 * p->high};
    }
    fputs("<figure><h3>Recall by effort with 95 % interval; the one in use stands out</h3>\n",
          f);
    svg_bars(f, "Recall by effort", bars, n);
    fputs("</figure>\n", f);
}

static rag_err write_page(const struct args *a, const rag_ann_eval *e, const char *from)
{
    FILE *f = NULL;
    rag_err err = report_begin(a, &f);
    if (err)
        return err;
    report_section(f, run_store_dir(a), "%llu vectors, %zu queries (%s), k = %zu",
                   (unsigned long long)e->vectors, e->queries, from, e->k);
    page_points(f, e);
    fputs("<div class=\"plots\">\n", f);
    page_lines(f, e);
    page_bars(f, e);
    fputs("</div>\n</section>\n", f);
    return report_end(
        a, f,
        "Recall: the share of the k nearest, by exact search over the index's own "
        "vectors, that the index finds; a result counts if it is as near as the "
        "k-th true one. Intervals: the middle 95 % of 1,000 bootstrap samples. "
        "Times are of one search on one thread.");
}

/* The effort that the target takes becomes the store's. */
static rag_err keep_effort(const struct args *a, rag_store *s, const rag_ann_eval *e)
{
    if (!a->has_target || e->exact)
        return RAG_OK;
    if (!e->chosen)
        return (rag_err)ANN_FAIL(
            ANN_ENOENT, "no effort up to %zu gives a recall of %g for sure; try --efforts",
            e->points[e->npoints - 1].effort, a->target);
    rag_err err = run_library(rag_set_effort(s, e->chosen));
    if (!err)
        run_say("effort %zu is the store's now", e->chosen);
    return err;
}

/* A file that is not empty. */
static bool has_lines(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && st.st_size > 0;
}

int eval_ann(struct args *a)
{
    rag_ann_eval_options o = RAG_ANN_EVAL_OPTIONS_INIT;
    size_t efforts[EFFORTS_MOST];
    rag_ann_eval *e = NULL;
    rag_store *s = NULL;
    char log[4200];
    if (a->efforts && !eval_numbers(a->efforts, EFFORTS_MOST, efforts, &o.nefforts))
        return cli_usage(a, "--efforts %s: numbers with commas between", a->efforts);
    if (a->has_target && !(a->target > 0 && a->target <= 1))
        return cli_usage(a, "a recall lies above 0 and up to 1");
    o.efforts = o.nefforts ? efforts : NULL;
    o.k = (size_t)a->k;
    o.sample = (size_t)a->sample;
    o.target = a->has_target ? a->target : 0;
    rag_err err = run_open(a, a->has_target ? RAG_WRITE : RAG_READ, &s);
    find_log_path(a, log, sizeof log);
    if (!a->passages)
        o.queries = a->queries ? a->queries : has_lines(log) ? log : NULL;
    const char *from = o.queries ? o.queries : "passages";
    if (!err)
        err = run_library(rag_eval_ann(s, &o, &e));
    if (!err && print_json(a))
        err = json_points(e, from);
    else if (!err)
        print_points(e, from);
    if (!err && a->html)
        err = write_page(a, e, from);
    if (!err)
        err = keep_effort(a, s, e);
    rag_ann_eval_free(e);
    rag_close(s);
    return run_end(err);
}
