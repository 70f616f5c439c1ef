/* distill.c - a static embedder from a contextual one.  See distill.h.
 *
 * Place: rag/embed.  First the teacher's vector of every token alone and of every text; then
 * PCA of the texts' vectors, into which both are turned; tokens weigh a / (a + p) for their
 * share p of the texts' tokens.  Then the tokens' vectors move so that the mean over a text's
 * tokens points where the teacher's vector does: Adagrad on 1 - cosine, in batches.
 *
 * A batch has two halves: each text's own gradient (any thread), then for a slice of the
 * dimensions the sum over all texts in their order (any thread): so no result depends on how
 * many threads there are. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/base/blas.h"
#include "ann/base/memory.h"
#include "ann/base/pool.h"
#include "ann/base/rng.h"
#include "ann/kernels/kernels.h"
#include "ann/kernels/layers.h"
#include "rag/embed/distill.h"
#include "rag/embed/encoder.h"
#include "rag/embed/model.h"
#include "rag/embed/static.h"
#include "rag/embed/wordpiece.h"
#include "rag/error.h"

#define TEXTS_AT_ONCE 2048 /* that the teacher is given */
#define BATCH         512  /* texts whose gradients are added up before a step */
#define SLICE         32   /* dimensions of a step's piece of work */
#define HELD_BACK     50   /* one text of so many is not learnt from */
#define SIF           1e-3 /* a of the weights */
#define LATIN_END     0xCA /* first byte in UTF-8 of what is no Latin letter or sign */
#define DIMS          256
#define EPOCHS        16
#define RATE          0.02

struct study {
    const struct distill *d;
    const struct annk_layer_ops *ops;
    const struct wordpiece *words;
    size_t wide, dims, vocabulary;
    uint32_t *ids;  /* of all texts, without the special ones */
    size_t *at;     /* [n + 1] */
    float *targets; /* [n, wide], then [n, dims] of length 1 */
    float *rows;    /* [vocabulary, wide], then [vocabulary, dims] */
    float *squares; /* [vocabulary, dims] Adagrad's */
    float *turn;    /* [dims, wide] PCA's axes */
    double kept;
    size_t *order; /* [ntrained] texts, shuffled each epoch */
    size_t ntrained;
    float *gradients;    /* [BATCH, dims] */
    size_t first, batch; /* of order: the texts of this step */
    double rate;
};

static rag_err step(const struct study *s, const char *what, size_t done, size_t total)
{
    if (s->d->progress && s->d->progress(s->d->progress_arg, what, done, total))
        return RAG_FAIL(RAG_ECANCELED, "stopped while %s", what);
    return RAG_OK;
}

/* ---- the teacher's part ---- */

static rag_err teach_tokens(struct study *s)
{
    uint32_t ids[3 * TEXTS_AT_ONCE];
    size_t at[TEXTS_AT_ONCE + 1];
    rag_err err = RAG_OK;
    for (size_t first = 0; first < s->vocabulary && !err; first += TEXTS_AT_ONCE) {
        const size_t rest = s->vocabulary - first,
                     n = rest < TEXTS_AT_ONCE ? rest : TEXTS_AT_ONCE;
        for (size_t i = 0; i < n; i++) {
            at[i] = 3 * i;
            ids[3 * i] = wordpiece_cls(s->words);
            ids[3 * i + 1] = (uint32_t)(first + i);
            ids[3 * i + 2] = wordpiece_sep(s->words);
        }
        at[n] = 3 * n;
        err =
            encoder_embed_ids(s->d->teacher, ids, at, n, s->d->pool, s->rows + first * s->wide);
        if (!err)
            err = step(s, "tokens through the teacher", first + n, s->vocabulary);
    }
    return err;
}

static rag_err teach_texts(struct study *s)
{
    rag_err err = RAG_OK;
    for (size_t first = 0; first < s->d->n && !err; first += TEXTS_AT_ONCE) {
        const size_t rest = s->d->n - first, n = rest < TEXTS_AT_ONCE ? rest : TEXTS_AT_ONCE;
        err = encoder_embed(s->d->teacher, s->d->texts + first, n, s->d->pool,
                            s->targets + first * s->wide);
        if (!err)
            err = step(s, "texts through the teacher", first + n, s->d->n);
    }
    return err;
}

