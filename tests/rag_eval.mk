# Tests of rag/eval and of `rag eval`; see tests/local.mk for what to add here.
unit_tests += tests/eval.test
tests_eval_test_SOURCES = tests/test_eval.c
tests_eval_test_LDADD = $(rag_test_libs)
shell_tests += tests/rag_eval.sh tests/rag_eval_trec.sh
EXTRA_DIST += tests/trec_check.py
