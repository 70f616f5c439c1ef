/* test_model.c - random operations on an index and on a plain array, which must agree.
 *
 * A sequence is a seed: it fixes kind, metric, store, shape of the data, options and
 * operations, so that "seed 17" in a failure is all it takes to see it again:
 * KITH_MODEL_SEED=17 KITH_MODEL_COUNT=1 runs that one (in every case), and a large count is a
 * soak. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ann/base/rng.h"
#include "ann/vectors/vectors.h"
#include "tests/kfile_sample.h"
#include "tests/oracle.h"

#define OPERATIONS 60
#define SIZE_TOP 700 /* about as many vectors as a sequence keeps */

static const struct combination {
    ann_dtype store;
    ann_metric metric;
} combinations[] = {
    {ANN_F32, ANN_L2},   {ANN_F32, ANN_IP},   {ANN_F32, ANN_COSINE},
    {ANN_F16, ANN_L2},   {ANN_F16, ANN_IP},   {ANN_F16, ANN_COSINE},
    {ANN_BF16, ANN_L2},  {ANN_BF16, ANN_IP},  {ANN_BF16, ANN_COSINE},
    {ANN_I8, ANN_L2},    {ANN_I8, ANN_IP},    {ANN_I8, ANN_COSINE},
    {ANN_U8, ANN_L2},    {ANN_U8, ANN_IP},    {ANN_U8, ANN_COSINE},
    {ANN_B1, ANN_HAMMING},
};

#define COMBINATIONS (int)(sizeof combinations / sizeof *combinations)
#define FLOATS 9 /* the first of them, that ivfpq can store */

struct model {
    ann_index *ix;
    struct oracle *truth;
    struct oracle *allowed; /* ids that the filter kept across changes lets pass; no vectors */
    ann_filter *filter;
    ann_options o;
    enum oracle_shape shape;
    ann_id next;
    uint64_t seed, random, data_seed;
    int op;
    const char *what;
    char *folder, *path;
    double recall;     /* sum over queries */
    size_t queries;
};

#define U(x) ((unsigned long long)(x))
#define REQUIRE(m, cond, ...)                                                                  \
    do {                                                                                       \
        if (!(cond))                                                                           \
            broken(m, __LINE__, __VA_ARGS__);                                                  \
    } while (0)
#define OK(m, call)                                                                            \
    do {                                                                                       \
        const ann_err err_ = (call);                                                           \
        REQUIRE(m, err_ == ANN_OK, "%s: %s", ann_err_name(err_), ann_error_message());         \
    } while (0)

__attribute__((format(printf, 3, 4), noreturn)) static void
broken(const struct model *m, int line, const char *format, ...)
{
    char text[512], spec[256] = "?";
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void)!ann_options_spec(&m->o, spec, sizeof spec);
    ck_abort_msg("seed %llu op %d %s (line %d, %s, shape %d, n %zu): %s", U(m->seed), m->op,
                 m->what, line, spec, (int)m->shape, m->truth->n, text);
    abort();
}

static size_t below(struct model *m, size_t n)
{
    return (size_t)rng_below(&m->random, n);
}

static bool chance(struct model *m, int percent)
{
    return below(m, 100) < (size_t)percent;
}

/* Vectors for the index: of the type that it stores, or another float type. */
static struct oracle_data draw(struct model *m, size_t n)
{
    ann_dtype t = m->o.store;
    if ((t == ANN_F32 || t == ANN_F16 || t == ANN_BF16) && chance(m, 50))
        t = ANN_F32;
    return oracle_data(m->shape, t, n, m->o.dim, m->data_seed++);
}

/* An id that is, with some luck, there. */
static ann_id any_id(struct model *m)
{
    if (m->truth->n > 0 && chance(m, 80))
        return m->truth->items[below(m, m->truth->n)].id;
    return below(m, m->next + 10);
}

/* A new one: near the others, or far away. */
static ann_id fresh_id(struct model *m)
{
    for (;;) {
        const ann_id id = chance(m, 95) ? below(m, 3000) : (UINT64_C(1) << (20 + below(m, 20)));
        if (!oracle_get(m->truth, id))
            return id;
    }
}

static bool seen_in(const ann_id *ids, size_t n, ann_id id)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] == id)
            return true;
    return false;
}

