/* hub.c - a model from a hub: into a hidden folder, checked, then renamed.  See hub.h.
 *
 * Place: rag/embed.  FOLDER/.NAME.part is locked while it is filled; what lies in it after
 * prune has the hash it should have.  A folder NAME that is there but not whole is mended file
 * by file, and nothing else in it is touched. */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "rag/digest.h"
#include "rag/embed/hub.h"
#include "rag/error.h"

#define NAME_MOST 96
#define PATH_MOST 240
#define DEPTH     8
#define FILE_MOST ((uint64_t)8 << 30) /* of one whose size is not known */
#define URL_MOST  2048
#define BLOCK     ((size_t)64 << 10)

struct get {
    struct net *n;
    const struct hub_wish *w;
    const struct hub_file *files; /* [nfiles] */
    size_t nfiles;
    bool *have;                   /* [nfiles]: right where it should be in the end */
    const char *now;              /* the file that is being fetched */
    char repo[2 * NAME_MOST + 2]; /* OWNER/NAME */
    char revision[NAME_MOST + 1];
    char name[2 * NAME_MOST + 3];       /* of the folder */
    char dir[PATH_MAX], part[PATH_MAX]; /* where it ends, where it grows */
};

static rag_err fail_system(const char *path)
{
    return RAG_FAIL(errno == ENOMEM ? RAG_ENOMEM : RAG_EIO, "%s: %s", path, strerror(errno));
}

static rag_err join(char out[PATH_MAX], const char *folder, const char *name)
{
    const int n = snprintf(out, PATH_MAX, "%s/%s", folder, name);
    return n > 0 && n < PATH_MAX ? RAG_OK : RAG_FAIL(RAG_EINVAL, "%.200s...: too long", folder);
}

/* ---- what is asked for ---- */

/* OWNER or NAME [n]: nothing that a path or a url could take for something else. */
static bool is_word(const char *s, size_t n)
{
    if (n == 0 || n > NAME_MOST || s[0] == '.' || s[0] == '-')
        return false;
    for (size_t i = 0; i < n; i++)
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
              (s[i] >= '0' && s[i] <= '9') || s[i] == '.' || s[i] == '_' || s[i] == '-'))
            return false;
    return true;
}

/* Words with slashes between them, none of them hidden or "..". */
static bool is_path(const char *path)
{
    size_t depth = 1;
    if (strlen(path) > PATH_MOST)
        return false;
    for (;; depth++) {
        const size_t n = strcspn(path, "/");
        if (!is_word(path, n) || depth > DEPTH)
            return false;
        if (!path[n])
            return true;
        path += n + 1;
    }
}

static bool is_hash(const char *hex)
{
    const size_t n = strspn(hex, "0123456789abcdefABCDEF");
    return n == 2 * (size_t)DIGEST_BYTES && !hex[n];
}

static rag_err check_pin(const struct hub_file *f)
{
    if (!is_path(f->path))
        return RAG_FAIL(RAG_EINVAL, "\"%.80s\" is not a file's path in a model's repository",
                        f->path);
    if (!is_hash(f->sha256))
        return RAG_FAIL(RAG_EINVAL, "%s: \"%.80s\" is not a sha256 of 64 hexadecimal digits",
                        f->path, f->sha256);
    return RAG_OK;
}

rag_err hub_pin(char *spec, struct hub_file *out)
{
    char *sign = strrchr(spec, '=');
    if (!sign)
        return RAG_FAIL(RAG_EINVAL, "\"%.80s\" is not FILE=SHA256", spec);
    *sign = '\0';
    const struct hub_file f = {spec, 0, sign + 1};
    const rag_err err = check_pin(&f);
    if (!err)
        *out = f;
    return err;
}

