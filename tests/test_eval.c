/* test_eval.c - metrics of retrieval by hand-made cases, chance, what a collection refuses,
 * where answers stand, chunks against them by hand, and an index against a scan;
 * tests/rag_eval_trec.sh compares with trec_eval itself. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rag/eval/collection.h"

static char dir[64];

static void make_dir(void)
{
    snprintf(dir, sizeof dir, "/tmp/kith-eval-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void remove_dir(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

static const char *put(const char *name, const char *text)
{
    static char paths[8][128];
    static unsigned turn;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
    return path;
}

/* ---- metrics ---- */

START_TEST(by_hand)
{
    struct eval_grade g[] = {{0, (char[]){"a"}, 2},
                             {0, (char[]){"b"}, 0},
                             {0, (char[]){"c"}, 1},
                             {0, (char[]){"z"}, -1}};
    const char *found[] = {"x", "c", "b", "z", "a", "y"};
    double v[RAG_METRICS];
    ck_assert_int_eq(metrics_of(g, 4, found, 6, v), RAG_OK);
    ck_assert_double_eq_tol(v[RAG_NDCG_10], (1 / log2(3) + 2 / log2(6)) / (2 + 1 / log2(3)),
                            1e-12);
    ck_assert_double_eq_tol(v[RAG_MRR_10], 0.5, 1e-12);
    ck_assert_double_eq_tol(v[RAG_MAP_100], (1.0 / 2 + 2.0 / 5) / 2, 1e-12);
    ck_assert_double_eq_tol(v[RAG_RECALL_1], 0, 1e-12);
    ck_assert_double_eq_tol(v[RAG_RECALL_5], 1, 1e-12);
    ck_assert_double_eq_tol(v[RAG_PRECISION_5], 0.4, 1e-12);
    ck_assert_double_eq_tol(v[RAG_SUCCESS_1], 0, 1e-12);
    ck_assert_double_eq_tol(v[RAG_SUCCESS_5], 1, 1e-12);
    ck_assert_double_eq_tol(v[RAG_UNJUDGED_10], 2.0 / 6, 1e-12);
}
END_TEST

START_TEST(nothing_found_and_nothing_relevant)
{
    struct eval_grade g[] = {{0, (char[]){"a"}, 1}}, none[] = {{0, (char[]){"a"}, 0}};
    const char *found[] = {"a"};
    double v[RAG_METRICS], w[RAG_METRICS];
    ck_assert_int_eq(metrics_of(g, 1, found, 0, v), RAG_OK);
    ck_assert_int_eq(metrics_of(none, 1, found, 1, w), RAG_OK);
    for (size_t m = 0; m < RAG_METRICS; m++) {
        ck_assert_double_eq(v[m], 0);
        ck_assert_double_eq(w[m], 0);
    }
}
END_TEST

/* Places beyond a cut count for nothing. */
START_TEST(cut)
{
    struct eval_grade g[] = {{0, (char[]){"a"}, 1}};
    char names[120][8];
    const char *found[120];
    double v[RAG_METRICS];
    for (size_t i = 0; i < 120; i++) {
        snprintf(names[i], sizeof names[i], "n%zu", i);
        found[i] = names[i];
    }
    found[10] = "a";
    ck_assert_int_eq(metrics_of(g, 1, found, 120, v), RAG_OK);
    ck_assert_double_eq(v[RAG_NDCG_10], 0);
    ck_assert_double_eq(v[RAG_MRR_10], 0);
    ck_assert_double_eq(v[RAG_RECALL_10], 0);
    ck_assert_double_eq(v[RAG_RECALL_20], 1);
    ck_assert_double_eq_tol(v[RAG_MAP_100], 1.0 / 11, 1e-12);
    found[10] = names[10];
    found[100] = "a";
    ck_assert_int_eq(metrics_of(g, 1, found, 120, v), RAG_OK);
    ck_assert_double_eq(v[RAG_RECALL_100], 0);
    ck_assert_double_eq(v[RAG_MAP_100], 0);
}
END_TEST

/* ---- chance ---- */

