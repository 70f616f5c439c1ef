/* request.c - a request through libcurl: checked, capped, tried again where that may help.
 *
 * Place: rag/net; see net.h for what it promises.  Connections are kept between requests, one
 * idle handle for each that ran at once. */
#include <config.h>

#include <ctype.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ann/base/memory.h"
#include "ann/base/rng.h"
#include "rag/error.h"
#include "rag/net/internal.h"

#define IDLE_MAX       8
#define TRIES          3
#define CONNECT_MS     10000L
#define ERROR_BODY_MAX ((size_t)64 << 10)
#define HEADER_MAX     128
#define SLICE_NS       100000000L /* of a wait, between two questions whether to stop */
#define HOST_MAX       256

struct net {
    pthread_mutex_t lock;
    CURL *idle[IDLE_MAX];
    size_t nidle;
    struct net_gates *gates;
    uint64_t dice; /* how often it was thrown */
};

/* One try of a request. */
struct transfer {
    const struct net_request *r;
    CURL *curl;
    struct net_answer *a;
    size_t seen;        /* bytes of a 200, decompressed */
    bool over, stopped; /* the cap was passed; a callback said stop */
    bool handed;        /* on_data has seen something: no second try */
    char after[HEADER_MAX], after_ms[HEADER_MAX], should[HEADER_MAX], id[HEADER_MAX];
    char place[HEADER_MAX]; /* where a redirect leads */
    char host[HOST_MAX];
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode global;

static void init_curl(void)
{
    global = curl_global_init(CURL_GLOBAL_DEFAULT);
}

rag_err net_open(struct net **out)
{
    pthread_once(&once, init_curl);
    if (global != CURLE_OK)
        return RAG_FAIL(RAG_ENOMEM, "libcurl: %s", curl_easy_strerror(global));
    struct net *n = mem_zalloc(1, sizeof *n);
    struct net_gates *gates = n ? net_gates_open() : NULL;
    if (!gates) {
        mem_free(n);
        return RAG_FAIL(RAG_ENOMEM, "out of memory: %zu bytes", sizeof *n);
    }
    n->gates = gates;
    pthread_mutex_init(&n->lock, NULL);
    *out = n;
    return RAG_OK;
}

void net_close(struct net *n)
{
    if (!n)
        return;
    for (size_t i = 0; i < n->nidle; i++)
        curl_easy_cleanup(n->idle[i]);
    net_gates_close(n->gates);
    pthread_mutex_destroy(&n->lock);
    mem_free(n);
}

static CURL *borrow_handle(struct net *n)
{
    CURL *curl = NULL;
    pthread_mutex_lock(&n->lock);
    if (n->nidle > 0)
        curl = n->idle[--n->nidle];
    pthread_mutex_unlock(&n->lock);
    return curl ? curl : curl_easy_init();
}

static void return_handle(struct net *n, CURL *curl)
{
    curl_easy_reset(curl); /* keeps the connections */
    pthread_mutex_lock(&n->lock);
    if (n->nidle < IDLE_MAX) {
        n->idle[n->nidle++] = curl;
        curl = NULL;
    }
    pthread_mutex_unlock(&n->lock);
    curl_easy_cleanup(curl);
}

/* ---- where it goes ---- */

static bool is_loopback_host(const char *host)
{
    unsigned a, b, c, d;
    char more;
    if (strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0)
        return true;
    return sscanf(host, "%3u.%3u.%3u.%3u%c", &a, &b, &c, &d, &more) == 4 && a == 127 &&
           b < 256 && c < 256 && d < 256;
}

/* Checks a url; its host, with the port if it names one, at host. */
static rag_err read_url(const char *url, char host[HOST_MAX], bool *loopback, bool *secure)
{
    char *scheme = NULL, *name = NULL, *user = NULL, *port = NULL;
    CURLU *u = curl_url();
    if (!u)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a url");
    const CURLUcode bad = curl_url_set(u, CURLUPART_URL, url, 0);
    rag_err err = RAG_OK;
    if (bad || curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) ||
        curl_url_get(u, CURLUPART_HOST, &name, 0))
        err = RAG_FAIL(RAG_EINVAL, "not a url: %.200s", url);
    else if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)
        err = RAG_FAIL(RAG_EINVAL, "%s: neither http nor https: %.200s", scheme, url);
    else if (curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_OK)
        err = RAG_FAIL(RAG_EINVAL,
                       "the url of %s holds a user name; keys have a place of their own", name);
    if (!err) {
        const bool has_port = curl_url_get(u, CURLUPART_PORT, &port, 0) == CURLUE_OK;
        snprintf(host, HOST_MAX, "%s%s%s", name, has_port ? ":" : "", has_port ? port : "");
        *loopback = is_loopback_host(name);
        *secure = strcmp(scheme, "https") == 0;
    }
    curl_free(scheme);
    curl_free(name);
    curl_free(user);
    curl_free(port);
    curl_url_cleanup(u);
    return err;
}

