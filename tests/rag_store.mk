# Tests of rag/store; see tests/local.mk for what to add here.
