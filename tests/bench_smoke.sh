#!/usr/bin/env bash
# A short sweep on synthetic data: figures that must hold, the keys of the JSON, a sound page.
set -euo pipefail

bench=${top_builddir:?run by make check}/bench/annbench
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export XDG_CACHE_HOME=$tmp/cache HOME=$tmp

fail() {
    echo "FAIL: $*" >&2
    exit 1
}

"$bench" run synthetic:n=3000,d=24,queries=200,seed=5 --rounds 1 --effort 10,40,160 --threads 2 \
    --json "$tmp/out.jsonl" --report "$tmp/out.html" -q >"$tmp/table" ||
    fail "annbench exited with $?"

grep -q 'clusters-3000-24-s5: 3,000 x 24, l2, 200 queries, k = 10, 2 threads' "$tmp/table" ||
    fail "no headline in the table"
grep -q 'queries a second (log) against recall' "$tmp/table" || fail "no plot in the table"

# The cache holds the ground truth now, and a second run reads it.
[ "$(find "$tmp/cache/kith/truth" -name '*.npy' | wc -l)" = 1 ] || fail "no cached ground truth"
"$bench" run synthetic:n=3000,d=24,queries=200,seed=5 --rounds 1 --index flat --batch \
    --threads 1 >"$tmp/again" 2>"$tmp/remarks"
! grep -q 'exact search' "$tmp/remarks" || fail "the ground truth was computed twice"

# A damaged cache is noticed.
cached=$(find "$tmp/cache/kith/truth" -name '*.npy')
bytes=$(stat -c %s "$cached")
{ head -c 128 "$cached"; head -c $((bytes - 128)) /dev/zero; } >"$tmp/zeroes"
cp "$tmp/zeroes" "$cached"
"$bench" run synthetic:n=3000,d=24,queries=200,seed=5 --rounds 1 --index flat --batch \
    --threads 1 --json - 2>"$tmp/remarks" >"$tmp/flat.jsonl"
grep -q 'exact search' "$tmp/remarks" || fail "a damaged ground truth was used"

"$bench" run synthetic:n=3000,d=24,queries=200,seed=5 --rounds 1 --index flat --index hnsw,m=4 \
    --calibrate --recall 0.8,0.9,0.99999 --effort 8 --no-file -q --json "$tmp/asked.jsonl" \
    >"$tmp/table" || fail "annbench --calibrate exited with $?"
grep -q '^  hnsw  *0.9 ' "$tmp/table" || fail "no recall by number: $(cat "$tmp/table")"

"$bench" run synthetic:n=3000,d=24,queries=200,seed=5 --rounds 1 --index hnsw,m=4 \
    --index ivfpq,nlist=32 --index ivfpq,nlist=16,pq_bits=8,profile=lean,codes=none \
    --json "$tmp/lists.jsonl" --report "$tmp/lists.html" -q >"$tmp/table" ||
    fail "annbench exited with $? for lists"
grep -q '^  index  *training .*bytes/vector' "$tmp/table" || fail "training does not stand apart"

if [ -z "${PYTHON-}" ]; then
    echo "no Python: JSON and page not looked at"
    exit 0
fi
"$PYTHON" - "$tmp/out.jsonl" "$tmp/flat.jsonl" "$tmp/out.html" "$tmp/asked.jsonl" \
    "$tmp/lists.jsonl" "$tmp/lists.html" <<'PY'
import json, re, sys
from xml.dom import minidom

keys = set("""dataset n dim metric k index spec threads batch effort recall qps mean_us p50_us
p95_us p99_us build_s build_cpu_s train_s add_s memory_bytes bytes_per_vector
file_bytes""".split())
lines = [json.loads(l) for l in open(sys.argv[1])]
points = [l for l in lines if "at_recall" not in l]
at = [l for l in lines if "at_recall" in l]
assert len(points) == 4 and len(at) == 6, (len(points), len(at))
for p in points:
    assert keys <= set(p), keys - set(p)
    assert p["n"] == 3000 and p["dim"] == 24 and p["k"] == 10 and p["metric"] == "l2"
    assert p["qps"] > 0 and p["p50_us"] <= p["p95_us"] <= p["p99_us"] <= p["p999_us"]
    assert p["build_s"] >= 0 and p["memory_bytes"] > 3000 * 24 * 4 and p["file_bytes"] > 0
    assert p["train_s"] is None and p["add_s"] is None # neither kind has anything to learn
    assert abs(p["bytes_per_vector"] - p["memory_bytes"] / 3000) < 1e-6
    assert p["distances"] > 0
    assert p["index"] in ("flat", "hnsw") and p["spec"].startswith(p["index"])
flat, *hnsw = points
assert flat["index"] == "flat" and flat["recall"] == 1 and flat["distances"] == 3000
assert [p["effort"] for p in hnsw] == [10, 40, 160]
assert hnsw[2]["recall"] >= 0.99 and hnsw[0]["recall"] <= hnsw[2]["recall"]
assert hnsw[0]["distances"] < hnsw[2]["distances"] and hnsw[2]["hops"] > 0
for a in at:
    assert a["at_recall"] in (0.9, 0.95, 0.99) and a["qps"] > 0 and isinstance(a["at_least"], bool)
batch = [json.loads(l) for l in open(sys.argv[2])]
assert batch[0]["recall"] == 1 and batch[0]["batch"] is True and batch[0]["p50_us"] is None
assert batch[0]["batch_size"] == 200 and "batch_size" not in flat
asked = [json.loads(l) for l in open(sys.argv[4])]
asked = [l for l in asked if "asked_recall" in l]
assert [l["asked_recall"] for l in asked] == [0.8, 0.9, 0.99999]
for l in asked[:2]:
    assert l["delivered"] > l["asked_recall"] - 0.05 and l["index"] == "hnsw"
    assert l["least_effort"] > 0 and 0.5 < l["distances"] / l["least_distances"] < 3, l
assert asked[0]["least_effort"] < asked[1]["least_effort"]
lists = [json.loads(l) for l in open(sys.argv[5])]
lists = [l for l in lists if "effort" in l]
for l in lists:
    assert ("lists" in l) == (l["index"] == "ivfpq")
    if l["index"] == "ivfpq":
        assert l["train_s"] > 0 and abs(l["train_s"] + l["add_s"] - l["build_s"]) < 1e-9
        assert l["train_cpu_s"] > 0 and l["lists"] in (32, 16) and l["list_spread"] >= 1
        assert 0 < l["trained_error"] < 1 and 0 < l["added_error"] < 1
many = [l for l in lists if l.get("lists") == 32]
assert [l["effort"] for l in many[:2]] == [1, 2] and many[-1]["recall"] >= 0.99, many
# Codes alone do not get there: the ladder ends where more lists bring nothing.
lean = [l for l in lists if l.get("lists") == 16]
assert lean[0]["effort"] == 1 and lean[-1]["recall"] < 0.99 and len(lean) < 25, len(lean)
assert lean[0]["bytes_per_vector"] < many[0]["bytes_per_vector"]
minidom.parseString(open(sys.argv[6], encoding="utf-8").read().split("\n", 1)[1].encode())

page = open(sys.argv[3], encoding="utf-8").read()
assert page.startswith("<!DOCTYPE html>") and "prefers-color-scheme:dark" in page
assert not re.search(r'(src|href)="', page), "the page needs something else"
svgs = re.findall(r"<svg.*?</svg>", page, re.S)
assert len(svgs) == 4, len(svgs)
for s in svgs:
    minidom.parseString(s.encode())
minidom.parseString(page[page.index("<html"):].encode())
print("ok")
PY
