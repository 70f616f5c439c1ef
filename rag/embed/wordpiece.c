/* wordpiece.c - BERT's tokenizer.  See wordpiece.h.
 *
 * Place: rag/embed.  A word is gathered, folded, into a small buffer, while its hash grows byte
 * by byte; most words are found whole by that one look-up.  The others are cut from the left:
 * the hashes of all beginnings of what is left come from one pass over it, and the longest
 * beginning that is a token wins.
 *
 * Invariant: ids never exceed the tokens; what is written never exceeds the room. */
#include <config.h>

#include <string.h>

#include "ann/base/memory.h"
#include "rag/embed/wordpiece.h"
#include "rag/error.h"
#include "rag/text/text.h"

#define HASH_START UINT64_C(0xcbf29ce484222325)
#define HASH_INNER UINT64_C(0x9e3779b97f4a7c15) /* where pieces behind "##" start */
#define HASH_TIMES UINT64_C(0x100000001b3)

#define WORD_BYTES (4 * WORDPIECE_CHARS_MAX)
#define NONE       UINT32_MAX

struct place {
    uint32_t tag; /* of the hash; to tell most others apart without a look at the text */
    uint32_t id;  /* NONE: empty */
};

struct wordpiece {
    const char *tokens; /* the caller's */
    uint32_t *at;       /* [n + 1] where each token begins */
    size_t n, mask;
    struct place *table; /* [mask + 1], at most half full */
    size_t longest;      /* bytes of a token, "##" left out */
    uint32_t cls, sep, unknown;
    bool lower;
};

/* ---- the tokens ---- */

static inline uint64_t grow(uint64_t h, char c)
{
    return (h ^ (unsigned char)c) * HASH_TIMES;
}

static inline uint64_t mix(uint64_t h)
{
    return h ^ h >> 32;
}

/* Token [bytes] (without "##"; inner: it had one) in the table. */
static inline uint32_t find(const struct wordpiece *w, const char *s, size_t bytes, bool inner,
                            uint64_t hash)
{
    const uint64_t h = mix(hash);
    const size_t skip = inner ? 2 : 0;
    for (size_t i = h & w->mask;; i = (i + 1) & w->mask) {
        const struct place *p = &w->table[i];
        if (p->id == NONE)
            return NONE;
        if (p->tag != (uint32_t)(hash >> 32))
            continue;
        const char *token = w->tokens + w->at[p->id];
        if (w->at[p->id + 1] - w->at[p->id] - 1 == bytes + skip &&
            (token[0] == '#' && token[1] == '#' && token[2] != '\0') == inner &&
            memcmp(token + skip, s, bytes) == 0)
            return p->id;
    }
}

static void put(struct wordpiece *w, uint32_t id)
{
    const char *token = w->tokens + w->at[id];
    size_t bytes = w->at[id + 1] - w->at[id] - 1;
    const bool inner = bytes > 2 && token[0] == '#' && token[1] == '#';
    uint64_t hash = inner ? HASH_INNER : HASH_START;
    token += inner ? 2 : 0;
    bytes -= inner ? 2 : 0;
    for (size_t i = 0; i < bytes; i++)
        hash = grow(hash, token[i]);
    if (bytes == 0 || find(w, token, bytes, inner, hash) != NONE)
        return; /* of two alike the first counts */
    size_t i = mix(hash) & w->mask;
    while (w->table[i].id != NONE)
        i = (i + 1) & w->mask;
    w->table[i] = (struct place){(uint32_t)(hash >> 32), id};
    if (bytes > w->longest)
        w->longest = bytes;
}

static rag_err number_tokens(struct wordpiece *w, size_t bytes)
{
    size_t at = 0;
    for (size_t i = 0; i < w->n; i++) {
        w->at[i] = (uint32_t)at;
        const char *end = at < bytes ? memchr(w->tokens + at, '\0', bytes - at) : NULL;
        if (!end)
            return RAG_FAIL(RAG_EFORMAT, "a vocabulary of %zu tokens ends at token %zu", w->n,
                            i);
        at = (size_t)(end - w->tokens) + 1;
    }
    w->at[w->n] = (uint32_t)at;
    return RAG_OK;
}

static rag_err find_special(const struct wordpiece *w, const char *name, uint32_t *out)
{
    uint64_t hash = HASH_START;
    for (const char *s = name; *s; s++)
        hash = grow(hash, *s);
    *out = find(w, name, strlen(name), false, hash);
    return *out != NONE ? RAG_OK
                        : RAG_FAIL(RAG_EFORMAT, "the vocabulary has no token \"%s\"", name);
}