START_TEST(intervals)
{
    double v[400];
    struct interval in, again;
    for (size_t i = 0; i < 400; i++)
        v[i] = i % 4 == 0; /* mean 0.25, standard error 0.02165 */
    ck_assert_int_eq(metrics_interval(v, 400, &in), RAG_OK);
    ck_assert_int_eq(metrics_interval(v, 400, &again), RAG_OK);
    ck_assert_double_eq(in.mean, 0.25);
    ck_assert_double_eq_tol(in.low, 0.25 - 1.96 * 0.02165, 0.006);
    ck_assert_double_eq_tol(in.high, 0.25 + 1.96 * 0.02165, 0.006);
    ck_assert_double_eq(in.low, again.low);
    ck_assert_int_eq(metrics_interval(v, 0, &in), RAG_OK);
    ck_assert(isnan(in.mean) && isnan(in.low) && isnan(in.high));
}
END_TEST

/* Against every exchange of few questions. */
START_TEST(exchanges)
{
    const double a[] = {0.9, 0.5, 0.8, 0.7, 0.6, 0.4}, b[] = {0.5, 0.4, 0.9, 0.3, 0.1, 0.2};
    double seen = 0;
    size_t as_large = 0;
    for (size_t i = 0; i < 6; i++)
        seen += a[i] - b[i];
    for (unsigned bits = 0; bits < 64; bits++) {
        double sum = 0;
        for (size_t i = 0; i < 6; i++)
            sum += bits >> i & 1 ? a[i] - b[i] : b[i] - a[i];
        as_large += fabs(sum) >= fabs(seen) - 1e-9;
    }
    ck_assert_double_eq_tol(metrics_randomisation(a, b, 6), (double)as_large / 64, 0.01);
    ck_assert_double_eq_tol(metrics_randomisation(b, a, 6), (double)as_large / 64, 0.01);
    ck_assert_double_eq(metrics_randomisation(a, a, 6), 1);
    ck_assert_double_eq(metrics_randomisation(a, b, 0), 1);
}
END_TEST

START_TEST(quantiles)
{
    double v[] = {3, 1, 2, 4};
    ck_assert_double_eq(metrics_quantile(v, 4, 0.5), 2);
    ck_assert_double_eq(metrics_quantile(v, 4, 0), 1);
    ck_assert_double_eq(metrics_quantile(v, 4, 1), 4);
    ck_assert(isnan(metrics_quantile(v, 0, 0.5)));
}
END_TEST

/* ---- collections ---- */

static rag_collection *open_files(const char *corpus, const char *queries, const char *qrels,
                                  rag_err want, const char *says)
{
    rag_collection_options o = RAG_COLLECTION_OPTIONS_INIT;
    rag_collection *c = NULL;
    o.corpus = corpus;
    o.queries = queries;
    o.qrels = qrels;
    const rag_err err = rag_collection_open(&o, &c);
    ck_assert_msg(err == want, "%d: %s", err, rag_error_message());
    if (says)
        ck_assert_msg(strstr(rag_error_message(), says) != NULL, "%s", rag_error_message());
    return c;
}

static uint64_t questions_of(const rag_collection *c)
{
    rag_collection_info info = {.size = sizeof info};
    ck_assert_int_eq(rag_collection_get_info(c, &info), RAG_OK);
    return info.questions;
}

START_TEST(formats)
{
    const char *jsonl =
        put("q.jsonl", "{\"_id\": \"1\", \"text\": \"one\"}\r\n\n"
                       "{\"id\": \"2\", \"text\": \"two\", \"answers\": [\"x\"]}\n"
                       "{\"_id\": \"3\", \"text\": \"never judged\"}");
    const char *table = put("q.tsv", "1\tone\n2\ttwo\n");
    const char *topics = put("q.trec", "\n<top>\n<num> Number: 1\n<title> Topic: one\n"
                                       "<desc> Description:\nmore\n</top>\n"
                                       "<top><num>2</num><title>two</title></top>\n");
    const char *beir = put("a.tsv", "query-id\tcorpus-id\tscore\n1\td\t1\n2\td\t0\n9\td\t1\n");
    const char *trec = put("b.qrels", "1 0 d 1\n2 Q0 d -1\n");
    const char *queries[] = {jsonl, table, topics}, *qrels[] = {beir, trec};
    for (size_t q = 0; q < 3; q++)
        for (size_t j = 0; j < 2; j++) {
            rag_collection *c = open_files(NULL, queries[q], qrels[j], RAG_OK, NULL);
            ck_assert_uint_eq(questions_of(c), 2);
            rag_collection_close(c);
        }
}
END_TEST

