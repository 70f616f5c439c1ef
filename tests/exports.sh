#!/usr/bin/env bash
# What each library exports is what its header declares: no other name, and none missing.
set -eu
: "${top_srcdir:?run by make check}" "${top_builddir:?run by make check}"
[ -e "$top_builddir/.libs/libkith-ann.so" ] || {
    echo "no shared library was built"
    exit 77
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rc=0

# compare NAME LEAST: the library of ann or rag against its header, which declares LEAST functions
# or more.
compare() {
    local name=$1 upper
    upper=${name^^}
    # shellcheck disable=SC2086 # NM carries an option
    ${NM:-nm} -D --defined-only "$top_builddir/.libs/libkith-$name.so" |
        awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u >"$work/exported"
    # A declaration begins with ANN_API at the left margin; its function is the first ann_name( .
    tr '\n' ' ' <"$top_srcdir/$name/$name.h" |
        grep -oE "${upper}_API (${upper}_CHECKED )?[^;(]*${name}_[a-z0-9_]+\\(" |
        grep -oE "${name}_[a-z0-9_]+\\($" | tr -d '(' | sort -u >"$work/declared"

    # Instrumented builds add symbols of the compiler's own.
    if [ -n "${SANITIZE_FLAGS-}${COVERAGE_FLAGS-}" ]; then
        grep "^${name}_" "$work/exported" >"$work/ours" && mv "$work/ours" "$work/exported"
    fi

    [ "$(wc -l <"$work/declared")" -ge "$2" ] || {
        echo "too few declarations found in $name.h"
        exit 1
    }
    if grep -v "^${name}_" "$work/exported"; then
        echo "^ exported without the prefix ${name}_"
        rc=1
    fi
    if comm -13 "$work/exported" "$work/declared" | grep .; then
        echo "^ declared in $name.h, not exported"
        rc=1
    fi
    if comm -23 "$work/exported" "$work/declared" | grep .; then
        echo "^ exported, not declared in $name.h"
        rc=1
    fi
}

compare ann 30
compare rag 25
exit $rc
