/* rows.c - making the rows of profile fast, and keeping them up to date.  See rows.h. */
#include <config.h>

#include <string.h>

#include "ann/base/error.h"
#include "ann/hnsw/rows.h"

#define BULK_SHARE 4 /* an add of more than a quarter makes all rows again */
#define FACTOR_MAX 60000.0f /* what a 16-bit float holds, with room */

/* A and B of an estimate, as the kernels want them. */
static void factors(const struct codes *c, const struct annk_row_code *code, uint16_t *a,
                    uint16_t *b)
{
    const double unit = (double)codes_unit(c);
    const double k2 = code->dot > 0 ? 2.0 * (double)code->norm / (double)code->dot : 0;
    const double inner = k2 * (double)code->cross;
    const double add = unit * unit * ((double)code->norm + inner), by = -2.0 * unit * k2;
    float f[2] = {(float)add, (float)by};
    uint16_t half[2];
    for (int i = 0; i < 2; i++)
        f[i] = f[i] > FACTOR_MAX ? FACTOR_MAX : f[i] < -FACTOR_MAX ? -FACTOR_MAX : f[i];
    c->frame.ops->f32_to_f16(f, half, 2);
    *a = half[0];
    *b = half[1];
}

/* One neighbour's code into place i of a row; HNSW_NONE empties it. */
static void put_place(const struct hnsw *h, uint8_t *row, uint32_t i, uint32_t slot)
{
    const struct codes *c = &h->vec->codes;
    const size_t padded = c->frame.padded, step = annk_row_group_bytes(padded, h->planes);
    uint8_t *group = row + padded + i / 16 * step;
    struct annk_row_code code = {0, 0, 0};
    uint32_t *ids = (uint32_t *)(void *)group;
    uint16_t *a = (uint16_t *)(void *)(group + 64);
    ids[i % 16] = slot;
    if (slot != HNSW_NONE)
        h->row_ops->encode(row, codes_row(c, slot), padded, h->planes,
                           (uint32_t *)(void *)(group + 128) + i % 16, &code);
    factors(c, &code, a + i % 16, a + 16 + i % 16);
}

static uint32_t place_id(const struct hnsw *h, const uint8_t *row, uint32_t i)
{
    const size_t padded = h->vec->codes.frame.padded;
    uint32_t id;
    memcpy(&id, row + padded + i / 16 * annk_row_group_bytes(padded, h->planes) + i % 16 * 4,
           sizeof id);
    return id;
}

void hnsw_row_make(const struct hnsw *h, uint8_t *row, uint32_t slot, const uint32_t *links)
{
    const struct codes *c = &h->vec->codes;
    const uint32_t places = (uint32_t)hnsw_row_groups(h) * 16;
    for (uint32_t i = 0; i < h->m0 && i < 8 && links[i] < h->slots; i++)
        __builtin_prefetch(codes_row(c, links[i]));
    memcpy(row, codes_row(c, slot), c->stride);
    for (uint32_t i = 0; i < places; i++) {
        if (i + 8 < h->m0 && links[i + 8] < h->slots)
            for (size_t at = 0; at < c->stride; at += 64)
                __builtin_prefetch(codes_row(c, links[i + 8]) + at);
        put_place(h, row, i, i < h->m0 ? links[i] : HNSW_NONE);
    }
}

static void make_row(const struct hnsw *h, uint32_t slot)
{
    hnsw_row_make(h, hnsw_code_row(h, slot), slot, hnsw_row0(h, slot));
}

void hnsw_rows_refresh(struct hnsw *h, uint32_t slot)
{
    const struct codes *c = &h->vec->codes;
    if (!h->rows_on)
        return;
    uint8_t *row = hnsw_code_row(h, slot);
    if (memcmp(row, codes_row(c, slot), c->stride) != 0) {
        make_row(h, slot); /* a new node: no code has a zero byte */
        return;
    }
    const uint32_t *links = hnsw_row0(h, slot);
    for (uint32_t i = 0; i < h->m0; i++)
        if (place_id(h, row, i) != links[i])
            put_place(h, row, i, links[i]);
}

