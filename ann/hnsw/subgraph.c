/* subgraph.c - the walk over what passes a filter in rows that lead there and nowhere else.
 *
 * Place: hnsw, profile fast; sieve.c says when.  What two hops (twohop.c) find anew for every
 * query hardly depends on it: the links of a node that pass, and the nearest of those that its
 * other links lead to.  A filter that serves many searches keeps them as a row of its own for
 * each node that passes (search/subrows.h), made when a search first comes by, in the form of
 * rows.h.  With a table of entries from what passes, that is an index of it, without building
 * one: a hop costs what it costs without a filter, and there are fewer nodes to go through.
 *
 * Invariant: a row follows from links, codes and filter alone; which search made it does not
 * matter. */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "ann/hnsw/walk.h"

#define GATHERED 512 /* neighbours' neighbours that one row is chosen from */

/* Of all vectors so many may pass: beyond, rows would cost more memory than they save time. */
#define MOST_PASSING 0.625
#define MOST_HELD 2 /* times the bytes of the index's rows, by all filters together */

/* A search and the rows. */
struct subgraph {
    const struct hnsw *h;
    const struct kind_query *q;
    struct subrows *rows;
    uint32_t bits; /* slots that the filter knows */
    /* Of the search's own, from its first need on: */
    char *memory;
    search_key *keys;  /* [m0 + 1] */
    uint32_t *links;   /* [m0] */
    uint32_t *others;  /* [GATHERED + m0] */
    float *dists;      /* likewise */
    void *query;       /* a stored vector as a query */
    uint8_t *row;      /* while another search makes it */
};

static uint32_t bits_of(const struct hnsw *h, const struct kind_query *q)
{
    return q->allowed_slots < h->slots ? q->allowed_slots : h->slots;
}

/* ---- a row ---- */

static bool make_room(struct subgraph *g)
{
    const size_t m0 = g->h->m0, many = GATHERED + m0;
    const size_t words = (m0 + 1) * sizeof(search_key) +
                         (m0 + many) * sizeof(uint32_t) + many * sizeof(float);
    const size_t query = (hnsw_slot_query_bytes(g->h) + MEM_ALIGN - 1) / MEM_ALIGN * MEM_ALIGN;
    if (g->memory)
        return true;
    g->memory = mem_alloc(words + query + g->h->row_size + 2 * MEM_ALIGN);
    if (!g->memory)
        return false;
    g->keys = (search_key *)(void *)g->memory;
    g->links = (uint32_t *)(void *)(g->keys + m0 + 1);
    g->others = g->links + m0;
    g->dists = (float *)(void *)(g->others + many);
    const uintptr_t behind = (uintptr_t)(g->dists + many);
    g->query = (void *)((behind + MEM_ALIGN - 1) / MEM_ALIGN * MEM_ALIGN);
    g->row = (uint8_t *)g->query + query;
    return true;
}

static inline size_t pick_links(const struct subgraph *g, uint32_t slot, uint32_t *to)
{
    const struct hnsw *h = g->h;
    return h->vec->ops->pick_set(hnsw_row0(h, slot), h->m0, g->q->allowed, g->bits, to);
}

static int slot_order(const void *pa, const void *pb)
{
    const uint32_t a = *(const uint32_t *)pa, b = *(const uint32_t *)pb;
    return (a > b) - (a < b);
}

/* What the links of a node that do not pass lead to, if it does; ascending, none twice, none of
 * the node's links [n]. */
static size_t gather_others(struct subgraph *g, uint32_t slot, size_t n)
{
    const struct hnsw *h = g->h;
    const uint32_t *row = hnsw_row0(h, slot);
    size_t m = 0, kept = 0;
    for (uint32_t i = 0; i < h->m0 && row[i] < h->slots && m < GATHERED; i++)
        if (!kind_has_bit(g->q, row[i]))
            m += pick_links(g, row[i], g->others + m);
    qsort(g->others, m, sizeof *g->others, slot_order);
    for (size_t i = 0; i < m; i++) {
        const uint32_t to = g->others[i];
        bool known = to == slot || (kept > 0 && g->others[kept - 1] == to);
        for (size_t j = 0; j < n && !known; j++)
            known = g->links[j] == to;
        g->others[kept] = to;
        kept += !known;
    }
    return kept;
}

/* The links that pass, which lead in all directions, and the nearest of what the others lead
 * to. */
