/* versus.h - `annbench peers`: opens kith's indexes and those of its peers and lets them meet.
 *
 * Place: bench. */
#ifndef KITH_BENCH_VERSUS_H
#define KITH_BENCH_VERSUS_H

#include "bench/command.h"
#include "bench/grid.h"

/* Reads peers.json, completes *c by it (specs, peers) and makes the environment ready. */
ann_err versus_prepare(struct command *c, struct grid *g);

ann_err versus_run(const struct command *c, const struct grid *g, const struct dataset *d,
                   struct outcomes *all);

#endif
