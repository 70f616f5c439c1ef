/* optparse.c - the command line: one table of options for parsing, --help and completion.
 *
 * Place: ann/cli.  Invariant: an option is in the table or it does not exist; the man page's
 * test reads --help, which is printed from here. */
#include <config.h>

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ann/cli/cli.h"

enum value { FLAG, TEXT, COUNT, SIZE, REAL };

struct option {
    const char *name;
    char letter;         /* 0: none */
    const char *value;   /* how help calls it; NULL for a flag */
    enum value kind;
    size_t offset;       /* in struct args */
    size_t has;          /* offset of a bool that says it was given; 0: none */
    uint64_t least, most;
    const char *choices; /* "a b c": one of these; NULL: any */
    const char *commands; /* " build add ": there; NULL: everywhere */
    const char *help;
};

#define AT(field) offsetof(struct args, field)
#define FORMATS "npy fvecs ivecs bvecs raw idx hdf5"
#define TYPES "f32 f16 bf16 f64 i8 u8 b1 i32 u32 i64 u64"
#define READERS " build add update search recall convert "

static const struct option options[] = {
    {"output", 'o', "FILE", TEXT, AT(output), 0, 0, 0, NULL, " build search merge export ",
     "where to write; - is standard output where that can be"},
    {"spec", 0, "SPEC", TEXT, AT(spec), 0, 0, 0, NULL, " build merge ",
     "kind and options, such as hnsw,m=16,ef_construction=200,store=f16 or flat"},
    {"metric", 0, "METRIC", TEXT, AT(metric), 0, 0, 0, "l2 ip cosine hamming", " build ",
     "how near is measured: l2 (default), ip, cosine; hamming for bits"},
    {"profile", 0, "PROFILE", TEXT, AT(profile), 0, 0, 0, "balanced fast lean", " build ",
     "hnsw: balanced (default), fast (more memory), lean (no vectors, only codes)"},
    {"codes", 0, "CODES", TEXT, AT(codes), 0, 0, 0, "auto none sq8 sq4 1bit 2bit 3bit 4bit",
     " build ", "hnsw: how vectors are coded; auto (default) goes by dimension and count"},
    {"calibrate", 0, NULL, FLAG, AT(calibrate), 0, 0, 0, NULL, " build ",
     "learn at the end which effort gives which recall, as \"ann calibrate\" does"},
    {"dry-run", 0, NULL, FLAG, AT(dry_run), 0, 0, 0, NULL, " build ",
     "only tell what memory the index would take"},
    {"seed", 0, "N", COUNT, AT(seed), AT(has_seed), 0, UINT64_MAX, NULL,
     " build merge calibrate ", "the same data, options and seed give the same file (default 0)"},
    {"ids", 0, "FILE", TEXT, AT(ids), 0, 0, 0, NULL, " build add update remove ",
     "ids of the vectors: text, one a line, or npy or ivecs of integers"},
    {"renumber", 0, NULL, FLAG, AT(renumber), 0, 0, 0, NULL, " merge ",
     "number the vectors anew from 0 instead of keeping their ids"},
    {"k", 'k', "N", COUNT, AT(k), 0, 1, ANN_K_MAX, NULL, " search recall calibrate ",
     "neighbours of each query (default 10)"},
    {"effort", 0, "N", COUNT, AT(effort), 0, 1, ANN_EFFORT_MAX, NULL, " search recall ",
     "hnsw: candidates kept; more finds more and takes longer (default: that of recall 0.95 "
     "where calibrated, else max(64, 2k))"},
    {"recall", 0, "R", REAL, AT(recall), AT(has_recall), 0, 0, NULL, " search recall ",
     "take the effort that finds this share of the true neighbours, such as 0.95; the index "
     "must be calibrated"},
    {"queries", 0, "FILE", TEXT, AT(queries), 0, 0, 0, NULL, " build calibrate ",
     "calibrate with these queries instead of stored vectors"},
    {"radius", 0, "R", REAL, AT(radius), AT(has_radius), 0, 0, NULL, " search ",
     "every vector at distance R or nearer, instead of k"},
    {"filter-ids", 0, "FILE", TEXT, AT(filter_ids), 0, 0, 0, NULL, " search recall ",
     "only these ids may be found"},
    {"format", 0, "FORMAT", TEXT, AT(format), 0, 0, 0, "table jsonl tsv npy ivecs", " search ",
     "of the results: table (default on a terminal), jsonl (default elsewhere), tsv, npy, "
     "ivecs"},
    {"distances", 0, "FILE", TEXT, AT(distances), 0, 0, 0, NULL, " search ",
     "distances too, as rows of f32, where results are npy or ivecs"},
    {"fail-empty", 0, NULL, FLAG, AT(fail_empty), 0, 0, 0, NULL, " search remove ",
     "exit with 3 if nothing was found"},
    {"map", 0, NULL, FLAG, AT(map), 0, 0, 0, NULL, " search recall export ",
     "map the index instead of loading it: starts at once, checks only its header"},
    {"ids-out", 0, "FILE", TEXT, AT(ids_out), 0, 0, 0, NULL, " export ",
     "ids of the exported vectors, in the same order: npy, or text by any other name"},
    {"json", 0, NULL, FLAG, AT(json), 0, 0, 0, NULL,
     " info verify recall calibrate build ",
     "one JSON object on standard output (all but verify print it anyway where that is no "
     "terminal); build: of --dry-run"},
    {"from", 0, "FORMAT", TEXT, AT(from), 0, 0, 0, FORMATS, READERS,
     "format of what is read; else the name tells, or the first bytes"},
    {"to", 0, "FORMAT", TEXT, AT(to), 0, 0, 0, "npy fvecs ivecs bvecs raw hdf5",
     " export convert ", "format of what is written; else the name tells"},
    {"type", 0, "TYPE", TEXT, AT(type), 0, 0, 0, TYPES,
     " build add update search recall export convert ",
     "element type of raw data that is read, or of what export and convert write"},
    {"dim", 0, "N", COUNT, AT(dim), 0, 1, 1 << 24, NULL, READERS,
     "numbers in a row of raw data (of type b1: bits)"},
    {"threads", 't', "N", COUNT, AT(threads), 0, 1, 1024, NULL, NULL,
     "threads to use (default: KITH_THREADS, else what this process may use)"},
    {"max-memory", 0, "SIZE", SIZE, AT(max_memory), 0, 1, UINT64_MAX, NULL, NULL,
     "fail rather than take more, such as 500M or 8G"},
    {"quiet", 'q', NULL, FLAG, AT(quiet), 0, 0, 0, NULL, NULL, "say nothing but errors"},
    {"help", 'h', NULL, FLAG, AT(help), 0, 0, 0, NULL, NULL, "print this and exit"},
    {"version", 0, NULL, FLAG, AT(version), 0, 0, 0, NULL, NULL, "print the version and exit"},
};

