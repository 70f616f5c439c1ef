#!/usr/bin/env bash
# The command line: help, version, complaints and the exit statuses that the manual promises.
set -uo pipefail

bench=${top_builddir:?run by make check}/bench/annbench
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export XDG_CACHE_HOME=$tmp/cache HOME=$tmp
failed=0

# expect STATUS TEXT ARGUMENT...: the exit status, and what is said on either output.
expect() {
    local status=$1 text=$2 got
    shift 2
    "$bench" "$@" >"$tmp/out" 2>&1 </dev/null
    got=$?
    if [ $got != "$status" ] || ! grep -qe "$text" "$tmp/out"; then
        echo "FAIL: annbench $*: exit $got, not $status, or no \"$text\" in:"
        cat "$tmp/out"
        failed=1
    fi
}

expect 0 'Examples:' --help
expect 0 'Examples:' run -h
expect 0 '^annbench (kith) [0-9]' --version
expect 0 'fashion-mnist' data
KITH_ISA=vax expect 0 'annbench: KITH_ISA=vax is none of scalar' data
KITH_PREFETCH=l9 expect 0 'annbench: KITH_PREFETCH=l9 is neither l1 nor l2' data
expect 2 'is not run, peers or data' walk
expect 2 'run what' run
expect 2 'no option --frob' --frob
expect 2 '"0" is not a value' run x --k 0
expect 2 '"1.5" is not a value' run x --recall 1.5
expect 2 '"a" is not a value' run x --rounds a
expect 2 '"cubic" is not a value' run x --metric cubic
expect 2 'needs a value' run x --json
expect 2 '"0" is not a value' peers x --seconds 0
expect 2 '"," is not a value' peers x --peers ,
expect 2 '"" is not a value' peers x --grid ''
expect 1 'none of the grids' peers x --grid squares
expect 1 'nobody takes part' peers x --peers none --specs none
expect 1 'two numbers' peers x --peers scann --specs none --sweep
expect 1 'no such file' run /nowhere/at/all
expect 1 'known data set' run nonsense
expect 1 'annbench data wink-100' run wink-100
expect 1 'not a known data set' data nonsense
expect 1 'kind=cubes' run synthetic:kind=cubes
expect 1 'd=0' run synthetic:d=0
expect 1 'no-such-kind' run synthetic:n=100,d=4,queries=10 --index no-such-kind
expect 1 'cannot be written' run synthetic:n=100,d=4,queries=10 --index flat -q --rounds 1 \
    --report /nowhere/report.html

# Interrupted: 130, quickly, without a table.
"$bench" run synthetic:n=60000,d=64 --rounds 9 -q >"$tmp/out" 2>"$tmp/err" &
pid=$!
sleep 1
kill -INT $pid
wait $pid
got=$?
if [ $got != 130 ] || [ -s "$tmp/out" ]; then
    echo "FAIL: interrupted: exit $got: $(cat "$tmp/err")"
    failed=1
fi
exit $failed
