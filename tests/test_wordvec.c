/* test_wordvec.c - files of word vectors: the three formats, hostile ones, back and forth. */
#include <config.h>

#include <check.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "rag/embed/decimal.h"
#include "rag/embed/wordvec.h"
#include "rag/error.h"

static char folder[64], path[128];

static void setup(void)
{
    snprintf(folder, sizeof folder, "wordvec-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/vectors", folder);
}

static void teardown(void)
{
    unlink(path);
    /* Nothing else may be left there. */
    ck_assert_int_eq(rmdir(folder), 0);
}

static void put(const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

static struct wordvec read_all(const char *text, size_t n)
{
    struct wordvec v = {0};
    put(text, n);
    const rag_err err = wordvec_read(path, 0, &v);
    ck_assert_msg(err == RAG_OK, "%.60s: %s", text, rag_error_message());
    return v;
}

static struct wordvec read_text(const char *text)
{
    return read_all(text, strlen(text));
}

/* Refused with that code and a message that says the path, what and also. */
static void fails(rag_err code, const char *text, size_t n, const char *what, const char *also)
{
    struct wordvec v = {.n = 77};
    put(text, n);
    const rag_err err = wordvec_read(path, 0, &v);
    const char *said = rag_error_message();
    ck_assert_msg(err == code, "%.60s: %d, %s", text, (int)err, err ? said : "");
    ck_assert_msg(strstr(said, path) != NULL, "no path: %s", said);
    ck_assert_msg(strstr(said, what) != NULL, "no \"%s\": %s", what, said);
    ck_assert_msg(!also || strstr(said, also) != NULL, "no \"%s\": %s", also, said);
    ck_assert_uint_eq(v.n, 77);
    ck_assert_ptr_null(v.words);
}

static void fails_text(const char *text, const char *what, const char *also)
{
    fails(RAG_EFORMAT, text, strlen(text), what, also);
}

static void word_is(const struct wordvec *v, size_t i, const char *word, float first,
                    float last)
{
    ck_assert_uint_lt(i, v->n);
    ck_assert_str_eq(wordvec_word(v, i), word);
    ck_assert_float_eq(v->vectors[i * v->dims], first);
    ck_assert_float_eq(v->vectors[i * v->dims + v->dims - 1], last);
}

/* ---- numbers ---- */

static float number(const char *s)
{
    float x = -12345;
    const char *at = s;
    ck_assert_msg(decimal_read(&at, s + strlen(s), &x) == DECIMAL_OK, "%s", s);
    ck_assert_msg(*at == '\0', "%s", s);
    return x;
}

START_TEST(numbers_are_the_nearest)
{
    static const char *const list[] = {
        "0", "-0", "1", "+1", "-1.5", ".5", "5.", "1e3", "1E-3", "1e+3", "0.418", "-0.041242",
        "16777217", "16777216.5", "16777219", "0.1", "3.4028235e38", "1.17549435e-38", "1e-45",
        "7e-46", "1e-400", "0e999999999999", "0.000000000000000000000000000000000000012",
        "123456789012345678901234567890", "0.30000000000000000000000000001",
        /* Halfway between two f32, and a bit above: one digit decides. */
        "1.000000059604644775390625", "1.0000000596046447753906250001",
        "1.00000017881393432617187500", "1.000000178813934326171874999", "1.000000536441803",
        "1.000001847743988", "1.000002682209015", "1.000002920627594", "8589973504",
        "8589973503.999999999", "9007199791611905", "9007199791611904"};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        const float x = number(list[i]), y = strtof(list[i], NULL);
        ck_assert_msg(memcmp(&x, &y, sizeof x) == 0, "%s: %.9g, not %.9g", list[i], (double)x,
                      (double)y);
    }
    srand(5);
    for (int i = 0; i < 200000; i++) {
        char s[64];
        const uint32_t bits = (uint32_t)rand() << 16 ^ (uint32_t)rand();
        float f;
        memcpy(&f, &bits, sizeof f);
        if (!isfinite(f))
            continue;
        if (i % 2)
            f = (float)(rand() - RAND_MAX / 2) / (float)RAND_MAX * (i % 4 == 1 ? 1 : 300);
        snprintf(s, sizeof s, i % 3 ? "%.*g" : "%.*f", i % 18, (double)f);
        const float x = number(s), y = strtof(s, NULL);
        ck_assert_msg(memcmp(&x, &y, sizeof x) == 0, "%s: %.9g, not %.9g", s, (double)x,
                      (double)y);
        char out[DECIMAL_ROOM + 1] = "";
        const size_t n = decimal_print(f, out);
        ck_assert_uint_lt(n, 17);
        out[n] = '\0';
        const float back = number(out);
        ck_assert_msg(memcmp(&back, &f, sizeof f) == 0, "%.9g: %s", (double)f, out);
    }
}
END_TEST

