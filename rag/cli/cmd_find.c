/* cmd_find.c - out of a store: search, similar, ask, get, ls.
 *
 * Place: rag/cli. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ann/base/error.h"
#include "ann/base/memory.h"
#include "rag/cli/cli.h"

#define VECTOR_MAX_BYTES ((size_t)16 << 20)

/* ---- search ---- */

static rag_mode mode_of(const char *name)
{
    if (!name || strcmp(name, "hybrid") == 0)
        return RAG_HYBRID;
    if (strcmp(name, "text") == 0)
        return RAG_TEXT;
    if (strcmp(name, "contextual") == 0)
        return RAG_CONTEXTUAL;
    return strcmp(name, "exact") == 0 ? RAG_EXACT : RAG_VECTOR;
}

static rag_search_params params_of(const struct args *a)
{
    rag_search_params p = RAG_SEARCH_PARAMS_INIT;
    const char *k = config_get(NULL, "search.k"), *share = config_get(NULL, "search.share");
    const char *mode = config_get(NULL, "search.mode");
    p.k = a->k ? a->k : k ? strtoul(k, NULL, 10) : 0;
    p.mode = mode_of(a->mode ? a->mode : mode);
    p.where = a->where.items;
    p.nwhere = (size_t)a->where.n;
    p.min_score = a->min_score;
    p.share = a->has_share ? a->share : share ? strtod(share, NULL) : 0;
    p.rrf = a->fusion && strcmp(a->fusion, "rrf") == 0;
    p.rerank = a->fast ? NULL : a->rerank ? a->rerank : config_get(NULL, "rerank.model");
    p.rerank_depth = a->rerank_depth;
    p.keep_copies = a->copies;
    p.contextual = a->contextual;
    p.fast = a->fast;
    p.depth = a->depth;
    p.budget_ms = a->budget_ms;
    return p;
}

/* False, and said on standard error: no number of milliseconds. */
static bool read_budget(struct args *a)
{
    char *end;
    const char *text = a->budget ? a->budget : config_get(NULL, "search.budget");
    if (!text)
        return true;
    if (strcmp(text, "none") == 0) {
        a->budget_ms = -1;
        return true;
    }
    a->budget_ms = strtod(text, &end);
    return end != text && *end == '\0' && a->budget_ms >= 1;
}

/* A JSON array of numbers, of the store's dimension; *vec for mem_free. */
static rag_err load_vector(rag_store *s, const char *path, float **vec)
{
    struct js *document = NULL;
    rag_status st = {.size = sizeof st};
    rag_err err = run_library(rag_get_status(s, &st));
    if (!err)
        err = (rag_err)js_load(path, VECTOR_MAX_BYTES, &document);
    const size_t n = err ? 0 : js_count(document);
    if (!err && (js_kind(document) != JS_ARRAY || n != st.dims))
        err = (rag_err)ANN_FAIL(ANN_EDIM, "%s: %zu numbers, the store has vectors of %u", path,
                                n, st.dims);
    float *own = err ? NULL : mem_alloc((n + 1) * sizeof *own);
    for (size_t i = 0; i < n && own && !err; i++) {
        own[i] = (float)js_number(js_at(document, i), 0);
        if (js_kind(js_at(document, i)) != JS_NUMBER)
            err = (rag_err)ANN_FAIL(ANN_EINVAL, "%s: element %zu is no number", path, i);
    }
    js_free(document);
    if (err)
        mem_free(own);
    else
        *vec = own;
    return err || own ? err : (rag_err)ANN_FAIL(ANN_ENOMEM, "out of memory for a vector");
}

/* Prints and frees; the exit status. */
static int finish_hits(const struct args *a, rag_store *s, rag_hits *h, rag_err err)
{
    if (!err)
        err = print_hits(a, h);
    const bool empty = !err && h->n == 0;
    if (empty && isatty(STDOUT_FILENO))
        run_say("nothing found");
    rag_hits_free(h);
    rag_close(s);
    const int status = run_end(err);
    return status == CLI_OK && empty && a->fail_empty ? CLI_EMPTY : status;
}

bool find_params(struct args *a, rag_search_params *p)
{
    const bool right = read_budget(a);
    *p = params_of(a);
    return right;
}

