/* vectors.h - the vectors of an index by slot, and which slots are live.
 *
 * Place: above base and kernels, below the kinds.  A slot is a u32 row number; ids are idmap's.
 * Invariants: data [slots, stride] with zeros behind each row's dim elements; under cosine a
 * float row has unit norm; a slot is live, removed (dead but still linked) or free (on the free
 * list). */
#ifndef KITH_VECTORS_H
#define KITH_VECTORS_H

#include <stdbool.h>
#include <stdint.h>

#include "ann/base/memory.h"
#include "ann/kernels/kernels.h"

#define SLOT_NONE UINT32_MAX
#define SLOTS_MAX UINT32_C(0x7fffffff) /* 31 bits, so that a search key has one to spare */

struct vectors {
    const struct annk_ops *ops;
    ann_metric metric;
    ann_dtype store;
    uint32_t dim;
    size_t row_bytes;    /* of the dim elements */
    size_t stride;       /* of a row, bytes */
    size_t query_bytes;  /* of a prepared query: f32 for float stores, else the stored type */
    annk_dist_fn dist;
    annk_many_fn many;
    struct buf data;     /* [slots, stride] */
    struct buf live_map; /* bitmap of u64 words: 1 = live */
    struct buf born; /* u32 [slots], empty until a slot is used again: the add that filled it */
    struct buf free_list;/* u32 [free] */
    uint32_t slots;      /* in use or free */
    uint32_t live;
    uint32_t free;
    uint32_t adds;       /* counts the adds, for born */
};

/* Fills in the fields for these options.  ANN_EINVAL, ANN_ENOTSUP if they do not go together.
 */
ann_err vectors_init(struct vectors *v, ann_metric metric, ann_dtype store, uint32_t dim);
void vectors_free(struct vectors *v);

static inline const void *vectors_row(const struct vectors *v, uint32_t slot)
{
    return (const char *)v->data.data + (size_t)slot * v->stride;
}

static inline bool vectors_is_live(const struct vectors *v, uint32_t slot)
{
    return ((const uint64_t *)v->live_map.data)[slot >> 6] >> (slot & 63) & 1;
}

static inline size_t bitmap_bytes(uint32_t slots)
{
    return ((size_t)slots + 63) / 64 * sizeof(uint64_t);
}

/* Room for `extra` more vectors, so that placing them cannot fail. */
ann_err vectors_reserve(struct vectors *v, uint32_t extra);

/* Takes a free slot or a new one (room must be reserved); it is dead until vectors_set_live. */
uint32_t vectors_take_slot(struct vectors *v);
/* Gives a dead slot back; without memory to note it, it stays unused until a compaction. */
void vectors_give_slot(struct vectors *v, uint32_t slot);
void vectors_set_live(struct vectors *v, uint32_t slot, bool live);

/* Checks dtype, dimension and values of a view: finite, not zero under cosine, within the range
 * of the store.  what: "vector" or "query", for the message. */
ann_err vectors_check(const struct vectors *v, const ann_view *view, const char *what);

/* Writes row i of a checked view into a slot. scratch: [dim] floats. */
void vectors_put(struct vectors *v, uint32_t slot, const ann_view *view, size_t i,
                 float *scratch);

/* Row i of a checked view as a prepared query at out [query_bytes]. */
void vectors_query(const struct vectors *v, const ann_view *view, size_t i, void *out);

/* A stored row as a prepared query. */
void vectors_row_query(const struct vectors *v, uint32_t slot, void *out);

/* A stored row as dim floats. */
void vectors_get(const struct vectors *v, uint32_t slot, float *out);

/* A kernel's value as the metric's distance. */
float vectors_distance(const struct vectors *v, float raw);

/* Drops free and dead slots: new_slot [slots] (SLOT_NONE for dropped), order kept. */
void vectors_renumber(struct vectors *v, const uint32_t *new_slot, uint32_t kept);

/* ANN_EDAMAGED for a live row that is not finite, not of unit norm under cosine. */
ann_err vectors_verify(const struct vectors *v);

/* f32 or f16 or bf16: what the float kernels read. */
static inline bool dtype_is_float(ann_dtype t)
{
    return t == ANN_F32 || t == ANN_F16 || t == ANN_BF16;
}
size_t dtype_row_bytes(ann_dtype t, size_t dim);
const char *dtype_name(ann_dtype t);
const char *metric_name(ann_metric m);

#endif