/* ids [n], each once. */
static ann_id *draw_ids(struct model *m, size_t n, bool fresh)
{
    ann_id *ids = malloc((n + 1) * sizeof *ids);
    for (size_t i = 0; i < n;) {
        const ann_id id = fresh || chance(m, 20) ? fresh_id(m) : any_id(m);
        if (!seen_in(ids, i, id))
            ids[i++] = id;
    }
    return ids;
}

/* The index's vectors of ids [n] become the model's; they must be what was given but for
 * rounding. */
static void accept(struct model *m, const ann_view *v, const ann_id *ids)
{
    const size_t dim = m->o.dim;
    float *given = malloc(dim * sizeof *given);
    for (size_t i = 0; i < v->n; i++) {
        oracle_put_stored(m->truth, m->ix, ids[i]);
        oracle_remove(m->allowed, ids[i]);
        const float *stored = oracle_get(m->truth, ids[i]);
        oracle_row(v, dim, i, given);
        double norm = 0;
        for (size_t j = 0; j < dim; j++)
            norm += (double)given[j] * given[j];
        const bool unit = m->o.metric == ANN_COSINE && m->o.store <= ANN_BF16;
        const double scale = unit ? 1 / sqrt(norm) : 1;
        const double step = m->o.store == ANN_BF16  ? 0x1p-8
                            : m->o.store == ANN_F16 ? 0x1p-11
                            : unit                  ? 0x1p-22
                                                    : 0;
        for (size_t j = 0; j < dim; j++) {
            const double want = given[j] * scale;
            REQUIRE(m, fabs(stored[j] - want) <= step * fabs(want) + (step > 0 ? 1e-7 : 0),
                    "id %llu element %zu is %.9g, given %.9g", U(ids[i]), j, (double)stored[j],
                    want);
        }
        m->next = ids[i] >= m->next ? ids[i] + 1 : m->next;
    }
    free(given);
}

/* ---- operations ---- */

static void op_add(struct model *m)
{
    const size_t n = below(m, m->truth->n < SIZE_TOP ? 120 : 10);
    struct oracle_data d = draw(m, n);
    ann_id *ids = malloc((n + 1) * sizeof *ids);
    for (size_t i = 0; i < n; i++)
        ids[i] = m->next + i;
    OK(m, ann_add(m->ix, d.view, NULL));
    accept(m, &d.view, ids);
    free(ids);
    oracle_data_free(&d);
}

static void op_add_ids(struct model *m)
{
    const size_t n = 1 + below(m, m->truth->n < SIZE_TOP ? 120 : 10);
    struct oracle_data d = draw(m, n);
    ann_id *ids = draw_ids(m, n, true);
    if (m->truth->n > 0 && chance(m, 20)) { /* one is there: nothing may happen */
        const ann_id old = ids[n - 1];
        ids[n - 1] = m->truth->items[below(m, m->truth->n)].id;
        const ann_err err = ann_add(m->ix, d.view, ids);
        REQUIRE(m, err == ANN_EEXIST, "adding id %llu again: %s", U(ids[n - 1]),
                ann_err_name(err));
        ids[n - 1] = old;
    }
    OK(m, ann_add(m->ix, d.view, ids));
    accept(m, &d.view, ids);
    free(ids);
    oracle_data_free(&d);
}

static void op_update(struct model *m)
{
    const size_t n = below(m, 50);
    struct oracle_data d = draw(m, n);
    ann_id *ids = draw_ids(m, n, false);
    OK(m, ann_update(m->ix, d.view, ids));
    accept(m, &d.view, ids);
    free(ids);
    oracle_data_free(&d);
}

static void op_remove(struct model *m)
{
    size_t most = chance(m, 30) ? m->truth->n / 2 : 30;
    if (chance(m, 3))
        most = 2 * m->truth->n;
    const size_t n = below(m, most + 1);
    ann_id *ids = malloc((n + 1) * sizeof *ids);
    for (size_t i = 0; i < n; i++)
        ids[i] = any_id(m); /* some twice, some not there */
    size_t want = 0, removed = 0;
    for (size_t i = 0; i < n; i++)
        if (oracle_remove(m->truth, ids[i])) {
            want++;
            oracle_remove(m->allowed, ids[i]);
        }
    OK(m, ann_remove(m->ix, n, ids, &removed));
    REQUIRE(m, removed == want, "%zu removed, %zu were there", removed, want);
    for (size_t i = 0; i < n; i++)
        REQUIRE(m, !ann_contains(m->ix, ids[i]), "id %llu is still there", U(ids[i]));
    free(ids);
}

