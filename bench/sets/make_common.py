"""make_common.py - what the data set makers share: packages, queries, ground truth, files.

Place: bench, beside make_*.py, which annbench runs in a Python environment of its own.
Everything is deterministic: fixed seeds, sorted names, ties by id.
"""

import hashlib
import json
import os
import subprocess
import sys
import time

import numpy as np

QUERIES = 1000
TRUTH = 100
SEED = 1


def fail(text):
    sys.stderr.write(text + "\n")
    sys.exit(1)


class Progress:
    """Says on stderr how far a step is, every ten seconds at most."""

    def __init__(self, what, total):
        self.what, self.total = what, total
        self.start = self.said = time.monotonic()

    def at(self, done):
        now = time.monotonic()
        if now - self.said < 10 and done < self.total:
            return
        self.said = now
        spent = now - self.start
        left = spent / max(done, 1) * (self.total - done)
        sys.stderr.write(f"{self.what}: {done:,} of {self.total:,}, {spent:.0f} s, "
                         f"about {left:.0f} s left\n")
        sys.stderr.flush()


def unpack_debs(packages, folder):
    """Fetches Debian packages and unpacks them under folder, without installing anything.

    packages: {name: (version, sha256)} as the published figures used them.  Debian may serve a
    later version; that is said, as the vectors may then differ a little.
    """
    os.makedirs(folder, exist_ok=True)
    names = sorted(packages)
    sys.stderr.write(f"fetching {', '.join(names)} ...\n")
    try:
        got = subprocess.run(["apt-get", "download", "-qq", *names], cwd=folder,
                             capture_output=True, text=True, check=False)
    except FileNotFoundError:
        fail("apt-get is not there: this data set is made from Debian packages")
    if got.returncode:
        fail("apt-get could not fetch the packages (after apt-get update?):\n" + got.stderr)
    root = os.path.join(folder, "root")
    for deb in sorted(n for n in os.listdir(folder) if n.endswith(".deb")):
        path = os.path.join(folder, deb)
        with open(path, "rb") as f:
            digest = hashlib.sha256(f.read()).hexdigest()
        version, known = packages[deb.split("_")[0]]
        if digest != known:
            sys.stderr.write(f"{deb}: not the file of version {version} that the published "
                             "figures were made from; the vectors may differ a little\n")
        subprocess.run(["dpkg-deb", "-x", path, root], check=True)
        os.unlink(path)
    return root


def unique_rows(rows):
    """The rows without exact duplicates, the first of each kept, in their order."""
    rows = np.ascontiguousarray(rows)
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    first = np.sort(np.unique(keys, return_index=True)[1])
    return rows[first]


def hold_out(rows, count=QUERIES):
    """(base, queries): count rows drawn without replacement."""
    picked = np.sort(np.random.RandomState(SEED).permutation(len(rows))[:count])
    mask = np.ones(len(rows), bool)
    mask[picked] = False
    return rows[mask], rows[picked]


def distances(metric, base, query):
    """Exact distances in double precision, smaller is nearer."""
    base, query = base.astype(np.float64), query.astype(np.float64)
    if metric == "l2":
        return ((base - query) ** 2).sum(1)
    dots = base @ query
    if metric == "angular":
        dots /= np.linalg.norm(base, axis=1) * np.linalg.norm(query)
    return -dots


def truth(metric, base, queries):
    """The TRUTH nearest ids of every query: a float pass finds candidates, doubles order them."""
    spare = 2 * TRUTH
    if metric == "angular":
        side = 1 / np.maximum(np.linalg.norm(base, axis=1), 1e-30)
    elif metric == "l2":
        side = np.einsum("ij,ij->i", base, base) / 2
    out = np.empty((len(queries), TRUTH), np.int32)
    progress = Progress("ground truth", len(queries))
    for at in range(0, len(queries), 100):
        dots = queries[at:at + 100] @ base.T
        if metric == "angular":
            dots *= side
        elif metric == "l2":
            dots -= side
        near = np.argpartition(-dots, spare, axis=1)[:, :spare]
        for i, ids in enumerate(near):
            exact = distances(metric, base[ids], queries[at + i])
            out[at + i] = ids[np.lexsort((ids, exact))[:TRUTH]]
        progress.at(at + len(near))
    return out


def save(folder, name, metric, base, queries, source):
    """Writes the set; meta.json comes last, as it is what says that the set is whole."""
    base = np.ascontiguousarray(base, np.float32)
    queries = np.ascontiguousarray(queries, np.float32)
    np.save(os.path.join(folder, "base.npy"), base)
    np.save(os.path.join(folder, "query.npy"), queries)
    np.save(os.path.join(folder, "gt.npy"), truth(metric, base, queries))
    meta = {"name": name, "metric": metric, "n": len(base), "dim": base.shape[1],
            "source": source}
    part = os.path.join(folder, "meta.json.part")
    with open(part, "w", encoding="utf-8") as f:
        json.dump(meta, f, indent=1)
    os.replace(part, os.path.join(folder, "meta.json"))
