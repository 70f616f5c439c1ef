/* test_io.c - ann/io: readers and writers against each other, hostile headers, every
 * truncation, random damage; ids, JSON, HDF5. */
#include <config.h>

#include <check.h>
#include <fcntl.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "ann/base/rng.h"
#include "ann/io/hdf5.h"
#include "ann/io/io.h"
#include "ann/io/json.h"
#include "ann/io/progress.h"

/* HDF5 1.10 itself loses memory over some damaged files. */
const char *__lsan_default_suppressions(void) __attribute__((visibility("default")));
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5";
}

static char folder[] = "/tmp/kith-io-XXXXXX";

/* folder/name; two at a time may be in use. */
static const char *at(const char *name)
{
    static char paths[4][128];
    static unsigned turn;
    char *p = paths[turn++ % 4];
    snprintf(p, sizeof paths[0], "%s/%s", folder, name);
    return p;
}

static const char *put(const char *name, const void *data, size_t bytes)
{
    const char *path = at(name);
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, bytes, f), bytes);
    fclose(f);
    return path;
}

static size_t get(const char *path, char *data, size_t room)
{
    FILE *f = fopen(path, "rb");
    ck_assert_ptr_nonnull(f);
    const size_t n = fread(data, 1, room, f);
    fclose(f);
    return n;
}

static void make_folder(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void remove_folder(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
    memcpy(folder + strlen(folder) - 6, "XXXXXX", 6);
}

#define N 7
#define D 5

static float sample[N][D];

static struct io_matrix sample_rows(void)
{
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < D; j++)
            sample[i][j] = (float)((i * D + j) % 100);
    return (struct io_matrix){.data = sample, .n = N, .dim = D, .stride = D, .type = IO_F32,
                              .rank = 2};
}

static ann_err write_as(const char *path, enum io_type type, size_t n,
                        const struct io_matrix *m)
{
    const struct io_layout l = {.type = type, .dim = m->dim, .n = n, .rank = m->rank};
    struct io_writer *w;
    ann_err err = io_create(path, &l, &w);
    if (err)
        return err;
    if ((err = io_write(w, m)) != 0) {
        io_abandon(w);
        return err;
    }
    return io_finish(w);
}

static void assert_sample(const struct io_matrix *m)
{
    ck_assert_uint_eq(m->n, N);
    ck_assert_uint_eq(m->dim, D);
    for (size_t i = 0; i < N; i++) {
        float row[D];
        size_t bad;
        ck_assert(io_convert(IO_F32, row, m->type, io_row(m, i), D, &bad));
        for (size_t j = 0; j < D; j++)
            ck_assert_float_eq(row[j], sample[i][j]);
    }
}

/* Every format and type: written with the number of rows known and not, loaded, streamed. */
static const struct {
    const char *name;
    enum io_type type;
} written[] = {
    {"x.npy", IO_F32}, {"x.npy", IO_F16},   {"x.npy", IO_I8},    {"x.npy", IO_U8},
    {"x.npy", IO_I32}, {"x.npy", IO_U32},   {"x.npy", IO_I64},   {"x.npy", IO_U64},
    {"x.npy", IO_F64}, {"x.fvecs", IO_F32}, {"x.ivecs", IO_I32}, {"x.bvecs", IO_U8},
    {"x.raw", IO_F32}, {"x.raw", IO_BF16},
#ifdef HAVE_HDF5
    {"x.hdf5:some", IO_F32}, {"x.hdf5", IO_U8}, {"x.h5:f16", IO_F16}, {"x.h5:i64", IO_I64},
#endif
};

START_TEST(round_trip)
{
    const struct io_matrix m = sample_rows();
    const char *path = at(written[_i].name);
    const enum io_type type = written[_i].type;
    const struct io_options o = {.type = type, .dim = D};
#ifdef HAVE_HDF5
    hdf5_enable();
#endif
    for (int known = 0; known < 2; known++) {
        ck_assert_int_eq(write_as(path, type, known ? N : IO_UNKNOWN, &m), ANN_OK);
        struct io_matrix back;
        ck_assert_int_eq(io_load(path, &o, &back), ANN_OK);
        ck_assert_int_eq(back.type, type == IO_F64 ? IO_F32 : type);
        assert_sample(&back);
        io_free(&back);

        struct io_reader *r;
        ck_assert_int_eq(io_open(path, &o, &r), ANN_OK);
        ck_assert_uint_eq(io_shape(r).n, N);
        size_t seen = 0;
        for (;;) {
            struct io_matrix block;
            ck_assert_int_eq(io_read(r, 3, &block), ANN_OK);
            if (block.n == 0)
                break;
            for (size_t i = 0; i < block.n; i++) {
                float row[D];
                size_t bad;
                ck_assert(io_convert(IO_F32, row, block.type, io_row(&block, i), D, &bad));
                ck_assert_float_eq(row[D - 1], sample[seen + i][D - 1]);
            }
            seen += block.n;
        }
        ck_assert_uint_eq(seen, N);
        io_close(r);
    }
}
END_TEST

