/* safetensors.c - reading safetensors files.  See safetensors.h.
 *
 * Place: rag/embed. */
#include <config.h>

#include <string.h>

#include "ann/base/memory.h"
#include "ann/io/io.h"
#include "ann/io/json.h"
#include "ann/kernels/kernels.h"
#include "rag/embed/safetensors.h"
#include "rag/error.h"

#define FILE_MOST   ((size_t)16 << 30)
#define HEADER_MOST ((size_t)64 << 20)
#define NAME_MOST   256 /* bytes of a tensor's name */

struct entry {
    char *name;
    struct tensor t;
};

struct safetensors {
    char *path;
    struct io_map map;
    struct entry *entries; /* [n] */
    size_t n, room;
    size_t start; /* of the tensors' bytes */
};

static const struct {
    const char *name;
    enum tensor_type type;
    unsigned bytes;
} types[] = {{"F32", TENSOR_F32, 4},   {"F16", TENSOR_F16, 2},  {"BF16", TENSOR_BF16, 2},
             {"F64", TENSOR_F64, 8},   {"I8", TENSOR_I8, 1},    {"I64", TENSOR_OTHER, 8},
             {"I32", TENSOR_OTHER, 4}, {"U8", TENSOR_OTHER, 1}, {"BOOL", TENSOR_OTHER, 1}};

static rag_err wrong(const struct safetensors *s, const char *name, const char *what)
{
    return RAG_FAIL(RAG_EFORMAT, "%s: tensor \"%.*s\": %s", s->path, NAME_MOST, name, what);
}

/* t->rows, t->width and, from them and the type, t->bytes. */
static rag_err read_shape(const struct safetensors *s, const char *name, const struct js *shape,
                          unsigned each, struct tensor *t)
{
    size_t bytes = each;
    t->rows = t->width = 1;
    if (js_kind(shape) != JS_ARRAY || js_count(shape) > 8)
        return wrong(s, name, "its shape is no list of up to 8 numbers");
    const size_t n = js_count(shape);
    for (size_t i = 0; i < n; i++) {
        uint64_t dim;
        if (!js_u64(js_at(shape, i), &dim) || dim > UINT32_MAX ||
            !size_mul(bytes, (size_t)dim, &bytes))
            return wrong(s, name, "its shape is out of bounds");
        if (i == 0 && n > 1)
            t->rows = (size_t)dim;
        else
            t->width *= (size_t)dim; /* no more than bytes / each */
    }
    t->bytes = bytes;
    return RAG_OK;
}

static rag_err read_entry(struct safetensors *s, const char *name, const struct js *v,
                          struct tensor *t)
{
    const char *type = js_string(js_get(v, "dtype"), "");
    const struct js *places = js_get(v, "data_offsets");
    uint64_t from, to;
    size_t k = 0;
    if (js_kind(v) != JS_OBJECT || !*type)
        return wrong(s, name, "it is no object with a dtype");
    while (k < sizeof types / sizeof *types && strcmp(types[k].name, type) != 0)
        k++;
    if (k == sizeof types / sizeof *types) {
        t->type = TENSOR_OTHER; /* of a later version: it is there, but cannot be asked for */
        return RAG_OK;
    }
    t->type = types[k].type;
    rag_err err = read_shape(s, name, js_get(v, "shape"), types[k].bytes, t);
    if (err)
        return err;
    if (js_count(places) != 2 || !js_u64(js_at(places, 0), &from) ||
        !js_u64(js_at(places, 1), &to) || from > to || to > s->map.bytes - s->start)
        return wrong(s, name, "data_offsets are not within the file");
    if (to - from != t->bytes)
        return wrong(s, name, "data_offsets are not as far apart as its shape says");
    t->data = (const unsigned char *)s->map.data + s->start + from;
    return RAG_OK;
}

struct adding {
    struct safetensors *s;
    rag_err err;
};

