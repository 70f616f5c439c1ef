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
    static const char *const names[] = {"default", "flat", "hnsw", "ivfpq"};
    return (unsigned)k <= ANN_IVFPQ ? names[k] : "unknown";
}

const char *cli_metric_name(ann_metric m)
{
    static const char *const names[] = {"default", "l2", "ip", "cosine", "hamming"};
    return (unsigned)m <= ANN_HAMMING ? names[m] : "unknown";
}

const char *cli_store_name(ann_dtype t)
{
    if (t == ANN_NONE)
        return "none";
    return (unsigned)t <= ANN_B1 ? io_type_name((enum io_type)t) : "unknown";
}

const char *cli_profile_name(ann_profile p)
{
    static const char *const names[] = {"default", "balanced", "fast", "lean"};
    return (unsigned)p <= ANN_PROFILE_LEAN ? names[p] : "unknown";
}

const char *cli_codes_name(ann_codes c)
{
    static const char *const names[] = {"auto", "none", "sq8",  "sq4",
                                        "1bit", "2bit", "3bit", "4bit"};
    return (unsigned)c <= ANN_CODES_4BIT ? names[c] : "unknown";
}

const char *cli_size(char buf[32], uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    size_t u = 0;
    for (; v >= 1024 && u < 4; u++)
        v /= 1024;
    snprintf(buf, 32, u ? "%.1f %s" : "%.0f %s", v, units[u]);
    return buf;
}

/* What only the index itself knows; a damaged file may not open, its header is told all the
 * same. */
struct inside {
    ann_index *ix; /* NULL: it does not open */
    ann_info info;
};

static void look_inside(const struct args *a, const char *path, struct inside *in)
{
    in->info.size = ANN_INFO_SIZE;
    if (session_open(a, path, ANN_OPEN_MAP, &in->ix) == ANN_OK &&
        io_library(ann_index_info(in->ix, &in->info)) == ANN_OK)
        return;
    ann_close(in->ix);
    in->ix = NULL;
}

/* What the largest list has by what all have on average. */
static double list_balance(const ann_info *i)
{
    return i->entries > 0 ? (double)i->largest_list * i->nlist / (double)i->entries : 0;
}

static const char *rotation_name(ann_rotation r)
{
    static const char *const names[] = {"auto", "none", "random", "opq"};
    return (unsigned)r <= ANN_ROTATION_OPQ ? names[r] : "unknown";
}

static void print_lists(const ann_info *i)
{
    if (i->nlist == 0) {
        printf("lists            not trained\n");
        return;
    }
    printf("lists            %u of %.1f entries, the largest %u (%.1f times the mean)\n", i->nlist,
           (double)i->entries / i->nlist, i->largest_list, list_balance(i));
    printf("short codes      %u of %u bits, of %s, rotation %s\n", i->pq_m, i->pq_bits,
           i->pq_of == ANN_PQ_DIRECT ? "vectors" : "residuals", rotation_name(i->rotation));
    printf("their error      %.4f of the squared length when trained on %llu, %.4f of those "
           "added\n",
           i->trained_error, (unsigned long long)i->trained, i->added_error);
}

static void print_inside(const struct inside *in)
{
    const ann_info *i = &in->info;
    const struct {
        const char *name;
        uint64_t bytes;
    } parts[] = {{"vectors", i->vector_bytes}, {"codes", i->code_bytes}, {"links", i->graph_bytes},
                 {"rows", i->row_bytes},       {"lists", i->list_bytes},
                 {"ids", i->id_bytes}};
    uint64_t all = 0;
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++)
        all += parts[p].bytes;
    const double n = i->count > 0 ? (double)i->count : 1;
    printf("bytes a vector   %.1f:", (double)all / n);
    for (size_t p = 0, shown = 0; p < sizeof parts / sizeof *parts; p++)
        if (parts[p].bytes)
            printf("%s %s %.1f", shown++ ? "," : "", parts[p].name, (double)parts[p].bytes / n);
    putchar('\n');
    if (i->kind == ANN_FLAT)
        return;
    printf("profile          %s, codes %s", cli_profile_name(i->profile), cli_codes_name(i->codes));
    if (i->kind == ANN_HNSW)
        printf(", %u links", i->degree);
    putchar('\n');
    if (i->kind == ANN_IVFPQ)
        print_lists(i);
    if (i->intrinsic_dim > 0)
        printf("intrinsic dim    %.1f\n", i->intrinsic_dim);
    if (i->calibrated_recall > 0)
        calibration_print(in->ix);
    else
        printf("calibrated       no (see \"ann calibrate\")\n");
}

