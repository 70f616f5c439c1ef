/* test_wire_vectors.c - answers of embedding and re-ranking servers: literal ones of real
 * servers, and all that can be wrong with one.  What is refused leaves no vector behind. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rag/embed/wire.h"

#define LIST(items) "{\"object\":\"list\",\"data\":[" items "],\"model\":\"m\"}"
#define ITEM(i, v)  "{\"index\":" #i ",\"embedding\":" v ",\"object\":\"embedding\"}"
#define TWO(a, b)   LIST(ITEM(0, a) "," ITEM(1, b))

static rag_err read_two(enum wire_shape shape, const char *body, size_t *dims, float **v)
{
    return wire_vectors(shape, "host:1", body, strlen(body), 2, dims, v);
}

static void expect(enum wire_shape shape, const char *body, const float *want, size_t each)
{
    size_t dims = 0;
    float *v = NULL;
    ck_assert_msg(read_two(shape, body, &dims, &v) == RAG_OK, "%s", rag_error_message());
    ck_assert_uint_eq(dims, each);
    for (size_t i = 0; i < 2 * each; i++)
        ck_assert_float_eq(v[i], want[i]);
    rag_free(v);
}

START_TEST(good)
{
    const float want[] = {1, 2, -0.5f, 4}, swapped[] = {-0.5f, 4, 1, 2};
    expect(WIRE_OPENAI, TWO("[1,2]", "[-0.5,4e0]"), want, 2);
    expect(WIRE_OPENAI, LIST(ITEM(1, "[1,2]") "," ITEM(0, "[-0.5,4]")), swapped, 2);
    /* 1.0, 2.0 and -0.5, 4.0 as little-endian f32 */
    expect(WIRE_OPENAI, TWO("\"AACAPwAAAEA=\"", "\"AAAAvwAAgEA=\""), want, 2);
    expect(WIRE_OPENAI, TWO("\"AACAPwAAAEA=\"", "[-0.5,4]"), want, 2);
    expect(WIRE_OLLAMA, "{\"model\":\"m\",\"embeddings\":[[1,2],[-0.5,4]],\"load_duration\":5}",
           want, 2);
    expect(WIRE_TEI, "[[1,2],[-0.5,4]]", want, 2);
    expect(WIRE_OPENAI,
           "{\"error\":null,\"data\":[" ITEM(0, "[1,2]") "," ITEM(1, "[-0.5,4]") "]}", want, 2);
}
END_TEST

