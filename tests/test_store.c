/* test_store.c - the database and the index beside it, against what they promise. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "rag/embed/embed.h"
#include "rag/store/mirror.h"
#include "rag/store/store.h"

static char dir[64];

static void make_dir(void)
{
    snprintf(dir, sizeof dir, "/tmp/kith-store-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void remove_dir(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

static struct store *open_store(enum store_mode mode, const char *lang)
{
    struct store *s = NULL;
    const struct store_opening how = {.mode = mode, .lang = lang, .purpose = "test"};
    const rag_err err = store_open(dir, &how, &s);
    ck_assert_msg(!err, "%s", rag_error_message());
    return s;
}

/* Puts a document of one chunk. */
static int64_t put(struct store *s, const char *source, const char *text, const char *meta)
{
    struct store_document d = {.source = (char *)(uintptr_t)source,
                               .format = (char *)(uintptr_t) "plain",
                               .meta = (char *)(uintptr_t)meta,
                               .text = (char *)(uintptr_t)text,
                               .bytes = strlen(text)};
    struct store_chunk c = {.end = strlen(text), .line = 1, .head = (char *)(uintptr_t) "head"};
    ck_assert_int_eq(store_begin(s), RAG_OK);
    const rag_err err = store_document_put(s, &d, &c, 1);
    ck_assert_msg(!err, "%s", rag_error_message());
    ck_assert_int_eq(store_commit(s), RAG_OK);
    return c.id;
}

static size_t words(struct store *s, const char *query, int64_t *first)
{
    struct store_hit hits[16];
    size_t n = 0;
    ck_assert_int_eq(store_words(s, query, NULL, 16, hits, &n), RAG_OK);
    *first = n ? hits[0].chunk : 0;
    return n;
}

START_TEST(documents_are_replaced_whole)
{
    make_dir();
    struct store *s = open_store(STORE_CREATE, NULL);
    int64_t first;
    const int64_t a = put(s, "a", "the cat sat on the mat", NULL);
    const int64_t b = put(s, "b", "a dog barked", NULL);
    ck_assert_int_gt(b, a);
    ck_assert_uint_eq(words(s, "cats", &first), 1); /* stemmed */
    ck_assert_int_eq(first, a);
    const int64_t c = put(s, "a", "a bird sang", NULL);
    ck_assert_int_gt(c, b); /* ids are never used again */
    ck_assert_uint_eq(words(s, "cat", &first), 0);
    ck_assert_uint_eq(words(s, "birds", &first), 1);
    struct store_chunk gone = {0};
    ck_assert_int_eq(store_chunk_get(s, a, &gone), RAG_ENOENT);
    struct store_counts n;
    ck_assert_int_eq(store_count(s, &n), RAG_OK);
    ck_assert_uint_eq(n.documents, 2);
    ck_assert_uint_eq(n.chunks, 2);
    /* Rolled back, nothing of it is seen. */
    ck_assert_int_eq(store_begin(s), RAG_OK);
    struct store_document d = {
        .source = (char *)(uintptr_t) "b", .text = (char *)(uintptr_t) "other", .bytes = 5};
    ck_assert_int_eq(store_document_put(s, &d, NULL, 0), RAG_OK);
    store_rollback(s);
    ck_assert_uint_eq(words(s, "dog", &first), 1);
    store_close(s);
    remove_dir();
}
END_TEST

/* Questions are data: no punctuation of them is an operator of FTS5. */
START_TEST(questions_of_any_form)
{
    static const char *const odd[] = {"multi-agent",
                                      "\"",
                                      "a AND",
                                      "NEAR(",
                                      "col:x",
                                      "*",
                                      "^a",
                                      "'; DROP TABLE document; --",
                                      "",
                                      "()",
                                      "\xf0\x9f\x98\x80"};
    make_dir();
    struct store *s = open_store(STORE_CREATE, NULL);
    put(s, "a", "a multi-agent system", NULL);
    int64_t first;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        words(s, odd[i], &first);
    ck_assert_uint_eq(words(s, "multi-agent", &first), 1);
    ck_assert_uint_eq(words(s, "the", &first), 0);
    ck_assert_uint_eq(words(s, "is it a system?", &first), 1);
    store_close(s);
    remove_dir();
}
END_TEST

