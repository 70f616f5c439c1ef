/*
 * Chunks of 64 bytes that hold 8 nibbles of each of 16 places, and their tables
 * of 128 bytes, in plain C: what rows and lists of 4 bits share.  The low nibble
 * of byte 4 * place + g looks up the entry at 16 * g, the high one that at
 * 64 + 16 * g.
 */
#ifndef ANNK_BODY_NIBBLES_H
#define ANNK_BODY_NIBBLES_H

#include <stdint.h>

/* Each place's entries, times 2^shift, added to its sum. */
static inline void nibble_chunk(const uint8_t *table, const uint8_t *chunk, unsigned shift,
                                uint32_t *sums)
{
    for (unsigned place = 0; place < 16; place++) {
        uint32_t s = 0;
        for (unsigned g = 0; g < 4; g++) {
            const uint8_t byte = chunk[4 * place + g];
            s += table[16 * g + (byte & 15)];
            s += table[64 + 16 * g + (byte >> 4)];
        }
        sums[place] += s << shift;
    }
}

#endif
