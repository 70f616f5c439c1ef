/* chunk_recall.c - how well a store's chunks fit the answers of a collection.
 *
 * Place: rag/eval, over rag.h's search.  Measures follow Smith, Troynikov, "Evaluating chunking
 * strategies for retrieval" (Chroma, 2024), but tokens are what stands between blanks, what is
 * to be found are the sentences that an answer stands in, and beside the first k passages those
 * are judged that a number of tokens has room for: k passages of another size cost another
 * prompt.  Invariant: a passage that stands twice among the found counts twice as found, once
 * as wanted. */
#include <config.h>

#include <string.h>

#include "ann/base/memory.h"
#include "rag/eval/collection.h"
#include "rag/internal.h"
#include "rag/text/text.h"

#define K_DEFAULT      5
#define TOKENS_DEFAULT 1000
#define ASK_MOST       200 /* a search looks at no more */
#define LEAST_TOKENS   16  /* of a passage, or less: so many may be asked for */

enum { RECALL, PRECISION, IOU, WHOLE, PASSAGES, FIGURES };

/* The chunks of a document. */
struct cut {
    struct store_chunk *chunks; /* [n] */
    size_t n;
};

struct judging {
    rag_store *s;
    const rag_collection *c;
    rag_chunk_eval_options o;
    rag_search_params p;
    struct cut *cuts;        /* [ndocuments] */
    double *first[FIGURES];  /* [n] */
    double *within[FIGURES]; /* [n] */
    double *best;            /* [n] precision of all chunks that touch the span */
    size_t n;                /* questions judged so far */
};

/* What was found of one question's span. */
struct finding {
    const struct eval_span *span;
    const char *text; /* of its document */
    bool *seen;       /* [end - start] bytes that were found */
    size_t words;     /* of all passages */
    bool whole;
};

/* ---- words ---- */

/* Words that begin in text[from..to). */
static size_t words_in(const char *text, size_t from, size_t to)
{
    size_t n = 0;
    bool blank = from == 0 || text_blank(text[from - 1]) || text[from - 1] == '\n';
    for (size_t i = from; i < to; i++) {
        const bool here = text_blank(text[i]) || text[i] == '\n';
        n += blank && !here;
        blank = here;
    }
    return n;
}

static bool begins_word(const char *text, size_t at)
{
    return words_in(text, at, at + 1) == 1;
}

/* ---- one question ---- */

static rag_err begin(struct finding *f, const struct judging *j, const struct eval_question *q)
{
    *f = (struct finding){.span = &q->span, .text = j->c->documents[q->span.document].text};
    f->seen = mem_zalloc(q->span.end - q->span.start, sizeof *f->seen);
    return f->seen ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for a span");
}

/* A passage of the span's document. */
static void take(struct finding *f, size_t from, size_t to)
{
    const struct eval_span *s = f->span;
    f->words += words_in(f->text, from, to);
    f->whole = f->whole || (from <= s->answer && to >= s->answer_end);
    for (size_t i = from > s->start ? from : s->start; i < to && i < s->end; i++)
        f->seen[i - s->start] = true;
}

static void finish(struct finding *f, size_t passages, double figures[FIGURES])
{
    const struct eval_span *s = f->span;
    const double wanted = (double)words_in(f->text, s->start, s->end);
    double both = 0;
    for (size_t i = s->start; i < s->end; i++)
        both += f->seen[i - s->start] && begins_word(f->text, i);
    const double all = (double)f->words + wanted - both;
    figures[RECALL] = wanted > 0 ? both / wanted : 0;
    figures[PRECISION] = f->words > 0 ? both / (double)f->words : 0;
    figures[IOU] = all > 0 ? both / all : 0;
    figures[WHOLE] = f->whole;
    figures[PASSAGES] = (double)passages;
    mem_free(f->seen);
}

/* The first n hits. */
static rag_err judge_hits(const struct judging *j, const struct eval_question *q,
                          const rag_hits *h, size_t n, double figures[FIGURES])
{
    const struct eval_document *d = &j->c->documents[q->span.document];
    const size_t bytes = strlen(d->text);
    struct finding f;
    rag_err err = begin(&f, j, q);
    if (err)
        return err;
    for (size_t i = 0; i < n; i++) {
        const rag_hit *hit = &h->hits[i];
        if (strcmp(hit->source, d->id) != 0)
            f.words += words_in(hit->text, 0, hit->bytes);
        else if (hit->end > bytes || memcmp(d->text + hit->start, hit->text, hit->bytes) != 0)
            err = RAG_FAIL(RAG_EMISMATCH, "%.200s has another text in the store", d->id);
        else
            take(&f, hit->start, hit->end);
    }
    finish(&f, n, figures);
    return err;
}

/* How many hits, from the first on, `tokens` have room for. */
static size_t count_within(const rag_hits *h, size_t tokens)
{
    double left = (double)tokens;
    size_t n = 0;
    while (n < h->n && (left -= text_tokens(h->hits[n].text, h->hits[n].bytes)) >= 0)
        n++;
    return n;
}

/* As if all chunks that the span lies in were found, and no other. */
static rag_err judge_cut(const struct judging *j, const struct eval_question *q, double *best)
{
    const struct cut *cut = &j->cuts[q->span.document];
    double figures[FIGURES];
    struct finding f;
    rag_err err = begin(&f, j, q);
    if (err)
        return err;
    for (size_t i = 0; i < cut->n; i++)
        if (cut->chunks[i].start < q->span.end && cut->chunks[i].end > q->span.start)
            take(&f, cut->chunks[i].start, cut->chunks[i].end);
    finish(&f, 0, figures);
    *best = figures[PRECISION];
    return RAG_OK;
}

