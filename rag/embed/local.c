/* local.c - embedders of this process that read a model.  See local.h.
 *
 * Place: rag/embed. */
#include <config.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ann/base/memory.h"
#include "ann/base/pool.h"
#include "rag/embed/catalog.h"
#include "rag/embed/encoder.h"
#include "rag/embed/local.h"
#include "rag/embed/model.h"
#include "rag/embed/models.h"
#include "rag/embed/static.h"
#include "rag/error.h"

struct local {
    struct table *table; /* one of the two */
    struct encoder *encoder;
    struct pool *pool; /* an encoder's, from when several texts come at once */
    unsigned threads;
};

struct wish {
    char *name;
    bool pooled;
    enum encoder_pooling pooling;
    uint32_t tokens;
};

bool local_is(const char *uri)
{
    return strncmp(uri, "static:", 7) == 0 || strncmp(uri, "local:", 6) == 0;
}

bool local_is_static(const struct local *l)
{
    return l->table != NULL;
}

void local_close(struct local *l)
{
    if (!l)
        return;
    table_close(l->table);
    encoder_close(l->encoder);
    pool_close(l->pool);
    mem_free(l);
}

static rag_err read_wish(const char *uri, char *rest, struct wish *w)
{
    static const char *const poolings[] = {"mean", "cls", "last"};
    char *more = strchr(rest, '?');
    w->name = rest;
    if (!more)
        return RAG_OK;
    *more++ = '\0';
    for (char *part = more, *next; part; part = next) {
        next = strchr(part, '&');
        if (next)
            *next++ = '\0';
        bool known = false;
        for (int i = 0; i < 3 && strncmp(part, "pooling=", 8) == 0; i++)
            if (strcmp(part + 8, poolings[i]) == 0) {
                w->pooling = (enum encoder_pooling)i;
                w->pooled = known = true;
            }
        if (strncmp(part, "tokens=", 7) == 0) {
            char *end;
            const unsigned long n = strtoul(part + 7, &end, 10);
            known = n >= 2 && n <= 8192 && *end == '\0';
            w->tokens = (uint32_t)n;
        }
        if (!known)
            return RAG_FAIL(RAG_EINVAL,
                            "embedder \"%s\": \"%s\" is neither pooling=mean|cls|last nor "
                            "tokens=2..8192",
                            uri, part);
    }
    return RAG_OK;
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static rag_err open_table(struct local *l, const char *path)
{
    struct model *m = NULL;
    if (is_folder(path))
        return table_open_folder(path, &l->table);
    rag_err err = model_open(path, &m);
    if (err == RAG_EFORMAT)
        return table_open_words(path, &l->table);
    return err ? err : table_open_model(m, &l->table);
}

static rag_err open_encoder(struct local *l, const char *path, const struct wish *w)
{
    struct model *m = NULL;
    rag_err err = RAG_OK;
    if (is_folder(path)) {
        err = encoder_open_folder(path, &l->encoder);
    } else {
        err = model_open(path, &m);
        if (!err)
            err = encoder_open_model(m, &l->encoder);
    }
    if (!err)
        encoder_choose(l->encoder, w->pooled ? w->pooling : encoder_facts(l->encoder).pooling,
                       w->tokens);
    return err;
}

/* What the vectors follow from besides the text: a static table's bytes; of an encoder also
 * whether it is quantised, which its digest says, and how it is asked. */
static void identify(const struct local *l, const char *uri, const struct embed_settings *s,
                     struct embed_identity *id)
{
    const char *document = "", *query = "";
    *id = (struct embed_identity){.uri = uri, .normalised = true};
    if (l->table) {
        const struct table_facts f = table_facts(l->table);
        id->model = f.name;
        id->revision = f.revision;
        id->dims = f.dims;
    } else {
        const struct encoder_facts f = encoder_facts(l->encoder);
        id->model = f.name;
        id->revision = f.revision;
        id->dims = f.dims;
        id->normalised = f.normalised;
        document = f.prefix_document;
        query = f.prefix_query;
    }
    models_prefixes(id->model, s, &id->prefix_document, &id->prefix_query);
    if (!*id->prefix_document)
        id->prefix_document = document;
    if (!*id->prefix_query)
        id->prefix_query = query;
}

rag_err local_open(const char *uri, const struct embed_settings *s, struct local **out,
                   struct embed_identity *id)
{
    const bool wants_table = strncmp(uri, "static:", 7) == 0;
    char *rest = mem_strdup(strchr(uri, ':') + 1), *path = NULL;
    struct wish w = {0};
    struct local *l = mem_zalloc(1, sizeof *l);
    rag_err err = rest && l ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for an embedder");
    if (!err)
        err = *rest ? read_wish(uri, rest, &w)
                    : RAG_FAIL(RAG_EINVAL, "embedder \"%s\" names no model", uri);
    if (!err)
        err = catalog_find(w.name, &path);
    if (!err)
        err = wants_table ? open_table(l, path) : open_encoder(l, path, &w);
    if (!err) {
        l->threads = s->threads;
        identify(l, uri, s, id);
        *out = l;
    } else {
        local_close(l);
    }
    mem_free(rest);
    mem_free(path);
    return err;
}

rag_err local_texts(struct local *l, const char *const *texts, size_t n, float *vectors)
{
    const unsigned threads = l->threads ? l->threads : pool_default_threads();
    if (l->table) {
        for (size_t i = 0; i < n; i++)
            table_embed(l->table, texts[i], strlen(texts[i]),
                        vectors + i * table_facts(l->table).dims);
        return RAG_OK;
    }
    rag_err err = RAG_OK;
    if (n > 1 && threads > 1 && !l->pool)
        err = rag_from_base(pool_create(threads, &l->pool));
    return err ? err : encoder_embed(l->encoder, texts, n, l->pool, vectors);
}

rag_err local_tokens(struct local *l, embed_token_fn each, void *arg)
{
    if (!l->table)
        return RAG_FAIL(RAG_ENOTSUP, "an encoder has no vector of a token by itself");
    const struct table_facts f = table_facts(l->table);
    float *vec = mem_alloc(f.dims * sizeof *vec);
    rag_err err = vec ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for a vector");
    const char *token;
    for (size_t i = 0; !err && table_token(l->table, i, &token, vec); i++)
        err = each(arg, token, f.dims, vec);
    mem_free(vec);
    return err;
}
