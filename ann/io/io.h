/* io.h - data files for the programs: matrices of vectors, lists of ids; read, streamed,
 * written.
 *
 * Place: ann/io, above base; linked into the programs, never into libkith-ann.
 * Formats: npy (versions 1 to 3, C order, little endian), fvecs, ivecs, bvecs, raw, idx (MNIST,
 * gzipped or not) and, where hdf5_enable() was called, HDF5 as "file.hdf5:dataset".
 * Invariant: every byte of a file is untrusted.  Counts are checked against the size of the
 * file before anything is allocated; errors name the file, the offset and the value. Errors are
 * reported through ann/base/error.h: a program reads them in error_message(). */
#ifndef KITH_IO_H
#define KITH_IO_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ann/ann.h>

#include "ann/base/error.h"

/* Element types.  The first are those of ann_dtype, with the same numbers. */
enum io_type {
    IO_ANY = 0,
    IO_F32 = ANN_F32,
    IO_F16 = ANN_F16,
    IO_BF16 = ANN_BF16,
    IO_I8 = ANN_I8,
    IO_U8 = ANN_U8,
    IO_B1 = ANN_B1,
    IO_I32 = 16,
    IO_U32,
    IO_I64,
    IO_U64,
    IO_F64 /* on disk only: read as IO_F32 */
};

const char *io_type_name(enum io_type t);              /* "f32"; never NULL */
bool io_type_parse(const char *name, enum io_type *t); /* false: no such type */
size_t io_type_bytes(enum io_type t);                  /* of one element; 0 for IO_B1 */
bool io_row_bytes(enum io_type t, size_t dim, size_t *bytes); /* false: does not fit */

enum io_format {
    IO_AUTO = 0, /* by the end of the name; standard input: by the first bytes */
    IO_NPY,
    IO_FVECS,
    IO_IVECS,
    IO_BVECS,
    IO_RAW, /* rows one after another, nothing else; type and dim must be given */
    IO_IDX,
    IO_HDF5
};

const char *io_format_name(enum io_format f);
bool io_format_parse(const char *name, enum io_format *f);
enum io_format io_format_of(const char *path); /* by the end of the name; IO_AUTO: unknown */

/* Rows in memory: mapped from the file where they lie in it as they are needed, else copied. */
struct io_matrix {
    const void *data; /* row 0; row i begins i * stride elements behind (IO_B1: bytes) */
    size_t n, dim, stride;
    enum io_type type;
    unsigned rank;      /* 1 for a plain list of n numbers (dim is 1), else 2 */
    void *hold;         /* what io_free releases; NULL: borrowed */
    size_t hold_bytes;  /* of a mapping; 0: heap */
};

static inline const void *io_row(const struct io_matrix *m, size_t i)
{
    const size_t bytes = m->type == IO_B1 ? 1 : io_type_bytes(m->type);
    return (const char *)m->data + i * m->stride * bytes;
}

/* Rows first .. first + n - 1 of m, borrowed from it. */
struct io_matrix io_rows(const struct io_matrix *m, size_t first, size_t n);

/* *v: m as the library takes it.  ANN_EINVAL if its elements are not a vector type or it is a
 * plain list. */
ann_err io_view(const struct io_matrix *m, ann_view *v);

/* Takes the bytes of m (u8) as packed bits: IO_B1 of 8 * dim. */
ann_err io_as_bits(struct io_matrix *m);

struct io_options {
    enum io_format format;
    enum io_type type;   /* raw only */
    size_t dim;          /* raw only */
    uint64_t max_memory; /* what io_load may copy; 0: no limit */
};

/* The whole file; o may be NULL.  path "-" is standard input.  Release with io_free. */
ann_err io_load(const char *path, const struct io_options *o, struct io_matrix *out);
void io_free(struct io_matrix *m);

/* The same block by block, so that a file may be larger than memory. */
struct io_reader;

#define IO_UNKNOWN SIZE_MAX

