/* error.h - how a module of rag reports an error: a code, and a sentence for people.
 *
 * Place: rag, below its folders; on top of ann/base/error.h, whose message is the thread's.
 * Invariant: rag_err and ann_err agree in the numbers they share. */
#ifndef KITH_RAG_ERROR_H
#define KITH_RAG_ERROR_H

#include <rag/rag.h>

#include "ann/base/error.h"

/* Sets this thread's message; its value is err. */
#define RAG_FAIL(err, ...)                                                                     \
    __extension__({                                                                            \
        const rag_err fail_ = (err);                                                           \
        (void)error_set((ann_err)fail_, __VA_ARGS__);                                          \
        fail_;                                                                                 \
    })

/* What a call of ann/base or ann/io gave back: its message is this thread's already. */
static inline rag_err rag_from_base(ann_err err)
{
    return (rag_err)err;
}

/* What a call of libkith-ann gave back: takes its message over, "what: " before it. */
rag_err rag_from_ann(ann_err err, const char *what);

/* Puts "what: " before this thread's message; returns err. */
rag_err rag_prefix(rag_err err, const char *what);

#endif
