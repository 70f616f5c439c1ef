/* ingest.c - files and texts into a store, a group of documents a transaction.
 *
 * Place: rag.  Order of a group: missing vectors are bought and kept batch by batch; when all
 * of a document's are there, it goes in with its chunks, words and log in one transaction, and
 * only then its file counts as read.  Invariant: what fails leaves the old version in place. */
#include <config.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ann/base/memory.h"
#include "rag/ingest.h"

#define GROUP_BYTES    ((size_t)4 << 20) /* of text in one transaction */
#define GROUP_FILES    512
#define CHUNK_LEAST    24 /* tokens of a chunk that may be asked for */
#define CHUNK_MOST     100000
#define CHUNK_CAP      (250.0 / 180) /* of a chunk, to its target */
#define VANISHED_SHARE 2 /* more than one in two gone: asks for --force */

/* An event that is told once its transaction is committed. */
struct later {
    rag_event_kind kind;
    char *source, *reason;
    uint64_t chunks, bytes;
};

struct ingest {
    struct rag_store *s;
    struct later *later; /* [nlater] */
    size_t nlater, later_room;
    rag_add_options o;
    rag_add_report r;
    struct text_chunking cut;
    struct job *jobs; /* [n] */
    size_t n, room;
    char **seen; /* [nseen] sources of files that are there, for remove_missing */
    size_t nseen, seen_room;
    char **kept; /* [nkept] files and folders that were passed over, and stay */
    size_t nkept, kept_room;
    uint64_t total_bytes, done_bytes;
};

/* ---- telling ---- */

static void tell(struct ingest *g, rag_event_kind kind, const char *source, const char *reason,
                 uint64_t chunks, uint64_t bytes)
{
    const rag_event e = {kind, source, reason, chunks, bytes};
    g->r.added += kind == RAG_ADDED;
    g->r.replaced += kind == RAG_REPLACED;
    g->r.removed += kind == RAG_REMOVED;
    g->r.skipped += kind == RAG_SKIPPED;
    g->r.failed += kind == RAG_FAILED;
    if (g->o.on_event)
        g->o.on_event(g->o.arg, &e);
}

/* The same after the commit: what is told as added stays added, whatever happens then. */
static rag_err tell_later(struct ingest *g, rag_event_kind kind, const char *source,
                          const char *reason, uint64_t chunks, uint64_t bytes)
{
    if (g->nlater == g->later_room) {
        const size_t room = g->later_room ? 2 * g->later_room : 64;
        struct later *more = mem_resize(g->later, room * sizeof *more);
        if (!more)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu events", room);
        g->later = more;
        g->later_room = room;
    }
    struct later *l = &g->later[g->nlater];
    *l = (struct later){kind, mem_strdup(source), reason ? mem_strdup(reason) : NULL, chunks,
                        bytes};
    g->nlater += l->source != NULL;
    return l->source ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for an event");
}

static void tell_now(struct ingest *g, bool committed)
{
    for (size_t i = 0; i < g->nlater; i++) {
        const struct later *l = &g->later[i];
        if (committed)
            tell(g, l->kind, l->source, l->reason, l->chunks, l->bytes);
        mem_free(l->source);
        mem_free(l->reason);
    }
    g->nlater = 0;
}

/* ---- which files ---- */

static rag_err remember(const char *source, char ***list, size_t *n, size_t *room)
{
    if (*n == *room) {
        const size_t more_room = *room ? 2 * *room : 256;
        char **more = mem_resize(*list, more_room * sizeof *more);
        if (!more)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu names", more_room);
        *list = more;
        *room = more_room;
    }
    char *copy = mem_strdup(source);
    if (!copy)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a name");
    (*list)[(*n)++] = copy;
    return RAG_OK;
}

static void forget_names(char **list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mem_free(list[i]);
    mem_free(list);
}

