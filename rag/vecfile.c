/* vecfile.c - vectors into npy, fvecs, word2vec, JSON Lines, safetensors and msgpack files.
 *
 * Place: rag.  See vecfile.h; docs/rag.md has what each format looks like.  npy and fvecs are
 * ann/io's; the others are written here through stdio.  Numbers are little-endian in all. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ann/base/memory.h"
#include "ann/base/wire.h"
#include "ann/io/io.h"
#include "ann/io/json.h"
#include "rag/error.h"
#include "rag/vecfile.h"

#define BIN_ROWS 1024 /* in one binary of msgpack, whose length has 32 bits */

struct stream {
    struct io_target target;
    FILE *f;
};

struct vecfile {
    struct vecfile_shape shape;
    size_t row_bytes;
    uint64_t at;            /* rows put */
    struct io_writer *rows; /* npy, fvecs */
    struct stream body;     /* the others */
    struct stream ids;      /* labels, a line each, where the file itself has none */
    struct js_out line;
    struct wire_out tail; /* of msgpack: the labels */
    char *half;           /* [row_bytes] a row as f16 */
};

/* ---- streams ---- */

static rag_err stream_open(struct stream *s, const char *path)
{
    rag_err err = rag_from_base(io_target_open(path, &s->target));
    if (err)
        return err;
    const int fd = fcntl(s->target.fd, F_DUPFD_CLOEXEC, 3);
    s->f = fd >= 0 ? fdopen(fd, "w") : NULL;
    return s->f ? RAG_OK : RAG_FAIL(RAG_EIO, "%s: %s", s->target.path, strerror(errno));
}

static rag_err stream_put(struct stream *s, const void *data, size_t bytes)
{
    return fwrite(data, 1, bytes, s->f) == bytes
               ? RAG_OK
               : RAG_FAIL(RAG_EIO, "%s: %s", s->target.path, strerror(errno));
}

static rag_err stream_commit(struct stream *s)
{
    FILE *f = s->f;
    s->f = NULL;
    if (!f)
        return RAG_OK;
    if (fclose(f) != 0)
        return RAG_FAIL(RAG_EIO, "%s: %s", s->target.path, strerror(errno));
    return rag_from_base(io_target_commit(&s->target));
}

static void stream_drop(struct stream *s)
{
    if (s->f)
        fclose(s->f);
    s->f = NULL;
    io_target_drop(&s->target);
}

/* ---- labels ---- */

static const char *label_of(const struct vecfile *f, const struct vecfile_row *row,
                            char number[24])
{
    if (row->label)
        return row->label;
    snprintf(number, 24, "%" PRId64, f->shape.ids[f->at]);
    return number;
}

/* Label and what ends it; control characters in it, and blanks if `joined`, would break the
 * line. */
static rag_err put_label(struct stream *s, const char *label, bool joined, char end)
{
    rag_err err = joined && !*label ? stream_put(s, "_", 1) : RAG_OK;
    for (const char *c = label; *c && !err; c++) {
        const bool breaks = (unsigned char)*c < ' ' || *c == 0x7f || (joined && *c == ' ');
        err = stream_put(s, breaks ? joined ? "_" : " " : c, 1);
    }
    return err ? err : stream_put(s, &end, 1);
}

/* ---- what stands before and behind the rows ---- */

static void put_pair(struct js_out *o, const char *key, uint64_t a, uint64_t b)
{
    js_open(o, key, '[');
    js_put_u64(o, NULL, a);
    js_put_u64(o, NULL, b);
    js_shut(o, ']');
}

/* The length of the header, the header itself padded to 8 bytes, the ids of chunks.  These
 * stand before the vectors: so each begins at a multiple of its own size. */
static rag_err begin_safetensors(struct vecfile *f)
{
    const struct vecfile_shape *sh = &f->shape;
    const uint64_t labels = sh->ids ? 8 * sh->n : 0;
    struct js_out *o = &f->line;
    js_open(o, NULL, '{');
    if (sh->ids) {
        js_open(o, "labels", '{');
        js_put_string(o, "dtype", "I64");
        js_open(o, "shape", '[');
        js_put_u64(o, NULL, sh->n);
        js_shut(o, ']');
        put_pair(o, "data_offsets", 0, labels);
        js_shut(o, '}');
    }
    js_open(o, "vectors", '{');
    js_put_string(o, "dtype", sh->f16 ? "F16" : "F32");
    put_pair(o, "shape", sh->n, sh->dims);
    put_pair(o, "data_offsets", labels, labels + sh->n * f->row_bytes);
    js_shut(o, '}');
    js_shut(o, '}');
    if (o->failed)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a header");
    const uint64_t length = (o->bytes + 7) / 8 * 8;
    rag_err err = stream_put(&f->body, &length, sizeof length);
    if (!err)
        err = stream_put(&f->body, o->text, o->bytes);
    if (!err)
        err = stream_put(&f->body, "        ", (size_t)length - o->bytes);
    if (!err && sh->ids)
        err = stream_put(&f->body, sh->ids, (size_t)labels);
    return err;
}

