# Pages and examples. Man pages are added by their owners:  dist_man_MANS += docs/man/ann.1
EXTRA_DIST += docs/ARCHITECTURE.md docs/STYLE.md docs/testing.md docs/hnsw.md docs/ivfpq.md docs/rag.md docs/recall.md

# The examples link the library as a user would, and run once with the tests.
examples = docs/examples/01_build_search docs/examples/02_filter docs/examples/03_file
check_PROGRAMS += $(examples)
docs_examples_01_build_search_SOURCES = docs/examples/01_build_search.c
docs_examples_01_build_search_LDADD = libkith-ann.la
docs_examples_02_filter_SOURCES = docs/examples/02_filter.c
docs_examples_02_filter_LDADD = libkith-ann.la
docs_examples_03_file_SOURCES = docs/examples/03_file.c
docs_examples_03_file_LDADD = libkith-ann.la

dist_man_MANS += docs/man/ann.1
dist_bashcompletion_DATA += completion/ann.bash
dist_man_MANS += docs/man/rag.1
dist_bashcompletion_DATA += completion/rag.bash
