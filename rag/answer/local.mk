# rag/answer: libkith_rag_core_la_SOURCES += its files.
