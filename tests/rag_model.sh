#!/usr/bin/env bash
# Models in the process: listed, checked, imported, missing; the hybrid with a second look, what it
# keeps, what bounds it; stores of other embedders; distillation through the program.
set -u
: "${top_srcdir:=$(dirname "$0")/..}" "${top_builddir:=.}"
rag=$(cd "$top_builddir" && pwd)/rag/rag
models=${RAG_MODELS:-$(cd "$top_srcdir" && pwd)/models}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
unset RAG_STORE RAG_CONFIG RAG_EMBEDDER RAG_CONTEXTUAL_MODEL RAG_CHAT_MODEL XDG_DATA_HOME RAG_BUDGET
export LC_ALL=C.UTF-8 HOME=$work XDG_CONFIG_HOME=$work/config NO_COLOR=1 RAG_MODELS=$models
failed=0

fail()
{
    echo "FAIL: $*"
    sed 's/^/    /' "$work/out" "$work/err" 2>/dev/null | head -20
    failed=1
}

gives()
{
    local want=$1 status
    shift
    "$rag" "$@" >"$work/out" 2>"$work/err" </dev/null
    status=$?
    [ $status -eq "$want" ] || fail "rag $*: exit $status, not $want"
}

says() { grep -qF -e "$1" "$work/out" || fail "standard output lacks '$1'"; }
talks() { grep -qF -e "$1" "$work/err" || fail "standard error lacks '$1'"; }
kept() { "$rag" embedders | sed -n 's/.*"uri":"local:minilm-l6-v2".*"vectors":\([0-9]*\).*/\1/p'; }

# ---- the models that come along
gives 0 model list
says '"uri":"static:english-v1","kind":"static","dims":256'
says '"uri":"local:minilm-l6-v2","kind":"encoder","dims":384'
[ "$(grep -c '"licence":"Apache-2.0"' out)" -eq 2 ] || fail "two models under Apache-2.0"
gives 0 model check english-v1
gives 0 model check minilm-l6-v2
for m in minilm-l6-v2:18000000 english-v1:8000000; do
    [ "$(stat -c %s "$models/${m%:*}.kith")" -le "${m#*:}" ] || fail "${m%:*} is larger than ${m#*:}"
done
gives 1 embed x --embedder static:minilm-l6-v2
talks "not a static one"
gives 1 model check nothing
talks "rag model import"
talks "rag model get"
gives 1 embed x --embedder local:nothing
talks 'no model "nothing"'
gives 1 embed x --embedder 'local:minilm-l6-v2?pooling=most'
talks "pooling=mean|cls|last"
gives 2 model import
gives 2 model forget minilm-l6-v2
cp "$models/english-v1.kith" cut.kith
printf 'x' | dd of=cut.kith bs=1 seek=500000 conv=notrunc 2>/dev/null
gives 4 model check ./cut.kith
head -c 100000 "$models/english-v1.kith" >short.kith
gives 4 embed x --embedder static:./short.kith

# ---- vectors know meanings
cosine()
{
    "$rag" embed --lines --embedder "$1" <"$2" | "${PYTHON:-python3}" -c '
import json, sys
a, b, c = (json.loads(l)["vector"] for l in sys.stdin)
dot = lambda x, y: sum(p * q for p, q in zip(x, y))
print(dot(a, b) > dot(a, c) + 0.1)'
}
printf 'the physician treated the patient\na doctor cured someone ill\nstocks fell on Wall Street\n' >lines
if command -v "${PYTHON:-python3}" >/dev/null; then
    for uri in static:english-v1 local:minilm-l6-v2 'local:minilm-l6-v2?pooling=cls&tokens=64'; do
        [ "$(cosine "$uri" lines)" = True ] || fail "$uri: physician is nearer to stocks than to doctor"
    done
fi

# ---- the hybrid: static narrows, contextual judges what is left
mkdir docs
printf '# Health\n\nThe physician prescribed penicillin against the infection.\n' >docs/health.md
printf '# Finance\n\nShares tumbled as investors fled the market.\n' >docs/money.md
printf '# Travel\n\nThe train to the coast leaves at dawn.\n' >docs/travel.md
printf 'Nothing in here is of any interest.\n' >docs/other.txt
gives 0 add docs
talks "static:english-v1, 256 dimensions"
gives 0 search "antibiotics from a doctor" --fast -k 1
says docs/health.md
[ -z "$(kept)" ] || fail "a fast search asked the second embedder"
gives 0 search "antibiotics from a doctor" -k 1
says docs/health.md
n=$(kept)
[ "${n:-0}" -ge 1 ] || fail "the second look keeps no vectors: '$n'"
gives 0 search "the stock exchange crashed" -k 1
says docs/money.md
gives 0 search "railway timetable to the sea" -k 1 --explain
says docs/travel.md
gives 0 search "railway timetable to the sea" -k 1 --budget none --depth 2
says docs/travel.md
gives 2 search x --budget soon
gives 2 search x --depth 500
gives 0 status
says '"embedder":"static:english-v1"'
gives 0 verify

# ---- a budget bounds what one question makes; what it made is kept
for i in $(seq 130); do
    echo "Report $i on ships, harbours and the weather of the coast, with number $((i * 7919))." >"docs/r$i.txt"
