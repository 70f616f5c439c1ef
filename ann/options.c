/* options.c - the options of an index: defaults, bounds, and the spec string that names them.
 *
 * Place: front door.  One table says every key, so that what is parsed is what is printed. */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/hnsw/hnsw.h"
#include "ann/internal.h"

/* A named value's fields are enums, which are kept as int. */
enum field_type {
    FIELD_U32,
    FIELD_U64,
    FIELD_REAL, /* strictly between 0 and 1 */
    FIELD_METRIC,
    FIELD_STORE,
    FIELD_PROFILE,
    FIELD_CODES,
    FIELD_ROTATION,
    FIELD_PQ_OF
};

static const struct field {
    const char *key;
    enum field_type type;
    size_t offset;
    uint64_t min, max;
} fields[] = {
    {"metric", FIELD_METRIC, offsetof(ann_options, metric), 0, 0},
    {"store", FIELD_STORE, offsetof(ann_options, store), 0, 0},
    {"profile", FIELD_PROFILE, offsetof(ann_options, profile), 0, 0},
    {"codes", FIELD_CODES, offsetof(ann_options, codes), 0, 0},
    {"dim", FIELD_U32, offsetof(ann_options, dim), 1, ANN_DIM_MAX},
    {"m", FIELD_U32, offsetof(ann_options, m), ANN_M_MIN, ANN_M_MAX},
    {"ef_construction", FIELD_U32, offsetof(ann_options, ef_construction),
     ANN_EF_CONSTRUCTION_MIN, ANN_EF_CONSTRUCTION_MAX},
    {"nlist", FIELD_U32, offsetof(ann_options, nlist), 1, ANN_NLIST_MAX},
    {"pq_m", FIELD_U32, offsetof(ann_options, pq_m), 1, ANN_DIM_MAX},
    {"pq_bits", FIELD_U32, offsetof(ann_options, pq_bits), 4, 8},
    {"rotation", FIELD_ROTATION, offsetof(ann_options, rotation), 0, 0},
    {"pq_of", FIELD_PQ_OF, offsetof(ann_options, pq_of), 0, 0},
    {"soar", FIELD_U32, offsetof(ann_options, soar), 0, 1},
    {"anisotropic", FIELD_REAL, offsetof(ann_options, anisotropic), 0, 0},
    {"seed", FIELD_U64, offsetof(ann_options, seed), 0, UINT64_MAX},
    {"threads", FIELD_U32, offsetof(ann_options, threads), 1, 1024},
    {"max_memory", FIELD_U64, offsetof(ann_options, max_memory), 0, UINT64_MAX},
};

#define FIELDS (sizeof fields / sizeof *fields)

static const char *const kind_names[] = {"default", "flat", "hnsw", "ivfpq"};
static const char *const profile_names[] = {"default", "balanced", "fast", "lean"};
static const char *const codes_names[] = {"auto", "none", "sq8",  "sq4",
                                          "1bit", "2bit", "3bit", "4bit"};
static const char *const rotation_names[] = {"auto", "none", "random", "opq"};
static const char *const pq_of_names[] = {"auto", "residual", "direct"};

static void *field_at(ann_options *o, const struct field *f)
{
    return (char *)o + f->offset;
}

/* The number of a name among names [n] (from 1), or 0. */
static int name_index(const char *const *names, int n, const char *name, size_t len)
{
    for (int i = 1; i < n; i++)
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
            return i;
    return 0;
}

static int metric_of(const char *name, size_t len)
{
    for (int i = ANN_L2; i <= ANN_HAMMING; i++)
        if (strlen(metric_name(i)) == len && memcmp(metric_name(i), name, len) == 0)
            return i;
    return 0;
}

static int store_of(const char *name, size_t len)
{
    for (int i = ANN_F32; i <= ANN_NONE; i++)
        if (strlen(dtype_name(i)) == len && memcmp(dtype_name(i), name, len) == 0)
            return i;
    return 0;
}