static void put_lists(struct js_out *o, const ann_info *i)
{
    js_put_u64(o, "list_bytes", i->list_bytes);
    js_put_string(o, "rotation", rotation_name(i->rotation));
    js_put_string(o, "pq_of", i->pq_of == ANN_PQ_DIRECT ? "direct" : "residual");
    js_put_u64(o, "trained", i->trained);
    js_put_u64(o, "entries", i->entries);
    js_put_u64(o, "largest_list", i->largest_list);
    js_put_double(o, "list_balance", list_balance(i));
    js_put_double(o, "trained_error", i->trained_error);
    js_put_double(o, "added_error", i->added_error);
}

static void put_inside(struct js_out *o, const struct inside *in)
{
    const ann_info *i = &in->info;
    js_put_u64(o, "vector_bytes", i->vector_bytes);
    js_put_u64(o, "code_bytes", i->code_bytes);
    js_put_u64(o, "graph_bytes", i->graph_bytes);
    js_put_u64(o, "row_bytes", i->row_bytes);
    js_put_u64(o, "id_bytes", i->id_bytes);
    if (i->kind == ANN_FLAT)
        return;
    js_put_string(o, "profile", cli_profile_name(i->profile));
    js_put_string(o, "codes", cli_codes_name(i->codes));
    if (i->kind == ANN_HNSW) {
        js_put_u64(o, "degree", i->degree);
        js_put_double(o, "intrinsic_dim", i->intrinsic_dim);
    } else {
        put_lists(o, i);
    }
    js_put_double(o, "calibrated_recall", i->calibrated_recall);
    if (i->calibrated_recall > 0)
        calibration_put(o, in->ix);
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
    printf("size             %s\n", cli_size(size, f->file_bytes));
    printf("identity         %016llx%016llx\n", (unsigned long long)f->identity[0],
           (unsigned long long)f->identity[1]);
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
    if (f->kind == ANN_IVFPQ) {
        js_put_u64(o, "nlist", f->nlist);
        js_put_u64(o, "pq_m", f->pq_m);
        js_put_u64(o, "pq_bits", f->pq_bits);
    }
    js_put_u64(o, "seed", f->seed);
    js_put_u64(o, "file_bytes", f->file_bytes);
    js_put_string(o, "identity", identity);
}

int cmd_info(const struct args *a)
{
    const char *path = a->list[0];
    const bool table = !a->json && isatty(STDOUT_FILENO);
    ann_file_info f = {.size = sizeof f};
    struct js_out o = JS_OUT_INIT;
    ann_err err = io_library(ann_file_info_read(path, &f));
    struct inside in = {0};
    if (!err)
        look_inside(a, path, &in);
    if (!err && table) {
        print_table(path, &f);
        if (in.ix)
            print_inside(&in);
        printf("sections\n");
    } else if (!err) {
        put_file(&o, path, &f);
        if (in.ix)
            put_inside(&o, &in);
        js_open(&o, "sections", '[');
    }
    for (uint32_t i = 0; i < f.sections && !err; i++) {
        ann_section_info s;
        if ((err = io_library(ann_file_section(path, i, &s))) != 0)
            break;
        char size[32];
        if (table) {
            printf("  %-14s %s, %llu rows of %llu bytes, at %llu\n", s.name,
                   cli_size(size, s.bytes), (unsigned long long)s.rows,
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
    ann_close(in.ix);
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
