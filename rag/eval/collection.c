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

void eval_document_free(struct eval_document *d)
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
        eval_document_free(&c->documents[i]);
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
        eval_document_free(&d);
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
    struct eval_question q = {.id = mem_strdup(id), .text = mem_strdup(text)};
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

int eval_by_name(const void *a, const void *b)
{
    return strcmp(((const struct eval_names *)a)->id, ((const struct eval_names *)b)->id);
}

size_t names_find(const struct eval_names *names, size_t n, const char *id)
{
    const struct eval_names key = {id, 0};
    const struct eval_names *hit = n ? bsearch(&key, names, n, sizeof key, eval_by_name) : NULL;
    return hit ? hit->index : SIZE_MAX;
}

rag_err names_of_questions(const rag_collection *c, struct eval_names **out)
{
    struct eval_names *names = mem_alloc((c->nquestions + 1) * sizeof *names);
    if (!names)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu questions", c->nquestions);
    for (size_t i = 0; i < c->nquestions; i++)
        names[i] = (struct eval_names){c->questions[i].id, i};
    qsort(names, c->nquestions, sizeof *names, eval_by_name);
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

int eval_by_question(const void *a, const void *b)
{
    const struct eval_grade *x = a, *y = b;
    if (x->question != y->question)
        return x->question < y->question ? -1 : 1;
    return strcmp(x->document, y->document);
}

void eval_count_grades(rag_collection *c)
{
    for (size_t i = 0; i < c->nquestions; i++)
        c->questions[i].first = c->questions[i].grades = 0;
    for (size_t i = 0; i < c->ngrades; i++) {
        struct eval_question *q = &c->questions[c->grades[i].question];
        q->first = q->grades ? q->first : i;
        q->grades++;
    }
}

static rag_err order_grades(rag_collection *c)
{
    if (c->ngrades > 0) /* C allows no array of none */
        qsort(c->grades, c->ngrades, sizeof *c->grades, eval_by_question);
    for (size_t i = 1; i < c->ngrades; i++)
        if (eval_by_question(&c->grades[i - 1], &c->grades[i]) == 0)
            return RAG_FAIL(RAG_EFORMAT, "%s: question \"%.100s\" has two grades of \"%.100s\"",
                            c->name, c->questions[c->grades[i].question].id,
                            c->grades[i].document);
    eval_count_grades(c);
    return RAG_OK;
}

/* Leaves each `every`-th of the questions that have grades, with its grades. */
static rag_err keep_judged(rag_collection *c, size_t every)
{
    size_t kept = 0, judged = 0, grades = 0;
    for (size_t i = 0; i < c->nquestions; i++) {
        struct eval_question q = c->questions[i];
        const bool wanted = q.grades > 0 && judged++ % every == 0;
        for (size_t g = q.first; g < q.first + q.grades; g++) {
            struct eval_grade one = c->grades[g];
            one.question = (uint32_t)kept;
            if (wanted)
                c->grades[grades++] = one;
            else
                mem_free(one.document);
        }
        if (wanted)
            c->questions[kept++] = q;
        else
            free_question(&q);
    }
    c->nquestions = kept;
    c->ngrades = grades;
    eval_count_grades(c);
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
    if (!err && o.spans)
        err = articles_spans(c);
    if (!err && o.join)
        err = articles_join(c);
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