/* A decimal number within the field's bounds. */
static ann_err parse_number(const struct field *f, const char *text, size_t len, uint64_t *out)
{
    char digits[24];
    uint64_t value = 0;
    bool ok = len > 0 && len < sizeof digits;
    if (ok) {
        memcpy(digits, text, len);
        digits[len] = '\0';
        ok = strspn(digits, "0123456789") == len;
        for (size_t i = 0; i < len && ok; i++)
            ok = !__builtin_mul_overflow(value, UINT64_C(10), &value) &&
                 !__builtin_add_overflow(value, (uint64_t)(digits[i] - '0'), &value);
    }
    if (!ok)
        return ANN_FAIL(ANN_EINVAL, "spec: %s=%.*s is not a number", f->key, (int)len, text);
    if (value < f->min || value > f->max)
        return ANN_FAIL(ANN_EINVAL, "spec: %s=%" PRIu64 " is not in %" PRIu64 "..%" PRIu64,
                        f->key, value, f->min, f->max);
    *out = value;
    return ANN_OK;
}

/* The same with names[0], which means 0; -1: none of them. */
static int name_of(const char *const *names, int n, const char *name, size_t len)
{
    const int i = name_index(names, n, name, len);
    if (i > 0 || (strlen(names[0]) == len && memcmp(names[0], name, len) == 0))
        return i;
    return -1;
}

static ann_err parse_real(const struct field *f, const char *text, size_t len, double *out)
{
    char digits[32] = "", *end = digits;
    double value = 0;
    if (len > 0 && len < sizeof digits && strspn(text, "0123456789.") >= len) {
        memcpy(digits, text, len);
        value = strtod(digits, &end);
    }
    if (end == digits || *end || !(value > 0 && value < 1))
        return ANN_FAIL(ANN_EINVAL, "spec: %s=%.*s is not between 0 and 1", f->key, (int)len,
                        text);
    *out = value;
    return ANN_OK;
}

static ann_err parse_name(ann_options *o, const struct field *f, const char *value, size_t len)
{
    int n = 0;
    switch (f->type) {
    case FIELD_METRIC: o->metric = (ann_metric)(n = metric_of(value, len)); break;
    case FIELD_STORE: o->store = (ann_dtype)(n = store_of(value, len)); break;
    case FIELD_PROFILE:
        o->profile = (ann_profile)(n = name_index(profile_names, 4, value, len));
        break;
    case FIELD_ROTATION:
        n = name_of(rotation_names, 4, value, len);
        o->rotation = (ann_rotation)n;
        n++;
        break;
    case FIELD_PQ_OF:
        n = name_of(pq_of_names, 3, value, len);
        o->pq_of = (ann_pq_of)n;
        n++;
        break;
    default:
        n = name_of(codes_names, 8, value, len);
        o->codes = (ann_codes)n;
        n++;
    }
    if (n == 0)
        return ANN_FAIL(ANN_EINVAL, "spec: no such %s: %.*s", f->key, (int)len, value);
    return ANN_OK;
}

static ann_err parse_field(ann_options *o, const char *item, size_t len)
{
    const char *equals = memchr(item, '=', len);
    const size_t key_len = equals ? (size_t)(equals - item) : len;
    const struct field *f = NULL;
    for (size_t i = 0; i < FIELDS && !f; i++)
        if (strlen(fields[i].key) == key_len && memcmp(fields[i].key, item, key_len) == 0)
            f = &fields[i];
    if (!f)
        return ANN_FAIL(ANN_EINVAL, "spec: no such key: %.*s", (int)key_len, item);
    if (!equals)
        return ANN_FAIL(ANN_EINVAL, "spec: %s needs a value", f->key);
    const char *value = equals + 1;
    const size_t value_len = len - key_len - 1;
    if (f->type == FIELD_U32 || f->type == FIELD_U64) {
        uint64_t number = 0;
        const ann_err err = parse_number(f, value, value_len, &number);
        if (err)
            return err;
        if (f->type == FIELD_U32)
            *(uint32_t *)field_at(o, f) = (uint32_t)number;
        else
            *(uint64_t *)field_at(o, f) = number;
        return ANN_OK;
    }
    if (f->type == FIELD_REAL)
        return parse_real(f, value, value_len, field_at(o, f));
    return parse_name(o, f, value, value_len);
}

