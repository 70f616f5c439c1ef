#!/bin/bash
# ann_program.sh - for scripts that run the program `ann`: a folder of their own, how a run is checked,
# and what it said. Read by them (.), which look at `failed` at the end; not run.
# shellcheck disable=SC2034
set -u
: "${top_builddir:=.}"
ann=$(cd "$top_builddir" && pwd)/ann/ann
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export LC_ALL=C KITH_THREADS=2
failed=0

fail()
{
    echo "FAIL (line ${BASH_LINENO[0]}, ${BASH_LINENO[1]:-}): $*"
    [ -s err ] && sed 's/^/  err: /' err
    failed=1
}

# run STATUS ARGUMENT...: the exit status is STATUS; output in out, talk in err.
run()
{
    local want=$1 got
    shift
    "$ann" "$@" >out 2>err
    got=$?
    [ $got -eq "$want" ] || fail "ann $*: exit $got, not $want"
}

# says TEXT, out_says TEXT: the last run did.
says() { grep -qF -e "$1" err || fail "no '$1' in its errors"; }
out_says() { grep -qF -e "$1" out || fail "no '$1' in its output: $(head -c 300 out)"; }
same() { cmp -s "$1" "$2" || fail "$1 and $2 differ"; }
