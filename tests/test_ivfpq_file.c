/* test_ivfpq_file.c - lists and short codes in a file: damage is found, and what somebody
 * forged, with every checksum made good, neither opens by LOAD nor harms who opens it by MAP.
 */
#include <config.h>

#include <check.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ann/file/checksum.h"
#include "ann/file/kfile_head.h"
#include "tests/kfile_sample.h"
#include "tests/oracle.h"

#define DIM   4
#define N     90
#define LISTS 5

/* Where in the header its numbers stand: docs/format.md. */
enum {
    AT_HEAD_LEN = 8,
    AT_KIND = 14,
    AT_METRIC,
    AT_DTYPE,
    AT_DIM,
    AT_SLOTS,
    AT_LIVE,
    AT_NLIST = 22,
    AT_PQ_M,
    AT_PQ_BITS,
    AT_HOW,
    AT_TRAINED,
    AT_PLACES,
    AT_PROFILE,
    AT_CODES,
    AT_CODE_TYPE,
    AT_THRESHOLD,
    AT_TRAINED_ERROR,
    AT_ERROR_SUM,
    AT_LENGTH_SUM,
    AT_STOPS_ENTRIES
};

#define OK(call)                                                                               \
    do {                                                                                       \
        const ann_err err_ = (call);                                                           \
        ck_assert_msg(err_ == ANN_OK, "%s: %s", ann_err_name(err_), ann_error_message());      \
    } while (0)

static char *folder, *path;
static uint8_t *good, *bytes; /* [len] */
static size_t len, head_len;
static struct memory_file memory;
static struct oracle_data data;

/* With a rotation of its own, so that every section is there, and some slots that are free. */
static ann_index *make(void)
{
    ann_options o = ANN_OPTIONS_INIT;
    ann_index *ix;
    OK(ann_options_parse(&o, "ivfpq,nlist=5,rotation=opq,seed=9,threads=1"));
    o.dim = DIM;
    OK(ann_create(&o, &ix));
    OK(ann_train(ix, data.view));
    OK(ann_add(ix, data.view, NULL));
    OK(ann_remove(ix, 4, (ann_id[]){3, 17, 40, 89}, NULL));
    return ix;
}

static void setup(void)
{
    folder = folder_make();
    path = in_folder(folder, "x.kith");
    data = oracle_data(SHAPE_GAUSSIAN, ANN_F32, N, DIM, 5);
    ann_index *ix = make();
    OK(ann_save(ix, path));
    ann_close(ix);
    good = file_read(path, &len);
    bytes = malloc(len);
    memcpy(bytes, good, len);
    head_len = get_u64(good + 8 + 9 * AT_HEAD_LEN);
    memory = memory_file_make(good, len);
}

static void teardown(void)
{
    close(memory.fd);
    free(good);
    free(bytes);
    oracle_data_free(&data);
    folder_remove(folder);
    free(path);
}

static ann_err open_mode(const char *from, ann_open_mode mode, ann_index **ix)
{
    ann_open_options o = ANN_OPEN_OPTIONS_INIT;
    o.mode = mode;
    o.threads = 1;
    *ix = NULL;
    return ann_open(from, &o, ix);
}

static int even(void *arg, ann_id id)
{
    (void)arg;
    return id % 2 == 0;
}

/* What a user could do with an index, errors allowed. */
static void use(ann_index *ix)
{
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_id ids[100 * 9];
    float dists[100 * 9], x[64];
    size_t got = 20;
    uint64_t cursor = 0;
    ann_info info = {.size = ANN_INFO_SIZE};
    OK(ann_index_info(ix, &info));
    if (info.dim != DIM)
        return;
    ann_filter *f = NULL;
    (void)!ann_filter_from_callback(ix, even, NULL, &f);
    for (p.k = 1; p.k <= 100; p.k += 99)
        for (p.effort = 1; p.effort <= 50; p.effort += 49)
            for (size_t n = 1; n <= 9; n += 8) {
                p.filter = NULL;
                ann_err err =
                    ann_search(ix, (ann_view){data.rows, n, 0, ANN_F32}, &p, ids, dists);
                ck_assert(err == ANN_OK || err == ANN_EDAMAGED);
                p.filter = f;
                err = ann_search(ix, (ann_view){data.rows, n, 0, ANN_F32}, &p, ids, dists);
                ck_assert(err == ANN_OK || err == ANN_EDAMAGED);
            }
    ann_filter_close(f);
    ann_iter *it = NULL;
    if (!ann_iter_open(ix, data.rows, ANN_F32, NULL, &it))
        for (int i = 0; i < 50 && got == 20 && !ann_iter_next(it, 20, ids, dists, &got); i++)
            ;
    ann_iter_close(it);
    ann_range_result r;
    if (!ann_search_range(ix, (ann_view){data.rows, 2, 0, ANN_F32}, 1.0f, NULL, &r))
        ann_range_free(&r);
    (void)!ann_get(ix, 1, x);
    (void)!ann_ids(ix, &cursor, 100, ids, &got);
}

