# Tests of rag/embed; see tests/local.mk for what to add here.
unit_tests += tests/embed.test
tests_embed_test_SOURCES = tests/test_embed.c
tests_embed_test_LDADD = $(rag_test_libs)
unit_tests += tests/wire_vectors.test
tests_wire_vectors_test_SOURCES = tests/test_wire_vectors.c
tests_wire_vectors_test_LDADD = $(rag_test_libs)
unit_tests += tests/embedders.test
tests_embedders_test_SOURCES = tests/test_embedders.c tests/badserver.c tests/badserver.h
tests_embedders_test_LDADD = $(rag_test_libs) $(ZLIB_LIBS)
