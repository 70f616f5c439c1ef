/* topk.h - the k smallest keys seen: a bounded binary max-heap in the caller's memory.
 *
 * Place: search.  Invariant: keys [0, size) form a max-heap; the worst is at 0. */
#ifndef KITH_SEARCH_TOPK_H
#define KITH_SEARCH_TOPK_H

#include <math.h>
#include <stddef.h>

#include "ann/base/key.h"

struct topk {
    search_key *keys; /* [k] */
    size_t k, size;
};

static inline float topk_limit(const struct topk *t)
{
    return t->size < t->k ? INFINITY : key_dist(t->keys[0]);
}

static inline void topk_sift_down(search_key *keys, size_t n, size_t at)
{
    const search_key key = keys[at];
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && keys[child + 1] > keys[child])
            child++;
        if (keys[child] <= key)
            break;
        keys[at] = keys[child];
    }
    keys[at] = key;
}

static inline void topk_push(struct topk *t, search_key key)
{
    if (t->size == t->k) {
        if (t->k == 0 || key >= t->keys[0])
            return;
        t->keys[0] = key;
        topk_sift_down(t->keys, t->size, 0);
        return;
    }
    size_t at = t->size++;
    for (size_t up; at > 0 && t->keys[up = (at - 1) / 2] < key; at = up)
        t->keys[at] = t->keys[up];
    t->keys[at] = key;
}

/* Heap sort: keys [0, size) ascending afterwards. */
static inline void topk_sort(struct topk *t)
{
    for (size_t n = t->size; n > 1; n--) {
        const search_key worst = t->keys[0];
        t->keys[0] = t->keys[n - 1];
        topk_sift_down(t->keys, n - 1, 0);
        t->keys[n - 1] = worst;
    }
}

#endif
