# ann/file, part of libkith-ann-core.la: the msgpack container of an index.
libkith_ann_core_la_SOURCES += \
	ann/file/checksum.c ann/file/checksum.h \
	ann/file/kfile.h \
	ann/file/kfile_head.c ann/file/kfile_head.h \
	ann/file/kfile_open.c ann/file/kfile_save.c \
	ann/file/vfs.c ann/file/vfs.h
EXTRA_DIST += docs/format.md
