/* iotype.c - element types and file formats: names, sizes, conversion of numbers.
 *
 * Place: ann/io.  Invariant: a conversion never changes a number silently, but for rounding to
 * a shorter float; what does not fit is reported. */
#include <config.h>

#include <math.h>
#include <string.h>
#include <strings.h>

#include "ann/base/memory.h"
#include "ann/io/source.h"

static const struct {
    const char *name;
    enum io_type type;
    size_t bytes;
} types[] = {
    {"f32", IO_F32, 4},   {"f16", IO_F16, 2}, {"bf16", IO_BF16, 2}, {"i8", IO_I8, 1},
    {"u8", IO_U8, 1},     {"b1", IO_B1, 0},   {"i32", IO_I32, 4},   {"u32", IO_U32, 4},
    {"i64", IO_I64, 8},   {"u64", IO_U64, 8}, {"f64", IO_F64, 8},
};

#define TYPES (sizeof types / sizeof types[0])

const char *io_type_name(enum io_type t)
{
    for (size_t i = 0; i < TYPES; i++)
        if (types[i].type == t)
            return types[i].name;
    return "any";
}

bool io_type_parse(const char *name, enum io_type *t)
{
    for (size_t i = 0; i < TYPES; i++)
        if (strcmp(types[i].name, name) == 0) {
            *t = types[i].type;
            return true;
        }
    return false;
}

size_t io_type_bytes(enum io_type t)
{
    for (size_t i = 0; i < TYPES; i++)
        if (types[i].type == t)
            return types[i].bytes;
    return 0;
}

bool io_row_bytes(enum io_type t, size_t dim, size_t *bytes)
{
    if (t == IO_B1) {
        *bytes = dim / 8 + (dim % 8 != 0);
        return true;
    }
    return size_mul(dim, io_type_bytes(t), bytes);
}

static const struct {
    const char *name, *endings[4];
    enum io_format format;
} formats[] = {
    {"npy", {".npy"}, IO_NPY},
    {"fvecs", {".fvecs"}, IO_FVECS},
    {"ivecs", {".ivecs"}, IO_IVECS},
    {"bvecs", {".bvecs"}, IO_BVECS},
    {"raw", {".raw", ".bin"}, IO_RAW},
    {"idx", {"-ubyte", "-ubyte.gz", ".idx", ".idx.gz"}, IO_IDX},
    {"hdf5", {".hdf5", ".h5"}, IO_HDF5},
};

#define FORMATS (sizeof formats / sizeof formats[0])

const char *io_format_name(enum io_format f)
{
    for (size_t i = 0; i < FORMATS; i++)
        if (formats[i].format == f)
            return formats[i].name;
    return "auto";
}

bool io_format_parse(const char *name, enum io_format *f)
{
    for (size_t i = 0; i < FORMATS; i++)
        if (strcmp(formats[i].name, name) == 0) {
            *f = formats[i].format;
            return true;
        }
    return false;
}

static bool ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), m = strlen(end);
    return n >= m && strcasecmp(s + n - m, end) == 0;
}

enum io_format io_format_of(const char *path)
{
    if (strcasestr(path, ".hdf5:") || strcasestr(path, ".h5:"))
        return IO_HDF5;
    for (size_t i = 0; i < FORMATS; i++)
        for (size_t e = 0; e < 4 && formats[i].endings[e]; e++)
            if (ends_with(path, formats[i].endings[e]))
                return formats[i].format;
    return IO_AUTO;
}

/* ---- conversion ---- */

