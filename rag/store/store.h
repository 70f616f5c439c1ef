/* store.h - a folder with one SQLite database, which is the truth, and index files beside it,
 * which are derived.
 *
 * Place: rag/store, above rag/embed; the only folder that includes sqlite3.h.
 *     DIR/store.db   documents, chunks, vectors, the log of changes (docs/rag.md has the
 * schema) DIR/index-E-G.kith   vectors of embedder E, generation G (mirror.h) DIR/lock held by
 * the one process that writes Invariants: a document is visible whole or not at all; chunk ids
 * ascend and are never used again; a chunk's text is a range of its document's, so that nothing
 * is stored twice. */
#ifndef KITH_RAG_STORE_H
#define KITH_RAG_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rag/rag.h>

#include "rag/digest.h"

struct store; /* one thread at a time */

#define STORE_FORMAT 1 /* user_version of the database */

enum store_mode {
    STORE_READ,  /* any number of processes */
    STORE_WRITE, /* takes the lock */
    STORE_CREATE /* as write; makes folder (0700) and database if they are not there */
};

struct store_opening {
    enum store_mode mode;
    const char *lang;    /* of a new store: "en" (Porter's stemmer) or "any"; NULL: "en" */
    unsigned wait_ms;    /* for the lock */
    const char *purpose; /* what the holder of the lock is told to be doing */
};

/* RAG_ENOENT: no store there; RAG_EFORMAT: a database, but not ours; RAG_EVERSION: of a later
 * version; RAG_EBUSY: names the process that writes, after wait_ms; RAG_EDAMAGED. */
rag_err store_open(const char *dir, const struct store_opening *how, struct store **out);
void store_close(struct store *s); /* NULL is allowed */
const char *store_dir(const struct store *s);
const char *store_lang(const struct store *s);
const char *store_uuid(const struct store *s);

/* Transactions.  store_begin takes SQLite's write lock; reading gives one snapshot. */
rag_err store_begin(struct store *s);
rag_err store_begin_now(struct store *s); /* fails at once where another process is at it */
rag_err store_begin_read(struct store *s);
rag_err store_commit(struct store *s);
void store_rollback(struct store *s);

/* A word of the store's own: "uuid", "embedder", ...  *value for rag_free; RAG_ENOENT. */
rag_err store_setting(struct store *s, const char *key, char **value);
rag_err store_set(struct store *s, const char *key, const char *value);

/* ---- embedders (vectors.c) ---- */

struct store_embedder {
    int64_t id;
    char *uri, *model, *revision, *prefix_document, *prefix_query;
    uint32_t dims;
    bool normalised, free_of_charge; /* free: its vectors are computed again, not kept */
    struct digest fingerprint;
    float *canary;        /* [dims]: vector of STORE_CANARY */
    int64_t applied;      /* last change its index file has seen; 0: no file */
    int64_t generation;   /* of that file */
    uint64_t identity[2]; /* of that file, ann_file_info's */
};

#define STORE_CANARY "The quick brown fox jumps over the lazy dog while 42 owls watch."

rag_err store_embedder_add(struct store *s, struct store_embedder *e); /* sets e->id */
/* RAG_ENOENT.  Release with store_embedder_free. */
rag_err store_embedder_get(struct store *s, int64_t id, struct store_embedder *e);
/* Ids of all embedders, ascending; *ids [*n] for rag_free. */
rag_err store_embedders(struct store *s, int64_t **ids, size_t *n);
rag_err store_embedder_applied(struct store *s, int64_t id, int64_t applied, int64_t generation,
                               const uint64_t identity[2]);
rag_err store_embedder_remove(struct store *s, int64_t id); /* and its vectors */
void store_embedder_free(struct store_embedder *e);

/* The vector cache.  RAG_ENOENT: not there; RAG_EDAMAGED: not [dims] finite floats. */
rag_err store_vector(struct store *s, int64_t embedder, const struct digest *key, size_t dims,
                     float *vec);
bool store_has_vector(struct store *s, int64_t embedder, const struct digest *key);
rag_err store_vector_put(struct store *s, int64_t embedder, const struct digest *key,
                         size_t dims, const float *vec);
rag_err store_vector_count(struct store *s, int64_t embedder, uint64_t *n);
/* Vectors that belong to no chunk any more. */
rag_err store_vectors_purge(struct store *s, uint64_t *removed);

/* ---- files and documents (docs.c) ---- */

struct store_file {
    int64_t id; /* 0: not there */
    uint64_t bytes, inode;
    int64_t mtime_ns;
    struct digest sha256;
};

/* *f zeroed if path is not known. */
rag_err store_file_get(struct store *s, const char *path, struct store_file *f);
rag_err store_file_put(struct store *s, const char *path, struct store_file *f); /* sets id */
/* It will be read again, whatever its time says. */
rag_err store_file_forget(struct store *s, int64_t id);
rag_err store_file_remove(struct store *s, int64_t id); /* with its documents */

struct store_chunk {
    int64_t id, document;
    uint32_t seq, line, page;
    size_t start, end, lead_start, lead_end; /* bytes of the document's text */
    char *head;
    struct digest sha256; /* of its view */
};

