/* hnsw_file.c - the graph's sections of the file, its memory, and the table of the kind.
 *
 * docs/format.md, "Sections of the kinds", is the authority on the sections. */
#include <config.h>

#include <string.h>

#include "ann/base/error.h"
#include "ann/hnsw/rows.h"

/* Numbers in the header's params. */
enum {
    PARAM_M,
    PARAM_EF_CONSTRUCTION,
    PARAM_ENTRY,
    PARAM_MAX_LEVEL,
    PARAM_UPPER_ROWS,
    PARAM_DRAWN,
    PARAM_PLANES = 9,
    PARAM_OPEN = 10
};

/* Bits of PARAM_OPEN, in a graph without slots: what the first vectors are to decide. */
enum { OPEN_M = 1, OPEN_EF_CONSTRUCTION = 2 };

/* The section "spread": the table and how many nodes it was made of. */
#define SPREAD_BYTES (sizeof(float) * HNSW_RANKS + sizeof(uint32_t))
_Static_assert(offsetof(struct hnsw, spread_nodes) ==
                   offsetof(struct hnsw, spread) + sizeof(float) * HNSW_RANKS,
               "the section is not one piece");

static size_t hnsw_save(const void *state, struct kfile_meta *meta, struct kfile_part *parts)
{
    const struct hnsw *h = state;
    meta->params[PARAM_M] = h->m;
    meta->params[PARAM_EF_CONSTRUCTION] = h->ef_construction;
    meta->params[PARAM_ENTRY] = h->entry;
    meta->params[PARAM_MAX_LEVEL] = h->max_level;
    meta->params[PARAM_UPPER_ROWS] = h->upper_rows;
    meta->params[PARAM_DRAWN] = h->drawn;
    meta->params[PARAM_PLANES] = h->planes;
    if (h->slots == 0)
        meta->params[PARAM_OPEN] =
            (h->open_m ? OPEN_M : 0) | (h->open_ef ? OPEN_EF_CONSTRUCTION : 0);
    parts[0] = (struct kfile_part){"links", h->links.data, h->slots, h->m0 * sizeof(uint32_t)};
    parts[1] = (struct kfile_part){"levels", h->level.data, h->slots, 1};
    parts[2] = (struct kfile_part){"states", h->state.data, h->slots, 1};
    parts[3] = (struct kfile_part){"upper_at", h->upper_at.data, h->slots, sizeof(uint32_t)};
    parts[4] =
        (struct kfile_part){"upper", h->upper.data, h->upper_rows, h->m * sizeof(uint32_t)};
    size_t n = 5;
    if (h->spread_nodes > 0)
        parts[n++] = (struct kfile_part){"spread", h->spread, 1, SPREAD_BYTES};
    if (h->rows_on)
        parts[n++] = (struct kfile_part){"rows", h->rows.data, h->slots, h->row_size};
    return n;
}

