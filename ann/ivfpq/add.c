/* add.c - adding: the nearest list of each vector, and its code there; removing.
 *
 * Place: ivfpq.  Vectors are brought into the space and assigned block by block (a matrix
 * product), then encoded each on its own, so the entries do not depend on the number of
 * threads; only at the end they are appended, in slot order, under the gate.  Removed entries
 * stay, dead, until a tenth of all is, or everything is packed.
 *
 * SOAR: the second list of x, whose residual in the first is r, is the one with residual r'
 * that minimises |r'|^2 + (<r, r'> / |r|)^2, among those nearest to x: where a query makes the
 * first residual's estimate bad, the second's is not. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/codec/kmeans.h"
#include "ann/ivfpq/ivfpq.h"

#define BLOCK      8192 /* vectors brought into the space at once */
#define DEAD_SHARE 10   /* a sweep when one in so many entries is dead */
#define SOAR_NEAR  16   /* lists among which the second is chosen */

/* ---- one vector ---- */

size_t ivf_encode_room(const struct ivfpq *h)
{
    return 3 * (size_t)h->dim + ((size_t)2 * h->pq.m << h->pq.bits);
}

/* x' of the vector whose y this is, in the space: what the anisotropic loss goes along. */
static void along_of(const struct ivfpq *h, const float *y, float *along)
{
    const float *origin = h->origin.data;
    for (uint32_t i = 0; i < h->dim; i++)
        along[i] = y[i] - origin[i];
}

static uint16_t to_half(const struct ivfpq *h, double x)
{
    enum { MOST = 65504 };
    const float f = (float)(x > MOST ? MOST : x < -MOST ? -MOST : x);
    uint16_t half;
    h->vec->ops->f32_to_f16(&f, &half, 1);
    return half;
}

float ivf_encode(const struct ivfpq *h, const float *y, uint32_t list, float over,
                 uint8_t *code, uint16_t *bias, float *room)
{
    const bool direct = h->asked.pq_of == ANN_PQ_DIRECT;
    const float *c = (const float *)h->centroids.data + (size_t)list * h->dim;
    float *rest = room, *decoded = rest + h->dim, *along = decoded + h->dim;
    double sum = -(double)over, error = 0;
    for (uint32_t i = 0; i < h->dim; i++)
        rest[i] = direct ? y[i] : y[i] - c[i];
    if (h->eta > 1) {
        along_of(h, y, along);
        pq_encode_anisotropic(&h->pq, rest, along, h->eta, code, along + h->dim);
    } else {
        pq_encode(&h->pq, rest, code);
    }
    memset(code + h->pq.m, 0, h->m - h->pq.m);
    pq_decode(&h->pq, code, decoded);
    for (uint32_t i = 0; i < h->dim; i++) {
        const double r = decoded[i], off = (double)rest[i] - r;
        sum += direct ? r * r : r * (r + 2 * (double)c[i]);
        error += off * off;
    }
    *bias = to_half(h, sum);
    return (float)error;
}

/* ---- many ---- */

/* An add on its way; each vector has `copies` entries, one after the other. */
struct adding {
    struct ivfpq *h;
    const ann_view *view;
    const uint32_t *slots;
    size_t n, first, copies;
    float *x;       /* [BLOCK, dim] */
    float *over;    /* [BLOCK] */
    uint32_t *near; /* [BLOCK] */
    float *room;    /* [threads, room_each] */
    size_t room_each;
    uint32_t *lists;       /* [n * copies] */
    uint32_t *entry_slots; /* [n * copies] */
    uint16_t *bias;        /* [n * copies] */
    uint8_t *codes;        /* [n * copies, m] */
    float *errors;         /* [n] */
    float *lengths;        /* [n] */
    uint32_t *more;        /* [nlist] */
};

static void bring(void *arg, size_t i, unsigned worker)
{
    const struct adding *a = arg;
    const struct ivfpq *h = a->h;
    float *x = a->room + worker * a->room_each, *room = x + h->vec->dim;
    float *y = a->x + i * h->dim;
    vectors_query(h->vec, a->view, a->first + i, x);
    ivf_space_vector(h, x, y, room, &a->over[i]);
    a->lengths[a->first + i] = h->vec->ops->norm2_f32(y, h->dim);
}

/* The second list; room: [nlist] distances, then residuals. */
static uint32_t second_list(const struct ivfpq *h, const float *y, uint32_t first, float *room)
{
    const struct annk_ops *ops = h->vec->ops;
    const float *c = h->centroids.data, *c1 = c + (size_t)first * h->dim;
    search_key near[SOAR_NEAR];
    struct topk t = {.keys = near, .k = SOAR_NEAR};
    ops->many[ANNK_L2][ANNK_F32](y, c, h->dim * sizeof(float), h->numbers.data, h->nlist,
                                 h->dim, room);
    for (uint32_t l = 0; l < h->nlist; l++)
        if (l != first && room[l] <= topk_limit(&t))
            topk_push(&t, key_make(room[l], l));
    topk_sort(&t);
    uint32_t best = first;
    double best_loss = INFINITY;
    for (size_t i = 0; i < t.size; i++) {
        const uint32_t l = key_slot(near[i]);
        const float *c2 = c + (size_t)l * h->dim;
        double dot = 0, norm = 0, norm2 = 0;
        for (uint32_t d = 0; d < h->dim; d++) {
            const double r = (double)y[d] - c1[d], r2 = (double)y[d] - c2[d];
            dot += r * r2;
            norm += r * r;
            norm2 += r2 * r2;
        }
        const double loss = norm2 + (norm > 0 ? dot * dot / norm : 0);
        if (loss < best_loss) {
            best_loss = loss;
            best = l;
        }
    }
    return best;
}

