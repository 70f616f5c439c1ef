/* query.h - one query on its way through the lists: shared by search.c, batch.c and stops.c.
 *
 * Place: ivfpq.
 *
 * How many lists are looked at depends on the query: lists are taken by the distance of their
 * centroids, and no more of them once the next is farther than `gamma` times the worst distance
 * that is still kept, or once there were `most`. */
#ifndef KITH_IVFPQ_QUERY_H
#define KITH_IVFPQ_QUERY_H

#include <math.h>

#include "ann/ivfpq/ivfpq.h"
#include "ann/search/reservoir.h"

#define IVF_RUN     1024 /* places scanned with one limit; a multiple of 64 */
#define IVF_SHORT   128  /* the same while there is no limit: all of them survive */
#define IVF_PORTION 16   /* lists taken before there is a limit to go by, at most */
#define IVF_LEAST   2    /* lists looked at whatever gamma says */

/* A list and how far its centroid is. */
struct ivf_probe {
    float dist; /* squared */
    uint32_t list;
};

/* What an effort stands for. */
struct ivf_effort {
    size_t least; /* lists that are looked at whatever gamma says */
    size_t most;  /* and at most, unless fewer than k are found */
    size_t depth; /* candidates kept */
    float gamma;
};

struct ivf_query {
    float *y;        /* [dim] */
    float *products; /* [pq.m << pq.bits] */
    uint8_t *table;  /* [m << pq.bits] */
    uint8_t *code;   /* [m] */
    float *lists;    /* [nlist]: distances of centroids, infinity where taken */
    struct annk_list_query scan;
    float least; /* of all table entries together */
    float base;  /* of every list, beside its own distance */
    float slack; /* how far above the limit a survivor of the scan may be, whose distance
                    is then taken anew; 0: it is taken as it is */
    struct reservoir found;
    double raw_scale, raw_shift;
};

/* Bytes that a piece of a query's room takes. */
static inline size_t ivf_rounded(size_t bytes)
{
    return (bytes + MEM_ALIGN - 1) / MEM_ALIGN * MEM_ALIGN;
}

/* ---- coarse.c ---- */

/* Bytes of a query's distances of centroids, and of what finding them needs for a moment. */
size_t ivf_coarse_bytes(const struct ivfpq *h);
size_t ivf_coarse_desk(const struct ivfpq *h);
/* Distances of all centroids from each of nq (1..ANNK_LIST_BATCH) y [dim]: its dists [nlist].
 */
void ivf_coarse_open(const struct ivfpq *h, const float *const *y, size_t nq, void *desk,
                     float *const *dists);
/* The nearest lists that were not taken yet and are nearer than bound, nearest first, at most
 * `most`: out.  They are taken now. */
size_t ivf_coarse_next(const struct ivfpq *h, float *dists, float bound, size_t most,
                       void *desk, struct ivf_probe *out);

/* ---- graph.c ---- */

/* As ivf_coarse_open for the `lists` nearest, more or less; the others are at infinity.  keys:
 * room for as many. */
ann_err ivf_graph_open(const struct ivfpq *h, const float *y, size_t lists,
                       struct scratch *outer, search_key *keys, float *dists);

/* ---- search.c ---- */

struct ivf_effort ivf_effort(const struct ivfpq *h, const struct kind_query *q);
/* Whether there are vectors or codes that decide among candidates. */
static inline bool ivf_has_vectors(const struct ivfpq *h)
{
    return h->vec->stride > 0 || h->vec->codes.type;
}

/* Bytes of a query's room, and the query laid out in it. */
size_t ivf_query_bytes(const struct ivfpq *h, size_t depth);
void ivf_query_lay(const struct ivfpq *h, size_t depth, void *room, struct ivf_query *out);
/* Bytes of desk that opening and taking lists need, beside probes; a multiple of MEM_ALIGN. */
size_t ivf_query_desk(const struct ivfpq *h);
/* The tables of a raw query, or (query NULL) of y as it stands there. */
void ivf_query_open(const struct ivfpq *h, const void *query, void *desk,
                    struct ivf_query *out);
/* The distances of centroids of nq (1..ANNK_LIST_BATCH) queries; of many lists, only those of
 * the `lists` nearest. */
ann_err ivf_query_coarse(const struct ivfpq *h, size_t lists, struct scratch *s, void *desk,
                         struct ivf_query *iq, size_t nq);

/* What a list adds to the sums of tables. */
static inline float ivf_query_base(const struct ivfpq *h, const struct ivf_query *iq,
                                   const struct ivf_probe *p)
{
    return h->asked.pq_of == ANN_PQ_DIRECT ? iq->base : iq->base + p->dist;
}

/* How far the next list may be. */
static inline float ivf_query_bound(const struct ivf_query *iq, float gamma)
{
    const float bound = gamma * iq->found.limit;
    return bound > 0 ? bound : 0;
}

/* Where a run from `first` on of a list of n places ends. */
static inline size_t ivf_run_end(const struct ivf_query *iq, size_t first, size_t n)
{
    const size_t most = iq->found.limit < INFINITY ? IVF_RUN : IVF_SHORT;
    return n - first > most ? first + most : n;
}

/* Survivors of a scan of a list's places into the reservoir. */
void ivf_query_take(const struct ivfpq *h, const struct kind_query *q, struct scratch *s,
                    struct ivf_query *iq, const struct ivf_list *list, float base,
                    const float *dists, const uint32_t *places, size_t n);
void ivf_scan_list(const struct ivfpq *h, const struct kind_query *q, struct scratch *s,
                   struct ivf_query *iq, const struct ivf_probe *p);
/* From the reservoir to results at out [q->k]; q->query is prepared. */
void ivf_query_close(const struct ivfpq *h, const struct kind_query *q, struct scratch *s,
                     struct ivf_query *iq, search_key *out, size_t *found);

/* ---- stops.c ---- */

/* The gamma at which so many lists are looked at, on average. */
float ivf_gamma(const struct ivfpq *h, double lists);

#endif
