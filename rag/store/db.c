/* db.c - the database: opening, schema, statements, transactions.
 *
 * Place: rag/store.  WAL with synchronous=FULL: what was committed survives a loss of power.
 * Invariant: application_id and user_version say that it is ours, and which format. */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "rag/store/internal.h"

#define APPLICATION_ID   0x6b697468 /* "kith" */
#define BUSY_MS          20000
#define CHECKPOINT_PAGES "4000" /* of the WAL: 16 MB */

static const char schema[] =
    "CREATE TABLE setting(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE embedder(id INTEGER PRIMARY KEY AUTOINCREMENT, uri TEXT NOT NULL,"
    " model TEXT NOT NULL, revision TEXT NOT NULL, dims INTEGER NOT NULL,"
    " normalised INTEGER NOT NULL, free INTEGER NOT NULL, prefix_document TEXT NOT NULL,"
    " prefix_query TEXT NOT NULL, fingerprint BLOB NOT NULL UNIQUE, canary BLOB NOT NULL,"
    " applied INTEGER NOT NULL DEFAULT 0, generation INTEGER NOT NULL DEFAULT 0,"
    " identity0 INTEGER NOT NULL DEFAULT 0, identity1 INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE TABLE vector(embedder INTEGER NOT NULL, sha256 BLOB NOT NULL, value BLOB NOT NULL,"
    " PRIMARY KEY(embedder, sha256)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE file(id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE,"
    " bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,"
    " sha256 BLOB NOT NULL) STRICT;"
    "CREATE TABLE document(id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " file INTEGER REFERENCES file(id), source TEXT NOT NULL UNIQUE, sha256 BLOB NOT NULL,"
    " format TEXT NOT NULL, title TEXT, meta TEXT, added INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL, text BLOB NOT NULL) STRICT;"
    "CREATE INDEX document_file ON document(file);"
    "CREATE TABLE chunk(id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " document INTEGER NOT NULL REFERENCES document(id), seq INTEGER NOT NULL,"
    " start INTEGER NOT NULL, stop INTEGER NOT NULL, lead_start INTEGER NOT NULL,"
    " lead_stop INTEGER NOT NULL, line INTEGER NOT NULL, page INTEGER NOT NULL,"
    " head TEXT NOT NULL, sha256 BLOB NOT NULL) STRICT;"
    "CREATE INDEX chunk_document ON chunk(document, seq);"
    "CREATE TABLE change(seq INTEGER PRIMARY KEY AUTOINCREMENT, op INTEGER NOT NULL,"
    " first INTEGER NOT NULL, last INTEGER NOT NULL) STRICT;";

static const char *const sql[ST_COUNT] = {
    [ST_BEGIN] = "BEGIN IMMEDIATE",
    [ST_BEGIN_READ] = "BEGIN",
    [ST_COMMIT] = "COMMIT",
    [ST_SETTING] = "SELECT value FROM setting WHERE key = ?1",
    [ST_SET] = "INSERT INTO setting VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = ?2",
    [ST_VECTOR] = "SELECT value FROM vector WHERE embedder = ?1 AND sha256 = ?2",
    [ST_VECTOR_PUT] = "INSERT INTO vector VALUES(?1, ?2, ?3)"
                      " ON CONFLICT DO UPDATE SET value = ?3",
    [ST_VECTOR_HAS] = "SELECT 1 FROM vector WHERE embedder = ?1 AND sha256 = ?2",
    [ST_FILE] = "SELECT id, bytes, mtime_ns, inode, sha256 FROM file WHERE path = ?1",
    [ST_FILE_PUT] = "INSERT INTO file(path, bytes, mtime_ns, inode, sha256)"
                    " VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(path) DO UPDATE SET"
                    " bytes = ?2, mtime_ns = ?3, inode = ?4, sha256 = ?5 RETURNING id",
    [ST_FILE_DROP] = "DELETE FROM file WHERE id = ?1",
    [ST_FILE_FORGET] = "UPDATE file SET mtime_ns = 0, sha256 = zeroblob(32) WHERE id = ?1",
    [ST_DOC_PUT] =
        "INSERT INTO document(file, source, sha256, format, title, meta, added, bytes, text)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [ST_DOC_KEEP] = "UPDATE document SET file = ?2 WHERE id = ?1",
    [ST_DOC_DROP] = "DELETE FROM document WHERE id = ?1",
    [ST_DOC_BY_ID] = "SELECT id, file, source, sha256, format, title, meta, added, bytes,"
                     " (SELECT count(*) FROM chunk c WHERE c.document = document.id)"
                     " FROM document WHERE id = ?1",
    [ST_DOC_BY_SOURCE] = "SELECT id, file, source, sha256, format, title, meta, added, bytes,"
                         " (SELECT count(*) FROM chunk c WHERE c.document = document.id)"
                         " FROM document WHERE source = ?1",
    [ST_DOC_TEXT] = "SELECT text FROM document WHERE id = ?1",
    [ST_CHUNK_PUT] = "INSERT INTO chunk(document, seq, start, stop, lead_start, lead_stop,"
                     " line, page, head, sha256)"
                     " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    [ST_CHUNK] = "SELECT id, document, seq, start, stop, lead_start, lead_stop, line, page,"
                 " head, sha256 FROM chunk WHERE id = ?1",
    [ST_CHUNKS] = "SELECT id, document, seq, start, stop, lead_start, lead_stop, line, page,"
                  " head, sha256 FROM chunk WHERE document = ?1 ORDER BY seq",
    [ST_CHUNKS_DROP] = "DELETE FROM chunk WHERE document = ?1",
    [ST_CHUNK_IDS] = "SELECT id FROM chunk WHERE id > ?1 ORDER BY id LIMIT ?2",
    [ST_WORDS_PUT] = "INSERT INTO words(rowid, head, body) VALUES(?1, ?2, ?3)",
    [ST_WORDS_DROP] =
        "INSERT INTO words(words, rowid, head, body) VALUES('delete', ?1, ?2, ?3)",
    [ST_CHANGE] = "INSERT INTO change(op, first, last) VALUES(?1, ?2, ?3)",
};

