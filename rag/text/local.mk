# rag/text: readers of files, and the chunker.
libkith_rag_core_la_SOURCES += rag/text/blocks.c rag/text/chunk.c rag/text/html.c \
	rag/text/markdown.c rag/text/pdf.c rag/text/read.c rag/text/records.c rag/text/text.h \
	rag/text/tokens.c rag/text/unicode.c rag/text/walk.c
