/*
 * Template: fwht_f32 and butterfly_f32 on vector registers.  Parameters:
 *   V, W                       vector type and its lanes (a power of two <= 16)
 *   V_LOAD(p), V_STORE(p, v)   of W floats, unaligned
 *   V_ADD(a, b), V_SUB(a, b)
 *   V_LANES(v)                 the butterflies of span 1 ... W / 2 in v
 *   KERNEL(name)               the external name
 *
 * The first pass does the spans up to 4 W on 8 vectors in registers, later ones
 * two spans each.  Order and operations are those of the contract, so the bits
 * are too.
 */

/* The butterflies of span `span` vectors among v[count]. */
ALWAYS_INLINE void across(V *v, size_t count, size_t span)
{
    for (size_t i = 0; i < count; i++)
        if (!(i & span)) {
            const V a = v[i], b = v[i + span];
            v[i] = V_ADD(a, b);
            v[i + span] = V_SUB(a, b);
        }
}

/* All spans below count * W, of n floats; count is 4 or 8. */
ALWAYS_INLINE void first_spans(float *x, size_t n, size_t count)
{
    for (size_t at = 0; at < n; at += count * W) {
        V v[8];
        for (size_t i = 0; i < count; i++) {
            v[i] = V_LOAD(x + at + i * W);
            v[i] = V_LANES(v[i]);
        }
        across(v, count, 1);
        across(v, count, 2);
        if (count == 8)
            across(v, count, 4);
        for (size_t i = 0; i < count; i++)
            V_STORE(x + at + i * W, v[i]);
    }
}

/* Spans `span` and 2 * span of n floats. */
ALWAYS_INLINE void two_spans(float *x, size_t n, size_t span)
{
    for (size_t block = 0; block < n; block += 4 * span)
        for (size_t at = block; at < block + span; at += W) {
            V v[4];
            for (size_t i = 0; i < 4; i++)
                v[i] = V_LOAD(x + at + i * span);
            across(v, 4, 1);
            across(v, 4, 2);
            for (size_t i = 0; i < 4; i++)
                V_STORE(x + at + i * span, v[i]);
        }
}

void KERNEL(butterfly_f32)(float *a, float *b, size_t n)
{
    size_t i = 0;
    for (; n - i >= W; i += W) {
        const V x = V_LOAD(a + i), y = V_LOAD(b + i);
        V_STORE(a + i, V_ADD(x, y));
        V_STORE(b + i, V_SUB(x, y));
    }
    plain_butterfly(a + i, b + i, n - i);
}

void KERNEL(fwht_f32)(float *x, size_t n)
{
    size_t span = 8 * W;
    if (n >= span) {
        first_spans(x, n, 8);
    } else {
        span = 4 * W;
        first_spans(x, n, 4);
    }
    for (; 4 * span <= n; span *= 4)
        two_spans(x, n, span);
    if (span < n)
        KERNEL(butterfly_f32)(x, x + span, span);
}
