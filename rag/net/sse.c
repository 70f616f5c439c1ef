/* sse.c - server-sent events.  See sse.h.
 *
 * Place: rag/net. */
#include <config.h>

#include <string.h>

#include "ann/base/memory.h"
#include "rag/error.h"
#include "rag/net/sse.h"

static rag_err append(char **to, size_t *used, size_t *room, const char *s, size_t n)
{
    if (n > SSE_EVENT_MAX - *used)
        return RAG_FAIL(RAG_ELIMIT, "the stream holds an event of more than %zu bytes",
                        SSE_EVENT_MAX);
    if (*used + n + 1 > *room) {
        const size_t want = *used + n + 1 + (*used + n) / 2;
        char *more = mem_resize(*to, want);
        if (!more)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for an event of %zu bytes", want);
        *to = more;
        *room = want;
    }
    memcpy(*to + *used, s, n);
    *used += n;
    (*to)[*used] = '\0';
    return RAG_OK;
}

/* A line without its end: an empty one ends an event, of the others "data" counts. */
static rag_err take_line(struct sse *s, sse_event_fn event, void *arg)
{
    rag_err err = RAG_OK;
    const char *line = s->line;
    size_t n = s->line_bytes;
    s->line_bytes = 0;
    if (n == 0) {
        if (s->has_data)
            err = event(arg, s->data ? s->data : "", s->data_bytes);
        s->has_data = false;
        s->data_bytes = 0;
        return err;
    }
    if (!s->begun && n >= 3 && memcmp(line, "\xEF\xBB\xBF", 3) == 0) {
        line += 3;
        n -= 3;
    }
    s->begun = true;
    if (n < 4 || memcmp(line, "data", 4) != 0 || (n > 4 && line[4] != ':'))
        return RAG_OK;
    line += n > 4 ? 5 : 4;
    n -= n > 4 ? 5 : 4;
    if (n > 0 && *line == ' ') {
        line++;
        n--;
    }
    if (s->has_data)
        err = append(&s->data, &s->data_bytes, &s->data_room, "\n", 1);
    if (!err)
        err = append(&s->data, &s->data_bytes, &s->data_room, line, n);
    s->has_data = true;
    return err;
}

rag_err sse_feed(struct sse *s, const char *bytes, size_t n, sse_event_fn event, void *arg)
{
    rag_err err = RAG_OK;
    for (size_t at = 0; at < n && !err;) {
        if (s->after_cr && bytes[at] == '\n') {
            s->after_cr = false;
            at++;
            continue;
        }
        s->after_cr = false;
        size_t end = at;
        while (end < n && bytes[end] != '\n' && bytes[end] != '\r')
            end++;
        err = append(&s->line, &s->line_bytes, &s->line_room, bytes + at, end - at);
        if (!err && end < n) {
            s->after_cr = bytes[end] == '\r';
            err = take_line(s, event, arg);
            end++;
        }
        at = end;
    }
    return err;
}

bool sse_is_whole(const struct sse *s)
{
    return s->line_bytes == 0 && !s->has_data;
}

void sse_free(struct sse *s)
{
    mem_free(s->line);
    mem_free(s->data);
    *s = (struct sse)SSE_INIT;
}
