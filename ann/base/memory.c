/* memory.c - allocation hooks, fault injection, and large arrays on huge pages.  See memory.h.
 *
 * Large arrays are anonymous mappings that begin at a multiple of 2 MiB, so that the kernel can
 * back them with 2 MiB pages (madvise, since most systems give them on request only) and mremap
 * can move them page table by page table when they grow. */
#include <config.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "ann/base/error.h"
#include "ann/base/memory.h"

enum { BUF_NONE, BUF_HEAP, BUF_MAP, BUF_BORROWED };

#define HUGE_PAGE ((size_t)2 << 20)
#define MAP_FROM ((size_t)1 << 20) /* smaller arrays come from the heap */
#define SMALL_TAIL ((size_t)64 << 10) /* a multiple of every system's page */
#define TAIL_MATTERS (64 * HUGE_PAGE)

static void *(*hook_alloc)(size_t) = malloc;
static void *(*hook_resize)(void *, size_t) = realloc;
static void (*hook_release)(void *) = free;

static atomic_uint_fast64_t asked, fail_at;
static atomic_bool fail_persistent;

uint64_t memory_fail_at(uint64_t n, bool persistent)
{
    const uint64_t count = atomic_exchange(&asked, 0);
    atomic_store(&fail_at, n);
    atomic_store(&fail_persistent, persistent);
    return count;
}

/* Counts an allocation; true if it is to fail. */
static bool injected(void)
{
    const uint64_t at = atomic_load_explicit(&fail_at, memory_order_relaxed);
    const uint64_t n = atomic_fetch_add_explicit(&asked, 1, memory_order_relaxed) + 1;
    return at != 0 && (n == at || (n > at && atomic_load(&fail_persistent)));
}

void memory_hooks(void *(*alloc)(size_t), void *(*resize)(void *, size_t),
                  void (*release)(void *))
{
    hook_alloc = alloc ? alloc : malloc;
    hook_resize = resize ? resize : realloc;
    hook_release = release ? release : free;
}

void *mem_alloc(size_t bytes)
{
    return injected() ? NULL : hook_alloc(bytes ? bytes : 1);
}

void *mem_zalloc(size_t count, size_t each)
{
    size_t bytes;
    if (!size_mul(count, each, &bytes))
        return NULL;
    void *p = mem_alloc(bytes);
    if (p)
        memset(p, 0, bytes);
    return p;
}

void *mem_resize(void *p, size_t bytes)
{
    return injected() ? NULL : hook_resize(p, bytes ? bytes : 1);
}

void mem_free(void *p)
{
    hook_release(p);
}

char *mem_strdup(const char *s)
{
    const size_t n = strlen(s) + 1;
    char *copy = mem_alloc(n);
    if (copy)
        memcpy(copy, s, n);
    return copy;
}

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* What an array takes in fact: to whole huge pages where that adds little, else the last part of
 * one is on small pages. */
static size_t rounded(size_t bytes)
{
    return round_up(bytes, bytes < MAP_FROM       ? MEM_ALIGN
                           : bytes < TAIL_MATTERS ? SMALL_TAIL
                                                  : HUGE_PAGE);
}

/* Anonymous memory of `bytes` (a multiple of SMALL_TAIL), aligned to HUGE_PAGE; NULL if none. */
static void *map_huge(size_t bytes)
{
    if (injected())
        return NULL;
    const size_t total = bytes + HUGE_PAGE;
    char *raw = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED)
        return NULL;
    char *start = (char *)round_up((size_t)raw, HUGE_PAGE);
    if (start > raw)
        munmap(raw, (size_t)(start - raw));
    const size_t tail = (size_t)(raw + total - (start + bytes));
    if (tail > 0)
        munmap(start + bytes, tail);
    madvise(start, bytes, MADV_HUGEPAGE);
    return start;
}

