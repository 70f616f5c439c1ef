/* ivfpq.h - inverted lists of product-quantised codes: the data and what its files share.
 *
 * Sources: Jegou, Douze, Schmid, "Product quantization for nearest neighbor search", TPAMI
 * 2011; Andre, Kermarrec, Le Scouarnec, "Cache locality is not enough", VLDB 2015 (fast scan);
 * Sun et al., "SOAR", NeurIPS 2023 (the second list).  docs/ivfpq.md says how it works and
 * where we depart.
 *
 * train.c learning             space.c where codes are made
 * coarse.c, graph.c which lists are near      lists.c memory
 * add.c assigning and encoding, removing      stops.c what effort means
 * search.c one query            batch.c many
 * ivfpq_file.c sections, check and the kind table
 *
 * The distance of a query q to a vector x in the list of centroid c with code r^ is, in the
 * space,
 *
 *     |q - c - r^|^2 = |q - c|^2 + (|r^|^2 + 2 <c, r^>) - 2 <q, r^>
 *
 * whose parts are the list's, the vector's (bias) and a sum over tables that are made once a
 * query. Where codes are direct, c is 0.
 *
 * Invariants: every live slot stands in one list (soar: in two different ones), in each once;
 * entries of dead slots stay until a sweep; a list's places [n, room) are never read. */
#ifndef KITH_IVFPQ_IVFPQ_H
#define KITH_IVFPQ_IVFPQ_H

#include "ann/codec/frame.h"
#include "ann/codec/pq.h"
#include "ann/kernels/lists.h"
#include "ann/search/kind.h"

#define IVF_STOPS      11    /* 1, 2, ... 1024 lists */
#define IVF_GRAPH_FROM 16384 /* lists, for a graph of their centroids */
#define IVF_GROUP      16    /* places come in so many */

struct ivf_list {
    uint8_t *codes;  /* annk_list_bytes of n */
    uint16_t *bias;  /* f16 [room] */
    uint32_t *slots; /* [room] */
    uint32_t n, room;
    struct buf own; /* all three, where the list has outgrown the arena */
};

struct ivfpq {
    struct vectors *vec;
    const struct annk_list_ops *ops;
    ann_options asked; /* nlist, pq_m, rotation, ... as given, 0 where training decides */

    /* Learned; nothing of it changes while there are entries. */
    uint64_t trained; /* vectors learned from; 0: not trained */
    ann_rotation rotation;
    struct frame frame;
    struct buf turn; /* f32 [dim, dim]: rotation opq */
    uint32_t dim;    /* of the space */
    uint32_t nlist;
    struct buf centroids; /* f32 [nlist, dim] */
    struct pq pq;
    uint32_t m; /* of pq, padded for the kernels */
    size_t code_bytes;
    float eta;         /* of the anisotropic loss; 1: plain */
    struct buf origin; /* f32 [dim]: the space's image of 0, for the anisotropic loss */

    /* Derived: not in the file. */
    struct buf table;        /* u8: centroids in 8 bits (kernels/lists.h) */
    struct buf norms;        /* f32 [nlist rounded up to 16]: squared */
    struct ivf_graph *graph; /* of the centroids, or NULL */
    struct buf numbers;      /* u32 [nlist]: 0, 1, 2, ... */
    size_t table_groups;     /* of four dimensions */
    float table_step;

    struct buf
        space; /* the file's section of the frame: made once, as saving allocates nothing */
    struct buf sizes;              /* u32 [nlist]: another section, filled in by saving */
    struct ivf_list *lists;        /* [nlist] */
    struct buf codes, bias, slots; /* the arena: lists one after the other, as in the file */
    bool scattered;                /* some list has left the arena */
    uint64_t entries, dead;

    float stops[IVF_STOPS]; /* stops.c: gamma at which 2^i lists are looked at on average; */
    uint64_t stops_entries; /* entries there were when it was learned */

    double
        trained_error; /* mean squared error by mean squared length, of what was learned from */
    double error_sum, length_sum; /* of all added since */
};

/* Lists that each vector stands in. */
static inline uint32_t ivf_copies(const struct ivfpq *h)
{
    return h->asked.soar && h->nlist > 1 ? 2 : 1;
}

/* Slots come from a file that may change beneath a mapping. */
static inline bool ivf_entry_is_live(const struct ivfpq *h, uint32_t slot)
{
    return slot < h->vec->slots && vectors_is_live(h->vec, slot);
}

