/* chat.c - asks a chat model, and takes its answer as it comes.  See answer.h.
 *
 * Place: rag/answer, over rag/net.  The shape is that of OpenAI's chat completions, which
 * llama.cpp, Ollama and vLLM share.  Whether a stream came or one JSON document is seen from
 * the first byte, for Content-Type is known only at the end, and some servers say the wrong
 * one: no event stream begins with a brace.  Invariants: what came stays in the answer,
 * whatever fails later; no message holds the key or a control character. */
#include <config.h>

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/memory.h"
#include "ann/io/json.h"
#include "rag/answer/answer.h"
#include "rag/answer/growing.h"
#include "rag/error.h"
#include "rag/net/net.h"
#include "rag/net/sse.h"
#include "rag/text/text.h"

#define ANSWER_MAX ((size_t)16 << 20)  /* of text, and of an answer in one document */
#define STREAM_MAX ((size_t)256 << 20) /* of events: each wraps a few bytes in hundreds */
/* A server may load a model before the first byte, and be silent while it reads the prompt. */
#define STALL_STREAM_MS 300000u
#define STALL_WHOLE_MS  1800000u

static char nothing[1]; /* the text where there is no memory even for none */

/* ---- the request ---- */

static void put_message(struct js_out *o, const char *role, const char *content)
{
    js_open(o, NULL, '{');
    js_put_string(o, "role", role);
    js_put_string(o, "content", content);
    js_shut(o, '}');
}

/* The settings come before the messages: see rename_limit. */
static void put_request(struct js_out *o, const struct chat_model *m, const char *system,
                        const char *user)
{
    js_open(o, NULL, '{');
    js_put_string(o, "model", m->model);
    js_put_bool(o, "stream", m->stream);
    if (m->stream) {
        js_open(o, "stream_options", '{');
        js_put_bool(o, "include_usage", true);
        js_shut(o, '}');
    }
    if (m->max_tokens > 0)
        js_put_u64(o, "max_tokens", m->max_tokens);
    if (m->temperature >= 0)
        js_put_double(o, "temperature", m->temperature);
    js_open(o, "messages", '[');
    if (system && *system)
        put_message(o, m->system_role ? m->system_role : "system", system);
    put_message(o, "user", user);
    js_shut(o, ']');
    js_shut(o, '}');
}

rag_err chat_body(const struct chat_model *m, const char *system, const char *user, char **body,
                  size_t *bytes)
{
    struct js_out o = JS_OUT_INIT;
    /* the writer would replace what is not UTF-8: the prompt is sent as it is, or not at all */
    if (!text_is_utf8(user, strlen(user)))
        return RAG_FAIL(RAG_EINVAL, "the prompt of %zu bytes is not UTF-8", strlen(user));
    if (m->temperature > DBL_MAX)
        return RAG_FAIL(RAG_EINVAL, "temperature %g is not finite", m->temperature);
    put_request(&o, m, system, user);
    char *copy = o.failed ? NULL : mem_alloc(o.bytes + 1);
    if (copy) {
        memcpy(copy, o.text, o.bytes);
        copy[o.bytes] = '\0';
        *body = copy;
        *bytes = o.bytes;
    }
    js_out_free(&o);
    return copy ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for a request");
}

/* ---- an answer on its way ---- */

enum form { UNKNOWN, STREAM, WHOLE };

struct taking {
    const struct chat_model *m;
    const struct chat_sending *how;
    struct chat_answer *out;
    char host[256]; /* to name in errors */
    enum form form;
    struct sse sse;
    struct growing text, whole;
    bool finished, done; /* a finish_reason came; [DONE] came */
    bool any;            /* an event came */
    rag_err err;         /* of what came, with `note` */
    struct error_note note;
};

static void name_host(const char *url, char *host, size_t room)
{
    const char *at = strstr(url, "://");
    at = at ? at + 3 : url;
    snprintf(host, room, "%.*s", (int)strcspn(at, "/?#"), at);
}

static void hide_key(char *words, const char *key)
{
    char *at;
    const size_t n = key ? strlen(key) : 0;
    while (n > 0 && (at = strstr(words, key)) != NULL)
        memset(at, '*', n);
}

