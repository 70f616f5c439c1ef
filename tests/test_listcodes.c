/* test_listcodes.c - codes into lists and out, and lists that grow and shrink. */
#include <config.h>

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/rng.h"
#include "ann/codec/listcodes.h"
#include "ann/kernels/lists.h"

enum { MOST_N = 200, MOST_M = 72 };

static const unsigned all_bits[] = {4, 6, 8};
static const uint32_t lengths[] = {1, 3, 8, 13, 32, 70};
enum { WIDTHS = 3, LENGTHS = sizeof lengths / sizeof *lengths };

static uint8_t codes[MOST_N][MOST_M];

static void make_codes(unsigned bits, uint32_t m, uint64_t seed)
{
    for (size_t i = 0; i < MOST_N; i++)
        for (uint32_t s = 0; s < MOST_M; s++)
            codes[i][s] = s < m ? rng_at(seed, i * MOST_M + s) & ((1u << bits) - 1) : 0;
}

/* The bits of a code in the bytes that lists.h names, as they are once it is put. */
static void put_plainly(unsigned bits, uint32_t m, uint8_t *data, size_t n, size_t i)
{
    const size_t all = (n + 15) / 16 * 16, block = i / 64 * 64,
                 width = all - block < 64 ? all - block : 64;
    for (uint32_t s = 0; s < m; s++) {
        const uint8_t c = codes[i][s];
        if (bits == 4) {
            const size_t at = ((i / 16 * (m / 8) + s / 8) * 64) + 4 * (i % 16) + s % 4;
            data[at] |= s % 8 < 4 ? c : (uint8_t)(c << 4);
            continue;
        }
        uint8_t *const from = data + block * m * bits / 8 + i % 64;
        if (bits == 8) {
            from[s * width] = c;
            continue;
        }
        for (size_t r = 0; r < 3; r++) {
            const bool own = s % 4 == r, upper = s % 4 == 3;
            from[(s / 4 * 3 + r) * width] |=
                own ? c : upper ? (uint8_t)((c >> 2 * r & 3) << 6) : 0;
        }
    }
}

/* A list of the first n codes, in a block of memory of just its size. */
static uint8_t *make_list(unsigned bits, uint32_t m, size_t n)
{
    uint8_t *const data = calloc(annk_list_bytes(bits, m, n) + 1, 1);
    for (size_t i = 0; i < n; i++)
        put_plainly(bits, m, data, n, i);
    return data;
}

START_TEST(put_and_get)
{
    const unsigned bits = all_bits[_i % WIDTHS];
    const uint32_t m = annk_list_padded(bits, lengths[_i / WIDTHS]);
    make_codes(bits, lengths[_i / WIDTHS], 5);
    for (size_t n = 0; n <= MOST_N; n++) {
        const size_t bytes = annk_list_bytes(bits, m, n);
        uint8_t *const data = calloc(bytes + 1, 1), *const want = make_list(bits, m, n);
        for (int pass = 0; pass < 2; pass++) /* over other codes too */
            for (size_t k = n; k > 0; k--) {
                const size_t i = (k * 7919) % n;
                listcodes_put(bits, m, data, n, i, codes[pass == 0 ? n - 1 - i : i]);
            }
        for (size_t i = 0; i < n; i++) { /* what 7919 k left out when n divides it */
            uint8_t code[MOST_M];
            listcodes_put(bits, m, data, n, i, codes[i]);
            listcodes_get(bits, m, data, n, i, code);
            ck_assert_msg(memcmp(code, codes[i], m) == 0, "%u bits, m %u, n %zu, %zu", bits, m,
                          n, i);
        }
        ck_assert_msg(memcmp(data, want, bytes) == 0, "%u bits, m %u, n %zu: layout", bits,
                      m, n);
        free(data);
        free(want);
    }
}
END_TEST

/* From each n to others: what stays is kept, the rest is zeros, whatever was there. */
START_TEST(resize)
{
    const unsigned bits = all_bits[_i % WIDTHS];
    const uint32_t m = annk_list_padded(bits, lengths[_i / WIDTHS]);
    make_codes(bits, m, 6);
    for (size_t from = 0; from <= MOST_N; from++)
        for (size_t to = from % 7; to <= MOST_N; to += 1 + (from + to) % 9) {
            const size_t before = annk_list_bytes(bits, m, from),
                         after = annk_list_bytes(bits, m, to), kept = from < to ? from : to;
            const size_t room = before > after ? before : after;
            uint8_t *const data = malloc(room + 1), *const old = make_list(bits, m, from);
            memset(data, 0xff, room + 1);
            memcpy(data, old, before);
            for (size_t i = from; i < (from + 15) / 16 * 16; i++)
                listcodes_put(bits, m, data, from, i, codes[i % MOST_N]);
            listcodes_resize(bits, m, data, from, to);
            uint8_t *const want = calloc(after + 1, 1);
            for (size_t i = 0; i < kept; i++)
                put_plainly(bits, m, want, to, i);
            ck_assert_msg(memcmp(data, want, after) == 0, "%u bits, m %u: %zu to %zu", bits, m,
                          from, to);
            ck_assert_msg(data[room] == 0xff, "past the end");
            free(data);
            free(old);
            free(want);
        }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("listcodes");
    TCase *tcase = tcase_create("listcodes");
    tcase_add_loop_test(tcase, put_and_get, 0, WIDTHS * LENGTHS);
    tcase_add_loop_test(tcase, resize, 0, WIDTHS * LENGTHS);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
