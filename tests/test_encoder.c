/* test_encoder.c - the encoder against a plain one in double, and against another maker's
 * vectors; what a batch may not change; folders and files that are not as they should be. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/memory.h"
#include "ann/base/pool.h"
#include "ann/io/json.h"
#include "rag/embed/encoder.h"
#include "rag/embed/model.h"
#include "rag/embed/wordpiece.h"
#include "tests/model_data.h"

enum { DIMS = TINY_DIMS };

static double cosine(const float *a, const float *b, size_t dims)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < dims; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

static struct encoder *open_folder(const struct tiny *t)
{
    struct encoder *e = NULL;
    ck_assert_msg(!encoder_open_folder(t->dir, &e), "%s", rag_error_message());
    return e;
}

/* ---- a plain encoder in double ---- */

static void plain_norm(double *x, const float *gamma, const float *beta)
{
    double mean = 0, variance = 0;
    for (int d = 0; d < DIMS; d++)
        mean += x[d] / DIMS;
    for (int d = 0; d < DIMS; d++)
        variance += (x[d] - mean) * (x[d] - mean) / DIMS;
    for (int d = 0; d < DIMS; d++)
        x[d] = (x[d] - mean) / sqrt(variance + 1e-12) * (double)gamma[d] + (double)beta[d];
}

static const float *part(const struct tiny *t, int layer, const char *name)
{
    char whole[128];
    snprintf(whole, sizeof whole, "encoder.layer.%d.%s", layer, name);
    return tiny_get(t, whole);
}

static void plain_linear(const struct tiny *t, int layer, const char *name, const double *in,
                         int k, double *out, int n)
{
    char whole[80];
    snprintf(whole, sizeof whole, "%s.weight", name);
    const float *w = part(t, layer, whole);
    snprintf(whole, sizeof whole, "%s.bias", name);
    const float *bias = part(t, layer, whole);
    for (int i = 0; i < n; i++) {
        out[i] = (double)bias[i];
        for (int j = 0; j < k; j++)
            out[i] += (double)w[i * k + j] * in[j];
    }
}

static void plain_attention(const struct tiny *t, int layer, double x[][DIMS], int n)
{
    static double q[TINY_PLACES][DIMS], k[TINY_PLACES][DIMS], v[TINY_PLACES][DIMS];
    const int head = DIMS / TINY_HEADS;
    for (int i = 0; i < n; i++) {
        plain_linear(t, layer, "attention.self.query", x[i], DIMS, q[i], DIMS);
        plain_linear(t, layer, "attention.self.key", x[i], DIMS, k[i], DIMS);
        plain_linear(t, layer, "attention.self.value", x[i], DIMS, v[i], DIMS);
    }
    for (int i = 0; i < n; i++) {
        double mixed[DIMS] = {0}, out[DIMS];
        for (int h = 0; h < TINY_HEADS; h++) {
            double w[TINY_PLACES], sum = 0;
            for (int j = 0; j < n; j++) {
                double s = 0;
                for (int d = h * head; d < (h + 1) * head; d++)
                    s += q[i][d] * k[j][d];
                sum += w[j] = exp(s / sqrt(head));
            }
            for (int j = 0; j < n; j++)
                for (int d = h * head; d < (h + 1) * head; d++)
                    mixed[d] += w[j] / sum * v[j][d];
        }
        plain_linear(t, layer, "attention.output.dense", mixed, DIMS, out, DIMS);
        for (int d = 0; d < DIMS; d++)
            x[i][d] += out[d];
        plain_norm(x[i], part(t, layer, "attention.output.LayerNorm.weight"),
                   part(t, layer, "attention.output.LayerNorm.bias"));
    }
}

