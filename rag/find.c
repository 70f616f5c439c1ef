/* find.c - from a question to chunks: vectors, words, both; re-ranked; loaded.
 *
 * Place: rag.  Fusion by score as measured in docs/rag.md.  Invariant: all of one search sees
 * one snapshot of the database. */
#include <config.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ann/base/memory.h"
#include "rag/internal.h"
#include "rag/retrieve/fuse.h"

#define HASH_SHARE    0.2 /* of vectors; docs/rag.md has the measurements */
#define STATIC_SHARE  0.3
#define CONTEXT_SHARE 0.5
#define CONTEXT_DEPTH 100 /* candidates of a second look */
#define BUDGET_MS     300.0
#define RERANK_DEPTH  40
#define K_DEFAULT     10
#define K_MOST        10000
#define REOPENINGS                                                                             \
    5 /* an index file may be replaced between reading its name and opening it                 \
       */

struct search {
    struct rag_store *s;
    const char *query;
    rag_search_params p;
    struct store_filter *filter;
    int64_t *allowed; /* [nallowed] */
    size_t nallowed;
    float *vector;                  /* [dims] of the query */
    struct store_hit *near, *words; /* [depth] */
    size_t nnear, nwords, depth;
    struct fused_hit *fused;
    size_t n;
    bool second; /* a second look is wanted */
    char warning[512];
};

/* ---- chunks as hits ---- */

void hit_free(rag_hit *h)
{
    mem_free(h->source);
    mem_free(h->title);
    mem_free(h->head);
    mem_free(h->meta);
    mem_free(h->text);
}

static uint32_t count_lines(const char *text, size_t bytes)
{
    uint32_t n = 0;
    for (size_t i = 0; i + 1 < bytes; i++)
        n += text[i] == '\n';
    return n;
}

rag_err hit_load(struct rag_store *s, int64_t chunk, rag_hit *h, struct digest *sha256)
{
    struct store_chunk c = {0};
    struct store_document d = {0};
    rag_err err = store_chunk_get(s->store, chunk, &c);
    if (!err)
        err = store_document_get(s->store, c.document, true, &d);
    if (!err && c.end > d.bytes)
        err = RAG_FAIL(RAG_EDAMAGED, "chunk %lld ends at byte %zu of %zu of %s",
                       (long long)chunk, c.end, d.bytes, d.source);
    const size_t bytes = err ? 0 : c.end - c.start;
    char *text = err ? NULL : mem_alloc(bytes + 1);
    if (!err && !text)
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for a chunk");
    if (!err) {
        memcpy(text, d.text + c.start, bytes);
        text[bytes] = '\0';
        *h = (rag_hit){.chunk = (uint64_t)chunk,
                       .vector_score = NAN,
                       .text_score = NAN,
                       .rerank_score = NAN,
                       .source = d.source,
                       .title = d.title,
                       .head = c.head,
                       .meta = d.meta,
                       .text = text,
                       .bytes = bytes,
                       .start = c.start,
                       .end = c.end,
                       .line = c.line,
                       .last_line = c.line + count_lines(text, bytes),
                       .page = c.page};
        if (sha256)
            *sha256 = c.sha256;
        d.source = d.title = d.meta = c.head = NULL; /* the hit's now */
    }
    store_document_free(&d);
    store_chunk_free(&c);
    return err;
}

void rag_hits_free(rag_hits *h)
{
    for (size_t i = 0; h && i < h->n; i++)
        hit_free(&h->hits[i]);
    if (h) {
        mem_free(h->hits);
        mem_free(h->warning);
    }
    mem_free(h);
}

/* ---- the two sides ---- */

