/* answers.c - an answer's words against those of references, and where it cites.
 * See answers.h.
 *
 * Place: rag/eval.  Texts become tokens, tokens of two texts become numbers, and all three
 * figures are counted on numbers.  The longest common subsequence is counted in bits, 64 tokens
 * of a text at a time (Hyyro, "Bit-parallel LCS-length computation revisited", 2004). */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "ann/base/memory.h"
#include "rag/answer/answer.h"
#include "rag/answer/growing.h"
#include "rag/error.h"
#include "rag/eval/answers.h"
#include "rag/text/text.h"

/* ---- tokens ---- */

struct token {
    size_t at, bytes; /* of the text they are in */
};

struct tokens {
    struct growing text; /* one token behind the other */
    struct token *list;  /* [n] */
    size_t n, room;
    size_t begin, run; /* where the present token begins, and its last run of letters */
};

static void tokens_free(struct tokens *t)
{
    growing_free(&t->text);
    mem_free(t->list);
    *t = (struct tokens){0};
}

/* What was put since the last token is one, unless it is nothing. */
static void end_token(struct tokens *t)
{
    if (t->text.bytes > t->begin && t->n == t->room) {
        struct token *more = mem_resize(t->list, (2 * t->room + 64) * sizeof *more);
        if (!more) {
            t->text.failed = true;
            return;
        }
        t->list = more;
        t->room = 2 * t->room + 64;
    }
    if (t->text.bytes > t->begin)
        t->list[t->n++] = (struct token){t->begin, t->text.bytes - t->begin};
    t->begin = t->run = t->text.bytes;
}

static void put_char(struct tokens *t, uint32_t c)
{
    char bytes[4];
    growing_put(&t->text, bytes, text_put_char(bytes, c));
}

typedef void (*take_char_fn)(struct tokens *t, uint32_t lower);

static rag_err make_tokens(const char *text, take_char_fn take, struct tokens *out)
{
    struct tokens t = {0};
    const size_t bytes = strlen(text);
    for (size_t at = 0; at < bytes && !t.text.failed;) {
        uint32_t lower[TEXT_LOWER_MAX];
        const size_t n = text_lower(text_char(text, bytes, at, &at), lower);
        for (size_t i = 0; i < n; i++)
            take(&t, lower[i]);
    }
    take(&t, ' ');
    if (t.text.failed) {
        tokens_free(&t);
        return RAG_FAIL(RAG_ENOMEM, "out of memory for tokens of %zu bytes", bytes);
    }
    *out = t;
    return RAG_OK;
}

/* As rouge_score: runs of a-z and 0-9. */
static void take_rouge(struct tokens *t, uint32_t c)
{
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
        put_char(t, c);
    else
        end_token(t);
}

static bool is_article(const char *s, size_t bytes)
{
    return (bytes == 1 && *s == 'a') || (bytes == 2 && memcmp(s, "an", 2) == 0) ||
           (bytes == 3 && memcmp(s, "the", 3) == 0);
}

/* A run of letters ends; an article becomes a blank. */
static void end_run(struct tokens *t)
{
    const size_t bytes = t->text.bytes - t->run;
    if (bytes > 0 && is_article(t->text.text + t->run, bytes)) {
        t->text.bytes = t->run;
        end_token(t);
    }
    t->run = t->text.bytes;
}

/* What Python's str.split takes for white space. */
static bool is_blank(uint32_t c)
{
    return text_is_space(c) || (c >= 0x1C && c <= 0x1F) || c == 0x85;
}

static bool is_ascii_mark(uint32_t c)
{
    return c < 0x7F && c > ' ' && !text_is_alnum(c);
}

/* As SQuAD's script: what ASCII calls punctuation goes, then articles, then blanks part. */
static void take_squad(struct tokens *t, uint32_t c)
{
    if (is_ascii_mark(c))
        return;
    if (is_blank(c)) {
        end_run(t);
        end_token(t);
    } else if (text_is_alnum(c)) {
        put_char(t, c);
    } else {
        end_run(t);
        put_char(t, c);
        t->run = t->text.bytes;
    }
}

/* ---- numbers ---- */

