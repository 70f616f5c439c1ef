/*
 * The kernels of codes and of their frame (code_*.c), which the tables take
 * from files of their own: their names, one set per instruction set.
 *
 * Bodies that several sets share are static here and in body.h; an external
 * function's name carries its instruction set.
 */
#ifndef ANNK_BODY_CODE_H
#define ANNK_BODY_CODE_H

#include "kernels.h"

#define ANNK_CODE_DOTS(NAME)                                                                \
    void NAME(const int8_t *query, int32_t query_sum, const uint8_t *base, size_t stride,   \
              const uint32_t *slots, size_t n, size_t padded, unsigned ahead, int32_t *dots)

#define ANNK_CODE_DECLARE(ISA)                                                              \
    ANNK_CODE_DOTS(annk_##ISA##_dots_sq8);                                                  \
    ANNK_CODE_DOTS(annk_##ISA##_dots_sq4);                                                  \
    void annk_##ISA##_fwht_f32(float *x, size_t n);                                         \
    void annk_##ISA##_flip_signs_f32(float *x, const uint64_t *bits, size_t n);             \
    void annk_##ISA##_butterfly_f32(float *a, float *b, size_t n);                          \
    void annk_##ISA##_quantise_s8(const float *y, float inverse_step, int8_t *out, size_t n); \
    float annk_##ISA##_max_abs_f32(const float *x, size_t n);

ANNK_CODE_DECLARE(scalar)

/* Their members of the table. */
#define ANNK_CODE_MEMBERS(ISA)                                                              \
    .code_dots = {annk_##ISA##_dots_sq8, annk_##ISA##_dots_sq4},                            \
    .fwht_f32 = annk_##ISA##_fwht_f32, .flip_signs_f32 = annk_##ISA##_flip_signs_f32,       \
    .butterfly_f32 = annk_##ISA##_butterfly_f32, .quantise_s8 = annk_##ISA##_quantise_s8,   \
    .max_abs_f32 = annk_##ISA##_max_abs_f32,

#endif
