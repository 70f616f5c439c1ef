/* test_modelfile.c - kith's model files and safetensors: what is written is read; every cut and
 * every flipped byte; shapes and places that lie. */
#include <config.h>

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ann/base/rng.h"
#include "rag/embed/catalog.h"
#include "rag/embed/encoder.h"
#include "rag/embed/model.h"
#include "rag/embed/safetensors.h"
#include "rag/embed/static.h"
#include "tests/model_data.h"

static char dir[64], path[128];

static void setup(void)
{
    snprintf(dir, sizeof dir, "/tmp/kith-file-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/m.kith", dir);
}

static void teardown(void)
{
    unlink(path);
    ck_assert_int_eq(rmdir(dir), 0); /* nothing else was left */
}

static unsigned char *slurp(size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    ck_assert_ptr_nonnull(f);
    fseek(f, 0, SEEK_END);
    *bytes = (size_t)ftell(f);
    rewind(f);
    unsigned char *all = malloc(*bytes);
    ck_assert_uint_eq(fread(all, 1, *bytes, f), *bytes);
    fclose(f);
    return all;
}

/* ---- kith's own ---- */

static void write_sample(void)
{
    static float f32[6] = {1, 2, 3, 4, 5, 6};
    static const uint16_t f16[4] = {1, 2, 3, 4};
    static const int8_t i8[5] = {-1, 0, 1, 2, 3};
    static const uint8_t q4[32 + 4] = {7};
    static struct model_draft d;
    memset(&d, 0, sizeof d);
    d.kind = "sample";
    model_put_text(&d, "name", "näme");
    model_put_text(&d, "licence", "");
    model_put_number(&d, "dims", UINT64_MAX);
    model_put_tensor(&d, "a", "f32", 2, 3, f32);
    model_put_tensor(&d, "b", "f16", 1, 4, f16);
    model_put_tensor(&d, "c", "i8", 5, 1, i8);
    model_put_tensor(&d, "d", "q4", 2, 32, q4);
    model_put_tensor(&d, "none", "u8", 0, 7, "");
    ck_assert_msg(!model_save(&d, path), "%s", rag_error_message());
}

START_TEST(what_is_written_is_read)
{
    struct model *m = NULL;
    const void *p = NULL;
    write_sample();
    ck_assert_msg(!model_open(path, &m), "%s", rag_error_message());
    ck_assert_str_eq(model_kind(m), "sample");
    ck_assert_str_eq(model_text(m, "name"), "näme");
    ck_assert_str_eq(model_text(m, "nothing"), "");
    ck_assert_uint_eq(model_number(m, "dims"), UINT64_MAX);
    ck_assert_uint_eq(model_number(m, "name"), 0);
    ck_assert_uint_eq(model_rows(m, "a"), 2);
    ck_assert_uint_eq(model_width(m, "a"), 3);
    ck_assert_uint_eq(model_rows(m, "z"), 0);
    ck_assert_int_eq(model_tensor(m, "a", "f32", 2, 3, &p), RAG_OK);
    ck_assert_uint_eq((uintptr_t)p % 64, 0);
    ck_assert_float_eq(((const float *)p)[5], 6);
    ck_assert_int_eq(model_tensor(m, "d", "q4", 2, 32, &p), RAG_OK);
    ck_assert_int_eq(*(const uint8_t *)p, 7);
    ck_assert_int_eq(model_tensor(m, "a", "f32", 3, 2, &p), RAG_EDAMAGED);
    ck_assert_int_eq(model_tensor(m, "a", "i8", 2, 3, &p), RAG_EDAMAGED);
    ck_assert_int_eq(model_tensor(m, "z", "i8", 2, 3, &p), RAG_EDAMAGED);
    ck_assert_int_eq(model_verify(m), RAG_OK);
    ck_assert_uint_eq(strlen(model_digest(m)), 64);
    model_close(m);
}
END_TEST

