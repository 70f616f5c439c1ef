/* reader.c - matrices out of files and pipes, as a whole or block by block.
 *
 * Place: ann/io.  Rows that lie in a mapped file as they are needed are handed out where they
 * lie; all else is copied block by block. Invariant: shape.n * row bytes was checked against
 * the file's size before a row is touched. */
#include <config.h>

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "ann/io/source.h"

/* Bytes io_load copies at a time. */
#define GATHER_BYTES ((size_t)4 << 20)

const struct io_plugin *io_hdf5;

ann_err io_take(struct io_reader *r, void *data, size_t bytes, size_t *got)
{
    const size_t left = r->head_bytes - r->head_used, first = bytes < left ? bytes : left;
    if (first > 0)
        memcpy(data, r->head + r->head_used, first);
    r->head_used += first;
    size_t more = 0;
    const ann_err err = first < bytes ? io_read_fd(r->fd, r->path, (char *)data + first,
                                                   bytes - first, &more)
                                      : ANN_OK;
    *got = first + more;
    return err;
}

/* ---- opening ---- */

/* fvecs and its kin: each row begins with its length as an i32. */
static ann_err vecs_open(struct io_reader *r, enum io_type type)
{
    int32_t dim = 0;
    if (r->map.data) {
        if (r->map.bytes >= sizeof dim)
            memcpy(&dim, r->map.data, sizeof dim);
    } else {
        /* Looked at, not taken: the first row is read with its length like all others. */
        if (r->head_bytes >= sizeof dim)
            memcpy(&dim, r->head, sizeof dim);
    }
    const size_t have = r->map.data ? r->map.bytes : r->head_bytes;
    if (have < sizeof dim)
        return ANN_FAIL(ANN_EINVAL, "%s: %zu bytes; a row begins with its length in 4 bytes",
                        io_name(r->path), have);
    if (dim < 1 || (size_t)dim > IO_DIM_MAX)
        return ANN_FAIL(ANN_EINVAL, "%s: offset 0: a row of %d numbers; 1 to %zu are read",
                        io_name(r->path), dim, IO_DIM_MAX);
    r->prefix = 4;
    r->disk = type;
    r->shape.dim = (size_t)dim;
    r->shape.n = IO_UNKNOWN;
    r->shape.rank = 2;
    return ANN_OK;
}

static ann_err raw_open(struct io_reader *r, const struct io_options *o)
{
    if (!o || o->dim == 0 || o->type == IO_ANY)
        return ANN_FAIL(ANN_EINVAL, "%s: of raw files the dimension and type must be given",
                        io_name(r->path));
    r->disk = o->type;
    r->shape.dim = o->dim;
    r->shape.n = IO_UNKNOWN;
    r->shape.rank = 2;
    return ANN_OK;
}

static ann_err guess(struct io_reader *r, const struct io_options *o, enum io_format *f)
{
    const char *bytes = r->map.data ? r->map.data : r->head;
    const size_t n = r->map.data ? r->map.bytes : r->head_bytes;
    if (n >= 6 && memcmp(bytes, "\x93NUMPY", 6) == 0) {
        *f = IO_NPY;
        return ANN_OK;
    }
    if (o && o->dim > 0 && o->type != IO_ANY) {
        *f = IO_RAW;
        return ANN_OK;
    }
    return ANN_FAIL(
        ANN_EINVAL,
        "%s: neither its name nor its first bytes tell its format (npy, fvecs, ivecs, "
        "bvecs, hdf5, idx, raw); say which",
        io_name(r->path));
}

/* Sets row_bytes and, of a mapped file, checks that all the rows are there. */
static ann_err measure(struct io_reader *r)
{
    const char *name = io_name(r->path);
    struct io_shape *s = &r->shape;
    if (s->dim < 1 || s->dim > IO_DIM_MAX)
        return ANN_FAIL(ANN_EINVAL, "%s: rows of %zu numbers; 1 to %zu are read", name, s->dim,
                        IO_DIM_MAX);
    size_t step = 0, total = 0;
    if (!io_row_bytes(r->disk, s->dim, &r->row_bytes) ||
        !size_add(r->row_bytes, r->prefix, &step) ||
        (s->n != IO_UNKNOWN &&
         (!size_mul(s->n, step, &total) || !size_add(total, r->offset, &total))))
        return ANN_FAIL(ANN_EINVAL, "%s: %zu rows of %zu numbers cannot be", name, s->n,
                        s->dim);
    s->type = r->disk == IO_F64 ? IO_F32 : r->disk;
    if (!r->map.data)
        return ANN_OK;
    const size_t bytes = r->map.bytes - r->offset;
    if (s->n == IO_UNKNOWN) {
        s->n = bytes / step;
        if (bytes % step != 0)
            return ANN_FAIL(ANN_EINVAL,
                            "%s: cut short: its %zu bytes are no whole number of rows of %zu",
                            name, r->map.bytes, step);
    } else if (total != r->map.bytes) {
        return ANN_FAIL(ANN_EINVAL, "%s: %zu bytes, but %zu rows of %zu numbers need %zu", name,
                        r->map.bytes, s->n, s->dim, total);
    }
    return ANN_OK;
}

