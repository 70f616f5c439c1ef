/* test_text.c - raw bytes to text, words, tokens, sentences, blocks, chunks: what text.h says
 * holds on hand-made documents, on random ones and on hostile bytes. */
#include <config.h>

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rag/text/text.h"

static struct text_bytes normal(const void *raw, size_t n)
{
    struct text_bytes t;
    ck_assert_msg(text_normalise("t", raw, n, &t) == RAG_OK, "%s", rag_error_message());
    return t;
}

#define EXPECT_TEXT(raw, want, kind)                                                           \
    do {                                                                                       \
        struct text_bytes t_ = normal(raw, sizeof(raw) - 1);                                   \
        ck_assert_str_eq(t_.data, want);                                                       \
        ck_assert_uint_eq(t_.bytes, sizeof(want) - 1);                                         \
        ck_assert_int_eq(t_.coding, kind);                                                     \
        text_bytes_free(&t_);                                                                  \
    } while (0)

START_TEST(codings)
{
    EXPECT_TEXT("a\r\nb\rc\n", "a\nb\nc\n", TEXT_UTF8);
    EXPECT_TEXT("\xEF\xBB\xBF"
                "caf\xC3\xA9",
                "caf\xC3\xA9", TEXT_UTF8);
    EXPECT_TEXT("cafe\xCC\x81", "caf\xC3\xA9", TEXT_UTF8); /* composed */
    EXPECT_TEXT("caf\xE9 \x93q\x94 \x80", "caf\xC3\xA9 \xE2\x80\x9Cq\xE2\x80\x9D \xE2\x82\xAC",
                TEXT_CP1252);
    EXPECT_TEXT("\xFF\xFEh\0i\0=\xD8\x00\xDE", "hi\xF0\x9F\x98\x80", TEXT_UTF16LE);
    EXPECT_TEXT("\xFE\xFF\0h\0i", "hi", TEXT_UTF16BE);
    EXPECT_TEXT("a\0b", "ab", TEXT_UTF8);
    EXPECT_TEXT("a\xF3\xA0\x81\xA1"
                "b",
                "ab", TEXT_UTF8); /* a tag character */
    EXPECT_TEXT("", "", TEXT_UTF8);
}
END_TEST

START_TEST(broken_utf16)
{
    struct text_bytes t;
    ck_assert_int_eq(text_normalise("x.txt", "\xFF\xFEh", 3, &t), RAG_EFORMAT);
    ck_assert(strstr(rag_error_message(), "x.txt") != NULL);
    ck_assert_int_eq(text_normalise("x", "\xFF\xFE\x00\xD8h\0", 6, &t), RAG_EFORMAT);
    ck_assert_int_eq(text_normalise("x", "\xFF\xFE\x00\xDC", 4, &t), RAG_EFORMAT);
    ck_assert_int_eq(text_normalise("x", "\xFF\xFE\x00\xD8", 4, &t), RAG_EFORMAT);
}
END_TEST

START_TEST(binaries)
{
    ck_assert(text_is_binary("ab\0c", 4));
    ck_assert(!text_is_binary("abc", 3));
    ck_assert(!text_is_binary("\xFF\xFE"
                              "a\0",
                              4));
    ck_assert(!text_is_binary("", 0));
}
END_TEST

static int collect(void *arg, const char *word, size_t n)
{
    const size_t used = strlen(arg);
    snprintf((char *)arg + used, 2048 - used, "%.*s|", (int)n, word);
    return 0;
}

static int count_two(void *arg, const char *word, size_t n)
{
    (void)word;
    (void)n;
    return ++*(int *)arg == 2 ? 7 : 0;
}

#define EXPECT_WORDS(text, want)                                                               \
    do {                                                                                       \
        char got_[2048] = "";                                                                  \
        ck_assert_int_eq(text_words(text, sizeof(text) - 1, collect, got_), 0);                \
        ck_assert_str_eq(got_, want);                                                          \
    } while (0)

