/* results.c - what a search found: a table for people, JSON Lines, TSV, npy or ivecs.
 *
 * Place: ann/cli.  Invariant: a file appears only when all results are in it; to standard
 * output they go as they come. */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "ann/cli/cli.h"
#include "ann/io/json.h"

struct results {
    enum results_format format;
    size_t k;
    uint64_t queries;
    FILE *text;              /* table, jsonl, tsv */
    struct io_target target; /* of text that is a file */
    struct js_out line;
    struct io_writer *ids, *dists;
    int64_t *row; /* [k] */
    float *far;   /* [k] */
};

enum results_format results_choose(const struct args *a)
{
    static const char *const names[] = {"table", "jsonl", "tsv", "npy", "ivecs"};
    for (size_t i = 0; a->format && i < 5; i++)
        if (strcmp(names[i], a->format) == 0)
            return (enum results_format)i;
    if (!a->output || strcmp(a->output, "-") == 0)
        return isatty(STDOUT_FILENO) ? RESULTS_TABLE : RESULTS_JSONL;
    const size_t n = strlen(a->output);
    if (n > 4 && strcmp(a->output + n - 4, ".tsv") == 0)
        return RESULTS_TSV;
    const enum io_format f = io_format_of(a->output);
    return f == IO_NPY ? RESULTS_NPY : f == IO_IVECS ? RESULTS_IVECS : RESULTS_JSONL;
}

void results_drop(struct results *r)
{
    if (!r)
        return;
    if (r->text && r->text != stdout)
        fclose(r->text);
    io_target_drop(&r->target);
    js_out_free(&r->line);
    io_abandon(r->ids);
    io_abandon(r->dists);
    mem_free(r->row);
    mem_free(r->far);
    mem_free(r);
}

static ann_err open_matrices(const struct args *a, struct results *r, size_t nq)
{
    const bool npy = r->format == RESULTS_NPY;
    const struct io_layout ids = {.format = npy ? IO_NPY : IO_IVECS,
                                  .type = npy ? IO_I64 : IO_I32, .dim = r->k, .n = nq};
    const struct io_layout dists = {.type = IO_F32, .dim = r->k, .n = nq};
    r->row = mem_zalloc(r->k, sizeof *r->row);
    r->far = mem_zalloc(r->k, sizeof *r->far);
    if (!r->row || !r->far)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %zu results", r->k);
    ann_err err = io_create(a->output ? a->output : "-", &ids, &r->ids);
    if (!err && a->distances)
        err = io_create(a->distances, &dists, &r->dists);
    return err;
}

static ann_err open_text(const struct args *a, struct results *r)
{
    if (!a->output || strcmp(a->output, "-") == 0) {
        r->text = stdout;
    } else {
        const ann_err err = io_target_open(a->output, &r->target);
        if (err)
            return err;
        const int fd = dup(r->target.fd);
        r->text = fd < 0 ? NULL : fdopen(fd, "w");
        if (!r->text) {
            if (fd >= 0)
                close(fd);
            return ANN_FAIL(ANN_EIO, "%s: %s", a->output, strerror(errno));
        }
    }
    return ANN_OK;
}

ann_err results_open(const struct args *a, enum results_format f, size_t k, size_t nq,
                     struct results **out)
{
    struct results *r = mem_zalloc(1, sizeof *r);
    if (!r)
        return ANN_FAIL(ANN_ENOMEM, "out of memory");
    r->format = f;
    r->k = k;
    r->target.fd = -1;
    const bool matrix = f == RESULTS_NPY || f == RESULTS_IVECS;
    const ann_err err = matrix ? open_matrices(a, r, nq) : open_text(a, r);
    if (err) {
        results_drop(r);
        return err;
    }
    *out = r;
    return ANN_OK;
}

static ann_err put_line(struct results *r, size_t n, const ann_id *ids, const float *dists)
{
    struct js_out *o = &r->line;
    js_open(o, NULL, '{');
    js_put_u64(o, "query", r->queries);
    js_open(o, "ids", '[');
    for (size_t i = 0; i < n; i++)
        js_put_u64(o, NULL, ids[i]);
    js_shut(o, ']');
    js_open(o, "distances", '[');
    for (size_t i = 0; i < n; i++)
        js_put_float(o, NULL, dists[i]);
    js_shut(o, ']');
    js_shut(o, '}');
    return js_line(o, r->text);
}

static ann_err put_rows(struct results *r, size_t n, const ann_id *ids, const float *dists)
{
    char number[JS_NUMBER_MAX];
    if (r->format == RESULTS_TABLE && r->queries == 0)
        fprintf(r->text, "%8s %6s %20s  %s\n", "query", "rank", "id", "distance");
    for (size_t i = 0; i < n; i++) {
        js_format_float(number, dists[i]);
        fprintf(r->text,
                r->format == RESULTS_TSV ? "%llu\t%zu\t%llu\t%s\n" : "%8llu %6zu %20llu  %s\n",
                (unsigned long long)r->queries, i + 1, (unsigned long long)ids[i], number);
    }
    return ferror(r->text) ? ANN_FAIL(ANN_EIO, "the results cannot be written") : ANN_OK;
}

static ann_err put_matrices(struct results *r, size_t n, const ann_id *ids, const float *dists)
{
    for (size_t i = 0; i < r->k; i++) {
        if (i < n && ids[i] > INT64_MAX)
            return ANN_FAIL(ANN_EINVAL,
                            "id %llu is too large for the integers of npy and ivecs",
                            (unsigned long long)ids[i]);
        r->row[i] = i < n ? (int64_t)ids[i] : -1;
        r->far[i] = i < n ? dists[i] : __builtin_inff();
    }
    const struct io_matrix row = {.data = r->row, .n = 1, .dim = r->k, .stride = r->k,
                                  .type = IO_I64, .rank = 2};
    struct io_matrix far = row;
    far.data = r->far;
    far.type = IO_F32;
    ann_err err = io_write(r->ids, &row);
    if (!err && r->dists)
        err = io_write(r->dists, &far);
    return err;
}

ann_err results_put(struct results *r, size_t n, const ann_id *ids, const float *dists)
{
    ann_err err;
    if (r->format == RESULTS_JSONL)
        err = put_line(r, n, ids, dists);
    else if (r->text)
        err = put_rows(r, n, ids, dists);
    else
        err = put_matrices(r, n, ids, dists);
    r->queries++;
    return err;
}

static ann_err finish_text(struct results *r)
{
    FILE *f = r->text;
    if (f == stdout) /* session_end looks after it */
        return ANN_OK;
    r->text = NULL;
    if (fclose(f) != 0)
        return ANN_FAIL(ANN_EIO, "%s: %s", r->target.path, strerror(errno));
    return io_target_commit(&r->target);
}

ann_err results_finish(struct results *r)
{
    ann_err err = ANN_OK;
    if (r->text)
        err = finish_text(r);
    if (r->ids) {
        err = io_finish(r->ids);
        r->ids = NULL;
    }
    if (!err && r->dists) {
        err = io_finish(r->dists);
        r->dists = NULL;
    }
    results_drop(r);
    return err;
}
