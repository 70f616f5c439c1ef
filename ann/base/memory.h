/* memory.h - allocation, checked size arithmetic, and the large arrays of an index.
 *
 * Place: base.  Everything the library allocates comes from here, so that a test can make any
 * one allocation fail (memory_fail_at) and a program can bring its own allocator. Invariant: a
 * buf owns its bytes unless it is borrowed; a borrowed one is never written. */
#ifndef KITH_BASE_MEMORY_H
#define KITH_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ann/ann.h>

/* As malloc, calloc, realloc and free; NULL when out of memory (no message is set). */
void *mem_alloc(size_t bytes) __attribute__((malloc, warn_unused_result));
void *mem_zalloc(size_t count, size_t each) __attribute__((malloc, warn_unused_result));
void *mem_resize(void *p, size_t bytes) __attribute__((warn_unused_result));
void mem_free(void *p);
char *mem_strdup(const char *s) __attribute__((malloc, warn_unused_result));

/* False (and *out untouched) when the result does not fit a size_t. */
static inline bool size_mul(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

static inline bool size_add(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

#define MEM_ALIGN 64 /* a cache line; where every buf begins, at least */

/* A large array: 64-byte aligned; from 1 MiB on its own mapping, on 2 MiB pages where the
 * system gives them (worth 1.4 to 2.2 times in a graph search). */
struct buf {
    void *data;     /* [capacity] bytes, or NULL */
    size_t bytes;   /* in use; all of them were zero until written */
    size_t capacity;
    uint8_t how;    /* enum in memory.c; 0: nothing held */
};

/* Makes b->bytes = bytes; what is new is zero.  Grows by at least half when it must move.
 * A borrowed buf is copied first. */
ann_err buf_resize(struct buf *b, size_t bytes);

/* Room for `bytes` without changing b->bytes, so that buf_resize to it cannot fail. */
ann_err buf_reserve(struct buf *b, size_t bytes);

/* b points at bytes that somebody else owns (a mapped file) and that outlive it. */
void buf_borrow(struct buf *b, const void *data, size_t bytes);

/* Copies a borrowed buf so that it may be written. */
ann_err buf_own(struct buf *b);

bool buf_borrowed(const struct buf *b);

/* Gives back what lies behind b->bytes. */
void buf_shrink(struct buf *b);

void buf_free(struct buf *b);

/* Bytes of anonymous memory b holds. */
size_t buf_held(const struct buf *b);

/* Where mem_* takes its memory from; NULL for malloc, realloc, free. */
void memory_hooks(void *(*alloc)(size_t), void *(*resize)(void *, size_t),
                  void (*release)(void *));

/* Tests only: the n-th allocation from now on (1 = the next) fails, once, or all from there on
 * if persistent; n = 0 switches it off.  Returns how many were asked for since the last call.
 */
uint64_t memory_fail_at(uint64_t n, bool persistent);

#endif
