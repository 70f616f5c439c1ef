/*
 * The kernels of lists, every table this machine has: sums to the last unit, estimates, limits
 * and places against plain loops over the layout that lists.h names; several queries at once
 * against one at a time; the tables of a query against double and against their definition.
 *
 * Codes, tables and results end where an unmapped page begins, as in test_kernels.c.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <float.h>
#include <math.h>
#include <stdbool.h>

#include "ann/kernels/lists.h"
#include "tests/kernels_support.h"

static const unsigned all_bits[] = {4, 6, 8};
enum { WIDTHS = 3, MOST_PLACES = 256 };

enum content { RANDOM, MOST, CONTENTS }; /* MOST: the largest sums there are */
enum { CODES, TABLE, BIAS, DISTS, OUT, GUARDS };

struct sample {
    struct annk_list_query q;
    struct annk_list_run run;
    int64_t sums[MOST_PLACES];
    float bias[MOST_PLACES];
    struct guarded at[GUARDS];
};

static const struct annk_list_ops *lists_of(int i)
{
    return table(i) ? annk_lists_for(isa_names[i]) : NULL;
}

static void sample_new(struct sample *s)
{
    for (int i = 0; i < GUARDS; i++)
        s->at[i] = guard_new();
}

static void sample_free(struct sample *s)
{
    for (int i = 0; i < GUARDS; i++)
        guard_free(&s->at[i]);
}

/* n bytes that end at the guard, or (odd) lie at an odd address. */
static void *room_for(struct guarded *g, size_t bytes, bool odd)
{
    return odd && bytes + 1 < ROOM ? g->first + 1 : g->last - bytes;
}

static void fill_bytes(void *p, size_t n, enum content content)
{
    uint8_t *bytes = p;
    for (size_t i = 0; i < n; i++)
        bytes[i] = content == MOST ? 255 : (uint8_t)(next_u32() >> 11);
}

/* Four queries of centroids whose codes and results end at a guard. */
struct coarse_sample {
    struct annk_coarse_query q[ANNK_LIST_BATCH];
    struct guarded code[ANNK_LIST_BATCH], dists[ANNK_LIST_BATCH];
};

static void coarse_fill(struct coarse_sample *c, size_t n, size_t dims, enum content content)
{
    for (size_t i = 0; i < ANNK_LIST_BATCH; i++) {
        int8_t *const code = (int8_t *)c->code[i].last - dims;
        int32_t sum = 0;
        for (size_t d = 0; d < dims; d++) {
            code[d] = (int8_t)(content == MOST ? -127 : (int)(next_u32() >> 11) % 128);
            sum += code[d];
        }
        c->q[i] = (struct annk_coarse_query){code, sum, (float)i, -0.01f,
                                             (float *)(void *)(c->dists[i].last - 4 * n)};
    }
}

static void check_centroid(const struct annk_list_ops *ops, const struct annk_coarse_query *q,
                           const uint8_t *row, float norm, size_t groups, float got)
{
    double dot = 0;
    for (size_t d = 0; d < 4 * groups; d++)
        dot += ((double)row[d / 4 * 64 + d % 4] - 128) * (double)q->code[d];
    const double by = (double)q->by * dot, sum = (double)q->norm + (double)norm + by;
    CHECK_THAT(fabs((double)got - (sum > 0 ? sum : 0)) <=
                   1e-6 * ((double)q->norm + (double)norm + fabs(by)),
               "%s, %zu groups: %g, not %g", ops->name, groups, (double)got, sum);
}

/* n centroids against loops over the layout; with other queries and without the same bits. */
static void check_coarse(const struct annk_list_ops *ops, struct sample *s,
                         struct coarse_sample *c, size_t n, size_t groups, enum content content)
{
    const size_t whole = (n + 15) / 16 * 16, nq = 1 + next_u32() % ANNK_LIST_BATCH;
    uint8_t *const t = room_for(&s->at[CODES], whole * groups * 4, next_u32() >> 31);
    float *const norms = room_for(&s->at[BIAS], whole * 4, false), alone[MOST_PLACES];
    fill_bytes(t, whole * groups * 4, content);
    for (size_t l = 0; l < whole; l++)
        norms[l] = (float)(next_u32() % 1000);
    coarse_fill(c, n, 4 * groups, content);
    ops->coarse(c->q, nq, t, norms, n, groups);
    for (size_t i = 0; i < nq; i++) {
        struct annk_coarse_query q = c->q[i];
        for (size_t l = 0; l < n; l++)
            check_centroid(ops, &q, t + (l / 16 * groups * 16 + l % 16) * 4, norms[l], groups,
                           q.dists[l]);
        q.dists = alone;
        ops->coarse(&q, 1, t, norms, n, groups);
        CHECK_THAT(memcmp(alone, c->q[i].dists, 4 * n) == 0, "%s: %zu together", ops->name, nq);
    }
}

