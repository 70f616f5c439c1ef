/* test_determinism.c - the same input, options and seed give the same bytes of file, however
 * many threads built it. */
#include <config.h>

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/graph_data.h"

#define DIM 16
#define N 1500

struct bytes {
    unsigned char *data;
    size_t n;
};

static struct bytes saved(ann_index *ix)
{
    char path[64];
    struct bytes b = {NULL, 0};
    snprintf(path, sizeof path, "determinism_%ld.kith", (long)getpid());
    ok(ann_save(ix, path));
    FILE *f = fopen(path, "rb");
    ck_assert_ptr_nonnull(f);
    fseek(f, 0, SEEK_END);
    b.n = (size_t)ftell(f);
    rewind(f);
    b.data = malloc(b.n);
    ck_assert_uint_eq(fread(b.data, 1, b.n, f), b.n);
    fclose(f);
    unlink(path);
    return b;
}

/* A life of an index: bulk, portions, updates, removals, slots used again, perhaps compaction.
 */
static struct bytes live(const float *x, unsigned threads, uint64_t seed, ann_dtype store,
                         bool compact)
{
    ann_options o = ANN_OPTIONS_INIT;
    ann_index *ix = NULL;
    ann_id ids[400];
    o.dim = DIM;
    o.m = 6;
    o.ef_construction = 50;
    o.threads = threads;
    o.seed = seed;
    o.store = store;
    ok(ann_create(&o, &ix));
    ok(ann_add(ix, (ann_view){x, 1000, 0, ANN_F32}, NULL));
    for (size_t i = 1000; i < N; i += 50)
        ok(ann_add(ix, (ann_view){x + i * DIM, 50, 0, ANN_F32}, NULL));
    for (size_t i = 0; i < 400; i++)
        ids[i] = i * 3;
    ok(ann_update(ix, (ann_view){x + 7 * DIM, 400, 0, ANN_F32}, ids));
    for (size_t i = 0; i < 400; i++)
        ids[i] = i * 2;
    ok(ann_remove(ix, 400, ids, NULL));
    for (size_t i = 0; i < 100; i++)
        ids[i] = 9000 - i;
    ok(ann_add(ix, (ann_view){x, 100, 0, ANN_F32}, ids));
    if (compact)
        ok(ann_compact(ix));
    ok(ann_check(ix, ANN_CHECK_REACHABLE));
    const struct bytes b = saved(ix);
    ann_close(ix);
    return b;
}

static bool same(struct bytes a, struct bytes b)
{
    return a.n == b.n && memcmp(a.data, b.data, a.n) == 0;
}

START_TEST(same_bytes_for_any_number_of_threads)
{
    static const unsigned threads[] = {1, 2, 3, 5, 1};
    float *x = graph_clusters(N, DIM, 20, 4);
    const ann_dtype store = _i ? ANN_F16 : ANN_F32;
    if (_i == 2) /* copies, whose ties are decided by a hash */
        for (size_t i = 500; i < N; i++)
            memcpy(x + i * DIM, x + i % 20 * DIM, DIM * sizeof *x);
    const struct bytes first = live(x, 1, 7, store, _i == 1);
    for (int t = 1; t < 5; t++) {
        const struct bytes other = live(x, threads[t], 7, store, _i == 1);
        ck_assert_msg(same(first, other), "1 and %u threads differ", threads[t]);
        free(other.data);
    }
    const struct bytes other = live(x, 2, 8, store, _i == 1);
    ck_assert_msg(!same(first, other), "the seed does not matter");
    free(other.data);
    free(first.data);
    free(x);
}
END_TEST

START_TEST(saving_again_changes_nothing)
{
    float *x = graph_clusters(N, DIM, 20, 4);
    ann_index *ix = graph_index(ANN_HNSW, ANN_COSINE, ANN_F32, DIM, 2), *again = NULL;
    ok(ann_add(ix, (ann_view){x, N, 0, ANN_F32}, NULL));
    const struct bytes a = saved(ix);
    ck_assert(graph_recall(ix, x, 10, 10, 50) > 0);
    const struct bytes b = saved(ix);
    ck_assert(same(a, b));
    for (int mode = ANN_OPEN_LOAD; mode <= ANN_OPEN_MAP; mode++) {
        ann_open_options o = ANN_OPEN_OPTIONS_INIT;
        o.mode = (ann_open_mode)mode;
        ok(ann_save(ix, "determinism_again.kith"));
        ok(ann_open("determinism_again.kith", &o, &again));
        const struct bytes c = saved(again);
        ck_assert(same(a, c));
        ann_close(again);
        free(c.data);
    }
    unlink("determinism_again.kith");
    ann_close(ix);
    free(a.data);
    free(b.data);
    free(x);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("determinism");
    TCase *c = tcase_create("determinism");
    tcase_add_loop_test(c, same_bytes_for_any_number_of_threads, 0, 3);
    tcase_add_test(c, saving_again_changes_nothing);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
