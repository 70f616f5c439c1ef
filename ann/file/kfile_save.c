/* kfile_save.c - writes a file beside the old one and puts it in its place.  See kfile.h.
 *
 * Invariant: until rename the old file is untouched, and rename comes after a successful fsync,
 * so that a crash or power loss leaves the old file or the new one, whole.  A failed fsync is
 * never tried again: the kernel may have dropped what it could not write and would then report
 * success. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ann/base/error.h"
#include "ann/file/checksum.h"
#include "ann/file/kfile_head.h"
#include "ann/file/vfs.h"

#define STEP                                                                                   \
    ((size_t)4 << 20) /* bytes of a write, between two looks at the progress callback */
#define SMALL 65536   /* pieces below it are gathered */

static uint64_t chunk_limit = HEAD_CHUNK_MAX;

void kfile_chunk_limit(uint64_t bytes)
{
    chunk_limit = bytes > 0 && bytes < HEAD_CHUNK_MAX ? bytes : HEAD_CHUNK_MAX;
}

struct save {
    const struct vfs *vfs;
    const char *shown; /* the path as given, for messages */
    char *target;      /* the real file */
    char *temp;
    char *folder;
    bool exists; /* target does, with these bits */
    mode_t mode;
    bool made; /* temp is there */
    int fd;
    uint8_t *gathered; /* [SMALL], `used` of them */
    size_t used;
    uint64_t done;
    struct head head;
    struct wire_out bytes; /* of the head */
    ann_progress_fn progress;
    void *arg;
};

static ann_err no_memory(void)
{
    return ANN_FAIL(ANN_ENOMEM, "out of memory: saving a file");
}

static ann_err failed(const struct save *s, const char *what)
{
    const int e = errno;
    return ANN_FAIL(e == ENOENT ? ANN_ENOENT : ANN_EIO, "%s: cannot %s: %s", s->shown, what,
                    strerror(e));
}

static ann_err report(struct save *s, const char *what)
{
    if (s->progress && s->progress(s->arg, what, s->done, s->head.file_len))
        return ANN_FAIL(ANN_ECANCELED, "%s: saving was canceled", s->shown);
    return ANN_OK;
}

/* Everything below works on real paths: the target's, its folder's, the temporary file's. */
static ann_err find_target(struct save *s, const char *path)
{
    struct stat st;
    char real[PATH_MAX];
    s->shown = path;
    if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) {
        if (!realpath(path, real))
            return failed(s, "follow the symbolic link");
        path = real;
    }
    s->exists = stat(path, &st) == 0;
    if (!s->exists && errno != ENOENT)
        return failed(s, "look at it");
    if (s->exists && !S_ISREG(st.st_mode))
        return ANN_FAIL(ANN_EINVAL, "%s: cannot be replaced, it is %s", s->shown,
                        S_ISDIR(st.st_mode) ? "a folder" : "not a regular file");
    s->mode = s->exists ? st.st_mode & 0777 : 0666;

    const char *slash = strrchr(path, '/');
    if (!path[0] || (slash && !slash[1]))
        return ANN_FAIL(ANN_EINVAL, "%s: not the name of a file", s->shown);
    const size_t length = strlen(path);
    s->target = mem_strdup(path);
    s->temp = mem_alloc(length + 32);
    s->folder = mem_strdup(slash ? path : ".");
    if (!s->target || !s->temp || !s->folder)
        return no_memory();
    if (slash)
        s->folder[slash == path ? 1 : slash - path] = '\0';
    return ANN_OK;
}

/* A file of that name is left by a process of our number that was killed, or being written by a
 * sister in another container; neither is ours to take away. */
static ann_err open_temp(struct save *s)
{
    const size_t room = strlen(s->target) + 32;
    for (int i = 0; i < 100; i++) {
        if (i == 0)
            snprintf(s->temp, room, "%s.tmp-%ld", s->target, (long)getpid());
        else
            snprintf(s->temp, room, "%s.tmp-%ld-%d", s->target, (long)getpid(), i);
        do
            s->fd = s->vfs->open(s->temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                                 s->mode);
        while (s->fd < 0 && errno == EINTR);
        if (s->fd >= 0 || errno != EEXIST)
            break;
    }
    if (s->fd < 0)
        return failed(s, "create the temporary file beside it");
    s->made = true;
    if (s->exists && s->vfs->fchmod(s->fd, s->mode) != 0)
        return failed(s, "keep its permission bits");
    return ANN_OK;
}

