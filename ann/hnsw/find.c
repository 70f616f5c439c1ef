/* find.c - the near neighbours of a stored vector: the search that building and mending do.
 *
 * The same walk as a query's (search.c), on other terms: distances are between two stored
 * vectors, of their codes if there are any, so that they are integers and the graph is the same
 * on every instruction set; every node of the graph counts, removed or not; and the fresh
 * candidates of a hop go into the beam together, so that each part of it moves once. */
#include <config.h>

#include <string.h>

#include "ann/base/error.h"
#include "ann/hnsw/hnsw.h"
#include "ann/search/order.h"

const void *hnsw_slot_query(const struct hnsw *h, uint32_t slot, void *room)
{
    const struct vectors *v = h->vec;
    if (v->codes.type) {
        codes_row_query(&v->codes, slot, room);
        return room;
    }
    if (v->store != ANN_F16 && v->store != ANN_BF16)
        return vectors_row(v, slot);
    vectors_row_query(v, slot, room);
    return room;
}

size_t hnsw_slot_query_bytes(const struct hnsw *h)
{
    const struct vectors *v = h->vec;
    return v->codes.type ? code_query_bytes(v->codes.frame.padded) : v->query_bytes;
}

void hnsw_distances(const struct hnsw *h, const void *query, const uint32_t *slots, size_t n,
                    float *out)
{
    const struct vectors *v = h->vec;
    if (v->codes.type)
        codes_distances(&v->codes, query, slots, n, out);
    else
        v->many(query, v->data.data, v->stride, slots, n, v->dim, out);
}

/* ---- workers ---- */

/* What a worker has marked is noted up to this many nodes; beyond, all marks are cleared. */
#define NOTED_MAX 65536

static size_t piece(size_t *at, size_t bytes)
{
    const size_t here = *at;
    *at += (bytes + MEM_ALIGN - 1) / MEM_ALIGN * MEM_ALIGN;
    return here;
}

static ann_err worker_open(const struct hnsw *h, struct hnsw_worker *w, size_t edges)
{
    const size_t list = edges > HNSW_BATCH ? edges : HNSW_BATCH;
    const size_t noted = (h->slots < NOTED_MAX ? h->slots : NOTED_MAX) + list;
    const size_t query = hnsw_slot_query_bytes(h);
    size_t end = 0;
    const size_t seen_at = piece(&end, bitmap_bytes(h->slots));
    const size_t noted_at = piece(&end, noted * sizeof(uint32_t));
    const size_t keys_at = piece(&end, (edges + list + 1) * sizeof(search_key));
    const size_t fresh_at = piece(&end, list * sizeof(search_key));
    const size_t edges_at = piece(&end, edges * sizeof(struct hnsw_edge));
    const size_t slots_at = piece(&end, (list + 1) * sizeof(uint32_t));
    const size_t places_at = piece(&end, list * sizeof(uint32_t));
    const size_t twins_at = piece(&end, list * sizeof(uint32_t));
    const size_t dists_at = piece(&end, list * sizeof(float));
    const size_t query_at = piece(&end, query), other_at = piece(&end, query);
    const ann_err err = buf_resize(&w->memory, end);
    if (err)
        return err;
    char *m = w->memory.data;
    w->seen = (void *)(m + seen_at);
    w->seen_bytes = bitmap_bytes(h->slots);
    w->noted = (void *)(m + noted_at);
    w->noted_room = noted;
    w->keys = (void *)(m + keys_at);
    w->fresh = (void *)(m + fresh_at);
    w->edges = (void *)(m + edges_at);
    w->edge_room = edges;
    w->slots = (void *)(m + slots_at);
    w->places = (void *)(m + places_at);
    w->twins = (void *)(m + twins_at);
    w->dists = (void *)(m + dists_at);
    w->query = m + query_at;
    w->other_query = m + other_at;
    return ANN_OK;
}

void hnsw_workers_close(struct hnsw_worker *w, unsigned n)
{
    for (unsigned i = 0; w && i < n; i++)
        buf_free(&w[i].memory);
    mem_free(w);
}

ann_err hnsw_workers_open(const struct hnsw *h, unsigned n, size_t edges,
                          struct hnsw_worker **out)
{
    struct hnsw_worker *w = mem_zalloc(n, sizeof *w);
    if (!w)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %u workers", n);
    for (unsigned i = 0; i < n; i++) {
        const ann_err err = worker_open(h, &w[i], edges);
        if (err) {
            hnsw_workers_close(w, n);
            return err;
        }
    }
    *out = w;
    return ANN_OK;
}

