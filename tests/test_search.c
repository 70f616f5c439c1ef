/* test_search.c - keys, the k best, the beam and the scratch against simpler ways to the same.
 */
#include <config.h>

#include <check.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "ann/base/key.h"
#include "ann/base/rng.h"
#include "ann/search/beam.h"
#include "ann/search/scratch.h"
#include "ann/search/topk.h"

/* ---- key ---- */

static const float edges[] = {-INFINITY, -FLT_MAX, -3e5f, -1.0f, -0x1p-126f, -0x1p-149f, 0.0f,
                              0x1p-149f, 0x1p-126f, 0.5f, 1.0f, 0x1.000002p0f, 3e5f, FLT_MAX,
                              INFINITY};
#define EDGES (sizeof edges / sizeof *edges)

START_TEST(keys_sort_by_distance_then_slot)
{
    static const uint32_t slots[] = {0, 1, 2, 77, SLOTS_MAX - 1, SLOTS_MAX};
    for (size_t i = 0; i < EDGES; i++)
        for (size_t j = 0; j < EDGES; j++)
            for (size_t a = 0; a < 6; a++)
                for (size_t b = 0; b < 6; b++) {
                    const search_key x = key_make(edges[i], slots[a]);
                    const search_key y = key_make(edges[j], slots[b]);
                    const bool less = i != j ? i < j : a < b;
                    ck_assert_msg((x < y) == less, "%g/%u and %g/%u", (double)edges[i],
                                  slots[a], (double)edges[j], slots[b]);
                }
}
END_TEST

START_TEST(keys_give_back_what_they_were_made_of)
{
    uint64_t state = 3;
    for (int i = 0; i < 20000; i++) {
        const uint32_t bits = (uint32_t)rng_next(&state);
        const uint32_t slot = (uint32_t)rng_next(&state) >> 1;
        float x, back;
        memcpy(&x, &bits, sizeof x);
        if (isnan(x))
            continue;
        const search_key k = key_make(x, slot);
        back = key_dist(k);
        ck_assert(memcmp(&x, &back, sizeof x) == 0);
        ck_assert_uint_eq(key_slot(k), slot);
        ck_assert_uint_eq(key_slot(k | KEY_FLAG), slot);
        ck_assert(key_dist(k | KEY_FLAG) == x && !(k & KEY_FLAG) && k < KEY_MAX);
    }
    /* Both zeros are one place to a reader; the negative one stands first. */
    ck_assert(key_make(-0.0f, 5) < key_make(0.0f, 0));
    ck_assert(key_make(-0x1p-149f, 5) < key_make(-0.0f, 0));
}
END_TEST

/* ---- topk ---- */

static int key_cmp(const void *pa, const void *pb)
{
    const search_key a = *(const search_key *)pa, b = *(const search_key *)pb;
    return a < b ? -1 : a > b;
}

/* n keys with many equal distances, no slot twice. */
static search_key *random_keys(uint64_t *state, size_t n)
{
    search_key *keys = malloc((n ? n : 1) * sizeof *keys);
    for (size_t i = 0; i < n; i++) {
        const float x = (float)rng_below(state, 40) - 20;
        keys[i] = key_make(rng_below(state, 50) == 0 ? INFINITY : x, (uint32_t)i);
    }
    for (size_t i = n; i > 1; i--) {
        const size_t j = rng_below(state, i);
        const search_key t = keys[i - 1];
        keys[i - 1] = keys[j];
        keys[j] = t;
    }
    return keys;
}

START_TEST(topk_equals_sort)
{
    static const size_t ks[] = {0, 1, 2, 3, 10, 64, 299, 300, 301, 500};
    uint64_t state = 9;
    for (int round = 0; round < 200; round++) {
        const size_t n = rng_below(&state, 301), k = ks[round % 10];
        search_key *keys = random_keys(&state, n), room[500];
        struct topk t = {.keys = room, .k = k};
        for (size_t i = 0; i < n; i++) {
            topk_push(&t, keys[i]);
            ck_assert_uint_eq(t.size, i + 1 < k ? i + 1 : k);
            if (t.size < k || k == 0)
                ck_assert(k == 0 || topk_limit(&t) == INFINITY);
            else
                for (size_t j = 0; j < t.size; j++)
                    ck_assert(key_dist(t.keys[j]) <= topk_limit(&t));
        }
        topk_sort(&t);
        qsort(keys, n, sizeof *keys, key_cmp);
        for (size_t i = 0; i < t.size; i++)
            ck_assert_uint_eq(t.keys[i], keys[i]);
        free(keys);
    }
}
END_TEST

/* ---- beam ---- */

/* The same in the most obvious way: a list sorted anew after each change. */
struct model {
    search_key keys[700]; /* without flags */
    bool expanded[700];
    size_t n, width;
};

static void model_insert(struct model *m, search_key key)
{
    size_t at = 0;
    while (at < m->n && m->keys[at] < key)
        at++;
    if (at == m->width)
        return;
    for (size_t i = m->n < m->width ? m->n++ : m->width - 1; i > at; i--) {
        m->keys[i] = m->keys[i - 1];
        m->expanded[i] = m->expanded[i - 1];
    }
    m->keys[at] = key;
    m->expanded[at] = false;
}

