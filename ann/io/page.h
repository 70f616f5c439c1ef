/* page.h - a report as one HTML page that needs nothing else: no script, font or picture.
 *
 * Place: ann/io, over svg.h, for the reports of `annbench` and `rag eval`.  Classes that its
 * style knows: dim, plots (a grid of figures), key, scroll (about a wide table), spec, foot;
 * colours s0..s19 of svg.h.  Invariant: text is escaped here. */
#ifndef KITH_IO_PAGE_H
#define KITH_IO_PAGE_H

#include <stddef.h>
#include <stdio.h>

struct page_about {
    const char *title, *version, *isa;
    const char *command; /* that made it */
};

void page_begin(FILE *f, const struct page_about *about);
void page_end(FILE *f, const char *foot);

void page_cell(FILE *f, const char *text);
/* A cell with a dot of that colour before the name. */
void page_name(FILE *f, const char *name, size_t color);

#endif
