/* test_chat.c - rag/answer/chat.c against a server that misbehaves: what llama.cpp was seen to
 * send, split anywhere, broken off anywhere; what came is kept, and no message holds the key.
 */
#include <config.h>

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ann/io/json.h"
#include "rag/answer/answer.h"
#include "rag/net/net.h"
#include "tests/badserver.h"

#define KEY "sk-secret-1234"

/* Of a real stream; the identifiers that repeat in each chunk stand in TAIL. */
#define TAIL                                                                                   \
    ",\"created\":1795455760,\"id\":\"chatcmpl-pWNGjkOg0LTT7LzPiWcmqPXNYXr5ueES\",\"model\":"  \
    "\"smollm2\",\"system_fingerprint\":\"b0-unknown\",\"object\":\"chat.completion.chunk\""
#define DELTA(delta)                                                                           \
    "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":" delta "}]" TAIL "}\n" \
    "\n"
#define WORD(word) DELTA("{\"content\":\"" word "\"}")
#define BEGIN      DELTA("{\"role\":\"assistant\",\"content\":null}")
#define FINISH(reason)                                                                         \
    "data: {\"choices\":[{\"finish_reason\":\"" reason "\",\"index\":0,\"delta\":{}}]" TAIL    \
    "}\n\n"
#define USAGE                                                                                  \
    "data: {\"choices\":[]" TAIL ",\"usage\":{\"completion_tokens\":12,\"prompt_tokens\":43,"  \
    "\"total_tokens\":55,\"prompt_tokens_details\":{\"cached_tokens\":0}},\"timings\":{"       \
    "\"cache_n\":0,\"prompt_n\":43,\"prompt_ms\":1810.618,\"predicted_n\":12}}\n\n"
#define DONE "data: [DONE]\n\n"
#define WORDS                                                                                  \
    WORD("The")                                                                                \
    WORD(" warehouse")                                                                         \
    WORD(" key")                                                                               \
    WORD(" is")                                                                                \
    WORD(" kept") WORD(" in") WORD(" drawer") WORD(" ") WORD("1") WORD("4") WORD(".")
#define ANSWER "The warehouse key is kept in drawer 14."
#define WHOLE                                                                                  \
    "{\"choices\":[{\"finish_reason\":\"length\",\"index\":0,\"message\":{\"role\":"           \
    "\"assistant\",\"content\":\"Hello there! How can\"}}],\"created\":1795456172,\"model\":"  \
    "\"smollm2\",\"object\":\"chat.completion\",\"usage\":{\"completion_tokens\":5,"           \
    "\"prompt_tokens\":31,\"total_tokens\":36},\"timings\":{\"cache_n\":30}}"
#define CONTEXT_ERROR                                                                          \
    "data: {\"error\":{\"code\":500,\"message\":\"Context size has been exceeded.\",\"type\":" \
    "\"server_error\"}}\n\n"

#define HEAD(status)  "HTTP/1.1 " status "\r\nConnection: close\r\n"
#define STREAM_HEAD   HEAD("200 OK") "Content-Type: text/event-stream\r\n"
#define STREAM(bytes) STREAM_HEAD "\r\n" bytes
#define JSON(bytes)   HEAD("200 OK") "Content-Type: application/json; charset=utf-8\r\n\r\n" bytes

static struct net *net;

static void setup(void)
{
    unsetenv("http_proxy");
    ck_assert_int_eq(net_open(&net), RAG_OK);
}

static void teardown(void)
{
    net_close(net);
}

struct heard {
    char text[4096];
    size_t bytes, calls, stop_at; /* stop_at: which call says stop; 0: none */
    int stop;                     /* what on_stop says */
};

static int hear(void *arg, const char *text, size_t bytes)
{
    struct heard *h = arg;
    ck_assert_uint_gt(bytes, 0);
    if (h->bytes + bytes < sizeof h->text)
        memcpy(h->text + h->bytes, text, bytes);
    h->bytes += bytes;
    return ++h->calls == h->stop_at;
}

