/* rag.h - retrieval-augmented generation: the public interface of libkith-rag.
 *
 * A store keeps texts, cuts them into chunks, gives each a vector by an
 * embedder, and finds those nearest to a question; a language model answers
 * from them, and its citations are checked.
 *
 *     rag_options o = RAG_OPTIONS_INIT;
 *     o.access = RAG_CREATE;
 *     rag_open(".rag", &o, &s);
 *     rag_add(s, (const char *[]){ "docs" }, 1, NULL, NULL);
 *     rag_search(s, "how is a file saved?", NULL, &hits);
 *     rag_close(s);
 *
 * Conventions, valid for every function unless its comment says otherwise:
 *
 * Errors.  0 (RAG_OK) or a negative rag_err.  On failure every output is as
 *   it was, and rag_error_message() names the thing and the value.
 * Memory.  The caller owns what it passes in; it may be freed when the call
 *   returns.  What a function gives is released by rag_free or by the _free
 *   function of its type.  Strings are UTF-8.
 * Threads.  A store belongs to one thread at a time; different stores, and
 *   handles of the same folder, may be used at the same time.
 * Structures.  Option and parameter structures begin with `size`, set by
 *   their _INIT macro, and grow at the end; 0 in a field means the default. */
#ifndef KITH_RAG_H
#define KITH_RAG_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define RAG_API     __attribute__((visibility("default")))
#define RAG_CHECKED __attribute__((warn_unused_result))
#else
#define RAG_API
#define RAG_CHECKED
#endif

/* --------------------------------------------------------------------- */
/* Errors                                                                 */
/* --------------------------------------------------------------------- */

/* Codes down to -15 mean what the ann_err of the same number means. */
typedef enum rag_err {
    RAG_OK = 0,
    RAG_EINVAL = -1, /* an argument or a document is wrong */
    RAG_ENOMEM = -2, /* out of memory */
    RAG_EDIM = -3, /* a vector's dimension is not the embedder's */
    RAG_EEXIST = -4, /* is there already */
    RAG_ENOENT = -5, /* no such document, chunk, file or embedder */
    RAG_EIO = -6, /* the system refused a read or a write */
    RAG_EFORMAT = -7, /* not a store, or not text */
    RAG_EDAMAGED = -8, /* the store's bytes are damaged */
    RAG_EVERSION = -9, /* written by a later version */
    RAG_ENOTSUP = -10, /* this build or model cannot do that */
    RAG_ECANCELED = -11, /* a callback asked to stop */
    RAG_EBUSY = -13, /* another process is writing */
    RAG_ELIMIT = -14, /* larger than a cap */
    RAG_EREFUSED = -32, /* a server said no for good (400, 401, 403, 404) */
    RAG_EUNAVAIL = -33, /* a server did not answer, after all retries */
    RAG_EPARTIAL = -34, /* some inputs failed, the others are in */
    RAG_EMISMATCH = -35, /* vectors of another embedder */
    RAG_ETOOLARGE = -36 /* a server finds this input too long, for good */
} rag_err;

/* The name of a code, for example "RAG_EREFUSED".  Never NULL. */
RAG_API const char *rag_err_name(rag_err err);

/* What the last failed call of this thread found, as one sentence without a
 * newline; "" before the first failure.  Valid until the next failure. */
RAG_API const char *rag_error_message(void);

/* Frees what a function gave to the caller to keep; NULL is allowed. */
RAG_API void rag_free(void *p);

/* --------------------------------------------------------------------- */
/* A store                                                                */
/* --------------------------------------------------------------------- */

/* A folder with a database of texts and index files beside it.  A handle
 * belongs to one thread at a time; any number of processes may read a store
 * while one writes it. */
typedef struct rag_store rag_store;

/* The value of a setting, or NULL: "openai.api_key", "openai.base_url",
 * "ollama.host", "llamacpp.api_key", "tei.api_key", "cohere.api_key",
 * "jina.api_key", "chat.model", "rerank.model", ...; man rag lists them. */
typedef const char *(*rag_setting_fn)(void *arg, const char *name);

/* Called now and then by long work and while a server is waited for; `done`
 * of `total` (0: not known) units.  Non-zero stops: the call then fails with
 * RAG_ECANCELED, and what was committed stays. */
typedef int (*rag_progress_fn)(void *arg, const char *what, uint64_t done,
                               uint64_t total);

typedef enum rag_side { RAG_DOCUMENT = 0, RAG_QUERY = 1 } rag_side;

/* An embedder of the caller's own: vectors [n, dims] of texts [n], UTF-8.
 * uri, model and revision are what it is known by: change revision whenever
 * the same text would get another vector. */
typedef struct rag_embedder {
    size_t size;
    const char *uri; /* "mine:model"; required */
    const char *revision;
    uint32_t dims;
    rag_err (*embed)(void *arg, rag_side side, const char *const *texts,
                     size_t n, float *vectors);
    void *arg;
} rag_embedder;

