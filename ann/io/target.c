/* target.c - a file that appears under its name only when it is whole.
 *
 * Place: ann/io.  Written to "NAME.tmp-PID-N" beside the target, fsynced, renamed over it.
 * Invariant: a failure or a crash leaves what was there before.  Pipes and devices, which
 * cannot be replaced, are written in place. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "ann/io/source.h"

static ann_err system_fail(const char *path)
{
    return ANN_FAIL(errno == ENOENT ? ANN_ENOENT : ANN_EIO, "%s: %s", path, strerror(errno));
}

void io_target_drop(struct io_target *t)
{
    if (t->temp)
        unlink(t->temp);
    if (t->fd >= 0)
        close(t->fd);
    mem_free(t->temp);
    mem_free(t->path);
    *t = (struct io_target){NULL, NULL, -1};
}

/* The path behind links, so that a link stays one when its target is replaced. */
static char *follow(const char *path)
{
    char *real = realpath(path, NULL);
    char *copy = mem_strdup(real ? real : path);
    free(real);
    return copy;
}

ann_err io_target_open(const char *path, struct io_target *t)
{
    static atomic_uint serial;
    struct stat st;
    *t = (struct io_target){NULL, NULL, -1};
    if (strcmp(path, "-") == 0) {
        t->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
        t->path = mem_strdup("standard output");
    } else if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        t->fd = open(path, O_WRONLY | O_CLOEXEC);
        t->path = mem_strdup(path);
    } else if ((t->path = follow(path)) != NULL) {
        const size_t room = strlen(t->path) + 40;
        t->temp = mem_alloc(room);
        errno = ENOMEM;
        if (t->temp) {
            snprintf(t->temp, room, "%s.tmp-%ld-%u", t->path, (long)getpid(),
                     atomic_fetch_add(&serial, 1));
            t->fd = open(t->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        }
    }
    if (t->fd >= 0 && t->path)
        return ANN_OK;
    const bool memory = !t->path || errno == ENOMEM;
    const ann_err err = memory ? ANN_FAIL(ANN_ENOMEM, "out of memory") : system_fail(path);
    if (t->fd < 0) { /* nothing of ours to remove */
        mem_free(t->temp);
        t->temp = NULL;
    }
    io_target_drop(t);
    return err;
}

/* Some file systems cannot sync a folder; the file is in place all the same. */
static void sync_folder(const char *path)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    const int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

ann_err io_target_commit(struct io_target *t)
{
    ann_err err = ANN_OK;
    if (t->temp) {
        if (fsync(t->fd) != 0 || rename(t->temp, t->path) != 0) {
            err = system_fail(t->path);
        } else {
            mem_free(t->temp);
            t->temp = NULL;
            sync_folder(t->path);
        }
    }
    io_target_drop(t);
    return err;
}

ann_err io_write_fd(int fd, const char *path, const void *data, size_t bytes)
{
    size_t done = 0;
    while (done < bytes) {
        const size_t want = bytes - done;
        if (io_stop && *io_stop)
            return ANN_FAIL(ANN_ECANCELED, "%s: interrupted", path);
        const ssize_t n = write(fd, (const char *)data + done, want < 1 << 30 ? want : 1 << 30);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return system_fail(path);
        done += (size_t)n;
    }
    return ANN_OK;
}
