/* test_kfile.c - files come back as they were saved; damaged and forged ones do not open.
 *
 * Damage: every bit and every length of a small file.  Forgery: each number of header and
 * directory set to what breaks readers, with all checksums made good again. */
#include <config.h>

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ann/base/error.h"
#include "ann/file/checksum.h"
#include "ann/file/kfile_head.h"
#include "tests/kfile_sample.h"

#define CHUNK 4096

static char *folder;
static struct sample sample;
static uint8_t *bytes; /* [len] of the sample's file */
static size_t len, head_len;

static void setup(void)
{
    folder = folder_make();
    kfile_chunk_limit(CHUNK);
    sample_make(&sample, 7);
    char *path = in_folder(folder, "setup.kith");
    ck_assert_int_eq(kfile_save(path, &sample.meta, sample.parts, SAMPLE_PARTS, NULL, NULL), 0);
    bytes = file_read(path, &len);
    head_len = get_u64(bytes + 8 + 9 * 8);
    unlink(path);
    free(path);
}

static void teardown(void)
{
    kfile_chunk_limit(0);
    folder_remove(folder);
    free(bytes);
}

#define assert_ok(err) ck_assert_msg((err) == ANN_OK, "%s", error_message())

static void assert_fails(ann_err got, ann_err want, const char *with)
{
    ck_assert_msg(got == want, "%s, not %s: %s", error_name(got), error_name(want),
                  error_message());
    ck_assert_msg(strstr(error_message(), with) != NULL, "no \"%s\" in: %s", with,
                  error_message());
}

/* ------------------------------------------------------------------ */
/* Round trips                                                        */
/* ------------------------------------------------------------------ */

static const uint64_t limits[] = {4096, 8192, 65536, 0};

START_TEST(round_trip)
{
    char *path = in_folder(folder, "a.kith");
    kfile_chunk_limit(limits[_i]);
    assert_ok(kfile_save(path, &sample.meta, sample.parts, SAMPLE_PARTS, NULL, NULL));
    assert_ok(sample_check(path, ANN_OPEN_LOAD, &sample));
    assert_ok(sample_check(path, ANN_OPEN_MAP, &sample));
    ck_assert_int_eq(folder_count(folder), 1);

    struct kfile *f;
    assert_ok(kfile_open(path, ANN_OPEN_MAP, 0, NULL, NULL, &f));
    struct buf b = {0};
    assert_ok(kfile_take(f, "vectors", 600, 16, &b));
    ck_assert(buf_borrowed(&b));
    ck_assert_uint_eq((uintptr_t)b.data % 4096, 0);
    buf_free(&b);
    assert_ok(kfile_take(f, "ids", 3, 8, &b));
    ck_assert_uint_eq((uintptr_t)b.data % 64, 0);
    buf_free(&b);
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(kfile_mapped_bytes(f), (uint64_t)st.st_size);
    ck_assert_str_eq(kfile_path(f), path);
    kfile_close(f);

    assert_ok(kfile_open(path, ANN_OPEN_LOAD, 0, NULL, NULL, &f));
    ck_assert_uint_eq(kfile_mapped_bytes(f), 0);
    assert_ok(kfile_take(f, "vectors", 600, 16, &b));
    ck_assert(!buf_borrowed(&b));
    kfile_close(f); /* b is ours and outlives it */
    ck_assert_int_eq(memcmp(b.data, sample.vectors, 9600), 0);
    buf_free(&b);
    free(path);
}
END_TEST

/* Row lengths that divide no page, and rows around the ends of chunks and blocks. */
START_TEST(row_lengths)
{
    static const uint64_t row_bytes[] = {1,   3,   4,    7,    64,   100,
                                         132, 400, 1000, 4096, 5000, 524288};
    static const uint64_t rows[] = {1,  2,   31,   32,   33,   40,   41,
                                    42, 128, 1023, 1024, 4095, 4097, 8193};
    char *path = in_folder(folder, "r.kith");
    uint8_t *data = malloc(5000 * 2000);
    for (size_t i = 0; i < 5000 * 2000; i++)
        data[i] = (uint8_t)(i * 31 + (i >> 10));
    const uint64_t w = row_bytes[_i];
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        const uint64_t n = rows[k];
        if (n * w > 5000 * 2000)
            break;
        const struct kfile_part parts[] = {{"a", data, n, w}, {"b", data + 1, 1, 5}};
        assert_ok(kfile_save(path, &sample.meta, parts, 2, NULL, NULL));
        for (int mode = 0; mode < 2; mode++) {
            struct kfile *f;
            struct buf b = {0};
            assert_ok(kfile_open(path, (ann_open_mode)mode, 0, NULL, NULL, &f));
            assert_ok(kfile_verify(f, NULL, NULL));
            assert_ok(kfile_take(f, "a", n, w, &b));
            ck_assert_uint_eq(b.bytes, n * w);
            ck_assert_int_eq(memcmp(b.data, data, n * w), 0);
            buf_free(&b);
            assert_ok(kfile_take(f, "b", 1, 5, &b));
            ck_assert_int_eq(memcmp(b.data, data + 1, 5), 0);
            buf_free(&b);
            kfile_close(f);
        }
    }
    free(data);
    free(path);
}
END_TEST

START_TEST(no_sections)
{
    char *path = in_folder(folder, "none.kith");
    struct kfile *f;
    assert_ok(kfile_save(path, &sample.meta, NULL, 0, NULL, NULL));
    for (int mode = 0; mode < 2; mode++) {
        assert_ok(kfile_open(path, (ann_open_mode)mode, 0, NULL, NULL, &f));
        assert_ok(kfile_verify(f, NULL, NULL));
        ck_assert(!kfile_has(f, "ids", NULL));
        kfile_close(f);
    }
    free(path);
}
END_TEST

