/* encoder.h - BERT-family encoders: texts become contextual vectors, in this process.
 *
 * Place: rag/embed, above wordpiece, safetensors, model and the kernels of layers.h.
 * Sources: Vaswani et al., 2017; Devlin et al., "BERT", NAACL 2019; Reimers, Gurevych,
 * "Sentence-BERT", EMNLP 2019 (pooling).
 * Invariant: a text's vector depends on the text alone, not on what else is in its batch: no
 * padding is computed, every sum runs over one text in one order. */
#ifndef KITH_RAG_EMBED_ENCODER_H
#define KITH_RAG_EMBED_ENCODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rag/rag.h>

struct model;
struct pool;
struct wordpiece;

enum encoder_pooling { ENCODER_MEAN, ENCODER_CLS, ENCODER_LAST };

struct encoder; /* one thread at a time; it spreads its work over a pool itself */

/* A Hugging Face folder: config.json, model.safetensors (f32, f16 or bf16), tokenizer.json or
 * vocab.txt; modules.json, 1_Pooling/config.json and sentence_bert_config.json where there are
 * any.  Weights are used as f32.  RAG_ENOTSUP names what an encoder has that this one lacks. */
rag_err encoder_open_folder(const char *dir, struct encoder **out);
/* kith's own file, kind "encoder": quantised, used as it lies.  m becomes the encoder's, also
 * where it fails. */
rag_err encoder_open_model(struct model *m, struct encoder **out);
void encoder_close(struct encoder *e); /* NULL is allowed */

struct encoder_facts {
    uint32_t dims, layers, heads, inner, positions, tokens;
    uint32_t most; /* tokens of a text that are looked at, [CLS] and [SEP] included */
    enum encoder_pooling pooling;
    bool normalised, quantised;
    const char *name, *revision;                /* borrowed */
    const char *prefix_document, *prefix_query; /* borrowed, "" for none */
};
struct encoder_facts encoder_facts(const struct encoder *e);
const struct wordpiece *encoder_words(const struct encoder *e);

/* Before the first text: another pooling than the model's own; tokens a text may have (0: the
 * model's own number, at most its positions). */
void encoder_choose(struct encoder *e, enum encoder_pooling pooling, uint32_t most);

/* vectors [n, dims] of texts [n] (UTF-8); p NULL: this thread alone. */
rag_err encoder_embed(struct encoder *e, const char *const *texts, size_t n, struct pool *p,
                      float *vectors);
/* The same of texts that are ids already, special ones included: text i is ids [at[i]] to
 * ids [at[i + 1] - 1], at least one. */
rag_err encoder_embed_ids(struct encoder *e, const uint32_t *ids, const size_t *at, size_t n,
                          struct pool *p, float *vectors);

/* Writes it as kith's own file: token vectors in 4 bits, layers in 8.  name, source, licence:
 * what the file shall say. */
rag_err encoder_save(const struct encoder *e, const char *path, const char *name,
                     const char *source, const char *licence);

#endif