static ann_err write_all(struct save *s, const uint8_t *p, size_t n)
{
    while (n > 0) {
        const ssize_t w = s->vfs->write(s->fd, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0) {
            if (w == 0)
                errno = EIO;
            return failed(s, "write");
        }
        p += w;
        n -= (size_t)w;
        s->done += (uint64_t)w;
    }
    return ANN_OK;
}

static ann_err flush(struct save *s)
{
    const ann_err err = write_all(s, s->gathered, s->used);
    s->used = 0;
    return err ? err : report(s, "writing");
}

static ann_err put(struct save *s, const void *data, uint64_t n)
{
    const uint8_t *p = data;
    if (n > SMALL - s->used) {
        const ann_err err = flush(s);
        if (err)
            return err;
    }
    while (n > SMALL) {
        const size_t step = n < STEP ? (size_t)n : STEP;
        ann_err err = write_all(s, p, step);
        if (!err)
            err = report(s, "writing");
        if (err)
            return err;
        p += step;
        n -= step;
    }
    if (n > 0)
        memcpy(s->gathered + s->used, p, (size_t)n);
    s->used += (size_t)n;
    return ANN_OK;
}

static ann_err write_section(struct save *s, const struct head_section *sec,
                             const uint8_t *data)
{
    uint8_t frame_bytes[HEAD_FRAME_MAX];
    for (uint64_t i = 0; i < sec->chunks; i++) {
        const struct head_frame f = head_frame(sec, i);
        head_frame_bytes(&f, frame_bytes);
        ann_err err = put(s, frame_bytes, f.len);
        if (!err)
            err = put(s, data + i * sec->chunk_bytes, f.chunk_bytes);
        if (err)
            return err;
    }
    return ANN_OK;
}

static ann_err write_file(struct save *s, const struct kfile_part *parts)
{
    uint8_t end[HEAD_END_BYTES];
    ann_err err = put(s, s->bytes.data, s->bytes.len);
    for (size_t i = 0; !err && i < s->head.n; i++)
        err = write_section(s, &s->head.sections[i], parts[i].data);
    head_end(&s->head, s->bytes.data, end);
    if (!err)
        err = put(s, end, sizeof end);
    if (!err)
        err = flush(s);
    return err;
}

/* After the rename the new file is there; what may still fail is only its safety from power
 * loss. */
