# annbench: recall and latency against exact search. It lies in bench/annbench of the build folder.
# Once main() is there, make this bin_PROGRAMS:
EXTRA_PROGRAMS += bench/annbench
bench_annbench_SOURCES =
bench_annbench_LDADD = libkith-ann.la libkith-io.la $(HDF5_LIB) libkith-kernels.la \
	libkith-base.la $(ZLIB_LIBS)
bench_annbench_CPPFLAGS = $(AM_CPPFLAGS) $(ZLIB_CFLAGS)
