# Tests of codes, and of indexes that have them.
unit_tests += tests/codec.test tests/coded.test tests/churn.test tests/kmeans.test tests/pq.test
thread_tests += tests/coded.test tests/kmeans.test tests/pq.test
shell_tests += tests/coded_isa.sh
tests_codec_test_SOURCES = tests/test_codec.c
tests_kmeans_test_SOURCES = tests/test_kmeans.c
tests_pq_test_SOURCES = tests/test_pq.c
tests_coded_test_SOURCES = tests/test_coded.c $(graph_data)
tests_churn_test_SOURCES = tests/test_churn.c $(graph_data)
unit_tests += tests/listcodes.test
tests_listcodes_test_SOURCES = tests/test_listcodes.c

# Built on demand for bench/kmeans.py: make tests/kmeans_bench
EXTRA_PROGRAMS += tests/kmeans_bench
tests_kmeans_bench_SOURCES = tests/kmeans_bench.c
tests_kmeans_bench_LDADD = libkith-ann-core.la
