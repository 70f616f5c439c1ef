# Tests of the program `rag`; see tests/local.mk for what to add here.
shell_tests += tests/rag_cli.sh tests/rag_model.sh tests/rag_export.sh tests/rag_help.sh tests/rag_kill.sh
EXTRA_DIST += tests/killpoint.c
unit_tests += tests/rag_faults.test
tests_rag_faults_test_SOURCES = tests/test_rag_faults.c tests/badserver.c tests/badserver.h
tests_rag_faults_test_LDADD = $(rag_test_libs) $(ZLIB_LIBS)
EXTRA_DIST += tests/live/add_head.py tests/live/bert2gguf.py tests/live/live.sh \
	tests/live/serve.py tests/live/servers.sh tests/live/setup.sh
unit_tests += tests/rag_api.test
tests_rag_api_test_SOURCES = tests/test_rag_api.c
tests_rag_api_test_LDADD = $(rag_test_libs)
unit_tests += tests/export.test
tests_export_test_SOURCES = tests/test_export.c
tests_export_test_LDADD = $(rag_test_libs)
