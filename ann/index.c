/* index.c - the front door: creating and changing an index.
 *
 * Every entry checks its arguments, takes the locks of internal.h and calls the kind's table.
 * An add is all or nothing: the slots it fills stay dead, no results, until all are linked;
 * then, in one turn under the gate, they come alive and their ids are entered. */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/flat/flat.h"
#include "ann/hnsw/hnsw.h"
#include "ann/ivfpq/ivfpq.h"
#include "ann/internal.h"

/* Lists use the graph for their centroids. */
const struct kind *const ivf_graph_kind = &hnsw_kind;

const struct kind *index_kind(ann_kind id)
{
    return id == ANN_FLAT ? &flat_kind : id == ANN_IVFPQ ? &ivfpq_kind : &hnsw_kind;
}

static enum code_type choose_codes(const ann_options *o)
{
    return o->kind == ANN_IVFPQ ? ivfpq_choose_codes(o) : hnsw_choose_codes(o);
}

/* ---- making and closing ---- */

ann_err index_new(const ann_options *resolved, enum code_type codes, ann_index **out)
{
    ann_index *ix = mem_zalloc(1, sizeof *ix);
    if (!ix)
        return ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", sizeof *ix);
    ix->opt = *resolved;
    ix->kind = index_kind(resolved->kind);
    const ann_err err = vectors_init(&ix->vec, resolved->metric, resolved->store, resolved->dim,
                                     codes, resolved->seed);
    if (err) {
        vectors_free(&ix->vec);
        mem_free(ix);
        return err;
    }
    pthread_rwlockattr_t
        attr; /* a stream of searches must not keep a change waiting for ever */
    pthread_rwlockattr_init(&attr);
#ifdef PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
    pthread_rwlock_init(&ix->gate, &attr);
    pthread_rwlockattr_destroy(&attr);
    pthread_mutex_init(&ix->writer, NULL);
    pthread_mutex_init(&ix->lazy, NULL);
    pthread_mutex_init(&ix->idle, NULL);
    *out = ix;
    return ANN_OK;
}

void index_take_options(ann_index *ix)
{
    ann_info info = {.size = ANN_INFO_SIZE};
    ix->kind->info(ix->state, &info);
    if (info.nlist) {
        ix->opt.nlist = info.nlist;
        ix->opt.pq_m = info.pq_m;
        ix->opt.pq_bits = info.pq_bits;
        ix->opt.rotation = info.rotation;
        ix->opt.pq_of = info.pq_of;
    }
    ix->opt.m = info.m ? info.m : ix->opt.m;
    ix->opt.ef_construction =
        info.ef_construction ? info.ef_construction : ix->opt.ef_construction;
}

void ann_close(ann_index *ix)
{
    if (!ix)
        return;
    if (ix->state)
        ix->kind->destroy(ix->state);
    pool_close(ix->write_pool);
    pool_close(ix->query_pool);
    while (ix->free_scratch) {
        struct scratch *s = ix->free_scratch;
        ix->free_scratch = s->next;
        scratch_free(s);
        mem_free(s);
    }
    vectors_free(&ix->vec);
    idmap_free(&ix->ids);
    if (ix->file)
        kfile_close(ix->file);
    pthread_mutex_destroy(&ix->idle);
    pthread_mutex_destroy(&ix->lazy);
    pthread_mutex_destroy(&ix->writer);
    pthread_rwlock_destroy(&ix->gate);
    mem_free(ix);
}

ann_err ann_create(const ann_options *given, ann_index **out)
{
    ann_options o;
    if (!out)
        return ANN_FAIL(ANN_EINVAL, "out is NULL");
    ann_err err = options_resolve(given, &o);
    ann_index *ix = NULL;
    if (!err)
        err = index_new(&o, choose_codes(&o), &ix);
    if (!err)
        err = ix->kind->create(&o, &ix->vec, &ix->state);
    if (err) {
        ann_close(ix);
        return err;
    }
    *out = ix;
    return ANN_OK;
}