START_TEST(words)
{
    EXPECT_WORDS("Hello, World-wide 42x!", "hello|world|wide|42x|");
    EXPECT_WORDS("Stra\xC3\x9F"
                 "e \xC3\x89T\xC3\x89",
                 "strasse|\xC3\xA9t\xC3\xA9|");
    EXPECT_WORDS("ab\xE6\x97\xA5\xE6\x9C\xAC"
                 "c",
                 "ab|\xE6\x97\xA5|\xE6\x9C\xAC|c|");
    EXPECT_WORDS("", "");
    char long_word[1000], got[2048] = "";
    memset(long_word, 'a', sizeof long_word);
    ck_assert_int_eq(text_words(long_word, 300, collect, got), 0);
    ck_assert_uint_eq(strlen(got), 303); /* 128, 128, 44 */
    int n = 0;
    ck_assert_int_eq(text_words("a b c", 5, count_two, &n), 7);
    ck_assert_int_eq(n, 2);
}
END_TEST

START_TEST(sentences)
{
    const char *s = "Mr. Smith came. \"Did he?\" Yes! See fig. 3. \xE6\x97\xA5\xE3\x80\x82"
                    "\xE6\x9C\xAC\xE3\x80\x82"
                    "v1.2 is out";
    const char *want[] = {"Mr. Smith came. ",
                          "\"Did he?\" ",
                          "Yes! ",
                          "See fig. 3. ",
                          "\xE6\x97\xA5\xE3\x80\x82",
                          "\xE6\x9C\xAC\xE3\x80\x82",
                          "v1.2 is out"};
    const size_t n = strlen(s);
    size_t at = 0;
    for (size_t i = 0; i < 7; i++) {
        const size_t end = text_sentence_end(s, n, at);
        ck_assert_uint_eq(end - at, strlen(want[i]));
        ck_assert(memcmp(s + at, want[i], end - at) == 0);
        at = end;
    }
    ck_assert_uint_eq(at, n);
}
END_TEST

START_TEST(tokens_add_up)
{
    ck_assert_double_eq(text_tokens("", 0), 0);
    srand(1);
    for (int round = 0; round < 2000; round++) {
        char s[64];
        const size_t n = 1 + (size_t)rand() % 60, cut = (size_t)rand() % n;
        for (size_t i = 0; i < n; i++)
            s[i] = "ab Z9.-\n{"[rand() % 9];
        ck_assert(text_tokens(s, n) <=
                  text_tokens(s, cut) + text_tokens(s + cut, n - cut) + 1e-9);
    }
}
END_TEST

START_TEST(graphemes)
{
    const char *s = "e\xCC\x81x\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7";
    ck_assert_uint_eq(text_grapheme_end(s, 15, 0), 3);
    ck_assert_uint_eq(text_grapheme_end(s, 15, 3), 4);
    ck_assert_uint_eq(text_grapheme_end(s, 15, 4), 15);
}
END_TEST

/* ---- blocks ---- */

typedef rag_err (*blocks_fn)(struct text_doc *);

static struct text_doc document(const char *raw, size_t n, blocks_fn blocks)
{
    struct text_doc d = {.text = normal(raw, n)};
    ck_assert_msg(blocks(&d) == RAG_OK, "%s", rag_error_message());
    return d;
}

static const char markdown[] =
    "---\ntitle: \"A guide\"\nauthor: Ann\n---\n"
    "# Guide\n\nFirst words\nhere.\n\n## Setup\n\n- one\n- two\n  more\n\n"
    "| a | b |\n|---|---|\n| 1 | 2 |\n\n```c\nint x;\n\nint y;\n```\n\n"
    "> quoted\n";

