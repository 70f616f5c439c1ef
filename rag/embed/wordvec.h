/* wordvec.h - files of word vectors: word2vec's text and binary ones, GloVe's.
 *
 * Place: rag/embed.  The formats: Mikolov's word2vec (first line "words dims", then lines of a
 * word and its numbers, or records of a word, a blank, dims f32 of little endian and perhaps a
 * newline; fastText's .vec are the former) and Pennington's GloVe (the lines alone). */
#ifndef KITH_RAG_EMBED_WORDVEC_H
#define KITH_RAG_EMBED_WORDVEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rag/rag.h>

#define WORDVEC_DIMS_MAX 65536
#define WORDVEC_LINE_MAX ((size_t)1 << 20) /* bytes of a line, or of a record's word */
#define WORDVEC_MEMORY   ((size_t)4 << 30)

/* Words are UTF-8, not empty, without a newline, each there once; numbers are finite. */
struct wordvec {
    size_t n;
    uint32_t dims;
    char *words;       /* NUL-ended, one after the other */
    size_t *at;        /* [n] where in words each begins, ascending */
    float *vectors;    /* [n, dims] */
    size_t duplicates; /* left out: the word was there before */
    size_t skipped;    /* left out: the word is empty, not UTF-8, or holds a NUL or newline */
};

static inline const char *wordvec_word(const struct wordvec *v, size_t i)
{
    return v->words + v->at[i];
}

/* Reads the file at path ("-": standard input), whose format its content tells: a first line of
 * two whole numbers is a header.  max_memory: bytes it may take while reading, 0 for
 * WORDVEC_MEMORY.  RAG_EFORMAT names the line or record and the value; RAG_ELIMIT: too little
 * max_memory, or a line above WORDVEC_LINE_MAX; RAG_ENOENT, RAG_EIO, RAG_ENOMEM. *out is
 * untouched on failure, else for wordvec_free.  The file is mapped: who shortens it meanwhile
 * ends the process by SIGBUS. */
rag_err wordvec_read(const char *path, size_t max_memory, struct wordvec *out);
void wordvec_free(struct wordvec *v);

/* Writes v as word2vec would, to a temporary file that is then renamed to path ("-": to
 * standard output).  RAG_EINVAL, before a byte is written, if a number is not finite or a word
 * could not be read back: it is empty, not UTF-8, holds a newline, begins or ends with a blank,
 * or, of a binary file, holds a blank. */
rag_err wordvec_write(const char *path, bool binary, const struct wordvec *v);

/* Used by the above: at most 48 bytes of s for a message, printable. */
#define WORDVEC_CLIP 64
const char *wordvec_clip(const char *s, size_t bytes, char out[WORDVEC_CLIP]);
static inline bool wordvec_blank(char c)
{
    return c == ' ' || c == '\t';
}

#endif
