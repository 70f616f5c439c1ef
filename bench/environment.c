/* environment.c - the peers' Python environment: made once, with the versions of peers.json.
 *
 * Place: bench.  hnswlib is compiled on this machine for this machine, as its authors would
 * have it; the others come as wheels and choose their instruction set when they start. */
#include <config.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/files.h"
#include "bench/peers.h"

#define PACKAGES_MAX 24
#define PIN_MAX      80
#define ARGS_MAX     32

ann_err peers_file(char *path, const char *name)
{
    return files_installed(path, "peers", name);
}

ann_err peers_python(char *path)
{
    char folder[FILES_PATH_MAX];
    const ann_err err = files_cache(folder, "peers", false);
    if (err)
        return err;
    return files_join(path, folder, "bin/python")
               ? ANN_OK
               : ANN_FAIL(ANN_EINVAL, "%s: too long", folder);
}

struct environment {
    const struct grid *grid;
    char python[FILES_PATH_MAX], script[FILES_PATH_MAX], log[FILES_PATH_MAX];
    char present[PACKAGES_MAX][PIN_MAX]; /* "name==version" */
    size_t count;
};

static const char *pin(const struct grid_package *p, char *buf)
{
    snprintf(buf, PIN_MAX, "%s==%s", p->name, p->version);
    return buf;
}

static bool has(const struct environment *e, const struct grid_package *p)
{
    char wanted[PIN_MAX];
    pin(p, wanted);
    for (size_t i = 0; i < e->count; i++)
        if (!strcmp(e->present[i], wanted))
            return true;
    return false;
}

/* What the environment has; nothing if it is not there. */
static void read_present(struct environment *e)
{
    char folder[FILES_PATH_MAX], out[FILES_PATH_MAX];
    const char *argv[ARGS_MAX] = {e->python, e->script, "--versions"};
    struct grid_package p;
    int status;
    e->count = 0;
    for (size_t i = 0; i < PACKAGES_MAX && grid_package(e->grid, i, &p); i++)
        argv[3 + i] = p.name;
    if (!files_exist(e->python) || files_temporary(folder))
        return;
    files_join(out, folder, "versions");
    if (!process_run(argv, NULL, out, &status) && !status) {
        FILE *f = fopen(out, "r");
        while (f && e->count < PACKAGES_MAX && fgets(e->present[e->count], PIN_MAX, f)) {
            e->present[e->count][strcspn(e->present[e->count], "\n")] = 0;
            e->count++;
        }
        if (f)
            fclose(f);
    }
    files_remove_folder(folder);
}

static ann_err make(const struct environment *e)
{
    char folder[FILES_PATH_MAX];
    int status;
    ann_err err = files_cache(folder, "peers", true);
    if (err || files_exist(e->python))
        return err;
    const char *const argv[] = {"python3", "-m", "venv", folder, NULL};
    err = process_run(argv, NULL, e->log, &status);
    if (!err && status)
        err = ANN_FAIL(ANN_ENOENT,
                       "no Python environment could be made; install it with: "
                       "apt-get install python3-venv python3-dev g++ (see %s)",
                       e->log);
    return err;
}

/* Asks pip for `count` pins; *good: it had them all. */
static ann_err fetch(const struct environment *e, const char *option, const char *const *pins,
                     size_t count, bool *good)
{
    const char *argv[ARGS_MAX] = {
        e->python, "-m", "pip", "install", "--retries", "2", "--disable-pip-version-check",
        option};
    int status;
    for (size_t i = 0; i < count && 8 + i < ARGS_MAX - 1; i++)
        argv[8 + i] = pins[i];
    const ann_err err = process_run(argv, NULL, e->log, &status);
    *good = !err && !status;
    return err;
}

