/* wordvec.c - files of word vectors, read.  See wordvec.h.
 *
 * Place: rag/embed.  Invariant: every byte is untrusted; how many words there can be follows
 * from the bytes there are before anything is allocated for them. */
#include <config.h>

#include <endian.h>
#include <math.h>
#include <string.h>

#include "ann/base/memory.h"
#include "ann/io/io.h"
#include "rag/embed/decimal.h"
#include "rag/embed/wordvec_build.h"
#include "rag/error.h"
#include "rag/text/text.h"

#define FIRST_LINES  64   /* that tell the dims of a file without header */
#define SURE_NUMBERS 4    /* at the end of a line that make it text */
#define PLAIN_BYTES  4096 /* looked at for whether a file is text */
#define STOP_EVERY   1024 /* words between looks at io_stop */

struct reader {
    const char *name;
    const char *at, *end; /* what is left to read */
    size_t line;          /* the last one that was read, from 1 */
    struct wordvec_build b;
};

/* ---- lines ---- */

static rag_err stopped(const struct reader *r)
{
    return io_stop && *io_stop ? RAG_FAIL(RAG_ECANCELED, "%s: interrupted", r->name) : RAG_OK;
}

struct span {
    const char *s, *e;
};

/* Without the blanks at its ends, and the CR before the newline. */
static struct span trim(struct span t)
{
    if (t.e > t.s && t.e[-1] == '\r')
        t.e--;
    while (t.e > t.s && wordvec_blank(t.e[-1]))
        t.e--;
    while (t.s < t.e && wordvec_blank(*t.s))
        t.s++;
    return t;
}

/* The next line, as it is; *more is false at the end of the file. */
static rag_err next_line(struct reader *r, struct span *line, bool *more)
{
    const size_t left = (size_t)(r->end - r->at);
    *more = left > 0;
    if (left == 0)
        return RAG_OK;
    const size_t look = left > WORDVEC_LINE_MAX ? WORDVEC_LINE_MAX + 1 : left;
    const char *newline = memchr(r->at, '\n', look);
    r->line++;
    if (!newline && look > WORDVEC_LINE_MAX)
        return RAG_FAIL(RAG_ELIMIT, "%s: line %zu: longer than %zu bytes", r->name, r->line,
                        WORDVEC_LINE_MAX);
    *line = (struct span){r->at, newline ? newline : r->end};
    r->at = newline ? newline + 1 : r->end;
    return RAG_OK;
}

/* Takes the last field off t (not blank at its end), with the blanks before it. */
static struct span last_field(struct span *t)
{
    struct span f = {t->e, t->e};
    while (f.s > t->s && !wordvec_blank(f.s[-1]))
        f.s--;
    t->e = f.s;
    while (t->e > t->s && wordvec_blank(t->e[-1]))
        t->e--;
    return f;
}

/* Whether the field is a number, finite or not. */
static bool is_number(struct span f)
{
    float x;
    return decimal_read(&f.s, f.e, &x) != DECIMAL_NONE && f.s == f.e;
}

/* How many fields at the end of a trimmed line are numbers, at most `most`; the first field is
 * the word. */
static size_t count_numbers(struct span t, size_t most)
{
    size_t n = 0;
    while (n < most && t.e > t.s && is_number(last_field(&t)) && t.e > t.s)
        n++;
    return n;
}

/* The usual line: a word without blanks, and numbers without fault. */
static bool parse_plain(struct span t, uint32_t dims, struct span *word, float *out)
{
    const char *p = t.s;
    while (p < t.e && !wordvec_blank(*p))
        p++;
    *word = (struct span){t.s, p};
    for (uint32_t k = 0; k < dims; k++) {
        while (p < t.e && wordvec_blank(*p))
            p++;
        if (p == t.e || decimal_read(&p, t.e, &out[k]) != DECIMAL_OK ||
            (p < t.e && !wordvec_blank(*p)))
            return false;
    }
    return p == t.e;
}

