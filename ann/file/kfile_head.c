/* kfile_head.c - places, writes and reads the head of a file.  See kfile_head.h,
 * docs/format.md.
 *
 * The reader parses the few numbers that cannot be computed, computes all others as the writer
 * does, writes the head anew and compares.  So there is one description of the layout, and a
 * byte that is not as it must be has nowhere to hide: other forms of a number, holes, overlaps.
 */
#include <config.h>

#include <string.h>

#include "ann/base/error.h"
#include "ann/file/checksum.h"
#include "ann/file/kfile_head.h"

/* Where in the header each number stands. */
enum number {
    N_MAGIC,
    N_MAJOR,
    N_MINOR,
    N_FEATURES,
    N_ORDER,
    N_IDENTITY,
    N_IDENTITY_LOW,
    N_FILE_LEN,
    N_HEAD_LEN,
    N_SECTIONS,
    N_RESERVED,
    N_KIND = N_RESERVED + 4,
    N_METRIC,
    N_DTYPE,
    N_DIM,
    N_SLOTS,
    N_LIVE,
    N_SEED,
    N_NEXT_ID,
    N_PARAMS,
    N_SUM = N_PARAMS + KFILE_PARAMS,
    N_COUNT
};
_Static_assert(N_COUNT == HEAD_NUMBERS, "the header's numbers");

#define NUMBERS_AT 8 /* 0x84, "hdr", 0xdc and two bytes of count */

uint64_t head_chunk_rows(uint64_t row_bytes, uint64_t limit)
{
    uint64_t rows = 1;
    while (2 * rows * row_bytes <= limit && 2 * rows <= HEAD_CHUNK_MAX)
        rows *= 2;
    while (rows * row_bytes % HEAD_PAGE != 0)
        rows *= 2;
    return rows;
}

bool head_meta_sound(const struct kfile_meta *m, const char **what)
{
    *what = m->kind > 255                        ? "kind"
            : m->metric > 255                    ? "metric"
            : m->dtype > 255                     ? "dtype"
            : m->dim < 1 || m->dim > ANN_DIM_MAX ? "dim"
            : m->slots > KFILE_ROWS_MAX          ? "slots"
            : m->live > m->slots                 ? "live"
                                                 : NULL;
    return !*what;
}

bool head_name_sound(const char *name, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9') ||
              name[i] == '_'))
            return false;
    return n >= 1 && n <= 15;
}

static uint64_t divide_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

/* Rows, row_bytes and chunk_rows must be within their bounds: then nothing here can overflow,
 * for a section has less than 2^51 bytes. */
static void measure(struct head_section *s)
{
    s->bytes = s->rows * s->row_bytes;
    s->chunks = divide_up(s->rows, s->chunk_rows);
    s->blocks = divide_up(s->bytes, SUM_BLOCK);
    s->chunk_bytes = s->chunk_rows * s->row_bytes;
}

static uint64_t pad_before(uint64_t at, uint64_t align)
{
    const uint64_t past = (at + 2 * WIRE_BIN_HEAD) % align;
    return past ? align - past : 0;
}

ann_err head_place(struct head *h)
{
    uint64_t blocks = 0;
    for (size_t i = 0; i < h->n; i++) {
        measure(&h->sections[i]);
        blocks += h->sections[i].blocks;
    }
    if (blocks > HEAD_MAX / 9)
        return ANN_FAIL(ANN_ELIMIT, "%llu blocks of 1 MiB, at most %zu fit into the directory",
                        (unsigned long long)blocks, HEAD_MAX / 9);

    struct wire_out out = {0};
    ann_err err = head_encode(h, true, &out);
    if (err)
        return err;
    h->head_len = out.len;
    wire_out_free(&out);
    if (h->head_len > HEAD_MAX)
        return ANN_FAIL(ANN_ELIMIT, "the head has %llu bytes, at most %zu",
                        (unsigned long long)h->head_len, HEAD_MAX);

    uint64_t at = h->head_len;
    for (size_t i = 0; i < h->n; i++) {
        struct head_section *s = &h->sections[i];
        s->start = at;
        s->offset = 0;
        if (s->chunks == 0)
            continue;
        const uint64_t align = s->bytes >= HEAD_PAGE ? HEAD_PAGE : HEAD_LINE;
        s->offset = at + 2 * WIRE_BIN_HEAD + pad_before(at, align);
        at = s->offset + s->bytes + (s->chunks - 1) * HEAD_PAGE;
    }
    h->file_len = at + HEAD_END_BYTES;
    return ANN_OK;
}