START_TEST(refused)
{
    const char *q = put("q.jsonl", "{\"_id\": \"1\", \"text\": \"one\"}\n");
    const char *r = put("r.tsv", "1\td\t1\n");
    rag_collection_options none = RAG_COLLECTION_OPTIONS_INIT;
    rag_collection *c = NULL;
    ck_assert_int_eq(rag_collection_open(&none, &c), RAG_EINVAL);
    open_files(NULL, "/nowhere/q", r, RAG_ENOENT, "/nowhere/q");
    open_files(NULL, q, put("1", "1 d\n"), RAG_EFORMAT, "line 1");
    open_files(NULL, q, put("2", "1 d 1\n1 e x\n"), RAG_EFORMAT, "line 2: \"x\"");
    open_files(NULL, q, put("3", "1 d 99999999999999999999\n"), RAG_EFORMAT, "no grade");
    open_files(NULL, q, put("4", "1 d 1\n1 d 1\n"), RAG_EFORMAT, "two grades");
    open_files(NULL, q, put("5", "7 d 1\n"), RAG_EFORMAT, "no question");
    open_files(NULL, put("6", "{\"_id\": \"1\"}\n"), r, RAG_EFORMAT, "line 1");
    open_files(NULL, put("7", "1\ta\n1\tb\n"), r, RAG_EFORMAT, "twice");
    open_files(NULL, put("8", "<top><num>1</num></top>"), r, RAG_EFORMAT, "topic 1");
    open_files(NULL, put("9", "<top><num>1</num><title>x"), r, RAG_EFORMAT, "</top>");
    ck_assert_ptr_null(open_files(put("10", "{\"_id\":"), q, r, RAG_EINVAL, "10:1"));
}
END_TEST

/* What was written is read back with the same figures; ties and ranks as trec_eval has them. */
START_TEST(runs)
{
    const char *q = put("q.tsv", "1\tone\n2\ttwo\n");
    const char *r = put("r", "1 0 a 1\n1 0 b 1\n2 0 c 3\n2 0 d 1\n");
    rag_collection *c = open_files(NULL, q, r, RAG_OK, NULL);
    rag_run *run = NULL, *again = NULL;
    char out[128];
    const char *in = put("in", "1 Q0 x 1 0.5 t\n1 Q0 b 2 0.5 t\n1 Q0 y 3 0.5 t\n"
                               "2 Q0 d 1 1e-3 t\n2 Q0 c 2 2e-3 t\n9 Q0 c 2 2e-3 t\n");
    ck_assert_int_eq(rag_run_read(c, in, &run), RAG_OK);
    ck_assert_str_eq(run->rankings[0].documents[0], "y");
    ck_assert_str_eq(run->rankings[0].documents[2], "b");
    ck_assert_str_eq(run->rankings[1].documents[0], "c");
    ck_assert_double_eq(run->values[RAG_NDCG_10][1], 1);
    ck_assert_double_eq_tol(run->mean[RAG_MRR_10], (1.0 / 3 + 1) / 2, 1e-12);
    ck_assert(isnan(run->p50_ms));
    snprintf(out, sizeof out, "%s/out", dir);
    ck_assert_int_eq(rag_run_write(run, "tag", out), RAG_OK);
    ck_assert_int_eq(rag_run_read(c, out, &again), RAG_OK);
    for (size_t m = 0; m < RAG_METRICS; m++)
        ck_assert_double_eq(run->mean[m], again->mean[m]);
    double d = 7, p = 7;
    ck_assert_int_eq(rag_run_compare(run, again, RAG_NDCG_10, &d, &p), RAG_OK);
    ck_assert_double_eq(d, 0);
    ck_assert_double_eq(p, 1);
    rag_run_free(again);
    rag_run_free(run);
    run = NULL;
    ck_assert_int_eq(rag_run_read(c, put("bad", "1 Q0 x 1 z t\n"), &run), RAG_EFORMAT);
    ck_assert_int_eq(rag_run_read(c, put("bad", "1 Q0 x 1 1\n"), &run), RAG_EFORMAT);
    ck_assert_int_eq(rag_run_read(c, put("bad", "1 Q0 x 1 1 t\n1 Q0 x 2 0 t\n"), &run),
                     RAG_EFORMAT);
    ck_assert_int_eq(rag_run_read(c, put("bad", "8 Q0 x 1 1 t\n"), &run), RAG_EFORMAT);
    ck_assert_ptr_null(run);
    rag_collection_close(c);
}
END_TEST

