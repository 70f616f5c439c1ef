/* svg.h - plots as inline SVG: lines over two axes, and bars.
 *
 * Place: ann/io, a leaf, for the reports of `annbench` and `rag eval`.  Colours come from the
 * page (page.h): classes s0..s19, axis, grid, label, mark. */
#ifndef KITH_IO_SVG_H
#define KITH_IO_SVG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define SVG_COLORS 20

struct svg_point {
    double x, y;
    const char *note; /* shown under the pointer; NULL: none */
};

struct svg_series {
    const struct svg_point *points; /* in the order they are joined */
    size_t count;
    unsigned color;
    bool dashed;
};

struct svg_axes {
    const char *title, *x_label, *y_label;
    double left, right; /* of x, linear */
};

/* Lines over a logarithmic y; points with y <= 0 or NAN or left of the axis are left out. */
void svg_lines(FILE *f, const struct svg_axes *axes, const struct svg_series *series,
               size_t count);

struct svg_bar {
    const char *name, *value;
    double length;
    unsigned color;
    double low, high; /* ends of an interval about length; both 0: none */
};

/* From 0 to the largest length or high. */
void svg_bars(FILE *f, const char *title, const struct svg_bar *bars, size_t count);

/* text with &, <, > and quotes escaped. */
void svg_text(FILE *f, const char *text);

#endif
