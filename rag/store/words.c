/* words.c - the word index: SQLite's FTS5, and BM25 over it.
 *
 * Place: rag/store.  FTS5's tokenizer takes a run of Han or kana for one word; so each
 * character of a dense script is set apart with blanks here, in texts and in questions alike,
 * and a run of them in a question becomes a phrase. Invariant: what is dropped is spelled as it
 * was put. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/memory.h"
#include "rag/store/internal.h"
#include "rag/text/text.h"

#define QUERY_WORDS_MAX 64

/* ---- spelling ---- */

/* Whether s may hold characters of dense scripts: all of them take three bytes or more. */
static bool may_be_dense(const char *s, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)s[i] >= 0xe0)
            return true;
    return false;
}

/* s with dense characters set apart, in s->split; at most three times as long. */
static rag_err set_apart(struct store *s, const char *text, size_t bytes, const char **out,
                         size_t *n)
{
    *out = text;
    *n = bytes;
    if (!may_be_dense(text, bytes))
        return RAG_OK;
    if (s->split_room < 3 * bytes + 1) {
        char *more = mem_resize(s->split, 3 * bytes + 1);
        if (!more)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu bytes of words", 3 * bytes);
        s->split = more;
        s->split_room = 3 * bytes + 1;
    }
    size_t k = 0, next = 0;
    for (size_t at = 0; at < bytes; at = next) {
        const bool dense = text_is_dense(text_char(text, bytes, at, &next));
        if (dense)
            s->split[k++] = ' ';
        memcpy(s->split + k, text + at, next - at);
        k += next - at;
        if (dense)
            s->split[k++] = ' ';
    }
    *out = s->split;
    *n = k;
    return RAG_OK;
}

static rag_err change_words(struct store *s, enum statement which, int64_t chunk,
                            const char *head, const char *body, size_t bytes)
{
    const char *spelled;
    size_t n;
    sqlite3_stmt *st = store_st(s, which);
    if (!st)
        return store_fail(s, "words");
    sqlite3_bind_int64(st, 1, chunk);
    rag_err err = set_apart(s, head, strlen(head), &spelled, &n);
    if (!err)
        sqlite3_bind_text64(st, 2, spelled, n,
                            spelled == head ? SQLITE_STATIC : SQLITE_TRANSIENT, SQLITE_UTF8);
    if (!err)
        err = set_apart(s, body, bytes, &spelled, &n);
    if (!err)
        sqlite3_bind_text64(st, 3, spelled, n, SQLITE_STATIC, SQLITE_UTF8);
    return err ? err : store_run(s, st, "words");
}

rag_err words_put(struct store *s, int64_t chunk, const char *head, const char *body,
                  size_t bytes)
{
    return change_words(s, ST_WORDS_PUT, chunk, head, body, bytes);
}

rag_err words_drop(struct store *s, int64_t chunk, const char *head, const char *body,
                   size_t bytes)
{
    return change_words(s, ST_WORDS_DROP, chunk, head, body, bytes);
}

/* ---- questions ---- */

/* What English sentences are held together with (a subset of Snowball's list): they are in most
 * chunks, cost the most to rank by, and tell the least. */
static const char *const stop_words[] = {
    "a",     "about", "am",   "an",   "and",   "are",   "as",     "at",    "be",
    "been",  "but",   "by",   "can",  "could", "did",   "do",     "does",  "for",
    "from",  "had",   "has",  "have", "he",    "her",   "his",    "how",   "i",
    "if",    "in",    "into", "is",   "it",    "its",   "me",     "my",    "no",
    "not",   "of",    "on",   "or",   "our",   "she",   "should", "so",    "some",
    "such",  "than",  "that", "the",  "their", "them",  "then",   "there", "these",
    "they",  "this",  "to",   "was",  "we",    "were",  "what",   "when",  "where",
    "which", "who",   "why",  "will", "with",  "would", "you",    "your"};

static bool is_stop_word(const char *word, size_t bytes)
{
    for (size_t i = 0; i < sizeof stop_words / sizeof *stop_words; i++)
        if (strlen(stop_words[i]) == bytes && memcmp(stop_words[i], word, bytes) == 0)
            return true;
    return false;
}

struct question {
    char *match; /* FTS5's words for it */
    size_t n, room;
    size_t words;
    bool all;   /* stop words too */
    bool dense; /* the word before was one dense character: go on with its phrase */
    bool failed;
    const char *last_end; /* where the word before ended, in the text asked */
};

