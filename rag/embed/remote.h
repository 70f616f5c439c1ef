/* remote.h - embedders over HTTP: addresses, batches, what is too large.
 *
 * Place: rag/embed, private; above rag/net and wire.h.  Invariant: a batch is handed over
 * whole, checked, or not at all. */
#ifndef KITH_RAG_EMBED_REMOTE_H
#define KITH_RAG_EMBED_REMOTE_H

#include "rag/embed/embed.h"
#include "rag/embed/wire.h"

struct remote;

/* What a URI says (models.c).  Strings are the caller's, for remote_target_free. */
struct remote_target {
    enum wire_shape shape;
    char *url; /* to POST to */
    char *key; /* or NULL */
    char *model;
    size_t dims; /* asked for by "@512"; 0: the model's */
    const char *prefix_document, *prefix_query;
    size_t batch; /* texts a request at most */
};

rag_err remote_target_read(const char *uri, const struct embed_settings *s,
                           struct remote_target *out);
void remote_target_free(struct remote_target *t);
/* base (http:// put before it where it has no scheme, slashes taken off its end) and tail;
 * NULL: out of memory. */
char *remote_join(const char *base, size_t bytes, const char *tail);

rag_err remote_open(const char *uri, const struct embed_settings *s, struct remote **out,
                    struct embed_identity *id);
void remote_close(struct remote *r); /* NULL is allowed */

/* As embed_texts, prefixes put already; *dims: 0 or what is expected, filled in by the first
 * answer. */
rag_err remote_texts(struct remote *r, const char *const *texts, size_t n, size_t *dims,
                     rag_err *each, embed_take_fn take, void *arg);

#endif
