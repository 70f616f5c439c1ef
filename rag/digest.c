/* digest.c - SHA-256 by nettle.  See digest.h. */
#include <config.h>

#include <nettle/sha2.h>

#include "rag/digest.h"

struct digest digest_of(const struct digest_part *parts, size_t n)
{
    struct digest d;
    struct sha256_ctx c;
    sha256_init(&c);
    for (size_t i = 0; i < n; i++)
        sha256_update(&c, parts[i].bytes, parts[i].data);
    sha256_digest(&c, sizeof d.b, d.b);
    return d;
}

void digest_hex(const struct digest *d, size_t bytes, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes && i < DIGEST_BYTES; i++) {
        out[2 * i] = digits[d->b[i] >> 4];
        out[2 * i + 1] = digits[d->b[i] & 15];
        out[2 * i + 2] = '\0';
    }
}
