#!/usr/bin/env bash
# The `rag` program on real files: what it adds, skips, finds, forgets, refuses; what it leaves
# after damage; exit codes.
set -u
: "${top_srcdir:=$(dirname "$0")/..}" "${top_builddir:=.}"
rag=$(cd "$top_builddir" && pwd)/rag/rag
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
unset RAG_STORE RAG_CONFIG RAG_EMBEDDER RAG_CHAT_MODEL OPENAI_API_KEY XDG_DATA_HOME RAG_BUDGET
export LC_ALL=C.UTF-8 HOME=$work XDG_CONFIG_HOME=$work/config NO_COLOR=1
failed=0

fail()
{
    echo "FAIL: $*"
    sed 's/^/    /' "$work/out" "$work/err" 2>/dev/null | head -20
    failed=1
}

# gives STATUS ARGUMENT...: runs rag into ./out and ./err.
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
silent() { [ ! -s "$work/out" ] || fail "standard output is not empty"; }

mkdir -p project/docs/deep project/docs/.git outside
cd project || exit 1
printf -- '---\nauthor: Knuth\nyear: 1968\n---\n# Sorting\n\nHeapsort is slow in practice.\n\n## Merging\n\nMerge sort is stable.\n' >docs/sort.md
printf 'The quick brown fox.\n\nA lazy dog sleeps.\n' >docs/fox.txt
printf 'int main(void)\n{\n    return 0;\n}\n' >docs/deep/main.c
printf '<html><head><title>Page</title><script>alert("secretscript")</script></head><body><h1>Welcome</h1><p>Hello <b>web</b>.</p><p style="display:none">hiddenword</p></body></html>' >docs/page.html
printf '{"id":"one","text":"A picture of a cat","meta":{"kind":"photo","width":640}}\n{"id":"two","text":"A picture of a boat","meta":{"kind":"drawing"}}\n' >docs/pictures.jsonl
printf 'id,text,price\n7,"A ""fine"" chair,\nof oak",12.5\n8,A table,99\n' >docs/shop.csv
printf '\377\376h\000i\000 \000t\000h\000e\000r\000e\000' >docs/utf16.txt
printf 'a\000b' >docs/binary.dat
printf 'ignored words\n' >docs/old.log
printf '*.log\n' >docs/.ragignore
printf 'not for you\n' >../outside/secret.txt
ln -s ../../outside/secret.txt docs/link.txt
mkfifo docs/pipe
head -c 2000 /dev/zero | tr '\0' 'x' >docs/big.txt

# ---- a first run, without key, network or settings
gives 0 add docs --max-bytes 1000
silent
talks "static:english-v1"
talks "skipped docs/binary.dat"
talks "skipped docs/old.log: ignored"
talks "skipped docs/link.txt: a link that leaves"
talks "skipped docs/pipe: not a regular file"
talks "skipped docs/big.txt: larger"
[ "$(stat -c %a .rag)" = 700 ] || fail ".rag can be read by others"
gives 0 ls
[ "$(wc -l <../out)" -eq 9 ] || fail "9 documents, not $(wc -l <../out)"
says '"source":"docs/pictures.jsonl#one"'
says '"source":"docs/shop.csv#7"'
says '"meta":{"kind":"photo","width":640}'
gives 0 search "stable merging"
head -1 ../out | grep -q '"source":"docs/sort.md"' || fail "merge sort is not the first hit"
head -1 ../out | grep -q '"head":"sort.md > Sorting > Merging"' || fail "no heading path"
gives 0 search "hi there" -k 1
says "docs/utf16.txt"
gives 0 search "fine chair oak" -k 1
says '"text":"A \"fine\" chair,\nof oak"'
gives 0 get docs/page.html
grep -qE 'secretscript|hiddenword' ../out && fail "what is hidden was read"
says "Hello web."

# ---- where, modes, formats
gives 0 search picture --where kind=photo --format ids
[ "$(wc -l <../out)" -eq 1 ] || fail "one photo"
gives 0 search chair --where 'price<50' --mode text --format tsv
says "docs/shop.csv#7"
gives 0 search anything --where year=1968 --mode vector
[ "$(grep -c '"source":"docs/sort.md"' ../out)" -eq "$(wc -l <../out)" ] || fail "a filter was passed by"
gives 0 search picture --where kind=sculpture
silent
gives 3 search picture --where kind=sculpture --fail-empty
gives 1 search picture --where kind
talks 'condition "kind"'
for mode in hybrid static vector text exact; do
    gives 0 search "lazy dog" --mode $mode -k 1
    says "docs/fox.txt"
