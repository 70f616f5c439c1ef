/* docs.c - files, documents, chunks, and the log of their changes.
 *
 * Place: rag/store.  Invariant: chunks, words and log change together with their document, in
 * the caller's transaction. */
#include <config.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ann/base/memory.h"
#include "rag/store/internal.h"

/* ---- files ---- */

rag_err store_file_get(struct store *s, const char *path, struct store_file *f)
{
    sqlite3_stmt *st = store_st(s, ST_FILE);
    bool row = false;
    if (st)
        sqlite3_bind_text(st, 1, path, -1, SQLITE_STATIC);
    rag_err err = store_step(s, st, &row, path);
    *f = (struct store_file){0};
    if (!err && row) {
        f->id = sqlite3_column_int64(st, 0);
        f->bytes = (uint64_t)sqlite3_column_int64(st, 1);
        f->mtime_ns = sqlite3_column_int64(st, 2);
        f->inode = (uint64_t)sqlite3_column_int64(st, 3);
        if (!store_digest(st, 4, &f->sha256))
            err =
                RAG_FAIL(RAG_EDAMAGED, "%s: the digest of file %s is not whole", s->dir, path);
    }
    sqlite3_reset(st);
    return err;
}

rag_err store_file_put(struct store *s, const char *path, struct store_file *f)
{
    sqlite3_stmt *st = store_st(s, ST_FILE_PUT);
    bool row = false;
    if (st) {
        sqlite3_bind_text(st, 1, path, -1, SQLITE_STATIC);
        sqlite3_bind_int64(st, 2, (int64_t)f->bytes);
        sqlite3_bind_int64(st, 3, f->mtime_ns);
        sqlite3_bind_int64(st, 4, (int64_t)f->inode);
        store_bind_digest(st, 5, &f->sha256);
    }
    rag_err err = store_step(s, st, &row, path);
    if (!err && row)
        f->id = sqlite3_column_int64(st, 0);
    sqlite3_reset(st);
    return err;
}

/* Runs `which` with one id. */
static rag_err run_id(struct store *s, enum statement which, int64_t id, const char *what)
{
    sqlite3_stmt *st = store_st(s, which);
    if (st)
        sqlite3_bind_int64(st, 1, id);
    return store_run(s, st, what);
}

rag_err store_file_documents(struct store *s, int64_t file, int64_t **ids, size_t *n)
{
    sqlite3_stmt *st = NULL;
    rag_err err = store_prepare(s, "SELECT id FROM document WHERE file = ?1", &st);
    if (err)
        return err;
    sqlite3_bind_int64(st, 1, file);
    err = id_list_read(s, st, ids, n);
    sqlite3_finalize(st);
    return err;
}

rag_err store_file_forget(struct store *s, int64_t id)
{
    return run_id(s, ST_FILE_FORGET, id, "forgetting a file");
}

rag_err store_file_remove(struct store *s, int64_t id)
{
    int64_t *ids = NULL;
    size_t n = 0;
    rag_err err = store_file_documents(s, id, &ids, &n);
    for (size_t i = 0; i < n && !err; i++)
        err = store_document_remove(s, ids[i]);
    mem_free(ids);
    return err ? err : run_id(s, ST_FILE_DROP, id, "removing a file");
}

rag_err store_files(struct store *s, const char *prefix, store_file_fn each, void *arg)
{
    sqlite3_stmt *st = NULL;
    bool row = true;
    rag_err err = store_prepare(
        s, "SELECT id, path FROM file WHERE substr(path, 1, length(?1)) = ?1 ORDER BY path",
        &st);
    if (!err)
        sqlite3_bind_text(st, 1, prefix, -1, SQLITE_STATIC);
    while (!err && row) {
        err = store_step(s, st, &row, "the list of files");
        if (!err && row)
            err = each(arg, sqlite3_column_int64(st, 0),
                       (const char *)sqlite3_column_text(st, 1));
    }
    sqlite3_finalize(st);
    return err;
}

/* ---- reading ---- */

void store_document_free(struct store_document *d)
{
    mem_free(d->source);
    mem_free(d->format);
    mem_free(d->title);
    mem_free(d->meta);
    mem_free(d->text);
    *d = (struct store_document){0};
}