static bool model_pop(struct model *m, search_key *key)
{
    for (size_t i = 0; i < m->n; i++)
        if (!m->expanded[i]) {
            m->expanded[i] = true;
            *key = m->keys[i];
            return true;
        }
    return false;
}

static void beam_equals(const struct beam *b, const struct model *m)
{
    ck_assert_uint_eq(b->size, m->n);
    for (size_t i = 0; i < m->n; i++)
        ck_assert_uint_eq(b->keys[i], m->keys[i] | (m->expanded[i] ? KEY_FLAG : 0));
}

START_TEST(beam_equals_sorted_list)
{
    static const size_t widths[] = {1, 2, 3, 7, 64, 200, 640};
    uint64_t state = 17;
    for (int round = 0; round < 70; round++) {
        const size_t n = 600;
        search_key *keys = random_keys(&state, n), room[641], got = 0, want = 0;
        struct model m = {.width = widths[round % 7]};
        struct beam b;
        beam_reset(&b, room, m.width);
        for (size_t i = 0; i < n; i++) {
            ck_assert_uint_eq(beam_worst(&b), m.n < m.width ? KEY_MAX : b.keys[b.size - 1]);
            beam_insert(&b, keys[i]);
            model_insert(&m, keys[i]);
            beam_equals(&b, &m);
            for (uint64_t pops = rng_below(&state, 3); pops > 0; pops--) {
                uint32_t ahead = 0;
                const bool peeked = beam_peek(&b, &ahead), popped = beam_pop(&b, &got);
                ck_assert(peeked == popped && model_pop(&m, &want) == popped);
                if (popped)
                    ck_assert((got & ~KEY_FLAG) == want && key_slot(want) == ahead);
                beam_equals(&b, &m);
            }
        }
        while (beam_pop(&b, &got))
            ck_assert(model_pop(&m, &want) && (got & ~KEY_FLAG) == want);
        ck_assert(!model_pop(&m, &want));
        free(keys);
    }
}
END_TEST

/* ---- scratch ---- */

static void assert_clear(const struct scratch *s)
{
    const uint64_t *words = s->visited.data;
    ck_assert_uint_eq(s->dirty_count, 0);
    for (size_t i = 0; i < s->visited.bytes / sizeof *words; i++)
        ck_assert_uint_eq(words[i], 0);
}

START_TEST(scratch_visits_each_once)
{
    struct vectors v = {.query_bytes = 40};
    struct scratch s = {0};
    uint64_t state = 23;
    unsigned char seen[5000];
    uint32_t slots = 0;
    for (int round = 0; round < 60; round++) {
        slots = slots > 4000 ? slots : slots + (uint32_t)rng_below(&state, 300);
        ck_assert_int_eq(scratch_reserve(&s, &v, slots, slots / 3, 1 + slots / 7), ANN_OK);
        ck_assert(s.keys.bytes >= slots / 3 * sizeof(search_key) && s.query.bytes >= 40);
        assert_clear(&s);
        memset(seen, 0, sizeof seen);
        /* few and many: both ways of clearing */
        const size_t visits = slots == 0 ? 0 : round % 2 ? rng_below(&state, 6) : 3 * slots;
        for (size_t i = 0; i < visits; i++) {
            const uint32_t slot = (uint32_t)rng_below(&state, slots);
            ck_assert(scratch_visit(&s, slot) == !seen[slot]);
            seen[slot] = 1;
        }
        scratch_unvisit(&s);
        assert_clear(&s);
    }
    scratch_free(&s);
}
END_TEST

START_TEST(scratch_asks_once)
{
    struct vectors v = {.query_bytes = 40};
    struct scratch s = {0};
    ck_assert_int_eq(scratch_reserve(&s, &v, 1000, 100, 64), ANN_OK);
    memory_fail_at(0, false);
    ck_assert_int_eq(scratch_reserve(&s, &v, 1000, 100, 64), ANN_OK);
    ck_assert_int_eq(scratch_reserve(&s, &v, 10, 0, 0), ANN_OK);
    ck_assert_uint_eq(memory_fail_at(0, false), 0);
    for (uint64_t at = 1; at <= 6; at++) { /* any one failing leaves it usable */
        memory_fail_at(at, false);
        struct scratch fresh = {0};
        ck_assert_int_eq(scratch_reserve(&fresh, &v, 1000, 100, 64), ANN_ENOMEM);
        memory_fail_at(0, false);
        ck_assert_int_eq(scratch_reserve(&fresh, &v, 1000, 100, 64), ANN_OK);
        assert_clear(&fresh);
        scratch_free(&fresh);
    }
    scratch_free(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("search");
    TCase *c = tcase_create("search");
    tcase_add_test(c, keys_sort_by_distance_then_slot);
    tcase_add_test(c, keys_give_back_what_they_were_made_of);
    tcase_add_test(c, topk_equals_sort);
    tcase_add_test(c, beam_equals_sorted_list);
    tcase_add_test(c, scratch_visits_each_once);
    tcase_add_test(c, scratch_asks_once);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
