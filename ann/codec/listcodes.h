/* listcodes.h - codes of product quantisation in the order in which lists are scanned.
 *
 * Place: codec, above kernels.  The layout is that of ann/kernels/lists.h: blocks of 16 vectors
 * (4 bits) or of 64, the last one narrower (6 and 8 bits), subspace after subspace.
 *
 * Here m is padded (annk_list_padded) and a code is u8 [m], each below 1 << bits; data has
 * annk_list_bytes for the n vectors it is laid out for.  Codes of padding subspaces are 0. */
#ifndef KITH_CODEC_LISTCODES_H
#define KITH_CODEC_LISTCODES_H

#include <stddef.h>
#include <stdint.h>

/* The code of vector i < n, into data and out of it. */
void listcodes_put(unsigned bits, uint32_t m, uint8_t *data, size_t n, size_t i,
                   const uint8_t *code);
void listcodes_get(unsigned bits, uint32_t m, const uint8_t *data, size_t n, size_t i,
                   uint8_t *code);

/* Data laid out for `from` vectors becomes that of `to`, with room for the larger: the codes of
 * those that stay are kept, all other places are zeros. */
void listcodes_resize(unsigned bits, uint32_t m, uint8_t *data, size_t from, size_t to);

#endif
