#!/usr/bin/env bash
# Prints, for each source file of ann and bench, the share of its lines that ran. Called by "make
# coverage" in the build folder, after the tests, in a tree configured with --enable-coverage.
set -eu
find . -name '*.gcda' | grep -q . || {
    echo "no counts here: configure with --enable-coverage, then make coverage" >&2
    exit 1
}
top=$(cd "$(dirname "$0")/.." && pwd)
# A file compiled into several libraries is counted in each; its best count stands.
find . -name '*.gcda' -exec gcov -n -r -s "$top" {} + 2>/dev/null | awk '
    /^File / {
        file = $2
        gsub(/\047/, "", file)
        if (match(file, /(^|\/)(ann|bench)\/([a-z]+\/)?[a-z0-9_]+\.[ch]$/))
            file = substr(file, RSTART + (substr(file, RSTART, 1) == "/"))
        else
            file = ""
    }
    /^Lines executed:/ {
        split($0, w, /[:% ]+/); share = w[3]; lines = w[5]
        if (file != "" && (!(file in best) || share > best[file])) {
            best[file] = share
            size[file] = lines
        }
        file = ""
    }
    END {
        for (f in best) {
            printf "%6.1f %% of %5d  %s\n", best[f], size[f], f
            ran += best[f] * size[f] / 100
            all += size[f]
        }
        if (all) printf "%6.1f %% of %5d  in all\n", 100 * ran / all, all
    }' | sort -k5
