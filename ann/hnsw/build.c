/* build.c - adding nodes, in batches against a frozen graph.
 *
 * Idea: ParlayANN (Manohar et al., PPoPP 2024).  All nodes of a batch search the graph as it
 * was before the batch, in parallel, and look at those before them in the batch; then the links
 * back to them are grouped by the row they go to and each row is worked out by one thread.
 * Nothing depends on which thread does what, so the same input gives the same graph for any
 * number of threads.
 *
 * Locks: the adder is the only writer and reads without the gate.  A new node's own rows are
 * written before anything leads to them; rows that searches can reach are worked out aside and
 * put in place under the gate, some thousand at a time. */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/hnsw/hnsw.h"

#define BATCH_MAX 256    /* nodes; smaller for very wide rows */
#define BATCH_SHARE 24   /* a batch is at most 1/24 of the graph */
#define BATCH_PLACES 8192 /* of level-0 rows */
#define STAGE_ROWS 1024  /* rows worked out before they are put in place */
#define ROWS_AHEAD 4     /* fetched while one is worked out */

/* A link back: from a row that exists to a node of the batch. */
struct link_back {
    uint32_t level, target, source;
    float dist;
};

/* A row worked out, not yet in place. */
struct staged_row {
    uint32_t target, level;
    size_t first, count; /* its links back */
    size_t n;            /* edges now */
};

struct build {
    struct hnsw *h;
    const struct kind_job *job;
    struct hnsw_worker *workers;
    const uint32_t *slots; /* of this batch */
    size_t n;
    struct link_back *links; /* [link_room] */
    size_t link_count, link_room;
    size_t *link_at;         /* [batch + 1]: where a node's links back go */
    struct staged_row *rows; /* [STAGE_ROWS], of which row_count are in use */
    size_t row_count;
    struct hnsw_edge *edges; /* [STAGE_ROWS, m0] */
    uint32_t *orphans;       /* nodes that may have lost their last in-link */
    size_t orphan_count, orphan_room;
};

/* ---- a node finds its neighbours ---- */

/* Of a node up to this level. */
static size_t most_links(const struct hnsw *h, uint32_t level)
{
    return h->m0 + (size_t)level * h->m;
}

/* Enters the nodes of the batch before node `self` that are on this level into the beam: what
 * it would have found had they been added one by one. */
static void look_at_batch(const struct build *b, const void *query, size_t self, uint32_t level,
                          struct beam *beam, struct hnsw_worker *w)
{
    for (size_t at = 0; at < self;) {
        size_t n = 0;
        for (; at < self && n < HNSW_BATCH; at++)
            if (hnsw_level(b->h, b->slots[at]) >= level)
                w->slots[n++] = b->slots[at];
        hnsw_enter(b->h, query, w->slots, n, beam, w);
    }
}

/* Chooses from the beam, writes the node's row, and offers links back at `back`; how many.  All
 * that is not a filler gets one, and the nearest fillers until there are m: if every copy of a
 * vector were offered every link, all of them would choose the same. */
static size_t link_forward(const struct build *b, uint32_t slot, uint32_t level,
                           const struct beam *beam, struct link_back *back,
                           struct hnsw_worker *w)
{
    struct hnsw *h = b->h;
    const size_t width = level ? h->m : h->m0;
    struct hnsw_edge *e = w->edges;
    for (size_t i = 0; i < beam->size; i++)
        e[i] = (struct hnsw_edge){key_dist(beam->keys[i]), key_slot(beam->keys[i]), 0};
    hnsw_sort_edges(e, beam->size, slot);
    const size_t n = hnsw_select(h, e, beam->size, width, w);
    hnsw_store_row(h, slot, level, e, n);
    size_t backs = 0, fillers = h->m;
    for (size_t i = 0; i < n; i++)
        fillers -= e[i].kept != HNSW_FILLER && fillers > 0;
    for (size_t i = 0; i < n; i++) {
        if (e[i].kept == HNSW_FILLER && fillers == 0)
            continue;
        fillers -= e[i].kept == HNSW_FILLER;
        back[backs++] = (struct link_back){level, e[i].slot, slot, e[i].dist};
    }
    return backs;
}

