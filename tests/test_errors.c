/* test_errors.c - every error that ann.h promises: its code, a message that names the thing,
 * and nothing changed by a call that failed. */
#include <config.h>

#include <check.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kfile_sample.h"
#include "tests/oracle.h"

#define DIM 4

static void assert_fails(ann_err got, ann_err want, const char *with, int line)
{
    ck_assert_msg(got == want, "line %d: %s, not %s: %s", line, ann_err_name(got),
                  ann_err_name(want), ann_error_message());
    ck_assert_msg(strstr(ann_error_message(), with) != NULL, "line %d: no \"%s\" in: %s", line,
                  with, ann_error_message());
    ck_assert_msg(strchr(ann_error_message(), '\n') == NULL, "line %d: two lines", line);
}

#define FAILS(call, err, with) assert_fails(call, err, with, __LINE__)
#define OK(call)                                                                               \
    do {                                                                                       \
        const ann_err err_ = (call);                                                           \
        ck_assert_msg(err_ == ANN_OK, "%s: %s", ann_err_name(err_), ann_error_message());      \
    } while (0)

static const ann_kind kinds[] = {ANN_FLAT, ANN_HNSW};

static ann_options options(ann_kind kind, ann_metric metric, ann_dtype store, uint32_t dim)
{
    ann_options o = ANN_OPTIONS_INIT;
    o.kind = kind;
    o.metric = metric;
    o.store = store;
    o.dim = dim;
    o.threads = 2;
    return o;
}

static ann_index *make(ann_kind kind, ann_metric metric, ann_dtype store, uint32_t dim)
{
    const ann_options o = options(kind, metric, store, dim);
    ann_index *ix = NULL;
    OK(ann_create(&o, &ix));
    return ix;
}

/* With n vectors i, i, i, i (from 1). */
static ann_index *with_vectors(ann_kind kind, ann_metric metric, size_t n)
{
    ann_index *ix = make(kind, metric, ANN_F32, DIM);
    float *x = malloc((n + 1) * DIM * sizeof *x);
    for (size_t i = 0; i < n * DIM; i++)
        x[i] = (float)(i / DIM + 1);
    OK(ann_add(ix, (ann_view){x, n, 0, ANN_F32}, NULL));
    free(x);
    return ix;
}

static uint64_t count_of(const ann_index *ix)
{
    ann_info info = {.size = ANN_INFO_SIZE};
    OK(ann_index_info(ix, &info));
    return info.count;
}

/* ------------------------------------------------------------------ */
/* Options                                                            */
/* ------------------------------------------------------------------ */

START_TEST(create)
{
    ann_index *const marker = (ann_index *)(uintptr_t)8;
    ann_index *ix = marker;
    ann_options o = options(ANN_HNSW, ANN_L2, ANN_F32, DIM);
    FAILS(ann_create(NULL, &ix), ANN_EINVAL, "NULL");
    FAILS(ann_create(&o, NULL), ANN_EINVAL, "NULL");
    o.dim = 0;
    FAILS(ann_create(&o, &ix), ANN_EINVAL, "dim is 0");
    o.dim = 65537;
    FAILS(ann_create(&o, &ix), ANN_EINVAL, "dim is 65537");
    o.dim = DIM;
    o.m = 1;
    FAILS(ann_create(&o, &ix), ANN_EINVAL, "m is 1");
    o.m = 513;
    FAILS(ann_create(&o, &ix), ANN_EINVAL, "m is 513");
    o.m = 0;
    o.ef_construction = 65537;
    FAILS(ann_create(&o, &ix), ANN_EINVAL, "ef_construction is 65537");
    o.ef_construction = 0;
    o.threads = 1025;
    FAILS(ann_create(&o, &ix), ANN_EINVAL, "threads is 1025");
    o.threads = 1;
    o.kind = (ann_kind)4;
    FAILS(ann_create(&o, &ix), ANN_EINVAL, "kind: 4");
    o.kind = (ann_kind)-1;
    FAILS(ann_create(&o, &ix), ANN_EINVAL, "kind: -1");
    o.kind = ANN_FLAT;
    o.metric = (ann_metric)5;
    FAILS(ann_create(&o, &ix), ANN_EINVAL, "5");
    o.metric = ANN_L2;
    o.store = (ann_dtype)8;
    FAILS(ann_create(&o, &ix), ANN_EINVAL, "8");
    o.store = ANN_NONE;
    FAILS(ann_create(&o, &ix), ANN_ENOTSUP, "store=none");
    o.store = ANN_B1;
    FAILS(ann_create(&o, &ix), ANN_ENOTSUP, "l2 over b1");
    o.store = ANN_I8;
    o.metric = ANN_HAMMING;
    FAILS(ann_create(&o, &ix), ANN_ENOTSUP, "hamming over i8");
    o.size = 0;
    FAILS(ann_create(&o, &ix), ANN_EINVAL, "options.size is 0");
    o.size = 5000;
    FAILS(ann_create(&o, &ix), ANN_EINVAL, "options.size is 5000");
    ck_assert_ptr_eq(ix, marker);
    ann_close(NULL);
}
END_TEST

static const struct {
    const char *spec, *with; /* with: NULL, it is good */
} specs[] = {
    {"", NULL},
    {"flat", NULL},
    {"hnsw", NULL},
    {"hnsw,m=2", NULL},
    {"hnsw,m=512", NULL},
    {"m=16", NULL},
    {"hnsw,ef_construction=1", NULL},
    {"hnsw,ef_construction=65536", NULL},
    {"flat,dim=1", NULL},
    {"flat,dim=65536", NULL},
    {"seed=0", NULL},
    {"seed=18446744073709551615", NULL},
    {"threads=1", NULL},
    {"threads=1024", NULL},
    {"max_memory=0", NULL},
    {"max_memory=18446744073709551615", NULL},
    {"metric=l2", NULL},
    {"metric=ip", NULL},
    {"metric=cosine", NULL},
    {"store=b1,metric=hamming", NULL},
    {"store=f32", NULL},
    {"store=f16", NULL},
    {"store=bf16", NULL},
    {"store=i8", NULL},
    {"store=u8", NULL},
    {"store=none", NULL},
    {"profile=balanced", NULL},
    {"profile=fast", NULL},
    {"profile=lean", NULL},
    {"profile=balanced,codes=auto", NULL},
    {"codes=none", NULL},
    {"codes=sq8", NULL},
    {"codes=sq4,store=bf16", NULL},
    {"profile=lean,codes=sq4,metric=ip", NULL},
    {"profile=fast,codes=1bit,m=16", NULL},
    {"profile=fast,codes=4bit,metric=cosine", NULL},
    {"store=u8,profile=balanced,codes=none", NULL},
    {"profile=", "profile"},
    {"profile=default", "default"},
    {"profile=Fast", "Fast"},
    {"hnsw,profile", "profile needs a value"},
    {"codes=", "codes"},
    {"codes=5bit", "5bit"},
    {"codes=sq16", "sq16"},
    {"hnsw,m=1", "m=1 is not in 2..512"},
    {"hnsw,m=513", "m=513 is not in 2..512"},
    {"hnsw,m=0", "m=0"},
    {"hnsw,m=", "m="},
    {"hnsw,m", "m needs a value"},
    {"hnsw,m=-1", "m=-1"},
    {"hnsw,m=+1", "m=+1"},
    {"hnsw,m=1e1", "m=1e1"},
    {"hnsw,m= 4", "m= 4"},
    {"hnsw,m=0x10", "m=0x10"},
    {"hnsw,m=16 ", "m=16 "},
    {"hnsw,m=18446744073709551632", "m=18446744073709551632"},
    {"hnsw,m=4294967312", "m=4294967312"},
    {"hnsw,ef_construction=0", "ef_construction=0"},
    {"hnsw,ef_construction=65537", "ef_construction=65537"},
    {"dim=0", "dim=0"},
    {"dim=65537", "dim=65537"},
    {"seed=18446744073709551616", "seed=18446744073709551616"},
    {"seed=-1", "seed=-1"},
    {"seed=99999999999999999999999999", "seed=999"},
    {"threads=0", "threads=0"},
    {"threads=1025", "threads=1025"},
    {"metric=l3", "l3"},
    {"metric=", "metric"},
    {"metric=L2", "L2"},
    {"metric=default", "default"},
    {"store=f64", "f64"},
    {"store=default", "default"},
    {"hnsw,foo=1", "foo"},
    {"hnsw,M=1", "M"},
    {"hnsw,,m=4", "key"},
    {"ivf", "ivf"},
    {"Flat", "Flat"},
    {"flat,hnsw", "hnsw"},
    {" flat", " flat"},
    {",", "kind"},
    {"=", "key"},
    {"m=4,flat", "flat"},
};

