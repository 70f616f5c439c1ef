/* eval_answers.c - rag eval answers: how near answers come to references, what they cite, and
 * what they refuse.
 *
 * Place: rag/cli.  Asking is that of rag ask, with the same options and settings. */
#include <config.h>

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "ann/base/error.h"
#include "ann/io/page.h"
#include "ann/io/svg.h"
#include "rag/cli/cli.h"

static const char *const labels[RAG_ANSWER_METRICS] = {
    [RAG_ANSWER_EXACT] = "exact match",
    [RAG_ANSWER_F1] = "token F1",
    [RAG_ANSWER_ROUGE_L] = "ROUGE-L",
    [RAG_ANSWER_COSINE] = "cosine",
    [RAG_ANSWER_SHUFFLED] = "  shuffled",
    [RAG_ANSWER_VALID] = "citations that exist",
    [RAG_ANSWER_COVERED] = "sentences that cite",
    [RAG_ANSWER_UNCITED] = "answers without citation",
    [RAG_ANSWER_REFUSED] = "unanswerable refused",
    [RAG_ANSWER_REFUSED_WRONGLY] = "answerable refused",
};

/* ---- output ---- */

static void print_row(const rag_answer_eval *e, size_t m)
{
    if (e->count[m] == 0) {
        printf("%-26s%6s %-11s%9d\n", labels[m], "-", "", 0);
        return;
    }
    printf("%-26s%s%6.2f%s %s%5.1f-%-5.1f%s%9zu", labels[m], print_bold(), 100 * e->mean[m],
           print_plain(), print_dim(), 100 * e->low[m], 100 * e->high[m], print_plain(),
           e->count[m]);
    if (m == RAG_ANSWER_SHUFFLED && !isnan(e->cosine_z))
        printf("   z %.1f", e->cosine_z);
    putchar('\n');
}

static void print_table(const rag_answer_eval *e)
{
    printf("%zu questions, %zu answerable, %zu not; %zu answers", e->n, e->answerable,
           e->unanswerable, e->answers);
    if (e->model) {
        fputs(" of ", stdout);
        print_text(stdout, e->model, strlen(e->model));
    }
    if (e->cut)
        printf(", %zu of them cut at its limit", e->cut);
    if (e->embedder)
        printf("; cosines by %s", e->embedder);
    printf("\n%-26s%6s %-11s%9s\n", "of 100", "mean", "95 %", "answers");
    for (size_t m = 0; m < RAG_ANSWER_METRICS; m++)
        print_row(e, m);
}

static rag_err json_all(const struct args *a, const rag_answer_eval *e)
{
    struct js_out o = JS_OUT_INIT;
    js_open(&o, NULL, '{');
    js_put_string(&o, "type", "answers");
    js_put_string(&o, "queries", a->queries);
    js_put_string(&o, "model", e->model);
    js_put_string(&o, "embedder", e->embedder);
    js_put_u64(&o, "questions", e->n);
    js_put_u64(&o, "answerable", e->answerable);
    js_put_u64(&o, "unanswerable", e->unanswerable);
    js_put_u64(&o, "answers", e->answers);
    js_put_u64(&o, "asked", e->asked);
    js_put_u64(&o, "failed", e->failed);
    js_put_u64(&o, "cut", e->cut);
    for (size_t m = 0; m < RAG_ANSWER_METRICS; m++) {
        js_open(&o, rag_answer_metric_name((rag_answer_metric)m), '{');
        js_put_double(&o, "mean", e->mean[m]);
        js_put_double(&o, "low", e->low[m]);
        js_put_double(&o, "high", e->high[m]);
        js_put_u64(&o, "n", e->count[m]);
        js_shut(&o, '}');
    }
    js_put_double(&o, "cosine_z", e->cosine_z);
    js_shut(&o, '}');
    const rag_err err = (rag_err)js_line(&o, stdout);
    js_out_free(&o);
    return err;
}

static rag_err json_each(const rag_answer_eval *e)
{
    static const char *const kinds[] = {NULL, "yes", "no"};
    rag_err err = RAG_OK;
    for (size_t i = 0; i < e->n && !err; i++) {
        const rag_judged_answer *j = &e->judged[i];
        struct js_out o = JS_OUT_INIT;
        js_open(&o, NULL, '{');
        js_put_string(&o, "type", "question");
        js_put_string(&o, "question", j->question);
        js_put_string(&o, "answerable", kinds[j->answerable]);
        js_put_string(&o, "answer", j->answer);
        js_put_bool(&o, "refused", j->refused != 0);
        if (j->told)
            js_put_u64(&o, "sources", j->sources);
        for (size_t m = 0; m < RAG_ANSWER_METRICS; m++)
            js_put_double(&o, rag_answer_metric_name((rag_answer_metric)m), e->values[m][i]);
        js_shut(&o, '}');
        err = (rag_err)js_line(&o, stdout);
        js_out_free(&o);
    }
    return err;
}

/* ---- the page ---- */

static void page_rows(FILE *f, const rag_answer_eval *e)
{
    static const char *const heads[] = {"of 100", "mean", "95 %", "answers", NULL};
    report_table(f, heads);
    for (size_t m = 0; m < RAG_ANSWER_METRICS; m++) {
        if (e->count[m] == 0)
            continue;
        fputs("<tr>", f);
        page_name(f, labels[m], m);
        report_cell(f, "%.2f", 100 * e->mean[m]);
        report_cell(f, "%.1f–%.1f", 100 * e->low[m], 100 * e->high[m]);
        report_cell(f, "%zu", e->count[m]);
        fputs("</tr>\n", f);
    }
    report_table_end(f);
}

