/* test_download.c - rag/net's downloads and rag/embed's models from a hub, against a server
 * that misbehaves, once plain and once behind TLS with a certificate made here.  In the end the
 * file is there and right, or it is not there at all, and nothing lies beside it.
 *
 * TLS is by python3 (tlsfront.py) and openssl's command; where one is missing those cases are
 * left out. */
#include <config.h>

#include <check.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "ann/base/memory.h"
#include "rag/digest.h"
#include "rag/embed/hub.h"
#include "rag/error.h"
#include "tests/badserver.h"

#define TOKEN   "hf_secret_5678"
#define SERVERS 2

static struct net *net;
static char top[] = "download.XXXXXX";
static char work[64];          /* a folder in it that a case may fill */
static char cert[96], key[96]; /* paths; "": no TLS here */
static bool secure;            /* this case goes through TLS */

/* A plain server, and what stands before it in the TLS cases. */
static struct server {
    struct badserver *bad;
    struct bad_answer answers[4]; /* its own: it outlives the case */
    pid_t front;
    FILE *to_front;
    unsigned port;
} servers[SERVERS];

/* ---- set up ---- */

static bool runs(const char *command)
{
    const int status = system(command);
    return status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* A certificate for 127.0.0.1; false without the tools. */
static bool make_certificate(void)
{
    char command[1000];
    const char *python = getenv("PYTHON");
    snprintf(cert, sizeof cert, "%s/cert.pem", top);
    snprintf(key, sizeof key, "%s/key.pem", top);
    snprintf(command, sizeof command,
             "%s -c 'import ssl' >/dev/null 2>&1 && openssl req -x509 -newkey rsa:2048 -nodes "
             "-keyout %s -out %s -days 2 -subj /CN=localhost "
             "-addext subjectAltName=IP:127.0.0.1,DNS:localhost >/dev/null 2>&1",
             python && *python ? python : "python3", key, cert);
    return runs(command);
}

static void remove_tree(const char *path)
{
    char command[200];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    (void)runs(command);
}

static void setup(void)
{
    unsetenv("http_proxy");
    unsetenv("https_proxy");
    unsetenv("SSL_CERT_FILE");
    setenv("CURL_CA_BUNDLE", cert, 1);
    snprintf(work, sizeof work, "%s/case.XXXXXX", top);
    ck_assert_ptr_nonnull(mkdtemp(work));
    ck_assert_int_eq(net_open(&net), RAG_OK);
}

static void stop_server(struct server *s)
{
    if (s->to_front) {
        fclose(s->to_front);
        waitpid(s->front, NULL, 0);
    }
    if (s->bad)
        badserver_stop(s->bad);
    *s = (struct server){0};
}

static void teardown(void)
{
    for (size_t i = 0; i < SERVERS; i++)
        stop_server(&servers[i]);
    net_close(net);
    remove_tree(work);
}

static void start_front(struct server *s)
{
    int in[2], out[2];
    char port[16], script[1000], line[16] = "";
    const char *source = getenv("top_srcdir"), *python = getenv("PYTHON");
    snprintf(script, sizeof script, "%s/tests/tlsfront.py", source && *source ? source : "..");
    snprintf(port, sizeof port, "%u", badserver_port(s->bad));
    ck_assert_int_eq(pipe(in), 0);
    ck_assert_int_eq(pipe(out), 0);
    s->front = fork();
    if (s->front == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        for (int fd = 3; fd < 64; fd++)
            close(fd);
        python = python && *python ? python : "python3";
        execlp(python, python, script, cert, key, port, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    s->to_front = fdopen(in[1], "w");
    FILE *said = fdopen(out[0], "r");
    ck_assert(said && fgets(line, sizeof line, said));
    fclose(said);
    s->port = (unsigned)strtoul(line, NULL, 10);
}

static struct server *start(size_t i, const struct bad_answer *answers, size_t n)
{
    struct server *s = &servers[i];
    stop_server(s);
    ck_assert_uint_le(n, sizeof s->answers / sizeof *s->answers);
    memcpy(s->answers, answers, n * sizeof *answers);
    s->bad = badserver_start(s->answers, n);
    s->port = badserver_port(s->bad);
    if (secure)
        start_front(s);
    return s;
}

static void url_of(const struct server *s, const char *tail, char url[100])
{
    snprintf(url, 100, "%s://127.0.0.1:%u%s", secure ? "https" : "http", s->port, tail);
}

/* ---- files ---- */

#define HEAD(status) "HTTP/1.1 " status "\r\nConnection: close\r\n"
#define TEXT         "The quick brown fox jumps over the lazy dog."
#define TEXT_BYTES   44
#define TEXT_SHA     "ef537f25c895bfa782526529a9b63d97aa631564d5d789c2b765448c8635fb6c"
#define OTHER_SHA    "0f537f25c895bfa782526529a9b63d97aa631564d5d789c2b765448c8635fb6c"
#define WHOLE        HEAD("200 OK") "ETag: \"e1\"\r\nContent-Length: 44\r\n\r\n" TEXT

#define ONE(s)                                                                                 \
    {                                                                                          \
        .bytes = (s)                                                                           \
    }

static char *path_of(const char *name)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", work, name);
    return path;
}

static bool exists(const char *name)
{
    struct stat st;
    return lstat(path_of(name), &st) == 0;
}

static void expect_text(const char *name, const char *text)
{
    char got[200] = "";
    FILE *f = fopen(path_of(name), "r");
    ck_assert_msg(f != NULL, "no %s", name);
    got[fread(got, 1, sizeof got - 1, f)] = '\0';
    fclose(f);
    ck_assert_str_eq(got, text);
}

static void put_text(const char *name, const char *text)
{
    FILE *f = fopen(path_of(name), "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

/* Names in work/`folder`, hidden ones too. */
static size_t count_names(const char *folder)
{
    size_t n = 0;
    DIR *d = opendir(path_of(folder));
    for (const struct dirent *e; d && (e = readdir(d)) != NULL;)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    if (d)
        closedir(d);
    return n;
}

/* Fetches work/file from the first server; d says what is not as usual. */
static rag_err get(struct net_download d)
{
    char url[100];
    if (!d.url) {
        url_of(&servers[0], "/file", url);
        d.url = url;
    }
    d.path = path_of("file");
    d.sha256 = d.sha256 ? d.sha256 : TEXT_SHA;
    d.max_bytes = d.max_bytes ? d.max_bytes : 1000000;
    const rag_err err = net_download(net, &d);
    ck_assert_msg(!err || strstr(rag_error_message(), TOKEN) == NULL, "the token: %s",
                  rag_error_message());
    ck_assert_uint_eq(count_names("."), err ? 0 : 1);
    if (!err)
        expect_text("file", TEXT);
    return err;
}

static bool last_has(size_t server, const char *what)
{
    return strstr(badserver_last(servers[server].bad), what) != NULL;
}

static unsigned requests(size_t server)
{
    return badserver_requests(servers[server].bad);
}

/* ---- one file ---- */

struct told {
    uint64_t done, total, stop_at;
    unsigned times;
};

static int on_progress(void *arg, uint64_t done, uint64_t total)
{
    struct told *t = arg;
    t->done = done;
    t->total = total;
    t->times++;
    return t->stop_at > 0 && t->times >= t->stop_at;
}

START_TEST(a_good_download)
{
    const struct bad_answer whole = ONE(WHOLE);
    struct told told = {0};
    secure = _i != 0;
    start(0, &whole, 1);
    ck_assert_int_eq(
        get((struct net_download){
            .key = TOKEN, .bytes = TEXT_BYTES, .on_progress = on_progress, .arg = &told}),
        RAG_OK);
    ck_assert(last_has(0, "GET /file HTTP/1.1\r\n"));
    ck_assert(last_has(0, "Authorization: Bearer " TOKEN "\r\n"));
    ck_assert(!last_has(0, "Range:"));
    ck_assert_uint_eq(told.done, TEXT_BYTES);
    ck_assert_uint_eq(told.total, TEXT_BYTES);
    ck_assert_uint_eq(requests(0), 1);
}
END_TEST

START_TEST(other_bytes)
{
    const struct bad_answer whole = ONE(WHOLE);
    secure = _i != 0;
    start(0, &whole, 1);
    ck_assert_int_eq(get((struct net_download){.sha256 = OTHER_SHA}), RAG_EDAMAGED);
    ck_assert(strstr(rag_error_message(), TEXT_SHA) != NULL);
    ck_assert(strstr(rag_error_message(), OTHER_SHA) != NULL);
    ck_assert_uint_eq(requests(0), 1); /* another try would bring the same */
    /* What was there stays. */
    put_text("file", "old");
    char url[100];
    url_of(&servers[0], "/file", url);
    ck_assert_int_eq(net_download(net, &(struct net_download){.url = url,
                                                              .path = path_of("file"),
                                                              .sha256 = OTHER_SHA,
                                                              .max_bytes = 100}),
                     RAG_EDAMAGED);
    expect_text("file", "old");
    ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

static const char half[] =
    HEAD("200 OK") "ETag: \"e1\"\r\nContent-Length: 44\r\n\r\nThe quick brown";
static const char unsure[] =
    HEAD("200 OK") "ETag: W/\"e1\"\r\nContent-Length: 44\r\n\r\nThe quick brown";
static const char rest[] =
    HEAD("206 Partial") "ETag: \"e1\"\r\nContent-Range: bytes 15-43/44\r\n"
                        "Content-Length: 29\r\n\r\n"
                        " fox jumps over the lazy dog.";
static const char wrong_rest[] =
    HEAD("206 Partial") "Content-Range: bytes 14-43/44\r\nContent-Length: 30\r\n\r\n"
                        "n fox jumps over the lazy dog.";
static const char other_rest[] =
    HEAD("206 Partial") "Content-Range: bytes 15-43/44\r\nContent-Length: 29\r\n\r\n"
                        " cat jumps over the lazy dog.";
static const char none_left[] =
    HEAD("416 No") "Content-Range: bytes */44\r\nContent-Length: 0\r\n\r\n";
static const char no_length[] = HEAD("200 OK") "ETag: \"e1\"\r\n\r\nThe quick brown";

/* What two or three answers come to, the last one asked for with or without a range. */
static const struct resumed {
    const char *first, *second, *third;
    enum bad_end end;
    int range; /* -1: either, as a reset may take along what was sent */
} resumed[] = {
    {half, rest, NULL, BAD_CLOSE, 1},        {half, WHOLE, NULL, BAD_RESET, -1},
    {half, WHOLE, NULL, BAD_CLOSE, 1},       /* ignores Range */
    {unsure, WHOLE, NULL, BAD_CLOSE, 0},     /* no proof that the rest belongs to it */
    {no_length, rest, NULL, BAD_CLOSE, 1},   /* an end that is none */
    {half, wrong_rest, WHOLE, BAD_CLOSE, 0}, /* another place than asked for */
    {half, other_rest, WHOLE, BAD_CLOSE, 0}, /* pieces of two files */
    {half, none_left, WHOLE, BAD_CLOSE, 0},
};

#define RESUMED ((int)(sizeof resumed / sizeof *resumed))

START_TEST(broken_off)
{
    const struct resumed *r = &resumed[_i % RESUMED];
    const struct bad_answer answers[] = {
        {.bytes = r->first, .end = r->end}, ONE(r->second), ONE(r->third ? r->third : "")};
    secure = _i >= RESUMED;
    start(0, answers, 3);
    const rag_err err = get((struct net_download){.bytes = TEXT_BYTES});
    ck_assert_msg(err == RAG_OK, "%d: %s", _i, rag_error_message());
    ck_assert_uint_eq(requests(0), r->third ? 3 : 2);
    if (r->range >= 0) {
        ck_assert_int_eq(last_has(0, "Range: bytes=15-\r\n"), r->range);
        ck_assert_int_eq(last_has(0, "If-Range: \"e1\"\r\n"), r->range);
    }
}
END_TEST

START_TEST(never_whole)
{
    const struct bad_answer cut = {.bytes = unsure};
    secure = _i != 0;
    start(0, &cut, 1);
    ck_assert_int_eq(get((struct net_download){.tries = 2, .bytes = TEXT_BYTES}), RAG_EUNAVAIL);
    ck_assert_uint_eq(requests(0), 2);
}
END_TEST

START_TEST(refusals)
{
    const struct bad_answer answers[] = {
        ONE(HEAD("503 Busy") "retry-after: 0\r\n\r\n"),
        ONE(HEAD("404 No") "\r\n{\"error\":\"no " TOKEN " here\"}")};
    const struct bad_answer endless = {
        .bytes = HEAD("403 No") "\r\nxxxxxxxxxx", .repeat = 100000000, .repeat_bytes = 10};
    const struct bad_answer patience = ONE(HEAD("429 Slow") "retry-after: 999\r\n\r\n");
    secure = _i != 0;
    start(0, answers, 2);
    ck_assert_int_eq(get((struct net_download){.key = TOKEN}), RAG_EREFUSED);
    ck_assert(strstr(rag_error_message(), "HTTP 404: no ****") != NULL);
    ck_assert_uint_eq(requests(0), 2);
    start(0, &endless, 1);
    ck_assert_int_eq(get((struct net_download){.bytes = TEXT_BYTES}), RAG_EREFUSED);
    start(0, &patience, 1);
    ck_assert_int_eq(get((struct net_download){.key = TOKEN}), RAG_EUNAVAIL);
    ck_assert_uint_eq(requests(0), 1);
}
END_TEST

START_TEST(too_long)
{
    const struct bad_answer said = ONE(WHOLE);
    const struct bad_answer unsaid = {
        .bytes = HEAD("200 OK") "\r\nxxxxxxxxxx", .repeat = 100000, .repeat_bytes = 10};
    secure = _i != 0;
    start(0, &said, 1);
    ck_assert_int_eq(get((struct net_download){.bytes = TEXT_BYTES - 1}), RAG_ELIMIT);
    ck_assert_int_eq(get((struct net_download){.max_bytes = TEXT_BYTES - 1}), RAG_ELIMIT);
    ck_assert_int_eq(get((struct net_download){.max_bytes = TEXT_BYTES}), RAG_OK);
    ck_assert_int_eq(unlink(path_of("file")), 0);
    start(0, &unsaid, 1);
    ck_assert_int_eq(get((struct net_download){.bytes = TEXT_BYTES}), RAG_ELIMIT);
    ck_assert_uint_eq(requests(0), 1);
}
END_TEST

/* An answer whose body is n bytes gzipped. */
static size_t gzipped(const char *in, size_t n, char *out, size_t room)
{
    z_stream z = {.next_in = (unsigned char *)(uintptr_t)in, .avail_in = (unsigned)n};
    const size_t head = (size_t)snprintf(
        out, room, HEAD("200 OK") "ETag: \"e2\"\r\nContent-Encoding: gzip\r\n\r\n");
    z.next_out = (unsigned char *)out + head;
    z.avail_out = (unsigned)(room - head);
    ck_assert_int_eq(deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return head + z.total_out;
}

START_TEST(compressed)
{
    static char bomb[1 << 24], packed[1 << 17], small[1000];
    const struct bad_answer answers[] = {
        {.bytes = packed, .n = gzipped(bomb, sizeof bomb, packed, sizeof packed)}};
    const size_t n = gzipped(TEXT, TEXT_BYTES, small, sizeof small);
    /* Cut off, it cannot be resumed: a range would be one of the packed bytes. */
    const struct bad_answer texts[] = {{.bytes = small, .n = n - 12}, {.bytes = small, .n = n}};
    secure = _i != 0;
    start(0, answers, 1);
    ck_assert_uint_lt(answers[0].n, 20000);
    ck_assert_int_eq(get((struct net_download){.max_bytes = 100000}), RAG_ELIMIT);
    ck_assert_uint_eq(requests(0), 1);
    start(0, texts, 2);
    ck_assert_int_eq(get((struct net_download){.bytes = TEXT_BYTES}), RAG_OK);
    ck_assert(!last_has(0, "Range:"));
}
END_TEST

START_TEST(stalls_and_stops)
{
    const struct bad_answer hang = {.bytes = half, .end = BAD_HANG};
    struct told told = {.stop_at = 2};
    secure = _i != 0;
    start(0, &hang, 1);
    ck_assert_int_eq(get((struct net_download){.stall_ms = 1000, .tries = 1}), RAG_EUNAVAIL);
    ck_assert_int_eq(get((struct net_download){.on_progress = on_progress, .arg = &told}),
                     RAG_ECANCELED);
}
END_TEST

/* ---- where it goes ---- */

static void redirect_to(const struct server *s, const char *tail, char answer[300])
{
    char url[100];
    url_of(s, tail, url);
    snprintf(answer, 300, HEAD("302 Found") "Location: %s\r\nContent-Length: 5\r\n\r\nthere",
             url);
}

START_TEST(another_host)
{
    static char away[300], back[300];
    secure = _i != 0;
    const struct bad_answer whole = ONE(WHOLE), first[] = {ONE(away), ONE(WHOLE)};
    start(1, &whole, 1);
    redirect_to(&servers[1], "/cdn/file", away);
    start(0, first, 2);
    ck_assert_int_eq(get((struct net_download){.key = TOKEN}), RAG_OK);
    ck_assert(last_has(0, "Bearer " TOKEN));
    ck_assert(last_has(1, "GET /cdn/file "));
    ck_assert(!last_has(1, TOKEN));
    ck_assert(!last_has(1, "uthorization"));
    /* Nor once it leads back. */
    ck_assert_int_eq(unlink(path_of("file")), 0);
    start(0, first, 2);
    redirect_to(&servers[0], "/again", back);
    const struct bad_answer second = ONE(back);
    start(1, &second, 1);
    redirect_to(&servers[1], "/cdn/file", away);
    ck_assert_int_eq(get((struct net_download){.key = TOKEN}), RAG_OK);
    ck_assert(last_has(0, "GET /again "));
    ck_assert(!last_has(0, TOKEN));
}
END_TEST

START_TEST(redirects)
{
    const struct bad_answer near[] = {ONE(HEAD("307 Go") "Location: /other?x=1\r\n\r\n"),
                                      ONE(WHOLE)};
    const struct bad_answer loop = ONE(HEAD("301 Go") "Location: /file\r\n\r\n");
    const struct bad_answer lost = ONE(HEAD("302 Go") "\r\n");
    const struct bad_answer user =
        ONE(HEAD("302 Go") "Location: http://a:b@127.0.0.1/x\r\n\r\n");
    const struct bad_answer file = ONE(HEAD("302 Go") "Location: file:///etc/passwd\r\n\r\n");
    const struct bad_answer escape = ONE(HEAD("302 Go") "Location: http://\x1B[31m/\r\n\r\n");
    const struct bad_answer plain =
        ONE(HEAD("302 Go") "Location: http://192.0.2.1/file\r\n\r\n");
    secure = _i != 0;
    start(0, near, 2);
    ck_assert_int_eq(get((struct net_download){.key = TOKEN}), RAG_OK);
    ck_assert(last_has(0, "GET /other?x=1 "));
    ck_assert(last_has(0, TOKEN)); /* the same host */
    ck_assert_int_eq(unlink(path_of("file")), 0);
    start(0, &loop, 1);
    ck_assert_int_eq(get((struct net_download){.tries = 3}), RAG_EREFUSED);
    ck_assert_uint_eq(requests(0), 6);
    start(0, &lost, 1);
    ck_assert_int_eq(get((struct net_download){.tries = 3}), RAG_EREFUSED);
    start(0, &user, 1);
    ck_assert_int_eq(get((struct net_download){.tries = 3}), RAG_EREFUSED);
    start(0, &file, 1);
    ck_assert_int_eq(get((struct net_download){.tries = 3}), RAG_EREFUSED);
    ck_assert_uint_eq(requests(0), 1);
    start(0, &escape, 1);
    ck_assert_int_eq(get((struct net_download){.tries = 3}), RAG_EREFUSED);
    ck_assert(strchr(rag_error_message(), '\x1B') == NULL);
    start(0, &plain, 1);
    ck_assert_int_eq(get((struct net_download){.tries = 3}), RAG_EREFUSED);
    ck_assert(strstr(rag_error_message(), "plain http") != NULL);
}
END_TEST

/* Even to this machine: what came over TLS is not continued without it. */
START_TEST(from_https_to_http)
{
    static char away[300];
    const struct bad_answer whole = ONE(WHOLE), first = ONE(away);
    secure = false;
    start(1, &whole, 1);
    redirect_to(&servers[1], "/file", away);
    secure = true;
    start(0, &first, 1);
    ck_assert_int_eq(get((struct net_download){.tries = 3}), RAG_EREFUSED);
    ck_assert(strstr(rag_error_message(), "plain http") != NULL);
    ck_assert_uint_eq(requests(0), 1);
    ck_assert_uint_eq(requests(1), 0);
}
END_TEST

START_TEST(untrusted)
{
    const struct bad_answer whole = ONE(WHOLE);
    secure = true;
    unsetenv("CURL_CA_BUNDLE");
    start(0, &whole, 1);
    ck_assert_int_eq(get((struct net_download){.key = TOKEN}), RAG_EUNAVAIL);
    ck_assert_uint_eq(requests(0), 0);
    setenv("SSL_CERT_FILE", cert, 1);
    ck_assert_int_eq(get((struct net_download){.key = TOKEN}), RAG_OK);
}
END_TEST

START_TEST(wishes)
{
    const struct net_download bad[] = {{.url = "http://192.0.2.1/x"},
                                       {.url = "ftp://127.0.0.1/x"},
                                       {.url = "http://127.0.0.1:1/x", .sha256 = "ab"},
                                       {.url = "http://127.0.0.1:1/x", .sha256 = TEXT_SHA "0"},
                                       {.url = "http://127.0.0.1:1/x", .key = "a\r\nb: c"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_int_eq(get(bad[i]), RAG_EINVAL);
    struct net_download d = {.url = "http://127.0.0.1:1/x", .sha256 = TEXT_SHA, .path = "-"};
    ck_assert_int_eq(net_download(net, &d), RAG_EINVAL); /* no limit */
    d.bytes = 3;
    ck_assert_int_eq(net_download(net, &d), RAG_EINVAL);
    d.path = path_of("no/such/folder");
    ck_assert_int_eq(net_download(net, &d), RAG_ENOENT);
}
END_TEST

/* ---- models ---- */

#define CONFIG  "{\"hidden_size\":1}"
#define POOLING "{\"pooling_mode_cls_token\":true}"

static char config_sha[2 * DIGEST_BYTES + 1], pooling_sha[2 * DIGEST_BYTES + 1];
static struct hub_file pins[] = {{"config.json", 0, config_sha},
                                 {"1_Pooling/config.json", 0, pooling_sha},
                                 {"model.safetensors", TEXT_BYTES, TEXT_SHA}};
static const struct bad_answer model[] = {
    ONE(HEAD("200 OK") "Content-Length: 17\r\n\r\n" CONFIG),
    ONE(HEAD("200 OK") "Content-Length: 31\r\n\r\n" POOLING), ONE(WHOLE)};

static void sha_of(const char *text, char hex[2 * DIGEST_BYTES + 1])
{
    struct digest_sum sum;
    digest_begin(&sum);
    for (; *text; text++)
        digest_add(&sum, text, 1);
    const struct digest d = digest_end(&sum);
    digest_hex(&d, DIGEST_BYTES, hex);
}

static rag_err get_model(const char *name, size_t npins)
{
    char url[100], folder[200], *dir = NULL;
    if (servers[0].bad)
        url_of(&servers[0], "/hub//", url);
    sha_of(CONFIG, config_sha);
    sha_of(POOLING, pooling_sha);
    snprintf(folder, sizeof folder, "%s", path_of("models"));
    const struct hub_wish w = {.name = name,
                               .folder = folder,
                               .base_url = servers[0].bad ? url : NULL,
                               .token = TOKEN,
                               .pins = pins,
                               .npins = npins};
    const rag_err err = hub_get(net, &w, &dir);
    if (!err)
        ck_assert_str_eq(dir + strlen(folder) + 1, "me--tiny");
    else
        ck_assert(dir == NULL && strstr(rag_error_message(), TOKEN) == NULL);
    mem_free(dir);
    return err;
}

static void expect_model(void)
{
    expect_text("models/me--tiny/config.json", CONFIG);
    expect_text("models/me--tiny/1_Pooling/config.json", POOLING);
    expect_text("models/me--tiny/model.safetensors", TEXT);
    ck_assert(!exists("models/.me--tiny.part"));
    ck_assert_uint_eq(count_names("models"), 1);
}

START_TEST(a_model)
{
    secure = _i != 0;
    start(0, model, 3);
    ck_assert_msg(get_model("me/tiny@v1.0", 3) == RAG_OK, "%s", rag_error_message());
    expect_model();
    ck_assert(last_has(0, "GET /hub/me/tiny/resolve/v1.0/model.safetensors "));
    ck_assert(last_has(0, "Bearer " TOKEN));
    ck_assert_uint_eq(requests(0), 3);
    /* Again: nothing to fetch. */
    ck_assert_int_eq(get_model("me/tiny", 3), RAG_OK);
    ck_assert_uint_eq(requests(0), 3);
    /* One is missing, one is wrong; what else is there stays. */
    put_text("models/me--tiny/notes", "mine");
    put_text("models/me--tiny/1_Pooling/config.json", "{}");
    ck_assert_int_eq(unlink(path_of("models/me--tiny/model.safetensors")), 0);
    start(0, model + 1, 2);
    ck_assert_int_eq(get_model("me/tiny@refs/pr/1", 3), RAG_OK);
    ck_assert(last_has(0, "/resolve/refs%2Fpr%2F1/model.safetensors "));
    ck_assert_uint_eq(requests(0), 2);
    expect_model();
    expect_text("models/me--tiny/notes", "mine");
}
END_TEST

/* The last file fails: no model is to be seen, and what was right is not fetched twice. */
START_TEST(half_a_model)
{
    const struct bad_answer answers[] = {model[0], model[1], ONE(HEAD("404 No") "\r\n")};
    secure = _i != 0;
    start(0, answers, 3);
    ck_assert_int_eq(get_model("me/tiny", 3), RAG_EREFUSED);
    ck_assert(strstr(rag_error_message(), "me--tiny: model.safetensors: 127.0.0.1") != NULL);
    ck_assert(!exists("models/me--tiny"));
    put_text("models/.me--tiny.part/stray", "of other pins");
    put_text("models/.me--tiny.part/config.json", "changed since");
    const struct bad_answer two[] = {model[0], model[2]};
    start(0, two, 2);
    ck_assert_int_eq(get_model("me/tiny", 3), RAG_OK);
    ck_assert_uint_eq(requests(0), 2);
    expect_model();
    ck_assert(!exists("models/me--tiny/stray"));
}
END_TEST

START_TEST(killed)
{
    const struct bad_answer answers[] = {model[0], model[1], {.bytes = half, .end = BAD_HANG}};
    const struct timespec moment = {0, 20000000};
    secure = _i != 0;
    start(0, answers, 3);
    const pid_t child = fork();
    if (child == 0) {
        struct net *mine;
        net = net_open(&mine) ? NULL : mine;
        _exit(get_model("me/tiny", 3) != RAG_OK);
    }
    for (int i = 0; i < 1000 && requests(0) < 3; i++)
        nanosleep(&moment, NULL);
    ck_assert_uint_eq(requests(0), 3);
    ck_assert_int_eq(get_model("me/tiny", 3), RAG_EBUSY); /* it is at it */
    nanosleep(&moment, NULL);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    ck_assert(!exists("models/me--tiny"));
    ck_assert_uint_eq(count_names("models"), 1); /* the hidden folder */
    ck_assert_uint_eq(count_names("models/.me--tiny.part"), 3);
    start(0, model + 2, 1);
    ck_assert_int_eq(get_model("me/tiny", 3), RAG_OK);
    ck_assert_uint_eq(requests(0), 1);
    expect_model();
    ck_assert_uint_eq(count_names("models/me--tiny"), 3);
}
END_TEST

START_TEST(names_and_pins)
{
    static const char *const bad[] = {"../x", "a/../b",   "a/b/c", "/b",    "a/",   ".a/b",
                                      "a/b@", "a/b@../x", "a b/c", "a/b?c", "a/b#c"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_int_eq(get_model(bad[i], 3), RAG_EINVAL);
    ck_assert_int_eq(get_model("no-such", 0), RAG_ENOENT);
    ck_assert(strstr(rag_error_message(), "all-MiniLM-L6-v2") != NULL);
    ck_assert_int_eq(get_model("me/tiny", 0), RAG_EINVAL);
    ck_assert(strstr(rag_error_message(), "--pin model.safetensors=HEX") != NULL);
    ck_assert_int_eq(get_model("all-MiniLM-L6-v2", 3), RAG_EINVAL);
    ck_assert(!exists("models"));

    struct hub_file f;
    char good[] = "a/b.json=" TEXT_SHA, none[] = "b.json", shorter[] = "b.json=ab",
         up[] = "../b=" TEXT_SHA, hidden[] = "a/.b=" TEXT_SHA, root[] = "/b=" TEXT_SHA;
    ck_assert_int_eq(hub_pin(good, &f), RAG_OK);
    ck_assert_str_eq(f.path, "a/b.json");
    ck_assert_str_eq(f.sha256, TEXT_SHA);
    ck_assert_int_eq(hub_pin(none, &f), RAG_EINVAL);
    ck_assert_int_eq(hub_pin(shorter, &f), RAG_EINVAL);
    ck_assert_int_eq(hub_pin(up, &f), RAG_EINVAL);
    ck_assert_int_eq(hub_pin(hidden, &f), RAG_EINVAL);
    ck_assert_int_eq(hub_pin(root, &f), RAG_EINVAL);
}
END_TEST

START_TEST(known_models)
{
    size_t n;
    const struct hub_model *m = hub_models(&n);
    ck_assert_uint_ge(n, 1);
    for (size_t i = 0; i < n; i++) {
        ck_assert_ptr_eq(hub_find(m[i].name), &m[i]);
        ck_assert_ptr_eq(hub_find(m[i].repo), &m[i]);
        ck_assert_uint_eq(strlen(m[i].revision), 40);
        for (size_t j = 0; j < m[i].n; j++) {
            ck_assert_uint_eq(strspn(m[i].files[j].sha256, "0123456789abcdef"), 64);
            ck_assert_uint_eq(strlen(m[i].files[j].sha256), 64);
        }
    }
    /* Pinned: another file is not taken for it. */
    const struct bad_answer answer = ONE(HEAD("200 OK") "Content-Length: 17\r\n\r\n" CONFIG);
    secure = false;
    start(0, &answer, 1);
    ck_assert_int_eq(get_model("all-MiniLM-L6-v2", 0), RAG_EDAMAGED);
    ck_assert(last_has(0, "GET /hub/sentence-transformers/all-MiniLM-L6-v2/resolve/"
                          "c9745ed1d9f207416be6d2e6f8de32d1f16199bf/config.json "));
    ck_assert(!exists("models/all-MiniLM-L6-v2"));
}
END_TEST

int main(void)
{
    const bool tls = mkdtemp(top) && make_certificate();
    const int ways = tls ? 2 : 1;
    Suite *s = suite_create("download");
    TCase *t = tcase_create("download");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, a_good_download, 0, ways);
    tcase_add_loop_test(t, other_bytes, 0, ways);
    tcase_add_loop_test(t, broken_off, 0, ways * RESUMED);
    tcase_add_loop_test(t, never_whole, 0, ways);
    tcase_add_loop_test(t, refusals, 0, ways);
    tcase_add_loop_test(t, too_long, 0, ways);
    tcase_add_loop_test(t, compressed, 0, ways);
    tcase_add_loop_test(t, stalls_and_stops, 0, ways);
    tcase_add_loop_test(t, another_host, 0, ways);
    tcase_add_loop_test(t, redirects, 0, ways);
    if (tls) {
        tcase_add_test(t, from_https_to_http);
        tcase_add_test(t, untrusted);
    }
    tcase_add_test(t, wishes);
    tcase_add_loop_test(t, a_model, 0, ways);
    tcase_add_loop_test(t, half_a_model, 0, ways);
    tcase_add_loop_test(t, killed, 0, ways);
    tcase_add_test(t, names_and_pins);
    tcase_add_test(t, known_models);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    if (!tls)
        fputs("# no python3 or no openssl: nothing was tried over TLS\n", stderr);
    remove_tree(top);
    return failed ? 1 : 0;
}
