/* truth.h - the true neighbours: checked where they were given, else computed and kept.
 *
 * Place: bench. */
#ifndef KITH_BENCH_TRUTH_H
#define KITH_BENCH_TRUTH_H

#include <stdbool.h>

#include "bench/dataset.h"

/* Gives d at least min(k, n) true neighbours a query.  Those that came with the data are kept
 * if a sample of them holds; others come from the cache folder or from an exact search over
 * `threads` threads, which is then cached. */
ann_err truth_ensure(struct dataset *d, size_t k, unsigned threads, bool quiet);

/* A number that tells base vectors and metric apart, for names of what is kept about them. */
uint64_t truth_fingerprint(const struct dataset *d);

#endif
