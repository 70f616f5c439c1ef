/* answers.h - how near generated answers come to references, what they cite, what they refuse.
 *
 * Place: rag/eval, over rag/text and rag/answer.  Sources: exact match and F1 of tokens as
 * SQuAD's own script has them (Rajpurkar, Jia, Liang, "Know what you don't know", 2018);
 * ROUGE-L (Lin, 2004) as Google's rouge_score has it, without stemming.
 * Invariants: marks of citations are no words of an answer: they are taken out before it is
 * compared; an answer is UTF-8 of at most ANSWER_MOST bytes; the same input gives the same
 * figures, chance included. */
#ifndef KITH_RAG_EVAL_ANSWERS_H
#define KITH_RAG_EVAL_ANSWERS_H

#include <stdbool.h>
#include <stdio.h>

#include "rag/embed/embed.h"
#include "rag/eval/collection.h"

#define ANSWER_MOST ((size_t)1 << 20)

/* ---- texts against references (answers.c) ---- */

struct answer_match {
    double exact, f1, rouge_l; /* 0..1, each the best over the references */
};
/* references [n], at least one. */
rag_err answer_match(const char *answer, const char *const *references, size_t n,
                     struct answer_match *out);

struct answer_cited {
    char *plain;          /* the text without marks; for mem_free */
    size_t used, unknown; /* numbers cited that a source has, and that none has; each once */
    size_t sentences, covered; /* covered: those with a mark of a source */
};
/* A sentence ends as the chunker has it, or with its line, and holds a letter; a mark behind
 * its end is still its own.  Text without a letter is one sentence if it holds a word. */
rag_err answer_cited(const char *text, size_t nsources, struct answer_cited *out);

/* ---- refusals (refusal.c) ---- */

/* Whether text says that the sources do not hold the answer: it has no word, or its first
 * sentence (one that only excuses itself left out) says so in English, or it has one of phrases
 * [n], whatever the case and the marks between the words. */
rag_err answer_refuses(const char *text, const char *const *phrases, size_t n, bool *out);

/* ---- questions and answers in files (answer_files.c) ---- */

struct answer_given {
    char *text, *model; /* text NULL: there is none */
    size_t nsources;    /* SIZE_MAX: not told */
    bool cut;           /* at the model's limit */
};

struct answer_question {
    char *id, *text;
    char **references; /* [n] */
    size_t n;
    rag_answerable kind;
    bool chosen;
    struct answer_given given;
};

struct answer_set {
    struct answer_question *questions; /* [n] */
    size_t n, room;
    struct eval_names *names; /* [n] by id */
    size_t strangers;         /* answers read that belong to no question */
};

/* Questions of both files (either may be NULL), of each every `every`-th chosen. */
rag_err answer_set_read(const char *queries, const char *unanswerable, size_t every,
                        struct answer_set *out);
void answer_set_free(struct answer_set *s);
/* Puts the answers of a file to their questions; settings: what answers that tell how they were
 * made must tell; NULL: anything. */
rag_err answer_set_take(struct answer_set *s, const char *path, const char *settings);

/* A file that answers are put to as they come; file NULL: none. */
struct answer_log {
    FILE *file;
    const char *path;
};
/* Made if it is not there; a last line that was broken off is taken away.  RAG_EBUSY: another
 * process writes it. */
rag_err answer_log_open(const char *path, struct answer_log *log);
/* Writes an answer of q, and keeps it in q. */
rag_err answer_log_put(struct answer_log *log, struct answer_question *q, const rag_answer *a,
                       const char *settings, double ms);
void answer_log_close(struct answer_log *log);

/* ---- cosines (answer_cosine.c) ---- */

/* Vectors [n, dims] of length 1 of texts [n]; 0 of a text without a word.  A text of more than
 * 250 tokens gets the mean of its pieces'. */
struct answer_vectors {
    float *data;
    size_t n, dims;
};
rag_err answer_embed(struct embedder *e, const char *const *texts, size_t n,
                     struct answer_vectors *out);
void answer_vectors_free(struct answer_vectors *v);

/* References of an answer: vectors first .. first + n - 1. */
struct answer_range {
    size_t first, n;
};
/* Of the answers, each with its range of refs [answers->n]: the best cosine to its own (paired
 * [n]), the mean over 1,000 shuffles of that to another answer's (shuffled [n]), and how many
 * standard deviations of a shuffle's mean lie between.  n below 2: shuffled is NaN; below 3, or
 * where all shuffles have one mean: *z is. */
rag_err answer_cosines(const struct answer_vectors *answers, const struct answer_vectors *refs,
                       const struct answer_range *ranges, double *paired, double *shuffled,
                       double *z);

#endif
