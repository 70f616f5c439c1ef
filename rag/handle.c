/* handle.c - a store that is open: its database, its embedder, its index.
 *
 * Place: rag, on top of its folders.  Invariant: vectors are compared only when the embedder's
 * fingerprint is the store's and its canary comes out as it did when the store was made. */
#include <config.h>

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ann/base/memory.h"
#include "rag/embed/catalog.h"
#include "rag/internal.h"

#define DEFAULT_EMBEDDER "static:" CATALOG_STATIC
#define DEFAULT_WAIT_MS  10000
#define CANARY_COSINE    0.999 /* rounding and quantisation pass, another model does not */
#define CHUNK_RULE       "head, lead and text, a line feed between; 1"

/* ---- small things ---- */

rag_err session_step(struct rag_store *s, const char *what, uint64_t done, uint64_t total)
{
    if (s->o.progress && s->o.progress(s->o.progress_arg, what, done, total))
        return RAG_FAIL(RAG_ECANCELED, "stopped; what was committed stays");
    return RAG_OK;
}

static int mirror_step(void *arg, const char *what, uint64_t done, uint64_t total)
{
    return session_step(arg, what, done, total) != RAG_OK;
}

static int waiting(void *arg)
{
    return session_step(arg, "waiting", 0, 0) != RAG_OK;
}

/* A whole number from the settings; 0: not set. */
unsigned session_number(const struct rag_store *s, const char *name)
{
    const char *text = s->o.setting ? s->o.setting(s->o.setting_arg, name) : NULL;
    const unsigned long v = text ? strtoul(text, NULL, 10) : 0;
    return v < 1000000 ? (unsigned)v : 1000000;
}

void session_settings(struct rag_store *s, struct embed_settings *e)
{
    const unsigned tries = session_number(s, "net.tries");
    *e = (struct embed_settings){.net = s->net,
                                 .setting = s->o.setting,
                                 .setting_arg = s->o.setting_arg,
                                 .tries = tries       ? tries
                                          : s->writes ? 7
                                                      : 3,
                                 .timeout_ms = 1000 * session_number(s, "net.timeout"),
                                 .threads = s->o.threads,
                                 .on_stop = waiting,
                                 .stop_arg = s};
}

/* ---- embedders ---- */

static rag_err not_here(void *arg, enum embed_side side, const char *const *texts, size_t n,
                        float *out)
{
    (void)side;
    (void)texts;
    (void)n;
    (void)out;
    return RAG_FAIL(RAG_ENOTSUP,
                    "vectors of \"%s\" are brought along: give the query's own (--vector), or "
                    "search with --mode text",
                    (const char *)arg);
}

/* "brought:NAME@DIMS": vectors come with their texts. */
static rag_err open_brought(const char *uri, struct embedder **out)
{
    const char *sign = strrchr(uri, '@');
    const unsigned long dims = sign ? strtoul(sign + 1, NULL, 10) : 0;
    if (dims == 0 || dims > ANN_DIM_MAX)
        return RAG_FAIL(RAG_EINVAL, "embedder \"%s\" is not brought:NAME@DIMENSIONS", uri);
    const struct embed_identity id = {.uri = uri,
                                      .model = uri + strlen("brought:"),
                                      .revision = "",
                                      .dims = (uint32_t)dims,
                                      .prefix_document = "",
                                      .prefix_query = ""};
    return embed_custom(&id, not_here, (void *)(uintptr_t)uri, out);
}

static rag_err call_custom(void *arg, enum embed_side side, const char *const *texts, size_t n,
                           float *out)
{
    const rag_embedder *c = arg;
    return c->embed(c->arg, side == EMBED_QUERY ? RAG_QUERY : RAG_DOCUMENT, texts, n, out);
}

static rag_err open_custom(struct rag_store *s, struct embedder **out)
{
    const struct embed_identity id = {.uri = s->custom.uri,
                                      .model = s->custom.uri,
                                      .revision = s->custom.revision ? s->custom.revision : "",
                                      .dims = s->custom.dims,
                                      .prefix_document = "",
                                      .prefix_query = ""};
    return embed_custom(&id, call_custom, &s->custom, out);
}

static bool needs_net(const char *uri)
{
    return strncmp(uri, "builtin:", 8) != 0 && strncmp(uri, "static:", 7) != 0 &&
           strncmp(uri, "local:", 6) != 0;
}

rag_err session_open_embedder(struct rag_store *s, const char *uri, struct embedder **out)
{
    struct embed_settings e;
    if (s->custom.embed && strcmp(uri, s->custom.uri) == 0)
        return open_custom(s, out);
    if (strncmp(uri, "brought:", 8) == 0)
        return open_brought(uri, out);
    rag_err err = !s->net && needs_net(uri) ? net_open(&s->net) : RAG_OK;
    session_settings(s, &e);
    return err ? err : embed_open(uri, &e, out);
}

