/* oracle.c - see oracle.h. */
#include <config.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/rng.h"
#include "tests/oracle.h"

#define CLUSTERS 12

static void *must(void *p)
{
    if (!p)
        abort();
    return p;
}

/* ---- data ---- */

static double normal(uint64_t *state)
{
    const double u = 1 - rng_unit(state), v = rng_unit(state);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

static void make_row(enum oracle_shape shape, size_t dim, uint64_t seed, uint64_t *state,
                     float *x)
{
    const uint64_t cluster = rng_below(state, CLUSTERS);
    for (size_t j = 0; j < dim; j++)
        switch (shape) {
        case SHAPE_CLUSTERS: {
            const double centre =
                (double)(rng_at(seed ^ 77, cluster * dim + j) % 2001) / 500 - 2;
            x[j] = (float)(centre + 0.3 * normal(state));
            break;
        }
        case SHAPE_INTEGERS: x[j] = (float)rng_below(state, 7) - 3; break;
        default: x[j] = (float)normal(state); break;
        }
    if (x[0] == 0)
        x[0] = 1; /* never a zero row */
}

static void make_floats(enum oracle_shape shape, size_t n, size_t dim, uint64_t seed, float *x)
{
    uint64_t state = seed;
    for (size_t i = 0; i < n; i++) {
        float *row = x + i * dim;
        if (i > 0 && (shape == SHAPE_IDENTICAL ||
                      (shape == SHAPE_DUPLICATES && rng_below(&state, 2))))
            memcpy(row, x + (shape == SHAPE_IDENTICAL ? 0 : rng_below(&state, i)) * dim,
                   dim * sizeof *row);
        else
            make_row(shape, dim, seed, &state, row);
    }
}

static uint16_t to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* A value of magnitude 0 or between 2^-14 and 65504, rounded towards zero. */
static uint16_t to_f16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    const uint16_t sign = (uint16_t)(u >> 16 & 0x8000);
    const int exponent = (int)(u >> 23 & 255) - 127 + 15;
    if (exponent <= 0)
        return sign;
    return (uint16_t)(sign | exponent << 10 | (u >> 13 & 0x3ff));
}

static float from_f16(uint16_t h)
{
    const int exponent = h >> 10 & 31, mantissa = h & 0x3ff;
    const float x = exponent ? ldexpf((float)(1024 + mantissa), exponent - 25)
                             : ldexpf((float)mantissa, -24);
    return h & 0x8000 ? -x : x;
}

static float clamp(float x, float low, float high)
{
    return x < low ? low : x > high ? high : x;
}

static void put_element(void *row, ann_dtype dtype, size_t j, float x)
{
    switch (dtype) {
    case ANN_F16: ((uint16_t *)row)[j] = to_f16(x); break;
    case ANN_BF16: ((uint16_t *)row)[j] = to_bf16(x); break;
    case ANN_I8: ((int8_t *)row)[j] = (int8_t)lrintf(clamp(x * 20, -128, 127)); break;
    case ANN_U8: ((uint8_t *)row)[j] = (uint8_t)lrintf(clamp(x * 20 + 100, 0, 255)); break;
    case ANN_B1:
        ((uint8_t *)row)[j / 8] |= (uint8_t)((x > 0) << j % 8);
        break;
    default: ((float *)row)[j] = x; break;
    }
}

static size_t row_bytes(ann_dtype dtype, size_t dim)
{
    return dtype == ANN_B1                          ? (dim + 7) / 8
           : dtype == ANN_F16 || dtype == ANN_BF16  ? 2 * dim
           : dtype == ANN_I8 || dtype == ANN_U8     ? dim
                                                    : 4 * dim;
}

struct oracle_data oracle_data(enum oracle_shape shape, ann_dtype dtype, size_t n, size_t dim,
                               uint64_t seed)
{
    const size_t bytes = row_bytes(dtype, dim);
    float *x = must(malloc((n * dim + 1) * sizeof *x));
    char *rows = must(calloc(n + 1, bytes));
    make_floats(shape, n, dim, seed, x);
    for (size_t i = 0; i < n; i++) {
        char *row = rows + i * bytes;
        for (size_t j = 0; j < dim; j++)
            put_element(row, dtype, j, x[i * dim + j]);
        if (dtype == ANN_I8 && row[0] == 0)
            row[0] = 1; /* rounding has made no zero row */
    }
    free(x);
    return (struct oracle_data){rows, {rows, n, 0, dtype}};
}

