/* lists.c - the lists' memory: one arena in list order, and what has outgrown it.
 *
 * Place: ivfpq.  A list's places are rounded up to IVF_GROUP.  The arena is what the file holds
 * and may lie in a mapped file: it is only read; a list that gets more than it has room for
 * leaves it for memory of its own, until everything is packed again. */
#include <config.h>

#include <string.h>

#include "ann/base/error.h"
#include "ann/codec/listcodes.h"
#include "ann/ivfpq/ivfpq.h"

static uint32_t grouped(uint64_t n)
{
    return (uint32_t)((n + IVF_GROUP - 1) / IVF_GROUP * IVF_GROUP);
}

ann_err ivf_lists_open(struct ivfpq *h)
{
    h->lists = mem_zalloc(h->nlist, sizeof *h->lists);
    return h->lists ? ANN_OK : ANN_FAIL(ANN_ENOMEM, "out of memory for %u lists", h->nlist);
}

void ivf_lists_close(struct ivfpq *h)
{
    for (uint32_t l = 0; h->lists && l < h->nlist; l++)
        buf_free(&h->lists[l].own);
    mem_free(h->lists);
    h->lists = NULL;
    buf_free(&h->codes);
    buf_free(&h->bias);
    buf_free(&h->slots);
    h->entries = h->dead = 0;
    h->scattered = false;
}

/* ---- the arena ---- */

static ann_err arena_alloc(const struct ivfpq *h, uint64_t places, struct buf *codes,
                           struct buf *bias, struct buf *slots)
{
    ann_err err = buf_resize(codes, places * h->code_bytes);
    if (!err)
        err = buf_resize(bias, places * sizeof(uint16_t));
    if (!err)
        err = buf_resize(slots, places * sizeof(uint32_t));
    if (err) {
        buf_free(codes);
        buf_free(bias);
        buf_free(slots);
    }
    return err;
}

void ivf_lists_point(struct ivfpq *h, const uint32_t *sizes)
{
    uint64_t at = 0;
    for (uint32_t l = 0; l < h->nlist; l++) {
        struct ivf_list *list = &h->lists[l];
        const uint32_t n = sizes[l]; /* may lie in the list */
        buf_free(&list->own);
        list->n = n;
        list->room = grouped(n);
        list->codes = NULL; /* where all are empty there is no arena */
        list->bias = NULL;
        list->slots = NULL;
        if (h->codes.data) {
            list->codes = (uint8_t *)h->codes.data + at * h->code_bytes;
            list->bias = (uint16_t *)h->bias.data + at;
            list->slots = (uint32_t *)h->slots.data + at;
        }
        at += list->room;
    }
    h->scattered = false;
}

/* ---- growing ---- */

/* The first entries: an arena of just their size. */
static ann_err open_arena(struct ivfpq *h, const uint32_t *more)
{
    uint64_t places = 0;
    for (uint32_t l = 0; l < h->nlist; l++)
        places += grouped(more[l]);
    buf_free(&h->codes);
    buf_free(&h->bias);
    buf_free(&h->slots);
    const ann_err err = arena_alloc(h, places, &h->codes, &h->bias, &h->slots);
    if (err)
        return err;
    ivf_lists_point(h, more);
    for (uint32_t l = 0; l < h->nlist; l++)
        h->lists[l].n = 0;
    return ANN_OK;
}

static ann_err grow(struct ivfpq *h, struct ivf_list *list, uint32_t need)
{
    const uint32_t room = grouped((uint64_t)need + need / 4);
    const size_t codes = room * h->code_bytes;
    struct buf own = {0};
    const ann_err err = buf_resize(&own, codes + room * (sizeof(uint32_t) + sizeof(uint16_t)));
    if (err)
        return err;
    uint8_t *at = own.data;
    uint32_t *slots = (uint32_t *)(void *)(at + codes); /* codes are multiples of 16 bytes */
    uint16_t *bias = (uint16_t *)(void *)(slots + room);
    if (list->n > 0) {
        memcpy(at, list->codes, annk_list_bytes(h->pq.bits, h->m, list->n));
        memcpy(bias, list->bias, list->n * sizeof *bias);
        memcpy(slots, list->slots, list->n * sizeof *slots);
    }
    buf_free(&list->own);
    list->own = own;
    list->codes = at;
    list->bias = bias;
    list->slots = slots;
    list->room = room;
    h->scattered = true;
    return ANN_OK;
}

ann_err ivf_lists_reserve(struct ivfpq *h, const uint32_t *more)
{
    if (h->entries == 0)
        return open_arena(h, more);
    const bool borrowed = buf_borrowed(&h->codes);
    ann_err err = ANN_OK;
    for (uint32_t l = 0; l < h->nlist && !err; l++) {
        struct ivf_list *list = &h->lists[l];
        if (more[l] > list->room - list->n || (more[l] > 0 && borrowed && !list->own.data))
            err = grow(h, list, list->n + more[l]);
    }
    return err;
}

void ivf_lists_append(struct ivfpq *h, uint32_t *more, size_t n, const uint32_t *lists,
                      const uint32_t *slots, const uint16_t *bias, const uint8_t *codes)
{
    for (uint32_t l = 0; l < h->nlist; l++) {
        struct ivf_list *list = &h->lists[l];
        if (more[l] == 0)
            continue;
        listcodes_resize(h->pq.bits, h->m, list->codes, list->n, list->n + more[l]);
        list->n += more[l];
    }
    for (size_t i = 0; i < n; i++) {
        struct ivf_list *list = &h->lists[lists[i]];
        const uint32_t at = list->n - more[lists[i]]--;
        list->bias[at] = bias[i];
        list->slots[at] = slots[i];
        listcodes_put(h->pq.bits, h->m, list->codes, list->n, at, codes + i * h->m);
    }
    h->entries += n;
}

