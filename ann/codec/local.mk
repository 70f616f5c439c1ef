# ann/codec, part of libkith-ann-core.la: what turns a vector into fewer bytes.
libkith_ann_core_la_SOURCES += ann/codec/codes.c ann/codec/codes.h ann/codec/codes_file.c \
	ann/codec/frame.c ann/codec/frame.h ann/codec/listcodes.c ann/codec/listcodes.h