/* The code of vector i in subspace s, as lists.h says. */
static unsigned code_of(const struct sample *s, size_t i, uint32_t sub)
{
    const uint8_t *const codes = s->run.codes;
    const size_t m = s->q.m, all = (s->run.n + 15) / 16 * 16;
    if (s->q.bits == 4) {
        const size_t g = sub % 8;
        const uint8_t byte = codes[i / 16 * m * 8 + sub / 8 * 64 + 4 * (i % 16) + g % 4];
        return g < 4 ? byte & 15 : byte >> 4;
    }
    const size_t block = i / 64 * 64, width = all - block < 64 ? all - block : 64;
    const uint8_t *const from = codes + block * m * s->q.bits / 8 + i % 64;
    if (s->q.bits == 8)
        return from[sub * width];
    const uint8_t *const c = from + sub / 4 * 3 * width;
    const unsigned a = c[0], b = c[width], d = c[2 * width];
    switch (sub % 4) {
    case 0: return a & 63;
    case 1: return b & 63;
    case 2: return d & 63;
    default: return a >> 6 | b >> 6 << 2 | d >> 6 << 4;
    }
}

/* The entry of a table that a code looks up. */
static unsigned entry_of(const struct annk_list_query *q, uint32_t sub, unsigned code)
{
    if (q->bits != 4)
        return q->table[((size_t)sub << q->bits) + code];
    const uint32_t g = sub % 8, at = g < 4 ? 16 * g : 64 + 16 * (g - 4);
    return q->table[sub / 8 * 128 + at + code];
}

static int64_t sum_of(const struct sample *s, const struct annk_list_query *q, size_t i)
{
    int64_t sum = 0;
    for (uint32_t sub = 0; sub < q->m; sub++)
        sum += entry_of(q, sub, code_of(s, i, sub));
    return sum;
}

/* A list of n vectors with a query whose estimates are the sums and whole numbers: exact. */
static void make(struct sample *s, unsigned bits, uint32_t m, size_t n, enum content content)
{
    const bool odd = next_u32() >> 31;
    const uint32_t padded = annk_list_padded(bits, m);
    const size_t bytes = annk_list_bytes(bits, padded, n), all = (n + 15) / 16 * 16,
                 entries = (size_t)padded << bits;
    uint8_t *const codes = room_for(&s->at[CODES], bytes, odd);
    uint8_t *const table = room_for(&s->at[TABLE], entries, odd);
    uint16_t *const bias = room_for(&s->at[BIAS], all * 2, odd);
    fill_bytes(codes, bytes, RANDOM);
    fill_bytes(table, entries, content);
    memset(table + ((size_t)m << bits), 0, (size_t)(padded - m) << bits);
    uint16_t halves[MOST_PLACES];
    for (size_t i = 0; i < all; i++)
        s->bias[i] = (float)(next_u32() % 2048);
    annk_scalar.f32_to_f16(s->bias, halves, all);
    memcpy(bias, halves, all * 2);
    s->q = (struct annk_list_query){.table = table, .m = padded, .bits = bits, .step = 1};
    s->run = (struct annk_list_run){.codes = codes, .bias = bias, .n = n, .last = n};
    for (size_t i = 0; i < n; i++)
        s->sums[i] = sum_of(s, &s->q, i);
}

