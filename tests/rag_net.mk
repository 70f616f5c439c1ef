# Tests of rag/net; see tests/local.mk for what to add here.
unit_tests += tests/net.test
tests_net_test_SOURCES = tests/test_net.c tests/badserver.c tests/badserver.h
tests_net_test_LDADD = $(rag_test_libs) $(ZLIB_LIBS)
