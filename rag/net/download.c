/* download.c - a file over https: followed, resumed, counted, hashed, then named.
 *
 * Place: rag/net; see net.h for what it promises.  Invariant: what lies in the file is what
 * went through the hash, so that a resumed download is checked like one in one piece. */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "ann/io/io.h"
#include "rag/digest.h"
#include "rag/error.h"
#include "rag/net/client.h"

#define TRIES      5
#define STALL_MS   30000
#define REDIRECTS  5
#define NEWS       ((uint64_t)1 << 20) /* so many new bytes, and the tries begin anew */
#define WORDS_MAX  8192
#define BUFFER     262144L
#define TELL_EVERY 0.1 /* seconds */

struct download {
    const struct net_download *d;
    CURL *curl;
    struct net_place to; /* of the present hop */
    struct net_heads heads;
    struct io_target file;
    struct digest_sum sum;
    uint64_t done;           /* bytes in the file and in sum */
    uint64_t most;           /* they ever were */
    uint64_t limit, total;   /* total 0: not known */
    uint64_t from;           /* what this hop asked for begins here; 0: all of it */
    char etag[NET_HEAD_MAX]; /* of what is in the file; "": it cannot be resumed */
    bool pieced;             /* from more than one answer */
    bool begun;              /* this hop's body has */
    bool stopped, over, astray;
    rag_err disk;
    char words[WORDS_MAX]; /* of a refusal */
    size_t nwords;
    double told;
};

static bool asks_to_stop(struct download *f)
{
    const double now = net_now();
    if (f->d->on_progress && !f->stopped && now - f->told >= TELL_EVERY) {
        f->told = now;
        f->stopped = f->d->on_progress(f->d->arg, f->done, f->total) != 0;
    }
    return f->stopped;
}

static int on_stop(void *arg)
{
    return asks_to_stop(arg);
}

static int on_progress(void *arg, curl_off_t dt, curl_off_t dn, curl_off_t ut, curl_off_t un)
{
    (void)dt;
    (void)dn;
    (void)ut;
    (void)un;
    return asks_to_stop(arg);
}

static size_t on_header(char *line, size_t each, size_t count, void *arg)
{
    struct download *f = arg;
    net_heads_line(&f->heads, line, each * count);
    return each * count;
}

/* ---- the body ---- */

static bool is_coded(const struct net_heads *h)
{
    return h->coded[0] && strcasecmp(h->coded, "identity") != 0;
}

/* Only a strong one says that the bytes are the same; a cut one would say it of others. */
static bool is_strong(const char *etag)
{
    const size_t n = strlen(etag);
    return n >= 2 && n < NET_HEAD_MAX - 1 && etag[0] == '"' && etag[n - 1] == '"';
}

/* A 200: what came before is void. */
static bool begin_anew(struct download *f)
{
    f->done = 0;
    f->pieced = false;
    f->etag[0] = '\0';
    digest_begin(&f->sum);
    if (ftruncate(f->file.fd, 0) != 0 || lseek(f->file.fd, 0, SEEK_SET) != 0) {
        f->disk = RAG_FAIL(RAG_EIO, "%s: %s", f->file.temp, strerror(errno));
        return false;
    }
    if (!is_coded(&f->heads) && is_strong(f->heads.etag))
        memcpy(f->etag, f->heads.etag, sizeof f->etag);
    return true;
}

/* The first byte of an answer that may be the file, or its end if it is empty. */
static bool begin(struct download *f, long status)
{
    uint64_t from;
    curl_off_t length = -1;
    f->begun = true;
    if (status == 206) {
        f->astray = is_coded(&f->heads) ||
                    sscanf(f->heads.range, "bytes %" SCNu64 "-", &from) != 1 || from != f->done;
        f->pieced = true;
        if (f->astray)
            return false;
    } else if (!begin_anew(f)) {
        return false;
    }
    curl_easy_getinfo(f->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    if (length < 0 || is_coded(&f->heads))
        return true;
    f->over = (uint64_t)length > f->limit - f->done;
    f->total = f->d->bytes ? f->d->bytes : f->done + (uint64_t)length;
    return !f->over;
}

static size_t on_body(char *data, size_t each, size_t count, void *arg)
{
    struct download *f = arg;
    const size_t n = each * count;
    long status = 0;
    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200 && !(status == 206 && f->from > 0)) {
        const size_t left = WORDS_MAX - f->nwords;
        memcpy(f->words + f->nwords, data, n < left ? n : left);
        f->nwords += n < left ? n : left;
        return f->nwords < WORDS_MAX ? n : 0; /* some refusals have no end */
    }
    if (!f->begun && !begin(f, status))
        return 0;
    f->over = n > f->limit - f->done;
    if (f->over)
        return 0;
    f->disk = rag_from_base(io_write_fd(f->file.fd, f->file.temp, data, n));
    if (f->disk)
        return 0;
    digest_add(&f->sum, data, n);
    f->done += n;
    return n;
}

