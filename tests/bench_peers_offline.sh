#!/usr/bin/env bash
# Without a network `annbench peers` says so, names its log and exits with 6.
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
"$bench" peers synthetic:n=200,d=8 >"$tmp/out" 2>"$tmp/err"
got=$?
if [ $got != 6 ] || ! grep -q 'pip could not fetch' "$tmp/err" || [ -s "$tmp/out" ]; then
    echo "FAIL: exit $got: $(cat "$tmp/err")"
    exit 1
fi
log=$(sed -n 's/.*; see //p' "$tmp/err")
[ -s "$log" ] || { echo "FAIL: no log at \"$log\""; exit 1; }
echo ok
