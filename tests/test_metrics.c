/* test_metrics.c - recall, percentiles and interpolation of bench/metrics.c on values made by
 * hand. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/error.h"
#include "bench/metrics.h"

/* Eight points on a line, one query at 0; slots 2, 3 and 4 are at the same distance. */
static const float base[8] = {0.5f, 1.0f, 2.0f, 2.0f, -2.0f, 3.0f, 4.0f, 9.0f};
static const float query[1] = {0.0f};
static int32_t truth[4] = {0, 1, 2, 3};

static struct dataset line(void)
{
    return (struct dataset){.name = "line",
                            .metric = ANN_L2,
                            .n = 8,
                            .nq = 1,
                            .dim = 1,
                            .base = base,
                            .query = query,
                            .truth = truth,
                            .truth_k = 4};
}

static double recall_of(const uint64_t *ids, size_t k, double epsilon)
{
    const struct dataset d = line();
    double limit, recall = -1;
    ck_assert_int_eq(metrics_limits(&d, k, epsilon, &limit), ANN_OK);
    ck_assert_int_eq(metrics_recall(&d, &limit, ids, k, &recall), ANN_OK);
    return recall;
}

START_TEST(distances_of_each_metric)
{
    const float a[2] = {3, 0}, b[2] = {0, 4}, zero[2] = {0, 0};
    ck_assert_double_eq(metrics_distance(ANN_L2, a, b, 2), 25);
    ck_assert_double_eq(metrics_distance(ANN_IP, a, a, 2), -9);
    ck_assert_double_eq(metrics_distance(ANN_COSINE, a, b, 2), 1);
    ck_assert_double_eq_tol(metrics_distance(ANN_COSINE, a, a, 2), 0, 1e-15);
    ck_assert_double_eq(metrics_distance(ANN_COSINE, a, zero, 2), 1);
}
END_TEST

START_TEST(the_true_neighbours_are_recall_one)
{
    ck_assert_double_eq(recall_of((const uint64_t[]){0, 1, 2}, 3, 0), 1);
}
END_TEST

START_TEST(a_tie_with_the_kth_counts)
{
    ck_assert_double_eq(recall_of((const uint64_t[]){0, 1, 4}, 3, 0), 1);
    ck_assert_double_eq(recall_of((const uint64_t[]){2, 3, 4}, 3, 0), 1);
}
END_TEST

START_TEST(what_is_farther_does_not_count)
{
    ck_assert_double_eq(recall_of((const uint64_t[]){0, 1, 5, 7}, 4, 0), 0.5);
    ck_assert_double_eq(recall_of((const uint64_t[]){7}, 1, 0), 0);
}
END_TEST

START_TEST(epsilon_is_in_plain_distance)
{
    /* The second is at 1; 0.99 more reaches 1.99, 1 more reaches 2. */
    ck_assert_double_eq(recall_of((const uint64_t[]){0, 2}, 2, 0.99), 0.5);
    ck_assert_double_eq(recall_of((const uint64_t[]){0, 2}, 2, 1.001), 1);
}
END_TEST

START_TEST(missing_results_are_misses)
{
    ck_assert_double_eq(recall_of((const uint64_t[]){0, ANN_NO_ID, ANN_NO_ID, ANN_NO_ID}, 4, 0),
                        0.25);
}
END_TEST

START_TEST(fewer_vectors_than_k)
{
    struct dataset d = line();
    double limit, recall;
    d.n = 4;
    const uint64_t ids[6] = {3, 2, 1, 0, ANN_NO_ID, ANN_NO_ID};
    ck_assert_int_eq(metrics_limits(&d, 6, 0, &limit), ANN_OK);
    ck_assert_int_eq(metrics_recall(&d, &limit, ids, 6, &recall), ANN_OK);
    ck_assert_double_eq(recall, 1);
}
END_TEST

START_TEST(a_duplicate_is_an_error)
{
    const struct dataset d = line();
    double limit, recall = -1;
    ck_assert_int_eq(metrics_limits(&d, 3, 0, &limit), ANN_OK);
    ck_assert_int_eq(metrics_recall(&d, &limit, (const uint64_t[]){1, 0, 1}, 3, &recall),
                     ANN_EDAMAGED);
    ck_assert_str_eq(error_message(), "query 0: id 1 stands twice in the results");
    ck_assert_double_eq(recall, -1);
}
END_TEST

START_TEST(a_slot_that_is_none_is_an_error)
{
    const struct dataset d = line();
    double limit, recall = -1;
    ck_assert_int_eq(metrics_limits(&d, 2, 0, &limit), ANN_OK);
    ck_assert_int_eq(metrics_recall(&d, &limit, (const uint64_t[]){8, 0}, 2, &recall),
                     ANN_EDAMAGED);
    ck_assert_str_eq(error_message(), "query 0: result 8 is not one of 8 vectors");
}
END_TEST

START_TEST(too_few_true_neighbours_are_an_error)
{
    const struct dataset d = line();
    double limit;
    ck_assert_int_eq(metrics_limits(&d, 5, 0, &limit), ANN_EINVAL);
}
END_TEST

