"""libraries.py - what serve.py can put on the bench: one class for each kind of index.

Each has build(base), save(path), load(path), effort(*setting), single(query, k) and, if
`batches`, batch(queries, k).  `options` is the "build" of peers.json.  Libraries are imported
when they are used, so one that is not there harms no other, and no two share a process.
"""

import json
import math
import os
import shutil
import tempfile
import time


def scratch(name):
    """A path that nobody else uses."""
    return os.path.join(tempfile.gettempdir(), f"kith-{os.getpid()}-{name}")


class Peer:
    batches = True
    trained = None  # seconds of training, wall and processor, where a library tells them apart

    def __init__(self, data, options):
        self.data, self.options, self.threads = data, options, data.threads
        self.l2 = data.metric == "l2"
        # Lengths are 1, so L2 gives the same order as the angle.
        self.unit = data.metric != "ip"

    def save(self, path):
        raise NotImplementedError

    def lists(self):
        """`options` ask for so many lists for each sqrt(n), as a power of two."""
        wish = self.options.get("nlist", self.options.get("leaves")) * math.sqrt(self.data.n)
        return 1 << max(2, round(math.log2(wish)))


class Hnswlib(Peer):
    def make(self):
        import hnswlib

        return hnswlib.Index("l2" if self.l2 else "ip", self.data.dim)

    def build(self, base):
        o = self.options
        self.index = self.make()
        self.index.init_index(len(base), M=o["m"], ef_construction=o["ef_construction"],
                              random_seed=1)
        self.index.set_num_threads(self.threads)
        self.index.add_items(base, num_threads=self.threads)

    def save(self, path):
        self.index.save_index(path)

    def load(self, path):
        self.index = self.make()
        self.index.load_index(path)
        self.index.set_num_threads(self.threads)

    def effort(self, ef):
        self.index.set_ef(ef)

    def single(self, query, k):
        return self.index.knn_query(query, k=k, num_threads=1)[0][0]

    def batch(self, queries, k):
        return self.index.knn_query(queries, k=k, num_threads=self.threads)[0]


class Faiss(Peer):
    k = 0

    def __init__(self, data, options):
        super().__init__(data, options)
        import faiss

        self.faiss = faiss
        faiss.omp_set_num_threads(data.threads)
        self.metric = faiss.METRIC_L2 if self.l2 else faiss.METRIC_INNER_PRODUCT

    def build(self, base):
        self.index = self.make()
        wall, cpu = time.perf_counter(), time.process_time()
        self.index.train(base)
        self.trained = time.perf_counter() - wall, time.process_time() - cpu
        self.index.add(base)

    def save(self, path):
        self.faiss.write_index(self.index, path)

    def load(self, path):
        self.index = self.faiss.read_index(path)

    def effort(self, *_):
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


class FaissFlat(Faiss):
    def make(self):
        return self.faiss.IndexFlat(self.data.dim, self.metric)


class FaissHnsw(Faiss):
    def make(self):
        o, f, dim = self.options, self.faiss, self.data.dim
        if "quantizer" in o:
            kind = getattr(f.ScalarQuantizer, o["quantizer"])
            index = f.IndexHNSWSQ(dim, kind, o["m"], self.metric)
        else:
            index = f.IndexHNSWFlat(dim, o["m"], self.metric)
        index.hnsw.efConstruction = o["ef_construction"]
        return index

    def effort(self, ef):
        self.index.hnsw.efSearch = ef


