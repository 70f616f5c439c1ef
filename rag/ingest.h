/* ingest.h - between the files of ingestion: what is to be read, and what was made of it.
 *
 * Place: rag, private.  prepare.c reads, cuts and (where that costs nothing) embeds in threads;
 * ingest.c writes, in one. */
#ifndef KITH_RAG_INGEST_H
#define KITH_RAG_INGEST_H

#include "rag/internal.h"
#include "rag/text/text.h"

/* A document that is ready to be embedded and put. */
struct ready {
    struct store_document d;
    struct store_chunk *chunks; /* [n] */
    size_t n;
    float *vectors; /* [n, dims] or NULL */
    size_t brought; /* dimensions of a vector that came along; 0: none did */
    bool english;
    struct ready *next;
};

/* A file, and what became of it. */
struct job {
    char *path;   /* to open */
    char *source; /* what it is called in the store */
    struct text_stat st;
    struct store_file known; /* id 0: new */
    /* filled in by prepare.c: */
    rag_err err;
    char message[ERROR_MESSAGE_MAX];
    bool binary; /* no text, as far as can be seen: passed over */
    bool same; /* its bytes are those of `known` */
    struct digest sha256;
    struct ready *docs; /* in their order */
    size_t bytes;       /* of texts */
};

struct prepare; /* threads that prepare jobs ahead of the one who takes them */

struct preparing {
    struct job *jobs; /* [n] */
    size_t n;
    const rag_add_options *o;
    struct text_chunking cut;
    const char *embedder; /* URI of one that costs nothing, else NULL */
    struct rag_store *s;  /* for session_open_embedder alone */
    unsigned threads;
};

rag_err prepare_start(const struct preparing *how, struct prepare **out);
/* Waits until job i is ready; in ascending order. */
struct job *prepare_take(struct prepare *p, size_t i);
/* The job's texts may go. */
void prepare_done(struct prepare *p, size_t i);
void prepare_end(struct prepare *p); /* NULL is allowed; stops what is under way */

/* One document from memory, in the calling thread. */
rag_err prepare_text(const rag_document *doc, const rag_add_options *o,
                     const struct text_chunking *cut, struct embedder *e, struct job *job);

void job_free(struct job *j);

#endif
