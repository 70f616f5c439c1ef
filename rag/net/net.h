/* net.h - one HTTP request with retries, caps and streaming; a file fetched and checked.
 *
 * Place: rag/net, above base; the only folder that includes curl.h.
 * Invariants: a request follows no redirect; TLS is checked; a key goes over plain http to
 * loopback alone, and never into a message; bytes are counted after decompression and stop at
 * the cap; a permanent refusal is not tried again. */
#ifndef KITH_RAG_NET_H
#define KITH_RAG_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rag/rag.h>

/* A client: its connections, and a gate per host, so that all of its requests to a host that
 * said "wait" pause together.  Any number of threads. */
struct net;

rag_err net_open(struct net **out);
void net_close(struct net *n); /* NULL is allowed */

struct net_request {
    const char *url;
    const char *key;            /* bearer token, NULL: none */
    const char *const *headers; /* more "Name: value", NULL-terminated; NULL: none */
    const char *body;           /* [bytes] JSON to POST; NULL: GET */
    size_t bytes;
    size_t max_bytes;    /* of the answer, after decompression */
    unsigned tries;      /* 1 + retries; 0: 3 */
    unsigned timeout_ms; /* of the whole request; 0: none (streaming) */
    unsigned stall_ms;   /* without a byte; 0: none */
    /* Streaming: each piece of a 200 answer as it comes; non-zero stops with RAG_ECANCELED.
     * What on_data has seen is never sent again: no retry after it.  NULL: the answer is kept.
     */
    int (*on_data)(void *arg, const char *data, size_t bytes);
    void *arg;
    /* Asked about once a second, more often while waiting to retry; non-zero stops with
     * RAG_ECANCELED.  NULL: never. */
    int (*on_stop)(void *arg);
    void *stop_arg;
};

struct net_answer {
    long status; /* HTTP; 0: none came */
    char *body;  /* [bytes] and a NUL; NULL when streamed */
    size_t bytes;
    char type[64];  /* Content-Type without parameters, lower case */
    bool permanent; /* an error that another try cannot mend */
};

/* RAG_OK for 200; else the error says host, status and the server's own words (any of the error
 * bodies of OpenAI, llama.cpp, TEI, Ollama, Cohere, FastAPI; else the first 300 bytes, with
 * controls made visible).  RAG_EREFUSED for 4xx but 408, 409, 425 and 429, a 429 for want of
 * money, 501, and llama.cpp's permanent 500s; RAG_ETOOLARGE where a 400, 413, 422 or 500 says
 * that the input is too large or too long; RAG_EUNAVAIL after the last try; RAG_ELIMIT beyond
 * max_bytes.  `a` is filled in either case; net_answer_free it. */
rag_err net_send(struct net *n, const struct net_request *r, struct net_answer *a);
void net_answer_free(struct net_answer *a);

/* A file to fetch (download.c).  Redirects are followed here, at most five, to https or to
 * http on loopback, never from https to http; `key` goes to the host of url alone and not again
 * once a redirect has led away from it. */
struct net_download {
    const char *url;    /* https, or http on loopback */
    const char *path;   /* of the file; its folder exists */
    const char *sha256; /* of the file, 64 hexadecimal digits */
    const char *key;    /* bearer token, NULL: none */
    uint64_t bytes;     /* of the file; 0: not known */
    uint64_t max_bytes; /* of the file where `bytes` is 0 */
    unsigned tries;     /* in a row that bring nothing new; 0: 5 */
    unsigned stall_ms;  /* without a byte; 0: 30000 */
    /* Bytes so far and of all (0: not known), ten times a second at most; non-zero stops with
     * RAG_ECANCELED.  NULL: none. */
    int (*on_progress)(void *arg, uint64_t done, uint64_t total);
    void *arg;
};

/* Fetches d->url to a file beside d->path ("PATH.tmp-PID-N") that gets its name only when size
 * and hash are right; whatever fails, path is as before and no file is left beside it.  What
 * broke off goes on where it was if the server can do that, and anew if not.  RAG_EDAMAGED:
 * other bytes than those of sha256; RAG_ELIMIT: more of them than allowed, counted after
 * decompression; RAG_EREFUSED, RAG_EUNAVAIL as net_send; RAG_EIO: the disk. */
rag_err net_download(struct net *n, const struct net_download *d);

/* What an answer other than 200 means (refusal.c), also one told of inside a stream. */
enum net_verdict {
    NET_AGAIN,    /* another try may help */
    NET_REFUSED,  /* none will */
    NET_TOO_LARGE /* nor will one, but smaller inputs will */
};

#define NET_WORDS_MAX 301

/* The server's own words in an error's body, controls shown as "\xNN", at most 300 bytes. */
void net_words(const char *body, size_t bytes, char words[NET_WORDS_MAX]);
enum net_verdict net_judge(long status, const char *body, size_t bytes);

/* True for 127.0.0.0/8, ::1 and localhost in url. */
bool net_is_loopback(const char *url);

#endif