/* The same through a pipe, whose length nobody knows. */
START_TEST(through_a_pipe)
{
    static const char *const names[] = {"x.npy", "x.fvecs", "x.bvecs", "x.ivecs"};
    const struct io_matrix m = sample_rows();
    const char *path = at(names[_i]);
    ck_assert_int_eq(write_as(path,
                              _i == 2   ? IO_U8
                              : _i == 3 ? IO_I32
                                        : IO_F32,
                              N, &m),
                     ANN_OK);
    const char *fifo = at("fifo");
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    char command[300];
    snprintf(command, sizeof command, "cat %s > %s &", path, fifo);
    ck_assert_int_eq(system(command), 0);
    const struct io_options o = {.format = io_format_of(names[_i])};
    struct io_matrix back;
    ck_assert_int_eq(io_load(fifo, &o, &back), ANN_OK);
    assert_sample(&back);
    io_free(&back);
}
END_TEST

/* ---- hostile files ---- */

/* An npy file of version 1 with this dictionary and `bytes` zero bytes of data. */
static const char *npy_with(const char *dictionary, size_t bytes)
{
    static char file[4096];
    const size_t n = strlen(dictionary);
    memset(file, 0, sizeof file);
    memcpy(file, "\x93NUMPY\x01\x00", 8);
    file[8] = (char)(n & 255);
    file[9] = (char)(n >> 8);
    memcpy(file + 10, dictionary, n);
    return put("bad.npy", file, 10 + n + bytes);
}

static const struct {
    const char *dictionary;
    size_t bytes;
    ann_err err;
    const char *says;
} headers[] = {
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 24, ANN_OK, ""},
    {"{\"shape\":(2,3),'descr':'<f4','fortran_order':False}\n", 24, ANN_OK, ""},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }", 24, ANN_OK, ""},
    {"{'descr': '|u1', 'fortran_order': False, 'shape': (0, 3), }", 0, ANN_OK, ""},
    {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", 24, ANN_EINVAL,
     "Fortran order"},
    {"{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }", 24, ANN_EINVAL,
     "Python objects"},
    {"{'descr': [('a','<f4')], 'fortran_order': False, 'shape': (2,), }", 8, ANN_EINVAL,
     "structured"},
    {"{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3), }", 24, ANN_EINVAL,
     "big-endian"},
    {"{'descr': '<c8', 'fortran_order': False, 'shape': (2, 3), }", 48, ANN_EINVAL, "'<c8'"},
    {"{'descr': '', 'fortran_order': False, 'shape': (2, 3), }", 24, ANN_EINVAL, "type ''"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 4), }", 96, ANN_EINVAL,
     "more than two"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (), }", 4, ANN_EINVAL, "no dimension"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 0), }", 0, ANN_EINVAL, "rows of 0"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3), }", 24, ANN_EINVAL,
     "a number"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551616, 1), }", 0,
     ANN_EINVAL, "too large"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 4), }", 0,
     ANN_EINVAL, "too large"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", 0,
     ANN_EINVAL, "cannot be"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 4611686018427387905), }", 4,
     ANN_EINVAL, "rows of"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 3), }", 24, ANN_EINVAL,
     "need 12000000"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 25, ANN_EINVAL, "need"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)", 24, ANN_EINVAL, "must stand"},
    {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", 24,
     ANN_EINVAL, "twice"},
    {"{'descr': '<f4', 'fortran_order': False}", 24, ANN_EINVAL, "missing"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)} x", 24, ANN_EINVAL, "behind"},
    {"{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3)}", 24, ANN_EINVAL, "True or False"},
    {"{'evil': '<f4', 'fortran_order': False, 'shape': (2, 3)}", 24, ANN_EINVAL, "key other"},
    {"{'descr': '<f44444444444444444444444444', 'fortran_order': False}", 24, ANN_EINVAL,
     "too long"},
    {"{'descr': '<f4", 24, ANN_EINVAL, "no end"},
    {"", 24, ANN_EINVAL, "{ must"},
};

START_TEST(npy_headers)
{
    const char *path = npy_with(headers[_i].dictionary, headers[_i].bytes);
    struct io_matrix m = {0};
    const ann_err err = io_load(path, NULL, &m);
    ck_assert_msg(err == headers[_i].err, "%s: %s", headers[_i].dictionary, error_message());
    if (err) {
        ck_assert_msg(strstr(error_message(), headers[_i].says), "%s", error_message());
        ck_assert_msg(strstr(error_message(), path), "%s", error_message());
    }
    io_free(&m);
}
END_TEST

/* f64 out of f32's range; and f4 data at an odd offset, which must not be used in place. */
START_TEST(npy_values)
{
    static char file[256];
    const char *d = "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 1), }";
    const double v[2] = {1, 1e300};
    struct io_matrix m;
    put("bad.npy", file, 0);
    const char *path = npy_with(d, 16);
    FILE *f = fopen(path, "r+b");
    fseek(f, (long)(10 + strlen(d)), SEEK_SET);
    fwrite(v, 1, sizeof v, f);
    fclose(f);
    ck_assert_int_eq(io_load(path, NULL, &m), ANN_EINVAL);
    ck_assert_msg(strstr(error_message(), "row 1, column 0: 1e+300"), "%s", error_message());

    d = "{'descr':'<f4','fortran_order':False,'shape':(3,1)}";
    ck_assert_uint_eq((10 + strlen(d)) % 2, 1);
    path = npy_with(d, 12);
    ck_assert_int_eq(io_load(path, NULL, &m), ANN_OK);
    ck_assert_uint_eq((uintptr_t)m.data % 4, 0);
    ck_assert_float_eq(*(const float *)io_row(&m, 2), 0);
    io_free(&m);
}
END_TEST

