# Tests of rag/text; see tests/local.mk for what to add here.
unit_tests += tests/text.test
tests_text_test_SOURCES = tests/test_text.c
tests_text_test_LDADD = $(rag_test_libs)
unit_tests += tests/read.test
tests_read_test_SOURCES = tests/test_read.c
tests_read_test_LDADD = $(rag_test_libs)
