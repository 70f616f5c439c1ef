/* encoder.c - the computation of an encoder.  See encoder.h.
 *
 * Place: rag/embed.  Texts are cut into tokens, ordered by length and packed one behind the
 * other into groups of some hundred tokens; a group's tokens are the rows of every product, and
 * only attention looks at one text at a time.  A group is one thread's work from its tokens to
 * its vectors.
 *
 * Quantised weights: each row of inputs becomes bytes with a scale and a lowest value of its
 * own (dynamic quantisation), the products are exact integers. */
#include <config.h>

#include <math.h>
#include <string.h>

#include "ann/base/blas.h"
#include "ann/base/pool.h"
#include "rag/embed/encoder_internal.h"
#include "rag/embed/model.h"
#include "rag/error.h"

#define GROUP_TOKENS 256 /* a group is closed when it has as many */
#define BLOCK_ROWS   48  /* rows of a product at a time: what they make stays in the caches */

/* A thread's memory, for groups of up to `room` tokens. */
struct work {
    size_t room;
    struct buf all;
    float *x;       /* [room, dims] the tokens' vectors */
    float *qkv;     /* [room, 3 dims] */
    float *mixed;   /* [room, dims] what attention made of them */
    float *wide;    /* [BLOCK_ROWS, inner] */
    float *narrow;  /* [BLOCK_ROWS, dims] */
    float *scratch; /* of an attention */
    uint8_t *bytes; /* [BLOCK_ROWS, max(inner, dims)] */
    float scale[BLOCK_ROWS], low[BLOCK_ROWS];
};

struct job {
    struct encoder *e;
    const uint32_t *ids;
    const size_t *at;     /* [n + 1] */
    const size_t *order;  /* [n]: texts by length */
    const size_t *groups; /* [ngroups + 1] places in order */
    float *vectors;
};

struct encoder_facts encoder_facts(const struct encoder *e)
{
    return e->facts;
}

const struct wordpiece *encoder_words(const struct encoder *e)
{
    return e->words;
}

void encoder_choose(struct encoder *e, enum encoder_pooling pooling, uint32_t most)
{
    e->facts.pooling = pooling;
    if (most >= 2)
        e->facts.most = most < e->facts.positions ? most : e->facts.positions;
}

void encoder_close(struct encoder *e)
{
    if (!e)
        return;
    for (size_t i = 0; i < e->nwork; i++)
        buf_free(&e->work[i].all);
    mem_free(e->work);
    wordpiece_free(e->words);
    mem_free(e->vocabulary);
    mem_free(e->name);
    mem_free(e->revision);
    mem_free(e->prefix_document);
    mem_free(e->prefix_query);
    buf_free(&e->owned);
    model_close(e->model);
    mem_free(e);
}

/* ---- memory ---- */

static rag_err make_room(struct encoder *e, struct work *w, size_t tokens)
{
    const size_t dims = e->facts.dims, inner = e->facts.inner, head = dims / e->facts.heads,
                 wide = inner > dims ? inner : dims;
    if (tokens <= w->room)
        return RAG_OK;
    const size_t floats =
        tokens * dims * 5 + BLOCK_ROWS * (inner + dims) + annk_attention_room(tokens, head);
    rag_err err =
        rag_from_base(buf_resize(&w->all, floats * sizeof(float) + BLOCK_ROWS * wide));
    if (err)
        return err;
    w->room = tokens;
    w->x = w->all.data;
    w->qkv = w->x + tokens * dims;
    w->mixed = w->qkv + 3 * tokens * dims;
    w->wide = w->mixed + tokens * dims;
    w->narrow = w->wide + BLOCK_ROWS * inner;
    w->scratch = w->narrow + BLOCK_ROWS * dims;
    w->bytes = (uint8_t *)(w->scratch + annk_attention_room(tokens, head));
    return RAG_OK;
}

static rag_err make_work(struct encoder *e, unsigned threads, size_t tokens)
{
    if (e->nwork < threads) {
        struct work *more = mem_resize(e->work, threads * sizeof *more);
        if (!more)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for %u threads", threads);
        memset(more + e->nwork, 0, (threads - e->nwork) * sizeof *more);
        e->work = more;
        e->nwork = threads;
    }
    rag_err err = RAG_OK;
    for (unsigned i = 0; i < threads && !err; i++)
        err = make_room(e, &e->work[i], tokens);
    return err;
}

/* ---- one group ---- */

void encoder_row(const struct encoder *e, const struct rows *t, size_t i, float *out)
{
    const size_t dims = e->facts.dims;
    if (t->f32) {
        memcpy(out, t->f32 + i * dims, dims * sizeof *out);
        return;
    }
    const uint8_t *q = t->q4 + i * (dims / 2);
    const uint16_t *scales = t->scale + i * (dims / Q4_GROUP);
    for (size_t g = 0; g < dims / Q4_GROUP; g++) {
        float scale;
        e->kernels->f16_to_f32(scales + g, &scale, 1);
        for (size_t d = 0; d < Q4_GROUP / 2; d++) {
            const uint8_t b = q[g * (Q4_GROUP / 2) + d];
            out[g * Q4_GROUP + 2 * d] = scale * (float)((b & 15) - 8);
            out[g * Q4_GROUP + 2 * d + 1] = scale * (float)((b >> 4) - 8);
        }
    }
}