static rag_err put_wire(struct vecfile *f, struct wire_out *w)
{
    rag_err err = w->failed ? RAG_FAIL(RAG_ENOMEM, "out of memory for labels")
                            : stream_put(&f->body, w->data, w->len);
    wire_out_free(w);
    return err;
}

/* A map whose last key is "ids": the labels are gathered meanwhile. */
static rag_err begin_msgpack(struct vecfile *f)
{
    struct wire_out head = {0};
    wire_put_map(&head, 5);
    wire_put_str(&head, "n");
    wire_put_u64(&head, f->shape.n);
    wire_put_str(&head, "dims");
    wire_put_u64(&head, f->shape.dims);
    wire_put_str(&head, "type");
    wire_put_str(&head, f->shape.f16 ? "f16" : "f32");
    wire_put_str(&head, "vectors");
    wire_put_array(&head, (size_t)((f->shape.n + BIN_ROWS - 1) / BIN_ROWS));
    wire_put_str(&f->tail, "ids");
    wire_put_array(&f->tail, (size_t)f->shape.n);
    return put_wire(f, &head);
}

static rag_err begin_rows(struct vecfile *f, const char *path)
{
    const struct io_layout layout = {.format =
                                         f->shape.format == RAG_EXPORT_NPY ? IO_NPY : IO_FVECS,
                                     .type = f->shape.f16 ? IO_F16 : IO_F32,
                                     .dim = f->shape.dims,
                                     .n = (size_t)f->shape.n};
    return rag_from_base(io_create(path, &layout, &f->rows));
}

static rag_err begin(struct vecfile *f, const char *path)
{
    char line[64];
    if (f->shape.format == RAG_EXPORT_NPY || f->shape.format == RAG_EXPORT_FVECS)
        return begin_rows(f, path);
    rag_err err = stream_open(&f->body, path);
    if (err)
        return err;
    switch (f->shape.format) {
    case RAG_EXPORT_WORD2VEC:
        snprintf(line, sizeof line, "%" PRIu64 " %zu\n", f->shape.n, f->shape.dims);
        return stream_put(&f->body, line, strlen(line));
    case RAG_EXPORT_SAFETENSORS:
        return begin_safetensors(f);
    case RAG_EXPORT_MSGPACK:
        return begin_msgpack(f);
    default:
        return RAG_OK;
    }
}

/* ---- rows ---- */

static rag_err put_json(struct vecfile *f, const struct vecfile_row *row)
{
    struct js_out *o = &f->line;
    js_open(o, NULL, '{');
    if (row->label)
        js_put_string(o, "id", row->label);
    else
        js_put_i64(o, "id", f->shape.ids[f->at]);
    if (row->source) {
        js_put_string(o, "source", row->source);
        js_put_u64(o, "start", row->start);
        js_put_u64(o, "end", row->end);
    }
    js_open(o, "vector", '[');
    for (size_t d = 0; d < f->shape.dims; d++)
        js_put_float(o, NULL, row->vec[d]);
    js_shut(o, ']');
    js_shut(o, '}');
    return rag_from_base(js_line(o, f->body.f));
}

static rag_err put_word(struct vecfile *f, const struct vecfile_row *row)
{
    char number[JS_NUMBER_MAX + 1], id[24];
    rag_err err = put_label(&f->body, label_of(f, row, id), true, ' ');
    for (size_t d = 0; d < f->shape.dims && !err; d++) {
        const size_t n = js_format_float(number, row->vec[d]);
        number[n] = d + 1 < f->shape.dims ? ' ' : '\n';
        err = stream_put(&f->body, number, n + 1);
    }
    return err;
}

/* The row's bytes; before every BIN_ROWS of them in msgpack, how many come. */
static rag_err put_bytes(struct vecfile *f, const struct vecfile_row *row)
{
    const void *bytes = row->vec;
    rag_err err = RAG_OK;
    if (f->shape.format == RAG_EXPORT_MSGPACK && f->at % BIN_ROWS == 0) {
        uint8_t head[WIRE_BIN_HEAD];
        const uint64_t left = f->shape.n - f->at;
        wire_bin_head(head, (uint32_t)((left < BIN_ROWS ? left : BIN_ROWS) * f->row_bytes));
        err = stream_put(&f->body, head, sizeof head);
    }
    if (f->shape.f16) {
        size_t bad = 0;
        if (!io_convert(IO_F16, f->half, IO_F32, row->vec, f->shape.dims, &bad))
            return RAG_FAIL(RAG_EINVAL, "row %" PRIu64 ", column %zu: %g does not fit f16",
                            f->at, bad, (double)row->vec[bad]);
        bytes = f->half;
    }
    if (!err && f->shape.format == RAG_EXPORT_MSGPACK) {
        if (row->label)
            wire_put_str(&f->tail, row->label);
        else
            wire_put_u64(&f->tail, (uint64_t)f->shape.ids[f->at]);
    }
    return err ? err : stream_put(&f->body, bytes, f->row_bytes);
}

