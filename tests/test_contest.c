/* test_contest.c - bench/contest.c with contestants whose recall and speed are known, ratios of
 * bench/compare.c, and bench/peers/peers.json as bench/grid.c reads it. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/compare.h"
#include "bench/contest.h"
#include "bench/grid.h"

#define NQ 40

/* Vectors on a line and queries on them: with k = 1 a right answer is the query's own number.
 */
static float base[NQ];
static int32_t truth[NQ];
static const struct dataset line = {.name = "line",
                                    .metric = ANN_L2,
                                    .n = NQ,
                                    .nq = NQ,
                                    .dim = 1,
                                    .base = base,
                                    .query = base,
                                    .truth = truth,
                                    .truth_k = 1};
static const struct run_settings settings = {.k = 1,
                                             .threads = 1,
                                             .rounds = 3,
                                             .single = true,
                                             .batch = true,
                                             .targets = {0.5, 0.9},
                                             .ntargets = 2,
                                             .pass_s = 0.01,
                                             .quiet = true};

/* Effort e answers e of 20 queries rightly and takes e * `cost` us; batches half of that. */
struct fake {
    double cost;
    size_t timed_even, timed, timed_all;
    bool batches_only, singles;
};

static ann_err fake_search(struct contestant *c, size_t e, ann_id *ids, struct outcome_point *p)
{
    const struct fake *f = c->impl;
    for (size_t i = 0; i < c->data->nq; i++)
        ids[i] = (ann_id)c->data->query[i] + (i < e ? 0 : 1000000);
    for (size_t i = e; i < c->data->nq; i++)
        ids[i] = ANN_NO_ID;
    p->qps_single = 1e6 / ((double)e * f->cost);
    p->qps_batch = 2 * p->qps_single;
    return c->nsteps && e == 3 ? ANN_ENOTSUP : ANN_OK;
}

