/*
 * rows.h in plain C, for every table: the whole of the scalar one, and what
 * an instruction set has no better way for.  Loops over integers are written
 * so that the compiler can use the set's vectors.  A file that brings its own
 * row_own, row_scan, row_lowest, row_keep and row_fills defines ANNK_ROWS_VECTORS
 * and, before DEFINE_ROWS, those; likewise ANNK_ROWS_ENCODE for row_encode.
 */
#ifndef ANNK_BODY_ROWS_H
#define ANNK_BODY_ROWS_H

#include <math.h>
#include <string.h>

#include "body_nibbles.h"
#include "kernels.h"
#include "rows.h"

/* The value of an f16, finite ones alone. */
static inline float row_half(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fff;
    if (rest < 0x400) { /* subnormal: a multiple of 2^-24 */
        const float small = (float)rest * 0x1p-24f;
        return sign ? -small : small;
    }
    const uint32_t u = sign | ((rest << 13) + (112u << 23));
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* ---- making ---- */

/* Candidates for the width of a code's cell, in units of the residual's root mean square. */
enum { ROW_WIDTHS = 7 };

/* Of 1-bit codes there is nothing to choose. */
static inline void row_signs(const uint8_t *own, const uint8_t *other, size_t padded,
                             uint32_t *words, struct annk_row_code *out)
{
    int64_t norm = 0, dot = 0, cross = 0;
    for (size_t at = 0; at < padded; at += 32, words += 16) {
        uint32_t bits = 0;
        int32_t n = 0, d = 0, x = 0;
        for (unsigned i = 0; i < 32; i++) {
            const int32_t r = (int32_t)other[at + i] - own[at + i], c = (int32_t)own[at + i] - 128;
            n += r * r;
            d += r < 0 ? -r : r;
            x += r < 0 ? -c : c;
            bits |= (uint32_t)(r >= 0) << i;
        }
        norm += n;
        dot += d;
        cross += x;
        *words = bits;
    }
    *out = (struct annk_row_code){norm, dot, cross};
}

/* Integer thresholds between magnitudes 0, 1, ... of a code, for cells of this width. */
static inline void row_limits(double width, unsigned steps, int32_t *limits)
{
    for (unsigned m = 0; m < steps; m++)
        limits[m] = (int32_t)ceil((m + 1) * width);
}

/* <2|y|, |r|> and |2y|^2 of residual magnitudes under these thresholds. */
static inline void row_fit(const uint8_t *sizes, size_t padded, const int32_t *limits,
                           unsigned steps, int64_t *dot, int64_t *norm)
{
    int64_t sum = 0, square = (int64_t)padded;
    for (size_t i = 0; i < padded; i += 64) {
        int32_t s = 0;
        for (unsigned j = 0; j < 64; j++)
            s += sizes[i + j];
        sum += s;
    }
    for (unsigned m = 0; m < steps; m++) {
        if (limits[m] > 255)
            break;
        const uint8_t limit = (uint8_t)limits[m];
        int64_t above = 0, count = 0;
        for (size_t i = 0; i < padded; i += 64) {
            int32_t s = 0, n = 0;
            for (unsigned j = 0; j < 64; j++) {
                const uint8_t in = sizes[i + j] >= limit ? 0xff : 0;
                s += sizes[i + j] & in;
                n += in & 1;
            }
            above += s;
            count += n;
        }
        sum += 2 * above;              /* 2y: 1, 3, 5, ... */
        square += 8 * (m + 1) * count; /* (2m+3)^2 - (2m+1)^2 */
    }
    *dot = sum;
    *norm = square;
}

static inline void row_planes(const uint8_t *own, const uint8_t *other, size_t padded,
                              unsigned planes, const int32_t *limits, uint32_t *words,
                              int64_t *cross)
{
    const unsigned steps = (1u << (planes - 1)) - 1;
    int64_t sum = 0;
    for (size_t at = 0; at < padded; at += 32) {
        uint32_t bits[ANNK_ROW_PLANES] = {0};
        int32_t s = 0;
        for (unsigned i = 0; i < 32; i++) {
            const int32_t r = (int32_t)other[at + i] - own[at + i], c = (int32_t)own[at + i] - 128;
            const int32_t size = r < 0 ? -r : r;
            int32_t m = 0;
            for (unsigned j = 0; j < steps; j++)
                m += size >= limits[j];
            const int32_t y2 = r < 0 ? -(2 * m + 1) : 2 * m + 1;
            s += y2 * c;
            const uint32_t u = (uint32_t)(y2 + (int32_t)(1u << planes) - 1) >> 1;
            for (unsigned p = 0; p < planes; p++)
                bits[p] |= (u >> p & 1) << i;
        }
        sum += s;
        for (unsigned p = 0; p < planes; p++)
            words[(at / 32 * planes + p) * 16] = bits[p];
    }
    *cross = sum;
}

/* How well sizes are fitted: the square of a cosine, but for a factor. */
static inline double row_quality(int64_t dot, int64_t norm)
{
    return (double)dot * (double)dot / (double)norm;
}

/* Widths to try, per plane count 2..4. */
static const float row_widths[3][ROW_WIDTHS] = {
    {0.7f, 0.8f, 0.9f, 1.0f, 1.1f, 1.2f, 1.3f},
    {0.40f, 0.46f, 0.52f, 0.58f, 0.64f, 0.70f, 0.78f},
    {0.22f, 0.25f, 0.28f, 0.31f, 0.35f, 0.40f, 0.45f},
};

/* The thresholds that fit `other` best; the sums that do not depend on the code's signs. */
static inline void row_best_limits(const uint8_t *own, const uint8_t *other, size_t padded,
                                   unsigned planes, int32_t *best, struct annk_row_code *out)
{
    enum { RUN = 1024 }; /* dimensions looked at in one go */
    const unsigned steps = (1u << (planes - 1)) - 1;
    uint8_t sizes[RUN];
    int32_t limits[ROW_WIDTHS][8];
    int64_t dots[ROW_WIDTHS] = {0}, norms[ROW_WIDTHS] = {0}, norm = 0;
    for (size_t at = 0; at < padded; at += 32) {
        int32_t n = 0;
        for (unsigned i = 0; i < 32; i++) {
            const int32_t r = (int32_t)other[at + i] - own[at + i];
            n += r * r;
        }
        norm += n;
    }
    const double rms = sqrt((double)norm / (double)padded);
    for (unsigned w = 0; w < ROW_WIDTHS; w++)
        row_limits(rms * (double)row_widths[planes - 2][w], steps, limits[w]);
    for (size_t at = 0; at < padded; at += RUN) {
        const size_t n = padded - at < RUN ? padded - at : RUN;
        for (size_t i = 0; i < n; i++) {
            const uint8_t a = other[at + i], b = own[at + i];
            sizes[i] = a > b ? (uint8_t)(a - b) : (uint8_t)(b - a);
        }
        for (unsigned w = 0; w < ROW_WIDTHS; w++) {
            int64_t dot, square;
            row_fit(sizes, n, limits[w], steps, &dot, &square);
            dots[w] += dot;
            norms[w] += square;
        }
    }
    unsigned at = 0;
    for (unsigned w = 1; w < ROW_WIDTHS; w++)
        if (row_quality(dots[w], norms[w]) > row_quality(dots[at], norms[at]))
            at = w;
    memcpy(best, limits[at], sizeof limits[at]);
    out->norm = norm;
    out->dot = dots[at];
}

#ifndef ANNK_ROWS_ENCODE

static void row_encode(const uint8_t *own, const uint8_t *other, size_t padded, unsigned planes,
                       uint32_t *words, struct annk_row_code *out)
{
    if (planes == 1) {
        row_signs(own, other, padded, words, out);
        return;
    }
    int32_t limits[8];
    row_best_limits(own, other, padded, planes, limits, out);
    row_planes(own, other, padded, planes, limits, words, &out->cross);
}

#endif

/* ---- reading ---- */

static inline float row_own_distance(const struct annk_row_query *q, int32_t norm, int32_t dot)
{
    const float d = q->query_norm + q->own_norm * (float)norm + q->own_dot * (float)dot;
    return d > 0 ? d : 0;
}

/* Of the next row what goes with group g of `step` bytes: fetched all at once, its lines are
 * more than there are buffers for misses, and nothing else happens until some are free. */
static inline void row_fetch_next(const struct annk_row_query *q, uint32_t g, size_t step)
{
    if (q->next && g == 0)
        annk_prefetch(q->next, q->padded + step);
    else if (q->next)
        annk_prefetch(q->next + q->padded + g * step, step);
}

#ifndef ANNK_ROWS_VECTORS

static float row_own(const struct annk_row_query *q, const uint8_t *row)
{
    int32_t norm = 0, dot = 0;
    for (size_t i = 0; i < q->padded; i++) {
        const int32_t c = (int32_t)row[i] - 128;
        norm += c * c;
        dot += c * q->query[i];
    }
    return row_own_distance(q, norm, dot);
}

/* Sums of table entries for the 16 places of a group. */
static inline void row_group_sums(const struct annk_row_query *q, const uint8_t *bits,
                                  uint32_t *sums)
{
    const uint8_t *table = q->sums;
    memset(sums, 0, 16 * sizeof *sums);
    for (size_t chunk = 0; chunk < q->padded / 32; chunk++, table += 128)
        for (unsigned p = 0; p < q->planes; p++, bits += 64)
            nibble_chunk(table, bits, p, sums);
}

static size_t row_scan(const struct annk_row_query *q, const uint8_t *row, float own,
                       float limit, float *dists, uint32_t *ids)
{
    const size_t step = annk_row_group_bytes(q->padded, q->planes);
    const uint8_t *group = row + q->padded;
    size_t n = 0;
    for (uint32_t g = 0; g < q->groups; g++, group += step) {
        uint32_t sums[16], at[16];
        uint16_t factors[32];
        row_fetch_next(q, g, step);
        memcpy(at, group, sizeof at);
        memcpy(factors, group + 64, sizeof factors);
        row_group_sums(q, group + 128, sums);
        for (unsigned i = 0; i < 16; i++) {
            if (at[i] >= q->slots)
                continue;
            const float t = q->scale * (float)(int32_t)sums[i] + q->offset;
            const float d = own + row_half(factors[i]) + row_half(factors[16 + i]) * t;
            if (!(d <= limit))
                continue;
            dists[n] = d;
            ids[n++] = at[i];
        }
    }
    return n;
}

static size_t row_lowest(const float *dists, size_t n)
{
    size_t at = 0;
    for (size_t i = 1; i < n; i++)
        at = dists[i] < dists[at] ? i : at;
    return at;
}

#endif

#ifndef ANNK_ROWS_KEEP

static size_t row_keep(float *dists, uint32_t *ids, size_t n, float limit)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        const float d = dists[i];
        const uint32_t id = ids[i];
        dists[kept] = d;
        ids[kept] = id;
        kept += d <= limit;
    }
    return kept;
}