static void find_neighbours(void *arg, size_t i, unsigned worker)
{
    struct build *b = arg;
    struct hnsw *h = b->h;
    struct hnsw_worker *w = &b->workers[worker];
    const uint32_t slot = b->slots[i], top = hnsw_level(h, slot);
    const void *query = hnsw_slot_query(h, slot, w->query);
    struct link_back *back = b->links + b->link_at[i];
    struct beam beam;
    search_key start = KEY_MAX;
    if (h->entry != HNSW_NONE)
        start = hnsw_find_start(h, query, top, w);
    for (uint32_t level = top; level + 1 > 0; level--) {
        beam_reset(&beam, w->keys, h->ef_construction);
        if (start != KEY_MAX && level <= h->max_level) {
            hnsw_find(h, query, level, start, &beam, w);
            start = beam.keys[0] & ~KEY_FLAG;
        }
        look_at_batch(b, query, i, level, &beam, w);
        back += link_forward(b, slot, level, &beam, back, w);
    }
    for (struct link_back *end = b->links + b->link_at[i + 1]; back < end; back++)
        back->target = HNSW_NONE; /* places not needed */
}

/* ---- links back ---- */

static int link_order(const void *pa, const void *pb)
{
    const struct link_back *a = pa, *b = pb;
    if (a->target != b->target)
        return a->target < b->target ? -1 : 1;
    if (a->level != b->level)
        return a->level < b->level ? -1 : 1;
    if (a->dist != b->dist)
        return a->dist < b->dist ? -1 : 1;
    return a->source < b->source ? -1 : a->source > b->source;
}

/* What hnsw_load_row reads of a level-0 row. */
static void fetch_row(const struct hnsw *h, uint32_t slot)
{
    const size_t at = (size_t)slot * h->m0;
    hnsw_fetch_links(h, slot);
    annk_prefetch((const float *)h->edge_dist.data + at, h->m0 * sizeof(float));
    annk_prefetch((const uint8_t *)h->edge_kept.data + at, h->m0);
}

static void work_out_row(void *arg, size_t i, unsigned worker)
{
    struct build *b = arg;
    struct hnsw *h = b->h;
    struct staged_row *r = &b->rows[i];
    struct hnsw_edge *e = b->edges + i * h->m0;
    const size_t width = r->level ? h->m : h->m0;
    if (i + ROWS_AHEAD < b->row_count)
        fetch_row(h, b->rows[i + ROWS_AHEAD].target);
    r->n = hnsw_load_row(h, r->target, r->level, e, &b->workers[worker]);
    for (size_t j = 0; j < r->count; j++) {
        const struct link_back *l = &b->links[r->first + j];
        hnsw_offer(h, e, &r->n, width, (struct hnsw_edge){l->dist, l->source, 0},
                   r->level ? NULL : h->in_degree.data, &b->workers[worker]);
    }
}

/* Puts a level-0 row's new edges into the count of in-links, and takes the old ones out.  Most
 * stay where they are. */
static void recount(struct build *b, const struct staged_row *r, const struct hnsw_edge *e)
{
    struct hnsw *h = b->h;
    uint32_t *in = h->in_degree.data;
    const uint32_t *old = hnsw_row0(h, r->target);
    for (size_t i = 0; i < r->n; i++)
        if (e[i].slot != old[i])
            in[e[i].slot]++;
    for (uint32_t i = 0; i < h->m0 && old[i] != HNSW_NONE; i++)
        if ((i >= r->n || e[i].slot != old[i]) && --in[old[i]] == 0 &&
            b->orphan_count < b->orphan_room)
            b->orphans[b->orphan_count++] = old[i];
}

