/* model_api.c - models of this process: listed, imported, checked, distilled.
 *
 * Place: rag, above rag/embed.  Invariant: a model's file gets its name when it is whole. */
#include <config.h>

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ann/base/memory.h"
#include "ann/base/pool.h"
#include "ann/io/io.h"
#include "ann/io/json.h"
#include "rag/embed/catalog.h"
#include "rag/embed/distill.h"
#include "rag/embed/encoder.h"
#include "rag/embed/hub.h"
#include "rag/embed/model.h"
#include "rag/embed/static.h"
#include "rag/internal.h"
#include "rag/eval/judge.h"

#define CONFIG_MOST ((size_t)1 << 20)
#define TEXT_LEAST  20 /* bytes; what is shorter is no text to learn from */
#define TEXTS_BYTES ((size_t)4 << 30)

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The last part of path, without ".kith"; out [PATH_MAX]. */
static void base_name(const char *path, char *out)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    size_t from = n;
    while (from > 0 && path[from - 1] != '/')
        from--;
    if (n - from > 5 && memcmp(path + n - 5, ".kith", 5) == 0)
        n -= 5;
    snprintf(out, PATH_MAX, "%.*s", (int)(n - from), path + from);
}

/* A BERT encoder's folder, rather than a table's. */
static bool is_encoder_folder(const char *path)
{
    char config[PATH_MAX];
    struct js *root = NULL;
    const int n = snprintf(config, sizeof config, "%s/config.json", path);
    if (n <= 0 || n >= (int)sizeof config || js_load(config, CONFIG_MOST, &root) != ANN_OK)
        return false;
    const bool encoder = js_get(root, "hidden_size") != NULL;
    js_free(root);
    return encoder;
}

/* ---- listing ---- */

struct listing {
    int (*each)(void *arg, const rag_model_info *m);
    void *arg;
};

static uint64_t size_of(const char *path)
{
    struct stat st;
    char weights[PATH_MAX];
    const int n = is_folder(path)
                      ? snprintf(weights, sizeof weights, "%s/model.safetensors", path)
                      : snprintf(weights, sizeof weights, "%s", path);
    return n > 0 && n < (int)sizeof weights && stat(weights, &st) == 0 ? (uint64_t)st.st_size
                                                                       : 0;
}

static int tell(void *arg, const char *name, const char *path)
{
    const struct listing *l = arg;
    struct model *m = NULL;
    char uri[PATH_MAX + 8];
    rag_model_info info = {.size = sizeof info,
                           .name = name,
                           .path = path,
                           .bytes = size_of(path),
                           .source = "",
                           .licence = "",
                           .revision = ""};
    if (is_folder(path)) {
        info.kind = is_encoder_folder(path) ? "encoder" : "static";
    } else if (model_open(path, &m) == RAG_OK) {
        info.kind = model_kind(m);
        info.dims = (uint32_t)model_number(m, "dims");
        info.tokens = (uint32_t)model_number(m, "tokens");
        info.source = model_text(m, "source");
        info.licence = model_text(m, "licence");
        info.revision = model_digest(m);
    } else {
        info.kind = "";
        info.fault = rag_error_message();
    }
    snprintf(uri, sizeof uri, "%s:%s", strcmp(info.kind, "static") == 0 ? "static" : "local",
             name);
    info.uri = uri;
    const int stop = l->each(l->arg, &info);
    model_close(m);
    return stop;
}

rag_err rag_list_models(int (*each)(void *arg, const rag_model_info *m), void *arg)
{
    struct listing l = {each, arg};
    return catalog_each(tell, &l);
}

rag_err rag_check_model(const char *name)
{
    char *path = NULL;
    struct model *m = NULL;
    rag_err err = catalog_find(name, &path);
    if (!err)
        err = model_open(path, &m);
    if (!err)
        err = model_verify(m);
    model_close(m);
    mem_free(path);
    return err;
}

