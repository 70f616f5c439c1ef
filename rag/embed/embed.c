/* embed.c - the embedders: built in, the caller's own, and those of servers.  See embed.h.
 *
 * Place: rag/embed. */
#include <config.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ann/base/memory.h"
#include "rag/embed/hash.h"
#include "rag/embed/local.h"
#include "rag/embed/remote.h"
#include "rag/error.h"

#define BATCH 256 /* texts an embedder of this process is given at a time */

struct embedder {
    struct embed_identity id; /* its strings are the embedder's */
    bool is_free;
    struct hasher *hash; /* one of the four */
    struct local *local;
    struct remote *remote;
    embed_fn custom;
    void *arg;
};

static rag_err copy_identity(struct embedder *e, const struct embed_identity *id)
{
    e->id = *id;
    e->id.uri = mem_strdup(id->uri);
    e->id.model = mem_strdup(id->model);
    e->id.revision = mem_strdup(id->revision ? id->revision : "");
    e->id.prefix_document = mem_strdup(id->prefix_document ? id->prefix_document : "");
    e->id.prefix_query = mem_strdup(id->prefix_query ? id->prefix_query : "");
    return e->id.uri && e->id.model && e->id.revision && e->id.prefix_document &&
                   e->id.prefix_query
               ? RAG_OK
               : RAG_FAIL(RAG_ENOMEM, "out of memory for an embedder");
}

void embed_close(struct embedder *e)
{
    if (!e)
        return;
    hasher_close(e->hash);
    local_close(e->local);
    remote_close(e->remote);
    mem_free((char *)(uintptr_t)e->id.uri);
    mem_free((char *)(uintptr_t)e->id.model);
    mem_free((char *)(uintptr_t)e->id.revision);
    mem_free((char *)(uintptr_t)e->id.prefix_document);
    mem_free((char *)(uintptr_t)e->id.prefix_query);
    mem_free(e);
}

static rag_err open_builtin(struct embedder *e, const char *uri)
{
    if (strcmp(uri, "builtin:hash-v1") != 0)
        return RAG_FAIL(RAG_EINVAL, "embedder \"%s\": only builtin:hash-v1 is built in", uri);
    const struct embed_identity id = {.uri = uri,
                                      .model = "hash-v1",
                                      .revision = "1",
                                      .dims = HASH_DIMS,
                                      .normalised = true,
                                      .prefix_document = "",
                                      .prefix_query = ""};
    e->is_free = true;
    rag_err err = copy_identity(e, &id);
    return err ? err : hasher_open(&e->hash);
}

rag_err embed_open(const char *uri, const struct embed_settings *s, struct embedder **out)
{
    struct embed_identity id = {0};
    struct embedder *e = mem_zalloc(1, sizeof *e);
    if (!e)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for an embedder");
    rag_err err;
    if (strncmp(uri, "builtin:", 8) == 0) {
        err = open_builtin(e, uri);
    } else if (local_is(uri)) {
        err = local_open(uri, s, &e->local, &id);
        if (!err)
            err = copy_identity(e, &id);
        e->is_free = !err && local_is_static(e->local);
    } else {
        err = remote_open(uri, s, &e->remote, &id);
        if (!err)
            err = copy_identity(e, &id);
    }
    if (err)
        embed_close(e);
    else
        *out = e;
    return err;
}

rag_err embed_custom(const struct embed_identity *id, embed_fn fn, void *arg,
                     struct embedder **out)
{
    if (!id->uri || !id->model || id->dims == 0 || id->dims > ANN_DIM_MAX)
        return RAG_FAIL(RAG_EINVAL, "an embedder with %u dimensions, not 1..%d", id->dims,
                        ANN_DIM_MAX);
    struct embedder *e = mem_zalloc(1, sizeof *e);
    if (!e)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for an embedder");
    rag_err err = copy_identity(e, id);
    e->custom = fn;
    e->arg = arg;
    if (err)
        embed_close(e);
    else
        *out = e;
    return err;
}

const struct embed_identity *embed_identity(const struct embedder *e)
{
    return &e->id;
}

