/*
 * AVX-512 kernels: F, BW, DQ, VL, VNNI, VBMI, BITALG and VPOPCNTDQ, which
 * Ice Lake, Zen 4 and all later server parts have together.  Tails are masked
 * loads; dispatch.c guards the CPU bits and the state the system saves.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#include <immintrin.h>

#include "body.h"

#define V __m512
#define W 16
#define V_ZERO() _mm512_setzero_ps()
#define V_ADD(a, b) _mm512_add_ps(a, b)
#define V_SUB(a, b) _mm512_sub_ps(a, b)
#define V_FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define V_SUM(v) sum_lanes(v)
#define V_SUM4(a, b, c, d, out) sum_lanes4(a, b, c, d, out)
#define QLOAD(p) _mm512_loadu_ps(p)
#define QTAIL(p, n) _mm512_maskz_loadu_ps(low16(n), p)

ALWAYS_INLINE __mmask16 low16(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}

ALWAYS_INLINE __mmask64 low64(size_t n)
{
    return ((__mmask64)1 << n) - 1;
}

ALWAYS_INLINE __m128 fold(__m512 v)
{
    const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    return _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
}

ALWAYS_INLINE float sum_lanes(__m512 v)
{
    const __m128 f = fold(v), pair = _mm_add_ps(f, _mm_movehdup_ps(f));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehl_ps(pair, pair)));
}

ALWAYS_INLINE void sum_lanes4(__m512 a, __m512 b, __m512 c, __m512 d, float *out)
{
    const __m128 ab = _mm_hadd_ps(fold(a), fold(b)), cd = _mm_hadd_ps(fold(c), fold(d));
    _mm_storeu_ps(out, _mm_hadd_ps(ab, cd));
}

ALWAYS_INLINE __m512 widen_bf16(__m256i h)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

#define T f32
#define ELEM float
#define LOAD(p) QLOAD(p)
#define TAIL(p, n) QTAIL(p, n)
#include "body_float.h"

#define T f16
#define ELEM uint16_t
#define LOAD(p) _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(p)))
#define TAIL(p, n) _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(low16(n), p))
#include "body_float.h"

#define T bf16
#define ELEM uint16_t
#define LOAD(p) widen_bf16(_mm256_loadu_si256((const void *)(p)))
#define TAIL(p, n) widen_bf16(_mm256_maskz_loadu_epi16(low16(n), p))
#include "body_float.h"

static float norm2_f32(const float *x, size_t n)
{
    return -one_ip_f32(x, x, n);
}

DEFINE_DIST(d_l2_f32, int, 0, one_l2_f32(query, vec, dim))
DEFINE_DIST(d_ip_f32, int, 0, one_ip_f32(query, vec, dim))
#include "body_quad.h"
DEFINE_COS_PAIR(f32, 4)
DEFINE_FLOAT_PAIRS(f16, 2)
DEFINE_FLOAT_PAIRS(bf16, 2)

/* Sum of 16 lanes modulo 2^32: the total of a block fits, partial sums may wrap. */
ALWAYS_INLINE uint32_t sum_u32(__m512i v)
{
    const __m256i h =
        _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    const __m128i f = _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
    const __m128i pair = _mm_add_epi32(f, _mm_unpackhi_epi64(f, f));
    return (uint32_t)_mm_cvtsi128_si32(_mm_add_epi32(pair, _mm_shuffle_epi32(pair, 1)));
}

/*
 * vpdpbusd multiplies unsigned by signed bytes.  For two signed vectors a is
 * biased: sum (a + 128) b - 128 sum b; for two unsigned ones b is: sum a (b -
 * 128) + 128 sum a.  Masked-out lanes of the other factor are 0, so the bias
 * adds nothing there.
 */
