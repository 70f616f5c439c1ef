#!/usr/bin/env bash
# rag eval answers: answers of a file and of a server, its table and JSON, going on after a failure and after
# Ctrl-C, hostile files, and what is refused.
set -u
: "${top_srcdir:=$(dirname "$0")/..}" "${top_builddir:=.}"
rag=$(cd "$top_builddir" && pwd)/rag/rag
python=${PYTHON:-python3}
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 1
unset RAG_STORE RAG_CONFIG RAG_EMBEDDER RAG_CHAT_MODEL OPENAI_API_KEY XDG_DATA_HOME http_proxy
mkdir tmp
export LC_ALL=C.UTF-8 HOME=$work XDG_CONFIG_HOME=$work/config NO_COLOR=1 TMPDIR=$work/tmp RAG_TRIES=1
failed=0

fail()
{
    echo "FAIL: $*"
    sed 's/^/    /' out err 2>/dev/null | cut -c1-400 | head -20
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
lines() { [ "$(wc -l <"$2")" -eq "$1" ] || fail "$2: $(wc -l <"$2") lines, not $1"; }

cat >queries.jsonl <<'J'
{"_id": "cat", "text": "Where does the cat sleep?", "answers": ["on the mat", "the mat"]}
{"_id": "key", "text": "Where is the key kept?", "answers": ["in drawer 14"]}
{"_id": "boat", "text": "What does a boat need?", "answers": ["wind and a keel"]}
{"_id": "whole", "text": "What is told here?"}
J
cat >none.jsonl <<'J'
{"_id": "moon", "text": "How far is the moon?", "about": "house"}
{"_id": "sun", "text": "How hot is the sun?"}
J
cat >answers.jsonl <<'J'
{"_id": "cat", "answer": "The mat [1].", "sources": 2}
{"_id": "key", "answer": "In drawer 14 [3]. It is red [1].", "sources": 2}
{"_id": "boat", "answer": "The sources do not say.", "sources": 2}
{"_id": "moon", "answer": "There is no information about the moon in the sources.", "sources": 1}
{"_id": "sun", "answer": "5,778 K.", "sources": 1}
J

# ---- answers of a file, without a store ----
gives 0 eval answers --queries queries.jsonl --unanswerable none.jsonl --answers answers.jsonl
lines 1 out
says '"questions":6,"answerable":3,"unanswerable":2,"answers":5,"asked":0,"failed":0'
says '"embedder":"static:english-v1"'
says '"exact_match":{"mean":0.3333'
# F1: 1; 2*(3/6)/(3/6+1) = 2/3 of "in drawer 14 it is red"; 0 of a refusal that shares no word.
says '"token_f1":{"mean":0.5555'
says '"citations_valid":{"mean":0.75,'
says '"sentences_cited":{"mean":0.5,' # 1, 1/2, and 0 of the sun's
says '"refused_unanswerable":{"mean":0.5,'
says '"refused_answerable":{"mean":0.3333'
says '"cosine_z":'
talks '1 of 6 questions have no answer'
[ -z "$(ls tmp)" ] || fail "left behind: $(ls tmp)"
[ ! -e .rag ] || fail "a store was left here"
gives 0 eval answers --queries queries.jsonl --answers answers.jsonl --each
lines 5 out
talks '2 answers belong to none of the questions'
says '"question":"key","answerable":"yes","answer":"In drawer 14 [3]. It is red [1].","refused":false,"sources":2,"exact_match":0,'
says '"question":"whole","answerable":null,"answer":null'
gives 0 eval answers --unanswerable none.jsonl --answers answers.jsonl
says '"exact_match":{"mean":null,"low":null,"high":null,"n":0}'
says '"embedder":null'
gives 0 eval answers --unanswerable none.jsonl --answers answers.jsonl --refusal "5 778"
says '"refused_unanswerable":{"mean":1,'
gives 0 eval answers --queries queries.jsonl --answers answers.jsonl --embedder builtin:hash-v1
says '"embedder":"builtin:hash-v1"'
gives 0 eval answers --queries queries.jsonl --answers answers.jsonl --every 2
says '"questions":2,'

# ---- people ----
if command -v script >/dev/null; then
    script -qec "'$rag' eval answers --queries queries.jsonl --unanswerable none.jsonl --answers answers.jsonl" /dev/null \
        >out 2>err </dev/null
    says 'token F1                   55.56' && says 'unanswerable refused       50.00' && says 'cosines by static:english-v1'
fi

# ---- the page ----
gives 0 eval answers --queries queries.jsonl --unanswerable none.jsonl --answers answers.jsonl --html page.html
grep -q '<td>55.56</td>' page.html || fail "F1 is not in the page"
[ "$(grep -c '<svg' page.html)" -eq 2 ] || fail "$(grep -c '<svg' page.html) plots"
grep -Eq 'https?://[^w]|<script' page.html && fail "the page needs something from elsewhere"
sed 's/"sources"/"model": "<b>\&amp;", "sources"/' answers.jsonl >bold.jsonl
gives 0 eval answers --queries queries.jsonl --answers bold.jsonl --html page.html
grep -q '<b>' page.html && fail "a model's name is markup"
gives 1 eval answers --queries queries.jsonl --answers answers.jsonl --html nowhere/page.html
talks nowhere/page.html

# ---- hostile files ----
gives 4 eval answers --queries answers.jsonl --answers answers.jsonl # has answers, and texts in none
talks 'answers.jsonl: line 1 has no text or question'
cp answers.jsonl twice.jsonl && head -1 answers.jsonl >>twice.jsonl
gives 4 eval answers --queries queries.jsonl --answers twice.jsonl
talks 'twice.jsonl: line 6 answers "cat" a second time'
printf '{"_id": "cat", "answer": "\377"}\n' >bytes.jsonl
gives 1 eval answers --queries queries.jsonl --answers bytes.jsonl
talks 'bytes.jsonl:1'
printf '{"_id": "cat", "answer": "' >cut.jsonl
gives 1 eval answers --queries queries.jsonl --answers cut.jsonl
(printf '{"_id": "cat", "answer": "' && head -c 2000000 /dev/zero | tr '\0' 'x' && printf '"}\n') >huge.jsonl
gives 1 eval answers --queries queries.jsonl --answers huge.jsonl
talks 'an answer of 2000000 bytes'
head -c 100000 /dev/urandom >noise
gives 1 eval answers --queries queries.jsonl --answers noise
gives 1 eval answers --queries noise --answers answers.jsonl
: >empty
gives 4 eval answers --queries empty --answers answers.jsonl
gives 1 eval answers --queries queries.jsonl --answers empty
talks 'none of the 4 questions has an answer'
cat queries.jsonl queries.jsonl >double.jsonl
gives 4 eval answers --queries double.jsonl --answers answers.jsonl
talks 'stands there twice'
gives 4 eval answers --queries queries.jsonl --unanswerable queries.jsonl --answers answers.jsonl
gives 1 eval answers --queries queries.jsonl --answers nowhere
talks nowhere

# ---- refused ----
gives 2 eval answers
talks 'needs --queries'
gives 2 eval answers --queries queries.jsonl --answers answers.jsonl --answers-out more.jsonl
gives 2 eval answers folder --queries queries.jsonl
gives 1 eval answers --queries queries.jsonl
talks 'no store'
printf 'The key is kept in drawer 14. The cat sleeps on the mat.\n' >house.txt
printf 'A boat needs wind and a keel.\n' >boat.txt
gives 0 add house.txt boat.txt
gives 1 eval answers --queries queries.jsonl
talks 'neither answers nor a language model'
gives 1 eval answers --queries queries.jsonl --model nonsense
talks '"nonsense"'
gives 0 eval answers --queries queries.jsonl --answers answers.jsonl
says '"embedder":"static:english-v1"'

# ---- a server ----
if ! "$python" -c 'import http.server' 2>/dev/null; then
    echo "no Python: the part with a server was left out"
    exit $failed
fi
cat >server.py <<'PY'
import http.server, json, os, sys, time
class Chat(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = body["messages"][-1]["content"]
        with open("asked", "a") as f:
            f.write(question + "\n")
        if os.path.exists("slow"):
            time.sleep(20)
        status, answer = 200, "The sources do not contain the answer."
        if "key" in question and os.path.exists("bad"):
            status = 400
        elif "key" in question:
            answer = "The key is kept in drawer 14 [1]."
        elif "cat" in question:
            answer = "On the mat [1]."
        reply = {"error": {"message": "not this one"}} if status != 200 else {
            "model": "small", "choices": [{"finish_reason": "stop", "index": 0,
                                           "message": {"role": "assistant", "content": answer}}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 5}}
        data = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *args):
        pass
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Chat)
with open("port.new", "w") as f:
    f.write(str(s.server_port))