/* Bars begin at 0; a cosine may lie below. */
static double above_0(double v)
{
    return v > 0 ? 100 * v : 0;
}

static void page_bars(FILE *f, const rag_answer_eval *e, const char *title, size_t first,
                      size_t last)
{
    struct svg_bar bars[RAG_ANSWER_METRICS];
    char values[RAG_ANSWER_METRICS][32];
    size_t n = 0;
    for (size_t m = first; m <= last; m++) {
        if (e->count[m] == 0)
            continue;
        snprintf(values[n], sizeof *values, "%.2f", 100 * e->mean[m]);
        bars[n] = (struct svg_bar){.name = labels[m],
                                   .value = values[n],
                                   .length = above_0(e->mean[m]),
                                   .color = (unsigned)m,
                                   .low = above_0(e->low[m]),
                                   .high = above_0(e->high[m])};
        n++;
    }
    if (n == 0)
        return;
    fprintf(f, "<figure><h3>%s</h3>\n", title);
    svg_bars(f, title, bars, n);
    fputs("</figure>\n", f);
}

static rag_err write_page(const struct args *a, const rag_answer_eval *e)
{
    FILE *f = NULL;
    char z[32] = "";
    rag_err err = report_begin(a, &f);
    if (err)
        return err;
    if (!isnan(e->cosine_z))
        snprintf(z, sizeof z, ", z %.1f", e->cosine_z);
    report_section(f, e->model ? e->model : "answers",
                   "%zu questions, %zu answerable, %zu not; %zu answers, %zu cut at the "
                   "model's limit; cosines by %s%s",
                   e->n, e->answerable, e->unanswerable, e->answers, e->cut,
                   e->embedder ? e->embedder : "none", z);
    page_rows(f, e);
    fputs("<div class=\"plots\">\n", f);
    page_bars(f, e, "Answers and references; more is better", RAG_ANSWER_EXACT,
              RAG_ANSWER_SHUFFLED);
    page_bars(f, e, "Citations and refusals", RAG_ANSWER_VALID, RAG_ANSWER_REFUSED_WRONGLY);
    fputs("</div>\n</section>\n", f);
    return report_end(
        a, f,
        "Exact match and F1 by SQuAD's rules, ROUGE-L as rouge_score without stemming; of "
        "several references the best. Shuffled: answers with other answers' references; z: "
        "standard deviations of a shuffle's mean between the two. Intervals: the middle 95 % "
        "of 1,000 bootstrap samples of the answers.");
}

static rag_err show(const struct args *a, const rag_answer_eval *e)
{
    if (e->strangers)
        run_warn("%zu answers belong to none of the questions", e->strangers);
    if (e->answers + e->failed < e->n)
        run_warn("%zu of %zu questions have no answer, and are left out",
                 e->n - e->failed - e->answers, e->n);
    if (!print_json(a)) {
        print_table(e);
        return RAG_OK;
    }
    rag_err err = json_all(a, e);
    return err || !a->each ? err : json_each(e);
}

/* ---- the run ---- */

static void on_failed(void *arg, const char *question, const char *why)
{
    (void)arg;
    run_warn("question %s: %s", question, why);
}

/* The store that is asked, or whose embedder compares; where answers come from a file and there
 * is no store, one that goes again. */
static rag_err open_store(struct args *a, char *scratch, size_t room, rag_store **s)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/store.db", run_store_dir(a));
    scratch[0] = '\0';
    if (!a->answers || a->store || access(path, F_OK) == 0) {
        a->embedder = NULL; /* it compares; the store need not be its */
        return run_open(a, RAG_READ, s);
    }
    rag_err err = run_scratch(scratch, room);
    return err ? err : run_open_at(a, scratch, s);
}

int eval_answers(struct args *a)
{
    rag_answers_options o = RAG_ANSWERS_OPTIONS_INIT;
    rag_search_params search;
    rag_ask_params ask;
    rag_answer_eval *e = NULL;
    rag_store *s = NULL;
    char scratch[4096];
    if (!find_params(a, &search))
        return cli_usage(a, "a budget is a number of milliseconds from 1 on, or none");
    if (!a->queries && !a->unanswerable)
        return cli_usage(a, "eval answers needs --queries or --unanswerable");
    if (a->answers && a->answers_out)
        return cli_usage(a, "--answers are judged, --answers-out keeps what is asked for");
    if (!a->budget)
        search.budget_ms = -1; /* the same passages however busy the machine is */
    find_ask_params(a, &search, &ask);
    o.queries = a->queries;
    o.unanswerable = a->unanswerable;
    o.every = (size_t)a->every;
    o.answers = a->answers;
    o.output = a->answers_out;
    o.ask = &ask;
    o.embedder = a->embedder;
    o.refusals = a->refusals.items;
    o.nrefusals = (size_t)a->refusals.n;
    o.on_failed = on_failed;
    rag_err err = open_store(a, scratch, sizeof scratch, &s);
    if (scratch[0])
        o.embedder = NULL; /* the store is its already */
    if (!err)
        err = run_library(rag_eval_answers(s, &o, &e));
    if (!err)
        err = show(a, e);
    if (!err && a->html)
        err = write_page(a, e);
    if (!err && e->failed)
        err = (rag_err)ANN_FAIL((ann_err)RAG_EPARTIAL, "%zu of %zu questions got no answer",
                                e->failed, e->n);
    rag_answer_eval_free(e);
    rag_close(s);
    if (scratch[0])
        run_scratch_end(scratch);
    return run_end(err);
}