/* ---- all of them ---- */

static void make_one(void *arg, size_t i, unsigned worker)
{
    const struct hnsw *h = arg;
    (void)worker;
    if (*hnsw_state(h, (uint32_t)i) != HNSW_ABSENT)
        make_row(h, (uint32_t)i);
}

void hnsw_rows_off(struct hnsw *h)
{
    h->rows_on = false;
    h->entry_groups = 0;
}

ann_err hnsw_rows_reserve(struct hnsw *h, uint32_t slots)
{
    if (h->planes == 0 || !h->rows_on)
        return ANN_OK;
    return buf_reserve(&h->rows, (size_t)slots * h->row_size);
}

void hnsw_rows_resize(struct hnsw *h, uint32_t slots)
{
    if (h->planes > 0 && h->rows_on)
        (void)buf_resize(&h->rows, (size_t)slots * h->row_size); /* reserved: cannot fail */
}

/* Makes all rows and switches them on. */
static ann_err derive(struct hnsw *h, const struct kind_job *job)
{
    h->row_size = hnsw_row_size(h);
    h->rows_on = false;
    buf_free(&h->rows);
    const ann_err err = buf_resize(&h->rows, (size_t)h->slots * h->row_size);
    if (err)
        return err;
    pool_for(job->pool, h->slots, 64, make_one, h);
    pthread_rwlock_wrlock(job->gate);
    h->rows_on = true;
    pthread_rwlock_unlock(job->gate);
    return ANN_OK;
}

void hnsw_rows_begin(struct hnsw *h, size_t n, const struct kind_job *job)
{
    if (!h->rows_on || n <= h->linked / BULK_SHARE)
        return;
    pthread_rwlock_wrlock(job->gate);
    hnsw_rows_off(h);
    pthread_rwlock_unlock(job->gate);
    buf_free(&h->rows); /* no search reads it any more */
}

ann_err hnsw_rows_finish(struct hnsw *h, const struct kind_job *job)
{
    if (h->vec->codes.type != CODE_SQ8)
        return ANN_OK;
    const ann_err err = h->planes > 0 && !h->rows_on ? derive(h, job) : ANN_OK;
    if (err || (h->entry_groups > 0 && h->linked / 4 * 3 <= h->entry_nodes))
        return err;
    pthread_rwlock_wrlock(job->gate);
    hnsw_entries_make(h);
    pthread_rwlock_unlock(job->gate);
    return ANN_OK;
}

void hnsw_rows_renumber(struct hnsw *h, const uint32_t *new_slot, uint32_t old_slots,
                        uint32_t kept)
{
    if (h->planes == 0 || !h->rows_on)
        return;
    for (uint32_t old = 0; old < old_slots; old++) {
        const uint32_t now = new_slot[old];
        if (now == SLOT_NONE)
            continue;
        uint8_t *row = hnsw_code_row(h, now);
        if (now != old)
            memcpy(row, hnsw_code_row(h, old), h->row_size);
        const size_t padded = h->vec->codes.frame.padded;
        uint8_t *group = row + padded;
        for (size_t g = 0; g < hnsw_row_groups(h); g++) {
            uint32_t *ids = (uint32_t *)(void *)group;
            for (unsigned i = 0; i < 16; i++)
                if (ids[i] != HNSW_NONE)
                    ids[i] = new_slot[ids[i]];
            group += annk_row_group_bytes(padded, h->planes);
        }
    }
    (void)buf_resize(&h->rows, (size_t)kept * h->row_size); /* smaller: cannot fail */
    buf_shrink(&h->rows);
}

/* ---- the table a search begins with ---- */

