/* mirror.h - the index file of one embedder: what the database holds, made fast to search.
 *
 * Place: rag/store, over libkith-ann.  The file may lag behind the database, never lead it:
 * what was added since is searched beside it, what was removed since is passed over, and a file
 * that is missing, damaged or another's is made again from the vectors.
 * Invariant: a search gives each live chunk at most once, and no chunk that is gone. */
#ifndef KITH_RAG_MIRROR_H
#define KITH_RAG_MIRROR_H

#include "rag/embed/embed.h"
#include "rag/store/store.h"

struct mirror;

/* What long work is at; non-zero stops it. */
typedef int (*mirror_progress_fn)(void *arg, const char *what, uint64_t done, uint64_t total);

struct mirror_opening {
    struct store *store;             /* outlives the mirror */
    const struct store_embedder *of; /* read at open */
    struct embedder *embedder;       /* for vectors that are not kept; NULL: none */
    bool write;                      /* the store's lock is held */
    bool anew;                       /* the file is not to be used, but made again */
    uint64_t flat_bytes;             /* of vectors as f16: above, a graph; 0: 256 MiB */
    size_t effort;                   /* of searches of a graph; 0: the index's own choice */
    mirror_progress_fn progress;
    void *arg;
};

/* RAG_ENOENT: in a snapshot whose file has been replaced meanwhile: begin anew. */
rag_err mirror_open(const struct mirror_opening *how, struct mirror **out);
void mirror_close(struct mirror *m); /* NULL is allowed */

struct mirror_state {
    uint64_t filed, pending, gone; /* chunks in the file, since added, since removed */
    uint64_t file_bytes;
    char lost[256]; /* why the file could not be used; "" if it could */
    bool graph;     /* an HNSW graph, else exact search */
};
void mirror_state(const struct mirror *m, struct mirror_state *st);

/* The k nearest live chunks, nearest first, by cosine (score 1 is the same direction); hits
 * [k]. allowed: ids that may be found, ascending, NULL: all.  exact: every vector is looked at.
 */
rag_err mirror_search(struct mirror *m, const float *query, size_t k, const int64_t *allowed,
                      size_t nallowed, bool exact, struct store_hit *hits, size_t *n);

/* As if opened with that effort. */
void mirror_set_effort(struct mirror *m, size_t effort);

/* The scores of the k nearest live chunks of each of queries [nq, dims] (length 1), best first:
 * scores [nq, k], -INFINITY behind the last.  Every vector is looked at, in blocks, with the
 * rounding of 32-bit floats.  skip [nq]: a chunk that does not count; NULL: none. */
rag_err mirror_truth(struct mirror *m, const float *queries, size_t nq, size_t k,
                     const int64_t *skip, float *scores);

/* The vector of a live chunk, of length 1: [dims]. */
rag_err mirror_vector(struct mirror *m, int64_t chunk, float *vec);

/* Tells of chunks that were committed with vectors [n, dims]. */
rag_err mirror_add(struct mirror *m, size_t n, const int64_t *ids, const float *vectors);

/* Writes a new file if what changed since is much, or always; within no transaction. */
rag_err mirror_save(struct mirror *m, bool always);

/* Sees that the file holds exactly the live chunks but for pending ones, and `sample` of them
 * (0: all) with their vectors. */
rag_err mirror_check(struct mirror *m, size_t sample, store_fault_fn fault, void *arg);

#endif
