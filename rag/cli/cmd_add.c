/* cmd_add.c - texts into a store, and out of it: add, sync, import, rm.
 *
 * Place: rag/cli. */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/base/memory.h"
#include "ann/io/io.h"
#include "rag/cli/cli.h"

#define STDIN_MAX   ((size_t)256 << 20)
#define SKIPS_SHOWN 20

struct telling {
    const struct args *a;
    uint64_t skipped;
    bool changes; /* each document is told, not only what went wrong */
};

static const char *const kinds[] = {"", "added", "replaced", "removed", "skipped", "failed"};

static void tell_json(const rag_event *e)
{
    struct js_out o = JS_OUT_INIT;
    js_open(&o, NULL, '{');
    js_put_string(&o, "event", kinds[e->kind]);
    js_put_string(&o, "source", e->source);
    if (e->reason)
        js_put_string(&o, "reason", e->reason);
    if (e->chunks)
        js_put_u64(&o, "chunks", e->chunks);
    js_shut(&o, '}');
    /* At once: what is read here is committed, also if this process ends now. */
    if (js_line(&o, stdout) != ANN_OK || fflush(stdout) != 0)
        run_warn("standard output: %s", error_message());
    js_out_free(&o);
}

static void tell(void *arg, const rag_event *e)
{
    struct telling *t = arg;
    if (t->a->json)
        tell_json(e);
    else if (e->kind == RAG_FAILED)
        run_warn("%s: %s", e->source, e->reason);
    else if (e->kind == RAG_SKIPPED && t->skipped++ < SKIPS_SHOWN)
        run_say("skipped %s: %s", e->source, e->reason);
    else if (t->changes && e->kind != RAG_SKIPPED)
        run_say("%s %s", kinds[e->kind], e->source);
}

static void summarise(const struct telling *t, const rag_add_report *r)
{
    char size[32];
    if (t->skipped > SKIPS_SHOWN)
        run_say("skipped %llu more", (unsigned long long)(t->skipped - SKIPS_SHOWN));
    run_say("%s%llu added, %llu replaced, %llu unchanged, %llu removed, %llu skipped, %llu "
            "failed: %llu passages of %s",
            t->a->dry_run ? "would be: " : "", (unsigned long long)r->added,
            (unsigned long long)r->replaced, (unsigned long long)r->unchanged,
            (unsigned long long)r->removed, (unsigned long long)r->skipped,
            (unsigned long long)r->failed, (unsigned long long)r->chunks,
            print_size(size, r->bytes));
    if (r->not_english)
        run_say("%llu of them seem not to be English: words are stemmed as English in this "
                "store (a new one with --lang any is not)",
                (unsigned long long)r->not_english);
}

static void summarise_json(const rag_add_report *r)
{
    struct js_out o = JS_OUT_INIT;
    js_open(&o, NULL, '{');
    js_put_string(&o, "event", "done");
    js_put_u64(&o, "added", r->added);
    js_put_u64(&o, "replaced", r->replaced);
    js_put_u64(&o, "unchanged", r->unchanged);
    js_put_u64(&o, "removed", r->removed);
    js_put_u64(&o, "skipped", r->skipped);
    js_put_u64(&o, "failed", r->failed);
    js_put_u64(&o, "chunks", r->chunks);
    js_put_u64(&o, "bytes", r->bytes);
    js_put_u64(&o, "embedded", r->embedded);
    js_shut(&o, '}');
    if (js_line(&o, stdout) != ANN_OK)
        run_warn("standard output: %s", error_message());
    js_out_free(&o);
}

/* A JSON object, or an error that says so. */
static rag_err check_meta(const char *meta)
{
    struct js *document = NULL;
    if (!meta)
        return RAG_OK;
    rag_err err = (rag_err)js_parse("--meta", meta, strlen(meta), 0, &document);
    if (!err && js_kind(document) != JS_OBJECT)
        err = (rag_err)ANN_FAIL(ANN_EINVAL, "--meta %s: not a JSON object", meta);
    if (!err)
        js_free(document);
    return err;
}

static rag_add_options options_of(const struct args *a, struct telling *t)
{
    rag_add_options o = RAG_ADD_OPTIONS_INIT;
    const char *most = config_get(NULL, "add.max_bytes");
    o.include = a->include.n ? a->include.items : NULL;
    o.exclude = a->exclude.n ? a->exclude.items : NULL;
    o.format = a->format;
    o.meta = a->meta;
    o.max_bytes = a->max_bytes ? a->max_bytes : most ? strtoull(most, NULL, 10) : 0;
    o.hidden = a->hidden;
    o.force = a->force;
    o.dry_run = a->dry_run;
    o.id_field = a->id_field;
    o.text_field = a->text_field;
    o.on_event = tell;
    o.arg = t;
    return o;
}

static void announce(rag_store *s, bool fresh)
{
    rag_status st = {.size = sizeof st};
    if (!fresh || rag_get_status(s, &st) != RAG_OK)
        return;
    if (strcmp(st.embedder, "builtin:hash-v1") == 0)
        run_say("a new store with builtin:hash-v1, which knows no meaning, only spelling");
    else
        run_say("a new store with %s, %u dimensions", st.embedder, st.dims);
}

static bool is_fresh(rag_store *s)
{
    rag_status st = {.size = sizeof st};
    return rag_get_status(s, &st) == RAG_OK && st.documents == 0 && st.files == 0;
}

/* One text from standard input. */
static rag_err add_stdin(const struct args *a, rag_store *s, const rag_add_options *o,
                         rag_add_report *r)
{
    char *text = NULL;
    size_t bytes = 0;
    rag_err err = run_slurp("-", STDIN_MAX, &text, &bytes);
    if (err)
        return err;
    const rag_document d = {.size = sizeof d,
                            .source = a->source ? a->source : "standard input",
                            .format = a->format,
                            .text = text,
                            .bytes = bytes};
    err = run_library(rag_add_texts(s, &d, 1, o, r));
    mem_free(text);
    return err;
}

