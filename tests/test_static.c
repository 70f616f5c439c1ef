/* test_static.c - static tables against plain means, from every kind of file; distillation: the
 * same bytes from any number of threads, nearer to the teacher than before. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "ann/base/pool.h"
#include "rag/embed/distill.h"
#include "rag/embed/encoder.h"
#include "rag/embed/model.h"
#include "rag/embed/static.h"
#include "tests/model_data.h"

enum { DIMS = 20, TOKENS = 6 };

static char dir[64], path[128];
static const char tokens[] = "[UNK]\0[CLS]\0[SEP]\0cat\0dog\0##s"; /* and a NUL */
static float rows[TOKENS * DIMS];

static void setup(void)
{
    snprintf(dir, sizeof dir, "/tmp/kith-static-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/t.kith", dir);
    for (int i = 0; i < TOKENS * DIMS; i++)
        rows[i] = (float)sin(i * i + 1);
}

static void teardown(void)
{
    static const char *const names[] = {"t.kith", "u.kith",    "v.kith",
                                        "w.txt",  "vocab.txt", "model.safetensors"};
    char file[160];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(file, sizeof file, "%s/%s", dir, names[i]);
        unlink(file);
    }
    ck_assert_int_eq(rmdir(dir), 0);
}

static struct table *open_file(const char *file)
{
    struct model *m = NULL;
    struct table *t = NULL;
    ck_assert_msg(!model_open(file, &m), "%s", rag_error_message());
    ck_assert_msg(!table_open_model(m, &t), "%s", rag_error_message());
    return t;
}

/* The mean of some rows, less mean, of length 1. */
static void plain(const int *which, size_t n, const float *mean, double *out)
{
    double norm = 0;
    for (int d = 0; d < DIMS; d++) {
        out[d] = 0;
        for (size_t i = 0; i < n; i++)
            out[d] += (double)rows[which[i] * DIMS + d] - (mean ? (double)mean[d] : 0);
        norm += out[d] * out[d];
    }
    for (int d = 0; d < DIMS; d++)
        out[d] /= sqrt(norm);
}

static void expect(const struct table *t, const char *text, const double *want)
{
    float got[DIMS + 1];
    got[DIMS] = 77;
    const uint64_t before = memory_fail_at(0, false);
    (void)before;
    table_embed(t, text, strlen(text), got);
    ck_assert_msg(memory_fail_at(0, false) == 0, "embedding asked for memory");
    ck_assert_float_eq(got[DIMS], 77);
    for (int d = 0; d < DIMS; d++)
        ck_assert_msg(fabs((double)got[d] - want[d]) < 0.01, "%s: %d is %g, not %g", text, d,
                      (double)got[d], want[d]);
}

START_TEST(pieces)
{
    static float mean[DIMS];
    double want[DIMS], axis[DIMS] = {1};
    for (int d = 0; d < DIMS; d++)
        mean[d] = 0.1f * (float)(d % 3);
    for (int with = 0; with < 2; with++) {
        const struct table_parts p = {.name = "t",
                                      .words = tokens,
                                      .bytes = sizeof tokens,
                                      .n = TOKENS,
                                      .wordpiece = true,
                                      .lower = true,
                                      .dims = DIMS,
                                      .stride = DIMS,
                                      .rows = rows,
                                      .mean = with ? mean : NULL};
        ck_assert_msg(!table_write(&p, path, NULL), "%s", rag_error_message());
        struct table *t = open_file(path);
        ck_assert_uint_eq(table_facts(t).dims, DIMS);
        ck_assert(table_facts(t).wordpiece);
        plain((const int[]){3, 5, 4}, 3, p.mean, want);
        expect(t, "Cats, dog!", want);
        plain((const int[]){4}, 1, p.mean, want);
        expect(t, "zebra dog", want);
        expect(t, "", axis);
        expect(t, "zebra", axis);
        const char *token;
        float vec[DIMS];
        ck_assert(table_token(t, 4, &token, vec));
        ck_assert_str_eq(token, "dog");
        ck_assert_float_eq_tol(vec[7], rows[4 * DIMS + 7], 0.01f);
        ck_assert(!table_token(t, TOKENS, &token, vec));
        ck_assert_int_eq(table_save(t, path, "again", "", ""), RAG_EINVAL);
        table_close(t);
    }
}
END_TEST

START_TEST(word_vectors)
{
    const char *text = "the 1 0 0\ncat 0 1 0\nDog 0 0 1\n";
    const char *file = path;
    struct table *t = NULL;
    float got[3], again[3];
    tiny_write(dir, "t.kith", text, strlen(text));
    ck_assert_msg(!table_open_words(file, &t), "%s", rag_error_message());
    table_embed(t, "The cat", 7, got); /* Zipf: the first word weighs less */
    const double ratio = (double)got[1] / (double)got[0];
    const double share1 = 1 / log(4), share2 = 1 / (2 * log(4));
    ck_assert_double_eq_tol(ratio, (1e-3 + share1) / (1e-3 + share2), 1e-3);
    ck_assert_float_eq(got[2], 0); /* "Dog" is not "dog" */
    char kept[160];
    snprintf(kept, sizeof kept, "%s/u.kith", dir);
    ck_assert_msg(!table_save(t, kept, "glove", "here", "PDDL"), "%s", rag_error_message());
    table_close(t);
    t = open_file(kept);
    ck_assert_str_eq(table_facts(t).name, "glove");
    ck_assert(!table_facts(t).wordpiece);
    table_embed(t, "The cat", 7, again);
    for (int d = 0; d < 3; d++)
        ck_assert_float_eq_tol(got[d], again[d], 0.01f);
    table_close(t);
}
END_TEST

