/* mirror.c - the index file of one embedder.  See mirror.h.
 *
 * Place: rag/store.  Up to FLAT_BYTES of vectors the index is exact: at that size a scan costs
 * less than a graph's start, and adding is free.  Above it, a graph.  A file is replaced by one
 * with the next generation's name, and the database says which is meant: a crash leaves a file
 * that nobody means, which the next writer removes. */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ann/base/blas.h"
#include "ann/base/memory.h"
#include "rag/error.h"
#include "rag/store/mirror.h"

#define FLAT_BYTES ((uint64_t)256 << 20) /* of vectors as f16 */
#define LAG_LEAST  500                   /* changes that are not worth a new file */
#define LAG_SHARE  20                    /* nor is one in so many, */
#define LAG_MOST   2000                  /* up to as many */
#define BATCH      256                   /* vectors fetched at a time */

struct range {
    int64_t first, last;
};

struct mirror {
    struct mirror_opening how;
    uint32_t dims;
    ann_index *filed; /* mapped; NULL: none */
    ann_index *fresh; /* what was added since; NULL: nothing yet */
    int64_t applied;  /* last change that `filed` has seen */
    int64_t seen;     /* last change that is in `pending`, `fresh` and `gone` */
    int64_t generation;
    int64_t *pending; /* [npending] chunks to be put into `fresh` before a search */
    size_t npending, pending_room;
    struct range *gone; /* [ngone] removed since */
    size_t ngone, gone_room;
    uint64_t file_bytes;
    char lost[256];
};

/* ---- names and small things ---- */

static void file_name(const struct mirror *m, int64_t generation, char *out, size_t room)
{
    snprintf(out, room, "%s/index-%lld-%lld.kith", store_dir(m->how.store),
             (long long)m->how.of->id, (long long)generation);
}

static int at(const struct mirror *m, const char *what, uint64_t done, uint64_t total)
{
    return m->how.progress ? m->how.progress(m->how.arg, what, done, total) : 0;
}

static rag_err stopped(void)
{
    return RAG_FAIL(RAG_ECANCELED, "stopped; what was committed stays");
}

static rag_err list_add(int64_t **list, size_t *n, size_t *room, int64_t id)
{
    if (*n == *room) {
        const size_t more = *room ? 2 * *room : 64;
        int64_t *grown = mem_resize(*list, more * sizeof *grown);
        if (!grown)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu ids", more);
        *list = grown;
        *room = more;
    }
    (*list)[(*n)++] = id;
    return RAG_OK;
}

static bool is_gone(const struct mirror *m, int64_t id)
{
    for (size_t i = 0; i < m->ngone; i++)
        if (id >= m->gone[i].first && id <= m->gone[i].last)
            return true;
    return false;
}

static rag_err add_gone(struct mirror *m, int64_t first, int64_t last)
{
    if (m->ngone == m->gone_room) {
        const size_t room = m->gone_room ? 2 * m->gone_room : 16;
        struct range *more = mem_resize(m->gone, room * sizeof *more);
        if (!more)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu ranges", room);
        m->gone = more;
        m->gone_room = room;
    }
    m->gone[m->ngone++] = (struct range){first, last};
    return RAG_OK;
}

static rag_err make_index(const struct mirror *m, bool graph, ann_index **out)
{
    ann_options o = ANN_OPTIONS_INIT;
    o.dim = m->dims;
    o.metric = ANN_COSINE;
    o.store = ANN_F16;
    o.kind = graph ? ANN_HNSW : ANN_FLAT;
    return rag_from_ann(ann_create(&o, out), "index");
}

static uint64_t count_of(const ann_index *ix)
{
    ann_info info = {.size = ANN_INFO_SIZE};
    return ix && ann_index_info(ix, &info) == ANN_OK ? info.count : 0;
}

/* ---- opening ---- */

