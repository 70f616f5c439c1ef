# Tests of rag/retrieve; see tests/local.mk for what to add here.
unit_tests += tests/fuse.test
tests_fuse_test_SOURCES = tests/test_fuse.c
tests_fuse_test_LDADD = $(rag_test_libs)