typedef enum rag_access {
    RAG_READ = 0,
    RAG_WRITE = 1, /* one process at a time */
    RAG_CREATE = 2 /* as write; makes the store if it is not there */
} rag_access;

typedef struct rag_options {
    size_t size;
    rag_access access;
    const char *embedder; /* URI.  NULL: the store's; of a new store
                             "static:english-v1". */
    const rag_embedder *custom; /* stands for `embedder`; NULL: none */
    const char *lang; /* of a new store: "en" (words are stemmed) or
                         "any"; "en" */
    unsigned wait_ms; /* for another process that writes; 10000 */
    const char *purpose; /* what others are told that this process does */
    rag_setting_fn setting;
    void *setting_arg;
    rag_progress_fn progress;
    void *progress_arg;
    unsigned threads; /* that read and embed; 0: as ann_threads_default */
} rag_options;

#define RAG_OPTIONS_INIT \
    { \
        sizeof(rag_options), RAG_READ, NULL, NULL, NULL, 0, NULL, NULL, NULL, \
            NULL, NULL, 0 \
    }

/* RAG_ENOENT: no store at dir; RAG_EMISMATCH: its embedder is not the one
 * asked for, with the command that helps; RAG_EBUSY names the writer. */
RAG_API RAG_CHECKED rag_err rag_open(const char *dir, const rag_options *o,
                                     rag_store **out);
RAG_API void rag_close(rag_store *s); /* NULL is allowed */

/* --------------------------------------------------------------------- */
/* Texts in                                                               */
/* --------------------------------------------------------------------- */

typedef enum rag_event_kind {
    RAG_ADDED = 1,
    RAG_REPLACED = 2,
    RAG_REMOVED = 3,
    RAG_SKIPPED = 4, /* ignored, binary, too large, ...: `reason` says */
    RAG_FAILED = 5 /* `reason` says; what was there before stays */
} rag_event_kind;

typedef struct rag_event {
    rag_event_kind kind;
    const char *source;
    const char *reason; /* NULL: none */
    uint64_t chunks, bytes;
} rag_event;

/* A text to be added, UTF-8. */
typedef struct rag_document {
    size_t size;
    const char *source; /* what it is known by; required */
    const char *title, *meta; /* title: heads its passages; NULL: as the
                                 text has it.  meta: a JSON object */
    const char *format; /* "text", "markdown", "html", ...; NULL: by the
                           end of `source` */
    const char *text; /* [bytes] */
    size_t bytes;
    const float *vector; /* [dims] brought along; NULL: none */
    size_t dims;
} rag_document;

typedef struct rag_add_options {
    size_t size;
    const char *const *include, *const *exclude; /* globs, NULL-ended */
    const char *format; /* as in rag_document; NULL: by name and content */
    const char *meta; /* a JSON object for every document; NULL: none */
    uint64_t max_bytes; /* of a file; 32 MiB */
    int hidden; /* files whose name begins with a dot, too */
    int remove_missing; /* what vanished below the paths goes too */
    int force; /* even if more than half would vanish; read files
                  again whose time and size are the same */
    int dry_run; /* only tell */
    const char *id_field, *text_field; /* of records */
    void (*on_event)(void *arg, const rag_event *e);
    /* Asked first for each file: a text instead of kith's own readers
     * (*text [*bytes], malloc'ed); RAG_ENOTSUP: not this one. */
    rag_err (*reader)(void *arg, const char *path, const void *raw,
                      size_t raw_bytes, char **text, size_t *bytes);
    void *arg; /* of both */
} rag_add_options;

#define RAG_ADD_OPTIONS_INIT \
    { \
        .size = sizeof(rag_add_options) \
    }

typedef struct rag_add_report {
    uint64_t files, added, replaced, unchanged, removed, skipped, failed;
    uint64_t chunks, bytes; /* of what was added or replaced */
    uint64_t embedded; /* texts that a server was asked for */
    uint64_t not_english; /* documents; counted where the store is "en" */
} rag_add_report;

/* Adds or refreshes files and folders; what did not change is not read
 * again.  RAG_EPARTIAL: some failed (on_event said which), the others are
 * in.  report may be NULL. */
RAG_API RAG_CHECKED rag_err rag_add(rag_store *s, const char *const *paths,
                                    size_t n, const rag_add_options *o,
                                    rag_add_report *report);
/* Texts from memory. */
RAG_API RAG_CHECKED rag_err rag_add_texts(rag_store *s,
                                          const rag_document *docs, size_t n,
                                          const rag_add_options *o,
                                          rag_add_report *report);
/* Removes documents by source.  *removed may be NULL. */
RAG_API RAG_CHECKED rag_err rag_remove(rag_store *s,
                                       const char *const *sources, size_t n,
                                       uint64_t *removed);
/* Removes documents for which every condition holds (see rag_search). */
RAG_API RAG_CHECKED rag_err rag_remove_where(rag_store *s,
                                             const char *const *where,
                                             size_t n, uint64_t *removed);
/* Erases kept vectors of texts that are gone, and their bytes on disk. */
RAG_API RAG_CHECKED rag_err rag_purge(rag_store *s, uint64_t *vectors);

