/* text.h - documents as normalised text with blocks, and their chunks.
 *
 * Place: rag/text, above base.  Normalised text is UTF-8 in NFC, lines end in LF, no NUL.
 * Invariants: ranges are byte offsets into it, half open, on character boundaries; blocks
 * ascend and do not overlap; no chunk has more tokens than the cap, its head included; every
 * character of a block but white space is in a chunk. */
#ifndef KITH_RAG_TEXT_H
#define KITH_RAG_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rag/rag.h>

/* ---- characters (unicode.c, the sole owner of utf8proc) ---- */

enum text_coding { TEXT_UTF8, TEXT_UTF16LE, TEXT_UTF16BE, TEXT_CP1252 };

struct text_bytes {
    char *data; /* [bytes] and a NUL */
    size_t bytes;
    enum text_coding coding; /* it was written in; cp1252: a guess */
};

#define TEXT_BYTES_MAX ((size_t)256 << 20)

/* Normalised text from raw bytes: by byte order mark, else as UTF-8, else as windows-1252.  NUL
 * and tag characters (U+E0000..E007F, invisible) are dropped.  RAG_EFORMAT for UTF-16 with a
 * lone surrogate or half a unit, RAG_ELIMIT above TEXT_BYTES_MAX; name: what to call it in an
 * error. */
rag_err text_normalise(const char *name, const void *raw, size_t bytes, struct text_bytes *out);
void text_bytes_free(struct text_bytes *t);

/* A NUL among the first 8 KiB, and no mark of UTF-16. */
bool text_is_binary(const void *raw, size_t bytes);

/* True if [bytes] is well-formed UTF-8. */
bool text_is_utf8(const char *s, size_t bytes);

/* Each word of s (letters, marks and digits; of Chinese, Japanese and Thai each character),
 * case folded, in turn; longer than TEXT_WORD_MAX bytes it comes in pieces.  Non-zero from the
 * callback ends it and is returned. */
#define TEXT_WORD_MAX 128
typedef int (*text_word_fn)(void *arg, const char *word, size_t bytes);
int text_words(const char *s, size_t bytes, text_word_fn word, void *arg);

/* Where the grapheme that begins at `at` ends. */
size_t text_grapheme_end(const char *s, size_t bytes, size_t at);

/* The code point at `at` (< bytes) and, at *next, where the following one begins.  s is UTF-8.
 */
uint32_t text_char(const char *s, size_t bytes, size_t at, size_t *next);

/* Writes c as UTF-8; how many bytes, at most 4. */
size_t text_put_char(char *to, uint32_t c);

bool text_is_space(uint32_t c);

/* Lower case as Python's str.lower has it, but that a sigma knows no end of a word; how many
 * characters. */
#define TEXT_LOWER_MAX 2
size_t text_lower(uint32_t c, uint32_t out[TEXT_LOWER_MAX]);

/* A letter or a number of any kind; a mark is neither. */
bool text_is_alnum(uint32_t c);

/* What a tokenizer asks about a character. */
enum text_class { TEXT_OTHER, TEXT_SPACE, TEXT_PUNCTUATION, TEXT_MARK, TEXT_CONTROL };
/* space: Z*, tab, CR, LF; mark: Mn; control: the other Cc, Cf, Co, Cs. */
enum text_class text_class(uint32_t c);

/* c in NFD, each part in lower case where `lower`; how many, at most TEXT_FOLD_MAX. */
#define TEXT_FOLD_MAX 8
size_t text_fold(uint32_t c, bool lower, uint32_t out[TEXT_FOLD_MAX]);
/* A byte that is white space by itself: never one of a longer character. */
static inline bool text_blank(char b)
{
    return b == ' ' || (b >= '\t' && b <= '\r');
}
bool text_is_upper(uint32_t c);
/* Of scripts written without spaces: Han, kana, Thai, Lao, Khmer, Burmese. */
bool text_is_dense(uint32_t c);

/* ---- tokens and sentences (tokens.c) ---- */

/* About how many tokens a model's tokenizer makes of s, rather too many; of two texts put
 * together at most the sum. */
double text_tokens(const char *s, size_t bytes);

/* Where the sentence that begins at `at` ends, with the white space behind it. */
size_t text_sentence_end(const char *s, size_t bytes, size_t at);

/* Where, at `at` < end, the longest run of whole characters ends that has at most `budget`
 * tokens (at least one character). */
size_t text_fit(const char *s, size_t end, size_t at, double budget);

/* ---- documents (blocks.c) ---- */

enum text_format {
    TEXT_AUTO, /* asks for text_detect */
    TEXT_PLAIN,
    TEXT_SOURCE,
    TEXT_MARKDOWN,
    TEXT_HTML,
    TEXT_PDF,
    TEXT_JSONL,
    TEXT_CSV,
    TEXT_TSV,
    TEXT_BINARY
};

enum text_kind { TEXT_PARAGRAPH, TEXT_HEADING, TEXT_ITEM, TEXT_TABLE, TEXT_CODE, TEXT_QUOTE };

struct text_block {
    enum text_kind kind;
    uint8_t level; /* of a heading: 1..6 */
    uint32_t page; /* from 1; 0: no pages */
    size_t start, end;
    size_t body; /* of a table: where its rows begin, after the header; else start */
};

struct text_doc {
    enum text_format format;
    char *id;      /* of a record, within its file; NULL: the file is the document */
    char *title;   /* or NULL */
    char *meta;    /* a JSON object, or NULL */
    float *vector; /* [dims] that came with the record, or NULL */
    size_t dims;
    struct text_bytes text;
    struct text_block *blocks; /* [nblocks] */
    size_t nblocks, room;
    bool running; /* text without marks: chunks of it overlap by a sentence */
};

