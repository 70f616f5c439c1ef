/* page.c - the frame of a report.  See page.h.
 *
 * Place: ann/io.  Light and dark follow the reader's setting; on a narrow screen plots and
 * tables stand below one another and tables scroll by themselves. */
#include <config.h>

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ann/io/page.h"
#include "ann/io/svg.h"

static const char style[] =
    ":root{color-scheme:light dark;--bg:#fff;--fg:#1d2430;--dim:#5b6675;--grid:#e3e7ec;"
    "--card:#f6f8fa;--s0:#0067b1;--s1:#d04a00;--s2:#00835c;--s3:#a8478a;--s4:#2f8fc4;"
    "--s5:#9a7400;--s6:#6b52c8;--s7:#667}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#12161c;--fg:#e4e8ee;--dim:#9aa5b4;"
    "--grid:#2a313b;--card:#1a2028;--s0:#5aaef0;--s1:#ff9152;--s2:#3fc79b;--s3:#e08cc4;"
    "--s4:#8ccdf2;--s5:#e0b740;--s6:#a797f5;--s7:#aab}}\n"
    "*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);"
    "font:16px/1.5 system-ui,sans-serif}main{max-width:1160px;margin:0 auto;padding:1.2rem}\n"
    "h1{font-size:1.5rem;margin:.2rem 0}h2{font-size:1.25rem;margin:2.2rem 0 .2rem}"
    "h3{font-size:1rem;margin:0 0 .4rem}section>h3{margin-top:1rem}p{margin:.2rem 0 "
    ".8rem}.dim{color:var(--dim)}"
    "code{font-size:.9em;overflow-wrap:anywhere}\n"
    ".plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));"
    "gap:1rem;margin:1rem 0}figure{margin:0;padding:.9rem;background:var(--card);"
    "border-radius:10px}svg{display:block;width:100%;height:auto}\n"
    "svg text{font:15px system-ui,sans-serif}.label{fill:var(--dim)}.axis{fill:none;"
    "stroke:var(--dim)}.grid{stroke:var(--grid)}.line{fill:none;stroke-width:2.5}"
    ".dashed{stroke-dasharray:6 5}.mark{fill:none;stroke:var(--fg);stroke-width:1.5}\n"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;white-space:nowrap;"
    "font-variant-numeric:tabular-nums;font-size:.92rem}th,td{padding:.3rem .7rem;"
    "text-align:right;border-bottom:1px solid var(--grid)}th{color:var(--dim);"
    "font-weight:600;vertical-align:bottom}th:first-child,td:first-child{text-align:left;"
    "padding-left:0}summary{cursor:pointer;margin:.6rem 0}.spec{font-size:.85rem}\n"
    ".key{display:flex;flex-wrap:wrap;gap:0 1rem;font-size:.85rem;margin:0 0 .4rem}"
    "i{display:inline-block;width:.75em;height:.75em;border-radius:50%;margin-right:.45em}\n"
    ".foot{margin-top:1.6rem;font-size:.9rem}"
    "@media(max-width:600px){svg text{font-size:21px}main{padding:.8rem}"
    "th,td{padding:.25rem .45rem}}\n";

static void put_colors(FILE *f)
{
    for (int i = 0; i < SVG_COLORS; i++) {
        /* Those that the style does not name are spread over the circle. */
        char color[64];
        snprintf(color, sizeof color, "var(--s%d,hsl(%d 55%% %d%%))", i, i * 67 % 360,
                 i % 2 ? 42 : 58);
        fprintf(f, ".line.s%d{stroke:%s}.dot.s%d,.bar.s%d{fill:%s}i.s%d{background:%s}\n", i,
                color, i, i, color, i, color);
    }
}

/* "model name" of the first processor; "" if the system does not say. */
static void processor(char *out, size_t len)
{
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[256];
    *out = 0;
    while (f && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !colon)
            continue;
        snprintf(out, len, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    if (f)
        fclose(f);
}

void page_begin(FILE *f, const struct page_about *about)
{
    char cpu[128], date[32];
    const time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", &utc);
    processor(cpu, sizeof cpu);
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"/>\n"
          "<title>",
          f);
    svg_text(f, about->title);
    fputs("</title>\n<style>\n", f);
    fputs(style, f);
    put_colors(f);
    fputs("</style>\n</head>\n<body>\n<main>\n<h1>", f);
    svg_text(f, about->title);
    fputs("</h1>\n<p class=\"dim\">kith ", f);
    svg_text(f, about->version);
    fputs(", kernels ", f);
    svg_text(f, about->isa);
    fprintf(f, " · %s", date);
    if (*cpu) {
        fputs(" · ", f);
        svg_text(f, cpu);
    }
    fprintf(f, " · %ld processors<br/>\n<code>", sysconf(_SC_NPROCESSORS_ONLN));
    svg_text(f, about->command);
    fputs("</code></p>\n", f);
}

void page_end(FILE *f, const char *foot)
{
    fputs("<p class=\"dim foot\">", f);
    svg_text(f, foot);
    fputs("</p>\n</main>\n</body>\n</html>\n", f);
}

void page_cell(FILE *f, const char *text)
{
    fputs("<td>", f);
    svg_text(f, text);
    fputs("</td>", f);
}

void page_name(FILE *f, const char *name, size_t color)
{
    fprintf(f, "<td><i class=\"s%zu\"></i>", color % SVG_COLORS);
    svg_text(f, name);
    fputs("</td>", f);
}