static rag_err read_document(struct store *s, sqlite3_stmt *st, struct store_document *d)
{
    bool failed = false;
    *d = (struct store_document){.id = sqlite3_column_int64(st, 0),
                                 .file = sqlite3_column_int64(st, 1),
                                 .source = store_text(st, 2, &failed),
                                 .format = store_text(st, 4, &failed),
                                 .title = store_text(st, 5, &failed),
                                 .meta = store_text(st, 6, &failed),
                                 .added = sqlite3_column_int64(st, 7),
                                 .bytes = (size_t)sqlite3_column_int64(st, 8),
                                 .chunks = (uint64_t)sqlite3_column_int64(st, 9)};
    if (failed)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a document");
    if (!d->source || !store_digest(st, 3, &d->sha256))
        return RAG_FAIL(RAG_EDAMAGED, "%s: document %lld has no source or digest", s->dir,
                        (long long)d->id);
    return RAG_OK;
}

static rag_err read_text(struct store *s, struct store_document *d)
{
    sqlite3_stmt *st = store_st(s, ST_DOC_TEXT);
    bool row = false;
    if (st)
        sqlite3_bind_int64(st, 1, d->id);
    rag_err err = store_step(s, st, &row, d->source);
    const size_t bytes = row ? (size_t)sqlite3_column_bytes(st, 0) : 0;
    if (!err && bytes != d->bytes)
        err = RAG_FAIL(RAG_EDAMAGED, "%s: text of %s has %zu bytes instead of %zu", s->dir,
                       d->source, bytes, d->bytes);
    if (!err && !(d->text = mem_alloc(bytes + 1)))
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for %zu bytes of text", bytes);
    if (!err) {
        if (bytes)
            memcpy(d->text, sqlite3_column_blob(st, 0), bytes);
        d->text[bytes] = '\0';
    }
    sqlite3_reset(st);
    return err;
}

static rag_err find_document(struct store *s, sqlite3_stmt *st, const char *name, bool text,
                             struct store_document *d)
{
    struct store_document found = {0};
    bool row = false;
    rag_err err = store_step(s, st, &row, name);
    if (!err)
        err = row ? read_document(s, st, &found)
                  : RAG_FAIL(RAG_ENOENT, "%s: no document %s", s->dir, name);
    sqlite3_reset(st);
    if (!err && text)
        err = read_text(s, &found);
    if (err)
        store_document_free(&found);
    else
        *d = found;
    return err;
}

rag_err store_document_get(struct store *s, int64_t id, bool text, struct store_document *d)
{
    char name[32];
    snprintf(name, sizeof name, "%lld", (long long)id);
    sqlite3_stmt *st = store_st(s, ST_DOC_BY_ID);
    if (st)
        sqlite3_bind_int64(st, 1, id);
    return find_document(s, st, name, text, d);
}

rag_err store_document_find(struct store *s, const char *source, bool text,
                            struct store_document *d)
{
    sqlite3_stmt *st = store_st(s, ST_DOC_BY_SOURCE);
    if (st)
        sqlite3_bind_text(st, 1, source, -1, SQLITE_STATIC);
    return find_document(s, st, source, text, d);
}

rag_err store_documents(struct store *s, const struct store_filter *filter,
                        store_document_fn each, void *arg)
{
    char *text = sqlite3_mprintf(
        "SELECT id, file, source, sha256, format, title, meta, added, bytes,"
        " (SELECT count(*) FROM chunk c WHERE c.document = d.id) FROM document d WHERE 1%s"
        " ORDER BY source",
        filter_sql(filter));
    sqlite3_stmt *st = NULL;
    bool row = true;
    rag_err err = text ? store_prepare(s, text, &st) : RAG_FAIL(RAG_ENOMEM, "out of memory");
    sqlite3_free(text);
    if (!err)
        err = filter_bind(s, filter, st, 1);
    while (!err && row) {
        struct store_document d = {0};
        err = store_step(s, st, &row, "the list of documents");
        if (!err && row)
            err = read_document(s, st, &d);
        if (!err && row)
            err = each(arg, &d);
        store_document_free(&d);
    }
    sqlite3_finalize(st);
    return err;
}

void store_chunk_free(struct store_chunk *c)
{
    mem_free(c->head);
    *c = (struct store_chunk){0};
}

void store_chunks_free(struct store_chunk *chunks, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mem_free(chunks[i].head);
    mem_free(chunks);
}

