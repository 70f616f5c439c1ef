/* lock.c - one writer at a time, who can be named.
 *
 * Place: rag/store.  An open file description lock: it goes with the process, whatever happens
 * to it.  The file says who holds it and what for; it is never removed, so that two processes
 * cannot hold locks on two files of one name. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "rag/store/internal.h"

#define LOCK_NOTE_MAX 160
#define LOCK_POLL_MS  50

static rag_err busy(int fd, const char *dir, unsigned wait_ms)
{
    char note[LOCK_NOTE_MAX + 1];
    const ssize_t n = pread(fd, note, LOCK_NOTE_MAX, 0);
    note[n > 0 ? n : 0] = '\0';
    note[strcspn(note, "\n")] = '\0';
    return RAG_FAIL(RAG_EBUSY, "%s: being written by %s; waited %.1f s", dir,
                    note[0] ? note : "another process", wait_ms / 1000.0);
}

static void leave_note(int fd, const char *purpose)
{
    char note[LOCK_NOTE_MAX + 1];
    const int n = snprintf(note, sizeof note, "process %ld%s%.100s\n", (long)getpid(),
                           purpose ? ", " : "", purpose ? purpose : "");
    /* Only for people: without it the lock holds all the same. */
    if (ftruncate(fd, 0) != 0 || pwrite(fd, note, (size_t)n, 0) != n)
        return;
}

rag_err lock_take(const char *dir, unsigned wait_ms, const char *purpose, int *out)
{
    const size_t room = strlen(dir) + sizeof "/lock";
    char *path = mem_alloc(room);
    if (!path)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a path");
    snprintf(path, room, "%s/lock", dir);
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    rag_err err = fd < 0 ? RAG_FAIL(RAG_EIO, "%s: %s", path, strerror(errno)) : RAG_OK;
    mem_free(path);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    for (unsigned waited = 0; !err && fcntl(fd, F_OFD_SETLK, &whole) != 0;
         waited += LOCK_POLL_MS) {
        if (errno != EAGAIN && errno != EACCES && errno != EINTR)
            err = RAG_FAIL(RAG_EIO, "%s/lock: %s", dir, strerror(errno));
        else if (waited >= wait_ms)
            err = busy(fd, dir, wait_ms);
        else
            nanosleep(&(struct timespec){0, LOCK_POLL_MS * 1000000L}, NULL);
    }
    if (err) {
        if (fd >= 0)
            close(fd);
        return err;
    }
    leave_note(fd, purpose);
    *out = fd;
    return RAG_OK;
}

void lock_give(int fd)
{
    if (fd >= 0)
        close(fd);
}