START_TEST(what_is_no_number)
{
    static const struct {
        const char *s;
        enum decimal how;
        size_t used;
    } list[] = {{"", DECIMAL_NONE, 0},
                {"-", DECIMAL_NONE, 0},
                {".", DECIMAL_NONE, 0},
                {"e5", DECIMAL_NONE, 0},
                {" 1", DECIMAL_NONE, 0},
                {"--1", DECIMAL_NONE, 0},
                {"abc", DECIMAL_NONE, 0},
                {"1e", DECIMAL_OK, 1},
                {"1e+", DECIMAL_OK, 1},
                {"0x10", DECIMAL_OK, 1},
                {"1,5", DECIMAL_OK, 1},
                {"1.2.3", DECIMAL_OK, 3},
                {"nan", DECIMAL_NOT_FINITE, 3},
                {"-NaN", DECIMAL_NOT_FINITE, 4},
                {"inf", DECIMAL_NOT_FINITE, 3},
                {"+Infinity", DECIMAL_NOT_FINITE, 9},
                {"1e39", DECIMAL_NOT_FINITE, 4},
                {"-3.5e38", DECIMAL_NOT_FINITE, 7},
                {"3.4028236e38", DECIMAL_NOT_FINITE, 12},
                {"1e99999999999999", DECIMAL_NOT_FINITE, 16}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        const char *at = list[i].s;
        float x = 3;
        const enum decimal how = decimal_read(&at, at + strlen(at), &x);
        ck_assert_msg(how == list[i].how, "%s: %d", list[i].s, (int)how);
        const bool near = fabsf(x) < 4;
        if (strcmp(list[i].s, "3.4028236e38") != 0)
            ck_assert_msg((size_t)(at - list[i].s) == list[i].used && near, "%s", list[i].s);
    }
    char longest[DECIMAL_MAX + 2];
    memset(longest, '1', sizeof longest);
    longest[1] = '.';
    const char *at = longest;
    float x = 0;
    ck_assert_int_eq(decimal_read(&at, longest + DECIMAL_MAX, &x), DECIMAL_OK);
    ck_assert_ptr_eq(at, longest + DECIMAL_MAX);
    ck_assert_float_eq(x, 1.11111111111f);
    at = longest;
    ck_assert_int_eq(decimal_read(&at, longest + DECIMAL_MAX + 1, &x), DECIMAL_NONE);
    ck_assert_ptr_eq(at, longest);
}
END_TEST

START_TEST(shortest_digits)
{
    static const struct {
        float x;
        const char *s;
    } list[] = {{0, "0"},           {-0.0f, "-0"},
                {1, "1"},           {0.1f, "0.1"},
                {-0.25f, "-0.25"},  {100, "100"},
                {123456, "123456"}, {0.3333333433f, "0.333333343"},
                {1e-5f, "0.00001"}, {999999.9f, "999999.9"}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        char out[DECIMAL_ROOM + 1];
        out[decimal_print(list[i].x, out)] = '\0';
        if (list[i].x == 1e-5f) /* where plain digits end is no matter */
            ck_assert_float_eq(number(out), 1e-5f);
        else if (list[i].x == 0.3333333433f)
            ck_assert_uint_le(strlen(out), 11);
        else
            ck_assert_str_eq(out, list[i].s);
    }
}
END_TEST

/* ---- the formats ---- */

