/* svg.c - plots as inline SVG; see svg.h.
 *
 * Place: ann/io, a leaf.  A plot is 640 x 400 units and as wide as the page lets it be. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/io/svg.h"

#define WIDTH     640
#define HEIGHT    400
#define LEFT      76
#define RIGHT     20
#define TOP       16
#define BOTTOM    56
#define BAR       34
#define BAR_LEFT  8
#define BAR_RIGHT 110 /* room for the value */

void svg_text(FILE *f, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", f);
            break;
        case '<':
            fputs("&lt;", f);
            break;
        case '>':
            fputs("&gt;", f);
            break;
        case '"':
            fputs("&quot;", f);
            break;
        default:
            fputc(*text, f);
        }
    }
}

struct scale {
    double left, right, low, high; /* low and high are decimal logarithms */
};

static bool drawable(const struct svg_point *p, const struct scale *s)
{
    return p->y > 0 && isfinite(p->y) && p->x >= s->left - 1e-12 && p->x <= s->right + 1e-12;
}

static double at_x(const struct scale *s, double x)
{
    return LEFT + (x - s->left) / (s->right - s->left) * (WIDTH - LEFT - RIGHT);
}

static double at_y(const struct scale *s, double y)
{
    return HEIGHT - BOTTOM - (log10(y) - s->low) / (s->high - s->low) * (HEIGHT - TOP - BOTTOM);
}

static bool fit(const struct svg_axes *a, const struct svg_series *series, size_t count,
                struct scale *s)
{
    *s = (struct scale){a->left, a->right, INFINITY, -INFINITY};
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < series[i].count; j++) {
            const struct svg_point *p = &series[i].points[j];
            if (!drawable(p, s))
                continue;
            s->low = fmin(s->low, log10(p->y));
            s->high = fmax(s->high, log10(p->y));
        }
    }
    if (!(s->low <= s->high))
        return false;
    const double room = fmax(0.05 * (s->high - s->low), 0.08);
    s->low -= room;
    s->high += room;
    return true;
}

/* 12000 as 12k, so that labels stay short. */
static void put_short(FILE *f, double v)
{
    static const char units[] = {0, 'k', 'M', 'G'};
    int unit = 0;
    for (; v >= 999.5 && unit < 3; unit++)
        v /= 1000;
    fprintf(f, "%g", v);
    if (unit)
        fputc(units[unit], f);
}

static void grid_line(FILE *f, double x1, double y1, double x2, double y2)
{
    fprintf(f, "<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", x1,
            y1, x2, y2);
}

/* The powers of ten and, the fewer of them there are, the more between them. */
static void y_axis(FILE *f, const struct scale *s)
{
    static const double steps[] = {1, 2, 5, 1.5, 3, 4, 7};
    const double decades = s->high - s->low;
    const size_t used = decades > 2.6 ? 1 : decades > 1 ? 3 : 7;
    for (int e = (int)floor(s->low); e <= (int)ceil(s->high); e++) {
        for (size_t i = 0; i < used; i++) {
            const double v = steps[i] * pow(10, e);
            if (log10(v) < s->low || log10(v) > s->high)
                continue;
            const double y = at_y(s, v);
            grid_line(f, LEFT, y, WIDTH - RIGHT, y);
            fprintf(f, "<text class=\"label\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">",
                    LEFT - 8, y + 5);
            put_short(f, v);
            fputs("</text>\n", f);
        }
    }
}

static void x_axis(FILE *f, const struct scale *s)
{
    static const double steps[] = {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2};
    double step = steps[7];
    for (size_t i = 8; i-- > 0;)
        if ((s->right - s->left) / steps[i] <= 7)
            step = steps[i];
    for (int i = (int)ceil(s->left / step - 1e-9); i * step <= s->right + 1e-9; i++) {
        const double x = at_x(s, i * step);
        grid_line(f, x, TOP, x, HEIGHT - BOTTOM);
        fprintf(f,
                "<text class=\"label\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n",
                x, HEIGHT - BOTTOM + 20, i * step);
    }
}

static void labels(FILE *f, const struct svg_axes *a)
{
    fprintf(f, "<text class=\"label\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">",
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10);
    svg_text(f, a->x_label);
    fprintf(f,
            "</text>\n<text class=\"label\" transform=\"translate(16 %d) rotate(-90)\" "
            "text-anchor=\"middle\">",
            (TOP + HEIGHT - BOTTOM) / 2);
    svg_text(f, a->y_label);
    fputs("</text>\n", f);
}

