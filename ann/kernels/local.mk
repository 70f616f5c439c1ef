# ann/kernels: libkith_kernels_la_SOURCES takes the scalar code, the dispatch and all headers;
# the file of one instruction set goes to libkith_kernels_{avx2,avx512,neon}_la_SOURCES, which
# alone is compiled with that set's flags.
