/* admin.c - what a store holds, whether it is sound, and how it is made anew.
 *
 * Place: rag.  Invariant: repair and reindex read the database and never the files that are
 * damaged. */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "rag/internal.h"

#define VERIFY_SAMPLE 1000
#define REINDEX_BATCH 256

/* ---- documents ---- */

struct listing {
    int (*each)(void *arg, const rag_document_info *d);
    void *arg;
};

static rag_err list_one(void *arg, const struct store_document *d)
{
    const struct listing *l = arg;
    char hex[2 * DIGEST_BYTES + 1];
    digest_hex(&d->sha256, DIGEST_BYTES, hex);
    const rag_document_info info = {.id = (uint64_t)d->id,
                                    .source = d->source,
                                    .title = d->title,
                                    .meta = d->meta,
                                    .format = d->format,
                                    .bytes = d->bytes,
                                    .chunks = d->chunks,
                                    .added = d->added,
                                    .sha256 = hex};
    return l->each(l->arg, &info) ? RAG_FAIL(RAG_ECANCELED, "the listing was stopped") : RAG_OK;
}

rag_err rag_list(rag_store *s, const char *const *where, size_t n,
                 int (*each)(void *arg, const rag_document_info *d), void *arg)
{
    struct store_filter *f = NULL;
    struct listing l = {each, arg};
    rag_err err = n ? store_filter_make(where, n, &f) : RAG_OK;
    if (!err)
        err = store_documents(s->store, f, list_one, &l);
    store_filter_free(f);
    return err;
}

rag_err rag_get(rag_store *s, const char *source, uint32_t first, uint32_t count, char **text,
                size_t *bytes)
{
    struct store_document d = {0};
    rag_err err = store_document_find(s->store, source, true, &d);
    if (err)
        return err;
    const char *from = d.text, *to = d.text + d.bytes;
    for (uint32_t line = 1; line < first && from < to; line++) {
        const char *lf = memchr(from, '\n', (size_t)(to - from));
        from = lf ? lf + 1 : to;
    }
    const char *end = count ? from : to;
    for (uint32_t i = 0; i < count && end < to; i++) {
        const char *lf = memchr(end, '\n', (size_t)(to - end));
        end = lf ? lf + 1 : to;
    }
    if (first > 1 && from == to)
        err = RAG_FAIL(RAG_ENOENT, "%s has no line %u", source, first);
    char *own = err ? NULL : mem_alloc((size_t)(end - from) + 1);
    if (own) {
        memcpy(own, from, (size_t)(end - from));
        own[end - from] = '\0';
        *bytes = (size_t)(end - from);
        *text = own;
    } else if (!err) {
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for %s", source);
    }
    store_document_free(&d);
    return err;
}

rag_err rag_each_chunk(rag_store *s, int with_vectors,
                       int (*each)(void *arg, const rag_hit *chunk, const float *vector,
                                   size_t dims),
                       void *arg)
{
    int64_t *ids = NULL;
    size_t n = 0;
    float *vec = NULL;
    rag_err err = store_begin_read(s->store);
    if (!err)
        err = store_chunk_ids(s->store, 0, SIZE_MAX, &ids, &n);
    if (!err && with_vectors)
        err = session_mirror(s);
    if (!err && !(vec = mem_alloc(s->active.dims * sizeof *vec)))
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for a vector");
    for (size_t i = 0; i < n && !err; i++) {
        rag_hit h = {0};
        err = hit_load(s, ids[i], &h, NULL);
        if (!err && with_vectors)
            err = mirror_vector(s->mirror, ids[i], vec);
        if (!err && each(arg, &h, with_vectors ? vec : NULL, s->active.dims))
            err = RAG_FAIL(RAG_ECANCELED, "the listing was stopped");
        hit_free(&h);
    }
    store_rollback(s->store);
    mem_free(ids);
    mem_free(vec);
    return err;
}

/* ---- status ---- */

