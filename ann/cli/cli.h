/* cli.h - what the commands of `ann` share: arguments, session, data in, results out.
 *
 * Place: ann/cli, the program; it sees ann/ann.h, ann/io and base, nothing else of the library.
 * Invariant: standard output is data, standard error is talk. */
#ifndef KITH_CLI_H
#define KITH_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ann/ann.h>

#include "ann/io/cmdline.h"
#include "ann/io/io.h"

enum cli_exit {
    CLI_OK = 0,
    CLI_ERROR = 1,
    CLI_USAGE = 2,
    CLI_EMPTY = 3,   /* nothing found, with --fail-empty */
    CLI_DAMAGED = 4, /* or not a kith file, or of a later version */
    CLI_INTERRUPTED = 130
};

/* ---- arguments ---- */

struct args {
    CMDLINE_ARGS
    uint64_t threads, max_memory;
    const char *output, *spec, *metric, *ids, *ids_out, *distances, *format, *filter_ids;
    const char *from, *to, *type, *profile, *codes, *queries;
    uint64_t dim, seed, k, effort;
    double radius, recall;
    bool has_seed, has_radius, has_recall;
    bool map, json, fail_empty, renumber, calibrate, dry_run;
};

extern const struct program ann_program;

/* ---- the commands; each returns an exit status ---- */

int cmd_build(const struct args *a);
int cmd_add(const struct args *a);
int cmd_update(const struct args *a);
int cmd_remove(const struct args *a);
int cmd_search(const struct args *a);
int cmd_recall(const struct args *a);
int cmd_info(const struct args *a);
int cmd_verify(const struct args *a);
int cmd_merge(const struct args *a);
int cmd_export(const struct args *a);
int cmd_convert(const struct args *a);
int cmd_calibrate(const struct args *a);

/* ---- the session (session.c): signals, progress, locks, opening ---- */

void session_start(const struct args *a);
bool session_interrupted(void);

/* The exit status of err, whose message is printed ("ann: ..."). */
int session_fail(ann_err err);
/* For the end of a command: takes the bar away, prints err if any, flushes standard output. */
int session_end(ann_err err);

/* A line for people on standard error, unless -q. */
void session_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* progress and its argument, for the library's options.  Adding in blocks shows as one bar over
 * total (0: not known), of which `done` are in. */
int session_progress(void *arg, const char *what, uint64_t done, uint64_t total);
void session_adding(uint64_t done, uint64_t total);

/* Opens path; mode ANN_OPEN_MAP also tells SIGBUS whose it is. */
ann_err session_open(const struct args *a, const char *path, ann_open_mode mode,
                     ann_index **out);

/* Holds "PATH-lock" so that no other process changes the index.  ANN_EBUSY names the holder. */
struct session_lock {
    int fd;
    char *path;
};

ann_err session_lock(const char *path, struct session_lock *lock);
void session_unlock(struct session_lock *lock);

/* ---- data in (input.c) ---- */

/* --from, --dim and --type for io_open. */
int input_options(const struct args *a, struct io_options *o);

/* Rows an add takes at a time: fixed by the dimension, so that a file gives the same index in
 * whatever format it comes. */
size_t input_block_rows(size_t dim);

/* m for an index that stores `store`: packs of u8 become bits where it stores bits. */
ann_err input_view(const char *path, const struct io_matrix *m, ann_dtype store, uint32_t dim,
                   ann_view *v);

/* ---- the contents of an index (contents.c) ---- */

struct contents {
    const ann_index *ix;
    ann_info info;
    uint64_t cursor;
    size_t room;       /* rows a block */
    ann_id *ids;       /* [room] */
    float *floats;     /* [dim] */
    void *rows;        /* [room, dim] of type */
    enum io_type type; /* f32, i8 or u8 as stored, b1 packed as u8; f16 stays f16 */
    size_t dim;        /* of a row: for bits, bytes */
};

ann_err contents_start(const ann_index *ix, struct contents *c);
/* The next vectors; *n is 0 at the end. */
ann_err contents_next(struct contents *c, struct io_matrix *rows, size_t *n);
void contents_end(struct contents *c);

/* ---- results out (results.c) ---- */

enum results_format { RESULTS_TABLE, RESULTS_JSONL, RESULTS_TSV, RESULTS_NPY, RESULTS_IVECS };

struct results;

/* k: columns of npy and ivecs; nq: IO_UNKNOWN or how many queries will come. */
ann_err results_open(const struct args *a, enum results_format f, size_t k, size_t nq,
                     struct results **out);
enum results_format results_choose(const struct args *a);
/* What one query found, nearest first. */
ann_err results_put(struct results *r, size_t n, const ann_id *ids, const float *dists);
ann_err results_finish(struct results *r); /* frees */
void results_drop(struct results *r);      /* NULL is allowed */

/* ---- calibration (cmd_calibrate.c) ---- */

struct js_out;

/* ann_calibrate with --queries, -k and --seed. */
ann_err calibrate(const struct args *a, ann_index *ix, ann_calibration *c);
/* Efforts for usual recalls: a table on standard output, an array "efforts". */
void calibration_print(const ann_index *ix);
void calibration_put(struct js_out *o, const ann_index *ix);

/* ---- names ---- */

const char *cli_kind_name(ann_kind k);
const char *cli_metric_name(ann_metric m);
const char *cli_store_name(ann_dtype t);
const char *cli_profile_name(ann_profile p);
const char *cli_codes_name(ann_codes c);
/* 1234567 bytes as "1.2 MiB". */
const char *cli_size(char buf[32], uint64_t bytes);

#endif
