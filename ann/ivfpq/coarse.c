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

#define CODED   64 /* dimensions made bytes at once */
#define SAMPLED 8  /* of so many lists one tells where a portion will end */

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
    h->table_groups = (h->dim + 3) / 4;
    const size_t whole = (h->nlist + 15) / 16 * 16;
    int8_t codes[CODED];
    ann_err err = buf_resize(&h->table, whole * h->table_groups * 4);
    if (!err)
        err = buf_resize(&h->norms, whole * sizeof(float));
    if (!err)
        err = buf_resize(&h->numbers, h->nlist * sizeof(uint32_t));
    if (err)
        return err;
    const float most = ops->max_abs_f32(centroids, (size_t)h->nlist * h->dim);
    h->table_step = most > 0 ? most / 127 : 1;
    for (uint32_t l = 0; l < h->nlist; l++) {
        const float *c = centroids + (size_t)l * h->dim;
        uint8_t *row = (uint8_t *)h->table.data + (l / 16 * h->table_groups * 16 + l % 16) * 4;
        for (size_t from = 0; from < h->dim; from += CODED) {
            const size_t n = h->dim - from < CODED ? h->dim - from : CODED;
            ops->quantise_s8(c + from, 1 / h->table_step, codes, n);
            for (size_t d = from; d < from + n; d++)
                row[d / 4 * 64 + d % 4] = (uint8_t)(codes[d - from] + 128);
        }
        ((float *)h->norms.data)[l] = (float)frame_norm2(c, h->dim);
        ((uint32_t *)h->numbers.data)[l] = l;
    }
    return ANN_OK;
}

static size_t code_bytes(const struct ivfpq *h)
{
    return ivf_rounded(4 * h->table_groups);
}

size_t ivf_coarse_bytes(const struct ivfpq *h)
{
    return h->nlist * sizeof(float);
}

size_t ivf_coarse_desk(const struct ivfpq *h)
{
    const size_t codes = ANNK_LIST_BATCH * code_bytes(h),
                 keys = h->nlist * (2 * sizeof(search_key) + sizeof(uint32_t));
    return codes > keys ? codes : keys;
}

void ivf_coarse_open(const struct ivfpq *h, const float *const *y, size_t nq, void *desk,
                     float *const *dists)
{
    const struct annk_ops *ops = h->vec->ops;
    struct annk_coarse_query q[ANNK_LIST_BATCH];
    const size_t bytes = code_bytes(h);
    for (size_t i = 0; i < nq; i++) {
        int8_t *code = (int8_t *)desk + i * bytes;
        const float most = ops->max_abs_f32(y[i], h->dim), step = most > 0 ? most / 127 : 1;
        int32_t sum = 0;
        memset(code, 0, bytes);
        ops->quantise_s8(y[i], 1 / step, code, h->dim);
        for (size_t d = 0; d < h->dim; d++)
            sum += code[d];
        q[i] = (struct annk_coarse_query){code, sum, ops->norm2_f32(y[i], h->dim),
                                          -2 * step * h->table_step, dists[i]};
    }
    h->ops->coarse(q, nq, h->table.data, h->norms.data, h->nlist, h->table_groups);
}

/* A distance that about `most` lists, or more, are nearer than. */
static float guess_bound(const struct ivfpq *h, const float *dists, size_t most,
                         search_key *keys, search_key *spare)
{
    const size_t n = h->nlist / SAMPLED, want = most / SAMPLED + 3;
    if (want >= n)
        return INFINITY;
    for (size_t i = 0; i < n; i++)
        keys[i] = key_make(dists[i * SAMPLED], 0);
    keys_select(keys, n, want, spare);
    return key_dist(keys_largest(keys, want));
}

size_t ivf_coarse_next(const struct ivfpq *h, float *dists, float bound, size_t most,
                       void *desk, struct ivf_probe *out)
{
    const struct annk_ops *ops = h->vec->ops;
    search_key *keys = desk;
    search_key *spare = keys + h->nlist;
    uint32_t *near = (uint32_t *)(void *)(spare + h->nlist);
    const float guess = bound < FLT_MAX ? bound : guess_bound(h, dists, most, keys, spare);
    /* Taken lists are at infinity, which no bound lets in. */
    size_t n = ops->below_f32(dists, h->nlist, guess < FLT_MAX ? guess : FLT_MAX, near);
    if (n < most && guess < bound)
        n = ops->below_f32(dists, h->nlist, bound < FLT_MAX ? bound : FLT_MAX, near);
    for (size_t i = 0; i < n; i++)
        keys[i] = key_make(dists[near[i]], near[i]);
    if (n > most) {
        keys_select(keys, n, most, spare);
        n = most;
    }
    keys_sort(keys, n, spare);
    for (size_t i = 0; i < n; i++) {
        out[i] = (struct ivf_probe){key_dist(keys[i]), key_slot(keys[i])};
        dists[out[i].list] = INFINITY;
    }
    return n;
}
