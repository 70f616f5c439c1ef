/* report.c - outcomes as one HTML page that needs nothing else: no script, font or picture.
 *
 * Place: bench, over ann/io's page and plots. */
#include <config.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/io/page.h"
#include "ann/io/svg.h"
#include "bench/compare.h"
#include "bench/display.h"
#include "bench/outcome.h"

static void put_quotient(FILE *f, double a, double b)
{
    char text[DISPLAY_MAX];
    snprintf(text, sizeof text, a > 0 && b > 0 ? "%.2f" : "-", a / b);
    page_cell(f, text);
}

static void put_summary(FILE *f, const struct outcomes *all, size_t from, size_t to)
{
    char b[DISPLAY_MAX];
    const struct outcome *first = &all->items[from];
    fputs("<div class=\"scroll\"><table>\n<tr><th>index</th>", f);
    for (size_t t = 0; t < first->ntargets; t++)
        fprintf(f, "<th>queries/s<br/>at recall %g</th>", first->targets[t]);
    fputs("<th>build</th><th>CPU time</th><th>of it<br/>training</th><th>adding</th>"
          "<th>lists</th><th>longest<br/>over mean</th><th>memory</th><th>bytes a<br/>vector"
          "</th><th>file</th><th>peak of<br/>process</th></tr>\n",
          f);
    for (size_t i = from; i < to; i++) {
        const struct outcome *r = &all->items[i];
        fputs("<tr>", f);
        page_name(f, r->index, i - from);
        for (size_t t = 0; t < r->ntargets; t++)
            page_cell(f, display_at(b, r->at[t]));
        page_cell(f, display_seconds(b, r->build_s));
        page_cell(f, display_seconds(b, r->build_cpu_s));
        page_cell(f, display_seconds(b, r->train_s));
        page_cell(f, display_seconds(b, outcome_add_s(r)));
        page_cell(f, r->lists ? display_count(b, (double)r->lists) : "-");
        put_quotient(f, r->list_spread, 1);
        page_cell(f, display_bytes(b, r->memory_bytes));
        page_cell(f, display_rate(b, outcome_vector_bytes(r)));
        page_cell(f, display_bytes(b, r->file_bytes));
        page_cell(f, display_bytes(b, r->peak_rss_bytes));
        fputs("</tr>\n", f);
    }
    fputs("</table></div>\n", f);
}

static void put_ratio(FILE *f, struct compare_at at)
{
    char text[96];
    snprintf(text, sizeof text, isfinite(at.ratio) ? "%.2f%s" : "-", at.ratio,
             at.at_least ? "*" : "");
    fprintf(f, "<td><b>%s</b>", text);
    if (isfinite(at.ratio)) {
        fprintf(f, " <span class=\"dim\">%.2f–%.2f ", at.low, at.high);
        svg_text(f, at.peer);
        fputs("</span>", f);
    }
    fputs("</td>", f);
}

/* Ratios to the fastest peer at each recall, build and bytes to those of the reference. */
static void put_ratios(FILE *f, const struct outcomes *all, size_t from, size_t to)
{
    const struct outcome *first = &all->items[from];
    const struct outcome *reference = compare_find(all, from, to, COMPARE_REFERENCE);
    if (!compare_is_contest(all, from, to))
        return;
    fputs("<h3>kith over the fastest peer at that recall</h3>\n<div class=\"scroll\"><table>\n"
          "<tr><th>index</th>",
          f);
    for (size_t t = 0; t < first->ntargets; t++)
        fprintf(f, "<th>%g</th>", first->targets[t]);
    if (reference)
        fputs("<th>build CPU /<br/>" COMPARE_REFERENCE "</th><th>memory</th><th>file</th>", f);
    fputs("</tr>\n", f);
    for (size_t i = from; i < to; i++) {
        const struct outcome *r = &all->items[i];
        if (!r->own)
            continue;
        fputs("<tr>", f);
        page_name(f, r->index, i - from);
        for (size_t t = 0; t < r->ntargets; t++)
            put_ratio(f, compare_best(all, from, to, r, t));
        if (reference) {
            put_quotient(f, r->build_cpu_s, reference->build_cpu_s);
            put_quotient(f, r->memory_bytes, reference->memory_bytes);
            put_quotient(f, r->file_bytes, reference->file_bytes);
        }
        fputs("</tr>\n", f);
    }
    fputs("</table></div>\n", f);
}

/* kith beside each peer at the same effort. */
static void put_efforts(FILE *f, const struct outcomes *all, size_t from, size_t to)
{
    char b[DISPLAY_MAX];
    struct compare_effort at;
    fputs("<h3>kith and its peers at the same effort</h3>\n<div class=\"scroll\"><table>\n"
          "<tr><th>index</th><th>peer</th><th>effort</th><th>recall</th><th>peer's</th>"
          "<th>queries/s over<br/>the peer's</th></tr>\n",
          f);
    for (size_t i = from; i < to; i++) {
        for (size_t j = from; j < to && all->items[i].own; j++) {
            const struct outcome *own = &all->items[i], *peer = &all->items[j];
            for (size_t k = 0; !peer->own && compare_effort(own, peer, k, &at); k++) {
                fputs("<tr>", f);
                page_name(f, own->index, i - from);
                page_cell(f, peer->index);
                page_cell(f, display_count(b, (double)at.own->effort));
                snprintf(b, sizeof b, "%.4f", at.own->recall);
                page_cell(f, b);
                snprintf(b, sizeof b, "%.4f", at.peer->recall);
                page_cell(f, b);
                put_quotient(f, at.own->qps, at.peer->qps);
                fputs("</tr>\n", f);
            }
        }
    }
    fputs("</table></div>\n", f);
}

