/* files.c - paths, folders, the cache; see files.h.
 *
 * Place: bench, a leaf. */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ann/base/error.h"
#include "bench/files.h"

bool files_join(char *out, const char *folder, const char *name)
{
    const int len = snprintf(out, FILES_PATH_MAX, "%s/%s", folder, name);
    if (len > 0 && len < FILES_PATH_MAX)
        return true;
    *out = 0;
    return false;
}

bool files_exist(const char *path)
{
    return !access(path, F_OK);
}

ann_err files_make_folder(const char *path)
{
    char part[FILES_PATH_MAX];
    const size_t len = strlen(path);
    if (len >= sizeof part)
        return ANN_FAIL(ANN_EINVAL, "%s: the path is too long", path);
    for (size_t i = 1; i <= len; i++) {
        if (path[i] && path[i] != '/')
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0777) && errno != EEXIST)
            return ANN_FAIL(ANN_EIO, "%s: %s", part, strerror(errno));
    }
    return ANN_OK;
}

ann_err files_cache(char *out, const char *name, bool make)
{
    char root[FILES_PATH_MAX], cache[FILES_PATH_MAX];
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    bool fits;
    if (xdg && *xdg == '/')
        fits = files_join(root, xdg, "kith");
    else if (home && *home == '/')
        fits = files_join(cache, home, ".cache") && files_join(root, cache, "kith");
    else
        return ANN_FAIL(ANN_ENOENT, "neither XDG_CACHE_HOME nor HOME is set to a folder");
    if (!fits || !files_join(out, root, name))
        return ANN_FAIL(ANN_EINVAL, "the path of the cache folder is too long");
    return make ? files_make_folder(out) : ANN_OK;
}

ann_err files_installed(char *path, const char *folder, const char *name)
{
    char exe[FILES_PATH_MAX], share[FILES_PATH_MAX], place[FILES_PATH_MAX];
    const ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);
    char *slash = NULL;
    if (len > 0) {
        exe[len] = 0;
        slash = strrchr(exe, '/');
    }
    if (slash)
        *slash = 0;
    const bool beside = slash && files_join(share, exe, "../share/kith");
    const char *const places[] = {beside ? share : PKGDATADIR, PKGDATADIR, BENCH_SOURCE};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (files_join(place, places[i], folder) && files_join(path, place, name) &&
            files_exist(path))
            return ANN_OK;
    return ANN_FAIL(ANN_ENOENT, "%s/%s is neither in %s nor in %s", folder, name, PKGDATADIR,
                    BENCH_SOURCE);
}

ann_err files_temporary(char *out)
{
    const char *tmp = getenv("TMPDIR");
    if (!files_join(out, tmp && *tmp ? tmp : "/tmp", "annbench-XXXXXX") || !mkdtemp(out))
        return ANN_FAIL(ANN_EIO, "no temporary folder: %s", strerror(errno));
    return ANN_OK;
}

void files_remove_folder(const char *path)
{
    char name[FILES_PATH_MAX];
    DIR *dir = opendir(path);
    if (!dir)
        return;
    for (const struct dirent *e; (e = readdir(dir));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") &&
            files_join(name, path, e->d_name))
            unlink(name);
    closedir(dir);
    rmdir(path);
}
