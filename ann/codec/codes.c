/* codes.c - making scalar codes, and distances to them.  See codes.h. */
#include <config.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/codec/codes.h"

_Static_assert(sizeof(struct code_query) % MEM_ALIGN == 0, "what follows is not aligned");

#define BATCH 256 /* codes that one kernel call looks at */

ann_err codes_init(struct codes *c, enum code_type type, const struct annk_ops *ops,
                   ann_metric metric, uint32_t dim, uint64_t seed)
{
    memset(c, 0, sizeof *c);
    c->type = type;
    if (type == CODE_NONE)
        return ANN_OK;
    const ann_err err =
        frame_init(&c->frame, ops, metric, dim, type == CODE_SQ4 ? 128 : 64, seed);
    c->stride = type == CODE_SQ4 ? c->frame.padded / 2 : c->frame.padded;
    return err;
}

void codes_free(struct codes *c)
{
    frame_free(&c->frame);
    buf_free(&c->data);
    buf_free(&c->norms);
}

size_t codes_held(const struct codes *c)
{
    return buf_held(&c->data) + buf_held(&c->norms) + buf_held(&c->frame.mean) +
           buf_held(&c->frame.signs);
}

ann_err codes_reserve(struct codes *c, uint32_t slots)
{
    if (c->type == CODE_NONE)
        return ANN_OK;
    const ann_err err = buf_reserve(&c->data, (size_t)slots * c->stride);
    return err ? err : buf_reserve(&c->norms, (size_t)slots * sizeof(int32_t));
}

void codes_resize(struct codes *c, uint32_t slots)
{
    if (c->type == CODE_NONE)
        return;
    (void)buf_resize(&c->data, (size_t)slots * c->stride); /* reserved: these cannot fail */
    (void)buf_resize(&c->norms, (size_t)slots * sizeof(int32_t));
}

void codes_move(struct codes *c, uint32_t from, uint32_t to)
{
    if (c->type == CODE_NONE)
        return;
    int32_t *norms = c->norms.data;
    memcpy((char *)c->data.data + (size_t)to * c->stride, codes_row(c, from), c->stride);
    norms[to] = norms[from];
}

/* ---- one vector ---- */

/* y [padded] as whole numbers: -127..127 (sq8), or the odd ones -15..15 (sq4). */
static void to_numbers(const struct codes *c, const float *y, float step, int8_t *out)
{
    const uint32_t n = c->frame.padded;
    const float by = 1 / step;
    if (c->type == CODE_SQ8) {
        c->frame.ops->quantise_s8(y, by, out, n);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        const float at = y[i] * by + 8; /* step * (k - 8) is between codes k - 1 and k */
        const int k = at < 0 ? 0 : at < 15 ? (int)at : 15;
        out[i] = (int8_t)(2 * k - 15);
    }
}

