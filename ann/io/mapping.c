/* mapping.c - files: opened, mapped, read whole; and which path a mapped address belongs to.
 *
 * Place: ann/io.  Invariant: a mapping is in the table as long as it stands, so that a SIGBUS
 * (the file was cut short by another program) can be told with its path. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "ann/io/source.h"

#define TABLE 64 /* more mappings than that are not told by path */

static struct {
    _Atomic(uintptr_t) begin; /* 0: free */
    uintptr_t end;
    char path[256];
} table[TABLE];
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;

const volatile sig_atomic_t *io_stop;

static ann_err stopped(const char *path)
{
    return ANN_FAIL(ANN_ECANCELED, "%s: interrupted", io_name(path));
}

const char *io_name(const char *path)
{
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

const char *io_mapped_path(const void *address)
{
    const uintptr_t at = (uintptr_t)address;
    for (size_t i = 0; i < TABLE; i++) {
        const uintptr_t begin = atomic_load(&table[i].begin);
        if (begin != 0 && at >= begin && at < table[i].end)
            return table[i].path;
    }
    return NULL;
}

ann_err io_map_file(int fd, const char *path, size_t bytes, struct io_map *out)
{
    void *p = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return ANN_FAIL(ANN_EIO, "%s: cannot be mapped: %s", path, strerror(errno));
    pthread_mutex_lock(&table_lock);
    for (size_t i = 0; i < TABLE; i++)
        if (atomic_load(&table[i].begin) == 0) {
            table[i].end = (uintptr_t)p + bytes;
            strncpy(table[i].path, path, sizeof table[i].path - 1);
            atomic_store(&table[i].begin, (uintptr_t)p);
            break;
        }
    pthread_mutex_unlock(&table_lock);
    *out = (struct io_map){p, bytes};
    return ANN_OK;
}

ann_err io_map_open(const char *path, size_t cap, struct io_map *out)
{
    struct stat st;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block */
    if (fd < 0 || fstat(fd, &st) != 0) {
        const int why = errno;
        if (fd >= 0)
            close(fd);
        return ANN_FAIL(why == ENOENT || why == ENOTDIR ? ANN_ENOENT : ANN_EIO, "%s: %s", path,
                        strerror(why));
    }
    ann_err err = ANN_OK;
    if (!S_ISREG(st.st_mode))
        err = ANN_FAIL(ANN_EINVAL, "%s: not a regular file", path);
    else if (st.st_size == 0)
        err = ANN_FAIL(ANN_EFORMAT, "%s: empty", path);
    else if ((uint64_t)st.st_size > cap)
        err = ANN_FAIL(ANN_ELIMIT, "%s: %lld bytes; at most %zu", path, (long long)st.st_size,
                       cap);
    else
        err = io_map_file(fd, path, (size_t)st.st_size, out);
    close(fd);
    return err;
}

void io_unmap(void *data, size_t bytes)
{
    pthread_mutex_lock(&table_lock);
    for (size_t i = 0; i < TABLE; i++)
        if (atomic_load(&table[i].begin) == (uintptr_t)data)
            atomic_store(&table[i].begin, 0);
    pthread_mutex_unlock(&table_lock);
    munmap(data, bytes);
}

ann_err io_open_fd(const char *path, int *fd, size_t *bytes)
{
    const bool standard = strcmp(path, "-") == 0;
    const int got =
        standard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC);
    if (got < 0)
        return ANN_FAIL(errno == ENOENT ? ANN_ENOENT : ANN_EIO, "%s: %s", io_name(path),
                        strerror(errno));
    struct stat st;
    if (fstat(got, &st) != 0 || S_ISDIR(st.st_mode)) {
        close(got);
        return ANN_FAIL(ANN_EIO, "%s: %s", io_name(path),
                        S_ISDIR(st.st_mode) ? "is a directory" : strerror(errno));
    }
    /* Standard input is read on from where it stands, even if it is a file. */
    *bytes = S_ISREG(st.st_mode) && !standard ? (size_t)st.st_size : IO_UNKNOWN;
    *fd = got;
    return ANN_OK;
}

ann_err io_read_fd(int fd, const char *path, void *data, size_t bytes, size_t *got)
{
    size_t done = 0;
    while (done < bytes) {
        const size_t want = bytes - done;
        if (io_stop && *io_stop)
            return stopped(path);
        const ssize_t n = read(fd, (char *)data + done, want < 1 << 30 ? want : 1 << 30);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ANN_FAIL(ANN_EIO, "%s: %s", io_name(path), strerror(errno));
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *got = done;
    return ANN_OK;
}

ann_err io_room(char **p, size_t *have, size_t bytes)
{
    if (bytes <= *have && *p)
        return ANN_OK;
    char *more = mem_resize(*p, bytes);
    if (!more)
        return ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", bytes);
    *p = more;
    *have = bytes;
    return ANN_OK;
}

ann_err io_slurp(const char *path, size_t cap, char **data, size_t *bytes)
{
    int fd;
    size_t size, have = 0, used = 0;
    char *text = NULL;
    ann_err err = io_open_fd(path, &fd, &size);
    if (err)
        return err;
    if (size != IO_UNKNOWN && size > cap) {
        err = ANN_FAIL(ANN_ELIMIT, "%s: has %zu bytes, at most %zu are read", io_name(path),
                       size, cap);
        goto done;
    }
    for (;;) {
        size_t got;
        size_t want = size != IO_UNKNOWN && used == 0 ? size + 1 : have * 2;
        want = want < 4096 ? 4096 : want;
        if (have - used < 2 && (err = io_room(&text, &have, want)) != 0)
            goto done;
        if ((err = io_read_fd(fd, path, text + used, have - used - 1, &got)) != 0)
            goto done;
        used += got;
        if (used > cap) {
            err = ANN_FAIL(ANN_ELIMIT, "%s: more than %zu bytes", io_name(path), cap);
            goto done;
        }
        if (used < have - 1)
            break;
    }
    text[used] = '\0';
    *data = text;
    *bytes = used;
    text = NULL;
done:
    mem_free(text);
    close(fd);
    return err;
}
