/* print.c - what is found, for people on a terminal and as JSON Lines elsewhere.
 *
 * Place: rag/cli.  Invariant: no control character of a document or a model reaches a terminal;
 * elsewhere nothing is changed or cut. */
#include <config.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ann/base/error.h"
#include "rag/cli/cli.h"

#define EXCERPT_LINES 6

static bool colour, terminal;

void print_start(const struct args *a)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    terminal = isatty(STDOUT_FILENO);
    colour = terminal && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
    if (a->color && strcmp(a->color, "auto") != 0)
        colour = strcmp(a->color, "always") == 0;
}

const char *print_bold(void)
{
    return colour ? "\033[1m" : "";
}

const char *print_dim(void)
{
    return colour ? "\033[2m" : "";
}

const char *print_plain(void)
{
    return colour ? "\033[0m" : "";
}

bool print_json(const struct args *a)
{
    return a->json || (!a->format && !terminal);
}

/* Bytes of a character that must not reach a terminal: C0 but LF and TAB, DEL, C1, and what
 * turns the direction of writing. */
static size_t unfit(const unsigned char *s, size_t left)
{
    if ((s[0] < 0x20 && s[0] != '\n' && s[0] != '\t') || s[0] == 0x7f)
        return 1;
    if (left >= 2 && s[0] == 0xc2 && s[1] >= 0x80 && s[1] <= 0x9f)
        return 2;
    if (left >= 3 && s[0] == 0xe2 && s[1] == 0x80 && s[2] >= 0xaa && s[2] <= 0xae)
        return 3;
    if (left >= 3 && s[0] == 0xe2 && s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9)
        return 3;
    return 0;
}

void print_text(FILE *f, const char *text, size_t bytes)
{
    if (!isatty(fileno(f))) {
        fwrite(text, 1, bytes, f);
        return;
    }
    size_t from = 0;
    for (size_t i = 0; i < bytes;) {
        const size_t n = unfit((const unsigned char *)text + i, bytes - i);
        if (n > 0) {
            fwrite(text + from, 1, i - from, f);
            from = i + n;
        }
        i += n ? n : 1;
    }
    fwrite(text + from, 1, bytes - from, f);
}

const char *print_size(char buf[32], uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    size_t u = 0;
    for (; v >= 1024 && u < 4; u++)
        v /= 1024;
    snprintf(buf, 32, u ? "%.1f %s" : "%.0f %s", v, units[u]);
    return buf;
}

void print_place(char *buf, size_t room, const rag_hit *h)
{
    if (h->page)
        snprintf(buf, room, "%s, page %u", h->source, h->page);
    else if (h->last_line > h->line)
        snprintf(buf, room, "%s:%u-%u", h->source, h->line, h->last_line);
    else
        snprintf(buf, room, "%s:%u", h->source, h->line);
}

/* ---- hits ---- */

void print_hit_json(struct js_out *o, uint32_t rank, const rag_hit *h, bool explain)
{
    if (rank)
        js_put_u64(o, "rank", rank);
    js_put_u64(o, "id", h->chunk);
    if (rank)
        js_put_double(o, "score", h->score);
    js_put_string(o, "source", h->source);
    js_put_string(o, "title", h->title);
    js_put_string(o, "head", h->head);
    js_put_u64(o, "start", h->start);
    js_put_u64(o, "end", h->end);
    js_put_u64(o, "line", h->line);
    js_put_u64(o, "last_line", h->last_line);
    if (h->page)
        js_put_u64(o, "page", h->page);
    js_put_string(o, "text", h->text);
    js_put_json(o, "meta", h->meta);
    if (!rank)
        return;
    js_open(o, "scores", '{');
    js_put_double(o, "vector", h->vector_score);
    js_put_double(o, "text", h->text_score);
    js_put_double(o, "rerank", h->rerank_score);
    js_shut(o, '}');
    if (explain) {
        js_open(o, "ranks", '{');
        js_put_u64(o, "vector", h->vector_rank);
        js_put_u64(o, "text", h->text_rank);
        js_shut(o, '}');
    }
}

static rag_err print_one_json(const struct args *a, uint32_t rank, const rag_hit *h)
{
    struct js_out o = JS_OUT_INIT;
    js_open(&o, NULL, '{');
    print_hit_json(&o, rank, h, a->explain);
    js_shut(&o, '}');
    const rag_err err = (rag_err)js_line(&o, stdout);
    js_out_free(&o);
    return err;
}

static void print_scores(const rag_hit *h)
{
    printf("%s   ", print_dim());
    if (h->vector_rank)
        printf("vector %.3f (%u.)  ", h->vector_score, h->vector_rank);
    if (h->text_rank)
        printf("words %.2f (%u.)  ", h->text_score, h->text_rank);
    if (!isnan(h->rerank_score))
        printf("re-rank %.3f  ", h->rerank_score);
    printf("chunk %llu, bytes %llu-%llu%s\n", (unsigned long long)h->chunk,
           (unsigned long long)h->start, (unsigned long long)h->end, print_plain());
}

/* The first lines of a chunk, each behind three blanks. */
static void print_excerpt(const rag_hit *h, bool full)
{
    const char *at = h->text, *end = h->text + h->bytes;
    for (int i = 0; at < end && (full || i < EXCERPT_LINES); i++) {
        const char *lf = memchr(at, '\n', (size_t)(end - at));
        const char *stop = lf ? lf : end;
        fputs("   ", stdout);
        print_text(stdout, at, (size_t)(stop - at));
        putchar('\n');
        at = lf ? lf + 1 : end;
    }
    if (at < end)
        printf("   %s...%s\n", print_dim(), print_plain());
}

static void print_one(const struct args *a, uint32_t rank, const rag_hit *h)
{
    char place[4400];
    print_place(place, sizeof place, h);
    printf("%s%u. ", print_bold(), rank);
    print_text(stdout, place, strlen(place));
    printf("%s  %s%.3f%s\n", print_plain(), print_dim(), h->score, print_plain());
    if (h->head && *h->head) {
        printf("   %s", print_dim());
        print_text(stdout, h->head, strlen(h->head));
        printf("%s\n", print_plain());
    }
    if (a->explain)
        print_scores(h);
    print_excerpt(h, a->full);
    putchar('\n');
}

rag_err print_hits(const struct args *a, const rag_hits *h)
{
    rag_err err = RAG_OK;
    const char *format = a->format ? a->format : "";
    if (h->warning)
        run_warn("%s", h->warning);
    for (size_t i = 0; i < h->n && !err; i++) {
        const rag_hit *hit = &h->hits[i];
        const uint32_t rank = (uint32_t)i + 1;
        if (strcmp(format, "ids") == 0)
            printf("%llu\n", (unsigned long long)hit->chunk);
        else if (strcmp(format, "tsv") == 0)
            printf("%u\t%llu\t%.9g\t%s\t%u\n", rank, (unsigned long long)hit->chunk, hit->score,
                   hit->source, hit->line);
        else if (print_json(a))
            err = print_one_json(a, rank, hit);
        else
            print_one(a, rank, hit);
    }
    return err;
}