START_TEST(markdown_blocks)
{
    struct text_doc d = document(markdown, sizeof markdown - 1, text_markdown);
    const struct {
        enum text_kind kind;
        const char *text;
    } want[] = {{TEXT_HEADING, "# Guide"},
                {TEXT_PARAGRAPH, "First words\nhere."},
                {TEXT_HEADING, "## Setup"},
                {TEXT_ITEM, "- one"},
                {TEXT_ITEM, "- two\n  more"},
                {TEXT_TABLE, "| a | b |\n|---|---|\n| 1 | 2 |"},
                {TEXT_CODE, "```c\nint x;\n\nint y;\n```"},
                {TEXT_QUOTE, "> quoted"}};
    ck_assert_uint_eq(d.nblocks, 8);
    for (size_t i = 0; i < 8; i++) {
        const struct text_block *b = &d.blocks[i];
        ck_assert_int_eq(b->kind, want[i].kind);
        ck_assert_uint_eq(b->end - b->start, strlen(want[i].text));
        ck_assert(memcmp(d.text.data + b->start, want[i].text, b->end - b->start) == 0);
    }
    ck_assert_uint_eq(d.blocks[2].level, 2);
    ck_assert(memcmp(d.text.data + d.blocks[5].body, "| 1", 3) == 0);
    ck_assert_str_eq(d.title, "A guide");
    ck_assert_str_eq(d.meta, "{\"title\":\"A guide\",\"author\":\"Ann\"}");
    text_doc_free(&d);
}
END_TEST

START_TEST(plain_blocks_and_pages)
{
    const char s[] = "one\ntwo\n\n\nthree\ffour\n\n five \n\f\fsix";
    struct text_doc d = document(s, sizeof s - 1, text_plain);
    const char *want[] = {"one\ntwo", "three", "four", "five", "six"};
    const uint32_t page[] = {1, 1, 2, 2, 4};
    ck_assert_uint_eq(d.nblocks, 5);
    for (size_t i = 0; i < 5; i++) {
        const struct text_block *b = &d.blocks[i];
        ck_assert_uint_eq(b->end - b->start, strlen(want[i]));
        ck_assert(memcmp(d.text.data + b->start, want[i], b->end - b->start) == 0);
        ck_assert_uint_eq(b->page, page[i]);
    }
    text_doc_free(&d);
}
END_TEST

/* ---- chunks ---- */

/* What text.h promises of the chunks of d. */
static void check_chunks(const struct text_doc *d, const struct text_chunking *how,
                         const struct text_chunk *c, size_t n)
{
    const double cap = how ? how->cap : 250;
    const char *s = d->text.data;
    char *seen = calloc(d->text.bytes + 1, 1);
    for (size_t i = 0; i < n; i++) {
        ck_assert_uint_eq(c[i].seq, i);
        ck_assert_uint_lt(c[i].start, c[i].end);
        ck_assert_uint_le(c[i].end, d->text.bytes);
        ck_assert(i == 0 || c[i].start >= c[i - 1].start);
        ck_assert((s[c[i].start] & 0xC0) != 0x80);
        ck_assert((s[c[i].end] & 0xC0) != 0x80);
        ck_assert(text_is_utf8(c[i].head, strlen(c[i].head)));
        const double tokens = text_tokens(s + c[i].start, c[i].end - c[i].start) +
                              text_tokens(c[i].head, strlen(c[i].head)) +
                              text_tokens(s + c[i].lead_start, c[i].lead_end - c[i].lead_start);
        ck_assert_msg(tokens <= cap + 1e-6, "chunk %zu has %g tokens", i, tokens);
        uint32_t line = 1;
        for (size_t j = 0; j < c[i].start; j++)
            line += s[j] == '\n';
        ck_assert_uint_eq(c[i].line, line);
        memset(seen + c[i].start, 1, c[i].end - c[i].start);
    }
    for (size_t b = 0; b < d->nblocks; b++)
        for (size_t i = d->blocks[b].start; i < d->blocks[b].end; i++)
            ck_assert_msg(seen[i] || strchr(" \n\t\r\f\v", s[i]), "byte %zu is in no chunk", i);
    free(seen);
}

