/* test_wordpiece.c - the tokenizer against the reference's ids, on strings made to be hard;
 * small rooms, hostile bytes. */
#include <config.h>

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/rng.h"
#include "ann/io/json.h"
#include "rag/embed/model.h"
#include "rag/embed/wordpiece.h"
#include "tests/model_data.h"

enum { IDS = 16384 };

static struct model *model;
static struct wordpiece *words;
static uint32_t ids[IDS + WORDPIECE_ROOM], others[IDS + WORDPIECE_ROOM];

static void setup(void)
{
    char path[512];
    const void *text = NULL;
    if (!model_that_comes_along("minilm-l6-v2", path))
        return;
    ck_assert_msg(!model_open(path, &model), "%s", rag_error_message());
    const size_t bytes = model_width(model, "words");
    ck_assert_int_eq(model_tensor(model, "words", "u8", 1, bytes, &text), RAG_OK);
    ck_assert_int_eq(
        wordpiece_make(text, bytes, (size_t)model_number(model, "words"), true, &words),
        RAG_OK);
}

static void teardown(void)
{
    wordpiece_free(words);
    model_close(model);
    words = NULL;
    model = NULL;
}

static void expect(const char *text, size_t bytes, const uint32_t *want, size_t n)
{
    const size_t got = wordpiece_encode(words, text, bytes, IDS, ids);
    ck_assert_msg(got == n, "%zu ids, not %zu: %.80s", got, n, text);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(ids[i] == want[i], "id %zu is %s, not %s: %.80s", i,
                      wordpiece_token(words, ids[i]), wordpiece_token(words, want[i]), text);
}

START_TEST(as_the_reference)
{
    static char line[1 << 17];
    static uint32_t want[IDS];
    char path[512];
    if (!words || !getenv("top_srcdir"))
        return;
    snprintf(path, sizeof path, "%s/tests/data/wordpiece_reference.jsonl",
             getenv("top_srcdir"));
    FILE *f = fopen(path, "r");
    ck_assert_msg(f != NULL, "%s", path);
    size_t compared = 0, literal = 0, with_nul = 0;
    while (fgets(line, sizeof line, f)) {
        struct js *j = NULL;
        if (js_parse(path, line, strlen(line), 0, &j) != ANN_OK) {
            with_nul++; /* below */
            continue;
        }
        const char *text = js_string(js_get(j, "text"), NULL);
        const struct js *all = js_get(j, "ids");
        for (size_t i = 0; i < js_count(all); i++)
            want[i] = (uint32_t)js_number(js_at(all, i), 0);
        if (strstr(text, "[CLS]")) {
            literal++;
        } else {
            expect(text, strlen(text), want, js_count(all));
            compared++;
        }
        js_free(j);
    }
    fclose(f);
    ck_assert_uint_eq(literal, 1);
    ck_assert_uint_eq(with_nul, 1);
    ck_assert_uint_eq(compared, 479);
}
END_TEST

/* The reference makes special tokens of these words; a text's author may not. */
START_TEST(special_tokens_are_text)
{
    static const char *const want[] = {
        "[CLS]", "[",    "cl", "##s", "]",   "special", "[", "sep", "]",   "token", "##s",
        "[",     "mask", "]",  "[",   "pad", "]",       "[", "un",  "##k", "]",     "[SEP]"};
    const char *text = "[CLS] special [SEP] tokens [MASK] [PAD] [UNK]";
    if (!words)
        return;
    const size_t n = wordpiece_encode(words, text, strlen(text), IDS, ids);
    ck_assert_uint_eq(n, sizeof want / sizeof *want);
    for (size_t i = 0; i < n; i++)
        ck_assert_str_eq(wordpiece_token(words, ids[i]), want[i]);
}
END_TEST

START_TEST(edges)
{
    char text[512];
    if (!words)
        return;
    const uint32_t unknown = wordpiece_unknown(words);
    expect("a\0b", 3, (const uint32_t[]){101, 11113, 102}, 3); /* a NUL is nothing: "ab" */
    for (size_t n = 99; n <= 103; n++) {                       /* characters of a word */
        memset(text, 'a', n);
        const size_t got = wordpiece_encode(words, text, n, IDS, ids);
        ck_assert_msg((got == 3 && ids[1] == unknown) == (n > WORDPIECE_CHARS_MAX), "%zu", n);
    }
    ck_assert_uint_eq(wordpiece_encode(words, "a b c d", 7, 2, ids), 2);
    ck_assert_uint_eq(ids[0], 101);
    ck_assert_uint_eq(ids[1], 102);
    ck_assert_uint_eq(wordpiece_encode(words, "a b c d", 7, 4, ids), 4);
    ck_assert_str_eq(wordpiece_token(words, ids[2]), "b");
    ck_assert_uint_eq(ids[3], 102);
    ck_assert_ptr_null(wordpiece_token(words, wordpiece_count(words)));
}
END_TEST