static void op_get(struct model *m)
{
    float *x = malloc(m->o.dim * sizeof *x);
    for (int i = 0; i < 20; i++) {
        const ann_id id = any_id(m);
        const float *want = oracle_get(m->truth, id);
        REQUIRE(m, ann_contains(m->ix, id) == (want != NULL), "contains id %llu: not %d", U(id),
                want != NULL);
        const ann_err err = ann_get(m->ix, id, x);
        REQUIRE(m, err == (want ? ANN_OK : ANN_ENOENT), "get id %llu: %s", U(id),
                ann_err_name(err));
        REQUIRE(m, !want || memcmp(want, x, m->o.dim * sizeof *x) == 0, "id %llu has changed",
                U(id));
    }
    free(x);
}

static bool in_allowed(void *arg, ann_id id)
{
    return oracle_get(arg, id) != NULL;
}

/* Compares results [n, k] of a view, among those allowed (NULL: all). */
static void compare(struct model *m, const ann_view *v, struct oracle *allowed,
                    const ann_id *ids, const float *dists, size_t k)
{
    float *q = malloc(m->o.dim * sizeof *q);
    char why[200];
    for (size_t i = 0; i < v->n; i++) {
        size_t n;
        oracle_row(v, m->o.dim, i, q);
        struct oracle_near *near =
            oracle_sorted(m->truth, q, allowed ? in_allowed : NULL, allowed, &n);
        const double recall =
            oracle_compare(m->truth, q, near, n, ids + i * k, dists + i * k, k, why);
        REQUIRE(m, recall >= 0, "query %zu, k %zu of %zu: %s", i, k, n, why);
        for (size_t j = 0; allowed && j < k && ids[i * k + j] != ANN_NO_ID; j++)
            REQUIRE(m, oracle_get(allowed, ids[i * k + j]), "query %zu: id %llu does not pass",
                    i, U(ids[i * k + j]));
        REQUIRE(m, m->o.kind != ANN_FLAT || recall == 1, "query %zu of %zu: flat recall %g", i,
                v->n, recall);
        m->recall += recall;
        m->queries++;
        free(near);
    }
    free(q);
}

static void search(struct model *m, const ann_filter *f, struct oracle *allowed)
{
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_search_stats stats = {0};
    p.k = chance(m, 5) ? m->truth->n + 3 : 1 + below(m, 20);
    p.effort = chance(m, 50) ? 0 : 40 + below(m, 100);
    p.threads = (uint32_t)below(m, 4);
    p.filter = f;
    p.stats = &stats;
    struct oracle_data d = draw(m, 1 + below(m, 12));
    ann_id *ids = malloc(d.view.n * p.k * sizeof *ids);
    float *dists = malloc(d.view.n * p.k * sizeof *dists);
    OK(m, ann_search(m->ix, d.view, &p, ids, dists));
    compare(m, &d.view, allowed, ids, dists, p.k);
    REQUIRE(m, stats.queries == d.view.n, "%llu queries counted of %zu", U(stats.queries),
            d.view.n);

    ann_searcher *s; /* the same one by one */
    OK(m, ann_searcher_open(m->ix, &p, &s));
    ann_id *again = malloc(p.k * sizeof *again);
    const size_t bytes = dtype_row_bytes(d.view.dtype, m->o.dim);
    for (size_t i = 0; i < d.view.n; i++) {
        const ann_view one = {(const char *)d.rows + i * bytes, 1, 0, d.view.dtype};
        OK(m, ann_searcher_search(s, one.data, d.view.dtype, again, dists));
        if (m->o.kind == ANN_IVFPQ) /* a batch looks at lists in another order */
            compare(m, &one, allowed, again, dists, p.k);
        else
            REQUIRE(m, memcmp(again, ids + i * p.k, p.k * sizeof *again) == 0,
                    "query %zu of %zu, k %zu: the searcher's ids differ", i, d.view.n, p.k);
    }
    ann_searcher_close(s);
    free(again);
    free(ids);
    free(dists);
    oracle_data_free(&d);
}

