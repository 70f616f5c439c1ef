/* model_data.h - small models made for tests: an encoder's folder with random weights. */
#ifndef KITH_TESTS_MODEL_DATA_H
#define KITH_TESTS_MODEL_DATA_H

#include <stddef.h>
#include <stdint.h>

enum {
    TINY_DIMS = 32,
    TINY_HEADS = 2,
    TINY_INNER = 64,
    TINY_LAYERS = 2,
    TINY_PLACES = 24,
    TINY_TOKENS = 60
};

/* Weights of a tensor in the order they are written, as floats. */
struct tiny_tensor {
    char name[80];
    size_t rows, width;
    float *data;
};

struct tiny {
    char dir[64]; /* the folder */
    struct tiny_tensor tensors[64];
    size_t n;
};

/* The folder of an encoder: type "F32", "F16" or "BF16", tensors' names behind `before`; the
 * vocabulary as vocab.txt or (json) tokenizer.json.  The same weights each time. */
void tiny_make(struct tiny *t, const char *type, const char *before, int json);
void tiny_free(struct tiny *t); /* removes the folder */
const float *tiny_get(const struct tiny *t, const char *name);

/* Writes text to dir/name. */
void tiny_write(const char *dir, const char *name, const void *data, size_t bytes);
/* A safetensors file of header (JSON) and data. */
void tiny_safetensors(const char *path, const char *header, const void *data, size_t bytes);

/* The path of a model that comes along; NULL: RAG_MODELS is not set. */
const char *model_that_comes_along(const char *name, char path[512]);

#endif
