#!/usr/bin/env bash
# The public header compiles alone, as C11 and as C++17, twice included, under strict warnings.
set -eu
: "${top_srcdir:?run by make check}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
CC=${CC:-cc}
CXX=${CXX:-c++}

printf '#include <ann/ann.h>\n#include <ann/ann.h>\n' >"$work/use.c"
cat >>"$work/use.c" <<'C'
int use(void);
int use(void)
{
    ann_options o = ANN_OPTIONS_INIT;
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_open_options q = ANN_OPEN_OPTIONS_INIT;
    ann_recall_report r = ANN_RECALL_REPORT_INIT;
    return o.size + p.size + q.size + r.size == 0;
}
C
cp "$work/use.c" "$work/use.cc"
# shellcheck disable=SC2086 # CC may carry words
compile() { "$@" -Wall -Wextra -Wpedantic -Wshadow -Wundef -Wconversion -Werror \
    -I"$top_srcdir" -c -o "$work/use.o"; }

# shellcheck disable=SC2086
compile $CC -std=c11 -Wstrict-prototypes -Wold-style-definition "$work/use.c"
echo "C11: compiles"
if command -v "${CXX%% *}" >/dev/null; then
    # shellcheck disable=SC2086
    compile $CXX -std=c++17 -Wold-style-cast "$work/use.cc"
    echo "C++17: compiles"
else
    echo "C++17: no compiler here"
fi

# Public headers are read in terminals: 79 columns.
if grep -nE '^.{80,}' "$top_srcdir/ann/ann.h"; then
    echo "ann.h: the lines above are too long"
    exit 1
fi
