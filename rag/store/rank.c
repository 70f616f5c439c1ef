/* rank.c - BM25 of a chunk, as a function of FTS5.
 *
 * Place: rag/store.  Robertson et al., "Okapi at TREC-3", 1994, with k1 = 1.2; but the length
 * of a chunk counts for nothing (b = 0): chunks are cut to one length, and FTS5's own bm25(),
 * which reads each row's length from a table of its own, took four times as long for the same
 * nDCG (docs/rag.md). Invariant: the same chunks and question give the same score, more is
 * better. */
#include <config.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rag/store/internal.h"

#define K1          1.2
#define HEAD_WEIGHT 2.0 /* a word of the headings counts twice */
#define PHRASES_MAX 64  /* as many words as words.c asks for */

/* What is worked out once a question: phrases FTS5 looks for, and what each is worth. */
struct weights {
    int n;
    double idf[PHRASES_MAX];
};

static int count_row(const Fts5ExtensionApi *api, Fts5Context *c, void *count)
{
    (void)api;
    (void)c;
    ++*(sqlite3_int64 *)count;
    return SQLITE_OK;
}

static int weigh(const Fts5ExtensionApi *api, Fts5Context *c, struct weights **out)
{
    sqlite3_int64 rows = 0;
    struct weights *w = api->xGetAuxdata(c, 0);
    if (w) {
        *out = w;
        return SQLITE_OK;
    }
    w = sqlite3_malloc(sizeof *w);
    if (!w)
        return SQLITE_NOMEM;
    const int phrases = api->xPhraseCount(c);
    w->n = phrases < PHRASES_MAX ? phrases : PHRASES_MAX;
    int rc = api->xRowCount(c, &rows);
    for (int i = 0; i < w->n && rc == SQLITE_OK; i++) {
        sqlite3_int64 hits = 0;
        rc = api->xQueryPhrase(c, i, &hits, count_row);
        const double idf = log(((double)(rows - hits) + 0.5) / ((double)hits + 0.5));
        w->idf[i] = idf > 1e-6 ? idf : 1e-6; /* in more than half of all chunks */
    }
    if (rc == SQLITE_OK)
        rc = api->xSetAuxdata(c, w, sqlite3_free); /* frees w where it fails */
    else
        sqlite3_free(w);
    *out = w;
    return rc;
}

static void rank(const Fts5ExtensionApi *api, Fts5Context *c, sqlite3_context *result, int n,
                 sqlite3_value **values)
{
    struct weights *w = NULL;
    double score = 0;
    int rc = weigh(api, c, &w);
    (void)n;
    (void)values;
    for (int i = 0; rc == SQLITE_OK && i < w->n; i++) {
        Fts5PhraseIter at;
        int column = 0, offset = 0;
        double f = 0;
        rc = api->xPhraseFirst(c, i, &at, &column, &offset);
        for (; rc == SQLITE_OK && column >= 0; api->xPhraseNext(c, &at, &column, &offset))
            f += column == 0 ? HEAD_WEIGHT : 1.0;
        score += w->idf[i] * f * (K1 + 1) / (f + K1);
    }
    if (rc == SQLITE_OK)
        sqlite3_result_double(result, score);
    else
        sqlite3_result_error_code(result, rc);
}

rag_err rank_register(struct store *s)
{
    fts5_api *api = NULL;
    sqlite3_stmt *st = NULL;
    rag_err err = store_prepare(s, "SELECT fts5(?1)", &st);
    if (!err) {
        sqlite3_bind_pointer(st, 1, &api, "fts5_api_ptr", NULL);
        sqlite3_step(st);
    }
    sqlite3_finalize(st);
    if (!err && (!api || api->iVersion < 2 ||
                 api->xCreateFunction(api, "okapi", NULL, rank, NULL) != SQLITE_OK))
        err = RAG_FAIL(RAG_ENOTSUP, "this SQLite has no FTS5");
    return err;
}
