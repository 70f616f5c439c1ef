/* decimal.h - decimal numbers to f32 and back, fast and whatever the locale.
 *
 * Place: rag/embed, for files of vectors written as text. */
#ifndef KITH_RAG_EMBED_DECIMAL_H
#define KITH_RAG_EMBED_DECIMAL_H

#include <stddef.h>

enum decimal {
    DECIMAL_OK,
    DECIMAL_NONE,      /* no number begins there, or one longer than DECIMAL_MAX */
    DECIMAL_NOT_FINITE /* nan, inf, or larger than an f32 can be */
};

/* Bytes of the longest number that is read, and room for any that decimal_print writes. */
#define DECIMAL_MAX  256
#define DECIMAL_ROOM 40

/* Reads the number at *at (as strtof in the C locale would, but no hexadecimal and no white
 * space before it) and puts *at behind it; on DECIMAL_NONE both are untouched, on
 * DECIMAL_NOT_FINITE only *at moves. */
enum decimal decimal_read(const char **at, const char *end, float *out);

/* The shortest digits that decimal_read takes back to x, which is finite; not NUL-ended.
 * Returns how many bytes. */
size_t decimal_print(float x, char out[DECIMAL_ROOM]);

#endif