static rag_err fail_unknown(const char *name)
{
    char known[400];
    size_t n, used = 0;
    const struct hub_model *m = hub_models(&n);
    known[0] = '\0';
    for (size_t i = 0; i < n && used < sizeof known; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "",
                                 m[i].name);
    return RAG_FAIL(RAG_ENOENT,
                    "no model \"%.200s\" is known here; known are %s; any other by OWNER/NAME "
                    "and --pin FILE=HEX for each of its files",
                    name, known);
}

/* OWNER/NAME[@REVISION] */
static rag_err read_name(struct get *g, const char *name)
{
    const char *sign = strchr(name, '@');
    const size_t n = sign ? (size_t)(sign - name) : strlen(name);
    const char *slash = memchr(name, '/', n), *revision = sign ? sign + 1 : "main";
    if (!slash)
        return fail_unknown(name);
    const size_t owner = (size_t)(slash - name);
    if (!is_word(name, owner) || !is_word(slash + 1, n - owner - 1) || !is_path(revision) ||
        strlen(revision) > NAME_MOST)
        return RAG_FAIL(RAG_EINVAL, "\"%.200s\" is not OWNER/NAME[@REVISION]", name);
    snprintf(g->repo, sizeof g->repo, "%.*s", (int)n, name);
    snprintf(g->revision, sizeof g->revision, "%s", revision);
    snprintf(g->name, sizeof g->name, "%.*s--%.*s", (int)owner, name, (int)(n - owner - 1),
             slash + 1);
    return RAG_OK;
}

static rag_err read_pins(struct get *g)
{
    rag_err err = RAG_OK;
    for (size_t i = 0; i < g->w->npins && !err; i++)
        err = check_pin(&g->w->pins[i]);
    g->files = g->w->pins;
    g->nfiles = g->w->npins;
    if (!err && g->nfiles == 0)
        err = RAG_FAIL(RAG_EINVAL,
                       "the hashes of %s are not known here; give one for each file to fetch: "
                       "--pin config.json=HEX --pin tokenizer.json=HEX --pin "
                       "model.safetensors=HEX (sha256sum prints them)",
                       g->repo);
    return err;
}

static rag_err read_wish(struct get *g)
{
    const struct hub_model *m = hub_find(g->w->name);
    if (!m || (g->w->npins > 0 && strchr(g->w->name, '/'))) {
        const rag_err err = read_name(g, g->w->name);
        return err ? err : read_pins(g);
    }
    if (g->w->npins > 0)
        return RAG_FAIL(RAG_EINVAL, "the hashes of %s are known here; other ones go with %s",
                        m->name, m->repo);
    snprintf(g->repo, sizeof g->repo, "%s", m->repo);
    snprintf(g->revision, sizeof g->revision, "%s", m->revision);
    snprintf(g->name, sizeof g->name, "%s", m->name);
    g->files = m->files;
    g->nfiles = m->n;
    return RAG_OK;
}

/* ---- what is there ---- */

/* True if the file at path has the bytes that f says. */
static bool is_right(const char *path, const struct hub_file *f)
{
    char hex[2 * DIGEST_BYTES + 1];
    struct digest_sum sum;
    struct stat st;
    ssize_t got = -1;
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    char *block = mem_alloc(BLOCK);
    digest_begin(&sum);
    if (fd >= 0 && block && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
        (f->bytes == 0 || (uint64_t)st.st_size == f->bytes))
        while ((got = read(fd, block, BLOCK)) > 0 || (got < 0 && errno == EINTR))
            digest_add(&sum, block, got > 0 ? (size_t)got : 0);
    mem_free(block);
    if (fd >= 0)
        close(fd);
    const struct digest d = digest_end(&sum);
    digest_hex(&d, DIGEST_BYTES, hex);
    return got == 0 && strcasecmp(hex, f->sha256) == 0;
}

static size_t look_in_dir(struct get *g)
{
    char path[PATH_MAX];
    size_t right = 0;
    for (size_t i = 0; i < g->nfiles; i++) {
        g->have[i] =
            join(path, g->dir, g->files[i].path) == RAG_OK && is_right(path, &g->files[i]);
        right += g->have[i];
    }
    return right;
}

