/* test_export.c - rag_export_vectors of a caller's own embedder, what it refuses, and any
 * allocation failing. tests/rag_export.sh reads the formats back. */
#include <config.h>

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rag/rag.h>

#include "ann/base/memory.h"

#define DIMS 3

static char dir[64], file[80], ids[90];
static int asked, stop_after; /* texts embedded; steps until the caller stops, 0: never */

static void make_dir(void)
{
    snprintf(dir, sizeof dir, "/tmp/kith-rag-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/v", dir);
    snprintf(ids, sizeof ids, "%s/v.ids", dir);
}

static void remove_dir(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

/* Length, first and last byte: of a length that is not 1. */
static rag_err measure(void *arg, rag_side side, const char *const *texts, size_t n,
                       float *vectors)
{
    (void)arg;
    ck_assert_int_eq(side, RAG_DOCUMENT);
    for (size_t i = 0; i < n; i++, asked++) {
        const size_t bytes = strlen(texts[i]);
        vectors[DIMS * i] = (float)bytes;
        vectors[DIMS * i + 1] = (float)(unsigned char)texts[i][0];
        vectors[DIMS * i + 2] = bytes ? (float)(unsigned char)texts[i][bytes - 1] : 0;
    }
    return RAG_OK;
}

static const rag_embedder measurer = {
    sizeof measurer, "mine:measure", "1", DIMS, measure, NULL};

static int step(void *arg, const char *what, uint64_t done, uint64_t total)
{
    (void)arg;
    (void)done;
    (void)total;
    return strcmp(what, "vectors") == 0 && stop_after && --stop_after == 0;
}

static rag_store *open_store(void)
{
    rag_options o = RAG_OPTIONS_INIT;
    rag_store *s = NULL;
    char path[128];
    snprintf(path, sizeof path, "%s/store", dir);
    o.access = RAG_CREATE;
    o.custom = &measurer;
    o.progress = step;
    ck_assert_msg(!rag_open(path, &o, &s), "%s", rag_error_message());
    return s;
}

static void add(rag_store *s, const char *source, const char *text)
{
    const rag_document d = {
        .size = sizeof d, .source = source, .text = text, .bytes = strlen(text)};
    ck_assert_msg(!rag_add_texts(s, &d, 1, NULL, NULL), "%s", rag_error_message());
}

static rag_err export(rag_store *s, rag_export_format format, rag_export_of of)
{
    rag_export_options o = RAG_EXPORT_OPTIONS_INIT;
    o.format = format;
    o.of = of;
    o.path = file;
    return rag_export_vectors(s, &o);
}

/* What stands in the file, up to 4 KiB, with a NUL. */
static const char *content(const char *path, size_t *bytes)
{
    static char text[4097];
    FILE *f = fopen(path, "re");
    ck_assert_msg(f != NULL, "%s is not there", path);
    *bytes = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[*bytes] = '\0';
    return text;
}

START_TEST(own_embedder)
{
    size_t n;
    float row[DIMS];
    make_dir();
    rag_store *s = open_store();
    add(s, "the first\nsource", "Cat and dog, cat.");
    add(s, "b", "DOG");
    asked = 0;
    ck_assert_msg(!export(s, RAG_EXPORT_WORD2VEC, RAG_EXPORT_WORDS), "%s", rag_error_message());
    ck_assert_int_eq(asked, 3);
    ck_assert_str_eq(content(file, &n), "3 3\nand 3 97 100\ncat 3 99 116\ndog 3 100 103\n");
    /* Kept vectors: the embedder is not asked again.  A label is a line whatever it holds. */
    asked = 0;
    ck_assert_int_eq(export(s, RAG_EXPORT_FVECS, RAG_EXPORT_DOCUMENTS), RAG_OK);
    ck_assert_int_eq(asked, 0);
    ck_assert_str_eq(content(ids, &n), "the first source\nb\n");
    const char *rows = content(file, &n);
    ck_assert_uint_eq(n, 2 * (4 + DIMS * sizeof(float)));
    memcpy(row, rows + 4, sizeof row);
    const double norm =
        (double)row[0] * row[0] + (double)row[1] * row[1] + (double)row[2] * row[2];
    ck_assert_double_eq_tol(norm, 1, 1e-6);
    rag_close(s);
    remove_dir();
}
END_TEST

static void refused(rag_store *s, rag_export_options o, rag_err want, const char *says)
{
    const rag_err err = rag_export_vectors(s, &o);
    ck_assert_msg(err == want, "%d, not %d: %s", err, want, rag_error_message());
    ck_assert_msg(strstr(rag_error_message(), says) != NULL, "%s", rag_error_message());
    ck_assert_int_ne(access(file, F_OK), 0);
    ck_assert_int_ne(access(ids, F_OK), 0);
}

START_TEST(refusals)
{
    make_dir();
    rag_store *s = open_store();
    const rag_export_options o = {.size = sizeof o, .path = file};
    rag_export_options x = o;
    add(s, "a", "text");
    x.format = (rag_export_format)6;
    refused(s, x, RAG_EINVAL, "has the number 6");
    x.format = (rag_export_format)-1;
    refused(s, x, RAG_EINVAL, "has the number -1");
    x = o;
    x.of = (rag_export_of)4;
    refused(s, x, RAG_EINVAL, "has the number 4");
    x = o;
    x.of = RAG_EXPORT_TOKENS;
    refused(s, x, RAG_ENOTSUP, "mine:measure has no table of tokens");
    x = o;
    x.f16 = 1;
    refused(s, x, RAG_EINVAL, "jsonl has no f16");
    x = o;
    x.format = RAG_EXPORT_SAFETENSORS;
    x.path = "-";
    refused(s, x, RAG_EINVAL, "safetensors needs a file");
    x = o;
    x.format = RAG_EXPORT_NPY;
    stop_after = 1;
    refused(s, x, RAG_ECANCELED, "");
    stop_after = 0;
    /* A number that f16 does not hold. */
    float vec[DIMS] = {70000, 0, 1};
    const rag_document d = {.size = sizeof d,
                            .source = "large",
                            .text = "x",
                            .bytes = 1,
                            .vector = vec,
                            .dims = DIMS};
    ck_assert_msg(!rag_add_texts(s, &d, 1, NULL, NULL), "%s", rag_error_message());
    for (int i = 0; i < 3; i++) {
        x.format = i == 0   ? RAG_EXPORT_NPY
                   : i == 1 ? RAG_EXPORT_SAFETENSORS
                            : RAG_EXPORT_MSGPACK;
        x.f16 = 1;
        refused(s, x, RAG_EINVAL, "f16");
    }
    rag_close(s);
    remove_dir();
}
END_TEST

/* Whichever allocation fails: an error, no file; then the whole. */
START_TEST(out_of_memory)
{
    make_dir();
    rag_store *s = open_store();
    add(s, "a", "One text of some words.");
    add(s, "b", "Another text of more words.");
    const rag_export_of of = _i % 2 ? RAG_EXPORT_WORDS : RAG_EXPORT_DOCUMENTS;
    ck_assert_int_eq(export(s, RAG_EXPORT_JSONL, of), RAG_OK); /* what is opened once is open */
    unlink(file);
    for (uint64_t at = 1;; at++) {
        memory_fail_at(at, false);
        const rag_err err = export(s, (rag_export_format)(_i / 2), of);
        const uint64_t asked_for = memory_fail_at(0, false);
        if (!err) {
            ck_assert_uint_lt(asked_for, at);
            ck_assert_uint_gt(at, 8);
            break;
        }
        ck_assert_msg(err == RAG_ENOMEM, "allocation %d: %s", (int)at, rag_error_message());
        ck_assert_int_ne(access(file, F_OK), 0);
    }
    ck_assert_int_eq(access(file, F_OK), 0);
    rag_close(s);
    remove_dir();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("export");
    TCase *c = tcase_create("export");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, own_embedder);
    tcase_add_test(c, refusals);
    tcase_add_loop_test(c, out_of_memory, 0, 12);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