/* The word is what stands before the last dims fields; or what is wrong with the line. */
static rag_err parse_line(const struct reader *r, struct span line, struct span *word,
                          float *out)
{
    const uint32_t dims = r->b.v.dims;
    const bool nameless = line.s < line.e && wordvec_blank(*line.s);
    struct span rest = trim(line);
    char clip[WORDVEC_CLIP], bad[WORDVEC_CLIP];
    size_t fields = 0;
    if (parse_plain(rest, dims, word, out))
        return RAG_OK;
    const struct span whole = rest;
    while (fields < dims && rest.e > rest.s) {
        last_field(&rest);
        fields++;
    }
    *word = rest;
    if (fields < dims || (rest.e == rest.s && !nameless)) {
        const char *p = whole.s;
        while (p < whole.e && !wordvec_blank(*p))
            p++;
        return RAG_FAIL(RAG_EFORMAT, "%s: line %zu: \"%s\" has %zu numbers, not %u%s", r->name,
                        r->line, wordvec_clip(whole.s, (size_t)(p - whole.s), clip),
                        fields > 0 ? fields - 1 : 0, dims,
                        r->at == r->end ? "; the file is cut short there" : "");
    }
    const char *p = rest.e;
    for (uint32_t k = 0; k < dims; k++) {
        while (wordvec_blank(*p))
            p++;
        struct span f = {p, p};
        while (f.e < whole.e && !wordvec_blank(*f.e))
            f.e++;
        const enum decimal how = decimal_read(&p, f.e, &out[k]);
        if (how != DECIMAL_OK || p < f.e)
            return RAG_FAIL(RAG_EFORMAT, "%s: line %zu: \"%s\": number %u is %s, %s", r->name,
                            r->line, wordvec_clip(word->s, (size_t)(word->e - word->s), clip),
                            k + 1, wordvec_clip(f.s, (size_t)(f.e - f.s), bad),
                            how == DECIMAL_NOT_FINITE && p == f.e ? "not a finite 32-bit one"
                                                                  : "which is none");
    }
    return RAG_OK;
}

/* The lines from r->at on; n of them, or SIZE_MAX if that is not known. */
static rag_err read_text(struct reader *r, size_t n)
{
    struct span line, word;
    size_t seen = 0;
    for (;;) {
        bool more;
        rag_err err = next_line(r, &line, &more);
        if (err)
            return err;
        if (!more)
            break;
        const struct span t = trim(line);
        if (t.s == t.e)
            continue;
        if (seen == n || r->b.v.n == r->b.room)
            return RAG_FAIL(RAG_EFORMAT, "%s: line %zu: more words than the %zu of its header",
                            r->name, r->line, r->b.room);
        err = parse_line(r, line, &word, wordvec_next(&r->b));
        if (!err)
            err = wordvec_keep(&r->b, word.s, (size_t)(word.e - word.s));
        if (!err && seen % STOP_EVERY == 0)
            err = stopped(r);
        if (err)
            return err;
        seen++;
    }
    if (n != SIZE_MAX && seen < n)
        return RAG_FAIL(RAG_EFORMAT, "%s: ends after %zu of the %zu words of its header",
                        r->name, seen, n);
    return wordvec_settle(&r->b);
}

/* ---- files without header ---- */

/* How many numbers most of the first lines have; the more of two that are as frequent, so that
 * a line cut short does not make numbers of the others part of their words. */
static rag_err guess_dims(struct reader r, uint32_t *dims)
{
    size_t counts[FIRST_LINES], n = 0, best = 0, votes = 0;
    char clip[WORDVEC_CLIP];
    while (n < FIRST_LINES) {
        struct span line;
        bool more;
        const rag_err err = next_line(&r, &line, &more);
        if (err)
            return err;
        if (!more)
            break;
        line = trim(line);
        if (line.s == line.e)
            continue;
        counts[n] = count_numbers(line, WORDVEC_DIMS_MAX + 1);
        if (n == 0 && counts[0] == 0)
            return RAG_FAIL(RAG_EFORMAT,
                            "%s: line %zu: \"%s\" is neither a word with its numbers nor a "
                            "header of how many words and numbers there are",
                            r.name, r.line,
                            wordvec_clip(line.s, (size_t)(line.e - line.s), clip));
        n++;
    }
    for (size_t i = 0; i < n; i++) {
        size_t same = 0;
        for (size_t k = 0; k < n; k++)
            same += counts[k] == counts[i];
        if (same > votes || (same == votes && counts[i] > best)) {
            votes = same;
            best = counts[i];
        }
    }
    if (best < 1 || best > WORDVEC_DIMS_MAX)
        return RAG_FAIL(RAG_EFORMAT, "%s: %s; 1 to %d numbers a word are read", r.name,
                        n == 0      ? "no line in it"
                        : best == 0 ? "lines without numbers"
                                    : "too many numbers a line",
                        WORDVEC_DIMS_MAX);
    *dims = (uint32_t)best;
    return RAG_OK;
}

static rag_err read_glove(struct reader *r)
{
    uint32_t dims;
    rag_err err = guess_dims(*r, &dims);
    if (err)
        return err;
    /* As many as there are lines, or as fit: of a blank, a digit and a newline at the least. */
    const size_t left = (size_t)(r->end - r->at),
                 most = (left + 1) / (2 * (size_t)dims + 1) + 1;
    size_t lines = 1;
    for (const char *p = r->at; (p = memchr(p, '\n', (size_t)(r->end - p))) != NULL; p++)
        lines++;
    err = wordvec_prepare(&r->b, lines < most ? lines : most, dims);
    return err ? err : read_text(r, SIZE_MAX);
}

