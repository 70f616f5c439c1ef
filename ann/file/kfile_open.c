/* kfile_open.c - opens, loads, maps and verifies a file.  See kfile.h.
 *
 * A mapped file is mapped once as a whole; a section of more than one chunk has, besides, a run
 * of addresses of its own in which its chunks lie side by side, which works because every chunk
 * begins at a multiple of a page in the file and all but the last are whole pages long.
 * Invariant: no byte of the file is used as a size or place unless kfile_head.c has computed
 * the same, so checksums protect from accidents alone and could all be forged. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ann/base/error.h"
#include "ann/file/checksum.h"
#include "ann/file/kfile_head.h"
#include "ann/file/vfs.h"

#define REPORT_EVERY 16 /* blocks between two looks at the progress callback */

/* A section in memory. */
struct held {
    struct buf bytes;   /* after LOAD, until taken */
    const uint8_t *map; /* after MAP */
    size_t run;         /* bytes of addresses of its own at map, or 0 */
    bool taken;
};

struct kfile {
    char *path;
    ann_open_mode mode;
    int fd; /* -1 once all is read or mapped */
    struct head head;
    const uint8_t *whole; /* MAP: [head.file_len] */
    struct held held[KFILE_SECTIONS];
};

/* A walk over all content that checks it and tells how far it is. */
struct walk {
    struct kfile *f;
    ann_progress_fn progress;
    void *arg;
    const char *what;
    uint64_t blocks, done, total;
};

static ann_err read_failed(const char *path, const char *what)
{
    const int e = errno;
    return ANN_FAIL(e == ENOENT ? ANN_ENOENT : ANN_EIO, "%s: cannot %s: %s", path, what,
                    strerror(e));
}

/* Names the file; the end of a long path says more than its beginning. */
static ann_err at_path(const char *path, ann_err err)
{
    const size_t n = strlen(path);
    return error_prefix(err, n > 200 ? path + n - 200 : path);
}

static ann_err read_at(const struct kfile *f, void *to, size_t n, uint64_t at)
{
    uint8_t *p = to;
    while (n > 0) {
        const ssize_t r = vfs_now()->pread(f->fd, p, n, (off_t)at);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return read_failed(f->path, "read");
        if (r == 0)
            return ANN_FAIL(ANN_EDAMAGED, "%s: cut short while it was read", f->path);
        p += r;
        n -= (size_t)r;
        at += (uint64_t)r;
    }
    return ANN_OK;
}

static ann_err open_path(struct kfile *f, const char *path, uint64_t *size)
{
    struct stat st;
    f->path = mem_strdup(path);
    if (!f->path)
        return ANN_FAIL(ANN_ENOMEM, "out of memory: opening a file");
    do /* a FIFO would wait for a writer */
        f->fd = vfs_now()->open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    while (f->fd < 0 && errno == EINTR);
    if (f->fd < 0)
        return read_failed(path, "open");
    if (fstat(f->fd, &st) != 0)
        return read_failed(path, "look at it");
    if (!S_ISREG(st.st_mode))
        return ANN_FAIL(ANN_EFORMAT, "%s: not a kith file: it is %s", path,
                        S_ISDIR(st.st_mode) ? "a folder" : "not a regular file");
    *size = (uint64_t)st.st_size;
    return ANN_OK;
}

/* Reads head and end; on success f->head is checked whole. */
static ann_err read_head(struct kfile *f, uint64_t size)
{
    uint8_t end[HEAD_END_BYTES];
    size_t have = size < HEAD_FIRST ? (size_t)size : HEAD_FIRST;
    uint8_t *p = mem_alloc(HEAD_FIRST);
    if (!p)
        return ANN_FAIL(ANN_ENOMEM, "out of memory: the head of a file");
    ann_err err = read_at(f, p, have, 0);
    if (!err && (err = head_read(&f->head, p, have, size)))
        err = at_path(f->path, err);
    if (!err && f->head.head_len > have) { /* at most HEAD_MAX: head_read saw to it */
        uint8_t *larger = mem_resize(p, f->head.head_len);
        if (larger) {
            p = larger;
            err = read_at(f, p + have, f->head.head_len - have, have);
        } else {
            err = ANN_FAIL(ANN_ENOMEM, "out of memory: the head of a file");
        }
    }
    if (!err)
        err = read_at(f, end, sizeof end, size - sizeof end);
    if (!err && (err = head_read_sections(&f->head, p, end)))
        err = at_path(f->path, err);
    mem_free(p);
    return err;
}

