/* cli.h - what the commands of `rag` share: arguments, session, settings, output.
 *
 * Place: rag/cli, the program; it sees rag/rag.h, ann/io and base, nothing else of the library.
 * Invariant: standard output is data, standard error is talk. */
#ifndef KITH_RAG_CLI_H
#define KITH_RAG_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <rag/rag.h>

#include "ann/io/cmdline.h"
#include "ann/io/json.h"

enum cli_exit {
    CLI_OK = 0,
    CLI_ERROR = 1,
    CLI_USAGE = 2,
    CLI_EMPTY = 3,       /* nothing found, with --fail-empty */
    CLI_DAMAGED = 4,     /* store damaged, or its vectors another embedder's */
    CLI_REFUSED = 5,     /* a server said no */
    CLI_UNAVAILABLE = 6, /* a server did not answer */
    CLI_PARTIAL = 7,     /* some inputs failed, the others are in */
    CLI_INTERRUPTED = 130
};

struct args {
    CMDLINE_ARGS
    const char *store, *embedder, *lang, *mode, *rerank, *model, *format, *meta, *output, *side;
    const char *id_field, *text_field, *source, *fusion, *color, *vector, *key_file;
    const char *contextual, *name, *licence, *budget, *texts, *of;
    const char *corpus, *queries, *qrels, *modes, *run_out, *efforts, *sizes, *html;
    const char *answers, *answers_out, *unanswerable;
    struct cmd_list include, exclude, where, pins, judge, runs, refusals;
    uint64_t k, threads, max_bytes, wait, max_tokens, context_tokens, sample, rerank_depth,
        depth, dims, epochs, seed, every, tokens;
    double share, min_score, temperature, budget_ms, target;
    bool has_share, has_temperature, has_target;
    bool json, dry_run, force, hidden, fast, explain, open, datamark, lines, purge, drop_old;
    bool closer, fail_empty, copies, vectors, origin, full, f16, each, passages, join;
};

extern const struct program rag_program;

int cmd_add(const struct args *a);
int cmd_sync(const struct args *a);
int cmd_import(const struct args *a);
int cmd_rm(const struct args *a);
int cmd_search(const struct args *a);
int cmd_similar(const struct args *a);
int cmd_ask(const struct args *a);
int cmd_get(const struct args *a);
int cmd_ls(const struct args *a);
int cmd_embed(const struct args *a);
int cmd_export(const struct args *a);
int cmd_reindex(const struct args *a);
int cmd_status(const struct args *a);
int cmd_verify(const struct args *a);
int cmd_repair(const struct args *a);
int cmd_backup(const struct args *a);
int cmd_embedders(const struct args *a);
int cmd_model(const struct args *a);
int cmd_distill(const struct args *a);
int cmd_eval(const struct args *a);
int cmd_keys(const struct args *a);
int cmd_config(const struct args *a);
int cmd_completion(const struct args *a);

/* What cmd_eval chooses from; each in a file of its name. */
int eval_retrieval(struct args *a);
int eval_ann(struct args *a);
int eval_answers(struct args *a);
int eval_chunks(struct args *a);
/* "100,200,400" into list [*n <= most]; false: no such thing. */
bool eval_numbers(const char *text, size_t most, size_t *list, size_t *n);
/* The collection that FOLDER and options name; `spans`: with the places of answers. */
rag_err eval_collection(const struct args *a, bool spans, rag_collection **c,
                        rag_collection_info *info);
/* *p: base as one of eval's modes ("fast", "contextual") has it. */
rag_err eval_mode(const rag_search_params *base, const char *name, rag_search_params *p);

/* ---- the session (run.c): signals, progress, the store, how it ends ---- */

void run_start(const struct args *a);
/* The folder of the store: --store, RAG_STORE, .rag here or above, else the user's default;
 * where none is: ".rag" here.  Valid until the program ends. */
