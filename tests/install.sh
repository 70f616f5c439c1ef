#!/usr/bin/env bash
# make install into a scratch folder; what pkg-config says about it then builds the C example of
# README.md and those of docs/examples, and the installed programs run the commands of README.md.
set -eu
: "${top_srcdir:?run by make check}" "${top_builddir:?run by make check}"
command -v pkg-config >/dev/null || exit 77
# A sanitizer's runtime would have to be linked into the user's program too.
[ -z "${SANITIZE_FLAGS-}${COVERAGE_FLAGS-}" ] || exit 77
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
dest=$work/root

# make runs us: its jobs are not ours to take.
unset MAKEFLAGS MFLAGS MAKELEVEL
make -C "$top_builddir" install DESTDIR="$dest" >"$work/install.log" 2>&1 || {
    tail -n 30 "$work/install.log"
    exit 1
}
pc=$(find "$dest" -name kith-ann.pc)
[ -n "$pc" ] || { echo "kith-ann.pc is not installed"; exit 1; }
prefix=$dest$(sed -n 's/^prefix=//p' "$pc")
export PKG_CONFIG_PATH=${pc%/*} PKG_CONFIG_SYSROOT_DIR=$dest
libdir=$(find "$dest" -name libkith-ann.so -printf '%h')
export LD_LIBRARY_PATH=$libdir

[ "$(pkg-config --modversion kith-ann)" = "$(sed -n 's/^AC_INIT(\[kith\], \[\([^]]*\)\].*/\1/p' \
    "$top_srcdir/configure.ac")" ] || { echo "kith-ann.pc has another version"; exit 1; }

# The words of the shared object stay inside: a user links -lkith-ann and nothing else.
flags=$(pkg-config --cflags --libs kith-ann)
case $(pkg-config --libs kith-ann) in
*openblas* | *msgpack*) echo "private libraries leak to users: $flags"; exit 1 ;;
esac

# README.md: the first block marked as C.
awk '/^```c$/ && !done { on = 1; next } /^```$/ && on { on = 0; done = 1 } on' \
    "$top_srcdir/README.md" >"$work/readme.c"
[ -s "$work/readme.c" ] || { echo "no C example in README.md"; exit 1; }
cd "$work"
for source in "$work/readme.c" "$top_srcdir"/docs/examples/*.c; do
    # shellcheck disable=SC2086 # CC and flags are words
    ${CC:-cc} -std=c11 -Wall -Wextra -Werror -o "$work/example" "$source" $flags -lm
    "$work/example" >"$work/out" || { echo "$source fails"; cat "$work/out"; exit 1; }
    [ -s "$work/out" ] || { echo "$source says nothing"; exit 1; }
done

# The other library, by its own name alone.
cat >"$work/texts.c" <<'C'
#include <rag/rag.h>
#include <stdio.h>

int main(void)
{
    rag_options o = RAG_OPTIONS_INIT;
    rag_store *s = NULL;
    rag_hits *h = NULL;
    const rag_document d = {.size = sizeof d, .source = "a", .text = "a lazy dog", .bytes = 10};
    o.access = RAG_CREATE;
    if (rag_open("texts", &o, &s) || rag_add_texts(s, &d, 1, NULL, NULL) ||
        rag_search(s, "lazy dogs", NULL, &h))
        return fprintf(stderr, "%s\n", rag_error_message()), 1;
    printf("%zu: %s\n", h->n, h->hits[0].text);
    rag_hits_free(h);
    rag_close(s);
}
C
flags=$(pkg-config --cflags --libs kith-rag)
# shellcheck disable=SC2086 # CC and flags are words
${CC:-cc} -std=c11 -Wall -Wextra -Werror -o "$work/texts.bin" "$work/texts.c" $flags
[ "$("$work/texts.bin")" = "1: a lazy dog" ] || { echo "libkith-rag as installed"; exit 1; }

# The block of README.md under "On the command line", on vectors of random bytes.
npy() { # FILE ROWS COLUMNS
    local head="{'descr': '|u1', 'fortran_order': False, 'shape': ($2, $3), }"
    { printf '\223NUMPY\001\000\166\000%-117s\n' "$head"; head -c $(($2 * $3)) /dev/urandom; } >"$1"
}
npy words.npy 500 20
npy queries.npy 10 20
PATH=$prefix/bin:$PATH
awk '/^## /{ in_part = $0 == "## On the command line" }
     in_part && /^```$/ { exit } on && in_part { print } in_part && /^```sh$/ { on = 1 }' \
    "$top_srcdir/README.md" >"$work/commands"
[ -s "$work/commands" ] || { echo "no commands in README.md"; exit 1; }
while read -r command; do
    bash -c "$command" >"$work/out" 2>&1 </dev/null || {
        echo "README.md: $command"
        cat "$work/out"
        exit 1
    }
done <"$work/commands"

for program in ann annbench; do
    "$program" --version >"$work/out" || { echo "$program --version fails"; exit 1; }
    "$program" --help >"$work/out" || { echo "$program --help fails"; exit 1; }
    [ -e "$prefix/share/man/man1/$program.1" ] || { echo "no man page of $program"; exit 1; }
done
