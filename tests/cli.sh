#!/bin/bash
# The `ann` program from end to end on made data: every command and format, the exit status of every
# kind of error, Ctrl-C, two writers, damaged files. Exact answers come from awk.
# shellcheck source=tests/ann_program.sh
. "${BASH_SOURCE[0]%/*}/ann_program.sh"

# ---- data: 600 vectors and 20 queries of 8 numbers from 1 to 100, as raw u8 and as text
awk 'BEGIN {
    seed = 42
    for (i = 0; i < 620; i++) {
        line = ""
        for (j = 0; j < 8; j++) {
            seed = (seed * 16807) % 2147483647
            v = 1 + seed % 100
            line = line " " v
            printf "%c", v > (i < 600 ? "base.raw" : "query.raw")
        }
        print line > (i < 600 ? "base.txt" : "query.txt")
    }
}'
[ "$(wc -c <base.raw)" -eq 4800 ] || { echo "awk cannot write bytes here"; exit 77; }
awk 'NR == FNR { for (j = 1; j <= 8; j++) b[FNR, j] = $j; n = FNR; next }
{
    for (i = 1; i <= n; i++) {
        d = 0
        for (j = 1; j <= 8; j++) d += (b[i, j] - $j) ^ 2
        print FNR - 1, d, i - 1
    }
}' base.txt query.txt | sort -n -k1,1 -k2,2 -k3,3 |
    awk '{ if ($1 != q) { r = 0; q = $1 } if (r++ < 5) printf "%d\t%d\t%d\t%d\n", $1, r, $3, $2 }' >exact.tsv

# ---- convert: every format and back
run 0 convert base.raw base.npy --dim 8 --type u8
run 0 convert query.raw query.npy --dim 8 --type u8
for to in x.fvecs x.bvecs x.ivecs f16.npy f64.npy i8.npy; do
    type=()
    case $to in
    f16.npy) type=(--type f16) ;;
    f64.npy) type=(--type f64) ;;
    i8.npy) type=(--type i8) ;;
    esac
    run 0 convert base.npy "$to" "${type[@]}"
    says "600 rows of 8 numbers"
    run 0 convert "$to" back.npy --type u8 -q
    [ -s err ] && fail "-q is not quiet"
    same base.npy back.npy
done
hdf5=1
"$ann" convert base.npy x.hdf5:train 2>/dev/null || hdf5=0
if [ $hdf5 = 1 ]; then
    run 0 convert x.hdf5 back.npy
    same base.npy back.npy
    run 0 convert query.npy x.hdf5:test
    run 1 convert x.hdf5:none back.npy
    says "no dataset 'none'"
fi
run 1 convert base.npy y.npy --type bf16
run 1 convert base.npy y.txt
says "give --to"
printf '\377\1\1\1' >big.raw
run 1 convert big.raw y.npy --dim 2 --type u8 --to ivecs --from raw
run 0 convert big.raw big.npy --dim 2 --type u8
run 1 convert big.npy y.npy --type i8
says "row 0, column 0"
[ -e y.npy ] && fail "a failed convert left a file"

# ---- build: the same index from every format, from a pipe, with any number of threads
run 0 build base.npy -o base.kith
says "now 600 vectors of 8 numbers"
[ -s out ] && fail "build writes to standard output"
for from in x.fvecs f64.npy f16.npy i8.npy x.bvecs; do
    run 0 build $from -o other.kith --threads 1
    same base.kith other.kith
done
[ $hdf5 = 1 ] && run 0 build x.hdf5:train -o other.kith && same base.kith other.kith
# shellcheck disable=SC2002
cat base.npy | "$ann" build - -o other.kith 2>err || fail "from a pipe"
same base.kith other.kith
"$ann" build --from fvecs - -o other.kith <x.fvecs 2>err || fail "from standard input"
same base.kith other.kith
run 0 build base.raw --dim 8 --type u8 -o other.kith
same base.kith other.kith
run 0 build base.npy -o seed.kith --seed 5
cmp -s base.kith seed.kith && fail "--seed changes nothing"
run 0 build base.npy -o spec.kith --spec hnsw,seed=5
same spec.kith seed.kith
run 0 build base.npy -o flat.kith --spec flat
for store in u8 f16; do
    run 0 build base.npy -o $store.kith --spec hnsw,store=$store
    run 0 search $store.kith query.npy -k 5 --effort 300 --format tsv
    cut -f 1,2,4 out >got.tsv
    cut -f 1,2,4 exact.tsv | cmp -s - got.tsv || fail "store=$store finds other distances"
