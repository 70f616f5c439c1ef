/* model_data.c - small models made for tests.  See model_data.h. */
#include <config.h>

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ann/base/rng.h"
#include "ann/kernels/kernels.h"
#include "tests/model_data.h"

void tiny_write(const char *dir, const char *name, const void *data, size_t bytes)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    ck_assert_msg(f != NULL, "%s", path);
    ck_assert_uint_eq(fwrite(data, 1, bytes, f), bytes);
    ck_assert_int_eq(fclose(f), 0);
}

static void write_text(const char *dir, const char *name, const char *text)
{
    tiny_write(dir, name, text, strlen(text));
}

void tiny_safetensors(const char *path, const char *header, const void *data, size_t bytes)
{
    const uint64_t n = strlen(header);
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(&n, 1, 8, f), 8);
    ck_assert_uint_eq(fwrite(header, 1, n, f), n);
    ck_assert_uint_eq(fwrite(data, 1, bytes, f), bytes);
    ck_assert_int_eq(fclose(f), 0);
}

static void add(struct tiny *t, const char *name, size_t rows, size_t width, float centre,
                float spread)
{
    struct tiny_tensor *x = &t->tensors[t->n++];
    uint64_t state = 17 + t->n;
    snprintf(x->name, sizeof x->name, "%s", name);
    x->rows = rows;
    x->width = width;
    x->data = malloc(rows * width * sizeof(float));
    ck_assert_ptr_nonnull(x->data);
    for (size_t i = 0; i < rows * width; i++)
        x->data[i] = centre + spread * (float)(2 * rng_unit(&state) - 1);
}

static void add_layer(struct tiny *t, int layer)
{
    static const struct {
        const char *name;
        size_t n, k;
    } linears[] = {{"attention.self.query", TINY_DIMS, TINY_DIMS},
                   {"attention.self.key", TINY_DIMS, TINY_DIMS},
                   {"attention.self.value", TINY_DIMS, TINY_DIMS},
                   {"attention.output.dense", TINY_DIMS, TINY_DIMS},
                   {"intermediate.dense", TINY_INNER, TINY_DIMS},
                   {"output.dense", TINY_DIMS, TINY_INNER}};
    static const char *const norms[] = {"attention.output.LayerNorm", "output.LayerNorm"};
    char name[80];
    for (size_t i = 0; i < 6; i++) {
        snprintf(name, sizeof name, "encoder.layer.%d.%s.weight", layer, linears[i].name);
        add(t, name, linears[i].n, linears[i].k, 0, 0.4f);
        snprintf(name, sizeof name, "encoder.layer.%d.%s.bias", layer, linears[i].name);
        add(t, name, 1, linears[i].n, 0, 0.2f);
    }
    for (size_t i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "encoder.layer.%d.%s.weight", layer, norms[i]);
        add(t, name, 1, TINY_DIMS, 1, 0.3f);
        snprintf(name, sizeof name, "encoder.layer.%d.%s.bias", layer, norms[i]);
        add(t, name, 1, TINY_DIMS, 0, 0.2f);
    }
}

static void write_weights(const struct tiny *t, const char *type, const char *before)
{
    static char header[32768];
    static unsigned char data[1 << 20];
    size_t used = 0, at = 0;
    const size_t each = strcmp(type, "F32") == 0 ? 4 : 2;
    at += (size_t)snprintf(header, sizeof header, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < t->n; i++) {
        const struct tiny_tensor *x = &t->tensors[i];
        const size_t n = x->rows * x->width;
        char shape[48];
        if (x->rows == 1)
            snprintf(shape, sizeof shape, "[%zu]", x->width);
        else
            snprintf(shape, sizeof shape, "[%zu,%zu]", x->rows, x->width);
        at += (size_t)snprintf(
            header + at, sizeof header - at,
            ",\"%s%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}", before,
            x->name, type, shape, used, used + n * each);
        if (each == 4)
            memcpy(data + used, x->data, n * 4);
        else if (strcmp(type, "F16") == 0)
            annk_select()->f32_to_f16(x->data, (uint16_t *)(void *)(data + used), n);
        else
            annk_select()->f32_to_bf16(x->data, (uint16_t *)(void *)(data + used), n);
        used += n * each;
    }
    snprintf(header + at, sizeof header - at, "}");
    char path[128];
    snprintf(path, sizeof path, "%s/model.safetensors", t->dir);
    tiny_safetensors(path, header, data, used);
}

