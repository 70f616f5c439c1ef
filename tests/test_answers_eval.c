/* test_answers_eval.c - answers against references: each metric by cases worked out by hand,
 * ROUGE-L against the plain table of longest common subsequences, what counts as a refusal,
 * files that are wrong, runs that are broken off; tests/rag_eval_answers_peers.sh compares with
 * rouge_score and SQuAD's rules. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "ann/base/rng.h"
#include "rag/error.h"
#include "rag/eval/answers.h"

static char dir[64];

static void make_dir(void)
{
    snprintf(dir, sizeof dir, "/tmp/kith-answers-XXXXXX");
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

/* ---- against references ---- */

static struct answer_match match(const char *answer, const char *one, const char *two)
{
    const char *references[] = {one, two};
    struct answer_match m = {7, 7, 7};
    ck_assert_int_eq(answer_match(answer, references, two ? 2 : 1, &m), RAG_OK);
    return m;
}

START_TEST(squad_by_hand)
{
    static const struct {
        const char *answer, *reference;
        double exact, f1;
    } cases[] = {
        {"The Cat!", "cat", 1, 1},
        {"the quick brown fox", "a quick red fox", 0, 2.0 / 3},
        {"in the 10th and 11th centuries", "10th and 11th centuries", 0, 2 * 0.8 / 1.8},
        {"the", "An", 1, 1}, /* nothing is left of either */
        {"", "France", 0, 0},
        {"France", "the", 0, 0},
        {"b b b", "b b c", 0, 2.0 / 3}, /* each as often as both have it */
        {"U.S.A.", "usa", 1, 1},
        {"it's", "its", 1, 1},
        {"\xE2\x80\x9Cyes\xE2\x80\x9D", "yes", 0, 0}, /* only ASCII's marks go */
        {"\xC3\x84pfel  UND\tBirnen", "\xC3\xA4pfel und birnen", 1, 1},
        /* An article is a whole run of letters: of "the-king" the mark went before. */
        {"the\xE2\x80\x93king", "\xE2\x80\x93king", 1, 1},
        {"thecat", "cat", 0, 0},
        {"the_cat", "thecat", 1, 1},
        {"a\xCC\x81z", "\xCC\x81z", 1, 1}, /* a combining mark ends a run */
        {"x\xC2\xA0y\xC2\x85z", "x y z", 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct answer_match m = match(cases[i].answer, cases[i].reference, NULL);
        ck_assert_msg(m.exact == cases[i].exact && fabs(m.f1 - cases[i].f1) < 1e-12,
                      "\"%s\" and \"%s\": exact %g, F1 %g", cases[i].answer, cases[i].reference,
                      m.exact, m.f1);
    }
    const struct answer_match best = match("in France", "Denmark", "France");
    ck_assert_double_eq_tol(best.f1, 2.0 / 3, 1e-12);
    ck_assert_double_eq(match("Denmark", "Denmark", "France").exact, 1);
    ck_assert_double_eq(match("France", "Denmark", "France").exact, 1);
}
END_TEST

START_TEST(rouge_by_hand)
{
    static const struct {
        const char *answer, *reference;
        double f;
    } cases[] = {
        {"police kill the gunman", "police killed the gunman", 0.75},
        {"the gunman kill police", "police killed the gunman", 0.5},
        {"The CAT.", "the cat", 1},
        {"a b c d", "a b", 2.0 * 2 / 6},
        {"", "a", 0},
        {"...", "a", 0},
        {"", "", 0},
        {"\xC3\x9Cn\xC3\xAFted", "n ted", 1}, /* what is not ASCII parts */
        {"5 \xE2\x84\xAA", "5 k", 1},         /* the sign for kelvin is a k in lower case */
        {"\xC4\xB0z", "i z", 1},              /* and a dotted capital I becomes two */
        {"\xE4\xB8\xAD\xE6\x96\x87", "\xE4\xB8\xAD\xE6\x96\x87", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const double f = match(cases[i].answer, cases[i].reference, NULL).rouge_l;
        ck_assert_msg(fabs(f - cases[i].f) < 1e-12, "\"%s\" and \"%s\": %g", cases[i].answer,
                      cases[i].reference, f);
    }
    ck_assert_double_eq(match("a b", "c", "a b").rouge_l, 1);
}
END_TEST

#define WORDS_MOST 400

static size_t table_of(const uint8_t *a, size_t na, const uint8_t *b, size_t nb)
{
    static uint16_t t[WORDS_MOST + 1][WORDS_MOST + 1];
    for (size_t i = 1; i <= na; i++)
        for (size_t j = 1; j <= nb; j++) {
            const uint16_t up = t[i - 1][j], left = t[i][j - 1];
            t[i][j] = a[i - 1] == b[j - 1] ? (uint16_t)(t[i - 1][j - 1] + 1)
                                           : (up > left ? up : left);
        }
    return t[na][nb];
}

static void spell(const uint8_t *words, size_t n, char *text)
{
    for (size_t i = 0; i < n; i++) {
        *text++ = (char)('a' + words[i] / 10);
        *text++ = (char)('0' + words[i] % 10);
        *text++ = ' ';
    }
    *text = '\0';
}

/* Rows of bits against the plain table; lengths on both sides of a word's 64 bits. */
START_TEST(rouge_at_random)
{
    static uint8_t a[WORDS_MOST], b[WORDS_MOST];
    static char x[4 * WORDS_MOST], y[4 * WORDS_MOST];
    uint64_t chance = 3;
    for (size_t t = 0; t < 400; t++) {
        const uint64_t kinds = 1 + rng_below(&chance, t % 4 ? 6 : 60);
        const size_t na = t < 8 ? 61 + t : 1 + rng_below(&chance, WORDS_MOST);
        const size_t nb = 1 + rng_below(&chance, WORDS_MOST);
        for (size_t i = 0; i < na; i++)
            a[i] = (uint8_t)rng_below(&chance, kinds);
        for (size_t i = 0; i < nb; i++)
            b[i] = (uint8_t)rng_below(&chance, kinds);
        spell(a, na, x);
        spell(b, nb, y);
        const double want = 2.0 * (double)table_of(a, na, b, nb) / (double)(na + nb);
        ck_assert_double_eq_tol(match(x, y, NULL).rouge_l, want, 1e-12);
        ck_assert_double_eq_tol(match(y, x, NULL).rouge_l, want, 1e-12);
    }
}
END_TEST

/* ---- citations ---- */

START_TEST(citations)
{
    static const struct {
        const char *text;
        size_t sources, used, unknown, sentences, covered;
        const char *plain;
    } cases[] = {
        {"Rollo led them [1]. He signed in 911 [2][3].", 3, 3, 0, 2, 2,
         "Rollo led them. He signed in 911."},
        /* A mark behind the full stop is the sentence's before it. */
        {"Rollo led them. [1] He signed.", 3, 1, 0, 2, 1, "Rollo led them. He signed."},
        {"Rollo led them. [1]", 3, 1, 0, 1, 1, "Rollo led them."},
        {"Rollo led them.\n\n[1]", 3, 1, 0, 1, 1, "Rollo led them.\n\n"},
        {"[1] Rollo led them. He signed.", 3, 1, 0, 2, 1, " Rollo led them. He signed."},
        {"Rollo led them [4].", 3, 0, 1, 1, 0, "Rollo led them."},
        {"Rollo [2, 9] led them.", 3, 1, 1, 1, 1, "Rollo led them."},
        {"Rollo led them [1].", 0, 0, 1, 1, 0, "Rollo led them."},
        /* Numbers of a list are no sentences; lines end sentences. */
        {"1. Rollo led them [1].\n2. He signed.", 1, 1, 0, 2, 1,
         "1. Rollo led them.\n2. He signed."},
        {"- Denmark [1]\n- Norway [2]\n- Iceland", 2, 2, 0, 3, 2,
         "- Denmark\n- Norway\n- Iceland"},
        {"911 [1]", 1, 1, 0, 1, 1, "911"},
        {"911", 1, 0, 0, 1, 0, "911"},
        {"", 1, 0, 0, 0, 0, ""},
        {"... [1]", 1, 1, 0, 0, 0, "..."},
        {"As `a[1]` says, a link [1](x) is none.", 1, 0, 0, 1, 0,
         "As `a[1]` says, a link [1](x) is none."},
        {"[1]", 1, 1, 0, 0, 0, ""},
        {"Rollo led [1] [2] them.", 2, 2, 0, 1, 1, "Rollo led them."},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer_cited c;
        ck_assert_int_eq(answer_cited(cases[i].text, cases[i].sources, &c), RAG_OK);
        ck_assert_str_eq(c.plain, cases[i].plain);
        ck_assert_msg(c.used == cases[i].used && c.unknown == cases[i].unknown &&
                          c.sentences == cases[i].sentences && c.covered == cases[i].covered,
                      "\"%s\": %zu used, %zu unknown, %zu of %zu sentences", cases[i].text,
                      c.used, c.unknown, c.covered, c.sentences);
        mem_free(c.plain);
    }
}
END_TEST

/* ---- refusals ---- */

static bool refuses(const char *text, const char *phrase)
{
    bool out = false;
    ck_assert_int_eq(answer_refuses(text, &phrase, phrase != NULL, &out), RAG_OK);
    return out;
}

START_TEST(refusals)
{
    static const char *const yes[] = {
        "",
        " \n",
        "...",
        "The sources do not contain the answer.",
        "The sources don't contain the answer to this question.",
        "The provided sources do not explicitly mention when the duchy was founded.",
        "I'm sorry, but the given passages do not say who ruled Normandy.",
        "I'm sorry. The sources do not say.",
        "I apologize for the confusion. There is no mention of a king in the documents.",
        "There is no information about the treaty in the provided sources.",
        "The answer is not in the sources.",
        "The answer to your question is not provided in the text.",
        "The exact date is not specified [1].",
        "It isn\xE2\x80\x99t stated in any of the sources who signed.",
        "None of the sources mention a treaty.",
        "Based on the sources, it cannot be determined who won.",
        "I cannot answer this question from the sources.",
        "I can't find that.",
        "I don't know.",
        "I do not have enough information to answer.",
        "I am unable to answer this question.",
        "The sources discuss the Normans, but do not mention their language [1].",
        ("The document states that the governors met the general in July 1755, to speak of "
         "peace with the French, but it does not provide the exact date."), /* of SmolLM2 */
        "It is not clear from the passages.",
        "The document lacks this information.",
        "Unfortunately, no information on this is given.",
        "UNFORTUNATELY THE CONTEXT DOES NOT PROVIDE THIS",
        "Sorry.",
    };
    static const char *const no[] = {
        "France [1].",
        "Rollo was the leader [1]. The sources do not say when he died.",
        "The Normans did not have a king [1].",
        "No.",
        "No, they were not allowed to vote.",
        "They did not know how to write.",
        "The treaty was not signed in 911 but in 912 [2].",
        "He could not find his way home.",
        "Nothing happened.",
        "It was the source of the river that they did find.",
        "The answer is 42.",
        "There were no survivors.",
        "Canute was unable to sail.",
        "Information theory is not new.",
        "The exact number of those killed is not known.",
        "The text mentions Denmark, but Norway had no king [1].",
        "The text was written in Latin and was not popular.",
    };
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        ck_assert_msg(refuses(yes[i], NULL), "no refusal: %s", yes[i]);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        ck_assert_msg(!refuses(no[i], NULL), "a refusal: %s", no[i]);
    ck_assert(!refuses("Davon steht nichts in den Quellen.", NULL));
    ck_assert(refuses("Davon steht NICHTS in den Quellen.", "nichts in den Quellen"));
    ck_assert(!refuses("Davon steht nichts in denQuellen.", "nichts in den Quellen"));
    ck_assert(refuses("It rained. No-answer!", "no answer"));
    ck_assert(!refuses("It rained.", "..."));
}
END_TEST

/* ---- cosines ---- */

START_TEST(cosines_of_three)
{
    /* Three answers on the axes; references lie 0.6 on their own axis and 0.8 on the next. */
    float a[] = {1, 0, 0, 0, 1, 0, 0, 0, 1}, r[] = {.6F, .8F, 0, 0, .6F, .8F, .8F, 0, .6F};
    const struct answer_vectors answers = {a, 3, 3}, refs = {r, 3, 3};
    const struct answer_range own[] = {{0, 1}, {1, 1}, {2, 1}};
    double paired[3], shuffled[3], z = 7;
    ck_assert_int_eq(answer_cosines(&answers, &refs, own, paired, shuffled, &z), RAG_OK);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_double_eq_tol(paired[i], 0.6, 1e-6);
        /* Half the cycles bring 0.8, half 0. */
        ck_assert_double_eq_tol(shuffled[i], 0.4, 0.06);
    }
    /* A cycle's mean is 0.8 or 0: their deviation is 0.4. */
    ck_assert_double_eq_tol(z, 0.5, 0.15);
}
END_TEST

START_TEST(cosines_of_few)
{
    float a[] = {1, 0, 0, 1}, r[] = {1, 0, 0, 1, -1, 0};
    struct answer_vectors answers = {a, 2, 2}, refs = {r, 3, 2};
    const struct answer_range own[] = {{0, 1}, {1, 2}};
    double paired[2], shuffled[2], z = 7;
    ck_assert_int_eq(answer_cosines(&answers, &refs, own, paired, shuffled, &z), RAG_OK);
    ck_assert_double_eq_tol(paired[0], 1, 1e-6);
    ck_assert_double_eq_tol(paired[1], 1, 1e-6);
    ck_assert_double_eq_tol(shuffled[0], 0, 1e-6); /* the better one of two */
    ck_assert_double_eq_tol(shuffled[1], 0, 1e-6);
    ck_assert(isnan(z)); /* one cycle alone */
    answers.n = 1;
    ck_assert_int_eq(answer_cosines(&answers, &refs, own, paired, shuffled, &z), RAG_OK);
    ck_assert(isnan(shuffled[0]) && isnan(z));
    ck_assert_double_eq_tol(paired[0], 1, 1e-6);
    /* No text had a word. */
    struct answer_vectors none = {NULL, 2, 0};
    ck_assert_int_eq(answer_cosines(&none, &refs, own, paired, shuffled, &z), RAG_OK);
    ck_assert_double_eq(paired[0], 0);
}
END_TEST

/* ---- a store and a model of the caller's own ---- */

static int embedded; /* texts */

/* Letters counted: texts of the same letters point the same way. */
static rag_err count_letters(void *arg, rag_side side, const char *const *texts, size_t n,
                             float *vectors)
{
    (void)arg;
    (void)side;
    for (size_t i = 0; i < n; i++, embedded++) {
        memset(vectors + i * 27, 0, 27 * sizeof *vectors);
        vectors[i * 27 + 26] = 0.01F;
        for (const char *c = texts[i]; *c; c++)
            if (*c >= 'a' && *c <= 'z')
                vectors[i * 27 + (size_t)(*c - 'a')] += 1;
    }
    return RAG_OK;
}

static const rag_embedder letters = {
    sizeof letters, "mine:letters", "1", 27, count_letters, NULL};

static rag_store *open_store(rag_progress_fn progress, void *arg)
{
    rag_options o = RAG_OPTIONS_INIT;
    rag_store *s = NULL;
    char path[128];
    snprintf(path, sizeof path, "%s/store", dir);
    o.access = RAG_CREATE;
    o.custom = &letters;
    o.progress = progress;
    o.progress_arg = arg;
    ck_assert_msg(!rag_open(path, &o, &s), "%s", rag_error_message());
    const char *text = "The key is in drawer 14. The cat sleeps on the mat.";
    const rag_document d = {
        .size = sizeof d, .source = "house", .text = text, .bytes = strlen(text)};
    ck_assert_msg(!rag_add_texts(s, &d, 1, NULL, NULL), "%s", rag_error_message());
    return s;
}

struct model {
    const char *answers[8]; /* of each question in turn; NULL: the server refuses */
    rag_err failure;
    int asked, failed;
    char told[512];
};

static rag_err chat(void *arg, const char *system, const char *question,
                    int (*text)(void *text_arg, const char *piece, size_t bytes),
                    void *text_arg)
{
    struct model *m = arg;
    (void)question;
    ck_assert_ptr_nonnull(strstr(system, "drawer 14"));
    const char *answer = m->answers[m->asked++ % 8];
    if (!answer)
        return RAG_FAIL(m->failure, "the model sleeps");
    return text(text_arg, answer, strlen(answer)) ? RAG_ECANCELED : RAG_OK;
}

static void on_failed(void *arg, const char *question, const char *why)
{
    struct model *m = arg;
    m->failed++;
    snprintf(m->told, sizeof m->told, "%s: %s", question, why);
}

#define QUERIES                                                                                \
    "{\"_id\": \"key\", \"text\": \"where is the key\", \"answers\": [\"in drawer 14\", "      \
    "\"drawer 14\"]}\n"                                                                        \
    "{\"_id\": \"cat\", \"question\": \"where does the cat sleep\", \"answer\": \"on the "     \
    "mat\"}\n"                                                                                 \
    "{\"_id\": \"dog\", \"text\": \"where is the dog\", \"answers\": []}\n"                    \
    "{\"_id\": \"free\", \"text\": \"what of the house\"}\n"

static rag_answer_eval *evaluate(rag_store *s, rag_answers_options *o, struct model *m,
                                 rag_err want, const char *says)
{
    rag_ask_params p = RAG_ASK_PARAMS_INIT;
    rag_answer_eval *e = NULL;
    p.chat = chat;
    p.chat_arg = m;
    if (m) {
        o->ask = &p;
        o->on_failed = on_failed;
        o->arg = m;
    }
    const rag_err err = rag_eval_answers(s, o, &e);
    ck_assert_msg(err == want, "%d: %s", err, rag_error_message());
    ck_assert((e != NULL) == (err == RAG_OK));
    if (says)
        ck_assert_msg(strstr(rag_error_message(), says) != NULL, "%s", rag_error_message());
    return e;
}

START_TEST(asked_and_judged)
{
    rag_store *s = open_store(NULL, NULL);
    struct model m = {.answers = {"In drawer 14 [1].", "The sources do not say where.",
                                  "There is no mention of a dog in the sources.", "It [1, 5]."},
                      .failure = RAG_EREFUSED};
    rag_answers_options o = RAG_ANSWERS_OPTIONS_INIT;
    o.queries = put("q", QUERIES);
    rag_answer_eval *e = evaluate(s, &o, &m, RAG_OK, NULL);
    ck_assert_int_eq(m.asked, 4);
    ck_assert_uint_eq(e->n, 4);
    ck_assert_uint_eq(e->answerable, 2);
    ck_assert_uint_eq(e->unanswerable, 1);
    ck_assert_uint_eq(e->answers, 4);
    ck_assert_uint_eq(e->asked, 4);
    ck_assert_str_eq(e->embedder, "mine:letters");
    ck_assert_double_eq(e->values[RAG_ANSWER_EXACT][0], 1);
    ck_assert_double_eq(e->values[RAG_ANSWER_ROUGE_L][0], 1);
    ck_assert_double_eq(e->mean[RAG_ANSWER_EXACT], 0.5);
    ck_assert_uint_eq(e->count[RAG_ANSWER_EXACT], 2);
    ck_assert_double_gt(e->values[RAG_ANSWER_COSINE][0], 0.9);
    ck_assert(isnan(e->values[RAG_ANSWER_COSINE][2]));
    ck_assert_uint_eq(e->count[RAG_ANSWER_SHUFFLED], 2);
    ck_assert_double_eq(e->mean[RAG_ANSWER_REFUSED], 1);
    ck_assert_uint_eq(e->count[RAG_ANSWER_REFUSED], 1);
    ck_assert_double_eq(e->mean[RAG_ANSWER_REFUSED_WRONGLY], 0.5);
    /* Of two answers that cite, one cites a source that is none. */
    ck_assert_uint_eq(e->count[RAG_ANSWER_VALID], 2);
    ck_assert_double_eq(e->mean[RAG_ANSWER_VALID], 0.75);
    /* Two do not refuse; both cite. */
    ck_assert_uint_eq(e->count[RAG_ANSWER_COVERED], 2);
    ck_assert_double_eq(e->mean[RAG_ANSWER_COVERED], 1);
    ck_assert_double_eq(e->mean[RAG_ANSWER_UNCITED], 0);
    ck_assert_int_eq(e->judged[3].answerable, RAG_ANSWERABLE_UNTOLD);
    ck_assert_int_eq(e->judged[1].refused, 1);
    ck_assert_uint_eq(e->judged[0].sources, 1);
    rag_answer_eval_free(e);
    rag_close(s);
}
END_TEST

/* What failed is told and left out; what was answered is not asked again. */
START_TEST(gone_on_with)
{
    rag_store *s = open_store(NULL, NULL);
    struct model m = {.answers = {"In drawer 14 [1].", NULL, "No idea.", NULL},
                      .failure = RAG_EUNAVAIL};
    rag_answers_options o = RAG_ANSWERS_OPTIONS_INIT;
    char out[128];
    snprintf(out, sizeof out, "%s/answers", dir);
    o.queries = put("q", QUERIES);
    o.output = out;
    rag_answer_eval *e = evaluate(s, &o, &m, RAG_OK, NULL);
    ck_assert_int_eq(m.failed, 2);
    ck_assert_str_eq(m.told, "free: the model sleeps");
    ck_assert_uint_eq(e->failed, 2);
    ck_assert_uint_eq(e->answers, 2);
    ck_assert_ptr_null(e->judged[1].answer);
    ck_assert(isnan(e->values[RAG_ANSWER_F1][1]));
    rag_answer_eval_free(e);
    /* A line that was broken off is asked again. */
    FILE *f = fopen(out, "a");
    fputs("{\"_id\": \"free\", \"answ", f);
    ck_assert_int_eq(fclose(f), 0);
    struct model again = {.answers = {"On the mat.", "A house."}};
    e = evaluate(s, &o, &again, RAG_OK, NULL);
    ck_assert_int_eq(again.asked, 2);
    ck_assert_uint_eq(e->asked, 2);
    ck_assert_uint_eq(e->answers, 4);
    ck_assert_str_eq(e->judged[0].answer, "In drawer 14 [1].");
    ck_assert_str_eq(e->judged[3].answer, "A house.");
    rag_answer_eval_free(e);
    e = evaluate(s, &o, &again, RAG_OK, NULL);
    ck_assert_uint_eq(e->asked, 0);
    rag_answer_eval_free(e);
    /* The same file judged for itself, with the same figures. */
    o.output = NULL;
    o.answers = out;
    e = evaluate(s, &o, NULL, RAG_OK, NULL);
    ck_assert_uint_eq(e->answers, 4);
    ck_assert_double_eq(e->mean[RAG_ANSWER_EXACT], 1);
    ck_assert_int_eq(e->judged[0].told, 1);
    rag_answer_eval_free(e);
    /* Other settings, another file. */
    rag_search_params search = RAG_SEARCH_PARAMS_INIT;
    rag_ask_params p = RAG_ASK_PARAMS_INIT;
    search.k = 3;
    p.search = &search;
    p.chat = chat;
    p.chat_arg = &again;
    o.answers = NULL;
    o.output = out;
    o.ask = &p;
    evaluate(s, &o, NULL, RAG_EMISMATCH, "k=10");
    rag_close(s);
}
END_TEST

/* A server that is gone ends the run; what came before stays written. */
START_TEST(given_up)
{
    rag_store *s = open_store(NULL, NULL);
    char many[2048] = "", out[128];
    for (int i = 0; i < 12; i++) {
        char line[80];
        snprintf(line, sizeof line, "{\"_id\": \"%d\", \"text\": \"the key %d\"}\n", i, i);
        strncat(many, line, sizeof many - strlen(many) - 1);
    }
    snprintf(out, sizeof out, "%s/answers", dir);
    rag_answers_options o = RAG_ANSWERS_OPTIONS_INIT;
    o.queries = put("q", many);
    o.output = out;
    struct model none = {.failure = RAG_EREFUSED};
    evaluate(s, &o, &none, RAG_EREFUSED, "the model sleeps");
    ck_assert_int_eq(none.asked, 5);
    struct model one = {.answers = {"yes"}, .failure = RAG_EUNAVAIL};
    evaluate(s, &o, &one, RAG_EUNAVAIL, "the model sleeps");
    ck_assert_int_eq(one.asked, 6);
    /* Refusals of single questions do not end it, once there was an answer. */
    struct model some = {.answers = {"yes"}, .failure = RAG_EREFUSED};
    rag_answer_eval *e = evaluate(s, &o, &some, RAG_OK, NULL);
    ck_assert_uint_eq(e->failed, 9);
    ck_assert_uint_eq(e->answers, 3);
    rag_answer_eval_free(e);
    /* Nor do those of a server that answers now and then. */
    o.output = NULL;
    struct model now = {.answers = {"yes", NULL, NULL, NULL, NULL, "yes", NULL, NULL},
                        .failure = RAG_EUNAVAIL};
    e = evaluate(s, &o, &now, RAG_OK, NULL);
    ck_assert_uint_eq(e->failed, 9);
    rag_answer_eval_free(e);
    o.output = out;
    /* What is wrong with the call itself is no failure of a question. */
    struct model wrong = {.answers = {"yes"}, .failure = RAG_EINVAL};
    evaluate(s, &o, &wrong, RAG_EINVAL, NULL);
    /* An answer that cannot be written is none. */
    struct model bytes = {
        .answers = {"yes", "\xFF\xFE", "yes", "yes", "yes", "yes", "yes", "yes"}};
    e = evaluate(s, &o, &bytes, RAG_OK, NULL);
    ck_assert_uint_eq(e->failed, 1);
    ck_assert_ptr_nonnull(strstr(bytes.told, "no UTF-8"));
    rag_answer_eval_free(e);
    rag_close(s);
}
END_TEST

static int stop_after(void *arg, const char *what, uint64_t done, uint64_t total)
{
    (void)total;
    return strcmp(what, "answers") == 0 && done >= *(uint64_t *)arg;
}

START_TEST(interrupted)
{
    uint64_t most = 2;
    rag_store *s = open_store(stop_after, &most);
    struct model m = {.answers = {"one", "two", "three", "four"}};
    rag_answers_options o = RAG_ANSWERS_OPTIONS_INIT;
    char out[128];
    snprintf(out, sizeof out, "%s/answers", dir);
    o.queries = put("q", QUERIES);
    o.output = out;
    evaluate(s, &o, &m, RAG_ECANCELED, NULL);
    ck_assert_int_eq(m.asked, 2);
    most = 100;
    rag_answer_eval *e = evaluate(s, &o, &m, RAG_OK, NULL);
    ck_assert_int_eq(m.asked, 4);
    ck_assert_str_eq(e->judged[1].answer, "two");
    ck_assert_str_eq(e->judged[2].answer, "three");
    rag_answer_eval_free(e);
    rag_close(s);
}
END_TEST

/* ---- files ---- */

static void judge(rag_store *s, const char *queries, const char *answers, rag_err want,
                  const char *says)
{
    rag_answers_options o = RAG_ANSWERS_OPTIONS_INIT;
    o.queries = queries ? put("queries", queries) : NULL;
    o.answers = put("given", answers);
    rag_answer_eval_free(evaluate(s, &o, NULL, want, says));
}

START_TEST(hostile_files)
{
    rag_store *s = open_store(NULL, NULL);
    const char *q = "{\"_id\": \"1\", \"text\": \"one\", \"answers\": \"x\"}\n";
    const char *a = "{\"_id\": \"1\", \"answer\": \"x\"}\n";
    judge(s, q, a, RAG_OK, NULL);
    judge(s, NULL, a, RAG_EINVAL, "no questions");
    judge(s, "\n\n", a, RAG_EFORMAT, "no questions");
    judge(s, "{\"text\": \"one\"}\n", a, RAG_EFORMAT, "line 1 has no _id");
    judge(s, "{\"_id\": \"\", \"text\": \"one\"}\n", a, RAG_EFORMAT, "no _id");
    judge(s, "{\"_id\": 7, \"text\": \"one\"}\n", a, RAG_EFORMAT, "no _id");
    judge(s, "\n{\"_id\": \"1\"}\n", a, RAG_EFORMAT, "line 2 has no text");
    judge(s, "{\"_id\": \"1\", \"text\": \" \"}\n", a, RAG_EFORMAT, "has no text");
    judge(s, "[1]\n", a, RAG_EFORMAT, "no _id");
    judge(s, "{\"_id\": \"1\", \"text\": \"one\", \"answers\": [3]}\n", a, RAG_EFORMAT,
          "a reference is no text");
    judge(s, "{\"_id\": \"1\", \"text\": \"one\"}\n{\"_id\": \"1\", \"text\": \"two\"}\n", a,
          RAG_EFORMAT, "\"1\" stands there twice");
    judge(s, "{\"_id\": \"1\", \"te", a, RAG_EINVAL, "queries:1");
    judge(s, "{\"_id\": \"1\", \"text\": \"\xFF\"}", a, RAG_EINVAL, "queries:1");
    judge(s, q, "{\"_id\": \"1\", \"answer\": \"\xC3\"}", RAG_EINVAL, "given:1");
    judge(s, q, "{\"_id\": \"1\"}", RAG_EFORMAT, "line 1 has no answer");
    judge(s, q, "{\"_id\": \"1\", \"answer\": [\"x\"]}", RAG_EFORMAT, "no answer");
    judge(s, q, "{\"answer\": \"x\"}", RAG_EFORMAT, "no _id");
    judge(s, q, "{\"_id\": \"1\", \"answer\": \"\"}", RAG_OK, NULL);
    judge(s, q, "{\"_id\": \"1\", \"answer\": \"x\"}\n{\"_id\": \"1\", \"text\": \"y\"}",
          RAG_EFORMAT, "line 2 answers \"1\" a second time");
    judge(s, q, "{\"_id\": \"1\", \"question\": \"two\", \"answer\": \"x\"}", RAG_EMISMATCH,
          "another question");
    judge(s, q, "{\"_id\": \"2\", \"answer\": \"x\"}", RAG_ENOENT, "none of the 1");
    judge(s, q, "", RAG_ENOENT, "none of the 1");
    rag_answers_options o = RAG_ANSWERS_OPTIONS_INIT;
    o.queries = put("queries", q);
    o.answers = "/nowhere/a";
    evaluate(s, &o, NULL, RAG_ENOENT, "/nowhere/a");
    o.output = "/nowhere/b";
    evaluate(s, &o, NULL, RAG_EINVAL, "judged");
    o.answers = NULL;
    evaluate(s, &o, NULL, RAG_EINVAL, "language model");
    struct model m = {.answers = {"x"}};
    evaluate(s, &o, &m, RAG_EIO, "/nowhere/b");
    o.output = dir;
    evaluate(s, &o, &m, RAG_EIO, dir);
    o.output = "/dev/null";
    evaluate(s, &o, &m, RAG_EINVAL, "no regular file");
    ck_assert_int_eq(m.asked, 0);
    rag_close(s);
}
END_TEST

/* The shapes that references and answers come in, and a text at the limit and above it. */
START_TEST(shapes)
{
    rag_store *s = open_store(NULL, NULL);
    const char *queries =
        put("q", "{\"_id\": \"1\", \"text\": \"one\", \"answers\": {\"text\": [\"x\"], "
                 "\"answer_start\": [3]}}\r\n"
                 "{\"_id\": \"2\", \"text\": \"two\", "
                 "\"answers\": [{\"text\": \"x\"}, \"y\"]}\n"
                 "{\"id\": \"3\", \"question\": \"three\", \"references\": [\" \", \"z\"]}\n"
                 "{\"_id\": \"4\", \"text\": \"four\", \"reference\": \"x\", "
                 "\"is_impossible\": true}\n"
                 "{\"_id\": \"5\", \"text\": \"five\", \"answers\": [\"\"]}\n"
                 "{\"_id\": \"6\", \"text\": \"six\", \"answers\": null}");
    const char *more =
        put("u", "{\"_id\": \"7\", \"text\": \"seven\", \"answers\": [\"x\"]}\n");
    const char *given =
        put("a", "{\"_id\": \"1\", \"answer\": \"x [1]\", \"sources\": 1}\n"
                 "{\"_id\": \"2\", \"answer\": \"y [3]\", \"sources\": [{}, {}]}\n"
                 "{\"_id\": \"3\", \"type\": \"done\", \"text\": \"z [2] [9]\", "
                 "\"cited\": [2], \"unknown\": [9], \"finish\": \"length\", \"model\": \"m\"}\n"
                 "{\"_id\": \"4\", \"answer\": \"q [1]\", \"sources\": -4}\n"
                 "{\"_id\": \"7\", \"answer\": \"\"}\n{\"_id\": \"8\", \"answer\": \"\"}\n");
    rag_answers_options o = RAG_ANSWERS_OPTIONS_INIT;
    o.queries = queries;
    o.unanswerable = more;
    o.answers = given;
    rag_answer_eval *e = evaluate(s, &o, NULL, RAG_OK, NULL);
    ck_assert_uint_eq(e->n, 7);
    ck_assert_uint_eq(e->answerable, 3);
    ck_assert_uint_eq(e->unanswerable, 3);
    ck_assert_uint_eq(e->answers, 5);
    ck_assert_uint_eq(e->strangers, 1);
    ck_assert_uint_eq(e->cut, 1);
    ck_assert_str_eq(e->model, "m");
    ck_assert_double_eq(e->mean[RAG_ANSWER_EXACT], 1);
    ck_assert_double_eq(e->values[RAG_ANSWER_VALID][0], 1);
    ck_assert_double_eq(e->values[RAG_ANSWER_VALID][1], 0);
    ck_assert_double_eq(e->values[RAG_ANSWER_VALID][2], 0.5);
    ck_assert(isnan(e->values[RAG_ANSWER_VALID][3])); /* how many sources is not told */
    ck_assert_double_eq(e->values[RAG_ANSWER_UNCITED][3], 0);
    ck_assert_double_eq(e->values[RAG_ANSWER_REFUSED][3], 0);
    ck_assert_double_eq(e->values[RAG_ANSWER_REFUSED][6], 1);
    rag_answer_eval_free(e);
    o.every = 3; /* 1, 4 and 7 */
    e = evaluate(s, &o, NULL, RAG_OK, NULL);
    ck_assert_uint_eq(e->n, 3);
    ck_assert_uint_eq(e->strangers, 1);
    rag_answer_eval_free(e);
    char *huge = malloc(ANSWER_MOST + 100);
    for (size_t more_bytes = 0; more_bytes < 2; more_bytes++) {
        const char *head = "{\"_id\": \"1\", \"answer\": \"";
        const size_t n = strlen(head), bytes = ANSWER_MOST + more_bytes;
        memcpy(huge, head, n);
        for (size_t i = 0; i < bytes; i++)
            huge[n + i] = i % 2 ? ' ' : 'x';
        memcpy(huge + n + bytes, "\"}\n", 4);
        o.answers = put("huge", huge);
        rag_answer_eval_free(evaluate(s, &o, NULL, more_bytes ? RAG_ELIMIT : RAG_OK,
                                      more_bytes ? "line 1: an answer of 1048577" : NULL));
    }
    free(huge);
    rag_close(s);
}
END_TEST

/* Each allocation fails once: no answer is half written, nothing is wrong afterwards. */
static uint64_t fail_each(rag_store *s, const rag_answers_options *o)
{
    uint64_t at = 0, asked;
    do {
        rag_answer_eval *e = NULL;
        if (o->output)
            remove(o->output);
        memory_fail_at(++at, false);
        const rag_err err = rag_eval_answers(s, o, &e);
        asked = memory_fail_at(0, false);
        ck_assert_msg(err == RAG_OK || err == RAG_ENOMEM, "allocation %llu: %s: %s",
                      (unsigned long long)at, rag_err_name(err), rag_error_message());
        ck_assert((e != NULL) == (err == RAG_OK));
        rag_answer_eval_free(e);
    } while (asked >= at);
    return at;
}

START_TEST(out_of_memory)
{
    rag_store *s = open_store(NULL, NULL);
    rag_answers_options o = RAG_ANSWERS_OPTIONS_INIT;
    const char *phrases[] = {"no idea"};
    char out[128];
    o.queries = put("q", QUERIES);
    o.answers = put("a", "{\"_id\": \"key\", \"answer\": \"Drawer 14 [1].\", \"sources\": 1}\n"
                         "{\"_id\": \"cat\", \"answer\": \"The mat.\", \"model\": \"m\"}\n"
                         "{\"_id\": \"dog\", \"answer\": \"No idea.\"}\n");
    o.refusals = phrases;
    o.nrefusals = 1;
    rag_answer_eval_free(evaluate(s, &o, NULL, RAG_OK, NULL));
    ck_assert_uint_gt(fail_each(s, &o), 50);
    struct model m = {.answers = {"yes [1].", "yes", "no", "no", "yes", "no", "yes", "no"}};
    rag_ask_params p = RAG_ASK_PARAMS_INIT;
    p.chat = chat;
    p.chat_arg = &m;
    snprintf(out, sizeof out, "%s/answers", dir);
    o.answers = NULL;
    o.output = out;
    o.ask = &p;
    ck_assert_uint_gt(fail_each(s, &o), 100);
    rag_answer_eval *e = evaluate(s, &o, &m, RAG_OK, NULL);
    ck_assert_uint_eq(e->asked, 0); /* the last of the loop had them all */
    rag_answer_eval_free(e);
    rag_close(s);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("answers");
    TCase *m = tcase_create("metrics"), *r = tcase_create("runs");
    tcase_add_test(m, squad_by_hand);
    tcase_add_test(m, rouge_by_hand);
    tcase_add_test(m, rouge_at_random);
    tcase_add_test(m, citations);
    tcase_add_test(m, refusals);
    tcase_add_test(m, cosines_of_three);
    tcase_add_test(m, cosines_of_few);
    tcase_add_checked_fixture(r, make_dir, remove_dir);
    tcase_add_test(r, asked_and_judged);
    tcase_add_test(r, gone_on_with);
    tcase_add_test(r, given_up);
    tcase_add_test(r, interrupted);
    tcase_add_test(r, hostile_files);
    tcase_add_test(r, shapes);
    tcase_add_test(r, out_of_memory);
    suite_add_tcase(s, m);
    suite_add_tcase(s, r);
    SRunner *run = srunner_create(s);
    srunner_run_all(run, CK_ENV);
    const int failed = srunner_ntests_failed(run);
    srunner_free(run);
    return failed ? 1 : 0;
}