/* And how they could change it. */
static void change(ann_index *ix)
{
    ann_info info = {.size = ANN_INFO_SIZE};
    OK(ann_index_info(ix, &info));
    if (info.dim != DIM)
        return;
    (void)!ann_remove(ix, 3, (ann_id[]){1, 30, 31}, NULL);
    (void)!ann_add(ix, data.view, NULL);
    (void)!ann_update(ix, (ann_view){data.rows, 40, 0, ANN_F32},
                      (ann_id[]){0,  2,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                 16, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 32,
                                 33, 34, 35, 36, 37, 38, 39, 41, 42, 43, 44, 45});
    use(ix);
    (void)!ann_compact(ix);
    use(ix);
    char *other = in_folder(folder, "changed.kith");
    (void)!ann_save(ix, other);
    free(other);
}

/* ---- damage ---- */

/* LOAD refuses; so does MAP, or the check that follows. */
static void assert_found(const char *what, size_t at)
{
    ann_index *ix;
    ck_assert_msg(open_mode(memory.path, ANN_OPEN_LOAD, &ix) != ANN_OK, "%s %zu: loaded", what,
                  at);
    ck_assert_ptr_null(ix);
    if (open_mode(memory.path, ANN_OPEN_MAP, &ix) == ANN_OK)
        ck_assert_msg(ann_check(ix, ANN_CHECK_SUMS) == ANN_EDAMAGED, "%s %zu: mapped", what,
                      at);
    ann_close(ix);
}

START_TEST(every_byte)
{
    for (size_t at = 0; at < len; at++) {
        bytes[at] ^= (uint8_t)(1 << at % 8);
        ck_assert(pwrite(memory.fd, bytes + at, 1, (off_t)at) == 1);
        assert_found("byte", at);
        bytes[at] = good[at];
        ck_assert(pwrite(memory.fd, bytes + at, 1, (off_t)at) == 1);
    }
}
END_TEST

START_TEST(every_truncation)
{
    for (size_t n = len; n-- > 0;) {
        memory_file_put(&memory, good, n);
        assert_found("cut at", n);
    }
}
END_TEST

/* ---- forgery ---- */

static struct section {
    ann_section_info info;
    uint8_t *sum; /* in bytes */
} section;

/* Where a section's rows and sum stand.  A small one has one block. */
static void find_section(const char *name)
{
    for (uint32_t i = 0; ann_file_section(path, i, &section.info) == ANN_OK; i++)
        if (strcmp(section.info.name, name) == 0) {
            uint8_t *at =
                memmem(bytes + HEAD_HDR_BYTES, head_len - HEAD_HDR_BYTES, name, strlen(name));
            while (at && get_u64(at + strlen(name) + 18) != section.info.offset)
                at = memmem(at + 1, (size_t)(bytes + head_len - at - 1), name, strlen(name));
            ck_assert_ptr_nonnull(at);
            section.sum = at + strlen(name) + 4 * 9;
            while (*section.sum != 0xcf) /* the head of the array of sums */
                section.sum++;
            return;
        }
    ck_abort_msg("no section %s", name);
}

static void put_bytes(const char *name, size_t offset, const void *what, size_t n)
{
    find_section(name);
    ck_assert(offset + n <= section.info.bytes);
    memcpy(bytes + section.info.offset + offset, what, n);
    put_u64(section.sum, sum64(bytes + section.info.offset, section.info.bytes));
}

