/* calibrate.c - ann_calibrate: which effort gives which recall, learned by exact search.
 *
 * Place: front door.  Each effort of a ladder is tried on the same queries, whose true neighbours
 * are found once by the flat kind; a curve for each of a few k.  Without queries, stored vectors
 * are moved away from where they are, so that the graph has no node just there: `move` says how.
 *
 * Invariant: same index, queries and seed: same curve, for any number of threads. */
#include <config.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/base/rng.h"
#include "ann/internal.h"

#define QUERIES_DEFAULT 1000
#define QUERIES_MAX 100000
#define CONFIDENCE_DEFAULT 0.95
#define K_USUAL 10
#define CHUNK 256         /* queries between two calls of the progress function */
#define NEAR 16           /* neighbours a sampled vector is moved by */
#define NEAR_EFFORT 64
#define ENOUGH 0.999     /* recall at which a curve ends */
#define DEAREST 8         /* ... or where a query looks at this part of many vectors */
#define MANY 100000
#define CURVES 4
#define STEPS 31

/* 1, 2, 3, 4, 6, 8, 11, 16, ...: each about the square root of two times the one before. */
static size_t ladder(size_t i)
{
    static const double root = 1.4142135623730951;
    if (i < 4)
        return i + 1;
    const size_t half = i - 4 + 5; /* 6 is sqrt(2)^5 */
    return (size_t)(pow(2, (double)(half / 2)) * (half % 2 ? root : 1) + 0.5);
}

struct run {
    ann_index *ix;
    ann_view queries;
    void *rows;           /* of the queries, if they were sampled */
    ann_id *self;         /* [n]: the vector that each was made of, or NULL */
    struct query_params params;
    uint32_t k[CURVES];
    size_t curves;
    size_t most;          /* true neighbours known of each query */
    ann_id *truth_ids;    /* [n, most] */
    float *truth;         /* [n, most] */
    ann_id *ids;          /* [CHUNK, most + 1] */
    float *dists;         /* [CHUNK, most + 1] */
    double z;             /* of the confidence */
    uint64_t done, total; /* queries answered, for progress */
    struct calibration found;
};

