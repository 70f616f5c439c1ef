/* judge.c - nDCG@10 of vectors alone on a collection.  See judge.h.
 *
 * Place: rag. */
#include <config.h>

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/memory.h"
#include "ann/io/io.h"
#include "ann/io/json.h"
#include "rag/error.h"
#include "rag/judge.h"

#define FILE_MOST ((size_t)1 << 30)
#define DEPTH     10
#define AT_ONCE   1024 /* texts that are embedded at a time */

struct entry {
    char *id, *text;
};

struct entries {
    struct entry *all; /* [n] */
    size_t n, room;
};

struct grade {
    uint32_t question, document;
    double gain;
};

struct collection {
    struct entries documents, questions;
    struct grade *grades; /* [n] by question */
    size_t n, room, judged;
};

/* ---- reading ---- */

static void free_entries(struct entries *e)
{
    for (size_t i = 0; i < e->n; i++) {
        mem_free(e->all[i].id);
        mem_free(e->all[i].text);
    }
    mem_free(e->all);
}

void collection_close(struct collection *c)
{
    if (!c)
        return;
    free_entries(&c->documents);
    free_entries(&c->questions);
    mem_free(c->grades);
    mem_free(c);
}

size_t collection_questions(const struct collection *c)
{
    return c->judged;
}

static char *join(const char *title, const char *text)
{
    const size_t room = strlen(title) + strlen(text) + 2;
    char *all = mem_alloc(room);
    if (all)
        snprintf(all, room, "%s%s%s", title, *title ? "\n" : "", text);
    return all;
}

static rag_err add_entry(struct entries *e, const char *path, size_t line, const struct js *v)
{
    const char *id = js_string(js_get(v, "_id"), js_string(js_get(v, "id"), NULL));
    const char *text = js_string(js_get(v, "text"), NULL);
    if (!id || !text)
        return RAG_FAIL(RAG_EFORMAT, "%s: line %zu has no _id or text", path, line);
    if (e->n == e->room) {
        const size_t room = 2 * e->room + 256;
        struct entry *more = mem_resize(e->all, room * sizeof *more);
        if (!more)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu texts", room);
        e->all = more;
        e->room = room;
    }
    struct entry *to = &e->all[e->n];
    *to = (struct entry){mem_strdup(id), join(js_string(js_get(v, "title"), ""), text)};
    if (!to->id || !to->text) {
        mem_free(to->id);
        mem_free(to->text);
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a text");
    }
    e->n++;
    return RAG_OK;
}

/* Calls each with a line of a file (its end cut off), counted from 1. */
typedef rag_err (*line_fn)(void *arg, const char *path, size_t line, char *text);

static rag_err each_line(const char *path, line_fn each, void *arg)
{
    char *all = NULL;
    size_t bytes = 0, line = 0;
    rag_err err = rag_from_base(io_slurp(path, FILE_MOST, &all, &bytes));
    for (size_t at = 0; at < bytes && !err;) {
        char *end = memchr(all + at, '\n', bytes - at);
        const size_t n = end ? (size_t)(end - all) - at : bytes - at;
        all[at + n] = '\0';
        if (n > 0 && all[at + n - 1] == '\r')
            all[at + n - 1] = '\0';
        line++;
        if (all[at])
            err = each(arg, path, line, all + at);
        at += n + 1;
    }
    mem_free(all);
    return err;
}

static rag_err read_entry(void *arg, const char *path, size_t line, char *text)
{
    struct js *v = NULL;
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%.4000s:%zu", path, line);
    rag_err err = rag_from_base(js_parse(name, text, strlen(text), 0, &v));
    if (!err)
        err = add_entry(arg, path, line, v);
    js_free(v);
    return err;
}

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->id, ((const struct entry *)b)->id);
}

/* UINT32_MAX: not there.  e is in the order of ids. */
static uint32_t find(const struct entries *e, char *id)
{
    const struct entry key = {id, NULL};
    const struct entry *hit = bsearch(&key, e->all, e->n, sizeof key, by_id);
    return hit ? (uint32_t)(hit - e->all) : UINT32_MAX;
}

/* "question document grade", tabs or blanks between, perhaps TREC's 0 before the document. */
static rag_err read_grade(void *arg, const char *path, size_t line, char *text)
{
    struct collection *c = arg;
    char *save = NULL, *part[4] = {NULL}, *end;
    size_t n = 0;
    for (char *p = strtok_r(text, "\t ", &save); p && n < 4; p = strtok_r(NULL, "\t ", &save))
        part[n++] = p;
    if (n < 3)
        return RAG_FAIL(RAG_EFORMAT, "%s: line %zu is no question, document and grade", path,
                        line);
    const double gain = strtod(part[n - 1], &end);
    if (*end && line == 1)
        return RAG_OK; /* a head */
    if (*end || !isfinite(gain))
        return RAG_FAIL(RAG_EFORMAT, "%s: line %zu: \"%.40s\" is no grade", path, line,
                        part[n - 1]);
    const uint32_t question = find(&c->questions, part[0]),
                   document = find(&c->documents, part[n - 2]);
    if (gain <= 0 || question == UINT32_MAX || document == UINT32_MAX)
        return RAG_OK;
    if (c->n == c->room) {
        const size_t room = 2 * c->room + 256;
        struct grade *more = mem_resize(c->grades, room * sizeof *more);
        if (!more)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu grades", room);
        c->grades = more;
        c->room = room;
    }
    c->grades[c->n++] = (struct grade){question, document, gain};
    return RAG_OK;
}

