/* tokens.c - how many tokens a text has, about, and where its sentences end.
 *
 * Place: rag/text.  Without the model's tokenizer the count is a guess: the largest of four
 * measures, so that prose, tables of numbers, markup and scripts without spaces are all near.
 * Invariant: the measures add up, so the count of two texts together is at most the sum. */
#include <config.h>

#include <string.h>

#include "rag/text/text.h"

#define BYTES_A_TOKEN 3.2 /* of English prose, rather less than what is seen */
#define TOKENS_A_WORD 1.35

enum { BLANK, LETTER, MARK };

/* What a byte is, by its value below 0x80. */
static inline unsigned kind(unsigned char b)
{
    const unsigned char low = b | 0x20;
    if (low >= 'a' && low <= 'z')
        return LETTER;
    return b <= ' ' && (b == ' ' || (b >= '\t' && b <= '\r')) ? BLANK : MARK;
}

struct counts {
    size_t bytes, words, dense, marks;
    bool in_word;
};

/* Counts the character at i; returns where the next begins. */
static inline size_t count(struct counts *c, const char *s, size_t end, size_t i)
{
    const unsigned char b = (unsigned char)s[i];
    size_t next = i + 1;
    if (b < 0x80) {
        const unsigned k = kind(b);
        c->words += k == LETTER && !c->in_word;
        c->in_word = k == LETTER;
        c->marks += k == MARK;
    } else {
        c->dense += text_is_dense(text_char(s, end, i, &next));
        c->words += !c->in_word;
        c->in_word = true;
    }
    c->bytes += next - i;
    return next;
}

static inline double tokens_of(const struct counts *c)
{
    const double words = TOKENS_A_WORD * (double)c->words;
    double most = (double)c->bytes / BYTES_A_TOKEN;
    most = words > most ? words : most;
    most = (double)c->dense > most ? (double)c->dense : most;
    return (double)c->marks > most ? (double)c->marks : most;
}

double text_tokens(const char *s, size_t bytes)
{
    struct counts c = {0};
    for (size_t i = 0; i < bytes;)
        i = count(&c, s, bytes, i);
    return tokens_of(&c);
}

size_t text_fit(const char *s, size_t end, size_t at, double budget)
{
    struct counts c = {0};
    size_t next = count(&c, s, end, at);
    do {
        at = next;
        if (at < end)
            next = count(&c, s, end, at);
    } while (at < end && tokens_of(&c) <= budget);
    return at;
}

/* ---- sentences ---- */

/* Before whose full stop no sentence ends. */
static const char *const abbreviations[] = {
    "al",  "approx", "cf",   "ca",  "ch",  "dr", "ed",  "eds", "eg", "e.g", "eq",  "eqs",
    "etc", "fig",    "figs", "ie",  "i.e", "jr", "mr",  "mrs", "ms", "no",  "nos", "op",
    "p",   "pp",     "prof", "sec", "sr",  "st", "u.s", "vol", "vs", "z.b", "bzw"};

/* Whether the word that ends at `end` (a full stop) is one of them, or a single capital. */
static bool is_abbreviation(const char *s, size_t begin, size_t end)
{
    size_t at = end;
    while (at > begin && ((unsigned char)s[at - 1] > ' ') && s[at - 1] != '(')
        at--;
    const size_t n = end - at;
    if (n == 1 && s[at] >= 'A' && s[at] <= 'Z')
        return true;
    for (size_t i = 0; i < sizeof abbreviations / sizeof *abbreviations; i++)
        if (strlen(abbreviations[i]) == n) {
            size_t same = 0;
            while (same < n && (s[at + same] | 0x20) == (abbreviations[i][same] | 0x20))
                same++;
            if (same == n)
                return true;
        }
    return false;
}

static bool closes(uint32_t c)
{
    return c == '"' || c == '\'' || c == ')' || c == ']' || c == 0x201D || c == 0x2019 ||
           c == 0xBB || c == 0x300D || c == 0x300F;
}

/* Behind a terminator at `at`: quotes and brackets that close, then white space. */
static size_t skip_behind(const char *s, size_t bytes, size_t at, bool *space)
{
    size_t next;
    *space = false;
    while (at < bytes && !*space && closes(text_char(s, bytes, at, &next)))
        at = next;
    while (at < bytes && text_is_space(text_char(s, bytes, at, &next))) {
        *space = true;
        at = next;
    }
    return at;
}

static bool may_begin(uint32_t c)
{
    return text_is_upper(c) || (c >= '0' && c <= '9') || text_is_dense(c) || c == '"' ||
           c == '(' || c == '[' || c == 0x201C || c == 0x2018 || c == 0xAB || c == 0xBF ||
           c == '-' || c == '*' || c == '#';
}

size_t text_sentence_end(const char *s, size_t bytes, size_t at)
{
    const size_t begin = at;
    size_t next, ignored;
    bool space;
    for (; at < bytes; at = next) {
        const unsigned char b = (unsigned char)s[at];
        next = at + 1;
        if (b < 0x80 && b != '.' && b != '!' && b != '?')
            continue;
        const uint32_t c = text_char(s, bytes, at, &next);
        const bool full = c == 0x3002 || c == 0xFF01 || c == 0xFF1F;
        if (!full && c != '.' && c != '!' && c != '?' && c != 0x2026)
            continue;
        const size_t behind = skip_behind(s, bytes, next, &space);
        if (behind == bytes || full)
            return behind;
        if (space && may_begin(text_char(s, bytes, behind, &ignored)) &&
            !(c == '.' && is_abbreviation(s, begin, at)))
            return behind;
    }
    return bytes;
}
