/*
 * Rows with AArch64 Advanced SIMD; nibbles_neon.h looks the bits of a group's
 * 16 places up.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#include <arm_neon.h>

#define ANNK_ROWS_VECTORS
#include "body_rows.h"
#include "nibbles_neon.h"

#define ALWAYS static inline __attribute__((always_inline))

/* By bytes: no pointer here is aligned for its element type. */
ALWAYS float32x4_t load_floats(const void *p)
{
    return vreinterpretq_f32_u8(vld1q_u8(p));
}

static float row_own(const struct annk_row_query *q, const uint8_t *row)
{
    int32x4_t dot = vdupq_n_s32(0), norm = dot;
    for (size_t i = 0; i < q->padded; i += 16) {
        const int8x16_t s = vld1q_s8(q->query + i),
                        c = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(row + i), vdupq_n_u8(128)));
        dot = vpadalq_s16(dot, vmull_s8(vget_low_s8(c), vget_low_s8(s)));
        dot = vpadalq_s16(dot, vmull_high_s8(c, s));
        norm = vpadalq_s16(norm, vmull_s8(vget_low_s8(c), vget_low_s8(c)));
        norm = vpadalq_s16(norm, vmull_high_s8(c, c));
    }
    return row_own_distance(q, vaddvq_s32(norm), vaddvq_s32(dot));
}

/* The sums of table entries of one group's places, four in each of out. */
ALWAYS void group_sums(const uint8_t *sums, const uint8_t *bits, size_t chunks, unsigned planes,
                       int32x4_t out[4])
{
    uint32x4_t all[4] = {vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0)};
    for (unsigned p = 0; p < planes; p++)
        for (size_t done = 0; done < chunks; done += CHUNKS) {
            const size_t end = chunks - done < CHUNKS ? chunks : done + CHUNKS;
            uint16x8_t s[2] = {vdupq_n_u16(0), vdupq_n_u16(0)};
            for (size_t c = done; c < end; c++) {
                const uint8x16x4_t x = vld4q_u8(bits + 64 * (c * planes + p));
                add_nibbles(s, sums + 128 * c, &x);
            }
            add_places(all, s, (int)p);
        }
    for (int i = 0; i < 4; i++)
        out[i] = vreinterpretq_s32_u32(all[i]);
}

/* Estimates of 4 places; all ones where one is at most limit and its id below q->slots. */
ALWAYS uint16x4_t estimate4(const struct annk_row_query *q, const uint8_t *group, size_t from,
                            int32x4_t sums, float own, float limit, float *dists)
{
    const uint32x4_t at = vreinterpretq_u32_u8(vld1q_u8(group + 4 * from));
    const float32x4_t a = vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(group + 64 + 2 * from)));
    const float32x4_t b = vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(group + 96 + 2 * from)));
    const float32x4_t t =
        vfmaq_f32(vdupq_n_f32(q->offset), vcvtq_f32_s32(sums), vdupq_n_f32(q->scale));
    const float32x4_t d = vfmaq_f32(vaddq_f32(vdupq_n_f32(own), a), b, t);
    vst1q_f32(dists, d);
    return vmovn_u32(vandq_u32(vcleq_f32(d, vdupq_n_f32(limit)),
                               vcltq_u32(at, vdupq_n_u32(q->slots))));
}

static size_t row_scan(const struct annk_row_query *q, const uint8_t *row, float own,
                       float limit, float *dists, uint32_t *ids)
{
    const size_t step = annk_row_group_bytes(q->padded, q->planes), chunks = q->padded / 32;
    const uint8_t *group = row + q->padded;
    size_t n = 0;
    for (uint32_t g = 0; g < q->groups; g++, group += step) {
        int32x4_t sums[4];
        uint16x4_t near[4];
        float d[16];
        row_fetch_next(q, g, step);
        group_sums(q->sums, group + 128, chunks, q->planes, sums);
        for (size_t i = 0; i < 4; i++)
            near[i] = estimate4(q, group, 4 * i, sums[i], own, limit, d + 4 * i);
        uint64_t hits = set_places(near);
        for (; hits; hits &= hits - 1) {
            const unsigned i = (unsigned)__builtin_ctzll(hits) / 4;
            memcpy(&ids[n], group + 4 * i, sizeof *ids);
            dists[n++] = d[i];
        }
    }
    return n;
}

static size_t row_lowest(const float *dists, size_t n)
{
    float32x4_t low = vdupq_n_f32(INFINITY);
    float least = INFINITY;
    size_t i = 0;
    for (; n - i >= 4; i += 4)
        low = vminq_f32(low, load_floats(dists + i));
    for (; i < n; i++)
        least = dists[i] < least ? dists[i] : least;
    least = vminvq_f32(low) < least ? vminvq_f32(low) : least;
    low = vdupq_n_f32(least);
    for (i = 0; n - i >= 4; i += 4)
        if (vmaxvq_u32(vceqq_f32(load_floats(dists + i), low)))
            break;
    while (i + 1 < n && dists[i] != least)
        i++;
    return i;
}

/* The 16 entries of 4 dimensions, the weights above 0 at `first` on and those below 8 behind. */
ALWAYS uint8x16_t entries_of(uint8x16_t weights, unsigned first)
{
    static const uint8_t numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const uint8x16_t bits = vld1q_u8(numbers);
    uint8x16_t sum = vdupq_n_u8(0);
    for (unsigned j = 0; j < 4; j++) {
        const uint8x16_t clear = vceqzq_u8(vandq_u8(bits, vdupq_n_u8((uint8_t)(1 << j))));
        const uint8x16_t from = vaddq_u8(vdupq_n_u8((uint8_t)(first + j)),
                                         vandq_u8(clear, vdupq_n_u8(8)));
        sum = vaddq_u8(sum, vqtbl1q_u8(weights, from));
    }
    return sum;
}

static struct row_weights row_fills(const int8_t *query, size_t padded, uint8_t *entries)
{
    uint32x4_t sum = vdupq_n_u32(0), dot = sum, norm = sum;
    for (size_t at = 0; at < padded; at += 8) {
        const int8x8_t v = vld1_s8(query + at);
        const uint8x8_t size = vreinterpret_u8_s8(vabs_s8(v)), above = vcgtz_s8(v);
        const uint8x8_t w =
            vmin_u8(vrhadd_u8(size, vdup_n_u8(0)), vdup_n_u8(ROW_WEIGHT_MAX));
        const uint8x16_t both = vcombine_u8(vand_u8(above, w), vbic_u8(w, above));
        sum = vpadalq_u16(sum, vmovl_u8(w));
        dot = vpadalq_u16(dot, vmull_u8(size, w));
        norm = vpadalq_u16(norm, vmull_u8(w, w));
        uint8_t *table = entries + at / 32 * 128 + at % 32 * 2;
        vst1q_u8(table, entries_of(both, 0));
        vst1q_u8(table + 64, entries_of(both, 4));
    }
    return (struct row_weights){(int32_t)vaddvq_u32(sum), (int32_t)vaddvq_u32(dot),
                                (int32_t)vaddvq_u32(norm)};
}

DEFINE_ROWS(neon);
