/* idmap.h - the caller's ids: slot -> id and id -> slot.
 *
 * Place: beside vectors.  Invariant: as long as every slot's id is its own number nothing is
 * stored; the first other id makes the array and the table.  The table is open addressing with
 * linear probing, at most 3/4 full; a slot in it is live, or about to be. */
#ifndef KITH_IDMAP_H
#define KITH_IDMAP_H

#include "ann/vectors/vectors.h"

struct idmap {
    struct buf ids;   /* u64 [slots]; empty: id == slot */
    struct buf table; /* u32 [capacity]: slot + 1, 0 = empty */
    uint32_t used;    /* entries in the table */
    ann_id next;      /* for an unnumbered add */
};

void idmap_free(struct idmap *m);

/* The id of a slot. */
static inline ann_id idmap_id(const struct idmap *m, uint32_t slot)
{
    return m->ids.bytes ? ((const ann_id *)m->ids.data)[slot] : slot;
}

/* The live slot of an id, or SLOT_NONE. */
uint32_t idmap_find(const struct idmap *m, const struct vectors *v, ann_id id);

/* Room for n more, numbered identically to their slots or not; makes the arrays if not. */
ann_err idmap_reserve(struct idmap *m, const struct vectors *v, uint32_t slots_after,
                      uint32_t n, bool identity);

/* Enters slot under id (room reserved; id not in the map). */
void idmap_put(struct idmap *m, uint32_t slot, ann_id id);

/* Takes an id out; the slot keeps it in ids until it is used again. */
void idmap_remove(struct idmap *m, ann_id id);

/* After vectors_renumber. */
ann_err idmap_renumber(struct idmap *m, const uint32_t *new_slot, uint32_t old_slots,
                       uint32_t kept);

/* Makes the table from ids, after loading.  ANN_EDAMAGED for an id that stands twice. */
ann_err idmap_rebuild(struct idmap *m, const struct vectors *v);

#endif