/* Two texts as numbers of their tokens: equal ones, and only those, have the same. */
struct numbered {
    uint32_t *a, *b; /* [na], [nb] */
    size_t na, nb;
    uint32_t n; /* of different tokens */
};

struct word {
    const char *text;
    size_t bytes;
    uint32_t *number;
};

static int by_text(const void *a, const void *b)
{
    const struct word *x = a, *y = b;
    const int order = memcmp(x->text, y->text, x->bytes < y->bytes ? x->bytes : y->bytes);
    return order ? order : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static void list_words(const struct tokens *t, struct word *words, uint32_t *numbers)
{
    for (size_t i = 0; i < t->n; i++)
        words[i] = (struct word){t->text.text + t->list[i].at, t->list[i].bytes, &numbers[i]};
}

static rag_err number(const struct tokens *a, const struct tokens *b, struct numbered *out)
{
    const size_t all = a->n + b->n;
    struct word *words = mem_alloc((all + 1) * sizeof *words);
    uint32_t *numbers = mem_alloc((all + 1) * sizeof *numbers), n = 0;
    if (!words || !numbers) {
        mem_free(words);
        mem_free(numbers);
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu tokens", all);
    }
    list_words(a, words, numbers);
    list_words(b, words + a->n, numbers + a->n);
    qsort(words, all, sizeof *words, by_text);
    for (size_t i = 0; i < all; i++) {
        n += i == 0 || by_text(&words[i - 1], &words[i]) != 0;
        *words[i].number = n - 1;
    }
    mem_free(words);
    *out = (struct numbered){numbers, numbers + a->n, a->n, b->n, n};
    return RAG_OK;
}

/* ---- figures ---- */

static double f_measure(size_t common, size_t na, size_t nb)
{
    /* 2 P R / (P + R) with P = common / na, R = common / nb */
    return common ? 2.0 * (double)common / (double)(na + nb) : 0;
}

/* How many tokens both have, each as often as in the one that has it less often. */
static rag_err count_common(const struct numbered *m, size_t *out)
{
    size_t *counts = mem_zalloc((size_t)m->n + 1, sizeof *counts);
    size_t common = 0;
    if (!counts)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %u counts", m->n);
    for (size_t i = 0; i < m->na; i++)
        counts[m->a[i]]++;
    for (size_t i = 0; i < m->nb; i++)
        if (counts[m->b[i]] > 0) {
            counts[m->b[i]]--;
            common++;
        }
    mem_free(counts);
    *out = common;
    return RAG_OK;
}

#define OFTEN_MOST 64

/* Places of each number in a: those of v are places[first[v]] .. places[first[v + 1] - 1].  One
 * that stands there more often than a row has words has a row of bits of its own, own[v] - 1 of
 * often; fewer than 64 can.  So a token of b costs about a row, however often a has it: two
 * texts of 1 MiB of "a b" take 6 s, and would take minutes. */
struct index {
    uint32_t *first, *places;
    uint8_t *own;
    uint64_t *often, *row, *match; /* rows of [words]; match is 0 between two tokens */
    size_t words;
};

static void index_free(struct index *x)
{
    mem_free(x->first);
    mem_free(x->places);
    mem_free(x->own);
    mem_free(x->often);
    mem_free(x->row);
    mem_free(x->match);
}

static void set_bits(const struct index *x, uint32_t v, uint64_t *bits)
{
    for (uint32_t i = x->first[v]; i < x->first[v + 1]; i++)
        bits[x->places[i] / 64] |= UINT64_C(1) << x->places[i] % 64;
}

static void index_fill(const struct numbered *m, struct index *x)
{
    uint8_t rows = 0;
    memset(x->row, 0xFF, x->words * sizeof *x->row);
    for (size_t i = 0; i < m->na; i++)
        x->first[m->a[i] + 2]++;
    for (size_t v = 2; v < (size_t)m->n + 2; v++)
        x->first[v] += x->first[v - 1];
    for (size_t i = 0; i < m->na; i++) /* first[v + 1] walks from v's first place to its end */
        x->places[x->first[m->a[i] + 1]++] = (uint32_t)i;
    for (uint32_t v = 0; v < m->n; v++)
        if (x->first[v + 1] - x->first[v] > x->words) {
            set_bits(x, v, x->often + rows * x->words);
            x->own[v] = ++rows;
        }
}

static rag_err index_make(const struct numbered *m, struct index *x)
{
    *x = (struct index){.words = m->na / 64 + 1};
    x->first = mem_zalloc((size_t)m->n + 2, sizeof *x->first);
    x->places = mem_alloc((m->na + 1) * sizeof *x->places);
    x->own = mem_zalloc((size_t)m->n + 1, sizeof *x->own);
    x->often = mem_zalloc(OFTEN_MOST * x->words, sizeof *x->often);
    x->row = mem_alloc(x->words * sizeof *x->row);
    x->match = mem_zalloc(x->words, sizeof *x->match);
    if (!x->first || !x->places || !x->own || !x->often || !x->row || !x->match)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu tokens", m->na);
    index_fill(m, x);
    return RAG_OK;
}

/* A token of b: where M has it in a, row V becomes (V + (V & M)) | (V & ~M). */
static void step(struct index *x, uint32_t v)
{
    const uint64_t *match = x->match;
    uint64_t carry = 0;
    if (x->own[v])
        match = x->often + (x->own[v] - 1) * x->words;
    else
        set_bits(x, v, x->match);
    for (size_t w = 0; w < x->words; w++) {
        const uint64_t row = x->row[w], hit = row & match[w];
        uint64_t sum;
        const bool over = __builtin_add_overflow(row, hit, &sum);
        carry = (uint64_t)__builtin_add_overflow(sum, carry, &sum) | over;
        x->row[w] = sum | (row & ~match[w]);
    }
    for (uint32_t i = x->first[v]; i < x->first[v + 1] && !x->own[v]; i++)
        x->match[x->places[i] / 64] = 0;
}

static rag_err longest_common(const struct numbered *m, size_t *out)
{
    struct index x;
    size_t length = 0;
    rag_err err = index_make(m, &x);
    for (size_t i = 0; i < m->nb && !err; i++)
        if (x.first[m->b[i]] < x.first[m->b[i] + 1])
            step(&x, m->b[i]);
    for (size_t i = 0; i < m->na && !err; i++)
        length += !(x.row[i / 64] >> i % 64 & 1);
    index_free(&x);
    *out = length;
    return err;
}

/* ---- an answer against its references ---- */

static rag_err match_squad(const struct tokens *answer, const char *reference,
                           struct answer_match *best)
{
    struct tokens t = {0};
    struct numbered m = {0};
    size_t common = 0;
    rag_err err = make_tokens(reference, take_squad, &t);
    if (!err)
        err = number(answer, &t, &m);
    if (!err)
        err = count_common(&m, &common);
    if (!err) {
        const bool same =
            m.na == m.nb && (m.na == 0 || memcmp(m.a, m.b, m.na * sizeof *m.a) == 0);
        const double f1 = m.na && m.nb ? f_measure(common, m.na, m.nb) : (double)same;
        best->exact = same ? 1 : best->exact;
        best->f1 = f1 > best->f1 ? f1 : best->f1;
    }
    mem_free(m.a);
    tokens_free(&t);
    return err;
}

static rag_err match_rouge(const struct tokens *answer, const char *reference,
                           struct answer_match *best)
{
    struct tokens t = {0};
    struct numbered m = {0};
    size_t common = 0;
    rag_err err = make_tokens(reference, take_rouge, &t);
    if (!err)
        err = number(answer, &t, &m);
    if (!err)
        err = longest_common(&m, &common);
    if (!err) {
        const double f = f_measure(common, m.na, m.nb);
        best->rouge_l = f > best->rouge_l ? f : best->rouge_l;
    }
    mem_free(m.a);
    tokens_free(&t);
    return err;
}

rag_err answer_match(const char *answer, const char *const *references, size_t n,
                     struct answer_match *out)
{
    struct answer_match best = {0};
    struct tokens squad = {0}, rouge = {0};
    rag_err err = make_tokens(answer, take_squad, &squad);
    if (!err)
        err = make_tokens(answer, take_rouge, &rouge);
    for (size_t i = 0; i < n && !err; i++) {
        err = match_squad(&squad, references[i], &best);
        if (!err)
            err = match_rouge(&rouge, references[i], &best);
    }
    tokens_free(&squad);
    tokens_free(&rouge);
    if (!err)
        *out = best;
    return err;
}

/* ---- citations ---- */

struct marks {
    struct growing plain;
    size_t *places; /* [n] of known marks, in plain, blanks before them passed over */
    size_t n, room;
};

static rag_err note_place(struct marks *m)
{
    size_t at = m->plain.bytes;
    while (at > 0 && text_blank(m->plain.text[at - 1]))
        at--;
    if (m->n == m->room) {
        size_t *more = mem_resize(m->places, (2 * m->room + 16) * sizeof *more);
        if (!more)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu citations", m->n);
        m->places = more;
        m->room = 2 * m->room + 16;
    }
    m->places[m->n++] = at;
    return RAG_OK;
}

/* The blank before a mark goes with it, where none is needed then. */
static void close_gap(struct growing *plain, const char *behind)
{
    if (plain->bytes > 0 && plain->text[plain->bytes - 1] == ' ' &&
        (*behind == '\0' || strchr(" \n.,;:!?)", *behind)))
        plain->bytes--;
}

static rag_err take_marks(const char *text, size_t bytes, size_t nsources, struct marks *m)
{
    struct citation_mark mark;
    size_t at = 0;
    rag_err err = RAG_OK;
    while (!err && citations_next(text, bytes, nsources, at, &mark)) {
        growing_put(&m->plain, text + at, mark.begin - at);
        at = mark.end;
        close_gap(&m->plain, text + at);
        if (mark.known)
            err = note_place(m);
    }
    growing_put(&m->plain, text + at, bytes - at);
    if (!err && m->plain.failed)
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for an answer of %zu bytes", bytes);
    return err;
}

/* Ends at the first word with a letter; *arg: there was a word. */
static int see_word(void *arg, const char *word, size_t bytes)
{
    *(bool *)arg = true;
    for (size_t i = 0; i < bytes; i++)
        if (word[i] < '0' || word[i] > '9')
            return 1;
    return 0;
}

/* Where a sentence that begins at `at` ends, at the latest with its line: numbers of a list
 * belong to what they number. */
static size_t sentence_end(const char *text, size_t line, size_t at, bool *letters, bool *word)
{
    *letters = false;
    while (at < line && !*letters) {
        const size_t next = text_sentence_end(text, line, at);
        *letters = text_words(text + at, next - at, see_word, word) != 0;
        at = next;
    }
    return at;
}

static size_t line_end(const char *text, size_t bytes, size_t at)
{
    const char *lf = memchr(text + at, '\n', bytes - at);
    return lf ? (size_t)(lf - text) + 1 : bytes;
}

static void count_sentences(const struct marks *m, struct answer_cited *c)
{
    const char *text = m->plain.text;
    const size_t bytes = m->plain.bytes;
    size_t next = 0, line = 0;
    bool word = false, letters;
    for (size_t at = 0; at < bytes;) {
        if (at == line)
            line = line_end(text, bytes, at);
        at = sentence_end(text, line, at, &letters, &word);
        if (!letters)
            continue; /* its marks, if any, are the next one's */
        c->sentences++;
        c->covered += next < m->n && m->places[next] <= at;
        while (next < m->n && m->places[next] <= at)
            next++;
    }
    if (c->sentences == 0 && word) {
        c->sentences = 1;
        c->covered = m->n > 0;
    }
}

rag_err answer_cited(const char *text, size_t nsources, struct answer_cited *out)
{
    const size_t bytes = strlen(text);
    struct marks m = {0};
    struct citations numbers = {0};
    struct answer_cited c = {0};
    rag_err err = take_marks(text, bytes, nsources, &m);
    if (!err)
        err = citations_find(text, bytes, nsources, &numbers);
    if (!err) {
        count_sentences(&m, &c);
        c.used = numbers.nused;
        c.unknown = numbers.nunknown;
        c.plain = m.plain.text;
        *out = c;
    } else {
        growing_free(&m.plain);
    }
    citations_free(&numbers);
    mem_free(m.places);
    return err;
}
