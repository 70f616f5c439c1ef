/* Search among some of the vectors only: a filter made from a rule, one made from a list of
 * ids, and a search without any allocation per query.
 *
 *     cc 02_filter.c $(pkg-config --cflags --libs kith-ann) -o filter && ./filter
 */
#include <stdio.h>
#include <stdlib.h>

#include <ann/ann.h>

enum { N = 2000, DIM = 16, K = 5 };

static void must(ann_err err)
{
    if (err != ANN_OK) {
        fprintf(stderr, "%s: %s\n", ann_err_name(err), ann_error_message());
        exit(1);
    }
}

/* The rule: one id in seven. Asked once for each vector when the filter is made, not while
 * searching. */
static int every_nth(void *arg, ann_id id)
{
    const ann_id *n = arg;
    return id % *n == 0;
}

int main(void)
{
    static float vectors[N][DIM];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < DIM; j++)
            vectors[i][j] = (float)((i * 31 + j * 17) % 101) / 101.0f + (float)i * 1e-4f;

    ann_options options = ANN_OPTIONS_INIT;
    options.dim = DIM;
    ann_index *index = NULL;
    must(ann_create(&options, &index));
    must(ann_add(index, (ann_view){vectors, N, 0, ANN_F32}, NULL));

    ann_id n = 7;
    ann_filter *sevens = NULL;
    must(ann_filter_from_callback(index, every_nth, &n, &sevens));
    printf("%zu vectors pass\n", ann_filter_count(sevens));

    ann_search_params params = ANN_SEARCH_PARAMS_INIT;
    params.k = K;
    params.filter = sevens;

    /* A searcher holds the scratch memory of one thread. */
    ann_searcher *searcher = NULL;
    must(ann_searcher_open(index, &params, &searcher));
    int bad = 0;
    for (int q = 0; q < 10; q++) {
        ann_id ids[K];
        float dists[K];
        must(ann_searcher_search(searcher, vectors[q * 100 + 1], ANN_F32, ids, dists));
        for (int i = 0; i < K; i++)
            bad += ids[i] % n != 0;
    }
    ann_searcher_close(searcher);
    ann_filter_close(sevens);

    /* From a list of ids; the five of them are the whole answer. */
    const ann_id few[K] = {3, 33, 333, 1033, 1999};
    ann_filter *listed = NULL;
    must(ann_filter_from_ids(index, K, few, &listed));
    params.filter = listed;
    ann_id ids[K];
    must(ann_search(index, (ann_view){vectors[33], 1, 0, ANN_F32}, &params, ids, NULL));
    for (int i = 0; i < K; i++)
        printf("%llu ", (unsigned long long)ids[i]);
    printf("\n");
    bad += ids[0] != 33;

    ann_filter_close(listed);
    ann_close(index);
    return bad != 0;
}