START_TEST(spec)
{
    ann_options o = ANN_OPTIONS_INIT;
    memset((char *)&o + sizeof(size_t), 0, sizeof o - sizeof(size_t));
    const ann_options before = o;
    const ann_err err = ann_options_parse(&o, specs[_i].spec);
    if (!specs[_i].with) {
        ck_assert_msg(err == ANN_OK, "%s: %s", specs[_i].spec, ann_error_message());
        o.dim = o.dim ? o.dim : 7;
        char text[256], again[256];
        ann_options copy = ANN_OPTIONS_INIT;
        OK(ann_options_spec(&o, text, sizeof text));
        OK(ann_options_parse(&copy, text));
        OK(ann_options_spec(&copy, again, sizeof again));
        ck_assert_str_eq(text, again);
        FAILS(ann_options_spec(&o, again, strlen(text)), ANN_EINVAL, "bytes");
        OK(ann_options_spec(&o, again, strlen(text) + 1));
        return;
    }
    FAILS(err, ANN_EINVAL, specs[_i].with);
    ck_assert(memcmp(&o, &before, sizeof o) == 0);
}
END_TEST

START_TEST(spec_all)
{
    ann_options o = ANN_OPTIONS_INIT;
    OK(ann_options_parse(
        &o, "hnsw,m=12,ef_construction=99,metric=cosine,store=f16,seed=7,threads=2,"
            "dim=5,max_memory=1000000"));
    ck_assert(o.kind == ANN_HNSW && o.m == 12 && o.ef_construction == 99 && o.seed == 7 &&
              o.metric == ANN_COSINE && o.store == ANN_F16 && o.threads == 2 && o.dim == 5 &&
              o.max_memory == 1000000);
    OK(ann_options_parse(&o, "flat,seed=8")); /* what is not named stays */
    ck_assert(o.kind == ANN_FLAT && o.m == 12 && o.seed == 8 && o.dim == 5);
    FAILS(ann_options_parse(NULL, "flat"), ANN_EINVAL, "NULL");
    FAILS(ann_options_parse(&o, NULL), ANN_EINVAL, "NULL");
    FAILS(ann_options_spec(&o, NULL, 9), ANN_EINVAL, "NULL");
    FAILS(ann_options_spec(NULL, (char[9]){0}, 9), ANN_EINVAL, "NULL");
    o.seed = o.max_memory = UINT64_MAX;
    o.dim = 65536;
    o.kind = ANN_HNSW;
    o.m = 512;
    o.ef_construction = 65536;
    o.threads = 1024;
    char text[256];
    OK(ann_options_spec(&o, text, sizeof text));
}
END_TEST

/* The spec of o's fields over defaults, as `text`. */
static void says(ann_options o, const char *with, int line)
{
    char text[256];
    o.dim = o.dim ? o.dim : 7;
    const ann_err err = ann_options_spec(&o, text, sizeof text);
    ck_assert_msg(err == ANN_OK, "line %d: %s", line, ann_error_message());
    ck_assert_msg(strstr(text, with), "line %d: %s is not in %s", line, with, text);
}

#define SAYS(o, with) says(o, with, __LINE__)

START_TEST(spec_profile)
{
    const ann_options fresh = ANN_OPTIONS_INIT;
    ann_options o = fresh;
    SAYS(o, "store=f32,dim=7,profile=balanced,codes=auto,m=16,");
    o.profile = ANN_PROFILE_LEAN; /* brings its store along, and the other way round */
    SAYS(o, "store=none,dim=7,profile=lean,codes=auto,");
    o.profile = ANN_PROFILE_DEFAULT;
    o.store = ANN_NONE;
    SAYS(o, "profile=lean,");
    o = fresh;
    o.profile = ANN_PROFILE_FAST;
    SAYS(o, "profile=fast,codes=auto,m=16,");
    o.dim = 100; /* m is left to the first vectors */
    SAYS(o, "profile=fast,codes=auto,seed=");
    o.ef_construction = 77;
    SAYS(o, "codes=auto,ef_construction=77,seed=");
    o.m = 24;
    SAYS(o, "m=24,");
    o = fresh;
    o.kind = ANN_FLAT;
    SAYS(o, "flat,metric=l2,store=f32,dim=7,seed=");
    o.kind = ANN_HNSW;
    o.store = ANN_I8;
    SAYS(o, "store=i8,dim=7,m=16,");
    o.store = ANN_B1;
    SAYS(o, "store=b1,dim=7,m=16,");
}
END_TEST

/* Every profile with every codes and every store: what goes together and what is said of the
 * rest. */
