/* walk.c - the files below a folder, but for what is to be left alone.
 *
 * Place: rag/text.  Rules are git's (gitignore(5)), from .ragignore files and the caller's
 * globs; the last rule that fits decides.  Invariant: nothing outside of the root is told as
 * taken; links to folders are not followed, so the walk ends. */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "rag/error.h"
#include "rag/text/text.h"

#define DEPTH_MAX       64
#define BYTES_DEFAULT   ((size_t)32 << 20)
#define RULES_MAX_BYTES ((size_t)1 << 20)
#define PATTERN_MAX     1024

const char *text_skip_reason(enum text_skip why)
{
    switch (why) {
    case TEXT_TAKEN:
        return "taken";
    case TEXT_IGNORED:
        return "ignored by a rule";
    case TEXT_EXCLUDED:
        return "excluded";
    case TEXT_OUTSIDE:
        return "a link that leaves the folder";
    case TEXT_LINKED:
        return "a link to a folder, or to a file that is read anyway";
    case TEXT_TOO_LARGE:
        return "larger than the limit";
    case TEXT_NOT_TEXT:
        return "not a regular file";
    case TEXT_UNREADABLE:
        return "cannot be read";
    case TEXT_TOO_DEEP:
        return "nested too deep";
    }
    return "skipped";
}

/* ---- patterns ---- */

/* One step of a pattern: where in the path a match may stand after it, from where it may stand
 * before.  Sets of places instead of tries: no pattern takes longer than its length times the
 * path's. */
struct places {
    unsigned char *now, *next; /* [n + 1] */
    size_t n;
    const char *path;
};

static void step_char(struct places *p, char c, bool any)
{
    for (size_t i = 0; i < p->n; i++)
        p->next[i + 1] = p->now[i] && (any ? p->path[i] != '/' : p->path[i] == c);
}

static void step_class(struct places *p, const char *class, size_t bytes)
{
    const bool negated = bytes > 0 && (*class == '!' || *class == '^');
    for (size_t i = 0; i < p->n; i++) {
        bool in = false;
        for (size_t k = negated; k < bytes; k++) {
            const unsigned char from = (unsigned char)class[k];
            const bool range = k + 2 < bytes && class[k + 1] == '-';
            const unsigned char to = range ? (unsigned char)class[k + 2] : from;
            in |= (unsigned char)p->path[i] >= from && (unsigned char)p->path[i] <= to;
            k += range ? 2 : 0;
        }
        p->next[i + 1] = p->now[i] && in != negated && p->path[i] != '/';
    }
}

/* A star: within a name; two of them: across slashes; with one behind: whole folders. */
static void step_star(struct places *p, bool across, bool folders)
{
    bool open = false;
    for (size_t i = 0; i <= p->n; i++) {
        open = (open && (across || p->path[i - 1] != '/')) || p->now[i];
        p->next[i] = folders ? (p->now[i] || (open && i > 0 && p->path[i - 1] == '/')) : open;
    }
}

static size_t step(struct places *p, const char *pattern)
{
    memset(p->next, 0, p->n + 1);
    const char *end = *pattern == '[' ? strchr(pattern + 2 - (pattern[1] == '\0'), ']') : NULL;
    size_t used = 1;
    if (pattern[0] == '*' && pattern[1] == '*') {
        used = strspn(pattern, "*");
        const bool folders = pattern[used] == '/';
        step_star(p, true, folders);
        used += folders;
    } else if (*pattern == '*') {
        step_star(p, false, false);
    } else if (*pattern == '?') {
        step_char(p, 0, true);
    } else if (end) {
        step_class(p, pattern + 1, (size_t)(end - pattern) - 1);
        used = (size_t)(end - pattern) + 1;
    } else {
        const bool quoted = *pattern == '\\' && pattern[1];
        step_char(p, pattern[quoted], false);
        used += quoted;
    }
    unsigned char *was = p->now;
    p->now = p->next;
    p->next = was;
    return used;
}

static bool fits(const char *pattern, const char *path)
{
    struct places p = {.n = strlen(path), .path = path};
    unsigned char held[2][PATH_MAX + 1];
    if (p.n > PATH_MAX || strlen(pattern) > PATTERN_MAX)
        return false;
    p.now = held[0];
    p.next = held[1];
    memset(p.now, 0, p.n + 1);
    p.now[0] = 1;
    while (*pattern)
        pattern += step(&p, pattern);
    return p.now[p.n] != 0;
}

bool text_glob(const char *pattern, const char *path)
{
    const char *slash = strchr(pattern, '/');
    if (slash)
        return fits(pattern + (*pattern == '/'), path);
    if (fits(pattern, path))
        return true;
    for (const char *at = path; (at = strchr(at, '/')) != NULL;)
        if (fits(pattern, ++at))
            return true;
    return false;
}