/* A path below the store's parent is told from there, any other whole. */
static rag_err source_of(const struct ingest *g, const char *path, char out[PATH_MAX])
{
    char real[PATH_MAX];
    const char *slash = strrchr(path, '/'), *base = g->s->base;
    /* The folder's real path, the name as it is: links are files of their own. */
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 1,
             slash ? path : ".");
    if (!realpath(*folder ? folder : "/", real))
        return RAG_FAIL(RAG_EIO, "%s: %s", folder, strerror(errno));
    const char *name = slash ? slash + 1 : path;
    char whole[2 * PATH_MAX];
    snprintf(whole, sizeof whole, "%s/%s", strcmp(real, "/") == 0 ? "" : real, name);
    const size_t n = strlen(base);
    const bool below = strncmp(whole, base, n) == 0 && whole[n] == '/';
    const char *told = below ? whole + n + 1 : whole;
    if (strlen(told) >= PATH_MAX)
        return RAG_FAIL(RAG_EINVAL, "%s: the path is too long", path);
    snprintf(out, PATH_MAX, "%s", told);
    return RAG_OK;
}

static rag_err add_job(struct ingest *g, const char *path, const char *source,
                       const struct text_stat *st, const struct store_file *known)
{
    if (g->n == g->room) {
        const size_t room = g->room ? 2 * g->room : 256;
        struct job *more = mem_resize(g->jobs, room * sizeof *more);
        if (!more)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu files", room);
        g->jobs = more;
        g->room = room;
    }
    struct job *j = &g->jobs[g->n];
    *j = (struct job){
        .path = mem_strdup(path), .source = mem_strdup(source), .st = *st, .known = *known};
    g->n++;
    g->total_bytes += st->bytes;
    return j->path && j->source ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for a file");
}

static rag_err look_at(void *arg, const char *path, const char *below, enum text_skip why,
                       const struct text_stat *st)
{
    struct ingest *g = arg;
    char source[PATH_MAX];
    struct store_file known = {0};
    (void)below;
    rag_err err = source_of(g, path, source);
    if (err)
        return err;
    if (why != TEXT_TAKEN) {
        /* It is there: what is known of it stays. */
        if (g->o.remove_missing && (why == TEXT_UNREADABLE || why == TEXT_EXCLUDED))
            err = remember(source, &g->kept, &g->nkept, &g->kept_room);
        if (err)
            return err;
        if (why == TEXT_UNREADABLE)
            tell(g, RAG_FAILED, source, text_skip_reason(why), 0, 0);
        else
            tell(g, RAG_SKIPPED, source, text_skip_reason(why), 0, 0);
        return RAG_OK;
    }
    g->r.files++;
    if (g->o.remove_missing)
        err = remember(source, &g->seen, &g->nseen, &g->seen_room);
    if (!err)
        err = store_file_get(g->s->store, source, &known);
    if (err)
        return err;
    if (known.id && !g->o.force && known.bytes == st->bytes && known.mtime_ns == st->mtime_ns &&
        known.inode == st->inode) {
        g->r.unchanged++;
        return RAG_OK;
    }
    err = session_step(g->s, "looking", g->r.files, 0);
    return err ? err : add_job(g, path, source, st, &known);
}

static rag_err walk(struct ingest *g, const char *const *paths, size_t n)
{
    const struct text_walking how = {.include = g->o.include,
                                     .exclude = g->o.exclude,
                                     .max_bytes = (size_t)g->o.max_bytes,
                                     .hidden = g->o.hidden != 0};
    rag_err err = RAG_OK;
    for (size_t i = 0; i < n && !err; i++) {
        err = text_walk(paths[i], &how, look_at, g);
        if (err && err != RAG_ECANCELED && err != RAG_ENOMEM && n > 1) {
            tell(g, RAG_FAILED, paths[i], rag_error_message(), 0, 0);
            err = RAG_OK;
        }
    }
    return err;
}

/* ---- vectors ---- */

/* The chunks of a group that have no vector yet. */
struct wanting {
    struct ingest *g;
    char **texts;
    struct digest *keys;
    struct job **of; /* whose it is */
    rag_err *each;
    size_t n, room;
};

