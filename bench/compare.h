/* compare.h - kith over its peers, of one data set: rates at a recall, build, bytes.
 *
 * Place: bench, a leaf over outcome.h. */
#ifndef KITH_BENCH_COMPARE_H
#define KITH_BENCH_COMPARE_H

#include "bench/outcome.h"

#define COMPARE_REFERENCE "hnswlib" /* whose build and bytes are the measure */

/* Queries a second of one over those of another at one recall. */
struct compare_at {
    double ratio;     /* of the medians; NAN: one of the two did not get there */
    double low, high; /* over the rounds */
    const char *peer; /* which; NULL: none got there */
    bool at_least;    /* one of the two was above that recall at its lowest effort */
};

/* Against the fastest peer at target t of the group [from, to). */
struct compare_at compare_best(const struct outcomes *all, size_t from, size_t to,
                               const struct outcome *own, size_t t);
struct compare_at compare_with(const struct outcome *own, const struct outcome *peer, size_t t);

/* The peer by that name; NULL: it did not take part. */
const struct outcome *compare_find(const struct outcomes *all, size_t from, size_t to,
                                   const char *name);

/* Whether the group has both sides. */
bool compare_is_contest(const struct outcomes *all, size_t from, size_t to);

/* A point of one and a point of another at the same effort. */
struct compare_effort {
    const struct outcome_point *own, *peer;
    double ratio; /* of queries a second */
};

/* The i-th effort that both were measured at, in own's order; false: no more. */
bool compare_effort(const struct outcome *own, const struct outcome *peer, size_t i,
                    struct compare_effort *out);

/* Tables on a terminal. */
void compare_print(const struct outcomes *all, FILE *f);

#endif