START_TEST(most_sections)
{
    char *path = in_folder(folder, "most.kith");
    struct kfile_part parts[KFILE_SECTIONS + 1];
    char names[KFILE_SECTIONS + 1][16];
    for (int i = 0; i <= KFILE_SECTIONS; i++) {
        snprintf(names[i], 16, "section_%07d", i);
        parts[i] = (struct kfile_part){names[i], bytes, (uint64_t)i, 100};
    }
    assert_ok(kfile_save(path, &sample.meta, parts, KFILE_SECTIONS, NULL, NULL));
    struct kfile *f;
    assert_ok(kfile_open(path, ANN_OPEN_LOAD, 0, NULL, NULL, &f));
    uint64_t rows = 0;
    ck_assert(kfile_has(f, "section_0000031", &rows) && rows == 31);
    kfile_close(f);
    assert_fails(kfile_save(path, &sample.meta, parts, KFILE_SECTIONS + 1, NULL, NULL),
                 ANN_EINVAL, "33 sections");
    free(path);
}
END_TEST

START_TEST(take)
{
    char *path = in_folder(folder, "t.kith");
    file_write(path, bytes, len);
    for (int mode = 0; mode < 2; mode++) {
        struct kfile *f;
        struct buf b = {0};
        uint64_t rows = 99;
        assert_ok(kfile_open(path, (ann_open_mode)mode, 0, NULL, NULL, &f));
        ck_assert(kfile_has(f, "empty", &rows) && rows == 0);
        ck_assert(!kfile_has(f, "nothing", &rows) && rows == 0);
        assert_fails(kfile_take(f, "nothing", 1, 1, &b), ANN_EDAMAGED,
                     "t.kith: section nothing");
        assert_fails(kfile_take(f, "ids", 4, 8, &b), ANN_EDAMAGED,
                     "3 rows of 8 bytes, not 4 of 8");
        assert_fails(kfile_take(f, "ids", 3, 4, &b), ANN_EDAMAGED,
                     "3 rows of 8 bytes, not 3 of 4");
        ck_assert_ptr_null(b.data);
        assert_ok(kfile_take(f, "empty", 0, 4, &b));
        ck_assert_uint_eq(b.bytes, 0);
        buf_free(&b);
        assert_ok(kfile_take(f, "ids", 3, 8, &b));
        buf_free(&b);
        assert_fails(kfile_take(f, "ids", 3, 8, &b), ANN_EINVAL, "taken before");
        kfile_close(f);
    }
    kfile_close(NULL);
    free(path);
}
END_TEST

START_TEST(header)
{
    char *path = in_folder(folder, "h.kith");
    file_write(path, bytes, len);
    struct kfile_meta meta;
    ann_file_info info = {.size = sizeof info, .m = 5};
    assert_ok(kfile_read_header(path, &meta, &info));
    ck_assert_int_eq(memcmp(&meta, &sample.meta, sizeof meta), 0);
    ck_assert_uint_eq(info.size, sizeof info);
    ck_assert_uint_eq(info.version_major, 1);
    ck_assert_uint_eq(info.version_minor, 0);
    ck_assert_int_eq(info.kind, ANN_HNSW);
    ck_assert_int_eq(info.metric, ANN_L2);
    ck_assert_int_eq(info.store, ANN_F32);
    ck_assert_uint_eq(info.dim, 4);
    ck_assert_uint_eq(info.m, 5);
    ck_assert_uint_eq(info.seed, 7);
    ck_assert_uint_eq(info.count, 599);
    ck_assert_uint_eq(info.slots, 600);
    ck_assert_uint_eq(info.file_bytes, len);
    ck_assert_uint_eq(info.sections, SAMPLE_PARTS);
    ck_assert(info.identity[0] != 0 && info.identity[1] != 0);
    assert_ok(kfile_read_header(path, NULL, NULL));

    ann_section_info section;
    for (uint32_t i = 0; i < SAMPLE_PARTS; i++) {
        assert_ok(kfile_read_section(path, i, &section));
        const struct kfile_part *p = &sample.parts[i];
        ck_assert_str_eq(section.name, p->name);
        ck_assert_uint_eq(section.rows, p->rows);
        ck_assert_uint_eq(section.row_bytes, p->row_bytes);
        ck_assert_uint_eq(section.bytes, p->rows * p->row_bytes);
        if (section.bytes > 0) /* of the first chunk at least */
            ck_assert_int_eq(memcmp(bytes + section.offset, p->data,
                                    section.bytes < CHUNK ? section.bytes : CHUNK),
                             0);
    }
    assert_fails(kfile_read_section(path, SAMPLE_PARTS, &section), ANN_EINVAL, "section 4");
    free(path);
}
END_TEST

static void save_as(const char *name, const struct sample *s, uint64_t identity[2])
{
    char *path = in_folder(folder, name);
    ann_file_info info;
    assert_ok(kfile_save(path, &s->meta, s->parts, SAMPLE_PARTS, NULL, NULL));
    assert_ok(kfile_read_header(path, NULL, &info));
    memcpy(identity, info.identity, sizeof info.identity);
    free(path);
}

/* The same content gives the same bytes; another bit of anything another identity. */
START_TEST(identity)
{
    uint64_t first[2], again[2];
    size_t n;
    save_as("a.kith", &sample, first);
    char *path = in_folder(folder, "a.kith");
    uint8_t *a = file_read(path, &n);
    ck_assert_uint_eq(n, len);
    ck_assert_int_eq(memcmp(a, bytes, len), 0);
    free(a);
    free(path);
    for (int i = 0; i < 5; i++) {
        struct sample other;
        sample_make(&other, 7);
        const char *name = "other";
        if (i == 0)
            other.vectors[9599] ^= 1;
        else if (i == 1)
            other.meta.seed++;
        else if (i == 2)
            other.meta.params[3]++;
        else if (i == 3)
            other.parts[3].name = name;
        else
            other.parts[3].rows = 2;
        save_as("b.kith", &other, again);
        ck_assert(first[0] != again[0] && first[1] != again[1]);
    }
}
END_TEST

