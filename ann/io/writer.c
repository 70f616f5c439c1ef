/* writer.c - matrices into npy, fvecs, ivecs, bvecs, raw and HDF5 files.
 *
 * Place: ann/io.  Invariant: the file appears under its name only when io_finish succeeds; a
 * value that the file's type cannot hold is an error, never changed. */
#include <config.h>

#include <string.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "ann/io/source.h"

#define CHUNK ((size_t)1 << 20)

struct io_writer {
    struct io_layout layout;
    size_t n, row_bytes, prefix;
    struct io_target target;
    char *chunk; /* [chunk_bytes] rows of the file, `used` of them */
    size_t chunk_bytes, used;
    char *name;
    void *state; /* of the HDF5 plug-in */
};

static enum io_type only_type(enum io_format f)
{
    return f == IO_FVECS ? IO_F32 : f == IO_IVECS ? IO_I32 : f == IO_BVECS ? IO_U8 : IO_ANY;
}

static ann_err check_layout(const char *path, struct io_layout *l)
{
    if (l->format == IO_AUTO)
        l->format = io_format_of(path);
    if (l->format == IO_AUTO || l->format == IO_IDX)
        return ANN_FAIL(ANN_EINVAL, "%s: %s (npy, fvecs, ivecs, bvecs, raw or hdf5)", path,
                        l->format ? "IDX files are not written"
                                  : "its name does not tell the format");
    const enum io_type only = only_type(l->format);
    if (l->type == IO_ANY)
        l->type = only;
    if (only != IO_ANY && l->type != only)
        return ANN_FAIL(ANN_EINVAL, "%s: %s files hold %s, not %s", path,
                        io_format_name(l->format), io_type_name(only), io_type_name(l->type));
    if (only != IO_ANY && l->rank == 1)
        return ANN_FAIL(ANN_EINVAL, "%s: %s files hold rows, not a plain list", path,
                        io_format_name(l->format));
    if (l->rank == 1)
        l->dim = 1;
    if (l->type == IO_ANY || l->dim < 1 || l->dim > IO_DIM_MAX)
        return ANN_FAIL(ANN_EINVAL, "%s: rows of %zu numbers of type %s", path, l->dim,
                        io_type_name(l->type));
    return ANN_OK;
}

void io_abandon(struct io_writer *w)
{
    if (!w)
        return;
    if (w->state)
        io_hdf5->abandon(w->state);
    io_target_drop(&w->target);
    mem_free(w->chunk);
    mem_free(w->name);
    mem_free(w);
}

static ann_err start(struct io_writer *w)
{
    char head[NPY_HEAD_BYTES];
    const struct io_layout *l = &w->layout;
    ann_err err = io_target_open(w->name, &w->target);
    if (err || l->format != IO_NPY)
        return err;
    if (l->n == IO_UNKNOWN && !w->target.temp)
        return ANN_FAIL(ANN_ENOTSUP,
                        "%s: npy begins with the number of rows, which is not known",
                        w->target.path);
    err = npy_head(head, l->type, l->n == IO_UNKNOWN ? 0 : l->n, l->dim, l->rank);
    return err ? err : io_write_fd(w->target.fd, w->target.path, head, sizeof head);
}

ann_err io_create(const char *path, const struct io_layout *layout, struct io_writer **out)
{
    struct io_layout l = *layout;
    ann_err err = check_layout(path, &l);
    if (err)
        return err;
    struct io_writer *w = mem_zalloc(1, sizeof *w);
    if (!w)
        return ANN_FAIL(ANN_ENOMEM, "out of memory");
    w->layout = l;
    w->target = (struct io_target){NULL, NULL, -1};
    w->prefix = only_type(l.format) != IO_ANY ? 4 : 0;
    w->name = mem_strdup(path);
    if (!w->name || !io_row_bytes(l.type, l.dim, &w->row_bytes)) {
        err = ANN_FAIL(ANN_ENOMEM, "out of memory");
    } else if (l.format == IO_HDF5) {
        err = io_hdf5 ? io_hdf5->create(path, &l, &w->state)
                      : ANN_FAIL(ANN_ENOTSUP, "%s: this build writes no HDF5 files", path);
    } else {
        err = start(w);
    }
    if (!err)
        err = io_room(&w->chunk, &w->chunk_bytes, CHUNK + w->prefix + w->row_bytes);
    if (err) {
        io_abandon(w);
        return err;
    }
    *out = w;
    return ANN_OK;
}

static ann_err flush(struct io_writer *w)
{
    ann_err err;
    if (w->used == 0)
        return ANN_OK;
    if (w->state) {
        const struct io_matrix m = {.data = w->chunk, .n = w->used / w->row_bytes,
                                    .dim = w->layout.dim, .stride = w->layout.dim,
                                    .type = w->layout.type, .rank = w->layout.rank};
        err = io_hdf5->write(w->state, &m);
    } else {
        err = io_write_fd(w->target.fd, w->target.path, w->chunk, w->used);
    }
    w->used = 0;
    return err;
}

ann_err io_write(struct io_writer *w, const struct io_matrix *rows)
{
    const struct io_layout *l = &w->layout;
    if (rows->dim != l->dim)
        return ANN_FAIL(ANN_EDIM, "%s: rows of %zu numbers, not %zu", w->name, l->dim,
                        rows->dim);
    if ((rows->type == IO_B1) != (l->type == IO_B1))
        return ANN_FAIL(ANN_EINVAL, "%s: packed bits cannot become %s", w->name,
                        io_type_name(rows->type == IO_B1 ? l->type : rows->type));
    for (size_t i = 0; i < rows->n; i++) {
        if (w->used >= CHUNK) {
            const ann_err err = flush(w);
            if (err)
                return err;
        }
        char *at = w->chunk + w->used;
        const int32_t dim = (int32_t)l->dim;
        memcpy(at, &dim, w->prefix);
        size_t bad;
        if (!io_convert(l->type, at + w->prefix, rows->type, io_row(rows, i), l->dim, &bad))
            return ANN_FAIL(ANN_EINVAL, "%s: row %zu, column %zu: the number does not fit %s",
                            w->name, w->n, bad, io_type_name(l->type));
        w->used += w->prefix + w->row_bytes;
        w->n++;
    }
    return ANN_OK;
}

ann_err io_finish(struct io_writer *w)
{
    char head[NPY_HEAD_BYTES];
    const struct io_layout *l = &w->layout;
    ann_err err = flush(w);
    if (!err && l->n != IO_UNKNOWN && w->n != l->n)
        err = ANN_FAIL(ANN_EINVAL, "%s: %zu rows were promised, %zu came", w->name, l->n, w->n);
    if (!err && l->format == IO_NPY && l->n == IO_UNKNOWN) {
        err = npy_head(head, l->type, w->n, l->dim, l->rank);
        if (!err && pwrite(w->target.fd, head, sizeof head, 0) != (ssize_t)sizeof head)
            err = ANN_FAIL(ANN_EIO, "%s: its header cannot be written", w->name);
    }
    if (!err && w->state) {
        err = io_hdf5->finish(w->state);
        w->state = NULL;
    } else if (!err) {
        err = io_target_commit(&w->target);
    }
    io_abandon(w);
    return err;
}