/* The heap gives 16-byte alignment; the pointer to free lies in the word before the data. */
static void *heap_aligned(size_t bytes)
{
    char *raw = mem_alloc(bytes + MEM_ALIGN + sizeof(void *));
    if (!raw)
        return NULL;
    char *data = (char *)round_up((size_t)raw + sizeof(void *), MEM_ALIGN);
    memcpy(data - sizeof(void *), &raw, sizeof raw);
    memset(data, 0, bytes);
    return data;
}

static void release(void *data, size_t capacity, uint8_t how)
{
    if (how == BUF_HEAP) {
        void *raw;
        memcpy(&raw, (char *)data - sizeof(void *), sizeof raw);
        mem_free(raw);
    } else if (how == BUF_MAP) {
        munmap(data, capacity);
    }
}

/* Moves b into memory of the given capacity (at least b->bytes). */
static ann_err move_to(struct buf *b, size_t capacity)
{
    const bool map = capacity >= MAP_FROM;
    capacity = rounded(capacity);
    void *data = NULL;
    if (map && b->how == BUF_MAP && !injected()) {
        /* mremap keeps the alignment when it is given an aligned place to move to. */
        void *place = map_huge(capacity);
        if (place) {
            data = mremap(b->data, b->capacity, capacity, MREMAP_MAYMOVE | MREMAP_FIXED, place);
            if (data == MAP_FAILED) {
                munmap(place, capacity);
                return ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", capacity);
            }
            madvise(data, capacity, MADV_HUGEPAGE);
            b->data = data;
            b->capacity = capacity;
            return ANN_OK;
        }
        return ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", capacity);
    }
    data = map ? map_huge(capacity) : heap_aligned(capacity);
    if (!data)
        return ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", capacity);
    if (b->bytes > 0)
        memcpy(data, b->data, b->bytes);
    release(b->data, b->capacity, b->how);
    b->data = data;
    b->capacity = capacity;
    b->how = map ? BUF_MAP : BUF_HEAP;
    return ANN_OK;
}

ann_err buf_own(struct buf *b)
{
    if (b->how != BUF_BORROWED)
        return ANN_OK;
    return move_to(b, b->bytes ? b->bytes : 1);
}

ann_err buf_reserve(struct buf *b, size_t bytes)
{
    const ann_err err = buf_own(b);
    if (err || bytes <= b->capacity)
        return err;
    if (bytes > SIZE_MAX / 4)
        return ANN_FAIL(ANN_ENOMEM, "out of memory: %zu bytes", bytes);
    size_t want = b->capacity + b->capacity / 2;
    return move_to(b, want > bytes ? want : bytes);
}

ann_err buf_resize(struct buf *b, size_t bytes)
{
    const ann_err err = buf_reserve(b, bytes);
    if (err)
        return err;
    if (bytes < b->bytes) /* keeps what lies behind at zero */
        memset((char *)b->data + bytes, 0, b->bytes - bytes);
    b->bytes = bytes;
    return ANN_OK;
}

void buf_borrow(struct buf *b, const void *data, size_t bytes)
{
    b->data = (void *)(uintptr_t)data;
    b->bytes = b->capacity = bytes;
    b->how = BUF_BORROWED;
}

bool buf_borrowed(const struct buf *b)
{
    return b->how == BUF_BORROWED;
}

void buf_shrink(struct buf *b)
{
    if (b->how == BUF_MAP && b->bytes >= MAP_FROM) {
        const size_t keep = rounded(b->bytes);
        if (keep < b->capacity) {
            munmap((char *)b->data + keep, b->capacity - keep);
            b->capacity = keep;
        }
    } else if (b->how == BUF_MAP || (b->how == BUF_HEAP && b->bytes < b->capacity - b->capacity / 8)) {
        (void)move_to(b,
                      b->bytes ? b->bytes : 1); /* failing, it stays larger than it need be */
    }
}

void buf_free(struct buf *b)
{
    release(b->data, b->capacity, b->how);
    memset(b, 0, sizeof *b);
}

size_t buf_held(const struct buf *b)
{
    return b->how == BUF_HEAP || b->how == BUF_MAP ? b->capacity : 0;
}
