/* error.c - the thread's last error message.  See error.h. */
#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ann/base/error.h"

static _Thread_local char message[ERROR_MESSAGE_MAX];

ann_err error_set(ann_err err, const char *format, ...)
{
    char text[sizeof message]; /* the old message may be among the arguments */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    memcpy(message, text, strlen(text) + 1);
    return err;
}

void error_take(struct error_note *note, ann_err err)
{
    note->err = err;
    memcpy(note->text, message, sizeof note->text);
}

ann_err error_put(const struct error_note *note)
{
    memcpy(message, note->text, sizeof message);
    return note->err;
}

ann_err error_prefix(ann_err err, const char *what)
{
    char old[ERROR_MESSAGE_MAX];
    memcpy(old, message, sizeof old);
    const size_t head = (size_t)snprintf(message, sizeof message, "%s: ", what);
    if (head < sizeof message)
        snprintf(message + head, sizeof message - head, "%s", old);
    return err;
}

const char *error_message(void)
{
    return message;
}

const char *error_name(ann_err err)
{
    switch (err) {
    case ANN_OK: return "ANN_OK";
    case ANN_EINVAL: return "ANN_EINVAL";
    case ANN_ENOMEM: return "ANN_ENOMEM";
    case ANN_EDIM: return "ANN_EDIM";
    case ANN_EEXIST: return "ANN_EEXIST";
    case ANN_ENOENT: return "ANN_ENOENT";
    case ANN_EIO: return "ANN_EIO";
    case ANN_EFORMAT: return "ANN_EFORMAT";
    case ANN_EDAMAGED: return "ANN_EDAMAGED";
    case ANN_EVERSION: return "ANN_EVERSION";
    case ANN_ENOTSUP: return "ANN_ENOTSUP";
    case ANN_ECANCELED: return "ANN_ECANCELED";
    case ANN_EUNTRAINED: return "ANN_EUNTRAINED";
    case ANN_EBUSY: return "ANN_EBUSY";
    case ANN_ELIMIT: return "ANN_ELIMIT";
    case ANN_ESTALE: return "ANN_ESTALE";
    }
    return "unknown error";
}