done
run 0 build base.npy -o bits.kith --spec hnsw,store=b1
run 0 info bits.kith
out_says '"dim":64'
out_says '"metric":"hamming"'
run 0 search bits.kith base.npy -k 1 --format tsv
awk -F '\t' '$4 != 0 { bad = 1 } END { exit bad || NR != 600 }' out || fail "bits do not find themselves"
for metric in ip cosine; do
    run 0 build base.npy -o $metric.kith --metric $metric --spec flat
    run 0 info $metric.kith
    out_says "\"metric\":\"$metric\""
done

# ---- info
run 0 info base.kith --json
out_says '"kind":"hnsw","metric":"l2","store":"f32","dim":8,"count":600'
out_says '"name":"vectors"'

# ---- search: exact answers, every format
run 0 search flat.kith query.npy -k 5 --format tsv
same exact.tsv out
run 0 search flat.kith query.npy -k 5 --format tsv --map
same exact.tsv out
run 0 search base.kith query.npy -k 5 --effort 300 --format tsv
cut -f 1,2,4 out >got.tsv
cut -f 1,2,4 exact.tsv | cmp -s - got.tsv || fail "hnsw finds other distances"
run 0 search flat.kith query.npy -k 5
awk -F '\t' '{ ids[$1] = ids[$1] (ids[$1] == "" ? "" : ",") $3; d[$1] = d[$1] (d[$1] == "" ? "" : ",") $4 }
    END { for (q = 0; q < 20; q++) printf "{\"query\":%d,\"ids\":[%s],\"distances\":[%s]}\n", q, ids[q], d[q] }' \
    exact.tsv >exact.jsonl
same exact.jsonl out
run 0 search flat.kith query.npy -k 5 -o found.jsonl
same exact.jsonl found.jsonl
run 0 search flat.kith query.npy -k 5 -o found.tsv
same exact.tsv found.tsv
run 0 search flat.kith query.npy -k 5 --format table
[ "$(wc -l <out)" -eq 101 ] || fail "a table of 100 lines and a head"
run 0 search flat.kith query.npy -k 5 -o found.npy --distances far.npy
run 0 search flat.kith query.npy -k 5 -o found.ivecs --distances far.fvecs
run 0 convert found.npy again.ivecs
same again.ivecs found.ivecs
run 0 convert far.npy again.fvecs
same again.fvecs far.fvecs
cut -f 3 exact.tsv >want.txt
run 0 convert found.ivecs found.raw
od -An -v -w4 -t d4 found.raw | tr -d ' ' | cmp -s - want.txt || fail "ivecs hold other ids"
"$ann" search flat.kith - -k 5 <query.npy >out 2>err || fail "queries from standard input"
same exact.jsonl out
run 0 search flat.kith query.npy -k 1000 --format npy -o many.npy
run 0 convert many.npy many.raw
od -An -v -w8 -t d8 many.raw | awk '$1 == -1 { n++ } END { exit n != 20 * 400 }' ||
    fail "missing results are -1"
run 0 search flat.kith query.npy --radius 2000 --format tsv
awk 'NR == FNR { for (j = 1; j <= 8; j++) b[FNR, j] = $j; n = FNR; next }
{ for (i = 1; i <= n; i++) { d = 0; for (j = 1; j <= 8; j++) d += (b[i, j] - $j) ^ 2
    if (d <= 2000) c++ } } END { print c + 0 }' base.txt query.txt >want.txt
wc -l <out | tr -d ' ' | cmp -s - want.txt || fail "--radius finds $(wc -l <out), not $(cat want.txt)"
printf '# some\n3\n17\n\n255\n' >some.txt
run 0 search base.kith query.npy -k 5 --filter-ids some.txt --format tsv
cut -f 3 out | sort -nu | tr '\n' ' ' >got.txt
[ "$(cat got.txt)" = "3 17 255 " ] || fail "filtered: $(cat got.txt)"
run 0 recall base.kith query.npy -k 10 --effort 100
sed 's/.*"recall":\([0-9.]*\).*/\1/' out | awk '{ exit !($1 >= 0.9 && $1 <= 1) }' || fail "recall: $(cat out)"