static rag_err search_vectors(struct search *q)
{
    struct rag_store *s = q->s;
    rag_err err = RAG_OK;
    if (!q->vector) {
        q->vector = mem_alloc(s->active.dims * sizeof *q->vector);
        if (!q->vector)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for a vector");
        if (q->p.vector)
            memcpy(q->vector, q->p.vector, s->active.dims * sizeof *q->vector);
        else
            err = session_embed(s, EMBED_QUERY, &q->query, 1, q->vector);
    }
    if (!err)
        err = session_mirror(s);
    if (!err)
        err = mirror_search(s->mirror, q->vector, q->depth, q->filter ? q->allowed : NULL,
                            q->nallowed, q->p.mode == RAG_EXACT, q->near, &q->nnear);
    return err;
}

static double share_of(const struct search *q)
{
    if (q->p.share > 0)
        return q->p.share;
    if (strcmp(q->s->active.uri, "builtin:hash-v1") == 0)
        return HASH_SHARE;
    return q->s->active.free_of_charge ? STATIC_SHARE : CONTEXT_SHARE;
}

static rag_err fuse_sides(struct search *q)
{
    struct fuse_hit *v = mem_alloc((q->nnear + 1) * sizeof *v);
    struct fuse_hit *t = mem_alloc((q->nwords + 1) * sizeof *t);
    q->fused = mem_alloc((q->nnear + q->nwords + 1) * sizeof *q->fused);
    rag_err err = v && t && q->fused ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for hits");
    for (size_t i = 0; i < q->nnear && !err; i++)
        v[i] = (struct fuse_hit){(uint64_t)q->near[i].chunk, q->near[i].score};
    for (size_t i = 0; i < q->nwords && !err; i++)
        t[i] = (struct fuse_hit){(uint64_t)q->words[i].chunk, q->words[i].score};
    if (!err)
        err = fuse(q->p.rrf ? FUSE_RRF : FUSE_SCORE, share_of(q), v, q->nnear, t, q->nwords,
                   q->fused, &q->n);
    mem_free(v);
    mem_free(t);
    return err;
}

/* One side alone: its own scores, in its own order. */
static rag_err take_side(struct search *q, const struct store_hit *hits, size_t n, bool vector)
{
    q->fused = mem_alloc((n + 1) * sizeof *q->fused);
    if (!q->fused)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for hits");
    for (size_t i = 0; i < n; i++)
        q->fused[i] = (struct fused_hit){.label = (uint64_t)hits[i].chunk,
                                         .score = hits[i].score,
                                         .vector = vector ? hits[i].score : NAN,
                                         .text = vector ? NAN : hits[i].score,
                                         .vector_rank = vector ? (uint32_t)i + 1 : 0,
                                         .text_rank = vector ? 0 : (uint32_t)i + 1};
    q->n = n;
    return RAG_OK;
}

static rag_err look(struct search *q)
{
    rag_err err = RAG_OK;
    if (q->filter && !q->allowed)
        err = store_filter_chunks(q->s->store, q->filter, &q->allowed, &q->nallowed);
    if (err || (q->filter && q->nallowed == 0))
        return err;
    if (q->p.mode != RAG_TEXT)
        err = search_vectors(q);
    if (!err &&
        (q->p.mode == RAG_TEXT || q->p.mode == RAG_HYBRID || q->p.mode == RAG_CONTEXTUAL))
        err = store_words(q->s->store, q->query, q->filter, q->depth, q->words, &q->nwords);
    if (err)
        return err;
    if (q->p.mode == RAG_HYBRID || q->p.mode == RAG_CONTEXTUAL)
        return fuse_sides(q);
    return q->p.mode == RAG_TEXT ? take_side(q, q->words, q->nwords, false)
                                 : take_side(q, q->near, q->nnear, true);
}

/* ---- a second look ---- */

/* The candidates behind the judged [n] stay behind them, in their order. */
static void append_rest(struct search *q, const struct fused_hit *rest, size_t nrest)
{
    const double last = q->n ? q->fused[q->n - 1].score : 0;
    for (size_t i = 0; i < nrest; i++) {
        q->fused[q->n] = rest[i];
        if (q->fused[q->n].score > last)
            q->fused[q->n].score = last;
        q->n++;
    }
}

/* The best candidates by a second embedder's cosine in place of the first one's; the words
 * count on. */
