/*
 * Template: float distances of an f32 query to vectors of one stored type.
 * Include once per type with these defined (undefined again at the end):
 *   T                 f32, f16 or bf16
 *   ELEM              the stored element
 *   LOAD(p)           W elements at p as a V of floats
 *   TAIL(p, n)        n < W elements at p, zeros in the other lanes
 * and once per file:
 *   V, W              vector of W floats
 *   V_ZERO(), V_ADD(a, b), V_SUB(a, b), V_FMA(a, b, c) = a * b + c
 *   V_SUM(v)          sum of the lanes, in one fixed order
 *   QLOAD(p), QTAIL(p, n)   LOAD and TAIL of f32
 *
 * Chunk c of W elements is added to accumulator c % 4; the tail is one more
 * chunk, with zeros.  Four accumulators cover the latency of fused
 * multiply-add, and with W >= 4 no lane adds more than dim / 16 + 1 terms.
 */
#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define FN(name) CAT(name, T)

/* The chunks of one vector through STEP(accumulator index, q, x). */
#define ALL_CHUNKS(STEP)                                                                    \
    size_t i = 0;                                                                           \
    for (; dim - i >= 4 * W; i += 4 * W) {                                                  \
        STEP(0, QLOAD(q + i), LOAD(x + i));                                                 \
        STEP(1, QLOAD(q + i + W), LOAD(x + i + W));                                         \
        STEP(2, QLOAD(q + i + 2 * W), LOAD(x + i + 2 * W));                                 \
        STEP(3, QLOAD(q + i + 3 * W), LOAD(x + i + 3 * W));                                 \
    }                                                                                       \
    const size_t left = dim - i, rest = left % W;                                           \
    if (left >= W)                                                                          \
        STEP(0, QLOAD(q + i), LOAD(x + i));                                                 \
    if (left >= 2 * W)                                                                      \
        STEP(1, QLOAD(q + i + W), LOAD(x + i + W));                                         \
    if (left >= 3 * W)                                                                      \
        STEP(2, QLOAD(q + i + 2 * W), LOAD(x + i + 2 * W));                                 \
    if (rest > 0)                                                                           \
        STEP(3, QTAIL(q + (dim - rest), rest), TAIL(x + (dim - rest), rest));

#define STEP_L2(k, qv, xv)                                                                  \
    do {                                                                                    \
        const V diff = V_SUB(qv, xv);                                                       \
        s##k = V_FMA(diff, diff, s##k);                                                     \
    } while (0)
#define STEP_IP(k, qv, xv) s##k = V_FMA(qv, xv, s##k)
#define STEP_COS(k, qv, xv)                                                                 \
    do {                                                                                    \
        const V stored = (xv);                                                              \
        s##k = V_FMA(qv, stored, s##k);                                                     \
        n##k = V_FMA(stored, stored, n##k);                                                 \
    } while (0)

ALWAYS_INLINE float FN(one_l2_)(const float *q, const ELEM *x, size_t dim)
{
    V s0 = V_ZERO(), s1 = V_ZERO(), s2 = V_ZERO(), s3 = V_ZERO();
    ALL_CHUNKS(STEP_L2)
    return V_SUM(V_ADD(V_ADD(s0, s1), V_ADD(s2, s3)));
}

ALWAYS_INLINE float FN(one_ip_)(const float *q, const ELEM *x, size_t dim)
{
    V s0 = V_ZERO(), s1 = V_ZERO(), s2 = V_ZERO(), s3 = V_ZERO();
    ALL_CHUNKS(STEP_IP)
    return finish_ip(V_SUM(V_ADD(V_ADD(s0, s1), V_ADD(s2, s3))));
}

/* qq, the query's squared norm, adds up in the same order as the stored one's,
   so that a vector is at exactly 0 from itself. */
ALWAYS_INLINE float FN(one_cos_)(const float *q, const ELEM *x, size_t dim, float qq)
{
    V s0 = V_ZERO(), s1 = V_ZERO(), s2 = V_ZERO(), s3 = V_ZERO();
    V n0 = V_ZERO(), n1 = V_ZERO(), n2 = V_ZERO(), n3 = V_ZERO();
    ALL_CHUNKS(STEP_COS)
    const float dot = V_SUM(V_ADD(V_ADD(s0, s1), V_ADD(s2, s3)));
    const float xx = V_SUM(V_ADD(V_ADD(n0, n1), V_ADD(n2, n3)));
    if (!norm_in_range(qq) || !norm_in_range(xx))
        return FN(cos_wide_)(q, x, dim);
    return finish_cos(dot, qq, xx);
}

#undef STEP_L2
#undef STEP_IP
#undef STEP_COS
#undef ALL_CHUNKS
#undef FN
#undef CAT
#undef CAT_
#undef T
#undef ELEM
#undef LOAD
#undef TAIL
