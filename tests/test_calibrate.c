/* test_calibrate.c - recall by number: what is delivered to queries that the calibration did
 * not see, what is refused, what a file keeps, and when a calibration ends. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/rng.h"
#include "ann/internal.h"
#include "tests/kfile_sample.h"

#define DIM 24
#define N 2400
#define NQ 300
#define K 10

#define OK(call)                                                                               \
    do {                                                                                       \
        const ann_err err_ = (call);                                                           \
        ck_assert_msg(err_ == ANN_OK, "%s: %s", ann_err_name(err_), ann_error_message());      \
    } while (0)

#define FAILS(call, want, with)                                                                \
    do {                                                                                       \
        const ann_err err_ = (call);                                                           \
        ck_assert_msg(err_ == (want), "%s, not %s: %s", ann_err_name(err_),                    \
                      ann_err_name(want), ann_error_message());                                \
        ck_assert_msg(strstr(ann_error_message(), with), "no \"%s\" in: %s", with,             \
                      ann_error_message());                                                    \
    } while (0)

/* ---- data: clusters whose spread differs, so that some queries are harder than others ---- */

static float gaussian(uint64_t *random)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += rng_unit(random);
    return (float)sum;
}

/* Rows [n, DIM] of type; the first ones are the same for any n. */
static void *rows_of(ann_dtype type, size_t n, uint64_t seed)
{
    uint64_t random = seed;
    float centres[40][DIM];
    for (size_t c = 0; c < 40; c++)
        for (size_t j = 0; j < DIM; j++)
            centres[c][j] = 2 * gaussian(&random);
    char *rows = calloc(n, DIM * sizeof(float));
    for (size_t i = 0; i < n; i++) {
        const size_t c = rng_below(&random, 40);
        const float spread = 0.5f + (float)(c % 4) / 2;
        for (size_t j = 0; j < DIM; j++) {
            const float x = centres[c][j] + spread * gaussian(&random);
            if (type == ANN_F32)
                ((float *)(void *)rows)[i * DIM + j] = x;
            else if (type == ANN_B1)
                rows[i * (DIM / 8) + j / 8] |= (char)((x > 0) << (j % 8));
            else
                rows[i * DIM + j] =
                    (char)lrintf(fminf(fmaxf(12 * x, -100), 100) + (type == ANN_U8 ? 128 : 0));
        }
    }
    return rows;
}

static size_t row_bytes(ann_dtype type)
{
    return type == ANN_F32 ? DIM * sizeof(float) : type == ANN_B1 ? DIM / 8 : DIM;
}

struct set {
    ann_dtype type;
    char *rows;     /* [N + 2 * NQ]: the base, queries to calibrate with, queries to judge by */
    ann_index *ix;
};

static ann_view view_of(const struct set *s, size_t from, size_t n)
{
    return (ann_view){s->rows + from * row_bytes(s->type), n, 0, s->type};
}

static struct set set_make(const char *spec, ann_dtype type)
{
    struct set s = {.type = type, .rows = rows_of(type, N + 2 * NQ, 7)};
    ann_options o = ANN_OPTIONS_INIT;
    OK(ann_options_parse(&o, spec));
    o.dim = DIM;
    o.threads = 2;
    o.m = o.m ? o.m : 4; /* a poor graph, so that recall takes effort */
    o.ef_construction = 24;
    OK(ann_create(&o, &s.ix));
    OK(ann_train(s.ix, view_of(&s, 0, N)));
    OK(ann_add(s.ix, view_of(&s, 0, N), NULL));
    return s;
}

/* A graph of the first n of so many rows. */
static struct set set_of(size_t rows, size_t n, uint32_t m, uint32_t ef_construction)
{
    struct set s = {.type = ANN_F32, .rows = rows_of(ANN_F32, rows, 7)};
    ann_options o = ANN_OPTIONS_INIT;
    o.dim = DIM;
    o.m = m;
    o.ef_construction = ef_construction;
    o.threads = 2;
    OK(ann_create(&o, &s.ix));
    OK(ann_add(s.ix, view_of(&s, 0, n), NULL));
    return s;
}

static void set_free(struct set *s)
{
    ann_close(s->ix);
    free(s->rows);
}