void find_log_path(const struct args *a, char *path, size_t room)
{
    snprintf(path, room, "%s/queries.jsonl", run_store_dir(a));
}

/* One line, in one write, so that those of several processes do not mix. */
static void log_question(const struct args *a, const char *text)
{
    const char *wanted = config_get(NULL, "search.log");
    char path[4200], id[32];
    struct timespec t;
    struct js_out o = JS_OUT_INIT;
    if (!wanted || strcmp(wanted, "yes") != 0)
        return;
    find_log_path(a, path, sizeof path);
    clock_gettime(CLOCK_REALTIME, &t);
    snprintf(id, sizeof id, "%lld.%09ld", (long long)t.tv_sec, t.tv_nsec);
    js_open(&o, NULL, '{');
    js_put_string(&o, "_id", id);
    js_put_string(&o, "text", text);
    js_shut(&o, '}');
    const int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "a");
    const bool kept = f && js_line(&o, f) == ANN_OK;
    if (f ? fclose(f) != 0 || !kept : true)
        run_warn("%s: the question could not be kept: %s", path, strerror(errno));
    js_out_free(&o);
}

int cmd_search(const struct args *given)
{
    struct args with = *given;
    const struct args *a = &with;
    if (!read_budget(&with))
        return cli_usage(a, "a budget is a number of milliseconds from 1 on, or none");
    rag_store *s = NULL;
    rag_hits *h = NULL;
    char *query = NULL;
    float *vec = NULL;
    rag_err err = run_words(a, 0, &query);
    if (!err)
        err = run_open(a, RAG_READ, &s);
    rag_search_params p = params_of(a);
    if (!err && a->vector)
        err = load_vector(s, a->vector, &vec);
    p.vector = vec;
    if (!err)
        err = run_library(rag_search(s, query, &p, &h));
    if (!err && !a->vector)
        log_question(a, query);
    mem_free(query);
    mem_free(vec);
    return finish_hits(a, s, h, err);
}

/* A decimal number that is all of text. */
static bool read_id(const char *text, uint64_t *id)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    *id = strtoull(text, &end, 10);
    return *end == '\0';
}

int cmd_similar(const struct args *a)
{
    rag_store *s = NULL;
    rag_hits *h = NULL;
    uint64_t id = 0;
    if (!read_id(a->list[0], &id))
        return cli_usage(a, "'%s' is no passage's number", a->list[0]);
    rag_err err = run_open(a, RAG_READ, &s);
    const rag_search_params p = params_of(a);
    if (!err)
        err = run_library(rag_similar(s, id, &p, &h));
    return finish_hits(a, s, h, err);
}

/* ---- ask ---- */

struct answering {
    const struct args *a;
    bool json;
    bool any;
};

static int on_text(void *arg, const char *text, size_t bytes)
{
    struct answering *w = arg;
    w->any = true;
    if (!w->json) {
        print_text(stdout, text, bytes);
        return fflush(stdout) != 0;
    }
    struct js_out o = JS_OUT_INIT;
    char *copy = mem_alloc(bytes + 1);
    if (!copy)
        return 1;
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    js_open(&o, NULL, '{');
    js_put_string(&o, "type", "delta");
    js_put_string(&o, "text", copy);
    js_shut(&o, '}');
    const bool failed = js_line(&o, stdout) != ANN_OK || fflush(stdout) != 0;
    js_out_free(&o);
    mem_free(copy);
    return failed;
}

static bool is_cited(const rag_answer *r, size_t i)
{
    for (size_t k = 0; k < r->ncited; k++)
        if (r->cited[k] == i)
            return true;
    return false;
}

static rag_err sources_json(const rag_answer *r)
{
    rag_err err = RAG_OK;
    for (size_t i = 0; i < r->hits->n && !err; i++) {
        struct js_out o = JS_OUT_INIT;
        js_open(&o, NULL, '{');
        js_put_string(&o, "type", "source");
        js_put_u64(&o, "number", i + 1);
        js_put_bool(&o, "cited", is_cited(r, i));
        print_hit_json(&o, (uint32_t)i + 1, &r->hits->hits[i], false);
        js_shut(&o, '}');
        err = (rag_err)js_line(&o, stdout);
        js_out_free(&o);
    }
    return err;
}