/* A short word of the server's, to be shown: controls become '?', no half character ends it. */
static void keep_word(char *to, size_t room, const char *s)
{
    size_t n = strlen(s);
    if (n >= room) {
        n = room - 1;
        while (n > 0 && ((unsigned char)s[n] & 0xC0) == 0x80)
            n--;
    }
    for (size_t i = 0; i < n; i++)
        to[i] = (char)((unsigned char)s[i] < 0x20 || s[i] == 0x7F ? '?' : s[i]);
    to[n] = '\0';
}

/* ---- errors in a 200 ---- */

/* The number a server calls an error by, 0 if by none. */
static long code_of(const struct js *error)
{
    uint64_t code = 0;
    const struct js *v = js_get(error, "code");
    const char *digits = js_string(v, NULL);
    if (digits)
        code = strtoul(digits, NULL, 10);
    else if (!js_u64(v, &code))
        return 0;
    return code < 1000 ? (long)code : 0;
}

/* What the text in `data` has failed with: it holds an error object.  What is too large by now
 * is refused like the rest: part of the answer is out, and less input would begin anew. */
static rag_err fail_inside(const struct taking *t, const struct js *error, const char *data,
                           size_t bytes)
{
    char words[NET_WORDS_MAX];
    const long code = code_of(error);
    const enum net_verdict verdict = net_judge(code, data, bytes);
    const bool passing = (code == 429 || code >= 500) && verdict == NET_AGAIN;
    char *copy = mem_alloc(bytes + 1);
    if (!copy)
        return RAG_FAIL(RAG_ENOMEM, "%s: out of memory", t->host);
    memcpy(copy, data, bytes);
    copy[bytes] = '\0';
    hide_key(copy, t->m->key); /* before the words are cut, and the key in two */
    net_words(copy, bytes, words);
    mem_free(copy);
    return RAG_FAIL(passing ? RAG_EUNAVAIL : RAG_EREFUSED, "%s: an error with status 200: %s",
                    t->host, words);
}

/* The error a document tells of, or NULL. */
static const struct js *error_in(const struct js *document)
{
    const struct js *error = js_get(document, "error");
    if (error && js_kind(error) != JS_NULL)
        return error;
    return strcmp(js_string(js_get(document, "object"), ""), "error") == 0 ? document : NULL;
}

/* ---- pieces ---- */

static rag_err take_text(struct taking *t, const char *s)
{
    const size_t n = strlen(s);
    if (n == 0)
        return RAG_OK;
    if (n > ANSWER_MAX - t->text.bytes)
        return RAG_FAIL(RAG_ELIMIT, "%s: the answer is longer than %zu bytes", t->host,
                        ANSWER_MAX);
    if (!growing_put(&t->text, s, n))
        return RAG_FAIL(RAG_ENOMEM, "%s: out of memory for an answer of %zu bytes", t->host,
                        t->text.bytes + n);
    if (t->how->on_text && t->how->on_text(t->how->arg, s, n) != 0)
        return RAG_FAIL(RAG_ECANCELED, "%s: stopped", t->host);
    return RAG_OK;
}

/* The text of a delta or message: a string, or parts of which those of text count. */
static rag_err take_piece(struct taking *t, const struct js *piece)
{
    const struct js *content = js_get(piece, "content");
    rag_err err = take_text(t, js_string(content, ""));
    for (size_t i = 0; js_kind(content) == JS_ARRAY && i < js_count(content) && !err; i++)
        err = take_text(t, js_string(js_get(js_at(content, i), "text"), ""));
    return err ? err : take_text(t, js_string(js_get(piece, "refusal"), ""));
}

static rag_err take_choice(struct taking *t, const struct js *choice)
{
    const struct js *piece = js_get(choice, "delta");
    uint64_t index = 0;
    if (js_u64(js_get(choice, "index"), &index) && index > 0)
        return RAG_OK; /* one answer was asked for */
    if (js_kind(piece) != JS_OBJECT && t->text.bytes == 0)
        piece = js_get(choice, "message");
    const rag_err err = take_piece(t, piece);
    const char *finish = js_string(js_get(choice, "finish_reason"), "");
    if (*finish) {
        keep_word(t->out->finish, sizeof t->out->finish, finish);
        t->finished = true;
    }
    return err;
}

