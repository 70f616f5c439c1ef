/* scratch.c - a search's working memory.  See scratch.h. */
#include <config.h>

#include <string.h>

#include "ann/search/scratch.h"

ann_err scratch_reserve_query(struct scratch *s, const struct vectors *v)
{
    return s->query.bytes < v->query_bytes ? buf_resize(&s->query, v->query_bytes) : ANN_OK;
}

ann_err scratch_reserve(struct scratch *s, const struct vectors *v, uint32_t slots, size_t keys,
                        size_t batch)
{
    const size_t words = ((size_t)slots + 63) / 64;
    ann_err err = ANN_OK;
    if (!err && s->visited.bytes < words * sizeof(uint64_t))
        err = buf_resize(&s->visited, words * sizeof(uint64_t));
    if (!err && s->dirty.bytes < (words + 1) * sizeof(uint32_t))
        err = buf_resize(&s->dirty, (words + 1) * sizeof(uint32_t));
    if (!err && s->keys.bytes < keys * sizeof(search_key))
        err = buf_resize(&s->keys, keys * sizeof(search_key));
    if (!err)
        err = scratch_reserve_query(s, v);
    if (!err && s->slots.bytes < batch * sizeof(uint32_t))
        err = buf_resize(&s->slots, batch * sizeof(uint32_t));
    if (!err && s->dists.bytes < batch * sizeof(float))
        err = buf_resize(&s->dists, batch * sizeof(float));
    const size_t sums = v->codes.type ? 4 * (size_t)v->codes.frame.padded : 0;
    if (!err && s->sums.bytes < sums)
        err = buf_resize(&s->sums, sums);
    return err;
}

void scratch_unvisit(struct scratch *s)
{
    uint64_t *words = s->visited.data;
    const uint32_t *dirty = s->dirty.data;
    if (s->dirty_count > s->visited.bytes / sizeof(uint64_t) / 8)
        memset(words, 0, s->visited.bytes);
    else
        for (size_t i = 0; i < s->dirty_count; i++)
            words[dirty[i]] = 0;
    s->dirty_count = 0;
}

void scratch_free(struct scratch *s)
{
    buf_free(&s->visited);
    buf_free(&s->dirty);
    buf_free(&s->keys);
    buf_free(&s->query);
    buf_free(&s->slots);
    buf_free(&s->dists);
    buf_free(&s->sums);
    buf_free(&s->room);
    if (s->inner)
        scratch_free(s->inner);
    mem_free(s->inner);
}
