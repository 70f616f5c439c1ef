/* session.c - signals, progress, the lock beside an index, and how the program ends.
 *
 * Place: ann/cli.  Ctrl-C sets a flag that the progress callback and ann/io look at: the work
 * stops at a sound place and what was on disk stays.  A second one ends at once. Invariant: a
 * lock file is removed only by the process that holds it. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ann/base/blas.h"
#include "ann/base/memory.h"
#include "ann/cli/cli.h"
#include "ann/io/progress.h"

static volatile sig_atomic_t interrupted; /* the signal, once it came */
static struct progress bar;
static bool quiet;
static uint64_t added, to_add;
static char mapped_index[PATH_MAX];

static void on_interrupt(int sig)
{
    interrupted = sig;
    signal(sig, SIG_DFL);
}

/* A mapped file was cut short, or its disk failed: the memory is not there. */
static void on_bus_error(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    const char *path = io_mapped_path(info->si_addr);
    if (!path)
        path = mapped_index[0] ? mapped_index : "a mapped file";
    static const char head[] = "ann: ", tail[] = ": a part that is mapped cannot be read; "
                                                 "was the file cut short?\n";
    if (write(STDERR_FILENO, head, sizeof head - 1) < 0 ||
        write(STDERR_FILENO, path, strlen(path)) < 0 ||
        write(STDERR_FILENO, tail, sizeof tail - 1) < 0)
        _exit(CLI_DAMAGED);
    _exit(CLI_DAMAGED);
}

void session_start(const struct args *a)
{
    struct sigaction interrupt = {.sa_handler = on_interrupt}; /* no SA_RESTART: a read ends */
    sigemptyset(&interrupt.sa_mask);
    sigaction(SIGINT, &interrupt, NULL);
    sigaction(SIGTERM, &interrupt, NULL);
    struct sigaction bus = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    sigemptyset(&bus.sa_mask);
    sigaction(SIGBUS, &bus, NULL);
    io_stop = &interrupted;
    quiet = a->quiet;
    progress_init(&bar, a->quiet, &interrupted);
    if (a->threads > 0)
        blas_set_threads((int)a->threads);
}

bool session_interrupted(void)
{
    return interrupted != 0;
}

void session_adding(uint64_t done, uint64_t total)
{
    added = done;
    to_add = total;
}

int session_progress(void *arg, const char *what, uint64_t done, uint64_t total)
{
    (void)arg;
    if (strcmp(what, "add") == 0)
        return progress_step(&bar, "adding", added + done, to_add);
    return progress_step(&bar, what, done, total);
}

void session_say(const char *format, ...)
{
    if (quiet)
        return;
    progress_clear(&bar);
    va_list list;
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
}

int session_fail(ann_err err)
{
    progress_clear(&bar);
    if (err == ANN_ECANCELED && interrupted) {
        fprintf(stderr, "ann: interrupted; nothing was changed\n");
        return 128 + interrupted;
    }
    fprintf(stderr, "ann: %s\n", error_message()[0] ? error_message() : error_name(err));
    return err == ANN_EDAMAGED || err == ANN_EFORMAT || err == ANN_EVERSION ? CLI_DAMAGED
                                                                            : CLI_ERROR;
}

int session_end(ann_err err)
{
    progress_clear(&bar);
    if (err)
        return session_fail(err);
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "ann: standard output: %s\n",
                errno ? strerror(errno) : "cannot be written");
        return CLI_ERROR;
    }
    return CLI_OK;
}

ann_err session_open(const struct args *a, const char *path, ann_open_mode mode,
                     ann_index **out)
{
    ann_open_options o = ANN_OPEN_OPTIONS_INIT;
    o.mode = mode;
    o.threads = (uint32_t)a->threads;
    o.max_memory = a->max_memory;
    o.progress = session_progress;
    if (mode == ANN_OPEN_MAP)
        snprintf(mapped_index, sizeof mapped_index, "%s", path);
    return io_library(ann_open(path, &o, out));
}

/* ---- the lock ---- */

static ann_err busy(int fd, const char *path)
{
    char pid[24] = "";
    const ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
    if (n <= 0)
        return ANN_FAIL(ANN_EBUSY, "%s: another process is changing it", path);
    pid[strspn(pid, "0123456789")] = '\0';
    return ANN_FAIL(ANN_EBUSY, "%s: process %s is changing it", path, pid);
}

/* One try; *again: the file we locked was removed meanwhile by the one who held it. */
static ann_err try_lock(const char *path, struct session_lock *lock, bool *again)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct stat ours, there;
    *again = false;
    lock->fd = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock->fd < 0)
        return ANN_FAIL(ANN_EIO, "%s: %s", lock->path, strerror(errno));
    if (fcntl(lock->fd, F_OFD_SETLK, &whole) != 0) {
        const ann_err err = errno == EAGAIN || errno == EACCES
                                ? busy(lock->fd, path)
                                : ANN_FAIL(ANN_EIO, "%s: %s", lock->path, strerror(errno));
        close(lock->fd);
        lock->fd = -1;
        return err;
    }
    if (fstat(lock->fd, &ours) != 0 || stat(lock->path, &there) != 0 ||
        ours.st_ino != there.st_ino || ours.st_dev != there.st_dev) {
        close(lock->fd);
        lock->fd = -1;
        *again = true;
    }
    return ANN_OK;
}

ann_err session_lock(const char *path, struct session_lock *lock)
{
    /* Links lead to one file, so they must lead to one lock. */
    char *real = realpath(path, NULL);
    const char *target = real ? real : path;
    const size_t room = strlen(target) + sizeof "-lock";
    *lock = (struct session_lock){-1, mem_alloc(room)};
    ann_err err = ANN_OK;
    if (lock->path)
        snprintf(lock->path, room, "%s-lock", target);
    else
        err = ANN_FAIL(ANN_ENOMEM, "out of memory");
    free(real);
    for (bool again = true; !err && again;)
        err = try_lock(path, lock, &again);
    if (err) {
        mem_free(lock->path);
        lock->path = NULL;
        return err;
    }
    char pid[24];
    const int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(lock->fd, 0) != 0 || pwrite(lock->fd, pid, (size_t)n, 0) != n)
        pid[0] = '\0'; /* it only tells others who holds it */
    return ANN_OK;
}

void session_unlock(struct session_lock *lock)
{
    if (lock->fd >= 0) {
        unlink(lock->path);
        close(lock->fd);
    }
    mem_free(lock->path);
    *lock = (struct session_lock){-1, NULL};
}