/* s->ids and s->at: what the static embedder will see of each text. */
static rag_err cut_texts(struct study *s)
{
    const uint32_t unknown = wordpiece_unknown(s->words);
    const size_t most = encoder_facts(s->d->teacher).most;
    size_t room = 0, used = 0;
    for (size_t i = 0; i < s->d->n; i++) {
        s->at[i] = used;
        if (room - used < most) {
            room = 2 * room + (most > 65536 ? most : 65536);
            uint32_t *more = mem_resize(s->ids, room * sizeof *more);
            if (!more)
                return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu tokens", room);
            s->ids = more;
        }
        uint32_t *to = s->ids + used;
        const size_t n =
            wordpiece_encode(s->words, s->d->texts[i], strlen(s->d->texts[i]), most, to);
        for (size_t k = 1; k + 1 < n; k++)
            if (to[k] != unknown)
                s->ids[used++] = to[k];
    }
    s->at[s->d->n] = used;
    return RAG_OK;
}

/* ---- PCA ---- */

/* What all texts have in common says nothing of any: their mean is taken off them and off the
 * tokens (0.1 to 0.3 of nDCG on three collections, within the noise). */
static rag_err centre(struct study *s)
{
    double *mean = mem_zalloc(s->wide, sizeof *mean);
    if (!mean)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a mean");
    for (size_t i = 0; i < s->d->n; i++)
        for (size_t d = 0; d < s->wide; d++)
            mean[d] += s->targets[i * s->wide + d];
    for (size_t d = 0; d < s->wide; d++)
        mean[d] /= (double)s->d->n;
    for (size_t i = 0; i < s->d->n; i++)
        for (size_t d = 0; d < s->wide; d++)
            s->targets[i * s->wide + d] -= (float)mean[d];
    for (size_t t = 0; t < s->vocabulary; t++)
        for (size_t d = 0; d < s->wide; d++)
            s->rows[t * s->wide + d] -= (float)mean[d];
    mem_free(mean);
    return RAG_OK;
}

/* The axes of the texts' vectors, those of most variance first. */
static rag_err find_axes(struct study *s)
{
    const size_t w = s->wide;
    double *sums = mem_zalloc(w * w, sizeof *sums), *values = mem_alloc(w * sizeof *values);
    float *block = mem_alloc(w * w * sizeof *block),
          *turned = mem_alloc(w * BATCH * sizeof(float));
    rag_err err = sums && values && block && turned
                      ? RAG_OK
                      : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu axes", w);
    for (size_t first = 0; first < s->d->n && !err; first += BATCH) {
        const size_t rest = s->d->n - first, n = rest < BATCH ? rest : BATCH;
        for (size_t d = 0; d < w; d++) /* [wide, n] */
            for (size_t i = 0; i < n; i++)
                turned[d * n + i] = s->targets[(first + i) * w + d];
        blas_gemm_nt(turned, w, n, turned, w, n, n, block, w);
        for (size_t i = 0; i < w * w; i++)
            sums[i] += block[i];
    }
    if (!err && !blas_eigen(sums, w, values))
        err = RAG_FAIL(RAG_EINVAL, "the texts' vectors have no axes");
    double all = 0, kept = 0;
    for (size_t i = 0; i < w && !err; i++) {
        all += values[i];
        if (i >= w - s->dims)
            kept += values[i];
    }
    for (size_t i = 0; i < s->dims && !err; i++) /* ascending: the last are the largest */
        for (size_t d = 0; d < w; d++)
            s->turn[i * w + d] = (float)sums[(w - 1 - i) * w + d];
    s->kept = all > 0 ? kept / all : 0;
    mem_free(sums);
    mem_free(values);
    mem_free(block);
    mem_free(turned);
    return err;
}

