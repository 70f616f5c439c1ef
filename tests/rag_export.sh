#!/usr/bin/env bash
# rag export vectors: every format is read back by readers written from docs/rag.md, in Python with
# its own library alone, and has what rag embed gives of the same text; what cannot be is refused
# and leaves no file.
set -u
: "${top_srcdir:=$(dirname "$0")/..}" "${top_builddir:=.}"
rag=$(cd "$top_builddir" && pwd)/rag/rag
python=${PYTHON:-python3}
"$python" -c 'import json, struct' 2>/dev/null || python=python3
"$python" -c 'import json, struct' 2>/dev/null || { echo "no Python"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
unset RAG_STORE RAG_CONFIG RAG_EMBEDDER RAG_CHAT_MODEL OPENAI_API_KEY XDG_DATA_HOME
export LC_ALL=C.UTF-8 HOME=$work XDG_CONFIG_HOME=$work/config NO_COLOR=1
failed=0

fail()
{
    echo "FAIL: $*"
    sed 's/^/    /' out err 2>/dev/null | head -20
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

talks() { grep -qF -e "$1" err || fail "standard error lacks '$1'"; }

# More chunks than a block has, several of them in one document; a name with a blank; words of
# another script.
mkdir docs
"$python" - <<'PY' || fail "python"
for i in range(1100):
    open(f"docs/{i:04}.txt", "w").write(f"Document number {i} tells of thing{i % 700}.\n")
open("docs/two words.md", "w").write(
    "".join(f"# Part {i}\n\n" + f"Sentence {i} of many. " * 80 + "\n\n" for i in range(9)))
open("docs/other.txt", "w").write("Straße ÉTÉ 東京 naïve\n")
open("docs/empty.txt", "w").write("")
PY
gives 0 add docs --embedder builtin:hash-v1
gives 0 export
cp out passages

cat >check.py <<'PY'
import array, json, math, struct, subprocess, sys

rag, dims = sys.argv[1], 512
DTYPES = {"F32": ("f", 4), "F16": ("e", 2), "I64": ("q", 8)}


def rows_of(raw, n, code="f"):
    return [list(struct.unpack_from(f"<{dims}{code}", raw, i * dims * struct.calcsize(code)))
            for i in range(n)]


def ids(path):
    return open(path + ".ids", encoding="utf-8", newline="\n").read().split("\n")[:-1]


def npy(path, code="f"):
    raw = open(path, "rb").read()
    assert raw[:8] == b"\x93NUMPY\x01\x00"
    head = 10 + struct.unpack_from("<H", raw, 8)[0]
    shape = eval(raw[10:head])
    assert shape["descr"] == {"f": "<f4", "e": "<f2"}[code] and not shape["fortran_order"]
    n, d = shape["shape"]
    assert d == dims and len(raw) == head + n * d * struct.calcsize(code)
    return ids(path), rows_of(raw[head:], n, code)


def fvecs(path):
    raw, rows = open(path, "rb").read(), []
    for at in range(0, len(raw), 4 + 4 * dims):
        assert struct.unpack_from("<i", raw, at)[0] == dims
        rows.append(list(struct.unpack_from(f"<{dims}f", raw, at + 4)))
    return ids(path), rows


def safetensors(path):
    raw = open(path, "rb").read()
    length = struct.unpack_from("<Q", raw)[0]
    assert length % 8 == 0 and raw[8:9] == b"{"
    head = json.loads(raw[8:8 + length])
    end, found = 0, {}
    for name, t in sorted(head.items(), key=lambda x: x[1]["data_offsets"]):
        code, size = DTYPES[t["dtype"]]
        begin, stop = t["data_offsets"]
        assert begin == end and stop - begin == math.prod(t["shape"]) * size, head
        assert begin % size == 0
        found[name] = raw[8 + length + begin:8 + length + stop]
        end = stop
    assert len(raw) == 8 + length + end
    n, d = head["vectors"]["shape"]
    assert d == dims
    rows = rows_of(found["vectors"], n, DTYPES[head["vectors"]["dtype"]][0])
    if "labels" in found:
        assert head["labels"]["shape"] == [n]
        return [str(x) for x in struct.unpack(f"<{n}q", found["labels"])], rows
    return ids(path), rows


def unpack(raw, at):
    """One object of msgpack, of the types that are written: (it, where it ends)."""
    t = raw[at]
    sizes = {0xdc: "H", 0xdd: "I", 0xd9: "B", 0xda: "H", 0xdb: "I", 0xc6: "I", 0xcf: "Q", 0xce: "I"}
    if t < 0x80:
        return t, at + 1
    if t < 0xc0:
        kind, n, at = t & 0xe0 if t >= 0xa0 else t & 0xf0, t & (31 if t >= 0xa0 else 15), at + 1
    else:
        kind, n = t, struct.unpack_from(">" + sizes[t], raw, at + 1)[0]
        at += 1 + struct.calcsize(sizes[t])
    if kind == 0xcf or kind == 0xce:
        return n, at
    if kind in (0xa0, 0xd9, 0xda, 0xdb):
        return raw[at:at + n].decode(), at + n
    if kind == 0xc6:
        return raw[at:at + n], at + n
    items = []
    for _ in range(2 * n if kind == 0x80 else n):
        item, at = unpack(raw, at)
        items.append(item)
    return (dict(zip(items[::2], items[1::2])) if kind == 0x80 else items), at


def msgpack(path):
    raw = open(path, "rb").read()
    m, end = unpack(raw, 0)
    assert end == len(raw) and m["dims"] == dims and m["n"] == len(m["ids"])
    code = {"f32": "f", "f16": "e"}[m["type"]]
    assert all(len(b) == 1024 * dims * struct.calcsize(code) for b in m["vectors"][:-1])
    return [str(x) for x in m["ids"]], rows_of(b"".join(m["vectors"]), m["n"], code)


def jsonl(path):
    lines = [json.loads(line) for line in open(path, encoding="utf-8", newline="\n")]
    return [str(x["id"]) for x in lines], [list(array.array("f", x["vector"])) for x in lines]


def word2vec(path):
    lines = open(path, encoding="utf-8", newline="\n").read().split("\n")[:-1]
    n, d = map(int, lines[0].split(" "))
    assert n == len(lines) - 1 and d == dims
    parts = [line.split(" ") for line in lines[1:]]
    assert all(len(p) == dims + 1 for p in parts)
    return [p[0] for p in parts], [list(array.array("f", map(float, p[1:]))) for p in parts]


def embed(texts):
    """What rag embed gives of a text or two."""
    run = subprocess.run([rag, "embed", *texts], capture_output=True, check=True)
    return [list(array.array("f", json.loads(x)["vector"])) for x in run.stdout.splitlines()]


def of_length_1(sums):
    norm = math.sqrt(sum(x * x for x in sums))
    return [x / norm for x in sums]


READERS = {"npy": npy, "fvecs": fvecs, "word2vec": word2vec, "jsonl": jsonl,
           "safetensors": safetensors, "msgpack": msgpack}
what, files = sys.argv[2], sys.argv[3:]
passages = [json.loads(line) for line in open("passages", encoding="utf-8")]
want = READERS[files[0].split(".")[-1]](files[0])
for path in files[1:]:
    labels, rows = READERS[path.split(".")[-1]](path)
    if path.endswith("word2vec"):
        assert labels == [x.replace(" ", "_") for x in want[0]], path
    else:
        assert labels == want[0], path
    assert rows == want[1], path
labels, rows = want
assert len(labels) == len(set(labels)) == len(rows)
if what == "chunks":
    assert labels == [p["id"] for p in passages] and len(labels) > 1024
    for line, p in zip(open("chunks.jsonl", encoding="utf-8"), passages):
        line = json.loads(line)
        assert [line[k] for k in ("source", "start", "end")] == \
            [p[k] for k in ("source", "start", "end")] and line["id"] == int(p["id"])
    some = [0, 1, 1023, 1024, len(rows) - 1] + \
        [i for i, p in enumerate(passages) if p["source"] == "docs/two words.md"]
    assert [rows[i] for i in some] == \
        embed([passages[i]["head"] + "\n" + passages[i]["text"] for i in some])
    code = READERS["npy"]("half.npy", "e")
    for path in ("half.safetensors", "half.msgpack"):
        assert READERS[path.split(".")[-1]](path) == code, path
    assert code[0] == labels
    assert all(abs(a - b) < 1e-3 for x, y in zip(code[1], rows) for a, b in zip(x, y))
elif what == "documents":
    order = list(dict.fromkeys(p["source"] for p in passages))
    assert labels == order and "docs/two words.md" in labels and "docs/empty.txt" not in labels
    _, chunks = jsonl("chunks.jsonl")
    for name in ("docs/two words.md", "docs/0007.txt"):
        own = [v for v, p in zip(chunks, passages) if p["source"] == name]
        assert (len(own) > 1) == (name == "docs/two words.md")
        mean = of_length_1([sum(x) for x in zip(*own)])
        assert all(abs(a - b) < 1e-6 for a, b in zip(mean, rows[labels.index(name)]))
else:
    assert labels == sorted(labels, key=str.encode)
    assert {"document", "thing699", "strasse", "été", "東", "京", "naïve", "sentence"} <= set(labels)
    assert not {"Document", "東京", "sentenc", "part 1", "txt"} & set(labels)
    some = [0, 1023, 1024, len(rows) - 1, labels.index("été")]
    assert [rows[i] for i in some] == embed([labels[i] for i in some])
PY

for of in chunks documents words; do
    files=()
    for format in jsonl npy fvecs word2vec safetensors msgpack; do
        gives 0 export vectors --of $of --format $format -o $of.$format
        files+=("$of.$format")
    done
    if [ $of = chunks ]; then
        for format in npy safetensors msgpack; do
            gives 0 export vectors --f16 -o half.$format
        done
    fi
    "$python" check.py "$rag" $of "${files[@]}" >out 2>err || fail "$of are not read back"
done
[ ! -e chunks.safetensors.ids ] || fail "ids of chunks stand twice"
ls -- *.tmp-* 2>/dev/null && fail "temporary files stay"

# Standard output takes text; the format is told by a file's name.
gives 0 export vectors
cmp -s out chunks.jsonl || fail "jsonl on standard output"
gives 0 export vectors --of documents --format word2vec -o -
cmp -s out documents.word2vec || fail "word2vec on standard output"
gives 0 export vectors --of documents -o d.vec
cmp -s d.vec documents.word2vec || fail "a .vec file"

# What cannot be, and what is there stays.
echo before >kept.npy
gives 1 export vectors --format npy
talks "npy needs a file"
gives 1 export vectors --format fvecs --f16 -o kept.npy
talks "fvecs has no f16"
gives 1 export vectors --of tokens -o kept.npy
talks "builtin:hash-v1 has no table of tokens"
gives 1 export vectors -o nowhere/x.npy
gives 2 export vectors --of letters
gives 2 export vectors --format csv
(ulimit -f 100 && exec "$rag" export vectors -o kept.npy) >out 2>err && fail "a full disk"
[ "$(cat kept.npy)" = before ] || fail "a failure left a file"
[ ! -e kept.npy.ids ] || fail "a failure left labels"
ls -- *.tmp-* 2>/dev/null && fail "a failure left temporary files"

# Vectors that are kept come out as they went in; words of theirs are a server's business.
printf '{"id":"n","text":"north","vector":[0.125,0,0.3]}\n{"id":"e","text":"e","vector":[0,2,0]}\n' >v.jsonl
gives 0 -s brought import v.jsonl --embedder brought:demo@3
gives 0 -s brought export vectors
[ "$(sed 's/.*"vector"://' out | tr -d '\n')" = '[0.125,0,0.3]}[0,2,0]}' ] || fail "kept vectors"
gives 0 -s brought export vectors --of documents
[ "$(sed -n '2s/.*"vector"://p' out)" = '[0,1,0]}' ] || fail "a document of length 1"
gives 1 -s brought export vectors --of words
talks "come with their texts"
gives 0 -s brought rm v.jsonl#n v.jsonl#e
for format in npy fvecs word2vec jsonl safetensors msgpack; do
    gives 0 -s brought export vectors --format $format -o none.$format
done
[ "$(cat none.word2vec)" = "0 3" ] || fail "no vectors"
exit $failed
