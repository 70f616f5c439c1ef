/*
 * ann.h - approximate nearest neighbours: the public interface of libkith-ann.
 *
 * An index holds vectors of one dimension and answers: which of them are
 * nearest to this query?  Kinds: flat (exact search), HNSW (a graph) and
 * IVF-PQ (lists of short codes).
 *
 *     ann_options o = ANN_OPTIONS_INIT;
 *     o.dim = 100;  o.metric = ANN_COSINE;
 *     ann_create(&o, &ix);
 *     ann_add(ix, (ann_view){ vectors, n, 0, ANN_F32 }, NULL);
 *     ann_search(ix, (ann_view){ query, 1, 0, ANN_F32 }, NULL, ids, dists);
 *     ann_save(ix, "words.kith");
 *     ann_close(ix);
 *
 * Conventions, valid for every function unless its comment says otherwise:
 *
 * Errors.  0 (ANN_OK) or a negative ann_err.  On failure every output is as
 *   it was, and ann_error_message() names the thing and the value.
 * Memory.  The caller owns what it passes in; it may be freed when the call
 *   returns.  What a function creates is released by its _close or _free.
 * Threads.  Searches, ann_add, ann_update and ann_remove on one index may
 *   run at the same time from any number of threads.  ann_train,
 *   ann_compact, ann_save and ann_check wait for them and exclude them.
 *   ann_close must be the last call on an index.  A searcher and an iterator
 *   belong to one thread at a time.
 * Structures.  Option and parameter structures begin with `size`, set by
 *   their _INIT macro, and grow at the end; 0 in a field means the default.
 */
#ifndef KITH_ANN_H
#define KITH_ANN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ANN_API __attribute__((visibility("default")))
#define ANN_CHECKED __attribute__((warn_unused_result))
#else
#define ANN_API
#define ANN_CHECKED
#endif

#define ANN_VERSION_MAJOR 0
#define ANN_VERSION_MINOR 1
#define ANN_VERSION_PATCH 0

/* --------------------------------------------------------------------- */
/* Errors                                                                 */
/* --------------------------------------------------------------------- */

typedef enum ann_err {
    ANN_OK = 0,
    ANN_EINVAL = -1,     /* an argument is wrong; NaN or Inf in a vector */
    ANN_ENOMEM = -2,     /* out of memory                                */
    ANN_EDIM = -3,       /* the dimension is not the index's             */
    ANN_EEXIST = -4,     /* the id is in the index, or twice in the call */
    ANN_ENOENT = -5,     /* no such id, no such file                     */
    ANN_EIO = -6,        /* the system refused a read or a write         */
    ANN_EFORMAT = -7,    /* not a kith file                              */
    ANN_EDAMAGED = -8,   /* a kith file, but its bytes are damaged       */
    ANN_EVERSION = -9,   /* a kith file of a later version               */
    ANN_ENOTSUP = -10,   /* this kind, metric or build cannot do that    */
    ANN_ECANCELED = -11, /* a progress callback asked to stop            */
    ANN_EUNTRAINED = -12, /* the index must be trained first             */
    ANN_EBUSY = -13,     /* another process holds the file               */
    ANN_ELIMIT = -14,    /* max_memory or another limit would be passed  */
    ANN_ESTALE = -15     /* a filter or iterator from before a compact   */
} ann_err;

/* The name of a code, for example "ANN_EDIM".  Never NULL. */
ANN_API const char *ann_err_name(ann_err err);

/* What the last failed call of this thread found, as one sentence without a
 * newline; "" before the first failure.  Valid until the next failure. */
ANN_API const char *ann_error_message(void);

/* --------------------------------------------------------------------- */
/* Types                                                                  */
/* --------------------------------------------------------------------- */

typedef struct ann_index ann_index;
typedef struct ann_searcher ann_searcher;
typedef struct ann_iter ann_iter;
typedef struct ann_filter ann_filter;

typedef uint64_t ann_id;
#define ANN_NO_ID UINT64_MAX /* never the id of a vector */