static void append(struct question *q, const char *s, size_t bytes)
{
    if (q->n + bytes + 1 > q->room) {
        const size_t room = 2 * (q->n + bytes + 1);
        char *more = mem_resize(q->match, room);
        if (!more) {
            q->failed = true;
            return;
        }
        q->match = more;
        q->room = room;
    }
    memcpy(q->match + q->n, s, bytes);
    q->n += bytes;
    q->match[q->n] = '\0';
}

/* Each word between quotes, which no word holds; dense characters in a row as one phrase. */
static int take_word(void *arg, const char *word, size_t bytes)
{
    struct question *q = arg;
    size_t next;
    const bool dense = (unsigned char)word[0] >= 0xe0 &&
                       text_is_dense(text_char(word, bytes, 0, &next)) && next == bytes;
    if (q->words >= QUERY_WORDS_MAX)
        return 1;
    if (!q->all && is_stop_word(word, bytes))
        return 0;
    if (dense && q->dense && !q->failed) {
        q->match[q->n - 1] = ' ';
    } else {
        append(q, q->words ? " OR \"" : "\"", q->words ? 5 : 1);
        q->words++;
    }
    append(q, word, bytes);
    append(q, "\"", 1);
    q->dense = dense;
    return q->failed;
}

/* FTS5's words for a question; *match NULL where it has none. */
static rag_err make_match(const char *query, char **match)
{
    struct question q = {0};
    text_words(query, strlen(query), take_word, &q);
    if (q.words == 0 && !q.failed) {
        q.all = true;
        text_words(query, strlen(query), take_word, &q);
    }
    if (q.failed) {
        mem_free(q.match);
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a question");
    }
    *match = q.match;
    return RAG_OK;
}

static bool is_worse(const struct store_hit *a, const struct store_hit *b)
{
    return a->score < b->score || (a->score == b->score && a->chunk > b->chunk);
}

static int best_first(const void *a, const void *b)
{
    return is_worse(a, b) - is_worse(b, a);
}

/* hits [n] is a heap with the worst on top, of at most `most`; the new n. */
static size_t keep_best(struct store_hit *hits, size_t n, size_t most, struct store_hit h)
{
    size_t at = n;
    if (n == most) {
        if (most == 0 || !is_worse(&hits[0], &h))
            return n;
        for (at = 0;;) { /* down from the top */
            size_t child = 2 * at + 1;
            if (child >= n)
                break;
            child += child + 1 < n && is_worse(&hits[child + 1], &hits[child]);
            if (!is_worse(&hits[child], &h))
                break;
            hits[at] = hits[child];
            at = child;
        }
        hits[at] = h;
        return n;
    }
    for (; at > 0 && is_worse(&h, &hits[(at - 1) / 2]); at = (at - 1) / 2)
        hits[at] = hits[(at - 1) / 2];
    hits[at] = h;
    return n + 1;
}

rag_err store_words(struct store *s, const char *query, const struct store_filter *filter,
                    size_t most, struct store_hit *hits, size_t *n)
{
    char *match = NULL;
    sqlite3_stmt *st = NULL;
    bool row = true;
    size_t found = 0;
    rag_err err = make_match(query, &match);
    if (err || !match) {
        *n = 0;
        return err;
    }
    char *text =
        filter
            ? sqlite3_mprintf("SELECT rowid, okapi(words) FROM words WHERE words MATCH ?1 AND"
                              " rowid IN (SELECT c.id FROM chunk c JOIN document d ON d.id ="
                              " c.document WHERE 1%s)",
                              filter_sql(filter))
            : sqlite3_mprintf("SELECT rowid, okapi(words) FROM words WHERE words MATCH ?1");
    err = text ? store_prepare(s, text, &st) : RAG_FAIL(RAG_ENOMEM, "out of memory");
    sqlite3_free(text);
    if (!err) {
        sqlite3_bind_text(st, 1, match, -1, SQLITE_STATIC);
        err = filter_bind(s, filter, st, 2);
    }
    while (!err && row) {
        err = store_step(s, st, &row, "a search for words");
        if (!err && row)
            found = keep_best(
                hits, found, most,
                (struct store_hit){sqlite3_column_int64(st, 0), sqlite3_column_double(st, 1)});
    }
    qsort(hits, found, sizeof *hits, best_first);
    sqlite3_finalize(st);
    mem_free(match);
    if (!err)
        *n = found;
    return err;
}
