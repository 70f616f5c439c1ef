/* train.c - what is learned before vectors come: the space, the lists, the codebooks.
 *
 * Place: ivfpq.  Learned aside and put in place at the end, so that a failure or a cancel
 * leaves the index as it was. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/base/rng.h"
#include "ann/codec/kmeans.h"
#include "ann/ivfpq/ivfpq.h"

#define LISTS_BY_ROOT  2     /* nlist is about so many times the root of the vectors */
#define LEAST_PER_LIST 32    /* vectors trained on, or there are fewer lists */
#define PER_LIST       256   /* vectors learned from for each list, at most */
#define CODES_LEARN    65536 /* vectors that codebooks are learned from, at most */
#define FRAME_LEARN    16384
#define OPQ_ROUNDS     8
#define OPQ_LEARN      32768

enum code_type ivfpq_choose_codes(const ann_options *o)
{
    if (o->codes == ANN_CODES_NONE)
        return CODE_NONE;
    return o->codes == ANN_CODES_SQ4 ? CODE_SQ4 : CODE_SQ8;
}

/* ---- what training decides ---- */

uint32_t ivfpq_choose_nlist(const struct ivfpq *h, uint64_t n)
{
    const double wish = h->asked.nlist ? h->asked.nlist : LISTS_BY_ROOT * sqrt((double)n);
    const double most = h->asked.nlist ? (double)n : (double)n / LEAST_PER_LIST;
    const double lists = wish < most ? wish : most;
    return lists < 1 ? 1 : lists > ANN_NLIST_MAX ? ANN_NLIST_MAX : (uint32_t)lists;
}

uint64_t ivfpq_learned_from(const struct ivfpq *h, uint64_t n)
{
    const uint64_t most = (uint64_t)PER_LIST * ivfpq_choose_nlist(h, n);
    const uint64_t want = most > CODES_LEARN ? most : CODES_LEARN;
    return n < want ? n : want;
}

/* Dimensions a subspace: from here on neighbours differ in so many that coarse codes tell. */
#define WIDE_DIMS 256

uint32_t ivfpq_choose_m(const struct ivfpq *h, uint32_t dim)
{
    if (h->asked.pq_m)
        return h->asked.pq_m < dim ? h->asked.pq_m : dim;
    const uint32_t each = (dim < WIDE_DIMS ? 2 : 4) * (h->asked.pq_bits / 4);
    return (dim + each - 1) / each;
}

static ann_rotation choose_rotation(const struct ivfpq *h)
{
    return h->asked.rotation ? h->asked.rotation : ANN_ROTATION_NONE;
}

/* ---- the sample ---- */

struct training {
    struct ivfpq *h; /* what is learned, aside */
    const ann_view *view;
    const struct kind_job *job;
    size_t n;    /* rows learned from */
    float *x;    /* [n, dim] in the space */
    float *room; /* [threads, 2 * dim of a vector + dim of the space] */
    size_t room_each;
};

/* Row i of `some` that are evenly over n. */
static size_t evenly(size_t i, size_t some, size_t n)
{
    return (size_t)((unsigned __int128)i * n / some);
}

static const float *frame_row(void *arg, uint64_t i, float *room)
{
    const struct training *t = arg;
    const size_t n = t->view->n, some = n < FRAME_LEARN ? n : FRAME_LEARN;
    vectors_query(t->h->vec, t->view, evenly((size_t)i, some, n), room);
    return room;
}

static ann_err learn_frame(struct training *t)
{
    struct ivfpq *h = t->h;
    const size_t n = t->view->n < FRAME_LEARN ? t->view->n : FRAME_LEARN;
    double largest = 0;
    for (size_t i = 0; h->vec->metric == ANN_IP && i < t->view->n; i++) {
        vectors_query(h->vec, t->view, i, t->room);
        const double norm2 = frame_norm2(t->room, h->vec->dim);
        largest = norm2 > largest ? norm2 : largest;
    }
    return frame_train(&h->frame, n, frame_row, t, largest);
}

static void bring(void *arg, size_t i, unsigned worker)
{
    const struct training *t = arg;
    const struct ivfpq *h = t->h;
    float *x = t->room + worker * t->room_each, over;
    vectors_query(h->vec, t->view, evenly(i, t->n, t->view->n), x);
    ivf_space_vector(h, x, t->x + i * h->dim, x + h->vec->dim, &over);
}

