/* records.c - JSON Lines, CSV and TSV: a record is a document.
 *
 * Place: rag/text.  CSV after RFC 4180, quotes doubled inside quotes, line feeds allowed there.
 * Invariant: a malformed record is an error that names its line; none is taken in part. */
#include <config.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ann/base/memory.h"
#include "ann/io/json.h"
#include "rag/error.h"
#include "rag/text/text.h"

#define LINE_MAX_BYTES ((size_t)64 << 20)
#define COLUMNS_MAX    1024

struct records {
    const char *name;
    const struct text_reading *how;
    text_doc_fn each;
    void *arg;
    size_t line; /* of the record, from 1 */
};

/* ---- a record as a document ---- */

static rag_err hand_over(const struct records *r, struct text_doc *d, const char *id,
                         const char *text, size_t bytes)
{
    char number[32];
    snprintf(number, sizeof number, "%zu", r->line);
    d->id = mem_strdup(id && *id ? id : number);
    rag_err err = d->id ? text_normalise(r->name, text, bytes, &d->text)
                        : RAG_FAIL(RAG_ENOMEM, "out of memory for a record");
    if (!err)
        err = text_plain(d);
    if (!err)
        err = r->each(r->arg, d);
    text_doc_free(d);
    return err;
}

/* ---- JSON Lines ---- */

static const char *first_string(const struct js *v, const char *const *keys)
{
    for (; *keys; keys++)
        if (js_kind(js_get(v, *keys)) == JS_STRING)
            return js_string(js_get(v, *keys), NULL);
    return NULL;
}

static rag_err read_vector(const struct records *r, const struct js *v, struct text_doc *d)
{
    const size_t n = js_count(v);
    double norm = 0;
    if (js_kind(v) == JS_NULL)
        return RAG_OK;
    if (js_kind(v) != JS_ARRAY || n == 0 || n > ANN_DIM_MAX)
        return RAG_FAIL(RAG_EFORMAT, "%s:%zu: \"vector\" is no array of 1..%d numbers", r->name,
                        r->line, ANN_DIM_MAX);
    d->vector = mem_alloc(n * sizeof *d->vector);
    d->dims = n;
    if (!d->vector)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a vector");
    for (size_t i = 0; i < n; i++) {
        d->vector[i] = (float)js_number(js_at(v, i), NAN);
        norm += (double)d->vector[i] * d->vector[i];
    }
    return isfinite(norm) && norm > 0
               ? RAG_OK
               : RAG_FAIL(RAG_EFORMAT, "%s:%zu: the vector is zero or not of finite numbers",
                          r->name, r->line);
}

/* What o holds, as text of its own in *out; o is freed. */
static rag_err take_json(struct js_out *o, char **out)
{
    char *text = o->failed ? NULL : mem_alloc(o->bytes + 1);
    if (text) {
        memcpy(text, o->text, o->bytes);
        text[o->bytes] = '\0';
    }
    js_out_free(o);
    *out = text;
    return text ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for a record");
}

/* A record's id, for mem_free: a string, or a number as it was written, for two large ones may
 * be the same as a double; NULL: it has none. */
static rag_err read_id(const struct js *v, const char *const *keys, char **out)
{
    for (; *keys; keys++) {
        const struct js *id = js_get(v, *keys);
        struct js_out o = JS_OUT_INIT;
        if (js_kind(id) == JS_STRING)
            return (*out = mem_strdup(js_string(id, "")))
                       ? RAG_OK
                       : RAG_FAIL(RAG_ENOMEM, "out of memory for a record");
        if (js_kind(id) == JS_NUMBER) {
            js_put_value(&o, NULL, id);
            return take_json(&o, out);
        }
    }
    return RAG_OK;
}

