/* test_vectors.c - vectors are converted and checked as they should; slots and ids against
 * models. */
#include <config.h>

#include <check.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/base/rng.h"
#include "ann/vectors/idmap.h"
#include "ann/vectors/vectors.h"

#define ok(call) ck_assert_msg((call) == ANN_OK, "%s: %s", #call, error_message())

static void assert_fails(ann_err got, ann_err want, const char *with)
{
    ck_assert_msg(got == want, "%s, not %s", error_name(got), error_name(want));
    ck_assert_msg(strstr(error_message(), with) != NULL, "no \"%s\" in: %s", with,
                  error_message());
}

/* One vector into a fresh store and out again. */
static void through(struct vectors *v, const ann_view *view, size_t i, float *out)
{
    float *scratch = malloc(v->dim * sizeof *scratch);
    ok(vectors_check(v, view, "vector"));
    ok(vectors_reserve(v, 1));
    const uint32_t slot = vectors_take_slot(v);
    vectors_put(v, slot, view, i, scratch);
    vectors_set_live(v, slot, true);
    vectors_get(v, slot, out);
    for (size_t at = v->row_bytes; at < v->stride; at++)
        ck_assert_int_eq(((const char *)vectors_row(v, slot))[at], 0);
    free(scratch);
}

START_TEST(init_and_layout)
{
    static const uint32_t dims[] = {1, 2, 3, 8, 9, 16, 17, 100, 65536};
    struct vectors v;
    for (size_t d = 0; d < 9; d++)
        for (int t = ANN_F32; t <= ANN_B1; t++) {
            ok(vectors_init(&v, ANN_METRIC_DEFAULT, (ann_dtype)t, dims[d], CODE_NONE, 0));
            ck_assert_int_eq(v.metric, t == ANN_B1 ? ANN_HAMMING : ANN_L2);
            ck_assert(v.dist && v.many && v.stride >= v.row_bytes);
            ck_assert(v.row_bytes <= 32 ? 64 % v.stride == 0 : v.stride % 64 == 0);
            ck_assert_uint_eq(v.query_bytes, t <= ANN_BF16 ? 4 * dims[d] : v.row_bytes);
            vectors_free(&v);
        }
    assert_fails(vectors_init(&v, ANN_L2, ANN_F32, 0, CODE_NONE, 0), ANN_EINVAL, "dim is 0");
    assert_fails(vectors_init(&v, ANN_L2, ANN_F32, 65537, CODE_NONE, 0), ANN_EINVAL,
                 "dim is 65537");
    assert_fails(vectors_init(&v, (ann_metric)5, ANN_F32, 4, CODE_NONE, 0), ANN_EINVAL,
                 "metric");
    assert_fails(vectors_init(&v, ANN_L2, (ann_dtype)8, 4, CODE_NONE, 0), ANN_EINVAL, "store");
    assert_fails(vectors_init(&v, ANN_L2, ANN_B1, 4, CODE_NONE, 0), ANN_ENOTSUP, "l2 over b1");
    assert_fails(vectors_init(&v, ANN_HAMMING, ANN_I8, 4, CODE_NONE, 0), ANN_ENOTSUP,
                 "hamming over i8");
}
END_TEST

