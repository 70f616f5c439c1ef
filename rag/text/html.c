/* html.c - text and blocks of a web page; the sole owner of gumbo.
 *
 * Place: rag/text.  Invariant: what a reader of the page does not see is not in the text:
 * scripts, styles, navigation, templates, comments, hidden elements. The tree is walked by its
 * own links, without recursion. */
#include <config.h>

#include <ctype.h>
#include <gumbo.h>
#include <string.h>

#include "ann/base/memory.h"
#include "rag/error.h"
#include "rag/text/text.h"

#define DEPTH_MAX 5000 /* gumbo frees its tree by recursion */

struct page {
    struct text_doc *d;
    char *out; /* [room] */
    size_t n, room;
    size_t start, body; /* of the block that is open */
    enum text_kind kind;
    uint8_t level;
    unsigned pre, tables;
    size_t cells; /* in the row that is open */
    bool failed;
};

/* ---- writing ---- */

static void put(struct page *p, const char *s, size_t bytes)
{
    if (p->n + bytes + 1 > p->room) {
        const size_t room = 2 * (p->n + bytes + 1) + 4096;
        char *more = mem_resize(p->out, room);
        if (!more) {
            p->failed = true;
            return;
        }
        p->out = more;
        p->room = room;
    }
    memcpy(p->out + p->n, s, bytes);
    p->n += bytes;
}

/* Tag characters (U+E0000..E007F), which nobody sees, written as entities. */
static bool is_tag_character(const char *s)
{
    return (unsigned char)s[0] == 0xf3 && (unsigned char)s[1] == 0xa0 &&
           ((unsigned char)s[2] == 0x80 || (unsigned char)s[2] == 0x81);
}

static void put_text(struct page *p, const char *s)
{
    for (size_t i = 0; s[i] && !p->failed;) {
        if (is_tag_character(s + i)) {
            i += 4;
        } else if (p->pre || !isspace((unsigned char)s[i])) {
            put(p, s + i, 1);
            i++;
        } else {
            const char last = p->n > p->start ? p->out[p->n - 1] : ' ';
            if (last != ' ' && last != '\n')
                put(p, " ", 1);
            i++;
        }
    }
}

/* Ends the open block, if it has text, and begins a paragraph. */
static rag_err flush(struct page *p)
{
    size_t end = p->n;
    while (end > p->start && text_blank(p->out[end - 1]))
        end--;
    rag_err err = RAG_OK;
    if (end > p->start) {
        const struct text_block b = {.kind = p->kind,
                                     .level = p->level,
                                     .start = p->start,
                                     .end = end,
                                     .body = p->body > p->start ? p->body : p->start};
        p->n = end;
        p->d->text.data = p->out; /* what text_doc_block looks at */
        err = text_doc_block(p->d, b);
        p->d->text.data = NULL;
        put(p, "\n\n", 2);
    }
    p->start = p->n;
    p->body = 0;
    p->kind = TEXT_PARAGRAPH;
    p->level = 0;
    return p->failed ? RAG_FAIL(RAG_ENOMEM, "out of memory for a page") : err;
}

/* ---- elements ---- */

static bool is_unseen(const GumboElement *e)
{
    static const GumboTag tags[] = {GUMBO_TAG_SCRIPT,   GUMBO_TAG_STYLE,  GUMBO_TAG_NAV,
                                    GUMBO_TAG_TEMPLATE, GUMBO_TAG_SVG,    GUMBO_TAG_NOSCRIPT,
                                    GUMBO_TAG_HEAD,     GUMBO_TAG_IFRAME, GUMBO_TAG_OBJECT,
                                    GUMBO_TAG_SELECT,   GUMBO_TAG_BUTTON};
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (e->tag == tags[i])
            return true;
    const GumboAttribute *aria = gumbo_get_attribute(&e->attributes, "aria-hidden");
    const GumboAttribute *style = gumbo_get_attribute(&e->attributes, "style");
    if (gumbo_get_attribute(&e->attributes, "hidden") ||
        (aria && strcmp(aria->value, "true") == 0))
        return true;
    /* "display : none", however it is spaced */
    char bare[256];
    size_t n = 0;
    for (const char *s = style ? style->value : ""; *s && n + 1 < sizeof bare; s++)
        if (!isspace((unsigned char)*s))
            bare[n++] = (char)tolower((unsigned char)*s);
    bare[n] = '\0';
    return strstr(bare, "display:none") || strstr(bare, "visibility:hidden");
}

