/* grow.c - searches that do not know their k: range and iterator.
 *
 * Place: front door.  Both ask the kind for more and more until they have enough: four times as
 * many each time, so that all the work together is a third more than the last step's.  A flat
 * index gives exact answers, a graph as good ones as its effort allows; when as many are asked
 * for as there are, both look at every vector, so nothing is left out in the end. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/internal.h"

/* What a search that does not know its k has so far. */
struct growing {
    search_key *keys; /* [room] */
    size_t room, found;
    bool all;         /* keys are all there is */
};

/* Searches for k nearest with more effort than that; under the gate. */
static ann_err grow(const ann_index *ix, const struct query_params *p, ann_search_stats *stats,
                    struct scratch *s, size_t k, struct growing *g)
{
    struct kind_query q;
    ann_err err = query_make(ix, p, stats, &q);
    if (err)
        return err;
    const uint32_t most = kind_passing(&ix->vec, &q);
    q.k = k < most ? k : most;
    q.fine = 0;
    if (p->recall > 0)
        err = calibration_effort(&ix->calibration, p->recall, q.k ? q.k : 1, &q.effort,
                                 &q.fine);
    else
        q.effort = p->effort > 2 * q.k ? p->effort : 2 * q.k;
    if (err)
        return err;
    if (q.k > g->room) {
        search_key *more = mem_resize(g->keys, q.k * sizeof *more);
        if (!more)
            return ANN_FAIL(ANN_ENOMEM, "out of memory for %zu results", q.k);
        g->keys = more;
        g->room = q.k;
    }
    err = query_run(ix, p, &q, s, SLOT_NONE, g->keys, &g->found);
    g->all = !err && q.k == most;
    return err;
}

/* The metric's distance of a key: a radius is one, and comparing raw ones would round it. */
static float distance_at(const ann_index *ix, const struct growing *g, size_t i)
{
    return vectors_distance(&ix->vec, key_dist(g->keys[i]));
}

/* One range query: everything up to the radius, appended to out. */
static ann_err range_one(const ann_index *ix, const ann_view *view, size_t i, float radius,
                         const struct query_params *p, ann_search_stats *stats,
                         struct scratch *s, struct growing *g, ann_range_result *out,
                         size_t *room)
{
    ann_err err = scratch_reserve_query(s, &ix->vec);
    if (err)
        return err;
    vectors_query(&ix->vec, view, i, s->query.data);
    pthread_rwlock_rdlock(index_gate(ix));
    size_t k = p->effort, n = 0;
    do {
        err = grow(ix, p, stats, s, k, g);
        k *= 4;
    } while (!err && !g->all && g->found > 0 && distance_at(ix, g, g->found - 1) <= radius);
    while (!err && n < g->found && distance_at(ix, g, n) <= radius)
        n++;
    const size_t at = out->offsets[i], need = at + n;
    if (!err && need > *room) {
        const size_t want = need + need / 2;
        ann_id *ids = mem_resize(out->ids, want * sizeof *ids);
        out->ids = ids ? ids : out->ids;
        float *dists = ids ? mem_resize(out->dists, want * sizeof *dists) : NULL;
        out->dists = dists ? dists : out->dists;
        *room = dists ? want : *room;
        if (!dists)
            err = ANN_FAIL(ANN_ENOMEM, "out of memory for %zu results", want);
    }
    if (!err && n > 0)
        query_deliver(ix, g->keys, n, n, out->ids + at, out->dists + at);
    pthread_rwlock_unlock(index_gate(ix));
    out->offsets[i + 1] = need;
    return err;
}

ann_err ann_search_range(const ann_index *ix, ann_view view, float radius,
                         const ann_search_params *given, ann_range_result *out)
{
    struct query_params p;
    if (!ix || !out)
        return ANN_FAIL(ANN_EINVAL, "%s is NULL", ix ? "out" : "index");
    if (isnan(radius))
        return ANN_FAIL(ANN_EINVAL, "radius is NaN");
    ann_err err = query_params_read(ix, given, &p);
    if (!err)
        err = vectors_check(&ix->vec, &view, "query");
    if (err)
        return err;
    struct scratch *s = NULL;
    struct growing g = {0};
    ann_search_stats stats = {0};
    size_t room = 0;
    ann_range_result r = {.nq = view.n};
    r.offsets = mem_zalloc(view.n + 1, sizeof *r.offsets);
    if (!r.offsets)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %zu queries", view.n);
    err = scratch_borrow(ix, &s);
    for (size_t i = 0; i < view.n && !err; i++)
        err = range_one(ix, &view, i, radius, &p, &stats, s, &g, &r, &room);
    if (s)
        scratch_return(ix, s);
    mem_free(g.keys);
    if (err) {
        ann_range_free(&r);
        return err;
    }
    if (p.stats)
        query_add_stats(p.stats, &stats);
    *out = r;
    return ANN_OK;
}

