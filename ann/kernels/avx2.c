/*
 * AVX2 + FMA + F16C kernels, for x86-64 from Haswell and Zen on.  There is no
 * byte dot product to use here: vpmaddubsw saturates, so bytes are widened to
 * 16 bits first.  Tails are masked loads for f32, load_partial for the rest.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#include <immintrin.h>

#include "body.h"

#define V __m256
#define W 8
#define V_ZERO() _mm256_setzero_ps()
#define V_ADD(a, b) _mm256_add_ps(a, b)
#define V_SUB(a, b) _mm256_sub_ps(a, b)
#define V_FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define V_SUM(v) sum_lanes(v)
#define QLOAD(p) _mm256_loadu_ps(p)
#define QTAIL(p, n) _mm256_maskload_ps(p, low8(n))

/* All ones in the first n of 8 lanes. */
ALWAYS_INLINE __m256i low8(size_t n)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
}

ALWAYS_INLINE float sum_lanes(__m256 v)
{
    const __m128 f = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 pair = _mm_add_ps(f, _mm_movehdup_ps(f));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehl_ps(pair, pair)));
}

ALWAYS_INLINE __m128i partial128(const void *p, size_t bytes)
{
    uint64_t word[2];
    load_partial(p, bytes, word);
    return _mm_set_epi64x((long long)word[1], (long long)word[0]);
}

ALWAYS_INLINE __m128i load128(const void *p)
{
    return _mm_loadu_si128(p);
}

ALWAYS_INLINE __m256 widen_bf16(__m128i h)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

#define T f32
#define ELEM float
#define LOAD(p) QLOAD(p)
#define TAIL(p, n) QTAIL(p, n)
#include "body_float.h"

#define T f16
#define ELEM uint16_t
#define LOAD(p) _mm256_cvtph_ps(load128(p))
#define TAIL(p, n) _mm256_cvtph_ps(partial128(p, 2 * (n)))
#include "body_float.h"

#define T bf16
#define ELEM uint16_t
#define LOAD(p) widen_bf16(load128(p))
#define TAIL(p, n) widen_bf16(partial128(p, 2 * (n)))
#include "body_float.h"

static float norm2_f32(const float *x, size_t n)
{
    return -one_ip_f32(x, x, n);
}

DEFINE_FLOAT_PAIRS(f32, 4)
DEFINE_FLOAT_PAIRS(f16, 2)
DEFINE_FLOAT_PAIRS(bf16, 2)

ALWAYS_INLINE uint32_t sum_u32(__m256i v)
{
    const __m128i h = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    const __m128i pair = _mm_add_epi32(h, _mm_unpackhi_epi64(h, h));
    return (uint32_t)_mm_cvtsi128_si32(_mm_add_epi32(pair, _mm_shuffle_epi32(pair, 1)));
}

ALWAYS_INLINE __m256i madd_dot(__m256i sum, __m256i a, __m256i b)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}

ALWAYS_INLINE __m256i madd_l2(__m256i sum, __m256i a, __m256i b)
{
    const __m256i diff = _mm256_sub_epi16(a, b);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(diff, diff));
}

/* At most INT_BLOCK elements: the lanes, and their sum taken as RESULT, fit 32 bits. */
#define DEFINE_INT_BLOCK(NAME, ELEM, WIDEN, STEP, RESULT)                                   \
    ALWAYS_INLINE int64_t NAME(const ELEM *a, const ELEM *b, size_t n)                      \
    {                                                                                       \
        __m256i s0 = _mm256_setzero_si256(), s1 = s0;                                       \
        size_t i = 0;                                                                       \
        for (; n - i >= 32; i += 32) {                                                      \
            s0 = STEP(s0, WIDEN(load128(a + i)), WIDEN(load128(b + i)));                    \
            s1 = STEP(s1, WIDEN(load128(a + i + 16)), WIDEN(load128(b + i + 16)));          \
        }                                                                                   \
        if (n - i >= 16) {                                                                  \
            s0 = STEP(s0, WIDEN(load128(a + i)), WIDEN(load128(b + i)));                    \
            i += 16;                                                                        \
        }                                                                                   \
        if (i < n)                                                                          \
            s1 = STEP(s1, WIDEN(partial128(a + i, n - i)), WIDEN(partial128(b + i, n - i))); \
        return (RESULT)sum_u32(_mm256_add_epi32(s0, s1));                                   \
    }

