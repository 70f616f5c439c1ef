/* growing.h - a text that is built up piece by piece.
 *
 * Place: rag/answer; rag/eval uses it, too.  Invariant: running out of memory is remembered
 * in `failed`, and what was there before stays whole and ends with a NUL. */
#ifndef KITH_RAG_ANSWER_GROWING_H
#define KITH_RAG_ANSWER_GROWING_H

#include <stdbool.h>
#include <stddef.h>

struct growing {
    char *text; /* [bytes] and a NUL; NULL before the first piece */
    size_t bytes, room;
    bool failed;
};

/* False when out of memory; from then on nothing is added. */
bool growing_put(struct growing *g, const char *s, size_t bytes);
bool growing_puts(struct growing *g, const char *s);
void growing_free(struct growing *g);

#endif