/* x [n, wide] becomes [n, dims], in place. */
static rag_err turn(const struct study *s, float *x, size_t n, bool normalise)
{
    float *out = mem_alloc(BATCH * s->dims * sizeof *out);
    if (!out)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for vectors");
    for (size_t first = 0; first < n; first += BATCH) {
        const size_t rest = n - first, some = rest < BATCH ? rest : BATCH;
        blas_gemm_nt(x + first * s->wide, some, s->wide, s->turn, s->dims, s->wide, s->wide,
                     out, s->dims);
        for (size_t i = 0; i < some && normalise; i++) {
            float *v = out + i * s->dims;
            const double norm = sqrt(s->ops->dot_f32(v, v, s->dims));
            for (size_t d = 0; d < s->dims && norm > 0; d++)
                v[d] = (float)(v[d] / norm);
        }
        memcpy(x + first * s->dims, out, some * s->dims * sizeof *out); /* dims <= wide */
    }
    mem_free(out);
    return RAG_OK;
}

/* How often each token stands in the texts, for mem_free; NULL: out of memory. */
static size_t *count_tokens(const struct study *s)
{
    size_t *counts = mem_zalloc(s->vocabulary, sizeof *counts);
    for (size_t i = 0; counts && i < s->at[s->d->n]; i++)
        counts[s->ids[i]]++;
    return counts;
}

static rag_err weigh_tokens(struct study *s)
{
    const size_t all = s->at[s->d->n];
    size_t *counts = count_tokens(s);
    if (!counts)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu counts", s->vocabulary);
    for (size_t t = 0; t < s->vocabulary; t++) {
        const double share = (double)counts[t] / (double)all;
        const float weight = (float)(SIF / (SIF + share));
        for (size_t d = 0; d < s->dims; d++)
            s->rows[t * s->dims + d] *= weight;
    }
    mem_free(counts);
    return RAG_OK;
}

/* ---- training ---- */

/* The mean of text i's tokens at mean [dims], and its cosine to the target; 2: no tokens. */
static double look_at(const struct study *s, size_t i, float *mean, double *norm)
{
    const size_t n = s->at[i + 1] - s->at[i];
    memset(mean, 0, s->dims * sizeof *mean);
    for (size_t k = s->at[i]; k < s->at[i + 1]; k++)
        s->ops->add_f32(s->rows + s->ids[k] * s->dims, 1 / (float)n, mean, s->dims);
    *norm = sqrt(s->ops->dot_f32(mean, mean, s->dims));
    return *norm > 0 ? s->ops->dot_f32(mean, s->targets + i * s->dims, s->dims) / *norm : 2;
}

/* Of one text of the batch: gradient of 1 - cosine by each of its tokens' vectors. */
static void find_gradient(void *arg, size_t b, unsigned worker)
{
    struct study *s = arg;
    const size_t i = s->order[s->first + b], n = s->at[i + 1] - s->at[i];
    float *g = s->gradients + b * s->dims, mean[4096];
    const float *target = s->targets + i * s->dims;
    double norm;
    (void)worker;
    const double cosine = look_at(s, i, mean, &norm);
    const double by = cosine > 1.5 ? 0 : -1 / (norm * (double)n);
    for (size_t d = 0; d < s->dims; d++)
        g[d] = by == 0 ? 0 : (float)(by * (target[d] - cosine * mean[d] / norm));
}

/* Of one slice of the dimensions: a step along all gradients of the batch, text by text. */
static void take_step(void *arg, size_t slice, unsigned worker)
{
    struct study *s = arg;
    const size_t from = slice * SLICE, to = from + SLICE < s->dims ? from + SLICE : s->dims;
    const float rate = (float)s->rate;
    (void)worker;
    for (size_t b = 0; b < s->batch; b++) {
        const size_t i = s->order[s->first + b];
        const float *g = s->gradients + b * s->dims;
        for (size_t k = s->at[i]; k < s->at[i + 1]; k++) {
            float *row = s->rows + s->ids[k] * s->dims;
            float *square = s->squares + s->ids[k] * s->dims;
            for (size_t d = from; d < to; d++) {
                square[d] += g[d] * g[d];
                row[d] -= rate * g[d] / (sqrtf(square[d]) + 1e-8f);
            }
        }
    }
}

