/* remove.c - removing nodes and repairing their neighbours.
 *
 * Source of the repair: FreshDiskANN (Singh et al., 2021), Algorithm 4: a row that leads to
 * removed nodes gets those nodes' neighbours as candidates in their stead and is selected anew.
 * A removed node stays in the graph as a way through until a sweep; a sweep looks at every row
 * once, so it waits until 1/64 of the nodes are gone.  After it nothing leads to their slots,
 * and they may be used again. */
#include <config.h>

#include <string.h>

#include "ann/base/error.h"
#include "ann/hnsw/hnsw.h"

#define SWEEP_SHARE 64   /* sweep when removed nodes are more than 1/64 */
#define SWEEP_ROWS 4096  /* rows worked out before they are put in place */
#define SWEEP_PLACES (SWEEP_ROWS * 32)

void hnsw_remove(void *state, const uint32_t *slots, size_t n)
{
    struct hnsw *h = state;
    for (size_t i = 0; i < n; i++) {
        *hnsw_state(h, slots[i]) = HNSW_REMOVED;
        h->linked--;
        h->removed++;
    }
}

struct sweep {
    struct hnsw *h;
    struct hnsw_worker *workers;
    uint32_t *todo;          /* [rows]: nodes whose level-0 row leads to a removed one */
    struct hnsw_edge *edges; /* [rows, m0] */
    uint32_t *counts;        /* [rows] */
    uint32_t level;
};

static bool leads_to_removed(const struct hnsw *h, const uint32_t *row, uint32_t width)
{
    for (uint32_t i = 0; i < width && row[i] != HNSW_NONE; i++)
        if (*hnsw_state(h, row[i]) == HNSW_REMOVED)
            return true;
    return false;
}

/* Adds slot as a candidate unless it is there, is the node itself, or is removed. */
static void candidate(const struct hnsw *h, uint32_t self, uint32_t slot, struct hnsw_worker *w,
                      size_t *n)
{
    if (slot == self || *hnsw_state(h, slot) != HNSW_LINKED || *n == w->edge_room)
        return;
    if (hnsw_visit(w, slot))
        w->slots[(*n)++] = slot;
}

static void repair_row(void *arg, size_t i, unsigned worker)
{
    const struct sweep *s = arg;
    const struct hnsw *h = s->h;
    struct hnsw_worker *w = &s->workers[worker];
    const uint32_t self = s->todo[i];
    uint32_t width;
    const uint32_t *row = hnsw_row(h, self, s->level, &width);
    size_t n = 0;
    hnsw_visit_room(w, w->edge_room);
    for (uint32_t j = 0; j < width && row[j] != HNSW_NONE; j++)
        candidate(h, self, row[j], w, &n);
    for (uint32_t j = 0; j < width && row[j] != HNSW_NONE; j++) {
        if (*hnsw_state(h, row[j]) != HNSW_REMOVED)
            continue;
        const uint32_t *more = hnsw_row(h, row[j], s->level, &width);
        for (uint32_t l = 0; l < width && more[l] != HNSW_NONE; l++)
            candidate(h, self, more[l], w, &n);
    }
    hnsw_unvisit(w);
    hnsw_distances(h, hnsw_slot_query(h, self, w->other_query), w->slots, n, w->dists);
    for (size_t j = 0; j < n; j++)
        w->edges[j] = (struct hnsw_edge){w->dists[j], w->slots[j], 0};
    hnsw_sort_edges(w->edges, n, self);
    n = hnsw_select(h, w->edges, n, width, w);
    memcpy(s->edges + i * h->m0, w->edges, n * sizeof *w->edges);
    s->counts[i] = (uint32_t)n;
}

/* Repairs all rows of one level. */
static void sweep_level(struct sweep *s, size_t rows, const struct kind_job *job)
{
    struct hnsw *h = s->h;
    for (uint32_t slot = 0; slot < h->slots;) {
        size_t n = 0;
        for (; slot < h->slots && n < rows; slot++) {
            uint32_t width;
            if (*hnsw_state(h, slot) != HNSW_LINKED || hnsw_level(h, slot) < s->level)
                continue;
            const uint32_t *row = hnsw_row(h, slot, s->level, &width);
            if (leads_to_removed(h, row, width))
                s->todo[n++] = slot;
        }
        pool_for(job->pool, n, 8, repair_row, s);
        pthread_rwlock_wrlock(job->gate);
        for (size_t i = 0; i < n; i++)
            hnsw_store_row(h, s->todo[i], s->level, s->edges + i * h->m0, s->counts[i]);
        h->version++;
        pthread_rwlock_unlock(job->gate);
    }
}

/* The node of the highest level, the first of them, becomes the entry. */
static void choose_entry(struct hnsw *h)
{
    h->entry = HNSW_NONE;
    h->max_level = 0;
    for (uint32_t s = 0; s < h->slots; s++)
        if (*hnsw_state(h, s) == HNSW_LINKED &&
            (h->entry == HNSW_NONE || hnsw_level(h, s) > h->max_level)) {
            h->entry = s;
            h->max_level = hnsw_level(h, s);
        }
}