static const struct hub_file *wanted(const struct get *g, const char *path)
{
    for (size_t i = 0; i < g->nfiles; i++)
        if (strcmp(g->files[i].path, path) == 0 && !g->have[i])
            return &g->files[i];
    return NULL;
}

/* Removes from part/`in` ("": part itself) what is not wanted, or not right: halves of a killed
 * process, files of other pins. */
static void prune(const struct get *g, const char *in, unsigned depth)
{
    char folder[PATH_MAX], path[PATH_MAX], name[PATH_MAX];
    struct stat st;
    if (join(folder, g->part, in))
        return;
    DIR *d = opendir(folder);
    for (const struct dirent *e; d && (e = readdir(d)) != NULL;) {
        const int n = snprintf(name, sizeof name, "%s%s%s", in, *in ? "/" : "", e->d_name);
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || n >= PATH_MAX ||
            join(path, g->part, name) || lstat(path, &st) != 0)
            continue;
        if (S_ISDIR(st.st_mode)) {
            if (depth < DEPTH)
                prune(g, name, depth + 1);
            (void)rmdir(path); /* unless something is left in it */
            continue;
        }
        const struct hub_file *f = wanted(g, name);
        if (!f || !S_ISREG(st.st_mode) || !is_right(path, f))
            (void)unlink(path);
    }
    if (d)
        closedir(d);
}

/* ---- the folders ---- */

/* All folders above the last name of path. */
static rag_err make_folders(const char *path)
{
    char part[PATH_MAX];
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return fail_system(part);
    }
    return RAG_OK;
}

/* Makes g->part and locks it; *lock is -1 after an error. */
static rag_err lock_part(const struct get *g, int *lock)
{
    struct stat mine, there;
    for (int i = 0; i < 3; i++) {
        if (mkdir(g->part, 0777) != 0 && errno != EEXIST)
            return fail_system(g->part);
        *lock = open(g->part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (*lock >= 0 && flock(*lock, LOCK_EX | LOCK_NB) == 0 && fstat(*lock, &mine) == 0 &&
            stat(g->part, &there) == 0 && mine.st_ino == there.st_ino)
            return RAG_OK;
        const rag_err err = *lock >= 0 && errno == EWOULDBLOCK
                                ? RAG_FAIL(RAG_EBUSY, "another process is fetching %s", g->name)
                                : fail_system(g->part);
        if (*lock >= 0)
            close(*lock);
        *lock = -1;
        if (err == RAG_EBUSY || i == 2)
            return err;
    }
    return RAG_OK;
}

static void sync_folder(const char *path)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd); /* some file systems cannot; the file is in place all the same */
        close(fd);
    }
}

/* All of it is there: gives it its name. */
static rag_err publish(struct get *g)
{
    char from[PATH_MAX], to[PATH_MAX];
    struct stat st;
    rag_err err = RAG_OK;
    if (stat(g->dir, &st) != 0) {
        if (rename(g->part, g->dir) != 0)
            err = fail_system(g->dir);
        sync_folder(g->w->folder);
        return err;
    }
    for (size_t i = 0; i < g->nfiles && !err; i++) {
        if (g->have[i])
            continue;
        err = join(from, g->part, g->files[i].path);
        if (!err)
            err = join(to, g->dir, g->files[i].path);
        if (!err)
            err = make_folders(to);
        if (!err && rename(from, to) != 0)
            err = fail_system(to);
        g->have[i] = !err;
    }
    sync_folder(g->dir);
    prune(g, "", 0);
    (void)rmdir(g->part);
    return err;
}

/* ---- fetching ---- */

