/* oracle.h - what an index should answer: exact distances in double, and random data.
 *
 * An oracle is a sorted array of id -> vector, the vectors as the index stored them (ann_get).
 * It says which ids are nearest and how far away they are; the tests compare. */
#ifndef KITH_TESTS_ORACLE_H
#define KITH_TESTS_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ann/ann.h>

enum oracle_shape {
    SHAPE_GAUSSIAN,
    SHAPE_CLUSTERS,
    SHAPE_DUPLICATES, /* about half of the rows are copies of others */
    SHAPE_IDENTICAL,  /* one row, n times */
    SHAPE_INTEGERS,   /* small whole numbers: many equal distances */
    SHAPES
};

/* Vectors of any dtype that a view can have. */
struct oracle_data {
    void *rows;
    ann_view view;
};

/* n rows of a shape as dtype; never a zero row.  ANN_I8, ANN_U8, ANN_B1 are rounded or signs.
 */
struct oracle_data oracle_data(enum oracle_shape shape, ann_dtype dtype, size_t n, size_t dim,
                               uint64_t seed);
void oracle_data_free(struct oracle_data *d);
/* Row i of a view as [dim] floats. */
void oracle_row(const ann_view *v, size_t dim, size_t i, float *out);

/* The distance of a query and a stored row, in double. */
double oracle_distance(ann_metric metric, const float *a, const float *b, size_t dim);
/* How far a float's distance may be from it. */
double oracle_slack(ann_metric metric, const float *a, const float *b, size_t dim);

struct oracle_item {
    ann_id id;
    float *vec; /* [dim] */
};

struct oracle {
    ann_metric metric;
    size_t dim, n, room;
    struct oracle_item *items; /* [n], by id */
};

struct oracle *oracle_new(ann_metric metric, size_t dim);
void oracle_free(struct oracle *o);
/* Puts or replaces. */
void oracle_put(struct oracle *o, ann_id id, const float *vec);
bool oracle_remove(struct oracle *o, ann_id id);
const float *oracle_get(const struct oracle *o, ann_id id); /* NULL: not there */
/* Takes what ix has stored for id. */
void oracle_put_stored(struct oracle *o, const ann_index *ix, ann_id id);

struct oracle_near {
    double dist;
    ann_id id;
};

/* The items that pass (NULL: all), nearest first, to be freed; *n: how many. */
struct oracle_near *oracle_sorted(const struct oracle *o, const float *query,
                                  bool (*pass)(void *arg, ann_id id), void *arg, size_t *n);

/* Compares one row of results [k] with the truth [n] of oracle_sorted: live, distinct, in
 * order, distances right, min(k, n) of them, the rest ANN_NO_ID and infinity.  Returns the
 * share of the true min(k, n) found by distance, or -1 with the reason at why [200]. */
double oracle_compare(const struct oracle *o, const float *query,
                      const struct oracle_near *truth, size_t n, const ann_id *ids,
                      const float *dists, size_t k, char *why);

#endif
