/* compare.c - ratios of kith to its peers; see compare.h.
 *
 * Place: bench.  Ratios are those of medians; their intervals come from the rounds one by one,
 * in each of which both sides had the same machine. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "bench/compare.h"
#include "bench/display.h"

struct compare_at compare_with(const struct outcome *own, const struct outcome *peer, size_t t)
{
    struct compare_at at = {own->at[t].qps / peer->at[t].qps, NAN, NAN, peer->index,
                            own->at[t].at_least || peer->at[t].at_least};
    at.low = at.high = at.ratio;
    for (unsigned r = 0; r < own->rounds && own->at_round[t][r] > 0; r++) {
        const double ratio = own->at_round[t][r] / peer->at_round[t][r];
        at.low = fmin(at.low, ratio);
        at.high = fmax(at.high, ratio);
    }
    return at;
}

struct compare_at compare_best(const struct outcomes *all, size_t from, size_t to,
                               const struct outcome *own, size_t t)
{
    const struct outcome *best = NULL;
    for (size_t i = from; i < to; i++) {
        const struct outcome *r = &all->items[i];
        if (!r->own && r->at[t].qps > 0 && (!best || r->at[t].qps > best->at[t].qps))
            best = r;
    }
    return best ? compare_with(own, best, t) : (struct compare_at){NAN, NAN, NAN, NULL, false};
}

const struct outcome *compare_find(const struct outcomes *all, size_t from, size_t to,
                                   const char *name)
{
    for (size_t i = from; i < to; i++)
        if (!all->items[i].own && !strcmp(all->items[i].index, name))
            return &all->items[i];
    return NULL;
}

bool compare_is_contest(const struct outcomes *all, size_t from, size_t to)
{
    bool own = false, peer = false;
    for (size_t i = from; i < to; i++) {
        own = own || all->items[i].own;
        peer = peer || !all->items[i].own;
    }
    return own && peer;
}

bool compare_effort(const struct outcome *own, const struct outcome *peer, size_t i,
                    struct compare_effort *out)
{
    for (size_t a = 0; a < own->npoints; a++) {
        const struct outcome_point *p = &own->points[a];
        for (size_t b = 0; b < peer->npoints && p->effort; b++) {
            const struct outcome_point *q = &peer->points[b];
            if (q->effort != p->effort || i--)
                continue;
            *out = (struct compare_effort){p, q, p->qps / q->qps};
            return true;
        }
    }
    return false;
}

static void print_at(struct compare_at at, bool named, FILE *f)
{
    char text[96];
    if (isfinite(at.ratio))
        snprintf(text, sizeof text, "%.2f%s (%.2f-%.2f)%s%.24s", at.ratio,
                 at.at_least ? "*" : "", at.low, at.high, named ? " " : "",
                 named ? at.peer : "");
    else
        snprintf(text, sizeof text, "-%s%.24s", at.peer && named ? " " : "",
                 at.peer && named ? at.peer : "");
    fprintf(f, "  %-*s", named ? 32 : 18, text);
}

static void print_against_best(const struct outcomes *all, size_t from, size_t to, FILE *f)
{
    const struct outcome *first = &all->items[from];
    fprintf(
        f,
        "\n%s: queries a second of kith over the fastest peer at that recall (interval over "
        "%u rounds)\n  %-32s",
        first->dataset, first->rounds, "index");
    for (size_t t = 0; t < first->ntargets; t++)
        fprintf(f, "  %-32g", first->targets[t]);
    fputc('\n', f);
    for (size_t i = from; i < to; i++) {
        const struct outcome *r = &all->items[i];
        if (!r->own)
            continue;
        fprintf(f, "  %-32s", r->index);
        for (size_t t = 0; t < r->ntargets; t++)
            print_at(compare_best(all, from, to, r, t), true, f);
        fputc('\n', f);
    }
}

/* "0.35", or "-" where one of the two was not measured. */
static const char *quotient(char *buf, double a, double b)
{
    if (a > 0 && b > 0)
        snprintf(buf, DISPLAY_MAX, "%.2f", a / b);
    else
        snprintf(buf, DISPLAY_MAX, "-");
    return buf;
}

static void print_against_reference(const struct outcomes *all, size_t from, size_t to,
                                    const struct outcome *reference, FILE *f)
{
    char a[DISPLAY_MAX], b[DISPLAY_MAX], c[DISPLAY_MAX];
    fprintf(f, "\n%s: all over %s (%s)\n  %-32s  %9s  %7s  %7s", reference->dataset,
            reference->index, reference->spec, "index", "build CPU", "memory", "file");
    for (size_t t = 0; t < reference->ntargets; t++)
        fprintf(f, "  %-18g", reference->targets[t]);
    fputc('\n', f);
    for (size_t i = from; i < to; i++) {
        const struct outcome *r = &all->items[i];
        fprintf(f, "  %-32s  %9s  %7s  %7s", r->index,
                quotient(a, r->build_cpu_s, reference->build_cpu_s),
                quotient(b, r->memory_bytes, reference->memory_bytes),
                quotient(c, r->file_bytes, reference->file_bytes));
        for (size_t t = 0; t < r->ntargets; t++)
            print_at(compare_with(r, reference, t), false, f);
        fputc('\n', f);
    }
}

/* Recall and rates of a spec beside those of a peer, effort by effort. */
static void print_efforts(const struct outcome *own, const struct outcome *peer, FILE *f)
{
    char text[DISPLAY_MAX], v[2][DISPLAY_MAX];
    struct compare_effort at;
    if (!compare_effort(own, peer, 0, &at))
        return;
    fprintf(f,
            "\n%s: %s beside %s at the same effort\n  %7s  %8s %8s %8s  %9s %9s %7s\n",
            own->dataset, own->index, peer->index, "effort", "recall", "peer's", "more", "QPS",
            "peer's", "ratio");
    for (size_t i = 0; compare_effort(own, peer, i, &at); i++)
        fprintf(f, "  %7s  %8.4f %8.4f %+8.4f  %9s %9s %7.2f\n",
                display_count(text, (double)at.own->effort), at.own->recall, at.peer->recall,
                at.own->recall - at.peer->recall, display_rate(v[0], at.own->qps),
                display_rate(v[1], at.peer->qps), at.ratio);
}

static void print_sweeps(const struct outcomes *all, size_t from, size_t to, FILE *f)
{
    for (size_t i = from; i < to; i++)
        for (size_t j = from; j < to && all->items[i].own; j++)
            if (!all->items[j].own)
                print_efforts(&all->items[i], &all->items[j], f);
}

void compare_print(const struct outcomes *all, FILE *f)
{
    for (size_t i = 0; i < all->count;) {
        const size_t end = outcomes_group_end(all, i);
        if (all->items[i].swept) {
            print_sweeps(all, i, end, f);
        } else if (compare_is_contest(all, i, end)) {
            const struct outcome *reference = compare_find(all, i, end, COMPARE_REFERENCE);
            print_against_best(all, i, end, f);
            if (reference)
                print_against_reference(all, i, end, reference, f);
            fputs("  (* one of the two was above that recall at its lowest effort)\n", f);
        }
        i = end;
    }
}