void oracle_data_free(struct oracle_data *d)
{
    free(d->rows);
    memset(d, 0, sizeof *d);
}

void oracle_row(const ann_view *v, size_t dim, size_t i, float *out)
{
    const ann_dtype t = v->dtype ? v->dtype : ANN_F32;
    const char *row = (const char *)v->data + i * (v->stride ? row_bytes(t, 1) * v->stride
                                                              : row_bytes(t, dim));
    for (size_t j = 0; j < dim; j++)
        switch (t) {
        case ANN_F16: out[j] = from_f16(((const uint16_t *)(const void *)row)[j]); break;
        case ANN_BF16: {
            const uint32_t u = (uint32_t)((const uint16_t *)(const void *)row)[j] << 16;
            memcpy(out + j, &u, sizeof u);
            break;
        }
        case ANN_I8: out[j] = ((const int8_t *)row)[j]; break;
        case ANN_U8: out[j] = ((const uint8_t *)row)[j]; break;
        case ANN_B1: out[j] = (float)(((const uint8_t *)row)[j / 8] >> j % 8 & 1); break;
        default: out[j] = ((const float *)(const void *)row)[j]; break;
        }
}

/* ---- distances ---- */

struct sums {
    double diff, dot, aa, bb;
};

static struct sums sums_of(const float *a, const float *b, size_t dim)
{
    struct sums s = {0};
    for (size_t j = 0; j < dim; j++) {
        const double x = a[j], y = b[j];
        s.diff += (x - y) * (x - y);
        s.dot += x * y;
        s.aa += x * x;
        s.bb += y * y;
    }
    return s;
}

double oracle_distance(ann_metric metric, const float *a, const float *b, size_t dim)
{
    const struct sums s = sums_of(a, b, dim);
    switch (metric) {
    case ANN_IP: return -s.dot;
    case ANN_COSINE: { /* a stored row counts as a unit vector, whatever f16 or bf16 made of it
                        */
        const double bb = fabs(s.bb - 1) < 0.03 ? 1 : s.bb;
        return 1 - s.dot / sqrt(s.aa * bb);
    }
    default: return s.diff; /* of bits: the number that differ */
    }
}

double oracle_slack(ann_metric metric, const float *a, const float *b, size_t dim)
{
    const struct sums s = sums_of(a, b, dim);
    const double unit = ((double)dim + 16) * 0x1p-24;
    switch (metric) {
    case ANN_IP: return unit * sqrt(s.aa * s.bb) + 1e-30;
    case ANN_COSINE: return unit + 1e-6;
    case ANN_HAMMING: return 0;
    default: return unit * s.diff + 1e-30;
    }
}

/* ---- the array ---- */

struct oracle *oracle_new(ann_metric metric, size_t dim)
{
    struct oracle *o = must(calloc(1, sizeof *o));
    o->metric = metric;
    o->dim = dim;
    return o;
}

void oracle_free(struct oracle *o)
{
    for (size_t i = 0; o && i < o->n; i++)
        free(o->items[i].vec);
    if (o)
        free(o->items);
    free(o);
}

