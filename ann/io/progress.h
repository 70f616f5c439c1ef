/* progress.h - a bar with rate and time left, on a terminal; nothing elsewhere.
 *
 * Place: ann/io.  progress_step is an ann_progress_fn: pass it with a struct progress.
 * Invariant: only standard error is written, and it ends without a half-drawn line. */
#ifndef KITH_IO_PROGRESS_H
#define KITH_IO_PROGRESS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool show, color, drawn;
    const volatile sig_atomic_t
        *stop; /* non-zero there: progress_step says stop.  May be NULL. */
    char what[32];
    uint64_t base;              /* `done` when this phase began */
    double begun, last;         /* seconds, monotonic */
};

/* Shown if standard error is a terminal and not quiet; colours unless NO_COLOR is set. */
void progress_init(struct progress *p, bool quiet, const volatile sig_atomic_t *stop);

int progress_step(void *p, const char *what, uint64_t done, uint64_t total);

/* Takes the bar away; call it before printing anything and at the end. */
void progress_clear(struct progress *p);

#endif