/* ---- errors and statements ---- */

static rag_err code_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_NOMEM:
        return RAG_ENOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return RAG_EBUSY;
    case SQLITE_CORRUPT:
        return RAG_EDAMAGED;
    case SQLITE_NOTADB:
        return RAG_EFORMAT;
    case SQLITE_TOOBIG:
        return RAG_ELIMIT;
    case SQLITE_INTERRUPT:
        return RAG_ECANCELED;
    default:
        return RAG_EIO;
    }
}

rag_err store_fail(struct store *s, const char *what)
{
    const int rc = sqlite3_extended_errcode(s->db);
    return RAG_FAIL(code_of(rc), "%s/store.db: %s: %s (SQLite %d)", s->dir, what,
                    sqlite3_errmsg(s->db), rc);
}

sqlite3_stmt *store_st(struct store *s, enum statement which)
{
    if (!s->st[which] && sqlite3_prepare_v3(s->db, sql[which], -1, SQLITE_PREPARE_PERSISTENT,
                                            &s->st[which], NULL) != SQLITE_OK)
        return NULL;
    sqlite3_reset(s->st[which]);
    sqlite3_clear_bindings(s->st[which]);
    return s->st[which];
}

rag_err store_prepare(struct store *s, const char *text, sqlite3_stmt **out)
{
    return sqlite3_prepare_v2(s->db, text, -1, out, NULL) == SQLITE_OK
               ? RAG_OK
               : store_fail(s, "a query");
}

rag_err store_run(struct store *s, sqlite3_stmt *st, const char *what)
{
    if (!st)
        return store_fail(s, what);
    int rc;
    do
        rc = sqlite3_step(st);
    while (rc == SQLITE_ROW);
    const rag_err err = rc == SQLITE_DONE ? RAG_OK : store_fail(s, what);
    sqlite3_reset(st);
    return err;
}

rag_err store_exec(struct store *s, const char *text)
{
    return sqlite3_exec(s->db, text, NULL, NULL, NULL) == SQLITE_OK ? RAG_OK
                                                                    : store_fail(s, "store");
}

rag_err store_step(struct store *s, sqlite3_stmt *st, bool *row, const char *what)
{
    const int rc = st ? sqlite3_step(st) : SQLITE_ERROR;
    *row = rc == SQLITE_ROW;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? RAG_OK : store_fail(s, what);
}

void store_bind_digest(sqlite3_stmt *st, int i, const struct digest *d)
{
    sqlite3_bind_blob(st, i, d->b, sizeof d->b, SQLITE_STATIC);
}

bool store_digest(sqlite3_stmt *st, int column, struct digest *d)
{
    if (sqlite3_column_bytes(st, column) != sizeof d->b)
        return false;
    memcpy(d->b, sqlite3_column_blob(st, column), sizeof d->b);
    return true;
}

char *store_text(sqlite3_stmt *st, int column, bool *failed)
{
    const char *text = (const char *)sqlite3_column_text(st, column);
    if (!text)
        return NULL;
    char *copy = mem_strdup(text);
    *failed |= !copy;
    return copy;
}

rag_err id_list_add(struct id_list *l, int64_t id)
{
    if (l->n == l->room) {
        const size_t room = l->room ? 2 * l->room : 256;
        int64_t *more = mem_resize(l->ids, room * sizeof *more);
        if (!more)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu ids", room);
        l->ids = more;
        l->room = room;
    }
    l->ids[l->n++] = id;
    return RAG_OK;
}

