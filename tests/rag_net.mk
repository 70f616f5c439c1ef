# Tests of rag/net; see tests/local.mk for what to add here.
