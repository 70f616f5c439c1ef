/* cmdline.h - the command line of a program with commands: one table of options drives parsing,
 * --help, completion and the man page's test.
 *
 * Place: ann/io, for the programs `ann` and `rag`.  A program defines its own struct args,
 * which begins with CMDLINE_ARGS, and one struct program. */
#ifndef KITH_IO_CMDLINE_H
#define KITH_IO_CMDLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct args;
struct program;

#define CMD_OK    0
#define CMD_USAGE 2

struct command {
    const char *name;
    const char *words;   /* "INDEX DATA" */
    const char *summary; /* one line */
    const char *more;    /* paragraphs of --help */
    const char *example;
    int least, most; /* number of words; most < 0: no limit */
    int (*run)(const struct args *a);
};

#define CMDLINE_ARGS                                                                           \
    const struct program *program;                                                             \
    const struct command *command;                                                             \
    int n;       /* words that are not options */                                              \
    char **list; /* [n] */                                                                     \
    bool quiet, help, version;

enum cmd_value { CMD_FLAG, CMD_TEXT, CMD_COUNT, CMD_SIZE, CMD_REAL, CMD_LIST };

/* Where the values go: bool, const char *, uint64_t (COUNT, SIZE), double, struct cmd_list. */
#define CMD_LIST_MAX 32
struct cmd_list {
    const char *items[CMD_LIST_MAX + 1]; /* [n], then NULL */
    int n;
};

struct cmd_option {
    const char *name;
    char letter;       /* 0: none */
    const char *value; /* how help calls it; NULL for a flag */
    enum cmd_value kind;
    size_t offset; /* in struct args */
    size_t has;    /* offset of a bool that says it was given; 0: none */
    uint64_t least, most;
    const char *choices;  /* "a b c": one of these; NULL: any */
    const char *commands; /* " build add ": there; NULL: everywhere */
    const char *help;
};

struct program {
    const char *name, *intro;
    const char *footer; /* of --help: exit status and examples */
    const char *(*version)(void), *(*isa)(void); /* what --version tells */
    const char *(*env_error)(void); /* NULL, or what of the environment is not followed */
    const struct cmd_option *options;
    size_t noptions;
    const struct command *commands;
    size_t ncommands;
    size_t args_bytes; /* sizeof(struct args) */
};

/* Reads the command line.  Returns -1 to go on with a->command->run, else the exit status. */
int args_read(const struct program *p, int argc, char **argv, struct args *a);

/* Prints "PROGRAM: MESSAGE (see PROGRAM COMMAND --help)"; returns CMD_USAGE. */
int cli_usage(const struct args *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
