/*
 * Lists with AArch64 Advanced SIMD.  Of 4 bits as rows (nibbles_neon.h), queries
 * sharing what brings the nibbles together.  Of 6 and 8 bits 16 places are the
 * bytes of a register, looked up in 64 entries at once.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "nibbles_neon.h"
#include "vf_neon.h"

#define ANNK_LISTS_SUMS
#define ANNK_LISTS_KEEP
#define ANNK_LISTS_DOTS
#include "body_lists.h"

ALWAYS_INLINE void store_places(uint32_t *sums, const uint32x4_t all[4])
{
    for (int i = 0; i < 4; i++)
        vst1q_u32(sums + 4 * i, all[i]);
}

/* ---- 4 bits ---- */

/* Of the places at..at+15 of a unit. */
static void nibble_sums(const struct annk_list_query *const *q, size_t nq,
                        const struct list_unit *u, size_t at, list_sums_of *sums)
{
    const size_t chunks = q[0]->m / 8;
    const uint8_t *const codes = u->codes + at * q[0]->m / 2;
    uint32x4_t all[ANNK_LIST_BATCH][4];
    for (size_t i = 0; i < nq; i++)
        for (int k = 0; k < 4; k++)
            all[i][k] = vdupq_n_u32(0);
    for (size_t done = 0; done < chunks; done += CHUNKS) {
        const size_t end = chunks - done < CHUNKS ? chunks : done + CHUNKS;
        uint16x8_t s[ANNK_LIST_BATCH][2];
        for (size_t i = 0; i < nq; i++)
            s[i][0] = s[i][1] = vdupq_n_u16(0);
        for (size_t c = done; c < end; c++) {
            const uint8x16x4_t x = vld4q_u8(codes + 64 * c);
            for (size_t i = 0; i < nq; i++)
                add_nibbles(s[i], q[i]->table + 128 * c, &x);
        }
        for (size_t i = 0; i < nq; i++)
            add_places(all[i], s[i], 0);
    }
    for (size_t i = 0; i < nq; i++)
        store_places(sums[i] + at, all[i]);
}

/* ---- 6 and 8 bits ---- */

ALWAYS_INLINE uint8x16x4_t load64(const uint8_t *table)
{
    const uint8x16x4_t t = {{vld1q_u8(table), vld1q_u8(table + 16), vld1q_u8(table + 32),
                             vld1q_u8(table + 48)}};
    return t;
}

/* TBX leaves what is out of its table's range. */
ALWAYS_INLINE uint8x16_t entries256(const uint8_t *table, uint8x16_t x)
{
    uint8x16_t e = vqtbl4q_u8(load64(table), x);
    for (int k = 1; k < 4; k++)
        e = vqtbx4q_u8(e, load64(table + 64 * k), vsubq_u8(x, vdupq_n_u8((uint8_t)(64 * k))));
    return e;
}

ALWAYS_INLINE void add_entries(uint16x8_t s[2], uint8x16_t e)
{
    s[0] = vaddw_u8(s[0], vget_low_u8(e));
    s[1] = vaddw_high_u8(s[1], e);
}

/* Four subspaces of 6 bits, whose codes lie `width` apart. */
ALWAYS_INLINE void add_sixes(uint16x8_t s[2], const uint8_t *table, const uint8_t *codes,
                             size_t width)
{
    const uint8x16_t low6 = vdupq_n_u8(63);
    const uint8x16_t x = vld1q_u8(codes), y = vld1q_u8(codes + width),
                     z = vld1q_u8(codes + 2 * width);
    const uint8x16_t last =
        vorrq_u8(vshrq_n_u8(x, 6), vorrq_u8(vshlq_n_u8(vshrq_n_u8(y, 6), 2),
                                            vshlq_n_u8(vshrq_n_u8(z, 6), 4)));
    add_entries(s, vqtbl4q_u8(load64(table), vandq_u8(x, low6)));
    add_entries(s, vqtbl4q_u8(load64(table + 64), vandq_u8(y, low6)));
    add_entries(s, vqtbl4q_u8(load64(table + 128), vandq_u8(z, low6)));
    add_entries(s, vqtbl4q_u8(load64(table + 192), last));
}

