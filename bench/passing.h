/* passing.h - a filter to measure searches with: which base rows pass, and the true neighbours
 * among them.
 *
 * Place: bench.  The same data and text give the same rows. */
#ifndef KITH_BENCH_PASSING_H
#define KITH_BENCH_PASSING_H

#include <stdbool.h>

#include "bench/dataset.h"

struct passing {
    char name[32];          /* "10%", "10%,clustered" */
    double share;           /* of the rows, 0..1 */
    bool clustered;         /* whole neighbourhoods pass, others do not */
    size_t n;
    ann_id *ids;            /* [n], ascending */
    struct dataset data;    /* base and queries as they are; truth of the rows that pass */
};

/* "10", "0.5%", "10%,clustered"; false: not that. */
bool passing_parse(const char *text, struct passing *p);

/* Draws the rows and finds the truth.  Released with passing_free. */
ann_err passing_draw(struct passing *p, const struct dataset *d, size_t k, unsigned threads,
                     bool quiet);
void passing_free(struct passing *p);

#endif
