/* kmeans.c - k-means with many centroids.  See kmeans.h.
 *
 * Each row is compared with each centroid once, not in each iteration:
 *
 *  - Seeds come in two levels.  About sqrt(k) parts are learned from a few rows, all rows are
 *    assigned to them, and each part gets its share of the centroids by a k-means++ of its own.
 *  - Before the first iteration the FEW centroids nearest to each row are found, by matrix
 *    products; an iteration compares the row with these and its own alone, for centroids seldom
 *    move past so many others.
 *
 * Inertia is within 1 % of that of full assignments (docs/benchmarking.md); the work of an
 * iteration is FEW + 1 distances a row, whatever k is.
 *
 * A centroid without rows takes a half of the cluster with the largest inertia.
 *
 * Rows are kept sorted by cluster, and a cluster is moved and assigned by one thread in the
 * order of its rows: so the sums are the same for any number of threads. */
#include <config.h>

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/base/rng.h"
#include "ann/codec/kmeans.h"
#include "ann/codec/kmeans_few.h"

#define ITERATIONS   10
#define PER_CENTROID 256

#define FEW         16   /* centroids a row is compared with, besides its own */
#define PARTS_FROM  64   /* centroids, for more than one part */
#define PART_ROWS   256  /* rows a part is learned from */
#define PART_LEARN  256  /* rows a centroid of a part is learned from */
#define PART_ROUNDS 4    /* iterations of parts and within them */
#define PART_SEEDS  32   /* rows a centroid of a part is seeded from */
#define AHEAD       3    /* rows between a prefetch and its use */
#define FETCHED     2048 /* bytes of a row that are prefetched, at most */

/* One thread's memory. */
struct helper {
    double *sums;   /* [dim] */
    float *dists;   /* [parts] or [FEW] */
    uint32_t *ids;  /* [parts] */
};

struct course {
    const struct annk_ops *ops;
    const float *x;
    size_t dim;
    uint32_t n, k;
    bool spherical;
    uint64_t seed;
    struct pool *pool;
    uint32_t *rows, *rows2; /* [n] of x, by cluster */
    uint32_t *start;        /* [k + 1] where a cluster's rows begin */
    uint32_t *home;         /* [n] the cluster each row belongs to */
    uint32_t *place;        /* [n] where a row's candidates stand */
    uint32_t *place2;       /* [n] */
    float *dists;           /* [n] to its centroid, when last assigned */
    float *centroids;       /* [k, dim] */
    uint32_t *moved;        /* [k] rows that left the cluster when last assigned */
    bool *stale;            /* [k] its rows are not those its centroid is the mean of */
    double *spread;         /* [k] inertia, where a split is sought */
    uint32_t *donor;        /* [k] of an empty cluster */
    /* parts */
    uint32_t parts;
    float *centres;  /* [parts, dim] */
    uint32_t *first; /* [parts + 1] where a part's centroids begin */
    /* candidates */
    uint32_t few;   /* FEW, or k */
    uint32_t *near; /* [n, few] by place, nearest first */
    struct helper *helpers;
    atomic_bool failed; /* a thread had no memory */
};

static float *centroid(const struct course *c, uint32_t i)
{
    return c->centroids + i * c->dim;
}

static const float *row(const struct course *c, uint32_t at)
{
    return c->x + c->rows[at] * c->dim;
}

static const uint32_t *candidates(const struct course *c, uint32_t at)
{
    return c->near + (size_t)c->place[at] * c->few;
}

/* Rows lie anywhere in x: those to come are fetched meanwhile. */
static void fetch_row(const struct course *c, uint32_t at)
{
    const uint32_t ahead = at + AHEAD < c->n ? at + AHEAD : c->n - 1;
    const char *x = (const char *)row(c, ahead);
    const size_t bytes = c->dim * sizeof(float) < FETCHED ? c->dim * sizeof(float) : FETCHED;
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch(x + i);
}

/* ---- rows by cluster ---- */

