/* request.c - a request through libcurl: checked, capped, tried again where that may help.
 *
 * Place: rag/net; see net.h for what it promises. */
#include <config.h>

#include <ctype.h>
#include <string.h>

#include "ann/base/memory.h"
#include "rag/error.h"
#include "rag/net/client.h"

#define TRIES          3
#define ERROR_BODY_MAX ((size_t)64 << 10)

/* One try of a request. */
struct transfer {
    const struct net_request *r;
    CURL *curl;
    struct net_answer *a;
    size_t seen;        /* bytes of a 200, decompressed */
    bool over, stopped; /* the cap was passed; a callback said stop */
    bool handed;        /* on_data has seen something: no second try */
    struct net_heads heads;
    struct net_place to;
};

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

static size_t on_header(char *line, size_t each, size_t count, void *arg)
{
    struct transfer *t = arg;
    net_heads_line(&t->heads, line, each * count);
    return each * count;
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

static struct curl_slist *make_headers(const struct net_request *r, bool *ok)
{
    struct curl_slist *list = NULL;
    *ok = true;
    if (r->body)
        list = net_put_header(list, "Content-Type: application/json", ok);
    list = net_put_header(list, "Expect:", ok); /* a round trip for nothing */
    for (const char *const *h = r->headers; h && *h; h++)
        list = net_put_header(list, *h, ok);
    return net_put_key(list, r->key, ok);
}

static void set_up(struct transfer *t, struct curl_slist *headers)
{
    CURL *c = t->curl;
    const struct net_request *r = t->r;
    net_prepare(c, r->url, headers, t->to.loopback, r->stall_ms);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
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

static CURLcode perform(struct transfer *t)
{
    bool ok;
    struct curl_slist *headers = make_headers(t->r, &ok);
    CURLcode code = CURLE_OUT_OF_MEMORY;
    t->a->bytes = 0;
    t->seen = 0;
    t->heads = (struct net_heads){0};
    if (ok) {
        set_up(t, headers);
        code = curl_easy_perform(t->curl);
        curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &t->a->status);
        keep_type(t);
        curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, NULL);
    }
    net_free_headers(headers);
    return code;
}

/* ---- what it means ---- */

static rag_err fail_transport(const struct transfer *t, CURLcode code, bool *again)
{
    *again = false;
    if (t->stopped)
        return RAG_FAIL(RAG_ECANCELED, "%s: stopped", t->to.host);
    if (t->over)
        return RAG_FAIL(RAG_ELIMIT, "%s: the answer is longer than %zu bytes", t->to.host,
                        t->r->max_bytes);
    const rag_err err = net_fail_transfer(t->to.host, code, again);
    *again = *again && !t->handed;
    return err;
}

static rag_err try_all(struct net *n, struct transfer *t)
{
    const unsigned tries = t->r->tries ? t->r->tries : TRIES;
    const struct net_answer *a = t->a;
    rag_err err = RAG_OK;
    for (unsigned i = 1;; i++) {
        bool again = false;
        err = net_wait(n, t->to.host, t->r->on_stop, t->r->stop_arg);
        if (err)
            return err;
        const CURLcode code = perform(t);
        if (code == CURLE_OK && a->status == 200)
            return RAG_OK;
        err = code != CURLE_OK ? fail_transport(t, code, &again)
                               : net_fail_status(t->to.host, a->status, a->body, a->bytes,
                                                 &t->heads, t->r->key, &again);
        t->a->permanent = !again && err != RAG_ECANCELED;
        if (!again || i >= tries)
            return err;
        if (net_shut(n, t->to.host, &t->heads, i))
            continue;
        t->a->permanent = true;
        return rag_prefix(err, "the server asks for a longer wait than two minutes");
    }
}

rag_err net_send(struct net *n, const struct net_request *r, struct net_answer *a)
{
    *a = (struct net_answer){0};
    struct transfer t = {.r = r, .a = a};
    rag_err err = net_read_url(r->url, &t.to);
    if (!err && r->key && !t.to.secure && !t.to.loopback)
        err =
            RAG_FAIL(RAG_EINVAL, "%s: a key is not sent over plain http; use https", t.to.host);
    if (err)
        return err;
    t.curl = net_borrow(n);
    if (!t.curl)
        return RAG_FAIL(RAG_ENOMEM, "%s: out of memory", t.to.host);
    err = try_all(n, &t);
    net_give_back(n, t.curl);
    return err;
}

void net_answer_free(struct net_answer *a)
{
    mem_free(a->body);
    *a = (struct net_answer){0};
}
