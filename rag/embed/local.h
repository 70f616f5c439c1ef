/* local.h - embedders of this process that read a model: static tables and encoders.
 *
 * Place: rag/embed, private; above catalog, static and encoder.
 *     static:NAME                          a table: kith's file, GloVe or word2vec, Model2Vec
 *     local:NAME[?pooling=P][&tokens=N]    an encoder: kith's file, or a Hugging Face folder
 */
#ifndef KITH_RAG_EMBED_LOCAL_H
#define KITH_RAG_EMBED_LOCAL_H

#include "rag/embed/embed.h"

struct local;

bool local_is(const char *uri);
rag_err local_open(const char *uri, const struct embed_settings *s, struct local **out,
                   struct embed_identity *id);
void local_close(struct local *l); /* NULL is allowed */
bool local_is_static(const struct local *l);

/* vectors [n, dims]. */
rag_err local_texts(struct local *l, const char *const *texts, size_t n, float *vectors);
rag_err local_tokens(struct local *l, embed_token_fn each, void *arg);

#endif
