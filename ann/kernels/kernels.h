/*
 * The contract of the distance kernels: one table of functions per
 * instruction set, chosen once at run time (dispatch.c).  Depends on libc
 * only.  docs/kernels.md has the reasoning and the measurements.
 *
 * Rules that hold for every function of every table:
 *  - any length, 0 included; no pointer needs any alignment, not even that of
 *    its element type;
 *  - tail rule: not one byte before the first or after the last element is
 *    read or written (a vector may end where a page ends);
 *  - inputs are not modified unless said so; no function allocates, fails,
 *    keeps state or touches the floating-point environment, so all are safe
 *    to call from any number of threads.
 *
 * Error of the float distances against the same sum in double, for finite
 * inputs (f16 and bf16 convert to f32 exactly, so the bound is the same), with
 *      u = (dim / 16 + 16) * 2^-24,
 *      L2:  |got - exact| <= u * exact              + dim * 2^-148
 *      IP:  |got - exact| <= u * sum |a_i * b_i|    + dim * 2^-148
 *      COS: |got - exact| <= 4 * u
 *  Sums beyond FLT_MAX are infinite.  No kernel returns NaN for finite inputs:
 *  an inner product with partial sums of both infinities is +INFINITY (far).
 *  COS stays within its bound for any magnitude (it falls back to double where
 *  a squared norm leaves float's range), is 1 when either vector is zero, and
 *  lies in [0, 2].  Float results may differ between tables within the bound;
 *  in one table `many` gives the bits of `dist`.
 * Integer results (I8, U8, B1) are exact and the same in every table; where a
 *  float is returned it is the one nearest to the exact integer (COS of
 *  integers: 1 - dot / sqrt(a.a * b.b) in double, then rounded).
 */
#ifndef ANNK_KERNELS_H
#define ANNK_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Type of the STORED vector. */
enum annk_type { ANNK_F32, ANNK_F16, ANNK_BF16, ANNK_I8, ANNK_U8, ANNK_B1, ANNK_NTYPES };

/* Smaller is nearer. */
enum annk_metric {
    ANNK_L2,      /* squared Euclidean distance */
    ANNK_IP,      /* -dot */
    ANNK_COS,     /* 1 - cosine of the raw (not normalised) vectors */
    ANNK_HAMMING, /* differing bits; B1 only, and B1 has no other metric */
    ANNK_NMETRICS
};

/*
 * One query against one vector.  F32, F16 and BF16 storage take an f32 query
 * (prepared once); I8, U8 and B1 a query of the stored type.  dim counts
 * elements, bits for B1.
 */
typedef float (*annk_dist_fn)(const void *query, const void *vec, size_t dim);

/*
 * The same for n slots gathered from base: out[i] is, to the bit,
 * dist(query, base + slots[i] * stride, dim).  stride in bytes.  Prefetches
 * the vectors ahead by itself.
 */
typedef void (*annk_many_fn)(const void *query, const void *base, size_t stride,
                             const uint32_t *slots, size_t n, size_t dim, float *out);

/* Scalar codes of a vector; codec/codes.h has their meaning. */
enum annk_code {
    ANNK_SQ8, /* byte b of a dimension stands for b - 128 */
    ANNK_SQ4, /* nibble c of a dimension stands for 2 c - 15; of each 128 dimensions the low
                 nibbles of 64 bytes are the first 64, the high nibbles the rest */
    ANNK_NCODES
};

/*
 * dots[i] = sum over the dimensions of query * (what the code in slots[i]
 * stands for), an exact integer, the same in every table.  query_sum is the
 * sum of query [padded].  padded is a multiple of 64 (SQ4: of 128), at most
 * 65,664: then |dot| <= 128 * 128 * 65,664 < 2^31.  A code is padded (SQ4:
 * padded / 2) bytes at base + slot * stride; the vectors `ahead` places
 * further on in slots are fetched from memory meanwhile (0: a good number for
 * most machines), the first ones at once.
 */
typedef void (*annk_code_dots_fn)(const int8_t *query, int32_t query_sum, const uint8_t *base,
                                  size_t stride, const uint32_t *slots, size_t n,
                                  size_t padded, unsigned ahead, int32_t *dots);

struct annk_rest {
    float norm2, error2;
    int32_t high_sum, low_sum;
};

struct annk_ops {
    const char *name; /* "scalar", "avx2", "avx512" or "neon" */

    annk_dist_fn dist[ANNK_NMETRICS][ANNK_NTYPES]; /* NULL where meaningless */
    annk_many_fn many[ANNK_NMETRICS][ANNK_NTYPES]; /* NULL exactly where dist is */

    /* Exact integers, identical in every table. */
    int64_t (*dot_i8)(const int8_t *a, const int8_t *b, size_t n);
    int64_t (*l2_i8)(const int8_t *a, const int8_t *b, size_t n);
    int64_t (*dot_u8)(const uint8_t *a, const uint8_t *b, size_t n);
    int64_t (*l2_u8)(const uint8_t *a, const uint8_t *b, size_t n);
    /* Bit i is bit i % 8 (from the least significant) of byte i / 8; bits past
       `bits` in the last byte do not count. */
    uint64_t (*hamming)(const uint8_t *a, const uint8_t *b, size_t bits);

