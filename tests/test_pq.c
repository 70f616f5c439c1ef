/* test_pq.c - codebooks, codes and rotations against the same in double. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/base/rng.h"
#include "ann/codec/pq.h"

#define ok(call) ck_assert_msg((call) == ANN_OK, "%s: %s", #call, error_message())

struct config {
    uint32_t dim, m;
    unsigned bits;
};

static const struct config configs[] = {
    {1, 1, 4}, {7, 3, 4}, {10, 4, 4}, {16, 8, 4}, {33, 5, 6}, {24, 24, 6}, {20, 3, 8}, {9, 7, 4}};
#define CONFIGS ((int)(sizeof configs / sizeof *configs))

static float gauss(uint64_t *state)
{
    double sum = 0;
    for (int i = 0; i < 12; i++)
        sum += rng_unit(state);
    return (float)(sum - 6);
}

/* Rows whose neighbouring dimensions go together. */
static float *make_rows(size_t n, uint32_t dim, uint64_t seed)
{
    float *x = malloc(n * dim * sizeof *x);
    ck_assert(x != NULL);
    for (size_t i = 0; i < n; i++) {
        uint64_t state = rng_at(seed, i);
        float last = 0;
        for (uint32_t j = 0; j < dim; j++) {
            last = 0.9f * last + gauss(&state);
            x[i * dim + j] = last + (float)(j % 3);
        }
    }
    return x;
}

static struct pool *make_pool(unsigned threads)
{
    struct pool *pool;
    ok(pool_create(threads, &pool));
    return pool;
}

static double distance2(const float *a, const float *b, uint32_t dim)
{
    double sum = 0;
    for (uint32_t i = 0; i < dim; i++)
        sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return sum;
}

static double word_distance(const struct pq *p, const float *x, uint32_t s, uint32_t word)
{
    const float *book = (const float *)p->codebooks.data + ((size_t)s * p->dsub << p->bits);
    double sum = 0;
    for (uint32_t d = 0; d < p->dsub; d++) {
        const uint32_t at = s * p->dsub + d;
        const double diff = (at < p->dim ? x[at] : 0) - (double)book[(d << p->bits) + word];
        sum += diff * diff;
    }
    return sum;
}

static double mean_error(const struct pq *p, const float *x, size_t n)
{
    uint8_t *code = malloc(p->m);
    float *y = malloc(p->dim * sizeof *y);
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        pq_encode(p, x + i * p->dim, code);
        pq_decode(p, code, y);
        sum += distance2(x + i * p->dim, y, p->dim);
    }
    free(code);
    free(y);
    return sum / (double)n;
}

START_TEST(nearest_codewords)
{
    const struct config *c = &configs[_i];
    const size_t n = 2000;
    float *x = make_rows(n, c->dim, 1), *y = malloc(c->dim * sizeof *y);
    struct pool *pool = make_pool(2);
    struct pq p;
    uint8_t code[64];
    ok(pq_init(&p, c->dim, c->m, c->bits));
    ck_assert(p.dsub * c->m >= c->dim);
    ok(pq_train(&p, annk_select(), x, n, 5, pool));
    for (size_t i = 0; i < 200; i++) {
        const float *row = x + i * c->dim;
        double sum = 0;
        pq_encode(&p, row, code);
        for (uint32_t s = 0; s < c->m; s++) {
            const double got = word_distance(&p, row, s, code[s]);
            for (uint32_t w = 0; w < 1u << c->bits; w++)
                ck_assert_msg(got <= word_distance(&p, row, s, w) * (1 + 1e-5) + 1e-10,
                              "row %zu subspace %u: word %u is nearer than %u", i, s, w, code[s]);
            sum += got;
        }
        pq_decode(&p, code, y);
        ck_assert(fabs(distance2(row, y, c->dim) - sum) <= 1e-4 * (1 + sum));
    }
    pq_free(&p);
    pool_close(pool);
    free(x);
    free(y);
}
END_TEST