START_TEST(vecs_headers)
{
    static const int32_t none[] = {0, 1}, negative[] = {-1, 1}, huge[] = {INT32_MAX, 1},
                         ragged[] = {2, 0, 0, 3, 0, 0};
    const struct {
        const void *data;
        size_t bytes;
        const char *says;
    } cases[] = {
        {none, 8, "a row of 0 numbers"},
        {negative, 8, "a row of -1"},
        {huge, 8, "a row of 2147483647"},
        {ragged, 24, "offset 12: row 1 has 3 numbers"},
        {ragged, 23, "no whole number of rows"},
        {ragged, 3, "3 bytes"},
        {ragged, 0, "is empty"},
    };
    struct io_matrix m;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = put("bad.fvecs", cases[i].data, cases[i].bytes);
        ck_assert_int_eq(io_load(path, NULL, &m), ANN_EINVAL);
        ck_assert_msg(strstr(error_message(), cases[i].says), "%s", error_message());
    }
}
END_TEST

START_TEST(open_errors)
{
    struct io_matrix m;
    ck_assert_int_eq(io_load(at("none.npy"), NULL, &m), ANN_ENOENT);
    ck_assert_int_eq(io_load(folder, NULL, &m), ANN_EIO);
    ck_assert_msg(strstr(error_message(), "directory"), "%s", error_message());
    ck_assert_int_eq(io_load(put("x.dat", "hello there", 11), NULL, &m), ANN_EINVAL);
    ck_assert_msg(strstr(error_message(), "say which"), "%s", error_message());
    ck_assert_int_eq(io_load(put("x.raw", "hello there", 11), NULL, &m), ANN_EINVAL);
    const struct io_options raw = {.format = IO_RAW, .type = IO_F32, .dim = 2};
    ck_assert_int_eq(io_load(at("x.raw"), &raw, &m), ANN_EINVAL);
    const struct io_options little = {.max_memory = 10, .format = IO_IDX};
    ck_assert_int_eq(io_load(put("x.idx", "\0\0\x08\x01\0\0\0\x02hi", 10), &little, &m),
                     ANN_OK);
    ck_assert_uint_eq(m.n, 2);
    ck_assert_uint_eq(m.rank, 1);
    ann_view v;
    ck_assert_int_eq(io_view(&m, &v), ANN_EINVAL);
    io_free(&m);
}
END_TEST

/* A matrix of bits, as raw and as packed u8. */
START_TEST(bits)
{
    const struct io_options o = {.type = IO_B1, .dim = 12};
    struct io_matrix m;
    ann_view v;
    ck_assert_int_eq(io_load(put("x.raw", "abcdef", 6), &o, &m), ANN_OK);
    ck_assert_uint_eq(m.n, 3);
    ck_assert_uint_eq(m.stride, 2);
    ck_assert_int_eq(*(const char *)io_row(&m, 2), 'e');
    ck_assert_int_eq(io_view(&m, &v), ANN_OK);
    ck_assert_int_eq(v.dtype, ANN_B1);
    io_free(&m);
    const struct io_options u8 = {.type = IO_U8, .dim = 2};
    ck_assert_int_eq(io_load(at("x.raw"), &u8, &m), ANN_OK);
    ck_assert_int_eq(io_as_bits(&m), ANN_OK);
    ck_assert_uint_eq(m.dim, 16);
    ck_assert_int_eq(*(const char *)io_row(&m, 2), 'e');
    io_free(&m);
}
END_TEST

/* Small files of each format, cut at every byte and damaged at random: an error or a result,
 * never a read outside (which the sanitizers watch), and what comes out can be read in full. */
static const char *victim(int i, struct io_options *o)
{
    static const char *const names[] = {"v.npy", "v.fvecs", "v.bvecs", "v.idx", "v.raw",
#ifdef HAVE_HDF5
                                        "v.hdf5"
#endif
    };
    static const enum io_type type[] = {IO_F64, IO_F32, IO_U8, IO_ANY, IO_F16, IO_F32};
    const struct io_matrix m = sample_rows();
    *o = (struct io_options){.type = IO_F16, .dim = D, .max_memory = (uint64_t)64 << 20};
    const char *path = at(names[i]);
    if (i == 3)
        return put(names[i], "\0\0\x08\x02\0\0\0\x03\0\0\0\x02" "abcdef", 18);
    ck_assert_int_eq(write_as(path, type[i], N, &m), ANN_OK);
    return path;
}

#ifdef HAVE_HDF5
#define VICTIMS 6
#else
#define VICTIMS 5
#endif

static unsigned consume(const char *path, const struct io_options *o)
{
    struct io_matrix m;
    unsigned sum = 0;
    if (io_load(path, o, &m) != ANN_OK) {
        ck_assert_uint_gt(strlen(error_message()), 0);
        return 1;
    }
    size_t bytes;
    ck_assert(io_row_bytes(m.type, m.dim, &bytes));
    for (size_t i = 0; i < m.n; i++)
        for (size_t j = 0; j < bytes; j++)
            sum += ((const unsigned char *)io_row(&m, i))[j];
    io_free(&m);
    return sum | 2;
}

