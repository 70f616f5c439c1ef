/* packed.h - the codes of what passes a filter, side by side, for scans, which else wait for
 * memory at each.
 *
 * Place: search; a filter owns it (filter.c), a kind that scans codes makes and reads it
 * (sieve.c).
 *
 * Invariant: it is made once for each generation of codes, of what passed and was live then, and
 * read only when it is whole; what has been removed since a scan still meets. */
#ifndef KITH_SEARCH_PACKED_H
#define KITH_SEARCH_PACKED_H

#include "ann/search/edition.h"
#include "ann/vectors/vectors.h"

struct packed_codes {
    uint32_t n;
    struct buf slots; /* u32 [n], ascending */
    struct buf codes; /* u8 [n, stride] of the codes */
    struct buf norms; /* i32 [n] */
    edition generation; /* of the codes that were packed */
};

/* Where a filter keeps them. */
struct packed_place {
    struct packed_codes *_Atomic packed;
    _Atomic uint32_t scans; /* before there were any */
};

/* Whether `count` codes are packed for scans: no more than a sixteenth of all. */
static inline bool packed_pays(const struct vectors *v, uint32_t count)
{
    return count <= v->live / 16;
}

/* Those of a filter's bitmap [allowed_slots] with `count` ones, for one more scan; made at the
 * second.  NULL at the first, without memory, where that does not pay, and while another search
 * makes them. */
const struct packed_codes *packed_get(struct packed_place *place, const struct vectors *v,
                                      const uint64_t *allowed, uint32_t allowed_slots,
                                      uint32_t count);
void packed_free(struct packed_codes *p);

/* v's codes, but of the packed ones: their places are the slots. */
static inline struct codes packed_view(const struct packed_codes *p, const struct vectors *v)
{
    struct codes view = v->codes;
    view.data = p->codes;
    view.norms = p->norms;
    return view;
}

#endif
