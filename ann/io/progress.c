/* progress.c - the progress bar.  See progress.h. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ann/base/clock.h"
#include "ann/io/progress.h"

#define EVERY 0.1 /* seconds between two drawings */
#define BAR_MAX 40

void progress_init(struct progress *p, bool quiet, const volatile sig_atomic_t *stop)
{
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    *p = (struct progress){.stop = stop};
    p->show = !quiet && isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0);
    p->color = !(no_color && *no_color);
}

/* 1234567 as "1.23M"; of bytes the callers say so in `what`. */
static const char *count(char buf[16], double v)
{
    static const char unit[] = " kMGT";
    size_t u = 0;
    for (; v >= 999.5 && u < sizeof unit - 2; u++)
        v /= 1000;
    if (u == 0)
        snprintf(buf, 16, "%.0f", v);
    else
        snprintf(buf, 16, "%.*f%c", v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v, unit[u]);
    return buf;
}

static const char *seconds(char buf[16], double s)
{
    if (s >= 3600 * 100)
        snprintf(buf, 16, "long");
    else if (s >= 3600)
        snprintf(buf, 16, "%d:%02d:%02d", (int)s / 3600, (int)s / 60 % 60, (int)s % 60);
    else
        snprintf(buf, 16, "%d:%02d", (int)s / 60, (int)s % 60);
    return buf;
}

static int columns(void)
{
    struct winsize w;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
}

static void draw(struct progress *p, uint64_t done, uint64_t total, double at)
{
    char numbers[80], a[16], b[16], c[16], d[16];
    const double passed = at - p->begun;
    const double rate = passed > 0 ? (double)(done - p->base) / passed : 0;
    if (total > 0) {
        const double left = rate > 0 ? (double)(total - done) / rate : 0;
        snprintf(numbers, sizeof numbers, "%s/%s  %s/s  %s", count(a, (double)done),
                 count(b, (double)total), count(c, rate),
                 rate > 0 ? seconds(d, left) : "-:--");
    } else {
        snprintf(numbers, sizeof numbers, "%s  %s/s  %s", count(a, (double)done),
                 count(c, rate), seconds(d, passed));
    }
    int width = columns() - (int)strlen(p->what) - (int)strlen(numbers) - 6;
    width = total == 0 || width < 5 ? 0 : width > BAR_MAX ? BAR_MAX : width;
    const int full = total ? (int)((double)width * (double)done / (double)total) : 0;
    char bar[BAR_MAX + 1];
    for (int i = 0; i < width; i++)
        bar[i] = i < full ? '=' : i == full ? '>' : ' ';
    bar[width] = 0;
    fprintf(stderr, "\r\033[K%s %s%s%s%s%s%s", p->what, width ? "[" : "",
            p->color && width ? "\033[32m" : "", bar, p->color && width ? "\033[0m" : "",
            width ? "] " : " ", numbers);
    fflush(stderr);
    p->drawn = true;
}

int progress_step(void *arg, const char *what, uint64_t done, uint64_t total)
{
    struct progress *p = arg;
    if (p->stop && *p->stop)
        return 1;
    if (!p->show)
        return 0;
    const double at = clock_seconds();
    if (strncmp(p->what, what, sizeof p->what - 1) != 0) { /* a new phase begins */
        snprintf(p->what, sizeof p->what, "%s", what);
        p->base = done;
        p->begun = p->last = at;
        return 0;
    }
    if (done < p->base) {
        p->base = done;
        p->begun = at;
    }
    if (at - p->last < EVERY)
        return 0;
    p->last = at;
    draw(p, total > 0 && done > total ? total : done, total, at);
    return 0;
}

void progress_clear(struct progress *p)
{
    if (p->drawn) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
    p->drawn = false;
    p->what[0] = '\0';
}
