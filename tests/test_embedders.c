/* test_embedders.c - embedders by URI: which server they ask, in which batches, and what they
 * make of its answers. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rag/embed/remote.h"
#include "rag/net/net.h"
#include "tests/badserver.h"

#define OK200 "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
#define TOO_LARGE                                                                              \
    "HTTP/1.1 500 x\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"            \
    "{\"error\":{\"code\":500,\"message\":\"input (702 tokens) is too large to process\"}}"
#define VEC(i, v) "{\"index\":" i ",\"embedding\":[" v "]}"

static const char *no_setting(void *arg, const char *name)
{
    (void)arg;
    return strcmp(name, "openai.api_key") == 0    ? "sk-1"
           : strcmp(name, "ollama.host") == 0     ? "0.0.0.0:9999"
           : strcmp(name, "cohere.base_url") == 0 ? arg
                                                  : NULL;
}

START_TEST(uris)
{
    static const struct {
        const char *uri, *url, *model;
        size_t dims;
        enum wire_shape shape;
        const char *key, *query;
    } rows[] = {
        {"openai:text-embedding-3-small@512", "https://api.openai.com/v1/embeddings",
         "text-embedding-3-small", 512, WIRE_OPENAI, "sk-1", ""},
        {"ollama:nomic-embed-text", "http://0.0.0.0:9999/api/embed", "nomic-embed-text", 0,
         WIRE_OLLAMA, NULL, "search_query: "},
        {"tei:http://h:1/", "http://h:1/embed", "default", 0, WIRE_TEI, NULL, ""},
        {"llamacpp:h:1#intfloat/E5-base-v2", "http://h:1/v1/embeddings", "intfloat/E5-base-v2",
         0, WIRE_OPENAI, NULL, "query: "},
        {"https://x.example/v1#m@8", "https://x.example/v1/embeddings", "m", 8, WIRE_OPENAI,
         NULL, ""},
    };
    const struct embed_settings s = {.setting = no_setting};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct remote_target t = {0};
        ck_assert_msg(!remote_target_read(rows[i].uri, &s, &t), "%s", rag_error_message());
        ck_assert_str_eq(t.url, rows[i].url);
        ck_assert_str_eq(t.model, rows[i].model);
        ck_assert_uint_eq(t.dims, rows[i].dims);
        ck_assert_int_eq(t.shape, rows[i].shape);
        ck_assert_str_eq(t.prefix_query, rows[i].query);
        ck_assert((t.key == NULL) == (rows[i].key == NULL));
        remote_target_free(&t);
    }
    static const char *const bad[] = {"",           "openai:",    "tei:",        "ftp://x",
                                      "openai:m@0", "openai:m@x", "http://x/v1", "http://x/v1#",
                                      "gpt-4",      "llamacpp:#m"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct remote_target t = {0};
        ck_assert_msg(remote_target_read(bad[i], &s, &t) == RAG_EINVAL, "%s", bad[i]);
        ck_assert_ptr_nonnull(strstr(rag_error_message(), bad[i]));
    }
}
END_TEST

struct taken {
    size_t calls, n;
    float first[8];
};

static rag_err take(void *arg, size_t first, size_t n, size_t dims, const float *vectors)
{
    struct taken *t = arg;
    ck_assert_uint_eq(dims, 2);
    t->calls++;
    for (size_t i = 0; i < n; i++)
        t->first[first + i] = vectors[i * dims];
    t->n += n;
    return RAG_OK;
}

struct session {
    struct badserver *server;
    struct net *net;
    struct embedder *e;
    char uri[64];
};

static void start(struct session *s, const struct bad_answer *answers, size_t n,
                  const char *tail)
{
    s->server = badserver_start(answers, n);
    ck_assert_int_eq(net_open(&s->net), RAG_OK);
    snprintf(s->uri, sizeof s->uri, "http://127.0.0.1:%u/v1#%s", badserver_port(s->server),
             tail);
    const struct embed_settings how = {.net = s->net, .tries = 2};
    ck_assert_msg(!embed_open(s->uri, &how, &s->e), "%s", rag_error_message());
}

static void stop(struct session *s)
{
    embed_close(s->e);
    net_close(s->net);
    badserver_stop(s->server);
}

/* Of four texts the third is too large: halved until it is alone; it costs itself. */
START_TEST(one_text_too_large)
{
    static const char *const texts[] = {"a", "b", "c", "d"};
    const struct bad_answer answers[] = {
        {TOO_LARGE, 0, 0, 0, 0, 0}, /* a b c d */
        {OK200 "{\"data\":[" VEC("1", "2,1") "," VEC("0", "1,1") "]}", 0, 0, 0, 0, 0}, /* a b */
        {TOO_LARGE, 0, 0, 0, 0, 0},                                                    /* c d */
        {TOO_LARGE, 0, 0, 0, 0, 0},                                                    /* c */
        {OK200 "{\"data\":[" VEC("0", "4,1") "]}", 0, 0, 0, 0, 0}};                    /* d */
    struct session s;
    struct taken t = {0};
    rag_err each[4] = {0};
    start(&s, answers, 5, "m");
    ck_assert_int_eq(embed_texts(s.e, EMBED_DOCUMENT, texts, 4, each, take, &t), RAG_OK);
    ck_assert_uint_eq(badserver_requests(s.server), 5);
    ck_assert_uint_eq(t.n, 3);
    ck_assert_int_eq(each[2], RAG_ETOOLARGE);
    ck_assert_int_eq(each[0] | each[1] | each[3], RAG_OK);
    ck_assert_float_eq(t.first[0], 1); /* by index, not by place */
    ck_assert_float_eq(t.first[1], 2);
    ck_assert_float_eq(t.first[3], 4);
    ck_assert_uint_eq(embed_identity(s.e)->dims, 2);
    stop(&s);
}
END_TEST

