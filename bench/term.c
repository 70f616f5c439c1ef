/* term.c - outcomes on a terminal: a table, the sweep, a small plot.
 *
 * Place: bench.  Plain text of at most `columns` columns; only the markers have colours, and
 * only if asked for. */
#include <config.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/display.h"
#include "bench/outcome.h"

#define PLOT_ROWS        14
#define PLOT_COLUMNS_MAX 72
#define PLOT_LABEL       9 /* columns left of the plot */
#define MARKS            "ox+*#@%&abcdefghijklmn"

static const char *const colors[] = {"34", "33", "32", "35", "36", "31", "37", "90"};
#define COLORS (sizeof colors / sizeof *colors)

static void print_head(const struct outcome *r, FILE *f)
{
    char n[DISPLAY_MAX], nq[DISPLAY_MAX];
    fprintf(f, "\n%s: %s x %zu, %s, %s queries, k = %zu, %u thread%s", r->dataset,
            display_count(n, (double)r->n), r->dim, dataset_metric_name(r->metric),
            display_count(nq, (double)r->nq), r->k, r->threads, r->threads == 1 ? "" : "s");
    if (r->batch)
        fprintf(f, ", in batches of %s", display_count(n, (double)r->batch_size));
    fputs("\n\n", f);
}

static int index_width(const struct outcomes *all, size_t from, size_t to)
{
    size_t width = strlen("index");
    for (size_t i = from; i < to; i++)
        width = strlen(all->items[i].index) > width ? strlen(all->items[i].index) : width;
    return (int)width;
}

static void print_summary(const struct outcomes *all, size_t from, size_t to, FILE *f)
{
    char a[DISPLAY_MAX], b[DISPLAY_MAX], c[DISPLAY_MAX], d[DISPLAY_MAX];
    const struct outcome *first = &all->items[from];
    const int width = index_width(all, from, to);
    fprintf(f, "  %-*s  %9s %9s %8s %8s ", width, "", "build", "cpu", "memory", "file");
    fprintf(f, " queries a second at recall\n");
    fprintf(f, "  %-*s  %9s %9s %8s %8s ", width, "index", "", "", "", "");
    for (size_t t = 0; t < first->ntargets; t++)
        fprintf(f, " %10g", first->targets[t]);
    fputc('\n', f);
    for (size_t i = from; i < to; i++) {
        const struct outcome *r = &all->items[i];
        fprintf(f, "  %-*s  %9s %9s %8s %8s ", width, r->index, display_seconds(a, r->build_s),
                display_seconds(b, r->build_cpu_s), display_bytes(c, r->memory_bytes),
                display_bytes(d, r->file_bytes));
        for (size_t t = 0; t < r->ntargets; t++)
            fprintf(f, " %10s", display_at(a, r->at[t]));
        fputc('\n', f);
    }
    fputc('\n', f);
    for (size_t i = from; i < to; i++)
        fprintf(f, "  %-*s  %s\n", width, all->items[i].index, all->items[i].spec);
}

static bool trained(const struct outcomes *all, size_t from, size_t to)
{
    bool any = false;
    for (size_t i = from; i < to; i++)
        any = any || all->items[i].train_s >= 0;
    return any;
}

/* Where anything was trained: what that took, and adding by itself; of kith's lists how even
 * they are, and what its short codes miss. */
static void print_training(const struct outcomes *all, size_t from, size_t to, FILE *f)
{
    char v[6][DISPLAY_MAX], lists[64];
    const int width = index_width(all, from, to);
    if (!trained(all, from, to))
        return;
    fprintf(f, "\n  %-*s  %9s %9s %9s %9s %12s  lists, longest over mean, error of codes\n",
            width, "index", "training", "cpu", "adding", "cpu", "bytes/vector");
    for (size_t i = from; i < to; i++) {
        const struct outcome *r = &all->items[i];
        *lists = 0;
        if (r->lists)
            snprintf(lists, sizeof lists, "  %.24s, %.2f, %.4f",
                     display_count(v[5], (double)r->lists), r->list_spread, r->code_error[1]);
        fprintf(f, "  %-*s  %9s %9s %9s %9s %12s%s\n", width, r->index,
                display_seconds(v[0], r->train_s), display_seconds(v[1], r->train_cpu_s),
                display_seconds(v[2], outcome_add_s(r)),
                display_seconds(v[3], outcome_add_cpu_s(r)),
                display_rate(v[4], outcome_vector_bytes(r)), lists);
    }
}

static void print_sweep(const struct outcomes *all, size_t from, size_t to, FILE *f)
{
    char v[8][DISPLAY_MAX];
    const int width = index_width(all, from, to);
    fprintf(f, "\n  %-*s  %7s %8s %9s %8s %8s %8s %8s %9s %7s\n", width, "index", "effort",
            "recall", "QPS", "mean us", "p50 us", "p99 us", "p99.9", "distances", "hops");
    for (size_t i = from; i < to; i++) {
        const struct outcome *r = &all->items[i];
        for (size_t j = 0; j < r->npoints; j++) {
            const struct outcome_point *p = &r->points[j];
            fprintf(f, "  %-*s  %7s %8.4f %9s %8s %8s %8s %8s %9s %7s\n", width, r->index,
                    display_effort(v[0], p->effort, p->setting), p->recall,
                    display_rate(v[1], p->qps), display_rate(v[2], p->mean_us),
                    display_rate(v[3], p->p50_us), display_rate(v[4], p->p99_us),
                    display_rate(v[5], p->p999_us), display_count(v[6], p->distances),
                    display_count(v[7], p->hops));
        }
    }
}

