/* read.c - from a file's bytes to documents: which format, and whose reader.
 *
 * Place: rag/text.  Invariant: a file is read once, up to a cap, and only if it is a regular
 * one. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "rag/error.h"
#include "rag/text/text.h"

#define BYTES_DEFAULT ((size_t)32 << 20)

/* ---- formats ---- */

static const char *const names[] = {"auto", "plain", "source", "markdown", "html",
                                    "pdf",  "jsonl", "csv",    "tsv",      "binary"};

static const struct {
    const char *end;
    enum text_format format;
} ends[] = {{"md", TEXT_MARKDOWN},  {"markdown", TEXT_MARKDOWN}, {"mkd", TEXT_MARKDOWN},
            {"mdx", TEXT_MARKDOWN}, {"html", TEXT_HTML},         {"htm", TEXT_HTML},
            {"xhtml", TEXT_HTML},   {"pdf", TEXT_PDF},           {"jsonl", TEXT_JSONL},
            {"ndjson", TEXT_JSONL}, {"csv", TEXT_CSV},           {"tsv", TEXT_TSV},
            {"txt", TEXT_PLAIN},    {"text", TEXT_PLAIN},        {"rst", TEXT_PLAIN},
            {"org", TEXT_PLAIN},    {"adoc", TEXT_PLAIN},        {"tex", TEXT_PLAIN},
            {"log", TEXT_PLAIN},    {"c", TEXT_SOURCE},          {"h", TEXT_SOURCE},
            {"cc", TEXT_SOURCE},    {"cpp", TEXT_SOURCE},        {"hpp", TEXT_SOURCE},
            {"py", TEXT_SOURCE},    {"rs", TEXT_SOURCE},         {"go", TEXT_SOURCE},
            {"js", TEXT_SOURCE},    {"ts", TEXT_SOURCE},         {"tsx", TEXT_SOURCE},
            {"jsx", TEXT_SOURCE},   {"java", TEXT_SOURCE},       {"kt", TEXT_SOURCE},
            {"swift", TEXT_SOURCE}, {"rb", TEXT_SOURCE},         {"pl", TEXT_SOURCE},
            {"php", TEXT_SOURCE},   {"sh", TEXT_SOURCE},         {"lua", TEXT_SOURCE},
            {"r", TEXT_SOURCE},     {"sql", TEXT_SOURCE},        {"css", TEXT_SOURCE},
            {"json", TEXT_SOURCE},  {"yaml", TEXT_SOURCE},       {"yml", TEXT_SOURCE},
            {"toml", TEXT_SOURCE},  {"ini", TEXT_SOURCE},        {"xml", TEXT_SOURCE},
            {"mk", TEXT_SOURCE},    {"am", TEXT_SOURCE},         {"ac", TEXT_SOURCE},
            {"cmake", TEXT_SOURCE}, {"cs", TEXT_SOURCE},         {"scala", TEXT_SOURCE},
            {"hs", TEXT_SOURCE},    {"ml", TEXT_SOURCE},         {"el", TEXT_SOURCE}};

const char *text_format_name(enum text_format f)
{
    return (size_t)f < sizeof names / sizeof *names ? names[f] : "binary";
}

enum text_format text_format_named(const char *name)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return (enum text_format)i;
    if (strcmp(name, "text") == 0)
        return TEXT_PLAIN;
    return TEXT_BINARY;
}

static bool begins(const char *s, size_t bytes, const char *with)
{
    return bytes >= strlen(with) && strncasecmp(s, with, strlen(with)) == 0;
}

enum text_format text_detect(const char *name, const void *raw, size_t bytes)
{
    const char *slash = name ? strrchr(name, '/') : NULL;
    const char *dot = name ? strrchr(slash ? slash : name, '.') : NULL, *s = raw;
    if (begins(s, bytes, "%PDF-"))
        return TEXT_PDF;
    if (text_is_binary(raw, bytes))
        return TEXT_BINARY;
    for (size_t i = 0; dot && i < sizeof ends / sizeof *ends; i++)
        if (strcasecmp(dot + 1, ends[i].end) == 0)
            return ends[i].format == TEXT_PDF ? TEXT_BINARY : ends[i].format;
    if (begins(s, bytes, "<!doctype html") || begins(s, bytes, "<html"))
        return TEXT_HTML;
    if (begins(s, bytes, "#!"))
        return TEXT_SOURCE;
    return TEXT_PLAIN;
}

/* ---- reading ---- */

