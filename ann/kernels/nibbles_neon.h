/*
 * Nibbles of 16 places looked up with AArch64 Advanced SIMD, for rows and
 * lists.  LD4 brings the bytes of a chunk's 16 places together by their
 * position, so that TBL looks 16 nibbles up in one table.
 */
#ifndef ANNK_NIBBLES_NEON_H
#define ANNK_NIBBLES_NEON_H

#include <arm_neon.h>

#include "body.h"

/* Chunks whose entries, 8 of a place each, fit 16 bits. */
enum { CHUNKS = 32 };

/* A chunk's entries added to the 16-bit sums of places 0-7 and 8-15. */
ALWAYS_INLINE void add_nibbles(uint16x8_t s[2], const uint8_t *tables, const uint8x16x4_t *x)
{
    for (int g = 0; g < 4; g++) {
        const uint8x16_t low = vqtbl1q_u8(vld1q_u8(tables + 16 * g),
                                          vandq_u8(x->val[g], vdupq_n_u8(15))),
                         high = vqtbl1q_u8(vld1q_u8(tables + 64 + 16 * g),
                                           vshrq_n_u8(x->val[g], 4));
        s[0] = vaddq_u16(s[0], vaddl_u8(vget_low_u8(low), vget_low_u8(high)));
        s[1] = vaddq_u16(s[1], vaddl_high_u8(low, high));
    }
}

/* 16-bit sums of 16 places, times 2^shift, added to those of 32 bits. */
ALWAYS_INLINE void add_places(uint32x4_t all[4], const uint16x8_t s[2], int shift)
{
    const int32x4_t by = vdupq_n_s32(shift);
    for (int h = 0; h < 2; h++) {
        const uint32x4_t low = vmovl_u16(vget_low_u16(s[h])), high = vmovl_high_u16(s[h]);
        all[2 * h] = vaddq_u32(all[2 * h], vshlq_u32(low, by));
        all[2 * h + 1] = vaddq_u32(all[2 * h + 1], vshlq_u32(high, by));
    }
}

/* Places 0-15 of which a lane is all ones, a bit each at 4 * place. */
ALWAYS_INLINE uint64_t set_places(const uint16x4_t lanes[4])
{
    const uint8x16_t all = vcombine_u8(vmovn_u16(vcombine_u16(lanes[0], lanes[1])),
                                       vmovn_u16(vcombine_u16(lanes[2], lanes[3])));
    const uint8x8_t nibbles = vshrn_n_u16(vreinterpretq_u16_u8(all), 4);
    return vget_lane_u64(vreinterpret_u64_u8(nibbles), 0) & UINT64_C(0x1111111111111111);
}

#endif
