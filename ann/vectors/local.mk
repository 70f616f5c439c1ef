# ann/vectors, part of libkith-ann-core.la: vectors by slot, and ids.
libkith_ann_core_la_SOURCES += \
	ann/vectors/idmap.c ann/vectors/idmap.h \
	ann/vectors/train.c \
	ann/vectors/vectors.c ann/vectors/vectors.h
