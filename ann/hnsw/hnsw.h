/* hnsw.h - hierarchical navigable small world graph: the data and what its files share.
 *
 * Source: Malkov, Yashunin, "Efficient and robust approximate nearest neighbor search using
 * hierarchical navigable small world graphs", TPAMI 2020.  docs/hnsw.md says where we depart.
 *
 * choose.c, look.c how many links   graph.c memory, rows, levels
 * select.c choosing neighbours   build.c adding in batches
 * find.c near neighbours of a stored vector, workers' memory
 * search.c queries   walk.c, walk.h on codes and in rows   sieve.c with a filter
 * twohop.c, subgraph.c over what passes it   remove.c removal, repair, renumbering
 * reach.c every node reachable   spread.c what effort means   check.c soundness
 * hnsw_file.c sections and the kind table
 *
 * Invariants: a row's links are distinct, not its own slot, slots of nodes in the graph whose
 * level is at least the row's; they stand at the front, HNSW_NONE behind them.  entry is in the
 * graph and has max_level, unless the graph is empty. */
#ifndef KITH_HNSW_HNSW_H
#define KITH_HNSW_HNSW_H

#include <math.h>

#include "ann/codec/codes.h"
#include "ann/search/beam.h"
#include "ann/search/kind.h"
#include "ann/search/rerank.h"

#define HNSW_NONE SLOT_NONE
#define HNSW_LEVEL_MAX 15
#define HNSW_RANKS 8 /* 10, 20, ... 1280 */

enum hnsw_state {
    HNSW_ABSENT,  /* no vector here */
    HNSW_LINKED,
    HNSW_REMOVED  /* no result any more, still a way through, until the sweep */
};

struct hnsw {
    struct vectors *vec;
    uint32_t m, m0, ef_construction;
    bool open_m, open_ef; /* not asked for: the first vectors decide (look.c) */
    uint64_t seed;
    uint64_t drawn;      /* levels drawn so far */
    uint32_t slots;      /* slots the arrays cover */
    uint32_t linked, removed;
    uint32_t entry;      /* HNSW_NONE: empty */
    uint32_t max_level;

    struct buf links;    /* u32 [slots, m0]: level 0 */
    struct buf level;    /* u8 [slots] */
    struct buf state;    /* u8 [slots]: enum hnsw_state */
    struct buf upper_at; /* u32 [slots]: row in upper of level 1 */
    struct buf upper; /* u32 [upper_rows, m]: levels 1, 2, ... of a node, one after the other */
    uint32_t upper_rows;

    /* Profile fast (rows.h): a node's code and its neighbours' codes in one block. */
    unsigned planes;     /* bits of a neighbour's code; 0: no rows */
    bool rows_on;        /* rows agree with links and codes: searches read them */
    const struct annk_row_ops *row_ops;
    size_t row_size;
    struct buf rows;     /* [slots, row_size] */
    struct buf entries;  /* one row of many places: where searches begin; not in the file */
    uint32_t entry_nodes;  /* nodes of the graph when it was made */
    uint32_t entry_groups; /* of 16 places in entries; 0: descend from the entry */

    /* Squared distance of the 10 * 2^i-th neighbour by that of the 10th; 0: not known. */
    float spread[HNSW_RANKS];
    uint32_t spread_nodes; /* there were when it was made */

    /* Known while the graph grows, derived again when needed: not in the file. */
    struct buf edge_dist; /* f32 [slots, m0]: distance of each level-0 link */
    struct buf edge_kept; /* u8 [slots, m0]: enum hnsw_standing of each */
    struct buf known;     /* u8 [slots]: 1 if the row's edge_dist and edge_kept are right */
    struct buf in_degree; /* u32 [slots]: level-0 links to the node */
    bool in_degree_known;
    uint32_t changes;     /* links and removals since reachability was made sure of */
    uint32_t version;     /* of the links that searches see: grows under the gate */
};

static inline uint32_t *hnsw_row0(const struct hnsw *h, uint32_t slot)
{
    return (uint32_t *)h->links.data + (size_t)slot * h->m0;
}