static void encode_header(const struct head *h, bool blank, struct wire_out *out)
{
    uint64_t x[HEAD_NUMBERS] = {
        [N_MAGIC] = HEAD_MAGIC,
        [N_MAJOR] = HEAD_VERSION_MAJOR,
        [N_MINOR] = h->minor,
        [N_FEATURES] = HEAD_FEATURES,
        [N_ORDER] = HEAD_LITTLE_ENDIAN,
        [N_IDENTITY] = blank ? 0 : h->identity[0],
        [N_IDENTITY_LOW] = blank ? 0 : h->identity[1],
        [N_FILE_LEN] = h->file_len,
        [N_HEAD_LEN] = h->head_len,
        [N_SECTIONS] = h->n,
        [N_KIND] = h->meta.kind,
        [N_METRIC] = h->meta.metric,
        [N_DTYPE] = h->meta.dtype,
        [N_DIM] = h->meta.dim,
        [N_SLOTS] = h->meta.slots,
        [N_LIVE] = h->meta.live,
        [N_SEED] = h->meta.seed,
        [N_NEXT_ID] = h->meta.next_id,
    };
    memcpy(x + N_PARAMS, h->meta.params, sizeof h->meta.params);
    wire_put_map(out, 4);
    wire_put_str(out, "hdr");
    wire_put_array(out, HEAD_NUMBERS);
    for (int i = 0; i < N_SUM; i++)
        wire_put_u64(out, x[i]);
    wire_put_u64(out, blank || out->failed ? 0 : sum64(out->data, out->len));
}

ann_err head_encode(const struct head *h, bool blank, struct wire_out *out)
{
    uint64_t chunks = 0;
    encode_header(h, blank, out);
    wire_put_str(out, "dir");
    wire_put_array(out, h->n);
    for (size_t i = 0; i < h->n; i++) {
        const struct head_section *s = &h->sections[i];
        wire_put_array(out, 6);
        wire_put_str(out, s->name);
        wire_put_u64(out, s->rows);
        wire_put_u64(out, s->row_bytes);
        wire_put_u64(out, s->offset);
        wire_put_u64(out, s->chunk_rows);
        wire_put_array(out, s->blocks);
        for (uint64_t b = 0; b < s->blocks; b++)
            wire_put_u64(out, s->sums[b]);
        chunks += s->chunks;
    }
    wire_put_str(out, "data");
    wire_put_array(out, 2 * chunks);
    if (!out->failed)
        return ANN_OK;
    wire_out_free(out);
    return ANN_FAIL(ANN_ENOMEM, "out of memory: the head of a file");
}

ann_err head_seal(struct head *h, struct wire_out *out)
{
    struct wire_out blank = {0};
    ann_err err = head_encode(h, true, &blank);
    if (err)
        return err;
    sum128(blank.data, blank.len, h->identity);
    wire_out_free(&blank);
    return head_encode(h, false, out);
}

/* Writes x as msgpack's 64-bit unsigned integer. */
static uint8_t *put_number(uint8_t *p, uint64_t x)
{
    *p++ = 0xcf;
    for (int i = 56; i >= 0; i -= 8)
        *p++ = (uint8_t)(x >> i);
    return p;
}

static uint64_t get_number(const uint8_t *p)
{
    uint64_t x = 0;
    for (int i = 1; i <= 8; i++)
        x = x << 8 | p[i];
    return x;
}

void head_end(const struct head *h, const uint8_t *head, uint8_t end[HEAD_END_BYTES])
{
    static const uint8_t first[] = {0xa3, 'e', 'n', 'd', 0x94};
    memcpy(end, first, sizeof first);
    uint8_t *p = end + sizeof first;
    p = put_number(p, h->file_len);
    p = put_number(p, h->identity[0]);
    p = put_number(p, h->identity[1]);
    put_number(p, sum64(head, h->head_len));
}

struct head_frame head_frame(const struct head_section *s, uint64_t i)
{
    struct head_frame f;
    f.chunk_at = s->offset + i * (s->chunk_bytes + HEAD_PAGE);
    f.at = i == 0 ? s->start : f.chunk_at - HEAD_PAGE;
    f.len = f.chunk_at - f.at;
    f.chunk_bytes = i + 1 < s->chunks ? s->chunk_bytes : s->bytes - i * s->chunk_bytes;
    return f;
}

