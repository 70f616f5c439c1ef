/* catalog.c - where models of this process are found by name.  See catalog.h.
 *
 * Place: rag/embed. */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ann/base/memory.h"
#include "rag/embed/catalog.h"
#include "rag/error.h"

#define ENDING       ".kith"
#define FOLDERS_MOST 16

struct folders {
    char paths[FOLDERS_MOST][PATH_MAX];
    size_t n;
};

static void add_folder(struct folders *f, const char *path, size_t bytes, const char *tail)
{
    if (bytes == 0 || f->n == FOLDERS_MOST)
        return;
    const int n = snprintf(f->paths[f->n], PATH_MAX, "%.*s%s", (int)bytes, path, tail);
    if (n > 0 && n < PATH_MAX)
        f->n++;
}

static void add_user_folder(struct folders *f)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (data && *data == '/')
        add_folder(f, data, strlen(data), "/kith/models");
    else if (home && *home == '/')
        add_folder(f, home, strlen(home), "/.local/share/kith/models");
}

static void list_folders(struct folders *f)
{
    const char *set = getenv("RAG_MODELS");
    f->n = 0;
    while (set && *set) {
        const size_t n = strcspn(set, ":");
        add_folder(f, set, n, "");
        set += n + (set[n] == ':');
    }
    add_user_folder(f);
    add_folder(f, MODELS_DIR, strlen(MODELS_DIR), "");
}

static bool is_model_folder(const char *path)
{
    char config[PATH_MAX];
    const int n = snprintf(config, sizeof config, "%s/config.json", path);
    struct stat st;
    return n > 0 && n < (int)sizeof config && stat(config, &st) == 0;
}

static bool is_there(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && (S_ISREG(st.st_mode) || is_model_folder(path));
}

static rag_err give(const char *found, char **path)
{
    *path = mem_strdup(found);
    return *path ? RAG_OK : RAG_FAIL(RAG_ENOMEM, "out of memory for a path");
}

rag_err catalog_find(const char *name, char **path)
{
    static const char *const endings[] = {ENDING, ""};
    struct folders *f = mem_alloc(sizeof *f);
    char at[PATH_MAX];
    if (!f)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a path");
    list_folders(f);
    rag_err err = RAG_ENOENT;
    if (is_there(name))
        err = give(name, path);
    for (size_t i = 0; i < f->n && err == RAG_ENOENT && !strchr(name, '/'); i++)
        for (int k = 0; k < 2 && err == RAG_ENOENT; k++) {
            const int n = snprintf(at, sizeof at, "%s/%s%s", f->paths[i], name, endings[k]);
            if (n > 0 && n < (int)sizeof at && is_there(at))
                err = give(at, path);
        }
    if (err == RAG_ENOENT)
        err =
            RAG_FAIL(RAG_ENOENT,
                     "no model \"%.100s\" here or in %.100s: import one from a folder or file "
                     "(rag model import PATH), or fetch it (rag model get NAME); rag model "
                     "list shows those there are",
                     name, f->paths[0]);
    mem_free(f);
    return err;
}

/* ---- listing ---- */

struct found {
    char **names; /* [n] */
    size_t n;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_known(const struct found *seen, const char *name)
{
    for (size_t i = 0; i < seen->n; i++)
        if (strcmp(seen->names[i], name) == 0)
            return true;
    return false;
}

static rag_err add_name(struct found *f, const char *name, size_t bytes)
{
    char **more = mem_resize(f->names, (f->n + 1) * sizeof *more);
    if (more)
        f->names = more;
    char *copy = more ? mem_alloc(bytes + 1) : NULL;
    if (!copy)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a name");
    memcpy(copy, name, bytes);
    copy[bytes] = '\0';
    f->names[f->n++] = copy;
    return RAG_OK;
}

/* The models of one folder: files that end in .kith, folders with a config.json. */
static rag_err read_folder(const char *folder, struct found *out)
{
    DIR *d = opendir(folder);
    rag_err err = RAG_OK;
    for (const struct dirent *e; d && !err && (e = readdir(d));) {
        char path[PATH_MAX];
        const size_t n = strlen(e->d_name);
        const bool file =
            n > strlen(ENDING) && strcmp(e->d_name + n - strlen(ENDING), ENDING) == 0;
        const int m = snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (e->d_name[0] == '.' || m <= 0 || m >= (int)sizeof path)
            continue;
        if (file)
            err = add_name(out, e->d_name, n - strlen(ENDING));
        else if (is_model_folder(path))
            err = add_name(out, e->d_name, n);
    }
    if (d)
        closedir(d);
    if (out->n > 1)
        qsort(out->names, out->n, sizeof *out->names, by_name);
    return err;
}

static void forget(struct found *f)
{
    for (size_t i = 0; i < f->n; i++)
        mem_free(f->names[i]);
    mem_free(f->names);
    *f = (struct found){0};
}

rag_err catalog_each(int (*each)(void *arg, const char *name, const char *path), void *arg)
{
    struct folders *f = mem_alloc(sizeof *f);
    struct found seen = {0}, here = {0};
    int stop = 0;
    if (!f)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a path");
    list_folders(f);
    rag_err err = RAG_OK;
    for (size_t i = 0; i < f->n && !err && !stop; i++) {
        err = read_folder(f->paths[i], &here);
        for (size_t k = 0; k < here.n && !err && !stop; k++) {
            char *path = NULL;
            if (is_known(&seen, here.names[k]))
                continue;
            err = add_name(&seen, here.names[k], strlen(here.names[k]));
            if (!err)
                err = catalog_find(here.names[k], &path);
            if (!err)
                stop = each(arg, here.names[k], path);
            mem_free(path);
        }
        forget(&here);
    }
    forget(&seen);
    mem_free(f);
    return err ? err : stop ? RAG_FAIL(RAG_ECANCELED, "stopped") : RAG_OK;
}

rag_err catalog_user_folder(char **path)
{
    struct folders *f = mem_zalloc(1, sizeof *f);
    if (!f)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a path");
    add_user_folder(f);
    rag_err err = f->n
                      ? RAG_OK
                      : RAG_FAIL(RAG_ENOENT, "neither XDG_DATA_HOME nor HOME says where models "
                                             "are to be kept");
    for (char *p = f->paths[0] + 1; !err; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        const char was = *p;
        *p = '\0';
        if (mkdir(f->paths[0], 0777) != 0 && errno != EEXIST)
            err = RAG_FAIL(RAG_EIO, "%s: %s", f->paths[0], strerror(errno));
        *p = was;
        if (was == '\0')
            break;
    }
    if (!err)
        err = give(f->paths[0], path);
    mem_free(f);
    return err;
}
