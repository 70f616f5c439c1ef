/* display.c - numbers as people read them; see display.h.
 *
 * Place: bench, a leaf. */
#include <config.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/display.h"

static const char *none(char *buf)
{
    memcpy(buf, "-", 2);
    return buf;
}

const char *display_count(char *buf, double v)
{
    char digits[DISPLAY_MAX];
    if (!(v >= 0) || v > 1e15)
        return none(buf);
    const int len = snprintf(digits, sizeof digits, "%.0f", v);
    char *out = buf;
    for (int i = 0; i < len; i++) {
        if (i && !((len - i) % 3))
            *out++ = ',';
        *out++ = digits[i];
    }
    *out = 0;
    return buf;
}

/* "96,25" where there is more than one number. */
const char *display_effort(char *buf, size_t effort, const char *setting)
{
    if (effort)
        return display_count(buf, (double)effort);
    snprintf(buf, DISPLAY_MAX, "%.32s", *setting ? setting : "-");
    return buf;
}

const char *display_rate(char *buf, double v)
{
    if (!(v >= 0) || v >= 99.95)
        return display_count(buf, v);
    snprintf(buf, DISPLAY_MAX, v < 9.995 ? "%.2f" : "%.1f", v);
    return buf;
}

const char *display_bytes(char *buf, double v)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    size_t unit = 0;
    if (!(v >= 0))
        return none(buf);
    for (; v >= 999.5 && unit < 4; unit++)
        v /= 1000;
    snprintf(buf, DISPLAY_MAX, v < 9.95 && unit ? "%.1f %s" : "%.0f %s", v, units[unit]);
    return buf;
}

const char *display_seconds(char *buf, double v)
{
    if (!(v >= 0))
        return none(buf);
    snprintf(buf, DISPLAY_MAX, v < 0.995 ? "%.2f s" : v < 99.5 ? "%.1f s" : "%.0f s", v);
    return buf;
}

const char *display_at(char *buf, struct metrics_at at)
{
    char plain[DISPLAY_MAX];
    snprintf(buf, DISPLAY_MAX, "%s%.40s", at.at_least ? ">= " : "",
             display_rate(plain, at.qps));
    return buf;
}
