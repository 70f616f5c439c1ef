/* library.c - the public functions that belong to no index: errors, version, threads,
 * allocator.
 *
 * Place: top of ann.  They stand here and not in base because base is linked into the programs
 * too, where a second copy of a public symbol would hide the library's. */
#include <config.h>

#include "ann/base/error.h"
#include "ann/base/memory.h"
#include "ann/base/pool.h"
#include "ann/kernels/kernels.h"

const char *ann_err_name(ann_err err)
{
    return error_name(err);
}

const char *ann_error_message(void)
{
    return error_message();
}

const char *ann_version(void)
{
    return PACKAGE_VERSION;
}

const char *ann_isa(void)
{
    return annk_select()->name;
}

const char *ann_env_error(void)
{
    (void)annk_select();
    return annk_env_error();
}

unsigned ann_threads_default(void)
{
    return pool_default_threads();
}

ann_err ann_set_allocator(void *(*alloc)(size_t), void *(*resize)(void *, size_t),
                          void (*release)(void *))
{
    const int given = (alloc != NULL) + (resize != NULL) + (release != NULL);
    if (given != 0 && given != 3)
        return ANN_FAIL(ANN_EINVAL, "ann_set_allocator takes three functions or none, got %d",
                        given);
    memory_hooks(alloc, resize, release);
    return ANN_OK;
}
