/* test_read.c - readers of formats and the walk over folders. */
#include <config.h>

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "rag/text/text.h"

#define DOCS_MAX 16

/* What was read: each document's id, title, meta and text, a line each. */
struct seen {
    size_t n;
    char id[DOCS_MAX][64], title[DOCS_MAX][128], meta[DOCS_MAX][256], text[DOCS_MAX][1024];
    size_t dims[DOCS_MAX], blocks[DOCS_MAX];
    enum text_format format[DOCS_MAX];
    enum text_kind kinds[DOCS_MAX][32];
};

static rag_err see(void *arg, struct text_doc *d)
{
    struct seen *s = arg;
    ck_assert_uint_lt(s->n, DOCS_MAX);
    snprintf(s->id[s->n], sizeof s->id[0], "%s", d->id ? d->id : "");
    snprintf(s->title[s->n], sizeof s->title[0], "%s", d->title ? d->title : "");
    snprintf(s->meta[s->n], sizeof s->meta[0], "%s", d->meta ? d->meta : "");
    snprintf(s->text[s->n], sizeof s->text[0], "%s", d->text.data);
    s->dims[s->n] = d->dims;
    s->format[s->n] = d->format;
    s->blocks[s->n] = d->nblocks;
    for (size_t i = 0; i < d->nblocks && i < 32; i++) {
        ck_assert_uint_lt(d->blocks[i].start, d->blocks[i].end);
        ck_assert_uint_le(d->blocks[i].end, d->text.bytes);
        s->kinds[s->n][i] = d->blocks[i].kind;
    }
    s->n++;
    return RAG_OK;
}

static rag_err read_as(const char *name, const char *raw, struct seen *s)
{
    memset(s, 0, sizeof *s);
    return text_read_bytes(name, raw, strlen(raw), NULL, see, s);
}

START_TEST(html_pages)
{
    static struct seen s;
    ck_assert_int_eq(
        read_as("a.html",
                "<html><head><title> The\nTitle </title><style>p{}</style></head><body>"
                "<nav>menu</nav><h2>Part &amp; parcel</h2><p>One <b>two</b><br>three</p>"
                "<ul><li>first<li>second</ul><pre>a\n  b</pre><blockquote>said</blockquote>"
                "<table><tr><th>k<th>v<tr><td>1<td>2</table><!-- no --><script>no</script>"
                "<p hidden>no</p><p aria-hidden=true>no</p><p style='Display : None'>no</p>"
                "<template><p>no</p></template>tail",
                &s),
        RAG_OK);
    ck_assert_uint_eq(s.n, 1);
    ck_assert_str_eq(s.title[0], "The Title ");
    ck_assert_str_eq(s.text[0],
                     "Part & parcel\n\nOne two\nthree\n\nfirst\n\nsecond\n\na\n  b\n\n"
                     "said\n\nk | v\n1 | 2\n\ntail");
    static const enum text_kind kinds[] = {TEXT_HEADING, TEXT_PARAGRAPH, TEXT_ITEM,
                                           TEXT_ITEM,    TEXT_CODE,      TEXT_QUOTE,
                                           TEXT_TABLE,   TEXT_PARAGRAPH};
    ck_assert_uint_eq(s.blocks[0], 8);
    for (size_t i = 0; i < 8; i++)
        ck_assert_int_eq(s.kinds[0][i], kinds[i]);
    /* Written as an entity, a character that nobody sees is left out too. */
    ck_assert_int_eq(read_as("a.html", "<p>a&#xE0041;b</p>", &s), RAG_OK);
    ck_assert_str_eq(s.text[0], "ab");
    /* What an entity stands for is normalised as if it had been written. */
    ck_assert_int_eq(read_as("a.html",
                             "<title>e&#x301;</title><p>e&#x301;<pre>a&#13;b</pre>"
                             "<table><tr><td>e&#x301;<tr><td>o&#x301;</table>",
                             &s),
                     RAG_OK);
    ck_assert_str_eq(s.title[0], "\xc3\xa9");
    ck_assert_str_eq(s.text[0], "\xc3\xa9\n\na\nb\n\n\xc3\xa9\n\xc3\xb3");
    ck_assert_int_eq(read_as("a.html", "", &s), RAG_OK);
    ck_assert_str_eq(s.text[0], "");
}
END_TEST

