# Tests of rag/retrieve; see tests/local.mk for what to add here.
