/* contest.h - kith and its peers over the same queries in turns, settings picked on other ones.
 *
 * Place: bench. */
#ifndef KITH_BENCH_CONTEST_H
#define KITH_BENCH_CONTEST_H

#include "bench/runner.h"

#define CONTEST_MAX 48

/* Fills each result's points, at[] and at_round[].  Settings are picked on d's even queries,
 * measured on the odd ones.  A peer that fails is said to and marked as lost. */
ann_err contest_run(struct contestant *const *all, size_t count, const struct dataset *d,
                    const struct run_settings *s);

#endif
