/* check.c - is the graph sound: what ann_check finds out about it.
 *
 * Each rule of hnsw.h's invariants is looked at on its own, with the slot and level in the
 * message. A loaded file goes through the first level before anything follows a link. */
#include <config.h>

#include <string.h>

#include "ann/base/error.h"
#include "ann/hnsw/hnsw.h"

/* Links of one row: inside the graph, on the level, not to itself, each once, none after a gap.
 */
static ann_err check_row(const struct hnsw *h, uint32_t slot, uint32_t level, uint64_t *seen)
{
    uint32_t width;
    const uint32_t *row = hnsw_row(h, slot, level, &width);
    const uint32_t n = hnsw_degree(row, width);
    ann_err err = ANN_OK;
    uint32_t i = 0;
    for (; i < n && !err; i++) {
        const uint32_t to = row[i];
        if (to >= h->slots)
            err = ANN_FAIL(ANN_EDAMAGED, "graph: node %u links to %u of %u on level %u", slot,
                           to, h->slots, level);
        else if (to == slot)
            err = ANN_FAIL(ANN_EDAMAGED, "graph: node %u links to itself on level %u", slot,
                           level);
        else if (*hnsw_state(h, to) == HNSW_ABSENT)
            err = ANN_FAIL(ANN_EDAMAGED, "graph: node %u links to empty slot %u on level %u",
                           slot, to, level);
        else if (hnsw_level(h, to) < level)
            err = ANN_FAIL(ANN_EDAMAGED, "graph: node %u links to %u, which is not on level %u",
                           slot, to, level);
        else if (seen[to >> 6] >> (to & 63) & 1)
            err = ANN_FAIL(ANN_EDAMAGED, "graph: node %u links to %u twice on level %u", slot,
                           to, level);
        else
            seen[to >> 6] |= UINT64_C(1) << (to & 63);
    }
    for (uint32_t j = 0; j < n; j++)
        if (row[j] < h->slots)
            seen[row[j] >> 6] = 0;
    for (i = n; i < width && !err; i++)
        if (row[i] != HNSW_NONE)
            err = ANN_FAIL(ANN_EDAMAGED, "graph: node %u has a link behind a gap on level %u",
                           slot, level);
    return err;
}

static ann_err check_states(const struct hnsw *h)
{
    uint32_t linked = 0, removed = 0;
    for (uint32_t s = 0; s < h->slots; s++) {
        const uint8_t state = *hnsw_state(h, s);
        if (state > HNSW_REMOVED)
            return ANN_FAIL(ANN_EDAMAGED, "graph: slot %u has state %u", s, state);
        linked += state == HNSW_LINKED;
        removed += state == HNSW_REMOVED;
        if (vectors_is_live(h->vec, s) != (state == HNSW_LINKED))
            return ANN_FAIL(ANN_EDAMAGED, "graph: slot %u is %s but its node is not", s,
                            vectors_is_live(h->vec, s) ? "live" : "not live");
        if (hnsw_level(h, s) > HNSW_LEVEL_MAX)
            return ANN_FAIL(ANN_EDAMAGED, "graph: node %u has level %u", s, hnsw_level(h, s));
    }
    if (linked != h->linked || removed != h->removed)
        return ANN_FAIL(ANN_EDAMAGED, "graph: %u nodes are linked, %u expected", linked,
                        h->linked);
    return ANN_OK;
}

static ann_err check_entry(const struct hnsw *h)
{
    if (h->entry == HNSW_NONE)
        return h->linked == 0
                   ? ANN_OK
                   : ANN_FAIL(ANN_EDAMAGED, "graph: %u nodes but no entry", h->linked);
    if (h->entry >= h->slots || *hnsw_state(h, h->entry) == HNSW_ABSENT)
        return ANN_FAIL(ANN_EDAMAGED, "graph: entry %u is not a node", h->entry);
    if (hnsw_level(h, h->entry) != h->max_level)
        return ANN_FAIL(ANN_EDAMAGED, "graph: entry %u has level %u, the graph %u", h->entry,
                        hnsw_level(h, h->entry), h->max_level);
    return ANN_OK;
}

static ann_err check_upper(const struct hnsw *h)
{
    uint64_t rows = 0;
    for (uint32_t s = 0; s < h->slots; s++) {
        if (((const uint32_t *)h->upper_at.data)[s] != rows)
            return ANN_FAIL(ANN_EDAMAGED, "graph: node %u has its upper rows at %u, not %llu",
                            s, ((const uint32_t *)h->upper_at.data)[s],
                            (unsigned long long)rows);
        rows += hnsw_level(h, s);
    }
    if (rows != h->upper_rows)
        return ANN_FAIL(ANN_EDAMAGED, "graph: %u upper rows, %llu expected", h->upper_rows,
                        (unsigned long long)rows);
    return ANN_OK;
}

ann_err hnsw_check(const void *state, ann_check_level level)
{
    const struct hnsw *h = state;
    ann_err err = check_states(h);
    if (!err)
        err = check_upper(h);
    if (!err)
        err = check_entry(h);
    if (err || h->slots == 0)
        return err;
    uint64_t *seen = mem_zalloc(1, bitmap_bytes(h->slots));
    if (!seen)
        return ANN_FAIL(ANN_ENOMEM, "out of memory to check %u nodes", h->slots);
    for (uint32_t s = 0; s < h->slots && !err; s++)
        for (uint32_t l = 0; l <= hnsw_level(h, s) && !err; l++)
            err = check_row(h, s, l, seen);
    mem_free(seen);
    if (err || level < ANN_CHECK_REACHABLE ||
        h->changes > 0) /* few adds may wait for the walk */
        return err;
    uint32_t count = 0, first = 0;
    err = hnsw_unreached(h, &count, &first);
    if (!err && count > 0)
        err = ANN_FAIL(ANN_EDAMAGED,
                       "graph: %u nodes are not reached from the entry, the first %u", count,
                       first);
    return err;
}
