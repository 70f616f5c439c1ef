/* test_fuse.c - fusion of two rankings: hand-made cases, and against a plain oracle. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rag/retrieve/fuse.h"

START_TEST(by_score)
{
    const struct fuse_hit v[] = {{1, 0.9}, {2, 0.5}, {3, 0.1}}, t[] = {{3, 20}, {4, 10}};
    struct fused_hit h[5];
    size_t n;
    ck_assert_int_eq(fuse(FUSE_SCORE, 0.4, v, 3, t, 2, h, &n), RAG_OK);
    ck_assert_uint_eq(n, 4);
    const uint64_t order[] = {3, 1, 2, 4};
    const double score[] = {0.6, 0.4, 0.2, 0};
    for (size_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(h[i].label, order[i]);
        ck_assert_double_eq_tol(h[i].score, score[i], 1e-12);
    }
    ck_assert_uint_eq(h[0].vector_rank, 3);
    ck_assert_uint_eq(h[0].text_rank, 1);
    ck_assert_double_eq(h[0].text, 20);
    ck_assert(isnan(h[1].text));
    ck_assert_uint_eq(h[1].text_rank, 0);
}
END_TEST

START_TEST(by_rank)
{
    const struct fuse_hit v[] = {{1, -3}, {2, -4}}, t[] = {{2, 5}};
    struct fused_hit h[3];
    size_t n;
    ck_assert_int_eq(fuse(FUSE_RRF, 0.5, v, 2, t, 1, h, &n), RAG_OK);
    ck_assert_uint_eq(n, 2);
    ck_assert_uint_eq(h[0].label, 2);
    ck_assert_double_eq_tol(h[0].score, 1.0 / 62 + 1.0 / 61, 1e-12);
    ck_assert_double_eq_tol(h[1].score, 1.0 / 61, 1e-12);
}
END_TEST

START_TEST(empty_and_alike)
{
    const struct fuse_hit v[] = {{9, 0.5}, {4, 0.5}, {7, 0.5}};
    struct fused_hit h[3];
    size_t n = 7;
    ck_assert_int_eq(fuse(FUSE_SCORE, 0.3, NULL, 0, NULL, 0, h, &n), RAG_OK);
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(fuse(FUSE_SCORE, 0.3, v, 3, NULL, 0, h, &n), RAG_OK);
    ck_assert_uint_eq(n, 3);
    ck_assert_uint_eq(h[0].label, 4); /* ties by label */
    ck_assert_uint_eq(h[2].label, 9);
    ck_assert_double_eq(h[0].score, 0.3);
}
END_TEST

START_TEST(refused)
{
    const struct fuse_hit nan_hit[] = {{1, NAN}}, twice[] = {{1, 2}, {1, 1}}, good[] = {{1, 1}};
    struct fused_hit h[4];
    size_t n = 77;
    ck_assert_int_eq(fuse(FUSE_SCORE, 0.5, nan_hit, 1, NULL, 0, h, &n), RAG_EINVAL);
    ck_assert_int_eq(fuse(FUSE_SCORE, 0.5, NULL, 0, twice, 2, h, &n), RAG_EINVAL);
    ck_assert(strstr(rag_error_message(), "chunk 1") != NULL);
    ck_assert_int_eq(fuse(FUSE_SCORE, 1.5, good, 1, NULL, 0, h, &n), RAG_EINVAL);
    ck_assert_int_eq(fuse(FUSE_SCORE, NAN, good, 1, NULL, 0, h, &n), RAG_EINVAL);
    ck_assert_uint_eq(n, 77);
}
END_TEST

/* minmax over the best FUSE_DEPTH of hits, 0 for what is not among them. */
static double oracle(const struct fuse_hit *h, size_t n, uint64_t label)
{
    double low = INFINITY, high = -INFINITY, own = NAN;
    for (size_t i = 0; i < n; i++) {
        size_t better = 0;
        for (size_t j = 0; j < n; j++)
            better += h[j].score > h[i].score ||
                      (h[j].score == h[i].score && h[j].label < h[i].label);
        if (better >= FUSE_DEPTH)
            continue;
        low = fmin(low, h[i].score);
        high = fmax(high, h[i].score);
        own = h[i].label == label ? h[i].score : own;
    }
    return isnan(own) ? 0 : high > low ? (own - low) / (high - low) : 1;
}

START_TEST(as_the_oracle_says)
{
    struct fuse_hit v[500], t[500];
    struct fused_hit h[2 * FUSE_DEPTH];
    srand((unsigned)_i + 1);
    for (int round = 0; round < 20; round++) {
        const size_t nv = (size_t)rand() % 500, nt = (size_t)rand() % 500;
        const double a = (double)(rand() % 11) / 10;
        for (size_t i = 0; i < nv; i++)
            v[i] = (struct fuse_hit){i * 3 + 1, rand() % 50};
        for (size_t i = 0; i < nt; i++)
            t[i] = (struct fuse_hit){i * 2 + 1, rand() % 1000 / 7.0};
        size_t n;
        ck_assert_int_eq(fuse(FUSE_SCORE, a, v, nv, t, nt, h, &n), RAG_OK);
        for (size_t i = 0; i < n; i++) {
            const double want =
                a * oracle(v, nv, h[i].label) + (1 - a) * oracle(t, nt, h[i].label);
            ck_assert_double_eq_tol(h[i].score, want, 1e-9);
            ck_assert(i == 0 || h[i].score < h[i - 1].score ||
                      (h[i].score == h[i - 1].score && h[i].label > h[i - 1].label));
        }
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("fuse");
    TCase *t = tcase_create("fuse");
    tcase_add_test(t, by_score);
    tcase_add_test(t, by_rank);
    tcase_add_test(t, empty_and_alike);
    tcase_add_test(t, refused);
    tcase_add_loop_test(t, as_the_oracle_says, 0, 3);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
