/* index_file.c - saving, opening and checking an index.
 *
 * Place: front door.  The container (ann/file) knows sections; here is which of them every kind
 * has: "vectors" [slots, stride], "live" (the bitmap) and, unless every id is its slot, "ids";
 * where there are codes, "frame", "codes" and "norms". */
#include <config.h>

#include <string.h>

#include "ann/base/error.h"
#include "ann/internal.h"

/* Numbers of the params of hnsw and ivfpq that say what their vectors are; the others are the
 * kinds' own. */
enum { PARAM_PROFILE = 6, PARAM_CODES, PARAM_CODE_TYPE };

#define COMMON_PARTS 6

/* ---- saving ---- */

/* frame: [codes_frame_bytes], written here. */
static size_t common_parts(const ann_index *ix, void *frame, struct kfile_part *parts)
{
    const struct vectors *v = &ix->vec;
    const struct codes *c = &v->codes;
    size_t n = 0;
    if (v->stride > 0)
        parts[n++] = (struct kfile_part){"vectors", v->data.data, v->slots, v->stride};
    if (c->type) {
        codes_frame_write(c, frame);
        parts[n++] = (struct kfile_part){"frame", frame, codes_frame_bytes(c), 1};
        parts[n++] = (struct kfile_part){"codes", c->data.data, v->slots, c->stride};
        parts[n++] = (struct kfile_part){"norms", c->norms.data, v->slots, sizeof(int32_t)};
    }
    parts[n++] = (struct kfile_part){"live", v->live_map.data, ((uint64_t)v->slots + 63) / 64,
                                     sizeof(uint64_t)};
    if (ix->ids.ids.bytes > 0)
        parts[n++] = (struct kfile_part){"ids", ix->ids.ids.data, v->slots, sizeof(ann_id)};
    return n;
}

static ann_err save_locked(ann_index *ix, const char *path)
{
    const struct vectors *v = &ix->vec;
    struct kfile_part parts[COMMON_PARTS + KIND_PARTS + 1];
    struct kfile_meta meta = {
        .kind = ix->opt.kind,
        .metric = v->metric,
        .dtype = v->store,
        .dim = v->dim,
        .slots = v->slots,
        .live = v->live,
        .seed = ix->opt.seed,
        .next_id = ix->ids.next,
    };
    void *frame = mem_alloc(codes_frame_bytes(&v->codes));
    if (!frame)
        return ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", codes_frame_bytes(&v->codes));
    size_t n = common_parts(ix, frame, parts);
    n += ix->kind->save(ix->state, &meta, parts + n);
    n += calibration_part(&ix->calibration, parts + n);
    if (ix->opt.kind != ANN_FLAT) {
        meta.params[PARAM_PROFILE] = ix->opt.profile;
        meta.params[PARAM_CODES] = ix->opt.codes;
        meta.params[PARAM_CODE_TYPE] = v->codes.type;
    }
    const ann_err err =
        kfile_save(path, &meta, parts, n, ix->opt.progress, ix->opt.progress_arg);
    mem_free(frame);
    return err;
}

ann_err ann_save(ann_index *ix, const char *path)
{
    if (!ix || !path)
        return ANN_FAIL(ANN_EINVAL, "%s is NULL", ix ? "path" : "index");
    struct pool *pool;
    pthread_mutex_lock(&ix->writer);
    ann_err err = index_pool(ix, &ix->write_pool, &pool);
    if (!err) {
        const struct kind_job job = {pool, &ix->gate, NULL, NULL, NULL};
        err = ix->kind->sweep(ix->state, true, &job);
    }
    if (!err) { /* a search changes nothing: it may go on */
        pthread_rwlock_rdlock(&ix->gate);
        err = save_locked(ix, path);
        pthread_rwlock_unlock(&ix->gate);
    }
    pthread_mutex_unlock(&ix->writer);
    return err;
}

/* ---- opening ---- */

