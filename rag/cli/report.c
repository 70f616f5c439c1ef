/* report.c - the page of a measurement, --html.
 *
 * Place: rag/cli, over ann/io's page.  Written after the table was printed: a path that cannot
 * be written costs no figures. */
#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include <ann/ann.h>

#include "ann/base/error.h"
#include "ann/io/page.h"
#include "ann/io/svg.h"
#include "rag/cli/cli.h"

static char called_as[2048]; /* "rag eval ..." */

void report_called(int argc, char **argv)
{
    size_t n = (size_t)snprintf(called_as, sizeof called_as, "rag");
    for (int i = 1; i < argc && n < sizeof called_as; i++)
        n += (size_t)snprintf(called_as + n, sizeof called_as - n, " %s", argv[i]);
}

rag_err report_begin(const struct args *a, FILE **out)
{
    *out = fopen(a->html, "w");
    if (!*out)
        return (rag_err)ANN_FAIL(ANN_EIO, "%s: %s", a->html, strerror(errno));
    page_begin(*out, &(struct page_about){"rag eval", ann_version(), ann_isa(), called_as});
    return RAG_OK;
}

rag_err report_end(const struct args *a, FILE *f, const char *foot)
{
    page_end(f, foot);
    errno = 0;
    const bool failed = fflush(f) != 0 || ferror(f);
    const int why = errno;
    if ((fclose(f) != 0 && !failed) || failed)
        return (rag_err)ANN_FAIL(ANN_EIO, "%s: %s", a->html,
                                 why ? strerror(why) : "it cannot be written");
    return RAG_OK;
}

void report_section(FILE *f, const char *name, const char *format, ...)
{
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    fputs("<section>\n<h2>", f);
    svg_text(f, name);
    fputs("</h2>\n<p class=\"dim\">", f);
    svg_text(f, text);
    fputs("</p>\n", f);
}

void report_table(FILE *f, const char *const *heads)
{
    fputs("<div class=\"scroll\"><table>\n<tr>", f);
    for (; *heads; heads++) {
        fputs("<th>", f);
        svg_text(f, *heads);
        fputs("</th>", f);
    }
    fputs("</tr>\n", f);
}

void report_table_end(FILE *f)
{
    fputs("</table></div>\n", f);
}

void report_cell(FILE *f, const char *format, ...)
{
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    page_cell(f, text);
}
