/* hdf5.h - datasets of HDF5 files, as ann-benchmarks lays them out: train, test, neighbors,
 * distances.
 *
 * Place: ann/io; hdf5.c is the sole owner of HDF5 and is a library apart (libkith-hdf5.la),
 * linked into `ann` and `annbench` alone.  Only there when config.h says HAVE_HDF5. Invariant:
 * HDF5 prints nothing; what it would print is in the error message. */
#ifndef KITH_IO_HDF5_H
#define KITH_IO_HDF5_H

#include "ann/io/io.h"

/* From now on io_open, io_load and io_create take "file.hdf5:dataset" too (".h5" as well;
 * without
 * ":dataset" it is "train").  Call it once, first thing in main. */
void hdf5_enable(void);

/* The whole of one dataset: f32 (f64 is converted), f16, i8, u8, i32, u32, i64, u64; one or two
 * dimensions.  ANN_ENOENT: no such file or dataset.  Release with io_free. */
ann_err hdf5_load(const char *path, const char *dataset, struct io_matrix *out);

/* Whether the file has the dataset. */
bool hdf5_has(const char *path, const char *dataset);

/* A text attribute of the file, such as "distance" ("angular", "euclidean", ...); false: not
 * there, or longer than len - 1 bytes. */
bool hdf5_attribute(const char *path, const char *name, char *buf, size_t len);

/* Adds a dataset to the file (made if it is not there); replaces one of that name. */
ann_err hdf5_store(const char *path, const char *dataset, const struct io_matrix *rows);

#endif
