/* where.c - conditions on documents, as SQL.
 *
 * Place: rag/store.  Invariant: what the user wrote never becomes SQL; keys and values are
 * bound. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/memory.h"
#include "rag/store/internal.h"

#define CONDITIONS_MAX 32

struct condition {
    const char *column; /* "d.source", ...; NULL: of the meta object, by path */
    const char *op;     /* SQL's */
    char *path;         /* "$.\"a\".\"b\"" or NULL */
    char *value;
    double number;
    bool is_number;
};

struct store_filter {
    size_t n;
    struct condition list[CONDITIONS_MAX];
    char *sql;
};

static const struct {
    const char *key, *column;
} columns[] = {{"source", "d.source"},
               {"title", "d.title"},
               {"type", "d.format"},
               {"format", "d.format"},
               {"added", "d.added"}};

static const struct {
    const char *sign, *sql;
} operators[] = {{"!=", "IS NOT"}, {">=", ">="}, {"<=", "<="}, {"=", "IS"},
                 {">", ">"},       {"<", "<"},   {"~", "GLOB"}};

/* Where the operator stands: the first sign of any. */
static const char *find_operator(const char *text, size_t *which)
{
    const char *at = text + strcspn(text, "!=<>~");
    for (size_t i = 0; *at && i < sizeof operators / sizeof *operators; i++)
        if (strncmp(at, operators[i].sign, strlen(operators[i].sign)) == 0) {
            *which = i;
            return at;
        }
    return NULL;
}

/* "a.b" as SQLite's path: $."a"."b"; NULL where memory is out or a part is empty or quoted. */
static char *make_path(const char *key, size_t bytes)
{
    char *path = mem_alloc(3 * bytes + 8);
    if (!path)
        return NULL;
    size_t k = 0;
    bool fresh = true;
    path[k++] = '$';
    for (size_t i = 0; i <= bytes; i++) {
        const char c = i < bytes ? key[i] : '.';
        if ((c == '.' && fresh) || c == '"' || c == '\\') {
            mem_free(path);
            return NULL;
        }
        if (c != '.' && fresh) {
            path[k++] = '.';
            path[k++] = '"';
        } else if (c == '.') {
            path[k++] = '"';
        }
        if (c != '.')
            path[k++] = c;
        fresh = c == '.';
    }
    path[k] = '\0';
    return path;
}

static rag_err read_condition(const char *text, struct condition *c)
{
    size_t which = 0;
    const char *at = find_operator(text, &which);
    if (!at || at == text)
        return RAG_FAIL(RAG_EINVAL,
                        "condition \"%s\" is not KEY=VALUE (or !=, <, <=, >, >=, ~)", text);
    const size_t key = (size_t)(at - text);
    *c = (struct condition){.op = operators[which].sql};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        if (strlen(columns[i].key) == key && memcmp(columns[i].key, text, key) == 0)
            c->column = columns[i].column;
    if (!c->column && !(c->path = make_path(text, key)))
        return RAG_FAIL(RAG_EINVAL, "condition \"%s\": no key of that form", text);
    c->value = mem_strdup(at + strlen(operators[which].sign));
    if (!c->value)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a condition");
    char *end;
    c->number = strtod(c->value, &end);
    c->is_number = *c->value && *end == '\0' && strcmp(c->op, "GLOB") != 0;
    return RAG_OK;
}

/* A number is compared with a number, or with the text of one. */
static char *make_sql(const struct store_filter *f)
{
    char *all = sqlite3_mprintf("");
    for (size_t i = 0; i < f->n && all; i++) {
        const struct condition *c = &f->list[i];
        char *more = c->column ? sqlite3_mprintf("%z AND %s %s ?", all, c->column, c->op)
                     : c->is_number && strcmp(c->op, "IS") != 0 && strcmp(c->op, "IS NOT") != 0
                         ? sqlite3_mprintf("%z AND CAST(json_extract(d.meta, ?) AS REAL) %s ?",
                                           all, c->op)
                         : sqlite3_mprintf("%z AND CAST(json_extract(d.meta, ?) AS TEXT) %s ?",
                                           all, c->op);
        all = more;
    }
    return all;
}

rag_err store_filter_make(const char *const *conditions, size_t n, struct store_filter **out)
{
    if (n > CONDITIONS_MAX)
        return RAG_FAIL(RAG_EINVAL, "%zu conditions; at most %d", n, CONDITIONS_MAX);
    struct store_filter *f = mem_zalloc(1, sizeof *f);
    if (!f)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for conditions");
    rag_err err = RAG_OK;
    for (size_t i = 0; i < n && !err; i++)
        err = read_condition(conditions[i], &f->list[f->n++]);
    if (!err && !(f->sql = make_sql(f)))
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for conditions");
    if (err) {
        store_filter_free(f);
        return err;
    }
    *out = f;
    return RAG_OK;
}

void store_filter_free(struct store_filter *f)
{
    for (size_t i = 0; f && i < f->n; i++) {
        mem_free(f->list[i].path);
        mem_free(f->list[i].value);
    }
    if (f)
        sqlite3_free(f->sql);
    mem_free(f);
}

const char *filter_sql(const struct store_filter *f)
{
    return f ? f->sql : "";
}

rag_err filter_bind(struct store *s, const struct store_filter *f, sqlite3_stmt *st, int first)
{
    int at = first, rc = SQLITE_OK;
    for (size_t i = 0; f && i < f->n && rc == SQLITE_OK; i++) {
        const struct condition *c = &f->list[i];
        if (c->path)
            rc = sqlite3_bind_text(st, at++, c->path, -1, SQLITE_STATIC);
        const bool text = c->path ? strncmp(c->op, "IS", 2) == 0 : c->column[2] != 'a';
        if (rc == SQLITE_OK)
            rc = c->is_number && !text
                     ? sqlite3_bind_double(st, at++, c->number)
                     : sqlite3_bind_text(st, at++, c->value, -1, SQLITE_STATIC);
    }
    return rc == SQLITE_OK ? RAG_OK : store_fail(s, "a condition");
}

rag_err store_filter_chunks(struct store *s, const struct store_filter *f, int64_t **ids,
                            size_t *n)
{
    sqlite3_stmt *st = NULL;
    char *text = sqlite3_mprintf("SELECT c.id FROM chunk c JOIN document d ON d.id = c.document"
                                 " WHERE 1%s ORDER BY c.id",
                                 filter_sql(f));
    rag_err err = text ? store_prepare(s, text, &st) : RAG_FAIL(RAG_ENOMEM, "out of memory");
    sqlite3_free(text);
    if (!err)
        err = filter_bind(s, f, st, 1);
    if (!err)
        err = id_list_read(s, st, ids, n);
    sqlite3_finalize(st);
    return err;
}
