# Tests of the index's inside: memory, threads, search structures, flat, the graph.
unit_tests += tests/base.test tests/search.test tests/vectors.test tests/flat.test tests/hnsw.test \
	tests/determinism.test tests/concurrent.test tests/filter.test tests/look.test \
	tests/subgraph.test
thread_tests += tests/base.test tests/concurrent.test tests/filter.test tests/subgraph.test

graph_data = tests/graph_data.c tests/graph_data.h tests/oracle.c tests/oracle.h
tests_base_test_SOURCES = tests/test_base.c
tests_search_test_SOURCES = tests/test_search.c
tests_vectors_test_SOURCES = tests/test_vectors.c
tests_flat_test_SOURCES = tests/test_flat.c $(graph_data)
tests_hnsw_test_SOURCES = tests/test_hnsw.c $(graph_data)
tests_determinism_test_SOURCES = tests/test_determinism.c $(graph_data)
tests_concurrent_test_SOURCES = tests/test_concurrent.c $(graph_data)
tests_subgraph_test_SOURCES = tests/test_subgraph.c $(graph_data)
tests_look_test_SOURCES = tests/test_look.c $(graph_data)
tests_filter_test_SOURCES = tests/test_filter.c $(graph_data)
