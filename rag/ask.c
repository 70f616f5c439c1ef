/* ask.c - a question, its sources, the model's answer, and what of it is cited.
 *
 * Place: rag.  Invariant: the numbers in an answer are those of the sources that were sent;
 * the question is sent as it came. */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "ann/base/memory.h"
#include "rag/answer/answer.h"
#include "rag/embed/remote.h"
#include "rag/internal.h"

#define JOIN_GAP 8 /* bytes between two chunks of a document that are one passage */

struct asking {
    struct rag_store *s;
    const char *question;
    rag_ask_params p;
    char *url, *key, *model; /* of the chat model; model NULL: none */
    char *system;            /* kept for a model of the caller's own */
    rag_answer *a;
};

/* ---- which model ---- */

static const char *setting(const struct rag_store *s, const char *name)
{
    return s->o.setting ? s->o.setting(s->o.setting_arg, name) : NULL;
}

static const struct {
    const char *scheme, *base, *otherwise, *key, *tail;
} kinds[] = {
    {"openai:", "openai.base_url", "https://api.openai.com/v1", "openai.api_key",
     "/chat/completions"},
    {"ollama:", "ollama.host", "http://127.0.0.1:11434", NULL, "/v1/chat/completions"},
    {"llamacpp:", NULL, NULL, "llamacpp.api_key", "/v1/chat/completions"},
    {"http", NULL, NULL, "api_key", "/chat/completions"},
};

/* The part of uri that is an address, and its "#model". */
static rag_err split_uri(struct asking *q, const char *uri, const char *tail)
{
    const char *sign = strchr(uri, '#');
    const size_t bytes = sign ? (size_t)(sign - uri) : strlen(uri);
    if (bytes == 0)
        return RAG_FAIL(RAG_EINVAL, "chat model \"%s\" has no address", uri);
    q->url = remote_join(uri, bytes, tail);
    q->model = mem_strdup(sign && sign[1] ? sign + 1 : "default");
    return q->url && q->model ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory");
}

static rag_err choose_model(struct asking *q)
{
    const char *uri = q->p.model ? q->p.model : setting(q->s, "chat.model");
    if (!uri || !*uri)
        return RAG_OK;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strncmp(uri, kinds[i].scheme, strlen(kinds[i].scheme)) != 0)
            continue;
        const char *key = kinds[i].key ? setting(q->s, kinds[i].key) : NULL;
        q->key = key && *key ? mem_strdup(key) : NULL;
        if (!kinds[i].base)
            return split_uri(q, *kinds[i].scheme == 'h' ? uri : uri + strlen("llamacpp:"),
                             kinds[i].tail);
        const char *base = setting(q->s, kinds[i].base), *name = strchr(uri, ':') + 1;
        base = base && *base ? base : kinds[i].otherwise;
        if (!*name)
            return RAG_FAIL(RAG_EINVAL, "chat model \"%s\" has no name", uri);
        q->url = remote_join(base, strlen(base), kinds[i].tail);
        q->model = mem_strdup(name);
        return q->url && q->model ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory");
    }
    return RAG_FAIL(RAG_EINVAL,
                    "chat model \"%s\" is none of openai:NAME, ollama:NAME, "
                    "llamacpp:URL[#NAME], URL#NAME",
                    uri);
}

/* ---- passages ---- */

static bool adjoin(const rag_hit *a, const rag_hit *b)
{
    return strcmp(a->source, b->source) == 0 && a->page == b->page &&
           a->start <= b->end + JOIN_GAP && b->start <= a->end + JOIN_GAP;
}

/* a becomes the passage of both, cut from the document. */
static rag_err join_two(struct rag_store *s, rag_hit *a, const rag_hit *b)
{
    struct store_document d = {0};
    rag_err err = store_document_find(s->store, a->source, true, &d);
    const uint64_t start = a->start < b->start ? a->start : b->start;
    const uint64_t end = a->end > b->end ? a->end : b->end;
    if (!err && end > d.bytes) /* changed meanwhile: they stay apart */
        err = RAG_ENOENT;
    char *text = err ? NULL : mem_alloc(end - start + 1);
    if (text) {
        memcpy(text, d.text + start, end - start);
        text[end - start] = '\0';
        mem_free(a->text);
        a->text = text;
        a->line = a->line < b->line ? a->line : b->line;
        a->last_line = a->last_line > b->last_line ? a->last_line : b->last_line;
        a->start = start;
        a->end = end;
        a->bytes = end - start;
    } else if (!err) {
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for a passage");
    }
    store_document_free(&d);
    return err;
}

