/*
 * Lists with AVX2.  Of 4 bits as rows (nibbles_avx2.h), queries sharing what
 * brings the nibbles together.  Of 6 and 8 bits 32 places are the bytes of a
 * register: vpshufb looks their lower nibbles up in each 16 entries of a table,
 * and the upper bits choose among these by a tree of blends.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "nibbles_avx2.h"
#include "vf_avx2.h"

#define ANNK_LISTS_SUMS
#define ANNK_LISTS_KEEP
#define ANNK_LISTS_DOTS
#include "body_lists.h"

/* ---- 4 bits ---- */

ALWAYS_INLINE void nibble_sums(const struct annk_list_query *const *q, size_t nq,
                               const uint8_t *codes, size_t at, list_sums_of *sums)
{
    const size_t chunks = q[0]->m / 8;
    struct place_sums all[ANNK_LIST_BATCH];
    struct byte_sums s[ANNK_LIST_BATCH];
    for (size_t i = 0; i < nq; i++)
        all[i].even = all[i].odd = _mm256_setzero_si256();
    for (size_t done = 0; done < chunks; done += CHUNKS) {
        const size_t end = chunks - done < CHUNKS ? chunks : done + CHUNKS;
        for (size_t i = 0; i < nq; i++)
            s[i].all = s[i].upper = _mm256_setzero_si256();
        for (size_t c = done; c < end; c++) {
            __m256i nibbles[4];
            chunk_nibbles(codes + 64 * c, nibbles);
            for (size_t i = 0; i < nq; i++)
                add_nibbles(&s[i], q[i]->table + 128 * c, nibbles);
        }
        for (size_t i = 0; i < nq; i++)
            add_halves(&all[i], &s[i], 0);
    }
    for (size_t i = 0; i < nq; i++) {
        __m256i out[2];
        places_in_order(&all[i], out);
        _mm256_store_si256((void *)(sums[i] + at), out[0]);
        _mm256_store_si256((void *)(sums[i] + at + 8), out[1]);
    }
}

static void unit_nibble_sums(const struct annk_list_query *const *q, size_t nq,
                             const struct list_unit *u, list_sums_of *sums)
{
    const size_t bytes = (size_t)q[0]->m / 2;
    for (size_t at = 0; at < u->n; at += 16)
        switch (nq) {
        case 1: nibble_sums(q, 1, u->codes + at * bytes, at, sums); break;
        case 2: nibble_sums(q, 2, u->codes + at * bytes, at, sums); break;
        case 3: nibble_sums(q, 3, u->codes + at * bytes, at, sums); break;
        default: nibble_sums(q, 4, u->codes + at * bytes, at, sums);
        }
}

/* ---- 6 and 8 bits ---- */

/* Of 16 entries, each byte's by its lower nibble; bit 7 of x is 0. */
ALWAYS_INLINE __m256i entries16(const uint8_t *table, __m256i x)
{
    return _mm256_shuffle_epi8(
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)table)), x);
}

/* Of 64; vpblendvb takes bit 7: of bit4 and bit5 it is that of the code. */
ALWAYS_INLINE __m256i entries64(const uint8_t *table, __m256i x, __m256i bit4, __m256i bit5)
{
    const __m256i a = _mm256_blendv_epi8(entries16(table, x), entries16(table + 16, x), bit4),
                  b = _mm256_blendv_epi8(entries16(table + 32, x), entries16(table + 48, x),
                                         bit4);
    return _mm256_blendv_epi8(a, b, bit5);
}

ALWAYS_INLINE __m256i low_nibbles(__m256i x)
{
    return _mm256_and_si256(x, _mm256_set1_epi8(15));
}

/* Of 64, by the lower six bits. */
ALWAYS_INLINE __m256i entries_of6(const uint8_t *table, __m256i x)
{
    return entries64(table, low_nibbles(x), _mm256_slli_epi16(x, 3), _mm256_slli_epi16(x, 2));
}

ALWAYS_INLINE __m256i entries_of8(const uint8_t *table, __m256i x)
{
    const __m256i low = low_nibbles(x), bit4 = _mm256_slli_epi16(x, 3),
                  bit5 = _mm256_slli_epi16(x, 2), bit6 = _mm256_slli_epi16(x, 1);
    const __m256i a = _mm256_blendv_epi8(entries64(table, low, bit4, bit5),
                                         entries64(table + 64, low, bit4, bit5), bit6),
                  b = _mm256_blendv_epi8(entries64(table + 128, low, bit4, bit5),
                                         entries64(table + 192, low, bit4, bit5), bit6);
    return _mm256_blendv_epi8(a, b, x);
}

/* 32 places, or 16 where a block has no more. */
ALWAYS_INLINE __m256i load_places(const uint8_t *codes, size_t places)
{
    if (places >= 32)
        return load256(codes);
    return _mm256_zextsi128_si256(_mm_loadu_si128((const void *)codes));
}

/* Entries of subspaces [from, end), of places at..at+31 of the unit. */
ALWAYS_INLINE struct byte_sums entry_sums(const struct annk_list_query *q,
                                          const struct list_unit *u, size_t from, size_t end,
                                          size_t at)
{
    const size_t places = u->width - at, width = u->width;
    struct byte_sums s = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    if (q->bits == 8) {
        for (size_t c = from; c < end; c++)
            add_bytes(&s, entries_of8(q->table + 256 * c,
                                      load_places(u->codes + c * width + at, places)));
        return s;
    }
    const __m256i upper = _mm256_set1_epi8((char)0xc0);
    for (size_t c = from; c < end; c += 4) {
        const uint8_t *const codes = u->codes + c / 4 * 3 * width + at;
        const uint8_t *const table = q->table + 64 * c;
        __m256i last = _mm256_setzero_si256();
        for (size_t r = 0; r < 3; r++) {
            const __m256i x = load_places(codes + r * width, places);
            add_bytes(&s, entries_of6(table + 64 * r, x));
            const __m256i two = _mm256_and_si256(x, upper);
            last = _mm256_or_si256(last, _mm256_srli_epi16(two, (int)(6 - 2 * r)));
        }
        add_bytes(&s, entries_of6(table + 192, last));
    }
    return s;
}

