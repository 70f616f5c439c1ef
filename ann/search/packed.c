/* packed.c - codes of what passes a filter.  See packed.h. */
#include <config.h>

#include <string.h>

#include "ann/search/packed.h"

static struct packed_codes *new_packed(const struct vectors *v, uint32_t room)
{
    struct packed_codes *p = mem_zalloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->generation = EDITION_NONE;
    if (buf_resize(&p->slots, (size_t)room * sizeof(uint32_t)) ||
        buf_resize(&p->codes, room * v->codes.stride) ||
        buf_resize(&p->norms, (size_t)room * sizeof(int32_t))) {
        packed_free(p);
        return NULL;
    }
    return p;
}

void packed_free(struct packed_codes *p)
{
    if (!p)
        return;
    buf_free(&p->slots);
    buf_free(&p->codes);
    buf_free(&p->norms);
    mem_free(p);
}

static void pack_one(struct packed_codes *p, const struct codes *c, uint32_t slot)
{
    ((uint32_t *)p->slots.data)[p->n] = slot;
    ((int32_t *)p->norms.data)[p->n] = ((const int32_t *)c->norms.data)[slot];
    memcpy((uint8_t *)p->codes.data + p->n * c->stride, codes_row(c, slot), c->stride);
    p->n++;
}

static void pack(struct packed_codes *p, const struct vectors *v, const uint64_t *allowed,
                 uint32_t allowed_slots)
{
    const uint64_t *live = v->live_map.data;
    const uint32_t end = allowed_slots < v->slots ? allowed_slots : v->slots;
    const size_t room = p->slots.bytes / sizeof(uint32_t);
    p->n = 0;
    for (uint32_t first = 0; first < end; first += 64)
        for (uint64_t bits = live[first >> 6] & allowed[first >> 6]; bits; bits &= bits - 1) {
            const uint32_t slot = first + (uint32_t)__builtin_ctzll(bits);
            if (slot < end && p->n < room)
                pack_one(p, &v->codes, slot);
        }
}

const struct packed_codes *packed_get(struct packed_place *place, const struct vectors *v,
                                      const uint64_t *allowed, uint32_t allowed_slots,
                                      uint32_t count)
{
    struct packed_codes *p = atomic_load_explicit(&place->packed, memory_order_acquire);
    if (!p) {
        struct packed_codes *have = NULL;
        if (!packed_pays(v, count) ||
            atomic_fetch_add_explicit(&place->scans, 1, memory_order_relaxed) == 0 ||
            !(p = new_packed(v, count)))
            return NULL;
        if (!atomic_compare_exchange_strong(&place->packed, &have, p)) {
            packed_free(p);
            p = have;
        }
    }
    const enum edition_state state = edition_claim(&p->generation, v->codes.generation);
    if (state == EDITION_OURS) {
        pack(p, v, allowed, allowed_slots);
        edition_made(&p->generation, v->codes.generation);
    }
    return state != EDITION_BUSY ? p : NULL;
}
