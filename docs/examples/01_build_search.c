/* Build an HNSW index in memory, search it, and compare it with exact search.
 *
 *     cc 01_build_search.c $(pkg-config --cflags --libs kith-ann) -o build_search &&
 * ./build_search
 */
#include <stdio.h>
#include <stdlib.h>

#include <ann/ann.h>

enum { N = 5000, NQ = 100, DIM = 32, K = 10 };

/* Every call that can fail returns a code; the message says what was wrong. */
static void must(ann_err err)
{
    if (err != ANN_OK) {
        fprintf(stderr, "%s: %s\n", ann_err_name(err), ann_error_message());
        exit(1);
    }
}

/* Made-up vectors; a small generator, so that every run prints the same. */
static float uniform(void)
{
    static unsigned state = 1;
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / 16777216.0f;
}

int main(void)
{
    static float vectors[N][DIM], queries[NQ][DIM];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < DIM; j++)
            vectors[i][j] = uniform();
    for (int i = 0; i < NQ; i++)
        for (int j = 0; j < DIM; j++)
            queries[i][j] = uniform();

    ann_options options = ANN_OPTIONS_INIT;
    options.dim = DIM; /* all else has a default: hnsw, l2, m = 16 */
    ann_index *index = NULL;
    must(ann_create(&options, &index));
    must(ann_add(index, (ann_view){vectors, N, 0, ANN_F32}, NULL)); /* ids 0 .. N-1 */

    /* A batch of queries: rows of K results, nearest first. */
    static ann_id ids[NQ][K];
    static float dists[NQ][K];
    ann_search_params params = ANN_SEARCH_PARAMS_INIT;
    params.k = K;
    params.effort = 100;
    must(ann_search(index, (ann_view){queries, NQ, 0, ANN_F32}, &params, ids[0], dists[0]));
    printf("nearest to query 0:");
    for (int i = 0; i < 3; i++)
        printf("  %llu (%.4f)", (unsigned long long)ids[0][i], (double)dists[0][i]);
    printf("\n");

    /* How much of the truth is that? */
    ann_recall_report report = ANN_RECALL_REPORT_INIT;
    must(ann_recall(index, (ann_view){queries, NQ, 0, ANN_F32}, &params, &report));
    printf("recall@%d with effort %zu: %.3f\n", K, params.effort, report.recall);

    ann_close(index);
    return report.recall > 0.9 ? 0 : 1;
}
