/*
 * Lists in plain C, and which table goes with which.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "vf_scalar.h"

#include "body_lists.h"

DEFINE_LISTS(scalar);

const struct annk_list_ops *annk_lists_for(const char *name)
{
    static const struct annk_list_ops *const tables[] = {
#ifdef HAVE_AVX512
        &annk_lists_avx512,
#endif
#ifdef HAVE_AVX2
        &annk_lists_avx2,
#endif
#ifdef HAVE_NEON
        &annk_lists_neon,
#endif
        &annk_lists_scalar,
    };
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        if (strcmp(tables[i]->name, name) == 0)
            return tables[i];
    return &annk_lists_scalar;
}
