/* wire.h - what embedding and re-ranking servers are asked, and what they answer.
 *
 * Place: rag/embed, pure functions of bytes; http.c sends them.  Invariant: an answer is taken
 * whole or not at all: as many vectors as texts, each in its place by `index`, all of one
 * dimension, finite, of length above 0. */
#ifndef KITH_RAG_EMBED_WIRE_H
#define KITH_RAG_EMBED_WIRE_H

#include <stdbool.h>
#include <stddef.h>

#include <rag/rag.h>

enum wire_shape {
    WIRE_OPENAI, /* POST /v1/embeddings: OpenAI, llama.cpp, and most others */
    WIRE_OLLAMA, /* POST /api/embed */
    WIRE_TEI     /* POST /embed of text-embeddings-inference */
};

#define WIRE_DIMS_MAX 65536

/* The JSON body that asks for the vectors of texts [n], UTF-8; dims 0: as many as the model
 * has.  *body is the caller's, for rag_free. */
rag_err wire_ask_vectors(enum wire_shape shape, const char *model, size_t dims,
                         const char *const *texts, size_t n, char **body, size_t *bytes);

/* The vectors [n, *dims] of an answer, the caller's, for rag_free.  *dims: what is expected, 0
 * for whatever comes.  name: of the server, for messages.  RAG_EFORMAT says what is wrong,
 * RAG_EDIM another dimension, RAG_EREFUSED an error inside a good status. */
rag_err wire_vectors(enum wire_shape shape, const char *name, const char *body, size_t bytes,
                     size_t n, size_t *dims, float **vectors);

/* Re-ranking: the body in the shape of Cohere and Jina (llama.cpp too), or TEI's. */
rag_err wire_ask_scores(bool tei, const char *model, const char *query,
                        const char *const *texts, size_t n, char **body, size_t *bytes);

/* scores [n] of an answer of either shape; more is better, on any scale. */
rag_err wire_scores(const char *name, const char *body, size_t bytes, size_t n, double *scores);

#endif