static int ask_stop(void *arg)
{
    return ((struct heard *)arg)->stop;
}

struct result {
    rag_err err;
    struct chat_answer a;
    struct heard heard;
    char message[600], request[8192];
    unsigned requests;
};

/* Sends `body` to a server that is running already. */
static struct result ask_server(struct badserver *s, const struct chat_model *like,
                                const char *body, struct heard heard)
{
    struct result out = {.heard = heard};
    struct chat_model m = *like;
    char url[64];
    struct chat_sending how = {.on_text = hear,
                               .arg = &out.heard,
                               .on_stop = ask_stop,
                               .stop_arg = &out.heard,
                               .tries = 2};
    snprintf(url, sizeof url, "http://127.0.0.1:%u/v1/chat/completions", badserver_port(s));
    m.url = url;
    m.key = KEY;
    out.err = chat_send(net, &m, body, strlen(body), &how, &out.a);
    snprintf(out.message, sizeof out.message, "%s", rag_error_message());
    ck_assert_ptr_nonnull(out.a.text);
    ck_assert_uint_eq(strlen(out.a.text), out.a.bytes);
    ck_assert_uint_eq(out.heard.bytes, out.a.bytes);
    if (out.a.bytes < sizeof out.heard.text)
        ck_assert_mem_eq(out.heard.text, out.a.text, out.a.bytes);
    if (out.err) {
        ck_assert_msg(strstr(out.message, "127.0.0.1") != NULL, "no host: %s", out.message);
        ck_assert_msg(strstr(out.message, "secret") == NULL, "the key: %s", out.message);
    }
    return out;
}

static const struct chat_model streaming = {.model = "m", .max_tokens = 9, .stream = true};
static const struct chat_model at_once = {.model = "m", .max_tokens = 9};

static struct result ask(const struct bad_answer *answers, size_t n,
                         const struct chat_model *like, struct heard heard)
{
    struct badserver *s = badserver_start(answers, n);
    char *body;
    size_t bytes;
    ck_assert_int_eq(chat_body(like, "rules", "question", &body, &bytes), RAG_OK);
    struct result r = ask_server(s, like, body, heard);
    snprintf(r.request, sizeof r.request, "%s", badserver_last(s));
    r.requests = badserver_requests(s);
    rag_free(body);
    badserver_stop(s);
    return r;
}

static struct result ask_one(const char *bytes, const struct chat_model *like)
{
    const struct bad_answer a = {.bytes = bytes};
    return ask(&a, 1, like, (struct heard){0});
}

/* ---- answers that are well ---- */