static rag_err want(struct wanting *w, struct job *j, const struct ready *r,
                    const struct store_chunk *c)
{
    char *text = NULL;
    size_t bytes = 0;
    rag_err err = store_view(c, r->d.text, r->d.bytes, &text, &bytes);
    if (err)
        return err;
    const struct digest key = digest_of(&(struct digest_part){text, bytes}, 1);
    if (store_has_vector(w->g->s->store, w->g->s->active.id, &key)) {
        mem_free(text);
        return RAG_OK;
    }
    if (w->n == w->room) {
        const size_t room = w->room ? 2 * w->room : 64;
        void *texts = mem_resize(w->texts, room * sizeof *w->texts);
        w->texts = texts ? texts : w->texts;
        void *keys = mem_resize(w->keys, room * sizeof *w->keys);
        w->keys = keys ? keys : w->keys;
        void *of = mem_resize(w->of, room * sizeof *w->of);
        w->of = of ? of : w->of;
        if (!texts || !keys || !of) {
            mem_free(text);
            return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu texts", room);
        }
        w->room = room;
    }
    w->texts[w->n] = text;
    w->keys[w->n] = key;
    w->of[w->n++] = j;
    return RAG_OK;
}

/* A checked batch goes into the cache at once: it was paid for. */
static rag_err keep(void *arg, size_t first, size_t n, size_t dims, const float *vectors)
{
    struct wanting *w = arg;
    struct rag_store *s = w->g->s;
    if (dims != s->active.dims)
        return RAG_FAIL(RAG_EMISMATCH, "the embedder gives %zu dimensions instead of %u", dims,
                        s->active.dims);
    rag_err err = store_begin(s->store);
    for (size_t i = 0; i < n && !err; i++)
        err = store_vector_put(s->store, s->active.id, &w->keys[first + i], dims,
                               vectors + i * dims);
    if (!err)
        err = store_commit(s->store);
    else
        store_rollback(s->store);
    w->g->r.embedded += err ? 0 : n;
    return err ? err : session_step(s, "embedding", w->g->done_bytes, w->g->total_bytes);
}

static void wanting_free(struct wanting *w)
{
    for (size_t i = 0; i < w->n; i++)
        mem_free(w->texts[i]);
    mem_free(w->texts);
    mem_free(w->keys);
    mem_free(w->of);
    mem_free(w->each);
}

/* Buys what is missing for jobs first..last-1.  A text that is too large for the model fails
 * its file alone. */
static rag_err buy_vectors(struct ingest *g, size_t first, size_t last)
{
    struct wanting w = {.g = g};
    rag_err err = RAG_OK;
    for (size_t i = first; i < last && !err; i++)
        for (struct ready *r = g->jobs[i].docs; r && !err && !g->jobs[i].err; r = r->next)
            for (size_t c = 0; c < r->n && !err && !r->vectors; c++)
                err = want(&w, &g->jobs[i], r, &r->chunks[c]);
    if (!err && w.n > 0)
        err = session_embedder(g->s);
    if (!err && w.n > 0 && !(w.each = mem_zalloc(w.n, sizeof *w.each)))
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for %zu texts", w.n);
    if (!err && w.n > 0)
        err = embed_texts(g->s->embedder, EMBED_DOCUMENT, (const char *const *)w.texts, w.n,
                          w.each, keep, &w);
    for (size_t k = 0; k < w.n && !err; k++) {
        struct job *j = w.of[k];
        if (!w.each[k] || j->err)
            continue;
        j->err = w.each[k];
        snprintf(j->message, sizeof j->message,
                 "a text of it is too large for %.100s: %.80s...", g->s->active.uri,
                 w.texts[k]);
    }
    wanting_free(&w);
    return err;
}

/* ---- writing ---- */

