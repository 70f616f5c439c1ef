/*
 * Lists with avx2.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "vf_avx2.h"

#include "body_lists.h"

DEFINE_LISTS(avx2);
