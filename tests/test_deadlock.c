/* Batches answered query by query, batches answered whole, and changes, all beside each other.
 *
 * Place: tests.  What must hold: whoever uses an index's threads waits for them before the lock
 * on its content, never after; else a change that waits for that lock stops all three for good.
 */
#include <config.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <check.h>

#include <ann/ann.h>

enum { DIM = 8, SMALL = 4, LARGE = 64, K = 3, ROUNDS = 300 };

static ann_index *ix;
static float vectors[LARGE][DIM];
static atomic_int failures;

static void *search(void *arg)
{
    const size_t n = *(const size_t *)arg;
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_id ids[LARGE * K];
    p.k = K;
    for (int i = 0; i < ROUNDS; i++)
        if (ann_search(ix, (ann_view){vectors, n, 0, ANN_F32}, &p, ids, NULL))
            atomic_fetch_add(&failures, 1);
    return NULL;
}

static void *change(void *arg)
{
    (void)arg;
    for (ann_id id = 1000; id < 1000 + ROUNDS; id++) {
        size_t removed = 0;
        if (ann_add(ix, (ann_view){vectors[id % LARGE], 1, 0, ANN_F32}, &id) ||
            (id % 2 && ann_remove(ix, 1, &id, &removed)))
            atomic_fetch_add(&failures, 1);
    }
    return NULL;
}

START_TEST(batches_and_changes_end)
{
    const ann_kind kinds[] = {ANN_FLAT, ANN_HNSW};
    const size_t sizes[] = {SMALL, LARGE};
    ann_options o = ANN_OPTIONS_INIT;
    pthread_t threads[5];

    for (size_t i = 0; i < LARGE; i++)
        for (size_t j = 0; j < DIM; j++)
            vectors[i][j] = (float)((i * 13 + j * 7) % 31);
    o.kind = kinds[_i];
    o.dim = DIM;
    o.threads = 2; /* more than one, also where there is one processor */
    ck_assert_int_eq(ann_create(&o, &ix), ANN_OK);
    ck_assert_int_eq(ann_add(ix, (ann_view){vectors, LARGE, 0, ANN_F32}, NULL), ANN_OK);
    for (int i = 0; i < 4; i++)
        ck_assert(!pthread_create(&threads[i], NULL, search, (void *)(uintptr_t)&sizes[i % 2]));
    ck_assert(!pthread_create(&threads[4], NULL, change, NULL));
    for (int i = 0; i < 5; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(atomic_load(&failures), 0);
    ann_close(ix);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("deadlock");
    TCase *c = tcase_create("deadlock");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, batches_and_changes_end, 0, 2);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
