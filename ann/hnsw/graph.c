/* graph.c - the graph's memory: rows, levels, and what is known while it grows.  See hnsw.h. */
#include <config.h>

#include <string.h>

#include "ann/base/error.h"
#include "ann/base/rng.h"
#include "ann/hnsw/hnsw.h"
#include "ann/kernels/rows.h"

ann_err hnsw_create(const ann_options *o, struct vectors *v, void **state)
{
    struct hnsw *h = mem_zalloc(1, sizeof *h);
    if (!h)
        return ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", sizeof *h);
    h->vec = v;
    h->open_m = o->m == 0;
    h->m = h->open_m ? hnsw_choose_m(o, NULL) : o->m;
    h->m0 = 2 * h->m;
    h->open_ef = o->ef_construction == 0;
    h->ef_construction =
        h->open_ef ? hnsw_choose_ef_construction(o, h->m) : o->ef_construction;
    h->seed = o->seed;
    h->planes = hnsw_choose_planes(o);
    h->row_ops = annk_rows_for(v->ops->name);
    h->entry = HNSW_NONE;
    *state = h;
    return ANN_OK;
}

void hnsw_forget(struct hnsw *h)
{
    buf_free(&h->edge_dist);
    buf_free(&h->edge_kept);
    buf_free(&h->known);
    buf_free(&h->in_degree);
    h->in_degree_known = false;
}

/* Distances known are those of other codes. */
void hnsw_recoded(void *state)
{
    struct hnsw *h = state;
    hnsw_forget(h);
    hnsw_rows_off(h);
}

void hnsw_destroy(void *state)
{
    struct hnsw *h = state;
    if (!h)
        return;
    hnsw_forget(h);
    buf_free(&h->links);
    buf_free(&h->level);
    buf_free(&h->state);
    buf_free(&h->upper_at);
    buf_free(&h->upper);
    buf_free(&h->rows);
    buf_free(&h->entries);
    mem_free(h);
}

/* Level l or more with probability m^-l, decided by whole numbers so that every machine agrees.
 */
static uint8_t draw_level(const struct hnsw *h, uint64_t i)
{
    uint64_t u = rng_at(h->seed, i), bound = UINT64_MAX;
    uint8_t level = 0;
    while (level < HNSW_LEVEL_MAX && u < (bound /= h->m))
        level++;
    return level;
}

/* The level of new slot i of those that hnsw_reserve makes. */
static uint8_t new_level(const struct hnsw *h, uint32_t slot)
{
    return draw_level(h, h->drawn + (slot - h->slots));
}

static ann_err grow_known(struct hnsw *h, uint32_t slots)
{
    const size_t places = (size_t)slots * h->m0;
    ann_err err = buf_resize(&h->edge_dist, places * sizeof(float));
    if (!err)
        err = buf_resize(&h->edge_kept, places);
    if (!err)
        err = buf_resize(&h->known, slots);
    if (!err)
        err = buf_resize(&h->in_degree, (size_t)slots * sizeof(uint32_t));
    return err;
}

