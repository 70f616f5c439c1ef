/*
 * What every instruction-set file shares: loads that stop at the end of a
 * vector, software prefetch, the last step of each metric, the generator of a
 * `dist` / `many` pair and the layout of the table.
 *
 * Everything here is static and is compiled again with the flags of the file
 * that includes it; nothing in it may become an external symbol, or the linker
 * could keep the AVX-512 copy for all.
 *
 * Invariant: `many` evaluates the very expression `dist` evaluates, so that
 * the two agree to the bit.
 */
#ifndef ANNK_BODY_H
#define ANNK_BODY_H

#include "kernels.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define MAYBE_UNUSED __attribute__((unused))

/* Element types without an alignment demand; may_alias as the bytes are the caller's. */
typedef float f32_any __attribute__((aligned(1), may_alias));
typedef uint16_t u16_any __attribute__((aligned(1), may_alias));
typedef uint32_t u32_any __attribute__((aligned(1), may_alias));
typedef uint64_t u64_any __attribute__((aligned(1), may_alias));

enum {
    LINE = 64,
    PREFETCH_BYTES = 512, /* of each vector; the hardware streamer does the rest */
    LOOKAHEAD = 4,        /* vectors between a prefetch and its use */
    INT_BLOCK = 65536     /* elements whose exact sums fit 32 bits, lanes reduced and all */
};

ALWAYS_INLINE const char *row_at(const void *base, size_t stride, uint32_t slot)
{
    return (const char *)base + (size_t)slot * stride;
}

/* Every line of it: where, kernels.h says. */
ALWAYS_INLINE void prefetch_row(const char *row, size_t bytes)
{
    annk_prefetch(row, bytes);
    if (bytes > 0)
        annk_prefetch(row + bytes - 1, 1); /* a row that straddles one line more */
}

ALWAYS_INLINE size_t prefetch_span(size_t bytes)
{
    return bytes < PREFETCH_BYTES ? bytes : PREFETCH_BYTES;
}

/* The first `bytes` (< 16) bytes at p in two words, zeros above: at most three
   overlapping loads, all of them inside the vector. */
MAYBE_UNUSED ALWAYS_INLINE void load_partial(const void *p, size_t bytes, uint64_t word[2])
{
    const uint8_t *b = p;
    word[0] = word[1] = 0;
    if (bytes >= 8) {
        word[0] = *(const u64_any *)b;
        if (bytes > 8)
            word[1] = *(const u64_any *)(b + bytes - 8) >> (8 * (16 - bytes));
    } else if (bytes >= 4) {
        word[0] = *(const u32_any *)b |
                  (uint64_t)*(const u32_any *)(b + bytes - 4) << (8 * (bytes - 4));
    } else if (bytes > 0) {
        word[0] = b[0] | (uint64_t)b[bytes / 2] << (8 * (bytes / 2)) |
                  (uint64_t)b[bytes - 1] << (8 * (bytes - 1));
    }
}

ALWAYS_INLINE uint32_t float_bits(float x)
{
    uint32_t u;
    __builtin_memcpy(&u, &x, sizeof u);
    return u;
}

ALWAYS_INLINE float bits_float(uint32_t u)
{
    float x;
    __builtin_memcpy(&x, &u, sizeof x);
    return x;
}

/* Conversions of one element; the vector forms give the same bits. */
MAYBE_UNUSED ALWAYS_INLINE float f16_widen(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = h >> 10 & 31, frac = h & 0x3ff;
    if (exp == 31)
        return bits_float(sign | 0x7f800000 | frac << 13 | (frac ? 0x400000 : 0));
    if (exp == 0) { /* frac * 2^-24 is exact */
        const float x = (float)frac * 0x1p-24f;
        return sign ? -x : x;
    }
    return bits_float(sign | (exp + 112) << 23 | frac << 13);
}

MAYBE_UNUSED ALWAYS_INLINE uint16_t f16_narrow(float x)
{
    const uint32_t u = float_bits(x), mag = u & 0x7fffffff;
    const uint16_t sign = (uint16_t)(u >> 16 & 0x8000);
    if (mag > 0x7f800000)
        return sign | 0x7e00 | (mag >> 13 & 0x3ff);
    if (mag >= 0x477ff000) /* 65520, half way past the largest, rounds to infinity */
        return sign | 0x7c00;
    if (mag < 0x38800000) { /* below 2^-14: adding 0.5 rounds to a multiple of 2^-24 */
        const uint32_t sum = float_bits(bits_float(mag) + 0.5f);
        return (uint16_t)(sign | (sum - 0x3f000000));
    }
    return (uint16_t)(sign | ((mag - 0x38000000 + 0xfff + (mag >> 13 & 1)) >> 13));
}

