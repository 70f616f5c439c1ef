# ann/search, part of libkith-ann-core.la: what every kind searches with.
libkith_ann_core_la_SOURCES += \
	ann/search/beam.h ann/search/edition.h ann/search/kind.h ann/search/order.h \
	ann/search/topk.h \
	ann/search/rerank.c ann/search/rerank.h ann/search/reservoir.h \
	ann/search/scan.c ann/search/scan.h \
	ann/search/packed.c ann/search/packed.h \
	ann/search/passing.c ann/search/passing.h \
	ann/search/scratch.c ann/search/scratch.h \
	ann/search/subrows.c ann/search/subrows.h