ann_err hnsw_reserve(void *state, uint32_t slots, const struct kind_job *job)
{
    struct hnsw *h = state;
    (void)job;
    if (slots < h->slots)
        slots = h->slots;
    uint32_t rows = h->upper_rows;
    for (uint32_t s = h->slots; s < slots; s++)
        rows += new_level(h, s);
    /* A mapped graph was not looked at yet, and changing it follows links without looking. */
    ann_err err = buf_borrowed(&h->links) ? hnsw_check(h, ANN_CHECK_STRUCTURE) : ANN_OK;
    if (err)
        return err;
    /* Reserve all first, so that nothing has changed if one fails. */
    err = buf_reserve(&h->links, (size_t)slots * h->m0 * sizeof(uint32_t));
    if (!err)
        err = buf_reserve(&h->level, slots);
    if (!err)
        err = buf_reserve(&h->state, slots);
    if (!err)
        err = buf_reserve(&h->upper_at, (size_t)slots * sizeof(uint32_t));
    if (!err)
        err = buf_reserve(&h->upper, (size_t)rows * h->m * sizeof(uint32_t));
    if (!err)
        err = hnsw_rows_reserve(h, slots);
    if (!err)
        err = grow_known(h, slots);
    if (err)
        return err;
    (void)buf_resize(&h->links, (size_t)slots * h->m0 * sizeof(uint32_t));
    (void)buf_resize(&h->level, slots);
    (void)buf_resize(&h->state, slots);
    (void)buf_resize(&h->upper_at, (size_t)slots * sizeof(uint32_t));
    (void)buf_resize(&h->upper, (size_t)rows * h->m * sizeof(uint32_t));
    hnsw_rows_resize(h, slots);
    uint32_t at = h->upper_rows;
    for (uint32_t s = h->slots; s < slots; s++) {
        const uint8_t level = new_level(h, s);
        ((uint8_t *)h->level.data)[s] = level;
        ((uint32_t *)h->upper_at.data)[s] = at;
        at += level;
        memset(hnsw_row0(h, s), 0xff, h->m0 * sizeof(uint32_t));
    }
    if (rows > h->upper_rows)
        memset((uint32_t *)h->upper.data + (size_t)h->upper_rows * h->m, 0xff,
               (size_t)(rows - h->upper_rows) * h->m * sizeof(uint32_t));
    h->drawn += slots - h->slots;
    h->upper_rows = rows;
    h->slots = slots;
    return ANN_OK;
}

float hnsw_distance(const struct hnsw *h, const void *query, uint32_t slot)
{
    return vectors_dist(h->vec, query, slot);
}

/* ---- known while growing ---- */

size_t hnsw_load_row(const struct hnsw *h, uint32_t slot, uint32_t level, struct hnsw_edge *e,
                     struct hnsw_worker *w)
{
    uint32_t width;
    const uint32_t *row = hnsw_row(h, slot, level, &width);
    const size_t n = hnsw_degree(row, width);
    if (level == 0 && h->known.bytes > 0 && ((const uint8_t *)h->known.data)[slot]) {
        const float *dist = (const float *)h->edge_dist.data + (size_t)slot * h->m0;
        const uint8_t *kept = (const uint8_t *)h->edge_kept.data + (size_t)slot * h->m0;
        for (size_t i = 0; i < n; i++)
            e[i] = (struct hnsw_edge){dist[i], row[i], kept[i]};
        return n;
    }
    const void *q = hnsw_slot_query(h, slot, w->other_query);
    hnsw_distances(h, q, row, n, w->dists);
    for (size_t i = 0; i < n; i++)
        e[i] = (struct hnsw_edge){w->dists[i], row[i], 0};
    hnsw_sort_edges(e, n, slot);
    return hnsw_select(h, e, n, width, w);
}

void hnsw_store_row(struct hnsw *h, uint32_t slot, uint32_t level, const struct hnsw_edge *e,
                    size_t n)
{
    uint32_t width;
    uint32_t *row = hnsw_row(h, slot, level, &width);
    for (size_t i = 0; i < width; i++)
        row[i] = i < n ? e[i].slot : HNSW_NONE;
    if (level > 0)
        return;
    hnsw_rows_refresh(h, slot);
    if (h->known.bytes == 0)
        return;
    float *dist = (float *)h->edge_dist.data + (size_t)slot * h->m0;
    uint8_t *kept = (uint8_t *)h->edge_kept.data + (size_t)slot * h->m0;
    for (size_t i = 0; i < n; i++) {
        dist[i] = e[i].dist;
        kept[i] = (uint8_t)e[i].kept;
    }
    ((uint8_t *)h->known.data)[slot] = 1;
}

void hnsw_count_in_degrees(struct hnsw *h)
{
    uint32_t *in = h->in_degree.data;
    memset(in, 0, (size_t)h->slots * sizeof *in);
    for (uint32_t s = 0; s < h->slots; s++) {
        if (*hnsw_state(h, s) == HNSW_ABSENT)
            continue;
        const uint32_t *row = hnsw_row0(h, s);
        for (uint32_t i = 0; i < h->m0 && row[i] != HNSW_NONE; i++)
            in[row[i]]++;
    }
    h->in_degree_known = true;
}
