/* test_net.c - rag/net against a server that misbehaves: the right code, a message that names
 * what happened, no key in it, nothing beyond the cap, no second try where none helps. */
#include <config.h>

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "rag/net/internal.h"
#include "rag/net/sse.h"
#include "tests/badserver.h"

#define KEY "sk-secret-1234"

static struct net *net;

static void setup(void)
{
    unsetenv("http_proxy");
    unsetenv("https_proxy");
    ck_assert_int_eq(net_open(&net), RAG_OK);
}

static void teardown(void)
{
    net_close(net);
}

struct result {
    rag_err err;
    long status;
    char body[256], type[64], message[600], request[4096];
    size_t bytes;
    unsigned requests;
    bool permanent;
};

/* Sends one request to a server of these answers. */
static struct result ask(const struct bad_answer *answers, size_t n, struct net_request r)
{
    struct badserver *s = badserver_start(answers, n);
    struct net_answer a;
    struct result out = {0};
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/v1/x", badserver_port(s));
    r.url = url;
    r.key = KEY;
    r.max_bytes = r.max_bytes ? r.max_bytes : 1000;
    r.timeout_ms = r.timeout_ms ? r.timeout_ms : 20000;
    out.err = net_send(net, &r, &a);
    out.status = a.status;
    out.bytes = a.bytes;
    out.permanent = a.permanent;
    snprintf(out.type, sizeof out.type, "%s", a.type);
    snprintf(out.body, sizeof out.body, "%s", a.body ? a.body : "");
    snprintf(out.message, sizeof out.message, "%s", rag_error_message());
    snprintf(out.request, sizeof out.request, "%s", badserver_last(s));
    out.requests = badserver_requests(s);
    net_answer_free(&a);
    badserver_stop(s);
    if (out.err) {
        ck_assert_msg(strstr(out.message, "127.0.0.1") != NULL, "no host: %s", out.message);
        ck_assert_msg(strstr(out.message, KEY) == NULL, "the key: %s", out.message);
    }
    return out;
}

static struct result ask_one(const char *bytes, struct net_request r)
{
    const struct bad_answer a = {.bytes = bytes};
    return ask(&a, 1, r);
}

#define HEAD(status) "HTTP/1.1 " status "\r\nConnection: close\r\n"
#define OK_JSON      HEAD("200 OK") "Content-Type: Application/JSON; charset=utf-8\r\n\r\n{\"a\":1}"

START_TEST(a_good_answer)
{
    const struct result r = ask_one(OK_JSON, (struct net_request){.body = "{}", .bytes = 2});
    ck_assert_int_eq(r.err, RAG_OK);
    ck_assert_str_eq(r.body, "{\"a\":1}");
    ck_assert_str_eq(r.type, "application/json");
    ck_assert(strncmp(r.request, "POST /v1/x HTTP/1.1", 19) == 0);
    ck_assert(strstr(r.request, "Authorization: Bearer " KEY) != NULL);
    ck_assert(strstr(r.request, "Content-Type: application/json") != NULL);
    ck_assert(strstr(r.request, "Expect:") == NULL);
}
END_TEST

