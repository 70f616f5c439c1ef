/* rerank.h - from distances of codes to exact ones, leaving out what cannot matter.
 *
 * Place: search; for kinds that look for candidates by codes (vectors.h: codes.type is not
 * CODE_NONE). */
#ifndef KITH_SEARCH_RERANK_H
#define KITH_SEARCH_RERANK_H

#include <math.h>

#include "ann/search/kind.h"

/* Squared error that rounding to codes is about to cause, of a vector and the query together.
 */
float rerank_error2(const struct vectors *v, const struct code_query *cq);
/* A vector farther by codes than the k-th by more than root * sqrt(kth) + add is no candidate.
 */
void rerank_band(const struct vectors *v, const struct code_query *cq, float *root, float *add);
static inline float rerank_limit(float kth, float root, float add)
{
    return kth + root * sqrtf(kth) + add;
}
/* Of keys [n], ascending distances of code space, how many may be among the q->k nearest. */
size_t rerank_trim(const struct vectors *v, const struct kind_query *q, const search_key *keys,
                   size_t n);
/* The k nearest of keys [n], ascending distances of code space, by exact distance at out [k], n
 * at least k; room for slots and dists of all keys in the scratch.  Where ids alone are asked
 * for, those that are nearer than the k-th by more than the band stay in the order of codes. */
void rerank(const struct vectors *v, const struct kind_query *q, struct scratch *s,
            const search_key *keys, size_t n, size_t k, search_key *out);

#endif
