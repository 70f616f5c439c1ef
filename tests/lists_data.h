/* lists_data.h - what the tests of ivfpq share: indexes from data, and what results must be. */
#ifndef KITH_TESTS_LISTS_DATA_H
#define KITH_TESTS_LISTS_DATA_H

#include <check.h>
#include <string.h>

#include "tests/graph_data.h"

#define DIM 24
#define N   3000
#define NQ  40
#define K   10

#define FAILS(call, want, with)                                                                \
    do {                                                                                       \
        const ann_err err_ = (call);                                                           \
        ck_assert_msg(err_ == (want), "%s, not %s: %s", ann_err_name(err_),                    \
                      ann_err_name(want), ann_error_message());                                \
        ck_assert_msg(strstr(ann_error_message(), with), "no \"%s\" in: %s", with,             \
                      ann_error_message());                                                    \
    } while (0)

/* Rows [first, first + n) of x. */
ann_view lists_view(const float *x, size_t first, size_t n);

/* An empty index; and one that was trained on all rows of x [n], and holds them. */
ann_index *lists_make(const char *spec, unsigned threads);
ann_index *lists_filled(const char *spec, unsigned threads, const float *x, size_t n);

ann_info lists_info(const ann_index *ix);

/* Fails unless results of queries q [NQ] are whole rows, at the distances of the vectors x
 * where those are kept. */
void lists_check(const ann_index *ix, const float *x, const float *q);

#endif
