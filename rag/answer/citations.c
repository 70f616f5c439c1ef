/* citations.c - which sources an answer cites.  See answer.h.
 *
 * Place: rag/answer.  Marks are looked for as Markdown would show them: not in code, not as the
 * text of a link.  Invariants: one scanner serves both functions, so what is renumbered is what
 * was found; time is linear in the text but for hostile ones, whose lists are capped. */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "ann/base/memory.h"
#include "rag/answer/answer.h"
#include "rag/answer/growing.h"
#include "rag/error.h"

#define DIGITS_MAX  9 /* of a number: it fits 32 bits */
#define RANGE_MAX   100
#define UNKNOWN_MAX 256

struct scan {
    const char *text;
    size_t bytes, at;
};

/* ---- what holds no marks ---- */

static size_t run_of(const struct scan *s, size_t at, char c)
{
    size_t n = 0;
    while (at + n < s->bytes && s->text[at + n] == c)
        n++;
    return n;
}

static size_t next_line(const struct scan *s, size_t at)
{
    const char *end = memchr(s->text + at, '\n', s->bytes - at);
    return end ? (size_t)(end - s->text) + 1 : s->bytes;
}

/* How long the fence is that begins at the line at `at`, 0 if none does; *mark: its character,
 * *rest: what follows it. */
static size_t fence_at(const struct scan *s, size_t at, char *mark, size_t *rest)
{
    const size_t indent = run_of(s, at, ' ');
    if (indent > 3 || at + indent >= s->bytes)
        return 0;
    *mark = s->text[at + indent];
    if (*mark != '`' && *mark != '~')
        return 0;
    const size_t n = run_of(s, at + indent, *mark);
    *rest = at + indent + n;
    if (n < 3)
        return 0;
    const size_t line = next_line(s, at) - *rest;
    return *mark == '`' && memchr(s->text + *rest, '`', line) ? 0 : n;
}

static bool is_blank(const struct scan *s, size_t at, size_t end)
{
    for (; at < end; at++)
        if (s->text[at] != ' ' && s->text[at] != '\t' && s->text[at] != '\r' &&
            s->text[at] != '\n')
            return false;
    return true;
}

/* Behind the fenced block that begins at `at`; `at` itself if none does.  A fence that is not
 * shut reaches to the end, as in CommonMark. */
static size_t skip_fence(const struct scan *s, size_t at)
{
    char mark, other;
    size_t rest;
    const size_t length = fence_at(s, at, &mark, &rest);
    if (length == 0)
        return at;
    for (at = next_line(s, at); at < s->bytes; at = next_line(s, at))
        if (fence_at(s, at, &other, &rest) >= length && other == mark &&
            is_blank(s, rest, next_line(s, at)))
            return next_line(s, at);
    return s->bytes;
}

/* Behind the `code` that begins at `at`, or behind its backticks if it is not shut before the
 * paragraph ends. */
static size_t skip_code(const struct scan *s, size_t at)
{
    const size_t length = run_of(s, at, '`');
    size_t i = at + length;
    while (i < s->bytes) {
        if (s->text[i] == '`') {
            const size_t n = run_of(s, i, '`');
            i += n;
            if (n == length)
                return i;
        } else if (s->text[i] == '\n') {
            const size_t end = next_line(s, i + 1);
            i++;
            if (is_blank(s, i, end))
                break;
        } else {
            i++;
        }
    }
    return at + length;
}

/* ---- a mark ---- */

static size_t skip_blanks(const struct scan *s, size_t at)
{
    while (at < s->bytes && s->text[at] == ' ')
        at++;
    return at;
}

/* The number at *at, and *at behind it. */
static bool read_number(const struct scan *s, size_t *at, uint32_t *out)
{
    const size_t begin = *at;
    uint32_t value = 0;
    while (*at < s->bytes && *at - begin <= DIGITS_MAX && s->text[*at] >= '0' &&
           s->text[*at] <= '9')
        value = value * 10 + (uint32_t)(s->text[(*at)++] - '0');
    *out = value;
    return *at > begin && *at - begin <= DIGITS_MAX;
}

/* "n" or "n-m" (also with an en dash) at *at, and *at behind it and the blanks there. */
static bool read_range(const struct scan *s, size_t *at, uint32_t *low, uint32_t *high)
{
    *at = skip_blanks(s, *at);
    if (!read_number(s, at, low))
        return false;
    *high = *low;
    *at = skip_blanks(s, *at);
    size_t dash = 0;
    if (*at < s->bytes && s->text[*at] == '-')
        dash = 1;
    else if (s->bytes - *at >= 3 && memcmp(s->text + *at, "\xE2\x80\x93", 3) == 0)
        dash = 3;
    if (dash == 0)
        return true;
    *at = skip_blanks(s, *at + dash);
    if (!read_number(s, at, high) || *high < *low || *high - *low >= RANGE_MAX)
        return false;
    *at = skip_blanks(s, *at);
    return true;
}

/* Behind the mark that begins at `at` (a bracket); 0 if it is none. */
static size_t mark_end(const struct scan *s, size_t at)
{
    uint32_t low, high;
    do {
        at++;
        if (!read_range(s, &at, &low, &high))
            return 0;
    } while (at < s->bytes && s->text[at] == ',');
    if (at >= s->bytes || s->text[at] != ']')
        return 0;
    at++;
    return at < s->bytes && s->text[at] == '(' ? 0 : at;
}