static bool is_block(GumboTag t)
{
    static const GumboTag tags[] = {
        GUMBO_TAG_P,       GUMBO_TAG_DIV,     GUMBO_TAG_SECTION,    GUMBO_TAG_ARTICLE,
        GUMBO_TAG_MAIN,    GUMBO_TAG_ASIDE,   GUMBO_TAG_HEADER,     GUMBO_TAG_FOOTER,
        GUMBO_TAG_UL,      GUMBO_TAG_OL,      GUMBO_TAG_LI,         GUMBO_TAG_DL,
        GUMBO_TAG_DT,      GUMBO_TAG_DD,      GUMBO_TAG_PRE,        GUMBO_TAG_BLOCKQUOTE,
        GUMBO_TAG_H1,      GUMBO_TAG_H2,      GUMBO_TAG_H3,         GUMBO_TAG_H4,
        GUMBO_TAG_H5,      GUMBO_TAG_H6,      GUMBO_TAG_TABLE,      GUMBO_TAG_FIGURE,
        GUMBO_TAG_ADDRESS, GUMBO_TAG_HR,      GUMBO_TAG_FORM,       GUMBO_TAG_FIELDSET,
        GUMBO_TAG_DETAILS, GUMBO_TAG_SUMMARY, GUMBO_TAG_FIGCAPTION, GUMBO_TAG_BODY};
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (t == tags[i])
            return true;
    return false;
}

/* Tables are one block: inside of them nothing else is. */
static rag_err enter_in_table(struct page *p, GumboTag t)
{
    p->tables += t == GUMBO_TAG_TABLE;
    if ((t == GUMBO_TAG_TD || t == GUMBO_TAG_TH) && p->cells++ > 0)
        put(p, " | ", 3);
    else if (is_block(t))
        put_text(p, " ");
    return RAG_OK;
}

static rag_err enter(struct page *p, const GumboElement *e)
{
    const GumboTag t = e->tag;
    if (p->tables > 0)
        return enter_in_table(p, t);
    if (t == GUMBO_TAG_BR)
        put(p, "\n", 1);
    if (!is_block(t))
        return RAG_OK;
    rag_err err = flush(p);
    if (t >= GUMBO_TAG_H1 && t <= GUMBO_TAG_H6) {
        p->kind = TEXT_HEADING;
        p->level = (uint8_t)(t - GUMBO_TAG_H1 + 1);
    } else if (t == GUMBO_TAG_LI) {
        p->kind = TEXT_ITEM;
    } else if (t == GUMBO_TAG_PRE) {
        p->kind = TEXT_CODE;
        p->pre++;
    } else if (t == GUMBO_TAG_BLOCKQUOTE) {
        p->kind = TEXT_QUOTE;
    } else if (t == GUMBO_TAG_TABLE) {
        p->kind = TEXT_TABLE;
        p->tables = 1;
        p->cells = 0;
    }
    return err;
}

static rag_err leave(struct page *p, const GumboElement *e)
{
    const GumboTag t = e->tag;
    if (p->tables > 0) {
        if (t == GUMBO_TAG_TR) {
            put(p, "\n", 1);
            p->body = p->body ? p->body : p->n;
            p->cells = 0;
        }
        p->tables -= t == GUMBO_TAG_TABLE;
        return p->tables == 0 ? flush(p) : RAG_OK;
    }
    if (t == GUMBO_TAG_PRE && p->pre > 0)
        p->pre--;
    return is_block(t) ? flush(p) : RAG_OK;
}

/* ---- the tree ---- */

static const GumboVector *children(const GumboNode *n)
{
    if (n->type == GUMBO_NODE_ELEMENT)
        return &n->v.element.children;
    return n->type == GUMBO_NODE_DOCUMENT ? &n->v.document.children : NULL;
}

/* What follows n when its children are done: *up tells that it is its parent, to be left. */
static const GumboNode *after(const GumboNode *n, bool *up)
{
    const GumboVector *v = n->parent ? children(n->parent) : NULL;
    *up = !v || n->index_within_parent + 1 >= v->length;
    return *up ? n->parent : v->data[n->index_within_parent + 1];
}

