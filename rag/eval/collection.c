/* collection.c - reads a test collection.  See collection.h.
 *
 * Place: rag/eval.  A line that is wrong is an error that names file and line: a collection
 * that is read in part gives figures that are wrong in silence. */
#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/memory.h"
#include "ann/io/io.h"
#include "ann/io/json.h"
#include "rag/error.h"
#include "rag/eval/collection.h"

#define FILE_MOST ((size_t)2 << 30)

/* ---- lists ---- */

/* One more element of size `each` in *list. */
static rag_err make_room(void *list, size_t n, size_t *room, size_t each)
{
    void *more;
    if (n < *room)
        return RAG_OK;
    memcpy(&more, list, sizeof more);
    more = mem_resize(more, (2 * *room + 256) * each);
    if (!more)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu entries", 2 * *room + 256);
    memcpy(list, &more, sizeof more);
    *room = 2 * *room + 256;
    return RAG_OK;
}

static void free_document(struct eval_document *d)
{
    mem_free(d->id);
    mem_free(d->title);
    mem_free(d->text);
}

static void free_question(struct eval_question *q)
{
    for (size_t i = 0; i < q->nanswers; i++)
        mem_free(q->answers[i]);
    mem_free(q->answers);
    mem_free(q->id);
    mem_free(q->text);
}

void rag_collection_close(rag_collection *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->ndocuments; i++)
        free_document(&c->documents[i]);
    for (size_t i = 0; i < c->nquestions; i++)
        free_question(&c->questions[i]);
    for (size_t i = 0; i < c->ngrades; i++)
        mem_free(c->grades[i].document);
    mem_free(c->documents);
    mem_free(c->questions);
    mem_free(c->grades);
    mem_free(c->name);
    mem_free(c);
}

static rag_err add_document(rag_collection *c, const char *id, const char *title,
                            const char *text)
{
    rag_err err =
        make_room(&c->documents, c->ndocuments, &c->document_room, sizeof *c->documents);
    if (err)
        return err;
    struct eval_document d = {mem_strdup(id), mem_strdup(title), mem_strdup(text)};
    if (!d.id || !d.title || !d.text) {
        free_document(&d);
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a document");
    }
    c->documents[c->ndocuments++] = d;
    return RAG_OK;
}

static rag_err add_question(rag_collection *c, const char *id, const char *text)
{
    rag_err err =
        make_room(&c->questions, c->nquestions, &c->question_room, sizeof *c->questions);
    if (err)
        return err;
    struct eval_question q = {mem_strdup(id), mem_strdup(text), NULL, 0, 0, 0};
    if (!q.id || !q.text) {
        free_question(&q);
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a question");
    }
    c->questions[c->nquestions++] = q;
    return RAG_OK;
}

/* ---- lines ---- */

rag_err eval_each_line(const char *path, eval_line_fn each, void *arg)
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

static rag_err take_answers(struct eval_question *q, const struct js *answers)
{
    const size_t n = js_count(answers);
    if (js_kind(answers) != JS_ARRAY || n == 0)
        return RAG_OK;
    q->answers = mem_zalloc(n, sizeof *q->answers);
    for (size_t i = 0; i < n && q->answers; i++) {
        const char *text = js_string(js_at(answers, i), NULL);
        if (text && !(q->answers[q->nanswers++] = mem_strdup(text)))
            return RAG_FAIL(RAG_ENOMEM, "out of memory for answers");
    }
    return q->answers ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for answers");
}

/* {"_id", "title", "text", "answers"}, or "id TAB text". */
static rag_err read_entry(rag_collection *c, bool question, const char *path, size_t line,
                          char *text)
{
    struct js *v = NULL;
    char name[PATH_MAX];
    if (*text != '{') {
        char *tab = strchr(text, '\t');
        if (!tab || tab == text)
            return RAG_FAIL(RAG_EFORMAT, "%s: line %zu is neither JSON nor id, tab and text",
                            path, line);
        *tab = '\0';
        return question ? add_question(c, text, tab + 1) : add_document(c, text, "", tab + 1);
    }
    snprintf(name, sizeof name, "%.4000s:%zu", path, line);
    rag_err err = rag_from_base(js_parse(name, text, strlen(text), 0, &v));
    const char *id = js_string(js_get(v, "_id"), js_string(js_get(v, "id"), NULL));
    const char *body = js_string(js_get(v, "text"), NULL);
    if (!err && (!id || !body || !*id))
        err = RAG_FAIL(RAG_EFORMAT, "%s: line %zu has no _id or text", path, line);
    if (!err && question) {
        err = add_question(c, id, body);
        if (!err)
            err = take_answers(&c->questions[c->nquestions - 1], js_get(v, "answers"));
    } else if (!err) {
        err = add_document(c, id, js_string(js_get(v, "title"), ""), body);
    }
    js_free(v);
    return err;
}