/* NULL and m->lost says why, where the file is not the one meant. */
static ann_index *open_file(struct mirror *m)
{
    const struct store_embedder *of = m->how.of;
    char path[4096];
    file_name(m, of->generation, path, sizeof path);
    ann_file_info f = {.size = sizeof f};
    ann_open_options o = ANN_OPEN_OPTIONS_INIT;
    o.mode = ANN_OPEN_MAP;
    ann_index *ix = NULL;
    if (ann_file_info_read(path, &f) != ANN_OK)
        snprintf(m->lost, sizeof m->lost, "%.240s", ann_error_message());
    else if (f.dim != m->dims || f.metric != ANN_COSINE)
        snprintf(m->lost, sizeof m->lost, "it has %u dimensions instead of %u", f.dim, m->dims);
    else if (f.identity[0] != of->identity[0] || f.identity[1] != of->identity[1])
        snprintf(m->lost, sizeof m->lost, "it is another file than the store wrote");
    else if (ann_open(path, &o, &ix) != ANN_OK)
        snprintf(m->lost, sizeof m->lost, "%.240s", ann_error_message());
    m->file_bytes = ix ? f.file_bytes : 0;
    return ix;
}

static rag_err add_live(struct mirror *m, int64_t first, int64_t last)
{
    rag_err err = RAG_OK;
    for (int64_t after = first - 1; !err && after < last;) {
        int64_t *ids = NULL;
        size_t n = 0;
        const int64_t most = last - after;
        err =
            store_chunk_ids(m->how.store, after, most < 65536 ? (size_t)most : 65536, &ids, &n);
        for (size_t i = 0; i < n && !err && ids[i] <= last; i++)
            if (!m->fresh || !ann_contains(m->fresh, (ann_id)ids[i]))
                err = list_add(&m->pending, &m->npending, &m->pending_room, ids[i]);
        after = n ? ids[n - 1] : last;
        mem_free(ids);
    }
    return err;
}

/* Chunks first..last are gone, wherever they are. */
static rag_err forget(struct mirror *m, int64_t first, int64_t last)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->npending; i++)
        if (m->pending[i] < first || m->pending[i] > last)
            m->pending[kept++] = m->pending[i];
    m->npending = kept;
    rag_err err = add_gone(m, first, last);
    for (int64_t id = first; m->fresh && id <= last && !err; id++)
        err = rag_from_ann(ann_remove(m->fresh, 1, (const ann_id *)&id, NULL), "index");
    return err;
}

static rag_err take_change(void *arg, int64_t seq, enum store_op op, int64_t first,
                           int64_t last)
{
    struct mirror *m = arg;
    m->seen = seq;
    return op == STORE_REMOVED ? forget(m, first, last) : add_live(m, first, last);
}

/* What was committed since the mirror looked last. */
static rag_err look_again(struct mirror *m)
{
    return store_changes(m->how.store, m->seen, take_change, m);
}

/* Removes files of other generations, which a crash has left. */
static void remove_strays(const struct mirror *m)
{
    char begin[64], keep[64];
    const char *dir = store_dir(m->how.store);
    snprintf(begin, sizeof begin, "index-%lld-", (long long)m->how.of->id);
    snprintf(keep, sizeof keep, "index-%lld-%lld.kith", (long long)m->how.of->id,
             (long long)m->generation);
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        char path[4096];
        const int n = snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (strncmp(e->d_name, begin, strlen(begin)) == 0 && strcmp(e->d_name, keep) != 0 &&
            n < (int)sizeof path)
            unlink(path);
    }
    if (d)
        closedir(d);
}

rag_err mirror_open(const struct mirror_opening *how, struct mirror **out)
{
    struct mirror *m = mem_zalloc(1, sizeof *m);
    if (!m)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for an index");
    m->how = *how;
    m->dims = how->of->dims;
    m->generation = how->of->generation;
    m->filed = m->generation && !how->anew ? open_file(m) : NULL;
    m->applied = m->filed ? how->of->applied : 0;
    m->seen = m->applied;
    struct store_counts c = {0};
    rag_err err = m->filed ? RAG_OK : store_last(how->store, &c);
    if (!err && !m->filed) {
        m->seen = c.last_change;
        err = add_live(m, 1, c.last_chunk);
    }
    if (!err)
        err = look_again(m);
    if (!err && how->write)
        remove_strays(m);
    if (err) {
        mirror_close(m);
        return err;
    }
    *out = m;
    return RAG_OK;
}

void mirror_close(struct mirror *m)
{
    if (!m)
        return;
    ann_close(m->filed);
    ann_close(m->fresh);
    mem_free(m->pending);
    mem_free(m->gone);
    mem_free(m);
}

