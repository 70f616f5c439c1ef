/* hdf5.c - datasets of HDF5 files; sole owner of HDF5.  See hdf5.h.
 *
 * Place: ann/io, in a library apart.  Joins io_open and io_create through io_hdf5.
 * Invariant: a dataset is written into a copy of the file, which then takes the file's name. */
#include <config.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <hdf5.h>

#include "ann/base/memory.h"
#include "ann/io/hdf5.h"
#include "ann/io/source.h"

/* No compression of HDF5's own gives more than deflate's 1032 bytes for one: larger datasets
 * are promised by a damaged header, not stored. */
#define RATIO_MAX 1100

/* ---- errors and names ---- */

static herr_t first_error(unsigned n, const H5E_error2_t *e, void *out)
{
    if (n == 0)
        snprintf(out, 128, "%s", e->desc);
    return 0;
}

static ann_err fail(ann_err err, const char *path, const char *dataset)
{
    char why[128] = "";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, first_error, why);
    H5Eclear2(H5E_DEFAULT);
    return ANN_FAIL(err, "%s%s%s: HDF5: %s", path, dataset[0] ? ":" : "", dataset,
                    why[0] ? why : "failed");
}

/* Parts "file.hdf5:name" in place; the name is "train" where there is none. */
static const char *part(char *path)
{
    static const char *const ends[] = {".hdf5:", ".h5:"};
    for (size_t i = 0; i < 2; i++) {
        char *at = strcasestr(path, ends[i]);
        if (at) {
            at += strlen(ends[i]) - 1;
            *at = '\0';
            return at[1] ? at + 1 : "train";
        }
    }
    return "train";
}

/* ---- types ---- */

static hid_t half_type(void)
{
    const hid_t t = H5Tcopy(H5T_IEEE_F32LE);
    H5Tset_fields(t, 15, 10, 5, 0, 10);
    H5Tset_ebias(t, 15);
    H5Tset_size(t, 2);
    return t;
}

/* The type to read or write elements of t as; close it. */
static hid_t memory_type(enum io_type t)
{
    switch (t) {
    case IO_F16: return half_type();
    case IO_I8: return H5Tcopy(H5T_NATIVE_INT8);
    case IO_U8: return H5Tcopy(H5T_NATIVE_UINT8);
    case IO_I32: return H5Tcopy(H5T_NATIVE_INT32);
    case IO_U32: return H5Tcopy(H5T_NATIVE_UINT32);
    case IO_I64: return H5Tcopy(H5T_NATIVE_INT64);
    case IO_U64: return H5Tcopy(H5T_NATIVE_UINT64);
    case IO_F32: return H5Tcopy(H5T_NATIVE_FLOAT);
    default: return -1;
    }
}

static enum io_type type_of(hid_t file_type)
{
    const size_t bytes = H5Tget_size(file_type);
    const H5T_class_t class = H5Tget_class(file_type);
    if (class == H5T_FLOAT)
        return bytes == 2 ? IO_F16 : bytes == 4 || bytes == 8 ? IO_F32 : IO_ANY;
    if (class != H5T_INTEGER)
        return IO_ANY;
    const bool sign = H5Tget_sign(file_type) == H5T_SGN_2;
    switch (bytes) {
    case 1: return sign ? IO_I8 : IO_U8;
    case 2: return IO_I32;
    case 4: return sign ? IO_I32 : IO_U32;
    case 8: return sign ? IO_I64 : IO_U64;
    default: return IO_ANY;
    }
}

/* ---- reading ---- */

struct source {
    hid_t file, set, type;
    char *path;
    const char *dataset;
};

static void source_close(struct source *s)
{
    if (s->type >= 0)
        H5Tclose(s->type);
    if (s->set >= 0)
        H5Dclose(s->set);
    if (s->file >= 0)
        H5Fclose(s->file);
    mem_free(s->path);
    mem_free(s);
}

static void shut(struct io_reader *r)
{
    source_close(r->state);
}