static ann_recall_report judge(const struct set *s, double recall, size_t k)
{
    ann_recall_report r = ANN_RECALL_REPORT_INIT;
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    p.recall = recall;
    p.k = k;
    OK(ann_recall(s->ix, view_of(s, N + NQ, NQ), &p, &r));
    return r;
}

/* ---- what is delivered ---- */

static const struct {
    const char *spec;
    ann_dtype type;
} indexes[] = {
    {"hnsw", ANN_F32},
    {"hnsw,metric=cosine,store=f16", ANN_F32},
    {"hnsw,metric=ip,codes=none", ANN_F32},
    {"hnsw,profile=fast", ANN_F32},
    {"hnsw,profile=lean", ANN_F32},
    {"hnsw,store=u8", ANN_U8},
    {"hnsw,store=i8,metric=cosine", ANN_I8},
    {"hnsw,store=b1", ANN_B1},
    {"ivfpq", ANN_F32},
    {"ivfpq,metric=cosine,store=f16,pq_bits=8,rotation=opq", ANN_F32},
    {"ivfpq,metric=ip,soar=1,nlist=60", ANN_F32},
    {"ivfpq,profile=lean", ANN_F32},
};

/* The means of NQ queries are known to about 0.015 here, and so is what was calibrated. */
static void delivers(const struct set *s, const char *spec, double below, double above)
{
    static const double asked[] = {0.8, 0.9, 0.95, 0.99};
    size_t least, effort;
    OK(ann_effort_for(s->ix, 1e-9, K, &least));
    for (size_t a = 0; a < 4; a++) {
        const ann_recall_report r = judge(s, asked[a], K);
        OK(ann_effort_for(s->ix, asked[a], K, &effort));
        ck_assert_msg(r.recall >= asked[a] - below, "%s: %g asked, %g delivered by effort %zu",
                      spec, asked[a], r.recall, effort);
        ck_assert_msg(effort == least || r.recall <= asked[a] + above,
                      "%s: %g asked, %g delivered by effort %zu", spec, asked[a], r.recall,
                      effort);
    }
    for (size_t k = 1; k <= 150; k = 3 * k) { /* curves at 1, 10, 100; between and beyond */
        const ann_recall_report r = judge(s, 0.9, k);
        const double room = below + (k > 1 ? 0.03 : 0);
        ck_assert_msg(r.recall >= 0.9 - room, "%s: 0.9 asked at k %zu, %g", spec, k, r.recall);
    }
}

START_TEST(delivered)
{
    const char *spec = indexes[_i].spec;
    struct set s = set_make(spec, indexes[_i].type);
    ann_calibration c = ANN_CALIBRATION_INIT;
    OK(ann_calibrate(s.ix, view_of(&s, N, NQ), &c));
    ck_assert(c.queries == NQ && c.k == K && c.recall >= 0.99 && c.confidence == 0.95);
    delivers(&s, spec, 0.03, 0.05);
    size_t given, sampled;
    OK(ann_effort_for(s.ix, 0.9, 1, &given));
    c.queries = NQ / 2; /* of its own vectors: not quite queries */
    OK(ann_calibrate(s.ix, (ann_view){0}, &c));
    ck_assert(c.queries == NQ / 2 && c.recall >= 0.99);
    OK(ann_effort_for(s.ix, 0.9, 1, &sampled));
    ck_assert_msg(_i > 1 || 2 * sampled <= 3 * given + 2, /* hidden ones alone: 2.5 times */
                  "%s: effort %zu for k = 1, %zu by queries", spec, sampled, given);
    /* Lists have learned from these very vectors: a few for each, which lie nearer than others. */
    delivers(&s, spec, strncmp(spec, "ivfpq", 5) ? 0.05 : 0.08, 0.12);
    set_free(&s);
}
END_TEST

