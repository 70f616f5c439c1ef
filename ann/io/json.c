/* json.c - JSON read with limits; sole owner of jansson.  See json.h. */
#include <config.h>

#include <jansson.h>

#include "ann/base/error.h"
#include "ann/base/memory.h"
#include "ann/io/io.h"
#include "ann/io/json.h"

/* A struct js is a json_t by another name: nobody else need see jansson's header. */
static json_t *in(const struct js *v)
{
    return (json_t *)(uintptr_t)v;
}

static struct js *out_of(json_t *v)
{
    return (struct js *)v;
}

ann_err js_parse(const char *name, const char *text, size_t bytes, size_t max_bytes,
                 struct js **out)
{
    const size_t most = max_bytes ? max_bytes : JS_BYTES_MAX;
    if (bytes > most)
        return ANN_FAIL(ANN_ELIMIT, "%s: %zu bytes of JSON, at most %zu are read", name, bytes,
                        most);
    json_error_t e;
    json_t *v = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (!v) {
        const bool memory = json_error_code(&e) == json_error_out_of_memory;
        return ANN_FAIL(memory ? ANN_ENOMEM : ANN_EINVAL, "%s: line %d, column %d: %s", name,
                        e.line, e.column, e.text);
    }
    *out = out_of(v);
    return ANN_OK;
}

ann_err js_load(const char *path, size_t max_bytes, struct js **out)
{
    char *text;
    size_t bytes;
    ann_err err = io_slurp(path, max_bytes ? max_bytes : JS_BYTES_MAX, &text, &bytes);
    if (err)
        return err;
    err = js_parse(path, text, bytes, max_bytes, out);
    mem_free(text);
    return err;
}

void js_free(struct js *document)
{
    json_decref(in(document));
}

enum js_kind js_kind(const struct js *v)
{
    const json_t *j = in(v);
    return json_is_boolean(j)  ? JS_BOOL
           : json_is_number(j) ? JS_NUMBER
           : json_is_string(j) ? JS_STRING
           : json_is_array(j)  ? JS_ARRAY
           : json_is_object(j) ? JS_OBJECT
                               : JS_NULL;
}

size_t js_count(const struct js *v)
{
    return json_is_object(in(v)) ? json_object_size(in(v)) : json_array_size(in(v));
}

const struct js *js_at(const struct js *array, size_t i)
{
    return out_of(json_array_get(in(array), i));
}

const struct js *js_get(const struct js *object, const char *key)
{
    return out_of(json_object_get(in(object), key));
}

const char *js_string(const struct js *v, const char *otherwise)
{
    return json_is_string(in(v)) ? json_string_value(in(v)) : otherwise;
}

double js_number(const struct js *v, double otherwise)
{
    return json_is_number(in(v)) ? json_number_value(in(v)) : otherwise;
}

bool js_bool(const struct js *v, bool otherwise)
{
    return json_is_boolean(in(v)) ? json_is_true(in(v)) : otherwise;
}

bool js_u64(const struct js *v, uint64_t *out)
{
    if (!json_is_integer(in(v)) || json_integer_value(in(v)) < 0)
        return false;
    *out = (uint64_t)json_integer_value(in(v));
    return true;
}

ann_err js_each(const struct js *object,
                ann_err (*each)(void *arg, const char *key, const struct js *value), void *arg)
{
    json_t *j = in(object);
    ann_err err = ANN_OK;
    for (void *at = json_object_iter(j); at && !err; at = json_object_iter_next(j, at))
        err = each(arg, json_object_iter_key(at), out_of(json_object_iter_value(at)));
    return err;
}

static ann_err put_member(void *arg, const char *key, const struct js *value)
{
    js_put_value(arg, key, value);
    return ANN_OK;
}

/* Its recursion is bounded by the levels js_parse takes. */
void js_put_value(struct js_out *o, const char *key, const struct js *v)
{
    switch (js_kind(v)) {
    case JS_NULL:
        js_put_null(o, key);
        break;
    case JS_BOOL:
        js_put_bool(o, key, js_bool(v, false));
        break;
    case JS_STRING:
        js_put_string(o, key, js_string(v, ""));
        break;
    case JS_NUMBER:
        if (json_is_integer(in(v)))
            js_put_i64(o, key, json_integer_value(in(v)));
        else
            js_put_double(o, key, js_number(v, 0));
        break;
    case JS_ARRAY:
        js_open(o, key, '[');
        for (size_t i = 0; i < js_count(v); i++)
            js_put_value(o, NULL, js_at(v, i));
        js_shut(o, ']');
        break;
    case JS_OBJECT:
        js_open(o, key, '{');
        if (js_each(v, put_member, o) != ANN_OK)
            o->failed = true;
        js_shut(o, '}');
        break;
    }
}
