/* refusal.c - whether an answer says that the sources do not hold it.  See answers.h.
 *
 * Place: rag/eval.  The prompt (rag/answer/prompt.c) asks a model that cannot answer to say so,
 * in words of its own; what models say then follows few patterns, which stand below.  Only the
 * first sentence counts: "Rollo did [1]. The sources do not say when." is an answer. */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "ann/base/memory.h"
#include "rag/answer/growing.h"
#include "rag/error.h"
#include "rag/eval/answers.h"
#include "rag/text/text.h"

#define WORDS_MOST 80 /* of a sentence that are looked at */
#define WORD_BYTES 24 /* of a word; no pattern has a longer one */

struct sentence {
    char words[WORDS_MOST][WORD_BYTES]; /* [n] case folded */
    size_t n;
};

/* ---- patterns ---- */

/* What may hold an answer, and what it then does or has done with it. */
#define SOURCE                                                                                 \
    "source|sources|text|texts|passage|passages|context|document|documents|excerpt|excerpts|"  \
    "article|articles|paragraph|paragraphs|snippet|snippets|material|information"
#define SAYS                                                                                   \
    "contain|contains|mention|mentions|provide|provides|state|states|specify|specifies|say|"   \
    "says|include|includes|indicate|indicates|address|discuss|answer|answers|give|gives|tell|" \
    "explain|have|hold|cover|list|name|describe|identify|reveal|define|support|offer|clarify"
#define SAID                                                                                   \
    "mentioned|specified|stated|provided|given|found|contained|included|available|answered|"   \
    "described|discussed|addressed|listed|named|identified|explained|present|clear|known|in"

/* Words in their order; a|b: either; ~N: up to N words of any kind, ~*: any number.
 * Contractions are written out before ("don't": do not, "can't": can not). */
static const char *const patterns[] = {
    (SOURCE " ~6 not ~2 " SAYS),
    (SOURCE " ~* but ~2 not ~2 " SAYS),
    (SOURCE " ~2 lack|lacks|silent"),
    "they|it|but do|does|did not ~2 mention|specify|state|say|address|indicate",
    ("not ~2 " SAID " ~4 " SOURCE),
    "is|are|was|were|been not ~1 mentioned|specified|stated",
    "there is|are|was no ~1 information|mention|answer|reference|indication|source|sources",
    ("no|insufficient ~1 information|mention|answer|source|sources|context|details "
     "~6 about|on|regarding|that|which|to|" SAID "|" SAYS),
    "not|insufficient ~1 enough|sufficient information|context|details|evidence",
    ("none|nothing|neither ~3 " SOURCE),
    "i|we do not know",
    "i|we do not have ~3 information|answer|enough|context|data|access",
    "i|we can|could not ~1 answer|find|determine|provide|tell|say|locate|identify|confirm|help",
    "unable|impossible to ~1 answer|find|determine|provide|tell|say|identify",
    "not able|possible to ~1 answer|find|determine|provide|tell|say|identify",
    "can|could not be ~1 answered|determined|found|inferred|identified|answer",
    "question ~4 unanswerable",
    "answer ~3 unknown|unavailable",
};

/* What an apology has: the sentence behind it decides. */
static const char *const excuses[] = {"sorry|apologize|apologise|apologies|unfortunately"};

/* Whether a word is one of "a|b|c" [bytes]. */
static bool is_one_of(const char *word, const char *list, size_t bytes)
{
    const size_t n = strlen(word);
    for (size_t at = 0; at < bytes;) {
        const char *bar = memchr(list + at, '|', bytes - at);
        const size_t end = bar ? (size_t)(bar - list) : bytes;
        if (end - at == n && memcmp(list + at, word, n) == 0)
            return true;
        at = end + 1;
    }
    return false;
}

/* Whether the words from i on begin with the pattern.  As deep as the pattern has words. */
static bool fits(const struct sentence *s, size_t i, const char *pattern)
{
    for (;;) {
        pattern += *pattern == ' ';
        if (*pattern == '\0')
            return true;
        const size_t bytes = strcspn(pattern, " ");
        if (*pattern == '~') {
            const size_t most = pattern[1] == '*' ? WORDS_MOST : (size_t)(pattern[1] - '0');
            for (size_t gap = 0; gap <= most && i + gap < s->n; gap++)
                if (fits(s, i + gap, pattern + bytes))
                    return true;
            return false;
        }
        if (i == s->n || !is_one_of(s->words[i], pattern, bytes))
            return false;
        pattern += bytes;
        i++;
    }
}

static bool has_one(const struct sentence *s, const char *const *list, size_t n)
{
    for (size_t p = 0; p < n; p++)
        for (size_t i = 0; i < s->n; i++)
            if (fits(s, i, list[p]))
                return true;
    return false;
}

/* ---- sentences ---- */

static void put_word(struct sentence *s, const char *word, size_t bytes)
{
    if (s->n == WORDS_MOST)
        return;
    const size_t n = bytes < WORD_BYTES ? bytes : WORD_BYTES - 1;
    memcpy(s->words[s->n], word, n);
    s->words[s->n++][n] = '\0';
}

/* "don't" comes as "don" and "t", "can't" as "can" and "t", "cannot" in one. */
static int take_word(void *arg, const char *word, size_t bytes)
{
    struct sentence *s = arg;
    char *before = s->n ? s->words[s->n - 1] : NULL;
    const size_t n = before ? strlen(before) : 0;
    if (bytes == 1 && *word == 't' && n > 1 && before[n - 1] == 'n') {
        if (strcmp(before, "can") != 0)
            before[n - 1] = '\0';
        put_word(s, "not", 3);
    } else if (bytes == 6 && memcmp(word, "cannot", 6) == 0) {
        put_word(s, "can", 3);
        put_word(s, "not", 3);
    } else {
        put_word(s, word, bytes);
    }
    return s->n == WORDS_MOST;
}

/* By the first sentence that is no mere apology; a text without words refuses. */
static bool says_so(const char *text, size_t bytes)
{
    struct sentence s;
    for (size_t at = 0, end; at < bytes; at = end) {
        end = text_sentence_end(text, bytes, at);
        s.n = 0;
        text_words(text + at, end - at, take_word, &s);
        if (s.n == 0)
            continue;
        if (has_one(&s, patterns, sizeof patterns / sizeof *patterns))
            return true;
        if (!has_one(&s, excuses, sizeof excuses / sizeof *excuses))
            return false;
    }
    return true;
}

/* ---- phrases of the caller's ---- */

static int join_word(void *arg, const char *word, size_t bytes)
{
    struct growing *g = arg;
    growing_put(g, word, bytes);
    return !growing_put(g, " ", 1);
}

/* " word word word " */
static rag_err join_words(const char *text, struct growing *g)
{
    growing_put(g, " ", 1);
    if (!g->failed)
        text_words(text, strlen(text), join_word, g);
    return g->failed ? RAG_FAIL(RAG_ENOMEM, "out of memory for words") : RAG_OK;
}

rag_err answer_refuses(const char *text, const char *const *phrases, size_t n, bool *out)
{
    struct growing all = {0}, one = {0};
    bool refuses = says_so(text, strlen(text));
    rag_err err = refuses || n == 0 ? RAG_OK : join_words(text, &all);
    for (size_t i = 0; i < n && !refuses && !err; i++) {
        one.bytes = 0;
        err = join_words(phrases[i], &one);
        refuses = !err && one.bytes > 1 && strstr(all.text, one.text) != NULL;
    }
    growing_free(&all);
    growing_free(&one);
    if (!err)
        *out = refuses;
    return err;
}