/* What is said to be at least reached is, but for about one in twenty. */
START_TEST(bounds)
{
    enum { FEW = 500, SOME = 60, MANY = 1200, TURNS = 20 };
    struct set s = set_of(FEW + MANY, FEW, 3, 8);
    OK(ann_calibrate(s.ix, view_of(&s, FEW, MANY), NULL));
    const struct calibration all = s.ix->calibration;
    uint32_t compared = 0, wrong = 0;
    for (size_t turn = 0; turn < TURNS; turn++) {
        OK(ann_calibrate(s.ix, view_of(&s, FEW + turn * SOME, SOME), NULL));
        const struct calibration *few = &s.ix->calibration;
        for (uint32_t i = 0; i < few->n; i++)
            for (uint32_t j = 0; j < all.n; j++)
                if (few->points[i].k == all.points[j].k &&
                    few->points[i].effort == all.points[j].effort &&
                    all.points[j].recall < 0.995) {
                    compared++;
                    wrong += few->points[i].low > all.points[j].recall;
                }
    }
    ck_assert_uint_gt(compared, 200);
    ck_assert_msg(20 * wrong < 2 * compared && 200 * wrong > compared, "%u of %u are less",
                  wrong, compared);
    set_free(&s);
}
END_TEST

/* Unless so many are asked for, as many are sampled as tell every mean to within 0.005 with the
 * confidence: of single neighbours, which are found or not, more than 2,000. */
START_TEST(sampled_enough)
{
    enum { LARGE = 20000 };
    struct set s = set_of(LARGE, LARGE, 8, 0);
    double widest[2] = {0};
    for (size_t i = 0; i < 2; i++) {
        ann_calibration c = ANN_CALIBRATION_INIT;
        c.queries = i == 0 ? 0 : 2000;
        OK(ann_calibrate(s.ix, (ann_view){0}, &c));
        ck_assert_uint_eq(c.queries, i == 0 ? 8000 : 2000);
        for (const struct curve_point *p = s.ix->calibration.points; p->k == 1; p++)
            widest[i] = fmax(widest[i], p->recall - p->low);
    }
    ck_assert_msg(widest[0] < 0.013 && widest[1] > 0.018, "%g by many, %g by 2000", widest[0],
                  widest[1]);
    set_free(&s);
}
END_TEST

/* More recall never takes less effort, and what comes of any k can be asked for. */
START_TEST(curves)
{
    struct set s = set_make("hnsw", ANN_F32);
    ann_calibration c = ANN_CALIBRATION_INIT;
    c.k = 30;
    OK(ann_calibrate(s.ix, view_of(&s, N, 200), &c));
    ck_assert(c.k == 30 && c.queries == 200);
    size_t before = 0, effort = 0;
    for (int r = 1; r <= 990; r++) {
        OK(ann_effort_for(s.ix, r / 1000.0, 30, &effort));
        ck_assert_uint_ge(effort, before);
        before = effort;
    }
    for (size_t k = 1; k <= 100; k += 1 + k / 8) {
        OK(ann_effort_for(s.ix, 0.95, k, &effort));
        ck_assert(effort >= 1 && effort <= N);
    }
    OK(ann_effort_for(s.ix, 0.95, ANN_K_MAX, &effort));
    ck_assert_uint_le(effort, ANN_EFFORT_MAX);
    ann_info info = {.size = ANN_INFO_SIZE};
    OK(ann_index_info(s.ix, &info));
    ck_assert(info.calibrated_recall >= 0.999);
    set_free(&s);
}
END_TEST

/* Unless told otherwise a search of a calibrated index takes what 0.95 takes. */
START_TEST(by_default)
{
    struct set s = set_make("hnsw", ANN_F32);
    ann_search_stats stats[3] = {{0}};
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_id ids[NQ * K];
    OK(ann_calibrate(s.ix, view_of(&s, N, NQ), NULL));
    for (int i = 0; i < 3; i++) {
        p.stats = &stats[i];
        p.recall = i == 1 ? 0.95 : 0;
        if (i == 2)
            OK(ann_effort_for(s.ix, 0.95, K, &p.effort));
        OK(ann_search(s.ix, view_of(&s, N + NQ, NQ), &p, ids, NULL));
    }
    ck_assert_uint_eq(stats[0].distances, stats[1].distances);
    /* The effort is rounded up. */
    ck_assert_uint_ge(stats[2].distances, stats[1].distances);
    ck_assert_uint_le(stats[2].distances, stats[1].distances + stats[1].distances / 10);
    set_free(&s);
}
END_TEST