static void choose_links(struct subgraph *g, uint32_t slot)
{
    const struct hnsw *h = g->h;
    size_t n = pick_links(g, slot, g->links);
    const size_t m = n < h->m0 ? gather_others(g, slot, n) : 0;
    if (m > 0)
        codes_distances(&h->vec->codes, hnsw_slot_query(h, slot, g->query), g->others, m,
                        g->dists);
    struct beam nearest;
    beam_reset(&nearest, g->keys, h->m0 - n);
    for (size_t i = 0; i < m; i++)
        beam_insert(&nearest, key_make(g->dists[i], g->others[i]));
    for (size_t i = 0; i < nearest.size; i++)
        g->links[n++] = key_slot(g->keys[i]);
    while (n < h->m0)
        g->links[n++] = HNSW_NONE;
}

/* The row of a slot that passes, made if it is not there; NULL without memory. */
static const uint8_t *own_row(struct subgraph *g, uint32_t slot)
{
    const size_t number = subrow_number(g->rows, slot);
    uint8_t *row = subrow_at(g->rows, number);
    if (subrow_made(g->rows, number))
        return row;
    if (!make_room(g))
        return NULL;
    const bool ours = subrow_claim(g->rows, number);
    choose_links(g, slot);
    hnsw_row_make(g->h, ours ? row : g->row, slot, g->links);
    if (ours)
        subrow_done(g->rows, number);
    return ours ? row : g->row;
}

/* ---- where to begin ---- */

/* Evenly over what passes. */
static void make_entries(struct subgraph *g)
{
    uint32_t slots[HNSW_ENTRIES], n = 0, seen = 0;
    const struct vectors *v = g->h->vec;
    const uint64_t *live = v->live_map.data;
    const uint32_t all = g->q->allowed_count, take = all < HNSW_ENTRIES ? all : HNSW_ENTRIES;
    for (size_t word = 0; word < ((size_t)g->bits + 63) / 64; word++)
        for (uint64_t bits = live[word] & g->q->allowed[word]; bits; bits &= bits - 1) {
            const uint64_t before = (uint64_t)seen++ * take / all;
            const uint32_t slot = (uint32_t)(word * 64 + (size_t)__builtin_ctzll(bits));
            if ((uint64_t)seen * take / all > before && n < take && slot < g->bits &&
                *hnsw_state(g->h, slot) == HNSW_LINKED)
                slots[n++] = slot;
        }
    g->rows->entry_groups = hnsw_entries_of(g->h, slots, n, &g->rows->entries);
}

/* ---- the walk ---- */

static const uint8_t *row_at(const void *rows, uint32_t slot)
{
    return subrow_at(rows, subrow_number(rows, slot));
}

/* Without memory for a row, a node is all that is found of it. */
static void look_at(struct walk *w, struct annk_row_query *rq, uint32_t slot, void *arg)
{
    const uint8_t *row = own_row(arg, slot);
    if (row) {
        walk_look_at(w, rq, row, slot);
        return;
    }
    w->hops++;
    if (walk_may_be_result(w, slot))
        walk_result(w, w->ops->own(rq, hnsw_code_row(w->h, slot)), slot);
}

struct subrows *hnsw_own_rows(const struct hnsw *h, const struct kind_query *q)
{
    if (!h->rows_on || q->allowed_count > MOST_PASSING * h->vec->live)
        return NULL;
    /* Both only grow, so no two states of links and codes have the same sum. */
    const uint32_t version = h->version + h->vec->codes.generation;
    struct subrows *r = subrows_get(&q->kept->rows, version, q->allowed, q->allowed_slots,
                                    q->allowed_count, h->row_size,
                                    MOST_HELD * h->rows.bytes);
    const enum edition_state state = r ? edition_claim(&r->version, version) : EDITION_BUSY;
    if (state == EDITION_OURS) {
        struct subgraph g = {.h = h, .q = q, .rows = r, .bits = bits_of(h, q)};
        subrows_clear(r);
        make_entries(&g);
        edition_made(&r->version, version);
    }
    return state != EDITION_BUSY && r->entry_groups > 0 ? r : NULL;
}

size_t hnsw_walk_own(const struct hnsw *h, const struct kind_query *q, struct scratch *s,
                     struct subrows *rows)
{
    const double effort = q->fine > 0 ? q->fine : (double)q->effort;
    struct subgraph g = {.h = h, .q = q, .rows = rows, .bits = bits_of(h, q)};
    struct annk_row_query rq;
    struct walk w;
    hnsw_walk_begin(&w, h, q, s, effort, (size_t)h->m0 + 16);
    hnsw_walk_row_query(&w, &rq);
    hnsw_walk_enter_at(&w, &rq, &rows->entries, rows->entry_groups);
    walk_in_turn(&w, &rq, row_at, rows, look_at, &g);
    w.distances += w.hops;
    mem_free(g.memory);
    return hnsw_walk_end(&w);
}
