/* twohop.c - the walk over what passes a filter, by one hop or two.
 *
 * Source: ACORN-1 (Patel et al., SIGMOD 2024).  Only nodes that pass are looked at; of a node's
 * neighbours those that pass, and where they are few, of the others' neighbours those that
 * pass, until there are enough.  So what does not pass costs a look at its links, never a
 * distance. Departures: it begins where a walk without a filter does, and at a sample of what
 * passes; each node leads to its neighbours' neighbours once; twice a row's places are enough;
 * and on codes it ends as walk.c's do.
 *
 * In rows of profile fast the estimates of a node's row say which of the others are worth going
 * on from: the nearest, and none beyond the limit.  That halves the distances.
 *
 * Links are tested by the row against bitmaps (pick_set, pick_clear): the looks at links are
 * many, ten rows a node where one in ten passes, and most of the time went there.  A filter that
 * has served some searches knows the links that pass (passing.h): the same, in the same order,
 * for half a cache line a row.
 *
 * Nothing waits for memory where it can be helped: while the links of one node's neighbours
 * come, the codes found from the node before are compared with the query, and while those
 * codes come, the next row is read.  So what a node leads to takes part one hop later. */
#include <config.h>

#include <string.h>

#include "ann/hnsw/walk.h"

#define SEEDS  4  /* of what passes, to begin with beside nodes near the query */
#define SPREAD 16 /* of what passes, where there are no such nodes */
#define AHEAD  6  /* rows fetched ahead */
#define GROUP  8  /* rows tested one after another, before what passes is marked */

/* Neighbours that do not pass, gone on from in a row with estimates: so many for each node that
 * one that passes stands for, as where few pass too little is found otherwise. */
#define OTHERS_EACH  0.8
#define OTHERS_LEAST 8
#define OTHERS_MOST  32

/* Nodes that pass, found from one node. */
struct finds {
    const struct hnsw *h;
    const struct kind_query *q;
    struct scratch *s;
    struct passing_table *passing; /* links that pass, or NULL: they are picked from the rows */
    uint32_t bits; /* slots that the filter knows */
    uint32_t enough;
    size_t most_others; /* in rows */
    uint32_t *others; /* [m0]: of its neighbours some that do not pass, to go on from */
    uint32_t *fresh;  /* [enough + m0] */
    size_t other_count, n;
    size_t passed;     /* found, new or not */
    uint32_t *waiting; /* [enough + m0], on codes: what the node before led to */
    size_t waiting_count;
};

/* ---- links that pass ---- */

/* Of a node's links those that pass the filter at `to`; how many. */
static inline size_t pick_links(const struct finds *f, uint32_t slot, uint32_t *to)
{
    const struct hnsw *h = f->h;
    return h->vec->ops->pick_set(hnsw_row0(h, slot), h->m0, f->q->allowed, f->bits, to);
}

/* Likewise, from the table where it has them, and into it where not. */
static inline size_t pick_passing(const struct finds *f, uint32_t slot, uint32_t *to)
{
    struct passing_table *p = f->passing;
    if (!p)
        return pick_links(f, slot, to);
    const uint32_t n = passing_count(p, slot);
    if (n > p->width) {
        const size_t picked = pick_links(f, slot, to);
        if (n == UINT32_MAX)
            passing_put(p, slot, to, picked);
        return picked;
    }
    for (uint32_t i = 0; i < n; i += PASSING_UNIT)
        memcpy(to + i, passing_row(p, slot) + i, PASSING_UNIT * sizeof *to);
    return n;
}

/* They are read soon.  Without branches: how many there are cannot be foretold. */
static inline void fetch_passing(const struct finds *f, uint32_t slot)
{
    const struct passing_table *p = f->passing;
    if (!p) {
        hnsw_fetch_links(f->h, slot);
        return;
    }
    const uint32_t n = passing_count(p, slot);
    const bool links = n > p->width;
    const void *row = n > 0 ? (const void *)passing_row(p, slot) : p;
    annk_prefetch(links ? hnsw_row0(f->h, slot) : row,
                  (links ? f->h->m0 : p->width) * sizeof(uint32_t));
}

/* ---- hops ---- */

/* Where one of `thin` nodes passes. */
static size_t most_others(const struct hnsw *h, double thin)
{
    const double most = OTHERS_EACH * thin;
    const size_t n = most < OTHERS_LEAST  ? OTHERS_LEAST
                     : most < OTHERS_MOST ? (size_t)most
                                          : OTHERS_MOST;
    return n < h->m0 ? n : h->m0;
}