START_TEST(cut_anywhere)
{
    static char whole[16384];
    struct io_options o;
#ifdef HAVE_HDF5
    hdf5_enable();
#endif
    char path[128];
    snprintf(path, sizeof path, "%s", victim(_i, &o));
    const size_t n = get(path, whole, sizeof whole);
    size_t refused = 0;
    for (size_t cut = 0; cut < n; cut += n > 1000 ? 7 : 1) {
        put(strrchr(path, '/') + 1, whole, cut);
        refused += consume(path, &o) == 1;
    }
    /* Raw files and *vecs may end after any row: all other cuts are seen. */
    ck_assert_uint_ge(refused, _i == 5 ? 1 : n - N - 1);
}
END_TEST

START_TEST(damaged_at_random)
{
    static char whole[16384], bad[16384];
    struct io_options o;
#ifdef HAVE_HDF5
    hdf5_enable();
#endif
    char path[128];
    snprintf(path, sizeof path, "%s", victim(_i, &o));
    const size_t n = get(path, whole, sizeof whole);
    uint64_t state = 7;
    for (int round = 0; round < 1500; round++) {
        memcpy(bad, whole, n);
        const uint64_t changes = 1 + rng_below(&state, 4);
        for (uint64_t c = 0; c < changes; c++) {
            /* Mostly at the front, where the counts are. */
            const uint64_t place = rng_below(&state, rng_below(&state, 2) && n > 160 ? 160 : n);
            bad[place] = (char)rng_next(&state);
        }
        put(strrchr(path, '/') + 1, bad, n);
        consume(path, &o);
    }
}
END_TEST

/* ---- numbers ---- */

START_TEST(half_floats)
{
    for (uint32_t h = 0; h < 65536; h++) {
        const uint16_t in = (uint16_t)h;
        uint16_t out;
        float f;
        size_t bad;
        ck_assert(io_convert(IO_F32, &f, IO_F16, &in, 1, &bad));
        ck_assert(io_convert(IO_F16, &out, IO_F32, &f, 1, &bad));
        if (isnan(f))
            ck_assert((out & 0x7c00) == 0x7c00 && (out & 0x3ff) != 0);
        else
            ck_assert_uint_eq(in, out);
    }
    static const struct {
        float in;
        uint16_t out;
    } rounded[] = {{1.0f + 0x1p-11f, 0x3c00}, {1.0f + 3 * 0x1p-11f, 0x3c02}, {65519.0f, 0x7bff},
                   {0x1p-25f, 0}, {0x1.8p-25f, 1}, {-0x1p-24f, 0x8001}, {0x1.ffep-15f, 0x0400}};
    for (size_t i = 0; i < sizeof rounded / sizeof rounded[0]; i++) {
        uint16_t out;
        size_t bad;
        ck_assert(io_convert(IO_F16, &out, IO_F32, &rounded[i].in, 1, &bad));
        ck_assert_uint_eq(out, rounded[i].out);
    }
}
END_TEST

