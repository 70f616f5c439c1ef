/* cmdline.c - the command line of a program with commands.  See cmdline.h.
 *
 * Place: ann/io.  Invariant: an option is in the program's table or it does not exist; the man
 * page's test reads --help, which is printed from here. */
#include <config.h>

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ann/io/cmdline.h"

/* What every program's struct args begins with. */
struct base {
    CMDLINE_ARGS
};

static struct base *base_of(struct args *a)
{
    return (struct base *)(void *)a;
}

static const struct base *base_in(const struct args *a)
{
    return (const struct base *)(const void *)a;
}

static bool listed(const char *list, const char *name)
{
    const size_t n = strlen(name);
    for (const char *at = list; (at = strstr(at, name)) != NULL; at += n)
        if ((at == list || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
            return true;
    return false;
}

static bool applies(const struct cmd_option *o, const struct command *c)
{
    return !o->commands || (c && listed(o->commands, c->name));
}

int cli_usage(const struct args *a, const char *format, ...)
{
    const struct base *b = base_in(a);
    va_list list;
    va_start(list, format);
    fprintf(stderr, "%s: ", b->program->name);
    vfprintf(stderr, format, list);
    va_end(list);
    fprintf(stderr, "\nTry '%s%s%s --help'.\n", b->program->name, b->command ? " " : "",
            b->command ? b->command->name : "");
    return CMD_USAGE;
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
    const struct base *b = base_in(a);
    const struct program *p = b->program;
    const char *best = NULL;
    size_t nearest = WORD_MAX;
    for (size_t i = 0; i < p->noptions; i++)
        if (applies(&p->options[i], b->command))
            consider(name, p->options[i].name, &best, &nearest);
    if (best)
        return cli_usage(a, "no option --%s; did you mean --%s?", name, best);
    for (size_t i = 0; i < p->noptions; i++)
        if (strcmp(p->options[i].name, name) == 0 && b->command)
            return cli_usage(a, "%s has no option --%s", b->command->name, name);
    return cli_usage(a, "no option --%s", name);
}

static int unknown_command(const struct args *a, const char *name)
{
    const struct base *b = base_in(a);
    const struct program *p = b->program;
    const char *best = NULL;
    size_t nearest = WORD_MAX;
    for (size_t i = 0; i < p->ncommands; i++)
        consider(name, p->commands[i].name, &best, &nearest);
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
static int put_value(struct args *a, const struct cmd_option *o, const char *text)
{
    void *at = (char *)a + o->offset;
    if (o->has)
        *(bool *)((char *)a + o->has) = true;
    uint64_t v = 0;
    const char *end = "";
    switch (o->kind) {
    case CMD_FLAG:
        *(bool *)at = true;
        return -1;
    case CMD_TEXT:
        if (o->choices && !listed(o->choices, text))
            return cli_usage(a, "--%s %s: must be one of: %s", o->name, text, o->choices);
        *(const char **)at = text;
        return -1;
    case CMD_LIST: {
        struct cmd_list *l = at;
        if (l->n == CMD_LIST_MAX)
            return cli_usage(a, "--%s: at most %d of them", o->name, CMD_LIST_MAX);
        l->items[l->n++] = text;
        return -1;
    }
    case CMD_COUNT:
        if (!read_count(text, &v, &end) || *end || v < o->least || v > o->most)
            return cli_usage(a, "--%s %s: must be a number from %llu to %llu", o->name, text,
                             (unsigned long long)o->least, (unsigned long long)o->most);
        *(uint64_t *)at = v;
        return -1;
    case CMD_SIZE:
        if (!read_size(text, &v) || v < o->least)
            return cli_usage(a, "--%s %s: must be a size such as 500M or 8G", o->name, text);
        *(uint64_t *)at = v;
        return -1;
    case CMD_REAL: {
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
    const struct base *b = base_in(a);
    const struct program *p = b->program;
    const char *word = argv[*i];
    const bool is_long = word[1] == '-';
    char name[64];
    const char *value = is_long ? strchr(word, '=') : word[2] ? word + 2 : NULL;
    snprintf(name, sizeof name, "%.*s",
             is_long ? value ? (int)(value - word - 2) : (int)strlen(word) - 2 : 1,
             word + 1 + is_long);
    value = value && is_long ? value + 1 : value;
    const struct cmd_option *o = NULL;
    for (size_t n = 0; n < p->noptions && !o; n++)
        if (applies(&p->options[n], b->command) &&
            (is_long ? strcmp(p->options[n].name, name) == 0 : p->options[n].letter == name[0]))
            o = &p->options[n];
    if (!o)
        return is_long ? unknown_option(a, name) : cli_usage(a, "no option -%s", name);
    if (o->kind == CMD_FLAG && value && !is_long) { /* -qh: the letters one by one */
        int status = put_value(a, o, "");
        char *rest = argv[*i] + 1;
        rest[0] = '-';
        argv[*i] = rest;
        return status >= 0 ? status : take_option(a, argc, argv, i);
    }
    if (o->kind == CMD_FLAG)
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

static void print_option(const struct cmd_option *o)
{
    char left[48];
    snprintf(left, sizeof left, "  %c%c%c --%s%s%s", o->letter ? '-' : ' ',
             o->letter ? o->letter : ' ', o->letter ? ',' : ' ', o->name, o->value ? " " : "",
             o->value ? o->value : "");
    printf("%-27s ", left);
    wrapped(o->help, 28, 28);
}

static void print_options(const struct program *p, const struct command *c)
{
    for (size_t own = 0; own < 2; own++) {
        bool any = false;
        for (size_t i = 0; i < p->noptions; i++) {
            if ((p->options[i].commands == NULL) != (own == 1) || !applies(&p->options[i], c))
                continue;
            if (!any)
                printf("\n%s:\n", own == 1 ? "Options of every command" : "Options");
            any = true;
            print_option(&p->options[i]);
        }
    }
}

static int print_help(const struct program *p, const struct command *c)
{
    if (c) {
        printf("Usage: %s %s %s [OPTION]...\n\n", p->name, c->name, c->words);
        wrapped(c->summary, 0, 0);
        if (c->more) {
            putchar('\n');
            wrapped(c->more, 0, 0);
        }
        print_options(p, c);
        printf("\nExample:\n  %s\n", c->example);
        return CMD_OK;
    }
    printf("Usage: %s COMMAND WORD... [OPTION]...\n\n%s\n\nCommands:\n", p->name, p->intro);
    for (size_t i = 0; i < p->ncommands; i++)
        printf("  %-9s %s\n", p->commands[i].name, p->commands[i].summary);
    print_options(p, NULL);
    printf("\n'%s COMMAND --help' tells more.\n%s", p->name, p->footer);
    return CMD_OK;
}

/* ---- completion ---- */

static void print_words(const char *list)
{
    for (; *list; list++)
        putchar(*list == ' ' ? '\n' : *list);
    putchar('\n');
}

/* PROGRAM --complete WORD... : what the last word may become, one a line; nothing for a file.
 */
static int complete(const struct program *p, int argc, char **argv)
{
    const struct command *c = NULL;
    const char *last = argc > 0 ? argv[argc - 1] : "", *before = argc > 1 ? argv[argc - 2] : "";
    for (int i = 0; i + 1 < argc && !c; i++)
        for (size_t n = 0; n < p->ncommands; n++)
            if (strcmp(argv[i], p->commands[n].name) == 0)
                c = &p->commands[n];
    for (size_t i = 0; i < p->noptions; i++) {
        const struct cmd_option *o = &p->options[i];
        const bool named =
            (strncmp(before, "--", 2) == 0 && strcmp(before + 2, o->name) == 0) ||
            (o->letter && before[0] == '-' && before[1] == o->letter && !before[2]);
        if (named && applies(o, c) && o->kind != CMD_FLAG) {
            if (o->choices)
                print_words(o->choices);
            return CMD_OK;
        }
    }
    if (last[0] == '-') {
        for (size_t i = 0; i < p->noptions; i++)
            if (applies(&p->options[i], c))
                printf("--%s\n", p->options[i].name);
    } else if (!c) {
        for (size_t i = 0; i < p->ncommands; i++)
            puts(p->commands[i].name);
    }
    return CMD_OK;
}

/* ---- the whole ---- */

static const struct command *find_command(const struct program *p, const char *name)
{
    for (size_t i = 0; i < p->ncommands; i++)
        if (strcmp(p->commands[i].name, name) == 0)
            return &p->commands[i];
    return NULL;
}

static int check_words(const struct args *a)
{
    const struct base *b = base_in(a);
    const struct command *c = b->command;
    if (b->n < c->least)
        return cli_usage(a, "%s needs %s", c->name, c->words);
    if (c->most >= 0 && b->n > c->most)
        return cli_usage(a, "%s takes %s; what is '%s'?", c->name, c->words, b->list[c->most]);
    return -1;
}

int args_read(const struct program *p, int argc, char **argv, struct args *a)
{
    struct base *b = base_of(a);
    memset(a, 0, p->args_bytes);
    b->program = p;
    if (argc > 1 && strcmp(argv[1], "--complete") == 0)
        return complete(p, argc - 2, argv + 2);
    if (argc > 1 && strcmp(argv[1], "help") == 0) {
        b->help = true;
        if (argc > 2 && !(b->command = find_command(p, argv[2])))
            return unknown_command(a, argv[2]);
        return print_help(p, b->command);
    }
    bool words_only = false;
    b->list = argv; /* the words move to the front; where they were is not read again */
    for (int i = 1; i < argc; i++) {
        char *word = argv[i];
        if (!words_only && strcmp(word, "--") == 0) {
            words_only = true;
        } else if (!words_only && word[0] == '-' && word[1]) {
            const int status = take_option(a, argc, argv, &i);
            if (status >= 0)
                return status;
        } else if (!b->command) {
            if (!(b->command = find_command(p, word)))
                return unknown_command(a, word);
        } else {
            b->list[b->n++] = word;
        }
    }
    if (p->env_error())
        fprintf(stderr, "%s: %s\n", p->name, p->env_error());
    if (b->version) {
        printf("%s (kith) %s, kernels %s\n", p->name, p->version(), p->isa());
        return CMD_OK;
    }
    if (b->help)
        return print_help(p, b->command);
    if (!b->command)
        return cli_usage(a, "a command is needed");
    return check_words(a);
}
