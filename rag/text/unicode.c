/* unicode.c - from raw bytes to normalised text, and what characters are.
 *
 * Place: rag/text; sole owner of utf8proc.  Invariant: text of ASCII alone, which is most of
 * it, costs a pass of plain bytes and no table. */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "ann/base/memory.h"
#include "rag/error.h"
#include "rag/text/text.h"

#define REPLACEMENT 0xFFFD

/* ---- one character ---- */

uint32_t text_char(const char *s, size_t bytes, size_t at, size_t *next)
{
    const unsigned char first = (unsigned char)s[at];
    utf8proc_int32_t c;
    if (first < 0x80) {
        *next = at + 1;
        return first;
    }
    const utf8proc_ssize_t n =
        utf8proc_iterate((const utf8proc_uint8_t *)s + at, (utf8proc_ssize_t)(bytes - at), &c);
    if (n <= 0) {
        *next = at + 1;
        return REPLACEMENT;
    }
    *next = at + (size_t)n;
    return (uint32_t)c;
}

size_t text_put_char(char *to, uint32_t c)
{
    return (size_t)utf8proc_encode_char((utf8proc_int32_t)c, (utf8proc_uint8_t *)to);
}

bool text_is_utf8(const char *s, size_t bytes)
{
    utf8proc_int32_t c;
    for (size_t i = 0; i < bytes;) {
        if ((unsigned char)s[i] < 0x80) {
            i++;
            continue;
        }
        const utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s + i,
                                                    (utf8proc_ssize_t)(bytes - i), &c);
        if (n <= 0)
            return false;
        i += (size_t)n;
    }
    return true;
}

bool text_is_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= '\t' && c <= '\r');
    const utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k == UTF8PROC_CATEGORY_ZS || k == UTF8PROC_CATEGORY_ZL || k == UTF8PROC_CATEGORY_ZP;
}

enum text_class text_class(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_CC:
        return c == '\t' || c == '\n' || c == '\r' ? TEXT_SPACE : TEXT_CONTROL;
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CS:
        return TEXT_CONTROL;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return TEXT_SPACE;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
        return TEXT_PUNCTUATION;
    case UTF8PROC_CATEGORY_MN:
        return TEXT_MARK;
    default:
        return TEXT_OTHER;
    }
}

size_t text_fold(uint32_t c, bool lower, uint32_t out[TEXT_FOLD_MAX])
{
    utf8proc_int32_t parts[TEXT_FOLD_MAX];
    int last = 0;
    const utf8proc_ssize_t n = utf8proc_decompose_char(
        (utf8proc_int32_t)c, parts, TEXT_FOLD_MAX, UTF8PROC_DECOMPOSE, &last);
    for (utf8proc_ssize_t i = 0; i < n && i < TEXT_FOLD_MAX; i++)
        out[i] = (uint32_t)(lower ? utf8proc_tolower(parts[i]) : parts[i]);
    return n < 0 ? 0 : n > TEXT_FOLD_MAX ? TEXT_FOLD_MAX : (size_t)n;
}

bool text_is_upper(uint32_t c)
{
    if (c < 0x80)
        return c >= 'A' && c <= 'Z';
    const utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LT;
}

bool text_is_dense(uint32_t c)
{
    return (c >= 0x0E00 && c <= 0x0EFF) || (c >= 0x1000 && c <= 0x109F) ||
           (c >= 0x1780 && c <= 0x17FF) || (c >= 0x3040 && c <= 0x30FF) ||
           (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x4E00 && c <= 0x9FFF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x20000 && c <= 0x3FFFF);
}

size_t text_lower(uint32_t c, uint32_t out[TEXT_LOWER_MAX])
{
    if (c == 0x130) { /* the one letter whose lower case is two characters */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    if (c < 0x80)
        out[0] = c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
    else
        out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    return 1;
}

bool text_is_alnum(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return true;
    default:
        return false;
    }
}

size_t text_grapheme_end(const char *s, size_t bytes, size_t at)
{
    utf8proc_int32_t state = 0;
    size_t next, after;
    if (at >= bytes)
        return bytes;
    uint32_t c = text_char(s, bytes, at, &next);
    while (next < bytes) {
        const uint32_t d = text_char(s, bytes, next, &after);
        if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)c, (utf8proc_int32_t)d, &state))
            break;
        c = d;
        next = after;
    }
    return next;
}

/* ---- raw bytes ---- */

