/* test_codec.c - frames and scalar codes against the same in double. */
#include <config.h>

#include <check.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/base/rng.h"
#include "ann/codec/codes.h"

#define ok(call) ck_assert_msg((call) == ANN_OK, "%s: %s", #call, error_message())

static const uint32_t dims[] = {1, 2, 3, 63, 64, 65, 100, 128, 192, 784, 1536, 65536};
#define DIMS (sizeof dims / sizeof *dims)

enum shape {
    GAUSS,  /* around a centre far from 0 */
    SPARSE, /* one element carries all */
    HEAVY,  /* one of 50 is a hundred times as long */
    SKEWED, /* element i is smaller the larger i is */
    SAME,   /* all vectors are one */
    SHAPES
};

struct rows {
    uint32_t n, dim;
    float *x; /* [n, dim] */
};

static double gauss(uint64_t *state)
{
    double sum = 0;
    for (int i = 0; i < 12; i++)
        sum += rng_unit(state);
    return sum - 6;
}

static struct rows make_rows(enum shape shape, uint32_t n, uint32_t dim, double size,
                             uint64_t seed)
{
    struct rows r = {n, dim, malloc((size_t)n * dim * sizeof(float))};
    for (uint32_t i = 0; i < n; i++) {
        uint64_t state = seed * 1000003 + (shape == SAME ? 0 : i);
        const uint32_t spike = (uint32_t)rng_below(&state, dim);
        for (uint32_t j = 0; j < dim; j++) {
            double v = dim > 4096 ? 6 * rng_unit(&state) - 3 : gauss(&state);
            v = shape == GAUSS                   ? v + 3 * (j % 3)
                : shape == SPARSE                ? (j == spike ? 1 + v / 10 : 0)
                : shape == HEAVY && i % 50 == 49 ? 100 * v
                : shape == SKEWED                ? v / (1 + j % 100)
                                                 : v;
            r.x[(size_t)i * dim + j] = (float)(v * size);
        }
    }
    return r;
}

static const float *row_of(void *arg, uint64_t i, float *room)
{
    const struct rows *r = arg;
    (void)room;
    return r->x + i * r->dim;
}

static void normalise_rows(struct rows *r)
{
    for (uint32_t i = 0; i < r->n; i++) {
        const double norm = sqrt(frame_norm2(r->x + (size_t)i * r->dim, r->dim));
        for (uint32_t j = 0; j < r->dim && norm > 0; j++)
            r->x[(size_t)i * r->dim + j] = (float)(r->x[(size_t)i * r->dim + j] / norm);
    }
}

static void *aligned(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    ck_assert(p != NULL);
    return p;
}

/* Codes of rows, all in slots of their own numbers. */
static struct codes make_codes(enum code_type type, ann_metric metric, struct rows *r,
                               const struct annk_ops *ops)
{
    struct codes c;
    ok(codes_init(&c, type, ops, metric, r->dim, 7));
    ok(codes_train(&c, r->n, row_of, r, 0));
    ok(codes_reserve(&c, r->n));
    codes_resize(&c, r->n);
    float *room = aligned(2 * c.frame.padded * sizeof(float));
    for (uint32_t i = 0; i < r->n; i++) {
        const float error = codes_put(&c, i, r->x + (size_t)i * r->dim, room);
        c.max_error = error > c.max_error ? error : c.max_error;
    }
    free(room);
    return c;
}

/* What a code stands for in code space. */
static void decode(const struct codes *c, uint32_t slot, double *y)
{
    const uint8_t *code = codes_row(c, slot);
    for (uint32_t i = 0; i < c->frame.padded; i++) {
        const uint32_t at = i / 128 * 64 + i % 64;
        const int k = c->type == CODE_SQ8 ? code[i] - 128
                      : i % 128 < 64      ? 2 * (code[at] & 15) - 15
                                          : 2 * (code[at] >> 4) - 15;
        y[i] = (double)codes_unit(c) * k;
    }
}

