/* wordvec_write.c - files of word vectors, written.  See wordvec.h.
 *
 * Place: rag/embed.  Invariant: what wordvec_read gave is read back the same to the bit, and
 * nothing is written of what could not be. */
#include <config.h>

#include <endian.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "ann/io/io.h"
#include "rag/embed/decimal.h"
#include "rag/embed/wordvec.h"
#include "rag/error.h"
#include "rag/text/text.h"

#define BLOCK      ((size_t)64 << 10)
#define NUMBER_MAX 18 /* bytes of a blank and a number as text, or more */

struct sink {
    struct io_target target;
    char *block; /* [BLOCK] */
    size_t used;
};

/* Why a word could not be read back; NULL: it can. */
static const char *fault(const char *word, size_t bytes, bool binary, size_t dims)
{
    const size_t numbers = binary ? 1 : NUMBER_MAX * dims;
    if (bytes == 0)
        return "is empty";
    if (bytes + numbers > WORDVEC_LINE_MAX)
        return "makes too long a line";
    if (memchr(word, '\n', bytes))
        return "holds a newline";
    if (wordvec_blank(word[0]) || wordvec_blank(word[bytes - 1]))
        return "begins or ends with a blank";
    if (binary && memchr(word, ' ', bytes))
        return "holds a blank, which ends a word in a binary file";
    return text_is_utf8(word, bytes) ? NULL : "is not UTF-8";
}

static rag_err check(const char *path, bool binary, const struct wordvec *v)
{
    char clip[WORDVEC_CLIP];
    if (v->n == 0 || v->dims < 1 || v->dims > WORDVEC_DIMS_MAX)
        return RAG_FAIL(RAG_EINVAL, "%s: %zu words of %u numbers; 1 to %d numbers are written",
                        path, v->n, v->dims, WORDVEC_DIMS_MAX);
    for (size_t i = 0; i < v->n; i++) {
        const char *word = wordvec_word(v, i),
                   *why = fault(word, strlen(word), binary, v->dims);
        if (why)
            return RAG_FAIL(RAG_EINVAL, "%s: word %zu, \"%s\", %s", path, i + 1,
                            wordvec_clip(word, strlen(word), clip), why);
        for (size_t k = 0; k < v->dims; k++)
            if (!isfinite(v->vectors[i * v->dims + k]))
                return RAG_FAIL(RAG_EINVAL, "%s: word %zu, \"%s\": number %zu is not finite",
                                path, i + 1, wordvec_clip(word, strlen(word), clip), k + 1);
    }
    return RAG_OK;
}

static rag_err flush(struct sink *s)
{
    size_t done = 0;
    while (done < s->used) {
        if (io_stop && *io_stop)
            return RAG_FAIL(RAG_ECANCELED, "%s: interrupted", s->target.path);
        const ssize_t n = write(s->target.fd, s->block + done, s->used - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return RAG_FAIL(RAG_EIO, "%s: %s", s->target.path, strerror(errno));
        done += (size_t)n;
    }
    s->used = 0;
    return RAG_OK;
}

static rag_err put(struct sink *s, const char *data, size_t bytes)
{
    while (bytes > 0) {
        const size_t room = BLOCK - s->used, n = bytes < room ? bytes : room;
        memcpy(s->block + s->used, data, n);
        s->used += n;
        data += n;
        bytes -= n;
        if (s->used == BLOCK) {
            const rag_err err = flush(s);
            if (err)
                return err;
        }
    }
    return RAG_OK;
}

static rag_err put_numbers(struct sink *s, bool binary, const float *x, size_t dims)
{
    rag_err err = binary ? put(s, " ", 1) : RAG_OK;
    for (size_t k = 0; k < dims && !err; k++) {
        char text[1 + DECIMAL_ROOM] = " ";
        uint32_t bits;
        memcpy(&bits, x + k, sizeof bits);
        bits = htole32(bits);
        err = binary ? put(s, (const char *)&bits, sizeof bits)
                     : put(s, text, 1 + decimal_print(x[k], text + 1));
    }
    return err ? err : put(s, "\n", 1);
}

rag_err wordvec_write(const char *path, bool binary, const struct wordvec *v)
{
    char head[64];
    struct sink s = {.target = {NULL, NULL, -1}};
    rag_err err = check(strcmp(path, "-") == 0 ? "standard output" : path, binary, v);
    if (err)
        return err;
    s.block = mem_alloc(BLOCK);
    err = s.block ? rag_from_base(io_target_open(path, &s.target))
                  : RAG_FAIL(RAG_ENOMEM, "%s: out of memory", path);
    const int n = snprintf(head, sizeof head, "%zu %u\n", v->n, v->dims);
    if (!err)
        err = put(&s, head, (size_t)n);
    for (size_t i = 0; i < v->n && !err; i++) {
        const char *word = wordvec_word(v, i);
        err = put(&s, word, strlen(word));
        if (!err)
            err = put_numbers(&s, binary, v->vectors + i * v->dims, v->dims);
    }
    if (!err)
        err = flush(&s);
    if (!err)
        err = rag_from_base(io_target_commit(&s.target));
    else
        io_target_drop(&s.target);
    mem_free(s.block);
    return err;
}
