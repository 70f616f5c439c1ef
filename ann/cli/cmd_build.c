/* cmd_build.c - build, add, update, remove: what changes an index file.
 *
 * Place: ann/cli.  Invariant: the file is replaced when all is done and not before; the lock
 * beside it is held from before it is read until it is replaced. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "ann/cli/cli.h"
#include "ann/io/json.h"

/* A stream of vectors and the ids that go with them. */
struct feed {
    const char *path;
    struct io_reader *reader;
    struct io_shape shape;
    ann_id *ids; /* NULL: numbered by the library */
    size_t n_ids;
    size_t done;
};

static ann_err feed_open(const struct args *a, const char *path, const struct io_options *o,
                         struct feed *f)
{
    *f = (struct feed){.path = strcmp(path, "-") == 0 ? "standard input" : path};
    ann_err err = io_open(path, o, &f->reader);
    if (err)
        return err;
    f->shape = io_shape(f->reader);
    if (a->ids && (err = io_load_ids(a->ids, &f->ids, &f->n_ids)) != 0)
        return err;
    if (a->ids && f->shape.n != IO_UNKNOWN && f->shape.n != f->n_ids)
        return ANN_FAIL(ANN_EINVAL, "%s: %zu ids, but %s has %zu vectors", a->ids, f->n_ids,
                        f->path, f->shape.n);
    return ANN_OK;
}

static void feed_close(struct feed *f)
{
    io_close(f->reader);
    mem_free(f->ids);
}

/* The library counts vectors from the block's first, people from the file's. */
static ann_err in_file(ann_err err, const struct feed *f)
{
    char text[ERROR_MESSAGE_MAX];
    size_t row;
    int end = 0;
    snprintf(text, sizeof text, "%s", error_message());
    if (sscanf(text, "vector %zu:%n", &row, &end) == 1 && end > 0)
        return ANN_FAIL(err, "%s: vector %zu:%s", f->path, f->done + row, text + end);
    return error_prefix(err, f->path);
}

/* Whether something is left to the vectors: what ivfpq learns, the degree of profile fast. */
static bool learns(const ann_options *o)
{
    return o->kind == ANN_IVFPQ || (o->profile == ANN_PROFILE_FAST && o->m == 0);
}

/* What an index learns from: the whole file, of which the library takes what it needs. */
static ann_err train_on(const char *path, const struct io_options *in, ann_index *ix,
                        ann_dtype store, uint32_t dim)
{
    struct io_matrix m;
    ann_view v;
    ann_err err = io_load(path, in, &m);
    if (err)
        return err;
    err = input_view(path, &m, store, dim, &v);
    if (!err)
        err = io_library(ann_train(ix, v));
    io_free(&m);
    return err;
}

/* All of f into ix, block by block; `train`: it learns from the first of them. */
static ann_err feed_into(struct feed *f, ann_index *ix, ann_dtype store, uint32_t dim,
                         bool update, bool train)
{
    const size_t rows = input_block_rows(dim);
    const uint64_t total = f->shape.n == IO_UNKNOWN ? 0 : f->shape.n;
    for (;;) {
        struct io_matrix block;
        ann_view v;
        ann_err err = io_read(f->reader, rows, &block);
        if (!err && block.n == 0)
            break;
        if (!err)
            err = input_view(f->path, &block, store, dim, &v);
        if (!err && f->ids && block.n > f->n_ids - f->done)
            err = ANN_FAIL(ANN_EINVAL, "%s has more vectors than there are ids, %zu", f->path,
                           f->n_ids);
        if (!err && session_interrupted())
            err = ANN_FAIL(ANN_ECANCELED, "interrupted");
        if (err)
            return err;
        if (train && f->done == 0 && (err = io_library(ann_train(ix, v))) != 0)
            return in_file(err, f);
        session_adding(f->done, total);
        const ann_id *ids = f->ids ? f->ids + f->done : NULL;
        err = io_library(update ? ann_update(ix, v, ids) : ann_add(ix, v, ids));
        if (err)
            return in_file(err, f);
        f->done += block.n;
    }
    if (f->ids && f->done != f->n_ids)
        return ANN_FAIL(ANN_EINVAL, "%zu ids, but %s has %zu vectors", f->n_ids, f->path,
                        f->done);
    return ANN_OK;
}

static ann_err save(ann_index *ix, const char *path)
{
    return io_library(ann_save(ix, path));
}

