/* test_oom.c - each call of the library with each of its allocations failing, once or all from
 * there on: it says ANN_ENOMEM or succeeds, and leaves an index that is sound and as it was. */
#include <config.h>

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/memory.h"
#include "tests/kfile_sample.h"
#include "tests/oracle.h"

#define DIM 8
#define N 100

#define OK(call)                                                                               \
    do {                                                                                       \
        const ann_err err_ = (call);                                                           \
        ck_assert_msg(err_ == ANN_OK, "%s: %s", ann_err_name(err_), ann_error_message());      \
    } while (0)

struct place {
    ann_kind kind;
    ann_index *ix;
    struct oracle_data old, fresh;
    char *folder, *path, *path2;
};

static int even(void *arg, ann_id id)
{
    (void)arg;
    return id % 2 == 0;
}

static ann_err op_create(struct place *p)
{
    ann_options o = ANN_OPTIONS_INIT;
    ann_index *ix = NULL;
    o.kind = p->kind;
    o.dim = DIM;
    const ann_err err = ann_create(&o, &ix);
    ann_close(ix);
    return err;
}

static ann_err op_train(struct place *p)
{
    ann_options o = ANN_OPTIONS_INIT;
    ann_index *ix = NULL;
    o.kind = p->kind;
    o.dim = DIM;
    o.threads = 2;
    o.rotation = ANN_ROTATION_OPQ;
    ann_err err = ann_create(&o, &ix);
    for (int i = 0; i < 2 && !err; i++) /* and from what was learned anew */
        err = ann_train(ix, p->old.view);
    ann_close(ix);
    return err;
}

static ann_err op_add(struct place *p)
{
    return ann_add(p->ix, p->fresh.view, NULL);
}

static ann_err op_add_ids(struct place *p)
{
    ann_id ids[N];
    for (ann_id i = 0; i < N; i++)
        ids[i] = 5000 - i;
    return ann_add(p->ix, p->fresh.view, ids);
}

static ann_err op_update(struct place *p)
{
    ann_id ids[N];
    for (ann_id i = 0; i < N; i++)
        ids[i] = N / 2 + i;
    return ann_update(p->ix, p->fresh.view, ids);
}

static ann_err op_remove(struct place *p)
{
    const ann_id ids[] = {1, 2, 3, 50, 70, 71, 90};
    size_t removed;
    return ann_remove(p->ix, 7, ids, &removed);
}

static ann_err op_get(struct place *p)
{
    float x[DIM];
    return ann_get(p->ix, 5, x);
}

static ann_err search(struct place *p, size_t n, const ann_filter *f)
{
    ann_search_params params = ANN_SEARCH_PARAMS_INIT;
    params.filter = f;
    params.effort = 20;
    ann_id ids[200];
    float dists[200];
    ann_view v = p->fresh.view;
    v.n = n;
    return ann_search(p->ix, v, &params, ids, dists);
}

static ann_err op_search(struct place *p)
{
    return search(p, 1, NULL);
}

static ann_err op_batch(struct place *p)
{
    return search(p, 20, NULL);
}

static ann_err op_filter(struct place *p)
{
    ann_filter *f = NULL;
    ann_err err = ann_filter_from_callback(p->ix, even, NULL, &f);
    if (!err)
        err = search(p, 3, f);
    ann_filter_close(f);
    return err;
}

static ann_err op_filter_ids(struct place *p)
{
    ann_filter *f = NULL;
    const ann_err err = ann_filter_from_ids(p->ix, 3, (ann_id[]){4, 5, 6}, &f);
    ann_filter_close(f);
    return err;
}

static ann_err op_range(struct place *p)
{
    ann_range_result r = {0};
    ann_view v = p->fresh.view;
    v.n = 3;
    const ann_err err = ann_search_range(p->ix, v, 1e9f, NULL, &r);
    ann_range_free(&r);
    return err;
}

static ann_err op_searcher(struct place *p)
{
    ann_searcher *s = NULL;
    ann_id ids[10];
    ann_err err = ann_searcher_open(p->ix, NULL, &s);
    if (!err)
        err = ann_searcher_search(s, p->fresh.rows, ANN_F32, ids, NULL);
    ann_searcher_close(s);
    return err;
}

