/* idx.c - IDX files, the format of MNIST and its successors; sole owner of zlib.
 *
 * Place: ann/io.  Source: the format's description on the MNIST page: two zero bytes, a type, a
 * number of dimensions, each dimension as a big-endian u32, then the elements, big-endian.
 * Invariant: memory grows as bytes come, so a header or a gzip stream cannot ask for it. */
#include <config.h>

#include <errno.h>
#include <string.h>
#include <zlib.h>

#include "ann/base/memory.h"
#include "ann/io/source.h"

#define FIRST_BYTES ((size_t)1 << 20)

static ann_err read_fail(gzFile f, const char *path, size_t at, size_t want)
{
    int code;
    const char *text = gzerror(f, &code);
    if (code == Z_ERRNO)
        return ANN_FAIL(ANN_EIO, "%s: %s", path, strerror(errno));
    if (code != Z_OK && code != Z_BUF_ERROR)
        return ANN_FAIL(ANN_EINVAL, "%s: damaged gzip data after byte %zu: %s", path, at, text);
    return ANN_FAIL(ANN_EINVAL, "%s: cut short at byte %zu of %zu", path, at, want);
}

static uint32_t big32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static ann_err header(gzFile f, const char *path, struct io_matrix *m, size_t *at)
{
    unsigned char b[4];
    if (gzread(f, b, 4) != 4)
        return read_fail(f, path, 0, 4);
    if (b[0] != 0 || b[1] != 0)
        return ANN_FAIL(ANN_EINVAL, "%s: not an IDX file", path);
    switch (b[2]) {
    case 0x08: m->type = IO_U8; break;
    case 0x09: m->type = IO_I8; break;
    case 0x0c: m->type = IO_I32; break;
    case 0x0d: m->type = IO_F32; break;
    default:
        return ANN_FAIL(ANN_EINVAL, "%s: byte 2: elements of type 0x%02x are not read", path,
                        b[2]);
    }
    const unsigned dims = b[3];
    if (dims < 1 || dims > 8)
        return ANN_FAIL(ANN_EINVAL, "%s: byte 3: %u dimensions; 1 to 8 are read", path, dims);
    m->dim = 1;
    m->rank = dims == 1 ? 1 : 2;
    for (unsigned d = 0; d < dims; d++) {
        if (gzread(f, b, 4) != 4)
            return read_fail(f, path, 4 + 4 * d, 4 + 4 * (size_t)dims);
        const size_t size = big32(b);
        if (d == 0)
            m->n = size;
        else if (!size_mul(m->dim, size, &m->dim) || m->dim < 1 || m->dim > IO_DIM_MAX)
            return ANN_FAIL(ANN_EINVAL,
                            "%s: dimension %u is %zu: rows of 0 or too many numbers", path, d,
                            size);
    }
    *at = 4 + 4 * (size_t)dims;
    return ANN_OK;
}

/* bytes of elements into *data, growing. */
static ann_err body(gzFile f, const char *path, size_t at, size_t bytes, char **data)
{
    size_t have = 0, used = 0;
    ann_err err = io_room(data, &have, bytes < FIRST_BYTES ? bytes + 1 : FIRST_BYTES);
    while (!err && used < bytes) {
        if (used == have)
            err = io_room(data, &have, bytes / 2 < have ? bytes : have * 2);
        if (err)
            break;
        const size_t room = (have < bytes ? have : bytes) - used;
        const int got = gzread(f, *data + used, room < 1 << 30 ? (unsigned)room : 1u << 30);
        if (got <= 0)
            return read_fail(f, path, at + used, at + bytes);
        used += (size_t)got;
    }
    char more;
    if (!err && gzread(f, &more, 1) != 0)
        return ANN_FAIL(ANN_EINVAL, "%s: goes on after the %zu bytes its header tells", path,
                        at + bytes);
    return err;
}

ann_err io_read_idx(const char *path, struct io_matrix *out)
{
    gzFile f = gzopen(path, "rbe");
    if (!f)
        return ANN_FAIL(errno == ENOENT ? ANN_ENOENT : ANN_EIO, "%s: %s", path,
                        errno ? strerror(errno) : "out of memory");
    gzbuffer(f, 1 << 17);
    struct io_matrix m = {0};
    char *data = NULL;
    size_t at = 0, row = 0, bytes = 0;
    ann_err err = header(f, path, &m, &at);
    if (err)
        goto done;
    if (!io_row_bytes(m.type, m.dim, &row) || !size_mul(row, m.n, &bytes) ||
        bytes > SIZE_MAX / 4) {
        err = ANN_FAIL(ANN_EINVAL, "%s: %zu rows of %zu numbers", path, m.n, m.dim);
        goto done;
    }
    if ((err = body(f, path, at, bytes, &data)) != 0)
        goto done;
    if (io_type_bytes(m.type) == 4)
        for (size_t i = 0; i < bytes; i += 4) {
            const uint32_t v = big32((unsigned char *)data + i);
            memcpy(data + i, &v, 4);
        }
    m.data = m.hold = data;
    m.stride = m.dim;
    *out = m;
    data = NULL;
done:
    mem_free(data);
    gzclose(f);
    return err;
}
