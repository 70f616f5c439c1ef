# Tests of rag/embed; see tests/local.mk for what to add here.
unit_tests += tests/embed.test
tests_embed_test_SOURCES = tests/test_embed.c
tests_embed_test_LDADD = $(rag_test_libs)