static ann_err advance(struct walk *w, uint64_t bytes)
{
    w->done += bytes;
    if (w->progress && (w->blocks++ % REPORT_EVERY == 0 || w->done == w->total) &&
        w->progress(w->arg, w->what, w->done, w->total))
        return ANN_FAIL(ANN_ECANCELED, "%s: %s was canceled", w->f->path, w->what);
    return ANN_OK;
}

static ann_err check_block(const struct kfile *f, const struct head_section *s, uint64_t b,
                           const uint8_t *p, size_t n)
{
    if (sum_same(s->sums[b], sum64(p, n)))
        return ANN_OK;
    return ANN_FAIL(ANN_EDAMAGED,
                    "%s: section %s: its bytes %llu..%llu do not match their checksum", f->path,
                    s->name, (unsigned long long)(b * SUM_BLOCK),
                    (unsigned long long)(b * SUM_BLOCK + n - 1));
}

static size_t block_bytes(const struct head_section *s, uint64_t b)
{
    const uint64_t rest = s->bytes - b * SUM_BLOCK;
    return (size_t)(rest < SUM_BLOCK ? rest : SUM_BLOCK);
}

/* What lies between the chunks must be what the format says. */
static ann_err check_frames(const struct kfile *f, const struct head_section *s)
{
    uint8_t want[HEAD_FRAME_MAX], read[HEAD_FRAME_MAX];
    for (uint64_t i = 0; i < s->chunks; i++) {
        const struct head_frame frame = head_frame(s, i);
        const uint8_t *have = read;
        head_frame_bytes(&frame, want);
        if (f->whole) {
            have = f->whole + frame.at;
        } else {
            const ann_err err = read_at(f, read, (size_t)frame.len, frame.at);
            if (err)
                return err;
        }
        if (memcmp(have, want, (size_t)frame.len) != 0)
            return ANN_FAIL(ANN_EDAMAGED,
                            "%s: section %s: the padding before chunk %llu is damaged", f->path,
                            s->name, (unsigned long long)i);
    }
    return ANN_OK;
}

/* Bytes at..at+n of a section, which may lie in several chunks. */
static ann_err read_section(const struct kfile *f, const struct head_section *s, uint8_t *to,
                            uint64_t at, size_t n)
{
    while (n > 0) {
        const uint64_t chunk = at / s->chunk_bytes, within = at % s->chunk_bytes;
        const struct head_frame frame = head_frame(s, chunk);
        const uint64_t rest = frame.chunk_bytes - within;
        const size_t step = rest < n ? (size_t)rest : n;
        const ann_err err = read_at(f, to, step, frame.chunk_at + within);
        if (err)
            return err;
        to += step;
        at += step;
        n -= step;
    }
    return ANN_OK;
}

static ann_err load_section(struct walk *w, size_t i)
{
    struct kfile *f = w->f;
    const struct head_section *s = &f->head.sections[i];
    struct buf *b = &f->held[i].bytes;
    ann_err err = check_frames(f, s);
    if (!err && s->bytes > 0)
        err = buf_resize(b, (size_t)s->bytes);
    for (uint64_t k = 0; !err && k < s->blocks; k++) {
        uint8_t *p = (uint8_t *)b->data + k * SUM_BLOCK;
        const size_t n = block_bytes(s, k);
        err = read_section(f, s, p, k * SUM_BLOCK, n);
        if (!err)
            err = check_block(f, s, k, p, n);
        if (!err)
            err = advance(w, n);
    }
    return err;
}

static uint64_t content_bytes(const struct head *h)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < h->n; i++)
        bytes += h->sections[i].bytes;
    return bytes;
}

static ann_err load(struct kfile *f, uint64_t max_memory, ann_progress_fn progress, void *arg)
{
    struct walk w = {f, progress, arg, "loading", 0, 0, content_bytes(&f->head)};
    if (max_memory > 0 && w.total > max_memory)
        return ANN_FAIL(ANN_ELIMIT, "%s: loading takes %llu bytes, max_memory is %llu", f->path,
                        (unsigned long long)w.total, (unsigned long long)max_memory);
    ann_err err = ANN_OK;
    for (size_t i = 0; !err && i < f->head.n; i++)
        err = load_section(&w, i);
    return err;
}