void head_frame_bytes(const struct head_frame *f, uint8_t bytes[HEAD_FRAME_MAX])
{
    const size_t len = (size_t)f->len;
    memset(bytes, 0, len);
    wire_bin_head(bytes, (uint32_t)(len - 2 * WIRE_BIN_HEAD));
    wire_bin_head(bytes + len - WIRE_BIN_HEAD, (uint32_t)f->chunk_bytes);
}

/* ANN_EFORMAT unless the first bytes, as many as there are, are a kith file's. */
static ann_err check_magic(const uint8_t *p, size_t len)
{
    static const uint8_t magic[] = {0x84, 0xa3, 'h', 'd', 'r', 0xdc, 0,   HEAD_NUMBERS, 0xcf,
                                    'K',  'I',  'T', 'H', '-', 'A',  'N', 'N'};
    for (size_t i = 0; i < sizeof magic && i < len; i++)
        if (p[i] != magic[i] && i != 6 && i != 7) /* a later version may count more */
            return ANN_FAIL(ANN_EFORMAT, "not a kith file");
    if (len == 0)
        return ANN_FAIL(ANN_EFORMAT, "not a kith file: it is empty");
    if (len < sizeof magic)
        return ANN_FAIL(ANN_EDAMAGED, "cut short: %zu bytes are left", len);
    return ANN_OK;
}

/* The numbers of the header, whose checksum is the promise of every version: the last number is
 * the XXH3-64 of all bytes before it. */
static ann_err check_header_sum(const uint8_t *p, size_t len)
{
    const size_t count = (size_t)p[6] << 8 | p[7];
    const size_t bytes = NUMBERS_AT + 9 * count;
    if (count < N_RESERVED || len < bytes)
        return ANN_FAIL(ANN_EDAMAGED, "header: %zu numbers do not fit into %zu bytes", count,
                        len);
    const uint8_t *sum = p + bytes - 9;
    if (!sum_same(get_number(sum), sum64(p, bytes - 9)))
        return ANN_FAIL(ANN_EDAMAGED, "header: its checksum does not match");
    return ANN_OK;
}

static ann_err check_version(const uint64_t x[HEAD_NUMBERS], size_t count)
{
    if (x[N_MAJOR] != HEAD_VERSION_MAJOR)
        return ANN_FAIL(ANN_EVERSION, "format version %llu.%llu, this library reads %d",
                        (unsigned long long)x[N_MAJOR], (unsigned long long)x[N_MINOR],
                        HEAD_VERSION_MAJOR);
    if (count != HEAD_NUMBERS)
        return ANN_FAIL(ANN_EDAMAGED, "header: %zu numbers, not %d", count, HEAD_NUMBERS);
    if (x[N_FEATURES] & ~HEAD_FEATURES)
        return ANN_FAIL(ANN_EVERSION, "needs features this library lacks (0x%llx)",
                        (unsigned long long)(x[N_FEATURES] & ~HEAD_FEATURES));
    if (x[N_ORDER] != HEAD_LITTLE_ENDIAN)
        return ANN_FAIL(ANN_EVERSION, "byte order %llu, only little-endian (1) is read",
                        (unsigned long long)x[N_ORDER]);
    for (int i = 0; i < 4; i++)
        if (x[N_RESERVED + i] != 0)
            return ANN_FAIL(ANN_EVERSION, "uses a reserved field of the header (%d)",
                            N_RESERVED + i);
    return ANN_OK;
}

static ann_err check_lengths(const struct head *h, uint64_t size)
{
    const unsigned long long have = size, want = h->file_len, head = h->head_len;
    if (have < want)
        return ANN_FAIL(ANN_EDAMAGED, "cut short: %llu of %llu bytes are left", have, want);
    if (have > want)
        return ANN_FAIL(ANN_EDAMAGED, "%llu bytes behind the end at %llu", have - want, want);
    if (head > HEAD_MAX || head < HEAD_HDR_BYTES || want < HEAD_END_BYTES ||
        want - HEAD_END_BYTES < head)
        return ANN_FAIL(ANN_EDAMAGED, "header: a head of %llu bytes in a file of %llu", head,
                        want);
    if (h->n > KFILE_SECTIONS)
        return ANN_FAIL(ANN_EDAMAGED, "header: %zu sections, at most %d", h->n, KFILE_SECTIONS);
    return ANN_OK;
}

