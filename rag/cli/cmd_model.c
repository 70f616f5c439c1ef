/* cmd_model.c - models of this process: model, distill.
 *
 * Place: rag/cli. */
#include <config.h>

#include <string.h>

#include "ann/base/error.h"
#include "ann/base/memory.h"
#include "rag/cli/cli.h"

/* ---- model list ---- */

static int list_json(const rag_model_info *m)
{
    struct js_out o = JS_OUT_INIT;
    js_open(&o, NULL, '{');
    js_put_string(&o, "name", m->name);
    js_put_string(&o, "path", m->path);
    js_put_string(&o, "fault", m->fault);
    if (!m->fault) {
        js_put_string(&o, "uri", m->uri);
        js_put_string(&o, "kind", m->kind);
        js_put_u64(&o, "dims", m->dims);
        js_put_u64(&o, "tokens", m->tokens);
        js_put_u64(&o, "bytes", m->bytes);
        js_put_string(&o, "source", m->source);
        js_put_string(&o, "licence", m->licence);
        js_put_string(&o, "revision", m->revision);
    }
    js_shut(&o, '}');
    const bool failed = js_line(&o, stdout) != ANN_OK;
    js_out_free(&o);
    return failed;
}

static int list_one(void *arg, const rag_model_info *m)
{
    const struct args *a = arg;
    char size[32];
    if (print_json(a))
        return list_json(m);
    if (m->fault) {
        run_warn("%s", m->fault);
        return 0;
    }
    printf("%s%s%s  %s", print_bold(), m->uri, print_plain(), m->kind);
    if (m->dims)
        printf(", %u dimensions", m->dims);
    printf(", %s%s%s\n    %s%s%s\n", print_size(size, m->bytes), *m->licence ? ", " : "",
           m->licence, print_dim(), m->path, print_plain());
    return 0;
}

static rag_err list(const struct args *a)
{
    return run_library(rag_list_models(list_one, (void *)(uintptr_t)a));
}

/* ---- model import, check, get ---- */

static rag_err import(const struct args *a, const char *path)
{
    rag_import_options o = RAG_IMPORT_OPTIONS_INIT;
    char *written = NULL;
    o.name = a->name;
    o.output = a->output;
    o.source = a->source;
    o.licence = a->licence;
    const rag_err err = run_library(rag_import_model(path, &o, &written));
    if (!err)
        run_say("%s", written);
    rag_free(written);
    return err;
}

static rag_err get(const struct args *a, const char *name)
{
    rag_get_options o = RAG_GET_OPTIONS_INIT;
    char *folder = NULL;
    o.base_url = config_get(NULL, "hub.url");
    o.token = config_get(NULL, "hub.token");
    o.pins = a->pins.items;
    o.npins = (size_t)a->pins.n;
    o.progress = run_progress;
    const rag_err err = run_library(rag_get_model(name, &o, &folder));
    if (!err)
        run_say("%s", folder);
    rag_free(folder);
    return err;
}

int cmd_model(const struct args *a)
{
    static const struct {
        const char *verb;
        rag_err (*act)(const struct args *a, const char *what);
    } verbs[] = {{"import", import}, {"get", get}};
    const char *verb = a->list[0];
    if (strcmp(verb, "list") == 0)
        return a->n == 1 ? run_end(list(a)) : cli_usage(a, "model list takes nothing more");
    if (strcmp(verb, "check") == 0 && a->n == 2) {
        const rag_err err = run_library(rag_check_model(a->list[1]));
        if (!err)
            run_say("sound");
        return run_end(err);
    }
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(verb, verbs[i].verb) == 0 && a->n == 2)
            return run_end(verbs[i].act(a, a->list[1]));
    return cli_usage(a, "model takes list, import PATH, get NAME or check NAME, not '%s'",
                     verb);
}

/* ---- distill ---- */

static rag_err report(const struct args *a, const rag_distill_report *r)
{
    if (!print_json(a)) {
        printf("%llu texts of %llu tokens; PCA keeps %.1f %% of their variance\n"
               "mean cosine to the teacher: %.4f before training, %.4f after; of texts held "
               "back %.4f and %.4f\n",
               (unsigned long long)r->texts, (unsigned long long)r->tokens, 100 * r->kept,
               r->before, r->after, r->held_before, r->held_after);
        return RAG_OK;
    }
    struct js_out o = JS_OUT_INIT;
    js_open(&o, NULL, '{');
    js_put_u64(&o, "texts", r->texts);
    js_put_u64(&o, "tokens", r->tokens);
    js_put_double(&o, "variance_kept", r->kept);
    js_put_double(&o, "cosine_before", r->before);
    js_put_double(&o, "cosine_after", r->after);
    js_put_double(&o, "held_cosine_before", r->held_before);
    js_put_double(&o, "held_cosine_after", r->held_after);
    js_shut(&o, '}');
    const rag_err err = (rag_err)js_line(&o, stdout);
    js_out_free(&o);
    return err;
}

static void judged(void *arg, const char *collection, uint64_t questions, double teacher,
                   double result)
{
    const struct args *a = arg;
    if (!print_json(a)) {
        printf("%s, %llu questions: nDCG@10 %.1f, the teacher's %.1f\n", collection,
               (unsigned long long)questions, 100 * result, 100 * teacher);
        return;
    }
    struct js_out o = JS_OUT_INIT;
    js_open(&o, NULL, '{');
    js_put_string(&o, "collection", collection);
    js_put_u64(&o, "questions", questions);
    js_put_double(&o, "ndcg10", result);
    js_put_double(&o, "teacher_ndcg10", teacher);
    js_shut(&o, '}');
    js_line(&o, stdout);
    js_out_free(&o);
}

int cmd_distill(const struct args *a)
{
    rag_distill_options o = RAG_DISTILL_OPTIONS_INIT;
    rag_distill_report r = {.size = sizeof r};
    if (!a->output)
        return cli_usage(a, "distill needs -o FILE");
    o.teacher = a->list[0];
    o.paths = (const char *const *)a->list + 1;
    o.npaths = (size_t)a->n - 1;
    o.output = a->output;
    o.name = a->name;
    o.source = a->source;
    o.licence = a->licence;
    o.dims = (uint32_t)a->dims;
    o.epochs = (unsigned)a->epochs;
    o.seed = a->seed;
    o.threads = (unsigned)a->threads;
    o.progress = run_progress;
    o.collections = a->judge.items;
    o.ncollections = (size_t)a->judge.n;
    o.on_judged = judged;
    o.judged_arg = (void *)(uintptr_t)a;
    rag_err err = run_library(rag_distill(&o, &r));
    if (!err)
        err = report(a, &r);
    return run_end(err);
}
