/* stops.c - what an effort means: at which distance a query stops taking lists.
 *
 * Place: ivfpq.  How far away lists may be that still matter, by the distance of the worst kept
 * candidate, is much alike from one set of vectors to another; how many lists that makes is
 * not.  So some entries, as what their codes stand for, are searched for as far as the largest
 * effort goes, and for each power of two it is noted at which factor so many lists would have
 * been looked at on average.
 *
 * With codes alone, where an effort is the least number of lists, the factor says how many more
 * there are on average.
 *
 * Learned after an add, when there are twice as many entries as the last time, from entries
 * spread evenly over all, by one thread: so the same adds give the same table. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/codec/listcodes.h"
#include "ann/ivfpq/query.h"

#define SAMPLE       128
#define K_USUAL      10
#define EFFORT_USUAL 64
#define NEARER                                                                                 \
    1.5 /* an entry sees so many lists where a question would see one: as questions of         \
           four sets did, about */
#define NEARER_CODES                                                                           \
    2.0 /* the same with codes alone, where a question looks at a quarter to a half more lists \
           than the least that way */
#define LARGEST 4.0f /* factor; farther lists hold nothing that is wanted */

/* Between two efforts the factor goes with the logarithm of the lists. */
float ivf_gamma(const struct ivfpq *h, double lists)
{
    if (!(lists > 1))
        return h->stops[0];
    const double at = log2(lists);
    if (!(at < IVF_STOPS - 1))
        return h->stops[IVF_STOPS - 1];
    const size_t low = (size_t)at;
    return h->stops[low] + (h->stops[low + 1] - h->stops[low]) * (float)(at - (double)low);
}

/* The factors at which each list of each sampled entry was met. */
struct learning {
    const struct ivfpq *h;
    size_t depth, most;
    struct buf room;
    struct scratch scratch;
    float dists[IVF_RUN + 64];
    uint32_t places[IVF_RUN + 64];
    float *factors; /* [SAMPLE, most] */
    size_t rows;
    uint32_t own; /* slot of the entry that is searched for */
};

/* What an entry stands for, in the space. */
static void decode(const struct ivfpq *h, uint32_t list, uint32_t place, uint8_t *code,
                   float *y)
{
    const struct ivf_list *l = &h->lists[list];
    const float *c = (const float *)h->centroids.data + (size_t)list * h->dim;
    listcodes_get(h->pq.bits, h->m, l->codes, l->n, place, code);
    pq_decode(&h->pq, code, y);
    for (uint32_t d = 0; h->asked.pq_of != ANN_PQ_DIRECT && d < h->dim; d++)
        y[d] += c[d];
}

/* As ivf_scan_list, but for what lives, as the entries that were just added do not yet, and
 * without the entry itself, which a question would not find. */
static void scan(struct learning *l, struct ivf_query *iq, const struct ivf_probe *p)
{
    const struct ivf_list *list = &l->h->lists[p->list];
    const float base = ivf_query_base(l->h, iq, p);
    struct annk_list_run run = {.codes = list->codes, .bias = list->bias, .n = list->n};
    for (; run.first < list->n; run.first = run.last) {
        run.last = list->n - run.first > IVF_RUN ? run.first + IVF_RUN : list->n;
        const size_t n =
            l->h->ops->scan(&iq->scan, &run, base, iq->found.limit, l->dists, l->places);
        for (size_t i = 0; i < n; i++)
            if (l->dists[i] <= iq->found.limit && list->slots[l->places[i]] != l->own)
                reservoir_add(&iq->found, key_make(l->dists[i], 0));
    }
}

static void follow(struct learning *l, struct ivf_query *iq, const struct ivf_probe *probes,
                   size_t n)
{
    float *factors = l->factors + l->rows++ * l->most;
    for (size_t i = 0; i < n; i++) {
        const float factor = probes[i].dist / iq->found.limit; /* 0 while there is no limit */
        factors[i] = factor < LARGEST ? factor : LARGEST;
        scan(l, iq, &probes[i]);
        if (i < IVF_LEAST)
            reservoir_cut(&iq->found);
    }
    for (size_t i = n; i < l->most; i++)
        factors[i] = LARGEST;
}

