#!/usr/bin/env python3
"""A reader of kith files written from docs/format.md: prints the sections, or says what is wrong.

With the xxhash module it checks the checksums too."""
import struct
import sys

import msgpack

try:
    import xxhash
except ImportError:
    xxhash = None


def read(path):
    raw = open(path, "rb").read()
    file = msgpack.unpackb(raw)
    hdr, end = file["hdr"], file["end"]
    assert list(file) == ["hdr", "dir", "data", "end"] and len(hdr) == 39 and len(end) == 4
    assert struct.pack(">Q", hdr[0]) == b"KITH-ANN" and hdr[1] == 1 and hdr[3] == 0 and hdr[4] == 1
    assert hdr[7] == end[0] == len(raw) and hdr[5:7] == end[1:3] and hdr[9] == len(file["dir"])
    if xxhash:
        assert end[3] == xxhash.xxh3_64_intdigest(raw[:hdr[8]])
        assert hdr[38] == xxhash.xxh3_64_intdigest(raw[:350])
    pieces, sections = iter(file["data"]), {}
    for name, rows, row_bytes, offset, chunk_rows, sums in file["dir"]:
        chunks, at = [], offset
        for _ in range(-(-rows // chunk_rows)):
            assert not any(next(pieces))
            chunks.append(next(pieces))
            assert raw[at:at + len(chunks[-1])] == chunks[-1]
            assert at % (4096 if rows * row_bytes >= 4096 else 64) == 0
            at += chunk_rows * row_bytes + 4096
        data = b"".join(chunks)
        assert len(data) == rows * row_bytes and len(sums) == -(-len(data) // (1 << 20))
        for i, s in enumerate(sums if xxhash else []):
            assert s == xxhash.xxh3_64_intdigest(data[i << 20:(i + 1) << 20])
        sections[name] = (rows, row_bytes, data)
    assert next(pieces, None) is None
    return hdr, sections


if __name__ == "__main__":
    for name, (rows, row_bytes, data) in read(sys.argv[1])[1].items():
        print(name, rows, row_bytes, sum(data))