/* A run of Han characters is found by any part of it, and not by its characters apart. */
START_TEST(dense_scripts)
{
    make_dir();
    struct store *s = open_store(STORE_CREATE, "any");
    int64_t first;
    const int64_t a = put(s, "a",
                          "\xe6\x9d\xb1\xe4\xba\xac\xe9\x83\xbd\xe3\x81\xab\xe8\xa1\x8c"
                          "\xe3\x81\x8f",
                          NULL);                   /* Tokyo-to ni iku */
    put(s, "b", "\xe4\xba\xac\xe9\x83\xbd", NULL); /* Kyoto */
    ck_assert_uint_eq(words(s, "\xe6\x9d\xb1\xe4\xba\xac", &first), 1);
    ck_assert_int_eq(first, a);
    ck_assert_uint_eq(words(s, "\xe4\xba\xac\xe9\x83\xbd", &first), 2);
    ck_assert_uint_eq(words(s, "\xe9\x83\xbd\xe6\x9d\xb1", &first), 0);
    put(s, "c", "abc\xe9\x83\xbd", NULL); /* beside Latin letters, too */
    ck_assert_uint_eq(words(s, "abc", &first), 1);
    ck_assert_uint_eq(words(s, "\xe9\x83\xbd", &first), 3);
    put(s, "a", "x", NULL); /* what was put is spelled the same when it is dropped */
    ck_assert_uint_eq(words(s, "\xe6\x9d\xb1\xe4\xba\xac", &first), 0);
    store_close(s);
    remove_dir();
}
END_TEST

/* Rare words before common ones, more before fewer, headings before text. */
START_TEST(order_of_words)
{
    make_dir();
    struct store *s = open_store(STORE_CREATE, NULL);
    int64_t first;
    char source[16];
    for (int i = 0; i < 20; i++) {
        snprintf(source, sizeof source, "filler%d", i);
        put(s, source, "a common thing and another thing", NULL);
    }
    const int64_t rare = put(s, "rare", "a quetzal", NULL);
    ck_assert_uint_eq(words(s, "common quetzal", &first), 16);
    ck_assert_int_eq(first, rare);
    const int64_t twice = put(s, "twice", "quetzal and quetzal", NULL);
    words(s, "quetzal", &first);
    ck_assert_int_eq(first, twice);
    const int64_t headed = put(s, "headed", "nothing", NULL);
    put(s, "late", "head in the text", NULL);
    words(s, "head", &first); /* every chunk here has it in its heading, one in both */
    ck_assert_int_gt(first, headed);
    store_close(s);
    remove_dir();
}
END_TEST

static size_t count_where(struct store *s, const char *condition)
{
    struct store_filter *f = NULL;
    int64_t *ids = NULL;
    size_t n = 0, words_found = 0;
    struct store_hit hits[8];
    ck_assert_int_eq(store_filter_make(&condition, 1, &f), RAG_OK);
    ck_assert_int_eq(store_filter_chunks(s, f, &ids, &n), RAG_OK);
    ck_assert_int_eq(store_words(s, "text", f, 8, hits, &words_found), RAG_OK);
    ck_assert_uint_eq(n, words_found); /* both ways of a filter agree */
    mem_free(ids);
    store_filter_free(f);
    return n;
}

START_TEST(conditions)
{
    make_dir();
    struct store *s = open_store(STORE_CREATE, NULL);
    put(s, "docs/a.md", "text one", "{\"author\":\"Knuth\",\"year\":1968,\"x\":{\"y\":\"z\"}}");
    put(s, "docs/b.md", "text two", "{\"author\":\"Wirth\",\"year\":1971}");
    put(s, "c.txt", "text three", NULL);
    ck_assert_uint_eq(count_where(s, "author=Knuth"), 1);
    ck_assert_uint_eq(count_where(s, "author!=Knuth"), 2); /* also where there is none */
    ck_assert_uint_eq(count_where(s, "year>=1970"), 1);
    ck_assert_uint_eq(count_where(s, "year<2000"), 2);
    ck_assert_uint_eq(count_where(s, "year=1968"), 1);
    ck_assert_uint_eq(count_where(s, "x.y=z"), 1);
    ck_assert_uint_eq(count_where(s, "source~docs*"), 2);
    ck_assert_uint_eq(count_where(s, "type=plain"), 3);
    ck_assert_uint_eq(count_where(s, "added>0"), 3);
    ck_assert_uint_eq(count_where(s, "author=' OR 1=1 --"), 0);
    static const char *const bad[] = {"author", "=x", "a..b=c", "a\"b=c", ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct store_filter *f = NULL;
        ck_assert_int_eq(store_filter_make(&bad[i], 1, &f), RAG_EINVAL);
        ck_assert_ptr_nonnull(strstr(rag_error_message(), bad[i]));
    }
    store_close(s);
    remove_dir();
}
END_TEST

