/* runs.c - what a way of searching finds for the questions of a collection, judged; runs in
 * TREC's format.
 *
 * Place: rag/eval, over rag.h's own functions.  Invariant: scores of a run descend strictly as
 * 32-bit floats, so that trec_eval, which looks at scores alone, sees the same order. */
#include <config.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ann/base/memory.h"
#include "rag/eval/collection.h"
#include "rag/internal.h"

#define HITS    200 /* passages asked for: as many as a search looks at on either side */
#define AT_ONCE 256 /* documents that are handed over at a time */

/* ---- documents into a store ---- */

rag_err rag_collection_add(rag_store *s, const rag_collection *c, rag_add_report *report)
{
    rag_document docs[AT_ONCE];
    rag_add_report all = {0};
    rag_err err = RAG_OK;
    for (size_t at = 0; at < c->ndocuments && !err; at += AT_ONCE) {
        const size_t n = c->ndocuments - at < AT_ONCE ? c->ndocuments - at : AT_ONCE;
        rag_add_report some = {0};
        for (size_t i = 0; i < n; i++) {
            const struct eval_document *d = &c->documents[at + i];
            docs[i] = (rag_document){.size = sizeof *docs,
                                     .source = d->id,
                                     .title = *d->title ? d->title : NULL,
                                     .format = "plain",
                                     .text = d->text,
                                     .bytes = strlen(d->text)};
        }
        err = rag_add_texts(s, docs, n, NULL, &some);
        all.added += some.added;
        all.replaced += some.replaced;
        all.unchanged += some.unchanged;
        all.chunks += some.chunks;
        all.bytes += some.bytes;
        all.embedded += some.embedded;
        if (!err)
            err = session_step(s, "documents", at + n, c->ndocuments);
    }
    if (report)
        *report = all;
    return err;
}

/* ---- a run ---- */

static void free_ranking(rag_ranking *r)
{
    for (size_t i = 0; i < r->n; i++)
        mem_free(r->documents[i]);
    mem_free(r->documents);
    mem_free(r->scores);
}

void rag_run_free(rag_run *r)
{
    if (!r)
        return;
    for (size_t i = 0; r->rankings && i < r->n; i++) {
        free_ranking(&r->rankings[i]);
        mem_free(r->rankings[i].question);
    }
    for (size_t m = 0; m < RAG_METRICS; m++)
        mem_free(r->values[m]);
    mem_free(r->rankings);
    mem_free(r->ms);
    mem_free(r->warning);
    mem_free(r);
}

/* A run of the collection's questions with nothing found. */
static rag_err make_run(const rag_collection *c, rag_run **out)
{
    rag_run *r = mem_zalloc(1, sizeof *r);
    bool whole = r != NULL;
    if (r) {
        r->n = c->nquestions;
        r->p50_ms = r->p95_ms = NAN;
        r->rankings = mem_zalloc(c->nquestions, sizeof *r->rankings);
        whole = r->rankings != NULL;
        for (size_t m = 0; m < RAG_METRICS && whole; m++)
            whole = (r->values[m] = mem_zalloc(c->nquestions, sizeof(double))) != NULL;
        for (size_t i = 0; i < c->nquestions && whole; i++)
            whole = (r->rankings[i].question = mem_strdup(c->questions[i].id)) != NULL;
    }
    if (!whole) {
        rag_run_free(r);
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a run of %zu questions", c->nquestions);
    }
    *out = r;
    return RAG_OK;
}

static rag_err judge_run(const rag_collection *c, rag_run *r)
{
    rag_err err = RAG_OK;
    for (size_t i = 0; i < r->n && !err; i++) {
        double values[RAG_METRICS] = {0};
        const struct eval_question *q = &c->questions[i];
        err =
            metrics_of(c->grades + q->first, q->grades,
                       (const char *const *)r->rankings[i].documents, r->rankings[i].n, values);
        for (size_t m = 0; m < RAG_METRICS; m++)
            r->values[m][i] = values[m];
    }
    for (size_t m = 0; m < RAG_METRICS && !err; m++) {
        struct interval v;
        err = metrics_interval(r->values[m], r->n, &v);
        if (!err) {
            r->mean[m] = v.mean;
            r->low[m] = v.low;
            r->high[m] = v.high;
        }
    }
    return err;
}

