/* check.c - whether a store is sound; its copy; its word index made again.
 *
 * Place: rag/store.  Invariant: a fault is told and the check goes on, so that one damaged
 * document does not hide another. */
#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ann/base/memory.h"
#include "rag/store/internal.h"

struct check {
    struct store *s;
    store_fault_fn fault;
    void *arg;
    bool deep;
};

static rag_err tell(struct check *c, bool derived, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static rag_err tell(struct check *c, bool derived, const char *format, ...)
{
    struct store_fault f = {.derived = derived};
    va_list list;
    va_start(list, format);
    vsnprintf(f.what, sizeof f.what, format, list);
    va_end(list);
    return c->fault(c->arg, &f);
}

/* Each row of sql is a fault, `format` with its first column. */
static rag_err rows_are_faults(struct check *c, const char *sql, const char *what, bool derived)
{
    sqlite3_stmt *st = NULL;
    bool row = true;
    rag_err err = store_prepare(c->s, sql, &st);
    while (!err && row) {
        err = store_step(c->s, st, &row, what);
        if (!err && row)
            err = tell(c, derived, "%s: %s", what, (const char *)sqlite3_column_text(st, 0));
    }
    sqlite3_finalize(st);
    return err;
}

static rag_err check_document(void *arg, const struct store_document *d)
{
    struct check *c = arg;
    struct store_document whole = {0};
    struct store_chunk *chunks = NULL;
    size_t n = 0;
    rag_err err = store_document_get(c->s, d->id, true, &whole);
    if (!err)
        err = store_chunks(c->s, d->id, &chunks, &n);
    for (size_t i = 0; i < n && !err; i++) {
        char *view = NULL;
        size_t bytes = 0;
        err = store_view(&chunks[i], whole.text, whole.bytes, &view, &bytes);
        const struct digest now = digest_of(&(struct digest_part){view, bytes}, err ? 0 : 1);
        if (!err && memcmp(now.b, chunks[i].sha256.b, sizeof now.b) != 0)
            err = tell(c, false, "chunk %lld of %s is not the text its digest says",
                       (long long)chunks[i].id, d->source);
        else if (err == RAG_EDAMAGED)
            err = tell(c, false, "chunk %lld of %s: its range is outside of the text",
                       (long long)chunks[i].id, d->source);
        mem_free(view);
    }
    if (err == RAG_EDAMAGED)
        err = tell(c, false, "document %s cannot be read: %.160s", d->source,
                   rag_error_message());
    store_chunks_free(chunks, n);
    store_document_free(&whole);
    return err;
}

rag_err store_check(struct store *s, bool deep, store_fault_fn fault, void *arg)
{
    struct check c = {s, fault, arg, deep};
    rag_err err = rows_are_faults(
        &c,
        deep ? "SELECT integrity_check FROM pragma_integrity_check(20)"
               " WHERE integrity_check != 'ok'"
             : "SELECT quick_check FROM pragma_quick_check(20) WHERE quick_check != 'ok'",
        "database", false);
    if (!err)
        err = rows_are_faults(&c,
                              "SELECT \"table\" || ' ' || rowid FROM pragma_foreign_key_check",
                              "a row without its parent", false);
    if (!err)
        err = rows_are_faults(&c,
                              "SELECT id FROM document d WHERE (SELECT count(*) FROM chunk c"
                              " WHERE c.document = d.id) != (SELECT coalesce(max(seq) + 1, 0)"
                              " FROM chunk c WHERE c.document = d.id)",
                              "document with a chunk missing", false);
    if (!err && sqlite3_exec(s->db, "INSERT INTO words(words) VALUES('integrity-check')", NULL,
                             NULL, NULL) != SQLITE_OK)
        err = tell(&c, true, "word index: %s", sqlite3_errmsg(s->db));
    if (!err)
        err = rows_are_faults(&c,
                              "SELECT id FROM chunk WHERE id NOT IN"
                              " (SELECT id FROM words_docsize) LIMIT 20",
                              "chunk that the word index lacks", true);
    if (!err)
        err = rows_are_faults(&c,
                              "SELECT id FROM words_docsize WHERE id NOT IN"
                              " (SELECT id FROM chunk) LIMIT 20",
                              "word index holds a chunk that is gone", true);
    return err || !deep ? err : store_documents(s, NULL, check_document, &c);
}

static rag_err put_words_of(void *arg, const struct store_document *d)
{
    struct store *s = arg;
    struct store_document whole = {0};
    struct store_chunk *chunks = NULL;
    size_t n = 0;
    rag_err err = store_document_get(s, d->id, true, &whole);
    if (!err)
        err = store_chunks(s, d->id, &chunks, &n);
    for (size_t i = 0; i < n && !err; i++) {
        char *view = NULL;
        size_t bytes = 0;
        err = store_view(&chunks[i], whole.text, whole.bytes, &view, &bytes);
        const size_t before = *chunks[i].head ? strlen(chunks[i].head) + 1 : 0;
        if (!err)
            err = words_put(s, chunks[i].id, chunks[i].head, view + before, bytes - before);
        mem_free(view);
    }
    store_chunks_free(chunks, n);
    store_document_free(&whole);
    return err;
}

rag_err store_words_rebuild(struct store *s)
{
    rag_err err = store_begin(s);
    if (!err)
        err = store_exec(s, "INSERT INTO words(words) VALUES('delete-all')");
    if (!err)
        err = store_documents(s, NULL, put_words_of, s);
    if (!err)
        return store_commit(s);
    store_rollback(s);
    return err;
}

rag_err store_vacuum(struct store *s)
{
    return store_exec(s, "VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");
}

rag_err store_backup(struct store *s, const char *path,
                     int (*progress)(void *arg, uint64_t done, uint64_t total), void *arg)
{
    sqlite3 *to = NULL;
    rag_err err = RAG_OK;
    if (sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) !=
        SQLITE_OK)
        err = RAG_FAIL(RAG_EIO, "%s: %s", path, to ? sqlite3_errmsg(to) : "out of memory");
    sqlite3_backup *b = err ? NULL : sqlite3_backup_init(to, "main", s->db, "main");
    if (!err && !b)
        err = RAG_FAIL(RAG_EIO, "%s: %s", path, sqlite3_errmsg(to));
    int rc = SQLITE_OK;
    while (!err && (rc == SQLITE_OK || rc == SQLITE_BUSY || rc == SQLITE_LOCKED)) {
        rc = sqlite3_backup_step(b, 2048);
        const uint64_t total = (uint64_t)sqlite3_backup_pagecount(b);
        const uint64_t left = (uint64_t)sqlite3_backup_remaining(b);
        if (progress && progress(arg, total - left, total))
            err = RAG_FAIL(RAG_ECANCELED, "the copy was stopped");
        if (rc == SQLITE_BUSY || rc == SQLITE_LOCKED)
            sqlite3_sleep(20);
    }
    if (b && sqlite3_backup_finish(b) != SQLITE_OK && !err)
        err = RAG_FAIL(RAG_EIO, "%s: %s", path, sqlite3_errmsg(to));
    /* Its index files are not copied: it has none. */
    if (!err && sqlite3_exec(to, "UPDATE embedder SET applied = 0, generation = 0", NULL, NULL,
                             NULL) != SQLITE_OK)
        err = RAG_FAIL(RAG_EIO, "%s: %s", path, sqlite3_errmsg(to));
    sqlite3_close(to);
    return err;
}