static uint64_t file_bytes(const char *dir, const char *name)
{
    char path[4096];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

rag_err rag_get_status(rag_store *s, rag_status *out)
{
    struct store_counts c = {0};
    struct mirror_state m;
    rag_status st = {.size = sizeof st};
    rag_err err = store_count(s->store, &c);
    if (!err)
        err = store_vector_count(s->store, s->active.id, &st.vectors_kept);
    if (!err)
        err = session_mirror(s);
    if (err)
        return err;
    mirror_state(s->mirror, &m);
    st.files = c.files;
    st.documents = c.documents;
    st.chunks = c.chunks;
    st.text_bytes = c.text_bytes;
    st.database_bytes = file_bytes(s->dir, "store.db") + file_bytes(s->dir, "store.db-wal");
    st.dims = s->active.dims;
    st.indexed = m.filed;
    st.pending = m.pending;
    st.gone = m.gone;
    st.index_bytes = m.file_bytes;
    st.index_exact = !m.graph;
    st.effort = session_effort(s);
    snprintf(st.embedder, sizeof st.embedder, "%s", s->active.uri);
    snprintf(st.lang, sizeof st.lang, "%s", store_lang(s->store));
    snprintf(st.uuid, sizeof st.uuid, "%s", store_uuid(s->store));
    snprintf(st.index_lost, sizeof st.index_lost, "%s", m.lost);
    const size_t room = out->size < sizeof st ? out->size : sizeof st;
    st.size = out->size;
    memcpy(out, &st, room);
    return RAG_OK;
}

rag_err rag_list_embedders(rag_store *s, int (*each)(void *arg, const rag_embedder_info *e),
                           void *arg)
{
    int64_t *ids = NULL;
    size_t n = 0;
    rag_err err = store_embedders(s->store, &ids, &n);
    for (size_t i = 0; i < n && !err; i++) {
        struct store_embedder e = {0};
        char hex[2 * DIGEST_BYTES + 1];
        uint64_t kept = 0;
        err = store_embedder_get(s->store, ids[i], &e);
        if (!err)
            err = store_vector_count(s->store, ids[i], &kept);
        digest_hex(&e.fingerprint, DIGEST_BYTES, hex);
        const rag_embedder_info info = {.id = e.id,
                                        .uri = e.uri,
                                        .model = e.model,
                                        .revision = e.revision,
                                        .prefix_document = e.prefix_document,
                                        .prefix_query = e.prefix_query,
                                        .fingerprint = hex,
                                        .dims = e.dims,
                                        .active = e.id == s->active.id,
                                        .kept = !e.free_of_charge,
                                        .vectors = kept};
        if (!err && each(arg, &info))
            err = RAG_FAIL(RAG_ECANCELED, "the listing was stopped");
        store_embedder_free(&e);
    }
    mem_free(ids);
    return err;
}

/* ---- verify, repair, purge, backup ---- */

struct faults {
    rag_fault_fn fault;
    void *arg;
    uint64_t n, lasting;
};

static rag_err note_fault(void *arg, const struct store_fault *f)
{
    struct faults *all = arg;
    all->n++;
    all->lasting += !f->derived;
    return all->fault && all->fault(all->arg, f->what, f->derived)
               ? RAG_FAIL(RAG_ECANCELED, "the check was stopped")
               : RAG_OK;
}

/* Every chunk of an embedder whose vectors are kept must have one. */
static rag_err check_kept(rag_store *s, struct faults *all)
{
    int64_t *ids = NULL;
    size_t n = 0;
    rag_err err =
        s->active.free_of_charge ? RAG_OK : store_chunk_ids(s->store, 0, SIZE_MAX, &ids, &n);
    float *vec = mem_alloc(s->active.dims * sizeof *vec);
    if (!err && !vec)
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for a vector");
    for (size_t i = 0; i < n && !err; i++) {
        struct store_chunk c = {0};
        err = store_chunk_get(s->store, ids[i], &c);
        rag_err found =
            err ? err : store_vector(s->store, s->active.id, &c.sha256, s->active.dims, vec);
        if (!err && (found == RAG_ENOENT || found == RAG_EDAMAGED)) {
            struct store_fault f = {.derived = true};
            snprintf(f.what, sizeof f.what, "vector of chunk %lld: %.200s", (long long)ids[i],
                     rag_error_message());
            err = note_fault(all, &f);
        } else if (!err) {
            err = found;
        }
        store_chunk_free(&c);
    }
    mem_free(vec);
    mem_free(ids);
    return err;
}

rag_err rag_verify(rag_store *s, size_t sample, rag_fault_fn fault, void *arg)
{
    struct faults all = {fault, arg, 0, 0};
    rag_err err = session_step(s, "database", 0, 0);
    if (!err)
        err = store_check(s->store, true, note_fault, &all);
    if (!err)
        err = check_kept(s, &all);
    if (!err)
        err = session_step(s, "index", 0, 0);
    if (!err)
        err = session_mirror(s);
    if (!err)
        err = mirror_check(s->mirror, sample == SIZE_MAX ? VERIFY_SAMPLE : sample, note_fault,
                           &all);
    if (!err && all.n > 0)
        err = RAG_FAIL(RAG_EDAMAGED, "%s: %llu faults, %s", s->dir, (unsigned long long)all.n,
                       all.lasting ? "not all of which rag repair can mend"
                                   : "all of which rag repair mends");
    return err;
}

/* From the vectors; the old file serves until the new one is whole. */
static rag_err remake_index(rag_store *s)
{
    struct mirror *m = NULL;
    rag_err err = session_activate(s, s->active.id); /* as it is now; its mirror is closed */
    if (!err && s->active.free_of_charge)
        err = session_embedder(s);
    if (!err)
        err = session_mirror_of(s, &s->active, s->embedder, true, &m);
    if (!err)
        err = mirror_save(m, true);
    mirror_close(m);
    return err ? err : session_activate(s, s->active.id);
}

static rag_err embed_missing(rag_store *s, struct embedder *e, const struct store_embedder *of);

rag_err rag_repair(rag_store *s)
{
    if (!s->writes)
        return RAG_FAIL(RAG_EINVAL, "%s is open for reading only", s->dir);
    rag_err err = session_step(s, "words", 0, 0);
    if (!err)
        err = store_words_rebuild(s->store);
    if (!err && !s->active.free_of_charge && strncmp(s->active.uri, "brought:", 8) != 0) {
        err = session_embedder(s);
        if (!err)
            err = embed_missing(s, s->embedder, &s->active);
    }
    return err ? err : remake_index(s);
}

rag_err rag_purge(rag_store *s, uint64_t *vectors)
{
    uint64_t removed = 0;
    rag_err err = s->writes ? store_begin(s->store)
                            : RAG_FAIL(RAG_EINVAL, "%s is open for reading only", s->dir);
    if (err)
        return err;
    err = store_vectors_purge(s->store, &removed);
    if (err) {
        store_rollback(s->store);
        return err;
    }
    err = store_commit(s->store);
    if (!err)
        err = store_vacuum(s->store);
    if (!err)
        err = remake_index(s);
    if (!err && vectors)
        *vectors = removed;
    return err;
}

static int backup_step(void *arg, uint64_t done, uint64_t total)
{
    return session_step(arg, "copying", done, total) != RAG_OK;
}

/* The copy's own index, from its own vectors. */
static rag_err index_copy(rag_store *s, const char *dir)
{
    rag_options o = s->o;
    rag_store *copy = NULL;
    o.size = sizeof o;
    o.access = RAG_WRITE;
    o.embedder = NULL;
    rag_err err = rag_open(dir, &o, &copy);
    if (!err)
        err = session_mirror(copy);
    if (!err)
        err = mirror_save(copy->mirror, true);
    rag_close(copy);
    return err;
}

rag_err rag_backup(rag_store *s, const char *dir)
{
    char path[4096];
    if (mkdir(dir, 0700) != 0)
        return RAG_FAIL(errno == EEXIST ? RAG_EEXIST : RAG_EIO, "%s: %s", dir, strerror(errno));
    snprintf(path, sizeof path, "%s/store.db", dir);
    rag_err err = store_backup(s->store, path, backup_step, s);
    if (err) {
        unlink(path);
        rmdir(dir);
    }
    return err ? err : index_copy(s, dir);
}

/* ---- reindex ---- */

struct batch {
    rag_store *s;
    const struct store_embedder *of;
    char *texts[REINDEX_BATCH];
    struct digest keys[REINDEX_BATCH];
    size_t n;
};

static rag_err keep_batch(void *arg, size_t first, size_t n, size_t dims, const float *vectors)
{
    struct batch *b = arg;
    if (dims != b->of->dims)
        return RAG_FAIL(RAG_EMISMATCH, "%s gives %zu dimensions instead of %u", b->of->uri,
                        dims, b->of->dims);
    rag_err err = store_begin(b->s->store);
    for (size_t i = 0; i < n && !err; i++)
        err = store_vector_put(b->s->store, b->of->id, &b->keys[first + i], dims,
                               vectors + i * dims);
    if (!err)
        return store_commit(b->s->store);
    store_rollback(b->s->store);
    return err;
}

static rag_err send_batch(struct batch *b, struct embedder *e)
{
    rag_err each[REINDEX_BATCH] = {0};
    rag_err err = b->n ? embed_texts(e, EMBED_DOCUMENT, (const char *const *)b->texts, b->n,
                                     each, keep_batch, b)
                       : RAG_OK;
    for (size_t i = 0; i < b->n; i++) {
        err = err ? err : each[i];
        mem_free(b->texts[i]);
    }
    b->n = 0;
    return err;
}

/* Makes and keeps the vectors that chunks lack. */
static rag_err embed_missing(rag_store *s, struct embedder *e, const struct store_embedder *of)
{
    struct batch *b = mem_zalloc(1, sizeof *b);
    int64_t *ids = NULL;
    size_t n = 0;
    rag_err err = b ? store_chunk_ids(s->store, 0, SIZE_MAX, &ids, &n)
                    : RAG_FAIL(RAG_ENOMEM, "out of memory for a batch");
    if (b)
        *b = (struct batch){.s = s, .of = of};
    for (size_t i = 0; i < n && !err; i++) {
        struct digest key;
        char *text = NULL;
        size_t bytes = 0;
        err = store_chunk_view(s->store, ids[i], &text, &bytes, &key);
        if (!err && !store_has_vector(s->store, of->id, &key)) {
            b->texts[b->n] = text;
            b->keys[b->n++] = key;
        } else {
            mem_free(text);
        }
        if (!err && b->n == REINDEX_BATCH)
            err = send_batch(b, e);
        if (!err && i % REINDEX_BATCH == 0)
            err = session_step(s, "embedding", i, n);
    }
    if (!err)
        err = send_batch(b, e);
    for (size_t i = 0; b && i < b->n; i++)
        mem_free(b->texts[i]);
    mem_free(b);
    mem_free(ids);
    return err;
}

static void remove_index_files(const rag_store *s, const struct store_embedder *e)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/index-%lld-%lld.kith", s->dir, (long long)e->id,
             (long long)e->generation);
    unlink(path);
}