/* Chunks side by side in a run of addresses of their own. */
static ann_err map_chunks(struct kfile *f, size_t i)
{
    const struct head_section *s = &f->head.sections[i];
    struct held *held = &f->held[i];
    const size_t run = (size_t)(s->bytes + HEAD_PAGE - 1) / HEAD_PAGE * HEAD_PAGE;
    uint8_t *base =
        mmap(NULL, run, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return read_failed(f->path, "reserve addresses for it");
    held->map = base;
    held->run = run;
    for (uint64_t k = 0; k < s->chunks; k++) {
        const struct head_frame frame = head_frame(s, k);
        if (mmap(base + k * s->chunk_bytes, (size_t)frame.chunk_bytes, PROT_READ,
                 MAP_SHARED | MAP_FIXED, f->fd, (off_t)frame.chunk_at) == MAP_FAILED)
            return read_failed(f->path, "map it");
    }
    return ANN_OK;
}

static ann_err map(struct kfile *f)
{
    void *whole = mmap(NULL, (size_t)f->head.file_len, PROT_READ, MAP_SHARED, f->fd, 0);
    if (whole == MAP_FAILED)
        return read_failed(f->path, "map it");
    f->whole = whole;
    for (size_t i = 0; i < f->head.n; i++) {
        const struct head_section *s = &f->head.sections[i];
        if (s->chunks > 1 && sysconf(_SC_PAGESIZE) != HEAD_PAGE)
            return ANN_FAIL(ANN_ENOTSUP,
                            "%s: section %s has several chunks, which can be mapped "
                            "only where pages have %d bytes; load it",
                            f->path, s->name, HEAD_PAGE);
        f->held[i].map = s->chunks > 0 ? f->whole + s->offset : NULL;
        const ann_err err = s->chunks > 1 ? map_chunks(f, i) : ANN_OK;
        if (err)
            return err;
    }
    return ANN_OK;
}

/* Open, with the head read and checked and nothing else. */
static ann_err open_head(const char *path, struct kfile **out)
{
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    return ANN_FAIL(ANN_ENOTSUP, "%s: files are read on little-endian machines only", path);
#endif
    uint64_t size = 0;
    struct kfile *f = mem_zalloc(1, sizeof *f);
    if (!f)
        return ANN_FAIL(ANN_ENOMEM, "out of memory: opening a file");
    f->fd = -1;
    ann_err err = open_path(f, path, &size);
    if (!err)
        err = read_head(f, size);
    if (err)
        kfile_close(f);
    else
        *out = f;
    return err;
}

static void close_fd(struct kfile *f)
{
    if (f->fd >= 0)
        vfs_now()->close(f->fd);
    f->fd = -1;
}

ann_err kfile_open(const char *path, ann_open_mode mode, uint64_t max_memory,
                   ann_progress_fn progress, void *arg, struct kfile **out)
{
    struct kfile *f;
    if (mode != ANN_OPEN_LOAD && mode != ANN_OPEN_MAP)
        return ANN_FAIL(ANN_EINVAL, "%s: open mode %d", path, (int)mode);
    ann_err err = open_head(path, &f);
    if (err)
        return err;
    f->mode = mode;
    err = mode == ANN_OPEN_LOAD ? load(f, max_memory, progress, arg) : map(f);
    if (err) {
        kfile_close(f);
        return err;
    }
    close_fd(f);
    *out = f;
    return ANN_OK;
}

const struct kfile_meta *kfile_meta(const struct kfile *f)
{
    return &f->head.meta;
}

static const struct head_section *find(const struct kfile *f, const char *name)
{
    for (size_t i = 0; i < f->head.n; i++)
        if (strcmp(f->head.sections[i].name, name) == 0)
            return &f->head.sections[i];
    return NULL;
}

ann_err kfile_take(struct kfile *f, const char *name, uint64_t rows, uint64_t row_bytes,
                   struct buf *b)
{
    const struct head_section *s = find(f, name);
    if (!s)
        return ANN_FAIL(ANN_EDAMAGED, "%s: section %s is missing", f->path, name);
    if (s->rows != rows || s->row_bytes != row_bytes)
        return ANN_FAIL(ANN_EDAMAGED,
                        "%s: section %s has %llu rows of %llu bytes, not %llu of %llu", f->path,
                        name, (unsigned long long)s->rows, (unsigned long long)s->row_bytes,
                        (unsigned long long)rows, (unsigned long long)row_bytes);
    struct held *held = &f->held[s - f->head.sections];
    if (held->taken)
        return ANN_FAIL(ANN_EINVAL, "%s: section %s was taken before", f->path, name);
    held->taken = true;
    if (f->mode == ANN_OPEN_MAP) {
        buf_borrow(b, held->map, (size_t)s->bytes);
    } else {
        *b = held->bytes;
        memset(&held->bytes, 0, sizeof held->bytes);
    }
    return ANN_OK;
}

bool kfile_has(const struct kfile *f, const char *name, uint64_t *rows)
{
    const struct head_section *s = find(f, name);
    if (s && rows)
        *rows = s->rows;
    return s != NULL;
}

ann_err kfile_verify(const struct kfile *f, ann_progress_fn progress, void *arg)
{
    /* After LOAD everything was checked, and its sections may be others' by now. */
    if (f->mode != ANN_OPEN_MAP)
        return ANN_OK;
    struct walk w = {(struct kfile *)(uintptr_t)f, progress, arg, "verifying", 0, 0,
                     content_bytes(&f->head)};
    ann_err err = ANN_OK;
    for (size_t i = 0; !err && i < f->head.n; i++) {
        const struct head_section *s = &f->head.sections[i];
        err = check_frames(f, s);
        for (uint64_t b = 0; !err && b < s->blocks; b++) {
            const size_t n = block_bytes(s, b);
            err = check_block(f, s, b, f->held[i].map + b * SUM_BLOCK, n);
            if (!err)
                err = advance(&w, n);
        }
    }
    return err;
}

const char *kfile_path(const struct kfile *f)
{
    return f->path;
}

uint64_t kfile_mapped_bytes(const struct kfile *f)
{
    return f->whole ? f->head.file_len : 0;
}

void kfile_close(struct kfile *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < KFILE_SECTIONS; i++) {
        buf_free(&f->held[i].bytes);
        if (f->held[i].run > 0)
            munmap((void *)(uintptr_t)f->held[i].map, f->held[i].run);
    }
    if (f->whole)
        munmap((void *)(uintptr_t)f->whole, (size_t)f->head.file_len);
    close_fd(f);
    head_free(&f->head);
    mem_free(f->path);
    mem_free(f);
}

