# Tests of file; see tests/local.mk for what to add here.
