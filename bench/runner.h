/* runner.h - sweeps the effort of one or more indexes over the same queries, in turns.
 *
 * Place: bench.  An index takes part as a struct contestant: kith's own (subject.c) and those
 * of other libraries (peers.c) are measured by the same loop, with the same clock and recall.
 */
#ifndef KITH_BENCH_RUNNER_H
#define KITH_BENCH_RUNNER_H

#include <signal.h>

#include "ann/io/progress.h"
#include "bench/outcome.h"

#define RUNNER_ROUNDS_MAX OUTCOME_ROUNDS_MAX

struct run_settings {
    size_t k;
    unsigned threads;   /* of build and batches */
    unsigned rounds;    /* medians are taken over them */
    int pin;            /* the processor of the query thread; -1: any */
    bool single, batch; /* what to time */
    bool batch_counts;  /* qps is that of batches */
    double pass_s;  /* passes of a point are repeated so long, each round; the fastest counts */
    bool cpu_clock; /* passes are timed by processor time, which other work does not lengthen */
    double targets[OUTCOME_TARGETS_MAX];
    size_t ntargets;
    size_t efforts[OUTCOME_POINTS_MAX]; /* 0 of them: a ladder from k on */
    size_t nefforts;
    double epsilon; /* see metrics_limits */
    bool file;      /* measure file_bytes */
    bool quiet;
    struct progress *progress;
};

/* What one timed pass found; NAN where it was not asked for. */
struct timing {
    double single_s, batch_s; /* seconds a query */
    double mean_us, p50_us, p95_us, p99_us, p999_us;
};

struct contestant {
    struct outcome result;
    bool has_effort;
    size_t lowest;    /* effort that a sweep begins at */
    bool best_counts;   /* qps is the better of single and batch */
    bool single, batch; /* what to time; as the settings say until a contest chooses */
    size_t nsteps; /* settings it has by itself, taken as efforts 1..nsteps; 0: any effort */
    size_t width;  /* so many neighbouring steps differ in their second number only */
    int half;      /* of the queries: 0 even, 1 odd, -1 all; `data` holds the same ones */
    bool lost;     /* failed in a contest: nothing of it is shown */
    /* Results of all queries: ids [nq, k]; *p gets distances, hops, rates where they are known.
     */
    ann_err (*search)(struct contestant *c, size_t effort, ann_id *ids,
                      struct outcome_point *p);
    /* One warm-up and one measurement. */
    ann_err (*time)(struct contestant *c, size_t effort, struct timing *t);
    const struct dataset *data;
    const struct run_settings *settings;
    void *impl;
};

/* Set by SIGINT and SIGTERM. */
extern volatile sig_atomic_t runner_stop;

/* ANN_ECANCELED once runner_stop is set. */
ann_err runner_check_stop(void);

/* Names, sizes and targets of c->result, its figures not measured yet. */
void runner_init(struct contestant *c, const struct dataset *d, const struct run_settings *s);

/* An unmeasured point. */
struct outcome_point runner_point(size_t effort);

/* p's figures from the timings t [rounds]. */
void runner_settle(const struct contestant *c, struct outcome_point *p, const struct timing *t);

/* The recall at which a sweep may end. */
double runner_enough(const struct run_settings *s);

/* The i-th effort of a sweep that begins at `first`, or step of a ladder; 0: no more. */
size_t runner_effort(const struct contestant *c, size_t first, size_t i);

/* The rate that counts, of seconds a query in either way; NAN: not measured. */
double runner_rate(const struct contestant *c, double single_s, double batch_s);

/* Fills each result's points and at[]. */
ann_err runner_sweep(struct contestant *const *all, size_t count, const struct dataset *d,
                     const struct run_settings *s);

/* Seconds of a clock. */
double runner_clock(int clock);

#define RUNNER_PASS_S 0.2 /* how long passes are repeated where nothing else is asked */
#define RUNNER_SLOW_S 1.0 /* from here on one pass tells both rate and latencies, unwarmed */
#define RUNNER_MOST_S 4.0 /* and it takes only as many queries as fit in this */

/* subject.c: an index of kith.  Builds it and measures time and memory. */
ann_err subject_open(struct contestant *c, const char *spec, const struct dataset *d,
                     const struct run_settings *s);
/* From now on searches have a filter, and c begins a new result. */
struct passing;
ann_err subject_filter(struct contestant *c, const struct passing *p);
/* Half of the vectors go and come again in portions, a tenth is updated, and what is behind is
 * given back; c begins a new result. */
ann_err subject_churn(struct contestant *c);
void subject_close(struct contestant *c);
ann_index *subject_index(const struct contestant *c);

#endif