START_TEST(quantiles_are_by_nearest_rank)
{
    const double v[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    ck_assert_double_eq(metrics_quantile(v, 10, 0.5), 5);
    ck_assert_double_eq(metrics_quantile(v, 10, 0.95), 10);
    ck_assert_double_eq(metrics_quantile(v, 10, 0.9), 9);
    ck_assert_double_eq(metrics_quantile(v, 10, 0), 1);
    ck_assert_double_eq(metrics_quantile(v, 10, 1), 10);
    ck_assert_double_eq(metrics_quantile(v, 1, 0.999), 1);
    ck_assert(isnan(metrics_quantile(v, 0, 0.5)));
}
END_TEST

START_TEST(medians)
{
    double odd[3] = {9, 1, 5}, even[4] = {4, 1, 2, 9};
    ck_assert_double_eq(metrics_median(odd, 3), 5);
    ck_assert_double_eq(metrics_median(even, 4), 3);
}
END_TEST

START_TEST(interpolation_is_logarithmic)
{
    const struct metrics_pair p[3] = {{0.8, 10000}, {0.9, 1000}, {1.0, 10}};
    const struct metrics_at half = metrics_interpolate(p, 3, 0.95);
    ck_assert_double_eq_tol(half.qps, 100, 1e-6);
    ck_assert(!half.at_least);
    ck_assert_double_eq_tol(metrics_interpolate(p, 3, 0.9).qps, 1000, 1e-6);
    ck_assert_double_eq_tol(metrics_interpolate(p, 3, 0.85).qps, sqrt(1e7), 1e-6);
}
END_TEST

START_TEST(interpolation_at_the_ends)
{
    const struct metrics_pair p[2] = {{0.8, 100}, {0.9, 50}};
    ck_assert(isnan(metrics_interpolate(p, 2, 0.91).qps));
    ck_assert_double_eq(metrics_interpolate(p, 2, 0.5).qps, 100);
    ck_assert(metrics_interpolate(p, 2, 0.5).at_least);
    ck_assert(!metrics_interpolate(p, 2, 0.8).at_least);
    ck_assert(isnan(metrics_interpolate(p, 0, 0.5).qps));
}
END_TEST

START_TEST(interpolation_uses_the_front_only)
{
    /* The middle point is worse than the last in both. */
    const struct metrics_pair p[3] = {{0.8, 10000}, {0.85, 90}, {0.9, 100}};
    ck_assert_double_eq_tol(metrics_interpolate(p, 3, 0.85).qps, 1000, 1e-6);
    const struct metrics_pair twins[2] = {{0.9, 100}, {0.9, 100}};
    ck_assert_double_eq(metrics_interpolate(twins, 2, 0.9).qps, 100);
}
END_TEST

START_TEST(repeated_ids_are_dropped_within_a_row)
{
    uint64_t ids[8] = {3, 1, 3, 3, 1, 2, ANN_NO_ID, ANN_NO_ID};
    const uint64_t want[8] = {3, 1, ANN_NO_ID, ANN_NO_ID, 1, 2, ANN_NO_ID, ANN_NO_ID};
    ck_assert_uint_eq(metrics_drop_repeated(ids, 2, 4), 2);
    ck_assert_mem_eq(ids, want, sizeof want);
}
END_TEST

START_TEST(picked_points_surround_the_targets)
{
    /* In no order; index 4 is no better than index 2 in anything. */
    const struct metrics_pair p[8] = {{0.97, 40}, {0.5, 90}, {0.85, 70}, {0.92, 50},
                                      {0.8, 60},  {0.7, 80}, {0.99, 20}, {0.3, 99}};
    const double targets[1] = {0.9}, far[1] = {0.999}, near[1] = {0.1};
    size_t chosen[8];
    ck_assert_uint_eq(metrics_pick(p, 8, targets, 1, chosen), 4);
    ck_assert_mem_eq(chosen, ((const size_t[]){5, 2, 3, 0}), 4 * sizeof *chosen);
    ck_assert_uint_eq(metrics_pick(p, 8, far, 1, chosen), 3);
    ck_assert_mem_eq(chosen, ((const size_t[]){3, 0, 6}), 3 * sizeof *chosen);
    ck_assert_uint_eq(metrics_pick(p, 8, near, 1, chosen), 2);
    ck_assert_mem_eq(chosen, ((const size_t[]){7, 1}), 2 * sizeof *chosen);
    ck_assert_uint_eq(metrics_pick(p, 1, targets, 1, chosen), 1);
    ck_assert_uint_eq(metrics_pick(p, 0, targets, 1, chosen), 0);
}
END_TEST

static TCase *cases(void)
{
    TCase *t = tcase_create("metrics");
    tcase_add_test(t, distances_of_each_metric);
    tcase_add_test(t, the_true_neighbours_are_recall_one);
    tcase_add_test(t, a_tie_with_the_kth_counts);
    tcase_add_test(t, what_is_farther_does_not_count);
    tcase_add_test(t, epsilon_is_in_plain_distance);
    tcase_add_test(t, missing_results_are_misses);
    tcase_add_test(t, fewer_vectors_than_k);
    tcase_add_test(t, a_duplicate_is_an_error);
    tcase_add_test(t, a_slot_that_is_none_is_an_error);
    tcase_add_test(t, too_few_true_neighbours_are_an_error);
    tcase_add_test(t, quantiles_are_by_nearest_rank);
    tcase_add_test(t, medians);
    tcase_add_test(t, interpolation_is_logarithmic);
    tcase_add_test(t, interpolation_at_the_ends);
    tcase_add_test(t, interpolation_uses_the_front_only);
    tcase_add_test(t, repeated_ids_are_dropped_within_a_row);
    tcase_add_test(t, picked_points_surround_the_targets);
    return t;
}

int main(void)
{
    Suite *s = suite_create("metrics");
    suite_add_tcase(s, cases());
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
