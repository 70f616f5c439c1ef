/* model.c - kith's own file of a model.  See model.h.
 *
 * Place: rag/embed.  The map's keys, in this order: "kith-model" 1, "kind", "texts" {..},
 * "numbers" {..}, "sha256", "tensors" [[name, type, rows, width, pad, data], ..].  The digest
 * is of kind, texts, numbers and tensors as the file spells them, pads left out. */
#include <config.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ann/base/memory.h"
#include "ann/base/wire.h"
#include "ann/io/io.h"
#include "rag/digest.h"
#include "rag/embed/model.h"
#include "rag/error.h"

#define MODEL_VERSION 1
#define FILE_MOST     ((size_t)8 << 30)
#define OBJECTS       (MODEL_TENSORS * 8 + MODEL_NOTES * 4 + 64)
#define ALIGN         64
#define Q4_GROUP      32

struct note {
    char *key, *value; /* of a number: value NULL */
    uint64_t number;
};

struct part {
    char *name, *type;
    uint64_t rows, width;
    const uint8_t *data;
    size_t bytes;
};

struct model {
    char *path, *kind, *digest;
    struct io_map map;
    struct note notes[2 * MODEL_NOTES];
    struct part parts[MODEL_TENSORS];
    size_t nnotes, nparts;
};

size_t model_type_bytes(const char *type, size_t rows, size_t width)
{
    size_t n, bytes = SIZE_MAX;
    if (!size_mul(rows, width, &n))
        return SIZE_MAX;
    if (strcmp(type, "i8") == 0 || strcmp(type, "u8") == 0)
        return n;
    if (strcmp(type, "f16") == 0)
        return size_mul(n, 2, &bytes) ? bytes : SIZE_MAX;
    if (strcmp(type, "f32") == 0)
        return size_mul(n, 4, &bytes) ? bytes : SIZE_MAX;
    if (strcmp(type, "q4") == 0 && width % Q4_GROUP == 0) /* nibbles, then an f16 a group */
        return n / 2 + n / Q4_GROUP * 2;
    return SIZE_MAX;
}

/* ---- reading ---- */

static rag_err damaged(const struct model *m, const char *what)
{
    return RAG_FAIL(RAG_EDAMAGED, "%s: a damaged model: %s", m->path, what);
}

static rag_err copy_str(const struct model *m, const wire_value *v, char **out)
{
    const char *s;
    size_t n;
    if (!wire_is_str(v, &s, &n) || memchr(s, '\0', n))
        return damaged(m, "something that is no text where one should be");
    *out = mem_alloc(n + 1);
    if (!*out)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a model's text");
    memcpy(*out, s, n);
    (*out)[n] = '\0';
    return RAG_OK;
}

static rag_err read_notes(struct model *m, const wire_value *map, bool numbers)
{
    const wire_value *key, *v;
    size_t n;
    if (!wire_is_map(map, &n) || n > MODEL_NOTES)
        return damaged(m, "its texts or numbers are no map, or too many");
    for (size_t i = 0; wire_pair(map, i, &key, &v); i++) {
        struct note *note = &m->notes[m->nnotes++];
        rag_err err = copy_str(m, key, &note->key);
        if (!err && !numbers)
            err = copy_str(m, v, &note->value);
        else if (!err && !wire_is_u64(v, &note->number))
            err = damaged(m, "a number that is none");
        if (err)
            return err;
    }
    return RAG_OK;
}

static rag_err read_part(struct model *m, const wire_value *v)
{
    struct part *p = &m->parts[m->nparts++];
    rag_err err = copy_str(m, wire_at(v, 0), &p->name);
    if (!err)
        err = copy_str(m, wire_at(v, 1), &p->type);
    if (err)
        return err;
    if (!wire_is_u64(wire_at(v, 2), &p->rows) || !wire_is_u64(wire_at(v, 3), &p->width) ||
        !wire_is_bin(wire_at(v, 5), &p->data, &p->bytes))
        return damaged(m, "a tensor without shape or bytes");
    if (model_type_bytes(p->type, (size_t)p->rows, (size_t)p->width) != p->bytes)
        return RAG_FAIL(RAG_EDAMAGED,
                        "%s: tensor %s has %zu bytes, not those of %llu x %llu %s", m->path,
                        p->name, p->bytes, (unsigned long long)p->rows,
                        (unsigned long long)p->width, p->type);
    if (p->bytes > 0 && (uintptr_t)p->data % ALIGN != 0)
        return damaged(m, "a tensor that begins on no multiple of 64 bytes");
    return RAG_OK;
}

