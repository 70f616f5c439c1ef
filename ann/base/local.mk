# ann/base: leaves that libkith-ann and the programs share.
libkith_base_la_SOURCES += \
	ann/base/blas.c ann/base/blas.h \
	ann/base/clock.h \
	ann/base/error.c ann/base/error.h \
	ann/base/key.h \
	ann/base/memory.c ann/base/memory.h \
	ann/base/pool.c ann/base/pool.h \
	ann/base/rng.h \
	ann/base/wire.c ann/base/wire.h
