/* wire.h - msgpack: a bounded look at untrusted bytes, a parsed tree, and a writer.
 *
 * Place: base; wire.c alone includes msgpack-c.  Invariant: msgpack-c sees only bytes that
 * wire_scan has walked, because it allocates by the counts it reads (155 bytes of nested arrays
 * make it ask for 254 GB). */
#ifndef KITH_BASE_WIRE_H
#define KITH_BASE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ann/ann.h>

#define WIRE_DEPTH_MAX 8

/* Walks one msgpack object at p [len] without allocating: nesting of at most WIRE_DEPTH_MAX,
 * every count covered by bytes that are there, at most `objects` objects in all.  *used: its
 * length; what lies behind it is not looked at.  ANN_EDAMAGED says where and why not. */
ann_err wire_scan(const uint8_t *p, size_t len, size_t objects, size_t *used);

/* A parsed object; its strings point into the bytes it was read from. */
struct wire_doc;
typedef struct wire_value wire_value;

/* Scans p [len] as above, which must be one object and no more, and parses it. */
ann_err wire_parse(const uint8_t *p, size_t len, size_t objects, struct wire_doc **out);
const wire_value *wire_root(const struct wire_doc *doc);
void wire_free(struct wire_doc *doc);

/* False, outputs untouched, if v is something else (v may be NULL). */
bool wire_is_array(const wire_value *v, size_t *n);
bool wire_is_u64(const wire_value *v, uint64_t *x);
bool wire_is_str(const wire_value *v, const char **s, size_t *n);
bool wire_is_bin(const wire_value *v, const uint8_t **p, size_t *n);
bool wire_is_map(const wire_value *v, size_t *n);             /* of n pairs */
const wire_value *wire_at(const wire_value *array, size_t i); /* NULL beyond its end */
/* The first value under a key that is this string; NULL: none, or not a map. */
const wire_value *wire_get(const wire_value *map, const char *key);
/* Pair i of a map; false beyond its end. */
bool wire_pair(const wire_value *map, size_t i, const wire_value **key, const wire_value **v);

/* Bytes being written; `failed` once memory ran out, from when on nothing is appended.
 * Begin with zeros, end with wire_out_free. */
struct wire_out {
    uint8_t *data; /* [capacity] */
    size_t len, capacity;
    bool failed;
};

void wire_put_map(struct wire_out *out, size_t n);
void wire_put_array(struct wire_out *out, size_t n);
void wire_put_str(struct wire_out *out, const char *s);
void wire_put_u64(struct wire_out *out, uint64_t x); /* always 9 bytes, 0xcf first */
void wire_put_bin(struct wire_out *out, const void *p, uint32_t n); /* 5 bytes, 0xc6 first */
void wire_out_free(struct wire_out *out);

/* The 5 bytes before a binary of n bytes, in the 32-bit form whatever n is. */
#define WIRE_BIN_HEAD 5
void wire_bin_head(uint8_t head[WIRE_BIN_HEAD], uint32_t n);

#endif