static void op_search(struct model *m)
{
    search(m, NULL, NULL);
}

struct share {
    uint64_t salt;
    unsigned percent;
};

static int share_pass(void *arg, ann_id id)
{
    const struct share *s = arg;
    return rng_mix(id ^ s->salt) % 100 < s->percent;
}

static struct oracle *share_of(struct model *m, const struct share *s)
{
    struct oracle *allowed = oracle_new(m->o.metric, 0);
    const float none = 0;
    for (size_t i = 0; i < m->truth->n; i++)
        if (share_pass((void *)(uintptr_t)s, m->truth->items[i].id))
            oracle_put(allowed, m->truth->items[i].id, &none);
    return allowed;
}

/* A filter of some of the ids, and what it must let pass. */
static ann_filter *make_filter(struct model *m, struct oracle **allowed)
{
    static const unsigned percents[] = {0, 1, 5, 20, 50, 95, 100};
    struct share s = {rng_next(&m->random), percents[below(m, 7)]};
    ann_filter *f = NULL;
    *allowed = share_of(m, &s);
    if (chance(m, 50)) {
        OK(m, ann_filter_from_callback(m->ix, share_pass, &s, &f));
    } else { /* unsorted, with one twice and one that is not there */
        const size_t n = (*allowed)->n;
        ann_id *ids = malloc((n + 2) * sizeof *ids);
        for (size_t i = 0; i < n; i++)
            ids[i] = (*allowed)->items[n - 1 - i].id;
        ids[n] = UINT64_MAX - 7;
        ids[n + 1] = n ? ids[0] : UINT64_MAX;
        OK(m, ann_filter_from_ids(m->ix, n + 2, ids, &f));
        free(ids);
    }
    REQUIRE(m, ann_filter_count(f) == (*allowed)->n, "a filter of %zu of %zu",
            ann_filter_count(f), (*allowed)->n);
    return f;
}

static void op_filtered(struct model *m)
{
    struct oracle *allowed;
    ann_filter *f = make_filter(m, &allowed);
    search(m, f, allowed);
    ann_filter_close(f);
    oracle_free(allowed);
}

/* A filter that was made before what came since. */
static void op_old_filter(struct model *m)
{
    if (!m->filter) {
        oracle_free(m->allowed);
        m->filter = make_filter(m, &m->allowed);
    }
    search(m, m->filter, m->allowed);
}

static void drop_filter(struct model *m)
{
    ann_filter_close(m->filter);
    oracle_free(m->allowed);
    m->filter = NULL;
    m->allowed = oracle_new(m->o.metric, 0);
}

static void op_range(struct model *m)
{
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_range_result r;
    struct oracle_data d = draw(m, 1 + below(m, 3));
    float *q = malloc(m->o.dim * sizeof *q);
    struct oracle *allowed = NULL;
    ann_filter *f = chance(m, 30) ? make_filter(m, &allowed) : NULL;
    p.filter = f;
    p.effort = 100;
    size_t n;
    oracle_row(&d.view, m->o.dim, 0, q);
    struct oracle_near *near = oracle_sorted(m->truth, q, NULL, NULL, &n);
    const float radius = n ? (float)near[below(m, n)].dist : 1;
    free(near);
    OK(m, ann_search_range(m->ix, d.view, radius, &p, &r));
    REQUIRE(m, r.nq == d.view.n && r.offsets[0] == 0, "%zu queries", r.nq);
    for (size_t i = 0; i < r.nq; i++) {
        const size_t at = r.offsets[i], count = r.offsets[i + 1] - at;
        char why[200];
        oracle_row(&d.view, m->o.dim, i, q);
        near = oracle_sorted(m->truth, q, allowed ? in_allowed : NULL, allowed, &n);
        REQUIRE(m, count <= n, "%zu of %zu within %g", count, n, (double)radius);
        /* Without any result at all there are no arrays to be offset. */
        const ann_id *ids = count ? r.ids + at : NULL;
        const float *dists = count ? r.dists + at : NULL;
        REQUIRE(m, oracle_compare(m->truth, q, near, n, ids, dists, count, why) >= 0,
                "query %zu radius %g: %s", i, (double)radius, why);
        REQUIRE(m, count == 0 || r.dists[at + count - 1] <= radius, "%.9g is beyond %.9g",
                (double)r.dists[at + count - 1], (double)radius);
        size_t surely = 0;
        for (size_t j = 0; j < n; j++)
            surely += near[j].dist + oracle_slack(m->o.metric, q,
                                                  oracle_get(m->truth, near[j].id), m->o.dim) <=
                      (double)radius;
        REQUIRE(m, m->o.kind != ANN_FLAT || count >= surely, "%zu within %g, %zu are", count,
                (double)radius, surely);
        m->recall += count >= surely ? 1 : (double)count / (double)surely;
        m->queries++;
        free(near);
    }
    ann_range_free(&r);
    ann_filter_close(f);
    oracle_free(allowed);
    free(q);
    oracle_data_free(&d);
}

