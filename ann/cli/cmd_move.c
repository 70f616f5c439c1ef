/* cmd_move.c - merge, export, convert: vectors from one file to another.
 *
 * Place: ann/cli. */
#include <config.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "ann/cli/cli.h"

/* ---- merge ---- */

/* The options of the merged index: those of the first, but for what --spec names. */
static int merge_options(const struct args *a, const ann_info *first, ann_options *o)
{
    const ann_options start = ANN_OPTIONS_INIT;
    *o = start;
    o->kind = first->kind;
    o->m = first->m;
    o->ef_construction = first->ef_construction;
    o->seed = first->seed;
    if (a->spec && ann_options_parse(o, a->spec) != ANN_OK)
        return cli_usage(a, "--spec %s: %s", a->spec, ann_error_message());
    if ((o->metric && o->metric != first->metric) || (o->store && o->store != first->store) ||
        (o->dim && o->dim != first->dim))
        return cli_usage(a, "--spec %s: metric, store and dim are those of the merged files",
                         a->spec);
    o->metric = first->metric;
    o->store = first->store;
    o->dim = first->dim;
    if (a->has_seed)
        o->seed = a->seed;
    o->threads = (uint32_t)a->threads;
    o->max_memory = a->max_memory;
    o->progress = session_progress;
    return -1;
}

static ann_err same_kind_of_vectors(const char *path, const ann_info *x, const ann_options *o)
{
    if (x->dim != o->dim)
        return ANN_FAIL(ANN_EDIM, "%s: dimension %u, the first has %u", path, x->dim, o->dim);
    if (x->metric != o->metric || x->store != o->store)
        return ANN_FAIL(ANN_EINVAL, "%s: metric %s stored as %s, the first has %s and %s", path,
                        cli_metric_name(x->metric), cli_store_name(x->store),
                        cli_metric_name(o->metric), cli_store_name(o->store));
    return ANN_OK;
}

/* All vectors of from into to. */
static ann_err pour(const struct args *a, const char *path, const ann_index *from,
                    ann_index *to)
{
    struct contents c;
    ann_err err = contents_start(from, &c);
    if (err)
        return err;
    for (uint64_t done = 0;;) {
        struct io_matrix rows;
        ann_view v;
        size_t n;
        err = contents_next(&c, &rows, &n);
        if (err || n == 0)
            break;
        session_adding(done, c.info.count);
        err = input_view(path, &rows, c.info.store, c.info.dim, &v);
        if (!err)
            err = io_library(ann_add(to, v, a->renumber ? NULL : c.ids));
        if (err == ANN_EEXIST)
            err = ANN_FAIL(err, "%s: %s; --renumber gives new ids", path, error_message());
        if (err)
            break;
        done += n;
    }
    contents_end(&c);
    return err;
}

int cmd_merge(const struct args *a)
{
    struct session_lock lock = {-1, NULL};
    ann_index *to = NULL;
    ann_options o;
    ann_info info = {.size = ANN_INFO_SIZE};
    int status = -1;
    if (!a->output)
        return cli_usage(a, "merge needs --output FILE");
    if (strcmp(a->output, "-") == 0)
        return cli_usage(a, "an index is written to a file, not to standard output");
    ann_err err = session_lock(a->output, &lock);
    for (int i = 0; i < a->n && !err && status < 0; i++) {
        ann_index *from = NULL;
        err = session_open(a, a->list[i], ANN_OPEN_LOAD, &from);
        if (!err)
            err = io_library(ann_index_info(from, &info));
        if (!err && i == 0 && (status = merge_options(a, &info, &o)) < 0)
            err = io_library(ann_create(&o, &to));
        if (!err && status < 0)
            err = same_kind_of_vectors(a->list[i], &info, &o);
        if (!err && status < 0)
            err = pour(a, a->list[i], from, to);
        ann_close(from);
    }
    if (!err && status < 0)
        err = io_library(ann_save(to, a->output));
    if (!err && status < 0 && io_library(ann_index_info(to, &info)) == ANN_OK)
        session_say("%s: %llu vectors of %d files", a->output, (unsigned long long)info.count,
                    a->n);
    ann_close(to);
    session_unlock(&lock);
    return status >= 0 ? status : session_end(err);
}

/* ---- export ---- */

/* Ids, as npy or text. */
struct id_sink {
    struct io_writer *npy;
    struct io_target target;
    FILE *text;
};

static ann_err ids_open(const char *path, uint64_t n, struct id_sink *s)
{
    *s = (struct id_sink){.target.fd = -1};
    if (!path)
        return ANN_OK;
    if (io_format_of(path) == IO_NPY) {
        const struct io_layout l = {.format = IO_NPY, .type = IO_U64, .n = n, .rank = 1};
        return io_create(path, &l, &s->npy);
    }
    const ann_err err = io_target_open(path, &s->target);
    if (err)
        return err;
    const int fd = dup(s->target.fd); /* fclose closes this one, the target its own */
    s->text = fd < 0 ? NULL : fdopen(fd, "w");
    if (!s->text && fd >= 0)
        close(fd);
    return s->text ? ANN_OK : ANN_FAIL(ANN_EIO, "%s: cannot be written", path);
}

