# Tests of the index of lists and short codes. model, oom, concurrent and calibrate have cases of it.
unit_tests += tests/ivfpq.test tests/ivfpq_search.test tests/ivfpq_file.test
shell_tests += tests/ivfpq_cli.sh

lists_data = tests/lists_data.c tests/lists_data.h $(graph_data)
tests_ivfpq_test_SOURCES = tests/test_ivfpq.c $(lists_data)
tests_ivfpq_search_test_SOURCES = tests/test_ivfpq_search.c $(lists_data)
tests_ivfpq_file_test_SOURCES = tests/test_ivfpq_file.c tests/oracle.c tests/oracle.h \
	tests/kfile_sample.c tests/kfile_sample.h
unit_tests += tests/ivfpq_many.test
tests_ivfpq_many_test_SOURCES = tests/test_ivfpq_many.c $(graph_data)
