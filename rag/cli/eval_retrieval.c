/* eval_retrieval.c - rag eval retrieval: what searches find, side by side.
 *
 * Place: rag/cli.  Invariant: a store that is made for a measurement goes with it, unless the
 * caller named it. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/base/memory.h"
#include "ann/io/page.h"
#include "ann/io/svg.h"
#include "rag/cli/cli.h"

#define RUNS_MOST 16

struct judged {
    char name[64];
    rag_run *run;
};

struct retrieval {
    const struct args *a;
    rag_search_params p; /* as the options have them */
    rag_collection *c;
    rag_collection_info info;
    rag_store *s;
    char scratch[4096];            /* folder of a store that is not kept; "": none */
    struct judged runs[RUNS_MOST]; /* [n] */
    size_t n;
};

/* ---- ways of searching ---- */

static const struct {
    const char *name;
    rag_mode mode;
    bool fast, reranked;
} modes[] = {
    {"text", RAG_TEXT, true, false},
    {"static", RAG_VECTOR, true, false},
    {"vector", RAG_VECTOR, true, false},
    {"exact", RAG_EXACT, true, false},
    {"fast", RAG_HYBRID, true, false},
    {"hybrid", RAG_HYBRID, false, false},
    {"contextual", RAG_CONTEXTUAL, false, false},
    {"rerank", RAG_HYBRID, false, true},
};

rag_err eval_mode(const rag_search_params *base, const char *name, rag_search_params *p)
{
    *p = *base;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(name, modes[i].name) != 0)
            continue;
        p->mode = modes[i].mode;
        p->fast = modes[i].fast;
        if (!modes[i].reranked)
            p->rerank = NULL;
        else if (!p->rerank)
            return (rag_err)ANN_FAIL(ANN_EINVAL, "mode rerank needs --rerank MODEL");
        return RAG_OK;
    }
    return (rag_err)ANN_FAIL(ANN_EINVAL,
                             "no mode is called \"%s\": text, static, vector, exact, fast, "
                             "hybrid, contextual, rerank",
                             name);
}

static rag_err new_run(struct retrieval *r, const char *name, struct judged **out)
{
    if (r->n == RUNS_MOST)
        return (rag_err)ANN_FAIL(ANN_EINVAL, "more than %d modes and runs", RUNS_MOST);
    *out = &r->runs[r->n];
    snprintf((*out)->name, sizeof(*out)->name, "%s", name);
    return RAG_OK;
}

/* FILE with {} replaced by the run's name. */
static rag_err write_run(const struct retrieval *r, const struct judged *j)
{
    const char *path = r->a->run_out, *hole = strstr(path, "{}");
    char whole[4200];
    if (!hole && r->n > 1)
        return (rag_err)ANN_FAIL(
            ANN_EINVAL, "--run-out %s: several modes need {} in the name, one file each", path);
    snprintf(whole, sizeof whole, "%.*s%s%s", (int)(hole ? hole - path : (long)strlen(path)),
             path, hole ? j->name : "", hole ? hole + 2 : "");
    return run_library(rag_run_write(j->run, j->name, whole));
}

static rag_err search_in(struct retrieval *r, const char *mode)
{
    rag_search_params p;
    struct judged *j = NULL;
    rag_err err = eval_mode(&r->p, mode, &p);
    if (!err)
        err = new_run(r, mode, &j);
    if (!err)
        err = run_library(rag_run_search(r->s, r->c, &p, &j->run));
    if (err)
        return err;
    r->n++;
    if (j->run->warning)
        run_warn("%s: %s", mode, j->run->warning);
    return RAG_OK;
}

static rag_err search_all(struct retrieval *r)
{
    char *list = mem_strdup(r->a->modes    ? r->a->modes
                            : r->a->rerank ? "text,static,fast,hybrid,rerank"
                                           : "text,static,fast,hybrid");
    char *save = NULL;
    rag_search_params p;
    rag_err err = list ? RAG_OK : (rag_err)ANN_FAIL(ANN_ENOMEM, "out of memory");
    char *names[RUNS_MOST + 1];
    size_t n = 0;
    for (char *name = list ? strtok_r(list, ",", &save) : NULL; name && n <= RUNS_MOST;
         name = strtok_r(NULL, ",", &save))
        names[n++] = name;
    for (size_t i = 0; i < n && !err; i++) /* before any work is done */
        err = eval_mode(&r->p, names[i], &p);
    for (size_t i = 0; i < n && !err; i++)
        err = search_in(r, names[i]);
    mem_free(list);
    return err;
}

