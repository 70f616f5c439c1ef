/* train.c - when codes get another frame, and all vectors another code.  See vectors.h.
 *
 * Place: vectors.  A frame is learned at the first add, from a sample of what comes and what is
 * there; again, as long as it knows fewer than SAMPLE_MAX vectors, when there are four times as
 * many; and under inner product when a vector is longer than the frame has room for.  Since
 * that depends on the vectors alone, the same adds give the same bytes. */
#include <config.h>

#include <string.h>

#include "ann/base/error.h"
#include "ann/vectors/vectors.h"

#define SAMPLE_MAX    16384
#define SAMPLE_VALUES ((uint64_t)1 << 26) /* fewer vectors where dimensions are many */
#define GROWTH        4

/* What to learn from: some stored vectors, then some of those to come. */
struct training {
    const struct vectors *v;
    const ann_view *view;
    uint32_t *slots; /* [stored] */
    uint64_t stored, fresh;
    float *scratch; /* [vectors_scratch] */
};

static const float *training_row(void *arg, uint64_t i, float *room)
{
    const struct training *t = arg;
    if (i < t->stored)
        vectors_decode(t->v, t->slots[i], room, t->scratch);
    else
        vectors_query(t->v, t->view, (size_t)((i - t->stored) * t->view->n / t->fresh), room);
    return room;
}

/* Stored vectors in proportion to their number among all, evenly over the slots. */
static void sample_slots(struct training *t)
{
    const struct vectors *v = t->v;
    uint64_t at = 0, got = 0;
    for (uint32_t s = 0; s < v->slots && got < t->stored; s++)
        if (vectors_is_live(v, s) && at++ == got * v->live / t->stored)
            t->slots[got++] = s;
}

static ann_err training_open(const struct vectors *v, const ann_view *view, struct training *t)
{
    const uint64_t all = (uint64_t)v->live + view->n;
    uint64_t most = SAMPLE_VALUES / v->dim < SAMPLE_MAX ? SAMPLE_VALUES / v->dim : SAMPLE_MAX;
    most = all < most ? all : most;
    *t = (struct training){.v = v, .view = view, .stored = most * v->live / all};
    t->fresh = most - t->stored;
    if (t->fresh == 0) {
        t->fresh = 1;
        t->stored--;
    }
    t->slots = mem_alloc(t->stored * sizeof *t->slots);
    t->scratch = mem_alloc(vectors_scratch(v) * sizeof *t->scratch);
    if (!t->slots || !t->scratch)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for a sample of %u vectors", SAMPLE_MAX);
    sample_slots(t);
    return ANN_OK;
}

static void training_close(struct training *t)
{
    mem_free(t->slots);
    mem_free(t->scratch);
}

/* The largest squared norm of the view; of the live vectors too if `stored`. */
static double largest_norm2(const struct vectors *v, const ann_view *view, bool stored,
                            float *x, float *scratch)
{
    double largest = 0;
    for (size_t i = 0; i < view->n; i++) {
        vectors_query(v, view, i, x);
        const double norm2 = frame_norm2(x, v->dim);
        largest = norm2 > largest ? norm2 : largest;
    }
    for (uint32_t s = 0; stored && s < v->slots; s++) {
        if (!vectors_is_live(v, s))
            continue;
        vectors_decode(v, s, x, scratch);
        const double norm2 = frame_norm2(x, v->dim);
        largest = norm2 > largest ? norm2 : largest;
    }
    return largest;
}

/* ---- codes made again ---- */

struct recoding {
    const struct vectors *v;
    struct codes *to;
    float *scratch; /* [threads, each]: vectors_scratch, then the largest error */
    size_t each;
};

static void recode(void *arg, size_t i, unsigned worker)
{
    const struct recoding *r = arg;
    const uint32_t slot = (uint32_t)i;
    float *x = r->scratch + worker * r->each, *room = x + r->v->dim;
    float *largest = x + r->each - 1;
    vectors_decode(r->v, slot, x, x);
    const float error = codes_put(r->to, slot, x, room);
    if (vectors_is_live(r->v, slot) && error > *largest)
        *largest = error;
}

static ann_err recode_all(const struct vectors *v, struct pool *pool, struct codes *to)
{
    const unsigned threads = pool_threads(pool);
    struct recoding r = {.v = v, .to = to, .each = vectors_scratch(v) + 1};
    ann_err err = codes_reserve(to, v->slots);
    if (!err && !(r.scratch = mem_zalloc(threads, r.each * sizeof *r.scratch)))
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for %u threads", threads);
    if (!err) {
        codes_resize(to, v->slots);
        pool_for(pool, v->slots, 256, recode, &r);
        for (unsigned t = 0; t < threads; t++)
            if (r.scratch[(t + 1) * r.each - 1] > to->max_error)
                to->max_error = r.scratch[(t + 1) * r.each - 1];
    }
    mem_free(r.scratch);
    return err;
}

/* ---- the decision ---- */

static ann_err train(const struct vectors *v, const ann_view *view, struct pool *pool,
                     double largest, struct codes *out)
{
    struct training t;
    const struct frame *f = &v->codes.frame;
    ann_err err = codes_init(out, v->codes.type, v->ops, v->metric, v->dim, f->seed);
    if (err) {
        out->type = CODE_NONE;
        return err;
    }
    out->generation = v->codes.generation;
    out->ahead = v->codes.ahead;
    err = training_open(v, view, &t);
    if (!err)
        err = codes_train(out, t.stored + t.fresh, training_row, &t, largest);
    if (!err) {
        const uint64_t all = (uint64_t)v->live + view->n;
        out->frame.trained = all < SAMPLE_MAX ? all : SAMPLE_MAX;
        err = recode_all(v, pool, out);
    }
    training_close(&t);
    if (err) {
        codes_free(out);
        out->type = CODE_NONE;
    }
    return err;
}

ann_err vectors_train_codes(const struct vectors *v, const ann_view *view, struct pool *pool,
                            struct codes *out)
{
    const struct frame *f = &v->codes.frame;
    memset(out, 0, sizeof *out);
    if (v->codes.type == CODE_NONE || view->n == 0)
        return ANN_OK;
    bool due = f->trained == 0 || v->live == 0 ||
               (f->trained < SAMPLE_MAX && v->live + (uint64_t)view->n >= GROWTH * f->trained);
    if (!due && v->metric != ANN_IP)
        return ANN_OK;
    double largest = 0;
    if (v->metric == ANN_IP) {
        float *x = mem_alloc((v->dim + vectors_scratch(v)) * sizeof *x);
        if (!x)
            return ANN_FAIL(ANN_ENOMEM, "out of memory: %u dimensions", v->dim);
        if (!due)
            due = !frame_fits(f, largest_norm2(v, view, false, x, x + v->dim));
        if (due)
            largest = largest_norm2(v, view, true, x, x + v->dim);
        mem_free(x);
    }
    return due ? train(v, view, pool, largest, out) : ANN_OK;
}

void vectors_swap_codes(struct vectors *v, struct codes *other)
{
    const struct codes before = v->codes;
    v->codes = *other;
    if (v->codes.generation <= before.generation)
        v->codes.generation = before.generation + 1;
    *other = before;
}