static rag_err read_document(void *arg, const char *path, size_t line, char *text)
{
    return read_entry(arg, false, path, line, text);
}

static rag_err read_question(void *arg, const char *path, size_t line, char *text)
{
    return read_entry(arg, true, path, line, text);
}

/* ---- TREC topics ---- */

/* The text behind a tag up to the next one, `lead` and blanks around it taken off; cut off
 * where it ends.  NULL: no such tag before `end`. */
static char *tagged(char *from, const char *end, const char *tag, const char *lead, char **rest)
{
    char *at = strstr(from, tag);
    if (!at || at >= end)
        return NULL;
    at += strlen(tag);
    char *stop = strchr(at, '<');
    stop = stop && stop < end ? stop : at + strnlen(at, (size_t)(end - at));
    while (at < stop && isspace((unsigned char)*at))
        at++;
    if (strncasecmp(at, lead, strlen(lead)) == 0)
        at += strlen(lead);
    while (at < stop && isspace((unsigned char)*at))
        at++;
    *rest = stop;
    return at;
}

static char *copy_trimmed(const char *from, const char *stop)
{
    while (stop > from && isspace((unsigned char)stop[-1]))
        stop--;
    char *copy = mem_alloc((size_t)(stop - from) + 1);
    if (copy) {
        memcpy(copy, from, (size_t)(stop - from));
        copy[stop - from] = '\0';
    }
    return copy;
}

static rag_err add_topic(rag_collection *c, const char *path, char *top, const char *end)
{
    char *id_end = NULL, *text_end = NULL;
    const char *id = tagged(top, end, "<num>", "Number:", &id_end);
    const char *text = tagged(top, end, "<title>", "Topic:", &text_end);
    if (!id || !text)
        return RAG_FAIL(RAG_EFORMAT, "%s: topic %zu has no <num> or <title>", path,
                        c->nquestions + 1);
    char *number = copy_trimmed(id, id_end), *title = copy_trimmed(text, text_end);
    rag_err err = number && title ? add_question(c, number, title)
                                  : RAG_FAIL(RAG_ENOMEM, "out of memory for a topic");
    mem_free(number);
    mem_free(title);
    return err;
}

static rag_err read_topics(rag_collection *c, const char *path)
{
    char *all = NULL;
    size_t bytes = 0;
    rag_err err = rag_from_base(io_slurp(path, FILE_MOST, &all, &bytes));
    if (!err && memchr(all, '\0', bytes))
        err = RAG_FAIL(RAG_EFORMAT, "%s: holds a NUL", path);
    for (char *top = err ? NULL : strstr(all, "<top>"); top && !err;) {
        char *end = strstr(top, "</top>");
        if (!end)
            err = RAG_FAIL(RAG_EFORMAT, "%s: topic %zu has no </top>", path, c->nquestions + 1);
        else
            err = add_topic(c, path, top, end);
        top = end ? strstr(end, "<top>") : NULL;
    }
    mem_free(all);
    return err;
}

static rag_err read_questions(rag_collection *c, const char *path)
{
    FILE *f = fopen(path, "rb");
    int first = f ? fgetc(f) : EOF;
    while (first != EOF && isspace(first))
        first = fgetc(f);
    if (f)
        fclose(f);
    return first == '<' ? read_topics(c, path) : eval_each_line(path, read_question, c);
}

/* ---- judgments ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct eval_names *)a)->id, ((const struct eval_names *)b)->id);
}

size_t names_find(const struct eval_names *names, size_t n, const char *id)
{
    const struct eval_names key = {id, 0};
    const struct eval_names *hit = n ? bsearch(&key, names, n, sizeof key, by_name) : NULL;
    return hit ? hit->index : SIZE_MAX;
}

rag_err names_of_questions(const rag_collection *c, struct eval_names **out)
{
    struct eval_names *names = mem_alloc((c->nquestions + 1) * sizeof *names);
    if (!names)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu questions", c->nquestions);
    for (size_t i = 0; i < c->nquestions; i++)
        names[i] = (struct eval_names){c->questions[i].id, i};
    qsort(names, c->nquestions, sizeof *names, by_name);
    for (size_t i = 1; i < c->nquestions; i++)
        if (strcmp(names[i].id, names[i - 1].id) == 0) {
            rag_err err = RAG_FAIL(RAG_EFORMAT, "%s: question \"%.100s\" stands there twice",
                                   c->name, names[i].id);
            mem_free(names);
            return err;
        }
    *out = names;
    return RAG_OK;
}

struct grading {
    rag_collection *c;
    struct eval_names *names;
};

/* "question document grade", tabs or blanks between, perhaps TREC's iteration before the
 * document. */
