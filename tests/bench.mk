# Tests of bench; see tests/local.mk for what to add here.
unit_tests += tests/metrics.test
tests_metrics_test_SOURCES = tests/test_metrics.c bench/metrics.c bench/metrics.h

unit_tests += tests/dataset.test
tests_dataset_test_SOURCES = tests/test_dataset.c bench/dataset.c bench/dataset.h bench/files.c \
	bench/files.h bench/known.c bench/made.c bench/made.h bench/process.c bench/process.h \
	bench/synthetic.c
tests_dataset_test_CPPFLAGS = $(AM_CPPFLAGS) $(bench_places)

unit_tests += tests/contest.test
tests_contest_test_SOURCES = tests/test_contest.c bench/compare.c bench/contest.c \
	bench/dataset.c bench/display.c bench/files.c bench/grid.c bench/known.c bench/made.c \
	bench/metrics.c bench/outcome.c bench/process.c bench/runner.c bench/synthetic.c
tests_contest_test_CPPFLAGS = $(AM_CPPFLAGS) $(bench_places)

shell_tests += tests/bench_smoke.sh tests/bench_data.sh tests/bench_usage.sh \
	tests/bench_peers_offline.sh