/* Where id is, or would be. */
static size_t place(const struct oracle *o, ann_id id)
{
    size_t low = 0, high = o->n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (o->items[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void oracle_put(struct oracle *o, ann_id id, const float *vec)
{
    const size_t at = place(o, id);
    if (at == o->n || o->items[at].id != id) {
        if (o->n == o->room) {
            o->room = 2 * o->room + 16;
            o->items = must(realloc(o->items, o->room * sizeof *o->items));
        }
        memmove(o->items + at + 1, o->items + at, (o->n - at) * sizeof *o->items);
        o->items[at] = (struct oracle_item){id, must(malloc(o->dim * sizeof *vec))};
        o->n++;
    }
    memcpy(o->items[at].vec, vec, o->dim * sizeof *vec);
}

bool oracle_remove(struct oracle *o, ann_id id)
{
    const size_t at = place(o, id);
    if (at == o->n || o->items[at].id != id)
        return false;
    free(o->items[at].vec);
    memmove(o->items + at, o->items + at + 1, (o->n - at - 1) * sizeof *o->items);
    o->n--;
    return true;
}

const float *oracle_get(const struct oracle *o, ann_id id)
{
    const size_t at = place(o, id);
    return at < o->n && o->items[at].id == id ? o->items[at].vec : NULL;
}

void oracle_put_stored(struct oracle *o, const ann_index *ix, ann_id id)
{
    float *vec = must(malloc(o->dim * sizeof *vec));
    if (ann_get(ix, id, vec)) {
        fprintf(stderr, "# oracle: %s\n", ann_error_message());
        abort();
    }
    oracle_put(o, id, vec);
    free(vec);
}

static int near_order(const void *pa, const void *pb)
{
    const struct oracle_near *a = pa, *b = pb;
    if (a->dist != b->dist)
        return a->dist < b->dist ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

struct oracle_near *oracle_sorted(const struct oracle *o, const float *query,
                                  bool (*pass)(void *arg, ann_id id), void *arg, size_t *n)
{
    struct oracle_near *near = must(malloc((o->n + 1) * sizeof *near));
    *n = 0;
    for (size_t i = 0; i < o->n; i++)
        if (!pass || pass(arg, o->items[i].id))
            near[(*n)++] = (struct oracle_near){
                oracle_distance(o->metric, query, o->items[i].vec, o->dim), o->items[i].id};
    qsort(near, *n, sizeof *near, near_order);
    return near;
}

static int id_order(const void *pa, const void *pb)
{
    const ann_id a = *(const ann_id *)pa, b = *(const ann_id *)pb;
    return a < b ? -1 : a > b;
}

static bool distinct(const ann_id *ids, size_t n)
{
    if (n == 0)
        return true;
    ann_id *sorted = must(malloc((n + 1) * sizeof *sorted));
    memcpy(sorted, ids, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, id_order);
    bool yes = true;
    for (size_t i = 1; i < n; i++)
        yes = yes && sorted[i] != sorted[i - 1];
    free(sorted);
    return yes;
}

#define WRONG(...) (snprintf(why, 200, __VA_ARGS__), -1.0)
#define U(x) ((unsigned long long)(x))

double oracle_compare(const struct oracle *o, const float *query,
                      const struct oracle_near *truth, size_t n, const ann_id *ids,
                      const float *dists, size_t k, char *why)
{
    const size_t want = k < n ? k : n;
    size_t hits = 0;
    for (size_t i = want; i < k; i++)
        if (ids[i] != ANN_NO_ID || !(isinf(dists[i]) && dists[i] > 0))
            return WRONG("place %zu of %zu, %zu exist: id %llu at %g", i, k, n, U(ids[i]),
                         (double)dists[i]);
    if (!distinct(ids, want))
        return WRONG("an id stands twice among %zu", want);
    for (size_t i = 0; i < want; i++) {
        const float *x = oracle_get(o, ids[i]);
        if (!x)
            return WRONG("place %zu: id %llu is not there", i, U(ids[i]));
        if (!(i == 0 || dists[i] >= dists[i - 1]))
            return WRONG("place %zu: distance %g after %g", i, (double)dists[i],
                         (double)dists[i - 1]);
        const double dist = oracle_distance(o->metric, query, x, o->dim);
        const double slack = oracle_slack(o->metric, query, x, o->dim);
        if (!(fabs(dist - (double)dists[i]) <= slack))
            return WRONG("place %zu: id %llu at %.9g, it is %.9g", i, U(ids[i]),
                         (double)dists[i], dist);
        hits += dist <= truth[want - 1].dist + 2 * slack;
    }
    return want ? (double)hits / (double)want : 1;
}
