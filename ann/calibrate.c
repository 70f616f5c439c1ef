/* calibrate.c - ann_calibrate: which effort gives which recall, learned by exact search.
 *
 * Place: front door.  Each effort of a ladder is tried on the same queries, whose true
 * neighbours are found once by the flat kind; a curve for each of a few k.  Without queries,
 * stored vectors are sampled, each searched for with its own node hidden (the walk takes it as
 * visited).  That is harder than to search for what the index never had: in a graph a vector's
 * neighbours lost the links that it made needless.  How much harder, an exponent of what is
 * missed, shows a small index of the same vectors, from which some were kept out.
 *
 * Invariant: same index, queries and seed: same curve, for any number of threads. */
#include <config.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/base/rng.h"
#include "ann/internal.h"

#define QUERIES_LEAST 2000 /* of sampled ones every effort takes so many, and more of */
#define QUERIES_MOST 8000  /* these until the mean is known within */
#define WITHIN 0.005       /* so much, with the confidence asked for; */
#define NEIGHBOURS_MOST 8000000 /* the least again where they have more together: 12 bytes each */
#define QUERIES_MAX 100000
#define CONFIDENCE_DEFAULT 0.95
#define K_USUAL 10
#define CHUNK 256         /* queries between two calls of the progress function */
#define LEAST_SHARE 16    /* a curve begins at an effort of k by this */
#define ENOUGH 0.999      /* recall at which it ends */
#define DEAREST 8         /* ... or where a query looks at this part of many vectors (and what
                             more queries than the least may cost), */
#define DEAREST_SHORT 2   /* or, of short codes, which cost a tenth, at this part */
#define MANY 100000
#define GAP 0.02          /* steps of recall wider than this are halved, */
#define GAP_FROM 0.7      /* from this recall on */
#define SMALL 20000       /* vectors of the small index, */
#define KEPT_OUT_OF 4     /* and, of few vectors, one in so many kept out of it */
#define PART 0.1          /* what these miss is to be known within so much of it, */
#define FEW_MISSED 30     /* neighbours: fewer tell nothing */
#define MUCH_MISSED 0.5   /* nor does more */
#define CURVES 4
#define STEPS (CURVE_POINTS / CURVES)

/* 1, 2, 3, 4, 6, 8, 11, 16, ...: each about the square root of two times the one before. */
static size_t ladder(size_t i)
{
    const double root = 1.4142135623730951;
    if (i < 4)
        return i + 1;
    const size_t half = i - 4 + 5; /* 6 is sqrt(2)^5 */
    return (size_t)(pow(2, (double)(half / 2)) * (half % 2 ? root : 1) + 0.5);
}

/* Queries answered, of about so many. */
struct headway {
    uint64_t done, total;
};

/* Where hidden queries miss so much, others miss a power of it: learned at several efforts. */
struct powers {
    size_t n;
    double missed[STEPS]; /* by hidden ones: the logarithm, falling */
    double power[STEPS];  /* at least, with the confidence */
};

struct run {
    ann_index *ix;
    ann_view queries;
    void *rows;           /* of the queries, if they were sampled */
    uint32_t *slots;      /* [n]: the vector that each was made of, or NULL */
    struct query_params params;
    uint32_t k[CURVES];
    size_t curves;
    size_t most;          /* true neighbours known of each query */
    size_t least;         /* queries taken, if there are so many, whatever they say */
    double part;          /* of what is missed: more, until it is known within that; or 0 */
    ann_id *truth_ids;    /* [n, most] */
    float *truth;         /* [n, most] */
    ann_id *ids;          /* [CHUNK, most + 1] */
    float *dists;         /* [CHUNK, most + 1] */
    struct powers harder[CURVES];
    double z;             /* of the confidence */
    struct headway *headway; /* of all runs of a call */
    struct calibration found;
};

static ann_err step(struct run *r, size_t queries)
{
    const ann_options *o = &r->ix->opt;
    struct headway *h = r->headway;
    h->done += queries;
    if (h->done > h->total)
        h->total = h->done;
    if (o->progress && o->progress(o->progress_arg, "calibrate", h->done, h->total))
        return ANN_FAIL(ANN_ECANCELED, "canceled at query %llu", (unsigned long long)h->done);
    return ANN_OK;
}

