# rag/eval: test collections, metrics of retrieval and of answers, recall of the index.
libkith_rag_core_la_SOURCES += rag/eval/articles.c rag/eval/chunk_recall.c rag/eval/collection.c \
	rag/eval/collection.h rag/eval/index_recall.c rag/eval/judge.c rag/eval/judge.h \
	rag/eval/metrics.c rag/eval/metrics.h rag/eval/runs.c
libkith_rag_core_la_SOURCES += rag/eval/answer_cosine.c rag/eval/answer_files.c rag/eval/answer_run.c \
	rag/eval/answers.c rag/eval/answers.h rag/eval/refusal.c
