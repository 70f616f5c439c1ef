/* answer_files.c - questions with references and generated answers, read from and written to
 * JSON lines.  See answers.h.
 *
 * Place: rag/eval.  As in collection.c a line that is wrong is an error that names file and
 * line.  Invariant: what an interrupted run left in its file of answers is read by the next. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "ann/io/io.h"
#include "ann/io/json.h"
#include "rag/error.h"
#include "rag/eval/answers.h"
#include "rag/text/text.h"

/* ---- what has been read ---- */

static void free_given(struct answer_given *g)
{
    mem_free(g->text);
    mem_free(g->model);
}

static void free_question(struct answer_question *q)
{
    for (size_t i = 0; i < q->n; i++)
        mem_free(q->references[i]);
    mem_free(q->references);
    mem_free(q->id);
    mem_free(q->text);
    free_given(&q->given);
}

void answer_set_free(struct answer_set *s)
{
    for (size_t i = 0; i < s->n; i++)
        free_question(&s->questions[i]);
    mem_free(s->questions);
    mem_free(s->names);
    *s = (struct answer_set){0};
}

/* A line as a JSON object with an id; *v for js_free. */
static rag_err parse_line(const char *path, size_t line, const char *text, struct js **v,
                          const char **id)
{
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%.4000s:%zu", path, line);
    rag_err err = rag_from_base(js_parse(name, text, strlen(text), 0, v));
    if (err)
        return err;
    *id = js_string(js_get(*v, "_id"), js_string(js_get(*v, "id"), NULL));
    return *id && **id ? RAG_OK : RAG_FAIL(RAG_EFORMAT, "%s: line %zu has no _id", path, line);
}

/* ---- questions ---- */

struct reading {
    struct answer_set *set;
    bool unanswerable;    /* all of this file */
    const char *settings; /* of answers */
};

/* The references of a line: as its kinds of files have them.  NULL: it tells of none. */
static const struct js *references_of(const struct js *line)
{
    static const char *const keys[] = {"answers", "answer", "references", "reference"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const struct js *v = js_get(line, keys[i]);
        if (v && js_kind(v) != JS_NULL)
            /* {"text": [..], "answer_start": [..]}, as some copies of SQuAD */
            return js_kind(v) == JS_OBJECT ? js_get(v, "text") : v;
    }
    return NULL;
}

static bool has_word(const char *text)
{
    size_t next;
    for (size_t at = 0, n = strlen(text); at < n; at = next)
        if (!text_is_space(text_char(text, n, at, &next)))
            return true;
    return false;
}

/* One reference, a string or {"text": string}; blank ones are left out. */
static rag_err add_reference(struct answer_question *q, const char *path, size_t line,
                             const struct js *v)
{
    const char *text = js_string(js_kind(v) == JS_OBJECT ? js_get(v, "text") : v, NULL);
    if (!text)
        return RAG_FAIL(RAG_EFORMAT, "%s: line %zu: a reference is no text", path, line);
    if (strlen(text) > ANSWER_MOST)
        return RAG_FAIL(RAG_ELIMIT, "%s: line %zu: a reference of %zu bytes, at most %zu", path,
                        line, strlen(text), ANSWER_MOST);
    if (has_word(text) && !(q->references[q->n++] = mem_strdup(text)))
        return RAG_FAIL(RAG_ENOMEM, "out of memory for references");
    return RAG_OK;
}

static rag_err add_references(struct answer_question *q, const char *path, size_t line,
                              const struct js *v)
{
    const bool list = js_kind(v) == JS_ARRAY;
    const size_t n = list ? js_count(v) : v != NULL;
    rag_err err = RAG_OK;
    q->references = mem_zalloc(n + 1, sizeof *q->references);
    if (!q->references)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for references");
    for (size_t i = 0; i < n && !err; i++)
        err = add_reference(q, path, line, list ? js_at(v, i) : v);
    if (v)
        q->kind = q->n ? RAG_ANSWERABLE_YES : RAG_ANSWERABLE_NO;
    return err;
}

static rag_err new_question(struct answer_set *s, const char *id, const char *text,
                            struct answer_question **out)
{
    if (s->n == s->room) {
        struct answer_question *more =
            mem_resize(s->questions, (2 * s->room + 256) * sizeof *more);
        if (!more)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu questions", s->n);
        s->questions = more;
        s->room = 2 * s->room + 256;
    }
    struct answer_question *q = &s->questions[s->n++];
    *q = (struct answer_question){.id = mem_strdup(id), .text = mem_strdup(text)};
    *out = q;
    return q->id && q->text ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for a question");
}

