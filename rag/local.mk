# The retrieval-augmented-generation layer. Sources are listed in each folder's local.mk; those
# that lie in rag/ itself are listed here.
#
#   libkith-rag-core.la  all of rag but cli; base and io inside (noinst)
noinst_LTLIBRARIES += libkith-rag-core.la

libkith_rag_core_la_SOURCES = rag/error.c rag/error.h rag/rag.h
libkith_rag_core_la_CPPFLAGS = $(AM_CPPFLAGS) $(CURL_CFLAGS) $(CMARK_CFLAGS) \
	$(UTF8PROC_CFLAGS)
libkith_rag_core_la_LIBADD = libkith-ann.la libkith-io.la libkith-base.la \
	$(CURL_LIBS) $(CMARK_LIBS) $(UTF8PROC_LIBS)

include $(top_srcdir)/rag/net/local.mk
include $(top_srcdir)/rag/text/local.mk
include $(top_srcdir)/rag/embed/local.mk
include $(top_srcdir)/rag/retrieve/local.mk
include $(top_srcdir)/rag/answer/local.mk