static rag_err done_json(const rag_answer *r, rag_err failed)
{
    struct js_out o = JS_OUT_INIT;
    js_open(&o, NULL, '{');
    js_put_string(&o, "type", failed ? "error" : "done");
    if (failed)
        js_put_string(&o, "message", error_message());
    js_put_string(&o, "text", r->text);
    js_put_string(&o, "model", r->model);
    js_put_string(&o, "finish", r->finish);
    js_open(&o, "cited", '[');
    for (size_t i = 0; i < r->ncited; i++)
        js_put_u64(&o, NULL, r->cited[i] + 1);
    js_shut(&o, ']');
    js_open(&o, "unknown", '[');
    for (size_t i = 0; i < r->nunknown; i++)
        js_put_u64(&o, NULL, r->unknown[i]);
    js_shut(&o, ']');
    js_put_u64(&o, "prompt_tokens", r->prompt_tokens);
    js_put_u64(&o, "completion_tokens", r->completion_tokens);
    js_shut(&o, '}');
    const rag_err err = (rag_err)js_line(&o, stdout);
    js_out_free(&o);
    return err;
}

/* Under an answer: the sources it cites; if it cites none, that. */
static void list_sources(const rag_answer *r)
{
    char place[4400];
    printf("\n\n%sSources%s\n", print_bold(), print_plain());
    for (size_t i = 0; i < r->ncited; i++) {
        print_place(place, sizeof place, &r->hits->hits[r->cited[i]]);
        printf("[%zu] ", r->cited[i] + 1);
        print_text(stdout, place, strlen(place));
        putchar('\n');
    }
    if (r->ncited == 0)
        puts("none was cited");
    for (size_t i = 0; i < r->nunknown; i++)
        run_warn("the answer cites [%u], which is no source", r->unknown[i]);
    if (r->finish && strcmp(r->finish, "length") == 0)
        run_warn("the answer was cut at the model's limit");
}

static rag_err show_answer(const struct args *a, const struct answering *w, const rag_answer *r,
                           rag_err failed)
{
    if (a->dry_run) {
        puts(r->request);
        return RAG_OK;
    }
    if (w->json) {
        rag_err err = sources_json(r);
        return err ? err : done_json(r, failed);
    }
    if (r->model || failed) {
        if (w->any)
            list_sources(r);
        return RAG_OK;
    }
    if (r->hits->n > 0)
        run_say(
            "no language model is set (rag config set chat.model ollama:llama3.2, for one); "
            "these passages fit best:\n");
    return print_hits(a, r->hits);
}

void find_ask_params(const struct args *a, const rag_search_params *search, rag_ask_params *p)
{
    const char *tokens = config_get(NULL, "ask.context_tokens");
    *p = (rag_ask_params)RAG_ASK_PARAMS_INIT;
    p->search = search;
    p->model = a->model;
    p->context_tokens = a->context_tokens ? (double)a->context_tokens
                        : tokens          ? strtod(tokens, NULL)
                                          : 0;
    p->max_tokens = (unsigned)a->max_tokens;
    p->temperature = a->has_temperature ? a->temperature : -1;
    p->open = a->open;
    p->datamark = a->datamark;
}

int cmd_ask(const struct args *given)
{
    struct args with = *given;
    const struct args *a = &with;
    if (!read_budget(&with))
        return cli_usage(a, "a budget is a number of milliseconds from 1 on, or none");
    rag_store *s = NULL;
    rag_answer *r = NULL;
    char *question = NULL;
    struct answering w = {.a = a, .json = print_json(a)};
    rag_err err = run_words(a, 0, &question);
    if (!err)
        err = run_open(a, RAG_READ, &s);
    const rag_search_params search = params_of(a);
    rag_ask_params p;
    find_ask_params(a, &search, &p);
    p.on_text = on_text;
    p.arg = &w;
    if (!err)
        err = run_library(a->dry_run ? rag_ask_request(s, question, &p, &r)
                                     : rag_ask(s, question, &p, &r));
    if (!err && !a->dry_run)
        log_question(a, question);
    if (r) {
        if (r->hits->warning)
            run_warn("%s", r->hits->warning);
        struct error_note note;
        error_take(&note, (ann_err)err);
        const rag_err shown = show_answer(a, &w, r, err);
        err = err ? (rag_err)error_put(&note) : shown;
    }
    const bool empty = r && r->hits->n == 0;
    if (empty && !err)
        run_say("nothing in the store fits the question");
    rag_answer_free(r);
    rag_close(s);
    mem_free(question);
    const int status = run_end(err);
    return status == CLI_OK && empty && a->fail_empty ? CLI_EMPTY : status;
}

