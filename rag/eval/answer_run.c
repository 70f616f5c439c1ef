/* answer_run.c - rag_eval_answers: questions are answered by the store and a model, or by a
 * file, and the answers judged.
 *
 * Place: rag/eval, over rag.h's own functions.  Invariants: what a model was paid for is
 * written down before the next question is asked; the references are embedded before the first
 * one, so that an embedder that cannot is found out for nothing. */
#include <config.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ann/base/memory.h"
#include "rag/answer/growing.h"
#include "rag/eval/answers.h"
#include "rag/internal.h"
#include "rag/text/text.h"

#define FAILURES_MOST 5 /* one after the other */

static const char *const names[RAG_ANSWER_METRICS] = {
    [RAG_ANSWER_EXACT] = "exact_match",
    [RAG_ANSWER_F1] = "token_f1",
    [RAG_ANSWER_ROUGE_L] = "rouge_l",
    [RAG_ANSWER_COSINE] = "cosine",
    [RAG_ANSWER_SHUFFLED] = "cosine_shuffled",
    [RAG_ANSWER_VALID] = "citations_valid",
    [RAG_ANSWER_COVERED] = "sentences_cited",
    [RAG_ANSWER_UNCITED] = "uncited",
    [RAG_ANSWER_REFUSED] = "refused_unanswerable",
    [RAG_ANSWER_REFUSED_WRONGLY] = "refused_answerable",
};

const char *rag_answer_metric_name(rag_answer_metric m)
{
    return (size_t)m < RAG_ANSWER_METRICS ? names[m] : "";
}

struct running {
    rag_store *s;
    rag_answers_options o;
    struct answer_set set;
    struct answer_question **questions; /* [n] those chosen */
    size_t n;
    struct answer_log log;
    struct growing settings;
    struct embedder *own, *embedder; /* own: opened here */
    struct answer_vectors refs;
    struct answer_range *ranges; /* [n] of refs */
    char **plain;                /* [n] answers without marks; NULL: none */
    size_t in_row;               /* failures */
    rag_err last;                /* of them */
    rag_answer_eval *e;
};

/* ---- how answers are made ---- */

static void put_pair(struct growing *g, const char *name, const char *value)
{
    growing_puts(g, g->bytes ? " " : "");
    growing_puts(g, name);
    growing_puts(g, "=");
    growing_puts(g, value);
}

static void put_number(struct growing *g, const char *name, double value)
{
    char text[40];
    snprintf(text, sizeof text, "%g", value);
    put_pair(g, name, text);
}

static void describe_search(struct growing *g, const rag_search_params *given)
{
    static const char *const modes[] = {"hybrid", "vector", "text", "exact", "contextual"};
    rag_search_params p = RAG_SEARCH_PARAMS_INIT;
    if (given)
        memcpy(&p, given, given->size < sizeof p ? given->size : sizeof p);
    put_pair(g, "mode", (size_t)p.mode < sizeof modes / sizeof *modes ? modes[p.mode] : "?");
    put_number(g, "k", p.k ? (double)p.k : 10);
    if (p.fast)
        put_pair(g, "fast", "yes");
    if (p.share > 0)
        put_number(g, "share", p.share);
    if (p.rrf)
        put_pair(g, "fusion", "rrf");
    if (p.min_score > 0)
        put_number(g, "min-score", p.min_score);
    if (p.rerank)
        put_pair(g, "rerank", p.rerank);
    if (p.contextual)
        put_pair(g, "contextual", p.contextual);
    for (size_t i = 0; i < p.nwhere; i++)
        put_pair(g, "where", p.where[i]);
}

/* What two runs must share so that their answers may stand in one file. */
static rag_err describe(struct running *r)
{
    rag_ask_params p = RAG_ASK_PARAMS_INIT;
    const rag_options *so = &r->s->o;
    const char *set = so->setting ? so->setting(so->setting_arg, "chat.model") : NULL;
    struct growing *g = &r->settings;
    if (r->o.ask)
        memcpy(&p, r->o.ask, r->o.ask->size < sizeof p ? r->o.ask->size : sizeof p);
    const char *model = p.chat ? "own" : p.model ? p.model : set;
    if (!model || !*model)
        return RAG_FAIL(RAG_EINVAL, "there are neither answers nor a language model to ask");
    put_pair(g, "model", model);
    describe_search(g, p.search);
    put_number(g, "context-tokens", p.context_tokens > 0 ? p.context_tokens : 3000);
    if (p.max_tokens)
        put_number(g, "max-tokens", p.max_tokens);
    if (p.temperature >= 0)
        put_number(g, "temperature", p.temperature);
    if (p.open)
        put_pair(g, "open", "yes");
    if (p.datamark)
        put_pair(g, "datamark", "yes");
    return g->failed ? RAG_FAIL(RAG_ENOMEM, "out of memory for settings") : RAG_OK;
}