typedef enum ann_dtype {
    ANN_DTYPE_DEFAULT = 0, /* f32 */
    ANN_F32 = 1,
    ANN_F16 = 2,  /* IEEE binary16 */
    ANN_BF16 = 3, /* the upper half of a binary32 */
    ANN_I8 = 4,
    ANN_U8 = 5,
    ANN_B1 = 6, /* packed bits, the first in the lowest bit of byte 0 */
    ANN_NONE = 7 /* only as a store: codes alone are kept (profile lean) */
} ann_dtype;

typedef enum ann_metric {
    ANN_METRIC_DEFAULT = 0, /* l2; hamming where vectors are bits */
    ANN_L2 = 1,             /* squared Euclidean distance */
    ANN_IP = 2,             /* inner product, negated: smaller is nearer */
    ANN_COSINE = 3,         /* 1 - cosine; 0..2.  Vectors of a float store are
                               normalised, then rounded to f16 or bf16: the
                               distance is 1 - their inner product as stored */
    ANN_HAMMING = 4         /* number of bits that differ; ANN_B1 only */
} ann_metric;

typedef enum ann_kind {
    ANN_KIND_DEFAULT = 0, /* hnsw */
    ANN_FLAT = 1,         /* exact search */
    ANN_HNSW = 2,         /* hierarchical navigable small world graph */
    ANN_IVFPQ = 3         /* inverted lists of product-quantised codes; must
                             be trained before vectors are added */
} ann_kind;

/* What an HNSW or IVF-PQ index of float vectors trades: memory for speed.
 * IVF-PQ has balanced and lean. */
typedef enum ann_profile {
    ANN_PROFILE_DEFAULT = 0,  /* balanced */
    ANN_PROFILE_BALANCED = 1, /* walks over codes, decides by the vectors */
    ANN_PROFILE_FAST = 2, /* each node's row holds its neighbours' codes too:
                             the fastest, at several times the memory */
    ANN_PROFILE_LEAN = 3  /* codes alone, no stored vectors (store=none) */
} ann_profile;

/* Bits a dimension.  auto goes by kind, profile and dimension;
 * ann_index_info says what it took. */
typedef enum ann_codes {
    ANN_CODES_AUTO = 0,
    ANN_CODES_NONE = 1, /* hnsw walks over the stored vectors, balanced only;
                           ivfpq has nothing between its short codes and the
                           stored vectors, if there are any */
    ANN_CODES_SQ8 = 2,  /* 8 bits; balanced and lean */
    ANN_CODES_SQ4 = 3,  /* 4 bits; balanced and lean */
    ANN_CODES_1BIT = 4, /* fast: 1 to 4 bits of each neighbour in a row, */
    ANN_CODES_2BIT = 5, /* 8 of a node's own code                        */
    ANN_CODES_3BIT = 6,
    ANN_CODES_4BIT = 7
} ann_codes;

/* What ivfpq does to vectors before it cuts them into subspaces.  auto is
 * none, or opq where that was measured to pay. */
typedef enum ann_rotation {
    ANN_ROTATION_AUTO = 0,
    ANN_ROTATION_NONE = 1,
    ANN_ROTATION_RANDOM = 2, /* signs and Walsh-Hadamard transforms */
    ANN_ROTATION_OPQ = 3     /* learned: optimised product quantisation */
} ann_rotation;

/* What the short codes of ivfpq stand for. */
typedef enum ann_pq_of {
    ANN_PQ_AUTO = 0,     /* residual */
    ANN_PQ_RESIDUAL = 1, /* the vector less its list's centroid */
    ANN_PQ_DIRECT = 2    /* the vector */
} ann_pq_of;

/* Vectors in the caller's memory: [n, dim] of dtype, row i at
 * data + i * stride elements (bytes for ANN_B1); stride 0 means dim
 * ((dim + 7) / 8 bytes for ANN_B1). */
typedef struct ann_view {
    const void *data;
    size_t n;
    size_t stride;
    ann_dtype dtype;
} ann_view;

/* Called now and then by long work, from one thread at a time; `done` of
 * `total` units (vectors, bytes).  Return non-zero to stop: the call then
 * fails with ANN_ECANCELED and the index is as it was. */
typedef int (*ann_progress_fn)(void *arg, const char *what, uint64_t done,
                               uint64_t total);

/* --------------------------------------------------------------------- */
/* Create, add, change                                                    */
/* --------------------------------------------------------------------- */