static struct finds finds_of(const struct hnsw *h, const struct kind_query *q,
                             struct scratch *s)
{
    const size_t room = s->slots.bytes / sizeof(uint32_t);
    const double thin = hnsw_thinned(h, q);
    struct finds f = {
        .h = h,
        .q = q,
        .s = s,
        .bits = q->allowed_slots < h->slots ? q->allowed_slots : h->slots,
        .enough = 2 * h->m0,
        .others = (uint32_t *)s->slots.data + room - h->m0,
        .fresh = s->slots.data,
        .most_others = most_others(h, thin),
        .passing = passing_get(&q->kept->links, h->slots, h->m0, 1 / thin),
    };
    if (f.passing && !passing_ready(f.passing, h->version))
        f.passing = NULL;
    return f;
}

/* Slots evenly over what passes, at most `seeds`. */
static void find_seeds(struct finds *f, size_t seeds)
{
    const struct vectors *v = f->h->vec;
    const uint64_t *live = v->live_map.data;
    const size_t words = ((size_t)f->bits + 63) / 64;
    f->n = 0;
    for (size_t i = 0; i < seeds; i++) {
        const size_t from = i * words / seeds, to = (i + 1) * words / seeds;
        bool have = false;
        for (size_t word = from; word < to && !have; word++)
            for (uint64_t bits = live[word] & f->q->allowed[word]; bits && !have;
                 bits &= bits - 1) {
                const uint32_t slot = (uint32_t)(word * 64 + (size_t)__builtin_ctzll(bits));
                have = slot < f->bits && *hnsw_state(f->h, slot) == HNSW_LINKED &&
                       kind_passes(v, f->q, slot);
                f->fresh[f->n] = slot;
                f->n += have && scratch_visit(f->s, slot);
            }
    }
}

/* Of those picked [m] behind fresh the new ones, without what was removed since the filter was
 * made, or added in its place. */
static inline void take_picked(struct finds *f, size_t m)
{
    const struct vectors *v = f->h->vec;
    uint32_t *fresh = f->fresh + f->n;
    size_t passed = 0, n = 0;
    for (size_t i = 0; i < m; i++) {
        const uint32_t to = fresh[i];
        if (!vectors_is_live(v, to) || kind_later(v, f->q, to))
            continue;
        passed++;
        fresh[n] = to;
        n += scratch_visit(f->s, to);
    }
    f->passed += passed;
    f->n += n;
}

/* The first hop, by a node's links. */
static void first_hop(struct finds *f, uint32_t slot)
{
    const struct hnsw *h = f->h;
    f->n = f->passed = f->other_count = 0;
    take_picked(f, pick_passing(f, slot, f->fresh));
    if (f->passed < f->enough)
        f->other_count = h->vec->ops->pick_clear(hnsw_row0(h, slot), h->m0,
                                                 f->s->visited.data, h->slots, f->others);
    for (size_t i = 0; i < AHEAD && i < f->other_count; i++)
        fetch_passing(f, f->others[i]);
}

/* What the first hop reads of a node. */
static inline void fetch_node(const struct finds *f, uint32_t slot)
{
    hnsw_fetch_links(f->h, slot);
    if (f->passing)
        fetch_passing(f, slot);
}

/* Of those found from place `from` on. */
static inline void fetch_codes(const struct finds *f, size_t from)
{
    const struct codes *c = &f->h->vec->codes;
    for (size_t i = from; i < f->n; i++)
        annk_prefetch(codes_row(c, f->fresh[i]), c->stride);
}

/* The second: the others' neighbours.  A group's rows are tested before what passes is marked:
 * how many pass of a row cannot be foretold, and so nothing waits for it. */
static void second_hop(struct finds *f)
{
    for (size_t i = 0; i < f->other_count && f->passed < f->enough;) {
        const size_t from = f->n, left = f->other_count - i;
        const size_t end = i + (left < GROUP ? left : GROUP);
        size_t picked = 0;
        for (; i < end && f->passed + picked < f->enough; i++) {
            if (i + AHEAD < f->other_count)
                fetch_passing(f, f->others[i + AHEAD]);
            scratch_visit(f->s, f->others[i]);
            picked += pick_passing(f, f->others[i], f->fresh + from + picked);
            f->q->stats->hops++;
        }
        take_picked(f, picked);
        if (f->waiting)
            fetch_codes(f, from);
    }
}

/* ---- in rows ---- */

/* Among the `most` nearest, ascending; how many there are. */
static inline size_t keep_nearest(search_key *nearest, size_t n, size_t most, search_key key)
{
    if (n == most && key >= nearest[n - 1])
        return n;
    size_t at = n < most ? n++ : n - 1;
    for (; at > 0 && nearest[at - 1] > key; at--)
        nearest[at] = nearest[at - 1];
    nearest[at] = key;
    return n;
}

/* The first hop by the estimates of the node's row, given its own distance: none beyond the
 * limit. */