bool net_is_loopback(const char *url)
{
    char host[HOST_MAX];
    bool loopback = false, secure;
    struct error_note kept;
    error_take(&kept, ANN_OK);
    if (read_url(url, host, &loopback, &secure))
        loopback = false;
    (void)error_put(&kept);
    return loopback;
}

/* ---- what comes back ---- */

static bool append(struct net_answer *a, const char *data, size_t n)
{
    char *body = mem_resize(a->body, a->bytes + n + 1);
    if (!body)
        return false;
    memcpy(body + a->bytes, data, n);
    a->body = body;
    a->bytes += n;
    body[a->bytes] = '\0';
    return true;
}

static size_t on_body(char *data, size_t each, size_t count, void *arg)
{
    struct transfer *t = arg;
    const size_t n = each * count;
    long status = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) {
        const size_t left = ERROR_BODY_MAX - t->a->bytes;
        return append(t->a, data, n < left ? n : left) ? n : 0;
    }
    if (n > t->r->max_bytes - t->seen) {
        t->over = true;
        return 0;
    }
    t->seen += n;
    if (!t->r->on_data)
        return append(t->a, data, n) ? n : 0;
    t->handed = true;
    t->stopped = t->r->on_data(t->r->arg, data, n) != 0;
    return t->stopped ? 0 : n;
}

/* Keeps the value of header `name` at out, if it is this line. */
static bool keep_header(const char *line, size_t n, const char *name, char out[HEADER_MAX])
{
    const size_t length = strlen(name);
    if (n <= length || strncasecmp(line, name, length) != 0 || line[length] != ':')
        return false;
    line += length + 1;
    n -= length + 1;
    while (n > 0 && isspace((unsigned char)*line)) {
        line++;
        n--;
    }
    while (n > 0 && isspace((unsigned char)line[n - 1]))
        n--;
    n = n < HEADER_MAX - 1 ? n : HEADER_MAX - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = (char)(line[i] >= 0x20 && line[i] < 0x7F ? line[i] : '?');
    out[n] = '\0';
    return true;
}

static size_t on_header(char *line, size_t each, size_t count, void *arg)
{
    struct transfer *t = arg;
    const size_t n = each * count;
    (void)(keep_header(line, n, "retry-after", t->after) ||
           keep_header(line, n, "retry-after-ms", t->after_ms) ||
           keep_header(line, n, "x-should-retry", t->should) ||
           keep_header(line, n, "x-request-id", t->id) ||
           keep_header(line, n, "location", t->place));
    return n;
}

static int on_progress(void *arg, curl_off_t dt, curl_off_t dn, curl_off_t ut, curl_off_t un)
{
    struct transfer *t = arg;
    (void)dt;
    (void)dn;
    (void)ut;
    (void)un;
    if (!t->r->on_stop || !t->r->on_stop(t->r->stop_arg))
        return 0;
    t->stopped = true;
    return 1;
}

/* ---- one try ---- */

static struct curl_slist *put_header(struct curl_slist *list, const char *line, bool *ok)
{
    struct curl_slist *more = *ok ? curl_slist_append(list, line) : NULL;
    *ok = more != NULL;
    return more ? more : list;
}

