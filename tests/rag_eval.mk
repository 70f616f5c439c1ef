# Tests of rag/eval and of `rag eval`; see tests/local.mk for what to add here.
unit_tests += tests/eval.test
tests_eval_test_SOURCES = tests/test_eval.c
tests_eval_test_LDADD = $(rag_test_libs)
shell_tests += tests/rag_eval.sh tests/rag_eval_trec.sh
EXTRA_DIST += tests/trec_check.py
unit_tests += tests/answers_eval.test
tests_answers_eval_test_SOURCES = tests/test_answers_eval.c
tests_answers_eval_test_LDADD = $(rag_test_libs)
shell_tests += tests/rag_eval_answers.sh tests/rag_eval_answers_peers.sh
EXTRA_DIST += tests/answers_check.py
