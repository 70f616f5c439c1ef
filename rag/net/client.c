/* client.c - what requests and downloads share.  See client.h.
 *
 * Place: rag/net.  Connections are kept between transfers, one idle handle for each that ran at
 * once. */
#include <config.h>

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ann/base/memory.h"
#include "ann/base/rng.h"
#include "rag/error.h"
#include "rag/net/client.h"

#define IDLE_MAX   8
#define CONNECT_MS 10000L
#define SLICE_NS   100000000L /* of a wait, between two questions whether to stop */

struct net {
    pthread_mutex_t lock;
    CURL *idle[IDLE_MAX];
    size_t nidle;
    struct net_gates *gates;
    uint64_t dice; /* how often it was thrown */
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

CURL *net_borrow(struct net *n)
{
    CURL *curl = NULL;
    pthread_mutex_lock(&n->lock);
    if (n->nidle > 0)
        curl = n->idle[--n->nidle];
    pthread_mutex_unlock(&n->lock);
    return curl ? curl : curl_easy_init();
}

void net_give_back(struct net *n, CURL *curl)
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

rag_err net_read_url(const char *url, struct net_place *p)
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
        snprintf(p->host, sizeof p->host, "%s%s%s", name, has_port ? ":" : "",
                 has_port ? port : "");
        p->loopback = is_loopback_host(name);
        p->secure = strcmp(scheme, "https") == 0;
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
    struct net_place p;
    struct error_note kept;
    error_take(&kept, ANN_OK);
    const bool loopback = net_read_url(url, &p) == RAG_OK && p.loopback;
    (void)error_put(&kept);
    return loopback;
}

/* ---- heads ---- */

struct curl_slist *net_put_header(struct curl_slist *list, const char *line, bool *ok)
{
    struct curl_slist *more = *ok ? curl_slist_append(list, line) : NULL;
    *ok = more != NULL;
    return more ? more : list;
}

struct curl_slist *net_put_key(struct curl_slist *list, const char *key, bool *ok)
{
    if (!key || !*ok)
        return list;
    const size_t n = strlen(key) + sizeof "Authorization: Bearer ";
    char *line = mem_alloc(n);
    *ok = line != NULL;
    if (!line)
        return list;
    snprintf(line, n, "Authorization: Bearer %s", key);
    list = net_put_header(list, line, ok);
    explicit_bzero(line, n);
    mem_free(line);
    return list;
}

void net_free_headers(struct curl_slist *list)
{
    for (struct curl_slist *l = list; l; l = l->next)
        explicit_bzero(l->data, strlen(l->data));
    curl_slist_free_all(list);
}

/* Keeps the value of header `name` at out, if it is this line. */
static bool keep_header(const char *line, size_t n, const char *name, char out[NET_HEAD_MAX])
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
    n = n < NET_HEAD_MAX - 1 ? n : NET_HEAD_MAX - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = (char)(line[i] >= 0x20 && line[i] < 0x7F ? line[i] : '?');
    out[n] = '\0';
    return true;
}

void net_heads_line(struct net_heads *h, const char *line, size_t n)
{
    if (n > 5 && strncasecmp(line, "http/", 5) == 0)
        *h = (struct net_heads){0};
    (void)(keep_header(line, n, "retry-after", h->after) ||
           keep_header(line, n, "retry-after-ms", h->after_ms) ||
           keep_header(line, n, "x-should-retry", h->should) ||
           keep_header(line, n, "x-request-id", h->id) ||
           keep_header(line, n, "location", h->place) ||
           keep_header(line, n, "etag", h->etag) ||
           keep_header(line, n, "content-range", h->range) ||
           keep_header(line, n, "content-encoding", h->coded));
}

void net_prepare(CURL *curl, const char *url, struct curl_slist *headers, bool loopback,
                 unsigned stall_ms)
{
    const char *ca = getenv("CURL_CA_BUNDLE");
    ca = ca && *ca ? ca : getenv("SSL_CERT_FILE");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "kith/" PACKAGE_VERSION);
    curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    if (stall_ms > 0) {
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)((stall_ms + 999) / 1000));
    }
    if (ca && *ca)
        curl_easy_setopt(curl, CURLOPT_CAINFO, ca);
    if (loopback) /* no proxy is to see what stays on this machine */
        curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
}

/* ---- what failed ---- */

/* A server may quote the key it does not like. */
static void hide_key(char *words, const char *key)
{
    char *at;
    const size_t n = key ? strlen(key) : 0;
    while (n > 0 && (at = strstr(words, key)) != NULL)
        memset(at, '*', n);
}

rag_err net_fail_transfer(const char *host, CURLcode code, bool *again)
{
    *again = false;
    switch (code) {
    case CURLE_OUT_OF_MEMORY:
    case CURLE_WRITE_ERROR:
        return RAG_FAIL(RAG_ENOMEM, "%s: out of memory", host);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_BAD_CONTENT_ENCODING:
        break;
    default:
        *again = true;
    }
    return RAG_FAIL(RAG_EUNAVAIL, "%s: %s", host, curl_easy_strerror(code));
}

rag_err net_fail_status(const char *host, long status, const char *body, size_t bytes,
                        const struct net_heads *h, const char *key, bool *again)
{
    char words[NET_WORDS_MAX];
    enum net_verdict verdict = net_judge(status, body, bytes);
    net_words(body ? body : "", bytes, words);
    hide_key(words, key);
    if (verdict == NET_AGAIN && strcasecmp(h->should, "false") == 0)
        verdict = NET_REFUSED;
    if (verdict == NET_REFUSED && strcasecmp(h->should, "true") == 0)
        verdict = NET_AGAIN;
    *again = verdict == NET_AGAIN;
    const rag_err err = verdict == NET_AGAIN       ? RAG_EUNAVAIL
                        : verdict == NET_TOO_LARGE ? RAG_ETOOLARGE
                                                   : RAG_EREFUSED;
    if (h->place[0])
        return RAG_FAIL(err, "%s: HTTP %ld: redirects are not followed; this one leads to %s",
                        host, status, h->place);
    return RAG_FAIL(err, "%s: HTTP %ld%s%s%s%s", host, status, *words ? ": " : "", words,
                    h->id[0] ? ", request " : "", h->id);
}

/* ---- patience ---- */

rag_err net_wait(struct net *n, const char *host, int (*on_stop)(void *arg), void *arg)
{
    const struct timespec slice = {0, SLICE_NS};
    const double until = net_gates_until(n->gates, host);
    while (net_now() < until) {
        if (on_stop && on_stop(arg))
            return RAG_FAIL(RAG_ECANCELED, "%s: stopped", host);
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

bool net_shut(struct net *n, const char *host, const struct net_heads *h, unsigned i)
{
    double wait = net_retry_after(h->after_ms[0] ? h->after_ms : NULL,
                                  h->after[0] ? h->after : NULL, time(NULL));
    if (wait > NET_WAIT_MAX)
        return false;
    if (wait < 0)
        wait = net_backoff(i, throw_dice(n));
    net_gates_shut(n->gates, host, net_now() + wait);
    return true;
}