/* Level-0 links that are read soon. */
static inline void hnsw_fetch_links(const struct hnsw *h, uint32_t slot)
{
    annk_prefetch(hnsw_row0(h, slot), h->m0 * sizeof(uint32_t));
}

static inline uint32_t hnsw_level(const struct hnsw *h, uint32_t slot)
{
    return ((const uint8_t *)h->level.data)[slot];
}

static inline uint8_t *hnsw_state(const struct hnsw *h, uint32_t slot)
{
    return (uint8_t *)h->state.data + slot;
}

/* The row of a slot at a level it has; *width its places. */
static inline uint32_t *hnsw_row(const struct hnsw *h, uint32_t slot, uint32_t level,
                                 uint32_t *width)
{
    if (level == 0) {
        *width = h->m0;
        return hnsw_row0(h, slot);
    }
    *width = h->m;
    const size_t at = ((const uint32_t *)h->upper_at.data)[slot] + level - 1;
    return (uint32_t *)h->upper.data + at * h->m;
}

static inline uint32_t hnsw_degree(const uint32_t *row, uint32_t width)
{
    uint32_t n = 0;
    while (n < width && row[n] != HNSW_NONE)
        n++;
    return n;
}

/* How good an edge is, by the heuristic (select.c). */
enum hnsw_standing { HNSW_FILLER, HNSW_FAIR, HNSW_GOOD, HNSW_KEPT };

/* A candidate neighbour. */
struct hnsw_edge {
    float dist;
    uint32_t slot;
    uint32_t kept; /* enum hnsw_standing */
};

/* Most slots that one call looks at at once, rows apart. */
#define HNSW_BATCH 256

/* A thread's memory while the graph changes.  Room of slots, places, twins, dists and fresh: the wider
 * of edge_room and HNSW_BATCH. */
struct hnsw_worker {
    struct buf memory;       /* holds all that follows */
    uint64_t *seen;          /* bitmap of nodes; clear between walks */
    size_t seen_bytes;
    uint32_t *noted;         /* [noted_room]: nodes marked in seen */
    size_t noted_count, noted_room;
    bool noted_lost;         /* noted overflowed: it is not all of them */
    search_key *keys;        /* of a beam of edge_room */
    search_key *fresh;
    struct hnsw_edge *edges; /* [edge_room] */
    size_t edge_room;
    uint32_t *slots, *places, *twins;
    float *dists;
    void *query, *other_query; /* stored vectors as queries */
};

/* Room to note n more nodes. */
static inline void hnsw_visit_room(struct hnsw_worker *w, size_t n)
{
    if (w->noted_count + n > w->noted_room) {
        w->noted_count = 0;
        w->noted_lost = true;
    }
}

/* Marks a node as seen; true if it was not. */
static inline bool hnsw_visit(struct hnsw_worker *w, uint32_t slot)
{
    uint64_t *word = &w->seen[slot >> 6];
    const uint64_t bit = UINT64_C(1) << (slot & 63);
    const bool fresh = !(*word & bit);
    *word |= bit;
    w->noted[w->noted_count] = slot;
    w->noted_count += fresh;
    return fresh;
}

/* What a look at vectors tells; tenth is 0 under ip, lengths is 0 else. */
struct hnsw_look {
    uint64_t count; /* of vectors that it was a sample of */
    double hubs;    /* share of the ten nearest of each that are hubs */
    double tenth;   /* squared distance of the tenth nearest by that of any other */
    double lengths; /* deviation of squared lengths by their mean */
};

/* choose.c */
/* Whether m, not asked for, goes by a look at the first vectors. */
bool hnsw_looks_for_m(const ann_options *o);
/* m where none was asked for; look: NULL before there are vectors. */
uint32_t hnsw_choose_m(const ann_options *o, const struct hnsw_look *look);
uint32_t hnsw_choose_ef_construction(const ann_options *o, uint32_t m);
enum code_type hnsw_choose_codes(const ann_options *o);
/* Bits of a neighbour's code in the rows of profile fast; 0: no rows. */
unsigned hnsw_choose_planes(const ann_options *o);