/* What comes as source gets its build tools first, so that pip fetches nothing unpinned. */
static ann_err install_needed(const struct environment *e)
{
    char text[PACKAGES_MAX][PIN_MAX];
    const char *wheels[ARGS_MAX], *sources[ARGS_MAX];
    size_t nwheels = 0, nsources = 0;
    struct grid_package p;
    bool good;
    for (const char *tool; (tool = grid_tool(e->grid, nwheels)) && nwheels < 8;)
        wheels[nwheels++] = tool;
    for (size_t i = 0; i < PACKAGES_MAX && grid_package(e->grid, i, &p); i++) {
        if (!p.needed)
            continue;
        if (p.compiled)
            sources[nsources++] = pin(&p, text[i]);
        else if (nwheels < ARGS_MAX)
            wheels[nwheels++] = pin(&p, text[i]);
    }
    ann_err err = fetch(e, "--prefer-binary", wheels, nwheels, &good);
    if (!err && !good)
        return ANN_FAIL(ANN_EBUSY,
                        "pip could not fetch numpy and faiss-cpu (is there a network?);"
                        " see %s",
                        e->log);
    if (!err)
        err = fetch(e, "--no-build-isolation", sources, nsources, &good);
    if (!err && !good)
        return ANN_FAIL(ANN_EBUSY,
                        "pip could not fetch and compile hnswlib (it needs a network, "
                        "python3-dev and g++); see %s",
                        e->log);
    return err;
}

static bool wanted(const struct grid *g, const char *package, const char *const *peers,
                   size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(grid_package_of(g, peers[i]), package))
            return true;
    return false;
}

/* Those that a run can do without: each by itself, and never with another numpy. */
static ann_err install_others(const struct environment *e, const char *const *peers,
                              size_t count, bool quiet)
{
    struct grid_package numpy = {0}, p;
    char numpy_pin[PIN_MAX], other[PIN_MAX];
    bool good;
    grid_package(e->grid, 0, &numpy);
    for (size_t i = 0; i < PACKAGES_MAX && grid_package(e->grid, i, &p); i++) {
        if (p.needed || has(e, &p) || !wanted(e->grid, p.name, peers, count))
            continue;
        if (!quiet)
            fprintf(stderr, "installing %s ...\n", pin(&p, other));
        const char *const pins[] = {pin(&numpy, numpy_pin), pin(&p, other)};
        const ann_err err = fetch(e, "--only-binary=:all:", pins, 2, &good);
        if (err)
            return err;
        if (!good)
            fprintf(stderr, "annbench: %s does not install here and is left out; see %s\n",
                    other, e->log);
    }
    return ANN_OK;
}

static bool whole(const struct environment *e)
{
    struct grid_package p;
    for (size_t i = 0; i < PACKAGES_MAX && grid_package(e->grid, i, &p); i++)
        if (p.needed && !has(e, &p))
            return false;
    return true;
}

ann_err peers_prepare(const struct grid *g, const char *const *peers, size_t count, bool quiet)
{
    static struct environment e; /* too large for the stack */
    char cache[FILES_PATH_MAX];
    e.grid = g;
    ann_err err = peers_file(e.script, "serve.py");
    if (!err)
        err = peers_python(e.python);
    if (!err)
        err = files_cache(cache, "", true);
    if (err)
        return err;
    if (!files_join(e.log, cache, "peers.log"))
        return ANN_FAIL(ANN_EINVAL, "%s: too long", cache);
    read_present(&e);
    unlink(e.log);
    if (!whole(&e)) {
        if (!quiet)
            fprintf(stderr, "installing hnswlib and faiss-cpu into a private Python "
                            "environment ...\n");
        err = make(&e);
        if (!err)
            err = install_needed(&e);
        if (err)
            return err;
        read_present(&e);
        if (!whole(&e))
            return ANN_FAIL(ANN_EIO,
                            "the Python environment has not the versions of peers.json; "
                            "remove the folder %speers and try again",
                            cache);
    }
    return install_others(&e, peers, count, quiet);
}
