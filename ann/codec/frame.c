/* frame.c - learning a frame, and bringing vectors into it and back.  See frame.h.
 *
 * Values far from 1 are no exception here: what is learned is summed in double, and a power of
 * two brings vectors near 1 before anything is done to them in float. */
#include <config.h>

#include <float.h>
#include <math.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/base/rng.h"
#include "ann/codec/frame.h"

#define ROUNDS 4

/* Norms up to this factor above the largest seen fit without learning anew, so that growing
 * norms cost few recodings. */
#define LIFT_ROOM 1.21

uint32_t frame_padded(ann_metric metric, uint32_t dim, uint32_t multiple)
{
    const uint32_t lifted = dim + (metric == ANN_IP);
    return (lifted + multiple - 1) / multiple * multiple;
}

ann_err frame_init(struct frame *f, const struct annk_ops *ops, ann_metric metric, uint32_t dim,
                   uint32_t multiple, uint64_t seed)
{
    memset(f, 0, sizeof *f);
    f->ops = ops;
    f->metric = metric;
    f->dim = dim;
    f->lifted = dim + (metric == ANN_IP);
    f->padded = frame_padded(metric, dim, multiple);
    f->seed = seed;
    for (f->walsh = 64; f->walsh <= f->padded / 2;)
        f->walsh *= 2;
    const size_t words = (size_t)ROUNDS * f->padded / 64;
    ann_err err = buf_resize(&f->signs, words * sizeof(uint64_t));
    if (!err)
        err = buf_resize(&f->mean, f->lifted * sizeof(float));
    if (err) {
        frame_free(f);
        return err;
    }
    for (size_t i = 0; i < words; i++)
        ((uint64_t *)f->signs.data)[i] = rng_at(seed, i);
    return ANN_OK;
}

ann_err frame_init_plain(struct frame *f, const struct annk_ops *ops, ann_metric metric,
                         uint32_t dim)
{
    memset(f, 0, sizeof *f);
    f->ops = ops;
    f->metric = metric;
    f->dim = dim;
    f->lifted = f->padded = dim + (metric == ANN_IP);
    f->plain = true;
    return buf_resize(&f->mean, f->lifted * sizeof(float));
}

void frame_free(struct frame *f)
{
    buf_free(&f->mean);
    buf_free(&f->signs);
}

/* ---- learning ---- */

