#!/usr/bin/env bash
# rag eval: the tables of searches, of the index and of chunks, their JSON and pages, runs in and out,
# a store of its own that goes, a store that stays, and what is refused.
set -u
: "${top_srcdir:=$(dirname "$0")/..}" "${top_builddir:=.}"
rag=$(cd "$top_builddir" && pwd)/rag/rag
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
unset RAG_STORE RAG_CONFIG RAG_EMBEDDER RAG_CHAT_MODEL OPENAI_API_KEY XDG_DATA_HOME
mkdir tmp
export LC_ALL=C.UTF-8 HOME=$work XDG_CONFIG_HOME=$work/config NO_COLOR=1 TMPDIR=$work/tmp
failed=0

fail()
{
    echo "FAIL: $*"
    sed 's/^/    /' out err 2>/dev/null | cut -c1-300 | head -20
    failed=1
}

# gives STATUS ARGUMENT...: runs rag into ./out and ./err.
gives()
{
    local want=$1 status
    shift
    "$rag" "$@" >out 2>err </dev/null
    status=$?
    [ $status -eq "$want" ] || fail "rag $*: exit $status, not $want"
}

says() { grep -qF -e "$1" out || fail "standard output lacks '$1'"; }
talks() { grep -qF -e "$1" err || fail "standard error lacks '$1'"; }
lines() { [ "$(wc -l <out)" -eq "$1" ] || fail "$(wc -l <out) lines, not $1"; }

mkdir c
cat >c/corpus.jsonl <<'J'
{"_id": "cats", "title": "Cats", "text": "The cat sleeps on the mat and hunts mice at night."}
{"_id": "dogs", "title": "Dogs", "text": "A dog barks at strangers and guards the house."}
{"_id": "boats", "title": "Boats", "text": "Sailing boats need wind, a keel and a rudder."}
{"_id": "trains", "title": "Trains", "text": "Trains run on rails and stop at stations."}
J
cat >c/queries.jsonl <<'J'
{"_id": "1", "text": "which animal hunts mice"}
{"_id": "2", "text": "what does a sailing boat need"}
{"_id": "3", "text": "nobody judged this"}
J
printf 'query-id\tcorpus-id\tscore\n1\tcats\t1\n2\tboats\t2\n2\ttrains\t0\n' >c/qrels.tsv

# ---- a store of its own ----
gives 0 eval retrieval c
lines 10 # four modes, six comparisons
says '"type":"run"' && says '"mode":"hybrid"' && says '"questions":2' && says '"type":"comparison"'
[ "$(grep -c '"nDCG@10":{"mean":1,' out)" -ge 3 ] || fail "two plain questions are not answered"
[ -z "$(ls tmp)" ] || fail "left behind: $(ls tmp)"
[ ! -e .rag ] || fail "a store was left here"
gives 0 eval retrieval c --modes text --each
lines 3
says '"question":"1"'

# ---- runs out and in ----
gives 0 eval retrieval c --modes text,fast --run-out 'run-{}.trec'
[ "$(head -1 run-text.trec | cut -d' ' -f1-4)" = "1 Q0 cats 1" ] || fail "run-text.trec: $(head -1 run-text.trec)"
gives 0 eval retrieval --queries c/queries.jsonl --qrels c/qrels.tsv --run run-text.trec --run run-fast.trec
lines 3
says '"mode":"run-fast.trec"'
gives 1 eval retrieval c --modes text,fast --run-out one.trec
talks 'need {}'

# ---- a store that stays ----
gives 0 -s kept eval retrieval c --modes text
gives 0 -s kept ls
lines 4
gives 0 -s kept eval retrieval --queries c/queries.jsonl --qrels c/qrels.tsv --modes text,exact
says '"documents":0'
gives 0 -s other add c/corpus.jsonl
gives 0 -s other eval retrieval --queries c/queries.jsonl --qrels c/qrels.tsv --modes text
says '"nDCG@10":{"mean":1,' # records are known by what stands behind FILE#

# ---- people ----
script -qec "stty cols 160; '$rag' eval retrieval c --modes text,static" /dev/null >out 2>err </dev/null
says 'nDCG@10' && says 'R@100' && says 'paired randomisation' || fail "no table"

# ---- the index: a scan, then a graph ----
for i in $(seq 1 2500); do
    echo "{\"_id\": \"n$i\", \"text\": \"thing $((i * 7919 % 997)) of kind $((i % 13)) is $((i * 31 % 89)) long\"}"
done >many.jsonl
gives 0 -s many import many.jsonl
gives 0 -s many eval ann --sample 40
lines 1
says '"exact":true' && says '"recall":1,'
"$rag" config set index.scan_mb 1 || fail "config"
gives 0 -s many reindex
gives 0 -s many eval ann --sample 60 --efforts 10,50,2000 -k 20
lines 3
says '"exact":false' && says '"effort":2000,"recall":1,'
gives 0 -s many eval ann --sample 60 --target-recall 0.9
[ "$(grep -c '"chosen":true' out)" -eq 1 ] || fail "no effort was chosen"
talks "is the store's now"
chosen=$(sed -n 's/.*"effort":\([0-9]*\).*"chosen":true.*/\1/p' out)
script -qec "'$rag' -s many eval ann --efforts 8,$chosen" /dev/null >out 2>err </dev/null
says "the store's" || fail "the chosen effort was not kept"
gives 1 -s many eval ann --efforts 1 -k 100 --target-recall 0.9999
talks 'no effort up to 1'
gives 2 -s many eval ann --target-recall 7
gives 2 -s many eval ann --efforts 1,x
gives 1 -s many eval ann --efforts 9,9
talks "ascend from 1"
printf 'a\tthing of kind 7\nb\t89 long\n' >asked.tsv
gives 0 -s many eval ann --queries asked.tsv
says '"queries":2'
[ ! -e many/queries.jsonl ] || fail "a question was kept unasked"
"$rag" config set search.log yes
gives 0 -s many search thing 5
gives 0 -s many search "kind \"12\""
gives 0 -s many search "more than two"
[ "$(stat -c %a many/queries.jsonl)" = 600 ] || fail "the questions are for all to read"
gives 0 -s many eval ann
says '"queries":3'
"$rag" config unset search.log

