/* listcodes.c - putting codes where the kernels of lists look for them.  See listcodes.h. */
#include <config.h>

#include <string.h>

#include "ann/codec/listcodes.h"
#include "ann/kernels/lists.h"

enum { BLOCK = 64, NIBBLE_BLOCK = 16 };

/* A block of 6 or 8 bits: rows of `width` bytes. */
struct block {
    size_t offset, width;
};

static size_t rows_of(unsigned bits, uint32_t m)
{
    return bits == 8 ? m : (size_t)m / 4 * 3;
}

/* The block of place i in data laid out for n. */
static struct block block_of(unsigned bits, uint32_t m, size_t n, size_t i)
{
    const size_t first = i / BLOCK * BLOCK, all = (n + 15) / 16 * 16;
    return (struct block){first * annk_list_code_bytes(bits, m),
                          all - first < BLOCK ? all - first : BLOCK};
}

/* ---- 4 bits ---- */

/* Where a vector's bytes begin. */
static size_t nibbles_at(uint32_t m, size_t i)
{
    return i / NIBBLE_BLOCK * NIBBLE_BLOCK * (m / 2) + 4 * (i % NIBBLE_BLOCK);
}

static void put_nibbles(uint32_t m, uint8_t *to, const uint8_t *code)
{
    for (uint32_t s = 0; s < m; s += 8, to += 64)
        for (unsigned g = 0; g < 4; g++)
            to[g] = (uint8_t)(code[s + g] | code[s + 4 + g] << 4);
}

static void get_nibbles(uint32_t m, const uint8_t *from, uint8_t *code)
{
    for (uint32_t s = 0; s < m; s += 8, from += 64)
        for (unsigned g = 0; g < 4; g++) {
            code[s + g] = from[g] & 15;
            code[s + 4 + g] = from[g] >> 4;
        }
}

static void clear_nibbles(uint32_t m, uint8_t *data, size_t i)
{
    uint8_t *const to = data + nibbles_at(m, i);
    for (size_t c = 0; c < m / 8; c++)
        memset(to + 64 * c, 0, 4);
}

/* Blocks stay what they are. */
static void resize_nibbles(uint32_t m, uint8_t *data, size_t from, size_t to)
{
    const size_t kept = from < to ? from : to, whole = (kept + 15) / 16 * 16;
    for (size_t i = kept; i < whole; i++)
        clear_nibbles(m, data, i);
    if (to > whole)
        memset(data + whole * (m / 2), 0, annk_list_bytes(4, m, to) - whole * (m / 2));
}

/* ---- 6 and 8 bits ---- */

static void put_bytes(uint32_t m, uint8_t *to, size_t width, const uint8_t *code)
{
    for (uint32_t s = 0; s < m; s++, to += width)
        *to = code[s];
}

static void get_bytes(uint32_t m, const uint8_t *from, size_t width, uint8_t *code)
{
    for (uint32_t s = 0; s < m; s++, from += width)
        code[s] = *from;
}

static void put_sixes(uint32_t m, uint8_t *to, size_t width, const uint8_t *code)
{
    for (uint32_t s = 0; s < m; s += 4)
        for (unsigned r = 0; r < 3; r++, to += width)
            *to = (uint8_t)(code[s + r] | code[s + 3] >> 2 * r << 6);
}

static void get_sixes(uint32_t m, const uint8_t *from, size_t width, uint8_t *code)
{
    for (uint32_t s = 0; s < m; s += 4) {
        code[s + 3] = 0;
        for (unsigned r = 0; r < 3; r++, from += width) {
            code[s + r] = *from & 63;
            code[s + 3] = (uint8_t)(code[s + 3] | *from >> 6 << 2 * r);
        }
    }
}

/* Rows of `width` bytes, of which the first `kept` are kept, become rows of `other`; those
 * behind a row that grows move first. */
static void reshape(uint8_t *data, size_t rows, size_t width, size_t other, size_t kept)
{
    for (size_t k = 0; k < rows; k++) {
        const size_t r = other > width ? rows - 1 - k : k;
        memmove(data + r * other, data + r * width, kept);
        memset(data + r * other + kept, 0, other - kept);
    }
}

static void resize_blocks(unsigned bits, uint32_t m, uint8_t *data, size_t from, size_t to)
{
    const size_t kept = from < to ? from : to, rows = rows_of(bits, m);
    size_t whole = kept / BLOCK * BLOCK * annk_list_code_bytes(bits, m);
    if (kept % BLOCK > 0) {
        const struct block before = block_of(bits, m, from, kept),
                           after = block_of(bits, m, to, kept);
        reshape(data + before.offset, rows, before.width, after.width, kept % BLOCK);
        whole += rows * after.width;
    }
    const size_t bytes = annk_list_bytes(bits, m, to);
    if (bytes > whole)
        memset(data + whole, 0, bytes - whole);
}

/* ---- all ---- */

void listcodes_put(unsigned bits, uint32_t m, uint8_t *data, size_t n, size_t i,
                   const uint8_t *code)
{
    if (bits == 4) {
        put_nibbles(m, data + nibbles_at(m, i), code);
        return;
    }
    const struct block b = block_of(bits, m, n, i);
    uint8_t *const to = data + b.offset + i % BLOCK;
    if (bits == 8)
        put_bytes(m, to, b.width, code);
    else
        put_sixes(m, to, b.width, code);
}

void listcodes_get(unsigned bits, uint32_t m, const uint8_t *data, size_t n, size_t i,
                   uint8_t *code)
{
    if (bits == 4) {
        get_nibbles(m, data + nibbles_at(m, i), code);
        return;
    }
    const struct block b = block_of(bits, m, n, i);
    const uint8_t *const from = data + b.offset + i % BLOCK;
    if (bits == 8)
        get_bytes(m, from, b.width, code);
    else
        get_sixes(m, from, b.width, code);
}

void listcodes_resize(unsigned bits, uint32_t m, uint8_t *data, size_t from, size_t to)
{
    if (bits == 4)
        resize_nibbles(m, data, from, to);
    else
        resize_blocks(bits, m, data, from, to);
}