static void put_asked(FILE *f, const struct outcomes *all, size_t from, size_t to)
{
    char b[DISPLAY_MAX];
    fputs("<h3>Recall asked for by number, of queries that did not calibrate</h3>\n"
          "<div class=\"scroll\"><table>\n<tr><th>index</th><th>asked</th><th>delivered</th>"
          "<th>distances</th><th>over those of the<br/>least effort</th></tr>\n",
          f);
    for (size_t i = from; i < to; i++) {
        for (size_t j = 0; j < all->items[i].nasked; j++) {
            const struct outcome_asked *a = &all->items[i].asked[j];
            fputs("<tr>", f);
            page_name(f, all->items[i].index, i - from);
            snprintf(b, sizeof b, "%g", a->recall);
            page_cell(f, b);
            snprintf(b, sizeof b, a->delivered >= 0 ? "%.4f" : "-", a->delivered);
            page_cell(f, b);
            page_cell(f, display_count(b, a->distances));
            put_quotient(f, a->distances, a->least_distances);
            fputs("</tr>\n", f);
        }
    }
    fputs("</table></div>\n", f);
}

static bool has_asked(const struct outcomes *all, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        if (all->items[i].nasked)
            return true;
    return false;
}

static void put_point(FILE *f, const struct outcome *r, const struct outcome_point *p,
                      size_t color)
{
    char b[DISPLAY_MAX];
    fputs("<tr>", f);
    page_name(f, r->index, color);
    page_cell(f, display_effort(b, p->effort, p->setting));
    snprintf(b, sizeof b, "%.4f", p->recall);
    page_cell(f, b);
    const double rates[] = {p->qps,    p->qps_single, p->qps_batch, p->mean_us,
                            p->p50_us, p->p95_us,     p->p99_us,    p->p999_us};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
        page_cell(f, display_rate(b, rates[i]));
    page_cell(f, display_count(b, p->distances));
    page_cell(f, display_count(b, p->hops));
    fputs("</tr>\n", f);
}

static void put_sweep(FILE *f, const struct outcomes *all, size_t from, size_t to)
{
    fputs("<details open=\"open\"><summary>Every point of the sweep</summary>\n"
          "<div class=\"scroll\"><table>\n<tr><th>index</th><th>effort</th><th>recall</th>"
          "<th>queries/s</th><th>one at<br/>a time</th><th>in<br/>batches</th><th>mean µs</th>"
          "<th>p50</th><th>p95</th><th>p99</th><th>p99.9</th><th>distances</th><th>hops</th></"
          "tr>\n",
          f);
    for (size_t i = from; i < to; i++)
        for (size_t j = 0; j < all->items[i].npoints; j++)
            put_point(f, &all->items[i], &all->items[i].points[j], i - from);
    fputs("</table></div></details>\n<div class=\"spec dim\">", f);
    for (size_t i = from; i < to; i++) {
        fputs("<div>", f);
        svg_text(f, all->items[i].index);
        fputs(": <code>", f);
        svg_text(f, all->items[i].spec);
        fputs("</code></div>\n", f);
    }
    fputs("</div>\n", f);
}

#define NOTE_MAX 512

/* What the plots draw. */
struct figure {
    struct svg_series series[2 * SVG_COLORS];
    struct svg_point points[2 * SVG_COLORS][OUTCOME_POINTS_MAX];
    char notes[SVG_COLORS][OUTCOME_POINTS_MAX][NOTE_MAX];
    size_t count;
};

static double left_edge(const struct outcomes *all, size_t from, size_t to)
{
    double left = 1;
    for (size_t i = from; i < to; i++)
        for (size_t j = 0; j < all->items[i].npoints; j++)
            left = fmin(left, all->items[i].points[j].recall);
    return fmax(0, fmin(0.9, floor(left * 20) / 20));
}

/* which: 0 queries a second, 1 median latency, 2 the 99th percentile. */
static void add_series(struct figure *g, const struct outcome *r, size_t color, int which)
{
    char e[DISPLAY_MAX], q[DISPLAY_MAX], p50[DISPLAY_MAX], p99[DISPLAY_MAX];
    struct svg_series *s = &g->series[g->count];
    *s = (struct svg_series){g->points[g->count], r->npoints, (unsigned)color, which == 2};
    for (size_t j = 0; j < r->npoints; j++) {
        const struct outcome_point *p = &r->points[j];
        snprintf(g->notes[color][j], sizeof g->notes[color][j],
                 "%.47s, effort %s: recall %.4f, %s queries/s, p50 %s µs, p99 %s µs", r->index,
                 display_effort(e, p->effort, p->setting), p->recall, display_rate(q, p->qps),
                 display_rate(p50, p->p50_us), display_rate(p99, p->p99_us));
        g->points[g->count][j] = (struct svg_point){p->recall,
                                                    which == 0   ? p->qps
                                                    : which == 1 ? p->p50_us
                                                                 : p->p99_us,
                                                    g->notes[color][j]};
    }
    g->count++;
}