/* What comes out of s->run for this limit. */
static void check_scan(const struct annk_list_ops *ops, struct sample *s, float base,
                       float limit)
{
    const struct annk_list_run *const run = &s->run;
    const size_t looked = run->last > run->first ? run->last - run->first : 0,
                 room = (looked + 15) / 16 * 16;
    const bool odd = next_u32() >> 31;
    char *const dists = room_for(&s->at[DISTS], room * 4, odd);
    char *const places = room_for(&s->at[OUT], room * 4, odd);
    const size_t n = ops->scan(&s->q, run, base, limit, (void *)dists, (void *)places);
    size_t at = 0;
    for (size_t i = run->first; i < run->last && i < run->n; i++) {
        const float want = base + s->bias[i] + (float)s->sums[i];
        if (!(want <= limit))
            continue;
        float d = -1;
        uint32_t place = UINT32_MAX;
        if (at < n) {
            memcpy(&d, dists + 4 * at, sizeof d);
            memcpy(&place, places + 4 * at, sizeof place);
        }
        CHECK_THAT(place == i && d == want,
                   "%s %u bits, m %u, n %zu, %zu to %zu, place %zu: [%zu] of %zu is %.9g at "
                   "%u, not %.9g", ops->name, s->q.bits, s->q.m, run->n, run->first, run->last,
                   i, at, n, (double)d, place, (double)want);
        at++;
    }
    CHECK_THAT(n == at, "%s %u bits, m %u, n %zu, %zu to %zu: %zu results, not %zu", ops->name,
               s->q.bits, s->q.m, run->n, run->first, run->last, n, at);
}

/* All, none, and those up to one that is there; whole lists, and pieces. */
static void check_list(const struct annk_list_ops *ops, struct sample *s)
{
    const size_t n = s->run.n;
    check_scan(ops, s, 0, INFINITY);
    check_scan(ops, s, 0, -1);
    check_scan(ops, s, -INFINITY, -INFINITY);
    for (int piece = 0; piece < 4 && n > 0; piece++) {
        const size_t i = next_u32() % n;
        s->run.first = next_u32() % n / 64 * 64;
        s->run.last = s->run.first + next_u32() % (n - s->run.first + 1);
        check_scan(ops, s, 5, 5 + s->bias[i] + (float)s->sums[i]);
        check_scan(ops, s, 0, INFINITY);
        s->run.first = 0;
        s->run.last = n;
        check_scan(ops, s, -3, -3 + s->bias[i] + (float)s->sums[i]);
    }
}

START_TEST(sums_are_exact)
{
    const struct annk_list_ops *const ops = lists_of(_i);
    if (!ops)
        return;
    CHECK_THAT(strcmp(ops->name, isa_names[_i]) == 0, "%s", ops->name);
    struct sample s;
    sample_new(&s);
    for (int w = 0; w < WIDTHS; w++) {
        for (size_t n = 0; n <= 200; n++) {
            make(&s, all_bits[w], 1 + next_u32() % 30, n, RANDOM);
            check_list(ops, &s);
        }
        for (uint32_t m = 1; m <= 70; m++)
            for (int round = 0; round < 3; round++) {
                make(&s, all_bits[w], m, 1 + next_u32() % 140, round ? RANDOM : MOST);
                check_list(ops, &s);
            }
    }
    sample_free(&s);
}
END_TEST

/* Subspaces whose sums leave 16 bits. */
START_TEST(many_subspaces)
{
    const struct annk_list_ops *const ops = lists_of(_i);
    if (!ops)
        return;
    static const uint32_t lengths[] = {128, 255, 256, 257, 258, 264, 511, 513, 1024, 2040};
    struct sample s;
    sample_new(&s);
    for (int w = 0; w < WIDTHS; w++)
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
            for (int content = 0; content < CONTENTS; content++) {
                make(&s, all_bits[w], lengths[l], 1 + next_u32() % 140, (enum content)content);
                check_list(ops, &s);
            }
    make(&s, 4, 4096, 200, MOST);
    check_list(ops, &s);
    make(&s, 4, 32768, 32, MOST);
    check_list(ops, &s);
    sample_free(&s);
}
END_TEST

