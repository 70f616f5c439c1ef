/* answer.h - the augmented prompt, a chat model's answer to it, and what the answer cites.
 *
 * Place: rag/answer, above rag/net and rag/text.  Invariants: the user's prompt is sent byte for
 * byte, alone in its message; a source cannot close its own marker, which holds a nonce of this
 * request; a stream without an end is an error, and what came of it is kept. */
#ifndef KITH_RAG_ANSWER_H
#define KITH_RAG_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rag/rag.h>

struct net;

/* ---- the prompt (prompt.c) ---- */

struct answer_source {
    const char *source, *title, *head; /* title, head: "" where there is none */
    uint32_t line, last_line, page;    /* from 1; page 0: no pages */
    const char *text;                  /* [bytes], UTF-8 */
    size_t bytes;
};

struct answer_rules {
    double context_tokens; /* that sources may take; 0: 3000 */
    bool open;             /* the model may answer from elsewhere too, saying so */
    bool datamark;         /* a mark between the words of sources (arXiv 2403.14720) */
    const char *nonce;     /* of the markers, [A-Za-z0-9]; NULL: 16 random hex digits */
};

struct answer_prompt {
    char *system;    /* rules, then sources numbered from 1, best first */
    size_t nsources; /* how many of those given fit the budget (always the first ones) */
};

/* Sources must be best first, without duplicates. */
rag_err answer_prompt_make(const struct answer_source *sources, size_t n,
                           const struct answer_rules *rules, struct answer_prompt *out);
void answer_prompt_free(struct answer_prompt *p);

/* ---- the model (chat.c) ---- */

struct chat_model {
    const char *url;   /* of chat completions: ".../v1/chat/completions" */
    const char *key;   /* or NULL */
    const char *model;
    const char *system_role; /* "system", or "developer" */
    unsigned max_tokens;     /* of the answer; 0: not said */
    double temperature;      /* < 0: not said */
    bool stream;
};

/* The JSON body, as it is sent.  *body is the caller's, for rag_free. */
rag_err chat_body(const struct chat_model *m, const char *system, const char *user, char **body,
                  size_t *bytes);

struct chat_answer {
    char *text; /* all that came; never NULL after chat_send, also after an error */
    size_t bytes;
    char finish[32]; /* "stop", "length", "content_filter", ... or "" */
    uint64_t prompt_tokens, completion_tokens; /* 0: not told */
    char model[128];                           /* as the server calls it, or "" */
};

/* Sends body and takes the answer, streamed (text/event-stream) or whole (application/json, also
 * where a stream was asked for).  on_text: each piece as it comes; non-zero stops with
 * RAG_ECANCELED; may be NULL.  An error inside a 200 stream is RAG_EREFUSED (RAG_EUNAVAIL for a
 * code of 429 or from 500 on, but not llama.cpp's permanent ones: see net.h); a stream that ends
 * with neither a finish_reason nor [DONE], or breaks off, is RAG_EUNAVAIL; a refusal of the model
 * (delta.refusal) is text.  A 400 that names max_tokens is asked again once with
 * max_completion_tokens.  Answers above 16 MiB are RAG_ELIMIT.  A 200 without a single piece of
 * text and finish "stop" is RAG_OK with text "". */
struct chat_sending {
    int (*on_text)(void *arg, const char *text, size_t bytes);
    void *arg;
    int (*on_stop)(void *arg); /* as in net.h */
    void *stop_arg;
    unsigned tries;    /* 0: 3 */
    unsigned stall_ms; /* without a byte; 0: five minutes, half an hour without streaming */
};
rag_err chat_send(struct net *n, const struct chat_model *m, const char *body, size_t bytes,
                  const struct chat_sending *how, struct chat_answer *out);
void chat_answer_free(struct chat_answer *a);

/* ---- citations (citations.c) ---- */

struct citations {
    uint32_t *used; /* [nused] source numbers in order of first use, each once */
    size_t nused;
    uint32_t *unknown; /* [nunknown] numbers cited that no source has, each once */
    size_t nunknown;
};

/* The marks [n], [n, m], [n-m], [n][m] in an answer over nsources sources; not in code fences or
 * `code`, not links "[1](...)". */
rag_err citations_find(const char *text, size_t bytes, size_t nsources, struct citations *out);
void citations_free(struct citations *c);

/* A mark from `begin` to `end`; known: one of its numbers is a source's. */
struct citation_mark {
    size_t begin, end;
    bool known;
};

/* The first mark of a text from `at` on, which is 0 or the end of the mark before.  False: there
 * is none. */
bool citations_next(const char *text, size_t bytes, size_t nsources, size_t at,
                    struct citation_mark *out);

/* text with each known number replaced by its place in c->used (from 1), unknown ones left out
 * with their brackets.  *out for rag_free. */
rag_err citations_renumber(const char *text, size_t bytes, const struct citations *c, char **out);

#endif
