/* graph.c - the centroids in a graph of their own, where there are so many that a look at each
 * would cost more than the lists.
 *
 * Place: ivfpq.  The graph is another kind, used through its table as the front door uses it;
 * it is made of the centroids when they are learned or read, and is not in the file.  Its
 * distances are squared ones in the space, as the table's are. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/ivfpq/query.h"

#define GRAPH_M               16
#define GRAPH_EF_CONSTRUCTION 100

struct ivf_graph {
    struct vectors vec; /* a slot is a list */
    void *state;
    pthread_rwlock_t gate; /* of its own building; nothing changes it afterwards */
};

void ivf_graph_free(struct ivf_graph *g)
{
    if (!g)
        return;
    if (g->state)
        ivf_graph_kind->destroy(g->state);
    vectors_free(&g->vec);
    pthread_rwlock_destroy(&g->gate);
    mem_free(g);
}

/* Codes for the centroids, and slots that hold them. */
static ann_err put_centroids(struct ivf_graph *g, const ann_view *view, struct pool *pool,
                             uint32_t *slots)
{
    struct codes codes;
    ann_err err = vectors_train_codes(&g->vec, view, pool, &codes);
    if (err)
        return err;
    vectors_swap_codes(&g->vec, &codes);
    codes_free(&codes);
    err = vectors_reserve(&g->vec, (uint32_t)view->n);
    float *scratch = mem_alloc(vectors_scratch(&g->vec) * sizeof *scratch);
    if (!err && !scratch)
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for a graph of %zu lists", view->n);
    for (size_t i = 0; i < view->n && !err; i++) {
        slots[i] = vectors_take_slot(&g->vec);
        const float error = vectors_put(&g->vec, slots[i], view, i, scratch);
        if (error > g->vec.codes.max_error)
            g->vec.codes.max_error = error;
    }
    mem_free(scratch);
    return err;
}

static ann_err link_centroids(struct ivf_graph *g, const ann_view *view, struct pool *pool,
                              uint32_t *slots)
{
    const struct kind_job job = {pool, &g->gate, NULL, NULL, view};
    ann_err err = put_centroids(g, view, pool, slots);
    if (!err)
        err = ivf_graph_kind->reserve(g->state, g->vec.slots, &job);
    if (!err)
        err = ivf_graph_kind->add(g->state, slots, view->n, &job);
    for (size_t i = 0; i < view->n && !err; i++)
        vectors_set_live(&g->vec, slots[i], true);
    return err;
}

ann_err ivf_graph_make(struct ivfpq *h, struct pool *pool)
{
    if (h->nlist < IVF_GRAPH_FROM)
        return ANN_OK;
    const ann_view view = {h->centroids.data, h->nlist, 0, ANN_F32};
    ann_options o = ANN_OPTIONS_INIT;
    o.dim = h->dim;
    o.kind = ivf_graph_kind->id;
    o.metric = ANN_L2;
    o.store = ANN_F32;
    o.m = GRAPH_M;
    o.ef_construction = GRAPH_EF_CONSTRUCTION;
    o.seed = h->asked.seed;
    o.profile = ANN_PROFILE_BALANCED;
    o.codes = ANN_CODES_SQ8;
    struct ivf_graph *g = mem_zalloc(1, sizeof *g);
    uint32_t *slots = mem_alloc(h->nlist * sizeof *slots);
    if (!g || !slots) {
        mem_free(g);
        mem_free(slots);
        return ANN_FAIL(ANN_ENOMEM, "out of memory for a graph of %u lists", h->nlist);
    }
    pthread_rwlock_init(&g->gate, NULL);
    ann_err err = vectors_init(&g->vec, o.metric, o.store, o.dim, CODE_SQ8, o.seed);
    if (!err)
        err = ivf_graph_kind->create(&o, &g->vec, &g->state);
    if (!err)
        err = link_centroids(g, &view, pool, slots);
    mem_free(slots);
    if (err)
        ivf_graph_free(g);
    else
        h->graph = g;
    return err;
}

uint64_t ivf_graph_held(const struct ivfpq *h)
{
    ann_info info = {.size = ANN_INFO_SIZE};
    if (!h->graph)
        return 0;
    ivf_graph_kind->info(h->graph->state, &info);
    return info.memory_bytes + buf_held(&h->graph->vec.data) + codes_held(&h->graph->vec.codes);
}

ann_err ivf_graph_open(const struct ivfpq *h, const float *y, size_t lists,
                       struct scratch *outer, search_key *keys, float *dists)
{
    const struct ivf_graph *g = h->graph;
    struct ann_search_stats stats = {0};
    size_t room, batch, found = 0;
    if (!outer->inner && !(outer->inner = mem_zalloc(1, sizeof *outer->inner)))
        return ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", sizeof *outer->inner);
    struct scratch *s = outer->inner;
    struct kind_query q = {.k = lists < h->nlist ? lists : h->nlist, .stats = &stats};
    q.effort = q.k + q.k / 2 + IVF_PORTION;
    ivf_graph_kind->needs(g->state, &q, &room, &batch);
    ann_err err = scratch_reserve(s, &g->vec, g->vec.slots, room, batch);
    if (err)
        return err;
    memcpy(s->query.data, y, h->dim * sizeof *y);
    vectors_query_codes(&g->vec, s->query.data);
    q.query = s->query.data;
    err = ivf_graph_kind->search(g->state, &q, s, keys, &found);
    for (uint32_t l = 0; l < h->nlist && !err; l++)
        dists[l] = INFINITY;
    for (size_t i = 0; i < found && !err; i++)
        dists[key_slot(keys[i])] = key_dist(keys[i]);
    return err;
}
