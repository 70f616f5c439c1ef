#!/usr/bin/env bash
# Every unit test once more on each instruction set of this machine but the best, which
# "make check" has used already: no result may depend on the kernels that computed it.
set -u
tests=${top_builddir:-$PWD}/tests
kernels=$tests/kernels.test
[ -x "$kernels" ] || { echo "no $kernels: libcheck is missing"; exit 77; }

best=$(env -u KITH_ISA "$kernels" --best) || exit 1
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
export TMPDIR=$scratch
failed=0
for isa in scalar avx2 avx512 neon; do
    [ "$isa" != "$best" ] && "$kernels" --has "$isa" || continue
    for test in "$tests"/*.test; do
        name=$(basename "$test" .test)
        KITH_ISA=$isa "$test" >log 2>&1
        status=$?
        case $status in
        0) echo "ok $isa $name" ;;
        77) echo "skipped $isa $name" ;;
        *) echo "FAILED $isa $name (exit $status)"; tail -n 40 log; failed=1 ;;
        esac
    done
done

# A name that is not there: the best set, and a reason, not a crash.
KITH_ISA=vax "$kernels" --best | grep -qx "$best" || { echo "KITH_ISA=vax: not $best"; failed=1; }
exit $failed
