/* test_rag_api.c - rag.h with a caller's own embedder, model and reader, and what it refuses.
 */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rag/rag.h>

static char dir[64];
static int asked; /* texts the embedder was given */

static void make_dir(void)
{
    snprintf(dir, sizeof dir, "/tmp/kith-rag-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void remove_dir(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

/* Letters counted: texts of the same letters point the same way. */
static rag_err count_letters(void *arg, rag_side side, const char *const *texts, size_t n,
                             float *vectors)
{
    (void)arg;
    (void)side;
    for (size_t i = 0; i < n; i++, asked++) {
        memset(vectors + i * 26, 0, 26 * sizeof *vectors);
        for (const char *c = texts[i]; *c; c++)
            if (*c >= 'a' && *c <= 'z')
                vectors[i * 26 + (size_t)(*c - 'a')] += 1;
    }
    return RAG_OK;
}

static const rag_embedder letters = {
    sizeof letters, "mine:letters", "1", 26, count_letters, NULL};

static rag_store *open_store(const rag_embedder *e, rag_err want)
{
    rag_options o = RAG_OPTIONS_INIT;
    rag_store *s = NULL;
    char path[128];
    snprintf(path, sizeof path, "%s/store", dir);
    o.access = RAG_CREATE;
    o.custom = e;
    const rag_err err = rag_open(path, &o, &s);
    ck_assert_msg(err == want, "%d: %s", err, rag_error_message());
    return s;
}

static void add(rag_store *s, const char *source, const char *text)
{
    const rag_document d = {
        .size = sizeof d, .source = source, .text = text, .bytes = strlen(text)};
    ck_assert_msg(!rag_add_texts(s, &d, 1, NULL, NULL), "%s", rag_error_message());
}

START_TEST(own_embedder)
{
    make_dir();
    rag_store *s = open_store(&letters, RAG_OK);
    rag_hits *h = NULL;
    rag_search_params p = RAG_SEARCH_PARAMS_INIT;
    add(s, "a", "listen");
    add(s, "b", "zebra");
    p.mode = RAG_VECTOR;
    p.k = 1;
    ck_assert_int_eq(rag_search(s, "silent", &p, &h), RAG_OK);
    ck_assert_uint_eq(h->n, 1);
    ck_assert_str_eq(h->hits[0].source, "a");
    ck_assert(isnan(h->hits[0].text_score));
    rag_hits_free(h);
    /* The same text under another source: no vector is made again, one hit is given. */
    asked = 0;
    add(s, "c", "listen");
    ck_assert_int_eq(asked, 1); /* its head, the source's name, differs */
    add(s, "a", "listen");
    ck_assert_int_eq(asked, 1);
    rag_close(s);
    /* Another revision is another function. */
    rag_embedder other = letters;
    other.revision = "2";
    s = open_store(&other, RAG_OK);
    ck_assert_int_eq(rag_search(s, "silent", &p, &h), RAG_EMISMATCH);
    rag_close(s);
    other.uri = "mine:other";
    open_store(&other, RAG_EMISMATCH);
    ck_assert_ptr_nonnull(strstr(rag_error_message(), "rag reindex --embedder mine:other"));
    remove_dir();
}
END_TEST

static rag_err answer(void *arg, const char *system, const char *question,
                      int (*text)(void *text_arg, const char *piece, size_t bytes),
                      void *text_arg)
{
    ck_assert_ptr_nonnull(strstr(system, "The key is in drawer 14."));
    ck_assert_str_eq(question, "Where is\nthe \"key\"?");
    ++*(int *)arg;
    if (text(text_arg, "In drawer 14 ", 13) || text(text_arg, "[1], not [7].", 13))
        return RAG_ECANCELED;
    return RAG_OK;
}

START_TEST(own_model)
{
    make_dir();
    rag_store *s = open_store(NULL, RAG_OK);
    rag_answer *a = NULL;
    rag_ask_params p = RAG_ASK_PARAMS_INIT;
    int calls = 0;
    add(s, "keys", "The key is in drawer 14.");
    p.chat = answer;
    p.chat_arg = &calls;
    ck_assert_msg(!rag_ask(s, "Where is\nthe \"key\"?", &p, &a), "%s", rag_error_message());
    ck_assert_int_eq(calls, 1);
    ck_assert_str_eq(a->text, "In drawer 14 [1], not [7].");
    ck_assert_uint_eq(a->ncited, 1);
    ck_assert_str_eq(a->hits->hits[a->cited[0]].source, "keys");
    ck_assert_uint_eq(a->nunknown, 1);
    ck_assert_uint_eq(a->unknown[0], 7);
    rag_answer_free(a);
    /* Without any model: the sources. */
    ck_assert_int_eq(rag_ask(s, "Where is the key?", NULL, &a), RAG_OK);
    ck_assert_str_eq(a->text, "");
    ck_assert_uint_eq(a->hits->n, 1);
    rag_answer_free(a);
    rag_close(s);
    remove_dir();
}
END_TEST

static rag_err shout(void *arg, const char *path, const void *raw, size_t raw_bytes,
                     char **text, size_t *bytes)
{
    (void)arg;
    if (!strstr(path, ".shout"))
        return RAG_ENOTSUP;
    *text = malloc(raw_bytes + 1);
    ck_assert_ptr_nonnull(*text);
    for (size_t i = 0; i < raw_bytes; i++) {
        const char c = ((const char *)raw)[i];
        (*text)[i] = c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
    }
    *bytes = raw_bytes;
    return RAG_OK;
}

START_TEST(own_reader)
{
    char command[256], folder[128], *text = NULL;
    size_t n = 0;
    make_dir();
    rag_store *s = open_store(NULL, RAG_OK);
    snprintf(command, sizeof command, "printf 'loud words' >%s/a.shout; printf plain >%s/b.txt",
             dir, dir);
    ck_assert_int_eq(system(command), 0);
    snprintf(folder, sizeof folder, "%s", dir);
    const char *paths[] = {folder};
    rag_add_options o = RAG_ADD_OPTIONS_INIT;
    const char * not [] = {"store", NULL};
    o.reader = shout;
    o.exclude = not ;
    rag_add_report r = {0};
    ck_assert_msg(!rag_add(s, paths, 1, &o, &r), "%s", rag_error_message());
    ck_assert_uint_eq(r.added, 2);
    ck_assert_int_eq(rag_get(s, "a.shout", 0, 0, &text, &n), RAG_OK);
    ck_assert_str_eq(text, "LOUD WORDS");
    rag_free(text);
    ck_assert_int_eq(rag_get(s, "a.shout", 2, 0, &text, &n), RAG_ENOENT);
    rag_close(s);
    remove_dir();
}
END_TEST

static int stop_at_once(void *arg, const char *what, uint64_t done, uint64_t total)
{
    (void)arg;
    (void)what;
    (void)done;
    (void)total;
    return 1;
}

START_TEST(refusals)
{
    make_dir();
    rag_store *s = open_store(NULL, RAG_OK), *reader = NULL;
    rag_hits *h = NULL;
    char path[128];
    add(s, "a", "text");
    rag_search_params p = RAG_SEARCH_PARAMS_INIT;
    ck_assert_int_eq(rag_search(s, " \n", &p, &h), RAG_EINVAL);
    p.k = 1000000;
    ck_assert_int_eq(rag_search(s, "x", &p, &h), RAG_EINVAL);
    p = (rag_search_params)RAG_SEARCH_PARAMS_INIT;
    p.share = 1.5;
    ck_assert_int_eq(rag_search(s, "x", &p, &h), RAG_EINVAL);
    ck_assert_int_eq(rag_similar(s, 999, NULL, &h), RAG_ENOENT);
    ck_assert_int_eq(rag_remove(s, (const char *const[]){"zz"}, 1, NULL), RAG_ENOENT);
    ck_assert_int_eq(rag_remove_where(s, NULL, 0, NULL), RAG_EINVAL);
    ck_assert_ptr_null(h);
    const rag_document none = {.size = sizeof none, .text = "x", .bytes = 1};
    ck_assert_int_eq(rag_add_texts(s, &none, 1, NULL, NULL), RAG_EPARTIAL);
    rag_close(s);
    snprintf(path, sizeof path, "%s/store", dir);
    rag_options o = RAG_OPTIONS_INIT;
    ck_assert_int_eq(rag_open(path, &o, &reader), RAG_OK);
    const rag_document d = {.size = sizeof d, .source = "b", .text = "x", .bytes = 1};
    ck_assert_int_eq(rag_add_texts(reader, &d, 1, NULL, NULL), RAG_EINVAL);
    ck_assert_ptr_nonnull(strstr(rag_error_message(), "reading only"));
    rag_close(reader);
    /* A callback that says stop stops, and what was there stays. */
    o.access = RAG_WRITE;
    o.progress = stop_at_once;
    ck_assert_int_eq(rag_open(path, &o, &s), RAG_OK);
    const char *paths[] = {"/etc/hostname"};
    ck_assert_int_eq(rag_add(s, paths, 1, NULL, NULL), RAG_ECANCELED);
    rag_close(s);
    s = open_store(NULL, RAG_OK);
    ck_assert_int_eq(rag_search(s, "text", NULL, &h), RAG_OK);
    ck_assert_uint_eq(h->n, 1);
    rag_hits_free(h);
    rag_close(s);
    remove_dir();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rag_api");
    TCase *c = tcase_create("rag_api");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, own_embedder);
    tcase_add_test(c, own_model);
    tcase_add_test(c, own_reader);
    tcase_add_test(c, refusals);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
