# Tests of cli; see tests/local.mk for what to add here.