static bool encode(const char *s, const char *plain, char *out, size_t room)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = 0;
    for (; *s && n + 4 < room; s++) {
        const unsigned char c = (unsigned char)*s;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            strchr(plain, c)) {
            out[n++] = (char)c;
        } else {
            out[n++] = '%';
            out[n++] = digits[c >> 4];
            out[n++] = digits[c & 15];
        }
    }
    out[n] = '\0';
    return !*s;
}

static rag_err make_url(const struct get *g, const char *path, char url[URL_MOST])
{
    char revision[3 * NAME_MOST + 8], file[3 * PATH_MOST + 8];
    const char *base = g->w->base_url ? g->w->base_url : HUB_URL;
    size_t n = strlen(base);
    while (n > 0 && base[n - 1] == '/')
        n--;
    const bool fits = encode(g->revision, "-._", revision, sizeof revision) &&
                      encode(path, "-._/", file, sizeof file) && n < 1000;
    const int used = fits ? snprintf(url, URL_MOST, "%.*s/%s/resolve/%s/%s", (int)n, base,
                                     g->repo, revision, file)
                          : -1;
    return used > 0 && used < URL_MOST ? RAG_OK
                                       : RAG_FAIL(RAG_EINVAL, "%.200s...: too long", base);
}

static int on_progress(void *arg, uint64_t done, uint64_t total)
{
    const struct get *g = arg;
    return g->w->on_progress ? g->w->on_progress(g->w->arg, g->now, done, total) : 0;
}

static rag_err fetch(struct get *g, const struct hub_file *f)
{
    char url[URL_MOST], path[PATH_MAX];
    rag_err err = join(path, g->part, f->path);
    if (err)
        return err;
    if (access(path, F_OK) == 0) /* prune left it */
        return RAG_OK;
    err = make_url(g, f->path, url);
    if (!err)
        err = make_folders(path);
    if (err)
        return err;
    g->now = f->path;
    const struct net_download d = {.url = url,
                                   .path = path,
                                   .sha256 = f->sha256,
                                   .key = g->w->token,
                                   .bytes = f->bytes,
                                   .max_bytes = FILE_MOST,
                                   .on_progress = on_progress,
                                   .arg = g};
    err = net_download(g->n, &d);
    return err ? rag_prefix(err, f->path) : RAG_OK;
}

static rag_err fill(struct get *g)
{
    int lock = -1;
    rag_err err = make_folders(g->part);
    if (!err)
        err = lock_part(g, &lock);
    if (err)
        return err;
    if (look_in_dir(g) < g->nfiles) { /* who had the lock may have brought it */
        prune(g, "", 0);
        for (size_t i = 0; i < g->nfiles && !err; i++)
            if (!g->have[i])
                err = fetch(g, &g->files[i]);
        if (!err)
            err = publish(g);
    } else {
        (void)rmdir(g->part);
    }
    close(lock);
    return err ? rag_prefix(err, g->name) : RAG_OK;
}

rag_err hub_get(struct net *n, const struct hub_wish *w, char **dir)
{
    char part[2 * NAME_MOST + 16];
    char *kept = NULL;
    struct get *g = mem_zalloc(1, sizeof *g);
    if (!g)
        return RAG_FAIL(RAG_ENOMEM, "out of memory: %zu bytes", sizeof *g);
    g->n = n;
    g->w = w;
    rag_err err = read_wish(g);
    snprintf(part, sizeof part, ".%s.part", g->name);
    if (!err)
        err = join(g->dir, w->folder, g->name);
    if (!err)
        err = join(g->part, w->folder, part);
    if (err)
        goto done;
    g->have = mem_zalloc(g->nfiles, sizeof *g->have);
    kept = mem_strdup(g->dir);
    if (!g->have || !kept)
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for the files of %s", g->name);
    else if (look_in_dir(g) < g->nfiles)
        err = fill(g);
    if (!err && dir) {
        *dir = kept;
        kept = NULL;
    }
done:
    mem_free(kept);
    mem_free(g->have);
    mem_free(g);
    return err;
}
