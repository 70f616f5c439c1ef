/* rag.h - retrieval-augmented generation over an ann index.
 *
 * This is the only public header of libkith-rag. */
#ifndef KITH_RAG_H
#define KITH_RAG_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define RAG_API __attribute__((visibility("default")))
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
    RAG_EINVAL = -1,    /* an argument or a document is wrong              */
    RAG_ENOMEM = -2,    /* out of memory                                   */
    RAG_EDIM = -3,      /* a vector's dimension is not the embedder's      */
    RAG_EEXIST = -4,    /* is there already                                */
    RAG_ENOENT = -5,    /* no such document, chunk, file or embedder       */
    RAG_EIO = -6,       /* the system refused a read or a write            */
    RAG_EFORMAT = -7,   /* not a store, or not text                        */
    RAG_EDAMAGED = -8,  /* the store's bytes are damaged                   */
    RAG_EVERSION = -9,  /* written by a later version                      */
    RAG_ENOTSUP = -10,  /* this build or model cannot do that              */
    RAG_ECANCELED = -11, /* a callback asked to stop                       */
    RAG_EBUSY = -13,    /* another process is writing                      */
    RAG_ELIMIT = -14,   /* larger than a cap                               */
    RAG_EREFUSED = -32, /* a server said no for good (400, 401, 403, 404)  */
    RAG_EUNAVAIL = -33, /* a server did not answer, after all retries      */
    RAG_EPARTIAL = -34, /* some inputs failed, the others are in           */
    RAG_EMISMATCH = -35, /* vectors of another embedder                    */
    RAG_ETOOLARGE = -36 /* a server finds this input too long, for good    */
} rag_err;

/* The name of a code, for example "RAG_EREFUSED".  Never NULL. */
RAG_API const char *rag_err_name(rag_err err);

/* What the last failed call of this thread found, as one sentence without a
 * newline; "" before the first failure.  Valid until the next failure. */
RAG_API const char *rag_error_message(void);

/* Frees what a function gave to the caller to keep; NULL is allowed. */
RAG_API void rag_free(void *p);

#ifdef __cplusplus
}
#endif
#endif
