/* kfile_sample.h - a small file of several sections, in memory and as bytes, for the file's
 * tests.
 *
 * With chunks of 4 KiB, section vectors has three of them; one section has no rows. */
#ifndef KITH_TESTS_KFILE_SAMPLE_H
#define KITH_TESTS_KFILE_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "ann/file/kfile.h"

#define SAMPLE_PARTS 4

struct sample {
    uint64_t ids[3];
    uint8_t vectors[600 * 16];
    char tiny[3];
    struct kfile_meta meta;
    struct kfile_part parts[SAMPLE_PARTS];
};

/* Its content follows from seed. */
void sample_make(struct sample *s, uint64_t seed);

/* Whether f, just opened, holds s; takes all sections. */
bool sample_in(struct kfile *f, const struct sample *s);

/* Opens path, verifies it if mapped, and compares; ANN_EDAMAGED too if the content differs. */
ann_err sample_check(const char *path, ann_open_mode mode, const struct sample *s);

/* A fresh folder below the build's, and its removal with all files in it. */
char *folder_make(void);
void folder_remove(char *folder);
char *in_folder(const char *folder, const char *name); /* to be freed */
int folder_count(const char *folder);

/* The whole file, to be freed; NULL if there is none. */
uint8_t *file_read(const char *path, size_t *len);
void file_write(const char *path, const uint8_t *bytes, size_t len);

/* A file in memory that has a path while it is open. */
struct memory_file {
    int fd;
    char path[64];
};
struct memory_file memory_file_make(const uint8_t *bytes, size_t len);
void memory_file_put(const struct memory_file *m, const uint8_t *bytes, size_t len);

/* Recomputes every checksum and the identity, as someone who forges a file would.  head_len: of
 * the sample before it was changed. */
void reseal(uint8_t *file, size_t len, size_t head_len);

uint64_t get_u64(const uint8_t *p); /* of the 9 bytes at p */
void put_u64(uint8_t *p, uint64_t x);

#endif
