/* curve.c - which effort gives which recall, as ann_calibrate measured it: looking up,
 * checking, and the file's section "calibration".
 *
 * Place: front door.  Invariant: points stand by k, then by effort, and within one k neither
 * the recall nor its bound falls; what comes from a file is no calibration before that is
 * checked. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/internal.h"

#define STALE_SHARE 4     /* changes of more than a quarter of the vectors end a calibration */
#define BOUND_SLACK 0.01  /* what is certain may be this much below the recall asked for */

/* What a point may be counted on for: its mean, unless that is too uncertain. */
static double promise(const struct curve_point *p)
{
    return fmin(p->recall, p->low + BOUND_SLACK);
}

/* The points of the first k at or behind `at`; *n of them. */
static const struct curve_point *curve_at(const struct calibration *c, uint32_t at, uint32_t *n)
{
    const struct curve_point *first = c->points + at;
    *n = 0;
    while (at + *n < c->n && first[*n].k == first->k)
        ++*n;
    return first;
}

/* The effort at which one curve promises r, between its points as the logarithms of effort and
 * of what is missed go.  Where none promises it but the last reached it, that one; else 0. */
static double curve_effort(const struct curve_point *p, uint32_t n, double r)
{
    const double miss_most = 1e-4; /* of a recall of 1, so that it has a logarithm */
    uint32_t i = 0;
    while (i < n && promise(&p[i]) < r)
        i++;
    if (i == n)
        return p[n - 1].recall >= r ? p[n - 1].effort : 0;
    if (i == 0)
        return p[0].effort;
    const double from = log(1 - promise(&p[i - 1]) + miss_most);
    const double to = log(1 - promise(&p[i]) + miss_most);
    const double part = (from - log(1 - r + miss_most)) / (from - to);
    return exp(log(p[i - 1].effort) + part * (log(p[i].effort) - log(p[i - 1].effort)));
}

bool calibration_holds(const struct calibration *c)
{
    return c->n > 0 && c->changes <= c->live / STALE_SHARE;
}

double calibration_best(const struct calibration *c)
{
    double best = 0;
    for (uint32_t i = 0; i < c->n; i++)
        best = c->points[i].recall > best ? c->points[i].recall : best;
    return best;
}

ann_err calibration_effort(const struct calibration *c, double recall, size_t k, size_t *effort,
                           double *fine)
{
    const struct curve_point *below = NULL, *above = NULL;
    uint32_t n = 0, n_below = 0, n_above = 0;
    if (c->n == 0)
        return ANN_FAIL(ANN_EUNTRAINED, "recall %g: the index is not calibrated", recall);
    if (!calibration_holds(c))
        return ANN_FAIL(ANN_EUNTRAINED,
                        "recall %g: calibrated with %llu vectors, %llu changed since", recall,
                        (unsigned long long)c->live, (unsigned long long)c->changes);
    for (uint32_t at = 0; at < c->n && !above; at += n) {
        const struct curve_point *p = curve_at(c, at, &n);
        if (p->k >= k) {
            above = p;
            n_above = n;
        }
        if (p->k <= k) {
            below = p;
            n_below = n;
        }
    }
    double e = 0, best = 1;
    if (below) {
        e = curve_effort(below, n_below, recall);
        best = below[n_below - 1].recall;
    }
    if (below && !above) /* beyond all: as much more as k is */
        e *= (double)k / below->k;
    if (above && above != below) {
        const double e2 = curve_effort(above, n_above, recall);
        const double part = below ? log((double)k / below->k) / log((double)above->k / below->k)
                                  : 1;
        best = fmin(best, above[n_above - 1].recall);
        if (e2 == 0 || (below && e == 0))
            e = 0; /* not reached */
        else if (!below || e2 > e) /* else what fewer results take is enough */
            e = below ? exp((1 - part) * log(e) + part * log(e2)) : e2;
    }
    if (!(e > 0))
        return ANN_FAIL(ANN_EINVAL, "recall %g for k = %zu: calibration reached %.4f", recall, k,
                        best);
    e = e < ANN_EFFORT_MAX ? e : ANN_EFFORT_MAX;
    *effort = (size_t)ceil(e - 1e-9);
    if (fine)
        *fine = e;
    return ANN_OK;
}

void calibration_changed(struct calibration *c, uint64_t vectors)
{
    if (c->n > 0)
        c->changes += vectors;
    if (c->n > 0 && !calibration_holds(c))
        *c = (struct calibration){0};
}

/* ---- the file ---- */

size_t calibration_part(const struct calibration *c, struct kfile_part *part)
{
    if (c->n == 0)
        return 0;
    *part = (struct kfile_part){"calibration", c, 1 + (uint64_t)c->n, sizeof(struct curve_point)};
    return 1;
}

static bool is_share(double x)
{
    return x >= 0 && x <= 1;
}

static ann_err check_point(const struct curve_point *p, const struct curve_point *before,
                           uint32_t i)
{
    if (p->k < 1 || p->k > ANN_K_MAX || p->effort < 1 || p->effort > ANN_EFFORT_MAX)
        return ANN_FAIL(ANN_EDAMAGED, "section calibration: point %u is k %u, effort %u", i, p->k,
                        p->effort);
    if (!is_share(p->recall) || !is_share(p->low) || p->low > p->recall ||
        !(p->distances >= 0 && p->distances < INFINITY))
        return ANN_FAIL(ANN_EDAMAGED, "section calibration: point %u is recall %g from %g on", i,
                        p->recall, p->low);
    if (before && (p->k < before->k || (p->k == before->k && (p->effort <= before->effort ||
                                                              p->recall < before->recall ||
                                                              p->low < before->low))))
        return ANN_FAIL(ANN_EDAMAGED, "section calibration: point %u is out of order", i);
    return ANN_OK;
}

ann_err calibration_take(struct kfile *f, struct calibration *out)
{
    uint64_t rows;
    struct buf b = {0};
    struct calibration c = {0};
    if (!kfile_has(f, "calibration", &rows))
        return ANN_OK;
    if (rows < 2 || rows > 1 + CURVE_POINTS)
        return ANN_FAIL(ANN_EDAMAGED, "section calibration: %llu rows",
                        (unsigned long long)rows);
    ann_err err = kfile_take(f, "calibration", rows, sizeof(struct curve_point), &b);
    if (err)
        return err;
    memcpy(&c, b.data, rows * sizeof(struct curve_point)); /* ours: a mapped file may change */
    buf_free(&b);
    if (c.n != rows - 1 || c.live > SLOTS_MAX || !(c.confidence > 0 && c.confidence < 1))
        return ANN_FAIL(ANN_EDAMAGED, "section calibration: %u points of %llu vectors", c.n,
                        (unsigned long long)c.live);
    for (uint32_t i = 0; i < c.n && !err; i++)
        err = check_point(&c.points[i], i > 0 ? &c.points[i - 1] : NULL, i);
    if (!err)
        *out = c;
    return err;
}