static size_t chunked(const char *raw, size_t bytes, blocks_fn blocks,
                      const struct text_chunking *how, struct text_doc *d,
                      struct text_chunk **chunks)
{
    size_t n;
    *d = document(raw, bytes, blocks);
    ck_assert_msg(text_chunk(d, how, chunks, &n) == RAG_OK, "%s", rag_error_message());
    check_chunks(d, how, *chunks, n);
    return n;
}

START_TEST(chunks_follow_structure)
{
    struct text_doc d;
    struct text_chunk *c;
    size_t n = chunked(markdown, sizeof markdown - 1, text_markdown, NULL, &d, &c);
    ck_assert_uint_eq(n, 2); /* never across "##" */
    ck_assert_str_eq(c[0].head, "A guide > Guide");
    ck_assert_str_eq(c[1].head, "A guide > Guide > Setup");
    ck_assert(memcmp(d.text.data + c[1].start, "## Setup", 8) == 0);
    ck_assert_uint_eq(c[0].line, 5);
    text_chunks_free(c, n);
    text_doc_free(&d);

    const char headings[] = "# A\n\n## B\n\ntext\n\n### C\n\nmore\n\n## D\n";
    n = chunked(headings, sizeof headings - 1, text_markdown, NULL, &d, &c);
    ck_assert_uint_eq(n, 2);
    ck_assert_str_eq(c[0].head, "A > B"); /* headings alone are no chunk */
    ck_assert_str_eq(c[1].head, "A > D");
    text_chunks_free(c, n);
    text_doc_free(&d);
}
END_TEST

/* A heading goes with what follows it, even where a chunk has room for it alone. */
START_TEST(no_heading_at_the_end)
{
    char s[3000] = "";
    for (int i = 0; i < 38; i++)
        snprintf(s + strlen(s), sizeof s - strlen(s), "word%d ", i);
    snprintf(s + strlen(s), sizeof s - strlen(s), "\n\n### Below\n\n");
    for (int i = 0; i < 78; i++)
        snprintf(s + strlen(s), sizeof s - strlen(s), "term%d ", i);
    struct text_doc d;
    struct text_chunk *c;
    const size_t n = chunked(s, strlen(s), text_markdown, NULL, &d, &c);
    ck_assert_uint_ge(n, 2);
    ck_assert(memcmp(d.text.data + c[1].start, "### Below", 9) == 0);
    ck_assert_str_eq(c[1].head, "Below");
    text_chunks_free(c, n);
    text_doc_free(&d);
}
END_TEST

START_TEST(a_cut_table_repeats_its_header)
{
    char s[20000] = "| name | value |\n|---|---|\n";
    for (int i = 0; i < 200; i++)
        snprintf(s + strlen(s), sizeof s - strlen(s), "| row %d | the value of it %d |\n", i,
                 i);
    struct text_doc d;
    struct text_chunk *c;
    const size_t n = chunked(s, strlen(s), text_markdown, NULL, &d, &c);
    ck_assert_uint_gt(n, 3);
    ck_assert_uint_eq(c[0].lead_end, 0);
    for (size_t i = 1; i < n; i++) {
        ck_assert_uint_eq(c[i].lead_start, 0);
        ck_assert_uint_eq(c[i].lead_end, strlen("| name | value |\n|---|---|\n"));
        ck_assert(memcmp(d.text.data + c[i].start, "| row", 5) == 0); /* rows stay whole */
    }
    text_chunks_free(c, n);
    text_doc_free(&d);
}
END_TEST