# ---- calibrate, and recall by number
run 1 search base.kith query.npy --recall 0.9
says "not calibrated"
run 1 calibrate flat.kith
says "flat is always exact"
run 0 search flat.kith query.npy -k 5 --recall 0.9 --format tsv
same exact.tsv out
cp base.kith cal.kith
run 0 calibrate cal.kith --queries query.npy -k 5
out_says '"k":5,"queries":20,"sampled":false'
out_says '"efforts":[{"k":1,"recall":0.8,"effort":'
[ -s err ] && fail "calibrate talks"
run 0 search cal.kith query.npy -k 5 --recall 1 --format tsv
cut -f 1,2,4 out >got.tsv
cut -f 1,2,4 exact.tsv | cmp -s - got.tsv || fail "recall 1 is not exact"
run 0 recall cal.kith query.npy --recall 0.9
sed 's/.*"recall":\([0-9.]*\).*/\1/' out | awk '{ exit !($1 >= 0.89 && $1 <= 1) }' || fail "recall: $(cat out)"
run 0 info cal.kith
out_says '"name":"calibration"'
out_says '"efforts":[{"k":1'
run 0 verify cal.kith
run 0 build base.npy -o cal2.kith --calibrate --seed 3
says "calibrated: recall@10"
run 0 build base.npy -o cal3.kith --seed 3
run 0 calibrate cal3.kith --seed 3 --json
out_says '"queries":300,"sampled":true'
same cal2.kith cal3.kith
run 1 calibrate cal3.kith -k 600
says "600 vectors are too few"
run 1 calibrate cal3.kith --queries big.npy
says "rows of 2 numbers; the index has 8"
same cal2.kith cal3.kith
run 0 build base.npy --dry-run
out_says '"vectors":600,"bytes":'
run 0 build base.npy -o dry.kith --dry-run --spec hnsw,m=32
out_says 'm=32'
[ -e dry.kith ] && fail "--dry-run writes"
"$ann" build --from fvecs - --dry-run <x.fvecs >out 2>err
[ $? -eq 1 ] || fail "--dry-run of a pipe"
says "only when it is read"
run 1 build base.npy -o no.kith --profile lean --spec hnsw,store=f32
says "lean and none go together"

# ---- nothing found
: >none.txt
run 3 search base.kith query.npy --filter-ids none.txt --fail-empty
run 0 search base.kith query.npy --filter-ids none.txt
[ "$(grep -c '"ids":\[\]' out)" -eq 20 ] || fail "20 empty answers"
run 3 remove base.kith 99999 --fail-empty

# ---- add, update, remove
cp base.kith change.kith
awk 'BEGIN { for (i = 0; i < 20; i++) print 1000 + i }' >new-ids.txt
run 0 add change.kith query.npy --ids new-ids.txt
says "now 620 vectors"
run 0 search change.kith query.npy -k 1 --format tsv
awk -F '\t' '$4 == 0 && $3 >= 1000 { n++ } END { exit n != 20 }' out || fail "the added are not found"
run 1 add change.kith query.npy --ids new-ids.txt
says "id 1000 is in the index"
run 0 add change.kith query.npy
run 0 info change.kith
out_says '"count":640'
run 0 remove change.kith 1020 --ids new-ids.txt
says "removed 21, now 619"
run 0 search change.kith query.npy -k 1 --format tsv
awk -F '\t' '$3 >= 1000 && $3 <= 1020 { bad = 1 } END { exit bad }' out || fail "a removed id is found"
seq 0 19 >first.txt
run 0 update change.kith query.npy --ids first.txt
says "now 619 vectors"
run 0 search change.kith query.npy -k 2 --format tsv
awk -F '\t' '$3 < 20 && $4 == 0 { n++ } END { exit n < 19 }' out || fail "the updated are not found"
run 0 verify change.kith
out_says "whole"
run 0 verify change.kith --json
out_says '"whole":true'
[ -e change.kith-lock ] && fail "the lock stays"

# ---- ids
seq 5000 5599 >ids.txt
run 0 build base.npy -o ids.kith --ids ids.txt
run 0 export ids.kith -o vectors.npy --ids-out ids.npy --type u8
same vectors.npy base.npy
run 0 build base.npy -o ids2.kith --ids ids.npy
same ids.kith ids2.kith
run 0 export ids.kith -o vectors.fvecs --ids-out back.txt
same back.txt ids.txt
same vectors.fvecs x.fvecs
seq 1 599 >few.txt
run 1 build base.npy -o no.kith --ids few.txt
says "599 ids, but base.npy has 600 vectors"
"$ann" build --from fvecs - -o no.kith --ids few.txt <x.fvecs >out 2>err && fail "too few ids for a pipe"
{ seq 1 599; echo 7; } >twice.txt
run 1 build base.npy -o no.kith --ids twice.txt
says "id 7 stands twice"
echo "12 monkeys" >wrong.txt
run 1 build base.npy -o no.kith --ids wrong.txt
says "line 1: '12 monkeys' is no id"
[ -e no.kith ] && fail "a failed build left a file"