rag_err id_list_read(struct store *s, sqlite3_stmt *st, int64_t **ids, size_t *n)
{
    struct id_list l = {0};
    bool row = true;
    rag_err err = RAG_OK;
    while (!err && row) {
        err = store_step(s, st, &row, "a list of ids");
        if (!err && row)
            err = id_list_add(&l, sqlite3_column_int64(st, 0));
    }
    sqlite3_reset(st);
    if (err) {
        mem_free(l.ids);
        return err;
    }
    *ids = l.ids;
    *n = l.n;
    return RAG_OK;
}

/* ---- transactions ---- */

static rag_err begin(struct store *s, enum statement which)
{
    rag_err err = store_run(s, store_st(s, which), "begin");
    s->inside = !err;
    return err;
}

rag_err store_begin(struct store *s)
{
    return begin(s, ST_BEGIN);
}

rag_err store_begin_now(struct store *s)
{
    sqlite3_busy_timeout(s->db, 0);
    const rag_err err = begin(s, ST_BEGIN);
    sqlite3_busy_timeout(s->db, BUSY_MS);
    return err;
}

rag_err store_begin_read(struct store *s)
{
    return begin(s, ST_BEGIN_READ);
}

rag_err store_commit(struct store *s)
{
    rag_err err = store_run(s, store_st(s, ST_COMMIT), "commit");
    if (err)
        store_rollback(s);
    s->inside = false;
    return err;
}

void store_rollback(struct store *s)
{
    for (size_t i = 0; i < ST_COUNT; i++)
        sqlite3_reset(s->st[i]);
    if (s->inside && !sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    s->inside = false;
}

/* ---- settings ---- */

rag_err store_setting(struct store *s, const char *key, char **value)
{
    sqlite3_stmt *st = store_st(s, ST_SETTING);
    bool row = false, failed = false;
    if (st)
        sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
    rag_err err = store_step(s, st, &row, key);
    if (!err && !row)
        err = RAG_FAIL(RAG_ENOENT, "%s: no setting %s", s->dir, key);
    char *text = err ? NULL : store_text(st, 0, &failed);
    sqlite3_reset(st);
    if (failed)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a setting");
    if (!err)
        *value = text;
    return err;
}

rag_err store_set(struct store *s, const char *key, const char *value)
{
    sqlite3_stmt *st = store_st(s, ST_SET);
    if (st) {
        sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
        sqlite3_bind_text(st, 2, value, -1, SQLITE_STATIC);
    }
    return store_run(s, st, key);
}

/* ---- opening ---- */

static rag_err int_of(struct store *s, const char *pragma, int64_t *out)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    rag_err err = store_prepare(s, pragma, &st);
    if (!err)
        err = store_step(s, st, &row, pragma);
    *out = row ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_finalize(st);
    return err;
}

/* A version 4 UUID. */
static rag_err make_uuid(char out[37])
{
    uint8_t b[16];
    if (getrandom(b, sizeof b, 0) != sizeof b)
        return RAG_FAIL(RAG_EIO, "getrandom: %s", strerror(errno));
    b[6] = (uint8_t)((b[6] & 15) | 64);
    b[8] = (uint8_t)((b[8] & 63) | 128);
    snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
             b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
             b[13], b[14], b[15]);
    return RAG_OK;
}

/* The word index keeps no text of its own; docs/rag.md says how a chunk's words are spelled.
 * A large hash table in memory spares it many small segments. */
static rag_err make_words(struct store *s, const char *lang)
{
    const bool stems = strcmp(lang, "en") == 0;
    rag_err err =
        store_exec(s, stems ? "CREATE VIRTUAL TABLE words USING fts5(head, body, content='',"
                              " tokenize='porter unicode61 remove_diacritics 2')"
                            : "CREATE VIRTUAL TABLE words USING fts5(head, body, content='',"
                              " tokenize='unicode61 remove_diacritics 2')");
    if (!err)
        err = store_exec(s, "INSERT INTO words(words, rank) VALUES('rank', 'bm25(2.0, 1.0)');"
                            "INSERT INTO words(words, rank) VALUES('hashsize', 16777216)");
    return err;
}

static rag_err make_schema(struct store *s, const char *lang)
{
    char uuid[37], text[64];
    rag_err err = make_uuid(uuid);
    if (!err)
        err = store_exec(s, schema);
    if (!err)
        err = make_words(s, lang);
    if (!err)
        err = store_set(s, "uuid", uuid);
    if (!err)
        err = store_set(s, "lang", lang);
    snprintf(text, sizeof text, "PRAGMA application_id=%d", APPLICATION_ID);
    if (!err)
        err = store_exec(s, text);
    snprintf(text, sizeof text, "PRAGMA user_version=%d", STORE_FORMAT);
    return err ? err : store_exec(s, text);
}