/* --------------------------------------------------------------------- */
/* Search                                                                 */
/* --------------------------------------------------------------------- */

/* The second embedder where none is set. */
#define RAG_CONTEXTUAL_DEFAULT "local:minilm-l6-v2"

typedef enum rag_mode {
    /* Vectors and words, fused by score.  Where the store's vectors are static
     * ones, the best are then looked at as under RAG_CONTEXTUAL, unless `fast`
     * is set; where that cannot be done, the hits' warning says why. */
    RAG_HYBRID = 0,
    RAG_VECTOR = 1, /* vectors alone */
    RAG_TEXT = 2, /* words alone (BM25) */
    RAG_EXACT = 3, /* as vector, every one looked at */
    /* As hybrid; then the best by the vectors of a second embedder, made when
     * first needed and kept, fused with the words. */
    RAG_CONTEXTUAL = 4
} rag_mode;

typedef struct rag_search_params {
    size_t size;
    size_t k; /* 10 */
    rag_mode mode;
    const char *const *where; /* [nwhere] conditions, all of which must hold:
                                 "author=Knuth", "year>=1990", "type!=html",
                                 "source~docs*"; keys: source, title, type,
                                 added, else of the meta object */
    size_t nwhere;
    double min_score; /* of the fused score, 0..1; 0: any */
    double share; /* of vectors in a hybrid, 0..1; 0: the embedder's
                     (hash 0.2, static 0.3, other 0.5) */
    int rrf; /* fuse by reciprocal rank instead */
    const char *rerank; /* URI of a re-ranker; NULL: none */
    size_t rerank_depth; /* of the first hits; 40 */
    const float *vector; /* [dims] to search by instead of the query's */
    int keep_copies; /* of one text under several sources */
    const char *contextual; /* URI of the second embedder; NULL: the setting
                               contextual.model, else RAG_CONTEXTUAL_DEFAULT */
    int fast; /* no second look in a hybrid */
    double budget_ms; /* that a second look may take for vectors not made yet:
                         the rest is judged without; 300; below 0: no end */
    size_t depth; /* candidates of a second look, at most 200; 100 */
} rag_search_params;

#define RAG_SEARCH_PARAMS_INIT \
    { \
        .size = sizeof(rag_search_params) \
    }

typedef struct rag_hit {
    uint64_t chunk;
    double score; /* more is better */
    double vector_score, text_score, rerank_score; /* NaN: none */
    uint32_t vector_rank, text_rank; /* from 1; 0: none */
    char *source, *title, *head, *meta; /* title, meta: NULL: none */
    char *text; /* [bytes] and a NUL */
    uint64_t bytes, start, end; /* bytes of the document's text */
    uint32_t line, last_line, page; /* from 1; page 0: no pages */
} rag_hit;

typedef struct rag_hits {
    size_t n;
    rag_hit *hits; /* best first */
    char *warning; /* a re-ranker or index that could not be used; NULL */
} rag_hits;

RAG_API RAG_CHECKED rag_err rag_search(rag_store *s, const char *query,
                                       const rag_search_params *p,
                                       rag_hits **out);
/* The nearest chunks to chunk id by vector, itself left out. */
RAG_API RAG_CHECKED rag_err rag_similar(rag_store *s, uint64_t id,
                                        const rag_search_params *p,
                                        rag_hits **out);
RAG_API void rag_hits_free(rag_hits *h); /* NULL is allowed */

/* --------------------------------------------------------------------- */
/* Answers                                                                */
/* --------------------------------------------------------------------- */

typedef struct rag_ask_params {
    size_t size;
    const rag_search_params *search; /* NULL: defaults */
    const char *model; /* "openai:NAME", "ollama:NAME",
                          "llamacpp:URL[#NAME]", "URL#NAME"; NULL: the
                          setting chat.model */
    double context_tokens; /* that sources may take; 3000 */
    unsigned max_tokens; /* of the answer; 0: the server's */
    double temperature; /* below 0: the server's */
    int open; /* the model may answer from elsewhere too */
    int datamark; /* a mark between the words of sources */
    int (*on_text)(void *arg, const char *text, size_t bytes);
    void *arg; /* non-zero from on_text stops */
    /* A model of the caller's own, in place of `model`: it hands its answer
     * to `text` piece by piece, and stops where that gives non-zero. */
    rag_err (*chat)(void *chat_arg, const char *system, const char *question,
                    int (*text)(void *text_arg, const char *piece,
                                size_t bytes),
                    void *text_arg);
    void *chat_arg;
} rag_ask_params;

#define RAG_ASK_PARAMS_INIT \
    { \
        .size = sizeof(rag_ask_params), .temperature = -1 \
    }

typedef struct rag_answer {
    char *text; /* as it came; "" without a model */
    rag_hits *hits; /* the sources, in the order of their numbers */
    size_t *cited; /* [ncited] indices into hits, in order of first use */
    size_t ncited;
    uint32_t *unknown; /* [nunknown] numbers that no source has */
    size_t nunknown;
    char *request; /* the exact JSON that was, or would be, sent */
    char *model, *finish; /* NULL: none */
    uint64_t prompt_tokens, completion_tokens; /* 0: not told */
} rag_answer;