START_TEST(conversions_that_do_not_fit)
{
    const struct {
        double value;
        enum io_type to;
        bool fits;
    } cases[] = {
        {255, IO_U8, true},          {256, IO_U8, false},        {-1, IO_U8, false},
        {0.5, IO_U8, false},         {-128, IO_I8, true},        {-129, IO_I8, false},
        {127, IO_I8, true},          {128, IO_I8, false},        {2147483647., IO_I32, true},
        {2147483648., IO_I32, false}, {-2147483648., IO_I32, true}, {NAN, IO_I32, false},
        {INFINITY, IO_U64, false},   {1e19, IO_I64, false},      {65504, IO_F16, true},
        {65519, IO_F16, true},       {65520, IO_F16, false},     {INFINITY, IO_F16, true},
        {3.4e38, IO_F32, true},      {3.5e38, IO_F32, false},    {-4294967295., IO_U32, false},
        {4294967295., IO_U32, true}, {3.4e38, IO_BF16, false},   {3.38e38, IO_BF16, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[8];
        size_t bad = 9;
        const bool ok = io_convert(cases[i].to, out, IO_F64, &cases[i].value, 1, &bad);
        ck_assert_msg(ok == cases[i].fits, "%g to %s", cases[i].value,
                      io_type_name(cases[i].to));
        ck_assert_uint_eq(bad, ok ? 9 : 0);
    }
    const uint64_t large = UINT64_MAX;
    uint64_t same;
    int64_t negative = -1, back;
    size_t bad;
    ck_assert(io_convert(IO_U64, &same, IO_U64, &large, 1, &bad) && same == large);
    ck_assert(!io_convert(IO_U64, &same, IO_I64, &negative, 1, &bad));
    ck_assert(!io_convert(IO_I64, &back, IO_U64, &large, 1, &bad));
    ck_assert(io_convert(IO_I64, &back, IO_I32, &(int32_t){-5}, 1, &bad) && back == -5);
}
END_TEST

/* ---- writing ---- */

START_TEST(a_failed_write_leaves_the_old_file)
{
    struct io_matrix m = sample_rows();
    char path[128], text[16];
    snprintf(path, sizeof path, "%s", put("x.npy", "old", 3));
    sample[3][2] = 300;
    ck_assert_int_eq(write_as(path, IO_U8, N, &m), ANN_EINVAL);
    ck_assert_msg(strstr(error_message(), "row 3, column 2"), "%s", error_message());
    ck_assert_uint_eq(get(path, text, sizeof text), 3);
    ck_assert_int_eq(write_as(path, IO_F32, N + 1, &m), ANN_EINVAL);
    ck_assert_msg(strstr(error_message(), "promised"), "%s", error_message());
    ck_assert_uint_eq(get(path, text, sizeof text), 3);
    /* Nothing else is left in the folder. */
    char command[200];
    snprintf(command, sizeof command, "test \"$(ls %s)\" = x.npy", folder);
    ck_assert_int_eq(system(command), 0);
    m.dim = 4;
    const struct io_layout l = {.type = IO_F32, .dim = D, .n = IO_UNKNOWN};
    struct io_writer *w;
    ck_assert_int_eq(io_create(path, &l, &w), ANN_OK);
    ck_assert_int_eq(io_write(w, &m), ANN_EDIM);
    io_abandon(w);
    ck_assert_int_eq(io_create(at("no/such/x.npy"), &l, &w), ANN_ENOENT);
    ck_assert_int_eq(io_create(at("x.txt"), &l, &w), ANN_EINVAL);
    ck_assert_int_eq(io_create(at("x.ivecs"), &l, &w), ANN_EINVAL);
}
END_TEST

START_TEST(a_link_stays_a_link)
{
    const struct io_matrix m = sample_rows();
    char link[128], target[128];
    struct stat st;
    snprintf(target, sizeof target, "%s", put("there.npy", "old", 3));
    snprintf(link, sizeof link, "%s", at("link.npy"));
    ck_assert_int_eq(symlink(target, link), 0);
    ck_assert_int_eq(write_as(link, IO_F32, N, &m), ANN_OK);
    ck_assert_int_eq(lstat(link, &st), 0);
    ck_assert(S_ISLNK(st.st_mode));
    struct io_matrix back;
    ck_assert_int_eq(io_load(target, NULL, &back), ANN_OK);
    assert_sample(&back);
    io_free(&back);
}
END_TEST

/* ---- ids ---- */

START_TEST(ids_of_text)
{
    const struct {
        const char *text, *says;
        size_t n;
        ann_id last;
    } cases[] = {
        {"1\n2\n3\n", NULL, 3, 3},
        {"", NULL, 0, 0},
        {"# head\n\n  7 \r\n18446744073709551614", NULL, 2, UINT64_MAX - 1},
        {"1\n18446744073709551615\n", "line 2", 0, 0},
        {"1\n99999999999999999999\n", "line 2", 0, 0},
        {"1\n2\n-3\n", "line 3: '-3'", 0, 0},
        {"1.5\n", "line 1", 0, 0},
        {"1 2\n", "'1 2'", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ann_id *ids = NULL;
        size_t n = 0;
        const ann_err err =
            io_load_ids(put("ids.txt", cases[i].text, strlen(cases[i].text)), &ids, &n);
        ck_assert_int_eq(err, cases[i].says ? ANN_EINVAL : ANN_OK);
        if (err)
            ck_assert_msg(strstr(error_message(), cases[i].says), "%s", error_message());
        ck_assert_uint_eq(n, cases[i].n);
        if (n > 0)
            ck_assert_uint_eq(ids[n - 1], cases[i].last);
        mem_free(ids);
    }
}
END_TEST

START_TEST(ids_of_npy)
{
    const int64_t list[] = {5, 1, 9}, wrong[] = {5, -1};
    struct io_matrix m = {
        .data = list, .n = 3, .dim = 1, .stride = 1, .type = IO_I64, .rank = 1};
    ann_id *ids;
    size_t n;
    const enum io_type types[] = {IO_I64, IO_U64, IO_I32, IO_U32, IO_U8};
    for (size_t i = 0; i < 5; i++) {
        ck_assert_int_eq(write_as(at("ids.npy"), types[i], 3, &m), ANN_OK);
        ck_assert_int_eq(io_load_ids(at("ids.npy"), &ids, &n), ANN_OK);
        ck_assert_uint_eq(n, 3);
        ck_assert_uint_eq(ids[2], 9);
        mem_free(ids);
    }
    ck_assert_int_eq(write_as(at("ids.npy"), IO_F32, 3, &m), ANN_OK);
    ck_assert_int_eq(io_load_ids(at("ids.npy"), &ids, &n), ANN_EINVAL);
    m.data = wrong;
    m.n = 2;
    ck_assert_int_eq(write_as(at("ids.npy"), IO_I64, 2, &m), ANN_OK);
    ck_assert_int_eq(io_load_ids(at("ids.npy"), &ids, &n), ANN_EINVAL);
    ck_assert_msg(strstr(error_message(), "row 1"), "%s", error_message());
}
END_TEST

/* ---- IDX ---- */

static uint32_t crc32_of(const unsigned char *p, size_t n)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int b = 0; b < 8; b++)
            crc = crc >> 1 ^ (0xedb88320u & (0 - (crc & 1)));
    }
    return ~crc;
}