ALWAYS_INLINE int64_t dot_i8_block(const int8_t *a, const int8_t *b, size_t n)
{
    const __m512i bias = _mm512_set1_epi8((char)0x80), one = _mm512_set1_epi8(1);
    __m512i s0 = _mm512_setzero_si512(), s1 = s0, c0 = s0, c1 = s0;
    size_t i = 0;
    for (; n - i >= 128; i += 128) {
        const __m512i b0 = _mm512_loadu_si512(b + i), b1 = _mm512_loadu_si512(b + i + 64);
        s0 = _mm512_dpbusd_epi32(s0, _mm512_xor_si512(_mm512_loadu_si512(a + i), bias), b0);
        s1 = _mm512_dpbusd_epi32(s1, _mm512_xor_si512(_mm512_loadu_si512(a + i + 64), bias),
                                 b1);
        c0 = _mm512_dpbusd_epi32(c0, one, b0);
        c1 = _mm512_dpbusd_epi32(c1, one, b1);
    }
    if (n - i >= 64) {
        const __m512i b0 = _mm512_loadu_si512(b + i);
        s0 = _mm512_dpbusd_epi32(s0, _mm512_xor_si512(_mm512_loadu_si512(a + i), bias), b0);
        c0 = _mm512_dpbusd_epi32(c0, one, b0);
        i += 64;
    }
    if (i < n) {
        const __mmask64 m = low64(n - i);
        const __m512i b1 = _mm512_maskz_loadu_epi8(m, b + i);
        s1 = _mm512_dpbusd_epi32(
            s1, _mm512_xor_si512(_mm512_maskz_loadu_epi8(m, a + i), bias), b1);
        c1 = _mm512_dpbusd_epi32(c1, one, b1);
    }
    const __m512i c = _mm512_slli_epi32(_mm512_add_epi32(c0, c1), 7);
    return (int32_t)sum_u32(_mm512_sub_epi32(_mm512_add_epi32(s0, s1), c));
}

ALWAYS_INLINE int64_t dot_u8_block(const uint8_t *a, const uint8_t *b, size_t n)
{
    const __m512i bias = _mm512_set1_epi8((char)0x80), one = _mm512_set1_epi8(1);
    __m512i s0 = _mm512_setzero_si512(), s1 = s0, c0 = s0, c1 = s0;
    size_t i = 0;
    for (; n - i >= 128; i += 128) {
        const __m512i a0 = _mm512_loadu_si512(a + i), a1 = _mm512_loadu_si512(a + i + 64);
        s0 = _mm512_dpbusd_epi32(s0, a0, _mm512_xor_si512(_mm512_loadu_si512(b + i), bias));
        s1 = _mm512_dpbusd_epi32(s1, a1,
                                 _mm512_xor_si512(_mm512_loadu_si512(b + i + 64), bias));
        c0 = _mm512_dpbusd_epi32(c0, a0, one);
        c1 = _mm512_dpbusd_epi32(c1, a1, one);
    }
    if (n - i >= 64) {
        const __m512i a0 = _mm512_loadu_si512(a + i);
        s0 = _mm512_dpbusd_epi32(s0, a0, _mm512_xor_si512(_mm512_loadu_si512(b + i), bias));
        c0 = _mm512_dpbusd_epi32(c0, a0, one);
        i += 64;
    }
    if (i < n) {
        const __mmask64 m = low64(n - i);
        const __m512i a1 = _mm512_maskz_loadu_epi8(m, a + i);
        s1 = _mm512_dpbusd_epi32(s1, a1,
                                 _mm512_xor_si512(_mm512_maskz_loadu_epi8(m, b + i), bias));
        c1 = _mm512_dpbusd_epi32(c1, a1, one);
    }
    const __m512i c = _mm512_slli_epi32(_mm512_add_epi32(c0, c1), 7);
    return sum_u32(_mm512_add_epi32(_mm512_add_epi32(s0, s1), c));
}

/* |a - b| fits a byte; its square is taken on 16-bit halves, for vpdpbusd has
   no unsigned by unsigned form. */
ALWAYS_INLINE __m512i add_squares(__m512i sum, __m512i diff)
{
    const __m512i even = _mm512_and_si512(diff, _mm512_set1_epi16(0xff)),
                  odd = _mm512_srli_epi16(diff, 8);
    return _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(sum, even, even), odd, odd);
}

#define DEFINE_L2_BLOCK(NAME, ELEM, SUFFIX)                                                 \
    ALWAYS_INLINE int64_t NAME(const ELEM *a, const ELEM *b, size_t n)                      \
    {                                                                                       \
        __m512i s0 = _mm512_setzero_si512(), s1 = s0;                                       \
        size_t i = 0;                                                                       \
        for (; n - i >= 128; i += 128) {                                                    \
            s0 = add_squares(s0, absdiff_##SUFFIX(_mm512_loadu_si512(a + i),                \
                                                  _mm512_loadu_si512(b + i)));              \
            s1 = add_squares(s1, absdiff_##SUFFIX(_mm512_loadu_si512(a + i + 64),           \
                                                  _mm512_loadu_si512(b + i + 64)));         \
        }                                                                                   \
        if (n - i >= 64) {                                                                  \
            s0 = add_squares(s0, absdiff_##SUFFIX(_mm512_loadu_si512(a + i),                \
                                                  _mm512_loadu_si512(b + i)));              \
            i += 64;                                                                        \
        }                                                                                   \
        if (i < n) {                                                                        \
            const __mmask64 m = low64(n - i);                                               \
            s1 = add_squares(s1, absdiff_##SUFFIX(_mm512_maskz_loadu_epi8(m, a + i),        \
                                                  _mm512_maskz_loadu_epi8(m, b + i)));      \
        }                                                                                   \
        return sum_u32(_mm512_add_epi32(s0, s1));                                           \
    }

