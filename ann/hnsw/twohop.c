/* twohop.c - the walk over what passes a filter, by one hop or two.
 *
 * Source: ACORN-1 (Patel et al., SIGMOD 2024).  Only nodes that pass are looked at; of a node's
 * neighbours those that pass, and where they are few, of the others' neighbours those that
 * pass, until there are enough.  So what does not pass costs a look at its links, never a
 * distance. Departures: it begins at a sample of what passes; each node leads to its
 * neighbours' neighbours once; twice a row's places are enough; and on codes it ends as
 * walk.c's do.
 *
 * In rows of profile fast the estimates of a node's row say which of the others are worth going
 * on from: the nearest, and none beyond the limit.  That halves the distances.
 *
 * Links are tested by the row against bitmaps (pick_set, pick_clear): the looks at links are
 * many, ten rows a node where one in ten passes. */
#include <config.h>

#include "ann/hnsw/walk.h"

#define SEEDS  16 /* of what passes, to begin with */
#define AHEAD  6  /* rows fetched ahead */
#define OTHERS 8  /* neighbours that do not pass, gone on from in a row with estimates */

/* Nodes that pass, found from one node. */
struct finds {
    const struct hnsw *h;
    const struct kind_query *q;
    struct scratch *s;
    uint32_t bits; /* slots that the filter knows */
    uint32_t enough;
    uint32_t *others; /* [m0] */
    uint32_t *fresh;  /* [enough + m0] */
    size_t n;
};

static struct finds finds_of(const struct hnsw *h, const struct kind_query *q,
                             struct scratch *s)
{
    const size_t room = s->slots.bytes / sizeof(uint32_t);
    return (struct finds){
        .h = h,
        .q = q,
        .s = s,
        .bits = q->allowed_slots < h->slots ? q->allowed_slots : h->slots,
        .enough = 2 * h->m0,
        .others = (uint32_t *)s->slots.data + room - h->m0,
        .fresh = s->slots.data,
    };
}

/* Slots evenly over what passes, at most SEEDS. */
static void find_seeds(struct finds *f)
{
    const struct vectors *v = f->h->vec;
    const uint64_t *live = v->live_map.data;
    const size_t words = ((size_t)f->bits + 63) / 64;
    f->n = 0;
    for (size_t i = 0; i < SEEDS; i++) {
        const size_t from = i * words / SEEDS, to = (i + 1) * words / SEEDS;
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

/* Of a node's neighbours those that pass: how many, and the new ones into fresh. */
static inline size_t find_passing(struct finds *f, uint32_t slot)
{
    const struct vectors *v = f->h->vec;
    uint32_t *fresh = f->fresh + f->n;
    const size_t m =
        v->ops->pick_set(hnsw_row0(f->h, slot), f->h->m0, f->q->allowed, f->bits, fresh);
    size_t passing = 0, n = 0;
    for (size_t i = 0; i < m; i++) {
        const uint32_t to = fresh[i];
        if (!kind_passes(v, f->q, to)) /* removed since, or added in its place */
            continue;
        passing++;
        fresh[n] = to;
        n += scratch_visit(f->s, to);
    }
    f->n += n;
    return passing;
}

/* A node's neighbours that pass, and theirs. */
static void find(struct finds *f, uint32_t slot)
{
    const struct hnsw *h = f->h;
    f->n = 0;
    size_t passing = find_passing(f, slot);
    if (passing >= f->enough)
        return;
    const size_t n = h->vec->ops->pick_clear(hnsw_row0(h, slot), h->m0, f->s->visited.data,
                                             h->slots, f->others);
    for (size_t i = 0; i < AHEAD && i < n; i++)
        hnsw_fetch_links(h, f->others[i]);
    for (size_t i = 0; i < n && passing < f->enough; i++) {
        if (i + AHEAD < n)
            hnsw_fetch_links(h, f->others[i + AHEAD]);
        scratch_visit(f->s, f->others[i]);
        passing += find_passing(f, f->others[i]);
        f->q->stats->hops++;
    }
}

/* ---- in rows ---- */

/* Among the OTHERS nearest, ascending; how many there are. */
static inline size_t keep_nearest(search_key *nearest, size_t n, search_key key)
{
    if (n == OTHERS && key >= nearest[n - 1])
        return n;
    size_t at = n < OTHERS ? n++ : n - 1;
    for (; at > 0 && nearest[at - 1] > key; at--)
        nearest[at] = nearest[at - 1];
    nearest[at] = key;
    return n;
}

/* The same by the estimates of the node's row, given its own distance: none beyond the limit.
 */
static void find_near(struct finds *f, struct walk *w, const struct annk_row_query *rq,
                      uint32_t slot, float own)
{
    search_key others[OTHERS];
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
                n = keep_nearest(others, n, key_make(dists[i], to));
            continue;
        }
        f->fresh[f->n] = to;
        f->n += scratch_visit(f->s, to);
    }
    for (size_t i = 0; i < n; i++)
        hnsw_fetch_links(f->h, key_slot(others[i]));
    for (size_t i = 0; i < n && f->n < f->enough; i++) {
        scratch_visit(f->s, key_slot(others[i]));
        (void)find_passing(f, key_slot(others[i]));
        f->q->stats->hops++;
    }
}

/* ---- walks ---- */

/* What was found, by distance, into the frontier and the results. */
static void enter(struct walk *w, size_t m)
{
    const size_t near = walk_distances(w, m);
    for (size_t i = 0; i < near; i++)
        walk_result(w, w->dists[w->n + i], w->ids[w->n + i]);
    w->n += near;
    walk_make_room(w);
}

static void hop_on_codes(struct walk *w, struct finds *f)
{
    uint32_t slot;
    float dist;
    while (w->hops < w->cap && walk_take(w, &slot, &dist)) {
        f->fresh = w->ids + w->n;
        find(f, slot);
        w->hops++;
        enter(w, f->n);
    }
}

/* The next row is fetched while one is looked at, as in walk.c. */
static void hop_in_rows(struct walk *w, struct finds *f)
{
    const struct hnsw *h = w->h;
    struct annk_row_query rq;
    uint32_t slot, next;
    float dist, next_dist;
    hnsw_row_query(w, &rq);
    if (!walk_take(w, &slot, &dist))
        return;
    while (w->hops < w->cap) {
        const bool more = walk_take(w, &next, &next_dist);
        rq.next = more ? hnsw_code_row(h, next) : NULL;
        f->fresh = w->ids + w->n;
        find_near(f, w, &rq, slot, dist);
        w->hops++;
        enter(w, f->n);
        if (!more && !walk_take(w, &next, &next_dist))
            break;
        slot = next;
        dist = next_dist;
    }
}

size_t hnsw_two_hops(const struct hnsw *h, const struct kind_query *q, struct scratch *s)
{
    struct walk w;
    struct finds f = finds_of(h, q, s);
    hnsw_walk_begin(&w, h, q, s, q->fine > 0 ? q->fine : (double)q->effort,
                    f.enough + 2 * (size_t)h->m0 + 16);
    find_seeds(&f);
    enter(&w, f.n);
    if (h->rows_on)
        hop_in_rows(&w, &f);
    else
        hop_on_codes(&w, &f);
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
    find_seeds(&f);
    enter_beam(&f, b);
    while (beam_pop(b, &key)) {
        find(&f, key_slot(key));
        q->stats->hops++;
        enter_beam(&f, b);
        if (beam_peek(b, &ahead))
            hnsw_fetch_links(h, ahead);
    }
    scratch_unvisit(s);
    for (size_t i = 0; i < b->size; i++)
        b->keys[i] &= ~KEY_FLAG;
}