static uint32_t get_u32_of(const char *name, size_t index)
{
    uint32_t x;
    find_section(name);
    memcpy(&x, good + section.info.offset + 4 * index, sizeof x);
    return x;
}

static size_t bytes_of(const char *name)
{
    find_section(name);
    return section.info.bytes;
}

/* Seals what was forged, and opens it.  refuse: whether LOAD has to, and a check of a mapping.
 */
static void try_forged(const char *what, uint64_t value, bool refuse)
{
    ann_index *ix;
    reseal(bytes, len, head_len);
    memory_file_put(&memory, bytes, len);
    const ann_err err = open_mode(memory.path, ANN_OPEN_LOAD, &ix);
    ck_assert_msg(!refuse || err, "%s %llu: was opened", what, (unsigned long long)value);
    if (!err) {
        use(ix);
        change(ix);
    }
    ann_close(ix);
    for (int changed = 0; changed < 2; changed++) {
        if (open_mode(memory.path, ANN_OPEN_MAP, &ix) == ANN_OK) {
            use(ix);
            if (changed)
                change(ix);
            else if (refuse)
                ck_assert_msg(ann_check(ix, ANN_CHECK_STRUCTURE) == ANN_EDAMAGED,
                              "%s %llu: sound", what, (unsigned long long)value);
        }
        ann_close(ix);
    }
    memcpy(bytes, good, len);
}

static void forge_header(int number, uint64_t value, bool refuse)
{
    char what[32];
    snprintf(what, sizeof what, "header number %d", number);
    if (get_u64(good + 8 + 9 * number) == value)
        return;
    put_u64(bytes + 8 + 9 * number, value);
    try_forged(what, value, refuse);
}

START_TEST(forged_header)
{
    static const uint64_t values[] = {0,
                                      1,
                                      2,
                                      3,
                                      4,
                                      5,
                                      6,
                                      7,
                                      8,
                                      9,
                                      11,
                                      13,
                                      15,
                                      16,
                                      17,
                                      27,
                                      31,
                                      32,
                                      33,
                                      64,
                                      85,
                                      86,
                                      89,
                                      90,
                                      91,
                                      255,
                                      256,
                                      65536,
                                      1048576,
                                      1048577,
                                      0x7fffffff,
                                      0x80000000,
                                      0xffffffff,
                                      0x100000000,
                                      0x3fc999999999999a,
                                      0x3ff0000000000000,
                                      0x7ff8000000000000,
                                      0x7ff0000000000000,
                                      INT64_MAX,
                                      UINT64_MAX};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        const uint64_t x = values[i];
        forge_header(AT_KIND, x, x != ANN_FLAT);
        forge_header(AT_METRIC, x, x < ANN_L2 || x > ANN_COSINE);
        forge_header(AT_DTYPE, x, true);
        forge_header(AT_DIM, x, x != 3 && x != 4);
        forge_header(AT_SLOTS, x, true);
        forge_header(AT_LIVE, x, true);
        forge_header(AT_NLIST, x, true);
        forge_header(AT_PQ_M, x, x != 1 && x != 2 && x != 4); /* as many numbers in all */
        forge_header(AT_PQ_BITS, x, true);
        forge_header(AT_HOW, x, x != 5 && x != 9 && x != 11); /* no rotation, or direct */
        forge_header(AT_TRAINED, x, x == 0);
        forge_header(AT_PLACES, x, true);
        forge_header(AT_PROFILE, x, x != 0);
        forge_header(AT_CODES, x, x == ANN_CODES_NONE || x > ANN_CODES_SQ4);
        forge_header(AT_CODE_TYPE, x, true);
        forge_header(AT_THRESHOLD, x, x >= 0x3ff0000000000000);
        forge_header(AT_TRAINED_ERROR, x, false);
        forge_header(AT_ERROR_SUM, x, false);
        forge_header(AT_LENGTH_SUM, x, false);
        forge_header(AT_STOPS_ENTRIES, x, false);
    }
}
END_TEST