START_TEST(word2vec_text)
{
    static const char *const same[] = {
        "3 2\nthe 0.5 -1\nking 2 3e-2\n</s> 0 7\n",
        "3 2\nthe 0.5 -1\nking 2 3e-2\n</s> 0 7",
        "3 2\r\nthe 0.5 -1\r\nking 2 3e-2\r\n</s> 0 7\r\n",
        "3 2 \nthe 0.5 -1 \nking 2 3e-2 \n</s> 0 7 ",
        "3\t2\nthe\t0.5\t-1\nking\t2\t3e-2\n</s>\t0\t7\n",
        ("\xef\xbb\xbf"
         "3 2\n\nthe  0.5  -1\n\nking 2 3e-2\n  \n</s> 0 7\n\n\n")};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        struct wordvec v = read_text(same[i]);
        ck_assert_uint_eq(v.n, 3);
        ck_assert_uint_eq(v.dims, 2);
        word_is(&v, 0, "the", 0.5f, -1);
        word_is(&v, 1, "king", 2, 0.03f);
        word_is(&v, 2, "</s>", 0, 7);
        ck_assert_uint_eq(v.duplicates + v.skipped, 0);
        wordvec_free(&v);
        ck_assert_ptr_null(v.vectors);
    }
}
END_TEST

START_TEST(glove_text)
{
    struct wordvec v = read_text("the 0.418 0.24968 -0.41242\n"
                                 ". . . 1 2 3\n"
                                 "at name@domain.com 4 5 6\n"
                                 "2008 7 8 9\n"
                                 "1 2 3 10 11 12\n"
                                 "nan 13 14 15\n"
                                 "caf\xc3\xa9 16 17 18");
    ck_assert_uint_eq(v.n, 7);
    ck_assert_uint_eq(v.dims, 3);
    word_is(&v, 0, "the", 0.418f, -0.41242f);
    word_is(&v, 1, ". . .", 1, 3);
    word_is(&v, 2, "at name@domain.com", 4, 6);
    word_is(&v, 3, "2008", 7, 9);
    word_is(&v, 4, "1 2 3", 10, 12);
    word_is(&v, 5, "nan", 13, 15);
    word_is(&v, 6, "caf\xc3\xa9", 16, 18);
    wordvec_free(&v);
    v = read_text("one 1\r\n");
    ck_assert_uint_eq(v.n, 1);
    word_is(&v, 0, "one", 1, 1);
    wordvec_free(&v);
}
END_TEST

/* A binary file of word2vec in `out`, with or without newlines behind the records. */
static size_t binary_file(char *out, const char *header, bool newlines)
{
    static const char *const words[] = {"the", "caf\xc3\xa9", "</s>"};
    static const float rows[3][2] = {{0.5f, -1}, {2, 0.03f}, {0, 7}};
    size_t used = strlen(header);
    memcpy(out, header, used);
    for (size_t i = 0; i < 3; i++) {
        memcpy(out + used, words[i], strlen(words[i]));
        used += strlen(words[i]);
        out[used++] = ' ';
        memcpy(out + used, rows[i], sizeof rows[i]);
        used += sizeof rows[i];
        if (newlines)
            out[used++] = '\n';
    }
    return used;
}

START_TEST(word2vec_binary)
{
    for (int newlines = 0; newlines < 2; newlines++) {
        char bytes[128];
        const size_t n = binary_file(bytes, newlines ? "3 2\n" : "3 2 \r\n", newlines);
        struct wordvec v = read_all(bytes, n);
        ck_assert_uint_eq(v.n, 3);
        ck_assert_uint_eq(v.dims, 2);
        word_is(&v, 0, "the", 0.5f, -1);
        word_is(&v, 1, "caf\xc3\xa9", 2, 0.03f);
        word_is(&v, 2, "</s>", 0, 7);
        wordvec_free(&v);
    }
}
END_TEST