/* Sorts the rows by home; the order within a cluster stays. */
static void sort_rows(struct course *c, uint32_t clusters)
{
    uint32_t *start = c->start;
    memset(start, 0, (clusters + 1) * sizeof *start);
    for (uint32_t i = 0; i < c->n; i++)
        start[c->home[i]]++;
    uint32_t sum = 0;
    for (uint32_t j = 0; j <= clusters; j++) {
        const uint32_t count = start[j];
        start[j] = sum;
        sum += count;
    }
    for (uint32_t i = 0; i < c->n; i++) {
        const uint32_t to = start[c->home[i]]++;
        c->rows2[to] = c->rows[i];
        c->place2[to] = c->place[i];
    }
    memmove(start + 1, start, clusters * sizeof *start);
    start[0] = 0;
    uint32_t *rows = c->rows, *place = c->place;
    c->rows = c->rows2;
    c->rows2 = rows;
    c->place = c->place2;
    c->place2 = place;
    for (uint32_t j = 0; j < clusters; j++)
        for (uint32_t i = start[j]; i < start[j + 1]; i++)
            c->home[i] = j;
}

static uint32_t size_of(const struct course *c, uint32_t cluster)
{
    return c->start[cluster + 1] - c->start[cluster];
}

/* ---- seeds ---- */

#define ROW_BLOCK 256

static void part_body(void *arg, size_t block, unsigned worker)
{
    struct course *c = arg;
    const struct helper *h = &c->helpers[worker];
    const uint32_t begin = (uint32_t)block * ROW_BLOCK;
    const uint32_t end = c->n - begin < ROW_BLOCK ? c->n : begin + ROW_BLOCK;
    for (uint32_t p = 0; p < c->parts; p++)
        h->ids[p] = p;
    for (uint32_t i = begin; i < end; i++)
        c->home[i] =
            kmeans_nearest(c->ops, row(c, i), c->centres, c->dim, h->ids, c->parts, h->dists);
}

/* Learns the parts, and sorts the rows by them. */
static ann_err make_parts(struct course *c)
{
    const uint64_t most = (uint64_t)c->parts * PART_ROWS;
    const uint32_t learn = c->n < most ? c->n : (uint32_t)most;
    for (uint32_t i = 0; i < learn; i++)
        c->rows2[i] = c->rows[(uint64_t)i * c->n / learn];
    const struct kmeans_few few = {.ops = c->ops,
                                   .x = c->x,
                                   .dim = c->dim,
                                   .rows = c->rows2,
                                   .n = learn,
                                   .seeds = c->parts * PART_SEEDS,
                                   .k = c->parts,
                                   .iterations = c->parts > 1 ? PART_ROUNDS : 0,
                                   .seed = rng_at(c->seed, 1),
                                   .centroids = c->centres,
                                   .home = c->home};
    if (!kmeans_few(&few))
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %u parts", c->parts);
    pool_for(c->pool, ((size_t)c->n + ROW_BLOCK - 1) / ROW_BLOCK, 1, part_body, c);
    sort_rows(c, c->parts);
    return ANN_OK;
}

/* first: each part's share of the centroids, by its rows; at least one where there are rows. */
static void share_out(struct course *c)
{
    uint32_t *share = c->first;
    for (uint32_t p = 0; p < c->parts; p++)
        share[p] = (uint32_t)((uint64_t)c->k * c->start[p + 1] / c->n -
                              (uint64_t)c->k * c->start[p] / c->n);
    for (uint32_t p = 0; p < c->parts; p++)
        if (share[p] == 0 && size_of(c, p) > 0) {
            uint32_t most = 0;
            for (uint32_t q = 1; q < c->parts; q++)
                if (share[q] > share[most])
                    most = q;
            share[most]--;
            share[p] = 1;
        }
    uint32_t sum = 0;
    for (uint32_t p = 0; p <= c->parts; p++) {
        const uint32_t own = p < c->parts ? share[p] : 0;
        c->first[p] = sum;
        sum += own;
    }
}

static void seed_body(void *arg, size_t p, unsigned worker)
{
    struct course *c = arg;
    (void)worker;
    const uint32_t first = c->first[p], k = c->first[p + 1] - first;
    if (k == 0)
        return;
    const struct kmeans_few few = {.ops = c->ops,
                                   .x = c->x,
                                   .dim = c->dim,
                                   .rows = c->rows + c->start[p],
                                   .n = size_of(c, (uint32_t)p),
                                   .learn = k * PART_LEARN,
                                   .seeds = k * PART_SEEDS,
                                   .k = k,
                                   .iterations = PART_ROUNDS,
                                   .seed = rng_at(c->seed, p + 2),
                                   .centroids = centroid(c, first),
                                   .home = c->home + c->start[p]};
    if (!kmeans_few(&few))
        atomic_store(&c->failed, true);
    for (uint32_t i = c->start[p]; i < c->start[p + 1]; i++)
        c->home[i] += first;
}

