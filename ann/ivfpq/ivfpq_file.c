/* ivfpq_file.c - the lists' sections of the file, what of them is sound, and the table of the
 * kind.
 *
 * docs/format.md, "Sections of the kinds", is the authority on the sections. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/codec/kmeans.h"
#include "ann/ivfpq/ivfpq.h"

/* Numbers in the header's params; 6 to 8 are the front door's.  Doubles stand as their bits. */
enum {
    PARAM_NLIST,
    PARAM_PQ_M,
    PARAM_PQ_BITS,
    PARAM_HOW, /* rotation + 4 * pq_of + 16 * soar */
    PARAM_TRAINED,
    PARAM_PLACES, /* of all lists, rounded up each */
    PARAM_THRESHOLD = 9,
    PARAM_TRAINED_ERROR,
    PARAM_ERROR_SUM,
    PARAM_LENGTH_SUM,
    PARAM_STOPS_ENTRIES
};

#define SPACE_VERSION 1

/* The section "space": these 64 bytes, then the mean and the image of 0. */
struct space_head {
    uint32_t version, lifted, dim, zero;
    uint64_t trained;
    double lift;
    float unit, scale, eta;
    uint32_t zeros[5];
};

_Static_assert(sizeof(struct space_head) == 64, "the head has holes");

