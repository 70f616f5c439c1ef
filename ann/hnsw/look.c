/* look.c - a look at the first vectors, before there is a graph: how many links it should have.
 *
 * Place: hnsw, before the first add (or in ann_train).  Source: Radovanovic, Nanopoulos,
 * Ivanovic, "Hubs in space", JMLR 2010.  Where few vectors are among the nearest of very many,
 * and many are among those of hardly any, a graph leads to the few and needs wide rows to get
 * past them.  How many dimensions vectors have says little of that: embeddings of words have
 * hubs, those of sentences, descriptors of images and pixels hardly any.
 *
 * Invariant: which vectors are looked at depends on seed and number, and sums go in a fixed
 * order, so the same vectors give the same degree on every machine and for any number of
 * threads. */
#include <config.h>

#include <math.h>

#include "ann/base/error.h"
#include "ann/base/rng.h"
#include "ann/hnsw/hnsw.h"

#define SAMPLE 1024
#define NEAREST 10
#define HUB (3 * NEAREST) /* is among the nearest of more than this many: three times the mean */
#define FEWEST (4 * SAMPLE) /* vectors: of fewer, a look would take longer than it saves */
#define LANES 16

struct look {
    const struct vectors *v;
    const ann_view *view;
    uint64_t seed;
    float *rows;                      /* [SAMPLE, row_floats] */
    size_t row_floats;                /* dim, and 0s to a multiple of LANES */
    uint32_t near[SAMPLE][NEAREST];   /* of each, itself left out */
    double tenth[SAMPLE], mean[SAMPLE]; /* squared distance of the tenth nearest and of all */
};

/* One of each of SAMPLE equal stretches of the view. */
static void take_row(void *arg, size_t i, unsigned worker)
{
    struct look *l = arg;
    (void)worker;
    uint64_t random = rng_at(l->seed, i);
    const size_t from = l->view->n / SAMPLE * i;
    const size_t at = from + (size_t)rng_below(&random, l->view->n / SAMPLE);
    vectors_query(l->v, l->view, at, l->rows + i * l->row_floats);
}

static double sum(const float *lane)
{
    double all = 0;
    for (size_t j = 0; j < LANES; j++)
        all += (double)lane[j];
    return all;
}

static double squared_distance(const float *a, const float *b, size_t n)
{
    float lane[LANES] = {0};
    for (size_t i = 0; i < n; i += LANES)
        for (size_t j = 0; j < LANES; j++) {
            const float d = a[i + j] - b[i + j];
            lane[j] += d * d;
        }
    return sum(lane);
}

static double product(const float *a, const float *b, size_t n)
{
    float lane[LANES] = {0};
    for (size_t i = 0; i < n; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            lane[j] += a[i + j] * b[i + j];
    return sum(lane);
}

static void look_around(void *arg, size_t i, unsigned worker)
{
    struct look *l = arg;
    const size_t n = l->row_floats;
    const float *row = l->rows + i * n;
    search_key keys[NEAREST + 1];
    struct beam nearest;
    double all = 0;
    (void)worker;
    beam_reset(&nearest, keys, NEAREST);
    for (size_t j = 0; j < SAMPLE; j++) {
        if (j == i)
            continue;
        const float *other = l->rows + j * n;
        const double d = l->v->metric == ANN_IP ? -product(row, other, n)
                                                : squared_distance(row, other, n);
        all += d;
        beam_insert(&nearest, key_make((float)d, (uint32_t)j));
    }
    for (size_t j = 0; j < NEAREST; j++)
        l->near[i][j] = key_slot(keys[j]);
    l->tenth[i] = (double)key_dist(keys[NEAREST - 1]);
    l->mean[i] = all / (SAMPLE - 1);
}

static double hub_share(const struct look *l)
{
    uint32_t times[SAMPLE] = {0}, hubs = 0;
    for (size_t i = 0; i < SAMPLE; i++)
        for (size_t j = 0; j < NEAREST; j++)
            times[l->near[i][j]]++;
    for (size_t i = 0; i < SAMPLE; i++)
        hubs += times[i] > HUB ? times[i] : 0;
    return (double)hubs / (SAMPLE * NEAREST);
}

/* Standard deviation of squared lengths by their mean. */
static double length_spread(const struct look *l)
{
    double first = 0, second = 0;
    for (size_t i = 0; i < SAMPLE; i++) {
        const double square = frame_norm2(l->rows + i * l->row_floats, l->v->dim);
        first += square / SAMPLE;
        second += square * square / SAMPLE;
    }
    const double variance = second - first * first;
    return first > 0 && variance > 0 ? sqrt(variance) / first : 0;
}

static void sum_up(const struct look *l, struct hnsw_look *out)
{
    double tenth = 0, mean = 0;
    for (size_t i = 0; i < SAMPLE; i++) {
        tenth += l->tenth[i];
        mean += l->mean[i];
    }
    const bool ip = l->v->metric == ANN_IP;
    *out = (struct hnsw_look){.count = l->view->n,
                              .hubs = hub_share(l),
                              .tenth = mean > 0 && !ip ? tenth / mean : 0,
                              .lengths = ip ? length_spread(l) : 0};
}

static ann_err look_at(const struct hnsw *h, const ann_view *view, const struct kind_job *job,
                       struct hnsw_look *out)
{
    struct look *l = mem_zalloc(1, sizeof *l);
    if (!l)
        return ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", sizeof *l);
    l->v = h->vec;
    l->view = view;
    l->seed = h->seed;
    l->row_floats = ((size_t)h->vec->dim + LANES - 1) / LANES * LANES;
    l->rows = mem_zalloc(SAMPLE, l->row_floats * sizeof *l->rows);
    ann_err err = ANN_OK;
    if (l->rows) {
        pool_for(job->pool, SAMPLE, 16, take_row, l);
        pool_for(job->pool, SAMPLE, 16, look_around, l);
        sum_up(l, out);
    } else {
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for a look at %d vectors", SAMPLE);
    }
    mem_free(l->rows);
    mem_free(l);
    return err;
}

ann_err hnsw_settle(void *state, const ann_view *view, const struct kind_job *job)
{
    struct hnsw *h = state;
    struct hnsw_look look;
    if (!h->open_m || h->slots > 0 || view->n < FEWEST)
        return ANN_OK;
    const ann_err err = look_at(h, view, job, &look);
    if (err)
        return err;
    const ann_options o = {.kind = ANN_HNSW,
                           .profile = ANN_PROFILE_FAST,
                           .metric = h->vec->metric,
                           .dim = h->vec->dim};
    const uint32_t m = hnsw_choose_m(&o, &look);
    pthread_rwlock_wrlock(job->gate);
    h->open_m = false;
    h->m = m;
    h->m0 = 2 * m;
    if (h->open_ef)
        h->ef_construction = hnsw_choose_ef_construction(&o, m);
    pthread_rwlock_unlock(job->gate);
    return ANN_OK;
}