static void say_count(const ann_index *ix, const char *path, const char *what, size_t n)
{
    ann_info info = {.size = ANN_INFO_SIZE};
    if (io_library(ann_index_info(ix, &info)) == ANN_OK)
        session_say("%s: %s %zu, now %llu vectors of %u numbers", path, what, n,
                    (unsigned long long)info.count, info.dim);
}

/* The options of the new index.  Returns an exit status, or -1. */
static int build_options(const struct args *a, ann_options *o)
{
    const ann_options start = ANN_OPTIONS_INIT;
    *o = start;
    if (a->spec && ann_options_parse(o, a->spec) != ANN_OK)
        return cli_usage(a, "--spec %s: %s", a->spec, ann_error_message());
    const struct {
        const char *key, *value;
    } named[] = {{"metric", a->metric}, {"profile", a->profile}, {"codes", a->codes}};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        char spec[64];
        snprintf(spec, sizeof spec, "%s=%s", named[i].key, named[i].value ? named[i].value : "");
        if (named[i].value && ann_options_parse(o, spec) != ANN_OK)
            return cli_usage(a, "--%s %s: %s", named[i].key, named[i].value,
                             ann_error_message());
    }
    if (a->has_seed)
        o->seed = a->seed;
    if (a->threads)
        o->threads = (uint32_t)a->threads;
    if (a->max_memory)
        o->max_memory = a->max_memory;
    o->progress = session_progress;
    return -1;
}

/* What the index will take, before it is built: for people, or with --dry-run as the result. */
static ann_err say_estimate(const struct args *a, const struct feed *f, const ann_options *o)
{
    uint64_t bytes, peak;
    char spec[256], now[32], most[32];
    ann_err err = io_library(ann_options_spec(o, spec, sizeof spec));
    if (!err && f->shape.n == IO_UNKNOWN)
        return a->dry_run ? ANN_FAIL(ANN_EINVAL, "%s: how many vectors it has shows only when it "
                                                 "is read", f->path)
                          : ANN_OK;
    if (!err)
        err = io_library(ann_memory_estimate(o, f->shape.n, &bytes, &peak));
    if (err)
        return err;
    if (!a->dry_run || (!a->json && isatty(STDOUT_FILENO))) {
        if (a->dry_run || isatty(STDERR_FILENO))
            session_say("%zu vectors of %u numbers: about %s in memory, %s while it is built",
                        f->shape.n, o->dim, cli_size(now, bytes), cli_size(most, peak));
        return ANN_OK;
    }
    struct js_out out = JS_OUT_INIT;
    js_open(&out, NULL, '{');
    js_put_string(&out, "spec", spec);
    js_put_u64(&out, "vectors", f->shape.n);
    js_put_u64(&out, "bytes", bytes);
    js_put_u64(&out, "peak_bytes", peak);
    js_shut(&out, '}');
    err = js_line(&out, stdout);
    js_out_free(&out);
    return err;
}

/* Builds and saves. */
static ann_err build(const struct args *a, const ann_options *o, const struct io_options *in,
                     struct feed *f, struct session_lock *lock, ann_index **ix)
{
    ann_calibration c;
    ann_err err = session_lock(a->output, lock);
    if (!err)
        err = io_library(ann_create(o, ix));
    const bool pipe = strcmp(a->list[0], "-") == 0, trains = learns(o);
    if (!err && trains && !pipe)
        err = train_on(a->list[0], in, *ix, o->store, o->dim);
    if (!err)
        err = feed_into(f, *ix, o->store, o->dim, false, trains && pipe);
    if (!err && a->calibrate)
        err = calibrate(a, *ix, &c);
    if (!err)
        err = save(*ix, a->output);
    if (!err)
        say_count(*ix, a->output, "added", f->done);
    if (!err && a->calibrate)
        session_say("calibrated: recall@%zu up to %.4f", c.k, c.recall);
    return err;
}