rag_err wordpiece_make(const char *tokens, size_t bytes, size_t n, bool lower,
                       struct wordpiece **out)
{
    if (n == 0 || n > WORDPIECE_TOKENS_MAX || bytes > UINT32_MAX)
        return RAG_FAIL(RAG_EFORMAT, "a vocabulary of %zu tokens; 1 to %d are allowed", n,
                        WORDPIECE_TOKENS_MAX);
    struct wordpiece *w = mem_zalloc(1, sizeof *w);
    if (!w)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a tokenizer");
    *w = (struct wordpiece){.tokens = tokens, .n = n, .lower = lower, .mask = 1023};
    while (w->mask < 2 * n)
        w->mask = 2 * w->mask + 1;
    w->at = mem_alloc((n + 1) * sizeof *w->at);
    w->table = mem_alloc((w->mask + 1) * sizeof *w->table);
    rag_err err =
        w->at && w->table ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu tokens", n);
    if (!err) {
        memset(w->table, 0xff, (w->mask + 1) * sizeof *w->table);
        err = number_tokens(w, bytes);
    }
    for (size_t i = 0; i < n && !err; i++)
        put(w, (uint32_t)i);
    if (!err)
        err = find_special(w, "[CLS]", &w->cls);
    if (!err)
        err = find_special(w, "[SEP]", &w->sep);
    if (!err)
        err = find_special(w, "[UNK]", &w->unknown);
    if (err)
        wordpiece_free(w);
    else
        *out = w;
    return err;
}

void wordpiece_free(struct wordpiece *w)
{
    if (!w)
        return;
    mem_free(w->at);
    mem_free(w->table);
    mem_free(w);
}

uint32_t wordpiece_cls(const struct wordpiece *w)
{
    return w->cls;
}

uint32_t wordpiece_sep(const struct wordpiece *w)
{
    return w->sep;
}

uint32_t wordpiece_unknown(const struct wordpiece *w)
{
    return w->unknown;
}

bool wordpiece_lower(const struct wordpiece *w)
{
    return w->lower;
}

size_t wordpiece_count(const struct wordpiece *w)
{
    return w->n;
}

const char *wordpiece_token(const struct wordpiece *w, size_t id)
{
    return id < w->n ? w->tokens + w->at[id] : NULL;
}

/* ---- words ---- */

struct word {
    char bytes[WORD_BYTES];
    size_t n, chars; /* chars goes on counting when the buffer is full */
    uint64_t hash;   /* of bytes */
};

static inline void word_clear(struct word *v)
{
    v->n = v->chars = 0;
    v->hash = HASH_START;
}

static void word_put(struct word *v, uint32_t c)
{
    char s[4];
    size_t n;
    if (c < 0x80) {
        s[0] = (char)c;
        n = 1;
    } else if (c < 0x800) {
        s[0] = (char)(0xc0 | c >> 6);
        s[1] = (char)(0x80 | (c & 63));
        n = 2;
    } else if (c < 0x10000) {
        s[0] = (char)(0xe0 | c >> 12);
        s[1] = (char)(0x80 | (c >> 6 & 63));
        s[2] = (char)(0x80 | (c & 63));
        n = 3;
    } else {
        s[0] = (char)(0xf0 | c >> 18);
        s[1] = (char)(0x80 | (c >> 12 & 63));
        s[2] = (char)(0x80 | (c >> 6 & 63));
        s[3] = (char)(0x80 | (c & 63));
        n = 4;
    }
    if (++v->chars > WORDPIECE_CHARS_MAX)
        return;
    for (size_t i = 0; i < n; i++) {
        v->bytes[v->n++] = s[i];
        v->hash = grow(v->hash, s[i]);
    }
}

/* The longest token that s [bytes] begins with, in *used bytes; NONE: none does. */
static uint32_t longest(const struct wordpiece *w, const char *s, size_t bytes, bool inner,
                        size_t *used)
{
    uint64_t hashes[WORD_BYTES + 1];
    size_t n = bytes < w->longest ? bytes : w->longest;
    hashes[0] = inner ? HASH_INNER : HASH_START;
    for (size_t i = 0; i < n; i++)
        hashes[i + 1] = grow(hashes[i], s[i]);
    for (; n > 0; n--) {
        if (n < bytes && ((unsigned char)s[n] & 0xc0) == 0x80)
            continue; /* within a character */
        const uint32_t id = find(w, s, n, inner, hashes[n]);
        if (id != NONE) {
            *used = n;
            return id;
        }
    }
    return NONE;
}