static struct curl_slist *make_headers(const struct net_request *r, bool *ok)
{
    struct curl_slist *list = NULL;
    *ok = true;
    if (r->body)
        list = put_header(list, "Content-Type: application/json", ok);
    list = put_header(list, "Expect:", ok); /* a round trip for nothing */
    for (const char *const *h = r->headers; h && *h; h++)
        list = put_header(list, *h, ok);
    if (r->key && *ok) {
        const size_t n = strlen(r->key) + sizeof "Authorization: Bearer ";
        char *line = mem_alloc(n);
        *ok = line != NULL;
        if (line) {
            snprintf(line, n, "Authorization: Bearer %s", r->key);
            list = put_header(list, line, ok);
            explicit_bzero(line, n);
            mem_free(line);
        }
    }
    return list;
}

static void free_headers(struct curl_slist *list)
{
    for (struct curl_slist *l = list; l; l = l->next)
        explicit_bzero(l->data, strlen(l->data));
    curl_slist_free_all(list);
}

static void set_up(const struct transfer *t, struct curl_slist *headers, bool loopback)
{
    CURL *c = t->curl;
    const struct net_request *r = t->r;
    const char *ca = getenv("CURL_CA_BUNDLE");
    ca = ca && *ca ? ca : getenv("SSL_CERT_FILE");
    curl_easy_setopt(c, CURLOPT_URL, r->url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "kith/" PACKAGE_VERSION);
    curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
    if (r->stall_ms > 0) {
        curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)((r->stall_ms + 999) / 1000));
    }
    if (ca && *ca)
        curl_easy_setopt(c, CURLOPT_CAINFO, ca);
    if (loopback) /* no proxy is to see what stays on this machine */
        curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    if (r->body) {
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, r->body);
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->bytes);
    }
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
}

/* Content-Type without parameters, lower case. */
static void keep_type(const struct transfer *t)
{
    const char *type = NULL;
    size_t n = 0;
    curl_easy_getinfo(t->curl, CURLINFO_CONTENT_TYPE, &type);
    for (; type && type[n] && type[n] != ';' && type[n] != ' ' && n + 1 < sizeof t->a->type;
         n++)
        t->a->type[n] = (char)tolower((unsigned char)type[n]);
    t->a->type[n] = '\0';
}

static CURLcode perform(struct transfer *t, bool loopback)
{
    bool ok;
    struct curl_slist *headers = make_headers(t->r, &ok);
    CURLcode code = CURLE_OUT_OF_MEMORY;
    t->a->bytes = 0;
    t->seen = 0;
    t->after[0] = t->after_ms[0] = t->should[0] = t->id[0] = t->place[0] = '\0';
    if (ok) {
        set_up(t, headers, loopback);
        code = curl_easy_perform(t->curl);
        curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &t->a->status);
        keep_type(t);
        curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, NULL);
    }
    free_headers(headers);
    return code;
}

/* ---- what it means ---- */

/* A server may quote the key it does not like. */
static void hide_key(char *words, const char *key)
{
    char *at;
    const size_t n = key ? strlen(key) : 0;
    while (n > 0 && (at = strstr(words, key)) != NULL)
        memset(at, '*', n);
}

static rag_err fail_transport(const struct transfer *t, CURLcode code, bool *again)
{
    *again = false;
    if (t->stopped)
        return RAG_FAIL(RAG_ECANCELED, "%s: stopped", t->host);
    if (t->over)
        return RAG_FAIL(RAG_ELIMIT, "%s: the answer is longer than %zu bytes", t->host,
                        t->r->max_bytes);
    switch (code) {
    case CURLE_OUT_OF_MEMORY:
    case CURLE_WRITE_ERROR:
        return RAG_FAIL(RAG_ENOMEM, "%s: out of memory", t->host);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_BAD_CONTENT_ENCODING:
        break;
    default:
        *again = !t->handed;
    }
    return RAG_FAIL(RAG_EUNAVAIL, "%s: %s", t->host, curl_easy_strerror(code));
}