# ---- chunks: two articles of three paragraphs each; answers of which two can be found ----
mkdir a
python3 - >a/corpus.jsonl <<'PY' || fail "no articles"
import json
for t in ("Boats", "Trains"):
    for i in range(3):
        filler = " ".join(f"Part {i} of {t} has remark {k} about nothing in particular." for k in range(12))
        text = f"{filler} The keel of number {i} weighs {t[0]}{i}7 tonnes. {filler}"
        print(json.dumps({"_id": f"{t}_{i}", "title": t, "text": text}))
PY
cat >a/queries.jsonl <<'J'
{"_id": "1", "text": "how much weighs the keel of number 1 in Boats", "answers": ["nowhere", "B17 tonnes"]}
{"_id": "2", "text": "what weighs the keel of number 2 in Trains", "answers": ["T27"]}
{"_id": "3", "text": "remark", "answers": ["B17 tonnes"]}
J
printf '1\tBoats_1\t1\n2\tTrains_2\t1\n3\tTrains_0\t1\n' >a/qrels.tsv
gives 0 eval chunks a --join --sizes 40,400 --tokens 300 --html page.html
lines 2
says '"documents":2,"questions":2,"size":40' && says '"whole":1'
[ "$(sed -n 's/.*"chunks":\([0-9]*\),.*/\1/p' out | sort -rnc 2>&1)" = "" ] || fail "larger sizes give more chunks"
grep -q '<svg' page.html && grep -q '40 tokens' page.html || fail "page.html has no plot"
[ -z "$(ls tmp)" ] || fail "left behind: $(ls tmp)"
gives 0 eval chunks a --sizes 60 # not joined
says '"documents":6'
script -qec "stty cols 160; '$rag' eval chunks a --join --sizes 60" /dev/null >out 2>err </dev/null
says 'in 1000 tokens' && says 'IoU'
gives 1 eval chunks c # no answers
talks 'no question has an answer'
gives 1 eval chunks a --sizes 20
talks 'chunk.tokens is 20'
gives 2 eval chunks a --sizes 60,
gives 2 -s kept eval chunks a
gives 1 eval chunks a --modes text,fast
RAG_CHUNK_TOKENS=40 "$rag" -q -s small add --source s - <a/corpus.jsonl && "$rag" -q -s usual add --source s - <a/corpus.jsonl
[ "$("$rag" -s small ls | grep -o '"chunks":[0-9]*' | cut -d: -f2)" -gt "$("$rag" -s usual ls | grep -o '"chunks":[0-9]*' | cut -d: -f2)" ] ||
    fail "RAG_CHUNK_TOKENS cuts no smaller"

# ---- pages ----
# page: page.html is whole, well-formed, and asks for nothing from elsewhere.
page() {
    python3 - "$@" <<'PY' || fail "page.html"
import re, sys
import xml.etree.ElementTree as tree
text = open("page.html", encoding="utf-8").read()
body = text[text.index("<html"):]
tree.fromstring(re.sub(r"<style>.*?</style>", "", body, flags=re.S))
assert not re.search(r"(src|href|url\()", body), "it is not self-contained"
for wanted in sys.argv[1:]:
    assert wanted in text, wanted
PY
}
page 'eval chunks a --join' 'IoU' '<svg'
gives 0 eval retrieval c --modes text,static --html page.html
page 'class="mark"' 'nDCG@10' 'static - text'
gives 0 eval retrieval --queries c/queries.jsonl --qrels c/qrels.tsv --run run-text.trec --html page.html
page 'run-text.trec'
gives 0 -s many eval ann --sample 40 --html page.html --efforts 10,100
page 'polyline' 'effort 10'
cp run-text.trec '<b>&"x"'
gives 0 eval retrieval --queries c/queries.jsonl --qrels c/qrels.tsv --run '<b>&"x"' --html page.html
page '&lt;b&gt;&amp;&quot;x&quot;'
gives 1 eval retrieval c --modes text --html nowhere/page.html
lines 1
talks 'nowhere/page.html'

# ---- refused ----
gives 2 eval everything
talks "not 'everything'"
gives 1 eval retrieval nowhere
talks 'nowhere/corpus.jsonl'
gives 1 eval retrieval c --modes text,fuzzy
talks '"fuzzy"'
gives 1 eval retrieval c --modes rerank
talks '--rerank'
gives 1 eval retrieval
talks 'needs a folder'
gives 1 eval retrieval --queries c/queries.jsonl --qrels c/qrels.tsv
talks 'neither a corpus'
printf '1\tcats\tmuch\n1\tdogs\tx\n' >bad.tsv
gives 4 eval retrieval c --qrels bad.tsv
talks 'bad.tsv: line 2'
[ -z "$(ls tmp)" ] || fail "left behind after errors: $(ls tmp)"
exit $failed