START_TEST(profiles)
{
    static const bool fits[4][8] = { /* auto none sq8 sq4 1bit 2bit 3bit 4bit */
        {1, 1, 1, 1, 0, 0, 0, 0}, /* default is balanced, or lean over none */
        {1, 1, 1, 1, 0, 0, 0, 0},
        {1, 0, 0, 0, 1, 1, 1, 1},
        {1, 0, 1, 1, 0, 0, 0, 0},
    };
    for (int kind = ANN_FLAT; kind <= ANN_HNSW; kind++)
        for (int store = ANN_DTYPE_DEFAULT; store <= ANN_NONE; store++)
            for (int profile = 0; profile <= ANN_PROFILE_LEAN; profile++)
                for (int codes = 0; codes <= ANN_CODES_4BIT; codes++) {
                    ann_options o = options((ann_kind)kind, ANN_METRIC_DEFAULT,
                                            (ann_dtype)store, DIM);
                    o.profile = (ann_profile)profile;
                    o.codes = (ann_codes)codes;
                    const bool lean = profile == ANN_PROFILE_LEAN;
                    const bool coded =
                        kind == ANN_HNSW && (store <= ANN_BF16 || store == ANN_NONE);
                    bool good = coded && fits[profile][codes];
                    if (store == ANN_NONE)
                        good = good && (lean || (profile == 0 && codes != ANN_CODES_NONE));
                    else if (store != ANN_DTYPE_DEFAULT)
                        good = good && !lean;
                    if (!coded)
                        good = store != ANN_NONE && profile <= ANN_PROFILE_BALANCED &&
                               codes <= ANN_CODES_NONE;
                    char text[256], again[256];
                    const ann_err err = ann_options_spec(&o, text, sizeof text);
                    ck_assert_msg((err == ANN_OK) == good,
                                  "kind %d store %d profile %d codes %d: %s", kind, store,
                                  profile, codes, ann_err_name(err));
                    if (err) {
                        ck_assert_int_eq(err, coded ? ANN_EINVAL : ANN_ENOTSUP);
                        continue;
                    }
                    ann_options copy = ANN_OPTIONS_INIT;
                    OK(ann_options_parse(&copy, text));
                    OK(ann_options_spec(&copy, again, sizeof again));
                    ck_assert_str_eq(text, again);
                    ck_assert_int_eq(strstr(text, "profile=") != NULL, coded);
                }
    ann_options o = options(ANN_HNSW, ANN_L2, ANN_F32, DIM);
    ann_index *ix = NULL;
    o.profile = (ann_profile)4;
    FAILS(ann_create(&o, &ix), ANN_EINVAL, "profile: 4");
    o.profile = (ann_profile)-1;
    FAILS(ann_create(&o, &ix), ANN_EINVAL, "profile: -1");
    o.profile = ANN_PROFILE_FAST;
    o.codes = (ann_codes)8;
    FAILS(ann_create(&o, &ix), ANN_EINVAL, "codes: 8");
    o.codes = ANN_CODES_SQ8;
    FAILS(ann_create(&o, &ix), ANN_EINVAL, "profile fast has no codes sq8");
    o.codes = ANN_CODES_AUTO;
    o.store = ANN_NONE;
    FAILS(ann_create(&o, &ix), ANN_EINVAL, "lean and none go together");
    o.store = ANN_U8;
    FAILS(ann_create(&o, &ix), ANN_ENOTSUP, "hnsw over u8 has no profile fast");
    o.profile = ANN_PROFILE_DEFAULT;
    o.codes = ANN_CODES_SQ4;
    FAILS(ann_create(&o, &ix), ANN_ENOTSUP, "hnsw over u8 has no codes: sq4");
}
END_TEST

/* ------------------------------------------------------------------ */
/* Vectors                                                            */
/* ------------------------------------------------------------------ */

/* Adds and searches x, which must fail, between good ones. */
static void refused(ann_index *ix, ann_view v, ann_err err, const char *with, int line)
{
    const uint64_t before = count_of(ix);
    ann_id ids[10];
    float dists[10];
    memset(ids, 0x55, sizeof ids);
    memset(dists, 0x55, sizeof dists);
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    p.k = 2;
    ann_range_result r = {.nq = 77};
    assert_fails(ann_add(ix, v, NULL), err, with, line);
    const ann_id given[3] = {100, 101, 102};
    assert_fails(ann_update(ix, v, given), err, with, line);
    assert_fails(ann_train(ix, v), err, with, line);
    assert_fails(ann_search(ix, v, &p, ids, dists), err, with, line);
    assert_fails(ann_search_range(ix, v, 1, NULL, &r), err, with, line);
    ck_assert_uint_eq(r.nq, 77);
    for (size_t i = 0; i < sizeof ids; i++)
        ck_assert_int_eq(((unsigned char *)ids)[i], 0x55);
    for (size_t i = 0; i < sizeof dists; i++)
        ck_assert_int_eq(((unsigned char *)dists)[i], 0x55);
    ck_assert_uint_eq(count_of(ix), before);
    OK(ann_check(ix, ANN_CHECK_REACHABLE));
}

#define REFUSED(ix, v, err, with) refused(ix, v, err, with, __LINE__)

START_TEST(values)
{
    static const struct {
        float value;
        const char *with;
    } bad[] = {{NAN, "vector"}, {INFINITY, "infinite"}, {-INFINITY, "infinite"}};
    for (size_t i = 0; i < 3; i++)
        for (ann_metric metric = ANN_L2; metric <= ANN_COSINE; metric++) {
            ann_index *ix = with_vectors(kinds[_i], metric, 5);
            float x[3][DIM] = {{1, 2, 3, 4}, {1, 2, 3, 4}, {1, 2, 3, 4}};
            x[1][3] = bad[i].value;
            const ann_view v = {x, 3, 0, ANN_F32};
            REFUSED(ix, v, ANN_EINVAL, " 1: element 3 is ");
            FAILS(ann_add(ix, v, NULL), ANN_EINVAL, i == 0 ? "NaN" : "infinite");
            ann_iter *it = NULL;
            ann_searcher *s = NULL;
            ann_id id = 5;
            FAILS(ann_iter_open(ix, x[1], ANN_F32, NULL, &it), ANN_EINVAL, "element 3");
            OK(ann_searcher_open(ix, NULL, &s));
            FAILS(ann_searcher_search(s, x[1], ANN_F32, &id, NULL), ANN_EINVAL, "element 3");
            ck_assert(id == 5 && !it);
            ann_searcher_close(s);
            ann_close(ix);
        }
}
END_TEST

START_TEST(zero_vectors)
{
    const float zeros[3][DIM] = {{1}, {2}, {0}};
    const ann_view v = {zeros, 3, 0, ANN_F32};
    ann_index *ix = with_vectors(kinds[_i], ANN_COSINE, 5);
    REFUSED(ix, v, ANN_EINVAL, " 2 is zero");
    ann_close(ix);
    ix = with_vectors(kinds[_i], ANN_L2, 5);
    OK(ann_add(ix, v, NULL));
    ann_close(ix);
    const int8_t small[2][DIM] = {{1}, {0}};
    ix = make(kinds[_i], ANN_COSINE, ANN_I8, DIM);
    REFUSED(ix, ((ann_view){small, 2, 0, ANN_I8}), ANN_EINVAL, " 1 is zero");
    ann_close(ix);
    /* Tiny and huge rows have a direction. */
    ix = make(kinds[_i], ANN_COSINE, ANN_F32, 2);
    const float far[4][2] = {{1e-40f, 0}, {0, 3e38f}, {1e-45f, 1e-45f}, {FLT_MAX, FLT_MAX}};
    ann_id ids[4];
    float dists[4];
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    p.k = 4;
    OK(ann_add(ix, (ann_view){far, 4, 0, ANN_F32}, NULL));
    OK(ann_search(ix, (ann_view){(float[]){1, 0}, 1, 0, ANN_F32}, &p, ids, dists));
    ck_assert(ids[0] == 0 && dists[0] < 1e-6 && ids[3] == 1 && fabsf(dists[3] - 1) < 1e-6);
    ann_close(ix);
}
END_TEST