static ann_err seed(struct course *c)
{
    ann_err err = make_parts(c);
    if (err)
        return err;
    share_out(c);
    pool_for(c->pool, c->parts, 1, seed_body, c);
    if (atomic_load(&c->failed))
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %u centroids", c->k);
    sort_rows(c, c->k);
    for (uint32_t i = 0; i < c->k; i++)
        c->stale[i] = true;
    return ANN_OK;
}

/* ---- centroids to their rows ---- */

static void to_length_1(float *x, size_t dim)
{
    double norm2 = 0;
    for (size_t j = 0; j < dim; j++)
        norm2 += (double)x[j] * x[j];
    const double by = norm2 > 0 ? 1 / sqrt(norm2) : 0;
    for (size_t j = 0; j < dim && by > 0; j++)
        x[j] = (float)(x[j] * by);
}

static void move_body(void *arg, size_t i, unsigned worker)
{
    struct course *c = arg;
    const uint32_t n = size_of(c, (uint32_t)i);
    if (!c->stale[i] || n == 0)
        return;
    double *sums = c->helpers[worker].sums;
    memset(sums, 0, c->dim * sizeof *sums);
    for (uint32_t r = c->start[i]; r < c->start[i + 1]; r++) {
        const float *x = row(c, r);
        fetch_row(c, r);
        for (size_t j = 0; j < c->dim; j++)
            sums[j] += x[j];
    }
    float *to = centroid(c, (uint32_t)i);
    for (size_t j = 0; j < c->dim; j++)
        to[j] = (float)(sums[j] / n);
    if (c->spherical)
        to_length_1(to, c->dim);
    c->stale[i] = false;
}

static void spread_body(void *arg, size_t i, unsigned worker)
{
    struct course *c = arg;
    (void)worker;
    double sum = 0;
    if (size_of(c, (uint32_t)i) > 1)
        for (uint32_t r = c->start[i]; r < c->start[i + 1]; r++)
            sum += c->ops->dist[ANNK_L2][ANNK_F32](row(c, r), centroid(c, (uint32_t)i), c->dim);
    c->spread[i] = sum;
}

struct place {
    double spread;
    uint32_t cluster;
};

static int by_spread(const void *a, const void *b)
{
    const struct place *p = a, *q = b;
    if (p->spread != q->spread)
        return p->spread > q->spread ? -1 : 1;
    return p->cluster < q->cluster ? -1 : p->cluster > q->cluster;
}

/* Gives each empty cluster one to share with, those of the largest spread; how many got one. */
static uint32_t choose_donors(struct course *c, struct place *places)
{
    uint32_t n = 0, given = 0;
    for (uint32_t i = 0; i < c->k; i++) {
        c->donor[i] = UINT32_MAX;
        if (c->spread[i] > 0)
            places[n++] = (struct place){c->spread[i], i};
    }
    qsort(places, n, sizeof *places, by_spread);
    for (uint32_t i = 0; i < c->k && given < n; i++)
        if (size_of(c, i) == 0)
            c->donor[i] = places[given++].cluster;
    return given;
}

/* Half of the donor's rows to the empty cluster; equal rows cannot be halved. */
static void split_body(void *arg, size_t empty, unsigned worker)
{
    struct course *c = arg;
    const uint32_t donor = c->donor[empty];
    (void)worker;
    if (donor == UINT32_MAX)
        return;
    uint32_t *home = c->home + c->start[donor];
    const uint32_t n = size_of(c, donor);
    float *two = mem_alloc(2 * c->dim * sizeof *two);
    const struct kmeans_few few = {.ops = c->ops,
                                   .x = c->x,
                                   .dim = c->dim,
                                   .rows = c->rows + c->start[donor],
                                   .n = n,
                                   .k = 2,
                                   .iterations = PART_ROUNDS,
                                   .seed = rng_at(c->seed, (uint64_t)c->k + empty),
                                   .centroids = two,
                                   .home = home};
    if (!two || !kmeans_few(&few)) {
        atomic_store(&c->failed, true);
    } else {
        uint32_t away = 0;
        for (uint32_t i = 0; i < n; i++) {
            away += home[i];
            home[i] = home[i] ? (uint32_t)empty : donor;
        }
        if (away == 0 || away == n) {
            c->spread[donor] = 0;
            for (uint32_t i = 0; i < n; i++)
                home[i] = donor;
        } else {
            c->stale[empty] = c->stale[donor] = true;
        }
    }
    mem_free(two);
}