static void put_key(FILE *f, const struct outcomes *all, size_t from, size_t to)
{
    fputs("<div class=\"key dim\">", f);
    for (size_t i = from; i < to; i++) {
        fprintf(f, "<span><i class=\"s%zu\"></i>", (i - from) % SVG_COLORS);
        svg_text(f, all->items[i].index);
        fputs("</span>", f);
    }
    fputs("</div>\n", f);
}

static void put_lines(FILE *f, const struct outcomes *all, size_t from, size_t to, bool latency)
{
    static struct figure g; /* too large for the stack; one page at a time is written */
    g.count = 0;
    for (size_t i = from; i < to && i - from < SVG_COLORS; i++) {
        add_series(&g, &all->items[i], i - from, latency ? 1 : 0);
        if (latency)
            add_series(&g, &all->items[i], i - from, 2);
    }
    const struct svg_axes axes = {
        latency ? "Latency against recall" : "Queries a second against recall", "recall",
        latency ? "µs (log), less is better" : "queries/s (log)", left_edge(all, from, to), 1};
    fprintf(f, "<figure><h3>%s</h3>\n",
            latency ? "Latency: median solid, 99th percentile dashed"
                    : "Queries a second against recall; up and right is better");
    put_key(f, all, from, to);
    svg_lines(f, &axes, g.series, g.count);
    fputs("</figure>\n", f);
}

static void put_bars(FILE *f, const struct outcomes *all, size_t from, size_t to, bool memory)
{
    struct svg_bar bars[SVG_COLORS];
    char values[SVG_COLORS][DISPLAY_MAX];
    size_t count = 0;
    for (size_t i = from; i < to && count < SVG_COLORS; i++, count++) {
        const struct outcome *r = &all->items[i];
        const double v = memory ? r->memory_bytes : r->build_s;
        if (memory)
            display_bytes(values[count], v);
        else
            display_seconds(values[count], v);
        bars[count] = (struct svg_bar){
            .name = r->index, .value = values[count], .length = v, .color = (unsigned)count};
    }
    const char *title = memory ? "Memory" : "Build time";
    fprintf(f, "<figure><h3>%s; less is better</h3>\n", title);
    svg_bars(f, title, bars, count);
    fputs("</figure>\n", f);
}

static bool has_latency(const struct outcomes *all, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        for (size_t j = 0; j < all->items[i].npoints; j++)
            if (all->items[i].points[j].p50_us > 0)
                return true;
    return false;
}

static void put_group(FILE *f, const struct outcomes *all, size_t from, size_t to)
{
    char n[DISPLAY_MAX], nq[DISPLAY_MAX];
    const struct outcome *r = &all->items[from];
    fputs("<section>\n<h2>", f);
    svg_text(f, r->dataset);
    fprintf(f,
            "</h2>\n<p class=\"dim\">%s vectors of %zu dimensions, %s, %s queries, k = %zu, "
            "%u thread%s, ",
            display_count(n, (double)r->n), r->dim, dataset_metric_name(r->metric),
            display_count(nq, (double)r->nq), r->k, r->threads, r->threads == 1 ? "" : "s");
    if (r->batch)
        fprintf(f, "in batches of %s, ", display_count(n, (double)r->batch_size));
    fprintf(f, "medians of %u round%s</p>\n", r->rounds, r->rounds == 1 ? "" : "s");
    put_summary(f, all, from, to);
    (r->swept ? put_efforts : put_ratios)(f, all, from, to);
    if (has_asked(all, from, to))
        put_asked(f, all, from, to);
    fputs("<div class=\"plots\">\n", f);
    put_lines(f, all, from, to, false);
    if (has_latency(all, from, to))
        put_lines(f, all, from, to, true);
    put_bars(f, all, from, to, false);
    put_bars(f, all, from, to, true);
    fputs("</div>\n", f);
    put_sweep(f, all, from, to);
    fputs("</section>\n", f);
}

ann_err outcome_write_html(const struct outcomes *all, const char *command, FILE *f)
{
    const struct page_about about = {"annbench", ann_version(), ann_isa(), command};
    page_begin(f, &about);
    for (size_t i = 0; i < all->count;) {
        const size_t end = outcomes_group_end(all, i);
        put_group(f, all, i, end);
        i = end;
    }
    page_end(f, "Recall is the share of the true k nearest found, by distance, each id once. "
                "Queries/s at a recall are interpolated on the best points (logarithm of "
                "queries/s over recall); >= means that the lowest effort was above that recall "
                "already.");
    return ferror(f) ? ANN_FAIL(ANN_EIO, "the report cannot be written") : ANN_OK;
}
