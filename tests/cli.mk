# Tests of cli; see tests/local.mk for what to add here.
shell_tests += tests/cli.sh tests/cli_help.sh