#endif

/* ---- the table of sums ---- */

#define ROW_WEIGHT_MAX 63 /* four of them fit into an entry */

/* Of the weights w of a query's magnitudes. */
struct row_weights {
    int32_t sum, dot, norm; /* of w, of magnitude * w, of w * w */
};

static inline uint8_t row_weight(int8_t value)
{
    const int half = ((value < 0 ? -value : value) + 1) / 2;
    return (uint8_t)(half < ROW_WEIGHT_MAX ? half : ROW_WEIGHT_MAX);
}

#ifdef ANNK_ROWS_VECTORS

static struct row_weights row_fills(const int8_t *query, size_t padded, uint8_t *entries);

#else

static struct row_weights row_fills(const int8_t *query, size_t padded, uint8_t *entries)
{
    struct row_weights all = {0, 0, 0};
    for (size_t at = 0; at < padded; at += 4) {
        const size_t g = at % 32 / 4;
        uint8_t *table = entries + at / 32 * 128 + 64 * (g & 1) + 16 * (g >> 1);
        memset(table, 0, 16);
        for (unsigned j = 0; j < 4; j++) {
            const int value = query[at + j], w = row_weight(query[at + j]);
            for (unsigned bits = 0; bits < 16; bits++)
                if ((bits >> j & 1) == (value > 0))
                    table[bits] = (uint8_t)(table[bits] + w);
            all.sum += w;
            all.dot += (value < 0 ? -value : value) * w;
            all.norm += w * w;
        }
    }
    return all;
}

#endif

/* query ~ unit * w with its signs: the unit that fits best. */
static void row_sums(const int8_t *query, float step, size_t padded, unsigned planes,
                     uint8_t *entries, struct annk_row_query *q)
{
    const struct row_weights w = row_fills(query, padded, entries);
    const float unit = w.norm > 0 ? step * (float)w.dot / (float)w.norm : 0;
    q->sums = entries;
    q->scale = unit;
    q->offset = -0.5f * (float)((1u << planes) - 1) * unit * (float)w.sum;
}

#define DEFINE_ROWS(ISA)                                                                    \
    const struct annk_row_ops annk_rows_##ISA = {.name = #ISA,                              \
                                                 .own = row_own,                            \
                                                 .scan = row_scan,                          \
                                                 .lowest = row_lowest,                      \
                                                 .keep = row_keep,                          \
                                                 .encode = row_encode,                      \
                                                 .sums = row_sums}

#endif