DEFINE_INT_BLOCK(dot_i8_block, int8_t, _mm256_cvtepi8_epi16, madd_dot, int32_t)
DEFINE_INT_BLOCK(l2_i8_block, int8_t, _mm256_cvtepi8_epi16, madd_l2, uint32_t)
DEFINE_INT_BLOCK(dot_u8_block, uint8_t, _mm256_cvtepu8_epi16, madd_dot, uint32_t)
DEFINE_INT_BLOCK(l2_u8_block, uint8_t, _mm256_cvtepu8_epi16, madd_l2, uint32_t)

DEFINE_INT(dot_i8, int8_t, dot_i8_block)
DEFINE_INT(dot_u8, uint8_t, dot_u8_block)
DEFINE_INT(l2_i8, int8_t, l2_i8_block)
DEFINE_INT(l2_u8, uint8_t, l2_u8_block)

/* The popcnt instruction, one word a cycle: codes are too short for more. */
static uint64_t hamming(const uint8_t *a, const uint8_t *b, size_t bits)
{
    return hamming_words(a, b, bits);
}

DEFINE_INT_PAIRS

static void f16_to_f32(const uint16_t *src, float *dst, size_t n)
{
    for (; n >= 8; n -= 8, src += 8, dst += 8)
        _mm256_storeu_ps(dst, _mm256_cvtph_ps(load128(src)));
    if (n > 0)
        _mm256_maskstore_ps(dst, low8(n), _mm256_cvtph_ps(partial128(src, 2 * n)));
}

static void f32_to_f16(const float *src, uint16_t *dst, size_t n)
{
    enum { NEAREST = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
    for (; n >= 8; n -= 8, src += 8, dst += 8)
        _mm_storeu_si128((void *)dst, _mm256_cvtps_ph(_mm256_loadu_ps(src), NEAREST));
    if (n > 0) {
        uint16_t last[8];
        _mm_storeu_si128((void *)last,
                         _mm256_cvtps_ph(_mm256_maskload_ps(src, low8(n)), NEAREST));
        __builtin_memcpy(dst, last, n * sizeof *dst);
    }
}

static void bf16_to_f32(const uint16_t *src, float *dst, size_t n)
{
    for (; n >= 8; n -= 8, src += 8, dst += 8)
        _mm256_storeu_ps(dst, widen_bf16(load128(src)));
    if (n > 0)
        _mm256_maskstore_ps(dst, low8(n), widen_bf16(partial128(src, 2 * n)));
}

ALWAYS_INLINE __m128i narrow_bf16(__m256 x)
{
    const __m256i u = _mm256_castps_si256(x), high = _mm256_srli_epi32(u, 16),
                  odd = _mm256_and_si256(high, _mm256_set1_epi32(1)),
                  near = _mm256_srli_epi32(
                      _mm256_add_epi32(_mm256_add_epi32(u, odd), _mm256_set1_epi32(0x7fff)),
                      16),
                  quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40)),
                  nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)),
                  word = _mm256_blendv_epi8(near, quiet, nan);
    return _mm_packus_epi32(_mm256_castsi256_si128(word), _mm256_extracti128_si256(word, 1));
}

static void f32_to_bf16(const float *src, uint16_t *dst, size_t n)
{
    for (; n >= 8; n -= 8, src += 8, dst += 8)
        _mm_storeu_si128((void *)dst, narrow_bf16(_mm256_loadu_ps(src)));
    if (n > 0) {
        uint16_t last[8];
        _mm_storeu_si128((void *)last, narrow_bf16(_mm256_maskload_ps(src, low8(n))));
        __builtin_memcpy(dst, last, n * sizeof *dst);
    }
}

static size_t find_nonfinite_f32(const float *x, size_t n)
{
    const __m256i exponent = _mm256_set1_epi32(0x7f800000);
    for (size_t i = 0; i < n; i += 8) {
        const __m256 v = n - i >= 8 ? _mm256_loadu_ps(x + i)
                                    : _mm256_maskload_ps(x + i, low8(n - i));
        const __m256i bad = _mm256_cmpeq_epi32(
            _mm256_and_si256(_mm256_castps_si256(v), exponent), exponent);
        const unsigned hits = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(bad));
        if (hits)
            return i + (size_t)__builtin_ctz(hits);
    }
    return n;
}

