/* prepare.c - files become documents with chunks, several at a time.
 *
 * Place: rag.  A few threads go through the jobs in order, each taking the next; they stay at
 * most AHEAD_BYTES of text ahead of the writer, so memory is bounded whatever is added.
 * Invariant: what a job becomes depends on its file alone, not on threads or their order. */
#include <config.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/memory.h"
#include "ann/base/pool.h"
#include "rag/ingest.h"

#define AHEAD_BYTES   ((size_t)16 << 20)
#define BATCH         64
#define ENGLISH_WORDS 400 /* looked at, to tell the language */

struct prepare {
    struct preparing how;
    pthread_t *threads; /* [nthreads] */
    unsigned nthreads;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t next;   /* job to be begun */
    bool *ready;   /* [n] */
    size_t wanted; /* job the writer waits for: it may go beyond AHEAD_BYTES */
    size_t ahead;  /* bytes prepared or under way, not yet written */
    bool stop;
};

/* What reading hands its documents to. */
struct making {
    struct job *job;
    struct ready **tail;
    const rag_add_options *o;
    struct embedder *e; /* NULL: vectors come later */
    const char *name;   /* of the document; with records "name#id" */
    const char *title;  /* in place of the one it has; NULL: none */
    const struct text_chunking *cut;
};

/* ---- freeing ---- */

static void ready_free(struct ready *r)
{
    while (r) {
        struct ready *next = r->next;
        store_document_free(&r->d);
        store_chunks_free(r->chunks, r->n);
        mem_free(r->vectors);
        mem_free(r);
        r = next;
    }
}

void job_free(struct job *j)
{
    ready_free(j->docs);
    mem_free(j->path);
    mem_free(j->source);
    *j = (struct job){0};
}

/* ---- one document ---- */

/* The commonest words of English; nearly every sentence has one. */
static const char *const english[] = {"the",  "of",  "and", "to",   "in",   "is",
                                      "that", "for", "a",   "it",   "with", "as",
                                      "be",   "on",  "are", "this", "by",   "or"};

struct counting {
    size_t words, known;
};

static int count_word(void *arg, const char *word, size_t bytes)
{
    struct counting *c = arg;
    c->words++;
    for (size_t i = 0; i < sizeof english / sizeof *english; i++)
        c->known += strlen(english[i]) == bytes && memcmp(english[i], word, bytes) == 0;
    return c->words >= ENGLISH_WORDS;
}

/* Short texts, and source code, are not judged. */
static bool seems_english(const struct text_doc *d)
{
    struct counting c = {0};
    if (d->format == TEXT_SOURCE || d->format == TEXT_CSV || d->format == TEXT_TSV)
        return true;
    text_words(d->text.data, d->text.bytes, count_word, &c);
    return c.words < 50 || c.known * 16 >= c.words;
}

static struct digest document_digest(const struct text_doc *d)
{
    const char *title = d->title ? d->title : "", *meta = d->meta ? d->meta : "";
    const struct digest_part parts[] = {{title, strlen(title) + 1},
                                        {meta, strlen(meta) + 1},
                                        {d->vector, d->dims * sizeof *d->vector},
                                        {d->text.data, d->text.bytes}};
    return digest_of(parts, sizeof parts / sizeof *parts);
}

/* Takes the chunker's chunks over, as the store's. */
static rag_err take_chunks(struct ready *r, struct text_chunk *chunks, size_t n)
{
    r->chunks = mem_zalloc(n ? n : 1, sizeof *r->chunks);
    if (!r->chunks)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu chunks", n);
    for (size_t i = 0; i < n; i++) {
        const struct text_chunk *c = &chunks[i];
        r->chunks[i] = (struct store_chunk){.seq = c->seq,
                                            .line = c->line,
                                            .page = c->page,
                                            .start = c->start,
                                            .end = c->end,
                                            .lead_start = c->lead_start,
                                            .lead_end = c->lead_end,
                                            .head = c->head};
        chunks[i].head = NULL;
    }
    r->n = n;
    return RAG_OK;
}

/* A text with a vector of its own is one chunk. */
static rag_err whole_chunk(struct ready *r, const struct text_doc *d)
{
    r->chunks = mem_zalloc(1, sizeof *r->chunks);
    r->vectors = mem_alloc(d->dims * sizeof *r->vectors);
    if (!r->chunks || !r->vectors || !(r->chunks->head = mem_strdup("")))
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a chunk");
    r->chunks->line = 1;
    r->chunks->end = d->text.bytes;
    memcpy(r->vectors, d->vector, d->dims * sizeof *r->vectors);
    r->n = 1;
    r->brought = d->dims;
    return RAG_OK;
}

struct filling {
    float *out;
    size_t dims;
};

static rag_err fill(void *arg, size_t first, size_t n, size_t dims, const float *vectors)
{
    const struct filling *f = arg;
    memcpy(f->out + first * dims, vectors, n * dims * sizeof *vectors);
    return RAG_OK;
}