/* ---- asking ---- */

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* An answer that can be written and judged. */
static rag_err check_answer(const rag_answer *a)
{
    const size_t bytes = strlen(a->text);
    if (bytes > ANSWER_MOST)
        return RAG_FAIL(RAG_ELIMIT, "an answer of %zu bytes, at most %zu", bytes, ANSWER_MOST);
    return text_is_utf8(a->text, bytes) ? RAG_OK
                                        : RAG_FAIL(RAG_EFORMAT, "the answer is no UTF-8");
}

/* A failure of this question alone. */
static bool is_one_question(rag_err err)
{
    return err == RAG_EREFUSED || err == RAG_EUNAVAIL || err == RAG_ETOOLARGE ||
           err == RAG_ELIMIT || err == RAG_EFORMAT;
}

static rag_err note_failure(struct running *r, const struct answer_question *q, rag_err err)
{
    r->e->failed++;
    r->in_row++;
    r->last = err;
    if (r->o.on_failed)
        r->o.on_failed(r->o.arg, q->id, rag_error_message());
    const bool hopeless = err == RAG_EUNAVAIL || r->e->asked == 0;
    return hopeless && r->in_row >= FAILURES_MOST ? err : RAG_OK;
}

static rag_err ask_one(struct running *r, struct answer_question *q)
{
    rag_answer *a = NULL;
    const double start = now_ms();
    rag_err err = rag_ask(r->s, q->text, r->o.ask, &a);
    if (!err)
        err = check_answer(a);
    if (err && is_one_question(err)) {
        err = note_failure(r, q, err);
    } else if (!err) {
        err = answer_log_put(&r->log, q, a, r->settings.text, now_ms() - start);
        r->e->asked += !err;
        r->in_row = 0;
    }
    rag_answer_free(a);
    return err;
}

static rag_err ask_all(struct running *r)
{
    rag_err err = describe(r);
    if (!err && r->o.output)
        err = answer_log_open(r->o.output, &r->log);
    if (!err && r->o.output)
        err = answer_set_take(&r->set, r->o.output, r->settings.text);
    for (size_t i = 0; i < r->n && !err; i++) {
        err = session_step(r->s, "answers", i, r->n);
        if (!err && !r->questions[i]->given.text)
            err = ask_one(r, r->questions[i]);
    }
    return err;
}

/* ---- judging ---- */

static rag_err judge_one(struct running *r, size_t i)
{
    const struct answer_question *q = r->questions[i];
    const struct answer_given *g = &q->given;
    rag_judged_answer *j = &r->e->judged[i];
    struct answer_cited c = {0};
    struct answer_match m = {0};
    double **v = r->e->values;
    bool refused = false;
    const bool told = g->nsources != SIZE_MAX;
    rag_err err = answer_cited(g->text, told ? g->nsources : 0, &c);
    if (err)
        return err;
    r->plain[i] = c.plain;
    err = answer_refuses(c.plain, r->o.refusals, r->o.nrefusals, &refused);
    if (!err && q->kind == RAG_ANSWERABLE_YES)
        err = answer_match(c.plain, (const char *const *)q->references, q->n, &m);
    if (!err && !(j->answer = mem_strdup(g->text)))
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for an answer");
    if (err)
        return err;
    j->refused = refused;
    j->told = told;
    j->sources = told ? g->nsources : 0;
    if (q->kind == RAG_ANSWERABLE_YES) {
        v[RAG_ANSWER_EXACT][i] = m.exact;
        v[RAG_ANSWER_F1][i] = m.f1;
        v[RAG_ANSWER_ROUGE_L][i] = m.rouge_l;
        v[RAG_ANSWER_REFUSED_WRONGLY][i] = refused;
    } else if (q->kind == RAG_ANSWERABLE_NO) {
        v[RAG_ANSWER_REFUSED][i] = refused;
    }
    if (told && c.used + c.unknown > 0)
        v[RAG_ANSWER_VALID][i] = (double)c.used / (double)(c.used + c.unknown);
    if (told && !refused && c.sentences > 0)
        v[RAG_ANSWER_COVERED][i] = (double)c.covered / (double)c.sentences;
    if (!refused)
        v[RAG_ANSWER_UNCITED][i] = c.used + c.unknown == 0;
    r->e->answers++;
    r->e->cut += g->cut;
    return RAG_OK;
}