/* Range and iterator take the effort of their recall for as many as they look for. */
START_TEST(range_and_iterator)
{
    struct set s = set_make("hnsw", ANN_F32);
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_range_result few, all;
    ann_iter *it = NULL;
    ann_id ids[N];
    size_t got;
    const ann_view one = view_of(&s, N, 1), some = view_of(&s, N + NQ, NQ);
    p.recall = 0.9;
    FAILS(ann_search_range(s.ix, one, 20, &p, &few), ANN_EUNTRAINED, "not calibrated");
    FAILS(ann_iter_open(s.ix, one.data, ANN_F32, &p, &it), ANN_EUNTRAINED, "not calibrated");
    OK(ann_calibrate(s.ix, view_of(&s, N, NQ), NULL));
    OK(ann_search_range(s.ix, some, 20, &p, &few));
    p.recall = 0;
    p.effort = N;
    OK(ann_search_range(s.ix, some, 20, &p, &all));
    ck_assert_uint_gt(all.offsets[NQ], 2 * NQ);
    double mean = 0; /* of each query's share */
    for (size_t i = 0; i < NQ; i++) {
        const double n = (double)(few.offsets[i + 1] - few.offsets[i]);
        const double of = (double)(all.offsets[i + 1] - all.offsets[i]);
        mean += (of > 0 ? n / of : 1) / NQ;
    }
    ck_assert_msg(mean >= 0.9 - 0.03, "%g", mean);
    ann_range_free(&few);
    ann_range_free(&all);
    p.effort = 0;
    p.recall = 0.9;
    OK(ann_iter_open(s.ix, one.data, ANN_F32, &p, &it));
    OK(ann_iter_next(it, N, ids, NULL, &got)); /* to the last, whatever the recall */
    ck_assert_uint_eq(got, N);
    ann_iter_close(it);
    set_free(&s);
}
END_TEST

/* ---- what is refused ---- */

static int stop_calibrating(void *arg, const char *what, uint64_t done, uint64_t total)
{
    ck_assert(done <= total);
    int *left = arg;
    return strcmp(what, "calibrate") == 0 && --*left < 0;
}

START_TEST(refused)
{
    struct set s = set_make("hnsw", ANN_F32);
    const ann_view q = view_of(&s, N, 50), none = {0};
    ann_calibration c = ANN_CALIBRATION_INIT;
    size_t effort = 77;
    FAILS(ann_calibrate(NULL, q, NULL), ANN_EINVAL, "NULL");
    FAILS(ann_effort_for(NULL, 0.9, K, &effort), ANN_EINVAL, "NULL");
    FAILS(ann_effort_for(s.ix, 0.9, K, NULL), ANN_EINVAL, "NULL");
    FAILS(ann_effort_for(s.ix, 0.9, K, &effort), ANN_EUNTRAINED, "not calibrated");
    FAILS(ann_effort_for(s.ix, 0, K, &effort), ANN_EINVAL, "recall is 0");
    FAILS(ann_effort_for(s.ix, 1.01, K, &effort), ANN_EINVAL, "recall is 1.01");
    FAILS(ann_effort_for(s.ix, NAN, K, &effort), ANN_EINVAL, "nan");
    FAILS(ann_effort_for(s.ix, 0.9, 0, &effort), ANN_EINVAL, "k is 0");
    FAILS(ann_effort_for(s.ix, 0.9, ANN_K_MAX + 1, &effort), ANN_EINVAL, "k is 1048577");
    c.k = N;
    FAILS(ann_calibrate(s.ix, q, &c), ANN_EINVAL, "too few to calibrate for k = 2400");
    c.k = ANN_K_MAX + 1;
    FAILS(ann_calibrate(s.ix, q, &c), ANN_EINVAL, "k is 1048577");
    c.k = 0;
    c.queries = 100001;
    FAILS(ann_calibrate(s.ix, none, &c), ANN_EINVAL, "queries is 100001");
    c.queries = 0;
    c.confidence = 1;
    FAILS(ann_calibrate(s.ix, none, &c), ANN_EINVAL, "confidence is 1");
    c.confidence = -0.9;
    FAILS(ann_calibrate(s.ix, none, &c), ANN_EINVAL, "confidence is -0.9");
    c.confidence = NAN;
    FAILS(ann_calibrate(s.ix, none, &c), ANN_EINVAL, "nan");
    c.confidence = 0;
    c.size = 0;
    FAILS(ann_calibrate(s.ix, none, &c), ANN_EINVAL, "size is 0");
    c.size = sizeof c;
    float bad[DIM] = {1, 2, INFINITY};
    FAILS(ann_calibrate(s.ix, (ann_view){bad, 1, 0, ANN_F32}, &c), ANN_EINVAL, "query 0");
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_id ids[K] = {0};
    const double wrong[] = {-0.1, 1.1, NAN, INFINITY};
    for (size_t i = 0; i < 4; i++) {
        p.recall = wrong[i];
        FAILS(ann_search(s.ix, view_of(&s, N, 1), &p, ids, NULL), ANN_EINVAL, "recall is");
    }
    p.recall = 0.9;
    FAILS(ann_search(s.ix, view_of(&s, N, 1), &p, ids, NULL), ANN_EUNTRAINED, "calibrated");
    p.effort = 9;
    FAILS(ann_search(s.ix, view_of(&s, N, 1), &p, ids, NULL), ANN_EINVAL, "give one of them");
    ck_assert(effort == 77 && ids[0] == 0);

    /* Stopped at any moment: what there was stays. */
    OK(ann_calibrate(s.ix, q, NULL));
    OK(ann_effort_for(s.ix, 0.95, K, &effort));
    ann_options o = ANN_OPTIONS_INIT;
    int left;
    o.threads = 2;
    o.progress = stop_calibrating;
    o.progress_arg = &left;
    OK(ann_configure(s.ix, &o));
    for (int calls = 0; calls < 20; calls += 3) {
        left = calls;
        c.queries = 40;
        c.recall = -1;
        FAILS(ann_calibrate(s.ix, none, &c), ANN_ECANCELED, "canceled");
        size_t now;
        OK(ann_effort_for(s.ix, 0.95, K, &now));
        ck_assert(now == effort && c.recall == -1 && c.queries == 40);
    }
    set_free(&s);
}
END_TEST