static rag_err look_closer(struct search *q)
{
    const size_t most = q->p.depth ? q->p.depth : CONTEXT_DEPTH;
    const size_t n = q->n < most ? q->n : most, nrest = q->n - n;
    int64_t ids[FUSE_DEPTH] = {0};
    double scores[FUSE_DEPTH] = {0};
    struct fuse_hit v[FUSE_DEPTH], t[FUSE_DEPTH];
    size_t nv = 0, nt = 0;
    struct fused_hit *rest = mem_alloc((nrest + 1) * sizeof *rest);
    if (!rest)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for hits");
    memcpy(rest, q->fused + n, nrest * sizeof *rest);
    for (size_t i = 0; i < n; i++)
        ids[i] = (int64_t)q->fused[i].label;
    rag_err err =
        contextual_scores(q->s, contextual_uri(q->s, q->p.contextual), q->query, ids, n,
                          q->p.budget_ms != 0 ? q->p.budget_ms : BUDGET_MS, scores);
    for (size_t i = 0; i < n && !err; i++) {
        if (!isnan(scores[i]))
            v[nv++] = (struct fuse_hit){q->fused[i].label, scores[i]};
        if (q->fused[i].text_rank > 0)
            t[nt++] = (struct fuse_hit){q->fused[i].label, q->fused[i].text};
    }
    if (!err && nv > 0) {
        err = fuse(q->p.rrf ? FUSE_RRF : FUSE_SCORE,
                   q->p.share > 0 ? q->p.share : CONTEXT_SHARE, v, nv, t, nt, q->fused, &q->n);
        if (!err)
            append_rest(q, rest, nrest);
    }
    mem_free(rest);
    return err;
}

/* A hybrid does without a second look that fails; who asked for it is told. */
static rag_err second_look(struct search *q)
{
    rag_err err = look_closer(q);
    if (err && q->p.mode == RAG_HYBRID && err != RAG_ECANCELED && err != RAG_ENOMEM) {
        snprintf(q->warning, sizeof q->warning, "not looked at closer: %.440s",
                 rag_error_message());
        return RAG_OK;
    }
    return err;
}

/* ---- what is given back ---- */

static bool seen_before(const struct digest *seen, size_t n, const struct digest *d)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(seen[i].b, d->b, sizeof d->b) == 0)
            return true;
    return false;
}

/* The first `most` of q->fused, loaded; a text that stood higher under another source is left
 * out. */
static rag_err load_hits(struct search *q, size_t most, rag_hits *out)
{
    struct digest *seen = mem_alloc((most + 1) * sizeof *seen);
    out->hits = mem_zalloc(most + 1, sizeof *out->hits);
    rag_err err = seen && out->hits ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for hits");
    for (size_t i = 0; i < q->n && out->n < most && !err; i++) {
        const struct fused_hit *f = &q->fused[i];
        rag_hit *h = &out->hits[out->n];
        if (q->p.min_score > 0 && f->score < q->p.min_score)
            continue;
        err = hit_load(q->s, (int64_t)f->label, h, &seen[out->n]);
        if (err == RAG_ENOENT && q->second) { /* gone meanwhile */
            err = RAG_OK;
            continue;
        }
        if (err)
            break;
        if (!q->p.keep_copies && seen_before(seen, out->n, &seen[out->n])) {
            hit_free(h);
            *h = (rag_hit){0};
            continue;
        }
        h->score = f->score;
        h->vector_score = f->vector_rank ? f->vector : NAN;
        h->text_score = f->text_rank ? f->text : NAN;
        h->vector_rank = f->vector_rank;
        h->text_rank = f->text_rank;
        out->n++;
    }
    mem_free(seen);
    return err;
}

