#!/usr/bin/env bash
# The law of dependencies (docs/ARCHITECTURE.md), the one owner of each outside library, and the
# words that may not stand in the tree. First each rule is broken once in a made-up tree and must
# be seen to fail there; then the real tree must pass.
set -eu
top=${top_srcdir:-$(cd "$(dirname "$0")/.." && pwd)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Which folders a folder may include, by its path; "-" is ann/ann.h alone (which all may see).
cat >"$work/law" <<'LAW'
ann/kernels ann/kernels
ann/base    ann/base
ann/search  ann/search ann/base ann/kernels ann/vectors ann/file ann/codec
ann/codec   ann/codec ann/base ann/kernels
ann/vectors ann/vectors ann/base ann/kernels ann/codec
ann/file    ann/file ann/base ann/kernels
ann/flat    ann/flat ann/base ann/kernels ann/search ann/vectors ann/file
ann/hnsw    ann/hnsw ann/base ann/kernels ann/search ann/vectors ann/file ann/codec
ann/ivfpq   ann/ivfpq ann/base ann/kernels ann/search ann/vectors ann/file ann/codec
ann         ann ann/base ann/kernels ann/search ann/vectors ann/file ann/codec ann/flat ann/hnsw ann/ivfpq
ann/io      ann/io ann/base
ann/cli     ann/cli ann/io ann/base ann/kernels
bench       bench ann/io ann/base ann/kernels
rag         rag rag/eval rag/text rag/embed rag/store rag/retrieve rag/answer rag/net ann/base ann/io
rag/net     rag/net rag ann/base ann/io
rag/text    rag/text rag ann/base ann/io
rag/embed   rag/embed rag/net rag/text rag ann/base ann/io ann/kernels
rag/store   rag/store rag/embed rag/text rag ann/base ann/io ann/kernels
rag/retrieve rag/retrieve rag/store rag/embed rag/text rag/net rag ann/base ann/io ann/kernels
rag/answer  rag/answer rag/net rag/text rag ann/base ann/io
rag/eval    rag/eval rag rag/answer rag/text rag/store rag/embed rag/retrieve rag/net ann/base ann/io ann/kernels
rag/cli     rag/cli ann/io ann/base
docs/examples -
LAW

# header, then the only files (a pattern) that may include it.
cat >"$work/owners" <<'OWNERS'
^(cblas|lapacke?|f77blas)\.h$ ^ann/base/blas\.c$
^msgpack(\.h|/) ^ann/base/wire\.c$
^jansson\.h$ ^ann/io/json\.c$
^(hdf5|H5[A-Za-z]+)\.h$ ^ann/io/hdf5\.c$
^xxhash\.h$ ^ann/file/checksum\.c$
^curl/ ^rag/net/
^sqlite3(ext)?\.h$ ^rag/store/
^(cmark|cmark-gfm|cmark-gfm-[a-z-]+|registry|parser)\.h$ ^rag/text/markdown\.c$
^utf8proc\.h$ ^rag/text/unicode\.c$
^gumbo\.h$ ^rag/text/html\.c$
^nettle/ ^rag/digest\.c$
^([a-z]+intrin|arm_neon|cpuid)\.h$ ^ann/kernels/[a-z0-9_]+\.[ch]$
OWNERS

# includes ROOT: "file header" for each #include, with paths from the root.
includes() {
    (cd "$1" && find ann rag bench docs/examples -name '*.[ch]' 2>/dev/null | sort |
        while read -r f; do
            sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*([<"])([^>"]+)[>"].*/\1 \2/p' "$f" |
                while read -r kind header; do
                    if [ "$kind" = '"' ] && [ -e "${f%/*}/$header" ]; then header=${f%/*}/$header; fi
                    echo "$f $header"
                done
        done)
}

# strip: C source without comments and without what stands in strings, line numbers kept.
strip() {
    awk '{
        line = $0; out = ""
        while (line != "") {
            if (inside) {
                i = index(line, "*/")
                if (!i) { line = ""; break }
                line = substr(line, i + 2); inside = 0; continue
            }
            if (match(line, /"([^"\\]|\\.)*"|\047([^\047\\]|\\.)*\047|\/\*|\/\//)) {
                tok = substr(line, RSTART, 2)
                out = out substr(line, 1, RSTART - 1)
                if (tok == "//") { line = ""; break }
                if (tok == "/*") { line = substr(line, RSTART + 2); inside = 1; continue }
                out = out "\"\""; line = substr(line, RSTART + RLENGTH); continue
            }
            out = out line; line = ""
        }
        print out
    }' "$1"
}