/* Neighbours of one document become one passage, in the place of the better one. */
static rag_err join_neighbours(struct rag_store *s, rag_hits *h)
{
    for (size_t i = 0; i < h->n; i++)
        for (size_t j = i + 1; j < h->n; j++) {
            if (!adjoin(&h->hits[i], &h->hits[j]))
                continue;
            rag_err err = join_two(s, &h->hits[i], &h->hits[j]);
            if (err == RAG_ENOENT)
                continue;
            if (err)
                return err;
            hit_free(&h->hits[j]);
            memmove(h->hits + j, h->hits + j + 1, (--h->n - j) * sizeof *h->hits);
            j = i; /* the passage may reach others now */
        }
    return RAG_OK;
}

/* ---- the request ---- */

static struct chat_model chat_of(const struct asking *q)
{
    return (struct chat_model){.url = q->url,
                               .key = q->key,
                               .model = q->model ? q->model : "",
                               .system_role = "system",
                               .max_tokens = q->p.max_tokens,
                               .temperature = q->p.temperature,
                               .stream = true};
}

static rag_err make_request(struct asking *q, size_t *bytes)
{
    rag_hits *h = q->a->hits;
    struct answer_source *sources = mem_alloc((h->n + 1) * sizeof *sources);
    struct answer_prompt prompt = {0};
    if (!sources)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu sources", h->n);
    for (size_t i = 0; i < h->n; i++)
        sources[i] = (struct answer_source){.source = h->hits[i].source,
                                            .title = h->hits[i].title ? h->hits[i].title : "",
                                            .head = h->hits[i].head ? h->hits[i].head : "",
                                            .line = h->hits[i].line,
                                            .last_line = h->hits[i].last_line,
                                            .page = h->hits[i].page,
                                            .text = h->hits[i].text,
                                            .bytes = h->hits[i].bytes};
    const struct answer_rules rules = {.context_tokens = q->p.context_tokens,
                                       .open = q->p.open != 0,
                                       .datamark = q->p.datamark != 0};
    rag_err err = answer_prompt_make(sources, h->n, &rules, &prompt);
    const struct chat_model m = chat_of(q);
    if (!err)
        err = chat_body(&m, prompt.system, q->question, &q->a->request, bytes);
    for (; !err && h->n > prompt.nsources; h->n--)
        hit_free(&h->hits[h->n - 1]);
    q->system = prompt.system;
    prompt.system = NULL;
    answer_prompt_free(&prompt);
    mem_free(sources);
    return err;
}

/* ---- the answer ---- */

static int stop_wanted(void *arg)
{
    return session_step(arg, "waiting", 0, 0) != RAG_OK;
}

static rag_err note_citations(rag_answer *a)
{
    struct citations c = {0};
    rag_err err = citations_find(a->text, strlen(a->text), a->hits->n, &c);
    if (err)
        return err;
    a->cited = mem_alloc((c.nused + 1) * sizeof *a->cited);
    a->unknown = mem_alloc((c.nunknown + 1) * sizeof *a->unknown);
    if (!a->cited || !a->unknown)
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for citations");
    for (size_t i = 0; i < c.nused && !err; i++)
        a->cited[a->ncited++] = c.used[i] - 1;
    for (size_t i = 0; i < c.nunknown && !err; i++)
        a->unknown[a->nunknown++] = c.unknown[i];
    citations_free(&c);
    return err;
}