static rag_err read_object(const struct records *r, const struct js *v)
{
    const char *const ids[] = {r->how->id_field ? r->how->id_field : "id", "_id", NULL};
    const char *const texts[] = {r->how->text_field ? r->how->text_field : "text",
                                 "content",
                                 "contents",
                                 "caption",
                                 "path",
                                 NULL};
    struct text_doc d = {.format = TEXT_JSONL};
    const char *text = first_string(v, texts);
    char *id = NULL;
    const char *title = js_string(js_get(v, "title"), NULL);
    const struct js *meta = js_get(v, "meta") ? js_get(v, "meta") : js_get(v, "metadata");
    struct js_out o = JS_OUT_INIT;
    if (!text)
        return RAG_FAIL(RAG_EFORMAT, "%s:%zu: the record has no \"%s\"", r->name, r->line,
                        texts[0]);
    rag_err err = read_vector(r, js_get(v, "vector"), &d);
    if (!err && js_kind(meta) == JS_OBJECT && js_count(meta) > 0) {
        js_put_value(&o, NULL, meta);
        err = take_json(&o, &d.meta);
    }
    if (!err)
        err = read_id(v, ids, &id);
    if (!err && title && !(d.title = mem_strdup(title)))
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for a record");
    if (!err)
        err = hand_over(r, &d, id, text, strlen(text));
    else
        text_doc_free(&d);
    mem_free(id);
    return err;
}

static rag_err read_jsonl(struct records *r, const struct text_bytes *t)
{
    rag_err err = RAG_OK;
    for (size_t at = 0; at < t->bytes && !err;) {
        const char *lf = memchr(t->data + at, '\n', t->bytes - at);
        const size_t n = (lf ? (size_t)(lf - t->data) : t->bytes) - at;
        struct js *v = NULL;
        r->line++;
        if (strspn(t->data + at, " \t\r") < n) {
            err = rag_from_base(js_parse(r->name, t->data + at, n, LINE_MAX_BYTES, &v));
            if (err && err != RAG_ENOMEM)
                err = RAG_FAIL(RAG_EFORMAT, "%s:%zu: no JSON: %.200s", r->name, r->line,
                               error_message());
            else if (!err && js_kind(v) != JS_OBJECT)
                err = RAG_FAIL(RAG_EFORMAT, "%s:%zu: the line is no JSON object", r->name,
                               r->line);
            if (!err)
                err = read_object(r, v);
            js_free(v);
        }
        at += n + 1;
    }
    return err;
}

/* ---- CSV, TSV ---- */

struct row {
    char *held; /* fields one behind the other, each with a NUL */
    const char *fields[COLUMNS_MAX];
    size_t n;
};

static bool matches(const char *a, const char *b)
{
    return b && strcmp(a, b) == 0;
}

/* One record from s; *at behind it.  held is as long as the whole text. */
static rag_err read_row(struct records *r, const struct text_bytes *t, char separator,
                        size_t *at, size_t *lines, struct row *row)
{
    const char *s = t->data;
    size_t k = 0, i = *at;
    row->n = 0;
    for (bool more = true; more;) {
        if (row->n == COLUMNS_MAX)
            return RAG_FAIL(RAG_EFORMAT, "%s:%zu: more than %d columns", r->name, r->line,
                            COLUMNS_MAX);
        row->fields[row->n++] = row->held + k;
        const bool quoted = i < t->bytes && s[i] == '"';
        i += quoted;
        for (;; i++) {
            if (i >= t->bytes && quoted)
                return RAG_FAIL(RAG_EFORMAT, "%s:%zu: a quote is not closed", r->name, r->line);
            if (quoted && s[i] == '"' && s[i + 1] != '"') {
                i++;
                break;
            }
            if (i >= t->bytes || (!quoted && (s[i] == separator || s[i] == '\n')))
                break;
            i += quoted && s[i] == '"';
            *lines += s[i] == '\n';
            row->held[k++] = s[i];
        }
        row->held[k++] = '\0';
        more = i < t->bytes && s[i] == separator;
        if (!more && i < t->bytes && s[i] != '\n')
            return RAG_FAIL(RAG_EFORMAT, "%s:%zu: something stands behind a closing quote",
                            r->name, r->line);
        i += i < t->bytes;
    }
    *lines += 1;
    *at = i;
    return RAG_OK;
}

struct columns {
    enum text_format format;
    struct row names;
    size_t id, text, title; /* SIZE_MAX: none */
    bool told[COLUMNS_MAX]; /* goes to the metadata: of one name the first */
};