/* look.c */
/* Settles m and ef_construction, if they were left open, from a checked view of thousands of
 * vectors; does nothing in an index that has slots. */
ann_err hnsw_settle(void *state, const ann_view *view, const struct kind_job *job);

/* graph.c */
ann_err hnsw_create(const ann_options *o, struct vectors *v, void **state);
void hnsw_destroy(void *state);
void hnsw_recoded(void *state);
ann_err hnsw_reserve(void *state, uint32_t slots, const struct kind_job *job);
float hnsw_distance(const struct hnsw *h, const void *query, uint32_t slot);
/* A row with distances and marks, from what is known or worked out again, at e [width]. */
size_t hnsw_load_row(const struct hnsw *h, uint32_t slot, uint32_t level, struct hnsw_edge *e,
                     struct hnsw_worker *w);
/* Puts e [n] in place of a row; under the gate if the node can be reached. */
void hnsw_store_row(struct hnsw *h, uint32_t slot, uint32_t level, const struct hnsw_edge *e,
                    size_t n);
void hnsw_count_in_degrees(struct hnsw *h);
void hnsw_forget(struct hnsw *h); /* drops what is known only while growing */

/* find.c */
/* A stored vector as a query for distances between stored vectors: of codes if there are any,
 * where it lies or at room [hnsw_slot_query_bytes], on a cache line. */
const void *hnsw_slot_query(const struct hnsw *h, uint32_t slot, void *room);
size_t hnsw_slot_query_bytes(const struct hnsw *h);
void hnsw_distances(const struct hnsw *h, const void *query, const uint32_t *slots, size_t n,
                    float *out);
ann_err hnsw_workers_open(const struct hnsw *h, unsigned n, size_t edges,
                          struct hnsw_worker **out);
void hnsw_workers_close(struct hnsw_worker *w, unsigned n);
void hnsw_unvisit(struct hnsw_worker *w);
/* Enters slots [n] into a beam at w->keys. */
void hnsw_enter(const struct hnsw *h, const void *query, const uint32_t *slots, size_t n,
                struct beam *b, struct hnsw_worker *w);
/* Best-first search of one level from `start` into an empty beam at w->keys, narrower than
 * edge_room. */
void hnsw_find(const struct hnsw *h, const void *query, uint32_t level, search_key start,
               struct beam *b, struct hnsw_worker *w);
/* Greedy descent from the entry down to level `to`, the nearest node found. */
search_key hnsw_find_start(const struct hnsw *h, const void *query, uint32_t to,
                           struct hnsw_worker *w);

/* select.c */
/* Sorts by distance, ties in an order that differs from `of` to `of`. */
void hnsw_sort_edges(struct hnsw_edge *e, size_t n, uint32_t of);
/* Algorithm 4 on e [n], sorted by distance to one node: marks those kept, moves them and then
 * the nearest others to the front; returns how many stand there, at most width. */
size_t hnsw_select(const struct hnsw *h, struct hnsw_edge *e, size_t n, size_t width,
                   struct hnsw_worker *w);
/* Offers a new edge to a row e [*n] of at most width places, marks kept up to date.  A full row
 * gives up its farthest filler, or its farthest edge, but not the last way to a node, if
 * in_degree [slots] is given. */
void hnsw_offer(const struct hnsw *h, struct hnsw_edge *e, size_t *n, size_t width,
                struct hnsw_edge fresh, const uint32_t *in_degree, struct hnsw_worker *w);

/* rows.c: rows follow links and codes; nothing to do without planes. */
ann_err hnsw_rows_reserve(struct hnsw *h, uint32_t slots); /* rows that are on */
void hnsw_rows_resize(struct hnsw *h, uint32_t slots);     /* reserved: cannot fail */
/* Level-0 links or code of a slot have changed: under the gate if it can be reached. */
void hnsw_rows_refresh(struct hnsw *h, uint32_t slot);
/* Searches walk on codes from now on; under the gate. */
void hnsw_rows_off(struct hnsw *h);
/* Around an add of n nodes: rows are off while many come, and made at the end. */
void hnsw_rows_begin(struct hnsw *h, size_t n, const struct kind_job *job);
ann_err hnsw_rows_finish(struct hnsw *h, const struct kind_job *job);
void hnsw_rows_renumber(struct hnsw *h, const uint32_t *new_slot, uint32_t old_slots,
                        uint32_t kept);
