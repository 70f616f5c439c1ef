"""peers.py - other libraries on annbench's bench, one request and one answer a line, as JSON.

annbench starts it in the environment that it made for it, pinned to the same processor and with
the same number of threads as itself, and asks for one thing at a time while it waits, so the two
never run together.  Requests: {"do": "load" | "build" | "search" | "time" | "quit", ...}; each
answer has "error" if it failed.  With --versions it prints what is installed and ends.

Recall is computed by annbench from the ids; here nothing but the clock is read.  Angular data are
normalised once, before building and searching, and then searched by inner product: that is less
work a query than the libraries' own cosine.
"""

import gc
import json
import os
import sys
import tempfile
import time


def versions():
    import faiss
    import hnswlib  # noqa: F401  (it has no version of its own)
    import numpy
    from importlib.metadata import version

    return f"numpy {numpy.__version__}, hnswlib {version('hnswlib')}, faiss-cpu {faiss.__version__}"


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Hnswlib:
    def __init__(self, bench, ask):
        import hnswlib

        n, dim = bench.base.shape
        self.threads = bench.threads
        self.index = hnswlib.Index("l2" if bench.metric == "l2" else "ip", dim)
        self.index.init_index(n, M=ask["m"], ef_construction=ask["ef_construction"], random_seed=1)
        self.index.set_num_threads(self.threads)
        self.index.add_items(bench.base, num_threads=self.threads)

    def effort(self, effort):
        self.index.set_ef(effort)

    def single(self, query, k):
        return self.index.knn_query(query, k=k, num_threads=1)[0][0]

    def batch(self, queries, k):
        return self.index.knn_query(queries, k=k, num_threads=self.threads)[0]

    def save(self, path):
        self.index.save_index(path)


class Faiss:
    def __init__(self, bench, ask):
        import faiss

        self.faiss = faiss
        faiss.omp_set_num_threads(bench.threads)
        self.index = self.make(bench, ask)
        self.index.add(bench.base)
        self.k = 0

    def effort(self, effort):
        pass

    def single(self, query, k):
        # The C function, for faiss' Python wrapper would cost more than the search.
        if k != self.k:
            import numpy

            self.k = k
            self.dists = numpy.empty((1, k), "f4")
            self.ids = numpy.empty((1, k), "i8")
            self.pointers = [self.faiss.swig_ptr(a) for a in (self.dists, self.ids)]
        self.index.search_c(1, self.faiss.swig_ptr(query), k, *self.pointers)
        return self.ids[0].copy()

    def batch(self, queries, k):
        return self.index.search(queries, k)[1]

    def save(self, path):
        self.faiss.write_index(self.index, path)

    def metric(self, bench):
        return self.faiss.METRIC_L2 if bench.metric == "l2" else self.faiss.METRIC_INNER_PRODUCT


class FaissFlat(Faiss):
    def make(self, bench, ask):
        return self.faiss.IndexFlat(bench.base.shape[1], self.metric(bench))


class FaissHnsw(Faiss):
    def make(self, bench, ask):
        index = self.faiss.IndexHNSWFlat(bench.base.shape[1], ask["m"], self.metric(bench))
        index.hnsw.efConstruction = ask["ef_construction"]
        return index

    def effort(self, effort):
        self.index.hnsw.efSearch = effort


KINDS = {"hnswlib": Hnswlib, "faiss-hnsw": FaissHnsw, "faiss-flat": FaissFlat}


def fastest(body, least):
    """Seconds of the fastest call, of as many calls as `least` seconds hold."""
    best, spent = float("inf"), 0.0
    while spent < least:
        began = time.perf_counter()
        body()
        took = time.perf_counter() - began
        best, spent = min(best, took), spent + took
    return best


class Bench:
    def __init__(self):
        self.peers = {}

    def load(self, ask):
        import numpy

        self.metric, self.threads = ask["metric"], ask["threads"]
        rows = [numpy.load(ask[name]) for name in ("base", "query")]
        if self.metric == "angular":
            rows = [x / numpy.linalg.norm(x, axis=1, keepdims=True) for x in rows]
        self.base, self.queries = (numpy.ascontiguousarray(x, dtype="f4") for x in rows)
        self.rows = [numpy.ascontiguousarray(q) for q in self.queries]
        return {}

    def build(self, ask):
        gc.collect()
        before, cpu, wall = resident(), time.process_time(), time.perf_counter()
        peer = KINDS[ask["peer"]](self, ask)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        self.peers[ask["peer"]] = peer
        answer = {"wall": wall, "cpu": cpu, "memory": resident() - before}
        if ask.get("file"):
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "index")
                peer.save(path)
                answer["file"] = os.path.getsize(path)
        return answer

    def search(self, ask):
        peer, k = self.peers[ask["peer"]], ask["k"]
        peer.effort(ask["effort"])
        if ask["single"]:
            ids = [peer.single(q, k).tolist() for q in self.rows]
        else:
            ids = peer.batch(self.queries, k).tolist()
        return {"ids": [i for row in ids for i in row]}

    def time(self, ask):
        peer, k, least = self.peers[ask["peer"]], ask["k"], ask["seconds"]
        peer.effort(ask["effort"])
        answer, single, rows = {}, peer.single, self.rows
        gc.disable()
        if ask["single"]:

            def one_by_one():
                for q in rows:
                    single(q, k)

            few = rows[:5]
            began = time.perf_counter()
            for q in few:
                single(q, k)
            each = (time.perf_counter() - began) / len(few)
            slow = each * len(rows) > ask["slow"]
            if slow:
                rows = rows[: int(ask["most"] / each) + 1]
            else:
                one_by_one()
                answer["single"] = fastest(one_by_one, least) / len(rows)
            laps, clock = [], time.perf_counter_ns
            for q in rows:
                began = clock()
                single(q, k)
                laps.append((clock() - began) * 1e-3)
            answer["laps"] = laps
            if slow:
                answer["single"] = sum(laps) * 1e-6 / len(laps)
        if ask["batch"]:
            peer.batch(self.queries[:50], k)
            answer["batch"] = fastest(lambda: peer.batch(self.queries, k), least) / len(self.rows)
        gc.enable()
        return answer


def main():
    if sys.argv[1:] == ["--versions"]:
        print(versions())
        return
    bench = Bench()
    # What a library prints must not get between the answers.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        ask = json.loads(line)
        if ask["do"] == "quit":
            break
        try:
            answer = getattr(bench, ask["do"])(ask)
        except Exception as e:  # told to annbench, which ends with it
            answer = {"error": f"{type(e).__name__}: {e}"}
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
