/* json.h - JSON for the programs: parsing with limits, writing one object a line.
 *
 * Place: ann/io; json.c is the sole owner of jansson, jsonw.c needs no library.
 * Invariant: no locale changes what is read or written; a value read is borrowed from the
 * document and lives as long as it. */
#ifndef KITH_IO_JSON_H
#define KITH_IO_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <ann/ann.h>

/* Reading */

struct js; /* a value; the document is the outermost */

#define JS_BYTES_MAX ((size_t)64 << 20) /* of a document, unless the caller says less */

enum js_kind { JS_NULL, JS_BOOL, JS_NUMBER, JS_STRING, JS_ARRAY, JS_OBJECT };

/* name: what to call the text in an error.  ANN_EINVAL names line and column.  max_bytes 0
 * means JS_BYTES_MAX.  Duplicate keys, NUL in a string and more than 2048 levels are errors. */
ann_err js_parse(const char *name, const char *text, size_t bytes, size_t max_bytes,
                 struct js **out);
ann_err js_load(const char *path, size_t max_bytes, struct js **out);
void js_free(struct js *document);

/* Each takes NULL for v as "not there". */
enum js_kind js_kind(const struct js *v);
size_t js_count(const struct js *v);                      /* of an array or object, else 0 */
const struct js *js_at(const struct js *array, size_t i); /* NULL: not there */
const struct js *js_get(const struct js *object, const char *key); /* NULL: not there */
const char *js_string(const struct js *v, const char *otherwise);
double js_number(const struct js *v, double otherwise);
bool js_bool(const struct js *v, bool otherwise);
bool js_u64(const struct js *v, uint64_t *out); /* false: no whole number in 0..2^63-1 */

/* Each key of an object with its value, in the order they stand; not ANN_OK ends it. */
ann_err js_each(const struct js *object,
                ann_err (*each)(void *arg, const char *key, const struct js *value), void *arg);

/* Writing: one text, built up and then written as a line.  Running out of memory and a failing
 * write are remembered and told by js_line. */

struct js_out {
    char *text;
    size_t bytes, capacity;
    bool failed, comma;
};

#define JS_OUT_INIT                                                                            \
    {                                                                                          \
        NULL, 0, 0, false, false                                                               \
    }

/* Inside an object give each value its key, inside an array NULL. */
void js_open(struct js_out *o, const char *key, char bracket);            /* '{' or '[' */
void js_shut(struct js_out *o, char bracket);                             /* '}' or ']' */
void js_put_string(struct js_out *o, const char *key, const char *value); /* NULL: null */
void js_put_u64(struct js_out *o, const char *key, uint64_t value);
void js_put_i64(struct js_out *o, const char *key, int64_t value);
void js_put_double(struct js_out *o, const char *key, double value); /* not finite: null */
void js_put_float(struct js_out *o, const char *key,
                  float value); /* shortest that reads back */
void js_put_bool(struct js_out *o, const char *key, bool value);
void js_put_null(struct js_out *o, const char *key);
/* json as it is, which must be one whole value; NULL: null. */
void js_put_json(struct js_out *o, const char *key, const char *json);
/* A value as it was read. */
void js_put_value(struct js_out *o, const char *key, const struct js *v);

/* Writes the text and a newline to f and starts anew.  ANN_ENOMEM, ANN_EIO. */
ann_err js_line(struct js_out *o, FILE *f);
void js_out_free(struct js_out *o);

/* The shortest decimal that reads back as the same number, with '.' in every locale; buf has
 * room for JS_NUMBER_MAX bytes.  "nan", "inf", "-inf" for those.  Returns the length. */
#define JS_NUMBER_MAX 40
size_t js_format_float(char *buf, float value);
size_t js_format_double(char *buf, double value);

#endif