START_TEST(running_text_overlaps)
{
    char s[20000] = "";
    for (int i = 0; i < 120; i++)
        snprintf(s + strlen(s), sizeof s - strlen(s),
                 "This is sentence number %d of them all. ", i);
    struct text_doc d;
    struct text_chunk *c;
    const size_t n = chunked(s, strlen(s), text_plain, NULL, &d, &c);
    ck_assert_uint_gt(n, 4);
    for (size_t i = 1; i < n; i++) {
        ck_assert_uint_lt(c[i].start, c[i - 1].end);
        ck_assert(memcmp(d.text.data + c[i].start, "This is", 7) == 0);
    }
    text_chunks_free(c, n);
    text_doc_free(&d);
}
END_TEST

/* A random document of marks that matter. */
static size_t random_text(char *s, size_t room, bool bytes)
{
    static const char *const parts[] = {"# ",
                                        "\n## x\n",
                                        "\n\n",
                                        "word ",
                                        "Sentence one. ",
                                        "- item\n",
                                        "| a | b |\n|---|---|\n",
                                        "| c | d |\n",
                                        "```\n",
                                        "\xE6\x97\xA5\xE6\x9C\xAC",
                                        "\n",
                                        "> ",
                                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                                        "\t",
                                        "9.9.9 ",
                                        "\f",
                                        "e\xCC\x81",
                                        "{}[]();",
                                        "### deep\n",
                                        "  - sub\n"};
    size_t n = 0;
    while (n + 64 < room) {
        if (bytes && rand() % 4 == 0) {
            s[n++] = (char)rand();
            continue;
        }
        const char *p = parts[(size_t)rand() % (sizeof parts / sizeof *parts)];
        memcpy(s + n, p, strlen(p));
        n += strlen(p);
    }
    return n;
}

START_TEST(random_documents)
{
    static const blocks_fn kinds[] = {text_plain, text_source, text_markdown};
    static char s[6000];
    srand((unsigned)_i + 1);
    for (int round = 0; round < 60; round++) {
        const struct text_chunking how = {.target = 12 + rand() % 60, .cap = 80 + rand() % 100};
        const size_t bytes = random_text(s, 100 + (size_t)rand() % 5800, round % 2);
        struct text_doc d;
        struct text_chunk *c = NULL;
        const size_t n = chunked(s, bytes, kinds[_i % 3], &how, &d, &c);
        text_chunks_free(c, n);
        text_doc_free(&d);
    }
}
END_TEST

START_TEST(hostile_documents)
{
    const size_t n = 300000;
    char *s = malloc(n);
    struct text_doc d;
    struct text_chunk *c;
    for (int kind = 0; kind < 4; kind++) {
        for (size_t i = 0; i < n; i++)
            s[i] = kind == 0 ? 'a' : kind == 1 ? '>' : kind == 2 ? "- "[i % 2] : "[\n"[i % 2];
        size_t m = chunked(s, n, text_markdown, NULL, &d, &c);
        text_chunks_free(c, m);
        text_doc_free(&d);
    }
    struct text_chunking bad = {.target = 300, .cap = 250};
    d = document("a", 1, text_plain);
    size_t m;
    ck_assert_int_eq(text_chunk(&d, &bad, &c, &m), RAG_EINVAL);
    text_doc_free(&d);
    free(s);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("text");
    TCase *t = tcase_create("text");
    tcase_add_test(t, codings);
    tcase_add_test(t, broken_utf16);
    tcase_add_test(t, binaries);
    tcase_add_test(t, words);
    tcase_add_test(t, sentences);
    tcase_add_test(t, tokens_add_up);
    tcase_add_test(t, graphemes);
    tcase_add_test(t, markdown_blocks);
    tcase_add_test(t, plain_blocks_and_pages);
    tcase_add_test(t, chunks_follow_structure);
    tcase_add_test(t, no_heading_at_the_end);
    tcase_add_test(t, a_cut_table_repeats_its_header);
    tcase_add_test(t, running_text_overlaps);
    tcase_add_loop_test(t, random_documents, 0, 6);
    tcase_add_test(t, hostile_documents);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
