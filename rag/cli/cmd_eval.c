/* cmd_eval.c - rag eval: to each measurement its own file, eval_*.c.
 *
 * Place: rag/cli. */
#include <config.h>

#include <string.h>

#include "rag/cli/cli.h"

static const struct {
    const char *name;
    int most; /* arguments with its own name; -1: any number */
    int (*run)(struct args *a);
} measurements[] = {
    {"retrieval", 2, eval_retrieval},
    {"ann", 1, eval_ann},
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
    return cli_usage(given, "eval takes retrieval [FOLDER], ann or answers, not '%s'", name);
}
