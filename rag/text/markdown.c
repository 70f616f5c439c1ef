/* markdown.c - the blocks of Markdown: CommonMark with GitHub's tables.
 *
 * Place: rag/text; sole owner of cmark-gfm.  The parser says where in the text a block lies, so
 * the text stays as it is and citations find it again.  Invariant: blocks come from the
 * children of the document and, for lists and quotes, one level further, so nesting costs no
 * stack. */
#include <config.h>

#include <pthread.h>
#include <string.h>

#include <cmark-gfm-core-extensions.h>
#include <cmark-gfm.h>
#include <cmark-gfm-extension_api.h>

#include "ann/base/memory.h"
#include "ann/io/json.h"
#include "rag/error.h"
#include "rag/text/text.h"

#define META_MAX 256 /* keys of front matter */

struct lines {
    size_t *at; /* [n + 1]: where line i + 1 begins; the last is the text's end */
    size_t n, from;
};

/* The lines of d's text from byte `from` on, which is line 1. */
static rag_err find_lines(const struct text_doc *d, size_t from, struct lines *l)
{
    size_t n = 1;
    const char *s = d->text.data;
    for (size_t i = from; i < d->text.bytes; i++)
        n += s[i] == '\n';
    l->at = mem_alloc((n + 1) * sizeof *l->at);
    if (!l->at)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu lines", n);
    l->n = 0;
    l->at[l->n++] = from;
    for (size_t i = from; i < d->text.bytes; i++)
        if (s[i] == '\n')
            l->at[l->n++] = i + 1;
    l->at[l->n] = d->text.bytes;
    return RAG_OK;
}

static size_t line_at(const struct lines *l, int line)
{
    const size_t i = line < 1 ? 0 : (size_t)line - 1;
    return l->at[i < l->n ? i : l->n];
}

/* ---- front matter ---- */

static size_t trim(const char *s, size_t *from, size_t to)
{
    while (*from < to && text_blank(s[*from]))
        ++*from;
    while (to > *from && text_blank(s[to - 1]))
        to--;
    if (to - *from >= 2 && (s[*from] == '"' || s[*from] == '\'') && s[to - 1] == s[*from]) {
        ++*from;
        to--;
    }
    return to;
}

static char *copy(const char *s, size_t n)
{
    char *c = mem_alloc(n + 1);
    if (c) {
        memcpy(c, s, n);
        c[n] = '\0';
    }
    return c;
}

/* "key: value" of one line into o, and a title where it is one. */
static rag_err put_meta(struct text_doc *d, size_t from, size_t to, struct js_out *o)
{
    const char *s = d->text.data, *colon = memchr(s + from, ':', to - from);
    if (!colon || s[from] == ' ' || s[from] == '#' || s[from] == '-')
        return RAG_OK;
    size_t value = (size_t)(colon - s) + 1;
    const size_t key_end = trim(s, &from, (size_t)(colon - s)), end = trim(s, &value, to);
    char *key = copy(s + from, key_end - from), *text = copy(s + value, end - value);
    const bool failed = !key || !text;
    if (key && text && *key && *text) {
        js_put_string(o, key, text);
        if (strcmp(key, "title") == 0 && !d->title) {
            d->title = text;
            text = NULL;
        }
    }
    mem_free(key);
    mem_free(text);
    return failed ? RAG_FAIL(RAG_ENOMEM, "out of memory for front matter") : RAG_OK;
}

/* Lines between "---" at the very beginning and "---" or "...": *end is behind them, or 0. */
static rag_err front_matter(struct text_doc *d, size_t *end)
{
    const char *s = d->text.data;
    struct js_out o = JS_OUT_INIT;
    rag_err err = RAG_OK;
    bool closed = false;
    *end = 0;
    if (d->text.bytes < 4 || memcmp(s, "---\n", 4) != 0)
        return RAG_OK;
    js_open(&o, NULL, '{');
    size_t at = 4, keys = 0;
    while (at < d->text.bytes && !closed && !err && keys++ < META_MAX) {
        const char *lf = memchr(s + at, '\n', d->text.bytes - at);
        const size_t to = lf ? (size_t)(lf - s) : d->text.bytes;
        closed =
            to - at == 3 && (memcmp(s + at, "---", 3) == 0 || memcmp(s + at, "...", 3) == 0);
        if (!closed)
            err = put_meta(d, at, to, &o);
        at = to + (lf != NULL);
    }
    js_shut(&o, '}');
    if (!err && o.failed)
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for front matter");
    if (!err && closed) {
        d->meta = copy(o.text, o.bytes);
        err = d->meta ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for front matter");
        *end = at;
    }
    js_out_free(&o);
    return err;
}

/* ---- blocks ---- */

static enum text_kind kind_of(cmark_node *node)
{
    const cmark_node_type t = cmark_node_get_type(node);
    if (t == CMARK_NODE_HEADING)
        return TEXT_HEADING;
    if (t == CMARK_NODE_CODE_BLOCK)
        return TEXT_CODE;
    if (t == CMARK_NODE_ITEM)
        return TEXT_ITEM;
    if (t == CMARK_NODE_BLOCK_QUOTE)
        return TEXT_QUOTE;
    /* Types of extensions have numbers only at run time. */
    return strcmp(cmark_node_get_type_string(node), "table") == 0 ? TEXT_TABLE : TEXT_PARAGRAPH;
}

static rag_err put_node(struct text_doc *d, const struct lines *l, cmark_node *node)
{
    const int first = cmark_node_get_start_line(node), last = cmark_node_get_end_line(node);
    struct text_block b = {
        .kind = kind_of(node), .start = line_at(l, first), .end = line_at(l, last + 1)};
    if (last < first)
        return RAG_OK;
    if (b.kind == TEXT_HEADING)
        b.level = (uint8_t)cmark_node_get_heading_level(node);
    if (b.kind == TEXT_TABLE)
        b.body = line_at(l, first + 2);
    if (d->nblocks > 0 && b.start < d->blocks[d->nblocks - 1].end) /* an item inside an item */
        b.start = d->blocks[d->nblocks - 1].end;
    return b.start < b.end ? text_doc_block(d, b) : RAG_OK;
}

static rag_err put_children(struct text_doc *d, const struct lines *l, cmark_node *root)
{
    rag_err err = RAG_OK;
    for (cmark_node *n = cmark_node_first_child(root); n && !err; n = cmark_node_next(n)) {
        if (cmark_node_get_type(n) != CMARK_NODE_LIST) {
            err = put_node(d, l, n);
            continue;
        }
        for (cmark_node *i = cmark_node_first_child(n); i && !err; i = cmark_node_next(i))
            err = put_node(d, l, i);
    }
    return err;
}

static pthread_once_t registered = PTHREAD_ONCE_INIT; /* the call itself is for one thread */

rag_err text_markdown(struct text_doc *d)
{
    size_t from;
    struct lines l = {0};
    pthread_once(&registered, cmark_gfm_core_extensions_ensure_registered);
    rag_err err = front_matter(d, &from);
    if (!err)
        err = find_lines(d, from, &l);
    if (err)
        return err;
    cmark_parser *parser = cmark_parser_new(CMARK_OPT_DEFAULT);
    cmark_syntax_extension *table = cmark_find_syntax_extension("table");
    if (table)
        cmark_parser_attach_syntax_extension(parser, table);
    cmark_parser_feed(parser, d->text.data + from, d->text.bytes - from);
    cmark_node *root = cmark_parser_finish(parser);
    err = put_children(d, &l, root);
    cmark_node_free(root);
    cmark_parser_free(parser);
    mem_free(l.at);
    return err;
}
