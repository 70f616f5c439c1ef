/* test_wire.c - hostile msgpack never gets past wire_scan; good msgpack comes back as written.
 */
#include <config.h>

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/base/memory.h"
#include "ann/base/wire.h"

#define MANY ((size_t)1 << 20)

static ann_err scan(const void *p, size_t len)
{
    size_t used = 0;
    const ann_err err = wire_scan(p, len, MANY, &used);
    if (!err)
        ck_assert_uint_eq(used, len);
    return err;
}

/* One of every type, with the length that wire_scan must find. */
START_TEST(every_type)
{
    static const struct {
        const char *bytes;
        size_t len;
    } good[] = {
        {"\x00", 1},
        {"\x7f", 1},
        {"\xe0", 1},
        {"\xff", 1},
        {"\xc0", 1},
        {"\xc2", 1},
        {"\xc3", 1},
        {"\x80", 1},
        {"\x81\x01\x02", 3},
        {"\x90", 1},
        {"\x92\x01\x02", 3},
        {"\xa0", 1},
        {"\xa3"
         "abc",
         4},
        {"\xc4\x01x", 3},
        {"\xc5\x00\x01x", 4},
        {"\xc6\x00\x00\x00\x01x", 6},
        {"\xc7\x01\x05x", 4},
        {"\xc8\x00\x01\x05x", 5},
        {"\xc9\x00\x00\x00\x01\x05x", 7},
        {"\xca"
         "1234",
         5},
        {"\xcb"
         "12345678",
         9},
        {"\xcc"
         "1",
         2},
        {"\xcd"
         "12",
         3},
        {"\xce"
         "1234",
         5},
        {"\xcf"
         "12345678",
         9},
        {"\xd0"
         "1",
         2},
        {"\xd1"
         "12",
         3},
        {"\xd2"
         "1234",
         5},
        {"\xd3"
         "12345678",
         9},
        {"\xd4"
         "12",
         3},
        {"\xd5"
         "123",
         4},
        {"\xd6"
         "12345",
         6},
        {"\xd7"
         "123456789",
         10},
        {"\xd8"
         "12345678901234567",
         18},
        {"\xd9\x01x", 3},
        {"\xda\x00\x01x", 4},
        {"\xdb\x00\x00\x00\x01x", 6},
        {"\xdc\x00\x01\x05", 4},
        {"\xdd\x00\x00\x00\x01\x05", 6},
        {"\xde\x00\x01\x05\x06", 5},
        {"\xdf\x00\x00\x00\x01\x05\x06", 7},
        {"\xdc\x00\x00", 3},
        {"\xdf\x00\x00\x00\x00", 5},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        const uint8_t *p = (const uint8_t *)good[i].bytes;
        size_t used;
        ck_assert_msg(wire_scan(p, good[i].len, MANY, &used) == ANN_OK && used == good[i].len,
                      "type 0x%02x", p[0]);
        /* It does not look at what lies behind, and each shorter length is an error. */
        uint8_t longer[40];
        memset(longer, 0xc1, sizeof longer);
        memcpy(longer, p, good[i].len);
        ck_assert_int_eq(wire_scan(longer, sizeof longer, MANY, &used), ANN_OK);
        ck_assert_uint_eq(used, good[i].len);
        for (size_t len = 0; len < good[i].len; len++) {
            uint8_t *exact = malloc(len + 1); /* so that a sanitizer sees one byte too many */
            memcpy(exact + 1, p, len);
            used = 77;
            ck_assert_int_eq(wire_scan(exact + 1, len, MANY, &used), ANN_EDAMAGED);
            ck_assert_uint_eq(used, 77);
            free(exact);
        }
    }
    ck_assert_int_eq(scan("\xc1", 1), ANN_EDAMAGED);
}
END_TEST

START_TEST(depth)
{
    uint8_t nested[40];
    memset(nested, 0x91, sizeof nested);
    for (size_t d = 0; d < 30; d++) {
        nested[d] = 0x07;
        ck_assert_int_eq(scan(nested, d + 1), d <= WIRE_DEPTH_MAX ? ANN_OK : ANN_EDAMAGED);
        nested[d] = 0x90; /* empty, so not a level that is entered */
        ck_assert_int_eq(scan(nested, d + 1), d <= WIRE_DEPTH_MAX ? ANN_OK : ANN_EDAMAGED);
        nested[d] = 0x91;
    }
}
END_TEST

/* What makes msgpack-c reserve memory by the gigabyte. */
START_TEST(counts)
{
    uint8_t bomb[155];
    for (size_t i = 0; i < sizeof bomb; i += 5)
        memcpy(bomb + i, "\xdd\x10\x00\x00\x00", 5);
    struct wire_doc *doc = NULL;
    ck_assert_int_eq(wire_parse(bomb, sizeof bomb, MANY, &doc), ANN_EDAMAGED);
    ck_assert_ptr_null(doc);

    static const char *const bad[] = {"\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff",
                                      "\xdb\xff\xff\xff\xff", "\xc6\xff\xff\xff\xff",
                                      "\xc9\xff\xff\xff\xff", "\xdf\x80\x00\x00\x00"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t bytes[64] = {0};
        memcpy(bytes, bad[i], 5);
        ck_assert_int_eq(scan(bytes, sizeof bytes), ANN_EDAMAGED);
    }
    /* One more than there is: [3 of 2], {2 of 1 1/2}. */
    ck_assert_int_eq(scan("\x93\x01\x02", 3), ANN_EDAMAGED);
    ck_assert_int_eq(scan("\x82\x01\x02\x03", 4), ANN_EDAMAGED);
}
END_TEST

