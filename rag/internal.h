/* internal.h - the handle behind rag.h, and what the files of rag/ share.
 *
 * Place: rag, on top of all its folders.  Invariant: `active` is the embedder whose vectors are
 * searched; `embedder` computes for it and none other. */
#ifndef KITH_RAG_INTERNAL_H
#define KITH_RAG_INTERNAL_H

#include "rag/embed/embed.h"
#include "rag/error.h"
#include "rag/net/net.h"
#include "rag/store/mirror.h"
#include "rag/store/store.h"

struct rag_store {
    rag_options o; /* strings are not the handle's: `uri` is */
    rag_embedder custom;
    char *uri, *dir;
    char *base; /* the folder that sources are told from: the store's parent, real path */
    struct store *store;
    struct net *net;
    struct store_embedder active;
    struct embedder *embedder; /* opened when first needed */
    struct mirror *mirror;     /* likewise */
    struct embedder *second;   /* of the last second look, for the next one */
    struct store_embedder second_row;
    char *second_uri;
    bool writes, canary_seen;
};

/* Asks the caller whether to go on. */
rag_err session_step(struct rag_store *s, const char *what, uint64_t done, uint64_t total);

/* s->embedder is there, and is the one of s->active (its canary comes out the same). */
rag_err session_embedder(struct rag_store *s);
/* Another embedder by URI, for reindex and rerank. */
rag_err session_open_embedder(struct rag_store *s, const char *uri, struct embedder **out);
unsigned session_number(const struct rag_store *s, const char *name);
void session_settings(struct rag_store *s, struct embed_settings *e);
/* s->mirror is there. */
rag_err session_mirror(struct rag_store *s);
/* The index of any embedder of the store; anew: not by its file. */
rag_err session_mirror_of(struct rag_store *s, const struct store_embedder *of,
                          struct embedder *e, bool anew, struct mirror **out);
/* The effort of searches by the active embedder's index, as rag_set_effort left it; 0: none. */
size_t session_effort(struct rag_store *s);
void session_effort_key(const struct rag_store *s, char *key, size_t room);
/* The row of an embedder: the one with the same fingerprint, or a new one. */
rag_err session_adopt(struct rag_store *s, struct embedder *e, struct store_embedder *out);
/* Drops mirror and embedder, reads s->active again. */
rag_err session_activate(struct rag_store *s, int64_t id);

/* Vectors [n, dims] of texts, all of them or an error. */
rag_err session_embed(struct rag_store *s, enum embed_side side, const char *const *texts,
                      size_t n, float *out);

/* contextual.c.  The embedder of a second look: what was asked for, the setting
 * contextual.model, or the model that comes along. */
const char *contextual_uri(const struct rag_store *s, const char *asked);
/* Opens it as s->second, unless it is that already. */
rag_err contextual_open(struct rag_store *s, const char *uri);
void contextual_close(struct rag_store *s);
/* Cosines of chunks [n], best candidates first, to the query; NaN where there is none: the
 * model cannot, or budget_ms (below 0: none) was over.  Within no transaction. */
rag_err contextual_scores(struct rag_store *s, const char *uri, const char *query,
                          const int64_t *ids, size_t n, double budget_ms, double *scores);

double session_cosine(const float *a, const float *b, size_t dims);

/* A chunk as a hit, without scores. */
rag_err hit_load(struct rag_store *s, int64_t chunk, rag_hit *h, struct digest *sha256);
void hit_free(rag_hit *h);

#endif
