#!/usr/bin/env bash
# The NEON kernels, cross-compiled and run under an emulator: tests/test_kernels.c in its plain
# form, so neither configure nor libcheck for ARM is needed. Skipped without the tools.
set -u
src=${top_srcdir:-$PWD}
cross=${NEON_CC:-aarch64-linux-gnu-gcc}
emulator=${NEON_EMULATOR:-qemu-aarch64}
for tool in "$cross" "$emulator"; do
    command -v "$tool" >/dev/null || { echo "no $tool here"; exit 77; }
done

scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
cd "$src" || exit 1
"$cross" -std=gnu11 -O2 -Wall -Wextra -ffp-contract=fast -DKERNELS_PLAIN -DHAVE_NEON=1 -I. \
    -static -pthread -o "$scratch/kernels" tests/test_kernels.c \
    ann/kernels/dispatch.c ann/kernels/scalar.c ann/kernels/code_scalar.c ann/kernels/neon.c -lm || exit 1
for isa in neon scalar; do
    "$emulator" "$scratch/kernels" "$isa" || { echo "FAILED $isa"; exit 1; }
done
