#!/bin/bash
# An index with codes is the same bytes of file, whatever instruction set built it.
set -eu
build=$top_builddir/tests/coded.test
[ -x "$build" ] || { echo "no libcheck, so nothing that builds an index"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fails=0
for spec in hnsw,metric=l2 hnsw,metric=cosine,store=f16 hnsw,metric=ip \
    hnsw,metric=cosine,codes=sq4 hnsw,metric=ip,profile=lean hnsw,metric=l2,profile=fast; do
    for isa in scalar avx2 avx512 neon; do
        KITH_ISA=$isa "$build" --build "$dir/$isa" "$spec" # one that is not here is another one
        cmp "$dir/scalar" "$dir/$isa" || { echo "FAIL: $spec on $isa"; fails=1; }
    done
done
exit $fails