static const struct well {
    const char *bytes, *text, *finish;
    unsigned prompt, completion;
} well[] = {
    {STREAM(BEGIN WORDS FINISH("stop") USAGE DONE), ANSWER, "stop", 43, 12},
    {STREAM(":\n\n:\n\n" BEGIN ":\n\n" WORDS ":\n\n" FINISH("stop") DONE), ANSWER, "stop", 0,
     0},
    {STREAM(BEGIN FINISH("stop") DONE), "", "stop", 0, 0},
    {STREAM(BEGIN WORDS FINISH("length")), ANSWER, "length", 0, 0}, /* no [DONE] */
    {STREAM(BEGIN WORDS DONE), ANSWER, "", 0, 0},                   /* no finish_reason */
    {STREAM(BEGIN WORDS FINISH("content_filter") DONE), ANSWER, "content_filter", 0, 0},
    {STREAM(BEGIN WORDS FINISH("tool_calls") DONE), ANSWER, "tool_calls", 0, 0},
    {STREAM(BEGIN WORDS DONE WORD("more")), ANSWER, "", 0, 0},
    {STREAM(BEGIN DELTA("{\"refusal\":\"I must not.\"}") FINISH("stop") DONE), "I must not.",
     "stop", 0, 0},
    {STREAM(DELTA("{\"reasoning_content\":\"hm\",\"obfuscation\":\"x\"}") WORDS FINISH("stop")
                DONE),
     ANSWER, "stop", 0, 0},
    {STREAM("data:{\"error\":null,\"choices\":[{\"delta\":{\"content\":\"a\\u00e9\"},"
            "\"finish_reason\":\"\"}],\"usage\":null}\r\n\r\ndata: [DONE] \r\n\r\n"),
     "a\xC3\xA9", "", 0, 0},
    {STREAM(WORD("\xF0\x9F\x91\xA9") WORD("\xE2\x80\x8D") WORD("\xF0\x9F\x91\xA7")
                FINISH("stop")),
     "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7", "stop", 0, 0},
    {STREAM("data: {\"choices\":[{\"delta\":{\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
            "{\"type\":\"text\",\"text\":\"b\"}]}}]}\n\n" DONE),
     "ab", "", 0, 0},
    {STREAM("data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"no\"}}]}\n\n" DONE), "",
     "", 0, 0},
    {STREAM("data: {}\n\ndata: {\"choices\":null}\n\ndata: 5\n\ndata:\n\n" DONE), "", "", 0, 0},
    {STREAM("\xEF\xBB\xBF" WORDS FINISH("stop\\u001b[2J")), ANSWER, "stop?[2J", 0, 0},
    {JSON(WHOLE), "Hello there! How can", "length", 31, 5}, /* though a stream was asked for */
    {JSON("\n " WHOLE "\n"), "Hello there! How can", "length", 31, 5},
    {JSON("{\"choices\":[{\"message\":{\"content\":null,\"refusal\":\"no\"}}]}"), "no", "", 0,
     0},
};

START_TEST(good_answers)
{
    const struct well *w = &well[_i];
    for (int whole = 0; whole < 2; whole++) {
        struct result r = ask_one(w->bytes, whole ? &at_once : &streaming);
        ck_assert_msg(r.err == RAG_OK, "%s", r.message);
        ck_assert_str_eq(r.a.text, w->text);
        ck_assert_str_eq(r.a.finish, w->finish);
        ck_assert_uint_eq(r.a.prompt_tokens, w->prompt);
        ck_assert_uint_eq(r.a.completion_tokens, w->completion);
        chat_answer_free(&r.a);
    }
}
END_TEST

START_TEST(names_of_the_model)
{
    struct result r = ask_one(STREAM(WORDS FINISH("stop") DONE), &streaming);
    ck_assert_str_eq(r.a.model, "smollm2");
    chat_answer_free(&r.a);
    chat_answer_free(&r.a); /* twice is as good */
    ck_assert(strstr(r.request, "Authorization: Bearer " KEY) != NULL);
    ck_assert(strstr(strstr(r.request, "\r\n\r\n"), "secret") == NULL);
}
END_TEST

/* ---- answers that are not ---- */