/* The pool in *place, made at first need. */
ann_err index_pool(const ann_index *ix, struct pool **place, struct pool **out)
{
    ann_err err = ANN_OK;
    pthread_mutex_t *lazy = (pthread_mutex_t *)(uintptr_t)&ix->lazy;
    pthread_mutex_lock(lazy);
    if (!*place)
        err = pool_create(ix->opt.threads, place);
    if (!err)
        *out = *place;
    pthread_mutex_unlock(lazy);
    return err;
}

ann_err index_ids_ready(const ann_index *ix)
{
    ann_err err = ANN_OK;
    ann_index *self = (ann_index *)(uintptr_t)ix;
    pthread_mutex_lock(&self->lazy);
    pthread_rwlock_rdlock(&self->gate); /* readers of the table come by here, so it is ours */
    if (self->ids.ids.bytes > 0 && self->ids.table.bytes == 0) {
        err = idmap_rebuild(&self->ids, &self->vec);
        if (err)
            buf_free(&self->ids.table);
    }
    pthread_rwlock_unlock(&self->gate);
    pthread_mutex_unlock(&self->lazy);
    return err;
}

ann_err ann_configure(ann_index *ix, const ann_options *o)
{
    if (!ix || !o)
        return ANN_FAIL(ANN_EINVAL, "%s is NULL", ix ? "options" : "index");
    ann_options given = ANN_OPTIONS_INIT;
    memcpy(&given, o, o->size < sizeof given ? o->size : sizeof given);
    if (given.threads > 1024)
        return ANN_FAIL(ANN_EINVAL, "threads is %u: must be 1..1024", given.threads);
    pthread_mutex_lock(&ix->writer);
    pthread_rwlock_wrlock(&ix->gate);
    const unsigned threads = given.threads ? given.threads : pool_default_threads();
    if (threads != ix->opt.threads) {
        pool_close(ix->write_pool);
        pool_close(ix->query_pool);
        ix->write_pool = ix->query_pool = NULL;
    }
    ix->opt.threads = threads;
    ix->opt.max_memory = given.max_memory;
    ix->opt.progress = given.progress;
    ix->opt.progress_arg = given.progress_arg;
    pthread_rwlock_unlock(&ix->gate);
    pthread_mutex_unlock(&ix->writer);
    return ANN_OK;
}

/* ---- adding ---- */

/* One add or update on its way. */
struct adding {
    ann_index *ix;
    const ann_view *view;
    const ann_id *ids; /* NULL: first_id and on */
    ann_id first_id;
    uint32_t n;
    uint32_t *slots;    /* [n] */
    uint32_t *replaced; /* [n]: the old slot of an id, or SLOT_NONE; update only */
    float *scratch;     /* [threads, scratch_each]: of vectors_put, then the largest error */
    size_t scratch_each;
    struct codes before; /* the codes before they were made again; CODE_NONE: they were not */
    float max_error;     /* of the codes, before */
};

static ann_id adding_id(const struct adding *a, size_t i)
{
    return a->ids ? a->ids[i] : a->first_id + i;
}

static int id_order(const void *pa, const void *pb)
{
    const ann_id a = *(const ann_id *)pa, b = *(const ann_id *)pb;
    return a < b ? -1 : a > b;
}

/* No id twice in the call, none that is not an id. */
static ann_err check_ids(const ann_id *ids, size_t n)
{
    bool ascending = true;
    for (size_t i = 0; i < n; i++) {
        if (ids[i] == ANN_NO_ID)
            return ANN_FAIL(ANN_EINVAL, "ids[%zu] is ANN_NO_ID", i);
        ascending = ascending && (i == 0 || ids[i] > ids[i - 1]);
    }
    if (ascending)
        return ANN_OK;
    ann_id *sorted = mem_alloc(n * sizeof *sorted);
    if (!sorted)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %zu ids", n);
    memcpy(sorted, ids, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, id_order);
    ann_err err = ANN_OK;
    for (size_t i = 1; i < n && !err; i++)
        if (sorted[i] == sorted[i - 1])
            err = ANN_FAIL(ANN_EEXIST, "id %llu stands twice in the call",
                           (unsigned long long)sorted[i]);
    mem_free(sorted);
    return err;
}