/* ---- importing ---- */

/* Where o wants the file of a model called name; *out for mem_free. */
static rag_err choose_output(const rag_import_options *o, const char *name, char **out)
{
    char *folder = NULL;
    char path[2 * PATH_MAX];
    if (o->output) {
        *out = mem_strdup(o->output);
        return *out ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for a path");
    }
    if (strchr(name, '/') || name[0] == '.' || !name[0])
        return RAG_FAIL(RAG_EINVAL, "\"%s\" is no name for a model", name);
    rag_err err = catalog_user_folder(&folder);
    if (err)
        return err;
    snprintf(path, sizeof path, "%s/%s.kith", folder, name);
    mem_free(folder);
    *out = mem_strdup(path);
    return *out ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for a path");
}

static rag_err convert(const char *path, const char *name, const rag_import_options *o,
                       const char *output)
{
    const char *source = o->source ? o->source : "", *licence = o->licence ? o->licence : "";
    struct encoder *e = NULL;
    struct table *t = NULL;
    rag_err err;
    if (is_folder(path) && is_encoder_folder(path)) {
        err = encoder_open_folder(path, &e);
        if (!err)
            err = encoder_save(e, output, name, source, licence);
    } else {
        err = is_folder(path) ? table_open_folder(path, &t) : table_open_words(path, &t);
        if (!err)
            err = table_save(t, output, name, source, licence);
    }
    encoder_close(e);
    table_close(t);
    return err;
}

rag_err rag_import_model(const char *path, const rag_import_options *o, char **written)
{
    rag_import_options with = RAG_IMPORT_OPTIONS_INIT;
    char name[PATH_MAX], *output = NULL;
    struct stat st;
    if (o)
        memcpy(&with, o, o->size < sizeof with ? o->size : sizeof with);
    if (stat(path, &st) != 0)
        return RAG_FAIL(RAG_ENOENT, "%s: no such file or folder", path);
    base_name(path, name);
    rag_err err = choose_output(&with, with.name ? with.name : name, &output);
    if (!err)
        err = convert(path, with.name ? with.name : name, &with, output);
    if (!err && written) {
        *written = output;
        return RAG_OK;
    }
    mem_free(output);
    return err;
}

/* ---- distilling ---- */

/* Lines of files, one after the other, each with a NUL. */
struct lines {
    char *text;
    size_t bytes, room;
    size_t *at; /* [n] */
    size_t n, most;
};

static rag_err add_line(struct lines *l, const char *line, size_t bytes)
{
    if (bytes < TEXT_LEAST)
        return RAG_OK;
    if (l->room - l->bytes < bytes + 1) {
        const size_t room = 2 * l->room + bytes + 65536;
        char *more = room <= TEXTS_BYTES ? mem_resize(l->text, room) : NULL;
        if (!more)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu bytes of texts", room);
        l->text = more;
        l->room = room;
    }
    if (l->n == l->most) {
        const size_t most = 2 * l->most + 4096;
        size_t *more = mem_resize(l->at, most * sizeof *more);
        if (!more)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu texts", most);
        l->at = more;
        l->most = most;
    }
    l->at[l->n++] = l->bytes;
    memcpy(l->text + l->bytes, line, bytes);
    l->bytes += bytes;
    l->text[l->bytes++] = '\0';
    return RAG_OK;
}

static rag_err read_file(struct lines *l, const char *path)
{
    char *text = NULL;
    size_t bytes = 0;
    rag_err err = rag_from_base(io_slurp(path, TEXTS_BYTES, &text, &bytes));
    for (size_t at = 0; at < bytes && !err;) {
        const char *end = memchr(text + at, '\n', bytes - at);
        const size_t n = end ? (size_t)(end - text) - at : bytes - at;
        if (!memchr(text + at, '\0', n))
            err = add_line(l, text + at, n);
        at += n + 1;
    }
    mem_free(text);
    return err;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* in no locale's order */
}

