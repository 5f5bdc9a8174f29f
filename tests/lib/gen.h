/* Random values of any declared type, for properties that have to hold for all of them.
 *
 * Threads: one. Ownership: everything is allocated from the arena. */
#ifndef TESTS_LIB_GEN_H
#define TESTS_LIB_GEN_H

#include "tests/lib/test.h"
#include "wire/codec/codec.h"

/* Fills o: required fields always, others mostly; lists of 0 to 3 elements; nested to depth levels, below
 * which only required fields are filled in. Strings are UTF-8 and not empty, maps are sorted, doubles are
 * finite. */
void gen_obj(const struct type_desc *t, struct test_rng *r, unsigned depth, struct arena *a, void *o);

/* Can JSON bring back what is required? Not when a required field (here or below) is a secret or internal. */
bool gen_json_complete(const struct type_desc *t);

#endif
