# rag/retrieve: from a question to chunks.
libkith_rag_core_la_SOURCES += rag/retrieve/fuse.c rag/retrieve/fuse.h
