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
exit $failed