rag_err text_load(const char *path, size_t max, char **data, size_t *bytes)
{
    struct stat st;
    const size_t most = max ? max : BYTES_DEFAULT;
    /* Opening a pipe must not wait for who writes it. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return RAG_FAIL(errno == ENOENT ? RAG_ENOENT : RAG_EIO, "%s: %s", path,
                        strerror(errno));
    rag_err err =
        fstat(fd, &st) == 0 ? RAG_OK : RAG_FAIL(RAG_EIO, "%s: %s", path, strerror(errno));
    if (!err && !S_ISREG(st.st_mode))
        err = RAG_FAIL(RAG_EINVAL, "%s is not a regular file", path);
    if (!err && (uint64_t)st.st_size > most)
        err = RAG_FAIL(RAG_ELIMIT, "%s has %lld bytes, at most %zu are read", path,
                       (long long)st.st_size, most);
    const size_t want = err ? 0 : (size_t)st.st_size;
    char *all = err ? NULL : mem_alloc(want + 1);
    if (!err && !all)
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for %s", path);
    size_t n = 0;
    while (!err && n < want) {
        const ssize_t got = read(fd, all + n, want - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            err = RAG_FAIL(RAG_EIO, "%s: %s", path, strerror(errno));
        if (got <= 0)
            break; /* it became shorter: what is there counts */
        n += (size_t)got;
    }
    close(fd);
    if (err) {
        mem_free(all);
        return err;
    }
    all[n] = '\0';
    *data = all;
    *bytes = n;
    return RAG_OK;
}

static char *title_of(const char *name)
{
    const char *slash = strrchr(name, '/');
    return mem_strdup(slash ? slash + 1 : name);
}

/* Blocks of d->text, and a title where the text has none of its own. */
static rag_err make_blocks(struct text_doc *d, const char *name)
{
    rag_err err = d->format == TEXT_MARKDOWN ? text_markdown(d)
                  : d->format == TEXT_SOURCE ? text_source(d)
                                             : text_plain(d);
    if (!err && !d->title && !(d->title = title_of(name)))
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for a title");
    return err;
}

static rag_err read_pdf(const char *name, const void *raw, size_t bytes,
                        const struct text_reading *how, struct text_doc *d)
{
    char *out = NULL;
    size_t n = 0;
    rag_err err = text_pdf(name, raw, bytes, how, &out, &n);
    if (!err)
        err = text_normalise(name, out, n, &d->text);
    mem_free(out);
    return err ? err : make_blocks(d, name);
}

static rag_err read_html(const char *name, const void *raw, size_t bytes, struct text_doc *d)
{
    struct text_bytes t = {0};
    rag_err err = text_normalise(name, raw, bytes, &t);
    if (!err)
        err = text_html(d, name, t.data, t.bytes);
    text_bytes_free(&t);
    if (!err && !d->title && !(d->title = title_of(name)))
        err = RAG_FAIL(RAG_ENOMEM, "out of memory for a title");
    return err;
}

rag_err text_read_bytes(const char *name, const void *raw, size_t bytes,
                        const struct text_reading *how, text_doc_fn each, void *arg)
{
    static const struct text_reading plain = {0};
    how = how ? how : &plain;
    struct text_doc d = {.format = how->format ? how->format : text_detect(name, raw, bytes)};
    const size_t most = how->max_bytes ? how->max_bytes : BYTES_DEFAULT;
    rag_err err = RAG_OK;
    if (bytes > most)
        return RAG_FAIL(RAG_ELIMIT, "%s has %zu bytes, at most %zu are read", name, bytes,
                        most);
    if (d.format == TEXT_BINARY)
        return RAG_FAIL(RAG_EFORMAT, "%s is not text", name);
    if (d.format == TEXT_JSONL || d.format == TEXT_CSV || d.format == TEXT_TSV) {
        struct text_bytes t = {0};
        err = text_normalise(name, raw, bytes, &t);
        return err ? err : text_records(name, d.format, &t, how, each, arg);
    }
    if (d.format == TEXT_PDF)
        err = read_pdf(name, raw, bytes, how, &d);
    else if (d.format == TEXT_HTML)
        err = read_html(name, raw, bytes, &d);
    else if (!(err = text_normalise(name, raw, bytes, &d.text)))
        err = make_blocks(&d, name);
    if (!err)
        err = each(arg, &d);
    text_doc_free(&d);
    return err;
}

rag_err text_read_file(const char *path, const struct text_reading *how, text_doc_fn each,
                       void *arg)
{
    char *raw = NULL;
    size_t bytes = 0;
    rag_err err = text_load(path, how ? how->max_bytes : 0, &raw, &bytes);
    if (!err)
        err = text_read_bytes(path, raw, bytes, how, each, arg);
    mem_free(raw);
    return err;
}