ALWAYS_INLINE __m512i absdiff_epi8(__m512i a, __m512i b)
{
    return _mm512_sub_epi8(_mm512_max_epi8(a, b), _mm512_min_epi8(a, b));
}

ALWAYS_INLINE __m512i absdiff_epu8(__m512i a, __m512i b)
{
    return _mm512_sub_epi8(_mm512_max_epu8(a, b), _mm512_min_epu8(a, b));
}

DEFINE_L2_BLOCK(l2_i8_block, int8_t, epi8)
DEFINE_L2_BLOCK(l2_u8_block, uint8_t, epu8)

DEFINE_INT(dot_i8, int8_t, dot_i8_block)
DEFINE_INT(dot_u8, uint8_t, dot_u8_block)
DEFINE_INT(l2_i8, int8_t, l2_i8_block)
DEFINE_INT(l2_u8, uint8_t, l2_u8_block)

static uint64_t hamming(const uint8_t *a, const uint8_t *b, size_t bits)
{
    const size_t n = bits / 8;
    __m512i sum = _mm512_setzero_si512();
    size_t i = 0;
    for (; n - i >= 64; i += 64)
        sum = _mm512_add_epi64(
            sum, _mm512_popcnt_epi64(
                     _mm512_xor_si512(_mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i))));
    if (i < n) {
        const __mmask64 m = low64(n - i);
        sum = _mm512_add_epi64(
            sum, _mm512_popcnt_epi64(_mm512_xor_si512(_mm512_maskz_loadu_epi8(m, a + i),
                                                      _mm512_maskz_loadu_epi8(m, b + i))));
    }
    return (uint64_t)_mm512_reduce_add_epi64(sum) + hamming_rest(a, b, bits);
}

DEFINE_INT_PAIRS

static void f16_to_f32(const uint16_t *src, float *dst, size_t n)
{
    for (; n >= 16; n -= 16, src += 16, dst += 16)
        _mm512_storeu_ps(dst, _mm512_cvtph_ps(_mm256_loadu_si256((const void *)src)));
    const __mmask16 m = low16(n);
    _mm512_mask_storeu_ps(dst, m, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, src)));
}

