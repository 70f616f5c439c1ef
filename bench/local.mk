# annbench: recall and latency against exact search and against peers. It lies in bench/annbench
# of the build folder.
bin_PROGRAMS += bench/annbench
bench_sources = \
	bench/asked.c bench/asked.h \
	bench/command.c bench/command.h \
	bench/compare.c bench/compare.h \
	bench/contest.c bench/contest.h \
	bench/dataset.c bench/dataset.h \
	bench/display.c bench/display.h \
	bench/environment.c \
	bench/files.c bench/files.h \
	bench/grid.c bench/grid.h \
	bench/jsonlines.c \
	bench/known.c \
	bench/made.c bench/made.h \
	bench/metrics.c bench/metrics.h \
	bench/outcome.c bench/outcome.h \
	bench/passing.c bench/passing.h \
	bench/peers.c bench/peers.h \
	bench/process.c bench/process.h \
	bench/report.c \
	bench/runner.c bench/runner.h \
	bench/subject.c \
	bench/synthetic.c \
	bench/term.c \
	bench/truth.c bench/truth.h \
	bench/versus.c bench/versus.h
bench_annbench_SOURCES = bench/annbench.c $(bench_sources)
bench_annbench_LDADD = libkith-ann.la libkith-io.la $(HDF5_LIB) libkith-base.la
# Where its scripts lie once installed, and where they lie now.
bench_places = -DPKGDATADIR='"$(pkgdatadir)"' -DBENCH_SOURCE='"$(abs_top_srcdir)/bench"'
bench_annbench_CPPFLAGS = $(AM_CPPFLAGS) $(bench_places)

peersdir = $(pkgdatadir)/peers
dist_peers_DATA = bench/peers/serve.py bench/peers/libraries.py bench/peers/peers.json
setsdir = $(pkgdatadir)/sets
dist_sets_DATA = bench/sets/make_common.py bench/sets/make_pictures.py \
	bench/sets/make_sentences.py bench/sets/make_words.py bench/sets/packages.txt
dist_man_MANS += docs/man/annbench.1
dist_bashcompletion_DATA += completion/annbench.bash
EXTRA_DIST += bench/encoders.py bench/kmeans.py docs/benchmarking.md
