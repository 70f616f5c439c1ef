#!/usr/bin/env bash
# Each kind of data is read, with the right metric, queries and ground truth.
set -euo pipefail

bench=${top_builddir:?run by make check}/bench/annbench
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export XDG_CACHE_HOME=$tmp/cache HOME=$tmp

if [ -z "${PYTHON-}" ]; then
    echo "no Python to write the data with"
    exit 77
fi
"$PYTHON" - "$tmp" <<'PY'
import os, random, struct, sys

random.seed(4)
n, nq, dim = 400, 20, 6
rows = [[random.gauss(0, 1) for _ in range(dim)] for _ in range(n + nq)]
base, query = rows[:n], rows[n:]


def npy(path, rows, kind, code):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    head = "{'descr': '%s', 'fortran_order': False, 'shape': (%d, %d), }" % (
        kind, len(rows), len(rows[0]))
    head += " " * (-(len(head) + 11) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode())
        for r in rows:
            f.write(struct.pack("<%d%s" % (len(r), code), *r))


def vecs(path, rows, code):
    with open(path, "wb") as f:
        for r in rows:
            f.write(struct.pack("<i%d%s" % (len(r), code), len(r), *r))


def truth(k):
    def dist(a, b):
        return sum((x - y) ** 2 for x, y in zip(a, b))

    return [sorted(range(n), key=lambda i: dist(q, base[i]))[:k] for q in query]


t = sys.argv[1]
npy(t + "/plain/base.npy", base, "<f4", "f")
npy(t + "/half/base.npy", base, "<f2", "e")
npy(t + "/half/query.npy", query, "<f2", "e")
open(t + "/half/meta.json", "w").write('{"metric": "angular"}')
npy(t + "/given/base.npy", base, "<f4", "f")
npy(t + "/given/query.npy", query, "<f4", "f")
npy(t + "/given/gt.npy", truth(20), "<i4", "i")
npy(t + "/wrong/base.npy", base, "<f4", "f")
npy(t + "/wrong/query.npy", query, "<f4", "f")
npy(t + "/wrong/gt.npy", [[(i + j) % n for j in range(20)] for i in range(nq)], "<i4", "i")
npy(t + "/outside/base.npy", base, "<f4", "f")
npy(t + "/outside/query.npy", query, "<f4", "f")
npy(t + "/outside/gt.npy", [[n] * 20 for _ in range(nq)], "<i4", "i")
npy(t + "/dims/base.npy", base, "<f4", "f")
npy(t + "/dims/query.npy", [q[:5] for q in query], "<f4", "f")
vecs(t + "/set_base.fvecs", base, "f")
vecs(t + "/set_query.fvecs", query, "f")
vecs(t + "/set_groundtruth.ivecs", truth(20), "i")
PY

failed=0
# check DATA HEADLINE REMARK: what the table's first line says, and whether truth is computed.
check() {
    if ! "$bench" run "$tmp/$1" --index flat --batch --rounds 1 --threads 1 --recall 1 --no-file \
        >"$tmp/out" 2>"$tmp/err"; then
        echo "FAIL: $1: $(cat "$tmp/err")"
        failed=1
        return
    fi
    grep -q "$2" "$tmp/out" || { echo "FAIL: $1: $(head -2 "$tmp/out")"; failed=1; }
    grep -q '  1.0000 ' "$tmp/out" || { echo "FAIL: $1: flat is not exact"; failed=1; }
    if [ "$3" = computed ]; then
        grep -q 'exact search' "$tmp/err" || { echo "FAIL: $1: no ground truth made"; failed=1; }
    else
        ! grep -q 'exact search' "$tmp/err" || { echo "FAIL: $1: given truth unused"; failed=1; }
    fi
}
refuse() {
    if "$bench" run "$tmp/$1" --index flat --batch -q >"$tmp/out" 2>"$tmp/err"; then
        echo "FAIL: $1 was taken"
        failed=1
    fi
    grep -q "$2" "$tmp/err" || { echo "FAIL: $1: $(cat "$tmp/err")"; failed=1; }
}

check plain '^plain: 200 x 6, l2, 200 queries' computed
check half '^half: 400 x 6, angular, 20 queries' computed
check given '^given: 400 x 6, l2, 20 queries' given
check wrong '^wrong: 400 x 6, l2, 20 queries' computed
check set_base.fvecs '^set_base: 400 x 6, l2, 20 queries' given
refuse outside 'are not slots of the 400 base vectors'
refuse dims 'queries have 5 dims, base vectors 6'
refuse nothing 'no such file'

# Sets that scripts make: a Python that only notes what it was asked for stands in for the real
# one, so that nothing is fetched. $MAKE_FAILS: scripts fail, as when they are stopped.
mkdir -p "$tmp/bin"
cat >"$tmp/bin/python3" <<'SH'
#!/bin/sh
echo "$*" >>"$ASKED"
case $1,$2 in
-m,venv) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
-B,*)
    [ -f "$2" ] || exit 3
    [ -z "${MAKE_FAILS-}" ] || exit 3
    cp "$PLAIN"/given/*.npy "$4" && echo '{"metric": "l2"}' >"$4/meta.json" ;;
esac
SH
chmod +x "$tmp/bin/python3"
export ASKED=$tmp/asked PLAIN=$tmp PATH=$tmp/bin:$PATH
# made STATUS TEXT NAME: the exit status, and what is said.
made() {
    local got=0
    : >"$ASKED"
    "$bench" data "$3" >"$tmp/out" 2>&1 || got=$?
    [ $got = "$1" ] || { echo "FAIL: data $3: exit $got, not $1: $(cat "$tmp/out")"; failed=1; }
    grep -q "$2" "$tmp/out" || { echo "FAIL: data $3: $(cat "$tmp/out")"; failed=1; }
}
asked() { # COUNT PATTERN
    local n
    n=$(grep -c -- "$2" "$ASKED" || true)
    [ "$n" = "$1" ] || { echo "FAIL: \"$2\" $n times, not $1, in: $(cat "$ASKED")"; failed=1; }
}
MAKE_FAILS=1 made 1 'sift-wp could not be made (exit status 3)' sift-wp
asked 1 '-m venv'
asked 1 'install.*--no-deps.*sets/packages.txt'
if "$bench" data | grep -q 'makes it (ready)'; then
    echo 'FAIL: what was not made is ready'
    failed=1
fi
made 0 "data/sift-wp\$" sift-wp # the environment was whole already
asked 0 '-m venv'
asked 1 'make_pictures.py sift-wp '
made 0 "data/sift-wp\$" sift-wp # and now the set
asked 0 .
"$bench" run sift-wp --index flat --batch --rounds 1 --recall 1 --no-file -q >"$tmp/out" 2>&1 ||
    { echo "FAIL: run sift-wp: $(cat "$tmp/out")"; failed=1; }
grep -q '^sift-wp: 400 x 6, l2, 20 queries' "$tmp/out" || { cat "$tmp/out"; failed=1; }
echo other >"$tmp/cache/kith/sets/packages.txt" # packages of another version
made 0 'data/minilm-384$' minilm-384
asked 1 'install.*--no-deps'
asked 1 'make_sentences.py minilm-384 '
mkdir -p "$tmp/cache/kith/data/wink-100"
echo '{"metric": "angular"}' >"$tmp/cache/kith/data/wink-100/meta.json"
made 0 'data/words-ip$' words-ip
asked 1 'make_words.py words-ip .*data/words-ip .*data/wink-100$'
exit $failed
