/* chunk.c - a document cut into chunks for embedding.
 *
 * Place: rag/text.  Blocks become pieces (whole, else sentences, lines, words, graphemes), and
 * pieces are put together up to a target.  A chunk carries the headings it stands under as its
 * head line, which counts.  Why so small: the embedded model reads 256 tokens, and 200 to 400
 * is where retrieval is best (Chroma's report on chunking, 2024).
 *
 * Invariants: as text.h says; a heading stands at the front of a chunk, not at its end, unless
 * nothing follows it. */
#include <config.h>

#include <string.h>

#include "ann/base/memory.h"
#include "rag/error.h"
#include "rag/text/text.h"

#define TARGET     180.0
#define CAP        250.0
#define HEAD_SHARE 0.25 /* of the cap, at most, for a head or a table's header */
#define OVERLAP    0.15 /* of the target, at most, for the sentence that stands in two chunks */
#define LEVELS     6

struct open_chunk {
    bool open;
    size_t start, end, pieces;
    double tokens, room; /* of the text; what it may have */
    size_t lead_start, lead_end;
    size_t tail; /* where the headings at its end begin */
    size_t last; /* where its last piece begins */
    double last_tokens;
    uint32_t page;
    char *head;
};

struct cutter {
    const struct text_doc *d;
    double target, cap;
    double lead; /* tokens of the header that goes before each chunk of a table */
    struct text_block path[LEVELS]; /* headings in force; start == end: none */
    struct open_chunk now;
    struct text_chunk *out;
    size_t n, room;
    size_t line_at; /* where line `line` is */
    uint32_t line;
};

static double tokens_of(const struct cutter *c, size_t from, size_t to)
{
    return text_tokens(c->d->text.data + from, to - from);
}

/* ---- heads ---- */

/* A heading without its marks. */
static void bare_heading(const struct cutter *c, struct text_block b, size_t *from, size_t *to)
{
    const char *s = c->d->text.data;
    const char *lf = memchr(s + b.start, '\n', b.end - b.start);
    *from = b.start;
    *to = lf ? (size_t)(lf - s) : b.end;
    while (*from < *to && (s[*from] == '#' || text_blank(s[*from])))
        ++*from;
    while (*to > *from && (s[*to - 1] == '#' || text_blank(s[*to - 1])))
        --*to;
}

static size_t append(char *head, size_t n, const char *s, size_t bytes)
{
    if (n > 0) {
        memcpy(head + n, " > ", 3);
        n += 3;
    }
    memcpy(head + n, s, bytes);
    return n + bytes;
}

/* Cuts at a grapheme so that at most `most` tokens are left. */
static void shorten(char *head, double most)
{
    const size_t bytes = strlen(head);
    size_t end = 0;
    if (text_tokens(head, bytes) <= most)
        return;
    for (size_t next = 0; next < bytes; end = next) {
        next = text_grapheme_end(head, bytes, end);
        if (text_tokens(head, next) > most)
            break;
    }
    head[end] = '\0';
}

/* "title > heading > heading" of what is in force; the title is left out where a first heading
 * says the same. */
static char *make_head(const struct cutter *c)
{
    const char *title = c->d->title ? c->d->title : "";
    size_t most = strlen(title) + 1, n = 0, from, to;
    for (int i = 0; i < LEVELS; i++)
        most += c->path[i].end - c->path[i].start + 3;
    char *head = mem_alloc(most);
    if (!head)
        return NULL;
    bare_heading(c, c->path[0], &from, &to);
    const bool same = c->path[0].end > c->path[0].start && strlen(title) == to - from &&
                      memcmp(title, c->d->text.data + from, to - from) == 0;
    if (*title && !same)
        n = append(head, n, title, strlen(title));
    for (int i = 0; i < LEVELS; i++) {
        bare_heading(c, c->path[i], &from, &to);
        if (to > from)
            n = append(head, n, c->d->text.data + from, to - from);
    }
    head[n] = '\0';
    for (char *at = head; *at; at++)
        *at = *at == '\n' ? ' ' : *at;
    shorten(head, HEAD_SHARE * c->cap);
    return head;
}

/* ---- chunks ---- */

static uint32_t line_of(struct cutter *c, size_t at)
{
    for (; c->line_at < at; c->line_at++)
        c->line += c->d->text.data[c->line_at] == '\n';
    return c->line;
}

static rag_err emit(struct cutter *c, size_t end)
{
    struct open_chunk *o = &c->now;
    if (c->n == c->room) {
        const size_t room = c->room ? 2 * c->room : 64;
        struct text_chunk *more = mem_resize(c->out, room * sizeof *more);
        if (!more)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu chunks", room);
        c->out = more;
        c->room = room;
    }
    c->out[c->n] = (struct text_chunk){.seq = (uint32_t)c->n,
                                       .start = o->start,
                                       .end = end,
                                       .lead_start = o->lead_start,
                                       .lead_end = o->lead_end,
                                       .line = line_of(c, o->start),
                                       .page = o->page,
                                       .head = o->head};
    c->n++;
    o->head = NULL;
    o->open = false;
    return RAG_OK;
}