/* What a file says of codes; one from before there were any says 0. */
static ann_err read_codes(const struct kfile_meta *meta, ann_options *o, enum code_type *codes)
{
    const uint64_t *p = meta->params;
    const bool none = o->store == ANN_NONE, floats = none || dtype_is_float(o->store);
    o->profile = ANN_PROFILE_BALANCED;
    o->codes = ANN_CODES_NONE;
    *codes = CODE_NONE;
    if (o->kind != ANN_FLAT && p[PARAM_PROFILE] > 0) {
        if (p[PARAM_PROFILE] > ANN_PROFILE_LEAN || p[PARAM_CODES] > ANN_CODES_4BIT ||
            p[PARAM_CODE_TYPE] > CODE_SQ4)
            return ANN_FAIL(
                ANN_EDAMAGED, "header: profile is %llu, codes %llu, their type %llu",
                (unsigned long long)p[PARAM_PROFILE], (unsigned long long)p[PARAM_CODES],
                (unsigned long long)p[PARAM_CODE_TYPE]);
        o->profile = (ann_profile)p[PARAM_PROFILE];
        o->codes = (ann_codes)p[PARAM_CODES];
        *codes = (enum code_type)p[PARAM_CODE_TYPE];
    }
    const bool bits = o->codes >= ANN_CODES_1BIT;
    if (none != (o->profile == ANN_PROFILE_LEAN) || (*codes && !floats) ||
        (o->codes == ANN_CODES_NONE) != (*codes == CODE_NONE) ||
        (*codes == CODE_NONE && o->profile != ANN_PROFILE_BALANCED && o->kind != ANN_IVFPQ) ||
        (o->codes && bits != (o->profile == ANN_PROFILE_FAST)))
        return ANN_FAIL(ANN_EDAMAGED, "header: profile %d over %s vectors with codes %d, %d",
                        (int)o->profile, dtype_name(o->store), (int)o->codes, (int)*codes);
    return ANN_OK;
}

static ann_err read_meta(const struct kfile_meta *meta, ann_options *o, enum code_type *codes)
{
    if (meta->kind < ANN_FLAT || meta->kind > ANN_IVFPQ)
        return ANN_FAIL(ANN_EDAMAGED, "header: kind is %llu", (unsigned long long)meta->kind);
    if (meta->metric < ANN_L2 || meta->metric > ANN_HAMMING || meta->dtype < ANN_F32 ||
        meta->dtype > ANN_NONE || (meta->metric == ANN_HAMMING) != (meta->dtype == ANN_B1))
        return ANN_FAIL(ANN_EDAMAGED, "header: metric is %llu, dtype %llu",
                        (unsigned long long)meta->metric, (unsigned long long)meta->dtype);
    if (meta->dim < 1 || meta->dim > ANN_DIM_MAX)
        return ANN_FAIL(ANN_EDAMAGED, "header: dim is %llu", (unsigned long long)meta->dim);
    if (meta->slots > SLOTS_MAX || meta->live > meta->slots || meta->next_id < meta->live)
        return ANN_FAIL(ANN_EDAMAGED, "header: %llu live of %llu slots, next id %llu",
                        (unsigned long long)meta->live, (unsigned long long)meta->slots,
                        (unsigned long long)meta->next_id);
    o->kind = (ann_kind)meta->kind;
    o->metric = (ann_metric)meta->metric;
    o->store = (ann_dtype)meta->dtype;
    o->dim = (uint32_t)meta->dim;
    o->seed = meta->seed;
    return read_codes(meta, o, codes);
}

/* The bitmap agrees with the header and has no bits behind the last slot. */
static ann_err check_live(const struct vectors *v, const struct kfile_meta *meta)
{
    const uint64_t *words = v->live_map.data;
    const size_t n = ((size_t)v->slots + 63) / 64;
    uint64_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += (uint64_t)__builtin_popcountll(words[i]);
    if (count != meta->live)
        return ANN_FAIL(ANN_EDAMAGED, "section live: %llu bits, the header says %llu",
                        (unsigned long long)count, (unsigned long long)meta->live);
    if (v->slots % 64 && words[n - 1] >> (v->slots % 64))
        return ANN_FAIL(ANN_EDAMAGED, "section live: bits behind slot %u", v->slots - 1);
    return ANN_OK;
}

