/*
 * Lists with neon.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "vf_neon.h"

#include "body_lists.h"

DEFINE_LISTS(neon);