static double distance2(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

/* ---- the frame ---- */

START_TEST(rotation_is_orthogonal)
{
    const uint32_t dim = dims[_i], n = 6;
    for (int m = ANN_L2; m <= ANN_COSINE; m++) {
        struct rows r = make_rows(GAUSS, n, dim, 1, 5);
        if (m == ANN_COSINE)
            normalise_rows(&r);
        struct frame f;
        ok(frame_init(&f, annk_select(), (ann_metric)m, dim, 64, 3));
        ck_assert(f.padded % 64 == 0 && f.padded >= dim && f.padded < dim + 65);
        ok(frame_train(&f, n, row_of, &r, 0));
        float *y = aligned(2 * f.padded * sizeof *y), *z = y + f.padded;
        float *back = malloc(dim * sizeof *back);
        double total = 0;
        for (uint32_t i = 0; i < n; i++) {
            const float *a = r.x + (size_t)i * dim, *b = r.x + (size_t)((i + 1) % n) * dim;
            ck_assert(frame_apply(&f, a, y) && frame_apply(&f, b, z));
            double want = 0, got = 0;
            for (uint32_t j = 0; j < dim; j++)
                want += ((double)a[j] - b[j]) * ((double)a[j] - b[j]);
            const double unit = (double)f.unit * f.unit, scale = (double)f.scale * f.scale;
            want *= unit;
            if (m == ANN_IP) {
                const double ua = sqrt(f.lift - unit * frame_norm2(a, dim));
                const double ub = sqrt(f.lift - unit * frame_norm2(b, dim));
                want += (ua - ub) * (ua - ub);
            }
            for (uint32_t j = 0; j < f.padded; j++)
                got += ((double)y[j] - z[j]) * ((double)y[j] - z[j]);
            ck_assert_msg(fabs(got - want * scale) < 1e-4 * (1 + want * scale),
                          "metric %d dim %u: %g, not %g", m, dim, got, want * scale);
            total += frame_norm2(y, f.padded);
            frame_invert(&f, y, back);
            for (uint32_t j = 0; j < dim; j++)
                ck_assert_msg(fabs((double)back[j] - a[j]) < 1e-4 * (1 + fabs((double)a[j])),
                              "metric %d dim %u: element %u is %g, not %g", m, dim, j,
                              (double)back[j], (double)a[j]);
        }
        ck_assert(fabs(total / n - 1) < 1e-3); /* the scale */
        free(back);
        free(y);
        free(r.x);
        frame_free(&f);
    }
}
END_TEST

/* No element of what is rotated stands out, whatever did before. */
START_TEST(rotation_spreads)
{
    const uint32_t dim = dims[_i];
    struct rows r = make_rows(SPARSE, 40, dim, 1, 9);
    struct frame f;
    ok(frame_init(&f, annk_select(), ANN_L2, dim, 64, 3));
    ok(frame_train(&f, r.n, row_of, &r, 0));
    float *y = aligned(f.padded * sizeof *y);
    for (uint32_t i = 0; i < r.n; i++) {
        frame_apply(&f, r.x + (size_t)i * dim, y);
        const double element = sqrt(frame_norm2(y, f.padded) / f.padded);
        ck_assert_msg(annk_select()->max_abs_f32(y, f.padded) < 7 * element + 1e-6,
                      "dim %u: an element is %g times the typical", dim,
                      annk_select()->max_abs_f32(y, f.padded) / element);
    }
    free(y);
    free(r.x);
    frame_free(&f);
}
END_TEST

/* ---- codes ---- */

/* The metric's raw distance, in double. */
static double raw(ann_metric m, const float *q, const float *x, uint32_t dim)
{
    double l2 = 0, ip = 0;
    for (uint32_t i = 0; i < dim; i++) {
        l2 += ((double)q[i] - x[i]) * ((double)q[i] - x[i]);
        ip += (double)q[i] * x[i];
    }
    return m == ANN_L2 ? l2 : -ip;
}

static void check_errors(const struct codes *c, const struct rows *r, double *y, double *u)
{
    const uint32_t n = c->frame.padded;
    float *room = aligned(n * sizeof *room);
    for (uint32_t i = 0; i < r->n; i++) {
        frame_apply(&c->frame, r->x + (size_t)i * r->dim, room);
        decode(c, i, y);
        for (uint32_t j = 0; j < n; j++)
            u[j] = room[j];
        ck_assert_msg(sqrt(distance2(y, u, n)) <= c->max_error, "slot %u: %g > %g", i,
                      sqrt(distance2(y, u, n)), (double)c->max_error);
    }
    ck_assert(isfinite(c->max_error) && c->step > 0 && isfinite(c->step));
    free(room);
}

static void check_query(const struct codes *c, const struct rows *r, const float *query,
                        double *y, double *u)
{
    const uint32_t n = c->frame.padded;
    struct code_query *q = aligned(code_query_bytes(n));
    uint32_t *slots = malloc(r->n * sizeof *slots);
    float *d = malloc(2 * r->n * sizeof *d), *fine = d + r->n;
    for (uint32_t i = 0; i < r->n; i++)
        slots[i] = r->n - 1 - i;
    codes_query(c, query, q);
    codes_distances(c, q, slots, r->n, d);
    codes_distances_fine(c, q, slots, r->n, fine);
    for (uint32_t j = 0; j < n; j++)
        u[j] = code_query_y(q)[j];
    double own = 0;
    for (uint32_t j = 0; j < n; j++) {
        const double e = u[j] - (double)q->step * code_query_high(q)[j];
        own += e * e;
    }
    ck_assert_msg(sqrt(own) <= q->error, "%g > %g", sqrt(own), (double)q->error);
    for (uint32_t i = 0; i < r->n; i++) {
        decode(c, slots[i], y);
        const double want = distance2(y, u, n), norms = q->norm2 + distance2(y, y + n, n);
        const double size = sqrt(distance2(y, y + n, n));
        ck_assert_msg(fabs(fine[i] - want) <= 1e-4 * norms + 1e-30, "fine: %g, not %g of %g",
                      (double)fine[i], want, norms);
        ck_assert_msg(fabs(d[i] - want) <= 2 * q->error * size + 1e-5 * norms + 1e-30,
                      "%g, not %g +- %g", (double)d[i], want, 2 * q->error * size);
    }
    free(d);
    free(slots);
    free(q);
}

static void check_rows(const struct codes *c, const struct rows *r, double *y, double *u)
{
    const uint32_t n = c->frame.padded;
    struct code_query *q = aligned(code_query_bytes(n));
    uint32_t *slots = malloc(r->n * sizeof *slots);
    float *d = malloc(r->n * sizeof *d);
    for (uint32_t i = 0; i < r->n; i++)
        slots[i] = i;
    for (uint32_t i = 0; i < r->n; i += 7) {
        codes_row_query(c, i, q);
        codes_distances(c, q, slots, r->n, d);
        decode(c, i, u);
        for (uint32_t j = 0; j < r->n; j++) {
            decode(c, j, y);
            const double unit = codes_unit(c);
            ck_assert(d[j] == (float)round(distance2(y, u, n) / unit / unit));
        }
        ck_assert(d[i] == 0);
    }
    free(d);
    free(slots);
    free(q);
}

START_TEST(distances_against_double)
{
    const uint32_t dim = dims[_i % (int)DIMS];
    const enum code_type type = _i < (int)DIMS ? CODE_SQ8 : CODE_SQ4;
    static const double sizes[] = {1, 1e-30, 1e30};
    const uint32_t count = dim > 2000 ? 4 : dim > 500 ? 40 : 100;
    for (int s = 0; s < SHAPES; s++)
        for (int m = ANN_L2; m <= ANN_COSINE; m++) {
            struct rows r = make_rows((enum shape)s, count, dim, sizes[(s + m) % 3], 11);
            struct rows far = make_rows(GAUSS, 1, dim, 30 * sizes[(s + m) % 3], 12);
            if (m == ANN_COSINE) {
                normalise_rows(&r);
                normalise_rows(&far);
            }
            struct codes c = make_codes(type, (ann_metric)m, &r, annk_select());
            double *y = calloc(3 * (size_t)c.frame.padded, sizeof *y);
            double *u = y + 2 * (size_t)c.frame.padded;
            check_errors(&c, &r, y, u);
            check_query(&c, &r, r.x, y, u);
            check_query(&c, &r, far.x, y, u);
            check_rows(&c, &r, y, u);
            free(y);
            free(r.x);
            free(far.x);
            codes_free(&c);
        }
}
END_TEST

/* Distances as the metric has them, and under ip the order of the inner products. */
START_TEST(raw_distances)
{
    static const double sizes[] = {1, 1e-15, 1e15};
    const double size = sizes[_i / 3];
    const ann_metric m = (ann_metric)(ANN_L2 + _i % 3);
    const uint32_t dim = 96, count = 200;
    struct rows r = make_rows(GAUSS, count, dim, size, 21);
    struct rows q = make_rows(GAUSS, 5, dim, size * 3, 22);
    if (m == ANN_COSINE) {
        normalise_rows(&r);
        normalise_rows(&q);
    }
    struct codes c = make_codes(CODE_SQ8, m, &r, annk_select());
    struct code_query *cq = aligned(code_query_bytes(c.frame.padded));
    float *x = malloc(dim * sizeof *x), *room = aligned(2 * c.frame.padded * sizeof *room);
    const double unit = (double)c.frame.unit * c.frame.scale;
    for (uint32_t i = 0; i < q.n; i++) {
        const float *query = q.x + (size_t)i * dim;
        codes_query(&c, query, cq);
        for (uint32_t s = 0; s < count; s++) {
            float d;
            codes_distances_fine(&c, cq, &s, 1, &d);
            const double got = codes_raw_distance(&c, cq, d);
            const double want = raw(m, query, r.x + (size_t)s * dim, dim);
            /* |y_q - y^| is off by max_error at most */
            const double off = (2 * sqrt((double)d) + c.max_error) * c.max_error;
            ck_assert_msg(fabs(got - want) <= 1.01 * off * cq->raw_scale + 1e-4 * fabs(want),
                          "metric %d: %g, not %g +- %g", m, got, want, off * cq->raw_scale);
            codes_get(&c, s, x, room);
            for (uint32_t j = 0; j < dim; j++)
                ck_assert(fabs((double)x[j] - r.x[(size_t)s * dim + j]) <=
                          1.01 * c.max_error / unit + 1e-6 * size);
        }
    }
    free(room);
    free(x);
    free(cq);
    free(q.x);
    free(r.x);
    codes_free(&c);
}
END_TEST

/* The lift alone, without codes: distances to a query order as inner products do, exactly. */
START_TEST(lift_keeps_the_order)
{
    const uint32_t dim = 40, count = 300;
    struct rows r = make_rows(HEAVY, count, dim, 1, 31);
    struct rows q = make_rows(GAUSS, 20, dim, 100, 32);
    struct frame f;
    ok(frame_init(&f, annk_select(), ANN_IP, dim, 64, 1));
    ok(frame_train(&f, count, row_of, &r, 0));
    float *y = aligned(2 * f.padded * sizeof *y), *z = y + f.padded;
    for (uint32_t i = 0; i < q.n; i++) {
        double scale, shift;
        frame_apply_query(&f, q.x + (size_t)i * dim, y, &scale, &shift);
        for (uint32_t s = 0; s < count; s++) {
            const float *x = r.x + (size_t)s * dim;
            ck_assert(frame_fits(&f, frame_norm2(x, dim)));
            frame_apply(&f, x, z);
            double d = 0;
            for (uint32_t j = 0; j < f.padded; j++)
                d += ((double)y[j] - z[j]) * ((double)y[j] - z[j]);
            const double want = raw(ANN_IP, q.x + (size_t)i * dim, x, dim);
            const double most = sqrt(frame_norm2(q.x + (size_t)i * dim, dim) * f.lift) / f.unit;
            ck_assert_msg(fabs(d * scale + shift - want) < 1e-5 * most, "%g, not %g of %g",
                          d * scale + shift, want, most);
        }
    }
    float *longer = malloc(dim * sizeof *longer);
    for (uint32_t j = 0; j < dim; j++)
        longer[j] = 1000;
    ck_assert(!frame_fits(&f, frame_norm2(longer, dim)));
    ok(frame_train(&f, count, row_of, &r, frame_norm2(longer, dim)));
    ck_assert(frame_fits(&f, frame_norm2(longer, dim)));
    free(longer);
    free(y);
    free(q.x);
    free(r.x);
    frame_free(&f);
}
END_TEST

/* The same bytes of codes, and of everything else that goes into a file, on every table. */
START_TEST(same_on_every_instruction_set)
{
    static const char *const names[] = {"avx2", "avx512", "neon"};
    for (size_t d = 0; d < DIMS - 1; d++)
        for (int type = CODE_SQ8; type <= CODE_SQ4; type++)
            for (int m = ANN_L2; m <= ANN_IP; m++) {
                struct rows r = make_rows(HEAVY, 60, dims[d], 1, 41);
                struct codes a =
                    make_codes((enum code_type)type, (ann_metric)m, &r, &annk_scalar);
                for (int i = 0; i < 3; i++) {
                    const struct annk_ops *ops = annk_by_name(names[i]);
                    if (!ops)
                        continue;
                    struct codes b = make_codes((enum code_type)type, (ann_metric)m, &r, ops);
                    ck_assert(a.step == b.step && a.max_error == b.max_error);
                    ck_assert(a.frame.scale == b.frame.scale && a.frame.lift == b.frame.lift);
                    ck_assert_mem_eq(a.frame.mean.data, b.frame.mean.data, a.frame.mean.bytes);
                    ck_assert_mem_eq(a.data.data, b.data.data, a.data.bytes);
                    ck_assert_mem_eq(a.norms.data, b.norms.data, a.norms.bytes);
                    codes_free(&b);
                }
                codes_free(&a);
                free(r.x);
            }
}
END_TEST

/* Mean of |y - y^| / |y| over all but the far vectors. */
static double relative_error(enum code_type type, enum shape shape, uint32_t dim)
{
    struct rows r = make_rows(shape, 1000, dim, 1, 51);
    struct codes c = make_codes(type, ANN_L2, &r, annk_select());
    float *room = aligned(2 * c.frame.padded * sizeof *room);
    double sum = 0, n = 0;
    for (uint32_t i = 0; i < r.n; i++) {
        if (shape == HEAVY && i % 50 == 49)
            continue;
        const double error = codes_put(&c, i, r.x + (size_t)i * dim, room);
        sum += error / sqrt(frame_norm2(room, c.frame.padded));
        n++;
    }
    free(room);
    free(r.x);
    codes_free(&c);
    return sum / n;
}

/* A uniform quantiser of 8 bits over 4.5 sigma is off by 1.0%, of 4 bits by 11.5% (Max 1960).
 */
START_TEST(step_suits_the_data)
{
    static const uint32_t some[] = {64, 100, 384};
    for (int i = 0; i < 3; i++)
        for (int s = GAUSS; s <= SKEWED; s++) {
            const double e8 = relative_error(CODE_SQ8, (enum shape)s, some[i]);
            const double e4 = relative_error(CODE_SQ4, (enum shape)s, some[i]);
            ck_assert_msg(e8 < 0.02, "dim %u shape %d: sq8 is off by %g", some[i], s, e8);
            ck_assert_msg(e4 < 0.17, "dim %u shape %d: sq4 is off by %g", some[i], s, e4);
        }
}
END_TEST

/* What the frame was learned from says nothing of what comes later. */
START_TEST(strangers)
{
    for (int type = CODE_SQ8; type <= CODE_SQ4; type++) {
        struct rows r = make_rows(SAME, 1, 50, 1e-20, 61);
        struct rows huge = make_rows(GAUSS, 3, 50, 1e37, 62);
        struct codes c = make_codes((enum code_type)type, ANN_L2, &r, annk_select());
        struct code_query *q = aligned(code_query_bytes(c.frame.padded));
        float *room = aligned(3 * c.frame.padded * sizeof *room), d[2];
        ck_assert(codes_put(&c, 0, huge.x, room) == FLT_MAX);
        codes_query(&c, huge.x + 50, q);
        const uint32_t slot[] = {0};
        codes_distances(&c, q, slot, 1, d);
        codes_distances_fine(&c, q, slot, 1, d + 1);
        ck_assert(isfinite(d[0]) && isfinite(d[1]) && d[0] >= 0 && d[1] >= 0);
        codes_get(&c, 0, room, room + c.frame.padded);
        free(room);
        free(q);
        free(huge.x);
        free(r.x);
        codes_free(&c);
    }
}
END_TEST

/* What stands in a file is looked at before it is used. */
START_TEST(forged_frames)
{
    enum { UNIT = 32, SCALE = 36, STEP = 40, ERROR = 44, MEAN = 64 };
    static const float bad[] = {NAN, INFINITY, -INFINITY, -1, 0};
    static const int at[] = {UNIT, SCALE, STEP, ERROR, MEAN};
    struct rows r = make_rows(GAUSS, 20, 33, 1, 81);
    for (int m = ANN_L2; m <= ANN_IP; m++) {
        struct codes a = make_codes(CODE_SQ8, (ann_metric)m, &r, annk_select()), b;
        const size_t n = codes_frame_bytes(&a);
        unsigned char *good = malloc(n), *bytes = malloc(n);
        codes_frame_write(&a, good);
        ok(codes_init(&b, CODE_SQ8, annk_select(), (ann_metric)m, 33, 7));
        ok(codes_frame_read(&b, good));
        codes_frame_write(&b, bytes);
        ck_assert_mem_eq(good, bytes, n);
        ck_assert(b.frame.trained == 20 && b.step == a.step && b.max_error == a.max_error);
        for (size_t i = 0; i < 5; i++)
            for (size_t j = 0; j < (at[i] == MEAN ? 3 : at[i] == ERROR ? 4 : 5); j++) {
                memcpy(bytes, good, n);
                memcpy(bytes + at[i], &bad[j], sizeof *bad);
                ck_assert_msg(codes_frame_read(&b, bytes) == ANN_EDAMAGED, "%d: %g", at[i],
                              (double)bad[j]);
            }
        for (size_t i = 0; i < 16; i++) { /* version, type, lifted, padded */
            memcpy(bytes, good, n);
            bytes[i] ^= 1;
            ck_assert_int_eq(codes_frame_read(&b, bytes), i < 4 ? ANN_EVERSION : ANN_EDAMAGED);
        }
        static const double lifts[] = {NAN, INFINITY, -1, 1e-300, 1e300};
        for (size_t i = 0; i < 5; i++) {
            memcpy(bytes, good, n);
            memcpy(bytes + 24, &lifts[i], sizeof *lifts);
            ck_assert_int_eq(codes_frame_read(&b, bytes), ANN_EDAMAGED);
        }
        memcpy(bytes, good, n);
        memset(bytes + 16, 0, 8); /* never learned, but has a step */
        ck_assert_int_eq(codes_frame_read(&b, bytes), ANN_EDAMAGED);
        memcpy(bytes, good, n);
        bytes[63] = 1;
        ck_assert_int_eq(codes_frame_read(&b, bytes), ANN_EDAMAGED);
        free(good);
        free(bytes);
        codes_free(&a);
        codes_free(&b);
    }
    free(r.x);
}
END_TEST

START_TEST(verify_and_memory)
{
    const uint64_t live[1] = {0x3fd};
    struct rows r = make_rows(GAUSS, 10, 70, 1, 71);
    for (int type = CODE_SQ8; type <= CODE_SQ4; type++) {
        struct codes c = make_codes((enum code_type)type, ANN_L2, &r, annk_select());
        ok(codes_verify(&c, live, 10));
        ((int32_t *)c.norms.data)[1]++; /* not live */
        ok(codes_verify(&c, live, 10));
        ((int32_t *)c.norms.data)[5]++;
        ck_assert_int_eq(codes_verify(&c, live, 10), ANN_EDAMAGED);
        ((int32_t *)c.norms.data)[5]--;
        ((uint8_t *)c.data.data)[7 * c.stride + 3] ^= 0x11;
        ck_assert_int_eq(codes_verify(&c, live, 10), ANN_EDAMAGED);
        const float step = c.step;
        for (uint64_t at = 1;; at++) {
            memory_fail_at(at, false);
            const ann_err err = codes_train(&c, r.n, row_of, &r, 0);
            memory_fail_at(0, false);
            if (!err)
                break;
            ck_assert(err == ANN_ENOMEM && c.step == step && c.generation == 1);
        }
        ck_assert(c.generation == 2 && c.step == step);
        codes_free(&c);
    }
    free(r.x);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("codec");
    TCase *c = tcase_create("frame");
    tcase_add_loop_test(c, rotation_is_orthogonal, 0, (int)DIMS);
    tcase_add_loop_test(c, rotation_spreads, 0, (int)DIMS);
    tcase_add_test(c, lift_keeps_the_order);
    suite_add_tcase(suite, c);
    c = tcase_create("codes");
    tcase_add_loop_test(c, distances_against_double, 0, 2 * (int)DIMS);
    tcase_add_loop_test(c, raw_distances, 0, 9);
    tcase_add_test(c, same_on_every_instruction_set);
    tcase_add_test(c, step_suits_the_data);
    tcase_add_test(c, strangers);
    tcase_add_test(c, forged_frames);
    tcase_add_test(c, verify_and_memory);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
