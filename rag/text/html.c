/* html.c - text and blocks of a web page; the sole owner of gumbo.
 *
 * Place: rag/text.  Invariant: what a reader of the page does not see is not in the text:
 * scripts, styles, navigation, templates, comments, hidden elements.  The tree is walked by its
 * own links, and freed piece by piece, without recursion; no page makes the parser take more
 * than its share of memory and time. */
#include <config.h>

#include <ctype.h>
#include <gumbo.h>
#include <setjmp.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include "ann/base/memory.h"
#include "rag/error.h"
#include "rag/text/text.h"

#define MEMORY_MAX ((size_t)1 << 30)
/* Seconds of the processor; an honest page takes a tenth for each MiB. */
#define SECONDS_BASE    2
#define SECONDS_PER_MIB 2

/* ---- the parser's memory ---- */

/* A ring of pieces. */
struct link {
    struct link *next, *before;
};

/* A piece of memory in the parser's hands. */
struct piece {
    struct link link; /* first: a link is its piece */
    size_t bytes;
    _Alignas(max_align_t) char data[];
};

/* gumbo has no limit of its own: deep trees take it time and memory that grow with their
 * square, it asserts that memory never ends, and frees its tree by recursion (its issues 387,
 * 388, 391 and 393).  How deep a page is cannot be told before it is parsed.  So each piece of
 * memory is given out here, at least one for every tag; a parse that has taken too much is left
 * from here, and all it holds is freed as a list. */
struct pool {
    jmp_buf over;
    const char *name;
    struct link first; /* of the ring */
    size_t bytes;
    unsigned calls;
    int64_t end_ns;
    rag_err err;
};

