/* filter.c - the set of vectors that may be results, as a bitmap over slots.
 *
 * Place: front door.  Invariant: a filter speaks of the vectors that were live when it was
 * made: removed ones are sorted out by the search, later ones by their slot or, where a slot
 * was used again, by the number of the add that filled it. */
#include <config.h>

#include "ann/base/error.h"
#include "ann/internal.h"

static ann_err filter_new(const ann_index *ix, ann_filter **out)
{
    ann_filter *f = mem_zalloc(1, sizeof *f);
    if (f)
        f->bits = mem_zalloc(1, bitmap_bytes(ix->vec.slots));
    if (!f || !f->bits) {
        mem_free(f);
        return ANN_FAIL(ANN_ENOMEM, "out of memory for a filter over %u slots", ix->vec.slots);
    }
    f->ix = ix;
    f->slots = ix->vec.slots;
    f->adds = ix->vec.adds;
    f->compactions = ix->compactions;
    *out = f;
    return ANN_OK;
}

static void pass(ann_filter *f, uint32_t slot)
{
    const uint64_t bit = UINT64_C(1) << (slot & 63);
    f->count += !(f->bits[slot >> 6] & bit);
    f->bits[slot >> 6] |= bit;
}

ann_err ann_filter_from_ids(const ann_index *ix, size_t n, const ann_id *ids, ann_filter **out)
{
    if (!ix || !out || (n > 0 && !ids))
        return ANN_FAIL(ANN_EINVAL, "an argument is NULL");
    ann_filter *f = NULL;
    ann_err err = index_ids_ready(ix);
    if (err)
        return err;
    pthread_rwlock_rdlock(index_gate(ix));
    err = filter_new(ix, &f);
    for (size_t i = 0; i < n && !err; i++) {
        const uint32_t slot = idmap_find(&ix->ids, &ix->vec, ids[i]);
        if (slot != SLOT_NONE)
            pass(f, slot);
    }
    pthread_rwlock_unlock(index_gate(ix));
    if (!err)
        *out = f;
    return err;
}

ann_err ann_filter_from_callback(const ann_index *ix, int (*passes)(void *arg, ann_id id),
                                 void *arg, ann_filter **out)
{
    if (!ix || !out || !passes)
        return ANN_FAIL(ANN_EINVAL, "an argument is NULL");
    ann_filter *f = NULL;
    pthread_rwlock_rdlock(index_gate(ix));
    const ann_err err = filter_new(ix, &f);
    for (uint32_t s = 0; !err && s < ix->vec.slots; s++)
        if (vectors_is_live(&ix->vec, s) && passes(arg, idmap_id(&ix->ids, s)))
            pass(f, s);
    pthread_rwlock_unlock(index_gate(ix));
    if (!err)
        *out = f;
    return err;
}

size_t ann_filter_count(const ann_filter *f)
{
    return f ? f->count : 0;
}

void ann_filter_close(ann_filter *f)
{
    if (!f)
        return;
    mem_free(f->bits);
    passing_free(f->kept.links.table);
    packed_free(f->kept.codes.packed);
    subrows_free(f->kept.rows.rows);
    mem_free(f);
}