static bool any_empty(const struct course *c)
{
    for (uint32_t i = 0; i < c->k; i++)
        if (size_of(c, i) == 0)
            return true;
    return false;
}

/* Until no cluster is empty or none can be split. */
static ann_err repair(struct course *c)
{
    if (!any_empty(c))
        return ANN_OK;
    struct place *places = mem_alloc(c->k * sizeof *places);
    if (!places)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %u clusters", c->k);
    pool_for(c->pool, c->k, 16, spread_body, c);
    while (any_empty(c) && choose_donors(c, places) > 0 && !atomic_load(&c->failed)) {
        pool_for(c->pool, c->k, 16, split_body, c);
        sort_rows(c, c->k);
        pool_for(c->pool, c->k, 16, move_body, c);
        for (uint32_t i = 0; i < c->k; i++)
            if (c->donor[i] != UINT32_MAX && size_of(c, i) > 0) {
                spread_body(c, i, 0);
                spread_body(c, c->donor[i], 0);
            }
    }
    mem_free(places);
    return atomic_load(&c->failed)
               ? ANN_FAIL(ANN_ENOMEM, "out of memory for a split of clusters")
               : ANN_OK;
}

static ann_err move(struct course *c)
{
    sort_rows(c, c->k);
    pool_for(c->pool, c->k, 4, move_body, c);
    return repair(c);
}

/* ---- rows to their centroids ---- */

static ann_err find_candidates(struct course *c)
{
    for (uint32_t i = 0; i < c->n; i++)
        c->place[i] = i;
    return kmeans_candidates(c->ops, c->x, c->rows, c->n, c->dim, c->centroids, c->k, c->few,
                             c->pool, c->near);
}

static void assign_body(void *arg, size_t i, unsigned worker)
{
    struct course *c = arg;
    float *dists = c->helpers[worker].dists;
    uint32_t left = 0;
    for (uint32_t r = c->start[i]; r < c->start[i + 1]; r++) {
        const uint32_t *near = candidates(c, r);
        uint32_t home = (uint32_t)i;
        fetch_row(c, r);
        float best = c->ops->dist[ANNK_L2][ANNK_F32](row(c, r), centroid(c, home), c->dim);
        c->ops->many[ANNK_L2][ANNK_F32](row(c, r), c->centroids, c->dim * sizeof(float), near,
                                        c->few, c->dim, dists);
        for (uint32_t j = 0; j < c->few; j++)
            if (dists[j] < best) {
                best = dists[j];
                home = near[j];
            }
        c->dists[r] = best;
        c->home[r] = home;
        if (home != i) {
            left++;
            c->stale[i] = true;
        }
    }
    c->moved[i] = left;
}

/* How many rows left their clusters. */
static uint64_t assign(struct course *c)
{
    uint64_t moved = 0;
    pool_for(c->pool, c->k, 4, assign_body, c);
    for (uint32_t i = 0; i < c->k; i++) {
        moved += c->moved[i];
        for (uint32_t r = c->start[i]; c->moved[i] > 0 && r < c->start[i + 1]; r++)
            c->stale[c->home[r]] = true;
    }
    return moved;
}

/* ---- the course ---- */

static void course_close(struct course *c)
{
    for (unsigned i = 0; c->helpers && i < pool_threads(c->pool); i++) {
        mem_free(c->helpers[i].sums);
        mem_free(c->helpers[i].dists);
        mem_free(c->helpers[i].ids);
    }
    mem_free(c->helpers);
    mem_free(c->rows);
    mem_free(c->rows2);
    mem_free(c->start);
    mem_free(c->home);
    mem_free(c->place);
    mem_free(c->place2);
    mem_free(c->dists);
    mem_free(c->moved);
    mem_free(c->stale);
    mem_free(c->spread);
    mem_free(c->donor);
    mem_free(c->centres);
    mem_free(c->first);
    mem_free(c->near);
}

static bool helpers_open(struct course *c)
{
    const uint32_t dists = c->parts > FEW ? c->parts : FEW;
    c->helpers = mem_zalloc(pool_threads(c->pool), sizeof *c->helpers);
    bool ok = c->helpers != NULL;
    for (unsigned i = 0; ok && i < pool_threads(c->pool); i++) {
        struct helper *h = &c->helpers[i];
        h->sums = mem_alloc(c->dim * sizeof *h->sums);
        h->dists = mem_alloc(dists * sizeof *h->dists);
        h->ids = mem_alloc(c->parts * sizeof *h->ids);
        ok = h->sums && h->dists && h->ids;
    }
    return ok;
}

