/*
 * The choice of a kernel table: once, at the first call, from what the CPU
 * reports (CPUID) and what the operating system saves on a switch (XGETBV).
 * Each feature is asked for by its own bit, never inferred from a family; the
 * vendor says no more than where rows are fetched to until that is measured.
 *
 * Compiled with the baseline flags, so that it runs on every machine.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined HAVE_AVX2 || defined HAVE_AVX512
#include <cpuid.h>
#endif

#include "kernels.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const struct annk_ops *selected;
static char complaint[320];

int annk_prefetch_l2;
static int prefetch_taken; /* by KITH_PREFETCH or by who measures */

#if defined HAVE_AVX2 || defined HAVE_AVX512

struct cpu {
    uint32_t ecx1, ebx7, ecx7; /* of leaves 1 and 7 */
    uint32_t xcr0;             /* register state the system saves; 0 without XGETBV */
};

static struct cpu read_cpu(void)
{
    enum { OSXSAVE = 1 << 27 };
    struct cpu cpu = {0, 0, 0, 0};
    uint32_t eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &cpu.ecx1, &edx))
        return cpu;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) {
        cpu.ebx7 = ebx;
        cpu.ecx7 = ecx;
    }
    if (cpu.ecx1 & OSXSAVE) {
        __asm__("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
        cpu.xcr0 = eax;
    }
    return cpu;
}

static int all_set(uint32_t value, uint32_t bits)
{
    return (value & bits) == bits;
}

/* Measured on Zen 4 alone; Intel's Emerald Rapids was faster with the first level. */
static int prefers_l2(void)
{
    uint32_t eax, ebx, ecx, edx;
    return __get_cpuid(0, &eax, &ebx, &ecx, &edx) && ebx == signature_AMD_ebx &&
           ecx == signature_AMD_ecx && edx == signature_AMD_edx;
}

static int has_avx2(void)
{
    enum { FMA = 1 << 12, POPCNT = 1 << 23, AVX = 1 << 28, F16C = 1 << 29 };
    enum { AVX2 = 1 << 5 };
    enum { XMM_YMM = 0x06 };
    const struct cpu cpu = read_cpu();
    return all_set(cpu.ecx1, FMA | POPCNT | AVX | F16C) && all_set(cpu.ebx7, AVX2) &&
           all_set(cpu.xcr0, XMM_YMM);
}

#endif

#ifdef HAVE_AVX512

/* Every extension the file is compiled with, for the compiler may use any. */
static int has_avx512(void)
{
    const uint32_t ebx = 1u << 16 /* F */ | 1u << 17 /* DQ */ | 1u << 30 /* BW */ |
                         1u << 31 /* VL */;
    const uint32_t ecx = 1u << 1 /* VBMI */ | 1u << 11 /* VNNI */ | 1u << 12 /* BITALG */ |
                         1u << 14 /* VPOPCNTDQ */;
    const uint32_t xmm_ymm_opmask_zmm = 0xe6;
    const struct cpu cpu = read_cpu();
    return has_avx2() && all_set(cpu.ebx7, ebx) && all_set(cpu.ecx7, ecx) &&
           all_set(cpu.xcr0, xmm_ymm_opmask_zmm);
}

#endif

#if defined HAVE_NEON

static int has_neon(void)
{
    return 1; /* part of the base of AArch64 */
}

#endif

static int has_scalar(void)
{
    return 1;
}

/* What was built, best first. */
static const struct {
    const struct annk_ops *ops;
    int (*here)(void);
} tables[] = {
#ifdef HAVE_AVX512
    {&annk_avx512, has_avx512},
#endif
#ifdef HAVE_AVX2
    {&annk_avx2, has_avx2},
#endif
#ifdef HAVE_NEON
    {&annk_neon, has_neon},
#endif
    {&annk_scalar, has_scalar},
};

enum { TABLES = sizeof tables / sizeof tables[0] };

const struct annk_ops *annk_by_name(const char *name)
{
    for (size_t i = 0; i < TABLES; i++)
        if (strcmp(tables[i].ops->name, name) == 0)
            return tables[i].here() ? tables[i].ops : NULL;
    return NULL;
}

/* That a variable was not followed, and what is done instead. */
static void complain(const char *variable, const char *asked, const char *why, const char *used)
{
    char value[32];
    size_t n = 0;
    for (; n < sizeof value - 1 && asked[n]; n++)
        value[n] = asked[n] > ' ' && asked[n] < 127 ? asked[n] : '?';
    value[n] = 0;
    n = strlen(complaint);
    snprintf(complaint + n, sizeof complaint - n, "%s%s=%s is %s; using %s", n > 0 ? ". " : "",
             variable, value, why, used);
}

static const char *why_not(const char *isa)
{
    static const char *const known[] = {"scalar", "avx2", "avx512", "neon"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i], isa) == 0)
            return "not available on this machine or in this build";
    return "none of scalar, avx2, avx512, neon";
}

static void choose_prefetch(void)
{
    const char *asked = getenv("KITH_PREFETCH");
#if defined HAVE_AVX2 || defined HAVE_AVX512
    annk_prefetch_l2 = prefers_l2();
#endif
    if (!asked || !*asked)
        return;
    if (strcmp(asked, "l1") == 0 || strcmp(asked, "l2") == 0) {
        annk_prefetch_l2 = asked[1] == '2';
        prefetch_taken = 1;
    } else {
        complain("KITH_PREFETCH", asked, "neither l1 nor l2", "what suits the processor");
    }
}

static void choose(void)
{
    choose_prefetch();
    for (size_t i = 0; i < TABLES && !selected; i++)
        if (tables[i].here())
            selected = tables[i].ops;
    const char *asked = getenv("KITH_ISA");
    if (!asked || !*asked)
        return;
    const struct annk_ops *ops = annk_by_name(asked);
    if (ops)
        selected = ops;
    else
        complain("KITH_ISA", asked, why_not(asked), selected->name);
}

const struct annk_ops *annk_select(void)
{
    pthread_once(&once, choose);
    return selected;
}

int annk_prefetch_claim(void)
{
    (void)annk_select();
    return !__atomic_exchange_n(&prefetch_taken, 1, __ATOMIC_RELAXED);
}

void annk_prefetch_choose(int l2)
{
    __atomic_store_n(&annk_prefetch_l2, l2, __ATOMIC_RELAXED);
}

const char *annk_env_error(void)
{
    return *complaint ? complaint : NULL;
}
