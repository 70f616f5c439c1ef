# rag/cli: the `rag` program. It lies in rag/rag of the build folder.
bin_PROGRAMS += rag/rag
rag_rag_SOURCES = rag/cli/cli.h rag/cli/cli.c rag/cli/cmd_add.c rag/cli/cmd_eval.c rag/cli/cmd_find.c \
	rag/cli/cmd_keep.c rag/cli/cmd_model.c rag/cli/config.c rag/cli/eval_ann.c \
	rag/cli/eval_chunks.c rag/cli/eval_retrieval.c rag/cli/print.c rag/cli/report.c \
	rag/cli/run.c
rag_rag_SOURCES += rag/cli/eval_answers.c
rag_rag_LDADD = libkith-rag.la libkith-ann.la libkith-io.la libkith-base.la