/* Of the places at..at+15 of a unit. */
static void byte_sums(const struct annk_list_query *q, const struct list_unit *u, size_t at,
                      uint32_t *sums)
{
    const uint8_t *const codes = u->codes + at;
    uint32x4_t all[4] = {vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0)};
    for (size_t from = 0; from < q->m; from += LIST_BYTES) {
        const size_t end = q->m - from < LIST_BYTES ? q->m : from + LIST_BYTES;
        uint16x8_t s[2] = {vdupq_n_u16(0), vdupq_n_u16(0)};
        if (q->bits == 8)
            for (size_t c = from; c < end; c++)
                add_entries(s, entries256(q->table + 256 * c, vld1q_u8(codes + c * u->width)));
        else
            for (size_t c = from; c < end; c += 4)
                add_sixes(s, q->table + 64 * c, codes + c / 4 * 3 * u->width, u->width);
        add_places(all, s, 0);
    }
    store_places(sums + at, all);
}

/* ---- all ---- */

static void list_sums(const struct annk_list_query *const *q, size_t nq,
                      const struct list_unit *u, list_sums_of *sums)
{
    for (size_t at = 0; at < u->n; at += 16) {
        if (q[0]->bits == 4) {
            nibble_sums(q, nq, u, at, sums);
            continue;
        }
        for (size_t i = 0; i < nq; i++)
            byte_sums(q[i], u, at, sums[i]);
    }
}

/* Estimates of 16 places to d; a bit at 4 * place for those at most the limit. */
ALWAYS_INLINE uint64_t estimates(const struct list_sink *to, const uint32_t *sums, size_t at,
                                 float *d)
{
    uint16x4_t near[4];
    for (size_t k = 0; k < 4; k++) {
        const uint8x8_t bias = vld1_u8((const uint8_t *)(to->bias + at + 4 * k));
        const float32x4_t from =
            vaddq_f32(vdupq_n_f32(to->base), vcvt_f32_f16(vreinterpret_f16_u8(bias)));
        const float32x4_t x = vfmaq_f32(from, vcvtq_f32_u32(vld1q_u32(sums + at + 4 * k)),
                                        vdupq_n_f32(to->step));
        vst1q_f32(d + 4 * k, x);
        near[k] = vmovn_u32(vcleq_f32(x, vdupq_n_f32(to->limit)));
    }
    return set_places(near);
}

static size_t list_keep(const struct list_sink *to, const uint32_t *sums)
{
    f32_any *const dists = to->dists;
    u32_any *const places = to->places;
    size_t n = 0;
    for (size_t at = 0; at < to->n; at += 16) {
        float d[16];
        uint64_t near = estimates(to, sums, at, d);
        if (to->n - at < 16)
            near &= (UINT64_C(1) << 4 * (to->n - at)) - 1;
        for (; near; near &= near - 1) {
            const size_t i = (size_t)__builtin_ctzll(near) / 4;
            dists[n] = d[i];
            places[n++] = to->first + (uint32_t)(at + i);
        }
    }
    return n;
}

/* ---- centroids ---- */

/* Four centroids of a block: the sums of bytes less 128, made up for at the end. */
static void dot_four(const struct annk_coarse_query *q, const uint8_t *four, size_t groups,
                     uint32_t *sums)
{
    int32x4_t low = vdupq_n_s32(0), high = vdupq_n_s32(0);
    for (size_t g = 0; g < groups; g++) {
        int32_t code;
        memcpy(&code, q->code + 4 * g, sizeof code);
        const int8x16_t y = vreinterpretq_s8_s32(vdupq_n_s32(code)),
                        x = vreinterpretq_s8_u8(
                            veorq_u8(vld1q_u8(four + 64 * g), vdupq_n_u8(128)));
        low = vpadalq_s16(low, vmull_s8(vget_low_s8(x), vget_low_s8(y)));
        high = vpadalq_s16(high, vmull_s8(vget_high_s8(x), vget_high_s8(y)));
    }
    const int32x4_t all = vaddq_s32(vpaddq_s32(low, high), vdupq_n_s32(128 * q->sum));
    vst1q_u32(sums, vreinterpretq_u32_s32(all));
}

static void coarse_dots(const struct annk_coarse_query *q, size_t nq, const uint8_t *table,
                        size_t blocks, size_t groups, list_sums_of *sums)
{
    for (size_t i = 0; i < nq; i++)
        for (size_t at = 0; at < 16 * blocks; at += 4)
            dot_four(&q[i], table + at / 16 * groups * 64 + at % 16 * 4, groups, sums[i] + at);
}

DEFINE_LISTS(neon);