double frame_norm2(const float *x, size_t dim)
{
    double sum[4] = {0};
    size_t i = 0;
    for (; i + 4 <= dim; i += 4)
        for (size_t j = 0; j < 4; j++)
            sum[j] += (double)x[i + j] * x[i + j];
    for (; i < dim; i++)
        sum[0] += (double)x[i] * x[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

bool frame_fits(const struct frame *f, double norm2)
{
    return f->metric != ANN_IP || norm2 * f->unit * f->unit <= f->lift;
}

/* What is learned, before it is brought into units. */
struct lesson {
    double *mean; /* [lifted] */
    double lift;
    double spread;   /* sqrt(E|x' - mean|^2) */
    double farthest; /* the largest magnitude of an element */
};

static void learn_mean(const struct frame *f, uint64_t n, frame_row_fn row, void *arg,
                       float *room, struct lesson *l)
{
    for (uint64_t r = 0; r < n; r++) {
        const float *x = row(arg, r, room);
        for (uint32_t i = 0; i < f->dim; i++) {
            l->mean[i] += x[i];
            l->farthest = fabs((double)x[i]) > l->farthest ? fabs((double)x[i]) : l->farthest;
        }
        if (f->metric == ANN_IP) {
            const double norm2 = frame_norm2(x, f->dim);
            l->lift = norm2 > l->lift ? norm2 : l->lift;
        }
    }
    for (uint32_t i = 0; i < f->dim; i++)
        l->mean[i] /= (double)n;
    if (f->metric != ANN_IP)
        return;
    l->lift *= LIFT_ROOM;
    for (uint64_t r = 0; r < n; r++)
        l->mean[f->dim] += sqrt(l->lift - frame_norm2(row(arg, r, room), f->dim));
    l->mean[f->dim] /= (double)n;
}

static void learn_spread(const struct frame *f, uint64_t n, frame_row_fn row, void *arg,
                         float *room, struct lesson *l)
{
    double sum = 0;
    for (uint64_t r = 0; r < n; r++) {
        const float *x = row(arg, r, room);
        for (uint32_t i = 0; i < f->dim; i++)
            sum += (x[i] - l->mean[i]) * (x[i] - l->mean[i]);
        if (f->metric == ANN_IP) {
            const double up = sqrt(l->lift - frame_norm2(x, f->dim)) - l->mean[f->dim];
            sum += up * up;
        }
    }
    l->spread = sqrt(sum / (double)n);
}

/* 2^-e such that x * 2^-e is in [1, 2), within the exponents of normal floats. */
static double unit_of(double x)
{
    int e;
    frexp(x, &e);
    e = 1 - e;
    return ldexp(1, e < -126 ? -126 : e > 126 ? 126 : e);
}

static void keep(struct frame *f, const struct lesson *l)
{
    double largest = l->farthest > sqrt(l->lift) ? l->farthest : sqrt(l->lift);
    double spread = l->spread;
    if (!(spread > largest * 1e-12)) /* all alike: the others will lie about as far off as 0 */
        spread = largest > 0 ? largest * sqrt((double)f->dim) : 1;
    double unit = unit_of(spread);
    while (largest * unit > 0x1p100)
        unit /= 2;
    const double scale = 1 / (spread * unit);
    f->unit = (float)unit;
    f->scale = (float)(scale < 0x1p100 ? scale : 0x1p100);
    f->lift = l->lift * unit * unit;
    for (uint32_t i = 0; i < f->lifted; i++)
        ((float *)f->mean.data)[i] = (float)(l->mean[i] * unit);
}

ann_err frame_train(struct frame *f, uint64_t n, frame_row_fn row, void *arg, double largest)
{
    struct lesson l = {.lift = f->metric == ANN_IP ? largest : 0};
    l.mean = mem_zalloc(f->lifted, sizeof *l.mean);
    float *room = mem_alloc(f->dim * sizeof *room);
    ann_err err = ANN_OK;
    if (!l.mean || !room)
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for a mean of %u dimensions", f->dim);
    if (!err)
        err = buf_own(&f->mean);
    if (!err && n > 0) {
        learn_mean(f, n, row, arg, room, &l);
        learn_spread(f, n, row, arg, room, &l);
        keep(f, &l);
        f->trained = n;
    }
    mem_free(room);
    mem_free(l.mean);
    return err;
}

/* ---- rotation ---- */

/* In runs of a constant length, which the compiler turns into vectors without more ado. */
#define RUN 16

static void multiply(float *restrict y, float by, size_t n)
{
    for (size_t i = 0; i < n; i += RUN) /* n is a multiple of 64 */
        for (size_t j = 0; j < RUN; j++)
            y[i + j] *= by;
}

/* Where round r's transform begins. */
static float *walsh_part(const struct frame *f, float *y, int r)
{
    return r % 2 ? y + (f->padded - f->walsh) : y;
}

static const uint64_t *round_signs(const struct frame *f, int r)
{
    return (const uint64_t *)f->signs.data + (size_t)r * f->padded / 64;
}

/* What the first round's transform leaves out, in transforms of smaller powers of two: else a
 * vector of one element that lies there would not be spread by four rounds. */
static void spread_rest(const struct frame *f, float *y)
{
    uint32_t at = f->walsh;
    for (uint32_t h = f->walsh / 2; h >= 64; h /= 2)
        if (at + h <= f->padded) {
            f->ops->fwht_f32(y + at, h);
            multiply(y + at, (float)(1 / sqrt((double)h)), h);
            at += h;
        }
}

/* Each round is orthogonal but for a factor: sqrt(walsh) of the transform, taken off at once
 * where it is not all of y, and sqrt(2) of the butterfly.  What is left over all rounds is a
 * power of two: rotation_factor. */
static void rotate(const struct frame *f, float *y)
{
    const bool whole = f->walsh == f->padded;
    const float by = (float)(1 / sqrt((double)f->walsh));
    for (int r = 0; r < ROUNDS; r++) {
        f->ops->flip_signs_f32(y, round_signs(f, r), f->padded);
        f->ops->fwht_f32(walsh_part(f, y, r), f->walsh);
        if (whole)
            continue;
        multiply(walsh_part(f, y, r), by, f->walsh);
        if (r == 0)
            spread_rest(f, y);
        f->ops->butterfly_f32(y, y + f->padded / 2, f->padded / 2);
    }
}

static void rotate_back(const struct frame *f, float *y)
{
    const bool whole = f->walsh == f->padded;
    const float by = (float)(1 / sqrt((double)f->walsh));
    for (int r = ROUNDS - 1; r >= 0; r--) {
        if (!whole) {
            f->ops->butterfly_f32(y, y + f->padded / 2, f->padded / 2);
            if (r == 0)
                spread_rest(f, y);
            multiply(walsh_part(f, y, r), by, f->walsh);
        }
        f->ops->fwht_f32(walsh_part(f, y, r), f->walsh);
        f->ops->flip_signs_f32(y, round_signs(f, r), f->padded);
    }
}

static float rotation_factor(const struct frame *f)
{
    return f->walsh == f->padded ? 1.0f / f->walsh / f->walsh : 0.25f;
}

/* ---- into the frame and back ---- */

static inline float centred(float x, float unit, float mean, float scale)
{
    const float y = (x * unit - mean) * scale;
    const float low = y < FRAME_LIMIT ? y : FRAME_LIMIT;
    return low > -FRAME_LIMIT ? low : -FRAME_LIMIT;
}

/* y [n] = (x * unit - mean) * scale; the largest magnitude. */
static void centre(float *restrict y, const float *restrict x, const float *restrict mean,
                   float unit, float scale, size_t n)
{
    size_t i = 0;
    for (; i + RUN <= n; i += RUN)
        for (size_t j = 0; j < RUN; j++)
            y[i + j] = centred(x[i + j], unit, mean[i + j], scale);
    for (; i < n; i++)
        y[i] = centred(x[i], unit, mean[i], scale);
}

/* From centred elements at y [lifted] on. */
static void finish(const struct frame *f, float *y)
{
    if (f->plain)
        return;
    memset(y + f->lifted, 0, (f->padded - f->lifted) * sizeof *y);
    multiply(y, rotation_factor(f), f->padded);
    rotate(f, y);
}

bool frame_apply(const struct frame *f, const float *x, float *y)
{
    const float *mean = f->mean.data;
    centre(y, x, mean, f->unit, f->scale, f->dim);
    if (f->metric == ANN_IP) {
        const double up = f->lift - frame_norm2(x, f->dim) * f->unit * f->unit;
        y[f->dim] = centred((float)sqrt(up > 0 ? up : 0), 1, mean[f->dim], f->scale);
    }
    const bool whole = f->ops->max_abs_f32(y, f->lifted) < FRAME_LIMIT;
    finish(f, y);
    return whole;
}

/* Under ip, |x' - aq|^2 = lift + |aq|^2 - 2a <q, x>, all in units. */
static void apply_lifted_query(const struct frame *f, const float *q, float *y,
                               double *raw_scale, double *raw_shift)
{
    const float *mean = f->mean.data;
    const double norm = sqrt(frame_norm2(q, f->dim)), goal = sqrt(f->lift);
    const double a = norm > 0 ? goal / norm : 0;
    for (uint32_t i = 0; i < f->dim; i++)
        y[i] = centred((float)(q[i] * a), 1, mean[i], f->scale);
    y[f->dim] = centred(0, 1, mean[f->dim], f->scale);
    *raw_scale = a > 0 ? 1 / (2 * a * f->unit * f->scale * f->scale) : 0;
    *raw_shift = a > 0 ? -f->lift / (a * f->unit) : 0;
}

void frame_apply_query(const struct frame *f, const float *q, float *y, double *raw_scale,
                       double *raw_shift)
{
    if (f->metric == ANN_IP) {
        apply_lifted_query(f, q, y, raw_scale, raw_shift);
    } else {
        const double scale = (double)f->unit * f->scale;
        centre(y, q, f->mean.data, f->unit, f->scale, f->dim);
        *raw_scale = f->metric == ANN_COSINE ? 0.5 / scale / scale : 1 / scale / scale;
        *raw_shift = f->metric == ANN_COSINE ? -1 : 0;
    }
    finish(f, y);
}

void frame_invert(const struct frame *f, float *y, float *x)
{
    const float *mean = f->mean.data;
    if (!f->plain) {
        rotate_back(f, y);
        multiply(y, rotation_factor(f), f->padded);
    }
    for (uint32_t i = 0; i < f->dim; i++) {
        const double v = ((double)y[i] / f->scale + mean[i]) / f->unit;
        x[i] = v > FLT_MAX ? FLT_MAX : v < -FLT_MAX ? -FLT_MAX : (float)v;
    }
}