/* The lock names its holder, in another process too. */
START_TEST(one_writer)
{
    make_dir();
    struct store *s = open_store(STORE_CREATE, NULL), *other = NULL;
    const struct store_opening how = {.mode = STORE_WRITE, .wait_ms = 60, .purpose = "again"};
    char pid[32];
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    ck_assert_int_eq(store_open(dir, &how, &other), RAG_EBUSY);
    ck_assert_ptr_nonnull(strstr(rag_error_message(), pid));
    struct store *reader = open_store(STORE_READ, NULL);
    store_close(reader);
    store_close(s);
    s = open_store(STORE_WRITE, NULL);
    store_close(s);
    remove_dir();
}
END_TEST

static void overwrite(const char *name, long at, const char *bytes, size_t n)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "r+b");
    ck_assert_ptr_nonnull(f);
    fseek(f, at, SEEK_SET);
    fwrite(bytes, 1, n, f);
    fclose(f);
}

START_TEST(foreign_databases)
{
    struct store *s = NULL;
    const struct store_opening read = {.mode = STORE_READ};
    make_dir();
    ck_assert_int_eq(store_open(dir, &read, &s), RAG_ENOENT);
    store_close(open_store(STORE_CREATE, NULL));
    overwrite("store.db", 68, "\0\0\0\1", 4); /* application_id */
    ck_assert_int_eq(store_open(dir, &read, &s), RAG_EFORMAT);
    overwrite("store.db", 68, "kith", 4);
    overwrite("store.db", 60, "\0\0\0\x63", 4); /* user_version */
    ck_assert_int_eq(store_open(dir, &read, &s), RAG_EVERSION);
    ck_assert_ptr_nonnull(strstr(rag_error_message(), "99"));
    overwrite("store.db", 0, "no SQLite here", 14);
    ck_assert_int_eq(store_open(dir, &read, &s), RAG_EFORMAT);
    remove_dir();
}
END_TEST

/* ---- vectors and their index ---- */

#define DIMS 8

/* A vector told by the text alone. */
static void vector_of(const char *text, float *out)
{
    const struct digest d = digest_of(&(struct digest_part){text, strlen(text)}, 1);
    for (size_t i = 0; i < DIMS; i++)
        out[i] = (float)d.b[i] - 127.5f;
}

static int asked; /* texts the embedder was given */

static rag_err fake(void *arg, enum embed_side side, const char *const *texts, size_t n,
                    float *out)
{
    (void)arg;
    (void)side;
    for (size_t i = 0; i < n; i++, asked++)
        vector_of(texts[i], out + i * DIMS);
    return RAG_OK;
}

struct fixture {
    struct store *s;
    struct embedder *e;
    struct store_embedder row;
};

static void start(struct fixture *f)
{
    const struct embed_identity id = {.uri = "test:x", .model = "x", .dims = DIMS};
    float canary[DIMS] = {1};
    make_dir();
    f->s = open_store(STORE_CREATE, NULL);
    ck_assert_int_eq(embed_custom(&id, fake, NULL, &f->e), RAG_OK);
    f->row = (struct store_embedder){.uri = (char *)(uintptr_t) "test:x",
                                     .model = (char *)(uintptr_t) "x",
                                     .revision = (char *)(uintptr_t) "",
                                     .prefix_document = (char *)(uintptr_t) "",
                                     .prefix_query = (char *)(uintptr_t) "",
                                     .dims = DIMS,
                                     .canary = canary};
    ck_assert_int_eq(store_embedder_add(f->s, &f->row), RAG_OK);
    const int64_t id_of = f->row.id;
    ck_assert_int_eq(store_embedder_get(f->s, id_of, &f->row), RAG_OK);
}

static void end(struct fixture *f)
{
    store_embedder_free(&f->row);
    embed_close(f->e);
    store_close(f->s);
    remove_dir();
}