/* By question, the highest gain first. */
static int by_question(const void *a, const void *b)
{
    const struct grade *x = a, *y = b;
    if (x->question != y->question)
        return x->question < y->question ? -1 : 1;
    return (x->gain < y->gain) - (x->gain > y->gain);
}

static rag_err read_file(const char *folder, const char *name, line_fn each, void *arg)
{
    char path[PATH_MAX];
    const int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    return n > 0 && n < (int)sizeof path
               ? each_line(path, each, arg)
               : RAG_FAIL(RAG_EINVAL, "%.100s...: too long a path", folder);
}

rag_err collection_open(const char *folder, struct collection **out)
{
    struct collection *c = mem_zalloc(1, sizeof *c);
    if (!c)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a collection");
    rag_err err = read_file(folder, "corpus.jsonl", read_entry, &c->documents);
    if (!err)
        err = read_file(folder, "queries.jsonl", read_entry, &c->questions);
    if (!err) {
        qsort(c->documents.all, c->documents.n, sizeof *c->documents.all, by_id);
        qsort(c->questions.all, c->questions.n, sizeof *c->questions.all, by_id);
        err = read_file(folder, "qrels.tsv", read_grade, c);
        if (err == RAG_ENOENT)
            err = read_file(folder, "qrels/test.tsv", read_grade, c);
    }
    if (!err && c->n == 0)
        err = RAG_FAIL(RAG_EFORMAT, "%s: no question has a relevant document", folder);
    if (err) {
        collection_close(c);
        return err;
    }
    qsort(c->grades, c->n, sizeof *c->grades, by_question);
    for (size_t i = 0; i < c->n; i++)
        c->judged += i == 0 || c->grades[i].question != c->grades[i - 1].question;
    *out = c;
    return RAG_OK;
}

/* ---- judging ---- */

static rag_err embed_all(const struct entries *e, size_t dims, collection_embed_fn embed,
                         void *arg, float **out)
{
    const char *texts[AT_ONCE];
    size_t bytes;
    float *all =
        size_mul(e->n, dims * sizeof *all, &bytes) ? mem_alloc(bytes ? bytes : 1) : NULL;
    rag_err err = all ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu vectors", e->n);
    for (size_t at = 0; at < e->n && !err; at += AT_ONCE) {
        const size_t n = e->n - at < AT_ONCE ? e->n - at : AT_ONCE;
        for (size_t i = 0; i < n; i++)
            texts[i] = e->all[at + i].text;
        err = embed(arg, texts, n, all + at * dims);
    }
    if (err)
        mem_free(all);
    else
        *out = all;
    return err;
}

/* The DEPTH documents nearest to question, ties by id. */
static size_t best_of(const struct collection *c, size_t dims, const float *documents,
                      const float *question, uint32_t best[DEPTH])
{
    double scores[DEPTH];
    size_t n = 0;
    for (size_t i = 0; i < c->documents.n; i++) {
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
        best[at] = (uint32_t)i;
    }
    return n;
}

/* Of one question, whose grades [n] are the highest first. */
static double ndcg_of(const struct grade *grades, size_t n, const uint32_t *best, size_t nbest)
{
    double got = 0, ideal = 0;
    for (size_t i = 0; i < nbest; i++)
        for (size_t g = 0; g < n; g++)
            if (grades[g].document == best[i])
                got += grades[g].gain / log2((double)i + 2);
    for (size_t g = 0; g < n && g < DEPTH; g++)
        ideal += grades[g].gain / log2((double)g + 2);
    return got / ideal;
}

rag_err collection_judge(const struct collection *c, size_t dims, collection_embed_fn embed,
                         void *arg, double *ndcg)
{
    float *documents = NULL, *questions = NULL;
    rag_err err = embed_all(&c->documents, dims, embed, arg, &documents);
    if (!err)
        err = embed_all(&c->questions, dims, embed, arg, &questions);
    double sum = 0;
    for (size_t first = 0, next; first < c->n && !err; first = next) {
        uint32_t best[DEPTH] = {0};
        const size_t q = c->grades[first].question;
        for (next = first; next < c->n && c->grades[next].question == q; next++)
            continue;
        const size_t n = best_of(c, dims, documents, questions + q * dims, best);
        sum += ndcg_of(c->grades + first, next - first, best, n);
    }
    mem_free(documents);
    mem_free(questions);
    if (!err)
        *ndcg = sum / (double)c->judged;
    return err;
}
