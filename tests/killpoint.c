/* killpoint.c - a library to preload: the process is killed before its n-th call that changes
 * a file, as KILL_AT says; KILL_LOG gets the number of such calls of a whole run.
 *
 * What SIGKILL leaves is what was written; loss of power is another matter (docs/testing.md).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;

static void count(void)
{
    static long at = -1;
    if (at < 0) {
        const char *text = getenv("KILL_AT");
        at = text ? strtol(text, NULL, 10) : 0;
    }
    if (atomic_fetch_add(&calls, 1) + 1 == at)
        kill(getpid(), SIGKILL);
}

__attribute__((destructor)) static void report(void)
{
    const char *path = getenv("KILL_LOG");
    FILE *f = path ? fopen(path, "w") : NULL;
    if (f) {
        fprintf(f, "%ld\n", atomic_load(&calls));
        fclose(f);
    }
}

#define NEXT(name) __typeof__(&name) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t n)
{
    NEXT(write);
    if (fd > 2)
        count();
    return next(fd, data, n);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    NEXT(pwrite);
    count();
    return next(fd, data, n, at);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at)
{
    NEXT(pwrite64);
    count();
    return next(fd, data, n, at);
}

int ftruncate(int fd, off_t n)
{
    NEXT(ftruncate);
    count();
    return next(fd, n);
}

int ftruncate64(int fd, off64_t n)
{
    NEXT(ftruncate64);
    count();
    return next(fd, n);
}

int fsync(int fd)
{
    NEXT(fsync);
    count();
    return next(fd);
}

int fdatasync(int fd)
{
    NEXT(fdatasync);
    count();
    return next(fd);
}

int rename(const char *from, const char *to)
{
    NEXT(rename);
    count();
    return next(from, to);
}

int unlink(const char *path)
{
    NEXT(unlink);
    count();
    return next(path);
}
