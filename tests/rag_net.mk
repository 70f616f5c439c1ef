# Tests of rag/net; see tests/local.mk for what to add here.
unit_tests += tests/net.test
tests_net_test_SOURCES = tests/test_net.c tests/badserver.c tests/badserver.h
tests_net_test_LDADD = $(rag_test_libs) $(ZLIB_LIBS)
unit_tests += tests/download.test
tests_download_test_SOURCES = tests/test_download.c tests/badserver.c tests/badserver.h
tests_download_test_LDADD = $(rag_test_libs) $(ZLIB_LIBS)
EXTRA_DIST += tests/tlsfront.py
