/* tokens.c - the vocabulary of a Hugging Face folder.  See tokens.h.
 *
 * Place: rag/embed. */
#include <config.h>

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "ann/base/memory.h"
#include "ann/io/io.h"
#include "ann/io/json.h"
#include "rag/embed/tokens.h"
#include "rag/embed/wordpiece.h"
#include "rag/error.h"

#define FILE_MOST ((size_t)64 << 20)

/* vocab.txt: a token a line; text [bytes] is written over. */
static rag_err read_lines(const char *dir, char *text, size_t bytes, struct tokens *out)
{
    size_t to = 0, count = 0;
    for (size_t at = 0; at < bytes;) {
        const char *end = memchr(text + at, '\n', bytes - at);
        size_t n = end ? (size_t)(end - text) - at : bytes - at;
        const size_t next = at + n + 1;
        if (n > 0 && text[at + n - 1] == '\r')
            n--;
        if (memchr(text + at, '\0', n))
            return RAG_FAIL(RAG_EFORMAT, "%s/vocab.txt: a NUL in line %zu", dir, count + 1);
        memmove(text + to, text + at, n); /* to <= at */
        to += n;
        text[to++] = '\0'; /* io_slurp has left room for the last one */
        count++;
        at = next;
    }
    *out = (struct tokens){.text = text, .bytes = to, .n = count, .lower = true};
    return RAG_OK;
}

static rag_err read_vocab(const char *dir, struct tokens *out)
{
    char path[PATH_MAX], *text = NULL;
    size_t bytes = 0;
    const int n = snprintf(path, sizeof path, "%s/vocab.txt", dir);
    if (n <= 0 || n >= (int)sizeof path)
        return RAG_FAIL(RAG_EINVAL, "%.100s...: too long a path", dir);
    rag_err err = rag_from_base(io_slurp(path, FILE_MOST, &text, &bytes));
    if (!err)
        err = read_lines(dir, text, bytes, out);
    if (err)
        mem_free(text);
    return err;
}

struct naming {
    const char **names; /* [n] */
    size_t n, bytes;
};

static ann_err name_token(void *arg, const char *key, const struct js *value)
{
    struct naming *g = arg;
    uint64_t id;
    if (!js_u64(value, &id) || id >= g->n || g->names[id])
        return ANN_FAIL(ANN_EFORMAT, "token \"%.60s\" has no number of its own below %zu", key,
                        g->n);
    g->names[id] = key;
    g->bytes += strlen(key) + 1;
    return ANN_OK;
}

/* {"model": {"type": "WordPiece", "vocab": {token: id}}, "normalizer": {"lowercase": true}}. */
static rag_err read_tokenizer(const char *dir, const struct js *root, struct tokens *out)
{
    const struct js *model = js_get(root, "model"), *vocab = js_get(model, "vocab");
    const char *type = js_string(js_get(model, "type"), "WordPiece");
    struct naming g = {.n = js_count(vocab)};
    if (strcmp(type, "WordPiece") != 0)
        return RAG_FAIL(RAG_ENOTSUP, "%s/tokenizer.json: a %.40s tokenizer, not WordPiece", dir,
                        type);
    if (js_kind(vocab) != JS_OBJECT || g.n == 0 || g.n > WORDPIECE_TOKENS_MAX)
        return RAG_FAIL(RAG_EFORMAT, "%s/tokenizer.json: a vocabulary of %zu tokens", dir, g.n);
    g.names = mem_zalloc(g.n, sizeof *g.names);
    rag_err err = g.names ? rag_from_base(js_each(vocab, name_token, &g))
                          : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu tokens", g.n);
    char *all = err ? NULL : mem_alloc(g.bytes);
    if (!err && !all)
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for %zu tokens", g.n);
    size_t to = 0;
    for (size_t i = 0; i < g.n && !err; i++) { /* all n ids are taken, by n names */
        const size_t n = strlen(g.names[i]) + 1;
        memcpy(all + to, g.names[i], n);
        to += n;
    }
    mem_free(g.names);
    if (err)
        return err;
    const struct js *lower = js_get(js_get(root, "normalizer"), "lowercase");
    *out = (struct tokens){.text = all, .bytes = to, .n = g.n, .lower = js_bool(lower, true)};
    return RAG_OK;
}

rag_err tokens_read(const char *dir, struct tokens *out)
{
    char path[PATH_MAX];
    struct js *root = NULL;
    const int n = snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    if (n <= 0 || n >= (int)sizeof path)
        return RAG_FAIL(RAG_EINVAL, "%.100s...: too long a path", dir);
    rag_err err = rag_from_base(js_load(path, FILE_MOST, &root));
    if (err == RAG_ENOENT)
        return read_vocab(dir, out);
    if (!err)
        err = read_tokenizer(dir, root, out);
    js_free(root);
    return err;
}