static int64_t processor_ns(void)
{
    struct timespec t = {0};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void *pool_alloc(void *userdata, size_t bytes)
{
    struct pool *p = userdata;
    if (bytes > MEMORY_MAX - p->bytes)
        p->err = RAG_FAIL(RAG_ELIMIT, "%s: its elements take more than %zu MiB", p->name,
                          MEMORY_MAX >> 20);
    else if (p->calls++ % 256 == 0 && processor_ns() > p->end_ns)
        p->err = RAG_FAIL(RAG_ELIMIT, "%s: its elements are nested too deep to be read in time",
                          p->name);
    struct piece *piece = p->err ? NULL : mem_alloc(sizeof *piece + bytes);
    if (!piece) {
        if (!p->err)
            p->err = RAG_FAIL(RAG_ENOMEM, "out of memory for %s", p->name);
        longjmp(p->over, 1); /* gumbo holds nothing but what is in the ring */
    }
    piece->link = (struct link){.next = &p->first, .before = p->first.before};
    piece->bytes = bytes;
    piece->link.before->next = &piece->link;
    p->first.before = &piece->link;
    p->bytes += bytes;
    return piece->data;
}

static void pool_release(void *userdata, void *data)
{
    struct pool *p = userdata;
    if (!data)
        return;
    struct piece *piece = (struct piece *)(void *)((char *)data - offsetof(struct piece, data));
    piece->link.next->before = piece->link.before;
    piece->link.before->next = piece->link.next;
    p->bytes -= piece->bytes;
    mem_free(piece);
}

static void pool_free(struct pool *p)
{
    while (p->first.next != &p->first)
        pool_release(p, ((struct piece *)(void *)p->first.next)->data);
}

/* The tree, which lives until pool_free; NULL: p->err. */
static const GumboNode *parse(struct pool *p, const char *name, const char *html, size_t bytes)
{
    p->name = name;
    p->first.next = p->first.before = &p->first;
    p->end_ns =
        processor_ns() + (SECONDS_BASE + SECONDS_PER_MIB * (int64_t)(bytes >> 20)) * 1000000000;
    GumboOptions options = kGumboDefaultOptions;
    options.allocator = pool_alloc;
    options.deallocator = pool_release;
    options.userdata = p;
    options.max_errors = 0; /* each would hold a copy of the path to it */
    if (setjmp(p->over))
        return NULL;
    return gumbo_parse_with_options(&options, html, bytes)->root;
}

/* ---- writing ---- */

struct page {
    struct text_doc *d;
    const char *name;
    char *out; /* [room] */
    size_t n, room;
    size_t start, body; /* of the block that is open */
    enum text_kind kind;
    uint8_t level;
    unsigned pre, tables;
    size_t cells; /* in the row that is open */
    bool failed;
};

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

static void put_text(struct page *p, const char *s)
{
    for (size_t i = 0; s[i] && !p->failed;) {
        size_t n = 0;
        while (s[i + n] && (p->pre || !text_blank(s[i + n])))
            n++;
        put(p, s + i, n);
        i += n;
        if (!s[i] || p->failed)
            break;
        const char last = p->n > p->start ? p->out[p->n - 1] : ' ';
        if (last != ' ' && last != '\n')
            put(p, " ", 1);
        i++;
    }
}

/* What was written from byte `from` on, as text.h promises text to be: an entity may stand for
 * a mark to be composed, a CR or a character that nobody sees. */
static rag_err normalise(struct page *p, size_t from)
{
    struct text_bytes t = {0};
    size_t i = from;
    while (i < p->n && (unsigned char)p->out[i] < 0x80 && p->out[i] != '\r')
        i++;
    if (i == p->n || p->failed)
        return RAG_OK;
    rag_err err = text_normalise(p->name, p->out + from, p->n - from, &t);
    if (!err) {
        p->n = from;
        put(p, t.data, t.bytes);
        text_bytes_free(&t);
    }
    return err;
}

/* Ends the open block, if it has text, and begins a paragraph. */
static rag_err flush(struct page *p)
{
    rag_err err = normalise(p, p->body > p->start ? p->body : p->start);
    size_t end = p->n;
    while (end > p->start && text_blank(p->out[end - 1]))
        end--;
    if (!err && end > p->start) {
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
    return p->failed ? RAG_FAIL(RAG_ENOMEM, "out of memory for %s", p->name) : err;
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
        rag_err err = RAG_OK;
        if (t == GUMBO_TAG_TR) {
            put(p, "\n", 1);
            if (!p->body) {
                err = normalise(p, p->start);
                p->body = p->n;
            }
            p->cells = 0;
        }
        p->tables -= t == GUMBO_TAG_TABLE;
        return p->tables == 0 && !err ? flush(p) : err;
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
    return p->failed ? RAG_FAIL(RAG_ENOMEM, "out of memory for %s", p->name) : err;
}

static const GumboNode *child_element(const GumboNode *n, GumboTag tag)
{
    const GumboVector *v = n ? children(n) : NULL;
    for (unsigned i = 0; v && i < v->length; i++) {
        const GumboNode *child = v->data[i];
        if (child->type == GUMBO_NODE_ELEMENT && child->v.element.tag == tag)
            return child;
    }
    return NULL;
}

/* The title in the head, on one line, into *title; NULL: there is none. */
static rag_err find_title(const char *name, const GumboNode *root, char **title)
{
    struct text_bytes t = {0};
    const GumboNode *e = child_element(child_element(root, GUMBO_TAG_HEAD), GUMBO_TAG_TITLE);
    const GumboVector *v = e ? children(e) : NULL;
    const GumboNode *text = v && v->length > 0 ? v->data[0] : NULL;
    const char *s = text && text->type == GUMBO_NODE_TEXT ? text->v.text.text : "";
    s += strspn(s, " \t\r\n");
    if (!*s)
        return RAG_OK;
    rag_err err = text_normalise(name, s, strlen(s), &t);
    for (size_t i = 0; i < t.bytes; i++)
        t.data[i] = text_blank(t.data[i]) ? ' ' : t.data[i];
    if (!err && t.bytes > 0)
        *title = t.data;
    else
        text_bytes_free(&t);
    return err;
}

rag_err text_html(struct text_doc *d, const char *name, const char *html, size_t bytes)
{
    struct pool pool = {0};
    struct page p = {.d = d, .name = name, .kind = TEXT_PARAGRAPH};
    const GumboNode *root = parse(&pool, name, html, bytes);
    rag_err err = root ? find_title(name, root, &d->title) : pool.err;
    text_bytes_free(&d->text);
    if (!err)
        err = walk(&p, root);
    if (!err)
        err = flush(&p);
    pool_free(&pool);
    put(&p, "", 0);
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