static ann_err learn_entry(struct learning *l, uint32_t list, uint32_t place)
{
    const struct ivfpq *h = l->h;
    const size_t own = ivf_query_bytes(h, l->depth), desk = ivf_query_desk(h);
    struct ivf_query iq;
    ann_err err = buf_resize(&l->room, own + desk + h->nlist * sizeof(struct ivf_probe));
    if (err)
        return err;
    char *at = (char *)l->room.data + own;
    struct ivf_probe *probes = (struct ivf_probe *)(void *)(at + desk);
    ivf_query_lay(h, l->depth, l->room.data, &iq);
    decode(h, list, place, iq.code, iq.y);
    l->own = h->lists[list].slots[place];
    ivf_query_open(h, NULL, at, &iq);
    err = ivf_query_coarse(h, l->most, &l->scratch, at, &iq, 1);
    if (err)
        return err;
    const size_t n = ivf_coarse_next(h, iq.lists, INFINITY, l->most, at, probes);
    follow(l, &iq, probes, n);
    return ANN_OK;
}

/* Lists that are looked at on average with this factor: those that must be, and all before the
 * first that is too far. */
static double lists_at(const struct learning *l, const struct ivf_effort *e, float gamma)
{
    const size_t most = e->most < l->most ? e->most : l->most;
    double sum = 0;
    for (size_t r = 0; r < l->rows; r++) {
        const float *factors = l->factors + r * l->most;
        size_t n = e->least < most ? e->least : most;
        while (n < most && factors[n] <= gamma)
            n++;
        sum += (double)n;
    }
    return sum / (double)l->rows;
}

static void note(const struct learning *l, float *stops)
{
    enum { HALVINGS = 24 };
    float least = 0; /* more lists are never a smaller factor */
    for (size_t i = 0; i < IVF_STOPS; i++) {
        const double lists = (double)((uint64_t)1 << i);
        const struct ivf_effort e =
            ivf_effort(l->h, &(struct kind_query){.k = K_USUAL, .fine = lists});
        const double seen = lists * (e.least > IVF_LEAST ? NEARER_CODES : NEARER);
        float low = 0, high = LARGEST;
        for (int n = 0; n < HALVINGS; n++) {
            const float middle = (low + high) / 2;
            if (lists_at(l, &e, middle) < seen)
                low = middle;
            else
                high = middle;
        }
        least = high > least ? high : least;
        stops[i] = least;
    }
}

/* Entries spread evenly over all. */
static ann_err learn_entries(struct learning *l)
{
    const struct ivfpq *h = l->h;
    uint64_t seen = 0;
    ann_err err = ANN_OK;
    for (uint32_t list = 0; list < h->nlist && !err; seen += h->lists[list++].n)
        while (!err && l->rows < SAMPLE) {
            const uint64_t at = l->rows * h->entries / SAMPLE;
            if (at >= seen + h->lists[list].n)
                break;
            err = learn_entry(l, list, (uint32_t)(at - seen));
        }
    return err;
}

ann_err ivf_stops_learn(struct ivfpq *h, const struct kind_job *job)
{
    if (h->entries == 0 || h->entries < 2 * h->stops_entries)
        return ANN_OK;
    const struct kind_query q = {.k = K_USUAL, .effort = EFFORT_USUAL};
    const size_t largest = (size_t)1 << (IVF_STOPS - 1);
    struct learning *l = mem_zalloc(1, sizeof *l);
    ann_err err = l ? ANN_OK : ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", sizeof *l);
    if (err)
        return err;
    l->h = h;
    l->most = h->nlist < largest ? h->nlist : largest;
    l->depth = ivf_effort(h, &q).depth;
    l->factors = mem_alloc(SAMPLE * l->most * sizeof *l->factors);
    err = l->factors ? learn_entries(l) : ANN_FAIL(ANN_ENOMEM, "out of memory for a sample");
    if (!err) {
        float stops[IVF_STOPS];
        note(l, stops);
        pthread_rwlock_wrlock(job->gate);
        memcpy(h->stops, stops, sizeof stops);
        h->stops_entries = h->entries;
        pthread_rwlock_unlock(job->gate);
    }
    scratch_free(&l->scratch);
    buf_free(&l->room);
    mem_free(l->factors);
    mem_free(l);
    return err;
}