/* What was learned is finite, wherever it is not. */
START_TEST(forged_floats)
{
    static const char *const names[] = {"centroids", "codebooks", "rotation", "stops"};
    static const float values[] = {NAN, INFINITY, -INFINITY, FLT_MAX, -FLT_MAX, 1e20f, -1, 0};
    for (size_t s = 0; s < 4; s++)
        for (size_t at = 0; at < bytes_of(names[s]); at += s == 1 ? 28 : 4)
            for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
                put_bytes(names[s], at, &values[i], sizeof values[i]);
                const bool stop = s == 3 && (values[i] < 0 || values[i] > 1e6f);
                try_forged(names[s], at, i < 3 || stop);
            }
}
END_TEST

START_TEST(forged_space)
{
    static const float values[] = {NAN, INFINITY, -1, 0, 1e-44f, 1e38f};
    static const uint32_t words[] = {0, 2, 3, 5, 64, UINT32_MAX};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        for (size_t at = 0; at < 12; at += 4) { /* version, lifted, dim */
            put_bytes("space", at, &words[i], 4);
            try_forged("space", at, true);
        }
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        for (size_t at = 32; at < 40; at += 4) { /* unit and scale */
            put_bytes("space", at, &values[i], 4);
            try_forged("space", at, i < 5);
        }
        put_bytes("space", 40, &values[i], 4); /* eta */
        try_forged("eta", i, true);
        const double lift = (double)values[i];
        put_bytes("space", 24, &lift, 8);
        try_forged("lift", i, i < 3);
        for (size_t at = 64; at < bytes_of("space"); at += 4) { /* the mean, the image of 0 */
            put_bytes("space", at, &values[i], 4);
            try_forged("space", at, i < 2);
        }
    }
    const uint64_t none = 0;
    put_bytes("space", 16, &none, 8);
    try_forged("trained", 0, true);
}
END_TEST

START_TEST(forged_sizes)
{
    static const uint32_t values[] = {
        0, 1, 15, 16, 17, 86, 90, 91, 96, 97, 1u << 31, UINT32_MAX - 14, UINT32_MAX};
    for (size_t l = 0; l < LISTS; l++) {
        const uint32_t n = get_u32_of("list_sizes", l), more = n + 1, less = n - 1;
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            put_bytes("list_sizes", 4 * l, &values[i], 4);
            try_forged("list_sizes", l * 1000 + i, values[i] != n);
        }
        put_bytes("list_sizes", 4 * l, &more, 4);
        try_forged("list_sizes one more", l, true);
        put_bytes("list_sizes", 4 * l, &less, 4);
        try_forged("list_sizes one less", l, true);
        for (size_t other = 0; other < LISTS; other++) /* one more, and another has less */
            if (other != l) {
                const uint32_t lacks = get_u32_of("list_sizes", other) - 1;
                put_bytes("list_sizes", 4 * l, &more, 4);
                put_bytes("list_sizes", 4 * other, &lacks, 4);
                try_forged("list_sizes", l * 10 + other, true);
            }
    }
}
END_TEST

START_TEST(forged_slots)
{
    static const uint32_t free_slots[] = {3, 17, 40, 89};
    uint32_t at = 0;
    for (size_t l = 0; l < LISTS; l++) {
        const uint32_t n = get_u32_of("list_sizes", l);
        for (uint32_t i = 0; i < n; i += 3) {
            const uint32_t other = get_u32_of("list_slots", l ? 0 : n - 1 - (i == n - 1));
            const uint32_t values[] = {N,    N + 1, 1u << 31, UINT32_MAX, free_slots[i % 4],
                                       other};
            for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
                if (get_u32_of("list_slots", at + i) == values[v])
                    continue;
                put_bytes("list_slots", 4 * (at + i), &values[v], 4);
                try_forged("list_slots", (at + i) * 10 + v, true);
            }
        }
        at += (n + 15) / 16 * 16;
    }
    /* All of them the one, or all of free slots. */
    for (int all = 0; all < 2; all++) {
        const size_t places = bytes_of("list_slots") / 4;
        uint32_t *slots = malloc(4 * places);
        for (size_t i = 0; i < places; i++)
            slots[i] = all ? free_slots[i % 4] : 1;
        put_bytes("list_slots", 0, slots, 4 * places);
        try_forged("list_slots, all", (uint64_t)all, true);
        free(slots);
    }
}
END_TEST

/* A free slot beside those that are there, with the sizes made to agree: it would come twice
 * when the slot is used again. */
