/*
 * Nibbles of 16 places looked up with AVX2, for rows and lists.  vpshufb looks
 * 16 nibbles up in one table, so the 64 bytes of a chunk are first brought
 * together by their position: two of the four positions in the halves of a
 * register, as places 0-3, 8-11, 4-7, 12-15.
 */
#ifndef ANNK_NIBBLES_AVX2_H
#define ANNK_NIBBLES_AVX2_H

#include <immintrin.h>

#include "body.h"

/* Chunks whose entries fit 16 bits: of a place 4 in each half, the halves added. */
enum { CHUNKS = 32 };

ALWAYS_INLINE __m256i load256(const void *p)
{
    return _mm256_loadu_si256(p);
}

/* 16-bit sums of entries: all of a lane modulo 2^16, and those of its upper byte. */
struct byte_sums {
    __m256i all, upper;
};

ALWAYS_INLINE void add_bytes(struct byte_sums *s, __m256i entries)
{
    s->all = _mm256_add_epi16(s->all, entries);
    s->upper = _mm256_add_epi16(s->upper, _mm256_srli_epi16(entries, 8));
}

ALWAYS_INLINE __m256i lower_bytes(const struct byte_sums *s)
{
    return _mm256_sub_epi16(s->all, _mm256_slli_epi16(s->upper, 8));
}

/* The 64 bytes of 16 places as *low (bytes 0 and 1 of each place) and *high (2 and 3). */
ALWAYS_INLINE void by_position(const uint8_t *bits, __m256i *low, __m256i *high)
{
    const __m256i order = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    enum { MIDDLE_SWAPPED = 0xd8 };
    const __m256i x = _mm256_shuffle_epi8(load256(bits), order),
                  y = _mm256_shuffle_epi8(load256(bits + 32), order);
    *low = _mm256_permute4x64_epi64(_mm256_unpacklo_epi32(x, y), MIDDLE_SWAPPED);
    *high = _mm256_permute4x64_epi64(_mm256_unpackhi_epi32(x, y), MIDDLE_SWAPPED);
}

/* A chunk's nibbles; [i] belongs to the tables at 32 * i and 32 * i + 16. */
ALWAYS_INLINE void chunk_nibbles(const uint8_t *bits, __m256i nibbles[4])
{
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i low, high;
    by_position(bits, &low, &high);
    nibbles[0] = _mm256_and_si256(low, nibble);
    nibbles[1] = _mm256_and_si256(high, nibble);
    nibbles[2] = _mm256_and_si256(_mm256_srli_epi16(low, 4), nibble);
    nibbles[3] = _mm256_and_si256(_mm256_srli_epi16(high, 4), nibble);
}

ALWAYS_INLINE void add_nibbles(struct byte_sums *s, const uint8_t *tables,
                               const __m256i nibbles[4])
{
    for (int i = 0; i < 4; i++)
        add_bytes(s, _mm256_shuffle_epi8(load256(tables + 32 * i), nibbles[i]));
}

/* 32-bit sums of 16 places, between chunks. */
struct place_sums {
    __m256i even, odd;
};

/* Both halves added, as 32 bits. */
ALWAYS_INLINE __m256i widen_halves(__m256i v)
{
    return _mm256_cvtepu16_epi32(
        _mm_add_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
}

ALWAYS_INLINE void add_halves(struct place_sums *p, const struct byte_sums *s, int shift)
{
    p->even =
        _mm256_add_epi32(p->even, _mm256_slli_epi32(widen_halves(lower_bytes(s)), shift));
    p->odd = _mm256_add_epi32(p->odd, _mm256_slli_epi32(widen_halves(s->upper), shift));
}

/* Places 0-7 and 8-15. */
ALWAYS_INLINE void places_in_order(const struct place_sums *p, __m256i out[2])
{
    out[0] = _mm256_unpacklo_epi32(p->even, p->odd);
    out[1] = _mm256_unpackhi_epi32(p->even, p->odd);
}

#endif
