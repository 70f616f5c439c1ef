/* scan.h - exact search by looking at every candidate, one query at a time.
 *
 * Place: search; used by flat, and by graphs when few vectors may be results. */
#ifndef KITH_SEARCH_SCAN_H
#define KITH_SEARCH_SCAN_H

#include "ann/search/kind.h"

/* Slots looked at by one kernel call; the scratch needs this batch. */
#define SCAN_BATCH 256

/* Pushes every live (and, with a filter, allowed) slot onto t; returns how many were looked at.
 */
uint64_t scan_topk(const struct vectors *v, const struct kind_query *q, struct scratch *s,
                   struct topk *t);

/* As a kind's search: the q->k nearest of them at out, ascending, and what it took. */
void scan_search(const struct vectors *v, const struct kind_query *q, struct scratch *s,
                 search_key *out, size_t *found);

#endif