static rag_err read_question(void *arg, const char *path, size_t line, char *text)
{
    const struct reading *r = arg;
    struct answer_question *q = NULL;
    struct js *v = NULL;
    const char *id = NULL;
    rag_err err = parse_line(path, line, text, &v, &id);
    const char *asked = js_string(js_get(v, "text"), js_string(js_get(v, "question"), NULL));
    if (!err && (!asked || !has_word(asked)))
        err = RAG_FAIL(RAG_EFORMAT, "%s: line %zu has no text or question", path, line);
    if (!err)
        err = new_question(r->set, id, asked, &q);
    const bool impossible = r->unanswerable || js_bool(js_get(v, "is_impossible"), false);
    if (!err && impossible)
        q->kind = RAG_ANSWERABLE_NO;
    else if (!err)
        err = add_references(q, path, line, references_of(v));
    js_free(v);
    return err;
}

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct eval_names *)a)->id, ((const struct eval_names *)b)->id);
}

static rag_err sort_names(struct answer_set *s)
{
    s->names = mem_alloc((s->n + 1) * sizeof *s->names);
    if (!s->names)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu questions", s->n);
    for (size_t i = 0; i < s->n; i++)
        s->names[i] = (struct eval_names){s->questions[i].id, i};
    qsort(s->names, s->n, sizeof *s->names, by_id);
    for (size_t i = 1; i < s->n; i++)
        if (strcmp(s->names[i].id, s->names[i - 1].id) == 0)
            return RAG_FAIL(RAG_EFORMAT, "question \"%.100s\" stands there twice",
                            s->names[i].id);
    return RAG_OK;
}

rag_err answer_set_read(const char *queries, const char *unanswerable, size_t every,
                        struct answer_set *out)
{
    struct answer_set s = {0};
    rag_err err = RAG_OK;
    const char *const paths[2] = {queries, unanswerable};
    for (int i = 0; i < 2 && !err; i++) {
        struct reading r = {.set = &s, .unanswerable = i == 1};
        const size_t first = s.n;
        if (!paths[i])
            continue;
        err = eval_each_line(paths[i], read_question, &r);
        if (!err && s.n == first)
            err = RAG_FAIL(RAG_EFORMAT, "%s: no questions", paths[i]);
        for (size_t q = first; q < s.n; q += every)
            s.questions[q].chosen = true;
    }
    if (!err)
        err = sort_names(&s);
    if (err)
        answer_set_free(&s);
    else
        *out = s;
    return err;
}

/* ---- answers ---- */

/* How many sources an answer had: `sources` says, or the largest number that it cites of them,
 * which parts what it cites alike. */
static size_t count_sources(const struct js *line)
{
    const struct js *sources = js_get(line, "sources"), *cited = js_get(line, "cited");
    uint64_t n = 0, most = 0;
    if (js_kind(sources) == JS_ARRAY)
        return js_count(sources);
    if (js_u64(sources, &n) && n < SIZE_MAX)
        return (size_t)n;
    if (js_kind(cited) != JS_ARRAY)
        return SIZE_MAX;
    for (size_t i = 0; i < js_count(cited); i++)
        if (js_u64(js_at(cited, i), &n) && n > most && n < UINT32_MAX)
            most = n;
    return (size_t)most;
}

/* An answer must be to this question, and made as this run makes them. */
static rag_err check_answer(const struct answer_question *q, const char *settings,
                            const char *path, size_t line, const struct js *v)
{
    const char *asked = js_string(js_get(v, "question"), q->text);
    const char *made = js_string(js_get(v, "settings"), settings);
    if (q->given.text)
        return RAG_FAIL(RAG_EFORMAT, "%s: line %zu answers \"%.100s\" a second time", path,
                        line, q->id);
    if (strcmp(asked, q->text) != 0)
        return RAG_FAIL(RAG_EMISMATCH, "%s: line %zu answers another question than \"%.100s\"",
                        path, line, q->id);
    if (settings && strcmp(made, settings) != 0)
        return RAG_FAIL(RAG_EMISMATCH,
                        "%s: line %zu was answered with other settings (%.120s) than these "
                        "(%.120s)",
                        path, line, made, settings);
    return RAG_OK;
}

static rag_err give(struct answer_question *q, const char *text, const char *model,
                    size_t nsources, bool cut)
{
    struct answer_given g = {.text = mem_strdup(text),
                             .model = model ? mem_strdup(model) : NULL,
                             .nsources = nsources,
                             .cut = cut};
    if (!g.text || (model && !g.model)) {
        free_given(&g);
        return RAG_FAIL(RAG_ENOMEM, "out of memory for an answer");
    }
    free_given(&q->given);
    q->given = g;
    return RAG_OK;
}