/* What a status and a body come to, with two tries allowed. */
static const struct refused {
    const char *bytes;
    rag_err err;
    unsigned requests;
    const char *words;
} refused[] = {
    {HEAD("400 Bad") "\r\n{\"error\":{\"message\":\"no such field\"}}", RAG_EREFUSED, 1,
     "HTTP 400: no such field"},
    {HEAD("401 No") "\r\n{\"error\":{\"message\":\"Incorrect API key: " KEY
                    "\",\"code\":null}}",
     RAG_EREFUSED, 1, "HTTP 401: Incorrect API key: ****"},
    {HEAD("404 No") "x-request-id: r-7\r\n\r\n{\"error\":\"model 'x' not found\"}",
     RAG_EREFUSED, 1, "not found, request r-7"},
    {HEAD("413 Big") "\r\n", RAG_ETOOLARGE, 1, "HTTP 413"},
    {HEAD("422 No") "\r\n{\"error\":\"inputs must have less than 512 "
                    "tokens\",\"error_type\":\"V\"}",
     RAG_ETOOLARGE, 1, "less than 512"},
    {HEAD("400 No") "\r\n{\"error\":{\"code\":\"max_tokens_per_request\",\"message\":"
                    "\"Requested\"}}",
     RAG_ETOOLARGE, 1, "Requested"},
    {HEAD("500 Err") "\r\n{\"error\":{\"code\":500,\"message\":\"input (702 tokens) is too "
                     "large to "
                     "process. increase the physical batch size\",\"type\":\"server_error\"}}",
     RAG_ETOOLARGE, 1, "702 tokens"},
    {HEAD("500 Err") "\r\n{\"error\":{\"message\":\"Failed to parse messages: x\"}}",
     RAG_EREFUSED, 1, "Failed to parse"},
    {HEAD("501 No") "\r\n{\"error\":{\"message\":\"no embeddings here\"}}", RAG_EREFUSED, 1,
     "no embeddings"},
    {HEAD(
         "429 Slow") "\r\n{\"error\":{\"message\":\"You exceeded your current quota\",\"code\":"
                     "\"insufficient_quota\"}}",
     RAG_EREFUSED, 1, "quota"},
    {HEAD("429 Slow") "retry-after: 0\r\n\r\n{\"message\":\"slow down\"}", RAG_EUNAVAIL, 2,
     "slow down"},
    {HEAD("429 Slow") "Retry-After: 1000000000\r\n\r\n", RAG_EUNAVAIL, 1, "two minutes"},
    {HEAD("429 Slow") "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\n", RAG_EUNAVAIL, 2,
     "429"},
    {HEAD("429 Slow") "Retry-After: soon\r\nretry-after-ms: 1\r\n\r\n", RAG_EUNAVAIL, 2, "429"},
    {HEAD("503 Load") "retry-after-ms: 1\r\n\r\n{\"error\":{\"message\":\"Loading model\"}}",
     RAG_EUNAVAIL, 2, "Loading model"},
    {HEAD("503 Load") "x-should-retry: false\r\n\r\n", RAG_EREFUSED, 1, "503"},
    {HEAD("400 Bad") "x-should-retry: true\r\nretry-after-ms: 1\r\n\r\n", RAG_EUNAVAIL, 2,
     "400"},
    {HEAD("302 Go") "Location: http://example.invalid/\r\n\r\n", RAG_EREFUSED, 1,
     "redirects are not followed; this one leads to http://example.invalid/"},
    {HEAD("302 Go") "Location: file:///etc/passwd\r\n\r\n", RAG_EREFUSED, 1,
     "file:///etc/passwd"},
    {HEAD("204 None") "\r\n", RAG_EREFUSED, 1, "HTTP 204"},
    {HEAD("400 Bad") "Content-Type: text/html\r\n\r\n<html>\x1b[31mred\x07</html>",
     RAG_EREFUSED, 1, "<html>\\x1B[31mred\\x07</html>"},
    {HEAD("400 Bad") "\r\n{\"detail\":\"say please\"}", RAG_EREFUSED, 1, "say please"},
    {HEAD("400 Bad") "\r\n{\"error\":{\"message\":5}}", RAG_EREFUSED, 1, "{\"error\""},
};

START_TEST(statuses)
{
    const struct refused *f = &refused[_i];
    const struct result r = ask_one(f->bytes, (struct net_request){.tries = 2});
    ck_assert_msg(r.err == f->err, "%s: %s", rag_err_name(r.err), r.message);
    ck_assert_uint_eq(r.requests, f->requests);
    ck_assert_msg(strstr(r.message, f->words) != NULL, "no '%s' in: %s", f->words, r.message);
    ck_assert_int_eq(r.permanent, f->requests == 1);
}
END_TEST

START_TEST(a_second_try_helps)
{
    const struct bad_answer a[] = {{.bytes = HEAD("503 Busy") "retry-after-ms: 1\r\n\r\n"},
                                   {.bytes = OK_JSON}};
    const struct result r = ask(a, 2, (struct net_request){.tries = 2});
    ck_assert_int_eq(r.err, RAG_OK);
    ck_assert_uint_eq(r.requests, 2);
    ck_assert_str_eq(r.body, "{\"a\":1}"); /* nothing of the first */
}
END_TEST

