/* kfile_head.h - the head of a file: its numbers, its directory, and where everything lies.
 *
 * Place: file; used by the writer (kfile_save.c) and the reader (kfile_open.c), so that both
 * agree. Invariant: the bytes of a head follow from struct head alone.  A reader accepts
 * exactly the bytes the writer would have written; each place, length and count is computed,
 * never believed. */
#ifndef KITH_FILE_KFILE_HEAD_H
#define KITH_FILE_KFILE_HEAD_H

#include "ann/base/wire.h"
#include "ann/file/kfile.h"

#define HEAD_MAGIC         UINT64_C(0x4b4954482d414e4e) /* "KITH-ANN" */
#define HEAD_VERSION_MAJOR 1
#define HEAD_VERSION_MINOR 0
#define HEAD_FEATURES      UINT64_C(0) /* the bits this library knows */
#define HEAD_LITTLE_ENDIAN 1

#define HEAD_MAX       ((size_t)1 << 20)   /* bytes before the first pad */
#define HEAD_ROW_MAX   ((uint64_t)1 << 19) /* bytes of a row */
#define HEAD_CHUNK_MAX ((uint64_t)1 << 31) /* bytes of a chunk */
#define HEAD_PAGE      4096 /* where sections of at least so many bytes begin; else HEAD_LINE */
#define HEAD_LINE      64
#define HEAD_FRAME_MAX (2 * WIRE_BIN_HEAD + HEAD_PAGE) /* between two chunks */

#define HEAD_NUMBERS   39
#define HEAD_HDR_BYTES (1 + 4 + 3 + 9 * HEAD_NUMBERS) /* all before "dir" */
#define HEAD_END_BYTES (4 + 1 + 9 * 4)

struct head_section {
    char name[16];
    uint64_t rows, row_bytes, chunk_rows;
    uint64_t offset; /* of the first chunk's first byte; 0 without rows */
    uint64_t *sums;  /* [blocks], in head.sums */

    /* Computed by head_place: */
    uint64_t bytes, chunks, blocks;
    uint64_t chunk_bytes; /* of every chunk but the last */
    uint64_t start;       /* where the pad before the first chunk begins */
};

struct head {
    struct kfile_meta meta;
    uint64_t minor;
    uint64_t identity[2];
    uint64_t head_len, file_len;
    size_t n;
    struct head_section sections[KFILE_SECTIONS];
    uint64_t *sums; /* of all sections; from mem_alloc */
};

/* Largest power of two of rows whose bytes are within limit, but not fewer than make whole
 * pages. */
uint64_t head_chunk_rows(uint64_t row_bytes, uint64_t limit);

/* Whether meta's own numbers are within their bounds; `what` names the first that is not. */
bool head_meta_sound(const struct kfile_meta *m, const char **what);

bool head_name_sound(const char *name, size_t n);

/* From names, rows, row_bytes and chunk_rows computes all else but sums, offsets included.
 * ANN_ELIMIT if the head would pass HEAD_MAX. */
ann_err head_place(struct head *h);

/* The head's bytes; identity and the header's checksum are zero if `blank`. */
ann_err head_encode(const struct head *h, bool blank, struct wire_out *out);

/* Fills in identity from all else, then writes the bytes. */
ann_err head_seal(struct head *h, struct wire_out *out);

/* The last bytes of the file whose head is `head`. */
void head_end(const struct head *h, const uint8_t *head, uint8_t end[HEAD_END_BYTES]);

/* What lies before chunk i of a section: a pad, and the head of the chunk's own binary. */
struct head_frame {
    uint64_t at, len; /* len <= HEAD_FRAME_MAX */
    uint64_t chunk_at, chunk_bytes;
};
struct head_frame head_frame(const struct head_section *s, uint64_t i);
void head_frame_bytes(const struct head_frame *f, uint8_t bytes[HEAD_FRAME_MAX]);

/* Reading, in two steps.  First the header: p [len] are the file's first bytes, all of them if
 * it has no more than HEAD_FIRST; size is the file's.  Sets everything but sections. */
#define HEAD_FIRST ((size_t)1 << 16)
ann_err head_read(struct head *h, const uint8_t *p, size_t len, uint64_t size);

/* Then the directory: p [h->head_len] is the head, end the file's last HEAD_END_BYTES.  On
 * success h->sums must be freed. */
ann_err head_read_sections(struct head *h, const uint8_t *p, const uint8_t end[HEAD_END_BYTES]);

void head_free(struct head *h);

#endif
