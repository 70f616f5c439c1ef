#!/usr/bin/env bash
# rag eval retrieval against trec_eval itself: pytrec_eval (a build of it for Python) is installed into
# a private environment (KITH_TREC, default ~/.cache/kith/trec; 240 MB) and must give the same figures,
# for every question to 1e-6, on a made collection with grades, ties and holes, and on each folder named
# in KITH_COLLECTIONS (with blanks between). Where it cannot be installed the test is skipped.
set -u
: "${top_srcdir:=$(dirname "$0")/..}" "${top_builddir:=.}"
rag=$(cd "$top_builddir" && pwd)/rag/rag
source=$(cd "$top_srcdir" && pwd)
place=${KITH_TREC:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/kith/trec}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
unset RAG_STORE RAG_CONFIG RAG_EMBEDDER RAG_CHAT_MODEL
export LC_ALL=C.UTF-8 HOME=$work XDG_CONFIG_HOME=$work/config NO_COLOR=1
failed=0

# Made beside its place and then moved there, so that what is there is whole. It works where it is
# moved to, for only its python is called.
if ! "$place/bin/python" -c 'import pytrec_eval' 2>/dev/null; then
    if ! { mkdir -p "${place%/*}" && python3 -m venv "$place.$$" &&
        timeout 300 "$place.$$/bin/python" -m pip install --quiet --disable-pip-version-check \
            pytrec-eval-terrier==0.5.11 && rm -rf "$place" && mv "$place.$$" "$place" &&
        "$place/bin/python" -c 'import pytrec_eval'; } 2>pip.log; then
        echo "pytrec_eval could not be installed: $(tail -1 pip.log)"
        rm -rf "$place.$$"
        exit 77
    fi
fi
python=$place/bin/python

# judge FOLDER ARGUMENT...: its own searches.
judge()
{
    local folder=$1 qrels mode
    shift
    qrels=$folder/qrels.tsv
    [ -e "$qrels" ] || qrels=$folder/qrels/test.tsv
    "$rag" -q eval retrieval "$folder" --modes text,static,fast --json --each \
        --run-out "run-{}" "$@" >figures || { echo "FAIL: rag eval retrieval $folder: $?"; failed=1; }
    for mode in text static fast; do
        "$python" "$source/tests/trec_check.py" figures "$qrels" "run-$mode" $mode || failed=1
    done
}

# A collection, and a run of another system with ties, scores that only doubles tell apart, ranks
# that lie, documents nobody judged, and questions without an answer.
mkdir made
"$python" - <<'PY' || exit 1
import json, random
rnd = random.Random(5)
words = ["w%d" % i for i in range(300)]
docs = [" ".join(rnd.choices(words[:40 + i], k=60)) for i in range(260)]
with open("made/corpus.jsonl", "w") as f:
    for i, d in enumerate(docs):
        f.write(json.dumps({"_id": f"d{i}", "title": words[i % 300], "text": d}) + "\n")
with open("made/queries.jsonl", "w") as f:
    for q in range(60):
        f.write(json.dumps({"_id": f"q{q}", "text": " ".join(rnd.choices(words, k=4))}) + "\n")
with open("made/qrels.tsv", "w") as f:
    f.write("query-id\tcorpus-id\tscore\n")
    for q in range(50):
        for d in rnd.sample(range(260), rnd.randint(1, 40)):
            f.write(f"q{q}\td{d}\t{rnd.choice([-1, 0, 0, 1, 1, 2, 3]) if q else 0}\n")
with open("other", "w") as f:
    for q in range(3, 60):
        for r, d in enumerate(rnd.sample(range(300), rnd.randint(1, 150))):
            score = rnd.choice([0.5, 0.25, rnd.random(), 0.5 + 1e-12, -3])
            f.write(f"q{q}\tQ0 d{d} {r} {score!r} other\n")
PY
judge made
"$rag" -q eval retrieval --queries made/queries.jsonl --qrels made/qrels.tsv --run other --json --each >figures ||
    { echo "FAIL: --run: $?"; failed=1; }
"$python" "$source/tests/trec_check.py" figures made/qrels.tsv other other || failed=1
# The comparison itself can fail: a run with one pair of documents exchanged is told.
sed 's/ d1 / dX /; s/ d2 / d1 /; s/ dX / d2 /' other >changed
if "$python" "$source/tests/trec_check.py" figures made/qrels.tsv changed other >/dev/null; then
    echo "FAIL: an exchange went unseen"
    failed=1
fi
for folder in ${KITH_COLLECTIONS:-}; do
    judge "$folder"
done
exit $failed
