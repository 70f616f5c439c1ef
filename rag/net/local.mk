# rag/net: HTTP.
libkith_rag_core_la_SOURCES += rag/net/client.c rag/net/client.h rag/net/download.c \
	rag/net/gate.c rag/net/internal.h rag/net/net.h rag/net/refusal.c rag/net/request.c \
	rag/net/sse.c rag/net/sse.h