/* Rows [from, from + n) of a view. */
static ann_view part_of(const struct run *r, const ann_view *v, size_t from, size_t n)
{
    const struct vectors *vec = &r->ix->vec;
    const size_t unit = v->dtype == ANN_B1 ? 1 : dtype_row_bytes(v->dtype, 1);
    const size_t dim = v->dtype == ANN_B1 ? dtype_row_bytes(ANN_B1, vec->dim) : vec->dim;
    ann_view part = *v;
    part.stride = v->stride ? v->stride : dim;
    part.data = (const char *)v->data + from * part.stride * unit;
    part.n = n;
    return part;
}

/* ---- queries made of stored vectors ---- */

/* x as row i of the queries, in the type that the index takes. */
static void put_row(const struct run *r, size_t i, const float *x)
{
    const uint32_t dim = r->ix->vec.dim;
    const size_t row_bytes = dtype_row_bytes(r->queries.dtype, dim);
    uint8_t *row = (uint8_t *)r->rows + i * row_bytes;
    if (r->queries.dtype == ANN_F32) {
        memcpy(row, x, row_bytes);
        return;
    }
    if (r->queries.dtype == ANN_B1)
        memset(row, 0, row_bytes);
    for (uint32_t j = 0; j < dim; j++)
        if (r->queries.dtype == ANN_B1)
            row[j / 8] |= (uint8_t)((x[j] != 0) << (j % 8));
        else
            row[j] = (uint8_t)(int)x[j];
}

/* Distinct live slots [n] in random order. */
static ann_err pick_slots(const ann_index *ix, size_t n, uint64_t seed, uint32_t *slots)
{
    uint64_t random = seed;
    const uint32_t all = ix->vec.slots;
    uint64_t *seen = mem_zalloc(1, bitmap_bytes(all));
    if (!seen)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %u slots", all);
    for (size_t i = 0; i < n;) { /* n is at most that of the live ones */
        uint32_t s = (uint32_t)rng_below(&random, all);
        while (!vectors_is_live(&ix->vec, s) || (seen[s >> 6] >> (s & 63) & 1))
            s = s + 1 < all ? s + 1 : 0;
        seen[s >> 6] |= UINT64_C(1) << (s & 63);
        slots[i++] = s;
    }
    mem_free(seen);
    return ANN_OK;
}

/* So many are sampled at most. */
static size_t sample_most(const struct run *r)
{
    const size_t fit = NEIGHBOURS_MOST / r->most;
    return fit < QUERIES_LEAST ? QUERIES_LEAST : fit < QUERIES_MOST ? fit : QUERIES_MOST;
}

static ann_err sample(struct run *r, size_t n, uint64_t seed)
{
    const ann_index *ix = r->ix;
    const struct vectors *v = &ix->vec;
    const bool floats = dtype_is_float(v->store) || v->store == ANN_NONE;
    r->queries = (ann_view){NULL, n, 0, floats ? ANN_F32 : v->store};
    float *x = mem_alloc((v->dim + vectors_scratch(v)) * sizeof *x);
    r->slots = mem_alloc(n * sizeof *r->slots);
    r->rows = mem_alloc(n * dtype_row_bytes(r->queries.dtype, v->dim));
    r->queries.data = r->rows;
    ann_err err = ANN_OK;
    if (!x || !r->slots || !r->rows)
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for %zu queries", n);
    if (!err)
        err = pick_slots(ix, n, seed, r->slots);
    pthread_rwlock_rdlock(index_gate(ix));
    for (size_t i = 0; i < n && !err; i++) {
        vectors_decode(v, r->slots[i], x, x + v->dim);
        put_row(r, i, x);
    }
    pthread_rwlock_unlock(index_gate(ix));
    mem_free(x);
    return err;
}

/* ---- measuring ---- */

/* Place of an id among k, or k. */
static size_t place_of(ann_id id, const ann_id *ids, size_t k)
{
    size_t at = 0;
    while (at < k && ids[at] != id)
        at++;
    return at;
}

