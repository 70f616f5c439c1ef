/* embed.h - embedders: who turns texts into vectors, and how one is known again.
 *
 * Place: rag/embed, above rag/net and rag/text.  Invariants: what an embedder hands over is
 * checked whole (count, dimension, finite, of length above 0) before `take` sees it; no batch
 * is taken in part; a text's prefix is put before it here and nowhere else. */
#ifndef KITH_RAG_EMBED_H
#define KITH_RAG_EMBED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rag/rag.h>

struct net;

enum embed_side { EMBED_DOCUMENT, EMBED_QUERY };

/* What makes two vectors comparable: all of it must be equal. */
struct embed_identity {
    const char *uri;      /* "builtin:hash-v1", "openai:text-embedding-3-small@512", ... */
    const char *model;    /* the part of it that names the model */
    const char *revision; /* "" where none is known */
    uint32_t dims;        /* 0: not known until the first answer */
    bool normalised;      /* vectors are of length 1 */
    const char *prefix_document, *prefix_query; /* put before a text; "" for none */
};

struct embed_settings {
    struct net *net; /* borrowed; NULL: only embedders in this process */
    /* "openai.base_url", "openai.api_key", "ollama.host", "tei.api_key", "llamacpp.api_key",
     * "embed.batch", "embed.prefix_document", "embed.prefix_query", ...; NULL: not set. */
    const char *(*setting)(void *arg, const char *name);
    void *setting_arg;
    unsigned tries;            /* of a request; 0: 3 */
    unsigned timeout_ms;       /* of a request; 0: 120000 */
    unsigned threads;          /* of an encoder in this process; 0: pool_default_threads */
    int (*on_stop)(void *arg); /* as in net.h */
    void *stop_arg;
};

struct embedder; /* one thread at a time */

/* Opens what uri names.  RAG_EINVAL: no such kind of embedder, or no model or address where one
 * is needed; RAG_ENOTSUP: it needs a net. */
rag_err embed_open(const char *uri, const struct embed_settings *s, struct embedder **out);

/* One whose vectors the caller computes; id's strings are copied. */
typedef rag_err (*embed_fn)(void *arg, enum embed_side side, const char *const *texts, size_t n,
                            float *out);
rag_err embed_custom(const struct embed_identity *id, embed_fn fn, void *arg,
                     struct embedder **out);
void embed_close(struct embedder *e); /* NULL is allowed */

/* Borrowed; dims is filled in by the first answer, and never changes after. */
const struct embed_identity *embed_identity(const struct embedder *e);

/* True of a static one: its vectors know words, not contexts. */
bool embed_is_static(const struct embedder *e);

/* True if computing a vector again costs less than keeping it, and always gives the same. */
bool embed_is_free(const struct embedder *e);

/* True if it asks no server. */
bool embed_is_local(const struct embedder *e);

/* vectors [n, dims] of texts first .. first + n - 1.  Not RAG_OK ends the work with that. */
typedef rag_err (*embed_take_fn)(void *arg, size_t first, size_t n, size_t dims,
                                 const float *vectors);

/* The vectors of texts [n] (UTF-8, no NUL inside, not empty), handed to `take` batch by batch
 * in ascending order, each batch as soon as it is checked.  A text that the server finds too
 * large even alone, for good, has each[i] = RAG_ETOOLARGE and its message is the thread's; the
 * others go on, and the function still gives RAG_OK.  each: [n], written for every text
 * reached; any other error ends the work, and what `take` was given stays given. */
rag_err embed_texts(struct embedder *e, enum embed_side side, const char *const *texts,
                    size_t n, rag_err *each, embed_take_fn take, void *arg);

/* Each token of an embedder that has a table of them, in the table's order, with its vector
 * [dims]; not RAG_OK from `each` ends it with that.  The same tokens each time.  RAG_ENOTSUP:
 * it has none. */
typedef rag_err (*embed_token_fn)(void *arg, const char *token, size_t dims, const float *vec);
rag_err embed_tokens(struct embedder *e, embed_token_fn each, void *arg);

/* ---- re-ranking (rerank.c) ---- */

/* Scores [n] (more is better) of texts for query by uri: "cohere:MODEL", "jina:MODEL",
 * "llamacpp:http://host:port[#model]" (POST /v1/rerank), "tei:http://host:port" (POST /rerank).
 */
rag_err embed_rerank(const char *uri, const struct embed_settings *s, const char *query,
                     const char *const *texts, size_t n, double *scores);

#endif