# ---- merge, export of bits
run 0 merge base.kith ids.kith -o both.kith
says "1200 vectors of 2 files"
run 0 verify both.kith
run 1 merge base.kith flat.kith -o no.kith
says "--renumber"
run 0 merge base.kith flat.kith -o both.kith --renumber
run 0 info both.kith
out_says '"count":1200'
run 1 merge base.kith cosine.kith -o no.kith
says "cosine"
run 1 merge base.kith bits.kith -o no.kith
says "dimension 64"
run 0 export bits.kith -o bits.npy
same bits.npy base.npy
run 0 merge bits.kith -o bits2.kith
run 0 verify bits2.kith

# ---- every error its status
run 1 search none.kith query.npy
says "none.kith"
run 1 search base.kith none.npy
run 1 search base.kith big.npy
says "rows of 2 numbers; the index has 8"
run 4 search query.txt query.npy
says "query.txt"
run 1 build base.txt -o no.kith
says "say which"
run 1 build "$work" -o no.kith
run 1 build base.npy -o no/such/folder.kith
run 1 build base.npy -o no.kith --spec flat --profile fast
says "flat over f32 has no profile fast"
run 1 build base.npy -o no.kith --max-memory 1K
says "max_memory"
run 1 search base.kith query.npy -o /dev/full
run 1 build ids.npy -o no.kith
says "plain list"
head -c 1000 base.npy >cut.npy
run 1 build cut.npy -o no.kith
says "need 4928"
"$ann" search base.kith query.npy >/dev/full 2>err
[ $? -eq 1 ] || fail "a full standard output"
says "standard output: No space left"
awk 'BEGIN { for (i = 0; i < 6; i++) printf "%c%c%c%c", 0, 0, 192, 127 }' >nan.raw
run 1 build nan.raw --type f32 --dim 3 -o no.kith
says "nan.raw: vector 0: element 0 is NaN"

# ---- Ctrl-C while a build waits for its data: the old file stays, and nothing else
mkfifo pipe
cp base.kith old.kith
cp old.kith held.kith
"$ann" build --from raw --dim 8 --type u8 pipe -o held.kith >out 2>err &
pid=$!
exec 9>pipe
head -c 64 base.raw >&9
for _ in $(seq 100); do [ -s held.kith-lock ] && break; sleep 0.05; done
[ "$(cat held.kith-lock)" = "$pid" ] || fail "the lock names $(cat held.kith-lock), not $pid"

# a second writer meanwhile, and a reader
"$ann" add held.kith query.npy >out2 2>err2
[ $? -eq 1 ] || fail "two writers"
grep -q "process $pid is changing it" err2 || fail "not told who holds it: $(cat err2)"
run 0 search held.kith query.npy -k 1

kill -INT $pid
wait $pid
[ $? -eq 130 ] || fail "Ctrl-C: another exit status"
exec 9>&-
same old.kith held.kith
[ "$(echo held.kith*)" = held.kith ] || fail "left behind: $(echo held.kith*)"

# a lock whose holder was killed is no lock
echo 1 >held.kith-lock
run 0 add held.kith query.npy
[ -e held.kith-lock ] && fail "the lock stays"

# ---- damage
run 0 verify base.kith
size=$(wc -c <base.kith)
run 0 info base.kith
at_section() { sed "s/.*\"name\":\"$1\",\"offset\":\([0-9]*\).*/\1/" out; }
vectors=$(at_section vectors)
links=$(at_section links)
flip() # FILE OFFSET
{
    cp base.kith "$1"
    local byte
    byte=$(od -An -j "$2" -N 1 -t u1 "$1" | tr -d ' ')
    # shellcheck disable=SC2059
    printf "\\x$(printf %x $((byte ^ 16)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}
flip bad.kith $((vectors + 1000))
run 4 verify bad.kith
out_says "repairable: no"
says "section vectors"
run 4 search bad.kith query.npy
run 4 add bad.kith query.npy
flip bad.kith $((links + 1000))
run 4 verify bad.kith
out_says "repairable: yes"
says "section links"
run 4 verify bad.kith --json
out_says '"whole":false,"repairable":true'
run 0 export --map bad.kith -o rescued.npy --type u8
same rescued.npy base.npy
flip bad.kith 20
run 4 verify bad.kith
out_says "repairable: no"
for cut in 0 1 100 4096 $((size / 2)) $((size - 1)); do
    head -c "$cut" base.kith >bad.kith
    run 4 verify bad.kith
    out_says "repairable: no"
done
run 1 verify none.kith

# ---- a mapped index that is cut short while it is used
cp base.kith map.kith
"$ann" search --map map.kith pipe --from raw --dim 8 --type u8 >out 2>err &
pid=$!
exec 9>pipe
head -c 4096 base.kith >short && cat short >map.kith
cat query.raw >&9
exec 9>&-
wait $pid
[ $? -eq 4 ] || fail "SIGBUS: another exit status"
says "map.kith"

[ $failed = 0 ] && echo "all passed"
exit $failed
