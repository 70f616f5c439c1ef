/* wire.c - the only file that includes msgpack-c.  See wire.h. */
#include <config.h>

#include <string.h>

#include <msgpack.h>

#include "ann/base/error.h"
#include "ann/base/memory.h"
#include "ann/base/wire.h"

/* What one object's first bytes say. */
struct shape {
    size_t head;     /* bytes of type and length */
    uint64_t body;   /* bytes of payload behind them */
    uint64_t inside; /* objects behind them */
};

static uint64_t big_endian(const uint8_t *p, size_t n)
{
    uint64_t x = 0;
    for (size_t i = 0; i < n; i++)
        x = x << 8 | p[i];
    return x;
}

/* Bytes of the length that follows the type byte t, and what the length counts. */
enum counts { BYTES, BYTES_AND_TYPE, OBJECTS, PAIRS, FIXED, INVALID };

static enum counts sized_type(uint8_t t, size_t *width)
{
    static const uint8_t fixed[] = {
        [0xca - 0xca] = 4,
        [0xcb - 0xca] = 8, /* floats */
        [0xcc - 0xca] = 1,
        2,
        4,
        8, /* unsigned */
        [0xd0 - 0xca] = 1,
        2,
        4,
        8, /* signed */
        [0xd4 - 0xca] = 2,
        3,
        5,
        9,
        17, /* extensions of 1..16 bytes */
    };
    if (t >= 0xc4 && t <= 0xc6) { /* binary */
        *width = (size_t)1 << (t - 0xc4);
        return BYTES;
    }
    if (t >= 0xc7 && t <= 0xc9) { /* extension: length, one byte of type, bytes */
        *width = (size_t)1 << (t - 0xc7);
        return BYTES_AND_TYPE;
    }
    if (t >= 0xd9 && t <= 0xdb) { /* string */
        *width = (size_t)1 << (t - 0xd9);
        return BYTES;
    }
    if (t >= 0xdc) { /* array, map */
        *width = (t & 1) ? 4 : 2;
        return t <= 0xdd ? OBJECTS : PAIRS;
    }
    if (t >= 0xca) {
        *width = fixed[t - 0xca];
        return FIXED;
    }
    *width = 0;
    return t == 0xc1 ? INVALID : FIXED; /* nil, false, true */
}

/* False if the bytes end within the head, or the type byte is none. */
static bool read_shape(const uint8_t *p, size_t len, struct shape *s)
{
    const uint8_t t = p[0];
    *s = (struct shape){1, 0, 0};
    if (t < 0x80 || t >= 0xe0) /* small integers */
        return true;
    if (t < 0x90)
        s->inside = 2 * (uint64_t)(t & 15);
    else if (t < 0xa0)
        s->inside = t & 15;
    else if (t < 0xc0)
        s->body = t & 31;
    if (t < 0xc0)
        return true;

    size_t width;
    const enum counts counts = sized_type(t, &width);
    if (counts == INVALID)
        return false;
    if (counts == FIXED) {
        s->body = width;
        return true;
    }
    if (len - 1 < width)
        return false;
    const uint64_t n = big_endian(p + 1, width);
    s->head = 1 + width;
    if (counts == BYTES || counts == BYTES_AND_TYPE)
        s->body = n + (counts == BYTES_AND_TYPE);
    else
        s->inside = counts == PAIRS ? 2 * n : n;
    return true;
}

ann_err wire_scan(const uint8_t *p, size_t len, size_t objects, size_t *used)
{
    uint64_t left[WIRE_DEPTH_MAX + 1]; /* objects still to come, per level */
    size_t depth = 0, pos = 0;
    left[0] = 1;
    for (;;) {
        while (left[depth] == 0) {
            if (depth == 0) {
                *used = pos;
                return ANN_OK;
            }
            depth--;
        }
        left[depth]--;
        struct shape s;
        if (pos == len)
            return ANN_FAIL(ANN_EDAMAGED, "msgpack ends early, at byte %zu", pos);
        if (!read_shape(p + pos, len - pos, &s))
            return ANN_FAIL(ANN_EDAMAGED, "no msgpack object at byte %zu (0x%02x)", pos,
                            p[pos]);
        if (objects == 0)
            return ANN_FAIL(ANN_EDAMAGED, "too many msgpack objects, at byte %zu", pos);
        objects--;
        const size_t rest = len - pos - s.head;
        if (rest < s.body || rest < s.inside || objects < s.inside)
            return ANN_FAIL(ANN_EDAMAGED,
                            "msgpack count at byte %zu is larger than what follows", pos);
        pos += s.head + (size_t)s.body;
        if (s.inside > 0) {
            if (depth == WIRE_DEPTH_MAX)
                return ANN_FAIL(ANN_EDAMAGED, "msgpack nested too deep at byte %zu", pos);
            left[++depth] = s.inside;
        }
    }
}

struct wire_doc {
    msgpack_unpacked parsed;
};