static void plain_encode(const struct tiny *t, const uint32_t *ids, int n,
                         enum encoder_pooling pooling, float *vector)
{
    static double x[TINY_PLACES][DIMS];
    const float *words = tiny_get(t, "embeddings.word_embeddings.weight"),
                *places = tiny_get(t, "embeddings.position_embeddings.weight"),
                *type = tiny_get(t, "embeddings.token_type_embeddings.weight");
    for (int i = 0; i < n; i++) {
        for (int d = 0; d < DIMS; d++)
            x[i][d] = (double)words[ids[i] * DIMS + (uint32_t)d] +
                      (double)places[i * DIMS + d] + (double)type[d];
        plain_norm(x[i], tiny_get(t, "embeddings.LayerNorm.weight"),
                   tiny_get(t, "embeddings.LayerNorm.bias"));
    }
    for (int l = 0; l < TINY_LAYERS; l++) {
        plain_attention(t, l, x, n);
        for (int i = 0; i < n; i++) {
            double inner[TINY_INNER], out[DIMS];
            plain_linear(t, l, "intermediate.dense", x[i], DIMS, inner, TINY_INNER);
            for (int d = 0; d < TINY_INNER; d++)
                inner[d] = 0.5 * inner[d] * (1 + erf(inner[d] / sqrt(2)));
            plain_linear(t, l, "output.dense", inner, TINY_INNER, out, DIMS);
            for (int d = 0; d < DIMS; d++)
                x[i][d] += out[d];
            plain_norm(x[i], part(t, l, "output.LayerNorm.weight"),
                       part(t, l, "output.LayerNorm.bias"));
        }
    }
    for (int d = 0; d < DIMS; d++) {
        double sum = 0;
        for (int i = 0; i < n; i++)
            sum += pooling == ENCODER_MEAN                     ? x[i][d]
                   : i == (pooling == ENCODER_CLS ? 0 : n - 1) ? x[i][d]
                                                               : 0;
        vector[d] = (float)sum;
    }
}

/* Texts of 1 to TINY_PLACES tokens. */
static size_t make_ids(uint32_t *ids, size_t *at, size_t n)
{
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        at[i] = used;
        const size_t tokens = 1 + i * 7 % TINY_PLACES;
        for (size_t t = 0; t < tokens; t++)
            ids[used++] = (uint32_t)((i * 31 + t * 17) % TINY_TOKENS);
    }
    at[n] = used;
    return used;
}

enum { TEXTS = 90 };
static uint32_t ids[TEXTS * TINY_PLACES];
static size_t at[TEXTS + 1];
static float vectors[TEXTS * DIMS], others[TEXTS * DIMS];

START_TEST(as_a_plain_one)
{
    static const struct {
        const char *type, *before;
        double least;
    } rows[] = {{"F32", "", 0.9999999}, {"F16", "bert.", 0.9999}, {"BF16", "", 0.995}};
    struct tiny t;
    float want[DIMS];
    tiny_make(&t, rows[_i].type, rows[_i].before, _i % 2);
    struct encoder *e = open_folder(&t);
    const struct encoder_facts f = encoder_facts(e);
    ck_assert_uint_eq(f.dims, DIMS);
    ck_assert_uint_eq(f.most, 16);
    ck_assert_int_eq(f.pooling, ENCODER_MEAN);
    ck_assert_str_eq(f.prefix_query, "query: ");
    ck_assert_str_eq(f.prefix_document, "passage: ");
    make_ids(ids, at, TEXTS);
    for (int p = ENCODER_MEAN; p <= ENCODER_LAST; p++) {
        encoder_choose(e, (enum encoder_pooling)p, 0);
        ck_assert_int_eq(encoder_embed_ids(e, ids, at, TEXTS, NULL, vectors), RAG_OK);
        for (size_t i = 0; i < TEXTS; i++) {
            plain_encode(&t, ids + at[i], (int)(at[i + 1] - at[i]), (enum encoder_pooling)p,
                         want);
            const double c = cosine(vectors + i * DIMS, want, DIMS);
            ck_assert_msg(c >= rows[_i].least, "%s, text %zu: cosine %.8f", rows[_i].type, i,
                          c);
        }
    }
    encoder_close(e);
    tiny_free(&t);
}
END_TEST

static struct encoder *open_file(const char *path)
{
    struct model *m = NULL;
    struct encoder *e = NULL;
    ck_assert_msg(!model_open(path, &m), "%s", rag_error_message());
    ck_assert_msg(!encoder_open_model(m, &e), "%s", rag_error_message());
    return e;
}

