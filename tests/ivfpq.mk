# Tests of the index of lists and short codes. model, oom, concurrent and calibrate have cases of it.
unit_tests += tests/ivfpq.test
shell_tests += tests/ivfpq.sh
tests_ivfpq_test_SOURCES = tests/test_ivfpq.c $(graph_data)
unit_tests += tests/ivfpq_file.test
tests_ivfpq_file_test_SOURCES = tests/test_ivfpq_file.c tests/oracle.c tests/oracle.h \
	tests/kfile_sample.c tests/kfile_sample.h
unit_tests += tests/ivfpq_many.test
tests_ivfpq_many_test_SOURCES = tests/test_ivfpq_many.c $(graph_data)
