/* hub.h - models fetched from a hub, each file pinned by its sha256.
 *
 * Place: rag/embed, on top of rag/net.  Invariants: no byte of a hub is believed without its
 * hash; a model's folder appears when it is whole.  Only one process fetches a model at a time;
 * what a killed one had finished is used by the next. */
#ifndef KITH_RAG_EMBED_HUB_H
#define KITH_RAG_EMBED_HUB_H

#include "rag/net/net.h"

#define HUB_URL "https://huggingface.co"

struct hub_file {
    const char *path; /* in the hub's repository, and in the model's folder */
    uint64_t bytes;   /* 0: not known */
    const char *sha256;
};

/* A model whose hashes are known here. */
struct hub_model {
    const char *name;     /* what it is asked for by, and its folder's name */
    const char *repo;     /* OWNER/NAME at the hub */
    const char *revision; /* a commit of it */
    const char *licence;
    const struct hub_file *files; /* [n] */
    size_t n;
};

const struct hub_model *hub_models(size_t *n);
/* By name or repo; NULL: not known. */
const struct hub_model *hub_find(const char *name);

struct hub_wish {
    const char *name;     /* a known one, or OWNER/NAME[@REVISION], default main, with pins */
    const char *folder;   /* where models lie; made if it is not there */
    const char *base_url; /* NULL: HUB_URL */
    const char *token;    /* for the hub's own host alone; NULL: none */
    /* The files of a model that is not known here, as paths in its repository. */
    const struct hub_file *pins; /* [npins] */
    size_t npins;
    /* Bytes of a file so far and of all (0: not known); non-zero stops with RAG_ECANCELED.
     * NULL: none. */
    int (*on_progress)(void *arg, const char *file, uint64_t done, uint64_t total);
    void *arg;
};

/* "FILE=HEX" as a pin; both point into spec, which is cut in two.  RAG_EINVAL: neither. */
rag_err hub_pin(char *spec, struct hub_file *out);

/* Brings a model to folder/NAME (OWNER--NAME where it is not known here); files that are there
 * with the right hash are not fetched again.  *dir: that folder, to be freed with mem_free;
 * NULL if not wanted.  RAG_ENOENT: not known, with those that are; RAG_EINVAL: no pins, with
 * how to give them; RAG_EBUSY: another process is at it; RAG_EDAMAGED: the hub has other bytes
 * than those pinned; else as net_download. */
rag_err hub_get(struct net *n, const struct hub_wish *w, char **dir);

#endif
