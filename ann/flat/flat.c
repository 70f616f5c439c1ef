/* flat.c - exact search over all vectors, in batches by matrix multiplication.
 *
 * Place: a kind.  One query is a scan with the distance kernel.  A batch multiplies blocks of
 * queries with blocks of vectors (OpenBLAS) and selects while the tile is in cache.
 *
 * Invariant: both give the same answer, that of the kernel.  The product's rounding differs
 * from the kernel's, so a batch keeps a few more than k, recomputes those with the kernel, and
 * accepts the k best only if no vector outside can be among them even when the product is off
 * by its error bound; else that query is scanned. */
#include <config.h>

#include <float.h>
#include <math.h>
#include <string.h>

#include "ann/base/blas.h"
#include "ann/base/error.h"
#include "ann/flat/flat.h"
#include "ann/search/scan.h"

/* A tile of at most 1024 x 512 floats, 2 MiB.  More queries than vectors, since BLAS packs the
 * vectors anew for every block of queries. */
#define QUERY_BLOCK 1024
#define VECTOR_BLOCK 512

struct flat {
    struct vectors *vec;
};

/* One thread's memory for a batch. */
struct worker {
    float *tile;      /* [query block, VECTOR_BLOCK] */
    float *block;     /* [VECTOR_BLOCK, dim], where vectors are not f32 */
    uint32_t *picked; /* [query block, VECTOR_BLOCK] */
    struct scratch scratch;
    struct error_note note;
};

struct batch {
    const struct vectors *v;
    const struct kind_query *q;
    const float *queries; /* [nq, dim] */
    size_t nq, query_block;
    size_t keep;          /* k and some more */
    float *norms;         /* [slots] squared, l2 only */
    float *query_norms;   /* [nq] squared */
    float norm_max;       /* the largest squared norm of a vector */
    search_key *keys;     /* [nq, keep] */
    struct topk *tops;    /* [nq] */
    struct worker *workers;
    struct pool *pool;
    bool blas_parallel;   /* BLAS has threads of its own: one product at a time */
    search_key *out;
    size_t *found;
    /* the tile being selected from, when selection is spread over the pool */
    const float *tile;
    size_t tile_first, tile_slot, tile_width;
    uint32_t *tile_picked;
};

/* ---- selection ---- */

/* Pushes what is near enough of one row of products; row is overwritten with distances. */
static void select_row(const struct batch *b, size_t query, float *row, size_t slot,
                       size_t width, uint32_t *picked)
{
    const struct vectors *v = b->v;
    struct topk *t = &b->tops[query];
    size_t n;
    if (v->metric == ANN_L2) {
        n = v->ops->l2_below_f32(row, b->norms + slot, b->query_norms[query], width,
                                 topk_limit(t), picked);
    } else {
        for (size_t i = 0; i < width; i++)
            row[i] = -row[i];
        n = v->ops->below_f32(row, width, topk_limit(t), picked);
    }
    for (size_t i = 0; i < n; i++) {
        const uint32_t s = (uint32_t)(slot + picked[i]);
        if (row[picked[i]] < topk_limit(t) && kind_passes(v, b->q, s))
            topk_push(t, key_make(row[picked[i]], s));
    }
}

static void select_body(void *arg, size_t i, unsigned worker)
{
    const struct batch *b = arg;
    (void)worker;
    select_row(b, b->tile_first + i, (float *)(uintptr_t)b->tile + i * b->tile_width,
               b->tile_slot, b->tile_width, b->tile_picked + i * VECTOR_BLOCK);
}

/* Vectors [slot, slot + width) as floats; *stride in floats. */
static const float *block_floats(const struct vectors *v, struct worker *w, size_t slot,
                                 size_t width, size_t *stride)
{
    if (v->store == ANN_F32) {
        *stride = v->stride / sizeof(float);
        return vectors_row(v, (uint32_t)slot);
    }
    for (size_t i = 0; i < width; i++)
        vectors_get(v, (uint32_t)(slot + i), w->block + i * v->dim);
    *stride = v->dim;
    return w->block;
}

/* ---- from candidates to the answer ---- */

/* How far a product of the matrix multiplication may be from the kernel's distance: infinitely,
 * where sums leave float's range on the way to a distance that does not.  What squares lose
 * when they are too small for a float is added to the norms. */
static double error_bound(const struct batch *b, size_t query)
{
    const double lost = b->v->dim * (double)FLT_MIN;
    const double q = b->query_norms[query] + lost, x = b->norm_max + lost;
    if (q + x + 2 * sqrt(q * x) > FLT_MAX)
        return INFINITY;
    const double dot = (double)b->v->dim * 0x1p-23 * sqrt(q * x); /* both sides' rounding */
    return b->v->metric == ANN_L2 ? 2 * dot + (q + x) * (b->v->dim + 8.0) * 0x1p-24 : dot;
}

