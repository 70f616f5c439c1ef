/* pq.c - codebooks of a product quantiser, and codes.  See pq.h.
 *
 * A subspace has few codewords of few dimensions, so that k-means here is plain loops over all
 * codewords at once, in runs of a constant length that the compiler turns into vectors. Squared
 * distances are sums over the dimensions in their order, without contraction: the same bits on
 * every machine. */
#include <config.h>

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/base/rng.h"
#include "ann/codec/kmeans.h"
#include "ann/codec/pq.h"
#include "ann/codec/pq_learn.h"

#define RUN         16 /* codewords at once; 1 << bits is a multiple */
#define WORDS_MAX   256
#define LEARN       256   /* rows a codeword is learned from, at most */
#define LEARN_LEAST 16384 /* rows that codebooks are learned from, where there are so many */
#define ROUNDS      16    /* iterations of k-means */
#define DESCENTS    10    /* passes over the subspaces in search of a better code */

ann_err pq_init(struct pq *p, uint32_t dim, uint32_t m, unsigned bits)
{
    memset(p, 0, sizeof *p);
    if (dim == 0 || m == 0 || m > dim)
        return ANN_FAIL(ANN_EINVAL, "%u subspaces of %u dimensions", m, dim);
    if (bits != 4 && bits != 6 && bits != 8)
        return ANN_FAIL(ANN_EINVAL, "codes of %u bits: must be 4, 6 or 8", bits);
    p->dim = dim;
    p->m = m;
    p->dsub = (dim + m - 1) / m;
    p->bits = bits;
    return buf_resize(&p->codebooks, ((size_t)m * p->dsub << bits) * sizeof(float));
}

void pq_free(struct pq *p)
{
    buf_free(&p->codebooks);
}

uint32_t pq_width(const struct pq *p, uint32_t s)
{
    const uint64_t begin = (uint64_t)s * p->dsub;
    return begin >= p->dim            ? 0
           : p->dim - begin < p->dsub ? (uint32_t)(p->dim - begin)
                                      : p->dsub;
}

static float *book_of(const struct pq *p, uint32_t s)
{
    return (float *)p->codebooks.data + ((size_t)s * p->dsub << p->bits);
}

/* ---- the nearest codeword ---- */

/* dists [words]: of x [width] to the codewords of book [width][words]. */
static void distances(const float *restrict book, uint32_t words, const float *restrict x,
                      uint32_t width, float *restrict dists)
{
    for (uint32_t at = 0; at < words; at += RUN) {
        float sum[RUN] = {0};
        for (uint32_t d = 0; d < width; d++) {
            const float *word = book + (size_t)d * words + at;
            for (uint32_t j = 0; j < RUN; j++) {
                const float diff = x[d] - word[j];
                sum[j] += diff * diff;
            }
        }
        memcpy(dists + at, sum, sizeof sum);
    }
}

/* The place of the smallest, the lowest of equal ones. */
static uint32_t smallest(const float *dists, uint32_t words)
{
    float low[RUN];
    memcpy(low, dists, sizeof low);
    for (uint32_t at = RUN; at < words; at += RUN)
        for (uint32_t j = 0; j < RUN; j++)
            low[j] = dists[at + j] < low[j] ? dists[at + j] : low[j];
    for (uint32_t half = RUN / 2; half > 0; half /= 2)
        for (uint32_t j = 0; j < half; j++)
            low[j] = low[j + half] < low[j] ? low[j + half] : low[j];
    uint32_t at = 0;
    while (at + 1 < words && dists[at] > low[0])
        at++;
    return at;
}

static uint32_t nearest_word(const float *book, uint32_t words, const float *x, uint32_t width,
                             float *dist)
{
    float dists[WORDS_MAX];
    distances(book, words, x, width, dists);
    const uint32_t at = smallest(dists, words);
    *dist = dists[at];
    return at;
}

/* ---- learning one subspace ---- */

struct study {
    const float *x; /* [n, width] */
    uint32_t n, width, words;
    float *book;     /* [width][words] */
    float *dists;    /* [n] to the nearest codeword */
    uint8_t *home;   /* [n] */
    double *sums;    /* [words, width] */
    uint32_t *count; /* [words] */
};

static void put_word(const struct study *t, uint32_t word, const float *x)
{
    for (uint32_t d = 0; d < t->width; d++)
        t->book[(size_t)d * t->words + word] = x[d];
}

/* A row drawn with odds dists[i]; any row where these do not tell. */
static uint32_t draw(const struct study *t, uint64_t *state)
{
    double total = 0, sum = 0;
    for (uint32_t i = 0; i < t->n; i++)
        total += t->dists[i];
    const double goal = total * rng_unit(state);
    const uint32_t any = (uint32_t)rng_below(state, t->n);
    if (!(total > 0) || !isfinite(total))
        return any;
    for (uint32_t i = 0; i < t->n; i++) {
        sum += t->dists[i];
        if (sum > goal)
            return i;
    }
    return any;
}