/* The next mark, from *begin to s->at. */
static bool next_mark(struct scan *s, size_t *begin)
{
    while (s->at < s->bytes) {
        const size_t at = s->at;
        if (at == 0 || s->text[at - 1] == '\n') {
            s->at = skip_fence(s, at);
            if (s->at > at)
                continue;
        }
        if (s->text[at] == '`') {
            s->at = skip_code(s, at);
            continue;
        }
        const size_t end = s->text[at] == '[' ? mark_end(s, at) : 0;
        if (end > 0) {
            *begin = at;
            s->at = end;
            return true;
        }
        /* what a backslash stands before is shown as it is, and begins nothing */
        s->at += s->text[at] == '\\' && at + 1 < s->bytes && s->text[at + 1] != '\n' ? 2 : 1;
    }
    return false;
}

/* ---- the lists ---- */

static bool holds(const uint32_t *list, size_t n, uint32_t number)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == number)
            return true;
    return false;
}

/* Notes each number of the mark from `at` to `end`; seen [nsources]. */
static void note_mark(const struct scan *s, size_t at, size_t end, size_t nsources, bool *seen,
                      struct citations *c)
{
    uint32_t low, high;
    for (at++; at < end && read_range(s, &at, &low, &high); at++)
        for (uint32_t n = low; n <= high; n++) {
            if (n >= 1 && n <= nsources) {
                if (!seen[n - 1])
                    c->used[c->nused++] = n;
                seen[n - 1] = true;
            } else if (c->nunknown < UNKNOWN_MAX && !holds(c->unknown, c->nunknown, n)) {
                c->unknown[c->nunknown++] = n;
            }
        }
}

rag_err citations_find(const char *text, size_t bytes, size_t nsources, struct citations *out)
{
    struct scan s = {text, bytes, 0};
    struct citations c = {0};
    size_t begin, room;
    bool *seen = mem_zalloc(nsources ? nsources : 1, sizeof *seen);
    if (seen && size_mul(nsources ? nsources : 1, sizeof *c.used, &room))
        c.used = mem_alloc(room);
    c.unknown = mem_alloc(UNKNOWN_MAX * sizeof *c.unknown);
    if (!seen || !c.used || !c.unknown) {
        mem_free(seen);
        citations_free(&c);
        return RAG_FAIL(RAG_ENOMEM, "out of memory for citations of %zu sources", nsources);
    }
    while (next_mark(&s, &begin))
        note_mark(&s, begin, s.at, nsources, seen, &c);
    mem_free(seen);
    *out = c;
    return RAG_OK;
}

bool citations_next(const char *text, size_t bytes, size_t nsources, size_t at,
                    struct citation_mark *out)
{
    struct scan s = {text, bytes, at};
    struct citation_mark m = {0};
    uint32_t low, high;
    if (!next_mark(&s, &m.begin))
        return false;
    m.end = s.at;
    for (size_t i = m.begin + 1; i < m.end && read_range(&s, &i, &low, &high); i++)
        m.known = m.known || (high >= 1 && low <= nsources);
    *out = m;
    return true;
}

void citations_free(struct citations *c)
{
    mem_free(c->used);
    mem_free(c->unknown);
    *c = (struct citations){0};
}

/* ---- new numbers ---- */

/* The place of a number in c->used, from 1; 0: not there. */
static size_t place_of(const struct citations *c, uint32_t number)
{
    for (size_t i = 0; i < c->nused; i++)
        if (c->used[i] == number)
            return i + 1;
    return 0;
}

/* The mark from `at` to `end` with its new numbers; false if none of its numbers is known. */
static bool put_mark(const struct scan *s, size_t at, size_t end, const struct citations *c,
                     struct growing *g)
{
    uint32_t low, high;
    bool any = false;
    for (at++; at < end && read_range(s, &at, &low, &high); at++)
        for (uint32_t n = low; n <= high; n++) {
            char number[32];
            const size_t place = place_of(c, n);
            if (place == 0)
                continue;
            snprintf(number, sizeof number, "%s%zu", any ? ", " : "[", place);
            growing_puts(g, number);
            any = true;
        }
    if (any)
        growing_puts(g, "]");
    return any;
}

/* Takes back the blank before a mark that was left out, where none is needed now. */
static void close_gap(const struct scan *s, struct growing *g)
{
    const char next = s->at < s->bytes ? s->text[s->at] : '\n';
    if (g->bytes > 0 && g->text[g->bytes - 1] == ' ' && strchr(" \n\r\t.,;:!?)", next) &&
        next != '\0')
        g->text[--g->bytes] = '\0';
}

rag_err citations_renumber(const char *text, size_t bytes, const struct citations *c,
                           char **out)
{
    struct scan s = {text, bytes, 0};
    struct growing g = {0};
    size_t copied = 0, begin;
    while (next_mark(&s, &begin)) {
        growing_put(&g, text + copied, begin - copied);
        copied = s.at;
        if (!put_mark(&s, begin, s.at, c, &g))
            close_gap(&s, &g);
    }
    growing_put(&g, text + copied, bytes - copied);
    if (g.failed) {
        growing_free(&g);
        return RAG_FAIL(RAG_ENOMEM, "out of memory for an answer of %zu bytes", bytes);
    }
    *out = g.text;
    return RAG_OK;
}