static float half_to_float(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31,
                   fraction = h & 0x3ff;
    uint32_t bits;
    float f;
    if (exponent == 0) { /* zero or subnormal: fraction times 2^-24, exact */
        f = (float)fraction * 0x1p-24f;
        return sign ? -f : f;
    }
    bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Rounds to nearest, ties to even; too large becomes infinite. */
static uint16_t float_to_half(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    bits &= 0x7fffffff;
    if (bits > 0x7f800000)
        return sign | 0x7e00;
    if (bits >= 0x47800000)
        return sign | 0x7c00;
    if (bits < 0x38800000) { /* subnormal: let the float unit round at 2^-24 */
        float small;
        memcpy(&small, &bits, sizeof small);
        return sign | (uint16_t)nearbyintf(small * 0x1p24f);
    }
    bits += 0xfff + (bits >> 13 & 1);
    return sign | (uint16_t)((bits - 0x38000000) >> 13);
}

static float bf16_to_float(uint16_t h)
{
    const uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint16_t float_to_bf16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (isnan(f))
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* One number on its way: integers keep all 64 bits. */
struct number {
    bool whole, negative; /* whole: magnitude holds it, else real */
    uint64_t magnitude;
    double real;
};

static struct number from_signed(int64_t v)
{
    return (struct number){true, v < 0, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, (double)v};
}

static struct number from_real(double v)
{
    struct number x = {false, v < 0, 0, v};
    if (v == trunc(v) && fabs(v) < 0x1p63) {
        x.whole = true;
        x.magnitude = (uint64_t)fabs(v);
    }
    return x;
}

#define LOAD(type)                                                                             \
    type v;                                                                                    \
    memcpy(&v, (const char *)src + i * sizeof v, sizeof v)

static struct number load(enum io_type from, const void *src, size_t i)
{
    switch (from) {
    case IO_F16: {
        LOAD(uint16_t);
        return from_real(half_to_float(v));
    }
    case IO_BF16: {
        LOAD(uint16_t);
        return from_real(bf16_to_float(v));
    }
    case IO_I8: {
        LOAD(int8_t);
        return from_signed(v);
    }
    case IO_U8: {
        LOAD(uint8_t);
        return from_signed(v);
    }
    case IO_I32: {
        LOAD(int32_t);
        return from_signed(v);
    }
    case IO_U32: {
        LOAD(uint32_t);
        return from_signed(v);
    }
    case IO_I64: {
        LOAD(int64_t);
        return from_signed(v);
    }
    case IO_U64: {
        LOAD(uint64_t);
        return (struct number){true, false, v, (double)v};
    }
    case IO_F64: {
        LOAD(double);
        return from_real(v);
    }
    default: {
        LOAD(float);
        return from_real(v);
    }
    }
}

#define STORE(type, value)                                                                     \
    do {                                                                                       \
        const type v = (type)(value);                                                          \
        memcpy((char *)dst + i * sizeof v, &v, sizeof v);                                      \
    } while (0)

/* Largest magnitudes of the integer types, below and above zero. */
static bool fits(struct number x, uint64_t below, uint64_t above)
{
    return x.whole && x.magnitude <= (x.negative ? below : above);
}

static bool store(enum io_type to, void *dst, size_t i, struct number x)
{
    const uint64_t bits = x.negative ? 0 - x.magnitude : x.magnitude;
    switch (to) {
    case IO_F16:
        STORE(uint16_t, float_to_half((float)x.real));
        return !isfinite(x.real) || fabs(x.real) < 65520;
    case IO_BF16:
        STORE(uint16_t, float_to_bf16((float)x.real));
        return !isfinite(x.real) || isfinite(bf16_to_float(float_to_bf16((float)x.real)));
    case IO_I8:
        STORE(uint8_t, bits);
        return fits(x, 128, 127);
    case IO_U8:
        STORE(uint8_t, bits);
        return fits(x, 0, UINT8_MAX);
    case IO_I32:
        STORE(uint32_t, bits);
        return fits(x, (uint64_t)INT32_MAX + 1, INT32_MAX);
    case IO_U32:
        STORE(uint32_t, bits);
        return fits(x, 0, UINT32_MAX);
    case IO_I64:
        STORE(uint64_t, bits);
        return fits(x, (uint64_t)INT64_MAX + 1, INT64_MAX);
    case IO_U64:
        STORE(uint64_t, bits);
        return fits(x, 0, UINT64_MAX);
    case IO_F64:
        STORE(double, x.real);
        return true;
    default: {
        /* The cast of a double beyond float's range has no defined result. */
        const bool ok = !(isfinite(x.real) && fabs(x.real) > 3.4028235677973366e38);
        STORE(float, ok ? x.real : 0);
        return ok;
    }
    }
}

bool io_convert(enum io_type to, void *dst, enum io_type from, const void *src, size_t count,
                size_t *bad)
{
    if (to == from) {
        if (count > 0)
            memcpy(dst, src,
                   to == IO_B1 ? count / 8 + (count % 8 != 0) : count * io_type_bytes(to));
        return true;
    }
    for (size_t i = 0; i < count; i++)
        if (!store(to, dst, i, load(from, src, i))) {
            *bad = i;
            return false;
        }
    return true;
}
