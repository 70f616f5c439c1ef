/* digest.h - SHA-256: what a file, a text and an embedder are known by.
 *
 * Place: rag, below its folders; digest.c is the sole owner of nettle. */
#ifndef KITH_RAG_DIGEST_H
#define KITH_RAG_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define DIGEST_BYTES 32

struct digest {
    uint8_t b[DIGEST_BYTES];
};

struct digest_part {
    const void *data;
    size_t bytes;
};

/* Of the parts [n], one behind the other. */
struct digest digest_of(const struct digest_part *parts, size_t n);

/* Of what comes in pieces: begin, add as often as wanted, end. */
struct digest_sum {
    uint64_t state[16]; /* nettle's, and digest.c's alone to read */
};

void digest_begin(struct digest_sum *s);
void digest_add(struct digest_sum *s, const void *data, size_t bytes);
struct digest digest_end(const struct digest_sum *s);

/* The first `bytes` of d in hexadecimal, with a NUL; out [2 * bytes + 1]. */
void digest_hex(const struct digest *d, size_t bytes, char *out);

#endif