static const struct bad {
    const char *body;
    rag_err err;
} bad[] = {
    {"", RAG_EFORMAT},
    {"null", RAG_EFORMAT},
    {"<html>", RAG_EFORMAT},
    {"{", RAG_EFORMAT},
    {"{}", RAG_EFORMAT},
    {"[]", RAG_EFORMAT},
    {"\xEF\xBB\xBF{}", RAG_EFORMAT},
    {"{\"data\":5}", RAG_EFORMAT},
    {"{\"data\":{}}", RAG_EFORMAT},
    {"{\"data\":[]}", RAG_EFORMAT},
    {"{\"data\":[null,null]}", RAG_EFORMAT},
    {"{\"data\":[],\"data\":[]}", RAG_EFORMAT},
    {LIST(ITEM(0, "[1]")), RAG_EFORMAT},                                       /* fewer */
    {LIST(ITEM(0, "[1]") "," ITEM(1, "[1]") "," ITEM(2, "[1]")), RAG_EFORMAT}, /* more */
    {LIST(ITEM(0, "[1]") "," ITEM(0, "[2]")), RAG_EFORMAT},                    /* twice */
    {LIST(ITEM(0, "[1]") "," ITEM(2, "[2]")), RAG_EFORMAT},                    /* beyond */
    {LIST(ITEM(0, "[1]") "," ITEM(-1, "[2]")), RAG_EFORMAT},
    {LIST(ITEM(0, "[1]") "," ITEM(9223372036854775808, "[2]")), RAG_EFORMAT},
    {LIST(ITEM(0, "[1]") "," ITEM(1.5, "[2]")), RAG_EFORMAT},
    {LIST(ITEM(0, "[1]") "," ITEM("1", "[2]")), RAG_EFORMAT},
    {LIST(ITEM(0, "[1]") "," ITEM(null, "[2]")), RAG_EFORMAT},
    {LIST("{\"embedding\":[1]},{\"embedding\":[2]}"), RAG_EFORMAT}, /* no index */
    {LIST("{\"index\":0},{\"index\":1}"), RAG_EFORMAT},
    {TWO("[1,2]", "[1]"), RAG_EDIM},
    {TWO("[1]", "[1,2]"), RAG_EDIM},
    {TWO("[]", "[]"), RAG_EFORMAT},
    {TWO("null", "null"), RAG_EFORMAT},
    {TWO("5", "5"), RAG_EFORMAT},
    {TWO("{}", "{}"), RAG_EFORMAT},
    {TWO("[0,0]", "[1,2]"), RAG_EFORMAT},    /* no direction */
    {TWO("[1,null]", "[1,2]"), RAG_EFORMAT}, /* what NaN often comes as */
    {TWO("[1,NaN]", "[1,2]"), RAG_EFORMAT},
    {TWO("[1,Infinity]", "[1,2]"), RAG_EFORMAT},
    {TWO("[1,1e999]", "[1,2]"), RAG_EFORMAT},
    {TWO("[1,1e39]", "[1,2]"), RAG_EFORMAT}, /* beyond a float */
    {TWO("[1,\"2\"]", "[1,2]"), RAG_EFORMAT},
    {TWO("[1,true]", "[1,2]"), RAG_EFORMAT},
    {TWO("[[1]]", "[[1]]"), RAG_EFORMAT},
    {TWO("\"\"", "\"\""), RAG_EFORMAT},
    {TWO("\"AAC\"", "\"AAC\""), RAG_EFORMAT},
    {TWO("\"AACA\"", "\"AACA\""), RAG_EFORMAT}, /* 3 bytes */
    {TWO("\"AACAPw==AACAPw==\"", "[1]"), RAG_EFORMAT},
    {TWO("\"AACAPw=\"", "[1]"), RAG_EFORMAT},
    {TWO("\"AACAPx==\"", "\"AACAPw==\""), RAG_EFORMAT}, /* bits left over */
    {TWO("\"AA-APw==\"", "\"AACAPw==\""), RAG_EFORMAT}, /* the other alphabet */
    {TWO("\"AACA Pw=\"", "\"AACAPw==\""), RAG_EFORMAT},
    {TWO("\"AADAfw==\"", "\"AACAPw==\""), RAG_EFORMAT}, /* NaN */
    {TWO("\"AACAfw==\"", "\"AACAPw==\""), RAG_EFORMAT}, /* infinity */
    {TWO("\"AAAAAA==\"", "\"AACAPw==\""), RAG_EFORMAT}, /* zero */
    {TWO("\"AACAPw==\"", "\"AACAPwAAAEA=\""), RAG_EDIM},
    {"{\"error\":{\"message\":\"overloaded\"}}", RAG_EREFUSED},
    {"{\"error\":\"overloaded\"}", RAG_EREFUSED},
    {"{\"data\":[\"\\ud800\"]}", RAG_EFORMAT},
    {"{\"data\":[\"\xFF\"]}", RAG_EFORMAT},
    {"{\"data\":[\"a\\u0000b\"]}", RAG_EFORMAT},
    {TWO("[1]", "[2]") "x", RAG_EFORMAT},
};

START_TEST(refused)
{
    size_t dims = 0;
    float *v = NULL;
    const rag_err err = read_two(WIRE_OPENAI, bad[_i].body, &dims, &v);
    ck_assert_msg(err == bad[_i].err, "%s for %s", rag_err_name(err), bad[_i].body);
    ck_assert(v == NULL && dims == 0);
    ck_assert(strstr(rag_error_message(), "host:1") != NULL);
}
END_TEST

START_TEST(other_shapes_refused)
{
    static const char *const ollama[] = {
        "{\"embeddings\":[]}", "{\"embeddings\":[[1],[]]}", "{\"embeddings\":[[],[]]}",
        "[[1],[2]]",           "{\"embedding\":[1]}",       "{\"error\":\"x\"}"};
    static const char *const tei[] = {
        "[[1]]", "[[1],[2],[3]]", "{\"error\":\"x\",\"error_type\":\"V\"}",
        "[1,2]", "[[1],null]",    "[]"};
    for (size_t i = 0; i < 6; i++) {
        size_t dims = 0;
        float *v = NULL;
        ck_assert_int_ne(read_two(WIRE_OLLAMA, ollama[i], &dims, &v), RAG_OK);
        ck_assert_int_ne(read_two(WIRE_TEI, tei[i], &dims, &v), RAG_OK);
        ck_assert(v == NULL && dims == 0);
    }
    size_t dims = 3; /* another model behind the same name */
    float *v = NULL;
    ck_assert_int_eq(read_two(WIRE_TEI, "[[1,2],[3,4]]", &dims, &v), RAG_EDIM);
    ck_assert(strstr(rag_error_message(), "2 dimensions instead of 3") != NULL);
}
END_TEST