/* k-means++. */
static void seed_words(const struct study *t, uint64_t seed)
{
    uint64_t state = seed;
    for (uint32_t i = 0; i < t->n; i++)
        t->dists[i] = INFINITY;
    for (uint32_t w = 0; w < t->words; w++) {
        const float *word = t->x + (size_t)t->width * draw(t, &state);
        put_word(t, w, word);
        for (uint32_t i = 0; i < t->n; i++) {
            float sum = 0;
            for (uint32_t d = 0; d < t->width; d++) {
                const float diff = t->x[(size_t)i * t->width + d] - word[d];
                sum += diff * diff;
            }
            t->dists[i] = sum < t->dists[i] ? sum : t->dists[i];
        }
    }
}

static bool assign_words(const struct study *t)
{
    bool changed = false;
    for (uint32_t i = 0; i < t->n; i++) {
        const uint32_t home = nearest_word(t->book, t->words, t->x + (size_t)i * t->width,
                                           t->width, &t->dists[i]);
        changed |= home != t->home[i];
        t->home[i] = (uint8_t)home;
    }
    return changed;
}

/* A codeword without rows goes to the row farthest from its own. */
static void use_again(const struct study *t, uint32_t word)
{
    uint32_t far = 0;
    for (uint32_t i = 1; i < t->n; i++)
        if (t->dists[i] > t->dists[far])
            far = i;
    if (t->dists[far] > 0)
        put_word(t, word, t->x + (size_t)far * t->width);
    t->dists[far] = 0;
}

static void move_words(const struct study *t)
{
    memset(t->sums, 0, (size_t)t->words * t->width * sizeof *t->sums);
    memset(t->count, 0, t->words * sizeof *t->count);
    for (uint32_t i = 0; i < t->n; i++) {
        t->count[t->home[i]]++;
        for (uint32_t d = 0; d < t->width; d++)
            t->sums[(size_t)t->home[i] * t->width + d] += t->x[(size_t)i * t->width + d];
    }
    for (uint32_t w = 0; w < t->words; w++)
        for (uint32_t d = 0; t->count[w] > 0 && d < t->width; d++)
            t->book[(size_t)d * t->words + w] =
                (float)(t->sums[(size_t)w * t->width + d] / t->count[w]);
    for (uint32_t w = 0; w < t->words; w++)
        if (t->count[w] == 0)
            use_again(t, w);
}

static void study_close(struct study *t)
{
    mem_free(t->dists);
    mem_free(t->home);
    mem_free(t->sums);
    mem_free(t->count);
}

static bool study_open(struct study *t)
{
    t->dists = mem_alloc(t->n * sizeof *t->dists);
    t->home = mem_zalloc(t->n, sizeof *t->home);
    t->sums = mem_alloc((size_t)t->words * t->width * sizeof *t->sums);
    t->count = mem_alloc(t->words * sizeof *t->count);
    return t->dists && t->home && t->sums && t->count;
}

/* ---- all subspaces ---- */

struct lesson {
    const struct pq *p;
    const float *x;
    const uint32_t *rows; /* [n] of x */
    uint32_t n, rounds;
    bool warm;
    uint64_t seed;
    atomic_bool failed;
};

static void learn_body(void *arg, size_t i, unsigned worker)
{
    struct lesson *l = arg;
    const uint32_t s = (uint32_t)i, width = pq_width(l->p, s);
    (void)worker;
    if (width == 0)
        return;
    float *x = mem_alloc((size_t)l->n * width * sizeof *x);
    struct study t = {
        .x = x, .n = l->n, .width = width, .words = 1u << l->p->bits, .book = book_of(l->p, s)};
    if (x && study_open(&t)) {
        for (uint32_t r = 0; r < l->n; r++)
            memcpy(x + (size_t)r * width,
                   l->x + (size_t)l->rows[r] * l->p->dim + (size_t)s * l->p->dsub,
                   width * sizeof *x);
        if (!l->warm)
            seed_words(&t, rng_at(l->seed, i));
        for (uint32_t round = 0; round < l->rounds; round++) {
            if (!assign_words(&t) && round > 0)
                break;
            move_words(&t);
        }
    } else {
        atomic_store(&l->failed, true);
    }
    study_close(&t);
    mem_free(x);
}

ann_err pq_learn(struct pq *p, const float *x, const uint32_t *rows, uint32_t n,
                 uint32_t rounds, bool warm, uint64_t seed, struct pool *pool)
{
    struct lesson l = {
        .p = p, .x = x, .rows = rows, .n = n, .rounds = rounds, .warm = warm, .seed = seed};
    if (!warm)
        memset(p->codebooks.data, 0, p->codebooks.bytes);
    pool_for(pool, p->m, 1, learn_body, &l);
    return atomic_load(&l.failed)
               ? ANN_FAIL(ANN_ENOMEM, "out of memory for codebooks of %u rows", n)
               : ANN_OK;
}