/* Where recall was asked for by number. */
static void print_asked(const struct outcomes *all, size_t from, size_t to, FILE *f)
{
    char v[4][DISPLAY_MAX];
    const int width = index_width(all, from, to);
    bool any = false;
    for (size_t i = from; i < to; i++) {
        const struct outcome *r = &all->items[i];
        if (r->nasked && !any)
            fprintf(f, "\n  %-*s  %8s %9s %9s  least effort, its distances, over them\n", width,
                    "index", "asked", "delivered", "distances");
        any = any || r->nasked;
        for (size_t j = 0; j < r->nasked; j++) {
            const struct outcome_asked *a = &r->asked[j];
            fprintf(f, "  %-*s  %8g %9.4f %9s  %12s %14s  %9.2f\n", width, r->index, a->recall,
                    a->delivered, display_count(v[0], a->distances),
                    display_effort(v[1], a->least_effort, ""),
                    display_count(v[2], a->least_distances), a->distances / a->least_distances);
        }
    }
}

struct frame {
    double left, low, high; /* recall at the left edge (1 is the right one); ln qps */
    unsigned columns;
    char cell[PLOT_ROWS][PLOT_COLUMNS_MAX + 1];
};

static bool frame_fit(struct frame *p, const struct outcomes *all, size_t from, size_t to)
{
    size_t points = 0;
    p->left = 1;
    p->low = INFINITY;
    p->high = -INFINITY;
    for (size_t i = from; i < to; i++) {
        for (size_t j = 0; j < all->items[i].npoints; j++) {
            const struct outcome_point *q = &all->items[i].points[j];
            if (!(q->qps > 0))
                continue;
            points++;
            p->left = fmin(p->left, q->recall);
            p->low = fmin(p->low, log(q->qps));
            p->high = fmax(p->high, log(q->qps));
        }
    }
    p->left = fmax(0, fmin(0.9, floor(p->left * 20) / 20));
    if (p->high - p->low < 0.1) {
        p->low -= 0.5;
        p->high += 0.5;
    }
    return points > 1;
}

static void frame_mark(struct frame *p, const struct outcome *r, char mark)
{
    for (size_t j = 0; j < r->npoints; j++) {
        const struct outcome_point *q = &r->points[j];
        if (!(q->qps > 0))
            continue;
        const double x = (q->recall - p->left) / (1 - p->left);
        const double y = (log(q->qps) - p->low) / (p->high - p->low);
        const size_t row = PLOT_ROWS - 1 - (size_t)lrint(y * (PLOT_ROWS - 1));
        p->cell[row][(size_t)lrint(x * (p->columns - 1))] = mark;
    }
}

static void print_row(const struct frame *p, size_t row, FILE *f, bool color)
{
    for (unsigned x = 0; x < p->columns; x++) {
        const char *mark = p->cell[row][x] == ' ' ? NULL : strchr(MARKS, p->cell[row][x]);
        if (mark && color)
            fprintf(f, "\033[%sm%c\033[0m", colors[(size_t)(mark - MARKS) % COLORS], *mark);
        else
            fputc(p->cell[row][x], f);
    }
    fputc('\n', f);
}

static void print_plot(const struct outcomes *all, size_t from, size_t to, FILE *f,
                       unsigned columns, bool color)
{
    struct frame p;
    char number[DISPLAY_MAX];
    bool sweep = false;
    for (size_t i = from; i < to; i++)
        sweep = sweep || all->items[i].npoints > 1;
    if (!sweep || !frame_fit(&p, all, from, to))
        return;
    p.columns = columns > PLOT_COLUMNS_MAX + PLOT_LABEL + 4 ? PLOT_COLUMNS_MAX
                : columns > 40                              ? columns - PLOT_LABEL - 4
                                                            : 30;
    memset(p.cell, ' ', sizeof p.cell);
    for (size_t i = from; i < to; i++)
        frame_mark(&p, &all->items[i], MARKS[(i - from) % strlen(MARKS)]);
    fprintf(f, "\n  queries a second (log) against recall\n");
    for (size_t row = 0; row < PLOT_ROWS; row++) {
        const bool label = !row || row == PLOT_ROWS - 1 || row == PLOT_ROWS / 2;
        const double y = p.high - (p.high - p.low) * (double)row / (PLOT_ROWS - 1);
        fprintf(f, "%*s |", PLOT_LABEL, label ? display_rate(number, exp(y)) : "");
        print_row(&p, row, f, color);
    }
    fprintf(f, "%*s +", PLOT_LABEL, "");
    for (unsigned x = 0; x < p.columns; x++)
        fputc('-', f);
    fprintf(f, "\n%*s  %-*.2f%.2f\n  ", PLOT_LABEL, "", (int)p.columns - 4, p.left, 1.0);
    for (size_t i = from; i < to; i++) {
        const size_t mark = (i - from) % strlen(MARKS);
        fprintf(f, color ? "  \033[%sm%c\033[0m %s" : "  %.0s%c %s", colors[mark % COLORS],
                MARKS[mark], all->items[i].index);
    }
    fputc('\n', f);
}

void outcome_print(const struct outcomes *all, FILE *f, unsigned columns, bool color)
{
    for (size_t i = 0; i < all->count;) {
        const size_t end = outcomes_group_end(all, i);
        print_head(&all->items[i], f);
        print_summary(all, i, end, f);
        print_training(all, i, end, f);
        print_sweep(all, i, end, f);
        print_asked(all, i, end, f);
        print_plot(all, i, end, f, columns, color);
        i = end;
    }
}