int cmd_build(const struct args *a)
{
    ann_options o;
    struct io_options in;
    struct feed f = {0};
    struct session_lock lock = {-1, NULL};
    ann_index *ix = NULL;
    int status = input_options(a, &in);
    if (status < 0 && !a->output && !a->dry_run)
        status = cli_usage(a, "build needs --output FILE");
    if (status < 0 && a->queries && !a->calibrate)
        status = cli_usage(a, "--queries goes with --calibrate");
    if (status < 0 && a->output && strcmp(a->output, "-") == 0)
        status = cli_usage(a, "an index is written to a file, not to standard output");
    if (status < 0)
        status = build_options(a, &o);
    if (status >= 0)
        return status;
    ann_err err = feed_open(a, a->list[0], &in, &f);
    if (!err) {
        const bool bits = o.store == ANN_B1 || f.shape.type == IO_B1;
        size_t dim = f.shape.dim;
        if (bits && f.shape.type == IO_U8)
            dim *= 8;
        if (f.shape.type == IO_B1 && o.store == ANN_DTYPE_DEFAULT)
            o.store = ANN_B1;
        if (o.dim == 0 || !bits) /* of bits the spec may say how many of the last byte count */
            o.dim = dim > UINT32_MAX ? UINT32_MAX : (uint32_t)dim;
    }
    if (!err && f.shape.rank == 1)
        err = ANN_FAIL(ANN_EINVAL,
                       "%s: a plain list of numbers; vectors are rows of an array of two "
                       "dimensions",
                       f.path);
    if (!err)
        err = say_estimate(a, &f, &o);
    if (!err && !a->dry_run)
        err = build(a, &o, &in, &f, &lock, &ix);
    ann_close(ix);
    session_unlock(&lock);
    feed_close(&f);
    return session_end(err);
}

static int add_or_update(const struct args *a, bool update)
{
    const char *path = a->list[0];
    struct io_options in;
    struct feed f = {0};
    struct session_lock lock = {-1, NULL};
    ann_info info = {.size = ANN_INFO_SIZE};
    ann_index *ix = NULL;
    int status = input_options(a, &in);
    if (status < 0 && update && !a->ids)
        status = cli_usage(a, "update needs --ids FILE, which says what to replace");
    if (status >= 0)
        return status;
    ann_err err = feed_open(a, a->list[1], &in, &f);
    if (!err)
        err = session_lock(path, &lock);
    if (!err)
        err = session_open(a, path, ANN_OPEN_LOAD, &ix);
    if (!err)
        err = io_library(ann_index_info(ix, &info));
    if (!err)
        err = feed_into(&f, ix, info.store, info.dim, update, false);
    if (!err)
        err = save(ix, path);
    if (!err)
        say_count(ix, path, update ? "updated" : "added", f.done);
    ann_close(ix);
    session_unlock(&lock);
    feed_close(&f);
    return session_end(err);
}

int cmd_add(const struct args *a)
{
    return add_or_update(a, false);
}

int cmd_update(const struct args *a)
{
    return add_or_update(a, true);
}

/* The ids of the words and of --ids. */
static int ids_to_remove(const struct args *a, ann_id **ids, size_t *n, ann_err *err)
{
    const size_t words = (size_t)a->n - 1;
    *ids = NULL;
    *n = 0;
    if (words == 0 && !a->ids)
        return cli_usage(a, "remove needs ids, as words or with --ids FILE");
    *err = a->ids ? io_load_ids(a->ids, ids, n) : ANN_OK;
    if (*err || words == 0)
        return -1;
    ann_id *all = mem_resize(*ids, (*n + words) * sizeof *all);
    if (!all) {
        *err = ANN_FAIL(ANN_ENOMEM, "out of memory for %zu ids", *n + words);
        return -1;
    }
    *ids = all;
    for (size_t i = 1; i <= words; i++) {
        const char *word = a->list[i];
        char *end;
        const unsigned long long id = strtoull(word, &end, 10);
        if (*end || *word < '0' || *word > '9' || id == ANN_NO_ID)
            return cli_usage(a, "'%s' is no id", word);
        all[(*n)++] = id;
    }
    return -1;
}

int cmd_remove(const struct args *a)
{
    const char *path = a->list[0];
    struct session_lock lock = {-1, NULL};
    ann_index *ix = NULL;
    ann_id *ids;
    size_t n, removed = 0;
    ann_err err = ANN_OK;
    const int status = ids_to_remove(a, &ids, &n, &err);
    if (status >= 0) {
        mem_free(ids);
        return status;
    }
    if (!err)
        err = session_lock(path, &lock);
    if (!err)
        err = session_open(a, path, ANN_OPEN_LOAD, &ix);
    if (!err)
        err = io_library(ann_remove(ix, n, ids, &removed));
    if (!err && session_interrupted())
        err = ANN_FAIL(ANN_ECANCELED, "interrupted");
    if (!err && removed > 0)
        err = save(ix, path);
    if (!err)
        say_count(ix, path, "removed", removed);
    ann_close(ix);
    session_unlock(&lock);
    mem_free(ids);
    const int end = session_end(err);
    return end == CLI_OK && removed == 0 && a->fail_empty ? CLI_EMPTY : end;
}