/* The header's numbers within bounds; that the rest agrees with them is hnsw_check's to see. */
static ann_err read_params(const struct kfile_meta *meta, struct hnsw *h)
{
    const uint64_t *p = meta->params;
    if (p[PARAM_M] < ANN_M_MIN || p[PARAM_M] > ANN_M_MAX)
        return ANN_FAIL(ANN_EDAMAGED, "header: m is %llu", (unsigned long long)p[PARAM_M]);
    if (p[PARAM_EF_CONSTRUCTION] < ANN_EF_CONSTRUCTION_MIN ||
        p[PARAM_EF_CONSTRUCTION] > ANN_EF_CONSTRUCTION_MAX)
        return ANN_FAIL(ANN_EDAMAGED, "header: ef_construction is %llu",
                        (unsigned long long)p[PARAM_EF_CONSTRUCTION]);
    const bool empty = p[PARAM_ENTRY] == HNSW_NONE;
    if (!empty && p[PARAM_ENTRY] >= meta->slots)
        return ANN_FAIL(ANN_EDAMAGED, "header: entry is %llu of %llu slots",
                        (unsigned long long)p[PARAM_ENTRY], (unsigned long long)meta->slots);
    if (p[PARAM_MAX_LEVEL] > HNSW_LEVEL_MAX)
        return ANN_FAIL(ANN_EDAMAGED, "header: max_level is %llu",
                        (unsigned long long)p[PARAM_MAX_LEVEL]);
    if (p[PARAM_UPPER_ROWS] > meta->slots * HNSW_LEVEL_MAX || p[PARAM_UPPER_ROWS] > UINT32_MAX)
        return ANN_FAIL(ANN_EDAMAGED, "header: %llu upper rows for %llu slots",
                        (unsigned long long)p[PARAM_UPPER_ROWS],
                        (unsigned long long)meta->slots);
    if (p[PARAM_PLANES] > ANNK_ROW_PLANES ||
        (p[PARAM_PLANES] > 0 && h->vec->codes.type != CODE_SQ8))
        return ANN_FAIL(ANN_EDAMAGED, "header: rows of %llu bits",
                        (unsigned long long)p[PARAM_PLANES]);
    if (p[PARAM_OPEN] > (OPEN_M | OPEN_EF_CONSTRUCTION) ||
        (p[PARAM_OPEN] > 0 && (meta->slots > 0 || p[PARAM_PLANES] == 0)))
        return ANN_FAIL(ANN_EDAMAGED, "header: left open is %llu, with %llu slots",
                        (unsigned long long)p[PARAM_OPEN], (unsigned long long)meta->slots);
    h->open_m = p[PARAM_OPEN] & OPEN_M;
    h->open_ef = p[PARAM_OPEN] & OPEN_EF_CONSTRUCTION;
    h->planes = (unsigned)p[PARAM_PLANES];
    h->row_ops = annk_rows_for(h->vec->ops->name);
    h->m = (uint32_t)p[PARAM_M];
    h->m0 = 2 * h->m;
    h->ef_construction = (uint32_t)p[PARAM_EF_CONSTRUCTION];
    h->entry = (uint32_t)p[PARAM_ENTRY];
    h->max_level = (uint32_t)p[PARAM_MAX_LEVEL];
    h->upper_rows = (uint32_t)p[PARAM_UPPER_ROWS];
    h->drawn = p[PARAM_DRAWN];
    h->seed = meta->seed;
    h->slots = (uint32_t)meta->slots;
    return ANN_OK;
}

static ann_err take_spread(struct kfile *f, struct hnsw *h)
{
    struct buf b = {0};
    ann_err err = kfile_take(f, "spread", 1, SPREAD_BYTES, &b);
    if (err)
        return err;
    memcpy(h->spread, b.data, sizeof h->spread); /* ours: a mapped file may change */
    memcpy(&h->spread_nodes, (const char *)b.data + sizeof h->spread, sizeof h->spread_nodes);
    buf_free(&b);
    return hnsw_spread_check(h->spread);
}

static ann_err take_sections(struct kfile *f, struct hnsw *h)
{
    ann_err err = kfile_take(f, "links", h->slots, h->m0 * sizeof(uint32_t), &h->links);
    if (!err)
        err = kfile_take(f, "levels", h->slots, 1, &h->level);
    if (!err)
        err = kfile_take(f, "states", h->slots, 1, &h->state);
    if (!err)
        err = kfile_take(f, "upper_at", h->slots, sizeof(uint32_t), &h->upper_at);
    if (!err)
        err = kfile_take(f, "upper", h->upper_rows, h->m * sizeof(uint32_t), &h->upper);
    uint64_t rows;
    if (!err && kfile_has(f, "spread", &rows))
        err = take_spread(f, h);
    if (!err && h->planes > 0 && kfile_has(f, "rows", &rows)) {
        h->row_size = hnsw_row_size(h);
        err = kfile_take(f, "rows", h->slots, h->row_size, &h->rows);
        h->rows_on = !err;
    }
    return err;
}