/* Files of a folder in the order of their names; folders within are not entered. */
static rag_err read_path(struct lines *l, const char *path)
{
    struct dirent **names = NULL;
    if (!is_folder(path))
        return read_file(l, path);
    const int n = scandir(path, &names, NULL, by_bytes);
    rag_err err = n < 0 ? RAG_FAIL(RAG_EIO, "%s: cannot be read", path) : RAG_OK;
    for (int i = 0; i < n; i++) {
        char file[PATH_MAX];
        const int m = snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name);
        if (!err && names[i]->d_name[0] != '.' && m > 0 && m < (int)sizeof file &&
            !is_folder(file))
            err = read_file(l, file);
        free(names[i]);
    }
    free(names);
    return err;
}

static rag_err open_teacher(const char *uri, struct encoder **out)
{
    char *path = NULL;
    struct model *m = NULL;
    if (!uri || strncmp(uri, "local:", 6) != 0)
        return RAG_FAIL(RAG_EINVAL, "teacher \"%s\" is not local:NAME", uri ? uri : "");
    rag_err err = catalog_find(uri + 6, &path);
    if (!err && is_folder(path))
        err = encoder_open_folder(path, out);
    else if (!err && !(err = model_open(path, &m)))
        err = encoder_open_model(m, out);
    mem_free(path);
    return err;
}

static rag_err distill_lines(const rag_distill_options *o, const struct lines *l,
                             struct encoder *teacher, struct pool *p, struct distill_report *r)
{
    char name[PATH_MAX];
    base_name(o->output, name);
    const char **texts = mem_alloc((l->n + 1) * sizeof *texts);
    if (!texts)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu texts", l->n);
    for (size_t i = 0; i < l->n; i++)
        texts[i] = l->text + l->at[i];
    const struct distill d = {.teacher = teacher,
                              .texts = texts,
                              .n = l->n,
                              .dims = o->dims,
                              .epochs = o->epochs,
                              .seed = o->seed,
                              .name = o->name ? o->name : name,
                              .source = o->source,
                              .licence = o->licence,
                              .pool = p,
                              .progress = o->progress,
                              .progress_arg = o->progress_arg};
    rag_err err = distill_run(&d, o->output, r);
    mem_free(texts);
    return err;
}

struct judging {
    struct encoder *teacher;
    struct pool *pool;
    struct table *table;
};

static rag_err by_teacher(void *arg, const char *const *texts, size_t n, float *vectors)
{
    const struct judging *j = arg;
    return encoder_embed(j->teacher, texts, n, j->pool, vectors);
}

static rag_err by_table(void *arg, const char *const *texts, size_t n, float *vectors)
{
    const struct judging *j = arg;
    const size_t dims = table_facts(j->table).dims;
    for (size_t i = 0; i < n; i++)
        table_embed(j->table, texts[i], strlen(texts[i]), vectors + i * dims);
    return RAG_OK;
}

static rag_err judge_one(const rag_distill_options *o, struct judging *j, const char *folder)
{
    rag_collection_options with = RAG_COLLECTION_OPTIONS_INIT;
    rag_collection *c = NULL;
    double teacher = 0, result = 0;
    with.folder = folder;
    rag_err err = rag_collection_open(&with, &c);
    if (!err)
        err = judge_vectors(c, encoder_facts(j->teacher).dims, by_teacher, j, &teacher);
    if (!err)
        err = judge_vectors(c, table_facts(j->table).dims, by_table, j, &result);
    if (!err && o->on_judged)
        o->on_judged(o->judged_arg, folder, c->nquestions, teacher, result);
    rag_collection_close(c);
    return err;
}

