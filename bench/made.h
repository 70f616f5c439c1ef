/* made.h - data sets that Python scripts make: of photographs, of texts, of word vectors.
 *
 * Place: bench. */
#ifndef KITH_BENCH_MADE_H
#define KITH_BENCH_MADE_H

#include <stdbool.h>
#include <stddef.h>

#include <ann/ann.h>

struct made_set {
    const char *name, *facts, *from;
    const char *script;
    const char *cost; /* what is to be fetched and how long it takes */
    bool words;       /* made of wink-100 */
};

extern const struct made_set made_sets[];
extern const size_t made_count;

const struct made_set *made_find(const char *name); /* NULL: no such set */

/* Makes the set in folder, with its script and pinned packages in a Python environment of the
 * cache.  wink: the folder of wink-100, for those that are made of it.  A run that was stopped
 * can be repeated. */
ann_err made_prepare(const struct made_set *set, const char *folder, const char *wink,
                     bool quiet);

#endif
