/* badserver.h - a server on the loopback that misbehaves as told, for tests of rag.
 *
 * Invariant: it answers on 127.0.0.1 alone, one thread a connection, and ends with the test. */
#ifndef KITH_TESTS_BADSERVER_H
#define KITH_TESTS_BADSERVER_H

#include <stddef.h>

enum bad_end {
    BAD_CLOSE, /* an orderly end */
    BAD_RESET, /* RST */
    BAD_HANG   /* no end until the server stops */
};

/* What one request gets. */
struct bad_answer {
    const char *bytes; /* [n] sent as they are, head and body; n 0: strlen */
    size_t n;
    enum bad_end end;
    size_t repeat; /* the last `repeat_bytes` again so often; 0: once */
    size_t repeat_bytes;
    unsigned drip_ms; /* between two bytes; 0: all at once */
};

struct badserver;

/* Answers its n-th request with answers[n], the last one for all that follow.  Ends the test if
 * it cannot start. */
struct badserver *badserver_start(const struct bad_answer *answers, size_t n);
unsigned badserver_port(const struct badserver *s);
/* Requests so far, and the last one whole: head and body, NUL-terminated, until it stops. */
unsigned badserver_requests(struct badserver *s);
const char *badserver_last(struct badserver *s);
void badserver_stop(struct badserver *s);

#endif
