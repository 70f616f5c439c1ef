#!/bin/bash
# A reader in another language, written from docs/format.md, reads what the library wrote, and the
# golden file, which every later version must go on reading.
set -eu
writer=$top_builddir/tests/kfile.test
[ -x "$writer" ] || { echo "no libcheck, so nothing that writes a file"; exit 77; }
python=
for p in "${PYTHON:-python3}" python3 /usr/bin/python3; do
    if "$p" -c 'import msgpack' 2>/dev/null; then
        python=$p
        break
    fi
done
[ -n "$python" ] || { echo "no Python with the msgpack module (python3-msgpack)"; exit 77; }

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
reader=$top_srcdir/tests/format_reader.py

"$writer" --write "$dir/a.kith"
"$python" "$reader" "$dir/a.kith" >"$dir/got"
cat "$dir/got"
[ "$(cut -d' ' -f1-3 "$dir/got" | tr '\n' ',')" = "ids 3 8,vectors 600 16,empty 0 4,odd 3 1," ]
[ "$(tail -n 1 "$dir/got")" = "odd 3 1 $((120 + 121 + 122))" ]

"$python" - "$top_srcdir/tests/golden_kfile.hex" "$dir/golden.kith" <<'END'
import sys
open(sys.argv[2], "wb").write(bytes.fromhex(open(sys.argv[1]).read()))
END
"$python" "$reader" "$dir/golden.kith" >"$dir/got"
cat "$dir/got"
[ "$(cut -d' ' -f1-3 "$dir/got" | tr '\n' ',')" = "ids 3 8,empty 0 4,odd 3 1," ]

# And it finds damage.
head -c -1 "$dir/a.kith" >"$dir/short.kith"
if "$python" "$reader" "$dir/short.kith" 2>/dev/null; then
    echo "the reader took a file cut short"
    exit 1
fi