/* Distances beyond float's range are infinite, not wrong and not fatal. */
START_TEST(huge_values)
{
    for (ann_metric metric = ANN_L2; metric <= ANN_IP; metric++) {
        ann_index *ix = make(kinds[_i], metric, ANN_F32, 2);
        float x[40][2];
        for (int i = 0; i < 40; i++) {
            x[i][0] = (i & 1 ? -FLT_MAX : FLT_MAX) / (float)(1 + i % 7);
            x[i][1] = (i & 2 ? -FLT_MAX : FLT_MAX) / (float)(1 + i % 5);
        }
        ann_id ids[40 * 9];
        float dists[40 * 9];
        ann_search_params p = ANN_SEARCH_PARAMS_INIT;
        p.k = 40;
        OK(ann_add(ix, (ann_view){x, 40, 0, ANN_F32}, NULL));
        OK(ann_search(ix, (ann_view){x, 9, 0, ANN_F32}, &p, ids, dists));
        p.effort = 10;
        p.k = 3;
        OK(ann_search(ix, (ann_view){x, 1, 0, ANN_F32}, &p, ids, dists));
        OK(ann_check(ix, ANN_CHECK_STRUCTURE));
        ann_close(ix);
    }
}
END_TEST

START_TEST(dims)
{
    static const uint32_t sizes[] = {1, 2, 65536};
    for (size_t i = 0; i < 3; i++)
        for (ann_dtype t = ANN_F32; t <= ANN_B1; t++) {
            const uint32_t dim = sizes[i];
            const ann_metric metric = t == ANN_B1 ? ANN_HAMMING : ANN_L2;
            ann_index *ix = make(kinds[_i], metric, t, dim);
            struct oracle_data d = oracle_data(SHAPE_GAUSSIAN, t, 12, dim, 3);
            OK(ann_add(ix, d.view, NULL));
            ann_id ids[12];
            float dists[12], *q = malloc(dim * sizeof *q);
            ann_search_params p = ANN_SEARCH_PARAMS_INIT;
            p.k = 1;
            OK(ann_search(ix, d.view, &p, ids, dists));
            for (size_t j = 0; j < 12; j++)
                ck_assert_msg(dists[j] == 0, "dim %u type %d: %g", dim, (int)t,
                              (double)dists[j]);
            struct oracle *o = oracle_new(metric, dim);
            for (ann_id id = 0; id < 12; id++)
                oracle_put_stored(o, ix, id);
            p.k = 12;
            OK(ann_search(ix, (ann_view){d.rows, 1, 0, t}, &p, ids, dists));
            size_t n;
            char why[200];
            oracle_row(&d.view, dim, 0, q);
            struct oracle_near *near = oracle_sorted(o, q, NULL, NULL, &n);
            ck_assert_msg(oracle_compare(o, q, near, n, ids, dists, 12, why) == 1, "dim %u: %s",
                          dim, why);
            free(near);
            free(q);
            oracle_free(o);
            oracle_data_free(&d);
            ann_close(ix);
        }
}
END_TEST

/* The largest sums that whole numbers can make: beyond 31 bits. */
START_TEST(integer_extremes)
{
    const size_t dim = 65536;
    for (ann_dtype t = ANN_I8; t <= ANN_U8; t++) {
        ann_index *ix = make(kinds[_i], ANN_L2, t, (uint32_t)dim);
        uint8_t *x = malloc(2 * dim);
        memset(x, t == ANN_I8 ? 0x80 : 0, dim);
        memset(x + dim, t == ANN_I8 ? 0x7f : 0xff, dim);
        ann_id ids[2];
        float dists[2];
        ann_search_params p = ANN_SEARCH_PARAMS_INIT;
        p.k = 2;
        OK(ann_add(ix, (ann_view){x, 2, 0, t}, NULL));
        OK(ann_search(ix, (ann_view){x, 1, 0, t}, &p, ids, dists));
        ck_assert_msg(dists[1] == 65536.0f * 255 * 255, "%d: %.9g", (int)t, (double)dists[1]);
        free(x);
        ann_close(ix);
    }
}
END_TEST

START_TEST(types)
{
    const float x[2][DIM] = {{1, 2, 3, 4}, {5, 6, 7, 8}};
    static const ann_dtype whole[] = {ANN_I8, ANN_U8, ANN_B1};
    for (size_t i = 0; i < 3; i++) {
        ann_index *ix = make(kinds[_i], ANN_METRIC_DEFAULT, whole[i], DIM);
        for (ann_dtype t = ANN_DTYPE_DEFAULT; t <= ANN_B1; t++)
            if (t != whole[i])
                REFUSED(ix, ((ann_view){x, 2, 0, t}), ANN_EINVAL, "of type ");
        ann_close(ix);
    }
    ann_index *ix = make(kinds[_i], ANN_L2, ANN_F32, DIM);
    REFUSED(ix, ((ann_view){x, 2, 0, ANN_B1}), ANN_EINVAL, "b1");
    REFUSED(ix, ((ann_view){x, 2, 0, (ann_dtype)7}), ANN_EINVAL, "dtype: 7");
    REFUSED(ix, ((ann_view){x, 2, 3, ANN_F32}), ANN_EDIM, "stride is 3");
    REFUSED(ix, ((ann_view){NULL, 2, 0, ANN_F32}), ANN_EINVAL, "NULL");
    OK(ann_add(ix, (ann_view){NULL, 0, 0, ANN_F32}, NULL)); /* nothing to add */
    OK(ann_add(ix, (ann_view){x, 2, 0, ANN_DTYPE_DEFAULT}, NULL));
    ck_assert_uint_eq(count_of(ix), 2);
    ann_close(ix);
    ix = make(kinds[_i], ANN_HAMMING, ANN_B1, 17); /* strides of bits count bytes */
    REFUSED(ix, ((ann_view){x, 2, 2, ANN_B1}), ANN_EDIM, "stride is 2");
    ann_close(ix);
}
END_TEST

START_TEST(strides)
{
    const float x[3][DIM + 3] = {{1, 2, 3, 4, NAN, NAN, NAN}, {5, 6, 7, 8, NAN, NAN, NAN},
                                 {9, 1, 1, 1, NAN, NAN, NAN}};
    ann_index *ix = make(kinds[_i], ANN_L2, ANN_F32, DIM);
    const ann_view v = {x, 3, DIM + 3, ANN_F32};
    float back[DIM], dists[3];
    ann_id ids[3];
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    p.k = 1;
    OK(ann_add(ix, v, NULL));
    for (ann_id i = 0; i < 3; i++) {
        OK(ann_get(ix, i, back));
        ck_assert(memcmp(back, x[i], sizeof back) == 0);
    }
    OK(ann_search(ix, v, &p, ids, dists));
    for (ann_id i = 0; i < 3; i++)
        ck_assert(ids[i] == i && dists[i] == 0);
    ann_close(ix);
    const uint8_t bits[2][5] = {{0xff, 0xff, 0xff, 9, 9}, {1, 2, 0xfc, 9, 9}};
    ix = make(kinds[_i], ANN_HAMMING, ANN_B1, 18);
    OK(ann_add(ix, (ann_view){bits, 2, 5, ANN_B1}, NULL));
    float ones[18], sum = 0;
    OK(ann_get(ix, 1, ones));
    for (int i = 0; i < 18; i++)
        sum += ones[i];
    ck_assert(sum == 2 && ones[0] == 1 && ones[9] == 1); /* bits behind the 18th do not count */
    ann_close(ix);
}
END_TEST

