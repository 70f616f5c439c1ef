/* vectors.c - embedders and the vectors that were paid for.
 *
 * Place: rag/store.  Invariant: a vector is kept under its embedder and the digest of the text
 * it was made of, so it is never bought twice and never compared with another embedder's. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/base/memory.h"
#include "rag/store/internal.h"

/* ---- embedders ---- */

rag_err store_embedder_add(struct store *s, struct store_embedder *e)
{
    sqlite3_stmt *st = NULL;
    rag_err err = store_prepare(
        s,
        "INSERT INTO embedder(uri, model, revision, dims, normalised, free, prefix_document,"
        " prefix_query, fingerprint, canary) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        &st);
    if (err)
        return err;
    sqlite3_bind_text(st, 1, e->uri, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, e->model, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 3, e->revision, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 4, e->dims);
    sqlite3_bind_int(st, 5, e->normalised);
    sqlite3_bind_int(st, 6, e->free_of_charge);
    sqlite3_bind_text(st, 7, e->prefix_document, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 8, e->prefix_query, -1, SQLITE_STATIC);
    store_bind_digest(st, 9, &e->fingerprint);
    sqlite3_bind_blob64(st, 10, e->canary, e->dims * sizeof(float), SQLITE_STATIC);
    err = store_run(s, st, "a new embedder");
    sqlite3_finalize(st);
    if (!err)
        e->id = sqlite3_last_insert_rowid(s->db);
    return err;
}

static rag_err read_embedder(sqlite3_stmt *st, struct store_embedder *e)
{
    bool failed = false;
    *e = (struct store_embedder){.id = sqlite3_column_int64(st, 0),
                                 .uri = store_text(st, 1, &failed),
                                 .model = store_text(st, 2, &failed),
                                 .revision = store_text(st, 3, &failed),
                                 .dims = (uint32_t)sqlite3_column_int64(st, 4),
                                 .normalised = sqlite3_column_int(st, 5) != 0,
                                 .free_of_charge = sqlite3_column_int(st, 6) != 0,
                                 .prefix_document = store_text(st, 7, &failed),
                                 .prefix_query = store_text(st, 8, &failed),
                                 .applied = sqlite3_column_int64(st, 11),
                                 .generation = sqlite3_column_int64(st, 12),
                                 .identity = {(uint64_t)sqlite3_column_int64(st, 13),
                                              (uint64_t)sqlite3_column_int64(st, 14)}};
    const size_t bytes = (size_t)sqlite3_column_bytes(st, 10);
    if (!store_digest(st, 9, &e->fingerprint) || e->dims == 0 || e->dims > ANN_DIM_MAX ||
        bytes != e->dims * sizeof(float))
        return RAG_FAIL(RAG_EDAMAGED, "embedder %lld: %u dimensions, a canary of %zu bytes",
                        (long long)e->id, e->dims, bytes);
    e->canary = mem_alloc(bytes);
    if (!e->canary || failed)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for an embedder");
    memcpy(e->canary, sqlite3_column_blob(st, 10), bytes);
    return RAG_OK;
}

rag_err store_embedder_get(struct store *s, int64_t id, struct store_embedder *e)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    struct store_embedder found = {0};
    rag_err err = store_prepare(
        s,
        "SELECT id, uri, model, revision, dims, normalised, free, prefix_document,"
        " prefix_query, fingerprint, canary, applied, generation, identity0, identity1"
        " FROM embedder WHERE id = ?1",
        &st);
    if (!err) {
        sqlite3_bind_int64(st, 1, id);
        err = store_step(s, st, &row, "an embedder");
    }
    if (!err)
        err = row ? read_embedder(st, &found)
                  : RAG_FAIL(RAG_ENOENT, "%s: no embedder %lld", s->dir, (long long)id);
    sqlite3_finalize(st);
    if (err)
        store_embedder_free(&found);
    else
        *e = found;
    return err;
}

rag_err store_embedders(struct store *s, int64_t **ids, size_t *n)
{
    sqlite3_stmt *st = NULL;
    rag_err err = store_prepare(s, "SELECT id FROM embedder ORDER BY id", &st);
    if (!err)
        err = id_list_read(s, st, ids, n);
    sqlite3_finalize(st);
    return err;
}

