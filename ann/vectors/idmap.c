/* idmap.c - ids and slots.  See idmap.h. */
#include <config.h>

#include <string.h>

#include "ann/base/error.h"
#include "ann/base/rng.h"
#include "ann/vectors/idmap.h"

void idmap_free(struct idmap *m)
{
    buf_free(&m->ids);
    buf_free(&m->table);
}

static size_t table_mask(const struct idmap *m)
{
    return m->table.bytes / sizeof(uint32_t) - 1;
}

/* The place of id in the table, or the empty one where it would go. */
static size_t place_of(const struct idmap *m, ann_id id)
{
    const uint32_t *table = m->table.data;
    const ann_id *ids = m->ids.data;
    const size_t mask = table_mask(m);
    size_t at = rng_mix(id) & mask;
    while (table[at] != 0 && ids[table[at] - 1] != id)
        at = (at + 1) & mask;
    return at;
}

uint32_t idmap_find(const struct idmap *m, const struct vectors *v, ann_id id)
{
    if (m->ids.bytes == 0)
        return id < v->slots && vectors_is_live(v, (uint32_t)id) ? (uint32_t)id : SLOT_NONE;
    const uint32_t entry = ((const uint32_t *)m->table.data)[place_of(m, id)];
    return entry ? entry - 1 : SLOT_NONE;
}

/* An empty table for n entries, at most 3/4 full. */
static ann_err empty_table(struct buf *table, size_t n)
{
    size_t capacity = 16;
    while (capacity * 3 / 4 < n)
        capacity *= 2;
    return buf_resize(table, capacity * sizeof(uint32_t));
}

/* A table for n entries, filled from the live slots of v. */
static ann_err make_table(struct idmap *m, const struct vectors *v, size_t n)
{
    struct buf fresh = {0};
    const ann_err err = empty_table(&fresh, n);
    if (err)
        return err;
    buf_free(&m->table);
    m->table = fresh;
    m->used = 0;
    for (uint32_t s = 0; s < v->slots; s++)
        if (vectors_is_live(v, s)) {
            const ann_id id = ((const ann_id *)m->ids.data)[s];
            const size_t at = place_of(m, id);
            if (((uint32_t *)m->table.data)[at] != 0)
                return ANN_FAIL(ANN_EDAMAGED, "id %llu stands twice", (unsigned long long)id);
            ((uint32_t *)m->table.data)[at] = s + 1;
            m->used++;
        }
    return ANN_OK;
}

ann_err idmap_reserve(struct idmap *m, const struct vectors *v, uint32_t slots_after,
                      uint32_t n, bool identity)
{
    if (identity && m->ids.bytes == 0)
        return ANN_OK;
    ann_err err = ANN_OK;
    if (m->ids.bytes == 0) {
        err = buf_reserve(&m->ids, (size_t)(slots_after ? slots_after : 1) * sizeof(ann_id));
        if (err)
            return err;
        const size_t before = v->slots ? v->slots : 1;
        (void)buf_resize(&m->ids, before * sizeof(ann_id)); /* reserved */
        for (uint32_t s = 0; s < v->slots; s++)
            ((ann_id *)m->ids.data)[s] = s;
        err = make_table(m, v, (size_t)v->live + n);
        if (err) { /* as it was */
            buf_free(&m->ids);
            return err;
        }
        return ANN_OK;
    }
    err = buf_reserve(&m->ids, (size_t)slots_after * sizeof(ann_id));
    const size_t entries = (size_t)m->used + n;
    if (!err && entries > m->table.bytes / sizeof(uint32_t) * 3 / 4)
        err = make_table(m, v, entries + entries / 2);
    return err;
}

void idmap_put(struct idmap *m, uint32_t slot, ann_id id)
{
    if (id >= m->next)
        m->next = id + 1;
    if (m->ids.bytes == 0)
        return; /* id == slot */
    const size_t need = ((size_t)slot + 1) * sizeof(ann_id);
    if (need > m->ids.bytes)
        (void)buf_resize(&m->ids, need); /* reserved */
    ((ann_id *)m->ids.data)[slot] = id;
    const size_t at = place_of(m, id);
    ((uint32_t *)m->table.data)[at] = slot + 1;
    m->used++;
}

void idmap_remove(struct idmap *m, ann_id id)
{
    if (m->ids.bytes == 0)
        return;
    uint32_t *table = m->table.data;
    const ann_id *ids = m->ids.data;
    const size_t mask = table_mask(m);
    size_t hole = place_of(m, id);
    if (table[hole] == 0)
        return;
    m->used--;
    /* Closes the hole: later entries of the same run move back (Knuth 6.4, algorithm R). */
    for (size_t at = (hole + 1) & mask; table[at] != 0; at = (at + 1) & mask) {
        const size_t home = rng_mix(ids[table[at] - 1]) & mask;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            table[hole] = table[at];
            hole = at;
        }
    }
    table[hole] = 0;
}

ann_err idmap_renumber(struct idmap *m, const uint32_t *new_slot, uint32_t old_slots,
                       uint32_t kept)
{
    bool identity = true;
    for (uint32_t s = 0; s < old_slots && identity; s++)
        identity = new_slot[s] == SLOT_NONE || idmap_id(m, s) == new_slot[s];
    if (identity) {
        idmap_free(m);
        m->used = 0;
        return ANN_OK;
    }
    struct buf ids = {0}, table = {0};
    ann_err err = buf_resize(&ids, (size_t)(kept ? kept : 1) * sizeof(ann_id));
    if (!err)
        err = empty_table(&table, kept);
    if (err) {
        buf_free(&ids);
        return err;
    }
    for (uint32_t s = 0; s < old_slots; s++)
        if (new_slot[s] != SLOT_NONE)
            ((ann_id *)ids.data)[new_slot[s]] = idmap_id(m, s);
    idmap_free(m);
    m->ids = ids;
    m->table = table;
    m->used = kept;
    for (uint32_t s = 0; s < kept; s++)
        ((uint32_t *)table.data)[place_of(m, ((const ann_id *)ids.data)[s])] = s + 1;
    return ANN_OK;
}

ann_err idmap_rebuild(struct idmap *m, const struct vectors *v)
{
    return m->ids.bytes == 0 ? ANN_OK : make_table(m, v, v->live);
}