bool text_is_binary(const void *raw, size_t bytes)
{
    const unsigned char *p = raw;
    if (bytes >= 2 && ((p[0] == 0xFF && p[1] == 0xFE) || (p[0] == 0xFE && p[1] == 0xFF)))
        return false;
    return bytes > 0 && memchr(raw, 0, bytes < 8192 ? bytes : 8192) != NULL;
}

/* windows-1252 from 0x80 to 0x9F; what it leaves undefined stays the control it is in Latin-1.
 */
static const uint16_t cp1252[32] = {
    0x20AC, 0x81,   0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
    0x2039, 0x0152, 0x8D,   0x017D, 0x8F,   0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D,   0x017E, 0x0178};

static size_t from_cp1252(const unsigned char *p, size_t bytes, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++)
        n += text_put_char(out + n, p[i] >= 0x80 && p[i] < 0xA0 ? cp1252[p[i] - 0x80] : p[i]);
    return n;
}

static rag_err from_utf16(const char *name, const unsigned char *p, size_t bytes, bool big,
                          char *out, size_t *n)
{
    if (bytes % 2)
        return RAG_FAIL(RAG_EFORMAT, "%s: UTF-16 of %zu bytes: half a character is missing",
                        name, bytes);
    *n = 0;
    for (size_t i = 0; i < bytes; i += 2) {
        uint32_t c = big ? (uint32_t)p[i] << 8 | p[i + 1] : (uint32_t)p[i + 1] << 8 | p[i];
        if (c >= 0xD800 && c < 0xE000) {
            uint32_t low = 0;
            if (c < 0xDC00 && i + 3 < bytes)
                low = big ? (uint32_t)p[i + 2] << 8 | p[i + 3]
                          : (uint32_t)p[i + 3] << 8 | p[i + 2];
            if (low < 0xDC00 || low > 0xDFFF)
                return RAG_FAIL(RAG_EFORMAT, "%s: byte %zu: a lone surrogate, %04X", name, i,
                                c);
            c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
            i += 2;
        }
        *n += text_put_char(out + *n, c);
    }
    return RAG_OK;
}

/* As UTF-8, still with its line ends, into a buffer of its own. */
static rag_err decode(const char *name, const unsigned char *p, size_t bytes,
                      struct text_bytes *t)
{
    const bool le = bytes >= 2 && p[0] == 0xFF && p[1] == 0xFE;
    const bool be = bytes >= 2 && p[0] == 0xFE && p[1] == 0xFF;
    const size_t mark = bytes >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    const bool plain = !le && !be && text_is_utf8((const char *)p + mark, bytes - mark);
    const size_t room = (plain ? 1 : 3) * bytes + 1;
    t->data = mem_alloc(room);
    if (!t->data)
        return RAG_FAIL(RAG_ENOMEM, "%s: out of memory for %zu bytes", name, room);
    if (le || be) {
        t->coding = le ? TEXT_UTF16LE : TEXT_UTF16BE;
        return from_utf16(name, p + 2, bytes - 2, be, t->data, &t->bytes);
    }
    if (plain) {
        t->bytes = bytes - mark;
        memcpy(t->data, p + mark, t->bytes);
        return RAG_OK;
    }
    t->coding = TEXT_CP1252;
    t->bytes = from_cp1252(p, bytes, t->data);
    return RAG_OK;
}

/* Characters that NFC leaves alone and that no neighbour among them changes; not all such. */
static bool is_composed(uint32_t c)
{
    return c < 0x300 || (c >= 0x388 && c <= 0x482) || (c >= 0x2010 && c <= 0x205F) ||
           (c >= 0x2190 && c <= 0x21FF) || (c >= 0x2500 && c <= 0x27FF) ||
           (c >= 0x3000 && c <= 0x3002) || (c >= 0x3041 && c <= 0x3096) ||
           (c >= 0x30A1 && c <= 0x30FA) || (c >= 0x4E00 && c <= 0x9FFF) ||
           (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0xFF01 && c <= 0xFF5E);
}

/* LF for CRLF and CR, no NUL, no tag characters, no mark; true if what is left is surely NFC.
 */
static bool clean(struct text_bytes *t)
{
    size_t n = 0, next;
    bool composed = true;
    for (size_t i = 0; i < t->bytes; i = next) {
        const unsigned char b = (unsigned char)t->data[i];
        next = i + 1;
        if (b == '\r') {
            if (next < t->bytes && t->data[next] == '\n')
                next++;
            t->data[n++] = '\n';
        } else if (b > 0 && b < 0x80) {
            t->data[n++] = (char)b;
        } else if (b >= 0x80) {
            const uint32_t c = text_char(t->data, t->bytes, i, &next);
            if (c == 0xFEFF || (c >= 0xE0000 && c <= 0xE007F))
                continue;
            memmove(t->data + n, t->data + i, next - i);
            n += next - i;
            composed = composed && is_composed(c);
        }
    }
    t->bytes = n;
    t->data[n] = '\0';
    return composed;
}