static ann_id self_of(const struct run *r, size_t query)
{
    return idmap_id(&r->ix->ids, r->slots[query]);
}

/* The true neighbours of queries [from, from + n); of sampled ones without themselves. */
static ann_err find_some(struct run *r, size_t from, size_t n)
{
    const size_t k = r->most, found = k + (r->slots != NULL);
    const ann_view part = part_of(r, &r->queries, from, n);
    struct query_params p = r->params;
    p.k = found;
    const ann_err err = recall_exact(r->ix, &part, &p, r->ids, r->dists);
    for (size_t i = 0; i < n && !err; i++) {
        ann_id *ids = r->ids + i * found;
        float *dists = r->dists + i * found;
        const size_t self = r->slots ? place_of(self_of(r, from + i), ids, k) : k;
        memmove(ids + self, ids + self + 1, (found - k) * (k - self) * sizeof *ids);
        memmove(dists + self, dists + self + 1, (found - k) * (k - self) * sizeof *dists);
        memcpy(r->truth_ids + (from + i) * k, ids, k * sizeof *ids);
        memcpy(r->truth + (from + i) * k, dists, k * sizeof *dists);
    }
    return err ? err : step(r, n);
}

static ann_err find_truth(struct run *r)
{
    const size_t n = r->queries.n;
    ann_err err = ANN_OK;
    for (size_t i = 0; i < n && !err; i += CHUNK)
        err = find_some(r, i, n - i < CHUNK ? n - i : CHUNK);
    return err;
}

/* Wilson's lower bound of a mean of n shares with this variance: as if they were as many
 * yes-or-no answers as have that variance.  Where all are 1 it is that of n answers. */
static double lower_bound(double mean, double variance, double n, double z)
{
    const double worth = mean * (1 - mean);
    const double m = variance > 0 && worth > 0 ? n * worth / variance : n;
    const double zz = z * z / m;
    const double low = (mean + zz / 2 - z * sqrt(worth / m + zz / (4 * m))) / (1 + zz);
    return low > 0 ? low : 0;
}

/* What a search of these queries found, added up. */
struct shares {
    size_t n;
    double sum, squares;
};

static double shares_mean(const struct shares *s)
{
    return s->sum / (double)s->n;
}

static double shares_variance(const struct shares *s)
{
    const double mean = shares_mean(s);
    return fmax(0, s->squares / (double)s->n - mean * mean);
}

/* Whether the first `done` queries are enough, or more would cost too many distances. */
static bool says_enough(const struct run *r, size_t done, const struct shares *s,
                        uint64_t distances)
{
    if (done < r->least)
        return false;
    if (s->n == 0 || distances > (uint64_t)r->ix->vec.live / DEAREST * r->least)
        return true;
    const double missed = 1 - shares_mean(s);
    const double within = r->part > 0 ? fmin(WITHIN, r->part * missed) : WITHIN;
    return r->z * sqrt(shares_variance(s) / (double)s->n) <= within;
}

/* Sampled queries have their own vector hidden.  One that came upon it all the same began there,
 * or looked at every vector: it tells nothing of an effort. */
static ann_err measure_some(struct run *r, const struct query_params *given, size_t from,
                            size_t n, struct shares *to)
{
    const ann_view part = part_of(r, &r->queries, from, n);
    struct query_params p = *given;
    const size_t k = given->k;
    p.barred = r->slots ? r->slots + from : NULL;
    const ann_err err = query_all(r->ix, &part, &p, r->ids, r->dists);
    for (size_t i = 0; i < n && !err; i++) {
        const size_t truth = (from + i) * r->most;
        const ann_id *ids = r->ids + i * k;
        if (r->slots && place_of(self_of(r, from + i), ids, k) < k)
            continue;
        const double share = recall_share(ids, r->dists + i * k, r->truth_ids + truth,
                                          r->truth + truth, k);
        to->n++;
        to->sum += share;
        to->squares += share * share;
    }
    return err ? err : step(r, n);
}

/* Of a k and an effort: the share found, at least so much of it with the confidence, and the
 * distances of a query. */