static void put_rows(struct build *b, size_t rows)
{
    struct hnsw *h = b->h;
    pthread_rwlock_wrlock(b->job->gate);
    for (size_t i = 0; i < rows; i++) {
        const struct staged_row *r = &b->rows[i];
        const struct hnsw_edge *e = b->edges + i * h->m0;
        if (r->level == 0)
            recount(b, r, e);
        hnsw_store_row(h, r->target, r->level, e, r->n);
    }
    h->version++;
    pthread_rwlock_unlock(b->job->gate);
}

static void link_back_all(struct build *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->link_count; i++)
        if (b->links[i].target != HNSW_NONE)
            b->links[n++] = b->links[i];
    qsort(b->links, n, sizeof *b->links, link_order);
    for (size_t i = 0; i < n;) {
        size_t rows = 0;
        for (; i < n && rows < STAGE_ROWS; rows++) {
            const size_t first = i;
            while (i < n && b->links[i].target == b->links[first].target &&
                   b->links[i].level == b->links[first].level)
                i++;
            b->rows[rows] = (struct staged_row){b->links[first].target, b->links[first].level,
                                                first, i - first, 0};
        }
        b->row_count = rows;
        pool_for(b->job->pool, rows, 8, work_out_row, b);
        put_rows(b, rows);
    }
}

/* ---- a batch ---- */

/* The batch's nodes are in the graph now: states, in-links of what they link to, entry. */
static void enter_nodes(struct build *b)
{
    struct hnsw *h = b->h;
    uint32_t *in = h->in_degree.data;
    pthread_rwlock_wrlock(b->job->gate);
    for (size_t i = 0; i < b->n; i++) {
        const uint32_t slot = b->slots[i];
        *hnsw_state(h, slot) = HNSW_LINKED;
        const uint32_t *row = hnsw_row0(h, slot);
        for (uint32_t j = 0; j < h->m0 && row[j] != HNSW_NONE; j++)
            in[row[j]]++;
        h->linked++;
    }
    pthread_rwlock_unlock(b->job->gate);
}

/* After the links back, so that searches from a new entry find their way. */
static void raise_entry(struct build *b)
{
    struct hnsw *h = b->h;
    pthread_rwlock_wrlock(b->job->gate);
    for (size_t i = 0; i < b->n; i++)
        if (h->entry == HNSW_NONE || hnsw_level(h, b->slots[i]) > h->max_level) {
            h->entry = b->slots[i];
            h->max_level = hnsw_level(h, b->slots[i]);
        }
    pthread_rwlock_unlock(b->job->gate);
}

static void adopt_orphans(struct build *b)
{
    struct hnsw *h = b->h;
    const uint32_t *in = h->in_degree.data;
    pthread_rwlock_wrlock(b->job->gate);
    for (size_t i = 0; i < b->orphan_count; i++)
        if (in[b->orphans[i]] == 0)
            hnsw_adopt(h, b->orphans[i], &b->workers[0]);
    for (size_t i = 0; i < b->n; i++)
        if (in[b->slots[i]] == 0 && b->slots[i] != h->entry)
            hnsw_adopt(h, b->slots[i], &b->workers[0]);
    h->version++;
    pthread_rwlock_unlock(b->job->gate);
    b->orphan_count = 0;
}

static void add_batch(struct build *b)
{
    struct hnsw *h = b->h;
    size_t at = 0;
    for (size_t i = 0; i < b->n; i++) {
        b->link_at[i] = at;
        at += most_links(h, hnsw_level(h, b->slots[i]));
    }
    b->link_at[b->n] = b->link_count = at;
    pool_for(b->job->pool, b->n, 1, find_neighbours, b);
    enter_nodes(b);
    link_back_all(b);
    raise_entry(b);
    adopt_orphans(b);
    h->changes += (uint32_t)b->n;
}

/* ---- the whole add ---- */

static size_t batch_limit(const struct hnsw *h)
{
    const size_t by_width = BATCH_PLACES / h->m0;
    return by_width < 1 ? 1 : by_width < BATCH_MAX ? by_width : BATCH_MAX;
}

