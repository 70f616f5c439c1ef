/* cmd_eval.c - rag eval: to each measurement its own file, eval_*.c.
 *
 * Place: rag/cli. */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "rag/cli/cli.h"

bool eval_numbers(const char *text, size_t most, size_t *list, size_t *n)
{
    for (*n = 0; *n < most; text++) {
        char *end;
        if (*text < '0' || *text > '9')
            return false;
        list[(*n)++] = strtoull(text, &end, 10);
        text = end;
        if (*text == '\0')
            return true;
        if (*text != ',')
            return false;
    }
    return false;
}

static const struct {
    const char *name;
    int most; /* arguments with its own name; -1: any number */
    int (*run)(struct args *a);
} measurements[] = {
    {"retrieval", 2, eval_retrieval},
    {"ann", 1, eval_ann},
    {"chunks", 2, eval_chunks},
    {"answers", 1, eval_answers},
};

int cmd_eval(const struct args *given)
{
    struct args a = *given;
    const char *name = a.list[0];
    for (size_t i = 0; i < sizeof measurements / sizeof *measurements; i++)
        if (strcmp(name, measurements[i].name) == 0) {
            if (measurements[i].most >= 0 && a.n > measurements[i].most)
                return cli_usage(given, "eval %s does not take '%s'", name, a.list[a.n - 1]);
            return measurements[i].run(&a);
        }
    return cli_usage(given, "eval takes retrieval, ann, chunks or answers, not '%s'", name);
}
