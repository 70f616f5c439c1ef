/* test_dataset.c - data sets of bench/: made, held out, read from HDF5. */
#include <config.h>

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ann/base/error.h"
#ifdef HAVE_HDF5
#include "ann/io/hdf5.h"
#endif
#include "bench/dataset.h"
#include "bench/files.h"

static char folder[FILES_PATH_MAX];

static void make_folder(void)
{
    ck_assert_int_eq(files_temporary(folder), ANN_OK);
}

static void remove_folder(void)
{
    files_remove_folder(folder);
}

START_TEST(synthetic_vectors_are_the_same_everywhere)
{
    struct dataset d, again;
    ck_assert_int_eq(dataset_load("synthetic:kind=uniform,n=4,d=3,seed=7,queries=2", 0, &d),
                     ANN_OK);
    ck_assert_uint_eq(d.n, 4);
    ck_assert_uint_eq(d.nq, 2);
    ck_assert_uint_eq(d.dim, 3);
    ck_assert_str_eq(d.name, "uniform-4-3-s7");
    for (int i = 0; i < 12; i++)
        ck_assert(d.base[i] >= 0 && d.base[i] < 1);
    /* SplitMix64 of seed 7 begins with 0x63cbe1e459320dd7; 24 bits of it. */
    ck_assert_float_eq(d.base[0], (float)0x63cbe1 * 0x1p-24f);
    dataset_free(&d);
    ck_assert_int_eq(dataset_load("synthetic:n=500,d=8,metric=ip", 0, &d), ANN_OK);
    ck_assert_int_eq(dataset_load("synthetic:d=8,n=500,metric=ip", ANN_COSINE, &again), ANN_OK);
    ck_assert_int_eq(d.metric, ANN_IP);
    ck_assert_int_eq(again.metric, ANN_COSINE);
    ck_assert_mem_eq(d.base, again.base, 500 * 8 * sizeof(float));
    ck_assert_mem_eq(d.query, again.query, 1000 * 8 * sizeof(float));
    dataset_free(&d);
    dataset_free(&again);
}
END_TEST

/* Every row is in base or a query, once, and base keeps its order. */
START_TEST(held_out_rows_leave_base)
{
    float rows[50];
    bool seen[50] = {false};
    struct dataset d = {.n = 50, .dim = 1, .base = rows};
    for (int i = 0; i < 50; i++)
        rows[i] = (float)i;
    ck_assert_int_eq(dataset_hold_out(&d, 20), ANN_OK);
    ck_assert_uint_eq(d.n, 30);
    ck_assert_uint_eq(d.nq, 20);
    for (int i = 0; i < 50; i++) {
        const int row = (int)(i < 30 ? d.base[i] : d.query[i - 30]);
        ck_assert(row >= 0 && row < 50 && !seen[row]);
        seen[row] = true;
        ck_assert(i == 0 || i >= 30 || d.base[i] > d.base[i - 1]);
    }
    dataset_free(&d);
}
END_TEST

START_TEST(at_most_half_is_held_out)
{
    const float rows[3] = {1, 2, 3};
    struct dataset d = {.n = 3, .dim = 1, .base = rows};
    ck_assert_int_eq(dataset_hold_out(&d, 1000), ANN_OK);
    ck_assert_uint_eq(d.n, 2);
    ck_assert_uint_eq(d.nq, 1);
    dataset_free(&d);
    struct dataset one = {.n = 1, .dim = 1, .base = rows};
    ck_assert_int_eq(dataset_hold_out(&one, 1000), ANN_EINVAL);
}
END_TEST

START_TEST(metric_names)
{
    static const ann_metric metrics[] = {ANN_L2, ANN_COSINE, ANN_IP};
    ann_metric m;
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(dataset_metric_parse(dataset_metric_name(metrics[i]), &m), ANN_OK);
        ck_assert_int_eq(m, metrics[i]);
    }
    ck_assert_int_eq(dataset_metric_parse("euclidean", &m), ANN_OK);
    ck_assert_int_eq(m, ANN_L2);
    ck_assert_int_eq(dataset_metric_parse("hamming", &m), ANN_EINVAL);
}
END_TEST

