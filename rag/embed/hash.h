/* hash.h - builtin:hash-v1, an embedder that knows no language.
 *
 * Place: rag/embed, above rag/text.  Frozen: the same text has the same vector in every version
 * and on every machine, up to rounding of the last bit; hash.c spells the function out. */
#ifndef KITH_RAG_EMBED_HASH_H
#define KITH_RAG_EMBED_HASH_H

#include <stddef.h>

#include <rag/rag.h>

#define HASH_DIMS 512

struct hasher; /* scratch memory of one thread */

rag_err hasher_open(struct hasher **out);
void hasher_close(struct hasher *h); /* NULL is allowed */

/* The vector of text [bytes], UTF-8, at out [HASH_DIMS], of length 1; a text without any word
 * has the first axis.  No memory is asked for once texts of that size were seen. */
rag_err hasher_embed(struct hasher *h, const char *text, size_t bytes, float *out);

#endif