static rag_err read_runs(struct retrieval *r)
{
    rag_err err = RAG_OK;
    for (int i = 0; i < r->a->runs.n && !err; i++) {
        const char *path = r->a->runs.items[i], *slash = strrchr(path, '/');
        struct judged *j = NULL;
        err = new_run(r, slash ? slash + 1 : path, &j);
        if (!err)
            err = run_library(rag_run_read(r->c, path, &j->run));
        r->n += !err;
    }
    return err;
}

/* ---- the table ---- */

static const struct {
    rag_metric metric;
    const char *head;
} columns[] = {
    {RAG_MRR_10, "MRR@10"},      {RAG_MAP_100, "MAP@100"}, {RAG_RECALL_1, "R@1"},
    {RAG_RECALL_5, "R@5"},       {RAG_RECALL_10, "R@10"},  {RAG_RECALL_20, "R@20"},
    {RAG_RECALL_100, "R@100"},   {RAG_PRECISION_5, "P@5"}, {RAG_SUCCESS_5, "S@5"},
    {RAG_UNJUDGED_10, "unj@10"},
};
#define NCOLUMNS (sizeof columns / sizeof *columns)

static void print_ms(double ms)
{
    if (isnan(ms))
        printf("%8s", "-");
    else
        printf("%8.*f", ms < 10 ? 2 : 1, ms);
}

static void print_row(const struct judged *j)
{
    const rag_run *r = j->run;
    printf("%-12s%s%6.2f%s %s%5.1f-%-5.1f%s", j->name, print_bold(), 100 * r->mean[RAG_NDCG_10],
           print_plain(), print_dim(), 100 * r->low[RAG_NDCG_10], 100 * r->high[RAG_NDCG_10],
           print_plain());
    for (size_t c = 0; c < NCOLUMNS; c++)
        printf("%8.2f", 100 * r->mean[columns[c].metric]);
    print_ms(r->p50_ms);
    print_ms(r->p95_ms);
    putchar('\n');
}

static rag_err print_table(const struct retrieval *r)
{
    rag_err err = RAG_OK;
    printf("%s: %llu questions, %llu judgments", r->info.name,
           (unsigned long long)r->info.questions, (unsigned long long)r->info.judgments);
    if (r->info.documents)
        printf(", %llu documents", (unsigned long long)r->info.documents);
    printf("; of 100, with 95 %% interval\n%-12s%6s %-11s", "", "nDCG@10", "");
    for (size_t c = 0; c < NCOLUMNS; c++)
        printf("%8s", columns[c].head);
    printf("%8s%8s\n", "p50 ms", "p95 ms");
    for (size_t i = 0; i < r->n; i++)
        print_row(&r->runs[i]);
    if (r->n > 1)
        puts("\nnDCG@10 of two compared (paired randomisation test)");
    for (size_t i = 0; i < r->n; i++)
        for (size_t k = 0; k < i && !err; k++) {
            double d, p;
            err = run_library(
                rag_run_compare(r->runs[i].run, r->runs[k].run, RAG_NDCG_10, &d, &p));
            printf("%-12s - %-12s %+6.2f   p %s%.4f%s\n", r->runs[i].name, r->runs[k].name,
                   100 * d, p < 0.05 ? print_bold() : "", p, p < 0.05 ? print_plain() : "");
        }
    return err;
}

static rag_err json_run(const struct retrieval *r, const struct judged *j)
{
    struct js_out o = JS_OUT_INIT;
    js_open(&o, NULL, '{');
    js_put_string(&o, "type", "run");
    js_put_string(&o, "collection", r->info.name);
    js_put_string(&o, "mode", j->name);
    js_put_u64(&o, "questions", r->info.questions);
    js_put_u64(&o, "documents", r->info.documents);
    for (size_t m = 0; m < RAG_METRICS; m++) {
        js_open(&o, rag_metric_name((rag_metric)m), '{');
        js_put_double(&o, "mean", j->run->mean[m]);
        js_put_double(&o, "low", j->run->low[m]);
        js_put_double(&o, "high", j->run->high[m]);
        js_shut(&o, '}');
    }
    js_put_double(&o, "p50_ms", j->run->p50_ms);
    js_put_double(&o, "p95_ms", j->run->p95_ms);
    js_shut(&o, '}');
    const rag_err err = (rag_err)js_line(&o, stdout);
    js_out_free(&o);
    return err;
}

