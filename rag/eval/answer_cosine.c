/* answer_cosine.c - how near answers lie to references by an embedder, and to others'.  See
 * answers.h.
 *
 * Place: rag/eval.  A cosine means nothing by itself: embedders differ in what two unrelated
 * texts have.  So each answer also meets references of other answers, in shuffles that are one
 * cycle through all (Sattolo, 1986: none meets its own, every other one is as likely). */
#include <config.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/memory.h"
#include "ann/base/rng.h"
#include "ann/kernels/kernels.h"
#include "rag/error.h"
#include "rag/eval/answers.h"
#include "rag/text/text.h"

#define PIECE_TOKENS 250 /* what a chunk may have: every embedder of a store takes it */
#define SHUFFLES     1000
#define SEED         1986

/* ---- vectors ---- */

struct piece {
    char *text;
    size_t of; /* index of the text */
};

struct pieces {
    struct piece *list; /* [n] */
    size_t n, room, done;
    struct answer_vectors *v;
};

static rag_err add_piece(struct pieces *p, const char *text, size_t bytes, size_t of)
{
    if (p->n == p->room) {
        struct piece *more = mem_resize(p->list, (2 * p->room + 256) * sizeof *more);
        if (!more)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu texts", p->n);
        p->list = more;
        p->room = 2 * p->room + 256;
    }
    char *copy = mem_alloc(bytes + 1);
    if (!copy)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a text of %zu bytes", bytes);
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    p->list[p->n++] = (struct piece){copy, of};
    return RAG_OK;
}

static int stop_at_word(void *arg, const char *word, size_t bytes)
{
    (void)arg;
    (void)word;
    return bytes > 0;
}

static rag_err cut(struct pieces *p, const char *text, size_t of)
{
    const size_t bytes = strlen(text);
    rag_err err = RAG_OK;
    for (size_t at = 0, end; at < bytes && !err; at = end) {
        end = text_fit(text, bytes, at, PIECE_TOKENS);
        if (text_words(text + at, end - at, stop_at_word, NULL))
            err = add_piece(p, text + at, end - at, of);
    }
    return err;
}

/* Adds the vectors of some pieces, brought to length 1, to those of their texts. */
static rag_err take(void *arg, size_t first, size_t n, size_t dims, const float *vectors)
{
    struct pieces *p = arg;
    if (!p->v->data) {
        p->v->dims = dims;
        p->v->data = mem_zalloc(p->v->n, dims * sizeof *p->v->data);
        if (!p->v->data)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu vectors", p->v->n);
    }
    for (size_t i = 0; i < n; i++) {
        const float *from = vectors + i * dims;
        float *to = p->v->data + p->list[first + i].of * dims;
        double sum = 0;
        for (size_t d = 0; d < dims; d++)
            sum += (double)from[d] * from[d];
        for (size_t d = 0; d < dims; d++)
            to[d] += (float)(from[d] / sqrt(sum));
    }
    return RAG_OK;
}

static void to_length_1(struct answer_vectors *v)
{
    for (size_t i = 0; v->data && i < v->n; i++) {
        float *x = v->data + i * v->dims;
        double sum = 0;
        for (size_t d = 0; d < v->dims; d++)
            sum += (double)x[d] * x[d];
        for (size_t d = 0; d < v->dims && sum > 0; d++)
            x[d] = (float)(x[d] / sqrt(sum));
    }
}

static rag_err embed_pieces(struct embedder *e, struct pieces *p)
{
    const char **texts = mem_alloc((p->n + 1) * sizeof *texts);
    rag_err *each = mem_zalloc(p->n + 1, sizeof *each);
    rag_err err = texts && each ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for texts");
    for (size_t i = 0; i < p->n && !err; i++)
        texts[i] = p->list[i].text;
    if (!err)
        err = embed_texts(e, EMBED_DOCUMENT, texts, p->n, each, take, p);
    for (size_t i = 0; i < p->n && !err; i++)
        err = each[i];
    mem_free(texts);
    mem_free(each);
    return err;
}

