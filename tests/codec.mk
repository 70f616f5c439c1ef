# Tests of codes, and of indexes that have them.
unit_tests += tests/codec.test tests/coded.test tests/churn.test
thread_tests += tests/coded.test
shell_tests += tests/coded.sh
tests_codec_test_SOURCES = tests/test_codec.c
tests_coded_test_SOURCES = tests/test_coded.c $(graph_data)
tests_churn_test_SOURCES = tests/test_churn.c $(graph_data)
unit_tests += tests/listcodes.test
tests_listcodes_test_SOURCES = tests/test_listcodes.c
