# rag/answer: prompts, chat models, citations.
libkith_rag_core_la_SOURCES += rag/answer/answer.h rag/answer/chat.c rag/answer/citations.c \
	rag/answer/growing.c rag/answer/growing.h rag/answer/prompt.c