START_TEST(overflow)
{
    const float x[2][DIM] = {{1, 2, 3, 4}, {1, 65520, 3, 4}};
    const float good[2][DIM] = {{1, 2, 3, 4}, {1, 65519, 3, -65504}};
    ann_index *ix = make(kinds[_i], ANN_L2, ANN_F16, DIM);
    REFUSED(ix, ((ann_view){x, 2, 0, ANN_F32}), ANN_EINVAL, " 1: element 1 is 65520");
    OK(ann_add(ix, (ann_view){good, 2, 0, ANN_F32}, NULL));
    OK(ann_check(ix, ANN_CHECK_REACHABLE));
    ann_close(ix);
    const float most[1][DIM] = {{FLT_MAX, 0, 0, 0}};
    ix = make(kinds[_i], ANN_L2, ANN_BF16, DIM);
    REFUSED(ix, ((ann_view){most, 1, 0, ANN_F32}), ANN_EINVAL, "too large for bf16");
    ann_close(ix);
}
END_TEST

/* ------------------------------------------------------------------ */
/* Ids                                                                */
/* ------------------------------------------------------------------ */

START_TEST(identities)
{
    float x[4][DIM] = {{1, 2, 3, 4}, {2}, {3}, {4}};
    const ann_view v = {x, 4, 0, ANN_F32};
    ann_index *ix = with_vectors(kinds[_i], ANN_L2, 5);
    FAILS(ann_add(ix, v, (ann_id[]){7, 9, 8, 9}), ANN_EEXIST, "id 9 stands twice");
    FAILS(ann_update(ix, v, (ann_id[]){1, 9, 8, 1}), ANN_EEXIST, "id 1 stands twice");
    FAILS(ann_add(ix, v, (ann_id[]){7, 9, 8, 4}), ANN_EEXIST, "id 4 is in the index");
    FAILS(ann_add(ix, v, (ann_id[]){7, 9, ANN_NO_ID, 10}), ANN_EINVAL, "ids[2]");
    FAILS(ann_update(ix, v, (ann_id[]){7, 9, ANN_NO_ID, 10}), ANN_EINVAL, "ids[2]");
    FAILS(ann_update(ix, v, NULL), ANN_EINVAL, "NULL");
    ck_assert_uint_eq(count_of(ix), 5);
    ck_assert(!ann_contains(ix, 7) && !ann_contains(ix, ANN_NO_ID));
    float back[DIM] = {42, 42, 42, 42};
    FAILS(ann_get(ix, 7, back), ANN_ENOENT, "id 7");
    FAILS(ann_get(ix, ANN_NO_ID, back), ANN_ENOENT, "id");
    ck_assert(back[0] == 42 && back[3] == 42);
    size_t removed = 99;
    OK(ann_remove(ix, 4, (ann_id[]){3, 3, 77, ANN_NO_ID}, &removed));
    ck_assert_uint_eq(removed, 1);
    FAILS(ann_get(ix, 3, back), ANN_ENOENT, "id 3");
    OK(ann_remove(ix, 1, (ann_id[]){4}, NULL));
    OK(ann_remove(ix, 0, NULL, &removed));
    ck_assert_uint_eq(removed, 0);
    /* Numbers go on behind the highest so far, removed or not. */
    OK(ann_add(ix, (ann_view){x, 1, 0, ANN_F32}, NULL));
    ck_assert(ann_contains(ix, 5) && !ann_contains(ix, 4));
    OK(ann_add(ix, (ann_view){x, 1, 0, ANN_F32}, (ann_id[]){UINT64_MAX - 2}));
    OK(ann_add(ix, (ann_view){x, 1, 0, ANN_F32}, NULL));
    ck_assert(ann_contains(ix, UINT64_MAX - 1));
    FAILS(ann_add(ix, (ann_view){x, 1, 0, ANN_F32}, NULL), ANN_ELIMIT, "ids");
    OK(ann_add(ix, (ann_view){x, 1, 0, ANN_F32}, (ann_id[]){4}));
    OK(ann_check(ix, ANN_CHECK_REACHABLE));
    ann_close(ix);
}
END_TEST

/* ------------------------------------------------------------------ */
/* Searches                                                           */
/* ------------------------------------------------------------------ */

START_TEST(few_vectors)
{
    const float q[9][DIM] = {{1, 1, 1, 1}};
    for (size_t n = 0; n <= 2; n++) {
        ann_index *ix = with_vectors(kinds[_i], ANN_L2, n);
        ann_id ids[9 * 5];
        float dists[9 * 5];
        ann_search_params p = ANN_SEARCH_PARAMS_INIT;
        p.k = 5;
        for (size_t nq = 1; nq <= 9; nq += 8) {
            OK(ann_search(ix, (ann_view){q, nq, 0, ANN_F32}, &p, ids, dists));
            for (size_t i = 0; i < nq; i++)
                for (size_t j = 0; j < 5; j++) {
                    const bool there = j < n;
                    ck_assert((ids[i * 5 + j] != ANN_NO_ID) == there);
                    ck_assert(isinf(dists[i * 5 + j]) == !there);
                }
        }
        OK(ann_search(ix, (ann_view){q, 1, 0, ANN_F32}, &p, ids, NULL));
        OK(ann_search(ix, (ann_view){NULL, 0, 0, ANN_F32}, &p, NULL, NULL));
        ann_range_result r;
        OK(ann_search_range(ix, (ann_view){q, 2, 0, ANN_F32}, INFINITY, NULL, &r));
        ck_assert(r.nq == 2 && r.offsets[1] == n && r.offsets[2] == 2 * n);
        ann_range_free(&r);
        ann_range_free(&r);
        ann_range_free(NULL);
        ann_iter *it;
        size_t got = 9;
        OK(ann_iter_open(ix, q, ANN_F32, NULL, &it));
        OK(ann_iter_next(it, 5, ids, dists, &got));
        ck_assert_uint_eq(got, n);
        OK(ann_iter_next(it, 5, ids, NULL, &got));
        ck_assert_uint_eq(got, 0);
        ann_iter_close(it);
        ann_filter *f;
        OK(ann_filter_from_ids(ix, 0, NULL, &f));
        p.filter = f;
        OK(ann_search(ix, (ann_view){q, 9, 0, ANN_F32}, &p, ids, dists));
        ck_assert(ids[0] == ANN_NO_ID && ids[44] == ANN_NO_ID);
        ann_filter_close(f);
        size_t removed;
        OK(ann_remove(ix, 2, (ann_id[]){0, 1}, &removed));
        ck_assert_uint_eq(removed, n);
        OK(ann_compact(ix));
        OK(ann_check(ix, ANN_CHECK_REACHABLE));
        ck_assert_uint_eq(count_of(ix), 0);
        OK(ann_add(ix, (ann_view){q, 1, 0, ANN_F32}, NULL));
        ck_assert(ann_contains(ix, n));
        ann_close(ix);
    }
}
END_TEST

