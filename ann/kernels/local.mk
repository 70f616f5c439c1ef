# ann/kernels: libkith_kernels_la_SOURCES takes the scalar code, the dispatch and all headers;
# the file of one instruction set goes to libkith_kernels_{avx2,avx512,neon}_la_SOURCES, which
# alone is compiled with that set's flags.
libkith_kernels_la_SOURCES += \
	ann/kernels/kernels.h ann/kernels/body.h ann/kernels/body_code.h \
	ann/kernels/body_float.h ann/kernels/body_frame.h ann/kernels/body_quad.h \
	ann/kernels/dispatch.c ann/kernels/scalar.c ann/kernels/code_scalar.c \
	ann/kernels/rows.h ann/kernels/body_rows.h ann/kernels/rows_scalar.c \
	ann/kernels/lists.h ann/kernels/body_lists.h ann/kernels/lists_scalar.c \
	ann/kernels/body_nibbles.h ann/kernels/nibbles_avx2.h ann/kernels/nibbles_neon.h \
	ann/kernels/vf_scalar.h ann/kernels/vf_avx2.h ann/kernels/vf_avx512.h ann/kernels/vf_neon.h \
	ann/kernels/layers.h ann/kernels/body_layers.h ann/kernels/layers_scalar.c
libkith_kernels_avx2_la_SOURCES += \
	ann/kernels/avx2.c ann/kernels/code_avx2.c ann/kernels/rows_avx2.c \
	ann/kernels/layers_avx2.c ann/kernels/lists_avx2.c
libkith_kernels_avx512_la_SOURCES += \
	ann/kernels/avx512.c ann/kernels/code_avx512.c ann/kernels/rows_avx512.c \
	ann/kernels/layers_avx512.c ann/kernels/lists_avx512.c
libkith_kernels_neon_la_SOURCES += \
	ann/kernels/neon.c ann/kernels/code_neon.c ann/kernels/rows_neon.c \
	ann/kernels/layers_neon.c ann/kernels/lists_neon.c

# Built on demand: make bench/kernels_bench
EXTRA_PROGRAMS += bench/kernels_bench
bench_kernels_bench_SOURCES = bench/kernels_bench.c
bench_kernels_bench_LDADD = libkith-kernels.la
EXTRA_DIST += docs/kernels.md