static ann_err measure_raw(struct run *r, uint32_t k, uint32_t effort, struct curve_point *out)
{
    ann_search_stats stats = {0};
    struct query_params p = r->params;
    struct shares all = {0};
    const size_t n = r->queries.n;
    ann_err err = ANN_OK;
    p.k = k;
    p.effort = effort;
    p.stats = &stats;
    size_t done = 0;
    while (done < n && !err && !says_enough(r, done, &all, stats.distances)) {
        const size_t some = n - done < CHUNK ? n - done : CHUNK;
        err = measure_some(r, &p, done, some, &all);
        done += some;
    }
    if (err)
        return err;
    if (all.n == 0) /* every search looked at everything */
        all = (struct shares){n, (double)n, (double)n};
    const double mean = shares_mean(&all);
    *out = (struct curve_point){
        k, effort, mean,
        fmin(mean, lower_bound(mean, shares_variance(&all), (double)all.n, r->z)),
        (double)stats.distances / (double)done};
    return ANN_OK;
}

/* The power at so much missed by hidden ones, between those that were learned. */
static double power_at(const struct powers *p, double missed)
{
    const double x = log(missed);
    size_t i = 0;
    while (i < p->n && p->missed[i] > x)
        i++;
    if (p->n == 0)
        return 1;
    if (i == 0 || i == p->n)
        return p->power[i > 0 ? i - 1 : 0];
    const double part = (p->missed[i - 1] - x) / (p->missed[i - 1] - p->missed[i]);
    return p->power[i - 1] + part * (p->power[i] - p->power[i - 1]);
}

/* As of hidden queries is measured, so of others. */
static void not_hidden(struct curve_point *p, const struct powers *harder)
{
    const double power = power_at(harder, 1 - p->recall);
    p->recall = 1 - pow(1 - p->recall, power);
    p->low = 1 - pow(1 - p->low, power);
}

static ann_err measure(struct run *r, size_t curve, uint32_t effort, struct curve_point *out)
{
    const ann_err err = measure_raw(r, r->k[curve], effort, out);
    if (!err && r->slots)
        not_hidden(out, &r->harder[curve]);
    return err;
}

/* Makes a curve that never falls, the nearest to what was measured: where it fell, all of the
 * run that did get its mean. */
static void smooth(struct curve_point *p, size_t n)
{
    size_t start[STEPS], runs = 0;
    for (size_t i = 0; i < n; i++) {
        size_t from = i;
        double recall = p[i].recall, low = p[i].low;
        for (; runs > 0 && p[start[runs - 1]].recall > recall; runs--) {
            const size_t before = start[runs - 1];
            const double a = (double)(from - before), b = (double)(i + 1 - from);
            recall = (a * p[before].recall + b * recall) / (a + b);
            low = (a * p[before].low + b * low) / (a + b);
            from = before;
        }
        start[runs++] = from;
        for (size_t j = from; j <= i; j++) {
            p[j].recall = recall;
            p[j].low = low;
        }
    }
    for (size_t i = 1; i < n; i++)
        p[i].low = fmin(p[i].recall, fmax(p[i].low, p[i - 1].low));
}

/* The effort to try next: in the middle of the widest gap that is worth it, or 0; *at is the
 * place of its point. */
static uint32_t in_the_gap(const struct curve_point *p, size_t n, size_t *at)
{
    double widest = GAP;
    uint32_t effort = 0;
    for (size_t i = 1; i < n; i++) {
        const double gap = p[i].recall - fmax(p[i - 1].recall, GAP_FROM);
        if (gap <= widest || p[i].effort - p[i - 1].effort < 2)
            continue;
        widest = gap;
        *at = i;
        effort = (p[i].effort + p[i - 1].effort) / 2;
    }
    return effort;
}

