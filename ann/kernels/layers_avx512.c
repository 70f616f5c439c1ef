/*
 * The parts of a layer with AVX-512 and its VNNI: vpdpbusd takes the unsigned
 * bytes of a row, four of them to all lanes, times the weights of 16 columns.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "vf_avx512.h"

enum { TILE_ROWS = 6 };

ALWAYS_INLINE void products(const uint8_t *a, size_t k, int rows, const int8_t *w, int blocks,
                            int32_t sums[][64])
{
    __m512i s[TILE_ROWS][4];
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < blocks; b++)
            s[r][b] = _mm512_setzero_si512();
    for (size_t i = 0; i < k; i += 4) {
        __m512i x[4];
        for (int b = 0; b < blocks; b++)
            x[b] = _mm512_loadu_si512(w + (size_t)b * 16 * k + i * 16);
        for (int r = 0; r < rows; r++) {
            const __m512i q = _mm512_set1_epi32((int)*(const u32_any *)(a + (size_t)r * k + i));
            for (int b = 0; b < blocks; b++)
                s[r][b] = _mm512_dpbusd_epi32(s[r][b], q, x[b]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < blocks; b++)
            _mm512_storeu_si512(sums[r] + 16 * b, s[r][b]);
}

#include "body_layers.h"

DEFINE_LAYERS(avx512);