os.rename("port.new", "port")
s.serve_forever()
PY
"$python" server.py &
server=$!
for _ in $(seq 100); do [ -e port ] && break; sleep 0.1; done
model=http://127.0.0.1:$(cat port)/v1#small
ask=(eval answers --queries queries.jsonl --unanswerable none.jsonl --model "$model" --answers-out kept.jsonl)
touch bad
gives 7 "${ask[@]}"
talks 'question key: '
talks '1 of 6 questions got no answer'
says '"answers":5,"asked":5,"failed":1'
says '"model":"small"'
says '"refused_unanswerable":{"mean":1,'
lines 5 kept.jsonl
rm bad
: >asked
gives 0 "${ask[@]}"
says '"answers":6,"asked":1,"failed":0'
lines 1 asked
lines 6 kept.jsonl
cp out first
gives 0 "${ask[@]}" # nothing is left to ask
says '"asked":0'
lines 1 asked
gives 0 eval answers --queries queries.jsonl --unanswerable none.jsonl --answers kept.jsonl
sed 's/"asked":[0-9]*//' first >a && sed 's/"asked":[0-9]*//' out >b
cmp -s a b || fail "judged from the file other figures come out"
gives 4 "${ask[@]}" -k 3
talks 'other settings'
# Without a file the same, and as the command rag ask sends it.
gives 0 eval answers --queries queries.jsonl --model "$model" --embedder builtin:hash-v1
says '"asked":4' && says '"embedder":"builtin:hash-v1"'

