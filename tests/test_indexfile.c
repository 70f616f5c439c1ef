/* test_indexfile.c - an index in a file: it comes back the same, damage is found, and what
 * somebody forged, with every checksum made good, neither opens by LOAD nor harms who opens it
 * by MAP. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ann/file/checksum.h"
#include "ann/file/kfile_head.h"
#include "tests/kfile_sample.h"
#include "tests/oracle.h"

#define DIM 3
#define N 60

/* Where in the header its numbers stand: docs/format.md. */
enum {
    AT_MAJOR = 1, AT_MINOR = 2, AT_HEAD_LEN = 8, AT_KIND = 14, AT_METRIC, AT_DTYPE, AT_DIM,
    AT_SLOTS, AT_LIVE, AT_SEED, AT_NEXT_ID, AT_M, AT_EF_CONSTRUCTION, AT_ENTRY, AT_MAX_LEVEL,
    AT_UPPER_ROWS, AT_DRAWN, AT_PROFILE, AT_CODES, AT_CODE_TYPE, AT_PLANES, AT_OPEN
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

static ann_index *make(ann_kind kind, uint32_t threads, bool holes)
{
    ann_options o = ANN_OPTIONS_INIT;
    ann_index *ix;
    ann_id ids[N];
    o.kind = kind;
    o.dim = DIM;
    o.m = 3;
    o.ef_construction = 20;
    o.seed = 9;
    o.threads = threads;
    for (ann_id i = 0; i < N; i++)
        ids[i] = 100 + (i * 7) % N;
    OK(ann_create(&o, &ix));
    OK(ann_add(ix, data.view, holes ? ids : NULL));
    if (holes) /* some slots without a node */
        OK(ann_remove(ix, 4, (ann_id[]){100, 107, 120, 159}, NULL));
    return ix;
}

static void setup(void)
{
    folder = folder_make();
    path = in_folder(folder, "x.kith");
    data = oracle_data(SHAPE_GAUSSIAN, ANN_F32, N, DIM, 5);
    ann_index *ix = make(ANN_HNSW, 1, true);
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

/* What a user could do with an index, errors allowed. */
static void use(ann_index *ix)
{
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_id ids[30 * 9];
    float dists[30 * 9], x[64];
    size_t got = 20;
    uint64_t cursor = 0;
    ann_info info = {.size = ANN_INFO_SIZE};
    OK(ann_index_info(ix, &info));
    if (info.dim != DIM || info.store != ANN_F32)
        return;
    for (p.k = 1; p.k <= 30; p.k += 29)
        for (p.effort = 5; p.effort <= 50; p.effort += 45) {
            const ann_err err =
                ann_search(ix, (ann_view){data.rows, 9, 0, ANN_F32}, &p, ids, dists);
            ck_assert(err == ANN_OK || err == ANN_EDAMAGED);
        }
    ann_iter *it = NULL;
    if (!ann_iter_open(ix, data.rows, ANN_F32, NULL, &it))
        while (got == 20 && !ann_iter_next(it, 20, ids, dists, &got))
            ;
    ann_iter_close(it);
    ann_range_result r;
    if (!ann_search_range(ix, (ann_view){data.rows, 2, 0, ANN_F32}, 1.0f, NULL, &r))
        ann_range_free(&r);
    (void)!ann_get(ix, 101, x);
    (void)!ann_ids(ix, &cursor, 100, ids, &got);
}

/* And how they could change it. */
static void change(ann_index *ix)
{
    ann_info info = {.size = ANN_INFO_SIZE};
    OK(ann_index_info(ix, &info));
    if (info.dim != DIM)
        return;
    (void)!ann_remove(ix, 3, (ann_id[]){101, 130, 3}, NULL);
    (void)!ann_add(ix, data.view, NULL);
    (void)!ann_update(ix, (ann_view){data.rows, 2, 0, ANN_F32}, (ann_id[]){102, 103});
    (void)!ann_compact(ix);
    char *other = in_folder(folder, "changed.kith");
    (void)!ann_save(ix, other);
    free(other);
}

/* ------------------------------------------------------------------ */
/* The same again                                                     */
/* ------------------------------------------------------------------ */

START_TEST(round_trip)
{
    for (ann_kind kind = ANN_FLAT; kind <= ANN_HNSW; kind++)
        for (int holes = 0; holes < 2; holes++)
            for (ann_open_mode mode = ANN_OPEN_LOAD; mode <= ANN_OPEN_MAP; mode++) {
                ann_index *ix = make(kind, 2, holes), *copy;
                ann_id a[N * 10], b[N * 10];
                float da[N * 10], db[N * 10];
                size_t n1, n2;
                char *second = in_folder(folder, "second.kith");
                OK(ann_save(ix, path));
                OK(open_mode(path, mode, &copy));
                OK(ann_search(ix, data.view, NULL, a, da));
                OK(ann_search(copy, data.view, NULL, b, db));
                ck_assert(memcmp(a, b, sizeof a) == 0 && memcmp(da, db, sizeof da) == 0);
                OK(ann_check(copy, ANN_CHECK_REACHABLE));
                OK(ann_save(copy, second)); /* and the same bytes again */
                uint8_t *one = file_read(path, &n1), *two = file_read(second, &n2);
                ck_assert(n1 == n2 && memcmp(one, two, n1) == 0);
                free(one);
                free(two);
                free(second);
                ann_close(ix);
                ann_close(copy);
            }
}
END_TEST

START_TEST(same_bytes)
{
    size_t n1, n2;
    uint8_t *first = NULL;
    oracle_data_free(&data);
    data = oracle_data(SHAPE_DUPLICATES, ANN_F32, N, DIM, 6);
    for (uint32_t threads = 1; threads <= 4; threads++)
        for (int again = 0; again < 2; again++) {
            ann_index *ix = make(ANN_HNSW, threads, true);
            OK(ann_save(ix, path));
            ann_close(ix);
            uint8_t *now = file_read(path, &n2);
            ck_assert(!first || (n1 == n2 && memcmp(first, now, n1) == 0));
            n1 = n2;
            free(first);
            first = now;
        }
    free(first);
}
END_TEST

/* A mapped index that is changed is copied; its file stays as it was. */
START_TEST(copy_on_change)
{
    ann_index *ix;
    OK(open_mode(path, ANN_OPEN_MAP, &ix));
    ann_info info = {.size = ANN_INFO_SIZE};
    OK(ann_index_info(ix, &info));
    ck_assert(info.mapped_bytes > 0 && info.count == N - 4);
    change(ix);
    OK(ann_check(ix, ANN_CHECK_REACHABLE));
    size_t n;
    uint8_t *now = file_read(path, &n);
    ck_assert(n == len && memcmp(now, good, n) == 0);
    free(now);
    ann_close(ix);
}
END_TEST

/* ------------------------------------------------------------------ */
/* Damage                                                             */
/* ------------------------------------------------------------------ */

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

START_TEST(every_bit)
{
    for (size_t bit = 0; bit < 8 * len; bit++) {
        const size_t at = bit / 8;
        bytes[at] ^= (uint8_t)(1 << bit % 8);
        ck_assert(pwrite(memory.fd, bytes + at, 1, (off_t)at) == 1);
        assert_found("bit", bit);
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

/* ------------------------------------------------------------------ */
/* Forgery                                                            */
/* ------------------------------------------------------------------ */

static struct section {
    ann_section_info info;
    uint8_t *sum; /* in bytes */
} section;

/* Where a section's rows and sum stand.  A small one has one block. */
static void find_section(const char *name)
{
    for (uint32_t i = 0; ann_file_section(path, i, &section.info) == ANN_OK; i++)
        if (strcmp(section.info.name, name) == 0) {
            uint8_t *at = memmem(bytes + HEAD_HDR_BYTES, head_len - HEAD_HDR_BYTES, name,
                                 strlen(name));
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
    memcpy(&x, bytes + section.info.offset + 4 * index, sizeof x);
    return x;
}

/* Seals what was forged, and opens it.  wanted: whether LOAD has to refuse it. */
static void try_forged(const char *what, uint64_t value, bool refuse)
{
    ann_index *ix;
    reseal(bytes, len, head_len);
    memory_file_put(&memory, bytes, len);
    const ann_err err = open_mode(memory.path, ANN_OPEN_LOAD, &ix);
    ck_assert_msg(!refuse || err == ANN_EDAMAGED, "%s %llu: %s %s", what,
                  (unsigned long long)value, ann_err_name(err), err ? ann_error_message() : "");
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
    static const uint64_t values[] = {0,          1,           2,          3,
                                      4,          5,           6,          7,
                                      15,         16,          55,         56,
                                      57,         59,          60,         61,
                                      100,        158,         159,        255,
                                      256,        512,         513,        65536,
                                      65537,      0x7fffffff,  0x80000000, 0xfffffffe,
                                      0xffffffff, 0x100000000, INT64_MAX,  UINT64_MAX - 1,
                                      UINT64_MAX};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        const uint64_t x = values[i];
        forge_header(AT_KIND, x, x != ANN_FLAT);
        forge_header(AT_METRIC, x, x < ANN_L2 || x > ANN_COSINE);
        forge_header(AT_DTYPE, x, x != ANN_F32);
        forge_header(AT_DIM, x, x == 0 || x > 4);
        forge_header(AT_SLOTS, x, true);
        forge_header(AT_LIVE, x, true);
        forge_header(AT_SEED, x, false);
        forge_header(AT_NEXT_ID, x, x < 159); /* id 159 was removed */
        forge_header(AT_M, x, true);
        forge_header(AT_EF_CONSTRUCTION, x, x < 1 || x > 65536);
        forge_header(AT_ENTRY, x, x >= N);
        forge_header(AT_MAX_LEVEL, x, true);
        forge_header(AT_UPPER_ROWS, x, true);
        forge_header(AT_DRAWN, x, false);
        forge_header(AT_OPEN, x, x > 0);
    }
}
END_TEST

/* The first node in the graph. */
static uint32_t some_node(void)
{
    uint32_t slot = 0;
    find_section("states");
    while (bytes[section.info.offset + slot] != 1)
        slot++;
    return slot;
}

static uint32_t empty_slot(void)
{
    uint32_t slot = 0;
    find_section("states");
    while (bytes[section.info.offset + slot] != 0)
        slot++;
    return slot;
}

START_TEST(forged_codes)
{
    for (uint64_t x = 0; x < 12; x++) {
        forge_header(AT_PROFILE, x, x > ANN_PROFILE_FAST);
        forge_header(AT_CODES, x, x == ANN_CODES_NONE || x > ANN_CODES_SQ4);
        forge_header(AT_CODE_TYPE, x, true);
    }
    forge_header(AT_PROFILE, UINT64_MAX, true);
    forge_header(AT_CODES, 0x100000000, true);
    forge_header(AT_CODE_TYPE, 0x100000001, true);
    const float steps[] = {0, -1, INFINITY, NAN};
    for (size_t i = 0; i < 4; i++) {
        put_bytes("frame", 40, &steps[i], sizeof *steps);
        try_forged("step", i, true);
        put_bytes("frame", 64, &steps[i], sizeof *steps); /* the mean */
        try_forged("mean", i, i > 1);
    }
    for (uint32_t slot = 0; slot < N; slot++) {
        uint8_t state, code = 0;
        find_section("states");
        state = good[section.info.offset + slot];
        const int32_t norms[] = {-1, INT32_MAX, INT32_MIN, 0};
        for (size_t i = 0; i < 4; i++) {
            put_bytes("norms", 4 * slot, &norms[i], 4);
            try_forged("norm of slot", slot, state == 1);
        }
        put_bytes("codes", 64 * slot + 5, &code, 1);
        try_forged("code of slot", slot, state == 1);
    }
}
END_TEST

/* A file from before there were codes says nothing of a profile. */
START_TEST(without_codes)
{
    ann_index *ix;
    ann_info info = {.size = ANN_INFO_SIZE};
    for (int number = AT_PROFILE; number <= AT_CODE_TYPE; number++)
        put_u64(bytes + 8 + 9 * number, 0);
    reseal(bytes, len, head_len);
    memory_file_put(&memory, bytes, len);
    for (ann_open_mode mode = ANN_OPEN_LOAD; mode <= ANN_OPEN_MAP; mode++) {
        OK(open_mode(memory.path, mode, &ix));
        OK(ann_index_info(ix, &info));
        ck_assert(info.profile == ANN_PROFILE_BALANCED && info.codes == ANN_CODES_NONE &&
                  info.code_bytes == 0);
        use(ix);
        change(ix);
        OK(ann_check(ix, ANN_CHECK_REACHABLE));
        ann_close(ix);
    }
}
END_TEST

START_TEST(forged_links)
{
    const uint32_t node = some_node();
    const uint32_t to[] = {
        node,       N,          N + 1,      63,           64,
        0x7fffffff, 0x80000000, 0xfffffffe, empty_slot(), get_u32_of("links", node * 6 + 1)};
    for (uint32_t slot = 0; slot < N; slot++) {
        if (get_u32_of("links", slot * 6) == UINT32_MAX)
            continue;
        for (size_t i = 0; i < sizeof to / sizeof *to; i++) {
            const bool same = get_u32_of("links", slot * 6) == to[i];
            const bool bad = to[i] >= N || to[i] == slot || to[i] == empty_slot() ||
                             (slot == node && i == 9);
            put_bytes("links", slot * 24, &to[i], 4);
            try_forged("link of slot", slot * 100 + i, bad && !same);
        }
        const uint32_t none = UINT32_MAX; /* a gap in the row */
        put_bytes("links", slot * 24, &none, 4);
        try_forged("gap in slot", slot, get_u32_of("links", slot * 6 + 1) != none);
    }
}
END_TEST

START_TEST(forged_upper)
{
    find_section("upper");
    const size_t places = section.info.bytes / 4;
    uint32_t low = UINT32_MAX; /* a node on level 0 alone */
    find_section("levels");
    for (uint32_t s = 0; s < N && low == UINT32_MAX; s++)
        if (bytes[section.info.offset + s] == 0 && get_u32_of("links", s * 6) != UINT32_MAX)
            low = s;
        else
            find_section("levels");
    ck_assert(places > 0 && low != UINT32_MAX);
    const uint32_t to[] = {low, N, 0x80000000, 0xfffffffe, empty_slot()};
    for (size_t p = 0; p < places; p += 3)
        for (size_t i = 0; i < 5; i++) {
            put_bytes("upper", p * 4, &to[i], 4);
            try_forged("upper place", p * 100 + i, i < 4);
        }
}
END_TEST

START_TEST(forged_nodes)
{
    static const uint8_t bytes_of[] = {0, 1, 2, 3, 5, 15, 16, 128, 255};
    static const uint32_t words[] = {0, 1, 2, 5, 100, 0x7fffffff, 0x80000000, 0xffffffff};
    for (uint32_t slot = 0; slot < N; slot++) {
        for (size_t i = 0; i < sizeof bytes_of; i++) {
            find_section("levels");
            const bool same_level = bytes[section.info.offset + slot] == bytes_of[i];
            put_bytes("levels", slot, &bytes_of[i], 1);
            try_forged("level of slot", slot * 1000 + bytes_of[i], !same_level);
            find_section("states");
            /* Empty and removed differ in nothing that the file says elsewhere. */
            const uint8_t state = bytes[section.info.offset + slot];
            const bool same = state == bytes_of[i] || (state == 0 && bytes_of[i] == 2);
            put_bytes("states", slot, &bytes_of[i], 1);
            try_forged("state of slot", slot * 1000 + bytes_of[i], !same);
        }
        for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
            const bool same = get_u32_of("upper_at", slot) == words[i];
            put_bytes("upper_at", slot * 4, &words[i], 4);
            try_forged("upper_at of slot", slot * 100 + i, !same);
        }
    }
}
END_TEST

START_TEST(forged_live)
{
    for (int bit = 0; bit < 64; bit++) {
        uint64_t word;
        find_section("live");
        ck_assert_uint_eq(section.info.bytes, 8);
        memcpy(&word, bytes + section.info.offset, 8);
        word ^= UINT64_C(1) << bit;
        put_bytes("live", 0, &word, 8);
        try_forged("live bit", (uint64_t)bit, true);
        /* With the count in the header made to agree. */
        put_bytes("live", 0, &word, 8);
        put_u64(bytes + 8 + 9 * AT_LIVE, (uint64_t)__builtin_popcountll(word));
        try_forged("live bit and count", (uint64_t)bit, true);
    }
}
END_TEST

START_TEST(forged_ids)
{
    const uint32_t node = some_node();
    for (uint32_t slot = 0; slot < N; slot++) {
        uint64_t live, twice;
        find_section("live");
        memcpy(&live, bytes + section.info.offset, 8);
        find_section("ids");
        memcpy(&twice, bytes + section.info.offset + node * 8, 8);
        const uint64_t ids[] = {UINT64_MAX, 160, UINT64_MAX - 1, twice};
        for (size_t i = 0; i < 4; i++) {
            put_bytes("ids", slot * 8, &ids[i], 8);
            try_forged("id of slot", slot * 10 + i,
                       (live >> slot & 1) && (i < 3 || slot != node));
        }
    }
}
END_TEST

START_TEST(forged_vectors)
{
    static const uint32_t floats[] = {0x7fc00000, 0xffc00000, 0x7f800000, 0xff800000,
                                      0x7f7fffff};
    for (uint32_t slot = 0; slot < N; slot += 7)
        for (size_t i = 0; i < 5; i++) {
            put_bytes("vectors", slot * 16, &floats[i], 4);
            try_forged("vector of slot", slot * 10 + i, false);
        }
}
END_TEST

START_TEST(versions)
{
    ann_index *ix;
    ann_file_info info = {.size = sizeof info};
    put_u64(bytes + 8 + 9 * AT_MAJOR, 9);
    reseal(bytes, len, head_len);
    memory_file_put(&memory, bytes, len);
    for (ann_open_mode mode = ANN_OPEN_LOAD; mode <= ANN_OPEN_MAP; mode++) {
        ck_assert_int_eq(open_mode(memory.path, mode, &ix), ANN_EVERSION);
        ck_assert_ptr_nonnull(strstr(ann_error_message(), "version 9"));
    }
    ck_assert_int_eq(ann_file_info_read(memory.path, &info), ANN_EVERSION);
    memcpy(bytes, good, len);
    put_u64(bytes + 8 + 9 * AT_MINOR, 77); /* a later minor one is read */
    reseal(bytes, len, head_len);
    memory_file_put(&memory, bytes, len);
    OK(open_mode(memory.path, ANN_OPEN_LOAD, &ix));
    ann_close(ix);
    OK(ann_file_info_read(memory.path, &info));
    ck_assert_uint_eq(info.version_minor, 77);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("indexfile");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, round_trip);
    tcase_add_test(tc, same_bytes);
    tcase_add_test(tc, copy_on_change);
    tcase_add_test(tc, every_bit);
    tcase_add_test(tc, every_truncation);
    tcase_add_test(tc, forged_header);
    tcase_add_test(tc, forged_codes);
    tcase_add_test(tc, without_codes);
    tcase_add_test(tc, forged_links);
    tcase_add_test(tc, forged_upper);
    tcase_add_test(tc, forged_nodes);
    tcase_add_test(tc, forged_live);
    tcase_add_test(tc, forged_ids);
    tcase_add_test(tc, forged_vectors);
    tcase_add_test(tc, versions);
    Suite *s = suite_create("indexfile");
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    const int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