/* Room for n documents. */
static rag_err make_ranking(rag_ranking *r, size_t n)
{
    r->documents = mem_zalloc(n + 1, sizeof *r->documents);
    r->scores = mem_zalloc(n + 1, sizeof *r->scores);
    return r->documents && r->scores ? RAG_OK
                                     : RAG_FAIL(RAG_ENOMEM, "out of memory for a ranking");
}

/* The document a passage is of: records of a file are told as FILE#ID. */
static const char *document_of(const char *source)
{
    const char *sign = strrchr(source, '#');
    return sign && sign[1] ? sign + 1 : source;
}

static bool stands(const rag_ranking *r, const char *document)
{
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->documents[i], document) == 0)
            return true;
    return false;
}

/* Documents in the order of their best passage. */
static rag_err rank_documents(const rag_hits *h, rag_ranking *r)
{
    rag_err err = make_ranking(r, h->n);
    for (size_t i = 0; i < h->n && !err; i++) {
        const char *document = document_of(h->hits[i].source);
        if (stands(r, document))
            continue;
        const float last = r->n ? (float)r->scores[r->n - 1] : INFINITY;
        const float score = (float)(isnan(h->hits[i].rerank_score) ? h->hits[i].score
                                                                   : h->hits[i].rerank_score);
        r->scores[r->n] = score < last ? score : nextafterf(last, -INFINITY);
        r->documents[r->n] = mem_strdup(document);
        if (!r->documents[r->n])
            return RAG_FAIL(RAG_ENOMEM, "out of memory for a ranking");
        r->n++;
    }
    return err;
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static rag_err search_one(rag_store *s, const struct eval_question *q,
                          const rag_search_params *p, rag_run *r, size_t i)
{
    rag_hits *h = NULL;
    const double start = now_ms();
    rag_err err = rag_search(s, q->text, p, &h);
    if (err)
        return err;
    r->ms[i] = now_ms() - start;
    if (h->warning && !r->warning)
        r->warning = mem_strdup(h->warning);
    err = rank_documents(h, &r->rankings[i]);
    rag_hits_free(h);
    return err;
}

static rag_err take_times(rag_run *r)
{
    double *sorted = mem_alloc((r->n + 1) * sizeof *sorted);
    if (!sorted)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu times", r->n);
    memcpy(sorted, r->ms, r->n * sizeof *sorted);
    r->p50_ms = metrics_quantile(sorted, r->n, 0.5);
    r->p95_ms = metrics_quantile(sorted, r->n, 0.95);
    mem_free(sorted);
    return RAG_OK;
}

rag_err rag_run_search(rag_store *s, const rag_collection *c, const rag_search_params *given,
                       rag_run **out)
{
    rag_search_params p = RAG_SEARCH_PARAMS_INIT;
    rag_run *r = NULL;
    if (given)
        memcpy(&p, given, given->size < sizeof p ? given->size : sizeof p);
    p.size = sizeof p;
    p.k = p.k ? p.k : HITS;
    p.keep_copies = 1;
    rag_err err = make_run(c, &r);
    if (!err && !(r->ms = mem_zalloc(r->n, sizeof *r->ms)))
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for %zu times", r->n);
    for (size_t i = 0; !err && i < c->nquestions; i++) {
        err = search_one(s, &c->questions[i], &p, r, i);
        if (!err)
            err = session_step(s, "questions", i + 1, c->nquestions);
    }
    if (!err)
        err = take_times(r);
    if (!err)
        err = judge_run(c, r);
    if (err)
        rag_run_free(r);
    else
        *out = r;
    return err;
}

rag_err rag_run_compare(const rag_run *a, const rag_run *b, rag_metric m, double *difference,
                        double *p)
{
    if (a->n != b->n || (size_t)m >= RAG_METRICS)
        return RAG_FAIL(RAG_EINVAL, "runs of %zu and %zu questions cannot be compared", a->n,
                        b->n);
    *difference = a->mean[m] - b->mean[m];
    *p = metrics_randomisation(a->values[m], b->values[m], a->n);
    return RAG_OK;
}

/* ---- TREC's format ---- */

rag_err rag_run_write(const rag_run *r, const char *tag, const char *path)
{
    FILE *f = fopen(path, "w");
    if (!f)
        return RAG_FAIL(RAG_EIO, "%s: %s", path, strerror(errno));
    for (size_t i = 0; i < r->n; i++)
        for (size_t k = 0; k < r->rankings[i].n; k++)
            fprintf(f, "%s Q0 %s %zu %.9g %s\n", r->rankings[i].question,
                    r->rankings[i].documents[k], k + 1, r->rankings[i].scores[k], tag);
    const bool failed = fflush(f) != 0 || ferror(f);
    const int why = errno;
    if (fclose(f) != 0 && !failed)
        return RAG_FAIL(RAG_EIO, "%s: %s", path, strerror(errno));
    return failed ? RAG_FAIL(RAG_EIO, "%s: %s", path, strerror(why)) : RAG_OK;
}

struct found {
    size_t question;
    char *document;
    float score;
};

struct reading {
    const rag_collection *c;
    struct eval_names *names;
    struct found *all; /* [n] */
    size_t n, room;
};

/* "question Q0 document rank score tag". */
static rag_err read_found(void *arg, const char *path, size_t line, char *text)
{
    struct reading *g = arg;
    char *save = NULL, *part[7] = {NULL}, *end;
    size_t n = 0;
    for (char *p = strtok_r(text, "\t ", &save); p && n < 7; p = strtok_r(NULL, "\t ", &save))
        part[n++] = p;
    if (n != 6)
        return RAG_FAIL(RAG_EFORMAT,
                        "%s: line %zu is no question, Q0, document, rank, score and tag", path,
                        line);
    const double score = strtod(part[4], &end);
    if (*end || end == part[4] || !isfinite((float)score))
        return RAG_FAIL(RAG_EFORMAT, "%s: line %zu: \"%.40s\" is no score", path, line,
                        part[4]);
    const size_t question = names_find(g->names, g->c->nquestions, part[0]);
    if (question == SIZE_MAX)
        return RAG_OK;
    if (g->n == g->room) {
        struct found *more = mem_resize(g->all, (2 * g->room + 1024) * sizeof *more);
        if (!more)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu lines", g->n);
        g->all = more;
        g->room = 2 * g->room + 1024;
    }
    struct found f = {question, mem_strdup(part[2]), (float)score};
    if (!f.document)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a run");
    g->all[g->n++] = f;
    return RAG_OK;
}

/* As trec_eval: by question, the highest score first, ties by the larger name. */
static int by_score(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    if (x->question != y->question)
        return x->question < y->question ? -1 : 1;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return strcmp(y->document, x->document);
}

/* Moves what was read of one question, all [n], into its ranking. */
static rag_err fill_ranking(const char *path, struct found *all, size_t n, rag_ranking *r)
{
    rag_err err = make_ranking(r, n);
    for (size_t i = 0; i < n && !err; i++) {
        if (stands(r, all[i].document))
            return RAG_FAIL(RAG_EFORMAT, "%s: question \"%.100s\" has \"%.100s\" twice", path,
                            r->question, all[i].document);
        r->documents[r->n] = all[i].document;
        r->scores[r->n++] = (double)all[i].score;
        all[i].document = NULL;
    }
    return err;
}

rag_err rag_run_read(const rag_collection *c, const char *path, rag_run **out)
{
    struct reading g = {.c = c};
    rag_run *r = NULL;
    rag_err err = names_of_questions(c, &g.names);
    if (!err)
        err = eval_each_line(path, read_found, &g);
    if (!err && g.n == 0)
        err = RAG_FAIL(RAG_EFORMAT, "%s: has none of the questions of %s", path, c->name);
    if (!err)
        err = make_run(c, &r);
    if (!err)
        qsort(g.all, g.n, sizeof *g.all, by_score);
    for (size_t i = 0, next; i < g.n && !err; i = next) {
        for (next = i; next < g.n && g.all[next].question == g.all[i].question; next++)
            continue;
        err = fill_ranking(path, g.all + i, next - i, &r->rankings[g.all[i].question]);
    }
    if (!err)
        err = judge_run(c, r);
    for (size_t i = 0; i < g.n; i++)
        mem_free(g.all[i].document);
    mem_free(g.all);
    mem_free(g.names);
    if (err)
        rag_run_free(r);
    else
        *out = r;
    return err;
}
