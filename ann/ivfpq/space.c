/* space.c - the space in which lists and codes are made: centred and scaled, perhaps rotated.
 *
 * Place: ivfpq.  A frame (codec/frame.h) brings vectors of every metric to squared Euclidean
 * distances near 1; it is the index's own, learned once, since lists and codes would be worth
 * nothing in another one.  A learned rotation comes on top of a frame that has none. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/ivfpq/ivfpq.h"

ann_err ivf_space_open(struct ivfpq *h, ann_rotation rotation)
{
    const struct vectors *v = h->vec;
    h->rotation = rotation;
    const ann_err err =
        rotation == ANN_ROTATION_RANDOM
            ? frame_init(&h->frame, v->ops, v->metric, v->dim, 64, h->asked.seed)
            : frame_init_plain(&h->frame, v->ops, v->metric, v->dim);
    h->dim = h->frame.padded;
    return err;
}

void ivf_space_close(struct ivfpq *h)
{
    frame_free(&h->frame);
    buf_free(&h->turn);
    buf_free(&h->origin);
}

/* y = turn * x */
static void turn(const struct ivfpq *h, const float *x, float *y)
{
    const annk_dist_fn minus_dot = h->vec->ops->dist[ANNK_IP][ANNK_F32];
    const float *rows = h->turn.data;
    for (uint32_t i = 0; i < h->dim; i++)
        y[i] = -minus_dot(x, rows + (size_t)i * h->dim, h->dim);
}

void ivf_space_vector(const struct ivfpq *h, const float *x, float *y, float *room, float *over)
{
    const struct frame *f = &h->frame;
    *over = 0;
    if (f->metric == ANN_IP) {
        const double unit = f->unit, scale = f->scale;
        const double more = frame_norm2(x, f->dim) * unit * unit - f->lift;
        *over = more > 0 ? (float)(more * scale * scale) : 0;
    }
    const bool turns = h->turn.bytes > 0;
    (void)frame_apply(f, x, turns ? room : y);
    if (turns)
        turn(h, room, y);
}

void ivf_space_query(const struct ivfpq *h, const float *q, float *y, float *room,
                     double *scale, double *shift)
{
    const bool turns = h->turn.bytes > 0;
    frame_apply_query(&h->frame, q, turns ? room : y, scale, shift);
    if (turns)
        turn(h, room, y);
}
