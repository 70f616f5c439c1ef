/* wordpiece.h - BERT's tokenizer: a text becomes ids of pieces of words.
 *
 * Place: rag/embed, above rag/text.  Source: Devlin et al., "BERT", NAACL 2019; Wu et al.,
 * "Google's Neural Machine Translation System", 2016 (longest match first).
 * Invariant: a text's own "[CLS]" or "[SEP]" is five characters of text, never the special
 * token, whatever the text's author wished for. */
#ifndef KITH_RAG_EMBED_WORDPIECE_H
#define KITH_RAG_EMBED_WORDPIECE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rag/rag.h>

#define WORDPIECE_CHARS_MAX  100 /* of a word; a longer one is [UNK] */
#define WORDPIECE_TOKENS_MAX (1 << 20)

struct wordpiece; /* read by any number of threads */

/* tokens: n strings, each with a NUL, one after the other in `bytes` bytes that outlive the
 * tokenizer; "##" begins a piece that goes on.  lower: fold case and take accents off, as the
 * uncased models want it.  RAG_EFORMAT without [UNK], [CLS] and [SEP]. */
rag_err wordpiece_make(const char *tokens, size_t bytes, size_t n, bool lower,
                       struct wordpiece **out);
void wordpiece_free(struct wordpiece *w); /* NULL is allowed */

uint32_t wordpiece_cls(const struct wordpiece *w);
uint32_t wordpiece_sep(const struct wordpiece *w);
uint32_t wordpiece_unknown(const struct wordpiece *w);
bool wordpiece_lower(const struct wordpiece *w);
size_t wordpiece_count(const struct wordpiece *w);
/* Borrowed; NULL beyond the last. */
const char *wordpiece_token(const struct wordpiece *w, size_t id);

/* A text on its way through the tokenizer; begin with the text and at = 0. */
struct wordpiece_scan {
    const char *text; /* [bytes] UTF-8 */
    size_t bytes, at;
};

/* The most ids that one word and the character behind it come to. */
#define WORDPIECE_ROOM (WORDPIECE_CHARS_MAX + 16)

/* The ids of the next words, whole ones, as long as WORDPIECE_ROOM is left in ids [room] (that
 * much at least); how many.  The text is at its end when scan->at is.  No memory is asked for.
 */
size_t wordpiece_next(const struct wordpiece *w, struct wordpiece_scan *scan, uint32_t *ids,
                      size_t room);

/* As the reference does it for a model: [CLS], the first pieces of the text, [SEP], at most
 * `most` (2 or more) in all; ids [most + WORDPIECE_CHARS_MAX]. */
size_t wordpiece_encode(const struct wordpiece *w, const char *text, size_t bytes, size_t most,
                        uint32_t *ids);

#endif