static ann_err course_open(struct course *c)
{
    const size_t n = c->n, k = c->k;
    c->parts = c->k < PARTS_FROM ? 1 : (uint32_t)sqrt((double)c->k);
    c->few = c->k < FEW ? c->k : FEW;
    c->rows = mem_alloc(n * sizeof *c->rows);
    c->rows2 = mem_alloc(n * sizeof *c->rows2);
    c->home = mem_alloc(n * sizeof *c->home);
    c->place = mem_zalloc(n, sizeof *c->place);
    c->place2 = mem_alloc(n * sizeof *c->place2);
    c->dists = mem_alloc(n * sizeof *c->dists);
    c->start = mem_alloc((k + 1) * sizeof *c->start);
    c->moved = mem_alloc(k * sizeof *c->moved);
    c->stale = mem_alloc(k * sizeof *c->stale);
    c->spread = mem_alloc(k * sizeof *c->spread);
    c->donor = mem_alloc(k * sizeof *c->donor);
    c->centres = mem_zalloc(c->parts, c->dim * sizeof *c->centres);
    c->first = mem_alloc((c->parts + (size_t)1) * sizeof *c->first);
    c->near = mem_alloc(n * c->few * sizeof *c->near);
    const bool ok = c->rows && c->rows2 && c->home && c->place && c->place2 && c->dists &&
                    c->start && c->moved && c->stale && c->spread && c->donor && c->centres &&
                    c->first && c->near && helpers_open(c);
    return ok ? ANN_OK
              : ANN_FAIL(ANN_ENOMEM, "out of memory: %u centroids of %u rows", c->k, c->n);
}

static ann_err run(struct course *c, const struct kmeans_options *o,
                   struct kmeans_report *report)
{
    const uint32_t most = o->iterations ? o->iterations : ITERATIONS;
    ann_err err = seed(c);
    uint64_t moved = c->n;
    for (uint32_t i = 0; !err && i < most && moved > 0; i++) {
        if (o->progress && o->progress(o->progress_arg, "train", i, most))
            return ANN_FAIL(ANN_ECANCELED, "stopped at iteration %u of k-means", i);
        err = move(c);
        if (!err && i == 0)
            err = find_candidates(c);
        if (!err) {
            moved = assign(c);
            report->iterations = i + 1;
        }
    }
    report->inertia = 0;
    for (uint32_t i = 0; !err && i < c->n; i++)
        report->inertia += c->dists[i];
    return err ? err : move(c);
}

void kmeans_sample(uint64_t n, uint32_t want, uint64_t seed, uint32_t *rows)
{
    for (uint64_t i = 0; i < want; i++) {
        const uint64_t begin = i * n / want, end = (i + 1) * n / want;
        uint64_t state = rng_at(seed, i);
        rows[i] = (uint32_t)(begin + rng_below(&state, end - begin));
    }
}

ann_err kmeans_train(const struct annk_ops *ops, const float *x, size_t n, size_t dim,
                     const struct kmeans_options *o, struct pool *pool, float *centroids,
                     struct kmeans_report *report)
{
    if (o->k == 0 || n == 0 || n > UINT32_MAX)
        return ANN_FAIL(ANN_EINVAL, "%u centroids of %zu rows", o->k, n);
    struct kmeans_report none = {0};
    struct kmeans_report *told = report ? report : &none;
    memset(told, 0, sizeof *told);
    if (n <= o->k) {
        for (size_t i = 0; i < o->k; i++)
            memcpy(centroids + i * dim, x + i % n * dim, dim * sizeof *centroids);
        told->rows = n;
        return ANN_OK;
    }
    const uint64_t most = (uint64_t)o->k * (o->per_centroid ? o->per_centroid : PER_CENTROID);
    struct course c = {.ops = ops,
                       .x = x,
                       .dim = dim,
                       .n = (uint32_t)(n < most ? n : most),
                       .k = o->k,
                       .spherical = o->spherical,
                       .seed = o->seed,
                       .pool = pool,
                       .centroids = centroids};
    ann_err err = course_open(&c);
    if (!err) {
        kmeans_sample(n, c.n, o->seed, c.rows);
        told->rows = c.n;
        err = run(&c, o, told);
    }
    course_close(&c);
    return err;
}
