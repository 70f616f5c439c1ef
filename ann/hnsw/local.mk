# ann/hnsw, part of libkith-ann-core.la: the graph.
libkith_ann_core_la_SOURCES += \
	ann/hnsw/hnsw.h \
	ann/hnsw/build.c ann/hnsw/check.c ann/hnsw/choose.c ann/hnsw/find.c \
	ann/hnsw/graph.c ann/hnsw/hnsw_file.c ann/hnsw/look.c \
	ann/hnsw/reach.c ann/hnsw/remove.c ann/hnsw/rows.c ann/hnsw/rows.h \
	ann/hnsw/search.c ann/hnsw/sieve.c ann/hnsw/spread.c ann/hnsw/subgraph.c \
	ann/hnsw/twohop.c ann/hnsw/walk.c ann/hnsw/walk.h ann/hnsw/select.c