done
gives 0 search "lazy dog" --fusion rrf -k 1 --explain
says '"ranks":{"vector":'
gives 0 search "lazy dog" --mode contextual -k 1
says "docs/fox.txt"
gives 0 search "lazy dog" --mode contextual --contextual builtin:hash-v1 -k 1
says "docs/fox.txt"
id=$("$rag" search "lazy dog" -k 1 --format ids)
gives 0 get "$id"
says "lazy dog"
gives 0 similar "$id" -k 3
grep -q "\"id\":$id," ../out && fail "a passage is similar to itself"
gives 1 similar 99999
gives 1 search ''
talks "the query is empty"
gives 0 get docs/sort.md:8:1
[ "$(cat ../out)" = "Heapsort is slow in practice." ] || [ -s ../out ] || fail "no line 8"
gives 1 get docs/nothing.md
talks "no document docs/nothing.md"
echo "lazy dog" | "$rag" search - -k 1 | grep -q docs/fox.txt || fail "a query from standard input"

# ---- ask without a model
gives 0 ask "which sort is stable?"
says '"type":"source"'
says '"type":"done"'
gives 0 ask 'which "sort" is stable?' --dry-run --model openai:m
python3 -c 'import json, sys
r = json.load(open(sys.argv[1]))
assert r["messages"][1] == {"role": "user", "content": "which \"sort\" is stable?"}, r
assert r["messages"][0]["role"] == "system" and "Merge sort is stable" in r["messages"][0]["content"]
assert r["model"] == "m"' ../out 2>../err || fail "--dry-run is not the request"
gives 1 ask "x" --model nonsense:y
talks "nonsense:y"

