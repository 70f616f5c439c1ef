/*
 * Rows, as the compiler does them with this instruction set.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "body_rows.h"

DEFINE_ROWS(neon);