static void encode(void *arg, size_t i, unsigned worker)
{
    const struct adding *a = arg;
    const struct ivfpq *h = a->h;
    float *room = a->room + worker * a->room_each;
    const float *y = a->x + i * h->dim;
    uint32_t list = a->near[i];
    for (size_t c = 0; c < a->copies; c++) {
        const size_t at = (a->first + i) * a->copies + c;
        if (c > 0)
            list = second_list(h, y, list, room);
        const float error =
            ivf_encode(h, y, list, a->over[i], a->codes + at * h->m, &a->bias[at], room);
        if (c == 0)
            a->errors[a->first + i] = error;
        a->lists[at] = list;
        a->entry_slots[at] = a->slots[a->first + i];
    }
}

static void adding_free(struct adding *a)
{
    mem_free(a->x);
    mem_free(a->over);
    mem_free(a->near);
    mem_free(a->room);
    mem_free(a->lists);
    mem_free(a->entry_slots);
    mem_free(a->bias);
    mem_free(a->codes);
    mem_free(a->errors);
    mem_free(a->lengths);
    mem_free(a->more);
}

static ann_err adding_alloc(struct adding *a, unsigned threads)
{
    const struct ivfpq *h = a->h;
    const size_t entries = a->n * a->copies, block = a->n < BLOCK ? a->n : BLOCK;
    a->room_each = ivf_encode_room(h) + h->vec->dim;
    if (a->copies > 1 && a->room_each < h->nlist)
        a->room_each = h->nlist;
    a->x = mem_zalloc(block, h->dim * sizeof *a->x);
    a->over = mem_alloc(block * sizeof *a->over);
    a->near = mem_alloc(block * sizeof *a->near);
    a->room = mem_zalloc(threads, a->room_each * sizeof *a->room);
    a->lists = mem_alloc(entries * sizeof *a->lists);
    a->entry_slots = mem_alloc(entries * sizeof *a->entry_slots);
    a->bias = mem_alloc(entries * sizeof *a->bias);
    a->codes = mem_zalloc(entries, h->m);
    a->errors = mem_alloc(a->n * sizeof *a->errors);
    a->lengths = mem_alloc(a->n * sizeof *a->lengths);
    a->more = mem_zalloc(h->nlist, sizeof *a->more);
    if (!a->x || !a->over || !a->near || !a->room || !a->lists || !a->entry_slots || !a->bias ||
        !a->codes || !a->errors || !a->lengths || !a->more)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %zu vectors", a->n);
    return ANN_OK;
}

/* Lists and codes of all; nothing of the index changes. */
static ann_err prepare(struct adding *a, const struct kind_job *job)
{
    const struct ivfpq *h = a->h;
    ann_err err = ANN_OK;
    for (a->first = 0; a->first < a->n && !err; a->first += BLOCK) {
        const size_t n = a->n - a->first < BLOCK ? a->n - a->first : BLOCK;
        pool_for(job->pool, n, 64, bring, a);
        err = kmeans_assign(h->vec->ops, a->x, n, h->dim, h->centroids.data, h->nlist,
                            job->pool, a->near, NULL);
        if (err)
            break;
        pool_for(job->pool, n, 64, encode, a);
        if (job->progress && job->progress(job->progress_arg, "add", a->first + n, a->n))
            err = ANN_FAIL(ANN_ECANCELED, "canceled at vector %zu of %zu", a->first + n, a->n);
    }
    return err;
}

static ann_err append(struct adding *a, const struct kind_job *job)
{
    struct ivfpq *h = a->h;
    const size_t entries = a->n * a->copies;
    for (size_t i = 0; i < entries; i++)
        a->more[a->lists[i]]++;
    pthread_rwlock_wrlock(job->gate);
    const ann_err err = ivf_lists_reserve(h, a->more);
    if (!err) {
        ivf_lists_append(h, a->more, entries, a->lists, a->entry_slots, a->bias, a->codes);
        for (size_t i = 0; i < a->n; i++) {
            h->error_sum += (double)a->errors[i];
            h->length_sum += (double)a->lengths[i];
        }
    }
    pthread_rwlock_unlock(job->gate);
    return err;
}

ann_err ivfpq_add(void *state, const uint32_t *slots, size_t n, const struct kind_job *job)
{
    struct ivfpq *h = state;
    struct adding a = {.h = h,
                       .view = job->view,
                       .slots = slots,
                       .n = n,
                       .copies = ivf_copies(h)};
    ann_err err = adding_alloc(&a, pool_threads(job->pool));
    if (!err)
        err = prepare(&a, job);
    if (!err)
        err = append(&a, job);
    if (!err) /* without the memory for it, efforts mean what they meant */
        (void)ivf_stops_learn(h, job);
    adding_free(&a);
    if (err) {
        pthread_rwlock_wrlock(job->gate);
        for (size_t i = 0; i < n; i++)
            vectors_give_slot(h->vec, slots[i]);
        pthread_rwlock_unlock(job->gate);
    }
    return err;
}

/* ---- removing ---- */

void ivfpq_remove(void *state, const uint32_t *slots, size_t n)
{
    struct ivfpq *h = state;
    (void)slots;
    h->dead += n * ivf_copies(h);
}

ann_err ivfpq_sweep(void *state, bool now, const struct kind_job *job)
{
    struct ivfpq *h = state;
    const bool due = now ? h->dead > 0 || h->scattered : h->dead > h->entries / DEAD_SHARE;
    return due && h->trained > 0 ? ivf_lists_pack(h, job) : ANN_OK;
}