static ann_err measure_curve(struct run *r, size_t curve)
{
    const uint32_t k = r->k[curve];
    const uint32_t live = r->ix->vec.live;
    const double part = r->ix->opt.kind == ANN_IVFPQ ? DEAREST_SHORT : DEAREST;
    struct curve_point *const p = r->found.points + r->found.n;
    size_t n = 0, at;
    ann_err err = ANN_OK;
    for (size_t i = 0; i < STEPS && !err; i++) {
        size_t effort = ladder(i);
        if (LEAST_SHARE * effort < k)
            continue;
        effort = effort < live ? effort : live;
        err = measure(r, curve, (uint32_t)effort, &p[n]);
        const struct curve_point *last = &p[n++];
        if (last->recall >= ENOUGH || effort == live ||
            (live > MANY && last->distances > (double)live / part))
            break;
    }
    for (uint32_t effort; !err && n < STEPS && (effort = in_the_gap(p, n, &at)) > 0; n++) {
        memmove(p + at + 1, p + at, (n - at) * sizeof *p);
        err = measure(r, curve, effort, &p[at]);
    }
    if (err)
        return err;
    smooth(p, n);
    r->found.n += (uint32_t)n;
    return ANN_OK;
}

/* ---- what the index does not have ---- */

/* Memory for n queries and their neighbours. */
static ann_err run_alloc(struct run *r, size_t n)
{
    r->ids = mem_alloc(CHUNK * (r->most + 1) * sizeof *r->ids);
    r->dists = mem_alloc(CHUNK * (r->most + 1) * sizeof *r->dists);
    r->truth_ids = mem_alloc(n * r->most * sizeof *r->truth_ids);
    r->truth = mem_alloc(n * r->most * sizeof *r->truth);
    if (!r->ids || !r->dists || !r->truth_ids || !r->truth)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %zu queries", n);
    return ANN_OK;
}

static void run_free(struct run *r)
{
    mem_free(r->rows);
    mem_free(r->slots);
    mem_free(r->truth_ids);
    mem_free(r->truth);
    mem_free(r->ids);
    mem_free(r->dists);
}

/* Another, on this index. */
static struct run run_like(const struct run *r, ann_index *ix)
{
    struct run like = *r;
    like.ix = ix;
    like.rows = NULL;
    like.slots = NULL;
    like.truth_ids = like.ids = NULL;
    like.truth = like.dists = NULL;
    like.params = (struct query_params){
        .kind = ix->kind, .state = ix->state, .threads = ix->opt.threads};
    return like;
}

/* The power by one effort's hidden and unseen ones.  The two err apart: by the root of both
 * squares.  As low as it may be with the confidence, also because more vectors have a somewhat
 * lower one (docs/recall.md). */
static double power_of(const struct curve_point *hidden, const struct curve_point *unseen)
{
    const double of_hidden = log(1 - hidden->recall), of_unseen = log(1 - unseen->recall);
    const double mean = of_unseen / of_hidden;
    const double by_unseen = mean - log(1 - unseen->low) / of_hidden;
    const double by_hidden = of_unseen / log(1 - hidden->low) - mean;
    return fmax(1, mean - hypot(by_unseen, by_hidden));
}

/* The exponents of one k: at efforts that miss neither little nor much. */
static ann_err compare(struct run *hidden, struct run *unseen, uint32_t k,
                       struct powers *harder)
{
    for (size_t i = 0; i < STEPS; i++) {
        struct curve_point h, u;
        const uint32_t effort = (uint32_t)ladder(i);
        if (LEAST_SHARE * (size_t)effort < k)
            continue;
        ann_err err = measure_raw(hidden, k, effort, &h);
        if (!err)
            err = measure_raw(unseen, k, effort, &u);
        if (err)
            return err;
        const double missed = (1 - u.recall) * (double)unseen->queries.n * k;
        if (missed < FEW_MISSED || h.recall >= ENOUGH ||
            u.distances > (double)unseen->ix->vec.live / DEAREST)
            break;
        const double x = log(1 - h.recall);
        if (1 - h.recall > MUCH_MISSED || (harder->n > 0 && x >= harder->missed[harder->n - 1]))
            continue;
        harder->missed[harder->n] = x;
        harder->power[harder->n++] = power_of(&h, &u);
    }
    return ANN_OK;
}