static rag_err judge_all(const rag_distill_options *o, struct encoder *teacher, struct pool *p)
{
    struct judging j = {teacher, p, NULL};
    struct model *m = NULL;
    if (o->ncollections == 0)
        return RAG_OK;
    rag_err err = model_open(o->output, &m);
    if (!err)
        err = table_open_model(m, &j.table);
    for (size_t i = 0; i < o->ncollections && !err; i++)
        err = judge_one(o, &j, o->collections[i]);
    table_close(j.table);
    return err;
}

rag_err rag_distill(const rag_distill_options *o, rag_distill_report *report)
{
    rag_distill_options with = RAG_DISTILL_OPTIONS_INIT;
    memcpy(&with, o, o->size < sizeof with ? o->size : sizeof with);
    struct lines l = {0};
    struct encoder *teacher = NULL;
    struct pool *p = NULL;
    struct distill_report r = {0};
    rag_err err = with.output ? RAG_OK : RAG_FAIL(RAG_EINVAL, "no file to write is named");
    if (!err)
        err = open_teacher(with.teacher, &teacher);
    for (size_t i = 0; i < with.npaths && !err; i++)
        err = read_path(&l, with.paths[i]);
    if (!err)
        err = rag_from_base(
            pool_create(with.threads ? with.threads : pool_default_threads(), &p));
    if (!err)
        err = distill_lines(&with, &l, teacher, p, &r);
    if (!err)
        err = judge_all(&with, teacher, p);
    if (!err && report) {
        const rag_distill_report full = {sizeof full, r.texts, r.tokens,      r.kept,
                                         r.before,    r.after, r.held_before, r.held_after};
        const size_t size = report->size < sizeof full ? report->size : sizeof full;
        memcpy(report, &full, size);
        report->size = size;
    }
    pool_close(p);
    encoder_close(teacher);
    mem_free(l.text);
    mem_free(l.at);
    return err;
}

/* ---- fetching ---- */

struct fetching {
    const rag_get_options *o;
    char what[256];
};

static int fetched(void *arg, const char *file, uint64_t done, uint64_t total)
{
    struct fetching *f = arg;
    snprintf(f->what, sizeof f->what, "%s", file);
    return f->o->progress ? f->o->progress(f->o->progress_arg, f->what, done, total) : 0;
}

/* Pins out of "FILE=SHA256"s; specs holds their copies. */
static rag_err read_pins(const rag_get_options *o, char **specs, struct hub_file *pins)
{
    rag_err err = RAG_OK;
    for (size_t i = 0; i < o->npins && !err; i++) {
        specs[i] = mem_strdup(o->pins[i]);
        err = specs[i] ? hub_pin(specs[i], &pins[i])
                       : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu pins", o->npins);
    }
    return err;
}

rag_err rag_get_model(const char *name, const rag_get_options *o, char **folder)
{
    rag_get_options with = RAG_GET_OPTIONS_INIT;
    if (o)
        memcpy(&with, o, o->size < sizeof with ? o->size : sizeof with);
    struct fetching f = {.o = &with};
    struct net *n = NULL;
    char *models = NULL, *dir = NULL;
    char **specs = mem_zalloc(with.npins + 1, sizeof *specs);
    struct hub_file *pins = mem_zalloc(with.npins + 1, sizeof *pins);
    rag_err err = specs && pins ? read_pins(&with, specs, pins)
                                : RAG_FAIL(RAG_ENOMEM, "out of memory for pins");
    if (!err)
        err = catalog_user_folder(&models);
    if (!err)
        err = net_open(&n);
    const struct hub_wish w = {.name = name,
                               .folder = models,
                               .base_url = with.base_url,
                               .token = with.token,
                               .pins = pins,
                               .npins = with.npins,
                               .on_progress = fetched,
                               .arg = &f};
    if (!err)
        err = hub_get(n, &w, &dir);
    net_close(n);
    for (size_t i = 0; specs && i < with.npins; i++)
        mem_free(specs[i]);
    mem_free(specs);
    mem_free(pins);
    mem_free(models);
    if (!err && folder)
        *folder = dir;
    else
        mem_free(dir);
    return err;
}
