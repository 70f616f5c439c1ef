/* remote.c - embedders and re-rankers over HTTP.  See remote.h.
 *
 * Place: rag/embed.  A batch is limited by count and by estimated tokens; one that a server
 * finds too large is halved, and later ones are as small; a text that is too large alone costs
 * itself, not its neighbours. */
#include <config.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ann/base/memory.h"
#include "rag/embed/remote.h"
#include "rag/error.h"
#include "rag/net/net.h"
#include "rag/text/text.h"

#define BATCH_TOKENS   100000.0 /* OpenAI takes 300,000 a request; the estimate may be off */
#define TIMEOUT_MS     120000
#define RERANK_TOP_MAX 1000
#define ANSWER_MAX     ((size_t)256 << 20)

struct remote {
    struct remote_target t;
    struct embed_settings how;
    size_t batch; /* texts a request now */
};

rag_err remote_open(const char *uri, const struct embed_settings *s, struct remote **out,
                    struct embed_identity *id)
{
    if (!s->net)
        return RAG_FAIL(RAG_ENOTSUP, "embedder \"%s\" needs a network", uri);
    struct remote *r = mem_zalloc(1, sizeof *r);
    if (!r)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for an embedder");
    rag_err err = remote_target_read(uri, s, &r->t);
    if (err) {
        mem_free(r);
        return err;
    }
    r->how = *s;
    r->batch = r->t.batch;
    *id = (struct embed_identity){.uri = uri,
                                  .model = r->t.model,
                                  .revision = "",
                                  .dims = (uint32_t)r->t.dims,
                                  .prefix_document = r->t.prefix_document,
                                  .prefix_query = r->t.prefix_query};
    *out = r;
    return RAG_OK;
}

void remote_close(struct remote *r)
{
    if (r)
        remote_target_free(&r->t);
    mem_free(r);
}

/* ---- one request ---- */

static size_t most_bytes(size_t n, size_t dims)
{
    const size_t most = 65536 + n * (dims ? dims : WIRE_DIMS_MAX) * 24;
    return most < ANSWER_MAX ? most : ANSWER_MAX;
}

static rag_err post(const struct remote_target *t, const struct embed_settings *how,
                    const char *body, size_t bytes, size_t most, struct net_answer *a)
{
    const struct net_request q = {.url = t->url,
                                  .key = t->key,
                                  .body = body,
                                  .bytes = bytes,
                                  .max_bytes = most,
                                  .tries = how->tries,
                                  .timeout_ms = how->timeout_ms ? how->timeout_ms : TIMEOUT_MS,
                                  .on_stop = how->on_stop,
                                  .stop_arg = how->stop_arg};
    return net_send(how->net, &q, a);
}

/* A server that gives more dimensions than were asked for: the first ones, made of length 1
 * again (Matryoshka vectors are trained for that). */
static rag_err cut(const struct remote *r, float *vectors, size_t n, size_t *dims)
{
    const size_t want = r->t.dims, got = *dims;
    if (want == 0 || got == want)
        return RAG_OK;
    if (got < want)
        return RAG_FAIL(RAG_EDIM, "%s gives %zu dimensions, %zu are asked for", r->t.url, got,
                        want);
    for (size_t i = 0; i < n; i++) {
        double norm = 0;
        for (size_t d = 0; d < want; d++)
            norm += (double)vectors[i * got + d] * vectors[i * got + d];
        if (norm <= 0)
            return RAG_FAIL(RAG_EFORMAT, "%s: the first %zu elements of vector %zu are zero",
                            r->t.url, want, i);
        for (size_t d = 0; d < want; d++)
            vectors[i * want + d] = (float)(vectors[i * got + d] / sqrt(norm));
    }
    *dims = want;
    return RAG_OK;
}

/* An answer that cannot be used is the server's fault, not the store's. */
static rag_err blame(rag_err err)
{
    if (err != RAG_EFORMAT && err != RAG_EINVAL && err != RAG_ELIMIT)
        return err;
    return RAG_FAIL(RAG_EREFUSED, "%s", rag_error_message());
}

static rag_err ask(struct remote *r, const char *const *texts, size_t n, size_t *dims,
                   float **vectors)
{
    char *body = NULL;
    size_t bytes = 0, got = r->t.dims ? 0 : *dims;
    struct net_answer a = {0};
    float *own = NULL;
    rag_err err = wire_ask_vectors(r->t.shape, r->t.model, r->t.dims, texts, n, &body, &bytes);
    if (!err)
        err = blame(post(&r->t, &r->how, body, bytes, most_bytes(n, got), &a));
    mem_free(body);
    if (!err)
        err = blame(wire_vectors(r->t.shape, r->t.url, a.body, a.bytes, n, &got, &own));
    net_answer_free(&a);
    if (!err)
        err = blame(cut(r, own, n, &got));
    if (!err && *dims && got != *dims)
        err = RAG_FAIL(RAG_EDIM, "%s gives %zu dimensions, then %zu", r->t.url, *dims, got);
    if (err) {
        mem_free(own);
        return err;
    }
    *dims = got;
    *vectors = own;
    return RAG_OK;
}

