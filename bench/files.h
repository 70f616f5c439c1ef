/* files.h - small things about paths: joining, asking, making folders, the cache folder.
 *
 * Place: bench, a leaf. */
#ifndef KITH_BENCH_FILES_H
#define KITH_BENCH_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include <ann/ann.h>

#define FILES_PATH_MAX 4096

/* out [FILES_PATH_MAX] = folder/name.  False: too long; out is then "". */
bool files_join(char *out, const char *folder, const char *name);
bool files_exist(const char *path);

/* $XDG_CACHE_HOME/kith/name or ~/.cache/kith/name; made, with all above it, if make. */
ann_err files_cache(char *out, const char *name, bool make);

/* A file of ours, folder/name: beside an installed annbench, else where it was installed, else
 * in the tree that it was built from. */
ann_err files_installed(char *path, const char *folder, const char *name);

/* Makes path and the folders above it. */
ann_err files_make_folder(const char *path);

/* A new private folder under $TMPDIR or /tmp; files_remove_folder takes it away with the plain
 * files in it. */
ann_err files_temporary(char *out);
void files_remove_folder(const char *path);

#endif