static ann_err open_as(struct io_reader *r, enum io_format f, const struct io_options *o)
{
    ann_err err = f == IO_AUTO ? guess(r, o, &f) : ANN_OK;
    if (err)
        return err;
    switch (f) {
    case IO_NPY: err = npy_open(r); break;
    case IO_FVECS: err = vecs_open(r, IO_F32); break;
    case IO_IVECS: err = vecs_open(r, IO_I32); break;
    case IO_BVECS: err = vecs_open(r, IO_U8); break;
    default: err = raw_open(r, o); break;
    }
    return err ? err : measure(r);
}

static ann_err open_plain(struct io_reader *r, enum io_format f, const struct io_options *o)
{
    size_t bytes;
    ann_err err = io_open_fd(r->path, &r->fd, &bytes);
    if (err)
        return err;
    if (bytes == IO_UNKNOWN) {
        if ((err = io_read_fd(r->fd, r->path, r->head, sizeof r->head, &r->head_bytes)) != 0)
            return err;
        bytes = r->head_bytes;
    } else if (bytes > 0) {
        if ((err = io_map_file(r->fd, r->path, bytes, &r->map)) != 0)
            return err;
        madvise((void *)(uintptr_t)r->map.data, bytes, MADV_SEQUENTIAL);
    }
    if (bytes == 0 && f != IO_RAW)
        return ANN_FAIL(ANN_EINVAL, "%s: is empty", io_name(r->path));
    return open_as(r, f, o);
}

ann_err io_open(const char *path, const struct io_options *o, struct io_reader **out)
{
    struct io_reader *r = mem_zalloc(1, sizeof *r);
    ann_err err = ANN_OK;
    if (r) {
        r->fd = -1;
        r->path = mem_strdup(path);
    }
    if (!r || !r->path) {
        err = ANN_FAIL(ANN_ENOMEM, "out of memory");
        goto done;
    }
    enum io_format f = o ? o->format : IO_AUTO;
    if (f == IO_AUTO)
        f = io_format_of(path);
    if (f == IO_HDF5)
        err = io_hdf5
                  ? io_hdf5->open(r)
                  : ANN_FAIL(ANN_ENOTSUP, "%s: this build reads no HDF5 files", io_name(path));
    else if (f == IO_IDX)
        err = io_read_idx(path, &r->whole);
    else
        err = open_plain(r, f, o);
    if (f == IO_IDX && !err)
        r->shape =
            (struct io_shape){r->whole.n, r->whole.dim, r->whole.type, r->whole.rank};
done:
    if (err) {
        io_close(r);
        return err;
    }
    *out = r;
    return ANN_OK;
}

struct io_shape io_shape(const struct io_reader *r)
{
    return r->shape;
}

void io_close(struct io_reader *r)
{
    if (!r)
        return;
    if (r->shut)
        r->shut(r);
    io_free(&r->whole);
    if (r->map.data)
        io_unmap((void *)(uintptr_t)r->map.data, r->map.bytes);
    if (r->fd >= 0)
        close(r->fd);
    mem_free(r->copy);
    mem_free(r->cooked);
    mem_free(r->path);
    mem_free(r);
}

/* ---- reading ---- */

/* Whether rows can be used where they lie: of the right type and aligned for it. */
static bool in_place(const struct io_reader *r)
{
    const size_t each = io_type_bytes(r->shape.type);
    return r->disk == r->shape.type && (each < 2 || (r->offset + r->prefix) % each == 0);
}

static size_t stride_of(const struct io_reader *r)
{
    const size_t each = io_type_bytes(r->disk);
    return (r->prefix + r->row_bytes) / (each ? each : 1);
}

/* The n rows at `rows` each begin with the same length. */
static ann_err check_prefixes(const struct io_reader *r, const char *rows, size_t n)
{
    const size_t step = r->prefix + r->row_bytes;
    if (r->prefix == 0)
        return ANN_OK;
    for (size_t i = 0; i < n; i++) {
        int32_t dim;
        memcpy(&dim, rows + i * step, sizeof dim);
        if (dim != (int32_t)r->shape.dim)
            return ANN_FAIL(ANN_EINVAL,
                            "%s: offset %zu: row %zu has %d numbers, the first has %zu",
                            io_name(r->path), r->offset + (r->next + i) * step, r->next + i,
                            dim, r->shape.dim);
    }
    return ANN_OK;
}