/* ---- answers in articles ---- */

static rag_collection *open_articles(const char *corpus, const char *queries, const char *qrels,
                                     int join, size_t every, rag_err want)
{
    rag_collection_options o = RAG_COLLECTION_OPTIONS_INIT;
    rag_collection *c = NULL;
    o.corpus = corpus;
    o.queries = queries;
    o.qrels = qrels;
    o.join = join;
    o.spans = 1;
    o.every = every;
    const rag_err err = rag_collection_open(&o, &c);
    ck_assert_msg(err == want, "%d: %s", err, rag_error_message());
    return c;
}

/* The text between, in a buffer of its own. */
static const char *cut_out(const rag_collection *c, size_t document, size_t from, size_t to)
{
    static char buf[256];
    ck_assert_uint_le(to, strlen(c->documents[document].text));
    snprintf(buf, sizeof buf, "%.*s", (int)(to - from), c->documents[document].text + from);
    return buf;
}

static void check_span(const rag_collection *c, size_t q, const char *answer,
                       const char *sentences)
{
    const struct eval_span *s = &c->questions[q].span;
    ck_assert_str_eq(cut_out(c, s->document, s->answer, s->answer_end), answer);
    ck_assert_str_eq(cut_out(c, s->document, s->start, s->end), sentences);
}

static const char *articles(void)
{
    return put("articles",
               "{\"_id\": \"b0\", \"title\": \"B\", \"text\": \"A Caten. The cat ran. "
               "It slept.\"}\n"
               "{\"_id\": \"a0\", \"title\": \"A\", \"text\": \"The cat is here.\"}\n"
               "{\"_id\": \"b1\", \"title\": \"B\", \"text\": \"Cafe\\u0301 is open. "
               "One two. Three four five.\"}\n");
}

/* In the judged document, as a whole word, in normalised text; over two sentences. */
START_TEST(spans)
{
    const char *q = put(
        "q", "{\"_id\": \"1\", \"text\": \"x\", \"answers\": [\"cat\"]}\n"
             "{\"_id\": \"2\", \"text\": \"x\", \"answers\": [\"\", \"dog\", \"Caf\\u00e9\"]}\n"
             "{\"_id\": \"3\", \"text\": \"x\", \"answers\": [\"two. Three\"]}\n"
             "{\"_id\": \"4\", \"text\": \"x\", \"answers\": [\"ate\"]}\n"
             "{\"_id\": \"5\", \"text\": \"x\", \"answers\": [\"here\"]}\n"
             "{\"_id\": \"6\", \"text\": \"x\"}\n");
    const char *r = put("r", "1 b0 1\n2 b1 2\n3 b1 1\n4 b0 1\n5 b0 1\n5 a0 0\n6 a0 1\n");
    for (int join = 0; join < 2; join++) {
        rag_collection *c = open_articles(articles(), q, r, join, 1, RAG_OK);
        ck_assert_uint_eq(c->ndocuments, join ? 2 : 3);
        check_span(c, 0, "cat", "The cat ran.");
        check_span(c, 1, "Caf\xc3\xa9", "Caf\xc3\xa9 is open.");
        check_span(c, 2, "two. Three", "One two. Three four five.");
        check_span(c, 3, "ate", "A Caten."); /* nowhere as a word: within one */
        ck_assert_uint_eq(c->questions[4].span.end, 0);
        ck_assert_uint_eq(c->questions[5].span.end, 0);
        rag_collection_close(c);
    }
    open_articles(articles(), put("q", "{\"_id\": \"6\", \"text\": \"x\"}\n"), r, 0, 1,
                  RAG_ENOENT);
    const char *bare = put("bare", "b0\tThe cat is here.\n");
    open_articles(bare, put("q", "{\"_id\":\"1\",\"text\":\"x\",\"answers\":[\"cat\"]}\n"), r,
                  1, 1, RAG_EFORMAT); /* no title */
}
END_TEST

/* Grades follow their documents, the highest stays, and with each second question goes the
 * other half of them. */
