/* collection.h - documents, questions and judgments of a test collection.
 *
 * Place: rag/eval.  Formats: BEIR's folders (JSON lines and tables), TREC's topics and qrels.
 * Invariant: questions are the judged ones, in the order of their file; grades ascend by
 * question, then by document, each pair once. */
#ifndef KITH_RAG_EVAL_COLLECTION_H
#define KITH_RAG_EVAL_COLLECTION_H

#include "rag/eval/metrics.h"

struct eval_document {
    char *id, *title, *text; /* title "": none */
};

/* Where an answer stands: bytes of a document's text, half open. */
struct eval_span {
    size_t document;           /* index */
    size_t start, end;         /* the sentences that it stands in; end 0: it stands nowhere */
    size_t answer, answer_end; /* itself */
};

struct eval_question {
    char *id, *text;
    char **answers; /* [nanswers] references, where the file has them */
    size_t nanswers;
    size_t first, grades;  /* grades of it: first .. first + grades - 1 */
    struct eval_span span; /* as articles_spans finds it */
};

struct rag_collection {
    char *name;
    struct eval_document *documents; /* [ndocuments] */
    struct eval_question *questions; /* [nquestions] */
    struct eval_grade *grades;       /* [ngrades] */
    size_t ndocuments, nquestions, ngrades;
    size_t document_room, question_room, grade_room;
};

/* Index of a question by id, SIZE_MAX: none; sorted by collection_open. */
struct eval_names {
    const char *id;
    size_t index;
};
size_t names_find(const struct eval_names *names, size_t n, const char *id);
rag_err names_of_questions(const rag_collection *c, struct eval_names **out);

/* Orders of struct eval_names by id, and of grades by question and document. */
int eval_by_name(const void *a, const void *b);
int eval_by_question(const void *a, const void *b);
/* Finds each question's grades among the ordered ones. */
void eval_count_grades(rag_collection *c);
void eval_document_free(struct eval_document *d);

/* ---- articles.c ---- */

/* Brings texts and answers to the form that a store has them in, and finds of each question the
 * first answer that stands in a relevant document.  RAG_ENOENT: none has one. */
rag_err articles_spans(rag_collection *c);
/* Documents of one title become one, in their order, with the title as id. */
rag_err articles_join(rag_collection *c);

/* The questions of a file alone, judged or not. */
rag_err eval_questions(const char *path, rag_collection **out);

/* Calls each with a line of a file (its end cut off, empty ones left out), counted from 1. */
typedef rag_err (*eval_line_fn)(void *arg, const char *path, size_t line, char *text);
rag_err eval_each_line(const char *path, eval_line_fn each, void *arg);

#endif
