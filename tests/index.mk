# Tests of index; see tests/local.mk for what to add here.