#define ANN_DIM_MAX 65536
#define ANN_M_MIN 2
#define ANN_M_DEFAULT 16
#define ANN_M_MAX 512
#define ANN_EF_CONSTRUCTION_MIN 1
#define ANN_EF_CONSTRUCTION_DEFAULT 200
#define ANN_EF_CONSTRUCTION_MAX 65536
#define ANN_NLIST_MAX 1048576
#define ANN_K_MAX 1048576
#define ANN_EFFORT_MAX 1048576

typedef struct ann_options {
    size_t size;
    uint32_t dim;      /* 1..ANN_DIM_MAX; required */
    ann_kind kind;     /* hnsw */
    ann_metric metric; /* l2 */
    ann_dtype store;   /* how vectors are kept; f32.  Integer and bit types
                          take vectors of that type only. */
    uint32_t m;        /* hnsw: degree of the upper levels; level 0 has 2m;
                          0: 16; of profile fast from 64 dimensions on 16,
                          24 or 32, by ann_train or the first add
                          (from 4,096 vectors on) */
    uint32_t ef_construction; /* hnsw: candidates looked at per insertion;
                                 0: 200; 100 with rows of more than 16 in
                                 profile fast under l2 and ip */
    uint64_t seed;     /* same input, options and seed: same bytes */
    uint32_t threads;  /* for add and batch search; 0: ann_threads_default */
    uint64_t max_memory; /* bytes the index may take; 0: no limit */
    ann_progress_fn progress;
    void *progress_arg;
    ann_profile profile; /* hnsw over float vectors; balanced */
    ann_codes codes;     /* auto.  Indexes of i8, u8 and b1 have none. */
    uint32_t nlist;      /* ivfpq: lists; 0: by the vectors trained on */
    uint32_t pq_m;       /* ivfpq: subspaces, 1..dim; 0: by dimension */
    uint32_t pq_bits;    /* ivfpq: bits a subspace, 4, 6 or 8; 4 */
    ann_rotation rotation; /* ivfpq; auto */
    ann_pq_of pq_of;       /* ivfpq; residual */
    uint32_t soar;       /* ivfpq: 1: each vector stands in a second list too,
                            chosen so that one of both is found (SOAR) */
    double anisotropic;  /* ivfpq over ip and cosine: the threshold T of the
                            anisotropic loss, 0 < T < 1, as 0.2; 0: off */
} ann_options;

#define ANN_OPTIONS_INIT \
    { sizeof(ann_options), 0, ANN_KIND_DEFAULT, ANN_METRIC_DEFAULT, \
      ANN_DTYPE_DEFAULT, 0, 0, 0, 0, 0, NULL, NULL, ANN_PROFILE_DEFAULT, \
      ANN_CODES_AUTO, 0, 0, 0, ANN_ROTATION_AUTO, ANN_PQ_AUTO, 0, 0 }

/* Reads a spec into *o, leaving what it does not name: a kind first, then
 * fields, "hnsw,profile=fast,codes=2bit,m=16,ef_construction=200,
 * metric=cosine,store=f16,seed=7,threads=2" or "ivfpq,nlist=2048,pq_m=50,
 * rotation=opq".  ANN_EINVAL names the unknown key or the value out of
 * range. */
ANN_API ANN_CHECKED ann_err ann_options_parse(ann_options *o,
                                              const char *spec);

/* Writes the spec of *o with every default filled in but what is left to the
 * vectors; needs at most 256 bytes.  What ann_options_parse reads back as the
 * same options. */
ANN_API ANN_CHECKED ann_err ann_options_spec(const ann_options *o,
                                             char *buf, size_t len);

/* An empty index.  ANN_EINVAL for a value out of range. */
ANN_API ANN_CHECKED ann_err ann_create(const ann_options *o,
                                       ann_index **out);

/* Learns from a sample what a kind needs before its first add.  Flat needs
 * nothing: a check of the arguments, then ANN_OK.  HNSW of profile fast
 * without a given m takes its degree from it, once, while it is empty; what
 * is added in portions had better be trained with all of it.  IVF-PQ learns
 * its lists and codebooks from the sample, or a part of it where it is large;
 * give it all vectors that will be added, or some that are like them: 64 for
 * each list are a good number.  Training again is for an index without
 * vectors: ANN_EINVAL otherwise. */