START_TEST(locale_does_not_matter)
{
    if (!setlocale(LC_NUMERIC, "de_DE.UTF-8") && !setlocale(LC_NUMERIC, "fr_FR.UTF-8"))
        return;
    /* 25 digits go the slow way. */
    struct wordvec v = read_text("a 0.5 1.000000178813934326171874999\nb 1e-40 2.5\n");
    word_is(&v, 0, "a", 0.5f, 1.0000001f);
    word_is(&v, 1, "b", 1e-40f, 2.5f);
    const rag_err err = wordvec_write(path, false, &v);
    wordvec_free(&v);
    ck_assert_int_eq(err, RAG_OK);
    ck_assert_int_eq(wordvec_read(path, 0, &v), RAG_OK);
    setlocale(LC_NUMERIC, "C");
    word_is(&v, 0, "a", 0.5f, 1.0000001f);
    word_is(&v, 1, "b", 1e-40f, 2.5f);
    wordvec_free(&v);
}
END_TEST

START_TEST(words_once_and_utf8)
{
    static const char *const files[] = {
        "the 1 2\nking 3 4\nthe 5 6\nbad\xff 7 8\nth 9 10\nthe 1 1\n\xed\xa0\x80 1 1\n 2 3\n",
        "8 2\nthe 1 2\nking 3 4\nthe 5 6\nbad\xff 7 8\nth 9 10\nthe 1 1\n\xc0\x80 1 1\n\t2 "
        "3\n"};
    for (size_t i = 0; i < 2; i++) {
        struct wordvec v = read_text(files[i]);
        ck_assert_uint_eq(v.n, 3);
        ck_assert_uint_eq(v.duplicates, 2);
        ck_assert_uint_eq(v.skipped, 3);
        word_is(&v, 0, "the", 1, 2);
        word_is(&v, 1, "king", 3, 4);
        word_is(&v, 2, "th", 9, 10);
        wordvec_free(&v);
    }
    struct wordvec v = read_all("2 1\na\0b 1\nc 2\n", 14);
    ck_assert_uint_eq(v.n, 1);
    ck_assert_uint_eq(v.skipped, 1);
    word_is(&v, 0, "c", 2, 2);
    wordvec_free(&v);
    /* Of binary records: empty, with a newline, with a NUL, not UTF-8, twice. */
    static const char records[] = "6 1\n \0\0\0\0x\ny \0\0\0\0x\0y \0\0\0\0\xff \0\0\0\0"
                                  "x \0\0\x80\x3fx \0\0\0\0";
    v = read_all(records, sizeof records - 1);
    ck_assert_uint_eq(v.n, 1);
    ck_assert_uint_eq(v.skipped, 4);
    ck_assert_uint_eq(v.duplicates, 1);
    word_is(&v, 0, "x", 1, 1);
    wordvec_free(&v);
    fails_text("\xff 1 2\n\xfe 3 4\n", "no word in it", "2 that are");
}
END_TEST

START_TEST(many_words)
{
    const size_t n = 20000;
    char *text = malloc(n * 40);
    size_t used = 0;
    for (size_t i = 0; i < n; i++)
        used += (size_t)snprintf(text + used, 40, "w%zu %zu 0.5 -%zu.25\n", i % 15000, i, i);
    struct wordvec v = read_all(text, used);
    ck_assert_uint_eq(v.n, 15000);
    ck_assert_uint_eq(v.duplicates, 5000);
    for (size_t i = 0; i < v.n; i++) {
        char word[32];
        snprintf(word, sizeof word, "w%zu", i);
        word_is(&v, i, word, (float)i, -(float)i - 0.25f);
    }
    wordvec_free(&v);
    free(text);
}
END_TEST

/* ---- hostile ones ---- */

