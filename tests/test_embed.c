/* test_embed.c - builtin:hash-v1: frozen values, what makes texts near, hostile text. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rag/embed/hash.h"

static struct hasher *h;

static void setup(void)
{
    ck_assert_int_eq(hasher_open(&h), RAG_OK);
}

static void teardown(void)
{
    hasher_close(h);
}

static void embed(const char *text, float *out)
{
    ck_assert_int_eq(hasher_embed(h, text, strlen(text), out), RAG_OK);
}

static double cosine(const char *a, const char *b)
{
    float x[HASH_DIMS], y[HASH_DIMS];
    double sum = 0;
    embed(a, x);
    embed(b, y);
    for (size_t i = 0; i < HASH_DIMS; i++)
        sum += (double)x[i] * y[i];
    return sum;
}

/* Where the values are not zero, and the first of them: any change of the function shows. */
START_TEST(frozen)
{
    static const struct {
        const char *text;
        unsigned first, count;
        float value, checksum;
    } golden[] = {
        {"kith", 57, 10, -0.2560738f, -661.1825f},
        {"Approximate nearest-neighbour indexes, in C.", 0, 93, -0.06830863f, 405.3954f},
        {"the the the cat", 85, 14, 0.1349106f, -120.5091f},
        {"Stra\xC3\x9F"
         "e \xE6\x97\xA5\xE6\x9C\xAC",
         1, 23, -0.6231097f, 256.0794f},
    };
    for (size_t g = 0; g < sizeof golden / sizeof *golden; g++) {
        float x[HASH_DIMS];
        unsigned first = HASH_DIMS, count = 0;
        double sum = 0;
        embed(golden[g].text, x);
        for (unsigned i = 0; i < HASH_DIMS; i++) {
            if (x[i] != 0 && first == HASH_DIMS)
                first = i;
            count += x[i] != 0;
            sum += (double)x[i] * (i + 1);
        }
        ck_assert_uint_eq(first, golden[g].first);
        ck_assert_uint_eq(count, golden[g].count);
        ck_assert_double_eq_tol(x[first], golden[g].value, 1e-6);
        ck_assert_double_eq_tol(sum, golden[g].checksum, 1e-3);
    }
}
END_TEST

START_TEST(near_and_far)
{
    ck_assert_double_eq_tol(cosine("The cat sat", "the CAT, sat!"), 1, 1e-6);
    ck_assert_double_gt(cosine("indexes of vectors", "a vector index"), 0.3);
    ck_assert_double_gt(cosine("indexes of vectors", "a vector index"),
                        cosine("indexes of vectors", "boiled potatoes with salt") + 0.2);
    ck_assert_double_lt(fabs(cosine("quarterly revenue", "mountain bicycles")), 0.2);
    /* A word said again counts less each time. */
    ck_assert_double_gt(cosine("graph graph graph search", "graph search"), 0.85);
}
END_TEST

START_TEST(every_text_has_length_one)
{
    static char s[5000];
    float x[HASH_DIMS], again[HASH_DIMS];
    srand(3);
    for (int round = 0; round < 300; round++) {
        const size_t n = (size_t)rand() % sizeof s;
        for (size_t i = 0; i < n; i++)
            s[i] = round % 2 ? (char)rand() : "aZ \xC3\xA9\xE6\x97\xA5.1"[rand() % 10];
        ck_assert_int_eq(hasher_embed(h, s, n, x), RAG_OK);
        double norm = 0;
        for (size_t i = 0; i < HASH_DIMS; i++)
            norm += (double)x[i] * x[i];
        ck_assert_double_eq_tol(norm, 1, 1e-5);
        ck_assert_int_eq(hasher_embed(h, s, n, again), RAG_OK);
        ck_assert(memcmp(x, again, sizeof x) == 0);
    }
    embed("", x);
    ck_assert_double_eq(x[0], 1);
    embed(" ?!", x);
    ck_assert_double_eq(x[0], 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("embed");
    TCase *t = tcase_create("hash");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, frozen);
    tcase_add_test(t, near_and_far);
    tcase_add_test(t, every_text_has_length_one);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