START_TEST(same_for_any_threads)
{
    float *x = make_rows(3000, 20, 3);
    struct pq a, b;
    struct pool *one = make_pool(1), *three = make_pool(3);
    float rotations[2][400];
    ok(pq_init(&a, 20, 6, 4));
    ok(pq_init(&b, 20, 6, 4));
    ok(pq_train(&a, annk_select(), x, 3000, 9, one));
    ok(pq_train(&b, annk_select(), x, 3000, 9, three));
    ck_assert(memcmp(a.codebooks.data, b.codebooks.data, a.codebooks.bytes) == 0);
    ok(opq_train(&a, annk_select(), x, 3000, 3, 9, one, rotations[0]));
    ok(opq_train(&b, annk_select(), x, 3000, 3, 9, three, rotations[1]));
    ck_assert(memcmp(a.codebooks.data, b.codebooks.data, a.codebooks.bytes) == 0);
    ck_assert(memcmp(rotations[0], rotations[1], sizeof rotations[0]) == 0);
    pq_free(&a);
    pq_free(&b);
    pool_close(one);
    pool_close(three);
    free(x);
}
END_TEST

static void rotate(const float *rotation, const float *x, size_t n, uint32_t dim, float *y)
{
    for (size_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < dim; j++) {
            double sum = 0;
            for (uint32_t k = 0; k < dim; k++)
                sum += (double)rotation[j * dim + k] * x[i * dim + k];
            y[i * dim + j] = (float)sum;
        }
}

START_TEST(rotation_helps)
{
    const uint32_t dim = _i == 0 ? 32 : 30, m = 8;
    const size_t n = 4000;
    float *x = make_rows(n, dim, 4), *y = malloc(n * dim * sizeof *y);
    float *rotation = malloc(dim * dim * sizeof *rotation);
    struct pool *pool = make_pool(2);
    struct pq p;
    ok(pq_init(&p, dim, m, 4));
    ok(pq_train(&p, annk_select(), x, n, 1, pool));
    const double plain = mean_error(&p, x, n);
    double last = INFINITY;
    for (uint32_t rounds = 0; rounds < 9; rounds += 4) {
        ok(opq_train(&p, annk_select(), x, n, rounds, 1, pool, rotation));
        rotate(rotation, x, n, dim, y);
        const double error = mean_error(&p, y, n);
        ck_assert_msg(error < last, "%g after %u rounds, %g before", error, rounds, last);
        last = error;
        for (uint32_t i = 0; i < dim; i++)
            for (uint32_t j = 0; j < dim; j++) {
                double dot = 0;
                for (uint32_t k = 0; k < dim; k++)
                    dot += (double)rotation[i * dim + k] * rotation[j * dim + k];
                ck_assert(fabs(dot - (i == j)) < 1e-5);
            }
    }
    ck_assert_msg(last < plain, "rotated %g, plain %g", last, plain);
    pq_free(&p);
    pool_close(pool);
    free(x);
    free(y);
    free(rotation);
}
END_TEST

static double parallel_error(const struct pq *p, const float *x, const uint8_t *code)
{
    float y[64];
    double dot = 0, norm2 = 0;
    pq_decode(p, code, y);
    for (uint32_t i = 0; i < p->dim; i++) {
        dot += ((double)x[i] - y[i]) * x[i];
        norm2 += (double)x[i] * x[i];
    }
    return dot / sqrt(norm2);
}

static double loss(const struct pq *p, const float *x, const uint8_t *code, double eta)
{
    float y[64];
    const double parallel = parallel_error(p, x, code);
    pq_decode(p, code, y);
    return distance2(x, y, p->dim) + (eta - 1) * parallel * parallel;
}

START_TEST(anisotropic)
{
    const uint32_t dim = 24, m = 8;
    const size_t n = 2000;
    float *x = make_rows(n, dim, 6), room[2 * 8 << 4];
    struct pool *pool = make_pool(1);
    struct pq p;
    uint8_t plain[8], code[8];
    double before = 0, after = 0;
    ok(pq_init(&p, dim, m, 4));
    ok(pq_train(&p, annk_select(), x, n, 1, pool));
    for (size_t i = 0; i < n; i++) {
        const float *row = x + i * dim;
        pq_encode(&p, row, plain);
        pq_encode_anisotropic(&p, row, row, 1, code, room);
        ck_assert(memcmp(plain, code, m) == 0);
        pq_encode_anisotropic(&p, row, row, 6, code, room);
        const double was = loss(&p, row, plain, 6), is = loss(&p, row, code, 6);
        ck_assert_msg(is <= was * (1 + 1e-5) + 1e-6, "row %zu: loss %g, not %g", i, is, was);
        ck_assert(fabs(parallel_error(&p, row, code)) <=
                  fabs(parallel_error(&p, row, plain)) + 1e-4);
        before += was;
        after += is;
    }
    ck_assert_msg(after < 0.9 * before, "loss %g, before %g", after, before);
    memset(x, 0, dim * sizeof *x);
    pq_encode(&p, x, plain);
    pq_encode_anisotropic(&p, x, x, 6, code, room);
    ck_assert(memcmp(plain, code, m) == 0);
    pq_free(&p);
    pool_close(pool);
    free(x);
}
END_TEST

