/*
 * Nanoseconds a distance, for docs/kernels.md: batches of 24 random rows of a
 * base, as a hop of the graph asks for, through `many` and `code_dots` of every
 * table. "memory" walks a base of MEGABYTES on huge pages, "cache" the same 24
 * rows. Then nanoseconds a step of the frame, and a scan of a row of 32
 * neighbours that is in cache. Last, nanoseconds a vector and query of lists of
 * 1024 vectors in random order, of which 1 % are near. Best of 7 passes of
 * thread CPU time. With the argument "lists" those alone.
 */
#include <config.h>

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "ann/kernels/kernels.h"
#include "ann/kernels/lists.h"
#include "ann/kernels/rows.h"

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

static void random_slots(const struct work *w, uint32_t *slots)
{
    const size_t rows = (size_t)MEGABYTES * 1024 * 1024 / w->stride;
    uint64_t state = 7;
    for (size_t i = 0; i < (size_t)BATCH * (BATCHES + 1); i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        slots[i] = (uint32_t)((state >> 33) % rows);
    }
}

static const char *const names[] = {"scalar", "avx2", "avx512", "neon"};

static void report(const char *what, int type, struct work *w, size_t element, uint32_t *slots)
{
    w->stride = (w->dim * element + 63) / 64 * 64;
    random_slots(w, slots);
    for (int i = 0; i < 4; i++) {
        const struct annk_ops *ops = annk_by_name(names[i]);
        if (ops)
            printf("%-4s l2 %4zu  %-6s  memory %6.1f  cache %6.1f\n", what, w->dim, ops->name,
                   measure(ops->many[ANNK_L2][type], w, BATCH),
                   measure(ops->many[ANNK_L2][type], w, 0));
    }
}

static double measure_codes(annk_code_dots_fn code_dots, const struct work *w, size_t step,
                            unsigned ahead)
{
    int32_t dots[BATCH] = {0};
    double best = 1e18;
    for (int pass = 0; pass < PASSES; pass++) {
        const double start = now_ns();
        for (size_t b = 0; b < BATCHES; b++) {
            const size_t none = dots[BATCH - 1] == INT32_MIN; /* a hop waits for the last one */
            code_dots((void *)w->base, 0, (void *)w->base, w->stride,
                      w->slots + (b + none) * step, BATCH, w->dim, ahead, dots);
        }
        const double ns = (now_ns() - start) / (BATCHES * BATCH);
        best = ns < best ? ns : best;
    }
    return best;
}

static void report_codes(struct work *w, uint32_t *slots)
{
    static const char *const codes[] = {"sq8", "sq4"};
    for (int code = 0; code < ANNK_NCODES; code++) {
        w->stride = code == ANNK_SQ8 ? w->dim : w->dim / 2;
        random_slots(w, slots);
        for (int i = 0; i < 4; i++) {
            const struct annk_ops *ops = annk_by_name(names[i]);
            if (!ops)
                continue;
            const annk_code_dots_fn fn = ops->code_dots[code];
            printf("%-7s %4zu  %-6s  cache %6.1f  memory, ahead", codes[code], w->dim,
                   ops->name, measure_codes(fn, w, 0, 0));
            for (unsigned ahead = 1; ahead <= 32; ahead *= 2)
                printf("  %u: %.1f", ahead, measure_codes(fn, w, BATCH, ahead));
            printf("\n");
        }
    }
}