static ann_err check_adding(struct adding *a, bool update)
{
    ann_index *ix = a->ix;
    if (a->view->n > SLOTS_MAX)
        return ANN_FAIL(ANN_ELIMIT, "%zu vectors: an index holds at most %u", a->view->n,
                        SLOTS_MAX);
    ann_err err = vectors_check(&ix->vec, a->view, "vector");
    if (!err && ix->kind->ready)
        err = ix->kind->ready(ix->state);
    if (err)
        return err;
    if (!a->ids) {
        if (ix->ids.next > ANN_NO_ID - a->n)
            return ANN_FAIL(ANN_ELIMIT, "no %u ids are left after %llu", a->n,
                            (unsigned long long)ix->ids.next - 1);
        a->first_id = ix->ids.next;
        return ANN_OK;
    }
    err = check_ids(a->ids, a->n);
    for (size_t i = 0; i < a->n && !err && !update; i++)
        if (idmap_find(&ix->ids, &ix->vec, a->ids[i]) != SLOT_NONE)
            err =
                ANN_FAIL(ANN_EEXIST, "id %llu is in the index", (unsigned long long)a->ids[i]);
    return err;
}

/* Whether the ids go on being the slots' own numbers. */
static bool keeps_identity(const struct adding *a)
{
    const ann_index *ix = a->ix;
    if (ix->ids.ids.bytes > 0 || ix->vec.free > 0)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (adding_id(a, i) != ix->vec.slots + i)
            return false;
    return true;
}

static ann_err check_memory(const ann_index *ix, uint32_t fresh)
{
    if (ix->opt.max_memory == 0)
        return ANN_OK;
    uint64_t bytes, peak;
    const uint64_t n = (uint64_t)ix->vec.slots + fresh;
    const ann_err err = ann_memory_estimate(&ix->opt, n, &bytes, &peak);
    if (err)
        return err;
    if (peak > ix->opt.max_memory)
        return ANN_FAIL(ANN_ELIMIT, "%llu vectors take up to %llu bytes, max_memory is %llu",
                        (unsigned long long)n, (unsigned long long)peak,
                        (unsigned long long)ix->opt.max_memory);
    return ANN_OK;
}

/* Puts other codes in place: between two searches, which see the old ones or the new. */
static void swap_codes(struct adding *a)
{
    ann_index *ix = a->ix;
    pthread_rwlock_wrlock(&ix->gate);
    vectors_swap_codes(&ix->vec, &a->before);
    if (ix->kind->recoded)
        ix->kind->recoded(ix->state);
    pthread_rwlock_unlock(&ix->gate);
}

/* Codes that suit what comes too. */
static ann_err train_codes(struct adding *a, const struct kind_job *job)
{
    const ann_err err = vectors_train_codes(&a->ix->vec, a->view, job->pool, &a->before);
    if (!err && a->before.type)
        swap_codes(a);
    a->max_error = a->ix->vec.codes.max_error;
    return err;
}

/* What an add that failed did to the codes. */
static void untrain_codes(struct adding *a)
{
    if (a->before.type) {
        swap_codes(a);
        return;
    }
    pthread_rwlock_wrlock(&a->ix->gate);
    a->ix->vec.codes.max_error = a->max_error;
    pthread_rwlock_unlock(&a->ix->gate);
}

