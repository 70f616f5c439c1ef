/* decimal.c - decimal numbers to f32 and back.  See decimal.h.
 *
 * Place: rag/embed.  After William D. Clinger, How to Read Floating Point Numbers Accurately,
 * 1990: up to 53 bits of digits and a power of ten up to 22 are exact in a double, so that one
 * multiplication or division rounds rightly; all else goes to strtof. Invariant: what is read
 * is the f32 nearest to the digits. */
#include <config.h>

#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ann/io/json.h"
#include "rag/embed/decimal.h"

#define TEN_MAX 22

static const double tens[TEN_MAX + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                         1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                         1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* digits * 10^e as the nearest f32; false: not sure to be it.  What passes is 0 or normal: from
 * 1e-22 to 1e38. */
static bool quick(uint64_t digits, int e, float *out)
{
    if (digits > (uint64_t)1 << 53 || e < -TEN_MAX || e > TEN_MAX)
        return false;
    const double d = e < 0 ? (double)digits / tens[-e] : (double)digits * tens[e];
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    /* Halfway between two f32, d may have been rounded to there: which side is not known. */
    if ((bits & 0x1fffffff) == 0x10000000)
        return false;
    *out = (float)d;
    return true;
}

static locale_t c_locale;
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;

static void make_c_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* By the C library; s[bytes] was found to be a number. */
static enum decimal slow(const char *s, size_t bytes, float *out)
{
    char copy[DECIMAL_MAX + 1];
    pthread_once(&c_locale_once, make_c_locale);
    if (bytes > DECIMAL_MAX || !c_locale)
        return DECIMAL_NONE;
    memcpy(copy, s, bytes);
    copy[bytes] = '\0';
    const float x = strtof_l(copy, NULL, c_locale);
    if (!isfinite(x))
        return DECIMAL_NOT_FINITE;
    *out = x;
    return DECIMAL_OK;
}

/* How many bytes at s are a name of what is no number, without regard to case. */
static size_t named(const char *s, const char *end)
{
    static const char *const names[] = {"infinity", "inf", "nan"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const size_t n = strlen(names[i]);
        if ((size_t)(end - s) >= n && strncasecmp(s, names[i], n) == 0)
            return n;
    }
    return 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Appends the digits at *s to *digits until that has 19: too many for quick, so that what is
 * left off does not matter. */
static void take_digits(const char **s, const char *end, uint64_t *digits)
{
    const char *p = *s;
    for (; p < end && is_digit(*p); p++)
        if (*digits < UINT64_C(1000000000000000000))
            *digits = *digits * 10 + (uint64_t)(*p - '0');
    *s = p;
}

/* The exponent at s, if there is a whole one; *e grows by it (or by a million). */
static const char *take_exponent(const char *s, const char *end, int *e)
{
    const char *p = s;
    if (p == end || (*p != 'e' && *p != 'E'))
        return s;
    p++;
    const bool minus = p < end && *p == '-';
    p += p < end && (*p == '-' || *p == '+');
    if (p == end || !is_digit(*p))
        return s;
    int x = 0;
    for (; p < end && is_digit(*p); p++)
        x = x < 100000 ? x * 10 + (*p - '0') : 1000000;
    *e += minus ? -x : x;
    return p;
}

enum decimal decimal_read(const char **at, const char *end, float *out)
{
    const char *p = *at;
    const bool minus = p < end && *p == '-';
    p += p < end && (*p == '-' || *p == '+');
    const char *const first = p;
    uint64_t digits = 0;
    int e = 0;
    take_digits(&p, end, &digits);
    bool any = p > first;
    if (p < end && *p == '.') {
        const char *const fraction = ++p;
        take_digits(&p, end, &digits);
        any = any || p > fraction;
        e = p - fraction < 1000000 ? -(int)(p - fraction) : -1000000;
    }
    if (!any) {
        const size_t n = named(first, end);
        if (n == 0)
            return DECIMAL_NONE;
        *at = first + n;
        return DECIMAL_NOT_FINITE;
    }
    p = take_exponent(p, end, &e);
    float x;
    if (quick(digits, e, &x)) {
        *out = minus ? -x : x;
        *at = p;
        return DECIMAL_OK;
    }
    const enum decimal how = slow(*at, (size_t)(p - *at), out);
    if (how != DECIMAL_NONE)
        *at = p;
    return how;
}

/* digits / 10^places without its last zeros. */
static size_t put_fixed(bool minus, uint64_t digits, int places, char *out)
{
    char reversed[24] = {0};
    size_t n = 0, used = 0;
    while (places > 0 && digits % 10 == 0) {
        digits /= 10;
        places--;
    }
    for (int i = 0; digits > 0 || i <= places; i++, digits /= 10) {
        if (i == places && places > 0)
            reversed[n++] = '.';
        reversed[n++] = (char)('0' + digits % 10);
    }
    if (minus)
        out[used++] = '-';
    while (n > 0)
        out[used++] = reversed[--n];
    return used;
}

size_t decimal_print(float x, char out[DECIMAL_ROOM])
{
    const double a = fabs((double)x);
    if (a >= 1e-5 && a < 1e6) {
        const int e = (int)floor(log10(a));
        for (int count = 6; count <= 9; count++) {
            const int places = count - 1 - e;
            float back;
            const uint64_t digits = (uint64_t)(a * tens[places] + 0.5);
            if (quick(digits, -places, &back) && (double)back == a)
                return put_fixed(signbit(x), digits, places, out);
        }
    }
    char text[JS_NUMBER_MAX];
    const size_t n = js_format_float(text, x);
    memcpy(out, text, n < DECIMAL_ROOM ? n : DECIMAL_ROOM);
    return n < DECIMAL_ROOM ? n : DECIMAL_ROOM;
}