static void change_a_little(struct model *m)
{
    if (chance(m, 50))
        op_update(m);
    else
        op_remove(m);
    if (chance(m, 30))
        op_add_ids(m);
}

static void op_iterate(struct model *m)
{
    struct oracle_data d = draw(m, 1);
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    const bool changes = chance(m, 40);
    struct oracle *allowed = NULL;
    ann_filter *f = !changes && chance(m, 30) ? make_filter(m, &allowed) : NULL;
    p.filter = f;
    ann_iter *it;
    float *q = malloc(m->o.dim * sizeof *q), *dists = malloc(64 * sizeof *dists);
    oracle_row(&d.view, m->o.dim, 0, q);
    OK(m, ann_iter_open(m->ix, d.rows, d.view.dtype, &p, &it));
    const size_t total = allowed ? allowed->n : m->truth->n;
    ann_id ids[64], *all = malloc((2 * total + 1000) * sizeof *all);
    size_t count = 0, got = 64, n = 64;
    for (int round = 0; got == n; round++) {
        n = 1 + below(m, 64);
        OK(m, ann_iter_next(it, n, ids, dists, &got));
        REQUIRE(m, got <= n, "%zu of %zu", got, n);
        for (size_t i = 0; i < got; i++) {
            const float *x = oracle_get(m->truth, ids[i]);
            REQUIRE(m, x, "id %llu is not there", U(ids[i]));
            REQUIRE(m, !allowed || oracle_get(allowed, ids[i]), "id %llu does not pass",
                    U(ids[i]));
            REQUIRE(m, changes || !seen_in(all, count, ids[i]), "id %llu came twice",
                    U(ids[i]));
            const double want = oracle_distance(m->o.metric, q, x, m->o.dim);
            const double slack = oracle_slack(m->o.metric, q, x, m->o.dim);
            REQUIRE(m, fabs(want - (double)dists[i]) <= slack,
                    "round %d: id %llu at %.9g, not %.9g", round, U(ids[i]), (double)dists[i],
                    want);
            all[count++] = ids[i];
        }
        if (changes && round < 2)
            change_a_little(m);
        if (changes && round > 5)
            break;
    }
    REQUIRE(m, changes || count == total, "%zu of %zu came", count, total);
    ann_iter_close(it);
    ann_filter_close(f);
    oracle_free(allowed);
    free(all);
    free(q);
    free(dists);
    oracle_data_free(&d);
}

/* What lists and codes are learned from; once more only while there are no vectors. */
static void train(struct model *m)
{
    struct oracle_data d = draw(m, 1 + below(m, 400));
    const ann_err err = ann_train(m->ix, d.view);
    REQUIRE(m, err == (m->truth->n > 0 ? ANN_EINVAL : ANN_OK), "train over %zu vectors: %s",
            m->truth->n, ann_err_name(err));
    oracle_data_free(&d);
}

static void op_compact(struct model *m)
{
    drop_filter(m);
    OK(m, ann_compact(m->ix));
    ann_info info = {.size = ANN_INFO_SIZE};
    OK(m, ann_index_info(m->ix, &info));
    REQUIRE(m, info.slots == m->truth->n && info.removed == 0, "%llu slots, %llu removed",
            U(info.slots), U(info.removed));
    OK(m, ann_check(m->ix, ANN_CHECK_REACHABLE));
    if (m->o.kind == ANN_IVFPQ)
        train(m);
}