/* Room for all, and the slots. */
static ann_err take_slots(struct adding *a, const struct kind_job *job)
{
    ann_index *ix = a->ix;
    const uint32_t fresh = a->n > ix->vec.free ? a->n - ix->vec.free : 0;
    a->slots = mem_alloc(a->n * sizeof *a->slots);
    a->scratch_each = vectors_scratch(&ix->vec) + 1;
    a->scratch = mem_zalloc(pool_threads(job->pool), a->scratch_each * sizeof *a->scratch);
    if (!a->slots || !a->scratch)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %u slots", a->n);
    ann_err err = check_memory(ix, fresh);
    if (err)
        return err;
    const bool identity = keeps_identity(a);
    pthread_rwlock_wrlock(&ix->gate);
    err = vectors_reserve(&ix->vec, a->n);
    if (!err) /* should they come back */
        err = codes_reserve(&a->before, ix->vec.slots + fresh);
    if (!err)
        err = idmap_reserve(&ix->ids, &ix->vec, ix->vec.slots + fresh, a->n, identity);
    if (!err)
        err = ix->kind->reserve(ix->state, ix->vec.slots + fresh, job);
    if (!err) {
        ix->vec.adds++;
        for (size_t i = 0; i < a->n; i++)
            a->slots[i] = vectors_take_slot(&ix->vec);
        codes_resize(&a->before, ix->vec.slots);
    }
    pthread_rwlock_unlock(&ix->gate);
    return err;
}

static void put_vector(void *arg, size_t i, unsigned worker)
{
    struct adding *a = arg;
    float *scratch = a->scratch + worker * a->scratch_each;
    float *largest = scratch + a->scratch_each - 1;
    const float error = vectors_put(&a->ix->vec, a->slots[i], a->view, i, scratch);
    *largest = error > *largest ? error : *largest;
}

/* All vectors, and what is known of their codes. */
static void put_vectors(struct adding *a, struct pool *pool)
{
    struct codes *c = &a->ix->vec.codes;
    pool_for(pool, a->n, 256, put_vector, a);
    if (c->type == CODE_NONE)
        return;
    pthread_rwlock_wrlock(&a->ix->gate);
    for (unsigned t = 0; t < pool_threads(pool); t++) {
        const float error = a->scratch[(t + 1) * a->scratch_each - 1];
        c->max_error = error > c->max_error ? error : c->max_error;
    }
    pthread_rwlock_unlock(&a->ix->gate);
}

/* All is linked: the new come alive, the replaced die, in one moment. */
static void publish(struct adding *a)
{
    ann_index *ix = a->ix;
    pthread_rwlock_wrlock(&ix->gate);
    for (size_t i = 0; i < a->n; i++) {
        const uint32_t old = a->replaced ? a->replaced[i] : SLOT_NONE;
        if (old != SLOT_NONE) {
            idmap_remove(&ix->ids, adding_id(a, i));
            vectors_set_live(&ix->vec, old, false);
            ix->kind->remove(ix->state, &old, 1);
        }
        vectors_set_live(&ix->vec, a->slots[i], true);
        idmap_put(&ix->ids, a->slots[i], adding_id(a, i));
    }
    calibration_changed(&ix->calibration, a->n);
    pthread_rwlock_unlock(&ix->gate);
}

/* For an update: where the ids are now. */
static ann_err find_replaced(struct adding *a)
{
    ann_index *ix = a->ix;
    a->replaced = mem_alloc(a->n * sizeof *a->replaced);
    if (!a->replaced)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %u slots", a->n);
    for (size_t i = 0; i < a->n; i++)
        a->replaced[i] = idmap_find(&ix->ids, &ix->vec, a->ids[i]);
    return ANN_OK;
}

/* What the kind left to the first vectors. */
static ann_err settle(ann_index *ix, const ann_view *first, const struct kind_job *job)
{
    if (!ix->kind->settle || ix->vec.slots > 0)
        return ANN_OK;
    const ann_err err = ix->kind->settle(ix->state, first, job);
    if (!err)
        index_take_options(ix);
    return err;
}

static ann_err add_locked(struct adding *a, bool update)
{
    ann_index *ix = a->ix;
    struct pool *pool;
    ann_err err = check_adding(a, update);
    if (!err)
        err = index_pool(ix, &ix->write_pool, &pool);
    if (err || a->n == 0)
        return err;
    const struct kind_job job = {pool, &ix->gate, ix->opt.progress, ix->opt.progress_arg,
                                 a->view};
    if (update)
        err = find_replaced(a);
    if (!err)
        err = settle(ix, a->view, &job);
    if (!err)
        err = train_codes(a, &job);
    if (err)
        return err;
    err = take_slots(a, &job);
    if (!err) {
        put_vectors(a, pool);
        err = ix->kind->add(ix->state, a->slots, a->n, &job);
    }
    if (err) {
        untrain_codes(a);
        return err;
    }
    publish(a);
    if (update) /* sweeps what was replaced if enough has come together; failing now, later */
        (void)ix->kind->sweep(ix->state, false, &job);
    return ANN_OK;
}

