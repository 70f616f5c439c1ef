/* peers.h - other libraries, measured through bench/peers/serve.py.
 *
 * Place: bench.  serve.py runs in a Python environment of its own in the cache folder, with the
 * versions of peers.json; peers_prepare makes it.  Each contestant has a process of its own, so
 * that libraries cannot disturb one another. */
#ifndef KITH_BENCH_PEERS_H
#define KITH_BENCH_PEERS_H

#include "bench/grid.h"
#include "bench/process.h"
#include "bench/runner.h"

/* environment.c: where serve.py and peers.json lie, and the interpreter. */
ann_err peers_file(char *path, const char *name);
ann_err peers_python(char *path);

/* Makes sure that the environment is there, with the packages of `peers` [count].  ANN_EBUSY: a
 * needed one could not be fetched; one that is not needed is only said to be missing. */
ann_err peers_prepare(const struct grid *g, const char *const *peers, size_t count, bool quiet);

/* Where the vectors lie for the peers, and where their indexes are kept. */
struct peers_place {
    const struct grid *grid;
    char base[4096], query[4096], indexes[4096];
    bool rebuild; /* also what is kept */
};

/* Writes d into folder. */
ann_err peers_place(struct peers_place *p, const struct grid *g, const struct dataset *d,
                    const char *folder, bool rebuild);

/* Builds a peer of peers.json, or loads what an earlier run built.  place and name outlive c.
 */
ann_err peers_open(struct contestant *c, const struct peers_place *place, const char *name,
                   const struct dataset *d, const struct run_settings *s);
void peers_close(struct contestant *c);

#endif
