/* rerank.c - from distances of codes to exact ones, leaving out what cannot matter.
 *
 * Of a vector x with code x^ and a query q with code q^, both in code space,
 *
 *     | |q - x| - |q^ - x^| |  <=  e_x + e_q
 *
 * by the triangle inequality, with e_x at most codes.max_error and e_q known of the query.  The
 * candidates come by ascending distance of codes, so once the least that |q - x| can be is more
 * than the k-th exact distance so far, no later one can be a result.  q's own code is used for
 * the norm part of the distance, which only makes the error smaller than the bound. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/hnsw/hnsw.h"

/* The least exact raw distance of a vector whose code is at this distance. */
static double least(const struct hnsw *h, const struct code_query *cq, float dist)
{
    const struct codes *c = &h->vec->codes;
    /* What float rounds in A + G + S * dot: a few units of the last place of its terms. */
    const double rounding = 2e-6 * ((double)cq->norm2 + (double)dist);
    const double d = (double)dist - rounding;
    const double root = (d > 0 ? sqrt(d) : 0) - (double)c->max_error - (double)cq->error;
    const double low = root > 0 ? root * root : 0;
    const double raw = (double)codes_raw_distance(c, cq, (float)low);
    return raw - 2e-6 * (fabs(raw) + fabs((double)cq->raw_shift) + cq->raw_scale);
}

void hnsw_rerank(const struct hnsw *h, const struct kind_query *q, struct scratch *s,
                 const search_key *keys, size_t n, size_t k, search_key *out)
{
    enum { RUN = 8 }; /* candidates asked for at once after the first k */
    const struct vectors *v = h->vec;
    const struct code_query *cq = vectors_code_query(v, q->query);
    uint32_t *slots = s->slots.data;
    float *dists = s->dists.data;
    struct topk t = {.keys = out, .k = k};
    size_t at = 0, run = k;
    for (size_t i = 0; i < n; i++)
        slots[i] = key_slot(keys[i]);
    while (at < n) {
        if (run > n - at)
            run = n - at;
        vectors_many(v, q->query, slots + at, run, dists);
        q->stats->distances += run;
        for (size_t i = 0; i < run; i++)
            topk_push(&t, key_make(dists[i], slots[at + i]));
        at += run;
        for (run = 0; run < RUN && at + run < n; run++)
            if (least(h, cq, key_dist(keys[at + run])) > (double)topk_limit(&t))
                break;
        if (run == 0)
            break;
    }
    topk_sort(&t);
}