static rag_err read_chunk(struct store *s, sqlite3_stmt *st, struct store_chunk *c)
{
    bool failed = false;
    *c = (struct store_chunk){.id = sqlite3_column_int64(st, 0),
                              .document = sqlite3_column_int64(st, 1),
                              .seq = (uint32_t)sqlite3_column_int64(st, 2),
                              .start = (size_t)sqlite3_column_int64(st, 3),
                              .end = (size_t)sqlite3_column_int64(st, 4),
                              .lead_start = (size_t)sqlite3_column_int64(st, 5),
                              .lead_end = (size_t)sqlite3_column_int64(st, 6),
                              .line = (uint32_t)sqlite3_column_int64(st, 7),
                              .page = (uint32_t)sqlite3_column_int64(st, 8),
                              .head = store_text(st, 9, &failed)};
    if (failed)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a chunk");
    if (!c->head || !store_digest(st, 10, &c->sha256) || c->start > c->end ||
        c->lead_start > c->lead_end)
        return RAG_FAIL(RAG_EDAMAGED, "%s: chunk %lld has no sound range, head or digest",
                        s->dir, (long long)c->id);
    return RAG_OK;
}

rag_err store_chunk_get(struct store *s, int64_t id, struct store_chunk *c)
{
    struct store_chunk found = {0};
    sqlite3_stmt *st = store_st(s, ST_CHUNK);
    bool row = false;
    if (st)
        sqlite3_bind_int64(st, 1, id);
    rag_err err = store_step(s, st, &row, "a chunk");
    if (!err)
        err = row ? read_chunk(s, st, &found)
                  : RAG_FAIL(RAG_ENOENT, "%s: no chunk %lld", s->dir, (long long)id);
    sqlite3_reset(st);
    if (err)
        store_chunk_free(&found);
    else
        *c = found;
    return err;
}

rag_err store_chunks(struct store *s, int64_t document, struct store_chunk **chunks, size_t *n)
{
    struct store_chunk *list = NULL;
    size_t count = 0, room = 0;
    bool row = true;
    sqlite3_stmt *st = store_st(s, ST_CHUNKS);
    if (st)
        sqlite3_bind_int64(st, 1, document);
    rag_err err = RAG_OK;
    while (!err && row) {
        err = store_step(s, st, &row, "the chunks of a document");
        if (err || !row)
            break;
        if (count == room) {
            room = room ? 2 * room : 16;
            struct store_chunk *more = mem_resize(list, room * sizeof *more);
            if (!more) {
                err = RAG_FAIL(RAG_ENOMEM, "out of memory for %zu chunks", room);
                break;
            }
            list = more;
        }
        list[count] = (struct store_chunk){0};
        err = read_chunk(s, st, &list[count++]);
    }
    sqlite3_reset(st);
    if (err) {
        store_chunks_free(list, count);
        return err;
    }
    *chunks = list;
    *n = count;
    return RAG_OK;
}

/* ---- what a chunk says ---- */

/* A chunk's body: lead and text, a line feed between. */
static rag_err make_body(const struct store_chunk *c, const char *text, size_t bytes,
                         size_t before, char **out, size_t *n)
{
    if (c->end > bytes || c->lead_end > bytes || c->start > c->end ||
        c->lead_start > c->lead_end)
        return RAG_FAIL(RAG_EDAMAGED, "chunk %lld: range %zu..%zu of a text of %zu bytes",
                        (long long)c->id, c->start, c->end, bytes);
    const size_t lead = c->lead_end - c->lead_start, body = c->end - c->start;
    char *at = mem_alloc(before + lead + 1 + body + 1);
    if (!at)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a chunk of %zu bytes", body);
    size_t k = before;
    memcpy(at + k, text + c->lead_start, lead);
    k += lead;
    if (lead > 0 && at[k - 1] != '\n')
        at[k++] = '\n';
    memcpy(at + k, text + c->start, body);
    k += body;
    at[k] = '\0';
    *out = at;
    *n = k;
    return RAG_OK;
}

rag_err store_view(const struct store_chunk *c, const char *text, size_t bytes, char **out,
                   size_t *n)
{
    const size_t head = strlen(c->head), before = head ? head + 1 : 0;
    rag_err err = make_body(c, text, bytes, before, out, n);
    if (!err && head) {
        memcpy(*out, c->head, head);
        (*out)[head] = '\n';
    }
    return err;
}