# found RULE PATTERN FILE...: a line for each place in the code (not in comments or strings).
found() {
    local rule=$1 pattern=$2 f
    shift 2
    for f; do
        strip "$f" | grep -nE "$pattern" | sed "s|^|$rule: $f:|" || true
    done
}

# check_tree ROOT: prints what breaks a rule, a line each, beginning with the rule's name.
check_tree() {
    local root=$1 files library
    includes "$root" >"$work/includes"

    awk -v law="$work/law" '
        BEGIN { while ((getline line < law) > 0) { n = split(line, w, " ")
                    for (i = 2; i <= n; i++) may[w[1], w[i]] = 1; known[w[1]] = 1 } }
        { from = $1; sub(/\/[^\/]*$/, "", from); to = $2
          if (to == "ann/ann.h" || to == "rag/rag.h" || to !~ /^(ann|bench|tests|rag)\//) next
          sub(/\/[^\/]*$/, "", to)
          if (!(from in known)) print "layers: " $1 " lies in a folder the law does not know"
          else if (!((from, to) in may)) print "layers: " $1 " includes " $2 }
    ' "$work/includes"

    awk -v owners="$work/owners" '
        BEGIN { while ((getline line < owners) > 0) { split(line, w, " "); n++
                    header[n] = w[1]; owner[n] = w[2] } }
        { for (i = 1; i <= n; i++) if ($2 ~ header[i] && $1 !~ owner[i])
              print "owner: " $1 " includes " $2 }
    ' "$work/includes"

    # The public header stands alone: C only, and nothing of the build.
    awk '($1 == "ann/ann.h" || $1 == "rag/rag.h") && $2 !~ /^std(def|int|bool)\.h$/ { print "public: " $1 " includes " $2 }
         $1 ~ /\.h$/ && $2 == "config.h" { print "config: " $1 " includes config.h" }
    ' "$work/includes"

    cd "$root"
    # Each .c begins with config.h, so that all see the same feature macros. Examples are what a
    # user would write.
    find ann rag bench -name '*.c' 2>/dev/null | sort | while read -r f; do
        [ "$(awk -v f="$f" '$1 == f { print $2; exit }' "$work/includes")" = config.h ] ||
            echo "config: $f does not include config.h first"
    done

    mapfile -t files < <(find ann rag bench tests docs/examples -name '*.[ch]' 2>/dev/null | sort)
    found banned '(^|[^A-Za-z0-9_])(strcpy|strcat|stpcpy|sprintf|vsprintf|gets|strtok|atoi|atol|atof|alloca)[[:space:]]*\(' "${files[@]}"
    mapfile -t library < <(printf '%s\n' "${files[@]}" | grep -E '^(ann|rag)/' |
        grep -vE '^(ann/(cli|io)|rag/cli)/' || true)
    if [ ${#library[@]} -gt 0 ]; then
        # pdf.c's child, between fork and exec, ends by _exit.
        found quiet '(^|[^A-Za-z0-9_.>])(abort|exit|_exit|printf|puts|putchar|perror)[[:space:]]*\(|std(out|err)([^A-Za-z0-9_]|$)' "${library[@]}" |
            { grep -v '^quiet: rag/text/pdf\.c:.*_exit(127);$' || true; }
    fi

    # make check runs only one of two tests whose results go to one file.
    cat /dev/null tests/*.mk 2>/dev/null | sed "s/#.*//" | grep -oE 'tests/[A-Za-z0-9_/-]+\.(test|sh|py)' | sort -u |
        sed 's/\.[a-z]*$//' | uniq -d | sed 's/$/: two tests of that name/; s/^/log: /' || true

    find . \( -path ./.git -o -path './build*' -o -path ./autom4te.cache -o -path ./m4 \) -prune -o \
        -type f \( -name '*.[ch]' -o -name '*.sh' -o -name '*.py' -o -name '*.mk' -o -name '*.md' -o \
        -name configure.ac -o -name Makefile.am -o -name quickstart \) -print |
        grep -v '^./tests/layers\.sh$' | sort >"$work/all"
    xargs -r grep -nE '(^|[^A-Za-z])(T[O]DO|F[I]XME|X[X]X)([^A-Za-z]|$)' <"$work/all" | sed 's/^/unfinished: /' || true
    xargs -r grep -nE '^(<{7}|>{7}) ' <"$work/all" | sed 's/^/unfinished: /' || true
    cd - >/dev/null
}

# --- each rule, broken once ---------------------------------------------------------------------

fails=0
# breaks RULE FILE TEXT: a tree with just that file must break just that rule.
breaks() {
    local root=$work/broken seen
    rm -rf "$root"
    mkdir -p "$root/ann" "$root/$(dirname "$2")"
    printf '%s\n' "$3" >"$root/$2"
    seen=$(check_tree "$root" | cut -d: -f1 | sort -u | tr '\n' ' ')
    if [ "$seen" != "${1:+$1 }" ]; then
        echo "FAIL: breaking '${1:-nothing}' in $2 was seen as '${seen:-nothing}'"
        fails=1
    fi
}
C='#include <config.h>
'
breaks layers ann/kernels/a.c "$C#include \"ann/base/memory.h\""
breaks layers ann/base/a.c "$C#include \"ann/kernels/kernels.h\""
breaks layers ann/flat/a.c "$C#include \"ann/hnsw/hnsw.h\""
breaks layers ann/hnsw/a.c "$C#include <ann/flat/flat.h>"
breaks layers ann/search/a.c "$C#include \"ann/internal.h\""
breaks layers ann/io/a.c "$C#include \"ann/file/kfile.h\""
breaks layers ann/cli/a.c "$C#include \"ann/hnsw/hnsw.h\""
breaks layers ann/a.c "$C#include \"ann/io/io.h\""
breaks layers bench/a.c "$C  #  include \"ann/vectors/vectors.h\""
breaks layers bench/a.c "$C#include \"ann/internal.h\""
breaks layers docs/examples/a.c "#include \"ann/base/error.h\""
breaks layers ann/new/a.c "$C#include \"ann/base/error.h\""
breaks layers rag/text/a.c "$C#include \"rag/net/net.h\""
breaks layers rag/cli/a.c "$C#include \"rag/store/store.h\""
breaks layers ann/a.c "$C#include \"rag/error.h\""
breaks owner rag/embed/a.c "$C#include <curl/curl.h>"
breaks owner rag/retrieve/a.c "$C#include <sqlite3.h>"
breaks owner ann/hnsw/a.c "$C#include <cblas.h>"
breaks owner ann/file/a.c "$C#include <msgpack.h>"
breaks owner ann/cli/a.c "$C#include <jansson.h>"
breaks owner bench/a.c "$C#include <hdf5.h>"
breaks owner ann/file/a.c "$C#include <xxhash.h>"
breaks owner ann/search/a.c "$C#include <immintrin.h>"
breaks public ann/ann.h '#include <stdio.h>'
breaks config ann/base/a.c '#include <stdint.h>'
breaks config ann/base/a.h '#include <config.h>'
breaks banned ann/base/a.c "${C}int f(const char *s) { return atoi(s); }"
breaks banned bench/a.c "${C}void f(char *s) { strcpy(s, \"x\"); }"
breaks banned tests/a.c "void f(char *s) { s = strtok (s, \" \"); }"
breaks quiet ann/hnsw/a.c "${C}void f(void) { abort(); }"
breaks quiet ann/base/a.c "${C}void f(void) { fprintf(stderr, \"x\"); }"
breaks log tests/a.mk "unit_tests += tests/a.test
shell_tests += tests/a.sh"
breaks unfinished ann/base/a.h "/* T""ODO later */"
breaks unfinished docs/a.md "F""IXME"
# What is only spoken of breaks nothing.
breaks '' ann/base/a.c "$C/* never calls abort() or
 * atoi(x) */
const char *s = \"printf(\\\"gets(\";"

# --- the real tree ------------------------------------------------------------------------------

found_here=$(check_tree "$top")
if [ -n "$found_here" ]; then
    printf '%s\n' "$found_here"
    exit 1
fi
exit $fails