START_TEST(flat_and_small)
{
    struct set s = {.type = ANN_F32, .rows = rows_of(ANN_F32, 40, 7)};
    ann_options o = ANN_OPTIONS_INIT;
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_id ids[K];
    size_t effort;
    o.dim = DIM;
    o.kind = ANN_FLAT;
    OK(ann_create(&o, &s.ix));
    OK(ann_add(s.ix, view_of(&s, 0, 20), NULL));
    FAILS(ann_calibrate(s.ix, (ann_view){0}, NULL), ANN_ENOTSUP, "always exact");
    FAILS(ann_effort_for(s.ix, 0.9, K, &effort), ANN_ENOTSUP, "always exact");
    p.recall = 0.9; /* more than fulfilled */
    OK(ann_search(s.ix, view_of(&s, 30, 1), &p, ids, NULL));
    ann_close(s.ix);
    o.kind = ANN_HNSW;
    OK(ann_create(&o, &s.ix));
    FAILS(ann_calibrate(s.ix, (ann_view){0}, NULL), ANN_EINVAL, "0 vectors are too few");
    OK(ann_add(s.ix, view_of(&s, 0, 1), NULL));
    FAILS(ann_calibrate(s.ix, (ann_view){0}, NULL), ANN_EINVAL, "1 vectors are too few");
    for (size_t n = 1; n < 30; n += 1 + n / 2) {
        ann_calibration c = ANN_CALIBRATION_INIT;
        OK(ann_add(s.ix, view_of(&s, n, 1 + n / 2), NULL));
        c.k = 1;
        OK(ann_calibrate(s.ix, (ann_view){0}, &c));
        ck_assert(c.recall == 1 && c.queries == (n + 1 + n / 2) / 2);
        OK(ann_calibrate(s.ix, view_of(&s, 30, 5), &c));
        OK(ann_effort_for(s.ix, 1, 1, &effort));
    }
    p.recall = 1;
    OK(ann_search(s.ix, view_of(&s, 30, 1), &p, ids, NULL));
    set_free(&s);
}
END_TEST

/* ---- kept, and ended ---- */

static ann_err reopen(ann_index **ix, const char *path, ann_open_mode mode)
{
    ann_open_options o = ANN_OPEN_OPTIONS_INIT;
    o.mode = mode;
    ann_close(*ix);
    *ix = NULL;
    return ann_open(path, &o, ix);
}