#define OPTIONS (sizeof options / sizeof options[0])

static bool listed(const char *list, const char *name)
{
    const size_t n = strlen(name);
    for (const char *at = list; (at = strstr(at, name)) != NULL; at += n)
        if ((at == list || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
            return true;
    return false;
}

static bool applies(const struct option *o, const struct command *c)
{
    return !o->commands || (c && listed(o->commands, c->name));
}

int cli_usage(const struct args *a, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fputs("ann: ", stderr);
    vfprintf(stderr, format, list);
    va_end(list);
    fprintf(stderr, "\nTry 'ann%s%s --help'.\n", a->command ? " " : "",
            a->command ? a->command->name : "");
    return CLI_USAGE;
}

/* ---- did you mean ---- */

#define WORD_MAX 32

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Changes, insertions, removals and swaps of neighbours that make a of b (Damerau). */
static size_t distance(const char *a, const char *b)
{
    const size_t n = strlen(a), m = strlen(b);
    size_t d[WORD_MAX + 1][WORD_MAX + 1];
    if (n > WORD_MAX || m > WORD_MAX)
        return WORD_MAX;
    for (size_t i = 0; i <= n; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= n; i++)
        for (size_t j = 1; j <= m; j++) {
            const size_t change = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            d[i][j] = least(change, least(d[i - 1][j], d[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[n][m];
}

/* Keeps the candidate nearest to word: at most 2 changes, or what word begins. */
static void consider(const char *word, const char *candidate, const char **best,
                     size_t *nearest)
{
    const size_t n = strlen(word);
    size_t d = distance(word, candidate);
    if (n >= 2 && strncmp(word, candidate, n) == 0)
        d = 1;
    if (d <= 2 && d < n && d < *nearest) {
        *best = candidate;
        *nearest = d;
    }
}

static int unknown_option(const struct args *a, const char *name)
{
    const char *best = NULL;
    size_t nearest = WORD_MAX;
    for (size_t i = 0; i < OPTIONS; i++)
        if (applies(&options[i], a->command))
            consider(name, options[i].name, &best, &nearest);
    if (best)
        return cli_usage(a, "no option --%s; did you mean --%s?", name, best);
    for (size_t i = 0; i < OPTIONS; i++)
        if (strcmp(options[i].name, name) == 0 && a->command)
            return cli_usage(a, "%s has no option --%s", a->command->name, name);
    return cli_usage(a, "no option --%s", name);
}

static int unknown_command(const struct args *a, const char *name)
{
    const char *best = NULL;
    size_t nearest = WORD_MAX;
    for (size_t i = 0; i < cli_command_count; i++)
        consider(name, cli_commands[i].name, &best, &nearest);
    if (best)
        return cli_usage(a, "no command '%s'; did you mean '%s'?", name, best);
    return cli_usage(a, "no command '%s'", name);
}

/* ---- values ---- */

static bool read_count(const char *text, uint64_t *out, const char **end)
{
    uint64_t v = 0;
    const char *s = text;
    for (; *s >= '0' && *s <= '9'; s++)
        if (__builtin_mul_overflow(v, UINT64_C(10), &v) ||
            __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
            return false;
    *out = v;
    *end = s;
    return s != text;
}

/* 1.5G as bytes: K, M, G, T are powers of 1024, "iB" or "B" may follow. */
static bool read_size(const char *text, uint64_t *out)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    const double v = strtod(text, &end);
    static const char units[] = "KMGT";
    double scale = 1;
    const char *unit = *end ? strchr(units, *end >= 'a' ? *end - 32 : *end) : NULL;
    if (unit) {
        for (const char *u = units; u <= unit; u++)
            scale *= 1024;
        end++;
        if (*end == 'i')
            end++;
    }
    if (*end == 'B')
        end++;
    if (*end || !(v * scale < 0x1p63))
        return false;
    *out = (uint64_t)(v * scale);
    return true;
}

/* Puts the value of an option where it belongs.  text is empty for a flag. */
static int put_value(struct args *a, const struct option *o, const char *text)
{
    void *at = (char *)a + o->offset;
    if (o->has)
        *(bool *)((char *)a + o->has) = true;
    uint64_t v = 0;
    const char *end = "";
    switch (o->kind) {
    case FLAG:
        *(bool *)at = true;
        return -1;
    case TEXT:
        if (o->choices && !listed(o->choices, text))
            return cli_usage(a, "--%s %s: must be one of: %s", o->name, text, o->choices);
        *(const char **)at = text;
        return -1;
    case COUNT:
        if (!read_count(text, &v, &end) || *end || v < o->least || v > o->most)
            return cli_usage(a, "--%s %s: must be a number from %llu to %llu", o->name, text,
                             (unsigned long long)o->least, (unsigned long long)o->most);
        *(uint64_t *)at = v;
        return -1;
    case SIZE:
        if (!read_size(text, &v) || v < o->least)
            return cli_usage(a, "--%s %s: must be a size such as 500M or 8G", o->name, text);
        *(uint64_t *)at = v;
        return -1;
    case REAL: {
        char *stop;
        const double r = strtod(text, &stop);
        if (stop == text || *stop || !isfinite(r))
            return cli_usage(a, "--%s %s: must be a number", o->name, text);
        *(double *)at = r;
        return -1;
    }
    }
    return -1;
}

/* Handles the option at argv[*i], and its value. */
static int take_option(struct args *a, int argc, char **argv, int *i)
{
    const char *word = argv[*i];
    const bool is_long = word[1] == '-';
    char name[64];
    const char *value = is_long ? strchr(word, '=') : word[2] ? word + 2 : NULL;
    snprintf(name, sizeof name, "%.*s",
             is_long ? value ? (int)(value - word - 2) : (int)strlen(word) - 2 : 1,
             word + 1 + is_long);
    value = value && is_long ? value + 1 : value;
    const struct option *o = NULL;
    for (size_t n = 0; n < OPTIONS && !o; n++)
        if (applies(&options[n], a->command) &&
            (is_long ? strcmp(options[n].name, name) == 0 : options[n].letter == name[0]))
            o = &options[n];
    if (!o)
        return is_long ? unknown_option(a, name) : cli_usage(a, "no option -%s", name);
    if (o->kind == FLAG && value && !is_long) { /* -qh: the letters one by one */
        int status = put_value(a, o, "");
        char *rest = argv[*i] + 1;
        rest[0] = '-';
        argv[*i] = rest;
        return status >= 0 ? status : take_option(a, argc, argv, i);
    }
    if (o->kind == FLAG)
        return value ? cli_usage(a, "--%s takes no value", o->name) : put_value(a, o, "");
    if (!value) {
        if (*i + 1 >= argc)
            return cli_usage(a, "--%s needs a value: %s", o->name, o->value);
        value = argv[++*i];
    }
    return put_value(a, o, value);
}

/* ---- help ---- */

/* text, wrapped at 79 columns, each line after the first with `indent` blanks. */
static void wrapped(const char *text, size_t at, size_t indent)
{
    for (bool first = true; *text; first = false) {
        const size_t n = strcspn(text, " ");
        if (!first && at + 1 + n > 79) {
            printf("\n%*s", (int)indent, "");
            at = indent;
        } else if (!first) {
            putchar(' ');
            at++;
        }
        printf("%.*s", (int)n, text);
        at += n;
        text += n + (text[n] == ' ');
    }
    putchar('\n');
}

static void print_option(const struct option *o)
{
    char left[48];
    snprintf(left, sizeof left, "  %c%c%c --%s%s%s", o->letter ? '-' : ' ',
             o->letter ? o->letter : ' ', o->letter ? ',' : ' ', o->name, o->value ? " " : "",
             o->value ? o->value : "");
    printf("%-27s ", left);
    wrapped(o->help, 28, 28);
}

static void print_options(const struct command *c)
{
    for (size_t own = 0; own < 2; own++) {
        bool any = false;
        for (size_t i = 0; i < OPTIONS; i++) {
            if ((options[i].commands == NULL) != (own == 1) || !applies(&options[i], c))
                continue;
            if (!any)
                printf("\n%s:\n", own == 1 ? "Options of every command" : "Options");
            any = true;
            print_option(&options[i]);
        }
    }
}

static int print_help(const struct command *c)
{
    if (c) {
        printf("Usage: ann %s %s [OPTION]...\n\n", c->name, c->words);
        wrapped(c->summary, 0, 0);
        if (c->more) {
            putchar('\n');
            wrapped(c->more, 0, 0);
        }
        print_options(c);
        printf("\nExample:\n  %s\n", c->example);
        return CLI_OK;
    }
    printf("Usage: ann COMMAND WORD... [OPTION]...\n\n"
           "Build, change, search and check an index of nearest neighbours.\n\nCommands:\n");
    for (size_t i = 0; i < cli_command_count; i++)
        printf("  %-9s %s\n", cli_commands[i].name, cli_commands[i].summary);
    print_options(NULL);
    printf("\n'ann COMMAND --help' tells more.\n"
           "Exit status: 0 done, 1 error, 2 wrong usage, 3 nothing found (with --fail-empty),\n"
           "4 damaged or not a kith file, 130 interrupted.\n\nExample:\n"
           "  ann build words.npy -o words.kith --metric cosine\n"
           "  ann search words.kith queries.npy -k 5\n");
    return CLI_OK;
}

/* ---- completion ---- */

static void print_words(const char *list)
{
    for (; *list; list++)
        putchar(*list == ' ' ? '\n' : *list);
    putchar('\n');
}

/* ann --complete WORD... : what the last word may become, one a line; nothing for a file. */
static int complete(int argc, char **argv)
{
    const struct command *c = NULL;
    const char *last = argc > 0 ? argv[argc - 1] : "", *before = argc > 1 ? argv[argc - 2] : "";
    for (int i = 0; i + 1 < argc && !c; i++)
        for (size_t n = 0; n < cli_command_count; n++)
            if (strcmp(argv[i], cli_commands[n].name) == 0)
                c = &cli_commands[n];
    for (size_t i = 0; i < OPTIONS; i++) {
        const struct option *o = &options[i];
        const bool named =
            (strncmp(before, "--", 2) == 0 && strcmp(before + 2, o->name) == 0) ||
            (o->letter && before[0] == '-' && before[1] == o->letter && !before[2]);
        if (named && o->kind != FLAG) {
            if (o->choices)
                print_words(o->choices);
            return CLI_OK;
        }
    }
    if (last[0] == '-') {
        for (size_t i = 0; i < OPTIONS; i++)
            if (applies(&options[i], c))
                printf("--%s\n", options[i].name);
    } else if (!c) {
        for (size_t i = 0; i < cli_command_count; i++)
            puts(cli_commands[i].name);
    }
    return CLI_OK;
}

/* ---- the whole ---- */

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < cli_command_count; i++)
        if (strcmp(cli_commands[i].name, name) == 0)
            return &cli_commands[i];
    return NULL;
}

static int check_words(const struct args *a)
{
    const struct command *c = a->command;
    if (a->n < c->least)
        return cli_usage(a, "%s needs %s", c->name, c->words);
    if (c->most >= 0 && a->n > c->most)
        return cli_usage(a, "%s takes %s; what is '%s'?", c->name, c->words, a->list[c->most]);
    return -1;
}

int args_read(int argc, char **argv, struct args *a)
{
    *a = (struct args){0};
    if (argc > 1 && strcmp(argv[1], "--complete") == 0)
        return complete(argc - 2, argv + 2);
    if (argc > 1 && strcmp(argv[1], "help") == 0) {
        a->help = true;
        if (argc > 2 && !(a->command = find_command(argv[2])))
            return unknown_command(a, argv[2]);
        return print_help(a->command);
    }
    bool words_only = false;
    a->list = argv; /* the words move to the front; where they were is not read again */
    for (int i = 1; i < argc; i++) {
        char *word = argv[i];
        if (!words_only && strcmp(word, "--") == 0) {
            words_only = true;
        } else if (!words_only && word[0] == '-' && word[1]) {
            const int status = take_option(a, argc, argv, &i);
            if (status >= 0)
                return status;
        } else if (!a->command) {
            if (!(a->command = find_command(word)))
                return unknown_command(a, word);
        } else {
            a->list[a->n++] = word;
        }
    }
    if (a->version) {
        printf("ann (kith) %s, kernels %s\n", ann_version(), ann_isa());
        return CLI_OK;
    }
    if (a->help)
        return print_help(a->command);
    if (!a->command)
        return cli_usage(a, "a command is needed");
    return check_words(a);
}
