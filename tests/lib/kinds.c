/* The descriptors of the test types, see kinds.h. */
#include "tests/lib/kinds.h"

#define DEF_TABLE kinds
#include "wire/def/desc_pass.h"