/* The index of the new one is whole before the switch: a search sees the old or the new. */
static rag_err switch_to(rag_store *s, struct embedder *e, struct store_embedder *to,
                         bool drop_old)
{
    char text[32];
    struct mirror *m = NULL;
    struct store_embedder old = {0};
    rag_err err = session_mirror_of(s, to, e, true, &m);
    if (!err)
        err = mirror_save(m, true);
    mirror_close(m);
    if (!err)
        err = store_embedder_get(s->store, s->active.id, &old);
    if (!err)
        err = store_begin(s->store);
    if (err)
        return err;
    const bool other = old.id != to->id;
    snprintf(text, sizeof text, "%lld", (long long)to->id);
    err = store_set(s->store, "embedder", text);
    if (!err && drop_old && other)
        err = store_embedder_remove(s->store, old.id);
    if (err)
        store_rollback(s->store);
    else
        err = store_commit(s->store);
    if (!err && drop_old && other)
        remove_index_files(s, &old);
    store_embedder_free(&old);
    return err ? err : session_activate(s, to->id);
}

rag_err rag_reindex(rag_store *s, const char *uri, int drop_old)
{
    struct embedder *e = NULL;
    struct store_embedder to = {0};
    if (!s->writes)
        return RAG_FAIL(RAG_EINVAL, "%s is open for reading only", s->dir);
    if (!uri)
        return remake_index(s);
    if (strncmp(uri, "brought:", 8) == 0)
        return RAG_FAIL(RAG_ENOTSUP, "vectors of %s come with their texts: make a new store",
                        uri);
    rag_err err = session_open_embedder(s, uri, &e);
    if (!err)
        err = session_adopt(s, e, &to);
    if (!err && !to.free_of_charge)
        err = embed_missing(s, e, &to);
    if (!err)
        err = switch_to(s, e, &to, drop_old != 0);
    store_embedder_free(&to);
    embed_close(e);
    return err;
}