START_TEST(deep_and_long)
{
    const size_t n = 200000;
    char *s = malloc(n + 1);
    size_t dims = 0;
    float *v = NULL;
    memset(s, '[', n);
    s[n] = '\0';
    ck_assert_int_eq(read_two(WIRE_TEI, s, &dims, &v), RAG_EFORMAT);
    free(s);
    s = malloc(4 * 70000);
    memcpy(s, "[[", 2);
    size_t at = 2;
    for (int i = 0; i < 65537; i++)
        at += (size_t)(memcpy(s + at, "1,", 2), 2);
    memcpy(s + at - 1, "],[1]]", 7);
    ck_assert_int_eq(read_two(WIRE_TEI, s, &dims, &v), RAG_EFORMAT);
    ck_assert(v == NULL);
    free(s);
}
END_TEST

START_TEST(requests)
{
    const char *texts[] = {"a \"b\"", "\xC3\xA9\n"};
    char *body;
    size_t n;
    ck_assert_int_eq(wire_ask_vectors(WIRE_OPENAI, "m", 0, texts, 2, &body, &n), RAG_OK);
    ck_assert_str_eq(body, "{\"model\":\"m\",\"input\":[\"a \\\"b\\\"\",\"\xC3\xA9\\n\"],"
                           "\"encoding_format\":\"base64\"}");
    ck_assert_uint_eq(n, strlen(body));
    rag_free(body);
    ck_assert_int_eq(wire_ask_vectors(WIRE_OLLAMA, "m", 8, texts, 1, &body, &n), RAG_OK);
    ck_assert_str_eq(body, "{\"model\":\"m\",\"input\":[\"a \\\"b\\\"\"],\"truncate\":false,"
                           "\"dimensions\":8}");
    rag_free(body);
    ck_assert_int_eq(wire_ask_vectors(WIRE_TEI, "m", 0, texts, 1, &body, &n), RAG_OK);
    ck_assert_str_eq(body,
                     "{\"inputs\":[\"a \\\"b\\\"\"],\"truncate\":false,\"normalize\":true}");
    rag_free(body);
    ck_assert_int_eq(wire_ask_scores(false, "r", "q", texts, 1, &body, &n), RAG_OK);
    ck_assert_str_eq(
        body, "{\"model\":\"r\",\"query\":\"q\",\"documents\":[\"a \\\"b\\\"\"],\"top_n\":1}");
    rag_free(body);
    ck_assert_int_eq(wire_ask_scores(true, "r", "q", texts, 1, &body, &n), RAG_OK);
    ck_assert_str_eq(body, "{\"query\":\"q\",\"texts\":[\"a \\\"b\\\"\"]}");
    rag_free(body);
}
END_TEST

START_TEST(scores)
{
    static const char *const right[] = {
        "{\"model\":\"m\",\"results\":[{\"index\":1,\"relevance_score\":2.5},"
        "{\"index\":0,\"relevance_score\":-3}]}",
        "[{\"index\":1,\"score\":2.5},{\"index\":0,\"score\":-3}]"};
    static const char *const wrong[] = {
        "{}",
        "{\"results\":[]}",
        "[{\"index\":0,\"score\":1}]",
        "[{\"index\":0,\"score\":1},{\"index\":0,\"score\":1}]",
        "[{\"index\":0,\"score\":1},{\"index\":2,\"score\":1}]",
        "[{\"index\":0,\"score\":1},{\"index\":1,\"score\":null}]",
        "[{\"index\":0,\"score\":1},{\"index\":1}]",
        "[{\"index\":0,\"score\":1},{\"score\":1}]",
        "[{\"index\":0,\"score\":1},{\"index\":1,\"score\":\"2\"}]",
        "[1,2]",
        "[{\"index\":0,\"score\":1},{\"index\":1,\"score\":1},{\"index\":2,\"score\":1}]",
        ""};
    double s[2];
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(wire_scores("h", right[i], strlen(right[i]), 2, s), RAG_OK);
        ck_assert_double_eq(s[0], -3);
        ck_assert_double_eq(s[1], 2.5);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        s[0] = s[1] = 77;
        ck_assert_msg(wire_scores("h", wrong[i], strlen(wrong[i]), 2, s) == RAG_EFORMAT, "%s",
                      wrong[i]);
        ck_assert_double_eq(s[0] + s[1], 154); /* untouched */
    }
    ck_assert_int_eq(wire_scores("h", "{\"error\":\"x\"}", 13, 2, s), RAG_EREFUSED);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("wire_vectors");
    TCase *t = tcase_create("wire");
    tcase_add_test(t, good);
    tcase_add_loop_test(t, refused, 0, (int)(sizeof bad / sizeof *bad));
    tcase_add_test(t, other_shapes_refused);
    tcase_add_test(t, deep_and_long);
    tcase_add_test(t, requests);
    tcase_add_test(t, scores);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
