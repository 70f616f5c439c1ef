/* made.c - data sets that Python scripts make; see made.h.
 *
 * Place: bench.  Invariant: the environment counts as whole only while it holds a copy of the
 * very packages.txt that it was made from, and a set only once its meta.json is there. */
#include <config.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ann/base/error.h"
#include "bench/files.h"
#include "bench/made.h"
#include "bench/process.h"

#define PACKAGES_BYTES 4096

const struct made_set made_sets[] = {
    {"sift-wp", "837,618 x 128, l2, SIFT descriptors of photographs",
     "Debian's wallpaper packages through OpenCV", "make_pictures.py",
     "170 MB to fetch, 2 to 4 minutes, 2 GB of memory", false},
    {"minilm-384", "187,354 x 384, angular, short English texts",
     "WordNet, FOLDOC and fortunes through all-MiniLM-L6-v2", "make_sentences.py",
     "10 MB to fetch, 10 to 25 minutes; goes on where it was stopped", false},
    {"patches-768", "99,196 x 768, l2, pieces of photographs",
     "Debian's wallpaper packages through OpenCV", "make_pictures.py",
     "170 MB to fetch, about a minute", false},
    {"hog-324", "99,282 x 324, l2, gradient histograms of photographs",
     "Debian's wallpaper packages through OpenCV", "make_pictures.py",
     "170 MB to fetch, about a minute", false},
    {"words-ip", "100,000 x 100, ip, word vectors with their lengths", "wink-100",
     "make_words.py", "a few seconds once wink-100 is there", true},
    {"words-50", "100,000 x 50, l2, word vectors' principal components", "wink-100",
     "make_words.py", "a few seconds once wink-100 is there", true},
};
const size_t made_count = sizeof made_sets / sizeof *made_sets;

const struct made_set *made_find(const char *name)
{
    for (size_t i = 0; i < made_count; i++)
        if (!strcmp(made_sets[i].name, name))
            return &made_sets[i];
    return NULL;
}

/* The whole file as text; false: not there, or too long for PACKAGES_BYTES. */
static bool read_text(const char *path, char *out)
{
    FILE *f = fopen(path, "r");
    if (!f)
        return false;
    const size_t bytes = fread(out, 1, PACKAGES_BYTES, f);
    out[bytes < PACKAGES_BYTES ? bytes : 0] = 0;
    return !fclose(f) && bytes < PACKAGES_BYTES;
}

static bool same_text(const char *a, const char *b)
{
    char one[PACKAGES_BYTES], other[PACKAGES_BYTES];
    return read_text(a, one) && read_text(b, other) && !strcmp(one, other);
}

static ann_err run_step(const char *const argv[], const char *log, const char *complaint)
{
    int status;
    ann_err err = process_run(argv, NULL, log, &status);
    if (!err && status == 127)
        err = ANN_FAIL(ANN_ENOENT, "python3 is not installed; install it with: "
                                   "apt-get install python3-venv");
    else if (!err && status)
        err = ANN_FAIL(ANN_EBUSY, "%s; see %s", complaint, log);
    return err;
}

/* *python: of an environment of exactly the packages of packages.txt. */
static ann_err environment(char *python, bool quiet)
{
    char folder[FILES_PATH_MAX], cache[FILES_PATH_MAX], log[FILES_PATH_MAX];
    char packages[FILES_PATH_MAX], copy[FILES_PATH_MAX];
    ann_err err = files_installed(packages, "sets", "packages.txt");
    if (!err)
        err = files_cache(cache, "", true);
    if (!err)
        err = files_cache(folder, "sets", true);
    if (err)
        return err;
    if (!files_join(python, folder, "bin/python") || !files_join(log, cache, "sets.log") ||
        !files_join(copy, folder, "packages.txt"))
        return ANN_FAIL(ANN_EINVAL, "%s: too long", folder);
    if (files_exist(python) && same_text(packages, copy))
        return ANN_OK;
    if (!quiet)
        fprintf(stderr,
                "installing OpenCV, ONNX Runtime and a text model into a private Python "
                "environment (240 MB) ...\n");
    unlink(log);
    unlink(copy);
    const char *const venv[] = {"python3", "-m", "venv", folder, NULL};
    err = run_step(venv, log, "no Python environment could be made; install python3-venv");
    if (err)
        return err;
    const char *const pip[] = {python,      "-m",
                               "pip",       "install",
                               "--quiet",   "--disable-pip-version-check",
                               "--no-deps", "--only-binary=:all:",
                               "-r",        packages,
                               NULL};
    err = run_step(pip, log, "pip could not fetch the packages (is there a network?)");
    if (err)
        return err;
    const char *const mark[] = {"cp", packages, copy, NULL};
    return run_step(mark, log, "the environment could not be marked as whole");
}

ann_err made_prepare(const struct made_set *set, const char *folder, const char *wink,
                     bool quiet)
{
    char python[FILES_PATH_MAX], script[FILES_PATH_MAX], log[FILES_PATH_MAX];
    int status;
    ann_err err = files_installed(script, "sets", set->script);
    if (!err)
        err = files_make_folder(folder);
    if (!err)
        err = environment(python, quiet);
    if (err)
        return err;
    if (!files_join(log, folder, "make.log"))
        return ANN_FAIL(ANN_EINVAL, "%s: too long", folder);
    if (!quiet)
        fprintf(stderr, "making %s: %s ...\n", set->name, set->cost);
    /* -B: nothing is written beside the scripts. */
    const char *const argv[] = {
        python, "-B", script, set->name, folder, set->words ? wink : NULL, NULL};
    err = process_run(argv, NULL, quiet ? log : NULL, &status);
    if (!err && status)
        err = ANN_FAIL(ANN_EIO, "%s could not be made (exit status %d)%s%s", set->name, status,
                       quiet ? "; see " : "", quiet ? log : "");
    if (!err)
        unlink(log);
    return err;
}