void hnsw_unvisit(struct hnsw_worker *w)
{
    if (w->noted_lost || w->noted_count > w->seen_bytes / sizeof *w->seen)
        memset(w->seen, 0, w->seen_bytes);
    else
        for (size_t i = 0; i < w->noted_count; i++)
            w->seen[w->noted[i] >> 6] = 0;
    w->noted_count = 0;
    w->noted_lost = false;
}

/* ---- the walk ---- */

/* The neighbours not seen yet stand at the end of what is noted; how many. */
static size_t unseen(struct hnsw_worker *w, const uint32_t *row, uint32_t width)
{
    hnsw_visit_room(w, width);
    const size_t before = w->noted_count;
    for (uint32_t i = 0; i < width && row[i] != HNSW_NONE; i++)
        hnsw_visit(w, row[i]);
    return w->noted_count - before;
}

/* Of dists [n] those that may enter the beam, as ascending keys at w->fresh; how many. */
static size_t entering(const struct beam *b, struct hnsw_worker *w, const uint32_t *slots,
                       size_t n)
{
    const search_key worst = beam_worst(b);
    search_key *fresh = w->fresh;
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        const search_key key = key_make(w->dists[i], slots[i]);
        fresh[count] = key;
        count += key < worst;
    }
    keys_insertion_sort(fresh, count);
    return count;
}

/* Merges ascending keys [n] into the beam, from the far end, so that each of its parts moves
 * once; keys has room for width + n. */
static void merge(struct beam *b, const search_key *fresh, size_t n)
{
    size_t end = b->size, at = end;
    for (size_t i = n; i-- > 0; end = at) {
        const search_key *base = b->keys;
        for (size_t left = end; left > 0;) { /* lower bound, without branches */
            const size_t half = left / 2;
            const bool right = base[half] < fresh[i];
            base = right ? base + half + 1 : base;
            left = right ? left - half - 1 : half;
        }
        at = (size_t)(base - b->keys);
        memmove(b->keys + at + i + 1, b->keys + at, (end - at) * sizeof *b->keys);
        b->keys[at + i] = fresh[i];
    }
    b->size = b->size + n < b->width ? b->size + n : b->width;
    if (n > 0 && at < b->next)
        b->next = at;
}

void hnsw_enter(const struct hnsw *h, const void *query, const uint32_t *slots, size_t n,
                struct beam *b, struct hnsw_worker *w)
{
    hnsw_distances(h, query, slots, n, w->dists);
    merge(b, w->fresh, entering(b, w, slots, n));
}

void hnsw_find(const struct hnsw *h, const void *query, uint32_t level, search_key start,
               struct beam *b, struct hnsw_worker *w)
{
    search_key key;
    beam_insert(b, start);
    hnsw_visit_room(w, 1);
    hnsw_visit(w, key_slot(start));
    while (beam_pop(b, &key)) {
        uint32_t width, ahead;
        const uint32_t *row = hnsw_row(h, key_slot(key), level, &width);
        const size_t n = unseen(w, row, width);
        if (level == 0 && beam_peek(b, &ahead)) /* it comes next if nothing nearer is found */
            hnsw_fetch_links(h, ahead);
        hnsw_enter(h, query, w->noted + w->noted_count - n, n, b, w);
        if (level == 0 && beam_peek(b, &ahead))
            hnsw_fetch_links(h, ahead);
    }
    hnsw_unvisit(w);
}

search_key hnsw_find_start(const struct hnsw *h, const void *query, uint32_t to,
                           struct hnsw_worker *w)
{
    hnsw_distances(h, query, &h->entry, 1, w->dists);
    search_key best = key_make(w->dists[0], h->entry);
    for (uint32_t level = h->max_level; level > to; level--)
        for (bool moved = true; moved;) {
            uint32_t width;
            const uint32_t *row = hnsw_row(h, key_slot(best), level, &width);
            const uint32_t n = hnsw_degree(row, width);
            hnsw_distances(h, query, row, n, w->dists);
            moved = false;
            for (uint32_t i = 0; i < n; i++)
                if (key_make(w->dists[i], row[i]) < best) {
                    best = key_make(w->dists[i], row[i]);
                    moved = true;
                }
        }
    return best;
}