START_TEST(joined_grades)
{
    const char *q =
        put("q", "{\"_id\": \"1\", \"text\": \"x\"}\n{\"_id\": \"2\", \"text\": \"x\"}\n"
                 "{\"_id\": \"3\", \"text\": \"x\", \"answers\": [\"cat\"]}\n");
    const char *r = put("r", "1 b0 1\n2 a0 1\n2 b1 1\n3 b1 2\n3 b0 3\n3 a0 1\n");
    rag_collection *c = open_articles(articles(), q, r, 1, 2, RAG_OK);
    rag_collection_info info = {.size = sizeof info};
    ck_assert_int_eq(rag_collection_get_info(c, &info), RAG_OK);
    ck_assert_uint_eq(info.questions, 2);
    ck_assert_uint_eq(info.judgments, 3);
    ck_assert_str_eq(c->questions[1].id, "3");
    ck_assert_uint_eq(c->questions[1].grades, 2);
    ck_assert_str_eq(c->grades[c->questions[1].first].document, "A");
    ck_assert_str_eq(c->grades[c->questions[1].first + 1].document, "B");
    ck_assert_int_eq(c->grades[c->questions[1].first + 1].grade, 3);
    ck_assert_str_eq(c->documents[1].text, "A Caten. The cat ran. It slept.\n\n"
                                           "Caf\xc3\xa9 is open. One two. Three four five.");
    rag_collection_close(c);
}
END_TEST

/* ---- over a store ---- */

static const char *setting(void *arg, const char *name)
{
    const char *const *s = arg;
    for (; *s; s += 2)
        if (strcmp(*s, name) == 0)
            return s[1];
    return NULL;
}

static rag_store *open_store(const char *name, const char *const *settings)
{
    rag_options o = RAG_OPTIONS_INIT;
    rag_store *s = NULL;
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    o.access = RAG_CREATE;
    o.embedder = "builtin:hash-v1";
    o.setting = setting;
    o.setting_arg = (void *)settings;
    const rag_err err = rag_open(path, &o, &s);
    ck_assert_msg(!err, "%s", rag_error_message());
    return s;
}

static const char *const plain[] = {NULL};

/* Documents of one chunk each: 8, 4 and 5 words; "keel" stands in one of them. */
START_TEST(chunks_by_hand)
{
    const char *docs =
        put("d", "{\"_id\": \"a\", \"text\": \"The keel is of lead. It is heavy.\"}\n"
                 "{\"_id\": \"b\", \"text\": \"Rudders are of wood.\"}\n"
                 "{\"_id\": \"c\", \"text\": \"Nothing is of any use.\"}\n");
    const char *q =
        put("q", "{\"_id\": \"1\", \"text\": \"keel lead\", \"answers\": [\"lead\"]}\n");
    rag_collection *c = open_articles(docs, q, put("r", "1 a 1\n"), 0, 1, RAG_OK);
    rag_store *s = open_store("chunks", plain);
    rag_chunk_eval_options o = RAG_CHUNK_EVAL_OPTIONS_INIT;
    rag_search_params text = RAG_SEARCH_PARAMS_INIT, any = RAG_SEARCH_PARAMS_INIT;
    rag_chunk_eval e;
    ck_assert_int_eq(rag_collection_add(s, c, NULL), RAG_OK);
    text.mode = RAG_TEXT; /* finds "a" alone */
    any.mode = RAG_EXACT; /* ranks all */
    o.search = &text;
    ck_assert_int_eq(rag_eval_chunks(s, c, &o, &e), RAG_OK);
    ck_assert_uint_eq(e.questions, 1);
    ck_assert_uint_eq(e.chunks, 3);
    ck_assert_double_eq(e.first.recall, 1);
    ck_assert_double_eq(e.first.whole, 1);
    ck_assert_double_eq(e.first.passages, 1);
    ck_assert_double_eq_tol(e.first.precision, 5.0 / 8, 1e-12);
    ck_assert_double_eq_tol(e.first.iou, 5.0 / 8, 1e-12);
    ck_assert_double_eq_tol(e.precision, 5.0 / 8, 1e-12);
    o.search = &any;
    ck_assert_int_eq(rag_eval_chunks(s, c, &o, &e), RAG_OK);
    ck_assert_double_eq(e.first.passages, 3);
    ck_assert_double_eq_tol(e.first.precision, 5.0 / 17, 1e-12);
    ck_assert_double_eq(e.within.passages, 3);
    o.tokens = 1; /* room for none */
    ck_assert_int_eq(rag_eval_chunks(s, c, &o, &e), RAG_OK);
    ck_assert_double_eq(e.within.passages, 0);
    ck_assert_double_eq(e.within.recall, 0);
    ck_assert_double_eq(e.within.precision, 0);
    o.k = 201;
    ck_assert_int_eq(rag_eval_chunks(s, c, &o, &e), RAG_EINVAL);
    rag_document other = {.size = sizeof other, .source = "a", .text = "Keel", .bytes = 4};
    ck_assert_int_eq(rag_add_texts(s, &other, 1, NULL, NULL), RAG_OK);
    o.k = 5;
    ck_assert_int_eq(rag_eval_chunks(s, c, &o, &e), RAG_EMISMATCH);
    rag_close(s);
    rag_collection_close(c);
}
END_TEST