/* Every id is one and below the next; without an ids section the ids are the slots. */
static ann_err check_ids(const ann_index *ix)
{
    const struct vectors *v = &ix->vec;
    for (uint32_t s = 0; s < v->slots; s++) {
        const ann_id id = idmap_id(&ix->ids, s);
        if (vectors_is_live(v, s) && (id == ANN_NO_ID || id >= ix->ids.next))
            return ANN_FAIL(ANN_EDAMAGED, "ids: slot %u has id %llu, the next is %llu", s,
                            (unsigned long long)id, (unsigned long long)ix->ids.next);
    }
    return ANN_OK;
}

static ann_err take_codes(struct codes *c, struct kfile *f)
{
    const struct kfile_meta *meta = kfile_meta(f);
    struct buf frame = {0};
    ann_err err = kfile_take(f, "frame", codes_frame_bytes(c), 1, &frame);
    if (!err)
        err = codes_frame_read(c, frame.data);
    buf_free(&frame);
    if (!err && meta->live > 0 && c->frame.trained == 0)
        err = ANN_FAIL(ANN_EDAMAGED, "section frame: nothing was learned of %llu vectors",
                       (unsigned long long)meta->live);
    if (!err)
        err = kfile_take(f, "codes", meta->slots, c->stride, &c->data);
    if (!err)
        err = kfile_take(f, "norms", meta->slots, sizeof(int32_t), &c->norms);
    return err;
}

static ann_err take_common(ann_index *ix, struct kfile *f)
{
    const struct kfile_meta *meta = kfile_meta(f);
    struct vectors *v = &ix->vec;
    uint64_t rows;
    ann_err err = ANN_OK;
    if (v->stride > 0)
        err = kfile_take(f, "vectors", meta->slots, v->stride, &v->data);
    if (!err && v->codes.type)
        err = take_codes(&v->codes, f);
    if (!err)
        err = kfile_take(f, "live", (meta->slots + 63) / 64, sizeof(uint64_t), &v->live_map);
    if (!err && kfile_has(f, "ids", &rows))
        err = kfile_take(f, "ids", meta->slots, sizeof(ann_id), &ix->ids.ids);
    if (err)
        return err;
    v->slots = (uint32_t)meta->slots;
    v->live = (uint32_t)meta->live;
    ix->ids.next = meta->next_id;
    return check_live(v, meta);
}

/* Everything of f into a new index. */
static ann_err index_from(struct kfile *f, const ann_open_options *o, ann_index **out)
{
    ann_options options = ANN_OPTIONS_INIT, resolved;
    const struct kfile_meta *meta = kfile_meta(f);
    ann_index *ix = NULL;
    enum code_type codes = CODE_NONE;
    ann_err err = read_meta(meta, &options, &codes);
    options.threads = o->threads;
    options.max_memory = o->max_memory;
    options.progress = o->progress;
    options.progress_arg = o->progress_arg;
    if (!err)
        err = options_resolve(&options, &resolved);
    if (!err)
        err = index_new(&resolved, codes, &ix);
    if (!err)
        err = take_common(ix, f);
    if (!err)
        err = ix->kind->load(meta, f, &ix->vec, &ix->state);
    if (!err)
        err = calibration_take(f, &ix->calibration);
    if (!err && o->mode == ANN_OPEN_LOAD) {
        err = check_ids(ix);
        if (!err)
            err = vectors_verify(&ix->vec);
        if (!err)
            err = index_ids_ready(ix);
    }
    if (err) {
        ann_close(ix);
        return err;
    }
    index_take_options(ix);
    *out = ix;
    return ANN_OK;
}