/* Two chunks, so that ranges of the log hold more than one; each with its vector. */
static void put_with_vector(struct fixture *f, const char *source, const char *text)
{
    char whole[64];
    const size_t n = strlen(text);
    snprintf(whole, sizeof whole, "%s; %s!", text, text);
    struct store_document d = {
        .source = (char *)(uintptr_t)source, .text = whole, .bytes = 2 * n + 3};
    struct store_chunk c[2] = {{.end = n, .line = 1, .head = (char *)(uintptr_t) "head"},
                               {.seq = 1,
                                .start = n + 2,
                                .end = 2 * n + 3,
                                .line = 1,
                                .head = (char *)(uintptr_t) "head"}};
    ck_assert_int_eq(store_begin(f->s), RAG_OK);
    ck_assert_msg(!store_document_put(f->s, &d, c, 2), "%s", rag_error_message());
    ck_assert_int_eq(store_commit(f->s), RAG_OK);
    for (size_t i = 0; i < 2; i++) {
        char *view = NULL;
        size_t bytes;
        float vec[DIMS];
        struct digest key;
        ck_assert_int_eq(store_chunk_view(f->s, c[i].id, &view, &bytes, &key), RAG_OK);
        ck_assert_uint_eq(strncmp(view, "head\n", 5), 0);
        vector_of(view, vec);
        ck_assert_int_eq(store_vector_put(f->s, f->row.id, &key, DIMS, vec), RAG_OK);
        mem_free(view);
    }
}

static uint64_t flat_bytes; /* for mirrors that are opened from now on */

static struct mirror *open_mirror(struct fixture *f, bool write)
{
    struct mirror *m = NULL;
    struct store_embedder fresh = {0};
    ck_assert_int_eq(store_embedder_get(f->s, f->row.id, &fresh), RAG_OK);
    store_embedder_free(&f->row);
    f->row = fresh;
    const struct mirror_opening how = {
        .store = f->s, .of = &f->row, .write = write, .flat_bytes = flat_bytes};
    const rag_err err = mirror_open(&how, &m);
    ck_assert_msg(!err, "%s", rag_error_message());
    return m;
}

/* The mirror finds what a scan of all live chunks finds. */
static void compare(struct fixture *f, struct mirror *m, const char *query)
{
    float q[DIMS], vec[DIMS];
    struct store_hit hits[5];
    int64_t *ids = NULL;
    size_t n = 0, found = 0;
    double most = -2;
    vector_of(query, q);
    ck_assert_int_eq(store_chunk_ids(f->s, 0, SIZE_MAX, &ids, &n), RAG_OK);
    for (size_t i = 0; i < n; i++) {
        double ab = 0, aa = 0, bb = 0;
        ck_assert_int_eq(mirror_vector(m, ids[i], vec), RAG_OK);
        for (size_t d = 0; d < DIMS; d++) {
            ab += (double)q[d] * vec[d];
            aa += (double)q[d] * q[d];
            bb += (double)vec[d] * vec[d];
        }
        if (ab / sqrt(aa * bb) > most)
            most = ab / sqrt(aa * bb);
    }
    ck_assert_int_eq(mirror_search(m, q, 5, NULL, 0, false, hits, &found), RAG_OK);
    ck_assert_uint_eq(found, n < 5 ? n : 5);
    ck_assert_double_eq_tol(hits[0].score, most, 2e-3);
    ck_assert_int_eq(mirror_search(m, q, 5, ids, n / 2, true, hits, &found), RAG_OK);
    ck_assert_uint_eq(found, n / 2 < 5 ? n / 2 : 5);
    for (size_t i = 0; i < found; i++)
        ck_assert_int_lt(hits[i].chunk, ids[n / 2]);
    ck_assert_int_eq(mirror_search(m, q, 5, NULL, 0, true, hits, &found), RAG_OK);
    ck_assert_double_eq_tol(hits[0].score, most, 2e-3);
    for (size_t i = 0; i < found; i++)
        for (size_t k = 0; k < i; k++)
            ck_assert_int_ne(hits[i].chunk, hits[k].chunk);
    mem_free(ids);
}

static rag_err count_fault(void *arg, const struct store_fault *fault)
{
    (void)fault;
    ++*(int *)arg;
    return RAG_OK;
}

/* Random puts, removals, saves and reopenings; the index never differs from the database, be it
 * a scan, a graph, or one that becomes the other and back. */
