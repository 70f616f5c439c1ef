/* kfile_sample.c - see kfile_sample.h. */
#include <config.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ann/base/error.h"
#include "ann/file/checksum.h"
#include "ann/file/kfile_head.h"
#include "tests/kfile_sample.h"

static void require(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        abort();
    }
}

void sample_make(struct sample *s, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    uint64_t x = seed + 1;
    for (size_t i = 0; i < sizeof s->vectors; i++) {
        x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
        s->vectors[i] = (uint8_t)(x >> 56);
    }
    for (int i = 0; i < 3; i++)
        s->ids[i] = seed * 10 + (uint64_t)i;
    memcpy(s->tiny, "xyz", 3);
    s->meta = (struct kfile_meta){.kind = 2,
                                  .metric = 1,
                                  .dtype = 1,
                                  .dim = 4,
                                  .slots = 600,
                                  .live = 599,
                                  .seed = seed,
                                  .next_id = 600,
                                  .params = {16, 200, [15] = UINT64_MAX}};
    s->parts[0] = (struct kfile_part){"ids", s->ids, 3, 8};
    s->parts[1] = (struct kfile_part){"vectors", s->vectors, 600, 16};
    s->parts[2] = (struct kfile_part){"empty", NULL, 0, 4};
    s->parts[3] = (struct kfile_part){"odd", s->tiny, 3, 1};
}

bool sample_in(struct kfile *f, const struct sample *s)
{
    bool same = memcmp(kfile_meta(f), &s->meta, sizeof s->meta) == 0;
    for (int i = 0; i < SAMPLE_PARTS; i++) {
        const struct kfile_part *p = &s->parts[i];
        struct buf b = {0};
        same = same && kfile_take(f, p->name, p->rows, p->row_bytes, &b) == ANN_OK &&
               b.bytes == p->rows * p->row_bytes &&
               (b.bytes == 0 || memcmp(b.data, p->data, b.bytes) == 0);
        buf_free(&b);
    }
    return same;
}

ann_err sample_check(const char *path, ann_open_mode mode, const struct sample *s)
{
    struct kfile *f;
    ann_err err = kfile_open(path, mode, 0, NULL, NULL, &f);
    if (err)
        return err;
    err = kfile_verify(f, NULL, NULL);
    if (!err && !sample_in(f, s))
        err = ANN_FAIL(ANN_EDAMAGED, "accepted with other content");
    kfile_close(f);
    return err;
}

char *folder_make(void)
{
    char name[] = "kfile-test-XXXXXX";
    require(mkdtemp(name) != NULL, "mkdtemp");
    return strdup(name);
}

static int each_in(const char *folder, bool unlink_them)
{
    DIR *d = opendir(folder);
    require(d != NULL, folder);
    int n = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        n++;
        if (unlink_them)
            require(unlinkat(dirfd(d), e->d_name, 0) == 0 ||
                        unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR) == 0,
                    e->d_name);
    }
    closedir(d);
    return n;
}

int folder_count(const char *folder)
{
    return each_in(folder, false);
}

void folder_remove(char *folder)
{
    each_in(folder, true);
    require(rmdir(folder) == 0, folder);
    free(folder);
}

char *in_folder(const char *folder, const char *name)
{
    char *path;
    require(asprintf(&path, "%s/%s", folder, name) > 0, "asprintf");
    return path;
}

uint8_t *file_read(const char *path, size_t *len)
{
    struct stat st;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    require(fstat(fd, &st) == 0, path);
    uint8_t *bytes = malloc((size_t)st.st_size + 1);
    require(read(fd, bytes, (size_t)st.st_size) == st.st_size, path);
    close(fd);
    *len = (size_t)st.st_size;
    return bytes;
}

void file_write(const char *path, const uint8_t *bytes, size_t len)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    require(fd >= 0 && write(fd, bytes, len) == (ssize_t)len, path);
    close(fd);
}

struct memory_file memory_file_make(const uint8_t *bytes, size_t len)
{
    struct memory_file m;
    m.fd = memfd_create("kith", MFD_CLOEXEC);
    require(m.fd >= 0, "memfd_create");
    snprintf(m.path, sizeof m.path, "/proc/self/fd/%d", m.fd);
    memory_file_put(&m, bytes, len);
    return m;
}

void memory_file_put(const struct memory_file *m, const uint8_t *bytes, size_t len)
{
    require(ftruncate(m->fd, (off_t)len) == 0, "ftruncate");
    require(pwrite(m->fd, bytes, len, 0) == (ssize_t)len, "pwrite");
}

uint64_t get_u64(const uint8_t *p)
{
    uint64_t x = 0;
    for (int i = 1; i <= 8; i++)
        x = x << 8 | p[i];
    return x;
}

void put_u64(uint8_t *p, uint64_t x)
{
    for (int i = 8; i >= 1; i--, x >>= 8)
        p[i] = (uint8_t)x;
}

/* Written from docs/format.md, not with the library's own code. */
void reseal(uint8_t *file, size_t len, size_t head_len)
{
    uint8_t *identity = file + 8 + 9 * 5, *sum = file + HEAD_HDR_BYTES - 9;
    uint8_t *end = file + len - HEAD_END_BYTES + 5;
    uint64_t id[2];
    put_u64(identity, 0);
    put_u64(identity + 9, 0);
    put_u64(sum, 0);
    sum128(file, head_len, id);
    put_u64(identity, id[0]);
    put_u64(identity + 9, id[1]);
    put_u64(sum, sum64(file, HEAD_HDR_BYTES - 9));
    put_u64(end, get_u64(file + 8 + 9 * 7));
    put_u64(end + 9, id[0]);
    put_u64(end + 18, id[1]);
    put_u64(end + 27, sum64(file, head_len));
}
