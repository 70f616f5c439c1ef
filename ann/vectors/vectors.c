/* vectors.c - storing, converting and checking vectors.  See vectors.h. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/vectors/vectors.h"

static const enum annk_type kernel_type[] = {
    [ANN_F32] = ANNK_F32, [ANN_F16] = ANNK_F16, [ANN_BF16] = ANNK_BF16,
    [ANN_I8] = ANNK_I8,   [ANN_U8] = ANNK_U8,   [ANN_B1] = ANNK_B1,
};

size_t dtype_row_bytes(ann_dtype t, size_t dim)
{
    switch (t) {
    case ANN_F16:
    case ANN_BF16:
        return 2 * dim;
    case ANN_I8:
    case ANN_U8:
        return dim;
    case ANN_B1:
        return (dim + 7) / 8;
    case ANN_NONE:
        return 0;
    default:
        return 4 * dim;
    }
}

const char *dtype_name(ann_dtype t)
{
    static const char *const names[] = {"default", "f32", "f16", "bf16",
                                        "i8",      "u8",  "b1",  "none"};
    return (unsigned)t <= ANN_NONE ? names[t] : "unknown";
}

const char *metric_name(ann_metric m)
{
    static const char *const names[] = {"default", "l2", "ip", "cosine", "hamming"};
    return (unsigned)m <= ANN_HAMMING ? names[m] : "unknown";
}

/* Under cosine float rows are normalised, so that the inner product serves. */
static enum annk_metric kernel_metric(ann_metric metric, ann_dtype store)
{
    switch (metric) {
    case ANN_IP:
        return ANNK_IP;
    case ANN_COSINE:
        return dtype_is_float(store) ? ANNK_IP : ANNK_COS;
    case ANN_HAMMING:
        return ANNK_HAMMING;
    default:
        return ANNK_L2;
    }
}

/* Rows of a cache line or more begin on one; short ones do not straddle two. */
static size_t row_stride(size_t bytes)
{
    if (bytes == 0 || bytes > 32)
        return (bytes + 63) / 64 * 64;
    size_t stride = 4;
    while (stride < bytes)
        stride *= 2;
    return stride;
}

ann_err vectors_init(struct vectors *v, ann_metric metric, ann_dtype store, uint32_t dim,
                     enum code_type codes, uint64_t seed)
{
    memset(v, 0, sizeof *v);
    if (dim < 1 || dim > ANN_DIM_MAX)
        return ANN_FAIL(ANN_EINVAL, "dim is %u: must be 1..%d", dim, ANN_DIM_MAX);
    if ((unsigned)store > ANN_NONE || (unsigned)metric > ANN_HAMMING)
        return ANN_FAIL(ANN_EINVAL, "no such store or metric: %d, %d", (int)store, (int)metric);
    v->store = store ? store : ANN_F32;
    v->metric = metric ? metric : v->store == ANN_B1 ? ANN_HAMMING : ANN_L2;
    if ((v->store == ANN_B1) != (v->metric == ANN_HAMMING))
        return ANN_FAIL(ANN_ENOTSUP, "metric %s over %s vectors", metric_name(v->metric),
                        dtype_name(v->store));
    if (codes && !vectors_are_floats(v))
        return ANN_FAIL(ANN_ENOTSUP, "%s vectors have no codes", dtype_name(v->store));
    v->ops = annk_select();
    v->dim = dim;
    v->row_bytes = dtype_row_bytes(v->store, dim);
    v->stride = row_stride(v->row_bytes);
    v->raw_bytes = v->query_bytes = vectors_are_floats(v) ? dim * sizeof(float) : v->row_bytes;
    if (v->store != ANN_NONE) {
        const enum annk_metric km = kernel_metric(v->metric, v->store);
        v->dist = v->ops->dist[km][kernel_type[v->store]];
        v->many = v->ops->many[km][kernel_type[v->store]];
    }
    const ann_err err = codes_init(&v->codes, codes, v->ops, v->metric, dim, seed);
    if (!err && codes) {
        v->code_at = (v->raw_bytes + MEM_ALIGN - 1) / MEM_ALIGN * MEM_ALIGN;
        v->query_bytes = v->code_at + code_query_bytes(v->codes.frame.padded);
    }
    return err;
}

void vectors_free(struct vectors *v)
{
    codes_free(&v->codes);
    buf_free(&v->data);
    buf_free(&v->live_map);
    buf_free(&v->born);
    buf_free(&v->free_list);
}

/* ---- slots ---- */