static rag_err json_questions(const struct retrieval *r, const struct judged *j)
{
    rag_err err = RAG_OK;
    for (size_t i = 0; i < j->run->n && !err; i++) {
        struct js_out o = JS_OUT_INIT;
        js_open(&o, NULL, '{');
        js_put_string(&o, "type", "question");
        js_put_string(&o, "collection", r->info.name);
        js_put_string(&o, "mode", j->name);
        js_put_string(&o, "question", j->run->rankings[i].question);
        for (size_t m = 0; m < RAG_METRICS; m++)
            js_put_double(&o, rag_metric_name((rag_metric)m), j->run->values[m][i]);
        if (j->run->ms)
            js_put_double(&o, "ms", j->run->ms[i]);
        js_shut(&o, '}');
        err = (rag_err)js_line(&o, stdout);
        js_out_free(&o);
    }
    return err;
}

static rag_err json_pairs(const struct retrieval *r)
{
    rag_err err = RAG_OK;
    for (size_t i = 0; i < r->n; i++)
        for (size_t k = 0; k < i && !err; k++) {
            struct js_out o = JS_OUT_INIT;
            double d = 0, p = 0;
            err = run_library(
                rag_run_compare(r->runs[i].run, r->runs[k].run, RAG_NDCG_10, &d, &p));
            js_open(&o, NULL, '{');
            js_put_string(&o, "type", "comparison");
            js_put_string(&o, "collection", r->info.name);
            js_put_string(&o, "metric", rag_metric_name(RAG_NDCG_10));
            js_put_string(&o, "a", r->runs[i].name);
            js_put_string(&o, "b", r->runs[k].name);
            js_put_double(&o, "difference", d);
            js_put_double(&o, "p", p);
            js_shut(&o, '}');
            if (!err)
                err = (rag_err)js_line(&o, stdout);
            js_out_free(&o);
        }
    return err;
}

/* ---- the page ---- */

static void page_rows(FILE *f, const struct retrieval *r)
{
    const char *heads[NCOLUMNS + 6] = {"", "nDCG@10", "95 %"};
    size_t n = 3;
    for (size_t c = 0; c < NCOLUMNS; c++)
        heads[n++] = columns[c].head;
    heads[n++] = "p50 ms";
    heads[n++] = "p95 ms";
    heads[n] = NULL;
    report_table(f, heads);
    for (size_t i = 0; i < r->n; i++) {
        const rag_run *run = r->runs[i].run;
        fputs("<tr>", f);
        page_name(f, r->runs[i].name, i);
        report_cell(f, "%.2f", 100 * run->mean[RAG_NDCG_10]);
        report_cell(f, "%.1f–%.1f", 100 * run->low[RAG_NDCG_10], 100 * run->high[RAG_NDCG_10]);
        for (size_t c = 0; c < NCOLUMNS; c++)
            report_cell(f, "%.2f", 100 * run->mean[columns[c].metric]);
        report_cell(f, isnan(run->p50_ms) ? "-" : "%.2f", run->p50_ms);
        report_cell(f, isnan(run->p95_ms) ? "-" : "%.2f", run->p95_ms);
        fputs("</tr>\n", f);
    }
    report_table_end(f);
}

static rag_err page_pairs(FILE *f, const struct retrieval *r)
{
    static const char *const heads[] = {"nDCG@10 of two compared", "difference", "p", NULL};
    rag_err err = RAG_OK;
    if (r->n < 2)
        return RAG_OK;
    report_table(f, heads);
    for (size_t i = 0; i < r->n; i++)
        for (size_t k = 0; k < i && !err; k++) {
            double d = 0, p = 0;
            err = run_library(
                rag_run_compare(r->runs[i].run, r->runs[k].run, RAG_NDCG_10, &d, &p));
            fputs("<tr>", f);
            report_cell(f, "%s - %s", r->runs[i].name, r->runs[k].name);
            report_cell(f, "%+.2f", 100 * d);
            report_cell(f, "%.4f", p);
            fputs("</tr>\n", f);
        }
    report_table_end(f);
    return err;
}

