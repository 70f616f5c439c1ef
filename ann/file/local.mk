# ann/file, part of libkith-ann-core.la. List sources and headers:
#   libkith_ann_core_la_SOURCES += ann/file/NAME.c ann/file/NAME.h