static ann_err fake_time(struct contestant *c, size_t e, struct timing *t)
{
    struct fake *f = c->impl;
    f->timed++;
    f->timed_all += c->data->nq == NQ;
    f->timed_even += (size_t)c->data->query[0] % 2 == 0 && c->data->nq < NQ;
    f->singles = f->singles || c->single;
    *t = (struct timing){NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    if (c->single)
        t->single_s = 1e-6 * (double)e * f->cost;
    if (c->batch)
        t->batch_s = 0.5e-6 * (double)e * f->cost;
    return ANN_OK;
}

static void make(struct contestant *c, struct fake *f, const char *name, bool own)
{
    runner_init(c, &line, &settings);
    snprintf(c->result.index, sizeof c->result.index, "%s", name);
    c->has_effort = true;
    c->result.own = own;
    c->best_counts = !own;
    c->batch = !own;
    c->nsteps = own ? 0 : 20;
    c->width = 1;
    c->search = fake_search;
    c->time = fake_time;
    c->impl = f;
}

static void fill(void)
{
    for (int i = 0; i < NQ; i++) {
        base[i] = (float)i;
        truth[i] = i;
    }
}

START_TEST(points_are_timed_on_the_other_half)
{
    static struct contestant own, peer;
    struct contestant *const all[] = {&own, &peer};
    struct fake a = {.cost = 10}, b = {.cost = 30};
    fill();
    make(&own, &a, "own", true);
    make(&peer, &b, "peer", false);
    ck_assert_int_eq(contest_run(all, 2, &line, &settings), ANN_OK);
    ck_assert_uint_eq(a.timed_even + b.timed_even, 0);
    ck_assert_uint_gt(a.timed, 0);
    ck_assert_uint_eq(own.result.nq, NQ / 2);
    /* The peer is twice as fast in batches, clearly: nothing else is timed, and that counts. */
    ck_assert(!b.singles && a.singles);
    ck_assert_double_eq_tol(peer.result.at[0].qps, 1e6 / (10 * 15), 1);
    ck_assert_double_eq_tol(peer.result.at[1].qps, 1e6 / (18 * 15), 1);
    ck_assert_double_eq_tol(peer.result.at_round[1][2], peer.result.at[1].qps, 1e-9);
    ck_assert(own.result.at[1].qps > 1e6 / (23 * 10.) && own.result.at[1].qps < 1e6 / 160.);
}
END_TEST

START_TEST(a_batch_is_all_queries)
{
    static struct contestant own, peer;
    struct contestant *const all[] = {&own, &peer};
    struct run_settings batches = settings;
    struct fake a = {.cost = 10}, b = {.cost = 30};
    fill();
    make(&own, &a, "own", true);
    make(&peer, &b, "peer", false);
    batches.batch_counts = true;
    own.settings = peer.settings = &batches;
    own.single = false;
    own.batch = true;
    ck_assert_int_eq(contest_run(all, 2, &line, &batches), ANN_OK);
    ck_assert(a.timed && a.timed_all == a.timed && b.timed && b.timed_all == b.timed);
    ck_assert(!a.singles);
    ck_assert_uint_eq(own.result.nq, NQ / 2); /* of recall */
    ck_assert(own.result.at[1].qps > 1e6 / (23 * 5.) && own.result.at[1].qps < 1e6 / 80.);
    ck_assert_double_eq_tol(own.result.at_round[1][1], own.result.at[1].qps, 1e-9);
}
END_TEST

static size_t dear; /* searches with a second number after it stopped to help */

/* A ladder of two numbers: with the first of the second ones no more than 5 are found. */
static ann_err two_search(struct contestant *c, size_t e, ann_id *ids, struct outcome_point *p)
{
    const size_t row = (e - 1) / 2, right = (e - 1) % 2 ? row + 1 : row < 5 ? row + 1 : 5;
    dear += (e - 1) % 2 == 0 && row > 6;
    for (size_t i = 0; i < c->data->nq; i++)
        ids[i] = i < right ? (ann_id)c->data->query[i] : ANN_NO_ID;
    p->qps_single = p->qps_batch = 1e5 / (double)e;
    return ANN_OK;
}

START_TEST(what_stopped_to_help_is_passed_over)
{
    static struct contestant peer;
    struct contestant *const all[] = {&peer};
    struct fake f = {.cost = 10};
    fill();
    make(&peer, &f, "peer", false);
    peer.nsteps = 40;
    peer.width = 2;
    peer.search = two_search;
    dear = 0;
    ck_assert_int_eq(contest_run(all, 1, &line, &settings), ANN_OK);
    ck_assert_uint_eq(dear, 0);
    ck_assert(peer.result.at[1].qps > 0); /* 18 of 20, which takes the second of them */
}
END_TEST

START_TEST(ladders_begin_where_the_kind_does)
{
    static const size_t lists[] = {1, 2, 3, 4, 6, 8, 11, 16};
    static struct contestant c;
    runner_init(&c, &line, &settings);
    c.has_effort = true;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        ck_assert_uint_eq(runner_effort(&c, 1, i), lists[i]);
    ck_assert_uint_eq(runner_effort(&c, 10, 0), 10);
    ck_assert_uint_eq(runner_effort(&c, 10, 1), 14);
    c.nsteps = 2; /* a ladder of its own */
    ck_assert_uint_eq(runner_effort(&c, 10, 1), 2);
    ck_assert_uint_eq(runner_effort(&c, 10, 2), 0);
}
END_TEST

START_TEST(points_meet_at_the_same_effort)
{
    static struct outcome own, peer;
    struct compare_effort at;
    own.points[0] = (struct outcome_point){.effort = 1, .qps = 10};
    own.points[1] = (struct outcome_point){.effort = 4, .qps = 30, .recall = 0.7};
    own.points[2] = (struct outcome_point){.effort = 8, .qps = 20};
    own.npoints = 3;
    peer.points[0] = (struct outcome_point){.effort = 2, .qps = 5};
    peer.points[1] = (struct outcome_point){.effort = 4, .qps = 10, .recall = 0.6};
    peer.points[2] = (struct outcome_point){.effort = 8, .qps = 40};
    peer.npoints = 3;
    ck_assert(compare_effort(&own, &peer, 0, &at));
    ck_assert_double_eq(at.ratio, 3);
    ck_assert(at.own->recall > at.peer->recall);
    ck_assert(compare_effort(&own, &peer, 1, &at));
    ck_assert_double_eq(at.ratio, 0.5);
    ck_assert(!compare_effort(&own, &peer, 2, &at));
    own.points[1].effort = own.points[2].effort = 0; /* none, or two numbers */
    peer.points[1].effort = 0;
    ck_assert(!compare_effort(&own, &peer, 0, &at));
}
END_TEST

static ann_err broken_search(struct contestant *c, size_t e, ann_id *ids,
                             struct outcome_point *p)
{
    (void)c, (void)e, (void)ids, (void)p;
    return ANN_FAIL(ANN_EIO, "gone");
}

START_TEST(a_peer_that_fails_is_left_out)
{
    static struct contestant own, peer;
    struct contestant *const all[] = {&own, &peer};
    struct fake a = {.cost = 10}, b = {.cost = 30};
    fill();
    make(&own, &a, "own", true);
    make(&peer, &b, "peer", false);
    peer.search = broken_search;
    ck_assert_int_eq(contest_run(all, 2, &line, &settings), ANN_OK);
    ck_assert(peer.lost && !own.lost && !b.timed);
    make(&own, &a, "own", true);
    own.search = broken_search;
    ck_assert_int_eq(contest_run(all, 1, &line, &settings), ANN_EIO);
}
END_TEST

START_TEST(ratios_are_to_the_fastest_peer)
{
    static struct outcome items[3];
    const struct outcomes all = {items, 3, 3};
    static const char *const names[] = {"own", "slow", "hnswlib"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(items[i].index, sizeof items[i].index, "%s", names[i]);
        items[i].ntargets = 2;
        items[i].rounds = 2;
        items[i].own = !i;
        items[i].at[0].qps = items[i].at_round[0][0] = 100 * (double)(i + 1);
        items[i].at_round[0][1] = 110;
        items[i].at[1].qps = i == 2 ? NAN : 50;
    }
    const struct compare_at at = compare_best(&all, 0, 3, &items[0], 0);
    ck_assert_str_eq(at.peer, "hnswlib");
    ck_assert_double_eq_tol(at.ratio, 1. / 3, 1e-12);
    ck_assert_double_eq_tol(at.low, 1. / 3, 1e-12);
    ck_assert_double_eq_tol(at.high, 1, 1e-12);
    ck_assert_str_eq(compare_best(&all, 0, 3, &items[0], 1).peer, "slow");
    ck_assert_double_eq(compare_best(&all, 0, 3, &items[0], 1).ratio, 1);
    ck_assert_ptr_null(compare_best(&all, 0, 1, &items[0], 0).peer);
    ck_assert(compare_is_contest(&all, 0, 3) && !compare_is_contest(&all, 0, 1));
    ck_assert_ptr_eq(compare_find(&all, 0, 3, "hnswlib"), &items[2]);
    ck_assert_ptr_null(compare_find(&all, 0, 3, "own"));
}
END_TEST

/* A version, and a ladder that rises; exact search has none. */
static void check_peer(const struct grid *g, const char *name)
{
    static struct grid_setting s[GRID_STEPS_MAX];
    struct grid_package p;
    bool pinned = false;
    size_t width;
    ck_assert_msg(grid_package_of(g, name) != NULL, "%s: no such peer", name);
    for (size_t i = 0; grid_package(g, i, &p); i++)
        pinned = pinned || !strcmp(p.name, grid_package_of(g, name));
    ck_assert_msg(pinned, "%s: no version", name);
    const size_t n = grid_settings(g, name, s, &width);
    ck_assert_msg((n > 4 || !strcmp(name, "faiss-flat")) && n < GRID_STEPS_MAX &&
                      n % width == 0,
                  "%s: %zu", name, n);
    for (size_t i = width; i < n; i++)
        ck_assert(s[i].v[0] >= s[i - width].v[0]);
}

START_TEST(the_grid_is_whole)
{
    static struct grid_setting s[GRID_STEPS_MAX];
    const char *source = getenv("top_srcdir"), *name;
    char path[4096], text[32];
    struct grid g;
    size_t width, peers = 0;
    snprintf(path, sizeof path, "%s/bench/peers/peers.json", source ? source : ".");
    ck_assert_int_eq(grid_load(&g, path), ANN_OK);
    static const char *const grids[] = {"graphs", "flat", "ivf", "pq8", "training"};
    for (size_t i = 0; i < sizeof grids / sizeof *grids; i++) {
        ck_assert_ptr_nonnull(grid_spec(&g, grids[i], 0));
        for (size_t j = 0; (name = grid_peer(&g, grids[i], j)); j++, peers++)
            check_peer(&g, name);
    }
    ck_assert_uint_gt(peers, 10);
    ck_assert_ptr_null(grid_peer(&g, "no such grid", 0));
    ck_assert_ptr_null(grid_spec(&g, "no such grid", 0));
    ck_assert_ptr_null(grid_package_of(&g, "no such peer"));
    ck_assert_str_eq(grid_package_of(&g, "faiss-flat"), "faiss-cpu");
    ck_assert_uint_eq(grid_settings(&g, "faiss-flat", s, &width), 0);
    const struct grid_setting two = {{96, 2.5}, 2};
    ck_assert_str_eq(grid_setting_text(&two, text, sizeof text), "96,2.5");
    grid_free(&g);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("contest");
    TCase *t = tcase_create("contest");
    suite_add_tcase(s, t);
    tcase_add_test(t, points_are_timed_on_the_other_half);
    tcase_add_test(t, a_batch_is_all_queries);
    tcase_add_test(t, what_stopped_to_help_is_passed_over);
    tcase_add_test(t, ladders_begin_where_the_kind_does);
    tcase_add_test(t, points_meet_at_the_same_effort);
    tcase_add_test(t, a_peer_that_fails_is_left_out);
    tcase_add_test(t, ratios_are_to_the_fastest_peer);
    tcase_add_test(t, the_grid_is_whole);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
