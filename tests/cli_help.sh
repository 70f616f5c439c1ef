#!/bin/bash
# Every command's --help has a usage line and an example; every option it prints is in the man page
# and is completed; what is mistyped gets exit 2 and a suggestion.
set -u
: "${top_srcdir:=$(dirname "$0")/..}" "${top_builddir:=.}"
ann=$top_builddir/ann/ann
page=$top_srcdir/docs/man/ann.1
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
    out=$("$ann" "$@" 2>/tmp/kith-help-$$)
    status=$?
    [ $status -eq 2 ] || fail "ann $*: exit $status, not 2"
    [ -z "$out" ] || fail "ann $*: standard output: $out"
    grep -qF -e "$want" /tmp/kith-help-$$ || fail "ann $*: no '$want' in: $(cat /tmp/kith-help-$$)"
    rm -f /tmp/kith-help-$$
}

commands=$("$ann" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
[ "$(echo "$commands" | wc -w)" -eq 12 ] || fail "12 commands, not: $commands"
man_text=$(sed 's/\\-/-/g; s/\\fB//g; s/\\fR//g' "$page")

for c in $commands; do
    help=$("$ann" "$c" --help) || fail "ann $c --help: exit $?"
    [ "$help" = "$("$ann" help "$c")" ] || fail "ann help $c differs from ann $c --help"
    echo "$help" | grep -q "^Usage: ann $c " || fail "$c: no usage line"
    echo "$help" | grep -q "^  ann $c " || fail "$c: no example"
    echo "$help" | awk 'length($0) > 80 { exit 1 }' || fail "$c: --help is wider than 80 columns"
    echo "$man_text" | grep -q "^ann $c " || fail "$c: not in the synopsis of the man page"
    completed=$("$ann" --complete "$c" --)
    for option in $(echo "$help" | grep -oE '^  (-.,|   ) --[a-z-]+' | grep -oE -- '--[a-z-]+'); do
        # In the man page an option is a paragraph of its own.
        echo "$man_text" | grep -qE -- "^(-., )?$option( |\$)" || fail "$option is not in the man page"
        echo "$completed" | grep -qxF -- "$option" || fail "ann $c: $option is not completed"
    done
    for option in threads max-memory quiet help version; do
        echo "$help" | grep -qE -- " --$option( |\$)" || fail "ann $c has no --$option"
    done
done
# And the other way round: the man page has no option that no command has.
all_help=$(for c in $commands; do "$ann" "$c" --help; done)
for option in $(echo "$man_text" | grep -E '^(-., )?--[a-z-]+( |$)' | grep -oE -- '--[a-z-]+'); do
    echo "$all_help" | grep -qE -- " $option( |\$)" || fail "man page: no command has $option"
done

KITH_ISA=vax KITH_PREFETCH=l9 "$ann" --version 2>&1 >/dev/null |
    grep -q '^ann: KITH_PREFETCH=l9 is neither .* KITH_ISA=vax is none of' || fail "no word of KITH_ISA=vax"
"$ann" --version | grep -q '^ann (kith) [0-9]' || fail "--version: $("$ann" --version)"
usage_error "a command is needed"
usage_error "did you mean 'search'?" serach x y
usage_error "did you mean 'build'?" buld x
usage_error "no command 'xyzzy'" xyzzy
usage_error "did you mean --metric?" build x --metrik l2
usage_error "did you mean --threads?" search x y --thread 2
usage_error "info has no option --metric" info x --metric l2
usage_error "no option -z" info -z x
usage_error "search needs INDEX QUERIES" search x
usage_error "what is 'three'?" search one two three
usage_error "--k 0: must be a number from 1" search a b -k 0
usage_error "--k ten: must be" search a b --k=ten
usage_error "--metric cosin: must be one of" build a -o b --metric cosin
usage_error "--max-memory much" build a -o b --max-memory much
usage_error "--spec needs a value" build a -o b --spec
usage_error "--quiet takes no value" build a -o b --quiet=yes
usage_error "no such kind: tree" build "$page" -o b --spec tree
usage_error "no such key: q" build "$page" -o b --spec hnsw,q=1
usage_error "m=1 is not in 2..512" build "$page" -o b --spec hnsw,m=1
usage_error "build needs --output" build "$page"
usage_error "update needs --ids" update a b
usage_error "remove needs ids" remove a
usage_error "'x7' is no id" remove a x7
usage_error "--profile slow: must be one of" build a -o b --profile slow
usage_error "--codes 9bit: must be one of" build a -o b --codes 9bit
usage_error "--queries goes with --calibrate" build a -o b --queries q
usage_error "--recall and --effort exclude" search a b --recall 0.9 --effort 10
usage_error "--recall 0: must be above 0" recall a b --recall 0
usage_error "--recall 1.5: must be above 0, at most 1" search a b --recall 1.5
usage_error "calibrate needs INDEX" calibrate
usage_error "--radius and -k exclude" search a b -k 3 --radius 1
usage_error "with --radius rows differ" search a b --radius 1 --format npy
usage_error "--distances goes with" search a b --distances d.npy
usage_error "raw data needs --dim and --type" convert a.raw b.npy
usage_error "--from raw needs --dim and --type" build a -o b --from raw

[ "$("$ann" --complete se | grep -c '^search$')" = 1 ] || fail "commands are not completed"
[ "$("$ann" --complete build x --metric "" | tr '\n' ' ')" = "l2 ip cosine hamming " ] ||
    fail "the values of --metric are not completed"
[ -z "$("$ann" --complete build "")" ] || fail "a file name is left to the shell"
bash -n "$top_srcdir/completion/ann.bash" || fail "completion/ann.bash is no bash"
got=$(bash -c ". '$top_srcdir/completion/ann.bash'
    COMP_WORDS=('$ann' search x y --eff); COMP_CWORD=4; _ann; echo \"\${COMPREPLY[*]}\"")
[ "$got" = "--effort" ] || fail "bash completes --eff to '$got'"

exit $failed