ANN_API ANN_CHECKED ann_err ann_train(ann_index *ix, ann_view sample);

/* Adds v.n vectors, all or none.  ids: [v.n], any but ANN_NO_ID, or NULL to
 * number on from the highest id so far plus one (from 0 in a new index).
 * ANN_EEXIST for an id that is there, ANN_EINVAL for a vector with NaN or
 * Inf (under cosine also for a zero vector), naming the row; ANN_EUNTRAINED
 * for an IVF-PQ index that was not trained. */
ANN_API ANN_CHECKED ann_err ann_add(ann_index *ix, ann_view v,
                                    const ann_id *ids);

/* Replaces the vectors of ids that are there and adds the others, all or
 * none.  An id may stand only once in ids. */
ANN_API ANN_CHECKED ann_err ann_update(ann_index *ix, ann_view v,
                                       const ann_id *ids);

/* Removes ids; those that are not there are passed over.  *removed (may be
 * NULL): how many were there.  Graph neighbours are repaired at once or, for
 * few removals, when enough have come together; a removed id is never
 * returned again. */
ANN_API ANN_CHECKED ann_err ann_remove(ann_index *ix, size_t n,
                                       const ann_id *ids, size_t *removed);

/* The stored vector of id as f32 [dim] (bits: 0 or 1), as `store` rounded
 * it; under cosine with a float store, normalised.  ANN_ENOENT;
 * ANN_ENOTSUP where codes alone are kept (store=none, profile lean). */
ANN_API ANN_CHECKED ann_err ann_get(const ann_index *ix, ann_id id,
                                    float *vec);

/* 1 if id is in the index, else 0. */
ANN_API int ann_contains(const ann_index *ix, ann_id id);

/* Up to n live ids from position *cursor on (start with 0, which is advanced
 * past them) into ids; *got: how many, 0 at the end.  In slot order. */
ANN_API ANN_CHECKED ann_err ann_ids(const ann_index *ix, uint64_t *cursor,
                                    size_t n, ann_id *ids, size_t *got);

/* Repairs what removals left, gives slots and memory back.  If there was
 * anything to give back, filters and iterators made before it fail with
 * ANN_ESTALE. */
ANN_API ANN_CHECKED ann_err ann_compact(ann_index *ix);

/* Changes what may be changed after opening: threads, max_memory and the
 * progress callback are taken from *o, all else is ignored. */
ANN_API ANN_CHECKED ann_err ann_configure(ann_index *ix,
                                          const ann_options *o);

/* Releases the index; NULL is allowed.  Unsaved changes are gone. */
ANN_API void ann_close(ann_index *ix);

/* --------------------------------------------------------------------- */
/* Search                                                                 */
/* --------------------------------------------------------------------- */

/* Added to by each search that is given it. */
typedef struct ann_search_stats {
    uint64_t queries;
    uint64_t distances; /* distance evaluations */
    uint64_t hops;      /* graph nodes whose neighbours were read */
    uint64_t exact;     /* queries answered by an exact scan */
} ann_search_stats;

typedef struct ann_search_params {
    size_t size;
    size_t k;       /* results per query; 10 */
    size_t effort;  /* hnsw: ef, candidates kept; ivfpq: nprobe, lists looked
                       at on average, or with codes alone at least; max(64,
                       2k).  More effort, more recall, more time.  Flat
                       ignores it. */
    uint32_t threads; /* over the queries of a batch; the index's */
    const ann_filter *filter; /* NULL: every vector */
    ann_search_stats *stats;  /* NULL: not counted */
    double recall;  /* 0 < recall <= 1: the effort that ann_calibrate found
                       for it; ANN_EUNTRAINED without a calibration, EINVAL
                       together with effort.  With neither: 0.95 where
                       calibrated, else effort max(64, 2k). */
} ann_search_params;

#define ANN_SEARCH_PARAMS_INIT \
    { sizeof(ann_search_params), 0, 0, 0, NULL, NULL, 0 }

/* The k nearest of each query: ids [q.n, k] and dists [q.n, k], nearest
 * first, ties by the place where the vectors lie.  p may be NULL (defaults).
 * dists may be NULL; then a graph of codes spares itself exact distances of
 * what is a result for sure, and its order is right but for the rounding of
 * codes.  Fewer than k vectors: the rest of the row is ANN_NO_ID
 * and infinity. */
