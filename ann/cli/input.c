/* input.c - vectors on their way into the library.
 *
 * Place: ann/cli. */
#include <config.h>

#include "ann/cli/cli.h"

/* As f32; large enough that an index grows in few steps. */
#define BLOCK_BYTES ((size_t)64 << 20)

int input_options(const struct args *a, struct io_options *o)
{
    *o = (struct io_options){.dim = a->dim, .max_memory = a->max_memory};
    if (a->from)
        (void)io_format_parse(a->from, &o->format);
    if (a->type)
        (void)io_type_parse(a->type, &o->type);
    return o->format == IO_RAW && (o->dim == 0 || o->type == IO_ANY)
               ? cli_usage(a, "--from raw needs --dim and --type")
               : -1;
}

size_t input_block_rows(size_t dim)
{
    const size_t rows = BLOCK_BYTES / (4 * dim);
    return rows > 0 ? rows : 1;
}

ann_err input_view(const char *path, const struct io_matrix *m, ann_dtype store, uint32_t dim,
                   ann_view *v)
{
    struct io_matrix rows = *m;
    ann_err err = ANN_OK;
    if (store == ANN_B1 && rows.type == IO_U8)
        err = io_as_bits(&rows);
    if (!err)
        err = io_view(&rows, v);
    if (err)
        return error_prefix(err, path);
    const size_t bytes = rows.type == IO_B1 ? (dim + 7) / 8 : dim;
    if (rows.type == IO_B1 ? (rows.dim + 7) / 8 != bytes : rows.dim != dim)
        return ANN_FAIL(ANN_EDIM, "%s: rows of %zu numbers; the index has %u", path, rows.dim,
                        dim);
    return ANN_OK;
}