ann_err wire_parse(const uint8_t *p, size_t len, size_t objects, struct wire_doc **out)
{
    size_t used;
    const ann_err err = wire_scan(p, len, objects, &used);
    if (err)
        return err;
    if (used != len)
        return ANN_FAIL(ANN_EDAMAGED, "msgpack object has %zu bytes, not %zu", used, len);
    struct wire_doc *doc = mem_alloc(sizeof *doc);
    if (!doc)
        return ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", sizeof *doc);
    msgpack_unpacked_init(&doc->parsed);
    size_t at = 0;
    const msgpack_unpack_return r =
        msgpack_unpack_next(&doc->parsed, (const char *)p, len, &at);
    if (r != MSGPACK_UNPACK_SUCCESS) {
        wire_free(doc);
        if (r == MSGPACK_UNPACK_NOMEM_ERROR)
            return ANN_FAIL(ANN_ENOMEM, "out of memory: a msgpack object of %zu bytes", len);
        return ANN_FAIL(ANN_EDAMAGED, "msgpack object is damaged at byte %zu", at);
    }
    *out = doc;
    return ANN_OK;
}

/* wire_value is msgpack-c's object under a name that only this file resolves. */
static const msgpack_object *object(const wire_value *v)
{
    return (const msgpack_object *)(const void *)v;
}

const wire_value *wire_root(const struct wire_doc *doc)
{
    return (const wire_value *)(const void *)&doc->parsed.data;
}

void wire_free(struct wire_doc *doc)
{
    if (doc)
        msgpack_unpacked_destroy(&doc->parsed);
    mem_free(doc);
}

bool wire_is_array(const wire_value *v, size_t *n)
{
    if (!v || object(v)->type != MSGPACK_OBJECT_ARRAY)
        return false;
    *n = object(v)->via.array.size;
    return true;
}

bool wire_is_u64(const wire_value *v, uint64_t *x)
{
    if (!v || object(v)->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return false;
    *x = object(v)->via.u64;
    return true;
}

bool wire_is_str(const wire_value *v, const char **s, size_t *n)
{
    if (!v || object(v)->type != MSGPACK_OBJECT_STR)
        return false;
    *s = object(v)->via.str.ptr;
    *n = object(v)->via.str.size;
    return true;
}

bool wire_is_bin(const wire_value *v, const uint8_t **p, size_t *n)
{
    if (!v || object(v)->type != MSGPACK_OBJECT_BIN)
        return false;
    *p = (const uint8_t *)object(v)->via.bin.ptr;
    *n = object(v)->via.bin.size;
    return true;
}

bool wire_is_map(const wire_value *v, size_t *n)
{
    if (!v || object(v)->type != MSGPACK_OBJECT_MAP)
        return false;
    *n = object(v)->via.map.size;
    return true;
}

bool wire_pair(const wire_value *map, size_t i, const wire_value **key, const wire_value **v)
{
    size_t n;
    if (!wire_is_map(map, &n) || i >= n)
        return false;
    const msgpack_object_kv *pair = &object(map)->via.map.ptr[i];
    *key = (const wire_value *)(const void *)&pair->key;
    *v = (const wire_value *)(const void *)&pair->val;
    return true;
}

const wire_value *wire_get(const wire_value *map, const char *key)
{
    const wire_value *k, *v;
    for (size_t i = 0; wire_pair(map, i, &k, &v); i++) {
        const char *s;
        size_t n;
        if (wire_is_str(k, &s, &n) && n == strlen(key) && memcmp(s, key, n) == 0)
            return v;
    }
    return NULL;
}

const wire_value *wire_at(const wire_value *array, size_t i)
{
    size_t n;
    if (!wire_is_array(array, &n) || i >= n)
        return NULL;
    return (const wire_value *)(const void *)&object(array)->via.array.ptr[i];
}

/* msgpack-c calls it for every piece it packs. */
static int append(void *arg, const char *p, size_t n)
{
    struct wire_out *out = arg;
    if (out->failed)
        return -1;
    if (out->capacity - out->len < n) {
        size_t want = 2 * out->capacity + n;
        uint8_t *data = mem_resize(out->data, want);
        if (!data) {
            out->failed = true;
            return -1;
        }
        out->data = data;
        out->capacity = want;
    }
    memcpy(out->data + out->len, p, n);
    out->len += n;
    return 0;
}

void wire_put_map(struct wire_out *out, size_t n)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, append);
    msgpack_pack_map(&pk, n);
}

void wire_put_array(struct wire_out *out, size_t n)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, append);
    msgpack_pack_array(&pk, n);
}

void wire_put_str(struct wire_out *out, const char *s)
{
    const size_t n = strlen(s);
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, append);
    msgpack_pack_str(&pk, n);
    msgpack_pack_str_body(&pk, s, n);
}

void wire_put_u64(struct wire_out *out, uint64_t x)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, append);
    msgpack_pack_fix_uint64(&pk, x);
}

void wire_put_bin(struct wire_out *out, const void *p, uint32_t n)
{
    uint8_t head[WIRE_BIN_HEAD];
    wire_bin_head(head, n);
    append(out, (const char *)head, sizeof head);
    append(out, p, n);
}

void wire_out_free(struct wire_out *out)
{
    mem_free(out->data);
    memset(out, 0, sizeof *out);
}

void wire_bin_head(uint8_t head[WIRE_BIN_HEAD], uint32_t n)
{
    head[0] = 0xc6;
    for (int i = 0; i < 4; i++)
        head[1 + i] = (uint8_t)(n >> (24 - 8 * i));
}