/* ---- one hop ---- */

static struct curl_slist *make_headers(struct download *f, const char *key, bool *ok)
{
    struct curl_slist *list = NULL;
    char line[NET_HEAD_MAX + 16];
    *ok = true;
    if (f->from > 0) {
        snprintf(line, sizeof line, "If-Range: %s", f->etag);
        list = net_put_header(list, line, ok);
        list = net_put_header(list, "Accept-Encoding: identity", ok);
    }
    return net_put_key(list, key, ok);
}

static CURLcode perform(struct download *f, const char *url, const char *key)
{
    bool ok;
    char range[32];
    CURL *c = f->curl;
    f->from = f->etag[0] ? f->done : 0;
    f->heads = (struct net_heads){0};
    f->begun = f->over = f->astray = false;
    f->nwords = 0;
    struct curl_slist *headers = make_headers(f, key, &ok);
    CURLcode code = CURLE_OUT_OF_MEMORY;
    if (ok) {
        curl_easy_reset(c);
        net_prepare(c, url, headers, f->to.loopback,
                    f->d->stall_ms ? f->d->stall_ms : STALL_MS);
        if (f->from > 0) {
            snprintf(range, sizeof range, "%" PRIu64 "-", f->from);
            curl_easy_setopt(c, CURLOPT_RANGE, range);
            curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, NULL);
        }
        curl_easy_setopt(c, CURLOPT_BUFFERSIZE, BUFFER);
        curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(c, CURLOPT_WRITEDATA, f);
        curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(c, CURLOPT_HEADERDATA, f);
        curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
        curl_easy_setopt(c, CURLOPT_XFERINFODATA, f);
        curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
        code = curl_easy_perform(c);
        curl_easy_setopt(c, CURLOPT_HTTPHEADER, NULL);
    }
    net_free_headers(headers);
    return code;
}

