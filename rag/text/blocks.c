/* blocks.c - a document's blocks: plain text and source code.
 *
 * Place: rag/text; markdown.c makes those of Markdown.  See text.h. */
#include <config.h>

#include <string.h>

#include "ann/base/memory.h"
#include "rag/error.h"
#include "rag/text/text.h"

void text_doc_free(struct text_doc *d)
{
    mem_free(d->id);
    mem_free(d->title);
    mem_free(d->meta);
    mem_free(d->vector);
    mem_free(d->blocks);
    text_bytes_free(&d->text);
    *d = (struct text_doc){0};
}

rag_err text_doc_block(struct text_doc *d, struct text_block b)
{
    const char *s = d->text.data;
    while (b.start < b.end && text_blank(s[b.start]) && b.kind != TEXT_CODE)
        b.start++;
    while (b.start < b.end && text_blank(s[b.end - 1]))
        b.end--;
    while (b.start < b.end && s[b.start] == '\n')
        b.start++;
    if (b.start == b.end)
        return RAG_OK;
    if (d->nblocks == d->room) {
        const size_t room = d->room ? 2 * d->room : 64;
        struct text_block *more = mem_resize(d->blocks, room * sizeof *more);
        if (!more)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu blocks", room);
        d->blocks = more;
        d->room = room;
    }
    b.body = b.body > b.start && b.body < b.end ? b.body : b.start;
    d->blocks[d->nblocks++] = b;
    return RAG_OK;
}

/* Where the line at `at` ends: at its LF, or at the end. */
static size_t line_end(const struct text_doc *d, size_t at)
{
    const char *lf = memchr(d->text.data + at, '\n', d->text.bytes - at);
    return lf ? (size_t)(lf - d->text.data) : d->text.bytes;
}

static bool is_blank(const struct text_doc *d, size_t at, size_t end)
{
    while (at < end && text_blank(d->text.data[at]))
        at++;
    return at == end;
}

/* Runs of lines between empty ones. */
static rag_err runs_of_lines(struct text_doc *d, enum text_kind kind)
{
    rag_err err = RAG_OK;
    struct text_block b = {.kind = kind};
    const bool pages = memchr(d->text.data, '\f', d->text.bytes) != NULL;
    uint32_t page = pages ? 1 : 0;
    for (size_t at = 0, end; at < d->text.bytes && !err; at = end + 1) {
        end = line_end(d, at);
        const char *feed = pages ? memchr(d->text.data + at, '\f', end - at) : NULL;
        if (is_blank(d, at, end) || feed) {
            b.end = feed ? (size_t)(feed - d->text.data) : at;
            b.page = page;
            err = text_doc_block(d, b);
            b.start = feed ? b.end + 1 : end;
            page += feed != NULL;
            if (feed)
                end = b.start - 1; /* what stands behind it is looked at next */
        }
    }
    b.end = d->text.bytes;
    b.page = page;
    return err ? err : text_doc_block(d, b);
}

rag_err text_plain(struct text_doc *d)
{
    d->running = true;
    return runs_of_lines(d, TEXT_PARAGRAPH);
}

rag_err text_source(struct text_doc *d)
{
    return runs_of_lines(d, TEXT_CODE);
}