/* Cosines of the answers to answerable questions: at [m] are their indices. */
static rag_err judge_vectors_of(struct running *r, const size_t *at, size_t m)
{
    struct answer_vectors answers = {0};
    struct answer_range *ranges = mem_alloc((m + 1) * sizeof *ranges);
    const char **texts = mem_alloc((m + 1) * sizeof *texts);
    double *paired = mem_alloc(m * sizeof *paired), *shuffled = mem_alloc(m * sizeof *paired);
    rag_err err = ranges && texts && paired && shuffled
                      ? RAG_OK
                      : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu answers", m);
    for (size_t i = 0; i < m && !err; i++) {
        ranges[i] = r->ranges[at[i]];
        texts[i] = r->plain[at[i]];
    }
    if (!err)
        err = answer_embed(r->embedder, texts, m, &answers);
    if (!err)
        err = answer_cosines(&answers, &r->refs, ranges, paired, shuffled, &r->e->cosine_z);
    for (size_t i = 0; i < m && !err; i++) {
        r->e->values[RAG_ANSWER_COSINE][at[i]] = paired[i];
        r->e->values[RAG_ANSWER_SHUFFLED][at[i]] = shuffled[i];
    }
    answer_vectors_free(&answers);
    mem_free(ranges);
    mem_free(texts);
    mem_free(paired);
    mem_free(shuffled);
    return err;
}

static rag_err judge_cosines(struct running *r)
{
    size_t *at = mem_alloc((r->n + 1) * sizeof *at), m = 0;
    if (!at)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu answers", r->n);
    for (size_t i = 0; i < r->n; i++)
        if (r->questions[i]->kind == RAG_ANSWERABLE_YES && r->plain[i])
            at[m++] = i;
    rag_err err = m > 0 ? judge_vectors_of(r, at, m) : RAG_OK;
    mem_free(at);
    return err;
}

static rag_err take_means(rag_answer_eval *e)
{
    double *some = mem_alloc((e->n + 1) * sizeof *some);
    rag_err err = some ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu figures", e->n);
    for (size_t m = 0; m < RAG_ANSWER_METRICS && !err; m++) {
        struct interval v;
        size_t n = 0;
        for (size_t i = 0; i < e->n; i++)
            if (!isnan(e->values[m][i]))
                some[n++] = e->values[m][i];
        err = metrics_interval(some, n, &v);
        if (err)
            break;
        e->count[m] = n;
        e->mean[m] = v.mean;
        e->low[m] = v.low;
        e->high[m] = v.high;
    }
    mem_free(some);
    return err;
}

static rag_err judge_all(struct running *r)
{
    rag_err err = RAG_OK;
    const char *model = NULL;
    for (size_t i = 0; i < r->n && !err; i++) {
        if (!r->questions[i]->given.text)
            continue;
        model = model ? model : r->questions[i]->given.model;
        err = judge_one(r, i);
    }
    if (!err)
        err = judge_cosines(r);
    if (!err)
        err = take_means(r->e);
    if (!err && model && !(r->e->model = mem_strdup(model)))
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for a name");
    r->e->strangers = r->set.strangers;
    return err;
}

/* ---- all of it ---- */

static rag_err check(struct running *r, const rag_answers_options *given)
{
    rag_answers_options o = RAG_ANSWERS_OPTIONS_INIT;
    memcpy(&o, given, given->size < sizeof o ? given->size : sizeof o);
    o.every = o.every ? o.every : 1;
    if (!o.queries && !o.unanswerable)
        return RAG_FAIL(RAG_EINVAL, "there are no questions: queries are needed");
    if (o.answers && o.output)
        return RAG_FAIL(RAG_EINVAL,
                        "answers of %s are judged, and none is asked for to be put to %s",
                        o.answers, o.output);
    r->o = o;
    return RAG_OK;
}