static rag_err compose(const char *name, struct text_bytes *t)
{
    utf8proc_uint8_t *composed = NULL;
    const utf8proc_ssize_t n =
        utf8proc_map((const utf8proc_uint8_t *)t->data, (utf8proc_ssize_t)t->bytes, &composed,
                     UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (n < 0)
        return n == UTF8PROC_ERROR_NOMEM
                   ? RAG_FAIL(RAG_ENOMEM, "%s: out of memory for %zu bytes", name, t->bytes)
                   : RAG_FAIL(RAG_EFORMAT, "%s: %s", name, utf8proc_errmsg(n));
    char *own = mem_alloc((size_t)n + 1);
    if (own) {
        memcpy(own, composed, (size_t)n);
        own[n] = '\0';
        mem_free(t->data);
        t->data = own;
        t->bytes = (size_t)n;
    }
    free(composed); /* utf8proc's own allocation */
    return own ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "%s: out of memory for %zd bytes", name, n);
}

rag_err text_normalise(const char *name, const void *raw, size_t bytes, struct text_bytes *out)
{
    struct text_bytes t = {.coding = TEXT_UTF8};
    if (bytes > TEXT_BYTES_MAX)
        return RAG_FAIL(RAG_ELIMIT, "%s has %zu bytes, at most %zu are read", name, bytes,
                        TEXT_BYTES_MAX);
    rag_err err = decode(name, raw, bytes, &t);
    if (!err && !clean(&t))
        err = compose(name, &t);
    if (err) {
        text_bytes_free(&t);
        return err;
    }
    char *fitting = mem_resize(t.data, t.bytes + 1);
    t.data = fitting ? fitting : t.data;
    *out = t;
    return RAG_OK;
}

void text_bytes_free(struct text_bytes *t)
{
    mem_free(t->data);
    *t = (struct text_bytes){0};
}

/* ---- words ---- */

static bool is_word_char(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return true;
    default:
        return false;
    }
}

/* What an ASCII byte is in a word, lower case; 0: no part of one. */
static inline char ascii_word(unsigned char b)
{
    if (b >= 'A' && b <= 'Z')
        return (char)(b + ('a' - 'A'));
    return (b >= 'a' && b <= 'z') || (b >= '0' && b <= '9') ? (char)b : 0;
}

struct wording {
    text_word_fn word;
    void *arg;
    size_t n;
    char at[TEXT_WORD_MAX + 16];
};

static int flush(struct wording *w)
{
    const size_t n = w->n;
    w->n = 0;
    return n > 0 ? w->word(w->arg, w->at, n) : 0;
}

/* A character that is not ASCII, folded, into the word; or the word's end. */
static int take_char(struct wording *w, uint32_t c)
{
    utf8proc_int32_t folded[8];
    int boundary = 0, stop = 0;
    const bool dense = text_is_dense(c);
    if (!is_word_char(c))
        return flush(w);
    if (dense)
        stop = flush(w);
    const utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)c, folded, 8, UTF8PROC_CASEFOLD, &boundary);
    if (n < 1 || n > 8)
        w->n += text_put_char(w->at + w->n, c);
    for (utf8proc_ssize_t i = 0; i < n && n <= 8 && w->n < TEXT_WORD_MAX + 8; i++)
        w->n += text_put_char(w->at + w->n, (uint32_t)folded[i]);
    if (!stop && (dense || w->n >= TEXT_WORD_MAX))
        stop = flush(w);
    return stop;
}

int text_words(const char *s, size_t bytes, text_word_fn word, void *arg)
{
    struct wording w = {.word = word, .arg = arg};
    int stop = 0;
    for (size_t i = 0; i < bytes && !stop;) {
        const unsigned char b = (unsigned char)s[i];
        if (b >= 0x80) {
            stop = take_char(&w, text_char(s, bytes, i, &i));
            continue;
        }
        const char c = ascii_word(b);
        i++;
        if (c)
            w.at[w.n++] = c;
        if (!c || w.n >= TEXT_WORD_MAX)
            stop = flush(&w);
    }
    return stop ? stop : flush(&w);
}