/* space.c */
ann_err ivf_space_open(struct ivfpq *h, ann_rotation rotation);
void ivf_space_close(struct ivfpq *h);
/* y [dim] of a vector x as vectors_query gives it; room: f32 [dim].  Under ip *over is what a
 * vector longer than the lift has too much in its squared distances. */
void ivf_space_vector(const struct ivfpq *h, const float *x, float *y, float *room,
                      float *over);
/* y of a query; raw distance = *scale * distance in the space + *shift. */
void ivf_space_query(const struct ivfpq *h, const float *q, float *y, float *room,
                     double *scale, double *shift);

/* coarse.c */
ann_err ivf_coarse_make(struct ivfpq *h);
void ivf_coarse_free(struct ivfpq *h);

/* graph.c */
/* The kind that finds the nearest of many centroids; the front door says which. */
extern const struct kind *const ivf_graph_kind;
struct ivf_graph;
/* h->graph, if there are many lists. */
ann_err ivf_graph_make(struct ivfpq *h, struct pool *pool);
void ivf_graph_free(struct ivf_graph *g);       /* NULL is allowed */
uint64_t ivf_graph_held(const struct ivfpq *h); /* bytes of memory */

/* lists.c */
ann_err ivf_lists_open(struct ivfpq *h); /* h->lists, all empty */
void ivf_lists_close(struct ivfpq *h);
/* Room for `more` [nlist] entries in each list; under the gate. */
ann_err ivf_lists_reserve(struct ivfpq *h, const uint32_t *more);
/* Entries that are reserved: list, slot, bias and code [m] of each of n; more as above, used
 * up. */
void ivf_lists_append(struct ivfpq *h, uint32_t *more, size_t n, const uint32_t *lists,
                      const uint32_t *slots, const uint16_t *bias, const uint8_t *codes);
/* The arena laid out anew with what is live; takes the gate.  The slots of the dead are given
 * back. */
ann_err ivf_lists_pack(struct ivfpq *h, const struct kind_job *job);
/* Lists of `sizes` [nlist] over the arena as it is. */
void ivf_lists_point(struct ivfpq *h, const uint32_t *sizes);
uint64_t ivf_lists_held(const struct ivfpq *h);  /* bytes of memory */
uint64_t ivf_lists_bytes(const struct ivfpq *h); /* of memory or mapping */

/* train.c */
enum code_type ivfpq_choose_codes(const ann_options *o);
ann_err ivfpq_train(void *state, const ann_view *sample, const struct kind_job *job);
uint32_t ivfpq_choose_nlist(const struct ivfpq *h, uint64_t n);

/* How many of n vectors are learned from. */
uint64_t ivfpq_learned_from(const struct ivfpq *h, uint64_t n);
uint32_t ivfpq_choose_m(const struct ivfpq *h, uint32_t dim);
/* Everything learned is forgotten; there are no entries. */
void ivfpq_forget(struct ivfpq *h);

/* add.c */
ann_err ivfpq_add(void *state, const uint32_t *slots, size_t n, const struct kind_job *job);
void ivfpq_remove(void *state, const uint32_t *slots, size_t n);
ann_err ivfpq_sweep(void *state, bool now, const struct kind_job *job);
/* Bias and squared error of a vector y [dim] in a list, and its code [m padded], given room f32
 * [2 * dim + 2 * pq.m << pq.bits]. */
float ivf_encode(const struct ivfpq *h, const float *y, uint32_t list, float over,
                 uint8_t *code, uint16_t *bias, float *room);
size_t ivf_encode_room(const struct ivfpq *h); /* floats */

/* stops.c */
/* Learns h->stops anew if it is time; takes the gate to put them in place. */
ann_err ivf_stops_learn(struct ivfpq *h, const struct kind_job *job);

/* search.c */
void ivfpq_needs(const void *state, const struct kind_query *q, size_t *keys, size_t *batch);
ann_err ivfpq_search(const void *state, const struct kind_query *q, struct scratch *s,
                     search_key *out, size_t *found);

/* batch.c */
ann_err ivfpq_search_batch(const void *state, const struct kind_query *q, const float *queries,
                           size_t nq, struct pool *pool, search_key *out, size_t *found);

/* ivfpq_file.c */
ann_err ivfpq_write_space(struct ivfpq *h);
ann_err ivfpq_check(const void *state, ann_check_level level);

extern const struct kind ivfpq_kind;

#endif