/* ---- files with a header ---- */

struct header {
    size_t n, dims; /* SIZE_MAX: not to be written in 18 digits */
};

static bool whole_number(const char **s, const char *end, size_t *out)
{
    const char *p = *s;
    size_t x = 0;
    for (; p < end && *p >= '0' && *p <= '9'; p++)
        x = p - *s < 18 ? x * 10 + (size_t)(*p - '0') : SIZE_MAX;
    const bool any = p > *s;
    *s = p;
    *out = x;
    return any;
}

/* Two whole numbers and nothing else. */
static bool parse_header(struct span line, struct header *h)
{
    const struct span t = trim(line);
    const char *p = t.s;
    if (!whole_number(&p, t.e, &h->n) || p == t.e || !wordvec_blank(*p))
        return false;
    while (wordvec_blank(*p))
        p++;
    return whole_number(&p, t.e, &h->dims) && p == t.e;
}

/* Room for the header's words, if words of `each` bytes at the least fit what is left. */
static rag_err check_header(struct reader *r, const struct header *h, size_t each)
{
    const size_t left = (size_t)(r->end - r->at);
    size_t need;
    if (h->dims < 1 || h->dims > WORDVEC_DIMS_MAX)
        return RAG_FAIL(RAG_EFORMAT, "%s: line 1: vectors of %zu numbers; 1 to %d are read",
                        r->name, h->dims, WORDVEC_DIMS_MAX);
    if (h->n == 0)
        return RAG_FAIL(RAG_EFORMAT, "%s: line 1: no words", r->name);
    if (!size_mul(h->n, each, &need) || need - 1 > left)
        return RAG_FAIL(RAG_EFORMAT,
                        "%s: line 1: %zu words of %zu numbers do not fit the %zu bytes behind",
                        r->name, h->n, h->dims, left);
    return wordvec_prepare(&r->b, h->n, (uint32_t)h->dims);
}

/* Whether the first line after the header ends in numbers. */
static bool looks_like_text(const struct reader *r, size_t dims)
{
    const char *s = r->at;
    while (s < r->end && (*s == '\n' || *s == '\r'))
        s++;
    const size_t left = (size_t)(r->end - s),
                 look = left < WORDVEC_LINE_MAX ? left : WORDVEC_LINE_MAX;
    if (left == 0)
        return true;
    const char *newline = memchr(s, '\n', look);
    const size_t want = dims < SURE_NUMBERS ? dims : SURE_NUMBERS;
    return count_numbers(trim((struct span){s, newline ? newline : s + look}), want) == want;
}

/* Whether the next bytes are such as stand in texts. */
static bool is_plain(const char *s, const char *end)
{
    for (size_t i = 0; i < PLAIN_BYTES && s + i < end; i++) {
        const unsigned char c = (unsigned char)s[i];
        if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f)
            return false;
    }
    return true;
}

/* The next record's word. */
static rag_err record_word(struct reader *r, size_t i, size_t n, struct span *word)
{
    if (r->at < r->end && *r->at == '\n')
        r->at++;
    const size_t left = (size_t)(r->end - r->at);
    const char *blank = memchr(r->at, ' ', left < WORDVEC_LINE_MAX ? left : WORDVEC_LINE_MAX);
    if (!blank && left >= WORDVEC_LINE_MAX)
        return RAG_FAIL(RAG_ELIMIT, "%s: word %zu: longer than %zu bytes", r->name, i + 1,
                        WORDVEC_LINE_MAX);
    if (!blank)
        return RAG_FAIL(RAG_EFORMAT, "%s: cut short: ends in word %zu of the %zu of its header",
                        r->name, i + 1, n);
    *word = (struct span){r->at, blank};
    r->at = blank + 1;
    return RAG_OK;
}

static rag_err record_numbers(struct reader *r, size_t i, struct span word)
{
    const size_t row = r->b.v.dims * sizeof(float), left = (size_t)(r->end - r->at);
    float *out = wordvec_next(&r->b);
    char clip[WORDVEC_CLIP];
    if (left < row)
        return RAG_FAIL(RAG_EFORMAT,
                        "%s: word %zu, \"%s\": cut short: %zu bytes of its %u numbers", r->name,
                        i + 1, wordvec_clip(word.s, (size_t)(word.e - word.s), clip), left,
                        r->b.v.dims);
    for (uint32_t k = 0; k < r->b.v.dims; k++) {
        uint32_t bits;
        memcpy(&bits, r->at + k * sizeof bits, sizeof bits);
        bits = le32toh(bits);
        memcpy(out + k, &bits, sizeof bits);
        if (!isfinite(out[k]))
            return RAG_FAIL(RAG_EFORMAT, "%s: word %zu, \"%s\": number %u is %s", r->name,
                            i + 1, wordvec_clip(word.s, (size_t)(word.e - word.s), clip), k + 1,
                            isnan(out[k]) ? "nan"
                            : out[k] > 0  ? "inf"
                                          : "-inf");
    }
    r->at += row;
    return RAG_OK;
}