static void f32_to_f16(const float *src, uint16_t *dst, size_t n)
{
    enum { NEAREST = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
    for (; n >= 16; n -= 16, src += 16, dst += 16)
        _mm256_storeu_si256((void *)dst, _mm512_cvtps_ph(_mm512_loadu_ps(src), NEAREST));
    const __mmask16 m = low16(n);
    _mm256_mask_storeu_epi16(dst, m,
                             _mm512_cvtps_ph(_mm512_maskz_loadu_ps(m, src), NEAREST));
}

static void bf16_to_f32(const uint16_t *src, float *dst, size_t n)
{
    for (; n >= 16; n -= 16, src += 16, dst += 16)
        _mm512_storeu_ps(dst, widen_bf16(_mm256_loadu_si256((const void *)src)));
    const __mmask16 m = low16(n);
    _mm512_mask_storeu_ps(dst, m, widen_bf16(_mm256_maskz_loadu_epi16(m, src)));
}

/* Not vcvtneps2bf16, which flushes subnormals. */
ALWAYS_INLINE __m256i narrow_bf16(__m512 x)
{
    const __m512i u = _mm512_castps_si512(x), high = _mm512_srli_epi32(u, 16),
                  odd = _mm512_and_si512(high, _mm512_set1_epi32(1)),
                  near = _mm512_add_epi32(_mm512_add_epi32(u, odd),
                                          _mm512_set1_epi32(0x7fff)),
                  quiet = _mm512_or_si512(high, _mm512_set1_epi32(0x40));
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(
        _mm512_mask_mov_epi32(_mm512_srli_epi32(near, 16), nan, quiet));
}

static void f32_to_bf16(const float *src, uint16_t *dst, size_t n)
{
    for (; n >= 16; n -= 16, src += 16, dst += 16)
        _mm256_storeu_si256((void *)dst, narrow_bf16(_mm512_loadu_ps(src)));
    const __mmask16 m = low16(n);
    _mm256_mask_storeu_epi16(dst, m, narrow_bf16(_mm512_maskz_loadu_ps(m, src)));
}

static size_t find_nonfinite_f32(const float *x, size_t n)
{
    enum { NAN_OR_INF = 0x01 | 0x08 | 0x10 | 0x80 };
    size_t i = 0;
    for (; i < n; i += 16) {
        const __mmask16 m = n - i >= 16 ? 0xffff : low16(n - i);
        const unsigned bad =
            _mm512_fpclass_ps_mask(_mm512_maskz_loadu_ps(m, x + i), NAN_OR_INF);
        if (bad)
            return i + (size_t)__builtin_ctz(bad);
    }
    return n;
}

/* The indices i + lane of the set bits to out[count..], which has room for all
   up to i + 16 while the block is full. */
ALWAYS_INLINE size_t put_indices(unsigned hits, size_t i, uint32_t *out, size_t count)
{
    const __m512i lane =
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i index = _mm512_add_epi32(lane, _mm512_set1_epi32((int)i));
    const size_t more = (size_t)__builtin_popcount(hits);
    _mm512_mask_storeu_epi32(out + count, low16(more),
                             _mm512_maskz_compress_epi32((__mmask16)hits, index));
    return count + more;
}

static size_t below_f32(const float *x, size_t n, float limit, uint32_t *out)
{
    const __m512 top = _mm512_set1_ps(limit);
    size_t count = 0;
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 m = n - i >= 16 ? 0xffff : low16(n - i);
        const unsigned hits = _mm512_mask_cmp_ps_mask(m, _mm512_maskz_loadu_ps(m, x + i), top,
                                                      _CMP_LT_OQ);
        if (hits)
            count = put_indices(hits, i, out, count);
    }
    return count;
}

static size_t l2_below_f32(float *dots, const float *norms, float qnorm, size_t n, float limit,
                           uint32_t *out)
{
    const __m512 top = _mm512_set1_ps(limit), qq = _mm512_set1_ps(qnorm);
    size_t count = 0;
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 m = n - i >= 16 ? 0xffff : low16(n - i);
        const __m512 dot = _mm512_maskz_loadu_ps(m, dots + i),
                     norm = _mm512_maskz_loadu_ps(m, norms + i);
        const __m512 dist = _mm512_max_ps(
            _mm512_setzero_ps(), /* a NaN on the right stays */
            _mm512_sub_ps(_mm512_add_ps(norm, qq), _mm512_add_ps(dot, dot)));
        _mm512_mask_storeu_ps(dots + i, m, dist);
        const unsigned hits = _mm512_mask_cmp_ps_mask(m, dist, top, _CMP_LT_OQ);
        if (hits)
            count = put_indices(hits, i, out, count);
    }
    return count;
}

ALWAYS_INLINE size_t pick(const uint32_t *ids, size_t n, const uint64_t *bitmap, uint64_t flip,
                          uint32_t bits, uint32_t *out)
{
    const __m512i end = _mm512_set1_epi32((int)bits), one = _mm512_set1_epi32(1),
                  low = _mm512_set1_epi32(31), flips = _mm512_set1_epi64((int64_t)flip);
    size_t count = 0;
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 lanes = n - i >= 16 ? 0xffff : low16(n - i);
        const __m512i at = _mm512_maskz_loadu_epi32(lanes, ids + i);
        const __mmask16 inside = _mm512_mask_cmplt_epu32_mask(lanes, at, end);
        const __m512i words =
            _mm512_mask_i32gather_epi32(flips, inside, _mm512_srli_epi32(at, 5), bitmap, 4);
        const __mmask16 hits =
            _mm512_test_epi32_mask(_mm512_xor_si512(words, flips),
                                   _mm512_sllv_epi32(one, _mm512_and_si512(at, low)));
        const size_t more = (size_t)__builtin_popcount(hits);
        _mm512_mask_storeu_epi32(out + count, low16(more),
                                 _mm512_maskz_compress_epi32(hits, at));
        count += more;
    }
    return count;
}

DEFINE_PICKS(pick)

DEFINE_TABLE(avx512);