static size_t scan_all(const char *text, size_t bytes, size_t room, uint32_t *out)
{
    struct wordpiece_scan scan = {text, bytes, 0};
    uint32_t some[4 * WORDPIECE_ROOM];
    size_t n = 0;
    while (scan.at < scan.bytes) {
        for (size_t i = room; i < room + 8; i++)
            some[i] = 0xabababab;
        const size_t got = wordpiece_next(words, &scan, some, room);
        ck_assert_uint_le(got, room);
        for (size_t i = room; i < room + 8; i++)
            ck_assert_uint_eq(some[i], 0xabababab);
        memcpy(out + n, some, got * sizeof *out);
        n += got;
    }
    return n;
}

/* Bytes of any kind, in any room: the same ids, all of them tokens. */
START_TEST(hostile_bytes)
{
    static const char *const pieces[] = {
        "zqxzjqvkzxqzjxqvzkqxjzqvxkzqjxzvqkxjzqxvzkqjxzqvkxzjqxzvkqzjxqvzkxqzjvxqkzjxqzvkxqjz=",
        "\xff",
        "\xc3",
        "\xe2\x80\x99",
        "\xe4\xb8\xad",
        "\0",
        "\xcc\x81",
        "\xf0\x9f\x98\x80",
        "a",
        "##",
        " ",
        "[CLS]",
        "\n",
        "straße",
        "ﬁ",
        "가",
        "\xef\xbf\xbd"};
    char text[2048];
    if (!words)
        return;
    for (uint64_t i = 0; i < 400; i++) {
        size_t n = 0;
        while (n < 1500) {
            const uint64_t x = rng_at(i, n);
            if (i % 2) {
                text[n++] = (char)x;
                continue;
            }
            const char *piece = pieces[x % (sizeof pieces / sizeof *pieces)];
            const size_t bytes = *piece ? strlen(piece) : 1;
            memcpy(text + n, piece, bytes);
            n += bytes;
        }
        const size_t a = scan_all(text, n, WORDPIECE_ROOM, ids);
        const size_t b = scan_all(text, n, 3 * WORDPIECE_ROOM, others);
        ck_assert_uint_eq(a, b);
        ck_assert_mem_eq(ids, others, a * sizeof *ids);
        for (size_t k = 0; k < a; k++)
            ck_assert_uint_lt(ids[k], wordpiece_count(words));
    }
}
END_TEST

START_TEST(bad_vocabularies)
{
    struct wordpiece *w = NULL;
    ck_assert_int_eq(wordpiece_make("a\0b\0", 4, 2, true, &w), RAG_EFORMAT); /* no specials */
    ck_assert_int_eq(wordpiece_make("[CLS]\0[SEP]\0[UNK]", 17, 3, true, &w), RAG_EFORMAT);
    ck_assert_int_eq(wordpiece_make("[CLS]\0[SEP]\0[UNK]\0", 18, 4, true, &w), RAG_EFORMAT);
    ck_assert_int_eq(wordpiece_make("", 0, 0, true, &w), RAG_EFORMAT);
    ck_assert_ptr_null(w);
    ck_assert_int_eq(wordpiece_make("[CLS]\0[SEP]\0[UNK]\0\0##\0É\0", 25, 6, false, &w),
                     RAG_OK);
    ck_assert_uint_eq(wordpiece_encode(w, "É é", 5, 16, ids), 4);
    ck_assert_uint_eq(ids[1], 5); /* É as it is written: case and accents are kept */
    ck_assert_uint_eq(ids[2], 2);
    wordpiece_free(w);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("wordpiece");
    TCase *t = tcase_create("wordpiece");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, as_the_reference);
    tcase_add_test(t, special_tokens_are_text);
    tcase_add_test(t, edges);
    tcase_add_test(t, hostile_bytes);
    tcase_add_test(t, bad_vocabularies);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