START_TEST(written_rows_are_read_back)
{
    char path[FILES_PATH_MAX];
    const float rows[6] = {1, 2, 3, 4, 5, 6};
    struct dataset d;
    ck_assert(files_join(path, folder, "base.npy"));
    ck_assert_int_eq(dataset_write(path, IO_F32, rows, 3, 2), ANN_OK);
    ck_assert(files_join(path, folder, "query.npy"));
    ck_assert_int_eq(dataset_write(path, IO_F32, rows, 1, 2), ANN_OK);
    ck_assert_int_eq(dataset_load(folder, 0, &d), ANN_OK);
    ck_assert_uint_eq(d.n, 3);
    ck_assert_uint_eq(d.nq, 1);
    ck_assert_ptr_null(d.truth);
    ck_assert_mem_eq(d.base, rows, sizeof rows);
    dataset_free(&d);
}
END_TEST

START_TEST(halves_are_the_even_and_the_odd_queries)
{
    const float rows[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    int32_t truth[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    const struct dataset d = {
        .n = 5, .nq = 5, .dim = 2, .base = rows, .query = rows, .truth = truth, .truth_k = 2};
    struct dataset h;
    ck_assert_int_eq(dataset_half(&d, 0, &h), ANN_OK);
    ck_assert_uint_eq(h.nq, 3);
    ck_assert_ptr_eq(h.base, rows);
    ck_assert_mem_eq(h.query, ((const float[]){0, 1, 4, 5, 8, 9}), 6 * sizeof(float));
    ck_assert_mem_eq(h.truth, ((const int32_t[]){0, 1, 4, 5, 8, 9}), 6 * sizeof(int32_t));
    dataset_free(&h);
    ck_assert_int_eq(dataset_half(&d, 1, &h), ANN_OK);
    ck_assert_uint_eq(h.nq, 2);
    ck_assert_mem_eq(h.query, ((const float[]){2, 3, 6, 7}), 4 * sizeof(float));
    dataset_free(&h);
    const struct dataset one = {.n = 5, .nq = 1, .dim = 2, .base = rows, .query = rows};
    ck_assert_int_eq(dataset_half(&one, 1, &h), ANN_EINVAL);
}
END_TEST

#ifdef HAVE_HDF5
static void store(const char *path, const char *name, enum io_type type, const void *data,
                  size_t n, size_t dim)
{
    const struct io_matrix m = {
        .data = data, .n = n, .dim = dim, .stride = dim, .type = type, .rank = 2};
    ck_assert_msg(hdf5_store(path, name, &m) == ANN_OK, "%s", error_message());
}

START_TEST(hdf5_as_ann_benchmarks_lays_it_out)
{
    char path[FILES_PATH_MAX];
    const float rows[6] = {1, 2, 3, 4, 5, 6};
    const int32_t near[2] = {2, 1};
    const int32_t outside[2] = {2, 3};
    struct dataset d;
    hdf5_enable();
    ck_assert(files_join(path, folder, "tiny.hdf5"));
    store(path, "train", IO_F32, rows, 3, 2);
    store(path, "test", IO_F32, rows + 4, 1, 2);
    ck_assert_int_eq(dataset_load(path, 0, &d), ANN_OK);
    ck_assert_ptr_null(d.truth);
    dataset_free(&d);
    store(path, "neighbors", IO_I32, near, 1, 2);
    ck_assert_int_eq(dataset_load(path, 0, &d), ANN_OK);
    ck_assert_str_eq(d.name, "tiny");
    ck_assert_uint_eq(d.n, 3);
    ck_assert_uint_eq(d.nq, 1);
    ck_assert_uint_eq(d.truth_k, 2);
    ck_assert_int_eq(d.truth[0], 2);
    ck_assert_float_eq(d.query[1], 6);
    dataset_free(&d);
    /* Neighbours under another metric are others. */
    ck_assert_int_eq(dataset_load(path, ANN_COSINE, &d), ANN_OK);
    ck_assert_ptr_null(d.truth);
    dataset_free(&d);
    store(path, "neighbors", IO_I32, outside, 1, 2);
    ck_assert_int_eq(dataset_load(path, 0, &d), ANN_EINVAL);
}
END_TEST
#endif

int main(void)
{
    Suite *s = suite_create("dataset");
    TCase *t = tcase_create("dataset");
    tcase_add_checked_fixture(t, make_folder, remove_folder);
    tcase_add_test(t, synthetic_vectors_are_the_same_everywhere);
    tcase_add_test(t, held_out_rows_leave_base);
    tcase_add_test(t, at_most_half_is_held_out);
    tcase_add_test(t, metric_names);
    tcase_add_test(t, written_rows_are_read_back);
    tcase_add_test(t, halves_are_the_even_and_the_odd_queries);
#ifdef HAVE_HDF5
    tcase_add_test(t, hdf5_as_ann_benchmarks_lays_it_out);
#endif
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