static rag_err embed_chunks(struct ready *r, struct embedder *e)
{
    const size_t dims = embed_identity(e)->dims;
    char *texts[BATCH];
    rag_err err = RAG_OK, each[BATCH];
    r->vectors = mem_alloc((r->n ? r->n : 1) * dims * sizeof *r->vectors);
    if (!r->vectors)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu vectors", r->n);
    for (size_t at = 0; at < r->n && !err; at += BATCH) {
        const size_t n = r->n - at < BATCH ? r->n - at : BATCH;
        size_t made = 0, bytes;
        for (; made < n && !err; made += !err)
            err =
                store_view(&r->chunks[at + made], r->d.text, r->d.bytes, &texts[made], &bytes);
        struct filling f = {r->vectors + at * dims, dims};
        if (!err)
            err = embed_texts(e, EMBED_DOCUMENT, (const char *const *)texts, n, each, fill, &f);
        for (size_t i = 0; i < made; i++)
            mem_free(texts[i]);
    }
    return err;
}

/* "file" or "file#record". */
static char *source_of(const struct making *m, const struct text_doc *d)
{
    if (!d->id)
        return mem_strdup(m->name);
    const size_t room = strlen(m->name) + strlen(d->id) + 2;
    char *source = mem_alloc(room);
    if (source)
        snprintf(source, room, "%s#%s", m->name, d->id);
    return source;
}

/* The document's own keys first; the caller's behind them: of two equal ones the first counts.
 */
static char *join_meta(const char *own, const char *more)
{
    const size_t n = own ? strlen(own) : 0, m = more ? strlen(more) : 0;
    if (n <= 2 || m <= 2) {
        const char *one = n > 2 ? own : m > 2 ? more : NULL;
        return one ? mem_strdup(one) : NULL;
    }
    char *both = mem_alloc(n + m + 1);
    if (both)
        snprintf(both, n + m + 1, "%.*s,%s", (int)n - 1, own, more + 1);
    return both;
}

static rag_err fill_ready(struct making *m, struct text_doc *d, struct ready *r)
{
    struct text_chunk *chunks = NULL;
    size_t n = 0;
    const bool has_meta = (d->meta && d->meta[2]) || (m->o->meta && *m->o->meta);
    r->d.sha256 = document_digest(d);
    r->english = seems_english(d);
    r->d.source = source_of(m, d);
    r->d.format = mem_strdup(text_format_name(d->format));
    r->d.meta = has_meta ? join_meta(d->meta, m->o->meta) : NULL;
    rag_err err = r->d.source && r->d.format ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory");
    if (!err && d->vector)
        err = whole_chunk(r, d);
    else if (!err)
        err = text_chunk(d, m->cut, &chunks, &n);
    if (!err && !d->vector)
        err = take_chunks(r, chunks, n);
    text_chunks_free(chunks, n);
    r->d.title = d->title;
    r->d.text = d->text.data;
    r->d.bytes = d->text.bytes;
    d->title = NULL;
    d->text = (struct text_bytes){0};
    if (!err && m->e && !r->vectors)
        err = embed_chunks(r, m->e);
    return err;
}

static rag_err make_ready(void *arg, struct text_doc *d)
{
    struct making *m = arg;
    struct ready *r = mem_zalloc(1, sizeof *r);
    if (!r)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a document");
    *m->tail = r;
    m->tail = &r->next;
    m->job->bytes += d->text.bytes;
    if (m->title && *m->title) { /* before chunks are cut: it heads them */
        mem_free(d->title);
        if (!(d->title = mem_strdup(m->title)))
            return RAG_FAIL(RAG_ENOMEM, "out of memory for a title");
    }
    return fill_ready(m, d, r);
}

/* ---- one file ---- */

static struct text_reading reading_of(const rag_add_options *o)
{
    return (struct text_reading){.format = o->format ? text_format_named(o->format) : TEXT_AUTO,
                                 .max_bytes = (size_t)o->max_bytes,
                                 .id_field = o->id_field,
                                 .text_field = o->text_field};
}

/* The caller's reader first. */
static rag_err read_bytes(struct making *m, const char *path, const char *raw, size_t bytes)
{
    struct text_reading how = reading_of(m->o);
    char *text = NULL;
    size_t n = 0;
    rag_err err =
        m->o->reader ? m->o->reader(m->o->arg, path, raw, bytes, &text, &n) : RAG_ENOTSUP;
    m->job->binary = err == RAG_ENOTSUP && how.format == TEXT_AUTO &&
                     text_detect(m->name, raw, bytes) == TEXT_BINARY;
    if (err == RAG_ENOTSUP)
        return text_read_bytes(m->name, raw, bytes, &how, make_ready, m);
    how.format = how.format == TEXT_AUTO ? TEXT_PLAIN : how.format;
    if (!err)
        err = text_read_bytes(m->name, text, n, &how, make_ready, m);
    free(text);
    return err;
}