START_TEST(parameters)
{
    ann_index *ix = with_vectors(kinds[_i], ANN_L2, 20),
              *other = with_vectors(kinds[_i], ANN_L2, 3);
    const float q[DIM] = {1, 1, 1, 1};
    const ann_view v = {q, 1, 0, ANN_F32};
    ann_id ids[10];
    float dists[10];
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    p.k = ANN_K_MAX + 1;
    FAILS(ann_search(ix, v, &p, ids, dists), ANN_EINVAL, "k is 1048577");
    p.k = SIZE_MAX;
    FAILS(ann_search(ix, v, &p, ids, dists), ANN_EINVAL, "k is ");
    p.k = 0; /* 10 */
    OK(ann_search(ix, v, &p, ids, dists));
    ck_assert(ids[9] != ANN_NO_ID);
    p.effort = ANN_EFFORT_MAX + 1;
    FAILS(ann_search(ix, v, &p, ids, dists), ANN_EINVAL, "effort is 1048577");
    p.effort = ANN_EFFORT_MAX;
    OK(ann_search(ix, v, &p, ids, dists));
    p.effort = 1;
    OK(ann_search(ix, v, &p, ids, dists));
    ck_assert(ids[9] != ANN_NO_ID);
    p.threads = 1025;
    FAILS(ann_search(ix, v, &p, ids, dists), ANN_EINVAL, "threads is 1025");
    p.threads = 0;
    p.size = 3;
    FAILS(ann_search(ix, v, &p, ids, dists), ANN_EINVAL, "params.size is 3");
    p.size = sizeof p;
    ann_filter *f;
    OK(ann_filter_from_ids(other, 2, (ann_id[]){0, 1}, &f));
    p.filter = f;
    FAILS(ann_search(ix, v, &p, ids, dists), ANN_EINVAL, "another index");
    ann_filter_close(f);
    p.filter = NULL;
    FAILS(ann_search(NULL, v, &p, ids, dists), ANN_EINVAL, "NULL");
    FAILS(ann_search(ix, v, &p, NULL, dists), ANN_EINVAL, "NULL");
    ann_range_result r = {.nq = 5};
    FAILS(ann_search_range(ix, v, NAN, NULL, &r), ANN_EINVAL, "radius is NaN");
    FAILS(ann_search_range(NULL, v, 1, NULL, &r), ANN_EINVAL, "NULL");
    FAILS(ann_search_range(ix, v, 1, NULL, NULL), ANN_EINVAL, "NULL");
    ck_assert_uint_eq(r.nq, 5);
    OK(ann_search_range(ix, v, -1, NULL, &r));
    ck_assert_uint_eq(r.offsets[1], 0);
    ann_range_free(&r);
    /* k far beyond n */
    p.k = ANN_K_MAX;
    ann_id *many = malloc(ANN_K_MAX * sizeof *many);
    OK(ann_search(ix, v, &p, many, NULL));
    ck_assert(many[19] != ANN_NO_ID && many[20] == ANN_NO_ID &&
              many[ANN_K_MAX - 1] == ANN_NO_ID);
    free(many);
    ann_close(ix);
    ann_close(other);
}
END_TEST

static int pass_all(void *arg, ann_id id)
{
    (void)arg;
    (void)id;
    return 1;
}

START_TEST(nulls)
{
    ann_index *ix = with_vectors(kinds[_i], ANN_L2, 5);
    const float q[DIM] = {1, 1, 1, 1};
    const ann_view v = {q, 1, 0, ANN_F32};
    ann_searcher *s = NULL;
    ann_iter *it = NULL;
    ann_filter *f = NULL;
    size_t got = 7;
    uint64_t cursor = 0, bytes = 7;
    ann_id ids[4];
    float x[DIM];
    ann_info info = {.size = ANN_INFO_SIZE};
    ann_file_info file = {.size = sizeof file};
    ann_section_info section;
    ann_recall_report report = ANN_RECALL_REPORT_INIT;
    ann_options o = ANN_OPTIONS_INIT;
    FAILS(ann_add(NULL, v, NULL), ANN_EINVAL, "NULL");
    FAILS(ann_update(NULL, v, ids), ANN_EINVAL, "NULL");
    FAILS(ann_train(NULL, v), ANN_EINVAL, "NULL");
    FAILS(ann_remove(NULL, 0, NULL, NULL), ANN_EINVAL, "NULL");
    FAILS(ann_remove(ix, 1, NULL, &got), ANN_EINVAL, "NULL");
    FAILS(ann_get(NULL, 0, x), ANN_EINVAL, "NULL");
    FAILS(ann_get(ix, 0, NULL), ANN_EINVAL, "NULL");
    ck_assert(!ann_contains(NULL, 0));
    FAILS(ann_ids(NULL, &cursor, 4, ids, &got), ANN_EINVAL, "NULL");
    FAILS(ann_ids(ix, NULL, 4, ids, &got), ANN_EINVAL, "NULL");
    FAILS(ann_ids(ix, &cursor, 4, NULL, &got), ANN_EINVAL, "NULL");
    FAILS(ann_ids(ix, &cursor, 4, ids, NULL), ANN_EINVAL, "NULL");
    FAILS(ann_compact(NULL), ANN_EINVAL, "NULL");
    FAILS(ann_configure(NULL, &o), ANN_EINVAL, "NULL");
    FAILS(ann_configure(ix, NULL), ANN_EINVAL, "NULL");
    o.threads = 1025;
    FAILS(ann_configure(ix, &o), ANN_EINVAL, "threads is 1025");
    FAILS(ann_searcher_open(NULL, NULL, &s), ANN_EINVAL, "NULL");
    FAILS(ann_searcher_open(ix, NULL, NULL), ANN_EINVAL, "NULL");
    FAILS(ann_searcher_search(NULL, q, ANN_F32, ids, NULL), ANN_EINVAL, "NULL");
    FAILS(ann_iter_open(NULL, q, ANN_F32, NULL, &it), ANN_EINVAL, "NULL");
    FAILS(ann_iter_open(ix, NULL, ANN_F32, NULL, &it), ANN_EINVAL, "NULL");
    FAILS(ann_iter_open(ix, q, ANN_F32, NULL, NULL), ANN_EINVAL, "NULL");
    FAILS(ann_iter_next(NULL, 1, ids, NULL, &got), ANN_EINVAL, "NULL");
    FAILS(ann_filter_from_ids(NULL, 1, ids, &f), ANN_EINVAL, "NULL");
    FAILS(ann_filter_from_ids(ix, 1, NULL, &f), ANN_EINVAL, "NULL");
    FAILS(ann_filter_from_ids(ix, 1, ids, NULL), ANN_EINVAL, "NULL");
    FAILS(ann_filter_from_callback(ix, NULL, NULL, &f), ANN_EINVAL, "NULL");
    FAILS(ann_filter_from_callback(NULL, pass_all, NULL, &f), ANN_EINVAL, "NULL");
    ck_assert_uint_eq(ann_filter_count(NULL), 0);
    FAILS(ann_save(NULL, "x"), ANN_EINVAL, "NULL");
    FAILS(ann_save(ix, NULL), ANN_EINVAL, "NULL");
    ann_index *out = NULL;
    FAILS(ann_open(NULL, NULL, &out), ANN_EINVAL, "NULL");
    FAILS(ann_open("x", NULL, NULL), ANN_EINVAL, "NULL");
    FAILS(ann_index_info(NULL, &info), ANN_EINVAL, "NULL");
    FAILS(ann_index_info(ix, NULL), ANN_EINVAL, "NULL");
    info.size = 0;
    FAILS(ann_index_info(ix, &info), ANN_EINVAL, "info.size is 0");
    FAILS(ann_file_info_read(NULL, &file), ANN_EINVAL, "NULL");
    FAILS(ann_file_info_read("x", NULL), ANN_EINVAL, "NULL");
    FAILS(ann_file_section(NULL, 0, &section), ANN_EINVAL, "NULL");
    FAILS(ann_file_section("x", 0, NULL), ANN_EINVAL, "NULL");
    FAILS(ann_check(NULL, ANN_CHECK_SUMS), ANN_EINVAL, "NULL");
    FAILS(ann_check(ix, (ann_check_level)0), ANN_EINVAL, "level: 0");
    FAILS(ann_check(ix, (ann_check_level)4), ANN_EINVAL, "level: 4");
    FAILS(ann_recall(NULL, v, NULL, &report), ANN_EINVAL, "NULL");
    FAILS(ann_recall(ix, v, NULL, NULL), ANN_EINVAL, "NULL");
    FAILS(ann_recall(ix, (ann_view){q, 0, 0, ANN_F32}, NULL, &report), ANN_EINVAL, "queries");
    o.threads = 1;
    o.dim = 4;
    FAILS(ann_memory_estimate(NULL, 4, &bytes, NULL), ANN_EINVAL, "NULL");
    FAILS(ann_memory_estimate(&o, 4, NULL, NULL), ANN_EINVAL, "NULL");
    FAILS(ann_memory_estimate(&o, UINT64_MAX, &bytes, NULL), ANN_ELIMIT,
          "18446744073709551615");
    ck_assert(!s && !it && !f && !out && got == 7 && cursor == 0 && bytes == 7);
    ann_searcher_close(NULL);
    ann_iter_close(NULL);
    ann_filter_close(NULL);
    ck_assert_str_eq(ann_err_name((ann_err)1), ann_err_name((ann_err)-99));
    for (int e = 0; e >= ANN_ESTALE; e--)
        ck_assert(strncmp(ann_err_name((ann_err)e), "ANN_", 4) == 0);
    ann_close(ix);
}
END_TEST

