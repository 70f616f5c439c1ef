# The retrieval-augmented-generation layer. Sources are listed in each folder's local.mk; those
# that lie in rag/ itself are listed here.
#
#   libkith-rag-core.la  all of rag but cli; base and io inside (noinst)
#   libkith-rag.la       core behind the symbol map: what is installed
noinst_LTLIBRARIES += libkith-rag-core.la
lib_LTLIBRARIES += libkith-rag.la

libkith_rag_core_la_SOURCES = rag/admin.c rag/ask.c rag/contextual.c rag/digest.c rag/digest.h rag/error.c \
	rag/error.h rag/find.c rag/handle.c rag/ingest.c rag/ingest.h rag/internal.h \
	rag/model_api.c rag/prepare.c rag/rag.h rag/vecfile.c rag/vecfile.h \
	rag/vectors.c
libkith_rag_core_la_CPPFLAGS = $(AM_CPPFLAGS) -DMODELS_DIR='"$(pkgdatadir)/models"' \
	$(CURL_CFLAGS) $(CMARK_CFLAGS) \
	$(UTF8PROC_CFLAGS) $(GUMBO_CFLAGS) $(SQLITE_CFLAGS) $(NETTLE_CFLAGS)
libkith_rag_core_la_LIBADD = libkith-ann.la libkith-kernels.la libkith-io.la libkith-base.la \
	$(CURL_LIBS) $(CMARK_LIBS) $(UTF8PROC_LIBS) $(GUMBO_LIBS) $(SQLITE_LIBS) \
	$(NETTLE_LIBS)

libkith_rag_la_SOURCES =
libkith_rag_la_LIBADD = libkith-rag-core.la
libkith_rag_la_LDFLAGS = $(AM_LDFLAGS) -no-undefined -version-info $(RAG_VERSION_INFO) \
	-Wl,--version-script=$(srcdir)/rag/libkith-rag.map
EXTRA_libkith_rag_la_DEPENDENCIES = $(srcdir)/rag/libkith-rag.map
EXTRA_DIST += rag/libkith-rag.map

ragincludedir = $(includedir)/kith/rag
raginclude_HEADERS = rag/rag.h
nodist_pkgconfig_DATA += rag/kith-rag.pc

include $(top_srcdir)/rag/net/local.mk
include $(top_srcdir)/rag/text/local.mk
include $(top_srcdir)/rag/embed/local.mk
include $(top_srcdir)/rag/retrieve/local.mk
include $(top_srcdir)/rag/answer/local.mk
include $(top_srcdir)/rag/store/local.mk
include $(top_srcdir)/rag/eval/local.mk
include $(top_srcdir)/rag/cli/local.mk
