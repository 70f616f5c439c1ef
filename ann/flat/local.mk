# ann/flat, part of libkith-ann-core.la: exact search.
libkith_ann_core_la_SOURCES += ann/flat/flat.c ann/flat/flat.h
