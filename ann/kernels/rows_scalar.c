/*
 * Rows in plain C, and which table goes with which.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "body_rows.h"

DEFINE_ROWS(scalar);

const struct annk_row_ops *annk_rows_for(const char *name)
{
    static const struct annk_row_ops *const tables[] = {
#ifdef HAVE_AVX512
        &annk_rows_avx512,
#endif
#ifdef HAVE_AVX2
        &annk_rows_avx2,
#endif
#ifdef HAVE_NEON
        &annk_rows_neon,
#endif
    };
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        if (strcmp(tables[i]->name, name) == 0)
            return tables[i];
    return &annk_rows_scalar;
}