/* A chunk of a stream, or a whole answer. */
static rag_err take_document(struct taking *t, const char *data, size_t bytes)
{
    struct js *document = NULL;
    rag_err err = rag_from_base(js_parse(t->host, data, bytes, 0, &document));
    if (err)
        return rag_prefix(err == RAG_ENOMEM ? err : RAG_EFORMAT, "the answer is no JSON");
    const struct js *error = error_in(document);
    const struct js *choices = js_get(document, "choices");
    const struct js *usage = js_get(document, "usage");
    const char *model = js_string(js_get(document, "model"), "");
    (void)js_u64(js_get(usage, "prompt_tokens"), &t->out->prompt_tokens);
    (void)js_u64(js_get(usage, "completion_tokens"), &t->out->completion_tokens);
    if (*model)
        keep_word(t->out->model, sizeof t->out->model, model);
    if (error)
        err = fail_inside(t, error, data, bytes);
    else if (t->form == WHOLE && js_count(choices) == 0)
        err = RAG_FAIL(RAG_EFORMAT, "%s: the answer holds no choices", t->host);
    else
        err = take_choice(t, js_at(choices, 0));
    js_free(document);
    return err;
}

static rag_err on_event(void *arg, const char *data, size_t bytes)
{
    struct taking *t = arg;
    while (bytes > 0 && text_blank(*data)) {
        data++;
        bytes--;
    }
    while (bytes > 0 && text_blank(data[bytes - 1]))
        bytes--;
    if (bytes == 0 || t->done)
        return RAG_OK;
    t->any = true;
    t->done = bytes == 6 && memcmp(data, "[DONE]", 6) == 0;
    return t->done ? RAG_OK : take_document(t, data, bytes);
}

static rag_err take_bytes(struct taking *t, const char *data, size_t bytes)
{
    size_t at = 0;
    if (t->form == UNKNOWN) {
        while (at < bytes && text_blank(data[at]))
            at++;
        if (at == bytes)
            return RAG_OK;
        t->form = data[at] == '{' ? WHOLE : STREAM;
    }
    if (t->form == STREAM)
        return sse_feed(&t->sse, data, bytes, on_event, t);
    if (bytes > ANSWER_MAX - t->whole.bytes)
        return RAG_FAIL(RAG_ELIMIT, "%s: the answer is longer than %zu bytes", t->host,
                        ANSWER_MAX);
    return growing_put(&t->whole, data, bytes)
               ? RAG_OK
               : RAG_FAIL(RAG_ENOMEM, "%s: out of memory", t->host);
}

/* ---- sending ---- */

static int on_data(void *arg, const char *data, size_t bytes)
{
    struct taking *t = arg;
    t->err = take_bytes(t, data, bytes);
    if (t->err)
        error_take(&t->note, (ann_err)t->err);
    return t->err != RAG_OK;
}

/* After [DONE] nothing is waited for: some servers keep the connection open. */
static int on_stop(void *arg)
{
    const struct taking *t = arg;
    return t->done || (t->how->on_stop && t->how->on_stop(t->how->stop_arg) != 0);
}

/* Whether `word` stands in the text, and is not the beginning of a longer name. */
static bool says(const char *text, size_t bytes, const char *word)
{
    const size_t n = strlen(word);
    for (size_t i = 0; i + n <= bytes; i++)
        if (memcmp(text + i, word, n) == 0 && (i + n == bytes || text[i + n] != '_'))
            return true;
    return false;
}

/* Body with max_completion_tokens for max_tokens, or NULL if it has none (or no memory is
 * left).  The name with its quotes and colon is found in no string, where quotes are escaped.
 */
