# Tests of the build itself; see tests/local.mk for what to add here.