/* One round of the rotation of `padded` floats, the transform alone, quantising. */
static void report_frame(size_t padded)
{
    static float x[4096];
    static uint64_t bits[4096 / 64];
    static int8_t codes[4096];
    size_t n = 64;
    while (2 * n <= padded)
        n *= 2;
    for (size_t i = 0; i < padded / 64; i++)
        bits[i] = i * 0x9e3779b97f4a7c15u;
    for (int i = 0; i < 4; i++) {
        const struct annk_ops *ops = annk_by_name(names[i]);
        if (!ops)
            continue;
        double best[3] = {1e18, 1e18, 1e18};
        for (int pass = 0; pass < PASSES; pass++) {
            double t[4] = {0};
            x[0] = 1;
            t[0] = now_ns();
            for (int k = 0; k < BATCHES; k++) {
                ops->flip_signs_f32(x, bits, padded);
                ops->fwht_f32(x, n);
                ops->butterfly_f32(x, x + padded / 2, padded / 2);
                x[k % padded] = 0; /* that it stays finite does not matter to the time */
            }
            t[1] = now_ns();
            for (size_t k = 0; k < padded; k++)
                x[k] = (float)k / (float)padded;
            for (int k = 0; k < BATCHES; k++)
                ops->quantise_s8(x, 200, codes, padded);
            t[2] = now_ns();
            for (size_t k = 0; k < padded; k++)
                x[k] = 0;
            for (int k = 0; k < BATCHES; k++)
                ops->fwht_f32(x, n);
            t[3] = now_ns();
            for (int k = 0; k < 3; k++)
                best[k] = t[k + 1] - t[k] < best[k] ? t[k + 1] - t[k] : best[k];
        }
        printf("frame   %4zu  %-6s  round %6.1f  quantise %6.1f  transform of %zu %6.1f\n",
               padded, ops->name, best[0] / BATCHES, best[1] / BATCHES, n, best[2] / BATCHES);
    }
}

/* None is near enough to be given back: the sums alone. */
static void report_rows(const struct work *w, size_t padded)
{
    float dists[32];
    uint32_t ids[32];
    for (unsigned planes = 1; planes <= 2; planes++)
        for (int i = 0; i < 4; i++) {
            if (!annk_by_name(names[i]))
                continue;
            const struct annk_row_ops *ops = annk_rows_for(names[i]);
            const struct annk_row_query q = {.sums = (void *)w->base,
                                             .query = (void *)w->base,
                                             .padded = (uint32_t)padded,
                                             .planes = planes,
                                             .groups = 2,
                                             .scale = 1};
            double best[2] = {1e18, 1e18}, t[3];
            for (int pass = 0; pass < PASSES; pass++) {
                t[0] = now_ns();
                for (int k = 0; k < BATCHES; k++)
                    ops->scan(&q, (void *)w->base, 0, 1, dists, ids);
                t[1] = now_ns();
                for (int k = 0; k < BATCHES; k++)
                    dists[0] += ops->own(&q, (void *)w->base);
                t[2] = now_ns();
                for (int k = 0; k < 2; k++)
                    best[k] = t[k + 1] - t[k] < best[k] ? t[k + 1] - t[k] : best[k];
            }
            printf("row %u bit %4zu  %-6s  scan of 32 %6.1f  own %6.1f\n", planes, padded,
                   ops->name, best[0] / BATCHES, best[1] / BATCHES);
        }
}

/* ---- lists ---- */

enum { LIST = 1024, LISTS_A_PASS = 128, MOST_M = 96 };

struct lists {
    unsigned bits;
    uint32_t m;
    size_t bytes, count; /* of a list, codes and biases; lists */
    const char *base;
    const uint8_t *tables; /* [ANNK_LIST_BATCH][m << bits] */
};

/* Nanoseconds a vector and query. */
static double measure_lists(const struct annk_list_ops *ops, const struct lists *l, size_t nq)
{
    static float dists[ANNK_LIST_BATCH][LIST];
    static uint32_t places[ANNK_LIST_BATCH][LIST];
    struct annk_list_query queries[ANNK_LIST_BATCH];
    const struct annk_list_query *q[ANNK_LIST_BATCH];
    float base[ANNK_LIST_BATCH] = {0}, limit[ANNK_LIST_BATCH], *to[ANNK_LIST_BATCH];
    uint32_t *at[ANNK_LIST_BATCH];
    size_t counts[ANNK_LIST_BATCH];
    for (size_t i = 0; i < nq; i++) {
        queries[i] = (struct annk_list_query){.table = l->tables + (i * l->m << l->bits),
                                              .m = l->m, .bits = l->bits, .step = 1};
        q[i] = &queries[i];
        limit[i] = 127.5f * (float)l->m + 0.5f - 2.33f * 73.9f * sqrtf((float)l->m); /* 1 % */
        to[i] = dists[i];
        at[i] = places[i];
    }
    uint64_t state = 7;
    double best = 1e18;
    for (int pass = 0; pass < PASSES; pass++) {
        const double start = now_ns();
        for (size_t k = 0; k < LISTS_A_PASS; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            const char *const list = l->base + (state >> 33) % l->count * l->bytes;
            const void *const bias = list + l->bytes - 2 * LIST;
            const struct annk_list_run run = {
                .codes = (const void *)list, .bias = bias, .n = LIST, .last = LIST};
            if (nq == 1)
                counts[0] = ops->scan(q[0], &run, base[0], limit[0], to[0], at[0]);
            else
                ops->scan_batch(q, nq, &run, base, limit, to, at, counts);
        }
        const double ns = (now_ns() - start) / ((double)(LISTS_A_PASS * LIST) * (double)nq);
        best = ns < best ? ns : best;
    }
    return best;
}