START_TEST(stale)
{
    ann_index *ix = with_vectors(kinds[_i], ANN_L2, 50);
    const float q[DIM] = {1, 1, 1, 1};
    ann_filter *f;
    ann_iter *it;
    ann_searcher *s;
    ann_id ids[10], before[10];
    size_t got = 77;
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    OK(ann_filter_from_callback(ix, pass_all, NULL, &f));
    ck_assert_uint_eq(ann_filter_count(f), 50);
    OK(ann_iter_open(ix, q, ANN_F32, NULL, &it));
    OK(ann_iter_next(it, 3, ids, NULL, &got));
    p.filter = f;
    OK(ann_searcher_open(ix, &p, &s));
    OK(ann_searcher_search(s, q, ANN_F32, ids, NULL));
    OK(ann_remove(ix, 1, (ann_id[]){0}, NULL));
    OK(ann_compact(ix));
    memset(ids, 0x55, sizeof ids);
    memcpy(before, ids, sizeof ids);
    got = 77;
    ann_range_result r = {.nq = 7};
    FAILS(ann_search(ix, (ann_view){q, 1, 0, ANN_F32}, &p, ids, NULL), ANN_ESTALE, "compacted");
    FAILS(ann_searcher_search(s, q, ANN_F32, ids, NULL), ANN_ESTALE, "compacted");
    FAILS(ann_iter_next(it, 3, ids, NULL, &got), ANN_ESTALE, "compacted");
    FAILS(ann_search_range(ix, (ann_view){q, 1, 0, ANN_F32}, 5, &p, &r), ANN_ESTALE,
          "compacted");
    ck_assert(memcmp(ids, before, sizeof ids) == 0 && got == 77 && r.nq == 7);
    ann_searcher_close(s);
    ann_iter_close(it);
    ann_filter_close(f);
    ann_close(ix);
}
END_TEST

/* ------------------------------------------------------------------ */
/* Limits and progress                                                */
/* ------------------------------------------------------------------ */

START_TEST(max_memory)
{
    ann_options o = options(kinds[_i], ANN_L2, ANN_F32, DIM);
    uint64_t bytes, peak;
    OK(ann_memory_estimate(&o, 100, &bytes, &peak));
    ck_assert(bytes > 0 && peak >= bytes);
    o.max_memory = peak;
    ann_index *ix;
    struct oracle_data d = oracle_data(SHAPE_GAUSSIAN, ANN_F32, 101, DIM, 1);
    OK(ann_create(&o, &ix));
    FAILS(ann_add(ix, d.view, NULL), ANN_ELIMIT, "max_memory");
    ck_assert_uint_eq(count_of(ix), 0);
    d.view.n = 100;
    OK(ann_add(ix, d.view, NULL));
    d.view.n = 1;
    FAILS(ann_add(ix, d.view, NULL), ANN_ELIMIT, "101 vectors");
    OK(ann_remove(ix, 1, (ann_id[]){5}, NULL));
    OK(ann_compact(ix));
    OK(ann_add(ix, d.view, NULL));
    o.max_memory = 0;
    OK(ann_configure(ix, &o));
    OK(ann_add(ix, d.view, NULL));
    OK(ann_check(ix, ANN_CHECK_REACHABLE));
    ann_close(ix);
    oracle_data_free(&d);
}
END_TEST

struct stop {
    uint64_t at, calls;
    uint64_t last_done;
};

static int stop_at(void *arg, const char *what, uint64_t done, uint64_t total)
{
    struct stop *s = arg;
    ck_assert(what && *what && done <= total && done >= s->last_done);
    s->last_done = done;
    return ++s->calls == s->at;
}

/* All answers of 10 queries as bytes, to compare. */
static void answers(const ann_index *ix, const ann_view *q, ann_id *ids, float *dists)
{
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    p.k = 300; /* everything: order and all */
    OK(ann_search(ix, (ann_view){q->data, 10, 0, ANN_F32}, &p, ids, dists));
}