static void shuffle(struct study *s, uint64_t *state)
{
    for (size_t i = s->ntrained; i > 1; i--) {
        const size_t j = (size_t)(rng_next(state) % i), x = s->order[i - 1];
        s->order[i - 1] = s->order[j];
        s->order[j] = x;
    }
}

static rag_err train(struct study *s)
{
    const unsigned epochs = s->d->epochs ? s->d->epochs : EPOCHS;
    const double rate = s->d->rate > 0 ? s->d->rate : RATE;
    const size_t steps = (s->ntrained + BATCH - 1) / BATCH * epochs;
    const size_t slices = (s->dims + SLICE - 1) / SLICE;
    uint64_t state = s->d->seed;
    size_t done = 0;
    rag_err err = RAG_OK;
    for (unsigned e = 0; e < epochs && !err; e++) {
        shuffle(s, &state);
        for (s->first = 0; s->first < s->ntrained && !err; s->first += BATCH) {
            const size_t rest = s->ntrained - s->first;
            s->batch = rest < BATCH ? rest : BATCH;
            s->rate = rate * (1 - (double)done / (double)steps); /* down to 0 */
            pool_for(s->d->pool, s->batch, 16, find_gradient, s);
            pool_for(s->d->pool, slices, 1, take_step, s);
            done++;
            if (done % 16 == 0 || done == steps)
                err = step(s, "training", done, steps);
        }
    }
    return err;
}

/* Mean cosine to the teacher of texts that were learnt from, and of those held back. */
static void judge(const struct study *s, double *learnt, double *held)
{
    double sums[2] = {0, 0};
    size_t counts[2] = {0, 0};
    float mean[4096];
    double norm;
    for (size_t i = 0; i < s->d->n; i++) {
        const double cosine = look_at(s, i, mean, &norm);
        const int back = i % HELD_BACK == 0;
        if (cosine > 1.5)
            continue;
        sums[back] += cosine;
        counts[back]++;
    }
    *learnt = counts[0] ? sums[0] / (double)counts[0] : 0;
    *held = counts[1] ? sums[1] / (double)counts[1] : 0;
}

/* Whether a token is worth a row: what no text can hold, and what none held of a script that
 * the texts are not in, is not.  A word of such tokens is then unknown, as it was to the
 * training. */
static bool is_kept(const struct study *s, const size_t *counts, size_t t)
{
    const char *token = wordpiece_token(s->words, t);
    if (strncmp(token, "[unused", 7) == 0)
        return false;
    for (const char *c = token; *c && counts[t] == 0; c++)
        if ((unsigned char)*c >= LATIN_END)
            return false;
    return true;
}

/* Moves the rows of the tokens that are kept together, and their names to names; how many. */
static size_t gather(struct study *s, const size_t *counts, char *names, size_t *bytes)
{
    size_t n = 0;
    *bytes = 0;
    for (size_t t = 0; t < s->vocabulary; t++) {
        const char *token = wordpiece_token(s->words, t);
        const size_t length = strlen(token) + 1;
        if (!is_kept(s, counts, t))
            continue;
        memcpy(names + *bytes, token, length);
        memmove(s->rows + n * s->dims, s->rows + t * s->dims, s->dims * sizeof *s->rows);
        *bytes += length;
        n++;
    }
    return n;
}

static rag_err write_table(struct study *s, const char *path, const struct distill_report *r)
{
    const char *first = wordpiece_token(s->words, 0);
    const char *last = wordpiece_token(s->words, s->vocabulary - 1);
    struct model_draft *extra = mem_zalloc(1, sizeof *extra);
    char *names = mem_alloc((size_t)(last + strlen(last) + 1 - first));
    size_t *counts = count_tokens(s), bytes = 0;
    rag_err err = RAG_OK;
    if (!extra || !names || !counts) {
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for a model");
    } else {
        const size_t n = gather(s, counts, names, &bytes);
        model_put_text(extra, "source", s->d->source ? s->d->source : "");
        model_put_text(extra, "licence", s->d->licence ? s->d->licence : "");
        model_put_text(extra, "teacher", encoder_facts(s->d->teacher).name);
        model_put_text(extra, "teacher-revision", encoder_facts(s->d->teacher).revision);
        model_put_number(extra, "texts", r->texts);
        model_put_number(extra, "text-tokens", r->tokens);
        model_put_number(extra, "seed", s->d->seed);
        const struct table_parts p = {.name = s->d->name ? s->d->name : "distilled",
                                      .words = names,
                                      .bytes = bytes,
                                      .n = n,
                                      .wordpiece = true,
                                      .lower = wordpiece_lower(s->words),
                                      .dims = (uint32_t)s->dims,
                                      .stride = s->dims,
                                      .rows = s->rows};
        err = table_write(&p, path, extra);
    }
    mem_free(extra);
    mem_free(names);
    mem_free(counts);
    return err;
}