static int by_id(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Vectors that were brought along go where bought ones would. */
static rag_err keep_brought(struct ingest *g, const struct ready *r)
{
    struct rag_store *s = g->s;
    if (!r->vectors || s->active.free_of_charge)
        return RAG_OK;
    rag_err err = RAG_OK;
    for (size_t i = 0; i < r->n && !err; i++)
        err = store_vector_put(s->store, s->active.id, &r->chunks[i].sha256, s->active.dims,
                               r->vectors + i * s->active.dims);
    return err;
}

static rag_err put_document(struct ingest *g, struct ready *r, int64_t file, int64_t *id)
{
    struct store_document old = {0};
    rag_err err = store_document_find(g->s->store, r->d.source, false, &old);
    const bool there = !err;
    const bool same =
        there && !g->o.force && memcmp(old.sha256.b, r->d.sha256.b, sizeof r->d.sha256.b) == 0;
    if (err == RAG_ENOENT)
        err = RAG_OK;
    r->d.file = file;
    if (!err && same) {
        *id = old.id;
        err = store_document_keep(g->s->store, old.id, file);
        g->r.unchanged += !err;
    } else if (!err) {
        err = store_document_put(g->s->store, &r->d, r->chunks, r->n);
        *id = r->d.id;
        if (!err)
            err = keep_brought(g, r);
        if (!err)
            err = tell_later(g, there ? RAG_REPLACED : RAG_ADDED, r->d.source, NULL, r->n,
                             r->d.bytes);
        if (!err) {
            g->r.chunks += r->n;
            g->r.bytes += r->d.bytes;
            g->r.not_english += !r->english && strcmp(store_lang(g->s->store), "en") == 0;
        }
    }
    store_document_free(&old);
    return err;
}

/* A file's documents, in place of those it had. */
static rag_err put_file(struct ingest *g, struct job *j)
{
    struct store_file f = {.bytes = j->st.bytes,
                           .mtime_ns = j->st.mtime_ns,
                           .inode = j->st.inode,
                           .sha256 = j->sha256};
    int64_t *had = NULL, *kept = NULL;
    size_t nhad = 0, nkept = 0, n = 0;
    for (const struct ready *r = j->docs; r; r = r->next)
        n++;
    rag_err err = j->path ? store_file_put(g->s->store, j->source, &f) : RAG_OK;
    if (err || j->same) {
        g->r.unchanged += !err;
        return err;
    }
    kept = mem_alloc((n + 1) * sizeof *kept);
    err = kept ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu documents", n);
    if (!err && j->path)
        err = store_file_documents(g->s->store, f.id, &had, &nhad);
    for (struct ready *r = j->docs; r && !err; r = r->next)
        err = put_document(g, r, f.id, &kept[nkept++]);
    if (kept)
        qsort(kept, nkept, sizeof *kept, by_id);
    for (size_t i = 0; i < nhad && !err; i++)
        if (!bsearch(&had[i], kept, nkept, sizeof *kept, by_id)) {
            struct store_document gone = {0};
            err = store_document_get(g->s->store, had[i], false, &gone);
            if (err == RAG_ENOENT) { /* put again under its source */
                err = RAG_OK;
                continue;
            }
            if (!err)
                err = store_document_remove(g->s->store, had[i]);
            if (!err)
                err = tell_later(g, RAG_REMOVED, gone.source, "no longer in its file", 0, 0);
            store_document_free(&gone);
        }
    mem_free(had);
    mem_free(kept);
    return err;
}

/* Tells the index of what was committed with vectors. */
static rag_err tell_index(struct ingest *g, size_t first, size_t last)
{
    rag_err err = RAG_OK;
    int64_t *ids = NULL;
    for (size_t i = first; i < last && !err; i++)
        for (const struct ready *r = g->jobs[i].docs; r && !err; r = r->next) {
            if (!r->vectors || r->n == 0 || r->chunks[0].id == 0 || g->jobs[i].err)
                continue;
            int64_t *more = mem_resize(ids, r->n * sizeof *more);
            if (!more) {
                err = RAG_FAIL(RAG_ENOMEM, "out of memory for %zu ids", r->n);
                break;
            }
            ids = more;
            for (size_t c = 0; c < r->n; c++)
                ids[c] = r->chunks[c].id;
            err = mirror_add(g->s->mirror, r->n, ids, r->vectors);
        }
    mem_free(ids);
    return err;
}

/* Vectors of another length than the store's, or in a store that makes its own, fail their
 * file. */
static void check_brought(struct ingest *g, struct job *j)
{
    for (const struct ready *r = j->docs; r && !j->err; r = r->next) {
        if (!r->brought)
            continue;
        if (g->s->active.free_of_charge) {
            j->err = RAG_EMISMATCH;
            snprintf(j->message, sizeof j->message,
                     "%.200s: a vector came along, but %s makes its own; make a store with "
                     "--embedder brought:NAME@%zu",
                     r->d.source, g->s->active.uri, r->brought);
        } else if (r->brought != g->s->active.dims) {
            j->err = RAG_EDIM;
            snprintf(j->message, sizeof j->message,
                     "%.200s: a vector of %zu dimensions, %s has %u", r->d.source, r->brought,
                     g->s->active.uri, g->s->active.dims);
        }
    }
}

static rag_err write_group(struct ingest *g, size_t first, size_t last)
{
    for (size_t i = first; i < last; i++)
        check_brought(g, &g->jobs[i]);
    rag_err err = g->s->active.free_of_charge ? RAG_OK : buy_vectors(g, first, last);
    if (!err)
        err = store_begin(g->s->store);
    if (err)
        return err;
    for (size_t i = first; i < last && !err; i++) {
        struct job *j = &g->jobs[i];
        if (j->err)
            err = tell_later(g, j->binary ? RAG_SKIPPED : RAG_FAILED, j->source, j->message, 0,
                             0);
        else
            err = put_file(g, j);
    }
    if (!err)
        err = store_commit(g->s->store);
    else
        store_rollback(g->s->store);
    tell_now(g, !err);
    return err ? err : tell_index(g, first, last);
}

/* ---- the whole ---- */

static rag_err write_all(struct ingest *g)
{
    struct prepare *p = NULL;
    const struct preparing how = {.jobs = g->jobs,
                                  .n = g->n,
                                  .o = &g->o,
                                  .cut = g->cut,
                                  .embedder =
                                      g->s->active.free_of_charge ? g->s->active.uri : NULL,
                                  .s = g->s,
                                  .threads = g->s->o.threads};
    rag_err err = prepare_start(&how, &p);
    for (size_t first = 0; first < g->n && !err;) {
        size_t last = first, bytes = 0;
        while (last < g->n && bytes < GROUP_BYTES && last - first < GROUP_FILES) {
            const struct job *j = prepare_take(p, last++);
            bytes += j->bytes;
            g->done_bytes += j->st.bytes;
        }
        err = write_group(g, first, last);
        for (size_t i = first; i < last; i++)
            prepare_done(p, i);
        if (!err)
            err = session_step(g->s, "adding", g->done_bytes, g->total_bytes);
        first = last;
    }
    prepare_end(p);
    return err;
}

struct vanishing {
    struct ingest *g;
    struct id_of {
        int64_t id;
        char *path;
    } * list;
    size_t n, room, known;
    bool below_base; /* all of the store's parent is looked at */
};

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Whether path, or a folder above it, was passed over. */
static bool is_passed_over(const struct ingest *g, const char *path)
{
    for (size_t i = 0; i < g->nkept; i++) {
        const size_t n = strlen(g->kept[i]);
        if (strncmp(path, g->kept[i], n) == 0 && (path[n] == '/' || !path[n]))
            return true;
    }
    return false;
}

static rag_err note_missing(void *arg, int64_t id, const char *path)
{
    struct vanishing *v = arg;
    /* The store's own parent has no name: what is told by a whole path lies elsewhere. */
    if (v->below_base && path[0] == '/')
        return RAG_OK;
    v->known++;
    if (is_passed_over(v->g, path))
        return RAG_OK;
    if (v->g->nseen && bsearch(&path, v->g->seen, v->g->nseen, sizeof *v->g->seen, by_name))
        return RAG_OK;
    if (v->n == v->room) {
        const size_t room = v->room ? 2 * v->room : 64;
        struct id_of *more = mem_resize(v->list, room * sizeof *more);
        if (!more)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu names", room);
        v->list = more;
        v->room = room;
    }
    v->list[v->n] = (struct id_of){id, mem_strdup(path)};
    return v->list[v->n++].path ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for a name");
}

static rag_err remove_listed(struct vanishing *v)
{
    struct rag_store *s = v->g->s;
    if (v->n * VANISHED_SHARE > v->known && v->known > 4 && !v->g->o.force)
        return RAG_FAIL(
            RAG_EINVAL,
            "%zu of %zu files are gone: is the folder mounted? Nothing was removed; "
            "--force removes them",
            v->n, v->known);
    rag_err err = v->g->o.dry_run ? RAG_OK : store_begin(s->store);
    for (size_t i = 0; i < v->n && !err; i++) {
        if (!v->g->o.dry_run)
            err = store_file_remove(s->store, v->list[i].id);
        if (!err)
            err = tell_later(v->g, RAG_REMOVED, v->list[i].path, "no longer there", 0, 0);
    }
    if (!err && !v->g->o.dry_run)
        err = store_commit(s->store);
    else if (!v->g->o.dry_run)
        store_rollback(s->store);
    tell_now(v->g, !err);
    return err;
}

/* Files known below the roots that the walk did not come by. */
static rag_err remove_missing(struct ingest *g, const char *const *paths, size_t n)
{
    rag_err err = RAG_OK;
    if (g->nseen)
        qsort(g->seen, g->nseen, sizeof *g->seen, by_name);
    for (size_t i = 0; i < n && !err; i++) {
        struct vanishing v = {.g = g};
        char inside[PATH_MAX + 2], prefix[PATH_MAX];
        snprintf(inside, sizeof inside, "%s/.", paths[i]);
        err = source_of(g, inside, prefix); /* "docs/." */
        if (!err)
            prefix[strlen(prefix) - 1] = '\0';
        v.below_base = !err && !prefix[0];
        if (!err)
            err = store_files(g->s->store, prefix, note_missing, &v);
        if (!err && v.n > 0)
            err = remove_listed(&v);
        for (size_t k = 0; k < v.n; k++)
            mem_free(v.list[k].path);
        mem_free(v.list);
    }
    return err;
}

/* As the setting chunk.tokens has it; the cap stands to the target as in the defaults. */
static rag_err choose_chunking(const struct rag_store *s, struct text_chunking *cut)
{
    const unsigned target = session_number(s, "chunk.tokens");
    if (target > 0 && (target < CHUNK_LEAST || target > CHUNK_MOST))
        return RAG_FAIL(RAG_EINVAL, "chunk.tokens is %u: from %d to %d", target, CHUNK_LEAST,
                        CHUNK_MOST);
    *cut = (struct text_chunking){target, target * CHUNK_CAP};
    return RAG_OK;
}

static rag_err begin(struct ingest *g, rag_store *s, const rag_add_options *o)
{
    *g = (struct ingest){.s = s};
    if (o)
        memcpy(&g->o, o, o->size < sizeof g->o ? o->size : sizeof g->o);
    if (!s->writes && !g->o.dry_run)
        return RAG_FAIL(RAG_EINVAL, "%s is open for reading only", s->dir);
    if (g->o.format && text_format_named(g->o.format) == TEXT_BINARY)
        return RAG_FAIL(RAG_EINVAL, "no format \"%s\"", g->o.format);
    rag_err err = choose_chunking(s, &g->cut);
    return err || g->o.dry_run ? err : session_mirror(s);
}

static rag_err finish(struct ingest *g, rag_err err, rag_add_report *report)
{
    if (!g->o.dry_run && (!err || err == RAG_EUNAVAIL || err == RAG_EREFUSED)) {
        struct error_note note;
        error_take(&note, (ann_err)err);
        const rag_err saved = mirror_save(g->s->mirror, false);
        err = err ? (rag_err)error_put(&note) : saved;
    }
    if (report)
        *report = g->r;
    for (size_t i = 0; i < g->n; i++)
        job_free(&g->jobs[i]);
    tell_now(g, false);
    mem_free(g->jobs);
    forget_names(g->seen, g->nseen);
    forget_names(g->kept, g->nkept);
    mem_free(g->later);
    if (!err && g->r.failed > 0)
        err = RAG_FAIL(RAG_EPARTIAL, "%llu of %llu inputs failed; the others are in",
                       (unsigned long long)g->r.failed,
                       (unsigned long long)(g->r.files ? g->r.files : g->n));
    return err;
}

rag_err rag_add(rag_store *s, const char *const *paths, size_t n, const rag_add_options *o,
                rag_add_report *report)
{
    struct ingest g;
    rag_err err = begin(&g, s, o);
    if (!err)
        err = walk(&g, paths, n);
    if (!err && g.o.dry_run)
        for (size_t i = 0; i < g.n; i++)
            tell(&g, g.jobs[i].known.id ? RAG_REPLACED : RAG_ADDED, g.jobs[i].source, NULL, 0,
                 g.jobs[i].st.bytes);
    else if (!err && g.n > 0)
        err = write_all(&g);
    if (!err && g.o.remove_missing)
        err = remove_missing(&g, paths, n);
    return finish(&g, err, report);
}

rag_err rag_add_texts(rag_store *s, const rag_document *docs, size_t n,
                      const rag_add_options *o, rag_add_report *report)
{
    struct ingest g;
    rag_err err = begin(&g, s, o);
    if (!err && s->active.free_of_charge)
        err = session_embedder(s);
    if (!err && !(g.jobs = mem_zalloc(n ? n : 1, sizeof *g.jobs)))
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for %zu texts", n);
    size_t first = 0, bytes = 0;
    for (size_t i = 0; i < n && !err; i++) {
        struct job *j = &g.jobs[g.n++];
        j->source = mem_strdup(docs[i].source ? docs[i].source : "");
        j->err =
            docs[i].source && *docs[i].source
                ? prepare_text(&docs[i], &g.o, &g.cut,
                               s->active.free_of_charge ? s->embedder : NULL, j)
                : RAG_FAIL(RAG_EINVAL, "text %zu has no source", i);
        snprintf(j->message, sizeof j->message, "%s", j->err ? rag_error_message() : "");
        bytes += j->bytes;
        if (bytes >= GROUP_BYTES || i + 1 == n) {
            err = write_group(&g, first, i + 1);
            first = i + 1;
            bytes = 0;
        }
    }
    return finish(&g, err, report);
}

/* Its file is read again when it is added again. */
static rag_err remove_one(rag_store *s, int64_t id)
{
    struct store_document d = {0};
    rag_err err = store_document_get(s->store, id, false, &d);
    if (!err)
        err = store_document_remove(s->store, id);
    if (!err && d.file)
        err = store_file_forget(s->store, d.file);
    store_document_free(&d);
    return err;
}

static rag_err remove_all(rag_store *s, int64_t *ids, size_t n, uint64_t *removed)
{
    rag_err err = s->writes ? store_begin(s->store)
                            : RAG_FAIL(RAG_EINVAL, "%s is open for reading only", s->dir);
    if (err)
        return err;
    for (size_t i = 0; i < n && !err; i++)
        err = remove_one(s, ids[i]);
    if (err) {
        store_rollback(s->store);
        return err;
    }
    err = store_commit(s->store);
    if (!err)
        err = session_mirror(s);
    if (!err)
        err = mirror_save(s->mirror, false);
    if (!err && removed)
        *removed = n;
    return err;
}

rag_err rag_remove(rag_store *s, const char *const *sources, size_t n, uint64_t *removed)
{
    int64_t *ids = mem_alloc((n + 1) * sizeof *ids);
    rag_err err = ids ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu sources", n);
    for (size_t i = 0; i < n && !err; i++) {
        struct store_document d = {0};
        err = store_document_find(s->store, sources[i], false, &d);
        ids[i] = d.id;
        store_document_free(&d);
    }
    if (!err)
        err = remove_all(s, ids, n, removed);
    mem_free(ids);
    return err;
}

struct listing {
    int64_t *ids;
    size_t n, room;
};

static rag_err list_document(void *arg, const struct store_document *d)
{
    struct listing *l = arg;
    if (l->n == l->room) {
        const size_t room = l->room ? 2 * l->room : 64;
        int64_t *more = mem_resize(l->ids, room * sizeof *more);
        if (!more)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu ids", room);
        l->ids = more;
        l->room = room;
    }
    l->ids[l->n++] = d->id;
    return RAG_OK;
}

rag_err rag_remove_where(rag_store *s, const char *const *where, size_t n, uint64_t *removed)
{
    struct store_filter *f = NULL;
    struct listing l = {0};
    rag_err err = n ? store_filter_make(where, n, &f)
                    : RAG_FAIL(RAG_EINVAL, "no condition: that would remove everything");
    if (!err)
        err = store_documents(s->store, f, list_document, &l);
    if (!err)
        err = remove_all(s, l.ids, l.n, removed);
    store_filter_free(f);
    mem_free(l.ids);
    return err;
}