static ann_err add_or_update(ann_index *ix, ann_view v, const ann_id *ids, bool update)
{
    if (!ix)
        return ANN_FAIL(ANN_EINVAL, "index is NULL");
    if (update && !ids && v.n > 0)
        return ANN_FAIL(ANN_EINVAL, "ids is NULL: an update names what it replaces");
    ann_err err = index_ids_ready(ix);
    if (err)
        return err;
    struct adding a = {.ix = ix, .view = &v, .ids = ids, .n = (uint32_t)v.n};
    pthread_mutex_lock(&ix->writer);
    err = add_locked(&a, update);
    pthread_mutex_unlock(&ix->writer);
    mem_free(a.slots);
    mem_free(a.replaced);
    mem_free(a.scratch);
    codes_free(&a.before);
    return err;
}

ann_err ann_add(ann_index *ix, ann_view v, const ann_id *ids)
{
    return add_or_update(ix, v, ids, false);
}

ann_err ann_update(ann_index *ix, ann_view v, const ann_id *ids)
{
    return add_or_update(ix, v, ids, true);
}

ann_err ann_train(ann_index *ix, ann_view sample)
{
    if (!ix)
        return ANN_FAIL(ANN_EINVAL, "index is NULL");
    struct pool *pool;
    pthread_mutex_lock(&ix->writer);
    ann_err err = vectors_check(&ix->vec, &sample, "vector");
    if (!err && ix->kind->train)
        err = index_pool(ix, &ix->write_pool, &pool);
    if (!err && ix->kind->train) {
        const struct kind_job job = {pool, &ix->gate, ix->opt.progress, ix->opt.progress_arg,
                                     &sample};
        err = ix->kind->train(ix->state, &sample, &job);
        if (!err && ix->vec.live == 0)
            ix->calibration.n = 0;
        if (!err)
            index_take_options(ix);
    }
    pthread_mutex_unlock(&ix->writer);
    return err;
}

/* ---- removing ---- */

/* Slots of the ids that are there, each once; *n of them. */
static ann_err find_slots(const ann_index *ix, size_t n, const ann_id *ids, uint32_t *slots,
                          size_t *found)
{
    uint64_t *seen = mem_zalloc(1, bitmap_bytes(ix->vec.slots));
    if (!seen)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %u slots", ix->vec.slots);
    *found = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t slot = idmap_find(&ix->ids, &ix->vec, ids[i]);
        if (slot == SLOT_NONE || (seen[slot >> 6] >> (slot & 63) & 1))
            continue;
        seen[slot >> 6] |= UINT64_C(1) << (slot & 63);
        slots[(*found)++] = slot;
    }
    mem_free(seen);
    return ANN_OK;
}

static ann_err remove_locked(ann_index *ix, const uint32_t *slots, size_t n,
                             const struct kind_job *job)
{
    if (n == 0)
        return ANN_OK;
    pthread_rwlock_wrlock(&ix->gate);
    ann_err err = vectors_reserve(&ix->vec, 0); /* a mapped file is copied */
    if (!err)
        err = ix->kind->reserve(ix->state, ix->vec.slots, job);
    if (!err) {
        for (size_t i = 0; i < n; i++) {
            idmap_remove(&ix->ids, idmap_id(&ix->ids, slots[i]));
            vectors_set_live(&ix->vec, slots[i], false);
        }
        ix->kind->remove(ix->state, slots, n);
        calibration_changed(&ix->calibration, n);
    }
    pthread_rwlock_unlock(&ix->gate);
    if (!err) /* they are gone; if the repair fails for memory, the next one does it */
        (void)ix->kind->sweep(ix->state, false, job);
    return err;
}