/* first, and n times unit, as a page: which may be too much, but ends soon and in order. */
static rag_err read_repeated(const char *first, const char *unit, size_t n, struct seen *s)
{
    const size_t before = strlen(first), each = strlen(unit);
    char *page = malloc(before + each * n + 1);
    ck_assert_ptr_nonnull(page);
    memcpy(page, first, before);
    for (size_t i = 0; i < n; i++)
        memcpy(page + before + each * i, unit, each);
    page[before + each * n] = '\0';
    const rag_err err = read_as("deep.html", page, s);
    ck_assert_msg(err == RAG_OK || strstr(rag_error_message(), "deep.html"), "%s",
                  rag_error_message());
    free(page);
    return err;
}

START_TEST(html_nested_deep)
{
    /* Nested in ways that no count of marks finds: ended by what opened nothing, in comments,
     * in attributes, in other namespaces. */
    static const char *const units[] = {
        "<div>",          "<div></x>",    "<div><!-- </div></div> -->",
        "<div a='</a>'>", "<b><div></b>", "<button><p></button>",
        "<b><p>",         "<a><table>"};
    static struct seen s;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        const rag_err err = read_repeated("", units[i], i < 2 ? 100000 : 20000, &s);
        ck_assert_msg(err == RAG_OK || err == RAG_ELIMIT, "%s: %d", units[i], (int)err);
    }
    ck_assert_int_eq(read_repeated("<p>deep", "<div>", 4000, &s), RAG_OK);
    ck_assert_str_eq(s.text[0], "deep");
    ck_assert_int_eq(read_repeated("<p>seen<svg>", "<td>", 100000, &s), RAG_OK);
    ck_assert_str_eq(s.text[0], "seen");
}
END_TEST

/* What looks deep and is not. */
START_TEST(html_flat)
{
    static struct seen s;
    ck_assert_int_eq(read_repeated("<p>seen<svg>", "<path d='M0 0'/>", 20000, &s), RAG_OK);
    ck_assert_str_eq(s.text[0], "seen");
    ck_assert_int_eq(read_repeated("<p>seen<script>", "if(i<n)f();", 20000, &s), RAG_OK);
    ck_assert_str_eq(s.text[0], "seen");
    /* Each error of the page would hold a copy of the path to it. */
    char spans[6 * 4000 + 8] = "";
    for (size_t i = 0; i < 4000; i++)
        memcpy(spans + 6 * i, "<span>", 6);
    memcpy(spans + sizeof spans - 8, "seen", 5);
    ck_assert_int_eq(read_repeated(spans, "</x>", 10000, &s), RAG_OK);
    ck_assert_str_eq(s.text[0], "seen");
}
END_TEST