ann_err ann_open(const char *path, const ann_open_options *given, ann_index **out)
{
    ann_open_options o = ANN_OPEN_OPTIONS_INIT;
    struct kfile *f = NULL;
    if (!path || !out)
        return ANN_FAIL(ANN_EINVAL, "%s is NULL", path ? "out" : "path");
    if (given && (given->size < sizeof(size_t) || given->size > 4096))
        return ANN_FAIL(ANN_EINVAL, "options.size is %zu: use ANN_OPEN_OPTIONS_INIT",
                        given->size);
    if (given)
        memcpy(&o, given, given->size < sizeof o ? given->size : sizeof o);
    if ((unsigned)o.mode > ANN_OPEN_MAP)
        return ANN_FAIL(ANN_EINVAL, "no such open mode: %d", (int)o.mode);
    ann_err err = kfile_open(path, o.mode, o.max_memory, o.progress, o.progress_arg, &f);
    if (err)
        return err;
    ann_index *ix = NULL;
    err = index_from(f, &o, &ix);
    if (err) {
        kfile_close(f);
        return err == ANN_EDAMAGED ? error_prefix(err, path) : err;
    }
    if (o.mode == ANN_OPEN_MAP) {
        ix->file = f;
    } else {
        kfile_close(f);
        index_tune(ix, INDEX_TUNE_BYTES);
    }
    *out = ix;
    return ANN_OK;
}

/* ---- looking without opening, and checking ---- */

ann_err ann_file_info_read(const char *path, ann_file_info *info)
{
    struct kfile_meta meta;
    if (!path || !info)
        return ANN_FAIL(ANN_EINVAL, "%s is NULL", path ? "info" : "path");
    if (info->size < sizeof(size_t) || info->size > 4096)
        return ANN_FAIL(ANN_EINVAL, "info.size is %zu", info->size);
    ann_file_info full = {.size = info->size};
    const ann_err err = kfile_read_header(path, &meta, &full);
    if (err)
        return err;
    if (meta.kind == ANN_HNSW) {
        full.m = (uint32_t)meta.params[0];
        full.ef_construction = (uint32_t)meta.params[1];
        full.max_level = (uint32_t)meta.params[3];
    }
    if (meta.kind == ANN_IVFPQ) {
        full.nlist = (uint32_t)meta.params[0];
        full.pq_m = (uint32_t)meta.params[1];
        full.pq_bits = (uint32_t)meta.params[2];
    }
    memcpy(info, &full, info->size < sizeof full ? info->size : sizeof full);
    return ANN_OK;
}

ann_err ann_file_section(const char *path, uint32_t i, ann_section_info *info)
{
    if (!path || !info)
        return ANN_FAIL(ANN_EINVAL, "%s is NULL", path ? "info" : "path");
    return kfile_read_section(path, i, info);
}

ann_err ann_check(const ann_index *ix, ann_check_level level)
{
    if (!ix)
        return ANN_FAIL(ANN_EINVAL, "index is NULL");
    if (level < ANN_CHECK_SUMS || level > ANN_CHECK_REACHABLE)
        return ANN_FAIL(ANN_EINVAL, "no such check level: %d", (int)level);
    ann_index *self = (ann_index *)(uintptr_t)ix;
    ann_err err = ANN_OK;
    pthread_mutex_lock(&self->writer);
    pthread_rwlock_rdlock(&self->gate);
    if (ix->file)
        err = kfile_verify(ix->file, NULL, NULL);
    if (!err && level >= ANN_CHECK_STRUCTURE)
        err = vectors_verify(&ix->vec);
    if (!err && level >= ANN_CHECK_STRUCTURE)
        err = check_ids(ix);
    if (!err && level >= ANN_CHECK_STRUCTURE)
        err = ix->kind->check(ix->state, level);
    pthread_rwlock_unlock(&self->gate);
    pthread_mutex_unlock(&self->writer);
    if (!err && level >= ANN_CHECK_STRUCTURE)
        err = index_ids_ready(ix);
    return err;
}
