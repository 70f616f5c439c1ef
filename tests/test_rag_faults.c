/* test_rag_faults.c - the program against a server that misbehaves: the exit code is the right
 * one, and nothing of a bad answer is kept. */
#include <config.h>

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <rag/rag.h>

#include "tests/badserver.h"

#define HEAD(status)                                                                           \
    "HTTP/1.1 " status "\r\nContent-Type: application/json\r\nConnection: close\r\n"
#define OK200      HEAD("200 OK") "\r\n"
#define RETRY_NOW  "Retry-After: 0\r\n"
#define VEC(i, v)  "{\"index\":" i ",\"embedding\":[" v "]}"
#define DATA(list) OK200 "{\"data\":[" list "]}"

/* What the sentence that tells models apart gets, and what two texts get. */
static const char canary[] = DATA(VEC("0", "1,0,0"));
static const char both[] = DATA(VEC("0", "1,0,0") "," VEC("1", "0,1,0"));

struct fault {
    const char *name;
    struct bad_answer answer;
    int status; /* of the program */
};

#define LAST(text, count, n)                                                                   \
    {                                                                                          \
        text, 0, BAD_CLOSE, count, n, 0                                                        \
    }

static const struct fault faults[] = {
    {"never answers", {"", 0, BAD_HANG, 0, 0, 0}, 6},
    {"slow drip", {both, 0, BAD_CLOSE, 0, 0, 300}, 6},
    {"reset at once", {"", 0, BAD_RESET, 0, 0, 0}, 6},
    {"closed at once", {"", 0, BAD_CLOSE, 0, 0, 0}, 6},
    {"reset within the body", {OK200 "{\"data\":[", 0, BAD_RESET, 0, 0, 0}, 6},
    {"chunked body cut off",
     {HEAD("200 OK") "Transfer-Encoding: chunked\r\n\r\n400\r\n{\"data\":[", 0, BAD_CLOSE, 0, 0,
      0},
     6},
    {"shorter than it says",
     {HEAD("200 OK") "Content-Length: 5000\r\n\r\n{\"data\":[]}", 0, BAD_CLOSE, 0, 0, 0},
     6},
    {"endless", LAST(OK200 "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", 1000000, 32), 5},
    {"204", {HEAD("204 No Content") "\r\n", 0, BAD_CLOSE, 0, 0, 0}, 5},
    {"304", {HEAD("304 Not Modified") "\r\n", 0, BAD_CLOSE, 0, 0, 0}, 5},
    {"redirect to a file",
     {HEAD("302 Found") "Location: file:///etc/passwd\r\n\r\n", 0, 0, 0, 0, 0},
     5},
    {"redirect to another host",
     {HEAD("302 Found") "Location: http://127.0.0.2:1/\r\n\r\n", 0, 0, 0, 0, 0},
     5},
    {"400", {HEAD("400 Bad Request") "\r\n{\"error\":{\"message\":\"no\"}}", 0, 0, 0, 0, 0}, 5},
    {"401",
     {HEAD("401 Unauthorized") "\r\n{\"error\":{\"message\":\"who?\"}}", 0, 0, 0, 0, 0},
     5},
    {"403", {HEAD("403 Forbidden") "\r\n", 0, 0, 0, 0, 0}, 5},
    {"404", {HEAD("404 Not Found") "\r\n{\"error\":\"no model\"}", 0, 0, 0, 0, 0}, 5},
    {"413", {HEAD("413 Content Too Large") "\r\ntoo large", 0, 0, 0, 0, 0}, 7},
    {"422 of a batch",
     {HEAD("422 Unprocessable") "\r\n{\"error\":\"inputs must have less than 512 "
                                "tokens\",\"error_type\":\"Validation\"}",
      0, 0, 0, 0, 0},
     7},
    {"429", {HEAD("429 Too Many Requests") RETRY_NOW "\r\n", 0, 0, 0, 0, 0}, 6},
    {"429 for want of money",
     {HEAD("429 Too Many Requests") RETRY_NOW
      "\r\n{\"error\":{\"message\":\"pay\",\"code\":\"insufficient_quota\"}}",
      0, 0, 0, 0, 0},
     5},
    {"429 for 30 years",
     {HEAD("429 Too Many Requests") "Retry-After: 1000000000\r\n\r\n", 0, 0, 0, 0, 0},
     6},
    {"429 with nonsense",
     {HEAD("429 Too Many Requests") "Retry-After: soon\r\n\r\n", 0, 0, 0, 0, 0},
     6},
    {"500",
     {HEAD("500 Oops") RETRY_NOW "\r\n{\"error\":{\"message\":\"x\"}}", 0, 0, 0, 0, 0},
     6},
    {"500 for a text too large",
     {HEAD("500 Oops") "\r\n{\"error\":{\"code\":500,\"message\":\"input (702 tokens) is too "
                       "large "
                       "to process. increase the physical batch size\"}}",
      0, 0, 0, 0, 0},
     7},
    {"501",
     {HEAD("501 Not Implemented") "\r\n{\"error\":{\"message\":\"no embeddings\"}}", 0, 0, 0, 0,
      0},
     5},
    {"503",
     {HEAD("503 Loading") RETRY_NOW "\r\n{\"error\":{\"message\":\"Loading model\"}}", 0, 0, 0,
      0, 0},
     6},
    {"a page", {HEAD("200 OK") "\r\n<html>Sign in</html>", 0, 0, 0, 0, 0}, 5},
    {"no JSON", {OK200 "{\"data\":[}", 0, 0, 0, 0, 0}, 5},
    {"100,000 brackets", LAST(OK200 "[[[[[[[[[[", 10000, 10), 5},
    {"a key twice", {OK200 "{\"data\":[],\"data\":[]}", 0, 0, 0, 0, 0}, 5},
    {"NaN", {DATA(VEC("0", "NaN,0,0") "," VEC("1", "0,1,0")), 0, 0, 0, 0, 0}, 5},
    {"1e999", {DATA(VEC("0", "1e999,0,0") "," VEC("1", "0,1,0")), 0, 0, 0, 0, 0}, 5},
    {"null in a vector", {DATA(VEC("0", "null,0,0") "," VEC("1", "0,1,0")), 0, 0, 0, 0, 0}, 5},
    {"null for a vector",
     {DATA(VEC("0", "1,0,0") ",{\"index\":1,\"embedding\":null}"), 0, 0, 0, 0, 0},
     5},
    {"zeros", {DATA(VEC("0", "0,0,0") "," VEC("1", "0,1,0")), 0, 0, 0, 0, 0}, 5},
    {"other dimensions", {DATA(VEC("0", "1,0") "," VEC("1", "0,1")), 0, 0, 0, 0, 0}, 4},
    {"mixed dimensions", {DATA(VEC("0", "1,0,0") "," VEC("1", "0,1")), 0, 0, 0, 0, 0}, 4},
    {"too few", {DATA(VEC("0", "1,0,0")), 0, 0, 0, 0, 0}, 5},
    {"too many",
     {DATA(VEC("0", "1,0,0") "," VEC("1", "0,1,0") "," VEC("2", "0,1,0")), 0, 0, 0, 0, 0},
     5},
    {"none", {DATA(""), 0, 0, 0, 0, 0}, 5},
    {"an index twice", {DATA(VEC("0", "1,0,0") "," VEC("0", "0,1,0")), 0, 0, 0, 0, 0}, 5},
    {"an index below 0", {DATA(VEC("-1", "1,0,0") "," VEC("1", "0,1,0")), 0, 0, 0, 0, 0}, 5},
    {"an index of 2^63",
     {DATA(VEC("9223372036854775808", "1,0,0") "," VEC("1", "0,1,0")), 0, 0, 0, 0, 0},
     5},
    {"no index", {DATA("{\"embedding\":[1,0,0]},{\"embedding\":[0,1,0]}"), 0, 0, 0, 0, 0}, 5},
    {"half a float",
     {DATA("{\"index\":0,\"embedding\":\"AACAPwAAAAAAAA==\"},{\"index\":1,\"embedding\":"
           "\"AACAPwAAAAAAAA==\"}"),
      0, 0, 0, 0, 0},
     5},
    {"an error inside of 200", {OK200 "{\"error\":{\"message\":\"later\"}}", 0, 0, 0, 0, 0}, 5},
    {"a byte order mark", {OK200 "\xef\xbb\xbf{\"data\":[]}", 0, 0, 0, 0, 0}, 5},
    {"no UTF-8", {OK200 "{\"data\":[\"\xff\"]}", 0, 0, 0, 0, 0}, 5},
    {"a lone surrogate", {OK200 "{\"data\":[\"\\ud800\"]}", 0, 0, 0, 0, 0}, 5},
    {"NUL in a string", {OK200 "{\"data\":[\"\\u0000\"]}", 0, 0, 0, 0, 0}, 5},
    {"no length and no end", {OK200 "{\"data\":[", 0, BAD_HANG, 0, 0, 0}, 6},
    {"no HTTP", {"SSH-2.0-OpenSSH_9.2\r\n", 0, BAD_CLOSE, 0, 0, 0}, 6},
    {"in another order", {DATA(VEC("1", "0,1,0") "," VEC("0", "1,0,0")), 0, 0, 0, 0, 0}, 0},
    {"an ordinary answer", {both, 0, BAD_CLOSE, 0, 0, 0}, 0},
};