static void op_reopen(struct model *m)
{
    ann_open_options o = ANN_OPEN_OPTIONS_INIT;
    drop_filter(m);
    OK(m, ann_save(m->ix, m->path));
    ann_close(m->ix);
    m->ix = NULL;
    o.mode = chance(m, 50) ? ANN_OPEN_LOAD : ANN_OPEN_MAP;
    o.threads = m->o.threads;
    OK(m, ann_open(m->path, &o, &m->ix));
    if (chance(m, 50))
        OK(m, ann_check(m->ix, ANN_CHECK_REACHABLE));
}

static void op_ids(struct model *m)
{
    uint64_t cursor = 0;
    size_t got = 1, count = 0;
    ann_id ids[50];
    struct oracle *seen = oracle_new(m->o.metric, 0);
    const float none = 0;
    while (got > 0) {
        OK(m, ann_ids(m->ix, &cursor, 1 + below(m, 50), ids, &got));
        for (size_t i = 0; i < got; i++) {
            REQUIRE(m, oracle_get(m->truth, ids[i]), "id %llu is not there", U(ids[i]));
            oracle_put(seen, ids[i], &none);
            count++;
        }
    }
    REQUIRE(m, seen->n == m->truth->n && count == seen->n,
            "%zu ids, %zu of them different, of %zu", count, seen->n, m->truth->n);
    oracle_free(seen);
}

static void op_check(struct model *m)
{
    OK(m, ann_check(m->ix, ANN_CHECK_REACHABLE));
    ann_info info = {.size = ANN_INFO_SIZE};
    OK(m, ann_index_info(m->ix, &info));
    REQUIRE(m, info.count == m->truth->n, "count is %llu", U(info.count));
    REQUIRE(m, info.slots >= info.count + info.removed, "%llu slots", U(info.slots));
    REQUIRE(m, info.kind == m->o.kind && info.metric == m->o.metric && info.dim == m->o.dim &&
                   info.store == m->o.store && info.seed == m->o.seed,
            "other options");
}

static void op_recall(struct model *m)
{
    ann_recall_report r = ANN_RECALL_REPORT_INIT;
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    struct oracle_data d = draw(m, 1 + below(m, 20));
    p.k = 1 + below(m, 20);
    OK(m, ann_recall(m->ix, d.view, &p, &r));
    REQUIRE(m, r.queries == d.view.n && r.k == p.k && r.low <= r.recall + 1e-9 &&
                   r.recall <= r.high + 1e-9 && r.recall <= 1,
            "recall %g in %g..%g", r.recall, r.low, r.high);
    REQUIRE(m, m->o.kind != ANN_FLAT || r.recall == 1, "flat recall %g", r.recall);
    oracle_data_free(&d);
}

static const struct operation {
    const char *name;
    void (*run)(struct model *m);
    unsigned weight;
} operations[] = {
    {"add", op_add, 10},        {"add ids", op_add_ids, 8},   {"update", op_update, 8},
    {"remove", op_remove, 12},  {"get", op_get, 4},           {"search", op_search, 16},
    {"filtered", op_filtered, 8}, {"old filter", op_old_filter, 6}, {"range", op_range, 6},
    {"iterate", op_iterate, 6}, {"compact", op_compact, 3},   {"reopen", op_reopen, 6},
    {"ids", op_ids, 3},         {"check", op_check, 5},       {"recall", op_recall, 3},
};

static const struct operation *draw_operation(struct model *m)
{
    size_t total = 0;
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        total += operations[i].weight;
    size_t at = below(m, total);
    const struct operation *op = operations;
    for (; at >= op->weight; op++)
        at -= op->weight;
    return op;
}

/* ---- sequences ---- */

/* Lists and codes of every sort. */
static void draw_lists(struct model *m)
{
    static const ann_codes codes[] = {ANN_CODES_AUTO, ANN_CODES_NONE, ANN_CODES_SQ8, ANN_CODES_SQ4};
    m->o.codes = codes[below(m, 4)];
    m->o.nlist = (uint32_t)below(m, 40);
    m->o.pq_m = (uint32_t)below(m, (m->o.dim < 24 ? m->o.dim : 24) + 1);
    m->o.pq_bits = 4 + 2 * (uint32_t)below(m, 3);
    m->o.rotation = (ann_rotation)below(m, 4);
    m->o.pq_of = (ann_pq_of)below(m, 3);
    m->o.soar = chance(m, 30);
    m->o.anisotropic = m->o.metric != ANN_L2 && chance(m, 30) ? 0.2 : 0;
}