START_TEST(a_batch_changes_nothing)
{
    struct tiny t;
    char path[128];
    struct pool *p = NULL;
    tiny_make(&t, "F32", "", 0);
    struct encoder *e = open_folder(&t);
    snprintf(path, sizeof path, "%s/tiny.kith", t.dir);
    ck_assert_int_eq(encoder_save(e, path, "tiny", "a test", "none"), RAG_OK);
    ck_assert_int_eq(encoder_save(e, path, "tiny", "a test", "none"), RAG_OK);
    struct encoder *q = open_file(path);
    ck_assert_str_eq(encoder_facts(q).name, "tiny");
    ck_assert_str_eq(encoder_facts(q).prefix_query, "query: ");
    ck_assert_uint_eq(encoder_facts(q).most, 16);
    ck_assert_int_eq(encoder_save(q, path, "again", "", ""), RAG_EINVAL);
    make_ids(ids, at, TEXTS);
    ck_assert_int_eq(pool_create(3, &p), ANN_OK);
    ck_assert_int_eq(encoder_embed_ids(q, ids, at, TEXTS, p, vectors), RAG_OK);
    double mean = 0;
    for (size_t i = 0; i < TEXTS; i++) {
        const size_t alone[2] = {at[i], at[i + 1]};
        ck_assert_int_eq(encoder_embed_ids(q, ids, alone, 1, NULL, others), RAG_OK);
        ck_assert_msg(memcmp(others, vectors + i * DIMS, DIMS * sizeof(float)) == 0,
                      "text %zu has another vector alone", i);
        ck_assert_int_eq(encoder_embed_ids(e, ids, alone, 1, NULL, others), RAG_OK);
        const double c = cosine(others, vectors + i * DIMS, DIMS);
        ck_assert_msg(c > 0.9, "text %zu: cosine %.4f to the unquantised", i, c);
        mean += c / TEXTS;
    }
    ck_assert_double_gt(mean, 0.98);
    pool_close(p);
    encoder_close(q);
    encoder_close(e);
    tiny_free(&t);
}
END_TEST

START_TEST(texts)
{
    struct tiny t;
    static const char long_text[] =
        "the cat the cat the cat the cat the cat the cat the cat the cat the cat the cat";
    static const char *const some[] = {"The cats sat on the mat", "", "dog dog dog", long_text};
    tiny_make(&t, "F32", "", 1);
    struct encoder *e = open_folder(&t);
    ck_assert_int_eq(encoder_embed(e, some, 4, NULL, vectors), RAG_OK);
    for (size_t i = 0; i < 4; i++) {
        uint32_t own[64];
        const size_t n = wordpiece_encode(encoder_words(e), some[i], strlen(some[i]), 16, own);
        const size_t ends[2] = {0, n};
        ck_assert_uint_le(n, 16);
        ck_assert_int_eq(encoder_embed_ids(e, own, ends, 1, NULL, others), RAG_OK);
        ck_assert_double_gt(cosine(others, vectors + i * DIMS, DIMS), 0.999999);
    }
    const uint32_t bad[] = {2, TINY_TOKENS, 3};
    const size_t ends[] = {0, 3};
    ck_assert_int_eq(encoder_embed_ids(e, bad, ends, 1, NULL, others), RAG_EINVAL);
    static const uint32_t many[TINY_PLACES + 1];
    const size_t long_ends[] = {0, TINY_PLACES + 1};
    ck_assert_int_eq(encoder_embed_ids(e, many, long_ends, 1, NULL, others), RAG_ETOOLARGE);
    ck_assert_int_eq(encoder_embed_ids(e, many, long_ends, 0, NULL, others), RAG_OK);
    encoder_close(e);
    tiny_free(&t);
}
END_TEST

START_TEST(bad_folders)
{
#define CONFIG(type, act, dims, layers, heads, words)                                          \
    ("{\"model_type\":\"" type "\",\"hidden_act\":\"" act "\",\"hidden_size\":" dims           \
     ",\"num_hidden_layers\":" layers ",\"num_attention_heads\":" heads                        \
     ",\"intermediate_size\":64,\"max_position_embeddings\":24,\"vocab_size\":" words "}")
    static const char *const configs[] = {"",
                                          "[]",
                                          "{}",
                                          "{\"hidden_size\":32}",
                                          CONFIG("bert", "gelu", "-32", "2", "2", "60"),
                                          CONFIG("bert", "gelu", "64", "2", "2", "60"),
                                          CONFIG("bert", "relu", "32", "2", "2", "60"),
                                          CONFIG("gpt2", "gelu", "32", "2", "2", "60"),
                                          CONFIG("bert", "gelu", "32", "2", "3", "60"),
                                          CONFIG("bert", "gelu", "32", "3", "2", "60"),
                                          CONFIG("bert", "gelu", "32", "2", "2", "59")};
    struct tiny t;
    tiny_make(&t, "F32", "", 0);
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        struct encoder *e = NULL;
        tiny_write(t.dir, "config.json", configs[i], strlen(configs[i]));
        ck_assert_msg(encoder_open_folder(t.dir, &e) != RAG_OK, "config %zu was taken", i);
        ck_assert_ptr_null(e);
        ck_assert_str_ne(rag_error_message(), "");
    }
    tiny_free(&t);
}
END_TEST

