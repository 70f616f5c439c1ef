/* metrics.h - how good a ranking is by what people judged, and how sure that is.
 *
 * Place: rag/eval, a leaf.  Sources: trec_eval's definitions (gains are linear, a grade of 1 or
 * more is relevant, what was not judged is not); Jarvelin, Kekalainen, "Cumulated gain-based
 * evaluation of IR techniques", 2002; Smucker, Allan, Carterette, "A comparison of statistical
 * significance tests for information retrieval evaluation", 2007.
 * Invariant: the same input gives the same numbers, chance included: it is counted from a fixed
 * seed. */
#ifndef KITH_RAG_EVAL_METRICS_H
#define KITH_RAG_EVAL_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include <rag/rag.h>

struct eval_grade {
    uint32_t question; /* index */
    char *document;    /* id */
    int64_t grade;
};

/* Of one question: grades [n], ascending by document, each once; documents [nd], best first,
 * each once.  values [RAG_METRICS]. */
rag_err metrics_of(const struct eval_grade *grades, size_t n, const char *const *documents,
                   size_t nd, double *values);

struct interval {
    double mean, low, high;
};

/* The mean of v [n] (NaN for n 0) and the middle 95 % of the means of 1,000 samples of n drawn
 * with replacement.  RAG_ENOMEM. */
rag_err metrics_interval(const double *v, size_t n, struct interval *out);

/* How likely a difference of means at least as large is if, for each of n questions, it were
 * chance which of a and b has which value: of 10,000 random exchanges.  Two-sided, above 0. */
double metrics_randomisation(const double *a, const double *b, size_t n);

/* The p-quantile (0..1) of v [n] by nearest rank; NaN for n 0.  Sorts v. */
double metrics_quantile(double *v, size_t n, double p);

#endif