static char *rename_limit(const char *body, size_t bytes, size_t *out_bytes)
{
    static const char old[] = "\"max_tokens\":", new[] = "\"max_completion_tokens\":";
    struct growing g = {0};
    for (size_t i = 1; i + sizeof old - 1 <= bytes; i++) {
        if (memcmp(body + i, old, sizeof old - 1) != 0 ||
            (body[i - 1] != ',' && body[i - 1] != '{'))
            continue;
        growing_put(&g, body, i);
        growing_puts(&g, new);
        growing_put(&g, body + i + sizeof old - 1, bytes - i - (sizeof old - 1));
        if (g.failed)
            growing_free(&g);
        *out_bytes = g.bytes;
        return g.text;
    }
    return NULL;
}

/* What the transfer's end means: err is what net_send said. */
static rag_err judge_end(struct taking *t, const struct net_answer *a, rag_err err)
{
    if (t->err)
        return rag_from_base(error_put(&t->note));
    if (t->done)
        return RAG_OK;
    if (err)
        return err;
    if (t->form == WHOLE)
        return take_document(t, t->whole.text, t->whole.bytes);
    if (t->finished)
        return RAG_OK;
    if (!t->any && a->type[0] && strcmp(a->type, "text/event-stream") != 0)
        return RAG_FAIL(RAG_EFORMAT, "%s: the answer is %s, neither a stream nor a JSON object",
                        t->host, a->type);
    return RAG_FAIL(RAG_EUNAVAIL, "%s: the answer broke off after %zu bytes", t->host,
                    t->text.bytes);
}

static rag_err send_once(struct net *n, struct taking *t, const char *body, size_t bytes,
                         bool *other_name)
{
    struct net_answer a;
    struct net_request r = {.url = t->m->url,
                            .key = t->m->key,
                            .body = body,
                            .bytes = bytes,
                            .tries = t->how->tries,
                            .max_bytes = t->m->stream ? STREAM_MAX : ANSWER_MAX,
                            .stall_ms = t->how->stall_ms ? t->how->stall_ms
                                        : t->m->stream   ? STALL_STREAM_MS
                                                         : STALL_WHOLE_MS,
                            .on_data = t->m->stream ? on_data : NULL,
                            .arg = t,
                            .on_stop = on_stop,
                            .stop_arg = t};
    rag_err err = net_send(n, &r, &a);
    *other_name = err && a.status == 400 && a.body && says(a.body, a.bytes, "max_tokens");
    if (!err && a.body && a.bytes > 0) /* not streamed: nothing was shown, and it was retried */
        (void)on_data(t, a.body, a.bytes);
    err = judge_end(t, &a, err);
    net_answer_free(&a);
    return err;
}

/* Takes key and controls out of this thread's message, wherever it came from. */
static rag_err clean_message(rag_err err, const char *key)
{
    struct error_note note;
    error_take(&note, (ann_err)err);
    hide_key(note.text, key);
    for (char *c = note.text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F)
            *c = '?';
    return rag_from_base(error_put(&note));
}

rag_err chat_send(struct net *n, const struct chat_model *m, const char *body, size_t bytes,
                  const struct chat_sending *how, struct chat_answer *out)
{
    static const struct chat_sending plain = {0};
    struct taking t = {.m = m, .how = how ? how : &plain, .out = out, .sse = SSE_INIT};
    bool other_name = false;
    *out = (struct chat_answer){.text = nothing};
    if (!growing_put(&t.text, "", 0))
        return RAG_FAIL(RAG_ENOMEM, "out of memory for an answer");
    name_host(m->url, t.host, sizeof t.host);
    rag_err err = send_once(n, &t, body, bytes, &other_name);
    if (other_name) {
        size_t renamed_bytes;
        char *renamed = rename_limit(body, bytes, &renamed_bytes);
        if (renamed)
            err = send_once(n, &t, renamed, renamed_bytes, &other_name);
        mem_free(renamed);
    }
    if (err)
        err = clean_message(err, m->key);
    out->text = t.text.text;
    out->bytes = t.text.bytes;
    sse_free(&t.sse);
    growing_free(&t.whole);
    return err;
}

void chat_answer_free(struct chat_answer *a)
{
    if (a->text != nothing)
        mem_free(a->text);
    *a = (struct chat_answer){0};
}
