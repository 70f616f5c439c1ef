/*
 * The kernels that read rows: sums of table entries to the last unit, limits, ids and places of
 * every table this machine has, and all that the tables shall have in common, against plain
 * loops. tests/test_rows.c has the estimates themselves.
 *
 * Rows, tables and bitmaps end where an unmapped page begins, as in test_kernels.c.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <math.h>

#include "ann/kernels/rows.h"
#include "tests/kernels_support.h"

enum { MOST_GROUPS = 4, MOST_PLACES = 16 * MOST_GROUPS, SLOTS = 1000 };

enum content { RANDOM, MOST, CONTENTS }; /* MOST: the largest sums there are */

struct sample {
    struct annk_row_query q;
    uint8_t *row;
    struct guarded at[3];
};

static void *at_end(struct guarded *g, size_t bytes)
{
    return g->last - bytes;
}

static void fill_bytes(void *p, size_t n, enum content content)
{
    uint8_t *bytes = p;
    for (size_t i = 0; i < n; i++)
        bytes[i] = content == MOST ? 255 : (uint8_t)(next_u32() >> 11);
}

/* Estimates that are the sums themselves: own 0, factors 0 and 1, scale 1. */
static void make(struct sample *s, size_t padded, unsigned planes, uint32_t groups,
                 enum content content)
{
    const size_t step = annk_row_group_bytes(padded, planes), bytes = padded + groups * step;
    s->row = at_end(&s->at[0], bytes);
    fill_bytes(s->row, bytes, content);
    for (uint32_t g = 0; g < groups; g++)
        for (size_t i = 0; i < 16; i++) {
            uint8_t *group = s->row + padded + g * step;
            const uint32_t kind = next_u32() % 8;
            const uint32_t id = kind == 0   ? ANNK_ROW_EMPTY
                                : kind == 1 ? SLOTS + next_u32() % 3
                                            : next_u32() % SLOTS;
            const uint16_t a = 0, b = 0x3c00;
            memcpy(group + 4 * i, &id, sizeof id);
            memcpy(group + 64 + 2 * i, &a, sizeof a);
            memcpy(group + 96 + 2 * i, &b, sizeof b);
        }
    uint8_t *sums = at_end(&s->at[1], 4 * padded);
    int8_t *query = at_end(&s->at[2], padded);
    fill_bytes(sums, 4 * padded, content);
    fill_bytes(query, padded, RANDOM);
    s->q = (struct annk_row_query){.sums = sums, .query = query, .padded = (uint32_t)padded,
                                   .planes = planes, .groups = groups, .slots = SLOTS,
                                   .own_norm = 1, .own_dot = -2, .scale = 1};
    for (size_t i = 0; i < padded; i++)
        s->q.query_sum += query[i];
}

/* The sum of a place's entries, dimension by dimension from the words of the contract. */
static int64_t sum_of(const struct sample *s, uint32_t place)
{
    const size_t step = annk_row_group_bytes(s->q.padded, s->q.planes);
    const uint8_t *bits = s->row + s->q.padded + place / 16 * step + 128;
    int64_t sum = 0;
    for (size_t d = 0; d < s->q.padded; d += 4)
        for (unsigned p = 0; p < s->q.planes; p++) {
            uint32_t word;
            memcpy(&word, bits + ((d / 32 * s->q.planes + p) * 16 + place % 16) * 4, 4);
            const size_t table = d / 32 * 128 + d % 32 / 8 * 16 + d % 8 / 4 * 64;
            sum += (int64_t)s->q.sums[table + (word >> d % 32 & 15)] << p;
        }
    return sum;
}

static uint32_t id_of(const struct sample *s, uint32_t place)
{
    const size_t step = annk_row_group_bytes(s->q.padded, s->q.planes);
    uint32_t id;
    memcpy(&id, s->row + s->q.padded + place / 16 * step + 4 * (place % 16), sizeof id);
    return id;
}

