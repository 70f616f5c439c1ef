#!/usr/bin/env bash
# rag is killed before a call that changes a file, at every such call of a run (here every
# KITH_KILL_STEP-th; 1 in "make soak"); then the store must be sound, hold every document that
# had been told as added, and the same command must finish the work.
set -eu
: "${top_srcdir:?run by make check}" "${top_builddir:?run by make check}"
# A preloaded library and a sanitizer's runtime do not go together.
[ -z "${SANITIZE_FLAGS-}${COVERAGE_FLAGS-}" ] || exit 77
rag=$(cd "$top_builddir" && pwd)/rag/rag
step=${KITH_KILL_STEP:-17}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
${CC:-cc} -shared -fPIC -o "$work/killpoint.so" "$top_srcdir/tests/killpoint.c" -ldl
cd "$work"
unset RAG_STORE RAG_EMBEDDER RAG_CHAT_MODEL
export LC_ALL=C HOME=$work XDG_CONFIG_HOME=$work/none

# More files than one transaction takes.
mkdir docs
for i in $(seq 1 540); do printf '# Title %s\n\nText of number %s about things.\n' "$i" "$i" >"docs/$i.md"; done

# scenario NAME COMMAND...: COMMAND is run whole once, then killed at each point, on a copy of
# ./base (which may be missing).
points=0
scenario() {
    local name=$1 n at total status
    shift
    rm -rf .rag
    [ ! -d base ] || cp -r base .rag
    KILL_LOG=$work/calls LD_PRELOAD=$work/killpoint.so "$@" >whole 2>&1 || {
        cat whole
        exit 1
    }
    total=$("$rag" ls 2>/dev/null | wc -l)
    n=$(cat calls)
    [ "$n" -gt 20 ] || { echo "$name: only $n write points were seen"; exit 1; }
    for ((at = 1; at <= n; at += at < 40 ? (step + 4) / 5 : step)); do
        points=$((points + 1))
        rm -rf .rag
        [ ! -d base ] || cp -r base .rag
        status=0
        # The shell's own word on it is not wanted.
        { KILL_AT=$at LD_PRELOAD=$work/killpoint.so "$@" >told 2>err || status=$?; } 2>/dev/null
        [ $status -eq 137 ] || { echo "$name $at/$n: not killed but $status"; cat err; exit 1; }
        # Before the schema is committed there is nothing to verify.
        if "$rag" status >/dev/null 2>&1; then
            "$rag" verify >out 2>&1 || { echo "$name $at/$n: not sound"; cat out; exit 1; }
            "$rag" ls 2>/dev/null | grep -o '"source":"[^"]*"' | sort >there
            { cat before 2>/dev/null; sed -n 's/^{"event":"\(added\|replaced\)",\("source":"[^"]*"\).*/\2/p' told; } |
                sort -u >acknowledged
            lost=$(comm -23 acknowledged there)
            [ -z "$lost" ] || { echo "$name $at/$n: lost $lost"; exit 1; }
        elif grep -q '"event":"added"' told; then
            echo "$name $at/$n: the store is gone"
            exit 1
        fi
        "$@" >out 2>&1 || { echo "$name $at/$n: cannot be finished"; cat out; exit 1; }
        [ "$("$rag" ls | wc -l)" -eq "$total" ] || { echo "$name $at/$n: another result"; exit 1; }
        "$rag" verify >out 2>&1 || { echo "$name $at/$n: not sound in the end"; cat out; exit 1; }
    done
}

scenario "first add" "$rag" add docs --json
rm -rf .rag
"$rag" -q add docs
cp -r .rag base
"$rag" ls | grep -o '"source":"[^"]*"' | sort >before
for i in $(seq 1 60); do echo "changed" >>"docs/$i.md"; done
scenario "refresh" "$rag" add docs --json
scenario "reindex" "$rag" reindex
echo "$points write points"