static rag_err read_root(struct model *m, const wire_value *root)
{
    const wire_value *tensors = wire_get(root, "tensors");
    uint64_t version;
    size_t n;
    if (!wire_is_u64(wire_get(root, "kith-model"), &version))
        return RAG_FAIL(RAG_EFORMAT, "%s: not a model of kith", m->path);
    if (version != MODEL_VERSION)
        return RAG_FAIL(RAG_EVERSION, "%s: a model of version %llu; this is version %d",
                        m->path, (unsigned long long)version, MODEL_VERSION);
    if (!wire_is_array(tensors, &n) || n > MODEL_TENSORS)
        return damaged(m, "its tensors are no list, or too many");
    rag_err err = copy_str(m, wire_get(root, "kind"), &m->kind);
    if (!err)
        err = copy_str(m, wire_get(root, "sha256"), &m->digest);
    if (!err && strlen(m->digest) != (size_t)2 * DIGEST_BYTES)
        err = damaged(m, "its sha256 is none");
    if (!err)
        err = read_notes(m, wire_get(root, "texts"), false);
    if (!err)
        err = read_notes(m, wire_get(root, "numbers"), true);
    for (size_t i = 0; i < n && !err; i++)
        err = read_part(m, wire_at(tensors, i));
    return err;
}

rag_err model_open(const char *path, struct model **out)
{
    struct wire_doc *doc = NULL;
    struct model *m = mem_zalloc(1, sizeof *m);
    if (!m || !(m->path = mem_strdup(path))) {
        mem_free(m);
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a model");
    }
    rag_err err = rag_from_base(io_map_open(path, FILE_MOST, &m->map));
    if (!err) {
        const uint8_t first = (uint8_t)m->map.data[0];
        err = first >= 0x80 && first <= 0x8f
                  ? rag_from_base(
                        wire_parse((const uint8_t *)m->map.data, m->map.bytes, OBJECTS, &doc))
                  : RAG_FAIL(RAG_EFORMAT, "%s: not a model of kith", path);
        if (err == RAG_EDAMAGED)
            err = rag_prefix(err, path);
    }
    if (!err)
        err = read_root(m, wire_root(doc));
    wire_free(doc);
    if (err)
        model_close(m);
    else
        *out = m;
    return err;
}

void model_close(struct model *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->nnotes; i++) {
        mem_free(m->notes[i].key);
        mem_free(m->notes[i].value);
    }
    for (size_t i = 0; i < m->nparts; i++) {
        mem_free(m->parts[i].name);
        mem_free(m->parts[i].type);
    }
    if (m->map.data)
        io_unmap((void *)(uintptr_t)m->map.data, m->map.bytes);
    mem_free(m->kind);
    mem_free(m->digest);
    mem_free(m->path);
    mem_free(m);
}

const char *model_path(const struct model *m)
{
    return m->path;
}

const char *model_kind(const struct model *m)
{
    return m->kind;
}

const char *model_digest(const struct model *m)
{
    return m->digest;
}

const char *model_text(const struct model *m, const char *key)
{
    for (size_t i = 0; i < m->nnotes; i++)
        if (m->notes[i].value && strcmp(m->notes[i].key, key) == 0)
            return m->notes[i].value;
    return "";
}

uint64_t model_number(const struct model *m, const char *key)
{
    for (size_t i = 0; i < m->nnotes; i++)
        if (!m->notes[i].value && strcmp(m->notes[i].key, key) == 0)
            return m->notes[i].number;
    return 0;
}

static const struct part *find(const struct model *m, const char *name)
{
    for (size_t i = 0; i < m->nparts; i++)
        if (strcmp(m->parts[i].name, name) == 0)
            return &m->parts[i];
    return NULL;
}

