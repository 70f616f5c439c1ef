# Tests of bench; see tests/local.mk for what to add here.
