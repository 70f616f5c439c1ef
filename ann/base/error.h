/* error.h - how a module reports an error: code, and a sentence for people.
 *
 * Place: base, below everything.  Invariant: the message belongs to the thread that failed;
 * work done in pool threads hands its error over with error_take and error_put. */
#ifndef KITH_BASE_ERROR_H
#define KITH_BASE_ERROR_H

#include <ann/ann.h>

#define ERROR_MESSAGE_MAX 512

/* An error on its way between threads. */
struct error_note {
    ann_err err;
    char text[ERROR_MESSAGE_MAX];
};

/* Sets this thread's message and returns err. */
ann_err error_set(ann_err err, const char *format, ...)
    __attribute__((format(printf, 2, 3), cold));

/* Its value is err itself and not what error_set gives back, so that the compiler sees that it
 * is not ANN_OK. */
#define ANN_FAIL(err, ...)              \
    __extension__({                     \
        const ann_err fail_ = (err);    \
        (void)error_set(fail_, __VA_ARGS__); \
        fail_;                          \
    })

/* Copies err and this thread's message into note. */
void error_take(struct error_note *note, ann_err err);

/* Makes note's message this thread's and returns its code. */
ann_err error_put(const struct error_note *note);

/* This thread's message, and the name of a code; library.c makes them public.  A program that
 * links base reads here what ann/io said, and in ann_error_message what the library said. */
const char *error_message(void);
const char *error_name(ann_err err);

/* Puts "what: " before this thread's message; returns err. */
ann_err error_prefix(ann_err err, const char *what);

#endif