static rag_err send(struct asking *q, size_t bytes)
{
    struct chat_answer got = {0};
    const struct chat_model m = chat_of(q);
    const struct chat_sending how = {.on_text = q->p.on_text,
                                     .arg = q->p.arg,
                                     .on_stop = stop_wanted,
                                     .stop_arg = q->s,
                                     .tries = session_number(q->s, "net.tries"),
                                     .stall_ms = 1000 * session_number(q->s, "net.timeout")};
    rag_err err = q->s->net ? RAG_OK : net_open(&q->s->net);
    if (err)
        return err;
    err = chat_send(q->s->net, &m, q->a->request, bytes, &how, &got);
    if (err == RAG_EFORMAT || err == RAG_EINVAL || err == RAG_ELIMIT) /* the server's fault */
        err = RAG_FAIL(RAG_EREFUSED, "%s", rag_error_message());
    struct error_note note;
    error_take(&note, (ann_err)err);
    mem_free(q->a->text);
    q->a->text = got.text;
    got.text = NULL;
    q->a->finish = mem_strdup(got.finish);
    q->a->model = mem_strdup(got.model[0] ? got.model : q->model);
    q->a->prompt_tokens = got.prompt_tokens;
    q->a->completion_tokens = got.completion_tokens;
    chat_answer_free(&got);
    if (err == RAG_ECANCELED && q->p.on_text)
        return (rag_err)error_put(&note);
    rag_err cited = q->a->text ? note_citations(q->a) : RAG_OK;
    return err ? (rag_err)error_put(&note) : cited;
}

/* ---- a model of the caller's own ---- */

struct collecting {
    struct asking *q;
    size_t bytes;
    bool failed;
};

static int collect(void *arg, const char *piece, size_t bytes)
{
    struct collecting *c = arg;
    char *more = mem_resize(c->q->a->text, c->bytes + bytes + 1);
    c->failed |= !more;
    if (!more)
        return 1;
    c->q->a->text = more;
    memcpy(more + c->bytes, piece, bytes);
    c->bytes += bytes;
    more[c->bytes] = '\0';
    return c->q->p.on_text ? c->q->p.on_text(c->q->p.arg, piece, bytes) : 0;
}

static rag_err ask_own(struct asking *q)
{
    struct collecting c = {q, 0, false};
    rag_err err = q->p.chat(q->p.chat_arg, q->system, q->question, collect, &c);
    if (c.failed)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for an answer");
    return err ? err : note_citations(q->a);
}

static rag_err ask(rag_store *s, const char *question, const rag_ask_params *p,
                   bool request_only, rag_answer **out)
{
    struct asking q = {.s = s, .question = question, .p = RAG_ASK_PARAMS_INIT};
    size_t bytes = 0;
    if (p)
        memcpy(&q.p, p, p->size < sizeof q.p ? p->size : sizeof q.p);
    q.a = mem_zalloc(1, sizeof *q.a);
    rag_err err =
        q.a && (q.a->text = mem_strdup("")) ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory");
    if (!err)
        err = q.p.chat ? RAG_OK : choose_model(&q);
    if (!err)
        err = rag_search(s, question, q.p.search, &q.a->hits);
    if (!err)
        err = join_neighbours(s, q.a->hits);
    if (!err)
        err = make_request(&q, &bytes);
    bool sent = false;
    if (!err && q.p.chat && !request_only && q.a->hits->n > 0) {
        sent = true;
        err = ask_own(&q);
    } else if (!err && q.model && !request_only && q.a->hits->n > 0) {
        sent = true;
        err = send(&q, bytes);
    }
    mem_free(q.url);
    mem_free(q.system);
    if (q.key)
        explicit_bzero(q.key, strlen(q.key));
    mem_free(q.key);
    mem_free(q.model);
    if (err && !sent)
        rag_answer_free(q.a);
    else
        *out = q.a;
    return err;
}

rag_err rag_ask(rag_store *s, const char *question, const rag_ask_params *p, rag_answer **out)
{
    *out = NULL;
    return ask(s, question, p, false, out);
}

rag_err rag_ask_request(rag_store *s, const char *question, const rag_ask_params *p,
                        rag_answer **out)
{
    *out = NULL;
    return ask(s, question, p, true, out);
}

void rag_answer_free(rag_answer *a)
{
    if (!a)
        return;
    rag_hits_free(a->hits);
    mem_free(a->text);
    mem_free(a->cited);
    mem_free(a->unknown);
    mem_free(a->request);
    mem_free(a->model);
    mem_free(a->finish);
    mem_free(a);
}
