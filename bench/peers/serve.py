"""serve.py - one other library on annbench's bench: a request and an answer a line, as JSON.

annbench starts it in the environment that it made for it, one process for each contestant,
pinned to the same processor and with the same number of threads as itself, and asks for one
thing at a time while it waits, so no two ever run together.  Requests: {"do": "load" | "open" |
"search" | "time" | "quit", ...}; each answer has "error" if it failed.  With --versions it
prints what is installed and ends.

Recall is computed by annbench from the ids; here nothing but the clock is read.  Angular data
are normalised once, before building and searching, and then searched by inner product or by L2
as the library likes better: that is less work a query than the libraries' own cosine.

An index that was built is kept under the folder that "open" names, with about.json beside it:
what was built, by which version, in how many seconds.  It is used again if that still holds.
"""

import gc
import json
import os
import shutil
import sys
import time
from importlib.metadata import PackageNotFoundError, version

import libraries


TRIAL = 0.03  # seconds
HERE = os.path.dirname(os.path.abspath(__file__))


def entry(name):
    """What peers.json says of a library's configuration."""
    with open(os.path.join(HERE, "peers.json")) as f:
        grid = json.load(f)
    return next(p for p in grid["peers"] if p["name"] == name)


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def size(path):
    if os.path.isfile(path):
        return os.path.getsize(path)
    walk = ((folder, name) for folder, _, names in os.walk(path) for name in names)
    return sum(os.path.getsize(os.path.join(*at)) for at in walk)


def fastest(body, least, clock=time.perf_counter):
    """Seconds, by `clock`, of the fastest call, of as many calls as `least` seconds hold."""
    best, end = float("inf"), time.perf_counter() + least
    while time.perf_counter() < end:
        began = clock()
        body()
        best = min(best, clock() - began)
    return best


def trial(body):
    """What it returns, and seconds: enough to tell what is faster, on a busy machine too."""
    began = time.process_time()
    found = body()
    took = time.process_time() - began
    if took < TRIAL:
        took = min(took, fastest(body, TRIAL - took, time.process_time))
    return found, took


class Data:
    """Base vectors are read when a library asks for them: an index from the cache may not."""

    def __init__(self, ask):
        self.paths, self.metric, self.threads = ask, ask["metric"], ask["threads"]
        self.queries = self.read("query")
        self.n, self.dim = ask["n"], self.queries.shape[1]
        self.rows = [q.copy() for q in self.queries]

    def read(self, name):
        import numpy

        rows = numpy.load(self.paths[name]).astype("f4", copy=False)
        if self.metric == "angular":
            rows = rows / numpy.linalg.norm(rows, axis=1, keepdims=True)
        return numpy.ascontiguousarray(rows, dtype="f4")

    def base(self):
        return self.read("base")


