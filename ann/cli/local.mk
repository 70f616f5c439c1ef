# ann/cli: the `ann` program. It lies in ann/ann of the build folder, for `ann` is this folder.
bin_PROGRAMS += ann/ann
ann_ann_SOURCES = ann/cli/cli.h ann/cli/cli.c ann/cli/session.c \
	ann/cli/input.c ann/cli/contents.c ann/cli/results.c ann/cli/cmd_build.c \
	ann/cli/cmd_calibrate.c ann/cli/cmd_search.c ann/cli/cmd_info.c ann/cli/cmd_move.c
ann_ann_LDADD = libkith-ann.la libkith-io.la $(HDF5_LIB) libkith-base.la