# A few questions that all fail are the failure of the whole.
touch bad
head -2 queries.jsonl | tail -1 >key.jsonl
gives 5 eval answers --queries key.jsonl --model "$model"
talks 'question key: '
talks 'none of the 1 questions has an answer'
rm bad

# ---- interrupted while a question is on its way ----
head -c 100 kept.jsonl >part.jsonl # what a killed process may leave: half a line
touch slow
: >asked
"$rag" eval answers --queries queries.jsonl --model "$model" --answers-out part.jsonl >out 2>err </dev/null &
asking=$!
for _ in $(seq 100); do [ -s asked ] && break; sleep 0.1; done
kill -INT $asking
wait $asking
[ $? -eq 130 ] || fail "interrupted: exit $?"
[ ! -s part.jsonl ] || fail "half a line stayed: $(cat part.jsonl)"
rm slow
gives 0 eval answers --queries queries.jsonl --model "$model" --answers-out part.jsonl
lines 4 part.jsonl

# ---- the server gone ----
kill $server
wait $server 2>/dev/null
server=
rm kept.jsonl
gives 6 "${ask[@]}"
[ "$(grep -c 'question ' err)" -eq 5 ] || fail "$(grep -c 'question ' err) questions were tried"
[ -z "$(ls tmp)" ] || fail "left behind: $(ls tmp)"
exit $failed