class Server:
    def load(self, ask):
        self.data = Data(ask)
        return {}

    def about(self, peer):
        return {"build": peer["build"], "kind": peer["kind"], "version": version(peer["package"])}

    def kept(self, folder, about):
        try:
            with open(os.path.join(folder, "about.json")) as f:
                old = json.load(f)
        except (OSError, ValueError):
            return None
        return old if all(old.get(key) == about[key] for key in about) else None

    def build(self, make, folder, about):
        """Builds, weighs and saves; the figures are kept with the index."""
        peer = make()
        base = self.data.base()
        gc.collect()
        before, cpu, wall = resident(), time.process_time(), time.perf_counter()
        peer.build(base)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        about = {**about, "wall": wall, "cpu": cpu, "memory": resident() - before}
        if peer.trained:
            about["train_wall"], about["train_cpu"] = peer.trained
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        try:
            peer.save(os.path.join(folder, "index"))
            about["file"] = size(os.path.join(folder, "index"))
        except NotImplementedError:
            return peer, about
        with open(os.path.join(folder, "about.new"), "w") as f:
            json.dump(about, f, indent=1)
        os.rename(os.path.join(folder, "about.new"), os.path.join(folder, "about.json"))
        return peer, about

    def open(self, ask):
        """A fresh index is loaded again from its file, so that all runs search the same."""
        wanted = entry(ask["peer"])
        folder, about = ask["folder"], self.about(wanted)

        def make():
            return libraries.KINDS[wanted["kind"]](self.data, wanted["build"])

        old = None if ask.get("rebuild") else self.kept(folder, about)
        found = old is not None
        peer = None
        if not found:
            peer, old = self.build(make, folder, about)
        if "file" in old and not ask.get("only_build"):
            del peer
            gc.collect()
            before = resident()
            peer = make()
            peer.load(os.path.join(folder, "index"))
            if found:
                old["memory"] = resident() - before
        self.peer = peer
        old["spec"] = ",".join(f"{key}={value}" for key, value in wanted["build"].items())
        old["package"] = f"{wanted['package']} {old['version']}"
        return {**old, "found": found, "batches": getattr(peer, "batches", False)}

    def rows(self, ask):
        """Half 0 or 1 of the queries: the even or the odd ones; else all of them."""
        half = ask.get("half")
        return slice(None) if half is None else slice(int(half), None, 2)

    def search(self, ask):
        """Ids of all queries of a half; also roughly how fast each way is."""
        peer, k, part = self.peer, ask["k"], self.rows(ask)
        peer.effort(*ask["setting"])
        answer, ids = {}, None
        if ask["single"]:
            single, rows = peer.single, self.data.rows[part]
            ids, took = trial(lambda: [single(q, k) for q in rows])
            answer["single"] = took / len(rows)
        if ask["batch"] and peer.batches:
            queries = self.queries(part)
            found, took = trial(lambda: peer.batch(queries, k))
            answer["batch"] = took / len(queries)
            ids = found if ids is None else ids
        answer["ids"] = [int(i) for row in ids for i in padded(row, k)]
        return answer

    def queries(self, part):
        import numpy

        return numpy.ascontiguousarray(self.data.queries[part])

    def time(self, ask):
        """Seconds a query of either way; latencies of single ones."""
        peer, k, part, least = self.peer, ask["k"], self.rows(ask), ask["seconds"]
        peer.effort(*ask["setting"])
        rows, single, answer = self.data.rows[part], peer.single, {}
        by = time.process_time if ask.get("cpu_clock") else time.perf_counter
        gc.disable()
        if ask["single"]:
            few = rows[:5]
            began = time.perf_counter()
            for q in few:
                single(q, k)
            each = (time.perf_counter() - began) / len(few)
            rows = rows[: int(ask["most"] / each) + 1]

            def one_by_one():
                for q in rows:
                    single(q, k)

            answer["single"] = fastest(one_by_one, least, by) / len(rows)
            laps, clock = [], time.perf_counter_ns
            for q in rows:
                began = clock()
                single(q, k)
                laps.append((clock() - began) * 1e-3)
            answer["laps"] = laps
        if ask["batch"] and peer.batches:
            queries = self.queries(part)
            peer.batch(queries[:50], k)
            answer["batch"] = fastest(lambda: peer.batch(queries, k), least, by) / len(queries)
        gc.enable()
        return answer


def padded(row, k):
    """Exactly k ids; -1 where the library found fewer."""
    row = list(row)[:k]
    return row + [-1] * (k - len(row))


def versions(names):
    """name==version of those that are installed and can be imported."""
    for name in names:
        try:
            print(f"{name}=={version(name)}")
        except PackageNotFoundError:
            pass


def main():
    if sys.argv[1:2] == ["--versions"]:
        versions(sys.argv[2:])
        return
    server = Server()
    # What a library prints must not get between the answers.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        ask = json.loads(line)
        if ask["do"] == "quit":
            break
        try:
            answer = getattr(server, ask["do"])(ask)
        except Exception as e:  # told to annbench, which leaves this library out
            answer = {"error": f"{type(e).__name__}: {e}"[:500]}
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
