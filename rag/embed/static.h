/* static.h - static embedders: a text's vector is the weighted mean of its tokens' vectors.
 *
 * Place: rag/embed, above wordpiece, model and the kernels of layers.h.
 * Sources: Arora et al., "A Simple but Tough-to-Beat Baseline for Sentence Embeddings", ICLR
 * 2017; Tulkens, van Dongen, "Model2Vec", 2024; Pennington et al., "GloVe", 2014.
 * Invariant: rows are used as they lie in the mapped file; embedding asks for no memory. */
#ifndef KITH_RAG_EMBED_STATIC_H
#define KITH_RAG_EMBED_STATIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rag/rag.h>

struct model;
struct model_draft;
struct table; /* read by any number of threads */

/* kith's own file, kind "static"; m becomes the table's, also where this fails. */
rag_err table_open_model(struct model *m, struct table **out);
/* Word vectors of GloVe or word2vec, text or binary: a text's words as text_words gives them.
 */
rag_err table_open_words(const char *path, struct table **out);
/* A Model2Vec folder: model.safetensors with "embeddings" (and "weights", "mapping"),
 * tokenizer.json with a WordPiece vocabulary, config.json. */
rag_err table_open_folder(const char *dir, struct table **out);
void table_close(struct table *t); /* NULL is allowed */

struct table_facts {
    uint32_t dims, tokens;
    bool wordpiece;              /* else whole words */
    const char *name, *revision; /* borrowed */
};
struct table_facts table_facts(const struct table *t);

/* out [dims], of length 1: the mean of the known tokens' vectors, weighted, less the table's
 * own mean; the first axis where no token is known. */
void table_embed(const struct table *t, const char *text, size_t bytes, float *out);

/* Token i and its vector with its weight [dims]; false beyond the last. */
bool table_token(const struct table *t, size_t i, const char **token, float *vector);

/* The table as kith's own file: 8 bits a number and a scale a row. */
rag_err table_save(const struct table *t, const char *path, const char *name,
                   const char *source, const char *licence);

/* What a table is made of, for those who make one. */
struct table_parts {
    const char *name;
    const char *words; /* [bytes] tokens, each with a NUL */
    size_t bytes, n;
    bool wordpiece, lower;
    uint32_t dims;
    size_t stride;     /* floats from one row to the next */
    const float *rows; /* [n, dims], weights in them */
    const float *mean; /* [dims]; NULL: none */
};
/* Quantises and writes; extra: further texts and numbers of the file, NULL: none. */
rag_err table_write(const struct table_parts *p, const char *path,
                    const struct model_draft *extra);

#endif
