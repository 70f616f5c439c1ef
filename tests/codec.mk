# Tests of codes.
unit_tests += tests/codec.test
tests_codec_test_SOURCES = tests/test_codec.c
