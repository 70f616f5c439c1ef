/* test_base.c - memory, threads, random numbers and error notes keep their promises. */
#include <config.h>

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/base/memory.h"
#include "ann/base/pool.h"
#include "ann/base/rng.h"

/* ---- memory ---- */

START_TEST(checked_sizes)
{
    size_t r = 7;
    ck_assert(size_mul(3, 5, &r) && r == 15);
    ck_assert(size_mul(SIZE_MAX, 1, &r) && r == SIZE_MAX);
    ck_assert(size_mul(SIZE_MAX, 0, &r) && r == 0);
    r = 7;
    ck_assert(!size_mul(SIZE_MAX / 2 + 1, 2, &r) && r == 7);
    ck_assert(!size_add(SIZE_MAX, 1, &r) && r == 7);
    ck_assert(size_add(SIZE_MAX - 1, 1, &r) && r == SIZE_MAX);
    ck_assert_ptr_null(mem_zalloc(SIZE_MAX / 2, 3));
    void *p = mem_alloc(0);
    ck_assert_ptr_nonnull(p);
    mem_free(p);
    mem_free(NULL);
}
END_TEST

static void assert_zero(const struct buf *b, size_t from)
{
    const char *bytes = b->data;
    size_t i = from;
    while (i < b->bytes && bytes[i] == 0)
        i++;
    ck_assert_msg(i >= b->bytes, "byte %zu of %zu is not 0", i, b->bytes);
}

/* Random sizes up and down, across the limits of heap and mapping: what stays is kept, what is
 * new is zero, also where something lay before. */
START_TEST(buf_random_sizes)
{
    struct buf b = {0};
    uint64_t state = 11;
    static const size_t most[] = {100, 5000, 70000, 2u << 20, 5u << 20};
    for (int step = 0; step < 60; step++) {
        const size_t before = b.bytes;
        const size_t now = rng_below(&state, most[rng_below(&state, 5)]);
        ck_assert_int_eq(buf_resize(&b, now), ANN_OK);
        ck_assert_uint_eq(b.bytes, now);
        ck_assert(b.capacity >= now && (now == 0 || (uintptr_t)b.data % MEM_ALIGN == 0));
        ck_assert_uint_eq(buf_held(&b), b.capacity);
        const size_t kept = before < now ? before : now;
        for (size_t i = 0; i < kept; i += 97)
            ck_assert_int_eq(((unsigned char *)b.data)[i], 0xa5);
        assert_zero(&b, kept);
        if (now > 0)
            memset(b.data, 0xa5, now);
        if (step % 7 == 0) {
            buf_shrink(&b);
            ck_assert(b.capacity >= now);
            for (size_t i = 0; i < now; i += 97)
                ck_assert_int_eq(((unsigned char *)b.data)[i], 0xa5);
        }
    }
    buf_free(&b);
    ck_assert(b.data == NULL && b.bytes == 0 && b.capacity == 0 && buf_held(&b) == 0);
}
END_TEST

START_TEST(buf_large_is_on_huge_pages)
{
    struct buf b = {0};
    for (size_t mib = 1; mib < 20; mib += 3) {
        ck_assert_int_eq(buf_resize(&b, mib << 20), ANN_OK);
        ck_assert_uint_eq((uintptr_t)b.data % (2u << 20), 0);
        ((char *)b.data)[(mib << 20) - 1] = 1;
    }
    ck_assert_int_eq(buf_resize(&b, 3u << 20), ANN_OK);
    buf_shrink(&b);
    ck_assert_uint_le(buf_held(&b), 4u << 20);
    ck_assert_int_eq(buf_resize(&b, 100), ANN_OK);
    buf_shrink(&b);
    ck_assert_uint_le(buf_held(&b), 4096);
    buf_free(&b);
}
END_TEST

/* So many steps of one row that growing by steps alone would copy for ever. */
START_TEST(buf_growth_is_geometric)
{
    struct buf b = {0};
    unsigned moves = 0;
    for (size_t i = 1; i <= 40000; i++) {
        const size_t before = b.capacity;
        ck_assert_int_eq(buf_resize(&b, i * 52), ANN_OK);
        moves += b.capacity != before;
    }
    ck_assert_uint_lt(moves, 40);
    buf_free(&b);
}
END_TEST

