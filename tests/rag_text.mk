# Tests of rag/text; see tests/local.mk for what to add here.