struct io_shape {
    size_t n; /* IO_UNKNOWN: a pipe whose format does not say */
    size_t dim;
    enum io_type type;
    unsigned rank;
};

ann_err io_open(const char *path, const struct io_options *o, struct io_reader **out);
struct io_shape io_shape(const struct io_reader *r);
/* The next rows, at most max of them; block->n is 0 at the end.  Borrowed until the next call.
 */
ann_err io_read(struct io_reader *r, size_t max, struct io_matrix *block);
void io_close(struct io_reader *r);

/* IDX as MNIST ships it, plain or gzipped: [n, product of the other dimensions] of u8, i8, i32
 * or f32; one dimension gives a plain list.  Release with io_free. */
ann_err io_read_idx(const char *path, struct io_matrix *out);

/* Ids: decimal numbers, one a line (blank lines and # comments skipped), or an npy or ivecs
 * file of integers.  "-" is standard input.  *ids is released with mem_free. */
ann_err io_load_ids(const char *path, ann_id **ids, size_t *n);

/* Writes rows to a temporary file beside path; io_finish fsyncs it and renames it into place,
 * io_abandon removes it.  "-" is standard output; npy then needs n given. */
struct io_writer;

struct io_layout {
    enum io_format format; /* IO_AUTO: by the end of the name */
    enum io_type type;     /* on disk; npy and raw hold any, fvecs f32, ivecs i32, bvecs u8 */
    size_t dim;            /* 0 with rank 1 */
    size_t n;              /* IO_UNKNOWN, or how many rows will come */
    unsigned rank;         /* 1: a plain list (npy, raw); 0 or 2: a matrix */
};

ann_err io_create(const char *path, const struct io_layout *layout, struct io_writer **out);
/* Rows of any type, converted to the file's; ANN_EINVAL names a value that does not fit. */
ann_err io_write(struct io_writer *w, const struct io_matrix *rows);
ann_err io_finish(struct io_writer *w); /* frees w in any case */
void io_abandon(struct io_writer *w);   /* NULL is allowed */

/* count elements of type from as type to.  False: *bad is the index of a value that does not
 * fit (out of range, or not whole where to is an integer type). */
bool io_convert(enum io_type to, void *dst, enum io_type from, const void *src, size_t count,
                size_t *bad);

/* A text or other file as a whole, NUL-terminated, at most cap bytes.  Release with mem_free.
 */
ann_err io_slurp(const char *path, size_t cap, char **data, size_t *bytes);

/* A mapped file, read only; known to io_mapped_path until it is released. */
struct io_map {
    const char *data;
    size_t bytes;
};

/* A regular file of 1 to cap bytes. */
ann_err io_map_open(const char *path, size_t cap, struct io_map *out);
void io_unmap(void *data, size_t bytes);

/* A file that gets its name only when it is whole; for texts, which have no io_writer. */
struct io_target {
    char *path; /* where it ends, links followed */
    char *temp; /* beside it; NULL: written in place (a pipe, a device) */
    int fd;
};

ann_err io_target_open(const char *path, struct io_target *t); /* "-": standard output */
ann_err io_target_commit(struct io_target *t); /* fsync, rename, fsync of the folder; frees */
void io_target_drop(struct io_target *t);
/* All of data, unless io_stop says so; path is for the message. */
ann_err io_write_fd(int fd, const char *path, const void *data, size_t bytes);

/* Once it points at a non-zero number, reading and writing stop with ANN_ECANCELED.  A signal
 * handler installed without SA_RESTART sets it, so that a waiting read ends. */
extern const volatile sig_atomic_t *io_stop;

/* For a SIGBUS handler (async-signal-safe): the path of the mapped file that holds address. */
const char *io_mapped_path(const void *address);

/* Programs only: makes a library error this program's, so that error_message() has both kinds:
 *     err = io_library(ann_search(...)); */
static inline ann_err io_library(ann_err err)
{
    const char *text = ann_error_message();
    return err && text != error_message() ? error_set(err, "%s", text) : err;
}

#endif