/* Rows from the pipe into r->copy; *n: how many of max came. */
static ann_err read_pipe(struct io_reader *r, size_t max, size_t *n)
{
    const size_t step = r->prefix + r->row_bytes;
    const size_t left = r->shape.n == IO_UNKNOWN ? max : r->shape.n - r->next;
    const size_t want = max < left ? max : left;
    size_t got = 0;
    ann_err err = io_room(&r->copy, &r->copy_bytes, want * step);
    if (!err)
        err = io_take(r, r->copy, want * step, &got);
    if (err)
        return err;
    const size_t at = r->offset + r->next * step + got;
    if (got % step != 0 || (got < want * step && r->shape.n != IO_UNKNOWN))
        return ANN_FAIL(ANN_EINVAL, "%s: cut short at byte %zu, in row %zu", io_name(r->path),
                        at, r->next + got / step);
    char more;
    if (r->shape.n == r->next + want && want > 0) {
        if ((err = io_take(r, &more, 1, &got)) != 0)
            return err;
        if (got > 0)
            return ANN_FAIL(ANN_EINVAL, "%s: goes on after its %zu rows, at byte %zu",
                            io_name(r->path), r->shape.n, at);
        got = want * step;
    }
    *n = got / step;
    return ANN_OK;
}

/* The elements of n rows at `rows`, one after another and of the type asked for. */
static ann_err cook(struct io_reader *r, const char *rows, size_t n)
{
    const size_t step = r->prefix + r->row_bytes;
    size_t row_out;
    ann_err err = ANN_OK;
    if (!io_row_bytes(r->shape.type, r->shape.dim, &row_out) ||
        (err = io_room(&r->cooked, &r->cooked_bytes, n * row_out)) != 0)
        return err;
    for (size_t i = 0; i < n; i++) {
        size_t bad;
        if (!io_convert(r->shape.type, r->cooked + i * row_out, r->disk,
                        rows + i * step + r->prefix, r->shape.dim, &bad)) {
            double v;
            memcpy(&v, rows + i * step + r->prefix + bad * sizeof v, sizeof v);
            return ANN_FAIL(ANN_EINVAL, "%s: row %zu, column %zu: %g is too large for a f32",
                            io_name(r->path), r->next + i, bad, v);
        }
    }
    return ANN_OK;
}

/* Lets go of the pages of rows that were dealt, so that a large file does not fill memory. */
static void forget(const struct io_reader *r)
{
    const size_t done = (r->offset + r->next * (r->prefix + r->row_bytes)) & ~(size_t)65535;
    if (r->map.bytes > (size_t)256 << 20 && done > 0)
        madvise((void *)(uintptr_t)r->map.data, done, MADV_DONTNEED);
}

static ann_err read_rows(struct io_reader *r, size_t max, struct io_matrix *block)
{
    const size_t step = r->prefix + r->row_bytes;
    const bool direct = r->map.data && in_place(r);
    const size_t most = step < IO_BLOCK_BYTES ? IO_BLOCK_BYTES / step : 1;
    size_t n = !direct && max > most ? most : max;
    const char *rows;
    ann_err err;
    if (r->map.data) {
        if (n > r->shape.n - r->next)
            n = r->shape.n - r->next;
        forget(r);
        rows = r->map.data + r->offset + r->next * step;
    } else {
        if ((err = read_pipe(r, n, &n)) != 0)
            return err;
        rows = r->copy;
    }
    if ((err = check_prefixes(r, rows, n)) != 0)
        return err;
    struct io_matrix m = {.n = n, .dim = r->shape.dim, .type = r->shape.type,
                          .rank = r->shape.rank};
    /* The copy begins at a multiple of 16, so only the conversion need be looked at there. */
    if (direct || (!r->map.data && r->disk == r->shape.type)) {
        m.data = rows ? rows + r->prefix : NULL;
        m.stride = stride_of(r);
    } else {
        if (n > 0 && (err = cook(r, rows, n)) != 0)
            return err;
        m.data = r->cooked;
        m.stride = m.type == IO_B1 ? r->row_bytes : m.dim;
    }
    *block = m;
    return ANN_OK;
}