rag_err model_tensor(const struct model *m, const char *name, const char *type, size_t rows,
                     size_t width, const void **out)
{
    const struct part *p = find(m, name);
    if (!p)
        return RAG_FAIL(RAG_EDAMAGED, "%s: no tensor %s", m->path, name);
    if (strcmp(p->type, type) != 0 || p->rows != rows || p->width != width)
        return RAG_FAIL(RAG_EDAMAGED, "%s: tensor %s is %llu x %llu %s, not %zu x %zu %s",
                        m->path, name, (unsigned long long)p->rows,
                        (unsigned long long)p->width, p->type, rows, width, type);
    *out = p->data;
    return RAG_OK;
}

size_t model_rows(const struct model *m, const char *name)
{
    const struct part *p = find(m, name);
    return p ? (size_t)p->rows : 0;
}

size_t model_width(const struct model *m, const char *name)
{
    const struct part *p = find(m, name);
    return p ? (size_t)p->width : 0;
}

/* ---- writing ---- */

void model_put_text(struct model_draft *d, const char *key, const char *value)
{
    if (d->ntexts < MODEL_NOTES) {
        d->texts[d->ntexts].key = key;
        d->texts[d->ntexts++].value = value;
    }
}

void model_put_number(struct model_draft *d, const char *key, uint64_t value)
{
    if (d->nnumbers < MODEL_NOTES) {
        d->numbers[d->nnumbers].key = key;
        d->numbers[d->nnumbers++].value = value;
    }
}

void model_put_tensor(struct model_draft *d, const char *name, const char *type, size_t rows,
                      size_t width, const void *data)
{
    if (d->ntensors == MODEL_TENSORS)
        return;
    snprintf(d->tensors[d->ntensors].name, sizeof d->tensors->name, "%s", name);
    d->tensors[d->ntensors].type = type;
    d->tensors[d->ntensors].rows = rows;
    d->tensors[d->ntensors].width = width;
    d->tensors[d->ntensors++].data = data;
}

/* What a digest is made of: each text and number with its length before it. */
struct digesting {
    struct digest_part parts[8 * MODEL_NOTES + 4 * MODEL_TENSORS];
    uint64_t numbers[4 * MODEL_NOTES + 4 * MODEL_TENSORS];
    size_t nparts, nnumbers;
};

static void digest_number(struct digesting *g, uint64_t x)
{
    g->numbers[g->nnumbers] = x;
    g->parts[g->nparts++] = (struct digest_part){&g->numbers[g->nnumbers++], sizeof x};
}

static void digest_text(struct digesting *g, const char *s)
{
    g->parts[g->nparts++] = (struct digest_part){s, strlen(s) + 1};
}

static struct digest draft_sum(const struct digesting *g)
{
    return digest_of(g->parts, g->nparts);
}

static void digest_tensor(struct digesting *g, const char *name, const char *type, size_t rows,
                          size_t width, const void *data)
{
    digest_text(g, name);
    digest_text(g, type);
    digest_number(g, rows);
    digest_number(g, width);
    g->parts[g->nparts++] = (struct digest_part){data, model_type_bytes(type, rows, width)};
}

rag_err model_verify(const struct model *m)
{
    char hex[2 * DIGEST_BYTES + 1];
    struct digesting *g = mem_zalloc(1, sizeof *g);
    if (!g)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a digest");
    digest_text(g, m->kind);
    for (size_t i = 0; i < m->nnotes; i++) {
        digest_text(g, m->notes[i].key);
        if (m->notes[i].value)
            digest_text(g, m->notes[i].value);
        else
            digest_number(g, m->notes[i].number);
    }
    for (size_t i = 0; i < m->nparts; i++)
        digest_tensor(g, m->parts[i].name, m->parts[i].type, (size_t)m->parts[i].rows,
                      (size_t)m->parts[i].width, m->parts[i].data);
    const struct digest d = draft_sum(g);
    mem_free(g);
    digest_hex(&d, DIGEST_BYTES, hex);
    return strcmp(hex, m->digest) == 0
               ? RAG_OK
               : RAG_FAIL(RAG_EDAMAGED, "%s: its bytes have the SHA-256 %.16s..., not %.16s...",
                          m->path, hex, m->digest);
}

