/*
 * Template: f32 `many` for L2 and inner product, four rows at a time.  The
 * rows share the loads of the query and the reduction of their accumulators,
 * 16 of them, so this is for instruction sets with 32 vector registers.
 * Include after body_float.h made the f32 functions; needs its parameters and
 *   V_SUM4(a, b, c, d, out)   V_SUM of each to out[0..3], the same bits
 *
 * Every row goes through the chunks as one_l2_f32 and one_ip_f32 do.
 */
#define QUAD_L2(s, qv, xv)                                                                  \
    do {                                                                                    \
        const V diff = V_SUB(qv, xv);                                                       \
        s = V_FMA(diff, diff, s);                                                           \
    } while (0)
#define QUAD_IP(s, qv, xv) s = V_FMA(qv, xv, s)
#define QUAD_ZERO(r)                                                                        \
    V r##0 = V_ZERO(), r##1 = V_ZERO(), r##2 = V_ZERO(), r##3 = V_ZERO();
#define QUAD_CHUNK(STEP, k, at)                                                             \
    do {                                                                                    \
        const V qv = QLOAD(q + (at));                                                       \
        STEP(a##k, qv, QLOAD(xa + (at)));                                                   \
        STEP(b##k, qv, QLOAD(xb + (at)));                                                   \
        STEP(c##k, qv, QLOAD(xc + (at)));                                                   \
        STEP(d##k, qv, QLOAD(xd + (at)));                                                   \
    } while (0)
#define QUAD_SUM(r) V_ADD(V_ADD(r##0, r##1), V_ADD(r##2, r##3))

#define DEFINE_QUAD(METRIC, STEP, FINISH)                                                   \
    ALWAYS_INLINE void quad_##METRIC(const float *q, const float *const row[4], size_t dim, \
                                     float *out)                                            \
    {                                                                                       \
        const float *const xa = row[0], *const xb = row[1], *const xc = row[2],             \
                           *const xd = row[3];                                              \
        QUAD_ZERO(a) QUAD_ZERO(b) QUAD_ZERO(c) QUAD_ZERO(d)                                 \
        size_t i = 0;                                                                       \
        for (; dim - i >= 4 * W; i += 4 * W) {                                              \
            QUAD_CHUNK(STEP, 0, i);                                                         \
            QUAD_CHUNK(STEP, 1, i + W);                                                     \
            QUAD_CHUNK(STEP, 2, i + 2 * W);                                                 \
            QUAD_CHUNK(STEP, 3, i + 3 * W);                                                 \
        }                                                                                   \
        const size_t left = dim - i, rest = left % W;                                       \
        if (left >= W)                                                                      \
            QUAD_CHUNK(STEP, 0, i);                                                         \
        if (left >= 2 * W)                                                                  \
            QUAD_CHUNK(STEP, 1, i + W);                                                     \
        if (left >= 3 * W)                                                                  \
            QUAD_CHUNK(STEP, 2, i + 2 * W);                                                 \
        if (rest > 0) {                                                                     \
            const size_t at = dim - rest;                                                   \
            const V qv = QTAIL(q + at, rest);                                               \
            STEP(a3, qv, QTAIL(xa + at, rest));                                             \
            STEP(b3, qv, QTAIL(xb + at, rest));                                             \
            STEP(c3, qv, QTAIL(xc + at, rest));                                             \
            STEP(d3, qv, QTAIL(xd + at, rest));                                             \
        }                                                                                   \
        V_SUM4(QUAD_SUM(a), QUAD_SUM(b), QUAD_SUM(c), QUAD_SUM(d), out);                    \
        for (int r = 0; r < 4; r++)                                                         \
            out[r] = FINISH(out[r]);                                                        \
    }                                                                                       \
    static void d_##METRIC##_f32_many(const void *query, const void *base, size_t stride,   \
                                      const uint32_t *slots, size_t n, size_t dim,          \
                                      float *out)                                           \
    {                                                                                       \
        const size_t span = prefetch_span(dim * sizeof(float));                             \
        for (size_t i = 0; i < n && i < 4; i++)                                             \
            prefetch_row(row_at(base, stride, slots[i]), span);                             \
        size_t i = 0;                                                                       \
        for (; n - i >= 4; i += 4) {                                                        \
            const float *row[4];                                                            \
            for (size_t r = 0; r < 4; r++)                                                  \
                row[r] = (const void *)row_at(base, stride, slots[i + r]);                  \
            for (size_t r = i + 4; r < i + 8 && r < n; r++)                                 \
                prefetch_row(row_at(base, stride, slots[r]), span);                         \
            quad_##METRIC(query, row, dim, out + i);                                        \
        }                                                                                   \
        for (; i < n; i++)                                                                  \
            out[i] = one_##METRIC##_f32(query, (const void *)row_at(base, stride, slots[i]), \
                                        dim);                                               \
    }

ALWAYS_INLINE float finish_l2(float sum)
{
    return sum;
}

DEFINE_QUAD(l2, QUAD_L2, finish_l2)
DEFINE_QUAD(ip, QUAD_IP, finish_ip)
