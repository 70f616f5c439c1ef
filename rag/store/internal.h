/* internal.h - what the files of rag/store share: the handle, its statements, errors.
 *
 * Place: rag/store, private. */
#ifndef KITH_RAG_STORE_INTERNAL_H
#define KITH_RAG_STORE_INTERNAL_H

#include <sqlite3.h>

#include "rag/error.h"
#include "rag/store/store.h"

/* Statements that are used again and again, prepared when first wanted; db.c has their SQL. */
enum statement {
    ST_BEGIN,
    ST_BEGIN_READ,
    ST_COMMIT,
    ST_SETTING,
    ST_SET,
    ST_VECTOR,
    ST_VECTOR_PUT,
    ST_VECTOR_HAS,
    ST_FILE,
    ST_FILE_PUT,
    ST_FILE_DROP,
    ST_FILE_FORGET,
    ST_DOC_PUT,
    ST_DOC_KEEP,
    ST_DOC_DROP,
    ST_DOC_BY_ID,
    ST_DOC_BY_SOURCE,
    ST_DOC_TEXT,
    ST_CHUNK_PUT,
    ST_CHUNK,
    ST_CHUNKS,
    ST_CHUNKS_DROP,
    ST_CHUNK_IDS,
    ST_WORDS_PUT,
    ST_WORDS_DROP,
    ST_CHANGE,
    ST_COUNT
};

struct store {
    sqlite3 *db;
    char *dir, *lang, *uuid;
    int lock;    /* descriptor, or -1 */
    bool inside; /* a transaction */
    sqlite3_stmt *st[ST_COUNT];
    char *split; /* [split_room]: text with dense scripts set apart, for words.c */
    size_t split_room;
};

/* This thread's message from SQLite's, "what: " before it, and the code that fits. */
rag_err store_fail(struct store *s, const char *what);

/* The statement, reset and ready to be bound; NULL after an error (store_fail says which). */
sqlite3_stmt *store_st(struct store *s, enum statement which);
/* Prepares sql for one use. */
rag_err store_prepare(struct store *s, const char *sql, sqlite3_stmt **out);
/* Runs a statement that gives no rows, and resets it. */
rag_err store_run(struct store *s, sqlite3_stmt *st, const char *what);
rag_err store_exec(struct store *s, const char *sql);
/* One row: RAG_OK with *row telling whether there is one. */
rag_err store_step(struct store *s, sqlite3_stmt *st, bool *row, const char *what);

void store_bind_digest(sqlite3_stmt *st, int i, const struct digest *d);
bool store_digest(sqlite3_stmt *st, int column, struct digest *d); /* false: not 32 bytes */
/* Text of a column for rag_free; NULL for SQL's NULL, with *failed where memory is out. */
char *store_text(sqlite3_stmt *st, int column, bool *failed);

/* A growing list of ids. */
struct id_list {
    int64_t *ids;
    size_t n, room;
};
rag_err id_list_add(struct id_list *l, int64_t id);
/* All rows of a bound statement, which is reset: *ids [*n] for rag_free. */
rag_err id_list_read(struct store *s, sqlite3_stmt *st, int64_t **ids, size_t *n);

/* words.c: a chunk's words into the index, and out of it again (view by the same function). */
rag_err words_put(struct store *s, int64_t chunk, const char *head, const char *body,
                  size_t bytes);
rag_err words_drop(struct store *s, int64_t chunk, const char *head, const char *body,
                   size_t bytes);

/* rank.c: the function okapi(words). */
rag_err rank_register(struct store *s);

/* where.c: " AND (...)" on document d, and its values, bound from parameter `first` on. */
const char *filter_sql(const struct store_filter *f);
rag_err filter_bind(struct store *s, const struct store_filter *f, sqlite3_stmt *st, int first);

/* lock.c */
rag_err lock_take(const char *dir, unsigned wait_ms, const char *purpose, int *fd);
void lock_give(int fd);

#endif
