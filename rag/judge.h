/* judge.h - how well vectors alone find what people judged relevant: nDCG@10 on a collection.
 *
 * Place: rag, for distillation's report.  Source: Jarvelin, Kekalainen, "Cumulated gain-based
 * evaluation of IR techniques", 2002; gains are linear, as trec_eval's.
 * Invariant: every document is compared with every question, exactly. */
#ifndef KITH_RAG_JUDGE_H
#define KITH_RAG_JUDGE_H

#include <stddef.h>

#include <rag/rag.h>

struct collection;

/* A folder of BEIR's shape: corpus.jsonl (_id, title, text), queries.jsonl (_id, text) and
 * qrels.tsv or qrels/test.tsv (question, document, grade).  Questions without a relevant
 * document that is there are left out; RAG_EFORMAT where none is left. */
rag_err collection_open(const char *folder, struct collection **out);
void collection_close(struct collection *c); /* NULL is allowed */
size_t collection_questions(const struct collection *c);

/* vectors [n, dims] of length 1 of texts [n]. */
typedef rag_err (*collection_embed_fn)(void *arg, const char *const *texts, size_t n,
                                       float *vectors);
/* *ndcg: the mean over the questions, 0..1. */
rag_err collection_judge(const struct collection *c, size_t dims, collection_embed_fn embed,
                         void *arg, double *ndcg);

#endif
