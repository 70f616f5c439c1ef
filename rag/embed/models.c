/* models.c - what a model's URI says: which server, which shape, which prefixes.
 *
 * Place: rag/embed.  Prefixes are those of the models' own cards: without them a model of these
 * families loses several points. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/memory.h"
#include "rag/embed/models.h"
#include "rag/embed/remote.h"
#include "rag/error.h"

#define BATCH_OPENAI 64
#define BATCH_TEI    32 /* its --max-client-batch-size */
#define BATCH_MOST   2048

static const struct {
    const char *part; /* of the model's name */
    const char *document, *query;
} prefixes[] = {
    {"nomic-embed-text", "search_document: ", "search_query: "},
    {"multilingual-e5", "passage: ", "query: "},
    {"e5-small", "passage: ", "query: "},
    {"e5-base", "passage: ", "query: "},
    {"e5-large", "passage: ", "query: "},
    {"bge-small-en", "", "Represent this sentence for searching relevant passages: "},
    {"bge-base-en", "", "Represent this sentence for searching relevant passages: "},
    {"bge-large-en", "", "Represent this sentence for searching relevant passages: "},
    {"mxbai-embed-large", "", "Represent this sentence for searching relevant passages: "},
    {"snowflake-arctic-embed2", "", "query: "},
    {"snowflake-arctic-embed-m-v2", "", "query: "},
    {"snowflake-arctic-embed", "", "Represent this sentence for searching relevant passages: "},
    {"embeddinggemma", "title: none | text: ", "task: search result | query: "},
    {"qwen3-embedding", "",
     "Instruct: Given a web search query, retrieve relevant passages that answer the "
     "query\nQuery:"},
};

static const char *setting(const struct embed_settings *s, const char *name)
{
    const char *value = s->setting ? s->setting(s->setting_arg, name) : NULL;
    return value && *value ? value : NULL;
}

char *remote_join(const char *base, size_t bytes, const char *tail)
{
    const bool bare = strncmp(base, "http://", 7) != 0 && strncmp(base, "https://", 8) != 0;
    while (bytes > 0 && base[bytes - 1] == '/')
        bytes--;
    const size_t room = bytes + strlen(tail) + sizeof "http://";
    char *url = mem_alloc(room);
    if (url)
        snprintf(url, room, "%s%.*s%s", bare ? "http://" : "", (int)bytes, base, tail);
    return url;
}

/* True if name holds part, in whatever case. */
static bool holds(const char *name, const char *part)
{
    const size_t n = strlen(part);
    for (; *name; name++)
        if (strncasecmp(name, part, n) == 0)
            return true;
    return false;
}

void models_prefixes(const char *model, const struct embed_settings *s, const char **document,
                     const char **query)
{
    const char *set_document = setting(s, "embed.prefix_document");
    const char *set_query = setting(s, "embed.prefix_query");
    *document = *query = "";
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (holds(model, prefixes[i].part)) {
            *document = prefixes[i].document;
            *query = prefixes[i].query;
            break;
        }
    *document = set_document ? set_document : *document;
    *query = set_query ? set_query : *query;
}

static const struct kind {
    const char *scheme;
    enum wire_shape shape;
    const char *base, *otherwise; /* setting of the address; NULL: it is in the URI */
    const char *key, *tail;
    size_t batch;
} kinds[] = {
    {"openai:", WIRE_OPENAI, "openai.base_url", "https://api.openai.com/v1", "openai.api_key",
     "/embeddings", BATCH_OPENAI},
    {"ollama:", WIRE_OLLAMA, "ollama.host", "http://127.0.0.1:11434", NULL, "/api/embed",
     BATCH_OPENAI},
    {"tei:", WIRE_TEI, NULL, NULL, "tei.api_key", "/embed", BATCH_TEI},
    {"llamacpp:", WIRE_OPENAI, NULL, NULL, "llamacpp.api_key", "/v1/embeddings", BATCH_OPENAI},
    {"http:", WIRE_OPENAI, NULL, NULL, "api_key", "/embeddings", BATCH_OPENAI},
    {"https:", WIRE_OPENAI, NULL, NULL, "api_key", "/embeddings", BATCH_OPENAI},
};

/* "model@512" as name and number. */
static rag_err take_dims(const char *uri, struct remote_target *t)
{
    char *sign = strrchr(t->model, '@'), *end;
    if (!sign)
        return RAG_OK;
    const unsigned long dims = strtoul(sign + 1, &end, 10);
    if (*end || end == sign + 1 || dims == 0 || dims > WIRE_DIMS_MAX)
        return RAG_FAIL(RAG_EINVAL, "embedder \"%s\": @ is not followed by dimensions 1..%d",
                        uri, WIRE_DIMS_MAX);
    t->dims = dims;
    *sign = '\0';
    return RAG_OK;
}

static rag_err read_kind(const char *uri, const struct kind *k, const struct embed_settings *s,
                         struct remote_target *t)
{
    const char *rest = uri + (*k->scheme == 'h' ? 0 : strlen(k->scheme));
    const char *hash = k->base ? NULL : strchr(rest, '#'),
               *key = k->key ? setting(s, k->key) : NULL;
    const char *base = k->base ? setting(s, k->base) : rest;
    base = base ? base : k->otherwise;
    const size_t bytes = hash ? (size_t)(hash - base) : strlen(base);
    const char *model = k->base ? rest : hash ? hash + 1 : "default";
    if (!*rest || bytes == 0)
        return RAG_FAIL(RAG_EINVAL, "embedder \"%s\" names no %s", uri,
                        k->base ? "model" : "address");
    if (*k->scheme == 'h' && (!hash || !hash[1]))
        return RAG_FAIL(RAG_EINVAL, "embedder \"%s\" is not URL#MODEL", uri);
    t->shape = k->shape;
    t->batch = k->batch;
    t->url = remote_join(base, bytes, k->tail);
    t->model = mem_strdup(model);
    t->key = key ? mem_strdup(key) : NULL;
    if (!t->url || !t->model || (key && !t->key))
        return RAG_FAIL(RAG_ENOMEM, "out of memory for an address");
    return take_dims(uri, t);
}

rag_err remote_target_read(const char *uri, const struct embed_settings *s,
                           struct remote_target *out)
{
    struct remote_target t = {0};
    rag_err err = RAG_FAIL(
        RAG_EINVAL,
        "embedder \"%s\" is none of static:NAME, local:NAME, builtin:hash-v1, "
        "openai:NAME[@DIMS], ollama:NAME, tei:URL, llamacpp:URL[#NAME], URL#NAME[@DIMS]",
        uri);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strncmp(uri, kinds[i].scheme, strlen(kinds[i].scheme)) == 0) {
            err = read_kind(uri, &kinds[i], s, &t);
            break;
        }
    const char *batch = setting(s, "embed.batch");
    const unsigned long most = batch ? strtoul(batch, NULL, 10) : 0;
    if (!err && batch && (most == 0 || most > BATCH_MOST))
        err = RAG_FAIL(RAG_EINVAL, "embed.batch %s is not 1..%d", batch, BATCH_MOST);
    if (err) {
        remote_target_free(&t);
        return err;
    }
    t.batch = most ? most : t.batch;
    models_prefixes(t.model, s, &t.prefix_document, &t.prefix_query);
    *out = t;
    return RAG_OK;
}

void remote_target_free(struct remote_target *t)
{
    if (t->key)
        explicit_bzero(t->key, strlen(t->key));
    mem_free(t->key);
    mem_free(t->url);
    mem_free(t->model);
    *t = (struct remote_target){0};
}
