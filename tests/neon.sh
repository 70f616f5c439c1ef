#!/usr/bin/env bash
# The NEON kernels, cross-compiled and run under an emulator: their tests in the plain form, so
# neither configure nor libcheck for ARM is needed. Skipped without the tools.
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
for name in kernels code_kernels row_kernels layer_kernels list_kernels; do
    "$cross" -std=gnu11 -O2 -Wall -Wextra -ffp-contract=fast -DKERNELS_PLAIN -DHAVE_NEON=1 -I. \
        -static -pthread -o "$scratch/$name" "tests/test_$name.c" ann/kernels/dispatch.c \
        ann/kernels/scalar.c ann/kernels/code_scalar.c ann/kernels/neon.c \
        ann/kernels/code_neon.c ann/kernels/rows_scalar.c ann/kernels/rows_neon.c \
        ann/kernels/layers_scalar.c ann/kernels/layers_neon.c \
        ann/kernels/lists_scalar.c ann/kernels/lists_neon.c \
        -lm || exit 1
    for isa in neon scalar; do
        "$emulator" "$scratch/$name" "$isa" || { echo "FAILED $name $isa"; exit 1; }
    done
done

# A core without the dot-product instructions.
for name in code_kernels layer_kernels; do
    "$emulator" -cpu cortex-a53 "$scratch/$name" neon || { echo "FAILED cortex-a53 $name"; exit 1; }
done
