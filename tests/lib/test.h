/* What every unit test starts with: cmocka and the headers that it wants before it, and a few helpers.
 *
 * Threads: one. Ownership: test_file() returns memory for free(). */
#ifndef TESTS_LIB_TEST_H
#define TESTS_LIB_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/base/mem.h"

/* Success, or the error's text. */
#define assert_ok(expr)                                                   \
        do {                                                              \
                int err_ = (expr);                                        \
                if (err_ != 0) fail_msg("%s: %s", #expr, err_text(err_)); \
        } while (0)
#define assert_err(expr, expected) assert_int_equal((expr), (expected))
/* Same length, same bytes. */
#define assert_blob_equal(a, b)                                       \
        do {                                                          \
                struct blob a_ = (a), b_ = (b);                       \
                assert_int_equal(a_.n, b_.n);                         \
                if (a_.n != 0) assert_memory_equal(a_.p, b_.p, a_.n); \
        } while (0)
#define assert_contains(text, part)                                                                   \
        do {                                                                                          \
                if (strstr((text), (part)) == NULL) fail_msg("\"%s\" is not in: %s", (part), (text)); \
        } while (0)
#define assert_lacks(text, part)                                                                  \
        do {                                                                                      \
                if (strstr((text), (part)) != NULL) fail_msg("\"%s\" is in: %s", (part), (text)); \
        } while (0)

/* A file of the source tree, by its path from the top: $srcdir, which make check sets, or the current
 * directory. NULL when it cannot be read; a NUL follows the bytes. */
char *test_file(const char *path, size_t *ret_n);

/* A loopback address of this process's own: a port of it that is given back for a moment is not taken meanwhile by the
 * connections of tests beside it, which come from 127.0.0.1. Static. */
const char *test_loopback(void);

/* A small generator, so that a failure can be repeated from its seed (SplitMix64). */
struct test_rng {
        uint64_t state;
};
uint64_t test_rng_next(struct test_rng *r);
/* 0 .. n-1 */
uint64_t test_rng_below(struct test_rng *r, uint64_t n);

#endif