START_TEST(budget)
{
    size_t used;
    static const uint8_t five[] = {0x94, 1, 2, 3, 4};
    ck_assert_int_eq(wire_scan(five, 5, 5, &used), ANN_OK);
    for (size_t n = 0; n < 5; n++)
        ck_assert_int_eq(wire_scan(five, 5, n, &used), ANN_EDAMAGED);
}
END_TEST

START_TEST(parse)
{
    struct wire_out out = {0};
    wire_put_array(&out, 3);
    wire_put_str(&out, "name");
    wire_put_u64(&out, UINT64_MAX);
    wire_put_array(&out, 100);
    for (uint64_t i = 0; i < 100; i++)
        wire_put_u64(&out, i);
    ck_assert(!out.failed);
    ck_assert_uint_eq(out.len, 1 + 5 + 9 + 3 + 900);

    struct wire_doc *doc;
    ck_assert_int_eq(wire_parse(out.data, out.len, MANY, &doc), ANN_OK);
    const wire_value *v = wire_root(doc);
    const char *s;
    size_t n;
    uint64_t x;
    ck_assert(wire_is_array(v, &n) && n == 3);
    ck_assert(wire_is_str(wire_at(v, 0), &s, &n) && n == 4 && memcmp(s, "name", 4) == 0);
    ck_assert(wire_is_u64(wire_at(v, 1), &x) && x == UINT64_MAX);
    ck_assert(wire_is_u64(wire_at(wire_at(v, 2), 99), &x) && x == 99);
    ck_assert(!wire_is_u64(wire_at(v, 0), &x) && !wire_is_array(wire_at(v, 1), &n));
    ck_assert(!wire_is_str(wire_at(v, 2), &s, &n));
    ck_assert_ptr_null(wire_at(v, 3));
    ck_assert_ptr_null(wire_at(wire_at(v, 1), 0));
    ck_assert(!wire_is_u64(NULL, &x) && x == 99);
    wire_free(doc);

    ck_assert_int_eq(wire_parse(out.data, out.len - 1, MANY, &doc), ANN_EDAMAGED);
    ck_assert_int_eq(wire_parse((const uint8_t *)"\x01\x02", 2, MANY, &doc), ANN_EDAMAGED);
    ck_assert_int_eq(wire_parse((const uint8_t *)"\xff", 1, MANY, &doc), ANN_OK);
    ck_assert(!wire_is_u64(wire_root(doc), &x));
    wire_free(doc);
    wire_out_free(&out);
}
END_TEST

START_TEST(no_memory)
{
    for (uint64_t at = 1;; at++) {
        struct wire_out out = {0};
        memory_fail_at(at, true);
        wire_put_map(&out, 1);
        for (int i = 0; i < 100; i++)
            wire_put_u64(&out, 1);
        const bool failed = out.failed;
        wire_out_free(&out);
        memory_fail_at(0, false);
        if (!failed)
            break;
        ck_assert_uint_lt(at, 20);
    }
    struct wire_doc *doc;
    memory_fail_at(1, false);
    ck_assert_int_eq(wire_parse((const uint8_t *)"\x01", 1, MANY, &doc), ANN_ENOMEM);
    memory_fail_at(0, false);
}
END_TEST

/* Random bytes: whatever is accepted is within bounds, and msgpack-c agrees that it is one. */
START_TEST(random_bytes)
{
    uint64_t state = 1;
    size_t good = 0;
    for (int round = 0; round < 200000; round++) {
        uint8_t bytes[24];
        for (size_t i = 0; i < sizeof bytes; i++) {
            state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
            bytes[i] = (uint8_t)(state >> 56);
            if (round & 1) /* mostly containers and short strings */
                bytes[i] = (uint8_t)(0x80 | (bytes[i] & 0x33));
        }
        size_t used;
        if (wire_scan(bytes, sizeof bytes, MANY, &used))
            continue;
        ck_assert_uint_le(used, sizeof bytes);
        struct wire_doc *doc;
        ck_assert_int_eq(wire_parse(bytes, used, MANY, &doc), ANN_OK);
        wire_free(doc);
        good++;
    }
    ck_assert_uint_gt(good, 1000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wire");
    TCase *tc = tcase_create("wire");
    suite_add_tcase(suite, tc);
    tcase_add_test(tc, every_type);
    tcase_add_test(tc, depth);
    tcase_add_test(tc, counts);
    tcase_add_test(tc, budget);
    tcase_add_test(tc, parse);
    tcase_add_test(tc, no_memory);
    tcase_add_test(tc, random_bytes);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
