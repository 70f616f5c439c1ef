/* eval_chunks.c - rag eval chunks: passages of which size hold answers best.
 *
 * Place: rag/cli.  For each size a store of its own is made, and goes. */
#include <config.h>

#include <string.h>

#include "ann/base/error.h"
#include "ann/io/svg.h"
#include "rag/cli/cli.h"

#define SIZES_MOST 32

struct chunking {
    const struct args *a;
    rag_search_params p;
    const char *mode;
    rag_collection *c;
    rag_collection_info info;
    size_t sizes[SIZES_MOST]; /* [n] */
    rag_chunk_eval found[SIZES_MOST];
    size_t n;
};

static void print_figures(const rag_chunk_figures *f)
{
    printf(" %s%6.2f%s %s%5.1f-%-5.1f%s %6.2f %6.2f %6.2f %5.1f", print_bold(), 100 * f->recall,
           print_plain(), print_dim(), 100 * f->low, 100 * f->high, print_plain(),
           100 * f->precision, 100 * f->iou, 100 * f->whole, f->passages);
}

static void print_table(const struct chunking *w)
{
    const rag_chunk_eval *e = &w->found[0];
    printf("%s: %zu questions with an answer in %llu documents, mode %s; of 100, with 95 %% "
           "interval\n%25s   first %zu passages %*s in %zu tokens\n",
           w->info.name, e->questions, (unsigned long long)w->info.documents, w->mode, "", e->k,
           28, "", e->tokens);
    printf("%6s %8s %7s %6s", "size", "passages", "tokens", "best P");
    for (int i = 0; i < 2; i++)
        printf(" %6s %-11s %6s %6s %6s %5s", "recall", "", "prec.", "IoU", "whole", "n");
    putchar('\n');
    for (size_t i = 0; i < w->n; i++) {
        e = &w->found[i];
        printf("%6zu %8llu %7.1f %6.2f", w->sizes[i], (unsigned long long)e->chunks,
               e->chunk_tokens, 100 * e->precision);
        print_figures(&e->first);
        print_figures(&e->within);
        putchar('\n');
    }
}

static void json_figures(struct js_out *o, const char *name, const rag_chunk_figures *f)
{
    js_open(o, name, '{');
    js_put_double(o, "recall", f->recall);
    js_put_double(o, "low", f->low);
    js_put_double(o, "high", f->high);
    js_put_double(o, "precision", f->precision);
    js_put_double(o, "iou", f->iou);
    js_put_double(o, "whole", f->whole);
    js_put_double(o, "passages", f->passages);
    js_shut(o, '}');
}

static rag_err json_lines(const struct chunking *w)
{
    rag_err err = RAG_OK;
    for (size_t i = 0; i < w->n && !err; i++) {
        const rag_chunk_eval *e = &w->found[i];
        struct js_out o = JS_OUT_INIT;
        js_open(&o, NULL, '{');
        js_put_string(&o, "type", "chunks");
        js_put_string(&o, "collection", w->info.name);
        js_put_string(&o, "mode", w->mode);
        js_put_u64(&o, "documents", w->info.documents);
        js_put_u64(&o, "questions", e->questions);
        js_put_u64(&o, "size", w->sizes[i]);
        js_put_u64(&o, "chunks", e->chunks);
        js_put_double(&o, "chunk_tokens", e->chunk_tokens);
        js_put_double(&o, "best_precision", e->precision);
        js_put_u64(&o, "k", e->k);
        js_put_u64(&o, "tokens", e->tokens);
        json_figures(&o, "first", &e->first);
        json_figures(&o, "within", &e->within);
        js_shut(&o, '}');
        err = (rag_err)js_line(&o, stdout);
        js_out_free(&o);
    }
    return err;
}

/* ---- the page ---- */

static void page_figures(FILE *f, const rag_chunk_figures *g)
{
    report_cell(f, "%.2f", 100 * g->recall);
    report_cell(f, "%.1f–%.1f", 100 * g->low, 100 * g->high);
    report_cell(f, "%.2f", 100 * g->precision);
    report_cell(f, "%.2f", 100 * g->iou);
    report_cell(f, "%.2f", 100 * g->whole);
    report_cell(f, "%.1f", g->passages);
}

