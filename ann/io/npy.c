/* npy.c - the header of NumPy's array files, versions 1.0 to 3.0.
 *
 * Place: ann/io.  Source: the npy format as NumPy documents it (numpy.lib.format): magic,
 * version, length, a Python dictionary with 'descr', 'fortran_order' and 'shape', then the
 * elements. Invariant: the header is hostile; the parser takes that dictionary and nothing more
 * of Python. */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "ann/base/memory.h"
#include "ann/io/source.h"

#define HEADER_MAX ((size_t)64 << 10)

static const struct {
    char code[3];
    enum io_type type;
} codes[] = {
    {"f4", IO_F32}, {"f2", IO_F16}, {"f8", IO_F64}, {"i1", IO_I8},  {"u1", IO_U8},
    {"i4", IO_I32}, {"u4", IO_U32}, {"i8", IO_I64}, {"u8", IO_U64},
};

struct parse {
    const char *path, *text;
    size_t at, len;
    char descr[16];
    bool have_descr, have_order, have_shape, fortran;
    size_t shape[2];
    unsigned rank;
};

static ann_err fail(const struct parse *p, const char *why)
{
    return ANN_FAIL(ANN_EINVAL, "%s: npy header, byte %zu: %s", io_name(p->path), p->at, why);
}

static void blank(struct parse *p)
{
    while (p->at < p->len && (p->text[p->at] == ' ' || p->text[p->at] == '\n'))
        p->at++;
}

/* Skips blanks, then takes c if it comes next. */
static bool take(struct parse *p, char c)
{
    blank(p);
    if (p->at >= p->len || p->text[p->at] != c)
        return false;
    p->at++;
    return true;
}

static bool word(struct parse *p, const char *w)
{
    const size_t n = strlen(w);
    blank(p);
    if (p->len - p->at < n || memcmp(p->text + p->at, w, n) != 0)
        return false;
    p->at += n;
    return true;
}

static ann_err string(struct parse *p, char *out, size_t room)
{
    blank(p);
    const char quote = p->at < p->len ? p->text[p->at] : '\0';
    if (quote == '[')
        return fail(p, "a structured array, which holds no vectors");
    if (quote != '\'' && quote != '"')
        return fail(p, "a quoted string must stand here");
    size_t n = 0;
    for (p->at++; p->at < p->len && p->text[p->at] != quote; p->at++) {
        if (n + 1 >= room)
            return fail(p, "the string is too long");
        out[n++] = p->text[p->at];
    }
    if (p->at >= p->len)
        return fail(p, "the string has no end");
    p->at++;
    out[n] = '\0';
    return ANN_OK;
}

static ann_err number(struct parse *p, size_t *out)
{
    blank(p);
    size_t v = 0, digits = 0;
    for (; p->at < p->len && p->text[p->at] >= '0' && p->text[p->at] <= '9'; p->at++, digits++)
        if (!size_mul(v, 10, &v) || !size_add(v, (size_t)(p->text[p->at] - '0'), &v))
            return fail(p, "the number is too large");
    if (v == IO_UNKNOWN)
        return fail(p, "the number is too large");
    if (digits == 0)
        return fail(p, "a number must stand here");
    if (p->at < p->len && p->text[p->at] == 'L') /* as Python 2 wrote it */
        p->at++;
    *out = v;
    return ANN_OK;
}

static ann_err shape(struct parse *p)
{
    if (!take(p, '('))
        return fail(p, "a shape must begin with (");
    p->rank = 0;
    while (!take(p, ')')) {
        if (p->rank == 2)
            return fail(p, "more than two dimensions; vectors are an array of two");
        const ann_err err = number(p, &p->shape[p->rank]);
        if (err)
            return err;
        p->rank++;
        if (!take(p, ',')) {
            if (!take(p, ')'))
                return fail(p, "a shape must end with )");
            break;
        }
    }
    return p->rank > 0 ? ANN_OK : fail(p, "no dimension; vectors are an array of two");
}

static ann_err entry(struct parse *p)
{
    char key[16];
    ann_err err = string(p, key, sizeof key);
    if (err)
        return err;
    if (!take(p, ':'))
        return fail(p, ": must stand here");
    bool *have = NULL;
    if (strcmp(key, "descr") == 0) {
        have = &p->have_descr;
        err = string(p, p->descr, sizeof p->descr);
    } else if (strcmp(key, "shape") == 0) {
        have = &p->have_shape;
        err = shape(p);
    } else if (strcmp(key, "fortran_order") == 0) {
        have = &p->have_order;
        p->fortran = word(p, "True");
        if (!p->fortran && !word(p, "False"))
            return fail(p, "True or False must stand here");
    } else {
        return fail(p, "a key other than descr, fortran_order and shape");
    }
    if (!err && *have)
        return fail(p, "the key stands twice");
    *have = true;
    return err;
}

static ann_err dictionary(struct parse *p)
{
    if (!take(p, '{'))
        return fail(p, "{ must stand here");
    while (!take(p, '}')) {
        const ann_err err = entry(p);
        if (err)
            return err;
        if (!take(p, ',')) {
            if (!take(p, '}'))
                return fail(p, "} must stand here");
            break;
        }
    }
    blank(p);
    if (p->at < p->len)
        return fail(p, "something stands behind the dictionary");
    if (!p->have_descr || !p->have_order || !p->have_shape)
        return fail(p, "descr, fortran_order or shape is missing");
    return ANN_OK;
}