/* Every allocation of opening a folder fails once: nothing leaks (the sanitizer's build), and
 * the next try works. */
START_TEST(out_of_memory)
{
    struct tiny t;
    struct encoder *e = NULL;
    tiny_make(&t, "F32", "", 1);
    memory_fail_at(0, false);
    e = open_folder(&t);
    const uint64_t asked = memory_fail_at(0, false);
    encoder_close(e);
    for (uint64_t i = 1; i <= asked; i += 1 + asked / 60) {
        e = NULL;
        memory_fail_at(i, false);
        ck_assert_int_eq(encoder_open_folder(t.dir, &e), RAG_ENOMEM);
        memory_fail_at(0, false);
    }
    tiny_free(&t);
}
END_TEST

/* ---- another maker's vectors ---- */

struct reference {
    struct js *line;
    const char *text;
    uint32_t ids[512];
    size_t n, most;
    float vector[384];
};

static bool read_reference(FILE *f, struct reference *r)
{
    static char line[1 << 17];
    do {
        if (!fgets(line, sizeof line, f))
            return false;
    } while (js_parse("reference", line, strlen(line), 0, &r->line) != ANN_OK); /* a NUL */
    const struct js *all = js_get(r->line, "ids"), *vec = js_get(r->line, "embedding");
    r->text = js_string(js_get(r->line, "text"), "");
    r->n = js_count(all);
    r->most = (size_t)js_number(js_get(r->line, "max_tokens"), 0);
    for (size_t i = 0; i < r->n && i < 512; i++)
        r->ids[i] = (uint32_t)js_number(js_at(all, i), 0);
    for (size_t i = 0; i < 384; i++)
        r->vector[i] = (float)js_number(js_at(vec, i), 0);
    return true;
}

static void compare(struct encoder *e, double least, double mean_least)
{
    static struct reference r;
    char path[512];
    snprintf(path, sizeof path, "%s/tests/data/minilm_reference.jsonl", getenv("top_srcdir"));
    FILE *f = fopen(path, "r");
    ck_assert_msg(f != NULL, "%s", path);
    const char *isa = getenv("KITH_ISA");
    const size_t step = isa && strcmp(isa, "scalar") == 0 ? 12 : 1; /* slow there */
    double mean = 0;
    size_t n = 0, lines = 0;
    while (read_reference(f, &r)) {
        uint32_t own[1024];
        float got[384];
        const size_t ends[2] = {0, r.n};
        if (lines++ % step == 0) {
            ck_assert_msg(!encoder_embed_ids(e, r.ids, ends, 1, NULL, got), "%s",
                          rag_error_message());
            const double c = cosine(got, r.vector, 384);
            ck_assert_msg(c >= least, "cosine %.6f: %.60s", c, r.text);
            mean += c;
            n++;
        }
        const size_t tokens =
            wordpiece_encode(encoder_words(e), r.text, strlen(r.text), r.most, own);
        if (!strstr(r.text, "[CLS]")) { /* to us such a word is text */
            ck_assert_uint_eq(tokens, r.n);
            ck_assert_mem_eq(own, r.ids, tokens * sizeof *own);
        }
        js_free(r.line);
    }
    fclose(f);
    ck_assert_uint_ge(lines, 50);
    ck_assert_msg(mean / (double)n >= mean_least, "mean cosine %.6f", mean / (double)n);
}

START_TEST(the_one_that_comes_along)
{
    char path[512];
    if (!model_that_comes_along("minilm-l6-v2", path) || !getenv("top_srcdir"))
        return;
    struct encoder *e = open_file(path);
    ck_assert_uint_eq(encoder_facts(e).most, 256);
    compare(e, 0.985, 0.995);
    encoder_close(e);
}
END_TEST

/* make check-live sets KITH_MINILM to the folder of the weights as they were published. */
START_TEST(as_published)
{
    struct encoder *e = NULL;
    if (!getenv("KITH_MINILM") || !getenv("top_srcdir"))
        return;
    ck_assert_msg(!encoder_open_folder(getenv("KITH_MINILM"), &e), "%s", rag_error_message());
    compare(e, 0.99999, 0.99999);
    encoder_close(e);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("encoder");
    TCase *t = tcase_create("encoder");
    tcase_add_loop_test(t, as_a_plain_one, 0, 3);
    tcase_add_test(t, a_batch_changes_nothing);
    tcase_add_test(t, texts);
    tcase_add_test(t, bad_folders);
    tcase_add_test(t, out_of_memory);
    tcase_add_test(t, the_one_that_comes_along);
    tcase_add_test(t, as_published);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