/* ---- rules ---- */

struct rule {
    char *pattern;
    size_t base; /* bytes of the path below the root that its file's folder takes */
    bool negated, folders_only;
};

struct walk {
    const struct text_walking *how;
    text_walk_fn each;
    void *arg;
    const char *root;
    char *real_root;
    struct rule *rules; /* [n]; those of deeper folders behind */
    size_t n, room;
};

static rag_err add_rule(struct walk *w, char *line, size_t base)
{
    struct rule r = {.base = base};
    size_t n = strlen(line);
    while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\r' || line[n - 1] == '\t') &&
           !(n > 1 && line[n - 2] == '\\'))
        line[--n] = '\0';
    if (*line == '#' || n == 0)
        return RAG_OK;
    if (*line == '!') {
        r.negated = true;
        line++;
        n--;
    }
    if (n > 0 && line[n - 1] == '/') {
        r.folders_only = true;
        line[--n] = '\0';
    }
    if (w->n == w->room) {
        const size_t room = w->room ? 2 * w->room : 32;
        struct rule *more = mem_resize(w->rules, room * sizeof *more);
        if (!more)
            return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu rules", room);
        w->rules = more;
        w->room = room;
    }
    r.pattern = mem_strdup(line);
    if (!r.pattern)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a rule");
    w->rules[w->n++] = r;
    return RAG_OK;
}

static rag_err read_rules(struct walk *w, const char *folder, size_t base)
{
    char path[PATH_MAX], *text = NULL;
    size_t bytes = 0;
    if (snprintf(path, sizeof path, "%s/.ragignore", folder) >= (int)sizeof path)
        return RAG_OK;
    rag_err err = text_load(path, RULES_MAX_BYTES, &text, &bytes);
    if (err == RAG_ENOENT)
        return RAG_OK;
    for (char *at = text; !err && at;) {
        char *lf = strchr(at, '\n');
        if (lf)
            *lf++ = '\0';
        err = add_rule(w, at, base);
        at = lf;
    }
    mem_free(text);
    return err;
}

static void drop_rules(struct walk *w, size_t keep)
{
    while (w->n > keep)
        mem_free(w->rules[--w->n].pattern);
}

/* By the last rule that fits; below: the path from the root. */
static bool is_ignored(const struct walk *w, const char *below, bool folder)
{
    for (size_t i = w->n; i-- > 0;) {
        const struct rule *r = &w->rules[i];
        if (r->folders_only && !folder)
            continue;
        const char *inside = below + r->base;
        const char *name = strrchr(inside, '/');
        /* A pattern without a slash is one of names; in a walk each level is looked at itself.
         */
        const bool fit = strchr(r->pattern, '/') ? text_glob(r->pattern, inside)
                                                 : fits(r->pattern, name ? name + 1 : inside);
        if (fit)
            return !r->negated;
    }
    return false;
}

static bool any_fits(const char *const *globs, const char *below)
{
    for (; globs && *globs; globs++)
        if (text_glob(*globs, below))
            return true;
    return false;
}

/* ---- files ---- */

static struct text_stat stat_of(const struct stat *st)
{
    return (struct text_stat){.bytes = (uint64_t)st->st_size,
                              .inode = (uint64_t)st->st_ino,
                              .mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 +
                                          st->st_mtim.tv_nsec};
}

static rag_err tell(const struct walk *w, const char *path, const char *below,
                    enum text_skip why)
{
    return w->each(w->arg, path, below, why, NULL);
}

/* Where a link leads: outside, or to what is walked over anyway. */
static enum text_skip link_of(const struct walk *w, const char *path)
{
    char real[PATH_MAX];
    const size_t n = strlen(w->real_root);
    if (!realpath(path, real))
        return TEXT_UNREADABLE;
    const bool inside = strncmp(real, w->real_root, n) == 0 &&
                        (real[n] == '/' || real[n] == '\0' || strcmp(w->real_root, "/") == 0);
    return inside ? TEXT_LINKED : TEXT_OUTSIDE;
}