static void model_open(struct model *m, ann_kind kind, const struct combination *c,
                       uint64_t seed)
{
    static const uint32_t dims[] = {1, 2, 7, 16, 33, 64, 100};
    memset(m, 0, sizeof *m);
    m->seed = seed;
    m->random = seed;
    m->data_seed = seed << 20;
    m->what = "create";
    m->o = (ann_options)ANN_OPTIONS_INIT;
    m->o.kind = kind;
    m->o.store = c->store;
    m->o.metric = c->metric;
    m->o.dim = dims[below(m, sizeof dims / sizeof *dims)];
    m->o.m = 8 + (uint32_t)below(m, 12);
    m->o.ef_construction = 40 + (uint32_t)below(m, 100);
    m->o.seed = rng_next(&m->random);
    m->o.threads = 1 + (uint32_t)below(m, 3);
    m->shape = (enum oracle_shape)(seed % SHAPES);
    m->truth = oracle_new(c->metric, m->o.dim);
    m->allowed = oracle_new(c->metric, 0);
    m->folder = folder_make();
    m->path = in_folder(m->folder, "model.kith");
    if (kind == ANN_IVFPQ)
        draw_lists(m);
    OK(m, ann_create(&m->o, &m->ix));
    if (kind == ANN_IVFPQ)
        train(m);
}

static void model_close(struct model *m)
{
    drop_filter(m);
    ann_close(m->ix);
    oracle_free(m->truth);
    oracle_free(m->allowed);
    folder_remove(m->folder);
    free(m->path);
}

static void sequence(ann_kind kind, const struct combination *c, uint64_t seed)
{
    struct model m;
    model_open(&m, kind, c, seed);
    for (m.op = 0; m.op < OPERATIONS; m.op++) {
        const struct operation *op = m.op == 0 ? operations : draw_operation(&m);
        m.what = op->name;
        op->run(&m);
        if (m.op % 16 == 15)
            op_check(&m);
    }
    m.what = "end";
    op_check(&m);
    op_ids(&m);
    /* Groups of copies, far from each other, are the hardest: few links lead from one to
     * another.  Lists may have learned from a single row, or short codes of a single subspace. */
    const double floor = kind == ANN_IVFPQ ? (m.shape == SHAPE_IDENTICAL ? 0.4 : 0.7)
                         : m.shape == SHAPE_IDENTICAL ? 0.85
                         : c->metric == ANN_IP        ? 0.9
                                                      : 0.97;
    REQUIRE(&m, m.queries == 0 || m.recall / (double)m.queries >= floor,
            "recall %g of %zu queries", m.recall / (double)m.queries, m.queries);
    if (getenv("KITH_MODEL_VERBOSE"))
        printf("# kind %d store %d metric %d shape %d dim %u seed %llu: recall %.4f\n",
               (int)kind, (int)c->store, (int)c->metric, (int)m.shape, m.o.dim, U(seed),
               m.recall / (double)m.queries);
    model_close(&m);
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void sequences(ann_kind kind, int i)
{
    const uint64_t first = setting("KITH_MODEL_SEED", 1),
                   count = setting("KITH_MODEL_COUNT", 8);
    for (uint64_t s = 0; s < count; s++)
        sequence(kind, &combinations[i], first + s);
}

START_TEST(flat)
{
    sequences(ANN_FLAT, _i);
}
END_TEST

START_TEST(hnsw)
{
    sequences(ANN_HNSW, _i);
}
END_TEST

START_TEST(ivfpq)
{
    sequences(ANN_IVFPQ, _i);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("model");
    tcase_add_loop_test(tc, flat, 0, COMBINATIONS);
    tcase_add_loop_test(tc, hnsw, 0, COMBINATIONS);
    tcase_add_loop_test(tc, ivfpq, 0, FLOATS);
    Suite *s = suite_create("model");
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    const int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
