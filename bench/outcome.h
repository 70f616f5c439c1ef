/* outcome.h - what was measured, as the reports show it.
 *
 * Place: bench, a leaf.  NAN stands for "not measured". */
#ifndef KITH_BENCH_OUTCOME_H
#define KITH_BENCH_OUTCOME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/dataset.h"
#include "bench/metrics.h"

#define OUTCOME_SPEC_MAX    256
#define OUTCOME_POINTS_MAX  32
#define OUTCOME_TARGETS_MAX 8
#define OUTCOME_ROUNDS_MAX  99

/* One effort. */
struct outcome_point {
    size_t effort;    /* 0: the index has none, or is searched with more than one number */
    char setting[32]; /* those numbers of a peer; "" for kith's own */
    double recall;
    double qps;               /* the figure that counts; the others say where it comes from */
    double qps_low, qps_high; /* over the rounds */
    double qps_single, qps_batch;
    double mean_us, p50_us, p95_us, p99_us, p999_us;
    double distances, hops; /* a query */
};

/* What asking for a recall by number delivers to queries that did not calibrate. */
struct outcome_asked {
    double recall;               /* asked for */
    double delivered, distances; /* NAN: no effort was found for it */
    size_t least_effort;         /* that would have done; 0: none */
    double least_distances;
};

/* One index on one data set. */
struct outcome {
    char dataset[DATASET_NAME_MAX], index[48], spec[OUTCOME_SPEC_MAX];
    size_t n, nq, dim, k;
    ann_metric metric;
    unsigned threads, rounds;
    bool batch; /* qps counts batches */
    size_t batch_size; /* queries that are timed in one call */
    bool own;   /* kith's, in a contest */
    bool swept; /* in a contest: every setting on all queries, to compare effort by effort */
    double build_s, build_cpu_s; /* train and add */
    double train_s, train_cpu_s; /* NAN: nothing to train, or not told apart */
    double memory_bytes, file_bytes, peak_rss_bytes;
    size_t lists;          /* 0: the kind has none */
    double list_spread;    /* entries of the longest list over the mean */
    double code_error[2];  /* of short codes, of what was trained on and of what was added */
    struct outcome_point points[OUTCOME_POINTS_MAX];
    size_t npoints;
    double targets[OUTCOME_TARGETS_MAX];
    struct metrics_at at[OUTCOME_TARGETS_MAX];
    /* at[].qps of each round by itself; all 0 where there was no contest. */
    double at_round[OUTCOME_TARGETS_MAX][OUTCOME_ROUNDS_MAX];
    size_t ntargets;
    struct outcome_asked asked[OUTCOME_TARGETS_MAX];
    size_t nasked;
};

/* Fills at[] from points[]. */
void outcome_interpolate(struct outcome *o);

/* Seconds of adding by itself, NAN where training was not told apart. */
double outcome_add_s(const struct outcome *o);
double outcome_add_cpu_s(const struct outcome *o);
/* Bytes of memory for each vector; NAN: not known. */
double outcome_vector_bytes(const struct outcome *o);

/* A growing list of outcomes, of one call of the program. */
struct outcomes {
    struct outcome *items;
    size_t count, capacity;
};

/* A new outcome at the end, all zero; NULL: out of memory. */
struct outcome *outcomes_add(struct outcomes *all);
/* A copy of *o at the end. */
ann_err outcomes_keep(struct outcomes *all, const struct outcome *o);
void outcomes_free(struct outcomes *all);

/* jsonlines.c: one object a line for each point and each asked recall. */
ann_err outcome_write_json(const struct outcomes *all, FILE *f);

/* term.c: a table and a small plot. */
void outcome_print(const struct outcomes *all, FILE *f, unsigned columns, bool color);

/* report.c: one HTML page. */
ann_err outcome_write_html(const struct outcomes *all, const char *command, FILE *f);

/* Whether item i is the first of its data set, and the first behind that set. */
bool outcomes_starts_group(const struct outcomes *all, size_t i);
size_t outcomes_group_end(const struct outcomes *all, size_t i);

#endif