START_TEST(conversion)
{
    struct vectors v;
    float out[4];
    const float f[8] = {9, 9, 9, 9, 1.5f, -2.25f, 0, 1000};
    const ann_view f32 = {f, 2, 4, ANN_DTYPE_DEFAULT};
    const int8_t i8[] = {-128, 127, 0, 5};
    const uint8_t u8[] = {255, 0, 1, 7}, b1[] = {0xfd};
    const uint16_t f16[] = {0x3c00, 0xc000, 0x7bff, 0x0001},
                   bf16[] = {0x3f80, 0xc000, 0x4049, 0};
    static const ann_dtype stores[] = {ANN_F32, ANN_F16, ANN_BF16};
    for (int s = 0; s < 3; s++) { /* numbers that every store keeps exactly */
        ok(vectors_init(&v, ANN_L2, stores[s], 4, CODE_NONE, 0));
        through(&v, &f32, 1, out);
        ck_assert(out[0] == 1.5f && out[1] == -2.25f && out[2] == 0 && out[3] == 1000);
        through(&v, &(ann_view){i8, 1, 0, ANN_I8}, 0, out);
        ck_assert(out[0] == -128 && out[1] == 127 && out[2] == 0 && out[3] == 5);
        through(&v, &(ann_view){u8, 1, 0, ANN_U8}, 0, out);
        ck_assert(out[0] == 255 && out[1] == 0 && out[2] == 1 && out[3] == 7);
        through(&v, &(ann_view){f16, 1, 0, ANN_F16}, 0, out);
        ck_assert(out[0] == 1 && out[1] == -2);
        ck_assert(s == 2 || (out[2] == 65504 && out[3] == 0x1p-24f));
        through(&v, &(ann_view){bf16, 1, 0, ANN_BF16}, 0, out);
        ck_assert(out[0] == 1 && out[1] == -2 && out[2] == 3.140625f && out[3] == 0);
        vectors_free(&v);
    }
    ok(vectors_init(&v, ANN_L2, ANN_I8, 4, CODE_NONE, 0));
    through(&v, &(ann_view){i8, 1, 0, ANN_I8}, 0, out);
    ck_assert(out[0] == -128 && out[3] == 5);
    vectors_free(&v);
    ok(vectors_init(&v, ANN_HAMMING, ANN_B1, 3, CODE_NONE,
                    0)); /* bits behind dim are dropped */
    through(&v, &(ann_view){b1, 1, 0, ANN_B1}, 0, out);
    ck_assert(out[0] == 1 && out[1] == 0 && out[2] == 1);
    ck_assert_int_eq(*(const uint8_t *)vectors_row(&v, 0), 5);
    vectors_free(&v);
}
END_TEST

START_TEST(cosine_normalises_any_magnitude)
{
    static const float scales[] = {1, 1e-30f, 1e-44f, 1e30f, 3e38f};
    static const ann_dtype stores[] = {ANN_F32, ANN_F16, ANN_BF16};
    for (size_t s = 0; s < 15; s++) {
        struct vectors v;
        const float scale = scales[s % 5];
        float x[3] = {scale, -scale, scale / 2}, out[3], q[3];
        ok(vectors_init(&v, ANN_COSINE, stores[s / 5], 3, CODE_NONE, 0));
        const ann_view view = {x, 1, 0, ANN_F32};
        through(&v, &view, 0, out);
        vectors_query(&v, &view, 0, q);
        const double norm =
            (double)out[0] * out[0] + (double)out[1] * out[1] + (double)out[2] * out[2];
        ck_assert_msg(fabs(norm - 1) < (s / 5 == 2 ? 2e-2 : 2e-3), "%g: %g", (double)scale,
                      norm);
        ck_assert(fabs((double)q[0] * q[0] + (double)q[1] * q[1] + (double)q[2] * q[2] - 1) <
                  1e-6);
        ok(vectors_verify(&v));
        ((char *)v.data.data)[3] = 0x7f;
        ((char *)v.data.data)[1] = 0x7f;
        assert_fails(vectors_verify(&v), ANN_EDAMAGED, "slot 0");
        vectors_free(&v);
    }
}
END_TEST

/* What f16 and bf16 cannot hold, exactly at the edge. */
START_TEST(check_ranges)
{
    struct vectors v;
    float x[6] = {1, 2, 3, 4, 5, 6}, out[2];
    const ann_view view = {x, 3, 0, ANN_F32};
    static const float limits[] = {65519.996f, 0x1.fefffep127f};
    for (int t = 0; t < 2; t++) {
        ok(vectors_init(&v, ANN_L2, t ? ANN_BF16 : ANN_F16, 2, CODE_NONE, 0));
        x[3] = -limits[t];
        through(&v, &view, 1, out);
        ck_assert(isfinite(out[1]));
        x[3] = -nextafterf(limits[t], INFINITY);
        assert_fails(vectors_check(&v, &view, "vector"), ANN_EINVAL, "vector 1: element 1");
        uint16_t half;
        if (t)
            v.ops->f32_to_bf16(&x[3], &half, 1);
        else
            v.ops->f32_to_f16(&x[3], &half, 1);
        ck_assert_uint_eq(half, t ? 0xff80 : 0xfc00); /* it would have become infinite */
        vectors_free(&v);
    }
    ok(vectors_init(&v, ANN_L2, ANN_F32, 2, CODE_NONE, 0));
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        x[4] = bad[i];
        assert_fails(vectors_check(&v, &view, "query"), ANN_EINVAL,
                     i ? "query 2: element 0 is infinite" : "query 2: element 0 is NaN");
    }
    const uint16_t inf16[] = {0, 0x7c00};
    assert_fails(vectors_check(&v, &(ann_view){inf16, 1, 0, ANN_F16}, "vector"), ANN_EINVAL,
                 "element 1 is infinite");
    x[4] = 5;
    x[3] = FLT_MAX;
    ok(vectors_check(&v, &view, "vector"));
    vectors_free(&v);
}
END_TEST