/* The body is in the file: is it the file? */
static rag_err check_whole(struct download *f, bool *again)
{
    const struct net_download *d = f->d;
    char hex[2 * DIGEST_BYTES + 1];
    curl_off_t length = -1;
    curl_easy_getinfo(f->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    *again = d->bytes > 0 && f->done < d->bytes && length < 0; /* the end was a broken line */
    if (*again)
        return RAG_FAIL(RAG_EUNAVAIL,
                        "%s: the answer ended after %" PRIu64 " of %" PRIu64 " bytes",
                        f->to.host, f->done, d->bytes);
    const struct digest sum = digest_end(&f->sum);
    digest_hex(&sum, DIGEST_BYTES, hex);
    if (strcasecmp(hex, d->sha256) == 0)
        return RAG_OK;
    *again = f->pieced; /* pieces of two files */
    f->etag[0] = '\0';
    return RAG_FAIL(RAG_EDAMAGED,
                    "%s: %" PRIu64 " bytes came whose sha256 is %s, not the %s that is pinned",
                    f->to.host, f->done, hex, d->sha256);
}

static bool is_redirect(long status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* What came of a hop; *next is where a redirect leads, to be freed. */
static rag_err judge(struct download *f, CURLcode code, char **next, bool *again)
{
    long status = 0;
    const char *place = NULL;
    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
    *again = false;
    if (f->disk)
        return f->disk;
    if (f->stopped)
        return RAG_FAIL(RAG_ECANCELED, "%s: stopped", f->to.host);
    if (f->from > 0 && status == 206 && code == CURLE_OK && !f->begun)
        (void)begin(f, status);
    if (status == 200 && code == CURLE_OK && !f->begun && !begin(f, status) && f->disk)
        return f->disk;
    if (f->over)
        return RAG_FAIL(RAG_ELIMIT, "%s: the file is longer than %" PRIu64 " bytes", f->to.host,
                        f->limit);
    if (f->astray || (f->from > 0 && status == 416)) {
        *again = true;
        f->etag[0] = '\0';
        return RAG_FAIL(RAG_EUNAVAIL, "%s: the rest came from another place of the file",
                        f->to.host);
    }
    if (code != CURLE_OK && f->nwords < WORDS_MAX)
        return net_fail_transfer(f->to.host, code, again);
    if (f->begun)
        return check_whole(f, again);
    if (is_redirect(status))
        curl_easy_getinfo(f->curl, CURLINFO_REDIRECT_URL, &place);
    if (!place)
        return net_fail_status(f->to.host, status, f->words, f->nwords, &f->heads, f->d->key,
                               again);
    *next = mem_strdup(place);
    return *next ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "%s: out of memory", f->to.host);
}

/* ---- hops, tries ---- */

/* Whether a download may go to url, from f->to if `led`; sets f->to. */
static rag_err go_to(struct download *f, const char *url, bool led)
{
    struct net_place to;
    const rag_err err = net_read_url(url, &to);
    if (err == RAG_EINVAL && led) /* without the words of whoever led here */
        return RAG_FAIL(RAG_EREFUSED, "%s: a redirect to what is no address of a file",
                        f->to.host);
    if (err)
        return err;
    if (!to.secure && (!to.loopback || (led && f->to.secure)))
        return RAG_FAIL(led ? RAG_EREFUSED : RAG_EINVAL,
                        led ? "%s: a redirect to plain http is not followed"
                            : "%s: files are fetched over https only",
                        to.host);
    f->to = to;
    return RAG_OK;
}

/* From d->url through all redirects. */
static rag_err fetch(struct net *n, struct download *f, bool *again)
{
    char *url = NULL, *next = NULL;
    const char *key = f->d->key;
    rag_err err = go_to(f, f->d->url, false);
    *again = false;
    for (unsigned hop = 0; !err; hop++) {
        err = net_wait(n, f->to.host, on_stop, f);
        if (err)
            break;
        const CURLcode code = perform(f, url ? url : f->d->url, key);
        err = judge(f, code, &next, again);
        if (err || !next)
            break;
        mem_free(url);
        url = next;
        next = NULL;
        char before[NET_HOST_MAX];
        memcpy(before, f->to.host, sizeof before);
        if (hop == REDIRECTS)
            err = RAG_FAIL(RAG_EREFUSED, "%s: more than %d redirects", f->to.host, REDIRECTS);
        else
            err = go_to(f, url, true);
        if (!err && strcasecmp(before, f->to.host) != 0)
            key = NULL; /* for good: who leads away may lead back */
    }
    mem_free(url);
    return err;
}

static rag_err fetch_patiently(struct net *n, struct download *f)
{
    const unsigned tries = f->d->tries ? f->d->tries : TRIES;
    for (unsigned fails = 0;;) {
        bool again;
        rag_err err = fetch(n, f, &again);
        if (err && again && f->d->bytes && f->done == f->d->bytes)
            err = check_whole(f, &again); /* all there; what broke came after it */
        if (!err || !again)
            return err;
        fails = f->done >= f->most + NEWS ? 1 : fails + 1;
        f->most = f->done > f->most ? f->done : f->most;
        if (fails >= tries)
            return err;
        if (!net_shut(n, f->to.host, &f->heads, fails))
            return rag_prefix(err, "the server asks for a longer wait than two minutes");
    }
}

static rag_err check_wish(const struct net_download *d)
{
    const size_t digits = strspn(d->sha256, "0123456789abcdefABCDEF");
    if (digits != 2 * (size_t)DIGEST_BYTES || d->sha256[digits])
        return RAG_FAIL(RAG_EINVAL, "\"%.80s\" is not a sha256 of 64 hexadecimal digits",
                        d->sha256);
    if (d->key && strpbrk(d->key, "\r\n"))
        return RAG_FAIL(RAG_EINVAL, "the token for a download holds a line break");
    if (d->bytes == 0 && d->max_bytes == 0)
        return RAG_FAIL(RAG_EINVAL, "a download without a limit");
    return RAG_OK;
}

rag_err net_download(struct net *n, const struct net_download *d)
{
    rag_err err = check_wish(d);
    struct download *f = err ? NULL : mem_zalloc(1, sizeof *f);
    if (!f)
        return err ? err : RAG_FAIL(RAG_ENOMEM, "out of memory: %zu bytes", sizeof *f);
    f->d = d;
    f->limit = d->bytes ? d->bytes : d->max_bytes;
    f->total = d->bytes;
    digest_begin(&f->sum);
    err = go_to(f, d->url, false); /* before anything is made */
    if (!err)
        err = rag_from_base(io_target_open(d->path, &f->file));
    if (err)
        goto done;
    if (!f->file.temp)
        err = RAG_FAIL(RAG_EINVAL, "%s is not a file", d->path);
    f->curl = err ? NULL : net_borrow(n);
    if (!err && !f->curl)
        err = RAG_FAIL(RAG_ENOMEM, "%s: out of memory", f->to.host);
    if (!err)
        err = fetch_patiently(n, f);
    if (f->curl)
        net_give_back(n, f->curl);
    if (!err)
        err = rag_from_base(io_target_commit(&f->file));
    else
        io_target_drop(&f->file);
    if (!err && d->on_progress)
        (void)d->on_progress(d->arg, f->done, f->done);
done:
    mem_free(f);
    return err;
}
