# The index library. Sources are listed in each folder's local.mk; those that lie in ann/ itself
# (index.c, options.c, error.c, internal.h) are listed here.
#
#   libkith-base.la      ann/base: memory, errors, threads, cblas, msgpack     (noinst)
#   libkith-kernels.la   ann/kernels: scalar plus one library per instruction set (noinst)
#   libkith-io.la        ann/io: data files and JSON, for the programs          (noinst)
#   libkith-ann-core.la  all of ann but io and cli; base and kernels inside     (noinst)
#   libkith-ann.la       core behind the symbol map: what is installed
#
# Unit tests link core and see every symbol. Programs link libkith-ann.la, so that what it
# exports is proved, and io, base or kernels where they need them.

noinst_LTLIBRARIES += libkith-base.la libkith-kernels.la libkith-io.la libkith-ann-core.la
lib_LTLIBRARIES += libkith-ann.la

libkith_base_la_SOURCES =
libkith_base_la_CPPFLAGS = $(AM_CPPFLAGS) $(BLAS_CFLAGS) $(MSGPACK_CFLAGS)
libkith_base_la_LIBADD = $(BLAS_LIBS) $(MSGPACK_LIBS)

# Contraction is for the kernels alone: elsewhere the same source gives the same bits.
KERNEL_CFLAGS = $(AM_CFLAGS) $(KERNEL_OPT_CFLAGS) -ffp-contract=fast
libkith_kernels_la_SOURCES =
libkith_kernels_la_CFLAGS = $(KERNEL_CFLAGS)
libkith_kernels_la_LIBADD =

libkith_kernels_avx2_la_SOURCES =
libkith_kernels_avx2_la_CFLAGS = $(KERNEL_CFLAGS) $(CFLAGS_AVX2)
if HAVE_AVX2
noinst_LTLIBRARIES += libkith-kernels-avx2.la
libkith_kernels_la_LIBADD += libkith-kernels-avx2.la
endif

libkith_kernels_avx512_la_SOURCES =
libkith_kernels_avx512_la_CFLAGS = $(KERNEL_CFLAGS) $(CFLAGS_AVX512)
if HAVE_AVX512
noinst_LTLIBRARIES += libkith-kernels-avx512.la
libkith_kernels_la_LIBADD += libkith-kernels-avx512.la
endif

libkith_kernels_neon_la_SOURCES =
libkith_kernels_neon_la_CFLAGS = $(KERNEL_CFLAGS) $(CFLAGS_NEON)
if HAVE_NEON
noinst_LTLIBRARIES += libkith-kernels-neon.la
libkith_kernels_la_LIBADD += libkith-kernels-neon.la
endif

libkith_io_la_SOURCES =
libkith_io_la_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS) $(ZLIB_CFLAGS)
libkith_io_la_LIBADD = $(JANSSON_LIBS) $(ZLIB_LIBS)

libkith_ann_core_la_SOURCES = \
	ann/calibrate.c ann/curve.c ann/filter.c ann/grow.c ann/index.c ann/index_file.c \
	ann/internal.h ann/library.c ann/options.c ann/query.c ann/recall.c ann/tune.c
libkith_ann_core_la_CPPFLAGS = $(AM_CPPFLAGS) $(XXHASH_CFLAGS)
libkith_ann_core_la_LIBADD = libkith-base.la libkith-kernels.la $(XXHASH_LIBS)

libkith_ann_la_SOURCES =
libkith_ann_la_LIBADD = libkith-ann-core.la
libkith_ann_la_LDFLAGS = $(AM_LDFLAGS) -no-undefined -version-info $(ANN_VERSION_INFO) \
	-Wl,--version-script=$(srcdir)/ann/libkith-ann.map
EXTRA_libkith_ann_la_DEPENDENCIES = $(srcdir)/ann/libkith-ann.map
EXTRA_DIST += ann/libkith-ann.map

annincludedir = $(includedir)/kith/ann
anninclude_HEADERS = ann/ann.h
nodist_pkgconfig_DATA += ann/kith-ann.pc

include $(top_srcdir)/ann/base/local.mk
include $(top_srcdir)/ann/kernels/local.mk
include $(top_srcdir)/ann/search/local.mk
include $(top_srcdir)/ann/codec/local.mk
include $(top_srcdir)/ann/vectors/local.mk
include $(top_srcdir)/ann/flat/local.mk
include $(top_srcdir)/ann/hnsw/local.mk
include $(top_srcdir)/ann/ivfpq/local.mk
include $(top_srcdir)/ann/file/local.mk
include $(top_srcdir)/ann/io/local.mk
include $(top_srcdir)/ann/cli/local.mk