START_TEST(check_arguments)
{
    struct vectors v;
    float x[8] = {1, 2, 3, 4, 0, 0, -0.0f, 0};
    ok(vectors_init(&v, ANN_COSINE, ANN_F32, 4, CODE_NONE, 0));
    assert_fails(vectors_check(&v, &(ann_view){x, 2, 0, ANN_F32}, "vector"), ANN_EINVAL,
                 "vector 1 is zero");
    assert_fails(vectors_check(&v, &(ann_view){NULL, 1, 0, ANN_F32}, "vector"), ANN_EINVAL,
                 "NULL");
    ok(vectors_check(&v, &(ann_view){NULL, 0, 0, ANN_F32}, "vector"));
    assert_fails(vectors_check(&v, &(ann_view){x, 1, 3, ANN_F32}, "vector"), ANN_EDIM,
                 "stride is 3, index dimension 4");
    assert_fails(vectors_check(&v, &(ann_view){x, 1, 0, (ann_dtype)7}, "vector"), ANN_EINVAL,
                 "7");
    assert_fails(vectors_check(&v, &(ann_view){x, 1, 0, ANN_B1}, "vector"), ANN_EINVAL, "b1");
    vectors_free(&v);
    const int8_t zero[4] = {0};
    ok(vectors_init(&v, ANN_COSINE, ANN_I8, 4, CODE_NONE, 0));
    assert_fails(vectors_check(&v, &(ann_view){zero, 1, 0, ANN_I8}, "query"), ANN_EINVAL,
                 "zero");
    assert_fails(vectors_check(&v, &(ann_view){x, 1, 0, ANN_DTYPE_DEFAULT}, "vector"),
                 ANN_EINVAL, "of type f32, but the index stores i8");
    vectors_free(&v);
}
END_TEST

START_TEST(distances_of_raw_values)
{
    struct vectors v;
    ok(vectors_init(&v, ANN_COSINE, ANN_F32, 4, CODE_NONE, 0));
    ck_assert(vectors_distance(&v, -1.0f) == 0 && vectors_distance(&v, 1.0f) == 2);
    ck_assert(vectors_distance(&v, -1.0000001f) == 0);
    vectors_free(&v);
    ok(vectors_init(&v, ANN_IP, ANN_F32, 4, CODE_NONE, 0));
    ck_assert(vectors_distance(&v, -7.5f) == -7.5f);
    vectors_free(&v);
}
END_TEST

