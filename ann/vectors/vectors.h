/* vectors.h - the vectors of an index by slot, their codes, and which slots are live.
 *
 * Place: above base, kernels and codec, below the kinds.  A slot is a u32 row number; ids are
 * idmap's.
 *
 * A prepared query is one buffer: the raw query, and where there are codes, on the next cache
 * line, a struct code_query.  vectors_query makes the first part, without any lock; the second
 * depends on the frame, which an add may replace, so vectors_query_codes makes it under the
 * gate.
 *
 * Invariants: data [slots, stride] with zeros behind each row's dim elements, or stride 0 and
 * nothing in it where codes are all there is (store none); codes are those of the rows as they
 * are stored, and with neither rows nor codes the kind keeps what there is; under cosine a float row has unit norm; a slot is live, removed (dead but still
 * linked) or free (on the free list). */
#ifndef KITH_VECTORS_H
#define KITH_VECTORS_H

#include <stdbool.h>
#include <stdint.h>

#include "ann/base/memory.h"
#include "ann/base/pool.h"
#include "ann/codec/codes.h"
#include "ann/kernels/kernels.h"

#define SLOT_NONE UINT32_MAX
#define SLOTS_MAX UINT32_C(0x7fffffff) /* 31 bits, so that a search key has one to spare */

struct vectors {
    const struct annk_ops *ops;
    ann_metric metric;
    ann_dtype store;
    uint32_t dim;
    size_t row_bytes;   /* of the dim elements */
    size_t stride;      /* of a row, bytes; 0: there are codes alone */
    size_t query_bytes; /* of a prepared query */
    size_t raw_bytes; /* of its first part: f32 [dim], or the stored type if that is integers */
    size_t code_at;   /* where its second part begins; 0: no codes */
    annk_dist_fn dist; /* NULL in store none, as is many */
    annk_many_fn many;
    struct buf data;     /* [slots, stride] */
    struct codes codes;  /* CODE_NONE: there are none */
    struct buf live_map; /* bitmap of u64 words: 1 = live */
    struct buf born; /* u32 [slots], empty until a slot is used again: the add that filled it */
    struct buf free_list; /* u32 [free] */
    uint32_t slots;       /* in use or free */
    uint32_t live;
    uint32_t free;
    uint32_t adds; /* counts the adds, for born */
};

/* Fills in the fields for these options.  ANN_EINVAL, ANN_ENOTSUP if they do not go together.
 * seed: of the codes' rotation. */
ann_err vectors_init(struct vectors *v, ann_metric metric, ann_dtype store, uint32_t dim,
                     enum code_type codes, uint64_t seed);
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

/* Floats that vectors_put and vectors_decode need for their work. */
static inline size_t vectors_scratch(const struct vectors *v)
{
    return v->dim + (v->codes.type ? 2 * (size_t)v->codes.frame.padded : 0);
}

/* Writes row i of a checked view into a slot, and its code; returns the code's error, 0 without
 * codes.  scratch: [vectors_scratch] floats. */
float vectors_put(struct vectors *v, uint32_t slot, const ann_view *view, size_t i,
                  float *scratch);

/* Row i of a checked view as the raw part of a prepared query, at out [raw_bytes]. */
void vectors_query(const struct vectors *v, const ann_view *view, size_t i, void *out);

static inline struct code_query *vectors_code_query(const struct vectors *v, const void *query)
{
    return (struct code_query *)((uintptr_t)query + v->code_at);
}

/* The rest of a prepared query on a cache line; nothing without codes.  Under the gate, which
 * must be held as long as the query is used. */
static inline void vectors_query_codes(const struct vectors *v, void *query)
{
    if (v->codes.type)
        codes_query(&v->codes, query, vectors_code_query(v, query));
}

/* A stored row as the raw part of a prepared query (of float vectors). */
void vectors_row_query(const struct vectors *v, uint32_t slot, void *out);

/* A stored row as dim floats; vectors_decode also in store none, what the code stands for then.
 * scratch: [vectors_scratch] floats. */
void vectors_get(const struct vectors *v, uint32_t slot, float *out);
void vectors_decode(const struct vectors *v, uint32_t slot, float *out, float *scratch);

/* Exact distances, as kernels give them, from a prepared query to slots: to the rows, or in
 * store none to what the codes stand for. */
void vectors_many_coded(const struct vectors *v, const void *query, const uint32_t *slots,
                        size_t n, float *dists);

static inline void vectors_many(const struct vectors *v, const void *query,
                                const uint32_t *slots, size_t n, float *dists)
{
    if (v->many)
        v->many(query, v->data.data, v->stride, slots, n, v->dim, dists);
    else
        vectors_many_coded(v, query, slots, n, dists);
}

static inline float vectors_dist(const struct vectors *v, const void *query, uint32_t slot)
{
    float dist;
    vectors_many(v, query, &slot, 1, &dist);
    return dist;
}

/* A kernel's value as the metric's distance. */
float vectors_distance(const struct vectors *v, float raw);

/* Drops free and dead slots: new_slot [slots] (SLOT_NONE for dropped), order kept. */
void vectors_renumber(struct vectors *v, const uint32_t *new_slot, uint32_t kept);

/* ANN_EDAMAGED for a live row that is not finite, not of unit norm under cosine, or a live code
 * that is not sound. */
ann_err vectors_verify(const struct vectors *v);

/* train.c */
/* Before rows of a checked view are put: if their codes call for another frame, all codes are
 * made again, aside, at *out; the caller puts them in place with vectors_swap_codes, under the
 * gate.  out->type CODE_NONE: nothing to do. */
ann_err vectors_train_codes(const struct vectors *v, const ann_view *view, struct pool *pool,
                            struct codes *out);
/* Exchanges v->codes with *other, once more to take it back; under the gate.  Codes that come back
 * are another generation, so that the next are not the one that was given up. */
void vectors_swap_codes(struct vectors *v, struct codes *other);

/* f32 or f16 or bf16: what the float kernels read. */
static inline bool dtype_is_float(ann_dtype t)
{
    return t == ANN_F32 || t == ANN_F16 || t == ANN_BF16;
}
/* Vectors come and go as floats. */
static inline bool vectors_are_floats(const struct vectors *v)
{
    return dtype_is_float(v->store) || v->store == ANN_NONE;
}
size_t dtype_row_bytes(ann_dtype t, size_t dim);
const char *dtype_name(ann_dtype t);
const char *metric_name(ann_metric m);

#endif
