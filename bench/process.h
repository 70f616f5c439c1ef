/* process.h - other programs: run to the end, or talked to line by line.
 *
 * Place: bench, a leaf.  Invariant: every child is waited for, also when we fail. */
#ifndef KITH_BENCH_PROCESS_H
#define KITH_BENCH_PROCESS_H

#include <stdio.h>
#include <sys/types.h>

#include <ann/ann.h>

/* Runs argv (found in PATH) in folder (NULL: here), with its output in the file `log` (NULL:
 * ours). *status: its exit status, 127 if there is no such program. */
ann_err process_run(const char *const argv[], const char *folder, const char *log, int *status);

/* A child that answers each line with a line. */
struct process {
    pid_t pid;
    FILE *to, *from;
    char *line;
    size_t capacity;
};

/* environment: "NAME=value" texts, ended by NULL, set for the child on top of ours. */
ann_err process_open(struct process *p, const char *const argv[],
                     const char *const environment[]);

/* Sends `bytes` of text and a newline, and waits for one line; *answer lives until the next
 * call. ANN_EIO: the child is gone. */
ann_err process_ask(struct process *p, const char *text, size_t bytes, const char **answer);

void process_close(struct process *p);

#endif