void ann_range_free(ann_range_result *r)
{
    if (!r)
        return;
    mem_free(r->offsets);
    mem_free(r->ids);
    mem_free(r->dists);
    memset(r, 0, sizeof *r);
}

struct ann_iter {
    const ann_index *ix;
    struct query_params p;
    struct scratch *scratch;
    void *query;          /* [raw_bytes] */
    struct growing g;
    size_t at;            /* the next key of g to look at */
    size_t k;             /* asked of the last search */
    uint64_t *given;      /* bitmap of slots given so far */
    size_t given_words;
    uint32_t adds;        /* v->adds at the last search: what came later is not in g */
    uint64_t compactions;
};

ann_err ann_iter_open(const ann_index *ix, const void *query, ann_dtype dtype,
                      const ann_search_params *given, ann_iter **out)
{
    struct query_params p;
    if (!ix || !out)
        return ANN_FAIL(ANN_EINVAL, "%s is NULL", ix ? "out" : "index");
    const ann_view view = {query, 1, 0, dtype};
    ann_err err = query_params_read(ix, given, &p);
    if (!err)
        err = vectors_check(&ix->vec, &view, "query");
    if (err)
        return err;
    ann_iter *it = mem_zalloc(1, sizeof *it);
    if (!it)
        return ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", sizeof *it);
    it->ix = ix;
    it->p = p;
    it->query = mem_alloc(ix->vec.raw_bytes);
    if (!it->query)
        err = ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", ix->vec.raw_bytes);
    if (!err)
        err = scratch_borrow(ix, &it->scratch);
    if (err) {
        ann_iter_close(it);
        return err;
    }
    vectors_query(&ix->vec, &view, 0, it->query);
    pthread_rwlock_rdlock(index_gate(ix));
    it->compactions = ix->compactions;
    pthread_rwlock_unlock(index_gate(ix));
    *out = it;
    return ANN_OK;
}

/* Searches for more than was found so far; under the gate. */
static ann_err iter_more(ann_iter *it, size_t n)
{
    const ann_index *ix = it->ix;
    const size_t words = ((size_t)ix->vec.slots + 63) / 64;
    ann_search_stats stats = {0};
    if (words > it->given_words) {
        uint64_t *more = mem_resize(it->given, words * sizeof *more);
        if (!more)
            return ANN_FAIL(ANN_ENOMEM, "out of memory for %zu words", words);
        memset(more + it->given_words, 0, (words - it->given_words) * sizeof *more);
        it->given = more;
        it->given_words = words;
    }
    const size_t first = it->p.effort > 2 * n ? it->p.effort : 2 * n;
    it->k = it->k == 0 ? first : 4 * it->k;
    ann_err err = scratch_reserve(it->scratch, &ix->vec, 0, 0, 0);
    if (err)
        return err;
    memcpy(it->scratch->query.data, it->query, ix->vec.raw_bytes);
    err = grow(ix, &it->p, &stats, it->scratch, it->k, &it->g);
    it->at = 0;
    it->adds = ix->vec.adds;
    if (!err && it->p.stats)
        query_add_stats(it->p.stats, &stats);
    return err;
}

ann_err ann_iter_next(ann_iter *it, size_t n, ann_id *ids, float *dists, size_t *got)
{
    if (!it || !got || (n > 0 && !ids))
        return ANN_FAIL(ANN_EINVAL, "an argument is NULL");
    const ann_index *ix = it->ix;
    ann_err err = ANN_OK;
    size_t count = 0;
    pthread_rwlock_rdlock(index_gate(ix));
    if (it->compactions != ix->compactions)
        err = ANN_FAIL(ANN_ESTALE, "the iterator was opened before the index was compacted");
    while (!err && count < n) {
        if (it->at == it->g.found) {
            if (it->g.all)
                break;
            err = iter_more(it, n);
            continue;
        }
        const search_key key = it->g.keys[it->at++];
        const uint32_t slot = key_slot(key);
        uint64_t *word = &it->given[slot >> 6];
        const uint64_t bit = UINT64_C(1) << (slot & 63);
        const uint32_t *born = ix->vec.born.data; /* a slot used again holds another vector */
        if ((*word & bit) || !vectors_is_live(&ix->vec, slot) ||
            (ix->vec.born.bytes > 0 && born[slot] > it->adds))
            continue;
        *word |= bit;
        query_deliver(ix, &key, 1, 1, ids + count, dists ? dists + count : NULL);
        count++;
    }
    pthread_rwlock_unlock(index_gate(ix));
    if (!err)
        *got = count;
    return err;
}

void ann_iter_close(ann_iter *it)
{
    if (!it)
        return;
    if (it->scratch)
        scratch_return(it->ix, it->scratch);
    mem_free(it->query);
    mem_free(it->g.keys);
    mem_free(it->given);
    mem_free(it);
}
