/* cmd_keep.c - keeping a store: embed, export, reindex, status, verify, repair, backup,
 * embedders, keys, config, completion.
 *
 * Place: rag/cli. */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "ann/base/error.h"
#include "ann/base/memory.h"
#include "ann/io/io.h"
#include "rag/cli/cli.h"

#define TEXTS_MAX_BYTES ((size_t)64 << 20)
#define KEY_MAX_BYTES   4096

/* ---- embed ---- */

struct texts {
    const char **list; /* [n] */
    size_t n, room;
    char *held;
};

static rag_err add_text(struct texts *t, const char *text)
{
    if (t->n == t->room) {
        const size_t room = t->room ? 2 * t->room : 64;
        const char **more = mem_resize(t->list, room * sizeof *more);
        if (!more)
            return (rag_err)ANN_FAIL(ANN_ENOMEM, "out of memory for %zu texts", room);
        t->list = more;
        t->room = room;
    }
    t->list[t->n++] = text;
    return RAG_OK;
}

static rag_err collect(const struct args *a, struct texts *t)
{
    const bool input = a->n == 0 || (a->n == 1 && strcmp(a->list[0], "-") == 0);
    rag_err err = RAG_OK;
    size_t bytes = 0;
    for (int i = 0; !input && i < a->n && !err; i++)
        err = add_text(t, a->list[i]);
    if (!input)
        return err;
    err = run_slurp("-", TEXTS_MAX_BYTES, &t->held, &bytes);
    if (err || !a->lines)
        return err ? err : add_text(t, t->held);
    for (char *at = t->held; at && *at && !err;) {
        char *lf = strchr(at, '\n');
        if (lf)
            *lf++ = '\0';
        if (*at)
            err = add_text(t, at);
        at = lf;
    }
    return err;
}

static rag_err put_vector(const char *text, const float *vec, size_t dims)
{
    struct js_out o = JS_OUT_INIT;
    js_open(&o, NULL, '{');
    js_put_string(&o, "text", text);
    js_open(&o, "vector", '[');
    for (size_t d = 0; d < dims; d++)
        js_put_float(&o, NULL, vec[d]);
    js_shut(&o, ']');
    js_shut(&o, '}');
    const rag_err err = (rag_err)js_line(&o, stdout);
    js_out_free(&o);
    return err;
}