static uint64_t bits_of(double x)
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static double double_of(uint64_t u)
{
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static ann_err ivfpq_create(const ann_options *o, struct vectors *v, void **state)
{
    struct ivfpq *h = mem_zalloc(1, sizeof *h);
    if (!h)
        return ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", sizeof *h);
    h->vec = v;
    h->ops = annk_lists_for(v->ops->name);
    h->asked = *o;
    *state = h;
    return ANN_OK;
}

static void ivfpq_destroy(void *state)
{
    struct ivfpq *h = state;
    ivfpq_forget(h);
    mem_free(h);
}

static ann_err ivfpq_ready(const void *state)
{
    const struct ivfpq *h = state;
    return h->trained > 0
               ? ANN_OK
               : ANN_FAIL(ANN_EUNTRAINED, "ivfpq must be trained before vectors are added");
}

/* Places come with the add; what renumbering writes to must be ours. */
static ann_err ivfpq_reserve(void *state, uint32_t slots, const struct kind_job *job)
{
    struct ivfpq *h = state;
    (void)slots;
    (void)job;
    if (!buf_borrowed(&h->slots))
        return ANN_OK;
    const uint32_t *before = h->slots.data;
    const ann_err err = buf_own(&h->slots);
    for (uint32_t l = 0; !err && l < h->nlist; l++)
        if (!h->lists[l].own.data)
            h->lists[l].slots = (uint32_t *)h->slots.data + (h->lists[l].slots - before);
    return err;
}

static void ivfpq_renumber(void *state, const uint32_t *new_slot, uint32_t old_slots,
                           uint32_t kept)
{
    struct ivfpq *h = state;
    (void)kept;
    for (uint32_t l = 0; l < h->nlist; l++)
        for (uint32_t i = 0; i < h->lists[l].n; i++)
            if (h->lists[l].slots[i] < old_slots)
                h->lists[l].slots[i] = new_slot[h->lists[l].slots[i]];
}

/* ---- looking ---- */

static void ivfpq_info(const void *state, ann_info *info)
{
    const struct ivfpq *h = state;
    info->pq_bits = h->asked.pq_bits;
    info->pq_of = h->asked.pq_of;
    info->memory_bytes += buf_held(&h->space);
    if (h->trained == 0)
        return;
    info->nlist = h->nlist;
    info->pq_m = h->pq.m;
    info->rotation = h->rotation;
    info->trained = h->trained;
    info->entries = h->entries;
    info->removed = h->dead / ivf_copies(h);
    for (uint32_t l = 0; l < h->nlist; l++)
        if (h->lists[l].n > info->largest_list)
            info->largest_list = h->lists[l].n;
    info->list_bytes = ivf_lists_bytes(h) + h->nlist * sizeof *h->lists;
    info->trained_error = h->trained_error;
    info->added_error = h->length_sum > 0 ? h->error_sum / h->length_sum : 0;
    info->memory_bytes += ivf_lists_held(h) + buf_held(&h->centroids) + buf_held(&h->turn) +
                          ivf_graph_held(h) + buf_held(&h->table) + buf_held(&h->norms) +
                          buf_held(&h->numbers) + buf_held(&h->pq.codebooks);
}

static uint64_t ivfpq_estimate(const ann_options *o, uint64_t n, uint64_t *build_extra)
{
    struct vectors v = {.metric = o->metric, .dim = o->dim};
    const struct ivfpq h = {.vec = &v, .asked = *o};
    const uint32_t dim = o->rotation == ANN_ROTATION_RANDOM
                             ? frame_padded(o->metric, o->dim, 64)
                             : frame_padded(o->metric, o->dim, 1);
    const uint64_t nlist = ivfpq_choose_nlist(&h, n);
    const uint32_t pq_m = ivfpq_choose_m(&h, dim), m = annk_list_padded(o->pq_bits, pq_m);
    const uint64_t copies = o->soar ? 2 : 1;
    const uint64_t entry =
        annk_list_code_bytes(o->pq_bits, m) + sizeof(uint16_t) + sizeof(uint32_t);
    const uint64_t lists = nlist * (sizeof(struct ivf_list) + dim * (sizeof(float) + 1) + 8 +
                                    IVF_GROUP / 2 * entry);
    const uint64_t adding = n * copies * (m + 10) + n * 8 + (uint64_t)8192 * dim * sizeof(float);
    const uint64_t training =
        ivfpq_learned_from(&h, n) * (dim * sizeof(float) + KMEANS_BYTES_A_ROW);
    *build_extra = adding > training ? adding : training;
    return n * copies * entry + lists + ((uint64_t)dim * sizeof(float) << o->pq_bits);
}

/* Every live slot in as many lists as it should be, each time in another. */
static ann_err check_slots(const struct ivfpq *h)
{
    const uint32_t slots = h->vec->slots, copies = ivf_copies(h);
    uint8_t *seen = mem_zalloc(slots, 1);
    uint32_t *last = mem_alloc(slots * sizeof *last);
    ann_err err = ANN_OK;
    if (slots > 0 && (!seen || !last))
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for %u slots", slots);
    for (uint32_t l = 0; l < h->nlist && !err; l++)
        for (uint32_t i = 0; i < h->lists[l].n && !err; i++) {
            const uint32_t slot = h->lists[l].slots[i];
            if (slot >= slots)
                err = ANN_FAIL(ANN_EDAMAGED, "list %u: slot %u of %u", l, slot, slots);
            else if (seen[slot] > 0 && (seen[slot] == copies || last[slot] == l))
                err = ANN_FAIL(ANN_EDAMAGED, "list %u: slot %u stands twice", l, slot);
            if (err)
                break;
            seen[slot]++;
            last[slot] = l;
        }
    for (uint32_t s = 0; s < slots && !err; s++)
        if (vectors_is_live(h->vec, s) && seen[s] != copies)
            err = ANN_FAIL(ANN_EDAMAGED, "lists: slot %u stands in %u of them", s, seen[s]);
    mem_free(seen);
    mem_free(last);
    return err;
}

static ann_err check_floats(const struct ivfpq *h, const struct buf *b, const char *section)
{
    const size_t n = b->bytes / sizeof(float);
    const size_t bad = h->vec->ops->find_nonfinite_f32(b->data, n);
    return bad == n
               ? ANN_OK
               : ANN_FAIL(ANN_EDAMAGED, "section %s: element %zu is not finite", section, bad);
}

static ann_err check_bias(const struct ivfpq *h)
{
    for (uint32_t l = 0; l < h->nlist; l++)
        for (uint32_t i = 0; i < h->lists[l].n; i++)
            if ((h->lists[l].bias[i] & 0x7c00) == 0x7c00)
                return ANN_FAIL(ANN_EDAMAGED, "list %u: bias %u is not finite", l, i);
    return ANN_OK;
}

ann_err ivfpq_check(const void *state, ann_check_level level)
{
    const struct ivfpq *h = state;
    if (level < ANN_CHECK_STRUCTURE || h->trained == 0)
        return ANN_OK;
    ann_err err = check_floats(h, &h->centroids, "centroids");
    if (!err)
        err = check_floats(h, &h->pq.codebooks, "codebooks");
    if (!err)
        err = check_floats(h, &h->turn, "rotation");
    if (!err)
        err = check_slots(h);
    return err ? err : check_bias(h);
}

/* ---- the file ---- */

static size_t space_bytes(const struct ivfpq *h)
{
    return sizeof(struct space_head) + (h->frame.lifted + (size_t)h->dim) * sizeof(float);
}

/* h->space is made when training ends, so that saving needs no memory. */
ann_err ivfpq_write_space(struct ivfpq *h)
{
    const struct frame *f = &h->frame;
    const struct space_head head = {.version = SPACE_VERSION,
                                    .lifted = f->lifted,
                                    .dim = h->dim,
                                    .trained = f->trained,
                                    .lift = f->lift,
                                    .unit = f->unit,
                                    .scale = f->scale,
                                    .eta = h->eta};
    const ann_err err = buf_resize(&h->space, space_bytes(h));
    if (err)
        return err;
    char *at = h->space.data;
    memcpy(at, &head, sizeof head);
    memcpy(at + sizeof head, f->mean.data, f->lifted * sizeof(float));
    memcpy(at + sizeof head + f->lifted * sizeof(float), h->origin.data,
           h->dim * sizeof(float));
    return ANN_OK;
}

static size_t ivfpq_save(const void *state, struct kfile_meta *meta, struct kfile_part *parts)
{
    const struct ivfpq *h = state;
    size_t n = 0;
    meta->params[PARAM_NLIST] = h->trained ? h->nlist : h->asked.nlist;
    meta->params[PARAM_PQ_M] = h->trained ? h->pq.m : h->asked.pq_m;
    meta->params[PARAM_PQ_BITS] = h->asked.pq_bits;
    meta->params[PARAM_HOW] = (uint64_t)(h->trained ? h->rotation : h->asked.rotation) +
                              4 * (uint64_t)h->asked.pq_of + 16 * (uint64_t)h->asked.soar;
    meta->params[PARAM_TRAINED] = h->trained;
    meta->params[PARAM_THRESHOLD] = bits_of(h->asked.anisotropic);
    if (h->trained == 0)
        return 0;
    meta->params[PARAM_PLACES] = h->slots.bytes / sizeof(uint32_t);
    meta->params[PARAM_TRAINED_ERROR] = bits_of(h->trained_error);
    meta->params[PARAM_ERROR_SUM] = bits_of(h->error_sum);
    meta->params[PARAM_LENGTH_SUM] = bits_of(h->length_sum);
    meta->params[PARAM_STOPS_ENTRIES] = h->stops_entries;
    for (uint32_t l = 0; l < h->nlist; l++)
        ((uint32_t *)h->sizes.data)[l] = h->lists[l].n;
    const uint64_t places = meta->params[PARAM_PLACES];
    parts[n++] = (struct kfile_part){"space", h->space.data, h->space.bytes, 1};
    parts[n++] = (struct kfile_part){"centroids", h->centroids.data, h->nlist, h->dim * 4ull};
    parts[n++] =
        (struct kfile_part){"codebooks", h->pq.codebooks.data, (uint64_t)h->pq.m * h->pq.dsub,
                            sizeof(float) << h->pq.bits};
    if (h->rotation == ANN_ROTATION_OPQ)
        parts[n++] = (struct kfile_part){"rotation", h->turn.data, h->dim, h->dim * 4ull};
    parts[n++] = (struct kfile_part){"stops", h->stops, IVF_STOPS, sizeof(float)};
    parts[n++] = (struct kfile_part){"list_sizes", h->sizes.data, h->nlist, sizeof(uint32_t)};
    parts[n++] = (struct kfile_part){"list_codes", h->codes.data, places, h->code_bytes};
    parts[n++] = (struct kfile_part){"list_bias", h->bias.data, places, sizeof(uint16_t)};
    parts[n++] = (struct kfile_part){"list_slots", h->slots.data, places, sizeof(uint32_t)};
    return n;
}

static ann_err read_params(const struct kfile_meta *meta, struct ivfpq *h)
{
    const uint64_t *p = meta->params;
    ann_options *o = &h->asked;
    const uint64_t how = p[PARAM_HOW];
    const double threshold = double_of(p[PARAM_THRESHOLD]);
    if (p[PARAM_NLIST] > ANN_NLIST_MAX || p[PARAM_PQ_M] > ANN_DIM_MAX + 64 ||
        (p[PARAM_PQ_BITS] != 4 && p[PARAM_PQ_BITS] != 6 && p[PARAM_PQ_BITS] != 8))
        return ANN_FAIL(ANN_EDAMAGED, "header: %llu lists, %llu subspaces of %llu bits",
                        (unsigned long long)p[PARAM_NLIST], (unsigned long long)p[PARAM_PQ_M],
                        (unsigned long long)p[PARAM_PQ_BITS]);
    if (how > 31 || how / 4 % 4 < ANN_PQ_RESIDUAL || how / 4 % 4 > ANN_PQ_DIRECT ||
        !(threshold >= 0 && threshold < 1))
        return ANN_FAIL(ANN_EDAMAGED, "header: lists made in a way unknown: %llu, %g",
                        (unsigned long long)how, threshold);
    if (p[PARAM_TRAINED] > 0 &&
        (p[PARAM_NLIST] == 0 || p[PARAM_PQ_M] == 0 || how % 4 == ANN_ROTATION_AUTO ||
         p[PARAM_PLACES] > 2 * (uint64_t)SLOTS_MAX + IVF_GROUP * p[PARAM_NLIST]))
        return ANN_FAIL(ANN_EDAMAGED, "header: %llu lists, %llu subspaces, %llu places",
                        (unsigned long long)p[PARAM_NLIST], (unsigned long long)p[PARAM_PQ_M],
                        (unsigned long long)p[PARAM_PLACES]);
    if (p[PARAM_TRAINED] == 0 && meta->slots > 0)
        return ANN_FAIL(ANN_EDAMAGED, "header: %llu slots, and nothing was learned",
                        (unsigned long long)meta->slots);
    o->nlist = (uint32_t)p[PARAM_NLIST];
    o->pq_m = (uint32_t)p[PARAM_PQ_M];
    o->pq_bits = (uint32_t)p[PARAM_PQ_BITS];
    o->rotation = (ann_rotation)(how % 4);
    o->pq_of = (ann_pq_of)(how / 4 % 4);
    o->soar = (uint32_t)(how / 16);
    o->anisotropic = threshold;
    o->seed = meta->seed;
    h->trained = p[PARAM_TRAINED];
    h->trained_error = double_of(p[PARAM_TRAINED_ERROR]);
    h->error_sum = double_of(p[PARAM_ERROR_SUM]);
    h->length_sum = double_of(p[PARAM_LENGTH_SUM]);
    h->stops_entries = p[PARAM_STOPS_ENTRIES];
    return ANN_OK;
}

static bool within(double x, double least, double most)
{
    return x >= least && x <= most; /* NaN is not */
}

/* The section "space" into the frame, which is there. */
static ann_err read_space(struct ivfpq *h)
{
    struct space_head head;
    struct frame *f = &h->frame;
    const char *at = h->space.data;
    memcpy(&head, at, sizeof head);
    if (head.version != SPACE_VERSION)
        return ANN_FAIL(ANN_EVERSION, "section space: version %u", head.version);
    if (head.lifted != f->lifted || head.dim != h->dim || head.trained == 0 ||
        !within(head.unit, 0x1p-126, 0x1p126) || !within(head.scale, 0x1p-126, 0x1p100) ||
        !within(head.lift, 0, 0x1p204) || !within(head.eta, 1, 1e9))
        return ANN_FAIL(ANN_EDAMAGED, "section space: %u dimensions, unit %g, scale %g",
                        head.dim, (double)head.unit, (double)head.scale);
    const ann_err err = buf_resize(&h->origin, h->dim * sizeof(float));
    if (err)
        return err;
    memcpy(f->mean.data, at + sizeof head, f->lifted * sizeof(float));
    memcpy(h->origin.data, at + sizeof head + f->lifted * sizeof(float),
           h->dim * sizeof(float));
    f->trained = head.trained;
    f->lift = head.lift;
    f->unit = head.unit;
    f->scale = head.scale;
    h->eta = head.eta;
    if (f->ops->find_nonfinite_f32(f->mean.data, f->lifted) < f->lifted ||
        f->ops->find_nonfinite_f32(h->origin.data, h->dim) < h->dim)
        return ANN_FAIL(ANN_EDAMAGED, "section space: an element is not finite");
    return ANN_OK;
}

/* What is small and read all the time lies in memory of our own, and was looked at. */
static ann_err take_learned(struct kfile *f, struct ivfpq *h)
{
    ann_err err = kfile_take(f, "space", space_bytes(h), 1, &h->space);
    if (!err)
        err = buf_own(&h->space);
    if (!err)
        err = read_space(h);
    if (!err)
        err = kfile_take(f, "centroids", h->nlist, h->dim * 4ull, &h->centroids);
    if (!err)
        err = buf_own(&h->centroids);
    if (!err)
        err = check_floats(h, &h->centroids, "centroids");
    buf_free(&h->pq.codebooks);
    if (!err)
        err = kfile_take(f, "codebooks", (uint64_t)h->pq.m * h->pq.dsub,
                         sizeof(float) << h->pq.bits, &h->pq.codebooks);
    if (!err)
        err = buf_own(&h->pq.codebooks);
    if (!err)
        err = check_floats(h, &h->pq.codebooks, "codebooks");
    if (!err && h->rotation == ANN_ROTATION_OPQ) {
        err = kfile_take(f, "rotation", h->dim, h->dim * 4ull, &h->turn);
        if (!err)
            err = buf_own(&h->turn);
        if (!err)
            err = check_floats(h, &h->turn, "rotation");
    }
    return err;
}

static ann_err take_stops(struct kfile *f, struct ivfpq *h)
{
    struct buf b = {0};
    ann_err err = kfile_take(f, "stops", IVF_STOPS, sizeof(float), &b);
    if (err)
        return err;
    memcpy(h->stops, b.data, sizeof h->stops);
    buf_free(&b);
    for (size_t i = 0; i < IVF_STOPS && !err; i++)
        if (!within(h->stops[i], 0, 1e6))
            err = ANN_FAIL(ANN_EDAMAGED, "section stops: factor %zu is %g", i,
                           (double)h->stops[i]);
    return err;
}

static ann_err take_lists(struct kfile *f, uint64_t places, struct ivfpq *h)
{
    uint64_t sum = 0;
    ann_err err = kfile_take(f, "list_sizes", h->nlist, sizeof(uint32_t), &h->sizes);
    if (!err)
        err = buf_own(&h->sizes);
    const uint32_t *sizes = h->sizes.data;
    for (uint32_t l = 0; l < h->nlist && !err; l++) {
        sum += ((uint64_t)sizes[l] + IVF_GROUP - 1) / IVF_GROUP * IVF_GROUP;
        h->entries += sizes[l];
    }
    if (!err && sum != places)
        err = ANN_FAIL(ANN_EDAMAGED, "section list_sizes: %llu places, the header says %llu",
                       (unsigned long long)sum, (unsigned long long)places);
    /* A file has no dead entries: their slots are free, and will be used again. */
    const uint64_t entries = h->vec->live * (h->asked.soar && h->nlist > 1 ? UINT64_C(2) : 1);
    if (!err && h->entries != entries)
        err = ANN_FAIL(ANN_EDAMAGED, "section list_sizes: %llu entries of %u vectors",
                       (unsigned long long)h->entries, h->vec->live);
    if (!err)
        err = kfile_take(f, "list_codes", places, h->code_bytes, &h->codes);
    if (!err)
        err = kfile_take(f, "list_bias", places, sizeof(uint16_t), &h->bias);
    if (!err)
        err = kfile_take(f, "list_slots", places, sizeof(uint32_t), &h->slots);
    if (!err)
        err = ivf_lists_open(h);
    if (!err)
        ivf_lists_point(h, sizes);
    return err;
}

/* The graph of the centroids is made again at each opening. */
static ann_err make_graph(struct ivfpq *h)
{
    struct pool *pool = NULL;
    if (h->nlist < IVF_GRAPH_FROM)
        return ANN_OK;
    ann_err err = pool_create(pool_default_threads(), &pool);
    if (!err)
        err = ivf_graph_make(h, pool);
    pool_close(pool);
    return err;
}

static ann_err take_sections(const struct kfile_meta *meta, struct kfile *f, struct ivfpq *h)
{
    ann_err err = ivf_space_open(h, h->asked.rotation);
    h->nlist = h->asked.nlist;
    if (!err && h->asked.pq_m > h->dim)
        err = ANN_FAIL(ANN_EDAMAGED, "header: %u subspaces of %u dimensions", h->asked.pq_m,
                       h->dim);
    if (!err)
        err = pq_init(&h->pq, h->dim, h->asked.pq_m, h->asked.pq_bits);
    if (err)
        return err;
    h->m = annk_list_padded(h->pq.bits, h->pq.m);
    h->code_bytes = annk_list_code_bytes(h->pq.bits, h->m);
    err = take_learned(f, h);
    if (!err)
        err = take_stops(f, h);
    if (!err)
        err = ivf_coarse_make(h);
    if (!err)
        err = make_graph(h);
    return err ? err : take_lists(f, meta->params[PARAM_PLACES], h);
}

static ann_err ivfpq_load(const struct kfile_meta *meta, struct kfile *f, struct vectors *v,
                          void **state)
{
    ann_options none = {0};
    struct ivfpq *h = NULL;
    ann_err err = ivfpq_create(&none, v, (void **)&h);
    if (err)
        return err;
    err = read_params(meta, h);
    if (!err && h->trained > 0)
        err = take_sections(meta, f, h);
    if (!err && h->trained > 0 && !buf_borrowed(&h->slots))
        err = ivfpq_check(h, ANN_CHECK_STRUCTURE);
    if (err) {
        ivfpq_destroy(h);
        return err;
    }
    for (uint32_t s = v->slots; s-- > 0;)
        if (!vectors_is_live(v, s))
            vectors_give_slot(v, s);
    *state = h;
    return ANN_OK;
}

const struct kind ivfpq_kind = {
    .id = ANN_IVFPQ,
    .name = "ivfpq",
    .create = ivfpq_create,
    .destroy = ivfpq_destroy,
    .train = ivfpq_train,
    .ready = ivfpq_ready,
    .reserve = ivfpq_reserve,
    .add = ivfpq_add,
    .remove = ivfpq_remove,
    .sweep = ivfpq_sweep,
    .renumber = ivfpq_renumber,
    .needs = ivfpq_needs,
    .search = ivfpq_search,
    .search_batch = ivfpq_search_batch,
    .check = ivfpq_check,
    .info = ivfpq_info,
    .save = ivfpq_save,
    .load = ivfpq_load,
    .estimate = ivfpq_estimate,
};
