/* articles.c - where answers stand in a collection's documents, and documents of one title
 * joined.
 *
 * Place: rag/eval.  Answers come without their places: the first one that stands in a relevant
 * document is taken, where it first stands as whole words.  Invariant: a span lies in the text
 * as a store has it. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/memory.h"
#include "rag/error.h"
#include "rag/eval/collection.h"
#include "rag/text/text.h"

/* ---- where answers stand ---- */

static rag_err normalise(const char *name, char **text)
{
    struct text_bytes t = {0};
    rag_err err = text_normalise(name, *text, strlen(*text), &t);
    if (err)
        return err;
    mem_free(*text);
    *text = t.data;
    return RAG_OK;
}

static rag_err normalise_all(rag_collection *c)
{
    rag_err err = RAG_OK;
    for (size_t i = 0; i < c->ndocuments && !err; i++)
        err = normalise(c->documents[i].id, &c->documents[i].text);
    for (size_t i = 0; i < c->nquestions && !err; i++)
        for (size_t k = 0; k < c->questions[i].nanswers && !err; k++)
            err = normalise(c->questions[i].id, &c->questions[i].answers[k]);
    return err;
}

/* Part of a word, as far as that matters here. */
static bool in_word(char c)
{
    const unsigned char b = (unsigned char)c, low = b | 0x20;
    return (low >= 'a' && low <= 'z') || (b >= '0' && b <= '9') || b >= 0x80;
}

/* Where answer stands in text, as whole words if it does anywhere so; NULL: nowhere. */
static const char *find_answer(const char *text, const char *answer)
{
    const size_t n = strlen(answer);
    const char *first = n ? strstr(text, answer) : NULL;
    for (const char *at = first; at; at = strstr(at + 1, answer)) {
        const bool begins = at == text || !in_word(at[-1]) || !in_word(*at);
        if (begins && !(in_word(at[n - 1]) && in_word(at[n])))
            return at;
    }
    return first;
}

/* The sentences of text that span's answer stands in, white space behind them taken off. */
static void widen(const char *text, struct eval_span *span)
{
    const size_t bytes = strlen(text);
    size_t at = 0, end = text_sentence_end(text, bytes, 0);
    while (end <= span->answer) {
        at = end;
        end = text_sentence_end(text, bytes, at);
    }
    while (end < span->answer_end)
        end = text_sentence_end(text, bytes, end);
    while (end > span->answer_end && (text_blank(text[end - 1]) || text[end - 1] == '\n'))
        end--;
    span->start = at;
    span->end = end;
}

static bool find_span(const rag_collection *c, const struct eval_names *names,
                      struct eval_question *q)
{
    for (size_t k = 0; k < q->nanswers; k++)
        for (size_t g = q->first; g < q->first + q->grades; g++) {
            const size_t d = c->grades[g].grade > 0
                                 ? names_find(names, c->ndocuments, c->grades[g].document)
                                 : SIZE_MAX;
            const char *text = d == SIZE_MAX ? "" : c->documents[d].text;
            const char *at = find_answer(text, q->answers[k]);
            if (!at)
                continue;
            q->span = (struct eval_span){.document = d, .answer = (size_t)(at - text)};
            q->span.answer_end = q->span.answer + strlen(q->answers[k]);
            widen(text, &q->span);
            return true;
        }
    return false;
}

rag_err articles_spans(rag_collection *c)
{
    struct eval_names *names = mem_alloc((c->ndocuments + 1) * sizeof *names);
    size_t found = 0;
    rag_err err = names ? normalise_all(c)
                        : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu names", c->ndocuments);
    for (size_t i = 0; i < c->ndocuments && !err; i++)
        names[i] = (struct eval_names){c->documents[i].id, i};
    if (!err)
        qsort(names, c->ndocuments, sizeof *names, eval_by_name);
    for (size_t i = 0; i < c->nquestions && !err; i++)
        found += find_span(c, names, &c->questions[i]);
    mem_free(names);
    if (!err && found == 0)
        err = RAG_FAIL(RAG_ENOENT,
                       "%s: no question has an answer that stands in a document "
                       "judged relevant",
                       c->name);
    return err;
}

/* ---- documents of one title ---- */

/* What became of a document. */
struct moved {
    size_t article, offset;
};

static int by_title(const void *a, const void *b)
{
    const struct eval_document *const *x = a, *const *y = b;
    const int order = strcmp((*x)->title, (*y)->title);
    return order ? order : (*x > *y) - (*x < *y);
}