struct taking {
    float *out;
    size_t dims;
};

static rag_err take(void *arg, size_t first, size_t n, size_t dims, const float *vectors)
{
    const struct taking *t = arg;
    if (dims != t->dims)
        return RAG_FAIL(RAG_EMISMATCH, "the embedder gives %zu dimensions instead of %zu", dims,
                        t->dims);
    memcpy(t->out + first * dims, vectors, n * dims * sizeof *vectors);
    return RAG_OK;
}

static rag_err embed_all(struct embedder *e, enum embed_side side, const char *const *texts,
                         size_t n, size_t dims, float *out)
{
    rag_err *each = mem_zalloc(n ? n : 1, sizeof *each);
    if (!each)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu texts", n);
    struct taking t = {out, dims};
    rag_err err = embed_texts(e, side, texts, n, each, take, &t);
    for (size_t i = 0; i < n && !err; i++)
        err = each[i];
    mem_free(each);
    return err;
}

/* ---- the canary, and the identity ---- */

struct canary {
    float *vec;
    size_t dims;
};

static rag_err take_canary(void *arg, size_t first, size_t n, size_t dims, const float *vectors)
{
    struct canary *c = arg;
    (void)first;
    (void)n;
    c->vec = mem_alloc(dims * sizeof *c->vec);
    if (!c->vec)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a vector");
    memcpy(c->vec, vectors, dims * sizeof *vectors);
    c->dims = dims;
    return RAG_OK;
}

/* Vectors that are brought along have the first axis for canary. */
static rag_err make_canary(struct embedder *e, struct canary *c)
{
    const struct embed_identity *id = embed_identity(e);
    const char *text = STORE_CANARY;
    rag_err each = RAG_OK;
    if (strncmp(id->uri, "brought:", 8) != 0) {
        rag_err err = embed_texts(e, EMBED_DOCUMENT, &text, 1, &each, take_canary, c);
        return err ? err : each;
    }
    float *axis = mem_zalloc(id->dims, sizeof *axis);
    if (!axis)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a vector");
    axis[0] = 1;
    *c = (struct canary){axis, id->dims};
    return RAG_OK;
}

double session_cosine(const float *a, const float *b, size_t dims)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < dims; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return ab / sqrt(aa * bb);
}

static rag_err check_canary(const struct store_embedder *of, const struct canary *c)
{
    const double cos = c->dims == of->dims ? session_cosine(c->vec, of->canary, c->dims) : 0;
    if (cos >= CANARY_COSINE)
        return RAG_OK;
    return RAG_FAIL(
        RAG_EMISMATCH,
        "%s is not the model it was: a known sentence has cosine %.4f to its stored "
        "vector (%zu dimensions, then %u); make new vectors: rag reindex --embedder "
        "%s",
        of->uri, cos, c->dims, of->dims, of->uri);
}

static struct digest fingerprint(const struct embed_identity *id, size_t dims)
{
    char numbers[64];
    const int n = snprintf(numbers, sizeof numbers, "%zu %d", dims, id->normalised);
    const struct digest_part parts[] = {
        {"kith embedder 1", 16}, /* with the NUL, as below: no two lists read alike */
        {id->uri, strlen(id->uri) + 1},
        {id->model, strlen(id->model) + 1},
        {id->revision, strlen(id->revision) + 1},
        {numbers, (size_t)n + 1},
        {id->prefix_document, strlen(id->prefix_document) + 1},
        {id->prefix_query, strlen(id->prefix_query) + 1},
        {CHUNK_RULE, sizeof CHUNK_RULE}};
    return digest_of(parts, sizeof parts / sizeof *parts);
}

static rag_err find_embedder(struct rag_store *s, const struct digest *print,
                             struct store_embedder *out)
{
    int64_t *ids = NULL;
    size_t n = 0;
    rag_err err = store_embedders(s->store, &ids, &n);
    bool found = false;
    for (size_t i = 0; i < n && !err && !found; i++) {
        err = store_embedder_get(s->store, ids[i], out);
        found = !err && memcmp(out->fingerprint.b, print->b, sizeof print->b) == 0;
        if (!err && !found)
            store_embedder_free(out);
    }
    mem_free(ids);
    return err || found ? err : RAG_FAIL(RAG_ENOENT, "%s: no such embedder", s->dir);
}

