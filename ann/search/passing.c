/* passing.c - the links that pass a filter.  See passing.h. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/search/passing.h"

/* A search gains a few microseconds, a new table costs some nanoseconds a node, as its memory
 * comes zeroed. */
#define PATIENCE 1024 /* nodes for each search that comes before */

/* Room for what passes of a row, and twice the deviation of a random filter more. */
static uint32_t width_for(uint32_t links, double share)
{
    const double mean = links * share;
    return ((uint32_t)(mean + 2 * sqrt(mean)) / PASSING_UNIT + 1) * PASSING_UNIT;
}

static struct passing_table *new_table(uint32_t nodes, uint32_t width)
{
    struct passing_table *p = mem_zalloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->nodes = nodes;
    p->width = width;
    p->version = EDITION_NONE;
    if (buf_resize(&p->rows, (size_t)nodes * width * sizeof(uint32_t)) ||
        buf_resize(&p->marks, nodes)) {
        passing_free(p);
        return NULL;
    }
    return p;
}

struct passing_table *passing_get(struct passing_place *place, uint32_t nodes, uint32_t links,
                                  double share)
{
    struct passing_table *have = atomic_load_explicit(&place->table, memory_order_acquire);
    if (have)
        return have;
    const uint32_t width = width_for(links, share);
    if (width > links || width >= PASSING_MOST ||
        atomic_fetch_add_explicit(&place->searches, 1, memory_order_relaxed) < nodes / PATIENCE)
        return NULL;
    struct passing_table *p = new_table(nodes, width);
    if (!p || atomic_compare_exchange_strong(&place->table, &have, p))
        return p;
    passing_free(p);
    return have;
}

void passing_free(struct passing_table *p)
{
    if (!p)
        return;
    buf_free(&p->rows);
    buf_free(&p->marks);
    mem_free(p);
}

bool passing_ready(struct passing_table *p, uint32_t version)
{
    const enum edition_state state = edition_claim(&p->version, version);
    if (state == EDITION_OURS) {
        memset(p->marks.data, PASSING_UNKNOWN, p->marks.bytes);
        edition_made(&p->version, version);
    }
    return state != EDITION_BUSY;
}

void passing_put(struct passing_table *p, uint32_t slot, const uint32_t *links, size_t n)
{
    uint8_t mark = PASSING_UNKNOWN;
    if (slot >= p->nodes ||
        !atomic_compare_exchange_strong(passing_mark(p, slot), &mark, PASSING_WRITTEN))
        return;
    if (n <= p->width)
        memcpy(passing_row(p, slot), links, n * sizeof *links);
    mark = (uint8_t)(n < PASSING_MOST ? n + 1 : PASSING_MOST + 1);
    atomic_store_explicit(passing_mark(p, slot), mark, memory_order_release);
}