static void answer(const struct batch *b, size_t query, struct worker *w)
{
    const struct vectors *v = b->v;
    struct topk *t = &b->tops[query];
    const bool all =
        t->size == kind_passing(v, b->q); /* else an overflowed product may have hidden one */
    const float *q = b->queries + query * v->dim;
    const double edge = t->size ? (double)topk_limit(t) - error_bound(b, query) : 0;
    for (size_t i = 0; i < t->size; i++) {
        const uint32_t slot = key_slot(t->keys[i]);
        t->keys[i] = key_make(v->dist(q, vectors_row(v, slot), v->dim), slot);
    }
    for (size_t i = t->size / 2; i-- > 0;) /* a heap again, then sorted */
        topk_sift_down(t->keys, t->size, i);
    topk_sort(t);
    const size_t k = b->q->k < t->size ? b->q->k : t->size;
    search_key *out = b->out + query * b->q->k;
    const bool enough = k > 0 && k == b->q->k && (double)key_dist(t->keys[k - 1]) < edge;
    if (!all && !enough) { /* an edge that is not a number is not enough either */
        struct kind_query one = *b->q;
        one.query = q;
        struct topk exact = {.keys = out, .k = b->q->k};
        scan_topk(v, &one, &w->scratch, &exact);
        topk_sort(&exact);
        b->found[query] = exact.size;
        return;
    }
    memcpy(out, t->keys, k * sizeof *out);
    b->found[query] = k;
}

/* One block of queries against all vectors. */
static void run_block(void *arg, size_t block, unsigned worker)
{
    struct batch *b = arg;
    const struct vectors *v = b->v;
    struct worker *w = &b->workers[worker];
    const size_t first = block * b->query_block;
    const size_t rows = b->nq - first < b->query_block ? b->nq - first : b->query_block;
    for (size_t slot = 0; slot < v->slots; slot += VECTOR_BLOCK) {
        const size_t width = v->slots - slot < VECTOR_BLOCK ? v->slots - slot : VECTOR_BLOCK;
        size_t stride;
        const float *x = block_floats(v, w, slot, width, &stride);
        blas_gemm_nt(b->queries + first * v->dim, rows, v->dim, x, width, stride, v->dim,
                     w->tile, width);
        if (b->blas_parallel) {
            b->tile = w->tile;
            b->tile_first = first;
            b->tile_slot = slot;
            b->tile_width = width;
            b->tile_picked = w->picked;
            pool_for(b->pool, rows, 8, select_body, b);
        } else {
            for (size_t i = 0; i < rows; i++)
                select_row(b, first + i, w->tile + i * width, slot, width, w->picked);
        }
    }
    for (size_t i = 0; i < rows; i++)
        answer(b, first + i, w);
}

/* ---- the batch ---- */

static void norm_body(void *arg, size_t i, unsigned worker)
{
    const struct batch *b = arg;
    size_t stride;
    const float *x = block_floats(b->v, &b->workers[worker], i, 1, &stride);
    b->norms[i] = b->v->ops->norm2_f32(x, b->v->dim);
}

static void batch_free(struct batch *b)
{
    for (unsigned i = 0; b->workers && i < pool_threads(b->pool); i++) {
        mem_free(b->workers[i].tile);
        mem_free(b->workers[i].block);
        mem_free(b->workers[i].picked);
        scratch_free(&b->workers[i].scratch);
    }
    mem_free(b->workers);
    mem_free(b->norms);
    mem_free(b->query_norms);
    mem_free(b->keys);
    mem_free(b->tops);
}

static ann_err batch_alloc(struct batch *b)
{
    const struct vectors *v = b->v;
    const unsigned threads = pool_threads(b->pool);
    b->norms = mem_zalloc(v->slots, sizeof *b->norms);
    b->query_norms = mem_zalloc(b->nq, sizeof *b->query_norms);
    b->keys = mem_zalloc(b->nq, b->keep * sizeof *b->keys);
    b->tops = mem_zalloc(b->nq, sizeof *b->tops);
    b->workers = mem_zalloc(threads, sizeof *b->workers);
    bool ok = b->norms && b->query_norms && b->keys && b->tops && b->workers;
    const size_t tile = b->query_block * VECTOR_BLOCK;
    for (unsigned i = 0; ok && i < threads; i++) {
        struct worker *w = &b->workers[i];
        const bool works =
            i == 0 || !b->blas_parallel; /* else it only selects and takes norms */
        w->block = mem_alloc(VECTOR_BLOCK * (size_t)v->dim * sizeof *w->block);
        ok = w->block != NULL;
        if (works && ok) {
            w->tile = mem_alloc(tile * sizeof *w->tile);
            w->picked = mem_alloc(tile * sizeof *w->picked);
            ok = w->tile && w->picked && !scratch_reserve(&w->scratch, v, 0, 0, SCAN_BATCH);
        }
    }
    return ok ? ANN_OK
              : ANN_FAIL(ANN_ENOMEM, "out of memory for a batch of %zu queries", b->nq);
}

