/* pool.h - a few threads that share out the items of a loop.
 *
 * Place: base.  Invariant: which thread takes an item is not fixed, so the body's results must
 * depend on the item alone; then they are the same for any number of threads. */
#ifndef KITH_BASE_POOL_H
#define KITH_BASE_POOL_H

#include <stddef.h>

#include <ann/ann.h>

struct pool;

/* body(arg, i, worker) for one item i; worker is 0 .. pool_threads - 1, for scratch memory. */
typedef void (*pool_body)(void *arg, size_t i, unsigned worker);

/* A pool of `threads` (1..1024) workers, the calling thread being worker 0. */
ann_err pool_create(unsigned threads, struct pool **out);
unsigned pool_threads(const struct pool *p);

/* Runs the body for every i < n, `grain` items at a time, and returns when all are done.  Calls
 * from several threads wait for one another; a body must not call pool_for on its own pool. */
void pool_for(struct pool *p, size_t n, size_t grain, pool_body body, void *arg);

/* Between these two, other threads' calls of pool_for wait.  Who takes a lock that a body also
 * takes holds the pool first, or the two wait for each other. */
void pool_hold(struct pool *p);
void pool_release(struct pool *p);

void pool_close(struct pool *p);

/* KITH_THREADS, else the affinity mask cut to the control group's quota. */
unsigned pool_default_threads(void);

#endif