const char *run_store_dir(const struct args *a);
/* Opens it; prints nothing. */
rag_err run_open(const struct args *a, rag_access access, rag_store **out);
/* As rag_progress_fn: the bar; stops when a signal came. */
int run_progress(void *arg, const char *what, uint64_t done, uint64_t total);
/* A line for people on standard error, unless -q. */
void run_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A warning, -q or not. */
void run_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Makes an error of libkith-rag this program's, so that its message is the last one. */
rag_err run_library(rag_err err);
/* Takes the bar away, prints err if any, flushes standard output; the exit status. */
int run_end(rag_err err);
/* The whole of standard input, or of a file; for rag_free.  RAG_ELIMIT above `most`. */
rag_err run_slurp(const char *path, size_t most, char **text, size_t *bytes);
/* A folder of its own for a store that is not kept, empty: "" is a failure that was told.  It
 * goes with the second call. */
rag_err run_scratch(char *dir, size_t room);
void run_scratch_end(const char *dir);
/* Opens the store at dir for writing, made if it is not there. */
rag_err run_open_at(const struct args *a, const char *dir, rag_store **out);
/* Where the setting search.log has questions kept: a file in the store's folder. */
void find_log_path(const struct args *a, char *path, size_t room);
/* Search parameters as the options and settings have them; false, and said: a wrong budget. */
bool find_params(struct args *a, rag_search_params *p);
/* What a model is asked, likewise, but who hears the answer; search is kept. */
void find_ask_params(const struct args *a, const rag_search_params *search, rag_ask_params *p);
/* A query or question: the words joined, or standard input for "-"; for rag_free. */
rag_err run_words(const struct args *a, int from, char **text);

/* ---- output (print.c) ---- */

/* JSON Lines rather than text for people. */
bool print_json(const struct args *a);
/* Text on a terminal: control characters but line feed and tab are taken out. */
void print_text(FILE *f, const char *text, size_t bytes);
/* ESC codes where colour is wanted, else "". */
const char *print_bold(void);
const char *print_dim(void);
const char *print_plain(void);
void print_start(const struct args *a);

void print_hit_json(struct js_out *o, uint32_t rank, const rag_hit *h, bool explain);
rag_err print_hits(const struct args *a, const rag_hits *h);
const char *print_size(char buf[32], uint64_t bytes);
/* "docs/a.md:12-18" or "docs/a.pdf, page 3". */
void print_place(char *buf, size_t room, const rag_hit *h);

/* ---- the page of --html (report.c); its parts are ann/io's page and svg ---- */

void report_called(int argc, char **argv);
rag_err report_begin(const struct args *a, FILE **out);
/* Closes f, whether all went well or not. */
rag_err report_end(const struct args *a, FILE *f, const char *foot);
/* A heading and a line below it; "</section>" ends it. */
void report_section(FILE *f, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* heads: NULL-ended. */
void report_table(FILE *f, const char *const *heads);
void report_table_end(FILE *f);
void report_cell(FILE *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- settings (config.c): flag > environment > store > user > default ---- */

/* Reads the user's file and the store's; RAG_EINVAL names file and line. */
rag_err config_load(const char *store_dir);
/* As rag_setting_fn. */
const char *config_get(void *arg, const char *name);
/* One setting as an option gives it, which counts before all else; both outlive the program's
 * use of them.  NULL: none. */
void config_given(const char *name, const char *value);
/* Where a setting comes from: "environment OPENAI_API_KEY", a path, or NULL. */
const char *config_origin(const char *name);
/* Each setting that has a value. */
void config_each(void (*each)(void *arg, const char *name, const char *value,
                              const char *origin),
                 void *arg);
rag_err config_set(const char *path, const char *name, const char *value); /* NULL: take out */
/* Paths of the user's files; "" where there is no home. */
const char *config_user_path(void);
const char *config_keys_path(void);
bool config_known(const char *name);
bool config_secret(const char *name);

#endif