static rag_err visit_file(struct walk *w, const char *path, const char *below,
                          const struct stat *st)
{
    const size_t most = w->how->max_bytes ? w->how->max_bytes : BYTES_DEFAULT;
    if (!S_ISREG(st->st_mode))
        return tell(w, path, below, TEXT_NOT_TEXT);
    if (any_fits(w->how->exclude, below) ||
        (w->how->include && *w->how->include && !any_fits(w->how->include, below)))
        return tell(w, path, below, TEXT_EXCLUDED);
    if ((uint64_t)st->st_size > most)
        return tell(w, path, below, TEXT_TOO_LARGE);
    if (access(path, R_OK) != 0)
        return tell(w, path, below, TEXT_UNREADABLE);
    const struct text_stat s = stat_of(st);
    return w->each(w->arg, path, below, TEXT_TAKEN, &s);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static rag_err list_names(const char *folder, char ***names, size_t *n)
{
    DIR *d = opendir(folder);
    size_t room = 0;
    rag_err err = RAG_OK;
    *names = NULL;
    *n = 0;
    if (!d)
        return RAG_FAIL(RAG_EIO, "%s: %s", folder, strerror(errno));
    for (struct dirent *e; !err && (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (*n == room) {
            room = room ? 2 * room : 64;
            char **more = mem_resize(*names, room * sizeof *more);
            if (!more) {
                err = RAG_FAIL(RAG_ENOMEM, "out of memory for %zu names", room);
                break;
            }
            *names = more;
        }
        if (!((*names)[*n] = mem_strdup(e->d_name)))
            err = RAG_FAIL(RAG_ENOMEM, "out of memory for a name");
        else
            ++*n;
    }
    closedir(d);
    if (*n)
        qsort(*names, *n, sizeof **names, by_name);
    return err;
}

static rag_err walk_folder(struct walk *w, const char *folder, const char *below,
                           unsigned depth);

static rag_err visit(struct walk *w, const char *path, const char *below, const char *name,
                     unsigned depth)
{
    struct stat st;
    if (strcmp(name, ".git") == 0 || strcmp(name, ".rag") == 0 ||
        strcmp(name, ".ragignore") == 0)
        return RAG_OK;
    if (lstat(path, &st) != 0)
        return tell(w, path, below, TEXT_UNREADABLE);
    const bool folder = S_ISDIR(st.st_mode);
    if (name[0] == '.' && !w->how->hidden)
        return RAG_OK; /* as ls does: without a word */
    if (is_ignored(w, below, folder))
        return tell(w, path, below, TEXT_IGNORED);
    if (S_ISLNK(st.st_mode))
        return tell(w, path, below, link_of(w, path));
    if (!folder)
        return visit_file(w, path, below, &st);
    if (any_fits(w->how->exclude, below))
        return tell(w, path, below, TEXT_EXCLUDED);
    return depth >= DEPTH_MAX ? tell(w, path, below, TEXT_TOO_DEEP)
                              : walk_folder(w, path, below, depth + 1);
}

static rag_err walk_folder(struct walk *w, const char *folder, const char *below,
                           unsigned depth)
{
    char **names = NULL;
    size_t n = 0;
    const size_t rules = w->n;
    rag_err err = list_names(folder, &names, &n);
    if (err == RAG_EIO && depth > 0)
        err = tell(w, folder, below, TEXT_UNREADABLE);
    else if (!err)
        err = read_rules(w, folder, *below ? strlen(below) + 1 : 0);
    const char *slash = folder[strlen(folder) - 1] == '/' ? "" : "/";
    for (size_t i = 0; i < n && !err; i++) {
        char *path = NULL;
        const size_t room = strlen(folder) + strlen(names[i]) + 2;
        const size_t inside = strlen(below) + strlen(names[i]) + 2;
        path = mem_alloc(room + inside);
        if (!path) {
            err = RAG_FAIL(RAG_ENOMEM, "out of memory for a path");
            break;
        }
        snprintf(path, room, "%s%s%s", folder, slash, names[i]);
        snprintf(path + room, inside, "%s%s%s", below, *below ? "/" : "", names[i]);
        err = visit(w, path, path + room, names[i], depth);
        mem_free(path);
    }
    for (size_t i = 0; i < n; i++)
        mem_free(names[i]);
    mem_free(names);
    drop_rules(w, rules);
    return err;
}

rag_err text_walk(const char *root, const struct text_walking *how, text_walk_fn each,
                  void *arg)
{
    static const struct text_walking plain = {0};
    struct walk w = {.how = how ? how : &plain, .each = each, .arg = arg, .root = root};
    struct stat st;
    char real[PATH_MAX];
    if (stat(root, &st) != 0)
        return RAG_FAIL(errno == ENOENT ? RAG_ENOENT : RAG_EIO, "%s: %s", root,
                        strerror(errno));
    if (!S_ISDIR(st.st_mode)) {
        const char *slash = strrchr(root, '/');
        return visit_file(&w, root, slash ? slash + 1 : root, &st);
    }
    if (!realpath(root, real))
        return RAG_FAIL(RAG_EIO, "%s: %s", root, strerror(errno));
    w.real_root = real;
    rag_err err = walk_folder(&w, root, "", 0);
    drop_rules(&w, 0);
    mem_free(w.rules);
    return err;
}