/* The most subspaces there are, and the largest entries. */
START_TEST(no_overflow)
{
    enum { M = 65536, N = 16 };
    const struct annk_list_ops *const ops = lists_of(_i);
    if (!ops)
        return;
    for (int w = 0; w < WIDTHS; w++) {
        const unsigned bits = all_bits[w];
        const size_t entries = (size_t)M << bits, bytes = annk_list_bytes(bits, M, N);
        uint8_t *const table = malloc(entries), *const codes = malloc(bytes);
        CHECK_THAT(table && codes, "memory");
        memset(table, 255, entries);
        fill_bytes(codes, bytes, RANDOM);
        const uint16_t bias[N] = {0};
        const struct annk_list_query q = {.table = table, .m = M, .bits = bits, .step = 1};
        const struct annk_list_run run = {.codes = codes, .bias = bias, .n = N, .last = N};
        float dists[N];
        uint32_t places[N];
        CHECK_THAT(ops->scan(&q, &run, 0, INFINITY, dists, places) == N, "all");
        for (uint32_t i = 0; i < N; i++)
            CHECK_THAT(places[i] == i && dists[i] == 255.0f * M, "%s %u bits: %.9g", ops->name,
                       bits, (double)dists[i]);
        free(table);
        free(codes);
    }
}
END_TEST

static float half(uint16_t h)
{
    float x;
    annk_scalar.f16_to_f32(&h, &x, 1);
    return x;
}

/* Estimates of real steps: those in double but for roundings; any bias, NaN is never near. */
START_TEST(estimates)
{
    const struct annk_list_ops *const ops = lists_of(_i);
    if (!ops)
        return;
    struct sample s;
    sample_new(&s);
    for (int round = 0; round < 200; round++) {
        const size_t n = 1 + next_u32() % 150;
        make(&s, all_bits[round % WIDTHS], 1 + next_u32() % 40, n, RANDOM);
        s.q.step = 0.001f * (1 + next_float());
        const float base = 10 * next_float();
        uint16_t *const bias = malloc(2 * MOST_PLACES);
        for (size_t i = 0; i < MOST_PLACES; i++)
            bias[i] = (uint16_t)(next_u32() >> 16);
        s.run.bias = bias;
        float dists[MOST_PLACES];
        uint32_t places[MOST_PLACES];
        const size_t got = ops->scan(&s.q, &s.run, base, INFINITY, dists, places);
        size_t at = 0;
        for (size_t i = 0; i < n; i++) {
            const double b = half(bias[i]), add = (double)s.q.step * (double)s.sums[i];
            if (isnan(b))
                continue;
            const double want = base + b + add, off = at < got ? dists[at] - want : NAN;
            const bool same = isinf(b) ? dists[at] == b
                                       : fabs(off) <= 2.5e-7 * (fabs(base) + fabs(b) + add);
            CHECK_THAT(at < got && places[at] == i && same, "%s place %zu of %zu: %g, not %g",
                       ops->name, i, n, at < got ? (double)dists[at] : 0.0, want);
            at++;
        }
        CHECK_THAT(at == got, "%s: %zu, not %zu", ops->name, got, at);
        CHECK_THAT(ops->scan(&s.q, &s.run, base, NAN, dists, places) == 0, "NaN limit");
        CHECK_THAT(ops->scan(&s.q, &s.run, NAN, INFINITY, dists, places) == 0, "NaN");
        free(bias);
    }
    sample_free(&s);
}
END_TEST

