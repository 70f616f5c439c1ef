/* models.h - what texts of each model's begin with.
 *
 * Place: rag/embed, private. */
#ifndef KITH_RAG_EMBED_MODELS_H
#define KITH_RAG_EMBED_MODELS_H

#include "rag/embed/embed.h"

/* The prefixes of a model by its name, unless the settings embed.prefix_document and
 * embed.prefix_query say otherwise; "" for none.  Borrowed. */
void models_prefixes(const char *model, const struct embed_settings *s, const char **document,
                     const char **query);

#endif