#define CUT(bytes_, end_)                                                                      \
    {                                                                                          \
        .bytes = bytes_, .end = end_                                                           \
    }

START_TEST(broken_transfers)
{
    static const struct bad_answer cut[] = {
        CUT(HEAD("200 OK") "Content-Length: 100\r\n\r\nshort", BAD_CLOSE),
        CUT(HEAD("200 OK") "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", BAD_CLOSE),
        CUT(HEAD("200 OK") "Content-Length: 100\r\n\r\nshort", BAD_RESET),
        CUT("nonsense", BAD_RESET),
        CUT(HEAD("200 OK") "Transfer-Encoding: chunked\r\n\r\nzz\r\n", BAD_CLOSE),
        CUT("", BAD_CLOSE),
    };
    struct bad_answer one = cut[_i];
    one.n = one.bytes[0] ? 0 : 1; /* an answer of no bytes is hard to write: one NUL instead */
    const struct result r = ask(&one, 1, (struct net_request){.tries = 1});
    ck_assert_msg(r.err == RAG_EUNAVAIL, "%s: %s", rag_err_name(r.err), r.message);
}
END_TEST

START_TEST(too_slow)
{
    const struct bad_answer hang = CUT(HEAD("200 OK") "\r\nab", BAD_HANG);
    struct result r = ask(&hang, 1, (struct net_request){.tries = 1, .timeout_ms = 300});
    ck_assert_int_eq(r.err, RAG_EUNAVAIL);
    const struct bad_answer drip = {.bytes = HEAD("200 OK") "\r\nabcdefghijklmnop",
                                    .drip_ms = 20};
    r = ask(&drip, 1, (struct net_request){.tries = 1, .timeout_ms = 500});
    ck_assert_int_eq(r.err, RAG_EUNAVAIL);
}
END_TEST

START_TEST(too_much)
{
    const struct bad_answer endless = {
        .bytes = HEAD("200 OK") "Transfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n",
        .repeat = 100000,
        .repeat_bytes = 13};
    struct result r = ask(&endless, 1, (struct net_request){.tries = 3});
    ck_assert_int_eq(r.err, RAG_ELIMIT);
    ck_assert_uint_eq(r.requests, 1);
    ck_assert_uint_le(r.bytes, 1000);
    ck_assert(strstr(r.message, "1000 bytes") != NULL);
    const struct bad_answer error = {
        .bytes = HEAD("400 Bad") "\r\nabcdefgh", .repeat = 100000, .repeat_bytes = 8};
    r = ask(&error, 1, (struct net_request){.tries = 3});
    ck_assert_int_eq(r.err, RAG_EREFUSED);
    ck_assert_uint_le(r.bytes, 64 << 10);
}
END_TEST