/* Queries at once, with their own tables, bases and limits: the bits of one at a time. */
START_TEST(batches)
{
    const struct annk_list_ops *const ops = lists_of(_i);
    if (!ops)
        return;
    struct sample s;
    sample_new(&s);
    struct guarded tables[ANNK_LIST_BATCH];
    for (int i = 0; i < ANNK_LIST_BATCH; i++)
        tables[i] = guard_new();
    for (int round = 0; round < 400; round++) {
        const unsigned bits = all_bits[round % WIDTHS];
        const uint32_t m = 1 + next_u32() % (round % 16 ? 70 : 600);
        make(&s, bits, m, next_u32() % 200, RANDOM);
        if (s.run.n > 64)
            s.run.first = 64 * (next_u32() % 2);
        struct annk_list_query of[ANNK_LIST_BATCH];
        const struct annk_list_query *q[ANNK_LIST_BATCH];
        float base[ANNK_LIST_BATCH], limit[ANNK_LIST_BATCH], *dists[ANNK_LIST_BATCH];
        static float room[2][ANNK_LIST_BATCH][MOST_PLACES];
        static uint32_t place_room[2][ANNK_LIST_BATCH][MOST_PLACES];
        uint32_t *places[ANNK_LIST_BATCH];
        size_t counts[ANNK_LIST_BATCH];
        const size_t nq = 1 + next_u32() % ANNK_LIST_BATCH;
        for (size_t i = 0; i < nq; i++) {
            const size_t entries = (size_t)s.q.m << bits;
            uint8_t *const t = room_for(&tables[i], entries, i & 1);
            fill_bytes(t, entries, RANDOM);
            of[i] = s.q;
            of[i].table = t;
            of[i].step = 0.01f * (2 + next_float());
            q[i] = &of[i];
            base[i] = 1000 * next_float();
            limit[i] = base[i] + 1.275f * (float)m * (1 + next_float() / 2) + 1000;
            dists[i] = room[0][i];
            places[i] = place_room[0][i];
        }
        ops->scan_batch(q, nq, &s.run, base, limit, dists, places, counts);
        for (size_t i = 0; i < nq; i++) {
            const size_t n =
                ops->scan(q[i], &s.run, base[i], limit[i], room[1][i], place_room[1][i]);
            CHECK_THAT(counts[i] == n, "%s query %zu of %zu: %zu, not %zu", ops->name, i, nq,
                       counts[i], n);
            CHECK_THAT(memcmp(room[0][i], room[1][i], 4 * n) == 0 &&
                           memcmp(place_room[0][i], place_room[1][i], 4 * n) == 0,
                       "%s %u bits, m %u, query %zu of %zu", ops->name, bits, m, i, nq);
        }
    }
    for (int i = 0; i < ANNK_LIST_BATCH; i++)
        guard_free(&tables[i]);
    sample_free(&s);
}
END_TEST

/* ---- a query's tables ---- */

START_TEST(centroids)
{
    static const size_t counts[] = {1, 2, 3, 15, 16, 17, 33, 47, 64, 65, 100, 130},
                        groups[] = {1, 2, 7, 25, 32, 200};
    const struct annk_list_ops *const ops = lists_of(_i);
    struct sample s;
    struct coarse_sample c;
    if (!ops)
        return;
    sample_new(&s);
    for (int i = 0; i < ANNK_LIST_BATCH; i++) {
        c.code[i] = guard_new();
        c.dists[i] = guard_new();
    }
    for (size_t n = 0; n < sizeof counts / sizeof *counts; n++)
        for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
            for (int content = 0; content < CONTENTS; content++)
                check_coarse(ops, &s, &c, counts[n], groups[g], (enum content)content);
    for (int i = 0; i < ANNK_LIST_BATCH; i++) {
        guard_free(&c.code[i]);
        guard_free(&c.dists[i]);
    }
    sample_free(&s);
}
END_TEST

START_TEST(products_of_codebooks)
{
    const struct annk_list_ops *const ops = lists_of(_i);
    if (!ops)
        return;
    static const uint32_t dsubs[] = {1, 2, 3, 7, 8, 15, 16, 17, 33, 100, 500};
    struct guarded g[3] = {guard_new(), guard_new(), guard_new()};
    for (int w = 0; w < WIDTHS; w++)
        for (size_t l = 0; l < sizeof dsubs / sizeof *dsubs; l++)
            for (uint32_t m = 1; m <= 5; m++) {
                const uint32_t dsub = dsubs[l];
                const size_t words = (size_t)1 << all_bits[w], size = m * dsub * words * 4;
                if (size > ROOM)
                    continue;
                float *const books = room_for(&g[0], size, m & 1);
                float *const y = room_for(&g[1], (size_t)m * dsub * 4, m & 1);
                float *const out = room_for(&g[2], m * words * 4, m & 1);
                for (size_t i = 0; i < m * dsub * words; i++) {
                    const float x = next_float();
                    memcpy((char *)books + 4 * i, &x, 4);
                }
                for (size_t i = 0; i < m * dsub; i++) {
                    const float x = 3 * next_float();
                    memcpy((char *)y + 4 * i, &x, 4);
                }
                ops->products(books, y, m, dsub, all_bits[w], out);
                for (size_t s = 0; s < m; s++)
                    for (size_t j = 0; j < words; j++) {
                        double dot = 0, size_sum = 0;
                        for (size_t d = 0; d < dsub; d++) {
                            float a, b;
                            memcpy(&a, (char *)books + 4 * ((s * dsub + d) * words + j), 4);
                            memcpy(&b, (char *)y + 4 * (s * dsub + d), 4);
                            dot += (double)a * b;
                            size_sum += fabs((double)a * b);
                        }
                        float got;
                        memcpy(&got, (char *)out + 4 * (s * words + j), 4);
                        const double most = 2 * (dsub / 16 + 16) * 0x1p-24 * size_sum;
                        CHECK_THAT(fabs(got + 2 * dot) <= most,
                                   "%s %u bits, dsub %u, [%zu][%zu]: %g, not %g", ops->name,
                                   all_bits[w], dsub, s, j, (double)got, -2 * dot);
                    }
            }
    for (int i = 0; i < 3; i++)
        guard_free(&g[i]);
}
END_TEST