/* ---- packing ---- */

struct packing {
    struct ivfpq *h;
    uint32_t *sizes; /* [nlist]: live entries */
    struct buf codes, bias, slots;
};

/* The live entries of a list to place `at` of the new arena. */
static void pack_list(const struct packing *p, uint32_t l, uint64_t at, uint8_t *code)
{
    if (p->sizes[l] == 0)
        return;
    const struct ivfpq *h = p->h;
    const struct ivf_list *list = &h->lists[l];
    uint8_t *codes = (uint8_t *)p->codes.data + at * h->code_bytes;
    uint16_t *bias = (uint16_t *)p->bias.data + at;
    uint32_t *slots = (uint32_t *)p->slots.data + at;
    if (p->sizes[l] == list->n) {
        memcpy(codes, list->codes, annk_list_bytes(h->pq.bits, h->m, list->n));
        memcpy(bias, list->bias, list->n * sizeof *bias);
        memcpy(slots, list->slots, list->n * sizeof *slots);
        return;
    }
    uint32_t n = 0;
    /* What is mapped may have changed since it was counted. */
    for (uint32_t i = 0; i < list->n && n < p->sizes[l]; i++) {
        if (!ivf_entry_is_live(h, list->slots[i]))
            continue;
        bias[n] = list->bias[i];
        slots[n] = list->slots[i];
        listcodes_get(h->pq.bits, h->m, list->codes, list->n, i, code);
        listcodes_put(h->pq.bits, h->m, codes, p->sizes[l], n++, code);
    }
}

static uint64_t count_live(const struct ivfpq *h, uint32_t *sizes)
{
    uint64_t places = 0;
    for (uint32_t l = 0; l < h->nlist; l++) {
        const struct ivf_list *list = &h->lists[l];
        for (uint32_t i = 0; i < list->n; i++)
            sizes[l] += ivf_entry_is_live(h, list->slots[i]);
        places += grouped(sizes[l]);
    }
    return places;
}

/* The slots of dead entries, each once, back to where they came from. */
static ann_err give_dead(struct ivfpq *h)
{
    if (h->dead == 0)
        return ANN_OK;
    uint64_t *given = mem_zalloc(1, bitmap_bytes(h->vec->slots));
    if (!given)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %u slots", h->vec->slots);
    for (uint32_t l = 0; l < h->nlist; l++) {
        const struct ivf_list *list = &h->lists[l];
        for (uint32_t i = 0; i < list->n; i++) {
            const uint32_t slot = list->slots[i];
            if (slot >= h->vec->slots || vectors_is_live(h->vec, slot) ||
                (given[slot >> 6] >> (slot & 63) & 1))
                continue;
            given[slot >> 6] |= UINT64_C(1) << (slot & 63);
            vectors_give_slot(h->vec, slot);
        }
    }
    mem_free(given);
    return ANN_OK;
}

/* Puts the new arena in the old one's place, which comes back in p. */
static void exchange(struct packing *p)
{
    struct ivfpq *h = p->h;
    const struct buf codes = h->codes, bias = h->bias, slots = h->slots;
    h->codes = p->codes;
    h->bias = p->bias;
    h->slots = p->slots;
    p->codes = codes;
    p->bias = bias;
    p->slots = slots;
    h->entries = 0;
    for (uint32_t l = 0; l < h->nlist; l++)
        h->entries += p->sizes[l];
    h->dead = 0;
    ivf_lists_point(h, p->sizes);
}

ann_err ivf_lists_pack(struct ivfpq *h, const struct kind_job *job)
{
    struct packing p = {.h = h};
    ann_err err = ANN_OK;
    p.sizes = mem_zalloc(h->nlist, sizeof *p.sizes);
    uint8_t *code = mem_alloc(h->m);
    if (!p.sizes || !code)
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for %u lists", h->nlist);
    if (!err)
        err = arena_alloc(h, count_live(h, p.sizes), &p.codes, &p.bias, &p.slots);
    if (!err) {
        uint64_t at = 0;
        for (uint32_t l = 0; l < h->nlist; at += grouped(p.sizes[l++]))
            pack_list(&p, l, at, code);
        pthread_rwlock_wrlock(job->gate);
        err = give_dead(h);
        if (!err)
            exchange(&p);
        pthread_rwlock_unlock(job->gate);
    }
    buf_free(&p.codes);
    buf_free(&p.bias);
    buf_free(&p.slots);
    mem_free(p.sizes);
    mem_free(code);
    return err;
}

/* ---- looking ---- */

uint64_t ivf_lists_held(const struct ivfpq *h)
{
    uint64_t bytes = buf_held(&h->codes) + buf_held(&h->bias) + buf_held(&h->slots) +
                     h->nlist * sizeof *h->lists;
    for (uint32_t l = 0; h->lists && l < h->nlist; l++)
        bytes += buf_held(&h->lists[l].own);
    return bytes;
}

uint64_t ivf_lists_bytes(const struct ivfpq *h)
{
    uint64_t bytes = h->codes.bytes + h->bias.bytes + h->slots.bytes;
    for (uint32_t l = 0; h->lists && l < h->nlist; l++)
        bytes += h->lists[l].own.bytes;
    return bytes;
}
