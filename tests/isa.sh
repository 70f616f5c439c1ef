#!/usr/bin/env bash
# Every unit test that computes anything once more on each instruction set of this machine but the
# best, which "make check" has used already: no result may depend on the kernels that computed it.
set -u
tests=${top_builddir:-$PWD}/tests
kernels=$tests/kernels.test
[ -x "$kernels" ] || { echo "no $kernels: libcheck is missing"; exit 77; }

best=$(env -u KITH_ISA "$kernels" --best) || exit 1
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
export TMPDIR=$scratch

# run ISA TEST: a line that says how it went.
run() {
    local name log status
    name=$(basename "$2" .test)
    log=$1-$name.log
    KITH_ISA=$1 "$2" >"$log" 2>&1
    status=$?
    case $status in
    0) echo "ok $1 $name" ;;
    77) echo "skipped $1 $name" ;;
    *) echo "FAILED $1 $name (exit $status)"; tail -n 40 "$log"; touch failed ;;
    esac
}
export -f run

for isa in scalar avx2 avx512 neon; do
    [ "$isa" != "$best" ] && "$kernels" --has "$isa" || continue
    for test in "$tests"/*.test; do
        case $(basename "$test" .test) in
        net | download | chat | rag_faults) ;; # they wait for servers, and no kernel runs
        *) printf '%s\0%s\0' "$isa" "$test" ;;
        esac
    done
done | xargs -0 -n 2 -P "$(nproc)" bash -c 'run "$@"' run

# A name that is not there: the best set, and a reason, not a crash.
KITH_ISA=vax "$kernels" --best | grep -qx "$best" || { echo "KITH_ISA=vax: not $best"; touch failed; }
for level in l1 l2 l9; do
    KITH_PREFETCH=$level "$kernels" >prefetch.log 2>&1 || { echo "KITH_PREFETCH=$level"; cat prefetch.log; touch failed; }
done
[ ! -e failed ]