    /*
     * Conversions of n elements, the same bits in every table.  Narrowing
     * rounds to nearest even, keeps subnormals, overflows to infinity and
     * makes NaN quiet.  src and dst do not overlap.
     */
    void (*f16_to_f32)(const uint16_t *src, float *dst, size_t n);
    void (*f32_to_f16)(const float *src, uint16_t *dst, size_t n);
    void (*bf16_to_f32)(const uint16_t *src, float *dst, size_t n);
    void (*f32_to_bf16)(const float *src, uint16_t *dst, size_t n);

    /* Sum of squares; error bound of L2. */
    float (*norm2_f32)(const float *x, size_t n);

    /* Index of the first NaN or infinity, n when all are finite. */
    size_t (*find_nonfinite_f32)(const float *x, size_t n);

    /*
     * Writes the indices i with x[i] < limit, ascending; returns how many.
     * out has room for n.  NaN is never below.
     */
    size_t (*below_f32)(const float *x, size_t n, float limit, uint32_t *out);

    /*
     * dots[i] = max(0, norms[i] + qnorm - 2 * dots[i]) in place (a row of dot
     * products becomes squared L2 distances), then as below_f32 on the result.
     * Same bits in every table.
     */
    size_t (*l2_below_f32)(float *dots, const float *norms, float qnorm, size_t n, float limit,
                           uint32_t *out);

    /*
     * Writes those of ids [n] that are below `bits` and whose bit in the bitmap
     * [(bits + 63) / 64] is set (pick_set) or clear (pick_clear), in their
     * order; returns how many.  out has room for n and does not overlap.
     */
    size_t (*pick_set)(const uint32_t *ids, size_t n, const uint64_t *bitmap, uint32_t bits,
                       uint32_t *out);
    size_t (*pick_clear)(const uint32_t *ids, size_t n, const uint64_t *bitmap, uint32_t bits,
                         uint32_t *out);

    annk_code_dots_fn code_dots[ANNK_NCODES];

    /*
     * The steps of a rotation, in place, the same bits in every table.
     * fwht_f32: the fast Walsh-Hadamard transform, not normalised; n is a power
     * of two >= 64.  Butterflies of span 1, 2, 4, ... n / 2 in this order, each
     * (a, b) -> (a + b, a - b).
     */
    void (*fwht_f32)(float *x, size_t n);
    /* Negates x[i] where bit i % 64 of word i / 64 is set. */
    void (*flip_signs_f32)(float *x, const uint64_t *bits, size_t n);
    /* (a[i], b[i]) -> (a[i] + b[i], a[i] - b[i]); a and b do not overlap. */
    void (*butterfly_f32)(float *a, float *b, size_t n);

    /*
     * out[i] = y[i] * inverse_step (rounded to float), rounded to the nearest
     * integer, even on a tie, and brought to -127..127; a NaN gives -127.  Same
     * bits in every table.
     */
    void (*quantise_s8)(const float *y, float inverse_step, int8_t *out, size_t n);
    /* The largest |x[i]|, 0 when n is 0; x without NaN. */
    float (*max_abs_f32)(const float *x, size_t n);

    /*
     * What quantise_s8 left of y [n], n a multiple of 16: low[i] is
     * (y[i] - step * high[i]) * inverse_low_step, rounded and brought to
     * -127..127.  The sums of y^2, of the rest's squares (error bound of L2),
     * of high and of low.
     */
    void (*rest_s8)(const float *y, const int8_t *high, float step, float inverse_low_step,
                    int8_t *low, size_t n, struct annk_rest *sums);
};

/*
 * The table for this machine: the best one that was built in and that CPU and
 * operating system support, or the one KITH_ISA (scalar, avx2, avx512, neon)
 * asks for.  Chosen at the first call; never NULL.
 */
const struct annk_ops *annk_select(void);

/* Why KITH_ISA (unknown name, or not available here) or KITH_PREFETCH was not
   followed; NULL when they were, or were not set.  Valid after annk_select. */
const char *annk_env_error(void);

/*
 * Whether rows are fetched into the second level of cache rather than the
 * first.  A row has more lines than the first level has buffers for misses; what
 * a processor does with the rest differs: docs/kernels.md, "Prefetch".  Set by
 * annk_select: as KITH_PREFETCH (l1, l2) asks, else by vendor until someone has
 * measured it.  Of the process; any thread may change it.
 */
extern int annk_prefetch_l2;

/* 1 for the one caller that may measure it: the first, unless KITH_PREFETCH asks
   for a level. */
int annk_prefetch_claim(void);
void annk_prefetch_choose(int l2);

/* Fetches every line of bytes from `from` on, a multiple of 64 apart. */
static inline void annk_prefetch(const void *from, size_t bytes)
{
    const char *const p = (const char *)from;
    /* The empty asm keeps gcc 12 from merging or dropping the prefetches of a loop. */
    if (__atomic_load_n(&annk_prefetch_l2, __ATOMIC_RELAXED))
        for (size_t at = 0; at < bytes; at += 64) {
            __builtin_prefetch(p + at, 0, 2);
            __asm__ volatile("");
        }
    else
        for (size_t at = 0; at < bytes; at += 64) {
            __builtin_prefetch(p + at, 0, 3);
            __asm__ volatile("");
        }
}

/* The table of that name; NULL when this machine or this build lacks it. */
const struct annk_ops *annk_by_name(const char *name);

extern const struct annk_ops annk_scalar; /* plain C, always there */
extern const struct annk_ops annk_avx2;   /* AVX2 + FMA + F16C */
extern const struct annk_ops annk_avx512; /* AVX-512 as in Ice Lake and Zen 4 */
extern const struct annk_ops annk_neon;   /* AArch64 Advanced SIMD */

#endif
