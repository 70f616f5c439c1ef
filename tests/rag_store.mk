# Tests of rag/store; see tests/local.mk for what to add here.
unit_tests += tests/store.test
tests_store_test_SOURCES = tests/test_store.c
tests_store_test_LDADD = $(rag_test_libs)
