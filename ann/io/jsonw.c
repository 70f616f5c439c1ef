/* jsonw.c - JSON written, one text a line.  See json.h.
 *
 * Place: ann/io.  Invariant: what it writes is valid UTF-8 and valid JSON whatever it is given:
 * strings that are not UTF-8 get U+FFFD for each wrong byte, numbers that are not finite are
 * null. */
#include <config.h>

#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/base/memory.h"
#include "ann/io/json.h"

/* ---- numbers ---- */

static locale_t c_locale;
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;

static void make_c_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* Fewest digits from `least` on with which the number reads back. */
static size_t shortest(char *buf, double value, bool is_float)
{
    if (isnan(value))
        return (size_t)snprintf(buf, JS_NUMBER_MAX, "nan");
    if (isinf(value))
        return (size_t)snprintf(buf, JS_NUMBER_MAX, value < 0 ? "-inf" : "inf");
    pthread_once(&c_locale_once, make_c_locale);
    const locale_t old = c_locale ? uselocale(c_locale) : (locale_t)0;
    const int most = is_float ? 9 : 17;
    int n = 0;
    for (int digits = is_float ? 6 : 15; digits <= most; digits++) {
        n = snprintf(buf, JS_NUMBER_MAX, "%.*g", digits, value);
        if (is_float ? strtof(buf, NULL) == (float)value : strtod(buf, NULL) == value)
            break;
    }
    if (old)
        uselocale(old);
    return (size_t)n;
}

size_t js_format_float(char *buf, float value)
{
    return shortest(buf, (double)value, true);
}

size_t js_format_double(char *buf, double value)
{
    return shortest(buf, value, false);
}

/* ---- text ---- */

static void put(struct js_out *o, const char *s, size_t n)
{
    if (o->failed)
        return;
    if (o->capacity - o->bytes < n) {
        size_t want = o->capacity * 2 + 256;
        want = want - o->bytes < n ? o->bytes + n : want;
        char *p = mem_resize(o->text, want);
        if (!p) {
            o->failed = true;
            return;
        }
        o->text = p;
        o->capacity = want;
    }
    memcpy(o->text + o->bytes, s, n);
    o->bytes += n;
}

static void puts_at(struct js_out *o, const char *s)
{
    put(o, s, strlen(s));
}

/* Length of the UTF-8 character at s (n bytes left), 0 if it is none.  Source: RFC 3629. */
static size_t utf8_length(const unsigned char *s, size_t n)
{
    if (s[0] < 0x80)
        return 1;
    const size_t len = s[0] >= 0xc2 && s[0] <= 0xdf   ? 2
                       : (s[0] & 0xf0) == 0xe0        ? 3
                       : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
                                                      : 0;
    if (len == 0 || len > n)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return len;
}

static void quoted(struct js_out *o, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t n = strlen(text);
    put(o, "\"", 1);
    while (n > 0) {
        const size_t len = utf8_length(s, n);
        char escape[8];
        if (len == 0) {
            puts_at(o, "\xef\xbf\xbd");
        } else if (*s == '"' || *s == '\\') {
            snprintf(escape, sizeof escape, "\\%c", *s);
            puts_at(o, escape);
        } else if (*s == '\n' || *s == '\t') {
            puts_at(o, *s == '\n' ? "\\n" : "\\t");
        } else if (*s < 0x20 || *s == 0x7f) {
            snprintf(escape, sizeof escape, "\\u%04x", *s);
            puts_at(o, escape);
        } else {
            put(o, (const char *)s, len);
        }
        s += len ? len : 1;
        n -= len ? len : 1;
    }
    put(o, "\"", 1);
}

/* What stands before a value. */
static void lead(struct js_out *o, const char *key)
{
    if (o->comma)
        put(o, ",", 1);
    o->comma = true;
    if (key) {
        quoted(o, key);
        put(o, ":", 1);
    }
}

void js_open(struct js_out *o, const char *key, char bracket)
{
    lead(o, key);
    put(o, &bracket, 1);
    o->comma = false;
}

void js_shut(struct js_out *o, char bracket)
{
    put(o, &bracket, 1);
    o->comma = true;
}

void js_put_null(struct js_out *o, const char *key)
{
    lead(o, key);
    put(o, "null", 4);
}

void js_put_json(struct js_out *o, const char *key, const char *json)
{
    lead(o, key);
    puts_at(o, json && *json ? json : "null");
}

void js_put_string(struct js_out *o, const char *key, const char *value)
{
    if (!value) {
        js_put_null(o, key);
        return;
    }
    lead(o, key);
    quoted(o, value);
}

void js_put_u64(struct js_out *o, const char *key, uint64_t value)
{
    char buf[JS_NUMBER_MAX];
    lead(o, key);
    put(o, buf, (size_t)snprintf(buf, sizeof buf, "%llu", (unsigned long long)value));
}

void js_put_i64(struct js_out *o, const char *key, int64_t value)
{
    char buf[JS_NUMBER_MAX];
    lead(o, key);
    put(o, buf, (size_t)snprintf(buf, sizeof buf, "%lld", (long long)value));
}

static void put_real(struct js_out *o, const char *key, double value, bool is_float)
{
    char buf[JS_NUMBER_MAX];
    if (!isfinite(value)) {
        js_put_null(o, key);
        return;
    }
    lead(o, key);
    put(o, buf, shortest(buf, value, is_float));
}

void js_put_double(struct js_out *o, const char *key, double value)
{
    put_real(o, key, value, false);
}

void js_put_float(struct js_out *o, const char *key, float value)
{
    put_real(o, key, (double)value, true);
}

void js_put_bool(struct js_out *o, const char *key, bool value)
{
    lead(o, key);
    puts_at(o, value ? "true" : "false");
}

ann_err js_line(struct js_out *o, FILE *f)
{
    put(o, "\n", 1);
    const bool memory = o->failed;
    const bool written = !memory && fwrite(o->text, 1, o->bytes, f) == o->bytes;
    o->bytes = 0;
    o->failed = o->comma = false;
    if (memory)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for a line of JSON");
    return written ? ANN_OK : ANN_FAIL(ANN_EIO, "a line of JSON could not be written");
}

void js_out_free(struct js_out *o)
{
    mem_free(o->text);
    *o = (struct js_out)JS_OUT_INIT;
}