/* Searches, puts the sources into a system message beside the question, and
 * asks the model.  Without a model: the sources alone, RAG_OK.  After a
 * failure of the server *out is filled in too, with what came. */
RAG_API RAG_CHECKED rag_err rag_ask(rag_store *s, const char *question,
                                    const rag_ask_params *p, rag_answer **out);
/* The same up to and without the request. */
RAG_API RAG_CHECKED rag_err rag_ask_request(rag_store *s, const char *question,
                                            const rag_ask_params *p,
                                            rag_answer **out);
RAG_API void rag_answer_free(rag_answer *a); /* NULL is allowed */

/* --------------------------------------------------------------------- */
/* What is in it                                                          */
/* --------------------------------------------------------------------- */

typedef struct rag_document_info {
    uint64_t id;
    const char *source, *title, *meta, *format; /* title, meta: may be NULL */
    uint64_t bytes, chunks;
    int64_t added; /* seconds since 1970 */
    const char *sha256; /* of what was read, 64 hex digits */
} rag_document_info;

/* Each document for which every condition holds, by source; non-zero from
 * `each` ends it with RAG_ECANCELED. */
RAG_API RAG_CHECKED rag_err
rag_list(rag_store *s, const char *const *where, size_t n,
         int (*each)(void *arg, const rag_document_info *d), void *arg);

/* The text of a document by source, or by number of line: lines first ..
 * first + count - 1 (count 0: all).  *text [*bytes] for rag_free. */
RAG_API RAG_CHECKED rag_err rag_get(rag_store *s, const char *source,
                                    uint32_t first, uint32_t count,
                                    char **text, size_t *bytes);
/* A chunk as a hit (scores 0). */
RAG_API RAG_CHECKED rag_err rag_get_chunk(rag_store *s, uint64_t id,
                                          rag_hits **out);

/* Vectors [n, *dims] of texts [n] by the store's embedder; *vectors for
 * rag_free. */
RAG_API RAG_CHECKED rag_err rag_embed(rag_store *s, rag_side side,
                                      const char *const *texts, size_t n,
                                      size_t *dims, float **vectors);

/* Each live chunk with its vector [dims], ascending. */
RAG_API RAG_CHECKED rag_err rag_each_chunk(rag_store *s, int with_vectors,
                                           int (*each)(void *arg,
                                                       const rag_hit *chunk,
                                                       const float *vector,
                                                       size_t dims),
                                           void *arg);

/* Files of vectors.  Rows are f32 unless said otherwise; FILE.ids has a label
 * a line, in the order of the rows. */
typedef enum rag_export_format {
    RAG_EXPORT_JSONL = 0, /* {"id": label, "vector": [..]} a line; of chunks
                             source, start and end too */
    RAG_EXPORT_WORD2VEC = 1, /* text: "n dims", then "label x x .." a line;
                                blanks in a label become _ */
    RAG_EXPORT_NPY = 2, /* [n, dims], and FILE.ids */
    RAG_EXPORT_FVECS = 3, /* the same */
    RAG_EXPORT_SAFETENSORS = 4, /* "vectors" [n, dims], and FILE.ids; of
                                   chunks "labels" [n] I64 instead */
    RAG_EXPORT_MSGPACK = 5 /* a map of n, dims, type ("f32", "f16"), vectors
                              (binaries of 1024 rows, the last has what is
                              left) and ids (n labels) */
} rag_export_format;

typedef enum rag_export_of {
    RAG_EXPORT_CHUNKS = 0, /* label: the id; as the embedder gave them */
    RAG_EXPORT_DOCUMENTS = 1, /* label: the source; the mean of its chunks'
                                 vectors, of length 1 */
    RAG_EXPORT_WORDS = 2, /* each word of the texts once, case folded,
                             embedded alone as a document; ascending */
    RAG_EXPORT_TOKENS = 3 /* the embedder's own table */
} rag_export_of;

typedef struct rag_export_options {
    size_t size;
    rag_export_format format;
    rag_export_of of;
    const char *path; /* NULL or "-": standard output, of jsonl and word2vec */
    int f16; /* npy, safetensors and msgpack: rows are f16 */
} rag_export_options;

#define RAG_EXPORT_OPTIONS_INIT \
    { \
        .size = sizeof(rag_export_options) \
    }

/* Writes vectors by the store's embedder, a block at a time; a file has its
 * name only when it is whole.  RAG_EINVAL: that format needs a file, or has no
 * f16; RAG_ENOTSUP: words by an embedder that is a server's, or tokens of one
 * that has no table; RAG_ENOENT: a chunk has no vector (see rag_repair). */
RAG_API RAG_CHECKED rag_err rag_export_vectors(rag_store *s,
                                               const rag_export_options *o);