ann_err ann_options_parse(ann_options *o, const char *spec)
{
    if (!o || !spec)
        return ANN_FAIL(ANN_EINVAL, "options or spec is NULL");
    ann_options fresh = ANN_OPTIONS_INIT;
    memcpy(&fresh, o, o->size < sizeof fresh ? o->size : sizeof fresh);
    for (const char *item = spec; *item;) {
        const size_t len = strcspn(item, ",");
        const int kind = item == spec ? name_index(kind_names, 4, item, len) : 0;
        if (kind) {
            fresh.kind = (ann_kind)kind;
        } else if (item == spec && !memchr(item, '=', len)) {
            return ANN_FAIL(ANN_EINVAL, "spec: no such kind: %.*s (flat, hnsw, ivfpq)", (int)len,
                            item);
        } else {
            const ann_err err = parse_field(&fresh, item, len);
            if (err)
                return err;
        }
        item += len;
        item += *item == ',';
    }
    memcpy(o, &fresh, o->size < sizeof fresh ? o->size : sizeof fresh);
    return ANN_OK;
}

/* Only graphs and lists of float vectors have codes. */
static bool has_codes(const ann_options *o)
{
    return o->kind != ANN_FLAT && (o->store == ANN_NONE || dtype_is_float(o->store));
}

static bool codes_fit(const ann_options *o)
{
    if (o->kind == ANN_IVFPQ)
        return o->profile != ANN_PROFILE_FAST && o->codes < ANN_CODES_1BIT;
    if (o->codes == ANN_CODES_AUTO)
        return true;
    if (o->codes == ANN_CODES_NONE)
        return o->profile == ANN_PROFILE_BALANCED;
    return (o->profile == ANN_PROFILE_FAST) == (o->codes >= ANN_CODES_1BIT);
}

/* Profile, codes and store go together; fills in what follows from the others. */
static ann_err resolve_profile(ann_options *o)
{
    if ((unsigned)o->profile > ANN_PROFILE_LEAN)
        return ANN_FAIL(ANN_EINVAL, "no such profile: %d", (int)o->profile);
    if ((unsigned)o->codes > ANN_CODES_4BIT)
        return ANN_FAIL(ANN_EINVAL, "no such codes: %d", (int)o->codes);
    if (!has_codes(o)) {
        if (o->kind == ANN_IVFPQ)
            return ANN_FAIL(ANN_ENOTSUP, "ivfpq over %s: it keeps f32, f16, bf16 or none",
                            dtype_name(o->store));
        if (o->store == ANN_NONE)
            return ANN_FAIL(ANN_ENOTSUP, "%s cannot do without stored vectors (store=none)",
                            kind_names[o->kind]);
        if (o->profile > ANN_PROFILE_BALANCED)
            return ANN_FAIL(ANN_ENOTSUP, "%s over %s has no profile %s", kind_names[o->kind],
                            dtype_name(o->store), profile_names[o->profile]);
        if (o->codes > ANN_CODES_NONE)
            return ANN_FAIL(ANN_ENOTSUP, "%s over %s has no codes: %s", kind_names[o->kind],
                            dtype_name(o->store), codes_names[o->codes]);
        o->profile = ANN_PROFILE_BALANCED;
        o->codes = ANN_CODES_NONE;
        return ANN_OK;
    }
    if (o->profile == ANN_PROFILE_DEFAULT)
        o->profile = o->store == ANN_NONE ? ANN_PROFILE_LEAN : ANN_PROFILE_BALANCED;
    if ((o->profile == ANN_PROFILE_LEAN) != (o->store == ANN_NONE))
        return ANN_FAIL(ANN_EINVAL, "profile %s with store=%s: lean and none go together",
                        profile_names[o->profile], dtype_name(o->store));
    if (!codes_fit(o))
        return ANN_FAIL(ANN_EINVAL, "%s: profile %s has no codes %s", kind_names[o->kind],
                        profile_names[o->profile], codes_names[o->codes]);
    return ANN_OK;
}