static void build_free(struct build *b)
{
    hnsw_workers_close(b->workers, pool_threads(b->job->pool));
    mem_free(b->links);
    mem_free(b->link_at);
    mem_free(b->rows);
    mem_free(b->edges);
    mem_free(b->orphans);
}

static ann_err build_alloc(struct build *b, const uint32_t *slots, size_t n)
{
    const struct hnsw *h = b->h;
    size_t limit = batch_limit(h), stage = STAGE_ROWS;
    uint32_t top = 0;
    if (n < limit)
        limit = n;
    for (size_t i = 0; i < n; i++) {
        const uint32_t level = hnsw_level(h, slots[i]);
        top = level > top ? level : top;
    }
    /* The most that luck with the levels can ask for. */
    b->link_room = limit * most_links(h, top);
    if (stage > b->link_room)
        stage = b->link_room;
    b->orphan_room = b->link_room;
    b->links = mem_alloc(b->link_room * sizeof *b->links);
    b->link_at = mem_alloc((limit + 1) * sizeof *b->link_at);
    b->rows = mem_alloc(stage * sizeof *b->rows);
    b->edges = mem_alloc(stage * h->m0 * sizeof *b->edges);
    b->orphans = mem_alloc(b->orphan_room * sizeof *b->orphans);
    if (!b->links || !b->link_at || !b->rows || !b->edges || !b->orphans)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for batches of %zu nodes", limit);
    const size_t edges = h->ef_construction > h->m0 ? h->ef_construction : h->m0;
    return hnsw_workers_open(h, pool_threads(b->job->pool), edges + 1, &b->workers);
}

/* Takes back what a canceled add has linked, and gives the other slots back. */
static void undo(struct hnsw *h, const uint32_t *slots, size_t n, const struct kind_job *job)
{
    struct error_note why;
    error_take(&why, ANN_OK);
    pthread_rwlock_wrlock(job->gate);
    for (size_t i = 0; i < n; i++)
        if (*hnsw_state(h, slots[i]) == HNSW_LINKED)
            hnsw_remove(h, &slots[i], 1);
        else
            vectors_give_slot(h->vec, slots[i]);
    pthread_rwlock_unlock(job->gate);
    const struct kind_job quiet = {.pool = job->pool, .gate = job->gate};
    (void)hnsw_sweep(h, true, &quiet); /* failing, they wait for the next sweep */
    error_put(&why);
}

ann_err hnsw_add(void *state, const uint32_t *slots, size_t n, const struct kind_job *job)
{
    struct hnsw *h = state;
    struct build b = {.h = h, .job = job};
    ann_err err = build_alloc(&b, slots, n);
    if (!err && !h->in_degree_known)
        hnsw_count_in_degrees(h);
    if (!err)
        hnsw_rows_begin(h, n, job);
    for (size_t done = 0; done < n && !err; done += b.n) {
        const size_t share = h->linked / BATCH_SHARE, limit = batch_limit(h);
        b.n = share < 1 ? 1 : share < limit ? share : limit;
        if (b.n > n - done)
            b.n = n - done;
        b.slots = slots + done;
        for (size_t i = 0; i < b.n; i++) /* a slot used again is not what it was */
            ((uint8_t *)h->known.data)[b.slots[i]] = 0;
        add_batch(&b);
        if (job->progress && job->progress(job->progress_arg, "add", done + b.n, n))
            err = ANN_FAIL(ANN_ECANCELED, "canceled after %zu of %zu vectors", done + b.n, n);
    }
    if (!err && h->changes > h->linked / 64)
        err = hnsw_make_reachable(h, job);
    if (!err)
        err = hnsw_rows_finish(h, job);
    if (!err)
        err = hnsw_spread_make(h, job);
    build_free(&b);
    if (err)
        undo(h, slots, n, job);
    else if (n > h->slots / 4) /* a bulk build: what it knew takes more than the graph */
        hnsw_forget(h);
    return err;
}
