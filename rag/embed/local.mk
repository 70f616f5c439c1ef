# rag/embed: from texts to vectors.
libkith_rag_core_la_SOURCES += rag/embed/embed.c rag/embed/embed.h rag/embed/hash.c \
	rag/embed/hash.h rag/embed/hub.c rag/embed/hub.h rag/embed/hub_models.c \
	rag/embed/models.c rag/embed/remote.c rag/embed/remote.h \
	rag/embed/wire.c rag/embed/wire.h
