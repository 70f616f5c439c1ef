# ann/hnsw, part of libkith-ann-core.la. List sources and headers:
#   libkith_ann_core_la_SOURCES += ann/hnsw/NAME.c ann/hnsw/NAME.h
