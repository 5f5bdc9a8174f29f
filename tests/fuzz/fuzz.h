/* A fuzz target: a file with this function, which returns 0 and aborts when a property does not hold. With
 * --enable-fuzz libFuzzer calls it; without, replay.c calls it for each file of tests/fuzz/corpus/NAME.
 *
 * Threads: one. Ownership: data is borrowed for the call. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Stays on in every build, and says what failed before it aborts. */
#define FUZZ_CHECK(condition)                                                                               \
        do {                                                                                                \
                if (!(condition)) {                                                                         \
                        (void)fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
                        abort();                                                                            \
                }                                                                                           \
        } while (0)

#endif
