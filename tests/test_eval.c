/* test_eval.c - metrics of retrieval by hand-made cases, chance, and what a collection refuses;
 * tests/rag_eval_trec.sh compares with trec_eval itself. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rag/eval/metrics.h"

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
    suite_add_tcase(s, m);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