static void report_lists(const char *base, unsigned bits, uint32_t m)
{
    static uint8_t tables[ANNK_LIST_BATCH * (MOST_M << 8)];
    for (size_t i = 0; i < sizeof tables; i++)
        tables[i] = (uint8_t)(i * 0x9e3779b97f4a7c15u >> 40);
    static const size_t kilobytes[] = {256, 8192, (size_t)MEGABYTES * 1024};
    static const char *const where[] = {"L2", "L3", "memory"};
    struct lists l = {.bits = bits, .m = m, .base = base, .tables = tables};
    l.bytes = annk_list_bytes(bits, m, LIST) + 2 * LIST;
    for (int i = 0; i < 4; i++) {
        if (!annk_by_name(names[i]))
            continue;
        const struct annk_list_ops *ops = annk_lists_for(names[i]);
        printf("lists %u bit m %2u  %-6s", bits, m, ops->name);
        for (int k = 0; k < 3; k++) {
            l.count = kilobytes[k] * 1024 / l.bytes;
            printf("  %s %6.2f, of 4 %6.2f", where[k], measure_lists(ops, &l, 1),
                   measure_lists(ops, &l, 4));
        }
        printf("\n");
    }
}

/* Codes that are any, biases that are finite: of bytes 1 above, all are below 2. */
static void report_all_lists(char *base, size_t bytes)
{
    uint64_t state = 3;
    for (size_t i = 0; i + 8 <= bytes; i += 8) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        const uint64_t x = (state ^ state >> 29) & 0xbfffbfffbfffbfff;
        memcpy(base + i, &x, 8);
    }
    static const uint32_t m4[] = {32, 56, 64, 96}, m6[] = {24, 32}, m8[] = {16, 32};
    for (int i = 0; i < 4; i++)
        report_lists(base, 4, m4[i]);
    for (int i = 0; i < 2; i++)
        report_lists(base, 6, m6[i]);
    for (int i = 0; i < 2; i++)
        report_lists(base, 8, m8[i]);
}

int main(int argc, char **argv)
{
    const bool lists_alone = argc == 2 && strcmp(argv[1], "lists") == 0;
    const size_t bytes = (size_t)MEGABYTES * 1024 * 1024;
    char *map = mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint32_t *slots = malloc(sizeof *slots * BATCH * (BATCHES + 1));
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
    for (size_t d = 0; !lists_alone && d < sizeof dims / sizeof dims[0]; d++) {
        w.dim = dims[d];
        report("f32", ANNK_F32, &w, 4, slots);
        report("f16", ANNK_F16, &w, 2, slots);
        report("u8", ANNK_U8, &w, 1, slots);
    }
    static const size_t padded[] = {128, 384, 832};
    for (size_t d = 0; !lists_alone && d < sizeof padded / sizeof padded[0]; d++) {
        w.dim = padded[d] == 832 ? 896 : padded[d];
        report_codes(&w, slots);
        report_frame(padded[d]);
        report_rows(&w, padded[d]);
    }
    report_all_lists(w.base, bytes);
    munmap(map, bytes + HUGE_PAGE);
    free(slots);
    return EXIT_SUCCESS;
}