static ann_err in_range(const char *what, uint64_t value, uint64_t min, uint64_t max)
{
    if (value >= min && value <= max)
        return ANN_OK;
    return ANN_FAIL(ANN_EINVAL, "%s is %" PRIu64 ": must be %" PRIu64 "..%" PRIu64, what, value,
                    min, max);
}

/* What lists take; 0 where training is to decide. */
static ann_err resolve_lists(ann_options *o)
{
    if (o->kind != ANN_IVFPQ) {
        o->nlist = o->pq_m = o->pq_bits = o->soar = 0;
        o->rotation = ANN_ROTATION_AUTO;
        o->pq_of = ANN_PQ_AUTO;
        o->anisotropic = 0;
        return ANN_OK;
    }
    o->pq_bits = o->pq_bits ? o->pq_bits : 4;
    o->pq_of = o->pq_of ? o->pq_of : ANN_PQ_RESIDUAL;
    ann_err err = in_range("nlist", o->nlist, 0, ANN_NLIST_MAX);
    if (!err)
        err = in_range("pq_m", o->pq_m, 0, o->dim);
    if (!err && o->pq_bits != 4 && o->pq_bits != 6 && o->pq_bits != 8)
        err = ANN_FAIL(ANN_EINVAL, "pq_bits is %u: must be 4, 6 or 8", o->pq_bits);
    if (!err && ((unsigned)o->rotation > ANN_ROTATION_OPQ || (unsigned)o->pq_of > ANN_PQ_DIRECT))
        err = ANN_FAIL(ANN_EINVAL, "no such rotation or pq_of: %d, %d", (int)o->rotation,
                       (int)o->pq_of);
    if (!err)
        err = in_range("soar", o->soar, 0, 1);
    if (!err && !(o->anisotropic >= 0 && o->anisotropic < 1))
        err = ANN_FAIL(ANN_EINVAL, "anisotropic is %g: must be 0 or between 0 and 1",
                       o->anisotropic);
    if (!err && o->anisotropic > 0 && o->metric == ANN_L2)
        err = ANN_FAIL(ANN_EINVAL, "anisotropic is for ip and cosine, not for l2");
    return err;
}

/* m and ef_construction; 0 where the first vectors are to decide. */
static ann_err resolve_degree(ann_options *o)
{
    const bool open = o->m == 0 && hnsw_looks_for_m(o);
    if (o->m == 0 && !open)
        o->m = hnsw_choose_m(o, NULL);
    if (o->ef_construction == 0 && !open)
        o->ef_construction = hnsw_choose_ef_construction(o, o->m);
    ann_err err = open ? ANN_OK : in_range("m", o->m, ANN_M_MIN, ANN_M_MAX);
    if (!err && o->ef_construction > 0)
        err = in_range("ef_construction", o->ef_construction, ANN_EF_CONSTRUCTION_MIN,
                       ANN_EF_CONSTRUCTION_MAX);
    return err;
}

