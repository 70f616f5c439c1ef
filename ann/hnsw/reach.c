/* reach.c - every node can be reached from the entry.
 *
 * Rows drop links, so a node, or a group of copies of one vector, can lose every link that
 * leads to it from outside.  Two nets: in-links are counted while the graph grows, and a node
 * without any takes the place of a filler in a neighbour's row; after larger changes a walk
 * over all links finds what is cut off and links it from the nearest node that is not. */
#include <config.h>

#include <string.h>

#include "ann/base/error.h"
#include "ann/hnsw/hnsw.h"

/* Puts slot into p's row in place of the farthest filler with other in-links (or, if `kept`, of
 * any such edge); false if there is none.  parent [slots] (or NULL): an edge from a node's
 * parent stays. */
static bool take_place(struct hnsw *h, uint32_t p, uint32_t slot, bool kept,
                       const uint32_t *parent, struct hnsw_worker *w)
{
    uint32_t *in = h->in_degree.data;
    struct hnsw_edge *e = w->edges;
    size_t n = hnsw_load_row(h, p, 0, e, w), worst = SIZE_MAX;
    for (size_t i = 0; i < n; i++)
        if (e[i].slot == slot)
            return true;
    if (n < h->m0) {
        worst = n++;
    } else {
        for (size_t i = 0; i < n; i++)
            if ((kept || e[i].kept != HNSW_KEPT) && in[e[i].slot] > 1 &&
                !(parent && parent[e[i].slot] == p) &&
                (worst == SIZE_MAX || e[i].dist > e[worst].dist))
                worst = i;
        if (worst == SIZE_MAX)
            return false;
        in[e[worst].slot]--;
    }
    hnsw_distances(h, hnsw_slot_query(h, p, w->other_query), &slot, 1, w->dists);
    e[worst] = (struct hnsw_edge){w->dists[0], slot, HNSW_KEPT};
    in[slot]++;
    hnsw_store_row(h, p, 0, e, n);
    return true;
}

bool hnsw_adopt(struct hnsw *h, uint32_t slot, struct hnsw_worker *w)
{
    const uint32_t *row = hnsw_row0(h, slot);
    for (int kept = 0; kept < 2; kept++)
        for (uint32_t i = 0; i < h->m0 && row[i] != HNSW_NONE; i++)
            if (take_place(h, row[i], slot, kept, NULL, w))
                return true;
    return false;
}

/* ---- the walk ---- */

struct walk {
    uint64_t *reached; /* bitmap [slots] */
    uint32_t *queue;   /* [slots]: what was reached, in this order */
    uint32_t *parent;  /* [slots]: from where a reached node was reached first */
    size_t head, tail;
};

static void walk_enter(struct walk *k, uint32_t slot, uint32_t from)
{
    uint64_t *word = &k->reached[slot >> 6];
    const uint64_t bit = UINT64_C(1) << (slot & 63);
    if (*word & bit)
        return;
    *word |= bit;
    k->parent[slot] = from;
    k->queue[k->tail++] = slot;
}

static bool walk_reached(const struct walk *k, uint32_t slot)
{
    return k->reached[slot >> 6] >> (slot & 63) & 1;
}

/* Follows level-0 links from what is in the queue. */
static void walk_on(const struct hnsw *h, struct walk *k)
{
    while (k->head < k->tail) {
        if (k->head + 8 < k->tail)
            __builtin_prefetch(hnsw_row0(h, k->queue[k->head + 8]));
        const uint32_t from = k->queue[k->head++], *row = hnsw_row0(h, from);
        for (uint32_t i = 0; i < h->m0 && row[i] < h->slots; i++)
            walk_enter(k, row[i], from);
    }
}

static void walk_close(struct walk *k)
{
    mem_free(k->reached);
    mem_free(k->queue);
    mem_free(k->parent);
}

static ann_err walk_open(const struct hnsw *h, struct walk *k)
{
    memset(k, 0, sizeof *k);
    k->reached = mem_zalloc(1, bitmap_bytes(h->slots));
    k->queue = mem_alloc((size_t)h->slots * sizeof *k->queue);
    k->parent = mem_alloc((size_t)h->slots * sizeof *k->parent);
    if (!k->reached || !k->queue || !k->parent) {
        walk_close(k);
        return ANN_FAIL(ANN_ENOMEM, "out of memory for a walk over %u nodes", h->slots);
    }
    if (h->entry != HNSW_NONE)
        walk_enter(k, h->entry, HNSW_NONE);
    walk_on(h, k);
    return ANN_OK;
}

ann_err hnsw_unreached(const struct hnsw *h, uint32_t *count, uint32_t *first)
{
    struct walk k;
    const ann_err err = walk_open(h, &k);
    if (err)
        return err;
    *count = 0;
    for (uint32_t s = h->slots; s-- > 0;)
        if (*hnsw_state(h, s) == HNSW_LINKED && !walk_reached(&k, s)) {
            (*count)++;
            *first = s;
        }
    walk_close(&k);
    return ANN_OK;
}

/* Links an unreached node from the nearest reached one that has a place to spare; returns that
 * one.  Edges of the walk's tree stay, so that what is reached remains so, and there are
 * places: a tree has fewer edges than the graph, and its leaves, last in the queue, have none.
 */
static uint32_t link_unreached(struct hnsw *h, uint32_t slot, const struct walk *k,
                               struct hnsw_worker *w)
{
    const void *q = hnsw_slot_query(h, slot, w->query);
    const size_t width = w->edge_room - 1 < 64 ? w->edge_room - 1 : 64;
    struct beam b;
    beam_reset(&b, w->keys, width);
    hnsw_find(h, q, 0, hnsw_find_start(h, q, 0, w), &b, w);
    for (int kept = 0; kept < 2; kept++)
        for (size_t i = 0; i < b.size; i++) {
            const uint32_t from = key_slot(b.keys[i]);
            if (walk_reached(k, from) && take_place(h, from, slot, kept, k->parent, w))
                return from;
        }
    for (size_t i = k->tail; i-- > 0;)
        if (take_place(h, k->queue[i], slot, true, k->parent, w))
            return k->queue[i];
    return HNSW_NONE;
}

/* One walk, with every cut-off part linked as it is met. */
static ann_err walk_and_link(struct hnsw *h, const struct kind_job *job, struct hnsw_worker *w)
{
    struct walk k;
    const ann_err err = walk_open(h, &k);
    if (err)
        return err;
    for (uint32_t s = 0; s < h->slots; s++) {
        if (*hnsw_state(h, s) != HNSW_LINKED || walk_reached(&k, s))
            continue;
        pthread_rwlock_wrlock(job->gate);
        const uint32_t from = link_unreached(h, s, &k, w);
        h->version++;
        pthread_rwlock_unlock(job->gate);
        if (from == HNSW_NONE)
            continue;
        walk_enter(&k, s, from);
        walk_on(h, &k);
    }
    walk_close(&k);
    return ANN_OK;
}

ann_err hnsw_make_reachable(struct hnsw *h, const struct kind_job *job)
{
    struct hnsw_worker *w;
    const size_t edges = h->m0 > 64 ? h->m0 : 64;
    ann_err err = hnsw_workers_open(h, 1, edges + 1, &w);
    if (err)
        return err;
    if (!h->in_degree_known)
        hnsw_count_in_degrees(h);
    err = walk_and_link(h, job, w);
    if (!err)
        h->changes = 0;
    hnsw_workers_close(w, 1);
    return err;
}
