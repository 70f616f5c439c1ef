/* flat.h - exact search: the oracle of every recall figure.  See flat.c. */
#ifndef KITH_FLAT_FLAT_H
#define KITH_FLAT_FLAT_H

#include "ann/search/kind.h"

extern const struct kind flat_kind;

#endif