done
gives 0 add docs
n=$(kept)
gives 0 search "weather at sea" --budget 1
m=$(kept)
[ $((m - n)) -le 40 ] || fail "a millisecond made $((m - n)) vectors"
gives 0 search "weather at sea" --budget none
[ $(($(kept) - m)) -ge 50 ] || fail "without a budget $(($(kept) - m)) vectors were made"
rm docs/r*.txt
gives 0 sync docs --force

# ---- the table itself, for other programs
gives 0 export vectors --of tokens --format word2vec -o tokens.txt
[ "$(head -1 tokens.txt)" = "$("$rag" model list | sed -n 's/.*english-v1.*"dims":\([0-9]*\),"tokens":\([0-9]*\).*/\2 \1/p')" ] ||
    fail "the table of tokens: $(head -1 tokens.txt)"
grep -q '^physician ' tokens.txt || fail "no token physician"

# ---- a model fetched: each file pinned
if command -v python3 >/dev/null; then
    mkdir -p hub/me/small/resolve/main
    cp docs/travel.md hub/me/small/resolve/main/config.json
    python3 - hub >port <<'PY' &
import functools, http.server, sys
h = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), h)
print(s.server_address[1], flush=True)
s.serve_forever()
PY
    server=$!
    for _ in $(seq 100); do [ -s port ] && break; sleep 0.1; done
    RAG_HUB=http://127.0.0.1:$(cat port)
    export RAG_HUB
    sum=$(sha256sum docs/travel.md | cut -d' ' -f1)
    gives 0 model get me/small --pin "config.json=$sum"
    cmp docs/travel.md .local/share/kith/models/me--small/config.json || fail "another file was fetched"
    gives 1 model get me/other
    talks "--pin"
    "$rag" model get me/small2 --pin "config.json=$sum" >out 2>err && fail "a model that is not there was fetched"
    cp docs/money.md hub/me/small/resolve/main/config.json
    rm -r .local/share/kith/models/me--small
    gives 4 model get me/small --pin "config.json=$sum"
    [ -e .local/share/kith/models/me--small ] && fail "a file with another hash became a model"
    kill "$server"
fi

# ---- without the second model the first look counts, and that is said
mkdir -p few
ln -s "$models/english-v1.kith" few/
RAG_MODELS=$work/few gives 0 search "railway timetable to the sea" -k 1
says docs/travel.md
talks 'no model "minilm-l6-v2"'
RAG_MODELS=$work/few gives 1 search "railway" --mode contextual

# ---- all vectors of the second, then it is searched directly
gives 0 reindex --contextual
gives 0 status
says '"embedder":"local:minilm-l6-v2"'
gives 0 search "antibiotics from a doctor" -k 1 --mode vector
says docs/health.md
gives 2 reindex --contextual --embedder builtin:hash-v1
gives 0 reindex --embedder static:english-v1
gives 0 search "antibiotics from a doctor" -k 1
says docs/health.md

# ---- a store of another embedder keeps working with its own, and gets no second look
gives 0 add docs -s hashed --embedder builtin:hash-v1
gives 0 search "penicillin infection" -s hashed -k 1
says docs/health.md
"$rag" embedders -s hashed | grep -q local: && fail "a store of hashed vectors got a second embedder"

# ---- imports and distillation
printf 'the 1 0 0\ndoctor 0 1 0.1\nphysician 0 0.9 0.2\nstocks 0 0 1\n' >tiny.txt
gives 0 model import tiny.txt --name tiny --licence CC0
talks "$work/.local/share/kith/models/tiny.kith"
gives 0 model list
says '"uri":"static:tiny","kind":"static","dims":3'
gives 0 embed doctor --embedder static:tiny
gives 1 model import docs
head -c 300 "$models/minilm-l6-v2.kith" >broken.txt
gives 4 model import broken.txt --name broken
[ -e .local/share/kith/models/broken.kith ] && fail "a file that cannot be read became a model"
for i in $(seq 150); do echo "text number $i tells of trains, doctors and markets, each $((i * 7)) times"; done >texts.txt
gives 0 distill local:minilm-l6-v2 texts.txt -o one.kith --dims 32 --epochs 2 -t 1
says '"texts":150'
gives 0 distill local:minilm-l6-v2 texts.txt -o two.kith --dims 32 --epochs 2 -t 2 --name one
cmp one.kith two.kith || fail "two threads make another file than one"
gives 0 embed doctor --embedder static:./one.kith
mkdir -p judged
printf '{"_id":"a","title":"Cats","text":"A kitten naps."}\n{"_id":"b","title":"","text":"Stocks fell."}\n' >judged/corpus.jsonl
printf '{"_id":"1","text":"cat"}\n{"_id":"2","text":"shares on the market"}\n{"_id":"3","text":"nothing"}\n' >judged/queries.jsonl
printf 'query-id\tcorpus-id\tscore\n1\ta\t1\n2\tb\t2\n' >judged/qrels.tsv
gives 0 distill local:minilm-l6-v2 texts.txt -o judged.kith --dims 32 --epochs 1 --judge judged
says '"collection":"judged","questions":2'
says '"teacher_ndcg10":1}'
gives 1 distill local:minilm-l6-v2 texts.txt -o judged.kith --dims 32 --epochs 1 --judge docs
talks "corpus.jsonl"
gives 1 distill local:minilm-l6-v2 docs -o none.kith
talks "texts to learn from"
gives 2 distill local:minilm-l6-v2 texts.txt

exit $failed