START_TEST(mirror_follows)
{
    struct fixture f;
    unsigned seed = 7;
    int graphs = 0;
    start(&f);
    for (int round = 0; round < 40; round++) {
        flat_bytes = _i == 0 ? 0 : _i == 1 ? 1 : round / 8 % 2 ? 1 : UINT64_MAX;
        struct mirror *m = open_mirror(&f, true);
        for (int i = 0; i < 12; i++) {
            char source[16], text[32];
            seed = seed * 1103515245 + 12345;
            snprintf(source, sizeof source, "d%u", (seed >> 16) % 60);
            snprintf(text, sizeof text, "text %u", seed >> 8);
            struct store_document d = {0};
            if ((seed >> 9) % 3 == 0 && !store_document_find(f.s, source, false, &d)) {
                ck_assert_int_eq(store_begin(f.s), RAG_OK);
                ck_assert_int_eq(store_document_remove(f.s, d.id), RAG_OK);
                ck_assert_int_eq(store_commit(f.s), RAG_OK);
            } else {
                put_with_vector(&f, source, text);
            }
            store_document_free(&d);
        }
        compare(&f, m, "a question");
        if (round % 3 == 0)
            ck_assert_int_eq(mirror_save(m, round % 2 == 0), RAG_OK);
        compare(&f, m, "another");
        int faults = 0;
        ck_assert_int_eq(mirror_check(m, 0, count_fault, &faults), RAG_OK);
        ck_assert_int_eq(faults, 0);
        mirror_close(m);
        m = open_mirror(&f, false);
        compare(&f, m, "a third");
        struct mirror_state st;
        mirror_state(m, &st);
        graphs += st.graph;
        ck_assert_str_eq(st.lost, "");
        mirror_close(m);
    }
    ck_assert((graphs > 10) == (_i > 0));
    flat_bytes = 0;
    end(&f);
}
END_TEST

static void file_of(const struct fixture *f, char *path, size_t room)
{
    snprintf(path, room, "index-%lld-%lld.kith", (long long)f->row.id,
             (long long)f->row.generation);
}

/* Missing, cut, foreign, damaged: the search goes on, from the kept vectors. */
START_TEST(lost_index)
{
    struct fixture f;
    char name[64], path[160], other[160];
    struct mirror_state st;
    start(&f);
    for (int i = 0; i < 20; i++) {
        char text[16];
        snprintf(text, sizeof text, "t%d", i);
        put_with_vector(&f, text, text);
    }
    struct mirror *m = open_mirror(&f, true);
    ck_assert_int_eq(mirror_save(m, true), RAG_OK);
    mirror_close(m);
    mirror_close(open_mirror(&f, true));
    file_of(&f, name, sizeof name);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    snprintf(other, sizeof other, "%s/kept", dir);
    for (int kind = 0; kind < 3; kind++) {
        ck_assert_int_eq(rename(path, other), 0);
        if (kind > 0) { /* cut short, or another index */
            FILE *to = fopen(path, "wb");
            fwrite("nonsense", 1, 8, to);
            fclose(to);
        }
        if (kind == 2) {
            ann_options o = ANN_OPTIONS_INIT;
            ann_index *ix = NULL;
            const float v[DIMS] = {1};
            o.dim = DIMS;
            o.metric = ANN_COSINE;
            o.kind = ANN_FLAT;
            ck_assert_int_eq(ann_create(&o, &ix), ANN_OK);
            ck_assert_int_eq(ann_add(ix, (ann_view){v, 1, 0, ANN_F32}, NULL), ANN_OK);
            ck_assert_int_eq(ann_save(ix, path), ANN_OK);
            ann_close(ix);
        }
        asked = 0;
        m = open_mirror(&f, false);
        mirror_state(m, &st);
        ck_assert_str_ne(st.lost, "");
        compare(&f, m, "x");
        ck_assert_int_eq(asked, 0); /* nothing is paid for twice */
        mirror_close(m);
        ck_assert_int_eq(rename(other, path), 0);
    }
    end(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store");
    TCase *c = tcase_create("store");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, documents_are_replaced_whole);
    tcase_add_test(c, questions_of_any_form);
    tcase_add_test(c, dense_scripts);
    tcase_add_test(c, order_of_words);
    tcase_add_test(c, conditions);
    tcase_add_test(c, one_writer);
    tcase_add_test(c, foreign_databases);
    tcase_add_loop_test(c, mirror_follows, 0, 3);
    tcase_add_test(c, lost_index);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