static rag_err walk(struct page *p, const GumboNode *root)
{
    rag_err err = RAG_OK;
    const GumboNode *n = root;
    bool up = false;
    while (n && !err && !p->failed) {
        const bool element = n->type == GUMBO_NODE_ELEMENT;
        if (up) {
            if (element)
                err = leave(p, &n->v.element);
            n = n == root ? NULL : after(n, &up);
            continue;
        }
        if (n->type == GUMBO_NODE_TEXT || n->type == GUMBO_NODE_WHITESPACE ||
            n->type == GUMBO_NODE_CDATA)
            put_text(p, n->v.text.text);
        const bool unseen = element && is_unseen(&n->v.element);
        if (element && !unseen)
            err = enter(p, &n->v.element);
        const GumboVector *v = unseen ? NULL : children(n);
        if (v && v->length > 0)
            n = v->data[0];
        else if (element && !unseen)
            up = true; /* it has nothing inside: it is left at once */
        else
            n = n == root ? NULL : after(n, &up);
    }
    return p->failed ? RAG_FAIL(RAG_ENOMEM, "out of memory for a page") : err;
}

static char *find_title(const GumboNode *root)
{
    const GumboVector *v = children(root);
    for (unsigned i = 0; v && i < v->length; i++) {
        const GumboNode *head = v->data[i];
        if (head->type != GUMBO_NODE_ELEMENT || head->v.element.tag != GUMBO_TAG_HEAD)
            continue;
        for (unsigned k = 0; k < head->v.element.children.length; k++) {
            const GumboNode *t = head->v.element.children.data[k];
            if (t->type != GUMBO_NODE_ELEMENT || t->v.element.tag != GUMBO_TAG_TITLE ||
                t->v.element.children.length == 0)
                continue;
            const GumboNode *text = t->v.element.children.data[0];
            const char *s = text->type == GUMBO_NODE_TEXT ? text->v.text.text : "";
            s += strspn(s, " \t\r\n");
            char *title = *s ? mem_strdup(s) : NULL;
            for (char *c = title; c && *c; c++)
                *c = *c == '\n' || *c == '\t' || *c == '\r' ? ' ' : *c;
            return title;
        }
    }
    return NULL;
}

/* How deep elements may stand in one another, counted by their marks; what closes itself or may
 * be left open does not count. */
static size_t depth_of(const char *s, size_t bytes)
{
    static const char *const open[] = {
        "p",  "br", "li",     "img",    "hr",  "input", "meta", "link",  "td",  "tr",      "th",
        "dt", "dd", "option", "source", "wbr", "col",   "area", "embed", "!--", "!doctype"};
    size_t depth = 0, most = 0;
    for (size_t i = 0; i + 1 < bytes; i++) {
        if (s[i] != '<')
            continue;
        if (s[i + 1] == '/') {
            depth -= depth > 0;
            continue;
        }
        bool counts = isalpha((unsigned char)s[i + 1]);
        for (size_t k = 0; k < sizeof open / sizeof *open && counts; k++) {
            const size_t n = strlen(open[k]);
            counts = bytes - i - 1 <= n || strncasecmp(s + i + 1, open[k], n) != 0 ||
                     isalnum((unsigned char)s[i + 1 + n]);
        }
        depth += counts;
        most = depth > most ? depth : most;
    }
    return most;
}

rag_err text_html(struct text_doc *d, const char *name, const char *html, size_t bytes)
{
    if (depth_of(html, bytes) > DEPTH_MAX)
        return RAG_FAIL(RAG_ELIMIT, "%s: elements are nested more than %d deep", name,
                        DEPTH_MAX);
    GumboOutput *tree = gumbo_parse_with_options(&kGumboDefaultOptions, html, bytes);
    if (!tree)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %s", name);
    struct page p = {.d = d, .kind = TEXT_PARAGRAPH};
    text_bytes_free(&d->text);
    d->title = find_title(tree->root);
    rag_err err = walk(&p, tree->root);
    if (!err)
        err = flush(&p);
    put(&p, "", 0);
    gumbo_destroy_output(&kGumboDefaultOptions, tree);
    if (!err && p.failed)
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for %s", name);
    if (err) {
        mem_free(p.out);
        return err;
    }
    while (p.n > 0 && p.out[p.n - 1] == '\n')
        p.n--;
    p.out[p.n] = '\0';
    d->text = (struct text_bytes){p.out, p.n, TEXT_UTF8};
    return RAG_OK;
}
