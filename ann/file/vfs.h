/* vfs.h - the system calls of the file's writer and reader, as a table that a test may replace.
 *
 * Place: file.  With another table a test makes any one call fail, cut a write short, or
 * records what a power loss would have left.  Each entry behaves as the call of its name: -1
 * and errno. */
#ifndef KITH_FILE_VFS_H
#define KITH_FILE_VFS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct vfs {
    int (*open)(const char *path, int flags, mode_t mode);
    ssize_t (*write)(int fd, const void *p, size_t n);
    ssize_t (*pread)(int fd, void *p, size_t n, off_t at);
    int (*fchmod)(int fd, mode_t mode);
    int (*fsync)(int fd);
    int (*close)(int fd);
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
};

extern const struct vfs vfs_system;

/* The table in use; vfs_use(NULL) goes back to the system's.  Tests only, and not while a file
 * is being read or written. */
const struct vfs *vfs_now(void);
void vfs_use(const struct vfs *table);

#endif