static int add(const struct args *a, bool remove_missing)
{
    rag_store *s = NULL;
    struct telling t = {.a = a, .changes = a->dry_run};
    rag_add_report r = {0};
    rag_err err = check_meta(a->meta);
    if (!err)
        err = run_open(a, a->dry_run ? RAG_READ : RAG_CREATE, &s);
    if (err)
        return run_end(err);
    rag_add_options o = options_of(a, &t);
    o.remove_missing = remove_missing;
    announce(s, is_fresh(s));
    if (a->n == 1 && strcmp(a->list[0], "-") == 0)
        err = add_stdin(a, s, &o, &r);
    else
        err = run_library(rag_add(s, (const char *const *)a->list, (size_t)a->n, &o, &r));
    if (a->json)
        summarise_json(&r);
    else if (!err || err == RAG_EPARTIAL)
        summarise(&t, &r);
    rag_close(s);
    return run_end(err);
}

int cmd_add(const struct args *a)
{
    return add(a, false);
}

int cmd_sync(const struct args *a)
{
    return add(a, true);
}

/* ---- vectors and captions ---- */

#define CAPTIONS_MAX ((size_t)1 << 30)
#define ROWS_AT_ONCE 1024

struct captions {
    char *text, *next; /* the lines left */
    size_t n;
};

static char *next_caption(struct captions *c)
{
    char *line = c->next && *c->next ? c->next : NULL;
    if (line) {
        char *lf = strchr(line, '\n');
        c->next = lf ? lf + 1 : NULL;
        line[strcspn(line, "\r\n")] = '\0';
        c->n++;
    }
    return line;
}

/* Rows of m with a line each. */
static rag_err add_rows(rag_store *s, const char *name, const struct io_matrix *m,
                        struct captions *c, const rag_add_options *o, rag_add_report *r)
{
    rag_document *docs = mem_zalloc(ROWS_AT_ONCE, sizeof *docs);
    char(*sources)[4200] = mem_alloc(ROWS_AT_ONCE * sizeof *sources);
    rag_err err = docs && sources ? RAG_OK : (rag_err)ANN_FAIL(ANN_ENOMEM, "out of memory");
    for (size_t at = 0; at < m->n && !err;) {
        size_t n = 0;
        for (; n < ROWS_AT_ONCE && at + n < m->n && !err; n++) {
            const char *caption = next_caption(c);
            if (!caption)
                err = (rag_err)ANN_FAIL(ANN_EINVAL, "%s has %zu rows, but there are %zu texts",
                                        name, m->n, c->n);
            snprintf(sources[n], sizeof *sources, "%.4000s#%zu", name, at + n + 1);
            docs[n] = (rag_document){.size = sizeof *docs,
                                     .source = sources[n],
                                     .format = "plain",
                                     .text = caption,
                                     .bytes = caption ? strlen(caption) : 0,
                                     .vector = io_row(m, at + n),
                                     .dims = m->dim};
        }
        rag_add_report part = {0};
        if (!err)
            err = run_library(rag_add_texts(s, docs, n, o, &part));
        r->added += part.added;
        r->replaced += part.replaced;
        r->unchanged += part.unchanged;
        r->failed += part.failed;
        r->chunks += part.chunks;
        r->bytes += part.bytes;
        at += n;
    }
    mem_free(docs);
    mem_free(sources);
    return err;
}

static int import_rows(const struct args *a)
{
    rag_store *s = NULL;
    struct io_matrix m = {0};
    struct captions c = {0};
    struct telling t = {.a = a};
    rag_add_report r = {0};
    size_t bytes = 0;
    const rag_add_options o = options_of(a, &t);
    rag_err err = (rag_err)io_load(a->list[0], NULL, &m);
    if (!err && m.type != IO_F32)
        err = (rag_err)ANN_FAIL(ANN_EINVAL, "%s holds %s, not f32", a->list[0],
                                io_type_name(m.type));
    if (!err)
        err = (rag_err)io_slurp(a->texts, CAPTIONS_MAX, &c.text, &bytes);
    c.next = c.text;
    if (!err)
        err = run_open(a, RAG_CREATE, &s);
    if (!err)
        err = add_rows(s, a->list[0], &m, &c, &o, &r);
    if (!err || err == RAG_EPARTIAL)
        summarise(&t, &r);
    rag_close(s);
    mem_free(c.text);
    io_free(&m);
    return run_end(err);
}

int cmd_import(const struct args *a)
{
    if (a->texts)
        return import_rows(a);
    struct args jsonl = *a;
    jsonl.format = "jsonl";
    jsonl.max_bytes = (uint64_t)1 << 32;
    return add(&jsonl, false);
}

int cmd_rm(const struct args *a)
{
    rag_store *s = NULL;
    uint64_t removed = 0, erased = 0;
    if (a->n == 0 && a->where.n == 0 && !a->purge)
        return cli_usage(a, "rm needs a source, --where or --purge");
    rag_err err = run_open(a, RAG_WRITE, &s);
    if (!err && a->n > 0)
        err = run_library(rag_remove(s, (const char *const *)a->list, (size_t)a->n, &removed));
    uint64_t more = 0;
    if (!err && a->where.n > 0)
        err = run_library(rag_remove_where(s, a->where.items, (size_t)a->where.n, &more));
    if (!err && a->purge)
        err = run_library(rag_purge(s, &erased));
    if (!err)
        run_say("%llu documents removed%s", (unsigned long long)(removed + more),
                a->purge ? ", and what was kept of them" : "");
    rag_close(s);
    return run_end(err);
}
