# Tests of rag/embed; see tests/local.mk for what to add here.