static rag_err read_grade(void *arg, const char *path, size_t line, char *text)
{
    const struct grading *g = arg;
    char *save = NULL, *part[5] = {NULL}, *end;
    size_t n = 0;
    for (char *p = strtok_r(text, "\t ", &save); p && n < 5; p = strtok_r(NULL, "\t ", &save))
        part[n++] = p;
    if (n != 3 && n != 4)
        return RAG_FAIL(RAG_EFORMAT, "%s: line %zu is no question, document and grade", path,
                        line);
    errno = 0;
    const long long grade = strtoll(part[n - 1], &end, 10);
    if (*end && line == 1)
        return RAG_OK; /* a head */
    if (*end || errno || grade < -1000000 || grade > 1000000)
        return RAG_FAIL(RAG_EFORMAT, "%s: line %zu: \"%.40s\" is no grade", path, line,
                        part[n - 1]);
    const size_t question = names_find(g->names, g->c->nquestions, part[0]);
    if (question == SIZE_MAX)
        return RAG_OK;
    rag_err err =
        make_room(&g->c->grades, g->c->ngrades, &g->c->grade_room, sizeof *g->c->grades);
    char *document = err ? NULL : mem_strdup(part[n - 2]);
    if (!err && !document)
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for a grade");
    if (!err)
        g->c->grades[g->c->ngrades++] =
            (struct eval_grade){(uint32_t)question, document, grade};
    return err;
}

static int by_question(const void *a, const void *b)
{
    const struct eval_grade *x = a, *y = b;
    if (x->question != y->question)
        return x->question < y->question ? -1 : 1;
    return strcmp(x->document, y->document);
}

static rag_err order_grades(rag_collection *c)
{
    if (c->ngrades > 0) /* C allows no array of none */
        qsort(c->grades, c->ngrades, sizeof *c->grades, by_question);
    for (size_t i = 0; i < c->ngrades; i++) {
        struct eval_question *q = &c->questions[c->grades[i].question];
        if (i > 0 && by_question(&c->grades[i - 1], &c->grades[i]) == 0)
            return RAG_FAIL(RAG_EFORMAT, "%s: question \"%.100s\" has two grades of \"%.100s\"",
                            c->name, q->id, c->grades[i].document);
        q->first = q->grades ? q->first : i;
        q->grades++;
    }
    return RAG_OK;
}

/* Leaves each `every`-th of the questions that have grades. */
static rag_err keep_judged(rag_collection *c, size_t every)
{
    size_t kept = 0, judged = 0;
    for (size_t i = 0; i < c->nquestions; i++) {
        struct eval_question q = c->questions[i];
        if (q.grades > 0 && judged++ % every == 0) {
            for (size_t g = 0; g < q.grades; g++)
                c->grades[q.first + g].question = (uint32_t)kept;
            c->questions[kept++] = q;
        } else {
            free_question(&q);
        }
    }
    c->nquestions = kept;
    return kept ? RAG_OK
                : RAG_FAIL(RAG_EFORMAT, "%s: no question has a judged document", c->name);
}

static rag_err read_grades(rag_collection *c, const char *path, const char *otherwise)
{
    struct grading g = {c, NULL};
    rag_err err = names_of_questions(c, &g.names);
    if (!err)
        err = eval_each_line(path, read_grade, &g);
    if (err == RAG_ENOENT && otherwise)
        err = eval_each_line(otherwise, read_grade, &g);
    mem_free(g.names);
    return err ? err : order_grades(c);
}

/* ---- documents of one title ---- */

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
        qsort(c->grades, c->ngrades, sizeof *c->grades, by_question);
    for (size_t i = 0; i < c->ngrades; i++) {
        if (kept > 0 && by_question(&c->grades[kept - 1], &c->grades[i]) == 0) {
            if (c->grades[i].grade > c->grades[kept - 1].grade)
                c->grades[kept - 1].grade = c->grades[i].grade;
            mem_free(c->grades[i].document);
        } else {
            c->grades[kept++] = c->grades[i];
        }
    }
    c->ngrades = kept;
    return RAG_OK;
}