ALWAYS_INLINE size_t put_indices(unsigned hits, size_t i, uint32_t *out, size_t count)
{
    for (; hits; hits &= hits - 1)
        out[count++] = (uint32_t)(i + (size_t)__builtin_ctz(hits));
    return count;
}

static size_t below_f32(const float *x, size_t n, float limit, uint32_t *out)
{
    const __m256 top = _mm256_set1_ps(limit);
    size_t count = 0, i = 0;
    for (; n - i >= 8; i += 8) {
        const __m256 hit = _mm256_cmp_ps(_mm256_loadu_ps(x + i), top, _CMP_LT_OQ);
        count = put_indices((unsigned)_mm256_movemask_ps(hit), i, out, count);
    }
    if (i < n) {
        const __m256i m = low8(n - i);
        const __m256 hit = _mm256_and_ps(
            _mm256_castsi256_ps(m),
            _mm256_cmp_ps(_mm256_maskload_ps(x + i, m), top, _CMP_LT_OQ));
        count = put_indices((unsigned)_mm256_movemask_ps(hit), i, out, count);
    }
    return count;
}

/* In max the NaN on the right stays. */
ALWAYS_INLINE __m256 l2_of_dot(__m256 dot, __m256 norm, __m256 qq)
{
    return _mm256_max_ps(_mm256_setzero_ps(),
                         _mm256_sub_ps(_mm256_add_ps(norm, qq), _mm256_add_ps(dot, dot)));
}

static size_t l2_below_f32(float *dots, const float *norms, float qnorm, size_t n, float limit,
                           uint32_t *out)
{
    const __m256 top = _mm256_set1_ps(limit), qq = _mm256_set1_ps(qnorm);
    size_t count = 0, i = 0;
    for (; n - i >= 8; i += 8) {
        const __m256 dist =
            l2_of_dot(_mm256_loadu_ps(dots + i), _mm256_loadu_ps(norms + i), qq);
        _mm256_storeu_ps(dots + i, dist);
        const __m256 hit = _mm256_cmp_ps(dist, top, _CMP_LT_OQ);
        count = put_indices((unsigned)_mm256_movemask_ps(hit), i, out, count);
    }
    if (i < n) {
        const __m256i m = low8(n - i);
        const __m256 dist =
            l2_of_dot(_mm256_maskload_ps(dots + i, m), _mm256_maskload_ps(norms + i, m), qq);
        _mm256_maskstore_ps(dots + i, m, dist);
        const __m256 hit =
            _mm256_and_ps(_mm256_castsi256_ps(m), _mm256_cmp_ps(dist, top, _CMP_LT_OQ));
        count = put_indices((unsigned)_mm256_movemask_ps(hit), i, out, count);
    }
    return count;
}

/* A lane's bit is brought to its sign. */
ALWAYS_INLINE size_t pick(const uint32_t *ids, size_t n, const uint64_t *bitmap, uint64_t flip,
                          uint32_t bits, uint32_t *out)
{
    const __m256i flips = _mm256_set1_epi64x((int64_t)flip), low = _mm256_set1_epi32(31),
                  last = _mm256_set1_epi32((int)(bits - 1));
    u32_any *to = (void *)out;
    size_t count = 0, i = 0;
    for (; n - i >= 8 && bits > 0; i += 8) {
        const __m256i at = _mm256_loadu_si256((const void *)(ids + i));
        const __m256i inside = _mm256_cmpeq_epi32(_mm256_min_epu32(at, last), at);
        const __m256i words = _mm256_xor_si256(
            flips, _mm256_mask_i32gather_epi32(flips, (const void *)bitmap,
                                               _mm256_srli_epi32(at, 5), inside, 4));
        const __m256i left = _mm256_sub_epi32(low, _mm256_and_si256(at, low));
        unsigned hits = (unsigned)_mm256_movemask_ps(
            _mm256_castsi256_ps(_mm256_sllv_epi32(words, left)));
        for (; hits; hits &= hits - 1)
            to[count++] = ((const u32_any *)ids)[i + (size_t)__builtin_ctz(hits)];
    }
    return count + plain_pick(ids + i, n - i, bitmap, flip, bits, out + count);
}

DEFINE_PICKS(pick)

DEFINE_TABLE(avx2);
