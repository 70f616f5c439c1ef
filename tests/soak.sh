#!/usr/bin/env bash
# The long run: compilers by sanitizers, each instruction set, a build without AVX-512, valgrind, a
# tarball from a clean clone. Hours on two processors. Called by "make soak", or by itself from
# anywhere; works in ./soak of the current folder and keeps its logs there.
# shellcheck disable=SC2016 # what is in single quotes is for make
set -uo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
out=$PWD/soak
mkdir -p "$out"
passed=0 failed=0
unset MAKEFLAGS MFLAGS MAKELEVEL

# try NAME COMMAND...
try() {
    local name=$1
    shift
    printf '[%6d s] %-28s ' "$SECONDS" "$name"
    if "$@" >"$out/$name.log" 2>&1; then
        echo ok
        passed=$((passed + 1))
    else
        echo "FAILED: $out/$name.log"
        failed=$((failed + 1))
    fi
}

# tree NAME CONFIGURE-ARGUMENTS...: configured and built in a folder of its own.
tree() {
    mkdir -p "$out/$1" && cd "$out/$1" && shift && "$top/configure" --quiet "$@" &&
        make -s -j"$(nproc)"
}

checked() { tree "$@" && make -s -j"$(nproc)" check; }

isa() { cd "$out/gcc" && KITH_ISA=$1 make -s -j"$(nproc)" check 'TESTS=$(unit_tests)'; }

under_valgrind() {
    cd "$out/gcc" || return 1
    local t
    for t in tests/*.test; do
        # The scalar kernels: valgrind does not know every AVX-512 instruction.
        KITH_ISA=scalar CK_FORK=no CK_DEFAULT_TIMEOUT=36000 \
            valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite \
            "$t" || return 1
    done
}

clean_clone() {
    rm -rf "$out/clone" && git clone -q "$top" "$out/clone" && cd "$out/clone" &&
        ./autogen.sh && mkdir b && cd b && ../configure --quiet && make -s -j"$(nproc)" distcheck
}

for cc in gcc clang; do
    command -v $cc >/dev/null || continue
    try $cc checked $cc CC=$cc --enable-werror
    try $cc-asan-ubsan checked $cc-asan-ubsan CC=$cc --enable-sanitizers=address,undefined
    OPENBLAS_NUM_THREADS=1 try $cc-tsan checked $cc-tsan CC=$cc --enable-sanitizers=thread
done
for set in scalar avx2 avx512; do try isa-$set isa $set; done
try no-avx512 checked no-avx512 --disable-avx512
try optimised checked optimised CFLAGS='-O3 -g -march=native'
try unoptimised checked unoptimised CFLAGS='-O0 -g'
rag_kills() { cd "$out/gcc" && KITH_KILL_STEP=1 make -s check TESTS=tests/rag_kill.sh; }
try rag-kills rag_kills
try live make -s -C "$out/gcc" check-live
command -v valgrind >/dev/null && try valgrind under_valgrind
command -v scan-build >/dev/null && try scan-build scan-build --status-bugs bash -c \
    "mkdir -p '$out/scan' && cd '$out/scan' && '$top/configure' --quiet && make -s"
command -v clang >/dev/null && try fuzz make -s -C "$out/gcc" fuzz FUZZ_SECONDS=600
try clean-clone clean_clone

printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
