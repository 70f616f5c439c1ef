/* digest.c - SHA-256 by nettle.  See digest.h. */
#include <config.h>

#include <nettle/sha2.h>
#include <string.h>

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

_Static_assert(sizeof(struct sha256_ctx) <= sizeof(struct digest_sum), "room for nettle's");

/* The state goes in and out by memcpy: it has no type of nettle's in digest.h. */
void digest_begin(struct digest_sum *s)
{
    struct sha256_ctx c;
    sha256_init(&c);
    memcpy(s->state, &c, sizeof c);
}

void digest_add(struct digest_sum *s, const void *data, size_t bytes)
{
    struct sha256_ctx c;
    memcpy(&c, s->state, sizeof c);
    sha256_update(&c, bytes, data);
    memcpy(s->state, &c, sizeof c);
}

struct digest digest_end(const struct digest_sum *s)
{
    struct sha256_ctx c;
    struct digest d;
    memcpy(&c, s->state, sizeof c);
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