/* Each cut is refused; each changed byte is refused, or told by model_verify, or in a pad. */
START_TEST(damage)
{
    size_t bytes, harmless = 0;
    write_sample();
    unsigned char *all = slurp(&bytes);
    for (size_t n = 0; n < bytes; n++) {
        struct model *m = NULL;
        tiny_write(dir, "m.kith", all, n);
        ck_assert_msg(model_open(path, &m) != RAG_OK, "cut to %zu bytes and taken", n);
    }
    for (size_t i = 0; i < bytes; i++)
        for (int how = 0; how < 2; how++) {
            struct model *m = NULL;
            all[i] ^= how ? 0xff : 1;
            tiny_write(dir, "m.kith", all, bytes);
            if (model_open(path, &m) == RAG_OK) {
                struct encoder *e = NULL;
                struct table *t = NULL;
                harmless += model_verify(m) == RAG_OK;
                if (how)
                    ck_assert_int_ne(encoder_open_model(m, &e), RAG_OK);
                else
                    ck_assert_int_ne(table_open_model(m, &t), RAG_OK);
            }
            all[i] ^= how ? 0xff : 1;
        }
    ck_assert_uint_gt(harmless, 0);
    ck_assert_uint_lt(harmless, 2 * 5 * 64); /* pads of five tensors at most */
    free(all);
}
END_TEST

/* A pad that is one byte short: all that follows begins at other places. */
START_TEST(tensors_out_of_line)
{
    static const unsigned char head[] = {0xa1, 'a', 0xa3, 'f', '3', '2'};
    size_t bytes, at = 0;
    struct model *m = NULL;
    write_sample();
    unsigned char *all = slurp(&bytes);
    while (at + sizeof head < bytes && memcmp(all + at, head, sizeof head) != 0)
        at++;
    at += sizeof head + 18; /* rows and width */
    ck_assert_int_eq(all[at], 0xc6);
    ck_assert_int_gt(all[at + 4], 0);
    all[at + 4]--;
    memmove(all + at + 5, all + at + 6, bytes - at - 6);
    tiny_write(dir, "m.kith", all, bytes - 1);
    ck_assert_int_eq(model_open(path, &m), RAG_EDAMAGED);
    ck_assert_ptr_nonnull(strstr(rag_error_message(), "multiple of 64"));
    free(all);
}
END_TEST

START_TEST(later_and_other_files)
{
    size_t bytes;
    struct model *m = NULL;
    write_sample();
    unsigned char *all = slurp(&bytes);
    unsigned char *version = memchr(all, 0xcf, bytes); /* the first number */
    version[8] = 2;
    tiny_write(dir, "m.kith", all, bytes);
    ck_assert_int_eq(model_open(path, &m), RAG_EVERSION);
    tiny_write(dir, "m.kith", "word 1 2 3\n", 11);
    ck_assert_int_eq(model_open(path, &m), RAG_EFORMAT);
    tiny_write(dir, "m.kith", "", 0);
    ck_assert_int_eq(model_open(path, &m), RAG_EFORMAT);
    unlink(path);
    ck_assert_int_eq(model_open(path, &m), RAG_ENOENT);
    ck_assert_int_ne(model_open(dir, &m), RAG_OK);
    free(all);
}
END_TEST

/* The models that come along are sound, and nothing in their heads is believed blindly. */
START_TEST(damaged_head_of_a_real_one)
{
    char real[512];
    static unsigned char all[9 << 20];
    if (!model_that_comes_along("english-v1", real))
        return;
    FILE *f = fopen(real, "rb");
    const size_t bytes = fread(all, 1, sizeof all, f);
    fclose(f);
    for (size_t i = 0; i < 700; i += 3) { /* numbers, names, shapes */
        struct model *m = NULL;
        struct table *t = NULL;
        all[i] ^= 0x41;
        tiny_write(dir, "m.kith", all, bytes);
        if (model_open(path, &m) == RAG_OK && table_open_model(m, &t) == RAG_OK) {
            float *vec = calloc(table_facts(t).dims, sizeof *vec);
            table_embed(t, "a text", 6, vec);
            free(vec);
            table_close(t);
        }
        all[i] ^= 0x41;
    }
}
END_TEST

