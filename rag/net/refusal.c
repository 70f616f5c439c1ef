/* refusal.c - what a server means by an answer that is not 200.
 *
 * Place: rag/net.  The status alone misleads: llama.cpp says 500 for an input that is too long,
 * which no retry mends, OpenAI 429 when the money is spent.  Invariant: words that go into a
 * message hold no control character. */
#include <config.h>

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "ann/io/json.h"
#include "rag/error.h"
#include "rag/net/internal.h"

#define ERROR_BODY_MAX ((size_t)64 << 10)

static void show(const char *s, size_t bytes, char words[NET_WORDS_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < bytes && n + 5 < NET_WORDS_MAX; i++) {
        const unsigned char b = (unsigned char)s[i];
        if (b >= 0x20 && b != 0x7F)
            words[n++] = (char)b;
        else
            n += (size_t)snprintf(words + n, NET_WORDS_MAX - n, "\\x%02X", b);
    }
    while (n > 0 && ((unsigned char)words[n - 1] & 0xC0) == 0x80 && bytes > n)
        n--; /* half a character at the cut */
    words[n] = '\0';
}

/* {"error": {"message"}}, {"error": "..."}, {"message"}, {"detail"}: OpenAI and llama.cpp,
 * Ollama and TEI, Cohere and TEI's other route, FastAPI. */
static const char *message_in(const struct js *body)
{
    const struct js *error = js_get(body, "error");
    if (js_kind(error) == JS_OBJECT)
        return js_string(js_get(error, "message"), NULL);
    const char *words = js_string(error, NULL);
    if (!words)
        words = js_string(js_get(body, "message"), NULL);
    return words ? words : js_string(js_get(body, "detail"), NULL);
}

void net_words(const char *body, size_t bytes, char words[NET_WORDS_MAX])
{
    struct js *document = NULL;
    const char *found = NULL;
    struct error_note kept;
    error_take(&kept, ANN_OK);
    if (bytes > 0 && js_parse("error", body, bytes, ERROR_BODY_MAX, &document) == ANN_OK &&
        js_kind(document) == JS_OBJECT)
        found = message_in(document);
    if (found)
        show(found, strlen(found), words);
    else
        show(body, bytes, words);
    js_free(document);
    (void)error_put(&kept); /* that it was no JSON is no failure */
}

/* Whether `word` stands in the body, in any case. */
static bool says(const char *body, size_t bytes, const char *word)
{
    const size_t n = strlen(word);
    for (size_t i = 0; i + n <= bytes; i++)
        if (strncasecmp(body + i, word, n) == 0)
            return true;
    return false;
}

static bool says_any(const char *body, size_t bytes, const char *const *list)
{
    for (; *list; list++)
        if (says(body, bytes, *list))
            return true;
    return false;
}

static const char *const too_large[] = {"too large",
                                        "too long",
                                        "maximum context length",
                                        "context size",
                                        "context length",
                                        "exceed_context_size",
                                        "max_tokens_per_request",
                                        "max tokens per request",
                                        "too many tokens",
                                        "must have less than",
                                        "exceeds the limit",
                                        "batch size",
                                        "string_above_max_length",
                                        NULL};

static const char *const spent[] = {"insufficient_quota", "billing",
                                    "exceeded your current quota", NULL};

/* A fault of the request that llama.cpp reports as 500. */
static const char *const permanent[] = {"failed to parse messages", "not supported", NULL};

enum net_verdict net_judge(long status, const char *body, size_t bytes)
{
    const size_t look = bytes < ERROR_BODY_MAX ? bytes : ERROR_BODY_MAX;
    const bool may_be_size = status == 400 || status == 413 || status == 422 || status == 500;
    if (status == 413 || (may_be_size && says_any(body, look, too_large)))
        return NET_TOO_LARGE;
    if (status == 429)
        return says_any(body, look, spent) ? NET_REFUSED : NET_AGAIN;
    if (status == 408 || status == 409 || status == 425 || status == 424)
        return NET_AGAIN;
    if (status == 501 || (status == 500 && says_any(body, look, permanent)))
        return NET_REFUSED;
    return status >= 500 ? NET_AGAIN : NET_REFUSED;
}