/* Of a long document only the chunks that the sentence lies in count for the best precision. */
START_TEST(chunks_touched)
{
    char text[2048], line[2200];
    const char *const small[] = {"chunk.tokens", "24", NULL};
    size_t n = 0;
    for (int i = 0; i < 40; i++)
        n +=
            (size_t)snprintf(text + n, sizeof text - n, "Sentence number n%d stands here. ", i);
    snprintf(line, sizeof line, "{\"_id\": \"a\", \"text\": \"%s\"}\n", text);
    const char *q = put("q", "{\"_id\": \"1\", \"text\": \"n20\", \"answers\": [\"n20\"]}\n");
    rag_collection *c = open_articles(put("d", line), q, put("r", "1 a 1\n"), 0, 1, RAG_OK);
    rag_store *s = open_store("touched", small);
    rag_chunk_eval e;
    ck_assert_int_eq(rag_collection_add(s, c, NULL), RAG_OK);
    ck_assert_int_eq(rag_eval_chunks(s, c, NULL, &e), RAG_OK);
    ck_assert_uint_ge(e.chunks, 10);
    ck_assert_double_ge(e.precision, 5.0 / 30); /* at most three sentences in a chunk, in two */
    ck_assert_double_eq(e.first.recall, 1);
    rag_close(s);
    rag_collection_close(c);
}
END_TEST

/* An answer that no chunk holds whole is found in part by either half. */
START_TEST(chunks_cut)
{
    char text[4096], line[4200];
    const char *const small[] = {"chunk.tokens", "24", NULL};
    size_t n = 0;
    for (int i = 0; i < 120; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "word%d ", i);
    snprintf(line, sizeof line, "{\"_id\": \"a\", \"text\": \"%s\"}\n", text);
    const char *docs = put("d", line);
    snprintf(line, sizeof line,
             "{\"_id\": \"1\", \"text\": \"word5\", \"answers\": [\"%.*s\"]}\n",
             (int)(strstr(text, " word100") - text), text);
    rag_collection *c = open_articles(docs, put("q", line), put("r", "1 a 1\n"), 0, 1, RAG_OK);
    rag_store *s = open_store("cut", small);
    rag_chunk_eval_options o = RAG_CHUNK_EVAL_OPTIONS_INIT;
    rag_search_params exact = RAG_SEARCH_PARAMS_INIT;
    rag_chunk_eval e;
    ck_assert_int_eq(rag_collection_add(s, c, NULL), RAG_OK);
    exact.mode = RAG_EXACT;
    o.search = &exact;
    o.k = 1;
    ck_assert_int_eq(rag_eval_chunks(s, c, &o, &e), RAG_OK);
    ck_assert_uint_gt(e.chunks, 4);
    ck_assert_double_eq(e.first.whole, 0);
    ck_assert_double_gt(e.first.recall, 0);
    ck_assert_double_lt(e.first.recall, 0.5);
    ck_assert_double_eq(e.first.precision, 1); /* all of it is one sentence */
    o.k = 200;
    ck_assert_int_eq(rag_eval_chunks(s, c, &o, &e), RAG_OK);
    ck_assert_double_eq(e.first.recall, 1);
    ck_assert_double_eq(e.precision, 1);
    rag_close(s);
    rag_collection_close(c);
}
END_TEST