ann_err ann_remove(ann_index *ix, size_t n, const ann_id *ids, size_t *removed)
{
    if (!ix || (n > 0 && !ids))
        return ANN_FAIL(ANN_EINVAL, "%s is NULL", ix ? "ids" : "index");
    ann_err err = index_ids_ready(ix);
    if (err)
        return err;
    struct pool *pool;
    size_t found = 0;
    uint32_t *slots = mem_alloc(n * sizeof *slots);
    if (!slots)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %zu slots", n);
    pthread_mutex_lock(&ix->writer);
    err = index_pool(ix, &ix->write_pool, &pool);
    if (!err)
        err = find_slots(ix, n, ids, slots, &found);
    if (!err) {
        const struct kind_job job = {pool, &ix->gate, NULL, NULL, NULL};
        err = remove_locked(ix, slots, found, &job);
    }
    pthread_mutex_unlock(&ix->writer);
    mem_free(slots);
    if (!err && removed)
        *removed = found;
    return err;
}

/* New numbers for the live slots, under the gate. */
static ann_err renumber(ann_index *ix)
{
    struct vectors *v = &ix->vec;
    const uint32_t old_slots = v->slots;
    uint32_t *new_slot = mem_alloc(old_slots * sizeof *new_slot);
    if (!new_slot)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %u slots", old_slots);
    uint32_t kept = 0;
    for (uint32_t s = 0; s < old_slots; s++)
        new_slot[s] = vectors_is_live(v, s) ? kept++ : SLOT_NONE;
    const ann_err err = idmap_renumber(&ix->ids, new_slot, old_slots, kept);
    if (!err) {
        vectors_renumber(v, new_slot, kept);
        ix->kind->renumber(ix->state, new_slot, old_slots, kept);
        ix->compactions++;
    }
    mem_free(new_slot);
    return err;
}

ann_err ann_compact(ann_index *ix)
{
    if (!ix)
        return ANN_FAIL(ANN_EINVAL, "index is NULL");
    struct pool *pool;
    ann_err err = index_ids_ready(ix);
    pthread_mutex_lock(&ix->writer);
    if (!err)
        err = index_pool(ix, &ix->write_pool, &pool);
    if (!err) {
        const struct kind_job job = {pool, &ix->gate, NULL, NULL, NULL};
        err = ix->kind->sweep(ix->state, true, &job);
        pthread_rwlock_wrlock(&ix->gate);
        if (!err && ix->vec.live < ix->vec.slots) {
            err = vectors_reserve(&ix->vec, 0);
            if (!err)
                err = ix->kind->reserve(ix->state, ix->vec.slots, &job);
            if (!err)
                err = renumber(ix);
        }
        pthread_rwlock_unlock(&ix->gate);
    }
    pthread_mutex_unlock(&ix->writer);
    return err;
}

/* ---- looking ---- */

ann_err ann_get(const ann_index *ix, ann_id id, float *vec)
{
    if (!ix || !vec)
        return ANN_FAIL(ANN_EINVAL, "%s is NULL", ix ? "vec" : "index");
    ann_err err = index_ids_ready(ix);
    if (err)
        return err;
    pthread_rwlock_t *gate = index_gate(ix);
    pthread_rwlock_rdlock(gate);
    const uint32_t slot = idmap_find(&ix->ids, &ix->vec, id);
    if (slot == SLOT_NONE)
        err = ANN_FAIL(ANN_ENOENT, "id %llu is not in the index", (unsigned long long)id);
    else if (ix->vec.store == ANN_NONE)
        err = ANN_FAIL(ANN_ENOTSUP, "the index keeps codes alone, no vectors (store=none)");
    else
        vectors_get(&ix->vec, slot, vec);
    pthread_rwlock_unlock(gate);
    return err;
}

int ann_contains(const ann_index *ix, ann_id id)
{
    if (!ix || index_ids_ready(ix))
        return 0;
    pthread_rwlock_t *gate = index_gate(ix);
    pthread_rwlock_rdlock(gate);
    const int there = idmap_find(&ix->ids, &ix->vec, id) != SLOT_NONE;
    pthread_rwlock_unlock(gate);
    return there;
}