static ann_err publish(struct save *s)
{
    if (s->vfs->fsync(s->fd) != 0)
        return failed(s, "bring the temporary file to disk");
    const int closed = s->vfs->close(s->fd);
    s->fd = -1;
    if (closed != 0 && errno != EINTR)
        return failed(s, "close the temporary file");

    const int folder = s->vfs->open(s->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (folder < 0)
        return failed(s, "open its folder");
    ann_err err = ANN_OK;
    if (s->vfs->rename(s->temp, s->target) != 0) {
        err = failed(s, "replace it");
    } else {
        s->made = false;
        if (s->vfs->fsync(folder) != 0 && errno != EINVAL) /* EINVAL: has no fsync of folders */
            err = failed(s, "bring its folder to disk, though the new file is in place");
    }
    s->vfs->close(folder);
    return err;
}

static ann_err check_part(const struct head *h, size_t i, const struct kfile_part *p)
{
    size_t bytes;
    if (!p->name || !head_name_sound(p->name, strlen(p->name)))
        return ANN_FAIL(ANN_EINVAL, "section %zu: its name is not 1..15 of [a-z0-9_]", i);
    for (size_t k = 0; k < i; k++)
        if (strcmp(p->name, h->sections[k].name) == 0)
            return ANN_FAIL(ANN_EINVAL, "section %s is given twice", p->name);
    if (p->row_bytes < 1 || p->row_bytes > HEAD_ROW_MAX || p->rows > KFILE_ROWS_MAX ||
        !size_mul(p->rows, p->row_bytes, &bytes))
        return ANN_FAIL(ANN_EINVAL, "section %s: %llu rows of %llu bytes", p->name,
                        (unsigned long long)p->rows, (unsigned long long)p->row_bytes);
    if (bytes > 0 && !p->data)
        return ANN_FAIL(ANN_EINVAL, "section %s: no data", p->name);
    return ANN_OK;
}

/* The head but for sums and identity. */
static ann_err plan(struct save *s, const struct kfile_meta *meta,
                    const struct kfile_part *parts, size_t n)
{
    struct head *h = &s->head;
    const char *what;
    uint64_t blocks = 0;
    if (!head_meta_sound(meta, &what))
        return ANN_FAIL(ANN_EINVAL, "%s: %s is out of bounds", s->shown, what);
    if (n > KFILE_SECTIONS)
        return ANN_FAIL(ANN_EINVAL, "%s: %zu sections, at most %d", s->shown, n,
                        KFILE_SECTIONS);
    h->meta = *meta;
    h->minor = HEAD_VERSION_MINOR;
    h->n = n;
    for (size_t i = 0; i < n; i++) {
        const ann_err err = check_part(h, i, &parts[i]);
        if (err)
            return error_prefix(err, s->shown);
        struct head_section *sec = &h->sections[i];
        memcpy(sec->name, parts[i].name, strlen(parts[i].name) + 1);
        sec->rows = parts[i].rows;
        sec->row_bytes = parts[i].row_bytes;
        sec->chunk_rows = head_chunk_rows(sec->row_bytes, chunk_limit);
        blocks += (sec->rows * sec->row_bytes + SUM_BLOCK - 1) / SUM_BLOCK;
    }
    h->sums = mem_zalloc(blocks < HEAD_MAX / 9 ? blocks : HEAD_MAX / 9, sizeof *h->sums);
    if (!h->sums)
        return no_memory();
    for (size_t i = 0, at = 0; i < n; i++) {
        h->sections[i].sums = h->sums + at;
        at += (h->sections[i].rows * h->sections[i].row_bytes + SUM_BLOCK - 1) / SUM_BLOCK;
    }
    const ann_err err = head_place(h);
    return err ? error_prefix(err, s->shown) : ANN_OK;
}

static ann_err sum_blocks(struct save *s, const struct kfile_part *parts)
{
    for (size_t i = 0; i < s->head.n; i++) {
        struct head_section *sec = &s->head.sections[i];
        for (uint64_t b = 0; b < sec->blocks; b++) {
            const uint64_t at = b * SUM_BLOCK, rest = sec->bytes - at;
            sec->sums[b] = sum64((const uint8_t *)parts[i].data + at,
                                 (size_t)(rest < SUM_BLOCK ? rest : SUM_BLOCK));
            const ann_err err = b % 64 == 63 ? report(s, "writing") : ANN_OK;
            if (err)
                return err;
        }
    }
    return ANN_OK;
}

/* Leaves nothing behind; the message of the failure stays. */
static void clean(struct save *s)
{
    if (s->fd >= 0)
        s->vfs->close(s->fd);
    if (s->made)
        s->vfs->unlink(s->temp);
    head_free(&s->head);
    wire_out_free(&s->bytes);
    mem_free(s->gathered);
    mem_free(s->target);
    mem_free(s->temp);
    mem_free(s->folder);
}

ann_err kfile_save(const char *path, const struct kfile_meta *meta,
                   const struct kfile_part *parts, size_t n, ann_progress_fn progress,
                   void *arg)
{
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    return ANN_FAIL(ANN_ENOTSUP, "%s: files are written on little-endian machines only", path);
#endif
    struct save *s = mem_zalloc(1, sizeof *s);
    if (!s)
        return no_memory();
    s->vfs = vfs_now();
    s->fd = -1;
    s->progress = progress;
    s->arg = arg;
    ann_err err = find_target(s, path);
    if (!err)
        err = plan(s, meta, parts, n);
    if (!err)
        err = sum_blocks(s, parts);
    if (!err)
        err = head_seal(&s->head, &s->bytes);
    if (!err && !(s->gathered = mem_alloc(SMALL)))
        err = no_memory();
    if (!err)
        err = open_temp(s);
    if (!err)
        err = write_file(s, parts);
    if (!err)
        err = publish(s);
    clean(s);
    mem_free(s);
    return err;
}