rag_err answer_embed(struct embedder *e, const char *const *texts, size_t n,
                     struct answer_vectors *out)
{
    struct answer_vectors v = {.n = n};
    struct pieces p = {.v = &v};
    rag_err err = RAG_OK;
    for (size_t i = 0; i < n && !err; i++)
        err = cut(&p, texts[i], i);
    if (!err && p.n > 0)
        err = embed_pieces(e, &p);
    for (size_t i = 0; i < p.n; i++)
        mem_free(p.list[i].text);
    mem_free(p.list);
    if (err) {
        answer_vectors_free(&v);
        return err;
    }
    to_length_1(&v);
    *out = v;
    return RAG_OK;
}

void answer_vectors_free(struct answer_vectors *v)
{
    mem_free(v->data);
    *v = (struct answer_vectors){0};
}

/* ---- cosines ---- */

struct comparing {
    const struct answer_vectors *answers, *refs;
    const struct answer_range *ranges;
    annk_dist_fn distance;
};

/* The best of answer i with the references of answer j; 0 where nothing had a word. */
static double best_of(const struct comparing *c, size_t i, size_t j)
{
    double best = -1;
    if (!c->answers->data || !c->refs->data)
        return 0;
    for (size_t r = c->ranges[j].first; r < c->ranges[j].first + c->ranges[j].n; r++) {
        const double cosine =
            -(double)c->distance(c->answers->data + i * c->answers->dims,
                                 c->refs->data + r * c->refs->dims, c->refs->dims);
        best = cosine > best ? cosine : best;
    }
    return best > 1 ? 1 : best;
}

/* Makes order [n] one cycle: order[i] is never i. */
static void draw_cycle(size_t *order, size_t n, uint64_t *chance)
{
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    for (size_t i = n - 1; i > 0; i--) {
        const size_t j = rng_below(chance, i), held = order[i];
        order[i] = order[j];
        order[j] = held;
    }
}

static rag_err shuffle(const struct comparing *c, double *shuffled, double *mean, double *sd)
{
    const size_t n = c->answers->n;
    size_t *order = mem_alloc(n * sizeof *order);
    uint64_t chance = SEED;
    double means[SHUFFLES], squares = 0;
    if (!order)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu answers", n);
    *mean = 0;
    for (size_t i = 0; i < n; i++)
        shuffled[i] = 0;
    for (size_t s = 0; s < SHUFFLES; s++) {
        draw_cycle(order, n, &chance);
        means[s] = 0;
        for (size_t i = 0; i < n; i++) {
            const double cosine = best_of(c, i, order[i]);
            shuffled[i] += cosine / SHUFFLES;
            means[s] += cosine / (double)n;
        }
        *mean += means[s] / SHUFFLES;
    }
    for (size_t s = 0; s < SHUFFLES; s++)
        squares += (means[s] - *mean) * (means[s] - *mean);
    *sd = sqrt(squares / (SHUFFLES - 1));
    mem_free(order);
    return RAG_OK;
}

rag_err answer_cosines(const struct answer_vectors *answers, const struct answer_vectors *refs,
                       const struct answer_range *ranges, double *paired, double *shuffled,
                       double *z)
{
    const struct comparing c = {answers, refs, ranges, annk_select()->dist[ANNK_IP][ANNK_F32]};
    const size_t n = answers->n;
    double sum = 0, mean = NAN, sd = 0;
    rag_err err = RAG_OK;
    for (size_t i = 0; i < n; i++) {
        paired[i] = best_of(&c, i, i);
        shuffled[i] = NAN;
        sum += paired[i];
    }
    if (n > 1)
        err = shuffle(&c, shuffled, &mean, &sd);
    if (!err) /* a spread of rounding alone is none */
        *z = n > 2 && sd > 1e-9 ? (sum / (double)n - mean) / sd : NAN;
    return err;
}