/* What lists.h says of quantise, in plain C. */
static float quantise(const float *p, uint32_t m, size_t words, uint8_t *table, float *step)
{
    float largest = 0;
    double sum = 0;
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t s = 0; s < m; s++) {
            float least = p[s * words], most = least;
            for (size_t j = 1; j < words; j++) {
                least = p[s * words + j] < least ? p[s * words + j] : least;
                most = p[s * words + j] > most ? p[s * words + j] : most;
            }
            if (pass == 0) {
                sum += (double)least;
                largest = most - least > largest ? most - least : largest;
                *step = largest / 255.0f >= FLT_MIN ? largest / 255.0f : 1;
                continue;
            }
            const float by = 1.0f / *step;
            for (size_t j = 0; j < words; j++) {
                const float from = p[s * words + j] - least, times = from * by;
                table[s * words + j] = (uint8_t)fminf(rintf(times), 255);
            }
        }
    return (float)sum;
}

/* Bytes as defined, the same in every table, and within half a step. */
START_TEST(quantised_tables)
{
    const struct annk_list_ops *const ops = lists_of(_i);
    if (!ops)
        return;
    enum { MOST_M = 40 };
    static float p[MOST_M << 8];
    static uint8_t want[MOST_M << 8];
    struct guarded g[2] = {guard_new(), guard_new()};
    for (int round = 0; round < 300; round++) {
        const unsigned bits = all_bits[round % WIDTHS];
        const uint32_t m = 1 + next_u32() % MOST_M, padded = annk_list_padded(bits, m);
        const size_t words = (size_t)1 << bits, n = m * words;
        for (size_t i = 0; i < n; i++)
            p[i] = round < 3     ? 7
                   : round < 6   ? (float)(next_u32() % 3) * 0x1p-140f
                   : round < 100 ? (float)((int)(next_u32() % 511) - 255) / 2 /* halves */
                                 : 0x1p20f * next_float();
        float *const from = room_for(&g[0], n * 4, round & 1);
        memcpy(from, p, n * 4);
        uint8_t *const table = room_for(&g[1], padded * words, round & 1);
        fill_bytes(table, padded * words, MOST);
        struct annk_list_query q;
        float step = 1;
        const float base = ops->quantise(from, m, bits, table, &q),
                    sum = quantise(p, m, words, want, &step);
        CHECK_THAT(q.table == table && q.m == padded && q.bits == bits, "%s query", ops->name);
        CHECK_THAT(base == sum && q.step == step, "%s base %g, not %g; step %g, not %g",
                   ops->name, (double)base, (double)sum, (double)q.step, (double)step);
        for (uint32_t s = 0; s < padded; s++)
            for (size_t j = 0; j < words; j++) {
                const unsigned got = entry_of(&q, s, (unsigned)j);
                CHECK_THAT(got == (s < m ? want[s * words + j] : 0), "%s %u bits [%u][%zu]: %u",
                           ops->name, bits, s, j, got);
            }
    }
    guard_free(&g[0]);
    guard_free(&g[1]);
}
END_TEST

#define ALL_TESTS(X)                                                                        \
    X(sums_are_exact)                                                                       \
    X(many_subspaces)                                                                       \
    X(no_overflow)                                                                          \
    X(estimates)                                                                            \
    X(batches)                                                                              \
    X(centroids)                                                                            \
    X(products_of_codebooks)                                                                \
    X(quantised_tables)

KERNEL_TESTS_MAIN("list_kernels", ALL_TESTS, no_answer)