/* Stops an add (or update) at each call of the callback in turn. */
START_TEST(cancel)
{
    const bool update = _i & 1, empty = _i & 2;
    struct oracle_data first = oracle_data(SHAPE_CLUSTERS, ANN_F32, 120, DIM, 1);
    struct oracle_data second = oracle_data(SHAPE_CLUSTERS, ANN_F32, 150, DIM, 2);
    ann_id given[150], ids[3000], now[3000];
    float dists[3000], later[3000];
    char *folder = folder_make(), *path = in_folder(folder, "x.kith");
    for (ann_id i = 0; i < 150; i++)
        given[i] = update ? 60 + i : 1000 + i;
    bool done = false;
    for (uint64_t at = 1; !done; at++) {
        struct stop stop = {.at = at};
        ann_options o = options(ANN_HNSW, ANN_L2, ANN_F32, DIM);
        ann_index *ix, *copy;
        OK(ann_create(&o, &ix));
        if (!empty)
            OK(ann_add(ix, first.view, NULL));
        answers(ix, &second.view, ids, dists);
        o.progress = stop_at;
        o.progress_arg = &stop;
        OK(ann_configure(ix, &o));
        const ann_err err = update ? ann_update(ix, second.view, given)
                                   : ann_add(ix, second.view, at % 2 ? given : NULL);
        done = err == ANN_OK;
        if (done) {
            ck_assert_msg(at > 1, "the callback was never called");
        } else {
            FAILS(err, ANN_ECANCELED, "canceled after");
            ck_assert_uint_eq(count_of(ix), empty ? 0 : 120);
            answers(ix, &second.view, now, later);
            ck_assert(memcmp(ids, now, sizeof ids) == 0 &&
                      memcmp(dists, later, sizeof dists) == 0);
        }
        OK(ann_check(ix, ANN_CHECK_REACHABLE));
        o.progress = NULL;
        OK(ann_configure(ix, &o));
        for (ann_open_mode mode = ANN_OPEN_LOAD; mode <= ANN_OPEN_MAP; mode++) {
            ann_open_options open = ANN_OPEN_OPTIONS_INIT;
            open.mode = mode;
            OK(ann_save(ix, path));
            OK(ann_open(path, &open, &copy));
            OK(ann_check(copy, ANN_CHECK_REACHABLE));
            ck_assert_uint_eq(count_of(copy), count_of(ix));
            OK(ann_add(copy, first.view, NULL));
            OK(ann_check(copy, ANN_CHECK_REACHABLE));
            ann_close(copy);
        }
        if (!done) {
            OK(update ? ann_update(ix, second.view, given) : ann_add(ix, second.view, given));
            OK(ann_check(ix, ANN_CHECK_REACHABLE));
            ck_assert_uint_eq(count_of(ix), empty ? 150 : update ? 210 : 270);
        }
        OK(ann_compact(ix));
        OK(ann_check(ix, ANN_CHECK_REACHABLE));
        ann_close(ix);
    }
    oracle_data_free(&first);
    oracle_data_free(&second);
    folder_remove(folder);
    free(path);
}
END_TEST

/* A canceled save leaves the old file, a canceled open leaves nothing. */
START_TEST(cancel_file)
{
    ann_index *ix = with_vectors(kinds[_i], ANN_L2, 500), *copy = NULL;
    char *folder = folder_make(), *path = in_folder(folder, "x.kith");
    OK(ann_save(ix, path));
    size_t len, len2;
    uint8_t *old = file_read(path, &len);
    OK(ann_remove(ix, 1, (ann_id[]){3}, NULL));
    struct stop stop = {.at = 1};
    ann_options o = options(kinds[_i], ANN_L2, ANN_F32, DIM);
    o.progress = stop_at;
    o.progress_arg = &stop;
    OK(ann_configure(ix, &o));
    FAILS(ann_save(ix, path), ANN_ECANCELED, "x.kith");
    ck_assert_int_eq(folder_count(folder), 1);
    uint8_t *now = file_read(path, &len2);
    ck_assert(len == len2 && memcmp(old, now, len) == 0);
    ann_open_options open = ANN_OPEN_OPTIONS_INIT;
    open.progress = stop_at;
    open.progress_arg = &stop;
    stop = (struct stop){.at = 1};
    FAILS(ann_open(path, &open, &copy), ANN_ECANCELED, "x.kith");
    ck_assert_ptr_null(copy);
    free(old);
    free(now);
    ann_close(ix);
    folder_remove(folder);
    free(path);
}
END_TEST

START_TEST(files)
{
    ann_index *ix = with_vectors(kinds[_i], ANN_L2, 50), *copy = NULL;
    char *folder = folder_make(), *path = in_folder(folder, "x.kith");
    ann_file_info info = {.size = sizeof info};
    ann_section_info section;
    FAILS(ann_open(path, NULL, &copy), ANN_ENOENT, "x.kith");
    FAILS(ann_file_info_read(path, &info), ANN_ENOENT, "x.kith");
    FAILS(ann_file_section(path, 0, &section), ANN_ENOENT, "x.kith");
    FAILS(ann_open(folder, NULL, &copy), ANN_EFORMAT, "folder");
    FAILS(ann_save(ix, folder), ANN_EINVAL, "folder");
    FAILS(ann_save(ix, "no/such/folder/x"), ANN_ENOENT, "no/such/folder");
    file_write(path, (const uint8_t *)"Hello, world, how are you today?", 32);
    FAILS(ann_open(path, NULL, &copy), ANN_EFORMAT, "x.kith");
    file_write(path, (const uint8_t *)"", 0);
    FAILS(ann_open(path, NULL, &copy), ANN_EFORMAT, "empty");
    OK(ann_save(ix, path));
    ann_open_options o = ANN_OPEN_OPTIONS_INIT;
    o.max_memory = 100;
    FAILS(ann_open(path, &o, &copy), ANN_ELIMIT, "100");
    o.max_memory = 0;
    o.mode = (ann_open_mode)2;
    FAILS(ann_open(path, &o, &copy), ANN_EINVAL, "mode: 2");
    o.mode = ANN_OPEN_LOAD;
    o.threads = 1025;
    FAILS(ann_open(path, &o, &copy), ANN_EINVAL, "threads is 1025");
    o.threads = 0;
    o.size = 1;
    FAILS(ann_open(path, &o, &copy), ANN_EINVAL, "options.size is 1");
    OK(ann_file_info_read(path, &info));
    ck_assert(info.kind == kinds[_i] && info.count == 50 && info.dim == DIM && info.seed == 0);
    FAILS(ann_file_section(path, info.sections, &section), ANN_EINVAL, "section");
    uint64_t total = 0;
    for (uint32_t i = 0; i < info.sections; i++) {
        OK(ann_file_section(path, i, &section));
        ck_assert(section.bytes == section.rows * section.row_bytes);
        total += section.bytes;
    }
    ck_assert(total > 50 * DIM * 4 && total < info.file_bytes);
    ck_assert_ptr_null(copy);
    ann_close(ix);
    folder_remove(folder);
    free(path);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("errors");
    tcase_add_test(tc, create);
    tcase_add_loop_test(tc, spec, 0, (int)(sizeof specs / sizeof *specs));
    tcase_add_test(tc, spec_all);
    tcase_add_test(tc, spec_profile);
    tcase_add_test(tc, profiles);
    tcase_add_loop_test(tc, values, 0, 2);
    tcase_add_loop_test(tc, zero_vectors, 0, 2);
    tcase_add_loop_test(tc, huge_values, 0, 2);
    tcase_add_loop_test(tc, dims, 0, 2);
    tcase_add_loop_test(tc, integer_extremes, 0, 2);
    tcase_add_loop_test(tc, types, 0, 2);
    tcase_add_loop_test(tc, strides, 0, 2);
    tcase_add_loop_test(tc, overflow, 0, 2);
    tcase_add_loop_test(tc, identities, 0, 2);
    tcase_add_loop_test(tc, few_vectors, 0, 2);
    tcase_add_loop_test(tc, parameters, 0, 2);
    tcase_add_loop_test(tc, nulls, 0, 2);
    tcase_add_loop_test(tc, stale, 0, 2);
    tcase_add_loop_test(tc, max_memory, 0, 2);
    tcase_add_loop_test(tc, cancel, 0, 4);
    tcase_add_loop_test(tc, cancel_file, 0, 2);
    tcase_add_loop_test(tc, files, 0, 2);
    Suite *s = suite_create("errors");
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    const int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
