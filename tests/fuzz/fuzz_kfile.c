/* fuzz_kfile.c - any bytes as a file: opened, verified, read whole, mapped and loaded alike.
 *
 * Built with FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION, so that checksums hold nothing up and
 * every check of structure must stand alone.  "make fuzz" builds it with libFuzzer; replay.c
 * runs it in "make check". */
#include <config.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ann/file/kfile_head.h"
#include "tests/fuzz/fuzz.h"

/* All bytes of all sections, added up; a byte that is not there is a crash here. */
static uint64_t read_all(const char *path, ann_open_mode mode, ann_err *err)
{
    struct kfile *f = NULL;
    uint64_t sum = 0;
    *err = kfile_open(path, mode, (uint64_t)1 << 30, NULL, NULL, &f);
    if (*err)
        return 0;
    *err = kfile_verify(f, NULL, NULL);
    for (uint32_t i = 0;; i++) {
        ann_section_info info;
        struct buf b = {0};
        if (kfile_read_section(path, i, &info))
            break;
        if (kfile_take(f, info.name, info.rows, info.row_bytes, &b))
            abort();
        if (b.bytes != info.bytes || b.bytes != info.rows * info.row_bytes)
            abort();
        for (size_t k = 0; k < b.bytes; k++)
            sum = sum * 31 + ((const uint8_t *)b.data)[k];
        buf_free(&b);
    }
    sum += kfile_meta(f)->seed;
    kfile_close(f);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    ann_err loaded, mapped;
    const uint64_t a = read_all(path, ANN_OPEN_LOAD, &loaded);
    const uint64_t b = read_all(path, ANN_OPEN_MAP, &mapped);
    if (loaded != mapped && loaded != ANN_ELIMIT)
        abort();
    if (loaded == ANN_OK && a != b)
        abort();
    return loaded == ANN_OK ? 0 : -1;
}

static void put_number(uint8_t *p, uint64_t x)
{
    for (int i = 8; i >= 1; i--, x >>= 8)
        p[i] = (uint8_t)x;
}

void fuzz_mend(uint8_t *data, size_t size)
{
    if (size < HEAD_HDR_BYTES + HEAD_END_BYTES)
        return;
    uint8_t *end = data + size - HEAD_END_BYTES;
    memcpy(end,
           "\xa3"
           "end\x94",
           5);
    for (int i = 0; i < 4; i++)
        end[5 + 9 * i] = 0xcf;
    put_number(data + 8 + 9 * 7, size);
    put_number(end + 5, size);
    memcpy(end + 14, data + 8 + 9 * 5, 18);
}
