# Tests of rag/embed; see tests/local.mk for what to add here.
unit_tests += tests/embed.test
tests_embed_test_SOURCES = tests/test_embed.c
tests_embed_test_LDADD = $(rag_test_libs)
unit_tests += tests/wire_vectors.test
tests_wire_vectors_test_SOURCES = tests/test_wire_vectors.c
tests_wire_vectors_test_LDADD = $(rag_test_libs)
unit_tests += tests/embedders.test
tests_embedders_test_SOURCES = tests/test_embedders.c tests/badserver.c tests/badserver.h
tests_embedders_test_LDADD = $(rag_test_libs) $(ZLIB_LIBS)
unit_tests += tests/wordvec.test
tests_wordvec_test_SOURCES = tests/test_wordvec.c
tests_wordvec_test_LDADD = $(rag_test_libs)

# Any bytes as a file of word vectors; see tests/file.mk for how such a target is run.
fuzz_wordvec_code = tests/fuzz/fuzz_wordvec.c
unit_tests += tests/fuzz_wordvec.test
tests_fuzz_wordvec_test_SOURCES = $(fuzz_wordvec_code) tests/fuzz/replay_wordvec.c \
	tests/fuzz/fuzz.h
tests_fuzz_wordvec_test_LDADD = $(rag_test_libs)
fuzz_wordvec_inputs = $(fuzz_wordvec_code) rag/embed/decimal.c rag/embed/wordvec.c \
	rag/embed/wordvec_build.c rag/embed/wordvec_write.c rag/text/unicode.c \
	ann/io/idx.c ann/io/iotype.c ann/io/jsonw.c ann/io/mapping.c ann/io/npy.c \
	ann/io/reader.c ann/io/target.c ann/base/memory.c ann/base/error.c
.PHONY: fuzz-wordvec
fuzz: fuzz-wordvec
fuzz-wordvec: tests/fuzz_wordvec.test
	$(MKDIR_P) tests/fuzz/corpus-wordvec
	tests/fuzz_wordvec.test --seeds tests/fuzz/corpus-wordvec
	cd $(top_srcdir) && $(FUZZ_CC) -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE \
	  -I$(abs_top_builddir) -I. $(UTF8PROC_CFLAGS) \
	  -o $(abs_top_builddir)/tests/fuzz/fuzz_wordvec $(fuzz_wordvec_inputs) \
	  $(UTF8PROC_LIBS) $(ZLIB_LIBS) -lm
	tests/fuzz/fuzz_wordvec -max_total_time=$(FUZZ_SECONDS) -max_len=65536 \
	  tests/fuzz/corpus-wordvec
unit_tests += tests/encoder.test
tests_encoder_test_SOURCES = tests/test_encoder.c tests/model_data.c tests/model_data.h
tests_encoder_test_LDADD = $(rag_test_libs)
EXTRA_DIST += tests/data/minilm_reference.jsonl tests/data/wordpiece_reference.jsonl
unit_tests += tests/wordpiece.test tests/modelfile.test tests/static.test
tests_wordpiece_test_SOURCES = tests/test_wordpiece.c tests/model_data.c tests/model_data.h
tests_wordpiece_test_LDADD = $(rag_test_libs)
tests_modelfile_test_SOURCES = tests/test_modelfile.c tests/model_data.c tests/model_data.h
tests_modelfile_test_LDADD = $(rag_test_libs)
tests_static_test_SOURCES = tests/test_static.c tests/model_data.c tests/model_data.h
tests_static_test_LDADD = $(rag_test_libs)