static rag_err open_chunk(struct cutter *c, size_t start, uint32_t page)
{
    char *head = make_head(c);
    if (!head)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a chunk's head");
    mem_free(c->now.head);
    c->now = (struct open_chunk){.open = true,
                                 .start = start,
                                 .end = start,
                                 .page = page,
                                 .tail = SIZE_MAX,
                                 .last = start,
                                 .head = head};
    c->now.room = c->cap - c->lead - text_tokens(head, strlen(head));
    return RAG_OK;
}

/* Ends the chunk, if there is one; headings at its end begin the next. */
static rag_err close_chunk(struct cutter *c)
{
    struct open_chunk *o = &c->now;
    if (!o->open)
        return RAG_OK;
    if (o->tail == SIZE_MAX || o->tail == o->start)
        return emit(c, o->end);
    const size_t tail = o->tail, end = o->end;
    const uint32_t page = o->page;
    size_t to = tail;
    while (to > o->start && text_blank(c->d->text.data[to - 1]))
        to--;
    rag_err err = emit(c, to);
    if (!err)
        err = open_chunk(c, tail, page);
    o->end = end;
    o->tokens = tokens_of(c, tail, end);
    o->tail = tail;
    o->pieces = 1;
    return err;
}

/* What a chunk that is full gives its successor: its last sentence. */
static rag_err turn_over(struct cutter *c, size_t start, uint32_t page)
{
    const struct open_chunk o = c->now;
    const bool shares = c->d->running && o.pieces > 1 && o.tail == SIZE_MAX &&
                        o.last_tokens <= OVERLAP * c->target && o.last > o.start;
    rag_err err = close_chunk(c);
    if (!err && !c->now.open)
        err = open_chunk(c, shares ? o.last : start, page);
    if (!err && shares && c->now.start == o.last) {
        c->now.end = o.end;
        c->now.tokens = o.last_tokens;
        c->now.pieces = 1;
    }
    return err;
}

/* Adds a piece that is at most as large as an empty chunk's room. */
static rag_err add_piece(struct cutter *c, size_t start, size_t end, uint32_t page)
{
    struct open_chunk *o = &c->now;
    rag_err err = RAG_OK;
    if (!o->open)
        err = open_chunk(c, start, page);
    double more = err ? 0 : tokens_of(c, o->end, end);
    if (!err && o->pieces > 0 && o->tokens + more > o->room)
        err = turn_over(c, start, page);
    else if (!err && o->pieces > 0 && o->tail == SIZE_MAX && o->tokens + more > c->target &&
             o->tokens >= c->target / 2)
        err = turn_over(c, start, page);
    more = err ? 0 : tokens_of(c, o->end, end);
    if (!err && o->pieces > 0 && o->tokens + more > o->room) { /* beside what was handed on */
        err = emit(c, o->end);
        if (!err)
            err = open_chunk(c, start, page);
        more = err ? 0 : tokens_of(c, start, end);
    }
    if (err)
        return err;
    o->tokens += more;
    o->last = start;
    o->last_tokens = tokens_of(c, start, end);
    o->end = end;
    o->pieces++;
    o->tail = SIZE_MAX;
    return RAG_OK;
}

/* ---- pieces ---- */

typedef size_t (*cut_fn)(const char *s, size_t bytes, size_t at);

static size_t cut_line(const char *s, size_t bytes, size_t at)
{
    const char *lf = memchr(s + at, '\n', bytes - at);
    return lf ? (size_t)(lf - s) + 1 : bytes;
}

static size_t cut_word(const char *s, size_t bytes, size_t at)
{
    size_t next = at;
    while (at < bytes && !text_is_space(text_char(s, bytes, at, &next)))
        at = next;
    while (at < bytes && text_is_space(text_char(s, bytes, at, &next)))
        at = next;
    return at;
}

/* What a piece may have, whatever the head is. */
static double piece_room(const struct cutter *c)
{
    return (1 - HEAD_SHARE) * c->cap - c->lead;
}

/* From..to in pieces of at most `room` tokens, as many of `cut`'s cuts together as fit in
 * `merge`; a cut that is too large by the next finer one. */
static rag_err add_cut(struct cutter *c, size_t from, size_t to, const cut_fn *cuts,
                       double merge, double room, uint32_t page)
{
    const char *s = c->d->text.data;
    rag_err err = RAG_OK;
    for (size_t at = from, end; at < to && !err; at = end) {
        end = (*cuts)(s, to, at);
        double tokens = tokens_of(c, at, end);
        if (tokens > room && cuts[1]) {
            err = add_cut(c, at, end, cuts + 1, room / 4, room, page);
            continue;
        }
        while (end < to) {
            const size_t next = (*cuts)(s, to, end);
            tokens += tokens_of(c, end, next);
            if (tokens > merge)
                break;
            end = next;
        }
        err = add_piece(c, at, end, page);
    }
    return err;
}

