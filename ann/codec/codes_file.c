/* codes_file.c - what a file holds of a frame: the section "frame".
 *
 * docs/format.md, "Frame", is the authority on the bytes. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/codec/codes.h"

#define FRAME_VERSION 1

/* The section's first 64 bytes; the mean follows. */
struct frame_head {
    uint32_t version, type, lifted, padded;
    uint64_t trained;
    double lift;
    float unit, scale, step, max_error;
    uint32_t zero[4];
};

_Static_assert(sizeof(struct frame_head) == 64, "the head has holes");

size_t codes_frame_bytes(const struct codes *c)
{
    return sizeof(struct frame_head) + c->frame.lifted * sizeof(float);
}

void codes_frame_write(const struct codes *c, void *out)
{
    const struct frame *f = &c->frame;
    const struct frame_head h = {
        .version = FRAME_VERSION,
        .type = c->type,
        .lifted = f->lifted,
        .padded = f->padded,
        .trained = f->trained,
        .lift = f->lift,
        .unit = f->unit,
        .scale = f->scale,
        .step = c->step,
        .max_error = c->max_error,
    };
    memcpy(out, &h, sizeof h);
    memcpy((char *)out + sizeof h, f->mean.data, f->lifted * sizeof(float));
}

static bool within(double x, double least, double most)
{
    return x >= least && x <= most; /* NaN is not */
}

/* What keeps every distance finite, whatever the vectors are. */
static bool is_sound(const struct codes *c, const struct frame_head *h)
{
    const bool lifted = c->frame.metric == ANN_IP;
    if (h->trained == 0)
        return h->lift == 0 && h->unit == 0 && h->scale == 0 && h->step == 0 &&
               h->max_error == 0;
    return within(h->unit, 0x1p-126, 0x1p126) && within(h->scale, 0x1p-126, 0x1p100) &&
           within(h->step, 1e-30, 1e15) && within(h->max_error, 0, 3.5e38) &&
           isfinite(h->max_error) &&
           (h->lift == 0 || (lifted && within(h->lift, 1e-40, 0x1p204)));
}

ann_err codes_frame_read(struct codes *c, const void *data)
{
    struct frame_head h;
    struct frame *f = &c->frame;
    const float *mean = (const float *)(const void *)((const char *)data + sizeof h);
    memcpy(&h, data, sizeof h);
    if (h.version != FRAME_VERSION)
        return ANN_FAIL(ANN_EVERSION, "section frame: version %u", h.version);
    if (h.type != (uint32_t)c->type || h.lifted != f->lifted || h.padded != f->padded)
        return ANN_FAIL(ANN_EDAMAGED, "section frame: codes %u of %u, %u dimensions", h.type,
                        h.lifted, h.padded);
    if (!is_sound(c, &h) || h.zero[0] || h.zero[1] || h.zero[2] || h.zero[3])
        return ANN_FAIL(ANN_EDAMAGED, "section frame: unit %g, scale %g, step %g",
                        (double)h.unit, (double)h.scale, (double)h.step);
    const size_t bad = f->ops->find_nonfinite_f32(mean, f->lifted);
    if (bad < f->lifted)
        return ANN_FAIL(ANN_EDAMAGED, "section frame: element %zu of the mean is not finite",
                        bad);
    memcpy(f->mean.data, mean, f->lifted * sizeof(float));
    f->trained = h.trained;
    f->lift = h.lift;
    f->unit = h.unit;
    f->scale = h.scale;
    c->step = h.step;
    c->max_error = h.max_error;
    return ANN_OK;
}