/* The lowest level with at most HNSW_ENTRIES nodes on it and above. */
static uint32_t entry_level(const struct hnsw *h, uint32_t *count)
{
    uint32_t on[HNSW_LEVEL_MAX + 2] = {0};
    for (uint32_t s = 0; s < h->slots; s++)
        if (*hnsw_state(h, s) != HNSW_ABSENT)
            on[hnsw_level(h, s)]++;
    uint32_t level = HNSW_LEVEL_MAX, n = 0;
    while (level > 0 && n + on[level] <= HNSW_ENTRIES)
        n += on[level--];
    if (level == 0 && n + on[0] <= HNSW_ENTRIES) {
        *count = n + on[0];
        return 0;
    }
    *count = n;
    return level + 1;
}

/* Puts a node into the table's place n. */
static void put_entry(const struct hnsw *h, uint8_t *row, uint32_t n, uint32_t slot)
{
    const size_t padded = hnsw_entry_padded(h);
    uint8_t *group = row + padded + n / 16 * annk_row_group_bytes(padded, 1);
    uint16_t *a = (uint16_t *)(void *)(group + 64) + n % 16;
    struct annk_row_code code;
    h->row_ops->encode(row, codes_row(&h->vec->codes, slot), padded, 1,
                       (uint32_t *)(void *)(group + 128) + n % 16, &code);
    code.norm = ((const int32_t *)h->vec->codes.norms.data)[slot]; /* of all dimensions */
    ((uint32_t *)(void *)group)[n % 16] = slot;
    factors(&h->vec->codes, &code, a, a + 16);
}

/* An empty table of `groups` groups; NULL without memory. */
static uint8_t *new_entries(const struct hnsw *h, struct buf *entries, uint32_t groups)
{
    const size_t padded = hnsw_entry_padded(h), step = annk_row_group_bytes(padded, 1);
    buf_free(entries);
    if (buf_resize(entries, annk_row_bytes(padded, 1, groups)))
        return NULL;
    uint8_t *row = entries->data;
    memset(row, 128, padded); /* the origin: the mean of all */
    for (size_t g = 0; g < groups; g++)
        memset(row + padded + g * step, 0xff, 64);
    return row;
}

uint32_t hnsw_entries_of(const struct hnsw *h, const uint32_t *slots, uint32_t n,
                         struct buf *entries)
{
    const uint32_t groups = (n + 15) / 16;
    uint8_t *row = new_entries(h, entries, groups);
    for (uint32_t i = 0; row && i < n; i++)
        put_entry(h, row, i, slots[i]);
    return row ? groups : 0;
}

void hnsw_entries_make(struct hnsw *h)
{
    uint32_t count, n = 0, on_below = 0, met = 0;
    h->entry_groups = 0;
    buf_free(&h->entries);
    if (h->vec->codes.type != CODE_SQ8 || h->linked + h->removed == 0)
        return;
    const uint32_t level = entry_level(h, &count);
    for (uint32_t s = 0; s < h->slots && level > 0; s++)
        on_below += *hnsw_state(h, s) != HNSW_ABSENT && hnsw_level(h, s) == level - 1;
    /* Of the level below, evenly by slot, as many as there is room for. */
    const uint32_t take = level == 0                      ? 0
                          : HNSW_ENTRIES - count < on_below ? HNSW_ENTRIES - count
                                                            : on_below;
    const uint32_t groups = (count + take + 15) / 16;
    uint8_t *row = new_entries(h, &h->entries, groups);
    if (!row)
        return;
    for (uint32_t s = 0; s < h->slots; s++) {
        if (*hnsw_state(h, s) == HNSW_ABSENT || hnsw_level(h, s) + 1 < level)
            continue;
        if (hnsw_level(h, s) + 1 == level) {
            const uint64_t before = (uint64_t)met++ * take / on_below;
            if ((uint64_t)met * take / on_below == before)
                continue;
        }
        put_entry(h, row, n++, s);
    }
    h->entry_groups = groups;
    h->entry_nodes = h->linked;
}