static rag_store *many_texts(const char *name, const char *const *settings, size_t n)
{
    rag_store *s = open_store(name, settings);
    rag_document *docs = calloc(n, sizeof *docs);
    char(*texts)[96] = calloc(n, sizeof *texts);
    ck_assert(docs && texts);
    for (size_t i = 0; i < n; i++) {
        snprintf(texts[i], sizeof *texts, "thing %zu of kind %zu is %zu long and %zu wide", i,
                 i * 7919 % 97, i * 31 % 89, i * i % 1009);
        docs[i] = (rag_document){.size = sizeof *docs,
                                 .source = texts[i],
                                 .text = texts[i],
                                 .bytes = strlen(texts[i])};
    }
    ck_assert_int_eq(rag_add_texts(s, docs, n, NULL, NULL), RAG_OK);
    free(docs);
    free(texts);
    return s;
}

/* A scan loses nothing; of a graph recall grows with effort, to all of it. */
START_TEST(index_recall)
{
    const char *const graph[] = {"index.scan_mb", "1", NULL};
    const size_t efforts[] = {10, 100, 3000}, wrong[] = {5, 5}, large[] = {2000000};
    rag_ann_eval_options o = RAG_ANN_EVAL_OPTIONS_INIT;
    rag_ann_eval *e = NULL;
    rag_status st = {.size = sizeof st};
    rag_store *s = many_texts("scan", plain, 300);
    o.sample = 50;
    ck_assert_int_eq(rag_eval_ann(s, &o, &e), RAG_OK);
    ck_assert(e->exact && e->npoints == 1 && e->queries == 50 && e->vectors == 300);
    ck_assert_double_eq(e->points[0].recall, 1);
    ck_assert_double_eq(e->points[0].recall10, 1);
    rag_ann_eval_free(e);
    rag_close(s);

    s = many_texts("graph", graph, 2500);
    ck_assert_int_eq(rag_get_status(s, &st), RAG_OK);
    ck_assert(!st.index_exact && st.effort == 0);
    o.k = 20;
    o.efforts = efforts;
    o.nefforts = 3;
    o.target = 1;
    ck_assert_int_eq(rag_eval_ann(s, &o, &e), RAG_OK);
    ck_assert(!e->exact && e->npoints == 3 && !e->kept && e->effort == 64);
    ck_assert_double_le(e->points[0].recall, e->points[1].recall);
    ck_assert_double_lt(e->points[0].recall, 1);
    ck_assert_double_eq(e->points[2].recall, 1);
    ck_assert_uint_eq(e->chosen, e->points[1].low >= 1 ? 100 : 3000);
    rag_ann_eval_free(e);
    ck_assert_int_eq(rag_set_effort(s, 77), RAG_OK);
    ck_assert_int_eq(rag_set_effort(s, large[0]), RAG_EINVAL);
    rag_close(s);

    s = open_store("graph", graph);
    ck_assert_int_eq(rag_get_status(s, &st), RAG_OK);
    ck_assert_uint_eq(st.effort, 77);
    o.queries = put("q", "1\tthing 5 of kind 6\n3\t80 long\n");
    ck_assert_int_eq(rag_eval_ann(s, &o, &e), RAG_OK);
    ck_assert(e->kept && e->effort == 77);
    ck_assert_uint_eq(e->queries, 2);
    rag_ann_eval_free(e);
    o.efforts = wrong;
    o.nefforts = 2;
    ck_assert_int_eq(rag_eval_ann(s, &o, &e), RAG_EINVAL);
    o.efforts = large;
    o.nefforts = 1;
    ck_assert_int_eq(rag_eval_ann(s, &o, &e), RAG_EINVAL);
    rag_close(s);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("eval");
    TCase *m = tcase_create("metrics"), *c = tcase_create("collections");
    tcase_add_test(m, by_hand);
    tcase_add_test(m, nothing_found_and_nothing_relevant);
    tcase_add_test(m, cut);
    tcase_add_test(m, intervals);
    tcase_add_test(m, exchanges);
    tcase_add_test(m, quantiles);
    tcase_add_checked_fixture(c, make_dir, remove_dir);
    tcase_add_test(c, formats);
    tcase_add_test(c, refused);
    tcase_add_test(c, runs);
    tcase_add_test(c, spans);
    tcase_add_test(c, joined_grades);
    tcase_add_test(c, chunks_by_hand);
    tcase_add_test(c, chunks_touched);
    tcase_add_test(c, chunks_cut);
    tcase_add_test(c, index_recall);
    suite_add_tcase(s, m);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