void text_doc_free(struct text_doc *d);

/* Appends a block (with the white space at its ends taken off; nothing if nothing is left). */
rag_err text_doc_block(struct text_doc *d, struct text_block b);

/* Blocks of d->text as plain text: paragraphs, form feeds between pages; as source code: runs
 * of lines between empty ones; as Markdown (CommonMark with GitHub's tables; front matter
 * between
 * "---" lines goes to d->meta as strings). */
rag_err text_plain(struct text_doc *d);
rag_err text_source(struct text_doc *d);
rag_err text_markdown(struct text_doc *d);

/* Text and blocks from HTML of normalised bytes; replaces d->text.  Scripts, navigation and
 * what is hidden are left out. */
rag_err text_html(struct text_doc *d, const char *name, const char *html, size_t bytes);

/* ---- reading (read.c, records.c, pdf.c) ---- */

struct text_reading {
    enum text_format format;           /* TEXT_AUTO: as text_detect finds */
    size_t max_bytes;                  /* of a file or a PDF's text; 0: 32 MiB */
    unsigned pdf_seconds;              /* 0: 60 */
    const char *id_field, *text_field; /* of a record; NULL: "id", and "text" or "content" */
};

/* By the name's extension, then by content.  name may be NULL. */
enum text_format text_detect(const char *name, const void *raw, size_t bytes);
const char *text_format_name(enum text_format f);
/* The format of that name; TEXT_BINARY: there is none. */
enum text_format text_format_named(const char *name);

/* One document; it may take fields out of *d (leaving NULL), the rest is freed after it.  What
 * it returns other than RAG_OK ends the reading and is returned. */
typedef rag_err (*text_doc_fn)(void *arg, struct text_doc *d);

/* Reads what is at path, or `bytes` at raw called name, and hands each document to `each` in
 * turn; how NULL: defaults.  RAG_EFORMAT: binary or malformed (a record's error names its
 * line), RAG_ELIMIT: larger than max_bytes, RAG_ENOTSUP: no pdftotext, RAG_ENOENT, RAG_EIO. */
rag_err text_read_file(const char *path, const struct text_reading *how, text_doc_fn each,
                       void *arg);
rag_err text_read_bytes(const char *name, const void *raw, size_t bytes,
                        const struct text_reading *how, text_doc_fn each, void *arg);

/* The whole file, for mem_free, with a NUL behind it; RAG_ELIMIT above max (0: 32 MiB),
 * RAG_EINVAL if it is not a regular file. */
rag_err text_load(const char *path, size_t max, char **data, size_t *bytes);

/* Used by the above.  Each record of normalised text t (taken over) as a document. */
rag_err text_records(const char *name, enum text_format f, struct text_bytes *t,
                     const struct text_reading *how, text_doc_fn each, void *arg);
/* What pdftotext makes of a PDF, with form feeds between pages; *out for mem_free. */
rag_err text_pdf(const char *name, const void *pdf, size_t bytes,
                 const struct text_reading *how, char **out, size_t *n);

/* ---- chunks (chunk.c) ---- */

struct text_chunk {
    uint32_t seq;                /* from 0 */
    uint32_t line, page;         /* of start, from 1; page 0: no pages */
    size_t start, end;           /* bytes of the document's text */
    size_t lead_start, lead_end; /* a cut table's header, to be put before; else both 0 */
    char *head;                  /* "title > heading > heading", or "" */
};

struct text_chunking {
    double target, cap; /* tokens, 0: 180 and 250; cap from 32 on, target at most cap */
};

/* The chunks of a document, in order: *chunks [*n], for text_chunks_free.  how NULL: defaults.
 */
rag_err text_chunk(const struct text_doc *d, const struct text_chunking *how,
                   struct text_chunk **chunks, size_t *n);
void text_chunks_free(struct text_chunk *chunks, size_t n);

/* ---- folders (walk.c) ---- */

enum text_skip {
    TEXT_TAKEN,
    TEXT_IGNORED,  /* by a .ragignore, or it is hidden */
    TEXT_EXCLUDED, /* by the caller's globs */
    TEXT_OUTSIDE,  /* a link that leaves the root */
    TEXT_LINKED,   /* a link to a folder, or a file seen already */
    TEXT_TOO_LARGE,
    TEXT_NOT_TEXT, /* binary, or not a regular file */
    TEXT_UNREADABLE,
    TEXT_TOO_DEEP
};
const char *text_skip_reason(enum text_skip why);

struct text_walking {
    const char *const *include, *const *exclude; /* globs, NULL-ended; or NULL */
    size_t max_bytes;                            /* of a file; 0: 32 MiB */
    bool hidden;                                 /* names that begin with a dot too */
};

/* What of a file lets a second reading be skipped. */
struct text_stat {
    uint64_t bytes, inode;
    int64_t mtime_ns;
};

/* path: root and what is below it; below: the part after the root.  st is NULL unless taken.
 * Other than RAG_OK ends the walk and is returned. */
typedef rag_err (*text_walk_fn)(void *arg, const char *path, const char *below,
                                enum text_skip why, const struct text_stat *st);

/* Every file under root (or root itself, a file) in the order of bytes of the names. */
rag_err text_walk(const char *root, const struct text_walking *how, text_walk_fn each,
                  void *arg);

/* Whether a gitignore-like pattern fits the path: "*" and "?" and "[a-z]" within a name, "**"
 * across folders; without a slash inside it is tried at every level. */
bool text_glob(const char *pattern, const char *path);

#endif