static ann_err training_open(struct training *t)
{
    struct ivfpq *h = t->h;
    const unsigned threads = pool_threads(t->job->pool);
    t->n = (size_t)ivfpq_learned_from(h, t->view->n);
    t->room_each = 2 * (size_t)h->vec->dim + 2 * (size_t)h->dim;
    t->x = mem_zalloc(t->n, h->dim * sizeof *t->x);
    t->room = mem_zalloc(threads, t->room_each * sizeof *t->room);
    if (!t->x || !t->room)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for a sample of %zu vectors", t->n);
    return ANN_OK;
}

/* ---- learning ---- */

static ann_err learn_lists(struct training *t)
{
    struct ivfpq *h = t->h;
    const struct kmeans_options o = {.k = h->nlist,
                                     .per_centroid = PER_LIST,
                                     .seed = h->asked.seed,
                                     .progress = t->job->progress,
                                     .progress_arg = t->job->progress_arg};
    struct kmeans_report report;
    ann_err err = buf_resize(&h->centroids, (size_t)h->nlist * h->dim * sizeof(float));
    if (!err)
        err = kmeans_train(h->vec->ops, t->x, t->n, h->dim, &o, t->job->pool, h->centroids.data,
                           &report);
    if (!err)
        err = ivf_coarse_make(h);
    return err ? err : ivf_graph_make(h, t->job->pool);
}

/* Rows less their centroids, in place, for codebooks of residuals. */
static ann_err take_residuals(struct training *t, size_t n)
{
    struct ivfpq *h = t->h;
    uint32_t *near = mem_alloc(n * sizeof *near);
    if (!near)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %zu rows", n);
    const ann_err err = kmeans_assign(h->vec->ops, t->x, n, h->dim, h->centroids.data, h->nlist,
                                      t->job->pool, near, NULL);
    for (size_t i = 0; i < n && !err; i++) {
        const float *c = (const float *)h->centroids.data + (size_t)near[i] * h->dim;
        for (uint32_t d = 0; d < h->dim; d++)
            t->x[i * h->dim + d] -= c[d];
    }
    mem_free(near);
    return err;
}

/* Some of the rows, evenly, to the front of t->x. */
static size_t thin_out(struct training *t, size_t most)
{
    const uint32_t dim = t->h->dim;
    if (t->n <= most)
        return t->n;
    for (size_t i = 0; i < most; i++)
        memmove(t->x + i * dim, t->x + evenly(i, most, t->n) * dim, dim * sizeof *t->x);
    return most;
}

/* Of `checked` of rows [n], evenly. */
static double mean_norm2(const struct ivfpq *h, const float *x, size_t n, size_t checked)
{
    double sum = 0;
    for (size_t i = 0; i < checked; i++)
        sum += frame_norm2(x + evenly(i, checked, n) * h->dim, h->dim);
    return sum / (double)checked;
}

/* Mean squared error of the codes of `checked` of rows [n], evenly. */
static ann_err code_error(const struct ivfpq *h, const float *x, size_t n, size_t checked,
                          double *error)
{
    float *decoded = mem_alloc(h->dim * sizeof *decoded);
    uint8_t *code = mem_alloc(h->pq.m);
    double sum = 0;
    if (decoded && code)
        for (size_t i = 0; i < checked; i++) {
            const float *row = x + evenly(i, checked, n) * h->dim;
            pq_encode(&h->pq, row, code);
            pq_decode(&h->pq, code, decoded);
            for (uint32_t d = 0; d < h->dim; d++) {
                const double off = (double)row[d] - decoded[d];
                sum += off * off;
            }
        }
    const ann_err err =
        decoded && code ? ANN_OK : ANN_FAIL(ANN_ENOMEM, "out of memory for a code");
    mem_free(decoded);
    mem_free(code);
    *error = sum / (double)checked;
    return err;
}

static ann_err learn_codes(struct training *t)
{
    struct ivfpq *h = t->h;
    const size_t n = thin_out(t, CODES_LEARN), checked = n < 4096 ? n : 4096;
    const double length = mean_norm2(h, t->x, n, checked);
    ann_err err = ANN_OK;
    double error = 0;
    if (h->asked.pq_of != ANN_PQ_DIRECT)
        err = take_residuals(t, n);
    if (!err)
        err = pq_train(&h->pq, h->vec->ops, t->x, n, h->asked.seed, t->job->pool);
    if (!err)
        err = code_error(h, t->x, n, checked, &error);
    h->trained_error = length > 0 ? error / length : 0;
    return err;
}