ann_err options_resolve(const ann_options *given, ann_options *out)
{
    if (!given)
        return ANN_FAIL(ANN_EINVAL, "options are NULL");
    if (given->size < offsetof(ann_options, dim) + sizeof given->dim || given->size > 4096)
        return ANN_FAIL(ANN_EINVAL, "options.size is %zu: use ANN_OPTIONS_INIT", given->size);
    ann_options o = ANN_OPTIONS_INIT;
    memcpy(&o, given, given->size < sizeof o ? given->size : sizeof o);
    o.size = sizeof o;
    if ((unsigned)o.kind > ANN_IVFPQ)
        return ANN_FAIL(ANN_EINVAL, "no such kind: %d", (int)o.kind);
    o.kind = o.kind ? o.kind : ANN_HNSW;
    if (!o.store) /* lean keeps no vectors, whatever it is given */
        o.store = o.profile == ANN_PROFILE_LEAN ? ANN_NONE : ANN_F32;
    o.metric = o.metric ? o.metric : o.store == ANN_B1 ? ANN_HAMMING : ANN_L2;
    o.threads = o.threads ? o.threads : pool_default_threads();
    ann_err err = in_range("dim", o.dim, 1, ANN_DIM_MAX);
    if (!err && (unsigned)o.store > ANN_NONE)
        err = ANN_FAIL(ANN_EINVAL, "no such store: %d", (int)o.store);
    if (!err)
        err = resolve_profile(&o);
    if (!err)
        err = resolve_lists(&o);
    if (!err)
        err = resolve_degree(&o);
    if (!err)
        err = in_range("threads", o.threads, 1, 1024);
    if (!err)
        *out = o;
    return err;
}

/* The keys of lists; those that are 0 are left to training. */
static int lists_spec(const ann_options *o, char *text, size_t room)
{
    int n = 0;
    if (o->nlist)
        n += snprintf(text + n, room - (size_t)n, ",nlist=%" PRIu32, o->nlist);
    if (o->pq_m)
        n += snprintf(text + n, room - (size_t)n, ",pq_m=%" PRIu32, o->pq_m);
    n += snprintf(text + n, room - (size_t)n, ",pq_bits=%" PRIu32 ",rotation=%s,pq_of=%s",
                  o->pq_bits, rotation_names[o->rotation], pq_of_names[o->pq_of]);
    if (o->soar)
        n += snprintf(text + n, room - (size_t)n, ",soar=1");
    if (o->anisotropic > 0)
        n += snprintf(text + n, room - (size_t)n, ",anisotropic=%.9g", o->anisotropic);
    return n;
}

ann_err ann_options_spec(const ann_options *given, char *buf, size_t len)
{
    ann_options o;
    if (!buf)
        return ANN_FAIL(ANN_EINVAL, "buffer is NULL");
    const ann_err err = options_resolve(given, &o);
    if (err)
        return err;
    char text[256];
    int n = snprintf(text, sizeof text, "%s,metric=%s,store=%s,dim=%" PRIu32,
                     kind_names[o.kind], metric_name(o.metric), dtype_name(o.store), o.dim);
    if (has_codes(&o))
        n += snprintf(text + n, sizeof text - (size_t)n, ",profile=%s,codes=%s",
                      profile_names[o.profile], codes_names[o.codes]);
    if (o.kind == ANN_IVFPQ)
        n += lists_spec(&o, text + n, sizeof text - (size_t)n);
    if (o.kind == ANN_HNSW && o.m)
        n += snprintf(text + n, sizeof text - (size_t)n, ",m=%" PRIu32, o.m);
    if (o.kind == ANN_HNSW && o.ef_construction)
        n += snprintf(text + n, sizeof text - (size_t)n, ",ef_construction=%" PRIu32,
                      o.ef_construction);
    n += snprintf(text + n, sizeof text - (size_t)n, ",seed=%" PRIu64 ",threads=%" PRIu32,
                  o.seed, o.threads);
    if (o.max_memory)
        n += snprintf(text + n, sizeof text - (size_t)n, ",max_memory=%" PRIu64, o.max_memory);
    if ((size_t)n >= len)
        return ANN_FAIL(ANN_EINVAL, "the spec needs %d bytes, the buffer has %zu", n + 1, len);
    memcpy(buf, text, (size_t)n + 1);
    return ANN_OK;
}
