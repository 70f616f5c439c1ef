# Tests of io; see tests/local.mk for what to add here.
unit_tests += tests/io.test
tests_io_test_SOURCES = tests/test_io.c