static rag_err new_embedder(struct rag_store *s, struct embedder *e, const struct canary *c,
                            const struct digest *print)
{
    const struct embed_identity *id = embed_identity(e);
    struct store_embedder row = {.uri = (char *)(uintptr_t)id->uri,
                                 .model = (char *)(uintptr_t)id->model,
                                 .revision = (char *)(uintptr_t)id->revision,
                                 .prefix_document = (char *)(uintptr_t)id->prefix_document,
                                 .prefix_query = (char *)(uintptr_t)id->prefix_query,
                                 .dims = (uint32_t)c->dims,
                                 .normalised = id->normalised,
                                 .free_of_charge = embed_is_free(e),
                                 .fingerprint = *print,
                                 .canary = c->vec};
    rag_err err = store_begin(s->store);
    if (err)
        return err;
    err = store_embedder_add(s->store, &row);
    if (!err)
        return store_commit(s->store);
    store_rollback(s->store);
    return err;
}

rag_err session_adopt(struct rag_store *s, struct embedder *e, struct store_embedder *out)
{
    struct canary c = {0};
    rag_err err = make_canary(e, &c);
    if (err)
        return err;
    const struct digest print = fingerprint(embed_identity(e), c.dims);
    err = find_embedder(s, &print, out);
    if (err == RAG_ENOENT) {
        err = new_embedder(s, e, &c, &print);
        if (!err)
            err = find_embedder(s, &print, out);
    } else if (!err) {
        err = check_canary(out, &c);
        if (err)
            store_embedder_free(out);
    }
    mem_free(c.vec);
    return err;
}

rag_err session_embedder(struct rag_store *s)
{
    struct canary c = {0};
    rag_err err = RAG_OK;
    if (!s->embedder)
        err = session_open_embedder(s, s->active.uri, &s->embedder);
    if (err || s->canary_seen)
        return err;
    err = make_canary(s->embedder, &c);
    if (!err)
        err = check_canary(&s->active, &c);
    mem_free(c.vec);
    if (err == RAG_OK) {
        const struct digest now = fingerprint(embed_identity(s->embedder), s->active.dims);
        s->canary_seen = true;
        if (memcmp(now.b, s->active.fingerprint.b, sizeof now.b) != 0)
            err = RAG_FAIL(RAG_EMISMATCH,
                           "the prefixes or the form of %s have changed since the store was "
                           "made; make new vectors: rag reindex --embedder %s",
                           s->active.uri, s->active.uri);
    }
    if (err) {
        embed_close(s->embedder);
        s->embedder = NULL;
        s->canary_seen = false;
    }
    return err;
}

rag_err session_embed(struct rag_store *s, enum embed_side side, const char *const *texts,
                      size_t n, float *out)
{
    rag_err err = session_embedder(s);
    return err ? err : embed_all(s->embedder, side, texts, n, s->active.dims, out);
}

void session_effort_key(const struct rag_store *s, char *key, size_t room)
{
    snprintf(key, room, "effort-%lld", (long long)s->active.id);
}

size_t session_effort(struct rag_store *s)
{
    char key[48], *value = NULL;
    session_effort_key(s, key, sizeof key);
    if (store_setting(s->store, key, &value) != RAG_OK)
        return 0;
    const unsigned long long effort = strtoull(value, NULL, 10);
    mem_free(value);
    return effort <= ANN_EFFORT_MAX ? (size_t)effort : 0;
}

rag_err session_mirror_of(struct rag_store *s, const struct store_embedder *of,
                          struct embedder *e, bool anew, struct mirror **out)
{
    const uint64_t scan_mb = session_number(s, "index.scan_mb");
    const struct mirror_opening how = {.store = s->store,
                                       .of = of,
                                       .embedder = e,
                                       .write = s->writes,
                                       .anew = anew,
                                       .flat_bytes = scan_mb << 20,
                                       .effort = session_effort(s),
                                       .progress = mirror_step,
                                       .arg = s};
    return mirror_open(&how, out);
}

rag_err session_mirror(struct rag_store *s)
{
    if (s->mirror)
        return RAG_OK;
    rag_err err = s->active.free_of_charge ? session_embedder(s) : RAG_OK;
    return err ? err : session_mirror_of(s, &s->active, s->embedder, false, &s->mirror);
}

rag_err session_activate(struct rag_store *s, int64_t id)
{
    struct store_embedder e = {0};
    rag_err err = store_embedder_get(s->store, id, &e);
    if (err)
        return err;
    mirror_close(s->mirror);
    s->mirror = NULL;
    if (s->embedder &&
        (!s->active.uri || strcmp(s->active.uri, e.uri) != 0 || s->active.id != e.id)) {
        embed_close(s->embedder);
        s->embedder = NULL;
        s->canary_seen = false;
    }
    store_embedder_free(&s->active);
    s->active = e;
    return RAG_OK;
}

/* ---- opening ---- */