/* Orders hits [n] anew by a re-ranker; what it costs to lose it is a warning. */
static rag_err rerank(struct search *q, rag_hits *out)
{
    const char **texts = mem_alloc((out->n + 1) * sizeof *texts);
    double *scores = mem_alloc((out->n + 1) * sizeof *scores);
    struct embed_settings how;
    rag_err err =
        texts && scores ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu hits", out->n);
    for (size_t i = 0; i < out->n && !err; i++)
        texts[i] = out->hits[i].text;
    if (!err && !q->s->net)
        err = net_open(&q->s->net);
    session_settings(q->s, &how);
    if (!err && out->n > 0) {
        rag_err asked = embed_rerank(q->p.rerank, &how, q->query, texts, out->n, scores);
        if (asked == RAG_ECANCELED || asked == RAG_EINVAL)
            err = asked;
        else if (asked)
            snprintf(q->warning, sizeof q->warning, "not re-ranked: %.400s",
                     rag_error_message());
        for (size_t i = 0; i < out->n && !asked; i++)
            out->hits[i].rerank_score = scores[i];
        for (size_t i = 1; i < out->n && !asked; i++)
            for (size_t j = i;
                 j > 0 && out->hits[j].rerank_score > out->hits[j - 1].rerank_score; j--) {
                const rag_hit h = out->hits[j];
                out->hits[j] = out->hits[j - 1];
                out->hits[j - 1] = h;
            }
    }
    mem_free(texts);
    mem_free(scores);
    return err;
}

static rag_err give(struct search *q, rag_hits **out)
{
    rag_hits *h = mem_zalloc(1, sizeof *h);
    if (!h)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for hits");
    const size_t depth = q->p.rerank_depth ? q->p.rerank_depth : RERANK_DEPTH;
    rag_err err = load_hits(q, q->p.rerank && depth > q->p.k ? depth : q->p.k, h);
    if (!err && q->p.rerank)
        err = rerank(q, h);
    for (; h->n > q->p.k; h->n--)
        hit_free(&h->hits[h->n - 1]);
    if (!err && q->warning[0] && !(h->warning = mem_strdup(q->warning)))
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for hits");
    if (err)
        rag_hits_free(h);
    else
        *out = h;
    return err;
}

/* ---- one snapshot ---- */

/* Another process may have written a new index file: then its row has another generation. */
static rag_err refresh(struct search *q)
{
    struct store_embedder now = {0};
    rag_err err = store_embedder_get(q->s->store, q->s->active.id, &now);
    if (!err && now.generation != q->s->active.generation && !q->s->writes)
        err = session_activate(q->s, now.id);
    store_embedder_free(&now);
    return err;
}

static bool lost_meanwhile(struct search *q)
{
    struct mirror_state st;
    struct store_embedder now = {0};
    if (!q->s->mirror || q->s->writes)
        return false;
    mirror_state(q->s->mirror, &st);
    if (!st.lost[0])
        return false;
    store_rollback(q->s->store);
    bool newer = store_embedder_get(q->s->store, q->s->active.id, &now) == RAG_OK &&
                 now.generation != q->s->active.generation;
    store_embedder_free(&now);
    if (!newer)
        snprintf(q->warning, sizeof q->warning,
                 "the index file is made anew in memory (%.200s); rag repair mends it",
                 st.lost);
    return newer;
}

static rag_err run(struct search *q, rag_hits **out)
{
    rag_err err = RAG_OK;
    for (int i = 0; i < REOPENINGS; i++) {
        err = store_begin_read(q->s->store);
        if (!err)
            err = refresh(q);
        if (!err && q->p.mode != RAG_TEXT)
            err = session_mirror(q->s);
        if (!err && lost_meanwhile(q)) {
            mirror_close(q->s->mirror);
            q->s->mirror = NULL;
            continue;
        }
        break;
    }
    if (!err)
        err = look(q);
    if (!err && q->second && q->n > 0) { /* it keeps vectors: a transaction of its own */
        store_rollback(q->s->store);
        err = second_look(q);
        if (!err)
            err = store_begin_read(q->s->store);
    }
    if (!err)
        err = give(q, out);
    store_rollback(q->s->store);
    return err;
}

