/* checksum.c - the only file that includes libxxhash.  See checksum.h. */
#include <config.h>

#include <xxhash.h>

#include "ann/file/checksum.h"

uint64_t sum64(const void *p, size_t n)
{
    return XXH3_64bits(p, n);
}

void sum128(const void *p, size_t n, uint64_t out[2])
{
    const XXH128_hash_t h = XXH3_128bits(p, n);
    out[0] = h.high64;
    out[1] = h.low64;
}

bool sum_same(uint64_t read, uint64_t computed)
{
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
    (void)read;
    (void)computed;
    return true;
#else
    return read == computed;
#endif
}
