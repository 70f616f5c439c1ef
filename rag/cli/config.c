/* config.c - settings: environment, the store's file, the user's file, the user's keys.
 *
 * Place: rag/cli.  Invariant: what a store's file may set is listed, and no address, key or
 * program is among it: a store that came from elsewhere must not send the user's key away. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ann/base/error.h"
#include "ann/base/memory.h"
#include "ann/io/io.h"
#include "rag/cli/cli.h"

#define FILE_MAX_BYTES ((size_t)1 << 20)
#define ENTRIES_MAX    256
#define PATH_ROOM      4096

static const struct known {
    const char *name, *environment;
    bool in_store; /* a store's own file may set it */
    bool secret;
} known[] = {
    {"embedder", "RAG_EMBEDDER", false, false},
    {"chat.model", "RAG_CHAT_MODEL", false, false},
    {"rerank.model", "RAG_RERANK_MODEL", false, false},
    {"contextual.model", "RAG_CONTEXTUAL_MODEL", false, false},
    {"openai.base_url", "OPENAI_BASE_URL", false, false},
    {"openai.api_key", "OPENAI_API_KEY", false, true},
    {"ollama.host", "OLLAMA_HOST", false, false},
    {"llamacpp.api_key", "LLAMACPP_API_KEY", false, true},
    {"tei.api_key", "TEI_API_KEY", false, true},
    {"cohere.api_key", "COHERE_API_KEY", false, true},
    {"cohere.base_url", NULL, false, false},
    {"jina.api_key", "JINA_API_KEY", false, true},
    {"jina.base_url", NULL, false, false},
    {"api_key", "RAG_API_KEY", false, true},
    {"net.tries", "RAG_TRIES", false, false},
    {"net.timeout", "RAG_TIMEOUT", false, false},
    {"embed.batch", NULL, true, false},
    {"embed.prefix_document", NULL, true, false},
    {"embed.prefix_query", NULL, true, false},
    {"search.mode", NULL, true, false},
    {"search.k", NULL, true, false},
    {"search.share", NULL, true, false},
    {"search.budget", "RAG_BUDGET", true, false},
    {"search.log", NULL, false, false},
    {"index.scan_mb", NULL, true, false},
    {"chunk.tokens", "RAG_CHUNK_TOKENS", true, false},
    {"hub.url", "RAG_HUB", false, false},
    {"hub.token", "HF_TOKEN", false, true},
    {"ask.context_tokens", NULL, true, false},
    {"add.max_bytes", NULL, true, false},
};

struct entry {
    char *name, *value;
    const char *origin; /* a path */
};

static struct entry entries[ENTRIES_MAX]; /* the store's before the user's: the first counts */
static size_t nentries;
static const char *given_name, *given_value; /* by an option */
static char user_path[PATH_ROOM], keys_path[PATH_ROOM], store_path[PATH_ROOM];
static char origin_text[PATH_ROOM];

static const struct known *find_known(const char *name)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, name) == 0)
            return &known[i];
    return NULL;
}

bool config_known(const char *name)
{
    return find_known(name) != NULL;
}

bool config_secret(const char *name)
{
    const struct known *k = find_known(name);
    return k && k->secret;
}

/* ---- paths ---- */

static void in_config_home(char out[PATH_ROOM], const char *name)
{
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    out[0] = '\0';
    if (xdg && xdg[0] == '/')
        snprintf(out, PATH_ROOM, "%s/rag/%s", xdg, name);
    else if (home && *home)
        snprintf(out, PATH_ROOM, "%s/.config/rag/%s", home, name);
}

const char *config_user_path(void)
{
    const char *given = getenv("RAG_CONFIG");
    if (given && *given)
        snprintf(user_path, sizeof user_path, "%s", given);
    else
        in_config_home(user_path, "config");
    return user_path;
}

const char *config_keys_path(void)
{
    in_config_home(keys_path, "keys");
    return keys_path;
}

/* ---- reading ---- */

enum place { IN_STORE, IN_USER, IN_KEYS };

static rag_err bad_line(const char *path, size_t line, const char *why, const char *what)
{
    return (rag_err)ANN_FAIL((ann_err)RAG_EINVAL, "%s:%zu: %s: %s", path, line, why, what);
}

static char *trim(char *s)
{
    s += strspn(s, " \t\r");
    for (size_t n = strlen(s); n > 0 && strchr(" \t\r", s[n - 1]); n--)
        s[n - 1] = '\0';
    return s;
}

static rag_err add_entry(const char *path, size_t line, enum place where, const char *name,
                         const char *value)
{
    const struct known *k = find_known(name);
    if (!k)
        return bad_line(path, line, "no such setting", name);
    if (where == IN_STORE && !k->in_store)
        return bad_line(path, line, "a store may not set this (set it for the user)", name);
    if (where == IN_USER && k->secret)
        return bad_line(path, line, "a key does not belong here (rag keys set)", name);
    if (nentries == ENTRIES_MAX)
        return bad_line(path, line, "too many settings", name);
    entries[nentries] = (struct entry){mem_strdup(name), mem_strdup(value), path};
    return entries[nentries].name && entries[nentries++].value
               ? RAG_OK
               : (rag_err)ANN_FAIL(ANN_ENOMEM, "out of memory for settings");
}

/* One line; section is what the last [section] said. */
static rag_err read_line(const char *path, size_t line, enum place where, char *s,
                         char section[64])
{
    s = trim(s);
    if (!*s || *s == '#' || *s == ';')
        return RAG_OK;
    char *end = strchr(s, ']');
    if (*s == '[') {
        if (!end || end[1] || end - s > 60)
            return bad_line(path, line, "not [section]", s);
        snprintf(section, 64, "%.*s.", (int)(end - s) - 1, s + 1);
        return RAG_OK;
    }
    char *equals = strchr(s, '='), name[256];
    if (!equals)
        return bad_line(path, line, "not name = value", s);
    *equals = '\0';
    snprintf(name, sizeof name, "%s%s%s", section, trim(s), where == IN_KEYS ? ".api_key" : "");
    return add_entry(path, line, where, name, trim(equals + 1));
}