static rag_err start(struct search *q, struct rag_store *s, const char *query,
                     const rag_search_params *p)
{
    *q = (struct search){.s = s, .query = query};
    if (p)
        memcpy(&q->p, p, p->size < sizeof q->p ? p->size : sizeof q->p);
    q->p.k = q->p.k ? q->p.k : K_DEFAULT;
    if (q->p.k > K_MOST)
        return RAG_FAIL(RAG_EINVAL, "%zu hits; at most %d", q->p.k, K_MOST);
    if (q->p.depth > FUSE_DEPTH)
        return RAG_FAIL(RAG_EINVAL, "a second look at %zu candidates; at most %d", q->p.depth,
                        FUSE_DEPTH);
    q->second =
        q->p.mode == RAG_CONTEXTUAL || (q->p.mode == RAG_HYBRID && !q->p.fast && !q->p.vector &&
                                        strncmp(s->active.uri, "static:", 7) == 0);
    if (q->p.share < 0 || q->p.share > 1)
        return RAG_FAIL(RAG_EINVAL, "share %g is not within 0..1", q->p.share);
    q->depth = q->p.k > FUSE_DEPTH ? q->p.k : FUSE_DEPTH;
    q->near = mem_alloc(q->depth * sizeof *q->near);
    q->words = mem_alloc(q->depth * sizeof *q->words);
    if (!q->near || !q->words)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu hits", q->depth);
    return q->p.nwhere ? store_filter_make(q->p.where, q->p.nwhere, &q->filter) : RAG_OK;
}

static void end(struct search *q)
{
    store_filter_free(q->filter);
    mem_free(q->allowed);
    mem_free(q->vector);
    mem_free(q->near);
    mem_free(q->words);
    mem_free(q->fused);
}

rag_err rag_search(rag_store *s, const char *query, const rag_search_params *p, rag_hits **out)
{
    struct search q;
    rag_err err = start(&q, s, query, p);
    if (!err && !query[strspn(query, " \t\r\n")] && !q.p.vector)
        err = RAG_FAIL(RAG_EINVAL, "the query is empty");
    if (!err)
        err = run(&q, out);
    end(&q);
    return err;
}

static void drop_hit(rag_hits *h, uint64_t chunk, size_t k)
{
    for (size_t i = 0; i < h->n; i++)
        if (h->hits[i].chunk == chunk) {
            hit_free(&h->hits[i]);
            memmove(h->hits + i, h->hits + i + 1, (--h->n - i) * sizeof *h->hits);
        }
    for (; h->n > k; h->n--)
        hit_free(&h->hits[h->n - 1]);
}

rag_err rag_similar(rag_store *s, uint64_t id, const rag_search_params *p, rag_hits **out)
{
    struct search q;
    rag_search_params with = RAG_SEARCH_PARAMS_INIT;
    if (p)
        memcpy(&with, p, p->size < sizeof with ? p->size : sizeof with);
    const size_t k = with.k ? with.k : K_DEFAULT;
    with.size = sizeof with;
    with.k = k + 1; /* itself is among them */
    with.mode = with.mode == RAG_EXACT ? RAG_EXACT : RAG_VECTOR;
    rag_err err = start(&q, s, "", &with);
    if (!err && !(q.vector = mem_alloc(s->active.dims * sizeof *q.vector)))
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for a vector");
    if (!err)
        err = session_mirror(s);
    if (!err)
        err = mirror_vector(s->mirror, (int64_t)id, q.vector);
    if (!err)
        err = run(&q, out);
    if (!err)
        drop_hit(*out, id, k);
    end(&q);
    return err;
}

rag_err rag_get_chunk(rag_store *s, uint64_t id, rag_hits **out)
{
    rag_hits *h = mem_zalloc(1, sizeof *h);
    if (h)
        h->hits = mem_zalloc(1, sizeof *h->hits);
    rag_err err = h && h->hits ? hit_load(s, (int64_t)id, &h->hits[0], NULL)
                               : RAG_FAIL(RAG_ENOMEM, "out of memory for a chunk");
    if (err) {
        rag_hits_free(h);
        return err;
    }
    h->n = 1;
    *out = h;
    return RAG_OK;
}