static ann_err fetch(struct io_reader *r, size_t max, struct io_matrix *block)
{
    const struct source *s = r->state;
    const size_t left = r->shape.n - r->next, step = r->row_bytes;
    const size_t most = step < IO_BLOCK_BYTES ? IO_BLOCK_BYTES / step : 1;
    size_t n = max < left ? max : left;
    n = n < most ? n : most;
    ann_err err = io_room(&r->copy, &r->copy_bytes, n * step);
    if (err)
        return err;
    if (n > 0) {
        const hsize_t start[2] = {r->next, 0}, count[2] = {n, r->shape.dim};
        const int rank = (int)r->shape.rank;
        const hid_t in_file = H5Dget_space(s->set), here = H5Screate_simple(rank, count, NULL);
        if (H5Sselect_hyperslab(in_file, H5S_SELECT_SET, start, NULL, count, NULL) < 0 ||
            H5Dread(s->set, s->type, here, in_file, H5P_DEFAULT, r->copy) < 0)
            err = fail(ANN_EIO, s->path, s->dataset);
        H5Sclose(in_file);
        H5Sclose(here);
    }
    *block = (struct io_matrix){.data = r->copy, .n = err ? 0 : n, .dim = r->shape.dim,
                                .stride = r->shape.dim, .type = r->shape.type,
                                .rank = r->shape.rank};
    return err;
}

/* A dataset may name other files that hold its bytes, by three ways, and so show what the one
 * who made it cannot read himself.  Vectors lie in the file that was named. */
static bool in_this_file(const struct source *s)
{
    char ours[4096], its[4096];
    const hid_t how = H5Dget_create_plist(s->set);
    const bool own = H5Pget_external_count(how) == 0 && H5Pget_layout(how) != H5D_VIRTUAL;
    H5Pclose(how);
    return own && H5Fget_name(s->file, ours, sizeof ours) > 0 &&
           H5Fget_name(s->set, its, sizeof its) > 0 && strcmp(ours, its) == 0;
}

/* The shape of the open dataset, held against the size of the file. */
static ann_err inspect(struct io_reader *r, struct source *s)
{
    hsize_t dims[2] = {0, 1};
    if (!in_this_file(s))
        return ANN_FAIL(ANN_EINVAL, "%s:%s: lies in another file; name that one", s->path,
                        s->dataset);
    const hid_t space = H5Dget_space(s->set), stored = H5Dget_type(s->set);
    const int rank = H5Sget_simple_extent_ndims(space);
    if (rank == 1 || rank == 2)
        H5Sget_simple_extent_dims(space, dims, NULL);
    const enum io_type type = type_of(stored);
    H5Sclose(space);
    H5Tclose(stored);
    if (rank < 1 || rank > 2)
        return ANN_FAIL(ANN_EINVAL, "%s:%s: %d dimensions; vectors are an array of two",
                        s->path, s->dataset, rank);
    if (type == IO_ANY)
        return ANN_FAIL(ANN_EINVAL, "%s:%s: its elements are not numbers of 1 to 8 bytes",
                        s->path, s->dataset);
    size_t total;
    struct stat st;
    if (dims[1] < 1 || dims[1] > IO_DIM_MAX || !io_row_bytes(type, dims[1], &r->row_bytes) ||
        !size_mul(dims[0], r->row_bytes, &total) || stat(s->path, &st) != 0 ||
        total / RATIO_MAX > (size_t)st.st_size)
        return ANN_FAIL(ANN_EINVAL, "%s:%s: %llu rows of %llu numbers cannot be in this file",
                        s->path, s->dataset, (unsigned long long)dims[0],
                        (unsigned long long)dims[1]);
    r->shape = (struct io_shape){dims[0], dims[1], type, (unsigned)rank};
    s->type = memory_type(type);
    return ANN_OK;
}

