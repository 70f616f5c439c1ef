#!/usr/bin/env bash
# What libkith-ann.so exports is what ann.h declares: no other name, and none missing.
set -eu
: "${top_srcdir:?run by make check}" "${top_builddir:?run by make check}"
lib=$top_builddir/.libs/libkith-ann.so
if [ ! -e "$lib" ]; then
    echo "no shared library was built"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# shellcheck disable=SC2086 # NM carries an option
${NM:-nm} -D --defined-only "$lib" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' |
    sort -u >"$work/exported"
# A declaration begins with ANN_API at the left margin; its function is the first ann_name( .
tr '\n' ' ' <"$top_srcdir/ann/ann.h" | grep -oE 'ANN_API (ANN_CHECKED )?[^;(]*ann_[a-z0-9_]+\(' |
    grep -oE 'ann_[a-z0-9_]+\($' | tr -d '(' | sort -u >"$work/declared"

# Instrumented builds add symbols of the compiler's own.
if [ -n "${SANITIZE_FLAGS-}${COVERAGE_FLAGS-}" ]; then
    grep '^ann_' "$work/exported" >"$work/ours" && mv "$work/ours" "$work/exported"
fi

[ "$(wc -l <"$work/declared")" -ge 30 ] || { echo "too few declarations found in ann.h"; exit 1; }
rc=0
if grep -v '^ann_' "$work/exported"; then echo "^ exported without the prefix ann_"; rc=1; fi
if comm -13 "$work/exported" "$work/declared" | grep .; then
    echo "^ declared in ann.h, not exported"
    rc=1
fi
if comm -23 "$work/exported" "$work/declared" | grep .; then
    echo "^ exported, not declared in ann.h"
    rc=1
fi
exit $rc
