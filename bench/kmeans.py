"""k-means beside faiss: the time and the inertia at equal iterations, in turns.

    make tests/kmeans_bench
    python bench/kmeans.py --program BUILD/tests/kmeans_bench --set gauss --n 1000000 --dim 128 -k 1024

needs numpy and faiss-cpu. Sets: clusters (20 times k Gaussian clusters of unequal size and width),
gauss (the same in one), or a .npy file of rows. Both learn from the same number of rows, with
two threads unless --threads says otherwise; the inertia of both is faiss's exact search's, over
all rows, a row. Prints a line a round and the ratios of the medians; processor time is what to
compare on a machine that others use too.
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

import faiss
import numpy as np


def made(name, n, dim, k, seed):
    rng = np.random.default_rng(seed)
    if name == "gauss":
        spectrum = 1 / np.sqrt(1 + np.arange(dim) / 8)
        return (rng.standard_normal((n, dim), dtype=np.float32) * spectrum).astype(np.float32)
    count = 20 * k
    centres = rng.standard_normal((count, dim), dtype=np.float32)
    size = rng.pareto(1.5, count) + 0.1
    of = rng.choice(count, n, p=size / size.sum())
    width = rng.uniform(0.2, 0.8, count).astype(np.float32)
    x = rng.standard_normal((n, dim), dtype=np.float32)
    x *= width[of, None]
    x += centres[of]
    return x


def inertia(x, centroids):
    index = faiss.IndexFlatL2(x.shape[1])
    index.add(np.ascontiguousarray(centroids))
    used = time.process_time()
    dists, _ = index.search(x, 1)
    return float(dists.mean(dtype=np.float64)), time.process_time() - used


def run_faiss(x, k, iterations, per_centroid, seed):
    means = faiss.Kmeans(x.shape[1], k, niter=iterations, seed=seed, min_points_per_centroid=1,
                         max_points_per_centroid=per_centroid)
    begin, used = time.perf_counter(), time.process_time()
    means.train(x)
    return time.perf_counter() - begin, time.process_time() - used, means.centroids


def run_kith(program, path, dim, k, iterations, threads, seed):
    with tempfile.NamedTemporaryFile() as out:
        text = subprocess.run([program, path, str(dim), str(k), str(iterations), str(threads),
                               str(seed), out.name], check=True, stdout=subprocess.PIPE).stdout
        return json.loads(text), np.fromfile(out.name, dtype=np.float32).reshape(k, dim)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--set", default="clusters")
    parser.add_argument("--n", type=int, default=1000000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("-k", type=int, default=1024)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()
    faiss.omp_set_num_threads(a.threads)
    if a.set.endswith(".npy"):
        x = np.ascontiguousarray(np.load(a.set)[: a.n], dtype=np.float32)
    else:
        x = made(a.set, a.n, a.dim, a.k, 1)
    got = {"kith": [], "faiss": []}
    with tempfile.NamedTemporaryFile() as f:
        x.tofile(f)
        f.flush()
        for r in range(a.rounds):
            told, centroids = run_kith(a.program, f.name, x.shape[1], a.k, a.iterations, a.threads,
                                       r + 1)
            mean, _ = inertia(x, centroids)
            got["kith"].append((told["train"], told["train_cpu"], told["assign_cpu"], mean))
            print(f"kith   train {told['train']:8.3f} s, cpu {told['train_cpu']:8.3f} s  "
                  f"assign cpu {told['assign_cpu']:7.3f} s  "
                  f"inertia {mean:.6g} ({told['iterations']} iterations)", flush=True)
            seconds, used, centroids = run_faiss(x, a.k, a.iterations, 256, r + 1)
            mean, assign = inertia(x, centroids)
            got["faiss"].append((seconds, used, assign, mean))
            print(f"faiss  train {seconds:8.3f} s, cpu {used:8.3f} s  "
                  f"assign cpu {assign:7.3f} s  inertia {mean:.6g}", flush=True)
    kith, peer = ([statistics.median(c) for c in zip(*got[w])] for w in ("kith", "faiss"))
    print(f"{os.path.basename(a.set)} {x.shape[0]} x {x.shape[1]}, k = {a.k}, {a.iterations} "
          f"iterations: faiss's time is {peer[0] / kith[0]:.2f} of kith's to train "
          f"(processor time {peer[1] / kith[1]:.2f}), processor time {peer[2] / kith[2]:.2f} to "
          f"assign; kith's inertia is {kith[3] / peer[3]:.4f} of faiss's")


if __name__ == "__main__":
    main()
