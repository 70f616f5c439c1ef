#!/usr/bin/env bash
# rag eval answers against other counts of the same: Google's rouge_score, installed into a private
# environment, and SQuAD's rules and cosines in tests/answers_check.py. The environment is kept in
# the user's cache (KITH_ROUGE). Without a network the test is skipped.
set -u
: "${top_srcdir:=$(dirname "$0")/..}" "${top_builddir:=.}"
rag=$(cd "$top_builddir" && pwd)/rag/rag
check=$(cd "$top_srcdir" && pwd)/tests/answers_check.py
place=${KITH_ROUGE:-${XDG_CACHE_HOME:-$HOME/.cache}/kith/rouge}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

if ! "$place/bin/python" -c 'import rouge_score.rouge_scorer' 2>/dev/null; then
    rm -rf "$place"
    if ! mkdir -p "$(dirname "$place")" 2>pip.log || ! python3 -m venv "$place" 2>pip.log ||
        ! timeout 300 "$place/bin/python" -m pip install --quiet --disable-pip-version-check \
            rouge-score==0.1.2 2>pip.log; then
        echo "rouge_score could not be installed: $(tail -1 pip.log)"
        rm -rf "$place"
        exit 77
    fi
fi
python=$place/bin/python
unset RAG_STORE RAG_CONFIG RAG_EMBEDDER RAG_CHAT_MODEL
export LC_ALL=C.UTF-8 HOME=$work XDG_CONFIG_HOME=$work/config NO_COLOR=1
failed=0

mkdir made
"$python" "$check" make made || exit 1
"$rag" -q eval answers --queries made/queries.jsonl --answers made/answers.jsonl --json --each >figures ||
    { echo "FAIL: rag eval answers: $?"; failed=1; }
head -200 made/queries.jsonl >some.jsonl
head -200 made/answers.jsonl >given.jsonl
"$rag" -q eval answers --queries some.jsonl --answers given.jsonl --json --each >few ||
    { echo "FAIL: rag eval answers of some: $?"; failed=1; }
"$rag" -q embed - --lines --embedder static:english-v1 <made/texts >vectors ||
    { echo "FAIL: rag embed: $?"; failed=1; }
"$python" "$check" check made figures few vectors || failed=1
# The comparison itself can fail: a figure that is a little off is told.
sed '9s/"rouge_l":\([^,]*\),/"rouge_l":1\1,/' few >off
if "$python" "$check" check made off few vectors >/dev/null; then
    echo "FAIL: a wrong figure went unseen"
    failed=1
fi
exit $failed