ALWAYS_INLINE void add_eight(uint32_t *sums, __m128i words)
{
    _mm256_store_si256((void *)sums, _mm256_add_epi32(_mm256_load_si256((void *)sums),
                                                      _mm256_cvtepu16_epi32(words)));
}

/* To the sums of 32 places, in their order. */
ALWAYS_INLINE void add_entries(uint32_t *sums, const struct byte_sums *s)
{
    const __m256i even = lower_bytes(s), low = _mm256_unpacklo_epi16(even, s->upper),
                  high = _mm256_unpackhi_epi16(even, s->upper);
    add_eight(sums, _mm256_castsi256_si128(low));
    add_eight(sums + 8, _mm256_castsi256_si128(high));
    add_eight(sums + 16, _mm256_extracti128_si256(low, 1));
    add_eight(sums + 24, _mm256_extracti128_si256(high, 1));
}

static void unit_byte_sums(const struct annk_list_query *q, const struct list_unit *u,
                           uint32_t *sums)
{
    memset(sums, 0, LIST_UNIT * sizeof *sums);
    for (size_t at = 0; at < u->n; at += 32)
        for (size_t from = 0; from < q->m; from += LIST_BYTES) {
            const size_t end = q->m - from < LIST_BYTES ? q->m : from + LIST_BYTES;
            const struct byte_sums s = entry_sums(q, u, from, end, at);
            add_entries(sums + at, &s);
        }
}

/* ---- all ---- */

static void list_sums(const struct annk_list_query *const *q, size_t nq,
                      const struct list_unit *u, list_sums_of *sums)
{
    if (q[0]->bits == 4) {
        unit_nibble_sums(q, nq, u, sums);
        return;
    }
    for (size_t i = 0; i < nq; i++)
        unit_byte_sums(q[i], u, sums[i]);
}

/* Nothing is stored unless one of the unit is near enough. */
static size_t list_keep(const struct list_sink *to, const uint32_t *sums)
{
    const __m256 step = _mm256_set1_ps(to->step), base = _mm256_set1_ps(to->base),
                 limit = _mm256_set1_ps(to->limit);
    float d[LIST_UNIT];
    uint64_t near = 0;
    for (size_t i = 0; i < to->n; i += 8) {
        const __m128i bias = _mm_loadu_si128((const void *)(to->bias + i));
        const __m256 x = _mm256_fmadd_ps(
            _mm256_cvtepi32_ps(_mm256_load_si256((const void *)(sums + i))), step,
            _mm256_add_ps(base, _mm256_cvtph_ps(bias)));
        _mm256_storeu_ps(d + i, x);
        near |= (uint64_t)_mm256_movemask_ps(_mm256_cmp_ps(x, limit, _CMP_LE_OQ)) << i;
    }
    if (to->n < LIST_UNIT)
        near &= (UINT64_C(1) << to->n) - 1;
    f32_any *const dists = to->dists;
    u32_any *const places = to->places;
    size_t n = 0;
    for (; near; near &= near - 1) {
        const size_t i = (size_t)__builtin_ctzll(near);
        dists[n] = d[i];
        places[n++] = to->first + (uint32_t)i;
    }
    return n;
}

/* ---- centroids ---- */

/* Bytes 0 and 2 of a dimension's four, and 1 and 3, as words: no product saturates. */
ALWAYS_INLINE __m256i add_dots(__m256i sum, __m256i x, __m256i even, __m256i odd)
{
    const __m256i low = _mm256_and_si256(x, _mm256_set1_epi16(255));
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(low, even));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_srli_epi16(x, 8), odd));
}

/* Eight centroids of a block, from `half` on. */
ALWAYS_INLINE void dot_half(const struct annk_coarse_query *q, size_t nq, const uint8_t *half,
                            size_t groups, size_t at, list_sums_of *sums)
{
    __m256i s[ANNK_LIST_BATCH];
    for (size_t i = 0; i < nq; i++)
        s[i] = _mm256_setzero_si256();
    for (size_t g = 0; g < groups; g++) {
        const __m256i x = _mm256_loadu_si256((const void *)(half + 64 * g));
        for (size_t i = 0; i < nq; i++) {
            int32_t four;
            memcpy(&four, q[i].code + 4 * g, sizeof four);
            const __m256i y = _mm256_set1_epi32(four);
            const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(y, 8), 8);
            s[i] = add_dots(s[i], x, even, _mm256_srai_epi16(y, 8));
        }
    }
    for (size_t i = 0; i < nq; i++)
        _mm256_store_si256((void *)(sums[i] + at), s[i]);
}

static void coarse_dots(const struct annk_coarse_query *q, size_t nq, const uint8_t *table,
                        size_t blocks, size_t groups, list_sums_of *sums)
{
    for (size_t at = 0; at < 16 * blocks; at += 8) {
        const uint8_t *const half = table + at / 16 * groups * 64 + at % 16 * 4;
        if (nq == ANNK_LIST_BATCH)
            dot_half(q, ANNK_LIST_BATCH, half, groups, at, sums);
        else
            dot_half(q, nq, half, groups, at, sums);
    }
}

DEFINE_LISTS(avx2);
