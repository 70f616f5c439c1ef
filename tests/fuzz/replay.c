/* replay.c - runs a fuzz target without libFuzzer: on the files named, or on mutations of a
 * good file that follow from a fixed seed.  --seed PATH writes that good file, a start for a
 * corpus. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/kfile_sample.h"

#define ROUNDS 20000

static uint64_t state = 1;

static uint64_t next(uint64_t below)
{
    state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (state >> 33) % below;
}

/* A number of the head, a few bytes, or another length. */
static size_t mutate(uint8_t *p, size_t len, size_t head)
{
    static const uint64_t values[] = {0,
                                      1,
                                      2,
                                      63,
                                      64,
                                      4095,
                                      4096,
                                      UINT64_C(1) << 20,
                                      UINT64_C(1) << 31,
                                      UINT32_MAX,
                                      UINT64_C(1) << 32,
                                      UINT64_C(1) << 63,
                                      UINT64_MAX};
    const uint64_t kind = next(4);
    if (kind == 0) {
        size_t at = next(head - 9);
        while (at > 0 && p[at] != 0xcf)
            at--;
        put_u64(p + at,
                next(2) ? values[next(sizeof values / 8)] : get_u64(p + at) + next(5) - 2);
    } else if (kind == 1) {
        p[next(head)] = (uint8_t)next(256);
    } else if (kind == 2) {
        p[next(len)] ^= (uint8_t)(1 << next(8));
    } else {
        len -= next(len / 4);
    }
    return len;
}

static int replay(const char *path)
{
    size_t len;
    uint8_t *bytes = file_read(path, &len);
    if (!bytes) {
        perror(path);
        return 1;
    }
    LLVMFuzzerTestOneInput(bytes, len);
    free(bytes);
    return 0;
}

int main(int argc, char **argv)
{
    struct sample sample;
    sample_make(&sample, 3);
    kfile_chunk_limit(4096);
    if (argc == 3 && strcmp(argv[1], "--seed") == 0)
        return kfile_save(argv[2], &sample.meta, sample.parts, SAMPLE_PARTS, NULL, NULL) != 0;
    for (int i = 1; i < argc; i++)
        if (replay(argv[i]))
            return 1;
    if (argc > 1)
        return 0;

    char *folder = folder_make(), *path = in_folder(folder, "seed.kith");
    size_t len, accepted = 0;
    if (kfile_save(path, &sample.meta, sample.parts, SAMPLE_PARTS, NULL, NULL))
        return 1;
    uint8_t *good = file_read(path, &len), *bad = malloc(len);
    folder_remove(folder);
    free(path);
    const size_t head = get_u64(good + 8 + 9 * 8);
    for (int i = 0; i < ROUNDS; i++) {
        memcpy(bad, good, len);
        size_t n = len;
        for (uint64_t k = next(3) + 1; k > 0; k--)
            n = mutate(bad, n, head < n - 9 ? head : n - 9);
        if (next(4))
            fuzz_mend(bad, n);
        accepted += LLVMFuzzerTestOneInput(bad, n) == 0;
    }
    const bool ok = LLVMFuzzerTestOneInput(good, len) == 0 && accepted > ROUNDS / 20;
    printf("1..1\n%s 1 - %d mutations, %zu of them accepted\n", ok ? "ok" : "not ok", ROUNDS,
           accepted);
    free(good);
    free(bad);
    return !ok;
}