START_TEST(idx_files)
{
    static const unsigned char plain[] = "\0\0\x0d\x03\0\0\0\x02\0\0\0\x01\0\0\0\x02"
                                         "\x3f\x80\0\0\x40\0\0\0\xbf\x80\0\0\0\0\0\0";
    const size_t n = sizeof plain - 1;
    unsigned char gz[128] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, (unsigned char)n, 0,
                             (unsigned char)~n, 0xff};
    const uint32_t tail[2] = {crc32_of(plain, n), (uint32_t)n};
    memcpy(gz + 15, plain, n);
    memcpy(gz + 15 + n, tail, 8);
    for (int zipped = 0; zipped < 2; zipped++) {
        const char *path =
            zipped ? put("x-ubyte.gz", gz, 15 + n + 8) : put("x-ubyte", plain, n);
        struct io_matrix m;
        ck_assert_int_eq(io_load(path, NULL, &m), ANN_OK);
        ck_assert_uint_eq(m.n, 2);
        ck_assert_uint_eq(m.dim, 2);
        ck_assert_float_eq(((const float *)io_row(&m, 0))[1], 2.0f);
        ck_assert_float_eq(((const float *)io_row(&m, 1))[0], -1.0f);
        io_free(&m);
    }
    struct io_matrix m;
    gz[17]++;
    ck_assert_int_eq(io_read_idx(put("x-ubyte.gz", gz, 15 + n + 8), &m), ANN_EINVAL);
    ck_assert_int_eq(io_read_idx(put("x.idx", plain, n - 1), &m), ANN_EINVAL);
    ck_assert_msg(strstr(error_message(), "cut short"), "%s", error_message());
    /* 2^32 - 1 rows of 2^24 numbers, of which 4 bytes are there: no memory for the others. */
    ck_assert_int_eq(
        io_read_idx(put("x.idx", "\0\0\x08\x02\xff\xff\xff\xff\1\0\0\0abcd", 16), &m),
        ANN_EINVAL);
    ck_assert_int_eq(io_read_idx(put("x.idx", "\0\0\x08\x02\0\0\0\1\0\0\0\0", 12), &m),
                     ANN_EINVAL);
    ck_assert_int_eq(io_read_idx(put("x.idx", "\0\0\x0e\x01\0\0\0\0", 8), &m), ANN_EINVAL);
    ck_assert_int_eq(io_read_idx(at("none"), &m), ANN_ENOENT);
}
END_TEST

/* ---- JSON ---- */

