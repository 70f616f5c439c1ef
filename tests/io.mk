# Tests of io; see tests/local.mk for what to add here.