START_TEST(bad_texts)
{
    fails_text("", "is empty", NULL);
    fails_text("\n\n \n", "no line in it", NULL);
    fails_text("hello\nworld\n", "line 1: \"hello\" is neither", NULL);
    fails_text("an essay on words\nand their numbers\n", "line 1", "neither");
    fails_text("a 1 2\nb 3 nan\nc 5 6\n", "line 2: \"b\": number 2 is nan", "not a finite");
    fails_text("a 1 2\nb -inf 4\nc 5 6\n", "line 2: \"b\": number 1 is -inf", "not a finite");
    fails_text("a 1 2\nb 1e39 4\n", "line 2: \"b\": number 1 is 1e39", "not a finite");
    fails_text("a 1 2\nb 3 4x\nc 5 6\n", "line 2: \"b\": number 2 is 4x", "none");
    fails_text("a 1 2\nb 3,5 4\nc 5 6\n", "line 2: \"b\": number 1 is 3,5", "none");
    fails_text("a 1 2\nb 0x1 4\nc 5 6\n", "line 2: \"b\": number 1 is 0x1", "none");
    fails_text("a 1 2 3\nb 1 2 3\nc 1 2", "line 3: \"c\" has 2 numbers, not 3", "cut short");
    fails_text("a 1 2 3\nb 1 2", "line 2: \"b\" has 2 numbers, not 3", "cut short");
    fails_text("a 1 2 3\nb 1 2\nc 1 2 3\n", "line 2: \"b\" has 2 numbers, not 3", NULL);
    fails_text("a 1 2 3\nb\nc 1 2 3\n", "line 2: \"b\" has 0 numbers, not 3", NULL);
    fails_text("a 1 2\n\x1b[31m\xff 3 4x\nc 5 6\n", "line 2: \"?[31m?\"", "4x");
    fails_text("a 1 2\nb 3 nan\nc 5 6\nd 1 1 1\n", "line 2", NULL);
    /* A fault is told though the word would be left out. */
    fails_text("a 1 2\na 3 nan\nc 5 6\n", "line 2: \"a\": number 2", NULL);
    fails_text("\x1f\x8b\x08 zzz", "gzip", NULL);
    fails_text("PK\x03\x04 zzz", "zip", NULL);
}
END_TEST

START_TEST(bad_headers)
{
    fails_text("0 2\n", "line 1: no words", NULL);
    fails_text("2 0\na 1\nb 2\n", "line 1: vectors of 0 numbers", NULL);
    fails_text("1 65537\na 1\n", "line 1: vectors of 65537 numbers", NULL);
    fails_text("1 99999999999999999999999999\na 1\n", "line 1: vectors of", NULL);
    fails_text("3 2\na 1.5 2.5\nb 3 4\n", "ends after 2 of the 3", NULL);
    fails_text("1 2\na 1 2\nb 3 4\n", "line 3: more words than the 1", NULL);
    fails_text("2 1\na 1\na 1\nb 2\n", "line 4: more words than the 2", NULL);
    fails_text("99999999999999999 2\na 1 2\n",
               "99999999999999999 words of 2 numbers do not fit", "6 bytes");
    fails_text("99999999999999999999999999 2\na 1 2\n", "do not fit", NULL);
    fails_text("4 2\na 1 2\nb 3 4\n", "4 words of 2 numbers do not fit the 12", NULL);
    fails_text("2 2", "line 1: 2 words of 2 numbers do not fit the 0 bytes", NULL);
    fails_text("2 3\na 1 2\nb 3 4 5\n", "line 2: \"a\" has 2 numbers, not 3", NULL);
    fails_text("2 3\na 1 2 x\nb 3 4 5\n", "line 2: \"a\": number 3 is x", NULL);
    fails_text("2 3\na 1 2 nan\nb 3 4 5\n", "line 2: \"a\": number 3 is nan", NULL);
    /* Not a header, and so no file at all. */
    fails_text("2 2 words\n", "neither", NULL);
}
END_TEST

START_TEST(bad_binaries)
{
    char bytes[160];
    const float nan = NAN, minus = -INFINITY;
    size_t n = binary_file(bytes, "3 2\n", true);
    for (size_t cut = 5; cut < n - 1; cut++)
        fails(RAG_EFORMAT, bytes, cut, "", cut > n - 6 ? "word 3, \"</s>\": cut short" : NULL);
    memcpy(bytes + 4 + 4 + 4, &nan, 4);
    fails(RAG_EFORMAT, bytes, n, "word 1, \"the\": number 2 is nan", NULL);
    binary_file(bytes, "3 2\n", true);
    memcpy(bytes + 4 + 13 + 6, &minus, 4);
    fails(RAG_EFORMAT, bytes, n, "word 2, \"caf\xc3\xa9\": number 1 is -inf", NULL);
    n = binary_file(bytes, "4 2\n", true);
    fails(RAG_EFORMAT, bytes, n, "ends in word 4 of the 4", "cut short");
    n = binary_file(bytes, "2 2\n", true);
    fails(RAG_EFORMAT, bytes, n, "14 bytes behind the 2 words", NULL);
    n = binary_file(bytes, "9 2\n", true);
    fails(RAG_EFORMAT, bytes, n, "9 words of 2 numbers do not fit", NULL);
    n = binary_file(bytes, "4000000000000000000 2\n", true);
    fails(RAG_EFORMAT, bytes, n, "do not fit", NULL);
    n = binary_file(bytes, "999999999999999999 65536\n", true);
    fails(RAG_EFORMAT, bytes, n, "do not fit", NULL);
}
END_TEST