static void page_sizes(FILE *f, const struct chunking *w, bool within)
{
    static const char *const heads[] = {"size",   "passages", "mean tokens", "best precision",
                                        "recall", "95 %",     "precision",   "IoU",
                                        "whole",  "found",    NULL};
    const rag_chunk_eval *first = &w->found[0];
    if (within)
        fprintf(f, "<h3>What %zu tokens have room for</h3>\n", first->tokens);
    else
        fprintf(f, "<h3>The first %zu passages</h3>\n", first->k);
    report_table(f, heads);
    for (size_t i = 0; i < w->n; i++) {
        const rag_chunk_eval *e = &w->found[i];
        fputs("<tr>", f);
        report_cell(f, "%zu", w->sizes[i]);
        report_cell(f, "%llu", (unsigned long long)e->chunks);
        report_cell(f, "%.1f", e->chunk_tokens);
        report_cell(f, "%.2f", 100 * e->precision);
        page_figures(f, within ? &e->within : &e->first);
        fputs("</tr>\n", f);
    }
    report_table_end(f);
}

static void page_bars(FILE *f, const struct chunking *w, bool within)
{
    struct svg_bar bars[SIZES_MOST];
    char names[SIZES_MOST][32], values[SIZES_MOST][32], title[96];
    for (size_t i = 0; i < w->n; i++) {
        const rag_chunk_figures *g = within ? &w->found[i].within : &w->found[i].first;
        snprintf(names[i], sizeof names[i], "%zu tokens", w->sizes[i]);
        snprintf(values[i], sizeof values[i], "%.2f", 100 * g->recall);
        bars[i] = (struct svg_bar){names[i],    values[i],    100 * g->recall,
                                   (unsigned)i, 100 * g->low, 100 * g->high};
    }
    snprintf(title, sizeof title, within ? "Recall in %zu tokens" : "Recall of %zu passages",
             within ? w->found[0].tokens : w->found[0].k);
    fprintf(f, "<figure><h3>%s; more is better</h3>\n", title);
    svg_bars(f, title, bars, w->n);
    fputs("</figure>\n", f);
}

static rag_err write_page(const struct chunking *w)
{
    FILE *f = NULL;
    rag_err err = report_begin(w->a, &f);
    if (err)
        return err;
    report_section(f, w->info.name, "%zu questions with an answer in %llu documents, mode %s",
                   w->found[0].questions, (unsigned long long)w->info.documents, w->mode);
    page_sizes(f, w, false);
    page_sizes(f, w, true);
    fputs("<div class=\"plots\">\n", f);
    page_bars(f, w, false);
    page_bars(f, w, true);
    fputs("</div>\n</section>\n", f);
    return report_end(w->a, f,
                      "Of the sentences that an answer stands in, in words: recall, the share "
                      "of them that is in the passages; precision, the share of the passages "
                      "that is them; IoU, of both together; whole, the share of questions with "
                      "the answer whole in a passage; best precision, that of all passages "
                      "that the sentences lie in.");
}

/* One size, in a store of its own. */
static rag_err measure(struct chunking *w, size_t size, rag_chunk_eval *out)
{
    char dir[4096] = "", tokens[24];
    rag_store *s = NULL;
    rag_chunk_eval_options o = RAG_CHUNK_EVAL_OPTIONS_INIT;
    o.search = &w->p;
    o.k = (size_t)w->a->k;
    o.tokens = (size_t)w->a->tokens;
    snprintf(tokens, sizeof tokens, "%zu", size);
    config_given("chunk.tokens", tokens);
    rag_err err = run_scratch(dir, sizeof dir);
    if (!err)
        err = run_open_at(w->a, dir, &s);
    if (!err)
        err = run_library(rag_collection_add(s, w->c, NULL));
    if (!err)
        err = run_library(rag_eval_chunks(s, w->c, &o, out));
    rag_close(s);
    if (*dir)
        run_scratch_end(dir);
    config_given(NULL, NULL);
    return err;
}

int eval_chunks(struct args *a)
{
    struct chunking w = {.a = a, .mode = a->modes ? a->modes : "fast"};
    const char *sizes = a->sizes ? a->sizes : "60,90,120,180,240,360";
    rag_search_params base;
    size_t n = 0;
    if (!eval_numbers(sizes, SIZES_MOST, w.sizes, &n))
        return cli_usage(a, "--sizes %s: numbers with commas between", sizes);
    if (a->store)
        return cli_usage(a, "eval chunks makes a store of its own for each size");
    if (!find_params(a, &base))
        return cli_usage(a, "a budget is a number of milliseconds from 1 on, or none");
    if (!a->budget)
        base.budget_ms = -1;
    rag_err err = eval_mode(&base, w.mode, &w.p);
    if (!err)
        err = eval_collection(a, true, &w.c, &w.info);
    for (; w.n < n && !err; w.n += !err)
        err = measure(&w, w.sizes[w.n], &w.found[w.n]);
    if (!err && print_json(a))
        err = json_lines(&w);
    else if (!err)
        print_table(&w);
    if (!err && a->html)
        err = write_page(&w);
    rag_collection_close(w.c);
    return run_end(err);
}