static void write_words(const struct tiny *t, int json)
{
    static const char *const words[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat",
                                        "dog",   "sat",   "on",    "mat",   "##s", "##ing"};
    char text[4096];
    size_t at = (size_t)snprintf(text, sizeof text, "%s",
                                 json ? "{\"normalizer\":{\"lowercase\":true},\"model\":"
                                        "{\"type\":\"WordPiece\",\"vocab\":{"
                                      : "");
    for (int i = 0; i < TINY_TOKENS; i++) {
        char word[16];
        if (i < 12)
            snprintf(word, sizeof word, "%s", words[i]);
        else
            snprintf(word, sizeof word, "%sq%c%c", i % 2 ? "##" : "", 'a' + i % 26,
                     'a' + i / 26);
        if (json)
            at += (size_t)snprintf(text + at, sizeof text - at, "%s\"%s\":%d", i ? "," : "",
                                   word, i);
        else
            at += (size_t)snprintf(text + at, sizeof text - at, "%s\n", word);
    }
    snprintf(text + at, sizeof text - at, "%s", json ? "}}}" : "");
    write_text(t->dir, json ? "tokenizer.json" : "vocab.txt", text);
}

void tiny_make(struct tiny *t, const char *type, const char *before, int json)
{
    memset(t, 0, sizeof *t);
    snprintf(t->dir, sizeof t->dir, "/tmp/kith-model-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(t->dir));
    add(t, "embeddings.word_embeddings.weight", TINY_TOKENS, TINY_DIMS, 0, 1);
    add(t, "embeddings.position_embeddings.weight", TINY_PLACES, TINY_DIMS, 0, 0.5f);
    add(t, "embeddings.token_type_embeddings.weight", 2, TINY_DIMS, 0, 0.2f);
    add(t, "embeddings.LayerNorm.weight", 1, TINY_DIMS, 1, 0.3f);
    add(t, "embeddings.LayerNorm.bias", 1, TINY_DIMS, 0, 0.2f);
    for (int i = 0; i < TINY_LAYERS; i++)
        add_layer(t, i);
    write_weights(t, type, before);
    write_words(t, json);
    char config[512];
    snprintf(config, sizeof config,
             "{\"model_type\":\"bert\",\"hidden_act\":\"gelu\",\"hidden_size\":%d,"
             "\"num_hidden_layers\":%d,\"num_attention_heads\":%d,\"intermediate_size\":%d,"
             "\"max_position_embeddings\":%d,\"vocab_size\":%d,\"layer_norm_eps\":1e-12}",
             TINY_DIMS, TINY_LAYERS, TINY_HEADS, TINY_INNER, TINY_PLACES, TINY_TOKENS);
    write_text(t->dir, "config.json", config);
    write_text(t->dir, "sentence_bert_config.json", "{\"max_seq_length\":16}");
    write_text(t->dir, "config_sentence_transformers.json",
               "{\"prompts\":{\"query\":\"query: \",\"passage\":\"passage: \"}}");
}

void tiny_free(struct tiny *t)
{
    static const char *const names[] = {"model.safetensors",
                                        "config.json",
                                        "vocab.txt",
                                        "tokenizer.json",
                                        "sentence_bert_config.json",
                                        "config_sentence_transformers.json",
                                        "tiny.kith",
                                        "more.kith"};
    char path[128];
    for (size_t i = 0; i < t->n; i++)
        free(t->tensors[i].data);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", t->dir, names[i]);
        unlink(path);
    }
    rmdir(t->dir);
}

const float *tiny_get(const struct tiny *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->tensors[i].name, name) == 0)
            return t->tensors[i].data;
    ck_abort_msg("no tensor %s", name);
    return NULL;
}

const char *model_that_comes_along(const char *name, char path[512])
{
    const char *models = getenv("RAG_MODELS");
    if (!models)
        return NULL;
    snprintf(path, 512, "%s/%s.kith", models, name);
    return access(path, R_OK) == 0 ? path : NULL;
}
