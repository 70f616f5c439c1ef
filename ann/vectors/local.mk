# ann/vectors, part of libkith-ann-core.la. List sources and headers:
#   libkith_ann_core_la_SOURCES += ann/vectors/NAME.c ann/vectors/NAME.h