START_TEST(buf_reserve_makes_resize_safe)
{
    struct buf b = {0};
    ck_assert_int_eq(buf_resize(&b, 10), ANN_OK);
    ck_assert_int_eq(buf_reserve(&b, 100000), ANN_OK);
    ck_assert_uint_eq(b.bytes, 10);
    memory_fail_at(1, true);
    ck_assert_int_eq(buf_resize(&b, 100000), ANN_OK);
    ck_assert_int_eq(buf_resize(&b, 5u << 20), ANN_ENOMEM);
    ck_assert_uint_eq(b.bytes, 100000);
    memory_fail_at(0, false);
    ck_assert_int_eq(buf_resize(&b, SIZE_MAX - 5), ANN_ENOMEM);
    ck_assert_int_eq(buf_resize(&b, 5u << 20), ANN_OK);
    memory_fail_at(1, true);
    ck_assert_int_eq(buf_resize(&b, 50u << 20), ANN_ENOMEM);
    ck_assert_uint_eq(b.bytes, 5u << 20);
    memory_fail_at(0, false);
    ((char *)b.data)[(5u << 20) - 1] = 1;
    buf_free(&b);
}
END_TEST

START_TEST(buf_borrowed_is_copied_before_change)
{
    static const char text[] = "not to be written";
    struct buf b = {0};
    buf_borrow(&b, text, sizeof text);
    ck_assert(buf_borrowed(&b) && b.data == (const void *)text && buf_held(&b) == 0);
    buf_shrink(&b);
    ck_assert(buf_borrowed(&b));
    memory_fail_at(1, true);
    ck_assert_int_eq(buf_own(&b), ANN_ENOMEM);
    ck_assert(buf_borrowed(&b) && b.data == (const void *)text);
    memory_fail_at(0, false);
    ck_assert_int_eq(buf_resize(&b, 3), ANN_OK); /* smaller, and still a copy */
    ck_assert(!buf_borrowed(&b) && b.data != (const void *)text && buf_held(&b) > 0);
    ck_assert_int_eq(buf_resize(&b, 10), ANN_OK);
    ck_assert(memcmp(b.data, "not\0\0\0\0\0\0\0", 10) == 0);
    ck_assert_str_eq(text, "not to be written");
    buf_free(&b);
    buf_borrow(&b, text, 0);
    ck_assert_int_eq(buf_own(&b), ANN_OK);
    ck_assert_int_eq(buf_resize(&b, 64), ANN_OK);
    assert_zero(&b, 0);
    buf_free(&b);
}
END_TEST

static unsigned hooked;

static void *count_alloc(size_t n)
{
    hooked++;
    return malloc(n);
}

static void *count_resize(void *p, size_t n)
{
    hooked++;
    return realloc(p, n);
}

START_TEST(hooks_and_injection)
{
    memory_hooks(count_alloc, count_resize, free);
    char *s = mem_strdup("seven");
    s = mem_resize(s, 1000);
    ck_assert_str_eq(s, "seven");
    ck_assert_uint_eq(hooked, 2);
    mem_free(s);
    memory_hooks(NULL, NULL, NULL);
    memory_fail_at(2, false);
    void *a = mem_alloc(1), *b = mem_alloc(1), *c = mem_alloc(1);
    ck_assert(a && !b && c);
    ck_assert_uint_eq(memory_fail_at(1, true), 3);
    ck_assert(!mem_alloc(1) && !mem_zalloc(1, 1) && !mem_resize(c, 9) && !mem_strdup("x"));
    ck_assert_uint_eq(memory_fail_at(0, false), 4);
    mem_free(a);
    mem_free(c);
}
END_TEST

/* ---- pool ---- */

struct loop {
    atomic_uint *hits;
    atomic_uint bad_worker, *per_worker;
    unsigned threads;
};

static void hit(void *arg, size_t i, unsigned worker)
{
    struct loop *l = arg;
    atomic_fetch_add(&l->hits[i], 1);
    if (worker >= l->threads)
        atomic_fetch_add(&l->bad_worker, 1);
    else if (atomic_fetch_add(&l->per_worker[worker], 1) != 0) /* two threads as one worker */
        atomic_fetch_add(&l->bad_worker, 1);
    if (worker < l->threads)
        atomic_fetch_sub(&l->per_worker[worker], 1);
}

