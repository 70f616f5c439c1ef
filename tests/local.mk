# The tests. tests/NAME.test comes from tests/test_NAME.c, uses libcheck and speaks TAP: each of
# its cases is a line of its own in "make check". tests/NAME.sh is one test: it exits 0, 1, or 77
# for "cannot be run here". Owners add to their own fragment, included below:
#
#   unit_tests += tests/pool.test
#   tests_pool_test_SOURCES = tests/test_pool.c
#   shell_tests += tests/isa.sh
#
# A unit test links LDADD below unless it sets tests_NAME_test_LDADD. Those that run threads beside
# each other are named in thread_tests too: CI runs them under the thread sanitizer.

LDADD = libkith-ann-core.la libkith-io.la $(HDF5_LIB) $(CHECK_LIBS)
AM_CPPFLAGS += $(CHECK_CFLAGS)
# What the tests of rag link instead.
rag_test_libs = libkith-rag-core.la $(CHECK_LIBS)

unit_tests =
thread_tests =
shell_tests =

include $(top_srcdir)/tests/build.mk
include $(top_srcdir)/tests/kernels.mk
include $(top_srcdir)/tests/file.mk
include $(top_srcdir)/tests/io.mk
include $(top_srcdir)/tests/index.mk
include $(top_srcdir)/tests/model.mk
include $(top_srcdir)/tests/hnsw.mk
include $(top_srcdir)/tests/ivfpq.mk
include $(top_srcdir)/tests/codec.mk
include $(top_srcdir)/tests/cli.mk
include $(top_srcdir)/tests/bench.mk
include $(top_srcdir)/tests/rag_net.mk
include $(top_srcdir)/tests/rag_text.mk
include $(top_srcdir)/tests/rag_embed.mk
include $(top_srcdir)/tests/rag_retrieve.mk
include $(top_srcdir)/tests/rag_answer.mk
include $(top_srcdir)/tests/rag_store.mk
include $(top_srcdir)/tests/rag_cli.mk
include $(top_srcdir)/tests/rag_eval.mk

if HAVE_CHECK
check_PROGRAMS += $(unit_tests)
endif
TESTS += $(check_PROGRAMS) $(shell_tests)
EXTRA_DIST += $(shell_tests)

TEST_EXTENSIONS = .test .sh
TEST_LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
SH_LOG_COMPILER = bash

# A case forks, unless a sanitizer watches the process. The time limit guards against a hang,
# so it leaves room for a slow or busy machine.
if SANITIZERS
CHECK_FORK = no
else
CHECK_FORK = yes
endif
AM_TESTS_ENVIRONMENT = \
	CK_TAP_LOG_FILE_NAME=-; CK_VERBOSITY=silent; CK_DEFAULT_TIMEOUT=900; \
	CK_FORK=$(CHECK_FORK); \
	RAG_MODELS='$(abs_top_srcdir)/models'; \
	top_srcdir='$(abs_top_srcdir)'; top_builddir='$(abs_top_builddir)'; \
	CC='$(CC)'; NM='$(NM)'; PYTHON='$(PYTHON)'; SANITIZE_FLAGS='$(SANITIZE_FLAGS)'; \
	COVERAGE_FLAGS='$(COVERAGE_FLAGS)'; \
	export CK_TAP_LOG_FILE_NAME CK_VERBOSITY CK_DEFAULT_TIMEOUT CK_FORK top_srcdir \
	top_builddir CC NM PYTHON SANITIZE_FLAGS COVERAGE_FLAGS RAG_MODELS;