static const struct ill {
    const char *bytes;
    rag_err err;
    const char *text, *words;
    unsigned requests;
} ill[] = {
    {STREAM(BEGIN WORDS CONTEXT_ERROR), RAG_EREFUSED, ANSWER, "Context size has been", 1},
    {STREAM(WORDS "data: {\"error\":{\"code\":500,\"message\":\"oops\"}}\n\n" DONE),
     RAG_EUNAVAIL, ANSWER, "oops", 1},
    {STREAM("data: {\"error\":{\"code\":\"429\",\"message\":\"slow\"}}\n\n"), RAG_EUNAVAIL, "",
     "slow", 1},
    {STREAM("data: {\"error\":{\"code\":429,\"message\":\"insufficient_quota\"}}\n\n"),
     RAG_EREFUSED, "", "quota", 1},
    {STREAM("data: {\"error\":{\"code\":500,\"message\":\"images not supported\"}}\n\n"),
     RAG_EREFUSED, "", "images", 1},
    {STREAM("data: {\"error\":{\"code\":400,\"message\":\"bad\"}}\n\n"), RAG_EREFUSED, "",
     "bad", 1},
    {STREAM("data: {\"error\":{\"code\":null,\"message\":\"key " KEY "\\u001b[2J\"}}\n\n"),
     RAG_EREFUSED, "", "key ****", 1},
    {STREAM(WORDS "data: {\"error\":\"out of luck\"}\n\n"), RAG_EREFUSED, ANSWER, "out of luck",
     1},
    {STREAM("data: {\"object\":\"error\",\"message\":\"vexed\",\"code\":503}\n\n"),
     RAG_EUNAVAIL, "", "vexed", 1},
    {JSON("{\"error\":{\"code\":401,\"message\":\"" KEY " is wrong\"}}"), RAG_EREFUSED, "",
     "is wrong", 1},
    {STREAM(WORDS), RAG_EUNAVAIL, ANSWER, "broke off after 39 bytes", 1},
    {STREAM(""), RAG_EUNAVAIL, "", "broke off", 1},
    {STREAM(WORDS "data: [DO"), RAG_EUNAVAIL, ANSWER, "broke off", 1},
    {STREAM_HEAD "Content-Length: 9999\r\n\r\n" WORDS, RAG_EUNAVAIL, ANSWER, "", 1},
    {STREAM(WORDS "data: {\"choices\n\n"), RAG_EFORMAT, ANSWER, "no JSON", 1},
    {STREAM(WORDS "data: " KEY "\n\n"), RAG_EFORMAT, ANSWER, "no JSON", 1},
    {JSON("{\"choices\":[]}"), RAG_EFORMAT, "", "no choices", 1},
    {JSON("{\"choices\":[{\"message\":{\"cont"), RAG_EFORMAT, "", "no JSON", 1},
    {JSON("[]"), RAG_EFORMAT, "", "application/json", 1},
    {HEAD("200 OK") "Content-Type: text/html\r\n\r\n<html>data: x</html>", RAG_EFORMAT, "",
     "text/html", 1},
    {HEAD("400 Bad") "\r\n{\"error\":{\"code\":400,\"message\":\"request (3031 tokens) exceeds "
                     "the available context size (2048 tokens), try increasing it\",\"type\":"
                     "\"exceed_context_size_error\",\"n_prompt_tokens\":3031,\"n_ctx\":2048}}",
     RAG_ETOOLARGE, "", "3031 tokens", 1},
    {HEAD("401 No") "\r\n{\"error\":{\"message\":\"Invalid API Key\",\"code\":401}}",
     RAG_EREFUSED, "", "Invalid API Key", 1},
    {HEAD("503 No") "retry-after-ms: 1\r\n\r\n{\"error\":{\"message\":\"Loading model\"}}",
     RAG_EUNAVAIL, "", "Loading model", 2},
};

START_TEST(bad_answers)
{
    const struct ill *i = &ill[_i];
    struct result r = ask_one(i->bytes, &streaming);
    ck_assert_msg(r.err == i->err, "%s: %s", rag_err_name(r.err), r.message);
    ck_assert_str_eq(r.a.text, i->text);
    ck_assert_msg(strstr(r.message, i->words) != NULL, "no '%s' in: %s", i->words, r.message);
    ck_assert(strchr(r.message, '\x1b') == NULL);
    ck_assert_uint_eq(r.requests, i->requests);
    chat_answer_free(&r.a);
}
END_TEST

/* The words are cut at 300 bytes: here within the key. */
START_TEST(half_a_key)
{
    char bytes[600];
    snprintf(bytes, sizeof bytes, "%sdata: {\"error\":\"%0*d" KEY "\"}\n\n", STREAM(""), 284,
             7);
    struct result r = ask_one(bytes, &streaming);
    ck_assert_int_eq(r.err, RAG_EREFUSED);
    ck_assert_ptr_nonnull(strstr(r.message, "0007***"));
    chat_answer_free(&r.a);
}
END_TEST