ann_err vectors_reserve(struct vectors *v, uint32_t extra)
{
    const uint32_t fresh = extra > v->free ? extra - v->free : 0;
    if (fresh > SLOTS_MAX - v->slots)
        return ANN_FAIL(ANN_ELIMIT, "%u vectors and %u more: an index holds at most %u",
                        v->slots, fresh, SLOTS_MAX);
    const uint32_t slots = v->slots + fresh;
    const bool reuse = v->free > 0 && extra > 0;
    ann_err err = buf_reserve(&v->data, (size_t)slots * v->stride);
    if (!err)
        err = codes_reserve(&v->codes, slots);
    if (!err)
        err = buf_reserve(&v->live_map, bitmap_bytes(slots));
    if (!err && (reuse || v->born.bytes > 0))
        err = buf_reserve(&v->born, (size_t)slots * sizeof(uint32_t));
    return err;
}

uint32_t vectors_take_slot(struct vectors *v)
{
    if (v->free > 0) {
        const uint32_t slot = ((const uint32_t *)v->free_list.data)[--v->free];
        if (v->free == 0)
            buf_free(&v->free_list);
        if (v->born.bytes == 0)
            (void)buf_resize(&v->born, (size_t)v->slots * sizeof(uint32_t)); /* reserved */
        ((uint32_t *)v->born.data)[slot] = v->adds;
        return slot;
    }
    const uint32_t slot = v->slots++;
    (void)buf_resize(&v->data, (size_t)v->slots * v->stride); /* reserved: these cannot fail */
    codes_resize(&v->codes, v->slots);
    (void)buf_resize(&v->live_map, bitmap_bytes(v->slots));
    if (v->born.bytes > 0) {
        (void)buf_resize(&v->born, (size_t)v->slots * sizeof(uint32_t));
        ((uint32_t *)v->born.data)[slot] = v->adds;
    }
    return slot;
}

void vectors_give_slot(struct vectors *v, uint32_t slot)
{
    if (buf_resize(&v->free_list, ((size_t)v->free + 1) * sizeof(uint32_t)))
        return;
    ((uint32_t *)v->free_list.data)[v->free++] = slot;
}

void vectors_set_live(struct vectors *v, uint32_t slot, bool live)
{
    uint64_t *word = (uint64_t *)v->live_map.data + (slot >> 6);
    const uint64_t bit = UINT64_C(1) << (slot & 63);
    if (live && !(*word & bit)) {
        *word |= bit;
        v->live++;
    } else if (!live && (*word & bit)) {
        *word &= ~bit;
        v->live--;
    }
}

void vectors_renumber(struct vectors *v, const uint32_t *new_slot, uint32_t kept)
{
    uint64_t *live = v->live_map.data;
    for (uint32_t old = 0; old < v->slots; old++) {
        const uint32_t now = new_slot[old];
        if (now == SLOT_NONE || now == old)
            continue;
        if (v->stride > 0)
            memcpy((char *)v->data.data + (size_t)now * v->stride, vectors_row(v, old),
                   v->stride);
        codes_move(&v->codes, old, now);
    }
    memset(live, 0, v->live_map.bytes);
    for (uint32_t s = 0; s < kept; s++)
        live[s >> 6] |= UINT64_C(1) << (s & 63);
    v->slots = v->live = kept;
    v->free = 0;
    (void)buf_resize(&v->data, (size_t)kept * v->stride); /* smaller: cannot fail */
    codes_resize(&v->codes, kept);
    (void)buf_resize(&v->live_map, bitmap_bytes(kept));
    buf_free(&v->free_list);
    buf_free(&v->born);
    buf_shrink(&v->data);
    buf_shrink(&v->codes.data);
    buf_shrink(&v->codes.norms);
    buf_shrink(&v->live_map);
}

/* ---- conversion ---- */

static const void *view_row(const ann_view *view, uint32_t dim, size_t i)
{
    const ann_dtype t = view->dtype ? view->dtype : ANN_F32;
    const size_t each = t == ANN_B1 ? 1 : dtype_row_bytes(t, 1);
    const size_t natural = t == ANN_B1 ? dtype_row_bytes(t, dim) : dim;
    return (const char *)view->data + i * (view->stride ? view->stride : natural) * each;
}

/* n elements of a numeric type as floats. */
static void to_floats(const struct annk_ops *ops, ann_dtype t, const void *row, size_t n,
                      float *out)
{
    switch (t) {
    case ANN_F16:
        ops->f16_to_f32(row, out, n);
        break;
    case ANN_BF16:
        ops->bf16_to_f32(row, out, n);
        break;
    case ANN_I8:
        for (size_t i = 0; i < n; i++)
            out[i] = ((const int8_t *)row)[i];
        break;
    case ANN_U8:
        for (size_t i = 0; i < n; i++)
            out[i] = ((const uint8_t *)row)[i];
        break;
    case ANN_B1:
        for (size_t i = 0; i < n; i++)
            out[i] = (float)(((const uint8_t *)row)[i / 8] >> (i % 8) & 1);
        break;
    default:
        memcpy(out, row, n * sizeof *out);
        break;
    }
}