/* All k, on an index that has the first `n` of the rows [n + out]. */
static ann_err compare_all(struct run *r, ann_index *small, const ann_view *rows, size_t n,
                           size_t out, uint64_t seed)
{
    struct run hidden = run_like(r, small), unseen = run_like(r, small);
    unseen.queries = part_of(r, rows, n, out);
    hidden.least = unseen.least = QUERIES_LEAST;
    hidden.part = unseen.part = PART;
    ann_err err = sample(&hidden, out, seed);
    if (!err)
        err = run_alloc(&hidden, out);
    if (!err)
        err = run_alloc(&unseen, out);
    if (!err)
        err = find_truth(&hidden);
    if (!err)
        err = find_truth(&unseen);
    for (size_t i = 0; i < r->curves && !err; i++)
        err = compare(&hidden, &unseen, r->k[i], &r->harder[i]);
    run_free(&hidden);
    run_free(&unseen);
    return err;
}

/* r->harder, by a small index of the same options.  Lists do not depend on single vectors, so
 * only a graph takes it; of so few vectors that k of them are most, hidden ones must do. */
static ann_err learn_harder(struct run *r, uint64_t seed)
{
    const ann_index *ix = r->ix;
    const size_t live = ix->vec.live;
    const size_t part = live / KEPT_OUT_OF, most = sample_most(r);
    const size_t out = part < most ? part : most;
    const size_t n = live - out < SMALL ? live - out : SMALL;
    if (ix->opt.kind != ANN_HNSW || r->most >= n / 2)
        return ANN_OK;
    struct run rows = run_like(r, r->ix);
    ann_options o = ix->opt;
    ann_index *small = NULL;
    o.progress = NULL;
    o.max_memory = 0;
    ann_err err = sample(&rows, n + out, ~seed);
    if (!err)
        err = ann_create(&o, &small);
    if (!err)
        err = ann_add(small, part_of(r, &rows.queries, 0, n), NULL);
    if (!err) {
        small->opt.progress = ix->opt.progress;
        small->opt.progress_arg = ix->opt.progress_arg;
        err = compare_all(r, small, &rows.queries, n, out, seed);
    }
    ann_close(small);
    run_free(&rows);
    return err;
}

/* ---- the call ---- */

/* The one-sided quantile of the normal distribution. */
static double quantile(double share)
{
    double low = -10, high = 10;
    for (int i = 0; i < 60; i++) {
        const double middle = (low + high) / 2;
        if (0.5 * erfc(-middle / sqrt(2)) < share)
            low = middle;
        else
            high = middle;
    }
    return (low + high) / 2;
}

/* 1, 10, 100 and the k asked for, ascending. */
static void choose_k(struct run *r, size_t asked)
{
    const uint32_t live = r->ix->vec.live - (r->queries.n == 0);
    const uint32_t usual[] = {1, 10, 100};
    bool in = false;
    for (size_t i = 0; i < 3; i++) {
        if (!in && asked <= usual[i]) {
            r->k[r->curves++] = (uint32_t)asked;
            in = true;
        }
        if (usual[i] != asked && usual[i] < live)
            r->k[r->curves++] = usual[i];
    }
    if (!in)
        r->k[r->curves++] = (uint32_t)asked;
    r->most = r->k[r->curves - 1];
}

static ann_err check(const ann_index *ix, const ann_view *q, const ann_calibration *c)
{
    if (c->k > ANN_K_MAX)
        return ANN_FAIL(ANN_EINVAL, "k is %zu: must be 1..%d", c->k, ANN_K_MAX);
    if (c->queries > QUERIES_MAX)
        return ANN_FAIL(ANN_EINVAL, "queries is %zu: must be 1..%d", c->queries, QUERIES_MAX);
    if (!(c->confidence >= 0.5 && c->confidence < 1))
        return ANN_FAIL(ANN_EINVAL, "confidence is %g: must be 0.5 or more, below 1",
                        c->confidence);
    if (ix->opt.kind == ANN_FLAT)
        return ANN_FAIL(ANN_ENOTSUP, "flat is always exact: there is nothing to calibrate");
    if (ix->vec.stride == 0 && ix->vec.codes.type == CODE_NONE)
        return ANN_FAIL(ANN_ENOTSUP, "the index keeps short codes alone (store=none,codes=none): "
                                     "there is nothing to calibrate by");
    return q->n == 0 ? ANN_OK : vectors_check(&ix->vec, q, "query");
}

