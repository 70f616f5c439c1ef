/* display.h - numbers as people read them, shared by the terminal and the page.
 *
 * Place: bench, a leaf.  Each writes at most DISPLAY_MAX bytes and returns buf; NAN and what is
 * below zero give "-". */
#ifndef KITH_BENCH_DISPLAY_H
#define KITH_BENCH_DISPLAY_H

#include <stddef.h>

#include "bench/metrics.h"

#define DISPLAY_MAX 48

const char *display_count(char *buf, double v); /* 12,345 */
const char *display_effort(char *buf, size_t effort, const char *setting);
const char *display_rate(char *buf, double v);    /* 12,345 or 97.2: three digits at least */
const char *display_bytes(char *buf, double v);   /* 188 MB */
const char *display_seconds(char *buf, double v); /* 12.3 s */
const char *display_at(char *buf, struct metrics_at at); /* 12,345, or >= 12,345 */

#endif