static ann_err flat_search_batch(const void *state, const struct kind_query *q,
                                 const float *queries, size_t nq, struct pool *pool,
                                 search_key *out, size_t *found)
{
    const struct vectors *v = ((const struct flat *)state)->vec;
    const unsigned threads = pool_threads(pool);
    struct batch b = {.v = v, .q = q, .queries = queries, .nq = nq, .pool = pool, .out = out,
                      .found = found, .blas_parallel = blas_threads() > 1};
    const size_t share = nq / (b.blas_parallel ? 1 : threads) + 1;
    b.query_block = share < QUERY_BLOCK ? share : QUERY_BLOCK;
    b.keep = q->k + q->k / 8 + 16;
    ann_err err = batch_alloc(&b);
    if (err)
        goto done;
    pool_for(pool, v->slots, 1024, norm_body, &b);
    for (uint32_t s = 0; s < v->slots; s++) /* an add may be filling dead slots just now */
        if (vectors_is_live(v, s) && b.norms[s] > b.norm_max)
            b.norm_max = b.norms[s];
    for (size_t i = 0; i < nq; i++) {
        b.query_norms[i] = v->ops->norm2_f32(queries + i * v->dim, v->dim);
        b.tops[i] = (struct topk){.keys = b.keys + i * b.keep, .k = b.keep};
    }
    const size_t blocks = (nq + b.query_block - 1) / b.query_block;
    if (b.blas_parallel)
        for (size_t i = 0; i < blocks; i++)
            run_block(&b, i, 0);
    else
        pool_for(pool, blocks, 1, run_block, &b);
    q->stats->distances += (uint64_t)v->live * nq;
done:
    batch_free(&b);
    return err;
}

/* ---- one query, and the rest of the table ---- */

static ann_err flat_search(const void *state, const struct kind_query *q, struct scratch *s,
                           search_key *out, size_t *found)
{
    const struct vectors *v = ((const struct flat *)state)->vec;
    scan_search(v, q, s, out, found);
    return ANN_OK;
}

static void flat_needs(const void *state, const struct kind_query *q, size_t *keys,
                       size_t *batch)
{
    (void)state;
    (void)q;
    *keys = 0;
    *batch = SCAN_BATCH;
}

static ann_err flat_create(const ann_options *o, struct vectors *v, void **state)
{
    (void)o;
    struct flat *f = mem_zalloc(1, sizeof *f);
    if (!f)
        return ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", sizeof *f);
    f->vec = v;
    *state = f;
    return ANN_OK;
}

static void flat_destroy(void *state)
{
    mem_free(state);
}

static ann_err flat_reserve(void *state, uint32_t slots, const struct kind_job *job)
{
    (void)state;
    (void)slots;
    (void)job;
    return ANN_OK;
}

static ann_err flat_add(void *state, const uint32_t *slots, size_t n,
                        const struct kind_job *job)
{
    (void)state;
    (void)slots;
    (void)n;
    (void)job;
    return ANN_OK;
}

/* Nothing links to a slot: it is free at once. */
static void flat_remove(void *state, const uint32_t *slots, size_t n)
{
    struct flat *f = state;
    for (size_t i = 0; i < n; i++)
        vectors_give_slot(f->vec, slots[i]);
}

static ann_err flat_sweep(void *state, bool now, const struct kind_job *job)
{
    (void)state;
    (void)now;
    (void)job;
    return ANN_OK;
}

static void flat_renumber(void *state, const uint32_t *new_slot, uint32_t old_slots,
                          uint32_t kept)
{
    (void)state;
    (void)new_slot;
    (void)old_slots;
    (void)kept;
}

static ann_err flat_check(const void *state, ann_check_level level)
{
    (void)state;
    (void)level;
    return ANN_OK;
}

static void flat_info(const void *state, ann_info *info)
{
    (void)state;
    (void)info;
}

static size_t flat_save(const void *state, struct kfile_meta *meta, struct kfile_part *parts)
{
    (void)state;
    (void)meta;
    (void)parts;
    return 0;
}

static ann_err flat_load(const struct kfile_meta *meta, struct kfile *f, struct vectors *v,
                         void **state)
{
    (void)meta;
    (void)f;
    for (uint32_t s = v->slots; s-- > 0;)
        if (!vectors_is_live(v, s))
            vectors_give_slot(v, s);
    return flat_create(NULL, v, state);
}

static uint64_t flat_estimate(const ann_options *o, uint64_t n, uint64_t *build_extra)
{
    (void)o;
    (void)n;
    *build_extra = 0;
    return 0;
}

const struct kind flat_kind = {
    .id = ANN_FLAT,
    .name = "flat",
    .create = flat_create,
    .destroy = flat_destroy,
    .reserve = flat_reserve,
    .add = flat_add,
    .remove = flat_remove,
    .sweep = flat_sweep,
    .renumber = flat_renumber,
    .needs = flat_needs,
    .search = flat_search,
    .search_batch = flat_search_batch,
    .check = flat_check,
    .info = flat_info,
    .save = flat_save,
    .load = flat_load,
    .estimate = flat_estimate,
};
