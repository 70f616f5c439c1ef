/* scan.c - the exact scan.  See scan.h. */
#include <config.h>

#include "ann/search/scan.h"

static void flush(const struct vectors *v, const void *query, struct scratch *s, size_t n,
                  struct topk *t)
{
    const uint32_t *slots = s->slots.data;
    float *dists = s->dists.data;
    vectors_many(v, query, slots, n, dists);
    float limit = topk_limit(t);
    for (size_t i = 0; i < n; i++)
        if (dists[i] <= limit) {
            topk_push(t, key_make(dists[i], slots[i]));
            limit = topk_limit(t);
        }
}

uint64_t scan_topk(const struct vectors *v, const struct kind_query *q, struct scratch *s,
                   struct topk *t)
{
    const uint64_t *live = v->live_map.data;
    const uint32_t limit =
        q->allowed && q->allowed_slots < v->slots ? q->allowed_slots : v->slots;
    const size_t words = ((size_t)limit + 63) / 64;
    uint32_t *slots = s->slots.data;
    size_t n = 0;
    uint64_t seen = 0;
    for (size_t w = 0; w < words; w++)
        for (uint64_t bits = live[w] & (q->allowed ? q->allowed[w] : ~UINT64_C(0)); bits;
             bits &= bits - 1) {
            const uint32_t slot = (uint32_t)(w * 64 + (size_t)__builtin_ctzll(bits));
            if (q->allowed && !kind_passes(v, q, slot))
                continue;
            slots[n++] = slot;
            if (n == SCAN_BATCH) {
                flush(v, q->query, s, n, t);
                seen += n;
                n = 0;
            }
        }
    flush(v, q->query, s, n, t);
    return seen + n;
}

void scan_search(const struct vectors *v, const struct kind_query *q, struct scratch *s,
                 search_key *out, size_t *found)
{
    struct topk t = {.keys = out, .k = q->k};
    q->stats->distances += scan_topk(v, q, s, &t);
    q->stats->exact++;
    topk_sort(&t);
    *found = t.size;
}