ANN_API ANN_CHECKED ann_err ann_search(const ann_index *ix, ann_view q,
                                       const ann_search_params *p,
                                       ann_id *ids, float *dists);

typedef struct ann_range_result {
    size_t nq;
    uint64_t *offsets; /* [nq + 1]: query i has offsets[i]..offsets[i+1] */
    ann_id *ids;       /* [offsets[nq]], nearest first in each query */
    float *dists;      /* [offsets[nq]] */
} ann_range_result;

/* Every vector at distance <= radius of each query (flat: exactly; HNSW: as
 * effort allows).  p->k is ignored.  Release with ann_range_free. */
ANN_API ANN_CHECKED ann_err ann_search_range(const ann_index *ix, ann_view q,
                                             float radius,
                                             const ann_search_params *p,
                                             ann_range_result *out);
ANN_API void ann_range_free(ann_range_result *r);

/* A searcher holds one thread's scratch memory: one query at a time without
 * any allocation.  Close it before the index. */
ANN_API ANN_CHECKED ann_err ann_searcher_open(const ann_index *ix,
                                              const ann_search_params *p,
                                              ann_searcher **out);
/* As ann_search for one query of dtype: ids [k], dists [k] or NULL. */
ANN_API ANN_CHECKED ann_err ann_searcher_search(ann_searcher *s,
                                                const void *query,
                                                ann_dtype dtype,
                                                ann_id *ids, float *dists);
ANN_API void ann_searcher_close(ann_searcher *s);

/* An iterator gives neighbours batch after batch, nearest first as far as
 * the search has seen, each once, until all were given. */
ANN_API ANN_CHECKED ann_err ann_iter_open(const ann_index *ix,
                                          const void *query, ann_dtype dtype,
                                          const ann_search_params *p,
                                          ann_iter **out);
/* The next n: ids [n], dists [n] or NULL; *got < n only at the end. */
ANN_API ANN_CHECKED ann_err ann_iter_next(ann_iter *it, size_t n, ann_id *ids,
                                          float *dists, size_t *got);
ANN_API void ann_iter_close(ann_iter *it);

/* A filter is the set of vectors that may be results, fixed when it is made:
 * vectors added later do not pass.  It serves any number of searches, at the
 * same time too; close it before the index.  One that serves many on an hnsw
 * index keeps what makes the next ones faster: some 40 bytes a vector, in most
 * cases; in profile fast a row (ann_index_info: row_bytes by slots) for each
 * vector that passes, of all filters at most twice the index's rows. */
ANN_API ANN_CHECKED ann_err ann_filter_from_ids(const ann_index *ix, size_t n,
                                                const ann_id *ids,
                                                ann_filter **out);
/* pass: non-zero if the id may be a result.  Called once for each id; it must
 * not call functions of the same index. */
ANN_API ANN_CHECKED ann_err ann_filter_from_callback(
    const ann_index *ix, int (*pass)(void *arg, ann_id id), void *arg,
    ann_filter **out);
ANN_API size_t ann_filter_count(const ann_filter *f);
ANN_API void ann_filter_close(ann_filter *f);

/* --------------------------------------------------------------------- */
/* Files                                                                  */
/* --------------------------------------------------------------------- */

/* Writes the index to path: a temporary file beside it, fsync, rename, fsync
 * of the folder.  A crash leaves the old file or the new one, whole. */
ANN_API ANN_CHECKED ann_err ann_save(ann_index *ix, const char *path);

typedef enum ann_open_mode {
    ANN_OPEN_LOAD = 0, /* read it all into memory, every checksum checked */
    ANN_OPEN_MAP = 1   /* map it: ready in milliseconds, little memory; only
                          the header's checksum is checked (ann_check does
                          the rest).  The first change copies it. */
} ann_open_mode;

typedef struct ann_open_options {
    size_t size;
    ann_open_mode mode;
    uint32_t threads;    /* as in ann_options */
    uint64_t max_memory; /* as in ann_options */
    ann_progress_fn progress;
    void *progress_arg;
} ann_open_options;

