/* safetensors.h - the tensors of a safetensors file, mapped.
 *
 * Place: rag/embed, above ann/io.  Source: the format's own description (8 bytes of length, a
 * JSON object of names, types, shapes and places, then bytes).
 * Invariant: every tensor that is handed out lies whole within the file, and its bytes are
 * those of its shape and type; the header is hostile until all of it was checked. */
#ifndef KITH_RAG_EMBED_SAFETENSORS_H
#define KITH_RAG_EMBED_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include <rag/rag.h>

enum tensor_type { TENSOR_F32, TENSOR_F16, TENSOR_BF16, TENSOR_F64, TENSOR_I8, TENSOR_OTHER };

struct tensor {
    const unsigned char *data; /* of any alignment */
    size_t bytes;
    enum tensor_type type;
    size_t rows, width; /* of two dimensions; one: rows 1; more: the first, and the rest */
};

struct safetensors;

rag_err safetensors_open(const char *path, struct safetensors **out);
void safetensors_close(struct safetensors *s); /* NULL is allowed */
size_t safetensors_bytes(const struct safetensors *s); /* of the file */
const char *safetensors_path(const struct safetensors *s);

/* RAG_ENOENT names the tensor and the file. */
rag_err safetensors_get(const struct safetensors *s, const char *name, struct tensor *out);

/* Row i as floats [width]; RAG_ENOTSUP for other types than the first five. */
rag_err tensor_row(const struct tensor *t, size_t i, float *out);

#endif