/* ---- mutations: whatever is taken can be used ---- */

/* One to three places of p [n] changed, most of them in the head; returns the new length. */
static size_t mutate(unsigned char *p, size_t n, uint64_t *state)
{
    static const char *const pieces[] = {"\xcf\xff\xff\xff\xff",
                                         "\xc6\xff\xff\xff\xff",
                                         "\xdd\xff",
                                         "4294967295",
                                         "-1",
                                         "[0,0]",
                                         "]",
                                         "}",
                                         "\"",
                                         "1e9"};
    for (uint64_t k = 1 + rng_below(state, 3); k > 0 && n > 0; k--) {
        const size_t at =
            (size_t)rng_below(state, rng_below(state, 4) ? (n < 3000 ? n : 3000) : n);
        const char *piece = pieces[rng_below(state, sizeof pieces / sizeof *pieces)];
        const size_t bytes = strlen(piece) < n - at ? strlen(piece) : n - at;
        switch (rng_below(state, 5)) {
        case 0:
            n -= (size_t)rng_below(state, n / 4 + 1);
            break;
        case 1:
            p[at] ^= (unsigned char)(1 << rng_below(state, 8));
            break;
        case 2:
            memcpy(p + at, piece, bytes);
            break;
        default:
            p[at] = (unsigned char)rng_below(state, 256);
        }
    }
    return n;
}

/* True if the file was taken; an opening that fails has closed m. */
static bool use(const char *file)
{
    struct model *m = NULL;
    struct table *t = NULL;
    struct encoder *e = NULL;
    float vec[8192];
    const char *texts[2] = {"the cats sat on a mat", "unheard of"};
    if (model_open(file, &m) != RAG_OK)
        return false;
    if (strcmp(model_kind(m), "static") == 0) {
        if (table_open_model(m, &t) == RAG_OK)
            table_embed(t, texts[0], strlen(texts[0]), vec);
    } else if (encoder_open_model(m, &e) == RAG_OK) {
        ck_assert_int_eq(encoder_embed(e, texts, 2, NULL, vec), RAG_OK);
    }
    const bool taken = t || e;
    table_close(t);
    encoder_close(e);
    return taken;
}

START_TEST(mutations)
{
    struct tiny tiny;
    struct encoder *e = NULL;
    size_t bytes, taken = 0;
    uint64_t state = 7;
    tiny_make(&tiny, "F32", "", 0);
    ck_assert_int_eq(encoder_open_folder(tiny.dir, &e), RAG_OK);
    ck_assert_int_eq(encoder_save(e, path, "tiny", "", ""), RAG_OK);
    encoder_close(e);
    ck_assert(use(path));
    unsigned char *all = slurp(&bytes), *bad = malloc(bytes);
    for (int i = 0; i < 1500; i++) {
        memcpy(bad, all, bytes);
        tiny_write(dir, "m.kith", bad, mutate(bad, bytes, &state));
        taken += use(path);
    }
    ck_assert_uint_gt(taken, 10);
    ck_assert_uint_lt(taken, 1500);
    free(all);
    free(bad);
    tiny_free(&tiny);
}
END_TEST