ann_err head_read(struct head *h, const uint8_t *p, size_t len, uint64_t size)
{
    uint64_t x[HEAD_NUMBERS] = {0};
    ann_err err = check_magic(p, len);
    if (!err)
        err = check_header_sum(p, len);
    if (err)
        return err;
    /* The checksum says that these bytes are as a writer left them; of this version or another,
     * the first numbers stand where they always will. */
    const size_t count = (size_t)p[6] << 8 | p[7];
    for (size_t i = 0; i < HEAD_NUMBERS && i < count; i++)
        x[i] = get_number(p + NUMBERS_AT + 9 * i);
    err = check_version(x, count);
    if (err)
        return err;

    memset(h, 0, sizeof *h);
    h->minor = x[N_MINOR];
    memcpy(h->identity, x + N_IDENTITY, sizeof h->identity);
    h->file_len = x[N_FILE_LEN];
    h->head_len = x[N_HEAD_LEN];
    h->n = x[N_SECTIONS];
    h->meta = (struct kfile_meta){x[N_KIND], x[N_METRIC], x[N_DTYPE],   x[N_DIM], x[N_SLOTS],
                                  x[N_LIVE], x[N_SEED],   x[N_NEXT_ID], {0}};
    memcpy(h->meta.params, x + N_PARAMS, sizeof h->meta.params);
    const char *what;
    if (!head_meta_sound(&h->meta, &what))
        return ANN_FAIL(ANN_EDAMAGED, "header: %s is out of bounds", what);
    return check_lengths(h, size);
}

/* The bounds that make all sums of head_place fit. */
static ann_err check_section(const struct head *h, size_t i)
{
    const struct head_section *s = &h->sections[i];
    const uint64_t r = s->chunk_rows;
    if (s->rows > KFILE_ROWS_MAX || s->row_bytes < 1 || s->row_bytes > HEAD_ROW_MAX)
        return ANN_FAIL(ANN_EDAMAGED, "section %s: %llu rows of %llu bytes", s->name,
                        (unsigned long long)s->rows, (unsigned long long)s->row_bytes);
    if (r < 1 || (r & (r - 1)) || r > HEAD_CHUNK_MAX || r * s->row_bytes > HEAD_CHUNK_MAX ||
        r * s->row_bytes % HEAD_PAGE != 0)
        return ANN_FAIL(ANN_EDAMAGED, "section %s: chunks of %llu rows of %llu bytes", s->name,
                        (unsigned long long)r, (unsigned long long)s->row_bytes);
    for (size_t k = 0; k < i; k++)
        if (strcmp(s->name, h->sections[k].name) == 0)
            return ANN_FAIL(ANN_EDAMAGED, "section %s stands twice", s->name);
    return ANN_OK;
}

/* One entry of the directory; the sums go to h->sums from *sum on, of which there are `room`.
 */
static ann_err read_section(struct head *h, size_t i, const wire_value *v, size_t *sum,
                            size_t room)
{
    struct head_section *s = &h->sections[i];
    const char *name;
    size_t length, blocks;
    uint64_t offset;
    if (!wire_is_str(wire_at(v, 0), &name, &length) || !head_name_sound(name, length))
        return ANN_FAIL(ANN_EDAMAGED, "directory: entry %zu has no name", i);
    memcpy(s->name, name, length);
    if (!wire_is_u64(wire_at(v, 1), &s->rows) || !wire_is_u64(wire_at(v, 2), &s->row_bytes) ||
        !wire_is_u64(wire_at(v, 3), &offset) || !wire_is_u64(wire_at(v, 4), &s->chunk_rows) ||
        !wire_is_array(wire_at(v, 5), &blocks) || wire_at(v, 6))
        return ANN_FAIL(ANN_EDAMAGED, "section %s: its entry is malformed", s->name);
    s->offset = offset;
    const ann_err err = check_section(h, i);
    if (err)
        return err;
    measure(s);
    if (s->bytes > h->file_len)
        return ANN_FAIL(ANN_EDAMAGED, "section %s: %llu bytes in a file of %llu", s->name,
                        (unsigned long long)s->bytes, (unsigned long long)h->file_len);
    if (blocks != s->blocks || room - *sum < blocks)
        return ANN_FAIL(ANN_EDAMAGED, "section %s: %zu checksums for %llu blocks", s->name,
                        blocks, (unsigned long long)s->blocks);
    s->sums = h->sums + *sum;
    *sum += blocks;
    for (size_t b = 0; b < blocks; b++)
        if (!wire_is_u64(wire_at(wire_at(v, 5), b), &s->sums[b]))
            return ANN_FAIL(ANN_EDAMAGED, "section %s: checksum %zu is no number", s->name, b);
    return ANN_OK;
}

