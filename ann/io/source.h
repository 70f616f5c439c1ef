/* source.h - inside ann/io: what a reader is made of, and how HDF5 joins without being linked.
 *
 * Place: ann/io, private.  A reader is one of three: rows at equal distances in a mapped file
 * or in a pipe (npy, *vecs, raw), a matrix already in memory (idx), or a source of its own
 * (hdf5). */
#ifndef KITH_IO_SOURCE_H
#define KITH_IO_SOURCE_H

#include "ann/io/io.h"

/* No row is longer: a bound that keeps hostile dimensions from large allocations. */
#define IO_DIM_MAX ((size_t)1 << 24)
/* Bytes of rows a reader holds at a time, where it must copy (but at least one row). */
#define IO_BLOCK_BYTES ((size_t)256 << 20)

ann_err io_map_file(int fd, const char *path, size_t bytes, struct io_map *out);

/* What to call path in a message. */
const char *io_name(const char *path);

/* Opens for reading; *bytes is the size of a regular file, IO_UNKNOWN for a pipe. */
ann_err io_open_fd(const char *path, int *fd, size_t *bytes);
/* Reads until bytes are there or the end; *got says how many. */
ann_err io_read_fd(int fd, const char *path, void *data, size_t bytes, size_t *got);

struct io_reader {
    struct io_shape shape; /* type as read */
    char *path;
    size_t next; /* row the next io_read begins with */

    /* Rows at equal distances: row i at offset + i * (prefix + row_bytes). */
    enum io_type disk;
    size_t offset, prefix, row_bytes;
    struct io_map map; /* data NULL: from fd */
    int fd;
    char head[16];     /* read from fd to look at, not yet taken */
    size_t head_bytes, head_used;

    struct io_matrix whole; /* hold set: deal from here */

    /* A source of its own: fills block with 1..max rows from `next` on. */
    ann_err (*fetch)(struct io_reader *r, size_t max, struct io_matrix *block);
    void (*shut)(struct io_reader *r);
    void *state;

    char *copy; /* [copy_bytes] rows of the current block */
    char *cooked; /* [cooked_bytes] and converted */
    size_t copy_bytes, cooked_bytes;
};

/* Bytes from the pipe, those looked at first.  *got < bytes only at the end. */
ann_err io_take(struct io_reader *r, void *data, size_t bytes, size_t *got);

/* *p has room for bytes. */
ann_err io_room(char **p, size_t *have, size_t bytes);

/* npy.c: reads the header from the map or the pipe; sets shape, disk, offset, row_bytes. */
ann_err npy_open(struct io_reader *r);
/* The 128 bytes that begin an npy file. */
#define NPY_HEAD_BYTES 128
ann_err npy_head(char *head, enum io_type type, size_t n, size_t dim, unsigned rank);

/* Sets by hdf5_enable. */
struct io_plugin {
    ann_err (*open)(struct io_reader *r);
    ann_err (*create)(const char *path, const struct io_layout *l, void **state);
    ann_err (*write)(void *state, const struct io_matrix *rows); /* rows of the layout's type */
    ann_err (*finish)(void *state);
    void (*abandon)(void *state);
};
extern const struct io_plugin *io_hdf5;

#endif