static void first_hop_near(struct finds *f, struct walk *w, const struct annk_row_query *rq,
                           uint32_t slot, float own)
{
    search_key others[OTHERS_MOST];
    const float *dists = w->dists + w->n;
    uint32_t *ids = w->ids + w->n;
    size_t n = 0;
    f->n = 0;
    const size_t m = w->ops->scan(rq, hnsw_code_row(f->h, slot), own, w->limit,
                                  w->dists + w->n, ids);
    for (size_t i = 0; i < m; i++) {
        const uint32_t to = ids[i];
        if (!kind_passes(f->h->vec, f->q, to)) {
            if (!scratch_visited(f->s, to))
                n = keep_nearest(others, n, f->most_others, key_make(dists[i], to));
            continue;
        }
        f->fresh[f->n] = to;
        f->n += scratch_visit(f->s, to);
    }
    for (size_t i = 0; i < n; i++) {
        f->others[i] = key_slot(others[i]);
        fetch_passing(f, f->others[i]);
    }
    f->other_count = n;
    f->passed = f->n;
}

/* A node's row but for its code: its distance is known. */
static inline void fetch_row(const struct hnsw *h, uint32_t slot)
{
    const size_t own = h->vec->codes.frame.padded;
    annk_prefetch(hnsw_code_row(h, slot) + own, h->row_size - own);
}

/* ---- walks ---- */

/* Nodes [m], by distance, into the frontier and the results. */
static void enter(struct walk *w, const uint32_t *slots, size_t m)
{
    memcpy(w->ids + w->n, slots, m * sizeof *slots);
    const size_t near = walk_distances(w, m);
    for (size_t i = 0; i < near; i++)
        walk_result(w, w->dists[w->n + i], w->ids[w->n + i]);
    w->n += near;
    walk_make_room(w);
}

/* What was found waits, in place of what did. */
static void set_waiting(struct finds *f)
{
    uint32_t *const slots = f->waiting;
    f->waiting = f->fresh;
    f->waiting_count = f->n;
    f->fresh = slots;
}

static void enter_waiting(struct walk *w, struct finds *f)
{
    enter(w, f->waiting, f->waiting_count);
    f->waiting_count = 0;
}

/* In rows, if rq is given. */
static void hop(struct walk *w, struct finds *f, const struct annk_row_query *rq)
{
    uint32_t slot, next = 0;
    float dist, next_dist = 0;
    if (!walk_take(w, &slot, &dist))
        return;
    while (w->hops < w->cap) {
        if (rq)
            first_hop_near(f, w, rq, slot, dist);
        else
            first_hop(f, slot);
        fetch_codes(f, 0);
        enter_waiting(w, f);
        const bool more = walk_take(w, &next, &next_dist);
        if (more && rq)
            fetch_row(w->h, next);
        else if (more)
            fetch_node(f, next);
        second_hop(f);
        w->hops++;
        set_waiting(f);
        if (!more) {
            enter_waiting(w, f);
            if (!walk_take(w, &next, &next_dist))
                break;
        }
        slot = next;
        dist = next_dist;
    }
    enter_waiting(w, f);
}

size_t hnsw_two_hops(const struct hnsw *h, const struct kind_query *q, struct scratch *s)
{
    struct annk_row_query rq;
    struct walk w;
    struct finds f = finds_of(h, q, s);
    const size_t most = f.enough + h->m0; /* that one node leads to */
    const double effort = q->fine > 0 ? q->fine : (double)q->effort;
    hnsw_walk_begin(&w, h, q, s, effort * hnsw_harder_hops(hnsw_thinned(h, q)),
                    3 * most + 2 * (size_t)h->m0 + 16);
    f.fresh = f.others - most;
    f.waiting = f.fresh - most;
    hnsw_walk_start(&w, &rq);
    find_seeds(&f, SEEDS);
    enter(&w, f.fresh, f.n);
    rq.next = NULL;
    hop(&w, &f, h->rows_on ? &rq : NULL);
    return hnsw_walk_end(&w);
}

static void enter_beam(const struct finds *f, struct beam *b)
{
    float *dists = f->s->dists.data;
    vectors_many(f->h->vec, f->q->query, f->fresh, f->n, dists);
    f->q->stats->distances += f->n;
    for (size_t i = 0; i < f->n; i++)
        beam_insert(b, key_make(dists[i], f->fresh[i]));
}

void hnsw_two_hops_beam(const struct hnsw *h, const struct kind_query *q, struct scratch *s,
                        struct beam *b)
{
    struct finds f = finds_of(h, q, s);
    search_key key;
    uint32_t ahead;
    find_seeds(&f, SPREAD);
    enter_beam(&f, b);
    while (beam_pop(b, &key)) {
        first_hop(&f, key_slot(key));
        second_hop(&f);
        q->stats->hops++;
        enter_beam(&f, b);
        if (beam_peek(b, &ahead))
            fetch_node(&f, ahead);
    }
    scratch_unvisit(s);
    for (size_t i = 0; i < b->size; i++)
        b->keys[i] &= ~KEY_FLAG;
}
