/* fuzz_wordvec.c - any bytes as a file of word vectors.
 *
 * What is accepted must hold what wordvec.h promises and can be written.  "make fuzz" builds it
 * with libFuzzer; replay_wordvec.c runs it in "make check". */
#include <config.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rag/embed/wordvec.h"
#include "rag/text/text.h"
#include "tests/fuzz/fuzz.h"

static int by_word(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void check(const struct wordvec *v)
{
    const char **sorted = malloc(v->n * sizeof *sorted);
    size_t at = 0;
    if (v->n == 0 || v->dims < 1 || v->dims > WORDVEC_DIMS_MAX)
        abort();
    for (size_t i = 0; i < v->n; i++) {
        const size_t bytes = strlen(v->words + at);
        if (v->at[i] != at || bytes == 0 || !text_is_utf8(v->words + at, bytes) ||
            strchr(v->words + at, '\n'))
            abort();
        for (size_t k = 0; k < v->dims; k++)
            if (!isfinite(v->vectors[i * v->dims + k]))
                abort();
        sorted[i] = v->words + at;
        at += bytes + 1;
    }
    qsort(sorted, v->n, sizeof *sorted, by_word);
    for (size_t i = 1; i < v->n; i++)
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            abort();
    free(sorted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    struct wordvec v;
    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    const rag_err err = wordvec_read(path, (size_t)64 << 20, &v);
    if (err != RAG_OK && err != RAG_EFORMAT && err != RAG_ELIMIT)
        abort();
    if (err)
        return -1;
    check(&v);
    for (int binary = 0; binary < 2; binary++) {
        /* A word may be one that a file of the other kind cannot hold. */
        const rag_err written = wordvec_write("/dev/null", binary, &v);
        if (written != RAG_OK && written != RAG_EINVAL)
            abort();
    }
    wordvec_free(&v);
    return 0;
}