/* out [rows, l->n] of in [rows, l->k], at most BLOCK_ROWS rows. */
static void apply(const struct encoder *e, struct work *w, const struct linear *l,
                  const float *in, size_t rows, float *out)
{
    if (l->f32) {
        blas_gemm_nt(in, rows, l->k, l->f32, l->n, l->k, l->k, out, l->n);
        for (size_t r = 0; r < rows; r++)
            e->ops->add_f32(l->bias, 1, out + r * l->n, l->n);
        return;
    }
    for (size_t r = 0; r < rows; r++)
        e->ops->quantise(in + r * l->k, l->k, w->bytes + r * l->k, &w->scale[r], &w->low[r]);
    const struct annk_product p = {.a = w->bytes,
                                   .scale = w->scale,
                                   .low = w->low,
                                   .w = l->packed,
                                   .w_scale = l->scale,
                                   .w_sum = l->sum,
                                   .bias = l->bias,
                                   .rows = rows,
                                   .k = l->k,
                                   .n = l->n,
                                   .out = out,
                                   .stride = l->n};
    e->ops->multiply(&p);
}

static void begin(const struct encoder *e, struct work *w, const uint32_t *ids, size_t n,
                  float *x)
{
    const size_t dims = e->facts.dims;
    for (size_t t = 0; t < n; t++, x += dims) {
        float place[ANNK_LAYER_STEP * 256];
        encoder_row(e, &e->tokens, ids[t], x);
        encoder_row(e, &e->positions, t, place);
        e->ops->add_f32(e->type, 1, x, dims);
        e->ops->normalise(x, place, e->norm[0], e->norm[1], e->epsilon, dims);
    }
    (void)w;
}

static void mix(const struct encoder *e, struct work *w, size_t first, size_t tokens)
{
    const size_t dims = e->facts.dims, head = dims / e->facts.heads;
    const float *qkv = w->qkv + first * 3 * dims;
    for (size_t h = 0; h < e->facts.heads; h++) {
        const struct annk_attention a = {.q = qkv + h * head,
                                         .k = qkv + dims + h * head,
                                         .v = qkv + 2 * dims + h * head,
                                         .stride = 3 * dims,
                                         .tokens = tokens,
                                         .width = head,
                                         .scratch = w->scratch,
                                         .out = w->mixed + first * dims + h * head,
                                         .out_stride = dims};
        e->ops->attend(&a);
    }
}

/* What a layer does to each token by itself, behind attention. */
static void feed_forward(const struct encoder *e, struct work *w, const struct layer *l,
                         size_t first, size_t rows)
{
    const size_t dims = e->facts.dims;
    float *x = w->x + first * dims;
    apply(e, w, &l->out, w->mixed + first * dims, rows, w->narrow);
    for (size_t r = 0; r < rows; r++)
        e->ops->normalise(x + r * dims, w->narrow + r * dims, l->norm1[0], l->norm1[1],
                          e->epsilon, dims);
    apply(e, w, &l->up, x, rows, w->wide);
    e->ops->gelu(w->wide, rows * l->up.n);
    apply(e, w, &l->down, w->wide, rows, w->narrow);
    for (size_t r = 0; r < rows; r++)
        e->ops->normalise(x + r * dims, w->narrow + r * dims, l->norm2[0], l->norm2[1],
                          e->epsilon, dims);
}

static void pool_tokens(const struct encoder *e, const float *x, size_t tokens, float *out)
{
    const size_t dims = e->facts.dims;
    memset(out, 0, dims * sizeof *out);
    if (e->facts.pooling == ENCODER_MEAN)
        for (size_t t = 0; t < tokens; t++)
            e->ops->add_f32(x + t * dims, 1 / (float)tokens, out, dims);
    else
        memcpy(out, e->facts.pooling == ENCODER_CLS ? x : x + (tokens - 1) * dims,
               dims * sizeof *out);
    if (!e->facts.normalised)
        return;
    const double norm = sqrt(e->ops->dot_f32(out, out, dims));
    for (size_t d = 0; d < dims && norm > 0; d++)
        out[d] = (float)(out[d] / norm);
}

