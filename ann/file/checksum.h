/* checksum.h - XXH3 of bytes in memory and of the 1 MiB blocks of a section.
 *
 * Place: file; checksum.c alone includes libxxhash.  Checksums stop accidents, not attackers:
 * nothing may be skipped because a checksum was right. */
#ifndef KITH_FILE_CHECKSUM_H
#define KITH_FILE_CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SUM_BLOCK ((uint64_t)1 << 20)

/* XXH3-64 without a seed, and the high and low half of XXH3-128. */
uint64_t sum64(const void *p, size_t n);
void sum128(const void *p, size_t n, uint64_t out[2]);

/* Whether the sum that was read is the one computed.  A fuzzer's build says yes to everything,
 * for else it would never come past the first one. */
bool sum_same(uint64_t read, uint64_t computed);

#endif