static ann_err read_directory(struct head *h, const uint8_t *p)
{
    const size_t at = HEAD_HDR_BYTES + 4, room = h->head_len / 9;
    struct wire_doc *doc = NULL;
    size_t used, n, sum = 0;
    if (h->head_len < at || memcmp(p + HEAD_HDR_BYTES,
                                   "\xa3"
                                   "dir",
                                   4) != 0)
        return ANN_FAIL(ANN_EDAMAGED, "directory: it is not behind the header");
    ann_err err = wire_scan(p + at, h->head_len - at, HEAD_MAX, &used);
    if (!err)
        err = wire_parse(p + at, used, HEAD_MAX, &doc);
    if (err)
        return err == ANN_ENOMEM ? err : error_prefix(err, "directory");

    if (!wire_is_array(wire_root(doc), &n) || n != h->n)
        err = ANN_FAIL(ANN_EDAMAGED, "directory: it does not list the %zu sections", h->n);
    for (size_t i = 0; !err && i < n; i++)
        err = read_section(h, i, wire_at(wire_root(doc), i), &sum, room);
    wire_free(doc);
    return err;
}

/* Computes where all lies and compares that with what was read. */
static ann_err check_places(struct head *h, const uint8_t *p)
{
    const uint64_t head_len = h->head_len, file_len = h->file_len;
    uint64_t offsets[KFILE_SECTIONS];
    for (size_t i = 0; i < h->n; i++)
        offsets[i] = h->sections[i].offset;
    ann_err err = head_place(h);
    if (err)
        return err == ANN_ELIMIT ? ANN_EDAMAGED : err;
    for (size_t i = 0; i < h->n; i++)
        if (offsets[i] != h->sections[i].offset)
            return ANN_FAIL(ANN_EDAMAGED, "section %s: it is said to lie at %llu, not %llu",
                            h->sections[i].name, (unsigned long long)offsets[i],
                            (unsigned long long)h->sections[i].offset);
    if (head_len != h->head_len || file_len != h->file_len)
        return ANN_FAIL(ANN_EDAMAGED, "the sections need %llu bytes, the file has %llu",
                        (unsigned long long)h->file_len, (unsigned long long)file_len);

    struct wire_out out = {0};
    err = head_encode(h, false, &out);
    if (err)
        return err;
    /* But for the header's checksum, which was looked at before. */
    const size_t sum = HEAD_HDR_BYTES - 8;
    if (memcmp(out.data, p, sum) != 0 ||
        memcmp(out.data + HEAD_HDR_BYTES, p + HEAD_HDR_BYTES, head_len - HEAD_HDR_BYTES) != 0)
        err = ANN_FAIL(ANN_EDAMAGED, "directory: its bytes are not in the form of the format");
    wire_out_free(&out);
    return err;
}

static ann_err check_seals(const struct head *h, const uint8_t *p,
                           const uint8_t end[HEAD_END_BYTES])
{
    uint8_t want[HEAD_END_BYTES];
    const size_t numbers = HEAD_END_BYTES - 9;
    head_end(h, p, want);
    if (memcmp(want, end, numbers + 1) != 0)
        return ANN_FAIL(ANN_EDAMAGED, "end: its bytes are not those of this file");
    if (!sum_same(get_number(end + numbers), get_number(want + numbers)))
        return ANN_FAIL(ANN_EDAMAGED, "directory: its checksum does not match");

    uint64_t identity[2];
    struct wire_out blank = {0};
    const ann_err err = head_encode(h, true, &blank);
    if (err)
        return err;
    sum128(blank.data, blank.len, identity);
    wire_out_free(&blank);
    if (!sum_same(h->identity[0], identity[0]) || !sum_same(h->identity[1], identity[1]))
        return ANN_FAIL(ANN_EDAMAGED, "header: the identity is not that of the content");
    return ANN_OK;
}

ann_err head_read_sections(struct head *h, const uint8_t *p, const uint8_t end[HEAD_END_BYTES])
{
    h->sums = mem_alloc(h->head_len / 9 * sizeof *h->sums);
    if (!h->sums)
        return ANN_FAIL(ANN_ENOMEM, "out of memory: the checksums of a file");
    ann_err err = read_directory(h, p);
    if (!err)
        err = check_places(h, p);
    if (!err)
        err = check_seals(h, p, end);
    if (err)
        head_free(h);
    return err;
}

void head_free(struct head *h)
{
    mem_free(h->sums);
    h->sums = NULL;
}
