# Tests of the index library as a whole: model, errors, memory, files. test_model.c says how to
# run more of its sequences.
unit_tests += tests/model.test
tests_model_test_SOURCES = tests/test_model.c tests/oracle.c tests/oracle.h \
	tests/kfile_sample.c tests/kfile_sample.h
unit_tests += tests/errors.test
tests_errors_test_SOURCES = tests/test_errors.c tests/oracle.c tests/oracle.h \
	tests/kfile_sample.c tests/kfile_sample.h
unit_tests += tests/oom.test
tests_oom_test_SOURCES = tests/test_oom.c tests/oracle.c tests/oracle.h \
	tests/kfile_sample.c tests/kfile_sample.h
unit_tests += tests/indexfile.test
tests_indexfile_test_SOURCES = tests/test_indexfile.c tests/oracle.c tests/oracle.h \
	tests/kfile_sample.c tests/kfile_sample.h
unit_tests += tests/calibrate.test
tests_calibrate_test_SOURCES = tests/test_calibrate.c tests/kfile_sample.c tests/kfile_sample.h
