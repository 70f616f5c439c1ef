# Tests of kernels; see tests/local.mk for what to add here.