static rag_err join_documents(rag_collection *c)
{
    const size_t n = c->ndocuments;
    struct eval_document **sorted = mem_alloc((n + 1) * sizeof *sorted);
    struct eval_document *joined = mem_zalloc(n + 1, sizeof *joined);
    struct eval_names *became = mem_alloc((n + 1) * sizeof *became);
    size_t m = 0;
    rag_err err = sorted && joined && became
                      ? RAG_OK
                      : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu documents", n);
    for (size_t i = 0; i < n && !err; i++)
        sorted[i] = &c->documents[i];
    if (!err)
        qsort(sorted, n, sizeof *sorted, by_title);
    for (size_t i = 0, next; i < n && !err; i = next) {
        for (next = i; next < n && strcmp(sorted[next]->title, sorted[i]->title) == 0; next++)
            became[next] = (struct eval_names){sorted[next]->id, i};
        struct eval_document d = {mem_strdup(sorted[i]->title), mem_strdup(sorted[i]->title),
                                  join_texts(sorted + i, next - i)};
        joined[m++] = d;
        if (!d.id || !d.title || !d.text)
            err = RAG_FAIL(RAG_ENOMEM, "out of memory for a document");
        else if (!*d.id)
            err = RAG_FAIL(RAG_EFORMAT, "%s: document \"%.100s\" has no title to be joined by",
                           c->name, sorted[i]->id);
    }
    if (!err) {
        qsort(became, n, sizeof *became, by_name);
        err = regrade(c, became, n, sorted);
    }
    if (!err)
        for (size_t i = 0; i < n; i++)
            free_document(&c->documents[i]);
    struct eval_document *drop = err ? joined : c->documents;
    for (size_t i = 0; err && i < m; i++)
        free_document(&joined[i]);
    if (!err) {
        c->documents = joined;
        c->ndocuments = c->document_room = m;
    }
    mem_free(drop);
    mem_free(sorted);
    mem_free(became);
    return err;
}

/* ---- all of it ---- */

static rag_err name_path(char *out, size_t room, const char *folder, const char *file)
{
    const int n = snprintf(out, room, "%s/%s", folder, file);
    return n > 0 && (size_t)n < room
               ? RAG_OK
               : RAG_FAIL(RAG_EINVAL, "%.100s...: too long a path", folder);
}

static rag_err read_all(rag_collection *c, const rag_collection_options *o)
{
    char corpus[PATH_MAX] = "", queries[PATH_MAX] = "", qrels[PATH_MAX] = "",
         test[PATH_MAX] = "";
    rag_err err = RAG_OK;
    if (o->folder) {
        err = name_path(corpus, sizeof corpus, o->folder, "corpus.jsonl");
        if (!err)
            err = name_path(queries, sizeof queries, o->folder, "queries.jsonl");
        if (!err)
            err = name_path(qrels, sizeof qrels, o->folder, "qrels.tsv");
        if (!err)
            err = name_path(test, sizeof test, o->folder, "qrels/test.tsv");
    } else if (!o->queries || !o->qrels) {
        return RAG_FAIL(RAG_EINVAL, "a collection needs a folder, or queries and qrels");
    }
    if (!err && (o->corpus || o->folder))
        err = eval_each_line(o->corpus ? o->corpus : corpus, read_document, c);
    if (!err)
        err = read_questions(c, o->queries ? o->queries : queries);
    if (!err)
        err = read_grades(c, o->qrels ? o->qrels : qrels, o->qrels ? NULL : test);
    return err;
}

rag_err eval_questions(const char *path, rag_collection **out)
{
    rag_collection *c = mem_zalloc(1, sizeof *c);
    if (c)
        c->name = mem_strdup(path);
    rag_err err = c && c->name ? read_questions(c, path)
                               : RAG_FAIL(RAG_ENOMEM, "out of memory for questions");
    if (!err && c->nquestions == 0)
        err = RAG_FAIL(RAG_EFORMAT, "%s: no questions", path);
    if (err)
        rag_collection_close(c);
    else
        *out = c;
    return err;
}

rag_err rag_collection_open(const rag_collection_options *given, rag_collection **out)
{
    rag_collection_options o = RAG_COLLECTION_OPTIONS_INIT;
    memcpy(&o, given, given->size < sizeof o ? given->size : sizeof o);
    rag_collection *c = mem_zalloc(1, sizeof *c);
    if (c)
        c->name = mem_strdup(o.folder ? o.folder : o.qrels ? o.qrels : "");
    rag_err err =
        c && c->name ? read_all(c, &o) : RAG_FAIL(RAG_ENOMEM, "out of memory for a collection");
    if (!err)
        err = keep_judged(c, o.every ? o.every : 1);
    if (!err && o.join)
        err = join_documents(c);
    if (err) {
        rag_collection_close(c);
        return err;
    }
    *out = c;
    return RAG_OK;
}

rag_err rag_collection_get_info(const rag_collection *c, rag_collection_info *info)
{
    const rag_collection_info all = {sizeof all, c->name, c->ndocuments, c->nquestions,
                                     c->ngrades};
    const size_t size = info->size < sizeof all ? info->size : sizeof all;
    memcpy((char *)info + sizeof size, (const char *)&all + sizeof size, size - sizeof size);
    return RAG_OK;
}