/* The table of entries for the nodes there are now; without memory searches descend.  Under the
 * gate: after what changes nodes or codes. */
void hnsw_entries_make(struct hnsw *h);

/* walk.c */
/* Searches on codes, and in rows if they are on: the nearest that may be results, ascending by
 * distance in code space, at s->keys; how many. */
size_t hnsw_walk(const struct hnsw *h, const struct kind_query *q, struct scratch *s);
/* Nodes for each that may be a result. */
double hnsw_thinned(const struct hnsw *h, const struct kind_query *q);
/* How much more effort gives hnsw_walk the same recall where one of `thin` nodes passes a
 * filter. */
static inline double hnsw_harder(double thin)
{
    return exp2(0.3 * log2(thin));
}
/* Likewise for hnsw_two_hops: where less than a thirtieth passes they find too few a node. */
static inline double hnsw_harder_hops(double thin)
{
    return thin > 32 ? pow(thin / 32, 0.75) : 1;
}
/* How much farther than the k-th a node may be for its neighbours to be looked at, squared. */
float hnsw_gamma(const struct hnsw *h, double effort, double k);

/* spread.c */
/* Makes the table h->spread where the graph has grown enough since; without memory: an error. */
ann_err hnsw_spread_make(struct hnsw *h, const struct kind_job *job);
ann_err hnsw_spread_check(const float *spread); /* [HNSW_RANKS] */
double hnsw_intrinsic_dim(const struct hnsw *h); /* 0: not known */

/* search.c */
ann_err hnsw_search(const void *state, const struct kind_query *q, struct scratch *s,
                    search_key *out, size_t *found);
/* Candidates that a walk on codes may come with: many where codes do not tell them apart. */
size_t hnsw_rerank_width(const struct hnsw *h, const struct kind_query *q);
void hnsw_needs(const void *state, const struct kind_query *q, size_t *keys, size_t *batch);

/* twohop.c: searches among what passes a filter, on codes (and in rows if they are on) as
 * hnsw_walk does, else into a beam. */
size_t hnsw_two_hops(const struct hnsw *h, const struct kind_query *q, struct scratch *s);
void hnsw_two_hops_beam(const struct hnsw *h, const struct kind_query *q, struct scratch *s,
                        struct beam *b);

/* subgraph.c: likewise, of profile fast, in rows that a filter has for what passes; NULL: it has
 * none yet. */
struct subrows *hnsw_own_rows(const struct hnsw *h, const struct kind_query *q);
size_t hnsw_walk_own(const struct hnsw *h, const struct kind_query *q, struct scratch *s,
                     struct subrows *rows);

/* sieve.c: searches with a filter. */
ann_err hnsw_search_filtered(const struct hnsw *h, const struct kind_query *q,
                             struct scratch *s, search_key *out, size_t *found);

/* build.c */
ann_err hnsw_add(void *state, const uint32_t *slots, size_t n, const struct kind_job *job);

/* remove.c */
void hnsw_remove(void *state, const uint32_t *slots, size_t n);
ann_err hnsw_sweep(void *state, bool now, const struct kind_job *job);
void hnsw_renumber(void *state, const uint32_t *new_slot, uint32_t old_slots, uint32_t kept);

/* reach.c */
/* Gives every node of in-degree 0 an in-link; then links what a walk from the entry misses. */
ann_err hnsw_make_reachable(struct hnsw *h, const struct kind_job *job);
/* Gives `slot` an in-link from one of its neighbours, if one can spare the place. */
bool hnsw_adopt(struct hnsw *h, uint32_t slot, struct hnsw_worker *w);
/* Nodes of the graph that a walk from the entry does not reach; *first one of them. */
ann_err hnsw_unreached(const struct hnsw *h, uint32_t *count, uint32_t *first);

/* check.c */
ann_err hnsw_check(const void *state, ann_check_level level);

extern const struct kind hnsw_kind;

#endif