static ann_err op_iterate(struct place *p)
{
    ann_iter *it = NULL;
    ann_id ids[40];
    size_t got = 40;
    ann_err err = ann_iter_open(p->ix, p->fresh.rows, ANN_F32, NULL, &it);
    while (!err && got == 40)
        err = ann_iter_next(it, 40, ids, NULL, &got);
    ann_iter_close(it);
    return err;
}

static ann_err op_recall(struct place *p)
{
    ann_recall_report r = ANN_RECALL_REPORT_INIT;
    ann_view v = p->fresh.view;
    v.n = 10;
    return ann_recall(p->ix, v, NULL, &r);
}

static ann_err op_calibrate(struct place *p)
{
    if (p->kind == ANN_FLAT) /* always exact */
        return ANN_OK;
    ann_calibration c = ANN_CALIBRATION_INIT;
    ann_view v = p->fresh.view;
    v.n = 5;
    ann_err err = ann_calibrate(p->ix, v, &c);
    c.queries = 5;
    return err ? err : ann_calibrate(p->ix, (ann_view){0}, &c);
}

static ann_err op_compact(struct place *p)
{
    return ann_compact(p->ix);
}

static ann_err op_save(struct place *p)
{
    return ann_save(p->ix, p->path2);
}

static ann_err op_check(struct place *p)
{
    return ann_check(p->ix, ANN_CHECK_REACHABLE);
}

static ann_err open_and(struct place *p, ann_open_mode mode)
{
    ann_open_options o = ANN_OPEN_OPTIONS_INIT;
    ann_index *ix = NULL;
    o.mode = mode;
    ann_err err = ann_open(p->path, &o, &ix);
    if (!err)
        err = ann_add(ix, p->fresh.view, NULL);
    if (!err)
        err = ann_remove(ix, 2, (ann_id[]){5, 6}, NULL);
    ann_close(ix);
    return err;
}

static ann_err op_load(struct place *p)
{
    return open_and(p, ANN_OPEN_LOAD);
}

static ann_err op_map(struct place *p)
{
    return open_and(p, ANN_OPEN_MAP);
}

static ann_err op_file_info(struct place *p)
{
    ann_file_info info = {.size = sizeof info};
    ann_section_info section;
    const ann_err err = ann_file_info_read(p->path, &info);
    return err ? err : ann_file_section(p->path, 0, &section);
}

static const struct {
    const char *name;
    ann_err (*run)(struct place *p);
    int64_t more; /* vectors it adds; -1: it removes some, which may be done though it failed */
} calls[] = {
    {"create", op_create, 0},       {"add", op_add, N},           {"add ids", op_add_ids, N},
    {"update", op_update, N / 2},   {"remove", op_remove, -1},    {"get", op_get, 0},
    {"search", op_search, 0},       {"batch", op_batch, 0},       {"filter", op_filter, 0},
    {"filter ids", op_filter_ids, 0}, {"range", op_range, 0},     {"searcher", op_searcher, 0},
    {"iterate", op_iterate, 0},     {"recall", op_recall, 0},     {"compact", op_compact, 0},
    {"save", op_save, 0},           {"check", op_check, 0},       {"load", op_load, 0},
    {"map", op_map, 0},             {"file info", op_file_info, 0},
    {"calibrate", op_calibrate, 0}, {"train", op_train, 0},
};

#define CALLS (int)(sizeof calls / sizeof *calls)

/* State 0: fresh from adding; 1: some removed, not all swept; 2: mapped.  With a file if
 * `save`. */
static void place_make(struct place *p, int state, bool save)
{
    if (state == 2 && !save) {
        ann_open_options open = ANN_OPEN_OPTIONS_INIT;
        open.mode = ANN_OPEN_MAP;
        open.threads = 2;
        OK(ann_open(p->path, &open, &p->ix));
        return;
    }

    ann_options o = ANN_OPTIONS_INIT;
    o.kind = p->kind;
    o.dim = DIM;
    o.m = 4;
    o.ef_construction = 20;
    o.threads = 2;
    o.nlist = 6;
    o.pq_m = 4;
    OK(ann_create(&o, &p->ix));
    OK(ann_train(p->ix, p->old.view));
    OK(ann_add(p->ix, p->old.view, NULL));
    if (state >= 1) {
        OK(ann_remove(p->ix, 2, (ann_id[]){N - 1, 7}, NULL));
        OK(ann_remove(p->ix, 3, (ann_id[]){N - 2, 8, 9}, NULL));
        OK(ann_remove(p->ix, 1, (ann_id[]){10}, NULL));
    }
    if (save)
        OK(ann_save(p->ix, p->path));
}