typedef struct rag_status {
    size_t size;
    uint64_t files, documents, chunks, text_bytes, database_bytes;
    uint64_t vectors_kept;
    char embedder[256], lang[8], uuid[40];
    uint32_t dims;
    uint64_t indexed, pending, gone, index_bytes; /* chunks; bytes of file */
    char index_lost[256]; /* why the index must be made again; "" if not */
    int index_exact; /* a scan, no graph */
    uint64_t effort; /* of searches of a graph, as kept; 0: its own choice */
} rag_status;

RAG_API RAG_CHECKED rag_err rag_get_status(rag_store *s, rag_status *st);

typedef struct rag_embedder_info {
    int64_t id;
    const char *uri, *model, *revision, *prefix_document, *prefix_query;
    const char *fingerprint; /* 64 hex digits */
    uint32_t dims;
    int active, kept; /* kept: vectors are, else they are made again */
    uint64_t vectors;
} rag_embedder_info;

RAG_API RAG_CHECKED rag_err rag_list_embedders(
    rag_store *s, int (*each)(void *arg, const rag_embedder_info *e),
    void *arg);

/* --------------------------------------------------------------------- */
/* Models of this process                                                 */
/* --------------------------------------------------------------------- */

/* "static:NAME" and "local:NAME" name a path, or a model that is looked for
 * in RAG_MODELS (folders with colons between), in the user's folder
 * ($XDG_DATA_HOME/kith/models) and in that of the installation. */
typedef struct rag_model_info {
    size_t size;
    const char *name, *path;
    const char *uri; /* to be used as an embedder */
    const char *kind; /* "encoder" or "static" */
    uint32_t dims, tokens; /* tokens: of the vocabulary */
    uint64_t bytes; /* on disk */
    const char *source, *licence, *revision; /* "": not told */
    const char *fault; /* NULL, or why it cannot be used; then only name and
                          path are told */
} rag_model_info;

/* Each model that is found; non-zero ends it with RAG_ECANCELED. */
RAG_API RAG_CHECKED rag_err rag_list_models(
    int (*each)(void *arg, const rag_model_info *m), void *arg);

typedef struct rag_import_options {
    size_t size;
    const char *name; /* NULL: the last part of the path */
    const char *output; /* file to write; NULL: NAME.kith in the user's
                           folder */
    const char *source, *licence; /* what the file shall say; NULL: "" */
} rag_import_options;

#define RAG_IMPORT_OPTIONS_INIT \
    { \
        sizeof(rag_import_options), NULL, NULL, NULL, NULL \
    }

/* Makes kith's own file of a model: of a Hugging Face folder with a BERT
 * encoder (token vectors in 4 bits, layers in 8) or a Model2Vec table, of a
 * file of word vectors (8 bits a number).  *written, for rag_free, says
 * where; it may be NULL. */
RAG_API RAG_CHECKED rag_err rag_import_model(const char *path,
                                             const rag_import_options *o,
                                             char **written);

/* The bytes of a model's file against the digest it tells. */
RAG_API RAG_CHECKED rag_err rag_check_model(const char *name);

typedef struct rag_get_options {
    size_t size;
    const char *base_url; /* of the hub; NULL: https://huggingface.co */
    const char *token; /* for the hub alone; NULL: none */
    const char *const *pins; /* [npins] "FILE=SHA256" of a model whose hashes
                                are not known here */
    size_t npins;
    rag_progress_fn progress;
    void *progress_arg;
} rag_get_options;

#define RAG_GET_OPTIONS_INIT \
    { \
        .size = sizeof(rag_get_options) \
    }

/* Fetches a model's files over https into the user's folder, each checked
 * against its SHA-256; nothing is visible until all are there.  *folder, for
 * rag_free, says where; it may be NULL.  RAG_ENOENT names the models whose
 * hashes are known; RAG_EDAMAGED: other bytes than those. */
RAG_API RAG_CHECKED rag_err rag_get_model(const char *name,
                                          const rag_get_options *o,
                                          char **folder);

typedef struct rag_distill_options {
    size_t size;
    const char *teacher; /* "local:NAME"; required */
    const char *const *paths; /* [npaths] files and folders: a text a line */
    size_t npaths;
    const char *output; /* file to write; required */
    const char *name; /* that it tells; NULL: the file's, without .kith */
    const char *source, *licence; /* NULL: "" */
    uint32_t dims; /* 256 */
    unsigned epochs; /* 16 */
    uint64_t seed;
    unsigned threads; /* 0: as ann_threads_default */
    rag_progress_fn progress;
    void *progress_arg;
    const char *const *collections; /* [ncollections] folders of BEIR's shape
                                       (corpus.jsonl, queries.jsonl, qrels.tsv)
                                       to judge both by afterwards */
    size_t ncollections;
    /* Of each: nDCG@10 of vectors alone, 0..1; questions: how many. */
    void (*on_judged)(void *arg, const char *collection, uint64_t questions,
                      double teacher, double result);
    void *judged_arg;
} rag_distill_options;

#define RAG_DISTILL_OPTIONS_INIT \
    { \
        .size = sizeof(rag_distill_options) \
    }