ann_err ann_ids(const ann_index *ix, uint64_t *cursor, size_t n, ann_id *ids, size_t *got)
{
    if (!ix || !cursor || !got || (n > 0 && !ids))
        return ANN_FAIL(ANN_EINVAL, "an argument is NULL");
    pthread_rwlock_t *gate = index_gate(ix);
    pthread_rwlock_rdlock(gate);
    size_t count = 0;
    uint64_t slot = *cursor;
    for (; slot < ix->vec.slots && count < n; slot++)
        if (vectors_is_live(&ix->vec, (uint32_t)slot))
            ids[count++] = idmap_id(&ix->ids, (uint32_t)slot);
    *cursor = slot;
    *got = count;
    pthread_rwlock_unlock(gate);
    return ANN_OK;
}

ann_err ann_index_info(const ann_index *ix, ann_info *info)
{
    if (!ix || !info)
        return ANN_FAIL(ANN_EINVAL, "%s is NULL", ix ? "info" : "index");
    if (info->size < offsetof(ann_info, count) || info->size > 4096)
        return ANN_FAIL(ANN_EINVAL, "info.size is %zu: set it to ANN_INFO_SIZE", info->size);
    pthread_rwlock_t *gate = index_gate(ix);
    pthread_rwlock_rdlock(gate);
    const struct vectors *v = &ix->vec;
    ann_info full = {
        .size = info->size,
        .kind = ix->opt.kind,
        .metric = v->metric,
        .store = v->store,
        .dim = v->dim,
        .seed = ix->opt.seed,
        .count = v->live,
        .slots = v->slots,
        .memory_bytes = sizeof *ix + buf_held(&v->data) + buf_held(&v->live_map) +
                        buf_held(&v->born) + buf_held(&v->free_list) + buf_held(&ix->ids.ids) +
                        buf_held(&ix->ids.table) + codes_held(&v->codes),
        .mapped_bytes = ix->file ? kfile_mapped_bytes(ix->file) : 0,
        .vector_bytes = v->data.bytes,
        .id_bytes = ix->ids.ids.bytes + ix->ids.table.bytes,
        .isa = v->ops->name,
        .profile = ix->opt.profile,
        .codes = v->codes.type == CODE_SQ8   ? ANN_CODES_SQ8
                 : v->codes.type == CODE_SQ4 ? ANN_CODES_SQ4
                                             : ANN_CODES_NONE,
        .code_bytes = v->codes.data.bytes + v->codes.norms.bytes,
        .calibrated_recall = calibration_best(&ix->calibration),
    };
    ix->kind->info(ix->state, &full);
    pthread_rwlock_unlock(gate);
    memcpy(info, &full, info->size < sizeof full ? info->size : sizeof full);
    return ANN_OK;
}

ann_err ann_memory_estimate(const ann_options *given, uint64_t n, uint64_t *bytes,
                            uint64_t *peak)
{
    ann_options o;
    struct vectors v;
    if (!bytes)
        return ANN_FAIL(ANN_EINVAL, "bytes is NULL");
    ann_err err = options_resolve(given, &o);
    if (err)
        return err;
    err = vectors_init(&v, o.metric, o.store, o.dim, choose_codes(&o), o.seed);
    const uint64_t code = v.codes.type ? v.codes.stride + sizeof(int32_t) : 0;
    vectors_free(&v);
    if (err)
        return err;
    if (n > SLOTS_MAX)
        return ANN_FAIL(ANN_ELIMIT, "%llu vectors: an index holds at most %u",
                        (unsigned long long)n, SLOTS_MAX);
    uint64_t extra;
    const uint64_t own =
        n * (v.stride + code) + n / 8 + index_kind(o.kind)->estimate(&o, n, &extra);
    /* Under ip all codes may have to be made again at any size. */
    const uint64_t again = o.metric == ANN_IP ? n * code : 0;
    *bytes = own;
    if (peak)
        *peak = own + extra + again + n * sizeof(uint32_t);
    return ANN_OK;
}
