# ann/io: readers of data files and JSON for the programs, never in libkith-ann itself.
#   libkith_io_la_SOURCES += ann/io/NAME.c ann/io/NAME.h
# HDF5 has a library apart, linked into the programs alone (config.h says HAVE_HDF5).
libkith_hdf5_la_SOURCES =
libkith_hdf5_la_CPPFLAGS = $(AM_CPPFLAGS) $(HDF5_CFLAGS)
libkith_hdf5_la_LIBADD = $(HDF5_LIBS)
if HAVE_HDF5
noinst_LTLIBRARIES += libkith-hdf5.la
HDF5_LIB = libkith-hdf5.la
endif