typedef struct rag_distill_report {
    size_t size;
    uint64_t texts, tokens; /* that were learnt from */
    double kept; /* share of the texts' variance that PCA keeps */
    /* Mean cosine of a text's vector to the teacher's, before training and
     * after: of texts that were learnt from, and of a fiftieth that was held
     * back. */
    double before, after, held_before, held_after;
} rag_distill_report;

/* A static embedder that does as a contextual one does: for the same texts,
 * options and seed the same file, whatever the number of threads. */
RAG_API RAG_CHECKED rag_err rag_distill(const rag_distill_options *o,
                                        rag_distill_report *report);

/* --------------------------------------------------------------------- */
/* Evaluation                                                             */
/* --------------------------------------------------------------------- */

/* Questions, what was judged relevant to each, and perhaps the documents. */
typedef struct rag_collection rag_collection;

typedef struct rag_collection_options {
    size_t size;
    const char *folder; /* of BEIR's shape: corpus.jsonl, queries.jsonl, and
                           qrels.tsv or qrels/test.tsv; NULL: none */
    /* Files in place of the folder's.  Without a folder queries and qrels are
     * required.  corpus, queries: JSON lines (_id, text; title; answers) or
     * "id TAB text"; queries: TREC topics, too; qrels: "question document
     * grade", or TREC's with an iteration before the document. */
    const char *corpus, *queries, *qrels;
    int join; /* documents of one title become one, in their order */
    int spans; /* find where answers stand, for rag_eval_chunks */
    size_t every; /* only each n-th judged question; 1 */
} rag_collection_options;

#define RAG_COLLECTION_OPTIONS_INIT \
    { \
        .size = sizeof(rag_collection_options) \
    }

typedef struct rag_collection_info {
    size_t size;
    const char *name; /* the collection's */
    uint64_t documents, questions, judgments; /* questions: those judged */
} rag_collection_info;

RAG_API RAG_CHECKED rag_err rag_collection_open(
    const rag_collection_options *o, rag_collection **out);
RAG_API void rag_collection_close(rag_collection *c); /* NULL is allowed */
RAG_API RAG_CHECKED rag_err
rag_collection_get_info(const rag_collection *c, rag_collection_info *info);
/* Adds its documents, each under its id as source. */
RAG_API RAG_CHECKED rag_err rag_collection_add(rag_store *s,
                                               const rag_collection *c,
                                               rag_add_report *report);

/* As trec_eval has them (ndcg_cut_10, recip_rank of the first 10, map_cut_100,
 * recall_*, P_5, success_*); unjudged: share of the first 10 without a
 * judgment. */
typedef enum rag_metric {
    RAG_NDCG_10 = 0,
    RAG_MRR_10 = 1,
    RAG_MAP_100 = 2,
    RAG_RECALL_1 = 3,
    RAG_RECALL_5 = 4,
    RAG_RECALL_10 = 5,
    RAG_RECALL_20 = 6,
    RAG_RECALL_100 = 7,
    RAG_PRECISION_5 = 8,
    RAG_SUCCESS_1 = 9,
    RAG_SUCCESS_5 = 10,
    RAG_SUCCESS_10 = 11,
    RAG_UNJUDGED_10 = 12
} rag_metric;

#define RAG_METRICS 13

RAG_API const char *rag_metric_name(rag_metric m); /* "nDCG@10" */

typedef struct rag_ranking {
    char *question; /* id */
    size_t n;
    char **documents; /* [n] ids, best first */
    double *scores; /* [n] strictly descending, unless read from a file */
} rag_ranking;

/* What one way of searching found, and how good that is.  A judged question
 * for which nothing was found counts with 0. */
typedef struct rag_run {
    size_t n; /* questions */
    rag_ranking *rankings; /* [n] */
    double *values[RAG_METRICS]; /* [n] each, 0..1 */
    /* Means, and 95 % intervals of them by 1,000 bootstrap samples. */
    double mean[RAG_METRICS], low[RAG_METRICS], high[RAG_METRICS];
    double *ms; /* [n] of each search; NULL: read from a file */
    double p50_ms, p95_ms; /* NaN: not known */
    char *warning; /* the first of the searches; NULL: none */
} rag_run;

/* Searches for every question; documents rank by their best passage among
 * p->k (200) passages, copies kept. */
RAG_API RAG_CHECKED rag_err rag_run_search(rag_store *s,
                                           const rag_collection *c,
                                           const rag_search_params *p,
                                           rag_run **out);
/* A run in TREC's format, of any system.  As trec_eval does, the rank written
 * there is not looked at; ties of scores (as floats) go to the larger id. */
RAG_API RAG_CHECKED rag_err rag_run_read(const rag_collection *c,
                                         const char *path, rag_run **out);
RAG_API RAG_CHECKED rag_err rag_run_write(const rag_run *r, const char *tag,
                                          const char *path);
RAG_API void rag_run_free(rag_run *r); /* NULL is allowed */

/* Of two runs over the same questions: *difference = a - b, and *p by a
 * paired, two-sided randomisation test of 10,000 exchanges. */
