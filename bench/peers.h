/* peers.h - other libraries, measured through bench/peers.py.
 *
 * Place: bench.  peers.py runs in a Python environment of its own in the cache folder, with
 * pinned versions; peers_prepare makes it. */
#ifndef KITH_BENCH_PEERS_H
#define KITH_BENCH_PEERS_H

#include "bench/process.h"
#include "bench/runner.h"

/* Makes sure that the environment is there.  ANN_EBUSY: the packages could not be fetched.
 * versions [len]: what is in it, for people. */
ann_err peers_prepare(bool quiet, char *versions, size_t len);

/* The child, with d loaded; closed by process_close.  folder: where the vectors are written to.
 */
ann_err peers_start(struct process *p, const struct dataset *d, const struct run_settings *s,
                    const char *folder);

/* peer: "hnswlib", "faiss-hnsw" or "faiss-flat"; builds it with o's m and ef_construction. */
ann_err peers_open(struct contestant *c, struct process *p, const char *peer,
                   const ann_options *o, const struct dataset *d, const struct run_settings *s);
void peers_close(struct contestant *c);

#endif
