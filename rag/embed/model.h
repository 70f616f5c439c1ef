/* model.h - kith's own file of a model: named texts, numbers and tensors, mapped.
 *
 * Place: rag/embed, above ann/base and ann/io.  docs/format.md has the bytes: one msgpack map,
 * so that any language reads it, whose tensors begin on multiples of 64 bytes.
 * Invariant: what model_tensor gives lies whole in the file with the type and shape asked for;
 * the digest is told, and checked by model_verify alone, for opening reads only the head. */
#ifndef KITH_RAG_EMBED_MODEL_H
#define KITH_RAG_EMBED_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include <rag/rag.h>

#define MODEL_TENSORS 512 /* most of a file */
#define MODEL_NOTES   64  /* texts and numbers each */

struct model;

/* RAG_EFORMAT: no model; RAG_EVERSION: of a later version; RAG_EDAMAGED. */
rag_err model_open(const char *path, struct model **out);
void model_close(struct model *m); /* NULL is allowed */

const char *model_path(const struct model *m);
const char *model_kind(const struct model *m);   /* "encoder", "static" */
const char *model_digest(const struct model *m); /* 64 hex digits of what follows from it */
/* "" and 0 where it is not there. */
const char *model_text(const struct model *m, const char *key);
uint64_t model_number(const struct model *m, const char *key);

/* Borrowed; types: "f32", "f16", "i8", "u8", "q4" (see q4.h; width counts numbers).
 * RAG_EDAMAGED names the tensor, the file, and what is wrong. */
rag_err model_tensor(const struct model *m, const char *name, const char *type, size_t rows,
                     size_t width, const void **out);
/* How many rows tensor `name` has; 0: not there. */
size_t model_rows(const struct model *m, const char *name);
size_t model_width(const struct model *m, const char *name);

/* All bytes against the digest. */
rag_err model_verify(const struct model *m);

/* ---- writing ---- */

struct model_draft {
    const char *kind;
    struct {
        const char *key, *value;
    } texts[MODEL_NOTES];
    struct {
        const char *key;
        uint64_t value;
    } numbers[MODEL_NOTES];
    struct {
        char name[64];
        const char *type;
        size_t rows, width;
        const void *data;
    } tensors[MODEL_TENSORS];
    size_t ntexts, nnumbers, ntensors;
};

void model_put_text(struct model_draft *d, const char *key, const char *value);
void model_put_number(struct model_draft *d, const char *key, uint64_t value);
/* data is borrowed until model_save. */
void model_put_tensor(struct model_draft *d, const char *name, const char *type, size_t rows,
                      size_t width, const void *data);
/* Writes it beside path, then renames. */
rag_err model_save(const struct model_draft *d, const char *path);

size_t model_type_bytes(const char *type, size_t rows, size_t width); /* SIZE_MAX: none */

#endif
