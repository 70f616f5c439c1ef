# ann/flat, part of libkith-ann-core.la. List sources and headers:
#   libkith_ann_core_la_SOURCES += ann/flat/NAME.c ann/flat/NAME.h
