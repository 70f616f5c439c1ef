/* command.h - what the command line asks annbench to do.
 *
 * Place: bench; for annbench.c alone. */
#ifndef KITH_BENCH_COMMAND_H
#define KITH_BENCH_COMMAND_H

#include "bench/passing.h"
#include "bench/runner.h"

#define COMMAND_LIST_MAX   16
#define COMMAND_PEERS_MAX  32
#define COMMAND_PEERS_TEXT 512

enum command_verb { COMMAND_SUITE, COMMAND_RUN, COMMAND_PEERS, COMMAND_DATA };

struct command {
    enum command_verb verb;
    const char *data[COMMAND_LIST_MAX]; /* data sets, or names for `annbench data` */
    size_t ndata;
    const char *specs[COMMAND_LIST_MAX];
    size_t nspecs;
    struct run_settings run;
    ann_metric metric; /* 0: as the data say */
    const char *json, *report;
    struct passing filters[COMMAND_LIST_MAX]; /* run: measured each after no filter */
    size_t nfilters;
    bool calibrate; /* run: also recall asked for by number */
    bool churn; /* run: measured again after half of it went and came */
    const char *peers[COMMAND_PEERS_MAX]; /* those that take part; none of them: all */
    size_t npeers;
    char peer_list[COMMAND_PEERS_TEXT]; /* what they point into */
    const char *grid; /* peers: which choice of peers.json */
    bool flat;        /* peers: exact search */
    bool single;      /* peers: single calls count alone */
    bool sweep;       /* peers: every setting on all queries, none picked */
    bool rebuild;                       /* peers: also indexes that are kept */
};

enum { EXIT_USAGE = 2, EXIT_UNAVAILABLE = 6, EXIT_INTERRUPTED = 130 };

/* Fills *c with every default in place.  -1: go on; else the status to exit with (help and
 * version were printed, or a complaint). */
int command_parse(int argc, char **argv, struct command *c);

#endif