static void run_loop(struct pool *p, size_t n, size_t grain)
{
    struct loop l = {.hits = calloc(n + 1, sizeof *l.hits), .threads = pool_threads(p)};
    l.per_worker = calloc(l.threads, sizeof *l.per_worker);
    pool_for(p, n, grain, hit, &l);
    for (size_t i = 0; i < n; i++)
        ck_assert_uint_eq(l.hits[i], 1);
    ck_assert_uint_eq(l.hits[n], 0);
    ck_assert_uint_eq(l.bad_worker, 0);
    free(l.hits);
    free(l.per_worker);
}

START_TEST(pool_takes_every_item_once)
{
    static const unsigned threads[] = {1, 2, 3, 7, 33};
    static const size_t counts[] = {0, 1, 2, 3, 31, 1000, 4097},
                        grains[] = {0, 1, 3, 64, 100000};
    struct pool *p;
    ck_assert_int_eq(pool_create(threads[_i], &p), ANN_OK);
    ck_assert_uint_eq(pool_threads(p), threads[_i]);
    for (size_t i = 0; i < 7; i++)
        for (size_t j = 0; j < 5; j++)
            run_loop(p, counts[i], grains[j]);
    for (int i = 0; i < 300; i++) /* short loops one after the other: no worker joins late */
        run_loop(p, 1 + (size_t)i % 9, 1);
    pool_close(p);
}
END_TEST

static void *call_loops(void *arg)
{
    for (int i = 0; i < 100; i++)
        run_loop(arg, 50, 4);
    return NULL;
}

START_TEST(pool_serves_many_callers)
{
    struct pool *p;
    pthread_t callers[6];
    ck_assert_int_eq(pool_create(4, &p), ANN_OK);
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(pthread_create(&callers[i], NULL, call_loops, p), 0);
    for (int i = 0; i < 6; i++)
        pthread_join(callers[i], NULL);
    pool_close(p);
}
END_TEST

static void loop_inside(void *arg, size_t i, unsigned worker)
{
    (void)i;
    (void)worker;
    run_loop(arg, 40, 3);
}

START_TEST(pool_within_another_pool)
{
    struct pool *outer, *inner;
    ck_assert_int_eq(pool_create(3, &outer), ANN_OK);
    ck_assert_int_eq(pool_create(2, &inner), ANN_OK);
    pool_for(outer, 50, 1, loop_inside, inner);
    pool_close(outer);
    pool_close(inner);
}
END_TEST

START_TEST(pool_bad_arguments)
{
    struct pool *p = NULL;
    ck_assert_int_eq(pool_create(0, &p), ANN_EINVAL);
    ck_assert_int_eq(pool_create(1025, &p), ANN_EINVAL);
    ck_assert_str_eq(error_message(), "1025 threads: must be 1..1024");
    ck_assert_ptr_null(p);
    for (uint64_t at = 1; at < 3; at++) {
        memory_fail_at(at, false);
        ck_assert_int_eq(pool_create(2, &p), ANN_ENOMEM);
    }
    memory_fail_at(0, false);
    pool_close(NULL);
}
END_TEST

START_TEST(threads_from_environment)
{
    setenv("KITH_THREADS", "7", 1);
    ck_assert_uint_eq(pool_default_threads(), 7);
    unsetenv("KITH_THREADS");
    const unsigned by_system = pool_default_threads();
    ck_assert(by_system >= 1 && by_system <= 1024);
    static const char *const ignored[] = {
        "", "0", "-1", "1025", "2x", "x", "99999999999999999999"};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) {
        setenv("KITH_THREADS", ignored[i], 1);
        ck_assert_msg(pool_default_threads() == by_system, "KITH_THREADS=%s", ignored[i]);
    }
    unsetenv("KITH_THREADS");
}
END_TEST

START_TEST(threads_follow_affinity)
{
    cpu_set_t before, one;
    unsetenv("KITH_THREADS");
    ck_assert_int_eq(sched_getaffinity(0, sizeof before, &before), 0);
    CPU_ZERO(&one);
    for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &before))
            CPU_SET(i, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
    ck_assert_uint_eq(pool_default_threads(), 1);
    sched_setaffinity(0, sizeof before, &before);
    ck_assert_uint_le(pool_default_threads(), (unsigned)CPU_COUNT(&before));
}
END_TEST

/* ---- random numbers ---- */

/* SplitMix64 as its authors' own code gives it for seed 1234567. */
START_TEST(rng_known_values)
{
    static const uint64_t want[] = {6457827717110365317u, 3203168211198807973u,
                                    9817491932198370423u, 4593380528125082431u,
                                    16408922859458223821u};
    uint64_t state = 1234567;
    for (int i = 0; i < 5; i++)
        ck_assert_uint_eq(rng_next(&state), want[i]);
}
END_TEST