static void run_group(void *arg, size_t g, unsigned worker)
{
    const struct job *j = arg;
    struct encoder *e = j->e;
    struct work *w = &e->work[worker];
    const size_t dims = e->facts.dims;
    size_t tokens = 0;
    for (size_t i = j->groups[g]; i < j->groups[g + 1]; i++) {
        const size_t text = j->order[i], n = j->at[text + 1] - j->at[text];
        begin(e, w, j->ids + j->at[text], n, w->x + tokens * dims);
        tokens += n;
    }
    for (uint32_t k = 0; k < e->facts.layers; k++) {
        const struct layer *l = &e->layers[k];
        for (size_t r = 0; r < tokens; r += BLOCK_ROWS)
            apply(e, w, &l->qkv, w->x + r * dims,
                  tokens - r < BLOCK_ROWS ? tokens - r : BLOCK_ROWS, w->qkv + 3 * r * dims);
        size_t first = 0;
        for (size_t i = j->groups[g]; i < j->groups[g + 1]; i++) {
            const size_t n = j->at[j->order[i] + 1] - j->at[j->order[i]];
            mix(e, w, first, n);
            first += n;
        }
        for (size_t r = 0; r < tokens; r += BLOCK_ROWS)
            feed_forward(e, w, l, r, tokens - r < BLOCK_ROWS ? tokens - r : BLOCK_ROWS);
    }
    size_t first = 0;
    for (size_t i = j->groups[g]; i < j->groups[g + 1]; i++) {
        const size_t text = j->order[i], n = j->at[text + 1] - j->at[text];
        pool_tokens(e, w->x + first * dims, n, j->vectors + text * dims);
        first += n;
    }
}

/* ---- batches ---- */

/* Texts by their number of tokens, shortest first, those of one length as they came. */
static void order_texts(const size_t *at, size_t n, size_t most, size_t *order, size_t *starts)
{
    memset(starts, 0, (most + 2) * sizeof *starts);
    for (size_t i = 0; i < n; i++)
        starts[at[i + 1] - at[i] + 1]++;
    for (size_t t = 1; t <= most + 1; t++)
        starts[t] += starts[t - 1];
    for (size_t i = 0; i < n; i++)
        order[starts[at[i + 1] - at[i]]++] = i;
}

/* Returns how many groups; *largest in tokens. */
static size_t make_groups(const size_t *at, const size_t *order, size_t n, size_t *groups,
                          size_t *largest)
{
    size_t count = 0, tokens = 0;
    groups[0] = *largest = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t more = at[order[i] + 1] - at[order[i]];
        if (tokens > 0 && tokens + more > GROUP_TOKENS) {
            groups[++count] = i;
            tokens = 0;
        }
        tokens += more;
        if (tokens > *largest)
            *largest = tokens;
    }
    groups[++count] = n;
    return count;
}

rag_err encoder_embed_ids(struct encoder *e, const uint32_t *ids, const size_t *at, size_t n,
                          struct pool *p, float *vectors)
{
    size_t most = 0, largest = 0;
    for (size_t i = 0; i < n; i++)
        most = at[i + 1] - at[i] > most ? at[i + 1] - at[i] : most;
    for (size_t i = at[0]; i < at[n]; i++)
        if (ids[i] >= e->facts.tokens)
            return RAG_FAIL(RAG_EINVAL, "token %u of %u", ids[i], e->facts.tokens);
    if (n == 0)
        return RAG_OK;
    if (most > e->facts.positions)
        return RAG_FAIL(RAG_ETOOLARGE, "a text of %zu tokens; %s has %u positions", most,
                        e->facts.name, e->facts.positions);
    size_t *order = mem_alloc((2 * n + most + 3) * sizeof *order);
    if (!order)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu texts", n);
    size_t *groups = order + n;
    order_texts(at, n, most, order, groups); /* groups is its scratch first: n + 1, most + 2 */
    const size_t count = make_groups(at, order, n, groups, &largest);
    /* BLAS works on several threads by itself where it may: then one group at a time. */
    const bool spread = p && count > 1 && (e->facts.quantised || blas_threads() == 1);
    rag_err err = make_work(e, spread ? pool_threads(p) : 1, largest);
    struct job j = {e, ids, at, order, groups, vectors};
    if (!err && spread)
        pool_for(p, count, 1, run_group, &j);
    for (size_t g = 0; g < count && !err && !spread; g++)
        run_group(&j, g, 0);
    mem_free(order);
    return err;
}

rag_err encoder_embed(struct encoder *e, const char *const *texts, size_t n, struct pool *p,
                      float *vectors)
{
    const size_t most = e->facts.most;
    size_t room = most, used = 0;
    size_t *at = mem_alloc((n + 1) * sizeof *at);
    uint32_t *ids = mem_alloc(room * sizeof *ids);
    rag_err err = at && ids ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu texts", n);
    for (size_t i = 0; i < n && !err; i++) {
        if (room - used < most) {
            room = 2 * room + most;
            uint32_t *more = mem_resize(ids, room * sizeof *ids);
            if (!more) {
                err = RAG_FAIL(RAG_ENOMEM, "out of memory for %zu tokens", room);
                break;
            }
            ids = more;
        }
        at[i] = used;
        used += wordpiece_encode(e->words, texts[i], strlen(texts[i]), most, ids + used);
    }
    if (!err) {
        at[n] = used;
        err = encoder_embed_ids(e, ids, at, n, p, vectors);
    }
    mem_free(at);
    mem_free(ids);
    return err;
}
