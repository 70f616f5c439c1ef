/* replay_wordvec.c - runs fuzz_wordvec.c without libFuzzer: on the files named, or on mutations
 * of good files that follow from a fixed seed.  --seeds FOLDER writes those good files, a start
 * for a corpus. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

#define ROUNDS 20000

#define TEXT "the 0.5 -1 2e-2\nking 1 2 3\n. . . 4 5 6\ncaf\xc3\xa9 7 8 9.25\n"

static const struct {
    const char *bytes;
    size_t len;
} seeds[] = {{TEXT, sizeof TEXT - 1},
             {"4 3\n" TEXT, 4 + sizeof TEXT - 1},
             {"2 2\r\nthe 1 2 \r\nking 3 4", 23},
             {"2 2\nthe \0\0\x80\x3f\0\0\0\xbf\ncaf\xc3\xa9 \0\0\x80\x3f\0\0\0\xbf\n", 32},
             {"3 1\nthe \0\0\x80\x3fking \0\0\0\xbf</s> \0\0\0\0", 30}};
#define SEEDS (sizeof seeds / sizeof *seeds)

static uint64_t state = 1;

static uint64_t next(uint64_t below)
{
    state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (state >> 33) % below;
}

/* A byte, a bit, an end cut off, or something that means something put in place. */
static size_t mutate(char *p, size_t len)
{
    static const char *const pieces[] = {"nan",
                                         "\n",
                                         " ",
                                         "\r\n",
                                         "1e39",
                                         "inf",
                                         "\xff",
                                         "0x1",
                                         "-",
                                         "2 3",
                                         "99999999999999999999",
                                         "\t",
                                         "65536",
                                         "1e-50",
                                         "\n\n",
                                         "0 0\n"};
    const uint64_t kind = next(8);
    if (len == 0)
        return 0;
    if (kind == 0)
        return len - next(len / 2 + 1);
    if (kind == 1) {
        p[next(len)] = (char)next(256);
    } else if (kind == 2) {
        p[next(len)] ^= (char)(1 << next(8));
    } else if (kind < 6) {
        const char *piece = pieces[next(sizeof pieces / sizeof *pieces)];
        const size_t n = strlen(piece), at = next(len);
        memcpy(p + at, piece, n < len - at ? n : len - at);
    } else {
        p[next(len)] = "0123456789.-e "[next(14)];
    }
    return len;
}

static int replay(const char *path)
{
    static uint8_t bytes[1 << 20];
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return 1;
    }
    LLVMFuzzerTestOneInput(bytes, fread(bytes, 1, sizeof bytes, f));
    fclose(f);
    return 0;
}

static int write_seeds(const char *folder)
{
    for (size_t i = 0; i < SEEDS; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/seed-%zu", folder, i);
        FILE *f = fopen(path, "wb");
        if (!f || fwrite(seeds[i].bytes, 1, seeds[i].len, f) != seeds[i].len ||
            fclose(f) != 0) {
            perror(path);
            return 1;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    size_t accepted = 0, good = 0;
    if (argc == 3 && strcmp(argv[1], "--seeds") == 0)
        return write_seeds(argv[2]);
    for (int i = 1; i < argc; i++)
        if (replay(argv[i]))
            return 1;
    if (argc > 1)
        return 0;
    for (size_t i = 0; i < SEEDS; i++)
        good += LLVMFuzzerTestOneInput((const uint8_t *)seeds[i].bytes, seeds[i].len) == 0;
    for (int i = 0; i < ROUNDS; i++) {
        const size_t seed = next(SEEDS);
        size_t n = seeds[seed].len;
        char *bad = malloc(n); /* its own, so that a sanitizer sees its end */
        memcpy(bad, seeds[seed].bytes, n);
        for (uint64_t k = next(3) + 1; k > 0; k--)
            n = mutate(bad, n);
        accepted += LLVMFuzzerTestOneInput((const uint8_t *)bad, n) == 0;
        free(bad);
    }
    const int ok = good == SEEDS && accepted > ROUNDS / 20 && accepted < ROUNDS;
    printf("1..1\n%s 1 - %zu of %zu good files and %zu of %d mutations accepted\n",
           ok ? "ok" : "not ok", good, SEEDS, accepted, ROUNDS);
    return !ok;
}