START_TEST(model2vec)
{
    static const char words[] = "[UNK]\n[CLS]\n[SEP]\ncat\ndog\n##s\n";
    struct {
        float rows[4][2], weights[6];
        int64_t mapping[6];
    } data = {{{1, 0}, {0, 1}, {1, 1}, {-1, 1}}, {1, 1, 1, 0.5f, 2, 1}, {0, 0, 0, 1, 2, 3}};
    char header[512], file[160];
    snprintf(header, sizeof header,
             "{\"embeddings\":{\"dtype\":\"F32\",\"shape\":[4,2],\"data_offsets\":[0,32]},"
             "\"weights\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[32,56]},"
             "\"mapping\":{\"dtype\":\"I64\",\"shape\":[6],\"data_offsets\":[56,104]}}");
    tiny_write(dir, "vocab.txt", words, sizeof words - 1);
    snprintf(file, sizeof file, "%s/model.safetensors", dir);
    for (int bad = 0; bad < 3; bad++) {
        struct table *t = NULL;
        float got[2];
        data.mapping[5] = bad == 1 ? 4 : bad == 2 ? -1 : 3;
        tiny_safetensors(file, header, &data, sizeof data);
        if (bad) {
            ck_assert_int_eq(table_open_folder(dir, &t), RAG_EFORMAT);
            continue;
        }
        ck_assert_msg(!table_open_folder(dir, &t), "%s", rag_error_message());
        table_embed(t, "cat dog", 7, got); /* 0.5 (0, 1) + 2 (1, 1) */
        ck_assert_float_eq_tol(got[0] / got[1], 2 / 2.5f, 1e-5f);
        table_close(t);
    }
    tiny_safetensors(file,
                     "{\"embeddings\":{\"dtype\":\"F32\",\"shape\":[4,2],"
                     "\"data_offsets\":[0,32]}}",
                     &data, sizeof data);
    struct table *t = NULL;
    ck_assert_int_eq(table_open_folder(dir, &t), RAG_EFORMAT); /* 6 tokens, 4 rows */
}
END_TEST

/* ---- distillation ---- */

enum { TEXTS = 300 };
static char made[TEXTS][96];
static const char *texts[TEXTS];

static void make_texts(void)
{
    static const char *const words[] = {"the", "cat", "dog",  "sat",
                                        "on",  "mat", "cats", "dogs"};
    for (size_t i = 0; i < TEXTS; i++) {
        size_t at = 0;
        for (size_t k = 0; k < 4 + i % 7; k++)
            at += (size_t)snprintf(made[i] + at, sizeof made[i] - at, "%s ",
                                   words[(i * 7 + k * k * 3 + i / 5) % 8]);
        texts[i] = made[i];
    }
}

static int stop_at_once(void *arg, const char *what, uint64_t done, uint64_t total)
{
    (void)arg;
    (void)what;
    (void)done;
    (void)total;
    return 1;
}

static bool same_files(const char *a, const char *b)
{
    char *x = NULL, *y = NULL;
    FILE *f = fopen(a, "rb"), *g = fopen(b, "rb");
    x = malloc(1 << 20);
    y = malloc(1 << 20);
    const size_t n = fread(x, 1, 1 << 20, f), m = fread(y, 1, 1 << 20, g);
    const bool same = n == m && n > 100 && memcmp(x, y, n) == 0;
    fclose(f);
    fclose(g);
    free(x);
    free(y);
    return same;
}

START_TEST(distillation)
{
    struct tiny tiny;
    struct encoder *teacher = NULL;
    struct distill_report r[3];
    char files[3][160];
    make_texts();
    tiny_make(&tiny, "F32", "", 0);
    ck_assert_msg(!encoder_open_folder(tiny.dir, &teacher), "%s", rag_error_message());
    struct distill d = {
        .teacher = teacher, .texts = texts, .n = TEXTS, .dims = 16, .epochs = 8, .name = "t"};
    for (int i = 0; i < 3; i++) {
        snprintf(files[i], sizeof files[i], "%s/%c.kith", dir, "tuv"[i]);
        ck_assert_int_eq(pool_create(i == 1 ? 3 : 1, &d.pool), ANN_OK);
        d.seed = i == 2 ? 5 : 0;
        ck_assert_msg(!distill_run(&d, files[i], &r[i]), "%s", rag_error_message());
        pool_close(d.pool);
    }
    ck_assert_msg(same_files(files[0], files[1]), "three threads make other bytes than one");
    ck_assert_msg(!same_files(files[0], files[2]), "another seed makes the same bytes");
    ck_assert_uint_eq(r[0].texts, TEXTS);
    ck_assert_double_gt(r[0].after, r[0].before + 0.1);
    ck_assert_double_gt(r[0].held_after, r[0].held_before);
    ck_assert_double_gt(r[0].kept, 0.5);
    struct table *t = open_file(files[0]);
    ck_assert_uint_eq(table_facts(t).dims, 16);
    table_close(t);
    ck_assert_int_eq(pool_create(1, &d.pool), ANN_OK);
    d.progress = stop_at_once;
    ck_assert_int_eq(distill_run(&d, files[0], NULL), RAG_ECANCELED);
    d.progress = NULL;
    d.dims = 48;
    ck_assert_int_eq(distill_run(&d, files[0], NULL), RAG_EINVAL);
    d.dims = 17;
    ck_assert_int_eq(distill_run(&d, files[0], NULL), RAG_EINVAL);
    d.dims = 16;
    d.n = 50;
    ck_assert_int_eq(distill_run(&d, files[0], NULL), RAG_EINVAL);
    pool_close(d.pool);
    encoder_close(teacher);
    tiny_free(&tiny);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("static");
    TCase *t = tcase_create("static");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, pieces);
    tcase_add_test(t, word_vectors);
    tcase_add_test(t, model2vec);
    tcase_add_test(t, distillation);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
