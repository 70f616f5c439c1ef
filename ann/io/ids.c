/* ids.c - lists of ids: decimal text, one a line, or integers of npy and ivecs files.
 *
 * Place: ann/io.  Invariant: an id is 0 .. 2^64 - 2; anything else is told with its line. */
#include <config.h>

#include <string.h>

#include "ann/base/memory.h"
#include "ann/io/source.h"

#define TEXT_MAX ((size_t)16 << 30)

static ann_err push(ann_id **ids, size_t *n, size_t *room, ann_id id)
{
    if (*n == *room) {
        const size_t more = *room ? *room * 2 : 1024;
        ann_id *p = mem_resize(*ids, more * sizeof *p);
        if (!p)
            return ANN_FAIL(ANN_ENOMEM, "out of memory for %zu ids", more);
        *ids = p;
        *room = more;
    }
    (*ids)[(*n)++] = id;
    return ANN_OK;
}

static ann_err one(const char *path, size_t line, const char *s, size_t len, ann_id *out)
{
    uint64_t v = 0;
    bool ok = len > 0;
    for (size_t i = 0; ok && i < len; i++)
        ok = s[i] >= '0' && s[i] <= '9' && !__builtin_mul_overflow(v, 10, &v) &&
             !__builtin_add_overflow(v, (uint64_t)(s[i] - '0'), &v);
    if (!ok || v == ANN_NO_ID)
        return ANN_FAIL(ANN_EINVAL, "%s: line %zu: '%.*s' is no id (0 to 18446744073709551614)",
                        io_name(path), line, (int)(len < 40 ? len : 40), s);
    *out = v;
    return ANN_OK;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static ann_err from_text(const char *path, const char *text, size_t bytes, ann_id **ids,
                         size_t *n)
{
    size_t room = 0, line = 1;
    for (size_t at = 0; at < bytes; line++) {
        const char *newline = memchr(text + at, '\n', bytes - at);
        size_t end = newline ? (size_t)(newline - text) : bytes, begin = at;
        at = end + 1;
        while (begin < end && blank(text[begin]))
            begin++;
        while (end > begin && blank(text[end - 1]))
            end--;
        if (begin == end || text[begin] == '#')
            continue;
        ann_id id;
        ann_err err = one(path, line, text + begin, end - begin, &id);
        if (!err)
            err = push(ids, n, &room, id);
        if (err)
            return err;
    }
    return ANN_OK;
}

static ann_err from_matrix(const char *path, const struct io_matrix *m, ann_id **ids, size_t *n)
{
    if (m->rank == 2 && m->dim != 1 && m->n != 1)
        return ANN_FAIL(ANN_EINVAL,
                        "%s: %zu rows of %zu numbers; ids are one row or one column",
                        io_name(path), m->n, m->dim);
    if (m->type == IO_F32 || m->type == IO_F16)
        return ANN_FAIL(ANN_EINVAL, "%s: elements of type %s; ids are whole numbers",
                        io_name(path), io_type_name(m->type));
    const size_t count = m->n * m->dim;
    ann_id *all = mem_alloc(count * sizeof *all);
    if (!all)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %zu ids", count);
    for (size_t i = 0; i < m->n; i++) {
        size_t bad = 0;
        const bool ok =
            io_convert(IO_U64, all + i * m->dim, m->type, io_row(m, i), m->dim, &bad);
        for (size_t j = 0; ok && j < m->dim; j++)
            bad = all[i * m->dim + j] == ANN_NO_ID ? j + 1 : bad;
        if (!ok || bad > 0) {
            mem_free(all);
            return ANN_FAIL(ANN_EINVAL, "%s: row %zu: not an id (0 to 18446744073709551614)",
                            io_name(path), i);
        }
    }
    *ids = all;
    *n = count;
    return ANN_OK;
}

ann_err io_load_ids(const char *path, ann_id **ids, size_t *n)
{
    const enum io_format f = io_format_of(path);
    ann_id *list = NULL;
    size_t count = 0;
    ann_err err;
    if (f == IO_AUTO) {
        char *text;
        size_t bytes;
        if ((err = io_slurp(path, TEXT_MAX, &text, &bytes)) != 0)
            return err;
        err = from_text(path, text, bytes, &list, &count);
        mem_free(text);
    } else {
        struct io_matrix m;
        if ((err = io_load(path, NULL, &m)) != 0)
            return err;
        err = from_matrix(path, &m, &list, &count);
        io_free(&m);
    }
    if (err) {
        mem_free(list);
        return err;
    }
    *ids = list;
    *n = count;
    return ANN_OK;
}