static bool draft_digest(const struct model_draft *d, char hex[2 * DIGEST_BYTES + 1])
{
    struct digesting *g = mem_zalloc(1, sizeof *g);
    if (!g)
        return false;
    digest_text(g, d->kind);
    for (size_t i = 0; i < d->ntexts; i++) {
        digest_text(g, d->texts[i].key);
        digest_text(g, d->texts[i].value);
    }
    for (size_t i = 0; i < d->nnumbers; i++) {
        digest_text(g, d->numbers[i].key);
        digest_number(g, d->numbers[i].value);
    }
    for (size_t i = 0; i < d->ntensors; i++)
        digest_tensor(g, d->tensors[i].name, d->tensors[i].type, d->tensors[i].rows,
                      d->tensors[i].width, d->tensors[i].data);
    const struct digest sum = draft_sum(g);
    mem_free(g);
    digest_hex(&sum, DIGEST_BYTES, hex);
    return true;
}

static rag_err encode(const struct model_draft *d, struct wire_out *out)
{
    static const uint8_t zeros[ALIGN];
    char hex[2 * DIGEST_BYTES + 1];
    if (!draft_digest(d, hex))
        return RAG_FAIL(RAG_ENOMEM, "out of memory for a digest");
    wire_put_map(out, 6);
    wire_put_str(out, "kith-model");
    wire_put_u64(out, MODEL_VERSION);
    wire_put_str(out, "kind");
    wire_put_str(out, d->kind);
    wire_put_str(out, "texts");
    wire_put_map(out, d->ntexts);
    for (size_t i = 0; i < d->ntexts; i++) {
        wire_put_str(out, d->texts[i].key);
        wire_put_str(out, d->texts[i].value);
    }
    wire_put_str(out, "numbers");
    wire_put_map(out, d->nnumbers);
    for (size_t i = 0; i < d->nnumbers; i++) {
        wire_put_str(out, d->numbers[i].key);
        wire_put_u64(out, d->numbers[i].value);
    }
    wire_put_str(out, "sha256");
    wire_put_str(out, hex);
    wire_put_str(out, "tensors");
    wire_put_array(out, d->ntensors);
    for (size_t i = 0; i < d->ntensors; i++) {
        const size_t bytes =
            model_type_bytes(d->tensors[i].type, d->tensors[i].rows, d->tensors[i].width);
        if (bytes > UINT32_MAX)
            return RAG_FAIL(RAG_ELIMIT, "tensor %s of %zu bytes; at most 4 GiB - 1",
                            d->tensors[i].name, bytes);
        wire_put_array(out, 6);
        wire_put_str(out, d->tensors[i].name);
        wire_put_str(out, d->tensors[i].type);
        wire_put_u64(out, d->tensors[i].rows);
        wire_put_u64(out, d->tensors[i].width);
        const size_t at = out->len + 2 * (size_t)WIRE_BIN_HEAD;
        wire_put_bin(out, zeros, (uint32_t)((ALIGN - at % ALIGN) % ALIGN));
        wire_put_bin(out, d->tensors[i].data, (uint32_t)bytes);
    }
    return out->failed ? RAG_FAIL(RAG_ENOMEM, "out of memory for a model's bytes") : RAG_OK;
}

rag_err model_save(const struct model_draft *d, const char *path)
{
    struct wire_out out = {0};
    struct io_target t;
    rag_err err = encode(d, &out);
    if (!err)
        err = rag_from_base(io_target_open(path, &t));
    if (!err) {
        size_t done = 0;
        while (done < out.len && !err) {
            const ssize_t n = write(t.fd, out.data + done, out.len - done);
            if (n < 0)
                err = RAG_FAIL(RAG_EIO, "%s: cannot be written", path);
            else
                done += (size_t)n;
        }
        if (err)
            io_target_drop(&t);
        else
            err = rag_from_base(io_target_commit(&t));
    }
    wire_out_free(&out);
    return err;
}
