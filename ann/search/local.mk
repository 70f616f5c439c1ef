# ann/search, part of libkith-ann-core.la. List sources and headers:
#   libkith_ann_core_la_SOURCES += ann/search/NAME.c ann/search/NAME.h