RAG_API RAG_CHECKED rag_err rag_run_compare(const rag_run *a, const rag_run *b,
                                            rag_metric m, double *difference,
                                            double *p);

typedef struct rag_ann_eval_options {
    size_t size;
    const char *queries; /* file, as a collection's; NULL: `sample` passages,
                            each of which then does not count as found */
    size_t sample; /* queries at most, spread evenly; 500 */
    size_t k; /* vectors asked for; 200, as many as a search looks at */
    const size_t *efforts; /* [nefforts] ascending; NULL: k/4 to 8k */
    size_t nefforts;
    double target; /* recall that is wanted; 0: none */
} rag_ann_eval_options;

#define RAG_ANN_EVAL_OPTIONS_INIT \
    { \
        .size = sizeof(rag_ann_eval_options) \
    }

typedef struct rag_ann_point {
    size_t effort; /* 0: the index is exact */
    double recall, low, high; /* mean recall@k, 95 % interval */
    double recall10; /* share of the 10 nearest among those found */
    double mean_us, p50_us, p95_us, p99_us; /* of one search, one thread */
} rag_ann_point;

typedef struct rag_ann_eval {
    size_t k, queries, npoints;
    uint64_t vectors;
    int exact; /* a scan, no graph: one point */
    size_t effort; /* of the store's searches for k; 0: the index is exact */
    int kept; /* it is rag_set_effort's, not the index's own choice */
    size_t chosen; /* smallest of the efforts whose interval lies at or above
                      the target; 0: none does, or none was asked for */
    rag_ann_point *points;
} rag_ann_eval;

/* What the store's index loses against exact search over its own vectors, at
 * several efforts.  A result counts if it is as near as the k-th true one. */
RAG_API RAG_CHECKED rag_err rag_eval_ann(rag_store *s,
                                         const rag_ann_eval_options *o,
                                         rag_ann_eval **out);
RAG_API void rag_ann_eval_free(rag_ann_eval *e); /* NULL is allowed */

typedef struct rag_chunk_eval_options {
    size_t size;
    const rag_search_params *search; /* k is not looked at; NULL: defaults */
    size_t k; /* passages; 5 */
    size_t tokens; /* of a prompt that passages are put in; 1000 */
} rag_chunk_eval_options;

#define RAG_CHUNK_EVAL_OPTIONS_INIT \
    { \
        .size = sizeof(rag_chunk_eval_options) \
    }

/* What of the sentences that hold an answer is found, counted in words between
 * blanks: recall, the share of them that is in the passages; precision, the
 * share of the passages that is them; iou, the share of both together that is
 * in both; whole, the share of questions with an answer whole in a passage. */
typedef struct rag_chunk_figures {
    double recall, low, high; /* with 95 % interval */
    double precision, iou, whole;
    double passages; /* mean number of them */
} rag_chunk_figures;

typedef struct rag_chunk_eval {
    size_t questions; /* whose answer stands in a document */
    size_t k, tokens; /* as asked for */
    uint64_t chunks;
    double chunk_tokens; /* mean of them */
    double precision; /* of all chunks that the sentences lie in */
    rag_chunk_figures first; /* of the first k passages */
    rag_chunk_figures within; /* of the first that `tokens` have room for */
} rag_chunk_eval;

/* How well the chunks of a store fit the answers of a collection that was
 * opened with `spans` and added to it. */
RAG_API RAG_CHECKED rag_err rag_eval_chunks(rag_store *s,
                                            const rag_collection *c,
                                            const rag_chunk_eval_options *o,
                                            rag_chunk_eval *out);

/* The effort of the store's searches by its present embedder, kept in it; 0:
 * the index's own choice. */
RAG_API RAG_CHECKED rag_err rag_set_effort(rag_store *s, size_t effort);

/* --- how good answers are --- */

/* Whether the sources hold a question's answer. */
typedef enum rag_answerable {
    RAG_ANSWERABLE_UNTOLD = 0, /* only what is cited is judged */
    RAG_ANSWERABLE_YES = 1, /* it has references */
    RAG_ANSWERABLE_NO = 2 /* a good answer is a refusal */
} rag_answerable;

/* What is measured of an answer, and over which answers its mean goes.  Marks
 * of citations are taken out before texts are compared; of several references
 * the best counts.  An answer refuses if it is empty or its first sentence
 * says that the sources do not hold it. */
typedef enum rag_answer_metric {
    /* Answerable questions. */
    RAG_ANSWER_EXACT = 0, /* as a reference, as SQuAD normalises both */
    RAG_ANSWER_F1 = 1, /* of tokens, as SQuAD has it */
    RAG_ANSWER_ROUGE_L = 2, /* F-measure, as rouge_score without stemming:
                               tokens are runs of a-z and 0-9 */
    RAG_ANSWER_COSINE = 3, /* of answer and reference, by the embedder */
    RAG_ANSWER_SHUFFLED = 4, /* of answers and other answers' references */
    /* All: cited numbers that are sources', of answers that cite any. */
    RAG_ANSWER_VALID = 5,
    /* Answers that do not refuse: sentences with a citation of a source; and
     * 1 for an answer without any citation. */
    RAG_ANSWER_COVERED = 6,
    RAG_ANSWER_UNCITED = 7,
    RAG_ANSWER_REFUSED = 8, /* unanswerable questions: 1 if refused */
    RAG_ANSWER_REFUSED_WRONGLY = 9 /* answerable ones: 1 if refused */
} rag_answer_metric;

