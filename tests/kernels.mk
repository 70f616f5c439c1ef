# Tests of kernels; see tests/local.mk for what to add here.
unit_tests += tests/kernels.test
tests_kernels_test_SOURCES = tests/test_kernels.c
shell_tests += tests/isa.sh tests/neon.sh