START_TEST(long_lines)
{
    const size_t n = WORDVEC_LINE_MAX + 64;
    char *text = malloc(n);
    memset(text, 'x', n);
    fails(RAG_ELIMIT, text, n, "line 1: longer than", NULL);
    memcpy(text, "a 1\n", 4);
    fails(RAG_ELIMIT, text, n, "line 2: longer than", NULL);
    memcpy(text, "2 1\n\1", 5);
    fails(RAG_ELIMIT, text, n, "word 1: longer than", NULL);
    /* The longest that is read. */
    memset(text, 'x', n);
    memcpy(text + WORDVEC_LINE_MAX - 2, " 7\n", 3);
    struct wordvec v = read_all(text, WORDVEC_LINE_MAX + 1);
    ck_assert_uint_eq(v.n, 1);
    ck_assert_uint_eq(strlen(v.words), WORDVEC_LINE_MAX - 2);
    ck_assert_float_eq(v.vectors[0], 7);
    wordvec_free(&v);
    /* Its word in an error is cut, between characters. */
    memset(text, 'x', n);
    for (size_t i = 45; i + 2 < 400; i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    memcpy(text + 500, " 7y\n", 4);
    memcpy(text + 504, "b 8\nc 9\nd 7\n", 12);
    put(text, 516);
    ck_assert_int_eq(wordvec_read(path, 0, &v), RAG_EFORMAT);
    ck_assert_ptr_nonnull(strstr(rag_error_message(), "xx\xc3\xa9..."));
    free(text);
}
END_TEST

START_TEST(memory_is_bounded)
{
    struct wordvec v = {.n = 5};
    char text[4096];
    size_t used = 0;
    for (int i = 0; i < 100; i++)
        used += (size_t)snprintf(text + used, 40, "quite-a-long-word%d 1 2 3 4\n", i);
    put(text, used);
    size_t enough = 0;
    for (size_t limit = 1; enough == 0; limit += 64) {
        ck_assert_uint_lt(limit, 10000);
        const rag_err err = wordvec_read(path, limit, &v);
        if (err == RAG_OK) {
            enough = limit;
        } else {
            ck_assert_int_eq(err, RAG_ELIMIT);
            ck_assert_uint_eq(v.n, 5);
        }
    }
    /* Numbers, offset, word, and one and a half slots. */
    ck_assert_uint_gt(enough, 100 * (16 + 8 + 19 + 12));
    wordvec_free(&v);
}
END_TEST

START_TEST(out_of_memory)
{
    char bytes[128];
    const size_t n = binary_file(bytes, "3 2\n", true);
    for (int kind = 0; kind < 3; kind++) {
        struct wordvec v = {0};
        for (uint64_t at = 1;; at++) {
            ck_assert_uint_lt(at, 100);
            if (kind == 0)
                put("the 1 2\nking 3 4\n", 17);
            else
                put(bytes, n);
            memory_fail_at(at, false);
            rag_err err = wordvec_read(path, 0, &v);
            if (!err && kind == 2)
                err = wordvec_write(path, false, &v);
            wordvec_free(&v);
            if (memory_fail_at(0, false) < at)
                break;
            /* What is only given back may fail to be. */
            ck_assert(err == RAG_ENOMEM || err == RAG_OK);
        }
    }
}
END_TEST

START_TEST(no_such_file)
{
    struct wordvec v = {.n = 77};
    ck_assert_int_eq(wordvec_read(path, 0, &v), RAG_ENOENT);
    ck_assert_ptr_nonnull(strstr(rag_error_message(), path));
    ck_assert_int_eq(wordvec_read(folder, 0, &v), RAG_EIO);
    ck_assert_uint_eq(v.n, 77);
}
END_TEST

START_TEST(from_a_pipe)
{
    int ends[2];
    const int kept = dup(STDIN_FILENO);
    struct wordvec v = {0};
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(write(ends[1], "2 1\nthe 1\nking 2\n", 17), 17);
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    const rag_err err = wordvec_read("-", 0, &v);
    ck_assert_int_eq(err, RAG_OK);
    ck_assert_uint_eq(v.n, 2);
    word_is(&v, 1, "king", 2, 2);
    wordvec_free(&v);
    ck_assert_int_eq(wordvec_read("-", 0, &v), RAG_EFORMAT);
    ck_assert_ptr_nonnull(strstr(rag_error_message(), "standard input: is empty"));
    dup2(kept, STDIN_FILENO);
    close(kept);
}
END_TEST

/* ---- writing ---- */

START_TEST(written_and_read_back)
{
    enum { N = 9000, DIMS = 7 }; /* more than is written at a time */
    static char words[N * 24];
    static size_t at[N];
    static float rows[N * DIMS];
    size_t used = 0;
    srand(11);
    for (size_t i = 0; i < N; i++) {
        at[i] = used;
        used += (size_t)snprintf(words + used, 24, "w\xc3\xa9%zu%s", i,
                                 _i == 0 && i % 5 == 0 ? " 1 2" : "") +
                1;
        for (size_t k = 0; k < DIMS; k++) {
            const uint32_t bits = (uint32_t)rand() << 16 ^ (uint32_t)rand();
            float *x = &rows[i * DIMS + k];
            memcpy(x, &bits, sizeof bits);
            if (!isfinite(*x) || i % 2)
                *x = (float)rand() / (float)RAND_MAX - 0.5f;
        }
    }
    rows[0] = FLT_MAX;
    rows[1] = -FLT_TRUE_MIN;
    rows[2] = -0.0f;
    const struct wordvec v = {.n = N, .dims = DIMS, .words = words, .at = at, .vectors = rows};
    struct wordvec back = {0};
    put("old", 3);
    ck_assert_int_eq(wordvec_write(path, _i, &v), RAG_OK);
    ck_assert_msg(wordvec_read(path, 0, &back) == RAG_OK, "%s", rag_error_message());
    ck_assert_uint_eq(back.n, N);
    ck_assert_uint_eq(back.dims, DIMS);
    ck_assert(memcmp(back.words, words, used) == 0);
    ck_assert(memcmp(back.at, at, sizeof at) == 0);
    ck_assert(memcmp(back.vectors, rows, sizeof rows) == 0);
    wordvec_free(&back);
}
END_TEST

START_TEST(exact_bytes)
{
    char bytes[128], got[128], words[] = "the\0caf\xc3\xa9\0</s>";
    size_t at[] = {0, 4, 10};
    float rows[] = {0.5f, -1, 2, 0.03f, 0, 7};
    const struct wordvec v = {.n = 3, .dims = 2, .words = words, .at = at, .vectors = rows};
    const char *text = "3 2\nthe 0.5 -1\ncaf\xc3\xa9 2 0.03\n</s> 0 7\n";
    for (int binary = 0; binary < 2; binary++) {
        const size_t n = binary ? binary_file(bytes, "3 2\n", true) : strlen(text);
        ck_assert_int_eq(wordvec_write(path, binary, &v), RAG_OK);
        FILE *f = fopen(path, "rb");
        ck_assert_uint_eq(fread(got, 1, sizeof got, f), n);
        fclose(f);
        ck_assert(memcmp(got, binary ? bytes : text, n) == 0);
    }
    /* To standard output. */
    int ends[2];
    fflush(stdout);
    const int kept = dup(STDOUT_FILENO);
    ck_assert_int_eq(pipe(ends), 0);
    dup2(ends[1], STDOUT_FILENO);
    close(ends[1]);
    const rag_err err = wordvec_write("-", false, &v);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    ck_assert_int_eq(err, RAG_OK);
    ck_assert_int_eq(read(ends[0], got, sizeof got), (ssize_t)strlen(text));
    ck_assert(memcmp(got, text, strlen(text)) == 0);
    close(ends[0]);
}
END_TEST

START_TEST(not_written)
{
    static const struct {
        const char *word;
        bool text, binary; /* it can be written */
        const char *why;
    } list[] = {{"", false, false, "is empty"},   {"a\nb", false, false, "newline"},
                {" a", false, false, "blank"},    {"a ", false, false, "blank"},
                {"a\t", false, false, "blank"},   {"a b", true, false, "blank"},
                {"a\xff", false, false, "UTF-8"}, {"a\tb", true, true, ""}};
    float rows[] = {1, 2};
    size_t at[] = {0};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        char word[8];
        snprintf(word, sizeof word, "%s", list[i].word);
        const struct wordvec v = {.n = 1, .dims = 2, .words = word, .at = at, .vectors = rows};
        for (int binary = 0; binary < 2; binary++) {
            put("old", 3);
            const bool can = binary ? list[i].binary : list[i].text;
            const rag_err err = wordvec_write(path, binary, &v);
            ck_assert_msg(err == (can ? RAG_OK : RAG_EINVAL), "%s %d", list[i].word, binary);
            ck_assert(can || strstr(rag_error_message(), list[i].why));
            struct stat st;
            ck_assert(stat(path, &st) == 0 && (st.st_size == 3) == !can);
        }
    }
    char *longest = calloc(WORDVEC_LINE_MAX + 1, 1);
    memset(longest, 'x', WORDVEC_LINE_MAX);
    const struct wordvec far = {.n = 1, .dims = 2, .words = longest, .at = at, .vectors = rows};
    for (int binary = 0; binary < 2; binary++) {
        ck_assert_int_eq(wordvec_write(path, binary, &far), RAG_EINVAL);
        ck_assert_ptr_nonnull(strstr(rag_error_message(), "xxx...\", makes too long"));
    }
    free(longest);
    char word[] = "a";
    struct wordvec v = {.n = 1, .dims = 2, .words = word, .at = at, .vectors = rows};
    rows[1] = NAN;
    put("old", 3);
    ck_assert_int_eq(wordvec_write(path, true, &v), RAG_EINVAL);
    ck_assert_ptr_nonnull(strstr(rag_error_message(), "word 1, \"a\": number 2 is not finite"));
    rows[1] = 2;
    v.dims = 0;
    ck_assert_int_eq(wordvec_write(path, true, &v), RAG_EINVAL);
    v.dims = 2;
    v.n = 0;
    ck_assert_int_eq(wordvec_write(path, true, &v), RAG_EINVAL);
    v.n = 1;
    ck_assert_int_eq(wordvec_write("no-such-folder/x", true, &v), RAG_ENOENT);
    ck_assert_int_eq(wordvec_write("/dev/full", true, &v), RAG_EIO);
    ck_assert_ptr_nonnull(strstr(rag_error_message(), "/dev/full"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("wordvec");
    TCase *t = tcase_create("numbers");
    tcase_add_test(t, numbers_are_the_nearest);
    tcase_add_test(t, what_is_no_number);
    tcase_add_test(t, shortest_digits);
    suite_add_tcase(s, t);
    t = tcase_create("files");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, word2vec_text);
    tcase_add_test(t, glove_text);
    tcase_add_test(t, word2vec_binary);
    tcase_add_test(t, locale_does_not_matter);
    tcase_add_test(t, words_once_and_utf8);
    tcase_add_test(t, many_words);
    tcase_add_test(t, bad_texts);
    tcase_add_test(t, bad_headers);
    tcase_add_test(t, bad_binaries);
    tcase_add_test(t, long_lines);
    tcase_add_test(t, memory_is_bounded);
    tcase_add_test(t, out_of_memory);
    tcase_add_test(t, no_such_file);
    tcase_add_test(t, from_a_pipe);
    tcase_add_loop_test(t, written_and_read_back, 0, 2);
    tcase_add_test(t, exact_bytes);
    tcase_add_test(t, not_written);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
