# rag/embed: from texts to vectors.
libkith_rag_core_la_SOURCES += rag/embed/embed.c rag/embed/embed.h rag/embed/hash.c \
	rag/embed/hash.h rag/embed/models.c rag/embed/remote.c rag/embed/remote.h \
	rag/embed/wire.c rag/embed/wire.h rag/embed/decimal.c rag/embed/decimal.h \
	rag/embed/wordvec.c rag/embed/wordvec.h rag/embed/wordvec_build.c \
	rag/embed/wordvec_build.h rag/embed/wordvec_write.c
