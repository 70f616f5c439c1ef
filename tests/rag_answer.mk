# Tests of rag/answer; see tests/local.mk for what to add here.
unit_tests += tests/answer.test
tests_answer_test_SOURCES = tests/test_answer.c tests/badserver.c tests/badserver.h
tests_answer_test_LDADD = $(rag_test_libs) $(ZLIB_LIBS)
unit_tests += tests/chat.test
tests_chat_test_SOURCES = tests/test_chat.c tests/badserver.c tests/badserver.h
tests_chat_test_LDADD = $(rag_test_libs)
