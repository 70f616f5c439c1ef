# rag/text: libkith_rag_core_la_SOURCES += its files.