static void draw(FILE *f, const struct svg_series *series, const struct scale *s)
{
    const unsigned color = series->color % SVG_COLORS;
    bool open = false;
    for (size_t j = 0; j < series->count; j++) {
        const struct svg_point *p = &series->points[j];
        if (!drawable(p, s))
            continue;
        if (!open)
            fprintf(f, "<polyline class=\"line s%u%s\" points=\"", color,
                    series->dashed ? " dashed" : "");
        fprintf(f, "%s%.1f,%.1f", open ? " " : "", at_x(s, p->x), at_y(s, p->y));
        open = true;
    }
    if (open)
        fputs("\"/>\n", f);
    for (size_t j = 0; j < series->count; j++) {
        const struct svg_point *p = &series->points[j];
        if (!drawable(p, s))
            continue;
        fprintf(f, "<circle class=\"dot s%u\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\">", color,
                at_x(s, p->x), at_y(s, p->y), series->dashed ? "3" : "4");
        if (p->note) {
            fputs("<title>", f);
            svg_text(f, p->note);
            fputs("</title>", f);
        }
        fputs("</circle>\n", f);
    }
}

static void begin(FILE *f, const char *title, int height)
{
    fprintf(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\" "
            "aria-label=\"",
            WIDTH, height);
    svg_text(f, title);
    fputs("\">\n", f);
}

void svg_lines(FILE *f, const struct svg_axes *axes, const struct svg_series *series,
               size_t count)
{
    struct scale s;
    if (!fit(axes, series, count, &s)) {
        fputs("<p>Nothing was measured for this plot.</p>\n", f);
        return;
    }
    begin(f, axes->title, HEIGHT);
    y_axis(f, &s);
    x_axis(f, &s);
    fprintf(f, "<path class=\"axis\" d=\"M%d %dV%dH%d\"/>\n", LEFT, TOP, HEIGHT - BOTTOM,
            WIDTH - RIGHT);
    labels(f, axes);
    for (size_t i = 0; i < count; i++)
        draw(f, &series[i], &s);
    fputs("</svg>\n", f);
}

/* Length of v on a scale that ends at `most`. */
static double bar_length(double v, double most)
{
    return most > 0 && v > 0 ? v / most * (WIDTH - BAR_LEFT - BAR_RIGHT) : 0;
}

/* A line from low to high with a stroke at each end. */
static void interval(FILE *f, const struct svg_bar *b, double most, int y)
{
    const double from = BAR_LEFT + bar_length(b->low, most);
    const double to = BAR_LEFT + bar_length(b->high, most);
    fprintf(f, "<path class=\"mark\" d=\"M%.1f %dV%dM%.1f %dV%dM%.1f %dH%.1f\"/>\n", from,
            y + 33, y + 45, to, y + 33, y + 45, from, y + 39, to);
}

static void bar(FILE *f, const struct svg_bar *b, double most, int y)
{
    const double length = fmax(2, bar_length(b->length, most));
    fprintf(f, "<text class=\"label\" x=\"%d\" y=\"%d\">", BAR_LEFT, y + 18);
    svg_text(f, b->name);
    fprintf(f,
            "</text>\n<rect class=\"bar s%u\" x=\"%d\" y=\"%d\" width=\"%.1f\" "
            "height=\"%d\" rx=\"3\"/>\n",
            b->color % SVG_COLORS, BAR_LEFT, y + 26, length, BAR - 8);
    if (b->high > 0)
        interval(f, b, most, y);
    fprintf(f, "<text class=\"label\" x=\"%.1f\" y=\"%d\">",
            BAR_LEFT + fmax(length, bar_length(b->high, most)) + 8, y + 45);
    svg_text(f, b->value);
    fputs("</text>\n", f);
}

void svg_bars(FILE *f, const char *title, const struct svg_bar *bars, size_t count)
{
    double most = 0;
    for (size_t i = 0; i < count; i++) {
        most = fmax(most, isfinite(bars[i].length) ? bars[i].length : 0);
        most = fmax(most, bars[i].high);
    }
    begin(f, title, (int)count * (BAR + 26) + 8);
    for (size_t i = 0; i < count; i++)
        bar(f, &bars[i], most, (int)i * (BAR + 26));
    fputs("</svg>\n", f);
}