static ann_err run_locked(struct run *r, const ann_calibration *c)
{
    ann_index *ix = r->ix;
    const uint32_t live = ix->vec.live;
    if (live < 2 || c->k >= live)
        return ANN_FAIL(ANN_EINVAL, "%u vectors are too few to calibrate for k = %zu", live,
                        c->k);
    choose_k(r, c->k);
    ann_err err = ANN_OK;
    size_t n = r->queries.n;
    if (n == 0) {
        n = c->queries ? c->queries : sample_most(r);
        n = n < live / 2 ? n : live / 2;
    }
    r->least = r->queries.n || c->queries || n < QUERIES_LEAST ? n : QUERIES_LEAST;
    r->headway->total = n + (r->queries.n ? 20 : 90) * r->curves * r->least; /* about */
    if (r->queries.n == 0)
        err = learn_harder(r, c->seed);
    if (!err && r->queries.n == 0)
        err = sample(r, n, c->seed);
    if (!err)
        err = run_alloc(r, n);
    if (!err)
        err = find_truth(r);
    for (size_t i = 0; i < r->curves && !err; i++)
        err = measure_curve(r, i);
    if (err)
        return err;
    r->found.queries = (uint32_t)n;
    r->found.live = live;
    r->found.confidence = c->confidence;
    pthread_rwlock_wrlock(&ix->gate);
    ix->calibration = r->found;
    pthread_rwlock_unlock(&ix->gate);
    return ANN_OK;
}

ann_err ann_calibrate(ann_index *ix, ann_view q, ann_calibration *given)
{
    ann_calibration c = ANN_CALIBRATION_INIT;
    if (!ix)
        return ANN_FAIL(ANN_EINVAL, "index is NULL");
    if (given && (given->size < sizeof(size_t) || given->size > 4096))
        return ANN_FAIL(ANN_EINVAL, "calibration.size is %zu: use ANN_CALIBRATION_INIT",
                        given->size);
    if (given)
        memcpy(&c, given, given->size < sizeof c ? given->size : sizeof c);
    c.k = c.k ? c.k : K_USUAL;
    c.confidence = c.confidence != 0 ? c.confidence : CONFIDENCE_DEFAULT;
    ann_err err = check(ix, &q, &c);
    if (!err)
        err = index_ids_ready(ix);
    if (err)
        return err;
    struct headway headway = {0};
    struct run *r = mem_zalloc(1, sizeof *r);
    if (!r)
        return ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", sizeof *r);
    r->headway = &headway;
    r->ix = ix;
    r->queries = q;
    r->params = (struct query_params){
        .kind = ix->kind, .state = ix->state, .threads = ix->opt.threads};
    r->z = quantile(c.confidence);
    pthread_mutex_lock(&ix->writer);
    err = run_locked(r, &c);
    pthread_mutex_unlock(&ix->writer);
    if (!err && given) {
        c.size = given->size;
        c.queries = r->found.queries;
        for (uint32_t i = 0; i < r->found.n; i++)
            if (r->found.points[i].k == c.k)
                c.recall = r->found.points[i].recall;
        memcpy(given, &c, c.size < sizeof c ? c.size : sizeof c);
    }
    run_free(r);
    mem_free(r);
    return err;
}

ann_err ann_effort_for(const ann_index *ix, double recall, size_t k, size_t *effort)
{
    if (!ix || !effort)
        return ANN_FAIL(ANN_EINVAL, "%s is NULL", ix ? "effort" : "index");
    if (!(recall > 0 && recall <= 1))
        return ANN_FAIL(ANN_EINVAL, "recall is %g: must be above 0, at most 1", recall);
    if (k < 1 || k > ANN_K_MAX)
        return ANN_FAIL(ANN_EINVAL, "k is %zu: must be 1..%d", k, ANN_K_MAX);
    if (ix->opt.kind == ANN_FLAT)
        return ANN_FAIL(ANN_ENOTSUP, "flat is always exact: it takes no effort");
    size_t found = 0;
    pthread_rwlock_rdlock(index_gate(ix));
    const ann_err err = calibration_effort(&ix->calibration, recall, k, &found, NULL);
    pthread_rwlock_unlock(index_gate(ix));
    if (!err)
        *effort = found;
    return err;
}
