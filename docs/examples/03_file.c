/* Save an index, look at the file's header, map the file and search it, and change it.
 *
 *     cc 03_file.c $(pkg-config --cflags --libs kith-ann) -o file && ./file
 */
#include <stdio.h>
#include <stdlib.h>

#include <ann/ann.h>

enum { N = 1000, DIM = 8 };

static void must(ann_err err)
{
    if (err != ANN_OK) {
        fprintf(stderr, "%s: %s\n", ann_err_name(err), ann_error_message());
        exit(1);
    }
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "example_03.kith";
    static float vectors[N][DIM];
    static ann_id ids[N];
    for (int i = 0; i < N; i++) {
        ids[i] = 100000 + (ann_id)i; /* ids are the caller's: any 64-bit number */
        for (int j = 0; j < DIM; j++)
            vectors[i][j] = (float)((i * (j + 3)) % 97) - 48.0f + (float)i * 1e-3f;
    }

    /* A spec is the same options as a string, as the programs take them. */
    ann_options options = ANN_OPTIONS_INIT;
    must(ann_options_parse(&options, "hnsw,metric=cosine,m=12,ef_construction=100,seed=7"));
    options.dim = DIM;
    ann_index *index = NULL;
    must(ann_create(&options, &index));
    must(ann_add(index, (ann_view){vectors, N, 0, ANN_F32}, ids));
    must(ann_save(index, path)); /* the old file or the new one, never a half */
    ann_close(index);

    ann_file_info info = {.size = sizeof info};
    must(ann_file_info_read(path, &info));
    printf("%llu vectors of dimension %u in %llu bytes\n", (unsigned long long)info.count,
           info.dim, (unsigned long long)info.file_bytes);

    /* Mapped: ready at once, read as searches touch it. */
    ann_open_options open_options = ANN_OPEN_OPTIONS_INIT;
    open_options.mode = ANN_OPEN_MAP;
    must(ann_open(path, &open_options, &index));
    must(ann_check(index, ANN_CHECK_REACHABLE)); /* every checksum and link */

    ann_id nearest[3];
    must(ann_search(index, (ann_view){vectors[500], 1, 0, ANN_F32},
                    &(ann_search_params){.size = sizeof(ann_search_params), .k = 3}, nearest,
                    NULL));
    printf("nearest to %llu: %llu %llu %llu\n", (unsigned long long)ids[500],
           (unsigned long long)nearest[0], (unsigned long long)nearest[1],
           (unsigned long long)nearest[2]);

    /* The first change copies what was mapped; the file changes when it is saved. */
    size_t removed = 0;
    must(ann_remove(index, 2, nearest, &removed));
    must(ann_compact(index));
    must(ann_save(index, path));
    ann_close(index);

    must(ann_file_info_read(path, &info));
    printf("%llu vectors after removing %zu\n", (unsigned long long)info.count, removed);
    const int wrong = info.count != N - 2 || nearest[0] != ids[500];
    if (argc < 2)
        remove(path);
    return wrong;
}