/* Asked for two of three dimensions, a server that gives three: cut, and of length 1 again. */
START_TEST(cut_dimensions)
{
    static const char *const text = "a";
    const struct bad_answer answer = {
        OK200 "{\"data\":[" VEC("0", "3,4,12") "]}", 0, 0, 0, 0, 0};
    struct session s;
    struct taken t = {0};
    rag_err each = RAG_OK;
    start(&s, &answer, 1, "m@2");
    ck_assert_int_eq(embed_texts(s.e, EMBED_QUERY, &text, 1, &each, take, &t), RAG_OK);
    ck_assert_float_eq_tol(t.first[0], 0.6f, 1e-6f);
    ck_assert_ptr_nonnull(strstr(badserver_last(s.server), "\"dimensions\":2"));
    stop(&s);
}
END_TEST

START_TEST(prefixes_are_sent)
{
    static const char *const text = "cats";
    const struct bad_answer answer = {OK200 "{\"data\":[" VEC("0", "3,4") "]}", 0, 0, 0, 0, 0};
    struct session s;
    struct taken t = {0};
    rag_err each = RAG_OK;
    start(&s, &answer, 1, "nomic-embed-text");
    ck_assert_int_eq(embed_texts(s.e, EMBED_QUERY, &text, 1, &each, take, &t), RAG_OK);
    ck_assert_ptr_nonnull(strstr(badserver_last(s.server), "\"search_query: cats\""));
    ck_assert_int_eq(embed_texts(s.e, EMBED_DOCUMENT, &text, 1, &each, take, &t), RAG_OK);
    ck_assert_ptr_nonnull(strstr(badserver_last(s.server), "\"search_document: cats\""));
    stop(&s);
}
END_TEST

