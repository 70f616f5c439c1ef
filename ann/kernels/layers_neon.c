/*
 * The parts of a layer with AArch64 Advanced SIMD.  A row's bytes less 128 are
 * signed, so that the signed dot product serves; 128 times the sum of a
 * column's weights comes back at the end.  Cores without the dot product
 * multiply to 16 bits and add in pairs.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#ifdef __linux__
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "vf_neon.h"

enum { TILE_ROWS = 4 };

/* Four bytes of a row less 128, in all lanes. */
#define QUAD(p)                                                                                \
    vreinterpretq_s8_u32(veorq_u32(vdupq_n_u32(*(const u32_any *)(p)), vdupq_n_u32(0x80808080)))

static int has_dotprod(void)
{
#ifdef __linux__
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
    return 0;
#endif
}

/* sum of each lane's four products, added to s. */
ALWAYS_INLINE int32x4_t add_plain(int32x4_t s, int8x16_t x, int8x16_t q)
{
    const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(x), vget_low_s8(q))),
                    high = vpaddlq_s16(vmull_high_s8(x, q));
    return vaddq_s32(s, vpaddq_s32(low, high));
}

#define DEFINE_BLOCK(NAME, ATTRIBUTE, ADD)                                                     \
    ATTRIBUTE static void NAME(const uint8_t *a, size_t k, int rows, const int8_t *w,          \
                               int32_t sums[][64], size_t at)                                  \
    {                                                                                          \
        const int8x16_t one = vdupq_n_s8(1);                                                   \
        int32x4_t s[TILE_ROWS][4], all[4];                                                     \
        for (int c = 0; c < 4; c++) {                                                          \
            all[c] = vdupq_n_s32(0);                                                           \
            for (int r = 0; r < TILE_ROWS; r++)                                                \
                s[r][c] = vdupq_n_s32(0);                                                      \
        }                                                                                      \
        for (size_t i = 0; i < k; i += 4) {                                                    \
            int8x16_t x[4];                                                                    \
            for (int c = 0; c < 4; c++) {                                                      \
                x[c] = vld1q_s8(w + i * 16 + 16 * c);                                          \
                all[c] = ADD(all[c], x[c], one);                                               \
            }                                                                                  \
            for (int r = 0; r < rows; r++) {                                                   \
                const int8x16_t q = QUAD(a + (size_t)r * k + i);                               \
                for (int c = 0; c < 4; c++)                                                    \
                    s[r][c] = ADD(s[r][c], x[c], q);                                           \
            }                                                                                  \
        }                                                                                      \
        for (int r = 0; r < rows; r++)                                                         \
            for (int c = 0; c < 4; c++)                                                        \
                vst1q_s32(sums[r] + at + 4 * c, vaddq_s32(s[r][c], vshlq_n_s32(all[c], 7)));   \
    }

DEFINE_BLOCK(block_plain, , add_plain)
DEFINE_BLOCK(block_dot, __attribute__((target("arch=armv8.2-a+dotprod"))), vdotq_s32)

ALWAYS_INLINE void products(const uint8_t *a, size_t k, int rows, const int8_t *w, int blocks,
                            int32_t sums[][64])
{
    for (int b = 0; b < blocks; b++) {
        if (has_dotprod())
            block_dot(a, k, rows, w + (size_t)b * 16 * k, sums, (size_t)b * 16);
        else
            block_plain(a, k, rows, w + (size_t)b * 16 * k, sums, (size_t)b * 16);
    }
}

#include "body_layers.h"

DEFINE_LAYERS(neon);
