/* pdf.c - a PDF's text by pdftotext, a program of its own with limits.
 *
 * Place: rag/text.  A parser of PDF is large and has faults; so it runs in a child that may
 * take so much time and memory and writes one pipe.  Its pages end with form feeds. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "rag/error.h"
#include "rag/text/text.h"

#define SECONDS_DEFAULT  60
#define MEMORY_MAX       ((rlim_t)1 << 30)
#define TEXT_MAX_DEFAULT ((size_t)32 << 20)

/* Where pdftotext lies; false: nowhere in PATH. */
static bool find_program(char *out, size_t room)
{
    const char *path = getenv("PATH");
    for (const char *at = path; at && *at;) {
        const size_t n = strcspn(at, ":");
        snprintf(out, room, "%.*s/pdftotext", (int)n, at);
        if (n > 0 && *at == '/' && access(out, X_OK) == 0)
            return true;
        at += n + (at[n] == ':');
    }
    return false;
}

/* The PDF as a file without a name. */
static int hold(const void *pdf, size_t bytes)
{
    const int fd = memfd_create("pdf", MFD_CLOEXEC);
    for (size_t n = 0; fd >= 0 && n < bytes;) {
        const ssize_t put = write(fd, (const char *)pdf + n, bytes - n);
        if (put < 0 && errno != EINTR) {
            close(fd);
            return -1;
        }
        n += put > 0 ? (size_t)put : 0;
    }
    return fd;
}

/* In the child, between fork and exec: only calls that are safe there. */
static void become(const char *program, int in, int out, unsigned seconds)
{
    const struct rlimit time = {seconds, seconds + 1}, memory = {MEMORY_MAX, MEMORY_MAX},
                        nothing = {0, 0};
    char *const argv[] = {(char *)"pdftotext",
                          (char *)"-enc",
                          (char *)"UTF-8",
                          (char *)"-q",
                          (char *)"/dev/fd/3",
                          (char *)"-",
                          NULL};
    char *const environment[] = {(char *)"LC_ALL=C.UTF-8", (char *)"PATH=/usr/bin:/bin", NULL};
    const int null = open("/dev/null", O_RDWR);
    const int source = fcntl(in, F_DUPFD, 10), pipe_end = fcntl(out, F_DUPFD, 10);
    if (dup2(null, 0) < 0 || dup2(pipe_end, 1) < 0 || dup2(null, 2) < 0 || dup2(source, 3) < 0)
        _exit(127);
    setrlimit(RLIMIT_CPU, &time);
    setrlimit(RLIMIT_AS, &memory);
    setrlimit(RLIMIT_FSIZE, &nothing);
    setrlimit(RLIMIT_CORE, &nothing);
    execve(program, argv, environment);
    _exit(127);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Everything the child writes, until it ends, the time is over or there is too much. */
static rag_err drain(const char *name, int fd, unsigned seconds, size_t most, char **out,
                     size_t *n)
{
    const int64_t end = now_ms() + (int64_t)seconds * 1000;
    size_t room = 0;
    for (;;) {
        if (room - *n < 2) {
            room = room ? 2 * room : 65536;
            char *more = mem_resize(*out, room);
            if (!more)
                return RAG_FAIL(RAG_ENOMEM, "out of memory for the text of %s", name);
            *out = more;
        }
        struct pollfd p = {.fd = fd, .events = POLLIN};
        const int64_t left = end - now_ms();
        const int ready = left > 0 ? poll(&p, 1, (int)left) : 0;
        if (ready == 0)
            return RAG_FAIL(RAG_ELIMIT, "%s: pdftotext took more than %u s", name, seconds);
        const ssize_t got = ready > 0 ? read(fd, *out + *n, room - *n - 1) : -1;
        if (got == 0)
            return RAG_OK;
        if (got < 0 && errno != EINTR)
            return RAG_FAIL(RAG_EIO, "%s: pdftotext: %s", name, strerror(errno));
        *n += got > 0 ? (size_t)got : 0;
        if (*n > most)
            return RAG_FAIL(RAG_ELIMIT, "%s has more than %zu bytes of text", name, most);
    }
}

static rag_err run(const char *name, const char *program, int in, unsigned seconds, size_t most,
                   char **out, size_t *n)
{
    int ends[2], status = 0;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return RAG_FAIL(RAG_EIO, "%s: pipe: %s", name, strerror(errno));
    const pid_t child = fork();
    if (child == 0)
        become(program, in, ends[1], seconds);
    close(ends[1]);
    rag_err err = child > 0 ? drain(name, ends[0], seconds, most, out, n)
                            : RAG_FAIL(RAG_EIO, "%s: fork: %s", name, strerror(errno));
    close(ends[0]);
    if (child > 0) {
        if (err)
            kill(child, SIGKILL);
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            ;
    }
    if (!err && WIFSIGNALED(status))
        err = RAG_FAIL(RAG_ELIMIT, "%s: pdftotext was ended by signal %d", name,
                       WTERMSIG(status));
    else if (!err && WEXITSTATUS(status) == 127)
        err = RAG_FAIL(RAG_ENOTSUP, "%s: %s cannot be run", name, program);
    else if (!err && WEXITSTATUS(status) != 0)
        err = RAG_FAIL(RAG_EFORMAT, "%s: pdftotext cannot read it (status %d)", name,
                       WEXITSTATUS(status));
    return err;
}

rag_err text_pdf(const char *name, const void *pdf, size_t bytes,
                 const struct text_reading *how, char **out, size_t *n)
{
    char program[4096], *text = NULL;
    size_t got = 0;
    if (!find_program(program, sizeof program))
        return RAG_FAIL(RAG_ENOTSUP, "%s: pdftotext is not installed (Debian: poppler-utils)",
                        name);
    const int in = hold(pdf, bytes);
    if (in < 0)
        return RAG_FAIL(RAG_EIO, "%s: memfd: %s", name, strerror(errno));
    rag_err err = run(name, program, in, how->pdf_seconds ? how->pdf_seconds : SECONDS_DEFAULT,
                      how->max_bytes ? how->max_bytes : TEXT_MAX_DEFAULT, &text, &got);
    close(in);
    if (err) {
        mem_free(text);
        return err;
    }
    text[got] = '\0';
    *out = text;
    *n = got;
    return RAG_OK;
}