#define ANN_OPEN_OPTIONS_INIT \
    { sizeof(ann_open_options), ANN_OPEN_LOAD, 0, 0, NULL, NULL }

/* Opens a file that ann_save wrote.  o may be NULL.  ANN_ENOENT, ANN_EIO,
 * ANN_EFORMAT, ANN_EDAMAGED, ANN_EVERSION name the file, the section and
 * why.  While a file is mapped it must not be cut short (ann_save never
 * does: it replaces files). */
ANN_API ANN_CHECKED ann_err ann_open(const char *path,
                                     const ann_open_options *o,
                                     ann_index **out);

typedef struct ann_info {
    size_t size;
    ann_kind kind;
    ann_metric metric;
    ann_dtype store;
    uint32_t dim;
    uint32_t m;               /* hnsw */
    uint32_t ef_construction; /* hnsw */
    uint32_t max_level;       /* hnsw */
    uint64_t seed;
    uint64_t count;    /* live vectors */
    uint64_t slots;    /* live, removed and free places */
    uint64_t removed;  /* removed, not yet given back */
    uint64_t memory_bytes; /* anonymous memory held, without mapped files */
    uint64_t mapped_bytes; /* of the file, if mapped */
    uint64_t vector_bytes; /* of memory or mapping: vectors */
    uint64_t graph_bytes;  /* of memory or mapping: links */
    uint64_t id_bytes;     /* of memory or mapping: ids and their table */
    const char *isa;   /* instruction set of the kernels in use */
    ann_profile profile; /* hnsw over float vectors */
    ann_codes codes;     /* what is in use, auto decided */
    uint32_t degree;     /* hnsw: places for links on level 0 */
    uint64_t code_bytes; /* of memory or mapping: codes beside the links */
    uint64_t row_bytes;  /* of memory or mapping: rows of profile fast */
    double intrinsic_dim; /* hnsw: how fast neighbours thin out; 0 unknown */
    double calibrated_recall; /* highest recall ann_calibrate saw; 0: not
                                 calibrated */
    uint32_t nlist, pq_m, pq_bits; /* ivfpq; nlist 0: not trained yet */
    ann_rotation rotation;    /* ivfpq: what is in use */
    ann_pq_of pq_of;          /* ivfpq */
    uint64_t trained;         /* ivfpq: vectors it was trained on */
    uint64_t entries;         /* ivfpq: in all lists, removed ones too */
    uint32_t largest_list;    /* ivfpq: entries */
    uint64_t list_bytes;      /* of memory or mapping: lists and their codes */
    double trained_error;     /* ivfpq: squared error of the short codes by the
                                 squared distance from the mean, of the
                                 vectors trained on, */
    double added_error;       /* and of those added since; more: train anew */
} ann_info;

#define ANN_INFO_SIZE sizeof(ann_info)

/* Set info->size = ANN_INFO_SIZE before the call. */
ANN_API ANN_CHECKED ann_err ann_index_info(const ann_index *ix,
                                           ann_info *info);

typedef struct ann_file_info {
    size_t size;
    uint32_t version_major, version_minor;
    ann_kind kind;
    ann_metric metric;
    ann_dtype store;
    uint32_t dim;
    uint32_t m, ef_construction, max_level; /* hnsw */
    uint64_t seed;
    uint64_t count, slots;
    uint64_t file_bytes;
    uint64_t identity[2]; /* of seed, options and content */
    uint32_t sections;
    uint32_t nlist, pq_m, pq_bits; /* ivfpq */
} ann_file_info;

/* Reads the header of a file, nothing else.  Set info->size before. */
ANN_API ANN_CHECKED ann_err ann_file_info_read(const char *path,
                                               ann_file_info *info);

typedef struct ann_section_info {
    char name[16];
    uint64_t offset, bytes, rows, row_bytes;
} ann_section_info;

/* Section i (0 .. sections-1) of a file. */
ANN_API ANN_CHECKED ann_err ann_file_section(const char *path, uint32_t i,
                                             ann_section_info *info);

typedef enum ann_check_level {
    ANN_CHECK_SUMS = 1,     /* of a mapped file: every checksum */
    ANN_CHECK_STRUCTURE = 2, /* and ids, links, levels, vectors are sound */
    ANN_CHECK_REACHABLE = 3 /* and every vector is reached from the entry */
} ann_check_level;