ann_err io_read(struct io_reader *r, size_t max, struct io_matrix *block)
{
    ann_err err = ANN_OK;
    if (r->fetch) {
        err = r->fetch(r, max, block);
    } else if (r->whole.hold || r->whole.n > 0) {
        const size_t left = r->whole.n - r->next;
        *block = io_rows(&r->whole, r->next, max < left ? max : left);
    } else {
        err = read_rows(r, max, block);
    }
    if (!err)
        r->next += block->n;
    return err;
}

/* ---- the whole at once ---- */

static ann_err over(const struct io_reader *r, uint64_t limit)
{
    return ANN_FAIL(ANN_ELIMIT, "%s: takes more than the %llu bytes of memory allowed",
                    io_name(r->path), (unsigned long long)limit);
}

/* Copies block by block.  What a header promises is not believed: memory grows as rows come. */
static ann_err gather(struct io_reader *r, uint64_t limit, struct io_matrix *out)
{
    size_t row, used = 0, have = 0;
    char *data = NULL;
    ann_err err = ANN_OK;
    struct io_matrix m = {.dim = r->shape.dim, .type = r->shape.type, .rank = r->shape.rank};
    if (!io_row_bytes(m.type, m.dim, &row))
        return ANN_FAIL(ANN_EINVAL, "%s: rows of %zu numbers", io_name(r->path), m.dim);
    for (;;) {
        struct io_matrix block;
        if ((err = io_read(r, row < GATHER_BYTES ? GATHER_BYTES / row : 1, &block)) != 0)
            goto done;
        if (block.n == 0 && data)
            break;
        const size_t need = used + block.n * row;
        if (limit > 0 && need > limit) {
            err = over(r, limit);
            goto done;
        }
        size_t room = have + have / 2;
        if (room < need || (limit > 0 && room > limit))
            room = need;
        if (need > have || !data)
            if ((err = io_room(&data, &have, room ? room : 1)) != 0)
                goto done;
        for (size_t i = 0; i < block.n; i++)
            memcpy(data + used + i * row, io_row(&block, i), row);
        used = need;
        m.n += block.n;
        if (block.n == 0)
            break;
    }
    m.data = m.hold = data;
    m.stride = m.type == IO_B1 ? row : m.dim;
    *out = m;
    data = NULL;
done:
    mem_free(data);
    return err;
}

ann_err io_load(const char *path, const struct io_options *o, struct io_matrix *out)
{
    struct io_reader *r;
    ann_err err = io_open(path, o, &r);
    if (err)
        return err;
    if (r->whole.hold) {
        *out = r->whole;
        r->whole = (struct io_matrix){0};
    } else if (r->map.data && in_place(r) && !r->fetch) {
        struct io_matrix all;
        err = check_prefixes(r, r->map.data + r->offset, r->shape.n);
        if (!err && (err = io_read(r, r->shape.n, &all)) == 0) {
            madvise((void *)(uintptr_t)r->map.data, r->map.bytes, MADV_NORMAL);
            all.hold = (void *)(uintptr_t)r->map.data;
            all.hold_bytes = r->map.bytes;
            r->map.data = NULL;
            *out = all;
        }
    } else {
        err = gather(r, o ? o->max_memory : 0, out);
    }
    io_close(r);
    return err;
}

void io_free(struct io_matrix *m)
{
    if (m->hold && m->hold_bytes > 0)
        io_unmap(m->hold, m->hold_bytes);
    else
        mem_free(m->hold);
    *m = (struct io_matrix){0};
}

struct io_matrix io_rows(const struct io_matrix *m, size_t first, size_t n)
{
    struct io_matrix part = *m;
    part.data = m->data ? io_row(m, first) : NULL;
    part.n = n;
    part.hold = NULL;
    part.hold_bytes = 0;
    return part;
}

ann_err io_view(const struct io_matrix *m, ann_view *v)
{
    if (m->rank == 1)
        return ANN_FAIL(
            ANN_EINVAL,
            "a plain list of %zu numbers; vectors are rows of an array of two dimensions",
            m->n);
    if (m->type < IO_F32 || m->type > IO_B1)
        return ANN_FAIL(ANN_EINVAL,
                        "elements of type %s; vectors are f32, f16, bf16, i8, u8 or b1",
                        io_type_name(m->type));
    *v = (ann_view){m->data, m->n, m->stride, (ann_dtype)m->type};
    return ANN_OK;
}

ann_err io_as_bits(struct io_matrix *m)
{
    if (m->type != IO_U8 || m->rank == 1)
        return ANN_FAIL(ANN_EINVAL, "bits are packed in rows of u8, not %s",
                        io_type_name(m->type));
    m->type = IO_B1;
    m->dim *= 8;
    return ANN_OK;
}