/* The texts of run [n], an empty line between. */
static char *join_texts(struct eval_document *const *run, size_t n)
{
    size_t bytes = 1, at = 0;
    for (size_t i = 0; i < n; i++)
        bytes += strlen(run[i]->text) + 2;
    char *all = mem_alloc(bytes);
    for (size_t i = 0; i < n && all; i++)
        at += (size_t)snprintf(all + at, bytes - at, "%s%s", i ? "\n\n" : "", run[i]->text);
    return all;
}

/* Grades of a document count for the one it became part of; the highest of them stays. */
static rag_err regrade(rag_collection *c, const struct eval_names *became, size_t n,
                       struct eval_document *const *sorted)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->ngrades; i++) {
        const size_t to = names_find(became, n, c->grades[i].document);
        char *id = to == SIZE_MAX ? NULL : mem_strdup(sorted[to]->title);
        if (to != SIZE_MAX && !id)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for a grade");
        if (id) {
            mem_free(c->grades[i].document);
            c->grades[i].document = id;
        }
    }
    if (c->ngrades > 0) /* C allows no array of none */
        qsort(c->grades, c->ngrades, sizeof *c->grades, eval_by_question);
    for (size_t i = 0; i < c->ngrades; i++) {
        if (kept > 0 && eval_by_question(&c->grades[kept - 1], &c->grades[i]) == 0) {
            if (c->grades[i].grade > c->grades[kept - 1].grade)
                c->grades[kept - 1].grade = c->grades[i].grade;
            mem_free(c->grades[i].document);
        } else {
            c->grades[kept++] = c->grades[i];
        }
    }
    c->ngrades = kept;
    eval_count_grades(c);
    return RAG_OK;
}

/* Documents sorted [n], of one title from `first` to `next`, as one. */
static rag_err join_run(const rag_collection *c, struct eval_document *const *sorted,
                        size_t first, size_t next, size_t article, struct moved *moved,
                        struct eval_document *out)
{
    const struct eval_document *one = sorted[first];
    size_t offset = 0;
    if (!*one->title)
        return RAG_FAIL(RAG_EFORMAT, "%s: document \"%.100s\" has no title to be joined by",
                        c->name, one->id);
    for (size_t i = first; i < next; i++) {
        moved[sorted[i] - c->documents] = (struct moved){article, offset};
        offset += strlen(sorted[i]->text) + 2;
    }
    *out = (struct eval_document){mem_strdup(one->title), mem_strdup(one->title),
                                  join_texts(sorted + first, next - first)};
    return out->id && out->title && out->text
               ? RAG_OK
               : RAG_FAIL(RAG_ENOMEM, "out of memory for a document");
}

static void move_spans(rag_collection *c, const struct moved *moved)
{
    for (size_t i = 0; i < c->nquestions; i++) {
        struct eval_span *s = &c->questions[i].span;
        if (s->end == 0)
            continue;
        const struct moved m = moved[s->document];
        *s = (struct eval_span){m.article, s->start + m.offset, s->end + m.offset,
                                s->answer + m.offset, s->answer_end + m.offset};
    }
}

static void take_documents(rag_collection *c, struct eval_document *joined, size_t n)
{
    for (size_t i = 0; i < c->ndocuments; i++)
        eval_document_free(&c->documents[i]);
    mem_free(c->documents);
    c->documents = joined;
    c->ndocuments = c->document_room = n;
}

rag_err articles_join(rag_collection *c)
{
    const size_t n = c->ndocuments;
    struct eval_document **sorted = mem_alloc((n + 1) * sizeof *sorted);
    struct eval_document *joined = mem_zalloc(n + 1, sizeof *joined);
    struct eval_names *became = mem_alloc((n + 1) * sizeof *became);
    struct moved *moved = mem_alloc((n + 1) * sizeof *moved);
    size_t m = 0;
    rag_err err = sorted && joined && became && moved
                      ? RAG_OK
                      : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu documents", n);
    for (size_t i = 0; i < n && !err; i++)
        sorted[i] = &c->documents[i];
    if (!err)
        qsort(sorted, n, sizeof *sorted, by_title);
    for (size_t i = 0, next; i < n && !err; i = next, m++) {
        for (next = i; next < n && strcmp(sorted[next]->title, sorted[i]->title) == 0; next++)
            became[next] = (struct eval_names){sorted[next]->id, i};
        err = join_run(c, sorted, i, next, m, moved, &joined[m]);
    }
    if (!err) {
        qsort(became, n, sizeof *became, eval_by_name);
        err = regrade(c, became, n, sorted);
    }
    if (!err) {
        move_spans(c, moved);
        take_documents(c, joined, m);
    }
    for (size_t i = 0; err && i < m; i++)
        eval_document_free(&joined[i]);
    if (err)
        mem_free(joined);
    mem_free(sorted);
    mem_free(became);
    mem_free(moved);
    return err;
}