void mirror_state(const struct mirror *m, struct mirror_state *st)
{
    ann_info info = {.size = ANN_INFO_SIZE};
    *st = (struct mirror_state){.pending = m->npending + count_of(m->fresh),
                                .file_bytes = m->file_bytes};
    if (m->filed && ann_index_info(m->filed, &info) == ANN_OK) {
        st->filed = info.count;
        st->graph = info.kind == ANN_HNSW;
    }
    for (size_t i = 0; i < m->ngone; i++)
        st->gone += (uint64_t)(m->gone[i].last - m->gone[i].first + 1);
    memcpy(st->lost, m->lost, sizeof st->lost);
}

/* ---- vectors of chunks ---- */

/* The document read last: chunks come in its order. */
struct fetching {
    struct mirror *m;
    struct store_document d;
    char *texts[BATCH];
    float *out;
    size_t dims;
};

static rag_err put_vectors(void *arg, size_t first, size_t n, size_t dims, const float *vectors)
{
    struct fetching *f = arg;
    if (dims != f->dims)
        return RAG_FAIL(RAG_EMISMATCH, "the embedder gives %zu dimensions, the store has %zu",
                        dims, f->dims);
    memcpy(f->out + first * dims, vectors, n * dims * sizeof *vectors);
    return RAG_OK;
}

static rag_err fetch_text(struct fetching *f, const struct store_chunk *c, char **out)
{
    rag_err err = RAG_OK;
    if (f->d.id != c->document) {
        store_document_free(&f->d);
        err = store_document_get(f->m->how.store, c->document, true, &f->d);
    }
    size_t n = 0;
    return err ? err : store_view(c, f->d.text, f->d.bytes, out, &n);
}

/* Vectors of chunks [n <= BATCH] into f->out: from the cache, else from their texts. */
static rag_err fetch(struct fetching *f, const int64_t *ids, size_t n)
{
    const struct store_embedder *of = f->m->how.of;
    rag_err err = RAG_OK, each[BATCH];
    size_t ntexts = 0;
    for (size_t i = 0; i < n && !err; i++) {
        struct store_chunk c = {0};
        err = store_chunk_get(f->m->how.store, ids[i], &c);
        if (!err && of->free_of_charge) {
            err = fetch_text(f, &c, &f->texts[i]);
            ntexts += !err;
        } else if (!err) {
            err =
                store_vector(f->m->how.store, of->id, &c.sha256, f->dims, f->out + i * f->dims);
        }
        store_chunk_free(&c);
    }
    if (!err && of->free_of_charge && !f->m->how.embedder)
        err = RAG_FAIL(RAG_EINVAL,
                       "vectors of %s are not kept, and it is not there to make them", of->uri);
    if (!err && of->free_of_charge)
        err = embed_texts(f->m->how.embedder, EMBED_DOCUMENT, (const char *const *)f->texts, n,
                          each, put_vectors, f);
    for (size_t i = 0; i < ntexts; i++)
        mem_free(f->texts[i]);
    return err;
}

/* Puts every pending chunk into m->fresh. */
static rag_err catch_up(struct mirror *m)
{
    if (m->npending == 0)
        return RAG_OK;
    struct fetching f = {.m = m, .dims = m->dims};
    f.out = mem_alloc(BATCH * m->dims * sizeof *f.out);
    rag_err err = f.out ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for vectors");
    if (!err && !m->fresh)
        err = make_index(m, false, &m->fresh);
    size_t done = 0;
    while (!err && done < m->npending) {
        const size_t n = m->npending - done < BATCH ? m->npending - done : BATCH;
        err = fetch(&f, m->pending + done, n);
        if (!err)
            err = rag_from_ann(ann_add(m->fresh, (ann_view){f.out, n, 0, ANN_F32},
                                       (const ann_id *)(m->pending + done)),
                               "index");
        done += err ? 0 : n;
        if (!err && at(m, "vectors", done, m->npending))
            err = stopped();
    }
    memmove(m->pending, m->pending + done, (m->npending - done) * sizeof *m->pending);
    m->npending -= done;
    store_document_free(&f.d);
    mem_free(f.out);
    return err;
}

rag_err mirror_add(struct mirror *m, size_t n, const int64_t *ids, const float *vectors)
{
    if (n == 0)
        return RAG_OK;
    rag_err err = m->fresh ? RAG_OK : make_index(m, false, &m->fresh);
    return err ? err
               : rag_from_ann(
                     ann_add(m->fresh, (ann_view){vectors, n, 0, ANN_F32}, (const ann_id *)ids),
                     "index");
}