/* The pieces of v at ids, how many; one [UNK] where some part of it is no token. */
static size_t cut(const struct wordpiece *w, const struct word *v, uint32_t *ids)
{
    size_t n = 0, at = 0, used = 0;
    ids[0] = w->unknown;
    if (v->chars > WORDPIECE_CHARS_MAX)
        return 1;
    const uint32_t whole = find(w, v->bytes, v->n, false, v->hash);
    if (whole != NONE) {
        ids[0] = whole;
        return 1;
    }
    while (at < v->n) {
        const uint32_t id = longest(w, v->bytes + at, v->n - at, at > 0, &used);
        if (id == NONE) {
            ids[0] = w->unknown;
            return 1;
        }
        ids[n++] = id;
        at += used;
    }
    return n;
}

/* The ideographs that stand for words; Hangul, kana and the like do not. */
static bool is_ideograph(uint32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
           (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
           (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B820 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

/* ---- texts ---- */

enum { WORD, BLANK, MARK, NOTHING, WIDE }; /* of a byte */

#define W WORD
#define B BLANK
#define M MARK
#define N NOTHING
static const unsigned char ascii_class[128] = {
    N, N, N, N, N, N, N, N, N, B, B, N, N, B, N, N, N, N, N, N, N, N, N, N, N, N,
    N, N, N, N, N, N, B, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, W, W, W, W,
    W, W, W, W, W, W, M, M, M, M, M, M, M, W, W, W, W, W, W, W, W, W, W, W, W, W,
    W, W, W, W, W, W, W, W, W, W, W, W, W, M, M, M, M, M, M, W, W, W, W, W, W, W,
    W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, M, M, M, M, N};
#undef W
#undef B
#undef M
#undef N

struct reading {
    const struct wordpiece *w;
    struct word word;
    uint32_t *ids;
    size_t n;
};

static inline void end_word(struct reading *r)
{
    if (r->word.chars > 0)
        r->n += cut(r->w, &r->word, r->ids + r->n);
    word_clear(&r->word);
}

static void alone(struct reading *r, uint32_t c)
{
    end_word(r);
    word_put(&r->word, c);
    end_word(r);
}

/* Punctuation, marks and controls that Unicode has had since version 9.  The reference's tables
 * are of version 8, where they are nothing in particular; made with Perl's \\p{Present_In}. */
static const uint32_t newer[][2] = {
    {0x61D, 0x61D},     {0x7FD, 0x7FD},     {0x890, 0x891},     {0x898, 0x89F},
    {0x8CA, 0x8E2},     {0x9FD, 0x9FE},     {0xA76, 0xA76},     {0xAFA, 0xAFF},
    {0xB55, 0xB55},     {0xC04, 0xC04},     {0xC3C, 0xC3C},     {0xC77, 0xC77},
    {0xC84, 0xC84},     {0xD00, 0xD00},     {0xD3B, 0xD3C},     {0xD81, 0xD81},
    {0xEBA, 0xEBA},     {0x180F, 0x180F},   {0x1ABF, 0x1ACE},   {0x1B7D, 0x1B7E},
    {0x1DF6, 0x1DFB},   {0x2E43, 0x2E4F},   {0x2E52, 0x2E5D},   {0xA82C, 0xA82C},
    {0xA8C5, 0xA8C5},   {0xA8FF, 0xA8FF},   {0x10D24, 0x10D27}, {0x10EAB, 0x10EAD},
    {0x10F46, 0x10F50}, {0x10F55, 0x10F59}, {0x10F82, 0x10F89}, {0x11070, 0x11070},
    {0x11073, 0x11074}, {0x110C2, 0x110C2}, {0x110CD, 0x110CD}, {0x111CF, 0x111CF},
    {0x1123E, 0x1123E}, {0x1133B, 0x1133B}, {0x11438, 0x1143F}, {0x11442, 0x11444},
    {0x11446, 0x11446}, {0x1144B, 0x1144F}, {0x1145A, 0x1145B}, {0x1145D, 0x1145E},
    {0x11660, 0x1166C}, {0x116B9, 0x116B9}, {0x1182F, 0x11837}, {0x11839, 0x1183B},
    {0x1193B, 0x1193C}, {0x1193E, 0x1193E}, {0x11943, 0x11946}, {0x119D4, 0x119D7},
    {0x119DA, 0x119DB}, {0x119E0, 0x119E0}, {0x119E2, 0x119E2}, {0x11A01, 0x11A0A},
    {0x11A33, 0x11A38}, {0x11A3B, 0x11A47}, {0x11A51, 0x11A56}, {0x11A59, 0x11A5B},
    {0x11A8A, 0x11A96}, {0x11A98, 0x11A9C}, {0x11A9E, 0x11AA2}, {0x11C30, 0x11C36},
    {0x11C38, 0x11C3D}, {0x11C3F, 0x11C3F}, {0x11C41, 0x11C45}, {0x11C70, 0x11C71},
    {0x11C92, 0x11CA7}, {0x11CAA, 0x11CB0}, {0x11CB2, 0x11CB3}, {0x11CB5, 0x11CB6},
    {0x11D31, 0x11D36}, {0x11D3A, 0x11D3A}, {0x11D3C, 0x11D3D}, {0x11D3F, 0x11D45},
    {0x11D47, 0x11D47}, {0x11D90, 0x11D91}, {0x11D95, 0x11D95}, {0x11D97, 0x11D97},
    {0x11EF3, 0x11EF4}, {0x11EF7, 0x11EF8}, {0x11FFF, 0x11FFF}, {0x12FF1, 0x12FF2},
    {0x13430, 0x13438}, {0x16E97, 0x16E9A}, {0x16F4F, 0x16F4F}, {0x16FE2, 0x16FE2},
    {0x16FE4, 0x16FE4}, {0x1CF00, 0x1CF2D}, {0x1CF30, 0x1CF46}, {0x1E000, 0x1E006},
    {0x1E008, 0x1E018}, {0x1E01B, 0x1E021}, {0x1E023, 0x1E024}, {0x1E026, 0x1E02A},
    {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1E944, 0x1E94A},
    {0x1E95E, 0x1E95F},
};

static bool is_newer(uint32_t c)
{
    size_t low = 0, high = sizeof newer / sizeof *newer;
    while (low < high) {
        const size_t mid = (low + high) / 2;
        if (newer[mid][1] < c)
            low = mid + 1;
        else
            high = mid;
    }
    return low < sizeof newer / sizeof *newer && newer[low][0] <= c;
}

static enum text_class class_of(uint32_t c)
{
    if (c < 0x80)
        return ascii_class[c] == MARK ? TEXT_PUNCTUATION : text_class(c);
    return is_newer(c) ? TEXT_OTHER : text_class(c);
}

/* One character beyond ASCII: folded it may be several, or none. */
static void take_wide(struct reading *r, uint32_t c)
{
    uint32_t parts[TEXT_FOLD_MAX] = {c};
    size_t n = 1;
    const enum text_class class = c == 0xFFFD ? TEXT_CONTROL : class_of(c);
    if (class == TEXT_CONTROL)
        return;
    if (class == TEXT_SPACE) {
        end_word(r);
        return;
    }
    const bool apart = is_ideograph(c);
    if (apart)
        end_word(r);
    if (r->w->lower)
        n = text_fold(c, true, parts);
    for (size_t i = 0; i < n; i++) {
        const enum text_class part = class_of(parts[i]);
        if (part == TEXT_SPACE)
            end_word(r);
        else if (part == TEXT_PUNCTUATION)
            alone(r, parts[i]);
        else if (part != TEXT_MARK || !r->w->lower)
            word_put(&r->word, parts[i]);
    }
    if (apart)
        end_word(r);
}

size_t wordpiece_next(const struct wordpiece *w, struct wordpiece_scan *scan, uint32_t *ids,
                      size_t room)
{
    struct reading r = {.w = w, .ids = ids};
    const char fold = w->lower ? 'a' - 'A' : 0;
    word_clear(&r.word);
    size_t at = scan->at;
    while (at < scan->bytes) {
        const unsigned char c = (unsigned char)scan->text[at];
        const int class = c < 0x80 ? ascii_class[c] : WIDE;
        if (class == WORD) {
            const char low = (char)(c >= 'A' && c <= 'Z' ? c + fold : c);
            at++;
            if (++r.word.chars <= WORDPIECE_CHARS_MAX) {
                r.word.bytes[r.word.n++] = low;
                r.word.hash = grow(r.word.hash, low);
            }
            continue;
        }
        if (class == BLANK) {
            end_word(&r);
            at++;
        } else if (class == MARK) {
            alone(&r, c);
            at++;
        } else if (class == NOTHING) {
            at++;
        } else {
            take_wide(&r, text_char(scan->text, scan->bytes, at, &at));
        }
        if (room - r.n < WORDPIECE_ROOM)
            break;
    }
    end_word(&r);
    scan->at = at;
    return r.n;
}

size_t wordpiece_encode(const struct wordpiece *w, const char *text, size_t bytes, size_t most,
                        uint32_t *ids)
{
    struct wordpiece_scan scan = {text, bytes, 0};
    uint32_t some[2 * WORDPIECE_ROOM];
    size_t n = 1;
    ids[0] = w->cls;
    while (n < most - 1) {
        const size_t got = wordpiece_next(w, &scan, some, 2 * WORDPIECE_ROOM);
        if (got == 0 && scan.at >= scan.bytes)
            break;
        const size_t take = got < most - 1 - n ? got : most - 1 - n;
        memcpy(ids + n, some, take * sizeof *ids);
        n += take;
    }
    ids[n++] = w->sep;
    return n;
}
