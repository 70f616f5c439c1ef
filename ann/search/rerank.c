/* rerank.c - from distances of codes to exact ones, leaving out what cannot matter.
 *
 * Place: search.
 *
 * Of a vector x with code x^ and a query q with code q^, both in code space,
 *
 *     | |q - x| - |q^ - x^| |  <=  e_x + e_q
 *
 * by the triangle inequality, with e_x at most codes.max_error and e_q known of the query.  The
 * candidates come by ascending distance of codes, so once the least that |q - x| can be is more
 * than the k-th exact distance so far, no later one can be a result.  q's own code is used for
 * the norm part of the distance, which only makes the error smaller than the bound.
 *
 * The band is what errors of codes do in fact: with e the error of a vector and of the query
 * together, in directions as good as random, 2 e |q - x| / sqrt(dimensions) is a deviation, and
 * three of them are the band around the k-th distance within which codes leave open whether a
 * vector is a result. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/search/rerank.h"

/* The least exact raw distance of a vector whose code is at this distance. */
static double least(const struct vectors *v, const struct code_query *cq, float dist)
{
    const struct codes *c = &v->codes;
    /* What float rounds in A + G + S * dot: a few units of the last place of its terms. */
    const double rounding = 2e-6 * ((double)cq->norm2 + (double)dist);
    const double d = (double)dist - rounding;
    const double root = (d > 0 ? sqrt(d) : 0) - (double)c->max_error - (double)cq->error;
    const double low = root > 0 ? root * root : 0;
    const double raw = (double)codes_raw_distance(c, cq, (float)low);
    return raw - 2e-6 * (fabs(raw) + fabs((double)cq->raw_shift) + cq->raw_scale);
}

float rerank_error2(const struct vectors *v, const struct code_query *cq)
{
    const struct codes *c = &v->codes;
    return c->step * c->step / 12 * (float)cq->padded + cq->error * cq->error;
}

void rerank_band(const struct vectors *v, const struct code_query *cq, float *root, float *add)
{
    const float error2 = rerank_error2(v, cq);
    *root = 6 * sqrtf(error2 / (float)cq->padded);
    *add = 4 * error2;
}

size_t rerank_trim(const struct vectors *v, const struct kind_query *q, const search_key *keys,
                   size_t n)
{
    float root, add;
    if (n <= q->k)
        return n;
    const float kth = key_dist(keys[q->k - 1]);
    rerank_band(v, vectors_code_query(v, q->query), &root, &add);
    while (n > q->k && key_dist(keys[n - 1]) > rerank_limit(kth, root, add))
        n--;
    return n;
}

/* Of ascending keys [n], n > k: how many are nearer than the k-th by more than the band. */
static size_t count_sure(const struct vectors *v, const struct code_query *cq,
                         const search_key *keys, size_t k)
{
    float root, add;
    const float kth = key_dist(keys[k - 1]);
    rerank_band(v, cq, &root, &add);
    const float sure = kth - root * sqrtf(kth) - add;
    size_t n = 0;
    while (n < k && key_dist(keys[n]) < sure)
        n++;
    return n;
}

void rerank(const struct vectors *v, const struct kind_query *q, struct scratch *s,
            const search_key *keys, size_t n, size_t k, search_key *out)
{
    enum { RUN = 8 }; /* candidates asked for at once after the first k */
    const struct code_query *cq = vectors_code_query(v, q->query);
    uint32_t *slots = s->slots.data;
    float *dists = s->dists.data;
    struct topk t = {.keys = out, .k = k};
    size_t at = 0, run;
    if (q->ids_only) {
        at = n == k ? k : count_sure(v, cq, keys, k);
        memcpy(out, keys, at * sizeof *out);
        t.keys += at;
        t.k -= at;
        if (t.k == 0)
            return;
    }
    for (size_t i = at; i < n; i++)
        slots[i] = key_slot(keys[i]);
    run = t.k;
    while (at < n) {
        if (run > n - at)
            run = n - at;
        vectors_many(v, q->query, slots + at, run, dists);
        q->stats->distances += run;
        for (size_t i = 0; i < run; i++)
            topk_push(&t, key_make(dists[i], slots[at + i]));
        at += run;
        for (run = 0; run < RUN && at + run < n; run++)
            if (least(v, cq, key_dist(keys[at + run])) > (double)topk_limit(&t))
                break;
        if (run == 0)
            break;
    }
    topk_sort(&t);
}