/* ---- get, ls ---- */

/* "docs/a.md:10:20" as name, line and count; what does not look so is all name. */
static void split_place(char *place, uint32_t *line, uint32_t *count)
{
    uint32_t numbers[2] = {0, 0};
    int n = 0;
    while (n < 2) {
        char *colon = strrchr(place, ':');
        uint64_t v = 0;
        if (!colon || !read_id(colon + 1, &v) || v == 0 || v > UINT32_MAX)
            break;
        numbers[n++] = (uint32_t)v;
        *colon = '\0';
    }
    *line = n == 2 ? numbers[1] : numbers[0];
    *count = n == 2 ? numbers[0] : 0;
}

static rag_err get_passage(const struct args *a, rag_store *s, uint64_t id)
{
    rag_hits *h = NULL;
    rag_err err = run_library(rag_get_chunk(s, id, &h));
    if (err)
        return err;
    if (a->json) {
        struct js_out o = JS_OUT_INIT;
        js_open(&o, NULL, '{');
        print_hit_json(&o, 0, &h->hits[0], false);
        js_shut(&o, '}');
        err = (rag_err)js_line(&o, stdout);
        js_out_free(&o);
    } else {
        print_text(stdout, h->hits[0].text, h->hits[0].bytes);
        putchar('\n');
    }
    rag_hits_free(h);
    return err;
}

int cmd_get(const struct args *a)
{
    rag_store *s = NULL;
    char *text = NULL, *place = mem_strdup(a->list[0]);
    size_t bytes = 0;
    uint64_t id = 0;
    uint32_t line = 0, count = 0;
    rag_err err =
        place ? run_open(a, RAG_READ, &s) : (rag_err)ANN_FAIL(ANN_ENOMEM, "out of memory");
    if (!err && read_id(place, &id)) {
        err = get_passage(a, s, id);
    } else if (!err) {
        err = run_library(rag_get(s, place, 0, 0, &text, &bytes));
        if (err == RAG_ENOENT) {
            split_place(place, &line, &count);
            err = run_library(rag_get(s, place, line, count, &text, &bytes));
        }
    }
    if (!err && text)
        print_text(stdout, text, bytes);
    rag_free(text);
    mem_free(place);
    rag_close(s);
    return run_end(err);
}

struct listing {
    const struct args *a;
    uint64_t n;
};

static int list_one(void *arg, const rag_document_info *d)
{
    struct listing *l = arg;
    l->n++;
    if (!print_json(l->a)) {
        char size[32];
        printf("%10s  %6llu  %-9s ", print_size(size, d->bytes), (unsigned long long)d->chunks,
               d->format);
        print_text(stdout, d->source, strlen(d->source));
        putchar('\n');
        return 0;
    }
    struct js_out o = JS_OUT_INIT;
    js_open(&o, NULL, '{');
    js_put_u64(&o, "id", d->id);
    js_put_string(&o, "source", d->source);
    js_put_string(&o, "title", d->title);
    js_put_string(&o, "type", d->format);
    js_put_u64(&o, "bytes", d->bytes);
    js_put_u64(&o, "chunks", d->chunks);
    js_put_i64(&o, "added", d->added);
    js_put_string(&o, "sha256", d->sha256);
    js_put_json(&o, "meta", d->meta);
    js_shut(&o, '}');
    const bool failed = js_line(&o, stdout) != ANN_OK;
    js_out_free(&o);
    return failed;
}

int cmd_ls(const struct args *a)
{
    rag_store *s = NULL;
    struct listing l = {a, 0};
    rag_err err = run_open(a, RAG_READ, &s);
    if (!err)
        err =
            run_library(rag_list(s, (const char *const *)a->list, (size_t)a->n, list_one, &l));
    rag_close(s);
    const int status = run_end(err);
    return status == CLI_OK && l.n == 0 && a->fail_empty ? CLI_EMPTY : status;
}