/* ANN_OK, or ANN_EDAMAGED with the first thing that is wrong. */
ANN_API ANN_CHECKED ann_err ann_check(const ann_index *ix,
                                      ann_check_level level);

/* --------------------------------------------------------------------- */
/* Recall                                                                 */
/* --------------------------------------------------------------------- */

typedef struct ann_recall_report {
    size_t size;
    size_t queries, k;
    double recall;        /* mean share of the true k found, by distance */
    double low, high;     /* 95 % interval of that mean (bootstrap) */
    double search_us;     /* mean microseconds a query, this search */
    double exact_us;      /* and of the exact one */
    double distances;     /* mean distance evaluations a query */
} ann_recall_report;

#define ANN_RECALL_REPORT_INIT \
    { sizeof(ann_recall_report), 0, 0, 0, 0, 0, 0, 0, 0 }

/* Searches q in the index and exactly, and compares.  A result counts if its
 * distance is at most that of the true k-th (ties count), each id once. */
ANN_API ANN_CHECKED ann_err ann_recall(const ann_index *ix, ann_view q,
                                       const ann_search_params *p,
                                       ann_recall_report *report);

typedef struct ann_calibration {
    size_t size;
    size_t k;            /* that it was made for; 10 */
    size_t queries;      /* looked at: those given, or sampled (0: up to 8000,
                            by efforts that need more than 2000 of them) */
    double recall;       /* highest that the largest effort reached */
    double confidence;   /* that the mean recall of such queries is at least
                            the one asked for, less 0.01; 0.95 */
    uint64_t seed;       /* of the sample */
} ann_calibration;

#define ANN_CALIBRATION_INIT \
    { sizeof(ann_calibration), 0, 0, 0, 0, 0 }

/* Learns which effort gives which recall, by exact search: of q, or (q.n 0)
 * of sampled stored vectors, each hidden from its own search; queries such as
 * will come foretell better.  Kept in the file; used where
 * ann_search_params.recall is given.  c may be NULL; k, queries, confidence
 * and seed are read, what was done is written back.  Excludes changes, not
 * searches.  When more than a quarter of the vectors have been added or
 * removed since, it ends.  ANN_ENOTSUP for flat (always exact). */
ANN_API ANN_CHECKED ann_err ann_calibrate(ann_index *ix, ann_view q,
                                          ann_calibration *c);

/* The effort that a recall takes for k results, rounded up (params.recall
 * takes it unrounded); ANN_EUNTRAINED without a calibration, ANN_EINVAL for a
 * recall that no effort reached. */
ANN_API ANN_CHECKED ann_err ann_effort_for(const ann_index *ix, double recall,
                                           size_t k, size_t *effort);

/* --------------------------------------------------------------------- */
/* The library                                                            */
/* --------------------------------------------------------------------- */

/* "0.1.0" */
ANN_API const char *ann_version(void);

/* The instruction set chosen for the kernels: "avx512", "avx2", "neon",
 * "scalar"; the environment variable KITH_ISA overrides it. */
ANN_API const char *ann_isa(void);

/* Why KITH_ISA or KITH_PREFETCH (l1, l2: how far searches fetch ahead) was not
 * followed and what is done instead, such as for an unknown name; NULL when
 * both were, or are not set. */
ANN_API const char *ann_env_error(void);

/* KITH_THREADS, else the processors this process may use: its affinity mask
 * cut to its control group's quota. */
ANN_API unsigned ann_threads_default(void);

/* Bytes an index of these options with n vectors will take, when built and
 * (*peak, may be NULL) at most while it is built. */
ANN_API ANN_CHECKED ann_err ann_memory_estimate(const ann_options *o,
                                                uint64_t n, uint64_t *bytes,
                                                uint64_t *peak);

/* Takes the library's memory from these functions; large arrays come from
 * mmap all the same.  Call it before any other function, from one thread;
 * NULL for all three restores malloc. */
ANN_API ANN_CHECKED ann_err ann_set_allocator(void *(*alloc)(size_t),
                                              void *(*resize)(void *, size_t),
                                              void (*release)(void *));

#ifdef __cplusplus
}
#endif
#endif