rag_err mirror_vector(struct mirror *m, int64_t chunk, float *vec)
{
    rag_err err = look_again(m);
    if (!err && m->filed && !is_gone(m, chunk) &&
        ann_get(m->filed, (ann_id)chunk, vec) == ANN_OK)
        return RAG_OK;
    if (!err)
        err = catch_up(m);
    if (!err && m->fresh && ann_get(m->fresh, (ann_id)chunk, vec) == ANN_OK)
        return RAG_OK;
    return err ? err : RAG_FAIL(RAG_ENOENT, "no vector of chunk %lld", (long long)chunk);
}

/* ---- search ---- */

/* One of the two indexes; a filter of what is in it. */
static rag_err search_one(const struct mirror *m, const ann_index *ix, const float *query,
                          size_t k, const int64_t *allowed, size_t nallowed, ann_id *ids,
                          float *dists)
{
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_filter *filter = NULL;
    rag_err err = RAG_OK;
    if (allowed)
        err = rag_from_ann(ann_filter_from_ids(ix, nallowed, (const ann_id *)allowed, &filter),
                           "index");
    p.k = k;
    p.filter = filter;
    p.effort = m->how.effort;
    if (!err)
        err = rag_from_ann(
            ann_search(ix, (ann_view){query, 1, m->dims, ANN_F32}, &p, ids, dists), "index");
    ann_filter_close(filter);
    return err;
}

/* Merges what was found, ascending by distance, into hits [k], without what is gone. */
static size_t merge(const struct mirror *m, const ann_id *ids, const float *dists, size_t n,
                    bool filed, struct store_hit *hits, size_t found, size_t k)
{
    for (size_t i = 0; i < n && ids[i] != ANN_NO_ID; i++) {
        const double score = 1.0 - (double)dists[i];
        if (filed && is_gone(m, (int64_t)ids[i]))
            continue;
        size_t to = found;
        while (to > 0 && (hits[to - 1].score < score || (hits[to - 1].score == score &&
                                                         hits[to - 1].chunk > (int64_t)ids[i])))
            to--;
        if (to >= k)
            continue;
        const size_t moved = (found < k ? found : k - 1) - to;
        memmove(hits + to + 1, hits + to, moved * sizeof *hits);
        hits[to] = (struct store_hit){(int64_t)ids[i], score};
        found += found < k;
    }
    return found;
}