/* Slots taken, given, made live and renumbered against plain arrays. */
START_TEST(slots_against_model)
{
    enum { MOST = 4000 };
    struct vectors v;
    uint64_t state = 8;
    static uint32_t value[MOST];
    static signed char live[MOST]; /* -1 free, 0 dead, 1 live */
    uint32_t n = 0, new_slot[MOST];
    ok(vectors_init(&v, ANN_L2, ANN_F32, 1, CODE_NONE, 0));
    for (int step = 0; step < 3000; step++) {
        const uint64_t what = rng_below(&state, 10);
        const uint32_t at = n ? (uint32_t)rng_below(&state, n) : 0;
        if (what < 6 && n < MOST) {
            const float x = (float)step;
            v.adds++;
            ok(vectors_reserve(&v, 1));
            memory_fail_at(1, true);
            const uint32_t slot = vectors_take_slot(&v);
            memory_fail_at(0, false);
            ck_assert(slot == n || (slot < n && live[slot] == -1));
            vectors_put(&v, slot, &(ann_view){&x, 1, 0, ANN_F32}, 0, NULL);
            vectors_set_live(&v, slot, true);
            ck_assert(v.born.bytes == 0 || ((uint32_t *)v.born.data)[slot] == v.adds);
            n = slot == n ? n + 1 : n;
            live[slot] = 1;
            value[slot] = (uint32_t)step;
        } else if (what < 9 && n > 0 && live[at] == 1) {
            vectors_set_live(&v, at, false);
            vectors_set_live(&v, at, false);
            live[at] = 0;
        } else if (n > 0 && live[at] == 0) {
            vectors_give_slot(&v, at);
            live[at] = -1;
        }
        if (step % 700 == 699) {
            uint32_t kept = 0;
            for (uint32_t s = 0; s < n; s++)
                new_slot[s] = live[s] == 1 ? kept++ : SLOT_NONE;
            vectors_renumber(&v, new_slot, kept);
            for (uint32_t s = 0; s < n; s++)
                if (new_slot[s] != SLOT_NONE) {
                    value[new_slot[s]] = value[s];
                    live[new_slot[s]] = 1;
                }
            n = kept;
        }
        uint32_t lives = 0, frees = 0;
        for (uint32_t s = 0; s < n; s++) {
            lives += live[s] == 1;
            frees += live[s] == -1;
        }
        ck_assert(v.slots == n && v.live == lives && v.free == frees);
    }
    for (uint32_t s = 0; s < n; s++) {
        ck_assert_int_eq(vectors_is_live(&v, s), live[s] == 1);
        ck_assert(live[s] != 1 || *(const float *)vectors_row(&v, s) == (float)value[s]);
    }
    vectors_free(&v);
}
END_TEST

/* ---- ids ---- */

#define SLOTS 600

struct model {
    ann_id id[SLOTS];
    bool live[SLOTS];
};

static void assert_same(const struct idmap *m, const struct vectors *v, const struct model *o,
                        const ann_id *absent, size_t n)
{
    for (uint32_t s = 0; s < v->slots; s++)
        if (o->live[s]) {
            ck_assert_uint_eq(idmap_id(m, s), o->id[s]);
            ck_assert_uint_eq(idmap_find(m, v, o->id[s]), s);
        }
    for (size_t i = 0; i < n; i++) {
        bool there = false;
        for (uint32_t s = 0; s < v->slots; s++)
            there = there || (o->live[s] && o->id[s] == absent[i]);
        ck_assert(there || idmap_find(m, v, absent[i]) == SLOT_NONE);
    }
}

/* Ids whose places in a table of 1024 run into one another, so that removals close holes within
 * runs, also over the end of the table. */
static size_t crowded_ids(ann_id *ids, size_t n)
{
    size_t got = 0;
    for (ann_id id = 1; got < n; id++) {
        const uint64_t place = rng_mix(id) & 1023;
        if (place >= 1010 || place < 6 || (place > 500 && place < 506))
            ids[got++] = id;
    }
    return got;
}