START_TEST(json_parsing)
{
    struct js *d;
    const char *text = "{\"a\": [1, 2.5, \"x\", true, null], \"n\": 12, \"neg\": -1}";
    ck_assert_int_eq(js_parse("t", text, strlen(text), 0, &d), ANN_OK);
    const struct js *a = js_get(d, "a");
    uint64_t u;
    ck_assert_int_eq(js_kind(a), JS_ARRAY);
    ck_assert_uint_eq(js_count(a), 5);
    ck_assert_double_eq(js_number(js_at(a, 1), 0), 2.5);
    ck_assert_str_eq(js_string(js_at(a, 2), ""), "x");
    ck_assert(js_bool(js_at(a, 3), false));
    ck_assert_int_eq(js_kind(js_at(a, 4)), JS_NULL);
    ck_assert_ptr_null(js_at(a, 5));
    ck_assert_ptr_null(js_get(a, "no"));
    ck_assert_str_eq(js_string(js_get(d, "none"), "else"), "else");
    ck_assert(js_u64(js_get(d, "n"), &u) && u == 12);
    ck_assert(!js_u64(js_get(d, "neg"), &u));
    js_free(d);
    static const char *const bad[] = {
        "", "{", "{\"a\":1,\"a\":2}", "[1,]", "nul", "\"\\u0000\"", "\"\xff\"", "1 2", "1e999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(js_parse("t", bad[i], strlen(bad[i]), 0, &d) == ANN_EINVAL, "%s", bad[i]);
    char deep[5000];
    memset(deep, '[', sizeof deep);
    ck_assert_int_eq(js_parse("t", deep, sizeof deep, 0, &d), ANN_EINVAL);
    ck_assert_int_eq(js_parse("t", "[1,2]", 5, 4, &d), ANN_ELIMIT);
    ck_assert_int_eq(js_load(put("x.json", "[1,2]", 5), 4, &d), ANN_ELIMIT);
    ck_assert_int_eq(js_load(at("x.json"), 5, &d), ANN_OK);
    js_free(d);
}
END_TEST

START_TEST(json_writing)
{
    struct js_out o = JS_OUT_INIT;
    char text[512];
    FILE *f = fopen(at("x.json"), "w");
    for (int line = 0; line < 2; line++) {
        js_open(&o, NULL, '{');
        js_put_string(&o, "s", "a\"\\\n\x01\xc3\xa9\xff\xed\xa0\x80");
        js_open(&o, "list", '[');
        js_put_float(&o, NULL, 0.1f);
        js_put_double(&o, NULL, 0.1);
        js_put_double(&o, NULL, NAN);
        js_put_u64(&o, NULL, INT64_MAX);
        js_put_i64(&o, NULL, INT64_MIN);
        js_shut(&o, ']');
        js_open(&o, "empty", '{');
        js_shut(&o, '}');
        js_put_bool(&o, "yes", true);
        js_put_string(&o, "none", NULL);
        js_shut(&o, '}');
        ck_assert_int_eq(js_line(&o, f), ANN_OK);
    }
    js_out_free(&o);
    fclose(f);
    const size_t n = get(at("x.json"), text, sizeof text - 1);
    text[n] = '\0';
    static const char line[] =
        "{\"s\":"
        "\"a\\\"\\\\\\n\\u0001\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\","
        "\"list\":[0.1,0.1,null,9223372036854775807,-9223372036854775808],\"empty\":{},"
        "\"yes\":true,\"none\":null}\n";
    ck_assert_uint_eq(n, 2 * strlen(line));
    ck_assert(memcmp(text, line, strlen(line)) == 0);
    ck_assert_str_eq(text + strlen(line), line);
    struct js *d;
    ck_assert_int_eq(js_parse("t", text, strlen(line), 0, &d), ANN_OK);
    js_free(d);
}
END_TEST

/* The shortest form reads back to the same bits, whatever the locale. */
START_TEST(json_numbers)
{
    char buf[JS_NUMBER_MAX];
    uint64_t state = 3;
    for (int i = 0; i < 100000; i++) {
        const uint64_t any = rng_next(&state);
        float f;
        double d;
        memcpy(&f, &any, sizeof f);
        memcpy(&d, &any, sizeof d);
        if (isfinite(f)) {
            js_format_float(buf, f);
            ck_assert_float_eq(strtof(buf, NULL), f);
        }
        if (isfinite(d)) {
            js_format_double(buf, d);
            ck_assert_double_eq(strtod(buf, NULL), d);
        }
    }
    js_format_float(buf, FLT_MAX);
    ck_assert_str_eq(buf, "3.4028235e+38");
    js_format_float(buf, 16777216.0f);
    ck_assert_str_eq(buf, "16777216");
    if (setlocale(LC_NUMERIC, "de_DE.UTF-8") || setlocale(LC_NUMERIC, "fr_FR.UTF-8")) {
        js_format_double(buf, 1.5);
        ck_assert_str_eq(buf, "1.5");
        struct js *d;
        ck_assert_int_eq(js_parse("t", "2.5", 3, 0, &d), ANN_OK);
        ck_assert_double_eq(js_number(d, 0), 2.5);
        js_free(d);
        setlocale(LC_NUMERIC, "C");
    }
}
END_TEST

/* ---- HDF5, stopping, mapped paths ---- */

#ifdef HAVE_HDF5
START_TEST(hdf5_files)
{
    const struct io_matrix m = sample_rows();
    char path[128];
    snprintf(path, sizeof path, "%s", at("set.hdf5"));
    ck_assert_int_eq(hdf5_store(path, "train", &m), ANN_OK);
    const struct io_matrix part = io_rows(&m, 2, 3);
    ck_assert_int_eq(hdf5_store(path, "test", &part), ANN_OK);
    ck_assert_int_eq(hdf5_store(path, "test", &part), ANN_OK); /* replaced */
    ck_assert(hdf5_has(path, "train") && hdf5_has(path, "test") && !hdf5_has(path, "none"));
    struct io_matrix back;
    ck_assert_int_eq(hdf5_load(path, "train", &back), ANN_OK);
    assert_sample(&back);
    io_free(&back);
    ck_assert_int_eq(hdf5_load(path, "test", &back), ANN_OK);
    ck_assert_uint_eq(back.n, 3);
    ck_assert_float_eq(*(const float *)io_row(&back, 0), sample[2][0]);
    io_free(&back);
    ck_assert_int_eq(hdf5_load(path, "none", &back), ANN_ENOENT);
    ck_assert_msg(strstr(error_message(), "no dataset 'none'"), "%s", error_message());
    ck_assert_int_eq(hdf5_load(at("none.hdf5"), "train", &back), ANN_ENOENT);
    ck_assert_int_eq(hdf5_load(put("bad.hdf5", "hello", 5), "train", &back), ANN_EINVAL);
    char text[8];
    ck_assert(!hdf5_attribute(path, "distance", text, sizeof text));
    ck_assert(!hdf5_has(at("none.hdf5"), "train"));
}
END_TEST
#endif

START_TEST(stopping)
{
    const struct io_matrix m = sample_rows();
    volatile sig_atomic_t stop = 1;
    struct progress p;
    struct io_matrix back;
    ck_assert_int_eq(write_as(at("x.npy"), IO_F32, N, &m), ANN_OK);
    io_stop = &stop;
    ck_assert_int_eq(write_as(at("y.npy"), IO_F32, N, &m), ANN_ECANCELED);
    ck_assert_int_eq(access(at("y.npy"), F_OK), -1);
    ck_assert_int_eq(io_read_idx(at("none"), &back), ANN_ENOENT);
    io_stop = NULL;
    progress_init(&p, true, &stop);
    ck_assert_int_eq(progress_step(&p, "working", 1, 2), 1);
    stop = 0;
    ck_assert_int_eq(progress_step(&p, "working", 1, 2), 0);
    progress_clear(&p);
}
END_TEST

/* On a terminal there is a bar, with colours unless NO_COLOR says no; quiet, there is none. */
START_TEST(a_bar_on_a_terminal)
{
    const int master = posix_openpt(O_RDWR | O_NOCTTY);
    ck_assert_int_ge(master, 0);
    ck_assert(grantpt(master) == 0 && unlockpt(master) == 0);
    const int slave = open(ptsname(master), O_RDWR | O_NOCTTY), old = dup(STDERR_FILENO);
    ck_assert_int_ge(slave, 0);
    dup2(slave, STDERR_FILENO);
    setenv("TERM", "xterm", 1);
    char text[3][1024];
    for (int how = 0; how < 3; how++) { /* coloured, plain, quiet */
        struct progress p;
        setenv("NO_COLOR", how == 1 ? "1" : "", 1);
        progress_init(&p, how == 2, NULL);
        for (uint64_t step = 0; step < 3; step++) {
            ck_assert_int_eq(progress_step(&p, "adding", 1000 * step, 4000), 0);
            usleep(120000);
        }
        progress_clear(&p);
        fputs("end", stderr);
        fflush(stderr);
        size_t n = 0;
        do {
            const ssize_t got = read(master, text[how] + n, sizeof text[how] - 1 - n);
            ck_assert_int_gt(got, 0);
            n += (size_t)got;
            text[how][n] = '\0';
        } while (!strstr(text[how], "end"));
    }
    dup2(old, STDERR_FILENO);
    close(old);
    close(slave);
    close(master);
    ck_assert_msg(strstr(text[0], "adding [\033[32m"), "%s", text[0]);
    ck_assert_msg(strstr(text[0], "2.00k/4.00k") && strstr(text[0], "k/s  0:00"), "%s",
                  text[0]);
    ck_assert_ptr_null(strstr(text[1], "[32m"));
    ck_assert_ptr_nonnull(strstr(text[1], "adding [====="));
    ck_assert_str_eq(text[2], "end");
}
END_TEST

/* ---- memory runs out at each allocation: an error, no leak, no file ---- */

static ann_err one_of_each(int what)
{
    struct io_matrix m = sample_rows(), back;
    struct js_out o = JS_OUT_INIT;
    ann_id *ids;
    size_t n;
    ann_err err = ANN_OK;
    FILE *f;
    switch (what) {
    case 0:
        return write_as(at("oom.npy"), IO_F64, IO_UNKNOWN, &m);
    case 1:
    case 2:
    case 3:
        err = io_load(at(what == 1 ? "x.npy" : what == 2 ? "x.fvecs" : "x.idx"), NULL, &back);
        if (!err)
            io_free(&back);
        return err;
    case 4:
        err = io_load_ids(at("ids.txt"), &ids, &n);
        if (!err)
            mem_free(ids);
        return err;
    default:
        f = fopen("/dev/null", "w");
        js_open(&o, NULL, '[');
        for (int i = 0; i < 200; i++)
            js_put_u64(&o, NULL, 1000000);
        js_shut(&o, ']');
        err = js_line(&o, f);
        js_out_free(&o);
        fclose(f);
        return err;
    }
}

START_TEST(out_of_memory)
{
    const struct io_matrix m = sample_rows();
    ck_assert_int_eq(write_as(at("x.npy"), IO_F64, N, &m), ANN_OK);
    ck_assert_int_eq(write_as(at("x.fvecs"), IO_F32, N, &m), ANN_OK);
    put("x.idx", "\0\0\x08\x01\0\0\0\x02hi", 10);
    put("ids.txt", "1\n2\n", 4);
    for (uint64_t n = 1;; n++) {
        ck_assert_uint_lt(n, 100);
        memory_fail_at(n, false);
        const ann_err err = one_of_each(_i);
        memory_fail_at(0, false);
        if (err == ANN_OK)
            break;
        ck_assert_msg(err == ANN_ENOMEM, "allocation %d: %s", (int)n, error_message());
        ck_assert_int_eq(access(at("oom.npy"), F_OK), -1);
    }
}
END_TEST

START_TEST(mapped_paths)
{
    const struct io_matrix m = sample_rows();
    struct io_matrix back;
    ck_assert_int_eq(write_as(at("x.fvecs"), IO_F32, N, &m), ANN_OK);
    ck_assert_int_eq(io_load(at("x.fvecs"), NULL, &back), ANN_OK);
    ck_assert_uint_gt(back.hold_bytes, 0);
    ck_assert_uint_eq(back.stride, D + 1);
    ck_assert_str_eq(io_mapped_path(io_row(&back, 3)), at("x.fvecs"));
    const void *was = back.data;
    io_free(&back);
    ck_assert_ptr_null(io_mapped_path(was));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("io");
    TCase *c = tcase_create("io");
    tcase_add_checked_fixture(c, make_folder, remove_folder);
    tcase_add_loop_test(c, round_trip, 0, sizeof written / sizeof written[0]);
    tcase_add_loop_test(c, through_a_pipe, 0, 4);
    tcase_add_loop_test(c, npy_headers, 0, sizeof headers / sizeof headers[0]);
    tcase_add_test(c, npy_values);
    tcase_add_test(c, vecs_headers);
    tcase_add_test(c, open_errors);
    tcase_add_test(c, bits);
    tcase_add_loop_test(c, cut_anywhere, 0, VICTIMS);
    tcase_add_loop_test(c, damaged_at_random, 0, VICTIMS);
    tcase_add_test(c, half_floats);
    tcase_add_test(c, conversions_that_do_not_fit);
    tcase_add_test(c, a_failed_write_leaves_the_old_file);
    tcase_add_test(c, a_link_stays_a_link);
    tcase_add_test(c, ids_of_text);
    tcase_add_test(c, ids_of_npy);
    tcase_add_test(c, idx_files);
    tcase_add_test(c, json_parsing);
    tcase_add_test(c, json_writing);
    tcase_add_test(c, json_numbers);
#ifdef HAVE_HDF5
    tcase_add_test(c, hdf5_files);
#endif
    tcase_add_test(c, stopping);
    tcase_add_test(c, a_bar_on_a_terminal);
    tcase_add_loop_test(c, out_of_memory, 0, 6);
    tcase_add_test(c, mapped_paths);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
