#!/usr/bin/env bash
# Without a network `annbench peers` says so, names its log and exits with 6; kith alone needs
# none, and names that peers.json does not know are refused before anything is fetched.
set -uo pipefail

bench=${top_builddir:?run by make check}/bench/annbench
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export XDG_CACHE_HOME=$tmp/cache HOME=$tmp
# Nothing listens on the discard port of this machine, so every fetch is refused at once.
export PIP_INDEX_URL=http://127.0.0.1:9/simple PIP_NO_CACHE_DIR=1 PIP_RETRIES=0
unset PIP_EXTRA_INDEX_URL PIP_FIND_LINKS
export PIP_CONFIG_FILE=/dev/null

if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    echo "no Python environments here"
    exit 77
fi
"$bench" peers synthetic:n=200,d=8 --peers hnswlib,nonsense >"$tmp/out" 2>"$tmp/err"
got=$?
if [ $got != 1 ] || ! grep -q '"nonsense" is none of the peers' "$tmp/err"; then
    echo "FAIL: an unknown peer: exit $got: $(cat "$tmp/err")"
    exit 1
fi
if ! "$bench" peers synthetic:n=2000,d=16,queries=100 --peers none --specs hnsw,m=8 \
    --specs hnsw,m=16 --rounds 2 --seconds 0.01 --json - >"$tmp/out" 2>"$tmp/err" ||
    ! grep -q '"index":"hnsw,m=8".*"at_recall":0.99' "$tmp/out" ||
    ! grep -q '"index":"hnsw,m=16".*"qps_low":' "$tmp/out"; then
    echo "FAIL: kith alone: $(cat "$tmp/err" "$tmp/out")"
    exit 1
fi
# In batches, and every effort on all queries instead of the best at a recall.
if ! "$bench" peers synthetic:n=2000,d=16,queries=100 --peers none --specs hnsw,m=8 --batch \
    --rounds 2 --seconds 0.01 >"$tmp/out" 2>"$tmp/err" ||
    ! grep -q ' 50 queries, .* in batches of 100$' "$tmp/out"; then
    echo "FAIL: in batches: $(cat "$tmp/err" "$tmp/out")"
    exit 1
fi
if ! "$bench" peers synthetic:n=2000,d=16,queries=100 --peers none --specs hnsw,m=8 --sweep \
    --effort 1,16 --rounds 2 --seconds 0.01 --json - >"$tmp/out" 2>"$tmp/err" ||
    [ "$(grep -c '"effort":' "$tmp/out")" != 2 ]; then
    echo "FAIL: a sweep: $(cat "$tmp/err" "$tmp/out")"
    exit 1
fi
"$bench" peers synthetic:n=200,d=8 >"$tmp/out" 2>"$tmp/err"
got=$?
if [ $got != 6 ] || ! grep -q 'pip could not fetch' "$tmp/err" || [ -s "$tmp/out" ]; then
    echo "FAIL: exit $got: $(cat "$tmp/err")"
    exit 1
fi
log=$(sed -n 's/.*; see //p' "$tmp/err")
[ -s "$log" ] || { echo "FAIL: no log at \"$log\""; exit 1; }
echo ok
