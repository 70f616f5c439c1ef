# ann/cli: the `ann` program. It lies in ann/ann of the build folder, for `ann` is this folder.
# Once main() is there, make this bin_PROGRAMS:
EXTRA_PROGRAMS += ann/ann
ann_ann_SOURCES =
ann_ann_LDADD = libkith-ann.la libkith-io.la $(HDF5_LIB) libkith-base.la
