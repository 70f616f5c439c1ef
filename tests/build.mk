# Tests of the build itself: layers, public header, exports, installation, examples.
shell_tests += tests/layers.sh tests/headers.sh tests/exports.sh tests/install.sh
EXTRA_DIST += tests/ann_program.sh tests/soak.sh tests/coverage.sh

# Threads that use one index together. It links the library as users have it.
unit_tests += tests/deadlock.test
thread_tests += tests/deadlock.test docs/examples/01_build_search
tests_deadlock_test_SOURCES = tests/test_deadlock.c
tests_deadlock_test_LDADD = libkith-ann.la $(CHECK_LIBS)