static void choose_columns(const struct records *r, struct columns *c)
{
    c->id = c->text = c->title = SIZE_MAX;
    for (size_t i = c->names.n; i-- > 0;) {
        const char *name = c->names.fields[i];
        if (r->how->id_field ? matches(name, r->how->id_field)
                             : matches(name, "id") || matches(name, "_id"))
            c->id = i;
        if (r->how->text_field ? matches(name, r->how->text_field)
                               : matches(name, "text") || matches(name, "content"))
            c->text = i;
        if (matches(name, "title"))
            c->title = i;
    }
    for (size_t i = 0; i < c->names.n; i++) {
        c->told[i] = i != c->id && i != c->text && i != c->title;
        for (size_t k = 0; k < i && c->told[i]; k++)
            c->told[i] = !matches(c->names.fields[k], c->names.fields[i]);
    }
}

/* The other columns: into the metadata; without a text column all of them are the text. */
static rag_err give_row(struct records *r, const struct columns *c, const struct row *row)
{
    struct text_doc d = {.format = c->format};
    struct js_out o = JS_OUT_INIT;
    rag_err err = RAG_OK;
    const size_t n = row->n < c->names.n ? row->n : c->names.n;
    size_t bytes = 1, k = 0;
    for (size_t i = 0; i < n; i++)
        bytes += strlen(c->names.fields[i]) + strlen(row->fields[i]) + 4;
    char *lines = mem_alloc(bytes);
    if (!lines)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a record");
    lines[0] = '\0';
    js_open(&o, NULL, '{');
    for (size_t i = 0; i < n; i++) {
        if (row->fields[i][0])
            k += (size_t)snprintf(lines + k, bytes - k, "%s: %s\n", c->names.fields[i],
                                  row->fields[i]);
        if (c->told[i])
            js_put_string(&o, c->names.fields[i], row->fields[i]);
    }
    js_shut(&o, '}');
    if (c->text < SIZE_MAX)
        err = take_json(&o, &d.meta);
    js_out_free(&o);
    if (!err && c->title < n && !(d.title = mem_strdup(row->fields[c->title])))
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for a record");
    const char *text = c->text == SIZE_MAX ? lines : c->text < n ? row->fields[c->text] : "";
    if (!err)
        err = hand_over(r, &d, c->id < n ? row->fields[c->id] : NULL, text, strlen(text));
    else
        text_doc_free(&d);
    mem_free(lines);
    return err;
}

static bool is_blank(const struct row *row)
{
    return row->n == 1 && !row->fields[0][0];
}

static rag_err read_table(struct records *r, enum text_format f, const struct text_bytes *t)
{
    const char separator = f == TEXT_TSV ? '\t' : ',';
    struct columns *c = mem_zalloc(1, sizeof *c);
    struct row *row = mem_zalloc(1, sizeof *row);
    size_t at = 0, lines = 0;
    rag_err err = c && row ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for a table");
    if (!err && (!(c->names.held = mem_alloc(t->bytes + COLUMNS_MAX + 1)) ||
                 !(row->held = mem_alloc(t->bytes + COLUMNS_MAX + 1))))
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for a table");
    r->line = 1;
    if (!err)
        c->format = f;
    if (!err && t->bytes > 0)
        err = read_row(r, t, separator, &at, &lines, &c->names);
    if (!err)
        choose_columns(r, c);
    if (!err && r->how->text_field && c->text == SIZE_MAX)
        err = RAG_FAIL(RAG_EFORMAT, "%s: no column \"%s\"", r->name, r->how->text_field);
    while (!err && at < t->bytes) {
        r->line = lines + 1;
        err = read_row(r, t, separator, &at, &lines, row);
        if (!err && row->n > c->names.n)
            err = RAG_FAIL(RAG_EFORMAT, "%s:%zu: %zu fields, the header has %zu", r->name,
                           r->line, row->n, c->names.n);
        if (!err && !is_blank(row))
            err = give_row(r, c, row);
    }
    if (c)
        mem_free(c->names.held);
    if (row)
        mem_free(row->held);
    mem_free(c);
    mem_free(row);
    return err;
}

rag_err text_records(const char *name, enum text_format f, struct text_bytes *t,
                     const struct text_reading *how, text_doc_fn each, void *arg)
{
    struct records r = {name, how, each, arg, 0};
    rag_err err = f == TEXT_JSONL ? read_jsonl(&r, t) : read_table(&r, f, t);
    text_bytes_free(t);
    return err;
}
