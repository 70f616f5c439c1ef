/* error.c - names of codes, messages across the two libraries.
 *
 * Place: rag.  libkith-ann keeps a message of its own, for base is linked into both. */
#include <config.h>

#include "rag/error.h"

#include "ann/base/memory.h"

const char *rag_err_name(rag_err err)
{
    switch (err) {
    case RAG_OK:
        return "RAG_OK";
    case RAG_EINVAL:
        return "RAG_EINVAL";
    case RAG_ENOMEM:
        return "RAG_ENOMEM";
    case RAG_EDIM:
        return "RAG_EDIM";
    case RAG_EEXIST:
        return "RAG_EEXIST";
    case RAG_ENOENT:
        return "RAG_ENOENT";
    case RAG_EIO:
        return "RAG_EIO";
    case RAG_EFORMAT:
        return "RAG_EFORMAT";
    case RAG_EDAMAGED:
        return "RAG_EDAMAGED";
    case RAG_EVERSION:
        return "RAG_EVERSION";
    case RAG_ENOTSUP:
        return "RAG_ENOTSUP";
    case RAG_ECANCELED:
        return "RAG_ECANCELED";
    case RAG_EBUSY:
        return "RAG_EBUSY";
    case RAG_ELIMIT:
        return "RAG_ELIMIT";
    case RAG_EREFUSED:
        return "RAG_EREFUSED";
    case RAG_EUNAVAIL:
        return "RAG_EUNAVAIL";
    case RAG_EPARTIAL:
        return "RAG_EPARTIAL";
    case RAG_EMISMATCH:
        return "RAG_EMISMATCH";
    case RAG_ETOOLARGE:
        return "RAG_ETOOLARGE";
    }
    return "unknown";
}

const char *rag_error_message(void)
{
    return error_message();
}

rag_err rag_from_ann(ann_err err, const char *what)
{
    if (err == ANN_OK)
        return RAG_OK;
    return RAG_FAIL((rag_err)err, "%s: %s", what, ann_error_message());
}

rag_err rag_prefix(rag_err err, const char *what)
{
    (void)error_prefix((ann_err)err, what);
    return err;
}

void rag_free(void *p)
{
    mem_free(p);
}
