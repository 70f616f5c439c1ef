/* dataset.h - what is searched: base vectors, queries, a metric, and the true neighbours if
 * known.
 *
 * Place: bench; sees ann.h and ann/io.  Invariant: base and query are f32 rows without gaps,
 * row i of base is what the indexes call id i, and no query is a row of base that was held out.
 */
#ifndef KITH_BENCH_DATASET_H
#define KITH_BENCH_DATASET_H

#include <stddef.h>
#include <stdint.h>

#include "ann/io/io.h"

#define DATASET_NAME_MAX 128
#define DATASET_HELD_OUT 1000 /* queries taken from base when there are none */

struct dataset {
    char name[DATASET_NAME_MAX];
    ann_metric metric; /* ANN_L2, ANN_IP or ANN_COSINE */
    size_t n, nq, dim;
    const float *base;  /* [n, dim] */
    const float *query; /* [nq, dim] */
    int32_t *truth;     /* [nq, truth_k] slots, best first; NULL: not known */
    size_t truth_k;
    struct io_matrix hold[2]; /* what base and query lie in, unless they are copies */
    float *copies[2];
};

/* spec: a folder, an HDF5 file, a vector file, a known name or "synthetic:...".  metric 0: as
 * the data say, l2 where they do not.  Release with dataset_free. */
ann_err dataset_load(const char *spec, ann_metric metric, struct dataset *out);
void dataset_free(struct dataset *d);

/* Takes `count` rows out of base as queries, drawn without replacement by a fixed seed. */
ann_err dataset_hold_out(struct dataset *d, size_t count);

/* The even queries (which 0) or the odd ones (1), with their truth; base stays d's, which must
 * outlive *out.  Release with dataset_free.  ANN_EINVAL: there are none. */
ann_err dataset_half(const struct dataset *d, unsigned which, struct dataset *out);

/* Writes rows [n, dim] as npy. */
ann_err dataset_write(const char *path, enum io_type type, const void *rows, size_t n,
                      size_t dim);

/* "l2", "angular", "ip". */
const char *dataset_metric_name(ann_metric m);
ann_err dataset_metric_parse(const char *name, ann_metric *m);

/* synthetic.c: "kind=clusters|uniform,n=..,d=..,seed=..,queries=..,metric=.." */
ann_err synthetic_make(const char *fields, struct dataset *out);

/* known.c: data sets by name, in the cache folder or where the system installs them. */
ann_err known_load(const char *name, struct dataset *out); /* ANN_ENOENT: no such name */
ann_err known_prepare(const char *name, bool quiet);
void known_list(void);

#endif
