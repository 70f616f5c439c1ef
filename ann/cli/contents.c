/* contents.c - the vectors of an index, block by block, as they are stored.
 *
 * Place: ann/cli.  ann_get gives f32; what the index stores is exactly representable there, so
 * turning it back loses nothing. */
#include <config.h>

#include "ann/base/memory.h"
#include "ann/cli/cli.h"

static enum io_type row_type(ann_dtype store)
{
    switch (store) {
    case ANN_F16: return IO_F16;
    case ANN_I8: return IO_I8;
    case ANN_U8:
    case ANN_B1: return IO_U8;
    default: return IO_F32;
    }
}

ann_err contents_start(const ann_index *ix, struct contents *c)
{
    *c = (struct contents){.ix = ix, .info = {.size = ANN_INFO_SIZE}};
    const ann_err err = io_library(ann_index_info(ix, &c->info));
    if (err)
        return err;
    c->type = row_type(c->info.store);
    c->dim = c->info.store == ANN_B1 ? (c->info.dim + 7) / 8 : c->info.dim;
    c->room = input_block_rows(c->info.dim);
    if (c->room > c->info.count)
        c->room = c->info.count ? c->info.count : 1;
    c->ids = mem_zalloc(c->room, sizeof *c->ids);
    c->floats = mem_zalloc(c->info.dim, sizeof *c->floats);
    c->rows = mem_zalloc(c->room, c->dim * io_type_bytes(c->type));
    if (!c->ids || !c->floats || !c->rows) {
        contents_end(c);
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %zu vectors", c->room);
    }
    return ANN_OK;
}

void contents_end(struct contents *c)
{
    mem_free(c->ids);
    mem_free(c->floats);
    mem_free(c->rows);
    c->ids = NULL;
    c->floats = NULL;
    c->rows = NULL;
}

static void pack(const float *bits, size_t n, unsigned char *bytes)
{
    for (size_t i = 0; i < n; i++) {
        if (i % 8 == 0)
            bytes[i / 8] = 0;
        bytes[i / 8] |= (unsigned char)((bits[i] != 0) << (i % 8));
    }
}

ann_err contents_next(struct contents *c, struct io_matrix *rows, size_t *n)
{
    const size_t row = c->dim * io_type_bytes(c->type);
    ann_err err = io_library(ann_ids(c->ix, &c->cursor, c->room, c->ids, n));
    for (size_t i = 0; !err && i < *n; i++) {
        char *to = (char *)c->rows + i * row;
        size_t bad;
        if ((err = io_library(ann_get(c->ix, c->ids[i], c->floats))) != 0)
            break;
        if (c->info.store == ANN_B1)
            pack(c->floats, c->info.dim, (unsigned char *)to);
        else if (!io_convert(c->type, to, IO_F32, c->floats, c->dim, &bad))
            err = ANN_FAIL(ANN_EDAMAGED, "id %llu, element %zu: %g is not of the stored type",
                           (unsigned long long)c->ids[i], bad, (double)c->floats[bad]);
    }
    if (!err && session_interrupted())
        err = ANN_FAIL(ANN_ECANCELED, "interrupted");
    *rows = (struct io_matrix){.data = c->rows, .n = err ? 0 : *n, .dim = c->dim,
                               .stride = c->dim, .type = c->type, .rank = 2};
    return err;
}