/* ------------------------------------------------------------------ */
/* Refusals of the caller                                             */
/* ------------------------------------------------------------------ */

START_TEST(bad_parts)
{
    static const struct {
        struct kfile_part part;
        const char *with;
    } bad[] = {
        {{NULL, "x", 1, 1}, "its name"},
        {{"", "x", 1, 1}, "its name"},
        {{"Upper", "x", 1, 1}, "its name"},
        {{"a b", "x", 1, 1}, "its name"},
        {{"sixteen_letters_", "x", 1, 1}, "its name"},
        {{"ids", "x", 1, 1}, "twice"},
        {{"p", "x", 1, 0}, "rows of 0 bytes"},
        {{"p", "x", 1, 524289}, "524289 bytes"},
        {{"p", "x", UINT64_C(0xffffffff), 1}, "4294967295 rows"},
        {{"p", "x", UINT64_MAX, 8}, "rows of 8"},
        {{"p", NULL, 1, 1}, "no data"},
    };
    char *path = in_folder(folder, "p.kith");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const struct kfile_part parts[] = {sample.parts[0], bad[i].part};
        assert_fails(kfile_save(path, &sample.meta, parts, 2, NULL, NULL), ANN_EINVAL,
                     bad[i].with);
    }
    /* A directory would not hold its checksums. */
    const struct kfile_part huge = {"p", "x", KFILE_ROWS_MAX, 524288};
    assert_fails(kfile_save(path, &sample.meta, &huge, 1, NULL, NULL), ANN_ELIMIT, "p.kith: ");
    ck_assert_int_eq(folder_count(folder), 0);
    free(path);
}
END_TEST

START_TEST(bad_meta)
{
    char *path = in_folder(folder, "m.kith");
    struct kfile_meta m[6];
    static const char *const with[] = {"kind", "metric", "dtype", "dim", "slots", "live"};
    for (int i = 0; i < 6; i++)
        m[i] = sample.meta;
    m[0].kind = 256;
    m[1].metric = 256;
    m[2].dtype = 256;
    m[3].dim = 65537;
    m[4].slots = KFILE_ROWS_MAX + 1;
    m[5].live = 601;
    for (int i = 0; i < 6; i++)
        assert_fails(kfile_save(path, &m[i], NULL, 0, NULL, NULL), ANN_EINVAL, with[i]);
    m[3].dim = 0;
    assert_fails(kfile_save(path, &m[3], NULL, 0, NULL, NULL), ANN_EINVAL, "dim");
    free(path);
}
END_TEST

START_TEST(bad_targets)
{
    char *sub = in_folder(folder, "sub"), *fifo = in_folder(folder, "fifo");
    char *dangling = in_folder(folder, "dangling"), *loop = in_folder(folder, "loop");
    char *lost = in_folder(folder, "no/x.kith"), *slash = in_folder(folder, "x.kith/");
    ck_assert_int_eq(mkdir(sub, 0755), 0);
    ck_assert_int_eq(mkfifo(fifo, 0644), 0);
    ck_assert_int_eq(symlink("nowhere", dangling), 0);
    ck_assert_int_eq(symlink("loop", loop), 0);
    static const struct kfile_part none[1];
    const struct kfile_meta *m = &sample.meta;
    assert_fails(kfile_save(sub, m, none, 0, NULL, NULL), ANN_EINVAL,
                 "sub: cannot be replaced, it is a folder");
    assert_fails(kfile_save(fifo, m, none, 0, NULL, NULL), ANN_EINVAL, "not a regular file");
    assert_fails(kfile_save("/dev/null", m, none, 0, NULL, NULL), ANN_EINVAL, "not a regular");
    assert_fails(kfile_save(dangling, m, none, 0, NULL, NULL), ANN_ENOENT, "symbolic link");
    assert_fails(kfile_save(loop, m, none, 0, NULL, NULL), ANN_EIO, "symbolic link");
    assert_fails(kfile_save(lost, m, none, 0, NULL, NULL), ANN_ENOENT, "no/x.kith");
    assert_fails(kfile_save(slash, m, none, 0, NULL, NULL), ANN_EINVAL, "not the name");
    assert_fails(kfile_save("", m, none, 0, NULL, NULL), ANN_EINVAL, "not the name");
    ck_assert_int_eq(folder_count(folder), 4);

    struct kfile *f = NULL;
    assert_fails(kfile_open(sub, ANN_OPEN_LOAD, 0, NULL, NULL, &f), ANN_EFORMAT, "a folder");
    assert_fails(kfile_open(fifo, ANN_OPEN_MAP, 0, NULL, NULL, &f), ANN_EFORMAT,
                 "not a regular");
    assert_fails(kfile_open(dangling, ANN_OPEN_LOAD, 0, NULL, NULL, &f), ANN_ENOENT,
                 "dangling");
    assert_fails(kfile_open(lost, ANN_OPEN_LOAD, 0, NULL, NULL, &f), ANN_ENOENT, "no/x.kith");
    assert_fails(kfile_open(lost, (ann_open_mode)7, 0, NULL, NULL, &f), ANN_EINVAL, "mode 7");
    ck_assert_ptr_null(f);
    free(sub);
    free(fifo);
    free(dangling);
    free(loop);
    free(lost);
    free(slash);
}
END_TEST

