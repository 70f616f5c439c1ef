#!/bin/bash
# Lists and short codes by the program: building from a file and from a pipe, what is told of them,
# adding, removing, searching, checking, calibrating.
# shellcheck source=tests/ann_program.sh
. "${BASH_SOURCE[0]%/*}/ann_program.sh"

# ---- data: 1,500 vectors and 40 queries of 8 numbers from 1 to 100, as raw u8
awk 'BEGIN {
    seed = 42
    for (i = 0; i < 1540; i++)
        for (j = 0; j < 8; j++) {
            seed = (seed * 16807) % 2147483647
            printf "%c", 1 + seed % 100 > (i < 1500 ? "base.raw" : "query.raw")
        }
}'
[ "$(wc -c <base.raw)" -eq 12000 ] || { echo "awk cannot write bytes here"; exit 77; }
run 0 convert base.raw base.npy --dim 8 --type u8
run 0 convert query.raw query.npy --dim 8 --type u8

# ---- build: the same from a file, a pipe, with any number of threads; and again
spec=ivfpq,nlist=20,pq_m=4,pq_bits=8
run 0 build base.npy -o base.kith --spec $spec
says "now 1500 vectors of 8 numbers"
# shellcheck disable=SC2002
cat base.npy | "$ann" build - -o other.kith --spec $spec 2>err || fail "from a pipe"
same base.kith other.kith
run 0 build base.npy -o other.kith --spec $spec --threads 1
same base.kith other.kith
run 0 build base.npy -o other.kith --spec $spec --seed 5
cmp -s base.kith other.kith && fail "the seed does not matter"
run 1 build base.npy -o none.kith --spec ivfpq,pq_m=9
says "pq_m is 9"
[ -e none.kith ] && fail "a failed build left a file"

# ---- info
run 0 info base.kith --json
for text in '"nlist":20' '"pq_m":4' '"pq_bits":8' '"pq_of":"residual"' '"kind":"ivfpq"'; do
    tr -d ' \n' <out | grep -qF -e "$text" || fail "no $text: $(cat out)"
done
# The table is for terminals.
if script -qec true /dev/null >/dev/null 2>&1; then
    script -qec "'$ann' info base.kith" /dev/null >out 2>err </dev/null || fail "info on a terminal"
    for line in file format kind metric 'stored as' dimension vectors seed size identity; do
        grep -q "^$line  *[^ ]" out || fail "info on a terminal: no line '$line'"
    done
    for text in '20 of 75.0 entries' '4 of 8 bits, of residuals, rotation none' 'when trained on 1500'; do
        grep -qF -e "$text" out || fail "no $text: $(cat out)"
    done
fi

# ---- search: what exact search finds, nearly; and by itself
run 0 build base.npy -o flat.kith --spec flat
run 0 search flat.kith query.npy -k 5 --format tsv
mv out exact.out
run 0 search base.kith query.npy -k 5 --format tsv --effort 20
cmp -s out exact.out || fail "another answer than exact search's: $(diff out exact.out | head -n 4)"

# ---- add, remove, verify
run 0 add base.kith query.npy
says "now 1540 vectors"
seq 0 2 1499 >ids.txt
run 0 remove base.kith --ids ids.txt
run 0 verify base.kith
run 0 search base.kith query.npy -k 5 --format tsv --effort 20
awk -F '\t' '$3 < 1500 && $3 % 2 == 0 { exit 1 }' out || fail "removed ones are found"
run 0 info base.kith --json
tr -d ' \n' <out | grep -qF -e '"nlist":20' || fail "no lists any more"

# ---- calibrate, then by number
run 0 calibrate base.kith
run 0 search base.kith query.npy -k 5 --format tsv --recall 0.9
run 0 verify base.kith

# ---- short codes alone
run 0 build base.npy -o lean.kith --spec ivfpq,nlist=20,store=none,codes=none
run 0 search lean.kith query.npy -k 5 --format tsv
run 1 calibrate lean.kith
says "codes=none"
head -c 5000 base.kith >cut.kith
run 4 verify cut.kith
exit $failed