static ann_err open_set(struct io_reader *r, const char *path, const char *dataset)
{
    struct source *s = mem_zalloc(1, sizeof *s);
    if (!s)
        return ANN_FAIL(ANN_ENOMEM, "out of memory");
    s->file = s->set = s->type = -1;
    s->path = mem_strdup(path);
    r->state = s;
    r->shut = shut;
    r->fetch = fetch;
    if (!s->path)
        return ANN_FAIL(ANN_ENOMEM, "out of memory");
    s->dataset = dataset ? dataset : part(s->path);
    int fd;
    size_t bytes;
    ann_err err = io_open_fd(s->path, &fd, &bytes);
    if (err)
        return err;
    close(fd);
    s->file = H5Fopen(s->path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (s->file < 0)
        return fail(ANN_EINVAL, s->path, "");
    if (H5Lexists(s->file, s->dataset, H5P_DEFAULT) <= 0) {
        H5Eclear2(H5E_DEFAULT);
        return ANN_FAIL(ANN_ENOENT, "%s: has no dataset '%s'", s->path, s->dataset);
    }
    s->set = H5Dopen2(s->file, s->dataset, H5P_DEFAULT);
    return s->set < 0 ? fail(ANN_EINVAL, s->path, s->dataset) : inspect(r, s);
}

static ann_err plugin_open(struct io_reader *r)
{
    return open_set(r, r->path, NULL);
}

ann_err hdf5_load(const char *path, const char *dataset, struct io_matrix *out)
{
    char name[4200];
    if ((size_t)snprintf(name, sizeof name, "%s:%s", path, dataset) >= sizeof name)
        return ANN_FAIL(ANN_EINVAL, "%s: the name is too long", path);
    hdf5_enable();
    return io_load(name, &(struct io_options){.format = IO_HDF5}, out);
}

bool hdf5_has(const char *path, const char *dataset)
{
    hdf5_enable();
    const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    const bool has = file >= 0 && H5Lexists(file, dataset, H5P_DEFAULT) > 0;
    if (file >= 0)
        H5Fclose(file);
    H5Eclear2(H5E_DEFAULT);
    return has;
}

/* The text of an open attribute: HDF5 keeps it at a fixed length, or elsewhere ("variable"). */
static bool text_of(hid_t attribute, char *buf, size_t len)
{
    bool ok = false;
    const hid_t type = H5Aget_type(attribute);
    if (H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) > 0) {
        char *text = NULL;
        if (H5Aread(attribute, type, &text) >= 0 && text && strlen(text) < len) {
            memcpy(buf, text, strlen(text) + 1);
            ok = true;
        }
        if (text)
            H5free_memory(text);
    } else if (H5Tget_class(type) == H5T_STRING && H5Tget_size(type) < len) {
        ok = H5Aread(attribute, type, buf) >= 0;
        buf[ok ? H5Tget_size(type) : 0] = '\0';
    }
    H5Tclose(type);
    return ok;
}

bool hdf5_attribute(const char *path, const char *name, char *buf, size_t len)
{
    bool ok = false;
    hdf5_enable();
    const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (file >= 0 && H5Aexists(file, name) > 0) {
        const hid_t a = H5Aopen(file, name, H5P_DEFAULT), space = a < 0 ? -1 : H5Aget_space(a);
        ok = space >= 0 && H5Sget_simple_extent_npoints(space) == 1 && text_of(a, buf, len);
        if (space >= 0)
            H5Sclose(space);
        if (a >= 0)
            H5Aclose(a);
    }
    if (file >= 0)
        H5Fclose(file);
    H5Eclear2(H5E_DEFAULT);
    return ok;
}

/* ---- writing ---- */

struct sink {
    struct io_target target;
    hid_t file, set, type;
    char *path;
    const char *dataset;
    size_t n, dim;
    unsigned rank;
};

static void abandon(void *state)
{
    struct sink *s = state;
    if (s->type >= 0)
        H5Tclose(s->type);
    if (s->set >= 0)
        H5Dclose(s->set);
    if (s->file >= 0)
        H5Fclose(s->file);
    io_target_drop(&s->target);
    mem_free(s->path);
    mem_free(s);
}

/* What the file holds already goes into the new one first. */
static ann_err copy_old(const struct io_target *t, bool *old)
{
    int fd;
    size_t bytes, got = 1;
    *old = false;
    if (access(t->path, F_OK) != 0)
        return ANN_OK;
    ann_err err = io_open_fd(t->path, &fd, &bytes);
    if (err)
        return err;
    char *buf = mem_alloc((size_t)1 << 20);
    if (!buf)
        err = ANN_FAIL(ANN_ENOMEM, "out of memory");
    while (!err && got > 0) {
        err = io_read_fd(fd, t->path, buf, (size_t)1 << 20, &got);
        if (!err)
            err = io_write_fd(t->fd, t->path, buf, got);
        *old |= !err && got > 0;
    }
    mem_free(buf);
    close(fd);
    return err;
}