static rag_err read_file(const char *path, enum place where)
{
    char *text = NULL, section[64] = "";
    size_t bytes = 0, line = 0;
    struct stat st;
    if (!*path || stat(path, &st) != 0)
        return RAG_OK;
    if (where == IN_KEYS && (st.st_mode & 077) != 0)
        return (rag_err)ANN_FAIL((ann_err)RAG_EINVAL,
                                 "%s can be read by others (mode %03o): chmod 600 it", path,
                                 (unsigned)st.st_mode & 0777);
    rag_err err = (rag_err)io_slurp(path, FILE_MAX_BYTES, &text, &bytes);
    char *save = text;
    for (char *at = text; !err && at && *at;) {
        char *next = strchr(at, '\n');
        if (next)
            *next++ = '\0';
        err = read_line(path, ++line, where, at, section);
        at = next;
    }
    mem_free(save);
    return err;
}

rag_err config_load(const char *store_dir)
{
    snprintf(store_path, sizeof store_path, "%s/config", store_dir);
    rag_err err = read_file(store_path, IN_STORE);
    if (!err)
        err = read_file(config_user_path(), IN_USER);
    return err ? err : read_file(config_keys_path(), IN_KEYS);
}

/* ---- asking ---- */

void config_given(const char *name, const char *value)
{
    given_name = name;
    given_value = value;
}

static const char *look_up(const char *name, const char **origin)
{
    if (given_name && strcmp(given_name, name) == 0) {
        *origin = "an option";
        return given_value;
    }
    const struct known *k = find_known(name);
    const char *value = k && k->environment ? getenv(k->environment) : NULL;
    if (value && *value) {
        snprintf(origin_text, sizeof origin_text, "environment %s", k->environment);
        *origin = origin_text;
        return value;
    }
    for (size_t i = 0; i < nentries; i++)
        if (strcmp(entries[i].name, name) == 0) {
            *origin = entries[i].origin;
            return entries[i].value;
        }
    return NULL;
}

const char *config_get(void *arg, const char *name)
{
    const char *origin;
    (void)arg;
    return look_up(name, &origin);
}

const char *config_origin(const char *name)
{
    const char *origin = NULL;
    return look_up(name, &origin) ? origin : NULL;
}

void config_each(void (*each)(void *arg, const char *name, const char *value,
                              const char *origin),
                 void *arg)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const char *origin, *value = look_up(known[i].name, &origin);
        if (value)
            each(arg, known[i].name, known[i].secret ? "(a key)" : value, origin);
    }
}

/* ---- changing ---- */

static rag_err make_parent(const char *path)
{
    char folder[PATH_ROOM];
    snprintf(folder, sizeof folder, "%s", path);
    for (char *at = folder + 1; (at = strchr(at, '/')) != NULL; *at++ = '/') {
        *at = '\0';
        if (mkdir(folder, 0700) != 0 && errno != EEXIST)
            return (rag_err)ANN_FAIL(ANN_EIO, "%s: %s", folder, strerror(errno));
    }
    return RAG_OK;
}

/* True if the line of text at `at` sets name (sections are not written, only read). */
static bool sets(const char *at, size_t bytes, const char *name)
{
    const size_t n = strlen(name);
    size_t skip = 0;
    while (skip < bytes && (at[skip] == ' ' || at[skip] == '\t'))
        skip++;
    if (bytes - skip < n || memcmp(at + skip, name, n) != 0)
        return false;
    for (skip += n; skip < bytes && (at[skip] == ' ' || at[skip] == '\t');)
        skip++;
    return skip < bytes && at[skip] == '=';
}

/* The old text without name's line, and the new line before it (sections come after). */
static bool write_lines(FILE *f, const char *text, const char *name, const char *value)
{
    if (value)
        fprintf(f, "%s = %s\n", name, value);
    for (const char *at = text; at && *at;) {
        const size_t n = strcspn(at, "\n");
        if (!sets(at, n, name))
            fprintf(f, "%.*s\n", (int)n, at);
        at += n + (at[n] == '\n');
    }
    return !ferror(f);
}

rag_err config_set(const char *path, const char *name, const char *value)
{
    char *text = NULL, temp[PATH_ROOM + 8];
    size_t bytes = 0;
    struct stat st;
    if (value && strpbrk(value, "\r\n"))
        return (rag_err)ANN_FAIL(ANN_EINVAL, "a value of %s cannot hold a line feed", name);
    rag_err err = make_parent(path);
    if (!err && stat(path, &st) == 0)
        err = (rag_err)io_slurp(path, FILE_MAX_BYTES, &text, &bytes);
    snprintf(temp, sizeof temp, "%s.tmp", path);
    unlink(temp);
    const int fd = err ? -1 : open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!err && !f)
        err = (rag_err)ANN_FAIL(ANN_EIO, "%s: %s", temp, strerror(errno));
    if (f) {
        const bool whole =
            write_lines(f, text, name, value) && fflush(f) == 0 && fsync(fd) == 0;
        if ((fclose(f) != 0 || !whole || rename(temp, path) != 0) && !err)
            err = (rag_err)ANN_FAIL(ANN_EIO, "%s: %s", path, strerror(errno));
    }
    if (text)
        explicit_bzero(text, bytes);
    mem_free(text);
    return err;
}