ann_err kfile_read_header(const char *path, struct kfile_meta *meta, ann_file_info *info)
{
    struct kfile *f;
    const ann_err err = open_head(path, &f);
    if (err)
        return err;
    const struct kfile_meta *m = &f->head.meta;
    if (meta)
        *meta = *m;
    if (info) { /* m, ef_construction and max_level are the kind's to fill in */
        info->version_major = HEAD_VERSION_MAJOR;
        info->version_minor = (uint32_t)f->head.minor;
        info->kind = (ann_kind)m->kind;
        info->metric = (ann_metric)m->metric;
        info->store = (ann_dtype)m->dtype;
        info->dim = (uint32_t)m->dim;
        info->seed = m->seed;
        info->count = m->live;
        info->slots = m->slots;
        info->file_bytes = f->head.file_len;
        memcpy(info->identity, f->head.identity, sizeof info->identity);
        info->sections = (uint32_t)f->head.n;
    }
    kfile_close(f);
    return ANN_OK;
}

ann_err kfile_read_section(const char *path, uint32_t i, ann_section_info *info)
{
    struct kfile *f;
    ann_err err = open_head(path, &f);
    if (err)
        return err;
    if (i >= f->head.n) {
        err = ANN_FAIL(ANN_EINVAL, "%s: section %u, it has %zu", path, i, f->head.n);
    } else {
        const struct head_section *s = &f->head.sections[i];
        memcpy(info->name, s->name, sizeof info->name);
        info->offset = s->offset;
        info->bytes = s->bytes;
        info->rows = s->rows;
        info->row_bytes = s->row_bytes;
    }
    kfile_close(f);
    return err;
}
