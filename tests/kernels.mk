# Tests of kernels; see tests/local.mk for what to add here.
unit_tests += tests/kernels.test tests/code_kernels.test
tests_kernels_test_SOURCES = tests/test_kernels.c tests/kernels_support.h
tests_code_kernels_test_SOURCES = tests/test_code_kernels.c tests/kernels_support.h
shell_tests += tests/isa.sh tests/neon.sh
unit_tests += tests/rows.test tests/row_kernels.test
tests_row_kernels_test_SOURCES = tests/test_row_kernels.c tests/kernels_support.h
tests_rows_test_SOURCES = tests/test_rows.c
unit_tests += tests/layer_kernels.test
tests_layer_kernels_test_SOURCES = tests/test_layer_kernels.c tests/kernels_support.h
unit_tests += tests/list_kernels.test
tests_list_kernels_test_SOURCES = tests/test_list_kernels.c tests/kernels_support.h
