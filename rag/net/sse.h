/* sse.h - a stream of server-sent events, taken apart as it comes.
 *
 * Place: rag/net.  Source: the HTML standard, "Server-sent events", 9.2.6; of its fields only
 * `data` and `event` matter here.  Invariant: how the bytes are split between calls changes
 * nothing. */
#ifndef KITH_RAG_NET_SSE_H
#define KITH_RAG_NET_SSE_H

#include <stdbool.h>
#include <stddef.h>

#include <rag/rag.h>

#define SSE_EVENT_MAX ((size_t)1 << 20) /* bytes of an event, and of a line */

struct sse {
    char *line, *data; /* [.._room] */
    size_t line_bytes, line_room, data_bytes, data_room;
    bool has_data;
    bool after_cr; /* a LF now belongs to the CR before */
    bool begun;    /* past a byte order mark */
};

#define SSE_INIT                                                                               \
    {                                                                                          \
        NULL, NULL, 0, 0, 0, 0, false, false, false                                            \
    }

/* data: [bytes] and a NUL, the lines of `data` of one event joined by LF.  Not RAG_OK ends the
 * feed with that. */
typedef rag_err (*sse_event_fn)(void *arg, const char *data, size_t bytes);

/* RAG_ELIMIT for an event or line above SSE_EVENT_MAX. */
rag_err sse_feed(struct sse *s, const char *bytes, size_t n, sse_event_fn event, void *arg);

/* True if the stream may end here: no event is half done. */
bool sse_is_whole(const struct sse *s);

void sse_free(struct sse *s);

#endif