static void check_scan(const struct annk_row_ops *ops, const struct sample *s, float limit)
{
    float dists[MOST_PLACES + 1];
    uint32_t ids[MOST_PLACES + 1];
    const size_t room = 16 * s->q.groups;
    dists[room] = 77;
    ids[room] = 77;
    const size_t n = ops->scan(&s->q, s->row, 0, limit, dists, ids);
    size_t at = 0;
    for (uint32_t place = 0; place < room; place++) {
        const float want = (float)sum_of(s, place);
        const uint32_t id = id_of(s, place);
        if (id >= SLOTS || !(want <= limit))
            continue;
        CHECK_THAT(at < n && ids[at] == id && dists[at] == want,
                   "%s padded %u planes %u place %u of id %u: [%zu] of %zu is %g of id %u, "
                   "not %g", ops->name, s->q.padded, s->q.planes, place, id, at, n, dists[at], ids[at],
                   want);
        at++;
    }
    CHECK_THAT(at == n, "%s: %zu results, not %zu", ops->name, n, at);
    CHECK_THAT(dists[room] == 77 && ids[room] == 77, "%s: past the end", ops->name);
}

static void check_own(const struct annk_row_ops *ops, struct sample *s)
{
    double want = 0;
    for (size_t i = 0; i < s->q.padded; i++) {
        s->row[i] = s->row[i] ? s->row[i] : 1; /* no code is 0 */
        const double c = s->row[i] - 128;
        want += c * c - 2 * c * s->q.query[i];
    }
    s->q.query_norm = (float)(1e9 + fabs(want));
    const float got = ops->own(&s->q, s->row);
    want += s->q.query_norm;
    CHECK_THAT(fabs(got - want) < 1e-6 * s->q.query_norm, "%s own of %u: %g, not %g", ops->name,
               s->q.padded, got, want);
    s->q.query_norm = -4e9f;
    CHECK_THAT(ops->own(&s->q, s->row) == 0, "%s own: never negative", ops->name);
    s->q.query_norm = 0;
}

START_TEST(sums_are_exact)
{
    if (!table(_i))
        return;
    const struct annk_row_ops *ops = annk_rows_for(isa_names[_i]);
    CHECK_THAT(strcmp(ops->name, isa_names[_i]) == 0, "%s", ops->name);
    static const uint32_t lengths[] = {64, 128, 192, 832, 960, 1024, 1088, 2048, 4160, 16384};
    struct sample s = {.at = {guard_new(), guard_new(), guard_new()}};
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
        for (unsigned planes = 1; planes <= ANNK_ROW_PLANES; planes++)
            for (int content = 0; content < CONTENTS; content++)
                for (uint32_t groups = 0; groups <= MOST_GROUPS; groups += groups ? 3 : 1) {
                    const size_t padded = lengths[l];
                    if (annk_row_bytes(padded, planes, groups) > ROOM)
                        continue;
                    make(&s, padded, planes, groups, (enum content)content);
                    check_scan(ops, &s, INFINITY);
                    check_scan(ops, &s, -1);
                    if (groups > 0) /* a limit that is reached */
                        check_scan(ops, &s, (float)sum_of(&s, next_u32() % (16 * groups)));
                    check_own(ops, &s);
                }
    for (int i = 0; i < 3; i++)
        guard_free(&s.at[i]);
}
END_TEST

/* The factors: the same as in double but for roundings, and NaN is never near. */
START_TEST(factors_of_a_place)
{
    if (!table(_i))
        return;
    const struct annk_row_ops *ops = annk_rows_for(isa_names[_i]);
    struct sample s = {.at = {guard_new(), guard_new(), guard_new()}};
    for (int round = 0; round < 50; round++) {
        make(&s, 128, 2, 1, RANDOM);
        s.q.scale = 0.25f;
        s.q.offset = -700;
        uint8_t *group = s.row + 128;
        for (uint32_t i = 0; i < 16; i++) {
            const uint16_t a = (uint16_t)(next_u32() & 0xbbff), b = (uint16_t)(a ^ 0x8155);
            memcpy(group + 4 * i, &i, 4);
            memcpy(group + 64 + 2 * i, &a, 2);
            memcpy(group + 96 + 2 * i, &b, 2);
        }
        float dists[16], a[16], b[16];
        uint32_t ids[16];
        annk_scalar.f16_to_f32((void *)(group + 64), a, 16);
        annk_scalar.f16_to_f32((void *)(group + 96), b, 16);
        const size_t n = ops->scan(&s.q, s.row, 3, INFINITY, dists, ids);
        CHECK_THAT(n == 16, "%s: %zu places", ops->name, n);
        for (uint32_t i = 0; i < 16; i++) {
            const double t = 0.25 * (double)sum_of(&s, i) - 700;
            const double want = 3.0 + a[i] + b[i] * t;
            CHECK_THAT(ids[i] == i && fabs(dists[i] - want) <= 1e-6 * (3 + fabs(b[i] * t) +
                                                                      fabs((double)a[i])),
                       "%s place %u: %g, not %g", ops->name, i, dists[i], want);
        }
        CHECK_THAT(ops->scan(&s.q, s.row, 3, NAN, dists, ids) == 0, "NaN limit");
        CHECK_THAT(ops->scan(&s.q, s.row, NAN, 1e30f, dists, ids) == 0, "NaN");
    }
    for (int i = 0; i < 3; i++)
        guard_free(&s.at[i]);
}
END_TEST

