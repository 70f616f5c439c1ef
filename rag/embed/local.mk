# rag/embed: from texts to vectors.
libkith_rag_core_la_SOURCES += rag/embed/hash.c rag/embed/hash.h \
	rag/embed/wire.c rag/embed/wire.h