bool embed_is_static(const struct embedder *e)
{
    return e->local && local_is_static(e->local);
}

bool embed_is_free(const struct embedder *e)
{
    return e->is_free;
}

bool embed_is_local(const struct embedder *e)
{
    return !e->remote;
}

rag_err embed_tokens(struct embedder *e, embed_token_fn each, void *arg)
{
    if (e->local)
        return local_tokens(e->local, each, arg);
    return RAG_FAIL(RAG_ENOTSUP, "%s has no table of tokens", e->id.uri);
}

/* ---- texts ---- */

static rag_err check_batch(const struct embedder *e, const float *vectors, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double norm = 0;
        for (size_t d = 0; d < e->id.dims; d++)
            norm += (double)vectors[i * e->id.dims + d] * vectors[i * e->id.dims + d];
        if (!isfinite(norm) || norm <= 0)
            return RAG_FAIL(RAG_EFORMAT, "%s: the vector of text %zu has length %g", e->id.uri,
                            i, sqrt(norm));
    }
    return RAG_OK;
}

static rag_err run_here(struct embedder *e, enum embed_side side, const char *const *texts,
                        size_t n, float *out)
{
    rag_err err = RAG_OK;
    if (e->custom)
        err = e->custom(e->arg, side, texts, n, out);
    if (e->local)
        err = local_texts(e->local, texts, n, out);
    for (size_t i = 0; i < n && e->hash && !err; i++)
        err = hasher_embed(e->hash, texts[i], strlen(texts[i]), out + i * e->id.dims);
    return err ? err : check_batch(e, out, n);
}

static rag_err embed_here(struct embedder *e, enum embed_side side, const char *const *texts,
                          size_t n, rag_err *each, embed_take_fn take, void *arg)
{
    const size_t most = n < BATCH ? n : BATCH;
    float *out = mem_alloc((most ? most : 1) * e->id.dims * sizeof *out);
    rag_err err = out ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu vectors", most);
    for (size_t at = 0; at < n && !err; at += BATCH) {
        const size_t some = n - at < BATCH ? n - at : BATCH;
        err = run_here(e, side, texts + at, some, out);
        for (size_t i = 0; i < some && !err; i++)
            each[at + i] = RAG_OK;
        if (!err)
            err = take(arg, at, some, e->id.dims, out);
    }
    mem_free(out);
    return err;
}

/* texts with the side's prefix before each; *held [n] is what was made. */
static rag_err put_prefixes(const char *prefix, const char *const *texts, size_t n,
                            char ***held)
{
    const size_t before = strlen(prefix);
    char **made = mem_zalloc(n ? n : 1, sizeof *made);
    rag_err err = made ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu texts", n);
    for (size_t i = 0; i < n && !err; i++) {
        const size_t bytes = strlen(texts[i]);
        made[i] = mem_alloc(before + bytes + 1);
        if (!made[i]) {
            err = RAG_FAIL(RAG_ENOMEM, "out of memory for %zu texts", n);
            break;
        }
        memcpy(made[i], prefix, before);
        memcpy(made[i] + before, texts[i], bytes + 1);
    }
    *held = made;
    return err;
}

rag_err embed_texts(struct embedder *e, enum embed_side side, const char *const *texts,
                    size_t n, rag_err *each, embed_take_fn take, void *arg)
{
    const char *prefix = side == EMBED_QUERY ? e->id.prefix_query : e->id.prefix_document;
    char **held = NULL;
    rag_err err = *prefix ? put_prefixes(prefix, texts, n, &held) : RAG_OK;
    const char *const *with = held ? (const char *const *)held : texts;
    if (!err && e->remote) {
        size_t dims = e->id.dims;
        err = remote_texts(e->remote, with, n, &dims, each, take, arg);
        e->id.dims = (uint32_t)dims;
    } else if (!err) {
        err = embed_here(e, side, with, n, each, take, arg);
    }
    for (size_t i = 0; held && i < n; i++)
        mem_free(held[i]);
    mem_free(held);
    return err;
}