/* With --embedder a store of its own, in a folder that goes again. */
static rag_err open_for_embedding(const struct args *a, char *temp, rag_store **s)
{
    temp[0] = '\0';
    if (!a->embedder)
        return run_open(a, RAG_READ, s);
    const char *tmp = getenv("TMPDIR");
    snprintf(temp, 4096, "%s/rag-embed-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(temp))
        return (rag_err)ANN_FAIL(ANN_EIO, "%s: %s", temp, strerror(errno));
    rag_options o = RAG_OPTIONS_INIT;
    o.access = RAG_CREATE;
    o.embedder = a->embedder;
    o.setting = config_get;
    return run_library(rag_open(temp, &o, s));
}

static void remove_temp(const char *temp)
{
    static const char *const names[] = {"store.db", "store.db-wal", "store.db-shm", "lock"};
    char path[4200];
    for (size_t i = 0; *temp && i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", temp, names[i]);
        unlink(path);
    }
    if (*temp)
        rmdir(temp);
}

int cmd_embed(const struct args *a)
{
    rag_store *s = NULL;
    struct texts t = {0};
    float *vectors = NULL;
    size_t dims = 0;
    char temp[4096];
    const rag_side side = a->side && strcmp(a->side, "query") == 0 ? RAG_QUERY : RAG_DOCUMENT;
    rag_err err = open_for_embedding(a, temp, &s);
    if (!err)
        err = collect(a, &t);
    if (!err)
        err = run_library(rag_embed(s, side, t.list, t.n, &dims, &vectors));
    for (size_t i = 0; i < t.n && !err; i++)
        err = put_vector(t.list[i], vectors + i * dims, dims);
    rag_free(vectors);
    rag_close(s);
    remove_temp(temp);
    mem_free(t.list);
    mem_free(t.held);
    return run_end(err);
}

/* ---- export ---- */

static int export_one(void *arg, const rag_hit *h, const float *vec, size_t dims)
{
    struct js_out o = JS_OUT_INIT;
    char id[32];
    snprintf(id, sizeof id, "%llu", (unsigned long long)h->chunk);
    js_open(&o, NULL, '{');
    js_put_string(&o, "id", id);
    js_put_string(&o, "source", h->source);
    js_put_string(&o, "title", h->title);
    js_put_string(&o, "head", h->head);
    js_put_u64(&o, "start", h->start);
    js_put_u64(&o, "end", h->end);
    js_put_u64(&o, "line", h->line);
    js_put_u64(&o, "page", h->page);
    js_put_string(&o, "text", h->text);
    js_put_json(&o, "meta", h->meta);
    if (vec) {
        js_open(&o, "vector", '[');
        for (size_t d = 0; d < dims; d++)
            js_put_float(&o, NULL, vec[d]);
        js_shut(&o, ']');
    }
    js_shut(&o, '}');
    const bool failed = js_line(&o, arg) != ANN_OK;
    js_out_free(&o);
    return failed;
}

/* By name, else by the end of the file's. */
static rag_export_format format_of(const struct args *a)
{
    static const struct {
        const char *name, *ending;
        rag_export_format format;
    } formats[] = {{"npy", ".npy", RAG_EXPORT_NPY},
                   {"fvecs", ".fvecs", RAG_EXPORT_FVECS},
                   {"word2vec", ".vec", RAG_EXPORT_WORD2VEC},
                   {"word2vec", ".txt", RAG_EXPORT_WORD2VEC},
                   {"safetensors", ".safetensors", RAG_EXPORT_SAFETENSORS},
                   {"msgpack", ".msgpack", RAG_EXPORT_MSGPACK}};
    const size_t length = a->output ? strlen(a->output) : 0;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        const size_t end = strlen(formats[i].ending);
        if (a->format
                ? strcmp(a->format, formats[i].name) == 0
                : length > end && strcmp(a->output + length - end, formats[i].ending) == 0)
            return formats[i].format;
    }
    return RAG_EXPORT_JSONL;
}

static int export_vectors(const struct args *a)
{
    static const char *const of[] = {"chunks", "documents", "words", "tokens"};
    rag_store *s = NULL;
    rag_export_options o = RAG_EXPORT_OPTIONS_INIT;
    o.format = format_of(a);
    o.path = a->output;
    o.f16 = a->f16;
    for (size_t i = 0; a->of && i < sizeof of / sizeof *of; i++)
        if (strcmp(a->of, of[i]) == 0)
            o.of = (rag_export_of)i;
    rag_err err = run_open(a, RAG_READ, &s);
    if (!err)
        err = run_library(rag_export_vectors(s, &o));
    rag_close(s);
    return run_end(err);
}

int cmd_export(const struct args *a)
{
    if (a->n == 1 && strcmp(a->list[0], "vectors") != 0)
        return cli_usage(a, "export takes vectors or nothing, not '%s'", a->list[0]);
    if (a->n == 1)
        return a->vectors ? cli_usage(a, "export vectors has no option --vectors")
                          : export_vectors(a);
    if (a->format || a->of || a->f16)
        return cli_usage(a, "--format, --of and --f16 are options of export vectors");
    rag_store *s = NULL;
    struct io_target t = {.fd = -1};
    FILE *f = NULL;
    rag_err err = run_open(a, RAG_READ, &s);
    if (!err)
        err = (rag_err)io_target_open(a->output ? a->output : "-", &t);
    if (!err && !(f = fdopen(dup(t.fd), "w")))
        err = (rag_err)ANN_FAIL(ANN_EIO, "%s: %s", a->output ? a->output : "standard output",
                                strerror(errno));
    if (!err)
        err = run_library(rag_each_chunk(s, a->vectors, export_one, f));
    if (f && fclose(f) != 0 && !err)
        err = (rag_err)ANN_FAIL(ANN_EIO, "%s: %s", a->output ? a->output : "standard output",
                                strerror(errno));
    if (!err)
        err = (rag_err)io_target_commit(&t);
    else
        io_target_drop(&t);
    rag_close(s);
    return run_end(err);
}

