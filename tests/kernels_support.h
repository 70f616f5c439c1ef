/*
 * What the tests of the kernels share: checks with or without libcheck, memory that ends at an
 * unmapped page, random bits, the tables of this machine, main.
 *
 * Built by autotools a test is a Check suite. With KERNELS_PLAIN defined it needs neither Check
 * nor config.h (tests/neon.sh runs it under an emulator).
 */
#ifndef KITH_TESTS_KERNELS_SUPPORT_H
#define KITH_TESTS_KERNELS_SUPPORT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "ann/kernels/kernels.h"

#ifdef KERNELS_PLAIN
#define CHECK_THAT(cond, ...)                                                               \
    do {                                                                                    \
        if (!(cond)) {                                                                      \
            printf("%s:%d: %s: ", __FILE__, __LINE__, #cond);                               \
            printf(__VA_ARGS__);                                                            \
            printf("\n");                                                                   \
            exit(1);                                                                        \
        }                                                                                   \
    } while (0)
#define START_TEST(name) static void name(int _i)
#define END_TEST
#else
#include <check.h>
#define CHECK_THAT(cond, ...) ck_assert_msg(cond, __VA_ARGS__)
#endif

static const char *const isa_names[] = {"scalar", "avx2", "avx512", "neon"};
enum { ISAS = 4 };

static inline const struct annk_ops *table(int i)
{
    return annk_by_name(isa_names[i]);
}

/* -- Memory with a guard page on either side ----------------------------------------------- */

enum { PAGE = 65536, ROOM = 8 * PAGE };

struct guarded {
    char *map, *first, *last; /* [first, last) may be touched */
};

static inline struct guarded guard_new(void)
{
    struct guarded g;
    g.map = mmap(NULL, ROOM + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_THAT(g.map != MAP_FAILED, "mmap");
    g.first = g.map + PAGE;
    g.last = g.first + ROOM;
    CHECK_THAT(mprotect(g.first, ROOM, PROT_READ | PROT_WRITE) == 0, "mprotect");
    return g;
}

static inline void guard_free(struct guarded *g)
{
    munmap(g->map, ROOM + 2 * PAGE);
}

/* A copy of n bytes that ends at the guard, begins after it, or lies at an odd address. */
enum { AT_END, AT_START, ODD, PLACES };

static inline void *place(struct guarded *g, const void *from, size_t n, int where)
{
    char *to = where == AT_END ? g->last - n : where == AT_START ? g->first : g->first + 4097;
    if (n > 0)
        memmove(to, from, n);
    return to;
}

/* -- Values -------------------------------------------------------------------------------- */

static uint64_t state = 1;

static inline uint32_t next_u32(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

static inline float next_float(void)
{
    return (float)((int32_t)next_u32() * 0x1p-31);
}

static inline float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

/* -- Main ---------------------------------------------------------------------------------- */

#ifdef KERNELS_PLAIN

/* The argument names the one table that must be there and pass. */
#define RUN_TEST(name)                                                                      \
    name(i);                                                                                \
    printf("ok %s %s\n", isa_names[i], #name);
#define KERNEL_TESTS_MAIN(SUITE, TESTS, ANSWER)                                             \
    int main(int argc, char **argv)                                                         \
    {                                                                                       \
        if (argc != 2 || !annk_by_name(argv[1]))                                            \
            return ANSWER(argc, argv);                                                      \
        for (int i = 0; i < ISAS; i++) {                                                    \
            if (strcmp(argv[1], isa_names[i]) != 0)                                         \
                continue;                                                                   \
            TESTS(RUN_TEST)                                                                 \
        }                                                                                   \
        return 0;                                                                           \
    }

#else

#define ADD_TEST(name) tcase_add_loop_test(tcase, name, 0, ISAS);
#define KERNEL_TESTS_MAIN(SUITE, TESTS, ANSWER)                                             \
    int main(int argc, char **argv)                                                         \
    {                                                                                       \
        if (argc > 1)                                                                       \
            return ANSWER(argc, argv);                                                      \
        Suite *suite = suite_create(SUITE);                                                 \
        TCase *tcase = tcase_create(SUITE);                                                 \
        TESTS(ADD_TEST)                                                                     \
        suite_add_tcase(suite, tcase);                                                      \
        SRunner *runner = srunner_create(suite);                                            \
        srunner_run_all(runner, CK_ENV);                                                    \
        const int failed = srunner_ntests_failed(runner);                                   \
        srunner_free(runner);                                                               \
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;                                        \
    }

#endif

/* Of a test without answers. */
static inline int no_answer(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return 2;
}

#endif