/* What searches rely on without looking: where a node's upper rows are, and its state. */
static ann_err count_states(struct hnsw *h)
{
    uint64_t rows = 0;
    for (uint32_t s = 0; s < h->slots; s++) {
        const uint32_t level = hnsw_level(h, s);
        if (level > HNSW_LEVEL_MAX || ((const uint32_t *)h->upper_at.data)[s] != rows)
            return ANN_FAIL(ANN_EDAMAGED, "section levels: slot %u has level %u", s, level);
        rows += level;
        const uint8_t state = *hnsw_state(h, s);
        h->linked += state == HNSW_LINKED;
        h->removed += state == HNSW_REMOVED;
        if (state > HNSW_REMOVED || vectors_is_live(h->vec, s) != (state == HNSW_LINKED))
            return ANN_FAIL(ANN_EDAMAGED, "section states: slot %u has state %u", s, state);
    }
    if (rows != h->upper_rows)
        return ANN_FAIL(ANN_EDAMAGED, "section levels: %llu upper rows, the header says %u",
                        (unsigned long long)rows, h->upper_rows);
    if ((h->entry == HNSW_NONE) != (h->linked + h->removed == 0))
        return ANN_FAIL(ANN_EDAMAGED, "header: entry is %u with %u nodes", h->entry, h->linked);
    return ANN_OK;
}

static ann_err hnsw_load(const struct kfile_meta *meta, struct kfile *f, struct vectors *v,
                         void **state)
{
    struct hnsw *h = mem_zalloc(1, sizeof *h);
    if (!h)
        return ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", sizeof *h);
    h->vec = v;
    ann_err err = read_params(meta, h);
    if (!err)
        err = take_sections(f, h);
    if (!err)
        err = count_states(h);
    if (!err && !buf_borrowed(&h->links)) /* all is in memory and warm: look at every link */
        err = hnsw_check(h, ANN_CHECK_STRUCTURE);
    if (err) {
        hnsw_destroy(h);
        return err;
    }
    for (uint32_t s = v->slots; s-- > 0;)
        if (*hnsw_state(h, s) == HNSW_ABSENT)
            vectors_give_slot(v, s);
    hnsw_entries_make(h);
    *state = h;
    return ANN_OK;
}

static void hnsw_info(const void *state, ann_info *info)
{
    const struct hnsw *h = state;
    info->m = h->m;
    info->ef_construction = h->ef_construction;
    info->max_level = h->max_level;
    info->removed = h->removed;
    info->graph_bytes = h->links.bytes + h->level.bytes + h->state.bytes + h->upper_at.bytes +
                        h->upper.bytes;
    info->row_bytes = h->rows.bytes;
    info->intrinsic_dim = hnsw_intrinsic_dim(h);
    info->memory_bytes += buf_held(&h->rows) + buf_held(&h->entries) +
                          buf_held(&h->links) + buf_held(&h->level) + buf_held(&h->state) +
                          buf_held(&h->upper_at) + buf_held(&h->upper) +
                          buf_held(&h->edge_dist) + buf_held(&h->edge_kept) +
                          buf_held(&h->known) + buf_held(&h->in_degree);
}

/* Expected upper rows of n nodes: n * (1/m + 1/m^2 + ...). */
static uint64_t hnsw_estimate(const ann_options *o, uint64_t n, uint64_t *build_extra)
{
    const uint32_t m = o->m ? o->m : hnsw_choose_m(o, NULL);
    const uint64_t row = 2 * (uint64_t)m * sizeof(uint32_t);
    *build_extra = n * (2 * (uint64_t)m * (sizeof(float) + 1) + 1 + sizeof(uint32_t));
    const unsigned planes = hnsw_choose_planes(o);
    const size_t groups = (2 * (size_t)m + 15) / 16;
    const uint64_t block =
        planes ? annk_row_bytes(frame_padded(o->metric, o->dim, 64), planes, groups) : 0;
    return n * (row + block + 2 + sizeof(uint32_t)) + n / (m - 1) * m * sizeof(uint32_t);
}

const struct kind hnsw_kind = {
    .id = ANN_HNSW,
    .name = "hnsw",
    .create = hnsw_create,
    .train = hnsw_settle,
    .settle = hnsw_settle,
    .destroy = hnsw_destroy,
    .reserve = hnsw_reserve,
    .add = hnsw_add,
    .remove = hnsw_remove,
    .sweep = hnsw_sweep,
    .recoded = hnsw_recoded,
    .renumber = hnsw_renumber,
    .needs = hnsw_needs,
    .search = hnsw_search,
    .check = hnsw_check,
    .info = hnsw_info,
    .save = hnsw_save,
    .load = hnsw_load,
    .estimate = hnsw_estimate,
};