/* The questions chosen, and room for what is found of each. */
static rag_err choose(struct running *r)
{
    rag_answer_eval *e = r->e;
    r->questions = mem_alloc((r->set.n + 1) * sizeof *r->questions);
    bool whole = r->questions != NULL;
    for (size_t i = 0; i < r->set.n && whole; i++)
        if (r->set.questions[i].chosen)
            r->questions[r->n++] = &r->set.questions[i];
    r->ranges = mem_zalloc(r->n + 1, sizeof *r->ranges);
    r->plain = mem_zalloc(r->n + 1, sizeof *r->plain);
    e->judged = mem_zalloc(r->n + 1, sizeof *e->judged);
    whole = whole && r->ranges && r->plain && e->judged;
    e->n = whole ? r->n : 0;
    for (size_t m = 0; m < RAG_ANSWER_METRICS && whole; m++) {
        e->values[m] = mem_alloc((r->n + 1) * sizeof(double));
        whole = e->values[m] != NULL;
        for (size_t i = 0; i < r->n && whole; i++)
            e->values[m][i] = NAN;
    }
    for (size_t i = 0; i < r->n && whole; i++) {
        const struct answer_question *q = r->questions[i];
        e->answerable += q->kind == RAG_ANSWERABLE_YES;
        e->unanswerable += q->kind == RAG_ANSWERABLE_NO;
        e->judged[i].answerable = q->kind;
        whole = (e->judged[i].question = mem_strdup(q->id)) != NULL;
    }
    e->cosine_z = NAN;
    return whole ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu questions", r->set.n);
}

static rag_err embed_references(struct running *r)
{
    const char *uri = r->o.embedder ? r->o.embedder : r->s->active.uri;
    size_t n = 0, at = 0;
    rag_err err =
        r->o.embedder ? session_open_embedder(r->s, uri, &r->own) : session_embedder(r->s);
    r->embedder = r->own ? r->own : r->s->embedder;
    for (size_t i = 0; i < r->n; i++) {
        r->ranges[i] = (struct answer_range){n, r->questions[i]->n};
        n += r->questions[i]->n;
    }
    const char **texts = mem_alloc((n + 1) * sizeof *texts);
    if (!err && (!texts || !(r->e->embedder = mem_strdup(uri))))
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for %zu references", n);
    for (size_t i = 0; i < r->n && !err; i++)
        for (size_t k = 0; k < r->questions[i]->n; k++)
            texts[at++] = r->questions[i]->references[k];
    if (!err)
        err = answer_embed(r->embedder, texts, n, &r->refs);
    mem_free(texts);
    return err;
}

static void running_free(struct running *r)
{
    for (size_t i = 0; r->plain && i < r->n; i++)
        mem_free(r->plain[i]);
    mem_free(r->plain);
    mem_free(r->ranges);
    mem_free(r->questions);
    answer_vectors_free(&r->refs);
    answer_log_close(&r->log);
    answer_set_free(&r->set);
    growing_free(&r->settings);
    embed_close(r->own);
}

rag_err rag_eval_answers(rag_store *s, const rag_answers_options *o, rag_answer_eval **out)
{
    struct running r = {.s = s};
    rag_err err = check(&r, o);
    if (!err && !(r.e = mem_zalloc(1, sizeof *r.e)))
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for an evaluation");
    if (!err)
        err = answer_set_read(r.o.queries, r.o.unanswerable, r.o.every, &r.set);
    if (!err)
        err = choose(&r);
    if (!err && r.e->answerable > 0)
        err = embed_references(&r);
    if (!err)
        err = r.o.answers ? answer_set_take(&r.set, r.o.answers, NULL) : ask_all(&r);
    if (!err)
        err = judge_all(&r);
    if (!err && r.e->answers == 0)
        err = RAG_FAIL(r.last ? r.last : RAG_ENOENT, "none of the %zu questions has an answer",
                       r.n);
    running_free(&r);
    if (err)
        rag_answer_eval_free(r.e);
    else
        *out = r.e;
    return err;
}

void rag_answer_eval_free(rag_answer_eval *e)
{
    if (!e)
        return;
    for (size_t i = 0; e->judged && i < e->n; i++) {
        mem_free(e->judged[i].question);
        mem_free(e->judged[i].answer);
    }
    for (size_t m = 0; m < RAG_ANSWER_METRICS; m++)
        mem_free(e->values[m]);
    mem_free(e->judged);
    mem_free(e->model);
    mem_free(e->embedder);
    mem_free(e);
}