#define RAG_ANSWER_METRICS 10

/* "exact_match", "token_f1", "rouge_l", "cosine", "cosine_shuffled",
 * "citations_valid", "sentences_cited", "uncited", "refused_unanswerable",
 * "refused_answerable". */
RAG_API const char *rag_answer_metric_name(rag_answer_metric m);

typedef struct rag_answers_options {
    size_t size;
    /* JSON lines: _id, text or question, and references under answers,
     * answer, references or reference (a string or a list).  A question with
     * an empty list, or "is_impossible": true, is unanswerable, one without
     * any of these keys untold. */
    const char *queries;
    const char *unanswerable; /* a file of such ones alone; NULL: none */
    size_t every; /* only each n-th question of both files; 1 */
    /* JSON lines: _id, answer or text, and where they are known sources (how
     * many, or the list), or cited as rag ask --json has it; a question they
     * do not have is not judged.  NULL: the store is asked. */
    const char *answers;
    const char *output; /* answers are put there as they come, and what is
                           there already is not asked again; NULL: nowhere */
    const rag_ask_params *ask; /* NULL: defaults */
    const char *embedder; /* URI, of the cosines; NULL: the store's */
    const char *const *refusals; /* [nrefusals] phrases that refuse wherever
                                    they stand in an answer, too */
    size_t nrefusals;
    /* A question that got no answer, by its id. */
    void (*on_failed)(void *arg, const char *question, const char *why);
    void *arg;
} rag_answers_options;

#define RAG_ANSWERS_OPTIONS_INIT \
    { \
        .size = sizeof(rag_answers_options) \
    }

typedef struct rag_judged_answer {
    char *question; /* id */
    char *answer; /* NULL: none, and all its values are NaN */
    rag_answerable answerable;
    int refused;
    int told; /* how many sources there were is known */
    size_t sources;
} rag_judged_answer;

typedef struct rag_answer_eval {
    size_t n; /* questions */
    size_t answerable, unanswerable; /* of these */
    size_t answers; /* that were judged */
    size_t asked, failed; /* now: answered, and not */
    size_t cut; /* answers that a model's limit ended */
    size_t strangers; /* answers of a file to none of the questions */
    rag_judged_answer *judged; /* [n] */
    double *values[RAG_ANSWER_METRICS]; /* [n] each; NaN: does not apply */
    /* Over the `count` answers that a metric applies to: mean, and its 95 %
     * interval by 1,000 bootstrap samples; NaN for none. */
    size_t count[RAG_ANSWER_METRICS];
    double mean[RAG_ANSWER_METRICS], low[RAG_ANSWER_METRICS],
        high[RAG_ANSWER_METRICS];
    /* Standard deviations, of means of 1,000 shuffles in which no answer meets
     * its own references, by which the mean cosine lies above theirs; NaN for
     * fewer than three answers. */
    double cosine_z;
    char *model, *embedder; /* model: of the first answer that tells; NULL */
} rag_answer_eval;

/* Judges answers against references, and asks for them if there are none:
 * as rag_ask, one after the other.  A question that fails is told and left
 * out; five that get no answer from a server one after the other end it with
 * the last one's error, as do five before the first answer. */
RAG_API RAG_CHECKED rag_err rag_eval_answers(rag_store *s,
                                             const rag_answers_options *o,
                                             rag_answer_eval **out);
RAG_API void rag_answer_eval_free(rag_answer_eval *e); /* NULL is allowed */

/* --------------------------------------------------------------------- */
/* Keeping it sound                                                       */
/* --------------------------------------------------------------------- */

typedef int (*rag_fault_fn)(void *arg, const char *what, int repairable);

/* Everything: SQLite's own check, texts against their digests, the word
 * index, the index file, vectors of `sample` chunks (0: all).  RAG_EDAMAGED
 * if a fault was found; each was told. */
RAG_API RAG_CHECKED rag_err rag_verify(rag_store *s, size_t sample,
                                       rag_fault_fn fault, void *arg);
/* Makes the word index and the index file again, from the database. */
RAG_API RAG_CHECKED rag_err rag_repair(rag_store *s);
/* Vectors by another embedder, then a switch in one transaction; the old
 * ones stay unless dropped.  uri NULL: the same embedder, only its index. */
RAG_API RAG_CHECKED rag_err rag_reindex(rag_store *s, const char *uri,
                                        int drop_old);
/* A whole copy at dir (which must not be there), while others use it. */
RAG_API RAG_CHECKED rag_err rag_backup(rag_store *s, const char *dir);

#ifdef __cplusplus
}
#endif
#endif