static const cut_fn by_sentences[] = {text_sentence_end, cut_line, cut_word, text_grapheme_end,
                                      NULL};
static const cut_fn by_lines[] = {cut_line, cut_word, text_grapheme_end, NULL};

/* A table or code above the room: by lines; a table's header goes before each part. */
static rag_err add_lines(struct cutter *c, const struct text_block *b)
{
    const double lead = b->body > b->start ? tokens_of(c, b->start, b->body) : 0;
    const size_t first = c->n;
    rag_err err = RAG_OK;
    if (c->now.open && c->now.tail != c->now.start) /* headings alone stay, and go before it */
        err = close_chunk(c);
    if (err)
        return err;
    c->lead = lead <= HEAD_SHARE * c->cap ? lead : 0;
    c->now.room -= c->lead;
    err = add_cut(c, b->start, b->end, by_lines, 0, piece_room(c), b->page);
    if (!err && c->lead > 0 && c->now.open)
        err = emit(c, c->now.end);
    for (size_t i = first; c->lead > 0 && i < c->n; i++)
        if (c->out[i].start >= b->body) {
            c->out[i].lead_start = b->start;
            c->out[i].lead_end = b->body;
        }
    c->lead = 0;
    return err;
}

static rag_err add_block(struct cutter *c, const struct text_block *b)
{
    const double tokens = tokens_of(c, b->start, b->end), room = piece_room(c);
    const bool lines = b->kind == TEXT_CODE || b->kind == TEXT_TABLE;
    if (tokens <= room && (lines || tokens <= c->target / 2 || !c->d->running))
        return add_piece(c, b->start, b->end, b->page);
    if (lines)
        return add_lines(c, b);
    return add_cut(c, b->start, b->end, by_sentences, 0, room, b->page);
}

static rag_err add_heading(struct cutter *c, const struct text_block *b)
{
    struct open_chunk *o = &c->now;
    const size_t level = b->level < 1 ? 1 : b->level > LEVELS ? LEVELS : b->level;
    const bool alone = o->open && o->tail == o->start; /* headings so far */
    rag_err err = RAG_OK;
    if (o->open && !alone && (level <= 2 || o->tokens >= c->target / 2))
        err = close_chunk(c);
    for (size_t i = level - 1; i < LEVELS; i++)
        c->path[i] = i == level - 1 ? *b : (struct text_block){0};
    if (err)
        return err;
    if (tokens_of(c, b->start, b->end) > piece_room(c)) /* a heading in name alone */
        return add_cut(c, b->start, b->end, by_sentences, 0, piece_room(c), b->page);
    const size_t tail = o->open ? o->tail : SIZE_MAX, chunks = c->n;
    err = add_piece(c, b->start, b->end, b->page);
    if (err)
        return err;
    const bool same = o->open && c->n == chunks && tail != SIZE_MAX;
    o->tail = same ? tail : b->start;
    if (o->tail != o->start)
        return RAG_OK;
    /* Nothing but headings yet: the head is the deepest. */
    char *head = make_head(c);
    if (!head)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a chunk's head");
    const double room = c->cap - text_tokens(head, strlen(head));
    const bool fits = o->tokens <= room;
    mem_free(fits ? o->head : head);
    o->head = fits ? head : o->head;
    o->room = fits ? room : o->room;
    return RAG_OK;
}

rag_err text_chunk(const struct text_doc *d, const struct text_chunking *how,
                   struct text_chunk **chunks, size_t *n)
{
    struct cutter c = {.d = d, .line = 1};
    c.target = how && how->target > 0 ? how->target : TARGET;
    c.cap = how && how->cap > 0 ? how->cap : CAP;
    if (c.target > c.cap || c.cap < 32)
        return RAG_FAIL(RAG_EINVAL,
                        "chunks of %g tokens, at most %g: the cap is at least 32 "
                        "and the target",
                        c.target, c.cap);
    rag_err err = RAG_OK;
    for (size_t i = 0; i < d->nblocks && !err; i++)
        err = d->blocks[i].kind == TEXT_HEADING ? add_heading(&c, &d->blocks[i])
                                                : add_block(&c, &d->blocks[i]);
    if (!err && c.now.open)
        err = emit(&c, c.now.end);
    mem_free(c.now.head);
    if (err) {
        text_chunks_free(c.out, c.n);
        return err;
    }
    *chunks = c.out;
    *n = c.n;
    return RAG_OK;
}

void text_chunks_free(struct text_chunk *chunks, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mem_free(chunks[i].head);
    mem_free(chunks);
}