static rag_err judge_question(struct judging *j, const struct eval_question *q)
{
    double first[FIGURES] = {0}, within[FIGURES] = {0};
    rag_hits *h = NULL;
    rag_err err = rag_search(j->s, q->text, &j->p, &h);
    if (!err)
        err = judge_hits(j, q, h, h->n < j->o.k ? h->n : j->o.k, first);
    if (!err)
        err = judge_hits(j, q, h, count_within(h, j->o.tokens), within);
    if (!err)
        err = judge_cut(j, q, &j->best[j->n]);
    rag_hits_free(h);
    for (size_t i = 0; i < FIGURES; i++) {
        j->first[i][j->n] = first[i];
        j->within[i][j->n] = within[i];
    }
    j->n++;
    return err;
}

/* ---- all of them ---- */

static rag_err load_cuts(struct judging *j, rag_chunk_eval *e)
{
    rag_err err = RAG_OK;
    double tokens = 0;
    for (size_t i = 0; i < j->c->ndocuments && !err; i++) {
        const struct eval_document *d = &j->c->documents[i];
        struct store_document known = {0};
        struct cut *cut = &j->cuts[i];
        err = store_document_find(j->s->store, d->id, false, &known);
        if (!err && known.bytes != strlen(d->text))
            err = RAG_FAIL(RAG_EMISMATCH, "%.200s has another text in the store", d->id);
        if (!err)
            err = store_chunks(j->s->store, known.id, &cut->chunks, &cut->n);
        for (size_t k = 0; k < cut->n && !err; k++)
            tokens += text_tokens(d->text + cut->chunks[k].start,
                                  cut->chunks[k].end - cut->chunks[k].start);
        e->chunks += cut->n;
        store_document_free(&known);
    }
    e->chunk_tokens = e->chunks > 0 ? tokens / (double)e->chunks : 0;
    return err;
}

static double mean_of(const double *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += v[i];
    return n ? sum / (double)n : 0;
}

static rag_err sum_up(double *const v[FIGURES], size_t n, rag_chunk_figures *out)
{
    struct interval recall = {0};
    rag_err err = metrics_interval(v[RECALL], n, &recall);
    if (err)
        return err;
    *out = (rag_chunk_figures){recall.mean,
                               recall.low,
                               recall.high,
                               mean_of(v[PRECISION], n),
                               mean_of(v[IOU], n),
                               mean_of(v[WHOLE], n),
                               mean_of(v[PASSAGES], n)};
    return RAG_OK;
}

static rag_err make_room(struct judging *j)
{
    const size_t n = j->c->nquestions;
    bool whole = (j->best = mem_zalloc(n, sizeof *j->best)) != NULL;
    j->cuts = mem_zalloc(j->c->ndocuments, sizeof *j->cuts);
    for (size_t i = 0; i < FIGURES; i++) {
        j->first[i] = mem_zalloc(n, sizeof(double));
        j->within[i] = mem_zalloc(n, sizeof(double));
        whole = whole && j->first[i] && j->within[i];
    }
    return whole && j->cuts ? RAG_OK
                            : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu questions", n);
}

static void free_room(struct judging *j)
{
    for (size_t i = 0; i < FIGURES; i++) {
        mem_free(j->first[i]);
        mem_free(j->within[i]);
    }
    for (size_t i = 0; j->cuts && i < j->c->ndocuments; i++)
        store_chunks_free(j->cuts[i].chunks, j->cuts[i].n);
    mem_free(j->cuts);
    mem_free(j->best);
}

static rag_err check(struct judging *j, const rag_chunk_eval_options *given)
{
    rag_chunk_eval_options o = RAG_CHUNK_EVAL_OPTIONS_INIT;
    rag_search_params p = RAG_SEARCH_PARAMS_INIT;
    if (given)
        memcpy(&o, given, given->size < sizeof o ? given->size : sizeof o);
    if (o.search)
        memcpy(&p, o.search, o.search->size < sizeof p ? o.search->size : sizeof p);
    o.k = o.k ? o.k : K_DEFAULT;
    o.tokens = o.tokens ? o.tokens : TOKENS_DEFAULT;
    const size_t room = o.tokens / LEAST_TOKENS + 1, ask = o.k > room ? o.k : room;
    if (o.k > ASK_MOST)
        return RAG_FAIL(RAG_EINVAL, "%zu passages; at most %d", o.k, ASK_MOST);
    p.size = sizeof p;
    p.k = ask < ASK_MOST ? ask : ASK_MOST;
    p.keep_copies = 1;
    j->o = o;
    j->p = p;
    return RAG_OK;
}

rag_err rag_eval_chunks(rag_store *s, const rag_collection *c, const rag_chunk_eval_options *o,
                        rag_chunk_eval *out)
{
    struct judging j = {.s = s, .c = c};
    rag_chunk_eval e = {0};
    rag_err err = check(&j, o);
    if (!err)
        err = make_room(&j);
    if (!err)
        err = load_cuts(&j, &e);
    for (size_t i = 0; i < c->nquestions && !err; i++) {
        if (c->questions[i].span.end > 0)
            err = judge_question(&j, &c->questions[i]);
        if (!err)
            err = session_step(s, "questions", i + 1, c->nquestions);
    }
    if (!err && j.n == 0)
        err = RAG_FAIL(RAG_EINVAL, "%s was opened without spans", c->name);
    if (!err)
        err = sum_up(j.first, j.n, &e.first);
    if (!err)
        err = sum_up(j.within, j.n, &e.within);
    e.questions = j.n;
    e.k = j.o.k;
    e.tokens = j.o.tokens;
    e.precision = mean_of(j.best, j.n);
    free_room(&j);
    if (!err)
        *out = e;
    return err;
}
