/* kfile.h - the msgpack container: named sections of rows behind a checked header.
 *
 * Place: above base, below the kinds; it knows sections and a table of numbers, not graphs.
 * docs/format.md is the authority on the bytes.  Invariant: what kfile_open returns has passed
 * every check of the header and directory (sizes, order, no holes, no overlap, checksums), so a
 * section's rows * row_bytes bytes are there; what the rows mean is the kind's to check. */
#ifndef KITH_FILE_KFILE_H
#define KITH_FILE_KFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "ann/base/memory.h"

#define KFILE_PARAMS   16 /* numbers that belong to the kind */
#define KFILE_SECTIONS 32 /* most a file may have */
#define KFILE_ROWS_MAX UINT64_C(0xfffffffe)

/* The header's numbers.  identity, file_len and the like are the container's own. */
struct kfile_meta {
    uint64_t kind, metric, dtype, dim; /* as in ann.h */
    uint64_t slots, live;
    uint64_t seed;
    uint64_t next_id;              /* the id that the next unnumbered add gets */
    uint64_t params[KFILE_PARAMS]; /* the kind's: m, ef_construction, entry, max_level, ... */
};

/* To be written: `rows` rows of row_bytes, one after the other at data.  name: 1..15 of
 * [a-z0-9_]. */
struct kfile_part {
    const char *name;
    const void *data;
    uint64_t rows, row_bytes;
};

/* Writes all parts to path: path.tmp-PID beside it, fsync, rename, fsync of the folder.  A
 * symbolic link is followed, the file's permission bits are kept; a folder or FIFO is refused.
 * On failure the temporary file is gone and path is as it was.  identity is derived from meta,
 * names and content.  progress may be NULL. */
ann_err kfile_save(const char *path, const struct kfile_meta *meta,
                   const struct kfile_part *parts, size_t n, ann_progress_fn progress,
                   void *arg);

struct kfile;

/* Opens and checks.  ANN_OPEN_LOAD reads and verifies every section into memory of its own
 * (huge pages); ANN_OPEN_MAP maps each section as one run of memory (chunks are mapped side by
 * side) and verifies header and directory alone.  max_memory: 0 or the most bytes LOAD may take
 * (ANN_ELIMIT). */
ann_err kfile_open(const char *path, ann_open_mode mode, uint64_t max_memory,
                   ann_progress_fn progress, void *arg, struct kfile **out);

const struct kfile_meta *kfile_meta(const struct kfile *f);

/* The rows of a section must be the caller's: ANN_EDAMAGED if it is missing, or its rows or
 * row_bytes are not these.  b gets the bytes: owned after LOAD (taken out of f), borrowed after
 * MAP (f must stay open as long as b is used).  A section may be taken once. */
ann_err kfile_take(struct kfile *f, const char *name, uint64_t rows, uint64_t row_bytes,
                   struct buf *b);
bool kfile_has(const struct kfile *f, const char *name, uint64_t *rows);

/* Checks every checksum of every section of a mapped file. */
ann_err kfile_verify(const struct kfile *f, ann_progress_fn progress, void *arg);

const char *kfile_path(const struct kfile *f);
uint64_t kfile_mapped_bytes(const struct kfile *f);
void kfile_close(struct kfile *f);

/* The header alone, without sections: for ann_file_info_read and ann_file_section. */
ann_err kfile_read_header(const char *path, struct kfile_meta *meta, ann_file_info *info);
ann_err kfile_read_section(const char *path, uint32_t i, ann_section_info *info);

/* Tests only: rows of a chunk are cut at this many bytes instead of 2 GiB (0: back to it). */
void kfile_chunk_limit(uint64_t bytes);

#endif