/* Makes the schema in an empty database; else sees that it is ours. */
static rag_err check_format(struct store *s, const struct store_opening *how)
{
    int64_t application = 0, version = 0, tables = 0;
    rag_err err = int_of(s, "PRAGMA application_id", &application);
    if (!err)
        err = int_of(s, "PRAGMA user_version", &version);
    if (!err)
        err = int_of(s, "SELECT count(*) FROM sqlite_schema", &tables);
    if (err)
        return err;
    if (application == 0 && tables == 0 && how->mode == STORE_CREATE) {
        err = store_begin(s);
        if (!err)
            err = make_schema(s, how->lang ? how->lang : "en");
        if (!err)
            return store_commit(s);
        store_rollback(s);
        return err;
    }
    if (application != APPLICATION_ID)
        return RAG_FAIL(RAG_EFORMAT, "%s/store.db is no store of rag (application id %lld)",
                        s->dir, (long long)application);
    if (version > STORE_FORMAT)
        return RAG_FAIL(RAG_EVERSION, "%s/store.db has format %lld, this program knows %d",
                        s->dir, (long long)version, STORE_FORMAT);
    return RAG_OK;
}

static rag_err configure(struct store *s)
{
    sqlite3_busy_timeout(s->db, BUSY_MS);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    rag_err err = store_exec(s, "PRAGMA cell_size_check=ON; PRAGMA foreign_keys=ON;"
                                "PRAGMA cache_size=-65536; PRAGMA temp_store=MEMORY;"
                                "PRAGMA synchronous=FULL");
    if (!err && s->lock >= 0)
        err = store_exec(s, "PRAGMA journal_mode=WAL;"
                            "PRAGMA wal_autocheckpoint=" CHECKPOINT_PAGES);
    return err;
}

static rag_err open_database(struct store *s, const struct store_opening *how)
{
    const size_t room = strlen(s->dir) + sizeof "/store.db";
    char *path = mem_alloc(room);
    if (!path)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a path");
    snprintf(path, room, "%s/store.db", s->dir);
    rag_err err = RAG_OK;
    struct stat there;
    if (how->mode != STORE_CREATE && stat(path, &there) != 0)
        err = RAG_FAIL(errno == ENOENT ? RAG_ENOENT : RAG_EIO, "%s: %s", path, strerror(errno));
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                      (how->mode == STORE_CREATE ? SQLITE_OPEN_CREATE : 0);
    if (!err && sqlite3_open_v2(path, &s->db, flags, NULL) != SQLITE_OK)
        err = s->db ? store_fail(s, "open") : RAG_FAIL(RAG_ENOMEM, "%s: out of memory", path);
    mem_free(path);
    if (!err)
        err = configure(s);
    if (!err)
        err = rank_register(s);
    return err ? err : check_format(s, how);
}

rag_err store_open(const char *dir, const struct store_opening *how, struct store **out)
{
    if (how->lang && strcmp(how->lang, "en") != 0 && strcmp(how->lang, "any") != 0)
        return RAG_FAIL(RAG_EINVAL, "language \"%s\" is neither en nor any", how->lang);
    struct store *s = mem_zalloc(1, sizeof *s);
    if (!s)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a store");
    s->lock = -1;
    rag_err err = (s->dir = mem_strdup(dir)) ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory");
    if (!err && how->mode == STORE_CREATE && mkdir(dir, 0700) != 0 && errno != EEXIST)
        err = RAG_FAIL(RAG_EIO, "%s: %s", dir, strerror(errno));
    if (!err && how->mode != STORE_READ) {
        struct stat there;
        err = how->mode == STORE_WRITE && stat(dir, &there) != 0
                  ? RAG_FAIL(RAG_ENOENT, "%s: %s", dir, strerror(errno))
                  : lock_take(dir, how->wait_ms, how->purpose, &s->lock);
    }
    if (!err)
        err = open_database(s, how);
    if (!err)
        err = store_setting(s, "lang", &s->lang);
    if (!err)
        err = store_setting(s, "uuid", &s->uuid);
    if (err) {
        store_close(s);
        return err;
    }
    *out = s;
    return RAG_OK;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    if (s->db)
        store_rollback(s);
    for (size_t i = 0; i < ST_COUNT; i++)
        sqlite3_finalize(s->st[i]);
    sqlite3_close(s->db);
    lock_give(s->lock);
    mem_free(s->split);
    mem_free(s->dir);
    mem_free(s->lang);
    mem_free(s->uuid);
    mem_free(s);
}

const char *store_dir(const struct store *s)
{
    return s->dir;
}

const char *store_lang(const struct store *s)
{
    return s->lang;
}

const char *store_uuid(const struct store *s)
{
    return s->uuid;
}