/* The rotation that suits residuals about as few lists as their own would give: learned from
 * the rows less the mean of all, which the frame took off. */
static ann_err learn_turn(struct training *t)
{
    struct ivfpq *h = t->h;
    const size_t n = t->n < OPQ_LEARN ? t->n : OPQ_LEARN;
    struct pq pq = {0};
    ann_err err = buf_resize(&h->turn, (size_t)h->dim * h->dim * sizeof(float));
    if (!err)
        err = pq_init(&pq, h->dim, ivfpq_choose_m(h, h->dim), h->asked.pq_bits);
    if (!err)
        err = opq_train(&pq, h->vec->ops, t->x, n, OPQ_ROUNDS, h->asked.seed, t->job->pool,
                        h->turn.data);
    pq_free(&pq);
    if (!err)
        pool_for(t->job->pool, t->n, 64, bring, t);
    return err;
}

/* eta of the paper for the threshold T on vectors of unit length. */
static float eta_of(double threshold, uint32_t dim)
{
    const double t2 = threshold * threshold;
    const double eta = (dim - 1) * t2 / (1 - t2);
    return eta > 1 ? (float)eta : 1;
}

static ann_err learn_origin(struct training *t)
{
    struct ivfpq *h = t->h;
    float over;
    h->eta = h->asked.anisotropic > 0 ? eta_of(h->asked.anisotropic, h->dim) : 1;
    const ann_err err = buf_resize(&h->origin, h->dim * sizeof(float));
    if (err)
        return err;
    memset(t->room, 0, h->vec->dim * sizeof(float));
    ivf_space_vector(h, t->room, h->origin.data, t->room + h->vec->dim, &over);
    return ANN_OK;
}

static ann_err learn(struct training *t)
{
    struct ivfpq *h = t->h;
    ann_err err = ivf_space_open(h, choose_rotation(h));
    if (!err)
        err = training_open(t);
    if (!err)
        err = learn_frame(t);
    if (err)
        return err;
    pool_for(t->job->pool, t->n, 64, bring, t);
    h->nlist = ivfpq_choose_nlist(h, t->view->n);
    if (h->rotation == ANN_ROTATION_OPQ)
        err = learn_turn(t);
    if (!err)
        err = learn_origin(t);
    if (!err)
        err = pq_init(&h->pq, h->dim, ivfpq_choose_m(h, h->dim), h->asked.pq_bits);
    if (!err)
        err = learn_lists(t);
    if (!err)
        err = learn_codes(t);
    if (!err)
        err = ivf_lists_open(h);
    if (!err)
        err = buf_resize(&h->sizes, h->nlist * sizeof(uint32_t));
    if (!err)
        err = ivfpq_write_space(h);
    h->m = annk_list_padded(h->pq.bits, h->pq.m);
    h->code_bytes = annk_list_code_bytes(h->pq.bits, h->m);
    for (size_t i = 0; i < IVF_STOPS; i++)
        h->stops[i] = 1;
    h->trained = t->view->n;
    return err;
}

void ivfpq_forget(struct ivfpq *h)
{
    ivf_lists_close(h);
    ivf_coarse_free(h);
    ivf_space_close(h);
    pq_free(&h->pq);
    buf_free(&h->centroids);
    buf_free(&h->space);
    buf_free(&h->sizes);
    h->trained = 0;
    h->nlist = 0;
    h->error_sum = h->length_sum = h->trained_error = 0;
}

ann_err ivfpq_train(void *state, const ann_view *sample, const struct kind_job *job)
{
    struct ivfpq *h = state, fresh = {.vec = h->vec, .ops = h->ops, .asked = h->asked};
    struct training t = {.h = &fresh, .view = sample, .job = job};
    if (sample->n == 0)
        return ANN_FAIL(ANN_EINVAL, "a sample of 0 vectors to train on");
    if (h->vec->live > 0)
        return ANN_FAIL(ANN_EINVAL, "the index holds %u vectors: only an empty one is trained",
                        h->vec->live);
    ann_err err = ivfpq_sweep(h, true, job);
    if (!err)
        err = learn(&t);
    mem_free(t.x);
    mem_free(t.room);
    if (err) {
        ivfpq_forget(&fresh);
        return err;
    }
    pthread_rwlock_wrlock(job->gate);
    ivfpq_forget(h);
    *h = fresh;
    pthread_rwlock_unlock(job->gate);
    return ANN_OK;
}