START_TEST(json_lines)
{
    static struct seen s;
    ck_assert_int_eq(
        read_as("a.jsonl",
                "{\"id\":\"x\",\"text\":\"one\",\"title\":\"T\",\"meta\":{\"b\":[1,2.5,"
                "null,true],\"a\":\"\xc3\xa9\"}}\n\n{\"content\":\"two\"}\n"
                "{\"_id\":\"v\",\"caption\":\"three\",\"vector\":[1,-2]}\n{\"id\":7,"
                "\"text\":\"four\"}",
                &s),
        RAG_OK);
    ck_assert_uint_eq(s.n, 4);
    ck_assert_str_eq(s.id[0], "x");
    ck_assert_str_eq(s.title[0], "T");
    ck_assert_str_eq(s.meta[0], "{\"b\":[1,2.5,null,true],\"a\":\"\xc3\xa9\"}");
    ck_assert_str_eq(s.id[1], "3"); /* its line */
    ck_assert_str_eq(s.text[1], "two");
    ck_assert_uint_eq(s.dims[2], 2);
    ck_assert_str_eq(s.id[3], "7");
    /* Large numbers stay apart: as doubles the first two would be one. */
    ck_assert_int_eq(read_as("a.jsonl",
                             "{\"id\":9007199254740993,\"text\":\"a\"}\n"
                             "{\"id\":9007199254740992,\"text\":\"b\"}\n"
                             "{\"_id\":-7,\"text\":\"c\"}\n{\"id\":\"\",\"text\":\"d\"}",
                             &s),
                     RAG_OK);
    ck_assert_str_eq(s.id[0], "9007199254740993");
    ck_assert_str_eq(s.id[1], "9007199254740992");
    ck_assert_str_eq(s.id[2], "-7");
    ck_assert_str_eq(s.id[3], "4");
    static const struct {
        const char *raw, *wanted;
    } bad[] = {{"{\"text\":\"a\"}\n{\"text\":\n", "a.jsonl:2"},
               {"[1]", "a.jsonl:1"},
               {"{\"id\":\"x\"}", "no \"text\""},
               {"{\"text\":5}", "no \"text\""},
               {"{\"text\":\"a\",\"vector\":[]}", "vector"},
               {"{\"text\":\"a\",\"vector\":[0,0]}", "vector"},
               {"{\"text\":\"a\",\"vector\":[1,\"x\"]}", "vector"},
               {"{\"text\":\"a\",\"vector\":\"no\"}", "vector"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_eq(read_as("a.jsonl", bad[i].raw, &s), RAG_EFORMAT);
        ck_assert_msg(strstr(rag_error_message(), bad[i].wanted), "%s", rag_error_message());
    }
}
END_TEST

START_TEST(tables)
{
    static struct seen s;
    ck_assert_int_eq(
        read_as("a.csv", "id,text,price\r\n1,\"a \"\"b\"\", c\nd\",5\r\n\r\n2,plain,\n3,short",
                &s),
        RAG_OK);
    ck_assert_uint_eq(s.n, 3);
    ck_assert_str_eq(s.text[0], "a \"b\", c\nd");
    ck_assert_str_eq(s.meta[0], "{\"price\":\"5\"}");
    ck_assert_str_eq(s.id[1], "2");
    ck_assert_str_eq(s.text[2], "short");
    ck_assert_int_eq(read_as("a.tsv", "name\tage\nAda\t36\n", &s), RAG_OK);
    ck_assert_str_eq(s.text[0], "name: Ada\nage: 36\n");
    ck_assert_str_eq(s.id[0], "2");
    ck_assert_int_eq(s.format[0], TEXT_TSV);
    /* Of columns of one name the first, so that the metadata stays JSON. */
    ck_assert_int_eq(read_as("a.csv", "text,a,a\nx,1,2\n", &s), RAG_OK);
    ck_assert_str_eq(s.meta[0], "{\"a\":\"1\"}");
    ck_assert_int_eq(s.format[0], TEXT_CSV);
    ck_assert_int_eq(read_as("a.csv", "", &s), RAG_OK);
    ck_assert_uint_eq(s.n, 0);
    static const struct {
        const char *raw, *wanted;
    } bad[] = {{"text\n\"open", "a.csv:2: a quote is not closed"},
               {"text\n\"a\"b\n", "a.csv:2: something stands behind"},
               {"text\nx\ny,z\n", "a.csv:3: 2 fields"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_eq(read_as("a.csv", bad[i].raw, &s), RAG_EFORMAT);
        ck_assert_msg(strstr(rag_error_message(), bad[i].wanted), "%s", rag_error_message());
    }
}
END_TEST

/* A PDF of one page, offsets counted. */
static void make_pdf(char *out, size_t room, const char *text)
{
    size_t at[6], n = 0;
    char stream[256];
    const int length =
        snprintf(stream, sizeof stream, "BT /F1 12 Tf 72 720 Td (%s) Tj ET", text);
    n += (size_t)snprintf(out + n, room - n, "%%PDF-1.4\n");
    at[1] = n;
    n += (size_t)snprintf(out + n, room - n, "1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n");
    at[2] = n;
    n += (size_t)snprintf(out + n, room - n,
                          "2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n");
    at[3] = n;
    n +=
        (size_t)snprintf(out + n, room - n,
                         "3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R"
                         "/Resources<</Font<</F1 5 0 R>>>>>>endobj\n");
    at[4] = n;
    n +=
        (size_t)snprintf(out + n, room - n,
                         "4 0 obj<</Length %d>>stream\n%s\nendstream endobj\n", length, stream);
    at[5] = n;
    n += (size_t)snprintf(out + n, room - n,
                          "5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj\n");
    const size_t table = n;
    n += (size_t)snprintf(out + n, room - n, "xref\n0 6\n0000000000 65535 f \n");
    for (int i = 1; i < 6; i++)
        n += (size_t)snprintf(out + n, room - n, "%010zu 00000 n \n", at[i]);
    snprintf(out + n, room - n, "trailer<</Size 6/Root 1 0 R>>\nstartxref\n%zu\n%%%%EOF\n",
             table);
}

START_TEST(pdf_pages)
{
    static struct seen s;
    char pdf[2048];
    make_pdf(pdf, sizeof pdf, "Hello from a page");
    const rag_err err = read_as("a.pdf", pdf, &s);
    if (err == RAG_ENOTSUP) {
        ck_assert_ptr_nonnull(strstr(rag_error_message(), "poppler-utils"));
        return;
    }
    ck_assert_msg(!err, "%s", rag_error_message());
    ck_assert_ptr_nonnull(strstr(s.text[0], "Hello from a page"));
    pdf[20] = '\0'; /* cut off */
    ck_assert_int_eq(read_as("a.pdf", pdf, &s), RAG_EFORMAT);
    ck_assert_ptr_nonnull(strstr(rag_error_message(), "a.pdf"));
}
END_TEST

START_TEST(formats)
{
    static const struct {
        const char *name, *raw;
        enum text_format format;
    } rows[] = {{"a.md", "x", TEXT_MARKDOWN},        {"A.HTM", "x", TEXT_HTML},
                {"a.c", "x", TEXT_SOURCE},           {"a", "#!/bin/sh", TEXT_SOURCE},
                {"a", "<!DOCTYPE html>", TEXT_HTML}, {"a", "%PDF-1.4", TEXT_PDF},
                {"a.pdf", "no", TEXT_BINARY},        {"dir.md/a", "x", TEXT_PLAIN},
                {"a.jsonl", "{}", TEXT_JSONL}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ck_assert_msg(text_detect(rows[i].name, rows[i].raw, strlen(rows[i].raw)) ==
                          rows[i].format,
                      "%s", rows[i].name);
    ck_assert_int_eq(text_detect("a", "a\0b", 3), TEXT_BINARY);
    for (int f = TEXT_PLAIN; f < TEXT_BINARY; f++)
        ck_assert_int_eq(text_format_named(text_format_name((enum text_format)f)), f);
}
END_TEST

/* Bytes of any kind, in any format: an error or a document, nothing else. */
START_TEST(hostile_bytes)
{
    static const char *const names[] = {"a.html", "a.jsonl", "a.csv", "a.md", "a.c", "a.txt"};
    static const char alphabet[] = "<>/\"'{}[],:\n\t #*|-&;=ab\xc3\xa9\xf0\x00\x1b";
    static struct seen s;
    unsigned seed = 11;
    char raw[512];
    for (int round = 0; round < 3000; round++) {
        size_t n = 0;
        seed = seed * 1103515245 + 12345;
        const size_t want = (seed >> 16) % sizeof raw;
        while (n < want) {
            seed = seed * 1103515245 + 12345;
            raw[n++] = alphabet[(seed >> 16) % (sizeof alphabet - 1)];
        }
        memset(&s, 0, sizeof s);
        s.n = 0;
        const rag_err err = text_read_bytes(names[round % 6], raw, n, NULL, see, &s);
        ck_assert(err == RAG_OK || err == RAG_EFORMAT);
    }
}
END_TEST

/* ---- globs and folders ---- */

START_TEST(globs)
{
    static const struct {
        const char *pattern, *path;
        bool fits;
    } rows[] = {{"*.md", "a.md", true},
                {"*.md", "x/a.md", true},
                {"*.md", "a.mdx", false},
                {"docs/*.md", "docs/a.md", true},
                {"docs/*.md", "docs/x/a.md", false},
                {"docs/**/*.md", "docs/x/y/a.md", true},
                {"docs/**/*.md", "docs/a.md", true},
                {"**/b", "b", true},
                {"**/b", "x/b", true},
                {"**/b", "xb", false},
                {"a/**", "a/x/y", true},
                {"/a", "a", true},
                {"/a", "x/a", false},
                {"[a-c]?", "bz", true},
                {"[!a-c]?", "bz", false},
                {"a\\*", "a*", true},
                {"a\\*", "ab", false},
                {"*", "a/b", true},
                {"a*b*c", "aXXbYYc", true},
                {"a*b*c", "aXXcYY", false},
                {"[", "[", true},
                {"", "", true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ck_assert_msg(text_glob(rows[i].pattern, rows[i].path) == rows[i].fits, "%s on %s",
                      rows[i].pattern, rows[i].path);
    /* No pattern takes longer than its length times the path's. */
    char stars[1001], path[1001];
    for (size_t i = 0; i < 1000; i++) {
        stars[i] = i % 2 ? '*' : 'a';
        path[i] = 'a';
    }
    stars[1000] = path[1000] = '\0';
    stars[999] = 'b';
    ck_assert(!text_glob(stars, path));
}
END_TEST

struct walked {
    char list[4096];
};

static rag_err note(void *arg, const char *path, const char *below, enum text_skip why,
                    const struct text_stat *st)
{
    struct walked *w = arg;
    const size_t n = strlen(w->list);
    ck_assert(strstr(path, below));
    ck_assert((why == TEXT_TAKEN) == (st != NULL));
    snprintf(w->list + n, sizeof w->list - n, "%s:%d ", below, (int)why);
    return RAG_OK;
}

START_TEST(folders)
{
    char dir[] = "/tmp/kith-walk-XXXXXX", command[1024];
    struct walked w = {""};
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(
        command, sizeof command,
        "cd %s && mkdir -p a/b build keep && touch a/1.txt a/b/2.log a/b/3.txt build/x.txt "
        "keep/x.log .hidden z.txt && ln -s a link && ln -s /etc/passwd out && ln -s loop "
        "loop && mkfifo pipe && printf '*.log\\n/build/\\n!keep/x.log\\n# c\\n\\n' > "
        ".ragignore && printf '3.*\\n' > a/b/.ragignore",
        dir);
    ck_assert_int_eq(system(command), 0);
    ck_assert_int_eq(text_walk(dir, NULL, note, &w), RAG_OK);
    ck_assert_str_eq(w.list, "a/1.txt:0 a/b/2.log:1 a/b/3.txt:1 build:1 keep/x.log:0 link:4 "
                             "loop:7 out:3 pipe:6 z.txt:0 ");
    const char *only[] = {"*.txt", NULL}, *not [] = {"a", NULL};
    const struct text_walking how = {.include = only, .exclude = not, .max_bytes = 1};
    w.list[0] = '\0';
    ck_assert_int_eq(text_walk(dir, &how, note, &w), RAG_OK);
    ck_assert_str_eq(w.list, "a:2 build:1 keep/x.log:2 link:4 loop:7 out:3 pipe:6 z.txt:0 ");
    ck_assert_int_eq(text_walk("/nonexistent/x", NULL, note, &w), RAG_ENOENT);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(loading)
{
    char *data = NULL;
    size_t n = 0;
    ck_assert_int_eq(text_load("/tmp", 0, &data, &n), RAG_EINVAL);
    ck_assert_int_eq(text_load("/nonexistent", 0, &data, &n), RAG_ENOENT);
    char name[] = "/tmp/kith-load-XXXXXX";
    const int fd = mkstemp(name);
    ck_assert_int_eq(write(fd, "hello", 5), 5);
    close(fd);
    ck_assert_int_eq(text_load(name, 4, &data, &n), RAG_ELIMIT);
    ck_assert_int_eq(text_load(name, 5, &data, &n), RAG_OK);
    ck_assert_str_eq(data, "hello");
    mem_free(data);
    unlink(name);
    ck_assert_int_eq(mkfifo(name, 0600), 0); /* must not wait for who writes it */
    ck_assert_int_eq(text_load(name, 5, &data, &n), RAG_EINVAL);
    unlink(name);
    static struct seen s;
    ck_assert_int_eq(text_read_bytes("a", "a\0b", 3, NULL, see, &s), RAG_EFORMAT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("read");
    TCase *c = tcase_create("read");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, html_pages);
    tcase_add_test(c, html_nested_deep);
    tcase_add_test(c, html_flat);
    tcase_add_test(c, json_lines);
    tcase_add_test(c, tables);
    tcase_add_test(c, pdf_pages);
    tcase_add_test(c, formats);
    tcase_add_test(c, hostile_bytes);
    tcase_add_test(c, globs);
    tcase_add_test(c, folders);
    tcase_add_test(c, loading);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