static rag_err fail_status(const struct transfer *t, bool *again)
{
    char words[NET_WORDS_MAX];
    const struct net_answer *a = t->a;
    enum net_verdict verdict = net_judge(a->status, a->body, a->bytes);
    net_words(a->body ? a->body : "", a->bytes, words);
    hide_key(words, t->r->key);
    if (verdict == NET_AGAIN && strcasecmp(t->should, "false") == 0)
        verdict = NET_REFUSED;
    if (verdict == NET_REFUSED && strcasecmp(t->should, "true") == 0)
        verdict = NET_AGAIN;
    *again = verdict == NET_AGAIN;
    const rag_err err = verdict == NET_AGAIN       ? RAG_EUNAVAIL
                        : verdict == NET_TOO_LARGE ? RAG_ETOOLARGE
                                                   : RAG_EREFUSED;
    if (t->place[0])
        return RAG_FAIL(err, "%s: HTTP %ld: redirects are not followed; this one leads to %s",
                        t->host, a->status, t->place);
    return RAG_FAIL(err, "%s: HTTP %ld%s%s%s%s", t->host, a->status, *words ? ": " : "", words,
                    t->id[0] ? ", request " : "", t->id);
}

/* Until `until`; RAG_ECANCELED if on_stop says so. */
static rag_err wait_until(const struct transfer *t, double until)
{
    const struct timespec slice = {0, SLICE_NS};
    while (net_now() < until) {
        if (t->r->on_stop && t->r->on_stop(t->r->stop_arg))
            return RAG_FAIL(RAG_ECANCELED, "%s: stopped", t->host);
        nanosleep(&slice, NULL);
    }
    return RAG_OK;
}

static double throw_dice(struct net *n)
{
    pthread_mutex_lock(&n->lock);
    const uint64_t i = n->dice++;
    pthread_mutex_unlock(&n->lock);
    return (double)(rng_at((uint64_t)(uintptr_t)n, i) >> 11) * 0x1p-53;
}

/* Before try i + 1: shuts the gate.  False if the server asks for more patience than we have.
 */
static bool shut_gate(struct net *n, const struct transfer *t, unsigned i)
{
    double wait = net_retry_after(t->after_ms[0] ? t->after_ms : NULL,
                                  t->after[0] ? t->after : NULL, time(NULL));
    if (wait > NET_WAIT_MAX)
        return false;
    if (wait < 0)
        wait = net_backoff(i, throw_dice(n));
    net_gates_shut(n->gates, t->host, net_now() + wait);
    return true;
}

static rag_err try_all(struct net *n, struct transfer *t, bool loopback)
{
    const unsigned tries = t->r->tries ? t->r->tries : TRIES;
    rag_err err = RAG_OK;
    for (unsigned i = 1;; i++) {
        bool again = false;
        err = wait_until(t, net_gates_until(n->gates, t->host));
        if (err)
            return err;
        const CURLcode code = perform(t, loopback);
        if (code == CURLE_OK && t->a->status == 200)
            return RAG_OK;
        err = code != CURLE_OK ? fail_transport(t, code, &again) : fail_status(t, &again);
        t->a->permanent = !again && err != RAG_ECANCELED;
        if (!again || i >= tries)
            return err;
        if (shut_gate(n, t, i))
            continue;
        t->a->permanent = true;
        return rag_prefix(err, "the server asks for a longer wait than two minutes");
    }
}

rag_err net_send(struct net *n, const struct net_request *r, struct net_answer *a)
{
    bool loopback, secure;
    *a = (struct net_answer){0};
    struct transfer t = {.r = r, .a = a};
    rag_err err = read_url(r->url, t.host, &loopback, &secure);
    if (!err && r->key && !secure && !loopback)
        err = RAG_FAIL(RAG_EINVAL, "%s: a key is not sent over plain http; use https", t.host);
    if (err)
        return err;
    t.curl = borrow_handle(n);
    if (!t.curl)
        return RAG_FAIL(RAG_ENOMEM, "%s: out of memory", t.host);
    err = try_all(n, &t, loopback);
    return_handle(n, t.curl);
    return err;
}

void net_answer_free(struct net_answer *a)
{
    mem_free(a->body);
    *a = (struct net_answer){0};
}
