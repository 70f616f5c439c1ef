/* spread.c - how fast neighbours thin out: the table that gives effort its meaning.
 *
 * Place: hnsw; made at the end of bulk builds, read by walk.c.  The ratio of the distance of the
 * 10 * 2^i-th neighbour to that of the 10th, both squared and in code space, is the median over
 * sampled nodes of what a wide search of the graph finds.  An effort e then stands for a search
 * that looks as far as the e-th neighbour of a typical node is, whatever the dimension.
 *
 * Invariant: distances are integers, divisions are IEEE's and the sample depends on the seed and
 * the slots, so the table is the same on every machine and for any number of threads. */
#include <config.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/base/rng.h"
#include "ann/hnsw/hnsw.h"

#define SAMPLES 128
#define FARTHEST ((size_t)10 << (HNSW_RANKS - 1)) /* neighbours looked for */
#define GROWTH 2 /* times as many nodes: made again */

struct survey {
    const struct hnsw *h;
    struct hnsw_worker *workers;
    uint32_t slots[SAMPLES];
    float ratios[HNSW_RANKS][SAMPLES]; /* 0: not known */
};

static void look_around(void *arg, size_t i, unsigned worker)
{
    struct survey *s = arg;
    struct hnsw_worker *w = &s->workers[worker];
    const void *query = hnsw_slot_query(s->h, s->slots[i], w->query);
    struct beam beam;
    const search_key start = hnsw_find_start(s->h, query, 0, w);
    beam_reset(&beam, w->keys, FARTHEST + 1);
    hnsw_find(s->h, query, 0, start, &beam, w);
    /* keys[0] is the node itself, or its twin */
    const float tenth = beam.size > 10 ? key_dist(beam.keys[10]) : 0;
    for (unsigned r = 0; r < HNSW_RANKS; r++) {
        const size_t rank = (size_t)10 << r;
        s->ratios[r][i] = tenth > 0 && rank < beam.size
                              ? (float)((double)key_dist(beam.keys[rank]) / (double)tenth)
                              : 0;
    }
}

static int float_order(const void *pa, const void *pb)
{
    const float a = *(const float *)pa, b = *(const float *)pb;
    return (a > b) - (a < b);
}

/* Median of what is known of a rank; 0 where that is less than half. */
static float median(float *ratios, size_t n)
{
    size_t unknown = 0;
    qsort(ratios, n, sizeof *ratios, float_order);
    while (unknown < n && ratios[unknown] <= 0)
        unknown++;
    return unknown > n / 2 ? 0 : ratios[unknown + (n - unknown) / 2];
}

static size_t pick(const struct hnsw *h, uint32_t *slots)
{
    uint64_t random = rng_at(h->seed, h->linked);
    size_t n = 0;
    while (n < SAMPLES) {
        const uint32_t slot = (uint32_t)rng_below(&random, h->slots);
        if (*hnsw_state(h, slot) == HNSW_LINKED)
            slots[n++] = slot;
    }
    return n;
}

ann_err hnsw_spread_make(struct hnsw *h, const struct kind_job *job)
{
    if (h->vec->codes.type == CODE_NONE || h->linked < 2 * FARTHEST ||
        h->linked / GROWTH < h->spread_nodes)
        return ANN_OK;
    struct survey *s = mem_zalloc(1, sizeof *s);
    const unsigned threads = pool_threads(job->pool);
    float table[HNSW_RANKS];
    if (!s)
        return ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", sizeof *s);
    s->h = h;
    const ann_err err = hnsw_workers_open(h, threads, FARTHEST + 1, &s->workers);
    if (!err) {
        const size_t n = pick(h, s->slots);
        pool_for(job->pool, n, 1, look_around, s);
        for (unsigned r = 0; r < HNSW_RANKS; r++) {
            table[r] = median(s->ratios[r], n);
            if (r > 0 && table[r] < table[r - 1])
                table[r] = table[r - 1];
        }
        pthread_rwlock_wrlock(job->gate);
        memcpy(h->spread, table, sizeof table);
        h->spread_nodes = h->linked;
        pthread_rwlock_unlock(job->gate);
        hnsw_workers_close(s->workers, threads);
    }
    mem_free(s);
    return err;
}

double hnsw_intrinsic_dim(const struct hnsw *h)
{
    const double far = h->spread[HNSW_RANKS - 1], near = h->spread[0];
    return near > 0 && far > near ? 2 * (HNSW_RANKS - 1) / log2(far / near) : 0;
}

ann_err hnsw_spread_check(const float *spread)
{
    for (unsigned r = 0; r < HNSW_RANKS; r++)
        if (!(spread[r] >= 0 && spread[r] < 1e30f) || (r > 0 && spread[r] < spread[r - 1]))
            return ANN_FAIL(ANN_EDAMAGED, "section spread: number %u is %g", r,
                            (double)spread[r]);
    return ANN_OK;
}