static uint64_t count_of(const ann_index *ix)
{
    ann_info info = {.size = ANN_INFO_SIZE};
    OK(ann_index_info(ix, &info));
    return info.count;
}

/* Everything, from near to far, for one query. */
static void answers(const ann_index *ix, const struct place *p, ann_id *ids)
{
    ann_search_params params = ANN_SEARCH_PARAMS_INIT;
    params.k = 2 * N;
    OK(ann_search(ix, (ann_view){p->fresh.rows, 1, 0, ANN_F32}, &params, ids, NULL));
}

static bool try_at(struct place *p, int call, int state, uint64_t at, bool persistent)
{
    ann_id before[2 * N], after[2 * N];
    place_make(p, state, false);
    const uint64_t count = count_of(p->ix);
    answers(p->ix, p, before);
    memory_fail_at(at, persistent);
    const ann_err err = calls[call].run(p);
    const uint64_t asked = memory_fail_at(0, false);
    ck_assert_msg(err == ANN_OK || err == ANN_ENOMEM, "%s state %d, allocation %llu: %s: %s",
                  calls[call].name, state, (unsigned long long)at, ann_err_name(err),
                  ann_error_message());
    if (calls[call].more >= 0) {
        const uint64_t now = count_of(p->ix);
        const bool update = calls[call].run == op_update;
        ck_assert_msg(err ? now == count : now == count + (uint64_t)calls[call].more ||
                                               (update && now > count),
                      "%s state %d, allocation %llu: %llu vectors", calls[call].name, state,
                      (unsigned long long)at, (unsigned long long)now);
        if (err || calls[call].more == 0) {
            answers(p->ix, p, after);
            ck_assert_msg(memcmp(before, after, sizeof before) == 0,
                          "%s state %d, allocation %llu: other answers", calls[call].name,
                          state, (unsigned long long)at);
        }
    }
    ck_assert_msg(ann_check(p->ix, ANN_CHECK_REACHABLE) == ANN_OK,
                  "%s state %d, allocation %llu: %s", calls[call].name, state,
                  (unsigned long long)at, ann_error_message());
    if (err) { /* and now it works */
        OK(calls[call].run(p));
        OK(ann_check(p->ix, ANN_CHECK_REACHABLE));
    }
    OK(ann_compact(p->ix));
    OK(ann_check(p->ix, ANN_CHECK_REACHABLE));
    ann_close(p->ix);
    ck_assert_int_le(folder_count(p->folder), 2);
    return asked >= at;
}

static void each_allocation(ann_kind kind, int i)
{
    const int call = i % CALLS, state = i / CALLS;
    struct place p = {.kind = kind, .folder = folder_make()};
    p.path = in_folder(p.folder, "a.kith");
    p.path2 = in_folder(p.folder, "b.kith");
    p.old = oracle_data(SHAPE_CLUSTERS, ANN_F32, N, DIM, 1);
    p.fresh = oracle_data(SHAPE_CLUSTERS, ANN_F32, N, DIM, 2);
    place_make(&p, state, true);
    ann_close(p.ix);
    for (int persistent = 0; persistent < 2; persistent++)
        for (uint64_t at = 1; try_at(&p, call, state, at, persistent); at++)
            ;
    oracle_data_free(&p.old);
    oracle_data_free(&p.fresh);
    folder_remove(p.folder);
    free(p.path);
    free(p.path2);
}

START_TEST(flat)
{
    each_allocation(ANN_FLAT, _i);
}
END_TEST

START_TEST(hnsw)
{
    each_allocation(ANN_HNSW, _i);
}
END_TEST

START_TEST(ivfpq)
{
    each_allocation(ANN_IVFPQ, _i);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("oom");
    tcase_add_loop_test(tc, flat, 0, 3 * CALLS);
    tcase_add_loop_test(tc, hnsw, 0, 3 * CALLS);
    tcase_add_loop_test(tc, ivfpq, 0, 3 * CALLS);
    Suite *s = suite_create("oom");
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    const int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