# ---- refresh, sync, remove
gives 0 add docs --max-bytes 1000
talks "0 added, 0 replaced"
printf 'The slow green turtle.\n' >docs/fox.txt
gives 0 add docs --max-bytes 1000
talks "0 added, 1 replaced"
gives 0 search "lazy dog" --mode text
silent
rm docs/sort.md
gives 0 sync docs --dry-run
talks "removed docs/sort.md"
gives 0 search "merge sort" --mode text -k 1
says "docs/sort.md"
gives 0 sync docs --max-bytes 1000
gives 0 search "merge sort" --mode text
silent
mkdir empty
mv docs/* empty/
gives 1 sync docs
talks "Nothing was removed"
mv empty/* docs/
# What lies outside of the folder, or is passed over this time, stays.
echo "from elsewhere" >../outside/note.txt
gives 0 add ../outside/note.txt
gives 0 sync . --exclude docs
talks "0 removed"
gives 0 search elsewhere --mode text
says "outside/note.txt"
gives 0 search turtle --mode text
says "docs/fox.txt"
gives 0 rm docs/fox.txt
gives 1 rm docs/fox.txt
gives 0 add docs/fox.txt
talks "1 added"
gives 0 rm --where kind=photo
gives 0 search cat --mode text
silent
printf '{"id":"3","text":"ok"}\n{"id":\n' >broken.jsonl
gives 7 add broken.jsonl docs/fox.txt
talks "broken.jsonl:2"
gives 0 search ok --mode text
silent
gives 1 add nowhere
talks "nowhere"
echo "standard text" | "$rag" -q add - --source notes --meta '{"a":{"b":"c"}}' || fail "add -"
gives 0 ls a.b=c
says '"source":"notes"'
gives 1 add docs --meta '[1]'
talks "not a JSON object"

# ---- vectors that come along
printf '{"id":"p","text":"north","vector":[0,1,0]}\n{"id":"q","text":"east","vector":[1,0,0]}\n' >vectors.jsonl
gives 0 -s brought import vectors.jsonl --embedder brought:compass@3
printf '[0.9,0.1,0]' >query.json
gives 0 -s brought search east --vector query.json --mode vector -k 1
says '"text":"east"'
gives 1 -s brought search east
talks "brought along"
gives 0 -s brought search east --mode text
says "east"
gives 7 import vectors.jsonl
talks "brought:NAME@3"
printf '{"id":"r","text":"up","vector":[0,0,1,0]}\n' >wrong.jsonl
gives 7 -s brought import wrong.jsonl
talks "a vector of 4 dimensions"
python3 - <<'PY' || fail "python"
import struct
head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
with open("rows.npy", "wb") as f:
    f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + head.ljust(117) + b"\n")
    f.write(struct.pack("<6f", 0, 0, 1, 0, 0, -1))
PY
printf 'up\ndown\n' >rows.txt
gives 0 -s brought import rows.npy --texts rows.txt
gives 0 -s brought search x --vector query.json --mode vector -k 4
says '"source":"rows.npy#2"'
printf 'up\n' >rows.txt
gives 1 -s brought import rows.npy --texts rows.txt
talks "has 2 rows, but there are 1 texts"
gives 0 -s brought export --vectors -o all.jsonl
grep -q '"vector":\[0,1,0\]' all.jsonl || fail "export lacks a vector"

# ---- another embedder is refused, with the command that helps
gives 4 search x --embedder brought:other@512
talks "rag reindex --embedder brought:other@512"

# ---- settings, keys
gives 0 config set chat.model ollama:m
gives 0 config get chat.model
says "ollama:m"
gives 0 config unset chat.model
printf 'openai.base_url = http://evil.example\n' >.rag/config
gives 1 search x
talks ".rag/config:1: a store may not set this"
printf 'search.k = 1\n' >.rag/config
gives 0 search turtle
[ "$(wc -l <../out)" -eq 1 ] || fail "search.k of the store does not count"
rm .rag/config
echo sk-sentinel-1234 | "$rag" keys set openai 2>/dev/null || fail "keys set"
[ "$(stat -c %a "$XDG_CONFIG_HOME/rag/keys")" = 600 ] || fail "keys can be read by others"
gives 0 keys list
says "openai.api_key"
gives 0 config list
gives 0 ask x --model openai:m --dry-run
gives 6 ask turtle --model http://127.0.0.1:9/v1#m
grep -rqs sk-sentinel ../out ../err .rag && fail "the key got out"
chmod 644 "$XDG_CONFIG_HOME/rag/keys"
gives 1 status
talks "chmod 600"
chmod 600 "$XDG_CONFIG_HOME/rag/keys"
gives 0 keys rm openai

# ---- damage
gives 0 verify
index=$(ls .rag/index-*.kith)
cp -r .rag whole
printf 'XXXX' | dd of="$index" bs=1 seek=5000 conv=notrunc 2>/dev/null
gives 4 verify
says "repairable: yes"
gives 0 repair
gives 0 verify
rm .rag/index-*.kith
gives 0 search turtle -k 1
says "docs/fox.txt"
talks "rag repair"
gives 0 repair
gives 0 verify
rm -rf .rag && cp -r whole .rag
python3 - <<'PY' || fail "python"
import sqlite3
c = sqlite3.connect(".rag/store.db")
c.execute("UPDATE document SET text = CAST(replace(text, 'turtle', 'TURTLE') AS BLOB)"
          " WHERE source = 'docs/fox.txt'")
c.commit()
PY
gives 4 verify
says "repairable: no"
talks "docs/fox.txt"
rm -rf .rag && mv whole .rag
gives 0 backup copy
gives 0 -s copy verify
gives 0 -s copy search turtle -k 1
grep -q repair ../err && fail "the copy has no index of its own"
gives 1 backup copy
talks "exist"

# ---- a full disk (here: files that may not grow): what is told as added is there, all else is not
mkdir many
for i in $(seq 900); do printf 'Number %s. %s\n' "$i" "$(seq -s ' ' "$i" $((i + 200)))" >"many/$i.txt"; done
(ulimit -f 1500 && exec "$rag" -s full add many --json) >../out 2>../err
[ $? -eq 1 ] || fail "a full disk"
talks "full/store.db"
told=$(grep -c '"event":"added"' ../out)
gives 0 -s full verify
gives 0 -s full ls
[ "$told" -eq "$(wc -l <../out)" ] || fail "$told were told as added, $(wc -l <../out) are there"
gives 0 -s full add many
gives 0 -s full ls
[ "$(wc -l <../out)" -eq 900 ] || fail "a full disk, given room again"

# ---- writers wait and are named; readers go on
python3 - "$work/held" <<'PY' &
import fcntl, os, struct, sys, time
f = open(".rag/lock", "r+")
fcntl.lockf(f, fcntl.LOCK_EX)
f.truncate(0); f.write("process 4242, rag add docs\n"); f.flush()
open(sys.argv[1], "w").close()
time.sleep(30)
PY
holder=$!
for _ in $(seq 100); do [ -e "$work/held" ] && break; sleep 0.1; done
gives 1 add docs --wait 1
talks "process 4242, rag add docs"
gives 0 search turtle -k 1
kill $holder
wait $holder 2>/dev/null

# ---- a closed pipe is no error to speak of
"$rag" ls 2>../err | head -1 >/dev/null
grep -q . ../err && fail "a closed pipe is complained about"
printf 'esc \033[31mred\033[0m \302\233x\n' >esc.txt
gives 0 add esc.txt
script -qec "'$rag' get esc.txt" /dev/null </dev/null >../out 2>/dev/null
grep -q "$(printf '\033')" ../out && fail "an escape reached the terminal"

exit $failed
