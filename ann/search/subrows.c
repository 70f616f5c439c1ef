/* subrows.c - rows for what passes a filter.  See subrows.h. */
#include <config.h>

#include <string.h>

#include "ann/search/subrows.h"

/* A row costs what one search gains by rows that are there, and a search makes some dozens. */
#define PATIENCE 8 /* rows for each search that comes before */

/* Whether as many searches have come, one more counted.  Two at once may count as one. */
static bool patient(struct subrows_place *place, uint32_t version, uint32_t ones)
{
    const uint64_t now = atomic_load_explicit(&place->searches, memory_order_relaxed);
    const bool same = now >> 32 == version;
    if (same && (uint32_t)now >= ones / PATIENCE)
        return true;
    atomic_store_explicit(&place->searches, same ? now + 1 : (uint64_t)version << 32 | 1,
                          memory_order_relaxed);
    return false;
}

/* Of all rows of the process: filters may be many, and each of them may be kept. */
static _Atomic size_t held;

static bool hold(size_t bytes, size_t most)
{
    size_t now = atomic_load_explicit(&held, memory_order_relaxed);
    do {
        if (bytes > most || now > most - bytes)
            return false;
    } while (!atomic_compare_exchange_weak(&held, &now, now + bytes));
    return true;
}

static void count_before(struct subrows *r)
{
    uint32_t *before = r->before.data, ones = 0;
    for (size_t i = 0; i < r->before.bytes / sizeof *before; i++) {
        before[i] = ones;
        ones += (uint32_t)__builtin_popcountll(r->passing[i]);
    }
}

static struct subrows *new_rows(const uint64_t *passing, uint32_t slots, uint32_t ones,
                                size_t row_size, size_t most)
{
    struct subrows *r = mem_zalloc(1, sizeof *r);
    if (!r)
        return NULL;
    if (!hold(ones * row_size, most)) {
        mem_free(r);
        return NULL;
    }
    r->held = ones * row_size;
    r->passing = passing;
    r->row_size = row_size;
    r->version = EDITION_NONE;
    if (buf_resize(&r->before, ((size_t)slots + 63) / 64 * sizeof(uint32_t)) ||
        buf_resize(&r->marks, ones) || buf_resize(&r->rows, r->held)) {
        subrows_free(r);
        return NULL;
    }
    count_before(r);
    return r;
}

struct subrows *subrows_get(struct subrows_place *place, uint32_t version,
                            const uint64_t *passing, uint32_t slots, uint32_t ones,
                            size_t row_size, size_t most)
{
    if (!patient(place, version, ones))
        return NULL;
    struct subrows *have = atomic_load_explicit(&place->rows, memory_order_acquire);
    if (!have) {
        struct subrows *r = new_rows(passing, slots, ones, row_size, most);
        if (!r || atomic_compare_exchange_strong(&place->rows, &have, r))
            return r;
        subrows_free(r);
    }
    return have->row_size == row_size ? have : NULL;
}

void subrows_free(struct subrows *r)
{
    if (!r)
        return;
    buf_free(&r->before);
    buf_free(&r->marks);
    buf_free(&r->rows);
    buf_free(&r->entries);
    atomic_fetch_sub(&held, r->held);
    mem_free(r);
}

void subrows_clear(struct subrows *r)
{
    r->entry_groups = 0;
    memset(r->marks.data, SUBROW_UNKNOWN, r->marks.bytes);
}