rag_err store_embedder_applied(struct store *s, int64_t id, int64_t applied, int64_t generation,
                               const uint64_t identity[2])
{
    sqlite3_stmt *st = NULL;
    rag_err err = store_prepare(s,
                                "UPDATE embedder SET applied = ?2, generation = ?3,"
                                " identity0 = ?4, identity1 = ?5 WHERE id = ?1",
                                &st);
    if (err)
        return err;
    sqlite3_bind_int64(st, 1, id);
    sqlite3_bind_int64(st, 2, applied);
    sqlite3_bind_int64(st, 3, generation);
    sqlite3_bind_int64(st, 4, (int64_t)identity[0]);
    sqlite3_bind_int64(st, 5, (int64_t)identity[1]);
    err = store_run(s, st, "an index's place");
    sqlite3_finalize(st);
    return err;
}

rag_err store_embedder_remove(struct store *s, int64_t id)
{
    rag_err err = RAG_OK;
    static const char *const drops[] = {"DELETE FROM vector WHERE embedder = ?1",
                                        "DELETE FROM embedder WHERE id = ?1"};
    for (size_t i = 0; i < 2 && !err; i++) {
        sqlite3_stmt *st = NULL;
        err = store_prepare(s, drops[i], &st);
        if (!err) {
            sqlite3_bind_int64(st, 1, id);
            err = store_run(s, st, "an embedder");
        }
        sqlite3_finalize(st);
    }
    return err;
}

void store_embedder_free(struct store_embedder *e)
{
    mem_free(e->uri);
    mem_free(e->model);
    mem_free(e->revision);
    mem_free(e->prefix_document);
    mem_free(e->prefix_query);
    mem_free(e->canary);
    *e = (struct store_embedder){0};
}

/* ---- the cache ---- */

static sqlite3_stmt *keyed(struct store *s, enum statement which, int64_t embedder,
                           const struct digest *key)
{
    sqlite3_stmt *st = store_st(s, which);
    if (st) {
        sqlite3_bind_int64(st, 1, embedder);
        store_bind_digest(st, 2, key);
    }
    return st;
}

static rag_err check_vector(const float *vec, size_t dims)
{
    double norm = 0;
    for (size_t i = 0; i < dims; i++)
        norm += (double)vec[i] * vec[i];
    return isfinite(norm) && norm > 0
               ? RAG_OK
               : RAG_FAIL(RAG_EDAMAGED, "a stored vector of %zu dimensions has length %g", dims,
                          sqrt(norm));
}

rag_err store_vector(struct store *s, int64_t embedder, const struct digest *key, size_t dims,
                     float *vec)
{
    sqlite3_stmt *st = keyed(s, ST_VECTOR, embedder, key);
    bool row = false;
    rag_err err = store_step(s, st, &row, "a vector");
    if (!err && !row)
        err = RAG_FAIL(RAG_ENOENT, "%s: a vector is not kept", s->dir);
    if (!err && (size_t)sqlite3_column_bytes(st, 0) != dims * sizeof *vec)
        err = RAG_FAIL(RAG_EDAMAGED, "%s: a vector of %d bytes instead of %zu dimensions",
                       s->dir, sqlite3_column_bytes(st, 0), dims);
    if (!err) {
        memcpy(vec, sqlite3_column_blob(st, 0), dims * sizeof *vec);
        err = check_vector(vec, dims);
    }
    sqlite3_reset(st);
    return err;
}

bool store_has_vector(struct store *s, int64_t embedder, const struct digest *key)
{
    sqlite3_stmt *st = keyed(s, ST_VECTOR_HAS, embedder, key);
    const bool has = st && sqlite3_step(st) == SQLITE_ROW;
    sqlite3_reset(st);
    return has;
}

rag_err store_vector_put(struct store *s, int64_t embedder, const struct digest *key,
                         size_t dims, const float *vec)
{
    sqlite3_stmt *st = keyed(s, ST_VECTOR_PUT, embedder, key);
    if (st)
        sqlite3_bind_blob64(st, 3, vec, dims * sizeof *vec, SQLITE_STATIC);
    return store_run(s, st, "a vector");
}

rag_err store_vector_count(struct store *s, int64_t embedder, uint64_t *n)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    rag_err err = store_prepare(s, "SELECT count(*) FROM vector WHERE embedder = ?1", &st);
    if (!err) {
        sqlite3_bind_int64(st, 1, embedder);
        err = store_step(s, st, &row, "counting vectors");
    }
    if (!err && row)
        *n = (uint64_t)sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return err;
}

rag_err store_vectors_purge(struct store *s, uint64_t *removed)
{
    rag_err err =
        store_exec(s, "DELETE FROM vector WHERE sha256 NOT IN (SELECT sha256 FROM chunk)");
    if (!err)
        *removed = (uint64_t)sqlite3_changes64(s->db);
    return err;
}
