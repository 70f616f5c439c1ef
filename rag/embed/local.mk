# rag/embed: from texts to vectors.
libkith_rag_core_la_SOURCES += rag/embed/catalog.c rag/embed/catalog.h rag/embed/decimal.c \
	rag/embed/decimal.h rag/embed/distill.c rag/embed/distill.h rag/embed/embed.c \
	rag/embed/embed.h rag/embed/encoder.c rag/embed/encoder.h rag/embed/encoder_file.c \
	rag/embed/encoder_internal.h rag/embed/encoder_load.c rag/embed/hash.c rag/embed/hash.h \
	rag/embed/hub.c rag/embed/hub.h rag/embed/hub_models.c rag/embed/local.c \
	rag/embed/local.h rag/embed/model.c rag/embed/model.h rag/embed/models.c \
	rag/embed/models.h rag/embed/remote.c rag/embed/remote.h rag/embed/safetensors.c \
	rag/embed/safetensors.h rag/embed/static.c rag/embed/static.h rag/embed/static_internal.h \
	rag/embed/static_read.c rag/embed/tokens.c rag/embed/tokens.h rag/embed/wire.c \
	rag/embed/wire.h rag/embed/wordpiece.c rag/embed/wordpiece.h rag/embed/wordvec.c \
	rag/embed/wordvec.h rag/embed/wordvec_build.c rag/embed/wordvec_build.h \
	rag/embed/wordvec_write.c