class FaissIvf(Faiss):
    def make(self):
        dim, factory = self.data.dim, self.options["factory"]
        names = {"half": dim // 2, "quarter": dim // 4}
        if "{nlist}" in factory:
            names["nlist"] = self.lists()
        return self.faiss.index_factory(dim, factory.format(**names), self.metric)

    def effort(self, probe, refine=None):
        self.faiss.ParameterSpace().set_index_parameter(self.index, "nprobe", probe)
        if refine is not None:
            self.faiss.downcast_index(self.index).k_factor = refine


class Usearch(Peer):
    def make(self):
        from usearch.index import Index

        o = self.options
        return Index(ndim=self.data.dim, metric="l2sq" if self.l2 else "ip", dtype=o["type"],
                     connectivity=o["m"], expansion_add=o["ef_construction"])

    def build(self, base):
        import numpy

        self.index = self.make()
        self.index.add(numpy.arange(len(base)), base, threads=self.threads)

    def save(self, path):
        self.index.save(path)

    def load(self, path):
        self.index = self.make()
        self.index.load(path)

    def effort(self, ef):
        self.index.expansion_search = ef

    def single(self, query, k):
        return self.index.search(query, k, threads=1).keys

    def batch(self, queries, k):
        return self.index.search(queries, k, threads=self.threads).keys


class Symqg(Peer):
    def build(self, base):
        import rabitqlib

        o = self.options
        self.index = rabitqlib.SymqgIndex(self.data.dim, o["degree"],
                                          "l2" if self.unit else "ip", o["bits"])
        self.index.build(base, o["ef_construction"], self.threads, "pipnn")

    def save(self, path):
        self.index.save(path)

    def load(self, path):
        import rabitqlib

        self.index = rabitqlib.SymqgIndex.load(path)

    def effort(self, ef):
        self.ef = ef

    def single(self, query, k):
        return self.index.search(query[None], k, self.ef, 1)[0][0]

    def batch(self, queries, k):
        return self.index.search(queries, k, self.ef, self.threads)[0]


class Scann(Peer):
    def build(self, base):
        import scann

        o, metric = self.options, "squared_l2" if self.l2 else "dot_product"
        builder = scann.scann_ops_pybind.builder(base, 10, metric)
        builder = builder.set_n_training_threads(self.threads)
        spill = {"soar_lambda": o["soar"], "overretrieve_factor": 2.0} if "soar" in o else {}
        builder = builder.tree(num_leaves=self.lists(), num_leaves_to_search=100,
                               training_sample_size=len(base),
                               quantize_centroids=o.get("centroids") == "int8", **spill)
        threshold = float("nan") if self.l2 else o["threshold"]
        builder = builder.score_ah(o["dims_per_block"],
                                   anisotropic_quantization_threshold=threshold)
        self.index = builder.reorder(100).build()

    def save(self, path):
        os.makedirs(path)
        self.index.serialize(path)

    def load(self, path):
        from scann.scann_ops.py import scann_ops_pybind

        self.index = scann_ops_pybind.load_searcher(path)

    def effort(self, leaves, reorder):
        self.setting = {"leaves_to_search": leaves, "pre_reorder_num_neighbors": reorder}

    def single(self, query, k):
        return self.index.search(query, final_num_neighbors=k, **self.setting)[0]

    def batch(self, queries, k):
        return self.index.search_batched(queries, final_num_neighbors=k, **self.setting)[0]


class Svs(Peer):
    """Compressed rows are made from the raw ones at each start; the graph is what is kept."""

    def __init__(self, data, options):
        super().__init__(data, options)
        import svs

        self.svs = svs
        self.distance = svs.DistanceType.L2 if self.l2 else svs.DistanceType.MIP

    def loader(self, rows, storage):
        first, _, second = storage.removeprefix("lvq").partition("x")
        return self.svs.LVQLoader(rows, primary=int(first), residual=int(second or 0),
                                  padding=32)

    def parts(self, path):
        return [os.path.join(path, part) for part in ("config", "graph", "rows")]

    def build(self, base):
        o, svs = self.options, self.svs
        self.raw = scratch("svs.fvecs")
        svs.write_vecs(base, self.raw)
        how = svs.VamanaBuildParameters(
            graph_max_degree=o["degree"], window_size=o["window"],
            alpha=1.2 if self.l2 else 0.95, prune_to=o["degree"] - 4,
            max_candidate_pool_size=500)
        rows = svs.VectorDataLoader(self.raw, svs.DataType.float32, dims=self.data.dim)
        self.index = svs.Vamana.build(how, self.loader(rows, o["graph"]), self.distance,
                                      num_threads=self.threads)

    def save(self, path):
        o, svs = self.options, self.svs
        os.makedirs(path)
        config, graph, rows = self.parts(path)
        self.index.save(config, graph, rows)
        if o["storage"] != o["graph"]:
            raw = svs.VectorDataLoader(self.raw, svs.DataType.float32, dims=self.data.dim)
            again = svs.Vamana(config, svs.GraphLoader(graph), self.loader(raw, o["storage"]),
                               self.distance, num_threads=1)
            del self.index
            shutil.rmtree(path)
            os.makedirs(path)
            again.save(config, graph, rows)
        os.remove(self.raw)

    def load(self, path):
        svs = self.svs
        config, graph, rows = self.parts(path)
        self.index = svs.Vamana(config, svs.GraphLoader(graph), svs.LVQLoader(rows, padding=32),
                                self.distance, num_threads=self.threads)

    def effort(self, window, pool):
        how = self.index.search_parameters
        how.buffer_config = self.svs.SearchBufferConfig(window, int(window * pool))
        how.search_buffer_visited_set = False
        self.index.search_parameters = how

    def single(self, query, k):
        return self.index.search(query, k)[0][0]

    def batch(self, queries, k):
        return self.index.search(queries, k)[0]


class Vsag(Peer):
    batches = False

    def make(self):
        import pyvsag

        o = self.options
        how = {"base_quantization_type": o["codes"], "max_degree": o["degree"],
               "ef_construction": o["ef_construction"], "alpha": 1.2, "use_reorder": True,
               "precise_quantization_type": o["precise"], "build_thread_count": self.threads}
        metric = "l2" if self.unit else "ip"
        return pyvsag.Index("hgraph", json.dumps({"dtype": "float32", "metric_type": metric,
                                                  "dim": self.data.dim, "index_param": how}))

    def build(self, base):
        import numpy

        self.index = self.make()
        self.index.build(base.ravel(), numpy.arange(len(base)), len(base), self.data.dim)

    def save(self, path):
        self.index.save(path)

    def load(self, path):
        self.index = self.make()
        self.index.load(path)

    def effort(self, ef):
        self.setting = json.dumps({"hgraph": {"ef_search": ef}})

    def single(self, query, k):
        return self.index.knn_search(query, k, self.setting)[0]


class Voyager(Peer):
    def build(self, base):
        import voyager

        o, space = self.options, voyager.Space
        self.index = voyager.Index(space.Euclidean if self.l2 else space.InnerProduct,
                                   self.data.dim, M=o["m"], max_elements=len(base),
                                   ef_construction=o["ef_construction"],
                                   storage_data_type=getattr(voyager.StorageDataType, o["type"]))
        self.index.add_items(base, num_threads=self.threads)

    def save(self, path):
        self.index.save(path)

    def load(self, path):
        import voyager

        self.index = voyager.Index.load(path)

    def effort(self, ef):
        self.ef = ef

    def single(self, query, k):
        return self.index.query(query, k, num_threads=1, query_ef=max(k, self.ef))[0]

    def batch(self, queries, k):
        ef = max(k, self.ef)
        return self.index.query(queries, k, num_threads=self.threads, query_ef=ef)[0]


class Ngt(Peer):
    """Its quantized graphs need tools that the wheel lacks: this is the plain graph."""

    batches = False

    def build(self, base):
        import ngtpy

        o = self.options
        self.path = scratch("ngt")
        ngtpy.create(self.path, self.data.dim, edge_size_for_creation=o["edges"],
                     edge_size_for_search=o["edges_search"], distance_type="L2",
                     object_type="Float")
        self.index = ngtpy.Index(self.path)
        self.index.batch_insert(base, num_threads=self.threads)

    def save(self, path):
        self.index.save()
        self.index.close()
        shutil.move(self.path, path)

    def load(self, path):
        import ngtpy

        self.index = ngtpy.Index(path, read_only=True, log_disabled=True)

    def effort(self, epsilon):
        self.epsilon = epsilon

    def single(self, query, k):
        return [i for i, _ in self.index.search(query, k, epsilon=self.epsilon)]


KINDS = {
    "hnswlib": Hnswlib,
    "faiss-flat": FaissFlat,
    "faiss-hnsw": FaissHnsw,
    "faiss-ivf": FaissIvf,
    "usearch": Usearch,
    "symqg": Symqg,
    "scann": Scann,
    "svs": Svs,
    "vsag": Vsag,
    "voyager": Voyager,
    "ngt": Ngt,
}
