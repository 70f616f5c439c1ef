/* internal.h - what the files of rag/net share: requests, refusals, waiting.  See net.h. */
#ifndef KITH_RAG_NET_INTERNAL_H
#define KITH_RAG_NET_INTERNAL_H

#include <time.h>

#include "rag/net/net.h"

/* gate.c: hosts that asked to be left alone for a while. */
struct net_gates;
struct net_gates *net_gates_open(void); /* NULL: out of memory */
void net_gates_close(struct net_gates *g);
/* No request to host before `until` (net_now).  Forgotten when out of memory. */
void net_gates_shut(struct net_gates *g, const char *host, double until);
/* When the next request to host may begin; 0: now. */
double net_gates_until(struct net_gates *g, const char *host);

double net_now(void); /* seconds, monotonic */

/* What a server said of when to come again: seconds from now, or -1 for nothing.  Header
 * values, NULL: not there.  A date is compared with `now`. */
double net_retry_after(const char *after_ms, const char *after, time_t now);

#define NET_WAIT_MAX 120.0 /* seconds: told to wait longer, we give up */

/* Before try n + 1 (n from 1), when the server said nothing: 0.5 s doubled up to 8 s, less up
 * to a quarter; dice 0..1. */
double net_backoff(unsigned n, double dice);

#endif
