/* passing.c - the rows that pass a filter; see passing.h.
 *
 * Place: bench.  Clustered: every row belongs to the nearest of some rows drawn as centres, and
 * cells pass as a whole, in the order of the draw, until there are enough rows.  So for most
 * queries what is near does not pass: the hard case of a filter. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/base/memory.h"
#include "ann/base/rng.h"
#include "bench/passing.h"
#include "bench/truth.h"

#define CELLS 128
#define SEED  42

bool passing_parse(const char *text, struct passing *p)
{
    char *end;
    memset(p, 0, sizeof *p);
    const double percent = strtod(text, &end);
    if (end == text || !(percent > 0 && percent <= 100))
        return false;
    if (*end == '%')
        end++;
    p->clustered = !strcmp(end, ",clustered");
    p->share = percent / 100;
    snprintf(p->name, sizeof p->name, "%g%%%s", percent, p->clustered ? ",clustered" : "");
    return !*end || p->clustered;
}

/* Marks `want` rows, each with the same chance. */
static void draw_rows(unsigned char *pass, size_t n, size_t want)
{
    uint64_t r = SEED;
    for (size_t i = 0, left = want; i < n; i++)
        if (rng_below(&r, n - i) < left) {
            pass[i] = 1;
            left--;
        }
}

/* cell [n]: the nearest of CELLS rows, in the order of their draw. */
static ann_err assign(const struct dataset *d, unsigned threads, ann_id *cell)
{
    ann_options o = ANN_OPTIONS_INIT;
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_index *ix = NULL;
    uint64_t r = SEED;
    o.dim = (uint32_t)d->dim;
    o.kind = ANN_FLAT;
    o.metric = d->metric;
    o.threads = p.threads = threads;
    p.k = 1;
    ann_err err = ann_create(&o, &ix);
    for (size_t i = 0; i < CELLS && !err; i++) {
        const float *row = d->base + rng_below(&r, d->n) * d->dim;
        err = ann_add(ix, (ann_view){row, 1, 0, ANN_F32}, NULL);
    }
    if (!err)
        err = ann_search(ix, (ann_view){d->base, d->n, 0, ANN_F32}, &p, cell, NULL);
    err = io_library(err);
    ann_close(ix);
    return err;
}

static ann_err draw_cells(const struct dataset *d, unsigned threads, unsigned char *pass,
                          size_t want)
{
    ann_id *cell = mem_zalloc(d->n, sizeof *cell);
    if (!cell)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for the cells of %zu rows", d->n);
    const ann_err err = assign(d, threads, cell);
    for (size_t c = 0; c < CELLS && !err; c++)
        for (size_t i = 0; i < d->n && want > 0; i++)
            if (cell[i] == c) {
                pass[i] = 1;
                want--;
            }
    mem_free(cell);
    return err;
}

/* The true neighbours among p->ids, as rows of d. */
static ann_err find_truth(struct passing *p, const struct dataset *d, size_t k,
                          unsigned threads, bool quiet)
{
    struct dataset part = *d;
    float *rows = mem_zalloc(p->n * d->dim, sizeof *rows);
    if (!rows)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %zu rows that pass", p->n);
    for (size_t i = 0; i < p->n; i++)
        memcpy(rows + i * d->dim, d->base + p->ids[i] * d->dim, d->dim * sizeof *rows);
    part.base = rows;
    part.n = p->n;
    part.truth = NULL;
    part.truth_k = 0;
    const ann_err err = truth_ensure(&part, k, threads, quiet);
    for (size_t i = 0; i < part.nq * part.truth_k && !err; i++)
        part.truth[i] = (int32_t)p->ids[part.truth[i]];
    p->data = *d;
    memset(p->data.hold, 0, sizeof p->data.hold);
    memset(p->data.copies, 0, sizeof p->data.copies);
    p->data.truth = part.truth;
    p->data.truth_k = part.truth_k;
    mem_free(rows);
    return err;
}

ann_err passing_draw(struct passing *p, const struct dataset *d, size_t k, unsigned threads,
                     bool quiet)
{
    const size_t want = (size_t)(p->share * (double)d->n + 0.5);
    if (want < k)
        return ANN_FAIL(ANN_EINVAL, "%s of %zu rows are fewer than the %zu asked for", p->name,
                        d->n, k);
    unsigned char *pass = mem_zalloc(d->n, 1);
    p->ids = mem_zalloc(want, sizeof *p->ids);
    ann_err err = ANN_OK;
    if (!pass || !p->ids)
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for a filter of %zu rows", d->n);
    else if (p->clustered)
        err = draw_cells(d, threads, pass, want);
    else
        draw_rows(pass, d->n, want);
    p->n = 0;
    for (size_t i = 0; i < d->n && !err; i++)
        if (pass[i])
            p->ids[p->n++] = i;
    mem_free(pass);
    if (!err)
        err = find_truth(p, d, k, threads, quiet);
    return err;
}

void passing_free(struct passing *p)
{
    mem_free(p->ids);
    mem_free(p->data.truth);
    p->ids = NULL;
    p->data.truth = NULL;
}