/* nDCG@10 with its interval, or the median time. */
static void page_bars(FILE *f, const struct retrieval *r, bool times)
{
    const char *title = times ? "Median time of a search, ms; less is better"
                              : "nDCG@10 with 95 % interval; more is better";
    struct svg_bar bars[RUNS_MOST];
    char values[RUNS_MOST][32];
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) {
        const rag_run *run = r->runs[i].run;
        const double v = times ? run->p50_ms : 100 * run->mean[RAG_NDCG_10];
        if (isnan(v))
            continue;
        snprintf(values[n], sizeof *values, "%.2f", v);
        bars[n] = (struct svg_bar){.name = r->runs[i].name,
                                   .value = values[n],
                                   .length = v,
                                   .color = (unsigned)i,
                                   .low = times ? 0 : 100 * run->low[RAG_NDCG_10],
                                   .high = times ? 0 : 100 * run->high[RAG_NDCG_10]};
        n++;
    }
    if (n == 0)
        return;
    fprintf(f, "<figure><h3>%s</h3>\n", title);
    svg_bars(f, title, bars, n);
    fputs("</figure>\n", f);
}

static rag_err write_page(const struct retrieval *r)
{
    FILE *f = NULL;
    rag_err err = report_begin(r->a, &f);
    if (err)
        return err;
    report_section(f, r->info.name, "%llu documents, %llu questions, %llu judgments; of 100",
                   (unsigned long long)r->info.documents, (unsigned long long)r->info.questions,
                   (unsigned long long)r->info.judgments);
    page_rows(f, r);
    fputs("<div class=\"plots\">\n", f);
    page_bars(f, r, false);
    page_bars(f, r, true);
    fputs("</div>\n", f);
    err = page_pairs(f, r);
    fputs("</section>\n", f);
    const rag_err closed = report_end(
        r->a, f,
        "Figures are trec_eval's; documents rank by their best passage. Intervals: the middle "
        "95 % of 1,000 bootstrap samples of the questions. p: paired, two-sided randomisation "
        "test of 10,000 exchanges. Times are of searches for 200 passages, one at a time.");
    return err ? err : closed;
}

static rag_err show(const struct retrieval *r)
{
    if (!print_json(r->a))
        return print_table(r);
    rag_err err = RAG_OK;
    for (size_t i = 0; i < r->n && !err; i++)
        err = json_run(r, &r->runs[i]);
    if (!err)
        err = json_pairs(r);
    for (size_t i = 0; i < r->n && !err && r->a->each; i++)
        err = json_questions(r, &r->runs[i]);
    return err;
}

/* ---- the store ---- */

/* The caller's store, with the documents if there are some, or one of its own for them. */
static rag_err open_store(struct retrieval *r)
{
    if (r->a->store && !r->info.documents)
        return run_open(r->a, RAG_READ, &r->s);
    if (!r->info.documents)
        return (rag_err)ANN_FAIL(ANN_EINVAL,
                                 "there is neither a corpus to be searched nor a --store");
    rag_err err = r->a->store ? RAG_OK : run_scratch(r->scratch, sizeof r->scratch);
    if (!err)
        err = run_open_at(r->a, r->a->store ? r->a->store : r->scratch, &r->s);
    return err ? err : run_library(rag_collection_add(r->s, r->c, NULL));
}

rag_err eval_collection(const struct args *a, bool spans, rag_collection **c,
                        rag_collection_info *info)
{
    rag_collection_options o = RAG_COLLECTION_OPTIONS_INIT;
    o.folder = a->n > 1 ? a->list[1] : NULL;
    o.corpus = a->corpus;
    o.queries = a->queries;
    o.qrels = a->qrels;
    o.every = (size_t)a->every;
    o.join = a->join;
    o.spans = spans;
    *info = (rag_collection_info){.size = sizeof *info};
    rag_err err = run_library(rag_collection_open(&o, c));
    return err ? err : run_library(rag_collection_get_info(*c, info));
}

int eval_retrieval(struct args *a)
{
    struct retrieval r = {.a = a};
    if (!find_params(a, &r.p))
        return cli_usage(a, "a budget is a number of milliseconds from 1 on, or none");
    if (!a->budget)
        r.p.budget_ms = -1; /* nothing is left unjudged for want of time */
    rag_err err = eval_collection(a, false, &r.c, &r.info);
    const bool searches = a->runs.n == 0 || a->modes;
    if (!err && searches)
        err = open_store(&r);
    if (!err && searches)
        err = search_all(&r);
    for (size_t i = 0; i < r.n && !err && a->run_out; i++)
        err = write_run(&r, &r.runs[i]);
    if (!err)
        err = read_runs(&r);
    if (!err)
        err = show(&r);
    if (!err && a->html)
        err = write_page(&r);
    rag_close(r.s);
    if (r.scratch[0])
        run_scratch_end(r.scratch);
    for (size_t i = 0; i < r.n; i++)
        rag_run_free(r.runs[i].run);
    rag_collection_close(r.c);
    return run_end(err);
}
