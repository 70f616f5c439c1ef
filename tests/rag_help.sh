#!/bin/bash
# Every command of rag has a usage line and an example in its --help; every option it prints is in
# the man page and is completed; what is mistyped gets exit 2 and a suggestion.
set -u
: "${top_srcdir:=$(dirname "$0")/..}" "${top_builddir:=.}"
rag=$top_builddir/rag/rag
page=$top_srcdir/docs/man/rag.1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME=$work XDG_CONFIG_HOME=$work/config
unset RAG_STORE RAG_CONFIG RAG_EMBEDDER RAG_CHAT_MODEL
failed=0

fail()
{
    echo "FAIL: $*"
    failed=1
}

# usage_error WANTED ARGUMENT...: exit 2, nothing on standard output, WANTED on standard error.
usage_error()
{
    local want=$1 out status
    shift
    out=$("$rag" "$@" 2>"$work/err")
    status=$?
    [ $status -eq 2 ] || fail "rag $*: exit $status, not 2"
    [ -z "$out" ] || fail "rag $*: standard output: $out"
    grep -qF -e "$want" "$work/err" || fail "rag $*: no '$want' in: $(cat "$work/err")"
}

commands=$("$rag" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
[ "$(echo "$commands" | wc -w)" -eq 23 ] || fail "23 commands, not: $commands"
man_text=$(sed 's/\\-/-/g; s/\\f[BIR]//g' "$page")

for c in $commands; do
    help=$("$rag" "$c" --help) || fail "rag $c --help: exit $?"
    [ "$help" = "$("$rag" help "$c")" ] || fail "rag help $c differs from rag $c --help"
    echo "$help" | grep -q "^Usage: rag $c " || fail "$c: no usage line"
    echo "$help" | grep -q "^  rag $c" || fail "$c: no example"
    echo "$help" | awk 'length($0) > 80 { exit 1 }' || fail "$c: --help is wider than 80 columns"
    echo "$man_text" | grep -q "^rag $c " || fail "$c: not in the synopsis of the man page"
    completed=$("$rag" --complete "$c" --)
    for option in $(echo "$help" | grep -oE '^  (-.,|   ) --[a-z0-9-]+' | grep -oE -- '--[a-z0-9-]+'); do
        echo "$man_text" | grep -qE -- "^(-., )?$option( |\$)" || fail "$option is not in the man page"
        echo "$completed" | grep -qxF -- "$option" || fail "rag $c: $option is not completed"
    done
done
all_help=$(for c in $commands; do "$rag" "$c" --help; done)
for option in $(echo "$man_text" | grep -E '^(-., )?--[a-z0-9-]+( |$)' | grep -oE -- '--[a-z0-9-]+'); do
    echo "$all_help" | grep -qE -- " $option( |\$)" || fail "man page: no command has $option"
done

"$rag" --version | grep -q '^rag (kith) [0-9]' || fail "--version: $("$rag" --version)"
cd "$work" || exit 1
rag=$(cd "$OLDPWD" && cd "$top_builddir" && pwd)/rag/rag
usage_error "a command is needed"
usage_error "did you mean 'search'?" serach x
usage_error "did you mean --where?" search x --wher a=b
usage_error "search needs QUERY" search
usage_error "status has no option --mode" status --mode text
usage_error "--mode fuzzy: must be one of" search x --mode fuzzy
usage_error "--k 0: must be a number" search x -k 0
usage_error "'x7' is no passage" similar x7
usage_error "rm needs a source" rm
usage_error "export takes vectors or nothing" export vektors
usage_error "options of export vectors" export --of words
usage_error "export vectors has no option --vectors" export vectors --vectors
usage_error "config takes get" config get
usage_error "no setting is called 'colour'" config set colour red
usage_error "is a key: rag keys set" config set openai.api_key sk-1
usage_error "no server is called 'bank'" keys set bank
[ ! -e "$work/config" ] || fail "a refused setting left a file"

[ "$("$rag" --complete se | grep -c '^search$')" = 1 ] || fail "commands are not completed"
[ "$("$rag" --complete search x --mode "" | head -1)" = hybrid ] || fail "values are not completed"
[ "$("$rag" --complete export --format "" | head -1)" = npy ] || fail "values of another command are completed"
cd - >/dev/null || exit 1
bash -n "$top_srcdir/completion/rag.bash" || fail "completion/rag.bash is no bash"
[ "$("$rag" completion bash)" = "$(tail -n +2 "$top_srcdir/completion/rag.bash")" ] ||
    fail "rag completion bash is not completion/rag.bash"
exit $failed