/* 20 MB of zeros in some kilobytes. */
START_TEST(gzip_bomb)
{
    const size_t zeros = 20 << 20, room = 1 << 20;
    unsigned char *in = calloc(zeros, 1), *out = malloc(room);
    z_stream z = {.next_in = in, .avail_in = (uInt)zeros, .avail_out = (uInt)room - 200};
    const int head =
        snprintf((char *)out, 200, HEAD("200 OK") "Content-Encoding: gzip\r\n\r\n");
    z.next_out = out + head;
    ck_assert_int_eq(deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    const struct bad_answer bomb = {.bytes = (char *)out, .n = (size_t)head + z.total_out};
    deflateEnd(&z);
    const struct result r = ask(&bomb, 1, (struct net_request){.max_bytes = 100000});
    ck_assert_int_eq(r.err, RAG_ELIMIT);
    ck_assert_uint_le(r.bytes, 100000);
    free(in);
    free(out);
}
END_TEST

/* ---- streaming ---- */

struct stream {
    char got[256];
    size_t bytes, stop_at;
};

static int on_data(void *arg, const char *data, size_t n)
{
    struct stream *s = arg;
    ck_assert_uint_lt(s->bytes + n, sizeof s->got);
    memcpy(s->got + s->bytes, data, n);
    s->bytes += n;
    return s->stop_at > 0 && s->bytes >= s->stop_at;
}

START_TEST(streams)
{
    struct stream s = {.stop_at = 0};
    struct net_request q = {.on_data = on_data, .arg = &s, .tries = 3};
    struct result r = ask_one(OK_JSON, q);
    ck_assert_int_eq(r.err, RAG_OK);
    ck_assert_str_eq(s.got, "{\"a\":1}");
    ck_assert_uint_eq(r.bytes, 0);

    s = (struct stream){.stop_at = 3};
    r = ask_one(OK_JSON, q);
    ck_assert_int_eq(r.err, RAG_ECANCELED);

    /* What was handed on is not asked for again; an error's body is never handed on. */
    s = (struct stream){.stop_at = 0};
    const struct bad_answer cut =
        CUT(HEAD("200 OK") "Content-Length: 99\r\n\r\nhalf", BAD_CLOSE);
    r = ask(&cut, 1, q);
    ck_assert_int_eq(r.err, RAG_EUNAVAIL);
    ck_assert_uint_eq(r.requests, 1);
    ck_assert_str_eq(s.got, "half");
    s = (struct stream){.stop_at = 0};
    r = ask_one(HEAD("400 Bad") "\r\nno", q);
    ck_assert_int_eq(r.err, RAG_EREFUSED);
    ck_assert_uint_eq(s.bytes, 0);
}
END_TEST

static int stop_now(void *arg)
{
    return ++*(int *)arg > 1;
}

START_TEST(stopping)
{
    int asked = 0;
    const struct bad_answer hang = CUT(HEAD("200 OK") "\r\nab", BAD_HANG);
    struct result r =
        ask(&hang, 1, (struct net_request){.on_stop = stop_now, .stop_arg = &asked});
    ck_assert_int_eq(r.err, RAG_ECANCELED);
    asked = 0;
    r = ask_one(HEAD("503 Busy") "retry-after: 60\r\n\r\n",
                (struct net_request){.on_stop = stop_now, .stop_arg = &asked});
    ck_assert_int_eq(r.err, RAG_ECANCELED);
}
END_TEST

START_TEST(where_it_goes)
{
    struct net_answer a;
    struct net_request r = {.url = "http://192.0.2.1/v1", .key = KEY, .max_bytes = 10};
    ck_assert_int_eq(net_send(net, &r, &a), RAG_EINVAL); /* before anything is sent */
    ck_assert(strstr(rag_error_message(), "192.0.2.1") != NULL);
    ck_assert(strstr(rag_error_message(), KEY) == NULL);
    static const char *const bad[] = {
        "file:///etc/passwd", "127.0.0.1", "", "http://", "http://user:" KEY "@127.0.0.1/",
        "gopher://x/"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        r.url = bad[i];
        ck_assert_int_eq(net_send(net, &r, &a), RAG_EINVAL);
        ck_assert(strstr(rag_error_message(), KEY) == NULL || i == 4);
    }
    ck_assert(net_is_loopback("http://127.0.0.1:8080/x"));
    ck_assert(net_is_loopback("http://127.8.0.1"));
    ck_assert(net_is_loopback("https://localhost/"));
    ck_assert(net_is_loopback("http://[::1]:9/"));
    ck_assert(!net_is_loopback("http://127.0.0.1.example.com/"));
    ck_assert(!net_is_loopback("http://128.0.0.1/"));
    ck_assert(!net_is_loopback("http://localhost.example.com/"));
    ck_assert(!net_is_loopback("no url"));
}
END_TEST

START_TEST(refused_connection)
{
    struct badserver *s = badserver_start(&(struct bad_answer){.bytes = "x"}, 1);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/", badserver_port(s));
    badserver_stop(s);
    struct net_answer a;
    ck_assert_int_eq(net_send(net, &(struct net_request){.url = url, .tries = 1}, &a),
                     RAG_EUNAVAIL);
    ck_assert(!a.body && a.status == 0);
}
END_TEST

START_TEST(waits)
{
    ck_assert_double_eq(net_retry_after(NULL, NULL, 0), -1);
    ck_assert_double_eq(net_retry_after("250", "9", 0), 0.25);
    ck_assert_double_eq(net_retry_after("x", "1.5", 0), 1.5);
    ck_assert_double_eq(net_retry_after(NULL, "-3", 0), -1);
    ck_assert_double_eq(net_retry_after(NULL, "Thu, 01 Jan 1970 00:01:00 GMT", 20), 40);
    ck_assert_double_eq(net_retry_after(NULL, "Thu, 01 Jan 1970 00:01:00 GMT", 99), 0);
    for (unsigned i = 1; i < 40; i++) {
        ck_assert_double_le(net_backoff(i, 0), 8);
        ck_assert_double_ge(net_backoff(i, 1), 0.375);
    }
}
END_TEST

/* ---- events ---- */

struct events {
    char all[2000];
    rag_err answer;
};

static rag_err on_event(void *arg, const char *data, size_t n)
{
    struct events *e = arg;
    ck_assert_uint_eq(strlen(data), n);
    const size_t used = strlen(e->all);
    snprintf(e->all + used, sizeof e->all - used, "%s|", data);
    return e->answer;
}

static const char stream[] =
    "\xEF\xBB\xBF: hello\ndata: one\n\ndata:two\r\ndata:  three\r\n\r\n"
    "event: x\rid: 4\rdata\r\r:\n\nretry: 3\n\ndata: {\"a\":\"\xC3\xA9\"}\n\n"
    "datax: no\n\ndata: [DONE]\n\n";
static const char events[] = "one|two\n three||{\"a\":\"\xC3\xA9\"}|[DONE]|";

START_TEST(events_split_anywhere)
{
    for (size_t cut = 0; cut + 1 < sizeof stream; cut++) {
        struct sse s = SSE_INIT;
        struct events e = {.answer = RAG_OK};
        ck_assert_int_eq(sse_feed(&s, stream, cut, on_event, &e), RAG_OK);
        ck_assert_int_eq(sse_feed(&s, stream + cut, sizeof stream - 1 - cut, on_event, &e),
                         RAG_OK);
        ck_assert_str_eq(e.all, events);
        ck_assert(sse_is_whole(&s));
        sse_free(&s);
    }
    struct sse s = SSE_INIT;
    struct events e = {.answer = RAG_OK};
    for (size_t i = 0; i + 1 < sizeof stream; i++)
        ck_assert_int_eq(sse_feed(&s, stream + i, 1, on_event, &e), RAG_OK);
    ck_assert_str_eq(e.all, events);
    ck_assert_int_eq(sse_feed(&s, "data: x", 7, on_event, &e), RAG_OK);
    ck_assert(!sse_is_whole(&s));
    sse_free(&s);
}
END_TEST

START_TEST(events_end_and_limits)
{
    struct sse s = SSE_INIT;
    struct events e = {.answer = RAG_EREFUSED};
    ck_assert_int_eq(sse_feed(&s, "data: a\n\ndata: b\n\n", 18, on_event, &e), RAG_EREFUSED);
    ck_assert_str_eq(e.all, "a|");
    sse_free(&s);
    static char much[100000];
    memset(much, 'a', sizeof much);
    rag_err err = sse_feed(&s, "data: ", 6, on_event, &e);
    for (int i = 0; i < 20 && !err; i++)
        err = sse_feed(&s, much, sizeof much, on_event, &e);
    ck_assert_int_eq(err, RAG_ELIMIT);
    sse_free(&s);
    err = RAG_OK;
    for (int i = 0; i < 400000 && !err; i++)
        err = sse_feed(&s, "data: abc\n", 10, on_event, &e);
    ck_assert_int_eq(err, RAG_ELIMIT);
    sse_free(&s);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("net");
    TCase *t = tcase_create("net");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_good_answer);
    tcase_add_loop_test(t, statuses, 0, (int)(sizeof refused / sizeof *refused));
    tcase_add_test(t, a_second_try_helps);
    tcase_add_loop_test(t, broken_transfers, 0, 6);
    tcase_add_test(t, too_slow);
    tcase_add_test(t, too_much);
    tcase_add_test(t, gzip_bomb);
    tcase_add_test(t, streams);
    tcase_add_test(t, stopping);
    tcase_add_test(t, where_it_goes);
    tcase_add_test(t, refused_connection);
    tcase_add_test(t, waits);
    tcase_add_test(t, events_split_anywhere);
    tcase_add_test(t, events_end_and_limits);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