/* The same of a folder: its tensors, its numbers, its words. */
START_TEST(mutated_folders)
{
    static const char *const names[] = {"model.safetensors", "config.json", "tokenizer.json"};
    struct tiny tiny;
    size_t taken = 0;
    uint64_t state = 11;
    float vec[4096];
    const char *text = "the cats sat";
    tiny_make(&tiny, "BF16", "bert.", 1);
    for (size_t k = 0; k < 3; k++) {
        size_t bytes;
        snprintf(path, sizeof path, "%s/%s", tiny.dir, names[k]);
        unsigned char *all = slurp(&bytes), *bad = malloc(bytes);
        for (int i = 0; i < 500; i++) {
            struct encoder *e = NULL;
            memcpy(bad, all, bytes);
            tiny_write(tiny.dir, names[k], bad, mutate(bad, bytes, &state));
            if (encoder_open_folder(tiny.dir, &e) == RAG_OK) {
                ck_assert_int_eq(encoder_embed(e, &text, 1, NULL, vec), RAG_OK);
                taken++;
            }
            encoder_close(e);
        }
        tiny_write(tiny.dir, names[k], all, bytes);
        free(all);
        free(bad);
    }
    ck_assert_uint_gt(taken, 10);
    snprintf(path, sizeof path, "%s/m.kith", dir);
    tiny_free(&tiny);
}
END_TEST

/* ---- safetensors ---- */

START_TEST(tensors)
{
    static const struct {
        float f32[4];
        double f64[2];
        uint16_t f16[2], bf16[2];
        int8_t i8[4];
    } data = {{1, 2, 3, 4}, {0.5, -2}, {0x3c00, 0xc000}, {0x3f80, 0xc040}, {1, -2, 3, -128}};
    struct safetensors *s = NULL;
    struct tensor t;
    float row[4];
    tiny_safetensors(path,
                     "{\"__metadata__\":{\"x\":\"y\"},"
                     "\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]},"
                     "\"b\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[16,32]},"
                     "\"c\":{\"dtype\":\"F16\",\"shape\":[1,2],\"data_offsets\":[32,36]},"
                     "\"d\":{\"dtype\":\"BF16\",\"shape\":[2,1,1],\"data_offsets\":[36,40]},"
                     "\"e\":{\"dtype\":\"I8\",\"shape\":[2,2],\"data_offsets\":[40,44]},"
                     "\"f\":{\"dtype\":\"F8_X\",\"shape\":[4],\"data_offsets\":[40,44]},"
                     "\"g\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[4,8]},"
                     "\"h\":{\"dtype\":\"F32\",\"shape\":[0,9],\"data_offsets\":[44,44]}}",
                     &data, sizeof data);
    ck_assert_msg(!safetensors_open(path, &s), "%s", rag_error_message());
    ck_assert_int_eq(safetensors_get(s, "a", &t), RAG_OK);
    ck_assert_uint_eq(t.rows, 2);
    ck_assert_int_eq(tensor_row(&t, 1, row), RAG_OK);
    ck_assert_float_eq(row[1], 4);
    ck_assert_int_eq(safetensors_get(s, "b", &t), RAG_OK);
    ck_assert_int_eq(tensor_row(&t, 0, row), RAG_OK);
    ck_assert_float_eq(row[1], -2);
    ck_assert_int_eq(safetensors_get(s, "c", &t), RAG_OK);
    ck_assert_int_eq(tensor_row(&t, 0, row), RAG_OK);
    ck_assert_float_eq(row[1], -2);
    ck_assert_int_eq(safetensors_get(s, "d", &t), RAG_OK);
    ck_assert_uint_eq(t.rows, 2);
    ck_assert_int_eq(tensor_row(&t, 1, row), RAG_OK);
    ck_assert_float_eq(row[0], -3);
    ck_assert_int_eq(safetensors_get(s, "e", &t), RAG_OK);
    ck_assert_int_eq(tensor_row(&t, 1, row), RAG_OK);
    ck_assert_float_eq(row[1], -128);
    ck_assert_int_eq(safetensors_get(s, "f", &t), RAG_OK);
    ck_assert_int_eq(tensor_row(&t, 0, row), RAG_ENOTSUP);
    ck_assert_int_eq(safetensors_get(s, "g", &t), RAG_OK);
    ck_assert_uint_eq(t.width, 1);
    ck_assert_int_eq(safetensors_get(s, "h", &t), RAG_OK);
    ck_assert_uint_eq(t.rows, 0);
    ck_assert_int_eq(safetensors_get(s, "__metadata__", &t), RAG_ENOENT);
    safetensors_close(s);
}
END_TEST

