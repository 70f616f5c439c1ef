/* asked.h - recall asked for by number: what is delivered, and at what cost.
 *
 * Place: bench. */
#ifndef KITH_BENCH_ASKED_H
#define KITH_BENCH_ASKED_H

#include "bench/runner.h"

/* Calibrates c's index, which subject.c opened, with d's even queries, and judges by the odd
 * ones what each asked recall delivers: fills c->result.asked[].  Nothing for an exact index. */
ann_err asked_measure(struct contestant *c, const struct dataset *d,
                      const struct run_settings *s);

#endif
