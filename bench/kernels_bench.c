/*
 * Nanoseconds a distance, for docs/kernels.md: batches of 24 random rows of a
 * base, as a hop of the graph asks for, through `many` of every table. "memory"
 * walks a base of MEGABYTES on huge pages, "cache" the same 24 rows. Best of 7
 * passes of thread CPU time.
 */
#include <config.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "ann/kernels/kernels.h"

enum { BATCH = 24, BATCHES = 4000, PASSES = 7, MEGABYTES = 512 };
enum { HUGE_PAGE = 2 << 20 };

struct work {
    char *base;
    size_t dim, stride;
    const uint32_t *slots;
};

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double measure(annk_many_fn many, const struct work *w, size_t step)
{
    float out[BATCH];
    double best = 1e18;
    for (int pass = 0; pass < PASSES; pass++) {
        const double start = now_ns();
        for (size_t b = 0; b < BATCHES; b++)
            many(w->base, w->base, w->stride, w->slots + b * step, BATCH, w->dim, out);
        const double ns = (now_ns() - start) / (BATCHES * BATCH);
        best = ns < best ? ns : best;
    }
    return best;
}

static void report(const char *what, int type, struct work *w, size_t element, uint32_t *slots)
{
    static const char *const names[] = {"scalar", "avx2", "avx512", "neon"};
    w->stride = (w->dim * element + 63) / 64 * 64;
    const size_t rows = (size_t)MEGABYTES * 1024 * 1024 / w->stride;
    uint64_t state = 7;
    for (size_t i = 0; i < (size_t)BATCH * BATCHES; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        slots[i] = (uint32_t)((state >> 33) % rows);
    }
    for (int i = 0; i < 4; i++) {
        const struct annk_ops *ops = annk_by_name(names[i]);
        if (ops)
            printf("%-4s l2 %4zu  %-6s  memory %6.1f  cache %6.1f\n", what, w->dim, ops->name,
                   measure(ops->many[ANNK_L2][type], w, BATCH),
                   measure(ops->many[ANNK_L2][type], w, 0));
    }
}

int main(void)
{
    const size_t bytes = (size_t)MEGABYTES * 1024 * 1024;
    char *map = mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint32_t *slots = malloc(sizeof *slots * BATCH * BATCHES);
    if (map == MAP_FAILED || !slots) {
        fputs("kernels_bench: out of memory\n", stderr);
        return EXIT_FAILURE;
    }
    struct work w = {.slots = slots};
    w.base = map + (HUGE_PAGE - (uintptr_t)map % HUGE_PAGE) % HUGE_PAGE;
    madvise(w.base, bytes, MADV_HUGEPAGE);
    for (size_t i = 0; i < bytes; i++) /* as f32: ordinary numbers, none subnormal */
        w.base[i] = (char)(i % 4 == 3 ? 63 : i * 37 % 101);
    static const size_t dims[] = {100, 128, 384, 784};
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
        w.dim = dims[d];
        report("f32", ANNK_F32, &w, 4, slots);
        report("f16", ANNK_F16, &w, 2, slots);
        report("u8", ANNK_U8, &w, 1, slots);
    }
    munmap(map, bytes + HUGE_PAGE);
    free(slots);
    return EXIT_SUCCESS;
}