/* Dimensions never change, and a batch of others is not taken. */
START_TEST(dimensions_stay)
{
    static const char *const text = "a";
    const struct bad_answer answers[] = {
        {OK200 "{\"data\":[" VEC("0", "3,4") "]}", 0, 0, 0, 0, 0},
        {OK200 "{\"data\":[" VEC("0", "3,4,5") "]}", 0, 0, 0, 0, 0}};
    struct session s;
    struct taken t = {0};
    rag_err each = RAG_OK;
    start(&s, answers, 2, "m");
    ck_assert_int_eq(embed_texts(s.e, EMBED_QUERY, &text, 1, &each, take, &t), RAG_OK);
    ck_assert_int_eq(embed_texts(s.e, EMBED_QUERY, &text, 1, &each, take, &t), RAG_EDIM);
    ck_assert_uint_eq(t.calls, 1);
    stop(&s);
}
END_TEST

START_TEST(rerankers)
{
    static const char *const texts[] = {"a", "b"};
    static const char results[] =
        OK200 "{\"results\":[{\"index\":1,\"relevance_score\":-1.5},{\"index\":0,"
              "\"relevance_score\":-3}]}";
    static const char array[] =
        OK200 "[{\"index\":0,\"score\":0.25},{\"index\":1,\"score\":0.5}]";
    struct net *net = NULL;
    char uri[64], base[64];
    double scores[2];
    ck_assert_int_eq(net_open(&net), RAG_OK);
    for (int tei = 0; tei < 3; tei++) {
        const struct bad_answer answer = {tei == 1 ? array : results, 0, 0, 0, 0, 0};
        struct badserver *server = badserver_start(&answer, 1);
        snprintf(base, sizeof base, "http://127.0.0.1:%u", badserver_port(server));
        snprintf(uri, sizeof uri, "%s%s",
                 tei == 2 ? "cohere:"
                 : tei    ? "tei:"
                          : "llamacpp:",
                 tei == 2 ? "rerank-v3" : base);
        const struct embed_settings how = {
            .net = net, .tries = 1, .setting = no_setting, .setting_arg = base};
        ck_assert_msg(!embed_rerank(uri, &how, "q", texts, 2, scores), "%s",
                      rag_error_message());
        ck_assert_double_lt(scores[0], scores[1]);
        badserver_stop(server);
    }
    const struct embed_settings how = {.net = net};
    ck_assert_int_eq(embed_rerank("nobody:x", &how, "q", texts, 2, scores), RAG_EINVAL);
    net_close(net);
}
END_TEST

static rag_err give_nan(void *arg, enum embed_side side, const char *const *texts, size_t n,
                        float *out)
{
    (void)side;
    (void)texts;
    for (size_t i = 0; i < n * 2; i++)
        out[i] = *(const float *)arg;
    return RAG_OK;
}

/* The caller's own embedder is checked like a server. */
START_TEST(ones_own)
{
    static const char *const text = "a";
    const struct embed_identity id = {.uri = "my:x", .model = "x", .dims = 2};
    struct embedder *e = NULL;
    struct taken t = {0};
    rag_err each = RAG_OK;
    float value = 1;
    ck_assert_int_eq(embed_custom(&id, give_nan, &value, &e), RAG_OK);
    ck_assert_int_eq(embed_texts(e, EMBED_QUERY, &text, 1, &each, take, &t), RAG_OK);
    value = NAN;
    ck_assert_int_eq(embed_texts(e, EMBED_QUERY, &text, 1, &each, take, &t), RAG_EFORMAT);
    value = 0;
    ck_assert_int_eq(embed_texts(e, EMBED_QUERY, &text, 1, &each, take, &t), RAG_EFORMAT);
    ck_assert_uint_eq(t.calls, 1);
    embed_close(e);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("embedders");
    TCase *c = tcase_create("embedders");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, uris);
    tcase_add_test(c, one_text_too_large);
    tcase_add_test(c, cut_dimensions);
    tcase_add_test(c, prefixes_are_sent);
    tcase_add_test(c, dimensions_stay);
    tcase_add_test(c, rerankers);
    tcase_add_test(c, ones_own);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
