/* coarse.c - which lists are near: all centroids in 8 bits, taken from the nearest on.
 *
 * Place: ivfpq.  Bytes are a quarter of the memory and several times the speed of floats, and
 * what they lose is little beside the error of the short codes.  Which lists are taken depends
 * on how far away they are, which the caller learns as it goes: so lists come in portions, each
 * of those that are nearest of the rest. */
#include <config.h>

#include <float.h>
#include <math.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/ivfpq/query.h"

#define SAMPLED 8 /* of so many lists one tells where a portion will end */

void ivf_coarse_free(struct ivfpq *h)
{
    buf_free(&h->table);
    buf_free(&h->norms);
    buf_free(&h->numbers);
    ivf_graph_free(h->graph);
    h->graph = NULL;
}

ann_err ivf_coarse_make(struct ivfpq *h)
{
    const struct annk_ops *ops = h->vec->ops;
    const float *centroids = h->centroids.data;
    h->table_stride = (h->dim + 63) / 64 * 64;
    ann_err err = buf_resize(&h->table, h->nlist * h->table_stride);
    if (!err)
        err = buf_resize(&h->norms, h->nlist * sizeof(float));
    if (!err)
        err = buf_resize(&h->numbers, h->nlist * sizeof(uint32_t));
    if (err)
        return err;
    const float most = ops->max_abs_f32(centroids, (size_t)h->nlist * h->dim);
    h->table_step = most > 0 ? most / 127 : 1;
    for (uint32_t l = 0; l < h->nlist; l++) {
        const float *c = centroids + (size_t)l * h->dim;
        uint8_t *row = (uint8_t *)h->table.data + l * h->table_stride;
        int8_t *codes = (int8_t *)row;
        ops->quantise_s8(c, 1 / h->table_step, codes, h->dim);
        for (size_t i = 0; i < h->table_stride; i++)
            row[i] = (uint8_t)((i < h->dim ? codes[i] : 0) + 128);
        ((float *)h->norms.data)[l] = (float)frame_norm2(c, h->dim);
        ((uint32_t *)h->numbers.data)[l] = l;
    }
    return ANN_OK;
}

size_t ivf_coarse_bytes(const struct ivfpq *h)
{
    return h->nlist * sizeof(float);
}

size_t ivf_coarse_desk(const struct ivfpq *h)
{
    return h->nlist * (sizeof(search_key) + sizeof(int32_t)) + h->table_stride;
}

void ivf_coarse_open(const struct ivfpq *h, const float *y, void *desk, float *dists)
{
    const struct annk_ops *ops = h->vec->ops;
    int32_t *dots = desk;
    int8_t *query = (int8_t *)(dots + h->nlist);
    const float most = ops->max_abs_f32(y, h->dim), step = most > 0 ? most / 127 : 1;
    const float norm = ops->norm2_f32(y, h->dim), by = -2 * step * h->table_step;
    const float *norms = h->norms.data;
    int32_t sum = 0;
    memset(query, 0, h->table_stride);
    ops->quantise_s8(y, 1 / step, query, h->dim);
    for (size_t i = 0; i < h->dim; i++)
        sum += query[i];
    ops->code_dots[ANNK_SQ8](query, sum, h->table.data, h->table_stride, h->numbers.data,
                             h->nlist, h->table_stride, 0, dots);
    for (uint32_t l = 0; l < h->nlist; l++) {
        const float dist = norm + norms[l] + by * (float)dots[l];
        dists[l] = dist > 0 ? dist : 0;
    }
}

/* A distance that about `most` lists, or more, are nearer than. */
static float guess_bound(const struct ivfpq *h, const float *dists, size_t most,
                         search_key *keys)
{
    const size_t n = h->nlist / SAMPLED, want = most / SAMPLED + 3;
    if (want >= n)
        return INFINITY;
    for (size_t i = 0; i < n; i++)
        keys[i] = key_make(dists[i * SAMPLED], 0);
    reservoir_select(keys, n, want);
    search_key last = 0;
    for (size_t i = 0; i < want; i++)
        last = keys[i] > last ? keys[i] : last;
    return key_dist(last);
}

size_t ivf_coarse_next(const struct ivfpq *h, float *dists, float bound, size_t most,
                       void *desk, struct ivf_probe *out)
{
    const struct annk_ops *ops = h->vec->ops;
    search_key *keys = desk;
    uint32_t *near = (uint32_t *)(void *)(keys + h->nlist);
    const float guess = bound < FLT_MAX ? bound : guess_bound(h, dists, most, keys);
    /* Taken lists are at infinity, which no bound lets in. */
    size_t n = ops->below_f32(dists, h->nlist, guess < FLT_MAX ? guess : FLT_MAX, near);
    if (n < most && guess < bound)
        n = ops->below_f32(dists, h->nlist, bound < FLT_MAX ? bound : FLT_MAX, near);
    for (size_t i = 0; i < n; i++)
        keys[i] = key_make(dists[near[i]], near[i]);
    if (n > most) {
        reservoir_select(keys, n, most);
        n = most;
    }
    sort_keys(keys, n);
    for (size_t i = 0; i < n; i++) {
        out[i] = (struct ivf_probe){key_dist(keys[i]), key_slot(keys[i])};
        dists[out[i].list] = INFINITY;
    }
    return n;
}