/* ---- reindex, repair, backup ---- */

int cmd_reindex(const struct args *a)
{
    rag_store *s = NULL;
    struct args plain = *a;
    plain.embedder = NULL; /* the one wished for is not the one it has */
    const char *set = config_get(NULL, "contextual.model");
    const char *second = set && *set ? set : RAG_CONTEXTUAL_DEFAULT;
    if (a->closer && a->embedder)
        return cli_usage(a, "--contextual names the embedder; --embedder does too");
    rag_err err = run_open(&plain, RAG_WRITE, &s);
    if (!err)
        err = run_library(rag_reindex(s, a->closer ? second : a->embedder, a->drop_old));
    rag_close(s);
    return run_end(err);
}

int cmd_repair(const struct args *a)
{
    rag_store *s = NULL;
    rag_err err = run_open(a, RAG_WRITE, &s);
    if (!err)
        err = run_library(rag_repair(s));
    if (!err)
        run_say("repaired; rag verify tells whether all is sound");
    rag_close(s);
    return run_end(err);
}

int cmd_backup(const struct args *a)
{
    rag_store *s = NULL;
    rag_err err = run_open(a, RAG_READ, &s);
    if (!err)
        err = run_library(rag_backup(s, a->list[0]));
    rag_close(s);
    return run_end(err);
}

/* ---- verify ---- */

struct verifying {
    const struct args *a;
    uint64_t n, lasting;
};

static int tell_fault(void *arg, const char *what, int repairable)
{
    struct verifying *v = arg;
    v->n++;
    v->lasting += !repairable;
    if (!v->a->json) {
        run_warn("%s", what);
        return 0;
    }
    struct js_out o = JS_OUT_INIT;
    js_open(&o, NULL, '{');
    js_put_string(&o, "fault", what);
    js_put_bool(&o, "repairable", repairable != 0);
    js_shut(&o, '}');
    const bool failed = js_line(&o, stdout) != ANN_OK;
    js_out_free(&o);
    return failed;
}

int cmd_verify(const struct args *a)
{
    rag_store *s = NULL;
    struct verifying v = {.a = a};
    rag_err err = run_open(a, RAG_READ, &s);
    if (!err)
        err = run_library(rag_verify(s, (size_t)a->sample, tell_fault, &v));
    if (err == RAG_EDAMAGED && !a->json)
        printf("repairable: %s\n", v.n > 0 && v.lasting == 0 ? "yes" : "no");
    else if (!err && !a->json)
        run_say("sound");
    rag_close(s);
    return run_end(err);
}

/* ---- status, embedders ---- */

static rag_err status_json(const rag_status *st, const char *dir)
{
    struct js_out o = JS_OUT_INIT;
    js_open(&o, NULL, '{');
    js_put_string(&o, "store", dir);
    js_put_string(&o, "uuid", st->uuid);
    js_put_string(&o, "lang", st->lang);
    js_put_string(&o, "embedder", st->embedder);
    js_put_u64(&o, "dims", st->dims);
    js_put_u64(&o, "files", st->files);
    js_put_u64(&o, "documents", st->documents);
    js_put_u64(&o, "chunks", st->chunks);
    js_put_u64(&o, "text_bytes", st->text_bytes);
    js_put_u64(&o, "database_bytes", st->database_bytes);
    js_put_u64(&o, "vectors_kept", st->vectors_kept);
    js_put_u64(&o, "indexed", st->indexed);
    js_put_u64(&o, "pending", st->pending);
    js_put_u64(&o, "gone", st->gone);
    js_put_u64(&o, "index_bytes", st->index_bytes);
    js_put_string(&o, "index", st->indexed == 0 ? NULL : st->index_exact ? "exact" : "hnsw");
    js_put_u64(&o, "effort", st->effort);
    js_put_string(&o, "index_lost", st->index_lost[0] ? st->index_lost : NULL);
    js_shut(&o, '}');
    const rag_err err = (rag_err)js_line(&o, stdout);
    js_out_free(&o);
    return err;
}