/* To unit length, summed in double so that neither 1e-30 nor 1e30 leaves float's range. */
static void normalise(float *x, size_t n)
{
    const double sum = frame_norm2(x, n);
    const double scale = sum > 0 ? 1.0 / sqrt(sum) : 0;
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(x[i] * scale);
}

void vectors_query(const struct vectors *v, const ann_view *view, size_t i, void *out)
{
    const void *row = view_row(view, v->dim, i);
    if (!vectors_are_floats(v)) {
        memcpy(out, row, v->row_bytes);
        return;
    }
    to_floats(v->ops, view->dtype, row, v->dim, out);
    if (v->metric == ANN_COSINE)
        normalise(out, v->dim);
}

/* A float row as it is stored, from `floats` [dim], and back into them as rounded. */
static void store_floats(struct vectors *v, void *to, float *floats)
{
    if (v->store == ANN_F16) {
        v->ops->f32_to_f16(floats, to, v->dim);
        v->ops->f16_to_f32(to, floats, v->dim);
    } else if (v->store == ANN_BF16) {
        v->ops->f32_to_bf16(floats, to, v->dim);
        v->ops->bf16_to_f32(to, floats, v->dim);
    }
}

float vectors_put(struct vectors *v, uint32_t slot, const ann_view *view, size_t i,
                  float *scratch)
{
    char *rows = v->data.data; /* NULL without raw rows: store_floats leaves `to` alone */
    char *to = rows ? rows + (size_t)slot * v->stride : NULL;
    float *floats = v->store == ANN_F32 ? (float *)(void *)to : scratch;
    if (!vectors_are_floats(v)) {
        vectors_query(v, view, i, to);
        if (v->store == ANN_B1 && v->dim % 8) /* bits behind dim are nobody's: keep them zero */
            to[v->row_bytes - 1] &= (char)((1 << v->dim % 8) - 1);
        return 0;
    }
    vectors_query(v, view, i, floats);
    store_floats(v, to, floats);
    return v->codes.type ? codes_put(&v->codes, slot, floats, scratch + v->dim) : 0;
}

void vectors_row_query(const struct vectors *v, uint32_t slot, void *out)
{
    if (dtype_is_float(v->store))
        to_floats(v->ops, v->store, vectors_row(v, slot), v->dim, out);
    else
        memcpy(out, vectors_row(v, slot), v->row_bytes);
}

void vectors_get(const struct vectors *v, uint32_t slot, float *out)
{
    to_floats(v->ops, v->store, vectors_row(v, slot), v->dim, out);
}

void vectors_decode(const struct vectors *v, uint32_t slot, float *out, float *scratch)
{
    if (v->store != ANN_NONE) {
        vectors_get(v, slot, out);
        return;
    }
    codes_get(&v->codes, slot, out, scratch + v->dim);
    if (v->metric == ANN_COSINE)
        normalise(out, v->dim);
}

void vectors_many_coded(const struct vectors *v, const void *query, const uint32_t *slots,
                        size_t n, float *dists)
{
    const struct code_query *q = vectors_code_query(v, query);
    codes_distances_fine(&v->codes, q, slots, n, dists);
    for (size_t i = 0; i < n; i++)
        dists[i] = codes_raw_distance(&v->codes, q, dists[i]);
}

float vectors_distance(const struct vectors *v, float raw)
{
    if (v->metric != ANN_COSINE || !vectors_are_floats(v))
        return raw;
    const float d = 1.0f + raw;
    return d < 0 ? 0 : d;
}

/* ---- checks ---- */

/* The largest magnitude that the store keeps finite. */
static float store_limit(ann_dtype store)
{
    return store == ANN_F16 ? 65519.996f : store == ANN_BF16 ? 0x1.fefffep127f : INFINITY;
}

/* Elements looked at in one go: those of other types become floats on the stack, so that the
 * check of a query allocates nothing. */
#define CHECK_RUN 256

/* n elements of a row from `first` on; *nonzero is set when one is not zero. */
static ann_err check_run(const struct vectors *v, const float *x, size_t first, size_t n,
                         const char *what, size_t row, bool *nonzero)
{
    const float limit = v->metric == ANN_COSINE ? INFINITY : store_limit(v->store);
    const size_t bad = v->ops->find_nonfinite_f32(x, n);
    if (bad < n)
        return ANN_FAIL(ANN_EINVAL, "%s %zu: element %zu is %s", what, row, first + bad,
                        isnan(x[bad]) ? "NaN" : "infinite");
    for (size_t i = 0; i < n && !*nonzero; i++)
        *nonzero = x[i] != 0;
    const bool large = limit < INFINITY && v->ops->max_abs_f32(x, n) > limit;
    for (size_t i = 0; i < n && large; i++)
        if (fabsf(x[i]) > limit)
            return ANN_FAIL(ANN_EINVAL, "%s %zu: element %zu is %g, too large for %s", what,
                            row, first + i, (double)x[i], dtype_name(v->store));
    return ANN_OK;
}