static ann_err step(struct run *r, size_t queries)
{
    const ann_options *o = &r->ix->opt;
    r->done += queries;
    if (r->done > r->total)
        r->total = r->done;
    if (o->progress && o->progress(o->progress_arg, "calibrate", r->done, r->total))
        return ANN_FAIL(ANN_ECANCELED, "canceled at query %llu",
                        (unsigned long long)r->done);
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

/* x moved by the way between two of its near neighbours a and b: as far away as a fresh vector
 * would be from its nearest, and along what the data fill rather than into the void.  Of what
 * was tried (docs/recall.md) it foretells the recall of queries best. */
static void move(const struct vectors *v, float *x, const float *a, const float *b)
{
    const float least = v->store == ANN_I8 ? -128 : 0, most = v->store == ANN_I8 ? 127 : 255;
    for (uint32_t i = 0; i < v->dim; i++) {
        if (v->store == ANN_B1)
            x[i] = a[i] != b[i] ? 1 - x[i] : x[i];
        else
            x[i] += a[i] - b[i];
        if (v->store == ANN_I8 || v->store == ANN_U8)
            x[i] = fminf(fmaxf(x[i], least), most);
    }
}

/* The stored vector of an id, or what its code stands for; the writer's lock keeps it there. */
static void stored(const ann_index *ix, ann_id id, float *out, float *scratch)
{
    pthread_rwlock_rdlock(index_gate(ix));
    vectors_decode(&ix->vec, idmap_find(&ix->ids, &ix->vec, id), out, scratch);
    pthread_rwlock_unlock(index_gate(ix));
}

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
static ann_err pick_slots(const ann_index *ix, size_t n, uint64_t *random, uint32_t *slots)
{
    const uint32_t all = ix->vec.slots;
    uint64_t *seen = mem_zalloc(1, bitmap_bytes(all));
    if (!seen)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %u slots", all);
    for (size_t i = 0; i < n;) { /* n is at most half of the live ones, or all are taken */
        uint32_t s = (uint32_t)rng_below(random, all);
        while (!vectors_is_live(&ix->vec, s) || (seen[s >> 6] >> (s & 63) & 1))
            s = s + 1 < all ? s + 1 : 0;
        seen[s >> 6] |= UINT64_C(1) << (s & 63);
        slots[i++] = s;
    }
    mem_free(seen);
    return ANN_OK;
}

/* Moves rows [from, from + n), which are stored vectors, by two of each's near neighbours. */
static ann_err move_rows(struct run *r, size_t from, size_t n, uint64_t seed, float *room)
{
    ann_index *ix = r->ix;
    const uint32_t dim = ix->vec.dim;
    const ann_view part = part_of(r, &r->queries, from, n);
    struct query_params p = r->params;
    p.k = NEAR + 1;
    p.effort = NEAR_EFFORT;
    ann_err err = query_all(ix, &part, &p, r->ids, r->dists);
    for (size_t i = 0; i < n && !err; i++) {
        ann_id *ids = r->ids + i * p.k;
        uint64_t random = rng_at(seed, from + i);
        size_t near = 0;
        for (size_t j = 0; j < p.k; j++)
            if (ids[j] != ANN_NO_ID && ids[j] != r->self[from + i])
                ids[near++] = ids[j];
        if (near < 2)
            continue;
        const size_t a = rng_below(&random, near);
        const size_t b = (a + 1 + rng_below(&random, near - 1)) % near;
        float *scratch = room + 3 * (size_t)dim;
        stored(ix, r->self[from + i], room, scratch);
        stored(ix, ids[a], room + dim, scratch);
        stored(ix, ids[b], room + 2 * (size_t)dim, scratch);
        move(&ix->vec, room, room + dim, room + 2 * (size_t)dim);
        const ann_view one = {room, 1, 0, ANN_F32};
        if (r->queries.dtype != ANN_F32 || vectors_check(&ix->vec, &one, "query") == ANN_OK)
            put_row(r, from + i, room); /* else it stays where it was */
    }
    return err;
}

static ann_err sample(struct run *r, size_t n, uint64_t seed)
{
    ann_index *ix = r->ix;
    const struct vectors *v = &ix->vec;
    uint64_t random = rng_at(seed, UINT64_MAX);
    const bool floats = dtype_is_float(v->store) || v->store == ANN_NONE;
    r->queries = (ann_view){NULL, n, 0, floats ? ANN_F32 : v->store};
    uint32_t *slots = mem_alloc(n * sizeof *slots);
    float *room = mem_alloc((3 * (size_t)v->dim + vectors_scratch(v)) * sizeof *room);
    r->self = mem_alloc(n * sizeof *r->self);
    r->rows = mem_alloc(n * dtype_row_bytes(r->queries.dtype, v->dim));
    r->queries.data = r->rows;
    ann_err err = ANN_OK;
    if (!slots || !room || !r->self || !r->rows)
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for %zu queries", n);
    if (!err)
        err = pick_slots(ix, n, &random, slots);
    for (size_t i = 0; i < n && !err; i++) {
        r->self[i] = idmap_id(&ix->ids, slots[i]);
        stored(ix, r->self[i], room, room + 3 * (size_t)v->dim);
        put_row(r, i, room);
    }
    for (size_t i = 0; i < n && !err; i += CHUNK) {
        const size_t some = n - i < CHUNK ? n - i : CHUNK;
        err = move_rows(r, i, some, seed, room);
        if (!err)
            err = step(r, some);
    }
    mem_free(slots);
    mem_free(room);
    return err;
}

/* ---- measuring ---- */

/* Takes one's own vector out of a query's results [k + 1], or else the last. */
static void drop_self(ann_id self, ann_id *ids, float *dists, size_t k)
{
    size_t at = 0;
    while (at < k && ids[at] != self)
        at++;
    memmove(ids + at, ids + at + 1, (k - at) * sizeof *ids);
    memmove(dists + at, dists + at + 1, (k - at) * sizeof *dists);
}

/* Results [n, k] of queries [from, from + n), at r->ids and r->dists, k from row to row; with
 * sampled queries one more is asked for and one's own vector taken out. */
static ann_err answers(struct run *r, size_t from, size_t n, size_t k,
                       const struct query_params *given, bool exact)
{
    const ann_view part = part_of(r, &r->queries, from, n);
    struct query_params p = *given;
    p.k = k + (r->self != NULL);
    const ann_err err = exact ? recall_exact(r->ix, &part, &p, r->ids, r->dists)
                              : query_all(r->ix, &part, &p, r->ids, r->dists);
    for (size_t i = 0; i < n && !err && r->self; i++) {
        drop_self(r->self[from + i], r->ids + i * p.k, r->dists + i * p.k, k);
        memmove(r->ids + i * k, r->ids + i * p.k, k * sizeof *r->ids);
        memmove(r->dists + i * k, r->dists + i * p.k, k * sizeof *r->dists);
    }
    return err ? err : step(r, n);
}

static ann_err find_truth(struct run *r)
{
    const size_t n = r->queries.n, k = r->most;
    ann_err err = ANN_OK;
    for (size_t i = 0; i < n && !err; i += CHUNK) {
        const size_t some = n - i < CHUNK ? n - i : CHUNK;
        err = answers(r, i, some, k, &r->params, true);
        if (!err) {
            memcpy(r->truth_ids + i * k, r->ids, some * k * sizeof *r->ids);
            memcpy(r->truth + i * k, r->dists, some * k * sizeof *r->dists);
        }
    }
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

static ann_err measure(struct run *r, uint32_t k, size_t effort, struct curve_point *out)
{
    const size_t n = r->queries.n;
    ann_search_stats stats = {0};
    struct query_params p = r->params;
    double sum = 0, squares = 0;
    p.effort = effort;
    p.stats = &stats;
    for (size_t i = 0; i < n; i += CHUNK) {
        const size_t some = n - i < CHUNK ? n - i : CHUNK;
        const ann_err err = answers(r, i, some, k, &p, false);
        if (err)
            return err;
        for (size_t j = 0; j < some; j++) {
            const double share =
                recall_share(r->ids + j * k, r->dists + j * k, r->truth_ids + (i + j) * r->most,
                             r->truth + (i + j) * r->most, k);
            sum += share;
            squares += share * share;
        }
    }
    const double mean = sum / (double)n, variance = squares / (double)n - mean * mean;
    *out = (struct curve_point){k, (uint32_t)effort, mean,
                                fmin(mean, lower_bound(mean, variance, (double)n, r->z)),
                                (double)stats.distances / (double)n};
    return ANN_OK;
}

/* Makes a curve that never falls: neighbours that do are both given their mean. */
static void smooth(struct curve_point *p, size_t n)
{
    for (size_t i = 1; i < n; i++)
        for (size_t first = i; first > 0; first--) { /* pool back as far as it falls */
            size_t from = first, to = first;
            double sum = 0, low = 0;
            if (p[first - 1].recall <= p[first].recall)
                break;
            while (from > 0 && p[from - 1].recall == p[first - 1].recall)
                from--;
            while (to < i && p[to + 1].recall == p[first].recall)
                to++;
            for (size_t j = from; j <= to; j++) {
                sum += p[j].recall;
                low += p[j].low;
            }
            for (size_t j = from; j <= to; j++) {
                p[j].recall = sum / (double)(to - from + 1);
                p[j].low = low / (double)(to - from + 1);
            }
            first = from + 1;
        }
    for (size_t i = 1; i < n; i++)
        p[i].low = fmin(p[i].recall, fmax(p[i].low, p[i - 1].low));
}

static ann_err measure_curve(struct run *r, uint32_t k)
{
    const uint32_t live = r->ix->vec.live;
    struct curve_point *const first = r->found.points + r->found.n;
    uint32_t n = 0;
    for (size_t i = 0; i < STEPS; i++) {
        size_t effort = ladder(i);
        if (4 * effort < k)
            continue;
        effort = effort < live ? effort : live;
        const ann_err err = measure(r, k, effort, &first[n]);
        if (err)
            return err;
        const struct curve_point *p = &first[n++];
        if (p->recall >= ENOUGH || effort == live ||
            (live > MANY && p->distances > (double)live / DEAREST))
            break;
    }
    smooth(first, n);
    r->found.n += n;
    return ANN_OK;
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
    const uint32_t live = r->ix->vec.live - (r->self != NULL || r->queries.n == 0);
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
    if (c->size < sizeof(size_t) || c->size > 4096)
        return ANN_FAIL(ANN_EINVAL, "calibration.size is %zu: use ANN_CALIBRATION_INIT",
                        c->size);
    if (c->k > ANN_K_MAX)
        return ANN_FAIL(ANN_EINVAL, "k is %zu: must be 1..%d", c->k, ANN_K_MAX);
    if (c->queries > QUERIES_MAX)
        return ANN_FAIL(ANN_EINVAL, "queries is %zu: must be 1..%d", c->queries, QUERIES_MAX);
    if (!(c->confidence >= 0.5 && c->confidence < 1))
        return ANN_FAIL(ANN_EINVAL, "confidence is %g: must be 0.5 or more, below 1",
                        c->confidence);
    if (ix->opt.kind == ANN_FLAT)
        return ANN_FAIL(ANN_ENOTSUP, "flat is always exact: there is nothing to calibrate");
    return vectors_check(&ix->vec, q, "query");
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
    const size_t most = r->most > NEAR ? r->most : NEAR;
    r->ids = mem_alloc(CHUNK * (most + 1) * sizeof *r->ids);
    r->dists = mem_alloc(CHUNK * (most + 1) * sizeof *r->dists);
    size_t n = r->queries.n;
    if (n == 0)
        n = c->queries < live / 2 ? c->queries : live / 2;
    r->total = n * (1 + 14 * r->curves); /* about as many efforts as it takes */
    if (!r->ids || !r->dists)
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for %zu results", CHUNK * (most + 1));
    if (!err && r->queries.n == 0)
        err = sample(r, n, c->seed);
    r->truth_ids = mem_alloc(n * r->most * sizeof *r->truth_ids);
    r->truth = mem_alloc(n * r->most * sizeof *r->truth);
    if (!err && (!r->truth_ids || !r->truth))
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for %zu queries", n);
    if (!err)
        err = find_truth(r);
    for (size_t i = 0; i < r->curves && !err; i++)
        err = measure_curve(r, r->k[i]);
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
    if (given)
        memcpy(&c, given, given->size < sizeof c ? given->size : sizeof c);
    c.k = c.k ? c.k : K_USUAL;
    c.queries = c.queries ? c.queries : QUERIES_DEFAULT;
    c.confidence = c.confidence != 0 ? c.confidence : CONFIDENCE_DEFAULT;
    ann_err err = check(ix, &q, &c);
    if (!err)
        err = index_ids_ready(ix);
    if (err)
        return err;
    struct run *r = mem_zalloc(1, sizeof *r);
    if (!r)
        return ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", sizeof *r);
    r->ix = ix;
    r->queries = q;
    r->params = (struct query_params){.kind = ix->kind, .state = ix->state, .threads = ix->opt.threads};
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
    mem_free(r->rows);
    mem_free(r->self);
    mem_free(r->truth_ids);
    mem_free(r->truth);
    mem_free(r->ids);
    mem_free(r->dists);
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
    const ann_err err = calibration_effort(&ix->calibration, recall, k, &found);
    pthread_rwlock_unlock(index_gate(ix));
    if (!err)
        *effort = found;
    return err;
}