struct store_document {
    int64_t id, file;                     /* file 0: none */
    char *source, *format, *title, *meta; /* title, meta: NULL where there is none */
    struct digest sha256;
    int64_t added; /* seconds since 1970 */
    size_t bytes;  /* of text */
    char *text;    /* [bytes] and a NUL; NULL unless it was asked for */
    uint64_t chunks;
};

void store_document_free(struct store_document *d);
void store_chunk_free(struct store_chunk *c);

/* Puts d (source, format, title, meta, sha256, text, file) with chunks [n] (their sha256 and
 * ids are set here) in place of the document of that source, if there is one; all within the
 * caller's transaction. */
rag_err store_document_put(struct store *s, struct store_document *d,
                           struct store_chunk *chunks, size_t n);
/* The document is the same: only its file and the time of reading are new. */
rag_err store_document_keep(struct store *s, int64_t id, int64_t file);
rag_err store_document_remove(struct store *s, int64_t id);
rag_err store_document_get(struct store *s, int64_t id, bool text, struct store_document *d);
rag_err store_document_find(struct store *s, const char *source, bool text,
                            struct store_document *d);
/* Each document in the order of sources; `filter` as store_filter makes it, NULL: all. */
struct store_filter;
typedef rag_err (*store_document_fn)(void *arg, const struct store_document *d);
rag_err store_documents(struct store *s, const struct store_filter *filter,
                        store_document_fn each, void *arg);
/* Ids of a file's documents; *ids for rag_free. */
rag_err store_file_documents(struct store *s, int64_t file, int64_t **ids, size_t *n);
/* Every known file whose path begins with prefix. */
typedef rag_err (*store_file_fn)(void *arg, int64_t id, const char *path);
rag_err store_files(struct store *s, const char *prefix, store_file_fn each, void *arg);

rag_err store_chunk_get(struct store *s, int64_t id, struct store_chunk *c);
/* Chunks of a document by seq, *chunks [*n] for store_chunks_free. */
rag_err store_chunks(struct store *s, int64_t document, struct store_chunk **chunks, size_t *n);
void store_chunks_free(struct store_chunk *chunks, size_t n);

/* What is embedded and indexed of a chunk: head, lead and text, a line feed between; *out for
 * rag_free.  text: of the document. */
rag_err store_view(const struct store_chunk *c, const char *text, size_t bytes, char **out,
                   size_t *n);
/* Of chunk id, read from the database. */
rag_err store_chunk_view(struct store *s, int64_t id, char **out, size_t *n,
                         struct digest *sha256);

struct store_counts {
    uint64_t files, documents, chunks, text_bytes, changes;
    int64_t last_change, last_chunk;
};
rag_err store_count(struct store *s, struct store_counts *c);
/* Only last_change and last_chunk, at once. */
rag_err store_last(struct store *s, struct store_counts *c);

/* ---- the log of changes (docs.c) ---- */

enum store_op { STORE_ADDED = 1, STORE_REMOVED = 2 };

/* Each change after seq: chunks first..last.  */
typedef rag_err (*store_change_fn)(void *arg, int64_t seq, enum store_op op, int64_t first,
                                   int64_t last);
rag_err store_changes(struct store *s, int64_t after, store_change_fn each, void *arg);
/* Forgets changes that every embedder's index has seen. */
rag_err store_changes_prune(struct store *s);
/* Ids of live chunks after `after`, ascending, at most `most`; *ids [*n] for rag_free. */
rag_err store_chunk_ids(struct store *s, int64_t after, size_t most, int64_t **ids, size_t *n);

/* ---- words (words.c) ---- */

struct store_hit {
    int64_t chunk;
    double score; /* more is better */
};

/* The best `most` chunks by BM25 of the words of query (those joined by OR; stop words are left
 * out if others remain), best first; hits [most].  filter NULL: all. */
rag_err store_words(struct store *s, const char *query, const struct store_filter *filter,
                    size_t most, struct store_hit *hits, size_t *n);

/* ---- conditions (where.c) ---- */

/* Conditions such as "author=Knuth", "year>=1990", "source~docs*md", "type!=html"; all must
 * hold.  Keys: source, title, type, added, else a key of the meta object ("a.b" within it).
 * RAG_EINVAL names the condition. */
rag_err store_filter_make(const char *const *conditions, size_t n, struct store_filter **out);
void store_filter_free(struct store_filter *f); /* NULL is allowed */
/* The chunks that pass, ascending; *ids [*n] for rag_free. */
rag_err store_filter_chunks(struct store *s, const struct store_filter *f, int64_t **ids,
                            size_t *n);

/* ---- checks (check.c) ---- */

struct store_fault {
    char what[256];
    bool derived; /* only what can be made again */
};
typedef rag_err (*store_fault_fn)(void *arg, const struct store_fault *f);

/* SQLite's own check, texts against their digests, chunks against their documents, the word
 * index; each fault found.  deep: every text, else the structure alone. */
rag_err store_check(struct store *s, bool deep, store_fault_fn fault, void *arg);
/* Gives the bytes of what is gone back, and overwrites them. */
rag_err store_vacuum(struct store *s);
/* Makes the word index again. */
rag_err store_words_rebuild(struct store *s);
/* A copy of the database at path, while others use it. */
rag_err store_backup(struct store *s, const char *path,
                     int (*progress)(void *arg, uint64_t done, uint64_t total), void *arg);

#endif