static rag_err take_answer(const struct reading *r, const char *path, size_t line,
                           const struct js *v, const char *id)
{
    const char *text = js_string(js_get(v, "answer"), js_string(js_get(v, "text"), NULL));
    if (!text)
        return RAG_FAIL(RAG_EFORMAT, "%s: line %zu has no answer", path, line);
    if (strlen(text) > ANSWER_MOST)
        return RAG_FAIL(RAG_ELIMIT, "%s: line %zu: an answer of %zu bytes, at most %zu", path,
                        line, strlen(text), ANSWER_MOST);
    const size_t at = names_find(r->set->names, r->set->n, id);
    if (at == SIZE_MAX) {
        r->set->strangers++;
        return RAG_OK;
    }
    struct answer_question *q = &r->set->questions[at];
    rag_err err = check_answer(q, r->settings, path, line, v);
    const bool cut = strcmp(js_string(js_get(v, "finish"), ""), "length") == 0;
    return err ? err
               : give(q, text, js_string(js_get(v, "model"), NULL), count_sources(v), cut);
}

static rag_err read_answer(void *arg, const char *path, size_t line, char *text)
{
    struct js *v = NULL;
    const char *id = NULL;
    rag_err err = parse_line(path, line, text, &v, &id);
    if (!err)
        err = take_answer(arg, path, line, v, id);
    js_free(v);
    return err;
}

rag_err answer_set_take(struct answer_set *s, const char *path, const char *settings)
{
    struct reading r = {.set = s, .settings = settings};
    return eval_each_line(path, read_answer, &r);
}

/* ---- a file of answers that grows ---- */

/* The last line has its end: one that is whole gets it, one that was broken off goes. */
static rag_err mend_end(int fd, const char *path, const char *text, size_t bytes)
{
    size_t at = bytes;
    struct js *v = NULL;
    while (at > 0 && text[at - 1] != '\n')
        at--;
    if (at == bytes)
        return RAG_OK;
    const bool whole = js_parse(path, text + at, bytes - at, 0, &v) == ANN_OK;
    js_free(v);
    if (whole)
        return rag_from_base(io_write_fd(fd, path, "\n", 1));
    return ftruncate(fd, (off_t)at) == 0 ? RAG_OK
                                         : RAG_FAIL(RAG_EIO, "%s: %s", path, strerror(errno));
}

rag_err answer_log_open(const char *path, struct answer_log *log)
{
    struct stat st;
    char *text = NULL;
    size_t bytes = 0;
    const int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0)
        return RAG_FAIL(RAG_EIO, "%s: %s", path, strerror(errno));
    rag_err err = RAG_OK;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        err = RAG_FAIL(RAG_EINVAL, "%s: is no regular file", path);
    else if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        err = RAG_FAIL(RAG_EBUSY, "%s: another process writes answers there", path);
    if (!err)
        err = rag_from_base(io_slurp(path, (size_t)2 << 30, &text, &bytes));
    if (!err)
        err = mend_end(fd, path, text, bytes);
    FILE *f = err ? NULL : fdopen(fd, "a");
    mem_free(text);
    if (!err && !f)
        err = RAG_FAIL(RAG_EIO, "%s: %s", path, strerror(errno));
    if (err)
        close(fd);
    else
        *log = (struct answer_log){f, path};
    return err;
}

static void put_line(struct js_out *o, const struct answer_question *q, const rag_answer *a,
                     const char *settings, double ms)
{
    js_open(o, NULL, '{');
    js_put_string(o, "_id", q->id);
    js_put_string(o, "question", q->text);
    js_put_string(o, "answer", a->text);
    js_put_u64(o, "sources", a->hits->n);
    js_open(o, "cited", '[');
    for (size_t i = 0; i < a->ncited; i++)
        js_put_u64(o, NULL, a->cited[i] + 1);
    js_shut(o, ']');
    js_open(o, "unknown", '[');
    for (size_t i = 0; i < a->nunknown; i++)
        js_put_u64(o, NULL, a->unknown[i]);
    js_shut(o, ']');
    js_put_string(o, "model", a->model);
    js_put_string(o, "finish", a->finish);
    js_put_u64(o, "prompt_tokens", a->prompt_tokens);
    js_put_u64(o, "completion_tokens", a->completion_tokens);
    js_put_double(o, "ms", ms);
    js_put_string(o, "settings", settings);
    js_shut(o, '}');
}

rag_err answer_log_put(struct answer_log *log, struct answer_question *q, const rag_answer *a,
                       const char *settings, double ms)
{
    rag_err err = RAG_OK;
    if (log->file) {
        struct js_out o = JS_OUT_INIT;
        put_line(&o, q, a, settings, ms);
        err = rag_from_base(js_line(&o, log->file));
        js_out_free(&o);
        if (!err && fflush(log->file) != 0)
            err = RAG_FAIL(RAG_EIO, "%s: %s", log->path, strerror(errno));
        else if (err)
            err = rag_prefix(err, log->path);
    }
    const bool cut = a->finish && strcmp(a->finish, "length") == 0;
    return err ? err : give(q, a->text, a->model, a->hits->n, cut);
}

void answer_log_close(struct answer_log *log)
{
    if (log->file)
        fclose(log->file);
    *log = (struct answer_log){0};
}