static void same_curve(const struct calibration *a, const struct calibration *b)
{
    ck_assert(a->n == b->n && a->queries == b->queries && a->live == b->live);
    for (uint32_t i = 0; i < a->n; i++) {
        const struct curve_point *p = &a->points[i], *q = &b->points[i];
        ck_assert_msg(memcmp(p, q, sizeof *p) == 0,
                      "k %u effort %u: %.17g from %.17g on by %g, k %u effort %u: %.17g, %.17g, %g",
                      p->k, p->effort, p->recall, p->low, p->distances, q->k, q->effort,
                      q->recall, q->low, q->distances);
    }
}

START_TEST(in_the_file)
{
    struct set s = set_make("hnsw", ANN_F32);
    char *folder = folder_make(), *path = in_folder(folder, "a.kith");
    ann_calibration c = ANN_CALIBRATION_INIT;
    size_t want[3][50], got;
    c.seed = 5;
    c.queries = 100;
    OK(ann_calibrate(s.ix, (ann_view){0}, &c));
    for (size_t r = 0; r < 50; r++)
        for (size_t k = 0; k < 3; k++)
            OK(ann_effort_for(s.ix, 0.5 + (double)r / 110, 1 + 7 * k, &want[k][r]));
    for (int turn = 0; turn < 4; turn++) {
        OK(ann_save(s.ix, path));
        OK(reopen(&s.ix, path, turn % 2 ? ANN_OPEN_LOAD : ANN_OPEN_MAP));
        for (size_t r = 0; r < 50; r++)
            for (size_t k = 0; k < 3; k++) {
                OK(ann_effort_for(s.ix, 0.5 + (double)r / 110, 1 + 7 * k, &got));
                ck_assert_uint_eq(got, want[k][r]);
            }
    }
    OK(ann_check(s.ix, ANN_CHECK_REACHABLE));
    /* The same again: any number of threads, the same curve. */
    ann_options o = ANN_OPTIONS_INIT;
    const struct calibration before = s.ix->calibration;
    for (o.threads = 1; o.threads <= 3; o.threads++) {
        OK(ann_configure(s.ix, &o));
        OK(ann_calibrate(s.ix, (ann_view){0}, &c));
        same_curve(&before, &s.ix->calibration);
    }
    c.seed = 6;
    OK(ann_calibrate(s.ix, (ann_view){0}, &c));
    ck_assert(memcmp(&before, &s.ix->calibration, sizeof before) != 0);
    set_free(&s);
    folder_remove(folder);
    free(path);
}
END_TEST

/* A quarter of the vectors may change, over files and compactions too; one more ends it. */
START_TEST(changes_end_it)
{
    struct set s = set_make("hnsw", ANN_F32);
    char *folder = folder_make(), *path = in_folder(folder, "a.kith");
    ann_info info = {.size = ANN_INFO_SIZE};
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_id ids[N];
    size_t effort, removed;
    for (ann_id i = 0; i < N; i++)
        ids[i] = i;
    p.recall = 0.9;
    OK(ann_calibrate(s.ix, view_of(&s, N, 100), NULL));
    OK(ann_add(s.ix, view_of(&s, N, 200), NULL));
    OK(ann_save(s.ix, path));
    OK(reopen(&s.ix, path, ANN_OPEN_LOAD));
    OK(ann_remove(s.ix, 200, ids, &removed));
    OK(ann_compact(s.ix));
    OK(ann_update(s.ix, view_of(&s, N, 200), ids + 1000));
    OK(ann_effort_for(s.ix, 0.9, K, &effort));
    OK(ann_remove(s.ix, 1, (ann_id[]){UINT64_C(1) << 40}, &removed)); /* is not there */
    OK(ann_effort_for(s.ix, 0.9, K, &effort));
    OK(ann_remove(s.ix, 1, (ann_id[]){2000}, &removed));
    FAILS(ann_effort_for(s.ix, 0.9, K, &effort), ANN_EUNTRAINED, "calibrate");
    FAILS(ann_search(s.ix, view_of(&s, N, 1), &p, ids, NULL), ANN_EUNTRAINED, "calibrate");
    p.recall = 0;
    OK(ann_search(s.ix, view_of(&s, N, 1), &p, ids, NULL));
    OK(ann_index_info(s.ix, &info));
    ck_assert(info.calibrated_recall == 0);
    OK(ann_save(s.ix, path));
    OK(reopen(&s.ix, path, ANN_OPEN_LOAD));
    FAILS(ann_effort_for(s.ix, 0.9, K, &effort), ANN_EUNTRAINED, "calibrate");
    OK(ann_calibrate(s.ix, view_of(&s, N, 100), NULL));
    OK(ann_effort_for(s.ix, 0.9, K, &effort));
    set_free(&s);
    folder_remove(folder);
    free(path);
}
END_TEST

