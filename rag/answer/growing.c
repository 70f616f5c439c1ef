/* growing.c - a text that is built up piece by piece.  See growing.h.
 *
 * Place: rag/answer. */
#include <config.h>

#include <string.h>

#include "ann/base/memory.h"
#include "rag/answer/growing.h"

bool growing_put(struct growing *g, const char *s, size_t bytes)
{
    size_t want;
    if (g->failed || !size_add(g->bytes, bytes, &want) || !size_add(want, 1, &want)) {
        g->failed = true;
        return false;
    }
    if (want > g->room) {
        size_t room;
        if (!size_add(want, want / 2 + 64, &room))
            room = want;
        char *text = mem_resize(g->text, room);
        if (!text) {
            g->failed = true;
            return false;
        }
        g->text = text;
        g->room = room;
    }
    memcpy(g->text + g->bytes, s, bytes);
    g->bytes += bytes;
    g->text[g->bytes] = '\0';
    return true;
}

bool growing_puts(struct growing *g, const char *s)
{
    return growing_put(g, s, strlen(s));
}

void growing_free(struct growing *g)
{
    mem_free(g->text);
    *g = (struct growing){0};
}