static rag_err check_wish(const struct rag_store *s)
{
    const char *wish = s->custom.embed ? s->custom.uri : s->uri;
    if (!wish || strcmp(wish, s->active.uri) == 0)
        return RAG_OK;
    return RAG_FAIL(RAG_EMISMATCH,
                    "%s holds vectors of %s, not of %s; to make new ones: rag reindex "
                    "--embedder %s",
                    s->dir, s->active.uri, wish, wish);
}

/* The store's embedder; of a new store the one that is wished for. */
static rag_err choose_embedder(struct rag_store *s)
{
    char *id = NULL, text[32];
    rag_err err = store_setting(s->store, "embedder", &id);
    if (!err) {
        err = session_activate(s, strtoll(id, NULL, 10));
        mem_free(id);
        return err ? err : check_wish(s);
    }
    if (err != RAG_ENOENT || !s->writes)
        return err;
    const char *uri = s->custom.embed ? s->custom.uri : s->uri ? s->uri : DEFAULT_EMBEDDER;
    struct embedder *e = NULL;
    struct store_embedder row = {0};
    err = session_open_embedder(s, uri, &e);
    if (!err)
        err = session_adopt(s, e, &row);
    snprintf(text, sizeof text, "%lld", (long long)row.id);
    if (!err)
        err = store_set(s->store, "embedder", text);
    if (!err)
        err = session_activate(s, row.id);
    store_embedder_free(&row);
    if (err) {
        embed_close(e);
    } else {
        s->embedder = e;
        s->canary_seen = true;
    }
    return err;
}

static rag_err set_base(struct rag_store *s)
{
    char path[PATH_MAX];
    if (!realpath(s->dir, path))
        return RAG_FAIL(RAG_EIO, "%s: %s", s->dir, strerror(errno));
    char *slash = strrchr(path, '/');
    if (slash)
        *slash = '\0';
    s->base = mem_strdup(path);
    return s->base ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for a path");
}

static rag_err take_options(struct rag_store *s, const char *dir, const rag_options *o)
{
    memcpy(&s->o, o, o->size < sizeof s->o ? o->size : sizeof s->o);
    if (s->o.custom) {
        memcpy(&s->custom, s->o.custom,
               s->o.custom->size < sizeof s->custom ? s->o.custom->size : sizeof s->custom);
        if (!s->custom.uri || !s->custom.embed || s->custom.dims == 0)
            return RAG_FAIL(RAG_EINVAL, "an embedder of one's own needs uri, dims and embed");
    }
    s->uri = s->o.embedder ? mem_strdup(s->o.embedder) : NULL;
    s->dir = mem_strdup(dir);
    return s->dir && (s->uri || !s->o.embedder) ? RAG_OK
                                                : RAG_FAIL(RAG_ENOMEM, "out of memory");
}

rag_err rag_open(const char *dir, const rag_options *o, rag_store **out)
{
    const rag_options plain = RAG_OPTIONS_INIT;
    struct rag_store *s = mem_zalloc(1, sizeof *s);
    if (!s)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a store");
    rag_err err = take_options(s, dir, o ? o : &plain);
    s->writes = s->o.access != RAG_READ;
    const struct store_opening how = {.mode = s->o.access == RAG_READ    ? STORE_READ
                                              : s->o.access == RAG_WRITE ? STORE_WRITE
                                                                         : STORE_CREATE,
                                      .lang = s->o.lang,
                                      .wait_ms = s->o.wait_ms ? s->o.wait_ms : DEFAULT_WAIT_MS,
                                      .purpose = s->o.purpose};
    if (!err)
        err = store_open(dir, &how, &s->store);
    if (!err)
        err = set_base(s);
    if (!err)
        err = choose_embedder(s);
    if (err) {
        rag_close(s);
        return err;
    }
    *out = s;
    return RAG_OK;
}

void rag_close(rag_store *s)
{
    if (!s)
        return;
    mirror_close(s->mirror);
    embed_close(s->embedder);
    contextual_close(s);
    store_embedder_free(&s->active);
    store_close(s->store);
    net_close(s->net);
    mem_free(s->uri);
    mem_free(s->dir);
    mem_free(s->base);
    mem_free(s);
}

rag_err rag_embed(rag_store *s, rag_side side, const char *const *texts, size_t n, size_t *dims,
                  float **vectors)
{
    size_t room;
    if (!size_mul(n, s->active.dims * sizeof(float), &room))
        return RAG_FAIL(RAG_ELIMIT, "%zu texts are too many", n);
    float *own = mem_alloc(room ? room : 1);
    rag_err err = own ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu vectors", n);
    if (!err)
        err = session_embed(s, side == RAG_QUERY ? EMBED_QUERY : EMBED_DOCUMENT, texts, n, own);
    if (err) {
        mem_free(own);
        return err;
    }
    *dims = s->active.dims;
    *vectors = own;
    return RAG_OK;
}
