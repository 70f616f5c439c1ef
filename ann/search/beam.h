/* beam.h - frontier and result of a graph search in one sorted array.
 *
 * Place: search.  Idea: one sorted array with a cursor in place of two heaps, as the pools of
 * pyglass and SymphonyQG have it.  Invariants: keys [0, size) ascend; every key before `next`
 * has its flag set (was expanded); size <= width. */
#ifndef KITH_SEARCH_BEAM_H
#define KITH_SEARCH_BEAM_H

#include <stdbool.h>
#include <stddef.h>

#include "ann/base/key.h"

struct beam {
    search_key *keys; /* [width + 1] */
    size_t width, size;
    size_t next;      /* where an unexpanded key may first be */
};

static inline void beam_reset(struct beam *b, search_key *keys, size_t width)
{
    *b = (struct beam){.keys = keys, .width = width};
}

/* A distance must be below this to enter. */
static inline search_key beam_worst(const struct beam *b)
{
    return b->size < b->width ? KEY_MAX : b->keys[b->size - 1];
}

static inline void beam_insert(struct beam *b, search_key key)
{
    if (key >= beam_worst(b))
        return;
    const search_key *base = b->keys;
    size_t n = b->size;
    while (n > 0) { /* lower bound; the compiler makes the choice a conditional move */
        const size_t half = n / 2;
        const bool right = base[half] < key;
        base = right ? base + half + 1 : base;
        n = right ? n - half - 1 : half;
    }
    const size_t at = (size_t)(base - b->keys);
    memmove(b->keys + at + 1, b->keys + at, (b->size - at) * sizeof *b->keys);
    b->keys[at] = key;
    if (b->size < b->width)
        b->size++;
    if (at < b->next)
        b->next = at;
}

/* The nearest unexpanded key, now flagged; false when there is none. */
static inline bool beam_pop(struct beam *b, search_key *key)
{
    while (b->next < b->size && (b->keys[b->next] & KEY_FLAG))
        b->next++;
    if (b->next == b->size)
        return false;
    *key = b->keys[b->next];
    b->keys[b->next++] |= KEY_FLAG;
    return true;
}

/* The slot that beam_pop would give, for a prefetch; false when there is none. */
static inline bool beam_peek(struct beam *b, uint32_t *slot)
{
    while (b->next < b->size && (b->keys[b->next] & KEY_FLAG))
        b->next++;
    if (b->next == b->size)
        return false;
    *slot = key_slot(b->keys[b->next]);
    return true;
}

#endif