static ann_err check_floats(const struct vectors *v, ann_dtype t, const void *row,
                            const char *what, size_t number)
{
    float run[CHECK_RUN];
    bool nonzero = false;
    ann_err err = ANN_OK;
    for (size_t first = 0; first < v->dim && !err; first += CHECK_RUN) {
        const size_t n = v->dim - first < CHECK_RUN ? v->dim - first : CHECK_RUN;
        const void *from = (const char *)row + dtype_row_bytes(t, first);
        if (t != ANN_F32)
            to_floats(v->ops, t, from, n, run);
        err = check_run(v, t == ANN_F32 ? from : run, first, n, what, number, &nonzero);
    }
    if (!err && !nonzero && v->metric == ANN_COSINE)
        err = ANN_FAIL(ANN_EINVAL, "%s %zu is zero, which has no direction under cosine", what,
                       number);
    return err;
}

static ann_err check_integers(const struct vectors *v, const ann_view *view, const char *what)
{
    if (view->dtype != v->store)
        return ANN_FAIL(ANN_EINVAL, "%s of type %s, but the index stores %s", what,
                        dtype_name(view->dtype ? view->dtype : ANN_F32), dtype_name(v->store));
    if (v->metric != ANN_COSINE)
        return ANN_OK;
    for (size_t r = 0; r < view->n; r++) {
        const char *row = view_row(view, v->dim, r);
        size_t i = 0;
        while (i < v->dim && row[i] == 0)
            i++;
        if (i == v->dim)
            return ANN_FAIL(ANN_EINVAL, "%s %zu is zero, which has no direction under cosine",
                            what, r);
    }
    return ANN_OK;
}

ann_err vectors_check(const struct vectors *v, const ann_view *view, const char *what)
{
    if (view->n > 0 && !view->data)
        return ANN_FAIL(ANN_EINVAL, "%s data is NULL", what);
    if ((unsigned)view->dtype > ANN_B1)
        return ANN_FAIL(ANN_EINVAL, "no such dtype: %d", (int)view->dtype);
    const size_t least = view->dtype == ANN_B1 ? dtype_row_bytes(ANN_B1, v->dim) : v->dim;
    if (view->stride > 0 && view->stride < least)
        return ANN_FAIL(ANN_EDIM, "%s stride is %zu, index dimension %u", what, view->stride,
                        v->dim);
    if (!vectors_are_floats(v))
        return check_integers(v, view, what);
    const ann_dtype t = view->dtype ? view->dtype : ANN_F32;
    if (t == ANN_B1)
        return ANN_FAIL(ANN_EINVAL, "%s of type b1, but the index stores %s", what,
                        dtype_name(v->store));
    ann_err err = ANN_OK;
    for (size_t i = 0; i < view->n && !err; i++)
        err = check_floats(v, t, view_row(view, v->dim, i), what, i);
    return err;
}

ann_err vectors_verify(const struct vectors *v)
{
    if (v->codes.type) {
        const ann_err err = codes_verify(&v->codes, v->live_map.data, v->slots);
        if (err)
            return err;
    }
    if (!dtype_is_float(v->store))
        return ANN_OK;
    float *x = mem_alloc(v->dim * sizeof *x);
    if (!x)
        return ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", v->dim * sizeof *x);
    /* A unit vector rounded to the store; bf16 keeps 8 bits of mantissa. */
    const double slack = v->store == ANN_F32 ? 1e-4 : v->store == ANN_F16 ? 1e-2 : 3e-2;
    ann_err err = ANN_OK;
    for (uint32_t s = 0; s < v->slots && !err; s++) {
        if (!vectors_is_live(v, s))
            continue;
        const float *row = v->store == ANN_F32 ? vectors_row(v, s) : x;
        if (row == x)
            vectors_get(v, s, x);
        const size_t bad = v->ops->find_nonfinite_f32(row, v->dim);
        if (bad < v->dim)
            err =
                ANN_FAIL(ANN_EDAMAGED, "vector in slot %u: element %zu is not finite", s, bad);
        else if (v->metric == ANN_COSINE && fabs(v->ops->norm2_f32(row, v->dim) - 1.0) > slack)
            err = ANN_FAIL(ANN_EDAMAGED, "vector in slot %u is not of unit norm", s);
    }
    mem_free(x);
    return err;
}