START_TEST(hostile_tensors)
{
    static const char *const headers[] = {
        "",
        "[]",
        "{",
        "7",
        "{\"a\":7}",
        "{\"a\":{\"dtype\":\"F32\"}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,16]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[16,0]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[8,24]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[-4],\"data_offsets\":[0,16]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[4.5],\"data_offsets\":[0,18]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967295,4294967295,4],\"data_offsets\":[0,16]}"
        "}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999],\"data_offsets\":[0,16]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,4],\"data_offsets\":[0,16]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":\"4\",\"data_offsets\":[0,16]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},"
        "\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}"};
    static const char data[16];
    struct safetensors *s = NULL;
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        tiny_safetensors(path, headers[i], data, sizeof data);
        ck_assert_msg(safetensors_open(path, &s) != RAG_OK, "taken: %s", headers[i]);
    }
    for (int k = 0; k < 4; k++) { /* lengths of the header that lie */
        static const uint64_t lies[] = {9, 1 << 30, UINT64_MAX, INT64_MAX};
        tiny_write(dir, "m.kith", &lies[k], 8);
        ck_assert_int_ne(safetensors_open(path, &s), RAG_OK);
    }
    tiny_write(dir, "m.kith", data, 7);
    ck_assert_int_ne(safetensors_open(path, &s), RAG_OK);
}
END_TEST

/* ---- names ---- */

static int note(void *arg, const char *name, const char *where)
{
    char *all = arg;
    const size_t at = strlen(all);
    snprintf(all + at, 1024 - at, "%s=%s\n", name, where);
    return 0;
}

START_TEST(names)
{
    char cmd[512], found[1024] = "", *where = NULL, *user = NULL;
    snprintf(cmd, sizeof cmd,
             "cd %s && mkdir -p a b/folder h && touch a/one.kith b/one.kith b/two.kith "
             "b/.three.kith b/folder/config.json b/note.txt",
             dir);
    ck_assert_int_eq(system(cmd), 0);
    snprintf(cmd, sizeof cmd, "%s/a::%s/b:/nowhere", dir, dir);
    setenv("RAG_MODELS", cmd, 1);
    snprintf(cmd, sizeof cmd, "%s/h", dir);
    setenv("XDG_DATA_HOME", cmd, 1);
    ck_assert_int_eq(catalog_each(note, found), RAG_OK);
    char want[1024];
    snprintf(want, sizeof want, "one=%s/a/one.kith\nfolder=%s/b/folder\ntwo=%s/b/two.kith\n",
             dir, dir, dir);
    ck_assert_msg(strncmp(found, want, strlen(want)) == 0, "%s", found);
    ck_assert_int_eq(catalog_find("three", &where), RAG_ENOENT);
    ck_assert_ptr_nonnull(strstr(rag_error_message(), "rag model import"));
    ck_assert_ptr_nonnull(strstr(rag_error_message(), "rag model get"));
    ck_assert_int_eq(catalog_find("../b/two", &where), RAG_ENOENT); /* a path must be there */
    ck_assert_int_eq(catalog_user_folder(&user), RAG_OK);
    snprintf(want, sizeof want, "%s/h/kith/models", dir);
    ck_assert_str_eq(user, want);
    struct stat st;
    ck_assert_int_eq(stat(user, &st), 0);
    rag_free(user);
    snprintf(cmd, sizeof cmd, "cd %s && rm -rf a b h", dir);
    ck_assert_int_eq(system(cmd), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("modelfile");
    TCase *t = tcase_create("modelfile");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, what_is_written_is_read);
    tcase_add_test(t, damage);
    tcase_add_test(t, tensors_out_of_line);
    tcase_add_test(t, later_and_other_files);
    tcase_add_test(t, damaged_head_of_a_real_one);
    tcase_add_test(t, mutations);
    tcase_add_test(t, mutated_folders);
    tcase_add_test(t, tensors);
    tcase_add_test(t, hostile_tensors);
    tcase_add_test(t, names);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