MAYBE_UNUSED ALWAYS_INLINE float bf16_widen(uint16_t h)
{
    return bits_float((uint32_t)h << 16);
}

MAYBE_UNUSED ALWAYS_INLINE uint16_t bf16_narrow(float x)
{
    const uint32_t u = float_bits(x);
    if ((u & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

ALWAYS_INLINE float f32_widen(float x)
{
    return x;
}

/* -dot; infinities of both signs among the partial sums must not become NaN. */
ALWAYS_INLINE float finish_ip(float dot)
{
    return dot == dot ? -dot : __builtin_inff();
}

ALWAYS_INLINE float finish_cos(double dot, double qq, double xx)
{
    if (!(qq > 0 && xx > 0))
        return 1.0f;
    const double dist = 1.0 - dot / __builtin_sqrt(qq * xx);
    return dist < 0 ? 0.0f : dist > 2 ? 2.0f : (float)dist;
}

/* Whether float kept the sum: neither overflow nor underflow that matters. */
ALWAYS_INLINE int norm_in_range(float norm2)
{
    return norm2 >= 1e-30f && norm2 <= 1e38f;
}

/* Cosine in double, for the magnitudes whose squares leave float's range. */
#define DEFINE_COS_WIDE(T, ELEM)                                                            \
    static MAYBE_UNUSED __attribute__((noinline)) float cos_wide_##T(                       \
        const float *q, const void *vec, size_t dim)                                        \
    {                                                                                       \
        const f32_any *a = (const f32_any *)q;                                              \
        const ELEM *b = vec;                                                                \
        double dot = 0, aa = 0, bb = 0;                                                     \
        for (size_t i = 0; i < dim; i++) {                                                  \
            const double x = a[i], y = T##_widen(b[i]);                                     \
            dot += x * y;                                                                   \
            aa += x * x;                                                                    \
            bb += y * y;                                                                    \
        }                                                                                   \
        return finish_cos(dot, aa, bb);                                                     \
    }
DEFINE_COS_WIDE(f32, f32_any)
DEFINE_COS_WIDE(f16, u16_any)
DEFINE_COS_WIDE(bf16, u16_any)

/*
 * A dist function, and the many function that goes with it.  ONE is the
 * distance of `vec` to `query` (dim elements, BYTES bytes), an expression that
 * may use `pre`, computed once per call by PRE.
 */
#define DEFINE_DIST(NAME, PRE_TYPE, PRE, ONE)                                               \
    static float NAME(const void *query, const void *vec, size_t dim)                       \
    {                                                                                       \
        const PRE_TYPE pre = (PRE);                                                         \
        (void)pre;                                                                          \
        return (ONE);                                                                       \
    }

#define DEFINE_MANY(NAME, PRE_TYPE, PRE, BYTES, ONE)                                        \
    static void NAME##_many(const void *query, const void *base, size_t stride,             \
                            const uint32_t *slots, size_t n, size_t dim, float *out)        \
    {                                                                                       \
        const size_t span = prefetch_span(BYTES);                                           \
        const PRE_TYPE pre = (PRE);                                                         \
        (void)pre;                                                                          \
        for (size_t i = 0; i < n && i < LOOKAHEAD; i++)                                     \
            prefetch_row(row_at(base, stride, slots[i]), span);                             \
        for (size_t i = 0; i < n; i++) {                                                    \
            const char *const vec = row_at(base, stride, slots[i]);                         \
            if (i + LOOKAHEAD < n)                                                          \
                prefetch_row(row_at(base, stride, slots[i + LOOKAHEAD]), span);             \
            out[i] = (ONE);                                                                 \
        }                                                                                   \
    }

#define DEFINE_PAIR(NAME, PRE_TYPE, PRE, BYTES, ONE)                                        \
    DEFINE_DIST(NAME, PRE_TYPE, PRE, ONE)                                                   \
    DEFINE_MANY(NAME, PRE_TYPE, PRE, BYTES, ONE)

/* The float metrics of one stored type, from one_l2_T, one_ip_T and one_cos_T. */
#define DEFINE_COS_PAIR(T, SIZE)                                                            \
    DEFINE_PAIR(d_cos_##T, float, norm2_f32(query, dim), dim * SIZE,                        \
                one_cos_##T(query, (const void *)vec, dim, pre))
#define DEFINE_FLOAT_PAIRS(T, SIZE)                                                         \
    DEFINE_PAIR(d_l2_##T, int, 0, dim * SIZE, one_l2_##T(query, (const void *)vec, dim))    \
    DEFINE_PAIR(d_ip_##T, int, 0, dim * SIZE, one_ip_##T(query, (const void *)vec, dim))    \
    DEFINE_COS_PAIR(T, SIZE)

/* Integer kernels of any length from a block kernel of at most INT_BLOCK elements. */
#define DEFINE_INT(NAME, ELEM, BLOCK)                                                       \
    static int64_t NAME(const ELEM *a, const ELEM *b, size_t n)                             \
    {                                                                                       \
        int64_t sum = 0;                                                                    \
        for (; n > INT_BLOCK; n -= INT_BLOCK, a += INT_BLOCK, b += INT_BLOCK)               \
            sum += BLOCK(a, b, INT_BLOCK);                                                  \
        return sum + BLOCK(a, b, n);                                                        \
    }

/* Needs dot_i8, l2_i8, dot_u8, l2_u8 and hamming in scope. */
#define DEFINE_INT_PAIRS                                                                    \
    DEFINE_PAIR(d_l2_i8, int, 0, dim, (float)l2_i8(query, (const void *)vec, dim))          \
    DEFINE_PAIR(d_l2_u8, int, 0, dim, (float)l2_u8(query, (const void *)vec, dim))          \
    DEFINE_PAIR(d_ip_i8, int, 0, dim, (float)-dot_i8(query, (const void *)vec, dim))        \
    DEFINE_PAIR(d_ip_u8, int, 0, dim, (float)-dot_u8(query, (const void *)vec, dim))        \
    DEFINE_PAIR(d_cos_i8, int64_t, dot_i8(query, query, dim), dim,                          \
                finish_cos((double)dot_i8(query, (const void *)vec, dim), (double)pre,      \
                           (double)dot_i8((const void *)vec, (const void *)vec, dim)))      \
    DEFINE_PAIR(d_cos_u8, int64_t, dot_u8(query, query, dim), dim,                          \
                finish_cos((double)dot_u8(query, (const void *)vec, dim), (double)pre,      \
                           (double)dot_u8((const void *)vec, (const void *)vec, dim)))      \
    DEFINE_PAIR(d_hamming_b1, int, 0, dim / 8 + (dim % 8 != 0),                             \
                (float)hamming(query, (const void *)vec, dim))

/* The bits of the last, incomplete byte. */
ALWAYS_INLINE uint64_t hamming_rest(const uint8_t *a, const uint8_t *b, size_t bits)
{
    if (bits % 8 == 0)
        return 0;
    const unsigned differ = (unsigned)(a[bits / 8] ^ b[bits / 8]) & ((1u << bits % 8) - 1);
    return (uint64_t)__builtin_popcount(differ);
}

MAYBE_UNUSED ALWAYS_INLINE uint64_t hamming_words(const uint8_t *a, const uint8_t *b,
                                                  size_t bits)
{
    const size_t n = bits / 8;
    uint64_t sum = hamming_rest(a, b, bits);
    size_t i = 0;
    for (; n - i >= 8; i += 8)
        sum += (uint64_t)__builtin_popcountll(*(const u64_any *)(a + i) ^
                                              *(const u64_any *)(b + i));
    if (i < n) {
        uint64_t x[2], y[2];
        load_partial(a + i, n - i, x);
        load_partial(b + i, n - i, y);
        sum += (uint64_t)__builtin_popcountll(x[0] ^ y[0]);
    }
    return sum;
}

/* Those of ids whose bit differs from `flip`'s, without branches: what passes a filter is hard
 * to foretell. */
MAYBE_UNUSED ALWAYS_INLINE size_t plain_pick(const uint32_t *ids, size_t n,
                                             const uint64_t *bitmap, uint64_t flip,
                                             uint32_t bits, uint32_t *out)
{
    const u32_any *v = (const void *)ids;
    const u64_any *words = (const void *)bitmap;
    u32_any *to = (void *)out;
    size_t count = 0;
    for (size_t i = 0; i < n && bits > 0; i++) {
        const uint32_t id = v[i], inside = id < bits, at = inside ? id : 0;
        to[count] = id;
        count += inside & (uint32_t)((words[at >> 6] ^ flip) >> (at & 63));
    }
    return count;
}

/* Both from PICK, with plain_pick's arguments. */
#define DEFINE_PICKS(PICK)                                                                  \
    static size_t pick_set(const uint32_t *ids, size_t n, const uint64_t *bitmap,           \
                           uint32_t bits, uint32_t *out)                                    \
    {                                                                                       \
        return PICK(ids, n, bitmap, 0, bits, out);                                          \
    }                                                                                       \
    static size_t pick_clear(const uint32_t *ids, size_t n, const uint64_t *bitmap,         \
                             uint32_t bits, uint32_t *out)                                  \
    {                                                                                       \
        return PICK(ids, n, bitmap, ~UINT64_C(0), bits, out);                               \
    }

/*
 * The kernels of codes and of their frame lie in files of their own, code_*.c,
 * as external functions whose names carry the instruction set.
 */
#define ANNK_CODE_DOTS(NAME)                                                                \
    void NAME(const int8_t *query, int32_t query_sum, const uint8_t *base, size_t stride,   \
              const uint32_t *slots, size_t n, size_t padded, unsigned ahead, int32_t *dots)
#define ANNK_CODE_DECLARE(ISA)                                                              \
    ANNK_CODE_DOTS(annk_##ISA##_dots_sq8);                                                  \
    ANNK_CODE_DOTS(annk_##ISA##_dots_sq4);                                                  \
    void annk_##ISA##_fwht_f32(float *x, size_t n);                                         \
    void annk_##ISA##_flip_signs_f32(float *x, const uint64_t *bits, size_t n);             \
    void annk_##ISA##_butterfly_f32(float *a, float *b, size_t n);                          \
    void annk_##ISA##_quantise_s8(const float *y, float inverse_step, int8_t *out, size_t n); \
    float annk_##ISA##_max_abs_f32(const float *x, size_t n);                               \
    void annk_##ISA##_rest_s8(const float *y, const int8_t *high, float step,               \
                              float inverse_low_step, int8_t *low, size_t n,                \
                              struct annk_rest *sums);
#define ANNK_CODE_MEMBERS(ISA)                                                              \
    .code_dots = {annk_##ISA##_dots_sq8, annk_##ISA##_dots_sq4},                            \
    .fwht_f32 = annk_##ISA##_fwht_f32, .flip_signs_f32 = annk_##ISA##_flip_signs_f32,       \
    .butterfly_f32 = annk_##ISA##_butterfly_f32, .quantise_s8 = annk_##ISA##_quantise_s8,   \
    .max_abs_f32 = annk_##ISA##_max_abs_f32, .rest_s8 = annk_##ISA##_rest_s8,

ANNK_CODE_DECLARE(scalar)
ANNK_CODE_DECLARE(avx2)
ANNK_CODE_DECLARE(avx512)
ANNK_CODE_DECLARE(neon)

#define ANNK_ROW(SUFFIX, M)                                                                 \
    {d_##M##_f32##SUFFIX, d_##M##_f16##SUFFIX,  d_##M##_bf16##SUFFIX,                       \
     d_##M##_i8##SUFFIX,  d_##M##_u8##SUFFIX, NULL}
#define ANNK_GRID(SUFFIX)                                                                   \
    {ANNK_ROW(SUFFIX, l2),                                                                  \
     ANNK_ROW(SUFFIX, ip),                                                                  \
     ANNK_ROW(SUFFIX, cos),                                                                 \
     {NULL, NULL, NULL, NULL, NULL, d_hamming_b1##SUFFIX}}

/* The table; every instruction-set file names its functions alike. */
#define DEFINE_TABLE(ISA)                                                                   \
    const struct annk_ops annk_##ISA = {                                                    \
        .name = #ISA,                                                                       \
        .dist = ANNK_GRID(),                                                                \
        .many = ANNK_GRID(_many),                                                           \
        .dot_i8 = dot_i8,                                                                   \
        .l2_i8 = l2_i8,                                                                     \
        .dot_u8 = dot_u8,                                                                   \
        .l2_u8 = l2_u8,                                                                     \
        .hamming = hamming,                                                                 \
        .f16_to_f32 = f16_to_f32,                                                           \
        .f32_to_f16 = f32_to_f16,                                                           \
        .bf16_to_f32 = bf16_to_f32,                                                         \
        .f32_to_bf16 = f32_to_bf16,                                                         \
        .norm2_f32 = norm2_f32,                                                             \
        .find_nonfinite_f32 = find_nonfinite_f32,                                           \
        .below_f32 = below_f32,                                                             \
        .l2_below_f32 = l2_below_f32,                                                       \
        .pick_set = pick_set,                                                               \
        .pick_clear = pick_clear,                                                           \
        ANNK_CODE_MEMBERS(ISA)                                                              \
    }

#endif
