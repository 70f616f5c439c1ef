/* internal.h - the index behind ann.h, shared by the files of the front door.
 *
 * Place: top of ann.  index.c changes an index, query.c searches it, filter.c, recall.c,
 * calibrate.c and index_file.c do what their names say; curve.c is what calibrate.c learned.
 *
 * Locks, in the order they are taken: `writer` (one change at a time), then `gate` (searches
 * read, a change writes for the moments in which it puts something in place).  `idle` guards
 * the list of scratches, `lazy` what is made at first need. */
#ifndef KITH_INTERNAL_H
#define KITH_INTERNAL_H

#include <pthread.h>

#include "ann/search/kind.h"
#include "ann/vectors/idmap.h"

/* What an effort gave: a row of the file's section "calibration". */
struct curve_point {
    uint32_t k, effort;
    double recall;    /* mean over the queries */
    double low;       /* it is at least this, with the calibration's confidence */
    double distances; /* mean evaluations a query */
};

#define CURVE_POINTS 128

/* The head is as long as a point, so that head and points are rows of one section. */
struct calibration {
    uint32_t n;       /* points; 0: not calibrated */
    uint32_t queries;
    uint64_t live;    /* vectors there were */
    uint64_t changes; /* vectors added or removed since */
    double confidence;
    struct curve_point points[CURVE_POINTS]; /* by k, then effort */
};

struct ann_index {
    ann_options opt; /* every default filled in */
    const struct kind *kind;
    void *state;
    struct vectors vec;
    struct idmap ids;
    struct kfile *file;      /* while parts of it are mapped */
    uint64_t compactions;    /* tells filters and iterators that slots have new numbers */
    struct calibration calibration; /* changes under the gate */
    pthread_mutex_t writer;
    pthread_rwlock_t gate;
    pthread_mutex_t lazy;
    struct pool *write_pool; /* for changes */
    struct pool *query_pool; /* for batches: a search does not wait for an add's loop */
    pthread_mutex_t idle;
    struct scratch *free_scratch;
};

struct ann_filter {
    const ann_index *ix;
    uint64_t *bits; /* [(slots + 63) / 64] */
    uint32_t slots, count, adds;
    uint64_t compactions;
    struct filter_kept kept; /* by searches, for those to come */
};

/* A search only reads the index, but must be able to hold the gate. */
static inline pthread_rwlock_t *index_gate(const ann_index *ix)
{
    return (pthread_rwlock_t *)(uintptr_t)&ix->gate;
}

/* options.c */
/* Fills in the defaults; ANN_EINVAL for what is out of range. */
ann_err options_resolve(const ann_options *given, ann_options *out);

/* index.c */
const struct kind *index_kind(ann_kind id);
/* Without a state. */
ann_err index_new(const ann_options *resolved, enum code_type codes, ann_index **out);
/* The kind's own options, as it has them by now, into ix->opt; by its opener or writer. */
void index_take_options(ann_index *ix);
ann_err index_pool(const ann_index *ix, struct pool **place, struct pool **out);
/* The id table, made at first need after a file was mapped. */
ann_err index_ids_ready(const ann_index *ix);

/* query.c */
struct query_params {
    const struct kind *kind; /* who answers: the index's kind, or flat over the same vectors */
    void *state;
    size_t k, effort;
    double fine;   /* what effort was rounded up from, or 0 */
    double recall; /* asked for by number, or 0 */
    unsigned threads;
    const ann_filter *filter;
    ann_search_stats *stats;
    const uint32_t *barred; /* [queries] or NULL: a slot that each one's walk passes over */
};
ann_err query_params_read(const ann_index *ix, const ann_search_params *p,
                          struct query_params *out);
/* Fills in what depends on the index as it is now; under the gate. */
ann_err query_make(const ann_index *ix, const struct query_params *p, ann_search_stats *stats,
                   struct kind_query *q);
/* The q->k best as keys [q->k]; s holds the prepared query.  barred: SLOT_NONE, or a slot that
 * a graph's walk takes as visited already.  Under the gate. */
ann_err query_run(const ann_index *ix, const struct query_params *p, struct kind_query *q,
                  struct scratch *s, uint32_t barred, search_key *keys, size_t *found);
/* Keys as ids [k] and dists [k] or NULL; what was not found is filled up.  Under the gate. */
void query_deliver(const ann_index *ix, const search_key *keys, size_t found, size_t k,
                   ann_id *ids, float *dists);
/* A whole call: every query of the view into ids and dists (may be NULL) [view->n, k]. */
ann_err query_all(const ann_index *ix, const ann_view *view, const struct query_params *p,
                  ann_id *ids, float *dists);
void query_add_stats(ann_search_stats *to, const ann_search_stats *from);
ann_err scratch_borrow(const ann_index *ix, struct scratch **out);
void scratch_return(const ann_index *ix, struct scratch *s);

/* recall.c */
/* Exact search of the same vectors: ids and dists [q->n, p->k]. */
ann_err recall_exact(const ann_index *ix, const ann_view *q, const struct query_params *p,
                     ann_id *ids, float *dists);
/* The share of the true k, at truth, that one query's results [k] found. */
double recall_share(const ann_id *ids, const float *dists, const ann_id *truth_ids,
                    const float *truth, size_t k);

/* curve.c; all under the gate or on a copy */
bool calibration_holds(const struct calibration *c);
double calibration_best(const struct calibration *c);
/* The effort, rounded up; *fine, may be NULL, is what from.  ANN_EUNTRAINED, or ANN_EINVAL for
 * a recall that was not reached. */
ann_err calibration_effort(const struct calibration *c, double recall, size_t k, size_t *effort,
                           double *fine);
/* So many vectors came or went; too many end it. */
void calibration_changed(struct calibration *c, uint64_t vectors);
/* Its section for kfile_save: 0 or 1 parts. */
size_t calibration_part(const struct calibration *c, struct kfile_part *part);
/* The section of a file, if it has one, checked. */
ann_err calibration_take(struct kfile *f, struct calibration *out);

/* tune.c: which prefetch suits this machine, once in a process, if ix takes so many bytes of
 * memory; nobody else has it yet. */
#define INDEX_TUNE_BYTES (UINT64_C(64) << 20)
void index_tune(ann_index *ix, uint64_t least_bytes);

#endif