/* ---- batches ---- */

/* How many texts from the first on go into one request. */
static size_t batch_of(const struct remote *r, const char *const *texts, size_t n)
{
    double tokens = 0;
    size_t some = 0;
    while (some < n && some < r->batch) {
        tokens += text_tokens(texts[some], strlen(texts[some]));
        if (some > 0 && tokens > BATCH_TOKENS)
            break;
        some++;
    }
    return some;
}

rag_err remote_texts(struct remote *r, const char *const *texts, size_t n, size_t *dims,
                     rag_err *each, embed_take_fn take, void *arg)
{
    rag_err err = RAG_OK;
    for (size_t at = 0; at < n && !err;) {
        const size_t some = batch_of(r, texts + at, n - at);
        float *vectors = NULL;
        err = ask(r, texts + at, some, dims, &vectors);
        if (err == RAG_ETOOLARGE && some > 1) {
            r->batch = some / 2;
            err = RAG_OK;
            continue;
        }
        for (size_t i = 0; i < some; i++)
            each[at + i] = err;
        if (err == RAG_ETOOLARGE) { /* it alone; larger batches may do again behind it */
            r->batch = r->t.batch;
            err = RAG_OK;
        } else if (!err) {
            err = take(arg, at, some, *dims, vectors);
        }
        mem_free(vectors);
        at += some;
    }
    return err;
}

/* ---- re-ranking ---- */

static const struct {
    const char *scheme, *base, *otherwise, *key, *tail;
    bool tei;
} rerankers[] = {
    {"cohere:", "cohere.base_url", "https://api.cohere.com/v2", "cohere.api_key", "/rerank",
     false},
    {"jina:", "jina.base_url", "https://api.jina.ai/v1", "jina.api_key", "/rerank", false},
    {"llamacpp:", NULL, NULL, "llamacpp.api_key", "/v1/rerank", false},
    {"tei:", NULL, NULL, "tei.api_key", "/rerank", true},
};

static rag_err rerank_target(const char *uri, const struct embed_settings *s,
                             struct remote_target *t, bool *tei)
{
    for (size_t i = 0; i < sizeof rerankers / sizeof *rerankers; i++) {
        if (strncmp(uri, rerankers[i].scheme, strlen(rerankers[i].scheme)) != 0)
            continue;
        const char *rest = uri + strlen(rerankers[i].scheme), *hash = strchr(rest, '#');
        const char *base = rest, *model = hash ? hash + 1 : "default";
        const char *key = s->setting ? s->setting(s->setting_arg, rerankers[i].key) : NULL;
        if (rerankers[i].base) {
            const char *set = s->setting ? s->setting(s->setting_arg, rerankers[i].base) : NULL;
            base = set && *set ? set : rerankers[i].otherwise;
            model = rest;
            hash = NULL;
        }
        if (!*rest)
            return RAG_FAIL(RAG_EINVAL, "re-ranker \"%s\" names nothing", uri);
        *tei = rerankers[i].tei;
        t->url =
            remote_join(base, hash ? (size_t)(hash - base) : strlen(base), rerankers[i].tail);
        t->model = mem_strdup(model);
        t->key = key && *key ? mem_strdup(key) : NULL;
        return t->url && t->model ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory");
    }
    return RAG_FAIL(RAG_EINVAL,
                    "re-ranker \"%s\" is none of cohere:NAME, jina:NAME, tei:URL, llamacpp:URL",
                    uri);
}

rag_err embed_rerank(const char *uri, const struct embed_settings *s, const char *query,
                     const char *const *texts, size_t n, double *scores)
{
    struct remote_target t = {0};
    struct net_answer a = {0};
    char *body = NULL;
    size_t bytes = 0;
    bool tei = false;
    if (n > RERANK_TOP_MAX)
        return RAG_FAIL(RAG_EINVAL, "%zu texts to re-rank; at most %d", n, RERANK_TOP_MAX);
    if (!s->net)
        return RAG_FAIL(RAG_ENOTSUP, "re-ranker \"%s\" needs a network", uri);
    rag_err err = rerank_target(uri, s, &t, &tei);
    if (!err)
        err = wire_ask_scores(tei, t.model, query, texts, n, &body, &bytes);
    if (!err)
        err = blame(post(&t, s, body, bytes, (size_t)16 << 20, &a));
    if (!err)
        err = blame(wire_scores(t.url, a.body, a.bytes, n, scores));
    mem_free(body);
    net_answer_free(&a);
    remote_target_free(&t);
    return err;
}