static rag_err read_binary(struct reader *r, const struct header *h)
{
    rag_err err = check_header(r, h, 4 * h->dims + 1);
    for (size_t i = 0; i < h->n && !err; i++) {
        struct span word;
        err = record_word(r, i, h->n, &word);
        if (!err)
            err = record_numbers(r, i, word);
        if (!err)
            err = wordvec_keep(&r->b, word.s, (size_t)(word.e - word.s));
        if (!err && i % STOP_EVERY == 0)
            err = stopped(r);
    }
    if (err)
        return err;
    while (r->at < r->end && (*r->at == '\n' || *r->at == '\r'))
        r->at++;
    if (r->at < r->end)
        return RAG_FAIL(RAG_EFORMAT, "%s: %zu bytes behind the %zu words of its header",
                        r->name, (size_t)(r->end - r->at), h->n);
    return wordvec_settle(&r->b);
}

static rag_err read_headed(struct reader *r, const struct header *h)
{
    const struct reader start = *r;
    if (h->dims <= WORDVEC_DIMS_MAX && !looks_like_text(r, h->dims)) {
        const rag_err err = read_binary(r, h);
        if (err != RAG_EFORMAT || !is_plain(start.at, start.end))
            return err;
        /* A text with a fault in its first line: that is what its error should speak of. */
        wordvec_drop(&r->b);
        *r = start;
    }
    const rag_err err = check_header(r, h, 2 * h->dims + 1);
    return err ? err : read_text(r, h->n);
}

/* ---- files ---- */

/* What a file begins with that is not to be unpacked here. */
static rag_err check_magic(const struct reader *r)
{
    static const struct {
        const char *bytes, *what;
    } known[] = {
        {"\x1f\x8b", "packed by gzip; unpack it first"},
        {"PK\x03\x04", "a zip archive; unpack it first"},
        {"BZh", "packed by bzip2; unpack it first"},
        {"\xfd"
         "7zXZ",
         "packed by xz; unpack it first"},
        {"\xba\x16\x4f\x2f", "a model of fastText; its vectors are in the .vec file beside it"},
        {"\x93NUMPY", "an array of NumPy, without words"},
    };
    const size_t left = (size_t)(r->end - r->at);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const size_t n = strlen(known[i].bytes);
        /* What is all letters may be the beginning of a word. */
        if (left > n && memcmp(r->at, known[i].bytes, n) == 0 && !is_plain(r->at, r->end))
            return RAG_FAIL(RAG_EFORMAT, "%s: %s", r->name, known[i].what);
    }
    return RAG_OK;
}

static rag_err read_bytes(struct reader *r)
{
    struct span line;
    struct header h;
    bool more;
    if (r->at == r->end)
        return RAG_FAIL(RAG_EFORMAT, "%s: is empty", r->name);
    rag_err err = check_magic(r);
    if (err)
        return err;
    if (r->end - r->at >= 3 && memcmp(r->at, "\xef\xbb\xbf", 3) == 0)
        r->at += 3;
    const struct reader start = *r;
    err = next_line(r, &line, &more);
    if (err)
        return err;
    if (more && parse_header(line, &h))
        return read_headed(r, &h);
    *r = start;
    return read_glove(r);
}

rag_err wordvec_read(const char *path, size_t max_memory, struct wordvec *out)
{
    const size_t most = max_memory ? max_memory : WORDVEC_MEMORY;
    const struct io_options raw = {
        .format = IO_RAW, .type = IO_U8, .dim = 1, .max_memory = most};
    struct io_matrix file;
    rag_err err = rag_from_base(io_load(path, &raw, &file));
    if (err)
        return err;
    struct reader r = {.name = strcmp(path, "-") == 0 ? "standard input" : path,
                       .at = file.data};
    /* What came from a pipe is in memory already. */
    const size_t copied = file.hold_bytes ? 0 : file.n;
    r.b = (struct wordvec_build){.name = r.name,
                                 .max_memory = most > copied ? most - copied : 0,
                                 .max_word_room = file.n + 1};
    r.end = r.at + file.n;
    err = read_bytes(&r);
    if (!err) {
        *out = r.b.v;
        r.b.v = (struct wordvec){0};
    }
    wordvec_drop(&r.b);
    io_free(&file);
    return err;
}
