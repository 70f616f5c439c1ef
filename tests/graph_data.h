/* graph_data.h - what the tests of searching share: indexes from data, and recall by distance.
 */
#ifndef KITH_TESTS_GRAPH_DATA_H
#define KITH_TESTS_GRAPH_DATA_H

#include <ann/ann.h>

#include "tests/oracle.h"

#define ok(call) ck_assert_msg((call) == ANN_OK, "%s: %s", #call, ann_error_message())

/* An empty index; threads 0 is 2. */
ann_index *graph_index(ann_kind kind, ann_metric metric, ann_dtype store, size_t dim,
                       unsigned threads);

/* Rows [first, first + n) of a view. */
ann_view graph_rows(const ann_view *v, size_t dim, size_t first, size_t n);

/* Rows [n] of clusters around shared centres, so that queries of another seed lie among them.
 */
float *graph_clusters(size_t n, size_t dim, size_t clusters, uint64_t seed);

/* The rank-th smallest first element of rows x [n, dim]. */
float graph_edge(const float *x, size_t n, size_t dim, size_t rank);

/* Recall by distance of nq queries, against flat search over the same vectors. */
double graph_recall(const ann_index *ix, const float *queries, size_t nq, size_t k,
                    size_t effort);

/* Fails unless ids [k] are distinct and dists [k] ascend, with what is missing at the end. */
void graph_check_row(const ann_id *ids, const float *dists, size_t k, size_t found);

#endif