/* Nothing leads to the removed nodes now: their rows are emptied and their slots given back. */
static void give_slots_back(struct hnsw *h, const struct kind_job *job)
{
    pthread_rwlock_wrlock(job->gate);
    for (uint32_t s = h->slots; s-- > 0;) {
        if (*hnsw_state(h, s) != HNSW_REMOVED)
            continue;
        for (uint32_t level = 0; level <= hnsw_level(h, s); level++)
            hnsw_store_row(h, s, level, NULL, 0);
        *hnsw_state(h, s) = HNSW_ABSENT;
        vectors_give_slot(h->vec, s);
    }
    h->version++;
    h->changes += h->removed;
    h->removed = 0;
    if (h->entry != HNSW_NONE && *hnsw_state(h, h->entry) != HNSW_LINKED)
        choose_entry(h);
    h->in_degree_known = false;
    hnsw_entries_make(h); /* searches do not begin at what is gone */
    pthread_rwlock_unlock(job->gate);
}

/* Arrays that may be written, those known while growing among them. */
static ann_err own_all(struct hnsw *h, const struct kind_job *job)
{
    pthread_rwlock_wrlock(job->gate);
    const ann_err err = hnsw_reserve(h, h->slots, job);
    pthread_rwlock_unlock(job->gate);
    return err;
}

ann_err hnsw_sweep(void *state, bool now, const struct kind_job *job)
{
    struct hnsw *h = state;
    if (h->removed == 0 || (!now && h->removed <= h->linked / SWEEP_SHARE)) {
        if (now && h->changes > 0) {
            const ann_err err = own_all(h, job);
            return err ? err : hnsw_make_reachable(h, job);
        }
        return ANN_OK;
    }
    const unsigned threads = pool_threads(job->pool);
    /* A row of removed nodes' rows, but no more than a selection can use well. */
    const size_t full = (size_t)h->m0 * h->m0 + h->m0, cap = 4096;
    const size_t edges = full < cap ? full : h->m0 > cap ? h->m0 : cap;
    size_t rows = SWEEP_PLACES / h->m0;
    rows = rows < 16 ? 16 : rows;
    struct sweep s = {.h = h};
    /* What is known while growing may have been forgotten; the walk at the end needs it. */
    ann_err err = own_all(h, job);
    if (!err)
        err = hnsw_workers_open(h, threads, edges, &s.workers);
    s.todo = mem_alloc(rows * sizeof *s.todo);
    s.counts = mem_alloc(rows * sizeof *s.counts);
    s.edges = mem_alloc(rows * h->m0 * sizeof *s.edges);
    if (!err && (!s.todo || !s.counts || !s.edges))
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for the repair of %zu rows", rows);
    if (!err) {
        for (s.level = 0; s.level <= h->max_level; s.level++)
            sweep_level(&s, rows, job);
        give_slots_back(h, job);
        err = hnsw_make_reachable(h, job); /* a removed node may have been the only way */
    }
    hnsw_workers_close(s.workers, threads);
    mem_free(s.todo);
    mem_free(s.counts);
    mem_free(s.edges);
    return err;
}

/* ---- compaction ---- */

static void renumber_links(uint32_t *row, uint32_t width, const uint32_t *new_slot)
{
    for (uint32_t i = 0; i < width && row[i] != HNSW_NONE; i++)
        row[i] = new_slot[row[i]];
}

void hnsw_renumber(void *state, const uint32_t *new_slot, uint32_t old_slots, uint32_t kept)
{
    struct hnsw *h = state;
    uint32_t *upper_at = h->upper_at.data;
    uint32_t rows = 0;
    for (uint32_t old = 0; old < old_slots; old++) {
        const uint32_t now = new_slot[old];
        if (now == SLOT_NONE)
            continue;
        const uint32_t levels = hnsw_level(h, old);
        uint32_t *upper = (uint32_t *)h->upper.data + (size_t)rows * h->m;
        memmove(upper, (uint32_t *)h->upper.data + (size_t)upper_at[old] * h->m,
                (size_t)levels * h->m * sizeof *upper);
        if (now != old)
            memcpy(hnsw_row0(h, now), hnsw_row0(h, old), h->m0 * sizeof(uint32_t));
        renumber_links(hnsw_row0(h, now), h->m0, new_slot);
        for (uint32_t l = 0; l < levels; l++)
            renumber_links(upper + (size_t)l * h->m, h->m, new_slot);
        ((uint8_t *)h->level.data)[now] = (uint8_t)levels;
        *hnsw_state(h, now) = HNSW_LINKED;
        upper_at[now] = rows;
        rows += levels;
    }
    hnsw_rows_renumber(h, new_slot, old_slots, kept);
    hnsw_forget(h);
    h->entry = h->entry == HNSW_NONE ? HNSW_NONE : new_slot[h->entry];
    h->slots = kept;
    h->upper_rows = rows;
    (void)buf_resize(&h->links, (size_t)kept * h->m0 * sizeof(uint32_t)); /* smaller */
    (void)buf_resize(&h->level, kept);
    (void)buf_resize(&h->state, kept);
    (void)buf_resize(&h->upper_at, (size_t)kept * sizeof(uint32_t));
    (void)buf_resize(&h->upper, (size_t)rows * h->m * sizeof(uint32_t));
    buf_shrink(&h->links);
    buf_shrink(&h->level);
    buf_shrink(&h->state);
    buf_shrink(&h->upper_at);
    buf_shrink(&h->upper);
    hnsw_entries_make(h);
}
