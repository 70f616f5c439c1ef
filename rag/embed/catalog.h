/* catalog.h - where models of this process are found by name.
 *
 * Place: rag/embed, above ann/io.  A name is a path where it has a slash or a file of that name
 * is there; else NAME.kith or the folder NAME is looked for in RAG_MODELS (folders, a colon
 * between), the user's folder, and the one of the installation. */
#ifndef KITH_RAG_EMBED_CATALOG_H
#define KITH_RAG_EMBED_CATALOG_H

#include <stddef.h>

#include <rag/rag.h>

/* The static one that comes along; RAG_CONTEXTUAL_DEFAULT is the other. */
#define CATALOG_STATIC "english-v1"

/* *path for mem_free; RAG_ENOENT says where it was looked for, and the two ways to get one. */
rag_err catalog_find(const char *name, char **path);

/* Each model's path that is found, nearest folder first, in the order of names; one further
 * away of the same name is passed over.  Non-zero ends it. */
rag_err catalog_each(int (*each)(void *arg, const char *name, const char *path), void *arg);

/* Where the user's own are kept; made if it is not there.  *path for mem_free. */
rag_err catalog_user_folder(char **path);

#endif