/* ---- a hostile section ---- */

static ann_err take(const struct calibration *c, uint64_t rows, const char *path)
{
    const struct kfile_meta meta = {.kind = ANN_HNSW, .metric = ANN_L2, .dtype = ANN_F32,
                                    .dim = 4};
    const struct kfile_part part = {"calibration", c, rows, sizeof(struct curve_point)};
    struct kfile *f = NULL;
    struct calibration got = {.n = 99};
    OK(kfile_save(path, &meta, &part, 1, NULL, NULL));
    OK(kfile_open(path, ANN_OPEN_LOAD, 0, NULL, NULL, &f));
    const ann_err err = calibration_take(f, &got);
    kfile_close(f);
    ck_assert(err ? got.n == 99 : memcmp(&got, c, sizeof got) == 0);
    return err;
}

START_TEST(forged)
{
    char *folder = folder_make(), *path = in_folder(folder, "a.kith");
    const struct calibration good = {
        .n = 4, .queries = 9, .live = 100, .changes = 3, .confidence = 0.9,
        .points = {{1, 2, 0.5, 0.4, 7}, {1, 3, 0.5, 0.5, 8}, {10, 1, 0.1, 0, 1},
                   {10, 1048576, 1, 1, 1e9}}};
    const double nan = NAN, two = 2, minus = -0.1, none = 0;
    const uint32_t zero = 0, one = 1, big = 1048577;
    const struct {
        size_t at, bytes;
        const void *to;
    } forgeries[] = {
#define AT(field, value) {offsetof(struct calibration, field), sizeof value, &value}
        AT(n, zero),
        AT(n, one),
        AT(n, big),
        AT(confidence, none),
        AT(confidence, two),
        AT(confidence, nan),
        AT(points[0].k, zero),
        AT(points[0].k, big),
        AT(points[0].effort, zero),
        AT(points[1].effort, one),
        AT(points[3].effort, one),
        AT(points[3].effort, big),
        AT(points[2].k, zero),
        AT(points[0].recall, nan),
        AT(points[0].recall, two),
        AT(points[0].recall, minus),
        AT(points[3].recall, none),
        AT(points[0].low, two),
        AT(points[0].low, minus),
        AT(points[1].low, none),
        AT(points[1].low, nan),
        AT(points[2].distances, minus),
        AT(points[2].distances, nan),
#undef AT
    };
    OK(take(&good, 5, path));
    for (size_t i = 0; i < sizeof forgeries / sizeof *forgeries; i++) {
        struct calibration bad = good;
        memcpy((char *)&bad + forgeries[i].at, forgeries[i].to, forgeries[i].bytes);
        const ann_err err = take(&bad, 5, path);
        ck_assert_msg(err == ANN_EDAMAGED, "forgery %zu: %s", i, ann_err_name(err));
        ck_assert(strstr(ann_error_message(), "section calibration") != NULL);
    }
    struct calibration *many = calloc(2, sizeof *many);
    ck_assert_int_eq(take(&good, 1, path), ANN_EDAMAGED);
    ck_assert_int_eq(take(&good, 4, path), ANN_EDAMAGED);
    ck_assert_int_eq(take(many, 2 + CURVE_POINTS, path), ANN_EDAMAGED);
    free(many);
    folder_remove(folder);
    free(path);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("calibrate");
    const int n = sizeof indexes / sizeof *indexes;
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, delivered, 0, n);
    tcase_add_test(tc, bounds);
    tcase_add_test(tc, sampled_enough);
    tcase_add_test(tc, curves);
    tcase_add_test(tc, by_default);
    tcase_add_test(tc, range_and_iterator);
    tcase_add_test(tc, refused);
    tcase_add_test(tc, flat_and_small);
    tcase_add_test(tc, in_the_file);
    tcase_add_test(tc, changes_end_it);
    tcase_add_test(tc, forged);
    Suite *s = suite_create("calibrate");
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    const int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
