# ann/io: readers of data files and JSON for the programs, never in libkith-ann itself.
libkith_io_la_SOURCES += ann/io/io.h ann/io/source.h ann/io/iotype.c ann/io/mapping.c \
	ann/io/npy.c ann/io/reader.c ann/io/target.c ann/io/writer.c ann/io/idx.c ann/io/ids.c \
	ann/io/json.h ann/io/json.c ann/io/jsonw.c ann/io/progress.h ann/io/cmdline.c ann/io/cmdline.h ann/io/progress.c \
	ann/io/page.c ann/io/page.h ann/io/svg.c ann/io/svg.h
# HDF5 has a library apart, linked into the programs alone (config.h says HAVE_HDF5).
libkith_hdf5_la_SOURCES = ann/io/hdf5.h ann/io/hdf5.c
libkith_hdf5_la_CPPFLAGS = $(AM_CPPFLAGS) $(HDF5_CFLAGS)
libkith_hdf5_la_LIBADD = $(HDF5_LIBS)
if HAVE_HDF5
noinst_LTLIBRARIES += libkith-hdf5.la
HDF5_LIB = libkith-hdf5.la
endif