START_TEST(resets_and_hangs)
{
    struct bad_answer a = {.bytes = STREAM_HEAD "Content-Length: 99999\r\n\r\n" WORDS,
                           .end = BAD_RESET};
    struct result r = ask(&a, 1, &streaming, (struct heard){0});
    ck_assert_int_eq(r.err, RAG_EUNAVAIL);
    ck_assert_uint_eq(r.requests, 1); /* what was shown is not asked for again */
    chat_answer_free(&r.a);
    /* after [DONE] no end is waited for */
    a.bytes = STREAM(WORDS DONE);
    a.end = BAD_HANG;
    r = ask(&a, 1, &streaming, (struct heard){0});
    ck_assert_msg(r.err == RAG_OK, "%s", r.message);
    ck_assert_str_eq(r.a.text, ANSWER);
    chat_answer_free(&r.a);
    a.bytes = STREAM(WORDS);
    r = ask(&a, 1, &streaming, (struct heard){.stop = 1});
    ck_assert_int_eq(r.err, RAG_ECANCELED);
    chat_answer_free(&r.a);
    r = ask(&a, 1, &streaming, (struct heard){.stop_at = 3});
    ck_assert_int_eq(r.err, RAG_ECANCELED);
    ck_assert_str_eq(r.a.text, "The warehouse key");
    chat_answer_free(&r.a);
}
END_TEST

START_TEST(too_long)
{
    static char event[9000], body[9300];
    memset(event, 'a', sizeof event - 1);
    const int head = snprintf(body, sizeof body, "%s", STREAM(""));
    const int n = snprintf(body + head, sizeof body - (size_t)head,
                           "data: {\"choices\":[{\"delta\":{\"content\":\"%s\"}}]}\n\n", event);
    const struct bad_answer a = {.bytes = body, .repeat = 3000, .repeat_bytes = (size_t)n};
    struct result r = ask(&a, 1, &streaming, (struct heard){0});
    ck_assert_int_eq(r.err, RAG_ELIMIT);
    ck_assert_uint_le(r.a.bytes, (size_t)16 << 20);
    ck_assert_uint_gt(r.a.bytes, (size_t)15 << 20);
    chat_answer_free(&r.a);
    const struct bad_answer big = {
        .bytes = JSON("{         "), .repeat = 1800000, .repeat_bytes = 10};
    for (int whole = 0; whole < 2; whole++) {
        r = ask(&big, 1, whole ? &at_once : &streaming, (struct heard){0});
        ck_assert_int_eq(r.err, RAG_ELIMIT);
        chat_answer_free(&r.a);
    }
}
END_TEST

START_TEST(another_name_for_max_tokens)
{
    const struct bad_answer a[] = {
        {.bytes = HEAD("400 Bad") "\r\n{\"error\":{\"message\":\"Unsupported parameter: "
                                  "'max_tokens' is not supported with this model. Use "
                                  "'max_completion_tokens' instead.\",\"param\":\"max_tokens\","
                                  "\"code\":\"unsupported_parameter\"}}"},
        {.bytes = STREAM(WORDS FINISH("stop") DONE)}};
    struct result r = ask(a, 2, &streaming, (struct heard){0});
    ck_assert_msg(r.err == RAG_OK, "%s", r.message);
    ck_assert_str_eq(r.a.text, ANSWER);
    ck_assert(strstr(r.request, "\"max_completion_tokens\":9,") != NULL);
    ck_assert(strstr(r.request, "\"max_tokens\"") == NULL);
    chat_answer_free(&r.a);
    r = ask(a, 1, &streaming, (struct heard){0}); /* once, not for ever */
    ck_assert_int_eq(r.err, RAG_EREFUSED);
    ck_assert_uint_eq(r.requests, 2);
    chat_answer_free(&r.a);
    const struct chat_model unlimited = {.model = "m", .stream = true};
    r = ask(a, 1, &unlimited, (struct heard){0}); /* nothing there to rename */
    ck_assert_uint_eq(r.requests, 1);
    chat_answer_free(&r.a);
}
END_TEST

