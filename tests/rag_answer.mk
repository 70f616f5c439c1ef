# Tests of rag/answer; see tests/local.mk for what to add here.