static ann_err make_set(struct sink *s, const struct io_layout *l)
{
    const bool open_end = l->n == IO_UNKNOWN;
    const hsize_t dims[2] = {open_end ? 0 : l->n, l->dim}, most[2] = {H5S_UNLIMITED, l->dim};
    size_t row;
    if ((s->type = memory_type(l->type)) < 0 || !io_row_bytes(l->type, l->dim, &row))
        return ANN_FAIL(ANN_EINVAL, "%s: HDF5 has no elements of type %s", s->path,
                        io_type_name(l->type));
    if (H5Lexists(s->file, s->dataset, H5P_DEFAULT) > 0)
        H5Ldelete(s->file, s->dataset, H5P_DEFAULT);
    const hid_t how = H5Pcreate(H5P_DATASET_CREATE);
    if (open_end) {
        const hsize_t chunk[2] = {row < 65536 ? 65536 / row : 1, l->dim};
        H5Pset_chunk(how, (int)s->rank, chunk);
    }
    const hid_t space = H5Screate_simple((int)s->rank, dims, open_end ? most : NULL);
    s->set = H5Dcreate2(s->file, s->dataset, s->type, space, H5P_DEFAULT, how, H5P_DEFAULT);
    H5Sclose(space);
    H5Pclose(how);
    return s->set < 0 ? fail(ANN_EIO, s->path, s->dataset) : ANN_OK;
}

static ann_err create(const char *path, const struct io_layout *l, void **state)
{
    struct sink *s = mem_zalloc(1, sizeof *s);
    if (!s)
        return ANN_FAIL(ANN_ENOMEM, "out of memory");
    s->file = s->set = s->type = -1;
    s->target.fd = -1;
    s->dim = l->dim;
    s->rank = l->rank == 1 ? 1 : 2;
    s->path = mem_strdup(path);
    s->dataset = s->path ? part(s->path) : NULL;
    bool old = false;
    ann_err err = s->path ? io_target_open(s->path, &s->target)
                          : ANN_FAIL(ANN_ENOMEM, "out of memory");
    if (!err && !s->target.temp)
        err = ANN_FAIL(ANN_EINVAL, "%s: HDF5 is written into a file only", s->path);
    if (!err)
        err = copy_old(&s->target, &old);
    if (!err) {
        s->file = old ? H5Fopen(s->target.temp, H5F_ACC_RDWR, H5P_DEFAULT)
                      : H5Fcreate(s->target.temp, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
        err = s->file < 0 ? fail(ANN_EIO, s->path, "") : make_set(s, l);
    }
    if (err) {
        abandon(s);
        return err;
    }
    *state = s;
    return ANN_OK;
}

static ann_err write_rows(void *state, const struct io_matrix *rows)
{
    struct sink *s = state;
    const hsize_t start[2] = {s->n, 0}, count[2] = {rows->n, s->dim},
                  size[2] = {s->n + rows->n, s->dim};
    hid_t space = H5Dget_space(s->set);
    hsize_t now[2] = {0, 0};
    H5Sget_simple_extent_dims(space, now, NULL);
    ann_err err = ANN_OK;
    if (now[0] < size[0]) {
        H5Sclose(space);
        if (H5Dset_extent(s->set, size) < 0)
            return fail(ANN_EIO, s->path, s->dataset);
        space = H5Dget_space(s->set);
    }
    const hid_t here = H5Screate_simple((int)s->rank, count, NULL);
    if (H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL) < 0 ||
        H5Dwrite(s->set, s->type, here, space, H5P_DEFAULT, rows->data) < 0)
        err = fail(ANN_EIO, s->path, s->dataset);
    H5Sclose(here);
    H5Sclose(space);
    s->n += rows->n;
    return err;
}

static ann_err finish(void *state)
{
    struct sink *s = state;
    ann_err err = ANN_OK;
    if (H5Dclose(s->set) < 0 || H5Fclose(s->file) < 0)
        err = fail(ANN_EIO, s->path, s->dataset);
    s->set = s->file = -1;
    if (!err)
        err = io_target_commit(&s->target);
    abandon(s);
    return err;
}

ann_err hdf5_store(const char *path, const char *dataset, const struct io_matrix *rows)
{
    char name[4200];
    if ((size_t)snprintf(name, sizeof name, "%s:%s", path, dataset) >= sizeof name)
        return ANN_FAIL(ANN_EINVAL, "%s: the name is too long", path);
    hdf5_enable();
    const struct io_layout l = {.format = IO_HDF5, .type = rows->type, .dim = rows->dim,
                                .n = rows->n, .rank = rows->rank};
    struct io_writer *w;
    ann_err err = io_create(name, &l, &w);
    if (err)
        return err;
    if ((err = io_write(w, rows)) != 0) {
        io_abandon(w);
        return err;
    }
    return io_finish(w);
}

void hdf5_enable(void)
{
    static const struct io_plugin plugin = {plugin_open, create, write_rows, finish, abandon};
    if (io_hdf5)
        return;
    H5dont_atexit();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    H5PLset_loading_state(0); /* a file must not make us load code */
    io_hdf5 = &plugin;
}