static void status_text(const rag_status *st, const char *dir)
{
    char a[32], b[32];
    printf("store      %s (language %s)\n", dir, st->lang);
    printf("embedder   %s, %u dimensions\n", st->embedder, st->dims);
    printf("documents  %llu of %llu files\n", (unsigned long long)st->documents,
           (unsigned long long)st->files);
    printf("passages   %llu of %s\n", (unsigned long long)st->chunks,
           print_size(a, st->text_bytes));
    printf("database   %s, %llu vectors kept\n", print_size(a, st->database_bytes),
           (unsigned long long)st->vectors_kept);
    printf("index      %llu passages%s, %s; %llu added since, %llu removed since\n",
           (unsigned long long)st->indexed,
           st->indexed == 0  ? ""
           : st->index_exact ? " (exact)"
                             : " (hnsw)",
           print_size(b, st->index_bytes), (unsigned long long)st->pending,
           (unsigned long long)st->gone);
    if (st->effort)
        printf("           effort %llu (rag eval ann)\n", (unsigned long long)st->effort);
    if (st->index_lost[0])
        printf("           made anew in memory: %s (rag repair)\n", st->index_lost);
}

int cmd_status(const struct args *a)
{
    rag_store *s = NULL;
    rag_status st = {.size = sizeof st};
    rag_err err = run_open(a, RAG_READ, &s);
    if (!err)
        err = run_library(rag_get_status(s, &st));
    if (!err && print_json(a))
        err = status_json(&st, run_store_dir(a));
    else if (!err)
        status_text(&st, run_store_dir(a));
    rag_close(s);
    return run_end(err);
}

static int embedder_one(void *arg, const rag_embedder_info *e)
{
    if (!print_json(arg)) {
        printf("%c %s, %u dimensions, %s\n", e->active ? '*' : ' ', e->uri, e->dims,
               e->kept ? "vectors kept" : "vectors made when needed");
        if (e->kept)
            printf("    %llu vectors\n", (unsigned long long)e->vectors);
        return 0;
    }
    struct js_out o = JS_OUT_INIT;
    js_open(&o, NULL, '{');
    js_put_i64(&o, "id", e->id);
    js_put_string(&o, "uri", e->uri);
    js_put_string(&o, "model", e->model);
    js_put_string(&o, "revision", e->revision);
    js_put_u64(&o, "dims", e->dims);
    js_put_string(&o, "prefix_document", e->prefix_document);
    js_put_string(&o, "prefix_query", e->prefix_query);
    js_put_string(&o, "fingerprint", e->fingerprint);
    js_put_bool(&o, "active", e->active != 0);
    js_put_bool(&o, "kept", e->kept != 0);
    js_put_u64(&o, "vectors", e->vectors);
    js_shut(&o, '}');
    const bool failed = js_line(&o, stdout) != ANN_OK;
    js_out_free(&o);
    return failed;
}

int cmd_embedders(const struct args *a)
{
    rag_store *s = NULL;
    rag_err err = run_open(a, RAG_READ, &s);
    if (!err)
        err = run_library(rag_list_embedders(s, embedder_one, (void *)(uintptr_t)a));
    rag_close(s);
    return run_end(err);
}

/* ---- keys ---- */

/* A line from standard input; where that is a terminal, not shown. */
static rag_err read_key(const struct args *a, char key[KEY_MAX_BYTES])
{
    struct termios before, silent;
    const bool terminal = !a->key_file && tcgetattr(STDIN_FILENO, &before) == 0;
    if (terminal) {
        fprintf(stderr, "key of %s: ", a->list[1]);
        silent = before;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    }
    FILE *f = a->key_file ? fopen(a->key_file, "re") : stdin;
    key[0] = '\0';
    const bool got = f && fgets(key, KEY_MAX_BYTES, f) != NULL;
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        fputc('\n', stderr);
    }
    if (f && f != stdin)
        fclose(f);
    key[strcspn(key, "\r\n")] = '\0';
    if (!got || !key[0])
        return (rag_err)ANN_FAIL(ANN_EINVAL, "no key was given%s%s", a->key_file ? " in " : "",
                                 a->key_file ? a->key_file : "");
    return RAG_OK;
}