static ann_err element_type(const struct parse *p, enum io_type *out)
{
    const char *d = p->descr, *name = io_name(p->path);
    if (d[0] == '|' && d[1] == 'O')
        return ANN_FAIL(ANN_EINVAL, "%s: an array of Python objects, which holds no vectors",
                        name);
    for (size_t i = 0; d[0] && i < sizeof codes / sizeof codes[0]; i++) {
        if (strcmp(d + 1, codes[i].code) != 0)
            continue;
        if (d[0] == '<' || (d[0] == '|' && d[2] == '1')) {
            *out = codes[i].type;
            return ANN_OK;
        }
        if (d[0] == '>')
            return ANN_FAIL(ANN_EINVAL,
                            "%s: its elements are big-endian (%s); save it little-endian", name,
                            d);
    }
    return ANN_FAIL(ANN_EINVAL,
                    "%s: elements of type '%s'; f2, f4, f8, i1, u1, i4, u4, i8 and u8 are read",
                    name, d);
}

/* The bytes of the dictionary, from the map or the pipe; *begin is where they lie in the file.
 */
static ann_err fetch(struct io_reader *r, char *buf, size_t *begin, size_t *len)
{
    unsigned char head[12];
    size_t got = 0;
    const char *name = io_name(r->path);
    ann_err err = ANN_OK;
    if (r->map.data) {
        got = r->map.bytes < sizeof head ? r->map.bytes : sizeof head;
        memcpy(head, r->map.data, got);
    } else if ((err = io_take(r, head, 10, &got)) != 0) {
        return err;
    }
    if (got < 10 || memcmp(head, "\x93NUMPY", 6) != 0)
        return ANN_FAIL(ANN_EINVAL, "%s: not an npy file", name);
    if (head[6] < 1 || head[6] > 3 || head[7] != 0)
        return ANN_FAIL(ANN_EINVAL, "%s: npy version %d.%d; 1.0, 2.0 and 3.0 are read", name,
                        head[6], head[7]);
    size_t n = head[8] | (size_t)head[9] << 8;
    *begin = 10;
    if (head[6] > 1) {
        size_t more = 2;
        *begin = 12;
        if (!r->map.data && (err = io_take(r, head + 10, 2, &more)) != 0)
            return err;
        if (more < 2 || (r->map.data && got < 12))
            return ANN_FAIL(ANN_EINVAL, "%s: cut short at byte %zu", name, got);
        n |= (size_t)head[10] << 16 | (size_t)head[11] << 24;
    }
    if (n > HEADER_MAX)
        return ANN_FAIL(ANN_EINVAL, "%s: a header of %zu bytes; at most %zu are read", name, n,
                        HEADER_MAX);
    got = n;
    if (!r->map.data)
        err = io_take(r, buf, n, &got);
    else if (n > r->map.bytes - *begin)
        got = r->map.bytes - *begin;
    else
        memcpy(buf, r->map.data + *begin, n);
    if (!err && got < n)
        err = ANN_FAIL(ANN_EINVAL, "%s: cut short in its header, at byte %zu", name,
                       *begin + got);
    *len = n;
    return err;
}

ann_err npy_open(struct io_reader *r)
{
    size_t begin = 0, len = 0;
    char *text = mem_alloc(HEADER_MAX);
    if (!text)
        return ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", HEADER_MAX);
    ann_err err = fetch(r, text, &begin, &len);
    if (err)
        goto done;
    struct parse p = {.path = r->path, .text = text, .len = len};
    enum io_type type = IO_ANY;
    if ((err = dictionary(&p)) != 0 || (err = element_type(&p, &type)) != 0)
        goto done;
    if (p.fortran && p.rank == 2) {
        err = ANN_FAIL(
            ANN_EINVAL,
            "%s: columns lie together (Fortran order); save numpy.ascontiguousarray of it",
            io_name(r->path));
        goto done;
    }
    r->offset = begin + len;
    r->disk = type;
    r->shape.n = p.shape[0];
    r->shape.dim = p.rank == 2 ? p.shape[1] : 1;
    r->shape.rank = p.rank;
done:
    mem_free(text);
    return err;
}

ann_err npy_head(char *head, enum io_type type, size_t n, size_t dim, unsigned rank)
{
    const char *code = NULL;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (codes[i].type == type)
            code = codes[i].code;
    if (!code)
        return ANN_FAIL(ANN_EINVAL, "npy has no elements of type %s", io_type_name(type));
    char second[24] = "";
    if (rank != 1)
        snprintf(second, sizeof second, " %zu", dim);
    const int used = snprintf(head + 10, NPY_HEAD_BYTES - 10,
                              "{'descr': '%c%s', 'fortran_order': False, 'shape': (%zu,%s), }",
                              code[1] == '1' ? '|' : '<', code, n, second);
    memcpy(head, "\x93NUMPY\x01\x00", 8);
    head[8] = NPY_HEAD_BYTES - 10;
    head[9] = 0;
    memset(head + 10 + used, ' ', (size_t)(NPY_HEAD_BYTES - 11 - used));
    head[NPY_HEAD_BYTES - 1] = '\n';
    return ANN_OK;
}