#define FAULTS (sizeof faults / sizeof *faults)

static char dir[64];

/* rag with arguments, in dir; its exit status.  out: standard output, of at most room bytes. */
static int run_rag(const char *out_name, const char *const *words)
{
    const char *build = getenv("top_builddir");
    char program[4096];
    snprintf(program, sizeof program, "%s/rag/rag", build ? build : ".");
    char *real = realpath(program, NULL);
    ck_assert_ptr_nonnull(real);
    const pid_t child = fork();
    if (child == 0) {
        const char *argv[16] = {"rag"};
        for (size_t i = 0; words[i] && i < 14; i++)
            argv[i + 1] = words[i];
        const int out =
            chdir(dir) == 0 ? open(out_name, O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
        setenv("HOME", dir, 1);
        setenv("XDG_CONFIG_HOME", dir, 1);
        setenv("RAG_TRIES", "2", 1);
        setenv("RAG_TIMEOUT", "1", 1);
        setenv("RAG_API_KEY", "sk-sentinel-4711", 1);
        unsetenv("RAG_STORE");
        unsetenv("RAG_EMBEDDER");
        if (out < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
            _exit(99);
        execv(real, (char *const *)(uintptr_t)argv);
        _exit(99);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    free(real);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void slurp(const char *name, char *text, size_t room)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    const size_t n = fread(text, 1, room - 1, f);
    text[n] = '\0';
    fclose(f);
}

static void write_text(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

static void begin_dir(void)
{
    snprintf(dir, sizeof dir, "/tmp/kith-faults-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    write_text("a.txt", "The first text is about cats.\n");
    write_text("b.txt", "The second text is about boats.\n");
}

static void end_dir(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

static void expect_counts(const char *documents, const char *vectors, const char *name)
{
    char text[4096];
    ck_assert_int_eq(run_rag("status", (const char *const[]){"status", NULL}), 0);
    slurp("status", text, sizeof text);
    ck_assert_msg(strstr(text, documents), "%s: not %s in %s", name, documents, text);
    ck_assert_msg(strstr(text, vectors), "%s: not %s in %s", name, vectors, text);
}

START_TEST(embedding_faults)
{
    const struct fault *f = &faults[_i];
    char uri[64], text[65536];
    begin_dir();
    const struct bad_answer answers[] = {{canary, 0, BAD_CLOSE, 0, 0, 0}, f->answer};
    struct badserver *s = badserver_start(answers, 2);
    snprintf(uri, sizeof uri, "http://127.0.0.1:%u/v1#m", badserver_port(s));
    const int status =
        run_rag("out", (const char *const[]){"add", "a.txt", "b.txt", "--embedder", uri, NULL});
    slurp("out", text, sizeof text);
    ck_assert_msg(status == f->status, "%s: exit %d, not %d: %s", f->name, status, f->status,
                  text);
    ck_assert_msg(!strstr(text, "sk-sentinel"), "%s: the key got out: %s", f->name, text);
    badserver_stop(s);
    if (status == 0)
        expect_counts("\"documents\":2,", "\"vectors_kept\":2,", f->name);
    else
        expect_counts("\"documents\":0,", "\"vectors_kept\":0,", f->name);
    ck_assert_int_eq(run_rag("out", (const char *const[]){"verify", NULL}), 0);
    end_dir();
}
END_TEST

/* 50 MB of blanks in 48 kB. */
START_TEST(gzip_bomb)
{
    static unsigned char packed[1 << 17];
    static char blanks[1 << 20];
    const char head[] = HEAD("200 OK") "Content-Encoding: gzip\r\n\r\n";
    z_stream z = {0};
    char uri[64];
    memset(blanks, ' ', sizeof blanks);
    memcpy(packed, head, sizeof head - 1);
    ck_assert_int_eq(deflateInit2(&z, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_out = packed + sizeof head - 1;
    z.avail_out = (uInt)(sizeof packed - sizeof head);
    for (int i = 0; i < 50; i++) {
        z.next_in = (unsigned char *)blanks;
        z.avail_in = sizeof blanks;
        ck_assert_int_ge(deflate(&z, i == 49 ? Z_FINISH : Z_NO_FLUSH), 0);
    }
    const size_t n = sizeof head - 1 + z.total_out;
    deflateEnd(&z);
    begin_dir();
    const struct bad_answer answers[] = {{canary, 0, BAD_CLOSE, 0, 0, 0},
                                         {(const char *)packed, n, BAD_CLOSE, 0, 0, 0}};
    struct badserver *s = badserver_start(answers, 2);
    snprintf(uri, sizeof uri, "http://127.0.0.1:%u/v1#m", badserver_port(s));
    ck_assert_int_eq(
        run_rag("out", (const char *const[]){"add", "a.txt", "b.txt", "--embedder", uri, NULL}),
        5);
    badserver_stop(s);
    expect_counts("\"documents\":0,", "\"vectors_kept\":0,", "gzip bomb");
    end_dir();
}
END_TEST

/* Another model behind the same address: of the same dimension, and refused by its canary. */
START_TEST(another_model)
{
    static const char other[] = DATA(VEC("0", "0,1,0"));
    char uri[64], text[4096];
    begin_dir();
    const struct bad_answer answers[] = {{canary, 0, BAD_CLOSE, 0, 0, 0},
                                         {both, 0, BAD_CLOSE, 0, 0, 0},
                                         {other, 0, BAD_CLOSE, 0, 0, 0}};
    struct badserver *s = badserver_start(answers, 3);
    snprintf(uri, sizeof uri, "http://127.0.0.1:%u/v1#m", badserver_port(s));
    ck_assert_int_eq(
        run_rag("out", (const char *const[]){"add", "a.txt", "b.txt", "--embedder", uri, NULL}),
        0);
    ck_assert_int_eq(run_rag("out", (const char *const[]){"search", "cats", NULL}), 4);
    slurp("out", text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "rag reindex --embedder"));
    ck_assert_int_eq(
        run_rag("out", (const char *const[]){"search", "cats", "--mode", "text", NULL}), 0);
    write_text("c.txt", "A third text.\n");
    ck_assert_int_eq(run_rag("out", (const char *const[]){"add", "c.txt", NULL}), 4);
    badserver_stop(s);
    expect_counts("\"documents\":2,", "\"vectors_kept\":2,", "another model");
    end_dir();
}
END_TEST

/* Kept vectors are exported without the server; a vocabulary is not sent to it. */
START_TEST(export_asks_no_server)
{
    char uri[64], text[4096];
    begin_dir();
    const struct bad_answer answers[] = {{canary, 0, BAD_CLOSE, 0, 0, 0},
                                         {both, 0, BAD_CLOSE, 0, 0, 0}};
    struct badserver *s = badserver_start(answers, 2);
    snprintf(uri, sizeof uri, "http://127.0.0.1:%u/v1#m", badserver_port(s));
    ck_assert_int_eq(
        run_rag("out", (const char *const[]){"add", "a.txt", "b.txt", "--embedder", uri, NULL}),
        0);
    ck_assert_int_eq(
        run_rag("out", (const char *const[]){"export", "vectors", "-o", "v.jsonl", NULL}), 0);
    slurp("v.jsonl", text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "\"vector\":[0,1,0]}\n"));
    for (int i = 0; i < 2; i++) {
        const char *of = i ? "tokens" : "words";
        ck_assert_int_eq(
            run_rag("out", (const char *const[]){"export", "vectors", "--of", of, NULL}), 1);
        slurp("out", text, sizeof text);
        ck_assert_ptr_nonnull(strstr(text, "is a server's"));
    }
    ck_assert_uint_eq(badserver_requests(s), 2);
    badserver_stop(s);
    end_dir();
}
END_TEST

/* A batch that was paid for is not asked for again when a later one fails. */
START_TEST(nothing_is_paid_for_twice)
{
    static const char one[] = DATA(VEC("0", "1,0,0"));
    char uri[64];
    begin_dir();
    const struct bad_answer answers[] = {{canary, 0, BAD_CLOSE, 0, 0, 0},
                                         {one, 0, BAD_CLOSE, 0, 0, 0},
                                         {HEAD("403 Forbidden") "\r\n", 0, BAD_CLOSE, 0, 0, 0},
                                         {canary, 0, BAD_CLOSE, 0, 0, 0},
                                         {one, 0, BAD_CLOSE, 0, 0, 0}};
    struct badserver *s = badserver_start(answers, 5);
    snprintf(uri, sizeof uri, "http://127.0.0.1:%u/v1#m", badserver_port(s));
    write_text("rag-config", "embed.batch = 1\n");
    char config[128];
    snprintf(config, sizeof config, "%s/rag-config", dir);
    setenv("RAG_CONFIG", config, 1);
    ck_assert_int_eq(
        run_rag("out", (const char *const[]){"add", "a.txt", "b.txt", "--embedder", uri, NULL}),
        5);
    expect_counts("\"documents\":0,", "\"vectors_kept\":1,", "half paid");
    ck_assert_int_eq(run_rag("out", (const char *const[]){"add", "a.txt", "b.txt", NULL}), 0);
    ck_assert_uint_eq(badserver_requests(s), 5);
    ck_assert_ptr_nonnull(strstr(badserver_last(s), "boats"));
    ck_assert_ptr_null(strstr(badserver_last(s), "cats"));
    badserver_stop(s);
    unsetenv("RAG_CONFIG");
    expect_counts("\"documents\":2,", "\"vectors_kept\":2,", "both paid");
    end_dir();
}
END_TEST

/* ---- answers ---- */

#define STREAM      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
#define DELTA(text) "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":" text "}}]}\n\n"
#define STOP        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define DONE        "data: [DONE]\n\n"

static const struct fault chats[] = {
    {"an answer", {STREAM DELTA("null") DELTA("\"Cats [1].\"") STOP DONE, 0, 0, 0, 0, 0}, 0},
    {"keep-alives, usage",
     {STREAM ":\n\n:\n\n" DELTA("\"Cats [1].\"") STOP
      "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9}}\n\n" DONE,
      0, 0, 0, 0, 0},
     0},
    {"no DONE", {STREAM DELTA("\"Cats [1].\"") STOP, 0, 0, 0, 0, 0}, 0},
    {"neither DONE nor a reason", {STREAM DELTA("\"Cats [1].\""), 0, 0, 0, 0, 0}, 6},
    {"an error in the stream",
     {STREAM DELTA(
          "\"Cats [1].\"") "data: {\"error\":{\"code\":500,\"message\":\"Context size has "
                           "been exceeded.\"}}\n\n",
      0, 0, 0, 0, 0},
     -1},
    {"reset in the stream", {STREAM DELTA("\"Cats [1].\""), 0, BAD_RESET, 0, 0, 0}, 6},
    {"silence in the stream", {STREAM DELTA("\"Cats [1].\""), 0, BAD_HANG, 0, 0, 0}, 6},
    {"whole JSON",
     {OK200 "{\"choices\":[{\"message\":{\"content\":\"Cats "
            "[1].\"},\"finish_reason\":\"stop\"}]}",
      0, 0, 0, 0, 0},
     0},
    {"nonsense in the stream", {STREAM "data: {\"choices\":[}\n\n", 0, 0, 0, 0, 0}, -1},
    {"400 too long",
     {HEAD("400 Bad Request") "\r\n{\"error\":{\"code\":400,\"message\":\"request "
                              "(3031 tokens) exceeds the available context size (2048 "
                              "tokens)\"}}",
      0, 0, 0, 0, 0},
     5},
    {"401",
     {HEAD("401 Unauthorized") "\r\n{\"error\":{\"message\":\"who?\"}}", 0, 0, 0, 0, 0},
     5},
    {"503", {HEAD("503 Loading") RETRY_NOW "\r\n", 0, 0, 0, 0, 0}, 6},
};

START_TEST(chat_faults)
{
    const struct fault *f = &chats[_i];
    char uri[64], text[65536];
    begin_dir();
    struct badserver *s = badserver_start(&f->answer, 1);
    snprintf(uri, sizeof uri, "http://127.0.0.1:%u/v1#m", badserver_port(s));
    ck_assert_int_eq(run_rag("out", (const char *const[]){"add", "a.txt", "b.txt", NULL}), 0);
    const int status =
        run_rag("out", (const char *const[]){"ask", "what of cats?", "--model", uri, NULL});
    slurp("out", text, sizeof text);
    ck_assert_msg(f->status < 0 ? status == 5 || status == 6 : status == f->status,
                  "%s: exit %d, not %d: %s", f->name, status, f->status, text);
    ck_assert_msg(!strstr(text, "sk-sentinel"), "%s: the key got out: %s", f->name, text);
    if (status == 0)
        ck_assert_msg(strstr(text, "\"cited\":[1]"), "%s: nothing cited: %s", f->name, text);
    else if (strstr(f->answer.bytes, "Cats"))
        ck_assert_msg(strstr(text, "Cats"), "%s: what came is gone: %s", f->name, text);
    badserver_stop(s);
    end_dir();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rag_faults");
    TCase *c = tcase_create("faults");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, embedding_faults, 0, (int)FAULTS);
    tcase_add_test(c, gzip_bomb);
    tcase_add_test(c, another_model);
    tcase_add_test(c, export_asks_no_server);
    tcase_add_test(c, nothing_is_paid_for_twice);
    tcase_add_loop_test(c, chat_faults, 0, (int)(sizeof chats / sizeof *chats));
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