static rag_err put_row(struct vecfile *f, const struct vecfile_row *row)
{
    const struct io_matrix one = {.data = row->vec,
                                  .n = 1,
                                  .dim = f->shape.dims,
                                  .stride = f->shape.dims,
                                  .type = IO_F32,
                                  .rank = 2};
    switch (f->shape.format) {
    case RAG_EXPORT_JSONL:
        return put_json(f, row);
    case RAG_EXPORT_WORD2VEC:
        return put_word(f, row);
    case RAG_EXPORT_NPY:
    case RAG_EXPORT_FVECS:
        return rag_from_base(io_write(f->rows, &one));
    default:
        return put_bytes(f, row);
    }
}

/* ---- the whole ---- */

static const char *name_of(rag_export_format format)
{
    static const char *const names[] = {"jsonl", "word2vec",    "npy",
                                        "fvecs", "safetensors", "msgpack"};
    return (size_t)format < sizeof names / sizeof *names ? names[format] : NULL;
}

static rag_err check(const char *path, const struct vecfile_shape *sh)
{
    const char *name = name_of(sh->format);
    if (!name)
        return RAG_FAIL(RAG_EINVAL, "no format of vectors has the number %d", (int)sh->format);
    const bool text = sh->format == RAG_EXPORT_JSONL || sh->format == RAG_EXPORT_WORD2VEC;
    if (!text && strcmp(path, "-") == 0)
        return RAG_FAIL(RAG_EINVAL, "%s needs a file; standard output takes jsonl and word2vec",
                        name);
    if (sh->f16 && (text || sh->format == RAG_EXPORT_FVECS))
        return RAG_FAIL(RAG_EINVAL, "%s has no f16; npy, safetensors and msgpack have", name);
    if (sh->format == RAG_EXPORT_MSGPACK && sh->n > UINT32_MAX)
        return RAG_FAIL(RAG_ELIMIT, "%" PRIu64 " vectors are too many for msgpack", sh->n);
    return RAG_OK;
}

/* FILE.ids, for formats that hold numbers alone; safetensors has ids of chunks as a tensor. */
static rag_err open_ids(struct vecfile *f, const char *path)
{
    const rag_export_format format = f->shape.format;
    if (format != RAG_EXPORT_NPY && format != RAG_EXPORT_FVECS &&
        (format != RAG_EXPORT_SAFETENSORS || f->shape.ids))
        return RAG_OK;
    const size_t room = strlen(path) + sizeof ".ids";
    char *name = mem_alloc(room);
    if (!name)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a path");
    snprintf(name, room, "%s.ids", path);
    rag_err err = stream_open(&f->ids, name);
    mem_free(name);
    return err;
}

rag_err vecfile_create(const char *path, const struct vecfile_shape *shape,
                       struct vecfile **out)
{
    path = path ? path : "-";
    rag_err err = check(path, shape);
    if (err)
        return err;
    struct vecfile *f = mem_zalloc(1, sizeof *f);
    if (!f)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a file of vectors");
    f->shape = *shape;
    f->row_bytes = shape->dims * (shape->f16 ? 2 : sizeof(float));
    f->body.target.fd = f->ids.target.fd = -1;
    f->half = mem_alloc(f->row_bytes + 1);
    if (!f->half)
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for a vector");
    if (!err)
        err = begin(f, path);
    if (!err)
        err = open_ids(f, path);
    if (err)
        vecfile_abandon(f);
    else
        *out = f;
    return err;
}

rag_err vecfile_put(struct vecfile *f, const struct vecfile_row *row)
{
    char number[24];
    if (f->at == f->shape.n)
        return RAG_FAIL(RAG_EINVAL, "more than the %" PRIu64 " vectors that were promised",
                        f->shape.n);
    rag_err err = put_row(f, row);
    if (!err && f->ids.f)
        err = put_label(&f->ids, label_of(f, row, number), false, '\n');
    f->at += !err;
    return err;
}

rag_err vecfile_finish(struct vecfile *f)
{
    rag_err err =
        f->at == f->shape.n
            ? RAG_OK
            : RAG_FAIL(RAG_EINVAL, "%" PRIu64 " vectors were promised, %" PRIu64 " came",
                       f->shape.n, f->at);
    if (!err && f->shape.format == RAG_EXPORT_MSGPACK)
        err = put_wire(f, &f->tail);
    if (!err)
        err = stream_commit(&f->ids);
    if (!err && f->rows) {
        err = rag_from_base(io_finish(f->rows));
        f->rows = NULL;
    } else if (!err) {
        err = stream_commit(&f->body);
    }
    vecfile_abandon(f);
    return err;
}

void vecfile_abandon(struct vecfile *f)
{
    if (!f)
        return;
    io_abandon(f->rows);
    stream_drop(&f->body);
    stream_drop(&f->ids);
    js_out_free(&f->line);
    wire_out_free(&f->tail);
    mem_free(f->half);
    mem_free(f);
}
