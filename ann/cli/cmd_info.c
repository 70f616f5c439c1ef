/* cmd_info.c - info and verify: what a file holds, and whether it is whole.
 *
 * Place: ann/cli. */
#include <config.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ann/cli/cli.h"
#include "ann/io/json.h"

const char *cli_kind_name(ann_kind k)
{
    return k == ANN_FLAT ? "flat" : k == ANN_HNSW ? "hnsw" : "unknown";
}

const char *cli_metric_name(ann_metric m)
{
    static const char *const names[] = {"default", "l2", "ip", "cosine", "hamming"};
    return (unsigned)m <= ANN_HAMMING ? names[m] : "unknown";
}

const char *cli_store_name(ann_dtype t)
{
    return (unsigned)t <= ANN_B1 ? io_type_name((enum io_type)t) : "unknown";
}

/* 1234567 bytes as "1.2 MiB". */
static const char *size_text(char buf[32], uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    size_t u = 0;
    for (; v >= 1024 && u < 4; u++)
        v /= 1024;
    snprintf(buf, 32, u ? "%.1f %s" : "%.0f %s", v, units[u]);
    return buf;
}

static void print_table(const char *path, const ann_file_info *f)
{
    char size[32];
    printf("file             %s\n", path);
    printf("format           kith %u.%u\n", f->version_major, f->version_minor);
    printf("kind             %s\n", cli_kind_name(f->kind));
    printf("metric           %s\n", cli_metric_name(f->metric));
    printf("stored as        %s\n", cli_store_name(f->store));
    printf("dimension        %u\n", f->dim);
    printf("vectors          %llu (in %llu slots)\n", (unsigned long long)f->count,
           (unsigned long long)f->slots);
    if (f->kind == ANN_HNSW)
        printf("graph            m %u, ef_construction %u, %u levels\n", f->m,
               f->ef_construction, f->count ? f->max_level + 1 : 0);
    printf("seed             %llu\n", (unsigned long long)f->seed);
    printf("size             %s\n", size_text(size, f->file_bytes));
    printf("identity         %016llx%016llx\n", (unsigned long long)f->identity[0],
           (unsigned long long)f->identity[1]);
    printf("sections\n");
}

static void put_file(struct js_out *o, const char *path, const ann_file_info *f)
{
    char identity[33], version[24];
    snprintf(identity, sizeof identity, "%016llx%016llx", (unsigned long long)f->identity[0],
             (unsigned long long)f->identity[1]);
    snprintf(version, sizeof version, "%u.%u", f->version_major, f->version_minor);
    js_open(o, NULL, '{');
    js_put_string(o, "file", path);
    js_put_string(o, "format", version);
    js_put_string(o, "kind", cli_kind_name(f->kind));
    js_put_string(o, "metric", cli_metric_name(f->metric));
    js_put_string(o, "store", cli_store_name(f->store));
    js_put_u64(o, "dim", f->dim);
    js_put_u64(o, "count", f->count);
    js_put_u64(o, "slots", f->slots);
    if (f->kind == ANN_HNSW) {
        js_put_u64(o, "m", f->m);
        js_put_u64(o, "ef_construction", f->ef_construction);
        js_put_u64(o, "max_level", f->max_level);
    }
    js_put_u64(o, "seed", f->seed);
    js_put_u64(o, "file_bytes", f->file_bytes);
    js_put_string(o, "identity", identity);
    js_open(o, "sections", '[');
}