static void list_key(void *arg, const char *name, const char *value, const char *origin)
{
    (void)arg;
    (void)value;
    if (config_secret(name))
        printf("%-20s %s\n", name, origin);
}

int cmd_keys(const struct args *a)
{
    const char *what = a->list[0], *name = a->n > 1 ? a->list[1] : NULL;
    char setting[128], key[KEY_MAX_BYTES];
    rag_err err = RAG_OK;
    if (strcmp(what, "path") == 0) {
        puts(config_keys_path());
        return run_end(RAG_OK);
    }
    if (strcmp(what, "list") == 0) {
        config_each(list_key, NULL);
        return run_end(RAG_OK);
    }
    const bool set = strcmp(what, "set") == 0;
    if ((!set && strcmp(what, "rm") != 0) || !name)
        return cli_usage(a, "keys takes set NAME, rm NAME, list or path");
    snprintf(setting, sizeof setting, "%.100s.api_key", name);
    if (!config_secret(setting))
        return cli_usage(a, "no server is called '%s' (openai, cohere, jina, llamacpp, tei)",
                         name);
    if (set)
        err = read_key(a, key);
    if (!err)
        err = config_set(config_keys_path(), name, set ? key : NULL);
    explicit_bzero(key, sizeof key);
    return run_end(err);
}

/* ---- config ---- */

static void list_setting(void *arg, const char *name, const char *value, const char *origin)
{
    const struct args *a = arg;
    if (a->json) {
        struct js_out o = JS_OUT_INIT;
        js_open(&o, NULL, '{');
        js_put_string(&o, "name", name);
        js_put_string(&o, "value", value);
        js_put_string(&o, "origin", origin);
        js_shut(&o, '}');
        if (js_line(&o, stdout) != ANN_OK)
            run_warn("standard output: %s", error_message());
        js_out_free(&o);
    } else if (a->origin) {
        printf("%s = %s    (%s)\n", name, value, origin);
    } else {
        printf("%s = %s\n", name, value);
    }
}

int cmd_config(const struct args *a)
{
    const char *what = a->list[0], *name = a->n > 1 ? a->list[1] : NULL;
    if (strcmp(what, "path") == 0) {
        puts(config_user_path());
        return run_end(RAG_OK);
    }
    if (strcmp(what, "list") == 0) {
        config_each(list_setting, (void *)(uintptr_t)a);
        return run_end(RAG_OK);
    }
    const bool set = strcmp(what, "set") == 0, unset = strcmp(what, "unset") == 0;
    if (!name || (!set && !unset && strcmp(what, "get") != 0) || (set && a->n < 3))
        return cli_usage(a, "config takes get NAME, set NAME VALUE, unset NAME, list or path");
    if (!config_known(name))
        return cli_usage(a, "no setting is called '%s'", name);
    if (config_secret(name))
        return cli_usage(a, "%s is a key: rag keys set", name);
    if (set || unset)
        return run_end(config_set(config_user_path(), name, set ? a->list[2] : NULL));
    const char *value = config_get(NULL, name);
    if (value)
        puts(value);
    return value ? run_end(RAG_OK) : CLI_ERROR;
}

int cmd_completion(const struct args *a)
{
    if (strcmp(a->list[0], "bash") != 0)
        return cli_usage(a, "no completion for '%s', only for bash", a->list[0]);
    puts("_rag()\n"
         "{\n"
         "    local IFS=$'\\n' words=(\"${COMP_WORDS[@]:1:COMP_CWORD}\")\n"
         "    mapfile -t COMPREPLY < <(compgen -W \"$(\"${COMP_WORDS[0]}\" --complete "
         "\"${words[@]}\" \\\n"
         "        2>/dev/null)\" -- \"${COMP_WORDS[COMP_CWORD]}\")\n"
         "}\n"
         "complete -o default -F _rag rag");
    return run_end(RAG_OK);
}