static ann_err add_entry(void *arg, const char *name, const struct js *v)
{
    struct adding *a = arg;
    struct safetensors *s = a->s;
    struct tensor t = {0};
    if (strcmp(name, "__metadata__") == 0)
        return ANN_OK;
    if (strlen(name) > NAME_MOST)
        a->err =
            RAG_FAIL(RAG_EFORMAT, "%s: a tensor's name of %zu bytes", s->path, strlen(name));
    else
        a->err = read_entry(s, name, v, &t);
    if (!a->err && s->n == s->room) {
        const size_t room = 2 * s->room + 64;
        struct entry *more = mem_resize(s->entries, room * sizeof *more);
        if (!more)
            a->err = RAG_FAIL(RAG_ENOMEM, "out of memory for %zu tensors", room);
        else
            s->entries = more, s->room = room;
    }
    char *copy = a->err ? NULL : mem_strdup(name);
    if (!a->err && !copy)
        a->err = RAG_FAIL(RAG_ENOMEM, "out of memory for a name");
    if (a->err)
        return (ann_err)a->err;
    s->entries[s->n++] = (struct entry){copy, t};
    return ANN_OK;
}

static rag_err read_header(struct safetensors *s)
{
    uint64_t length = 0;
    if (s->map.bytes < 8)
        return RAG_FAIL(RAG_EFORMAT, "%s: %zu bytes are no safetensors file", s->path,
                        s->map.bytes);
    for (int i = 0; i < 8; i++)
        length |= (uint64_t)(unsigned char)s->map.data[i] << 8 * i;
    if (length > HEADER_MOST || length > s->map.bytes - 8)
        return RAG_FAIL(RAG_EFORMAT, "%s: a header of %llu bytes in a file of %zu", s->path,
                        (unsigned long long)length, s->map.bytes);
    s->start = 8 + (size_t)length;
    struct js *header = NULL;
    rag_err err =
        rag_from_base(js_parse(s->path, s->map.data + 8, (size_t)length, HEADER_MOST, &header));
    if (err)
        return err;
    struct adding a = {s, RAG_OK};
    if (js_kind(header) != JS_OBJECT)
        err = RAG_FAIL(RAG_EFORMAT, "%s: the header is no JSON object", s->path);
    else
        err = rag_from_base(js_each(header, add_entry, &a));
    js_free(header);
    return err;
}

rag_err safetensors_open(const char *path, struct safetensors **out)
{
    struct safetensors *s = mem_zalloc(1, sizeof *s);
    if (!s || !(s->path = mem_strdup(path))) {
        mem_free(s);
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a file's tensors");
    }
    rag_err err = rag_from_base(io_map_open(path, FILE_MOST, &s->map));
    if (!err)
        err = read_header(s);
    if (err)
        safetensors_close(s);
    else
        *out = s;
    return err;
}

void safetensors_close(struct safetensors *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++)
        mem_free(s->entries[i].name);
    mem_free(s->entries);
    if (s->map.data)
        io_unmap((void *)(uintptr_t)s->map.data, s->map.bytes);
    mem_free(s->path);
    mem_free(s);
}

size_t safetensors_bytes(const struct safetensors *s)
{
    return s->map.bytes;
}

const char *safetensors_path(const struct safetensors *s)
{
    return s->path;
}

rag_err safetensors_get(const struct safetensors *s, const char *name, struct tensor *out)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->entries[i].name, name) == 0) {
            *out = s->entries[i].t;
            return RAG_OK;
        }
    return RAG_FAIL(RAG_ENOENT, "%s: no tensor \"%s\"", s->path, name);
}

rag_err tensor_row(const struct tensor *t, size_t i, float *out)
{
    static const unsigned each[] = {4, 2, 2, 8, 1, 0};
    const struct annk_ops *ops = annk_select();
    if (t->type == TENSOR_OTHER)
        return RAG_FAIL(RAG_ENOTSUP,
                        "a tensor of a type that is none of F32, F16, BF16, F64, I8");
    const unsigned char *row = t->data + i * t->width * each[t->type];
    switch (t->type) {
    case TENSOR_F32:
        memcpy(out, row, t->width * sizeof *out);
        return RAG_OK;
    case TENSOR_F16:
        ops->f16_to_f32((const void *)row, out, t->width);
        return RAG_OK;
    case TENSOR_BF16:
        ops->bf16_to_f32((const void *)row, out, t->width);
        return RAG_OK;
    case TENSOR_F64:
        for (size_t d = 0; d < t->width; d++) {
            double x;
            memcpy(&x, row + 8 * d, sizeof x);
            out[d] = (float)x;
        }
        return RAG_OK;
    case TENSOR_I8:
        for (size_t d = 0; d < t->width; d++)
            out[d] = (float)(signed char)row[d];
        return RAG_OK;
    case TENSOR_OTHER:
        break;
    }
    return RAG_FAIL(RAG_ENOTSUP, "a tensor of no known type");
}
