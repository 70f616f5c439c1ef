/* wordvec_build.c - word vectors gathered, each word once.  See wordvec_build.h.
 *
 * Place: rag/embed.  Words are found again by SipHash-1-3 (Aumasson and Bernstein, SipHash: a
 * fast short-input PRF, 2012) under a key of chance, so that no file can be made whose words
 * collide.  Invariant: no more memory is held than max_memory. */
#include <config.h>

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "ann/base/memory.h"
#include "rag/embed/wordvec_build.h"
#include "rag/error.h"
#include "rag/text/text.h"

struct wordvec_slot {
    uint32_t tag;  /* of the word's hash */
    uint32_t word; /* its number + 1; 0: free */
};

void wordvec_free(struct wordvec *v)
{
    mem_free(v->words);
    mem_free(v->at);
    mem_free(v->vectors);
    *v = (struct wordvec){0};
}

const char *wordvec_clip(const char *s, size_t bytes, char out[WORDVEC_CLIP])
{
    size_t n = bytes;
    if (n > 48)
        for (n = 48; n > 44 && (s[n] & 0xc0) == 0x80;)
            n--;
    const bool utf8 = text_is_utf8(s, n);
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)s[i];
        out[i] = c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8) ? '?' : s[i];
    }
    memcpy(out + n, n < bytes ? "..." : "", n < bytes ? 4 : 1);
    return out;
}

static uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

static uint64_t hash_word(const uint64_t key[2], const char *s, size_t bytes)
{
    uint64_t v[4] = {
        key[0] ^ UINT64_C(0x736f6d6570736575), key[1] ^ UINT64_C(0x646f72616e646f6d),
        key[0] ^ UINT64_C(0x6c7967656e657261), key[1] ^ UINT64_C(0x7465646279746573)};
    for (size_t i = 0; i <= bytes; i += 8) {
        uint64_t m = 0;
        memcpy(&m, s + i, bytes - i < 8 ? bytes - i : 8);
        m = le64toh(m);
        if (bytes - i < 8)
            m |= (uint64_t)bytes << 56;
        v[3] ^= m;
        sip_round(v);
        v[0] ^= m;
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* The slot of a word, or the free one where it belongs. */
static struct wordvec_slot *find_slot(const struct wordvec_build *b, const char *word,
                                      size_t bytes, uint32_t *tag)
{
    const uint64_t h = hash_word(b->key, word, bytes);
    *tag = (uint32_t)(h >> 32);
    for (size_t i = h & b->mask;; i = (i + 1) & b->mask) {
        struct wordvec_slot *s = &b->slots[i];
        if (s->word == 0)
            return s;
        const char *other = wordvec_word(&b->v, s->word - 1);
        if (s->tag == *tag && strncmp(other, word, bytes) == 0 && other[bytes] == '\0')
            return s;
    }
}

static rag_err make_word_room(struct wordvec_build *b, size_t need)
{
    if (need <= b->word_room)
        return RAG_OK;
    size_t want = b->word_room + b->word_room / 2;
    want = want < need ? need : want > b->max_word_room ? b->max_word_room : want;
    if (want > b->max_memory - b->fixed_memory)
        want = need;
    if (want > b->max_memory - b->fixed_memory)
        return RAG_FAIL(RAG_ELIMIT,
                        "%s: its words need more than the %zu bytes of memory it may take",
                        b->name, b->max_memory);
    char *words = mem_resize(b->v.words, want);
    if (!words)
        return RAG_FAIL(RAG_ENOMEM, "%s: out of memory: %zu bytes of words", b->name, want);
    b->v.words = words;
    b->word_room = want;
    return RAG_OK;
}

rag_err wordvec_keep(struct wordvec_build *b, const char *word, size_t bytes)
{
    struct wordvec *v = &b->v;
    uint32_t tag;
    if (bytes == 0 || memchr(word, '\0', bytes) || memchr(word, '\n', bytes) ||
        !text_is_utf8(word, bytes)) {
        v->skipped++;
        return RAG_OK;
    }
    struct wordvec_slot *s = find_slot(b, word, bytes, &tag);
    if (s->word != 0) {
        v->duplicates++;
        return RAG_OK;
    }
    const rag_err err = make_word_room(b, b->word_bytes + bytes + 1);
    if (err)
        return err;
    v->at[v->n] = b->word_bytes;
    memcpy(v->words + b->word_bytes, word, bytes);
    v->words[b->word_bytes + bytes] = '\0';
    b->word_bytes += bytes + 1;
    v->n++;
    *s = (struct wordvec_slot){tag, (uint32_t)v->n};
    return RAG_OK;
}

rag_err wordvec_prepare(struct wordvec_build *b, size_t n, uint32_t dims)
{
    size_t row, rows, total, slots = 16;
    if (n >= UINT32_MAX)
        return RAG_FAIL(RAG_ELIMIT, "%s: %zu words; fewer than %u are read", b->name, n,
                        UINT32_MAX);
    while (slots < n + n / 2)
        slots *= 2;
    const size_t words = 8 * n + 64 < b->max_word_room ? 8 * n + 64 : b->max_word_room;
    row = dims * sizeof(float);
    if (!size_mul(n, row, &rows) || !size_add(rows, n * sizeof(size_t), &total) ||
        !size_add(total, slots * sizeof(struct wordvec_slot), &b->fixed_memory) ||
        !size_add(b->fixed_memory, words, &total) || total > b->max_memory)
        return RAG_FAIL(RAG_ELIMIT,
                        "%s: room for %zu words of %u numbers is more than the %zu bytes of "
                        "memory it may take",
                        b->name, n, dims, b->max_memory);
    b->v.dims = dims;
    b->v.vectors = mem_alloc(rows);
    b->v.at = mem_alloc(n * sizeof(size_t));
    b->v.words = mem_alloc(words);
    b->slots = mem_zalloc(slots, sizeof(struct wordvec_slot));
    b->mask = slots - 1;
    b->word_room = words;
    b->room = n;
    if (!b->v.vectors || !b->v.at || !b->v.words || !b->slots)
        return RAG_FAIL(RAG_ENOMEM, "%s: out of memory: %zu bytes", b->name, total);
    if (getrandom(b->key, sizeof b->key, 0) != sizeof b->key)
        return RAG_FAIL(RAG_EIO, "getrandom: %s", strerror(errno));
    return RAG_OK;
}

static void *shrink(void *p, size_t bytes)
{
    void *less = mem_resize(p, bytes);
    return less ? less : p;
}

rag_err wordvec_settle(struct wordvec_build *b)
{
    struct wordvec *v = &b->v;
    if (v->n == 0)
        return RAG_FAIL(RAG_EFORMAT, "%s: no word in it, but %zu that are empty or not UTF-8",
                        b->name, v->skipped);
    v->words = shrink(v->words, b->word_bytes);
    if (v->n < b->room) {
        v->at = shrink(v->at, v->n * sizeof *v->at);
        v->vectors = shrink(v->vectors, v->n * v->dims * sizeof(float));
    }
    return RAG_OK;
}

void wordvec_drop(struct wordvec_build *b)
{
    wordvec_free(&b->v);
    mem_free(b->slots);
    b->slots = NULL;
    b->room = b->word_bytes = b->word_room = 0;
}