static int by_id(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Every vector of a graph, for who asked for exactness. */
static rag_err scan(const struct mirror *m, const float *query, const int64_t *allowed,
                    size_t nallowed, struct store_hit *hits, size_t *found, size_t k)
{
    ann_id ids[BATCH];
    float *vec = mem_alloc(m->dims * sizeof *vec);
    uint64_t cursor = 0;
    double norm = 0;
    rag_err err = vec ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for a vector");
    for (size_t d = 0; d < m->dims; d++)
        norm += (double)query[d] * query[d];
    for (size_t got = 1; !err && got > 0;) {
        err = rag_from_ann(ann_ids(m->filed, &cursor, BATCH, ids, &got), "index");
        for (size_t i = 0; i < got && !err; i++) {
            if (allowed && !bsearch(&ids[i], allowed, nallowed, sizeof *allowed, by_id))
                continue;
            double dot = 0;
            err = rag_from_ann(ann_get(m->filed, ids[i], vec), "index");
            for (size_t d = 0; d < m->dims && !err; d++)
                dot += (double)query[d] * vec[d];
            const float dist = (float)(1 - dot / sqrt(norm));
            if (!err)
                *found = merge(m, &ids[i], &dist, 1, true, hits, *found, k);
        }
    }
    mem_free(vec);
    return err;
}

rag_err mirror_search(struct mirror *m, const float *query, size_t k, const int64_t *allowed,
                      size_t nallowed, bool exact, struct store_hit *hits, size_t *n)
{
    rag_err err = look_again(m);
    if (!err)
        err = catch_up(m);
    struct mirror_state st;
    mirror_state(m, &st);
    /* Removed ones may stand before the wanted ones: as many more are asked for. */
    size_t ask = k + (st.gone < st.filed ? st.gone : st.filed), found = 0;
    ask = ask < ANN_K_MAX ? ask : ANN_K_MAX;
    ann_id *ids = mem_alloc(ask * sizeof *ids);
    float *dists = mem_alloc(ask * sizeof *dists);
    if (!err && (!ids || !dists))
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for %zu hits", ask);
    if (!err && m->filed && st.graph && exact) {
        err = scan(m, query, allowed, nallowed, hits, &found, k);
    } else if (!err && m->filed && st.filed > 0) {
        err = search_one(m, m->filed, query, ask, allowed, nallowed, ids, dists);
        if (!err)
            found = merge(m, ids, dists, ask, true, hits, found, k);
    }
    if (!err && m->fresh && count_of(m->fresh) > 0) {
        err = search_one(m, m->fresh, query, k, allowed, nallowed, ids, dists);
        if (!err)
            found = merge(m, ids, dists, k, false, hits, found, k);
    }
    mem_free(ids);
    mem_free(dists);
    if (!err)
        *n = found;
    return err;
}

/* ---- ground truth ---- */

void mirror_set_effort(struct mirror *m, size_t effort)
{
    m->how.effort = effort;
}

/* Puts score into best [k], descending. */
static void keep_best(float *best, size_t k, float score)
{
    size_t to = k;
    if (!(score > best[k - 1]))
        return;
    for (to = k - 1; to > 0 && score > best[to - 1]; to--)
        best[to] = best[to - 1];
    best[to] = score;
}

struct truth {
    const float *queries; /* [nq, dims] */
    size_t nq, k;
    const int64_t *skip;
    float *scores;           /* [nq, k] */
    float *block, *products; /* [BATCH, dims], [nq, BATCH] */
};

static rag_err truth_of(struct mirror *m, const ann_index *ix, bool filed, struct truth *t)
{
    ann_id ids[BATCH], live[BATCH];
    uint64_t cursor = 0, done = 0;
    const uint64_t total = count_of(ix);
    rag_err err = RAG_OK;
    for (size_t got = total > 0; !err && got > 0;) {
        size_t n = 0;
        err = rag_from_ann(ann_ids(ix, &cursor, BATCH, ids, &got), "index");
        for (size_t i = 0; i < got && !err; i++) {
            if (filed && is_gone(m, (int64_t)ids[i]))
                continue;
            err = rag_from_ann(ann_get(ix, ids[i], t->block + n * m->dims), "index");
            live[n++] = ids[i];
        }
        if (err || n == 0)
            continue;
        blas_gemm_nt(t->queries, t->nq, m->dims, t->block, n, m->dims, m->dims, t->products,
                     BATCH);
        for (size_t q = 0; q < t->nq; q++)
            for (size_t i = 0; i < n; i++)
                if (!t->skip || t->skip[q] != (int64_t)live[i])
                    keep_best(t->scores + q * t->k, t->k, t->products[q * BATCH + i]);
        done += got;
        if (at(m, "exact search", done < total ? done : total, total))
            err = stopped();
    }
    return err;
}

rag_err mirror_truth(struct mirror *m, const float *queries, size_t nq, size_t k,
                     const int64_t *skip, float *scores)
{
    struct truth t = {queries, nq, k, skip, scores, NULL, NULL};
    rag_err err = look_again(m);
    if (!err)
        err = catch_up(m);
    t.block = mem_alloc(BATCH * m->dims * sizeof *t.block);
    t.products = mem_alloc((nq ? nq : 1) * BATCH * sizeof *t.products);
    if (!err && (!t.block || !t.products))
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for %zu queries", nq);
    for (size_t i = 0; i < nq * k; i++)
        scores[i] = -INFINITY;
    if (!err && m->filed)
        err = truth_of(m, m->filed, true, &t);
    if (!err && m->fresh)
        err = truth_of(m, m->fresh, false, &t);
    mem_free(t.block);
    mem_free(t.products);
    return err;
}

/* ---- saving ---- */

/* Adds the vectors of `from` but for those that are gone to `to`. */
static rag_err copy_vectors(struct mirror *m, const ann_index *from, bool filed, ann_index *to)
{
    ann_id ids[BATCH];
    float *vectors = mem_alloc(BATCH * m->dims * sizeof *vectors);
    rag_err err = vectors ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for vectors");
    uint64_t cursor = 0, done = 0;
    const uint64_t total = count_of(from);
    for (size_t got = 1; !err && got > 0;) {
        size_t n = 0;
        err = rag_from_ann(ann_ids(from, &cursor, BATCH, ids, &got), "index");
        for (size_t i = 0; i < got && !err; i++) {
            if (filed && is_gone(m, (int64_t)ids[i]))
                continue;
            err = rag_from_ann(ann_get(from, ids[i], vectors + n * m->dims), "index");
            ids[n++] = ids[i];
        }
        if (!err && n > 0)
            err = rag_from_ann(ann_add(to, (ann_view){vectors, n, 0, ANN_F32}, ids), "index");
        done += got;
        if (!err && at(m, "index", done < total ? done : total, total))
            err = stopped();
    }
    mem_free(vectors);
    return err;
}

static rag_err remove_gone(struct mirror *m)
{
    rag_err err = RAG_OK;
    for (size_t i = 0; i < m->ngone && !err; i++)
        for (int64_t id = m->gone[i].first; id <= m->gone[i].last && !err; id++)
            err = rag_from_ann(ann_remove(m->filed, 1, (const ann_id *)&id, NULL), "index");
    return err ? err : rag_from_ann(ann_compact(m->filed), "index");
}

/* *whole: the index that holds all live chunks, one of the mirror's own or a new one. */
static rag_err unite(struct mirror *m, ann_index **whole)
{
    const uint64_t total = count_of(m->filed) + count_of(m->fresh);
    const uint64_t flat = m->how.flat_bytes ? m->how.flat_bytes : FLAT_BYTES;
    const bool graph = total * m->dims * 2 > flat;
    ann_info info = {.size = ANN_INFO_SIZE};
    if (!m->filed && !graph) {
        *whole = m->fresh;
        return RAG_OK;
    }
    rag_err err = m->filed ? rag_from_ann(ann_index_info(m->filed, &info), "index") : RAG_OK;
    if (!err && m->filed && (info.kind == ANN_HNSW) == graph) {
        err = remove_gone(m);
        if (!err && m->fresh)
            err = copy_vectors(m, m->fresh, false, m->filed);
        *whole = m->filed;
        return err;
    }
    ann_index *made = NULL;
    if (!err)
        err = make_index(m, graph, &made);
    if (!err && m->filed)
        err = copy_vectors(m, m->filed, true, made);
    if (!err && m->fresh)
        err = copy_vectors(m, m->fresh, false, made);
    if (err)
        ann_close(made);
    else
        *whole = made;
    return err;
}

/* The new file's name goes into the database, then the old file goes. */
static rag_err adopt(struct mirror *m, const char *path, int64_t last)
{
    ann_file_info f = {.size = sizeof f};
    char old[4096];
    file_name(m, m->generation, old, sizeof old);
    rag_err err = rag_from_ann(ann_file_info_read(path, &f), "index");
    if (!err)
        err = store_begin(m->how.store);
    if (err)
        return err;
    err = store_embedder_applied(m->how.store, m->how.of->id, last, m->generation + 1,
                                 f.identity);
    if (!err)
        err = store_changes_prune(m->how.store);
    if (err) {
        store_rollback(m->how.store);
        return err;
    }
    err = store_commit(m->how.store);
    if (!err && m->generation > 0)
        unlink(old);
    if (!err) {
        m->generation++;
        m->applied = last;
        m->file_bytes = f.file_bytes;
        m->ngone = 0;
        m->lost[0] = '\0';
    }
    return err;
}

static bool worth_it(const struct mirror *m, const struct store_counts *c)
{
    struct mirror_state st;
    mirror_state(m, &st);
    const uint64_t changed = st.pending + st.gone, share = st.filed / LAG_SHARE;
    const uint64_t much = share < LAG_MOST ? share : LAG_MOST;
    return c->last_change > m->applied && (changed > LAG_LEAST || !m->filed) && changed > much;
}

rag_err mirror_save(struct mirror *m, bool always)
{
    struct store_counts c = {0};
    rag_err err = look_again(m);
    if (!err)
        err = store_last(m->how.store, &c);
    if (err || (!always && !worth_it(m, &c)))
        return err;
    err = catch_up(m);
    if (!err && !m->filed && !m->fresh)
        err = make_index(m, false, &m->fresh);
    ann_index *whole = NULL;
    if (!err)
        err = unite(m, &whole);
    char path[4096];
    file_name(m, m->generation + 1, path, sizeof path);
    if (!err && at(m, "saving", 0, 1))
        err = stopped();
    if (!err)
        err = rag_from_ann(ann_save(whole, path), path);
    if (!err)
        err = adopt(m, path, c.last_change);
    if (!err) { /* from here on it is the filed one */
        if (m->filed && m->filed != whole)
            ann_close(m->filed);
        if (m->fresh && m->fresh != whole)
            ann_close(m->fresh);
        m->filed = whole;
        m->fresh = NULL;
    } else if (whole && whole != m->filed && whole != m->fresh) {
        ann_close(whole);
    }
    return err;
}

/* ---- checks ---- */

static rag_err tell(store_fault_fn fault, void *arg, const char *what, int64_t chunk)
{
    struct store_fault f = {.derived = true};
    snprintf(f.what, sizeof f.what, "index: %s (chunk %lld)", what, (long long)chunk);
    return fault(arg, &f);
}

/* True if both point the same way, up to the rounding of f16 in each element. */
static bool same_vector(const float *filed, const float *truth, size_t dims)
{
    double norm = 0;
    for (size_t i = 0; i < dims; i++)
        norm += (double)truth[i] * truth[i];
    norm = sqrt(norm);
    for (size_t i = 0; i < dims; i++) {
        const double want = truth[i] / norm;
        if (fabs(filed[i] - want) > 0x1p-10 * fabs(want) + 0x1p-23)
            return false;
    }
    return true;
}

static rag_err check_vectors(struct mirror *m, const int64_t *ids, size_t n,
                             store_fault_fn fault, void *arg)
{
    struct fetching f = {.m = m, .dims = m->dims};
    float *filed = mem_alloc(m->dims * sizeof *filed);
    f.out = mem_alloc(BATCH * m->dims * sizeof *f.out);
    rag_err err = filed && f.out ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for vectors");
    for (size_t at_id = 0; at_id < n && !err; at_id += BATCH) {
        const size_t some = n - at_id < BATCH ? n - at_id : BATCH;
        err = fetch(&f, ids + at_id, some);
        for (size_t i = 0; i < some && !err; i++)
            if (ann_get(m->filed, (ann_id)ids[at_id + i], filed) == ANN_OK &&
                !same_vector(filed, f.out + i * m->dims, m->dims))
                err = tell(fault, arg, "its vector is not the store's", ids[at_id + i]);
        if (!err && at(m, "vectors", at_id + some, n))
            err = stopped();
    }
    store_document_free(&f.d);
    mem_free(f.out);
    mem_free(filed);
    return err;
}

static bool is_pending(const struct mirror *m, int64_t id)
{
    for (size_t i = 0; i < m->npending; i++)
        if (m->pending[i] == id)
            return true;
    return m->fresh && ann_contains(m->fresh, (ann_id)id);
}

rag_err mirror_check(struct mirror *m, size_t sample, store_fault_fn fault, void *arg)
{
    int64_t *ids = NULL;
    size_t n = 0, in = 0;
    struct mirror_state st;
    mirror_state(m, &st);
    if (m->lost[0]) {
        struct store_fault f = {.derived = true};
        snprintf(f.what, sizeof f.what, "index: %.240s", m->lost);
        return fault(arg, &f);
    }
    if (!m->filed)
        return RAG_OK;
    if (ann_check(m->filed, ANN_CHECK_STRUCTURE) != ANN_OK) {
        struct store_fault f = {.derived = true};
        snprintf(f.what, sizeof f.what, "index: %.240s", ann_error_message());
        return fault(arg, &f);
    }
    rag_err err = store_chunk_ids(m->how.store, 0, SIZE_MAX, &ids, &n);
    for (size_t i = 0; i < n && !err; i++) {
        if (ann_contains(m->filed, (ann_id)ids[i]))
            ids[in++] = ids[i];
        else if (!is_pending(m, ids[i]))
            err = tell(fault, arg, "a chunk is missing", ids[i]);
    }
    if (!err && in + st.gone < st.filed)
        err = tell(fault, arg, "it holds chunks that are gone", (int64_t)(st.filed - in));
    const size_t step = sample && in > sample ? in / sample : 1;
    size_t kept = 0;
    for (size_t i = 0; i < in; i += step)
        ids[kept++] = ids[i];
    if (!err)
        err = check_vectors(m, ids, kept, fault, arg);
    mem_free(ids);
    return err;
}