/* A link stays a link, bits stay as they are, a new file obeys the umask. */
START_TEST(replaced)
{
    char *real = in_folder(folder, "real.kith"), *link = in_folder(folder, "link.kith");
    struct stat st;
    const mode_t old = umask(027);
    assert_ok(kfile_save(real, &sample.meta, NULL, 0, NULL, NULL));
    ck_assert_int_eq(stat(real, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0640);
    ck_assert_int_eq(chmod(real, 0606), 0);
    ck_assert_int_eq(symlink("real.kith", link), 0);
    assert_ok(kfile_save(link, &sample.meta, sample.parts, SAMPLE_PARTS, NULL, NULL));
    umask(old);
    ck_assert_int_eq(lstat(link, &st), 0);
    ck_assert(S_ISLNK(st.st_mode));
    ck_assert_int_eq(stat(real, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0606);
    assert_ok(sample_check(real, ANN_OPEN_LOAD, &sample));
    ck_assert_int_eq(folder_count(folder), 2);
    free(real);
    free(link);
}
END_TEST

/* A temporary file of our own process number that a killed one left does not block a save. */
START_TEST(leftover)
{
    char name[64];
    snprintf(name, sizeof name, "l.kith.tmp-%ld", (long)getpid());
    char *path = in_folder(folder, "l.kith"), *left = in_folder(folder, name);
    file_write(left, (const uint8_t *)"x", 1);
    assert_ok(kfile_save(path, &sample.meta, sample.parts, SAMPLE_PARTS, NULL, NULL));
    assert_ok(sample_check(path, ANN_OPEN_MAP, &sample));
    ck_assert_int_eq(folder_count(folder), 2);
    free(path);
    free(left);
}
END_TEST

START_TEST(relative_path)
{
    ck_assert_int_eq(chdir(folder), 0);
    assert_ok(kfile_save("here.kith", &sample.meta, sample.parts, SAMPLE_PARTS, NULL, NULL));
    assert_ok(sample_check("here.kith", ANN_OPEN_LOAD, &sample));
    ck_assert_int_eq(chdir(".."), 0);
}
END_TEST

/* ------------------------------------------------------------------ */
/* Progress, memory, size                                             */
/* ------------------------------------------------------------------ */

struct seen {
    uint64_t calls, last, total, stop_at;
    bool back;
};

static int watch(void *arg, const char *what, uint64_t done, uint64_t total)
{
    struct seen *s = arg;
    ck_assert_str_ne(what, "");
    ck_assert_uint_le(done, total);
    s->back = s->back || done < s->last;
    s->last = done;
    s->total = total;
    return ++s->calls == s->stop_at;
}

START_TEST(progress)
{
    const size_t n = 40 << 20;
    uint8_t *data = calloc(1, n);
    const struct kfile_part part = {"big", data, n / 16, 16};
    char *path = in_folder(folder, "big.kith");
    kfile_chunk_limit(0);
    file_write(path, bytes, len); /* the old file */
    struct seen seen = {0};
    for (uint64_t at = 1;; at++) {
        seen = (struct seen){.stop_at = at};
        const ann_err err = kfile_save(path, &sample.meta, &part, 1, watch, &seen);
        if (err == ANN_OK)
            break;
        assert_fails(err, ANN_ECANCELED, "big.kith: saving was canceled");
        assert_ok(sample_check(path, ANN_OPEN_LOAD, &sample));
        ck_assert_int_eq(folder_count(folder), 1);
    }
    ck_assert_uint_gt(seen.calls, 8);
    ck_assert(!seen.back);
    ck_assert_uint_eq(seen.last, seen.total);
    free(data);

    struct kfile *f = NULL;
    for (int mode = 0; mode < 2; mode++) {
        if (mode == 1)
            assert_ok(kfile_open(path, ANN_OPEN_MAP, 0, NULL, NULL, &f));
        for (uint64_t at = 1;; at++) {
            seen = (struct seen){.stop_at = at};
            const ann_err err = mode == 1
                                    ? kfile_verify(f, watch, &seen)
                                    : kfile_open(path, ANN_OPEN_LOAD, 0, watch, &seen, &f);
            if (err == ANN_OK)
                break;
            assert_fails(err, ANN_ECANCELED, "was canceled");
        }
        ck_assert_uint_gt(seen.calls, 2);
        ck_assert_uint_eq(seen.last, n);
        kfile_close(f);
    }
    free(path);
}
END_TEST

START_TEST(max_memory)
{
    char *path = in_folder(folder, "mm.kith");
    struct kfile *f;
    const uint64_t need = 24 + 9600 + 3;
    file_write(path, bytes, len);
    assert_fails(kfile_open(path, ANN_OPEN_LOAD, need - 1, NULL, NULL, &f), ANN_ELIMIT, "9627");
    assert_ok(kfile_open(path, ANN_OPEN_LOAD, need, NULL, NULL, &f));
    kfile_close(f);
    assert_ok(kfile_open(path, ANN_OPEN_MAP, 1, NULL, NULL, &f));
    kfile_close(f);
    free(path);
}
END_TEST

/* A file of 12 GB with holes, its head longer than the first read: several chunks of 2 GiB
 * appear as one run of memory. */
START_TEST(huge_sparse)
{
    static struct head h;
    const uint64_t rows = 24000000, width = 512;
    h.meta = sample.meta;
    h.n = 1;
    h.sections[0] = (struct head_section){.name = "vectors",
                                          .rows = rows,
                                          .row_bytes = width,
                                          .chunk_rows = head_chunk_rows(width, HEAD_CHUNK_MAX)};
    h.sums = calloc(rows * width / SUM_BLOCK + 1, 8);
    h.sections[0].sums = h.sums;
    struct wire_out out = {0};
    assert_ok(head_place(&h));
    assert_ok(head_seal(&h, &out));
    ck_assert_uint_gt(out.len, HEAD_FIRST);
    ck_assert_uint_eq(out.len, h.head_len);
    ck_assert_uint_eq(h.sections[0].chunks, 6);

    const int fd = memfd_create("huge", MFD_CLOEXEC);
    uint8_t end[HEAD_END_BYTES];
    head_end(&h, out.data, end);
    ck_assert_int_eq(ftruncate(fd, (off_t)h.file_len), 0);
    ck_assert_int_eq(pwrite(fd, out.data, out.len, 0), (ssize_t)out.len);
    ck_assert_int_eq(pwrite(fd, end, sizeof end, (off_t)(h.file_len - sizeof end)), sizeof end);
    for (uint64_t row = 1; row < rows;
         row += 1048573) { /* its number, at where the format says */
        const uint64_t chunk = row / h.sections[0].chunk_rows;
        const uint64_t at = h.sections[0].offset + row * width + chunk * 4096;
        ck_assert_int_eq(pwrite(fd, &row, 8, (off_t)at), 8);
    }
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    double best = 1;
    for (int i = 0; i < 5; i++) {
        struct kfile *f;
        struct buf b = {0};
        struct timespec t0, t1;
        clock_gettime(CLOCK_MONOTONIC, &t0);
        assert_ok(kfile_open(path, ANN_OPEN_MAP, 0, NULL, NULL, &f));
        clock_gettime(CLOCK_MONOTONIC, &t1);
        const double s =
            (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) * 1e-9;
        best = s < best ? s : best;
        assert_ok(kfile_take(f, "vectors", rows, width, &b));
        for (uint64_t row = 1; row < rows; row += 1048573) {
            uint64_t got;
            memcpy(&got, (const uint8_t *)b.data + row * width, 8);
            ck_assert_uint_eq(got, row);
        }
        buf_free(&b);
        kfile_close(f);
    }
    ck_assert_msg(best < 0.1, "opening took %.3f s", best); /* 1 ms; more under sanitizers */
    wire_out_free(&out);
    free(h.sums);
    close(fd);
}
END_TEST

/* ------------------------------------------------------------------ */
/* Damage                                                             */
/* ------------------------------------------------------------------ */

static void assert_damaged(const char *path, const char *what, size_t i)
{
    for (int mode = 0; mode < 2; mode++) {
        const ann_err err = sample_check(path, (ann_open_mode)mode, &sample);
        ck_assert_msg(err == ANN_EDAMAGED || err == ANN_EFORMAT || err == ANN_EVERSION,
                      "%s %zu (%s): %s %s", what, i, mode ? "map" : "load", error_name(err),
                      err ? error_message() : "");
        ck_assert_msg(err == ANN_OK || strstr(error_message(), "other content") == NULL,
                      "%s %zu", what, i);
    }
}

START_TEST(every_bit)
{
    const struct memory_file m = memory_file_make(bytes, len);
    for (size_t i = 0; i < len; i++)
        for (int bit = 0; bit < 8; bit++) {
            const uint8_t b = (uint8_t)(bytes[i] ^ 1 << bit);
            ck_assert_int_eq(pwrite(m.fd, &b, 1, (off_t)i), 1);
            assert_damaged(m.path, "bit flipped in byte", i);
            ck_assert_int_eq(pwrite(m.fd, &bytes[i], 1, (off_t)i), 1);
        }
    assert_ok(sample_check(m.path, ANN_OPEN_LOAD, &sample));
    close(m.fd);
}
END_TEST

START_TEST(every_truncation)
{
    const struct memory_file m = memory_file_make(bytes, len);
    for (size_t n = len; n-- > 0;) {
        ck_assert_int_eq(ftruncate(m.fd, (off_t)n), 0);
        assert_damaged(m.path, "cut to", n);
    }
    close(m.fd);
}
END_TEST

START_TEST(extensions)
{
    const struct memory_file m = memory_file_make(bytes, len);
    for (int b = 0; b < 256; b++) {
        const uint8_t byte = (uint8_t)b;
        ck_assert_int_eq(pwrite(m.fd, &byte, 1, (off_t)len), 1);
        assert_damaged(m.path, "with one byte more", (size_t)b);
    }
    memory_file_put(&m, bytes, len);
    for (size_t n = 2; n < 10000; n += 97) {
        ck_assert_int_eq(ftruncate(m.fd, (off_t)(len + n)), 0);
        assert_damaged(m.path, "with bytes more", n);
    }
    close(m.fd);
}
END_TEST

/* ------------------------------------------------------------------ */
/* Forgery                                                            */
/* ------------------------------------------------------------------ */

enum role { FIXED, FREE, SUM }; /* must be what it is; may be another; a block's checksum */

struct number {
    size_t at;
    enum role role;
};

/* All numbers of the head but its own checksum and identity, which reseal writes. */
static size_t find_numbers(struct number *list)
{
    size_t n = 0;
    for (int i = 0; i < HEAD_NUMBERS - 1; i++) {
        const bool may = i == 2 || i >= 14;
        if (i != 5 && i != 6)
            list[n++] = (struct number){8 + 9 * (size_t)i, may ? FREE : FIXED};
    }
    size_t at = HEAD_HDR_BYTES + 4 + 1;
    for (int s = 0; s < SAMPLE_PARTS; s++) {
        ck_assert_uint_eq(bytes[at], 0x96);
        at += 2 + (bytes[at + 1] & 31);
        for (int k = 0; k < 4; k++, at += 9) {
            /* One chunk may have room for more rows; no rows may be of any length. */
            const bool may = (k == 3 && s != 1) || (k == 1 && s == 2);
            list[n++] = (struct number){at, may ? FREE : FIXED};
        }
        const int sums = bytes[at++] & 15;
        for (int k = 0; k < sums; k++, at += 9)
            list[n++] = (struct number){at, SUM};
    }
    ck_assert_int_eq(memcmp(bytes + at,
                            "\xa4"
                            "data",
                            5),
                     0);
    for (size_t i = 0; i < n; i++)
        ck_assert_uint_eq(bytes[list[i].at], 0xcf);
    return n;
}

/* Checks what is accepted although it was changed: only what is the kind's to judge. */
static void assert_forgery(const char *path, enum role role, size_t at, uint64_t value)
{
    for (int mode = 0; mode < 2; mode++) {
        struct kfile *f;
        ann_err err = kfile_open(path, (ann_open_mode)mode, 0, NULL, NULL, &f);
        if (err == ANN_OK) {
            err = kfile_verify(f, NULL, NULL);
            kfile_close(f);
        }
        ck_assert_msg(err == ANN_EDAMAGED || err == ANN_EVERSION || err == ANN_EFORMAT ||
                          (role == FREE && err == ANN_OK),
                      "number at %zu = %llu: %s %s", at, (unsigned long long)value,
                      error_name(err), err ? error_message() : "");
    }
}

START_TEST(forged_numbers)
{
    struct number list[100];
    const size_t n = find_numbers(list);
    const struct memory_file m = memory_file_make(bytes, len);
    uint8_t *forged = malloc(len);
    for (size_t i = 0; i < n; i++) {
        const uint64_t old = get_u64(bytes + list[i].at);
        const uint64_t values[] = {0,
                                   1,
                                   UINT64_C(1) << 31,
                                   UINT32_MAX,
                                   UINT64_C(1) << 32,
                                   UINT64_C(1) << 63,
                                   UINT64_MAX,
                                   len,
                                   len - 1,
                                   len + 1,
                                   old + 1,
                                   old - 1,
                                   old * 2,
                                   old / 2,
                                   old | UINT64_C(1) << 32,
                                   old | UINT64_C(1) << 63,
                                   ~old,
                                   head_len,
                                   head_len - 1};
        for (size_t k = 0; k < sizeof values / sizeof values[0]; k++) {
            if (values[k] == old)
                continue;
            memcpy(forged, bytes, len);
            put_u64(forged + list[i].at, values[k]);
            reseal(forged, len, head_len);
            memory_file_put(&m, forged, len);
            assert_forgery(m.path, list[i].role, list[i].at, values[k]);
        }
    }
    free(forged);
    close(m.fd);
}
END_TEST

/* Each byte of the head set to each value, resealed: nothing but the numbers that are the
 * kind's. */
START_TEST(forged_bytes)
{
    struct number list[100];
    const size_t n = find_numbers(list);
    const struct memory_file m = memory_file_make(bytes, len);
    uint8_t *forged = malloc(len);
    for (size_t i = 0; i < head_len; i++) {
        enum role role = FIXED;
        for (size_t k = 0; k < n; k++)
            if (i > list[k].at && i <= list[k].at + 8)
                role = list[k].role;
        if ((i > 8 + 9 * 5 && i < 8 + 9 * 7 && (i - 8) % 9 != 0) ||
            (i > HEAD_HDR_BYTES - 9 && i < HEAD_HDR_BYTES))
            continue; /* reseal writes them */
        /* Letters of a section's name may be others. */
        for (int b = 0; b < 256; b += 1 + (role != FIXED) * 16) {
            if (b == bytes[i])
                continue;
            memcpy(forged, bytes, len);
            forged[i] = (uint8_t)b;
            reseal(forged, len, head_len);
            memory_file_put(&m, forged, len);
            const bool letter = bytes[i] >= 'a' && bytes[i] <= 'z' && i >= HEAD_HDR_BYTES + 6 &&
                                ((b >= 'a' && b <= 'z') || (b >= '0' && b <= '9') || b == '_');
            assert_forgery(m.path, letter ? FREE : role, i, (uint64_t)b);
        }
    }
    free(forged);
    close(m.fd);
}
END_TEST

/* Where things stand in the sample. */
enum { NUMBER_0 = 8, DIR = HEAD_HDR_BYTES };

static size_t entry(int section) /* of its first byte, 0x96 */
{
    size_t at = DIR + 5;
    for (; section > 0; section--) {
        at += 2 + (bytes[at + 1] & 31) + 4 * 9;
        at += 1 + 9 * (size_t)(bytes[at] & 15);
    }
    return at;
}

static void set_header(uint8_t *p, int i, uint64_t x)
{
    put_u64(p + NUMBER_0 + 9 * i, x);
}

static void set_entry(uint8_t *p, int section, int k, uint64_t x)
{
    const size_t at = entry(section);
    put_u64(p + at + 2 + (p[at + 1] & 31) + 9 * k, x);
}

/* clang-format off */
/* By hand: what it is, and what the error says of it. */
static ann_err forge(uint8_t *p, int which, const char **with)
{
    switch (which) {
    case 0: set_header(p, 0, 1); *with = "not a kith file"; return ANN_EFORMAT;
    case 1: set_header(p, 1, 2); *with = "version 2.0"; return ANN_EVERSION;
    case 2: set_header(p, 3, 4); *with = "this library lacks (0x4)"; return ANN_EVERSION;
    case 3: set_header(p, 4, 2); *with = "byte order 2"; return ANN_EVERSION;
    case 4: set_header(p, 13, 1); *with = "reserved field"; return ANN_EVERSION;
    case 5: set_header(p, 7, len + 1); *with = "cut short"; break;
    case 6: set_header(p, 7, len - 1); *with = "1 bytes behind the end"; break;
    case 7: set_header(p, 8, HEAD_MAX + 1); *with = "a head of"; break;
    case 8: set_header(p, 8, 12); *with = "a head of"; break;
    case 9: set_header(p, 9, 33); *with = "33 sections"; break;
    case 10: set_header(p, 9, 3); *with = "does not list the 3"; break;
    case 11: set_header(p, 17, 0); *with = "dim is out of bounds"; break;
    case 12: set_header(p, 18, KFILE_ROWS_MAX + 1); *with = "slots is out"; break;
    case 13: set_header(p, 19, 601); *with = "live is out"; break;
    case 14: set_entry(p, 1, 0, 700); *with = "section odd: it is said"; break;
    case 15: set_entry(p, 1, 0, UINT32_MAX); *with = "section vectors: 4294967295 rows"; break;
    case 16: set_entry(p, 1, 0, KFILE_ROWS_MAX); *with = "in a file of"; break;
    case 17: set_entry(p, 1, 1, 0); *with = "rows of 0 bytes"; break;
    case 18: set_entry(p, 1, 1, 524289); *with = "rows of 524289"; break;
    case 19: set_entry(p, 1, 2, 4160); *with = "said to lie at 4160"; break;
    case 20: set_entry(p, 2, 2, 4096); *with = "section empty: it is said"; break;
    case 21: set_entry(p, 1, 3, 0); *with = "chunks of 0 rows"; break;
    case 22: set_entry(p, 1, 3, 384); *with = "chunks of 384 rows"; break;
    case 23: set_entry(p, 1, 3, 128); *with = "chunks of 128 rows"; break;
    case 24: set_entry(p, 1, 3, UINT64_C(1) << 31); *with = "chunks of"; break;
    case 25: set_entry(p, 1, 3, UINT64_C(1) << 60); *with = "chunks of"; break;
    case 26: set_entry(p, 1, 3, 512); *with = "section odd: it is said"; break;
    case 27: p[entry(0) + 2] = 'I'; *with = "entry 0 has no name"; break;
    case 28: p[entry(0)] = 0x95; *with = "its entry is malformed"; break;
    case 29: memcpy(p + entry(3) + 2, "ids", 3); *with = "section ids stands twice"; break;
    case 30: p[entry(0) + 5] = 0xd3; *with = "not in the form"; break;
    case 31: p[entry(0) + 5] = 0xcb; *with = "section ids: its entry"; break;
    case 32: p[DIR + 1] = 'D'; *with = "not behind the header"; break;
    case 33: p[head_len - 1] = 0x9f; *with = "not in the form"; break;
    case 34: p[head_len - 2] = 'A'; *with = "not in the form"; break;
    case 35: p[len - HEAD_END_BYTES + 1] = 'E'; *with = "end: "; break;
    case 36: p[len - HEAD_END_BYTES + 4] = 0x95; *with = "end: "; break;
    case 37: p[DIR + 4] = 0x93; *with = "directory: it does not list"; break;
    case 38: p[DIR + 4] = 0x9f; *with = "directory: "; break;
    case 39: p[0] = 0x85; *with = "not a kith file"; return ANN_EFORMAT;
    case 40: p[7] = HEAD_NUMBERS - 30; *with = "header: "; break;
    case 41: p[6] = 0xff; *with = "header: "; break;
    default: break;
    }
    return ANN_EDAMAGED;
}
/* clang-format on */

START_TEST(forged_by_hand)
{
    const char *with = "";
    uint8_t *forged = malloc(len);
    memcpy(forged, bytes, len);
    const ann_err want = forge(forged, _i, &with);
    reseal(forged, len, head_len);
    const struct memory_file m = memory_file_make(forged, len);
    for (int mode = 0; mode < 2; mode++) {
        struct kfile *f = NULL;
        assert_fails(kfile_open(m.path, (ann_open_mode)mode, 0, NULL, NULL, &f), want, with);
        ck_assert(strncmp(error_message(), m.path, strlen(m.path)) == 0);
        ck_assert_ptr_null(f);
    }
    ann_file_info info;
    assert_fails(kfile_read_header(m.path, NULL, &info), want, with);
    close(m.fd);
    free(forged);
}
END_TEST

/* A header of another length whose own checksum is right: a later version says so. */
START_TEST(later_header)
{
    uint8_t later[8 + 9 * 50];
    memset(later, 0, sizeof later);
    memcpy(later, bytes, 8);
    later[7] = 50;
    for (size_t i = 0; i < 50; i++)
        later[8 + 9 * i] = 0xcf;
    set_header(later, 0, HEAD_MAGIC);
    set_header(later, 1, 3);
    set_header(later, 2, 7);
    set_header(later, 49, sum64(later, sizeof later - 9));
    const struct memory_file m = memory_file_make(later, sizeof later);
    struct kfile *f;
    assert_fails(kfile_open(m.path, ANN_OPEN_LOAD, 0, NULL, NULL, &f), ANN_EVERSION, "3.7");
    set_header(later, 1, 1);
    set_header(later, 49, sum64(later, sizeof later - 9));
    memory_file_put(&m, later, sizeof later);
    assert_fails(kfile_open(m.path, ANN_OPEN_LOAD, 0, NULL, NULL, &f), ANN_EDAMAGED,
                 "50 numbers");
    close(m.fd);
}
END_TEST

/* A later minor version of the same features opens. */
START_TEST(later_minor)
{
    uint8_t *forged = malloc(len);
    memcpy(forged, bytes, len);
    set_header(forged, 2, 9);
    reseal(forged, len, head_len);
    const struct memory_file m = memory_file_make(forged, len);
    assert_ok(sample_check(m.path, ANN_OPEN_LOAD, &sample));
    ann_file_info info;
    assert_ok(kfile_read_header(m.path, NULL, &info));
    ck_assert_uint_eq(info.version_minor, 9);
    close(m.fd);
    free(forged);
}
END_TEST

/* Files of others, and scraps. */
START_TEST(not_ours)
{
    static const char *const others[] = {"",
                                         "P",
                                         "SQLite format 3",
                                         "\x80",
                                         ("\x84\xa3"
                                          "hdx"),
                                         "#!/bin/sh\n",
                                         "\x93NUMPY\x01",
                                         "{\"a\": 1}"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        const struct memory_file m =
            memory_file_make((const uint8_t *)others[i], strlen(others[i]));
        struct kfile *f;
        assert_fails(kfile_open(m.path, ANN_OPEN_MAP, 0, NULL, NULL, &f), ANN_EFORMAT,
                     "not a kith file");
        close(m.fd);
    }
}
END_TEST

START_TEST(damage_is_named)
{
    const struct memory_file m = memory_file_make(bytes, len);
    struct kfile *f;
    ann_section_info s;
    assert_ok(kfile_read_section(m.path, 1, &s));
    static const uint8_t byte = 0x55;
    ck_assert_int_eq(pwrite(m.fd, &byte, 1, (off_t)s.offset + 5), 1);
    assert_fails(kfile_open(m.path, ANN_OPEN_LOAD, 0, NULL, NULL, &f), ANN_EDAMAGED,
                 "section vectors: its bytes 0..9599 do not match");
    assert_ok(kfile_open(m.path, ANN_OPEN_MAP, 0, NULL, NULL, &f));
    assert_fails(kfile_verify(f, NULL, NULL), ANN_EDAMAGED, "section vectors: its bytes");
    kfile_close(f);
    memory_file_put(&m, bytes, len);
    ck_assert_int_eq(pwrite(m.fd, &byte, 1, (off_t)s.offset + CHUNK + 100), 1);
    assert_fails(kfile_open(m.path, ANN_OPEN_LOAD, 0, NULL, NULL, &f), ANN_EDAMAGED,
                 "section vectors: the padding before chunk 1");
    close(m.fd);

    /* However long a path is, the reason stays readable. */
    char far[700];
    memset(far, 'x', sizeof far);
    memcpy(far, "./", 2);
    for (int i = 100; i < 600; i += 100)
        far[i] = '/';
    far[sizeof far - 1] = '\0';
    ck_assert_int_lt(kfile_open(far, ANN_OPEN_LOAD, 0, NULL, NULL, &f), 0);
}
END_TEST

/* ------------------------------------------------------------------ */
/* The golden file                                                    */
/* ------------------------------------------------------------------ */

/* Sections below 4 KiB alone, so that the file is short enough for the tree. */
static void golden_parts(struct kfile_part parts[3])
{
    parts[0] = sample.parts[0];
    parts[1] = sample.parts[2];
    parts[2] = sample.parts[3];
}

/* tests/golden_kfile.hex is what version 1.0 wrote: "kfile.test --golden" makes it. */
START_TEST(golden_file)
{
    char name[4096], digits[3] = "";
    uint8_t golden[2000];
    size_t n = 0;
    const char *top = getenv("top_srcdir");
    snprintf(name, sizeof name, "%s/tests/golden_kfile.hex", top ? top : "..");
    FILE *in = fopen(name, "r");
    ck_assert_msg(in != NULL, "%s", name);
    while (n < sizeof golden && fscanf(in, " %2[0-9a-f]", digits) == 1)
        golden[n++] = (uint8_t)strtoul(digits, NULL, 16);
    fclose(in);

    const struct memory_file m = memory_file_make(golden, n);
    struct kfile *f;
    struct buf b = {0};
    assert_ok(kfile_open(m.path, ANN_OPEN_LOAD, 0, NULL, NULL, &f));
    ck_assert_int_eq(memcmp(kfile_meta(f), &sample.meta, sizeof sample.meta), 0);
    assert_ok(kfile_take(f, "ids", 3, 8, &b));
    ck_assert_int_eq(memcmp(b.data, sample.ids, 24), 0);
    buf_free(&b);
    kfile_close(f);
    close(m.fd);

    /* As long as the version is 1.0, it is also what is written. */
    struct kfile_part parts[3];
    golden_parts(parts);
    char *path = in_folder(folder, "g.kith");
    assert_ok(kfile_save(path, &sample.meta, parts, 3, NULL, NULL));
    size_t now;
    uint8_t *p = file_read(path, &now);
    ck_assert_uint_eq(now, n);
    ck_assert_int_eq(memcmp(p, golden, n), 0);
    free(p);
    free(path);
}
END_TEST

/* For format.sh, and to make the golden file. */
static int write_sample(const char *what, const char *path)
{
    struct kfile_part parts[3];
    sample_make(&sample, 7);
    golden_parts(parts);
    kfile_chunk_limit(CHUNK);
    const bool golden = strcmp(what, "--golden") == 0;
    const ann_err err = kfile_save(path, &sample.meta, golden ? parts : sample.parts,
                                   golden ? 3 : SAMPLE_PARTS, NULL, NULL);
    if (err)
        fprintf(stderr, "%s\n", error_message());
    return err ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return write_sample(argv[1], argv[2]);
    Suite *suite = suite_create("kfile");
    TCase *tc = tcase_create("kfile");
    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, round_trip, 0, 4);
    tcase_add_loop_test(tc, row_lengths, 0, 12);
    tcase_add_test(tc, no_sections);
    tcase_add_test(tc, most_sections);
    tcase_add_test(tc, take);
    tcase_add_test(tc, header);
    tcase_add_test(tc, identity);
    tcase_add_test(tc, bad_parts);
    tcase_add_test(tc, bad_meta);
    tcase_add_test(tc, bad_targets);
    tcase_add_test(tc, replaced);
    tcase_add_test(tc, leftover);
    tcase_add_test(tc, relative_path);
    tcase_add_test(tc, progress);
    tcase_add_test(tc, max_memory);
    tcase_add_test(tc, huge_sparse);
    tcase_add_test(tc, every_bit);
    tcase_add_test(tc, every_truncation);
    tcase_add_test(tc, extensions);
    tcase_add_test(tc, forged_numbers);
    tcase_add_test(tc, forged_bytes);
    tcase_add_loop_test(tc, forged_by_hand, 0, 42);
    tcase_add_test(tc, later_header);
    tcase_add_test(tc, later_minor);
    tcase_add_test(tc, not_ours);
    tcase_add_test(tc, damage_is_named);
    tcase_add_test(tc, golden_file);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
