/* judge.h - how well vectors alone find what people judged relevant: nDCG@10 on a collection.
 *
 * Place: rag/eval, for distillation's report.
 * Invariant: every document is compared whole with every question, exactly. */
#ifndef KITH_RAG_EVAL_JUDGE_H
#define KITH_RAG_EVAL_JUDGE_H

#include "rag/eval/collection.h"

/* vectors [n, dims] of length 1 of texts [n]. */
typedef rag_err (*judge_embed_fn)(void *arg, const char *const *texts, size_t n,
                                  float *vectors);
/* *ndcg: the mean over the questions, 0..1. */
rag_err judge_vectors(const rag_collection *c, size_t dims, judge_embed_fn embed, void *arg,
                      double *ndcg);

#endif