START_TEST(idmap_against_model)
{
    static struct model o;
    struct idmap m = {0};
    struct vectors v;
    ann_id ids[SLOTS];
    uint64_t state = 21 + (uint64_t)_i;
    ok(vectors_init(&v, ANN_L2, ANN_F32, 1, CODE_NONE, 0));
    if (_i == 0)
        crowded_ids(ids, SLOTS);
    for (size_t i = 0; i < SLOTS && _i > 0; i++)
        ids[i] = _i == 1 ? rng_next(&state) : _i == 2 ? i : ANN_NO_ID - 1 - i;
    memset(&o, 0, sizeof o);
    for (int step = 0; step < 4000; step++) {
        const size_t i = rng_below(&state, SLOTS);
        const uint32_t at = idmap_find(&m, &v, ids[i]);
        if (at == SLOT_NONE && (step % 1000 < 500 || rng_below(&state, 3) == 0)) {
            const uint32_t fresh = v.free > 0 ? 0 : 1;
            const bool identity = v.free == 0 && ids[i] == v.slots;
            ok(vectors_reserve(&v, 1));
            ok(idmap_reserve(&m, &v, v.slots + fresh, 1, identity));
            const uint32_t slot = vectors_take_slot(&v);
            ck_assert_uint_lt(slot, SLOTS);
            memory_fail_at(1, true);
            idmap_put(&m, slot, ids[i]);
            memory_fail_at(0, false);
            vectors_set_live(&v, slot, true);
            o.id[slot] = ids[i];
            o.live[slot] = true;
            ck_assert_uint_gt(m.next, ids[i]);
        } else if (at != SLOT_NONE) {
            ck_assert(o.live[at] && o.id[at] == ids[i]);
            idmap_remove(&m, ids[i]);
            idmap_remove(&m, ids[i]);
            vectors_set_live(&v, at, false);
            vectors_give_slot(&v, at);
            o.live[at] = false;
        }
        if (step % 50 == 0)
            assert_same(&m, &v, &o, ids, SLOTS);
        if (step % 1300 == 1299) { /* compaction, then a reopened map */
            uint32_t new_slot[SLOTS], kept = 0;
            for (uint32_t s = 0; s < v.slots; s++)
                new_slot[s] = o.live[s] ? kept++ : SLOT_NONE;
            ok(idmap_renumber(&m, new_slot, v.slots, kept));
            for (uint32_t s = 0; s < v.slots; s++)
                if (new_slot[s] != SLOT_NONE)
                    o.id[new_slot[s]] = o.id[s];
            vectors_renumber(&v, new_slot, kept);
            for (uint32_t s = 0; s < SLOTS; s++)
                o.live[s] = s < kept;
            ok(idmap_rebuild(&m, &v));
            assert_same(&m, &v, &o, ids, SLOTS);
        }
    }
    idmap_free(&m);
    vectors_free(&v);
}
END_TEST

START_TEST(identity_needs_no_memory)
{
    struct vectors v;
    struct idmap m = {0};
    ok(vectors_init(&v, ANN_L2, ANN_F32, 1, CODE_NONE, 0));
    ok(vectors_reserve(&v, 100));
    memory_fail_at(1, true);
    ok(idmap_reserve(&m, &v, 99, 99, true));
    memory_fail_at(0, false);
    for (uint32_t i = 0; i < 99; i++) {
        const uint32_t slot = vectors_take_slot(&v);
        idmap_put(&m, slot, i);
        vectors_set_live(&v, slot, true);
    }
    ck_assert(m.ids.bytes == 0 && m.next == 99);
    ck_assert_uint_eq(idmap_find(&m, &v, 98), 98);
    ck_assert_uint_eq(idmap_find(&m, &v, 99), SLOT_NONE);
    ck_assert_uint_eq(idmap_find(&m, &v, UINT64_C(1) << 32), SLOT_NONE);
    idmap_remove(&m, 5);
    vectors_set_live(&v, 5, false);
    ck_assert_uint_eq(idmap_find(&m, &v, 5), SLOT_NONE);
    for (uint64_t at = 1; at < 3; at++) { /* the first other id makes the table, or nothing */
        memory_fail_at(at, true);
        ck_assert_int_eq(idmap_reserve(&m, &v, 100, 1, false), ANN_ENOMEM);
        memory_fail_at(0, false);
        ck_assert(m.ids.bytes == 0 && idmap_find(&m, &v, 98) == 98);
    }
    ok(idmap_reserve(&m, &v, 100, 1, false));
    const uint32_t slot = vectors_take_slot(&v);
    idmap_put(&m, slot, 5);
    vectors_set_live(&v, slot, true);
    ck_assert(idmap_find(&m, &v, 5) == 99 && idmap_find(&m, &v, 98) == 98 &&
              idmap_id(&m, 7) == 7);
    ((ann_id *)m.ids.data)[3] = 98; /* a damaged file */
    assert_fails(idmap_rebuild(&m, &v), ANN_EDAMAGED, "id 98 stands twice");
    idmap_free(&m);
    vectors_free(&v);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vectors");
    TCase *c = tcase_create("vectors");
    tcase_add_test(c, init_and_layout);
    tcase_add_test(c, conversion);
    tcase_add_test(c, cosine_normalises_any_magnitude);
    tcase_add_test(c, check_ranges);
    tcase_add_test(c, check_arguments);
    tcase_add_test(c, distances_of_raw_values);
    tcase_add_test(c, slots_against_model);
    suite_add_tcase(suite, c);
    c = tcase_create("idmap");
    tcase_add_loop_test(c, idmap_against_model, 0, 4);
    tcase_add_test(c, identity_needs_no_memory);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