rag_err store_chunk_view(struct store *s, int64_t id, char **out, size_t *n,
                         struct digest *sha256)
{
    struct store_chunk c = {0};
    struct store_document d = {0};
    rag_err err = store_chunk_get(s, id, &c);
    if (!err)
        err = store_document_get(s, c.document, true, &d);
    if (!err)
        err = store_view(&c, d.text, d.bytes, out, n);
    if (!err && sha256)
        *sha256 = c.sha256;
    store_document_free(&d);
    store_chunk_free(&c);
    return err;
}

/* ---- changing ---- */

static rag_err note_change(struct store *s, enum store_op op, int64_t first, int64_t last)
{
    sqlite3_stmt *st = store_st(s, ST_CHANGE);
    if (st) {
        sqlite3_bind_int(st, 1, op);
        sqlite3_bind_int64(st, 2, first);
        sqlite3_bind_int64(st, 3, last);
    }
    return store_run(s, st, "the log of changes");
}

rag_err store_document_remove(struct store *s, int64_t id)
{
    struct store_document d = {0};
    struct store_chunk *chunks = NULL;
    size_t n = 0;
    rag_err err = store_document_get(s, id, true, &d);
    if (!err)
        err = store_chunks(s, id, &chunks, &n);
    for (size_t i = 0; i < n && !err; i++) {
        char *body = NULL;
        size_t bytes = 0;
        err = make_body(&chunks[i], d.text, d.bytes, 0, &body, &bytes);
        if (!err)
            err = words_drop(s, chunks[i].id, chunks[i].head, body, bytes);
        mem_free(body);
    }
    /* Ids of one document ascend without a gap: it was put in one go. */
    if (!err && n > 0)
        err = note_change(s, STORE_REMOVED, chunks[0].id, chunks[n - 1].id);
    if (!err)
        err = run_id(s, ST_CHUNKS_DROP, id, "removing chunks");
    if (!err)
        err = run_id(s, ST_DOC_DROP, id, "removing a document");
    store_chunks_free(chunks, n);
    store_document_free(&d);
    return err;
}

static rag_err put_row(struct store *s, struct store_document *d)
{
    sqlite3_stmt *st = store_st(s, ST_DOC_PUT);
    d->added = d->added ? d->added : (int64_t)time(NULL);
    if (st) {
        if (d->file)
            sqlite3_bind_int64(st, 1, d->file);
        sqlite3_bind_text(st, 2, d->source, -1, SQLITE_STATIC);
        store_bind_digest(st, 3, &d->sha256);
        sqlite3_bind_text(st, 4, d->format ? d->format : "text", -1, SQLITE_STATIC);
        sqlite3_bind_text(st, 5, d->title, -1, SQLITE_STATIC);
        sqlite3_bind_text(st, 6, d->meta, -1, SQLITE_STATIC);
        sqlite3_bind_int64(st, 7, d->added);
        sqlite3_bind_int64(st, 8, (int64_t)d->bytes);
        sqlite3_bind_blob64(st, 9, d->bytes ? d->text : "", d->bytes, SQLITE_STATIC);
    }
    rag_err err = store_run(s, st, d->source);
    d->id = err ? 0 : sqlite3_last_insert_rowid(s->db);
    return err;
}

static rag_err put_chunk(struct store *s, const struct store_document *d, struct store_chunk *c)
{
    char *view = NULL;
    size_t n = 0;
    rag_err err = store_view(c, d->text, d->bytes, &view, &n);
    if (err)
        return err;
    const size_t before = *c->head ? strlen(c->head) + 1 : 0;
    c->document = d->id;
    c->sha256 = digest_of(&(struct digest_part){view, n}, 1);
    sqlite3_stmt *st = store_st(s, ST_CHUNK_PUT);
    if (st) {
        sqlite3_bind_int64(st, 1, d->id);
        sqlite3_bind_int64(st, 2, c->seq);
        sqlite3_bind_int64(st, 3, (int64_t)c->start);
        sqlite3_bind_int64(st, 4, (int64_t)c->end);
        sqlite3_bind_int64(st, 5, (int64_t)c->lead_start);
        sqlite3_bind_int64(st, 6, (int64_t)c->lead_end);
        sqlite3_bind_int64(st, 7, c->line);
        sqlite3_bind_int64(st, 8, c->page);
        sqlite3_bind_text(st, 9, c->head, -1, SQLITE_STATIC);
        store_bind_digest(st, 10, &c->sha256);
    }
    err = store_run(s, st, "a chunk");
    c->id = err ? 0 : sqlite3_last_insert_rowid(s->db);
    if (!err)
        err = words_put(s, c->id, c->head, view + before, n - before);
    mem_free(view);
    return err;
}