static ann_err ids_put(struct id_sink *s, const ann_id *ids, size_t n)
{
    const struct io_matrix m = {.data = ids, .n = n, .dim = 1, .stride = 1, .type = IO_U64,
                                .rank = 1};
    for (size_t i = 0; s->text && i < n; i++)
        fprintf(s->text, "%llu\n", (unsigned long long)ids[i]);
    return s->npy ? io_write(s->npy, &m) : ANN_OK;
}

static ann_err ids_finish(struct id_sink *s)
{
    ann_err err = ANN_OK;
    if (s->npy)
        err = io_finish(s->npy);
    s->npy = NULL;
    if (s->text) {
        err = fclose(s->text) != 0 ? ANN_FAIL(ANN_EIO, "%s: cannot be written", s->target.path)
                                   : io_target_commit(&s->target);
        s->text = NULL;
    }
    return err;
}

static void ids_drop(struct id_sink *s)
{
    io_abandon(s->npy);
    if (s->text)
        fclose(s->text);
    io_target_drop(&s->target);
}

/* The layout of what is written: type as given, else as stored where the format holds that. */
static void choose_layout(const struct args *a, const char *path, enum io_type type, size_t dim,
                          size_t n, unsigned rank, struct io_layout *l)
{
    *l = (struct io_layout){.type = type, .dim = dim, .n = n, .rank = rank};
    if (a->to)
        (void)io_format_parse(a->to, &l->format);
    else
        l->format = io_format_of(path);
    if (a->type)
        (void)io_type_parse(a->type, &l->type);
    else if (l->format == IO_FVECS || l->format == IO_IVECS || l->format == IO_BVECS)
        l->type = IO_ANY;
}

int cmd_export(const struct args *a)
{
    ann_index *ix = NULL;
    struct contents c = {0};
    struct io_writer *w = NULL;
    struct id_sink ids = {.target.fd = -1};
    struct io_layout layout;
    if (!a->output)
        return cli_usage(a, "export needs --output FILE");
    ann_err err = session_open(a, a->list[0], a->map ? ANN_OPEN_MAP : ANN_OPEN_LOAD, &ix);
    if (!err)
        err = contents_start(ix, &c);
    if (!err) {
        choose_layout(a, a->output, c.type, c.dim, c.info.count, 2, &layout);
        err = io_create(a->output, &layout, &w);
    }
    if (!err)
        err = ids_open(a->ids_out, c.info.count, &ids);
    for (uint64_t done = 0; !err;) {
        struct io_matrix rows;
        size_t n;
        err = contents_next(&c, &rows, &n);
        if (err || n == 0)
            break;
        err = io_write(w, &rows);
        if (!err)
            err = ids_put(&ids, c.ids, n);
        done += n;
        if (!err && session_progress(NULL, "exporting", done, c.info.count))
            err = ANN_FAIL(ANN_ECANCELED, "interrupted");
    }
    if (!err)
        err = ids_finish(&ids);
    if (!err) {
        err = io_finish(w);
        w = NULL;
    }
    if (!err)
        session_say("%s: %llu vectors", a->output, (unsigned long long)c.info.count);
    io_abandon(w);
    ids_drop(&ids);
    contents_end(&c);
    ann_close(ix);
    return session_end(err);
}

/* ---- convert ---- */

/* Rows a step of convert takes. */
#define CONVERT_BYTES ((size_t)16 << 20)

int cmd_convert(const struct args *a)
{
    const char *from = a->list[0], *to = a->list[1];
    struct io_options in = {.dim = a->dim};
    struct io_reader *r = NULL;
    struct io_writer *w = NULL;
    struct io_layout layout;
    struct io_shape shape = {0};
    size_t done = 0, row = 0;
    if (a->from)
        (void)io_format_parse(a->from, &in.format);
    const bool raw = (in.format ? in.format : io_format_of(from)) == IO_RAW;
    if (raw && a->type)
        (void)io_type_parse(a->type, &in.type);
    if (raw && (in.dim == 0 || in.type == IO_ANY))
        return cli_usage(a, "raw data needs --dim and --type, which say what it holds");
    ann_err err = io_open(from, &in, &r);
    if (!err) {
        shape = io_shape(r);
        choose_layout(a, to, shape.type, shape.dim, shape.n, shape.rank, &layout);
        if (layout.format == IO_AUTO)
            err = ANN_FAIL(ANN_EINVAL, "%s: its name does not tell the format; give --to", to);
        else if (!io_row_bytes(shape.type, shape.dim, &row))
            err = ANN_FAIL(ANN_EINVAL, "%s: rows of %zu numbers", from, shape.dim);
    }
    if (!err)
        err = io_create(to, &layout, &w);
    while (!err) {
        struct io_matrix block;
        err = io_read(r, row < CONVERT_BYTES ? CONVERT_BYTES / row : 1, &block);
        if (err || block.n == 0)
            break;
        err = io_write(w, &block);
        done += block.n;
        if (!err &&
            session_progress(NULL, "converting", done, shape.n == IO_UNKNOWN ? 0 : shape.n))
            err = ANN_FAIL(ANN_ECANCELED, "interrupted");
    }
    if (!err) {
        err = io_finish(w);
        w = NULL;
    }
    if (!err)
        session_say("%s: %zu rows of %zu numbers", to, done, shape.dim);
    io_abandon(w);
    io_close(r);
    return session_end(err);
}