START_TEST(forged_dead_entry)
{
    uint32_t at = 0;
    for (size_t l = 0; l < LISTS; l++) {
        const uint32_t n = get_u32_of("list_sizes", l), more = n + 1, slot = 17;
        if (n % 16) {
            put_bytes("list_sizes", 4 * l, &more, 4);
            put_bytes("list_slots", 4 * (at + n), &slot, 4);
            try_forged("dead entry in list", l, true);
        }
        at += (n + 15) / 16 * 16;
    }
}
END_TEST

/* Any bytes are codes; a bias must be finite. */
START_TEST(forged_codes)
{
    static const uint16_t values[] = {0x7c00, 0xfc00, 0x7e00, 0x7bff, 0xfbff, 0, 0x0001};
    uint32_t at = 0;
    for (size_t i = 0; i < bytes_of("list_codes"); i += 5) {
        const uint8_t other = (uint8_t)~bytes[section.info.offset + i];
        put_bytes("list_codes", i, &other, 1);
        try_forged("list_codes", i, false);
    }
    for (size_t l = 0; l < LISTS; l++) {
        const uint32_t n = get_u32_of("list_sizes", l);
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            put_bytes("list_bias", 2 * (at + n / 2), &values[i], 2);
            try_forged("list_bias", at + n / 2, i < 3);
        }
        at += (n + 15) / 16 * 16;
    }
}
END_TEST

/* What is not trained goes into a file, too, and comes back as that. */
START_TEST(untrained)
{
    for (ann_open_mode mode = ANN_OPEN_LOAD; mode <= ANN_OPEN_MAP; mode++) {
        ann_options o = ANN_OPTIONS_INIT;
        ann_index *ix, *back;
        OK(ann_options_parse(&o,
                             "ivfpq,nlist=7,pq_bits=6,rotation=random,pq_of=direct,metric=ip,"
                             "soar=1,anisotropic=0.25"));
        o.dim = DIM;
        OK(ann_create(&o, &ix));
        OK(ann_save(ix, path));
        OK(open_mode(path, mode, &back));
        ck_assert_int_eq(ann_add(back, data.view, NULL), ANN_EUNTRAINED);
        for (int i = 0; i < 2; i++) { /* it learns as the other one does */
            OK(ann_train(i ? back : ix, data.view));
            OK(ann_add(i ? back : ix, data.view, NULL));
            OK(ann_check(i ? back : ix, ANN_CHECK_REACHABLE));
        }
        char *second = in_folder(folder, "second.kith");
        size_t n1, n2;
        OK(ann_save(ix, path));
        OK(ann_save(back, second));
        uint8_t *one = file_read(path, &n1), *two = file_read(second, &n2);
        ck_assert(n1 == n2 && memcmp(one, two, n1) == 0);
        free(one);
        free(two);
        free(second);
        ann_close(ix);
        ann_close(back);
    }
}
END_TEST

/* A mapped index that is changed is copied; its file stays as it was. */
START_TEST(copy_on_change)
{
    ann_index *ix;
    size_t n;
    OK(open_mode(path, ANN_OPEN_MAP, &ix));
    ann_info info = {.size = ANN_INFO_SIZE};
    OK(ann_index_info(ix, &info));
    ck_assert(info.mapped_bytes > 0 && info.count == N - 4);
    OK(ann_remove(ix, 1, (ann_id[]){50}, NULL));
    OK(ann_check(ix, ANN_CHECK_REACHABLE));
    change(ix);
    OK(ann_check(ix, ANN_CHECK_REACHABLE));
    uint8_t *now = file_read(path, &n);
    ck_assert(n == len && memcmp(now, good, n) == 0);
    free(now);
    ann_close(ix);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("ivfpq_file");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, every_byte);
    tcase_add_test(tc, every_truncation);
    tcase_add_test(tc, forged_header);
    tcase_add_test(tc, forged_floats);
    tcase_add_test(tc, forged_space);
    tcase_add_test(tc, forged_sizes);
    tcase_add_test(tc, forged_slots);
    tcase_add_test(tc, forged_dead_entry);
    tcase_add_test(tc, forged_codes);
    tcase_add_test(tc, untrained);
    tcase_add_test(tc, copy_on_change);
    Suite *s = suite_create("ivfpq_file");
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    const int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
