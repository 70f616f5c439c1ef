/*
 * The parts of a layer with AVX2 and FMA.  vpmaddubsw would saturate, so even
 * and odd bytes are widened to 16 bits: the sums of two such products of a
 * lane are the four products of its 32 bits.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "vf_avx2.h"

enum { TILE_ROWS = 2 };

/* Of one block of 16 columns: two vectors of 8. */
ALWAYS_INLINE void block_products(const uint8_t *a, size_t k, int rows, const int8_t *w,
                                  int32_t sums[][64], size_t at)
{
    const __m256i byte = _mm256_set1_epi16(255);
    __m256i s[TILE_ROWS][2];
    for (int r = 0; r < rows; r++)
        s[r][0] = s[r][1] = _mm256_setzero_si256();
    for (size_t i = 0; i < k; i += 4) {
        __m256i even[2], odd[2];
        for (int h = 0; h < 2; h++) {
            const __m256i x = _mm256_loadu_si256((const void *)(w + i * 16 + 32 * h));
            even[h] = _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8);
            odd[h] = _mm256_srai_epi16(x, 8);
        }
        for (int r = 0; r < rows; r++) {
            const __m256i q = _mm256_set1_epi32((int)*(const u32_any *)(a + (size_t)r * k + i));
            const __m256i q0 = _mm256_and_si256(q, byte), q1 = _mm256_srli_epi16(q, 8);
            for (int h = 0; h < 2; h++) {
                s[r][h] = _mm256_add_epi32(s[r][h], _mm256_madd_epi16(q0, even[h]));
                s[r][h] = _mm256_add_epi32(s[r][h], _mm256_madd_epi16(q1, odd[h]));
            }
        }
    }
    for (int r = 0; r < rows; r++)
        for (int h = 0; h < 2; h++)
            _mm256_storeu_si256((void *)(sums[r] + at + 8 * h), s[r][h]);
}

ALWAYS_INLINE void products(const uint8_t *a, size_t k, int rows, const int8_t *w, int blocks,
                            int32_t sums[][64])
{
    for (int b = 0; b < blocks; b++)
        block_products(a, k, rows, w + (size_t)b * 16 * k, sums, (size_t)b * 16);
}

#include "body_layers.h"

DEFINE_LAYERS(avx2);
