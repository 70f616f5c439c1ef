/* order.h - the smallest of some keys, and keys in ascending order, without branches on keys.
 *
 * Place: search.  Quickselect and quicksort whose parts are split by stores to both sides, of
 * which one count grows (as in Edelkamp and Weiss, "BlockQuicksort", ESA 2016, the comparison
 * only moves an index): a branch on random keys is mispredicted every other time, which is what
 * sorting some dozens of them mostly costs.  The other side goes to spare memory of the caller.
 *
 * Invariant: the order in which keys come decides nothing but the order of equal ones. */
#ifndef KITH_SEARCH_ORDER_H
#define KITH_SEARCH_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "ann/base/key.h"

/* Of from [n] those below the pivot to keys, the others to spare, each of which may be from;
 * how many are below.  Both are written one key beyond what they hold, never beyond n. */
static inline size_t keys_split(const search_key *from, size_t n, search_key pivot,
                                search_key *keys, search_key *spare)
{
    size_t below = 0;
    for (size_t i = 0; i < n; i++) {
        const search_key key = from[i];
        keys[below] = key;
        spare[i - below] = key;
        below += key < pivot;
    }
    return below;
}

/* One of keys [n], n > 0: the middle one of three. */
static inline search_key keys_pivot(const search_key *keys, size_t n)
{
    const search_key a = keys[0], b = keys[n / 2], c = keys[n - 1];
    const search_key most = a > b ? a : b, least = a > b ? b : a;
    return c > most ? most : c > least ? c : least;
}

/* Keys [n] about in halves: the smaller ones, which are returned, stay, the others go to spare;
 * 0: all are equal and stay. */
static inline size_t keys_halve(search_key *keys, size_t n, search_key *spare)
{
    const search_key pivot = keys_pivot(keys, n);
    const size_t below = keys_split(keys, n, pivot, keys, spare);
    if (below > 0)
        return below;
    const size_t equal = keys_split(spare, n, pivot + 1, keys, spare);
    return equal < n ? equal : 0;
}

/* The largest of keys [n]; 0: there are none. */
static inline search_key keys_largest(const search_key *keys, size_t n)
{
    search_key most = 0;
    for (size_t i = 0; i < n; i++)
        most = keys[i] > most ? keys[i] : most;
    return most;
}

/* The `want` smallest of keys [n] to the front, in no order; the others are lost.  spare [n].
 */
static inline void keys_select(search_key *keys, size_t n, size_t want, search_key *spare)
{
    while (n > want && want > 0) {
        const size_t below = keys_halve(keys, n, spare);
        if (below == 0)
            return;
        if (below >= want) {
            n = below;
            continue;
        }
        memcpy(keys + below, spare, (n - below) * sizeof *keys);
        keys += below;
        n -= below;
        want -= below;
    }
}

/* Keys [n] ascending: few, or nearly in order. */
static inline void keys_insertion_sort(search_key *keys, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        const search_key key = keys[i];
        size_t at = i;
        for (; at > 0 && keys[at - 1] > key; at--)
            keys[at] = keys[at - 1];
        keys[at] = key;
    }
}

/* Keys [n] ascending; spare [n].  The shorter side is next, and the longer one waits, so that no
 * more parts wait than n has bits. */
static inline void keys_sort(search_key *keys, size_t n, search_key *spare)
{
    enum { FEW = 12, DEEP = 64 };
    struct {
        search_key *keys;
        size_t n;
    } waiting[DEEP];
    size_t parts = 0;
    for (;;) {
        const size_t below = n > FEW && parts < DEEP ? keys_halve(keys, n, spare) : 0;
        if (below > 0) {
            memcpy(keys + below, spare, (n - below) * sizeof *keys);
            const bool left = below > n - below; /* the longer one */
            waiting[parts].keys = left ? keys : keys + below;
            waiting[parts++].n = left ? below : n - below;
            keys = left ? keys + below : keys;
            n = left ? n - below : below;
            continue;
        }
        keys_insertion_sort(keys, n);
        if (parts == 0)
            return;
        keys = waiting[--parts].keys;
        n = waiting[parts].n;
    }
}

#endif
