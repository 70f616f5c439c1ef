# Tests of ann/file and of ann/base/wire.c; see tests/local.mk for what to add here.
kfile_sample = tests/kfile_sample.c tests/kfile_sample.h

unit_tests += tests/wire.test tests/kfile.test tests/kfile_faults.test tests/fuzz_kfile.test
tests_wire_test_SOURCES = tests/test_wire.c
tests_kfile_test_SOURCES = tests/test_kfile.c $(kfile_sample)
tests_kfile_faults_test_SOURCES = tests/test_kfile_faults.c $(kfile_sample)

shell_tests += tests/format.sh
EXTRA_DIST += tests/format_reader.py tests/golden_kfile.hex tests/fuzz/mutator.c

# The fuzz target is built with the file's own sources, for in its build checksums are not
# compared. In "make check" it runs on mutations of its own; "make fuzz" lets libFuzzer find them.
fuzz_kfile_code = tests/fuzz/fuzz_kfile.c \
	ann/file/checksum.c ann/file/kfile_head.c ann/file/kfile_open.c ann/file/kfile_save.c \
	ann/file/vfs.c
fuzz_define = -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
tests_fuzz_kfile_test_SOURCES = $(fuzz_kfile_code) tests/fuzz/replay.c tests/fuzz/fuzz.h \
	$(kfile_sample)
tests_fuzz_kfile_test_CPPFLAGS = $(AM_CPPFLAGS) $(XXHASH_CFLAGS) $(fuzz_define)
tests_fuzz_kfile_test_LDADD = libkith-base.la $(XXHASH_LIBS) $(CHECK_LIBS)

FUZZ_CC = clang
FUZZ_SECONDS = 60
fuzz_kfile_inputs = $(fuzz_kfile_code) tests/fuzz/mutator.c ann/base/wire.c ann/base/memory.c \
	ann/base/error.c
.PHONY: fuzz
fuzz: tests/fuzz_kfile.test
	$(MKDIR_P) tests/fuzz/corpus
	tests/fuzz_kfile.test --seed tests/fuzz/corpus/seed.kith
	cd $(top_srcdir) && $(FUZZ_CC) -g -O1 -fsanitize=fuzzer,address,undefined $(fuzz_define) \
	  -D_GNU_SOURCE -I$(abs_top_builddir) -I. $(MSGPACK_CFLAGS) $(XXHASH_CFLAGS) \
	  -o $(abs_top_builddir)/tests/fuzz/fuzz_kfile $(fuzz_kfile_inputs) \
	  $(MSGPACK_LIBS) $(XXHASH_LIBS)
	tests/fuzz/fuzz_kfile -max_total_time=$(FUZZ_SECONDS) -max_len=65536 tests/fuzz/corpus
