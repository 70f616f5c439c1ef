# ann/codec, part of libkith-ann-core.la: what turns a vector into fewer bytes.
libkith_ann_core_la_SOURCES += ann/codec/codes.c ann/codec/codes.h ann/codec/codes_file.c \
	ann/codec/frame.c ann/codec/frame.h ann/codec/listcodes.c ann/codec/listcodes.h \
	ann/codec/kmeans.c ann/codec/kmeans.h ann/codec/kmeans_assign.c \
	ann/codec/kmeans_few.c ann/codec/kmeans_few.h \
	ann/codec/pq.c ann/codec/pq.h ann/codec/pq_learn.h ann/codec/opq.c