START_TEST(lowest_and_keep)
{
    if (!table(_i))
        return;
    const struct annk_row_ops *ops = annk_rows_for(isa_names[_i]);
    struct guarded g[2] = {guard_new(), guard_new()};
    for (size_t n = 1; n < 150; n++)
        for (int round = 0; round < 4; round++) {
            float *dists = at_end(&g[0], 4 * n), want[150];
            uint32_t *ids = at_end(&g[1], 4 * n), order[150];
            size_t low = 0, kept = 0;
            for (size_t i = 0; i < n; i++) {
                dists[i] = round == 3 ? INFINITY : (float)(next_u32() % 40) - 10;
                ids[i] = (uint32_t)i;
                low = dists[i] < dists[low] ? i : low;
            }
            const float limit = round == 0 ? 5 : round == 1 ? 100 : -100;
            for (size_t i = 0; i < n; i++)
                if (dists[i] <= limit) {
                    want[kept] = dists[i];
                    order[kept++] = ids[i];
                }
            CHECK_THAT(ops->lowest(dists, n) == low, "%s n %zu: lowest", ops->name, n);
            CHECK_THAT(ops->keep(dists, ids, n, limit) == kept, "%s n %zu: keep", ops->name, n);
            CHECK_THAT(memcmp(dists, want, 4 * kept) == 0 && memcmp(ids, order, 4 * kept) == 0,
                       "%s n %zu: kept", ops->name, n);
        }
    guard_free(&g[0]);
    guard_free(&g[1]);
}
END_TEST

/* Codes and a query's sums are those of the scalar table. */
START_TEST(what_is_made_is_the_same)
{
    if (!table(_i))
        return;
    enum { DIMS = 832 };
    const struct annk_row_ops *ops = annk_rows_for(isa_names[_i]), *plain = &annk_rows_scalar;
    static uint8_t own[DIMS], other[DIMS], entries[2][4 * DIMS];
    static uint32_t words[2][DIMS / 32 * ANNK_ROW_PLANES * 16];
    static int8_t query[DIMS];
    for (int round = 0; round < 40; round++)
        for (unsigned planes = 1; planes <= ANNK_ROW_PLANES; planes++) {
            const size_t padded = 64 * (1 + (size_t)round % 13);
            for (size_t i = 0; i < padded; i++) {
                own[i] = (uint8_t)(1 + next_u32() % 255);
                other[i] = round % 4 ? (uint8_t)(1 + next_u32() % 255) : own[i] ^ (own[i] != 1);
                query[i] = (int8_t)(round == 0 ? 0 : (int)(next_u32() % 255) - 127);
            }
            struct annk_row_code a, b;
            memset(words, 0, sizeof words);
            ops->encode(own, other, padded, planes, words[0], &a);
            plain->encode(own, other, padded, planes, words[1], &b);
            CHECK_THAT(a.norm == b.norm && a.dot == b.dot && a.cross == b.cross, "%s sums",
                       ops->name);
            CHECK_THAT(memcmp(words[0], words[1], sizeof words[0]) == 0, "%s words", ops->name);
            struct annk_row_query q, r;
            ops->sums(query, 0.01f, padded, planes, entries[0], &q);
            plain->sums(query, 0.01f, padded, planes, entries[1], &r);
            CHECK_THAT(q.scale == r.scale && q.offset == r.offset, "%s scale and offset",
                       ops->name);
            CHECK_THAT(memcmp(entries[0], entries[1], 4 * padded) == 0, "%s entries", ops->name);
        }
}
END_TEST

#define ALL_TESTS(X)                                                                        \
    X(sums_are_exact)                                                                       \
    X(factors_of_a_place)                                                                   \
    X(lowest_and_keep)                                                                      \
    X(what_is_made_is_the_same)

KERNEL_TESTS_MAIN("row_kernels", ALL_TESTS, no_answer)
