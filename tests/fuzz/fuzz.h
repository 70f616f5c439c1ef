/* fuzz.h - what a fuzz target offers to libFuzzer and to replay.c. */
#ifndef KITH_TESTS_FUZZ_H
#define KITH_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Makes the lengths that stand in a file those of the file, so that a mutation is not thrown
 * out for them alone. */
void fuzz_mend(uint8_t *data, size_t size);

#endif