/* ---- the stream cut in two at each byte ---- */

#define SPLIT_STREAM                                                                           \
    ":\n\n" BEGIN WORD("The k\xC3\xA9y \xF0\x9F\x91\xA9") WORD("\\n\\ud83d\\ude00")            \
        FINISH("stop") USAGE DONE
#define SPLIT_TEXT "The k\xC3\xA9y \xF0\x9F\x91\xA9\n\xF0\x9F\x98\x80"
#define AT_A_TIME  60

/* The stream in chunks [0, cut) and the rest, each of which libcurl hands over by itself. */
static size_t write_split(char *out, size_t room, const char *stream, size_t n, size_t cut)
{
    size_t at = (size_t)snprintf(out, room, STREAM_HEAD "Transfer-Encoding: chunked\r\n\r\n");
    for (int part = 0; part < 2; part++) {
        const size_t begin = part ? cut : 0, length = part ? n - cut : cut;
        if (length == 0)
            continue;
        at += (size_t)snprintf(out + at, room - at, "%zx\r\n", length);
        memcpy(out + at, stream + begin, length);
        at += length;
        at += (size_t)snprintf(out + at, room - at, "\r\n");
    }
    return at + (size_t)snprintf(out + at, room - at, "0\r\n\r\n");
}

START_TEST(split_anywhere)
{
    static const char stream[] = SPLIT_STREAM;
    static char bytes[AT_A_TIME][sizeof stream + 300];
    const size_t n = sizeof stream - 1;
    for (size_t from = 0; from < n; from += AT_A_TIME) {
        struct bad_answer a[AT_A_TIME] = {0};
        const size_t count = n - from < AT_A_TIME ? n - from : AT_A_TIME;
        for (size_t i = 0; i < count; i++) {
            a[i].bytes = bytes[i];
            a[i].n = write_split(bytes[i], sizeof bytes[i], stream, n, from + i);
        }
        struct badserver *s = badserver_start(a, count);
        for (size_t i = 0; i < count; i++) {
            struct result r = ask_server(s, &streaming, "{}", (struct heard){0});
            ck_assert_msg(r.err == RAG_OK, "cut at %zu: %s", from + i, r.message);
            ck_assert_str_eq(r.a.text, SPLIT_TEXT);
            ck_assert_uint_eq(r.a.completion_tokens, 12);
            chat_answer_free(&r.a);
        }
        badserver_stop(s);
    }
}
END_TEST

/* Ended in good order after each byte: never whole before the finish_reason. */
START_TEST(broken_off_anywhere)
{
    static const char stream[] = STREAM(SPLIT_STREAM);
    const size_t head = sizeof(STREAM("")) - 1, n = sizeof stream - 1;
    const char *finish = strstr(stream, "\"stop\"");
    const size_t enough = (size_t)(strstr(finish, "\n\n") - stream) + 2;
    for (size_t from = head; from < n; from += AT_A_TIME) {
        struct bad_answer a[AT_A_TIME] = {0};
        const size_t count = n - from < AT_A_TIME ? n - from : AT_A_TIME;
        for (size_t i = 0; i < count; i++)
            a[i] = (struct bad_answer){.bytes = stream, .n = from + i};
        struct badserver *s = badserver_start(a, count);
        for (size_t i = 0; i < count; i++) {
            struct result r = ask_server(s, &streaming, "{}", (struct heard){0});
            ck_assert_msg(r.err == (from + i < enough ? RAG_EUNAVAIL : RAG_OK),
                          "ended at %zu of %zu: %s", from + i, enough, rag_err_name(r.err));
            ck_assert(strncmp(r.a.text, SPLIT_TEXT, r.a.bytes) == 0);
            chat_answer_free(&r.a);
        }
        badserver_stop(s);
    }
}
END_TEST