int cmd_info(const struct args *a)
{
    const char *path = a->list[0];
    const bool table = !a->json && isatty(STDOUT_FILENO);
    ann_file_info f = {.size = sizeof f};
    struct js_out o = JS_OUT_INIT;
    ann_err err = io_library(ann_file_info_read(path, &f));
    if (!err && table)
        print_table(path, &f);
    if (!err && !table)
        put_file(&o, path, &f);
    for (uint32_t i = 0; i < f.sections && !err; i++) {
        ann_section_info s;
        if ((err = io_library(ann_file_section(path, i, &s))) != 0)
            break;
        char size[32];
        if (table) {
            printf("  %-14s %s, %llu rows of %llu bytes, at %llu\n", s.name,
                   size_text(size, s.bytes), (unsigned long long)s.rows,
                   (unsigned long long)s.row_bytes, (unsigned long long)s.offset);
            continue;
        }
        js_open(&o, NULL, '{');
        js_put_string(&o, "name", s.name);
        js_put_u64(&o, "offset", s.offset);
        js_put_u64(&o, "bytes", s.bytes);
        js_put_u64(&o, "rows", s.rows);
        js_put_u64(&o, "row_bytes", s.row_bytes);
        js_shut(&o, '}');
    }
    if (!err && !table) {
        js_shut(&o, ']');
        js_shut(&o, '}');
        err = js_line(&o, stdout);
    }
    js_out_free(&o);
    return session_end(err);
}

/* Whether the vectors and ids are whole, so that "ann export --map" gives them back and a new
 * index can be built.  Sections are checked in the order they lie, the graph's last. */
static bool repairable(const struct args *a, const char *path, const char *why)
{
    static const char *const needed[] = {"section vectors", "section live", "section ids",
                                         "header",          "cut short",    "vector in slot"};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (strstr(why, needed[i]))
            return false;
    ann_index *ix;
    ann_info info = {.size = ANN_INFO_SIZE};
    if (session_open(a, path, ANN_OPEN_MAP, &ix) != ANN_OK)
        return false;
    const bool ok = io_library(ann_index_info(ix, &info)) == ANN_OK;
    ann_close(ix);
    return ok;
}

static ann_err print_verdict(const struct args *a, ann_err found, bool repair, const char *why)
{
    if (a->json) {
        struct js_out o = JS_OUT_INIT;
        js_open(&o, NULL, '{');
        js_put_string(&o, "file", a->list[0]);
        js_put_bool(&o, "whole", !found);
        if (found) {
            js_put_bool(&o, "repairable", repair);
            js_put_string(&o, "reason", why);
        }
        js_shut(&o, '}');
        const ann_err err = js_line(&o, stdout);
        js_out_free(&o);
        return err;
    }
    if (!found)
        printf("%s: whole\n", a->list[0]);
    else
        printf("repairable: %s\n", repair ? "yes" : "no");
    return ANN_OK;
}

int cmd_verify(const struct args *a)
{
    const char *path = a->list[0];
    ann_index *ix = NULL;
    ann_err err = session_open(a, path, ANN_OPEN_LOAD, &ix);
    for (int level = ANN_CHECK_SUMS; level <= ANN_CHECK_REACHABLE && !err; level++)
        err = session_progress(NULL, "checking", (uint64_t)level, ANN_CHECK_REACHABLE)
                  ? ANN_FAIL(ANN_ECANCELED, "interrupted")
                  : io_library(ann_check(ix, (ann_check_level)level));
    ann_close(ix);
    const bool damaged = err == ANN_EDAMAGED || err == ANN_EFORMAT || err == ANN_EVERSION;
    if (err && !damaged)
        return session_end(err);
    if (err == ANN_EDAMAGED && !strstr(error_message(), path))
        (void)error_prefix(err, path);
    struct error_note why;
    error_take(&why, err);
    const bool repair = err == ANN_EDAMAGED && repairable(a, path, why.text);
    const ann_err written = print_verdict(a, err, repair, why.text);
    if (written || !err)
        return session_end(written);
    fflush(stdout);
    const int status = session_fail(error_put(&why));
    if (repair)
        session_say("Its vectors are whole.  A new index from them:\n"
                    "  ann export --map %s -o vectors.npy --ids-out ids.npy\n"
                    "  ann build vectors.npy --ids ids.npy -o NEW.kith", path);
    return status;
}