rag_err store_document_put(struct store *s, struct store_document *d,
                           struct store_chunk *chunks, size_t n)
{
    struct store_document old = {0};
    rag_err err = store_document_find(s, d->source, false, &old);
    if (!err)
        err = store_document_remove(s, old.id);
    else if (err == RAG_ENOENT)
        err = RAG_OK;
    store_document_free(&old);
    if (!err)
        err = put_row(s, d);
    for (size_t i = 0; i < n && !err; i++)
        err = put_chunk(s, d, &chunks[i]);
    if (!err && n > 0)
        err = note_change(s, STORE_ADDED, chunks[0].id, chunks[n - 1].id);
    return err;
}

rag_err store_document_keep(struct store *s, int64_t id, int64_t file)
{
    sqlite3_stmt *st = store_st(s, ST_DOC_KEEP);
    if (st) {
        sqlite3_bind_int64(st, 1, id);
        if (file)
            sqlite3_bind_int64(st, 2, file);
    }
    return store_run(s, st, "a document");
}

/* ---- the log and the counts ---- */

rag_err store_changes(struct store *s, int64_t after, store_change_fn each, void *arg)
{
    sqlite3_stmt *st = NULL;
    bool row = true;
    rag_err err = store_prepare(
        s, "SELECT seq, op, first, last FROM change WHERE seq > ?1 ORDER BY seq", &st);
    if (!err)
        sqlite3_bind_int64(st, 1, after);
    while (!err && row) {
        err = store_step(s, st, &row, "the log of changes");
        if (!err && row)
            err =
                each(arg, sqlite3_column_int64(st, 0), (enum store_op)sqlite3_column_int(st, 1),
                     sqlite3_column_int64(st, 2), sqlite3_column_int64(st, 3));
    }
    sqlite3_finalize(st);
    return err;
}

rag_err store_changes_prune(struct store *s)
{
    /* One without an index file begins with what is there. */
    return store_exec(s, "DELETE FROM change WHERE seq <= (SELECT min(applied) FROM embedder"
                         " WHERE generation > 0)");
}

rag_err store_chunk_ids(struct store *s, int64_t after, size_t most, int64_t **ids, size_t *n)
{
    sqlite3_stmt *st = store_st(s, ST_CHUNK_IDS);
    if (!st)
        return store_fail(s, "the ids of chunks");
    sqlite3_bind_int64(st, 1, after);
    sqlite3_bind_int64(st, 2, most > INT32_MAX ? INT32_MAX : (int64_t)most);
    return id_list_read(s, st, ids, n);
}

rag_err store_last(struct store *s, struct store_counts *c)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    rag_err err = store_prepare(
        s,
        "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'change'), 0),"
        " coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'chunk'), 0)",
        &st);
    if (!err)
        err = store_step(s, st, &row, "the last change");
    if (!err && row) {
        c->last_change = sqlite3_column_int64(st, 0);
        c->last_chunk = sqlite3_column_int64(st, 1);
    }
    sqlite3_finalize(st);
    return err;
}

rag_err store_count(struct store *s, struct store_counts *c)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    rag_err err = store_prepare(
        s,
        "SELECT (SELECT count(*) FROM file), (SELECT count(*) FROM document),"
        " (SELECT count(*) FROM chunk), (SELECT coalesce(sum(bytes), 0) FROM document),"
        " (SELECT count(*) FROM change)",
        &st);
    if (!err)
        err = store_step(s, st, &row, "counting");
    if (!err && row)
        *c = (struct store_counts){.files = (uint64_t)sqlite3_column_int64(st, 0),
                                   .documents = (uint64_t)sqlite3_column_int64(st, 1),
                                   .chunks = (uint64_t)sqlite3_column_int64(st, 2),
                                   .text_bytes = (uint64_t)sqlite3_column_int64(st, 3),
                                   .changes = (uint64_t)sqlite3_column_int64(st, 4)};
    sqlite3_finalize(st);
    return err ? err : store_last(s, c);
}
