/* judge.c - nDCG@10 of vectors alone on a collection.  See judge.h.
 *
 * Place: rag/eval. */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "ann/base/memory.h"
#include "rag/error.h"
#include "rag/eval/judge.h"

#define DEPTH   10
#define AT_ONCE 1024 /* texts that are embedded at a time */

/* "title, line feed, text" of documents first .. first + n - 1, or questions. */
static rag_err texts_of(const rag_collection *c, bool questions, size_t first, size_t n,
                        char **texts)
{
    for (size_t i = 0; i < n; i++) {
        const struct eval_document *d = questions ? NULL : &c->documents[first + i];
        const char *title = d ? d->title : "";
        const char *text = d ? d->text : c->questions[first + i].text;
        const size_t room = strlen(title) + strlen(text) + 2;
        if (!(texts[i] = mem_alloc(room)))
            return RAG_FAIL(RAG_ENOMEM, "out of memory for a text");
        snprintf(texts[i], room, "%s%s%s", title, *title ? "\n" : "", text);
    }
    return RAG_OK;
}

/* ---- judging ---- */

static rag_err embed_all(const rag_collection *c, bool questions, size_t dims,
                         judge_embed_fn embed, void *arg, float **out)
{
    const size_t count = questions ? c->nquestions : c->ndocuments;
    size_t bytes;
    float *all =
        size_mul(count, dims * sizeof *all, &bytes) ? mem_alloc(bytes ? bytes : 1) : NULL;
    rag_err err = all ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu vectors", count);
    for (size_t at = 0; at < count && !err; at += AT_ONCE) {
        const size_t n = count - at < AT_ONCE ? count - at : AT_ONCE;
        char *texts[AT_ONCE] = {NULL};
        err = texts_of(c, questions, at, n, texts);
        if (!err)
            err = embed(arg, (const char *const *)texts, n, all + at * dims);
        for (size_t i = 0; i < n; i++)
            mem_free(texts[i]);
    }
    if (err)
        mem_free(all);
    else
        *out = all;
    return err;
}

/* The DEPTH documents nearest to question, ties by their order. */
static size_t best_of(const rag_collection *c, size_t dims, const float *documents,
                      const float *question, const char *best[DEPTH])
{
    double scores[DEPTH];
    size_t n = 0;
    for (size_t i = 0; i < c->ndocuments; i++) {
        double score = 0;
        for (size_t d = 0; d < dims; d++)
            score += (double)documents[i * dims + d] * (double)question[d];
        size_t at = n;
        while (at > 0 && score > scores[at - 1])
            at--;
        if (at == DEPTH)
            continue;
        n += n < DEPTH;
        for (size_t k = n - 1; k > at; k--) {
            scores[k] = scores[k - 1];
            best[k] = best[k - 1];
        }
        scores[at] = score;
        best[at] = c->documents[i].id;
    }
    return n;
}

rag_err judge_vectors(const rag_collection *c, size_t dims, judge_embed_fn embed, void *arg,
                      double *ndcg)
{
    float *documents = NULL, *questions = NULL;
    rag_err err = embed_all(c, false, dims, embed, arg, &documents);
    if (!err)
        err = embed_all(c, true, dims, embed, arg, &questions);
    double sum = 0;
    for (size_t q = 0; q < c->nquestions && !err; q++) {
        const char *best[DEPTH] = {NULL};
        double values[RAG_METRICS] = {0};
        const size_t n = best_of(c, dims, documents, questions + q * dims, best);
        err = metrics_of(c->grades + c->questions[q].first, c->questions[q].grades, best, n,
                         values);
        sum += values[RAG_NDCG_10];
    }
    mem_free(documents);
    mem_free(questions);
    if (!err)
        *ndcg = sum / (double)c->nquestions;
    return err;
}
