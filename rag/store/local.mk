# rag/store: the database, and the index files beside it.
libkith_rag_core_la_SOURCES += rag/store/check.c rag/store/db.c rag/store/docs.c \
	rag/store/internal.h rag/store/lock.c rag/store/mirror.c rag/store/mirror.h rag/store/rank.c rag/store/store.h rag/store/vectors.c \
	rag/store/where.c rag/store/words.c