static rag_err make_room(struct study *s)
{
    const size_t n = s->d->n;
    size_t texts, tokens;
    if (!size_mul(n, s->wide * sizeof(float), &texts) ||
        !size_mul(s->vocabulary, s->wide * sizeof(float), &tokens))
        return RAG_FAIL(RAG_ELIMIT, "%zu texts are too many", n);
    s->at = mem_alloc((n + 1) * sizeof *s->at);
    s->order = mem_alloc((n + 1) * sizeof *s->order);
    s->targets = mem_alloc(texts);
    s->rows = mem_alloc(tokens);
    s->squares = mem_zalloc(s->vocabulary, s->dims * sizeof(float));
    s->turn = mem_alloc(s->dims * s->wide * sizeof(float));
    s->gradients = mem_alloc(BATCH * s->dims * sizeof(float));
    return s->at && s->order && s->targets && s->rows && s->squares && s->turn && s->gradients
               ? RAG_OK
               : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu texts of %zu dimensions", n,
                          s->wide);
}

static rag_err learn(struct study *s, struct distill_report *r)
{
    rag_err err = make_room(s);
    if (!err)
        err = cut_texts(s);
    if (!err)
        err = teach_tokens(s);
    if (!err)
        err = teach_texts(s);
    if (!err)
        err = centre(s);
    if (!err)
        err = find_axes(s);
    if (!err)
        err = turn(s, s->targets, s->d->n, true);
    if (!err)
        err = turn(s, s->rows, s->vocabulary, false);
    if (!err)
        err = weigh_tokens(s);
    for (size_t i = 0; i < s->d->n && !err; i++)
        if (i % HELD_BACK != 0)
            s->order[s->ntrained++] = i;
    if (err)
        return err;
    judge(s, &r->before, &r->held_before);
    err = train(s);
    judge(s, &r->after, &r->held_after);
    r->texts = s->d->n;
    r->tokens = s->at[s->d->n];
    r->kept = s->kept;
    return err;
}

rag_err distill_run(const struct distill *d, const char *path, struct distill_report *report)
{
    const struct encoder_facts f = encoder_facts(d->teacher);
    struct study s = {.d = d,
                      .ops = annk_layers_for(annk_select()->name),
                      .words = encoder_words(d->teacher),
                      .wide = f.dims,
                      .dims = d->dims         ? d->dims
                              : DIMS < f.dims ? DIMS
                                              : f.dims};
    s.vocabulary = wordpiece_count(s.words);
    struct distill_report r = {0};
    rag_err err = RAG_OK;
    if (s.dims > s.wide || s.dims % ANNK_LAYER_STEP != 0)
        err = RAG_FAIL(RAG_EINVAL, "%zu dimensions: a multiple of %d up to the teacher's %zu",
                       s.dims, ANNK_LAYER_STEP, s.wide);
    else if (d->n < 100)
        err = RAG_FAIL(RAG_EINVAL, "%zu texts to learn from; 100 at least", d->n);
    if (!err)
        err = learn(&s, &r);
    if (!err)
        err = write_table(&s, path, &r);
    if (!err && report)
        *report = r;
    mem_free(s.ids);
    mem_free(s.at);
    mem_free(s.order);
    mem_free(s.targets);
    mem_free(s.rows);
    mem_free(s.squares);
    mem_free(s.turn);
    mem_free(s.gradients);
    return err;
}
