/* client.h - what requests and downloads share: handles, addresses, headers, refusals, waits.
 *
 * Place: rag/net, within it; it includes curl.h, which nothing outside may. */
#ifndef KITH_RAG_NET_CLIENT_H
#define KITH_RAG_NET_CLIENT_H

#include <curl/curl.h>

#include "rag/net/internal.h"

/* A handle of the client, with the connections it has kept.  NULL: out of memory. */
CURL *net_borrow(struct net *n);
void net_give_back(struct net *n, CURL *curl);

#define NET_HOST_MAX 256

struct net_place {
    char host[NET_HOST_MAX]; /* with the port if the url names one */
    bool loopback, secure;
};

/* RAG_EINVAL: neither http nor https, or with a user name in it. */
rag_err net_read_url(const char *url, struct net_place *p);

/* One more line; *ok false (and left so) when out of memory. */
struct curl_slist *net_put_header(struct curl_slist *list, const char *line, bool *ok);
/* "Authorization: Bearer KEY"; nothing for NULL. */
struct curl_slist *net_put_key(struct curl_slist *list, const char *key, bool *ok);
void net_free_headers(struct curl_slist *list); /* overwritten first */

/* What every transfer is told: TLS checked by the bundle that CURL_CA_BUNDLE or SSL_CERT_FILE
 * names, no redirect followed, no proxy for loopback.  stall_ms 0: none. */
void net_prepare(CURL *curl, const char *url, struct curl_slist *headers, bool loopback,
                 unsigned stall_ms);

#define NET_HEAD_MAX 128

/* The values of headers that matter; longer ones are cut, others "". */
struct net_heads {
    char after[NET_HEAD_MAX], after_ms[NET_HEAD_MAX], should[NET_HEAD_MAX], id[NET_HEAD_MAX];
    char place[NET_HEAD_MAX]; /* where a redirect leads */
    char etag[NET_HEAD_MAX], range[NET_HEAD_MAX], coded[NET_HEAD_MAX];
};

/* One line of a head [n]; a status line forgets those before it. */
void net_heads_line(struct net_heads *h, const char *line, size_t n);

/* The error of an answer [bytes] that was not wanted; key is hidden in its words. */
rag_err net_fail_status(const char *host, long status, const char *body, size_t bytes,
                        const struct net_heads *h, const char *key, bool *again);
/* The error of a transfer that broke; *again false where another try cannot mend it. */
rag_err net_fail_transfer(const char *host, CURLcode code, bool *again);

/* Until requests to host may begin; RAG_ECANCELED if on_stop (NULL: never) says so. */
rag_err net_wait(struct net *n, const char *host, int (*on_stop)(void *arg), void *arg);
/* Before try i + 1: shuts the host's gate.  False if the server asks for more patience than we
 * have. */
bool net_shut(struct net *n, const char *host, const struct net_heads *h, unsigned i);

#endif