/* Fewer rows than codewords, equal rows, zeros, and rows near the end of what floats square. */
START_TEST(odd_rows)
{
    static const float sizes[] = {0, 1, 1e15f, 1e-20f};
    const uint32_t dims[] = {1, 5, 24};
    const float size = sizes[_i % 4];
    const uint32_t dim = dims[_i / 4];
    const uint32_t m = dim > 2 ? 3 : 1;
    struct pool *pool = make_pool(2);
    for (size_t n = 1; n < 40; n += 19)
        for (int same = 0; same < 2; same++) {
            float *x = make_rows(n, dim, 8), y[24], rotation[24 * 24];
            uint8_t code[3];
            struct pq p;
            for (size_t i = 0; i < n * dim; i++)
                x[i] = (same ? x[i % dim] : x[i]) * size;
            ok(pq_init(&p, dim, m, 4));
            ok(pq_train(&p, annk_select(), x, n, 1, pool));
            for (size_t i = 0; i < n; i++) {
                double norm2 = 0;
                for (uint32_t j = 0; j < dim; j++)
                    norm2 += (double)x[i * dim + j] * x[i * dim + j];
                pq_encode(&p, x + i * dim, code);
                pq_decode(&p, code, y);
                ck_assert_msg((n > 16 && !same) || distance2(x + i * dim, y, dim) <= 1e-9 * norm2,
                              "%zu rows of %u: row %zu is not its own codeword", n, dim, i);
            }
            ok(opq_train(&p, annk_select(), x, n, 2, 1, pool, rotation));
            for (uint32_t i = 0; i < dim * dim; i++)
                ck_assert(isfinite(rotation[i]));
            for (size_t i = 0; i < p.codebooks.bytes / sizeof(float); i++)
                ck_assert(isfinite(((float *)p.codebooks.data)[i]));
            pq_free(&p);
            free(x);
        }
    pool_close(pool);
}
END_TEST

START_TEST(wrong_numbers)
{
    struct pq p;
    ck_assert_int_eq(pq_init(&p, 0, 1, 4), ANN_EINVAL);
    ck_assert_int_eq(pq_init(&p, 8, 0, 4), ANN_EINVAL);
    ck_assert_int_eq(pq_init(&p, 8, 9, 4), ANN_EINVAL);
    ck_assert_int_eq(pq_init(&p, 8, 4, 5), ANN_EINVAL);
    struct pool *pool = make_pool(1);
    float x[8] = {0};
    ok(pq_init(&p, 8, 4, 4));
    ck_assert_int_eq(pq_train(&p, annk_select(), x, 0, 1, pool), ANN_EINVAL);
    pq_free(&p);
    pool_close(pool);
}
END_TEST

START_TEST(out_of_memory)
{
    float *x = make_rows(100, 10, 2), rotation[100];
    struct pool *pool = make_pool(1);
    for (int persistent = 0; persistent < 2; persistent++)
        for (uint64_t at = 1, asked = at; asked >= at; at++) {
            struct pq p;
            memory_fail_at(at, persistent);
            ann_err err = pq_init(&p, 10, 4, 4);
            if (!err)
                err = pq_train(&p, annk_select(), x, 100, 1, pool);
            if (!err)
                err = opq_train(&p, annk_select(), x, 100, 2, 1, pool, rotation);
            asked = memory_fail_at(0, false);
            ck_assert_msg(err == (asked >= at ? ANN_ENOMEM : ANN_OK), "allocation %llu: %d",
                          (unsigned long long)at, err);
            pq_free(&p);
        }
    pool_close(pool);
    free(x);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("pq");
    tcase_add_loop_test(tc, nearest_codewords, 0, CONFIGS);
    tcase_add_test(tc, same_for_any_threads);
    tcase_add_loop_test(tc, rotation_helps, 0, 2);
    tcase_add_test(tc, anisotropic);
    tcase_add_loop_test(tc, odd_rows, 0, 12);
    tcase_add_test(tc, wrong_numbers);
    tcase_add_test(tc, out_of_memory);
    Suite *s = suite_create("pq");
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    const int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
