# rag/net: libkith_rag_core_la_SOURCES += its files.
libkith_rag_core_la_SOURCES += rag/net/net.h