/* Squared error of y as unit * numbers; *norm: the sum of their squares. */
static double error2_of(const float *y, const int8_t *numbers, float unit, size_t n,
                        int32_t *norm)
{
    double sum[4] = {0};
    int32_t squares = 0;
    for (size_t i = 0; i < n; i += 4) /* n is a multiple of 64 */
        for (size_t j = 0; j < 4; j++) {
            const double e = y[i + j] - (double)unit * numbers[i + j];
            sum[j] += e * e;
            squares += numbers[i + j] * numbers[i + j];
        }
    *norm = squares;
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* A bound with room for what the rotation in float rounds. */
static float error_bound(double error2, double norm2)
{
    const double bound = sqrt(error2) * (1 + 1e-6) + 2e-6 * sqrt(norm2);
    return bound < FLT_MAX ? (float)bound : FLT_MAX;
}

static void pack(const struct codes *c, const int8_t *numbers, uint8_t *out)
{
    const uint32_t n = c->frame.padded;
    if (c->type == CODE_SQ8) {
        for (uint32_t i = 0; i < n; i++)
            out[i] = (uint8_t)(numbers[i] + 128);
        return;
    }
    for (uint32_t i = 0; i < n; i += 128)
        for (uint32_t j = 0; j < 64; j++) {
            const int low = (numbers[i + j] + 15) / 2, high = (numbers[i + 64 + j] + 15) / 2;
            out[i / 2 + j] = (uint8_t)(low | high << 4);
        }
}

static void unpack(const struct codes *c, uint32_t slot, int8_t *numbers)
{
    const uint32_t n = c->frame.padded;
    const uint8_t *code = codes_row(c, slot);
    if (c->type == CODE_SQ8) {
        for (uint32_t i = 0; i < n; i++)
            numbers[i] = (int8_t)(code[i] - 128);
        return;
    }
    for (uint32_t i = 0; i < n; i += 128)
        for (uint32_t j = 0; j < 64; j++) {
            numbers[i + j] = (int8_t)(2 * (code[i / 2 + j] & 15) - 15);
            numbers[i + 64 + j] = (int8_t)(2 * (code[i / 2 + j] >> 4) - 15);
        }
}

float codes_put(struct codes *c, uint32_t slot, const float *x, float *room)
{
    const uint32_t n = c->frame.padded;
    int8_t *numbers = (int8_t *)(room + n);
    int32_t norm;
    const bool whole = frame_apply(&c->frame, x, room);
    to_numbers(c, room, c->step, numbers);
    const double error2 = error2_of(room, numbers, codes_unit(c), n, &norm);
    pack(c, numbers, (uint8_t *)c->data.data + (size_t)slot * c->stride);
    ((int32_t *)c->norms.data)[slot] = norm;
    return whole ? error_bound(error2, frame_norm2(room, n)) : FLT_MAX;
}

void codes_get(const struct codes *c, uint32_t slot, float *x, float *room)
{
    const uint32_t n = c->frame.padded;
    int8_t *numbers = (int8_t *)(room + n);
    unpack(c, slot, numbers);
    for (uint32_t i = 0; i < n; i++)
        room[i] = codes_unit(c) * numbers[i];
    frame_invert(&c->frame, room, x);
}

/* ---- the step ---- */

/* Rows in code space to choose the step by. */
struct sample {
    size_t n;
    float *y;        /* [n, padded] */
    double *norm2;   /* [n] */
    double typical;  /* median of norm2 */
    int8_t *numbers; /* [padded] */
};

#define SAMPLE_VALUES ((uint64_t)1 << 21)
#define SAMPLE_ROWS   2048

static int double_order(const void *pa, const void *pb)
{
    const double a = *(const double *)pa, b = *(const double *)pb;
    return (a > b) - (a < b);
}

static ann_err sample_rows(const struct codes *c, uint64_t n, frame_row_fn row, void *arg,
                           struct sample *s)
{
    const uint32_t padded = c->frame.padded;
    uint64_t most = SAMPLE_VALUES / padded;
    most = most < SAMPLE_ROWS ? most : SAMPLE_ROWS;
    s->n = (size_t)(n < most ? n : most);
    s->y = mem_alloc(s->n * padded * sizeof *s->y);
    s->norm2 = mem_alloc(s->n * sizeof *s->norm2);
    s->numbers = mem_alloc(padded);
    float *room = mem_alloc(c->frame.dim * sizeof *room);
    double *sorted = mem_alloc(s->n * sizeof *sorted);
    ann_err err = ANN_OK;
    if (!s->y || !s->norm2 || !s->numbers || !room || !sorted)
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for a sample of %zu vectors", s->n);
    for (size_t i = 0; i < s->n && !err; i++) {
        float *y = s->y + i * padded;
        (void)frame_apply(&c->frame, row(arg, i * n / s->n, room), y);
        s->norm2[i] = sorted[i] = frame_norm2(y, padded);
    }
    if (!err) {
        qsort(sorted, s->n, sizeof *sorted, double_order);
        s->typical = sorted[s->n / 2] > 0 ? sorted[s->n / 2] : 1;
    }
    mem_free(sorted);
    mem_free(room);
    return err;
}

static void sample_free(struct sample *s)
{
    mem_free(s->y);
    mem_free(s->norm2);
    mem_free(s->numbers);
}

/* What is lost with this step: squared error relative to the vector's own squared norm, or the
 * typical one if that is larger, and not without bound for one vector, so that a few far ones
 * do not make all others coarse. */
static double loss(const struct codes *c, const struct sample *s, float step)
{
    const uint32_t padded = c->frame.padded;
    const float unit = c->type == CODE_SQ4 ? step / 2 : step;
    const double most = c->type == CODE_SQ4 ? 0.1 : 0.01;
    double sum = 0;
    int32_t norm;
    for (size_t i = 0; i < s->n; i++) {
        const float *y = s->y + i * padded;
        to_numbers(c, y, step, s->numbers);
        const double share = error2_of(y, s->numbers, unit, padded, &norm) /
                             (s->norm2[i] > s->typical ? s->norm2[i] : s->typical);
        sum += share < most ? share : most;
    }
    return sum;
}

/* The ranges tried: 2, 2.25, ... of the typical element, each an eighth wider. */
#define RANGES      40
#define RANGE_BLIND 12 /* 8.2, where the sample says nothing: all its vectors are one */

/* Of the ranges, the one that loses least; with 8 bits the widest that loses not much more, for
 * a value beyond the range loses more than its share where single errors count. */
static float choose_step(const struct codes *c, const struct sample *s)
{
    const double element = sqrt(s->typical / c->frame.padded);
    const double levels = c->type == CODE_SQ4 ? 8 : 127;
    const double slack = c->type == CODE_SQ4 ? 1 : 1.25;
    double lost[RANGES], range = 2, best = INFINITY;
    int tried = 0;
    for (; tried < RANGES; tried++, range *= 1.125) {
        lost[tried] = loss(c, s, (float)(range * element / levels));
        best = lost[tried] < best ? lost[tried] : best;
        if (lost[tried] > 4 * best)
            break;
    }
    int at = best > 0 ? tried - 1 : RANGE_BLIND;
    while (best > 0 && at > 0 && !(lost[at] <= slack * best))
        at--;
    range = 2;
    for (int i = 0; i < at; i++)
        range *= 1.125;
    return (float)(range * element / levels);
}

ann_err codes_train(struct codes *c, uint64_t n, frame_row_fn row, void *arg, double largest)
{
    struct codes fresh = {.type = c->type};
    struct sample s = {0};
    ann_err err = frame_init(&fresh.frame, c->frame.ops, c->frame.metric, c->frame.dim,
                             c->type == CODE_SQ4 ? 128 : 64, c->frame.seed);
    if (!err)
        err = frame_train(&fresh.frame, n, row, arg, largest);
    if (!err)
        err = sample_rows(&fresh, n, row, arg, &s);
    if (!err) {
        frame_free(&c->frame);
        c->frame = fresh.frame;
        c->step = choose_step(c, &s);
        c->max_error = 0;
        c->generation++;
    } else {
        frame_free(&fresh.frame);
    }
    sample_free(&s);
    return err;
}

/* ---- queries ---- */

static int32_t sum_of(const int8_t *x, size_t n)
{
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

void codes_query(const struct codes *c, const float *q, struct code_query *out)
{
    const struct annk_ops *ops = c->frame.ops;
    const uint32_t n = c->frame.padded;
    *out = (struct code_query){.padded = n, .norm = -1, .generation = c->generation};
    float *y = code_query_y(out);
    int8_t *high = code_query_high(out), *low = code_query_low(out);
    frame_apply_query(&c->frame, q, y, &out->raw_scale, &out->raw_shift);
    const float most = ops->max_abs_f32(y, n);
    out->step = most > 1e-30f ? most / 127 : 1e-30f;
    out->low_step = out->step / 254;
    ops->quantise_s8(y, 1 / out->step, high, n);
    struct annk_rest sums;
    ops->rest_s8(y, high, out->step, 1 / out->low_step, low, n, &sums);
    out->norm2 = sums.norm2;
    out->error = error_bound((double)sums.error2, (double)sums.norm2);
    out->sum = sums.high_sum;
    out->low_sum = sums.low_sum;
}

void codes_row_query(const struct codes *c, uint32_t slot, struct code_query *out)
{
    const uint32_t n = c->frame.padded;
    *out = (struct code_query){
        .padded = n, .step = codes_unit(c), .raw_scale = 1, .generation = c->generation};
    out->norm = ((const int32_t *)c->norms.data)[slot];
    unpack(c, slot, code_query_high(out));
    out->sum = sum_of(code_query_high(out), n);
    out->norm2 = codes_unit(c) * codes_unit(c) * (float)out->norm;
}

/* ---- distances ---- */

static void dots_of(const struct codes *c, const struct code_query *q, const int8_t *plane,
                    int32_t sum, const uint32_t *slots, size_t n, int32_t *dots)
{
    c->frame.ops->code_dots[c->type == CODE_SQ4 ? ANNK_SQ4 : ANNK_SQ8](
        plane, sum, c->data.data, c->stride, slots, n, q->padded, c->ahead, dots);
}

static void distances_batch(const struct codes *c, const struct code_query *q,
                            const uint32_t *slots, size_t n, float *dists)
{
    int32_t dots[BATCH];
    const int32_t *norms = c->norms.data;
    for (size_t i = 0; i < n; i++)
        __builtin_prefetch(norms + slots[i]);
    dots_of(c, q, code_query_high(q), q->sum, slots, n, dots);
    if (q->norm >= 0) {
        for (size_t i = 0; i < n; i++)
            dists[i] = (float)((int64_t)q->norm + norms[slots[i]] - 2 * (int64_t)dots[i]);
        return;
    }
    const float unit = codes_unit(c), a = unit * unit, s = -2 * unit * q->step, g = q->norm2;
    for (size_t i = 0; i < n; i++) {
        const float d = a * (float)norms[slots[i]] + g + s * (float)dots[i];
        dists[i] = d > 0 ? d : 0;
    }
}

void codes_distances(const struct codes *c, const struct code_query *q, const uint32_t *slots,
                     size_t n, float *dists)
{
    for (size_t at = 0; at < n; at += BATCH)
        distances_batch(c, q, slots + at, n - at < BATCH ? n - at : BATCH, dists + at);
}

void codes_distances_fine(const struct codes *c, const struct code_query *q,
                          const uint32_t *slots, size_t n, float *dists)
{
    int32_t high[BATCH], low[BATCH];
    const int32_t *norms = c->norms.data;
    const double unit = codes_unit(c), a = unit * unit;
    const double s = -2 * unit * q->step, t = -2 * unit * q->low_step, g = q->norm2;
    for (size_t at = 0; at < n; at += BATCH) {
        const size_t run = n - at < BATCH ? n - at : BATCH;
        dots_of(c, q, code_query_high(q), q->sum, slots + at, run, high);
        dots_of(c, q, code_query_low(q), q->low_sum, slots + at, run, low);
        for (size_t i = 0; i < run; i++) {
            const double d = a * norms[slots[at + i]] + g + s * high[i] + t * low[i];
            dists[at + i] = d > 0 ? (float)d : 0;
        }
    }
}

/* ---- checks ---- */

ann_err codes_verify(const struct codes *c, const uint64_t *live, uint32_t slots)
{
    const uint32_t n = c->frame.padded;
    const int32_t *norms = c->norms.data;
    int8_t *numbers = mem_alloc(n);
    if (!numbers)
        return ANN_FAIL(ANN_ENOMEM, "out of memory: %u bytes", n);
    ann_err err = ANN_OK;
    for (uint32_t s = 0; s < slots && !err; s++) {
        if (!(live[s >> 6] >> (s & 63) & 1))
            continue;
        int32_t norm = 0;
        bool made = true;
        unpack(c, s, numbers);
        for (uint32_t i = 0; i < n; i++) {
            norm += numbers[i] * numbers[i];
            made = made && numbers[i] != -128;
        }
        if (!made)
            err = ANN_FAIL(ANN_EDAMAGED, "code in slot %u is none that is ever made", s);
        else if (norm != norms[s])
            err = ANN_FAIL(ANN_EDAMAGED, "code in slot %u has norm %d, not %d", s, norm,
                           norms[s]);
    }
    mem_free(numbers);
    return err;
}
