/* key.h - a distance and a slot in one 64-bit number that sorts by distance, then slot.
 *
 * Place: base.  Bits 63..32: the float, made monotonic; 31..1: the slot; 0: a flag of the
 * beam ("expanded").  Invariant: keys compare as (distance, slot) does, NaN never enters. */
#ifndef KITH_BASE_KEY_H
#define KITH_BASE_KEY_H

#include <stdint.h>
#include <string.h>

typedef uint64_t search_key;

#define KEY_MAX UINT64_MAX
#define KEY_FLAG UINT64_C(1)

static inline uint32_t key_order(float dist)
{
    uint32_t u;
    memcpy(&u, &dist, sizeof u);
    return u ^ (-(u >> 31) | 0x80000000u);
}

static inline search_key key_make(float dist, uint32_t slot)
{
    return (uint64_t)key_order(dist) << 32 | (uint64_t)slot << 1;
}

static inline uint32_t key_slot(search_key k)
{
    return (uint32_t)k >> 1;
}

static inline float key_dist(search_key k)
{
    uint32_t u = (uint32_t)(k >> 32);
    u ^= u & 0x80000000u ? 0x80000000u : 0xffffffffu;
    float dist;
    memcpy(&dist, &u, sizeof dist);
    return dist;
}

#endif
