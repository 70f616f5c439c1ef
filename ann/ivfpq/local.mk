# ann/ivfpq, part of libkith-ann-core.la: inverted lists of product-quantised codes.
libkith_ann_core_la_SOURCES += \
	ann/ivfpq/ivfpq.h ann/ivfpq/query.h \
	ann/ivfpq/add.c ann/ivfpq/batch.c ann/ivfpq/coarse.c ann/ivfpq/graph.c ann/ivfpq/ivfpq_file.c ann/ivfpq/lists.c \
	ann/ivfpq/search.c ann/ivfpq/space.c ann/ivfpq/stops.c ann/ivfpq/train.c
