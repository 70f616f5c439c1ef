/* vecfile.h - files of vectors with labels, written row by row.
 *
 * Place: rag, over ann/io; vectors.c fills them.  Invariants: the number of rows is known
 * before the first and kept to, so that a header is written once; a file has its name only when
 * it is whole, and FILE.ids, where there is one, before FILE. */
#ifndef KITH_RAG_VECFILE_H
#define KITH_RAG_VECFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rag/rag.h>

struct vecfile_shape {
    rag_export_format format;
    bool f16;
    uint64_t n;
    size_t dims;
    const int64_t *ids; /* [n] of chunks, in the order of the rows; NULL: labels are texts */
};

struct vecfile_row {
    const char *label;   /* NULL: the row's id is its label */
    const char *source;  /* of a chunk, with its range; NULL: none */
    uint64_t start, end; /* bytes of the document's text */
    const float *vec;    /* [dims] */
};

struct vecfile;

/* path NULL or "-": standard output.  RAG_EINVAL: that format needs a file, or knows no f16. */
rag_err vecfile_create(const char *path, const struct vecfile_shape *shape,
                       struct vecfile **out);
rag_err vecfile_put(struct vecfile *f, const struct vecfile_row *row);
rag_err vecfile_finish(struct vecfile *f); /* frees f in any case */
void vecfile_abandon(struct vecfile *f);   /* NULL is allowed */

#endif