static rag_err read_job(struct prepare *p, struct job *j, struct embedder *e)
{
    char *raw = NULL;
    size_t bytes = 0;
    struct making m = {j, &j->docs, p->how.o, e, j->source, NULL, &p->how.cut};
    rag_err err = text_load(j->path, (size_t)p->how.o->max_bytes, &raw, &bytes);
    if (err)
        return err;
    j->sha256 = digest_of(&(struct digest_part){raw, bytes}, 1);
    j->same = j->known.id && !p->how.o->force &&
              memcmp(j->sha256.b, j->known.sha256.b, sizeof j->sha256.b) == 0;
    if (!j->same)
        err = read_bytes(&m, j->path, raw, bytes);
    mem_free(raw);
    return err;
}

static void run_job(struct prepare *p, struct job *j, struct embedder *e)
{
    j->err = read_job(p, j, e);
    if (j->err)
        snprintf(j->message, sizeof j->message, "%s", rag_error_message());
}

rag_err prepare_text(const rag_document *doc, const rag_add_options *o,
                     const struct text_chunking *cut, struct embedder *e, struct job *job)
{
    struct making m = {job, &job->docs, o, doc->vector ? NULL : e, doc->source, doc->title,
                       cut};
    struct text_reading how = reading_of(o);
    how.format = doc->format ? text_format_named(doc->format) : how.format;
    if (doc->format && how.format == TEXT_BINARY)
        return RAG_FAIL(RAG_EINVAL, "%s: no format \"%s\"", doc->source, doc->format);
    rag_err err = text_read_bytes(doc->source, doc->text, doc->bytes, &how, make_ready, &m);
    if (err || !job->docs || job->docs->next)
        return err;
    struct store_document *d = &job->docs->d;
    if (doc->meta) {
        char *meta = join_meta(doc->meta, d->meta);
        mem_free(d->meta);
        d->meta = meta;
    }
    if (doc->vector) { /* in place of the chunks that were cut */
        store_chunks_free(job->docs->chunks, job->docs->n);
        mem_free(job->docs->vectors);
        const struct text_doc whole = {.text = {d->text, d->bytes, TEXT_UTF8},
                                       .vector = (float *)(uintptr_t)doc->vector,
                                       .dims = doc->dims};
        job->docs->n = 0;
        err = whole_chunk(job->docs, &whole);
    }
    return err;
}

/* ---- the threads ---- */

static size_t weight(const struct job *j)
{
    return j->st.bytes < SIZE_MAX / 4 ? (size_t)j->st.bytes : SIZE_MAX / 4;
}

static void *work(void *arg)
{
    struct prepare *p = arg;
    struct embedder *e = NULL;
    rag_err opened =
        p->how.embedder ? session_open_embedder(p->how.s, p->how.embedder, &e) : RAG_OK;
    char why[ERROR_MESSAGE_MAX];
    snprintf(why, sizeof why, "%s", opened ? rag_error_message() : "");
    pthread_mutex_lock(&p->lock);
    while (!p->stop && p->next < p->how.n) {
        if (p->ahead > AHEAD_BYTES && p->next > p->wanted) {
            pthread_cond_wait(&p->changed, &p->lock);
            continue;
        }
        struct job *j = &p->how.jobs[p->next];
        const size_t mine = p->next++;
        p->ahead += weight(j);
        pthread_mutex_unlock(&p->lock);
        if (opened) {
            j->err = opened;
            memcpy(j->message, why, sizeof why);
        } else {
            run_job(p, j, e);
        }
        pthread_mutex_lock(&p->lock);
        p->ready[mine] = true;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    embed_close(e);
    return NULL;
}

rag_err prepare_start(const struct preparing *how, struct prepare **out)
{
    struct prepare *p = mem_zalloc(1, sizeof *p);
    const unsigned threads = how->threads ? how->threads : pool_default_threads();
    if (!p)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for threads");
    p->how = *how;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    p->ready = mem_zalloc(how->n ? how->n : 1, sizeof *p->ready);
    p->threads = mem_alloc(threads * sizeof *p->threads);
    rag_err err = p->ready && p->threads
                      ? RAG_OK
                      : RAG_FAIL(RAG_ENOMEM, "out of memory for %zu files", how->n);
    for (unsigned i = 0; i < threads && i < how->n && !err; i++) {
        if (pthread_create(&p->threads[i], NULL, work, p) != 0)
            err = i ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "no thread could be started");
        else
            p->nthreads++;
    }
    if (err) {
        prepare_end(p);
        return err;
    }
    *out = p;
    return RAG_OK;
}

struct job *prepare_take(struct prepare *p, size_t i)
{
    pthread_mutex_lock(&p->lock);
    p->wanted = i;
    pthread_cond_broadcast(&p->changed);
    while (!p->ready[i])
        pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
    return &p->how.jobs[i];
}

void prepare_done(struct prepare *p, size_t i)
{
    struct job *j = &p->how.jobs[i];
    ready_free(j->docs);
    j->docs = NULL;
    pthread_mutex_lock(&p->lock);
    p->ahead -= weight(j);
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

void prepare_end(struct prepare *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->nthreads; i++)
        pthread_join(p->threads[i], NULL);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    mem_free(p->threads);
    mem_free(p->ready);
    mem_free(p);
}