START_TEST(rng_ranges)
{
    uint64_t state = 5;
    unsigned counts[7] = {0};
    double sum = 0;
    for (int i = 0; i < 70000; i++) {
        const uint64_t n = rng_below(&state, 7);
        const double u = rng_unit(&state);
        ck_assert(n < 7 && u >= 0 && u < 1);
        counts[n]++;
        sum += u;
    }
    for (int i = 0; i < 7; i++)
        ck_assert(counts[i] > 9600 && counts[i] < 10400);
    ck_assert(sum > 34600 && sum < 35400);
    ck_assert_uint_eq(rng_below(&state, 1), 0);
    for (uint64_t i = 0; i < 100; i++) { /* neighbours in seed and place are strangers */
        ck_assert(rng_at(i, 0) != rng_at(i + 1, 0) && rng_at(1, i) != rng_at(1, i + 1));
        ck_assert(rng_at(i, 1) != rng_at(i + 1, 0));
    }
}
END_TEST

/* ---- errors ---- */

static void *fail_elsewhere(void *note)
{
    ck_assert_str_eq(error_message(), "");
    error_take(note, ANN_FAIL(ANN_EIO, "row %d", 12));
    return NULL;
}

START_TEST(errors_travel)
{
    struct error_note note;
    pthread_t t;
    ck_assert_int_eq(ANN_FAIL(ANN_EDIM, "mine"), ANN_EDIM);
    ck_assert_int_eq(pthread_create(&t, NULL, fail_elsewhere, &note), 0);
    pthread_join(t, NULL);
    ck_assert_str_eq(error_message(), "mine");
    ck_assert_int_eq(error_put(&note), ANN_EIO);
    ck_assert_str_eq(error_message(), "row 12");
    ck_assert_int_eq(error_prefix(ANN_EIO, "file"), ANN_EIO);
    ck_assert_str_eq(error_message(), "file: row 12");
    char longer[2 * ERROR_MESSAGE_MAX];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    ck_assert_int_eq(ANN_FAIL(ANN_EINVAL, "%s", longer), ANN_EINVAL);
    ck_assert_uint_eq(strlen(error_message()), ERROR_MESSAGE_MAX - 1);
    error_prefix(ANN_EINVAL, "p");
    ck_assert_uint_eq(strlen(error_message()), ERROR_MESSAGE_MAX - 1);
    error_prefix(ANN_EINVAL, longer);
    ck_assert_uint_eq(strlen(error_message()), ERROR_MESSAGE_MAX - 1);
}
END_TEST

START_TEST(every_error_has_a_name)
{
    ck_assert_str_eq(error_name(ANN_OK), "ANN_OK");
    for (int i = ANN_ESTALE; i < 0; i++) {
        ck_assert_msg(strncmp(error_name((ann_err)i), "ANN_E", 5) == 0, "code %d", i);
        for (int j = ANN_ESTALE; j < i; j++)
            ck_assert_str_ne(error_name((ann_err)i), error_name((ann_err)j));
    }
    ck_assert_str_eq(error_name((ann_err)(ANN_ESTALE - 1)), "unknown error");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base");
    TCase *c = tcase_create("memory");
    tcase_add_test(c, checked_sizes);
    tcase_add_test(c, buf_random_sizes);
    tcase_add_test(c, buf_large_is_on_huge_pages);
    tcase_add_test(c, buf_growth_is_geometric);
    tcase_add_test(c, buf_reserve_makes_resize_safe);
    tcase_add_test(c, buf_borrowed_is_copied_before_change);
    tcase_add_test(c, hooks_and_injection);
    suite_add_tcase(suite, c);
    c = tcase_create("pool");
    tcase_add_loop_test(c, pool_takes_every_item_once, 0, 5);
    tcase_add_test(c, pool_serves_many_callers);
    tcase_add_test(c, pool_within_another_pool);
    tcase_add_test(c, pool_bad_arguments);
    tcase_add_test(c, threads_from_environment);
    tcase_add_test(c, threads_follow_affinity);
    suite_add_tcase(suite, c);
    c = tcase_create("rng");
    tcase_add_test(c, rng_known_values);
    tcase_add_test(c, rng_ranges);
    suite_add_tcase(suite, c);
    c = tcase_create("error");
    tcase_add_test(c, errors_travel);
    tcase_add_test(c, every_error_has_a_name);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