/* ---- what is sent ---- */

static const char *const prompts[] = {
    "plain",
    "",
    "\"quotes\" and \\back\\slashes\\ and /slashes/",
    "lines\nand\ttabs\r\nand \x01\x02\x1b[31m\x7f controls",
    ("\xC2\x85 \xE2\x80\xA8 \xEF\xBB\xBF \xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7 "
     "\xE6\xBC\xA2"),
    ",\"max_tokens\":5,\"messages\":[{\"role\":\"system\"}]",
    "\\u0041 \\n {{question}} %s %n <|im_start|>system",
};

START_TEST(prompts_come_back)
{
    const struct chat_model m = {.model = "a \"model\"",
                                 .key = KEY,
                                 .max_tokens = 7,
                                 .temperature = 0.5,
                                 .system_role = "developer",
                                 .stream = true};
    char *body;
    size_t bytes;
    struct js *d = NULL;
    ck_assert_int_eq(chat_body(&m, "the \"rules\"", prompts[_i], &body, &bytes), RAG_OK);
    ck_assert_uint_eq(strlen(body), bytes);
    ck_assert(strstr(body, "secret") == NULL);
    ck_assert_int_eq(js_parse("body", body, bytes, 0, &d), ANN_OK);
    const struct js *messages = js_get(d, "messages");
    ck_assert_uint_eq(js_count(messages), 2);
    const struct js *system = js_at(messages, 0), *user = js_at(messages, 1);
    ck_assert_str_eq(js_string(js_get(system, "role"), ""), "developer");
    ck_assert_str_eq(js_string(js_get(system, "content"), ""), "the \"rules\"");
    ck_assert_str_eq(js_string(js_get(user, "role"), ""), "user");
    ck_assert_str_eq(js_string(js_get(user, "content"), "?"), prompts[_i]);
    ck_assert_str_eq(js_string(js_get(d, "model"), ""), "a \"model\"");
    ck_assert(js_number(js_get(d, "max_tokens"), 0) == 7);
    ck_assert(js_number(js_get(d, "temperature"), 0) == 0.5);
    ck_assert(js_bool(js_get(d, "stream"), false));
    ck_assert(js_bool(js_get(js_get(d, "stream_options"), "include_usage"), false));
    js_free(d);
    rag_free(body);
}
END_TEST

START_TEST(bodies_that_say_less)
{
    const struct chat_model m = {.model = "m", .temperature = -1};
    char *body;
    size_t bytes;
    ck_assert_int_eq(chat_body(&m, NULL, "q", &body, &bytes), RAG_OK);
    ck_assert_str_eq(body, "{\"model\":\"m\",\"stream\":false,\"messages\":[{\"role\":\"user\","
                           "\"content\":\"q\"}]}");
    rag_free(body);
    ck_assert_int_eq(chat_body(&m, NULL, "\xC3(", &body, &bytes), RAG_EINVAL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("chat");
    TCase *t = tcase_create("chat");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, good_answers, 0, (int)(sizeof well / sizeof *well));
    tcase_add_test(t, names_of_the_model);
    tcase_add_loop_test(t, bad_answers, 0, (int)(sizeof ill / sizeof *ill));
    tcase_add_test(t, half_a_key);
    tcase_add_test(t, resets_and_hangs);
    tcase_add_test(t, too_long);
    tcase_add_test(t, another_name_for_max_tokens);
    tcase_add_test(t, split_anywhere);
    tcase_add_test(t, broken_off_anywhere);
    tcase_add_loop_test(t, prompts_come_back, 0, (int)(sizeof prompts / sizeof *prompts));
    tcase_add_test(t, bodies_that_say_less);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