uint32_t pq_sample_size(const struct pq *p, size_t n)
{
    const size_t most = (size_t)LEARN << p->bits;
    const size_t want = most > LEARN_LEAST ? most : LEARN_LEAST;
    return (uint32_t)(n < want ? n : want);
}

ann_err pq_train(struct pq *p, const struct annk_ops *ops, const float *x, size_t n,
                 uint64_t seed, struct pool *pool)
{
    (void)ops;
    if (n == 0 || n > UINT32_MAX)
        return ANN_FAIL(ANN_EINVAL, "codebooks of %zu rows", n);
    const uint32_t want = pq_sample_size(p, n);
    uint32_t *rows = mem_alloc(want * sizeof *rows);
    if (!rows)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for a sample of %u rows", want);
    kmeans_sample(n, want, seed, rows);
    const ann_err err = pq_learn(p, x, rows, want, ROUNDS, false, seed, pool);
    mem_free(rows);
    return err;
}

/* ---- codes ---- */

void pq_encode(const struct pq *p, const float *x, uint8_t *code)
{
    float dist;
    for (uint32_t s = 0; s < p->m; s++)
        code[s] = (uint8_t)nearest_word(book_of(p, s), 1u << p->bits, x + (size_t)s * p->dsub,
                                        pq_width(p, s), &dist);
}

void pq_decode(const struct pq *p, const uint8_t *code, float *x)
{
    for (uint32_t s = 0; s < p->m; s++)
        for (uint32_t d = 0; d < pq_width(p, s); d++)
            x[(size_t)s * p->dsub + d] = book_of(p, s)[((size_t)d << p->bits) + code[s]];
}

/* Of each codeword: the squared error across and along together, and the error along `along`
 * of length 1 (by scale). */
static void errors(const struct pq *p, const float *x, const float *along, float scale,
                   float *squares, float *parallels)
{
    const uint32_t words = 1u << p->bits;
    for (uint32_t s = 0; s < p->m; s++) {
        const float *book = book_of(p, s), *own = x + (size_t)s * p->dsub;
        const float *way = along + (size_t)s * p->dsub;
        float *square = squares + (size_t)s * words, *parallel = parallels + (size_t)s * words;
        distances(book, words, own, pq_width(p, s), square);
        memset(parallel, 0, words * sizeof *parallel);
        for (uint32_t d = 0; d < pq_width(p, s); d++) {
            const float by = way[d] * scale;
            for (uint32_t j = 0; j < words; j++)
                parallel[j] += (own[d] - book[(size_t)d * words + j]) * by;
        }
    }
}

/* The best word of one subspace when the other subspaces' error along is `rest`, among those
 * that do not make the error along larger. */
static uint32_t best_word(const float *square, const float *parallel, uint32_t words,
                          uint32_t now, float rest, float eta)
{
    const float most = fabsf(rest + parallel[now]);
    uint32_t best = now;
    float least = square[now] + (eta - 1) * most * most;
    for (uint32_t j = 0; j < words; j++) {
        const float along = rest + parallel[j];
        const float loss = square[j] + (eta - 1) * along * along;
        if (loss < least && fabsf(along) <= most) {
            least = loss;
            best = j;
        }
    }
    return best;
}

void pq_encode_anisotropic(const struct pq *p, const float *x, const float *along, float eta,
                           uint8_t *code, float *room)
{
    const uint32_t words = 1u << p->bits;
    float *squares = room, *parallels = room + (size_t)p->m * words;
    double norm2 = 0;
    for (uint32_t i = 0; i < p->dim; i++)
        norm2 += (double)along[i] * along[i];
    const float scale = (float)(1 / sqrt(norm2));
    pq_encode(p, x, code);
    if (eta == 1 || !(norm2 > 0) || !isfinite(scale))
        return;
    errors(p, x, along, scale, squares, parallels);
    float whole = 0;
    for (uint32_t s = 0; s < p->m; s++)
        whole += parallels[(size_t)s * words + code[s]];
    bool changed = true;
    for (int pass = 0; pass < DESCENTS && changed; pass++) {
        changed = false;
        for (uint32_t s = 0; s < p->m; s++) {
            const float *parallel = parallels + (size_t)s * words;
            const float rest = whole - parallel[code[s]];
            const uint32_t best =
                best_word(squares + (size_t)s * words, parallel, words, code[s], rest, eta);
            changed |= best != code[s];
            code[s] = (uint8_t)best;
            whole = rest + parallel[best];
        }
    }
}
